"""A verdict as the parameter file that a runner reads: thresholds or "do not trade", with the evidence."""

from datetime import UTC, datetime, timedelta

from delta_arb import __version__
from delta_arb.evidence import Evidence
from delta_arb.market import NS, from_bps
from delta_arb.optimize.carry_walk_forward import Asked
from delta_arb.optimize.champion import NAMES
from delta_arb.optimize.search import standard_errors_bps
from delta_arb.optimize.study import CARRY, REVERSION
from delta_arb.optimize.verdict import Verdict
from delta_arb.params import Params, sealed
from delta_arb.quotes.inputs import Inputs, wallet_params
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.rule import make_rule
from delta_arb.strategy.sizing import needs_usdt


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
    kept = verdict.trade and verdict.kept and not carry  # they passed before: what they miss today only warns
    now = datetime.now(UTC)
    choice = verdict.choice
    market = carry.walk.market if carry and carry.walk else choice.market
    spot, perp = market.spot, market.perp
    rule = market.rule_params(of.thresholds if of.trade else None)
    return sealed(
        pair=inputs.pair,
        profile=carried.profile if carried else REVERSION,
        trade=of.trade,
        reason=of.reason,
        rule=rule,
        spot=spot,
        perp=perp,
        wallets=wallet_params(market.funds, needs_usdt(make_rule(rule, spot, perp))),
        data=inputs.data_params(tape, None if carry else choice.window.judged_from_ns),
        evidence=carry_evidence(carry) if carry else evidence(verdict),
        gates=tuple(g.replace(result="warns") if kept and g.refuses else g for g in found or ()),
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
    values = {"walk_folds": len(walk.folds), "walk_trades": len(walk.trades), "trials": walk.now.tried}
    values |= {"confidence": walk.confidence, "horizon_s": (walk.folds[0].end_ns - walk.folds[0].start_ns) / NS}
    if walk.brier:
        values |= {"walk_brier": walk.brier.score, "walk_brier_base": walk.brier.base}
    if best:
        values |= {"best_entry_bps": best.entry_bps, "best_exit_bps": best.exit_bps, "best_max_hold_s": best.max_hold_s}
        values |= {"best_funding_horizon_s": best.funding_horizon_s}
    if paid := walk.deflated:
        values |= {
            "deflated_sharpe": paid.probability,
            "deflated_sharpe_of_all": paid.of_all,
            "trials_effective": paid.clusters,
        }
    if walk.net_bps_day:
        usdt, net = from_bps(walk.position_usdt), walk.net_bps_day
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
        values["deflated_sharpe_of_all"] = found.deflated and found.deflated.of_all
        values["trials_effective"] = found.deflated and found.deflated.clusters
        values["overfitting_probability"] = found.overfitting and found.overfitting.probability
        values["reality_check_p"] = found.superior and found.superior.p
    if verdict.champion and verdict.contest:
        values |= {"champion_sha256": verdict.champion.sha256, "replaced": verdict.contest.replace}
    if verdict.trade and verdict.champion:
        values["last_passed"] = datetime.fromtimestamp(verdict.champion.passed_ns // 1_000 / 1e6, UTC)
    if verdict.contest and (gain := verdict.contest.gain_usdt_day):
        values |= {"gain_usdt_day": gain.value, "gain_low_usdt_day": gain.low, "gain_high_usdt_day": gain.high}
    return Evidence(**values, reverse=verdict.reverse)
