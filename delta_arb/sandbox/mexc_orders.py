"""MEXC spot's order endpoints: requests in the engine's terms, answers and refusals in MEXC's."""

from itertools import islice

from delta_arb.sandbox import mexc_messages as shapes
from delta_arb.sandbox import values as v
from delta_arb.sandbox.engine import Engine
from delta_arb.sandbox.http import Request
from delta_arb.sandbox.mexc_messages import MS, order_number
from delta_arb.sandbox.mexc_requests import CODES, MexcError, limit, number, present, time_range
from delta_arb.sandbox.rules import check, on_grid
from delta_arb.sandbox.values import BUY, LIMIT, MARKET, SELL, ZERO, Order, Refusal, text

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
                order.pair,
                order.side,
                order.kind,
                order.qty,
                order.price,
                tif=order.tif,
                client_id=order.client_id,
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
