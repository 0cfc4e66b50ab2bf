"""Gate.io futures, the private half of REST: wallet, positions, orders, fills."""

import re
from typing import Any

from delta_arb.market import NS
from delta_arb.sandbox import gate_account_messages as account_rows
from delta_arb.sandbox import gate_messages as rows
from delta_arb.sandbox import values as v
from delta_arb.sandbox.accounts import Position
from delta_arb.sandbox.gate_requests import (
    GateError,
    body_of,
    in_range,
    listing_asked,
    number,
    page,
    wants_decimal,
)
from delta_arb.sandbox.http import Answer, Request
from delta_arb.sandbox.perpetual import PerpetualEngine
from delta_arb.sandbox.values import BUY, SELL, ApiKey, BalanceChange, Order, text

LEAST_COUNTDOWN_S = 5
CLIENT_ID = re.compile(r"t-[0-9A-Za-z_.-]{1,28}")


class GateAccount:
    """Handlers of the signed routes."""

    def __init__(self, engine: PerpetualEngine, key: ApiKey) -> None:
        self._engine, self._account, self._key = engine, engine.account, key
        self.texts_known_s = 60.0  # after the end of an order; from then on only its number names it
        self._changes: list[BalanceChange] = []  # the account book
        self._countdowns: dict[str, int] = {}  # contract, "" for all -> when its orders are cancelled, ns
        engine.listen(BalanceChange, self._changes.append)

    def fee(self, request: Request) -> rows.Row:
        taker, maker = text(self._engine.settings.taker_fee), text(self._engine.settings.maker_fee)
        return {
            "user_id": rows.USER, "taker_fee": "0.002", "maker_fee": "0.002", "gt_discount": False,
            "gt_taker_fee": "0", "gt_maker_fee": "0", "loan_fee": "0.18", "point_type": "1",
            "futures_taker_fee": taker, "futures_maker_fee": maker, "delivery_taker_fee": taker,
            "delivery_maker_fee": maker, "debit_fee": 3,
        }  # fmt: skip

    def futures_fee(self, request: Request) -> rows.Row:
        fee = {"taker_fee": text(self._engine.settings.taker_fee), "maker_fee": text(self._engine.settings.maker_fee)}
        return {pair: fee for pair in self._engine.listings if request.query.get("contract", pair) == pair}

    def risk_limit_tiers(self, request: Request) -> list[rows.Row]:
        pairs = [listing_asked(self._engine, request).pair] if "contract" in request.query else self._engine.listings
        return [account_rows.tier_row(self._engine.listings[pair]) for pair in pairs]

    def account_book(self, request: Request) -> list[rows.Row]:
        """Changes of the wallet, newest first."""
        pair, kind = request.query.get("contract"), request.query.get("type")
        found = [
            account_rows.book_row(n, change)
            for n, change in enumerate(self._changes, 1)
            if in_range(request, change.ts_ns)
        ]
        return page(request, [row for row in found if pair in (None, row["contract"]) and kind in (None, row["type"])])

    def countdown(self, request: Request) -> rows.Row:
        """All orders (of a contract) are cancelled after `timeout` s, unless called again before; 0 calls it off."""
        body = body_of(request)
        pair, timeout_s = str(body.get("contract") or ""), int(number(body.get("timeout"), "timeout"))
        if pair:
            self._engine.listing(pair)
        if timeout_s != 0 and timeout_s < LEAST_COUNTDOWN_S:
            raise GateError("INVALID_PARAM_VALUE", f"timeout must be 0 or at least {LEAST_COUNTDOWN_S} s")
        at_ns = self._engine.clock.now_ns() + timeout_s * NS if timeout_s else 0
        self._countdowns[pair] = at_ns
        if timeout_s and self._engine.later:
            self._engine.later(timeout_s, lambda: self._count_down(pair, at_ns))
        return {"triggerTime": at_ns // 1_000_000}

    def _count_down(self, pair: str, at_ns: int) -> None:
        if self._countdowns.get(pair) == at_ns:
            self._engine.cancel_all(pair or None)

    def detail(self, request: Request) -> rows.Row:
        return account_rows.detail_row(self._addresses)

    def main_keys(self, request: Request) -> list[rows.Row]:
        faults, now_s = self._engine.faults, self._engine.clock.now_ns() // NS
        unbound = faults.take("key", ("unbound",))
        made_s = now_s - round(unbound.seconds) if unbound else self._engine.clock.started_ns // NS
        may_withdraw = faults.take("key", ("may_withdraw",)) is not None
        return [account_rows.key_row(self._key.key, self._addresses, made_s, may_withdraw)]

    @property
    def _addresses(self) -> list[str]:
        return [] if self._engine.faults.take("key", ("unbound",)) else ["127.0.0.1"]

    def accounts(self, request: Request) -> rows.Row:
        return account_rows.account_row(self._account)

    def positions(self, request: Request) -> list[rows.Row]:
        found = [self._account.position(pair) for pair in self._engine.listings]
        if request.query.get("holding", "").lower() == "true":
            found = [position for position in found if position.size]
        return [self._position_row(position, request) for position in found]

    def position(self, request: Request) -> rows.Row:
        return self._position_row(self._account.position(listing_asked(self._engine, request).pair), request)

    def leverage(self, request: Request) -> rows.Row:
        pair, leverage = listing_asked(self._engine, request).pair, number(request.query.get("leverage"), "leverage")
        limit = number(request.query.get("cross_leverage_limit", "0"), "cross_leverage_limit")
        cross = leverage == 0
        if cross:
            leverage = limit or self._engine.settings.leverage
        return self._position_row(self._engine.set_leverage(pair, leverage, cross), request)

    def _position_row(self, position: Position, request: Request) -> rows.Row:
        return account_rows.position_row(position, self._account, wants_decimal(request))

    def place(self, body: rows.Row) -> Order:
        """Place what a request's body asks for."""
        listing = self._engine.listing(str(body.get("contract", "")))
        size, price = number(body.get("size", 0), "size"), number(body.get("price", "0"), "price")
        tif, client_id = str(body.get("tif", "gtc")), str(body.get("text") or "")
        if tif not in rows.TIFS:
            raise GateError("INVALID_PARAM_VALUE", f"unknown tif {tif}")
        if client_id and not CLIENT_ID.fullmatch(client_id):
            raise GateError("INVALID_PARAM_VALUE", "text must be t- and at most 28 of 0-9 A-Z a-z _ . -")
        if price == 0 and tif != "ioc":
            raise GateError("INVALID_PARAM_VALUE", "a market order (price 0) must be ioc")
        if size == 0:
            raise GateError("INVALID_PARAM_VALUE", "size must not be 0")
        return self._engine.place(
            listing.pair,
            BUY if size > 0 else SELL,
            v.LIMIT if price else v.MARKET,
            abs(size) * listing.contract_size,
            price,
            tif=rows.TIFS[tif],
            reduce_only=bool(body.get("reduce_only", False)),
            client_id=client_id,
        )

    def _ids(self, order_id: str) -> tuple[int | None, str]:
        """`(id, "")` or `(None, text)`: orders are named by either."""
        return (int(order_id), "") if order_id.isdecimal() else (None, order_id)

    def listed(self, query: dict[str, Any]) -> list[Order]:
        """Open or finished orders, newest first."""
        status = query.get("status")
        pair = self._engine.listing(str(query["contract"])).pair if query.get("contract") else None
        if status not in ("open", "finished"):
            raise GateError("INVALID_PARAM_VALUE", "status must be open or finished")
        if status == "open":
            orders = self._engine.open_orders(pair)
        else:
            orders = [o for o in self._engine.orders.values() if o.state != v.OPEN and pair in (None, o.pair)]
        offset, limit = int(number(query.get("offset", 0), "offset")), int(number(query.get("limit", 100), "limit"))
        return orders[::-1][offset : offset + limit]

    def create(self, request: Request) -> Answer:
        return Answer(self._order_row(self.place(body_of(request)), request), 201)

    def orders(self, request: Request) -> list[rows.Row]:
        return [self._order_row(order, request) for order in self.listed(dict(request.query))]

    def order(self, request: Request) -> rows.Row:
        order_id, client_id = self._ids(request.match["order_id"])
        order = self._engine.order(order_id, client_id)
        ended_s = (self._engine.clock.now_ns() - order.finished_ns) / NS if order.finished_ns else 0.0
        if client_id and ended_s > self.texts_known_s:
            raise v.UnknownOrder(f"no order {client_id}")
        return self._order_row(order, request)

    def cancel(self, request: Request) -> rows.Row:
        return self._order_row(self._engine.cancel(*self._ids(request.match["order_id"])), request)

    def amend(self, request: Request) -> rows.Row:
        """Another size or price of a resting order."""
        body, (order_id, client_id) = body_of(request), self._ids(request.match["order_id"])
        order = self._engine.order(order_id, client_id)
        size, price = number(body.get("size") or 0, "size"), number(body.get("price") or 0, "price")
        qty = abs(size) * self._engine.listings[order.pair].contract_size
        return self._order_row(self._engine.amend(order.id, qty or order.qty, price or order.price), request)

    def cancel_all(self, request: Request) -> list[rows.Row]:
        side = {"bid": BUY, "ask": SELL}.get(request.query.get("side", ""))
        pair = listing_asked(self._engine, request).pair
        return [self._order_row(order, request) for order in self._engine.cancel_all(pair, side)]

    def _order_row(self, order: Order, request: Request) -> rows.Row:
        return rows.order_row(order, self._engine, wants_decimal(request))

    def my_trades(self, request: Request) -> list[rows.Row]:
        return self._fills(request, "id")

    def my_trades_timerange(self, request: Request) -> list[rows.Row]:
        return self._fills(request, "trade_id")

    def _fills(self, request: Request, id_name: str) -> list[rows.Row]:
        pair, order = request.query.get("contract"), request.query.get("order_id", request.query.get("order"))
        found = [t for t in self._engine.trades if pair in (None, t.pair) and order in (None, str(t.order.id))]
        shown = page(request, [t for t in found if in_range(request, t.ts_ns)])
        return [rows.trade_row(trade, self._engine, wants_decimal(request), id_name) for trade in shown]
