"""The runner: the one owner of the machine's state. Every consequence is journaled first, then acted upon.

It knows neither where quotes come from nor who fills orders. A feed calls `quote`, `report` and `timer`; orders go to
a broker's `place`. All of it is synchronous, so the decision is made in the receive path and the state is true at
every await of the feed.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from delta_arb.funding_stamps import NOT_KNOWN, NOTHING_EXPECTED, RECENT, Expected, expected
from delta_arb.live.journal import Journal
from delta_arb.live.venues.base import NEVER_REACHED, Broker, Placed, Report
from delta_arb.market import HALT, LEGS, NEVER, PERP, SPOT, UNWOUND, Book, Fill, FundingPayment, tradable
from delta_arb.quotes.depth_and_trades import Depth
from delta_arb.strategy import sizing
from delta_arb.strategy.decide import decide
from delta_arb.strategy.ledger import Trade, close_out, close_pair, closing
from delta_arb.strategy.settling import pair_lives
from delta_arb.strategy.signal import UNKNOWN, step
from delta_arb.strategy.state import (
    ENTERING,
    EXITING,
    FLAT,
    HALTED,
    HEDGING,
    NO_LEG,
    NO_ORDERS,
    OUTSIDE,
    PHASES,
    QUOTE,
    REPORT,
    TIMER,
    Event,
    MachineRule,
    State,
)
from delta_arb.wallets import Wallet


class Hold(NamedTuple):
    """What the guards allow: entries at all, whether the open pair is to be left, and whether orders may rest."""

    may_enter: bool = True
    flatten: bool = False
    may_rest: bool = True


FREE = Hold()
CLOSED = Hold(may_enter=False, may_rest=False)


class Resumed(NamedTuple):
    """Where an earlier run stopped: the machine's state, the open pair's rule and fills, orders in the air."""

    state: State
    rule: MachineRule | None
    fills: tuple[Fill, ...] = ()
    working: tuple[Placed, ...] = ()


AFRESH = Resumed(State(), None)


class Wallets(Protocol):
    """What both venues' wallets hold (`paper.PaperWallets`); without them money has no end."""

    def at(self, event: Event, fill: Fill | None) -> Wallet:
        """What an entry may use at an event, and after the fill that it brings."""

    def booked(self, fill: Fill) -> None:
        """A fill is in the journal: from now on it counts."""

    def lacked(self, event: Event) -> None:
        """An entry was refused because one of them could not pay."""


class Recorder(Protocol):
    """Keeps what the machine was given (event_log); `flush_soon` hands it to the system once the orders are out."""

    def event(self, event: Event, rule: MachineRule, before: State) -> None: ...

    def quotes(self, event: Event, rule: MachineRule, before: State) -> None: ...

    def levels(self, leg: int, depth: Depth) -> None: ...

    def begin(self, state: State) -> None: ...

    def flush_soon(self) -> None: ...


