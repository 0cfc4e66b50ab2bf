"""Quotes, trades and funding of many pairs as they come, both legs: `delta-arb record`."""

from delta_arb.collect.options import RecordOptions, of_settings
from delta_arb.command import program
from delta_arb.quotes.options import settings

EXAMPLES = (
    "delta-arb record --pair LUNC_USDT --pair DOGE_USDT",
    "delta-arb record --all --keep-days 90      every pair that both list",
    "delta-arb record --sandbox --for 60s       local venues, synthetic",
)


def record(options: RecordOptions) -> int:
    """Record best quotes and trades of both legs, with the venue's stamp and ours, into FOLDER/<venue>/<market>/<pair>/.

    Funding as announced, mark, index and the venues' order rules are sampled beside. A kill loses at most a second
    and never a file; what was killed is gone on with by calling it again. Ctrl-C ends it.
    """
    from delta_arb.collect.record_session import run as record_until_told  # loads ccxt, which --help does without

    return record_until_told(options)


main = program(RecordOptions, record, *EXAMPLES, defaults=lambda words: of_settings(settings(), words))


if __name__ == "__main__":
    raise SystemExit(main())
