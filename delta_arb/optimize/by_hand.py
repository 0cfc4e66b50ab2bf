"""Thresholds that a person chose instead of the search: the same report, and a parameter file that says so.

Nothing was fitted and nothing was judged: the evidence are plain replays of both parts of the look-back, no gate is passed
or failed, and the pipeline publishes such a file only when it is asked to (`--publish`).
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from delta_arb import __version__, params
from delta_arb.backtest.performance import measure
from delta_arb.evidence import Evidence
from delta_arb.optimize import export, roles
from delta_arb.optimize.directions import asked
from delta_arb.optimize.parameters import parameters
from delta_arb.optimize.study import Constraints, Market, Thresholds
from delta_arb.optimize.window import window
from delta_arb.params import BY_HAND, Params, sealed
from delta_arb.quotes.inputs import Inputs, wallet_params
from delta_arb.quotes.tape import Tape
from delta_arb.rule_params import Rule
from delta_arb.strategy.rule import make_rule
from delta_arb.strategy.sizing import needs_usdt

Study = tuple[Inputs, Tape, Market, Constraints]


def levels_by_hand(values: Mapping[str, object]) -> Rule | None:
    """The rule of the thresholds that a notebook's `entry_bps` and `exit_bps` state; None where both are empty."""
    return parameters(values).by_hand


def instead(candidate: Params, rule: Rule | None, study: Study) -> Params:
    """The candidate of a search, or that of a rule chosen by hand in its place, for the same run and time."""
    if rule is None:
        return candidate
    valid_for_s = (candidate.valid_until - candidate.created).total_seconds()
    return by_hand(rule, study, valid_for_s=valid_for_s, notebook=candidate.notebook, run_id=candidate.run_id)


def load_or_judge(run_folder: str, rule: Rule | None, study: Study) -> Params:
    """The candidate that notebook 02 left in the run's folder; opened without one, the rule chosen by hand, or else a
    choice made anew."""
    if run_folder:
        return params.load(Path(run_folder) / "candidate.json")
    made = {"valid_for_s": 3600.0, "notebook": "03_backtest_report", "run_id": "by hand"}
    if rule is not None:
        return by_hand(rule, study, **made)
    inputs, tape, market, constraints = study
    verdict = asked(tape, roles.judged(tape, roles.chosen(tape, market, constraints))).verdict
    return export.candidate(verdict, inputs, tape, **made)


def by_hand(rule: Rule, study: Study, *, valid_for_s: float, notebook: str, run_id: str) -> Params:
    """The parameters of a rule that a person chose, with the replays of both parts of the look-back as their evidence.

    Raises:
        ParamsError: the rule cannot be exported: out of bounds, or its gain does not pay the four fees.
        DataError: too few events.
    """
    inputs, tape, market, constraints = study
    entry, leave = rule.levels[""]
    at = Thresholds(entry, leave, rule.max_hold_s)
    cut = window(tape, constraints)
    first, last = (measure(part, market.replay(part, at)) for part in (cut.fit, cut.judge))
    now = datetime.now(UTC)
    asked_for = market.rule_params(at)
    return sealed(
        pair=inputs.pair,
        chosen=BY_HAND,
        trade=True,
        reason=f"chosen by hand: entry {entry:g} bps, exit {leave:g} bps",
        rule=asked_for,
        spot=market.spot,
        perp=market.perp,
        wallets=wallet_params(market.funds, needs_usdt(make_rule(asked_for, market.spot, market.perp))),
        data=inputs.data_params(tape, None),
        evidence=Evidence(
            best_entry_bps=entry, best_exit_bps=leave, best_max_hold_s=rule.max_hold_s,
            fit_trades=first.trades, fit_net_usdt_day=first.net_usdt_day,
            judged_trades=last.trades, judged_net_usdt_day=last.net_usdt_day,
            judged_hit_rate=last.hit_rate, judged_drawdown=last.drawdown,
        ),
        created=now,
        valid_until=now + timedelta(seconds=valid_for_s),
        code_version=__version__,
        notebook=notebook,
        run_id=run_id,
    )  # fmt: skip
