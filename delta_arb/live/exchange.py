"""What the two real venues have in common: opening, quotes in, orders out, and the end of each order found out once.

A venue (see `venue.Venue`) says what happened to an order in up to four places: the answer to the request, the pushes
of orders and of fills, and REST. All of them end in `_hear` and `_book`; an order is final when the venue calls it
ended, or filled it whole, and its fills add up to that. Nothing here sends an order twice.
"""

import asyncio
import logging
import math
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, NamedTuple

from ccxt.base import errors as ccxt

from delta_arb.errors import ParamsError
from delta_arb.market import Book, Instrument, Order

from .clients import Budget, Clients, code_of, plain, refusal
from .quotes import Quotes
from .stream import Pace, Stream
from .venue import Deal, OnOutcome, OnQuote, Outcome, OutcomeUnknown, VenueError

log = logging.getLogger(__name__)
OURS = re.compile(r"(?!t)(?=.*[a-z-])[0-9a-z-]{1,26}")  # wire: what both venues take, and no venue's own number


class Said(NamedTuple):
    """What a venue says of an order: gross quantity filled (signed, base units) and mean price; both ids."""

    order_id: str
    venue_id: str
    ts_ns: int
    filled: float
    price: float
    final: bool


class Booked(NamedTuple):
    """A fill, and the quantity that it took off the order, before a fee in the coin."""

    gross: float
    deal: Deal


@dataclass(slots=True)
class Sent:
    """An order of ours whose end is not known yet."""

    order: Order
    said: Said | None = None
    fills: dict[str, Booked] = field(default_factory=dict)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


def on_tick(limit: float, tick: float, buy: bool) -> Decimal:
    """`limit` on the price grid, never worse for us than asked: down for a buy, up for a sell. 0 for no price."""
    if not math.isfinite(limit):
        return Decimal(0)
    step = Decimal(repr(tick))
    steps = Decimal(repr(limit)) / step
    nearest = steps.to_integral_value()
    if abs(steps - nearest) > Decimal("1e-6"):  # closer than that is the noise of floating point
        nearest = steps.to_integral_value(ROUND_FLOOR if buy else ROUND_CEILING)
    return max(nearest, Decimal(0)) * step


def on_grid(qty: float, step: float) -> float:
    """`qty` without the noise of floating point; ParamsError when it is off the grid by more than that."""
    if step <= 0.0:
        return qty
    exact = round(qty / step) * Decimal(repr(step)) if math.isfinite(qty) else Decimal(0)
    if not exact or abs(float(exact) - qty) > 1e-6 * step:
        raise ParamsError(f"{qty} base units are not a multiple of {step}; size the order on the common step")
    return float(exact)


def booked(deal: Deal, coin: str, fee: float, base: str, rate: float) -> Booked:
    """A fill with its fee of `coin` counted; `deal` comes with the gross quantity and no fee."""
    if coin == "USDT" or fee == 0.0:
        return Booked(deal.qty, deal._replace(fee_usdt=fee))
    if coin == base:
        return Booked(deal.qty, deal._replace(qty=deal.qty - fee, fee_usdt=fee * deal.price))
    return Booked(deal.qty, deal._replace(fee_usdt=rate * abs(deal.qty) * deal.price, fee_exact=False))


def outcome_of(said: Said, fills: Iterable[Booked], rate: float) -> Outcome:
    """The sum of an order's fills; what is not booked yet counts at the order's price and the account's rate."""
    fills = list(fills)
    gross = math.fsum(f.gross for f in fills)
    missing = said.filled - gross if abs(said.filled) > abs(gross) * (1 + 1e-9) else 0.0
    net = math.fsum([missing, *(f.deal.qty for f in fills)])
    fee = math.fsum([rate * abs(missing) * said.price, *(f.deal.fee_usdt for f in fills)])
    parts = [(f.gross, f.deal.price) for f in fills] + [(missing, said.price)] * (missing != 0.0)
    exact = missing == 0.0 and all(f.deal.fee_exact for f in fills)
    price = _mean(parts)
    at_ns = max((f.deal.ts_ns for f in fills), default=said.ts_ns)
    return Outcome(said.order_id, at_ns, net, price, fee, said.final, fee_exact=exact)


