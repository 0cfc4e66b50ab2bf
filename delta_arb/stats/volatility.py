"""Does the volatility of a spread cluster: calm hours and wild hours, beyond what chance gives.

Asked of squared *innovations*, never of raw differences: bid-ask bounce alone makes neighbouring differences depend on
each other (autocorrelation of their sizes 0.22), and would be called clustering every time.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from delta_arb.errors import SeriesError
from delta_arb.stats.series import unbroken


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
    n, power = squares.size, float(squares @ squares)
    rho = np.array([float(squares[lag:] @ squares[:-lag]) for lag in range(1, lags + 1)]) / power
    ljung_box = n * (n + 2) * float(np.sum(rho**2 / (n - np.arange(1, lags + 1))))
    arch_p, ljung_box_p = (float(p) for p in chi2.sf([arch_lm, ljung_box], lags))
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
