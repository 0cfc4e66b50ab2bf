"""How long a spread takes to come half-way back, how well that can be known, and when it cannot.

The estimate is the restricted likelihood of an Ornstein-Uhlenbeck process under white noise (`ou`), its theta less 1/T:
of the bias of the mean 2/T would be left, but theta is skewed. 1/T centres its median, hence that of the half-life, and
errs less (root mean square of the log 0.150 against 0.152 at 10 min in a day, 0.43 against 0.46 at 1 h). The 95 %
interval is where the likelihood ratio stays below 3.84. Slow series are refused unless they looked fast by luck, so
below some 80 half-lives speed and interval are those of such a series given that there was an answer. What limits the
answer is the span, not the rows: no method knows theta better than sqrt(2 / (theta T)), which every result prints.
"""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from delta_arb.errors import SeriesError
from delta_arb.stats.ou import Likelihood, Process, usable
from delta_arb.stats.series import grid, known_and_varying, lagged_products
from delta_arb.tables import seconds

if TYPE_CHECKING:
    import pandas as pd

# 95 % of chi-squared with one degree of freedom.
LR_95 = 3.841
# What a series must gain over a random walk, the 1 % level: 1.2 % of 1,000 simulated walks gained it (3.9 % gained
# LR_95), 98 % of days with a half-life of 30 min, and 44 % of days with 1 h. Refusing a slow spread costs less than
# trading a walk. SHOWS is the span, in half-lives, at which reversion is practically always seen.
LR_WALK = 6.6
SHOWS = 48
# Simulated, 300 series each: how often a series is answered, by theta T, and the median of theta T told where it is. The
# likelihood of a speed given that there is an answer is its likelihood over that probability; the answer is the speed
# whose median it is (median-unbiased, Andrews 1993, Econometrica 61).
ANSWERED = ((1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 13.0, 16.6, 20.0, 25.0, 30.0, 40.0, 60.0),
            (0.012, 0.012, 0.027, 0.055, 0.09, 0.16, 0.28, 0.48, 0.66, 0.85, 0.95, 0.99, 1.0))  # fmt: skip
MEDIANS = ((16.0, 18.5, 19.5, 20.5, 21.3, 22.7, 25.6, 29.1, 35.5, 45.0, 80.0),
           (5.0, 7.0, 9.0, 13.0, 16.6, 20.0, 25.0, 30.0, 36.0, 45.0, 80.0))  # fmt: skip
ALWAYS_ANSWERED = 80.0
# White noise gains likelihood from a process it does not have, and from the best of all theta: of 1,220 series of 400
# to 86,400 rows 1 % gained more than 7 to 10, two more than 12, the most was 15.9. A day under noise gains hundreds.
LR_WHITE = 16.0


@dataclass(frozen=True, slots=True)
class HalfLife:
    """Half-life of mean reversion with its 95 % interval, seconds.

    `low_s` is 0.0 when the series is too coarse to bound it from below; `high_s` is always finite, but far beyond the span
    where the answer may be a slow series that looked fast by luck; both are NaN where the interval was not asked for.
    `method` says which model; `process` is the fit it comes from; its `theta` is not corrected for bias, `half_life_s`
    and `theta` here are.
    """

    half_life_s: float
    low_s: float
    high_s: float
    method: str
    n: int
    span_s: float
    process: Process

    @property
    def theta(self) -> float:
        """Rate of reversion, per second: ln 2 / half_life_s."""
        return math.log(2) / self.half_life_s

    @property
    def best_relative_sd(self) -> float:
        """The relative standard deviation no estimate from this span can beat: sqrt(2 / (theta T))."""
        return math.sqrt(2 / (self.theta * self.span_s))

    @property
    def bound(self) -> str:
        """The same in words."""
        return (
            f"{seconds(self.span_s)} cannot know a {seconds(self.half_life_s)} half-life "
            f"better than {100 * self.best_relative_sd:.2g} %"
        )

    def to_frame(self) -> "pd.DataFrame":
        """One column `value`."""
        import pandas as pd

        p = self.process
        rows = {
            "half_life_s": self.half_life_s, "low_s": self.low_s, "high_s": self.high_s,
            "best_relative_sd": self.best_relative_sd, "mean": p.mean, "sd": p.sd, "noise_sd": p.noise_sd,
            "n": float(self.n), "span_s": self.span_s,
        }  # fmt: skip
        return pd.DataFrame({"value": rows})

    def __str__(self) -> str:
        interval = f"{seconds(self.low_s)} to {seconds(self.high_s)}"
        return f"half-life {seconds(self.half_life_s)} (95 %: {interval}; {self.method}); {self.bound}"

    def _repr_html_(self) -> str:
        return self.to_frame().to_html(float_format=lambda x: f"{x:.5g}") + f"<p>{self}</p>"


