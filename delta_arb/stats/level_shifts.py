"""When the level of a spread shifted for good.

A method that assumes independent rows finds dozens of "regimes" in a perfectly stationary mean-reverting spread: each
excursion looks like one. Here a shift must improve the likelihood of an Ornstein-Uhlenbeck process under white noise,
fitted again with and without it, by more than chance gives the best of all places (compare Chakar, Lebarbier,
Levy-Leduc & Robin 2017, Bernoulli 23(2); Romano, Rigaill, Runge & Fearnhead 2022, JASA 117(540)).
"""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize

from delta_arb.errors import SeriesError
from delta_arb.market import NS
from delta_arb.numba_cache import compiled
from delta_arb.stats.ou import usable
from delta_arb.stats.series import grid

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS = 3000
MIN_SEGMENT = 10  # rows
MAX_SHIFTS = 12  # of one proposal


@dataclass(frozen=True, slots=True, repr=False)
class Changes:
    """Shifts in order of time; empty arrays when there are none, which is an answer.

    `ts_ns[k]` is the first time stamp after shift k, `size[k]` what the level gained there, `gain[k]` twice the log
    likelihood it is worth, to be compared with `needed`.
    """

    ts_ns: np.ndarray = field(compare=False)
    size: np.ndarray = field(compare=False)
    gain: np.ndarray = field(compare=False)
    needed: float
    half_life_s: float
    n: int

    def to_frame(self) -> "pd.DataFrame":
        """One row per shift: `size`, `gain`, indexed by UTC time."""
        import pandas as pd

        times = pd.to_datetime(self.ts_ns, utc=True).rename("time")
        return pd.DataFrame({"size": self.size, "gain": self.gain}, index=times)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{size:.3g}" for size in self.size[:6])
        return f"Changes({self.size.size} in {self.n} rows{': ' + sizes if sizes else ''})"


def level_shifts(values, ts_ns, valid=None, step_s: float = 60.0) -> Changes:
    """Lasting shifts of the level around which the spread reverts.

    Takes the last value of each minute, adds the best shift while it is worth more than `needed`, moves each to its
    best place given the others, and drops what is then no longer worth it. Neighbouring shifts are at least 10 rows
    apart. `half_life_s` of the result is that around the shifting level; without its shifts a series looks slower.

    Raises:
        SeriesError: as `ou.fit`; or more than 3,000 rows on the grid: choose a longer step or a shorter window.
    """
    return _shifts(_rows(values, ts_ns, valid, step_s))


def _rows(values, ts_ns, valid, step_s: float) -> "_Segments":
    even = grid(values, ts_ns, step_s, valid)
    values, ts_ns = usable(even.values, even.ts_ns, np.isfinite(even.values))
    if values.size > MAX_ROWS:
        raise SeriesError(
            f"{values.size} rows at step_s={step_s:g} are more than {MAX_ROWS}; choose a longer step or "
            "a shorter window"
        )
    return _Segments(values, ts_ns)


def _needed(n: int) -> float:
    """Twice the log likelihood which a shift must be worth: for its place among n, its size, and the search over both.

    Stationary series of 1,440 rows with half-lives of 3 to 60 rows gained 18 once in 240, slower ones up to 23: as the
    half-life nears a twelfth of the span, nothing tells a slow excursion from a shift.
    """
    return 2 * math.log(n) + 8


def _shifts(segments: "_Segments") -> Changes:
    needed = _needed(segments.n)

    def score(at: list[int]) -> float:
        return 2 * segments.fit(at).value - needed * len(at)

    # A slow process explains shifts away and a fast one sees too many, and which is right is only known once the shifts
    # are: so places are proposed under half-lives from two rows up, and every proposal is judged by its own best fit.
    at = max(_proposals(segments, needed), key=score)
    for row in list(at):  # each to its best place among the others, and out if it is then not worth its place
        others = [r for r in at if r != row]
        moved = segments.best_place(others, segments.fit(at))
        at = max(([*others, moved] if moved is not None else others, at, others), key=score)
    at = sorted(at)
    best = segments.fit(at)
    gains = [2 * (best.value - segments.fit([r for r in at if r != row]).value) for row in at]
    return Changes(
        segments.ts_ns[at],
        np.array(best.sizes) * segments.scale,
        np.array(gains),
        needed,
        math.log(2) / best.theta,
        segments.n,
    )


def _proposals(segments: "_Segments", needed: float) -> list[list[int]]:
    """No shift, and the first one, two, ... best places under each of several half-lives."""
    found: list[list[int]] = [[]]
    rows = 2.0
    while rows < segments.n / 20:
        at: list[int] = []
        theta = math.log(2) / (rows * segments.step_s)
        process = segments.fit(at, theta)
        while len(at) < MAX_SHIFTS:
            row = segments.best_place(at, process)
            wider = None if row is None else segments.fit([*at, row], theta)
            if wider is None or 2 * (wider.value - process.value) < needed:
                break
            at, process = [*at, row], wider
            found.append(at)
        rows *= 3
    return found


@dataclass(frozen=True, slots=True)
class _Fit:
    value: float
    theta: float
    ratio: float
    sizes: tuple[float, ...]


