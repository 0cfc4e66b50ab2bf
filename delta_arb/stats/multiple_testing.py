"""Choosing one of many without being fooled: how sure a result is, once it is known how it was found.

Many results are a matrix of net profits of equal periods, flat ones included, of shape (periods, trials); what is said
of one alone is in `sharpe`.

    expected_best_sharpe, deflated    Bailey & Lopez de Prado 2014, J. Portfolio Management 40(5)
    clusters          which of many trials are near-copies of each other
    level_of_each     what looking at many pairs, and again and again, costs: Slepian 1961, Pickands 1969
    overfitting       CSCV: Bailey, Borwein, Lopez de Prado & Zhu 2017, J. Computational Finance 20(4)
    superior          White 2000, Hansen 2005: is the best better than doing nothing?
    stepdown          which of many earn: Romano & Wolf 2005, Econometrica 73(4), and 2016, Stat. & Prob. Letters 113

Own code rather than the package arch (8.0), whose SPA compares the trials' raw means, so that the most volatile one
decides, where Hansen divides each by its error.
"""

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, stdtrit

from delta_arb.errors import SeriesError
from delta_arb.stats.sharpe import (
    CHUNK,
    MIN_PERIODS,
    REPETITIONS,
    Sharpe,
    block_length,
    probabilistic_sharpe,
    resamples,
    sharpe,
)

EULER = 0.5772156649015329


@dataclass(frozen=True, slots=True)
class Clusters:
    """Trials that are near-copies of each other share a label, from 0 on; -1 is a trial that never moved."""

    labels: tuple[int, ...]

    @property
    def number(self) -> int:
        return max(self.labels) + 1


def clusters(trials, likeness: float = 0.75) -> Clusters:
    """Groups whose members correlate by more than `likeness` on average (average linkage): the trials that count.

    Neighbours on a grid trade the same minutes: fifty of them are one trial, not fifty. Without a trade it is none.
    0.75 finds 3 to 6 groups in grids of 30 to 400 sets on the sample (24, 48, 72 h), as many independent trials as have
    the expected maximum of those sets (4 to 6, by drawing noise with their correlations); 0.5 finds 2, 0.9 up to 29.
    """
    trials = _matrix(trials)
    moving = np.flatnonzero(trials.std(axis=0) > 0)
    if not len(moving):
        raise SeriesError("the trials never moved; is there a trade in any of them?")
    labels = np.full(trials.shape[1], -1)
    labels[moving] = 0
    if len(moving) > 1:
        from scipy.cluster.hierarchy import fcluster, linkage

        distance = 1.0 - np.corrcoef(trials[:, moving], rowvar=False)
        tree = linkage(np.maximum(distance[np.triu_indices(len(moving), 1)], 0.0), "average")
        labels[moving] = fcluster(tree, 1.0 - likeness, "distance") - 1
    return Clusters(tuple(int(label) for label in labels))


def expected_best_sharpe(trials: float, variance: float) -> float:
    """Sharpe ratio expected of the best of so many independent trials without skill; `variance` of their ratios."""
    if not (trials >= 1 and variance >= 0):
        raise SeriesError(f"the best of {trials} trials of variance {variance} is not defined; give at least one")
    if trials < 2:
        return 0.0
    quantiles = ndtri(1.0 - 1.0 / trials), ndtri(1.0 - 1.0 / (trials * math.e))
    return math.sqrt(variance) * float((1.0 - EULER) * quantiles[0] + EULER * quantiles[1])


@dataclass(frozen=True, slots=True)
class Deflated:
    """The deflated Sharpe ratio of one of many trials: the probability that it is better than the best of as many without
    skill, and what it was made of.

    `trials` is the number of clusters times `upstream`; `hurdle` the Sharpe ratio to beat; both ratios are per period.
    `of_all` is the probability if each of the `tried` that ever moved had been a trial of its own, which no grid is.
    """

    probability: float
    sharpe: Sharpe
    hurdle: float
    trials: float
    clusters: int
    tried: int
    of_all: float


def deflated(trials, chosen: int, *, upstream: float = 1.0) -> Deflated:
    """The deflated Sharpe ratio of column `chosen`, near-copies among the columns counted once.

    The variance of the trials is that of the clusters' mean columns, and at least that of a record without skill (few
    clusters scatter little by luck). `upstream` multiplies: the pairs, modes and markets of which this one was picked.
    """
    trials = _matrix(trials)
    if upstream < 1:
        raise SeriesError(f"upstream={upstream} counts what was examined before, this one included; give at least 1")
    labels = np.array(clusters(trials).labels)
    estimate = sharpe(trials[:, chosen])
    of_clusters = [sharpe(trials[:, labels == k].mean(axis=1)).value for k in range(labels.max() + 1)]
    number = len(of_clusters) * upstream
    variance = max(float(np.var(of_clusters, ddof=1)) if len(of_clusters) > 1 else 0.0, 1.0 / (estimate.n - 1.0))
    hurdle, tried = expected_best_sharpe(number, variance), int((labels >= 0).sum())
    of_all = probabilistic_sharpe(estimate, expected_best_sharpe(tried * upstream, variance))
    return Deflated(probabilistic_sharpe(estimate, hurdle), estimate, hurdle, number, len(of_clusters), tried, of_all)


