#!/usr/bin/env bash
# alphavec 0.4.0: "Annual turnover" of simulate, "one-sided", of a perpetual that is bought with everything on one day and sold on the next,
# for a year: 182 round trips at a fee of 0.1 %.
# Expected: 182 a year, half of all that was bought and sold over the equity, or the smaller of the two sums over the year.
# Seen: 0, beside 364 orders and a third of the money gone in fees. The smaller of purchases and sales is taken within each bar, and a bar has
# only one of them unless a second coin is traded the other way: two coins held in turn have 364. Whoever ranks or limits
# strategies by turnover finds the one that pays most the cheapest.
# What to do: Total order count times Average order notional, halved, over the equity.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check alphavec==0.4.0 pandas==2.3.3 numpy==2.2.6 2>/dev/null
MPLBACKEND=Agg "$folder/venv/bin/python" -W ignore - <<'PY'
from importlib.metadata import version

import pandas as pd
from alphavec import MarketData, SimConfig, simulate

days = pd.date_range("2026-01-01", periods=365, freq="1D")
one = pd.DataFrame({"coin": ([0.0, 1.0] * 183)[:365]}, index=days)
two = one.assign(other=1.0 - one["coin"])
seen = {}
for name, weights in {"one coin, in and out": one, "two coins in turn": two}.items():
    prices = pd.DataFrame(100.0, index=days, columns=weights.columns)
    seen[name] = simulate(weights=weights, market=MarketData(close_prices=prices), config=SimConfig(fee_rate=0.001)).metrics["Value"]
    print(f"alphavec {version('alphavec')}, {name}: turnover {seen[name]['Annual turnover']:.0f} a year, {seen[name]['Total order count']} orders, "
          f"{seen[name]['Total return %']:.0f} %")
alone = seen["one coin, in and out"]
assert alone["Annual turnover"] == 0 and alone["Total order count"] == 364 and alone["Total return %"] < -30
assert round(seen["two coins in turn"]["Annual turnover"]) == 364
PY
