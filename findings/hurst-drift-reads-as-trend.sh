#!/usr/bin/env bash
# hurst 0.0.5: compute_Hc with simplified=True, its default, on a random walk with a drift (a price, an equity curve).
# Expected: independent steps have an exponent of 0.5, whatever their mean.
# Seen: the range is taken without the drift removed, so that it grows with time itself: 0.69 for a drift of a twentieth of a
# step's deviation, and 1.17, which no exponent can be, for a price of 0.05 % a step. A filter "trades only below 0.5" drops
# pairs for their carry alone, and a trend is seen where there is none. With simplified=False it is 0.52 in every row.
# What to do: simplified=False, or take the mean step out first.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check hurst==0.0.5 numpy==2.4.6 pandas==3.0.3 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

import numpy as np
from hurst import compute_Hc

steps = np.random.default_rng(1).normal(0.0, 1.0, 20_000)
cases = {
    "no drift": (np.cumsum(steps), "random_walk"),
    "drift of 0.05 a step": (np.cumsum(steps + 0.05), "random_walk"),
    "drift of 0.2 a step": (np.cumsum(steps + 0.2), "random_walk"),
    "a price, 1 % a step, drift 0.05 %": (np.cumprod(1 + 0.0005 + 0.01 * steps), "price"),
}
seen = []
for name, (path, kind) in cases.items():
    seen.append((compute_Hc(path, kind=kind)[0], compute_Hc(path, kind=kind, simplified=False)[0]))
    print(f"hurst {version('hurst')}, independent steps, {name}: {seen[-1][0]:.2f} by default, {seen[-1][1]:.2f} with simplified=False")
assert [round(default, 1) for default, _ in seen] == [0.5, 0.7, 0.9, 1.2] and all(0.5 < other < 0.54 for _, other in seen)
PY
