#!/usr/bin/env bash
# hftbacktest 2.4.4: hftbacktest.data.utils.tardis.convert on an incremental_book_L2 file with a second snapshot, as Tardis writes
# one after each reconnect.
# Expected: the second snapshot with all its levels. Seen: on each side no more levels than the first snapshot had; the rest is
# dropped in silence, since the buffer is cut to the first one's length for good. After a start with a thin book (5 levels
# here) every later book is 5 deep, whatever the file says: walking the book for size gives a wrong price, or no fill.
# What to do: convert the file in parts, each from a snapshot to the next, or count the snapshot rows before and after.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check hftbacktest==2.4.4 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

from hftbacktest import DEPTH_SNAPSHOT_EVENT
from hftbacktest.data.utils.tardis import convert

START, MINUTE = 1_735_689_600_000_000, 60_000_000  # microseconds


def line(at, snapshot, side, price):
    return f"gate-io-futures,BTC_USDT,{at},{at + 500},{snapshot},{side},{price:.1f},1\n"


with open("incremental_book_L2.csv", "w") as file:
    file.write("exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n")
    for at, levels in ((START, 5), (START + MINUTE, 20), (START + 2 * MINUTE, 20)):
        for k in range(levels):
            file.write(line(at, "true", "bid", 93000.0 - 0.1 * k))
        for k in range(levels):
            file.write(line(at, "true", "ask", 93000.1 + 0.1 * k))
        file.write(line(at + 100_000, "false", "bid", 93000.0))
events = convert(["incremental_book_L2.csv"], buffer_size=1000, ss_buffer_size=1000)
seen = []
for at, levels in ((START, 5), (START + MINUTE, 20), (START + 2 * MINUTE, 20)):
    rows = [row for row in events if row["exch_ts"] == at * 1000 and int(row["ev"]) & 0xFF == DEPTH_SNAPSHOT_EVENT]
    seen.append(len(rows))
    print(f"hftbacktest {version('hftbacktest')}: a snapshot of {2 * levels} rows becomes {len(rows)}, prices {min(r['px'] for r in rows):.1f} to {max(r['px'] for r in rows):.1f}")
assert seen == [10, 10, 10]
PY
