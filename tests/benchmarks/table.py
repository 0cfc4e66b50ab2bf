"""One way to show a benchmark: the same numbers as a table on the screen and as JSON in reports/bench."""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

BENCH = Path(__file__).resolve().parents[2] / "reports" / "bench"


def report(
    name: str, rows: Sequence[Mapping[str, object]], packages: Sequence[str] = ("numpy",), **meta: object
) -> Path:
    """Print `rows` (one column per key, all with the same keys) and write them to reports/bench/<name>.json.

    `meta` says what the numbers mean (method, goal); versions of Python and of `packages` are added. Returns the file.
    """
    meta = {**meta, "python": platform.python_version(), **{package: version(package) for package in packages}}
    cells = [list(rows[0]), *([_face(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print("\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells))
    print("\n".join(f"{key}: {value}" for key, value in meta.items()))
    BENCH.mkdir(parents=True, exist_ok=True)
    path = BENCH / f"{name}.json"
    path.write_text(json.dumps({"name": name, **meta, "rows": list(rows)}, indent=2) + "\n")
    return path


def _face(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
