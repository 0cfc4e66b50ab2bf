"""The MEXC face of the local venue: what MEXC documents, and genuine ccxt against a running one.

The documented payloads and known answers are third-party data beside the project (`../shared/fixtures`); tests that
need them are skipped where they are not at hand.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import ccxt.pro as ccxtpro
import pytest
from ccxt.base import errors as ccxt

from delta_arb.sandbox.engine import Engine
from delta_arb.sandbox.faults import Fault, Faults
from delta_arb.sandbox.mexc import SETTINGS, Mexc
from delta_arb.sandbox.mexc_push import Stream, schema
from delta_arb.sandbox.mexc_wire import Refused, check_clock, sign, verify
from delta_arb.sandbox.server import Server
from delta_arb.sandbox.values import Listing

FIXTURES = Path(__file__).resolve().parents[1].parent / "shared" / "fixtures"


def fixture(name: str) -> dict:
    if not (FIXTURES / name).exists():
        pytest.skip(f"the fixture {name} is not here (looked beside the project, in ../shared/fixtures)")
    return json.loads((FIXTURES / name).read_text("utf-8"))


# --- signatures and clocks -------------------------------------------------------------------------------------------


def known_answer() -> tuple[str, str, str, str, int]:
    """Key, secret, what was signed, its signature, and the clock then (ms)."""
    known = fixture("mexc_signature_known_answer.json")
    case = known["cases"][0]
    return known["api_key"], known["secret"], case["total_params"], case["signature"], 1644489390087


def test_the_documented_signature_is_accepted():
    key, secret, total, signature, now_ms = known_answer()
    assert sign(secret, total) == signature
    verify(f"{total}&signature={signature}", "", {"X-MEXC-APIKEY": key}, {key: secret}, now_ms)


@pytest.mark.parametrize(("old", "new"), [("price=11", "price=12"), ("fd3e", "fd3f"), ("BUY", "SELL")])
def test_an_altered_request_is_refused(old, new):
    key, secret, total, signature, now_ms = known_answer()
    query = f"{total}&signature={signature}".replace(old, new)
    with pytest.raises(Refused) as refused:
        verify(query, "", {"X-MEXC-APIKEY": key}, {key: secret}, now_ms)
    assert refused.value.body == {"code": 700002, "msg": "Signature for this request is not valid."}


def test_the_body_is_signed_with_the_query():
    signature = sign("secret", "timestamp=5000" + "quantity=1")
    query = f"timestamp=5000&signature={signature}"
    verify(query, "quantity=1", {"X-MEXC-APIKEY": "key"}, {"key": "secret"}, 5000)
    with pytest.raises(Refused):
        verify(query, "quantity=2", {"X-MEXC-APIKEY": "key"}, {"key": "secret"}, 5000)


def test_a_request_without_a_known_key_is_refused():
    for headers, code in (({}, 400), ({"X-MEXC-APIKEY": "stranger"}, 10072)):
        with pytest.raises(Refused) as refused:
            verify("timestamp=1&signature=00", "", headers, {"key": "secret"}, 1)
        assert refused.value.body["code"] == code


@pytest.mark.parametrize(
    ("timestamp", "window", "code"),
    [
        (10_999, "5000", None),  # less than a second ahead
        (11_000, "5000", 700003),
        (5_000, "5000", None),  # exactly as old as the window allows
        (4_999, "5000", 700003),
        (1, "60000", None),
        (1, "60001", 700005),
        (1, "many", 700005),
    ],
)
def test_the_clock_rule_is_the_documented_one(timestamp, window, code):
    if code is None:
        check_clock(str(timestamp), window, now_ms=10_000)
        return
    with pytest.raises(Refused) as refused:
        check_clock(str(timestamp), window, now_ms=10_000)
    assert refused.value.body["code"] == code


# --- channels --------------------------------------------------------------------------------------------------------


def test_channel_names_say_which_stream_is_meant():
    ticker = Stream.parse("spot@public.aggre.bookTicker.v3.api.pb@10ms@BTCUSDT")
    assert (ticker.kind, ticker.window_ms, ticker.symbol, ticker.private) == ("bookTicker", 10, "BTCUSDT", False)
    assert Stream.parse("spot@private.orders.v3.api.pb").private
    for other in ("spot@public.bookTicker.v3.api@BTCUSDT", "spot@public.aggre.depth.v3.api.pb@50ms@BTCUSDT", "", "x"):
        assert Stream.parse(other) is None


# --- a running venue -------------------------------------------------------------------------------------------------

PAIR, ID, SYMBOL = "SYN_USDT", "SYNUSDT", "SYN/USDT"
LISTING = Listing("SYN", Decimal("0.0001"), Decimal("0.01"), Decimal("0.05"), Decimal(10_000), min_notional=Decimal(1))


class Venue:
    """A venue with one market (bid 100 at 0.8000, ask 120 at 0.8002), 1000 USDT and 500 SYN."""

    def __init__(self, **options: Any) -> None:
        self.engine = Engine("mexc", [LISTING], {"USDT": Decimal(1000), "SYN": Decimal(500)}, settings=SETTINGS)
        self.face = Mexc(self.engine, **options)
        self.server = Server((self.face,))
        self.bid = "0.8"
        self.quote()

    def quote(self, bid: str = "0.8", bid_qty: str = "100", ask: str = "0.8002", ask_qty: str = "120") -> None:
        self.engine.quote(PAIR, Decimal(bid), Decimal(bid_qty), Decimal(ask), Decimal(ask_qty))

    def fault(self, at: str, do: str, **how: Any) -> None:
        self.engine.faults.add(Fault(at, do, **how))

    @property
    def faults(self) -> Faults:
        return self.engine.faults

    @property
    def config(self) -> dict[str, Any]:
        return self.face.config(self.server.url) | {"enableRateLimit": False}

    async def ticks(self) -> None:
        """A new quote every 2 ms, each with another ask size."""
        for n in range(100_000):
            self.quote(self.bid, ask_qty=str(50 + n % 50))
            await asyncio.sleep(0.002)


@asynccontextmanager
async def client_of(venue: Venue, **config: Any) -> AsyncIterator[ccxtpro.mexc]:
    client = ccxtpro.mexc(venue.config | config)
    try:
        await client.load_markets()
        yield client
    finally:
        await client.close()


def with_client(use: Callable[[Venue, ccxtpro.mexc], Awaitable[Any]], ticking: bool = False, **options: Any) -> Any:
    """Run `use(venue, client)` with genuine ccxt on a venue of its own."""

    async def run() -> Any:
        venue = Venue(**options)
        async with venue.server, client_of(venue) as client:
            ticks = asyncio.create_task(venue.ticks()) if ticking else None
            try:
                async with asyncio.timeout(10):
                    return await use(venue, client)
            finally:
                if ticks:
                    ticks.cancel()

    return asyncio.run(run())


def with_socket(use: Callable[[Venue, "Wire"], Awaitable[Any]], query: str = "", **options: Any) -> Any:
    """Run `use(venue, wire)` with a plain websocket; `{key}` in `query` becomes a listen key."""

    async def run() -> Any:
        venue = Venue(**options)
        async with venue.server, aiohttp.ClientSession() as session:
            url = f"{venue.server.url}/mexc/ws{query.format(key=venue.face.sessions.keys.create())}"
            async with session.ws_connect(url) as ws, asyncio.timeout(10):
                return await use(venue, Wire(ws))

    return asyncio.run(run())


class Wire:
    """A websocket client that knows nothing but frames."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def ask(self, method: str, *params: str) -> dict:
        await self.ws.send_json({"method": method, "params": list(params)})
        return json.loads(await self.text())

    async def text(self) -> str:
        while True:
            message = await self.ws.receive()
            if message.type != aiohttp.WSMsgType.BINARY:
                return message.data

    async def push(self, seconds: float = 5.0) -> Any:
        """The next push; TimeoutError when there is none for so long."""
        async with asyncio.timeout(seconds):
            while True:
                message = await self.ws.receive()
                if message.type == aiohttp.WSMsgType.BINARY:
                    return schema().FromString(message.data)
                if message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING):
                    raise ConnectionError(f"closed with {self.ws.close_code}")


