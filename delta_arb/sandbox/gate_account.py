"""Gate.io futures, the private half of REST: wallet, key, positions, orders, fills, as handlers of the signed routes and as rows."""

import re
from typing import Any

from delta_arb.market import NS
from delta_arb.sandbox import gate_messages as rows
from delta_arb.sandbox import values as v
from delta_arb.sandbox.accounts import MarginAccount, Position
from delta_arb.sandbox.gate_messages import number
from delta_arb.sandbox.http import Answer, Request
from delta_arb.sandbox.perpetual import PerpetualEngine
from delta_arb.sandbox.values import BUY, SELL, ZERO, ApiKey, BalanceChange, Listing, Order, text

RISK_LIMIT = "1000000"
MASK = 12  # characters of a key that the venue shows


def position_row(position: Position, account: MarginAccount, decimal: bool) -> rows.Row:
    """One position of GET positions."""
    listing, mark = account.listings[position.pair], account.marks.get(position.pair, ZERO)
    held, margin = bool(position.size), account.position_margin(position)
    return {
        "user": rows.USER,
        "contract": position.pair,
        "size": rows.contracts(position.size, listing, decimal),
        "leverage": "0" if position.cross else text(position.leverage),
        "cross_leverage_limit": text(position.leverage) if position.cross else "0",
        "lever": text(position.leverage),
        "pos_margin_mode": "cross" if position.cross else "isolated",
        "risk_limit": RISK_LIMIT,
        "leverage_max": text(listing.leverage_max),
        "maintenance_rate": text(listing.maintenance_rate),
        "value": rows.money(abs(position.size) * mark),
        "margin": rows.money(margin),
        "entry_price": rows.money(position.entry),
        "liq_price": rows.money(account.liquidation_price(position)) if held else "0",
        "mark_price": text(mark),
        "initial_margin": rows.money(margin),
        "maintenance_margin": rows.money(account.maintenance(position)) if held else "0",
        "unrealised_pnl": rows.money(position.unrealised(mark)),
        "realised_pnl": rows.money(position.realised),
        "pnl_pnl": rows.money(position.pnl),
        "pnl_fund": rows.money(position.funding),
        "pnl_fee": rows.money(position.fees),
        "history_pnl": rows.money(position.history),
        "last_close_pnl": rows.money(position.last_close),
        "realised_point": "0",
        "history_point": "0",
        "adl_ranking": 5 if held else 6,
        "pending_orders": len(account.order_margin),
        "close_order": None,
        "mode": "single",
        "update_time": position.updated_ns // NS,
        "update_id": position.updates,
        "open_time": position.opened_ns // NS if held else 0,
        "trade_max_size": "0",
        "risk_limit_table": "",
        "average_maintenance_rate": text(listing.maintenance_rate),
        "pid": 0,
    }


PUSHED_NUMBERS = (
    "leverage", "cross_leverage_limit", "risk_limit", "leverage_max", "maintenance_rate", "margin", "entry_price",
    "liq_price", "realised_pnl", "history_pnl", "last_close_pnl", "realised_point", "history_point",
)  # fmt: skip


BALANCE_TYPES = {"deposit": "dnw", "pnl": "pnl", "fee": "fee", "fund": "fund"}


def book_row(number: int, change: BalanceChange) -> rows.Row:
    """One row of GET account_book."""
    return {
        "time": change.ts_ns // 1_000_000 / 1000,
        "change": rows.money(change.free_change),
        "balance": rows.money(change.free),
        "type": BALANCE_TYPES[change.reason],
        "text": f"{change.pair}:{change.ts_ns // NS}" if change.pair else "",
        "contract": change.pair,
        "trade_id": "0",
        "id": str(number),
    }


def tier_row(listing: Listing) -> rows.Row:
    """The one row of GET risk_limit_tiers."""
    return {
        "tier": 1,
        "risk_limit": RISK_LIMIT,
        "initial_rate": rows.money(1 / listing.leverage_max),
        "maintenance_rate": text(listing.maintenance_rate),
        "leverage_max": text(listing.leverage_max),
        "contract": listing.pair,
        "deduction": "0",
    }


def detail_row(addresses: list[str]) -> rows.Row:
    """GET account/detail."""
    return {
        "user_id": rows.USER, "ip_whitelist": addresses, "currency_pairs": [], "key": {"mode": 1}, "tier": 0,
        "copy_trading_role": 0,
    }  # fmt: skip


def key_row(key: str, addresses: list[str], made_s: int, may_withdraw: bool) -> rows.Row:
    """One row of GET account/main_keys."""
    perms = [("futures", False), ("wallet", True), ("account", True)] + [("withdrawal", False)] * may_withdraw
    return {
        "state": 1, "mode": 1, "name": "delta_arb", "currency_pairs": [], "user_id": rows.USER, "ip_whitelist": addresses,
        "perms": [{"name": name, "read_only": read_only} for name, read_only in perms], "key": f"{key[:MASK]}*****",
        "created_at": made_s, "update_at": made_s, "last_access": made_s,
    }  # fmt: skip


