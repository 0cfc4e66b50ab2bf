#!/usr/bin/env bash
# ccxt 4.5.90, xt: an order of 100 contracts of 0.0001 BTC, filled at 90,000: 0.01 BTC, 900 USDT.
# Expected: the order read back with amount 100, in the unit it was placed in (create_order sends 100 as it is), and a cost of 900,
# as on Gate, whose contract has the same size.
# Seen: amount 0.01, the coins; the size of a contract is then applied once more, so that the cost of the order and of its fill is
# 0.09 USDT, 10,000 times too small. Its fee of 0.54 USDT is 600 % of that cost instead of 0.06 %. A program that places the missing
# "100 - filled" contracts buys 99.99 more.
# What to do: take origQty and executedQty from `info`, and multiply oneself.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

plain = {
    "symbol": "BTC/USDT:USDT", "base": "BTC", "quote": "USDT", "settle": "USDT", "settleId": "usdt", "type": "swap", "spot": False,
    "swap": True, "future": False, "option": False, "contract": True, "linear": True, "inverse": False, "contractSize": 0.0001,
    "active": True, "precision": {"amount": 1.0, "price": 0.1}, "limits": {}, "info": {},
}
NOW, contracts, price = 1761955200000, 100, 90_000
cost = contracts * plain["contractSize"] * price
assert abs(cost - 900) < 1e-9
fee = 0.0006 * cost

xt, gate = ccxt.xt({"apiKey": "k", "secret": "s"}), ccxt.gate()
market = plain | {"id": "btc_usdt"}
xt.set_markets([market])
gate.set_markets([plain | {"id": "BTC_USDT"}])
sent = []
xt.privateLinearPostFutureTradeV1OrderCreate = lambda request: sent.append(request) or {"returnCode": 0, "result": "1"}
xt.create_order("BTC/USDT:USDT", "limit", "buy", contracts, price)
order = xt.parse_order({
    "orderId": "1", "clientOrderId": None, "symbol": "btc_usdt", "orderType": "LIMIT", "orderSide": "BUY", "positionSide": "LONG",
    "timeInForce": "GTC", "price": str(price), "origQty": str(contracts), "avgPrice": str(price), "executedQty": str(contracts),
    "state": "FILLED", "createdTime": NOW, "updatedTime": NOW,
}, market)
fill = xt.parse_trade({
    "orderId": "1", "execId": "2", "symbol": "btc_usdt", "quantity": str(contracts), "price": str(price), "fee": f"{fee:g}",
    "feeCoin": "usdt", "timestamp": NOW, "takerMaker": "TAKER", "orderSide": "BUY",
}, market)
there = gate.parse_order({
    "id": "1", "contract": "BTC_USDT", "size": contracts, "left": 0, "price": str(price), "fill_price": str(price), "tif": "gtc", "status": "finished",
    "finish_as": "filled", "create_time": NOW / 1000, "finish_time": NOW / 1000,
}, gate.market("BTC/USDT:USDT"))
print(f"ccxt {ccxt.__version__}: sent {sent[0]['origQty']} contracts, worth {cost:g} USDT, fee {fee:g}")
for name, row in (("xt, order", order), ("xt, fill", fill), ("gate, order", there)):
    print(f"  {name}: amount {row['amount']:g}, cost {row['cost']:g}")
assert sent[0]["origQty"] == "100" and (there["amount"], there["cost"]) == (100, 900)
assert (order["amount"], order["filled"], round(order["cost"], 9)) == (0.01, 0.01, 0.09)
assert (fill["amount"], round(fill["cost"], 9), float(fill["fee"]["cost"])) == (0.01, 0.09, 0.54)
PY
