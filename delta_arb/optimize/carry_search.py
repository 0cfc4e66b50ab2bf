"""Carry: hold for days because funding pays for the round trip, as long as it is expected to.

    shift = expected funding per second * horizon          known at the time, from stamps of the past alone (`expected`)
    enter when  entry_edge + shift >= entry,   leave when  exit_cost + shift <= exit

which is the pair machine's rule with the funding of `horizon` seconds added to both prices. Between a crossing in and a
crossing out lie four fees and four half-spreads, and funding pays a basis point or so a day: what decides is how long
the expectation lasts. So the break-even hold comes first, and thresholds and horizon are judged by walking forward.

Here many rules are tried on one look-back, all pairs of each at once: whole clips, whole fills, on the books that an
order meets after its latency. Its pairs and their money are those of the pair machine wherever both clips are shown
(tested). Wallets, the margin of the short and legs that fill in part are the machine's matter: what is found here is
replayed by it before it counts for anything (`carry_walk`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from delta_arb.backtest.replay import promised_at
from delta_arb.errors import DataError
from delta_arb.funding_stamps import expected
from delta_arb.market import (
    DAY_S,
    END,
    NS,
    PERP,
    SPOT,
    TARGET,
    TIMEOUT,
    FundingPayment,
    entry_edge,
    exit_cost,
    from_bps,
    to_bps,
)
from delta_arb.optimize.study import Market, Thresholds
from delta_arb.quotes.tape import Tape
from delta_arb.tables import share
from delta_arb.venue_terms import common_step

# --- what funding pays, and how long that takes to pay a round trip --------------------------------------------------


def expected_bps_day(payments: Sequence[FundingPayment], ts_ns: np.ndarray) -> np.ndarray:
    """What a short is expected to be paid a day, bps of notional, as the machine expects it; shape of `ts_ns`."""
    return to_bps(promised_at(expected(payments, DAY_S if payments else 0.0), ts_ns))


class BreakEven(NamedTuple):
    """How long a hold must last until funding has paid for its round trip; `days` is None where it pays nothing."""

    costs_bps: float
    funding_bps_day: float
    negative_share: float

    @property
    def days(self) -> float | None:
        return self.costs_bps / self.funding_bps_day if self.funding_bps_day > 0 else None

    def __str__(self) -> str:
        pays = (
            f"funding paid a short {self.funding_bps_day:.2f} bps a day ({share(self.negative_share)} of stamps cost)"
        )
        if self.days is None:
            return f"{pays}: no hold, however long, pays a round trip of {self.costs_bps:.1f} bps"
        return f"{pays}: a round trip of {self.costs_bps:.1f} bps is paid after {self.days:.1f} days"


def break_even(payments: Sequence[FundingPayment], costs_bps: float) -> BreakEven:
    """From all stamps given; `costs_bps`: four fees and four half-spreads.

    Raises:
        DataError: fewer than two stamps.
    """
    if len(payments) < 2:
        raise DataError(f"{len(payments)} funding stamps say nothing about a day; give the history of weeks")
    rates = np.array([p.rate for p in payments])
    days = (payments[-1].ts_ns - payments[0].ts_ns) / NS / DAY_S
    return BreakEven(costs_bps, float(to_bps(rates[1:].sum())) / days, float((rates < 0).mean()))


# --- the pairs of one rule -------------------------------------------------------------------------------------------


class Pair(NamedTuple):
    """Moments of entry and exit of one pair, and why it was left; `END`: it is open at the last moment there is."""

    opened: int
    closed: int
    reason: int


class CarryRule(NamedTuple):
    """Levels in bps with the funding of `horizon_s` in them, and the longest hold."""

    horizon_s: float
    entry_bps: float
    exit_bps: float
    max_hold_s: float = 365 * DAY_S

    @property
    def thresholds(self) -> Thresholds:
        """The same as the machine takes it."""
        return Thresholds(self.entry_bps, self.exit_bps, self.max_hold_s, None, self.horizon_s)

    def __str__(self) -> str:
        days = self.horizon_s / DAY_S
        return f"horizon {days:g} days, entry {self.entry_bps:.1f} bps, exit {self.exit_bps:.1f} bps"


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Every moment at which something can be decided, and the prices that an order sent then would meet; shape (n,).

    `entry_bps` and `exit_bps` are offered at the moment, `buy` ... `cover` are met after the latency; `enterable` and
    `leavable` say that both legs are fresh, take the whole clip and stay within the price bound.
    """

    ts_ns: np.ndarray
    entry_bps: np.ndarray
    exit_bps: np.ndarray
    enterable: np.ndarray
    leavable: np.ndarray
    qty: np.ndarray
    spot_buy: np.ndarray
    perp_sell: np.ndarray
    spot_sell: np.ndarray
    perp_buy: np.ndarray
    shown: np.ndarray  # what both legs take of an exit, base units
    funding_bps_day: np.ndarray

    def __len__(self) -> int:
        return len(self.ts_ns)


