#!/usr/bin/env bash
# alphavec 0.4.0: simulate of a perpetual at 100 that stands still, held for one day out of 200 (weight 1, then 0), with a slippage of
# 0.1 %.
# Expected: two orders of 1000, a holding period of one day, and then no position, as without slippage.
# Seen: 110 orders. To close, the value held is divided by the price less slippage, so that 0.1 % more coins are sold than there are;
# the rest is a short, bought back the next day by 0.1 % too much, and so on until the number is below what a float can hold.
# Two orders read as 110 of 18 each, the holding period of a day as 54, and with 1 % slippage the account is short 1 % after
# each exit, through whatever the price does next. (The cost of 0.2 % is right as long as the price stands still.)
# What to do: no slippage_rate, and the slippage added to fee_rate.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check alphavec==0.4.0 pandas==2.3.3 numpy==2.2.6 2>/dev/null
MPLBACKEND=Agg "$folder/venv/bin/python" -W ignore - <<'PY'
from importlib.metadata import version

import pandas as pd
from alphavec import MarketData, SimConfig, simulate

days = pd.date_range("2026-01-01", periods=200, freq="1D")
weights = pd.DataFrame({"coin": 0.0}, index=days)
weights.iloc[10] = 1.0
still = pd.DataFrame({"coin": 100.0}, index=days)
doubled = still.copy()
doubled.iloc[12:] = 200.0  # the day after the exit


def run(prices, **costs):
    return simulate(weights=weights, market=MarketData(close_prices=prices), config=SimConfig(init_cash=1000.0, **costs)).metrics["Value"]


seen = {}
for costs in ({}, {"fee_rate": 0.001}, {"slippage_rate": 0.001}):
    values = run(still, **costs)
    seen[str(costs)] = values["Total order count"], values["Average holding period"]
    print(f"alphavec {version('alphavec')}, {costs or 'no costs'}: {values['Total order count']} orders of {values['Average order notional']:.0f}, "
          f"held for {values['Average holding period']} days, {values['Total return %']:.2f} %")
lost = run(still, slippage_rate=0.01)["Total return %"] - run(doubled, slippage_rate=0.01)["Total return %"]
print(f"slippage of 1 %, the price doubles the day after the exit: {lost:.2f} % more is lost")
assert list(seen.values()) == [(2, 1.0), (2, 1.0), (110, 54.5)] and 0.9 < lost < 1.1
PY