TICKER = f"spot@public.aggre.bookTicker.v3.api.pb@10ms@{ID}"
DEPTH = f"spot@public.aggre.depth.v3.api.pb@10ms@{ID}"
DEALS = f"spot@public.aggre.deals.v3.api.pb@10ms@{ID}"
ORDERS, FILLS, ACCOUNT = (f"spot@private.{kind}.v3.api.pb" for kind in ("orders", "deals", "account"))


# --- each call of genuine ccxt ---------------------------------------------------------------------------------------


def test_load_markets():
    async def use(venue, client):
        market = client.market(SYMBOL)
        assert (market["id"], market["active"], market["spot"]) == (ID, True, True)
        assert market["precision"] == {"amount": 0.01, "price": 0.0001}
        assert market["limits"]["amount"]["min"] == 0.05 and market["limits"]["cost"]["min"] == 1
        assert (market["taker"], market["maker"]) == (0.0005, 0.0002)
        assert set(client.currencies) >= {"SYN", "USDT"}

    with_client(use)


def test_fetch_time():
    assert abs(with_client(lambda venue, client: client.fetch_time()) - time.time() * 1000) < 5000


def test_fetch_balance():
    balance = with_client(lambda venue, client: client.fetch_balance())
    assert balance["total"] == {"SYN": 500, "USDT": 1000}


