"""Venues at their unkindest: both of them, by script, seen by a plain client that knows nothing but the wire."""

import asyncio
import hashlib
import hmac
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal as D
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest

from delta_arb.errors import ParamsError
from delta_arb.sandbox.faults import Fault
from delta_arb.sandbox.http import end
from delta_arb.sandbox.mexc_push import schema
from delta_arb.sandbox.network import Network
from delta_arb.sandbox.venues import Venues, default_setup

FIXTURES = Path(__file__).resolve().parents[1].parent / "shared" / "fixtures"
PAIR = "SYN_USDT"
BOTH = pytest.mark.parametrize("name", ["mexc", "gate"])
ORDERS = "/api/v4/futures/usdt/orders"


def recorded(name):
    path = FIXTURES / name
    if not path.exists():
        pytest.skip(f"the fixture {name} is not here (looked in ../shared/fixtures beside the project)")
    return json.loads(path.read_text("utf-8"))


@dataclass
class Wire:
    """Signed requests and sockets of one venue."""

    venues: Venues
    name: str
    session: aiohttp.ClientSession

    @property
    def engine(self):
        return self.venues.spot if self.name == "mexc" else self.venues.perp

    def fault(self, at, do, **how):
        self.engine.faults.add(Fault(at, do, **how))

    async def order(self, qty=20, reduce_only=False, allow_redirects=False, client_id="one"):
        """Status, headers and text of the answer to an IOC order; positive quantities buy, base units."""
        how = {"allow_redirects": allow_redirects}
        price = "0.8002" if qty > 0 else "0.8"
        if self.name == "mexc":
            query = urlencode(
                {
                    "symbol": "SYNUSDT", "side": "BUY" if qty > 0 else "SELL", "type": "IMMEDIATE_OR_CANCEL",
                    "quantity": abs(qty), "price": price, "newClientOrderId": client_id,
                    "timestamp": time.time_ns() // 1_000_000,
                }
            )  # fmt: skip
            sign = hmac.new(b"mexc-secret", query.encode(), hashlib.sha256).hexdigest()
            url = f"{self.venues.urls['mexc']}/api/v3/order?{query}&signature={sign}"
            request = self.session.post(url, headers={"X-MEXC-APIKEY": "mexc-key"}, **how)
        else:
            contracts = qty // self.engine.listings[PAIR].contract_size
            order = {"contract": PAIR, "size": int(contracts), "price": price, "tif": "ioc", "text": f"t-{client_id}"}
            body, now = json.dumps(order | {"reduce_only": reduce_only}), str(int(time.time()))
            signed = f"POST\n{ORDERS}\n\n{hashlib.sha512(body.encode()).hexdigest()}\n{now}"
            sign = hmac.new(b"gate-secret", signed.encode(), hashlib.sha512).hexdigest()
            headers = {"KEY": "gate-key", "Timestamp": now, "SIGN": sign}
            request = self.session.post(self.venues.urls["gate"] + ORDERS, data=body, headers=headers, **how)
        async with request as answer:
            return answer.status, answer.headers, await answer.text()

    async def get(self, path):
        async with self.session.get(self.venues.urls[self.name] + path) as answer:
            return await answer.json()

    @asynccontextmanager
    async def quotes(self):
        """A socket subscribed to the best prices."""
        path = "/ws" if self.name == "mexc" else "/v4/ws/futures/usdt"
        async with self.session.ws_connect(self.venues.urls[self.name] + path) as ws:
            channel = "spot@public.aggre.bookTicker.v3.api.pb@10ms@SYNUSDT"
            await ws.send_json(
                {"method": "SUBSCRIPTION", "params": [channel]}
                if self.name == "mexc"
                else {"channel": "futures.book_ticker", "event": "subscribe", "payload": [PAIR]}
            )
            await ws.receive()
            yield ws


@asynccontextmanager
async def at(name, *faults, **how):
    async with (
        asyncio.timeout(10),
        Venues(default_setup(), faults, aggregated=False, **how) as venues,
        aiohttp.ClientSession() as session,
    ):
        venues.quote("0.8000", 500, "0.8002", 500)
        yield Wire(venues, name, session)