class Runner:
    """Drives one pair: feed events in, journal, orders out. `trades` are the closed pairs of this run.

    Args:
        payments: the funding stamps of the whole time; or, `growing`, those known so far, in a list that others fill and
            tell of by `funded`.
    """

    def __init__(
        self,
        rule: MachineRule,
        journal: Journal,
        broker: Broker,
        payments: Sequence[FundingPayment] = (),
        resumed: Resumed = AFRESH,
        recorder: Recorder | None = None,
        wallets: Wallets | None = None,
        *,
        growing: bool = False,
    ) -> None:
        self.state = resumed.state
        self._draft: State | None = None  # a copy of it that nothing has changed, where one is left
        self.newest = rule
        self.pinned = resumed.rule or rule  # of the open pair: it keeps what it was opened with
        self.hold = FREE
        self.trades: list[Trade] = []
        self.missed = 0
        self.stuck: set[int] = set()  # legs whose venue refuses to close them for good
        self.failures = 0  # pairs in a row that were not filled or had to be unwound
        self.events = 0
        self.now_ns = 0  # of the last event; the clock never goes back
        self.journal = journal
        self._broker = broker
        self._recorder = recorder
        self.wallets = wallets
        self._payments, self._growing = payments, growing
        self._stamps = () if growing else [p.ts_ns for p in payments]  # only a table that is whole shows its holes
        self.promised = (0.0, NOTHING_EXPECTED)  # the horizon, and what is expected over it
        self._books: tuple[Book, Book] | None = None
        self._known, self._shift = UNKNOWN, 0.0
        self._marked = 0.0
        self._fills: list[Fill] = list(resumed.fills)
        self._working = [next((p.order_id for p in resumed.working if p.leg == leg), "") for leg in (SPOT, PERP)]
        self._sent = 0

    @property
    def wake_ns(self) -> int:
        """When the machine wants a timer; one that is already due rings now."""
        return max(self.state.wake_ns, self.now_ns)

    @property
    def rule(self) -> MachineRule:
        """The rule in force: the newest while flat, that of the entry while a pair is open; under the guards' hold."""
        rule = self._of_pair
        if self.stuck and self.state.phase in (EXITING, HEDGING):
            rule = self._without_stuck(rule)
        if not self.hold.may_rest and rule.quoting.leg != NO_LEG:  # as if it had rested for as long as it may
            rule = rule._replace(quoting=rule.quoting._replace(entry=False, longest_rest_ns=-NEVER))
        may_enter, flatten = self.newest.may_enter and self.hold.may_enter, self.hold.flatten
        if rule.may_enter == may_enter and rule.flatten == flatten:
            return rule
        return rule._replace(may_enter=may_enter, flatten=flatten)

    def _without_stuck(self, rule: MachineRule) -> MachineRule:
        """The rule in which nothing can be ordered of a leg that its venue will not close."""
        for leg in self.stuck:
            rule = rule._replace(**{LEGS[leg]: (rule.spot, rule.perp)[leg]._replace(min_qty=math.inf)})
        return rule

    @property
    def _of_pair(self) -> MachineRule:
        """The rule of the pair that is open, or of the next one."""
        return self.newest if self.state.phase == FLAT else self.pinned

    @property
    def books(self) -> tuple[Book, Book]:
        """The newest books of both legs; there are none before the first quote."""
        return self._books

    @property
    def shift(self) -> float:
        """What the signal adds to the raw edge and cost of the last quote (see `Event`)."""
        return self._shift

    @property
    def working(self) -> bool:
        """Whether an order of ours is out."""
        return self.state.legs[SPOT].working != 0.0 or self.state.legs[PERP].working != 0.0

    @property
    def unsettled(self) -> bool:
        """Whether one is out that may fill at any moment because we want it to, so that positions cannot be compared: any
        but a quote that rests, of which the fills are told."""
        state = self.state
        rests = state.quote != 0.0 and state.quote_ns != NEVER and not state.withdrawn
        return any(
            leg.working != 0.0 and not (rests and k == self.pinned.quoting.leg) for k, leg in enumerate(state.legs)
        )

    def quote(self, ts_ns: int, spot: Book, perp: Book, outside: Report | None = None) -> None:
        """A new book on either leg; on paper with the liquidation that it brings."""
        self._books = (spot, perp)
        rule = self.rule
        self._known, self._shift = step(self._known, ts_ns, spot, perp, rule.filter)
        if rule.funding_horizon_s > 0.0:
            if rule.funding_horizon_s != self.promised[0]:
                self.promised = rule.funding_horizon_s, self._expected(rule.funding_horizon_s)
            self._shift += self.promised[1].at(ts_ns)
        if outside:
            self.report(outside, OUTSIDE)
            return
        self._handle(Event(QUOTE, ts_ns, spot, perp, 0, 0.0, 0.0, 0.0, self._shift), None)

    def passed(self, event: Event, now_ns: int, spot: Book, perp: Book) -> None:
        """Quotes on which nothing is decided; the event's fields are columns, the last ones are told beside."""
        self.events, self.now_ns = self.events + len(event.ts_ns), now_ns
        self._books, self._shift = (spot, perp), event.shift
        if self._recorder:
            self._recorder.quotes(event, self.rule, self.state)

    def _expected(self, horizon_s: float) -> Expected:
        """Of a table that grows nothing is expected before it reaches as far back as the whole one would."""
        if self._growing and len(self._payments) <= RECENT:
            return NOT_KNOWN
        return expected(self._payments, horizon_s)

    def funded(self) -> None:
        """The stamps have changed: what is expected is asked anew."""
        self.promised = (0.0, NOTHING_EXPECTED)

    def report(self, report: Report, kind: int = REPORT) -> None:
        """An order of ours has ended, one that rests was accepted or filled, an ended one filled more, or a position changed
        from outside.

        With the kind `OUTSIDE` the machine halts by itself; a live session, which holds it and can resume, tells of a
        change from outside by a plain report.
        """
        spot, perp = self._books
        quotes = self.state.rests and report.leg == self.pinned.quoting.leg
        if report.give_up or (report.refused == NEVER_REACHED and not quotes):
            self._give_up(report)
        legs = self.state.legs
        works = report.order_id == self._working[report.leg]
        remaining = report.remaining if works else legs[report.leg].working  # a late fill leaves what works alone
        now_ns, told = max(report.ts_ns, self.now_ns), (report.leg, report.filled, report.price, remaining)
        self._handle(Event(kind, now_ns, spot, perp, *told, self._shift), report)

    def _give_up(self, report: Report) -> None:
        """What a venue will not take is not sent again: an entry is unwound at once, also where an order never arrived;
        what a leg cannot close is hedged again on the other, and then the machine halts, hedged or not."""
        state, why = self.state, f"{LEGS[report.leg]} given up: {report.refused}"
        mends = state.phase in (ENTERING, EXITING, HEDGING)
        if mends and state.phase != EXITING and not (state.exiting or self.stuck):
            self.force(replace(state, phase=ENTERING, exiting=True, reason=UNWOUND), why)  # sent at once: a new remedy
        elif mends and report.give_up and any(leg.position for leg in state.legs):
            self.stuck.add(report.leg)
            self.force(replace(state, phase=EXITING, exiting=False, reason=HALT), why)

    def timer(self, now_ns: int = 0) -> None:
        """The time that the machine asked for has come; `now_ns` is the clock, where it may be later than that."""
        spot, perp = self._books
        self._handle(Event(TIMER, max(self.wake_ns, now_ns), spot, perp, 0, 0.0, 0.0, 0.0, self._shift), None)

    def _handle(self, event: Event, report: Report | None) -> None:
        """Decide, journal, act. Nothing of ours has changed when the journal cannot be written."""
        self.events += 1
        self.now_ns = event.ts_ns
        before, rule = self.state, self.rule
        fill = self._fill_of(report, rule) if report and report.filled != 0.0 else None
        if self.wallets:
            event = event._replace(wallet=self.wallets.at(event, fill))
        state, self._draft = self._draft or before.copy(), None  # adopted once the journal has it
        orders = decide(state, event, rule)
        if self.wallets and state.refusing:
            self.wallets.lacked(event)
        if orders is NO_ORDERS and report is None and state == before:
            self._draft = state
            self._record(event, rule, before)
            return
        placed = [Placed(self._order_id(leg), leg, order) for leg, order in enumerate(orders) if order.qty != 0.0]
        fills = [*self._fills, fill] if fill else self._fills
        late = state.phase == FLAT and fill is not None  # a late fill too small to sell ends at once
        closed = (pair_lives(before) and not pair_lives(state)) or late
        trade = None
        if closed and fills:
            end = closing(state, event.spot, event.perp, event.ts_ns, state.reason)
            trade = close_pair(fills, end, self._payments, self._stamps)
        if report or placed or state != before:
            opened = rule if before.phase == FLAT and state.phase != FLAT else None
            self.journal.event(event, state, placed, report, fill, trade, opened)
        if fill and self.wallets:
            self.wallets.booked(fill)
        self.state, self.pinned, self._fills = state, self._of_pair, [] if closed else fills
        if report and report.order_id == self._working[report.leg] and report.remaining == 0.0:
            self._working[report.leg] = ""
        if trade:
            self.trades.append(trade)
        if closed and not (before.rests and not trade):  # to have rested in vain is no failure
            self.missed += not trade
            self.failures = self.failures + 1 if state.reason == UNWOUND or not trade else 0
        try:
            self._act(orders, placed, event.ts_ns)
        finally:  # behind the orders, which wait for nothing that can come later
            self._record(event, rule, before)
        if placed and self._recorder:
            self._recorder.flush_soon()

    def _record(self, event: Event, rule: MachineRule, before: State) -> None:
        """What the machine was told, once it is certain that it was."""
        if self._recorder:
            self._recorder.event(event, rule, before)

    def _act(self, orders: tuple, placed: list[Placed], now_ns: int) -> None:
        """Both legs in one synchronous block."""
        for order_id, leg, _ in placed:
            self._working[leg] = order_id
        if placed:
            self._broker.place(placed, now_ns)
        for leg, order in enumerate(orders):
            if order.cancel:
                self._broker.cancel(leg, now_ns)

    def _order_id(self, leg: int) -> str:
        """Own order ids: run, leg and a count; known before the order leaves."""
        self._sent += 1
        return f"{self.journal.run_id}-{LEGS[leg][0]}{self._sent}"

    def _fill_of(self, report: Report, rule: MachineRule) -> Fill:
        """The report's fill, with the fee that the venue took (on paper the rule's)."""
        fee_usdt = report.fee_usdt
        if fee_usdt is None:
            fee_usdt = sizing.fee_usdt(report.filled, report.price, (rule.spot, rule.perp)[report.leg])
        return Fill(self.state.pair, report.ts_ns, report.leg, report.filled, report.price, fee_usdt)

    def force(self, state: State, why: str) -> None:
        """The machine goes on from `state`: a person lifted a halt, or a venue refuses an order for good."""
        self.journal.forced(self.now_ns, state, why)
        if self._recorder:
            self._recorder.begin(state)
        self.state, self._draft = state, None
        if state.phase == FLAT:
            self._fills = []

    def finish(self, ts_ns: int) -> None:
        """The quotes have ended: what is still open is closed at the exit side of the last books, and flagged."""
        if self._books is None:
            return
        fills, closings = close_out(self.state, *self._books, ts_ns, self.rule)
        if fills:
            self._fills.extend(fills)
            trade = close_pair(self._fills, closings[0], self._payments, self._stamps)
            self.journal.closing(list(fills), trade)
            self.trades.append(trade)

    def line(self) -> str:
        """One line of what is."""
        state = self.state
        held = f"spot {state.legs[SPOT].position:+g}, perp {state.legs[PERP].position:+g}"
        legs = held if state.phase != FLAT else "no position"
        net = sum(t.net_usdt for t in self.trades)
        return (
            f"{PHASES[state.phase]}, pair {state.pair}, {legs}, {len(self.trades)} trades, net {net:+.4f} USDT, "
            f"open {self.mark_usdt():+.4f} USDT"
        )

    @property
    def halted(self) -> bool:
        return self.state.phase == HALTED

    def alone_usdt(self) -> float:
        """What the legs differ by, at the spot's bid; 0.0 where neither venue would take it as an order."""
        excess = abs(math.fsum(leg.position for leg in self.state.legs))
        return sizing.floor_to(excess, self.rule.step) * self._books[SPOT].bid if self._books else 0.0

    def mark_usdt(self) -> float:
        """Unrealized profit of the open pair at the exit side of both books, entry fees included; 0.0 when flat.

        While a book is one-sided or crossed it stays what it was: nobody could leave at such a price.
        """
        if not self._fills or self._books is None:
            self._marked = 0.0
        elif fills := self._as_if_left():
            self._marked = math.fsum(-f.qty * f.price - f.fee_usdt for f in fills)
        return self._marked

    def mark_parts(self) -> dict[str, float]:
        """`mark_usdt` by what it comes from: spot, perp, fees; {} when flat, or while nobody could leave."""
        fills = self._as_if_left()
        legs = {name: math.fsum(-f.qty * f.price for f in fills if f.leg == leg) for leg, name in enumerate(LEGS)}
        return legs | {"fees": -math.fsum(f.fee_usdt for f in fills)} if fills else {}

    def _as_if_left(self) -> list[Fill]:
        """The open pair's fills and those of leaving it now at the exit side; none when flat or where a book forbids it."""
        if not self._fills or self._books is None or not all(map(tradable, self._books)):
            return []
        return [*self._fills, *close_out(self.state, *self._books, self._fills[-1].ts_ns, self.rule)[0]]
