"""The tear-sheet: parts told apart, money that sums, and words and figures that hold for any recording."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from studies import CONSTRAINTS, study

from delta_arb import params
from delta_arb.backtest import performance
from delta_arb.errors import ParamsError
from delta_arb.quotes.inputs import Inputs
from delta_arb.report import tearsheet, trade_tables

WORLDS = ["sample", "random_walk", "no_edge", "frozen_leg"]


def cell(table, row: str, column: str) -> str:
    return next(r for r in table.rows if r[0] == row)[table.columns.index(column)]


def test_headlines_are_those_of_the_part_the_fit_has_not_seen():
    sheet = study("sample").sheet
    assert sheet.candidate.trade
    label, value, beside = tearsheet.tiles(sheet).tiles[0]
    assert label == "net, USDT a day"
    assert value == f"{sheet.candidate.evidence.judged_net_usdt_day:+.2f}"
    assert f"fit {sheet.candidate.evidence.fit_net_usdt_day:+.2f}" in beside


def test_parts_follow_each_other_and_share_no_event():
    sheet = study("sample").sheet
    assert list(sheet.parts) == ["earlier", "fit", "judged"]
    assert sheet.parts["earlier"].tape.end_ns < sheet.parts["fit"].tape.start_ns
    assert sheet.parts["fit"].tape.end_ns < sheet.parts["judged"].tape.start_ns
    assert sum(len(part.tape) for part in sheet.parts.values()) == len(sheet.tape)


def test_quotes_before_the_look_back_are_a_part_of_their_own():
    s = study("sample")
    constraints = dataclasses.replace(CONSTRAINTS, look_back_h=6.0)
    evidence = s.sheet.candidate.evidence.model_copy(update={"judged_net_usdt_day": None})
    candidate = s.sheet.candidate.model_copy(update={"evidence": evidence})
    sheet = tearsheet.tear_sheet(s.tape, s.market, candidate, constraints)
    assert list(sheet.parts) == ["earlier", "fit", "judged"]
    assert {sheet.part_of(t) for t in sheet.trades} <= set(sheet.parts)


def test_a_candidate_of_other_settings_is_refused():
    s = study("sample")
    with pytest.raises(ParamsError, match="claims"):
        tearsheet.tear_sheet(s.tape, s.market.with_fees(50.0, 50.0), s.sheet.candidate, CONSTRAINTS)


@pytest.mark.parametrize("regime", WORLDS)
def test_every_column_of_the_money_sums_to_its_net(regime):
    table = trade_tables.money(study(regime).sheet)
    for column in table.columns[1:]:
        parts = [float(cell(table, part, column)) for part in ("spot", "perp", "fees", "funding", "residual")]
        assert sum(parts) == pytest.approx(float(cell(table, "net", column)), abs=3e-4)


def test_days_of_marked_equity_sum_to_the_whole():
    sheet = study("sample").sheet
    *days, whole = trade_tables.days(sheet).rows
    net = sum(float(row[-1]) for row in days)
    assert net == pytest.approx(sheet.result.net_usdt, abs=1e-3) and float(whole[-1]) == pytest.approx(net, abs=1e-3)


def test_hours_of_opening_sum_to_all_trades():
    sheet = study("sample").sheet
    *hours, whole = trade_tables.hours(sheet).rows
    assert sum(int(row[1]) for row in hours) == int(whole[1]) == len(sheet.trades)
    assert sum(float(row[3]) for row in hours) == pytest.approx(sheet.result.net_usdt, abs=2e-3)


def test_parts_add_up_or_the_note_says_why_not():
    sheet = study("sample").sheet
    table = trade_tables.money(sheet)
    parts = [float(cell(table, "net", name)) for name in ("earlier quotes", "fit, in sample", "judged, unseen")]
    assert float(cell(table, "net", "parts, sum")) == pytest.approx(sum(parts), abs=2e-4)
    assert trade_tables._adds_up(1.0, 1.004) == "The parts sum to the whole."
    assert "cut in two" in trade_tables._adds_up(1.0, 1.2)


def test_every_trade_is_listed_and_written_beside_the_run(tmp_path):
    sheet = study("sample").sheet
    table = trade_tables.trades(sheet, str(tmp_path))
    assert len(table.rows) == len(sheet.trades) and len(repr(table).splitlines()) == 2 + trade_tables.ROWS + 1
    assert 'class="listing"' in table._repr_html_()
    written = pd.read_csv(tmp_path / "trades.csv")
    assert written["net_usdt"].sum() == pytest.approx(sheet.result.net_usdt)
    assert len(pd.read_parquet(tmp_path / "trades.parquet")) == len(sheet.trades)


def test_changes_by_period_sum_to_the_whole():
    part = study("sample").sheet.parts["judged"]
    changes = performance.by_period(part.curve, 16)
    assert len(changes) == 16 and changes.sum() == pytest.approx(part.result.net_usdt)


def test_what_slipped_is_the_fill_against_the_price_decided_on():
    sheet = study("sample").sheet
    sent, fill = sheet.result.sent[0], sheet.result.fills[0]
    touch = sent.limit / (1.0 + sheet.result.rule.price_bound)  # the first order buys spot
    one = dataclasses.replace(sheet.result, fills=(fill._replace(price=touch * 1.001),))
    assert performance.slippage_bps(sheet.tape, one) == pytest.approx(10.0)
    assert performance.slippage_bps(sheet.tape, dataclasses.replace(sheet.result, fills=())) is None


@pytest.mark.parametrize("regime", WORLDS)
def test_every_table_holds_for_any_world(regime):
    s = study(regime)
    faces = [getattr(tearsheet, name) for name in ("tiles", "parts")]
    faces += [getattr(trade_tables, name) for name in ("money", "trades", "endings", "days", "hours")]
    for face in faces:
        shown = face(s.sheet)
        assert "nan" not in repr(shown) and shown._repr_html_()
    assert "SYNTHETIC" in repr(tearsheet.caveats(s.sheet, s.inputs))


def test_what_is_not_exported_says_so_with_the_reason():
    sheet = study("random_walk").sheet
    assert not sheet.candidate.trade
    assert f"not exported: {sheet.candidate.reason}" in tearsheet.tiles(sheet).title


def test_without_thresholds_nothing_is_replayed_and_figures_are_null():
    s = study("no_edge")
    found = tearsheet.metrics(s.sheet, s.inputs)
    assert s.sheet.thresholds is None and s.sheet.empty_because == s.sheet.candidate.reason
    assert found["trade"] is False and found["net_usdt_day"] is None and found["fit_trades"] is None


def test_metrics_are_written_into_the_folder_of_a_run_and_only_there(tmp_path):
    s = study("sample")
    tearsheet.record(s.sheet, s.inputs, "")
    assert not list(tmp_path.iterdir())
    tearsheet.record(s.sheet, s.inputs, str(tmp_path))
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["pair"] == "SYN_USDT-mexc-gate" and found["synthetic"] is True and found["trade"] is True
    assert found["net_usdt_day"] == pytest.approx(s.sheet.judged.net_usdt_day)
    assert found["net_low_usdt_day"] < found["net_usdt_day"] < found["net_high_usdt_day"]


def test_the_interval_of_the_net_is_the_same_every_time():
    part = study("sample").sheet.parts["judged"]
    assert tearsheet.net_interval(part) == tearsheet.net_interval(part)
    idle = study("no_edge").sheet.parts["judged"]
    assert tearsheet.net_interval(idle) is None


def test_a_comparison_says_no_losses_instead_of_a_large_number():
    judged = study("sample").sheet.judged
    winner = dataclasses.replace(judged, trades=3, profit_factor=None)
    idle = dataclasses.replace(judged, trades=0, profit_factor=None)
    table = performance.compare({"winner": winner, "idle": idle}, "x")
    assert cell(table, "profit factor", "winner") == "no losses" and cell(table, "profit factor", "idle") == "n/a"


def test_thresholds_of_a_saved_candidate_are_those_replayed(tmp_path):
    s = study("sample")
    params.save(s.sheet.candidate, tmp_path / "candidate.json")
    loaded = params.load(tmp_path / "candidate.json")
    sheet = tearsheet.tear_sheet(s.tape, s.market, loaded, CONSTRAINTS)
    assert sheet.thresholds == s.choice.best and np.isclose(sheet.judged.net_usdt, s.choice.judged.net_usdt)


@pytest.mark.parametrize(
    ("last", "walk", "said"),
    [
        ((1.0, 2.0), (0.5, 2.0), ""),
        ((1.0, 2.0), (None, None), ""),
        ((-1.0, 2.0), (None, None), "The 95 % interval of the judged net, -1.00 to 2.00 USDT a day, includes zero."),
        (
            (-1.0, 2.0),
            (0.5, 2.0),
            "The 95 % interval of the judged net, -1.00 to 2.00 USDT a day, includes zero; the verdict rests on the "
            "walk-forward's, 0.50 to 2.00.",
        ),
        (
            (-1.0, 2.0),
            (-0.5, 2.0),
            "The 95 % interval of the judged net, -1.00 to 2.00 USDT a day, includes zero; the verdict rests on the "
            "walk-forward's, -0.50 to 2.00, which includes zero too.",
        ),
        (
            (1.0, 2.0),
            (-0.5, 2.0),
            "The 95 % interval of the net that the verdict rests on, the walk-forward's, -0.50 to 2.00 USDT a day, "
            "includes zero.",
        ),
    ],
)
def test_each_interval_that_does_not_exclude_a_loss_is_a_caveat(last, walk, said):
    evidence = SimpleNamespace(walk_net_low_usdt_day=walk[0], walk_net_high_usdt_day=walk[1])
    sheet = SimpleNamespace(last=SimpleNamespace(name="judged"), candidate=SimpleNamespace(evidence=evidence))
    assert tearsheet._sure(SimpleNamespace(low=last[0], high=last[1]), sheet) == said


def test_left_out_funding_is_a_caveat():
    s = study("sample")
    assert "Funding is left out." in tearsheet.caveats(s.sheet, s.inputs).sentences
    assert "Funding is left out." not in tearsheet.caveats(s.sheet, Inputs()).sentences
