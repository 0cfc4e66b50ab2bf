#!/usr/bin/env bash
# ccxt 4.5.90, deribit: fetch_funding_rate_history of a perpetual. Deribit gives a row for every hour, with the rate of that hour
# (interest_1h) and that of the last eight (interest_8h). Here a constant 0.001 % an hour for a day.
# Expected: 24 rows that add up to what a day cost, 0.024 %, as the same rate does on Hyperliquid, which settles hourly too.
# Seen: 24 rows that hold the rate of eight hours each and add up to 0.192 %: every hour counts eight times. A carry of 8.8 % a year
# reads as 70 %, and a backtest of spot against perpetual earns it.
# What to do: take interest_1h from `info`, or every eighth row.
# (Deribit and Hyperliquid are stood for by their answers, as their documentation shows them.)
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

HOUR, FIRST, RATE = 3_600_000, 1_761_955_200_000, 0.00001
stamps = [FIRST + k * HOUR for k in range(24)]
plain = {
    "base": "BTC", "type": "swap", "spot": False, "swap": True, "future": False, "option": False, "contract": True, "active": True,
    "precision": {}, "limits": {}, "info": {},
}
deribit, hyperliquid = ccxt.deribit(), ccxt.hyperliquid()
deribit.set_markets([plain | {
    "id": "BTC-PERPETUAL", "symbol": "BTC/USD:BTC", "quote": "USD", "settle": "BTC", "linear": False, "inverse": True, "contractSize": 10.0}])
hyperliquid.set_markets([plain | {
    "id": "0", "baseId": "0", "baseName": "BTC", "symbol": "BTC/USDC:USDC", "quote": "USDC", "settle": "USDC", "linear": True, "inverse": False,
    "contractSize": 1.0, "info": {"name": "BTC"}}])
deribit.publicGetGetFundingRateHistory = lambda request: {"result": [
    {"timestamp": t, "index_price": 90000.0, "prev_index_price": 90000.0, "interest_1h": RATE, "interest_8h": 8 * RATE} for t in stamps]}
hyperliquid.publicPostInfo = lambda request: [{"coin": "BTC", "fundingRate": str(RATE), "premium": "0", "time": t} for t in stamps]
day = {}
for client, symbol in ((hyperliquid, "BTC/USDC:USDC"), (deribit, "BTC/USD:BTC")):
    rows = client.fetch_funding_rate_history(symbol, FIRST, 100, {"until": stamps[-1]})
    gaps = {(b["timestamp"] - a["timestamp"]) // HOUR for a, b in zip(rows, rows[1:])}
    day[client.id] = (len(rows), gaps, round(sum(row["fundingRate"] for row in rows), 9))
    print(f"ccxt {ccxt.__version__}, {client.id}: {len(rows)} rows, an hour apart, {day[client.id][2]:.3%} a day, {365 * day[client.id][2]:.1%} a year")
assert day["hyperliquid"] == (24, {1}, round(24 * RATE, 9))
assert day["deribit"] == (24, {1}, round(8 * 24 * RATE, 9)), "the rows no longer hold eight hours: out of date"
PY
