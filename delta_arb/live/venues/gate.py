"""Gate.io USDT perpetuals behind `base.Venue`: genuine ccxt for REST, our own reader for its streams.

Contracts exist only here: sizes are converted by `VenueTerms` on the way in and out. The answer to an IOC order is its
end: "finished" with what was filled; its fees come with the fills.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson
from ccxt.base import errors as ccxt

from delta_arb.live import clock
from delta_arb.live.venues.base import SHAPES, Account, Execution, Fees, Rights, Setup, SubscriptionRefused, VenueError
from delta_arb.live.venues.book_feed import DEPTH, gate_levels, gate_quote, gate_trades
from delta_arb.live.venues.ccxt_client import FillRatio, GateClient, reading
from delta_arb.live.venues.gate_funding import GateFunding
from delta_arb.live.venues.key_permissions import gate_rights, told
from delta_arb.live.venues.order_tracker import OURS, BookedFill, OrderStatus, grid
from delta_arb.live.venues.websocket import Stream
from delta_arb.market import MS, NS, Order
from delta_arb.venue_terms import FILL_RATIOS, VenueTerms, in_base, in_bps

FILLS_PAGE = 100
QUOTES, PRINTS, LEVELS, PONG = "futures.book_ticker", "futures.trades", "futures.order_book", "futures.pong"
ORDERS, TRADES = "futures.orders", "futures.usertrades"
LEAST_COUNTDOWN_S = 5
NO_RANK = 6  # Gate's ADL rank of an account without a position


class GateVenue(GateFunding):
    """The perpetual leg; see `ccxt_venue.CcxtVenue`."""

    name = "gate"
    counts_down = True
    client = GateClient
    defaults: Mapping[str, Any] = {
        "has": {"fetchCurrencies": False},
        "options": {
            "defaultType": "swap",
            "unifiedAccount": False,
            "fetchMarkets": {"types": ["swap"]},
            "swap": {"fetchMarkets": {"settlementCurrencies": ["usdt"]}},
        },
    }
    certain = frozenset(
        ("RISK_LIMIT_EXCEEDED", "CONTRACT_IN_DELISTING", "CONTRACT_NO_COUNTER", "ORDER_FOK", "POSITION_IN_LIQUIDATION",
         "POSITION_IN_CLOSE")
    )  # fmt: skip
    taking = frozenset(("ORDER_POC_IMMEDIATE",))
    doubtful = frozenset(("REPEATED_CREATION", "ORDER_NOT_FOUND"))  # the first says that an order of this id exists
    lasting = frozenset(
        ("CONTRACT_IN_DELISTING", "CONTRACT_NOT_FOUND", "INSUFFICIENT_AVAILABLE", "BALANCE_NOT_ENOUGH",
         "MARGIN_BALANCE_NOT_ENOUGH", "FUTURES_BALANCE_NOT_ENOUGH", "RISK_LIMIT_EXCEEDED", "SIZE_TOO_SMALL",
         "SIZE_TOO_LARGE", "AMOUNT_TOO_LITTLE", "READ_ONLY", "FORBIDDEN", "IP_FORBIDDEN", "INVALID_KEY", "ACCOUNT_LOCKED",
         "SUB_ACCOUNT_LOCKED", "TRADE_RESTRICTED", "USER_NOT_FOUND", "LEVERAGE_TOO_HIGH", "INVALID_PRECISION")
    )  # fmt: skip
    gone = frozenset(("ORDER_NOT_FOUND", "ORDER_FINISHED", "ORDER_CLOSED", "ORDER_CANCELLED"))
    clock = "time", ["public", "spot"]
    hashing = "sha512"

    def __init__(self, *given: Any, **how: Any) -> None:
        super().__init__(*given, **how)
        self._ratio = FillRatio(*FILL_RATIOS[self.name])

    @property
    def symbol(self) -> str:
        return f"{self.base}/USDT:USDT"

    def _rules(self, market: dict, fees: Fees) -> VenueTerms:
        size = float(market["contractSize"])
        least, listed = float(market["limits"]["amount"]["min"] or 1.0), market["info"]
        self._decimal = listed.get("enable_decimal") in (True, "true")  # then sizes are text, in steps of the smallest
        step = least if self._decimal and 0 < least < 1 else 1.0
        least = max(step, least)
        return VenueTerms(
            venue=self.name, taker_fee_bps=fees.taker_bps, maker_fee_bps=fees.maker_bps, contract_size=size,
            qty_step=in_base(step, size), min_qty=in_base(least, size),
            price_tick=float(market["precision"]["price"]), max_leverage=float(listed["leverage_max"]),
            maintenance_rate=float(listed["maintenance_rate"]),
        )  # fmt: skip

    def _closed(self, market: dict) -> str:
        listed = market["info"]
        if listed["in_delisting"] in (True, "true"):
            return f"gate is delisting {self.symbol}"
        status = listed.get("status", "trading")
        return "" if status == "trading" else f"gate: {self.symbol} is {status}, not trading"

    async def _row(self) -> dict | None:
        call = self._clients.queries.publicFuturesGetSettleContractsContract
        try:
            row = await self._query(call, self._of_market(), what="the contract")
        except VenueError as error:
            if error.code == "CONTRACT_NOT_FOUND":
                return None
            raise
        return self._clients.queries.parse_contract_market(row, "usdt")

    async def _own_fees(self) -> Fees:
        """The account's own; the contract's `taker_fee_rate` and `maker_fee_rate` are defaults that nobody pays."""
        answer = await self._now(self._clients.orders.privateWalletGetFee, what="its fee")
        with reading("gate: its fee"):
            self._user = str(answer["user_id"])
            return Fees(*(in_bps(float(answer[f"futures_{role}_fee"])) for role in ("taker", "maker")))

    # Streams

    def _public_stream(self) -> Stream:
        return Stream(
            "gate quotes",
            self._clients.session,
            self._pace,
            url=self._url,
            hello=lambda: [json.dumps(self._subscription(*of)) for of in self._public_channels()],
            heard=self._heard_quote,
            ping=self._ping,
            again=self._reseed,
        )

    def _private_stream(self) -> Stream:
        return Stream(
            "gate own orders",
            self._clients.session,
            self._pace,
            url=self._url,
            hello=lambda: [self._signed(TRADES), self._signed(ORDERS)],
            heard=self._heard_own,
            ping=self._ping,
            again=self._missed,
        )

    def _public_channels(self) -> list[tuple[str, list[str]]]:
        levels = [(LEVELS, [self.id, str(DEPTH), "0"])] if self.on_levels else []
        return [(QUOTES, [self.id]), *([(PRINTS, [self.id])] if self.on_trade else []), *levels]

    async def _url(self) -> str:
        return self._clients.orders.urls["api"]["swap"]["usdt"]

    def _time_s(self) -> int:
        """The venue's time."""
        return (clock.now_ns() + self._clients.offset_ns) // NS

    def _ping(self) -> str:
        return json.dumps({"time": self._time_s(), "channel": "futures.ping"})

    def _subscription(self, channel: str, payload: Sequence[str]) -> dict[str, Any]:
        return {"time": self._time_s(), "channel": channel, "event": "subscribe", "payload": payload}

    def _signed(self, channel: str) -> str:
        request = self._subscription(channel, [self._user, self.id])
        signed = f"channel={channel}&event=subscribe&time={request['time']}"
        key = self._clients.orders.apiKey
        return json.dumps(request | {"auth": {"method": "api_key", "KEY": key, "SIGN": self._keyed(signed)}})

    def _heard_quote(self, message: str | bytes) -> bool:
        frame = decoded(message)
        if not self._of_channel(frame, (QUOTES, PRINTS, LEVELS)):
            return False
        if frame["channel"] == PRINTS:
            return self._traded(gate_trades, frame)
        if frame["channel"] == LEVELS:
            return self._shown(gate_levels, frame)
        size = self.terms.contract_size
        try:
            q = gate_quote(frame)
            quote = float(q.bid or 0.0), float(q.bid_qty) * size, float(q.ask or 0.0), float(q.ask_qty) * size
        except SHAPES:
            return self._unknown(f"a quote of another shape than documented: {sorted(frame)}")
        return self.quotes.push(q.symbol == self.id, quote, q.venue_ns)

    def _heard_own(self, message: str | bytes) -> bool:
        frame = decoded(message)
        channel = frame.get("channel")
        if not self._of_channel(frame, (ORDERS, TRADES)):
            return frame["event"] == "subscribe" and channel == ORDERS  # the second of the two
        try:
            rows = [row for row in frame["result"] if row["contract"] == self.id]
            if channel == ORDERS:
                heard = [self._said(row) for row in rows]
            else:
                fills = [(self._fill(row), str(row["order_id"])) for row in rows]
        except SHAPES:
            return self._unknown(f"a push of {channel} of another shape than documented")
        if channel == ORDERS:
            for status in heard:
                self._orders.hear(status)
        else:
            for fill in fills:
                self._orders.book(*fill)
        return True

    def _of_channel(self, frame: dict[str, Any], channels: Sequence[str]) -> bool:
        """Whether it is an update of one of these; what belongs to none is ignored once it is logged.

        Raises:
            SubscriptionRefused: the venue will not serve one of them.
        """
        channel, event = frame.get("channel"), frame["event"]
        if channel not in channels:
            if channel != PONG:
                self._unknown(f"a message on the channel {channel!r}")
            return False
        told = event in ("update", "all")  # the second of levels
        if not told and (error := frame.get("error")):
            raise SubscriptionRefused(f"gate: the subscription to {channel} was refused: {error}")
        return told

    # Orders

    def _template(self, side: str, reduce_only: bool, how: dict) -> dict:
        least, tick = float(self.terms.to_contracts(self.terms.qty_step)), self.terms.price_tick
        order = self.symbol, "limit", side, least, tick, how | {"reduceOnly": reduce_only}
        return self._clients.orders.create_order_request(*order)

    def _particulars(self, order_id: str, order: Order, price: str) -> dict:
        return {"size": self._size(order.qty), "price": price, "text": f"t-{order_id}"}

    def _size(self, qty: float) -> int | str:
        """Contracts (signed) as an order says them."""
        return f"{self.terms.to_contracts(qty).normalize():f}" if self._decimal else self.terms.steps(qty)

    def _by_ccxt(self, request: dict) -> dict:
        return self._clients.orders.sign("{settle}/orders", ["private", "futures"], "POST", request)

    def _sign(self, request: dict) -> dict:
        client, like = self._clients.orders, self._like
        now_ms = client.nonce()
        path = f"/api/{client.version}{like['url'].removeprefix(client.urls['api']['private']['futures'])}"
        body = orjson.dumps({name: value for name, value in request.items() if name != "settle"})
        told = f"POST\n{path}\n\n{hashlib.sha512(body).hexdigest()}\n{now_ms // 1000}"
        times = {
            "Timestamp": str(now_ms // 1000),
            "SIGN": self._keyed(told),
            "X-Gate-Exptime": str(now_ms + client.window_ms),
        }
        return like | {"headers": like["headers"] | times, "body": body.decode()}

    def _answer(self, order_id: str, answer: dict) -> OrderStatus | None:
        return self._said(answer)

    def _said(self, row: dict) -> OrderStatus:
        """An order, pushed or by REST; an unknown status is never final."""
        filled = self.terms.to_base(Decimal(str(row["size"])) - Decimal(str(row["left"])))
        ended = row["status"] == "finished"
        at_s = row.get("finish_time") or row.get("update_time") or row["create_time"]
        price = float(row["fill_price"] or 0.0)
        return OrderStatus(ours(row["text"]), str(row["id"]), int(float(at_s) * 1000) * MS, filled, price, ended)

    def _fill(self, row: dict) -> BookedFill:
        qty, price = self.terms.to_base(row["size"]), float(row["price"])
        at_ms = row.get("create_time_ms") or float(row["create_time"]) * 1000
        number = str(row.get("trade_id") or row["id"])
        points = float(
            row.get("point_fee") or 0.0
        )  # paid with a card of points, each of which was bought for about a USDT
        fee, name = float(row["fee"]) + points, ours(row.get("text", ""))
        deal = Execution(number, name, int(at_ms) * MS, qty, price, fee, fee_exact=points == 0.0)
        return BookedFill(qty, deal)

    async def test(self, order: Order) -> str:
        """Gate has no test order: only our own checks, of grid and price."""
        price = self._price(order)
        self._request("check-only", order, price)
        return "price" if price == "0" else ""

    async def _look_up(self, order_id: str) -> OrderStatus | None:
        asked = {"settle": "usdt", "order_id": f"t-{order_id}"}
        try:
            call = self._clients.orders.privateFuturesGetSettleOrdersOrderId
            row = await self._now(call, asked, what=f"order {order_id}")
        except VenueError as error:
            if error.code in self.gone:
                return None
            raise
        return self._said(row)

    async def _fills_of(self, said: OrderStatus) -> list[BookedFill]:
        asked = self._of_market(order=said.venue_id, limit=FILLS_PAGE)
        call = self._clients.orders.privateFuturesGetSettleMyTrades
        return [self._fill(row) for row in await self._now(call, asked, what=f"fills of {said.order_id}")]

    async def _cancel(self, order_id: str) -> None:
        name = f"t-{order_id}" if OURS.fullmatch(order_id) else order_id
        await self._clients.orders.privateFuturesDeleteSettleOrdersOrderId({"settle": "usdt", "order_id": name})

    async def amend(self, order_id: str, qty: float, price: float) -> None:
        """See `base.Venue.amend`."""
        tick = grid(self.terms.price_tick).price(price, qty > 0)
        asked = {"settle": "usdt", "order_id": f"t-{order_id}", "size": self._size(qty), "price": tick}
        self._count()
        try:
            await self._clients.orders.privateFuturesPutSettleOrdersOrderId(asked)
        except ccxt.BaseError as error:
            raise self._untold(error, f"{order_id} is amended") from None
        if sent := self._orders.of(order_id):
            sent.order = sent.order._replace(qty=qty, limit=price)

    async def cancel_after(self, seconds: float) -> bool:
        """See `base.Venue.cancel_after`; Gate counts from 5 s."""
        asked = self._of_market(timeout=max(LEAST_COUNTDOWN_S, math.ceil(seconds)))
        await self._now(self._clients.orders.privateFuturesPostSettleCountdownCancelAll, asked, what="its countdown")
        return True

    async def working(self) -> tuple[str, ...]:
        """Ids of all orders open on this contract; Gate's own where the order has no id of ours."""
        call = self._clients.orders.privateFuturesGetSettleOrders
        rows = await self._now(call, self._of_market(status="open"), what="open orders")
        with reading("gate: open orders"):
            return tuple(ours(row["text"]) or str(row["id"]) for row in rows)

    # Account

    async def account(self) -> Account:
        """The futures wallet, without unrealized profit, and the position; both of a dual one count."""
        asked_ns, client = clock.now_ns(), self._clients.orders
        wallet = await self._now(client.privateFuturesGetSettleAccounts, {"settle": "usdt"}, what="the account")
        rows = await self._positions()
        with reading("gate: the account"):
            held = [row for row in rows if float(row["size"])]
            size = self.terms.to_base(sum(Decimal(str(row["size"])) for row in held))
            near = min((float(row["liq_price"]) for row in held), default=0.0)
            ranks = [int(row["adl_ranking"]) for row in held if int(row["adl_ranking"]) != NO_RANK]
            free, total = float(wallet["available"]), float(wallet["total"])
        return Account(free, total, 0.0, size, near, min(ranks, default=0), asked_ns)

    async def _positions(self) -> list[dict]:
        call = self._clients.orders.privateFuturesGetSettlePositions
        rows = await self._now(call, {"settle": "usdt"}, what="positions")
        return [row for row in rows if row["contract"] == self.id]

    async def setup(self) -> Setup:
        """Modes of the account and, where it was ever used, of this contract's position."""
        queries = self._clients.queries
        wallet = await self._query(queries.privateFuturesGetSettleAccounts, {"settle": "usdt"}, what="the account")
        listed = await self.listed()
        rows = await self._positions()
        with reading("gate: the account"):
            limits = [float(row["leverage"]) or float(row["cross_leverage_limit"]) for row in rows]
            return Setup(
                trading=not listed.closed,
                dual=bool(wallet["in_dual_mode"]),
                unified=int(wallet.get("margin_mode") or 0) != 0,
                cross=any(float(row["leverage"]) == 0 for row in rows) or not rows,
                leverage=max(limits, default=0.0),
            )

    async def rights(self) -> Rights:
        queries = self._clients.queries
        detail = await told(self._query(queries.privateAccountGetDetail, what="its key"))
        keys = await told(self._query(queries.privateAccountGetMainKeys, what="its key's permissions"))
        return gate_rights(detail, keys, queries.apiKey)

    async def deals(self, start_ns: int, end_ns: int) -> tuple[Execution, ...]:
        """See `base.Venue.deals`; page by page."""
        found: dict[str, Execution] = {}
        bounds = {"from": start_ns // NS, "to": end_ns // NS, "limit": FILLS_PAGE}
        for page in range(1000):
            asked = self._of_market(**bounds, offset=page * FILLS_PAGE)
            rows = await self._page("privateFuturesGetSettleMyTradesTimerange", asked)
            with reading("gate: fills"):
                found |= {deal.deal_id: deal for deal in (self._fill(row).deal for row in rows)}
            if len(rows) < FILLS_PAGE:
                break
        inside = (deal for deal in found.values() if start_ns <= deal.ts_ns < end_ns)
        return tuple(sorted(inside, key=lambda deal: (deal.ts_ns, int(deal.deal_id))))


def ours(text: str) -> str:
    """Our id behind Gate's `text`; "" for what is not a program's order."""
    return text[2:] if text.startswith("t-") else ""


def decoded(message: str | bytes) -> dict[str, Any]:
    """A frame; those without an event (pongs) get an empty one."""
    try:
        frame = orjson.loads(message)
        frame.setdefault("event", "")
    except (ValueError, AttributeError) as error:  # not JSON, or no object
        raise VenueError(f"gate: a frame of {len(message)} characters cannot be decoded") from error
    return frame
