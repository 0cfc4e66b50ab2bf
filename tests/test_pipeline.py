"""The pipeline with small real notebooks, real kernels and real processes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import nbformat
import psutil
import pytest
from typed import typed

from delta_arb import params, pipeline, places
from delta_arb.errors import ParamsError, RunError
from delta_arb.report import index as overview
from delta_arb.report import notebooks as notebooks_module
from delta_arb.report import pages, run
from delta_arb.report.banner import DASH
from delta_arb.report.cells import _aligned
from delta_arb.report.job import NOTEBOOKS, declared, job_of, values
from delta_arb.report.options import PipelineOptions
from delta_arb.report.schedule import GRACE_S

PAIR = "SYN_USDT-mexc-gate"
ROOT = Path(pipeline.__file__).resolve().parents[1]

HANG = """
import os, pathlib, subprocess, sys, time, warnings
[subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']) for _ in range(children)]
if hangs:
    pathlib.Path(run_folder, 'hanging').write_text(str(os.getpid()))
    time.sleep(600)
print(os.getcwd(), sys.executable)
warnings.warn('careful')
"""
FIGURE = """
from IPython.display import display
figure = {'data': [{'type': 'scatter', 'y': [1, 2, 4]}], 'layout': {}}
display({'application/vnd.plotly.v1+json': figure}, raw=True)
"""
LEAVE = """
import sys
if leaves:
    sys.exit(0)
"""
CHOOSE = """
from datetime import datetime, timedelta, UTC
from pathlib import Path
from delta_arb import params
from delta_arb.quotes.inputs import Inputs

inputs = Inputs(spot, perp, funding, pair=pair, contract_size=contract_size, spot_fee_bps=spot_fee_bps)
tape, (spot_leg, perp_leg), now = inputs.tape(), inputs.terms(), datetime.now(UTC)
held = params.load(champion) if champion else None
candidate = params.sealed(
    pair=inputs.pair, trade=not refused, reason=f'best of {trials}',
    chosen='by hand' if entry_bps else 'by search', spot=spot_leg, perp=perp_leg,
    rule=params.Rule(
        entry_bps=None if refused else 40.0, exit_bps=None if refused else -10.0, max_hold_s=3600.0, clip_usdt=100.0
    ),
    data=inputs.data_params(tape, None), created=now,
    evidence=params.Evidence(judged_net_usdt_day=1.5, champion_sha256=held and held.sha256),
    valid_until=now + timedelta(seconds=valid_for_s), code_version='0', notebook='02', run_id=run_id,
)
params.save(candidate, Path(run_folder, 'candidate.json'))
"""
JUDGE = """
import json, pathlib
if late:
    raise ValueError('too late in ' + run_folder)
figures = {'trade': trade, 'entry_bps': 40.0, 'exit_bps': -10.0, 'net_usdt_day': 1.5, 'hit_rate': 0.75}
figures |= {'trades_day': 12.0, 'drawdown': 0.01} if whole else {}
pathlib.Path(run_folder, 'metrics.json').write_text(json.dumps(figures))
"""
SPREAD = (
    r"The edge is $e = \frac{p_b - s_a}{s_a}$, a coffee is $5 and a tea $4.",
    "run_folder: str = ''\ndays: float = 1.0  # of the tape\nleaves: bool = False",
    FIGURE,
    LEAVE,
    "print('the end')",
)
OPTIMIZATION = (
    "# Optimization",
    "run_folder: str = ''\nrun_id: str = ''\nvalid_for_s: float = 3600.0\n"
    "spot: str = ''\nperp: str = ''\nfunding: str = ''\npair: str = ''\n"
    "contract_size: float = 0.0\nspot_fee_bps: float = 5.0\nchampion: str = ''\nentry_bps: str = ''\nexit_bps: str = ''\n"
    "trials: int = 10  # sets tried\nrefused: bool = False\n"
    "hangs: bool = False\nchildren: int = 0",
    HANG,
    CHOOSE,
)
REPORT = ("# Report", "run_folder: str = ''\nlate: bool = False\nwhole: bool = True\ntrade: bool = True", JUDGE)


KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def write_notebook(path, prose, parameters, *code):
    tagged = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    cells = [nbformat.v4.new_markdown_cell(prose), tagged, *(nbformat.v4.new_code_cell(source) for source in code)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL}), path)


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebooks")
    for name, cells in zip(NOTEBOOKS, (SPREAD, OPTIMIZATION, REPORT)):
        write_notebook(folder / f"{name}.ipynb", *cells)
    return folder


def arguments(notebooks, reports, *more):
    return ["--notebooks", str(notebooks), "--reports", str(reports), "--json", *more]


def start(notebooks, reports, *more):
    command = [sys.executable, "-m", "delta_arb.pipeline", *arguments(notebooks, reports, *more)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def last_line(text):
    return json.loads(text.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def good(notebooks, tmp_path_factory):
    """One successful run, looked at by several tests: reports folder, result, error output."""
    reports = tmp_path_factory.mktemp("work") / "reports"
    process = start(notebooks, reports, "-p", "trials=7", "--spot-fee-bps", "6")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return reports, last_line(out), err


# --- a run that succeeds ---------------------------------------------------------------------------------------------


def test_a_good_run_publishes_what_the_notebooks_proposed(good):
    _, result, err = good
    assert (result["status"], result["trade"], result["reason"]) == ("ok", True, "best of 7")
    published = params.load(Path(result["params"]))
    assert published.run_id == f"{PAIR}-{Path(result['run']).name}"
    assert (published.spot.taker_fee_bps, published.perp.taker_fee_bps) == (6.0, 5.0)
    assert (published.valid_until - published.created).total_seconds() == 86_400
    spread, choice, report = NOTEBOOKS  # the choice comes first: a refusal ends the run
    assert [line.split(":")[0] for line in err.splitlines()] == [choice, spread, report]


def test_a_good_run_leaves_its_record_pages_and_metrics(good):
    _, result, _ = good
    folder = Path(result["run"])
    written = {f"{name}.{kind}" for name in NOTEBOOKS for kind in ("ipynb", "html")}
    assert {path.name for path in folder.iterdir()} == {"run.json", "metrics.json", "candidate.json"} | written
    record = json.loads((folder / "run.json").read_text())
    assert record["options"] == ["--spot-fee-bps=6.0", "-p trials=7"]
    assert record["status"] == "ok" and list(record["notebooks"]) == list(NOTEBOOKS)
    assert result["report"] == str(folder / "03_backtest_report.html")


def test_thresholds_of_ones_own_are_reported_and_published_only_when_asked(notebooks, tmp_path):
    own = ("-p", "entry_bps=40", "-p", "exit_bps=-10")
    process = start(notebooks, tmp_path / "reports", *own)
    out, err = process.communicate(timeout=120)
    result = last_line(out)
    assert (process.returncode, result["params"], result["trade"]) == (0, None, False), err
    assert result["reason"] == "best of 10; not published without --publish"
    assert not (tmp_path / "reports" / PAIR / "params").exists() and Path(result["report"]).exists()
    assert '"chosen": "by hand"' in Path(result["run"], "candidate.json").read_text()


def test_a_refused_run_ends_with_the_choice_that_was_refused_and_publishes_that(notebooks, tmp_path):
    code, result, _ = run_once(notebooks, tmp_path, "-p", "refused=true")
    assert (code, result["status"], result["trade"], result["reason"]) == (0, "ok", False, "best of 10")
    folder = Path(result["run"])
    assert {path.name for path in folder.glob("0*")} == {"02_optimization.ipynb", "02_optimization.html"}
    assert not (folder / "metrics.json").exists() and not params.load(Path(result["params"])).trade
    assert result["report"] == str(folder / "02_optimization.html")
    assert f"{folder.name}/02_optimization.html" in (tmp_path / "index.html").read_text()


def test_a_refused_run_goes_through_all_notebooks_where_that_is_asked_for(notebooks, tmp_path):
    code, result, _ = run_once(notebooks, tmp_path, "-p", "refused=true", "-p", "trade=false", "--whole")
    assert (code, result["trade"]) == (0, False)
    assert (
        result["report"].endswith("03_backtest_report.html") and Path(result["run"], "01_spread_analysis.html").exists()
    )


def test_pages_need_no_network(good):
    reports, _, _ = good
    written = list(reports.rglob("*.html"))
    assert len(written) == 4
    for path in written:
        text = path.read_text()
        for address in re.findall(r"""<(?:script|link|img|iframe)[^>]*?(?:src|href)=["']([^"']*)""", text):
            assert address.startswith("data:") or (path.parent / address).exists(), (path, address)
        assert not re.search(r"@import|require\(\[", text)


def test_a_page_draws_figures_and_formulas(good):
    _, result, _ = good
    text = (Path(result["run"]) / "01_spread_analysis.html").read_text()
    assert "Plotly.newPlot" in text and '"showSendToCloud":false' in text
    assert r'alt="e = \frac{p_b - s_a}{s_a}"' in text
    assert "a coffee is $5 and a tea $4." in text
    assert ">synthetic</span>" in text and "parameters of this run" in text


def test_the_index_shows_the_run_and_what_is_in_force(good):
    reports, result, _ = good
    text = (reports / "index.html").read_text()
    stamp = Path(result["run"]).name
    assert f'href="{PAIR}/{stamp}/03_backtest_report.html"' in text
    for shown in ("best of 7", "40.0", "−10.0", f"{PAIR}/params/latest.json", DASH):
        assert shown in text


def test_nothing_that_is_passed_on_names_a_path_of_this_machine(good):
    reports, _, _ = good
    here = (str(reports.parent), str(ROOT), sys.prefix, str(Path.home()))
    for path in reports.rglob("*"):
        if path.suffix in (".html", ".ipynb", ".json"):
            assert not [place for place in here if re.search(rf"{re.escape(place)}\b", path.read_text())], path


# --- a run that fails ------------------------------------------------------------------------------------------------


def run_once(notebooks, reports, *more):
    process = start(notebooks, reports, *more)
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    return process.returncode, last_line(out), err


def test_a_failed_run_keeps_the_last_good_parameters_and_says_why(good, notebooks, tmp_path):
    reports = shutil.copytree(good[0], tmp_path / "reports")
    before = (reports / PAIR / "params" / "latest.json").read_bytes()
    code, result, err = run_once(notebooks, reports, "-p", "late=true")
    assert (code, result["status"], result["trade"], result["params"]) == (1, "failed", None, None)
    folder = Path(result["run"])
    reason = f"03_backtest_report: ValueError: too late in reports/{PAIR}/{folder.name}"
    assert result["reason"] == reason and err.splitlines()[-1] == f"error: {reason}"
    assert json.loads((folder / "run.json").read_text())["reason"] == reason
    assert "ValueError" in (folder / "03_backtest_report.html").read_text()
    assert (reports / PAIR / "params" / "latest.json").read_bytes() == before
    index = (reports / "index.html").read_text()
    assert reason in index and f"{PAIR}/failed/{folder.name}/03_backtest_report.html" in index
    assert "The last run failed; these are the last good parameters." in index


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("leaves=true", "01_spread_analysis: cell 5 of 6 ended the notebook before its last one; every cell must run"),
        ("whole=false", "03_backtest_report wrote an incomplete metrics.json: it lacks trades_day, drawdown"),
    ],
)
def test_a_notebook_that_ends_well_without_its_end_publishes_nothing(notebooks, tmp_path, said, reason):
    code, result, _ = run_once(notebooks, tmp_path, "-p", said)
    assert (code, result["status"]) == (1, "failed") and result["reason"].startswith(reason)
    assert not (tmp_path / PAIR / "params").exists()


