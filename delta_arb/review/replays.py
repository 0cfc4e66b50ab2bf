"""One replay after the other of what a run saw, each with one thing more as it really was; `bridge` compares them.

A step is the live runner, its clock the recorded stamps, its venues on paper: the same `decide`, the same journal
calls, kept in memory. Only what the orders meet and which rule is in force differ from step to step.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import NamedTuple

from delta_arb.backtest.replay import Backtest
from delta_arb.live import replay
from delta_arb.live.paper import PaperVenue, Working
from delta_arb.live.runner import FREE, Hold, Resumed, Runner
from delta_arb.live.venues.base import Placed, Report
from delta_arb.market import MS, PERP, SPOT, Book, Fill, FundingPayment, Order, fill, left_of
from delta_arb.params import Params
from delta_arb.quotes.tape import Tape
from delta_arb.review.session_log import PAPER, Recorded, SentOrder
from delta_arb.strategy.ledger import Trade, close_pair
from delta_arb.strategy.state import Event, MachineRule, State
from delta_arb.wallets import BOTTOMLESS, Wallet

SOON_NS = 200 * MS  # venues tell a book every 10 to 100 ms, not every change


class Met(NamedTuple):
    """An order and what became of it: filled (signed) and price; `book` is what it met, where that is known.

    `around` holds the lowest and highest touch that was received near its arrival: venues do not send every book.
    """

    ts_ns: int
    leg: int
    qty: float
    limit: float
    filled: float
    price: float
    book: Book | None = None
    order_id: str = ""
    around: tuple[float, float] = (0.0, 0.0)


class Pair(NamedTuple):
    """One pair of one replay, or of the run: when it was decided, its orders, and its money (None: nothing was filled)."""

    decided_ns: int
    orders: tuple[Met, ...]
    trade: Trade | None

    @property
    def net_usdt(self) -> float:
        return self.trade.net_usdt if self.trade else 0.0

    @property
    def end_ns(self) -> int:
        return self.trade.closed_ns if self.trade else self.decided_ns


class Force(NamedTuple):
    """A rule and a wallet, and from when on they were in force."""

    ts_ns: int
    rule: MachineRule
    wallet: Wallet


def forces(run: Recorded) -> tuple[Force, ...]:
    """What the run was decided under, at each change; fees as they were assumed."""
    found: list[Force] = []
    known: tuple[MachineRule, Wallet] | None = None
    for event, rule, _ in run.events:
        if known is None or rule != known[0] or event.wallet != known[1]:
            known = (rule, event.wallet)
            found.append(Force(event.ts_ns, assumed(rule, run.params), event.wallet))
    return tuple(found)


def assumed(rule: MachineRule, params: Params) -> MachineRule:
    """The rule with the fees of both roles that the research assumed."""
    spot, perp = (
        leg._replace(fee=terms.taker_fee, maker_fee=terms.maker_fee)
        for leg, terms in ((rule.spot, params.spot), (rule.perp, params.perp))
    )
    return rule._replace(spot=spot, perp=perp)


def base_rule(known: Sequence[Force]) -> MachineRule:
    """The first rule under which entries were allowed; without any, the first."""
    free = (f.rule for f in known if f.rule.may_enter and not f.rule.flatten)
    return next(free, known[0].rule)


def unguarded(known: Sequence[Force], base: MachineRule, begun_ns: int = 0) -> tuple[Force, ...]:
    """The same without guards: entries as the parameters allow them, no exits by order, no empty wallet.

    Until `begun_ns` the run took up what it found, which no guard ordered.
    """
    taking_up = tuple(f for f in known if f.ts_ns < begun_ns)
    guarded = (*(f._replace(ts_ns=begun_ns) for f in taking_up[-1:]), *known[len(taking_up) :])
    return taking_up + tuple(
        Force(
            f.ts_ns,
            f.rule._replace(may_enter=base.may_enter, flatten=base.flatten),
            BOTTOMLESS._replace(spot_coin=f.wallet.spot_coin),
        )
        for f in guarded
    )


def unchanged(plain: Sequence[Force], base: MachineRule) -> tuple[Force, ...]:
    """The same under one rule, the first: no new parameters."""
    return tuple(f._replace(rule=base._replace(may_enter=f.rule.may_enter, flatten=f.rule.flatten)) for f in plain)


# --- a step ------------------------------------------------------------------------------------------------------------


class _Pages:
    """The journal of a step: kept in memory."""

    run_id = "again"

    def __init__(self) -> None:
        self.sent: list[tuple[int, int, Placed]] = []
        self.reports: dict[str, Report] = {}

    def event(
        self, event: Event, state: State, orders: Sequence[Placed], report=None, fill=None, trade=None, opened=None
    ) -> None:
        self.sent += [(state.pair, event.ts_ns, placed) for placed in orders]
        if report:
            self.reports[report.order_id] = report

    def closing(self, fills: list[Fill], trade: Trade) -> None:
        """The runner keeps the trade itself."""


class _Wallets:
    """The wallets that the run was told, by their time."""

    def __init__(self) -> None:
        self.now = BOTTOMLESS

    def at(self, event: Event, fill: Fill | None) -> Wallet:
        return self.now

    def booked(self, fill: Fill) -> None:
        """Nothing to do: the run was told."""

    def lacked(self, event: Event) -> None:
        """Nobody transfers here."""


def step(run: Recorded, tape: Tape, known: Sequence[Force], venue: PaperVenue) -> tuple[Pair, ...]:
    """The run's quotes once more, under the rules and wallets of `known`, filled by `venue`."""
    pages, wallets, at = _Pages(), _Wallets(), 0
    resumed = Resumed(replace(run.start, pair=0), None)
    runner = Runner(known[0].rule, pages, venue, run.payments, resumed, wallets=wallets, growing=True)
    replay.show_first(tape, venue)
    for group in replay.instants(tape):
        while at < len(known) and known[at].ts_ns <= group[0][0]:
            runner.newest, wallets.now = known[at].rule, known[at].wallet
            runner.hold = Hold(True, known[at].rule.flatten) if known[at].rule.flatten else FREE
            at += 1
        replay.play(group, runner, venue)
    replay.catch_up(runner, venue, max(tape.end_ns, run.end_ns), timers_at_until=True)
    runner.finish(max(tape.end_ns, runner.now_ns))
    return _pairs(pages, runner.trades, venue.met if isinstance(venue, MeasuredVenue) else {})