def account_row(account: MarginAccount) -> rows.Row:
    """GET accounts."""
    held = account.held()
    cross = [p for p in held if p.cross]
    alone = sum((account.position_margin(p) for p in held if not p.cross), ZERO)
    initial = sum((account.position_margin(p) for p in cross), ZERO)
    maintenance = sum((account.maintenance(p) for p in cross), ZERO)
    orders = sum(account.order_margin.values(), ZERO)
    cross_pnl = account.unrealised(cross_only=True)
    return {
        "user": rows.USER,
        "currency": "USDT",
        "total": rows.money(account.wallet),
        "unrealised_pnl": rows.money(account.unrealised()),
        "position_margin": rows.money(alone),
        "order_margin": rows.money(orders),
        "available": rows.money(account.available),
        "position_initial_margin": rows.money(alone + initial),
        "maintenance_margin": rows.money(sum((account.maintenance(p) for p in held), ZERO)),
        "cross_order_margin": rows.money(orders),
        "cross_initial_margin": rows.money(initial),
        "cross_maintenance_margin": rows.money(maintenance),
        "cross_unrealised_pnl": rows.money(cross_pnl),
        "cross_available": rows.money(account.available),
        "cross_margin_balance": rows.money(account.wallet - alone + cross_pnl),
        "isolated_position_margin": rows.money(alone),
        "margin_mode": 0,
        "in_dual_mode": account.settings.dual_positions,
        "position_mode": "dual" if account.settings.dual_positions else "single",
        "enable_new_dual_mode": True,
        "enable_dual_plus": False,
        "enable_tiered_mm": True,
        "enable_credit": True,
        "enable_evolved_classic": False,
        "point": rows.money(account.points),
        "bonus": "0",
        "history": {
            **{name: rows.money(account.paid[reason]) for reason, name in BALANCE_TYPES.items()},
            **dict.fromkeys(("refr", "point_dnw", "point_fee", "point_refr", "bonus_dnw", "bonus_offset"), "0"),
        },
    }


def position_push(position: Position, account: MarginAccount, now_ns: int, decimal: bool) -> rows.Row:
    """One position as the positions channel pushes it."""
    row = position_row(position, account, decimal)
    pushed = {name: float(row[name]) for name in PUSHED_NUMBERS}
    stamps = {
        "time": now_ns // NS,
        "time_ms": now_ns // 1_000_000,
        "user": str(rows.USER),
        "update_id": row["update_id"],
    }
    return {"contract": row["contract"], "size": row["size"], "mode": row["mode"], **pushed, **stamps}


