#!/usr/bin/env bash
# papermill 2.7.0: text parameters given on the command line with -p, for a notebook whose parameters cell types them as text.
# Expected: the text, as the cell declares it (`commit: str = ""`) and as papermill's own inspection lists it.
# Seen: whatever Python can read as a number becomes one. The short commit 12e4567 becomes infinity, as do 105 of 10,000 ids of 7
# hexadecimal characters (460 more become other numbers); the run 2026_11_30 becomes 20261130, the order id 000731 loses its
# zeros, and the coin NAN is no text. The output notebook keeps the number, and with it NaN and Infinity, which are no JSON.
# What to do: -r (--parameters_raw) for every text, or one YAML file with quotes (-f).
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check papermill==2.7.0 ipykernel==7.2.0 2>/dev/null
"$folder/venv/bin/python" - "$folder" <<'PY'
import json
import random
import subprocess
import sys
from math import isinf
from pathlib import Path

import nbformat
import papermill
from papermill.cli import _resolve_type

folder = Path(sys.argv[1])
cell = nbformat.v4.new_code_cell('commit: str = ""\nrun: str = ""\norder: str = ""\ncoin: str = "BTC"', metadata={"tags": ["parameters"]})
notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}})
nbformat.write(notebook, folder / "a.ipynb")
given = {"commit": "12e4567", "run": "2026_11_30", "order": "000731", "coin": "NAN"}


def run(flag):
    words = [word for pair in given.items() for word in (flag, *pair)]
    subprocess.run([sys.executable, "-m", "papermill", "a.ipynb", "b.ipynb", "--prepare-only", *words], cwd=folder, check=True, capture_output=True)
    return json.loads((folder / "b.ipynb").read_text())["metadata"]["papermill"]["parameters"]


types = {name: item["inferred_type_name"] for name, item in papermill.inspect_notebook(str(folder / "a.ipynb")).items()}
typed, raw = run("-p"), run("-r")
print(f"papermill {papermill.__version__}: declared {types}\n  given  {given}\n  got    {typed}\n  got -r {raw}")
draw = random.Random(1)
ids = [_resolve_type("".join(draw.choices("0123456789abcdef", k=7))) for _ in range(10_000)]
counts = [sum(isinstance(i, float) and isinf(i) for i in ids), sum(isinstance(i, float) and not isinf(i) for i in ids), sum(isinstance(i, int) for i in ids)]
print(f"of 10,000 ids of 7 hexadecimal characters: {counts[0]} infinite, {counts[1]} other floats, {counts[2]} whole numbers")
assert set(types.values()) == {"str"} and raw == given
assert isinf(typed["commit"]) and typed["run"] == 20261130 and typed["order"] == 731 and typed["coin"] != typed["coin"]
PY
