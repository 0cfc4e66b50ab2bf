"""Does a spread come back, and how fast: grid, autocorrelation, unit-root tests, variance.

Every question ends in a result object or in a `SeriesError` which says why there is no answer; no function returns a
stand-in number. Times are seconds, time stamps UTC ns, values any unit.

Words. The autocorrelation of the *levels* of a mean-reverting spread is positive and decays: near +1 at short lags.
The autocorrelation of the *differences* near -0.5 at lag 1 is white noise on top (bounce, tick size), not reversion.
One speed, one name: `half_life_s`; the rate of the Ornstein-Uhlenbeck process is theta = ln 2 / half_life_s.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import chdtrc, kolmogorov, ndtr

from delta_arb.errors import SeriesError
from delta_arb.stats.half_life import HalfLife, half_life, half_life_clean, half_life_two_lags_s
from delta_arb.stats.ou import Process
from delta_arb.stats.series import Grid, grid, known_and_varying, lagged_products, require_moving_legs, unbroken

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Autocorrelation", "Clustering", "Grid", "HalfLife", "Signature", "Stationarity", "UnitRootTest", "VarianceChange",
    "adf", "autocorrelation", "clustering", "clustering_of", "grid", "half_life", "half_life_clean",
    "half_life_two_lags_s", "kpss", "require_moving_legs", "signature", "stationarity", "variance_change",
]  # fmt: skip


# --- Autocorrelation -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class Autocorrelation:
    """Autocorrelations at `lags` with the 95 % band of Bartlett: outside +-band, a value is not that of a series whose
    memory ended one lag before."""

    lags: np.ndarray = field(compare=False)
    values: np.ndarray = field(compare=False)
    band: np.ndarray = field(compare=False)
    n: int

    def to_frame(self) -> "pd.DataFrame":
        """Columns `acf` and `band`, indexed by lag."""
        import pandas as pd

        return pd.DataFrame({"acf": self.values, "band": self.band}, index=pd.Index(self.lags, name="lag"))

    def __repr__(self) -> str:
        shown = ", ".join(f"{lag}: {value:.3f}" for lag, value in zip(self.lags[:5], self.values[:5], strict=True))
        return f"Autocorrelation(n={self.n}, {shown}{', ...' if self.lags.size > 5 else ''})"

    def _repr_html_(self) -> str:
        return self.to_frame().to_html(float_format=lambda x: f"{x:.4f}", max_rows=20)


def autocorrelation(x, lags: int | Iterable[int]) -> Autocorrelation:
    """Autocorrelation of an evenly spaced series, gamma(k) / gamma(0), each gamma divided by n and not by n - k.

    Division by n keeps the sequence positive semi-definite. With gaps (NaN) the mean product over the known pairs is
    taken times (n - k) / n, which is the same thing where nothing is missing.
    Band: 1.96 sqrt((1 + 2 sum_{j<k} rho_j^2) / n) (Bartlett 1946).

    Args:
        x: shape (n,), NaN for a gap; levels, or `np.diff` of them, which answers another question (see the module).
        lags: the largest lag (then 1 to that), or the lags wanted, each from 0 to n - 1, in steps of the series.

    Raises:
        SeriesError: fewer than 30 known samples, a constant series, a lag the series is too short for, or a lag at
            which no pair is known.
    """
    x = known_and_varying(x)
    wanted = np.arange(1, lags + 1) if isinstance(lags, (int, np.integer)) else np.array(list(lags), dtype=np.int64)
    if not wanted.size or wanted.min() < 0 or wanted.max() >= x.size:
        raise SeriesError(f"lags must lie in 0 to {x.size - 1} for a series of {x.size}, were {wanted.tolist()[:5]}...")
    known = np.isfinite(x)
    centred = np.where(known, x - np.nanmean(x), 0.0)
    top = int(wanted.max()) + 1
    products, pairs = lagged_products(centred, top), np.rint(lagged_products(known.astype(float), top))
    if (pairs == 0).any():
        raise SeriesError(f"no pair of known values is {int(np.argmin(pairs))} steps apart; ask for shorter lags")
    gamma = products / pairs * (x.size - np.arange(top)) / x.size
    rho = gamma / gamma[0]
    before = np.concatenate(([0.0, 0.0], np.cumsum(rho[1:-1] ** 2)))[:top]
    band = 1.96 * np.sqrt((1 + 2 * before) / known.sum())
    band[0] = 0.0
    return Autocorrelation(wanted, rho[wanted], band[wanted], int(known.sum()))


# --- Signature -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class Signature:
    """Mean squared difference over the lag, measured and fitted: the plot that shows noise and reversion at a glance.

    The value at the shortest lags is twice the noise variance, the plateau twice the variance of everything, the bend
    is the half-life. A random walk never bends, white noise is flat.
    """

    lag_s: np.ndarray = field(compare=False)
    measured: np.ndarray = field(compare=False)
    fitted: np.ndarray = field(compare=False)

    def to_frame(self) -> "pd.DataFrame":
        """Columns `measured` and `fitted`, indexed by lag in seconds."""
        import pandas as pd

        frame = {"measured": self.measured, "fitted": self.fitted}
        return pd.DataFrame(frame, index=pd.Index(self.lag_s, name="lag_s"))


def signature(values, ts_ns, process: Process, step_s: float, valid=None, points: int = 30) -> Signature:
    """E[(y(t + lag) - y(t))^2] on an even grid at up to `points` lags, and the curve of the fitted process.

    Lags run evenly in the logarithm from one step to a quarter of the span; long ones have few independent pairs and
    scatter. Errors are those of `grid` and `autocorrelation`.
    """
    even = grid(values, ts_ns, step_s, valid)
    x = known_and_varying(even.values)
    lags = np.unique(np.geomspace(1, max(x.size // 4, 1), points).round().astype(int))
    squares = [(x[lag:] - x[:-lag]) ** 2 for lag in lags]
    pairs = np.array([np.isfinite(square).any() for square in squares])
    measured = np.array([np.nanmean(square) for square, any_pair in zip(squares, pairs, strict=True) if any_pair])
    lag_s = lags[pairs] * float(step_s)
    return Signature(lag_s, measured, process.difference_variance(lag_s))


# --- Unit-root tests -------------------------------------------------------------------------------------------------

MACKINNON_ENDS, MACKINNON_CUT = (-18.83, 2.74), -1.61  # beyond the ends p is 0 and 1
KPSS_TABLE = (0.347, 0.463, 0.574, 0.739), (0.1, 0.05, 0.025, 0.01)  # statistic and p
MACKINNON_LEFT, MACKINNON_RIGHT = [0.038269, 1.4412, 2.1659], [-0.010368, -0.12745, 0.93202, 1.7339]


@dataclass(frozen=True, slots=True)
class UnitRootTest:
    """One test. `p` may be exactly 0.0: the strongest rejection there is, not an unknown.

    `bound` says how `p` is to be read: "=" as it is, "<=" or ">=" where the printed table of the test ends.
    """

    name: str
    null: str
    statistic: float
    p: float
    bound: str
    lags: int
    n: int

    def rejects(self, level: float = 0.05) -> bool:
        """Whether the null hypothesis is rejected at `level`."""
        return self.p <= level if self.bound == "<=" else self.p < level


@dataclass(frozen=True, slots=True)
class Stationarity:
    """ADF and KPSS of one series, read together; neither means much alone.

    A KPSS that rejects beside an ADF that rejects is the mark of a level shift, and a level shift also hides a
    stationary series from the ADF (Perron 1989): read this next to the half-life's interval and the change points.
    """

    adf: UnitRootTest
    kpss: UnitRootTest
    step_s: float
    span_s: float

    @property
    def verdict(self) -> str:
        """The two tests in words."""
        return {
            (True, False): "reverts: a unit root is rejected, a fixed level is not",
            (False, True): "wanders: a unit root is not rejected, a fixed level is",
            (True, True): "reverts, but not to one level: look for level shifts or a trend",
            (False, False): "not known: the span is too short to tell reversion from wandering",
        }[self.adf.rejects(), self.kpss.rejects()]

    def to_frame(self) -> "pd.DataFrame":
        """One row per test."""
        import pandas as pd

        columns = ("null", "statistic", "bound", "p", "lags", "n")
        rows = {t.name: [getattr(t, c) for c in columns] for t in (self.adf, self.kpss)}
        return pd.DataFrame.from_dict(rows, orient="index", columns=list(columns))

    def _repr_html_(self) -> str:
        return self.to_frame().to_html(float_format=lambda x: f"{x:.4g}") + f"<p>{self.verdict}</p>"


def adf(x, maxlag: int = 12, *, fixed: bool = False) -> UnitRootTest:
    """Augmented Dickey-Fuller test with a constant. Null: a unit root.

    Lags are chosen by BIC up to `maxlag`, or are exactly `maxlag` where they are `fixed`: what BIC leaves out of a series
    with noise on top makes the test reject too often (Schwert 1989, JBES 7(2)), so both are worth a look.

    Give it values one minute apart, not a day of quotes: more rows in the same span add no power, only the span does.

    Raises:
        SeriesError: fewer than 30 samples, a gap, or a series or its differences constant.
    """
    x = unbroken(x)
    if np.ptp(np.diff(x)) == 0:
        raise SeriesError("the series is a straight line, nothing is left to test; check the recording")
    lags = min(maxlag, x.size // 2 - 2)
    lags = lags if fixed else _lags_by_bic(x, lags)
    rows, root = _regressed(x, lags)
    left = abs(root[-1, -1])
    if not left > 1e-10 * np.linalg.norm(root[:, -1]):
        raise SeriesError(f"ADF has no error to test by: {lags} lags say these {x.size} samples exactly")
    if not np.diag(root).all():
        raise SeriesError(f"ADF has no answer for these {x.size} samples: the columns it regresses on say each other")
    level = np.linalg.inv(root[:-1, :-1])[1]
    deviation = np.linalg.norm(level) * left / math.sqrt(rows - lags - 2)
    statistic = float(level @ root[:-1, -1] / deviation)
    return UnitRootTest("ADF", "unit root", statistic, _mackinnon_p(statistic), "=", lags, x.size)


def _regressed(x: np.ndarray, lags: int) -> tuple[int, np.ndarray]:
    """Rows of the test's regression, and the triangle (QR) of its columns: constant, level, lagged differences, difference."""
    steps = np.lib.stride_tricks.sliding_window_view(np.diff(x), lags + 1)
    design = np.column_stack((np.ones(len(steps)), x[lags:-1], steps[:, ::-1][:, 1:], steps[:, -1]))
    return len(steps), np.linalg.qr(design, mode="r")


