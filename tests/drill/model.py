"""Virtual time, and two venues that exist only in this process: what a session sees of them is `base.Venue`.

`VirtualLoop` is asyncio's own loop whose clock is put forward whenever nothing is ready: a minute of a session passes in
milliseconds, and the same seed gives the same run. A `Market` is the venue's truth and outlives every runner; a
`ModelVenue` is one runner's connection to it, with round trips of 5 to 150 ms.
"""

import asyncio
import contextvars
import math
import random
import selectors
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from delta_arb.live.venues.base import Account, Execution, Funding, ListedTerms, OrderOutcome, VenueError
from delta_arb.market import NS, SPOT, Book, Order
from delta_arb.venue_terms import VenueTerms

BEGAN_NS = 1_790_000_000 * NS
ORDER_S = 0.5  # the window of an order, as `websocket.Pace` has it
FEE = 5e-4
OURS = contextvars.ContextVar("ours", default=False)  # whether a callback belongs to the runner, and not to a venue
HOUR_NS = 3600 * NS


class _Instant(selectors.DefaultSelector):
    """Waits for nothing: the time until the next timer is handed to `passed` instead."""

    passed: Callable[[float], None]

    def select(self, timeout: float | None = None) -> list:
        found = super().select(0)
        if not found and timeout:
            self.passed(timeout)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """`step`, where it is set, is called before each callback of the runner: between two of its awaits."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.step: Callable[[], None] | None = None
        selector = _Instant()
        selector.passed = self._pass
        super().__init__(selector)

    def _pass(self, seconds: float) -> None:
        self.now_s += seconds

    def time(self) -> float:
        return self.now_s

    def now_ns(self) -> int:
        return BEGAN_NS + round(self.now_s * NS)

    def call_soon(self, callback, *args, context=None):
        return super().call_soon(*self._counted(callback, args, context), context=context)

    def call_at(self, when, callback, *args, context=None):
        return super().call_at(when, *self._counted(callback, args, context), context=context)

    def _counted(self, callback, args, context) -> tuple:
        ours = self.step and (context or contextvars.copy_context()).get(OURS)
        return (self._stepped, callback, *args) if ours else (callback, *args)

    def _stepped(self, callback, *args):
        if self.step:
            self.step()
        callback(*args)


class Fault(NamedTuple):
    """What happens to the nth order of a leg, counted from 0: `kind` is one of KINDS, `x` a number in [0, 1)."""

    kind: str
    leg: int
    nth: int
    x: float = 0.5

    def __str__(self) -> str:
        return f"{self.kind} {('spot', 'perp')[self.leg]} {self.nth} {self.x:.2f}"


KINDS = (
    "refused",  # by a code that a later order may get past
    "refused for good", "lost",  # never arrives, and nobody says so
    "late",  # accepted at the end of its window
    "unanswered",  # filled, and neither answered nor pushed
    "doubt",  # filled, answered by a gateway's page, not pushed
    "untold",  # filled; a push comes much later
    "twice",  # told twice
    "part", "none",  # of it filled
    "held",  # filled after a while, or when it is cancelled
)  # fmt: skip


@dataclass
class Placement:
    """An order as the venue has it."""

    order_id: str
    qty: float
    limit: float
    filled: float = 0.0
    price: float = 0.0
    fee: float = 0.0
    final: bool = False
    at_ns: int = 0

    def outcome(self) -> OrderOutcome:
        return OrderOutcome(self.order_id, self.at_ns, self.filled, self.price, self.fee, self.final)


@dataclass
class Market:
    """One venue's truth."""

    leg: int
    loop: VirtualLoop
    rng: random.Random
    position: float = 0.0
    usdt: float = 10_000.0
    book: Book = field(default_factory=lambda: Book(0.8, 0.8002, 500.0, 500.0, 0))
    faults: list[Fault] = field(default_factory=list)
    arrived: list[str] = field(default_factory=list)  # every order that reached it
    sent: int = 0
    orders: dict[str, Placement] = field(default_factory=dict)
    deals: list[Execution] = field(default_factory=list)
    silent_until_s: float = 0.0
    client: "ModelVenue | None" = None
    traded: Callable[[], None] = lambda: None

    @property
    def terms(self) -> VenueTerms:
        if self.leg == SPOT:
            return VenueTerms(venue="mexc", qty_step=1.0, min_qty=1.0, min_notional_usdt=1.0, price_tick=0.0001)
        return VenueTerms(venue="gate", contract_size=10.0, qty_step=10.0, min_qty=10.0, price_tick=0.0001)

    def fault(self) -> Fault | None:
        """Of the order that is sent now."""
        nth, self.sent = self.sent, self.sent + 1
        return next((fault for fault in self.faults if fault.nth == nth), None)

    def show(self, bid: float, ask: float, qty: float = 500.0) -> None:
        self.book = Book(bid, ask, qty, qty, self.loop.now_ns())
        if self.client and self.loop.time() >= self.silent_until_s:
            self.client.heard(self.book)

    def accept(self, order_id: str, order: Order, sent_s: float, fault: Fault | None) -> str:
        """An order arrives; why it is refused, or ""."""
        self.arrived.append(order_id)
        if self.loop.time() > sent_s + ORDER_S + 1e-9:
            return "expired"
        if fault and fault.kind.startswith("refused"):
            return "30010" if fault.kind == "refused" else "30016"
        if order.reduce_only and order.qty * self.position >= 0.0:
            return "POSITION_EMPTY"
        qty = math.copysign(min(abs(order.qty), abs(self.position)), order.qty) if order.reduce_only else order.qty
        placed = self.orders[order_id] = Placement(order_id, qty, order.limit, at_ns=self.loop.now_ns())
        if fault and fault.kind == "held":
            self.loop.call_later(0.1 + 4.0 * fault.x, self._fill, placed, 1.0)
        else:
            share = {"part": fault.x, "none": 0.0}.get(fault.kind, 1.0) if fault else 1.0
            self._fill(placed, share)
        return ""

    def _fill(self, placed: Placement, share: float) -> None:
        if placed.final:
            return
        book, step = self.book, self.terms.qty_step
        price, shown = (book.ask, book.ask_qty) if placed.qty > 0 else (book.bid, book.bid_qty)
        crosses = price <= placed.limit if placed.qty > 0 else price >= placed.limit
        qty = math.floor(min(abs(placed.qty), shown) * share / step + 1e-9) * step if crosses else 0.0
        placed.final, placed.at_ns = True, self.loop.now_ns()
        if qty:
            signed = math.copysign(qty, placed.qty)
            placed.filled, placed.price, placed.fee = signed, price, qty * price * FEE
            self.position += signed
            self.usdt -= placed.fee + (signed * price if self.leg == SPOT else 0.0)
            number = str(len(self.deals))
            self.deals.append(Execution(number, placed.order_id, placed.at_ns, signed, price, placed.fee))
            self.traded()
        if self.client:
            self.client.pushed(placed)

    def cancel(self, order_id: str) -> None:
        """Half of the held ones are filled meanwhile."""
        placed = self.orders.get(order_id)
        if placed and not placed.final:
            self._fill(placed, self.rng.choice((0.0, 1.0)))


