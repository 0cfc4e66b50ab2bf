"""What the choice depends on, and what notebook 02 hands on."""

import dataclasses
import math

import pytest
from studies import study

from delta_arb import params
from delta_arb.report import choice_tables, sensitivity
from delta_arb.report.what_if import Case, Ladder, replayed

WORLDS = ["sample", "random_walk", "no_edge", "frozen_leg"]


def test_the_cells_are_the_sweep_at_the_chosen_hold():
    choice = study("sample").choice
    grid = sensitivity.cells(choice)
    assert grid.max_hold_s == choice.proposal.peak.max_hold_s
    peak = choice.proposal.peak
    row, column = grid.entries.tolist().index(peak.entry_bps), grid.exits.tolist().index(peak.exit_bps)
    assert grid.net[row, column] == choice.sweep.results[choice.sweep.sets.index(peak)].net_usdt_day
    tried = sum(s.max_hold_s == grid.max_hold_s for s in choice.sweep.sets)
    assert sum(not math.isnan(net) for net in grid.net.ravel()) == tried


def test_the_neighbourhood_holds_the_best_set_and_its_mean():
    choice = study("sample").choice
    table = sensitivity.neighbourhood(choice)
    k = choice.sweep.sets.index(choice.proposal.peak)
    assert f"its neighbourhood {choice.sweep.neighbourhood(k):.2f} on average" in table.note


def test_dearer_fills_earn_less_at_the_same_thresholds():
    s = study("sample")
    ladder = sensitivity.extra_costs(s.sheet)
    nets = [p.net_usdt_day for p in ladder.outcomes["fit"]]
    assert nets == sorted(nets, reverse=True) and nets[0] == pytest.approx(s.sheet.fitted.net_usdt_day)


def test_the_ladder_of_latencies_holds_the_assumed_one():
    s = study("sample")
    ladder = sensitivity.latencies(s.sheet)
    at = ladder.levels.index(ladder.base)
    assert ladder.outcomes["judged"][at].net_usdt_day == pytest.approx(s.sheet.judged.net_usdt_day)


def test_what_is_shown_as_nothing_is_not_said_to_earn():
    base = replayed(Case(study("sample").tape, study("sample").market, None))
    at = [dataclasses.replace(base, trades=5, net_usdt_day=net) for net in (2.0, 0.004)]
    ladder = Ladder("t", "bps", (0.0, 10.0), 0.0, {"judged": tuple(at)})
    assert "still earns" not in repr(sensitivity.worse_findings(ladder, ladder))


def test_why_the_proposal_is_not_the_best_cell_is_one_sentence_with_both_numbers():
    choice = study("sample").choice
    peak = choice.sweep.results[choice.sweep.sets.index(choice.proposal.peak)].net_usdt_day
    said = [s for s in choice_tables.peak(choice).sentences if s.startswith("Proposed is not the best")]
    if choice.proposal.thresholds == choice.proposal.peak:
        assert not said
    else:
        assert f"{peak:.2f} USDT" in said[0] and f"against {choice.fitted.net_usdt_day:.2f}" in said[0]


def test_the_tries_that_are_paid_for_stand_beside_the_gates():
    verdict = study("sample").verdict
    paid = verdict.judgement.deflated
    assert f"N = {paid.trials:g} independent tries" in choice_tables.gated(verdict).note


@pytest.mark.parametrize("regime", WORLDS)
def test_tables_and_words_hold_for_any_world(regime):
    s = study(regime)
    dearer = sensitivity.extra_costs(s.sheet)
    later = sensitivity.latencies(s.sheet)
    faces = (dearer, later, s.stack, sensitivity.worse_findings(dearer, later))
    faces += (sensitivity.neighbourhood(s.choice), sensitivity.signals(s.tape, s.choice))
    faces += (choice_tables.in_and_out(s.choice), choice_tables.peak(s.choice), choice_tables.witnesses(s.choice))
    faces += (choice_tables.walked(s.verdict), choice_tables.gated(s.verdict), choice_tables.spoken(s.verdict))
    faces += (choice_tables.shown(s.sheet.candidate),)
    for shown in faces:
        assert "nan" not in repr(shown) and shown._repr_html_()