def test_a_proposal_made_from_other_values_is_not_published_lesson_41(good, notebooks):
    reports, result, _ = good
    candidate = Path(result["run"]) / "candidate.json"
    run_id = params.load(candidate).run_id
    as_run, with_5_bps, with_more_delay = (
        job_of(typed(PipelineOptions, *arguments(notebooks, reports, *more)))
        for more in (["--spot-fee-bps", "6"], [], ["--spot-fee-bps", "6", "--perp-latency", "0.2"])
    )
    assert run.accepted(as_run, candidate, run_id).run_id == run_id
    with pytest.raises(RunError, match=r"spot.taker_fee_bps is 6.0, asked was 5.0; let them read"):
        run.accepted(with_5_bps, candidate, run_id)
    with pytest.raises(RunError, match=r"perp.latency_s is 0.1, asked was 0.2"):
        run.accepted(with_more_delay, candidate, run_id)
    with pytest.raises(RunError, match=r"run_id is .*, asked was another"):
        run.accepted(as_run, candidate, "another")
    with pytest.raises(RunError, match=r"wrote no nothing.json"):
        run.accepted(as_run, candidate.with_name("nothing.json"), run_id)


def test_a_run_that_was_killed_is_filed_as_failed_and_the_oldest_make_room(notebooks, tmp_path):
    stamps = ("20200101T000000Z", "20200102T000000Z")
    for name in (*stamps, *(f"failed/{stamp}" for stamp in stamps), "live", "notes2020"):
        (tmp_path / PAIR / name).mkdir(parents=True)
        ended = {"run_id": name, "pair": PAIR, "stamp": name[-16:], "status": "ok" if name[0] == "2" else "failed"}
        (tmp_path / PAIR / name / "run.json").write_text(json.dumps(ended))
    killed = tmp_path / PAIR / "20200103T000000Z"
    killed.mkdir()
    (killed / "run.json").write_text('{"run_id": "x", "status": "running"}')
    (killed / "01_spread_analysis.ipynb").write_text('{"cells": [')
    code, result, _ = run_once(notebooks, tmp_path, "--keep", "1")
    assert code == 0
    left = {path.name for path in (tmp_path / PAIR).iterdir()}
    assert left == {Path(result["run"]).name, "failed", "live", "notes2020", "params"}
    assert [path.name for path in (tmp_path / PAIR / "failed").iterdir()] == [killed.name]
    assert "ended without a result" in (tmp_path / "index.html").read_text()


