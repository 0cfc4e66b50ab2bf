"""MEXC spot, as its REST clients see it: paths, parameters, rows and codes; pushes and sockets are beside it.

Parameters come in the query string, also of POST and DELETE. An order type decides its time in force: a `timeInForce`
beside `type=LIMIT` is ignored, as reported of the venue. Refusals that MEXC documents no code for are marked in
`mexc_wire`.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from . import mexc_shapes as shapes
from . import rules
from .candles import Candles
from .engine import Engine
from .faults import Fault
from .mexc_push import Pushes
from .mexc_shapes import MS, order_number
from .mexc_socket import Limits, Sessions
from .mexc_wire import REFUSALS, Refused, verify
from .server import Answer, Hub, Limiter, Request, Route, Socket
from .values import (
    BOTH,
    BUY,
    FOK,
    GTC,
    IOC,
    LIMIT,
    MARKET,
    POST_ONLY,
    SELL,
    ZERO,
    AboveMaximum,
    BadPrecision,
    BelowMinimum,
    BelowNotional,
    CannotFill,
    DuplicateClientId,
    InsufficientFunds,
    NotTrading,
    Order,
    OrderFinished,
    PriceTooDeviated,
    Refusal,
    Settings,
    UnknownOrder,
    UnknownPair,
    WouldTakeLiquidity,
    text,
)

KEY, SECRET = "mx0-sandbox", "sandbox-secret"
TYPES = {
    "LIMIT": (LIMIT, GTC),
    "MARKET": (MARKET, IOC),
    "LIMIT_MAKER": (LIMIT, POST_ONLY),
    "IMMEDIATE_OR_CANCEL": (LIMIT, IOC),
    "FILL_OR_KILL": (LIMIT, FOK),
}
CODES: dict[type[Refusal], int] = {
    UnknownPair: -1121,
    NotTrading: 30016,
    InsufficientFunds: 10101,
    BelowMinimum: 30002,
    BelowNotional: 30002,
    AboveMaximum: 30003,
    BadPrecision: 400,
    PriceTooDeviated: 30087,
    WouldTakeLiquidity: 30041,
    CannotFill: 30025,
    UnknownOrder: -2013,
    OrderFinished: -2011,
    DuplicateClientId: 603,
}
MAX_OPEN_ORDERS = 500
# On MEXC a post-only order that would take, and a fill-or-kill that cannot fill, are accepted and cancelled at once.
SETTINGS = Settings(post_only_refused=False, fok_refused=False)


def documented_limiter() -> Limiter:
    """500 requests of each endpoint in 10 s."""
    return Limiter(500, 10.0)


class Mexc:
    """The venue's face; see `server.Face`.

    Args:
        engine: of a spot venue.
        keys: API key -> secret.
        limits: of sockets and listen keys.
        limiter: of requests; None for no limit.
        aggregated: pushes of public streams in their 10 and 100 ms windows; False pushes each change at once.
    """

    name = "mexc"
    socket_paths = ("/ws",)
    hub: Hub

    def __init__(
        self,
        engine: Engine,
        keys: Mapping[str, str] | None = None,
        *,
        limits: Limits | None = None,
        limiter: Limiter | None = None,
        aggregated: bool = True,
    ) -> None:
        self.engine, self.limiter = engine, limiter
        self.keys = {KEY: SECRET} if keys is None else dict(keys)
        self.pairs = {shapes.symbol_of(pair): pair for pair in engine.listings}
        self.candles = Candles(engine)
        self.pushes = Pushes(self, aggregated)
        self.sessions = Sessions(self, limits or Limits())

    def config(self, base_url: str) -> dict[str, Any]:
        """What to construct `ccxt.pro.mexc` with."""
        rest, contract = f"{base_url}/{self.name}", f"{base_url}/{self.name}/api/v1/contract"
        key = next(iter(self.keys))
        return {
            "apiKey": key,
            "secret": self.keys[key],
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
        yield Route("GET", "/api/v3/defaultSymbols", "markets", lambda request: self._success(list(self.pairs)))
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
            ("POST", "/order", "order.create", self._create),
            ("POST", "/order/test", "order.create", self._test_order),
            ("GET", "/order", "order.fetch", self._fetch),
            ("DELETE", "/order", "order.cancel", self._cancel),
            ("GET", "/openOrders", "orders.open", self._open_orders),
            ("DELETE", "/openOrders", "order.cancel", self._cancel_all),
            ("GET", "/allOrders", "orders.all", self._all_orders),
            ("GET", "/myTrades", "trades.mine", self._my_trades),
            ("POST", "/userDataStream", "listen_key", lambda r: {"listenKey": self.sessions.keys.create()}),
            ("GET", "/userDataStream", "listen_key", lambda r: {"listenKey": self.sessions.keys.alive()}),
            ("PUT", "/userDataStream", "listen_key", self._listen_key(self.sessions.keys.extend)),
            ("DELETE", "/userDataStream", "listen_key", self._listen_key(self.sessions.keys.delete)),
        ):
            yield Route(method, f"/api/v3{path}", hook, handler, signed=True)

    # What the server asks of a face

    def authorize(self, request: Request) -> None:
        body = request.body.decode(errors="replace")
        verify(request.query_string, body, request.headers, self.keys, self.engine.clock.now_ms())

    def refused(self, refusal: Refusal) -> Answer:
        if not isinstance(refusal, Refused):
            refusal = Refused(CODES.get(type(refusal), 33333))
        return Answer(refusal.body, refusal.status)

    def fault_answer(self, fault: Fault) -> Answer:
        if fault.do == "rate_limit":
            refusal = Refused(429)
            return Answer(refusal.body, refusal.status, {"Retry-After": "10"})
        if fault.do == "refuse":
            return self.refused(Refused(_integer("code", fault.code)))
        status = fault.status or 503
        # A gateway's own errors (502 and the like) come without the venue's JSON.
        return Answer(Refused(status).body if status in REFUSALS else b"", status)

    def opened(self, socket: Socket) -> None:
        self.sessions.opened(socket)

    def received(self, socket: Socket, message: str | bytes) -> None:
        self.sessions.received(socket, message)

    def closed(self, socket: Socket) -> None:
        """Nothing is kept of a socket that is gone."""

    def on_fault(self, fault: Fault) -> None:
        self.sessions.keys.kill()

    # Markets

    def _exchange_info(self, request: Request) -> dict:
        wanted = request.query.get("symbols") or request.query.get("symbol") or ",".join(self.pairs)
        pairs = [self._pair_named(symbol) for symbol in wanted.split(",")]
        rows = [
            shapes.market(self.engine.listings[pair], self.engine.settings, pair not in self.engine.delisting)
            for pair in pairs
        ]
        now_ms = self.engine.clock.now_ms()
        return {"timezone": "CST", "serverTime": now_ms, "rateLimits": [], "exchangeFilters": [], "symbols": rows}

    def _depth(self, request: Request) -> dict:
        book = self.engine.books[self._pair(request)]
        limit = self._limit(request, 100, 5000)
        bids, asks = ([[text(price), text(qty)] for price, qty in book.levels(side, limit)] for side in (BUY, SELL))
        return {"lastUpdateId": book.id, "bids": bids, "asks": asks, "timestamp": self.engine.clock.now_ms()}

    def _klines(self, request: Request) -> list:
        interval = request.query.get("interval", "")
        if interval not in shapes.INTERVALS_S:
            raise Refused(700008, param="interval")
        seconds = shapes.INTERVALS_S[interval]
        start_ms, end_ms = self._range(request)
        candles = [
            c for c in self.candles.merged(self._pair(request), seconds) if start_ms <= c.start_s * 1000 <= end_ms
        ]
        limit = self._limit(request, 500, 500)
        chosen = candles[:limit] if "startTime" in request.query else candles[-limit:]
        return [shapes.kline(candle, seconds) for candle in chosen]

    def _agg_trades(self, request: Request) -> list:
        return [shapes.agg_trade(deal) for deal in self._prints(request)]

    def _recent_trades(self, request: Request) -> list:
        return [shapes.recent_trade(deal) for deal in self._prints(request)]

    def _prints(self, request: Request) -> list:
        """Public trades, newest first."""
        start_ms, end_ms = self._range(request)
        deals = [d for d in reversed(self.engine.prints[self._pair(request)]) if start_ms <= d.ts_ns // MS <= end_ms]
        return deals[: self._limit(request, 500, 1000)]

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
            return row(self._pair(request))
        return [row(pair) for pair in self.engine.listings]

    def _quote(self, pair: str) -> Any:
        return self.engine.books[pair].quote(self.engine.clock.now_ns())

    # Account

    def _coins(self, request: Request) -> list:
        return [shapes.coin_row(coin) for coin in self._all_coins()]

    def _account(self, request: Request) -> dict:
        wallet = self.engine.account
        return shapes.account({coin: (wallet.free[coin], wallet.locked[coin]) for coin in self._all_coins()})

    def _all_coins(self) -> list[str]:
        listed = {coin for listing in self.engine.listings.values() for coin in (listing.base, listing.quote)}
        return sorted(listed | set(self.engine.account.coins()))

    def _fee(self, request: Request) -> dict:
        self._pair(request)
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

    # Orders

    def _create(self, request: Request) -> dict:
        order = self._order_asked(request)
        if len(self.engine.open_orders()) >= MAX_OPEN_ORDERS:
            raise Refused(30029)
        try:
            placed = self.engine.place(
                order.pair,
                order.side,
                order.kind,
                order.qty,
                order.price,
                tif=order.tif,
                quote_qty=order.quote_qty,
                client_id=order.client_id,
            )
        except Refusal as refusal:
            raise self._worded(refusal, order) from refusal
        return shapes.created(placed)

    def _test_order(self, request: Request) -> dict:
        """Validates as a new order, but for the funds, and places nothing."""
        order = self._order_asked(request)
        mark = self.engine.marks.get(order.pair)
        if order.quote_qty:
            order.qty = rules.affordable(order.quote_qty, mark or ZERO, self.engine.listings[order.pair])
        try:
            rules.check(order, self.engine.listings[order.pair], mark, ())
        except Refusal as refusal:
            raise self._worded(refusal, order) from refusal
        return {}

    def _order_asked(self, request: Request) -> Order:
        query, pair = request.query, self._pair(request)
        side = {"BUY": BUY, "SELL": SELL}.get(_present(query, "side"))
        kind, tif = TYPES.get(_present(query, "type"), ("", ""))
        if side is None or not kind:
            raise Refused(700008, param="side" if side is None else "type")
        by_value = kind == MARKET and "quantity" not in query
        now_ns = self.engine.clock.now_ns()
        return Order(
            id=0,
            client_id=query.get("newClientOrderId", ""),
            pair=pair,
            side=side,
            kind=kind,
            tif=tif,
            price=_number(query, "price") if kind == LIMIT else ZERO,
            qty=ZERO if by_value else _number(query, "quantity"),
            quote_qty=_number(query, "quoteOrderQty") if by_value else ZERO,
            reduce_only=False,
            position=BOTH,
            created_ns=now_ns,
            updated_ns=now_ns,
        )

    def _worded(self, refusal: Refusal, order: Order) -> Refused:
        """The refusal of an order, with the code and the words that depend on what was asked."""
        listing = self.engine.listings[order.pair]
        if isinstance(refusal, InsufficientFunds):
            return Refused(30004 if order.side == BUY else 30005)
        if isinstance(refusal, BelowMinimum):
            return Refused(30002, least=text(listing.min_qty) + listing.base)
        if isinstance(refusal, BelowNotional):
            return Refused(30002, least=text(listing.min_notional) + listing.quote)
        if isinstance(refusal, AboveMaximum):
            return Refused(30003, most=text(listing.max_qty) + listing.base)
        if isinstance(refusal, BadPrecision):
            wrong = "quantity" if rules.on_grid(order.price, listing.price_step) and order.price >= ZERO else "price"
            return Refused(400, f"{wrong} scale is invalid")
        return refusal if isinstance(refusal, Refused) else Refused(CODES.get(type(refusal), 33333))

    def _fetch(self, request: Request) -> dict:
        return shapes.order_row(self.engine.order(*self._order_named(request)))

    def _cancel(self, request: Request) -> dict:
        try:
            return shapes.cancelled(self.engine.cancel(*self._order_named(request)))
        except UnknownOrder:
            raise Refused(-2011) from None

    def _order_named(self, request: Request) -> tuple[int | None, str]:
        """The engine's number of the order asked for, or None and its client id."""
        self._pair(request)
        if number := request.query.get("orderId", ""):
            return order_number(number), ""
        if client_id := request.query.get("origClientOrderId", ""):
            return None, client_id
        raise Refused(700004, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")

    def _open_orders(self, request: Request) -> list:
        pair = self._pair(request) if "symbol" in request.query else None
        return [shapes.order_row(order) for order in self.engine.open_orders(pair)]

    def _cancel_all(self, request: Request) -> list:
        return [shapes.cancelled(order) for order in self.engine.cancel_all(self._pair(request))]

    def _all_orders(self, request: Request) -> list:
        """Newest first."""
        pair, (start_ms, end_ms) = self._pair(request), self._range(request)
        mine = (order for order in reversed(self.engine.orders.values()) if order.pair == pair)
        rows = [shapes.order_row(order) for order in mine if start_ms <= order.created_ns // MS <= end_ms]
        return rows[: self._limit(request, 500, 1000)]

    def _my_trades(self, request: Request) -> list:
        """Newest first."""
        pair, (start_ms, end_ms) = self._pair(request), self._range(request)
        of = order_number(request.query["orderId"]) if "orderId" in request.query else None
        mine = (t for t in reversed(self.engine.trades) if t.pair == pair and of in (None, t.order.id))
        rows = [shapes.trade_row(trade) for trade in mine if start_ms <= trade.ts_ns // MS <= end_ms]
        return rows[: self._limit(request, 100, 100)]

    # Parameters

    def _pair(self, request: Request) -> str:
        return self._pair_named(_present(request.query, "symbol"))

    def _pair_named(self, symbol: str) -> str:
        if symbol not in self.pairs:
            raise UnknownPair(symbol)
        return self.pairs[symbol]

    @staticmethod
    def _limit(request: Request, default: int, most: int) -> int:
        limit = _integer("limit", request.query.get("limit", str(default)))
        if limit <= 0:
            raise Refused(700008, param="limit")
        return min(limit, most)

    @staticmethod
    def _range(request: Request) -> tuple[int, int]:
        """startTime and endTime in ms, both included."""
        ends = (request.query.get("startTime", "0"), request.query.get("endTime", str(10**15)))
        return _integer("startTime", ends[0]), _integer("endTime", ends[1])


def _present(query: Mapping[str, str], name: str) -> str:
    if not query.get(name):
        raise Refused(700004, param=name)
    return query[name]


def _integer(name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise Refused(700008, param=name) from None


def _number(query: Mapping[str, str], name: str) -> Decimal:
    try:
        number = Decimal(_present(query, name))
    except InvalidOperation:
        raise Refused(700008, param=name) from None
    if not number.is_finite():
        raise Refused(700008, param=name)
    return number
