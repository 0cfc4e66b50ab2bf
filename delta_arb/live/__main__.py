"""`python -m delta_arb.live`: the runner, for now on recorded quotes and paper money.

It reads the newest exported parameters of the pair, feeds the quotes through the pair machine, fills on paper by the
backtest's rule, journals everything to SQLite before acting on it, and sums up. No keys, no network.
"""

import argparse
import asyncio
import json
import math
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from .. import __version__
from ..errors import DeltaArbError, ParamsError
from ..inputs import Inputs, add_options, root
from ..ledger import PARTS, attribution
from ..market import utc
from ..params import Bounds, check_deadline
from ..strategy import PHASES
from ..tape import Tape
from . import replay
from .journal import Journal
from .paper import PaperVenue
from .runner import Exports, Runner, utc_now

MODE = "paper, replay"
POLL_S = 1.0


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m delta_arb.live",
        description="Trade one pair with the parameters that the pipeline exported. For now on recorded quotes (--replay) and "
        "on paper; connections to the venues come later, and nothing here pretends to have them.",
        epilog="example: python -m delta_arb.pipeline && python -m delta_arb.live --replay --speed max",
    )
    p.add_argument("--replay", nargs="*", metavar="FILE", help="feed recorded quotes: SPOT PERP; without files the bundled synthetic sample")
    p.add_argument("--speed", type=_speed, default=60.0, metavar="1|60|max", help="how many recorded seconds a second takes (default 60)")
    p.add_argument("--reports", type=Path, default=root() / "reports", metavar="DIR", help="where the pipeline published (default: reports/)")
    p.add_argument("--params", type=Path, metavar="FILE", help="a parameter file instead of the newest export of the pair")
    p.add_argument("--as-of", type=_time, metavar="TIME", help="judge the validity of parameters as of this UTC time, like 2026-01-31T12:00")
    p.add_argument("--max-clip-usdt", type=float, default=Bounds().max_clip_usdt, metavar="USDT", help="refuse larger clips (default %(default)g)")
    p.add_argument("--json", action="store_true", help="end with one line of JSON on standard output")
    add_options(p, files=False)
    return p


def _speed(text: str) -> float:
    if text == "max":
        return math.inf
    speed = float(text)
    if not speed > 0:
        raise argparse.ArgumentTypeError(f"a speed is above 0, or max; was {text}")
    return speed


def _time(text: str) -> datetime:
    try:
        time_ = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a time like 2026-01-31T12:00: {text}") from None
    return time_.replace(tzinfo=UTC) if time_.tzinfo is None else time_


def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    try:
        if options.replay is None:
            raise ParamsError("venue connections come later; feed recorded quotes with --replay SPOT PERP, or --replay alone for the sample")
        if len(options.replay) not in (0, 2):
            raise ParamsError(f"--replay takes the quotes of both legs, SPOT PERP, or none for the sample; got {len(options.replay)} file(s)")
        options.spot, options.perp = options.replay or ("", "")
        return asyncio.run(_replay(options))
    except DeltaArbError as error:
        print(f"error: {error}", file=sys.stderr)
        if options.json:
            print(json.dumps({"status": "refused", "reason": str(error)}))
        return 2


async def _replay(options: argparse.Namespace) -> int:
    inputs = Inputs.from_options(options)
    say = _Voice(options.json)
    path = options.params or options.reports / inputs.name / "params" / "latest.json"
    now = (lambda: options.as_of) if options.as_of else utc_now
    exports = Exports(path, inputs, Bounds(max_clip_usdt=options.max_clip_usdt), now)
    exports.poll()
    if exports.refused:
        raise ParamsError(exports.refused)
    tape = inputs.tape()
    rule = exports.rule()
    check_deadline(rule, inputs.latency())
    run_id = utc_now().strftime("%y%m%d%H%M%S%f")
    with Journal(options.reports / inputs.name / "live" / "journal.sqlite", run_id) as journal:
        journal.begin_run(MODE, __version__, {k: str(v) for k, v in vars(options).items()})
        journal.parameters("accepted", exports.params)
        venue = PaperVenue(inputs.latency(), (tape.spot_kind, tape.perp_kind), (rule.spot.step, rule.perp.step), rule.max_quote_age_ns)
        runner = Runner(rule, journal, venue, inputs.payments(tape))
        synthetic = " (synthetic quotes)" if inputs.synthetic else ""
        say(f"{inputs.name}{synthetic}, {len(tape):,} events from {utc(tape.start_ns)} to {utc(tape.end_ns)} UTC; {exports.params}")
        began = time.perf_counter()
        whole = await _drive(tape, runner, venue, exports, journal, options.speed, say)
        seconds = time.perf_counter() - began
        outcome = "halted" if runner.halted else "finished" if whole else "stopped"
        journal.end_run(outcome)
        _sum_up(runner, exports, inputs, journal, outcome, seconds, say, options.json)
    return 0 if outcome == "finished" else 1


