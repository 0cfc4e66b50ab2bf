"""Choosing thresholds: a grid of real replays on the first part of the window, judged on the later part.

The fit sees only [start, judged_from); the judged part can veto the choice but never change it. When nothing passes,
the result is "do not trade" with the reason, and no thresholds.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from delta_arb.backtest.performance import Performance, measure, period_nets
from delta_arb.backtest.sweep import sweep as sweep_rules
from delta_arb.errors import DataError, SeriesError
from delta_arb.evidence import FilterParams
from delta_arb.market import NS, to_bps, utc
from delta_arb.optimize.offers import Offers, median, offers, ordered, quoted_bps
from delta_arb.optimize.study import PERIOD_S, SEED, Constraints, Market, Thresholds
from delta_arb.optimize.window import Window, window
from delta_arb.quotes.tape import Tape
from delta_arb.stats import series
from delta_arb.stats.mean_reversion import mids, minutes, require_moving, speed_of_moving
from delta_arb.stats.optimal_thresholds import round_trip_cost
from delta_arb.stats.reversion import HalfLife, adf
from delta_arb.stats.sharpe import mean_interval
from delta_arb.stats.timeout import optimal
from delta_arb.strategy.rule import as_filter
from delta_arb.strategy.signal import Filter
from delta_arb.strategy.state import DIRECT, REVERSE
from delta_arb.tables import seconds, share

LEVELS = 14  # thresholds per axis of the grid
ENTRY_QUANTILES = (0.50, 0.995)
EXIT_QUANTILES = (0.005, 0.50)
HOLD_SHARES = (0.25, 0.5, 1.0)  # of the longest hold allowed
ROUND_BPS = 0.5
MAX_UNIT_ROOT_P = 0.05
Z_95 = 1.96
WAYS = {DIRECT: "", REVERSE: "reverse "}  # what heads the levels of a direction


def levels(offered: Offers) -> tuple[np.ndarray, np.ndarray]:
    """Entry and exit thresholds worth trying, bps: quantiles of what was offered."""
    return _rounded(offered.entry_bps, ENTRY_QUANTILES), _rounded(offered.exit_bps, EXIT_QUANTILES)


def _rounded(values: np.ndarray, quantiles: tuple[float, float]) -> np.ndarray:
    at = np.linspace(*quantiles, LEVELS) * (values.size - 1)
    places = np.unique((np.floor(at), np.ceil(at))).astype(int)
    found = np.interp(at, places, ordered(values, places))  # as numpy's quantiles, which take ten times as long
    return np.unique(np.round(found / ROUND_BPS) * ROUND_BPS) + 0.0  # no minus zero


def grid(
    offered: Offers, market: Market, constraints: Constraints, process: FilterParams | None = None, side: int = DIRECT
) -> list[Thresholds]:
    """All sets of a direction whose gain at the thresholds exceeds the four fees, entries capped at `max_entry_bps`."""
    entries, exits = levels(offered)
    asked_in, asked_out = quoted_bps(market.settings, market.spot, market.perp)
    entries, exits = entries - asked_in, exits + asked_out  # quotes stand where the quantiles are
    holds = [share * constraints.max_hold_s for share in HOLD_SHARES]
    fees_bps = market.fees_bps
    return [
        Thresholds(float(entry), float(exit_), hold, process, side=side)
        for hold in holds
        for entry in entries[entries <= constraints.max_entry_bps]
        for exit_ in exits
        if entry - exit_ > fees_bps
    ]


@dataclass(frozen=True, slots=True)
class Sweep:
    """Every set that was tried on the fit part, with its performance, in the order of the grid."""

    sets: tuple[Thresholds, ...]
    results: tuple[Performance, ...]

    def to_frame(self):
        """One row per set: thresholds and headline figures."""
        import pandas as pd

        rows = [{**s._asdict(), **r.to_dict()} for s, r in zip(self.sets, self.results, strict=True)]
        return pd.DataFrame(rows, columns=None if rows else [*Thresholds._fields, "net_usdt_day"]).drop(
            columns=["filter", "funding_horizon_s", "side", "reverse"]
        )

    def neighbourhood(self, k: int) -> float:
        """Mean net a day of set k and its direct neighbours in entry and exit, at the same hold.

        One cell of a grid is a noisy witness: the mean of its neighbourhood earns more out of sample than the best cell.
        """
        return self.neighbourhoods([k])[0]

    def neighbourhoods(self, among: Sequence[int]) -> list[float]:
        """The neighbourhood means of some sets."""
        rows, columns = ({level: i for i, level in enumerate(sorted({s[k] for s in self.sets}))} for k in (0, 1))
        cells = defaultdict(list)
        for k, s in enumerate(self.sets):
            cells[s.max_hold_s, rows[s.entry_bps], columns[s.exit_bps]].append(k)
        means = []
        for s in (self.sets[k] for k in among):
            row, column = rows[s.entry_bps], columns[s.exit_bps]
            near = product((s.max_hold_s,), range(row - 1, row + 2), range(column - 1, column + 2))
            members = sorted(k for cell in near for k in cells.get(cell, ()))
            means.append(float(np.mean([self.results[k].net_usdt_day for k in members])))
        return means


def sweep(tape: Tape, market: Market, sets: Sequence[Thresholds]) -> Sweep:
    """What a replay of every set on the tape earns."""
    swept = sweep_rules(tape, market.rules(sets), market.latency, market.payments, funds=market.funds)
    return Sweep(tuple(sets), tuple(map(swept.performance, range(len(sets)))))


@dataclass(frozen=True, slots=True)
class Proposal:
    """Thresholds from two witnesses: the levels that theory gives for the fitted process, and the best of the grid.

    `plug_in` is None where theory has no answer; `plug_in_why` says why it has none, or why it was passed over.
    `weight` is how far the grid may pull: 0 keeps the plug-in, 1 takes the grid's best (`peak`, by its neighbourhood).
    """

    plug_in: Thresholds | None
    plug_in_why: str
    peak: Thresholds
    weight: float

    def of_grid(self, misses: Sequence[str]) -> "Proposal":
        """The grid alone, because what lies nearer to theory misses a demand that the grid's best meets."""
        return replace(self, plug_in_why="; ".join(misses), weight=1.0)

    @property
    def thresholds(self) -> Thresholds:
        if self.plug_in is None or self.weight == 1.0:
            return self.peak
        entry, exit_ = (p + self.weight * (g - p) for p, g in zip(self.plug_in[:2], self.peak[:2], strict=True))
        hold = self.peak.max_hold_s if self.weight > 0.5 else self.plug_in.max_hold_s
        return self.plug_in._replace(entry_bps=round(entry, 2), exit_bps=round(exit_, 2), max_hold_s=hold)


