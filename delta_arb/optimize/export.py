"""From a choice to a parameter file: the gates, the contest with the parameters in force, the evidence, the candidate.

The choice says what would be traded; the walk-forward says what the procedure of choosing earned on quotes it had not
seen, and the statistics of `selection` how much of the rest is the choosing itself. Whatever is not passed, or could
not be computed, ends in "do not trade" with the reason. What passes meets the champion, the parameters in force: it
replaces them for a gain above its noise, otherwise they are confirmed with this run's evidence and a new validity.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from delta_arb import __version__, bounds, params
from delta_arb.backtest.performance import Performance, measure
from delta_arb.errors import DataError, ParamsError, SeriesError
from delta_arb.evidence import Evidence, GateParams, ReverseEvidence
from delta_arb.market import NS
from delta_arb.optimize import gates
from delta_arb.optimize.carry_walk_forward import Asked
from delta_arb.optimize.gates import Contest, Judgement
from delta_arb.optimize.search import PERIOD_S, SEED, WAYS, Choice, spoken, standard_errors_bps
from delta_arb.optimize.study import CARRY, REVERSION, Thresholds, both
from delta_arb.optimize.walk_forward import HALF_LIVES, Choose, Fit, LookBack, coarse, propose
from delta_arb.params import Params, sealed
from delta_arb.quotes.inputs import Inputs
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.rule import make_rule
from delta_arb.strategy.sizing import needs_usdt
from delta_arb.strategy.state import DIRECT, REVERSE
from delta_arb.tables import Table, number, seconds

STEP_S = 4 * 3600.0  # of the walk-forward, where the quotes are long enough
MOST_FOLDS = 30
FOLDS = 6  # at least, before the step is shortened
SIDES = {"direct": DIRECT, "reverse": REVERSE}
NAMES = {side: name for name, side in SIDES.items()}
MIN_UNSEEN = 16  # periods of a contest; below that the long-run variance of the difference is a guess


@dataclass(frozen=True, slots=True, eq=False)
class Champion:
    """The parameters in force on this run's quotes; `fitted` and `judged`: their replays on the parts of its window."""

    sha256: str
    thresholds: Thresholds
    fitted: Performance
    judged: Performance


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """A choice and what the gates say of it; `judgement` is None where the walk-forward has no answer.

    After a contest, `champion` and `contest` are set. Where the champion stays, `judgement`, `fitted` and `judged` are
    of its thresholds; `choice` is the challenger still. `ask` gives the judgement of other thresholds, `choose` is
    the procedure that was walked. `reverse`: what became of the reverse direction, where it was asked about (see
    `directions`).
    """

    choice: Choice
    judgement: Judgement | None
    horizon_s: float | None
    trade: bool
    reason: str
    ask: Callable[[Thresholds], Judgement] | None = None
    champion: Champion | None = None
    contest: Contest | None = None
    choose: Choose | None = None
    reverse: ReverseEvidence | None = None

    @property
    def kept(self) -> bool:
        """Whether the parameters in force were confirmed."""
        return self.contest is not None and not self.contest.replace

    @property
    def thresholds(self) -> Thresholds | None:
        """What is exported when it says trade, and looked at when it does not."""
        return self.champion.thresholds if self.kept else self.choice.best

    @property
    def fitted(self) -> Performance | None:
        return self.champion.fitted if self.kept else self.choice.fitted

    @property
    def judged(self) -> Performance | None:
        return self.champion.judged if self.kept else self.choice.judged

    def __repr__(self) -> str:
        return f"Verdict({'trade' if self.trade else 'do not trade'}: {self.reason})"


def judge(tape: Tape, choice: Choice, upstream: float = 1.0, choose: Choose | None = None, sets=()) -> Verdict:
    """Walk the procedure forward over the whole tape, count what was tried, pass the gates or refuse.

    Args:
        upstream: how many pairs, modes or markets were examined before this one was picked (this one included).
        choose: the procedure, where it is not that of the choice's one direction.
        sets: what was tried besides the choice's own.
    """
    if choice.best is None or choice.half_life is None:
        return Verdict(choice, None, None, False, choice.reason)
    look_back_s, step_s, embargo_s = frame(tape, choice)
    sets = [choice.best, *(s for s in (*coarse(choice.sweep.sets), *sets) if s != choice.best)]
    choose = choose or Once(choice.side)

    def ask(thresholds: Thresholds) -> Judgement:
        return gates.judge(
            tape, choice.market, choice.constraints, sets, thresholds, look_back_s=look_back_s, step_s=step_s,
            embargo_s=embargo_s, half_life_s=choice.half_life.half_life_s, rng=np.random.default_rng(SEED),
            upstream=upstream, choose=choose,
        )  # fmt: skip

    try:
        found = ask(choice.best)
    except DataError as error:
        reason = choice.reason if not choice.trade else f"{spoken(choice.best)} cannot be walked forward: {error}"
        return Verdict(choice, None, step_s, False, reason)
    if choice.trade and not found.passed:
        reason = f"{spoken(choice.best)} does not pass: {found.reason}"
        return Verdict(choice, found, step_s, False, reason, choose=choose)
    warned = _warned(found) if choice.trade else ""
    return Verdict(choice, found, step_s, choice.trade, choice.reason + warned, ask, choose=choose)