def _pairs(pages: _Pages, trades: Sequence[Trade], met: dict[str, tuple]) -> tuple[Pair, ...]:
    of_pair: dict[int, list[Met]] = {}
    for pair, ts_ns, (order_id, leg, order) in pages.sent:
        report = pages.reports.get(order_id)
        filled, price = (report.filled, report.price) if report else (0.0, 0.0)
        book, around = met.get(order_id, (None, (0.0, 0.0)))
        of_pair.setdefault(pair, []).append(
            Met(ts_ns, leg, order.qty, order.limit, filled, price, book, order_id, around)
        )
    by_pair = {trade.pair: trade for trade in trades}
    return tuple(Pair(orders[0].ts_ns, tuple(orders), by_pair.get(pair)) for pair, orders in of_pair.items())


def paper(run: Recorded, rule: MachineRule) -> PaperVenue:
    """Venues as they were assumed."""
    return PaperVenue(run.latency, run.kinds, (rule.spot, rule.perp), rule.max_quote_age_ns, depths=run.depths)


def of_backtest(result: Backtest, payments: Sequence[FundingPayment]) -> tuple[Pair, ...]:
    """The pairs of a backtest, settled with the stamps of the run; its orders are not compared one by one."""
    decided: dict[int, int] = {}
    for sent in result.sent:
        decided.setdefault(sent.pair, sent.ts_ns)
    fills = {c.pair: [f for f in result.fills if f.pair == c.pair] for c in result.closings}
    by_pair = {c.pair: close_pair(fills[c.pair], c, payments, ()) for c in result.closings if fills[c.pair]}
    return tuple(Pair(ts_ns, (), by_pair.get(pair)) for pair, ts_ns in decided.items())


# --- orders at the times at which they did arrive ------------------------------------------------------------------------


class RoundTrip(NamedTuple):
    """How long an order took to its venue, and until the machine was told its end, ns from the decision."""

    there_ns: int
    back_ns: int


def round_trips(run: Recorded) -> dict[str, RoundTrip]:
    """Of each order whose end is known. The venue's stamp cannot be outside of what our own clock saw."""
    found = {}
    for order in run.orders:
        end = run.ends.get(order.order_id)
        if end:
            back_ns = end.reported_ns - order.ts_ns
            there_ns = min(max(end.venue_ns - order.ts_ns, 0), back_ns) if end.venue_ns else back_ns
            found[order.order_id] = RoundTrip(there_ns, back_ns)
    return found


