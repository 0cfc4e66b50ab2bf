"""`delta-arb`, and `python -m delta_arb`: every command of the project under one name.

A room's own module reads the rest of the command line, so `delta-arb live status` is `python -m delta_arb.live status`.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from delta_arb import __version__
from delta_arb.command import application, run
from delta_arb.errors import ParamsError

if TYPE_CHECKING:
    import typer

COMMANDS = {
    "pipeline": ("delta_arb.pipeline", "run the notebooks: from quotes to a report and parameters"),
    "live": ("delta_arb.live.__main__", "trade with them: replay, paper, local venues, real money"),
    "monitor": ("delta_arb.monitor.__main__", "a page that shows the runners while they trade"),
    "review": ("delta_arb.review.__main__", "was live what the backtest says?"),
    "index": ("delta_arb.index", "list all runs, live sessions and reviews on one page"),
    "download": ("delta_arb.download", "months of candles and funding of two venues"),
    "record": ("delta_arb.record", "quotes, trades and funding of many pairs, as they come"),
    "universe": ("delta_arb.universe.__main__", "which of many pairs are worth it?"),
    "sandbox": ("delta_arb.sandbox.__main__", "both venues on this machine, playing quotes"),
    "synthetic": ("delta_arb.synthetic", "write synthetic quotes"),
}
EPILOG = """\b
examples:
  delta-arb pipeline                       the bundled sample, from quotes to parameters
  delta-arb live replay --speed max        the same quotes through the runner, on paper
  delta-arb COMMAND --help                 all that a command takes"""


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in COMMANDS:
        return import_module(COMMANDS[argv[0]][0]).main(argv[1:])
    return run(_overview(), argv, "delta-arb")


def _overview() -> "typer.Typer":
    """What is there, for --help; also what answers a name that is not."""
    import typer

    app = application(help="Research and trading of a spot / perpetual basis.", epilog=EPILOG)

    @app.callback(invoke_without_command=True)
    def chosen(
        context: typer.Context, version: bool = typer.Option(False, "--version", help="Show the version.")
    ) -> None:
        if version:
            print(f"delta_arb {__version__}")
            raise typer.Exit
        if context.invoked_subcommand is None:
            raise ParamsError(f"name a command: {', '.join(COMMANDS)}; see delta-arb --help")

    for name, (_, about) in COMMANDS.items():
        app.command(name, help=about)(lambda: None)  # read above
    return app


if __name__ == "__main__":
    raise SystemExit(main())