def _warned(found: Judgement) -> str:
    return f"; but {found.reason}" if found.reason else ""


@dataclass(frozen=True, slots=True, eq=False)
class Once:
    """The choice of `propose` before each fold, searched once: a second judgement walks the same folds."""

    side: int = DIRECT
    fits: dict[int, Fit] = field(default_factory=dict)

    def __call__(self, look_back: LookBack) -> Fit:
        if look_back.until_ns not in self.fits:
            self.fits[look_back.until_ns] = propose(look_back, self.side)
        return self.fits[look_back.until_ns]


def frame(tape: Tape, choice: Choice) -> tuple[float, float, float]:
    """Look-back, step and embargo of the walk-forward, seconds: whole periods that fit into the quotes there are.

    Half of the quotes at most are look-back. The embargo is five half-lives, or the longest hold where that is shorter.
    Folds are longer where there would be too many: every fold is a choice of its own, and weeks would take minutes.
    """
    span_s = (tape.end_ns - tape.start_ns) / NS
    embargo_s = min(HALF_LIVES * choice.half_life.half_life_s, choice.constraints.max_hold_s)
    look_back_s = min(choice.constraints.look_back_h * 3600.0 * choice.constraints.fit_share, span_s / 2)
    traded_s = span_s - look_back_s - embargo_s
    step_s = max(min(STEP_S, traded_s / FOLDS), traded_s / MOST_FOLDS)
    whole = [max(round(s // PERIOD_S), 1) * PERIOD_S for s in (look_back_s, step_s)]
    return whole[0], whole[1], embargo_s


# --- champion against challenger --------------------------------------------------------------------------------------


def in_force(path: Path, inputs: Inputs) -> Params:
    """A parameter file that a new choice can be held against: whole, and of the market of `inputs`; stale or not.

    Raises:
        ParamsError: damaged, of another pair, of other fees, latencies or order rules, or of synthetic quotes or
            candles where these are not.
    """
    held = params.load(path)
    if held.pair != inputs.pair or held.data.mark != inputs.mark:
        kind = f" ({held.data.mark})" if held.data.mark else ""
        raise ParamsError(f"{path}: of {held.pair}{kind}, this run is about {inputs.name}; give the file of this pair")
    bounds.check_assumed(held, *inputs.venue_params())
    return held


def settle(verdict: Verdict, inputs: Inputs, tape: Tape, champion: str) -> Verdict:
    """The verdict after the contest with the parameter file in force; unchanged without one, or with "do not trade".

    The champion must meet all demands and gates of this run, as if it had been chosen now; then it stays unless the
    challenger earned more than it by more than the noise of the difference.
    """
    if not (champion and verdict.trade):
        return verdict
    held = in_force(Path(champion), inputs)
    if not held.trade or held.profile != REVERSION:  # what carries is judged by its own walk
        return verdict
    choice, mine = verdict.choice, examined(held)
    parts = (measure(part, choice.market.replay(part, mine)) for part in (choice.window.fit, choice.window.judge))
    here = Champion(held.sha256, mine, *parts)
    same = mine == choice.best
    found = verdict.judgement if same else verdict.ask(mine)
    if misses := _misses(choice, here, found):
        words = f"those in force ({spoken(mine)}) do not pass any more: {'; '.join(misses)}"
        contest = Contest(True, None, words)
    elif same:
        contest = Contest(False, None, "the new choice is the same")
    else:
        contest = _contest(tape, choice, mine, _fitted_until_ns(held))
    if contest.replace:
        return replace(verdict, champion=here, contest=contest, reason=f"{verdict.reason}; {contest.words}")
    reason = f"re-confirmed: {spoken(mine)}; {contest.words}{_warned(found)}"
    return replace(verdict, judgement=found, champion=here, contest=contest, reason=reason)


def _misses(choice: Choice, champion: Champion, found: Judgement) -> list[str]:
    """Which of this run's demands and gates the champion does not meet."""
    demands, mine = choice.constraints, champion.thresholds
    misses = []
    if mine.levels(REVERSE) and not choice.market.funds.inventory:
        misses.append("they sell coins that are held, and this run was given none (--inventory-coins)")
    if mine.filter and choice.market.signal == "raw":
        misses.append("they decide on the filtered basis, this run on the raw one")
    entries = {WAYS[side]: at.entry_bps for side in (DIRECT, REVERSE) if (at := mine.levels(side))}
    misses += [
        f"{way}entry {entry:g} bps is above the {demands.max_entry_bps:g} bps allowed"
        for way, entry in entries.items()
        if entry > demands.max_entry_bps
    ]
    if mine.max_hold_s > demands.max_hold_s:
        misses.append(f"hold {mine.max_hold_s:g} s is above the {demands.max_hold_s:g} s allowed")
    for name, result in (("fit", champion.fitted), ("judged", champion.judged)):
        misses += [f"{miss} on the {name} part" for miss in demands.failures(result)]
    return misses if misses or found.passed else [found.reason]


def _fitted_until_ns(held: Params) -> int:
    """From here on the champion's thresholds are not fitted; a confirmed file names a later time than it need."""
    return round((held.data.judged_from or held.data.end).timestamp() * 1e6) * 1000


def _contest(tape: Tape, choice: Choice, champion: Thresholds, fitted_until_ns: int) -> Contest:
    """Both on the quotes that neither was fitted on: this run's judged part, from where the champion's own began.

    The judged part of either could veto its thresholds and did not choose them. Periods are counted back from the end;
    with too few of them the champion, which has passed all demands, stays.
    """
    start_ns = max(choice.window.judged_from_ns, fitted_until_ns)
    periods = max(0, int((tape.end_ns - start_ns) / NS // PERIOD_S))
    unseen = f"on the {seconds(periods * PERIOD_S)} that neither was fitted on"
    if periods < MIN_UNSEEN:
        needed = seconds(MIN_UNSEEN * PERIOD_S)
        return Contest(False, None, f"{unseen} the new choice cannot be told from it, {needed} are needed")
    start_ns = tape.end_ns - round(periods * PERIOD_S * NS)
    part = tape.between(start_ns, tape.end_ns + 1)
    try:
        found = gates.contest(part, choice.market, champion, choice.best, np.random.default_rng(SEED))
    except SeriesError as error:
        return Contest(False, None, f"{unseen} the new choice cannot be told from it: {error}")
    return replace(found, words=f"{unseen}: {found.words}")


def contested(verdict: Verdict) -> Table:
    """Champion and challenger beside each other, or why there was no contest."""
    title, found, held = "Champion and challenger", verdict.contest, verdict.champion
    if found is None or held is None:
        why = "no parameters of this market are in force" if verdict.trade else f"nothing is traded: {verdict.reason}"
        return Table.of(title, ("", "nothing to compare"), [("reason", why)])
    both = (("in force", held.thresholds, held.judged), ("new", verdict.choice.best, verdict.choice.judged))
    rows = [
        (name, *(number(level, 1) for level in s[:2]), seconds(s.max_hold_s), f"{p.trades}", number(p.net_usdt_day))
        for name, s, p in both
    ]
    heads = ("", "entry, bps", "exit, bps", "longest hold", "judged trades", "judged net USDT/day")
    return Table.of(title, heads, rows, f"{'Replaced' if found.replace else 'Kept'}: {found.words}.")


# --- the file ---------------------------------------------------------------------------------------------------------


def candidate(
    verdict: Verdict,
    inputs: Inputs,
    tape: Tape,
    *,
    valid_for_s: float,
    notebook: str,
    run_id: str,
    carried: Asked | None = None,
) -> Params:
    """The parameters to publish, with their evidence; of `carried`, where the profile is carry, the verdict on that."""
    carry = carried if carried and carried.profile == CARRY else None
    of = carry or verdict
    found = carry.walk and carry.walk.gates if carry else verdict.judgement and verdict.judgement.gates
    now = datetime.now(UTC)
    spot, perp = inputs.venue_params()
    choice = verdict.choice
    rule = choice.market.rule_params(of.thresholds if of.trade else None)
    return sealed(
        pair=inputs.pair,
        profile=carried.profile if carried else REVERSION,
        trade=of.trade,
        reason=of.reason,
        rule=rule,
        spot=spot,
        perp=perp,
        wallets=inputs.wallet_params(needs_usdt(make_rule(rule, choice.market.spot, choice.market.perp))),
        data=inputs.data_params(tape, None if carry else choice.window.judged_from_ns),
        evidence=carry_evidence(carry) if carry else evidence(verdict),
        gates=tuple(
            GateParams(name=g.name, value=g.value, bound=g.bound, at_least=g.least, passed=g.passed)
            for g in found or ()
        ),
        created=now,
        valid_until=now + timedelta(seconds=valid_for_s),
        code_version=__version__,
        notebook=notebook,
        run_id=run_id,
    )


def carry_evidence(carry: Asked) -> Evidence:
    """The figures behind a verdict on carry; nothing of it was judged on a part of its own, the walk was."""
    walk, best = carry.walk, carry.thresholds
    if walk is None:
        return Evidence()
    values = {"walk_folds": len(walk.folds), "walk_trades": len(walk.trades), "trials": walk.now.trials}
    if best:
        values |= {"best_entry_bps": best.entry_bps, "best_exit_bps": best.exit_bps, "best_max_hold_s": best.max_hold_s}
        values |= {"best_funding_horizon_s": best.funding_horizon_s}
    if walk.net_bps_day:
        usdt, net = walk.position_usdt / 1e4, walk.net_bps_day
        values |= {"walk_net_usdt_day": net.value * usdt}
        values |= {"walk_net_low_usdt_day": net.low * usdt, "walk_net_high_usdt_day": net.high * usdt}
    return Evidence(**values)


def evidence(verdict: Verdict) -> Evidence:
    """The figures behind a verdict."""
    choice, found = verdict.choice, verdict.judgement
    walk = found and found.walk
    fitted, judged, reverts, proposal = verdict.fitted, verdict.judged, choice.half_life, choice.proposal
    values = {"trials": len(choice.sweep.sets), "horizon_s": verdict.horizon_s}
    if reverts:
        values |= {"half_life_s": reverts.half_life_s}
        values |= {"half_life_low_s": reverts.low_s, "half_life_high_s": reverts.high_s}
    if proposal:
        best = proposal.thresholds
        values |= {"best_entry_bps": best.entry_bps, "best_exit_bps": best.exit_bps, "best_max_hold_s": best.max_hold_s}
        values |= {"best_filter": best.filter, "best_direction": NAMES[best.side], "grid_weight": proposal.weight}
        values |= {"fit_trades": fitted.trades, "fit_net_usdt_day": fitted.net_usdt_day}
        values |= {"judged_trades": judged.trades, "judged_net_usdt_day": judged.net_usdt_day}
        values |= {"judged_hit_rate": judged.hit_rate, "judged_drawdown": judged.drawdown}
    if proposal and proposal.plug_in:
        values |= {"plug_in_entry_bps": proposal.plug_in.entry_bps, "plug_in_exit_bps": proposal.plug_in.exit_bps}
        values["entry_se_bps"], values["exit_se_bps"] = standard_errors_bps(choice) or (None, None)
    if walk:
        values |= {"walk_trades": len(walk.result.trades), "walk_folds": len(walk.folds)}
    if walk and walk.net_usdt_day:
        net = walk.net_usdt_day
        values |= {"walk_net_usdt_day": net.value, "walk_net_low_usdt_day": net.low, "walk_net_high_usdt_day": net.high}
    if walk and walk.brier:
        values |= {"walk_brier": walk.brier.score, "walk_brier_base": walk.brier.base}
    if found:
        values["confidence"] = found.confidence
        values["deflated_sharpe"] = found.deflated and found.deflated.probability
        values["overfitting_probability"] = found.overfitting and found.overfitting.probability
        values["reality_check_p"] = found.superior and found.superior.p
    if verdict.champion and verdict.contest:
        values |= {"champion_sha256": verdict.champion.sha256, "replaced": verdict.contest.replace}
    if verdict.contest and (gain := verdict.contest.gain_usdt_day):
        values |= {"gain_usdt_day": gain.value, "gain_low_usdt_day": gain.low, "gain_high_usdt_day": gain.high}
    return Evidence(**values, reverse=verdict.reverse)


def examined(exported: Params) -> Thresholds | None:
    """The thresholds of an export, or of the best set examined when it says do not trade."""
    rule, e = exported.rule, exported.evidence
    if exported.trade:
        machine = rule.max_hold_s, rule.filter, rule.funding_horizon_s
        of_each = (
            Thresholds(*rule.levels[way], *machine, side=side) if way in rule.levels else None
            for way, side in (("", DIRECT), ("reverse_", REVERSE))
        )
        return both(*of_each)
    if e.best_entry_bps is None:
        return None
    horizon_s, side = e.best_funding_horizon_s or 0.0, SIDES[e.best_direction]
    return Thresholds(e.best_entry_bps, e.best_exit_bps, e.best_max_hold_s, e.best_filter, horizon_s, side)
