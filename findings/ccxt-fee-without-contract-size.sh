#!/usr/bin/env bash
# ccxt 4.5.90: calculate_fee, whose documentation takes the amount "in units of the base currency on most exchanges, or number
# of contracts". Here Gate's and MEXC's BTC perpetual, of 0.0001 BTC a contract, and an inverse contract of 1 USD.
# Expected: 100 contracts at 90,000 are 900 USDT (linear) or 100 USD (inverse), times the rate, whichever the side.
# Seen: the size of a contract is not looked at: the fee of a linear order is 10,000 times too large, of an inverse one by the
# square of the price (4500 BTC for an order of 100 USD); and on Gate, whose spot fee is in what one gets, a buy of contracts
# costs another fee than a sell, here a ninth of the true one. A net edge computed with it rejects or passes everything.
# What to do: rate times amount times contractSize times price oneself (over price instead, for inverse).
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

plain = {
    "base": "BTC", "type": "swap", "spot": False, "swap": True, "future": False, "option": False, "contract": True, "taker": 0.0005,
    "maker": 0.0002, "active": True, "precision": {}, "limits": {}, "info": {},
}
linear = plain | {
    "id": "BTC_USDT", "symbol": "BTC/USDT:USDT", "quote": "USDT", "settle": "USDT", "settleId": "usdt", "linear": True, "inverse": False,
    "contractSize": 0.0001,
}
inverse = plain | {
    "id": "BTC_USD", "symbol": "BTC/USD:BTC", "quote": "USD", "settle": "BTC", "settleId": "btc", "linear": False, "inverse": True,
    "contractSize": 1.0,
}
CONTRACTS, PRICE, RATE = 100, 90_000.0, 0.0005
right = {"BTC/USDT:USDT": CONTRACTS * 0.0001 * PRICE * RATE, "BTC/USD:BTC": CONTRACTS / PRICE * RATE}
seen = {}
for name in ("gate", "mexc"):
    client = getattr(ccxt, name)()
    client.set_markets([linear, inverse])
    for symbol, fee in right.items():
        for side in ("buy", "sell"):
            found = client.calculate_fee(symbol, "limit", side, CONTRACTS, PRICE, "taker")
            seen[name, symbol, side] = found["cost"] / fee
            print(f"ccxt {ccxt.__version__} {name}, {side} {CONTRACTS} contracts of {symbol}: {found['cost']:g} {found['currency']}, should be {fee:.4g}")
print({key: f"{ratio:.3g}" for key, ratio in seen.items()})
assert abs(seen["gate", "BTC/USDT:USDT", "sell"] - 10_000) < 1e-6 and seen["gate", "BTC/USD:BTC", "sell"] > 1e9
assert seen["gate", "BTC/USDT:USDT", "buy"] < 0.2 and all(abs(ratio - 1) > 0.5 for ratio in seen.values())
PY
