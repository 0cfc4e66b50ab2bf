"""The basis of a tape, in bps and in time: what notebook 01 asks of a recording before anybody trades it.

Two masks, because two questions. `known`: both books are two-sided and were confirmed within a minute, so their mids
say where the basis is. `fresh`: both are young enough (max_quote_age_s) that a decision could have been made on them.
A statistic that the quotes cannot answer is a row "no answer" with the reason, never a number.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import spread
from .errors import SeriesError
from .faces import NOTHING, Findings, Table, number, seconds, share
from .market import NS, PERP, SPOT
from .reversion import (
    HalfLife,
    Stationarity,
    autocorrelation,
    grid,
    half_life,
    half_life_two_lags_s,
    stationarity,
)
from .spread import Distribution, Episodes, to_bps
from .tape import Tape

SEEN_S = 10.0  # an edge seen on fresh books counts until the next fresh ones, at most this long
KNOWN_S = 60.0  # a leg silent for longer says nothing about the basis
FIT_POINTS = 20_000  # only the span bounds the precision of a half-life, so more are not needed
FIT_ROWS = (
    5  # rows of the slower leg per grid point: closer ones share their noise, and shared noise looks like reversion
)
ACF_STEP_S = 10.0
SHOWN = ("p1", "p5", "p25", "p50", "p75", "p95", "p99")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Basis:
    """Basis of the mids, edge of opening and cost of closing in bps at every event of a tape; arrays of shape (n,)."""

    ts_ns: np.ndarray
    spot_mid: np.ndarray
    perp_mid: np.ndarray
    basis_bps: np.ndarray
    entry_bps: np.ndarray
    exit_bps: np.ndarray
    known: np.ndarray
    fresh: np.ndarray
    max_quote_age_s: float
    fees_bps: float
    rows: tuple[int, int]  # of the spot leg and of the perpetual

    def __repr__(self) -> str:
        known, fresh = float(self.known.mean()), float(self.fresh.mean())
        masks = f"known at {known:.1%}, fresh at {fresh:.1%} of them"
        return f"Basis({self.ts_ns.size:,} events, {masks}, four fees {self.fees_bps:g} bps)"

    def plot(self, inputs):
        """Both legs and the basis over time."""
        from . import plots

        return plots.legs(self, inputs)

    def distributions(self) -> dict[str, Distribution]:
        """Time-weighted distributions; those of the two edges count only moments at which a decision was possible."""
        return {
            "basis of the mids": spread.distribution(self.basis_bps, self.ts_ns, self.known, KNOWN_S),
            "entry_edge": spread.distribution(self.entry_bps, self.ts_ns, self.fresh, self.max_quote_age_s),
            "exit_cost": spread.distribution(self.exit_bps, self.ts_ns, self.fresh, self.max_quote_age_s),
        }


def of(tape: Tape, inputs, max_quote_age_s: float) -> Basis:
    """The basis of a tape; `inputs` gives the fees."""
    spot, perp = inputs.instruments()
    return _measured(tape, to_bps(spread.round_trip_fees(spot.taker_fee, perp.taker_fee)), max_quote_age_s)


def _measured(tape: Tape, fees_bps: float, max_quote_age_s: float) -> Basis:
    two_sided = (tape.spot_bid < tape.spot_ask) & (tape.perp_bid < tape.perp_ask)
    for bid_qty, ask_qty in ((tape.spot_bid_qty, tape.spot_ask_qty), (tape.perp_bid_qty, tape.perp_ask_qty)):
        two_sided &= np.minimum(bid_qty, ask_qty) > 0
    age_ns = np.maximum(tape.spot_age_ns, tape.perp_age_ns)
    spot_mid, perp_mid = spread.mid(tape.spot_bid, tape.spot_ask), spread.mid(tape.perp_bid, tape.perp_ask)
    return Basis(
        ts_ns=tape.ts_ns,
        spot_mid=spot_mid,
        perp_mid=perp_mid,
        basis_bps=to_bps(spread.basis(spot_mid, perp_mid)),
        entry_bps=to_bps(spread.entry_edge(tape.spot_ask, tape.perp_bid)),
        exit_bps=to_bps(spread.exit_cost(tape.spot_bid, tape.perp_ask)),
        known=two_sided & (age_ns <= KNOWN_S * NS),
        fresh=two_sided & (age_ns <= max_quote_age_s * NS),
        max_quote_age_s=max_quote_age_s,
        fees_bps=fees_bps,
        rows=(int(np.count_nonzero(tape.leg == SPOT)), int(np.count_nonzero(tape.leg == PERP))),
    )


# --- distribution and episodes ---------------------------------------------------------------------------------------


def percentiles(basis: Basis) -> Table:
    """Mean, standard deviation and percentiles of the three columns, bps."""
    try:
        rows = [
            (name, number(d.mean, 1), number(d.sd, 1), *(number(getattr(d, p), 1) for p in SHOWN))
            for name, d in basis.distributions().items()
        ]
    except SeriesError as error:
        return Table.of("Distribution in time, bps", ("", "no answer"), [("all", str(error))])
    note = (
        "Each value counts for the time it was in force. The edges count only while both books were at most "
        f"{basis.max_quote_age_s:g} s old; "
        f"the basis while both were confirmed within {KNOWN_S:g} s."
    )
    return Table.of("Distribution in time, bps", ("", "mean", "sd", *SHOWN), rows, note)


@dataclass(frozen=True, slots=True)
class Reach:
    """What a round trip gains between a good entry (95th percentile) and a good exit (5th), against the fees."""

    entry_bps: float
    exit_bps: float
    fees_bps: float

    @property
    def left_bps(self) -> float:
        return self.entry_bps - self.exit_bps - self.fees_bps

    def __str__(self) -> str:
        verdict = "more than" if self.left_bps > 0 else "not more than"
        return (
            f"Opening at the 95th percentile ({self.entry_bps:.1f} bps) and closing at the 5th ({self.exit_bps:.1f} "
            f"bps) gains {self.entry_bps - self.exit_bps:.1f} bps, {verdict} the four fees of {self.fees_bps:g} bps."
        )


def reach(basis: Basis) -> Reach | None:
    """None where no book pair was ever fresh."""
    try:
        found = basis.distributions()
    except SeriesError:
        return None
    return Reach(found["entry_edge"].p95, found["exit_cost"].p5, basis.fees_bps)


def above_costs(basis: Basis) -> dict[str, Episodes]:
    """Stretches in which opening would have paid the four fees, for three assumptions about the closing, bps."""
    try:
        exits = basis.distributions()["exit_cost"]
    except SeriesError:
        return {}
    levels = {
        "closing at its best 5 %": exits.p5,
        "closing at its median": exits.p50,
        "closing at no cost": 0.0,
    }
    seen = basis.entry_bps[basis.fresh], basis.ts_ns[basis.fresh]
    return {name: spread.episodes(*seen, basis.fees_bps + level, max_hold_s=SEEN_S) for name, level in levels.items()}


def episodes(basis: Basis, latency_s: float) -> Table:
    """Episodes above costs: how many, how long, how many outlast the way of an order."""
    found = above_costs(basis)
    span_s = (basis.ts_ns[-1] - basis.ts_ns[0]) / NS
    rows = [
        (
            name,
            number(e.level, 1),
            f"{e.count:,}",
            share(e.durations_s.sum() / span_s, 1),
            seconds(e.median_s),
            seconds(e.p90_s),
            seconds(e.longest_s),
            share(float(np.mean(e.durations_s > latency_s)) if e.count else None),
        )
        for name, e in found.items()
    ] or [("no event has fresh books on both legs", *[NOTHING] * 7)]
    columns = (
        "opening pays the fees and",
        "entry_edge from, bps",
        "episodes",
        "of the time",
        "median",
        "90 %",
        "longest",
        f"outlast {latency_s:g} s",
    )
    note = (
        f"Seen at the events with both books at most {basis.max_quote_age_s:g} s old. An episode ends with the first "
        f"one below the level, or when {SEEN_S:g} s bring none."
    )
    return Table.of("Episodes above costs", columns, rows, note)


# --- does it come back, and how fast ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a statistic said, or why it did not."""

    value: object | None
    reason: str = ""