def half_life(values, ts_ns, valid=None, *, interval: bool = True) -> HalfLife:
    """Half-life of a quoted spread: Ornstein-Uhlenbeck under white noise, Kalman filter on the real time stamps.

    Measured on 1,000 days of seconds with as much noise as signal and a half-life of 10 min: median 0.994 of the
    truth, root mean square error of the logarithm 0.150 (bound 0.142), the interval covered 95.6 %. A day of seconds
    takes about 0.13 s. The noise is taken as new in each row: do not repeat rows (a poll that saw nothing new), and
    give a grid of seconds rather than a million ticks.

    Args:
        values: shape (n,), n >= 50, any unit; NaN only where `valid` is false.
        ts_ns: shape (n,), UTC ns, not falling; need not be even.
        valid: shape (n,), false for stale or crossed rows, which are left out.
        interval: whether its ends are wanted, which take half of the time.

    Raises:
        SeriesError: fewer than 50 rows, constant, frozen for a tenth of the rows, all at one time, white noise, gone
            within half a step, or not to be told from a random walk.
    """
    return _answer(values, ts_ns, valid, noisy=True, method="OU under noise", interval=interval)


def half_life_clean(values, ts_ns, valid=None) -> HalfLife:
    """The same without noise: exact Ornstein-Uhlenbeck likelihood. Only for a series known to be free of noise.

    With noise of the size of the signal, one second apart, it answers 1 s where the truth is 10 min.
    """
    return _answer(values, ts_ns, valid, noisy=False, method="exact OU")


def half_life_two_lags_s(values, ts_ns, step_s: float, valid=None) -> float:
    """Quick cross-check: from the autocovariance at one step and where it has halved; noise only touches lag 0.

    ln 2 (tau2 - tau1) / ln(gamma(tau1) / gamma(tau2)) on an even grid; about a third less precise than `half_life`,
    and without an interval.

    Args:
        step_s: distance of the grid points, seconds; rows of one grid point must not share their noise.

    Raises:
        SeriesError: as `grid`; or no memory at the first lag; or slower than a span can show: a random walk has an
            autocovariance that falls, too.
    """
    even = grid(values, ts_ns, step_s, valid)
    x = even.values  # noqa: PD011, an array
    known_and_varying(x)
    known, top = np.isfinite(x), x.size // 4
    pairs = np.maximum(np.rint(lagged_products(known.astype(float), top)), 1)
    gamma = lagged_products(np.where(known, x - np.nanmean(x), 0.0), top) / pairs
    if gamma[1] < 3 * gamma[0] / math.sqrt(known.sum()):
        raise SeriesError(f"no memory from one {step_s:g} s step to the next: white noise has no half-life")
    halved = np.flatnonzero(gamma[1:] <= 0.5 * gamma[1])
    if not halved.size or gamma[1 + halved[0]] <= 0:
        raise SeriesError(f"the autocovariance does not halve smoothly within {top} steps; record longer")
    lag = 1 + int(halved[0])
    half_life_s = math.log(2) * (lag - 1) * step_s / math.log(gamma[1] / gamma[lag])
    if half_life_s > (x.size - 1) * step_s / SHOWS:
        span = seconds((x.size - 1) * step_s)
        raise SeriesError(f"no half-life that {span} could show, which needs {SHOWS} of them; record longer")
    return half_life_s


@dataclass(frozen=True, slots=True, repr=False)
class Profile:
    """How well each half-life explains a series: `ratio` is twice the log likelihood over that of the best, so 0 at the
    maximum and below -LR_95 outside the 95 % interval.

    The maximum is that of the likelihood itself, `HalfLife.half_life_s` is a little above it: its bias is taken out.
    """

    half_life_s: np.ndarray = field(compare=False)
    ratio: np.ndarray = field(compare=False)

    def to_frame(self) -> "pd.DataFrame":
        """Column `ratio`, indexed by half-life in seconds."""
        import pandas as pd

        return pd.DataFrame({"ratio": self.ratio}, index=pd.Index(self.half_life_s, name="half_life_s"))

    def __repr__(self) -> str:
        shown = f"{seconds(self.half_life_s[0])} to {seconds(self.half_life_s[-1])}"
        return f"Profile({self.half_life_s.size} half-lives from {shown})"


