#!/usr/bin/env bash
# ccxt 4.5.90, okx: the volume of a day of a perpetual whose contract is 0.01 BTC, 1,000 BTC in all: in the ticker and in a day's candle.
# Expected: baseVolume 1,000 in both; it is "the volume of base currency traded", and so it is for Gate's ticker.
# Seen: 100,000 in the ticker, which is contracts, 1,000 in the candle; quoteVolume is None. A coin of 10 a contract reads as a tenth
# of its volume, one of 0.01 as a hundred times it: a ranking by liquidity over OKX's own perpetuals, or over venues, and a
# limit of "1 % of the day's volume" go by the size of a contract.
# What to do: volCcy24h from `info`, which is in coins for linear contracts, or baseVolume * contractSize.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

plain = {
    "symbol": "BTC/USDT:USDT", "base": "BTC", "quote": "USDT", "settle": "USDT", "settleId": "usdt", "type": "swap", "spot": False, "margin": False,
    "swap": True, "future": False, "option": False, "contract": True, "linear": True, "inverse": False, "active": True,
    "precision": {}, "limits": {}, "info": {},
}
NOW, coins, price = 1761955200000, 1000, 90_000
okx, gate = ccxt.okx(), ccxt.gate()
okx.set_markets([plain | {"id": "BTC-USDT-SWAP", "contractSize": 0.01}])
gate.set_markets([plain | {"id": "BTC_USDT", "contractSize": 0.0001}])
contracts = str(round(coins / 0.01))
okx.publicGetMarketTicker = lambda request: {"code": "0", "data": [
    {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "last": str(price), "lastSz": "1", "askPx": str(price), "askSz": "1", "bidPx": str(price),
     "bidSz": "1", "open24h": str(price), "high24h": str(price), "low24h": str(price), "volCcy24h": str(coins), "vol24h": contracts, "ts": str(NOW)}]}
okx.publicGetMarketCandles = okx.publicGetMarketHistoryCandles = lambda request: {"code": "0", "data": [
    [str(NOW), *[str(price)] * 4, contracts, str(coins), str(coins * price), "1"]]}
gate.publicFuturesGetSettleTickers = lambda request: [
    {"contract": "BTC_USDT", "last": str(price), "low_24h": str(price), "high_24h": str(price), "change_percentage": "0", "total_size": "1",
     "volume_24h": str(round(coins / 0.0001)), "volume_24h_base": str(coins), "volume_24h_quote": str(coins * price)}]
ticker, candle, there = okx.fetch_ticker(plain["symbol"]), okx.fetch_ohlcv(plain["symbol"], "1d")[-1], gate.fetch_ticker(plain["symbol"])
print(f"ccxt {ccxt.__version__}, {coins} BTC traded: OKX's ticker {ticker['baseVolume']:g} (quote {ticker['quoteVolume']}), its candle {candle[5]:g}, Gate's ticker {there['baseVolume']:g}")
assert (ticker["baseVolume"], ticker["quoteVolume"], candle[5], there["baseVolume"]) == (100_000, None, 1000, 1000)
PY
