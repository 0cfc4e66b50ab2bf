"""How sure the track record of one result is: its Sharpe ratio, intervals, and probabilities that are scored.

A track record is a column of net profits of equal periods, flat ones included. Sharpe ratios are per period, never
annualised; kurtosis is plain, 3 for a normal.

    sharpe, probabilistic_sharpe    Bailey & Lopez de Prado 2012, J. Risk 15(2)
    block_length      Politis & White 2004, corrected with Patton 2009; mean_interval: Politis & Romano 1994
    chance_without_edge    is it luck, or losses that have not come yet? Owen 1988, DiCiccio & Romano 1990
    chance_with_memory     is it luck of trades that remember each other? Zwiers & von Storch 1995
    wilson, probability_of_gain, brier    rates, and probabilities that are scored

Periods follow each other, so their order matters: everything here that resamples draws blocks, and `sharpe` counts only
as many periods as are independent. What has no answer is a `SeriesError`, never a number. Randomness is an argument.

Own code rather than the package arch (8.0): `mean_interval` covers 92 to 95 % where a percentile interval of the same
bootstrap covers 76 to 88 % (AR(0.7), 48 to 400 periods), and the rest is as short as the calls would be.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from delta_arb.errors import SeriesError
from delta_arb.tables import share

MIN_PERIODS = 10
REPETITIONS = 2000
MAX_AR = 0.97  # a first autocorrelation above it would make one period of the whole record
MAX_MEMORY = 0.9  # of trades: neighbouring folds share thresholds, so the wins of an edge are alike
MORE_MEMORY = 5.0  # over the number of trades, added to the memory seen: found by drawing, see docs/statistics.md
DRAWN, THICKER = 0.025, 0.6  # a chance below the first falls as this power of Student's: found by drawing, too
RECENT = 24  # judged windows that a probability counts: of recorded candles those before said more than came
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
    first = min(_without_bias(acv[1] / acv[0], len(nets)), MAX_AR)
    return float(max(flat_top, acv[0] * (1.0 + first) / (1.0 - first), 0.0))  # a strictly alternating record is below 0


def _without_bias(first: float, n: int) -> float:
    """A first autocorrelation about a mean that was estimated too: Marriott & Pope 1954."""
    return first + (1.0 + 3.0 * first) / n


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
        return f"{self.value:.4g} ({share(self.level)}: {self.low:.4g} to {self.high:.4g})"


def wilson(hits: int, n: int, level: float = 0.95) -> Interval:
    """A rate seen as `hits` of `n` (Wilson 1927). 0.7 is known to 5 points from 323 trials on, not before."""
    if not 0 <= hits <= n or n < 1:
        raise SeriesError(f"{hits} hits of {n} trials are no rate; it takes at least one trial")
    z2 = float(ndtri(0.5 + level / 2)) ** 2
    centre = (hits + z2 / 2) / (n + z2)
    half = math.sqrt(z2) / (n + z2) * math.sqrt(hits * (n - hits) / n + z2 / 4)
    return Interval(hits / n, max(centre - half, 0.0), min(centre + half, 1.0), level)


def chance_without_edge(nets, loss: float, rng: np.random.Generator, *, repetitions: int = 10 * REPETITIONS) -> float:
    """How often a rule that earns nothing shows a record of trades as good as this one, if one trade may lose `loss` (positive).

    Of all such rules it is the one hardest to tell from the record: the distribution closest to it (empirical likelihood)
    with a mean of zero, on the nets seen and one loss of `loss` or of the worst seen, whichever is larger. Records of as
    many trades as are independent, which is seen by their losses, are drawn from it. One that does not contain the loss is
    no rarer than its absence: n wins of w without a loss of L come with probability (L / (L + w))^n, which no test can
    beat. 1 where the mean is not above zero, 0 where nothing can be lost.

    Source: Owen 1988, Biometrika 75(2); to draw from the least favourable distribution: DiCiccio & Romano 1990, Int.
    Statistical Review 58(1).

    Raises:
        SeriesError: no trade.
    """
    nets = np.asarray(nets, float)
    if not len(nets):
        raise SeriesError("no trade says nothing about losses; record longer")
    worst = max(loss, -float(nets.min()))
    if worst <= 0 or not nets.mean() > 0:
        return 0.0 if worst <= 0 else 1.0
    try:
        n = round(sharpe(np.minimum(nets, 0.0)).n)
    except SeriesError:  # few trades, or none that lost
        n = len(nets)
    weights = _without_edge(nets, worst)
    outcomes, reached = np.append(nets, -worst), 0
    least = float(nets.mean()) * (1 - 1e-12)
    at_once = max(CHUNK // len(outcomes), 1)
    for done in range(0, repetitions, at_once):
        drawn = rng.multinomial(n, weights, size=min(at_once, repetitions - done))
        reached += int((drawn @ outcomes / n >= least).sum())
    absent = (1.0 - weights[-1]) ** n if weights[-1] > 0 else 0.0
    return max((1 + reached) / (1 + repetitions), float(absent))


def chance_with_memory(nets) -> float:
    """How often trades that earn nothing and remember each other show a mean as good as this one.

    Student's t, its error that of n (1 - r) / (1 + r) trades (Zwiers & von Storch 1995, J. Climate 8), where r is the first
    autocorrelation without its bias and with 5 / n more: a few trades hide what they remember. So at most 2.5 % of nulls
    with a memory of up to one half come below 0.025, of 6 trades or of 200. Smaller chances are Student's taken to a power,
    because his tail is too thin for a memory that is itself an estimate. 1 for less than two trades.
    """
    nets = np.asarray(nets, float)
    n = len(nets)
    if n < 2:
        return 1.0
    mean, off = float(nets.mean()), nets - nets.mean()
    if not np.ptp(nets) > 1e-12 * np.abs(nets).max():
        return 0.0 if mean > 0 else 1.0
    first = _without_bias(float(off[1:] @ off[:-1] / (off @ off)), n) + MORE_MEMORY / n
    first = float(np.clip(first, 0.0, MAX_MEMORY))
    independent = n * (1.0 - first) / (1.0 + first)
    chance = float(stdtr(n - 1, -mean / nets.std(ddof=1) * math.sqrt(independent)))
    return max(chance, DRAWN * (chance / DRAWN) ** THICKER)


def _without_edge(nets: np.ndarray, worst: float) -> np.ndarray:
    """Weights of the nets, and of one more loss of `worst`, whose mean is zero: as near to equal ones as they can be."""
    if nets.min() > -worst:
        weights = worst / (worst + nets) / len(nets)
        if weights.sum() < 1:  # the wins outweigh every loss seen, so one that was not seen must make up for them
            return np.append(weights, 1 - weights.sum())
    most = (1 - 1e-12) / worst

    def mean(tilt: float) -> float:
        return float((nets / (1 + tilt * nets)).sum())

    weights = 1 / (1 + (brentq(mean, 0.0, most) if mean(most) < 0 else most) * nets)
    return np.append(weights / weights.sum(), 0.0)


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
    means = np.concatenate([nets[rows].mean(axis=1) for rows in resamples(n, n, block, repetitions, rng)])
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
    flatters what was chosen on it and holds few windows, so they count as much as its own; the last 24 of them, because older
    ones tell of another market.

    A block is by default no shorter than the horizon: gains that keep their distance (a cycle must end before the next)
    are found in fewer windows when they are dealt out one by one. By the rule of succession m windows in all cannot say
    more than (m + 1) / (m + 2): a day says little about a window of hours.
    """
    nets = _column(nets)
    if not 1 <= horizon <= len(nets):
        raise SeriesError(f"a record of {len(nets)} periods says nothing about {horizon}; record longer")
    block = max(block_length(nets), float(horizon)) if block is None else block
    drawn = resamples(len(nets), horizon, block, repetitions, rng)
    seen = sum(int((nets[rows].sum(axis=1) > 0).sum()) for rows in drawn) / repetitions
    windows, earned = len(nets) / horizon, earned[-RECENT:]
    return (seen * windows + sum(earned) + 1.0) / (windows + len(earned) + 2.0)


def resamples(n: int, length: int, block: float, repetitions: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Row numbers of resampled records, some at a time: blocks of geometric length, the end joined to the start."""
    if not 1.0 <= block <= n:
        raise SeriesError(f"a block of {block:g} periods does not fit into {n}; record longer, or let it be chosen")
    at_once = max(CHUNK // length, 1)
    for done in range(0, repetitions, at_once):
        shape = (min(at_once, repetitions - done), length)
        begins = rng.random(shape) < 1.0 / block
        begins[:, 0] = True
        first = np.flatnonzero(begins)
        rows = np.arange(begins.size)
        rows += np.repeat(rng.integers(n, size=begins.size)[first] - first, np.diff(first, append=begins.size))
        rows -= rows // n * n  # numpy divides several numbers at a time, and takes remainders one by one
        yield rows.reshape(shape)


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
