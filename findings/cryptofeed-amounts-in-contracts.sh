#!/usr/bin/env bash
# cryptofeed 2.4.1: Trade.amount and the sizes of an order book, of one trade of 1 BTC, and one bid of 1 BTC, on the perpetual
# BTC-USDT-PERP of three venues.
# Expected: one unit, as prices, names and times are made alike; or at least the size of a contract in the venue's `info()`.
# Seen: 1 for Binance, 100 for OKX, 10000 for Gate: the last two in contracts, of 0.01 and 0.0001 BTC. The list of instruments,
# which holds that size, is read for names and price steps and the rest is thrown away. A depth or a volume summed over venues is
# Gate's alone, and a hedge sized by the other venue's trade is a hundred or ten thousand times too large.
# What to do: fetch ctVal and quanto_multiplier oneself and multiply, before anything is stored.
# (It comes as source only, so that the installation needs a C compiler.)
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cryptofeed==2.4.1 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import asyncio
import json
from importlib.metadata import version

from cryptofeed.defines import L2_BOOK, TRADES
from cryptofeed.exchanges import OKX, BinanceFutures, GateioFutures
from cryptofeed.symbols import Symbols

NOW, NAME = 1790000000000, "BTC-USDT-PERP"
seen = {}


class Line:  # a connection that sends nothing
    subscription, uuid = {}, "line"

    async def write(self, text):
        pass


async def trade(record, received):
    seen["trade"] = float(record.amount)


async def book(record, received):
    seen["bid"] = float(record.book.bids.index(0)[1])


def amounts(venue, listed, size, messages, snapshot=None):
    seen.clear()
    Symbols.set(venue.id, *venue._parse_symbol_data(listed))
    feed = venue(symbols=[NAME], channels=[TRADES, L2_BOOK], callbacks={TRADES: trade, L2_BOOK: book})
    if snapshot:
        class Answer:
            async def read(self, address, **more):
                return json.dumps(snapshot)

        feed.http_conn = Answer()

    async def go():
        await feed.subscribe(Line())
        for message in messages:
            await feed.message_handler(json.dumps(message), feed, NOW / 1000)

    asyncio.run(go())
    known = sorted(set(venue.info()) - {"symbols", "channels"})
    print(f"{venue.id:15} trade {seen['trade']:g}, bid {seen['bid']:g}, of {size} BTC each; info holds {known}")
    return seen["trade"], seen["bid"], any(str(size) in str(values) for values in venue.info().values())


print(f"cryptofeed {version('cryptofeed')}, 1 BTC on {NAME}")
filters = [{"filterType": "PRICE_FILTER", "tickSize": "0.1"}, {"filterType": "LOT_SIZE", "stepSize": "0.001"}]
row = {"symbol": "BTCUSDT", "pair": "BTCUSDT", "status": "TRADING", "contractType": "PERPETUAL", "baseAsset": "BTC", "quoteAsset": "USDT", "filters": filters}
binance = amounts(
    BinanceFutures, {"symbols": [row]}, 1,
    [{"stream": "btcusdt@aggTrade", "data": {"e": "aggTrade", "E": NOW, "s": "BTCUSDT", "a": 1, "p": "90000", "q": "1", "f": 1, "l": 1, "T": NOW, "m": False}},
     {"stream": "btcusdt@depth", "data": {"e": "depthUpdate", "E": NOW, "T": NOW, "s": "BTCUSDT", "U": 9, "u": 11, "pu": 8, "b": [["89999", "1"]], "a": []}}],
    {"lastUpdateId": 10, "E": NOW, "T": NOW, "bids": [["89999", "1"]], "asks": [["90001", "1"]]},
)
okx = amounts(
    OKX, [{"data": [{"instType": "SWAP", "instId": "BTC-USDT-SWAP", "tickSz": "0.1", "ctVal": "0.01", "ctMult": "1", "ctValCcy": "BTC"}]}], 0.01,
    [{"arg": {"channel": "trades", "instId": "BTC-USDT-SWAP"}, "data": [
        {"instId": "BTC-USDT-SWAP", "tradeId": "1", "px": "90000", "sz": "100", "side": "buy", "ts": str(NOW)}]},
     {"arg": {"channel": "books", "instId": "BTC-USDT-SWAP"}, "action": "snapshot", "data": [
         {"bids": [["89999", "100", "0", "1"]], "asks": [["90001", "100", "0", "1"]], "ts": str(NOW), "checksum": 0}]}],
)
gate = amounts(
    GateioFutures, [{"name": "BTC_USDT", "in_delisting": False, "order_price_round": "0.1", "quanto_multiplier": "0.0001"}], 0.0001,
    [{"time": NOW // 1000, "time_ms": NOW, "channel": "futures.trades", "event": "update", "error": None, "result": [
        {"size": 10000, "id": 1, "create_time": NOW // 1000, "create_time_ms": NOW, "price": "90000", "contract": "BTC_USDT"}]},
     {"time": NOW // 1000, "time_ms": NOW, "channel": "futures.order_book_update", "event": "update", "error": None, "result": {
         "t": NOW, "s": "BTC_USDT", "U": 9, "u": 11, "b": [{"p": "89999", "s": 10000}], "a": []}}],
    {"id": 10, "current": NOW / 1000, "update": NOW / 1000, "asks": [{"p": "90001", "s": 10000}], "bids": [{"p": "89999", "s": 10000}]},
)
assert binance[:2] == (1, 1)
assert okx == (100, 100, False)
assert gate == (10000, 10000, False)
PY
