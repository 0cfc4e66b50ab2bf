#!/usr/bin/env bash
# qstrader 0.3.0 and ml4t-backtest 0.1.0b5: the Sortino ratio of a strategy with a stop: 90 days of -1 % and 10 of +10 % (a mean of
# +0.1 %), or of +8 % (a mean of -0.1 %).
# Expected: the mean over the root of the mean squared loss, sqrt(0.9 * 0.01^2) = 0.95 %, a year of 252 days: +1.67 and -1.67.
# Seen: nine million times a thousand million, with the sign of the mean: a number of 16 digits. Both divide by the deviation of the
# losses around their own mean, which is how much the losses differ, not how large they are, and equal ones leave only rounding.
# With losses of 0.99 and 1.01 % in turn they say 158, where 1.67 is right. Among parameters the ones that always lose the same are
# chosen or dropped, however much they lose.
# What to do: np.sqrt(np.mean(np.minimum(returns, 0) ** 2)) below the line.
# (Only the modules in question are loaded.)
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.2.6 pandas==2.3.3 2>/dev/null
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps qstrader==0.3.0 ml4t-backtest==0.1.0b5 2>/dev/null
"$folder/venv/bin/python" -W ignore - <<'PY'
from importlib.metadata import distribution
from importlib.util import module_from_spec, spec_from_file_location

import numpy as np
import pandas as pd


def load(package, path):
    found = spec_from_file_location("module", distribution(package).locate_file(path))
    made = module_from_spec(found)
    found.loader.exec_module(made)
    return made


packages = {
    "qstrader": load("qstrader", "qstrader/statistics/performance.py").create_sortino_ratio,
    "ml4t-backtest": load("ml4t-backtest", "ml4t/backtest/analytics/metrics.py").sortino_ratio,
}
equal, turns = [-0.01] * 90, [-0.0099, -0.0101] * 45
cases = {"wins": equal + [0.10] * 10, "loses": equal + [0.08] * 10, "wins, in turn": turns + [0.10] * 10, "loses, in turn": turns + [0.08] * 10}
seen = {}
for name, days in cases.items():
    returns = pd.Series(days)
    right = returns.mean() / np.sqrt(np.mean(np.minimum(returns, 0) ** 2)) * np.sqrt(252)
    seen[name] = [float(right), *(float(ratio(returns)) for ratio in packages.values())]
    print(f"a strategy that {name}, mean {returns.mean():+.2%}: {right:+.2f}; " + ", ".join(f"{package} {value:+.2f}" for package, value in zip(packages, seen[name][1:])))
assert [round(row[0], 2) for row in seen.values()] == [1.67, -1.67, 1.67, -1.67]
assert all(value > 1e12 for value in seen["wins"][1:]) and all(value < -1e12 for value in seen["loses"][1:]), seen
assert all(155 < value < 160 for value in seen["wins, in turn"][1:]) and all(-160 < value < -155 for value in seen["loses, in turn"][1:]), seen
PY