def _lags_by_bic(x: np.ndarray, most: int) -> int:
    """How many lagged differences have the smallest BIC of the test's regression, all on the rows that `most` leaves."""
    rows, root = _regressed(x, most)
    columns = np.arange(2, most + 3)
    with np.errstate(divide="ignore"):
        bic = rows * np.log(np.cumsum(root[::-1, -1] ** 2)[::-1][columns]) + columns * np.log(rows)
    return int(np.argmin(bic))


def _mackinnon_p(statistic: float) -> float:
    """p of the statistic (MacKinnon 1994, JBES 12(2)), by the table of statsmodels, which takes half a second to load."""
    if not MACKINNON_ENDS[0] <= statistic <= MACKINNON_ENDS[1]:
        return float(statistic > 0)
    return float(ndtr(np.polyval(MACKINNON_LEFT if statistic <= MACKINNON_CUT else MACKINNON_RIGHT, statistic)))


def kpss(x, bandwidth: int | None = None) -> UnitRootTest:
    """KPSS test around a constant. Null: stationary around one level.

    The long-run variance adds up `bandwidth` autocovariances with Bartlett's weights; by default as many as Hobijn, Franses
    and Ooms (1998) choose. Too few of them reject a spread that reverts slowly.

    The printed table ends at 0.01 and 0.10, and p with it: see `bound`. Errors are those of `adf`.
    """
    off = unbroken(x) - np.mean(x)
    n = off.size
    if bandwidth is None:
        powers = _covariances(off, int(n ** (2 / 9)))
        slope = 2 * float(np.arange(powers.size) @ powers) / float(2 * powers.sum() - powers[0])
        bandwidth = min(int(1.1447 * (slope * slope) ** (1 / 3) * n ** (1 / 3)), n - 1)
    if not 0 <= bandwidth < n:
        raise SeriesError(f"KPSS needs a bandwidth from 0 to {n - 1} for {n} samples, was {bandwidth}")
    statistic = float(np.sum(np.cumsum(off) ** 2)) / n**2 / _long_run_variance(off, bandwidth)
    p = float(np.interp(statistic, *KPSS_TABLE))
    return UnitRootTest("KPSS", "one level", statistic, p, {0.01: "<=", 0.1: ">="}.get(p, "="), bandwidth, n)


