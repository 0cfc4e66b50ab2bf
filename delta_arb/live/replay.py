"""Recorded quotes as a feed: the tape's own time, at a chosen speed, reports and timers in their place.

At equal times reports come first, then quotes, then timers, and the venue has seen every row of that time before it
reports: the same order as in the backtest, which is what makes the two comparable trade by trade.
"""

import asyncio
import json
import math
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

from delta_arb import __version__
from delta_arb.errors import ParamsError
from delta_arb.interrupt import heeded
from delta_arb.live import control, monitoring
from delta_arb.live.event_log import EventLog, events_path
from delta_arb.live.journal import ORDERED, Journal
from delta_arb.live.messages import Console
from delta_arb.live.monitoring import REPLAY
from delta_arb.live.options import LiveOptions
from delta_arb.live.paper import PaperVenue, PaperWallets
from delta_arb.live.parameters import ParameterFile, place, utc_now
from delta_arb.live.quiet_rows import QuietRows
from delta_arb.live.runner import Runner
from delta_arb.market import DAY_S, NS, PERP, SPOT, Book, utc
from delta_arb.params import Bounds
from delta_arb.quotes.depth_and_trades import in_order
from delta_arb.quotes.inputs import Inputs
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.ledger import PARTS, attribution
from delta_arb.strategy.rule import check_deadline
from delta_arb.strategy.state import PHASES, State
from delta_arb.tables import left_out
from delta_arb.wallets import BOUNDLESS

FIRST, CHUNK = 16, 20_000  # rows turned into Python numbers at a time: at first, and at most
SLICE_S = 0.05  # at full speed other tasks get their turn about this often

Row = tuple[int, int, Book, Book]


def rows(tape: Tape, begin: int = 0) -> Iterator[Row]:
    """(ts_ns, leg, spot book, perp book) of every event, from one on."""
    size = FIRST
    while begin < len(tape):
        part = slice(begin, begin + size)
        books = (
            map(Book, *(column[row[part]].tolist() for column in of))
            for of, row in ((tape.spot, tape.spot_row), (tape.perp, tape.perp_row))
        )
        yield from zip(tape.ts_ns[part].tolist(), tape.leg[part].tolist(), *books, strict=True)
        begin, size = begin + size, min(2 * size, CHUNK)


def instants(tape: Tape, begin: int = 0) -> Iterator[list[Row]]:
    """The events grouped by equal time."""
    group: list[Row] = []
    for row in rows(tape, begin):
        if group and row[0] != group[0][0]:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def catch_up(runner: Runner, venue: PaperVenue, until_ns: int, *, timers_at_until: bool) -> None:
    """Deliver reports due up to `until_ns` and timers before it (at it too, once that instant's quotes are through)."""
    while True:
        due_ns, wake_ns = venue.due_ns, runner.wake_ns
        if due_ns <= until_ns and due_ns <= wake_ns:
            runner.report(venue.report())
        elif wake_ns < until_ns or (timers_at_until and wake_ns == until_ns):
            runner.timer()
        else:
            return


def play(group: list[Row], runner: Runner, venue: PaperVenue) -> None:
    """One instant of the tape: the venue sees its rows, reports and timers are due, then the runner sees them."""
    now_ns = group[0][0]
    catch_up(runner, venue, now_ns - 1, timers_at_until=True)
    for ts_ns, leg, spot, perp in group:
        venue.quote(leg, ts_ns, (spot, perp)[leg])
    catch_up(runner, venue, now_ns, timers_at_until=False)
    ts_ns, _, spot, perp = group[-1]  # what stood between the rows of one instant never stood
    runner.quote(ts_ns, spot, perp, venue.liquidation(ts_ns, runner.state, perp))


