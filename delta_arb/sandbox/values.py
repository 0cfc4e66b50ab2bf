"""What both venues are made of: listings, orders, trades, events, and why they refuse.

Prices are USDT per base unit and quantities base units, all `Decimal`, as on the tape; contracts exist only
in the Gate protocol. Sides are `BUY` = +1 and `SELL` = -1, so that `side * qty` is signed. Times are the venue's clock, in
ns UTC.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

ZERO, ONE = Decimal(0), Decimal(1)
BUY, SELL = 1, -1

LIMIT, MARKET = "limit", "market"
GTC, IOC, POST_ONLY = "gtc", "ioc", "post_only"  # time in force
OPEN, FILLED, CANCELLED = "open", "filled", "cancelled"  # states; CANCELLED may have fills

# Why an order ended (Order.finish)
BY_FILL, BY_USER, BY_IOC, BY_POST_ONLY = "filled", "cancelled", "ioc", "post_only"
BY_REDUCE_ONLY, BY_LIQUIDATION, BY_ADL = "reduce_only", "liquidated", "auto_deleveraged"
BY_DELISTING = "delisted"

QUOTE, RECEIVED = "quote", "received"  # where a venue takes its fee: the quote currency, or the coin bought ...
TOKENS = {
    "MX": Decimal(2),
    "points": Decimal(1),
}  # ... or its own token (MEXC's coin, Gate's points), with its price here
TOKENS_HELD = Decimal(1000)


def dec(value: "str | int | float | Decimal") -> Decimal:
    """The decimal that a person reads in `value`: 0.1 is one tenth, not its binary neighbour."""
    return value if isinstance(value, Decimal) else Decimal(repr(value) if isinstance(value, float) else value)


def text(value: Decimal) -> str:
    """Plain digits without exponent or trailing zeros: '0.00006', '100', '0'."""
    plain = format(value, "f")
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return "0" if plain in ("", "-0") else plain


@dataclass(frozen=True, slots=True)
class Listing:
    """One instrument and its rules. `contract_size`: base units of a contract (1 on a spot venue)."""

    base: str
    price_step: Decimal
    qty_step: Decimal
    min_qty: Decimal = ZERO
    max_qty: Decimal = Decimal(10**12)
    min_notional: Decimal = ZERO
    max_deviation: Decimal = Decimal("0.5")  # of a limit price from the mark, fraction
    contract_size: Decimal = ONE
    leverage_max: Decimal = Decimal(50)
    maintenance_rate: Decimal = Decimal("0.01")
    quote: str = "USDT"

    @property
    def pair(self) -> str:
        """The name that engine and faults use on both venues, like SYN_USDT."""
        return f"{self.base}_{self.quote}"


@dataclass(frozen=True, slots=True)
class Settings:
    """How the venue treats this one account. Fees are fractions of notional; a negative maker fee is a rebate."""

    taker_fee: Decimal = Decimal("0.0005")
    maker_fee: Decimal = Decimal("0.0002")
    fee_in: str = QUOTE
    dual_positions: bool = False  # perpetual: the mode that the account shows; positions are kept in single mode
    cross_margin: bool = True
    leverage: Decimal = Decimal(10)
    post_only_refused: bool = True  # a post-only order that would take: refused, or accepted and cancelled at once
    queue: str = "back"  # what a resting order finds before it at its price: front, back or through


@dataclass(slots=True)
class ApiKey:
    """The account's API key; play money, so it may be shown."""

    key: str
    secret: str