class ModelVenue:
    """One runner's connection to a market; once it is `cut`, nothing goes either way."""

    clock_offset_ns = 0
    weight_left = 100
    allowance = 10
    paused_s = 0.0
    trouble = ""
    reachable = True
    closed = ""
    private_alive = True
    tick = 0.0001
    remembered = ""

    def __init__(self, market: Market) -> None:
        self.market, self.leg = market, market.leg
        self.name, self.terms = market.terms.venue, market.terms
        self._loop, self._rng, self.cut = market.loop, market.rng, False
        self._quiet: dict[str, float] = {}  # orders of which no push tells before that time
        self._venue = contextvars.copy_context()  # in which nothing is ours
        self._venue.run(OURS.set, False)

    @property
    def clock_ns(self) -> int:
        return self._loop.now_ns()

    def _way_s(self) -> float:
        return self._rng.uniform(0.0025, 0.075)

    async def _asked(self) -> None:
        """A question on its way there and back."""
        await asyncio.sleep(2.0 * self._way_s())
        if self.cut:
            await asyncio.Event().wait()
        if self._loop.time() < self.market.silent_until_s:
            raise VenueError(f"{self.name} does not answer")

    async def open(self, on_quote, on_outcome) -> None:
        await self._asked()
        self._on_quote, self._on_outcome, self._runner = on_quote, on_outcome, contextvars.copy_context()
        self.market.client = self
        self.heard(self.market.book._replace(fresh_ns=self._loop.now_ns()))

    def asked_before(self, hours) -> None:
        """It counts nothing."""

    async def close(self) -> None:
        self.cut = True

    async def failed(self) -> None:
        await asyncio.Event().wait()

    def heard(self, book: Book) -> None:
        self._tell(self._way_s(), self._on_quote, self.leg, book, book.fresh_ns)

    def _tell(self, seconds: float, what: Callable, *args: Any) -> None:
        def tell() -> None:
            if not self.cut:
                what(*args)

        self._loop.call_later(seconds, tell, context=self._runner)

    def pushed(self, placed: Placement) -> None:
        wait_s = self._quiet.get(placed.order_id, 0.0)
        if wait_s < math.inf:
            self._tell(self._way_s() + wait_s, lambda: self._on_outcome(self.leg, placed.outcome()))

    # Orders

    def prepare(self, order_id: str, order: Order) -> Callable[[], None]:
        return lambda: self._sent(order_id, order)

    def _sent(self, order_id: str, order: Order) -> None:
        if self.cut:
            return
        fault, sent_s = self.market.fault(), self._loop.time()
        kind = fault.kind if fault else ""
        if kind in ("unanswered", "doubt", "untold"):
            self._quiet[order_id] = 1.0 + 2.0 * fault.x if kind == "untold" else math.inf
        if kind == "lost":
            self._tell(ORDER_S, self._doubted, order_id)
            return
        late_s = min(fault.x + 0.3, ORDER_S) if kind == "late" else self._way_s()

        def arrives() -> None:
            refused = self.market.accept(order_id, order, sent_s, fault)
            if refused:
                ended = OrderOutcome.nothing(order_id, refused=refused, for_good=refused == "30016")
                self._tell(self._way_s(), self._on_outcome, self.leg, ended)
            elif kind == "twice":
                self.pushed(self.market.orders[order_id])
            elif kind == "doubt":
                self._tell(self._way_s(), self._doubted, order_id)

        self._loop.call_later(late_s, arrives, context=self._venue)

    def _doubted(self, order_id: str) -> None:
        self._on_outcome(self.leg, OrderOutcome.nothing(order_id, doubt="no answer"))

    async def outcome(self, order_id: str) -> OrderOutcome | None:
        await self._asked()
        placed = self.market.orders.get(order_id)
        return placed.outcome() if placed else None

    async def cancel(self, order_id: str) -> None:
        await self._asked()
        self.market.cancel(order_id)

    async def working(self) -> tuple[str, ...]:
        await self._asked()
        return tuple(order_id for order_id, placed in self.market.orders.items() if not placed.final)

    async def deals(self, start_ns: int, end_ns: int) -> tuple[Execution, ...]:
        await self._asked()
        return tuple(deal for deal in self.market.deals if start_ns <= deal.ts_ns < end_ns)

    # The account and the market

    async def book(self) -> Book:
        await self._asked()
        return self.market.book._replace(fresh_ns=self._loop.now_ns())

    async def account(self) -> Account:
        asked_ns = self._loop.now_ns()
        await self._asked()
        coin, position = (self.market.position, 0.0) if self.leg == SPOT else (0.0, self.market.position)
        return Account(self.market.usdt, self.market.usdt, coin, position, 0.0, 0, asked_ns)

    async def listed(self) -> ListedTerms:
        await self._asked()
        return ListedTerms(self.market.terms)

    async def funding(self) -> Funding:
        await self._asked()
        now_ns = self._loop.now_ns()
        return Funding(1e-4, now_ns - now_ns % (8 * HOUR_NS) + 8 * HOUR_NS, 8 * 3600, 0.8)

    async def funding_history(self, start_ns: int, end_ns: int) -> tuple[tuple[int, float], ...]:
        await self._asked()
        return ()
