"""From a choice to a parameter file: the gates, the evidence, the candidate.

The choice says what would be traded; the walk-forward says what the procedure of choosing earned on quotes it had not
seen, and the statistics of `selection` how much of the rest is the choosing itself. Whatever is not passed, or could
not be computed, ends in "do not trade" with the reason.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from . import __version__, gates, params
from .errors import DataError
from .gates import Judgement
from .inputs import Inputs
from .market import NS
from .optimize import PERIOD_S, SEED, Choice, choose, spoken
from .params import Evidence, GateParams, Params, sealed
from .study import Constraints, Market, Thresholds
from .tape import Tape
from .walkforward import HALF_LIVES, coarse

STEP_S = 4 * 3600.0  # of the walk-forward, where the quotes are long enough
FOLDS = 6  # at least, before the step is shortened


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """A choice and what the gates say of it; `judgement` is None where the walk-forward has no answer."""

    choice: Choice
    judgement: Judgement | None
    horizon_s: float | None
    trade: bool
    reason: str

    def __repr__(self) -> str:
        return f"Verdict({'trade' if self.trade else 'do not trade'}: {self.reason})"


def judge(tape: Tape, choice: Choice, upstream: float = 1.0) -> Verdict:
    """Walk the procedure forward over the whole tape, count what was tried, pass the gates or refuse.

    `upstream` is how many pairs, modes or markets were examined before this one was picked (this one included).
    """
    if choice.best is None or choice.half_life is None:
        return Verdict(choice, None, None, False, choice.reason)
    look_back_s, step_s, embargo_s = frame(tape, choice)
    sets = [choice.best, *(s for s in coarse(choice.sweep.sets) if s != choice.best)]
    try:
        found = gates.judge(
            tape, choice.market, choice.constraints, sets, choice.best, look_back_s=look_back_s, step_s=step_s,
            embargo_s=embargo_s, half_life_s=choice.half_life.half_life_s, rng=np.random.default_rng(SEED), upstream=upstream,
        )  # fmt: skip
    except DataError as error:
        reason = choice.reason if not choice.trade else f"{spoken(choice.best)} cannot be walked forward: {error}"
        return Verdict(choice, None, step_s, False, reason)
    if choice.trade and not found.passed:
        return Verdict(choice, found, step_s, False, f"{spoken(choice.best)} does not pass: {found.reason}")
    warned = f"; but {found.reason}" if choice.trade and found.reason else ""
    return Verdict(choice, found, step_s, choice.trade, choice.reason + warned)


def frame(tape: Tape, choice: Choice) -> tuple[float, float, float]:
    """Look-back, step and embargo of the walk-forward, seconds: whole periods that fit into the quotes there are.

    Half of the quotes at most are look-back. The embargo is five half-lives, or the longest hold where that is shorter.
    """
    span_s = (tape.end_ns - tape.start_ns) / NS
    embargo_s = min(HALF_LIVES * choice.half_life.half_life_s, choice.constraints.max_hold_s)
    look_back_s = min(choice.constraints.look_back_h * 3600.0 * choice.constraints.fit_share, span_s / 2)
    step_s = min(STEP_S, (span_s - look_back_s - embargo_s) / FOLDS)
    whole = [max(round(s // PERIOD_S), 1) * PERIOD_S for s in (look_back_s, step_s)]
    return whole[0], whole[1], embargo_s


def candidate(
    verdict: Verdict, inputs: Inputs, tape: Tape, *, valid_for_s: float, notebook: str, run_id: str
) -> Params:
    """The parameters to publish, with their evidence."""
    now = datetime.now(UTC)
    spot, perp = inputs.venue_params()
    choice = verdict.choice
    return sealed(
        pair=inputs.pair,
        trade=verdict.trade,
        reason=verdict.reason,
        rule=choice.market.rule_params(choice.best if verdict.trade else None),
        spot=spot,
        perp=perp,
        data=inputs.data_params(tape, choice.window.judged_from_ns),
        evidence=evidence(verdict),
        gates=tuple(GateParams(name=g.name, value=g.value, bound=g.bound, at_least=g.least, passed=g.passed) for g in (verdict.judgement.gates if verdict.judgement else ())),
        created=now,
        valid_until=now + timedelta(seconds=valid_for_s),
        code_version=__version__,
        notebook=notebook,
        run_id=run_id,
    )


def evidence(verdict: Verdict) -> Evidence:
    """The figures behind a verdict."""
    choice, found = verdict.choice, verdict.judgement
    walk = found and found.walk
    fitted, judged, reverts, proposal = choice.fitted, choice.judged, choice.half_life, choice.proposal
    values = {"trials": len(choice.sweep.sets), "horizon_s": verdict.horizon_s}
    if reverts:
        values |= {"half_life_s": reverts.half_life_s, "half_life_low_s": reverts.low_s, "half_life_high_s": reverts.high_s}
    if proposal:
        best = proposal.thresholds
        values |= {"best_entry_bps": best.entry_bps, "best_exit_bps": best.exit_bps, "best_max_hold_s": best.max_hold_s}
        values |= {"best_filter": best.filter, "grid_weight": proposal.weight}
        values |= {"fit_trades": fitted.trades, "fit_net_usdt_day": fitted.net_usdt_day}
        values |= {"judged_trades": judged.trades, "judged_net_usdt_day": judged.net_usdt_day}
        values |= {"judged_hit_rate": judged.hit_rate, "judged_drawdown": judged.drawdown}
    if proposal and proposal.plug_in:
        values |= {"plug_in_entry_bps": proposal.plug_in.entry_bps, "plug_in_exit_bps": proposal.plug_in.exit_bps}
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
    return Evidence(**values)


def load_or_judge(run_folder: str, inputs: Inputs, tape: Tape, market: Market, constraints: Constraints) -> Params:
    """The candidate that notebook 02 left in the run's folder; opened by hand (no folder), the choice is made anew."""
    if run_folder:
        return params.load(Path(run_folder) / "candidate.json")
    verdict = judge(tape, choose(tape, market, constraints))
    return candidate(verdict, inputs, tape, valid_for_s=3600.0, notebook="03_backtest_report", run_id="by hand")


def examined(exported: Params) -> Thresholds | None:
    """The thresholds of an export, or of the best set examined when it says do not trade."""
    e = exported.evidence
    if e.best_entry_bps is None:
        return None
    return Thresholds(e.best_entry_bps, e.best_exit_bps, e.best_max_hold_s, e.best_filter)
