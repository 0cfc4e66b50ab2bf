#!/usr/bin/env bash
# ccxt 4.5.90, bitfinex: fetch_open_interest_history of a perpetual, from rows of its status as Bitfinex documents them, newest first.
# Expected: each row with its time, oldest first, from `since` on where it is given.
# Seen: no row has a time: it is looked for one place too far, where a row of the current open interest has it, behind the market's
# name. So they stay in the venue's order, newest first, and with `since` all of them are dropped, without an error. Lined up with
# candles row by row the series runs backwards: an open interest that grows reads as one that falls.
# What to do: row["info"][0] is the time; ask without `since`, with params {"start": ...}, and sort oneself.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

FIRST, MINUTE, amounts = 1_761_955_200_000, 60_000, [5000, 5100, 5200]
bitfinex = ccxt.bitfinex()
bitfinex.set_markets([{
    "id": "tBTCF0:USTF0", "symbol": "BTC/USDT:USDT", "base": "BTC", "quote": "USDT", "settle": "USDT", "type": "swap", "spot": False, "swap": True,
    "future": False, "option": False, "contract": True, "linear": True, "inverse": False, "contractSize": 1.0, "active": True,
    "precision": {}, "limits": {}, "info": {},
}])
status = [None, 90_000, 90_000, None, 1e6, None, FIRST + 480 * MINUTE, 0.0001, 1, None, 0.0001, None, None, 90_000, None, None]
rows = [[FIRST + k * MINUTE, *status, amount, None, None, None, 0.0005, 0.0025] for k, amount in enumerate(amounts)]
asked = []
bitfinex.publicGetStatusDerivSymbolHist = lambda request: asked.append(request) or rows[::-1]
now = bitfinex.parse_open_interest(["tBTCF0:USTF0", *rows[0]], bitfinex.market("BTC/USDT:USDT"))
found = bitfinex.fetch_open_interest_history("BTC/USDT:USDT", "1m")
since = bitfinex.fetch_open_interest_history("BTC/USDT:USDT", "1m", since=FIRST)
print(f"ccxt {ccxt.__version__}: the current open interest is dated {now['datetime']}")
print(f"  history of {amounts}: {[row['openInterestAmount'] for row in found]}, times {[row['timestamp'] for row in found]}")
print(f"  with since: {len(since)} rows, though the venue was asked from {asked[-1]['start']} on and gave {len(rows)}")
assert now["timestamp"] == FIRST and now["openInterestAmount"] == amounts[0] and asked[-1]["start"] == FIRST
assert [row["openInterestAmount"] for row in found] == amounts[::-1] and {row["timestamp"] for row in found} == {None} and since == []
PY
