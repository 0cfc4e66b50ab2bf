#!/usr/bin/env bash
# papermill 2.7.0: a parameter whose line holds a second equals sign, if only in its comment or its text.
# Expected: inspect_notebook lists it with its type, default and help, as Python reads the line.
# Seen: it is left out, and a value that is given for it is reported as "Passed unknown parameter", though it is injected and used.
# What to do: read the tagged cell with Python's own parser, and refuse unknown names oneself before the first notebook starts.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check papermill==2.7.0 ipykernel==7.2.0 2>/dev/null
"$folder/venv/bin/python" - "$folder" <<'PY'
import sys
import warnings

import nbformat
import papermill

folder, found = sys.argv[1], {}
warnings.simplefilter("ignore")
for name, line in {"plain": 'layout: str = ""  # of the file', "second": 'layout: str = ""  # of the file, like time=ms'}.items():
    cells = [nbformat.v4.new_code_cell(line, metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell("print(layout)")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), f"{folder}/{name}.ipynb")
    listed = papermill.inspect_notebook(f"{folder}/{name}.ipynb")
    ran = papermill.execute_notebook(
        f"{folder}/{name}.ipynb", f"{folder}/out.ipynb", {"layout": "given"}, kernel_name="python3", progress_bar=False
    )
    found[name] = sorted(listed), ran.cells[-1].outputs[0].text.strip()
    print(f"papermill {papermill.__version__}, {line!r}: listed {found[name][0]}, the cell sees {found[name][1]!r}")
assert found == {"plain": (["layout"], "given"), "second": ([], "given")}
PY
