"""Values of the trade: books, instruments, fills, funding, and the one money identity.

Prices are USDT per base unit, quantities base units; contracts exist only in `Instrument.to_base` and
`Instrument.to_contracts`. A signed quantity is positive when bought. Fees are positive when paid.

    net_usdt = spot_usdt + perp_usdt - fees_usdt + funding_usdt + residual_usdt

is computed in `settle` and nowhere else: backtest, paper and live hand it their fills.
Everything here is plain Python; `Book`, `Order` and `fill` are compiled by numba as they stand.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import NamedTuple

from .errors import DataError, ParamsError

SPOT, PERP = 0, 1
LEGS = ("spot", "perp")
UPDATES, SNAPSHOTS = "updates", "snapshots"
NS = 1_000_000_000

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
    """The largest multiple of `step` that is not above `qty` (qty >= 0); `step` 0 means no grid.

    The 1e-9 forgives the last digits of a quotient, so that 0.3 / 0.1 counts as three steps.
    """
    if step <= 0.0:
        return qty
    return math.floor(qty / step + 1e-9) * step


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


def exit_price(position: float, book: Book) -> float:
    """The side of `book` at which a signed position could be closed: bid for a long, ask for a short."""
    return book.bid if position >= 0.0 else book.ask


@dataclass(frozen=True, slots=True)
class Instrument:
    """Rules of one instrument of one venue; quantities and minima in base units, fee as a fraction.

    `contract_size` is the base units of one contract (Gate: quanto_multiplier); 1 on a spot venue.
    `qty_step` 0 means that no grid is known (research on recordings of a spot venue).
    """

    venue: str
    taker_fee: float
    contract_size: float = 1.0
    qty_step: float = 0.0
    min_qty: float = 0.0
    min_notional_usdt: float = 0.0

    def __post_init__(self) -> None:
        if not self.contract_size > 0:
            raise ParamsError(f"contract_size must be positive, was {self.contract_size}; take it from the venue's contract list")
        if not -0.01 <= self.taker_fee <= 0.05:
            raise ParamsError(f"taker_fee is a fraction of notional, was {self.taker_fee}; 5 bps is 0.0005")
        for name in ("qty_step", "min_qty", "min_notional_usdt"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ParamsError(f"{name} must be zero or positive, was {getattr(self, name)}")

    def to_base(self, contracts: float) -> float:
        """Base units of a number of contracts (signed)."""
        return contracts * self.contract_size

    def to_contracts(self, base: float) -> int:
        """Whole contracts of a base quantity (signed); refuses a quantity that is off the grid."""
        contracts = round(base / self.contract_size) if math.isfinite(base) else 0
        if not abs(base / self.contract_size - contracts) < 1e-3:  # true for NaN and infinity too
            raise ParamsError(f"{base} base units are not whole contracts of {self.contract_size}; size the order on the common step")
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


@dataclass(frozen=True, slots=True)
class Trade:
    """One closed pair in money; `net_usdt` is the sum of its parts (see `settle`).

    Prices are quantity-weighted means of the fills; `qty` is the spot quantity bought, `notional_usdt` what it cost.
    `approximate_funding` says that a mark price was not recorded and the perpetual's mid stood in for it.
    """

    pair: int
    opened_ns: int
    closed_ns: int
    reason: str
    qty: float
    notional_usdt: float
    spot_in: float
    perp_in: float
    spot_out: float
    perp_out: float
    spot_usdt: float
    perp_usdt: float
    fees_usdt: float
    funding_usdt: float
    residual_usdt: float
    net_usdt: float
    fills: int
    approximate_funding: bool

    @property
    def held_s(self) -> float:
        return (self.closed_ns - self.opened_ns) / NS


TRADE_FIELDS = tuple(field.name for field in fields(Trade))


def settle(
    fills: Sequence[Fill],
    reason: int,
    payments: Sequence[FundingPayment] = (),
    spot_mark: float = 0.0,
    perp_mark: float = 0.0,
) -> Trade:
    """The money of one pair, from its fills in time order.

    A residual (legs that did not net to zero) is booked at `spot_mark` and `perp_mark`, its exit side when the
    pair closed. `payments` are the funding stamps known; those inside the hold are charged or credited.
    """
    spot = [f for f in fills if f.leg == SPOT]
    perp = [f for f in fills if f.leg == PERP]
    spot_usdt, perp_usdt = _cash(spot), _cash(perp)
    fees_usdt = sum((f.fee_usdt for f in fills), 0.0)
    funding_usdt, exact = funding(perp, payments)
    residual_usdt = 0.0 + sum(f.qty for f in spot) * spot_mark + sum(f.qty for f in perp) * perp_mark
    bought = [f for f in spot if f.qty > 0]
    sold = [f for f in perp if f.qty < 0]
    return Trade(
        pair=fills[0].pair,
        opened_ns=fills[0].ts_ns,
        closed_ns=fills[-1].ts_ns,
        reason=REASONS[reason],
        qty=sum((f.qty for f in bought), 0.0),
        notional_usdt=sum((f.qty * f.price for f in bought), 0.0),
        spot_in=_mean_price(bought),
        perp_in=_mean_price(sold),
        spot_out=_mean_price([f for f in spot if f.qty < 0]),
        perp_out=_mean_price([f for f in perp if f.qty > 0]),
        spot_usdt=spot_usdt,
        perp_usdt=perp_usdt,
        fees_usdt=fees_usdt,
        funding_usdt=funding_usdt,
        residual_usdt=residual_usdt,
        net_usdt=spot_usdt + perp_usdt - fees_usdt + funding_usdt + residual_usdt,
        fills=len(fills),
        approximate_funding=not exact,
    )


def _cash(fills: Sequence[Fill]) -> float:
    return 0.0 - sum(f.qty * f.price for f in fills)


def _mean_price(fills: Sequence[Fill]) -> float:
    """Quantity-weighted mean price; NaN when nothing was filled on that side (a leg that never traded has no price)."""
    qty = sum(f.qty for f in fills)
    return sum(f.qty * f.price for f in fills) / qty if fills else math.nan


def funding(perp: Sequence[Fill], payments: Sequence[FundingPayment]) -> tuple[float, bool]:
    """Funding received in USDT for the perpetual's fills, and whether every mark used was a recorded one.

    A stamp pays on the position held strictly before it: + rate * mark * q for a short of q (design, section 2).
    """
    usdt, exact = 0.0, True
    if not perp:
        return usdt, exact
    for payment in payments:
        if not perp[0].ts_ns < payment.ts_ns <= perp[-1].ts_ns:
            continue
        short = -sum(f.qty for f in perp if f.ts_ns < payment.ts_ns)
        if short != 0.0:
            usdt += payment.rate * payment.mark * short
            exact = exact and payment.exact
    return usdt, exact


def check_stamps(stamps: Sequence[int], opened_ns: int, closed_ns: int) -> None:
    """Refuse a funding table with a hole inside the hold [opened_ns, closed_ns].

    A hole is an interval longer than both neighbouring ones by more than a twentieth (intervals change, and stamps
    are milliseconds off), or a hold that contains the time at which the next stamp outside the table is expected.
    """
    if len(stamps) < 2:
        raise DataError(f"a funding table of {len(stamps)} stamps has no interval; give the whole history, or --funding none")
    steps = [later - earlier for earlier, later in zip(stamps, stamps[1:], strict=False)]
    if opened_ns < stamps[0] - steps[0] or closed_ns >= stamps[-1] + steps[-1]:
        raise DataError(
            f"the funding table covers {utc(stamps[0])} to {utc(stamps[-1])}, the position was held "
            f"{utc(opened_ns)} to {utc(closed_ns)}; fetch the missing stamps"
        )
    for k, step in enumerate(steps):
        neighbours = max(steps[max(k - 1, 0)] if k else 0, steps[k + 1] if k + 1 < len(steps) else 0)
        hole = neighbours > 0 and step > 1.05 * neighbours
        if hole and opened_ns < stamps[k + 1] and closed_ns > stamps[k]:
            raise DataError(
                f"a funding stamp is missing between {utc(stamps[k])} and {utc(stamps[k + 1])} while a position "
                "was held; fetch it, the last rate is never used again"
            )


def utc(ts_ns: int) -> str:
    """UTC time of a stamp, to the millisecond."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ts_ns / NS, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
