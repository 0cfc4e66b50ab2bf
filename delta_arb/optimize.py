"""Choosing thresholds: a grid of real replays on the first part of the window, judged on the later part.

The fit sees only [start, judged_from); the judged part can veto the choice but never change it. When nothing passes,
the result is "do not trade" with the reason, and no thresholds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import __version__, params
from .backtest import Backtest, run
from .errors import DataError, ParamsError, SeriesError
from .inputs import Inputs
from .market import NS, FundingPayment, Instrument, Latency
from .memory import MAX_STILL_S, half_life_of
from .params import Evidence, Params, RuleParams, make_rule, sealed
from .performance import Performance, measure
from .reversion import HalfLife, require_moving_legs, stationarity
from .spread import basis, entry_edge, exit_cost, mid, round_trip_fees
from .tape import Tape

LEVELS = 14  # thresholds per axis of the grid
ENTRY_QUANTILES = (0.50, 0.995)
EXIT_QUANTILES = (0.005, 0.50)
HOLD_SHARES = (0.25, 0.5, 1.0)  # of the longest hold allowed
ROUND_BPS = 0.5
MAX_UNIT_ROOT_P = 0.05


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a threshold set must reach to be exported, on the fit and on the judged part alike.

    hit rate: share of trades that ended at the exit threshold; drawdown: on a capital of two clip notionals.
    """

    target_hit_rate: float = 0.7
    min_trades_day: float = 5.0
    max_drawdown: float = 0.02
    max_entry_bps: float = 100.0
    max_hold_s: float = 6 * 3600.0
    look_back_h: float = 24.0
    fit_share: float = 2 / 3

    def __post_init__(self) -> None:
        for name in ("target_hit_rate", "max_drawdown", "fit_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ParamsError(f"{name} is a share, above 0 and at most 1, was {getattr(self, name)}")
        for name in ("min_trades_day", "max_entry_bps", "max_hold_s", "look_back_h"):
            if not getattr(self, name) > 0:
                raise ParamsError(f"{name} must be positive, was {getattr(self, name)}")
        if self.fit_share > 0.9:
            raise ParamsError(f"fit_share={self.fit_share} leaves too little to judge on; keep at least a tenth")

    def failures(self, p: Performance) -> list[str]:
        """Which demands a result misses, in words; empty when it passes."""
        misses = []
        if p.net_usdt <= 0:
            misses.append(f"net {p.net_usdt_day:.2f} USDT a day is not above zero")
        if p.trades_day < self.min_trades_day:
            misses.append(f"{p.trades_day:.1f} trades a day are below {self.min_trades_day:g}")
        if p.hit_rate is not None and p.hit_rate < self.target_hit_rate:
            misses.append(f"hit rate {p.hit_rate:.2f} is below {self.target_hit_rate:g}")
        if p.drawdown > self.max_drawdown:
            misses.append(f"drawdown {p.drawdown:.2%} is above {self.max_drawdown:.2%}")
        if p.halted:
            misses.append("the legs could not be balanced and the machine halted")
        return misses


class Thresholds(NamedTuple):
    """One set of the grid."""

    entry_bps: float
    exit_bps: float
    max_hold_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """What every replay of a study shares: order rules, latencies, funding, and the rule without thresholds."""

    spot: Instrument
    perp: Instrument
    latency: Latency
    payments: tuple[FundingPayment, ...]
    settings: RuleParams

    def replay(self, tape: Tape, thresholds: Thresholds | None) -> Backtest:
        """The backtest of one set; without thresholds nothing is entered."""
        return run(tape, make_rule(self.rule_params(thresholds), self.spot, self.perp), self.latency, self.payments)

    def rule_params(self, thresholds: Thresholds | None) -> RuleParams:
        values = {} if thresholds is None else thresholds._asdict()
        return RuleParams(**{**self.settings.model_dump(), **values})

    @property
    def fees_bps(self) -> float:
        """The four taker fees of a round trip."""
        return 1e4 * round_trip_fees(self.spot.taker_fee, self.perp.taker_fee)

    def with_fees(self, spot_bps: float, perp_bps: float) -> "Market":
        return replace(self, spot=replace(self.spot, taker_fee=spot_bps / 1e4), perp=replace(self.perp, taker_fee=perp_bps / 1e4))

    def with_latency(self, spot_s: float, perp_s: float) -> "Market":
        slowest = max(spot_s, perp_s) + self.settings.max_quote_age_s
        deadline = max(self.settings.leg_deadline_s, 2 * slowest)
        settings = RuleParams(**{**self.settings.model_dump(), "leg_deadline_s": deadline})
        return replace(self, latency=Latency(spot_s, perp_s), settings=settings)


def market(inputs: Inputs, tape: Tape, settings: RuleParams) -> Market:
    """The market of a study from its inputs."""
    return Market(*inputs.instruments(), inputs.latency(), inputs.payments(tape), settings)


@dataclass(frozen=True, slots=True)
class Window:
    """The look-back, cut in two: fit on [start, judged_from), judge on [judged_from, end]."""

    fit: Tape
    judge: Tape
    note: str

    @property
    def judged_from_ns(self) -> int:
        return self.judge.start_ns


def window(tape: Tape, constraints: Constraints) -> Window:
    """The last `look_back_h` hours of the tape; shorter data are used whole, and named."""
    wanted_ns = round(constraints.look_back_h * 3600 * NS)
    start_ns = max(tape.start_ns, tape.end_ns - wanted_ns)
    cut_ns = start_ns + round((tape.end_ns - start_ns) * constraints.fit_share)
    fit, judge = tape.between(start_ns, cut_ns), tape.between(cut_ns, tape.end_ns + 1)
    if len(fit) < 100 or len(judge) < 50:
        raise DataError(f"{len(fit)} events to fit on and {len(judge)} to judge on are too few for a choice; record longer")
    hours = (tape.end_ns - start_ns) / NS / 3600
    short = hours < 0.99 * constraints.look_back_h
    note = f"the last {hours:.1f} h" + (f" (shorter than the look-back of {constraints.look_back_h:g} h)" if short else "")
    return Window(fit, judge, note)


def levels(tape: Tape, settings: RuleParams) -> tuple[np.ndarray, np.ndarray]:
    """Entry and exit thresholds worth trying, bps: quantiles of what the quotes offered while both legs were fresh."""
    fresh_ns = settings.max_quote_age_s * NS
    usable = (tape.spot_age_ns <= fresh_ns) & (tape.perp_age_ns <= fresh_ns) & (tape.spot_bid < tape.spot_ask)
    usable &= (tape.perp_bid < tape.perp_ask) & (np.minimum(tape.spot_ask_qty, tape.perp_bid_qty) > 0)
    if not usable.any():
        raise DataError("no event has fresh books on both legs; is one leg frozen? See the quality summary in notebook 01")
    entries = 1e4 * entry_edge(tape.spot_ask[usable], tape.perp_bid[usable])
    exits = 1e4 * exit_cost(tape.spot_bid[usable], tape.perp_ask[usable])
    return _rounded(entries, ENTRY_QUANTILES), _rounded(exits, EXIT_QUANTILES)


def _rounded(values: np.ndarray, quantiles: tuple[float, float]) -> np.ndarray:
    at = np.linspace(*quantiles, LEVELS)
    return np.unique(np.round(np.quantile(values, at) / ROUND_BPS) * ROUND_BPS)


def grid(tape: Tape, market: Market, constraints: Constraints) -> list[Thresholds]:
    """All sets whose gain at the thresholds exceeds the four fees, entries capped at `max_entry_bps`."""
    entries, exits = levels(tape, market.settings)
    holds = [share * constraints.max_hold_s for share in HOLD_SHARES]
    return [
        Thresholds(float(entry), float(exit_), hold)
        for hold in holds
        for entry in entries[entries <= constraints.max_entry_bps]
        for exit_ in exits
        if entry - exit_ > market.fees_bps
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
        return pd.DataFrame(rows, columns=None if rows else [*Thresholds._fields, "net_usdt_day"])

    def neighbourhood(self, k: int) -> float:
        """Mean net a day of set k and its direct neighbours in entry and exit, at the same hold.

        One cell of a grid is a noisy witness: the mean of its neighbourhood earns more out of sample than the best cell.
        """
        here = self.sets[k]
        entries = sorted({s.entry_bps for s in self.sets})
        exits = sorted({s.exit_bps for s in self.sets})
        row, column = entries.index(here.entry_bps), exits.index(here.exit_bps)
        near_entry, near_exit = entries[max(row - 1, 0) : row + 2], exits[max(column - 1, 0) : column + 2]
        nets = [
            r.net_usdt_day
            for s, r in zip(self.sets, self.results, strict=True)
            if s.max_hold_s == here.max_hold_s and s.entry_bps in near_entry and s.exit_bps in near_exit
        ]
        return float(np.mean(nets))


def sweep(tape: Tape, market: Market, sets: Sequence[Thresholds]) -> Sweep:
    """Replay every set on the tape."""
    results = []
    for thresholds in sets:
        result = market.replay(tape, thresholds)
        results.append(measure(tape, result))
    return Sweep(tuple(sets), tuple(results))


@dataclass(frozen=True, slots=True)
class Choice:
    """What came out: the sweep, the best set, how it did on both parts, and the verdict.

    `best` is the set with the highest neighbourhood mean, among those that pass on the fit part where there are any;
    it is exported only when `trade` is true. `judged` is its performance on the part that the fit has not seen.
    `half_life` is that of the basis of the mids on the fit part, None where it has none.
    """

    window: Window
    constraints: Constraints
    market: Market
    half_life: HalfLife | None
    sweep: Sweep
    passing: tuple[bool, ...]
    best: Thresholds | None
    fitted: Performance | None
    judged: Performance | None
    trade: bool
    reason: str

    def __repr__(self) -> str:
        return f"Choice({'trade' if self.trade else 'do not trade'}: {self.reason})"


def choose(tape: Tape, market: Market, constraints: Constraints) -> Choice:
    """Fit on the first part of the window, judge on the later part. What does not revert is not traded."""
    parts = window(tape, constraints)
    reverts, no_reversion = reversion_of(parts.fit)
    tried = sweep(parts.fit, market, grid(parts.fit, market, constraints))
    misses = [constraints.failures(r) for r in tried.results]
    passing = tuple(not m for m in misses)
    best = _best(tried, passing)
    if best is None:
        return Choice(parts, constraints, market, reverts, tried, passing, None, None, None, False, _no_edge(parts.fit, market))
    thresholds, fitted = tried.sets[best], tried.results[best]
    judged = measure(parts.judge, market.replay(parts.judge, thresholds))
    unseen = f"the {judged.days * 24:.1f} h it has not seen"
    vetoes = constraints.failures(judged)
    if no_reversion:
        reason = f"the basis does not revert: {no_reversion}"
    elif misses[best]:
        reason = f"none of {len(tried.sets)} threshold sets passes; the best one ({_spoken(thresholds)}): {'; '.join(misses[best])}"
    elif vetoes:
        reason = f"the best set ({_spoken(thresholds)}) fails on {unseen}: {'; '.join(vetoes)}"
    else:
        reason = f"{_spoken(thresholds)} earned {judged.net_usdt_day:.2f} USDT a day net on {unseen}"
    trade = not (no_reversion or misses[best] or vetoes)
    return Choice(parts, constraints, market, reverts, tried, passing, thresholds, fitted, judged, trade, reason)


def reversion_of(tape: Tape) -> tuple[HalfLife | None, str]:
    """Half-life of the basis of the mids, or None and why there is none (a frozen leg, a random walk, too little data).

    The unit root must be rejected on one-minute values too: when prices jump, the milliseconds between the legs leave
    spikes that die out at once, and the likelihood of ticks takes those for the reversion of a basis that only wanders.
    """
    spot, perp = mid(tape.spot_bid, tape.spot_ask), mid(tape.perp_bid, tape.perp_ask)
    try:
        require_moving_legs(tape.ts_ns, MAX_STILL_S, spot=spot, perp=perp)
        walk = stationarity(basis(spot, perp), tape.ts_ns).adf
        if walk.p > MAX_UNIT_ROOT_P:
            return None, f"on one-minute values a random walk is not rejected (ADF p {walk.p:.2f}); look back further, or leave it"
        return half_life_of(tape), ""
    except SeriesError as error:
        return None, str(error)


def _best(tried: Sweep, passing: Sequence[bool]) -> int | None:
    """Index of the set with the highest neighbourhood mean, among the passing ones where there are any."""
    candidates = [k for k, ok in enumerate(passing) if ok] or list(range(len(tried.sets)))
    return max(candidates, key=tried.neighbourhood, default=None)


def _spoken(s: Thresholds) -> str:
    return f"entry {s.entry_bps:g} bps, exit {s.exit_bps:g} bps, hold at most {s.max_hold_s / 3600:g} h"


def _no_edge(fit: Tape, market: Market) -> str:
    """Why the grid is empty: even the rarest good prices do not pay the fees."""
    entries, exits = levels(fit, market.settings)
    return (
        f"no edge after costs: entering at {entries[-1]:g} bps (reached {1 - ENTRY_QUANTILES[1]:.1%} of the time) and leaving at "
        f"{exits[0]:g} bps (the same) gains {entries[-1] - exits[0]:g} bps, the four fees are {market.fees_bps:g} bps"
    )


def fee_ladder(tape: Tape, market: Market, constraints: Constraints, fees_bps: Sequence[float]) -> list[dict]:
    """What the best set of the fit part would earn at other fees (the same fee on both legs), bps per fill.

    An in-sample maximum, so an upper bound: it says from which fee on there is nothing to look for.
    """
    fit = window(tape, constraints).fit
    rows = []
    for fee in fees_bps:
        at_fee = market.with_fees(fee, fee)
        tried = sweep(fit, at_fee, grid(fit, at_fee, constraints)[::4])
        best = max(tried.results, key=lambda r: r.net_usdt_day, default=None)
        rows.append(
            {
                "fee_bps": fee,
                "sets": len(tried.sets),
                "best_net_usdt_day": best.net_usdt_day if best else None,
                "trades_day": best.trades_day if best else None,
            }
        )
    return rows


def candidate(choice: Choice, inputs: Inputs, tape: Tape, *, valid_for_s: float, notebook: str, run_id: str) -> Params:
    """The parameters to publish, with their evidence."""
    now = datetime.now(UTC)
    spot, perp = inputs.venue_params()
    fitted, judged, reverts = choice.fitted, choice.judged, choice.half_life
    evidence = Evidence(
        half_life_s=reverts.half_life_s if reverts else None,
        half_life_low_s=reverts.low_s if reverts else None,
        half_life_high_s=reverts.high_s if reverts else None,
        trials=len(choice.sweep.sets),
        best_entry_bps=choice.best.entry_bps if choice.best else None,
        best_exit_bps=choice.best.exit_bps if choice.best else None,
        best_max_hold_s=choice.best.max_hold_s if choice.best else None,
        fit_trades=fitted.trades if fitted else None,
        fit_net_usdt_day=fitted.net_usdt_day if fitted else None,
        judged_trades=judged.trades if judged else None,
        judged_net_usdt_day=judged.net_usdt_day if judged else None,
        judged_hit_rate=judged.hit_rate if judged else None,
        judged_drawdown=judged.drawdown if judged else None,
    )
    return sealed(
        pair=inputs.pair,
        trade=choice.trade,
        reason=choice.reason,
        rule=choice.market.rule_params(choice.best if choice.trade else None),
        spot=spot,
        perp=perp,
        data=inputs.data_params(tape, choice.window.judged_from_ns),
        evidence=evidence,
        created=now,
        valid_until=now + timedelta(seconds=valid_for_s),
        code_version=__version__,
        notebook=notebook,
        run_id=run_id,
    )


def load_or_choose(run_folder: str, inputs: Inputs, tape: Tape, market: Market, constraints: Constraints) -> Params:
    """The candidate that notebook 02 left in the run's folder; opened by hand (no folder), the choice is made anew."""
    if run_folder:
        return params.load(Path(run_folder) / "candidate.json")
    choice = choose(tape, market, constraints)
    return candidate(choice, inputs, tape, valid_for_s=3600.0, notebook="03_backtest_report", run_id="by hand")


def examined(exported: Params) -> Thresholds | None:
    """The thresholds of an export, or of the best set examined when it says do not trade."""
    e = exported.evidence
    return None if e.best_entry_bps is None else Thresholds(e.best_entry_bps, e.best_exit_bps, e.best_max_hold_s)