# --- the parameters in force, and those before ------------------------------------------------------------------------


def test_the_parameters_in_force_are_what_a_new_choice_is_held_against(good, notebooks, tmp_path):
    reports = shutil.copytree(good[0], tmp_path / "reports")
    latest = reports / PAIR / "params" / "latest.json"
    before = params.load(latest)
    assert before.evidence.champion_sha256 is None
    code, result, err = run_once(notebooks, reports, "--spot-fee-bps", "6")
    assert code == 0 and "are ignored" not in err
    assert params.load(latest).evidence.champion_sha256 == before.sha256
    given = json.loads((Path(result["run"]) / "02_optimization.ipynb").read_text())["metadata"]["papermill"]
    assert given["parameters"]["champion"] == f"reports/{PAIR}/params/latest.json"


def test_a_damaged_file_in_force_is_left_aside_in_one_line_and_replaced(good, notebooks, tmp_path):
    reports = shutil.copytree(good[0], tmp_path / "reports")
    latest = reports / PAIR / "params" / "latest.json"
    latest.write_text(latest.read_text()[:-100])
    code, _, err = run_once(notebooks, reports, "--spot-fee-bps", "6")
    assert code == 0 and params.load(latest).evidence.champion_sha256 is None
    (line,) = [line for line in err.splitlines() if "are ignored" in line]
    damaged = f"reports/{PAIR}/params/latest.json: damaged, not JSON"
    assert line.startswith(f"the parameters in force are ignored: {damaged}")