def on(name, use, *faults, **how):
    """Run `use(wire)` at one of two running venues."""

    async def go():
        async with at(name, *faults, **how) as wire:
            return await use(wire)

    return asyncio.run(go())


def quote_of(name, data):
    """Symbol, bid and ms of a push."""
    if name == "mexc":
        push = schema().FromString(data)
        return push.symbol, push.publicAggreBookTicker.bidPrice, push.sendTime
    row = json.loads(data)["result"]
    return row["s"], row["b"], row["t"]


# Answers that prove nothing


@BOTH
@pytest.mark.parametrize("status", [403, 418, 429])
def test_an_order_is_taken_and_answered_by_a_gateway_with_a_bare_page(name, status):
    async def use(wire):
        wire.fault("order.create", "error_after", status=status, bare=True, retry_after_s=7)
        answered, headers, text = await wire.order()
        assert (answered, headers["Retry-After"], headers["Content-Type"]) == (status, "7", "text/html")
        assert text == f"<html><h1>{status}</h1></html>"
        assert [order.filled for order in wire.engine.orders.values()] == [20]

    on(name, use)


@BOTH
def test_an_order_is_taken_and_answered_with_a_code_that_no_document_has(name):
    code = {"mexc": "424242", "gate": "NEVER_HEARD_OF"}[name]

    async def use(wire):
        wire.fault("order.create", "error_after", status=400, code=code)
        status, _, text = await wire.order()
        assert (status, code in text) == (400, True)
        assert [order.filled for order in wire.engine.orders.values()] == [20]

    on(name, use)


@BOTH
def test_a_rate_limit_says_how_long_to_wait_and_a_ban_is_418(name):
    async def use(wire):
        wire.fault("order.create", "rate_limit", retry_after_s=15)
        wire.fault("order.create", "rate_limit", status=418, retry_after_s=120)
        assert [
            (status, headers["Retry-After"]) for status, headers, _ in [await wire.order(), await wire.order()]
        ] == [
            (429, "15"),
            (418, "120"),
        ]
        assert wire.engine.orders == {}

    on(name, use)


@BOTH
def test_a_redirect_leads_to_another_host_where_keys_would_be_seen(name):
    async def use(wire):
        wire.fault("order.create", "redirect", times=2)
        status, headers, _ = await wire.order()
        assert (status, headers["Location"].startswith("http://localhost:")) == (307, True)
        assert wire.engine.faults.fired(at="elsewhere") == []
        await wire.order(allow_redirects=True)  # what no client of ours may do
        [came] = wire.engine.faults.fired(at="elsewhere")
        assert came.detail.startswith("POST /elsewhere/api/") and came.detail.endswith(" with keys")
        assert wire.engine.orders == {}

    on(name, use)


def test_every_refusal_of_the_documents_comes_as_documented():
    codes = {int(row["code"]) for row in recorded("mexc_docs_errors.json")["errors"]}

    async def use(wire):
        for code in codes:
            wire.fault("order.create", "refuse", code=str(code))
            status, _, text = await wire.order()
            assert json.loads(text)["code"] == code
            assert status >= 400
        assert wire.engine.orders == {}

    on("mexc", use)


def test_every_recorded_refusal_of_gate_comes_as_recorded():
    rows = [row for row in recorded("gate_errors_recorded.json")["errors"] if "label" in row["body"]]

    async def use(wire):
        for row in rows:
            wire.fault("order.create", "refuse", code=row["body"]["label"], status=row["http_status"])
            status, _, text = await wire.order()
            assert (status, json.loads(text)["label"]) == (row["http_status"], row["body"]["label"])
        assert wire.engine.orders == {}

    on("gate", use)


