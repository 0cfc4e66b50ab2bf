#!/usr/bin/env bash
# ccxt 4.5.90, woofipro and modetrade (both on Orderly): fetch_funding_rate_history between `since` and `until`, a week in all.
# Expected: the 21 settlements of that week. Seen: none. In one request the start is sent in milliseconds, as Orderly documents both,
# and the end in seconds, which is 21 January 1970 and lies before the start. fetch_funding_history of the same clients sends both in
# milliseconds. A download that goes by ranges, month by month, finds no funding at all; without `until` there is some.
# (A function that gives what lies in the range asked for stands for the venue.)
# What to do: {"end_t": until} in the params instead of {"until": until}.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

FIRST, HOURS = 1_761_955_200_000, 3_600_000
until = FIRST + 7 * 24 * HOURS - 1
asked = []


def funding(request):
    asked.append(request)
    stamps = range(FIRST - 240 * HOURS, FIRST + 480 * HOURS, 8 * HOURS)
    inside = [stamp for stamp in stamps if request["start_t"] <= stamp <= request.get("end_t", stamp)][:25]
    rows = [{"symbol": "PERP_BTC_USDC", "funding_rate": 0.0001, "funding_rate_timestamp": stamp} for stamp in inside]
    return {"success": True, "data": {"rows": rows, "meta": {"total": len(rows), "records_per_page": 25, "current_page": 1}}}


seen = {}
for name in ("woofipro", "modetrade"):
    client = getattr(ccxt, name)()
    client.set_markets([{
        "id": "PERP_BTC_USDC", "symbol": "BTC/USDC:USDC", "base": "BTC", "quote": "USDC", "settle": "USDC", "type": "swap", "spot": False, "swap": True,
        "future": False, "option": False, "contract": True, "linear": True, "inverse": False, "contractSize": 1.0, "active": True,
        "precision": {}, "limits": {}, "info": {},
    }])
    client.v1PublicGetPublicFundingRateHistory = funding
    ranges = ({"until": until}, {"end_t": until}, {})
    seen[name] = [len(client.fetch_funding_rate_history("BTC/USDC:USDC", since=FIRST, params=params)) for params in ranges]
    print(f"ccxt {ccxt.__version__}, {name}: sent {asked[-3]}")
    print(f"  {seen[name][0]} rows; with end_t {seen[name][1]}; without an end {seen[name][2]}")
assert set(map(tuple, seen.values())) == {(0, 21, 25)}
assert all(request["start_t"] == FIRST and request["end_t"] == until // 1000 for request in (asked[0], asked[3]))
PY
