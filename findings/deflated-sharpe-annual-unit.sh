#!/usr/bin/env bash
# deflated-sharpe 0.1.0: deflated_sharpe_ratio, whose documentation asks for the annualised Sharpe ratio.
# Expected: the best of 200 strategies without any edge is not significant once the 200 trials are told.
# Seen: p 0.000000, since the formula behind it (Bailey and Lopez de Prado 2014) is of Sharpe ratios per observation, and
# neither the error nor the expected best is annualised: of 100 such searches every one passes at 5 %.
# With the ratio per observation, against the documentation, none passes. min_backtest_length asks for the same unit: it says
# that 2 a year, the best of 200, is shown by 9 days, where 1657 are needed.
# What to do: hand over mean / deviation of the observations themselves.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check deflated-sharpe==0.1.0 numpy==2.4.6 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

import numpy as np
from deflated_sharpe import deflated_sharpe_ratio, min_backtest_length

TRIALS, DAYS, passed = 200, 365, {"annual": 0, "daily": 0}
for seed in range(100):
    returns = np.random.default_rng(seed).normal(0.0, 0.01, (TRIALS, DAYS))
    best = (returns.mean(axis=1) / returns.std(axis=1, ddof=1)).max()
    annual = deflated_sharpe_ratio(best * DAYS**0.5, num_trials=TRIALS, num_obs=DAYS)
    daily = deflated_sharpe_ratio(best, num_trials=TRIALS, num_obs=DAYS)
    passed["annual"] += annual[1] < 0.05
    passed["daily"] += daily[1] < 0.05
    if seed == 0:
        print(f"deflated-sharpe {version('deflated-sharpe')}, best of {TRIALS} without an edge, {best * DAYS**0.5:.2f} a year:", end=" ")
        print(f"p {annual[1]:.6f} as documented, {daily[1]:.2f} per observation")
print(f"of 100 such searches {passed['annual']} are significant as documented, {passed['daily']} per observation")
print(f"days needed to show 2 a year, best of {TRIALS}: {min_backtest_length(2.0, TRIALS)} as documented, {min_backtest_length(2.0 / DAYS**0.5, TRIALS)} per observation")
assert passed["annual"] == 100 and passed["daily"] <= 10 and min_backtest_length(2.0, TRIALS) < 20
PY
