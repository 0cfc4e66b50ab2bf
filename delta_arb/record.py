"""Quotes, trades and funding of many pairs as they come, both legs: `delta-arb record`."""

import sys
from collections.abc import Sequence

from delta_arb.collect.options import RecordOptions, of_settings
from delta_arb.command import application, command, run
from delta_arb.quotes.settings import settings

EXAMPLES = (
    "delta-arb record --pair LUNC_USDT --pair DOGE_USDT",
    "delta-arb record --all --keep-days 90      every pair that both list",
    "delta-arb record --sandbox --for 60s       local venues, synthetic",
)


def main(argv: Sequence[str] | None = None) -> int:
    app = application()

    @command(app, RecordOptions, *EXAMPLES)
    def record(options: RecordOptions) -> int:
        """Record best quotes and trades of both legs, with the venue's stamp and ours, into FOLDER/<venue>/<market>/<pair>/.

        Funding as announced, mark, index and the venues' order rules are sampled beside. A kill loses at most a second
        and never a file; what was killed is gone on with by calling it again. Ctrl-C ends it.
        """
        from delta_arb.collect.record_session import run as record_until_told  # loads ccxt, which --help does without

        return record_until_told(options)

    argv = list(sys.argv[1:] if argv is None else argv)
    return run(app, argv, "delta-arb record", defaults=lambda: of_settings(settings(), argv))


if __name__ == "__main__":
    raise SystemExit(main())
