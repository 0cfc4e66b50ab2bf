#!/usr/bin/env bash
# ccxt 4.5.90, hyperliquid: `percentage` of a position, the unrealized profit over its margin. Here a long of 10 ETH bought at 4000,
# margin 2000, at a price of 3900 and of 4100.
# Expected: -50 and +50 %, as unrealizedPnl says -1000 and +1000, and as the same loss reads on Bitget.
# Seen: 50 both times: the sign of the profit is dropped before the division. A stop "close below -30 %" never fires, and one that
# takes profit at 30 % closes the losing trade.
# What to do: divide unrealizedPnl by the margin oneself.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

plain = {
    "base": "ETH", "type": "swap", "spot": False, "swap": True, "future": False, "option": False, "contract": True, "linear": True,
    "inverse": False, "contractSize": 1.0, "active": True, "precision": {}, "limits": {}, "info": {},
}
hyperliquid, bitget = ccxt.hyperliquid(), ccxt.bitget()
hyperliquid.set_markets([plain | {"id": "1", "baseId": "1", "baseName": "ETH", "symbol": "ETH/USDC:USDC", "quote": "USDC", "settle": "USDC"}])
bitget.set_markets([plain | {"id": "ETHUSDT", "symbol": "ETH/USDT:USDT", "quote": "USDT", "settle": "USDT"}])
size, entry, margin = 10, 4000, 2000
seen = {}
for price in (3900, 4100):
    profit = size * (price - entry)
    here = hyperliquid.parse_position({"type": "oneWay", "position": {
        "coin": "ETH", "entryPx": str(entry), "leverage": {"type": "cross", "value": 20}, "liquidationPx": "3700", "marginUsed": str(margin),
        "maxLeverage": 50, "positionValue": str(size * price), "returnOnEquity": str(profit / margin), "szi": str(size),
        "unrealizedPnl": str(profit), "cumFunding": {"allTime": "0", "sinceChange": "0", "sinceOpen": "0"},
    }})
    there = bitget.parse_position({
        "symbol": "ETHUSDT", "marginCoin": "USDT", "holdSide": "long", "marginSize": str(margin), "total": str(size), "leverage": "20",
        "openPriceAvg": str(entry), "marginMode": "crossed", "posMode": "one_way_mode", "unrealizedPL": str(profit),
        "markPrice": str(price), "keepMarginRate": "0.004", "cTime": "1761955200000",
    })
    seen[price] = (here["unrealizedPnl"], here["percentage"], there["percentage"])
    print(f"ccxt {ccxt.__version__}, price {price}: profit {here['unrealizedPnl']:+g} of a margin of {margin}, percentage {here['percentage']:+g}; on Bitget {there['percentage']:+g}")
assert seen == {3900: (-1000, 50, -50), 4100: (1000, 50, 50)}, seen
PY
