"""The one money identity: what a pair earned, from its fills, whoever made them.

    net_usdt = spot_usdt + perp_usdt - fees_usdt + funding_usdt + residual_usdt

is computed in `money` and nowhere else: `settle` (backtest, paper and live) and the compiled `sweep` hand it their fills.
It is written in loops that numba compiles as they stand: the builtin `sum` compensates since Python 3.12, and money must
be the same to the bit in every version and both ways. cash of a leg = - sum of signed
quantity * price; fees as the venue took them; funding by its own stamps; a residual (legs that did not net to zero)
at its exit side when the pair closed.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

from delta_arb.funding_stamps import check_stamps
from delta_arb.market import (
    END,
    HALT,
    LEGS,
    NEVER,
    NS,
    PERP,
    REASONS,
    SPOT,
    Book,
    Fill,
    FundingPayment,
    exit_price,
    to_bps,
)
from delta_arb.strategy.sizing import fee_usdt, orderable
from delta_arb.strategy.state import DIRECT, HALTED, REVERSE, MachineRule, State

PARTS = ("spot", "perp", "fees", "funding", "residual")
NOISE = 1e-9  # of the largest fill: what is left of equal quantities in floating point is no dust


@dataclass(frozen=True, slots=True)
class Trade:
    """One closed pair in money; `net_usdt` is the sum of its parts (see `settle`).

    Prices are quantity-weighted means of the fills; `qty` is the spot quantity that the pair was opened with (bought by a
    direct pair, sold by a reverse one), `notional_usdt` its money; `side` is `DIRECT` or `REVERSE`.
    `approximate_funding` says that a mark price was not recorded and the perpetual's mid stood in for it.
    """

    pair: int
    side: int
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
    def censored(self) -> bool:
        """Whether the end of the data cut it off: how it would have ended is not known."""
        return self.reason == REASONS[END]

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
    m = money(fills, 0, len(fills), payments, spot_mark, perp_mark)
    spot = [f for f in fills if f.leg == SPOT]
    perp = [f for f in fills if f.leg == PERP]
    return Trade(
        pair=fills[0].pair,
        side=m.side,
        opened_ns=fills[0].ts_ns,
        closed_ns=fills[-1].ts_ns,
        reason=REASONS[reason],
        qty=m.qty,
        notional_usdt=m.notional_usdt,
        spot_in=_mean_price([f for f in spot if f.qty * m.side > 0]),
        perp_in=_mean_price([f for f in perp if f.qty * m.side < 0]),
        spot_out=_mean_price([f for f in spot if f.qty * m.side < 0]),
        perp_out=_mean_price([f for f in perp if f.qty * m.side > 0]),
        spot_usdt=m.spot_usdt,
        perp_usdt=m.perp_usdt,
        fees_usdt=m.fees_usdt,
        funding_usdt=m.funding_usdt,
        residual_usdt=m.residual_usdt,
        net_usdt=m.net_usdt,
        fills=len(fills),
        approximate_funding=not m.exact,
    )


class Money(NamedTuple):
    """The parts of one pair's net, the quantity it was opened with and its notional, its direction; `exact` of funding."""

    side: int
    qty: float
    notional_usdt: float
    spot_usdt: float
    perp_usdt: float
    fees_usdt: float
    funding_usdt: float
    residual_usdt: float
    net_usdt: float
    exact: bool


def money(fills, first, past, payments, spot_mark, perp_mark):
    """The identity, over the fills of one pair: `fills[first:past]`, in time order."""
    bought = fills[first].qty > 0.0  # a direct pair buys spot and sells the perpetual
    side = DIRECT if bought == (fills[first].leg == SPOT) else REVERSE
    qty, notional, paid_spot, paid_perp, fees, spot_left, perp_left = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(first, past):
        f = fills[k]
        fees += f.fee_usdt
        if f.leg == PERP:
            paid_perp += f.qty * f.price
            perp_left += f.qty
            continue
        paid_spot += f.qty * f.price
        spot_left += f.qty
        if f.qty * side > 0.0:
            qty += abs(f.qty)
            notional += abs(f.qty) * f.price
    funded, exact = funding(fills, first, past, payments)
    spot, perp, residual = 0.0 - paid_spot, 0.0 - paid_perp, 0.0 + spot_left * spot_mark + perp_left * perp_mark
    net = spot + perp - fees + funded + residual
    return Money(side, qty, notional, spot, perp, fees, funded, residual, net, exact)


def total(values: Iterable[float]) -> float:
    """Their sum, added one after the other in every version of Python."""
    whole = 0.0
    for value in values:
        whole += value
    return whole


def _mean_price(fills: Sequence[Fill]) -> float:
    """Quantity-weighted mean price; NaN when nothing was filled on that side (a leg that never traded has no price)."""
    return total(f.qty * f.price for f in fills) / total(f.qty for f in fills) if fills else math.nan


def funding(fills, first, past, payments):
    """Funding received in USDT for the perpetual's fills among `fills[first:past]`, and whether every mark was recorded.

    A stamp pays on the position held strictly before it: + rate * mark * q for a short of q (design, section 2).
    """
    usdt, exact = 0.0, True
    opened_ns, closed_ns = NEVER, -1
    for k in range(first, past):
        if fills[k].leg == PERP:
            opened_ns, closed_ns = min(opened_ns, fills[k].ts_ns), fills[k].ts_ns
    for at in range(stamp_after(payments, opened_ns), len(payments)):
        if payments[at].ts_ns > closed_ns:
            break
        held = 0.0
        for k in range(first, past):
            if fills[k].leg == PERP and fills[k].ts_ns < payments[at].ts_ns:
                held += fills[k].qty
        if held != 0.0:
            usdt += payments[at].rate * payments[at].mark * -held
            exact = exact and payments[at].exact
    return usdt, exact


