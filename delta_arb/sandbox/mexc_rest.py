"""MEXC spot, as its clients see it: the face of markets and account, and the way to orders, pushes and sockets.

Orders are in `mexc_orders`, pushes in `mexc_push`, sockets and listen keys in `mexc_stream`, rows in `mexc_messages`,
signatures, parameters and refusals in `mexc_wire`. Parameters come in the query string, also of POST and DELETE.

Left out, since no client of ours uses it: streams of candles and of partial depth, batch and stop orders, margin,
transfers, sub-accounts, fees paid in MX. Weights of requests are not counted, only their number per endpoint.
"""

from collections.abc import Callable, Iterable
from typing import Any

from delta_arb.sandbox import mexc_messages as shapes
from delta_arb.sandbox.candles import Candles
from delta_arb.sandbox.engine import Engine
from delta_arb.sandbox.faults import Fault
from delta_arb.sandbox.http import Answer, Hub, Limiter, Request, Route, Socket
from delta_arb.sandbox.mexc_messages import MS
from delta_arb.sandbox.mexc_orders import CODES, Orders
from delta_arb.sandbox.mexc_push import Pushes
from delta_arb.sandbox.mexc_stream import Limits, MexcSockets
from delta_arb.sandbox.mexc_wire import REFUSALS, Refused, integer, limit, present, time_range, verify
from delta_arb.sandbox.values import BUY, SELL, Print, Quote, Refusal, Settings, UnknownPair, text

# On MEXC a post-only order that would take, and a fill-or-kill that cannot fill, are accepted and cancelled at once.
SETTINGS = Settings(post_only_refused=False, fok_refused=False)


def documented_limiter() -> Limiter:
    """500 requests of each endpoint in 10 s."""
    return Limiter(500, 10.0)