def answered(ask: Callable[[], object]) -> Answer:
    """The answer, or the reason for which there is none; only a `SeriesError` is such a reason."""
    try:
        return Answer(ask())
    except SeriesError as error:
        return Answer(None, str(error))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Reversion:
    """How the basis of the mids comes back: each an answer or a reason."""

    step_s: float
    half_life: Answer
    two_lags: Answer
    stationarity: Answer
    levels: Answer
    differences: Answer

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def table(self) -> Table:
        return Table.of(
            "Does it come back, and how fast?", ("question", "answer", "95 % interval or test"), self._rows()
        )

    def plot(self, inputs):
        """Autocorrelation of the levels, with what the fitted process implies."""
        from . import plots

        return plots.memory(self, inputs)

    def _rows(self) -> list[tuple[str, str, str]]:
        rows = []
        h: HalfLife | None = self.half_life.value
        if h is None:
            rows.append(("half-life, OU under noise", "no answer", self.half_life.reason))
        else:
            p = h.process
            rows.append(("half-life, OU under noise", seconds(h.half_life_s), _interval(h)))
            rows.append(
                (
                    "best precision of this span",
                    share(h.best_relative_sd),
                    "relative standard deviation, sqrt(2 / (theta T))",
                )
            )
            rows.append(("mean of the basis", number(p.mean, 1, unit="bps"), ""))
            rows.append(("standard deviation of the process", number(p.sd, 1, unit="bps"), ""))
            rows.append(
                (
                    "noise on top",
                    number(p.noise_sd, 1, unit="bps"),
                    f"new at each of the {h.n:,} points, {self.step_s:g} s apart",
                )
            )
        rows.append(_row("half-life, two lags (cross-check)", self.two_lags, lambda v: (seconds(v), "")))
        rows.append(
            _row(
                "unit root, ADF",
                self.stationarity,
                lambda s: (f"p {_p(s.adf)}", "rejected" if s.adf.rejects() else "not rejected"),
            )
        )
        rows.append(
            _row(
                "one level, KPSS",
                self.stationarity,
                lambda s: (f"p {_p(s.kpss)}", "rejected" if s.kpss.rejects() else "not rejected"),
            )
        )
        rows.append(
            _row(
                "autocorrelation of differences, lag 1",
                self.differences,
                lambda a: (number(a.values[0], 2), "near -0.5: noise, not reversion"),
            )
        )
        return rows

    @property
    def verdict(self) -> str:
        """The tests and the half-life, read together."""
        s: Stationarity | None = self.stationarity.value
        h: HalfLife | None = self.half_life.value
        tests = f"The tests say: {s.verdict}." if s else f"The tests give no answer: {self.stationarity.reason}."
        speed = (
            f"It comes half-way back in {seconds(h.half_life_s)} ({_interval(h)}); {h.bound}."
            if h
            else f"No speed can be given: {self.half_life.reason}."
        )
        return f"{tests} {speed}"


