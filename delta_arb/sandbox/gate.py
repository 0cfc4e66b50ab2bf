"""Gate.io USDT futures on loopback: the REST face. Payloads are shaped in `gate_rows`, sockets in `gate_socket`.

Paths are those of the real venue below the mount prefix, so http://127.0.0.1:1234/gate/api/v4 is ccxt's base; the
signature is over `/api/v4/...` whatever the prefix. Client ids (`text`) are unique for ever here and can be looked up
for ever; the real venue forgets them an hour after the order ended.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any

from . import gate_rows as rows
from . import values as v
from .accounts import Position
from .candles import Candles
from .engine import NS
from .faults import Fault
from .gate_socket import GateSockets, unauthorized
from .perpetual import PerpetualEngine
from .server import Answer, Hub, Limiter, Request, Route, Socket
from .values import BUY, SELL, ZERO, Listing, Order, Refusal, dec, text

API = "/api/v4"
FUTURES = f"{API}/futures/usdt"
WINDOW_S = 60  # a Timestamp further from the venue's clock is REQUEST_EXPIRED
CLIENT_ID = re.compile(r"t-[0-9A-Za-z_.-]{1,28}")

LABELS = {
    v.UnknownPair: "CONTRACT_NOT_FOUND",
    v.NotTrading: "CONTRACT_IN_DELISTING",
    v.InsufficientFunds: "INSUFFICIENT_AVAILABLE",
    v.BelowMinimum: "SIZE_TOO_SMALL",
    v.BelowNotional: "SIZE_TOO_SMALL",
    v.AboveMaximum: "SIZE_TOO_LARGE",
    v.BadPrecision: "INVALID_PARAM_VALUE",
    v.PriceTooDeviated: "PRICE_TOO_DEVIATED",
    v.WouldTakeLiquidity: "ORDER_POC_IMMEDIATE",
    v.CannotFill: "ORDER_FOK",
    v.UnknownOrder: "ORDER_NOT_FOUND",
    v.OrderFinished: "ORDER_FINISHED",
    v.DuplicateClientId: "REPEATED_CREATION",
    v.NothingToReduce: "POSITION_EMPTY",
    v.LeverageTooHigh: "LEVERAGE_TOO_HIGH",
    v.PositionHeld: "POSITION_HOLDING",
}
STATUSES = {"INVALID_SIGNATURE": 401, "INVALID_KEY": 401, "MISSING_REQUIRED_HEADER": 401, "FORBIDDEN": 403}
STATUSES |= {"REQUEST_EXPIRED": 403, "ORDER_NOT_FOUND": 404, "TOO_MANY_REQUESTS": 429}
SERVER_LABELS = {500: "INTERNAL", 502: "", 503: "TOO_BUSY", 504: "SERVER_ERROR"}


class Labelled(Refusal):
    """A refusal by the venue's own label, for what only this face knows."""

    def __init__(self, label: str, message: str) -> None:
        super().__init__(message)
        self.label = label


def signature(secret: str, method: str, path: str, query: str, body: bytes, timestamp: str) -> str:
    """hex(HMAC-SHA512(secret, METHOD \\n path \\n query \\n hex(SHA512(body)) \\n timestamp))."""
    payload = "\n".join((method, path, query, hashlib.sha512(body).hexdigest(), timestamp))
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha512).hexdigest()


