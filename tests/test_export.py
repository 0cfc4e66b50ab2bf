"""From verdict to file: champion against challenger, and how sure the levels are."""

import dataclasses
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from strategies import perp, spot
from studies import study

from delta_arb import params
from delta_arb.backtest import performance
from delta_arb.errors import ParamsError
from delta_arb.evidence import FilterParams
from delta_arb.latency import Latency
from delta_arb.market import NS, FundingPayment
from delta_arb.optimize import export, gates, search
from delta_arb.optimize.champion import contested, examined, settle
from delta_arb.optimize.gates import Judgement
from delta_arb.optimize.search import Choice, Proposal, Sweep
from delta_arb.optimize.study import Constraints, Market, Thresholds
from delta_arb.optimize.verdict import Verdict, judge
from delta_arb.optimize.window import window
from delta_arb.quotes.inputs import Inputs
from delta_arb.quotes.tape import Tape
from delta_arb.report import choice_tables
from delta_arb.report.tearsheet import tear_sheet
from delta_arb.tables import number
from delta_arb.venue_terms import VenueTerms

PASSED = Judgement(None, None, None, None, None, (), ())
MISSED = Judgement(None, None, None, None, None, (gates.gate("pairs out of sample", 3.0, 15),), ())
SMALL, LARGE = Thresholds(50.0, 0.0, 3600.0), Thresholds(100.0, 0.0, 3600.0)
HOURS = 24
IS_LARGE = np.random.default_rng(1).random(4 * HOURS) < 0.5


# --- by hand: a wave every quarter of an hour, about half of them large -----------------------------------------------