def balance_push(change: BalanceChange) -> rows.Row:
    return {
        "balance": float(change.free),
        "change": float(change.free_change),
        "text": f"{change.pair}:{change.ts_ns // NS}" if change.pair else "-",
        "time": change.ts_ns // NS,
        "time_ms": change.ts_ns // 1_000_000,
        "type": BALANCE_TYPES[change.reason],
        "user": str(rows.USER),
        "currency": "usdt",
    }


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
        pairs = (
            [rows.listing_asked(self._engine, request).pair] if "contract" in request.query else self._engine.listings
        )
        return [tier_row(self._engine.listings[pair]) for pair in pairs]

    def account_book(self, request: Request) -> list[rows.Row]:
        """Changes of the wallet, newest first."""
        pair, kind = request.query.get("contract"), request.query.get("type")
        found = [
            book_row(n, change) for n, change in enumerate(self._changes, 1) if rows.in_range(request, change.ts_ns)
        ]
        return rows.page(
            request, [row for row in found if pair in (None, row["contract"]) and kind in (None, row["type"])]
        )

    def countdown(self, request: Request) -> rows.Row:
        """All orders (of a contract) are cancelled after `timeout` s, unless called again before; 0 calls it off."""
        body = rows.body_of(request)
        pair, timeout_s = str(body.get("contract") or ""), int(number(body.get("timeout"), "timeout"))
        if pair:
            self._engine.listing(pair)
        if timeout_s != 0 and timeout_s < LEAST_COUNTDOWN_S:
            raise rows.GateError("INVALID_PARAM_VALUE", f"timeout must be 0 or at least {LEAST_COUNTDOWN_S} s")
        at_ns = self._engine.clock.now_ns() + timeout_s * NS if timeout_s else 0
        self._countdowns[pair] = at_ns
        if timeout_s and self._engine.later:
            self._engine.later(timeout_s, lambda: self._count_down(pair, at_ns))
        return {"triggerTime": at_ns // 1_000_000}

    def _count_down(self, pair: str, at_ns: int) -> None:
        if self._countdowns.get(pair) == at_ns:
            self._engine.cancel_all(pair or None)

    def detail(self, request: Request) -> rows.Row:
        return detail_row(self._addresses)

    def main_keys(self, request: Request) -> list[rows.Row]:
        faults, now_s = self._engine.faults, self._engine.clock.now_ns() // NS
        unbound = faults.take("key", ("unbound",))
        made_s = now_s - round(unbound.seconds) if unbound else self._engine.clock.started_ns // NS
        may_withdraw = faults.take("key", ("may_withdraw",)) is not None
        return [key_row(self._key.key, self._addresses, made_s, may_withdraw)]

    @property
    def _addresses(self) -> list[str]:
        return [] if self._engine.faults.take("key", ("unbound",)) else ["127.0.0.1"]

    def accounts(self, request: Request) -> rows.Row:
        return account_row(self._account)

    def positions(self, request: Request) -> list[rows.Row]:
        found = [self._account.position(pair) for pair in self._engine.listings]
        if request.query.get("holding", "").lower() == "true":
            found = [position for position in found if position.size]
        return [self._position_row(position, request) for position in found]

    def position(self, request: Request) -> rows.Row:
        return self._position_row(self._account.position(rows.listing_asked(self._engine, request).pair), request)

    def leverage(self, request: Request) -> rows.Row:
        pair, leverage = (
            rows.listing_asked(self._engine, request).pair,
            number(request.query.get("leverage"), "leverage"),
        )
        limit = number(request.query.get("cross_leverage_limit", "0"), "cross_leverage_limit")
        cross = leverage == 0
        if cross:
            leverage = limit or self._engine.settings.leverage
        return self._position_row(self._engine.set_leverage(pair, leverage, cross), request)

    def _position_row(self, position: Position, request: Request) -> rows.Row:
        return position_row(position, self._account, rows.wants_decimal(request))

    def place(self, body: rows.Row) -> Order:
        """Place what a request's body asks for."""
        listing = self._engine.listing(str(body.get("contract", "")))
        size, price = number(body.get("size", 0), "size"), number(body.get("price", "0"), "price")
        tif, client_id = str(body.get("tif", "gtc")), str(body.get("text") or "")
        if tif not in rows.TIFS:
            raise rows.GateError("INVALID_PARAM_VALUE", f"unknown tif {tif}")
        if client_id and not CLIENT_ID.fullmatch(client_id):
            raise rows.GateError("INVALID_PARAM_VALUE", "text must be t- and at most 28 of 0-9 A-Z a-z _ . -")
        if price == 0 and tif != "ioc":
            raise rows.GateError("INVALID_PARAM_VALUE", "a market order (price 0) must be ioc")
        if size == 0:
            raise rows.GateError("INVALID_PARAM_VALUE", "size must not be 0")
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
            raise rows.GateError("INVALID_PARAM_VALUE", "status must be open or finished")
        if status == "open":
            orders = self._engine.open_orders(pair)
        else:
            orders = [o for o in self._engine.orders.values() if o.state != v.OPEN and pair in (None, o.pair)]
        offset, limit = int(number(query.get("offset", 0), "offset")), int(number(query.get("limit", 100), "limit"))
        return orders[::-1][offset : offset + limit]

    def create(self, request: Request) -> Answer:
        return Answer(self._order_row(self.place(rows.body_of(request)), request), 201)

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
        body, (order_id, client_id) = rows.body_of(request), self._ids(request.match["order_id"])
        order = self._engine.order(order_id, client_id)
        size, price = number(body.get("size") or 0, "size"), number(body.get("price") or 0, "price")
        qty = abs(size) * self._engine.listings[order.pair].contract_size
        return self._order_row(self._engine.amend(order.id, qty or order.qty, price or order.price), request)

    def cancel_all(self, request: Request) -> list[rows.Row]:
        side = {"bid": BUY, "ask": SELL}.get(request.query.get("side", ""))
        pair = rows.listing_asked(self._engine, request).pair
        return [self._order_row(order, request) for order in self._engine.cancel_all(pair, side)]

    def _order_row(self, order: Order, request: Request) -> rows.Row:
        return rows.order_row(order, self._engine, rows.wants_decimal(request))

    def my_trades(self, request: Request) -> list[rows.Row]:
        return self._fills(request, "id")

    def my_trades_timerange(self, request: Request) -> list[rows.Row]:
        return self._fills(request, "trade_id")

    def _fills(self, request: Request, id_name: str) -> list[rows.Row]:
        pair, order = request.query.get("contract"), request.query.get("order_id", request.query.get("order"))
        found = [t for t in self._engine.trades if pair in (None, t.pair) and order in (None, str(t.order.id))]
        shown = rows.page(request, [t for t in found if rows.in_range(request, t.ts_ns)])
        return [rows.trade_row(trade, self._engine, rows.wants_decimal(request), id_name) for trade in shown]
