"""Thresholds that a person chose: refused before anything runs, reported like others, and called by their name."""

import ast
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typed import typed

from delta_arb import params
from delta_arb.backtest.performance import measure
from delta_arb.errors import ParamsError
from delta_arb.optimize import by_hand
from delta_arb.optimize.parameters import parameters
from delta_arb.optimize.study import Constraints, market
from delta_arb.quotes.inputs import Inputs
from delta_arb.report import job as job_module
from delta_arb.report import tearsheet
from delta_arb.report.job import job_of
from delta_arb.report.options import PipelineOptions
from delta_arb.rule_params import Rule

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
OWN = ("-p", "entry_bps=30", "-p", "exit_bps=-20")
MADE = {"valid_for_s": 60.0, "notebook": "03_backtest_report", "run_id": "by hand"}


def declared(name: str) -> dict:
    """The parameters of a notebook with their defaults."""
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text("utf-8"))["cells"]
    (cell,) = (cell for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    return {line.target.id: ast.literal_eval(line.value) for line in ast.parse("".join(cell["source"])).body}


def job(*more: str):
    return job_of(typed(PipelineOptions, *more))


def test_a_file_of_what_cash_pays_is_found_from_where_it_was_typed_and_named_without_its_folder(tmp_path, monkeypatch):
    """The notebooks run in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cash.csv").write_text("date,percent\n2025-01-01,5\n")
    asked = job("-p", "hurdle=cash.csv")
    assert {asked.values[name]["hurdle"] for name in job_module.NOTEBOOKS[1:]} == {str(tmp_path / "cash.csv")}
    assert job("-p", f"hurdle={tmp_path}/cash.csv").options == asked.options == ("-p hurdle=cash.csv",)


@pytest.fixture(scope="module")
def study():
    """The first twelve hours of the sample, with all of them looked back on."""
    inputs, asked = Inputs(), Constraints(look_back_h=12.0)
    tape = inputs.tape()
    tape = tape.between(tape.start_ns, tape.start_ns + 12 * 3600 * 10**9)
    return inputs, tape, market(inputs, tape, Rule()), asked


@pytest.fixture(scope="module")
def chosen(study):
    return by_hand.by_hand(Rule(entry_bps=30.0, exit_bps=-20.0), study, **MADE)


@pytest.mark.parametrize("notebook", ["02_optimization", "03_backtest_report"])
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"entry_bps": "30"}, "two numbers in bps, or both empty, was entry_bps='30' exit_bps=''"),
        ({"entry_bps": "thirty", "exit_bps": "1"}, "two numbers in bps"),
        ({"entry_bps": "nan", "exit_bps": "1"}, "entry_bps: should be a finite number"),
        ({"entry_bps": "5", "exit_bps": "9"}, "exit_bps must be below entry_bps, was exit_bps=9.0 entry_bps=5.0"),
        ({"entry_bps": "15", "exit_bps": "-5"}, "gains 20 bps and does not pay the four fees of 20 bps"),
        ({"entry_bps": 30, "exit_bps": -20, "profile": "carry"}, "trade reversion on raw quotes, was carry and raw"),
        ({"entry_bps": 30, "exit_bps": -20, "signal": "filtered"}, "trade reversion on raw quotes"),
    ],
)
def test_thresholds_that_cannot_be_meant_are_refused_before_anything_runs(notebook, given, says):
    with pytest.raises(ParamsError, match=says):
        parameters(declared(notebook) | given)


def test_the_rule_of_the_readme_pays_its_fees():
    text = (NOTEBOOKS.parent / "README.md").read_text("utf-8")
    fee, entry, leave = re.search(
        r"fee_bps=(\d+),.*?Rule\(entry_bps=(\d+), exit_bps=(-\d+)\)", text, re.DOTALL
    ).groups()
    given = {"entry_bps": entry, "exit_bps": leave, "spot_fee_bps": float(fee), "perp_fee_bps": float(fee)}
    assert parameters(declared("03_backtest_report") | given).by_hand


@pytest.mark.parametrize("notebook", ["02_optimization", "03_backtest_report"])
def test_empty_thresholds_are_none_and_zero_is_a_threshold(notebook):
    assert parameters(declared(notebook)).by_hand is None
    rule = parameters(declared(notebook) | {"entry_bps": 0, "exit_bps": "-30", "clip_usdt": 70.0}).by_hand
    assert (rule.entry_bps, rule.exit_bps, rule.clip_usdt) == (0.0, -30.0, 70.0)


def test_the_file_says_that_a_person_chose_and_no_gate_was_passed(chosen, tmp_path):
    read = params.load(params.save(chosen, tmp_path / "candidate.json"))
    assert json.loads((tmp_path / "candidate.json").read_text())["chosen"] == "by hand"
    assert (read.trade, read.gates, read.data.judged_from) == (True, (), None)
    assert (read.rule.entry_bps, read.rule.exit_bps) == (30.0, -20.0)
    assert repr(read).endswith("entry 30 bps, exit -20 bps (chosen by hand))")


def test_the_evidence_are_plain_replays_of_both_parts(chosen, study):
    _, tape, here, _ = study
    cut_ns = tape.start_ns + round((tape.end_ns - tape.start_ns) * 2 / 3)
    last = tape.between(cut_ns, tape.end_ns + 1)
    rule = here.settings.replace(entry_bps=30.0, exit_bps=-20.0)
    alone = replace(here, settings=rule).replay(last, None)
    assert chosen.evidence.judged_trades == len(alone.trades)
    assert chosen.evidence.judged_net_usdt_day == measure(last, alone).net_usdt_day


def test_the_report_calls_the_parts_neither_fitted_nor_judged(chosen, study):
    inputs, tape, here, asked = study
    sheet = tearsheet.tear_sheet(tape, here, chosen, asked)
    assert list(sheet.parts) == ["first", "last"]
    page = repr(tearsheet.tiles(sheet)) + repr(tearsheet.parts(sheet)) + repr(tearsheet.caveats(sheet, inputs))
    assert "chosen by hand" in page and not re.search(r"\b(judged|fit)\b", page)


@pytest.mark.parametrize(("more", "published"), [((), True), (OWN, False), ((*OWN, "--publish"), True)])
def test_thresholds_of_ones_own_are_exported_only_when_asked(more, published):
    assert job(*more).publish is published


def test_there_is_nothing_to_publish_by_hand_without_thresholds():
    with pytest.raises(ParamsError, match="--publish is for thresholds of your own"):
        job("--publish")


def test_without_thresholds_the_candidate_of_the_search_stays(chosen, study):
    searched = chosen.model_copy(update={"chosen": "by search"})
    assert by_hand.instead(searched, None, study) is searched
    assert by_hand.instead(searched, Rule(entry_bps=40.0, exit_bps=-10.0), study).chosen == "by hand"
