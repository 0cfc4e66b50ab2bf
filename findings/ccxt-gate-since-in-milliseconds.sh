#!/usr/bin/env bash
# ccxt 4.5.90, gate: fetch_ledger of a perpetual account, and fetch_liquidations of a perpetual, since a time: an hour with a row a minute.
# Expected: the 30 rows since the half hour, or an error.
# Seen: none. `since` is sent in milliseconds, where Gate documents seconds for both, as ccxt itself sends them for candles: the
# start lies in the year 57,000. Without `since` there are all 60. A month's fees and funding, read from the ledger since its first
# day, are nothing; a guard that stays out of a market while there are liquidations never sees one.
# (A function that gives what lies in the range asked for stands for the venue.)
# What to do: {"from": since // 1000} in the params beside a `since`, which then cuts the rows as it should.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

START = 1761955200
rows = [
    {"contract": "BTC_USDT", "left": 0, "size": 10, "fill_price": "90000", "order_price": "89900", "time": START + 60 * minute} for minute in range(60)
]
book = [
    {"time": START + 60 * minute, "change": "-0.05", "balance": "1000", "type": "fund", "text": "BTC_USDT:", "contract": "BTC_USDT"}
    for minute in range(60)
]
asked = []


def answer(rows, request):
    asked.append(request)
    return [row for row in rows if int(request.get("from", 0)) <= row["time"] <= int(request.get("to", 10**10))]


gate = ccxt.gate()
gate.set_markets([{
    "id": "BTC_USDT", "symbol": "BTC/USDT:USDT", "base": "BTC", "quote": "USDT", "settle": "USDT", "settleId": "usdt", "type": "swap",
    "spot": False, "swap": True, "future": False, "option": False, "contract": True, "linear": True, "inverse": False, "active": True,
    "contractSize": 0.0001, "precision": {}, "limits": {}, "info": {},
}])
gate.set_markets(gate.markets, {"USDT": {"id": "USDT", "code": "USDT", "precision": 1e-8, "limits": {}, "info": {}}})
gate.publicFuturesGetSettleLiqOrders = lambda request: answer(rows, request)
gate.privateFuturesGetSettleAccountBook = lambda request: answer(book, request)
since = (START + 1800) * 1000
in_seconds = {"from": since // 1000}
seen = {
    "liquidations": [len(gate.fetch_liquidations("BTC/USDT:USDT", *rest)) for rest in ((), (since,), (since, None, in_seconds))],
    "ledger": [len(gate.fetch_ledger(None, start, None, {"type": "swap"} | extra)) for start, extra in ((None, {}), (since, {}), (since, in_seconds))],
}
for name, (everything, later, remedy) in seen.items():
    print(f"ccxt {ccxt.__version__}, gate, {name}: {everything} rows; since the half hour {later}; with seconds {remedy}")
assert set(map(tuple, seen.values())) == {(60, 0, 30)} and asked[1]["from"] == asked[4]["from"] == since
PY
