"""The committed notebooks: executed, small, deterministic, without logic, and parameterized alike."""

import ast
import base64
import dataclasses
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from delta_arb.errors import ParamsError
from delta_arb.optimize.parameters import parameters as study_parameters
from delta_arb.quotes.inputs import Inputs
from delta_arb.report import run
from delta_arb.universe.run import options_of

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("[0-9]*.ipynb"))
LOGIC = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.For, ast.While, ast.If, ast.Lambda, ast.ListComp)
PIPELINE = ("01_spread_analysis", "02_optimization", "03_backtest_report")
LIMIT = 350_000  # bytes


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def notebook(path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def code_cells(notebook: dict) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def source(cell: dict) -> str:
    return "".join(cell["source"])


def shown(notebook: dict) -> list[str]:
    outputs = [output for cell in code_cells(notebook) for output in cell["outputs"]]
    return ["".join(output["data"].get("text/plain", "")) for output in outputs if "data" in output]


def parameters(notebook: dict) -> list[dict]:
    return [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]


def test_the_notebooks_are_there_and_numbered():
    assert [p.stem for p in NOTEBOOKS] == ["00_universe", *PIPELINE, "04_live_review"]
    assert run.NOTEBOOKS == PIPELINE  # the review of live trading is no part of choosing parameters


def test_every_code_cell_was_executed_in_order(notebook):
    counts = [cell["execution_count"] for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_no_output_is_an_error_or_a_warning(notebook):
    outputs = [output for cell in code_cells(notebook) for output in cell["outputs"]]
    assert all(output["output_type"] != "error" and output.get("name") != "stderr" for output in outputs)


def test_every_cell_that_ends_in_an_expression_shows_something(notebook):
    for cell in code_cells(notebook):
        if isinstance(ast.parse(source(cell)).body[-1], ast.Expr):
            assert cell["outputs"], source(cell)


def test_it_is_small_enough_for_a_repository(path):
    assert path.stat().st_size <= LIMIT


def test_the_kernel_is_the_plain_one_and_nothing_of_a_run_is_kept(notebook):
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert notebook["metadata"]["language_info"]["name"] == "python"
    assert not {"papermill", "widgets"} & set(notebook["metadata"])
    for cell in notebook["cells"]:
        assert not {"execution", "papermill", "ExecuteTime"} & set(cell["metadata"])


def test_there_is_no_logic_in_a_cell(notebook):
    for cell in code_cells(notebook):
        assert not [node for node in ast.walk(ast.parse(source(cell))) if isinstance(node, LOGIC)], source(cell)


def test_prose_stands_between_the_code(notebook):
    kinds = "".join(cell["cell_type"][0] for cell in notebook["cells"])
    assert "cccc" not in kinds and kinds.startswith("m")


def test_one_cell_holds_the_parameters_as_literals_with_their_help(notebook):
    (cell,) = parameters(notebook)
    for line in source(cell).splitlines():
        assert re.fullmatch(r'\w+: (str|float|int) = ("[^"]*"|-?[\d.]+)  # \S.*', line), line


def test_parameters_of_the_inputs_have_the_defaults_of_the_inputs(path, notebook):
    if path.stem not in PIPELINE:
        pytest.skip("it reads what the runner recorded, or many pairs")
    expected = {field.name: field.default for field in dataclasses.fields(Inputs)}
    found = declared(notebook)
    assert {name: found[name] for name in expected} == expected
    assert found.get("run_folder", "") == ""


class Read(dict):
    """A namespace that remembers which of its names were asked for."""

    def __init__(self, values):
        super().__init__(values)
        self.names = set()

    def get(self, name, default=None):
        self.names.add(name)
        return super().get(name, default)


def declared(notebook: dict) -> dict:
    (cell,) = parameters(notebook)
    return {node.target.id: ast.literal_eval(node.value) for node in ast.parse(source(cell)).body}


def test_every_parameter_is_used(notebook):
    """By its name in a cell, or by the one line that reads all of them."""
    (cell,) = parameters(notebook)
    after = "\n".join(source(c) for c in code_cells(notebook)[code_cells(notebook).index(cell) + 1 :])
    used = {node.id for node in ast.walk(ast.parse(after)) if isinstance(node, ast.Name)}
    read = Read(declared(notebook))
    readers = {"Inputs.named": Inputs.named, "open_study": study_parameters, "open_universe": options_of}
    for line, reader in ((f"{name}(globals())", reader) for name, reader in readers.items()):
        if line in after:
            reader(read)
    assert set(read) <= used | read.names


def test_a_missing_and_a_wrong_parameter_are_refused_by_their_names():
    values = declared(json.loads(NOTEBOOKS[2].read_text(encoding="utf-8")))
    with pytest.raises(ParamsError, match="lacks clip_usdt; declare"):
        study_parameters({name: value for name, value in values.items() if name != "clip_usdt"})
    with pytest.raises(ParamsError, match="clip_usdt: should be greater than 0"):
        study_parameters(values | {"clip_usdt": -5.0})
    with pytest.raises(ParamsError, match="profile must be one of"):
        study_parameters(values | {"profile": "hold"})
    assert study_parameters(values).settings.max_position_usdt is None  # 0 of it: one clip


def test_the_text_has_no_paths_no_addresses_and_says_synthetic(notebook):
    texts = shown(notebook)
    assert not re.search(r"0x[0-9a-f]{6}|/home/|/root/|/tmp/|/Users/|[A-Z]:\\", "\n".join(texts))
    figures = [text for text in texts if text.startswith(("Picture(", "Chart("))]
    assert figures and all("SYNTHETIC" in text for text in figures)


def test_every_figure_keeps_a_picture_that_is_not_empty(notebook):
    """nbval skips pictures, even one that is gone."""
    outputs = [o for cell in code_cells(notebook) for o in cell["outputs"] if "data" in o]
    figures = [
        o["data"] for o in outputs if "".join(o["data"].get("text/plain", "")).startswith(("Picture(", "Chart("))
    ]
    assert figures
    for data in figures:
        if "image/png" in data:
            drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("L"), float)
            assert drawn.std() > 5 and min(drawn.shape) > 100
        else:
            traces = data["application/vnd.plotly.v1+json"]["data"]
            assert traces and any(trace.get("y") or trace.get("z") for trace in traces)


def test_the_numbers_shown_are_rounded_lesson_42(notebook):
    for text in shown(notebook):
        assert not re.search(r"\d\.\d{5,}", text), text


def test_the_heading_and_the_figures_say_what_was_read(notebook):
    first = next(cell for cell in code_cells(notebook) if cell["outputs"])
    assert "SYNTHETIC quotes, made by a program" in "".join(first["outputs"][0]["data"]["text/plain"])
