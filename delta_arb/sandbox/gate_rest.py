"""Gate.io USDT futures on loopback: the REST face. Payloads are shaped in `gate_messages`, sockets in `gate_stream`.

Paths are those of the real venue below the mount prefix, so http://127.0.0.1:1234/gate/api/v4 is ccxt's base; the
signature is over `/api/v4/...` whatever the prefix. Client ids (`text`) are unique for ever here; as documented, an
order can be looked up by its `text` until a minute after its end, and by its number for ever.
"""

import hmac
import re
from collections.abc import Iterable
from typing import Any

from delta_arb.sandbox import gate_messages as rows
from delta_arb.sandbox import values as v
from delta_arb.sandbox.candles import Candles
from delta_arb.sandbox.engine import NS
from delta_arb.sandbox.faults import Fault
from delta_arb.sandbox.gate_account import GateAccount
from delta_arb.sandbox.gate_stream import GateSockets
from delta_arb.sandbox.gate_wire import Labelled, in_range, integer, page, signature, wants_decimal
from delta_arb.sandbox.perpetual import PerpetualEngine
from delta_arb.sandbox.values import BUY, SELL, ZERO, Listing, Refusal, text
from delta_arb.sandbox.websocket import Hub, Socket
from delta_arb.sandbox.wire import Answer, Limiter, Request, Route

API = "/api/v4"
FUTURES = f"{API}/futures/usdt"
WINDOW_S = 60  # a Timestamp further from the venue's clock is REQUEST_EXPIRED

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


def documented_limiter() -> Limiter:
    """200 requests of each endpoint in 10 s, but 100 orders and 200 cancellations a second."""
    return Limiter(200, 10.0, special={"order.create": (100, 1.0), "order.cancel": (200, 1.0)})


class Gate:
    """The face (see `wire.Face`)."""

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
        self.my = GateAccount(self)
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
        f, my = FUTURES, self.my
        return [
            Route("GET", f"{API}/spot/time", "time", self._time),
            Route("GET", f"{f}/contracts", "markets", self._contracts),
            Route("GET", f"{f}/contracts/{{contract}}", "funding", self._contract),
            Route("GET", f"{f}/tickers", "tickers", self._tickers),
            Route("GET", f"{f}/order_book", "book", self._book),
            Route("GET", f"{f}/candlesticks", "candles", self._candles),
            Route("GET", f"{f}/trades", "trades", self._trades),
            Route("GET", f"{f}/funding_rate", "funding", self._funding),
            Route("GET", f"{API}/wallet/fee", "fee", my.fee, signed=True),
            Route("GET", f"{f}/fee", "fee", my.futures_fee, signed=True),
            Route("GET", f"{API}/account/detail", "rights", my.detail, signed=True),
            Route("GET", f"{API}/account/main_keys", "rights", my.main_keys, signed=True),
            Route("GET", f"{f}/accounts", "account", my.accounts, signed=True),
            Route("GET", f"{f}/positions", "positions", my.positions, signed=True),
            Route("GET", f"{f}/positions/{{contract}}", "positions", my.position, signed=True),
            Route("GET", f"{f}/dual_comp/positions/{{contract}}", "positions", my.dual_positions, signed=True),
            Route("POST", f"{f}/positions/{{contract}}/leverage", "leverage", my.leverage, signed=True),
            Route("POST", f"{f}/dual_comp/positions/{{contract}}/leverage", "leverage", my.leverage, signed=True),
            Route("POST", f"{f}/dual_mode", "account", my.dual_mode, signed=True),
            Route("POST", f"{f}/orders", "order.create", my.create, signed=True),
            Route("GET", f"{f}/orders", "orders.open", my.orders, signed=True),
            Route("DELETE", f"{f}/orders", "order.cancel", my.cancel_all, signed=True),
            Route("GET", f"{f}/orders/{{order_id}}", "order.fetch", my.order, signed=True),
            Route("DELETE", f"{f}/orders/{{order_id}}", "order.cancel", my.cancel, signed=True),
            Route("GET", f"{f}/my_trades", "trades.mine", my.my_trades, signed=True),
            Route("GET", f"{f}/my_trades_timerange", "trades.mine", my.my_trades_timerange, signed=True),
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
        expires_ms = headers.get("X-Gate-Exptime", "")
        if expires_ms and int(expires_ms) < self.engine.clock.now_ns() / 1e6:
            raise Labelled("REQUEST_EXPIRED", "the request came after its X-Gate-Exptime")
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
        count, reset = (self.limiter.allowed(hook), self.limiter.resets_at_s(hook)) if self.limiter else (0, 1.0)
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
        engine, decimal = self.engine, wants_decimal(request)
        return [rows.contract_row(engine, x, self.candles.last(x.pair), decimal) for x in engine.listings.values()]

    def _contract(self, request: Request) -> rows.Row:
        listing = self.engine.listing(request.match["contract"])
        return rows.contract_row(self.engine, listing, self.candles.last(listing.pair), wants_decimal(request))

    def _tickers(self, request: Request) -> list[rows.Row]:
        pairs = [request.query["contract"]] if "contract" in request.query else list(self.engine.listings)
        return [self.ticker_row(self.engine.listing(pair), wants_decimal(request)) for pair in pairs]

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
        listing = self.listing(request)
        book, limit = self.engine.books[listing.pair], integer(request, "limit", 10)
        row: rows.Row = {
            "current": rows.seconds(self.engine.clock.now_ns()),
            "update": rows.seconds(book.ts_ns),
            "asks": self._levels(book.levels(SELL, limit), listing, wants_decimal(request)),
            "bids": self._levels(book.levels(BUY, limit), listing, wants_decimal(request)),
        }
        return row | {"id": book.id} if request.query.get("with_id", "").lower() == "true" else row

    @staticmethod
    def _levels(levels: list, listing: Listing, decimal: bool) -> list[rows.Row]:
        return [{"s": rows.contracts(qty, listing, decimal), "p": text(price)} for price, qty in levels]

    def _candles(self, request: Request) -> list[rows.Row]:
        listing, interval = self.listing(request), request.query.get("interval", "5m")
        if interval not in rows.INTERVALS:
            raise Labelled("INVALID_PARAM_VALUE", f"unknown interval {interval}")
        bars = self.candles.merged(listing.pair, rows.INTERVALS[interval])
        first, last = integer(request, "from", 0), integer(request, "to", 1 << 40)
        bars = [bar for bar in bars if first <= bar.start_s <= last][-integer(request, "limit", 2000) :]
        return [rows.candle_row(bar, listing, wants_decimal(request)) for bar in bars]

    def _trades(self, request: Request) -> list[rows.Row]:
        listing = self.listing(request)
        found = self.engine.prints[listing.pair]
        shown = page(request, [p for p in found if in_range(request, p.ts_ns)])
        return [rows.print_row(trade, listing, wants_decimal(request)) for trade in shown]

    def _funding(self, request: Request) -> list[rows.Row]:
        pair = self.listing(request).pair
        paid = [f for f in self.engine.funding if f.pair == pair and in_range(request, f.ts_ns)]
        return [{"t": f.ts_ns // NS, "r": text(f.rate)} for f in page(request, paid)]

    def listing(self, request: Request) -> Listing:
        return self.engine.listing(request.query.get("contract", ""))

    def matched(self, request: Request) -> Listing:
        return self.engine.listing(request.match["contract"])
