"""`--replay` as a command: recorded quotes through the runner on paper, in their own time; then the sum of it."""

import argparse
import asyncio
import json
import signal
import time
from collections.abc import Callable

from delta_arb import __version__
from delta_arb.errors import ParamsError
from delta_arb.live import replay
from delta_arb.live.console import Voice
from delta_arb.live.event_log import Recorder, events_path
from delta_arb.live.journal import Journal
from delta_arb.live.paper import PaperVenue, PaperWallets
from delta_arb.live.runner import Exports, Runner, utc_now
from delta_arb.market import DAY_S, utc
from delta_arb.params import Bounds
from delta_arb.quotes.inputs import Inputs
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.ledger import PARTS, attribution
from delta_arb.strategy.rule import check_deadline
from delta_arb.strategy.state import PHASES, State
from delta_arb.tables import left_out
from delta_arb.wallets import BOUNDLESS

REPLAY = "paper, replay"
POLL_S = 1.0


def _replay_bounds(max_clip_usdt: float, inputs: Inputs) -> Bounds:
    """A replay risks no money: it holds as long as carry asks for, and of candles waits longer than a bar for a leg."""
    waits = {"max_leg_deadline_s": DAY_S} if inputs.candles else {}
    return Bounds(max_clip_usdt=max_clip_usdt, max_hold_s=366 * DAY_S, **waits)


def replayed(options: argparse.Namespace) -> int:
    if len(options.replay) not in (0, 2):
        raise ParamsError(
            "--replay takes the quotes of both legs, SPOT PERP, or none for the sample; got "
            f"{len(options.replay)} file(s)"
        )
    options.spot, options.perp = options.replay or ("", "")
    return asyncio.run(_replay(options))


async def _replay(options: argparse.Namespace) -> int:
    inputs = Inputs.from_options(options)
    say = Voice(REPLAY, options.json, stamped=False)
    path = options.params or options.reports / inputs.name / "params" / "latest.json"
    now = (lambda: options.as_of) if options.as_of else utc_now
    exports = Exports(path, inputs, _replay_bounds(options.max_clip_usdt, inputs), now)
    exports.poll()
    if exports.refused:
        raise ParamsError(exports.refused)
    tape = inputs.tape()
    rule = exports.rule()
    check_deadline(rule, inputs.latency())
    run_id = utc_now().strftime("%y%m%d%H%M%S%f")
    path = options.reports / inputs.name / "live" / "journal.sqlite"
    with Journal(path, run_id) as journal, Recorder(events_path(path, run_id), run_id, State()) as recorder:
        journal.begin_run(REPLAY, __version__, {k: str(v) for k, v in vars(options).items()})
        journal.parameters("accepted", exports.params)
        venue = PaperVenue(
            inputs.latency(), (tape.spot_kind, tape.perp_kind), (rule.spot, rule.perp), rule.max_quote_age_ns
        )
        payments = inputs.payments(tape)
        journal.funding(payments)
        purses = None if inputs.funds == BOUNDLESS else PaperWallets(inputs.funds, rule.perp.leverage, payments)
        runner = Runner(rule, journal, venue, payments, recorder=recorder, wallets=purses)
        mark = f" ({inputs.mark})" if inputs.mark else ""
        say(
            f"{inputs.name}{mark}, {len(tape):,} events from {utc(tape.start_ns)} to "
            f"{utc(tape.end_ns)} UTC; {exports.params}"
        )
        if missing := left_out(tape):
            say(missing)
        began = time.perf_counter()
        whole = await _drive(tape, runner, venue, exports, journal, options.speed, say)
        seconds = time.perf_counter() - began
        outcome = "halted" if runner.halted else "finished" if whole else "stopped"
        journal.end_run(outcome)
        _sum_up(runner, exports, inputs, journal, outcome, seconds, say, options.json)
    return 0 if outcome == "finished" else 1


async def _drive(
    tape: Tape, runner: Runner, venue: PaperVenue, exports: Exports, journal: Journal, speed: float, say: Callable
) -> bool:
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
    runner: Runner,
    exports: Exports,
    inputs: Inputs,
    journal: Journal,
    outcome: str,
    seconds: float,
    say: Callable,
    as_json: bool,
) -> None:
    """The closing summary: trades, net and where it came from."""
    parts = attribution(runner.trades)
    if not exports.params.trade:
        say(f"the parameters say do not trade: {exports.params.reason}")
    ends = ", ".join(
        f"{sum(t.reason == r for t in runner.trades)} {r}" for r in sorted({t.reason for t in runner.trades})
    )
    say(
        f"{outcome}: {len(runner.trades)} trades{f' ({ends})' if ends else ''}, "
        f"{runner.missed} entries that no venue filled"
    )
    say("  ".join(f"{part} {parts[part]:+.4f}" for part in (*PARTS, "net")) + "  USDT")
    say(f"journal: {journal.path}")
    if as_json:
        summary = {
            "status": outcome, "pair": inputs.name, "synthetic": inputs.synthetic, "candles": inputs.candles,
            "trades": len(runner.trades),
            "missed": runner.missed,
            "net_usdt": parts["net"], "attribution": parts, "events": runner.events, "seconds": round(seconds, 3),
            "params_sha256": exports.params.sha256, "journal": str(journal.path),
        }  # fmt: skip
        print(json.dumps(summary))