def test_fetch_order_book():
    book = with_client(lambda venue, client: client.fetch_order_book(SYMBOL))
    assert (book["bids"], book["asks"]) == ([[0.8, 100]], [[0.8002, 120]])
    assert book["nonce"] > 0 and book["timestamp"] > 0


def test_fetch_ticker_and_fee():
    async def use(venue, client):
        ticker = await client.fetch_ticker(SYMBOL)
        assert (ticker["bid"], ticker["ask"], ticker["last"]) == (0.8, 0.8002, 0.8001)
        bids_asks = await client.fetch_bids_asks()
        assert bids_asks[SYMBOL]["bidVolume"] == 100
        fee = await client.fetch_trading_fee(SYMBOL)
        assert (fee["taker"], fee["maker"]) == (0.0005, 0.0002)

    with_client(use)


def test_fetch_ohlcv():
    async def use(venue, client):
        venue.quote(bid="0.81", ask="0.8102")
        await client.create_order(SYMBOL, "market", "buy", 10)
        candles = await client.fetch_ohlcv(SYMBOL, "1h")
        assert candles[-1][1:] == [0.8001, 0.8101, 0.8001, 0.8101, 10]
        assert candles[-1][0] % 3_600_000 == 0

    with_client(use)


def test_fetch_trades():
    async def use(venue, client):
        await client.create_order(SYMBOL, "market", "sell", 10)
        (trade,) = await client.fetch_trades(SYMBOL)
        assert (trade["side"], trade["price"], trade["amount"]) == ("sell", 0.8, 10)
        soon = trade["timestamp"] + 1
        assert await client.fetch_trades(SYMBOL, soon, params={"until": soon + 1000}) == []

    with_client(use)


