"""`delta-arb live`: the runner, on recorded quotes, on paper, on the local venues, or with real money.

It reads the newest exported parameters of the pair, drives the pair machine with quotes, journals everything to SQLite
before acting on it, and says in every line which mode it is in. `status`, `stop`, `flatten` and `resume` talk to the
running one. What each takes is in `options`, what it does in `cli`.

With `--monitor` the monitor is a process of its own beside this one, never in the loop that trades, and ends when the pipe from
this process does. Where it cannot start (its port is taken) it says so and the trading goes on: what is open after a restart has
to be looked after, seen or not.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from delta_arb import places
from delta_arb.command import application, command, refused, run
from delta_arb.errors import ParamsError
from delta_arb.live.options import MODES, TAKES, TALK, TOKEN, LiveOptions, of_settings, translated
from delta_arb.quotes.options import settings

OURS, PASSED_ON = "DELTA_ARB_", frozenset((TOKEN, "DELTA_ARB_ROOT"))
END_S = 5.0
JOBS = {  # module and function; else cli.trade
    "replay": ("replay", "replayed"),
    "example": ("cli", "print_example"),
    "alert": ("cli", "ring_once"),
    "watch": ("cli", "watch_runner"),
    "kill": ("cli", "kill_all"),
}
KINDS = {"sandbox": {"sandbox": True}, "real": {"live": True}}
ABOUT = "Trade one pair with the parameters that the pipeline exported."
EPILOG = """\b
examples:
  delta-arb live replay --speed max                the sample, at once
  delta-arb live sandbox --speed 60                real orders on local venues, no keys
  delta-arb live example > lunc.toml               a configuration to begin with
  delta-arb live paper --config lunc.toml          on paper, on the venues' public quotes
  delta-arb live paper --config lunc.toml --check  whether everything is ready to trade
  delta-arb live real --config lunc.toml           real money
  delta-arb live sandbox --speed 60 --monitor      the same, with a page to look at
  delta-arb live status --sandbox                  what the runner does; name its mode as at its start"""


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    try:
        words = translated(argv)
    except ParamsError as error:
        return refused(error, "--json" in argv)
    return run(_application(words), words, "delta-arb live")


def _application(words: Sequence[str]):
    from typer import Context

    app = application(help=ABOUT, epilog=EPILOG)

    @app.callback()
    def defaults(context: Context) -> None:
        typed = any(word.partition("=")[0] == "--config" for word in words)
        context.default_map = of_settings(settings(), typed)

    for name, text in MODES.items():
        command(app, LiveOptions, name=name, text=text, only=TAKES[name], **KINDS.get(name, {}))(
            _job(*JOBS.get(name, ("cli", "trade")))
        )
    for word, text in TALK.items():
        command(app, LiveOptions, name=word, text=text, only=TAKES[word], command=word)(_job("cli", "talk"))
    return app


def _job(module: str, name: str) -> Callable[[LiveOptions], int]:
    """Loads the runner when it is called; --help does without."""

    def job(options: LiveOptions) -> int:
        function = getattr(import_module(f"delta_arb.live.{module}"), name)
        options = replace(options, reports=places.reports(options.reports))
        with beside(0 if options.check else options.monitor, options.reports):
            return function(options)

    return job


@contextlib.contextmanager
def beside(port: int, reports: Path) -> Iterator[None]:
    """A monitor of this reports folder on that port of this machine; none where the port is 0."""
    if not port:
        yield
        return
    command = [sys.executable, "-m", "delta_arb.monitor", "--port", str(port), "--reports", str(reports), "--beside"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=2, env=without_keys(os.environ), start_new_session=True)
    try:
        yield
    finally:
        process.stdin.close()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def without_keys(environment: Mapping[str, str]) -> dict[str, str]:
    """What the monitor gets of our environment: of our own names none that may be a secret of the venues."""
    return {name: value for name, value in environment.items() if not name.startswith(OURS) or name in PASSED_ON}


if __name__ == "__main__":
    sys.exit(main())
