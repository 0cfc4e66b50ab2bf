#!/usr/bin/env bash
# papermill 2.7.0 with ipykernel 7.2.0: a cell that leaves with `sys.exit(0)`. Expected: the run fails, or the later cells run.
# Seen: `execute_notebook` returns as after a success, and no later cell ran.
# What to do: count a run as whole only if every code cell of the output notebook has been executed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check papermill==2.7.0 "ipykernel==7.2.0" 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import os
import nbformat, papermill
from nbformat.v4 import new_code_cell, new_notebook

cells = [new_code_cell("1 + 1"), new_code_cell("import sys; sys.exit(0)"), new_code_cell("open('ran', 'w').close()")]
kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}}), "in.ipynb")
papermill.execute_notebook("in.ipynb", "out.ipynb", kernel_name="python3", progress_bar=False)
ran = os.path.exists("ran")
print(f"papermill {papermill.__version__}: no error after sys.exit(0); the cell behind it {'ran' if ran else 'never ran'}")
assert not ran, "the later cell ran: this finding is out of date"
PY