@dataclass(slots=True)
class Order:
    """One order. Listeners and look-ups see copies, so each push shows the state of its own moment."""

    id: int
    client_id: str  # "" = none
    pair: str
    side: int
    kind: str
    tif: str
    price: Decimal  # 0 for a market order
    qty: Decimal
    reduce_only: bool
    created_ns: int
    updated_ns: int
    finished_ns: int = 0
    state: str = OPEN
    finish: str = ""
    filled: Decimal = ZERO
    filled_quote: Decimal = ZERO
    fee: Decimal = ZERO
    updates: int = 1  # how many states it had
    held: bool = False  # a late fill is pending; not matched until released
    frozen: Decimal = ZERO  # what the account locked for it (spot: of the coin it pays with; margin: USDT)

    @property
    def left(self) -> Decimal:
        return self.qty - self.filled

    @property
    def average(self) -> Decimal:
        """Mean fill price; 0 before the first fill."""
        return self.filled_quote / self.filled if self.filled else ZERO


class Trade(NamedTuple):
    """One fill of an own order; `fee` positive when paid, in `fee_coin`. `order` is the order's state after it."""

    id: int
    ts_ns: int
    pair: str
    side: int
    price: Decimal
    qty: Decimal
    maker: bool
    fee: Decimal
    fee_coin: str
    order: Order
    closed_qty: Decimal = ZERO  # of it, what reduced a position


class Quote(NamedTuple):
    """Best level as the venue shows it; a side without a level has price and qty 0."""

    pair: str
    ts_ns: int
    book_id: int
    bid: Decimal
    bid_qty: Decimal
    ask: Decimal
    ask_qty: Decimal


class BookChange(NamedTuple):
    """Levels that changed (qty 0 = gone), and the book ids this change spans: `first_id` = previous `last_id` + 1."""

    pair: str
    ts_ns: int
    first_id: int
    last_id: int
    bids: tuple[tuple[Decimal, Decimal], ...]
    asks: tuple[tuple[Decimal, Decimal], ...]


class Print(NamedTuple):
    """One public trade; `side` is the taker's."""

    id: int
    ts_ns: int
    pair: str
    side: int
    price: Decimal
    qty: Decimal


class BalanceChange(NamedTuple):
    """One coin of the wallet after a change. `reason`: 'order', 'cancel', 'fill', 'pnl', 'fee', 'fund' or 'deposit'.

    `free` and `locked` are totals after it; a margin account has its wallet balance as `free`, and nothing locked.
    """

    ts_ns: int
    coin: str
    free: Decimal
    locked: Decimal
    free_change: Decimal
    locked_change: Decimal
    reason: str
    pair: str


class PositionChange(NamedTuple):
    """A position changed: read it with `engine.account.position(pair)`."""

    ts_ns: int
    pair: str


class FundingPaid(NamedTuple):
    """One funding stamp of a perpetual; `paid_usdt` is what the account received (negative: paid)."""

    ts_ns: int
    pair: str
    rate: Decimal
    mark: Decimal
    paid_usdt: Decimal


class Upcoming(NamedTuple):
    """The next funding stamp of a perpetual, as announced; the final rate is known at the stamp only."""

    rate: Decimal
    at_ns: int
    interval_s: int


class Refusal(Exception):
    """Why the venue refuses; each venue maps the class to its own code. The text is for people."""


class UnknownPair(Refusal):
    """No such instrument."""


class NotTrading(Refusal):
    """Listed, but new orders are not taken (delisting)."""


class InsufficientFunds(Refusal):
    """Not enough free coins, or margin."""


class BelowMinimum(Refusal):
    """Quantity below `min_qty`."""


class BelowNotional(Refusal):
    """Value below `min_notional`."""


class AboveMaximum(Refusal):
    """Quantity above `max_qty`."""


class BadPrecision(Refusal):
    """Price or quantity off the grid, or not positive."""


class PriceTooDeviated(Refusal):
    """A limit price too far from the mark."""


class WouldTakeLiquidity(Refusal):
    """A post-only order that would be filled at once."""


class UnknownOrder(Refusal):
    """No order by that id or client id."""


class OrderFinished(Refusal):
    """The order is not open any more."""


class DuplicateClientId(Refusal):
    """An order by this client id exists."""


class NothingToReduce(Refusal):
    """A reduce-only order, or a close, without a position to reduce."""


class LeverageTooHigh(Refusal):
    """Leverage above `leverage_max` or below 1."""
