"""Machine code that a wheel brings along: of these sources alone, for any processor, and never compiled again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from delta_arb.numba_cache import cache_folder

SMALL = "def twice(x):\n    return 2.0 * x\n"
CALL = """
import sys
from delta_arb import numba_cache
numba_cache.WHEEL = sys.argv[1]
import small
twice = numba_cache.compiled(small.twice)
print(twice(21.0), sum(twice.stats.cache_hits.values()))
"""
GENERIC = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}


def called(folder: Path, cache: Path, wheel: Path, code: str = CALL, **more: str) -> str:
    path = os.pathsep.join((str(folder), str(Path(__file__).resolve().parents[1])))
    environment = {**os.environ, "PYTHONPATH": path, "NUMBA_CACHE_DIR": str(cache), **more}
    command = [sys.executable, "-c", code, str(wheel)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_machine_code_of_a_wheel_is_taken_and_that_of_other_sources_is_not(tmp_path):
    built, wheel, own = tmp_path / "built", tmp_path / "wheel", tmp_path / "own"
    (tmp_path / "small.py").write_text(SMALL)
    assert called(tmp_path, built, wheel, **GENERIC) == "42.0 0"
    for kernel in built.glob("kernel-*"):
        (wheel / kernel.name).mkdir(parents=True)
        for file in kernel.glob("*/*.nb?"):
            shutil.copy(file, wheel / kernel.name)
    os.utime(tmp_path / "small.py", (1, 1))  # an installation gives its files other times
    assert called(tmp_path, own, wheel) == "42.0 1"
    assert not list(own.rglob("*.nbc"))
    (tmp_path / "small.py").write_text(SMALL.replace("2.0", "3.0"))
    assert called(tmp_path, own, wheel) == "63.0 0"
    assert list(own.rglob("*.nbc"))  # compiled here, and kept where it was asked to be


TWO = "from typing import NamedTuple\nclass Two(NamedTuple):\n    {}: object\n    {}: object\n"
READS = """
from numpy import array
from delta_arb import numba_cache
import small
print(numba_cache.compiled(small.left)(small.Two(left=array([1.0]), right=array([2.0]))))
"""


def test_machine_code_is_made_anew_once_the_fields_of_a_tuple_change_places(tmp_path):
    """Machine code knows fields by their numbers, and the tuple of a kernel may be from a file that compiles nothing."""
    (tmp_path / "small.py").write_text("from shapes import Two\ndef left(two):\n    return two.left[0]\n")
    for fields in (("left", "right"), ("right", "left")):
        (tmp_path / "shapes.py").write_text(TWO.format(*fields))
        assert called(tmp_path, tmp_path / "own", tmp_path / "wheel", code=READS) == "1.0", fields


HELD = """
from numba.core import ir, typed_passes, types

parts, kernels, given = {}, [], []
PASSED_ON = {"getattr", "static_getitem", "getitem", "build_tuple", "cast", "phi", "exhaust_iter", "pair_first", "iternext"}
infer = typed_passes.NopythonTypeInference.run_pass


def holds(of):
    return isinstance(of, types.Array | types.List) or isinstance(of, types.BaseTuple) and any(map(holds, of))


def by_name(state, expr):
    # what is called: a tuple's class, or a function
    of = state.typemap[expr.func.name] if expr.op == "call" else None
    key = getattr(of, "typing_key", None) or getattr(of, "instance_class", None)
    return "a tuple" if isinstance(key, type) and issubclass(key, tuple) else getattr(key, "__name__", str(of or ""))


def looked_at(self, state):
    done = infer(self, state)
    called = {getattr(f.typing_key, "__name__", "") for f in state.typemap.values() if isinstance(f, types.Function)}
    if type(state.targetctx.nrt).__name__ == "Uncounted":
        parts[state.func_id.func_name] = holds(state.return_type)
        for block in state.func_ir.blocks.values():
            for made in block.find_insts(ir.Assign):
                if isinstance(made.value, ir.Expr) and holds(state.typemap[made.target.name]):
                    given.append((state.func_id.func_name, made.value.op, by_name(state, made.value)))
    else:
        kernels.append(called)
    return done


typed_passes.NopythonTypeInference.run_pass = looked_at
from delta_arb.optimize import first_calls

first_calls.research()
hands_over = {name for name, holding in parts.items() if holding}
assert any(called & parts.keys() for called in kernels)  # so the names are seen
assert not any(called & hands_over for called in kernels), hands_over
new = [(part, op, of) for part, op, of in given if op not in PASSED_ON and of != "a tuple" and of not in parts]
assert not new, new
print(len(parts) > 80, len(kernels) > 3)
"""


@pytest.mark.slow  # compiles everything anew
def test_a_part_of_a_kernel_makes_no_array_and_hands_none_to_its_kernel(tmp_path):
    """Parts count no references: what they made would never be freed, and what a kernel got of them would be freed too soon."""
    assert called(tmp_path, tmp_path, tmp_path, HELD) == "True True"


BOUNDS = """
from delta_arb.backtest.fast_forward import prices
from delta_arb.numba_cache import compiled
from delta_arb.optimize import first_calls
first_calls.research()
print(len(compiled(prices).signatures))
"""


def test_a_set_up_compiles_the_bounds_that_a_sweep_of_more_than_one_set_makes(tmp_path):
    assert called(tmp_path, cache_folder(), tmp_path, BOUNDS) == "1"
