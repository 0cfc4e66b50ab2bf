"""The end of an order, found out once, from whatever tells of it first.

A venue says what happened to an order in up to four places: the answer to the request, the pushes of orders and of
fills, and REST. They come late, twice and out of order. An order is final when the venue calls it ended, or filled it
whole, and its fills add up to that. Of one that rests the sum of its fills is told whenever it grew.
"""

import asyncio
import functools
import math
import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from delta_arb.errors import ParamsError
from delta_arb.live.venues.base import Execution, OrderOutcome
from delta_arb.market import Order

REMEMBERED = 1_000  # refused orders
NOISE = 1e-9  # of a sum of fills
OURS = re.compile(r"(?!t)(?=.*[a-z-])[0-9a-z-]{1,26}")  # wire: what both venues take, and no venue's own number


class OrderStatus(NamedTuple):
    """What a venue says of an order: gross quantity filled (signed, base units) and mean price; both ids."""

    order_id: str
    venue_id: str
    ts_ns: int
    filled: float
    price: float
    final: bool


class BookedFill(NamedTuple):
    """A fill, and the quantity that it took off the order, before a fee in the coin."""

    gross: float
    deal: Execution


@dataclass(slots=True)
class TrackedOrder:
    """An order of ours whose end is not known yet; `told` is what of a resting one was, gross, None before it is accepted."""

    order: Order
    rate: float
    told: float | None = None
    withdrawn: bool = False  # we asked for its end
    said: OrderStatus | None = None
    fills: dict[str, BookedFill] = field(default_factory=dict)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class StepGrid:
    """A venue's steps of a price or a size, and numbers on them as venues and ccxt write them: no exponent, no zeros at the end."""

    def __init__(self, step: float) -> None:
        self.step, exact = step, Decimal(repr(step))
        self._places = max(0, -exact.normalize().as_tuple().exponent)
        self._unit = 10**self._places
        self._units = int(exact * self._unit)  # of the last place, in a step

    def price(self, limit: float, buy: bool) -> str:
        """A limit price, never worse for us than asked: down for a buy, up for a sell. "0" for no price."""
        steps = limit / self.step
        if not 0.0 < steps < math.inf:
            return "0"
        nearest = round(steps)
        if abs(steps - nearest) > max(1e-6, 1e-15 * steps):  # closer than that is the noise of floating point
            nearest = math.floor(steps) if buy else math.ceil(steps)
        return self._text(nearest)

    def size(self, qty: float) -> str:
        """A quantity without the noise of floating point; ParamsError when it is off the grid by more than that."""
        steps = round(qty / self.step) if math.isfinite(qty) else 0
        if steps <= 0 or abs(steps * self.step - qty) > 1e-6 * self.step:
            raise ParamsError(f"{qty} base units are not a multiple of {self.step}; size the order on the common step")
        return self._text(steps)

    def _text(self, steps: int) -> str:
        whole, part = divmod(steps * self._units, self._unit)
        return f"{whole}.{part:0{self._places}}".rstrip("0") if part else str(whole)


grid = functools.cache(StepGrid)


def booked(deal: Execution, coin: str, fee: float, base: str, rate: float) -> BookedFill:
    """A fill with its fee of `coin` counted; `deal` comes with the gross quantity and no fee."""
    if coin == "USDT" or fee == 0.0:
        return BookedFill(deal.qty, deal._replace(fee_usdt=fee))
    if coin == base:
        return BookedFill(deal.qty, deal._replace(qty=deal.qty - fee, fee_usdt=fee * deal.price))
    return BookedFill(deal.qty, deal._replace(fee_usdt=rate * abs(deal.qty) * deal.price, fee_exact=False))


def outcome_of(said: OrderStatus, fills: Iterable[BookedFill], rate: float) -> OrderOutcome:
    """The sum of an order's fills; what is not booked yet counts at the order's price and the account's rate."""
    fills = list(fills)
    gross = math.fsum(f.gross for f in fills)
    missing = said.filled - gross if abs(said.filled) > abs(gross) * (1 + NOISE) else 0.0
    net = math.fsum([missing, *(f.deal.qty for f in fills)])
    fee = math.fsum([rate * abs(missing) * said.price, *(f.deal.fee_usdt for f in fills)])
    parts = [(f.gross, f.deal.price) for f in fills] + [(missing, said.price)] * (missing != 0.0)
    exact = missing == 0.0 and all(f.deal.fee_exact for f in fills)
    price = _mean(parts)
    at_ns = max((f.deal.ts_ns for f in fills), default=said.ts_ns)
    return OrderOutcome(said.order_id, at_ns, net, price, fee, said.final, fee_exact=exact)


