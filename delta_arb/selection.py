"""Choosing one of many without being fooled: how sure a result is, once it is known how it was found.

A result is a column of net profits of equal periods, flat ones included; many results are a matrix of shape (periods,
trials). Sharpe ratios are per period, never annualised; kurtosis is plain, 3 for a normal.

    sharpe, probabilistic_sharpe, minimum_track_record    Bailey & Lopez de Prado 2012, J. Risk 15(2)
    expected_best_sharpe, deflated_sharpe, deflated       Bailey & Lopez de Prado 2014, J. Portfolio Management 40(5)
    clusters          which of many trials are near-copies of each other
    overfitting       CSCV: Bailey, Borwein, Lopez de Prado & Zhu 2017, J. Computational Finance 20(4)
    superior          White 2000, Hansen 2005: is the best better than doing nothing?
    block_length      Politis & White 2004, corrected with Patton 2009; mean_interval: Politis & Romano 1994
    wilson, probability_of_gain, brier    rates, and probabilities that are scored

Periods follow each other, so their order matters: everything here that resamples draws blocks, and `sharpe` counts only
as many periods as are independent. What has no answer is a `SeriesError`, never a number. Randomness is an argument.

Own code rather than the package arch (8.0): `mean_interval` covers 92 to 95 % where a percentile interval of the same
bootstrap covers 76 to 88 % (AR(0.7), 48 to 400 periods); arch's SPA compares the trials' raw means, so that the most
volatile one decides, where Hansen divides each by its error; and the rest is as short as the calls would be.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from .errors import SeriesError

MIN_PERIODS = 10
REPETITIONS = 2000
EULER = 0.5772156649015329
MAX_AR = 0.97  # a first autocorrelation above it would make one period of the whole record
CHUNK = 2_000_000  # numbers held at once by the large loops


# --- A column of periods ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sharpe:
    """Mean over standard deviation of one period, from `n` independent ones (a fraction where they are not)."""

    value: float
    n: float
    skewness: float = 0.0
    kurtosis: float = 3.0

    def __post_init__(self) -> None:
        if not (self.n > 1 and math.isfinite(self.value) and self.spread > 0):
            raise SeriesError(
                f"{self} has no standard error; give more than one period, and moments that belong together"
            )

    @property
    def spread(self) -> float:
        """Variance of the estimate times (n - 1), after Mertens 2002."""
        return 1.0 - self.skewness * self.value + (self.kurtosis - 1.0) / 4.0 * self.value**2

    @property
    def error(self) -> float:
        """Standard error of the value."""
        return math.sqrt(self.spread / (self.n - 1.0))


def sharpe(nets) -> Sharpe:
    """The Sharpe ratio of a column, with the moments its error depends on; `n` is the number of independent periods."""
    nets = _column(nets)
    off = nets - nets.mean()
    sd = float(np.sqrt(np.mean(off**2)))
    n = min(len(nets), len(nets) * sd**2 / _long_run_variance(nets))
    return Sharpe(float(nets.mean()) / sd, n, float(np.mean(off**3)) / sd**3, float(np.mean(off**4)) / sd**4)


def probabilistic_sharpe(estimate: Sharpe, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio is above the benchmark (both per period)."""
    return float(ndtr((estimate.value - benchmark) / estimate.error))


def minimum_track_record(estimate: Sharpe, benchmark: float = 0.0, confidence: float = 0.95) -> float:
    """Independent periods after which the estimate, staying as it is, would beat the benchmark with that confidence."""
    if not estimate.value > benchmark:
        raise SeriesError(f"a Sharpe ratio of {estimate.value:g} is not above {benchmark:g}: no record is long enough")
    return 1.0 + estimate.spread * float(ndtri(confidence) / (estimate.value - benchmark)) ** 2


def block_length(nets) -> float:
    """Mean length of the stationary bootstrap's blocks, in periods, at least 1: Patton, Politis & White 2009.

    As in the authors' own program, the bandwidth is twice the first lag from which on max(5, log10 n) autocorrelations
    are insignificant, and the result is capped by min(3 sqrt n, n / 3).
    """
    nets = _column(nets)
    n = len(nets)
    acv, bandwidth = _autocovariance(nets)
    lag = np.arange(1, bandwidth + 1)
    weighted = 2.0 * _flat_top(lag / bandwidth) * acv[1 : bandwidth + 1]
    variance, slope = acv[0] + weighted.sum(), (lag * weighted).sum()
    longest = math.ceil(min(3.0 * math.sqrt(n), n / 3.0))
    if variance <= 0:  # the truncated sum can be: nothing is known, so as few blocks as are allowed
        return float(longest)
    return float(np.clip((n * (slope / variance) ** 2) ** (1 / 3), 1.0, longest))


