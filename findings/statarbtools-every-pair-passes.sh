#!/usr/bin/env bash
# StatArbTools 0.0.5: find_pairs, which is to find the pairs of prices whose spread is stationary ("Rejected null hypothesis" at 1 %).
# Expected: of independent random walks about one pair in a hundred, or somewhat more, since the hedge ratio is fitted.
# Seen: all of them. The test of stationarity is made of the differences of the spread, which are noise whatever the prices do, not of
# the spread: every pair rejects, with p below 1e-20. What is called log returns is besides p[t+1] - p[t], so that the hedge ratio
# is one of dollars. A screen built on it chooses pairs at random and calls each one proven.
# What to do: coint or adfuller of statsmodels on the prices' logarithms.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check StatArbTools==0.0.5 numpy==2.4.6 scikit-learn==1.9.1 statsmodels==0.15.0 scipy==1.17.1 pandas==3.1.1 matplotlib==3.11.2 2>/dev/null
MPLBACKEND=Agg OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
from importlib.metadata import version

import numpy as np
from StatArbTools import find_pairs, gen_log_returns
from statsmodels.tsa.stattools import coint

rng = np.random.default_rng(1)
walks = {f"coin {k}": 100 * np.exp(np.cumsum(rng.normal(0, 0.01, 1000))) for k in range(8)}
found = find_pairs(walks)
rejected = [p for _, verdict, p in found if verdict == "Rejected null hypothesis"]
names = list(walks)
right = sum(coint(np.log(walks[a]), np.log(walks[b]))[1] < 0.01 for k, a in enumerate(names) for b in names[k + 1 :])
steps = gen_log_returns(np.array([100.0, 110.0, 99.0]))
print(f"StatArbTools {version('StatArbTools')}: {len(rejected)} of {len(found)} pairs of independent random walks pass, the worst p {max(rejected):.0e}")
print(f"statsmodels' coint: {right} of {len(found)}; the log returns of 100, 110, 99 read {steps}")
assert (len(rejected), len(found)) == (28, 28) and max(rejected) < 1e-20 and right <= 2 and list(steps) == [10, -11]
PY
