"""What a recorded column must be before a statistic is asked of it: checks, the even grid, legs that moved.

Nothing here repairs a column: what is unusable raises a `SeriesError` that names the row and the remedy.
"""

from dataclasses import dataclass, field

import numpy as np

from delta_arb.errors import SeriesError
from delta_arb.market import NS

MIN_SAMPLES = 30


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
        changes = np.concatenate(([0], np.flatnonzero(column[1:] != column[:-1]) + 1, [column.size - 1]))
        still_s = np.diff(ts_ns[changes]) / NS
        worst = int(np.argmax(still_s))
        if still_s[worst] > max_still_s:
            since = ts_ns[changes[worst]]
            raise SeriesError(
                f"{name} stood still for {still_s[worst]:.6g} s from ts_ns={since}, more than {max_still_s:g} s; "
                "the feed was frozen: mask that time or record again"
            )


def columns(values, ts_ns, valid):
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
    if (back := ts_ns[1:] < ts_ns[:-1]).any():
        raise SeriesError(f"ts_ns falls after row {int(np.argmax(back))}; sort the rows by time first")
    bad = np.flatnonzero(valid & ~np.isfinite(values))
    if bad.size:
        raise SeriesError(f"{bad.size} values are not finite, the first in row {bad[0]}; mask them with valid")
    if ts_ns[0] == ts_ns[-1]:
        raise SeriesError(f"all {values.size} rows have the time stamp {ts_ns[0]}; without time there is no speed")
    last = np.append(ts_ns[1:] > ts_ns[:-1], True)
    return (values, ts_ns, valid) if last.all() else (values[last], ts_ns[last], valid[last])


def known_and_varying(x) -> np.ndarray:
    """`x` as floats, refused when short, infinite or constant; NaN may remain."""
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


def unbroken(x) -> np.ndarray:
    """`known_and_varying` without a NaN."""
    x = known_and_varying(x)
    if not np.isfinite(x).all():
        raise SeriesError(
            f"{int(np.isnan(x).sum())} of {x.size} samples are NaN; take Grid.longest_run() or raise max_gap_s"
        )
    return x


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
        return self.start_ns + np.arange(self.values.size) * round(self.step_s * NS)

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
    values, ts_ns, valid = columns(values, ts_ns, valid)
    step_ns = round(step_s * NS)
    if step_ns <= 0:
        raise SeriesError(f"step_s must be above 0, was {step_s}")
    at_ns = np.arange(ts_ns[0], ts_ns[-1] + 1, step_ns)
    last = np.searchsorted(ts_ns, at_ns, side="right") - 1
    known = valid[last] & (at_ns - ts_ns[last] <= round(max_gap_s * NS))
    return Grid(np.where(known, values[last], np.nan), int(ts_ns[0]), float(step_s), float(max_gap_s))


def lagged_products(x: np.ndarray, top: int) -> np.ndarray:
    """sum_t x[t] x[t + k] for k = 0 .. top - 1, by Fourier transform."""
    size = 1 << (x.size + top - 1).bit_length()
    power = np.abs(np.fft.rfft(x, size)) ** 2
    return np.fft.irfft(power, size)[:top]