@BOTH
def test_a_refusal_that_will_not_change(name):
    code = {"mexc": "30016", "gate": "CONTRACT_IN_DELISTING"}[name]

    async def use(wire):
        wire.fault("order.create", "refuse", code=code, times=0)
        assert {code in (await wire.order())[2] for _ in range(5)} == {True}

    on(name, use)


# Messages that nobody expects


def test_gate_announces_its_upgrade_as_it_documents():
    async def use(wire):
        async with wire.quotes() as ws:
            wire.fault("socket", "upgrade_notice", times=7, seconds=0.01)
            notices = [json.loads((await ws.receive()).data) for _ in range(7)]
        for notice in notices:
            assert (notice["channel"], notice["event"]) == ("futures.system", "update")
            assert notice["result"] == {
                "type": "upgrade",
                "msg": "The connection will soon be closed for a service upgrade. Please reconnect.",
            }

    on("gate", use)


@pytest.mark.parametrize(
    ("code", "channel", "result"),
    [("channel", "futures.unknown", list), ("shape", "futures.book_ticker", dict)],
)
def test_gate_says_what_no_client_knows(code, channel, result):
    async def use(wire):
        async with wire.quotes() as ws:
            wire.fault("socket", "unknown_message", code=code)
            frame = json.loads((await ws.receive()).data)
        assert (frame["channel"], type(frame["result"])) == (channel, result)

    on("gate", use)


@pytest.mark.parametrize(
    ("code", "channel"), [("channel", "spot@public.unknown"), ("shape", "spot@public.aggre.bookTicker")]
)
def test_mexc_says_what_no_client_knows(code, channel):
    async def use(wire):
        async with wire.quotes() as ws:
            wire.fault("socket", "unknown_message", code=code)
            push = schema().FromString((await ws.receive()).data)
        assert push.channel.startswith(channel) and push.WhichOneof("body") is None

    on("mexc", use)


@BOTH
def test_a_text_that_is_no_message(name):
    async def use(wire):
        async with wire.quotes() as ws:
            wire.fault("socket", "unknown_message", code="text")
            assert (await ws.receive()).data == "maintenance"

    on(name, use)


@BOTH
def test_a_quote_of_another_contract_comes_after_the_true_one(name):
    async def use(wire):
        async with wire.quotes() as ws:
            wire.fault("stream.ticker", "foreign")
            wire.venues.quote("0.7000", 500, "0.7002", 500)
            return [quote_of(name, (await ws.receive()).data)[:2] for _ in range(2)]

    other = {"mexc": ("SYNUSDT", "OTHERUSDT"), "gate": (PAIR, "OTHER_USDT")}[name]
    assert on(name, use) == [(other[0], "0.7"), (other[1], "0.35")]


@BOTH
def test_a_stamp_of_the_future(name):
    async def use(wire):
        async with wire.quotes() as ws:
            wire.fault("stream.ticker", "restamp", seconds=3600)
            wire.venues.quote("0.7000", 500, "0.7002", 500)
            return quote_of(name, (await ws.receive()).data)[2] - time.time_ns() // 1_000_000

    assert 3_590_000 < on(name, use) <= 3_600_000


# Terms that change


def test_a_multiplier_changes_while_a_position_is_open_and_the_position_can_be_closed():
    async def use(wire):
        await wire.order(-60)
        wire.fault("market", "terms", terms="contract_size=100")
        row = await wire.get(f"/api/v4/futures/usdt/contracts/{PAIR}")
        assert (row["quanto_multiplier"], row["order_size_min"]) == ("100", 1)
        assert row["config_change_time"] >= int(time.time()) - 1
        await wire.order(-100, client_id="two")  # one contract, which is ten times as much as before
        assert wire.engine.account.position(PAIR).size == -160
        for client_id in ("three", "four"):
            answer = json.loads((await wire.order(100, reduce_only=True, client_id=client_id))[2])
        assert (answer["size"], answer["left"], answer["finish_as"]) == (1, 0.4, "reduce_only")  # 60 of 100 coins
        assert wire.engine.account.position(PAIR).size == 0
        end(wire.venues.gate, wire.engine.faults.script[0])
        assert (await wire.get(f"/api/v4/futures/usdt/contracts/{PAIR}"))["quanto_multiplier"] == "10"

    on("gate", use)


