#!/usr/bin/env bash
# whittlehurst 1.4: variogram(path, p=2), the classical variogram's estimate of the Hurst exponent, from steps of one and of two.
# Expected: 0.8 for fractional Brownian motion of 0.8, 1 for a straight line.
# Seen: 0.56 and 0.50. The sums run over one index too many, so that the "step" from the last value back to the first is counted
# too, squared. A path that has gone anywhere is ruled by that one jump: persistent ones read as random walks. (With p = 1, the
# default, it is one step among thousands.)
# What to do: p=1, or the two means of squared increments oneself: two lines.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check whittlehurst==1.4 'setuptools<81' 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

import numpy as np
from whittlehurst import variogram

STEPS, H = 2000, 0.8
lag = np.arange(STEPS)
covariance = 0.5 * (np.abs(lag - 1.0) ** (2 * H) - 2.0 * lag ** (2 * H) + (lag + 1.0) ** (2 * H))
root = np.linalg.cholesky(covariance[np.abs(lag[:, None] - lag[None, :])])


def plain(path):
    one, two = (np.mean((path[k:] - path[:-k]) ** 2) for k in (1, 2))
    return 0.5 * np.log2(two / one)


rng = np.random.default_rng(1)
paths = [np.cumsum(root @ rng.normal(size=STEPS)) for _ in range(20)]
found, right = np.mean([variogram(path, p=2) for path in paths]), np.mean([plain(path) for path in paths])
line = variogram(np.arange(2000.0), p=2), plain(np.arange(2000.0))
print(f"whittlehurst {version('whittlehurst')}, 20 paths of exponent {H}: {found:.2f}; without the step from end to start {right:.2f}")
print(f"a straight line: {line[0]:.2f}; without that step {line[1]:.2f}")
assert found < 0.56 and abs(right - H) < 0.03 and line[0] < 0.51 and abs(line[1] - 1) < 1e-9
PY