@pytest.mark.parametrize(
    ("more", "counts", "said"),
    [
        (["--spot-fee-bps", "6"], True, ""),
        ([], False, "spot.taker_fee_bps is 6.0 in the file and 5.0 here"),
        (["--spot-fee-bps", "6", "--perp-latency", "0.2"], False, "perp.latency_s is 0.1 in the file and 0.2 here"),
    ],
)
def test_stale_parameters_count_and_those_of_other_costs_do_not(good, notebooks, tmp_path, capsys, more, counts, said):
    reports = shutil.copytree(good[0], tmp_path / "reports")
    latest = reports / PAIR / "params" / "latest.json"
    held = dict(params.load(latest))
    held |= {name: held[name] - timedelta(days=9) for name in ("created", "valid_until")}
    params.save(params.sealed(**{name: held[name] for name in held if name != "sha256"}), latest)
    job = job_of(typed(PipelineOptions, *arguments(notebooks, reports, *more)))
    assert run.champion(job, job.folder) == (str(latest) if counts else "")
    assert said in capsys.readouterr().err


def test_without_parameters_that_trade_there_is_no_champion(good, notebooks, tmp_path, capsys):
    reports = shutil.copytree(good[0], tmp_path / "reports")
    job = job_of(typed(PipelineOptions, *arguments(notebooks, reports, "--spot-fee-bps", "6")))
    latest = reports / PAIR / "params" / "latest.json"
    held = dict(params.load(latest)) | {"trade": False, "reason": "no edge"}
    held["rule"] = held["rule"].model_copy(update={"entry_bps": None, "exit_bps": None})
    params.save(params.sealed(**{name: held[name] for name in held if name != "sha256"}), latest)
    assert run.champion(job, job.folder) == ""
    latest.unlink()
    assert run.champion(job, job.folder) == "" and capsys.readouterr().err == ""


