"""MEXC spot on loopback: REST. Sockets, listen keys and pushes are in `mexc_stream`.

Parameters come in the query string, also of POST and DELETE. An order type decides its time in force: a `timeInForce`
beside `type=LIMIT` is ignored, as reported of the venue.

Left out, since no client of ours uses it: streams of candles and of partial depth, batch and stop orders, market orders
by value, fill-or-kill, margin, transfers, sub-accounts.
"""

from collections.abc import Callable, Iterable
from typing import Any

from delta_arb.market import MS
from delta_arb.sandbox import mexc_messages as shapes
from delta_arb.sandbox import values as v
from delta_arb.sandbox.candles import Candles
from delta_arb.sandbox.engine import Engine
from delta_arb.sandbox.faults import Fault
from delta_arb.sandbox.http import Answer, Request, Route
from delta_arb.sandbox.mexc_push import rewritten_push
from delta_arb.sandbox.mexc_requests import (
    CODES,
    REFUSALS,
    MexcError,
    Orders,
    integer,
    limit,
    pair_asked,
    pair_named,
    time_range,
    verify,
)
from delta_arb.sandbox.mexc_stream import Limits, MexcStream
from delta_arb.sandbox.network import Hub, Limiter
from delta_arb.sandbox.values import text

UID = "49910511"  # of the account
WEIGHTS = {"/account": 10, "/capital/config/getall": 10, "/openOrders": 3, "/myTrades": 10}  # of an address; others 1

# On MEXC a post-only order that would take is accepted and cancelled at once.
SETTINGS = v.Settings(post_only_refused=False)


def documented_limiter() -> Limiter:
    """A weight of 300 in 10 s, and two minutes of ban for who goes on after that."""
    return Limiter(300, 10.0, per_hook=False, ban_s=120.0)


