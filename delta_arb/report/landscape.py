"""The whole landscape of thresholds on the fit part: entry by exit, at other longest holds, latencies and fees.

Every set whose entry lies above its exit is replayed, those too that do not pay the fees: where profit ends is what one
wants to see. Fees are not replayed but taken off: they are a share of the notional, which they do not change; only a
pair whose legs filled unequally could have been mended the other way round at other fees.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from delta_arb.optimize.search import HOLD_SHARES, Choice, levels, offers
from delta_arb.optimize.study import Market, Thresholds
from delta_arb.quotes.tape import Tape
from delta_arb.report.sensitivity import SLOWEST_S, slower
from delta_arb.tables import NOTHING, Table, number, seconds, share

LATENCIES = (1.0, 5.0, 20.0)  # times the assumed ones
FEES = (0.0, 0.5, 1.0, 2.0)  # times the assumed ones


@dataclass(frozen=True, slots=True, eq=False)
class Landscape:
    """What every set did a day, arrays of shape (holds, latencies, entries, exits); NaN where entry is not above exit.

    net, fees: USDT a day at the assumed fees; trades: how many on the fit part; hits: how many ended at the exit.
    latencies: times the assumed ones, the slower of which is `latency_s`; fees_bps: the four fees assumed.
    """

    entries: np.ndarray
    exits: np.ndarray
    holds_s: tuple[float, ...]
    latencies: tuple[float, ...]
    latency_s: float
    fee_factors: tuple[float, ...]
    fees_bps: float
    net: np.ndarray
    fees: np.ndarray
    trades: np.ndarray
    hits: np.ndarray

    def net_at(self, hold: int, latency: int, fee: int) -> np.ndarray:
        """Net USDT a day over entry (rows) and exit (columns) at one hold, latency and fee level."""
        return self.net[hold, latency] + (1.0 - self.fee_factors[fee]) * self.fees[hold, latency]

    @property
    def traded(self) -> bool:
        return bool(np.nansum(self.trades) > 0)

    def spoken(self, hold: int, latency: int, fee: int) -> tuple[str, str, str]:
        """What the three levels are, in words."""
        paid = self.fee_factors[fee] * self.fees_bps
        late = self.latencies[latency] * self.latency_s
        return seconds(self.holds_s[hold]), seconds(late), f"{paid:g} bps"


def of(choice: Choice) -> Landscape:
    """Every set at every hold and latency, replayed on the fit part of a choice."""
    fit, market, constraints = choice.window.fit, choice.market, choice.constraints
    process = market.process(choice.half_life)
    entries, exits = levels(offers(fit, market.settings, process))
    entries = entries[entries <= constraints.max_entry_bps]
    holds_s = tuple(share_ * constraints.max_hold_s for share_ in HOLD_SHARES)
    slow_s, longest_s = max(market.latency.spot_s, market.latency.perp_s), market.latency.longest_s
    factors = tuple(f for f in LATENCIES if f * longest_s <= max(SLOWEST_S, longest_s))
    later = [slower(market, f, f) for f in factors]
    found = np.full((4, len(holds_s), len(factors), len(entries), len(exits)), np.nan)
    for (h, hold_s), (k, at), (row, entry), (column, exit_) in product(
        *map(enumerate, (holds_s, later, entries, exits))
    ):
        if exit_ < entry:
            thresholds = Thresholds(float(entry), float(exit_), hold_s, process)
            found[:, h, k, row, column] = _replayed(fit, at, thresholds)
    fees = FEES if market.fees_bps else (1.0,)
    return Landscape(entries, exits, holds_s, factors, slow_s, fees, market.fees_bps, *found)


def _replayed(fit: Tape, market: Market, thresholds: Thresholds) -> tuple[float, float, int, int]:
    """Net and fees a day, trades, and how many of them ended at the exit."""
    result = market.replay(fit, thresholds)
    trades, days = result.trades, result.days
    hits = sum(t.reason == "target" for t in trades)
    return result.net_usdt / days, sum(t.fees_usdt for t in trades) / days, len(trades), hits


def chosen_hold(found: Landscape, choice: Choice) -> int:
    """The hold of the proposal among those of the landscape; the longest one without a proposal."""
    wanted = choice.best.max_hold_s if choice.best else found.holds_s[-1]
    return int(np.argmin([abs(hold - wanted) for hold in found.holds_s]))


def table(found: Landscape, choice: Choice) -> Table:
    """How much of the map earns at each latency and fee level, and its highest cell, at the hold chosen."""
    hold = chosen_hold(found, choice)
    title = (
        f"Sets that earn, and the highest of them in USDT a day (longest hold {seconds(found.holds_s[hold])}, fit part)"
    )
    if not found.traded:
        return Table.of(title, ("", "nothing to show"), [("reason", "no set made a trade on the fit part")])
    fees = range(len(found.fee_factors))
    heads = ("both orders arrive after", *(f"four fees {found.spoken(hold, 0, fee)[2]}" for fee in fees))
    rows = [
        (found.spoken(hold, late, 0)[1], *(_earning(found.net_at(hold, late, fee)) for fee in fees))
        for late in range(len(found.latencies))
    ]
    return Table.of(
        title, heads, rows, "In sample, so the highest flatters. The slower leg's latency; fees of a round trip."
    )


def _earning(net: np.ndarray) -> str:
    tried = net[np.isfinite(net)]
    if not tried.size:
        return NOTHING
    return f"{share(float(np.mean(tried > 0)))}, {number(float(tried.max()))}"
