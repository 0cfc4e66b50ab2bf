#!/usr/bin/env bash
# ccxt 4.5.90, okx: fetch_borrow_rate_history, of a currency that lenders were paid 8.76 % a year for, as OKX's history of lending rates
# says: an annual rate.
# Expected: 0.0876 with a period of a year, as fetch_borrow_rate_histories of the same client makes of the same row (`period` is the time
# in which the rate accrues).
# Seen: 0.0876 with a period of an hour, that of another list of OKX's: 8.76 % an hour, 8760 times too much. What a short spot leg cost is
# 76,738 % a year by it; a comparison with Binance's daily rate, brought to one period as documented, has OKX out of every choice.
# What to do: fetch_borrow_rate_histories([code])[code], or a period of 365 days whatever it says.
# (A function that answers as OKX documents stands for the venue.)
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

HOUR = 3600 * 1000
YEAR = 365 * 24 * HOUR
rows = [{"amt": "1000", "ccy": "USDT", "rate": "0.0876", "ts": str(1761955200000 + hour * HOUR)} for hour in range(3)]
client = ccxt.okx()
client.set_markets([], {"USDT": {"id": "USDT", "code": "USDT", "precision": 1e-8, "limits": {}, "info": {}}})
client.markets = {}
client.publicGetFinanceSavingsLendingRateHistory = lambda request: {"code": "0", "msg": "", "data": rows}
single = client.fetch_borrow_rate_history("USDT")
several = client.fetch_borrow_rate_histories(["USDT"])["USDT"]
for name, history in (("fetch_borrow_rate_history", single), ("fetch_borrow_rate_histories", several)):
    rates = [row["rate"] * YEAR / row["period"] for row in history]
    print(f"ccxt {ccxt.__version__}, okx, {name}: {len(history)} rows, {history[0]['rate']} in {history[0]['period'] // HOUR} hours, {rates[0]:.2%} a year")
assert [(row["rate"], row["period"]) for row in several] == [(0.0876, YEAR)] * 3
assert [(row["rate"], row["period"]) for row in single] == [(0.0876, HOUR)] * 3
PY
