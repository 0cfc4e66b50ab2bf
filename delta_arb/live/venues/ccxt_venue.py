"""What the two real venues have in common: opening, quotes in, orders out. Nothing here sends an order twice."""

import asyncio
import itertools
import json
import logging
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from ccxt.base import errors as ccxt

from delta_arb.live import clock
from delta_arb.live.venues.base import (
    SHAPES,
    Fees,
    ListedTerms,
    OnLevels,
    OnOutcome,
    OnQuote,
    OnTrade,
    OrderOutcome,
    OutcomeUnknown,
    VenueError,
)
from delta_arb.live.venues.book_feed import BookFeed, PublicLevels, PublicTrade
from delta_arb.live.venues.ccxt_client import Budget, CcxtClients, code_of, plain, reading, refusal
from delta_arb.live.venues.ccxt_orders import CcxtOrders
from delta_arb.live.venues.order_connection import OrderConnection
from delta_arb.live.venues.order_tracker import BookedFill, OrderStatus, OrderTracker
from delta_arb.live.venues.websocket import Pace, Stream
from delta_arb.market import Book
from delta_arb.venue_terms import VenueTerms

log = logging.getLogger(__name__)
MUTE = 2
SIDES = ("sell", "buy")


class CcxtVenue(CcxtOrders):
    """A venue behind genuine ccxt; `MexcVenue` and `GateVenue` fill in what differs.

    Args:
        leg: SPOT or PERP.
        base: the coin, like "SYN".
        config: ccxt's constructor configuration. The keys are only there; without one there are quotes and no orders.
        orders_per_s: what `send` allows at most.
        fees: of an account without keys; with keys they are read from the venue.
    """

    name: str
    client: type
    defaults: Mapping[str, Any]
    certain: frozenset[str]  # codes, see ccxt_client.refusal
    doubtful: frozenset[str]
    gone: frozenset[str]  # codes that say: no such order, or ended already
    clock: tuple[str, list[str]]  # ccxt's path and api of the venue's time
    counts_down = False

    terms: VenueTerms

    def __init__(
        self,
        leg: int,
        base: str,
        config: Mapping[str, Any],
        *,
        pace: Pace | None = None,
        orders_per_s: float = 10.0,
        fees: Fees | None = None,
    ) -> None:
        self.leg, self.base = leg, base
        self.quotes: BookFeed
        self.on_trade: OnTrade | None = None
        self.on_levels: OnLevels | None = None
        self._config, self._pace = config, pace or Pace()
        self._budget = Budget(orders_per_s)
        self._fees = fees
        self._asked: set[str] = set()
        self._ignored: set[str] = set()
        self._mute = 0  # orders in a row whose end the private stream did not tell
        self._doubtful = asyncio.Event()  # that the clocks differ by what was measured
        self.remembered = ""
        self._tasks: set[asyncio.Task] = set()
        self._private: Stream | None = None
        self._connection: OrderConnection | None = None
        self._closing = False
        self._clients: CcxtClients
        self._orders: OrderTracker
        self._on_outcome: OnOutcome
        self._broken: asyncio.Future[None]

    # What differs

    @property
    @abstractmethod
    def symbol(self) -> str:
        """ccxt's name of the market."""

    @abstractmethod
    def _rules(self, market: dict, fees: Fees) -> VenueTerms: ...

    @abstractmethod
    def _closed(self, market: dict) -> str:
        """Why a market takes no new orders; "" where it does."""

    @abstractmethod
    async def _row(self) -> dict | None:
        """ccxt's market as the venue lists it now; None where it does not any more."""

    @abstractmethod
    async def _own_fees(self) -> Fees: ...

    @abstractmethod
    def _public_stream(self) -> Stream: ...

    @abstractmethod
    def _private_stream(self) -> Stream: ...

    @abstractmethod
    async def _look_up(self, order_id: str) -> OrderStatus | None: ...

    @abstractmethod
    async def _fills_of(self, said: OrderStatus) -> list[BookedFill]: ...

    @abstractmethod
    async def _cancel(self, order_id: str) -> None: ...

    def _gone(self) -> str:
        return f"{self.name} does not list {self.symbol} any more"

    # Opening and closing

    @property
    def clock_offset_ns(self) -> int:
        return self._clients.offset_ns

    @property
    def clock_ns(self) -> int:
        return self._clients.measured_ns

    @property
    def allowance(self) -> int:
        return 0 if self._clients.paused_s else self._budget.left

    @property
    def paused_s(self) -> float:
        return self._clients.paused_s

    @property
    def reachable(self) -> bool:
        return self._clients.reachable

    @property
    def weight_left(self) -> int:
        return self._clients.weight_left

    @property
    def trouble(self) -> str:
        if paused_s := self._clients.paused_s:
            return f"{self.name} wants a pause of {paused_s:.0f} s more"
        return self._clients.unanswered

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
        self._clients = CcxtClients(self.name, self.client, self._config, self.defaults, self._pace)
        try:
            await self._clients.measure()
            known = json.loads(self.remembered) if self.remembered else None
            market, listed = await self._clients.load(self.symbol, known and known["market"])
            self.id, fees = market["id"], self._fees
            if self._clients.keyed:
                try:
                    fees = await self._own_fees()
                except VenueError:  # MEXC tells them by market
                    if listed:
                        raise
                    fees = Fees(*known["fees"])
            if fees is None:
                raise VenueError(f"{self.name}: without keys the account's fees are unknown; give taker_fee_bps")
            self._fees = fees
            self.terms, self.closed = self._rules(market, fees), self._closed(market) if listed else self._gone()
            self.remembered = json.dumps({"market": market, "fees": fees})
            ways = itertools.product(SIDES, (False, True), (False, True))
            self._templates = {way: self._checked_template(*way) for way in ways}
            rates = self.terms.taker_fee, self.terms.maker_fee
            self._orders = OrderTracker(rates, self._report, self._behind)
            self.quotes = BookFeed(
                self.leg,
                self.name,
                self._pace,
                on_quote,
                self.book,
                lambda: self._clients.offset_ns,
                self._doubtful.set,
            )
            await self._start_streams()
            self._spawn(self._clients.watch_clock(self._doubtful), "clock")
            if self._clients.keyed and (connection := self._clients.order_connection(*self.clock)):
                self._connection = connection
                self._spawn(connection.run(), "order connection")
        except BaseException:  # also a cancellation half-way leaves no stream and no connection behind
            await self.close()
            raise

    def _unknown(self, what: str) -> bool:
        """Log what nobody documented, once; it proves nothing. Venues push notices of their own to all clients."""
        if what not in self._ignored:
            self._ignored.add(what)
            log.warning("%s: %s is ignored", self.name, what)
        return False

    def _traded(self, decode: Callable[[Any], list[PublicTrade]], push: Any) -> bool:
        """Tell trades of others; they prove nothing of the quotes' subscription."""
        try:
            trades = [(t.symbol, t.side, float(t.price), self.terms.to_base(t.qty)) for t in decode(push)]
        except (*SHAPES, ArithmeticError):
            return self._unknown("a push of trades of another shape than documented")
        for symbol, *trade in trades:
            if self.on_trade and symbol == self.id:
                self.on_trade(self.leg, *trade)
        return False

    def _shown(self, decode: Callable[[Any], PublicLevels], push: Any) -> bool:
        """Tell the best levels; they prove nothing of the quotes' subscription either."""
        size = self.terms.contract_size
        try:
            found = decode(push)
            numbers = [float(text or 0.0) * (size if k % 2 else 1.0) for k, text in enumerate(found.levels)]
        except SHAPES:
            return self._unknown("a push of levels of another shape than documented")
        if self.on_levels and found.symbol == self.id:
            self.on_levels(self.leg, numbers)
        return False

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
            if running.cancelled():
                raise VenueError(f"{stream.name}: the venue was closed while it was being opened")
            running.result()
        await first

    async def close(self) -> None:
        """End all tasks and connections, also half-way through opening; an order under way stays under way."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if hasattr(self, "_clients"):
            await self._clients.close()

    async def failed(self) -> None:
        """See `base.Venue.failed`."""
        await asyncio.shield(self._broken)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task:
        if self._closing:
            work.close()
            raise VenueError(f"{self.name}: {name} not started, the venue was closed")
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

    # Orders

    async def outcome(self, order_id: str) -> OrderOutcome | None:
        """See `base.Venue.outcome`."""
        with reading(f"{self.name}: order {order_id}"):
            said = await self._look_up(order_id)
            if said is None:
                return None
            outcome = self._orders.looked_up(said, await self._fills_of(said) if said.filled else ())
        if outcome.final:
            self._orders.forget(order_id)
        return outcome

    async def cancel(self, order_id: str) -> None:
        """See `base.Venue.cancel`."""
        if sent := self._orders.of(order_id):
            sent.withdrawn = True
        self._count()
        try:
            await self._cancel(order_id)
        except ccxt.BaseError as error:
            if code_of(error) not in self.gone:
                raise self._untold(error, f"{order_id} is cancelled") from None

    def _untold(self, error: ccxt.BaseError, what: str) -> VenueError:
        if code := refusal(error, self.certain, self.doubtful):
            return VenueError(f"{self.name}: refused that {what}: {plain(error)}", code)
        return OutcomeUnknown(f"{self.name}: nobody knows whether {what}: {plain(error)}")

    async def amend(self, order_id: str, qty: float, price: float) -> None:
        """See `base.Venue.amend`."""
        raise VenueError(f"{self.name} amends no order; cancel it and place another")

    async def cancel_after(self, seconds: float) -> bool:
        """See `base.Venue.cancel_after`."""
        return False

    async def listed(self) -> ListedTerms:
        """See `base.Venue.listed`."""
        with reading(f"{self.name}: its market"):
            market = await self._row()
            if market is None:
                return ListedTerms(self.terms, self._gone())
            return ListedTerms(self._rules(market, self._fees), self._closed(market))

    async def book(self) -> Book:
        """The best levels by REST; a side without any has price and size 0."""
        asked_ns = clock.now_ns()
        with reading(f"{self.name}: its book"):
            book = await self._now(self._clients.orders.fetch_order_book, self.symbol, 5, what="its book")
            sides = (book[side][0][:2] if book[side] else (0.0, 0.0) for side in ("bids", "asks"))
            (bid, bid_qty), (ask, ask_qty) = sides
        size = self.terms.contract_size
        return Book(bid, ask, bid_qty * size, ask_qty * size, asked_ns)

    async def _query(self, call: Callable[..., Awaitable[Any]], *args: Any, what: str) -> Any:
        return await self._clients.ask(call, *args, what=what)

    async def _page(self, name: str, asked: dict[str, Any], weight: int = 1) -> list[dict]:
        """Fills of the account, past the rate limiter where there is room: a leg may wait for them."""
        if self._clients.weight_left >= weight:
            return await self._now(getattr(self._clients.orders, name), asked, what="fills", weight=weight)
        return await self._query(getattr(self._clients.queries, name), asked, what="fills")

    async def _now(self, call: Callable[..., Awaitable[Any]], *args: Any, what: str, weight: int = 1) -> Any:
        return await self._clients.ask_now(call, *args, what=what, weight=weight)
