#!/usr/bin/env bash
# ccxt 4.5.90, gate: `cost` of one filled order of 100 contracts of 0.0001 BTC at 90,000 (900 USDT), read in three ways.
# Expected: 900 each time. Seen: 900 from fetch_order(id, symbol); 9,000,000 from fetch_closed_orders() of all symbols and in the answer
# of create_orders: where the caller hands over no market, the size of a contract is taken for 1, though the row names the
# contract, and ccxt finds its symbol. A turnover, a fee in percent or a limit on what was bought is out by 10,000 for BTC.
# What to do: filled * average * contractSize of market(order["symbol"]), oneself.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

gate = ccxt.gate({"apiKey": "k", "secret": "s", "options": {"unifiedAccount": False, "defaultType": "swap"}})
gate.set_markets([{
    "id": "BTC_USDT", "symbol": "BTC/USDT:USDT", "base": "BTC", "quote": "USDT", "settle": "USDT", "settleId": "usdt", "type": "swap", "spot": False,
    "swap": True, "future": False, "option": False, "contract": True, "linear": True, "inverse": False, "contractSize": 0.0001,
    "active": True, "precision": {"amount": 1.0, "price": 0.1}, "limits": {}, "info": {},
}])
contracts, price, each = 100, 90_000, 0.0001
row = {
    "id": "1", "contract": "BTC_USDT", "size": contracts, "left": 0, "price": str(price), "fill_price": str(price), "tif": "gtc", "text": "t-1",
    "status": "finished", "finish_as": "filled", "create_time": 1761955200, "finish_time": 1761955201, "is_reduce_only": False,
}
gate.privateFuturesGetSettleOrdersOrderId = lambda request: row
gate.privateFuturesGetSettleOrders = lambda request: [row]
gate.privateFuturesPostSettleBatchOrders = lambda request: [row | {"succeeded": True}]
seen = {
    "fetch_order": gate.fetch_order("1", "BTC/USDT:USDT"),
    "fetch_closed_orders": gate.fetch_closed_orders()[0],
    "create_orders": gate.create_orders([{"symbol": "BTC/USDT:USDT", "type": "limit", "side": "buy", "amount": contracts, "price": price}])[0],
}
print(f"ccxt {ccxt.__version__}: {contracts} contracts at {price}, {contracts * price * each:g} USDT")
for name, order in seen.items():
    print(f"  {name}: {order['symbol']}, filled {order['filled']:g}, cost {order['cost']:,g}")
assert {order["symbol"] for order in seen.values()} == {"BTC/USDT:USDT"}
assert {name: order["cost"] for name, order in seen.items()} == {"fetch_order": 900, "fetch_closed_orders": 9e6, "create_orders": 9e6}
PY
