"""Where to enter and leave when a pair may only be held so long: the levels of `optimal_thresholds` under a time-out.

There is no closed form. The rule is that of `strategy.decide`: enter at or above a; leave at or below m, or at the
first look after the longest hold unless the spread would be entered again; after a time-out enter again only once the
spread has been below a - rearm. Every pair is entered at a, so cycles are independent and the profit rate is the mean
profit of one over its mean length. What the hold leaves behind follows from the Fokker-Planck equation of the
Ornstein-Uhlenbeck process killed at m, from a to the time-out: on a grid of the spread its generator is a symmetrizable
tridiagonal matrix, and its eigenvectors solve it exactly in time and for all a at once. What follows the hold are mean
passage times, which are known (Bertram 2010; Darling & Siegert 1953, Ann. Math. Stat. 24). Nothing is drawn: the same
numbers give the same levels.

Where the longest hold exceeds `LONG` mean cycles of Bertram's optimum, fewer than one pair in ten thousand is timed
out: then his levels are the answer, and `method` says so.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.linalg.lapack import dptsv, dstemr
from scipy.optimize import minimize_scalar
from scipy.special import erfcx

from delta_arb.errors import SeriesError
from delta_arb.market import DAY_S
from delta_arb.stats import optimal_thresholds
from delta_arb.stats.optimal_thresholds import LONGEST_CYCLE_S, OptimalThresholds
from delta_arb.tables import share

LONG = 5.0  # mean cycles; the time to the exit is all but exponential, with at most half a cycle as its mean
FINE, COARSE = 0.025, 0.08  # grid of the spread, standard deviations
LEAST_MOVE = 0.1  # sd of the spread after the longest hold, in standard deviations: below it the grid is too coarse
FARTHEST = 8.0  # standard deviations: reached once in e^32 / theta, and the grid of the cycles holds no more
# The grid goes REACH standard deviations above the highest entry, and at least up to TOP.
REACH, TOP = 2.5, 4.5
BETWEEN = 161  # entries looked at around the best grid point
DEAD = 40.0  # a mode that has decayed by e to that power is below the last digit


@dataclass(frozen=True, slots=True)
class Timed:
    """What two levels earn under a time-out; fractions of notional, seconds.

    `target_rate`: share of pairs that reach the exit level in time; `win_rate`: share with a profit after cost;
    `hold_s`: mean time that a pair is open; `cycle_s`: mean time from entry to entry.
    """

    profit_per_cycle: float
    cycle_s: float
    hold_s: float
    target_rate: float
    win_rate: float

    @property
    def profit_per_day(self) -> float:
        return self.profit_per_cycle / self.cycle_s * DAY_S


@dataclass(frozen=True, slots=True)
class TimedThresholds:
    """Levels under a time-out and what they should earn; `method` says whether the time-out mattered.

    `enter` and `leave` are triggers on the basis of the mids, as those of `OptimalThresholds`.
    """

    enter: float
    leave: float
    earns: Timed
    method: str

    def quote_levels(self, width: float) -> tuple[float, float]:
        """The two levels as the machine wants them, see `OptimalThresholds.quote_levels`."""
        return self.enter - width / 2, self.leave + width / 2


def optimal(
    theta: float,
    mean: float,
    sd: float,
    cost: float,
    max_hold_s: float,
    rearm: float = 0.0,
    step_s: float = 0.0,
    target_rate: float = 0.0,
) -> TimedThresholds:
    """The levels of greatest profit rate among those that end at the exit level often enough.

    Args:
        theta, mean, sd, cost, step_s: as in `optimal_thresholds.optimal`.
        max_hold_s: a pair is left at the first look after this.
        rearm: after a time-out the spread must have been so far below the entry before the next one.
        target_rate: demanded share of pairs that reach the exit level in time, below 1.

    Raises:
        SeriesError: as `optimal_thresholds.optimal`; a hold in which the spread hardly moves; nothing earns under the time-out
            and the demand.
    """
    free = optimal_thresholds.optimal(theta, mean, sd, cost, step_s, longest_cycle_s=math.inf)
    if max_hold_s >= LONG * free.cycle_s and target_rate <= 1 - math.exp(-2 * LONG):
        return _untimed(optimal_thresholds.optimal(theta, mean, sd, cost, step_s))
    if free.level > FARTHEST * sd:
        raise SeriesError(
            f"not worth trading: a cost of {cost:.3g} asks for levels {free.level / sd:.3g} standard deviations (of {sd:.3g}) from "
            "the mean, where the spread never comes; it needs lower costs or a wider spread"
        )
    rule = Scaled(theta * max_hold_s, rearm / sd, cost / sd)
    _refuse_short(rule, max_hold_s)
    a, m = _best_levels(rule, free.level / sd, target_rate)
    if m is None:
        demand = f" that reach the exit level in {share(target_rate)} of all cases" if target_rate else ""
        raise SeriesError(
            f"not worth trading: with sd={sd:.3g}, a cost of {cost:.3g} and at most {max_hold_s:g} s no levels{demand} "
            "earn; it needs a longer hold, lower costs or a wider spread"
        )
    earns = rates(theta, mean, sd, cost, mean + a * sd, mean + m * sd, max_hold_s, rearm)
    if not earns.cycle_s <= LONGEST_CYCLE_S:
        raise SeriesError(
            f"not worth trading: the best levels wait {earns.cycle_s:.3g} s per cycle, more than a day; "
            "it needs lower costs or a wider spread"
        )
    over = optimal_thresholds.OVERSHOOT * math.sqrt(2 * theta * step_s)
    if 2 * over >= (a - m) / 2:
        raise SeriesError(f"step_s={step_s:g} is too coarse for levels {(a - m) * sd:.3g} apart; look more often")
    hours = f"{max_hold_s / 3600:.3g} h"
    return TimedThresholds(
        mean + (a - over) * sd, mean + (m + over) * sd, earns, f"Fokker-Planck, time-out after {hours}"
    )


def rates(
    theta: float, mean: float, sd: float, cost: float, enter: float, leave: float, max_hold_s: float, rearm: float = 0.0
) -> Timed:
    """What the rule earns with these levels, watched all the time; arguments as `optimal`, levels on the mids.

    Raises:
        SeriesError: theta, sd or cost not above 0; levels closer than a twentieth of sd; a hold that is too short.
    """
    if not (theta > 0 and sd > 0 and cost > 0):
        raise SeriesError(
            f"need theta, sd and cost above 0, were {theta}, {sd}, {cost}; measure the spread, name all costs"
        )
    a, m = (enter - mean) / sd, (leave - mean) / sd
    if not a - m > 0.05:
        raise SeriesError(f"levels {a - m:.3g} sd apart earn nothing; enter above the exit, by more than the cost")
    rule = Scaled(theta * max_hold_s, rearm / sd, cost / sd)
    _refuse_short(rule, max_hold_s)
    at = max(math.ceil((a - m) / FINE), 8)
    found = _cycles(rule, m, (a - m) / at, a)
    k = at - 1
    left = np.maximum(found.end @ found.start[k], 0.0)
    edges = m + (a - m) / at * (np.arange(len(left)) + 1.5)
    below = np.interp(a - rule.cost, edges, np.cumsum(left), left=0.0)
    won = below + (found.target[k] if a - m > rule.cost else 0.0)
    profit, cycle, hold = (float(x[k]) for x in (found.profit, found.cycle, found.hold))
    return Timed(profit * sd, cycle / theta, hold / theta, float(found.target[k]), float(won))


class Scaled(NamedTuple):
    """The rule in units of 1 / theta and of the standard deviation."""

    hold: float
    rearm: float
    cost: float


class Cycles(NamedTuple):
    """Cycles that enter at each grid point; `start[i] @ end[j]`: probability to be at j when the hold of i is over."""

    enter: np.ndarray
    profit: np.ndarray
    cycle: np.ndarray
    hold: np.ndarray
    target: np.ndarray
    start: np.ndarray
    end: np.ndarray


def _refuse_short(rule: Scaled, max_hold_s: float) -> None:
    moves = math.sqrt(-math.expm1(-2 * rule.hold))
    if not moves >= LEAST_MOVE:
        raise SeriesError(
            f"max_hold_s={max_hold_s:g} is too short: the spread moves {moves:.2g} of its sd in that time; "
            "give it some half-lives"
        )


def _untimed(o: OptimalThresholds) -> TimedThresholds:
    earns = Timed(o.profit_per_cycle, o.cycle_s, o.cycle_s / 2, 1.0, 1.0)
    return TimedThresholds(o.enter, o.leave, earns, f"Bertram: the longest hold is over {LONG:g} mean cycles")


def _best_levels(rule: Scaled, level: float, target_rate: float) -> tuple[float, float | None]:
    """Entry and exit of the greatest rate in standard deviations; an exit of None where nothing earns.

    A coarse scan of the exit level, which a demand may push above the mean: every third, then up the slope of the best
    of them, for the rate has one top. Then Brent around it.
    """
    highest = level + 1.0

    def best(leave: float, step: float) -> tuple[float, float]:
        return _best_entry(_cycles(rule, leave, step, highest), target_rate)

    exits = np.arange(-level - 1.5, level, 0.2)
    scan = {k: best(exits[k], COARSE)[0] for k in range(1, len(exits), 3)}
    k = -1
    while k != (k := max(scan, key=scan.__getitem__)):
        scan |= {j: best(exits[j], COARSE)[0] for j in (k - 1, k + 1) if 0 <= j < len(exits) and j not in scan}
    if not scan[k] > 0:
        return math.nan, None
    around = exits[k] - 0.25, exits[k] + 0.25
    fine = cache(lambda leave: best(leave, FINE))
    found = minimize_scalar(lambda leave: -fine(leave)[0], bounds=around, method="bounded", options={"xatol": 2e-3})
    rate, enter = fine(found.x)
    return (enter, float(found.x)) if rate > 0 else (math.nan, None)


def _best_entry(found: Cycles, target_rate: float) -> tuple[float, float]:
    """Greatest rate and its entry, between the grid points too; -inf where the demand cannot be met."""
    rate = found.profit / found.cycle
    met = found.target >= target_rate
    if not met.any():
        return -math.inf, math.nan
    k = int(np.argmax(np.where(met, rate, -math.inf)))
    near = slice(max(k - 3, 0), min(k + 4, rate.size))
    first, last = max(k - 1, 0), min(k + 1, rate.size - 1)
    between = _between(near.stop - near.start, first - near.start, last - near.start)
    rates_there = between @ rate[near]
    met = between @ found.target[near] >= target_rate
    if not met.any():
        return float(rate[k]), float(found.enter[k])
    best = int(np.argmax(np.where(met, rates_there, -math.inf)))
    return float(rates_there[best]), float(np.linspace(found.enter[first], found.enter[last], BETWEEN)[best])


@cache
def _between(points: int, first: int, last: int) -> np.ndarray:
    """What a cubic spline through even points makes of their values, evenly from one of them to another, as weights."""
    return CubicSpline(np.arange(points), np.eye(points))(np.linspace(first, last, BETWEEN))


def _cycles(rule: Scaled, leave: float, step: float, highest: float) -> Cycles:
    """All cycles of one exit level that enter up to `highest`.

    The grid's jump rates hold detailed balance with the normal density, so the generator is symmetric after scaling;
    the error is of second order in `step`. Modes that have died out when the hold is over are not asked for; the time
    that they took is in the generator's inverse.
    """
    n = math.ceil((max(highest + REACH, TOP) - leave) / step)
    x = leave + step * np.arange(1, n + 1)
    up, down = (np.exp(-((x + s * step / 2) ** 2 - x**2) / 2) / step**2 for s in (1, -1))
    up[-1] = 0.0  # the top reflects
    diagonal, beside = up + down, -np.sqrt(up[:-1] * down[1:])
    decay, modes = _modes(diagonal, beside, DEAD / rule.hold)
    stays, scale = np.exp(-np.maximum(decay, 1e-300) * rule.hold), np.exp(-(x**2) / 4)
    survives = modes @ (stays * (scale @ modes))
    _, _, held, _ = dptsv(diagonal, beside, scale - survives)
    count = int(np.searchsorted(x, highest + step / 2, "right"))
    here, armed, begun = x[:count], x[:count] - rule.rearm, scale[:count]
    start, end = modes[:count] * stays / begun[:, None], modes * scale[:, None]
    risen = _passage()(np.concatenate((x, -x, armed, -armed, [leave])))
    below, above, out = risen[:n], risen[n : 2 * n], risen[-1]
    to_armed, over_armed = risen[2 * n : 2 * n + count], risen[2 * n + count : -1]
    # Of the probability to be at y when the hold is over, and of that times y, G(y) and G(-y): sums over all lower points.
    sums = np.zeros((4, n + 1, len(decay)))
    np.cumsum(np.stack((np.ones(n), x, below, above))[:, :, None] * end, axis=1, out=sums[:, 1:])
    to_here, to_level = sums[:, :count], sums[:, np.searchsorted(x, armed)]
    timed_out, target = survives[:count] / begun, 1.0 - survives[:count] / begun
    loss = (start * (here[:, None] * to_here[0] - to_here[1])).sum(axis=1)
    beyond = sums[:, -1:] - to_here
    waits_held = (start * (above[:count, None] * beyond[0] - beyond[3])).sum(axis=1)
    # Below the rearming level: up to a. Above it, and above a where the time-out waits: down to that level, then up.
    over = sums[:, -1:] - to_level
    wait_s = (start * ((over_armed - to_armed)[:, None] * over[0] - over[3] - to_level[2])).sum(axis=1)
    held = held[:count] / begun
    cycle = held + target * (below[:count] - out) + wait_s + timed_out * below[:count]
    profit = target * (here - leave) + loss - rule.cost
    return Cycles(here, profit, cycle, held + waits_held, target, start, end)


def _modes(diagonal: np.ndarray, beside: np.ndarray, fastest: float) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of a symmetric tridiagonal matrix up to `fastest`, and their vectors (LAPACK's MRRR, unwrapped)."""
    n = len(diagonal)
    found, decay, modes, failed = dstemr(
        diagonal, np.append(beside, 0.0), 1, -1.0, fastest, 1, n, lwork=18 * n, liwork=10 * n
    )
    if failed:
        raise SeriesError(
            f"the levels under a time-out have no solution (LAPACK stemr: {failed}); give another longest hold"
        )
    return decay[:found], modes[:, :found]


@cache
def _passage() -> CubicSpline:
    """G(b) - G(x) is the mean time to rise from x to b, in 1 / theta: G integrates sqrt(2 pi) e^(z^2/2) Phi(z)."""
    z = np.linspace(-14.0, 14.0, 5601)
    return CubicSpline(z, math.sqrt(math.pi / 2) * erfcx(-z / math.sqrt(2))).antiderivative()
