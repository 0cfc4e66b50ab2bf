"""How orders leave for a real venue, and what is known of each when its answer is in. Nothing is sent twice."""

import asyncio
import functools
import hmac
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from ccxt.base import errors as ccxt

from delta_arb.errors import ParamsError
from delta_arb.live.venues.base import WOULD_TAKE, OnOutcome, OrderOutcome, VenueError
from delta_arb.live.venues.ccxt_client import SIGNED, Budget, CcxtClients, FillRatio, body_code, plain, refusal
from delta_arb.live.venues.order_connection import OrderConnection, Socket
from delta_arb.live.venues.order_tracker import OURS, OrderStatus, OrderTracker, TrackedOrder, grid
from delta_arb.live.venues.websocket import Pace, Stream
from delta_arb.market import Order
from delta_arb.venue_terms import VenueTerms

log = logging.getLogger(__name__)
MUTE = 2
SIDES = ("sell", "buy")


class CcxtOrders(ABC):
    """The sending half of a venue; `CcxtVenue` opens what it works with."""

    name: str
    leg: int
    terms: VenueTerms
    certain: frozenset[str]  # codes, see ccxt_client.refusal
    doubtful: frozenset[str]
    lasting: frozenset[str]  # codes of refusals that will not change by themselves: trading disabled, no funds
    taking: frozenset[str]  # codes of a post-only order that would have taken
    hashing: str  # of its signatures

    _clients: CcxtClients
    _budget: Budget
    _ratio: FillRatio | None = None  # where the venue has such a rule
    _connection: OrderConnection | None
    _private: Stream | None
    _orders: OrderTracker
    _on_outcome: OnOutcome
    _pace: Pace
    _closing: bool
    _mute: int  # orders in a row whose end the private stream did not tell
    _templates: dict[tuple[str, bool, bool], dict]
    _like: dict  # an order that ccxt has signed
    _asked: set[str]  # resting orders of which a stream told less than all

    @abstractmethod
    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task: ...

    @abstractmethod
    async def outcome(self, order_id: str) -> OrderOutcome | None: ...

    @abstractmethod
    def _template(self, side: str, reduce_only: bool, how: dict) -> dict:
        """The parameters of some order on a side, as ccxt builds them; `how` says what time is in force."""

    @abstractmethod
    def _particulars(self, order_id: str, order: Order, price: str) -> dict:
        """Those of an order of its own: size, price, id; raises ParamsError off the grid."""

    @abstractmethod
    def _by_ccxt(self, request: dict) -> dict:
        """A new order's url, method, headers and body, as ccxt signs its parameters."""

    @abstractmethod
    def _sign(self, request: dict) -> dict:
        """The same in a fifth of the time; what all orders have in common is taken from `_like`."""

    @abstractmethod
    def _answer(self, order_id: str, answer: dict) -> OrderStatus | None:
        """What the venue's answer to a new order tells of it."""

    def prepare(self, order_id: str, order: Order) -> Callable[[], None]:
        """See `base.Venue.prepare`."""
        price = self._price(order)
        refused, request = self._unsendable(order_id, price), {}
        if not refused:
            try:
                request = self._sign(self._request(order_id, order, price))
            except ParamsError as error:
                refused = str(error)
        if not refused and (paused_s := self._clients.paused_s):
            refused = f"not sent: {self.name} wants a pause of {paused_s:.0f} s more"
        if not refused and self._ratio and order.post_only and (why := self._ratio.refused):
            refused = f"not sent: {why}"
        if not refused and self._budget.left < 1:
            refused = "our own limit of orders a second"
        if refused:
            return lambda: self._spawn(self._refuse(order_id, refused), f"{order_id} refused")
        socket = self._connection.free(request["url"]) if self._connection else None
        if socket is None:
            return lambda: self._by_client(order_id, order, request)
        return functools.partial(self._send, socket, self._connection.wired(request), order_id, order, request)

    def _by_client(self, order_id: str, order: Order, request: dict) -> None:
        """ccxt writes it in the loop's next turns."""
        fetched = self._clients.orders.fetch(*(request[part] for part in SIGNED))
        self._spawn(self._place(order_id, self._sent(order_id, order), fetched), order_id)

    def _send(self, socket: Socket, wired: bytes, order_id: str, order: Order, request: dict) -> None:
        """Write it; the rest waits until the other leg is out too, since no answer is read before the loop's next turn."""
        socket.write(wired)
        asyncio.get_running_loop().call_soon(self._expect, socket, socket.claim(), order_id, order, request)

    def _expect(self, socket: Socket, answer: asyncio.Future, order_id: str, order: Order, request: dict) -> None:
        socket.expect(answer, self._clients.orders.timeout / 1000)
        answer.add_done_callback(functools.partial(self._answered, order_id, self._sent(order_id, order), request))

    def _sent(self, order_id: str, order: Order) -> TrackedOrder:
        self._budget.take()
        self._count()
        return self._orders.add(order_id, order)

    def _answered(self, order_id: str, sent: TrackedOrder, request: dict, answer: asyncio.Future) -> None:
        """The connection has its answer, or will not get one."""
        if not answer.cancelled():
            answer.exception()  # retrieved here: nobody asks for it after the close
        if not self._closing:
            self._spawn(self._place(order_id, sent, self._clients.understood(request, answer)), order_id)

    def _request(self, order_id: str, order: Order, price: str) -> dict:
        """ccxt's parameters of a new order; ParamsError off the grid."""
        template = self._templates[SIDES[order.qty > 0], order.reduce_only, order.post_only]
        return template | self._particulars(order_id, order, price)

    @functools.cached_property
    def _key(self) -> hmac.HMAC:
        """The key's part of every signature, which is half of one."""
        return hmac.new(self._clients.orders.secret.encode(), digestmod=self.hashing)

    def _keyed(self, told: str) -> str:
        sign = self._key.copy()
        sign.update(told.encode())
        return sign.hexdigest()

    def _checked_template(self, side: str, reduce_only: bool, post_only: bool) -> dict:
        """ccxt takes longest to find out what is the same for all orders, so that is done once."""
        how = {"clientOrderId": "some"} | ({"postOnly": True} if post_only else {"timeInForce": "IOC"})
        template, step = self._template(side, reduce_only, how), self.terms.qty_step
        own = self._particulars("some", Order(step if side == "buy" else -step, 0.0, reduce_only, False), "1")
        if {n: type(value) for n, value in template.items() if n in own} != {n: type(own[n]) for n in own}:
            known = ", ".join(template)
            raise VenueError(f"{self.name}: this ccxt builds orders of {known}; install the one of requirements.lock")
        if self._clients.keyed:
            self._check_signature(template | own)
        return template

    def _check_signature(self, request: dict) -> None:
        """Sign it by ccxt and here at one time: nothing may differ."""
        client = self._clients.orders
        now_ms = client.nonce()
        client.nonce = lambda: now_ms
        try:
            self._like = self._by_ccxt(request)
            if self._sign(request) != self._like:
                raise VenueError(f"{self.name}: this ccxt signs orders otherwise; install the one of requirements.lock")
        finally:
            del client.nonce

    def _price(self, order: Order) -> str:
        return grid(self.terms.price_tick).price(order.limit, order.qty > 0)

    def _unsendable(self, order_id: str, price: str) -> str:
        if not self._clients.keyed:
            return "no keys: this venue was opened for quotes only"
        if not OURS.fullmatch(order_id):
            return f"order id {order_id!r}: needs 1 to 26 of 0-9 a-z -, not beginning with t, not digits alone"
        if order_id in self._orders:
            return f"order id {order_id!r} is under way already"
        if price == "0":
            return f"price {price}: a venue may take that for a market order"
        return ""

    async def _refuse(self, order_id: str, why: str) -> None:
        self._report(OrderOutcome.nothing(order_id, refused=why))

    async def _place(self, order_id: str, sent: TrackedOrder, answer: Coroutine[Any, Any, Any]) -> None:
        """Await the answer, then the end, and report what is known."""
        try:
            said = self._answer(order_id, await answer)
        except ccxt.BaseError as error:
            if sent.order.post_only and body_code(error) in self.taking:
                self._report(OrderOutcome.nothing(order_id, refused=WOULD_TAKE))
            elif code := refusal(error, self.certain, self.doubtful):
                lasts = code in self.lasting and not sent.order.post_only  # a quote is made again, less and less often
                self._report(OrderOutcome.nothing(order_id, refused=code, for_good=lasts))
            elif not sent.ended.is_set():  # a push may have told the end of an order that has no answer
                self._report(OrderOutcome.nothing(order_id, doubt=plain(error)))
            return
        except Exception as error:  # an answer that breaks ccxt's parser says nothing of the order: it may well work
            log.exception("%s: the answer to order %s cannot be read", self.name, order_id)
            self._report(OrderOutcome.nothing(order_id, doubt=f"unreadable answer: {type(error).__name__}"))
            return
        if said:
            self._orders.hear(said)
        if not sent.order.post_only:
            await self._settle(order_id, sent)

    async def _settle(self, order_id: str, sent: TrackedOrder) -> None:
        """Wait for the private stream to tell the end; then ask."""
        try:
            async with asyncio.timeout(self._pace.push_s):
                await sent.ended.wait()
            self._mute = 0
            return
        except TimeoutError:
            pass
        try:
            outcome = await self.outcome(order_id) or OrderOutcome.nothing(order_id, doubt="accepted, and not known")
        except VenueError as error:
            outcome = OrderOutcome.nothing(order_id, doubt=str(error))
        if sent.ended.is_set() and not outcome.final:
            return  # a push was quicker
        self._report(outcome)
        self._unheard(outcome)

    def _unheard(self, outcome: OrderOutcome) -> None:
        """A stream of own orders that twice does not tell an end is mute, however alive its socket looks."""
        self._mute += outcome.final
        if self._mute >= MUTE and self._private and self._private.alive:
            self._mute = 0
            self._private.redial("orders ended and this stream did not tell")

    def _count(self, requests: int = 1, filled: int = 0) -> None:
        if self._ratio:
            self._ratio.count(requests, filled)

    def asked_before(self, hours: Iterable[tuple[int, int, int]]) -> None:
        """See `base.Venue.asked_before`."""
        if self._ratio:
            self._ratio.recall(hours)

    def _behind(self, order_id: str) -> None:
        """A stream tells that a resting order filled, and not yet by what: REST does, if it still does not."""
        if order_id not in self._asked and not self._closing:
            self._asked.add(order_id)
            self._spawn(self._catch_up(order_id), f"{order_id} caught up")

    def _missed(self) -> None:
        """The private stream was lost: what rests may have filled meanwhile."""
        for order_id in self._orders.resting:
            self._behind(order_id)

    async def _catch_up(self, order_id: str) -> None:
        await asyncio.sleep(self._pace.push_s)
        self._asked.discard(order_id)
        try:
            if order_id in self._orders and (outcome := await self.outcome(order_id)):
                self._report(outcome)
        except VenueError as error:  # it is looked up every few seconds in any case
            log.warning("%s", error)

    def _report(self, outcome: OrderOutcome) -> None:
        """Tell the runner; after its end an order is forgotten here, unless it may prove to be none: of one that was refused,
        or rested, a fill may come late."""
        sent = self._orders.of(outcome.order_id)
        rested = sent is not None and sent.order.post_only
        if outcome.final and outcome.filled:
            self._count(0, 1)
        if rested and outcome.final and not (outcome.filled or outcome.refused or sent.withdrawn):
            outcome = outcome._replace(refused=WOULD_TAKE)  # accepted, and cancelled by the venue
        if outcome.refused or (rested and outcome.final):
            self._orders.doubt(outcome.order_id)
        elif outcome.final:
            self._orders.forget(outcome.order_id)
        self._on_outcome(self.leg, outcome)
