#!/usr/bin/env bash
# ccxt 4.5.90, bitget: the fee of a taker's fill of 10.70054 USDT at 0.06 %, 0.00642032 USDT, as the two kinds of account report it: the
# classic one as -0.00642032, a change of the wallet, the unified one (UTA) as 0.00642032, a cost.
# Expected: a cost of 0.00642032 from both. Seen: -0.00642032 from the unified account, of the fill as of the order: the sign is turned
# for both. Every fee there counts as a rebate, so that a ledger is wrong by twice the fees, and a strategy that loses its edge to
# them looks better the more it trades. ccxt asks the venue itself which kind of account it is, so that nothing shows the change.
# What to do: for a unified account take the fee from `info`, and compare a day with the wallet.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

NOW = "1761955200000"
price, coins, rate = 107_005.4, 0.0001, 0.0006
fee = round(price * coins * rate, 8)
assert fee == 0.00642032
bitget = ccxt.bitget()
market = {
    "id": "BTCUSDT", "symbol": "BTC/USDT:USDT", "base": "BTC", "quote": "USDT", "settle": "USDT", "type": "swap", "spot": False, "margin": False,
    "swap": True, "future": False, "option": False, "contract": True, "linear": True, "inverse": False, "contractSize": 1.0,
    "active": True, "precision": {}, "limits": {}, "info": {},
}
bitget.set_markets([market])
classic = bitget.parse_trade({
    "tradeId": "1", "symbol": "BTCUSDT", "orderId": "2", "price": str(price), "baseVolume": str(coins), "side": "sell", "quoteVolume": str(price * coins),
    "feeDetail": [{"deduction": "no", "feeCoin": "USDT", "totalDeductionFee": None, "totalFee": str(-fee)}], "profit": "0",
    "tradeSide": "close", "posMode": "one_way_mode", "tradeScope": "taker", "cTime": NOW,
}, market)
unified = bitget.parse_trade({
    "execId": "1", "orderId": "2", "category": "USDT-FUTURES", "symbol": "BTCUSDT", "orderType": "market", "side": "sell", "execPrice": str(price),
    "execQty": str(coins), "execValue": str(price * coins), "tradeScope": "taker", "feeDetail": [{"feeCoin": "USDT", "fee": str(fee)}],
    "createdTime": NOW, "updatedTime": NOW, "execPnl": "0",
}, market)
order = bitget.parse_order({
    "orderId": "2", "clientOid": "3", "category": "USDT-FUTURES", "symbol": "BTCUSDT", "orderType": "market", "side": "sell", "price": "", "qty": str(coins),
    "amount": "0", "cumExecQty": str(coins), "cumExecValue": str(price * coins), "avgPrice": str(price), "timeInForce": "gtc",
    "orderStatus": "filled", "posSide": "", "holdMode": "one_way_mode", "reduceOnly": "NO", "feeDetail": [{"feeCoin": "USDT", "fee": str(fee)}],
    "createdTime": NOW, "updatedTime": NOW, "stpMode": "none",
}, market)
seen = [float(row["fee"]["cost"]) for row in (classic, unified, order)]
print(f"ccxt {ccxt.__version__}, a fee of {fee:.8f} USDT paid: classic fill {seen[0]:+.8f}, unified fill {seen[1]:+.8f}, unified order {seen[2]:+.8f}")
assert seen == [fee, -fee, -fee]
PY