def test_each_signal_has_its_own_proposal_and_is_judged_on_what_it_has_not_seen():
    s = study("sample")
    found = sensitivity.signals(s.tape, s.choice, (0.1, 1.0))
    assert found.choices["raw"] is s.choice and found.choices["filtered"].market.signal == "filtered"
    assert found.choices["filtered"].best.filter is not None and s.choice.best.filter is None
    for name, choice in found.choices.items():  # 0.1 s is the latency assumed: the figure that the choice itself gives
        assert found.results[name][0].net_usdt == pytest.approx(choice.judged.net_usdt)
        assert len(found.results[name]) == 2
    assert [row[0] for row in found.table().rows] == ["100 ms", "1000 ms"]


def test_without_a_half_life_there_is_no_filtered_signal():
    s = study("random_walk")
    found = sensitivity.signals(s.tape, s.choice, (0.1,))
    assert found.reasons["filtered"] == "without a half-life there is no filter" and "filtered" not in found.results


def test_without_a_set_no_signal_has_a_number():
    s = study("no_edge")
    table = sensitivity.signals(s.tape, s.choice, (0.1,)).table()
    assert table.columns[1] == "nothing to show" and table.rows[0] == ("raw", s.choice.reason)
    assert "no edge after costs" in table.rows[1][1]


def test_without_a_trade_a_ladder_shows_no_zeros():
    s = study("no_edge")
    ladder = sensitivity.extra_costs(s.sheet)
    assert "no trade at any step" in repr(ladder) and "0.00" not in repr(ladder)


def test_the_verdict_says_what_was_decided_and_why():
    assert "Verdict: trade." in repr(choice_tables.spoken(study("sample").verdict))
    refused = study("random_walk").verdict
    said = repr(choice_tables.spoken(refused))
    assert "Verdict: do not trade." in said and refused.reason[1:] in said


def test_of_a_long_walk_the_ends_are_shown_and_the_middle_is_summed():
    verdict = study("sample").verdict
    walk = verdict.judgement.walk
    assert choice_tables.walked(verdict).rows == walk.table().rows
    longer = dataclasses.replace(walk, folds=3 * walk.folds)
    table = choice_tables.walked(
        dataclasses.replace(verdict, judgement=dataclasses.replace(verdict.judgement, walk=longer))
    )
    left_out = longer.folds[choice_tables.ENDS : -choice_tables.ENDS]
    assert len(table.rows) == 2 * choice_tables.ENDS + 1 and {len(row) for row in table.rows} == {len(table.columns)}
    assert table.rows[choice_tables.ENDS][0] == f"{len(left_out)} folds between"
    assert table.rows[choice_tables.ENDS][-2] == str(sum(len(fold.trades) for fold in left_out))


def test_theory_has_a_reason_where_it_has_no_answer():
    s = study("sample")
    rows = choice_tables.witnesses(s.choice).rows
    assert [row[0] for row in rows] == ["theory, replayed", "best of the grid, replayed", "proposed, replayed"]
    s = study("random_walk")
    assert "no half-life" in choice_tables.witnesses(s.choice).note


def test_a_candidate_is_written_only_where_there_is_a_run(tmp_path):
    candidate = study("sample").sheet.candidate
    assert choice_tables.save(candidate, "") is candidate and not list(tmp_path.iterdir())
    choice_tables.save(candidate, str(tmp_path))
    assert params.load(tmp_path / "candidate.json") == candidate


def test_a_shown_candidate_tells_no_time_of_day():
    candidate = study("sample").sheet.candidate
    assert f"{candidate.created:%H:%M}" not in repr(choice_tables.shown(candidate))
