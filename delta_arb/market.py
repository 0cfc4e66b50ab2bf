"""Values of the trade: books, orders, fills, instruments, the fill rule, and what two books offer each other.

Prices are USDT per base unit, quantities base units; contracts exist only in `Instrument.to_base` and
`Instrument.to_contracts`. A signed quantity is positive when bought. Fees are positive when paid.
Everything here is plain Python; what the machine uses is compiled by numba as it stands. Edges and costs are fractions
of the spot price, and plain arithmetic on purpose: the same function takes two floats (the live runner), two numpy
columns (the notebooks) or is compiled (the backtest), and gives the same bits in all three.
"""

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from delta_arb.errors import ParamsError

SPOT, PERP = 0, 1
LEGS = ("spot", "perp")
UPDATES, SNAPSHOTS = "updates", "snapshots"
NS = 1_000_000_000
NEVER = 2**62
DAY_S, DAY_NS = 86_400.0, 86_400 * NS
QUOTE, BASE = "quote", "base"  # what a buyer's fee is taken in

# Why a pair ended. The names are what tables and journals show.
NO_REASON, TARGET, TIMEOUT, UNWOUND, GUARD, HALT, END = range(7)
REASONS = ("", "target", "time-out", "unwound", "guard", "halted", "end of data")


class Book(NamedTuple):
    """Best level of one instrument; `fresh_ns` is when it was last confirmed, so its age is now - fresh_ns."""

    bid: float
    ask: float
    bid_qty: float
    ask_qty: float
    fresh_ns: int


class Order(NamedTuple):
    """One IOC limit order; `qty` is signed, 0 means no order. `cancel` asks for the end of the working one."""

    qty: float
    limit: float
    reduce_only: bool
    cancel: bool


class Fill(NamedTuple):
    """What a venue filled of one order of one pair; `qty` signed base units, `fee_usdt` positive when paid."""

    pair: int
    ts_ns: int
    leg: int
    qty: float
    price: float
    fee_usdt: float


class FundingPayment(NamedTuple):
    """One funding stamp: longs pay `rate` of `mark` per base unit to shorts. `exact` is False for a mid as mark."""

    ts_ns: int
    rate: float
    mark: float
    exact: bool


def floor_to(qty: float, step: float) -> float:
    """The largest multiple of `step` that is not above `qty`; `step` 0 means no grid.

    The 1e-9 forgives the last digits of a quotient, so that 0.3 / 0.1 counts as three steps.
    """
    if step <= 0.0:
        return qty
    return math.floor(qty / step + 1e-9) * step


def ceil_to(qty: float, step: float) -> float:
    """The smallest multiple of `step` that is not below `qty`, with the same pardon as `floor_to`."""
    return -floor_to(-qty, step)


def fill(qty: float, limit: float, book: Book, step: float) -> tuple[float, float]:
    """Signed quantity filled and its price, for an IOC order that meets `book` (design: the fill rule).

    Filled at the book's own ask (buy) or bid (sell), at most the shown quantity, on the venue's grid; nothing
    when the price is beyond the limit or the book is not tradable.
    """
    if not 0.0 < book.bid < book.ask:
        return 0.0, 0.0
    if qty > 0.0 and book.ask <= limit:
        return floor_to(min(qty, book.ask_qty), step), book.ask
    if qty < 0.0 and book.bid >= limit:
        return -floor_to(min(-qty, book.bid_qty), step), book.bid
    return 0.0, 0.0


class Taken(NamedTuple):
    """What our own fills have taken from the book that was confirmed at `fresh_ns`; the next row shows sizes anew."""

    fresh_ns: int
    bid_qty: float
    ask_qty: float


UNTOUCHED = Taken(-1, 0.0, 0.0)


def left_of(book: Book, taken: Taken) -> Book:
    """The book without what we have taken from it already: a size shown once fills once."""
    if taken.fresh_ns != book.fresh_ns:
        return book
    bid_qty, ask_qty = max(book.bid_qty - taken.bid_qty, 0.0), max(book.ask_qty - taken.ask_qty, 0.0)
    return Book(book.bid, book.ask, bid_qty, ask_qty, book.fresh_ns)


def with_taken(book: Book, taken: Taken, filled: float) -> Taken:
    """The same after a fill (signed) at this book."""
    if taken.fresh_ns != book.fresh_ns:
        taken = Taken(book.fresh_ns, 0.0, 0.0)
    return Taken(book.fresh_ns, taken.bid_qty + max(-filled, 0.0), taken.ask_qty + max(filled, 0.0))


def tradable(book: Book) -> bool:
    """Two-sided, uncrossed, and something shown on both sides (a withdrawn book keeps its prices, with sizes of zero)."""
    return 0.0 < book.bid < book.ask and book.bid_qty > 0.0 and book.ask_qty > 0.0


def exit_price(position: float, book: Book) -> float:
    """The side of `book` at which a signed position could be closed: bid for a long, ask for a short."""
    return book.bid if position >= 0.0 else book.ask