class _Segments:
    """Likelihood of one series with shifts of the level at given rows; memory of what was fitted."""

    def __init__(self, values: np.ndarray, ts_ns: np.ndarray) -> None:
        self.n, self.ts_ns = values.size, ts_ns
        self.scale = float(values.std())
        self.values = (values - values.mean()) / self.scale
        self.steps = np.diff(ts_ns) / NS
        self.step_s, self.span_s = float(np.median(self.steps)), float(self.steps.sum())
        self._known: dict[tuple, _Fit] = {}

    def fit(self, at: list[int], theta: float | None = None) -> _Fit:
        """The process of greatest likelihood around a level with shifts at these rows; of a given rate, if given."""
        key = tuple(sorted(at)), theta
        if key not in self._known:
            self._known[key] = self._search(*key)
        return self._known[key]

    def best_place(self, at: list[int], process: _Fit) -> int | None:
        """The row where one more shift helps most under the given process; None when there is no room left."""
        columns = np.column_stack((self.values, self._design(at)))
        white, _, gain, root = self._whitened(columns, process.theta, process.ratio)
        basis, _ = np.linalg.qr(white[:, 1:])
        left = white[:, 0] - basis @ (basis.T @ white[:, 0])
        worth = _worth_of_steps(np.exp(-process.theta * self.steps), gain, root, np.column_stack((left, basis)))
        free = np.ones(self.n, dtype=bool)
        for row in (0, *at, self.n):
            free[max(row - MIN_SEGMENT + 1, 0) : row + MIN_SEGMENT] = False
        if not free.any():
            return None
        return int(np.argmax(np.where(free, worth, -1.0)))

    def _design(self, at) -> np.ndarray:
        return np.column_stack((np.ones(self.n), *((np.arange(self.n) >= row).astype(float) for row in sorted(at))))

    def _search(self, at: tuple[int, ...], theta: float | None) -> _Fit:
        columns = np.column_stack((self.values, self._design(at)))
        low, high = math.log(0.1 / self.span_s), math.log(2 * math.log(2) / self.step_s)

        def loss(log_theta: float, log_ratio: float) -> float:
            if not (low <= log_theta <= high and -14 <= log_ratio <= 16):
                return math.inf
            return -self._value(columns, math.exp(log_theta), math.exp(log_ratio))[0]

        thetas = np.linspace(low, high, 8) if theta is None else [math.log(theta)]
        seen = [(t, r) for t in thetas for r in (-4.0, -1.0, 2.0, 5.0, 8.0)]
        log_theta, log_ratio = min(seen, key=lambda p: loss(*p))
        if theta is None:
            simplex = np.array([(log_theta, log_ratio), (log_theta - 0.5, log_ratio), (log_theta, log_ratio - 0.5)])
            options = {"xatol": 1e-3, "fatol": 1e-4, "initial_simplex": simplex}
            log_theta, log_ratio = minimize(lambda p: loss(*p), simplex[0], method="Nelder-Mead", options=options).x
        value, sizes = self._value(columns, math.exp(log_theta), math.exp(log_ratio))
        return _Fit(value, math.exp(log_theta), math.exp(log_ratio), tuple(sizes[1:].tolist()))

    def _value(self, columns: np.ndarray, theta: float, ratio: float) -> tuple[float, np.ndarray]:
        white, log_det, *_ = self._whitened(columns, theta, ratio)
        products = white.T @ white
        sizes = np.linalg.solve(products[1:, 1:], products[1:, 0])
        left = (products[0, 0] - products[0, 1:] @ sizes) / self.n
        return -0.5 * (log_det + self.n * math.log(left)), sizes

    def _whitened(self, columns: np.ndarray, theta: float, ratio: float):
        """Whitened columns, log determinant, and gain and root of the variance of each row."""
        phi = np.exp(-theta * self.steps)
        start = 1 / (2 * theta * self.step_s)
        drive = -np.expm1(-2 * theta * self.steps) * start
        out, gain, root = np.empty_like(columns), np.empty(self.n), np.empty(self.n)
        log_det = compiled(_whiten)(columns, phi, drive, start, ratio, out, gain, root)
        return out, log_det, gain, root


def _whiten(columns, phi, drive, start_var, noise_var, out, gain, root):
    """The filter of `ou` over many columns at once; returns the sum of the logarithms of the variances."""
    n, width = columns.shape
    level = np.zeros(width)
    var, log_det = start_var, 0.0
    for i in range(n):
        if i > 0:
            var = phi[i - 1] * phi[i - 1] * var + drive[i - 1]
            for j in range(width):
                level[j] *= phi[i - 1]
        total = var + noise_var
        root[i], gain[i] = math.sqrt(total), var / total
        log_det += math.log(total)
        for j in range(width):
            off = columns[i, j] - level[j]
            out[i, j] = off / root[i]
            level[j] += gain[i] * off
        var = var * noise_var / total
    return log_det


def _worth_of_steps(phi, gain, root, columns):
    """Twice the log likelihood, at scale 1, of one more step function at each row: by what it has of the first of the
    whitened columns, beside what it shares with the others.

    The filter's surprise at a step is 1 on its first row, and on each next one `change * surprise + rest`, wherever it began.
    So the sums of its squares and products over all later rows are a parabola and straight lines in its surprise at a row, which
    are carried back from the last row: `square s^2 + slope s + level` and `slopes s + levels`.
    """
    powers, products = np.empty(len(gain)), np.empty_like(columns)
    square = slope = level = 0.0
    slopes, levels = np.zeros(columns.shape[1]), np.zeros(columns.shape[1])
    for k in range(len(gain) - 1, -1, -1):
        if k < len(phi):
            change, rest = phi[k] * (1.0 - gain[k]), 1.0 - phi[k]
            level += rest * (rest * square + slope)
            square, slope = change * change * square, change * (2.0 * rest * square + slope)
            slopes, levels = change * slopes, levels + rest * slopes
        square += 1.0 / root[k] ** 2
        slopes = slopes + columns[k] / root[k]
        powers[k], products[k] = square + slope + level, slopes + levels
    powers -= (products[:, 1:] ** 2).sum(axis=1)
    return np.divide(products[:, 0] ** 2, powers, out=np.full(len(gain), -1.0), where=powers > 1e-9)
