"""What the two real venues have in common: opening, quotes in, orders out. Nothing here sends an order twice."""

import asyncio
import functools
import itertools
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import Any

from ccxt.base import errors as ccxt

from delta_arb.errors import ParamsError
from delta_arb.live import clock
from delta_arb.live.venues.base import OnOutcome, OnQuote, Outcome, OutcomeUnknown, VenueError
from delta_arb.live.venues.book_feed import Quotes
from delta_arb.live.venues.ccxt_client import SIGNED, Budget, Clients, code_of, plain, refusal
from delta_arb.live.venues.order_connection import Lane
from delta_arb.live.venues.order_tracker import OURS, Booked, Orders, Said, Sent, on_tick, plain_text
from delta_arb.live.venues.websocket import Pace, Stream
from delta_arb.market import Book, Order
from delta_arb.venue_terms import VenueTerms

log = logging.getLogger(__name__)
MUTE = 2
DOUBT_S = 2.0  # between two looks at a clock that quotes contradict: they may be late, and the clock right
SIDES = ("sell", "buy")


class Exchange(ABC):
    """A venue behind genuine ccxt; `Mexc` and `Gate` fill in what differs.

    Args:
        leg: SPOT or PERP.
        base: the coin, like "SYN".
        config: ccxt's constructor configuration. The keys are only there; without one there are quotes and no orders.
        orders_per_s: what `send` allows at most.
        taker_fee_bps: of an account without keys; with keys it is read from the venue.
    """

    name: str
    client: type
    defaults: Mapping[str, Any]
    certain: frozenset[str]  # codes, see clients.refusal
    doubtful: frozenset[str]
    gone: frozenset[str]  # codes that say: no such order, or ended already
    clock: tuple[str, list[str]]  # ccxt's path and api of the venue's time

    terms: VenueTerms

    def __init__(
        self,
        leg: int,
        base: str,
        config: Mapping[str, Any],
        *,
        pace: Pace | None = None,
        orders_per_s: float = 10.0,
        taker_fee_bps: float | None = None,
    ) -> None:
        self.leg, self.base = leg, base
        self.quotes: Quotes
        self._config, self._pace = config, pace or Pace()
        self._budget = Budget(orders_per_s)
        self._fee_bps = taker_fee_bps
        self._mute = 0  # orders in a row whose end the private stream did not tell
        self._doubtful = asyncio.Event()  # that the clocks differ by what was measured
        self._tasks: set[asyncio.Task] = set()
        self._private: Stream | None = None
        self._lane: Lane | None = None
        self._closing = False
        self._clients: Clients
        self._orders: Orders
        self._on_outcome: OnOutcome
        self._broken: asyncio.Future[None]

    # What differs

    @property
    @abstractmethod
    def symbol(self) -> str:
        """ccxt's name of the market."""

    @abstractmethod
    def _rules(self, market: dict, fee_bps: float) -> VenueTerms: ...

    @abstractmethod
    async def _own_fee_bps(self) -> float: ...

    @abstractmethod
    def _public_stream(self) -> Stream: ...

    @abstractmethod
    def _private_stream(self) -> Stream: ...

    @abstractmethod
    def _template(self, side: str, reduce_only: bool) -> dict:
        """The parameters of some order on a side, as ccxt builds them."""

    @abstractmethod
    def _particulars(self, order_id: str, order: Order, price: str) -> dict:
        """Those of an order of its own: size, price, id; raises ParamsError off the grid."""

    @abstractmethod
    def _sign(self, request: dict) -> dict:
        """A new order's url, method, headers and body, as ccxt signs its parameters."""

    @abstractmethod
    def _answer(self, answer: dict) -> Said | None:
        """What the venue's answer to a new order tells of its end."""

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
            fee_bps = await self._own_fee_bps() if self._clients.keyed else self._fee_bps
            if fee_bps is None:
                raise VenueError(f"{self.name}: without keys the account's fee is unknown; give taker_fee_bps")
            self.terms = self._rules(market, fee_bps)
            self._templates = {way: self._checked_template(*way) for way in itertools.product(SIDES, (False, True))}
            self._orders = Orders(self.terms.taker_fee, self._report)
            self.quotes = Quotes(
                self.leg,
                self.name,
                self._pace,
                on_quote,
                self.book,
                lambda: self._clients.offset_ns,
                self._doubtful.set,
            )
            await self._start_streams()
            self._spawn(self._watch_clock(), "clock")
            if self._clients.keyed and (lane := self._clients.lane(*self.clock)):
                self._lane = lane
                self._spawn(lane.run(), "order lane")
        except BaseException:  # also a cancellation half-way leaves no stream and no connection behind
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
        """See `venue.Venue.failed`."""
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

    async def _watch_clock(self) -> None:
        """Measure it every now and then, and at once when a quote's stamp is far from our time."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.clock_s):
                    await self._doubtful.wait()
            try:
                await self._clients.measure()
            except VenueError as error:
                log.warning("%s", error)
            if self._doubtful.is_set():
                await asyncio.sleep(min(DOUBT_S, self._pace.clock_s))
                self._doubtful.clear()

    # Orders

    def prepare(self, order_id: str, order: Order) -> Callable[[], None]:
        """See `venue.Venue.prepare`."""
        price = self._price(order)
        refused, request = self._unsendable(order_id, price), {}
        if not refused:
            try:
                request = self._sign(self._request(order_id, order, price))
            except ParamsError as error:
                refused = str(error)
        if not refused and not self._budget.take():
            refused = "our own limit of orders a second"
        if refused:
            return lambda: self._spawn(self._refuse(order_id, refused), f"{order_id} refused")
        sent, client = self._orders.add(order_id, order), self._clients.orders
        if not (self._lane and self._lane.takes(request["url"])):  # ccxt writes it in the loop's next turns
            fetched = functools.partial(client.fetch, *(request[part] for part in SIGNED))
            return lambda: self._spawn(self._place(order_id, sent, fetched()), order_id)
        wired, answer = self._lane.wired(request), self._lane.claim(client.timeout / 1000)
        answer.add_done_callback(functools.partial(self._answered, order_id, sent, request))
        return functools.partial(self._lane.write, wired)

    def _answered(self, order_id: str, sent: Sent, request: dict, answer: asyncio.Future) -> None:
        """The lane has its answer, or will not get one."""
        if not answer.cancelled():
            answer.exception()  # retrieved here: nobody asks for it after the close
        if not self._closing:
            self._spawn(self._place(order_id, sent, self._clients.understood(request, answer)), order_id)

    def _request(self, order_id: str, order: Order, price: Decimal) -> dict:
        """ccxt's parameters of a new order; ParamsError off the grid."""
        template = self._templates[SIDES[order.qty > 0], order.reduce_only]
        return template | self._particulars(order_id, order, plain_text(price))

    def _checked_template(self, side: str, reduce_only: bool) -> dict:
        """ccxt takes longest to find out what is the same for all orders, so that is done once."""
        template, step = self._template(side, reduce_only), self.terms.qty_step
        own = self._particulars("some", Order(step if side == "buy" else -step, 0.0, reduce_only, False), "1")
        if {n: type(value) for n, value in template.items() if n in own} != {n: type(own[n]) for n in own}:
            known = ", ".join(template)
            raise VenueError(f"{self.name}: this ccxt builds orders of {known}; install the one of requirements.lock")
        return template

    def _price(self, order: Order) -> Decimal:
        return on_tick(order.limit, self.terms.price_tick, order.qty > 0)

    def _unsendable(self, order_id: str, price: Decimal) -> str:
        if not self._clients.keyed:
            return "no keys: this venue was opened for quotes only"
        if not OURS.fullmatch(order_id):
            return f"order id {order_id!r}: needs 1 to 26 of 0-9 a-z -, not beginning with t, not digits alone"
        if order_id in self._orders:
            return f"order id {order_id!r} is under way already"
        if price <= 0:
            return f"price {price}: a venue may take that for a market order"
        return ""

    async def _refuse(self, order_id: str, why: str) -> None:
        self._report(_nothing(order_id, refused=why))

    async def _place(self, order_id: str, sent: Sent, answer: Coroutine[Any, Any, Any]) -> None:
        """Await the answer, then the end, and report what is known."""
        try:
            said = self._answer(await answer)
        except ccxt.BaseError as error:
            if code := refusal(error, self.certain, self.doubtful):
                self._report(_nothing(order_id, refused=code))
            elif not sent.ended.is_set():  # a push may have told the end of an order that has no answer
                self._report(_nothing(order_id, doubt=plain(error)))
            return
        except Exception as error:  # an answer that breaks ccxt's parser says nothing of the order: it may well work
            log.exception("%s: the answer to order %s cannot be read", self.name, order_id)
            self._report(_nothing(order_id, doubt=f"unreadable answer: {type(error).__name__}"))
            return
        if said:
            self._orders.hear(said)
        await self._settle(order_id, sent)

    async def _settle(self, order_id: str, sent: Sent) -> None:
        """Wait for the private stream to tell the end; then ask."""
        try:
            async with asyncio.timeout(self._pace.push_s):
                await sent.ended.wait()
            self._mute = 0
            return
        except TimeoutError:
            pass
        try:
            outcome = await self.outcome(order_id) or _nothing(order_id, doubt="accepted, and not known")
        except VenueError as error:
            outcome = _nothing(order_id, doubt=str(error))
        if sent.ended.is_set() and not outcome.final:
            return  # a push was quicker
        self._report(outcome)
        self._unheard(outcome)

    def _unheard(self, outcome: Outcome) -> None:
        """A stream of own orders that twice does not tell an end is mute, however alive its socket looks."""
        self._mute += outcome.final
        if self._mute >= MUTE and self._private and self._private.alive:
            self._mute = 0
            self._private.redial("orders ended and this stream did not tell")

    def _report(self, outcome: Outcome) -> None:
        """Tell the runner; after the end of an order it is forgotten here."""
        if outcome.final:
            self._orders.forget(outcome.order_id)
        self._on_outcome(self.leg, outcome)

    async def outcome(self, order_id: str) -> Outcome | None:
        """See `venue.Venue.outcome`."""
        with reading(f"{self.name}: order {order_id}"):
            said = await self._look_up(order_id)
            if said is None:
                return None
            outcome = self._orders.looked_up(said, await self._fills_of(said) if said.filled else ())
        if outcome.final:
            self._orders.forget(order_id)
        return outcome

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
        asked_ns = clock.now_ns()
        with reading(f"{self.name}: its book"):
            book = await self._now(self._clients.orders.fetch_order_book, self.symbol, 5, what="its book")
            sides = (book[side][0][:2] if book[side] else (0.0, 0.0) for side in ("bids", "asks"))
            (bid, bid_qty), (ask, ask_qty) = sides
        size = self.terms.contract_size
        return Book(bid, ask, bid_qty * size, ask_qty * size, asked_ns)

    async def _query(self, call: Callable[..., Awaitable[Any]], *args: Any, what: str) -> Any:
        return await self._clients.ask(call, *args, what=what)

    async def _now(self, call: Callable[..., Awaitable[Any]], *args: Any, what: str) -> Any:
        return await self._clients.ask_now(call, *args, what=what)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """An answer that is not shaped as documented is the venue's failure, not ours."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise VenueError(f"{what}: an answer of another shape than documented ({error!r})") from error


def _nothing(order_id: str, *, refused: str = "", doubt: str = "") -> Outcome:
    """What is told of an order of which nothing is known to be filled."""
    return Outcome(order_id, clock.now_ns(), 0.0, 0.0, 0.0, bool(refused), refused, doubt)