class Mexc:
    """The venue's protocol; see `http.VenueApi`.

    Args:
        engine: of a spot venue.
        key, secret: the account's.
        limiter: of requests, such as `documented_limiter()`; None for no limit.
        limits: of sockets and listen keys.
        aggregated: pushes of public streams in their 10 and 100 ms windows; False pushes each change at once.
    """

    name = "mexc"
    socket_path = "/ws"
    hub: Hub

    def __init__(
        self,
        engine: Engine,
        key: str = "mexc-key",
        secret: str = "mexc-secret",
        limiter: Limiter | None = None,
        *,
        limits: Limits | None = None,
        aggregated: bool = True,
    ) -> None:
        self.engine, self.key, self.limiter = engine, v.ApiKey(key, secret), limiter
        self.orders = Orders(engine)
        self.candles = Candles(engine)
        self.stream = MexcStream(self, limits or Limits(), aggregated)
        self.opened, self.received, self.begin_fault = self.stream.opened, self.stream.received, self.stream.begin_fault
        self.rewritten = rewritten_push

    def config(self, base_url: str) -> dict[str, Any]:
        """What to construct `ccxt.pro.mexc` with."""
        rest, contract = base_url, f"{base_url}/api/v1/contract"
        return {
            "apiKey": self.key.key,
            "secret": self.key.secret,
            "urls": {
                "api": {
                    "spot": {"public": rest, "private": rest},
                    "contract": {"public": contract, "private": contract},
                    "ws": {"spot": f"ws{rest.removeprefix('http')}/ws"},
                }
            },
        }

    def routes(self) -> Iterable[Route]:
        yield Route("GET", "/api/v3/ping", "time", lambda request: {})
        yield Route("GET", "/api/v3/time", "time", lambda request: {"serverTime": self.engine.clock.now_ms()})
        yield Route("GET", "/api/v3/exchangeInfo", "markets", self._exchange_info, weight=10)
        yield Route("GET", "/api/v3/defaultSymbols", "markets", lambda request: self._success(self._open_to_programs()))
        yield Route("GET", "/api/v1/contract/detail", "markets", lambda r: {"success": True, "code": 0, "data": []})
        yield Route("GET", "/api/v3/depth", "book", self._depth)
        yield Route("GET", "/api/v3/klines", "candles", self._klines)
        yield Route("GET", "/api/v3/aggTrades", "trades", self._agg_trades)
        yield Route("GET", "/api/v3/ticker/bookTicker", "tickers", self._book_ticker)
        yield Route("GET", "/api/v3/ticker/price", "tickers", self._price)
        yield Route("GET", "/api/v3/ticker/24hr", "tickers", self._ticker)
        for method, path, hook, handler in (
            ("GET", "/capital/config/getall", "account", self._coins),
            ("GET", "/account", "account", self._account),
            ("GET", "/tradeFee", "fee", self._fee),
            ("GET", "/uid", "rights", lambda request: {"uid": UID}),
            ("GET", "/apiKeyInfo", "rights", self._key_info),
            ("GET", "/capital/withdraw/history", "rights", self._withdrawals),
            ("POST", "/order", "order.create", self.orders.create),
            ("POST", "/order/test", "order.create", self.orders.test),
            ("GET", "/order", "order.fetch", self.orders.fetch),
            ("DELETE", "/order", "order.cancel", self.orders.cancel),
            ("GET", "/openOrders", "orders.open", self.orders.open),
            ("DELETE", "/openOrders", "order.cancel", self.orders.cancel_all),
            ("GET", "/myTrades", "trades.mine", self.orders.trades),
            ("POST", "/userDataStream", "listen_key", lambda r: {"listenKey": self.stream.keys.create()}),
            ("GET", "/userDataStream", "listen_key", lambda r: {"listenKey": self.stream.keys.alive()}),
            ("PUT", "/userDataStream", "listen_key", self._listen_key(self.stream.keys.extend)),
            ("DELETE", "/userDataStream", "listen_key", self._listen_key(self.stream.keys.delete)),
        ):
            yield Route(method, f"/api/v3{path}", hook, handler, signed=True, weight=WEIGHTS.get(path, 1))

    def authorize(self, request: Request) -> None:
        body = request.body.decode(errors="replace")
        verify(request.query_string, body, request.headers, self.key, self.engine.clock.now_ms())

    def refused(self, refusal: v.Refusal) -> Answer:
        if not isinstance(refusal, MexcError):
            refusal = MexcError(CODES.get(type(refusal), 33333))
        return Answer(refusal.body, refusal.status)

    def fault_answer(self, fault: Fault) -> Answer:
        if fault.do == "rate_limit":
            return Answer(MexcError(429).body, fault.status or 429, {"Retry-After": "10"})
        if fault.do == "refuse":
            return self.refused(MexcError(integer({"code": fault.code}, "code", 0)))
        status = fault.status or 503
        if fault.code:
            return Answer(MexcError(integer({"code": fault.code}, "code", 0)).body, status)
        # A gateway's own errors (502 and the like) come without the venue's JSON.
        return Answer(MexcError(status).body if status in REFUSALS else b"", status)

    # Markets

    def _exchange_info(self, request: Request) -> dict:
        wanted = (
            request.query.get("symbols")
            or request.query.get("symbol")
            or ",".join(shapes.symbol_of(listing.pair) for listing in self.engine.shown)
        )
        named = [pair_named(self.engine, symbol) for symbol in wanted.split(",") if symbol]
        rows = [
            shapes.market(self.engine.listed(pair), self.engine.settings, self.engine.is_trading(pair))
            for pair in named
        ]
        now_ms = self.engine.clock.now_ms()
        return {"timezone": "CST", "serverTime": now_ms, "rateLimits": [], "exchangeFilters": [], "symbols": rows}

    def _depth(self, request: Request) -> dict:
        book = self.engine.books[pair_asked(self.engine, request)]
        most = limit(request.query, 100, 5000)
        bids, asks = ([[text(price), text(qty)] for price, qty in book.levels(side, most)] for side in (v.BUY, v.SELL))
        return {"lastUpdateId": book.id, "bids": bids, "asks": asks, "timestamp": self.engine.clock.now_ms()}

    def _klines(self, request: Request) -> list:
        interval = request.query.get("interval", "")
        if interval not in shapes.INTERVALS_S:
            raise MexcError(700008, param="interval")
        seconds = shapes.INTERVALS_S[interval]
        start_ms, end_ms = time_range(request.query)
        most, end_s = (limit(request.query, 500, 500), min(end_ms // 1000, self.engine.clock.now_ms() // 1000))
        if "startTime" in request.query:
            first_s = -(-start_ms // 1000)
            end_s = min(end_s, first_s + 2 * most * seconds)
        else:
            first_s = end_s - 2 * most * seconds
        candles = self.candles.between(pair_asked(self.engine, request), seconds, first_s, end_s)
        chosen = candles[:most] if "startTime" in request.query else candles[-most:]
        return [shapes.kline(candle, seconds) for candle in chosen]

    def _agg_trades(self, request: Request) -> list:
        """Public trades, newest first."""
        start_ms, end_ms = time_range(request.query)
        newest = reversed(self.engine.prints[pair_asked(self.engine, request)])
        deals = [shapes.agg_trade(deal) for deal in newest if start_ms <= deal.ts_ns // MS <= end_ms]
        return deals[: limit(request.query, 500, 1000)]

    def _book_ticker(self, request: Request) -> dict | list:
        return self._each(request, lambda pair: shapes.book_ticker(self._quote(pair)))

    def _price(self, request: Request) -> dict | list:
        last = self.candles.last
        return self._each(request, lambda pair: {"symbol": shapes.symbol_of(pair), "price": text(last(pair))})

    def _ticker(self, request: Request) -> dict | list:
        def row(pair: str) -> dict:
            return shapes.ticker(self._quote(pair), self.candles.merged(pair, 60)[-1440:], self.engine.clock.now_ms())

        return self._each(request, row)

    def _each(self, request: Request, row: Callable[[str], dict]) -> dict | list:
        """One row when a symbol is given, else all."""
        if "symbol" in request.query:
            return row(pair_asked(self.engine, request))
        return [row(pair) for pair in self.engine.listings]

    def _quote(self, pair: str) -> v.Quote:
        return self.engine.books[pair].quote(self.engine.clock.now_ns())

    # Account

    def _coins(self, request: Request) -> list:
        return [shapes.coin_row(coin) for coin in self._all_coins()]

    def _account(self, request: Request) -> dict:
        wallet = self.engine.account
        return shapes.account({coin: (wallet.free[coin], wallet.locked[coin]) for coin in self._all_coins()})

    def _key_info(self, request: Request) -> dict:
        unbound = self.engine.faults.take("key", ("unbound",))
        return {"note": "delta_arb", "apikey": self.key.key, "ipWhiteList": "" if unbound else "127.0.0.1"}

    def _withdrawals(self, request: Request) -> list:
        """None was ever made; a key without the right to withdraw may not even ask."""
        if not self.engine.faults.take("key", ("may_withdraw",)):
            raise MexcError(700007)
        return []

    def _all_coins(self) -> list[str]:
        listed = {coin for listing in self.engine.listings.values() for coin in (listing.base, listing.quote)}
        return sorted(listed | set(self.engine.account.coins()))

    def _fee(self, request: Request) -> dict:
        pair_asked(self.engine, request)
        fees = self.engine.settings
        return self._success({"makerCommission": float(fees.maker_fee), "takerCommission": float(fees.taker_fee)})

    def _success(self, data: Any) -> dict:
        return {"data": data, "code": 0, "msg": "success", "timestamp": self.engine.clock.now_ms()}

    def _listen_key(self, act: Callable[[str], None]) -> Callable[[Request], dict]:
        def handle(request: Request) -> dict:
            key = request.query.get("listenKey", "")
            act(key)
            return {"listenKey": key}

        return handle

    def _open_to_programs(self) -> list[str]:
        return [shapes.symbol_of(pair) for pair in self.engine.listings if self.engine.is_trading(pair)]