def _autocovariance(nets: np.ndarray) -> tuple[np.ndarray, int]:
    """Autocovariances (divided by n), and the lag to which they are worth adding up."""
    n = len(nets)
    run = max(5, int(math.log10(n)))
    most = min(math.ceil(math.sqrt(n)) + run, n - 1)
    off = nets - nets.mean()
    acv = np.array([off[k:] @ off[: n - k] for k in range(most + 1)]) / n
    small = np.abs(acv) < 2.0 * math.sqrt(math.log10(n) / n) * acv[0]
    first = next((k for k in range(1, most - run + 1) if small[k : k + run].all()), None)
    return acv, most if first is None else min(2 * first, most)


def _flat_top(x: np.ndarray) -> np.ndarray:
    return np.minimum(1.0, 2.0 * (1.0 - x))


def _long_run_variance(nets: np.ndarray) -> float:
    """n times the variance of the mean: the larger of the flat-top estimate and that of an AR(1) with its bias removed.

    The first has no model but falls short in small samples (a day of 15 minute periods); the second makes that good for
    the usual case, profits that decay over some periods. Marks of open pairs come back: then it is below one period's.
    """
    acv, bandwidth = _autocovariance(nets)
    lag = np.arange(1, bandwidth + 1)
    flat_top = acv[0] + 2.0 * (_flat_top(lag / bandwidth) * acv[1 : bandwidth + 1]).sum()
    first = acv[1] / acv[0]
    first = min(first + (1.0 + 3.0 * first) / len(nets), MAX_AR)  # Marriott & Pope 1954
    return float(max(flat_top, acv[0] * (1.0 + first) / (1.0 - first), 0.0))  # a strictly alternating record is below 0


# --- Intervals and probabilities --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the range that holds the truth with probability `level`."""

    value: float
    low: float
    high: float
    level: float = 0.95

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def scaled(self, factor: float) -> "Interval":
        """The same in another unit (per day instead of per period); factor > 0."""
        return Interval(self.value * factor, self.low * factor, self.high * factor, self.level)

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.level:.0%}: {self.low:.4g} to {self.high:.4g})"


def wilson(hits: int, n: int, level: float = 0.95) -> Interval:
    """A rate seen as `hits` of `n` (Wilson 1927). 0.7 is known to 5 points from 323 trials on, not before."""
    if not 0 <= hits <= n or n < 1:
        raise SeriesError(f"{hits} hits of {n} trials are no rate; it takes at least one trial")
    z2 = float(ndtri(0.5 + level / 2)) ** 2
    centre = (hits + z2 / 2) / (n + z2)
    half = math.sqrt(z2) / (n + z2) * math.sqrt(hits * (n - hits) / n + z2 / 4)
    return Interval(hits / n, max(centre - half, 0.0), min(centre + half, 1.0), level)


def mean_interval(
    nets, rng: np.random.Generator, *, level: float = 0.95, block: float | None = None, repetitions: int = REPETITIONS
) -> Interval:
    """The mean of a period with its interval, by the stationary bootstrap (blocks of `block` periods on average).

    The quantiles are stretched around the mean where the bootstrap's spread falls short of the long-run variance, and
    by Student's quantile for as many blocks as there are: resampling cannot show what a short record did not contain.
    """
    nets = _column(nets)
    n, block = len(nets), block_length(nets) if block is None else block
    mean = float(nets.mean())
    means = np.concatenate([nets[rows].mean(axis=1) for rows in _resamples(n, n, block, repetitions, rng)])
    short = max(1.0, math.sqrt(_long_run_variance(nets) / n) / float(means.std()))
    freedom = max(n / block - 1.0, 1.0)
    student = float(stdtrit(freedom, 0.5 + level / 2) / ndtri(0.5 + level / 2)) * math.sqrt((freedom + 1.0) / freedom)
    ends = np.quantile(means, (0.5 - level / 2, 0.5 + level / 2))
    low, high = (mean + (float(end) - mean) * short * student for end in ends)
    return Interval(mean, low, high, level)


def probability_of_gain(
    nets,
    horizon: int,
    rng: np.random.Generator,
    *,
    earned: Sequence[bool] = (),
    block: float | None = None,
    repetitions: int = REPETITIONS,
) -> float:
    """Estimated probability that the next `horizon` periods together earn more than nothing, from a record.

    `earned` are judged windows of that length, each traded by a choice that had not seen it: did it earn? A look-back
    flatters what was chosen on it and holds few windows, so they count as much as its own.

    A block is by default no shorter than the horizon: gains that keep their distance (a cycle must end before the next)
    are found in fewer windows when they are dealt out one by one. By the rule of succession m windows in all cannot say
    more than (m + 1) / (m + 2): a day says little about a window of hours.
    """
    nets = _column(nets)
    if not 1 <= horizon <= len(nets):
        raise SeriesError(f"a record of {len(nets)} periods says nothing about {horizon}; record longer")
    block = max(block_length(nets), float(horizon)) if block is None else block
    drawn = _resamples(len(nets), horizon, block, repetitions, rng)
    seen = sum(int((nets[rows].sum(axis=1) > 0).sum()) for rows in drawn) / repetitions
    windows = len(nets) / horizon
    return (seen * windows + sum(earned) + 1.0) / (windows + len(earned) + 2.0)


