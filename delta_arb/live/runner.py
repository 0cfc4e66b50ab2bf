"""The runner: the one owner of the machine's state. Every consequence is journaled first, then acted upon.

It knows neither where quotes come from nor who fills orders. A feed calls `quote`, `report` and `timer`; orders go to
a venue's `send`. All of it is synchronous, so the decision is made in the receive path and the state is true at
every await of the feed.
"""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ..errors import ParamsError
from ..inputs import Inputs
from ..kalman import UNKNOWN, step
from ..ledger import Closing, Trade, close_out, close_pair
from ..market import LEGS, Book, Fill, FundingPayment
from ..params import Bounds, Params, check, check_assumed, load, make_rule
from ..strategy import FLAT, HALTED, NO_ORDERS, QUOTE, REPORT, START, TIMER, Event, Rule, decide
from .journal import Journal
from .paper import PaperVenue, Report


class Exports:
    """The newest parameters of a pair, reloaded when the file changes; `refused` says why there are none."""

    def __init__(self, path: Path, inputs: Inputs, bounds: Bounds, now: Callable[[], datetime]) -> None:
        self._path, self._bounds, self._now = Path(path), bounds, now
        self._name, self._venues = inputs.name, inputs.venue_params()
        self._seen: tuple[int, int] | None = None
        self.params: Params | None = None
        self.refused = "not read yet"

    def poll(self) -> bool:
        """Look at the file and at the clock; True when the answer changed."""
        before = (self.params, self.refused)
        try:
            stat = self._path.stat()
            if (stat.st_mtime_ns, stat.st_ino) != self._seen or self.params is None:
                self._seen = (stat.st_mtime_ns, stat.st_ino)
                self.params = None
                self.params = load(self._path)
            check(self.params, self._name, self._now(), self._bounds)
            check_assumed(self.params, *self._venues)
            self.refused = ""
        except FileNotFoundError:
            self.params, self.refused = None, f"{self._path}: there is no parameter file; run the pipeline for this pair first"
        except ParamsError as error:
            self.refused = str(error)
        return before != (self.params, self.refused)

    def rule(self) -> Rule | None:
        """The machine's rule: entries only on parameters that are accepted and say trade; None before the first file."""
        if self.params is None:
            return None
        rule = make_rule(self.params.rule, self.params.spot.instrument(), self.params.perp.instrument())
        return rule._replace(may_enter=rule.may_enter and self.params.trade and not self.refused)


class Runner:
    """Drives one pair: feed events in, journal, orders out. `trades` are the closed pairs of this run."""

    def __init__(self, rule: Rule, journal: Journal, venue: PaperVenue, payments: Sequence[FundingPayment] = ()) -> None:
        self.state = START
        self.newest = rule
        self.pinned = rule  # of the open pair: it keeps what it was opened with
        self.trades: list[Trade] = []
        self.missed = 0
        self.events = 0
        self.now_ns = 0  # of the last event; the clock never goes back
        self._journal = journal
        self._venue = venue
        self._payments = payments
        self._stamps = [p.ts_ns for p in payments]
        self._books: tuple[Book, Book] | None = None
        self._known, self._shift = UNKNOWN, 0.0
        self._fills: list[Fill] = []
        self._sent = 0

    @property
    def wake_ns(self) -> int:
        """When the machine wants a timer; one that is already due rings now."""
        return max(self.state.wake_ns, self.now_ns)

    @property
    def rule(self) -> Rule:
        """The rule in force: the newest while flat, that of the entry while a pair is open."""
        return self.newest if self.state.phase == FLAT else self.pinned

    def quote(self, ts_ns: int, spot: Book, perp: Book) -> None:
        """A new book on either leg."""
        self._books = (spot, perp)
        self._known, self._shift = step(self._known, ts_ns, spot, perp, self.rule.filter)
        self._handle(Event(QUOTE, ts_ns, spot, perp, 0, 0.0, 0.0, 0.0, self._shift), None)

    def report(self, report: Report) -> None:
        """An order of ours has ended."""
        spot, perp = self._books
        fill = None
        if report.filled != 0.0:
            fee = (self.rule.spot.fee, self.rule.perp.fee)[report.leg]
            f = Fill(self.state.pair, report.ts_ns, report.leg, report.filled, report.price, fee * abs(report.filled) * report.price)
            self._fills.append(f)
            fill = (report.order_id, f)
        self._handle(Event(REPORT, report.ts_ns, spot, perp, report.leg, report.filled, report.price, 0.0, self._shift), fill)

    def timer(self) -> None:
        """The time that the machine asked for has come."""
        spot, perp = self._books
        self._handle(Event(TIMER, self.wake_ns, spot, perp, 0, 0.0, 0.0, 0.0, self._shift), None)

    def _handle(self, event: Event, fill: tuple[str, Fill] | None) -> None:
        self.events += 1
        self.now_ns = event.ts_ns
        before, rule = self.state, self.rule
        state, orders = decide(before, event, rule)
        if state is before and orders is NO_ORDERS and fill is None:
            return
        placed = [(self._order_id(leg), leg, order) for leg, order in enumerate(orders) if order.qty != 0.0]
        trade = None
        if before.phase != FLAT and state.phase == FLAT:
            trade = self._closed(Closing(state.pair, event.ts_ns, state.reason, event.spot.bid, event.perp.ask))
        if fill or placed or state != before:
            self._journal.event(event, state, placed, fill, trade)
        self.state, self.pinned = state, rule
        for order_id, leg, order in placed:
            self._venue.send(leg, order_id, order, event.ts_ns)
        # A cancel needs no act on paper: an IOC order ends by itself, and its report is on its way.

    def _order_id(self, leg: int) -> str:
        """Own order ids: run, leg and a count; known before the order leaves."""
        self._sent += 1
        return f"{self._journal.run_id}-{LEGS[leg][0]}{self._sent}"

    def _closed(self, closing: Closing) -> Trade | None:
        fills, self._fills = self._fills, []
        if not fills:
            self.missed += 1
            return None
        trade = close_pair(fills, closing, self._payments, self._stamps)
        self.trades.append(trade)
        return trade

    def finish(self, ts_ns: int) -> None:
        """The quotes have ended: what is still open is closed at the exit side of the last books, and flagged."""
        if self._books is None:
            return
        fills, closings = close_out(self.state, *self._books, ts_ns, self.rule)
        if fills:
            self._fills.extend(fills)
            self._journal.closing(list(fills), self._closed(closings[0]))

    @property
    def halted(self) -> bool:
        return self.state.phase == HALTED

    def mark_usdt(self) -> float:
        """Unrealized profit of the open pair at the exit side of both books, entry fees included; 0.0 when flat."""
        if not self._fills or self._books is None:
            return 0.0
        fills, _ = close_out(self.state, *self._books, self._fills[-1].ts_ns, self.rule)
        return math.fsum(-f.qty * f.price - f.fee_usdt for f in (*self._fills, *fills))


def utc_now() -> datetime:
    return datetime.now(UTC)
