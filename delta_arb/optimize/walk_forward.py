"""Purged walk-forward: what the whole procedure of choosing would have earned on quotes it had not seen.

    |------- look-back: entries -------|-- embargo: only exits --|--- fold: trade ---|
    t - embargo - look_back            t - embargo               t                   t + step

At every fold the choice sees quotes before t and nothing else. Its replays enter during the look-back only and run off
during the embargo; a pair still open at t is purged from the score, because its end is not known yet. The embargo is
the longest hold or more, so that a time-out closes nearly all of them and losers are not purged for living longer; or
at least the memory of the basis, five half-lives, where that is shorter.

Pairs belong to the fold that entered them. A pair open at the end of its fold goes on to its own end by the rule it was
opened with, and the next fold enters nothing before that; a direction that a time-out has disarmed stays so until the
edge has fallen. So there is one machine that changes its rule while flat, as the runner does: with the same thresholds
in all folds, the trades are those of one replay over all of them, bit for bit. What is open when the quotes end is
closed at its exit side, counted and flagged. A machine that halts trades no more: only a person leaves that state.

Source: Lopez de Prado 2018, Advances in Financial Machine Learning, chapter 7; Pardo 2008 for the walk-forward.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter

import numpy as np

from delta_arb.backtest.performance import Equity, Performance, equity, measure, period_nets, thinned
from delta_arb.backtest.replay import Backtest
from delta_arb.backtest.sweep import Swept, sweep
from delta_arb.errors import DataError, SeriesError
from delta_arb.market import DAY_S, END, NS, utc
from delta_arb.optimize.offers import both, offers
from delta_arb.optimize.search import Proposal, Sweep, grid, grid_weight, plug_in, reversion_of
from delta_arb.optimize.study import MIN_FOLDS, Constraints, Frame, Market, Thresholds
from delta_arb.quotes.tape import Tape
from delta_arb.stats import sharpe
from delta_arb.stats.sharpe import Brier, Interval
from delta_arb.strategy.ledger import Trade
from delta_arb.strategy.state import DIRECT
from delta_arb.tables import NOTHING, Table, TableFace, number, share

# --- what a choice may see --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class LookBack:
    """Quotes before a fold. `tape` is all that is known then; entries count in [start_ns, until_ns)."""

    tape: Tape
    start_ns: int
    until_ns: int
    market: Market
    constraints: Constraints
    period_s: float

    @property
    def fit(self) -> Tape:
        """The part that entries come from."""
        return self.tape.between(self.start_ns, self.until_ns)

    def replay(self, thresholds: Thresholds) -> Backtest:
        """The pairs entered before `until_ns` and closed on the quotes known; the others are purged."""
        whole = self.market.replay(self.tape, thresholds)
        closed = {c.pair for c in whole.closings if c.reason != END}
        kept = whole.only(closed & {pair for pair, at_ns in whole.entered.items() if at_ns < self.until_ns})
        return replace(kept, open_at_end=False, start_ns=self.start_ns, end_ns=self.until_ns)

    def by_entry(self, result: Backtest) -> np.ndarray:
        """Net of the pairs entered in each period of the look-back, as a fold's net is of the pairs it entered."""
        nets, entered = np.zeros(round((self.until_ns - self.start_ns) / NS / self.period_s)), result.entered
        for trade in result.trades:
            nets[int((entered[trade.pair] - self.start_ns) // (self.period_s * NS))] += trade.net_usdt
        return nets

    def nets(self, result: Backtest) -> np.ndarray:
        """Change of marked equity in each period of the look-back; the last one holds the run-off too."""
        return period_nets(self.tape, result, self.start_ns, self.until_ns, self.period_s)

    def sweep(self, sets: Sequence[Thresholds]) -> Swept:
        """What such replays of many sets come to, marked once a period; the last one holds the run-off too."""
        here, span = self.market, (self.start_ns, self.until_ns)
        thin, rules = thinned(self.tape, *span, self.period_s), here.rules(sets)
        return sweep(self.tape, rules, here.latency, here.payments, funds=here.funds, marked=thin, span=span)


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """What was chosen, or why nothing was; `nets`: of the pairs it entered in each period of its look-back."""

    thresholds: Thresholds | None
    reason: str
    nets: np.ndarray | None = None
    tried: int = 0


Choose = Callable[[LookBack], Fit]


def coarse(sets: Sequence[Thresholds], every: int = 2) -> list[Thresholds]:
    """Every second (third ...) level of each axis of a grid, the longest hold always among them."""
    kept = [set(sorted({s[k] for s in sets}, reverse=True)[::every]) for k in range(3)]
    return [s for s in sets if all(s[k] in levels for k, levels in enumerate(kept))]


def propose(look_back: LookBack, side: int = DIRECT, every: int = 2) -> Fit:
    """The choice of `optimize` for one direction, on a coarser grid: the plug-in, corrected by the grid's best.

    Nothing if it fails. Equity is marked once a period to rank the sets, at every event to let the proposal pass.
    """
    seen = look_back.fit
    reverts, no_reversion = reversion_of(seen, interval=False)
    if reverts is None:
        return Fit(None, f"the basis does not revert: {no_reversion}")
    here, demands = look_back.market, look_back.constraints
    process = here.process(reverts)
    offered = offers(seen, here.settings, process, side)
    sets = coarse(grid(offered, here, demands, process, side), every)
    if not sets:
        return Fit(None, "no threshold set pays its fees")
    swept = look_back.sweep(sets)
    tried = Sweep(tuple(sets), tuple(map(swept.performance, range(len(sets)))))
    passing = [k for k, p in enumerate(tried.results) if not demands.failures(p)]
    candidates = passing or range(len(sets))
    peak = max(zip(tried.neighbourhoods(candidates), candidates, strict=True), key=itemgetter(0))[1]
    try:
        prior = plug_in(offered, here, demands, reverts, seen, process, side)
        nets = np.diff((look_back.sweep([prior]).nets[0], swept.nets[peak]), prepend=0.0)
        chosen = Proposal(prior, "", sets[peak], grid_weight(*nets)).thresholds
    except SeriesError as error:
        chosen = Proposal(None, str(error), sets[peak], 1.0).thresholds
    result = look_back.replay(chosen)
    misses = demands.failures(measure(look_back.tape, result))
    if misses and peak in passing:  # as in `optimize`: the grid alone, where what lies nearer to theory misses a demand
        chosen, result = sets[peak], look_back.replay(sets[peak])
        misses = demands.failures(measure(look_back.tape, result))
    if misses:
        return Fit(None, "; ".join(misses), tried=len(sets))
    return Fit(chosen, "passes on its look-back", look_back.by_entry(result), len(sets))


def joined(look_back: LookBack, direct: Fit, reverse: Fit) -> Fit:
    """The choices of both directions as one machine trades them."""
    reason, tried = f"direct: {direct.reason}; reverse: {reverse.reason}", direct.tried + reverse.tried
    chosen = both(direct.thresholds, reverse.thresholds)
    if direct.thresholds is None or reverse.thresholds is None:
        return Fit(chosen, reason, reverse.nets if direct.thresholds is None else direct.nets, tried)
    return Fit(chosen, reason, look_back.by_entry(look_back.replay(chosen)), tried)


# --- what came out ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fold:
    """One window traded: [start, end) with the thresholds chosen before it; its pairs are those it entered.

    `probability` of a net above zero was said before, from the periods of the look-back and the folds judged until
    then; None where nothing was chosen or the look-back has no answer. `carried`: its last pair was still open when it
    ended.
    """

    start_ns: int
    end_ns: int
    thresholds: Thresholds | None
    reason: str
    fit_net_usdt_day: float | None
    probability: float | None
    trades: tuple[Trade, ...]
    carried: bool

    @property
    def days(self) -> float:
        return (self.end_ns - self.start_ns) / (DAY_S * NS)

    @property
    def net_usdt(self) -> float:
        return sum((t.net_usdt for t in self.trades), 0.0)

    @property
    def net_usdt_day(self) -> float:
        return self.net_usdt / self.days


@dataclass(frozen=True, eq=False)
class WalkForward(TableFace):
    """All folds, their pairs as one backtest on the quotes they traded, and how sure the figures are.

    `nets`: change of marked equity in each period, flat ones included; they sum to the net. `net_usdt_day`: their mean
    per day with its block bootstrap interval, None where nothing was traded or bootstraps were left out. `hit_rate`: share
    of pairs that ended at the exit threshold, of those that the data did not cut off, with Wilson's interval; None without
    one. `brier`: the folds' probabilities against whether they earned, None where no fold had one.
    """

    folds: tuple[Fold, ...]
    result: Backtest
    tape: Tape
    nets: np.ndarray
    period_s: float
    net_usdt_day: Interval | None
    hit_rate: Interval | None
    brier: Brier | None

    @cached_property
    def equity(self) -> Equity:
        """Marked equity at every event of the folds, and until the last pair closed."""
        return equity(self.tape, self.result)

    @cached_property
    def performance(self) -> Performance:
        return measure(self.tape, self.result, self.equity)

    @property
    def positive_share(self) -> float:
        """Share of all folds that earned; one that did not trade did not."""
        return sum(f.net_usdt > 0 for f in self.folds) / len(self.folds)

    @property
    def kept(self) -> float | None:
        """Net a day over what the same folds had earned on their look-backs; None where nothing was chosen."""
        promised = [f.fit_net_usdt_day for f in self.folds if f.fit_net_usdt_day is not None]
        earned = [f.net_usdt_day for f in self.folds if f.fit_net_usdt_day is not None]
        return sum(earned) / sum(promised) if sum(promised) > 0 else None

    def to_frame(self):
        """One row per fold."""
        import pandas as pd

        rows = [_row(fold) for fold in self.folds]
        return pd.DataFrame(rows, index=pd.to_datetime([f.start_ns for f in self.folds], utc=True).rename("start"))

    def table(self) -> Table:
        """The folds as words and figures."""
        rows = [_spoken_row(f) for f in self.folds]
        heads = (
            "fold from, UTC",
            "entry, bps",
            "exit, bps",
            "look-back, USDT/day",
            "P(net > 0)",
            "pairs",
            "net, USDT/day",
        )
        return Table.of("Walk-forward: chosen before, traded after", heads, rows, self._note())

    def _note(self) -> str:
        earned = "No fold traded." if self.net_usdt_day is None else f"Net {self.net_usdt_day} USDT a day."
        scored = "" if self.brier is None else f" Brier score {self.brier.score:.3f}, base rate {self.brier.base:.3f}."
        return f"{earned} {share(self.positive_share)} of the folds earned.{scored}"

    def __repr__(self) -> str:
        return f"WalkForward({len(self.folds)} folds, {len(self.result.trades)} pairs; {self._note()})"


SHOWN = ("entry_bps", "exit_bps", "max_hold_s", "funding_horizon_s")


def _row(fold: Fold) -> dict:
    return {
        **{name: getattr(fold.thresholds, name, None) for name in SHOWN},
        "fit_net_usdt_day": fold.fit_net_usdt_day,
        "probability": fold.probability,
        "pairs": len(fold.trades),
        "net_usdt_day": fold.net_usdt_day,
        "carried": fold.carried,
        "reason": fold.reason,
    }


def _spoken_row(fold: Fold) -> tuple[str, ...]:
    levels = (NOTHING, NOTHING) if fold.thresholds is None else _levels(fold.thresholds)
    said = NOTHING if fold.probability is None else f"{fold.probability:.2f}"
    figures = number(fold.fit_net_usdt_day), said, f"{len(fold.trades)}", number(fold.net_usdt_day)
    return utc(fold.start_ns)[:16], *levels, *figures


def _levels(s: Thresholds) -> Iterator[str]:
    """Entry and exit; where both directions are traded, that of the reverse one behind a stroke."""
    for k in range(2):
        yield f"{s[k]:g}" + (f" / {s.reverse[k]:g}" if s.reverse else "")


# --- the walk ---------------------------------------------------------------------------------------------------------


def walk_forward(
    tape: Tape,
    market: Market,
    constraints: Constraints,
    frame: Frame,
    *,
    rng: np.random.Generator | None,
    choose: Choose = propose,
) -> WalkForward:
    """Choose before every fold, trade it, go on.

    Args:
        frame: quotes behind the last whole fold only let its pairs end.
        rng: of the bootstraps (probabilities and the interval); None leaves those out.
        choose: from what is known before a fold to thresholds; a `DataError` of it means that the fold does not trade.

    Raises:
        ParamsError: an embargo too short.
        DataError: fewer than three folds on these quotes.
    """
    frame.check_embargo(constraints.max_hold_s)
    look_back_ns, step_ns, embargo_ns = (round(s * NS) for s in (frame.look_back_s, frame.step_s, frame.embargo_s))
    first_ns = tape.start_ns + look_back_ns + embargo_ns
    starts = range(first_ns, tape.end_ns - step_ns + 1, step_ns)
    if len(starts) < MIN_FOLDS:
        hours = (tape.end_ns - tape.start_ns) / NS / 3600
        raise DataError(
            f"{hours:.1f} h of quotes hold {len(starts)} folds of {frame.step_s / 3600:g} h behind a look-back of "
            f"{frame.look_back_s / 3600:g} h and an embargo of {frame.embargo_s / 3600:g} h, {MIN_FOLDS} are needed; "
            "record longer"
        )
    fits, near, together = [], tape, max(look_back_ns // step_ns, 1)
    for k, start_ns in enumerate(starts):
        until_ns = start_ns - embargo_ns
        if k % together == 0:  # look-backs overlap: of as many as begin within one, each price is made once
            near = tape.between(until_ns - look_back_ns, starts[k : k + together][-1]).at_hand()
        known = near.between(until_ns - look_back_ns, start_ns)
        of = LookBack(known, until_ns - look_back_ns, until_ns, market, constraints, frame.period_s)
        fits.append(chosen_by(choose, of))
    turns = [(start_ns, fit.thresholds) for start_ns, fit in zip(starts, fits, strict=True)]
    result = market.in_turn(tape, turns, starts[-1] + step_ns)
    folds = []
    for start_ns, fit in zip(starts, fits, strict=True):
        trades, carried = traded(result, start_ns, start_ns + step_ns)
        promised = None if fit.nets is None else float(fit.nets.sum()) / frame.look_back_s * DAY_S
        said = rng and probability(fit, round(frame.step_s / frame.period_s), outcomes(folds, start_ns), rng)
        folds.append(Fold(start_ns, start_ns + step_ns, fit.thresholds, fit.reason, promised, said, trades, carried))
    return _judged(tape, tuple(folds), result, frame.period_s, rng)


def traded(result: Backtest, start_ns: int, end_ns: int) -> tuple[tuple[Trade, ...], bool]:
    """The trades entered in [start, end), and whether a pair entered before its end was still open then."""
    pairs = {pair for pair, at_ns in result.entered.items() if at_ns < end_ns}
    closed = {c.pair for c in result.closings if c.reason != END and c.ts_ns <= end_ns}
    trades = tuple(t for t in result.trades if t.pair in pairs and result.entered[t.pair] >= start_ns)
    return trades, bool(pairs - closed)


def chosen_by(choose: Choose, look_back: LookBack) -> Fit:
    try:
        return choose(look_back)
    except DataError as error:  # these quotes do not answer: a frozen leg, no fresh book, too few events
        return Fit(None, str(error))


def outcomes(folds: Sequence[Fold], known_ns: int) -> list[bool]:
    """Whether the folds that had thresholds earned; of those whose pairs have all ended by `known_ns`."""
    ended = (f for f in folds if f.thresholds is not None and all(t.closed_ns <= known_ns for t in f.trades))
    return [f.net_usdt > 0 for f in ended]


def probability(fit: Fit, periods: int, earned: Sequence[bool], rng: np.random.Generator) -> float | None:
    """That the next fold of so many periods earns, by what was chosen for it; None where the look-back has no answer."""
    if fit.thresholds is None or fit.nets is None:
        return None
    try:
        return sharpe.probability_of_gain(fit.nets, periods, rng, earned=earned)
    except SeriesError:
        return None


def _judged(
    tape: Tape, folds: tuple[Fold, ...], result: Backtest, period_s: float, rng: np.random.Generator | None
) -> WalkForward:
    start_ns, end_ns = result.start_ns, result.end_ns
    last_ns = max([end_ns - 1, *(c.ts_ns for c in result.closings)])
    past = int(np.searchsorted(tape.ts_ns, last_ns, "left")) + 1  # the first event that shows the last closing
    seen = tape.take(slice(int(np.searchsorted(tape.ts_ns, start_ns)), past))
    nets = period_nets(seen, result, start_ns, end_ns, period_s)
    said = [f for f in folds if f.probability is not None]
    ended = [t for t in result.trades if not t.censored]
    return WalkForward(
        folds=folds,
        result=result,
        tape=seen,
        nets=nets,
        period_s=period_s,
        net_usdt_day=sharpe.mean_interval(nets, rng).scaled(DAY_S / period_s) if rng and np.ptp(nets) > 0 else None,
        hit_rate=sharpe.wilson(sum(t.reason == "target" for t in ended), len(ended)) if ended else None,
        brier=sharpe.brier([f.probability for f in said], [f.net_usdt > 0 for f in said]) if said else None,
    )