def _interval(h: HalfLife) -> str:
    return f"{seconds(h.low_s)} to {seconds(h.high_s)}"


def _row(name: str, answer: Answer, say: Callable[..., tuple[str, str]]) -> tuple[str, str, str]:
    return (name, "no answer", answer.reason) if answer.value is None else (name, *say(answer.value))


def _p(test) -> str:
    return f"{'' if test.bound == '=' else test.bound + ' '}{test.p:.3f}"


def reversion(basis: Basis) -> Reversion:
    """All that is asked about the return of the basis, on previous-tick grids of its mids."""
    span_s = (basis.ts_ns[-1] - basis.ts_ns[0]) / NS
    step_s = fit_step_s(basis)
    column = basis.basis_bps, basis.ts_ns
    acf = answered(lambda: autocorrelation(_even(basis), _lags(span_s)))
    return Reversion(
        step_s=step_s,
        half_life=answered(lambda: speed(basis)),
        two_lags=answered(lambda: half_life_two_lags_s(*column, max(ACF_STEP_S, step_s), basis.known)),
        stationarity=answered(lambda: stationarity(*column, basis.known)),
        levels=acf,
        differences=answered(lambda: autocorrelation(np.diff(grid(*column, step_s, basis.known, KNOWN_S).values), 1)),
    )


def fit_step_s(basis: Basis) -> float:
    """Step of the grid on which the half-life is fitted: some rows of the slower leg, at least a second."""
    span_s = (basis.ts_ns[-1] - basis.ts_ns[0]) / NS
    rows = max(1, min(basis.rows))
    return max(1.0, float(np.ceil(span_s / FIT_POINTS)), float(np.round(FIT_ROWS * span_s / rows)))


