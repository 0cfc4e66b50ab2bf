"""The replay of a resting order that is hedged on its fills: trades, rows and arrivals in the order of the venues.

At one stamp a venue's trades come first, then its rows, then what arrives there; the machine hears reports, then quotes, then
timers. A placement is judged by the book in force at its arrival. An order that arrives has no part in the trades of that
stamp, and lives until its cancel has arrived, that stamp included. A hedge meets the book in force at its arrival, at most the
size shown, and a size shown fills once.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from delta_arb.market import PERP, SPOT
from delta_arb.strategy.queue_fills import ASSUMPTIONS, Queued, crosses, joined, on_print, on_row
from delta_arb.strategy.resting import HEDGE, PLACE, TAKE, WITHDRAW, Command, HedgeRule, RestingPair, follow

TRADE, ROW, ARRIVAL, REPORT, HEARD, TIMER = range(6)


class Print(NamedTuple):
    """A trade of others at the venue of the resting leg; `aggressor` +1 bought."""

    ts_ns: int
    aggressor: int
    qty: float
    price: float


class Row(NamedTuple):
    """A book as one venue showed it."""

    ts_ns: int
    leg: int
    bid: float
    bid_qty: float
    ask: float
    ask_qty: float


class Costs(NamedTuple):
    """Latencies of the commands in ns (one for each kind), fees as fractions, and the bound of a hedge's price."""

    place_ns: int
    cancel_ns: int
    hedge_ns: int
    maker_fee: float
    spot_taker_fee: float
    perp_taker_fee: float
    price_bound: float

    def latency_ns(self, kind: int) -> int:
        return {PLACE: self.place_ns, WITHDRAW: self.cancel_ns, HEDGE: self.hedge_ns, TAKE: self.place_ns}[kind]


class Fill(NamedTuple):
    """A fill of the resting order."""

    ts_ns: int
    qty: float
    price: float


class Taken(NamedTuple):
    """A fill of a taker order."""

    sent_ns: int
    ts_ns: int
    leg: int
    qty: float
    price: float


@dataclass(slots=True)
class Resting:
    """What a replay came to: fills and taker orders in order, what was refused, when a cancel was done, and the money."""

    fills: list[Fill] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    refused_ns: list[int] = field(default_factory=list)
    cancelled_ns: list[int] = field(default_factory=list)
    found_filled: int = 0
    cash: list[float] = field(default_factory=lambda: [0.0, 0.0])
    fees: float = 0.0
    left: float = 0.0
    net_marked: float = 0.0


class _Sent(NamedTuple):
    command: Command
    sent_ns: int
    limit: float


