"""Gate.io USDT futures on loopback: REST. Account and orders are in `gate_account`, sockets in `gate_stream`.

Paths are those of the real venue, so http://127.0.0.1:1234/api/v4 is its base. Client
ids (`text`) are unique for ever here; as documented, an order can be looked up by its `text` until a minute after its
end, and by its number for ever.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from delta_arb.market import NS
from delta_arb.sandbox import gate_messages as rows
from delta_arb.sandbox import values as v
from delta_arb.sandbox.candles import Candles
from delta_arb.sandbox.faults import Fault
from delta_arb.sandbox.gate_account import GateAccount
from delta_arb.sandbox.gate_messages import GateError, in_range, integer, listing_asked, page, verify, wants_decimal
from delta_arb.sandbox.gate_stream import GateStream
from delta_arb.sandbox.http import Answer, Request, Route
from delta_arb.sandbox.network import Hub, Limiter
from delta_arb.sandbox.perpetual import PerpetualEngine
from delta_arb.sandbox.values import BUY, SELL, ApiKey, Listing, Refusal, text

API = "/api/v4"
FUTURES = f"{API}/futures/usdt"

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
    v.UnknownOrder: "ORDER_NOT_FOUND",
    v.OrderFinished: "ORDER_FINISHED",
    v.DuplicateClientId: "REPEATED_CREATION",
    v.NothingToReduce: "POSITION_EMPTY",
    v.LeverageTooHigh: "LEVERAGE_TOO_HIGH",
}
STATUSES = {"INVALID_SIGNATURE": 401, "INVALID_KEY": 401, "MISSING_REQUIRED_HEADER": 401, "FORBIDDEN": 403}
STATUSES |= {"REQUEST_EXPIRED": 403, "ORDER_NOT_FOUND": 404, "TOO_MANY_REQUESTS": 429}
SERVER_LABELS = {500: "INTERNAL", 502: "", 503: "TOO_BUSY", 504: "SERVER_ERROR"}


def documented_limiter() -> Limiter:
    """200 requests of each endpoint in 10 s, but 100 orders and 200 cancellations a second."""
    return Limiter(200, 10.0, special={"order.create": (100, 1.0), "order.cancel": (200, 1.0)})


class Gate:
    """The venue's protocol; see `http.VenueApi`."""

    name = "gate"
    hub: Hub
    socket_path = "/v4/ws/futures/usdt"  # ccxt tells futures from spot by this path

    def __init__(
        self,
        engine: PerpetualEngine,
        key: str = "gate-key",
        secret: str = "gate-secret",
        limiter: Limiter | None = None,
    ) -> None:
        self.engine, self.key, self.limiter = engine, ApiKey(key, secret), limiter
        self.account = GateAccount(engine, self.key)
        self.candles = Candles(engine)
        self.past_funding: Callable[[str], list[tuple[int, Decimal]]] | None = None  # (ts_ns, rate) of a made past
        self.stream = GateStream(self, self.key, self.candles)
        self.opened, self.received, self.begin_fault = self.stream.opened, self.stream.received, self.stream.notice
        self.rewritten = rows.rewritten_push

    def config(self, base_url: str) -> dict[str, Any]:
        """ccxt's constructor configuration: `ccxt.pro.gate(config)` trades here and nowhere else."""
        api, ws = f"{base_url}{API}", f"{base_url.replace('http', 'ws', 1)}{self.socket_path}"
        sections = ("wallet", "futures", "margin", "spot", "options", "delivery", "unified", "subAccounts", "earn")
        return {
            "apiKey": self.key.key,
            "secret": self.key.secret,
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
        f, my = FUTURES, self.account
        return [
            Route("GET", f"{API}/spot/time", "time", lambda request: {"server_time": self.engine.clock.now_ms()}),
            Route("GET", f"{f}/contracts", "markets", self._contracts),
            Route("GET", f"{f}/contracts/{{contract}}", "funding", self._contract),
            Route("GET", f"{f}/tickers", "tickers", self._tickers),
            Route("GET", f"{f}/order_book", "book", self._book),
            Route("GET", f"{f}/candlesticks", "candles", self._candles),
            Route("GET", f"{f}/trades", "trades", self._trades),
            Route("GET", f"{f}/funding_rate", "funding", self._funding),
            Route("GET", f"{API}/wallet/fee", "fee", my.fee, signed=True),
            Route("GET", f"{API}/account/detail", "rights", my.detail, signed=True),
            Route("GET", f"{API}/account/main_keys", "rights", my.main_keys, signed=True),
            Route("GET", f"{f}/fee", "fee", my.futures_fee, signed=True),
            Route("GET", f"{f}/risk_limit_tiers", "markets", my.risk_limit_tiers),
            Route("GET", f"{f}/accounts", "account", my.accounts, signed=True),
            Route("GET", f"{f}/account_book", "account", my.account_book, signed=True),
            Route("POST", f"{f}/countdown_cancel_all", "countdown", my.countdown, signed=True),
            Route("PUT", f"{f}/orders/{{order_id}}", "order.amend", my.amend, signed=True),
            Route("GET", f"{f}/positions", "positions", my.positions, signed=True),
            Route("GET", f"{f}/positions/{{contract}}", "positions", my.position, signed=True),
            Route("POST", f"{f}/positions/{{contract}}/leverage", "leverage", my.leverage, signed=True),
            Route("POST", f"{f}/orders", "order.create", my.create, signed=True),
            Route("GET", f"{f}/orders", "orders.open", my.orders, signed=True),
            Route("DELETE", f"{f}/orders", "order.cancel", my.cancel_all, signed=True),
            Route("GET", f"{f}/orders/{{order_id}}", "order.fetch", my.order, signed=True),
            Route("DELETE", f"{f}/orders/{{order_id}}", "order.cancel", my.cancel, signed=True),
            Route("GET", f"{f}/my_trades", "trades.mine", my.my_trades, signed=True),
            Route("GET", f"{f}/my_trades_timerange", "trades.mine", my.my_trades_timerange, signed=True),
        ]

    def authorize(self, request: Request) -> None:
        verify(request, self.key, self.engine.clock.now_ns())

    def refused(self, refusal: Refusal) -> Answer:
        label = refusal.label if isinstance(refusal, GateError) else LABELS[type(refusal)]
        name = "detail" if label == "ORDER_POC_IMMEDIATE" else "message"
        return Answer({"label": label, name: str(refusal)}, STATUSES.get(label, 400))

    def fault_answer(self, fault: Fault) -> Answer:
        if fault.do == "refuse":
            return Answer({"label": fault.code, "message": fault.code}, fault.status or STATUSES.get(fault.code, 400))
        if fault.do == "rate_limit":
            return self._too_many(fault)
        status = fault.status or 503
        label = fault.code or SERVER_LABELS.get(status, "SERVER_ERROR")
        return Answer({"label": label, "message": label} if label else b"", status)

    def _too_many(self, fault: Fault) -> Answer:
        hook, limiter = fault.at, self.limiter
        count, reset = (limiter.allowed(hook), limiter.resets_at_s(hook)) if limiter else (0, 1.0)
        headers = {
            "X-Gate-RateLimit-Requests-Remain": "0",
            "X-Gate-RateLimit-Limit": str(count),
            "X-Gate-RateLimit-Reset-Timestamp": str(round(self.engine.clock.started_ns / NS + reset)),
        }
        return Answer(
            {"label": "TOO_MANY_REQUESTS", "message": "Request Rate limit Exceeded"}, fault.status or 429, headers
        )

    # Public

    def _contracts(self, request: Request) -> list[rows.Row]:
        engine, decimal = self.engine, wants_decimal(request)
        return [rows.contract_row(engine, x, self.candles.last(x.pair), decimal) for x in engine.shown]

    def _contract(self, request: Request) -> rows.Row:
        listing = self.engine.listed(request.match["contract"])
        return rows.contract_row(self.engine, listing, self.candles.last(listing.pair), wants_decimal(request))

    def _tickers(self, request: Request) -> list[rows.Row]:
        pairs = [request.query["contract"]] if "contract" in request.query else list(self.engine.listings)
        listings, decimal = map(self.engine.listing, pairs), wants_decimal(request)
        return [rows.ticker_row(self.engine, self.candles, listing, decimal) for listing in listings]

    def _book(self, request: Request) -> rows.Row:
        listing = listing_asked(self.engine, request)
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
        contract, interval = request.query.get("contract", ""), request.query.get("interval", "5m")
        listing = self.engine.listing(contract.removeprefix("mark_").removeprefix("index_"))
        if interval not in rows.INTERVALS:
            raise GateError("INVALID_PARAM_VALUE", f"unknown interval {interval}")
        seconds, now_s = rows.INTERVALS[interval], self.engine.clock.now_ns() // NS
        most = integer(request, "limit", rows.MOST_BARS)
        last = min(integer(request, "to", now_s), now_s)
        first = integer(request, "from", last - (most - 1) * seconds)
        if first < now_s - rows.OLDEST_BARS * seconds:
            raise GateError(
                "INVALID_PARAM_VALUE", f"Candlestick too long ago. Maximum {rows.OLDEST_BARS} points ago are allowed"
            )
        bars = self.candles.between(listing.pair, seconds, first, last)[-most:]
        return [rows.candle_row(bar, listing, wants_decimal(request)) for bar in bars]

    def _trades(self, request: Request) -> list[rows.Row]:
        listing = listing_asked(self.engine, request)
        found = self.engine.prints[listing.pair]
        shown = page(request, [p for p in found if in_range(request, p.ts_ns)])
        return [rows.print_row(trade, listing, wants_decimal(request)) for trade in shown]

    def _funding(self, request: Request) -> list[rows.Row]:
        pair = listing_asked(self.engine, request).pair
        paid = [(f.ts_ns, f.rate) for f in self.engine.funding if f.pair == pair]
        past = self.past_funding(pair) if self.past_funding else []
        found = [(ts_ns, rate) for ts_ns, rate in (*past, *paid) if in_range(request, ts_ns)]
        return [{"t": ts_ns // NS, "r": text(rate)} for ts_ns, rate in page(request, found)]
