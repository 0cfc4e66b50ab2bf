"""Months of candles and funding of two venues' common pairs: `delta-arb download`."""

from delta_arb.collect.options import DownloadOptions, of_settings
from delta_arb.command import program
from delta_arb.quotes.options import settings

EXAMPLES = (
    "delta-arb download --pair LUNC_USDT --since 2026-01-01 --candles 1h --funding",
    "delta-arb download --all --since 2026-01-01 --candles 1h --funding      every pair that both list",
    "delta-arb download --sandbox --all --since 2026-11-01 --candles 5m --funding      local venues, synthetic",
)
STOPPED = "months that were complete are kept; the same command goes on with what is missing"


def download(options: DownloadOptions) -> int:
    """Fetch candles and funding of both legs over ccxt, month by month, into FOLDER/<venue>/<market>/<pair>/.

    Only what is missing is fetched, so a call that was broken off is simply made again. What a venue does not
    have is said, and kept in coverage.json. The venues' order rules are saved beside, in rules.json.
    """
    from delta_arb.collect.download import fetch  # loads ccxt, which --help does without

    return fetch(options)


main = program(
    DownloadOptions, download, *EXAMPLES, stopped=STOPPED, defaults=lambda words: of_settings(settings(), words)
)


if __name__ == "__main__":
    raise SystemExit(main())
