#!/usr/bin/env bash
# arbitragelab 1.0.0: EngleGrangerPortfolio.fit, the two-step test for cointegration.
# Expected: unrelated random walks pass at 95 % in 5 of 100 cases.
# Seen: with a constant some 16 of 100 pairs do, and half of all baskets of four (a third without the constant): the residuals
# are held against the critical values of the plain Dickey-Fuller test, though they are of a regression that was fitted to look
# stationary. Its MinimumProfit and CointegrationSpreadSelector choose by the same values.
# What to do: statsmodels.tsa.stattools.coint, which has MacKinnon's values for residuals by the number of series.
# (Only the module in question is loaded, with what it imports: the whole package wants libraries of 2024.)
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check statsmodels==0.14.6 scikit-learn==1.5.2 pandas==2.3.3 numpy==1.26.4 2>/dev/null
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps arbitragelab==1.0.0 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import sys
import types
import warnings
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.tsa.stattools import coint

warnings.simplefilter("ignore")
root = Path(find_spec("arbitragelab").origin).parent
for name in ("arbitragelab", "arbitragelab.cointegration_approach"):
    package = types.ModuleType(name)
    package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
    sys.modules[name] = package
from arbitragelab.cointegration_approach.engle_granger import EngleGrangerPortfolio

CASES, found = 100, {}
for legs in (2, 4):
    passed = {"with a constant": 0, "without": 0, "statsmodels coint": 0}
    for seed in range(CASES):
        walks = 100 + np.cumsum(np.random.default_rng(seed).normal(size=(300, legs)), axis=0)
        prices = pd.DataFrame(walks, columns=[f"coin{k}" for k in range(legs)])
        for name, constant in {"with a constant": True, "without": False}.items():
            test = EngleGrangerPortfolio()
            test.fit(prices, add_constant=constant)
            passed[name] += test.adf_statistics.loc["statistic_value", 0] < test.adf_statistics.loc["95%", 0]
        passed["statsmodels coint"] += coint(walks[:, 0], walks[:, 1:])[1] < 0.05
    found[legs] = passed
    print(f"arbitragelab {version('arbitragelab')}, {CASES} sets of {legs} unrelated walks, cointegrated at 95 %: {passed}")
assert found[2]["with a constant"] >= 12 and found[4]["with a constant"] >= 40 and found[4]["without"] >= 25
assert found[2]["statsmodels coint"] <= 10 and found[4]["statsmodels coint"] <= 10
PY
