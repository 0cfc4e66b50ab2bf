"""pyproject.toml is the source; conda's file and the lock must say the same, and the lock must work anywhere."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent

# The packages of the plan; all others have their reason beside them in pyproject.toml.
FIXED = {"jupyterlab", "papermill", "pandas", "numpy", "scipy", "matplotlib", "plotly", "ccxt", "pytest", "nbval"}
# conda name -> distribution name, where they differ
CONDA_NAMES = {"matplotlib-base": "matplotlib", "python-duckdb": "duckdb", "pytables": "tables", "arch-py": "arch"} | {
    "python-zlib-ng": "zlib-ng"
}
PIP_ONLY = ["gate-api", "playwright"]  # not on conda-forge
# In conda's file only for conda's sake: what pyproject.toml says elsewhere, or what conda needs to run pip.
INTERPRETER, INSTALLER = "python", "pip"


def ranges(requirements):
    """`{name: range}`; a name given twice is an error, as one of the two would win silently."""
    parsed = [Requirement(text) for text in requirements]
    table = {canonicalize_name(each.name): each.specifier for each in parsed}
    assert len(table) == len(parsed)
    return table


@pytest.fixture(scope="module")
def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


@pytest.fixture(scope="module")
def declared(pyproject):
    project = pyproject["project"]
    extras = project["optional-dependencies"]
    return ranges(project["dependencies"] + extras["test"] + extras["dev"] + pyproject["build-system"]["requires"])


@pytest.fixture(scope="module")
def conda():
    return yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))


@pytest.fixture(scope="module")
def lock_text():
    return (ROOT / "requirements.lock").read_text("utf-8")


@pytest.fixture(scope="module")
def locked(lock_text):
    """One `Requirement` for each pin, its hashes taken off; the same name may occur once for each Python."""
    entries = re.sub(r"\\\n", " ", lock_text).splitlines()
    return [Requirement(entry.split(" --hash=")[0]) for entry in entries if entry and not entry.startswith("#")]


def test_conda_installs_the_same_names_and_ranges(conda, declared):
    named = ranges(spec for spec in conda["dependencies"] if isinstance(spec, str))
    named.pop(INTERPRETER), named.pop(INSTALLER)
    [pip] = [spec["pip"] for spec in conda["dependencies"] if not isinstance(spec, str)]
    named |= ranges(spec for spec in pip if not spec.startswith("-e"))
    assert {CONDA_NAMES.get(name, name): wanted for name, wanted in named.items()} == declared


def test_conda_takes_the_same_pythons(conda, pyproject):
    python = next(spec for spec in conda["dependencies"] if spec.startswith(INTERPRETER))
    assert Requirement(python).specifier == SpecifierSet(pyproject["project"]["requires-python"])


def test_conda_takes_all_from_one_channel_but_the_project_and_what_it_does_not_have(conda):
    assert conda["channels"] == ["conda-forge", "nodefaults"]
    [pip] = [spec["pip"] for spec in conda["dependencies"] if not isinstance(spec, str)]
    assert pip[0] == "-e ." and [Requirement(spec).name for spec in pip[1:]] == PIP_ONLY


def test_the_packages_of_the_plan_are_all_required(declared):
    assert declared.keys() >= FIXED


def test_every_dependency_says_from_which_version_on(declared):
    assert [name for name, wanted in declared.items() if not any(s.operator == ">=" for s in wanted)] == []


def test_a_kernel_starts_without_a_warning(declared):
    """From 7.3 on ipykernel warns at every start, into the output that nbval compares."""
    assert declared["ipykernel"].contains("7.2.0")
    assert not declared["ipykernel"].contains("7.3.0")


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_the_lock_pins_each_direct_dependency_within_its_range(python, locked, declared):
    here = default_environment() | {"python_version": python, "python_full_version": f"{python}.9"}
    pins = ranges(str(pin) for pin in locked if pin.marker is None or pin.marker.evaluate(here))
    versions = {name: str(pin).removeprefix("==") for name, pin in pins.items()}
    outside = {
        name: versions.get(name) for name, wanted in declared.items() if not wanted.contains(versions.get(name, "0"))
    }
    assert outside == {}


def test_the_lock_names_no_address_and_no_option(lock_text):
    entries = [line for line in lock_text.splitlines() if not line.startswith("#")]
    assert [line for line in entries if re.search(r"://|^\s*-(?!-hash=)|\s@\s", line)] == []


def test_every_pin_of_the_lock_is_exact_and_has_a_hash(lock_text, locked):
    entries = re.sub(r"\\\n", " ", lock_text).splitlines()
    assert [e for e in entries if e and not e.startswith("#") and not re.search(r"--hash=sha256:[0-9a-f]{64}", e)] == []
    assert [str(pin) for pin in locked if [s.operator for s in pin.specifier] != ["=="]] == []


def test_make_accepts_the_same_pythons(pyproject):
    bounds = re.search(r"\((\d+), (\d+)\) <= v < \((\d+), (\d+)\)", (ROOT / "Makefile").read_text("utf-8")).groups()
    assert SpecifierSet(pyproject["project"]["requires-python"]) == SpecifierSet(">={}.{},<{}.{}".format(*bounds))
