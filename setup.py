"""The notebooks and the sample stand at the top level, to be read; a wheel takes copies of them inside the package, and
machine code that is made while it is built."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

TRAVEL = ("notebooks/*.ipynb", "data/sample/*.parquet", "data/sample/truth.json")


def travelling() -> list[Path]:
    found = [sorted(Path().glob(pattern)) for pattern in TRAVEL]
    if not all(found):
        raise FileNotFoundError(f"the wheel needs {', '.join(TRAVEL)}; build it from a whole checkout")
    return [path for paths in found for path in paths]


class BuildWithNotebooks(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for path in travelling():
            target = Path(self.build_lib, "delta_arb", path)
            self.mkpath(str(target.parent))
            self.copy_file(str(path), str(target))
        compile_into(Path(self.build_lib, "delta_arb", "machine_code"))


def compile_into(folder: Path) -> None:
    """Machine code for any processor of this kind, so that the first call of an installed wheel need not wait for it.

    Only where numba is at hand, as in this project's own environment; without it the first call compiles.
    """
    if not importlib.util.find_spec("numba"):
        print("no numba here: the wheel is built without machine code (build without isolation to have it)")
        return
    processor = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    with tempfile.TemporaryDirectory() as made:
        environment = {**os.environ, **processor, "NUMBA_CACHE_DIR": made, "PYTHONPATH": os.curdir}
        subprocess.run([sys.executable, "-m", "delta_arb.optimize.first_calls"], env=environment, check=True)
        for kernel in Path(made).glob(
            "kernel-*"
        ):  # without numba's folder inside, which is named by a path of this machine
            for file in kernel.glob("*/*.nb?"):
                (folder / kernel.name).mkdir(parents=True, exist_ok=True)
                shutil.copy(file, folder / kernel.name)


setup(cmdclass={"build_py": BuildWithNotebooks})
