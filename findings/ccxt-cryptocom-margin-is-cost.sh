#!/usr/bin/env bash
# ccxt 4.5.90, cryptocom: the margin of a perpetual position: 0.5 BTC bought at 90,000, of which Crypto.com says cost 45000 (quantity
# times price) and no margin at all.
# Expected: initialMargin and collateral unknown, the value in `notional`.
# Seen: both are 45000, the whole value, and notional is None. At a leverage of 20 the margin is 2250: twenty times less. The
# "percentage" of a loss of 900, which ccxt takes from that margin, is -2 % instead of -40 %, so that a stop on it comes too late.
# What to do: take `cost` for the value, and the margin from the account's balance.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

cryptocom = ccxt.cryptocom()
market = {
    "id": "BTCUSD-PERP", "symbol": "BTC/USD:USD", "base": "BTC", "quote": "USD", "settle": "USD", "type": "swap", "spot": False, "swap": True,
    "future": False, "option": False, "contract": True, "linear": True, "inverse": False, "contractSize": 1.0, "active": True,
    "precision": {}, "limits": {}, "info": {},
}
cryptocom.set_markets([market])
coins, price, loss, leverage = 0.5, 90_000, -900, 20
position = cryptocom.parse_position({
    "account_id": "00000000-0000-0000-0000-000000000000", "quantity": str(coins), "cost": str(coins * price), "open_pos_cost": str(coins * price),
    "open_position_pnl": str(loss), "session_pnl": str(loss), "update_timestamp_ms": 1761955200000, "instrument_name": "BTCUSD-PERP",
    "type": "PERPETUAL_SWAP",
})
margin = coins * price / leverage
seen = {name: position[name] for name in ("initialMargin", "collateral", "notional", "percentage")}
print(f"ccxt {ccxt.__version__}: {coins} BTC at {price}: {seen}; at a leverage of {leverage} the margin is {margin:g}, the loss {100 * loss / margin:g} % of it")
assert (margin, 100 * loss / margin) == (2250, -40)
assert seen == {"initialMargin": 45_000, "collateral": 45_000, "notional": None, "percentage": -2}, seen
PY
