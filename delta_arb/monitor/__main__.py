"""`delta-arb monitor`: the runners of a reports folder on a page of this machine, for as long as it runs.

It reads journals and asks runners; it trades nothing, and only with a token does it hand on what a person orders.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from delta_arb import places
from delta_arb.command import application, command, expanded, option, run
from delta_arb.live.options import PORT
from delta_arb.quotes.options import config_option

EXAMPLES = (
    "delta-arb monitor                              every runner of reports/, read-only",
    "delta-arb monitor --port 8700 --token-file monitor.token",
)
NICE = 5  # whoever trades on this machine goes first


@dataclass(frozen=True, slots=True)
class MonitorOptions:
    """Where it looks, and where it is seen."""

    reports: Path | None = option(None, "where the runners journal  [default: reports/ of the project]", metavar="DIR")
    port: int = option(PORT, "of 127.0.0.1; 0: any that is free", min=0, max=65535)
    token_file: Path | None = option(
        None, "a file of mode 600 with the token for orders  [default: DELTA_ARB_MONITOR_TOKEN; none: read-only]",
        metavar="FILE",
    )  # fmt: skip
    config: Path | None = config_option(lambda said: {name: said[name] for name in ("reports",) if name in said})
    beside: bool = option(False, "end when standard input does", hidden=True)


def main(argv: Sequence[str] | None = None) -> int:
    app = application()

    @command(app, MonitorOptions, *EXAMPLES)
    def monitor(options: MonitorOptions) -> int:
        """The runners of a reports folder on a page of this machine: state, edge, money, guards, orders as they come."""
        return _monitor(options)

    return run(app, expanded(sys.argv[1:] if argv is None else argv, MonitorOptions), "delta-arb monitor")


def _monitor(options: MonitorOptions) -> int:
    import asyncio

    from delta_arb.monitor.server import serve, token

    reports, secret = places.reports(options.reports), token(options.token_file)
    if not reports.exists():
        print(f"{reports}: no such folder yet; runners are shown once they journal there", file=sys.stderr, flush=True)
    os.nice(NICE)
    asyncio.run(serve(reports, options.port, secret, options.beside))
    return 0


if __name__ == "__main__":
    sys.exit(main())
