#!/usr/bin/env bash
# liquidator-indicator 0.1.2: Liquidator.from_exchange on the venue's own answer with one trade of 1 BTC at 90,000, as each documents it.
# Expected: one trade of 90,000 dollars, or an error. Seen: none at all from Gate (milliseconds with decimals), HTX (a list within each
# row), Phemex (rows without names) and MEXC's perpetual, without an error: "no liquidations here". 9,000,000 dollars from OKX's
# perpetual, whose sizes are contracts of 0.01 BTC; 1,000,000 from BitMEX's XBTUSDT, of a millionth; 1 dollar from Deribit's
# BTC_USDC-PERPETUAL, whose size is in coins and is divided by the price. (Their inverse contracts come out right.) A
# threshold in dollars finds liquidations everywhere on OKX and never on Deribit.
# What to do: parse the trades with ccxt, whose amount times contractSize is in coins, and hand over px, sz, side and time.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check liquidator-indicator==0.1.2 pandas==2.3.3 numpy==2.2.6 2>/dev/null
"$folder/venv/bin/python" -W ignore - <<'PY'
import time
from importlib.metadata import version

import pandas as pd
from liquidator_indicator import Liquidator

t = int(time.time() * 1000) - 60_000
iso = pd.Timestamp(t, unit="ms").isoformat(timespec="milliseconds") + "Z"


def deribit(name, amount):
    trade = {"trade_seq": 1, "trade_id": "1", "timestamp": t, "price": 90000.0, "instrument_name": name, "direction": "buy", "amount": amount}
    return {"jsonrpc": "2.0", "result": {"trades": [trade], "has_more": False}}


def bitmex(symbol, size):
    return [{"timestamp": iso, "symbol": symbol, "side": "Buy", "size": size, "price": 90000, "homeNotional": 1, "foreignNotional": 90000}]


answers = {
    "binance, spot": [{"a": 1, "p": "90000", "q": "1", "f": 1, "l": 1, "T": t, "m": False, "M": True}],
    "gate, spot": [{"id": "1", "create_time": str(t // 1000), "create_time_ms": f"{t}.456000", "side": "buy", "role": "", "amount": "1",
                    "price": "90000", "currency_pair": "BTC_USDT"}],
    "htx, spot": {"status": "ok", "ch": "market.btcusdt.trade.detail", "ts": t, "data": [
        {"id": 1, "ts": t, "data": [{"id": 1, "ts": t, "trade-id": 1, "amount": 1.0, "price": 90000.0, "direction": "buy"}]}]},
    "phemex, inverse": {"error": None, "id": 0, "result": {"type": "snapshot", "sequence": 1, "symbol": "BTCUSD",
                                                          "trades": [[t * 10**6, "Buy", 900000000, 90000]]}},
    "mexc, perpetual": {"success": True, "code": 0, "data": [{"p": 90000, "v": 10000, "T": 1, "O": 3, "M": 1, "t": t}]},
    "okx, perpetual": {"code": "0", "data": [{"instId": "BTC-USDT-SWAP", "side": "buy", "sz": "100", "px": "90000", "tradeId": "1", "ts": str(t)}]},
    "bitmex, XBTUSD": bitmex("XBTUSD", 90000),
    "bitmex, XBTUSDT": bitmex("XBTUSDT", 1000000),
    "deribit, BTC-PERPETUAL": deribit("BTC-PERPETUAL", 90000.0),
    "deribit, BTC_USDC-PERPETUAL": deribit("BTC_USDC-PERPETUAL", 1.0),
}
seen = {}
for venue, answer in answers.items():
    trades = Liquidator.from_exchange("BTC", venue.split(",")[0], raw_data=answer)._trades
    seen[venue] = round(float(trades["usd_value"].sum()), 2) if len(trades) else None
    print(f"liquidator-indicator {version('liquidator-indicator')}, {venue}: 1 BTC at 90,000 is {seen[venue]} dollars")
assert seen == {
    "binance, spot": 90000, "gate, spot": None, "htx, spot": None, "phemex, inverse": None, "mexc, perpetual": None, "okx, perpetual": 9000000,
    "bitmex, XBTUSD": 90000, "bitmex, XBTUSDT": 1000000, "deribit, BTC-PERPETUAL": 90000, "deribit, BTC_USDC-PERPETUAL": 1}
PY
