#!/usr/bin/env bash
# ccxt 4.5.90, deribit: a position in a linear perpetual, settled in USDC: a short of 0.5 BTC at 90,000, worth 45,000 USDC, with an
# initial margin of 900 USDC (2 %) and a maintenance margin of 450 (1 %).
# Expected: notional 45,000 in the currency of settlement, as everywhere else; 2 % and 1 %.
# Seen: notional 0.5: the coins stand where the money belongs, and the margin in USDC divided by those coins gives 180,000 % and
# 90,000 %. An exposure summed over venues leaves the position out, and a limit on the margin rate always trips.
# What to do: take size_currency and mark_price from `info` and multiply.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

deribit = ccxt.deribit()
market = {
    "id": "BTC_USDC-PERPETUAL", "symbol": "BTC/USDC:USDC", "base": "BTC", "quote": "USDC", "settle": "USDC", "type": "swap", "spot": False,
    "swap": True, "future": False, "option": False, "contract": True, "linear": True, "inverse": False, "contractSize": 0.0001,
    "active": True, "precision": {}, "limits": {}, "info": {},
}
deribit.set_markets([market])
coins, mark = 0.5, 90_000
position = deribit.parse_position({
    "instrument_name": "BTC_USDC-PERPETUAL", "kind": "future", "direction": "sell", "size": -coins, "size_currency": -coins, "average_price": mark,
    "mark_price": mark, "index_price": mark, "settlement_price": mark, "delta": -coins, "floating_profit_loss": 0.0, "leverage": 50,
    "initial_margin": 0.02 * coins * mark, "maintenance_margin": 0.01 * coins * mark, "open_orders_margin": 0.0,
    "realized_profit_loss": 0.0, "total_profit_loss": 0.0, "estimated_liquidation_price": 100_000,
})
seen = {name: position[name] for name in ("notional", "initialMargin", "initialMarginPercentage", "maintenanceMarginPercentage")}
print(f"ccxt {ccxt.__version__}, a short of {coins} BTC at {mark}, worth {coins * mark:g} {market['settle']}:")
print(*(f"  {name} {value}" for name, value in seen.items()), sep="\n")
assert seen == {"notional": 0.5, "initialMargin": 900, "initialMarginPercentage": 180_000, "maintenanceMarginPercentage": 90_000}, seen
PY