def _mean(parts: list[tuple[float, float]]) -> float:
    """Mean price of (quantity, price) parts; exactly the price where there is but one, 0 where there is none."""
    if len({price for _, price in parts}) == 1:
        return parts[0][1]
    return math.fsum(q * price for q, price in parts) / math.fsum(q for q, _ in parts) if parts else 0.0


class OrderTracker:
    """The orders whose end is not known yet.

    Args:
        rates: the account's fees for takers and makers, for fills that the venue has not booked yet.
        told: gets the outcome of an order that pushes or answers have told whole, or that rests.
        behind: hears of an order that rests and filled more than its fills add up to.
    """

    def __init__(
        self,
        rates: tuple[float, float],
        told: Callable[[OrderOutcome], None],
        behind: Callable[[str], None] = lambda order_id: None,
    ) -> None:
        self._rates, self._told, self._behind = rates, told, behind
        self._sent: dict[str, TrackedOrder] = {}
        self._refused: deque[str] = deque()
        self._ids: dict[str, str] = {}  # the venue's number of an order: our id

    def __contains__(self, order_id: str) -> bool:
        return order_id in self._sent

    def add(self, order_id: str, order: Order) -> TrackedOrder:
        self._sent[order_id] = TrackedOrder(order, self._rates[order.post_only])
        return self._sent[order_id]

    @property
    def resting(self) -> list[str]:
        """Ids of the orders that rest, or may."""
        return [i for i, sent in self._sent.items() if sent.order.post_only and i not in self._refused]

    def of(self, order_id: str) -> TrackedOrder | None:
        return self._sent.get(order_id)

    def forget(self, order_id: str) -> None:
        """Its end is known; what comes later about it is no news."""
        sent = self._sent.pop(order_id, None)
        if sent:
            sent.ended.set()
            if sent.said:
                self._ids.pop(sent.said.venue_id, None)

    def doubt(self, order_id: str) -> None:
        """It was refused, or rested: remembered for a while, since what fills of it all the same must be booked."""
        if order_id in self._sent and order_id not in self._refused:
            self._refused.append(order_id)
            if len(self._refused) > REMEMBERED:
                self.forget(self._refused.popleft())

    def hear(self, said: OrderStatus) -> None:
        """An order's state, from an answer or a push."""
        sent = self._sent.get(said.order_id)
        if sent is None:
            return
        self._ids[said.venue_id] = said.order_id
        known = sent.said
        if known is None or said.final or (not known.final and abs(said.filled) >= abs(known.filled)):
            sent.said = said
        self._tell(said.order_id, sent)

    def book(self, fill: BookedFill, venue_id: str) -> None:
        """A fill, from a push; the venue's number names the order where our id is not given."""
        order_id = fill.deal.order_id or self._ids.get(venue_id, "")
        sent = self._sent.get(order_id)
        if sent is not None:
            sent.fills[fill.deal.deal_id] = fill
            self._tell(order_id, sent)

    def looked_up(self, said: OrderStatus, fills: Iterable[BookedFill]) -> OrderOutcome:
        """The outcome by REST; an order that is whole is over, whatever its status is called."""
        sent = self._sent.get(said.order_id)
        if sent is None:
            return outcome_of(said, fills, self._rates[0])
        if _whole(said.filled, sent.order):
            said = said._replace(final=True)
        if said.final or not sent.order.post_only:
            return outcome_of(said, fills, sent.rate)
        return _so_far(sent, said, list(fills))

    def _tell(self, order_id: str, sent: TrackedOrder) -> None:
        """Report an order that has ended and whose fills are all here; and how far one has come that rests."""
        rests, fills = sent.order.post_only, list(sent.fills.values())
        said = sent.said or OrderStatus(order_id, "", 0, 0.0, 0.0, False)
        gross = math.fsum(f.gross for f in fills)
        over = said.final or _whole(said.filled, sent.order) or (rests and _whole(gross, sent.order))
        behind = abs(gross) < abs(said.filled) * (1 - NOISE)
        if over and not behind:
            self._told(outcome_of(said._replace(final=True), fills, sent.rate))
        elif rests and not over and (sent.told is None or abs(gross) > abs(sent.told)):
            sent.told = gross
            self._told(_so_far(sent, said, fills))
        if rests and behind:
            self._behind(order_id)


def _so_far(sent: TrackedOrder, said: OrderStatus, fills: list[BookedFill]) -> OrderOutcome:
    """Of an order that rests: what the fills come to, whatever else the venue says of them."""
    gross = math.fsum(f.gross for f in fills)
    so_far = outcome_of(said._replace(filled=gross, final=False), fills, sent.rate)
    return so_far._replace(working=sent.order.qty - gross)


def _whole(filled: float, order: Order) -> bool:
    return abs(filled) >= abs(order.qty) * (1 - NOISE)