def half_life_of(tape: Tape) -> HalfLife:
    """The half-life of the basis of a tape's mids; raises SeriesError where there is none."""
    return speed(_measured(tape, 0.0, KNOWN_S))


def speed(basis: Basis) -> HalfLife:
    """The half-life of the basis of the mids, fitted on an even grid.

    Not on the ticks: between two rows of the quiet leg its error stays the same, and the fit takes what is left of it
    in the next row for reversion. On the sample the ticks give 6.5 min where 10 min were put in, this grid 10.4.
    """
    even = grid(basis.basis_bps, basis.ts_ns, fit_step_s(basis), basis.known, KNOWN_S)
    return half_life(even.values, even.ts_ns, np.isfinite(even.values))


def _even(basis: Basis) -> np.ndarray:
    return grid(basis.basis_bps, basis.ts_ns, ACF_STEP_S, basis.known, KNOWN_S).values


def _lags(span_s: float) -> int:
    """Lags of up to an hour and a half, at most a quarter of the span."""
    return int(max(2, min(5400.0, span_s / 4) // ACF_STEP_S))


# --- what was put in -------------------------------------------------------------------------------------------------


def against_truth(inputs, found: Reversion) -> Table:
    """Estimates beside the recipe of synthetic quotes; for real quotes there is no truth to compare with."""
    path = Path(inputs.spot).parent / "truth.json"
    title = "Estimates against the truth"
    if not (inputs.synthetic and path.is_file()):
        return Table.of(title, ("", "put in", "found"), [("no truth is known for these quotes", NOTHING, NOTHING)])
    truth = json.loads(path.read_text(encoding="utf-8"))
    return Table.of(title, ("", "put in", "found"), _truth_rows(truth, found), _truth_note(truth))


def _truth_rows(truth: dict, found: Reversion) -> Sequence[tuple[str, str, str]]:
    world, h = truth["world"], found.half_life.value
    process = h.process if h else None
    middle = world["mean_bps"] + world["drift_bps_per_day"] * world["hours"] / 48
    sd = float(np.hypot(world["fast_sd_bps"], world["slow_sd_bps"]))
    return (
        (
            "half-life",
            seconds(world["fast_half_life_s"]),
            f"{seconds(h.half_life_s)} ({_interval(h)})" if h else "no answer",
        ),
        (
            "mean of the basis",
            number(middle, 1, unit="bps"),
            number(process.mean, 1, unit="bps") if process else "no answer",
        ),
        (
            "standard deviation",
            number(sd, 1, unit="bps"),
            number(process.sd, 1, unit="bps") if process else "no answer",
        ),
        (
            "noise of the observed basis",
            number(truth["observed_noise_bps"], 1, unit="bps"),
            number(process.noise_sd, 1, unit="bps") if process else "no answer",
        ),
    )


def _truth_note(truth: dict) -> str:
    world = truth["world"]
    return (
        f"Put in are two processes: a fast one (sd {world['fast_sd_bps']:g} bps, half-life "
        f"{seconds(world['fast_half_life_s'])}) and a slow one (sd {world['slow_sd_bps']:g} bps, half-life "
        f"{seconds(world['slow_half_life_s'])}), so one half-life fitted to their sum should come out somewhat above "
        "the fast one. The mean put in is that of the middle of the recording."
    )


# --- what was found --------------------------------------------------------------------------------------------------


def findings(tape: Tape, basis: Basis, found: Reversion) -> Findings:
    """The notebook's last words, from its results."""
    q, able = tape.quality, reach(basis)
    bad = max(q.spot.bad_share, q.perp.bad_share)
    stale = max(q.spot.stale_share, q.perp.stale_share)
    episodes_ = above_costs(basis).get("closing at its median")
    return Findings.of(
        f"Recording: at most {share(bad, 2)} of a leg's rows are bad; for up to {share(stale)} of the time a book is "
        "too old to decide on.",
        str(able) if able else "No event has fresh books on both legs: nothing could have been traded.",
        found.verdict,
        f"{episodes_.count:,} episodes pay the fees and a median closing; half of them last "
        f"{seconds(episodes_.median_s)} or less."
        if episodes_ and episodes_.count
        else "No episode pays the fees and a median closing.",
    )
