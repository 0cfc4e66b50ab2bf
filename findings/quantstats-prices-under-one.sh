#!/usr/bin/env bash
# quantstats 0.0.86: statistics of a price series, which its functions take as well as returns (max_drawdown asks for prices).
# Expected: a coin that falls from 0.80 to 0.20 has a drawdown of -75 % and a negative Sharpe ratio, as the same series in cents.
# Seen: prices that never exceed 1 are taken for returns of 20 to 80 % a day, without a word: drawdown 0, Sharpe ratio 55. So it is
# for every coin below a dollar, and for an equity curve that starts at 1 and only loses.
# What to do: hand over returns only, series.pct_change().dropna().
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check quantstats==0.0.86 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import warnings
from importlib.metadata import version

warnings.simplefilter("ignore")
import numpy as np
import pandas as pd
import quantstats as qs

days = pd.date_range("2026-01-01", periods=181)
wave = 1 + 0.02 * np.sin(np.arange(181))
dollars = pd.Series(np.linspace(0.80, 0.20, 181) * wave, index=days)
seen = {}
for unit, prices in {"dollars": dollars, "cents": 100 * dollars}.items():
    seen[unit] = float(qs.stats.max_drawdown(prices)), float(qs.stats.sharpe(prices, periods=365))
    print(f"quantstats {version('quantstats')}, {prices.iloc[0]:.2f} to {prices.iloc[-1]:.2f} {unit}: drawdown {seen[unit][0]:.2%}, Sharpe ratio {seen[unit][1]:.2f}")
assert seen["dollars"][0] == 0.0 and seen["dollars"][1] > 20 and seen["cents"][0] < -0.7 and seen["cents"][1] < 0
PY
