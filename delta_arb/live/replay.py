"""Recorded quotes as a feed: the tape's own time, at a chosen speed, reports and timers in their place.

At equal times reports come first, then quotes, then timers, and the venue has seen every row of that time before it
reports: the same order as in the backtest, which is what makes the two comparable trade by trade.
"""

import asyncio
import math
from collections.abc import Iterator

from delta_arb.live.paper import PaperVenue
from delta_arb.live.runner import Runner
from delta_arb.market import NS, PERP, SPOT, Book
from delta_arb.quotes.tape import Tape

CHUNK = 20_000  # rows turned into Python numbers at a time
SLICE_S = 0.05  # at full speed other tasks get their turn about this often

Row = tuple[int, int, Book, Book]


def rows(tape: Tape) -> Iterator[Row]:
    """(ts_ns, leg, spot book, perp book) of every event."""
    names = ("ts_ns", "leg", "spot_bid", "spot_ask", "spot_bid_qty", "spot_ask_qty", "spot_age_ns")
    names += ("perp_bid", "perp_ask", "perp_bid_qty", "perp_ask_qty", "perp_age_ns")
    for start in range(0, len(tape), CHUNK):
        columns = (getattr(tape, name)[start : start + CHUNK].tolist() for name in names)
        for ts, leg, sb, sa, sbq, saq, s_age, pb, pa, pbq, paq, p_age in zip(*columns, strict=True):
            yield ts, leg, Book(sb, sa, sbq, saq, ts - s_age), Book(pb, pa, pbq, paq, ts - p_age)


def instants(tape: Tape) -> Iterator[list[Row]]:
    """The events grouped by equal time."""
    group: list[Row] = []
    for row in rows(tape):
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


def show_first(tape: Tape, venue: PaperVenue) -> None:
    """The books that the tape begins with: its first event carries both, one of them from before it."""
    ts_ns, _, *books = next(rows(tape.between(tape.start_ns, tape.start_ns + 1)))
    for leg in (SPOT, PERP):
        venue.quote(leg, ts_ns, books[leg])


async def run(tape: Tape, runner: Runner, venue: PaperVenue, stop: asyncio.Event, speed: float = math.inf) -> bool:
    """Feed the whole tape; `speed` 1 is real time, inf as fast as it goes. False when `stop` ended it early.

    Whatever is open at the end is closed on its exit side and flagged.
    """
    loop = asyncio.get_running_loop()
    began, first_ns = loop.time(), tape.start_ns
    show_first(tape, venue)
    yielded, last_ns = began, first_ns
    for group in instants(tape):
        if math.isfinite(speed):
            await _until(began + (group[0][0] - first_ns) / NS / speed, loop, stop)
        elif loop.time() - yielded > SLICE_S:
            await asyncio.sleep(0)
            yielded = loop.time()
        if stop.is_set():
            runner.finish(last_ns)
            return False
        play(group, runner, venue)
        last_ns = group[0][0]
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
