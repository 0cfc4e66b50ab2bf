"""Does the basis of a recording come back, and how fast: every question with its answer, or why there is none.

A statistic that the quotes cannot answer is a row "no answer" with the reason, never a number. `reversion` and
`level_shifts` have the methods; here they are asked of one tape, on previous-tick grids that suit each of them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from delta_arb.errors import SeriesError
from delta_arb.market import NS
from delta_arb.quotes.tape import Tape
from delta_arb.stats.basis import KNOWN_S, Basis, basis_of
from delta_arb.stats.half_life import Profile, profile
from delta_arb.stats.level_shifts import Changes, level_shifts
from delta_arb.stats.ou import filtered, fit
from delta_arb.stats.reversion import (  # fmt: skip
    Autocorrelation,
    Clustering,
    Grid,
    HalfLife,
    Signature,
    Stationarity,
    UnitRootTest,
    VarianceChange,
    autocorrelation,
    clustering_of,
    grid,
    half_life,
    half_life_two_lags_s,
    require_moving_legs,
    signature,
    stationarity,
    variance_change,
)
from delta_arb.tables import Table, TableFace, number, seconds, share

FIT_POINTS = 20_000  # only the span bounds the precision of a half-life, so more are not needed
FIT_ROWS = 5  # rows of the slower leg per grid point: closer ones share their noise, which looks like reversion
ACF_STEP_S = 10.0
MAX_STILL_S = 1800.0  # a leg that shows one price for longer is frozen, not quiet
MAX_STILL_BARS = 30  # the same of candles: closes in a row at one price
SHIFT_ROWS = 1500  # the search for shifts takes time with their square


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """What a statistic said, or why it did not."""

    value: object | None
    reason: str = ""


def answered(ask: Callable[[], object]) -> Finding:
    """The answer, or the reason for which there is none; only a `SeriesError` is such a reason."""
    try:
        return Finding(ask())
    except SeriesError as error:
        return Finding(None, str(error))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MeanReversion(TableFace):
    """How the basis of the mids comes back: each an answer or a reason."""

    step_s: float
    acf_step_s: float
    half_life: Finding
    profile: Finding
    signature: Finding
    two_lags: Finding
    stationarity: Finding
    levels: Finding
    differences: Finding
    shifts: Finding
    clustering: Finding
    variance: Finding

    def table(self) -> Table:
        return Table.of(
            "Does it come back, and how fast?", ("question", "answer", "95 % interval or test"), self._rows()
        )

    def _rows(self) -> list[tuple[str, str, str]]:
        return [
            *_process_rows(self.half_life, self.step_s),
            _row("half-life, two lags (cross-check)", self.two_lags, self._checked),
            _row(
                "unit root, ADF",
                self.stationarity,
                lambda s: _tested(s.adf, "no random walk", "it may be a random walk"),
            ),
            _row(
                "one level, KPSS",
                self.stationarity,
                lambda s: _tested(s.kpss, "the level moves", "one level is possible"),
            ),
            _row("shifts of the level", self.shifts, _shifted),
            _row("autocorrelation of differences, lag 1", self.differences, _noisy),
            _row("clustering of volatility", self.clustering, _clustered),
            _row("change of variance", self.variance, _changed),
        ]

    def _checked(self, half_life_s: float) -> tuple[str, str]:
        """The cross-check beside the interval it should lie in."""
        h: HalfLife | None = self.half_life.value
        if h is None:
            return seconds(half_life_s), "the likelihood gives no answer: do not rely on this alone"
        inside = h.low_s <= half_life_s <= h.high_s
        return seconds(
            half_life_s
        ), "agrees: inside the interval" if inside else "outside the interval: more than one speed, or shared noise"

    @property
    def verdict(self) -> str:
        """The tests and the half-life, read together."""
        s: Stationarity | None = self.stationarity.value
        h: HalfLife | None = self.half_life.value
        tests = f"The tests say: {s.verdict}." if s else f"The tests give no answer: {self.stationarity.reason}."
        speed = (
            f"It comes half-way back in {seconds(h.half_life_s)} ({interval(h)}); {h.bound}."
            if h
            else f"No speed can be given: {self.half_life.reason}."
        )
        return f"{tests} {speed}"


def _process_rows(answer: Finding, step_s: float) -> list[tuple[str, str, str]]:
    h: HalfLife | None = answer.value
    if h is None:
        return [("half-life, OU under noise", "no answer", answer.reason)]
    noise = f"new at each of {h.n:,} points, {step_s:g} s apart"
    return [
        ("half-life, OU under noise", seconds(h.half_life_s), interval(h)),
        ("best precision of this span", share(h.best_relative_sd), h.bound),
        ("mean of the basis", number(h.process.mean, 1, unit="bps"), ""),
        ("standard deviation of the process", number(h.process.sd, 1, unit="bps"), ""),
        ("noise on top", number(h.process.noise_sd, 1, unit="bps"), noise),
    ]


def interval(h: HalfLife) -> str:
    """The 95 % interval of a half-life."""
    return f"{seconds(h.low_s)} to {seconds(h.high_s)}"


def _row(name: str, answer: Finding, say: Callable[..., tuple[str, str]]) -> tuple[str, str, str]:
    return (name, "no answer", answer.reason) if answer.value is None else (name, *say(answer.value))


def _tested(test: UnitRootTest, rejected: str, kept: str) -> tuple[str, str]:
    p = _p(test.p) if test.bound == "=" else f"p {test.bound} {test.p:.3f}"
    verdict = f"rejected: {rejected}" if test.rejects() else f"not rejected: {kept}"
    return p, f"{verdict} ({test.lags} lags)"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p {value:.3f}"


def _shifted(found: Changes) -> tuple[str, str]:
    sizes = ", ".join(f"{size:+.1f}" for size in found.size[:4])
    return f"{found.size.size}", f"{sizes} bps" if sizes else "one level explains the recording"


def _noisy(acf: Autocorrelation) -> tuple[str, str]:
    return number(float(acf.values[0])), "near -0.5: noise, not reversion"


def _clustered(found: Clustering) -> tuple[str, str]:
    return _p(found.arch_p), (
        "calm and wild hours take turns, ARCH-LM" if found.present() else "none beyond chance, ARCH-LM"
    )


def _changed(found: VarianceChange) -> tuple[str, str]:
    if not found.present():
        return _p(found.p), "one size of surprises explains the recording"
    return _p(found.p), f"surprises went from {found.before:.2g} to {found.after:.2g} standard deviations"


def mean_reversion(basis: Basis) -> MeanReversion:
    """All that is asked about the return of the basis, on previous-tick grids of its mids."""
    span_s = (basis.ts_ns[-1] - basis.ts_ns[0]) / NS
    step_s = fit_step_s(basis)
    column, speed_ = (basis.basis_bps, basis.ts_ns), answered(lambda: speed(basis))
    acf_step_s = max(ACF_STEP_S, basis.bar_s)
    acf = answered(lambda: autocorrelation(_even(basis, acf_step_s), _lags(span_s, acf_step_s)))
    return MeanReversion(
        step_s=step_s,
        acf_step_s=acf_step_s,
        half_life=speed_,
        profile=Finding(None, speed_.reason)
        if speed_.value is None
        else answered(lambda: _profile(basis, speed_.value)),
        signature=answered(lambda: _signature(basis, speed_.value)),
        two_lags=answered(lambda: half_life_two_lags_s(*column, max(acf_step_s, step_s), basis.known)),
        stationarity=answered(lambda: tested(basis)),
        levels=acf,
        differences=answered(lambda: autocorrelation(np.diff(_even(basis, step_s)), 1)),
        shifts=answered(lambda: level_shifts(*column, basis.known, _shift_step_s(basis, span_s))),
        clustering=_of_surprises(basis, speed_, clustering_of),
        variance=_of_surprises(basis, speed_, variance_change),
    )


def _of_surprises(basis: Basis, speed_: Finding, test: Callable[[np.ndarray], object]) -> Finding:
    if speed_.value is None:
        return Finding(None, speed_.reason)
    return answered(lambda: test(_surprises(basis, speed_.value)))


def fit_step_s(basis: Basis) -> float:
    """Step of the grid on which the half-life is fitted: some rows of the slower leg, at least a second."""
    span_s = (basis.ts_ns[-1] - basis.ts_ns[0]) / NS
    if basis.bar_s:  # every close is a trade of its own: neighbours share no noise
        return basis.bar_s * max(1.0, float(np.ceil(span_s / basis.bar_s / FIT_POINTS)))
    rows = max(1, min(basis.rows))
    return max(1.0, float(np.ceil(span_s / FIT_POINTS)), float(np.round(FIT_ROWS * span_s / rows)))


def mids(tape: Tape) -> Basis:
    """The basis of a tape's mids, of candles of the closes; no costs, nothing called fresh."""
    return basis_of(tape, 0.0, KNOWN_S)