class TradesBefore:
    """Shows the venue the trades up to an instant, each at its own; reports and timers come between them."""

    def __init__(self, tape: Tape, runner: Runner, venue: PaperVenue) -> None:
        self._runner, self._venue, self._left = runner, venue, in_order(tape.queues, tape.start_ns, tape.end_ns)
        self._next = next(self._left, None)

    def show(self, until_ns: int) -> None:
        while self._next and self._next[0] <= until_ns:
            ts_ns, leg, *trade = self._next
            catch_up(self._runner, self._venue, ts_ns - 1, timers_at_until=True)
            self._venue.trade(leg, ts_ns, *trade)
            self._next = next(self._left, None)


def show_first(tape: Tape, venue: PaperVenue) -> None:
    """The books that the tape begins with: its first event carries both, one of them from before it."""
    ts_ns, _, *books = next(rows(tape.between(tape.start_ns, tape.start_ns + 1)))
    for leg in (SPOT, PERP):
        venue.quote(leg, ts_ns, books[leg])


async def run(tape: Tape, runner: Runner, venue: PaperVenue, stop: asyncio.Event, speed: float = math.inf) -> bool:
    """Feed the whole tape; `speed` 1 is real time, inf as fast as it goes. False when `stop` ended it early.

    Whatever is open at the end is closed on its exit side and flagged. At full speed the journal is committed when others get
    their turn.
    """
    if speed == math.inf:
        runner.journal.hold()
    try:
        return await _fed(tape, runner, venue, stop, speed)
    finally:
        runner.journal.release()


async def _fed(tape: Tape, runner: Runner, venue: PaperVenue, stop: asyncio.Event, speed: float) -> bool:
    loop = asyncio.get_running_loop()
    began, first_ns = loop.time(), tape.start_ns
    show_first(tape, venue)
    others = TradesBefore(tape, runner, venue)
    quiet, groups = QuietRows(tape, runner, venue), instants(tape)
    yielded, last_ns, row = began, first_ns, 0
    while row < len(tape):
        ts_ns = int(tape.ts_ns[row])
        if math.isfinite(speed):
            await _until(began + (ts_ns - first_ns) / NS / speed, loop, stop)
        elif loop.time() - yielded > SLICE_S:
            runner.journal.release()
            await asyncio.sleep(0)
            runner.journal.hold()
            yielded = loop.time()
        if stop.is_set():
            runner.finish(last_ns)
            return False
        if speed == math.inf and (played := quiet.passed(row)) > row:
            groups, row = instants(tape, played), played
        else:
            others.show(ts_ns)
            group = next(groups)
            play(group, runner, venue)
            row += len(group)
        last_ns = int(tape.ts_ns[row - 1])
    catch_up(runner, venue, tape.end_ns, timers_at_until=True)
    runner.finish(tape.end_ns)
    return True


