#!/usr/bin/env bash
# ccxt 4.5.90, bitfinex: a perpetual position of 0.5 BTC at 90,000, worth 45,000, at a leverage of 5, with a collateral of 9,000 of which
# 450 (1 %) must stay: once long, once short.
# Expected: notional 45,000 for both; a margin of 20 % of it, 9,000; 0.01 for the maintenance margin's share.
# Seen: notional 0.5 and -0.5: the amount in coins, with its sign. ccxt derives the rest from it: an initial margin of 0.1 USDT and a
# maintenance margin of 90,000 % for the long, none at all for the short. An exposure summed over venues leaves the position out, and
# a limit on the margin's share always trips for a long and never for a short.
# What to do: info[2] is the amount and info[3] its price: multiply; take the collateral from info[17].
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

OPENED, price, size, collateral, least, leverage = 1761955200000, 90_000, 0.5, 9_000, 450, 5
bitfinex = ccxt.bitfinex()
bitfinex.set_markets([{
    "id": "tBTCF0:USTF0", "symbol": "BTC/USDT:USDT", "base": "BTC", "quote": "USDT", "settle": "USDT", "type": "swap", "spot": False, "swap": True,
    "future": False, "option": False, "contract": True, "linear": True, "inverse": False, "contractSize": 1.0, "active": True,
    "precision": {}, "limits": {}, "info": {},
}])
room = (collateral - least) / size  # what the price may move against the position
seen = {}
for side, sign in (("long", 1), ("short", -1)):
    bitfinex.privatePostAuthRPositions = lambda request: [[
        "tBTCF0:USTF0", "ACTIVE", sign * size, price, 0, 0, 0, 0, price - sign * room, leverage, None, 1, OPENED, OPENED, None, 1, None,
        collateral, least, {"reason": "TRADE", "order_id": 1, "liq_stage": None, "trade_price": str(price), "trade_amount": str(sign * size)},
    ]]
    (seen[side],) = bitfinex.fetch_positions()
print(f"ccxt {ccxt.__version__}: {size} BTC at {price}, worth {size * price:g}, collateral {collateral}, maintenance {least}")
for side, found in seen.items():
    words = ", ".join(f"{name} {found[name]}" for name in ("side", "notional", "initialMargin", "maintenanceMarginPercentage"))
    print(f"  {words}")
assert all(found["side"] == side and found["collateral"] == collateral for side, found in seen.items())
assert [seen[side]["notional"] for side in ("long", "short")] == [size, -size]
assert (seen["long"]["initialMargin"], seen["long"]["maintenanceMarginPercentage"]) == (0.1, 900)
assert seen["short"]["initialMargin"] is seen["short"]["maintenanceMarginPercentage"] is None
PY
