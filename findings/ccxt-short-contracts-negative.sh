#!/usr/bin/env bash
# ccxt 4.5.90: `contracts` of a short position, beside a `side` that says "short", on Gate, OKX, Delta and Deribit (inverse).
# Expected: a count of contracts without a sign, so that side, contracts and contractSize give the position.
# Seen: 200 on Gate and OKX; -200 on Delta, -1000 on Deribit. Whoever turns the sign by the side has a long of the same size there,
# and sells once more instead of buying back. Deribit's number is besides of dollars, not of the 100 contracts of 10 dollars that
# ccxt's own market states: 10,000 dollars instead of 1,000.
# What to do: take the absolute value, and on Deribit divide by the size of a contract.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

plain = {
    "base": "BTC", "type": "swap", "spot": False, "margin": False, "swap": True, "future": False, "option": False, "contract": True, "active": True,
    "precision": {}, "limits": {}, "info": {},
}
usdt = plain | {"quote": "USDT", "settle": "USDT", "symbol": "BTC/USDT:USDT", "linear": True, "inverse": False}
usd = plain | {"quote": "USD", "settle": "BTC", "symbol": "BTC/USD:BTC", "linear": False, "inverse": True}
cases = {  # the venue's own row of a short
    "gate": (usdt | {"id": "BTC_USDT", "contractSize": 0.0001}, {"contract": "BTC_USDT", "size": -200, "entry_price": "90000", "value": "1800", "leverage": "10"}),
    "okx": (usdt | {"id": "BTC-USDT-SWAP", "contractSize": 0.01}, {"instId": "BTC-USDT-SWAP", "pos": "-200", "posSide": "net", "avgPx": "90000", "mgnMode": "cross"}),
    "delta": (usdt | {"id": "BTCUSDT", "contractSize": 0.001}, {"product_symbol": "BTCUSDT", "size": -200, "entry_price": "90000", "margin": "180"}),
    "deribit": (usd | {"id": "BTC-PERPETUAL", "contractSize": 10.0}, {
        "instrument_name": "BTC-PERPETUAL", "direction": "sell", "size": -1000, "size_currency": -1000 / 90000, "average_price": 90000,
        "mark_price": 90000, "initial_margin": 0.0002, "maintenance_margin": 0.0001, "floating_profit_loss": 0, "leverage": 50}),
}
seen = {}
for venue, (market, row) in cases.items():
    client = getattr(ccxt, venue)()
    client.set_markets([market])
    position = client.parse_position(row, market)
    sign = {"long": 1, "short": -1}[position["side"]]
    held = sign * position["contracts"] * market["contractSize"]
    seen[venue] = (position["side"], position["contracts"], round(held, 9))
    print(f"ccxt {ccxt.__version__}, {venue}: side {position['side']}, contracts {position['contracts']:g}, so that one holds {held:+g} {'USD' if market['inverse'] else 'BTC'}")
assert seen == {"gate": ("short", 200, -0.02), "okx": ("short", 200, -2), "delta": ("short", -200, 0.2), "deribit": ("short", -1000, 10_000)}, seen
PY