async def _until(when: float, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Sleep until the loop's clock reads `when`, or until asked to stop."""
    delay = when - loop.time()
    if delay <= 0:
        await asyncio.sleep(0)
        return
    try:
        async with asyncio.timeout(delay):
            await stop.wait()
    except TimeoutError:
        pass


POLL_S = 1.0


def _replay_bounds(max_clip_usdt: float, inputs: Inputs) -> Bounds:
    """A replay risks no money: any thresholds, held as long as carry asks for; of candles a leg waits longer than a bar."""
    waits = {"max_leg_deadline_s": DAY_S} if inputs.candles else {}
    return Bounds(max_clip_usdt=max_clip_usdt, max_hold_s=366 * DAY_S, cover_fees=False, **waits)


def replayed(options: LiveOptions) -> int:
    """Recorded quotes through the runner; the exit code."""
    if len(options.files) not in (0, 2):
        raise ParamsError(
            f"replay takes the quotes of both legs, SPOT PERP, or none for the sample; got {len(options.files)} file(s)"
        )
    if options.files:
        options = replace(options, spot=options.files[0], perp=options.files[1])
    return asyncio.run(_replay(options))


async def _replay(options: LiveOptions) -> int:
    inputs = Inputs.from_options(options)
    say = Console(REPLAY, options.json, stamped=False)
    path = place(options.params, options.reports, inputs.name)
    now = (lambda: options.as_of) if options.as_of else utc_now
    exports = ParameterFile(path, inputs, _replay_bounds(options.max_clip_usdt, inputs), now)
    exports.poll()
    if exports.refused:
        raise ParamsError(exports.refused)
    tape = inputs.tape()
    rule = exports.rule()
    check_deadline(rule, inputs.latency())
    run_id = utc_now().strftime("%y%m%d%H%M%S%f")
    path = options.reports / inputs.name / "live" / "journal.sqlite"
    with Journal(path, run_id) as journal, EventLog(events_path(path, run_id), run_id, State()) as recorder:
        journal.begin_run(REPLAY, __version__, {k: str(v) for k, v in asdict(options).items()})
        journal.parameters("accepted", exports.params)
        venue = PaperVenue(
            inputs.latency(),
            (tape.spot_kind, tape.perp_kind),
            (rule.spot, rule.perp),
            rule.max_quote_age_ns,
            tape.queues.place,
            tape.depths,
        )
        for leg in (SPOT, PERP):
            recorder.levels(leg, tape.depths[leg])
        payments = inputs.payments(tape)
        journal.funding(payments)
        purses = None if inputs.funds == BOUNDLESS else PaperWallets(inputs.funds, rule.perp.leverage, payments)
        runner = Runner(rule, journal, venue, payments, recorder=recorder, wallets=purses)
        mark = f" ({inputs.mark})" if inputs.mark else ""
        span = f"from {utc(tape.start_ns)} to {utc(tape.end_ns)} UTC"
        say(f"{inputs.name}{mark}, {len(tape):,} events {span}; {exports.params}")
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
    tape: Tape, runner: Runner, venue: PaperVenue, exports: ParameterFile, journal: Journal, speed: float, say: Callable
) -> bool:
    """Feed, reload of parameters and status line, side by side; a signal ends the feed in an orderly way."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    path = control.socket_path(journal.path)
    control.clear(path)
    server = await control.serve(path, _obeying(runner, exports, journal, stop))
    for number in heeded((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
        loop.add_signal_handler(number, stop.set)
    try:
        async with asyncio.TaskGroup() as tasks:
            feed = tasks.create_task(run(tape, runner, venue, stop, speed), name="feed")
            aside = [
                tasks.create_task(_reload(exports, runner, journal, say), name="parameters"),
                tasks.create_task(_status(runner, say), name="status"),
            ]
            feed.add_done_callback(lambda _: [task.cancel() for task in aside])
        return feed.result()
    finally:
        server.close()
        control.clear(path)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)


def _obeying(runner: Runner, exports: ParameterFile, journal: Journal, stop: asyncio.Event) -> control.Obey:
    """What a replay answers: how it is, and an early end; there is nothing else that a tape could obey."""

    async def obey(word: str, by: str) -> dict[str, Any]:
        if word not in ("status", "snapshot", "stop"):
            return {"error": f"a replay takes stop, not {word}"}
        if word == "stop":
            journal.note(ORDERED, f"a stop (asked by {by})")
            stop.set()
        parameters = monitoring.of_parameters(exports.params, exports.refused)
        said = {"mode": REPLAY, "line": _status_line(runner), "halted": "", "parameters": parameters}
        return monitoring.of_runner(runner, runner.now_ns) | said

    return obey


async def _reload(exports: ParameterFile, runner: Runner, journal: Journal, say: Callable) -> None:
    """New parameters rule the next entry; refused or stale ones forbid it; an open pair keeps its own."""
    while True:
        await asyncio.sleep(POLL_S)
        if exports.poll():
            journal.parameters(exports.refused or "accepted", exports.params)
            say(f"no new entries: {exports.refused}" if exports.refused else f"new parameters: {exports.params}")
            runner.newest = exports.newest(runner.newest)


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
    exports: ParameterFile,
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
    reasons = Counter(t.reason for t in runner.trades)
    ends = ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items()))
    how = f" ({ends})" if ends else ""
    say(f"{outcome}: {len(runner.trades)} trades{how}, {runner.missed} entries that no venue filled")
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