def test_the_oldest_parameter_files_make_room_and_nothing_else_does(good, notebooks, tmp_path):
    reports = shutil.copytree(good[0], tmp_path / "reports")
    job = job_of(typed(PipelineOptions, *arguments(notebooks, reports, "--keep", "2")))
    folder = reports / PAIR / "params"
    (own,) = pages.exports(reports / PAIR)
    for day in range(1, 12):
        (folder / f"202001{day:02}T000000.000000Z.json").write_text("{}")
    (folder / "notes.json").write_text("{}")
    run._finish(job, pages.run_folders(reports / PAIR)[0], dict(pages.history(reports)[0], folder=None))
    kept = [f"202001{day:02}T000000.000000Z.json" for day in range(5, 12)] + [own.name]
    assert [path.name for path in pages.exports(reports / PAIR)] == kept
    assert {path.name for path in folder.iterdir()} == {*kept, "latest.json", "notes.json"}


@pytest.mark.slow
def test_the_sample_optimized_again_confirms_its_parameters(tmp_path):
    first = params.load(Path(run_once(ROOT / "notebooks", tmp_path)[1]["params"]))
    code, result, _ = run_once(ROOT / "notebooks", tmp_path)
    again = params.load(Path(result["params"]))
    assert code == 0 and first.trade and again.reason.startswith("re-confirmed: ")
    assert again.rule == first.rule and again.valid_until > first.valid_until
    assert (again.evidence.replaced, again.evidence.champion_sha256) == (False, first.sha256)


MISSING = ["--spot", "a", "--perp", "b", "--pair", "X", "--funding", "none", "--contract-size", "1"]

# --- refused before anything is written ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (
            ["-p", "trails=7"],
            "-p trails: no notebook has this parameter; known are children, days, entry_bps, exit_bps, hangs, late, leaves, r",
        ),
        (["-p", "trials=7.5"], "-p trials: declared as int, need a whole number, was '7.5'"),
        (["-p", "days=soon"], "-p days: declared as float, need a finite number, was 'soon'"),
        (["-p", "days=inf"], "-p days: declared as float, need a finite number, was 'inf'"),
        (["-p", "late=2"], "-p late: declared as bool, need true or false, was '2'"),
        (["-p", "trials"], "-p needs NAME=VALUE, was 'trials'"),
        (["-p", "spot_fee_bps=6"], "-p spot_fee_bps: this one is an option of its own, --spot-fee-bps"),
        (["-p", "champion=x"], "-p champion: the pipeline sets this one itself (for valid"),
        (["-p", "run_id=x"], "-p run_id: the pipeline sets this one itself (for valid"),
        (
            ["--every", "5x"],
            "Invalid value for '--every': need a time from 1s to 366d, like 30s, 5m, 24h or 7d, was '5x'; see ",
        ),
        (["--keep", "0"], "--keep must be at least 1, was 0"),
        (["--spot-fee-bps", "many"], "Invalid value for '--spot-fee-bps': Input should be a valid number"),
        (["--nonsense"], "No such option: --nonsense; see delta-arb pipeline --help"),
        (MISSING, "a does not exist"),
        (["--pair", "LUNC_USDT"], "no quotes of LUNC_USDT: give --spot and --perp, or --data; the sample is SYN_USDT"),
    ],
)
def test_refusals_are_one_line_and_write_nothing_lesson_40(notebooks, tmp_path, capsys, monkeypatch, more, reason):
    monkeypatch.chdir(tmp_path)
    assert pipeline.main(arguments(notebooks, tmp_path / "reports", *more)) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"error: {reason}") and err.count("\n") == 1
    assert last_line(out)["status"] == "failed" and last_line(out)["reason"].startswith(reason)
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("clip_usdt=-5", "clip_usdt: should be greater than 0 (was -5.0)"),
        (
            "hurdle=nowhere.csv",
            "hurdle nowhere.csv: give % a year, or a CSV file with the columns date and percent ([Errno 2] No such file "
            "or directory: 'nowhere.csv')",
        ),
        ("signal=smooth", "signal must be raw or filtered, was 'smooth'"),
        ("max_drawdown=2", "max_drawdown is a share, above 0 and at most 1, was 2.0"),
        ("upstream=0.5", "upstream counts what was looked at, this one included: at least 1, was 0.5"),
        (
            "leg_deadline_s=1.1",
            "leg_deadline_s=1.1 must exceed latency plus max_quote_age_s (1.1); before that an order may "
            "still be under way",
        ),
        (
            "clip_usdt=7.5",
            "clip_usdt=7.5 never buys one step of 10 base units, which is 7.54 USDT at the lowest ask; raise "
            "clip_usdt, or check --contract-size and --perp-step",
        ),
    ],
)
def test_a_value_out_of_bounds_is_refused_before_the_first_notebook(tmp_path, capsys, said, reason):
    assert pipeline.main(["--reports", str(tmp_path / "reports"), "-p", said]) == 2
    assert capsys.readouterr().err == f"error: {reason}\n"
    assert not (tmp_path / "reports").exists()


