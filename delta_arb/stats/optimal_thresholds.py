"""Where to enter and leave a mean-reverting spread so that the profit per unit of time is greatest.

Bertram (2010, Physica A 389, 2234-2243): a spread that follows an Ornstein-Uhlenbeck process of mean mu, standard
deviation s and rate theta is entered at mu + L, left at mu - L, entered again at mu + L. A cycle earns 2 L - cost and
lasts on average (2 pi / theta) erfi(L / (s sqrt 2)); the rate is greatest where

    exp(-L^2 / 2 s^2) erfi(L / (s sqrt 2)) s sqrt(2 pi) = 2 L - cost.

Here larger is better to enter (short the rich perpetual), the mirror image of the paper. The spread is the basis of
the *mids*; `round_trip_cost` puts half-spreads, the four fees and funding into the cost. The reverse pair trades the
mirror image, a process of mean -mu; with the same cost it enters where the direct pair leaves (Zeng & Lee 2014, Quant.
Finance 14(11)).

These are plug-in values for an ideal process: no time-out, no latency, no noise in the trigger. Use the filtered spread
(`ou.filtered`) as the signal, and let replays on real quotes correct the levels. Bertram's Sharpe ratio at a riskless
rate of 0 is not offered: the profit cancels out of it, and its optimum is a profit of zero.
"""

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import dawsn, erfi, gammaln, psi

from delta_arb.errors import SeriesError
from delta_arb.market import DAY_S

if TYPE_CHECKING:
    import pandas as pd

# -zeta(1/2) / sqrt(2 pi): how far, in sd of one step, a sampled path is beyond a level when first seen beyond it
# (Broadie, Glasserman & Kou 1997).
LONGEST_CYCLE_S = DAY_S  # rarer ones are no business
OVERSHOOT = 0.5825971579390107


@dataclass(frozen=True, slots=True)
class OptimalThresholds:
    """Levels and what they should earn; fractions of notional, seconds.

    `enter` and `leave` are triggers on the basis of the mids: enter the direct pair at or above the first, leave at or
    below the second. They lie inside `mean` +- `level` by the mean overshoot of a sampled path, so that trades happen
    at the optimal levels on average. `cycle_s` is the mean time from entry to entry and `cycle_sd_s` its standard
    deviation.
    """

    enter: float
    leave: float
    level: float
    mean: float
    cost: float
    profit_per_cycle: float
    cycle_s: float
    cycle_sd_s: float
    profit_per_day: float

    @property
    def cycles_per_day(self) -> float:
        """Mean number of cycles per day."""
        return DAY_S / self.cycle_s

    def quote_levels(self, width: float) -> tuple[float, float]:
        """The two levels as the machine wants them: `entry_edge` at or above the first, `exit_cost` at or below the
        second. `width` is the mean of exit_cost - entry_edge, both half-spreads of both books."""
        return self.enter - width / 2, self.leave + width / 2

    def to_frame(self) -> "pd.DataFrame":
        """One column `value`."""
        import pandas as pd

        return pd.DataFrame({"value": {**asdict(self), "cycles_per_day": self.cycles_per_day}})


def round_trip_cost(fees: float, width: float, funding: float = 0.0) -> float:
    """What a round trip costs when levels are those of the mids, as a fraction of notional.

    Args:
        fees: the four taker fees, `market.round_trip_fees`.
        width: mean of exit_cost - entry_edge: the half-spreads crossed when opening and closing.
        funding: expected to be received over the hold, negative when paid.
    """
    return fees + width - funding


