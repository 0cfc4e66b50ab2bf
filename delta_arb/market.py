"""Values of the trade: books, orders, fills, the fill rule, and what two books offer each other.

Prices are USDT per base unit, quantities base units; contracts exist only in `VenueTerms.to_base` and
`VenueTerms.to_contracts`. A signed quantity is positive when bought. Fees are positive when paid.
Everything here is plain Python; what the machine uses is compiled by numba as it stands. Edges and costs are fractions
of the spot price, and plain arithmetic on purpose: the same function takes two floats (the live runner), two numpy
columns (the notebooks) or is compiled (the backtest), and gives the same bits in all three.
"""

import math
import re
from typing import NamedTuple

SPOT, PERP = 0, 1
LEGS = ("spot", "perp")
UPDATES, SNAPSHOTS = "updates", "snapshots"
NS = 1_000_000_000
NEVER = 2**62
SAME = 1e-9  # share by which two prices of one tick differ at most, in floating point
MS, HOUR_NS = 1_000_000, 3600 * NS  # in ns
DAY_S, DAY_NS = 86_400.0, 86_400 * NS
QUOTE, BASE = "quote", "base"  # what a buyer's fee is taken in

# What is assumed of the place of a resting order in the queue of its price (`strategy.quoting`), by number and by name.
FRONT, BACK, THROUGH = range(3)
ASSUMPTIONS = ("front", "back", "through")

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
    """One limit order; `qty` is signed, 0 means no order. `cancel` asks for the end of the working one.

    It is IOC, or `post_only`: it rests at its limit until it is filled or cancelled, and is refused where it would take.
    """

    qty: float
    limit: float
    reduce_only: bool
    cancel: bool
    post_only: bool = False


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


def two_sided(book: Book) -> bool:
    """Whether both sides have a price; a side that nobody quotes has the price 0."""
    return book.bid > 0.0 and book.ask > 0.0


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


def utc(ts_ns: int) -> str:
    """UTC time of a stamp, to the millisecond."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ts_ns / NS, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def plain_pair(pair: str) -> str:
    """The pair's name as folders and files have it: FOO/USDT and FOO/USDT:USDT are FOO_USDT."""
    return re.sub(r"^([^/:]+)/(\w+)(:\2)?$", r"\1_\2", pair)


def pair_name(pair: str, spot_venue: str, perp_venue: str) -> str:
    """Folder name of a pair, like LUNC_USDT-mexc-gate."""
    return f"{pair}-{spot_venue}-{perp_venue}"
