#!/usr/bin/env bash
# ccxt 4.5.90: `side` of a liquidation, of one and the same event: a long of 0.5 BTC is closed by force at 90,000.
# Expected: one meaning. The forced order sells, and so Binance, OKX and HTX report it; ccxt hands it on as "sell".
# Seen: "buy" for Bybit and for Gate. Bybit's S is documented as the side of the position (Buy: a long has been liquidated), Gate's
# size is that of the position and is positive for a long; both are handed on as if they were the order's. On Gate's example with both
# numbers the size is 600 beside an order_size of -600. A count of forced sales over venues adds purchases to them: a wave that
# liquidates longs everywhere reads as balanced, and a hedge that waits for it to end is placed on the wrong side.
# What to do: turn the side on Bybit (stream) and on Gate.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt
import ccxt.pro

NOW = 1761955200000
swap = {
    "symbol": "BTC/USDT:USDT", "base": "BTC", "quote": "USDT", "settle": "USDT", "type": "swap", "spot": False, "swap": True,
    "future": False, "option": False, "contract": True, "linear": True, "inverse": False, "active": True, "precision": {}, "limits": {},
    "info": {},
}
a_long_is_liquidated = {
    "binance, stream": ("BTCUSDT", 1, {
        "s": "BTCUSDT", "S": "SELL", "o": "LIMIT", "f": "IOC", "q": "0.5", "p": "90000", "ap": "90000", "X": "FILLED", "l": "0.5", "z": "0.5",
        "T": NOW,
    }),
    "okx, stream": ("BTC-USDT-SWAP", 0.01, {"instId": "BTC-USDT-SWAP", "instType": "SWAP", "uly": "BTC-USDT", "details": [
        {"bkLoss": "0", "bkPx": "90000", "ccy": "", "posSide": "long", "side": "sell", "sz": "50", "ts": str(NOW)},
    ]}),
    "htx": ("BTC-USDT", 0.001, {
        "contract_code": "BTC-USDT", "symbol": "BTC", "direction": "sell", "offset": "close", "volume": 500, "price": 90000,
        "created_at": NOW, "amount": 0.5, "trade_turnover": 45000,
    }),
    "bybit, stream": ("BTCUSDT", 1, {"T": NOW, "s": "BTCUSDT", "S": "Buy", "v": "0.5", "p": "90000"}),
    "gate": ("BTC_USDT", 0.0001, {
        "time": NOW // 1000, "contract": "BTC_USDT", "size": 5000, "order_size": -5000, "order_price": "89900", "fill_price": "90000", "left": 0,
    }),
}
seen = {}
for name, (market, size, row) in a_long_is_liquidated.items():
    venue, _, stream = name.partition(", ")
    client = getattr(ccxt.pro if stream else ccxt, venue)()
    client.set_markets([swap | {"id": market, "contractSize": size}])
    parse = client.parse_ws_liquidation if stream else client.parse_liquidation
    liquidation = parse(row, client.market("BTC/USDT:USDT"))
    assert abs(liquidation["contracts"] * size - 0.5) < 1e-9, name
    seen[name] = liquidation["side"]
print(f"ccxt {ccxt.__version__}, a long is liquidated: " + "; ".join(f"{name}: {side}" for name, side in seen.items()))
assert list(seen.values()) == ["sell", "sell", "sell", "buy", "buy"]
PY
