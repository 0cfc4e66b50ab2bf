#!/usr/bin/env bash
# cryptofeed 2.4.1: the one Funding record that it makes of every venue's message, with rate, predicted_rate, next_funding_time and
# timestamp. Here each venue says the same at the same moment, two hours before a settlement: BTC at 90,000, one basis point due.
# Expected: rate and predicted_rate 0.0001, the stamp that of the message, as it is for Gate.
# Seen: Binance's predicted_rate is 90000, its estimated settlement price. Kraken's rate is 9, the dollars per coin, though the
# message holds the relative rate too. OKX's record is stamped with the settlement to come, two hours (up to eight) ahead of the
# message, and next_funding_time is empty: joined to quotes by its stamp, a rate comes in when it has already been paid.
# What to do: take the fields from `raw`, venue by venue; stamp with the time of receipt.
# (It comes as source only, so that the installation needs a C compiler.)
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cryptofeed==2.4.1 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import asyncio
import json
from importlib.metadata import version

from cryptofeed.defines import FUNDING
from cryptofeed.exchanges import OKX, BinanceFutures, GateioFutures, KrakenFutures
from cryptofeed.symbols import Symbols

NOW, DUE = 1790000000000, 1790007200000
records = []


class Line:  # a connection that sends nothing
    subscription, uuid = {}, "line"

    async def write(self, text):
        pass


async def keep(record, received):
    records.append(record)


def said(venue, listed, symbol, message):
    Symbols.set(venue.id, *venue._parse_symbol_data(listed))
    feed = venue(symbols=[symbol], channels=[FUNDING], callbacks={FUNDING: keep})

    async def go():
        await feed.subscribe(Line())
        await feed.message_handler(json.dumps(message), feed, NOW / 1000)

    asyncio.run(go())
    got = records[-1]
    print(f"{got.exchange:15} rate {got.rate}, predicted {got.predicted_rate}, next {got.next_funding_time}, stamp {got.timestamp - NOW / 1000:+.0f} s")
    return float(got.rate), got.predicted_rate and float(got.predicted_rate), got.timestamp - NOW / 1000


print(f"cryptofeed {version('cryptofeed')}")
gate = said(
    GateioFutures, [{"name": "BTC_USDT", "in_delisting": False, "order_price_round": "0.1", "quanto_multiplier": "0.0001"}], "BTC-USDT-PERP",
    {"time": NOW // 1000, "time_ms": NOW, "channel": "futures.tickers", "event": "update", "error": None, "result": [{
        "contract": "BTC_USDT", "last": "90000", "funding_rate": "0.0001", "funding_rate_indicative": "0.0001", "mark_price": "90000",
        "index_price": "90000", "total_size": "1"}]},
)
filters = [{"filterType": "PRICE_FILTER", "tickSize": "0.1"}, {"filterType": "LOT_SIZE", "stepSize": "0.001"}]
listed = {"symbol": "BTCUSDT", "pair": "BTCUSDT", "status": "TRADING", "contractType": "PERPETUAL", "baseAsset": "BTC", "quoteAsset": "USDT", "filters": filters}
binance = said(
    BinanceFutures, {"symbols": [listed]}, "BTC-USDT-PERP",
    {"stream": "btcusdt@markPrice", "data": {"e": "markPriceUpdate", "E": NOW, "s": "BTCUSDT", "p": "90000", "i": "90000", "P": "90000", "r": "0.0001", "T": DUE}},
)
kraken = said(
    KrakenFutures, {"instruments": [{"symbol": "pf_xbtusd", "tradeable": True, "tickSize": 1, "contractSize": 1}]}, "BTC-USD-PERP",
    {"feed": "ticker", "product_id": "PF_XBTUSD", "time": NOW, "funding_rate": 9.0, "funding_rate_prediction": 9.0, "relative_funding_rate": 0.0001,
     "relative_funding_rate_prediction": 0.0001, "next_funding_rate_time": DUE, "markPrice": 90000.0, "index": 90000.0, "openInterest": 1.0},
)
okx = said(
    OKX, [{"data": [{"instType": "SWAP", "instId": "BTC-USDT-SWAP", "tickSz": "0.1", "ctVal": "0.01", "ctValCcy": "BTC"}]}], "BTC-USDT-PERP",
    {"arg": {"channel": "funding-rate", "instId": "BTC-USDT-SWAP"}, "data": [{
        "instType": "SWAP", "instId": "BTC-USDT-SWAP", "fundingRate": "0.0001", "nextFundingRate": "", "fundingTime": str(DUE),
        "nextFundingTime": str(DUE + 28_800_000), "ts": str(NOW)}]},
)
assert gate == (0.0001, 0.0001, 0)
assert binance == (0.0001, 90000, 0)
assert kraken == (9, 9, 0)
assert okx[0] == 0.0001 and okx[2] == 7200
PY
