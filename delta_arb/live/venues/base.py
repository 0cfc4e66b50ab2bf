"""What the runner asks of a venue: quotes, orders, and the truth about both.

`mexc` and `gate` answer with genuine ccxt clients, `live.paper` with the backtest's fill rule. Quantities are
signed base units everywhere; contracts exist only inside the Gate venue. A venue never decides and never retries an
order: whoever sent it asks `outcome` until the venue says that it is final.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from delta_arb.errors import DeltaArbError
from delta_arb.live import clock
from delta_arb.market import NS, Book, Order
from delta_arb.venue_terms import VenueTerms

UNBOUND_LIFE_NS = 90 * 86_400 * NS  # of a key that is bound to no address (MEXC and Gate say so)
SHAPES = KeyError, IndexError, TypeError, ValueError, AttributeError  # of an answer that is not as documented
T = TypeVar("T")


class VenueError(DeltaArbError):
    """A venue refuses, cannot be reached (`unreachable`), or is not set up as the runner needs it; `code` is its own."""

    def __init__(self, message: str, code: str = "", *, unreachable: bool = False) -> None:
        super().__init__(message)
        self.code, self.unreachable = code, unreachable


class SubscriptionRefused(VenueError):
    """A stream will not be served: to dial it again is of no use while it never was."""


class OutcomeUnknown(VenueError):
    """An order or its cancellation was sent and nobody said what became of it: look it up, never send it again."""


class OrderOutcome(NamedTuple):
    """What the venue says of one order: filled quantity (signed, net of a fee taken in the coin), mean price, fees.

    `ts_ns` is the venue's clock at the last fill or, without one, at its last word; of a refusal or a doubt it is ours.

    `final` is false while it may still fill. `refused` is the venue's code where it never accepted the order, or ours
    where it never left. `doubt` says why nobody knows what became of it: it may work, have filled, or never have
    arrived, so ask `outcome` until that is final. `fee_exact` is false where the venue has not booked the fee yet, or
    took it in neither USDT nor the coin traded: `fee_usdt` is then what the account's rate comes to. `for_good`: sent
    again, it would be refused again. `working`: what of a resting order still works (signed, base units): 0.0 for others.
    """

    order_id: str
    ts_ns: int
    filled: float
    price: float
    fee_usdt: float
    final: bool
    refused: str = ""
    doubt: str = ""
    fee_exact: bool = True
    for_good: bool = False
    working: float = 0.0

    @staticmethod
    def nothing(order_id: str, *, refused: str = "", doubt: str = "", for_good: bool = False) -> "OrderOutcome":
        """An order of which nothing is known to be filled."""
        now_ns = clock.now_ns()
        return OrderOutcome(order_id, now_ns, 0.0, 0.0, 0.0, bool(refused), refused, doubt, for_good=for_good)


class Execution(NamedTuple):
    """One fill as the venue booked it: signed base units, net of a fee taken in the coin; fees as in `Outcome`.

    `order_id` is ours, and empty for what no order of a program did: a liquidation, a person's hand.
    """

    deal_id: str
    order_id: str
    ts_ns: int
    qty: float
    price: float
    fee_usdt: float
    fee_exact: bool = True


def filled_by(order_id: str, deals: Sequence[Execution]) -> OrderOutcome:
    """The end of an order by its fills, of which there is one at least."""
    qty = math.fsum(d.qty for d in deals)
    price = math.fsum(d.qty * d.price for d in deals) / qty
    fee_usdt, exact = math.fsum(d.fee_usdt for d in deals), all(d.fee_exact for d in deals)
    return OrderOutcome(order_id, deals[-1].ts_ns, qty, price, fee_usdt, True, fee_exact=exact)


class Fees(NamedTuple):
    """The account's own fees by the role of an order, bps; `maker_bps` is None where it is not known."""

    taker_bps: float
    maker_bps: float | None = None


class ListedTerms(NamedTuple):
    """How a venue lists the market now: its order rules, and why it takes no new orders ("" where it does)."""

    terms: VenueTerms
    closed: str = ""