class Mexc:
    """The venue's face; see `wire.Face`.

    Args:
        engine: of a spot venue.
        key, secret: the account's.
        limiter: of requests, such as `documented_limiter()`; None for no limit.
        limits: of sockets and listen keys.
        aggregated: pushes of public streams in their 10 and 100 ms windows; False pushes each change at once.
    """

    name = "mexc"
    socket_paths = ("/ws",)
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
        self.engine, self.key, self.secret, self.limiter = engine, key, secret, limiter
        self.pairs = {shapes.symbol_of(pair): pair for pair in engine.listings}
        self.orders = Orders(self)
        self.candles = Candles(engine)
        self.pushes = Pushes(self, aggregated)
        self.sockets = MexcSockets(self, limits or Limits())

    def config(self, base_url: str) -> dict[str, Any]:
        """What to construct `ccxt.pro.mexc` with."""
        rest, contract = f"{base_url}/{self.name}", f"{base_url}/{self.name}/api/v1/contract"
        return {
            "apiKey": self.key,
            "secret": self.secret,
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
        yield Route("GET", "/api/v3/exchangeInfo", "markets", self._exchange_info)
        yield Route("GET", "/api/v3/defaultSymbols", "markets", lambda request: self._success(self._open_to_programs()))
        yield Route("GET", "/api/v1/contract/detail", "markets", lambda r: {"success": True, "code": 0, "data": []})
        yield Route("GET", "/api/v3/depth", "book", self._depth)
        yield Route("GET", "/api/v3/klines", "candles", self._klines)
        yield Route("GET", "/api/v3/aggTrades", "trades", self._agg_trades)
        yield Route("GET", "/api/v3/trades", "trades", self._recent_trades)
        yield Route("GET", "/api/v3/ticker/bookTicker", "tickers", self._book_ticker)
        yield Route("GET", "/api/v3/ticker/price", "tickers", self._price)
        yield Route("GET", "/api/v3/ticker/24hr", "tickers", self._ticker)
        for method, path, hook, handler in (
            ("GET", "/capital/config/getall", "account", self._coins),
            ("GET", "/account", "account", self._account),
            ("GET", "/tradeFee", "fee", self._fee),
            ("GET", "/apiKeyInfo", "rights", self._key_info),
            ("GET", "/capital/withdraw/history", "rights", self._withdrawals),
            ("POST", "/order", "order.create", self.orders.create),
            ("POST", "/order/test", "order.create", self.orders.test),
            ("GET", "/order", "order.fetch", self.orders.fetch),
            ("DELETE", "/order", "order.cancel", self.orders.cancel),
            ("GET", "/openOrders", "orders.open", self.orders.open),
            ("DELETE", "/openOrders", "order.cancel", self.orders.cancel_all),
            ("GET", "/allOrders", "orders.all", self.orders.all),
            ("GET", "/myTrades", "trades.mine", self.orders.trades),
            ("POST", "/userDataStream", "listen_key", lambda r: {"listenKey": self.sockets.keys.create()}),
            ("GET", "/userDataStream", "listen_key", lambda r: {"listenKey": self.sockets.keys.alive()}),
            ("PUT", "/userDataStream", "listen_key", self._listen_key(self.sockets.keys.extend)),
            ("DELETE", "/userDataStream", "listen_key", self._listen_key(self.sockets.keys.delete)),
        ):
            yield Route(method, f"/api/v3{path}", hook, handler, signed=True)

    # What the server asks of a face

    def authorize(self, request: Request) -> None:
        body = request.body.decode(errors="replace")
        keys = {self.key: self.secret}
        verify(request.query_string, body, request.headers, keys, self.engine.clock.now_ms())

    def refused(self, refusal: Refusal) -> Answer:
        if not isinstance(refusal, Refused):
            refusal = Refused(CODES.get(type(refusal), 33333))
        return Answer(refusal.body, refusal.status)

    def fault_answer(self, fault: Fault) -> Answer:
        if fault.do == "rate_limit":
            refusal = Refused(429)
            return Answer(refusal.body, refusal.status, {"Retry-After": "10"})
        if fault.do == "refuse":
            return self.refused(Refused(integer({"code": fault.code}, "code", 0)))
        status = fault.status or 503
        # A gateway's own errors (502 and the like) come without the venue's JSON.
        return Answer(Refused(status).body if status in REFUSALS else b"", status)

    def opened(self, socket: Socket) -> None:
        self.sockets.opened(socket)

    def received(self, socket: Socket, message: str | bytes) -> None:
        self.sockets.received(socket, message)

    def closed(self, socket: Socket) -> None:
        """Nothing is kept of a socket that is gone."""

    def on_fault(self, fault: Fault) -> None:
        self.sockets.keys.kill()

    # Markets

    def _exchange_info(self, request: Request) -> dict:
        wanted = request.query.get("symbols") or request.query.get("symbol") or ",".join(self.pairs)
        pairs = [self.pair_named(symbol) for symbol in wanted.split(",")]
        rows = [
            shapes.market(self.engine.listings[pair], self.engine.settings, pair not in self.engine.delisting)
            for pair in pairs
        ]
        now_ms = self.engine.clock.now_ms()
        return {"timezone": "CST", "serverTime": now_ms, "rateLimits": [], "exchangeFilters": [], "symbols": rows}

    def _depth(self, request: Request) -> dict:
        book = self.engine.books[self.pair(request)]
        most = limit(request.query, 100, 5000)
        bids, asks = ([[text(price), text(qty)] for price, qty in book.levels(side, most)] for side in (BUY, SELL))
        return {"lastUpdateId": book.id, "bids": bids, "asks": asks, "timestamp": self.engine.clock.now_ms()}

    def _klines(self, request: Request) -> list:
        interval = request.query.get("interval", "")
        if interval not in shapes.INTERVALS_S:
            raise Refused(700008, param="interval")
        seconds = shapes.INTERVALS_S[interval]
        start_ms, end_ms = time_range(request.query)
        candles = [
            c for c in self.candles.merged(self.pair(request), seconds) if start_ms <= c.start_s * 1000 <= end_ms
        ]
        most = limit(request.query, 500, 500)
        chosen = candles[:most] if "startTime" in request.query else candles[-most:]
        return [shapes.kline(candle, seconds) for candle in chosen]

    def _agg_trades(self, request: Request) -> list:
        return [shapes.agg_trade(deal) for deal in self._prints(request)]

    def _recent_trades(self, request: Request) -> list:
        return [shapes.recent_trade(deal) for deal in self._prints(request)]

    def _prints(self, request: Request) -> list[Print]:
        """Public trades, newest first."""
        start_ms, end_ms = time_range(request.query)
        deals = [d for d in reversed(self.engine.prints[self.pair(request)]) if start_ms <= d.ts_ns // MS <= end_ms]
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
            return row(self.pair(request))
        return [row(pair) for pair in self.engine.listings]

    def _quote(self, pair: str) -> Quote:
        return self.engine.books[pair].quote(self.engine.clock.now_ns())

    # Account

    def _coins(self, request: Request) -> list:
        return [shapes.coin_row(coin) for coin in self._all_coins()]

    def _account(self, request: Request) -> dict:
        wallet = self.engine.account
        return shapes.account({coin: (wallet.free[coin], wallet.locked[coin]) for coin in self._all_coins()})

    def _key_info(self, request: Request) -> dict:
        unbound = self.engine.faults.take("key", ("unbound",))
        return {"note": "delta_arb", "apikey": self.key, "ipWhiteList": "" if unbound else "127.0.0.1"}

    def _withdrawals(self, request: Request) -> list:
        """None was ever made; a key without the right to withdraw may not even ask."""
        if not self.engine.faults.take("key", ("may_withdraw",)):
            raise Refused(700007)
        return []

    def _all_coins(self) -> list[str]:
        listed = {coin for listing in self.engine.listings.values() for coin in (listing.base, listing.quote)}
        return sorted(listed | set(self.engine.account.coins()))

    def _fee(self, request: Request) -> dict:
        self.pair(request)
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

    def pair(self, request: Request) -> str:
        return self.pair_named(present(request.query, "symbol"))

    def _open_to_programs(self) -> list[str]:
        return [symbol for symbol, pair in self.pairs.items() if pair not in self.engine.delisting]

    def pair_named(self, symbol: str) -> str:
        if symbol not in self.pairs:
            raise UnknownPair(symbol)
        return self.pairs[symbol]