class Shown:
    """The books of one leg in the order in which they were shown, by the venue's stamps or (of paper) by their receipt."""

    def __init__(self, run: Recorded, leg: int) -> None:
        self.stamps: list[int] = []
        self.books: list[Book] = []
        by_receipt = run.mode == PAPER
        for event in (*(logged.event for logged in run.events), *run.untold):
            book = (event.spot, event.perp)[leg]
            if not self.books or book != self.books[-1]:
                stamp = event.ts_ns if by_receipt else book.fresh_ns
                self.stamps.append(max(stamp, self.stamps[-1] if self.stamps else 0))
                self.books.append(book)

    def at(self, ts_ns: int) -> Book:
        """The book in force at `ts_ns`; the first one before any."""
        return self.books[max(bisect_right(self.stamps, ts_ns) - 1, 0)]

    def near(self, ts_ns: int) -> list[Book]:
        """All that may have been in force at a stamp of whole milliseconds: those around it, and the next one told, if
        it came soon, since it stood at the venue before it was told."""
        # The venues' stamps are whole milliseconds, and the clocks agree to about one.
        first = max(bisect_left(self.stamps, ts_ns - MS) - 1, 0)
        past = bisect_right(self.stamps, ts_ns + 2 * MS)
        soon = past < len(self.stamps) and self.stamps[past] <= ts_ns + SOON_NS
        return self.books[first : past + soon]


class MeasuredVenue(PaperVenue):
    """Fills each order by the book that it did meet: the run's own orders at their own times, others at the usual ones."""

    def __init__(self, run: Recorded, rule: MachineRule) -> None:
        super().__init__(run.latency, run.kinds, (rule.spot, rule.perp), rule.max_quote_age_ns, depths=run.depths)
        self._polled = (True, True)  # the book met is known when the order is sent
        self._run = run
        self._shown = (Shown(run, SPOT), Shown(run, PERP))
        self._round_trips = round_trips(run)
        self._known = {(o.ts_ns, o.leg): o for o in run.orders}
        self._usual = tuple(self._median(leg) for leg in (SPOT, PERP))
        self.met: dict[str, tuple[Book, tuple[float, float]]] = {}

    def _median(self, leg: int) -> RoundTrip:
        took = [
            self._round_trips[o.order_id]
            for o in self._run.orders
            if o.leg == leg and o.order_id in self._round_trips and not o.post_only
        ]
        if not took:
            return RoundTrip(self._latency.median_ns(leg), self._latency.median_ns(leg))
        return RoundTrip(round(median(r.there_ns for r in took)), round(median(r.back_ns for r in took)))

    def send(self, leg: int, order_id: str, order: Order, now_ns: int) -> None:
        ours = self._known.get((now_ns, leg))
        known = ours and not order.post_only  # the end of an order that rested says nothing of its way there
        trip = (self._round_trips.get(ours.order_id) if known else None) or self._usual[leg]
        book = self._book(leg, order, now_ns + trip.there_ns, ours)
        touches = [b.ask if order.qty > 0 else b.bid for b in self._shown[leg].near(now_ns + trip.there_ns)]
        self.met[order_id] = left_of(book, self._taken[leg]), (min(touches), max(touches))
        self._working[leg] = Working(order_id, order, now_ns + trip.there_ns, now_ns + trip.back_ns, book)

    def book_met(self, order: SentOrder) -> Book:
        """What an order of the run met, as far as its fill and its stamps tell."""
        arrival_ns = order.ts_ns + self._round_trips[order.order_id].there_ns
        return self._book(
            order.leg, Order(order.qty, order.limit, order.reduce_only, False, order.post_only), arrival_ns, order
        )

    def _book(self, leg: int, order: Order, arrival_ns: int, ours: SentOrder | None) -> Book:
        """The book that the order met; where several share the millisecond, the one that its fill tells of."""
        if ours is None or ours.order_id not in self._run.ends:
            return self._shown[leg].at(arrival_ns)
        end = self._run.ends[ours.order_id]
        if self._run.mode == PAPER:
            return (end.event.spot, end.event.perp)[leg]
        step_ = self._legs[leg].step
        for book in self._shown[leg].near(arrival_ns) if end.venue_ns else ():
            if fill(order.qty, order.limit, left_of(book, self._taken[leg]), step_) == (end.filled, end.price):
                return book
        return self._shown[leg].at(arrival_ns)