def plug_in(
    offered: Offers,
    market: Market,
    constraints: Constraints,
    reverts: HalfLife,
    known: Tape,
    process: FilterParams | None,
    side: int = DIRECT,
) -> Thresholds:
    """The levels of greatest profit rate for the fitted process under the longest hold, which end at the target often
    enough; with the four fees, the crossed half-spreads, the expected funding and the overshoot between two looks.

    The reverse pair trades the same process with its sign changed: mean and funding count the other way.
    `known` are the quotes known so far; funding and the time between two looks come from them. A filtered signal is
    itself such a process, of the same speed: what the filter does not know is missing from its standard deviation.

    Raises:
        SeriesError: theory has no answer (cycles too long, hold too short), or its levels break a demand.
    """
    steps = np.diff(known.looks().ts_ns)  # of candles a bar: between its end and the next nothing is decided
    look_s = median(steps[steps > 0]) / NS
    sd = reverts.process.sd
    if process is not None:
        look_s = max(look_s, process.step_s)
        sd = to_bps(_filtered_sd(as_filter(process, market.settings.max_quote_age_s), look_s))
    rule = {"max_hold_s": constraints.max_hold_s, "rearm": market.settings.rearm_bps, "step_s": look_s}
    rule |= {"target_rate": constraints.target_hit_rate}
    cost = round_trip_cost(market.fees_bps, offered.width_bps)
    best = optimal(reverts.theta, side * reverts.process.mean, sd, cost, **rule)
    paid = side * market.funding_bps_s(known.end_ns) * best.earns.hold_s
    if paid != 0.0:
        best = optimal(reverts.theta, side * reverts.process.mean, sd, cost - paid, **rule)
    entry, exit_ = best.quote_levels(offered.width_bps)
    if entry > constraints.max_entry_bps:
        raise SeriesError(f"its entry of {entry:.1f} bps is above the {constraints.max_entry_bps:g} bps allowed")
    if not entry - exit_ > market.fees_bps:
        raise SeriesError(f"its gain of {entry - exit_:.1f} bps does not pay the four fees of {market.fees_bps:g} bps")
    return Thresholds(round(entry, 2), round(exit_, 2), constraints.max_hold_s, process, side=side)