async def _drive(tape: Tape, runner: Runner, venue: PaperVenue, exports: Exports, journal: Journal, speed: float, say: Callable) -> bool:
    """Feed, reload of parameters and status line, side by side; a signal ends the feed in an orderly way."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with asyncio.TaskGroup() as tasks:
            feed = tasks.create_task(replay.run(tape, runner, venue, stop, speed), name="feed")
            aside = [
                tasks.create_task(_reload(exports, runner, journal, say), name="parameters"),
                tasks.create_task(_status(runner, say), name="status"),
            ]
            feed.add_done_callback(lambda _: [task.cancel() for task in aside])
        return feed.result()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _reload(exports: Exports, runner: Runner, journal: Journal, say: Callable) -> None:
    """New parameters rule the next entry; refused or stale ones forbid it; an open pair keeps its own."""
    while True:
        await asyncio.sleep(POLL_S)
        if exports.poll():
            journal.parameters(exports.refused or "accepted", exports.params)
            say(f"no new entries: {exports.refused}" if exports.refused else f"new parameters: {exports.params}")
            runner.newest = exports.rule() or runner.newest._replace(may_enter=False)


async def _status(runner: Runner, say: Callable) -> None:
    while True:
        await asyncio.sleep(POLL_S)
        say.status(_status_line(runner))


def _status_line(runner: Runner) -> str:
    net = sum(t.net_usdt for t in runner.trades)
    return (
        f"{PHASES[runner.state.phase]:8} pair {runner.state.pair}, {len(runner.trades)} trades, net {net:+.4f} USDT, "
        f"open {runner.mark_usdt():+.4f} USDT, {runner.events:,} events"
    )


def _sum_up(
    runner: Runner, exports: Exports, inputs: Inputs, journal: Journal, outcome: str, seconds: float, say: Callable, as_json: bool
) -> None:
    """The closing summary: trades, net and where it came from."""
    parts = attribution(runner.trades)
    if not exports.params.trade:
        say(f"the parameters say do not trade: {exports.params.reason}")
    ends = ", ".join(f"{sum(t.reason == r for t in runner.trades)} {r}" for r in sorted({t.reason for t in runner.trades}))
    say(f"{outcome}: {len(runner.trades)} trades{f' ({ends})' if ends else ''}, {runner.missed} entries that no venue filled")
    say("  ".join(f"{part} {parts[part]:+.4f}" for part in (*PARTS, "net")) + "  USDT")
    say(f"journal: {journal.path}")
    if as_json:
        summary = {
            "status": outcome, "pair": inputs.name, "synthetic": inputs.synthetic, "trades": len(runner.trades), "missed": runner.missed,
            "net_usdt": parts["net"], "attribution": parts, "events": runner.events, "seconds": round(seconds, 3),
            "params_sha256": exports.params.sha256, "journal": str(journal.path),
        }  # fmt: skip
        print(json.dumps(summary))


class _Voice:
    """What the runner says: lines headed by the mode, and a status line that overwrites itself on a terminal."""

    def __init__(self, quiet_stdout: bool) -> None:
        self._out = sys.stderr if quiet_stdout else sys.stdout
        self._status_shown = False

    def __call__(self, text: str) -> None:
        if self._status_shown:
            print("\r\033[K", end="", file=self._out)
            self._status_shown = False
        print(f"[{MODE}] {text}", file=self._out, flush=True)

    def status(self, text: str) -> None:
        if self._out.isatty():
            print(f"\r\033[K[{MODE}] {text}", end="", file=self._out, flush=True)
            self._status_shown = True


if __name__ == "__main__":
    sys.exit(main())
