#!/usr/bin/env bash
# ccxt 4.5.90, mexc: reading back the orders and fills of a perpetual. MEXC counts sides 1 open long, 2 close short (both buy),
# 3 open short, 4 close long (both sell); ccxt itself sends them so.
# Expected: "buy" for 1 and 2, "sell" for 3 and 4, and the client's own id in `clientOrderId`, where it was given.
# Seen: 2, buying back a short, reads as "sell"; 3 and 4 stay "3" and "4"; clientOrderId is None, though MEXC says externalOid.
# A position or a profit summed over such rows has the wrong sign, and an order whose answer was lost is not found by its id.
# What to do: take side and externalOid from `info`.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

mexc = ccxt.mexc()
market = {
    "id": "FOO_USDT", "symbol": "FOO/USDT:USDT", "base": "FOO", "quote": "USDT", "settle": "USDT", "settleId": "USDT",
    "type": "swap", "spot": False, "swap": True, "future": False, "option": False, "contract": True, "linear": True,
    "inverse": False, "contractSize": 1.0, "active": True, "precision": {"amount": 1.0, "price": 0.01}, "limits": {}, "info": {},
}
mexc.set_markets([market])
meaning = {1: "open long, a buy", 2: "close short, a buy", 3: "open short, a sell", 4: "close long, a sell"}
seen = []
for side in meaning:
    order = mexc.parse_order({
        "orderId": "102015012431820288", "symbol": "FOO_USDT", "positionId": 1394917, "price": 5.0, "vol": 10, "leverage": 1,
        "side": side, "category": 1, "orderType": 1, "dealAvgPrice": 5.0, "dealVol": 10, "orderMargin": 0, "takerFee": 0.01,
        "makerFee": 0, "profit": 0, "feeCurrency": "USDT", "openType": 2, "state": 3, "externalOid": "mine-1", "errorCode": 0,
        "usedMargin": 0, "createTime": 1761888808839, "updateTime": 1761888808900, "positionMode": 1,
    }, market)
    trade = mexc.parse_trade({
        "id": "120", "symbol": "FOO_USDT", "side": side, "vol": 10, "price": 5.0, "feeCurrency": "USDT", "fee": 0.01, "profit": 0,
        "timestamp": 1761888808900, "category": 1, "orderId": "102015012431820288", "positionMode": 1, "taker": True,
    }, market)
    seen.append((order["side"], trade["side"], order["clientOrderId"]))
    print(f"ccxt {ccxt.__version__}: side {side} ({meaning[side]}) reads as {order['side']!r}, its fill as {trade['side']!r}, id {order['clientOrderId']!r}")
assert seen == [("buy", "buy", None), ("sell", "sell", None), ("3", "3", None), ("4", "4", None)], seen
PY
