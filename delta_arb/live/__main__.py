"""`python -m delta_arb.live`: the runner, on paper, on the local venues, on recorded quotes, or with real money.

It reads the newest exported parameters of the pair, drives the pair machine with quotes, journals everything to SQLite
before acting on it, and says in every line which mode it is in. `status`, `stop`, `flatten` and `resume` talk to the
running one.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from delta_arb.command import speed
from delta_arb.errors import DeltaArbError, ParamsError
from delta_arb.live import control, local_venues, supervisor
from delta_arb.live.cli import MAX_CLIP_USDT, SPEED, check_options, check_speed, end_local, job_of, talk
from delta_arb.live.console import heard
from delta_arb.live.example import example
from delta_arb.live.parameters import absent
from delta_arb.live.replay import replayed
from delta_arb.live.supervisor import LIVE, SANDBOX, LiveJob
from delta_arb.params import load
from delta_arb.places import root
from delta_arb.quotes.options import add_options

EPILOG = """\
examples:
  python -m delta_arb.live --replay --speed max        the sample, at once
  python -m delta_arb.live --sandbox --speed 60        real orders on local venues, no keys
  python -m delta_arb.live --example > lunc.toml       a configuration to begin with
  python -m delta_arb.live --config lunc.toml          on paper, on the venues' public quotes
  python -m delta_arb.live --config lunc.toml --check  whether everything is ready to trade
  python -m delta_arb.live --config lunc.toml --live   real money
  python -m delta_arb.live status --sandbox            what the running one does; name the mode as at its start"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m delta_arb.live",
        usage="python -m delta_arb.live [status|stop|flatten|resume] [MODE] [options]",
        description="Trade one pair with the parameters that the pipeline exported: on paper with "
        "live quotes unless told otherwise.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument(
        "command", nargs="?", choices=control.COMMANDS, metavar="status|stop|flatten|resume",
        help="talk to the running one instead of starting: what is; an orderly end; leave the open pair and stay out; "
        "trade again after a halt",
    )  # fmt: skip
    _modes(p)
    more = p.add_argument_group("of every mode")
    more.add_argument("--config", type=Path, metavar="FILE", help="pair, venues, limits and guards; see --example")
    more.add_argument(
        "--params", type=Path, metavar="FILE", help="a parameter file instead of the newest export of the pair"
    )
    reports = root() / "reports"
    more.add_argument(
        "--reports", type=Path, default=reports, metavar="DIR", help="where the pipeline published (default: reports/)"
    )
    more.add_argument("--json", action="store_true", help="end with one line of JSON on standard output")
    _of_recordings(p)
    add_options(p, files=False, of="--replay")
    return p


def _modes(p: argparse.ArgumentParser) -> None:
    asked = p.add_argument_group("modes")
    mode = asked.add_mutually_exclusive_group()
    mode.add_argument("--paper", action="store_true", help="live quotes, simulated fills (the default)")
    mode.add_argument(
        "--sandbox", action="store_true",
        help="start the local venues and trade on them with real orders and play money",
    )  # fmt: skip
    mode.add_argument(
        "--live", action="store_true", help="real orders, real money: needs keys, explicit limits and a passed check"
    )
    mode.add_argument(
        "--replay", nargs="*", metavar="FILE",
        help="feed recorded quotes: SPOT PERP; without files the bundled synthetic sample",
    )  # fmt: skip
    asked.add_argument(
        "--check", action="store_true",
        help="only look whether everything is ready, and say what to do about what is not",
    )  # fmt: skip
    asked.add_argument(
        "--example", action="store_true",
        help="print a configuration with every name explained, fitting the parameter file that --params names",
    )  # fmt: skip


def _of_recordings(p: argparse.ArgumentParser) -> None:
    """What only modes with recorded quotes look at; `cli.check_options` refuses it elsewhere."""
    both = p.add_argument_group("of --sandbox and --replay")
    both.add_argument(
        "--speed", type=_speed, default=SPEED, metavar="1|60|max",
        help="how many recorded seconds a second takes (default %(default)g)",
    )  # fmt: skip
    local = p.add_argument_group(
        "of --sandbox",
        "also --pair, --contract-size and --inventory-coins where there is no --config, and --funding with --tape",
    )
    local.add_argument("--tape", nargs=2, metavar=("SPOT", "PERP"), help="what the local venues play (default: sample)")
    local.add_argument("--repeat", action="store_true", help="they begin their tape again at its end")
    local.add_argument(
        "--faults", type=Path, metavar="FILE", help="what they do wrong (python -m delta_arb.sandbox --explain)"
    )
    local.add_argument(
        "--round-trip-ms", default="", metavar="N|LOW-HIGH", help="network delay to them, fixed or drawn (default none)"
    )
    replay = p.add_argument_group("of --replay")
    replay.add_argument(
        "--as-of", type=_time, metavar="TIME",
        help="judge the validity of parameters as of this UTC time, like 2026-01-31T12:00",
    )  # fmt: skip
    replay.add_argument(
        "--max-clip-usdt", type=float, default=MAX_CLIP_USDT, metavar="USDT",
        help="refuse larger clips (default %(default)g)",
    )  # fmt: skip


def _speed(text: str) -> float:
    try:
        return speed(text)
    except ParamsError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _time(text: str) -> datetime:
    try:
        time_ = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a time like 2026-01-31T12:00: {text}") from None
    return time_.replace(tzinfo=UTC) if time_.tzinfo is None else time_


def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    try:
        if options.example:
            print(example(load(options.params) if options.params else None), end="")
            return 0
        if options.command:
            return talk(options)
        check_options(options)
        return replayed(options) if options.replay is not None else _trade(options)
    except DeltaArbError as error:
        print(f"error: {error}", file=sys.stderr)
        if options.json:
            print(json.dumps({"status": "refused", "reason": str(error)}))
        return 2


def _trade(options: argparse.Namespace) -> int:
    job = job_of(options)
    with heard(job.say):
        return _run(options, job)


def _run(options: argparse.Namespace, job: LiveJob) -> int:
    if options.check:
        from delta_arb.live import preflight

        try:
            return preflight.command(job, options.json)
        finally:
            if job.kind == SANDBOX and not job.journal.exists():
                local_venues.end(job.folder)  # started to be looked at, and nothing was traded
    if job.kind == LIVE:
        from delta_arb.live import preflight

        preflight.require(job)
    try:
        if not job.params.exists() and not supervisor.unsettled(job.journal):
            raise ParamsError(absent(job.params))  # before any venue is asked
        check_speed(options, job)
        code = supervisor.run(job, options.json)
    except ParamsError:  # nothing to start with: the local venues go on only for what an earlier run left open
        end_local(job)
        raise
    end_local(job)
    return code


if __name__ == "__main__":
    sys.exit(main())
