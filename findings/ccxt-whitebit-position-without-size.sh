#!/usr/bin/env bash
# ccxt 4.5.90, whitebit: fetch_positions of an account that is short 0.5 BTC at 90,000, which WhiteBIT reports as amount -0.5.
# Expected: side "short", contracts 0.5, as on Bitget, which reports the same short.
# Seen: neither: contracts, side and notional are None, while entry price, profit and margin are there. Code that takes None for
# nothing, as `sum(p["contracts"] or 0)` does, finds the account flat, and "close all positions" closes none; the margin is spoken for.
# What to do: float(p["info"]["amount"]), which is negative for a short.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

plain = {
    "symbol": "BTC/USDT:USDT", "base": "BTC", "quote": "USDT", "settle": "USDT", "type": "swap", "spot": False, "swap": True, "future": False,
    "option": False, "contract": True, "linear": True, "inverse": False, "contractSize": 1.0, "active": True, "precision": {}, "limits": {},
    "info": {},
}
whitebit, bitget = ccxt.whitebit(), ccxt.bitget()
whitebit.set_markets([plain | {"id": "BTC_PERP"}])
bitget.set_markets([plain | {"id": "BTCUSDT"}])
whitebit.v4PrivatePostCollateralAccountPositionsOpen = lambda request: [{
    "positionId": 1, "market": "BTC_PERP", "openDate": 1761955200.0, "modifyDate": 1761955200.0, "amount": "-0.5", "basePrice": "90000",
    "liquidationPrice": "107100", "pnl": "-450", "pnlPercent": "-1.00", "margin": "9000", "freeMargin": "1000", "funding": "0",
    "unrealizedFunding": "0", "liquidationState": None, "tpsl": None,
}]
(here,) = whitebit.fetch_positions()
there = bitget.parse_position({
    "marginCoin": "USDT", "symbol": "BTCUSDT", "holdSide": "short", "marginSize": "9000", "available": "0.5", "locked": "0", "total": "0.5",
    "leverage": "5", "achievedProfits": "0", "openPriceAvg": "90000", "marginMode": "crossed", "posMode": "one_way_mode",
    "unrealizedPL": "-450", "liquidationPrice": "107100", "keepMarginRate": "0.01", "markPrice": "90900", "cTime": "1761955200000",
}, bitget.market("BTC/USDT:USDT"))
names = ("side", "contracts", "notional", "entryPrice", "unrealizedPnl", "collateral")
print(f"ccxt {ccxt.__version__}")
for name, found in (("whitebit", here), ("bitget", there)):
    print(f"  {name}: " + ", ".join(f"{field} {found[field]}" for field in names))
assert here["side"] is here["contracts"] is here["notional"] is None
assert (here["entryPrice"], here["unrealizedPnl"], here["collateral"], here["info"]["amount"]) == (90_000, -450, 9_000, "-0.5")
assert (there["side"], there["contracts"]) == ("short", 0.5)
PY