def _filtered_sd(process: Filter, look_s: float) -> float:
    """Standard deviation of the filtered level: all of the process but the variance of the settled estimate's error."""
    kept, noise, whole = math.exp(-2 * process.theta * look_s), process.noise_sd**2, process.sd**2
    # The error's variance P before an observation solves P = kept P noise / (P + noise) + (1 - kept) whole.
    half = ((1 - kept) * (noise - whole)) / 2
    before = -half + math.sqrt(half**2 + (1 - kept) * whole * noise)
    return math.sqrt(whole - before * noise / (before + noise))


def grid_weight(prior_nets: np.ndarray, peak_nets: np.ndarray) -> float:
    """How far the grid's best may pull from the plug-in: 1 - (2 standard errors / gain)^2, never below 0.

    The gain is what it earned more in the same periods of the fit part, in sample and so flattered; a gain of two
    standard errors or less is taken for noise.
    """
    gain = peak_nets - prior_nets
    if gain.mean() <= 0:
        return 0.0
    found = mean_interval(gain, np.random.default_rng(SEED))
    error = (found.high - found.low) / (2 * Z_95)
    return max(0.0, 1.0 - (2.0 * error / found.value) ** 2)


@dataclass(frozen=True, slots=True)
class Choice:
    """What came out: the sweep, the proposal, how it did on both parts, and the verdict.

    `best` are the proposal's thresholds; exported only when `trade` is true. `judged` is their performance on the part
    that the fit has not seen. `half_life` is that of the basis of the mids on the fit part, None where it has none.
    Sweep and proposal are of one direction, `side`. `together` are the thresholds of both, where both are traded: then
    `fitted`, `judged` and `best` are of those. `ways`: where a leg may rest, the choice of each conduct, this one's among them.
    """

    window: Window
    constraints: Constraints
    market: Market
    half_life: HalfLife | None
    sweep: Sweep
    passing: tuple[bool, ...]
    proposal: Proposal | None
    fitted: Performance | None
    judged: Performance | None
    trade: bool
    reason: str
    side: int = DIRECT
    together: Thresholds | None = None
    ways: tuple["Choice", ...] = ()

    @property
    def best(self) -> Thresholds | None:
        return self.together or (self.proposal and self.proposal.thresholds)

    def __repr__(self) -> str:
        return f"Choice({'trade' if self.trade else 'do not trade'}: {self.reason})"