def _covariances(off: np.ndarray, most: int) -> np.ndarray:
    """Autocovariances at lags 0 to `most` of a series whose mean is zero."""
    return np.array([off[k:] @ off[: off.size - k] for k in range(most + 1)]) / off.size


def _long_run_variance(off: np.ndarray, bandwidth: int) -> float:
    """So many autocovariances with Bartlett's weights."""
    power, *others = _covariances(off, bandwidth)
    return float(power + 2 * (1 - np.arange(1, bandwidth + 1) / (bandwidth + 1)) @ others)


def stationarity(values, ts_ns, valid=None, step_s: float = 60.0, max_gap_s: float = 300.0) -> Stationarity:
    """ADF and KPSS of a column of quotes, on the longest unbroken stretch of its one-minute grid.

    Raises:
        SeriesError: as `grid` and `adf`; in particular fewer than 30 minutes without a gap.
    """
    x = grid(values, ts_ns, step_s, valid, max_gap_s).longest_run()
    return Stationarity(adf(x), kpss(x), float(step_s), (x.size - 1) * float(step_s))


# --- Clustering of volatility ----------------------------------------------------------------------------------------
# Asked of squared innovations, never of raw differences: bid-ask bounce alone makes neighbouring differences depend on
# each other (autocorrelation of their sizes 0.22), and would be called clustering every time.


