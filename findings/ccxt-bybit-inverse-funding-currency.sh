#!/usr/bin/env bash
# ccxt 4.5.90, bybit: one's own funding payments on an inverse perpetual (BTCUSD), which are made in the coin.
# Expected: the amount with the currency it is in, BTC.
# Seen: the amount in BTC with the code "USD", so that a ledger that adds up by currency books 0.0005 BTC, some 50 dollars at
# 100,000, as a twentieth of a cent. A USDC contract's payments carry "USDT".
# What to do: take the currency from the market's `settle`, not from the row.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

bybit = ccxt.bybit()
plain = {
    "base": "BTC", "type": "swap", "spot": False, "swap": True, "future": False, "option": False, "contract": True,
    "contractSize": 1.0, "active": True, "precision": {}, "limits": {}, "info": {},
}
markets = [
    plain | {"id": "BTCUSD", "symbol": "BTC/USD:BTC", "quote": "USD", "settle": "BTC", "linear": False, "inverse": True},
    plain | {"id": "BTCPERP", "symbol": "BTC/USDC:USDC", "quote": "USDC", "settle": "USDC", "linear": True, "inverse": False},
    plain | {"id": "BTCUSDT", "symbol": "BTC/USDT:USDT", "quote": "USDT", "settle": "USDT", "linear": True, "inverse": False},
]
bybit.set_markets(markets)
seen = {}
for market in markets:
    value = "5" if market["inverse"] else "500000"  # of a position of 500,000 USD at 100,000, in the currency of settlement
    fee = "0.0005" if market["inverse"] else "50"
    row = bybit.parse_income({
        "symbol": market["id"], "execType": "Funding", "execFee": fee, "feeRate": "0.0001", "execValue": value, "side": "Sell",
        "execTime": "1761955200000", "execId": "8d1ef156-0000-0000-0000-000000000000", "execPrice": "100000", "execQty": "0",
    }, market)
    seen[market["settle"]] = row["code"]
    print(f"ccxt {ccxt.__version__}, {market['symbol']}, settled in {market['settle']}: {row['amount']} {row['code']}")
assert seen == {"BTC": "USD", "USDC": "USDT", "USDT": "USDT"}
PY