def tested(basis: Basis) -> Stationarity:
    """ADF and KPSS of the basis of the mids on one-minute values, of candles on their closes.

    Raises:
        SeriesError: as `stationarity`.
    """
    return stationarity(basis.basis_bps, basis.ts_ns, basis.known, *minutes(basis))


def _fit_grid(basis: Basis) -> Grid:
    return grid(basis.basis_bps, basis.ts_ns, fit_step_s(basis), basis.known, basis.known_s)


def speed(basis: Basis, *, interval: bool = True) -> HalfLife:
    """The half-life of the basis of the mids, fitted on an even grid; refused where a leg stood still.

    Not on the ticks: between two rows of the quiet leg its error stays the same, and the fit takes what is left of it
    in the next row for reversion. On the sample the ticks give 6.5 min where 10 min were put in, this grid 10.4.
    """
    require_moving(basis)
    return speed_of_moving(basis, interval=interval)


def speed_of_moving(basis: Basis, *, interval: bool = True) -> HalfLife:
    """The same where both legs are known to have moved."""
    even = _fit_grid(basis)
    return half_life(even.values, even.ts_ns, np.isfinite(even.values), interval=interval)


def require_moving(basis: Basis) -> None:
    """Refuse a basis one of whose legs stood still: by time, of candles by closes in a row (an outage has none).

    Raises:
        SeriesError: names the leg, since when, and for how long.
    """
    if not basis.bar_s:
        require_moving_legs(basis.ts_ns, MAX_STILL_S, spot=basis.spot_mid, perp=basis.perp_mid)
        return
    ts_ns = basis.ts_ns[basis.known]
    for leg, column in (("spot", basis.spot_mid[basis.known]), ("perp", basis.perp_mid[basis.known])):
        starts = np.flatnonzero(np.append(True, np.diff(column) != 0))[: column.size]
        bars = np.diff(np.append(starts, column.size))
        if bars.size and bars.max() > MAX_STILL_BARS:
            raise SeriesError(
                f"{leg} closed {bars.max()} bars in a row at one price from ts_ns={ts_ns[starts[bars.argmax()]]}, more "
                f"than {MAX_STILL_BARS}; the feed was frozen: leave that time out, or give longer bars"
            )