def choose(tape: Tape, market: Market, constraints: Constraints, side: int = DIRECT) -> Choice:
    """Thresholds of one direction: fit on the first part of the window, judge on the later part. What does not revert is
    not traded."""
    known = market.in_force(tape)
    try:
        parts = window(known, constraints)
    except DataError as error:
        if known is tape:
            raise
        reason = _too_new(known, market, error)
        try:
            parts = window(tape, constraints)
        except DataError:
            raise DataError(reason) from None
        none = Sweep((), ())
        return Choice(parts, constraints, market, None, none, (), None, None, None, False, reason, side)
    reverts, no_reversion = reversion_of(parts.fit)
    process = market.process(reverts)
    offered = offers(parts.fit, market.settings, process, side)
    tried = sweep(parts.fit, market, grid(offered, market, constraints, process, side))
    passing = tuple(not constraints.failures(r) for r in tried.results)
    peak = _best(tried, passing)
    if peak is None:
        reason = no_edge(offered, market, side)
        return Choice(parts, constraints, market, reverts, tried, passing, None, None, None, False, reason, side)
    proposal = _proposal(parts.fit, offered, market, constraints, reverts, process, tried.sets[peak])
    fitted = measure(parts.fit, market.replay(parts.fit, proposal.thresholds))
    if passing[peak] and constraints.failures(fitted):
        proposal, fitted = proposal.of_grid(constraints.failures(fitted)), tried.results[peak]
    best = proposal.thresholds
    judged = measure(parts.judge, market.replay(parts.judge, best))
    misses, vetoes = constraints.failures(fitted), constraints.failures(judged)
    unseen = f"the {judged.days * 24:.1f} h it has not seen"
    if no_reversion:
        reason = f"the basis does not revert: {no_reversion}"
    elif misses:
        reason = f"{spoken(best)} misses a demand on the quotes it was fitted on: {'; '.join(misses)}"
    elif vetoes:
        reason = f"{spoken(best)} fails on {unseen}: {'; '.join(vetoes)}"
    else:
        reason = f"{spoken(best)} earned {judged.net_usdt_day:.2f} USDT a day net on {unseen}"
    trade = not (no_reversion or misses or vetoes)
    return Choice(parts, constraints, market, reverts, tried, passing, proposal, fitted, judged, trade, reason, side)


def _too_new(known: Tape, market: Market, error: DataError) -> str:
    return (
        f"the rules of funding changed at {utc(market.rules_since_ns(known.end_ns))[:16]} UTC, and no evidence is pooled over the "
        f"change: {error}; or say --funding-changes none if this contract's did not change"
    )


def _proposal(fit, offered, market, constraints, reverts, process, peak) -> Proposal:
    """The plug-in, corrected by the grid as far as its gain exceeds its noise."""
    if market.settings.resting:
        return Proposal(None, "theory knows no queue: the levels of a leg that rests come from the grid", peak, 1.0)
    if reverts is None:
        return Proposal(None, "the basis has no half-life", peak, 1.0)
    try:
        prior = plug_in(offered, market, constraints, reverts, fit, process, peak.side)
        nets = [period_nets(fit, market.replay(fit, s), fit.start_ns, fit.end_ns, PERIOD_S) for s in (prior, peak)]
        return Proposal(prior, "", peak, grid_weight(*nets))
    except SeriesError as error:
        return Proposal(None, str(error), peak, 1.0)


def reversion_of(tape: Tape, *, interval: bool = True) -> tuple[HalfLife | None, str]:
    """Half-life of the basis of the mids, or None and why there is none (a frozen leg, a random walk, too little data).

    The unit root must be rejected on one-minute values too (of candles, on their closes): when prices jump, the
    milliseconds between the legs leave spikes that die out at once, and the likelihood of ticks takes those for the
    reversion of a basis that only wanders.
    """
    seen = mids(tape)
    try:
        require_moving(seen)
        step_s, gap_s = minutes(seen)
        p = adf(series.grid(seen.basis_bps, seen.ts_ns, step_s, seen.known, gap_s).longest_run()).p
        if p > MAX_UNIT_ROOT_P:
            walks = f"a random walk is not rejected (ADF p {p:.2f})"
            return None, f"on values {seconds(step_s)} apart {walks}; look back further, or leave it"
        return speed_of_moving(seen, interval=interval), ""
    except SeriesError as error:
        return None, str(error)