class Gate:
    """The face (see `server.Face`)."""

    name = "gate"
    socket_paths = ("/v4/ws/futures/usdt",)

    def __init__(
        self,
        engine: PerpetualEngine,
        key: str = "gate-key",
        secret: str = "gate-secret",
        limiter: Limiter | None = None,
    ) -> None:
        self.engine, self.key, self.secret, self.limiter = engine, key, secret, limiter
        self.account = engine.account
        self.candles = Candles(engine)
        self.sockets = GateSockets(self)
        self._hub: Hub | None = None

    @property
    def hub(self) -> Hub:
        return self._hub

    @hub.setter
    def hub(self, hub: Hub) -> None:
        self._hub = hub
        self.sockets.attach(hub)

    def opened(self, socket: Socket) -> None:
        self.sockets.opened(socket)

    def received(self, socket: Socket, message: str | bytes) -> None:
        self.sockets.received(socket, message)

    def closed(self, socket: Socket) -> None:
        """Nothing of this venue outlives a socket."""

    def on_fault(self, fault: Fault) -> None:
        """No timed fault is this venue's alone."""

    def config(self, base_url: str) -> dict[str, Any]:
        """ccxt's constructor configuration: `ccxt.pro.gate(config)` trades here and nowhere else."""
        api, ws = f"{base_url}/gate{API}", f"{base_url.replace('http', 'ws', 1)}/gate{self.socket_paths[0]}"
        sections = ("wallet", "futures", "margin", "spot", "options", "delivery", "unified", "subAccounts", "earn")
        return {
            "apiKey": self.key,
            "secret": self.secret,
            "uid": str(rows.USER),
            "urls": {
                "api": {
                    "public": dict.fromkeys((*sections, "sub_accounts"), api),
                    "private": dict.fromkeys((*sections, "withdrawals", "account", "loan"), api),
                    "swap": {"usdt": ws},
                }
            },
            "has": {"fetchCurrencies": False},
            "options": {
                "defaultType": "swap",
                "unifiedAccount": False,
                "fetchMarkets": {"types": ["swap"]},
                "swap": {"fetchMarkets": {"settlementCurrencies": ["usdt"]}},
            },
        }

    def routes(self) -> Iterable[Route]:
        f = FUTURES
        return [
            Route("GET", f"{API}/spot/time", "time", self._time),
            Route("GET", f"{f}/contracts", "markets", self._contracts),
            Route("GET", f"{f}/contracts/{{contract}}", "funding", self._contract),
            Route("GET", f"{f}/tickers", "tickers", self._tickers),
            Route("GET", f"{f}/order_book", "book", self._book),
            Route("GET", f"{f}/candlesticks", "candles", self._candles),
            Route("GET", f"{f}/trades", "trades", self._trades),
            Route("GET", f"{f}/funding_rate", "funding", self._funding),
            Route("GET", f"{API}/wallet/fee", "fee", self._fee, signed=True),
            Route("GET", f"{f}/fee", "fee", self._futures_fee, signed=True),
            Route("GET", f"{f}/accounts", "account", self._accounts, signed=True),
            Route("GET", f"{f}/positions", "positions", self._positions, signed=True),
            Route("GET", f"{f}/positions/{{contract}}", "positions", self._position, signed=True),
            Route("GET", f"{f}/dual_comp/positions/{{contract}}", "positions", self._dual_positions, signed=True),
            Route("POST", f"{f}/positions/{{contract}}/leverage", "leverage", self._leverage, signed=True),
            Route("POST", f"{f}/dual_comp/positions/{{contract}}/leverage", "leverage", self._leverage, signed=True),
            Route("POST", f"{f}/dual_mode", "account", self._dual_mode, signed=True),
            Route("POST", f"{f}/orders", "order.create", self._create, signed=True),
            Route("GET", f"{f}/orders", "orders.open", self._orders, signed=True),
            Route("DELETE", f"{f}/orders", "order.cancel", self._cancel_all, signed=True),
            Route("GET", f"{f}/orders/{{order_id}}", "order.fetch", self._order, signed=True),
            Route("DELETE", f"{f}/orders/{{order_id}}", "order.cancel", self._cancel, signed=True),
            Route("GET", f"{f}/my_trades", "trades.mine", self._my_trades, signed=True),
            Route("GET", f"{f}/my_trades_timerange", "trades.mine", self._my_trades_timerange, signed=True),
        ]

    # Rim

    def authorize(self, request: Request) -> None:
        headers = request.headers
        timestamp, sign = headers.get("Timestamp", ""), headers.get("SIGN", "")
        if not timestamp or not sign or not headers.get("KEY"):
            raise Labelled("MISSING_REQUIRED_HEADER", "KEY, Timestamp and SIGN are required")
        if headers["KEY"] != self.key:
            raise Labelled("INVALID_KEY", "Invalid key provided")
        self.check_time(timestamp)
        # As ccxt signs it: the query unescaped; and the path as at the real venue, without our mount prefix.
        queries = {request.query_string, "&".join(f"{k}={value}" for k, value in request.query.items())}
        expected = (signature(self.secret, request.method, request.path, q, request.body, timestamp) for q in queries)
        if not any(hmac.compare_digest(sign, good) for good in expected):
            raise Labelled("INVALID_SIGNATURE", "Signature mismatch")

    def check_time(self, timestamp: str) -> None:
        """A request's own time must be within a minute of the venue's clock."""
        now_s = self.engine.clock.now_ns() / NS
        if not re.fullmatch(r"\d{1,12}(\.\d+)?", timestamp) or abs(float(timestamp) - now_s) > WINDOW_S:
            raise Labelled("REQUEST_EXPIRED", f"gap between request Timestamp and server time exceeds {WINDOW_S}")

    def refused(self, refusal: Refusal) -> Answer:
        label = refusal.label if isinstance(refusal, Labelled) else LABELS[type(refusal)]
        name = "detail" if label == "ORDER_POC_IMMEDIATE" else "message"
        return Answer({"label": label, name: str(refusal)}, STATUSES.get(label, 400))

    def fault_answer(self, fault: Fault) -> Answer:
        if fault.do == "refuse":
            return Answer({"label": fault.code, "message": fault.code}, fault.status or STATUSES.get(fault.code, 400))
        if fault.do == "rate_limit":
            return self._too_many(fault.at)
        status = fault.status or 503
        label = fault.code or SERVER_LABELS.get(status, "SERVER_ERROR")
        return Answer({"label": label, "message": label} if label else b"", status)

    def _too_many(self, hook: str) -> Answer:
        count, reset = (self.limiter.count, self.limiter.resets_at_s(hook)) if self.limiter else (0, 1.0)
        headers = {
            "X-Gate-RateLimit-Requests-Remain": "0",
            "X-Gate-RateLimit-Limit": str(count),
            "X-Gate-RateLimit-Reset-Timestamp": str(round(self.engine.clock.started_ns / NS + reset)),
        }
        return Answer({"label": "TOO_MANY_REQUESTS", "message": "Request Rate limit Exceeded"}, 429, headers)

    # Public

    def _time(self, request: Request) -> rows.Row:
        return {"server_time": self.engine.clock.now_ms()}

    def _contracts(self, request: Request) -> list[rows.Row]:
        engine, decimal = self.engine, _decimal(request)
        return [rows.contract_row(engine, x, self.candles.last(x.pair), decimal) for x in engine.listings.values()]

    def _contract(self, request: Request) -> rows.Row:
        listing = self.engine.listing(request.match["contract"])
        return rows.contract_row(self.engine, listing, self.candles.last(listing.pair), _decimal(request))

    def _tickers(self, request: Request) -> list[rows.Row]:
        pairs = [request.query["contract"]] if "contract" in request.query else list(self.engine.listings)
        return [self.ticker_row(self.engine.listing(pair), _decimal(request)) for pair in pairs]

    def ticker_row(self, listing: Listing, decimal: bool) -> rows.Row:
        pair = listing.pair
        quote = self.engine.books[pair].quote(0)
        day = self.candles.merged(pair, 86400)[-1:]
        last, volume, value = self.candles.last(pair), (day[0].volume if day else ZERO), (day[0].value if day else ZERO)
        row = rows.contract_row(self.engine, listing, last, decimal)
        names = ("mark_price", "index_price", "funding_rate", "funding_rate_indicative", "quanto_multiplier")
        return {
            "contract": pair,
            "last": text(last),
            "change_percentage": "0",
            "total_size": "0",
            "low_24h": text(day[0].low if day else last),
            "high_24h": text(day[0].high if day else last),
            "volume_24h": text(volume / listing.contract_size),
            "volume_24h_base": text(volume),
            "volume_24h_quote": text(value),
            "volume_24h_settle": text(value),
            **{name: row[name] for name in names},
            "quanto_base_rate": "",
            "highest_bid": text(quote.bid) if quote.bid_qty else "",
            "highest_size": rows.contracts(quote.bid_qty, listing, True),
            "lowest_ask": text(quote.ask) if quote.ask_qty else "",
            "lowest_size": rows.contracts(quote.ask_qty, listing, True),
        }

    def _book(self, request: Request) -> rows.Row:
        listing = self._listing(request)
        book, limit = self.engine.books[listing.pair], _int(request, "limit", 10)
        row: rows.Row = {
            "current": rows.seconds(self.engine.clock.now_ns()),
            "update": rows.seconds(book.ts_ns),
            "asks": self._levels(book.levels(SELL, limit), listing, _decimal(request)),
            "bids": self._levels(book.levels(BUY, limit), listing, _decimal(request)),
        }
        return row | {"id": book.id} if request.query.get("with_id", "").lower() == "true" else row

    @staticmethod
    def _levels(levels: list, listing: Listing, decimal: bool) -> list[rows.Row]:
        return [{"s": rows.contracts(qty, listing, decimal), "p": text(price)} for price, qty in levels]

    def _candles(self, request: Request) -> list[rows.Row]:
        listing, interval = self._listing(request), request.query.get("interval", "5m")
        if interval not in rows.INTERVALS:
            raise Labelled("INVALID_PARAM_VALUE", f"unknown interval {interval}")
        bars = self.candles.merged(listing.pair, rows.INTERVALS[interval])
        first, last = _int(request, "from", 0), _int(request, "to", 1 << 40)
        bars = [bar for bar in bars if first <= bar.start_s <= last][-_int(request, "limit", 2000) :]
        return [rows.candle_row(bar, listing, _decimal(request)) for bar in bars]

    def _trades(self, request: Request) -> list[rows.Row]:
        listing = self._listing(request)
        found = self.engine.prints[listing.pair]
        page = _page(request, [p for p in found if _in_range(request, p.ts_ns)], newest_first=True)
        return [rows.print_row(trade, listing, _decimal(request)) for trade in page]

    def _funding(self, request: Request) -> list[rows.Row]:
        pair = self._listing(request).pair
        paid = [f for f in self.engine.funding if f.pair == pair and _in_range(request, f.ts_ns)]
        return [{"t": f.ts_ns // NS, "r": text(f.rate)} for f in _page(request, paid, newest_first=True)]

    # The account

    def _fee(self, request: Request) -> rows.Row:
        taker, maker = text(self.engine.settings.taker_fee), text(self.engine.settings.maker_fee)
        return {
            "user_id": rows.USER, "taker_fee": "0.002", "maker_fee": "0.002", "gt_discount": False,
            "gt_taker_fee": "0", "gt_maker_fee": "0", "loan_fee": "0.18", "point_type": "1",
            "futures_taker_fee": taker, "futures_maker_fee": maker, "delivery_taker_fee": taker,
            "delivery_maker_fee": maker, "debit_fee": 3,
        }  # fmt: skip

    def _futures_fee(self, request: Request) -> rows.Row:
        fee = {"taker_fee": text(self.engine.settings.taker_fee), "maker_fee": text(self.engine.settings.maker_fee)}
        return {pair: fee for pair in self.engine.listings if request.query.get("contract", pair) == pair}

    def _accounts(self, request: Request) -> rows.Row:
        return rows.account_row(self.account)

    def _positions(self, request: Request) -> list[rows.Row]:
        found = [self.account.position(pair, side) for pair in self.engine.listings for side in self.account.sides()]
        if request.query.get("holding", "").lower() == "true":
            found = [position for position in found if position.size]
        return [self._position_row(position, request) for position in found]

    def _position(self, request: Request) -> rows.Row:
        if self.account.dual:
            raise Labelled("INVALID_PARAM_VALUE", "the account is in dual mode; ask dual_comp/positions")
        return self._position_row(self.account.position(self._matched(request).pair), request)

    def _dual_positions(self, request: Request) -> list[rows.Row]:
        pair = self._matched(request).pair
        return [self._position_row(self.account.position(pair, side), request) for side in self.account.sides()]

    def _leverage(self, request: Request) -> rows.Row | list[rows.Row]:
        pair, leverage = self._matched(request).pair, _number(request.query.get("leverage"), "leverage")
        limit = _number(request.query.get("cross_leverage_limit", "0"), "cross_leverage_limit")
        cross = leverage == 0
        changed = self.engine.set_leverage(pair, (limit or self.engine.settings.leverage) if cross else leverage, cross)
        shown = [self._position_row(position, request) for position in changed]
        return shown if self.account.dual else shown[0]

    def _dual_mode(self, request: Request) -> rows.Row:
        self.account.set_dual(request.query.get("dual_mode", "").lower() == "true")
        return rows.account_row(self.account)

    def _position_row(self, position: Position, request: Request) -> rows.Row:
        return rows.position_row(position, self.account, _decimal(request))

    # Orders

    def place(self, body: rows.Row) -> Order:
        """Place what a request's body asks for (REST and websocket alike)."""
        listing = self.engine.listing(str(body.get("contract", "")))
        size, price = _number(body.get("size", 0), "size"), _number(body.get("price", "0"), "price")
        tif, client_id = str(body.get("tif", "gtc")), str(body.get("text") or "")
        if tif not in rows.TIFS:
            raise Labelled("INVALID_PARAM_VALUE", f"unknown tif {tif}")
        if client_id and not CLIENT_ID.fullmatch(client_id):
            raise Labelled("INVALID_PARAM_VALUE", "text must be t- and at most 28 of 0-9 A-Z a-z _ . -")
        if price == 0 and tif not in ("ioc", "fok"):
            raise Labelled("INVALID_PARAM_VALUE", "a market order (price 0) must be ioc or fok")
        close = self._close_side(body, size)
        if size == 0 and not close:
            raise Labelled("INVALID_PARAM_VALUE", "size 0 closes the position, and needs close or auto_size")
        return self.engine.place(
            listing.pair,
            BUY if size > 0 else SELL,
            v.LIMIT if price else v.MARKET,
            abs(size) * listing.contract_size,
            price,
            tif=rows.TIFS[tif],
            reduce_only=bool(body.get("reduce_only", False)),
            close=close,
            client_id=client_id,
        )

    @staticmethod
    def _close_side(body: rows.Row, size: Decimal) -> str:
        if size != 0:
            return ""
        sides = {"close_long": v.LONG, "close_short": v.SHORT}
        return sides.get(str(body.get("auto_size", "")), v.BOTH if body.get("close") else "")

    def ids(self, order_id: str) -> tuple[int | None, str]:
        """`(id, "")` or `(None, text)`: orders are named by either."""
        return (int(order_id), "") if order_id.isdecimal() else (None, order_id)

    def listed(self, query: dict[str, Any]) -> list[Order]:
        """Open or finished orders, newest first."""
        pair, status = query.get("contract"), query.get("status")
        if status not in ("open", "finished"):
            raise Labelled("INVALID_PARAM_VALUE", "status must be open or finished")
        if status == "open":
            orders = self.engine.open_orders(pair)
        else:
            orders = [o for o in self.engine.orders.values() if o.state != v.OPEN and pair in (None, o.pair)]
        offset, limit = int(query.get("offset", 0)), int(query.get("limit", 100))
        return orders[::-1][offset : offset + limit]

    def _create(self, request: Request) -> Answer:
        return Answer(self._order_row(self.place(_body(request)), request), 201)

    def _orders(self, request: Request) -> list[rows.Row]:
        return [self._order_row(order, request) for order in self.listed(dict(request.query))]

    def _order(self, request: Request) -> rows.Row:
        return self._order_row(self.engine.order(*self.ids(request.match["order_id"])), request)

    def _cancel(self, request: Request) -> rows.Row:
        return self._order_row(self.engine.cancel(*self.ids(request.match["order_id"])), request)

    def _cancel_all(self, request: Request) -> list[rows.Row]:
        side = {"bid": BUY, "ask": SELL}.get(request.query.get("side", ""))
        return [self._order_row(o, request) for o in self.engine.cancel_all(self._listing(request).pair, side)]

    def _order_row(self, order: Order, request: Request) -> rows.Row:
        return rows.order_row(order, self.engine, _decimal(request))

    def _my_trades(self, request: Request) -> list[rows.Row]:
        return self._fills(request, "id")

    def _my_trades_timerange(self, request: Request) -> list[rows.Row]:
        return self._fills(request, "trade_id")

    def _fills(self, request: Request, id_name: str) -> list[rows.Row]:
        pair, order = request.query.get("contract"), request.query.get("order_id", request.query.get("order"))
        found = [t for t in self.engine.trades if pair in (None, t.pair) and order in (None, str(t.order.id))]
        page = _page(request, [t for t in found if _in_range(request, t.ts_ns)], newest_first=True)
        return [rows.trade_row(trade, self.engine, _decimal(request), id_name) for trade in page]

    def _listing(self, request: Request) -> Listing:
        return self.engine.listing(request.query.get("contract", ""))

    def _matched(self, request: Request) -> Listing:
        return self.engine.listing(request.match["contract"])


def _decimal(request: Request) -> bool:
    return request.headers.get("X-Gate-Size-Decimal") == "1"


def _number(value: Any, name: str) -> Decimal:
    try:
        number = dec(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite():
        raise Labelled("INVALID_PARAM_VALUE", f"{name} must be a number, was {value!r}")
    return number


def _int(request: Request, name: str, default: int) -> int:
    return int(_number(request.query.get(name, default), name))


def _in_range(request: Request, ts_ns: int) -> bool:
    return _int(request, "from", 0) <= ts_ns / NS < _int(request, "to", 1 << 40) + 1


def _page(request: Request, items: list, newest_first: bool) -> list:
    offset, limit = _int(request, "offset", 0), min(_int(request, "limit", 100), 1000)
    return (items[::-1] if newest_first else items)[offset : offset + limit]


def _body(request: Request) -> rows.Row:
    try:
        body = json.loads(request.body, parse_float=Decimal)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Labelled("INVALID_REQUEST_BODY", "the body must be a JSON object")
    return body | {k: text(x) for k, x in body.items() if isinstance(x, Decimal)}


__all__ = ["Gate", "Labelled", "signature", "unauthorized"]