@pytest.fixture(scope="module")
def tape() -> Tape:
    """Waves of 60 or 120 bps, 5 min long, quotes every 20 s: SMALL takes all of them, LARGE the large ones."""
    rows = []
    for at_s in range(0, HOURS * 3600, 20):
        crest = 120.0 if IS_LARGE[at_s // 900] else 60.0
        bid = 100.0 * (1 + (crest if 300 <= at_s % 900 < 600 else -20.0) / 1e4)
        rows += [spot(at_s, 99.99, 100.0), perp(at_s, bid, bid + 0.01)]
    return Tape.of(rows)


def verdict(tape: Tape, best: Thresholds, judgement=PASSED, ask=lambda thresholds: PASSED, **demands) -> Verdict:
    """A verdict that says trade `best`, on the hand-made waves and without fees."""
    settings = params.Rule(entry_bps=None, exit_bps=None, max_hold_s=3600.0, clip_usdt=1000.0)
    market = Market(
        *(VenueTerms(venue=venue, taker_fee_bps=0.0) for venue in ("mexc", "gate")), Latency(0.1, 0.1), (), settings
    )
    constraints = Constraints(max_entry_bps=150.0, max_drawdown=0.05, **demands)
    parts = window(tape, constraints)
    results = [performance.measure(part, market.replay(part, best)) for part in (parts.fit, parts.judge)]
    choice_tables = Proposal(None, "by hand", best, 1.0)
    choice = Choice(parts, constraints, market, None, Sweep((), ()), (), choice_tables, *results, True, "earned")
    return Verdict(choice, judgement, 900.0, True, "earned", ask)


def file_of(folder, tape: Tape, held: Thresholds, fitted_for_h: float, age=timedelta(0), inputs=None, **changes) -> str:
    """A parameter file of `held`, fitted on the first hours of the tape, created a while ago."""
    inputs = inputs or Inputs()
    legs = inputs.terms()
    created = datetime.now(UTC) - age
    rule = params.Rule(**held.values(), clip_usdt=50.0)
    values = {
        "pair": inputs.pair, "trade": True, "reason": "chosen before", "rule": rule, "spot": legs[0], "perp": legs[1],
        "data": inputs.data_params(tape, tape.start_ns + round(fitted_for_h * 3600 * NS)),
        "evidence": params.Evidence(), "created": created, "valid_until": created + timedelta(hours=1),
        "code_version": "0", "notebook": "02", "run_id": "before",
    }  # fmt: skip
    return str(params.save(params.sealed(**values | changes), folder / "latest.json"))


def settled(tape, folder, champion, challenger, fitted_for_h=8.0, **options) -> Verdict:
    path = file_of(folder, tape, champion, fitted_for_h)
    return settle(verdict(tape, challenger, **options), Inputs(), tape, path)


def exported(found: Verdict, tape: Tape) -> params.Params:
    return export.candidate(found, Inputs(), tape, valid_for_s=3600.0, notebook="02", run_id="now")


def test_a_clearly_better_challenger_replaces_the_champion(tape, tmp_path):
    found = settled(tape, tmp_path, LARGE, SMALL)
    assert found.contest.replace and not found.kept and found.thresholds == SMALL
    # a small wave earns 60 bps in and 18 bps out, on 1000 USDT; only SMALL takes those among the last 31 waves
    assert found.contest.gain_usdt_day.value == pytest.approx(96 * np.mean(~IS_LARGE[-31:]) * 7.8, rel=0.01)
    assert found.contest.gain_usdt_day.low > 0
    assert found.reason.startswith("earned; on the 7.75 h that neither was fitted on: the new parameters earn ")
    candidate = exported(found, tape)
    evidence = candidate.evidence
    assert (candidate.rule.entry_bps, evidence.replaced) == (50.0, True)
    assert evidence.champion_sha256 == params.load(tmp_path / "latest.json").sha256
    assert evidence.gain_low_usdt_day < evidence.gain_usdt_day < evidence.gain_high_usdt_day


def test_a_challenger_that_earns_less_leaves_the_champion_in_force(tape, tmp_path):
    found = settled(tape, tmp_path, SMALL, LARGE)
    assert found.kept and found.thresholds == SMALL
    assert found.reason.startswith("re-confirmed: entry 50 bps, exit 0 bps")
    candidate = exported(found, tape)
    assert candidate.trade and (candidate.rule.entry_bps, candidate.rule.exit_bps) == (50.0, 0.0)
    evidence = candidate.evidence
    assert (evidence.replaced, evidence.best_entry_bps) == (False, 100.0)  # what the run chose is still to be seen
    assert evidence.judged_net_usdt_day == found.judged.net_usdt_day > found.choice.judged.net_usdt_day
    assert examined(candidate) == SMALL


def test_the_figures_of_a_confirmed_file_are_those_of_its_thresholds(tape, tmp_path):
    asked = []
    mine = dataclasses.replace(PASSED, confidence=0.6)
    found = settled(tape, tmp_path, SMALL, LARGE, ask=lambda thresholds: (asked.append(thresholds), mine)[1])
    assert asked == [SMALL] and exported(found, tape).evidence.confidence == 0.6


def test_a_champion_that_misses_a_demand_of_this_run_does_not_stay(tape, tmp_path):
    found = settled(tape, tmp_path, LARGE, SMALL, min_trades_day=80.0)  # of the 96 waves of a day it takes half
    assert found.contest.replace and found.contest.gain_usdt_day is None
    assert "(entry 100 bps, exit 0 bps, hold at most 1 h) do not pass any more: 4" in found.contest.words
    assert exported(found, tape).evidence.replaced is True


def test_a_champion_that_misses_a_gate_of_this_run_does_not_stay(tape, tmp_path):
    found = settled(tape, tmp_path, SMALL, LARGE, ask=lambda thresholds: MISSED)
    assert found.thresholds == LARGE and "pairs out of sample 3 pairs is below 15 pairs" in found.reason


@pytest.mark.parametrize(
    ("champion", "words"),
    [
        (SMALL._replace(entry_bps=160.0), "entry 160 bps is above the 150 bps allowed"),
        (SMALL._replace(max_hold_s=90_000.0), "hold 90000 s is above the 21600 s allowed"),
    ],
)
def test_a_champion_beyond_the_limits_of_this_run_does_not_stay(tape, tmp_path, champion, words):
    found = settled(tape, tmp_path, champion, SMALL)
    assert found.contest.replace and words in found.contest.words


def test_a_champion_on_the_other_signal_does_not_stay(tape, tmp_path):
    process = FilterParams(half_life_s=600.0, mean_bps=20.0, sd_bps=40.0, noise_sd_bps=1.0, step_s=20.0)
    path = file_of(tmp_path, tape, SMALL, 8.0, rule=params.Rule(
        **SMALL._replace(filter=process).values(), clip_usdt=50.0))  # fmt: skip
    found = settle(verdict(tape, LARGE), Inputs(), tape, path)
    assert found.contest.replace and "on the filtered basis, this run on the raw one" in found.contest.words


@pytest.mark.parametrize("fitted_for_h", [20.5, 23.0, 24.0])
def test_with_too_little_unseen_by_both_a_champion_that_passes_stays(tape, tmp_path, fitted_for_h):
    found = settled(tape, tmp_path, LARGE, SMALL, fitted_for_h)
    assert found.kept and found.contest.gain_usdt_day is None
    assert "the new choice cannot be told from it, 4 h are needed" in found.reason


def test_what_the_champion_was_fitted_on_is_no_part_of_the_contest(tape, tmp_path):
    found = settled(tape, tmp_path, LARGE, SMALL, 18.0)
    assert "on the 5.75 h that neither was fitted on" in found.reason and found.contest.replace


def test_the_same_choice_again_is_confirmed_with_a_new_validity(tape, tmp_path):
    path = file_of(tmp_path, tape, SMALL, 8.0, age=timedelta(hours=30))  # stale for 29 h: it counts all the same
    found = settle(verdict(tape, SMALL), Inputs(), tape, path)
    before, after = params.load(path), exported(found, tape)
    held = "entry 50 bps, exit 0 bps, hold at most 1 h"
    assert found.kept and after.reason == f"re-confirmed: {held}; the new choice is the same"
    assert after.rule.entry_bps == before.rule.entry_bps and after.rule.exit_bps == before.rule.exit_bps
    assert after.created > before.valid_until and (after.valid_until - after.created).total_seconds() == 3600
    assert (after.evidence.replaced, after.evidence.gain_usdt_day) == (False, None)


def refused(tape, **demands) -> Verdict:
    return dataclasses.replace(verdict(tape, LARGE, **demands), trade=False, reason="9 pairs were asked for", ask=None)


def test_where_nothing_passes_the_champion_stays_while_nothing_speaks_against_it(tape, tmp_path):
    """Evidence of some hours comes and goes; the file says that it is kept, since when it has not passed, and why."""
    held = params.load(file_of(tmp_path, tape, SMALL, 8.0))
    found = settle(refused(tape), Inputs(), tape, str(tmp_path / "latest.json"))
    after = exported(found, tape)
    assert found.kept and after.trade and after.rule.entry_bps == 50.0
    assert after.reason.startswith(
        "kept in force: entry 50 bps, exit 0 bps, hold at most 1 h; this run alone would export nothing (9 pairs were asked for)"
    )
    assert after.evidence.last_passed == held.data.end  # not this run
    kept = file_of(tmp_path, tape, SMALL, 8.0, evidence=after.evidence.replace(last_passed=held.data.start))
    twice = exported(settle(refused(tape), Inputs(), tape, kept), tape)
    assert twice.evidence.last_passed == held.data.start  # keeping it does not make it younger


def test_only_of_thresholds_kept_in_force_is_a_missed_demand_a_warning(tape, tmp_path):
    with pytest.raises(
        ParamsError, match="trade is true but a demand is missed: pairs out of sample 3 pairs is below 15"
    ):
        exported(verdict(tape, LARGE, MISSED), tape)
    found = settle(
        dataclasses.replace(verdict(tape, LARGE, MISSED, ask=lambda of: MISSED), trade=False), Inputs(), tape,
        file_of(tmp_path, tape, SMALL, 8.0),
    )  # fmt: skip
    candidate = exported(found, tape)
    assert candidate.trade and [g.result for g in candidate.gates] == ["warns"]


def test_a_champion_can_be_kept_by_a_run_that_proposed_nothing(tape, tmp_path):
    nothing = refused(tape)
    blank = dataclasses.replace(nothing.choice, proposal=None, fitted=None, judged=None, trade=False)
    bare = dataclasses.replace(nothing, choice=blank, judgement=None)
    found = settle(bare, Inputs(), tape, file_of(tmp_path, tape, SMALL, 8.0))
    assert exported(found, tape).rule.entry_bps == 50.0 and found.judgement is None
    said = repr(choice_tables.spoken(found))
    assert "Verdict: trade. Kept in force" in said and "this run alone would export nothing" in said
    assert [row[0] for row in contested(found).rows] == ["in force"]
    assert "kept in force" in repr(choice_tables.gated(found))


@pytest.mark.parametrize(
    ("demands", "champion", "words"),
    [
        (
            {},
            Thresholds(130.0, 0.0, 3600.0),
            "net 0.00 USDT a day on the last 8.0 h is not above zero",
        ),  # no wave is so high
        ({"max_hold_s": 1800.0}, SMALL, "hold 3600 s is above the 1800 s allowed"),
        ({"look_back_h": 23.0}, SMALL, "longer than one looks back"),
    ],
)
def test_a_champion_is_withdrawn_for_what_speaks_against_it(tape, tmp_path, demands, champion, words):
    day_before = datetime.fromtimestamp(tape.end_ns / NS, UTC) - timedelta(hours=24)
    passed = day_before if "look_back_h" in demands else None
    path = file_of(tmp_path, tape, champion, 8.0, evidence=params.Evidence(last_passed=passed))
    found = settle(refused(tape, **demands), Inputs(), tape, path)
    assert not found.trade and words in found.reason and "are withdrawn" in found.reason
    assert exported(found, tape).rule.entry_bps is None


def unpaid(tape) -> tuple[FundingPayment, ...]:
    """Funding of zero every 8 h, from before the tape until after it."""
    return tuple(FundingPayment(tape.start_ns + k * 8 * 3600 * NS, 0.0, 100.0, True) for k in range(-1, 5))


def test_a_report_replays_the_part_that_was_judged_under_the_funding_rules_in_force(tape):
    """The rules changed at noon: the last third of the 12 h since judges, 4 h, and not of the 24 h looked back on."""
    here = verdict(tape, SMALL)
    changed = dataclasses.replace(
        here.choice.market, payments=unpaid(tape), funding_changes=(tape.start_ns + 12 * 3600 * NS,)
    )
    parts = window(changed.in_force(tape), here.choice.constraints)
    results = [performance.measure(part, changed.replay(part, SMALL)) for part in (parts.fit, parts.judge)]
    choice = dataclasses.replace(
        here.choice, window=parts, market=changed, fitted=results[0], judged=results[1], trade=False
    )
    candidate = exported(dataclasses.replace(here, choice=choice, judgement=None, trade=False), tape)
    sheet = tear_sheet(tape, changed, candidate, choice.constraints)
    assert list(sheet.parts.values())[-1].performance.days * 24 == pytest.approx(4.0, abs=0.02)


@pytest.mark.parametrize(("changed_h", "stays"), [(-1.0, False), (1.0, True)])
def test_a_champion_of_other_funding_rules_is_withdrawn(tape, tmp_path, changed_h, stays):
    """It last passed two hours before the end; the rules changed an hour later, or an hour earlier."""
    passed_ns = tape.end_ns - 2 * 3600 * NS
    last = params.Evidence(last_passed=datetime.fromtimestamp(passed_ns / NS, UTC))
    nothing = refused(tape)
    changed = (passed_ns - round(changed_h * 3600 * NS),)
    here = dataclasses.replace(nothing.choice.market, payments=unpaid(tape), funding_changes=changed)
    nothing = dataclasses.replace(nothing, choice=dataclasses.replace(nothing.choice, market=here))
    found = settle(nothing, Inputs(), tape, file_of(tmp_path, tape, SMALL, 8.0, evidence=last))
    assert found.trade == stays and ("the rules of funding changed on" in found.reason) == (not stays)


def test_without_parameters_that_trade_there_is_no_contest(tape, tmp_path):
    here = verdict(tape, SMALL)
    assert settle(here, Inputs(), tape, "") is here
    nothing = params.Rule(entry_bps=None, exit_bps=None, max_hold_s=3600.0, clip_usdt=50.0)
    path = file_of(tmp_path, tape, SMALL, 8.0, trade=False, rule=nothing)
    assert settle(here, Inputs(), tape, path) is here
    assert "no parameters of this market are in force" in repr(contested(here))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"spot_fee_bps": 6.0}, "spot.taker_fee_bps is 6.0 in the file and 5.0 here"),
        ({"perp_latency": 0.2}, "perp.latency_s is 0.2 in the file and 0.1 here"),
        ({"pair": "OTHER_USDT"}, r"of OTHER_USDT \(SYNTHETIC quotes\), this run is about SYN_USDT-mexc-gate"),
    ],
)
def test_parameters_of_another_market_are_no_champion(tape, tmp_path, changes, words):
    path = file_of(tmp_path, tape, SMALL, 8.0, inputs=Inputs(**changes))
    with pytest.raises(ParamsError, match=words):
        settle(verdict(tape, LARGE), Inputs(), tape, path)