class MakerReplay:
    """One pair over one tape.

    Args:
        prints, rows: of both venues, each in order of time.
        assumption: one of `queue_fills.ASSUMPTIONS`.
        decide: the commands of a machine that is asked after each row and at the times it returned last; it is handed the
            pair, the rows in force and the time, and returns commands with the next time it wants to be asked (ns).
    """

    def __init__(
        self,
        prints: Sequence[Print],
        rows: Sequence[Row],
        costs: Costs,
        hedge: HedgeRule,
        assumption: str,
        decide: Callable[[RestingPair, Sequence[Row], int], tuple[list[Command], int]],
    ) -> None:
        self._costs, self._hedge, self._assumption, self._decide = costs, hedge, ASSUMPTIONS.index(assumption), decide
        self.pair, self.result = RestingPair(), Resting()
        self._order: Queued | None = None
        self._books: dict[int, Row] = {}
        self._left: dict[int, list[float]] = {}  # of the sizes shown: bid, ask
        self._last_ns = max(x.ts_ns for x in (*prints, *rows))
        self._seq = count()
        self._heap: list[tuple[int, int, int, object]] = []
        for kind, events in ((TRADE, prints), (ROW, rows)):
            for event in events:
                self._push(event.ts_ns, kind, event)

    def command(self, ts_ns: int, command: Command | str) -> None:
        """A command that is given from outside, or `deadline`."""
        self._push(ts_ns, TIMER, command)

    def run(self) -> Resting:
        """Play everything; marks what is open at the exit side of the last rows."""
        handlers = {
            TRADE: self._on_print, ROW: self._on_row, ARRIVAL: self._on_arrival, REPORT: self._on_report,
            HEARD: self._on_heard, TIMER: self._on_timer,
        }  # fmt: skip
        while self._heap:
            now_ns, kind, _, event = heapq.heappop(self._heap)
            handlers[kind](now_ns, event)
        self._mark()
        return self.result

    def _push(self, ts_ns: int, kind: int, event: object) -> None:
        heapq.heappush(self._heap, (ts_ns, kind, next(self._seq), event))

    # The venues

    def _on_print(self, now_ns: int, event: Print) -> None:
        if self._order:
            self._order, qty = on_print(self._order, event.aggressor, event.price, event.qty, self._assumption)
            self._rested(now_ns, qty)

    def _on_row(self, now_ns: int, row: Row) -> None:
        self._books[row.leg], self._left[row.leg] = row, [row.bid_qty, row.ask_qty]
        if row.leg == SPOT and self._order:
            (best, size), (other, other_size) = _sides(self._order.side, row)
            self._order, qty = on_row(self._order, best, size, other, other_size)
            self._rested(now_ns, qty)
        self._push(now_ns, HEARD, None)

    def _rested(self, now_ns: int, qty: float) -> None:
        order = self._order
        if qty > 0.0:
            signed = order.side * qty
            self._book(SPOT, signed, order.price, self._costs.maker_fee)
            self._merge(Fill(now_ns, signed, order.price))
            self._push(now_ns, REPORT, ("fill", signed))
        if order.left <= 1e-12:
            self._order = None
            self._push(now_ns, REPORT, ("end", 0.0))

    def _merge(self, fill: Fill) -> None:
        fills = self.result.fills
        if fills and (fills[-1].ts_ns, fills[-1].price) == (fill.ts_ns, fill.price):
            fill = fill._replace(qty=fill.qty + fills.pop().qty)
        fills.append(fill)

    def _on_arrival(self, now_ns: int, sent: _Sent) -> None:
        if sent.command.kind == PLACE:
            self._arrive_post_only(now_ns, sent.command)
        elif sent.command.kind == WITHDRAW:
            self._arrive_cancel(now_ns)
        else:
            self._arrive_taker(now_ns, sent)

    def _arrive_post_only(self, now_ns: int, command: Command) -> None:
        book, side = self._books[SPOT], 1 if command.qty > 0 else -1
        if crosses(side, command.price, book.bid, book.ask):
            self.result.refused_ns.append(now_ns)
            self._push(now_ns, REPORT, ("end", 0.0))
            return
        (best, size), _ = _sides(side, book)
        self._order = joined(side, command.price, abs(command.qty), best, size)
        self._push(now_ns, REPORT, ("rests", 0.0))

    def _arrive_cancel(self, now_ns: int) -> None:
        if self._order is None:
            self.result.found_filled += 1
            return
        self._order = None
        self.result.cancelled_ns.append(now_ns)
        self._push(now_ns, REPORT, ("end", 0.0))

    def _arrive_taker(self, now_ns: int, sent: _Sent) -> None:
        leg, qty = PERP if sent.command.kind == HEDGE else SPOT, sent.command.qty
        book, shown = self._books[leg], self._left[leg]
        k, price = (1, book.ask) if qty > 0 else (0, book.bid)
        within = price <= sent.limit if qty > 0 else price >= sent.limit
        filled = min(abs(qty), shown[k]) * (1 if qty > 0 else -1) if within else 0.0
        shown[k] -= abs(filled)
        if filled:
            fee = self._costs.perp_taker_fee if leg == PERP else self._costs.spot_taker_fee
            self._book(leg, filled, price, fee)
            self.result.taken.append(Taken(sent.sent_ns, now_ns, leg, filled, price))
        self._push(now_ns, REPORT, ("hedged" if leg == PERP else "took", filled))

    def _book(self, leg: int, qty: float, price: float, fee: float) -> None:
        self.result.cash[leg] -= qty * price
        self.result.fees += abs(qty) * price * fee

    # The machine

    def _on_report(self, now_ns: int, report: tuple[str, float]) -> None:
        what, qty = report
        pair = self.pair
        if what == "rests":
            pair.since_ns = now_ns
        elif what == "end":
            pair.ended_order()
        elif what == "hedged":
            pair.hedged, pair.hedge_out = pair.hedged + qty, False
        elif what == "took":
            pair.held, pair.take_out = pair.held + qty, False
        else:
            pair.held += qty
        if self._heap and self._heap[0][:2] == (now_ns, REPORT):
            return  # reports of one stamp are one
        stuck = what in ("hedged", "took") and not qty and now_ns > self._last_ns
        self._send(now_ns, [] if stuck else follow(pair, self._hedge))
        self._push(now_ns, HEARD, None)

    def _on_heard(self, now_ns: int, _: object) -> None:
        if len(self._books) < 2 or now_ns > self._last_ns or (self._heap and self._heap[0][:2] == (now_ns, HEARD)):
            return
        commands, wake_ns = self._decide(self.pair, (self._books[SPOT], self._books[PERP]), now_ns)
        self._send(now_ns, commands)
        if now_ns < wake_ns <= self._last_ns:
            self._push(wake_ns, TIMER, None)

    def _on_timer(self, now_ns: int, event: Command | str | None) -> None:
        if event is None:
            self._on_heard(now_ns, None)
        elif event == "deadline":
            self.pair.closing = True
            self._send(now_ns, [Command(WITHDRAW)] if self.pair.price else follow(self.pair, self._hedge))
        else:
            if event.kind == PLACE:
                self.pair.placed(1 if event.qty > 0 else -1, event.price)
            self._send(now_ns, [event])

    def _send(self, now_ns: int, commands: Sequence[Command]) -> None:
        for command in commands:
            limit = self._limit(command) if command.kind in (HEDGE, TAKE) else 0.0
            self._push(now_ns + self._costs.latency_ns(command.kind), ARRIVAL, _Sent(command, now_ns, limit))

    def _limit(self, command: Command) -> float:
        book = self._books[PERP if command.kind == HEDGE else SPOT]
        bound = self._costs.price_bound
        return book.ask * (1.0 + bound) if command.qty > 0 else book.bid * (1.0 - bound)

    def _mark(self) -> None:
        result, pair = self.result, self.pair
        value = sum(
            qty * (self._books[leg].bid if qty > 0 else self._books[leg].ask)
            for leg, qty in ((SPOT, pair.held), (PERP, pair.hedged))
            if qty
        )
        result.net_marked = sum(result.cash) - result.fees + value
        result.left = self._order.left if self._order else 0.0


def _sides(side: int, row: Row) -> tuple[tuple[float, float], tuple[float, float]]:
    """(best, size) of the side that an order joins, and of the other one."""
    bid, ask = (row.bid, row.bid_qty), (row.ask, row.ask_qty)
    return (bid, ask) if side > 0 else (ask, bid)