def test_an_ioc_order_takes_what_is_shown_and_the_answer_says_nothing_of_it():
    async def use(venue, client):
        params = {"timeInForce": "IOC", "clientOrderId": "my-1"}
        created = await client.create_order(SYMBOL, "limit", "buy", 150, 0.8002, params)
        assert (created["status"], created["filled"], created["clientOrderId"]) == (None, None, None)
        order = await client.fetch_order(created["id"], SYMBOL)
        assert (order["status"], order["filled"], order["remaining"]) == ("canceled", 120, 30)
        assert (order["average"], order["timeInForce"], order["clientOrderId"]) == (0.8002, "IOC", "my-1")
        assert order["info"]["status"] == "PARTIALLY_CANCELED"
        assert await client.fetch_order("", SYMBOL, {"clientOrderId": "my-1"}) == order

    with_client(use)


def test_a_resting_order_is_open_until_it_is_cancelled():
    async def use(venue, client):
        created = await client.create_order(SYMBOL, "limit", "buy", 10, 0.79)
        (resting,) = await client.fetch_open_orders(SYMBOL)
        assert (resting["id"], resting["status"], resting["timeInForce"]) == (created["id"], "open", "GTC")
        assert (await client.fetch_balance())["USDT"]["used"] == pytest.approx(7.9 * 1.0005)
        cancelled = await client.cancel_order(created["id"], SYMBOL)
        assert (cancelled["status"], cancelled["filled"]) == ("canceled", 0)
        assert await client.fetch_open_orders(SYMBOL) == []
        assert (await client.fetch_balance())["USDT"] == {"free": 1000, "used": 0, "total": 1000}

    with_client(use)


def test_a_resting_order_fills_when_a_quote_reaches_it():
    async def use(venue, client):
        params = {"clientOrderId": "rest-1"}
        await client.create_order(SYMBOL, "limit", "sell", 30, 0.81, params)
        venue.quote(bid="0.8101", bid_qty="20", ask="0.8103")
        order = await client.fetch_order("", SYMBOL, params)
        assert (order["info"]["status"], order["filled"], order["average"]) == ("PARTIALLY_FILLED", 20, 0.81)
        cancelled = await client.cancel_order("", SYMBOL, params)
        assert (cancelled["filled"], cancelled["info"]["status"]) == (20, "PARTIALLY_CANCELED")

    with_client(use)


def test_post_only_rests_and_one_that_would_take_is_cancelled():
    async def use(venue, client):
        rests = await client.create_order(SYMBOL, "limit", "sell", 10, 0.8003, {"postOnly": True})
        takes = await client.create_order(SYMBOL, "limit", "buy", 10, 0.8002, {"postOnly": True})
        assert (await client.fetch_order(rests["id"], SYMBOL))["status"] == "open"
        taken = await client.fetch_order(takes["id"], SYMBOL)
        assert (taken["status"], taken["filled"], taken["info"]["type"]) == ("canceled", 0, "LIMIT_MAKER")

    with_client(use)


def test_market_orders_by_quantity_and_by_cost():
    async def use(venue, client):
        sold = await client.create_order(SYMBOL, "market", "sell", 10)
        assert (await client.fetch_order(sold["id"], SYMBOL))["average"] == 0.8
        bought = await client.create_order(SYMBOL, "market", "buy", 10, 0.9)  # a price makes it a cost of 9 USDT
        order = await client.fetch_order(bought["id"], SYMBOL)
        assert (order["filled"], order["average"], order["status"]) == (11.24, 0.8002, "closed")

    with_client(use)


def test_fill_or_kill_fills_whole_or_not_at_all():
    async def use(venue, client):
        fok = {"timeInForce": "FOK"}
        whole = await client.create_order(SYMBOL, "limit", "buy", 120, 0.8002, fok)
        none = await client.create_order(SYMBOL, "limit", "buy", 5, 0.8002, fok)
        filled = [(await client.fetch_order(order["id"], SYMBOL))["filled"] for order in (whole, none)]
        assert filled == [120, 0]

    with_client(use)


def test_a_test_order_is_validated_and_not_placed():
    async def use(venue, client):
        ioc = {"test": True, "timeInForce": "IOC"}
        await client.create_order(SYMBOL, "limit", "buy", 10, 0.8002, ioc)
        with pytest.raises(ccxt.InvalidOrder):
            await client.create_order(SYMBOL, "limit", "buy", 0.5, 0.8002, ioc)
        assert venue.engine.orders == {}

    with_client(use)


