#!/usr/bin/env bash
# vpin-lab 0.1.0: PerformanceMetrics().calculate_from_trades of 504 short trades, each with the times of its entry and exit, that
# make 10 % in all, once within a day and once spread over two years.
# Expected: two years: 4.9 % a year, whatever the count of trades; a day: a rate per year that nobody would print, and other ratios.
# Seen: the same for both, to the last digit: 4.9 % a year, one volatility and one Sharpe ratio. Each trade counts as one of 252 trading
# days, and the times are read for the mean duration only. Two strategies, or one at two thresholds, are compared as if both traded
# once a day: the one that trades more often has the lower rate and the smoother year.
# What to do: calculate_from_equity on a daily curve of one's own with periods_per_year=365.
# (Only the modules in question are loaded.)
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps vpin-lab==0.1.0 2>/dev/null
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pandas==2.3.3 numpy==2.2.6 pydantic==2.12.4 2>/dev/null
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys
import types
from importlib.metadata import distribution, version

import pandas as pd

root = distribution("vpin-lab").locate_file("vpin_lab")
for name in ("vpin_lab", "vpin_lab.analysis", "vpin_lab.utils"):  # packages without what their __init__ imports
    package = sys.modules[name] = types.ModuleType(name)
    package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
from vpin_lab.analysis.metrics import PerformanceMetrics

seen = {}
for name, apart in {"a day": pd.Timedelta(days=1) / 504, "two years": pd.Timedelta(days=730) / 504}.items():
    trades = []
    for i in range(504):
        entry = (pd.Timestamp("2026-01-01") + i * apart).to_pydatetime()
        price = 50_120.0 if i % 2 == 0 else 49_920.0
        trades.append({"entry_time": entry, "exit_time": (entry + apart / 2), "symbol": "BTCUSDT", "side": "long", "entry_price": 50_000.0,
                       "exit_price": price, "quantity": 1.0, "pnl": price - 50_000, "pnl_percent": (price - 50_000) / 500})
    figures = PerformanceMetrics().calculate_from_trades(trades, initial_capital=100_000.0)
    seen[name] = [round(figures[key], 6) for key in ("total_return", "annualized_return", "volatility", "sharpe_ratio")]
    print(f"vpin-lab {version('vpin-lab')}, 504 trades in {name}: return {seen[name][0]:.1%}, a year {seen[name][1]:.1%}, volatility {seen[name][2]:.2%}, "
          f"Sharpe {seen[name][3]:.2f}, mean duration {figures['avg_trade_duration_seconds']:.0f} s")
assert seen["a day"] == seen["two years"] and 0.048 < seen["a day"][1] < 0.05 and abs(seen["a day"][0] - 0.1008) < 1e-4
PY