def level_of_each(level: float, looks: float = 1.0, windows: float = 0.0) -> float:
    """The level of one look, so that all of them together keep `level` (two-sided).

    Args:
        looks: independent ones, such as the pairs of a universe, share what may be spent (Bonferroni).
        windows: the same record looked at again and again while it rolls on for so many of its own lengths. Neighbouring
            looks share nearly all of their data, so they cost less than as many: the greatest of such a sequence exceeds
            z with probability Phi(-z) + windows z phi(z) (Slepian 1961; Pickands 1969, Trans. AMS 145).
    """
    if not (0 < level < 1 and looks >= 1 and windows >= 0):
        raise SeriesError(f"level={level}, looks={looks} and windows={windows} are no levels of looks")
    tail = (1 - level) / 2 / looks
    if windows == 0:
        return 1 - 2 * tail

    def excess(z: float) -> float:
        return float(ndtr(-z)) + windows * z * math.exp(-z * z / 2) / math.sqrt(2 * math.pi) - tail

    return 1 - 2 * float(ndtr(-brentq(excess, float(-ndtri(tail)), 40.0)))


@dataclass(frozen=True, slots=True)
class Overfitting:
    """How a choice on one half of the record does on the other, over all ways to halve it.

    probability: share of halvings whose choice ends below the median on the other half (a tie counts half); loss: share
    whose choice loses there; slope: of the chosen one's net on the other half over that on its own. The slope is read
    beside the two: a column whose total is fixed has -1, whatever is chosen. On a flat top the best of many equals is
    below their median half of the time: a probability near 0.5 with a loss near 0 is no alarm.
    """

    probability: float
    slope: float
    loss: float
    halvings: int
    trials: int