def test_fetch_my_trades():
    async def use(venue, client):
        order = await client.create_order(SYMBOL, "market", "buy", 10)
        (trade,) = await client.fetch_my_trades(SYMBOL)
        assert (trade["order"], trade["side"], trade["takerOrMaker"]) == (order["id"], "buy", "taker")
        assert (trade["price"], trade["amount"]) == (0.8002, 10)
        assert trade["fee"] == {"currency": "USDT", "cost": pytest.approx(8.002 * 0.0005)}
        assert await client.fetch_order_trades(order["id"], SYMBOL) == [trade]
        (row,) = await client.fetch_orders(SYMBOL)
        assert row["id"] == order["id"]

    with_client(use)


def test_cancel_all_orders():
    async def use(venue, client):
        for price in (0.78, 0.79):
            await client.create_order(SYMBOL, "limit", "buy", 10, price)
        await client.cancel_all_orders(SYMBOL)
        assert await client.fetch_open_orders() == []

    with_client(use)


def test_watch_ticker():
    ticker = with_client(lambda venue, client: client.watch_ticker(SYMBOL), ticking=True)
    assert (ticker["bid"], ticker["bidVolume"], ticker["ask"]) == (0.8, 100, 0.8002)
    assert ticker["timestamp"] > 0


def test_watch_order_book():
    async def use(venue, client):
        book = await client.watch_order_book(SYMBOL, params={"frequency": "10ms"})  # after 25 pushes and a snapshot
        assert (book["bids"], book["asks"][0][0]) == ([[0.8, 100]], 0.8002)
        venue.bid = "0.8001"
        while book["bids"] != [[0.8001, 100]]:
            book = await client.watch_order_book(SYMBOL, params={"frequency": "10ms"})

    with_client(use, ticking=True)


def test_watch_trades():
    async def use(venue, client):
        watched = asyncio.create_task(client.watch_trades(SYMBOL))
        await until(lambda: venue.face.hub.has(DEALS.replace("10ms", "100ms")))
        await client.create_order(SYMBOL, "market", "sell", 10)
        (trade,) = await watched
        assert (trade["side"], trade["price"], trade["amount"]) == ("sell", 0.8, 10)

    with_client(use)


def test_watch_orders_my_trades_and_balance_tell_one_story():
    async def use(venue, client):
        orders = asyncio.create_task(client.watch_orders(SYMBOL))
        trades = asyncio.create_task(client.watch_my_trades(SYMBOL))
        balance = asyncio.create_task(client.watch_balance())
        await until(lambda: all(venue.face.hub.has(channel) for channel in (ORDERS, FILLS, ACCOUNT)))
        params = {"timeInForce": "IOC", "clientOrderId": "ioc-1"}
        created = await client.create_order(SYMBOL, "limit", "buy", 150, 0.8002, params)
        (trade,), _, _ = await asyncio.gather(trades, orders, balance)
        while (order := client.orders[-1])["status"] == "open":
            await client.watch_orders(SYMBOL)
        looked_up = await client.fetch_order(created["id"], SYMBOL)
        assert (order["filled"], order["average"], order["clientOrderId"]) == (120, 0.8002, "ioc-1")
        assert order["filled"] == looked_up["filled"] == trade["amount"]
        assert order["status"] == "closed"  # ccxt's word for a partly filled, then cancelled one on this stream
        assert trade["info"]["clientOrderId"] == "ioc-1" and trade["fee"]["currency"] == "USDT"
        while client.balance["spot"]["USDT"]["used"]:
            await client.watch_balance()
        rest = await client.fetch_balance()
        assert client.balance["spot"]["total"] == rest["total"]

    with_client(use)


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - what is waited for is inside of the venue
        await asyncio.sleep(0.002)
