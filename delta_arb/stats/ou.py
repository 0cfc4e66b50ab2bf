"""The Ornstein-Uhlenbeck process, clean or under white noise, by likelihood on the real time stamps.

    dX = theta (mu - X) dt + sigma dW        half-life = ln 2 / theta        stationary sd s = sigma / sqrt(2 theta)
    observed: y_i = X(t_i) + noise of standard deviation eta, independent from row to row (bounce, tick size, two feeds)

One Kalman filter serves both: with eta = 0 it is the exact likelihood of the clean process. Times need not be even, a
gap is simply a long step. The mean and the scale have closed forms given (theta, noise ratio), so the search has two
dimensions, and one for the clean process.

The mean is integrated out rather than estimated (restricted likelihood): this halves the bias of theta, from about
4/T to 2/T (Tang & Chen 2009; Yu 2012; Cheang & Reinsel 2000; `half_life` corrects the rest), and it makes the likelihood
ratio well behaved near a random walk (Chen & Deo 2009), which the interval and the refusal of a random walk rest on.
Sources of the model: Uhlenbeck & Ornstein 1930; under noise, irregular times: Holy & Tomanova, arXiv 1811.09312.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from delta_arb.errors import SeriesError
from delta_arb.market import NS
from delta_arb.numba_cache import compiled
from delta_arb.stats.series import columns, known_and_varying

MIN_ROWS = 50
FINE = 1e-3  # of the logarithm of a ratio: the top of such a parabola is that of the likelihood but for 3e-7


def _filter(y, step, phi, drive, start_var, noise_var, innovations, variances):
    """Run the filter over `y` and over a column of ones; sums from which likelihood, mean and scale follow.

    `step[i]` is the row of `phi` and `drive` for the step that leads to row i (row 0 has none). Fills `innovations`
    and `variances` (of `y` as it is, mean zero) when they have the length of `y`. Plain Python that numba compiles.
    """
    level, unit, kept = 0.0, 0.0, 0.0
    log_det, product = 0.0, 1.0
    yy, y1, ones = 0.0, 0.0, 0.0
    keep = innovations.size == y.size
    var, last, i = start_var, -1, 0
    while i < y.size:
        steady = False
        if i > 0:
            k = step[i]
            level *= phi[k]
            unit *= phi[k]
            before = var
            var = phi[k] * phi[k] * kept + drive[k]
            steady = not keep and k == last and abs(var - before) <= 1e-14 * before
            last = k
        total = var + noise_var
        gain = var / total
        kept = var * noise_var / total
        off_y = y[i] - level
        off_1 = 1.0 - unit
        product *= total
        if product > 1e200 or product < 1e-200:
            log_det += math.log(product)
            product = 1.0
        yy += off_y * off_y / total
        y1 += off_y * off_1 / total
        ones += off_1 * off_1 / total
        level += gain * off_y
        unit += gain * off_1
        if keep:
            innovations[i] = off_y
            variances[i] = total
        i += 1
        if steady:  # the gain stays as long as the steps do: no division, and one step from an innovation to the next
            back, past, first = phi[last], phi[last] * (1.0 - gain), i
            sum_yy, sum_y1, sum_y, before = 0.0, 0.0, 0.0, 0.0
            while i < y.size and step[i] == last and abs(off_1 - before) > 1e-16:
                before = off_1
                off_y, off_1 = y[i] - back * y[i - 1] + past * off_y, 1.0 - back + past * off_1
                sum_yy += off_y * off_y
                sum_y1 += off_y * off_1
                ones += off_1 * off_1 / total
                i += 1
            settled = i
            while i + 1 < y.size and step[i] == last and step[i + 1] == last:  # two rows at a time
                one = y[i] - back * y[i - 1]
                two = y[i + 1] - back * y[i] + past * one
                one, off_y, i = one + past * off_y, two + past * past * off_y, i + 2
                sum_yy += one * one + off_y * off_y
                sum_y += one + off_y
            yy, y1 = yy + sum_yy / total, y1 + (sum_y1 + off_1 * sum_y) / total
            ones += (i - settled) * off_1 * off_1 / total
            log_det += (i - first) * math.log(total)
            level, unit = y[i - 1] - (1.0 - gain) * off_y, 1.0 - (1.0 - gain) * off_1
    return log_det + math.log(product), yy, y1, ones


_NOTHING = np.empty(0)


@dataclass(frozen=True, slots=True)
class Process:
    """A fitted process; `mean`, `sd` and `noise_sd` in the unit of the values.

    `theta` is the maximum of the likelihood as it is (per second, before any correction of its bias), `log_likelihood`
    that maximum, up to a constant which depends on `n` alone.
    """

    theta: float
    mean: float
    sd: float
    noise_sd: float
    log_likelihood: float
    n: int
    span_s: float

    def difference_variance(self, lag_s):
        """E[(y(t + lag) - y(t))^2] for a lag above 0: 2 noise_sd^2 + 2 sd^2 (1 - exp(-theta lag))."""
        lag_s = np.asarray(lag_s, dtype=np.float64)
        return 2 * self.noise_sd**2 - 2 * self.sd**2 * np.expm1(-self.theta * lag_s)


class Likelihood:
    """The likelihood of one series as a function of theta and of the noise ratio.

    `ratio` is the noise variance over the variance which the process gains in one median step if it did not revert:
    eta^2 / (sigma^2 step). The data fix it at short lags, whatever theta is, so the two are searched one inside the
    other. theta runs from `slowest`, which cannot be told from a random walk, to `fastest`, a half-life of half a step.
    """

    def __init__(self, values: np.ndarray, ts_ns: np.ndarray, restricted: bool = True) -> None:
        self.n = values.size
        self.restricted = restricted
        self.centre, self.scale = float(values.mean()), float(values.std())
        self.values = (values - self.centre) / self.scale
        steps = np.diff(ts_ns) / NS
        self.span_s = float(ts_ns[-1] - ts_ns[0]) / NS
        self.step_s = float(np.median(steps))
        self.steps, kind = np.unique(steps, return_inverse=True)
        if self.steps.size > 1000:  # then a table saves nothing
            self.steps, kind = steps, np.arange(steps.size)
        self.kind = np.concatenate(([0], kind))
        self.slowest, self.fastest = 1e-3 / self.span_s, 2 * math.log(2) / self.step_s
        self._theta, self._phi, self._drive = math.nan, _NOTHING, _NOTHING

    def __call__(self, theta: float, ratio: float) -> float:
        """Logarithm of the likelihood, mean and scale at their best; up to a constant which depends on `n` alone."""
        return self._concentrated(*self._sums(theta, ratio))

    def profile(self, theta: float, log_ratio: float | None) -> tuple[float, float | None]:
        """The best over the noise ratio at this theta, searched from `log_ratio`; None means no noise at all."""
        if log_ratio is None:
            return self(theta, 0.0), None
        return _top(lambda u: self(theta, math.exp(u)), log_ratio, -18.0, 24.0)

    def white(self) -> float:
        """The likelihood of noise alone, for comparison."""
        squares = float(((self.values - self.values.mean()) ** 2).sum())
        return self._concentrated(0.0, squares, 0.0, float(self.n))

    def maximum(self, noisy: bool) -> tuple[float, float | None, float]:
        """theta, log ratio (None when clean) and value at the maximum: a coarse look everywhere, then a fine one."""
        thetas = np.arange(math.log(0.05 / self.span_s), math.log(self.fastest), 1.4).tolist()
        ratios = np.arange(-8.0, 20.0, 3.0).tolist() if noisy else [None]
        seen = [(self(math.exp(t), 0.0 if u is None else math.exp(u)), t, u) for t in thetas for u in ratios]
        _, log_theta, state = max(seen, key=lambda row: row[0])

        def outer(log_theta: float) -> float:
            nonlocal state
            value, state = self.profile(math.exp(log_theta), state)
            return value

        bounds = math.log(self.slowest), math.log(self.fastest)
        _, log_theta = _best(outer, log_theta, 1.4, *bounds, 1e-4)
        value, log_ratio = self.profile(math.exp(log_theta), state)
        return math.exp(log_theta), log_ratio, value

    def process(self, theta: float, log_ratio: float | None) -> Process:
        """The whole process at these two, in the unit of the values."""
        ratio = 0.0 if log_ratio is None else math.exp(log_ratio)
        log_det, yy, y1, ones = self._sums(theta, ratio)
        unit = math.sqrt((yy - y1 * y1 / ones) / (self.n - self.restricted)) * self.scale
        sd = unit * math.sqrt(1 / (2 * theta * self.step_s))
        mean = self.centre + self.scale * y1 / ones
        value = self._concentrated(log_det, yy, y1, ones) - (self.n - self.restricted) * math.log(self.scale)
        return Process(theta, mean, sd, unit * math.sqrt(ratio), value, self.n, self.span_s)

    def _sums(self, theta: float, ratio: float) -> tuple[float, float, float, float]:
        self._transition(theta)
        start = 1 / (2 * theta * self.step_s)
        return compiled(_filter)(self.values, self.kind, self._phi, self._drive, start, ratio, _NOTHING, _NOTHING)

    def _transition(self, theta: float) -> None:
        if theta != self._theta:
            self._phi = np.exp(-theta * self.steps)
            self._drive = -np.expm1(-2 * theta * self.steps) / (2 * theta * self.step_s)
            self._theta = theta

    def _concentrated(self, log_det: float, yy: float, y1: float, ones: float) -> float:
        free = self.n - self.restricted
        left = (yy - y1 * y1 / ones) / free
        return -0.5 * (log_det + (math.log(ones) if self.restricted else 0.0) + free * (math.log(left) + 1))


def fit(values, ts_ns, valid=None, noisy: bool = True, restricted: bool = True) -> Process:
    """The process of greatest likelihood, on the real time stamps.

    Rows that are not `valid` are left out; the step across them is simply longer. Of several rows with one time stamp
    the last counts. This is the plain maximum: it answers for any series, also for one that does not revert. Ask
    `half_life.half_life` for an answer with an interval, a correction, and a refusal where there is none.

    Args:
        values: shape (n,), any unit.
        ts_ns: shape (n,), UTC ns, not falling.
        valid: shape (n,), true where the row counts; all when left out.
        noisy: whether white noise lies on top. Without it even a little noise ruins the answer: with as much noise as
            signal, one second apart, a half-life of 10 min comes out as 1 s.
        restricted: integrate the mean out (see the module); false gives the ordinary maximum likelihood.

    Raises:
        SeriesError: fewer than 50 rows (30 hold no half-life), constant, not finite, or all at one time.
    """
    likelihood = Likelihood(*usable(values, ts_ns, valid), restricted)
    theta, log_ratio, _ = likelihood.maximum(noisy)
    return likelihood.process(theta, log_ratio)


@dataclass(frozen=True, slots=True)
class Filtered:
    """What the filter knows after each row, the row included and nothing later: shape (n,) each.

    `level` is the process without its noise; `surprise` is the innovation over its own standard deviation: standard
    normal and independent if the model holds, so its squares tell volatility clustering, its sums a drift of the level.
    """

    ts_ns: np.ndarray
    level: np.ndarray
    surprise: np.ndarray


def filtered(values, ts_ns, process: Process, valid=None) -> Filtered:
    """The spread without its noise, as it could be known at each row. Rows and errors are those of `fit`."""
    values, ts_ns = usable(values, ts_ns, valid)
    steps = np.diff(ts_ns) / NS
    phi = np.exp(-process.theta * steps)
    drive = -np.expm1(-2 * process.theta * steps) * process.sd**2
    innovations, variances = np.empty(values.size), np.empty(values.size)
    kind = np.arange(-1, steps.size)  # row i is reached by step i - 1
    compiled(_filter)(
        values - process.mean, kind, phi, drive, process.sd**2, process.noise_sd**2, innovations, variances
    )
    level = values - process.noise_sd**2 / variances * innovations
    return Filtered(ts_ns, level, innovations / np.sqrt(variances))


def usable(values, ts_ns, valid=None) -> tuple[np.ndarray, np.ndarray]:
    """The rows a fit can use, or a `SeriesError`."""
    values, ts_ns, valid = columns(values, ts_ns, valid)
    values, ts_ns = values[valid], ts_ns[valid]
    if values.size < MIN_ROWS:
        raise SeriesError(f"need at least {MIN_ROWS} rows for a half-life, had {values.size}; record longer")
    known_and_varying(values)
    changes = np.concatenate(([0], np.flatnonzero(values[1:] != values[:-1]) + 1, [values.size]))
    still = np.diff(changes)
    worst = int(np.argmax(still))
    if still[worst] >= 30 and still[worst] > 0.1 * values.size:
        raise SeriesError(
            f"{still[worst]} of {values.size} rows in a row hold one value from ts_ns={ts_ns[changes[worst]]}; "
            "the feed was frozen: mask that time with valid"
        )
    return values, ts_ns


def _best(score, start: float, reach: float, low: float, high: float, tolerance: float) -> tuple[float, float]:
    """The largest score and where it is, by Brent's method near `start`, looking farther while it lies at the end of reach."""
    centre = min(max(start, low), high)
    while True:
        left, right = max(centre - reach, low), min(centre + reach, high)
        found = minimize_scalar(
            lambda x: -score(x), bounds=(left, right), method="bounded", options={"xatol": tolerance}
        )
        reach *= 2
        if found.x < left + 0.05 and left > low:
            centre = left - 0.5 * reach
        elif found.x > right - 0.05 and right < high:
            centre = right + 0.5 * reach
        else:
            return -float(found.fun), float(found.x)


def _top(score, start: float, low: float, high: float) -> tuple[float, float]:
    """The largest score and where it is: uphill from `start`, then the tops of narrower and narrower parabolas.

    Where the score falls from `low` on, that is where: of a series without noise it does, whatever theta is.
    """
    at, reach = min(max(start, low), high), 0.02
    here = score(at)
    while True:
        (left, below), (right, above) = ((score(x), x) for x in (max(at - reach, low), min(at + reach, high)))
        if max(left, right) > here:
            here, at = max((left, below), (right, above))
            reach *= 4
            continue
        bend = left + right - 2 * here
        if at in (low, high) or not bend < 0:
            return here, at
        reach = min(reach, at - low, high - at)
        top = at + 0.5 * reach * (left - right) / bend
        if reach <= FINE:
            return here - (left - right) ** 2 / (8 * bend), top
        reach = max(min(reach, reach**2) / 2, FINE)
        if (there := score(top)) > here:
            here, at = there, top
