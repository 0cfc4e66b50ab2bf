#!/usr/bin/env bash
# qstrader 0.3.0: create_drawdowns, the largest fall of an equity curve from its peak and how long it lasted, as its tear sheet and
# its JSON report state it.
# Expected: a curve that opens at 1.00 and goes to 0.60, 0.50, 0.55 has fallen by 50 %, for 3 bars.
# Seen: 16.7 %, for 2 bars: the first value is not taken for a peak, the search begins at the second. A fall on the first bar
# costs nothing at all: 1.00, 0.60, 0.60, 0.61 has a drawdown of 0. A fold of a walk-forward test that starts with a crash, or a fund
# that never sees its start again, looks safe.
# What to do: put the starting value twice in front, or (curve / curve.cummax() - 1).min().
# (Only the module in question is loaded.)
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.2.6 pandas==2.3.3 2>/dev/null
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps qstrader==0.3.0 2>/dev/null
"$folder/venv/bin/python" -W ignore - <<'PY'
from importlib.metadata import distribution, version
from importlib.util import module_from_spec, spec_from_file_location

import pandas as pd

found = spec_from_file_location("performance", distribution("qstrader").locate_file("qstrader/statistics/performance.py"))
performance = module_from_spec(found)
found.loader.exec_module(performance)
seen = []
for values in ([1.00, 0.60, 0.50, 0.55], [1.00, 0.60, 0.60, 0.61], [1.00, 1.00, 0.60, 0.50]):
    curve = pd.Series(values, index=pd.date_range("2026-01-01", periods=4))
    _, deepest, bars = performance.create_drawdowns(curve)
    right = (1 - curve / curve.cummax()).max()
    seen.append((round(float(deepest), 3), bars, round(float(right), 3)))
    print(f"qstrader {version('qstrader')}: {values}: drawdown {deepest:.1%} for {bars} bars; by hand {right:.1%}")
assert seen == [(0.167, 2, 0.5), (0.0, 0, 0.4), (0.5, 2, 0.5)], seen
PY