def optimal(
    theta: float,
    mean: float,
    sd: float,
    cost: float,
    step_s: float = 0.0,
    longest_cycle_s: float = LONGEST_CYCLE_S,
) -> OptimalThresholds:
    """The levels of greatest profit rate.

    Args:
        theta: rate of reversion, per second, above 0.
        mean, sd: of the basis of the mids without its noise; fractions.
        cost: all of a round trip, see `round_trip_cost`; above 0.
        step_s: seconds between two looks at the spread; 0 for watching it all the time.
        longest_cycle_s: refuse when a cycle takes longer than this on average. Any cost has an optimum in theory; at
            six standard deviations a cycle takes 450 / theta, and waiting for that is no business.

    Raises:
        SeriesError: an argument out of bounds; cycles longer than `longest_cycle_s`: not worth trading; or steps so
            coarse that the overshoot is half the level.
    """
    level = optimal_level(cost, sd)
    cycle_s = mean_cycle_s(theta, sd, level)
    profit = 2 * level - cost
    if not cycle_s <= longest_cycle_s:
        raise SeriesError(
            f"not worth trading: at a cost of {cost:.3g} with sd={sd:.3g} the best levels wait {cycle_s:.3g} s per "
            f"cycle, more than longest_cycle_s={longest_cycle_s:g}; it needs lower costs or a wider spread"
        )
    overshoot = OVERSHOOT * sd * math.sqrt(2 * theta * step_s)
    if overshoot >= level / 2:  # beyond that the approximation is no longer one
        raise SeriesError(
            f"step_s={step_s:g} is too coarse: the spread overshoots a level by {overshoot:.3g} on average and the "
            f"optimal one is {level:.3g}; look more often"
        )
    per_day = profit / cycle_s * DAY_S
    deviation_s = cycle_sd_s(theta, sd, level)
    triggers = mean + level - overshoot, mean - level + overshoot
    return OptimalThresholds(*triggers, level, mean, cost, profit, cycle_s, deviation_s, per_day)


def optimal_level(cost: float, sd: float) -> float:
    """L, the distance from the mean to either level; above cost / 2. In the unit of `sd`.

    Raises:
        SeriesError: a cost or an sd that is not above 0. Without a cost the best level is 0 and trading never stops.
    """
    if not (0 < sd < math.inf and 0 < cost < math.inf):
        raise SeriesError(f"need cost > 0 and sd > 0, were cost={cost} sd={sd}; name all costs, or measure the spread")
    ratio = cost / sd

    # exp(-x^2) erfi(x) is Dawson's function times 2 / sqrt(pi): the same equation, but nothing overflows.
    def excess(x: float) -> float:
        return 2 * x - ratio - 2 * math.sqrt(2) * float(dawsn(x / math.sqrt(2)))

    # The left side falls short at cost / 2, and Dawson's function is at most 0.5411.
    return sd * float(brentq(excess, ratio / 2, ratio / 2 + 1, xtol=1e-15, rtol=1e-14))


def mean_cycle_s(theta: float, sd: float, level: float) -> float:
    """Mean time from one entry at mean + level over the exit at mean - level to the next entry; inf if beyond floats.

    Raises:
        SeriesError: theta, sd or level not above 0.
    """
    if not (theta > 0 and sd > 0 and level > 0):
        raise SeriesError(f"need theta, sd and level above 0, were {theta}, {sd}, {level}; the spread must revert")
    return 2 * math.pi / theta * float(erfi(level / (sd * math.sqrt(2))))


def cycle_sd_s(theta: float, sd: float, level: float) -> float:
    """Standard deviation of the same time, by Bertram's series; inf where it is beyond floats."""
    z = level / sd
    n = np.arange(1, 400 + int(8 * z * z))
    with np.errstate(over="ignore", invalid="ignore"):
        log_terms = gammaln(n / 2) + n * math.log(math.sqrt(2) * z) - gammaln(n + 1)
        terms = np.exp(log_terms)
        odd = n % 2 == 1
        # w1(z) = (sum of all / 2)^2 - (alternating sum / 2)^2 = (sum of odd terms)(sum of even terms), odd in z.
        w1 = float(terms[odd].sum() * terms[~odd].sum())
        w2 = float((terms[odd] * (psi(n[odd] / 2) - psi(1))).sum())
        variance = 2 * (w1 - w2) / theta**2
    return math.sqrt(variance) if math.isfinite(variance) else math.inf
