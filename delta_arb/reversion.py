"""Does a spread come back, and how fast: grid, autocorrelation, unit-root tests, half-life.

Every question ends in a result object or in a `SeriesError` which says why there is no answer; no function returns a
stand-in number. Times are seconds, time stamps UTC ns, values any unit.

Words. The autocorrelation of the *levels* of a mean-reverting spread is positive and decays: near +1 at short lags.
The autocorrelation of the *differences* near -0.5 at lag 1 is white noise on top (bounce, tick size), not reversion.
One speed, one name: `half_life_s`; the rate of the Ornstein-Uhlenbeck process is theta = ln 2 / half_life_s.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
import warnings

import numpy as np

from delta_arb.errors import SeriesError
from delta_arb.spread import NS_PER_S

if TYPE_CHECKING:
    import pandas as pd

MIN_SAMPLES = 30


# --- The even grid ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class Grid:
    """A column on an even grid: `values[k]` is what was in force at `start_ns + k * step_s`; NaN where nothing was."""

    values: np.ndarray = field(compare=False)
    start_ns: int
    step_s: float
    max_gap_s: float

    @property
    def ts_ns(self) -> np.ndarray:
        """Time stamps of the grid points, UTC ns."""
        return self.start_ns + np.arange(self.values.size) * round(self.step_s * NS_PER_S)

    @property
    def known_share(self) -> float:
        """Share of grid points with a value."""
        return float(np.isfinite(self.values).mean())

    def longest_run(self) -> np.ndarray:
        """The longest unbroken stretch of known values: what a method takes that cannot bridge a gap."""
        known = np.concatenate(([0], np.isfinite(self.values).astype(np.int8), [0]))
        starts, ends = np.flatnonzero(np.diff(known) == 1), np.flatnonzero(np.diff(known) == -1)
        if not starts.size:
            raise SeriesError("no grid point has a value; check the mask and max_gap_s")
        best = int(np.argmax(ends - starts))
        return self.values[starts[best] : ends[best]]

    def __repr__(self) -> str:
        return f"Grid(n={self.values.size}, step_s={self.step_s:g}, known_share={self.known_share:.3f})"


def grid(values, ts_ns, step_s: float, valid=None, max_gap_s: float = 300.0) -> Grid:
    """The last value known at each point of an even grid (previous tick: nothing of the future is used).

    The grid begins at the first time stamp and ends at or before the last one. A point is NaN when the last row before
    it is not `valid`, or is older than `max_gap_s`: a gap is not filled with a value nobody confirmed. What follows
    treats a NaN as stated there: `autocorrelation` averages over the pairs that are known, the unit-root tests take
    `longest_run`.

    Args:
        values: shape (n,); NaN only where `valid` is false.
        ts_ns: shape (n,), UTC ns, not falling; of several rows with one time stamp the last counts.
        step_s: distance of the grid points, seconds, above 0.

    Raises:
        SeriesError: unusable columns, or all rows at one time.
    """
    values, ts_ns, valid = _columns(values, ts_ns, valid)
    step_ns = round(step_s * NS_PER_S)
    if step_ns <= 0:
        raise SeriesError(f"step_s must be above 0, was {step_s}")
    at_ns = np.arange(ts_ns[0], ts_ns[-1] + 1, step_ns)
    last = np.searchsorted(ts_ns, at_ns, side="right") - 1
    known = valid[last] & (at_ns - ts_ns[last] <= round(max_gap_s * NS_PER_S))
    return Grid(np.where(known, values[last], np.nan), int(ts_ns[0]), float(step_s), float(max_gap_s))


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
        shown = ", ".join(f"{lag}: {value:.3f}" for lag, value in zip(self.lags[:5], self.values[:5]))
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
    x = _known_and_varying(x)
    wanted = np.arange(1, lags + 1) if isinstance(lags, (int, np.integer)) else np.array(list(lags), dtype=np.int64)
    if not wanted.size or wanted.min() < 0 or wanted.max() >= x.size:
        raise SeriesError(f"lags must lie in 0 to {x.size - 1} for a series of {x.size}, were {wanted.tolist()[:5]}...")
    known = np.isfinite(x)
    centred = np.where(known, x - np.nanmean(x), 0.0)
    top = int(wanted.max()) + 1
    products, pairs = _lagged_products(centred, top), np.rint(_lagged_products(known.astype(float), top))
    if (pairs == 0).any():
        raise SeriesError(f"no pair of known values is {int(np.argmin(pairs))} steps apart; ask for shorter lags")
    gamma = products / pairs * (x.size - np.arange(top)) / x.size
    rho = gamma / gamma[0]
    before = np.concatenate(([0.0, 0.0], np.cumsum(rho[1:-1] ** 2)))[:top]
    band = 1.96 * np.sqrt((1 + 2 * before) / known.sum())
    band[0] = 0.0
    return Autocorrelation(wanted, rho[wanted], band[wanted], int(known.sum()))


def _lagged_products(x: np.ndarray, top: int) -> np.ndarray:
    """sum_t x[t] x[t + k] for k = 0 .. top - 1."""
    size = 1 << (x.size + top - 1).bit_length()
    power = np.abs(np.fft.rfft(x, size)) ** 2
    return np.fft.irfft(power, size)[:top]


# --- Unit-root tests -------------------------------------------------------------------------------------------------


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


def adf(x, maxlag: int = 12) -> UnitRootTest:
    """Augmented Dickey-Fuller test with a constant, lags chosen by BIC up to `maxlag`. Null: a unit root.

    Give it values one minute apart, not a day of quotes: more rows in the same span add no power, only the span does,
    and the lag search on 86,400 rows takes half a minute.

    Raises:
        SeriesError: fewer than 30 samples, a gap, or a series or its differences constant.
    """
    from statsmodels.tsa.stattools import adfuller

    x = _unbroken(x)
    if np.ptp(np.diff(x)) == 0:
        raise SeriesError("the series is a straight line, nothing is left to test; check the recording")
    result = _translated("ADF", adfuller, x, maxlag=min(maxlag, x.size // 2 - 2), autolag="BIC", result_object=True)
    lags = int(result.lags)
    return UnitRootTest("ADF", "unit root", float(result.statistic), float(result.pvalue), "=", lags, x.size)


def kpss(x) -> UnitRootTest:
    """KPSS test around a constant, lags by Hobijn, Franses and Ooms (1998). Null: stationary around one level.

    The printed table ends at 0.01 and 0.10, and p with it: see `bound`. Errors are those of `adf`.
    """
    from statsmodels.tools.sm_exceptions import InterpolationWarning
    from statsmodels.tsa.stattools import kpss as statsmodels_kpss

    x = _unbroken(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InterpolationWarning)  # said by `bound` instead
        result = _translated("KPSS", statsmodels_kpss, x, regression="c", nlags="auto", result_object=True)
    p = float(result.pvalue)
    bound = {0.01: "<=", 0.1: ">="}.get(p, "=")
    return UnitRootTest("KPSS", "one level", float(result.statistic), p, bound, int(result.lags), x.size)


def stationarity(values, ts_ns, valid=None, step_s: float = 60.0, max_gap_s: float = 300.0) -> Stationarity:
    """ADF and KPSS of a column of quotes, on the longest unbroken stretch of its one-minute grid.

    Raises:
        SeriesError: as `grid` and `adf`; in particular fewer than 30 minutes without a gap.
    """
    x = grid(values, ts_ns, step_s, valid, max_gap_s).longest_run()
    return Stationarity(adf(x), kpss(x), float(step_s), (x.size - 1) * float(step_s))


def _translated(name: str, test, x: np.ndarray, **settings):
    try:
        result = test(x, **settings)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise SeriesError(f"{name} has no answer for these {x.size} samples: {error}") from error
    if not (np.isfinite(result.statistic) and np.isfinite(result.pvalue)):
        raise SeriesError(f"{name} has no finite statistic for these {x.size} samples; check them for constant stretches")
    return result


# --- What a series must be -------------------------------------------------------------------------------------------


def require_moving_legs(ts_ns, max_still_s: float, **prices) -> None:
    """Refuse a spread one of whose legs stood still: what is left is then the price of the other leg.

    Args:
        ts_ns: shape (n,), UTC ns, not falling.
        max_still_s: the longest time a leg may show one price, seconds.
        prices: each leg's column by its name, for example `spot=..., perp=...`; shape (n,).

    Raises:
        SeriesError: names the leg that stood still, since when and for how long.
    """
    ts_ns = np.asarray(ts_ns)
    for name, column in prices.items():
        column = np.asarray(column)
        changes = np.concatenate(([0], np.flatnonzero(np.diff(column) != 0) + 1, [column.size - 1]))
        still_s = np.diff(ts_ns[changes]) / NS_PER_S
        worst = int(np.argmax(still_s))
        if still_s[worst] > max_still_s:
            since = ts_ns[changes[worst]]
            raise SeriesError(
                f"{name} stood still for {still_s[worst]:.6g} s from ts_ns={since}, more than {max_still_s:g} s; "
                "the feed was frozen: mask that time or record again"
            )


def _columns(values, ts_ns, valid):
    """The three columns checked; of several rows with one time stamp only the last is kept."""
    values, ts_ns = np.asarray(values, dtype=np.float64), np.asarray(ts_ns)
    if values.ndim != 1 or values.shape != ts_ns.shape or not values.size:
        raise SeriesError(f"values and ts_ns must be columns of one length above 0, were {values.shape}, {ts_ns.shape}")
    if not np.issubdtype(ts_ns.dtype, np.integer):
        raise SeriesError(f"ts_ns must be whole nanoseconds, was {ts_ns.dtype}; convert with astype('int64')")
    ts_ns = ts_ns.astype(np.int64, copy=False)
    valid = np.ones(values.size, dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
    if valid.shape != values.shape:
        raise SeriesError(f"valid must have the {values.size} rows of values, had shape {valid.shape}")
    if (np.diff(ts_ns) < 0).any():
        raise SeriesError(f"ts_ns falls after row {int(np.argmax(np.diff(ts_ns) < 0))}; sort the rows by time first")
    bad = np.flatnonzero(valid & ~np.isfinite(values))
    if bad.size:
        raise SeriesError(f"{bad.size} values are not finite, the first in row {bad[0]}; mask them with valid")
    if ts_ns[0] == ts_ns[-1]:
        raise SeriesError(f"all {values.size} rows have the time stamp {ts_ns[0]}; without time there is no speed")
    last = np.append(np.diff(ts_ns) > 0, True)
    return values[last], ts_ns[last], valid[last]


def _known_and_varying(x) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 1:
        raise SeriesError(f"x must be one column, had shape {x.shape}")
    if np.isinf(x).any():
        raise SeriesError("x holds infinite values; mask the rows they come from")
    known = x[np.isfinite(x)]
    if known.size < MIN_SAMPLES:
        raise SeriesError(f"need at least {MIN_SAMPLES} known samples, had {known.size}; record longer")
    if np.ptp(known) <= 1e-12 * np.abs(known).max():
        raise SeriesError(f"the series is constant at {known[0]:.6g}; a frozen feed, or nothing to measure")
    return x


def _unbroken(x) -> np.ndarray:
    x = _known_and_varying(x)
    if not np.isfinite(x).all():
        raise SeriesError(
            f"{int(np.isnan(x).sum())} of {x.size} samples are NaN; take Grid.longest_run() or raise max_gap_s"
        )
    return x