def overfitting(trials, blocks: int = 16, *, smoother=None) -> Overfitting:
    """Probability of overfitting by combinatorially symmetric cross-validation; the score is the mean net of a period.

    Args:
        trials: shape (periods, trials); of periods that do not fill the last block, the earliest are left out.
        blocks: even; a block should be longer than a round trip, else halves share trades.
        smoother: shape (trials, trials), optional. The choice is the arg max of scores @ smoother, as where it is made
            by the mean of a cell's neighbourhood; its result is its own score.
    """
    trials = _matrix(trials)
    periods, n = trials.shape
    if blocks < 4 or blocks % 2 or blocks > 20 or periods < 2 * blocks:
        raise SeriesError(
            f"{periods} periods cannot be cut into {blocks} blocks; give 4 to 20, even, of two periods or more"
        )
    if n < 2:
        raise SeriesError("one trial cannot be overfitted by choosing; give all that were tried")
    if (trials == trials[:, :1]).all():
        raise SeriesError("all trials are the same, so nothing was chosen; give those that were tried, not one of them")
    length = periods // blocks
    sums = trials[periods - length * blocks :].reshape(blocks, length, n).sum(axis=1)
    halves = np.zeros((math.comb(blocks, blocks // 2), blocks))
    for row, members in zip(halves, combinations(range(blocks), blocks // 2), strict=True):
        row[list(members)] = 1.0
    inside, outside, below = (np.empty(len(halves)) for _ in range(3))
    step = max(CHUNK // n, 1)
    for at in range(0, len(halves), step):
        part = slice(at, at + step)
        fitted, judged = halves[part] @ sums, (1.0 - halves[part]) @ sums
        best = np.argmax(fitted if smoother is None else fitted @ smoother, axis=1)[:, None]
        inside[part], outside[part] = (np.take_along_axis(m, best, axis=1)[:, 0] for m in (fitted, judged))
        own = outside[part][:, None]
        near = 1e-9 * np.abs(judged).max()  # equal up to the order of summation
        rank = (judged < own - near).sum(axis=1) - (judged > own + near).sum(axis=1)
        below[part] = np.where(rank < 0, 1.0, np.where(rank == 0, 0.5, 0.0))
    off = inside - inside.mean()
    if not off @ off > 0:
        raise SeriesError("every half of the record scores alike, so nothing is known; record longer, for more trades")
    return Overfitting(
        float(below.mean()), float(off @ outside / (off @ off)), float((outside < 0).mean()), len(halves), n
    )


@dataclass(frozen=True, slots=True)
class Superior:
    """Hansen's test of the best trial against doing nothing: small `p` says that luck alone would rarely look as good.

    `p` is the consistent one; `low` and `high` bound it, `high` being White's reality check in its studentised form.
    """

    p: float
    low: float
    high: float
    best: int
    statistic: float


def superior(
    trials, rng: np.random.Generator, *, block: float | None = None, repetitions: int = REPETITIONS
) -> Superior:
    """Superior predictive ability of the best column over zero, by the stationary bootstrap.

    Trials that never moved are left out. `block` is by default the longest that any column asks for.
    """
    trials = _matrix(trials)
    moving = np.flatnonzero(trials.std(axis=0) > 0)
    if not len(moving):
        raise SeriesError("the trials never moved; is there a trade in any of them?")
    nets = trials[:, moving]
    n = len(nets)
    block = max(block_length(column) for column in nets.T) if block is None else block
    # A resampled mean is the record's rows weighted by how often they were drawn, for all columns at once.
    means = _drawn(n, block, repetitions, rng) @ nets / n
    mean = nets.mean(axis=0)
    error = means.std(axis=0)
    statistic = max(float((mean / error).max()), 0.0)
    hopeless = mean / error < -math.sqrt(2.0 * math.log(math.log(n)))
    centres = {"low": np.maximum(mean, 0.0), "p": np.where(hopeless, 0.0, mean), "high": mean}
    ps = {
        name: _share_reached(((means - centre) / error).max(axis=1).clip(0.0), statistic)
        for name, centre in centres.items()
    }
    return Superior(**ps, best=int(moving[np.argmax(mean / error)]), statistic=statistic)


def _drawn(n: int, block: float, repetitions: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of n rows was drawn in each resampled record, shape (repetitions, n)."""
    records = np.concatenate(list(resamples(n, n, block, repetitions, rng)))
    return np.bincount((records + n * np.arange(len(records))[:, None]).ravel(), minlength=records.size).reshape(
        records.shape
    )


def critical_z(tests: float, level: float = 0.95) -> float:
    """What the best of so many independent tests without skill stays below with probability `level` (one-sided, Bonferroni)."""
    if not (0 < level < 1 and tests >= 1):
        raise SeriesError(f"tests={tests}, level={level}: at least one test, and a level between 0 and 1")
    return float(-ndtri((1 - level) / tests))


def stepdown(
    nets, rng: np.random.Generator, *, others: int = 0, block: float | None = None, repetitions: int = REPETITIONS
) -> np.ndarray:
    """Adjusted p of "it earns nothing" for every column, so that all who are called earners are so with 1 - p at once.

    Days are resampled jointly (stationary bootstrap), so columns that move together cost less than as many. What was
    examined and has no days counts too: `others` are drawn as independent ones, the worst case, from Student's t of as
    many days (Sidak's bound where there is no other column).

    Args:
        nets: shape (days, columns); NaN where a column has no record. Each must cover at least half of the days.

    Source: the algorithm of Romano & Wolf 2016 with studentised means; arch's StepM is of losses against one benchmark.
    """
    nets = np.asarray(nets, float)
    there = np.isfinite(nets)
    filled = _matrix(np.where(there, nets, 0.0))
    n = len(filled)
    if (there.mean(axis=0) < 0.5).any() or (filled.std(axis=0) == 0).any():
        raise SeriesError("a column that never moved, or has less than half of the days, is one of the others")
    block = max(block_length(column) for column in filled.T) if block is None else block
    drawn = _drawn(n, block, repetitions, rng)
    means = drawn @ filled / np.maximum(drawn @ there.astype(float), 1.0)
    mean = filled.sum(axis=0) / there.sum(axis=0)
    error = means.std(axis=0)
    away, statistic = (means - mean) / error, mean / error
    uniform = rng.random(len(away))
    best = np.full(len(away), -np.inf)
    if others:
        best = stdtrit(max(n / block - 1.0, 1.0), uniform ** (1.0 / others))
    order, p = np.argsort(statistic), np.ones(len(statistic))
    for k in order:  # from the worst to the best: the most of all that are no better
        best = np.maximum(best, away[:, k])
        p[k] = _share_reached(best, float(statistic[k]))
    p[order[::-1]] = np.maximum.accumulate(p[order[::-1]])
    return p


def _share_reached(drawn: np.ndarray, statistic: float) -> float:
    """Never 0: so many draws cannot show less than one in as many plus one."""
    return float((1 + (drawn >= statistic).sum()) / (1 + len(drawn)))


def _matrix(trials) -> np.ndarray:
    trials = np.asarray(trials, float)
    if trials.ndim != 2 or len(trials) < MIN_PERIODS or not trials.shape[1]:
        raise SeriesError(f"need a matrix of at least {MIN_PERIODS} periods and one trial, had shape {trials.shape}")
    if not np.isfinite(trials).all():
        raise SeriesError("a period of a trial is not a number; every period counts, flat ones as 0")
    return trials
