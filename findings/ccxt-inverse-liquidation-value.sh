#!/usr/bin/env bash
# ccxt 4.5.90: baseValue and quoteValue of a liquidation of inverse contracts, of 100,000 dollars of BTC at a price of 100,000: one BTC.
# Expected: 1 in the base currency, 100,000 in the quote currency, as the same clients say for a linear contract of 1 BTC.
# Seen: 100,000 "BTC" and 10,000,000,000 "USD" from Gate's public list and from Bybit's list of one's own: contracts times contract size,
# which is dollars here, is called the base and multiplied by the price once more. One such event outweighs all the linear ones of a
# year: a sum of liquidations in money is that of the inverse contracts, times the price.
# What to do: for an inverse market take contracts * contractSize for the quote value, and divide it by the price for the base.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

NOW = 1761955200
swap = {
    "base": "BTC", "type": "swap", "spot": False, "swap": True, "future": False, "option": False, "contract": True, "active": True,
    "precision": {}, "limits": {}, "info": {},
}
linear = swap | {"symbol": "BTC/USDT:USDT", "quote": "USDT", "settle": "USDT", "linear": True, "inverse": False}
inverse = swap | {"symbol": "BTC/USD:BTC", "quote": "USD", "settle": "BTC", "linear": False, "inverse": True}


def bybit(market, contracts):
    return {"symbol": market, "execType": "BustTrade", "execQty": contracts, "execPrice": "100000", "execTime": str(NOW * 1000), "side": "Sell"}


def gate(market, contracts):
    return {"contract": market, "left": 0, "size": int(contracts), "fill_price": "100000", "order_price": "99900", "time": NOW}


# One bitcoin each time: the linear market, its contract size, a count of contracts; then the inverse one's
for venue, row, *markets in (
    ("gate", gate, ("BTC_USDT", 0.0001, "10000"), ("BTC_USD", 1, "100000")),
    ("bybit", bybit, ("BTCUSDT", 1, "1"), ("BTCUSD", 1, "100000")),
):
    client = getattr(ccxt, venue)()
    client.set_markets([form | {"id": market, "contractSize": size} for form, (market, size, _) in zip((linear, inverse), markets)])
    values = []
    for form, (market, _, contracts) in zip((linear, inverse), markets):
        liquidation = client.parse_liquidation(row(market, contracts), client.market(form["symbol"]))
        assert liquidation["symbol"] == form["symbol"]
        values.append((liquidation["baseValue"], liquidation["quoteValue"]))
    print(f"ccxt {ccxt.__version__}, {venue}: base and quote value of 1 BTC at 100,000: linear {values[0]}, inverse {values[1]}")
    assert values == [(1.0, 1e5), (1e5, 1e10)]
PY
