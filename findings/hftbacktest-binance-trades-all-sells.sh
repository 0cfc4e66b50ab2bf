#!/usr/bin/env bash
# hftbacktest 2.4.4: hftbacktest.data.utils.binancehistmktdata.convert on Binance's public trade files, whose column
# is_buyer_maker holds the words true and false.
# Expected: false (the buyer took) becomes a buy. Seen: every trade becomes a sell, since any word counts as true, and nothing
# is said: a resting sell order is then filled by no print at all, a resting buy by all of them.
# What to do: set the side of the trade events anew from the file, or count buys and sells before believing a fill.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check hftbacktest==2.4.4 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

from hftbacktest import BUY_EVENT, SELL_EVENT, TRADE_EVENT
from hftbacktest.data.utils.binancehistmktdata import convert

with open("depth.csv", "w") as file:
    file.write("symbol,timestamp,trans_id,first_update_id,last_update_id,side,update_type,price,qty\n")
    file.write("BTCUSDT,1735689600000,1,1,1,b,set,93000.0,1.5\n")
    file.write("BTCUSDT,1735689600000,1,1,1,a,set,93000.1,2.5\n")
with open("trades.csv", "w") as file:
    file.write("id,price,qty,quote_qty,time,is_buyer_maker\n")
    file.write("1,93000.1,0.1,9300.01,1735689600100,false\n")  # the buyer took the ask
    file.write("2,93000.0,0.2,18600.0,1735689600200,true\n")  # the seller took the bid
    file.write("3,93000.1,0.3,27900.03,1735689600300,false\n")
events = convert("depth.csv", "trades.csv", buffer_size=100)
trades = [int(ev) for ev in events["ev"] if int(ev) & 0xFF == TRADE_EVENT]
buys, sells = sum(ev & BUY_EVENT == BUY_EVENT for ev in trades), sum(ev & SELL_EVENT == SELL_EVENT for ev in trades)
print(f"hftbacktest {version('hftbacktest')}: two buys and one sell are converted to {buys} buys and {sells} sells")
assert (buys, sells) == (0, 3)
PY