def stamp_after(payments, ts_ns):
    """The number of the first stamp later than `ts_ns`."""
    low, high = 0, len(payments)
    while low < high:
        middle = (low + high) // 2
        if payments[middle].ts_ns <= ts_ns:
            low = middle + 1
        else:
            high = middle
    return low


class Closing(NamedTuple):
    """The end of a pair: its reason, and the exit-side prices at which a residual is booked."""

    pair: int
    ts_ns: int
    reason: int
    spot_mark: float
    perp_mark: float


def close_out(
    state: State, spot: Book, perp: Book, ts_ns: int, rule: MachineRule
) -> tuple[tuple[Fill, ...], tuple[Closing, ...]]:
    """The fills that close what is still open when the quotes end, at the exit side of the last books."""
    fills = tuple(made for made in left_open(state, spot, perp, ts_ns, rule) if made.qty != 0.0)
    if not fills:
        return (), ()
    return fills, (closing(state, spot, perp, ts_ns, HALT if state.phase == HALTED else END),)


def left_open(state, spot, perp, ts_ns, rule):
    """The fills of `close_out` of both legs; of no quantity where nothing is open."""
    return _closed(SPOT, state, spot, ts_ns, rule.spot), _closed(PERP, state, perp, ts_ns, rule.perp)


def _closed(leg, state, book, ts_ns, of) -> Fill:
    position = state.legs[leg].position
    price = exit_price(position, book)
    return Fill(state.pair, ts_ns, leg, -position, price, fee_usdt(-position, price, of))


def closing(state: State, spot: Book, perp: Book, ts_ns: int, reason: int) -> Closing:
    """The end of the newest pair, a residual of each leg marked at the side at which its direction is left."""
    return Closing(state.pair, ts_ns, reason, exit_price(state.side, spot), exit_price(-state.side, perp))


def settle_all(
    fills: Iterable[Fill], closings: Iterable[Closing], payments: Sequence[FundingPayment]
) -> tuple[Trade, ...]:
    """The trades of a run; a closing without fills (an entry that neither venue filled) is none."""
    by_pair = defaultdict(list)
    for f in fills:
        by_pair[f.pair].append(f)
    stamps = [p.ts_ns for p in payments]
    return tuple(close_pair(by_pair[c.pair], c, payments, stamps) for c in closings if c.pair in by_pair)


def close_pair(
    fills: Sequence[Fill], closing: Closing, payments: Sequence[FundingPayment], stamps: Sequence[int]
) -> Trade:
    """One trade from its fills; a funding table must be whole over the hold."""
    if stamps:
        check_stamps(stamps, fills[0].ts_ns, fills[-1].ts_ns)
    return settle(fills, closing.reason, payments, closing.spot_mark, closing.perp_mark)


def net_bps(trades: Sequence[Trade]) -> float | None:
    """Net of all of them in bps of the spot notional they were opened with; None where nothing was opened."""
    notional = total(t.notional_usdt for t in trades)
    return to_bps(total(t.net_usdt for t in trades)) / notional if notional else None


def attribution(trades: Sequence[Trade]) -> dict[str, float]:
    """Where the money came from: parts and net in USDT, fees negative; the parts sum to the net."""
    parts = {part: total(getattr(t, f"{part}_usdt") for t in trades) for part in PARTS}
    parts["fees"] = -parts["fees"]
    return {**parts, "net": total(t.net_usdt for t in trades)}


# --- What closed pairs left behind: less than a venue takes as an order, until together it is enough ----------------------


class Dust(NamedTuple):
    """One leg's: signed base units, their value as the ledger booked it, and since when a venue would take them (or None)."""

    leg: str
    qty: float
    usdt: float
    sellable_ns: int | None


def dust(fills: Sequence[Fill], closings: Sequence[Closing], rule: MachineRule) -> tuple[Dust, Dust]:
    """The dust of both legs; `sellable_ns` is the end of the first pair after which the sum so far could be ordered."""
    left, largest = defaultdict(float), defaultdict(float)
    for f in fills:
        left[f.pair, f.leg] += f.qty
        largest[f.leg] = max(largest[f.leg], abs(f.qty))
    ends = [(c, {leg: left.get((c.pair, leg), 0.0) for leg in (SPOT, PERP)}) for c in closings]
    return tuple(_of_leg(leg, ends, NOISE * largest[leg], (rule.spot, rule.perp)[leg]) for leg in (SPOT, PERP))


def _of_leg(leg, ends, noise, of) -> Dust:
    qty, usdt, sellable_ns = 0.0, 0.0, None
    for closing, left in ends:
        if abs(left[leg]) <= noise:
            continue
        mark = (closing.spot_mark, closing.perp_mark)[leg]
        qty, usdt = qty + left[leg], usdt + left[leg] * mark
        if sellable_ns is None and orderable(abs(qty), mark, of) > 0.0:
            sellable_ns = closing.ts_ns
    return Dust(LEGS[leg], qty, usdt, sellable_ns)