def _mean(parts: list[tuple[float, float]]) -> float:
    """Mean price of (quantity, price) parts; exactly the price where there is but one, 0 where there is none."""
    if len({price for _, price in parts}) == 1:
        return parts[0][1]
    return math.fsum(q * price for q, price in parts) / math.fsum(q for q, _ in parts) if parts else 0.0


class Exchange(ABC):
    """A venue behind genuine ccxt; `Mexc` and `Gate` fill in what differs.

    Args:
        leg: SPOT or PERP.
        base: the coin, like "SYN".
        config: ccxt's constructor configuration. The keys are only there; without one there are quotes and no orders.
        orders_per_s: what `send` allows at most.
        taker_fee: of an account without keys, as a fraction; with keys it is read from the venue.
    """

    name: str
    client: type
    defaults: Mapping[str, Any]
    certain: frozenset[str]  # codes, see clients.refusal
    doubtful: frozenset[str]
    gone: frozenset[str]  # codes that say: no such order, or ended already

    instrument: Instrument
    tick: float

    def __init__(
        self,
        leg: int,
        base: str,
        config: Mapping[str, Any],
        *,
        pace: Pace | None = None,
        orders_per_s: float = 10.0,
        taker_fee: float | None = None,
    ) -> None:
        self.leg, self.base = leg, base
        self.quotes: Quotes
        self._config, self._pace = config, pace or Pace()
        self._budget = Budget(orders_per_s)
        self._fee = taker_fee
        self._sent: dict[str, Sent] = {}
        self._ids: dict[str, str] = {}  # the venue's number of an order that is in `_sent`: our id
        self._tasks: set[asyncio.Task] = set()
        self._private: Stream | None = None
        self._clients: Clients
        self._on_outcome: OnOutcome
        self._broken: asyncio.Future[None]

    # What differs

    @property
    @abstractmethod
    def symbol(self) -> str:
        """ccxt's name of the market."""

    @abstractmethod
    def _rules(self, market: dict, fee: float) -> Instrument: ...

    @abstractmethod
    async def _own_fee(self) -> float: ...

    @abstractmethod
    def _public_stream(self) -> Stream: ...

    @abstractmethod
    def _private_stream(self) -> Stream: ...

    @abstractmethod
    def _request(self, order_id: str, order: Order) -> tuple[float, dict]:
        """ccxt's amount and params for an order; raises ParamsError off the grid."""

    @abstractmethod
    def _answer(self, order_id: str, answer: dict) -> Said | None:
        """What ccxt's answer to a new order tells of its end."""

    @abstractmethod
    async def _look_up(self, order_id: str) -> Said | None: ...

    @abstractmethod
    async def _fills_of(self, said: Said) -> list[Booked]: ...

    @abstractmethod
    async def _cancel(self, order_id: str) -> None: ...

    # Opening and closing

    @property
    def clock_offset_ns(self) -> int:
        return self._clients.offset_ns

    @property
    def clock_ns(self) -> int:
        return self._clients.measured_ns

    @property
    def allowance(self) -> int:
        return self._budget.left

    @property
    def private_alive(self) -> bool:
        return self._private is not None and self._private.alive

    async def open(self, on_quote: OnQuote, on_outcome: OnOutcome) -> None:
        """Load the market, measure the clock, start the streams; quotes come before this returns.

        Raises:
            VenueError: the venue cannot be reached, refuses the keys, or a stream stays silent; everything is closed.
        """
        self._broken = asyncio.get_running_loop().create_future()
        self._on_outcome = on_outcome
        self._clients = Clients(self.name, self.client, self._config, self.defaults, self._pace)
        try:
            await self._clients.measure()
            market = await self._clients.load(self.symbol)
            self._market(market)
            fee = await self._own_fee() if self._clients.keyed else self._fee
            if fee is None:
                raise VenueError(f"{self.name}: without keys the account's fee is unknown; give taker_fee")
            self.instrument, self.tick = self._rules(market, fee), float(market["precision"]["price"])
            self.quotes = Quotes(self.leg, self.name, self._pace, on_quote, self.book, lambda: self._clients.offset_ns)
            await self._start_streams()
            self._spawn(self._watch_clock(), "clock")
        except BaseException:
            await self.close()
            raise

    def _market(self, market: dict) -> None:
        """Keep what is needed of ccxt's market."""
        if not market["active"]:
            raise VenueError(f"{self.name}: {self.symbol} is not open for trading; choose another market")
        self.id = market["id"]

    async def _start_streams(self) -> None:
        public = self._public_stream()
        streams = [public]
        if self._clients.keyed:
            self._private = self._private_stream()
            streams.append(self._private)
        await self.quotes.seed()
        await asyncio.gather(*(self._started(stream) for stream in streams))
        self._spawn(self.quotes.supervise(public), "quotes compared")

    async def _started(self, stream: Stream) -> None:
        """Run a stream, and wait for its first message or its refusal."""
        running = self._spawn(stream.run(), stream.name)
        first = asyncio.ensure_future(stream.first())
        done, _ = await asyncio.wait({running, first}, return_when=asyncio.FIRST_COMPLETED)
        if running in done:
            first.cancel()
            running.result()
        await first

    async def close(self) -> None:
        """End all tasks and connections; an order under way stays under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._clients.close()

    async def failed(self) -> None:
        await asyncio.shield(self._broken)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task:
        task = asyncio.create_task(work, name=f"{self.name} {name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() and not self._broken.done():
            self._broken.set_exception(task.exception())
            self._broken.exception()  # retrieved here: nobody may be waiting

    def _reseed(self) -> None:
        """The book by REST after a loss: what came in between is not sent again."""
        self._spawn(self._seed_again(), "seed")

    async def _seed_again(self) -> None:
        try:
            await self.quotes.seed()
        except VenueError as error:
            log.warning("%s: no book after a loss: %s", self.name, error)

    async def _watch_clock(self) -> None:
        while True:
            await asyncio.sleep(self._pace.clock_s)
            try:
                await self._clients.measure()
            except VenueError as error:
                log.warning("%s", error)

    # Orders

    def send(self, order_id: str, order: Order) -> None:
        """See `venue.Venue.send`; the request is under way when the loop gets its next turn."""
        price = self._price(order)
        amount, params, refused = 0.0, {}, self._unsendable(order_id, price)
        if not refused:
            try:
                amount, params = self._request(order_id, order)
            except ParamsError as error:
                refused = str(error)
        if not refused and not self._budget.take():
            refused = "our own limit of orders a second"
        if refused:
            outcome = Outcome(order_id, time.time_ns(), 0.0, 0.0, 0.0, True, refused)
            asyncio.get_running_loop().call_soon(self._on_outcome, self.leg, outcome)
            return
        self._sent[order_id] = Sent(order)
        side = "buy" if order.qty > 0 else "sell"
        request = self._clients.orders.create_order(self.symbol, "limit", side, amount, float(price), params)
        self._spawn(self._place(order_id, request), order_id)

    def _price(self, order: Order) -> Decimal:
        return on_tick(order.limit, self.tick, order.qty > 0)

    def _unsendable(self, order_id: str, price: Decimal) -> str:
        if not self._clients.keyed:
            return "no keys: this venue was opened for quotes only"
        if not OURS.fullmatch(order_id):
            return f"order id {order_id!r}: needs 1 to 26 of 0-9 a-z -, not beginning with t, not digits alone"
        if order_id in self._sent:
            return f"order id {order_id!r} is under way already"
        if price <= 0:
            return f"price {price}: a venue may take that for a market order"
        return ""

    async def _place(self, order_id: str, request: Awaitable[dict]) -> None:
        """Await the answer, then the end, and report what is known."""
        try:
            answer = await request
        except ccxt.BaseError as error:
            code = refusal(error, self.certain, self.doubtful)
            self._report(self._nothing(order_id, refused=code) if code else self._nothing(order_id, doubt=plain(error)))
            return
        if said := self._answer(order_id, answer):
            self._hear(said)
        if order_id in self._sent:
            await self._settle(order_id, self._sent[order_id])

    async def _settle(self, order_id: str, sent: Sent) -> None:
        """Wait for the private stream to tell the end; then ask."""
        try:
            async with asyncio.timeout(self._pace.push_s):
                await sent.ended.wait()
        except TimeoutError:
            try:
                outcome = await self.outcome(order_id) or self._nothing(order_id, doubt="accepted, and not known")
            except VenueError as error:
                outcome = self._nothing(order_id, doubt=str(error))
            if not sent.ended.is_set() or outcome.final:
                self._report(outcome)

    @staticmethod
    def _nothing(order_id: str, *, refused: str = "", doubt: str = "") -> Outcome:
        return Outcome(order_id, time.time_ns(), 0.0, 0.0, 0.0, bool(refused), refused, doubt)

    def _report(self, outcome: Outcome) -> None:
        """Tell the runner; after the end of an order it is forgotten here."""
        if outcome.final:
            self._forget(outcome.order_id)
        self._on_outcome(self.leg, outcome)

    def _forget(self, order_id: str) -> None:
        sent = self._sent.pop(order_id, None)
        if sent:
            sent.ended.set()
            if sent.said:
                self._ids.pop(sent.said.venue_id, None)

    def _hear(self, said: Said) -> None:
        """An order's state, from an answer or a push; pushes may come twice and out of order."""
        sent = self._sent.get(said.order_id)
        if sent is None:
            return
        self._ids[said.venue_id] = said.order_id
        older = sent.said is not None and (sent.said.final or abs(said.filled) < abs(sent.said.filled))
        if not older or said.final:
            sent.said = said
        self._end(sent)

    def _book(self, fill: Booked, venue_id: str) -> None:
        """A fill, from a push."""
        order_id = fill.deal.order_id or self._ids.get(venue_id, "")
        sent = self._sent.get(order_id)
        if sent is not None:
            sent.fills[fill.deal.deal_id] = fill
            self._end(sent)

    def _end(self, sent: Sent) -> None:
        """Report an order that has ended and whose fills are all here."""
        said = sent.said
        if said is None or not (said.final or abs(said.filled) >= abs(sent.order.qty) * (1 - 1e-9)):
            return
        if abs(math.fsum(f.gross for f in sent.fills.values())) >= abs(said.filled) * (1 - 1e-9):
            self._report(outcome_of(said._replace(final=True), sent.fills.values(), self.instrument.taker_fee))

    async def outcome(self, order_id: str) -> Outcome | None:
        """See `venue.Venue.outcome`."""
        said = await self._look_up(order_id)
        if said is None:
            return None
        fills = await self._fills_of(said) if said.filled else []
        sent = self._sent.get(order_id)
        if sent and abs(said.filled) >= abs(sent.order.qty) * (1 - 1e-9):
            said = said._replace(final=True)
        if said.final:
            self._forget(order_id)
        return outcome_of(said, fills, self.instrument.taker_fee)

    async def cancel(self, order_id: str) -> None:
        """See `venue.Venue.cancel`."""
        try:
            await self._cancel(order_id)
        except ccxt.BaseError as error:
            if code_of(error) in self.gone:
                return
            if code := refusal(error, self.certain, self.doubtful):
                raise VenueError(f"{self.name}: {order_id} is not cancelled: {plain(error)}", code) from None
            raise OutcomeUnknown(f"{self.name}: nobody knows whether {order_id} is cancelled: {plain(error)}") from None

    async def book(self) -> Book:
        """The best levels by REST; a side without any has price and size 0."""
        asked_ns = time.time_ns()
        book = await self._now(self._clients.orders.fetch_order_book, self.symbol, 5, what="its book")
        (bid, bid_qty), (ask, ask_qty) = (book[side][0][:2] if book[side] else (0.0, 0.0) for side in ("bids", "asks"))
        size = self.instrument.contract_size
        return Book(bid, ask, bid_qty * size, ask_qty * size, asked_ns)

    async def _query(self, call: Callable[..., Awaitable[Any]], *args: Any, what: str) -> Any:
        return await self._clients.ask(call, *args, what=what)

    async def _now(self, call: Callable[..., Awaitable[Any]], *args: Any, what: str) -> Any:
        return await self._clients.ask_now(call, *args, what=what)

    def _keys_needed(self) -> None:
        if not self._clients.keyed:
            raise VenueError(f"{self.name}: no keys: this venue was opened for quotes only")
