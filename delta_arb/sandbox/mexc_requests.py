"""MEXC's requests: signatures and clocks, errors by code, the parameters that a request carries, and the order endpoints.

Codes and texts are those of MEXC's own documentation and, where that is silent, those its clients have met; a code
that is neither is marked as ours.
"""

import hashlib
import hmac
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from itertools import islice
from urllib.parse import parse_qsl

from delta_arb.market import MS
from delta_arb.sandbox import mexc_messages as shapes
from delta_arb.sandbox import values as v
from delta_arb.sandbox.book import check, on_grid
from delta_arb.sandbox.engine import Engine
from delta_arb.sandbox.http import Request
from delta_arb.sandbox.mexc_messages import order_number
from delta_arb.sandbox.values import BUY, LIMIT, MARKET, SELL, ZERO, ApiKey, Order, Refusal, text

DEFAULT_WINDOW_MS = 5_000
MAX_WINDOW_MS = 60_000
AHEAD_MS = 1_000  # a stamp this far before the venue's clock is already too far

# code: (HTTP status, text)
REFUSALS = {
    -2011: (400, "Unknown order sent."),
    -2013: (400, "Order does not exist."),
    -1121: (400, "Invalid symbol."),
    400: (400, "api key required"),
    403: (403, "Access Denied"),
    429: (429, "Too Many Requests"),
    500: (500, "Internal error"),
    503: (503, "Service not available, please try again"),
    504: (504, "Gateway Time-out"),
    603: (400, "Repeated request"),  # ours for a client order id used twice: MEXC documents no code for it
    10001: (400, "user does not exist"),
    10015: (400, "user id cannot be null"),
    10072: (400, "Api key info invalid"),
    10073: (400, "invalid Request-Time"),
    10096: (400, "amount decimal places is too long"),
    10098: (400, "risk control system detected abnormal"),
    10101: (400, "Insufficient balance"),
    10102: (400, "amount cannot be zero or negative"),
    20002: (400, "Internal system error please contact support"),
    30000: (400, "suspended transaction for the symbol"),
    30002: (400, "The minimum transaction volume cannot be less than:{least}"),
    30003: (400, "The maximum transaction volume cannot be greater than:{most}"),
    30004: (400, "Insufficient position"),
    30005: (400, "Oversold"),
    30010: (400, "no valid trade price"),
    30016: (400, "trading disabled"),
    30018: (400, "market order is disabled"),
    30019: (400, "api market order is disabled"),
    30021: (400, "invalid symbol"),
    30025: (400, "no exist opponent order"),
    30026: (400, "invalid order ids"),
    30028: (400, "The currency triggered the platform risk control, the selling is suspended"),
    30029: (400, "Cannot exceed the maximum order limit"),
    30032: (400, "Cannot exceed the maximum position"),
    30041: (400, "current order type can not place order"),
    30087: (400, "Order price exceeds allowed range"),
    33333: (400, "param is error"),
    60005: (400, "your account is abnormal"),
    140002: (400, "sub account is forbidden"),
    700001: (400, "API-key format invalid."),
    700002: (400, "Signature for this request is not valid."),
    700003: (400, "Timestamp for this request is outside of the recvWindow."),
    700004: (400, "Param '{param}' must be sent, but was empty/null!"),
    700005: (400, "recvWindow must less than 60000"),
    700007: (403, "No permission to access the endpoint."),
    700008: (400, "Illegal characters found in parameter '{param}'."),
    730000: (400, "Request failed, please contact the customer service"),
    730001: (400, "Pair not found"),
    730002: (400, "Parameter error"),
    730100: (400, "Unusual user status"),
    730706: (400, "API KEY information does not exist"),
    730708: (400, "listen key information error"),
}
CODES: dict[type[Refusal], int] = {
    v.UnknownPair: -1121,
    v.NotTrading: 30016,
    v.InsufficientFunds: 10101,
    v.BelowMinimum: 30002,
    v.BelowNotional: 30002,
    v.AboveMaximum: 30003,
    v.BadPrecision: 400,
    v.PriceTooDeviated: 30087,
    v.WouldTakeLiquidity: 30041,
    v.UnknownOrder: -2013,
    v.OrderFinished: -2011,
    v.DuplicateClientId: 603,
}


