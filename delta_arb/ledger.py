"""The one money identity: what a pair earned, from its fills, whoever made them.

    net_usdt = spot_usdt + perp_usdt - fees_usdt + funding_usdt + residual_usdt

is computed in `settle` and nowhere else: backtest, paper and live hand it their fills. cash of a leg = - sum of signed
quantity * price; fees as the venue took them; funding by its own stamps; a residual (legs that did not net to zero)
at its exit side when the pair closed.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

from .errors import DataError
from .market import END, HALT, NS, PERP, REASONS, SPOT, Book, Fill, FundingPayment, exit_price, utc
from .sizes import fee_usdt
from .strategy import DIRECT, HALTED, REVERSE, Rule, State

PARTS = ("spot", "perp", "fees", "funding", "residual")


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
    side = opened_side(fills)
    spot_in = [f for f in spot if f.qty * side > 0]
    perp_in = [f for f in perp if f.qty * side < 0]
    return Trade(
        pair=fills[0].pair,
        side=side,
        opened_ns=fills[0].ts_ns,
        closed_ns=fills[-1].ts_ns,
        reason=REASONS[reason],
        qty=sum((abs(f.qty) for f in spot_in), 0.0),
        notional_usdt=sum((abs(f.qty) * f.price for f in spot_in), 0.0),
        spot_in=_mean_price(spot_in),
        perp_in=_mean_price(perp_in),
        spot_out=_mean_price([f for f in spot if f.qty * side < 0]),
        perp_out=_mean_price([f for f in perp if f.qty * side > 0]),
        spot_usdt=spot_usdt,
        perp_usdt=perp_usdt,
        fees_usdt=fees_usdt,
        funding_usdt=funding_usdt,
        residual_usdt=residual_usdt,
        net_usdt=spot_usdt + perp_usdt - fees_usdt + funding_usdt + residual_usdt,
        fills=len(fills),
        approximate_funding=not exact,
    )


def opened_side(fills: Sequence[Fill]) -> int:
    """The direction of a pair, by its first fill: a direct pair buys spot and sells the perpetual."""
    bought = fills[0].qty > 0
    return DIRECT if bought == (fills[0].leg == SPOT) else REVERSE


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


class Closing(NamedTuple):
    """The end of a pair: its reason, and the exit-side prices at which a residual is booked."""

    pair: int
    ts_ns: int
    reason: int
    spot_mark: float
    perp_mark: float


def close_out(state: State, spot: Book, perp: Book, ts_ns: int, rule: Rule) -> tuple[tuple[Fill, ...], tuple[Closing, ...]]:
    """The fills that close what is still open when the quotes end, at the exit side of the last books."""
    legs = ((SPOT, state.spot.position, spot, rule.spot), (PERP, state.perp.position, perp, rule.perp))
    fills = []
    for leg, position, book, of_leg in legs:
        if position != 0.0:
            price = exit_price(position, book)
            fills.append(Fill(state.pair, ts_ns, leg, -position, price, fee_usdt(-position, price, of_leg)))
    if not fills:
        return (), ()
    reason = HALT if state.phase == HALTED else END
    return tuple(fills), (closing(state, spot, perp, ts_ns, reason),)


def closing(state: State, spot: Book, perp: Book, ts_ns: int, reason: int) -> Closing:
    """The end of the newest pair, a residual of each leg marked at the side at which its direction is left."""
    return Closing(state.pair, ts_ns, reason, exit_price(state.side, spot), exit_price(-state.side, perp))


def settle_all(fills: Iterable[Fill], closings: Iterable[Closing], payments: Sequence[FundingPayment]) -> tuple[Trade, ...]:
    """The trades of a run; a closing without fills (an entry that neither venue filled) is none."""
    by_pair = defaultdict(list)
    for f in fills:
        by_pair[f.pair].append(f)
    stamps = [p.ts_ns for p in payments]
    return tuple(close_pair(by_pair[c.pair], c, payments, stamps) for c in closings if c.pair in by_pair)


def close_pair(fills: Sequence[Fill], closing: Closing, payments: Sequence[FundingPayment], stamps: Sequence[int]) -> Trade:
    """One trade from its fills; a funding table must be whole over the hold."""
    if stamps:
        check_stamps(stamps, fills[0].ts_ns, fills[-1].ts_ns)
    return settle(fills, closing.reason, payments, closing.spot_mark, closing.perp_mark)


def attribution(trades: Sequence[Trade]) -> dict[str, float]:
    """Where the money came from: parts and net in USDT, fees negative; the parts sum to the net."""
    parts = {part: sum((getattr(t, f"{part}_usdt") for t in trades), 0.0) for part in PARTS}
    parts["fees"] = -parts["fees"]
    return {**parts, "net": sum(t.net_usdt for t in trades)}