def test_a_damaged_file_is_no_champion(tape, tmp_path):
    path = tmp_path / "latest.json"
    path.write_text('{"schema_version": 1, ')
    with pytest.raises(ParamsError, match="damaged, not JSON"):
        settle(verdict(tape, SMALL), Inputs(), tape, str(path))


def test_the_table_shows_both_and_what_became_of_it(tape, tmp_path):
    table = contested(settled(tape, tmp_path, LARGE, SMALL))
    assert [row[:3] for row in table.rows] == [("in force", "100.0", "0.0"), ("new", "50.0", "0.0")]
    assert table.note.startswith("Replaced: on the 7.75 h")


# --- on the sample world ----------------------------------------------------------------------------------------------


def test_the_judgement_of_a_champion_walks_the_same_folds():
    found = study("sample").verdict
    best = found.choice.best
    other = found.ask(best._replace(entry_bps=best.entry_bps + 2.0))
    assert [f.thresholds for f in other.walk.folds] == [f.thresholds for f in found.judgement.walk.folds]
    assert other.deflated != found.judgement.deflated


def test_the_evidence_holds_the_standard_errors_of_both_levels():
    found = study("sample").verdict
    evidence = export.evidence(found)
    assert (evidence.entry_se_bps, evidence.exit_se_bps) == search.standard_errors_bps(found.choice)
    assert evidence.entry_se_bps > 0 and evidence.exit_se_bps > 0


