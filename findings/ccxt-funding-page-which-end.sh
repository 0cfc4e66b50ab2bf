#!/usr/bin/env bash
# ccxt 4.5.90: one page of funding history, fetch_funding_rate_history(symbol, since, 100, {"until": ...}), of a month of a coin that
# settles every 4 hours (180 settlements), two months ago, on five venues.
# Expected: the same 100 rows everywhere, so that the next page can be asked for.
# Seen: the first 100 of the month on Binance, the last 100 on Bybit and Gate, and those of the last 17 days on MEXC and Bitget, where
# neither `since` nor `until` is sent: the venue's newest page comes, and nothing is taken off at its end. A loop that goes on from the
# last stamp loses 80 settlements on Bybit and Gate, one that goes back from the first stamp loses 80 on Binance; on MEXC and Bitget
# a study of September is made with November's rates, or with none, once the range is cut. No error anywhere.
# (Functions that page as each venue documents stand for them.)
# What to do: per venue: forwards for Binance, backwards for Bybit and Gate, page_num or pageNo in the params for MEXC and Bitget.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

HOUR, FIRST = 3_600_000, 1_756_684_800_000  # 1 September 2025
END = FIRST + 30 * 24 * HOUR
stamps = list(range(FIRST - 2400 * HOUR, END + 1440 * HOUR, 4 * HOUR))
month = [stamp for stamp in stamps if FIRST <= stamp < END]
newest_first = stamps[::-1]
plain = {
    "symbol": "BTC/USDT:USDT", "base": "BTC", "quote": "USDT", "settle": "USDT", "settleId": "USDT", "type": "swap", "spot": False, "swap": True,
    "future": False, "option": False, "contract": True, "linear": True, "inverse": False, "contractSize": 1.0, "active": True,
    "precision": {}, "limits": {}, "info": {},
}


def within(first, last):
    return [stamp for stamp in stamps if int(first) <= stamp <= int(last)]


def binance(asked):  # from startTime on
    rows = within(asked["startTime"], asked["endTime"])[: asked["limit"]]
    return [{"symbol": "BTCUSDT", "fundingTime": stamp, "fundingRate": "0.0001"} for stamp in rows]


def bybit(asked):  # back from endTime
    rows = within(asked["startTime"], asked["endTime"])[::-1][: asked["limit"]]
    return {"result": {"list": [{"symbol": "BTCUSDT", "fundingRateTimestamp": str(stamp), "fundingRate": "0.0001"} for stamp in rows]}}


def gate(asked):  # back from `to`
    rows = within(asked["from"] * 1000, asked["to"] * 1000)[::-1][: asked["limit"]]
    return [{"t": stamp // 1000, "r": "0.0001"} for stamp in rows]


def mexc(asked):  # by page, the newest first
    assert not {"start_time", "end_time", "page_num"} & asked.keys()
    return {"data": {"resultList": [{"symbol": "BTC_USDT", "settleTime": stamp, "fundingRate": 0.0001} for stamp in newest_first[: asked["page_size"]]]}}


def bitget(asked):  # by page, the newest first
    assert not {"startTime", "endTime", "pageNo"} & asked.keys()
    return {"data": [{"symbol": "BTCUSDT", "fundingTime": str(stamp), "fundingRate": "0.0001"} for stamp in newest_first[: int(asked["pageSize"])]]}


venues = {
    "binance": ("BTCUSDT", "fapiPublicGetFundingRate", binance),
    "bybit": ("BTCUSDT", "publicGetV5MarketFundingHistory", bybit),
    "gate": ("BTC_USDT", "publicFuturesGetSettleFundingRate", gate),
    "mexc": ("BTC_USDT", "contractPublicGetFundingRateHistory", mexc),
    "bitget": ("BTCUSDT", "publicMixGetV2MixMarketHistoryFundRate", bitget),
}
print(f"ccxt {ccxt.__version__}: {len(month)} settlements in September 2025, one page of 100")
seen = {}
for name, (market, endpoint, answer) in venues.items():
    client = getattr(ccxt, name)()
    client.set_markets([plain | {"id": market}])
    setattr(client, endpoint, answer)
    rows = client.fetch_funding_rate_history("BTC/USDT:USDT", FIRST, 100, {"until": END - 1})
    seen[name] = [row["timestamp"] for row in rows]
    print(f"  {name}: {len(rows)}" + (f", {rows[0]['datetime'][:10]} to {rows[-1]['datetime'][:10]}" if rows else ""))
assert len(month) == 180 and seen["binance"] == month[:100]
assert seen["bybit"] == seen["gate"] == month[80:] and seen["mexc"] == seen["bitget"] == stamps[-100:]
PY
