#!/usr/bin/env bash
# pairscan-rmr 0.1.0: hurst_exponent on the log ratio of two prices ("below 0.5 mean-reverting, about 0.5 random walk"), the first of the
# four filters of is_mean_reverting.
# Expected: about 0.5 for a random walk and less for a ratio that returns to its mean.
# Seen: 1.01 for a random walk, 0.97 for a ratio with a half-life of 14 bars and 0.85 for one of 3: the rescaled range belongs to the
# steps of a process, and it is taken of its levels. Even pure noise around a mean reads 0.60, so that no pair that takes a bar or
# more to revert ever passes, however wide and regular its swings: here none of 150.
# What to do: hand over np.diff(log ratio), and set a threshold of one's own.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pairscan-rmr==0.1.0 numpy==2.2.6 statsmodels==0.14.6 scipy==1.16.3 pandas==2.3.3 2>/dev/null
"$folder/venv/bin/python" -W ignore - <<'PY'
from importlib.metadata import version

import numpy as np
from pairscan_rmr import hurst_exponent, is_mean_reverting

rng = np.random.default_rng(1)
BARS, PAIRS = 540, 50


def ratio(memory):  # x[t] = memory x[t-1] + noise, of a deviation of 0.2
    noise = rng.normal(0, 0.2 * (np.sqrt(1 - memory**2) if memory < 1 else 0.1), BARS)
    path = np.empty(BARS)
    path[0] = noise[0]
    for t in range(1, BARS):
        path[t] = memory * path[t - 1] + noise[t]
    return path


kinds = {"random walk": 1.0, "half-life of 14 bars": 0.5 ** (1 / 14), "half-life of 3 bars": 0.5 ** (1 / 3), "no memory": 0.0}
seen = {}
for name, memory in kinds.items():
    paths = [ratio(memory) for _ in range(PAIRS)]
    level = np.mean([hurst_exponent(path) for path in paths])
    steps = np.mean([hurst_exponent(np.diff(path)) for path in paths])
    passed = sum(is_mean_reverting(100 * np.exp(path), np.full(BARS, 100.0)).passed for path in paths)
    seen[name] = (level, steps, passed)
    print(f"pairscan-rmr {version('pairscan-rmr')}, {name}: exponent {level:.2f} ({steps:.2f} of the steps), {passed} of {PAIRS} pairs pass")
assert seen["random walk"][0] > 0.9 and 0.45 < seen["random walk"][1] < 0.65
assert seen["half-life of 14 bars"][0] > 0.9 and seen["half-life of 3 bars"][0] > 0.75 and seen["no memory"][0] > 0.5
assert sum(passed for _, _, passed in list(seen.values())[:3]) == 0
PY