def test_tick_minimum_and_notional_change_on_the_spot_market():
    async def use(wire):
        wire.fault("market", "terms", terms="price_step=0.001, qty_step=0.1, min_qty=50, min_notional=40")
        [row] = (await wire.get("/api/v3/exchangeInfo"))["symbols"]
        assert (row["quotePrecision"], row["baseAssetPrecision"]) == (3, 1)
        assert (row["baseSizePrecision"], row["quoteAmountPrecision"]) == ("50", "40")
        assert "30002" in (await wire.order(20))[2] or "scale" in (await wire.order(20))[2]

    on("mexc", use)


@pytest.mark.parametrize("terms", ["", "qty_step", "qty_step=much", "leverage_max=3", "min_qty=-1"])
def test_terms_that_mean_nothing_are_refused(terms):
    with pytest.raises(ParamsError, match="contract_size"):
        Fault("market", "terms", terms=terms)


def test_an_inactive_market_is_flagged_and_can_be_left():
    async def mexc(wire):
        wire.fault("market", "inactive")
        assert (await wire.get("/api/v3/exchangeInfo"))["symbols"][0]["isSpotTradingAllowed"] is False
        assert (await wire.get("/api/v3/defaultSymbols"))["data"] == []
        assert (await wire.order())[0] == 200

    async def gate(wire):
        wire.fault("market", "inactive")
        row = await wire.get(f"/api/v4/futures/usdt/contracts/{PAIR}")
        assert (row["in_delisting"], row["status"]) == (True, "delisting")
        assert (await wire.order())[0] == 201
        end(wire.venues.gate, wire.engine.faults.script[0])
        assert (await wire.get(f"/api/v4/futures/usdt/contracts/{PAIR}"))["status"] == "trading"

    on("mexc", mexc)
    on("gate", gate)


# The network


@BOTH
def test_every_message_takes_its_time_over_the_network(name):
    async def use(wire):
        began = time.perf_counter()
        assert (await wire.order())[0] in (200, 201)
        round_trip_s = time.perf_counter() - began
        async with wire.quotes() as ws:
            began = time.perf_counter()
            wire.venues.quote("0.7000", 500, "0.7002", 500)
            await ws.receive()
            return round_trip_s, time.perf_counter() - began

    order_s, push_s = on(name, use, network=Network(0.1, 0.1))
    assert 0.1 <= order_s < 2 and 0.05 <= push_s < 2  # this machine is shared


def test_delays_are_drawn_as_stated_and_the_same_for_a_seed():
    draws = [2 * Network(0.005, 0.150, seed).one_way_s() for seed in range(2000)]
    assert min(draws) >= 0.005 and max(draws) <= 0.150
    assert sorted(draws)[1000] == pytest.approx(0.0274, rel=0.1)  # the square root of 5 * 150 ms
    assert sorted(draws)[1800] == pytest.approx(0.1067, rel=0.1)  # 5 * 30 ** 0.9 ms
    one, two = Network(0.005, 0.150, 7), Network(0.005, 0.150, 7)
    assert [one.one_way_s() for _ in range(9)] == [two.one_way_s() for _ in range(9)]


def test_pushes_over_a_network_keep_their_order():
    async def use(wire):
        async with wire.quotes() as ws:
            for step in range(1, 50):
                wire.venues.quote(D("0.5") + step * D("0.0001"), 500, "0.8002", 500)
            return [quote_of("gate", (await ws.receive()).data)[1] for _ in range(49)]

    bids = on("gate", use, network=Network(0.001, 0.02))
    assert bids == sorted(bids)


@pytest.mark.parametrize("bounds", [(0.2, 0.1), (-1, 1), (0, 0.1), (1, 70)])
def test_a_delay_that_cannot_be_meant_is_refused(bounds):
    with pytest.raises(ParamsError, match="round trip"):
        Network(*bounds)
