#!/usr/bin/env bash
# ccxt 4.5.90, bitstamp: fetch_funding_rate_history of a perpetual, with a day of settlements as Bitstamp documents them: the rate and
# its time, as text, in seconds.
# Expected: 24 rows at the hours of that day, each with the symbol that was asked for.
# Seen: none, and no error. A row gets no symbol, so that the filter by symbol drops it; its time is divided by a thousand instead of
# multiplied (1 January 1970, 00:29), so that any `since` would drop it too. A carry computed from it has no funding at all, and a
# download that takes no rows for "not listed yet" never looks again. The current rate of the same client is dated right.
# What to do: ask publicGetFundingRateHistoryPair and read timestamp and funding_rate oneself.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

FIRST = 1_761_955_200  # 1 November 2025, 00:00 UTC
rows = [{"funding_rate": "0.0000125", "timestamp": str(FIRST + hour * 3600)} for hour in range(24)]
bitstamp = ccxt.bitstamp()
market = {
    "id": "btcusd-perp", "symbol": "BTC/USD:USD", "base": "BTC", "quote": "USD", "settle": "USD", "type": "swap", "spot": False, "swap": True,
    "future": False, "option": False, "contract": True, "linear": True, "inverse": False, "contractSize": 1.0, "active": True,
    "precision": {}, "limits": {}, "info": {},
}
bitstamp.set_markets([market])
asked = []
bitstamp.publicGetFundingRateHistoryPair = lambda request: asked.append(request) or {"market": "BTC/USD-PERP", "funding_rate_history": rows}
whole = bitstamp.fetch_funding_rate_history("BTC/USD:USD")
since = bitstamp.fetch_funding_rate_history("BTC/USD:USD", since=FIRST * 1000)
row = bitstamp.parse_funding_rate_history(rows[0], market)
now = bitstamp.parse_funding_rate({"funding_rate": "0.0000125", "timestamp": str(FIRST), "next_funding_time": str(FIRST + 3600)}, market)
print(f"ccxt {ccxt.__version__}: the venue gave {len(rows)} settlements, fetch_funding_rate_history {len(whole)} ({len(since)} with since)")
print(f"  the first one, parsed: {row['datetime']}, symbol {row['symbol']}; the current rate: {now['datetime']}")
assert len(asked) == 2 and asked[1]["since_timestamp"] == FIRST
assert whole == since == [] and row["symbol"] is None and row["datetime"].startswith("1970-01-01")
assert now["datetime"] == "2025-11-01T00:00:00.000Z"
PY