class Setup(NamedTuple):
    """How the account is set up for this market; of a spot venue only `trading` tells anything."""

    trading: bool  # the market is open and the account may trade it
    dual: bool = False  # long and short positions at once
    unified: bool = False  # one margin for all markets of the venue
    cross: bool = False  # all of the wallet is margin, not only the position's own
    leverage: float = 1.0


class Rights(NamedTuple):
    """A key as its venue tells of it; None where it does not. `said` explains `withdraw`.

    `addresses` is empty for a key that works from anywhere. `made_ns` is told by Gate for main accounts.
    """

    withdraw: bool | None
    said: str
    addresses: tuple[str, ...] | None
    trade: bool | None = None
    made_ns: int | None = None

    @property
    def ends_ns(self) -> int | None:
        """When a key that is bound to no address ends; None where it does not end, or the day is not told."""
        return self.made_ns + UNBOUND_LIFE_NS if self.addresses == () and self.made_ns is not None else None


class Funding(NamedTuple):
    """The next funding stamp as announced (the rate is final only at its stamp), and the mark price now."""

    rate: float
    next_ns: int
    interval_s: int
    mark: float


class Account(NamedTuple):
    """One wallet: free and whole USDT, coins held (spot), signed position (perpetual), in base units.

    `usdt_total` is without unrealized profit. `liquidation_price` is 0.0 without a position; `adl_rank` counts from 1,
    the first to be deleveraged, and is 0 where unknown.
    """

    usdt_free: float
    usdt_total: float
    coin: float
    position: float
    liquidation_price: float
    adl_rank: int
    ts_ns: int


OnQuote = Callable[[int, Book, int], None]  # leg, book (fresh_ns on our clock), the venue's own stamp in ns
OnTrade = Callable[[int, int, float, float], None]  # leg, side of the taker, price, quantity: a trade of others
OnLevels = Callable[[int, Sequence[float]], None]  # leg, price and size (base units) of five bids, then of five asks
OnOutcome = Callable[[int, OrderOutcome], None]  # leg, what a private stream says of an order of ours


class Venue(Protocol):
    """One leg's venue. `open` loads the market, measures the clock and starts the streams; the rest needs it."""

    leg: int
    name: str
    terms: VenueTerms  # as the venue listed it when it was opened, with the account's own fee
    closed: str  # why the market took no new orders then; "" where it did
    remembered: str  # the market as it was listed when it was opened; given before, it opens one that is not any more
    tick: float  # one step of the price
    clock_offset_ns: int  # the venue's clock minus ours
    clock_ns: int  # when that was measured, on our clock
    weight_left: int  # of requests that may be made now
    allowance: int  # orders that may be sent now: more are refused by us before they leave
    paused_s: float  # for how long the venue wants nothing from us yet
    reachable: bool  # whether it answered at all when it was last looked at
    trouble: str  # why nothing new should be begun there: it did not answer, or wants a pause; ""
    private_alive: bool  # whether the stream of our own orders is up
    counts_down: bool  # whether it cancels by itself what rests (`cancel_after`)
    on_trade: OnTrade | None  # set before `open` by who wants trades of others told (paper)
    on_levels: OnLevels | None  # and by who wants the five best levels

    async def open(self, on_quote: OnQuote, on_outcome: OnOutcome) -> None: ...

    def asked_before(self, hours: Iterable[tuple[int, int, int]]) -> None:
        """What earlier runs asked about orders in the last day (hour of the Unix time, requests, orders filled), for a venue
        that counts it."""

    async def close(self) -> None: ...

    async def failed(self) -> None:
        """Wait until a task of this venue ends by an error, and raise it; run this beside whatever uses the venue."""

    def prepare(self, order_id: str, order: Order) -> Callable[[], None]:
        """Build and sign an order, which changes nothing; calling the result in the same turn of the loop puts it on the wire
        now. Neither raises while it is open.

        `on_outcome` is called after that: once when the order is final (refusals included), or at first with a `doubt`
        or with what little is known, and once more if a stream tells the end later. Of one that rests also when it is
        accepted and with each fill: what is filled in all, and what still works. One that would have taken is `refused`
        as `WOULD_TAKE`, whether the venue refuses it or accepts and cancels it.
        """

    async def outcome(self, order_id: str) -> OrderOutcome | None:
        """What the venue says of an order of ours; None when it does not know it, VenueError when it does not answer.

        Just after a send that ended in doubt, None may only mean not yet: the request may still be under way.
        """

    async def cancel(self, order_id: str) -> None:
        """End an order; one that has ended or is not known is left alone. Read `outcome` afterwards in any case.

        Raises:
            OutcomeUnknown: nobody said whether it is cancelled.
        """

    async def amend(self, order_id: str, qty: float, price: float) -> None:
        """Give a resting order another quantity (fills included, signed) or price; `outcome` tells what it is then.

        Raises:
            VenueError: the venue refuses, or has no such request.
            OutcomeUnknown: nobody said whether it is amended.
        """

    async def cancel_after(self, seconds: float) -> bool:
        """Have the venue itself cancel all that rests on this market in so many seconds, unless it is asked again before;
        False where it cannot."""

    async def test(self, order: Order) -> str:
        """What the venue's test order says: "" or its refusal. A venue without one checks only what we can."""

    async def book(self) -> Book:
        """The best levels by REST."""

    async def account(self) -> Account: ...

    async def working(self) -> tuple[str, ...]:
        """Ids of all orders open on this market, ours and others."""

    async def deals(self, start_ns: int, end_ns: int) -> tuple[Execution, ...]:
        """All fills of the account on this market in [start, end), oldest first, whoever ordered them."""

    async def listed(self) -> ListedTerms:
        """How the market is listed now."""

    async def setup(self) -> Setup: ...

    async def rights(self) -> Rights:
        """What the key may do besides trading, as far as the venue tells; never raises for what it does not."""

    async def funding(self) -> Funding: ...

    async def funding_history(self, start_ns: int, end_ns: int) -> tuple[tuple[int, float], ...]:
        """(stamp in ns, rate) of each funding in [start, end), oldest first.

        Raises:
            VenueError: the venue does not tell the whole range.
        """