def test_values_have_the_declared_types_and_go_only_where_they_are_declared(notebooks):
    options = PipelineOptions(p=["trials=7", "days=2", "late=False"])
    declarations = {name: declared(notebooks / f"{name}.ipynb") for name in NOTEBOOKS}
    spread, optimization, report = values(options, declarations, 60.0).values()
    assert spread == {"run_folder": "", "days": 2.0}
    assert (optimization["trials"], optimization["valid_for_s"], optimization["spot"]) == (7, 60.0, "")
    assert report == {"run_folder": "", "late": False}


def test_every_file_is_found_from_the_folder_of_the_notebooks(tmp_path, monkeypatch):
    """Latencies are a number or a file: a number stays what it is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latency.csv").touch()
    said = ["--spot-latency=latency.csv", "--perp-latency=0.2", "--spot-rules=s.json", "--perp-rules=p.json"]
    names = ("spot_latency", "perp_latency", "spot_rules", "perp_rules")
    options = typed(PipelineOptions, *said)
    (found,) = values(options, {"01": dict.fromkeys(names, "str")}, 60.0).values()
    files = (str(tmp_path / name) for name in ("latency.csv", "s.json", "p.json"))
    assert found == dict(zip(("spot_latency", "spot_rules", "perp_rules"), files, strict=True)) | {
        "perp_latency": "0.2"
    }


@pytest.mark.parametrize("tags", [[], ["parameters", "parameters"]])
def test_a_notebook_needs_one_parameters_cell(tmp_path, tags):
    cells = [nbformat.v4.new_code_cell("n: int = 1", metadata={"tags": [tag]}) for tag in tags]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "x.ipynb")
    with pytest.raises(ParamsError, match=rf"x.ipynb needs one cell tagged `parameters`, has {len(tags)}"):
        declared(tmp_path / "x.ipynb")


def test_reports_that_cannot_be_written_are_an_error_of_one_line(notebooks, tmp_path, capsys):
    (tmp_path / "reports").write_text("a file")
    assert pipeline.main(arguments(notebooks, tmp_path / "reports")) == 2
    assert "is a file, not a folder" in last_line(capsys.readouterr().out)["reason"]


def working(reports):
    return places.locked(reports / PAIR, PAIR, "--reports")


def test_two_pipelines_on_one_pair_exclude_each_other(notebooks, tmp_path, capsys):
    with working(tmp_path):
        assert pipeline.main(arguments(notebooks, tmp_path)) == 1
    reason = last_line(capsys.readouterr().out)["reason"]
    assert reason.startswith(f"{PAIR} is being worked on by process {os.getpid()} since ")
    assert [path.name for path in (tmp_path / PAIR).iterdir()] == []
    with working(tmp_path):
        pass


# --- stopping --------------------------------------------------------------------------------------------------------


def kernel_of(reports):
    """The process of the kernel that hangs in notebook 01, once it does."""
    for _ in range(600):
        for path in reports.glob(f"{PAIR}/*/hanging"):
            if path.read_text():
                return psutil.Process(int(path.read_text()))
        time.sleep(0.05)
    raise AssertionError("no kernel came to the hanging cell")


def gone(processes):
    return not psutil.wait_procs(processes, timeout=5)[1]


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_run_leaves_nothing_behind(notebooks, tmp_path, signum, code):
    process = start(notebooks, tmp_path, "-p", "hangs=true", "-p", "children=2")
    kernel = kernel_of(tmp_path)
    workers = kernel.children()
    began = time.monotonic()
    process.send_signal(signum)
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - began < GRACE_S
    assert process.returncode == code and out == ""
    kept = "nothing was published, the parameters in force stay; the same command begins a new run"
    assert err.splitlines()[-1] == f"stopped by {signum.name}; {kept}" and "Traceback" not in err
    assert len(workers) == 2 and gone([kernel, *workers])
    assert [path.name for path in (tmp_path / PAIR).iterdir()] == []


def test_the_time_limit_ends_a_run_with_its_kernel(notebooks, tmp_path):
    process = start(notebooks, tmp_path, "-p", "hangs=true", "--time-limit", "4s")
    kernel = kernel_of(tmp_path)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1 and "Traceback" not in err
    assert last_line(out)["reason"] == "stopped at the time limit of 4 s; raise --time-limit or give less data"
    assert gone([kernel])
    assert (Path(last_line(out)["run"]) / "02_optimization.html").exists()


def test_a_killed_process_takes_its_kernel_along_and_frees_the_lock(notebooks, tmp_path):
    process = start(notebooks, tmp_path, "-p", "hangs=true")
    kernel = kernel_of(tmp_path)
    process.kill()
    process.communicate()
    assert gone([kernel])
    with working(tmp_path):
        pass


# --- again and again -------------------------------------------------------------------------------------------------


def lines_until(process, text, count):
    """Read the error output until `text` has come `count` times."""
    seen = []
    for line in process.stderr:
        seen.append(line)
        if sum(text in each for each in seen) == count:
            return seen
    raise AssertionError("".join(seen))


def test_repeated_runs_skip_what_is_late_and_end_cleanly(notebooks, tmp_path):
    process = start(notebooks, tmp_path, "--every", "1s", "--time-limit", "1m")
    lines = lines_until(process, "the run took longer than the interval of 1 s: ", 2)
    with pytest.raises(RunError, match=f"worked on by process {process.pid} "), working(tmp_path):
        pass
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=15)
    assert process.returncode == 0, err
    assert err.splitlines()[-1] == "stopped" and "Traceback" not in err
    assert sum(line.startswith("03_backtest_report") for line in lines) == 2
    results = [json.loads(line) for line in out.splitlines()]
    assert [r["status"] for r in results[:2]] == ["ok", "ok"] and results[0]["run"] != results[1]["run"]
    published = params.load(tmp_path / PAIR / "params" / "latest.json")
    assert (published.valid_until - published.created).total_seconds() == 3600
    assert all(pages.read_json(folder / "run.json")["status"] == "ok" for folder in pages.run_folders(tmp_path / PAIR))


def test_a_loop_that_is_stopped_in_the_middle_of_a_run_stops_the_run(notebooks, tmp_path):
    process = start(notebooks, tmp_path, "--every", "1h", "-p", "hangs=true")
    kernel = kernel_of(tmp_path)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=15)
    assert process.returncode == 0, err
    assert gone([kernel]) and pages.run_folders(tmp_path / PAIR) == []


def test_a_loop_outlives_a_run_that_is_killed(notebooks, tmp_path):
    process = start(notebooks, tmp_path, "--every", "1h", "-p", "hangs=true")
    kernel = kernel_of(tmp_path)
    psutil.Process(process.pid).children()[0].kill()
    lines_until(process, "error: the run was ended by SIGKILL", 1)
    for _ in range(100):
        if (tmp_path / "index.html").exists():
            break
        time.sleep(0.05)
    process.terminate()
    assert process.wait(15) == 0 and gone([kernel])
    assert "ended without a result" in (tmp_path / "index.html").read_text()


def test_a_loop_whose_inputs_are_refused_ends_at_once(notebooks, tmp_path):
    code, result, _ = run_once(notebooks, tmp_path / "reports", "--every", "1s", *MISSING)
    assert code == 2 and result["reason"].startswith("a does not exist")


def test_quotes_that_go_missing_under_a_loop_fail_the_run(notebooks, tmp_path, capsys):
    assert pipeline.main(arguments(notebooks, tmp_path, "--every", "1s", "--tick", "7", *MISSING)) == 1
    result = last_line(capsys.readouterr().out)
    assert result["status"] == "failed" and "a does not exist" in result["reason"]
    assert result["reason"] in (tmp_path / "index.html").read_text()


# --- pages -----------------------------------------------------------------------------------------------------------


def test_columns_of_words_are_told_from_columns_of_figures():
    table = "<table><tr><th></th><th>what</th><th>net</th></tr><tr><th>1</th><td>fees 5</td><td>−0.5</td></tr></table>"
    marked = _aligned(table)
    assert '<th class="words">what</th>' in marked and "<th>net</th>" in marked and "<td>−0.5</td>" in marked
    spanning = "<table><tr><th colspan=2>a</th></tr><tr><td>x</td><td>y</td></tr></table>"
    assert _aligned(spanning) == spanning


def test_formulas_are_told_from_money_and_code():
    lines = r"$$\begin{aligned} a &= b \\ c &= d \end{aligned}$$"
    text = pages._with_formulas(r"`$x$` costs $5 and $6, \$7, but $a_b$ and " + lines)
    assert re.findall(r'alt="([^"]*)"', text) == ["a_b", "a = b", "c = d"]
    assert text.startswith(r"`$x$` costs $5 and $6, \$7, but <img")


def test_a_formula_that_cannot_be_drawn_stays_readable():
    assert pages._formula(r"\nosuch{x}") == r"<code>\nosuch{x}</code>"


def test_the_index_survives_a_damaged_record(good, tmp_path):
    reports = shutil.copytree(good[0], tmp_path / "reports")
    (reports / PAIR / "20200101T000000Z").mkdir()
    (reports / PAIR / "20200101T000000Z" / "run.json").write_text('{"run_id": ')
    (reports / PAIR / "params" / "latest.json").write_text("{}")
    text = overview.write_index(reports).read_text()
    assert "best of 7" in text and "Damaged" in text


def test_text_from_notebooks_is_escaped_in_the_index(good, tmp_path):
    reports = shutil.copytree(good[0], tmp_path / "reports")
    folder = pages.run_folders(reports / PAIR)[0]
    record = pages.read_json(folder / "run.json") | {"reason": "<script>x</script>"}
    (folder / "run.json").write_text(json.dumps(record))
    assert "<script>x" not in overview.write_index(reports).read_text()


def test_the_course_of_the_judged_net_needs_three_runs():
    records = [{"status": "ok", "metrics": {"net_usdt_day": net}} for net in (2.0, -1.0, 0.5)]
    assert overview._course(records[:2]) == ""
    assert 'points="4.0,17.0 120.0,32.0 236.0,2.0"' in overview._course(records)


def exported(folder, levels, error=2.0):
    """Dated parameter files that chose these levels and exported the first of them."""
    for day, (entry, exit_) in enumerate(levels, 1):
        evidence = {"best_entry_bps": entry, "best_exit_bps": exit_, "entry_se_bps": error, "exit_se_bps": error}
        export = {"rule": {"entry_bps": levels[0][0], "exit_bps": levels[0][1]}, "evidence": evidence}
        path = folder / "params" / f"202001{day:02}T000000.000000Z.json"
        params.write_atomic(path, json.dumps(export))
    return pages.exports(folder)


def test_the_index_says_how_far_the_choice_has_moved_in_its_standard_errors(tmp_path):
    text = overview._stability(exported(tmp_path, [(20.0, -20.0), (22.0, -19.6), (21.2, -20.0)]))
    assert "the choice moved by 0.4 standard errors" in text
    assert "last 3 runs, −20.0 to 22.0 bps" in text
    # 42 bps on 40 points: in force 20 and -20 throughout, chosen up to 22
    assert '<polyline class="force" points="4.0,5.9 120.0,5.9 236.0,5.9"/>' in text
    assert '<polyline class="chosen" points="4.0,5.9 120.0,4.0 236.0,4.8"/>' in text


def test_one_choice_has_not_moved_and_one_without_an_error_says_so(tmp_path):
    assert overview._stability(exported(tmp_path / "a", [(20.0, -20.0)])) == ""
    for error in (None, 0.0):
        assert "no standard error" in overview._stability(exported(tmp_path / "b", [(20.0, -20.0)] * 2, error))


def test_damaged_exports_are_passed_over_in_the_figure(tmp_path):
    paths = exported(tmp_path, [(20.0, -20.0), (1.0, -1.0), (2.0, -2.0), (22.0, -20.0)])
    paths[1].write_text("{")
    paths[2].write_text('{"evidence": null, "rule": 7}')
    text = overview._stability(paths)
    assert "moved by 1.0 standard errors" in text and 'class="chosen" points="4.0,5.9 236.0,4.0"' in text


@pytest.mark.benchmark
def test_a_run_of_the_sample_takes_at_most_40_seconds(tmp_path):
    began = time.monotonic()
    code, result, err = run_once(ROOT / "notebooks", tmp_path)
    assert code == 0 and result["status"] == "ok", err
    assert time.monotonic() - began < 40


def test_a_kernel_that_died_before_it_answered_is_started_again_and_no_other_failure_is():
    """Its ports are bound a moment after they were found free; a program beside it may take one."""
    said = []

    def dying(times, words):
        def start():
            said.append(words)
            if len(said) <= times:
                raise RuntimeError(words)
            return "ran"

        said.clear()
        return start

    early = "Kernel died before replying to kernel_info"
    assert notebooks_module._started(dying(2, early)) == "ran" and len(said) == 3
    with pytest.raises(RuntimeError, match="Kernel died before"):
        notebooks_module._started(dying(3, early))
    with pytest.raises(RuntimeError, match="in a cell"):
        notebooks_module._started(dying(1, "in a cell"))
    assert len(said) == 1
