"""The built wheel in an environment that holds nothing else, used in an empty folder: minutes, so slow."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import delta_arb
from delta_arb import params

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("delta_arb", "notebooks", "data", "pyproject.toml", "setup.py", "README.md", "LICENSE")

pytestmark = pytest.mark.slow


def done(*command, **more) -> str:
    process = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=900, **more)
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, so that nothing is left in the checkout and no old build gets in."""
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        there = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(there, source / name, ignore=ignored) if there.is_dir() else shutil.copy(there, source)
    code = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    name = done(sys.executable, "-c", code, source / "dist", cwd=source).splitlines()[-1]
    return source / "dist" / name


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The folder of the environment's commands; other packages as locked."""
    place = tmp_path_factory.mktemp("environment")
    pins = re.findall(r"^(\S+==[^\\\n]+?) *\\?$", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE)
    (place / "pins.txt").write_text("\n".join(pins))
    python = place / "env" / "bin" / "python"
    if uv := shutil.which("uv"):
        done(uv, "venv", "--quiet", "--python", sys.executable, place / "env")
        done(uv, "pip", "install", "--quiet", "--python", python, "-c", place / "pins.txt", wheel)
    else:
        done(sys.executable, "-m", "venv", place / "env")
        done(python, "-m", "pip", "install", "--quiet", "-c", place / "pins.txt", wheel)
    return python.parent


def test_the_wheel_takes_the_notebooks_and_the_sample_along(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for pattern in ("notebooks/*.ipynb", "data/sample/*.parquet"):
        assert {f"delta_arb/{path.relative_to(ROOT)}" for path in ROOT.glob(pattern)} <= set(names)
    assert not [name for name in names if "conftest" in name or name.startswith("tests") or "__pycache__" in name]
    assert [name for name in names if re.fullmatch(r"delta_arb/machine_code/kernel-\w+/sweep\._sweep-.*\.nbc", name)]
    assert wheel.name.startswith(f"delta_arb-{delta_arb.__version__}-")


def test_it_runs_in_an_empty_folder_and_writes_there(installed, tmp_path):
    assert done(installed / "delta-arb", "--version", cwd=tmp_path).strip() == f"delta_arb {delta_arb.__version__}"
    result = json.loads(done(installed / "delta-arb", "pipeline", "--json", cwd=tmp_path).splitlines()[-1])
    assert result["status"] == "ok" and Path(result["run"]).parts[0] == "reports"
    assert (tmp_path / result["report"]).exists() and (tmp_path / "reports" / "index.html").exists()
    published = params.load(tmp_path / result["params"])
    assert published.data.synthetic and published.pair == "SYN_USDT"
    replayed = done(installed / "python", "-m", "delta_arb.live", "--replay", "--speed", "max", "--json", cwd=tmp_path)
    summary = json.loads(replayed.splitlines()[-1])
    assert summary["status"] == "finished" and summary["params_sha256"] == published.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["reports"]