def no_network(venues: Sequence["Venue"]) -> str:
    """Where neither venue answers at all, it is not the venues."""
    return f"no network: neither {' nor '.join(venue.name for venue in venues)} can be reached from this machine"


async def within(call: Awaitable[T], what: str, seconds: float = 10.0) -> T:
    """The answer of a venue; VenueError instead of waiting for ever."""
    try:
        async with asyncio.timeout(seconds):
            return await call
    except TimeoutError:
        raise VenueError(f"{what}: no answer within {seconds:g} s") from None


WOULD_TAKE = "post-only, and it would have taken"  # of a resting order, by whatever words or deeds the venue refuses it
NEVER_REACHED = "unknown to the venue"  # in place of a refusal: an order that never arrived
OUTSIDE = "outside"  # in place of an order id: a liquidation, auto-deleveraging, a person's hand


class Report(NamedTuple):
    """What became of an order: what was filled of it (signed base units), at what mean price, and when that is known.

    `fee_usdt` is what the venue took, None on paper (the rule's fee applies). `refused` is why it never worked.
    A second report of the same order is a late fill: what came in after the order was held to be over; but of one that
    rests each says what was filled since the last one, and `remaining` what still works (signed): 0.0 at its end.
    """

    ts_ns: int
    leg: int
    order_id: str
    filled: float
    price: float
    fee_usdt: float | None = None
    refused: str = ""
    venue_ns: int = 0
    for_good: bool = False  # refused, and refused again however often it is sent
    remaining: float = 0.0
    give_up: bool = (
        False  # refused, and this leg is not to be tried again for now: also what was refused again and again
    )


class Placed(NamedTuple):
    """An order with the id that it is journaled and sent under."""

    order_id: str
    leg: int
    order: Order


class Broker(Protocol):
    """Takes the orders of one decision, together; each ends in a `Report` to the runner."""

    def place(self, orders: Sequence[Placed], now_ns: int) -> None: ...

    def cancel(self, leg: int, now_ns: int) -> None:
        """The order working on this leg must end; its report says how it did."""