class MexcError(Refusal):
    """A request that MEXC answers with an error body: HTTP status and `{"code", "msg"}`."""

    def __init__(self, code: int, msg: str = "", **words: str) -> None:
        self.status, text = REFUSALS.get(code, REFUSALS[730000])
        self.body = {"code": code, "msg": msg or text.format_map(defaultdict(str, words))}
        super().__init__(f"{code}: {self.body['msg']}")


def sign(secret: str, total_params: str) -> str:
    """The signature of a query string directly followed by the body."""
    return hmac.new(secret.encode(), total_params.encode(), hashlib.sha256).hexdigest()


def verify(query: str, body: str, headers: Mapping[str, str], api_key: ApiKey, now_ms: int) -> None:
    """Whether key, signature and clock of a signed request are in order.

    `query` is the raw query string: what is signed is the text that was sent, not a re-encoding of it.

    Raises:
        MexcError: no key, an unknown one, a wrong signature, a stamp outside of the window.
    """
    key = headers.get("X-MEXC-APIKEY", "")
    if not key:
        raise MexcError(400)
    if key != api_key.key:
        raise MexcError(10072)
    params = dict(parse_qsl(query, keep_blank_values=True))
    if "signature" not in params:
        raise MexcError(700004, param="signature")
    total = "&".join(part for part in query.split("&") if not part.startswith("signature=")) + body
    if not hmac.compare_digest(sign(api_key.secret, total), params["signature"]):
        raise MexcError(700002)
    check_clock(params.get("timestamp", ""), params.get("recvWindow", str(DEFAULT_WINDOW_MS)), now_ms)


def check_clock(timestamp: str, window: str, now_ms: int) -> None:
    """MEXC's rule: timestamp < now + 1000 and now - timestamp <= recvWindow, all in ms."""
    if not timestamp.isdigit():
        raise MexcError(700004, param="timestamp")
    if not window.isdigit() or int(window) > MAX_WINDOW_MS:
        raise MexcError(700005)
    if not (int(timestamp) < now_ms + AHEAD_MS and now_ms - int(timestamp) <= int(window)):
        raise MexcError(700003)


def present(query: Mapping[str, str], name: str) -> str:
    """A mandatory parameter."""
    if not query.get(name):
        raise MexcError(700004, param=name)
    return query[name]