@dataclass(frozen=True, slots=True)
class Clustering:
    """Engle's ARCH-LM and Ljung-Box of squared innovations; each `p` may be 0.0, the strongest rejection there is."""

    arch_lm: float
    arch_p: float
    ljung_box: float
    ljung_box_p: float
    lags: int
    n: int
    after: str

    def present(self, level: float = 0.05) -> bool:
        """Whether ARCH-LM rejects constant volatility at `level`."""
        return self.arch_p < level


def clustering(x, ar_lags: int = 30, lags: int = 10) -> Clustering:
    """Clustering in the residuals of an autoregression of order `ar_lags`, which takes out reversion and bounce.

    Args:
        x: shape (n,), evenly spaced levels, no NaN (`Grid.longest_run()`).
        ar_lags: with less than some 30, bounce leaks into the residuals: with 10 it raises 8 % false alarms.
        lags: how many squared innovations back the tests look.

    Raises:
        SeriesError: fewer than ten rows per lag of the autoregression, a gap, or a constant series.
    """
    x = unbroken(x)
    if x.size < 10 * ar_lags:
        raise SeriesError(f"need {10 * ar_lags} rows for an autoregression of order {ar_lags}, had {x.size}")
    return clustering_of(_residuals(x - x.mean(), ar_lags), lags, after=f"AR({ar_lags})")


def clustering_of(innovations, lags: int = 10, after: str = "filter") -> Clustering:
    """The same for innovations that are independent already, such as `ou.Filtered.surprise`.

    Raises:
        SeriesError: fewer than 30, a NaN, or all equal.
    """
    innovations = unbroken(innovations)
    if innovations.size < 10 * lags:
        raise SeriesError(f"need {10 * lags} innovations for {lags} lags, had {innovations.size}; record longer")
    squares = innovations**2 - np.mean(innovations**2)
    arch_lm = squares[lags:].size * _explained(squares, lags)
    n, (power, *others) = squares.size, _covariances(squares, lags)
    rho = np.array(others) / power
    ljung_box = n * (n + 2) * float(np.sum(rho**2 / (n - np.arange(1, lags + 1))))
    arch_p, ljung_box_p = (float(p) for p in chdtrc(lags, [arch_lm, ljung_box]))
    return Clustering(arch_lm, arch_p, ljung_box, ljung_box_p, lags, n, after)


def _explained(x: np.ndarray, lags: int) -> float:
    """R squared of x on a constant and its own past."""
    left = _residuals(x, lags)
    total = x[lags:] - x[lags:].mean()
    return 1 - float(left @ left) / float(total @ total)


def _residuals(x: np.ndarray, lags: int) -> np.ndarray:
    past = np.lib.stride_tricks.sliding_window_view(x[:-1], lags)
    design = np.column_stack((np.ones(past.shape[0]), past))
    coefficients, *_ = np.linalg.lstsq(design, x[lags:])
    return x[lags:] - design @ coefficients


# --- Change of variance ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VarianceChange:
    """Whether the variance of a series is another one before and after some row: the most likely one is `at`.

    `before` and `after` are the standard deviations to both sides of it, in the unit of the series.
    """

    statistic: float
    p: float
    at: int
    before: float
    after: float
    n: int

    def present(self, level: float = 0.05) -> bool:
        """Whether one variance is rejected at `level`."""
        return self.p < level


def variance_change(innovations) -> VarianceChange:
    """Cumulative sums of squares of independent innovations, their fourth moments and clustering allowed for.

    sup_k |C_k - (k / n) C_n| / sqrt(n omega), whose limit is the supremum of a Brownian bridge (Kolmogorov's law); omega is
    the long-run variance of the squares (kappa_2 of Sanso, Arago & Carrion 2004, Rev. Econ. Financiera 4, after Inclan &
    Tiao 1994, JASA 89, whose own statistic takes fat tails for a change).

    Raises:
        SeriesError: fewer than 30, a NaN, or all of one size.
    """
    squares = unbroken(innovations) ** 2
    n, off = squares.size, squares - squares.mean()
    omega = _long_run_variance(off, int(4 * (n / 100) ** 0.25))
    if not omega > 0:
        raise SeriesError("all innovations are of one size; nothing is left to test")
    bridge = np.abs(np.cumsum(off))[:-1]
    at = int(np.argmax(bridge)) + 1
    statistic = float(bridge[at - 1]) / math.sqrt(n * omega)
    sides = (math.sqrt(float(part.mean())) for part in (squares[:at], squares[at:]))
    return VarianceChange(statistic, float(kolmogorov(statistic)), at, *sides, n)
