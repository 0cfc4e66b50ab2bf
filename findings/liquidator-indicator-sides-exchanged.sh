#!/usr/bin/env bash
# liquidator-indicator 0.1.2: Liquidator.from_exchange, which infers liquidations from large public trades and says which side was
# liquidated; here 30 market sales of 3 BTC, one a second, while the price falls: longs that are sold out.
# Expected: "long" for each venue. Seen: "long" for Hyperliquid only, "short" for Binance, Bybit, OKX, Bitget and Kraken. Their
# readers write A for a buyer and B for a seller, the indicator reads A as the ask, which is sold, as Hyperliquid means it. A cascade
# of longs is drawn as one of shorts, and zones of several venues cancel each other out.
# What to do: exchange A and B before ingest_trades on every venue but Hyperliquid.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check liquidator-indicator==0.1.2 pandas==2.3.3 numpy==2.2.6 2>/dev/null
"$folder/venv/bin/python" -W ignore - <<'PY'
import time
from importlib.metadata import version

from liquidator_indicator import Liquidator

first = int(time.time() * 1000) - 60_000
sales = [(first + 1000 * i, str(90_000 - 100 * i)) for i in range(30)]
rows = {
    "hyperliquid": [{"coin": "BTC", "side": "A", "px": p, "sz": "3", "time": t} for t, p in sales],
    "binance": [{"a": t, "p": p, "q": "3", "f": t, "l": t, "T": t, "m": True, "M": True} for t, p in sales],
    "bybit": {"result": {"list": [{"execId": str(t), "symbol": "BTCUSDT", "price": p, "size": "3", "side": "Sell", "time": str(t)} for t, p in sales]}},
    "okx": {"data": [{"instId": "BTC-USDT", "tradeId": str(t), "px": p, "sz": "3", "side": "sell", "ts": str(t)} for t, p in sales]},
    "bitget": {"data": [{"symbol": "BTCUSDT", "tradeId": str(t), "side": "sell", "size": "3", "price": p, "ts": str(t)} for t, p in sales]},
    "kraken": {"result": {"XXBTZUSD": [[p, "3", t / 1000, "s", "m", "", t] for t, p in sales]}},
}
seen = {}
for venue, raw in rows.items():
    indicator = Liquidator.from_exchange("BTC", venue, raw_data=raw)
    seen[venue] = set(indicator._inferred_liqs["side"])
    print(f"liquidator-indicator {version('liquidator-indicator')}, {venue}: market sales in a falling market are liquidations of {seen[venue]}")
assert seen.pop("hyperliquid") == {"long"} and len(seen) == 5 and all(sides == {"short"} for sides in seen.values())
PY
