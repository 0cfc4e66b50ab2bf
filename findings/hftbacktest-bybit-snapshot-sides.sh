#!/usr/bin/env bash
# hftbacktest 2.4.4: hftbacktest.data.utils.bybithistmktdata.convert on Bybit's public order-book archive, which begins with a
# snapshot of the book and goes on with changes.
# Expected: the levels of the snapshot are bids and asks. Seen: they carry no side at all (the changes do), in silence, so that
# the replay starts with a book of only those levels that have changed since.
# What to do: take the snapshot apart oneself, or begin the replay where every near level has changed once.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check hftbacktest==2.4.4 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import gzip
import json
from importlib.metadata import version
from zipfile import ZipFile

from hftbacktest import BUY_EVENT, DEPTH_EVENT, DEPTH_SNAPSHOT_EVENT, SELL_EVENT
from hftbacktest.data.utils.bybithistmktdata import convert

book = {"s": "BTCUSDT", "b": [["93000.0", "1.5"], ["92999.9", "2.0"]], "a": [["93000.1", "2.5"]], "u": 1, "seq": 1}
change = {"s": "BTCUSDT", "b": [["93000.0", "1.0"]], "a": [["93000.1", "2.0"]], "u": 2, "seq": 2}
rows = [
    {"topic": "orderbook.500.BTCUSDT", "type": "snapshot", "ts": 1735689600000, "data": book},
    {"topic": "orderbook.500.BTCUSDT", "type": "delta", "ts": 1735689600100, "data": change},
]
with ZipFile("depth.data.zip", "w") as archive:
    archive.writestr("depth.data", "\n".join(json.dumps(row) for row in rows))
with gzip.open("trades.csv.gz", "wt") as file:
    file.write("timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional\n")
    file.write("1735689600.2,BTCUSDT,Buy,0.1,93000.1,PlusTick,1,930001000000,0.1,9300.01\n")
events = convert("depth.data.zip", "trades.csv.gz", buffer_size=100)


def with_side(kind):
    found = [int(ev) for ev in events["ev"] if int(ev) & 0xFF == kind]
    return len(found), sum(bool(ev & (BUY_EVENT | SELL_EVENT) & 0xF0000000) for ev in found)


print(f"BUY_EVENT {BUY_EVENT:#x}, SELL_EVENT {SELL_EVENT:#x}")
snapshot, changes = with_side(DEPTH_SNAPSHOT_EVENT), with_side(DEPTH_EVENT)
print(f"hftbacktest {version('hftbacktest')}: of {snapshot[0]} levels of the snapshot {snapshot[1]} have a side, of {changes[0]} changes {changes[1]}")
assert snapshot == (3, 0) and changes == (2, 2)
PY