def _best(tried: Sweep, passing: Sequence[bool]) -> int | None:
    """Index of the set with the highest neighbourhood mean, among the passing ones where there are any."""
    candidates = [k for k, ok in enumerate(passing) if ok] or list(range(len(tried.sets)))
    means = tried.neighbourhoods(candidates)
    return candidates[means.index(max(means))] if candidates else None


# --- how sure theory is -----------------------------------------------------------------------------------------------


def standard_errors_bps(choice: Choice) -> tuple[float, float] | None:
    """Standard errors of the plug-in's entry and exit; None where the plug-in has no part in the choice.

    Quotes know the diffusion sd^2 theta well and the speed badly, so a half-life h' goes with sd sqrt(h' / h). The
    levels are found again, by the solver that found them, a standard error of log h to either side; where theory has
    no answer on one of them, the other must do, and on neither there is no error. The mean of the process over a span T
    has the standard error sd sqrt(2 / (theta T)) and moves both levels alike. The squares add up. The grid's own noise,
    where it pulls, is left out.
    """
    reverts, proposal = choice.half_life, choice.proposal
    if reverts is None or proposal is None or proposal.plug_in is None or proposal.weight == 1.0:
        return None
    offered = offers(choice.window.fit, choice.market.settings, proposal.plug_in.filter, choice.side)
    far = [at for way in (1, -1) if (at := _plug_in_at(choice, offered, way * _error_of_log(reverts))) is not None]
    if not far:
        return None
    ends = zip(far[0][:2], (far[1] if len(far) == 2 else proposal.plug_in)[:2], strict=True)
    of_mean = reverts.process.sd * reverts.best_relative_sd
    entry, exit_ = (math.hypot((one - other) / len(far), of_mean) for one, other in ends)
    return entry, exit_


def _error_of_log(reverts: HalfLife) -> float:
    """Standard error of the half-life's logarithm, from its interval; 0.0 is not bounded from below."""
    if reverts.low_s > 0:
        return math.log(reverts.high_s / reverts.low_s) / (2 * Z_95)
    return math.log(reverts.high_s / reverts.half_life_s) / Z_95


def _plug_in_at(choice: Choice, offered: Offers, log_scale: float) -> Thresholds | None:
    """The plug-in for a half-life that is exp(log_scale) times as long, of the same diffusion; None if it has none."""
    reverts, scale, market = choice.half_life, math.exp(log_scale), choice.market
    process = replace(reverts.process, theta=reverts.process.theta / scale, sd=reverts.process.sd * math.sqrt(scale))
    other = replace(reverts, half_life_s=reverts.half_life_s * scale, process=process)
    try:
        known, filter_ = choice.window.fit, market.process(other)
        return plug_in(offered, market, choice.constraints, other, known, filter_, choice.side)
    except SeriesError:
        return None


# --- words ------------------------------------------------------------------------------------------------------------


def spoken(s: Thresholds) -> str:
    traded = {side: at for side in (DIRECT, REVERSE) if (at := s.levels(side))}
    said = (f"{WAYS[side]}entry {at.entry_bps:g} bps, exit {at.exit_bps:g} bps" for side, at in traded.items())
    return f"{', '.join(said)}, hold at most {s.max_hold_s / 3600:g} h"


def no_edge(offered: Offers, market: Market, side: int) -> str:
    """Why the grid is empty: even the rarest good prices do not pay the fees."""
    entries, exits = levels(offered)
    return (
        f"no {WAYS[side]}edge after costs: entering at {entries[-1]:g} bps (reached {share(1 - ENTRY_QUANTILES[1], 1)} of the time) and "
        f"leaving at {exits[0]:g} bps (the same) gains {entries[-1] - exits[0]:g} bps, the four fees are "
        f"{market.fees_bps:g} bps"
    )