def test_what_was_examined_before_is_paid_for():
    """The notebook's `upstream`: the best of ten pairs must beat a higher hurdle than the only one looked at."""
    choice = study("sample").choice
    day = study("sample").tape.between(choice.window.fit.start_ns, choice.window.judge.end_ns + 1)
    alone, of_ten = (judge(day, choice, upstream).judgement.deflated for upstream in (1.0, 10.0))
    assert of_ten.trials == 10 * alone.trials
    assert of_ten.sharpe == alone.sharpe  # the record stays what it is
    assert of_ten.hurdle > alone.hurdle
    assert of_ten.probability < alone.probability


# --- in words ---------------------------------------------------------------------------------------------------------


def test_what_was_left_of_the_gain_is_said_of_what_is_traded(tape, tmp_path):
    """LARGE is in force and stays: SMALL, the challenger, is not what the page speaks of."""
    kept = settled(tape, tmp_path, SMALL, LARGE)
    assert kept.kept
    said = repr(choice_tables.spoken(kept))
    judged, fitted = (number(p.net_usdt_day) for p in (kept.champion.judged, kept.champion.fitted))
    assert f"The parameters in force earned {judged} USDT a day on the judged part, {fitted} before." in said
    assert "were left" not in said and "it earned" not in said
    assert "On the quotes it has not seen it earned" in repr(choice_tables.spoken(verdict(tape, SMALL)))