def _resamples(n: int, length: int, block: float, repetitions: int, rng: np.random.Generator):
    """Row numbers of resampled records, some at a time: blocks of geometric length, the end joined to the start."""
    if not 1.0 <= block <= n:
        raise SeriesError(f"a block of {block:g} periods does not fit into {n}; record longer, or let it be chosen")
    at_once = max(CHUNK // length, 1)
    for done in range(0, repetitions, at_once):
        shape = (min(at_once, repetitions - done), length)
        begins = rng.random(shape) < 1.0 / block
        begins[:, 0] = True
        last = np.maximum.accumulate(np.where(begins, np.arange(length), 0), axis=1)
        starts = np.take_along_axis(rng.integers(n, size=shape), last, axis=1)
        yield (starts + np.arange(length) - last) % n


@dataclass(frozen=True, slots=True)
class Brier:
    """Mean square of (probability - outcome), and what always saying the share of gains would have scored."""

    score: float
    base: float
    n: int

    @property
    def better(self) -> bool:
        return self.score < self.base


def brier(probabilities: Sequence[float], gained: Sequence[bool]) -> Brier:
    """The score of probabilities against what then happened (Brier 1950); lower is better, 0.25 is a coin.

    The base rate is that of the judged outcomes themselves, which nobody knew beforehand: a hard rival.
    """
    said, seen = np.asarray(probabilities, float), np.asarray(gained, float)
    if not len(said) or said.shape != seen.shape or not ((said >= 0) & (said <= 1)).all():
        raise SeriesError(f"a score takes one probability, 0 to 1, per outcome, was {said} for {seen}")
    return Brier(float(np.mean((said - seen) ** 2)), float(seen.mean() * (1.0 - seen.mean())), len(said))


# --- Many trials ------------------------------------------------------------------------------------------------------


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


def deflated_sharpe(estimate: Sharpe, trials: float, variance: float) -> float:
    """Probability that the best of so many trials is better than the best of as many without skill."""
    return probabilistic_sharpe(estimate, expected_best_sharpe(trials, variance))


@dataclass(frozen=True, slots=True)
class Deflated:
    """The deflated Sharpe ratio of one of many trials: a probability, and what it was made of.

    `trials` is the number of clusters times `upstream`; `hurdle` the Sharpe ratio to beat; both ratios are per period.
    """

    probability: float
    sharpe: Sharpe
    hurdle: float
    trials: float
    clusters: int


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
    hurdle = expected_best_sharpe(number, variance)
    return Deflated(probabilistic_sharpe(estimate, hurdle), estimate, hurdle, number, len(of_clusters))


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
    drawn = [np.bincount(row, minlength=n) for rows in _resamples(n, n, block, repetitions, rng) for row in rows]
    means = np.stack(drawn) @ nets / n
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


def _share_reached(drawn: np.ndarray, statistic: float) -> float:
    """Never 0: so many draws cannot show less than one in as many plus one."""
    return float((1 + (drawn >= statistic).sum()) / (1 + len(drawn)))


def _column(nets) -> np.ndarray:
    nets = np.asarray(nets, float)
    if nets.ndim != 1 or len(nets) < MIN_PERIODS:
        raise SeriesError(f"need one column of at least {MIN_PERIODS} periods, had shape {nets.shape}; record longer")
    if not np.isfinite(nets).all():
        raise SeriesError(
            f"period {np.argmax(~np.isfinite(nets))} is not a number; every period counts, flat ones as 0"
        )
    if not np.ptp(nets) > 1e-12 * np.abs(nets).max(initial=0.0):
        raise SeriesError(f"all {len(nets)} periods earned {nets[0]:g}; what never moves has no spread to be judged by")
    return nets


def _matrix(trials) -> np.ndarray:
    trials = np.asarray(trials, float)
    if trials.ndim != 2 or len(trials) < MIN_PERIODS or not trials.shape[1]:
        raise SeriesError(f"need a matrix of at least {MIN_PERIODS} periods and one trial, had shape {trials.shape}")
    if not np.isfinite(trials).all():
        raise SeriesError("a period of a trial is not a number; every period counts, flat ones as 0")
    return trials
