"""The notebooks and the sample stand at the top level, to be read; a wheel takes copies of them inside the package."""

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


setup(cmdclass={"build_py": BuildWithNotebooks})
