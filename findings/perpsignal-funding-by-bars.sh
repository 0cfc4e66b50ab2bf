#!/usr/bin/env bash
# perpsignal 0.1.1: perpsignal.backtest.run, whose funding_rate column holds the rate in force on each bar (its own build_dataset
# carries each settlement's rate forward to the next).
# Expected: the same month costs or earns the same funding on bars of any length; here 90 settlements of 0.01 % are 0.90 %.
# Seen: an eighth of the rate is booked on every bar, whatever its length, which is right for bars of one hour and settlements
# of eight only: on the default bars of 4 hours a carry trade earns a quarter of its funding, on days a 24th, on 15 minutes
# four times it.
# What to do: multiply the column by the bar's hours, times eight over the contract's interval, before the run.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check perpsignal==0.1.1 pandas==2.3.3 numpy==2.2.6 2>/dev/null
export PERPSIGNAL_DATA_DIR="$folder/data"
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

import pandas as pd
from perpsignal.backtest import run
from perpsignal.config import BacktestConfig, RiskConfig

RATE, DAYS, seen = 0.0001, 30, {}
for interval, step in {"15m": "15min", "1h": "1h", "4h": "4h", "1d": "1D"}.items():
    bars = int(pd.Timedelta(days=DAYS) / pd.Timedelta(step))
    index = pd.date_range("2026-01-01", periods=bars, freq=step, tz="UTC")
    frame = pd.DataFrame({"close": 100.0, "high": 100.0, "low": 100.0, "funding_rate": RATE}, index=index)
    short = pd.Series(-1, index=index)
    result = run(frame, short, BacktestConfig(interval=interval), RiskConfig(leverage=1.0), bars_per_year=bars * 365 // DAYS)
    seen[interval] = -result.df["funding_cost"].sum() / (RATE * 3 * DAYS)
    print(f"perpsignal {version('perpsignal')}, a month short on bars of {interval}: {seen[interval] * 0.9:.2f} % of funding, {seen[interval]:.2f} of the true")
assert {interval: round(part, 1) for interval, part in seen.items()} == {"15m": 4.0, "1h": 1.0, "4h": 0.2, "1d": 0.0}
PY
