#!/usr/bin/env bash
# ccxt 4.5.90: `side` of a public trade, the taker's, of one and the same trade: a market order to sell that meets a resting bid.
# Expected: "sell" everywhere.
# Seen: "sell" on Binance; "buy" on Coinone (fetch_trades and watch_trades), Coins.ph and Bithumb (watch_trades, first generation).
# Coinone's is_seller_maker and Coins.ph's isBuyerMaker name the maker, whose side is handed on as if it were the taker's; Bithumb's
# buySellGb is documented as 1 for a sale, 2 for a purchase, and 1 is read as a purchase. Order flow, and any signal built on
# it, has the opposite sign there: a premium of Seoul over Binance is bought when it is being sold.
# What to do: turn the side on these three, after a look at whether trades at the bid count as sales.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt
import ccxt.pro

NOW = 1761955200000
plain = {
    "base": "BTC", "type": "spot", "spot": True, "swap": False, "future": False, "option": False, "contract": False, "active": True,
    "precision": {}, "limits": {}, "info": {},
}
taker_sells = {
    "binance": ("BTC/USDT", "BTCUSDT", "parse_trade", {
        "id": 1, "price": "90000", "qty": "0.1", "quoteQty": "9000", "time": NOW, "isBuyerMaker": True, "isBestMatch": True,
    }),
    "coinone": ("BTC/KRW", "btc", "parse_trade", {
        "id": "1", "timestamp": NOW, "price": "90000", "qty": "0.1", "is_seller_maker": False,
    }),
    "coinsph": ("BTC/PHP", "BTCPHP", "parse_trade", {
        "price": "90000", "id": "1", "qty": "0.1", "quoteQty": "9000", "time": str(NOW), "isBuyerMaker": True, "isBestMatch": True,
    }),
    "coinone, stream": ("BTC/KRW", "btc", "parse_ws_trade", {
        "quote_currency": "KRW", "target_currency": "BTC", "id": "1", "timestamp": NOW, "price": "90000", "qty": "0.1",
        "is_seller_maker": False,
    }),
    "bithumb, stream": ("BTC/KRW", "BTC_KRW", "parse_ws_trade", {
        "symbol": "BTC_KRW", "buySellGb": "1", "contPrice": "90000", "contQty": "0.1", "contAmt": "9000",
        "contDtm": "2025-11-01 09:00:00.000000", "updn": "dn",
    }),
}
seen = {}
for name, (symbol, market, function, trade) in taker_sells.items():
    venue, _, stream = name.partition(", ")
    client = getattr(ccxt.pro if stream else ccxt, venue)()
    client.set_markets([plain | {"id": market, "symbol": symbol, "quote": symbol.split("/")[1]}])
    seen[name] = getattr(client, function)(trade, client.market(symbol))["side"]
print(f"ccxt {ccxt.__version__}, a taker sells: " + "; ".join(f"{name}: {side}" for name, side in seen.items()))
assert seen.pop("binance") == "sell" and set(seen.values()) == {"buy"} and len(seen) == 4
PY