# --- What the two books offer: one formula for two floats, for two columns, and compiled --------------------------------


def entry_edge(spot_ask, perp_bid):
    """What opening the direct pair pays, taker on both legs, before fees; larger is better."""
    return (perp_bid - spot_ask) / spot_ask


def exit_cost(spot_bid, perp_ask):
    """What closing the direct pair costs, taker on both legs, before fees; smaller is better."""
    return (perp_ask - spot_bid) / spot_bid


def reverse_edge(spot_bid, perp_ask):
    """What opening the reverse pair pays (sell spot out of inventory, buy perp); exactly `-exit_cost`."""
    return (spot_bid - perp_ask) / spot_bid


def reverse_cost(spot_ask, perp_bid):
    """What closing the reverse pair costs; exactly `-entry_edge`."""
    return (spot_ask - perp_bid) / spot_ask


def mid(bid, ask):
    """Middle of one book; a reference, nothing ever fills there."""
    return 0.5 * (bid + ask)


def basis(spot_mid, perp_mid):
    """Relative distance of the two mids; positive means the perpetual is rich."""
    return (perp_mid - spot_mid) / spot_mid


def round_trip_fees(spot_fee, perp_fee):
    """The four taker fees of a round trip as a fraction of notional: both legs, in and out."""
    return 2 * (spot_fee + perp_fee)


def from_bps(bps):
    """Basis points to a fraction; with `to_bps` the only conversion."""
    return bps / 10_000.0


def to_bps(fraction):
    """Fraction to basis points."""
    return fraction * 10_000.0


# --- Venues' rules ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Instrument:
    """Rules of one instrument of one venue; quantities and minima in base units, fee as a fraction.

    `contract_size` is the base units of one contract (Gate: quanto_multiplier); 1 on a spot venue.
    `qty_step` 0 means that no grid is known (research on recordings of a spot venue). `leverage` is ours there,
    at most `max_leverage`; `maintenance_rate` is the share of a position's value below which its margin may not fall.
    `fee_currency` says what a buyer's fee is taken in: `quote`, or `base`, the coin bought. `price_tick` 0: not known.
    """

    venue: str
    taker_fee: float
    contract_size: float = 1.0
    qty_step: float = 0.0
    min_qty: float = 0.0
    min_notional_usdt: float = 0.0
    leverage: float = 1.0
    price_tick: float = 0.0
    fee_currency: str = QUOTE
    max_leverage: float = 200.0
    maintenance_rate: float = 0.0

    def __post_init__(self) -> None:
        if not self.contract_size > 0:
            raise ParamsError(
                f"contract_size must be positive, was {self.contract_size}; take it from the venue's contract list"
            )
        if not -0.01 <= self.taker_fee <= 0.05:
            raise ParamsError(f"taker_fee is a fraction of notional, was {self.taker_fee}; 5 bps is 0.0005")
        if not 1 <= self.leverage <= self.max_leverage:
            raise ParamsError(f"leverage is at least 1 and here at most {self.max_leverage:g}, was {self.leverage}")
        if not 0 <= self.maintenance_rate < 1 / self.leverage:
            raise ParamsError(
                f"maintenance_rate is a share below 1 / leverage, was {self.maintenance_rate} at leverage {self.leverage:g}"
            )
        if self.fee_currency not in (QUOTE, BASE):
            raise ParamsError(f"fee_currency is {QUOTE} or {BASE}, was {self.fee_currency!r}")
        for name in ("qty_step", "min_qty", "min_notional_usdt", "price_tick"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ParamsError(f"{name} must be zero or positive, was {getattr(self, name)}")

    def to_base(self, contracts: float) -> float:
        """Base units of a number of contracts (signed)."""
        return contracts * self.contract_size

    def to_contracts(self, base: float) -> int:
        """Whole contracts of a base quantity (signed); refuses a quantity that is off the grid."""
        contracts = round(base / self.contract_size) if math.isfinite(base) else 0
        if not abs(base / self.contract_size - contracts) < 1e-3:  # true for NaN and infinity too
            raise ParamsError(
                f"{base} base units are not whole contracts of {self.contract_size}; size the order on the common step"
            )
        return contracts


def perpetual(venue: str, taker_fee: float, contract_size: float) -> Instrument:
    """A perpetual that trades in whole contracts."""
    return Instrument(venue, taker_fee, contract_size, qty_step=contract_size, min_qty=contract_size)


def common_step(spot: Instrument, perp: Instrument) -> float:
    """The smallest quantity that is on both venues' grids, in base units (0 when neither has one)."""
    steps = [Decimal(repr(float(step))) for step in (spot.qty_step, perp.qty_step) if step > 0]
    if not steps:
        return 0.0
    scale = Decimal(10) ** max(0, *(-int(step.normalize().as_tuple().exponent) for step in steps))
    return float(Decimal(math.lcm(*(int(step * scale) for step in steps))) / scale)


def utc(ts_ns: int) -> str:
    """UTC time of a stamp, to the millisecond."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ts_ns / NS, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