def integer(query: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(query.get(name, default))
    except ValueError:
        raise MexcError(700008, param=name) from None


def number(query: Mapping[str, str], name: str) -> Decimal:
    try:
        value = Decimal(present(query, name))
    except InvalidOperation:
        raise MexcError(700008, param=name) from None
    if not value.is_finite():
        raise MexcError(700008, param=name)
    return value


def limit(query: Mapping[str, str], default: int, most: int) -> int:
    """The parameter `limit`; more than `most` is taken as `most`."""
    asked = integer(query, "limit", default)
    if asked <= 0:
        raise MexcError(700008, param="limit")
    return min(asked, most)


def time_range(query: Mapping[str, str]) -> tuple[int, int]:
    """startTime and endTime in ms, both included."""
    return integer(query, "startTime", 0), integer(query, "endTime", 10**15)


TYPES = {
    "LIMIT": (LIMIT, v.GTC),
    "MARKET": (MARKET, v.IOC),
    "LIMIT_MAKER": (LIMIT, v.POST_ONLY),
    "IMMEDIATE_OR_CANCEL": (LIMIT, v.IOC),
}
MAX_OPEN_ORDERS = 500


def pair_asked(engine: Engine, request: Request) -> str:
    return pair_named(engine, present(request.query, "symbol"))


def pair_named(engine: Engine, symbol: str) -> str:
    for pair in engine.listings:
        if shapes.symbol_of(pair) == symbol:
            return pair
    raise v.UnknownPair(symbol)


class Orders:
    """The handlers of signed requests about orders."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, request: Request) -> dict:
        order = self._order_asked(request)
        if len(self._engine.open_orders()) >= MAX_OPEN_ORDERS:
            raise MexcError(30029)
        try:
            placed = self._engine.place(
                order.pair, order.side, order.kind, order.qty, order.price, tif=order.tif, client_id=order.client_id
            )
        except Refusal as refusal:
            raise self._worded(refusal, order) from refusal
        return shapes.created(placed)

    def test(self, request: Request) -> dict:
        """Validates as a new order, but for the funds, and places nothing."""
        order = self._order_asked(request)
        mark = self._engine.marks.get(order.pair)
        try:
            check(order, self._engine.listings[order.pair], mark, ())
        except Refusal as refusal:
            raise self._worded(refusal, order) from refusal
        return {}

    def _order_asked(self, request: Request) -> Order:
        query, pair = request.query, pair_asked(self._engine, request)
        side = {"BUY": BUY, "SELL": SELL}.get(present(query, "side"))
        kind, tif = TYPES.get(present(query, "type"), ("", ""))
        if side is None or not kind:
            raise MexcError(700008, param="side" if side is None else "type")
        now_ns = self._engine.clock.now_ns()
        return Order(
            id=0,
            client_id=query.get("newClientOrderId", ""),
            pair=pair,
            side=side,
            kind=kind,
            tif=tif,
            price=number(query, "price") if kind == LIMIT else ZERO,
            qty=number(query, "quantity"),
            reduce_only=False,
            created_ns=now_ns,
            updated_ns=now_ns,
        )

    def _worded(self, refusal: Refusal, order: Order) -> MexcError:
        """The refusal of an order, with the code and the words that depend on what was asked."""
        listing = self._engine.listings[order.pair]
        if isinstance(refusal, v.InsufficientFunds):
            return MexcError(30004 if order.side == BUY else 30005)
        if isinstance(refusal, v.BelowMinimum):
            return MexcError(30002, least=text(listing.min_qty) + listing.base)
        if isinstance(refusal, v.BelowNotional):
            return MexcError(30002, least=text(listing.min_notional) + listing.quote)
        if isinstance(refusal, v.AboveMaximum):
            return MexcError(30003, most=text(listing.max_qty) + listing.base)
        if isinstance(refusal, v.BadPrecision):
            wrong_price = order.kind == LIMIT and (order.price <= 0 or not on_grid(order.price, listing.price_step))
            return MexcError(400, f"{'price' if wrong_price else 'quantity'} scale is invalid")
        return refusal if isinstance(refusal, MexcError) else MexcError(CODES.get(type(refusal), 33333))

    def fetch(self, request: Request) -> dict:
        return shapes.order_row(self._engine.order(*self._order_named(request)))

    def cancel(self, request: Request) -> dict:
        try:
            return shapes.cancelled(self._engine.cancel(*self._order_named(request)))
        except v.UnknownOrder:
            raise MexcError(-2011) from None

    def _order_named(self, request: Request) -> tuple[int | None, str]:
        """The engine's number of the order in a request, or None and its client id."""
        pair_asked(self._engine, request)
        if number := request.query.get("orderId", ""):
            return order_number(number), ""
        if client_id := request.query.get("origClientOrderId", ""):
            return None, client_id
        raise MexcError(700004, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")

    def open(self, request: Request) -> list:
        pair = pair_asked(self._engine, request) if "symbol" in request.query else None
        return [shapes.order_row(order) for order in self._engine.open_orders(pair)]

    def cancel_all(self, request: Request) -> list:
        return [shapes.cancelled(order) for order in self._engine.cancel_all(pair_asked(self._engine, request))]

    def trades(self, request: Request) -> list:
        """Newest first."""
        pair, (start_ms, end_ms) = pair_asked(self._engine, request), time_range(request.query)
        of = order_number(request.query["orderId"]) if "orderId" in request.query else None
        mine = (t for t in reversed(self._engine.trades) if t.pair == pair and of in (None, t.order.id))
        rows = (shapes.trade_row(trade) for trade in mine if start_ms <= trade.ts_ns // MS <= end_ms)
        return list(islice(rows, limit(request.query, 100, 100)))