def _profile(basis: Basis, found: HalfLife) -> Profile:
    even = _fit_grid(basis)
    return profile(even.values, even.ts_ns, found, np.isfinite(even.values))


def _signature(basis: Basis, found: HalfLife | None) -> Signature:
    """Measured on the grid of the fit; without a half-life `fitted` is the plain maximum, which is not to be shown."""
    require_moving(basis)
    even, step_s = _fit_grid(basis), fit_step_s(basis)
    known = np.isfinite(even.values)
    process = found.process if found else fit(even.values, even.ts_ns, known)
    return signature(even.values, even.ts_ns, process, step_s, known)


def _surprises(basis: Basis, found: HalfLife) -> np.ndarray:
    """Innovations of the fitted process: what is left when reversion and noise are taken out."""
    even = _fit_grid(basis)
    return filtered(even.values, even.ts_ns, found.process, np.isfinite(even.values)).surprise


def _even(basis: Basis, step_s: float) -> np.ndarray:
    return grid(basis.basis_bps, basis.ts_ns, step_s, basis.known, basis.known_s).values


def _lags(span_s: float, step_s: float) -> int:
    """Lags of up to an hour and a half (of candles 540 bars), at most a quarter of the span."""
    return int(max(2, min(5400.0 * step_s / ACF_STEP_S, span_s / 4) // step_s))


def minutes(basis: Basis) -> tuple[float, float]:
    """Step and longest gap of the one-minute grid; of candles one bar, and five."""
    return (max(60.0, basis.bar_s), max(300.0, 5 * basis.bar_s)) if basis.bar_s else (60.0, 300.0)


def _shift_step_s(basis: Basis, span_s: float) -> float:
    """Minutes, or bars, so few that the search for shifts stays short."""
    step_s = max(60.0, basis.bar_s)
    return step_s * math.ceil(span_s / step_s / SHIFT_ROWS)