def moments(tape: Tape, market: Market) -> Moments:
    """The moments of a tape, with what was expected of funding at each of them."""
    looks, settings = tape.looks(), market.settings
    looks = looks.take(looks.settled)
    at = {
        leg: np.maximum(np.searchsorted(tape.ts_ns, looks.ts_ns + market.latency.median_ns(leg), "right") - 1, 0)
        for leg in (SPOT, PERP)
    }
    met = {name: getattr(tape, name)[at[SPOT if name.startswith("spot") else PERP]] for name in _BOOK}
    step = common_step(market.spot, market.perp)
    qty = settings.clip_usdt / looks.spot_ask
    qty = np.floor(qty / step + 1e-9) * step if step else qty
    fresh = np.maximum(looks.spot_age_ns, looks.perp_age_ns) <= settings.max_quote_age_s * NS
    bound = from_bps(settings.price_bound_bps)
    arrives = looks.ts_ns + max(market.latency.median_ns(leg) for leg in (SPOT, PERP)) <= tape.end_ns
    seen_in = np.minimum(looks.spot_ask_qty, looks.perp_bid_qty)
    met_in = np.minimum(met["spot_ask_qty"], met["perp_bid_qty"])
    seen_out = np.minimum(looks.spot_bid_qty, looks.perp_ask_qty)
    met_out = np.minimum(met["spot_bid_qty"], met["perp_ask_qty"])
    near_in = (met["spot_ask"] <= looks.spot_ask * (1 + bound)) & (met["perp_bid"] >= looks.perp_bid * (1 - bound))
    near_out = (met["spot_bid"] >= looks.spot_bid * (1 - bound)) & (met["perp_ask"] <= looks.perp_ask * (1 + bound))
    return Moments(
        ts_ns=looks.ts_ns,
        entry_bps=to_bps(entry_edge(looks.spot_ask, looks.perp_bid)),
        exit_bps=to_bps(exit_cost(looks.spot_bid, looks.perp_ask)),
        enterable=fresh & arrives & near_in & (qty > 0) & (np.minimum(seen_in, met_in) >= qty),
        leavable=fresh & arrives & near_out & (np.minimum(seen_out, met_out) > 0),
        qty=qty,
        spot_buy=met["spot_ask"],
        perp_sell=met["perp_bid"],
        spot_sell=met["spot_bid"],
        perp_buy=met["perp_ask"],
        shown=np.minimum(seen_out, met_out),
        funding_bps_day=expected_bps_day(market.payments, looks.ts_ns),
    )


_BOOK = tuple(f"{leg}_{side}" for leg in ("spot", "perp") for side in ("bid", "ask", "bid_qty", "ask_qty"))


def pairs(seen: Moments, rule: CarryRule, start: int = 0, until: int | None = None) -> list[Pair]:
    """Every pair entered in [start, until), in turn.

    After a time-out, as after a target, the next entry may come with the next moment that offers it.
    """
    until = len(seen) if until is None else until
    shift = seen.funding_bps_day * (rule.horizon_s / DAY_S)
    enters = np.flatnonzero(seen.enterable & (seen.entry_bps + shift >= rule.entry_bps))
    leaves = seen.leavable & (seen.exit_bps + shift <= rule.exit_bps)
    found, at = [], start
    while True:
        k = int(np.searchsorted(enters, at))
        if k == len(enters) or enters[k] >= until:
            return found
        opened = int(enters[k])
        closed, reason = _exit(seen, leaves, opened, rule.max_hold_s)
        found.append(Pair(opened, closed, reason))
        if reason == END:
            return found
        at = closed + 1


def _exit(seen: Moments, leaves: np.ndarray, opened: int, max_hold_s: float) -> tuple[int, int]:
    """The first moment after `opened` that leaves by its level or its age and takes the whole clip."""
    after = slice(opened + 1, None)
    takes = seen.shown[after] >= seen.qty[opened]
    due = seen.leavable[after] & (seen.ts_ns[after] >= seen.ts_ns[opened] + round(max_hold_s * NS))
    can = np.flatnonzero(takes & (leaves[after] | due))
    if not len(can):
        return len(seen) - 1, END
    at = opened + 1 + int(can[0])
    return at, TARGET if leaves[at] else TIMEOUT


def nets_bps(seen: Moments, market: Market, held: Sequence[Pair], last: int) -> np.ndarray:
    """Net of each pair in bps of its spot notional, those still open at moment `last` marked at its exit side.

    The same money as `ledger.settle`, for all pairs at once.
    """
    if not held:
        return np.zeros(0)
    opened, closed, reason = np.array(held).T
    is_open = (reason == END) | (closed > last)
    out = np.minimum(closed, last)
    stamps, paid = _paid(market.payments)
    latency_ns = market.latency.median_ns(PERP)
    first = np.searchsorted(stamps, seen.ts_ns[opened] + latency_ns, "right")
    to_ns = seen.ts_ns[out] + np.where(is_open, 0, latency_ns)
    funding = paid[np.maximum(np.searchsorted(stamps, to_ns, "right"), first)] - paid[first]
    spot_in, perp_in, spot_out, perp_out = (
        seen.spot_buy[opened], seen.perp_sell[opened], seen.spot_sell[out], seen.perp_buy[out],
    )  # fmt: skip
    fees = market.spot.taker_fee * (spot_in + spot_out) + market.perp.taker_fee * (perp_in + perp_out)
    return to_bps((spot_out - spot_in + perp_in - perp_out - fees + funding) / spot_in)


def _paid(payments: Sequence[FundingPayment]) -> tuple[np.ndarray, np.ndarray]:
    """Stamps, and what one base unit short has been paid by all stamps before each place among them."""
    stamps = np.array([p.ts_ns for p in payments], np.int64)
    return stamps, np.cumsum([0.0, *(p.rate * p.mark for p in payments)])