def profile(values, ts_ns, found: HalfLife, valid=None, points: int = 41) -> Profile:
    """The likelihood over the half-life, noise, level and scale at their best for each, to both sides of the interval.

    Args:
        found: what `half_life` answered for the same rows.
        points: half-lives, evenly in the logarithm; the maximum is one more.
    """
    likelihood = Likelihood(*usable(values, ts_ns, valid))
    best, sigma2 = found.process, 2 * found.process.theta * found.process.sd**2
    peak_s, start = (
        math.log(2) / best.theta,
        math.log(max(best.noise_sd**2 / (sigma2 * likelihood.step_s), math.exp(-18))),
    )
    ends = math.log(2) / likelihood.fastest, math.log(2) / likelihood.slowest
    low_s, high_s = (peak_s * (end / peak_s) ** 1.6 for end in (found.low_s or ends[0], found.high_s))
    asked = np.geomspace(max(low_s, ends[0]), min(high_s, ends[1]), points)
    top, _ = likelihood.profile(best.theta, start)
    values_at = {peak_s: top}
    for side in (asked[asked < peak_s][::-1], asked[asked > peak_s]):
        log_ratio = start
        for half_life_s in side.tolist():
            values_at[half_life_s], log_ratio = likelihood.profile(math.log(2) / half_life_s, log_ratio)
    at = np.array(sorted(values_at))
    return Profile(at, np.array([2 * (values_at[half_life_s] - top) for half_life_s in at.tolist()]))


def _answer(values, ts_ns, valid, noisy: bool, method: str, interval: bool = True) -> HalfLife:
    likelihood = Likelihood(*usable(values, ts_ns, valid))
    theta, log_ratio, best = likelihood.maximum(noisy)
    _refuse_no_reversion(likelihood, theta, log_ratio, best)
    span_s, corrected = likelihood.span_s, theta - 1 / likelihood.span_s
    if theta * span_s < ALWAYS_ANSWERED:  # the slow ones that are seen are those that looked fast by luck
        corrected = float(np.interp(corrected * span_s, *MEDIANS)) / span_s
    ends = _interval(likelihood, theta, log_ratio, best) if interval else (math.nan, math.nan)
    process = likelihood.process(theta, log_ratio)
    return HalfLife(math.log(2) / corrected, *ends, method, likelihood.n, span_s, process)


def _interval(likelihood: Likelihood, theta: float, log_ratio: float | None, best: float) -> tuple[float, float]:
    """Where the likelihood ratio stays below its 95 % point; of slow series given that there was an answer."""
    ratio = log_ratio

    def excess(log_theta: float) -> float:
        nonlocal ratio
        value, ratio = likelihood.profile(math.exp(log_theta), ratio)
        return 2 * (best - value) - LR_95

    at, width, end = math.log(theta), math.sqrt(2 / (theta * likelihood.span_s)), math.log(likelihood.slowest)
    if theta * likelihood.span_s < ALWAYS_ANSWERED:
        plain, most = excess, 0.0
        excess = lambda log_theta: plain(log_theta) + 2 * _log_answered(log_theta, likelihood.span_s) - most  # noqa: E731
        near = minimize_scalar(excess, bounds=(at - 1.0, at), method="bounded", options={"xatol": 1e-3}).fun
        most = min(near, excess(end)) + LR_95
    slow = None if excess(end) <= 0 else _crossing(excess, at, -2 * width, end)
    ratio = log_ratio
    fast = _crossing(excess, at, 2 * width, math.log(likelihood.fastest))
    low_s = 0.0 if fast is None else math.log(2) / math.exp(fast)
    return low_s, math.log(2) / (likelihood.slowest if slow is None else math.exp(slow))


def _log_answered(log_theta: float, span_s: float) -> float:
    """Logarithm of the probability that such a series is answered at all."""
    return float(np.interp(log_theta + math.log(span_s), *np.log(ANSWERED)))


def _refuse_no_reversion(likelihood: Likelihood, theta: float, log_ratio: float | None, best: float) -> None:
    span = seconds(likelihood.span_s)
    if 2 * (best - likelihood.white()) < LR_WHITE:
        raise SeriesError(
            f"no half-life: {likelihood.n} rows in {span} cannot be told from white noise; "
            "one row says nothing about the next"
        )
    if theta > 0.98 * likelihood.fastest:
        raise SeriesError(
            f"no half-life: what there is of reversion is over within half a step of {seconds(likelihood.step_s)}; "
            "sample faster"
        )
    walk, _ = likelihood.profile(likelihood.slowest, log_ratio)
    if 2 * (best - walk) < LR_WALK or theta * likelihood.span_s <= 2:
        raise SeriesError(
            f"no half-life: {likelihood.n} rows in {span} cannot be told from a random walk "
            f"(likelihood ratio {max(2 * (best - walk), 0.0):.2f}, needs {LR_WALK}); {span} show half-lives up to "
            f"{seconds(likelihood.span_s / SHOWS)}: record longer, or do not trade it"
        )


def _crossing(excess, start: float, stride: float, end: float) -> float | None:
    """Where `excess` turns positive between `start`, where it is -LR_95, and `end`; None if it does not."""
    inside, outside = start, start + stride
    while (outside - end) * stride < 0:
        if excess(outside) > 0:
            return float(brentq(excess, inside, outside, xtol=2e-3))
        inside, stride = outside, 1.5 * stride
        outside += stride
    return float(brentq(excess, inside, end, xtol=2e-3)) if excess(end) > 0 else None
