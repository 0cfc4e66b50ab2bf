"""MEXC spot behind `base.Venue`: genuine ccxt for REST, our own reader for its protobuf streams.

ccxt's `watch_bids_asks` never resolves here, and the 10 ms channel cannot be reached through it. The answer to a new
order tells neither status nor fill; both come by the private stream, and by REST where that is late.
"""

import asyncio
import contextlib
import functools
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ccxt.base import errors as ccxt
from ccxt.protobuf.mexc.PushDataV3ApiWrapper_pb2 import PushDataV3ApiWrapper
from google.protobuf.message import DecodeError

from delta_arb.live import clock
from delta_arb.live.venues.base import (
    SHAPES,
    Account,
    Execution,
    Fees,
    Funding,
    Rights,
    Setup,
    SubscriptionRefused,
    VenueError,
    within,
)
from delta_arb.live.venues.book_feed import DEPTH, mexc_levels, mexc_quote, mexc_trades
from delta_arb.live.venues.ccxt_client import MexcClient, code_of, plain, reading, refusal
from delta_arb.live.venues.ccxt_venue import CcxtVenue
from delta_arb.live.venues.key_permissions import mexc_rights, told
from delta_arb.live.venues.order_tracker import OURS, BookedFill, OrderStatus, booked, grid
from delta_arb.live.venues.websocket import Stream
from delta_arb.market import MS, Order
from delta_arb.venue_terms import VenueTerms, in_bps

log = logging.getLogger(__name__)
_quoted = functools.cache(quote)
TOO_MANY_KEYS = "730708"
GIVE_BACK_S = 1.0
PAGE = 100  # rows of myTrades at most

# By our own table; what is not in it is unknown, and an unknown state is never final. "Partially cancelled" is an end.
ENDED = frozenset(("FILLED", "CANCELED", "PARTIALLY_CANCELED"))
ENDED_PUSHED = frozenset((2, 4, 5))
BUY = 1
OWN = ("privateOrders", "privateDeals")


class MexcVenue(CcxtVenue):
    """The spot leg; see `ccxt_venue.CcxtVenue`."""

    name = "mexc"
    _listen_key = ""
    client = MexcClient
    defaults: Mapping[str, Any] = {"has": {"fetchCurrencies": False}, "options": {"defaultType": "spot"}}
    certain = frozenset(("30000", "60005", "140002", "730100"))
    taking = frozenset(("30041",))
    doubtful = frozenset(("603",))  # repeated request: an order of this id exists
    lasting = frozenset(
        ("400", "10001", "10007", "10101", "30000", "30002", "30004", "30005", "30014", "30016", "30018", "30019", "30020",
         "30021", "30027", "30028", "30029", "30032", "30041", "60005", "700001", "700002", "700006", "700007", "730001",
         "730100", "140002", "-1121")
    )  # fmt: skip
    gone = frozenset(("-2011", "-2013"))
    clock = "time", ["spot", "public"]
    hashing = "sha256"

    @property
    def symbol(self) -> str:
        return f"{self.base}/USDT"

    def _rules(self, market: dict, fees: Fees) -> VenueTerms:
        least, cost = market["limits"]["amount"]["min"], market["limits"]["cost"]["min"]
        step = float(market["precision"]["amount"])
        least, tick = max(float(least or 0.0), step), float(market["precision"]["price"])
        return VenueTerms(
            venue=self.name, taker_fee_bps=fees.taker_bps, maker_fee_bps=fees.maker_bps, qty_step=step, min_qty=least,
            min_notional_usdt=float(cost or 0.0), price_tick=tick,
        )  # fmt: skip

    def _closed(self, market: dict) -> str:
        return "" if market["active"] else f"mexc: {self.symbol} is not open for trading"

    async def _row(self) -> dict | None:
        call = self._clients.queries.fetch_spot_markets
        try:
            markets = await self._query(call, {"symbol": self.id}, what="the market")
        except VenueError as error:
            if error.code == "-1121":
                return None
            raise
        return next((market for market in markets if market["id"] == self.id), None)

    async def _own_fees(self) -> Fees:
        answer = await self._now(
            self._clients.orders.spotPrivateGetTradeFee, {"symbol": self.id}, what="its fee", weight=20
        )
        with reading("mexc: its fee"):
            return Fees(*(in_bps(float(answer["data"][f"{role}Commission"])) for role in ("taker", "maker")))

    # Streams

    def _public_stream(self) -> Stream:
        kinds = ("bookTicker", "deals")[: 2 if self.on_trade else 1]
        channels = [f"spot@public.aggre.{kind}.v3.api.pb@10ms@{self.id}" for kind in kinds]
        channels += [f"spot@public.limit.depth.v3.api.pb@{self.id}@{DEPTH}"] if self.on_levels else []
        return self._stream("quotes", self._public_url, channels, self._heard_quote, self._reseed)

    def _private_stream(self) -> Stream:
        self._listen_key = ""
        self._own = self._stream(
            "own orders",
            self._private_url,
            [f"spot@private.{kind}.v3.api.pb" for kind in ("orders", "deals")],
            self._heard_own,
            self._missed,
        )
        self._spawn(self._renew(), "listen key")
        return self._own

    def _stream(
        self, what: str, url: Callable, channels: Sequence[str], heard: Callable[[str | bytes], bool], again: Callable
    ) -> Stream:
        return Stream(
            f"mexc {what}",
            self._clients.session,
            self._pace,
            url=url,
            hello=lambda: [json.dumps({"method": "SUBSCRIPTION", "params": channels})],
            heard=heard,
            ping=lambda: '{"method":"PING"}',
            again=again,
        )

    async def _public_url(self) -> str:
        return self._clients.orders.urls["api"]["ws"]["spot"]

    async def _private_url(self) -> str:
        """With the listen key of the last dial if that one worked and can be renewed, else with a new one."""
        if not (self._own.proved and await self._renewed()):
            self._listen_key = await self._new_key()
        return f"{await self._public_url()}?listenKey={self._listen_key}"

    async def _new_key(self) -> str:
        """A listen key; of those that killed runs left behind where there may be no more (an account has 60)."""
        orders = self._clients.orders
        try:
            answer = await self._now(orders.spotPrivatePostUserDataStream, what="a listen key")
        except VenueError as refused:
            if refused.code != TOO_MANY_KEYS:
                raise
            answer = await self._now(orders.spotPrivateGetUserDataStream, what="the listen keys")
            log.warning("%s; taking the newest of those that are alive", refused)
        with reading("mexc: a listen key"):
            key = answer["listenKey"]
            return key if isinstance(key, str) else key[-1]

    async def close(self) -> None:
        """See `ccxt_venue.CcxtVenue.close`; the listen key is given back, where the venue still answers."""
        if self._listen_key and not self._closing:
            with contextlib.suppress(VenueError):
                key = {"listenKey": self._listen_key}
                gone = self._now(self._clients.orders.spotPrivateDeleteUserDataStream, key, what="its listen key's end")
                await within(gone, "mexc: the listen key's end", GIVE_BACK_S)
        await super().close()

    async def _renew(self) -> None:
        """A listen key that is not renewed dies silently."""
        while True:
            await asyncio.sleep(self._pace.renew_s)
            if not await self._renewed():
                self._own.redial("the listen key could not be renewed")

    async def _renewed(self) -> bool:
        key, call = {"listenKey": self._listen_key}, self._clients.orders.spotPrivatePutUserDataStream
        try:
            await self._now(call, key, what="the listen key's renewal")
        except VenueError as error:
            log.warning("%s", error)
            return False
        return True

    def _heard_quote(self, message: str | bytes) -> bool:
        if isinstance(message, str):
            self._heard_text(message)
            return False
        push = decoded(message)
        if push.WhichOneof("body") == "publicAggreDeals":
            return self._traded(mexc_trades, push)
        if push.WhichOneof("body") == "publicLimitDepths":
            return self._shown(mexc_levels, push)
        if push.WhichOneof("body") != "publicAggreBookTicker":
            return self._unknown(f"a push of {push.channel!r}")
        try:
            q = mexc_quote(push)
            quote = tuple(float(value or 0.0) for value in (q.bid, q.bid_qty, q.ask, q.ask_qty))
        except SHAPES:
            return self._unknown("a quote of another shape than documented")
        at_ns = q.venue_ns or clock.now_ns() + self._clients.offset_ns
        return self.quotes.push(q.symbol == self.id, quote, at_ns)

    def _heard_own(self, message: str | bytes) -> bool:
        if isinstance(message, str):
            return self._heard_text(message)
        push = decoded(message)
        body = push.WhichOneof("body")
        if body not in OWN:
            return self._unknown(f"a push of {push.channel!r}")
        if push.symbol != self.id:
            return True
        try:
            status = _status(push) if body == "privateOrders" else None
            fill = None if status else self._pushed_fill(push.privateDeals)
        except SHAPES:
            return self._unknown(f"a push of {body} of another shape than documented")
        if status:
            self._orders.hear(status)
        else:
            self._orders.book(fill, push.privateDeals.orderId)
        return True

    def _pushed_fill(self, d: Any) -> BookedFill:
        qty = float(d.quantity) if d.tradeType == BUY else -float(d.quantity)
        deal = Execution(d.tradeId, d.clientOrderId, d.time * MS, qty, float(d.price), 0.0)
        return self._booked(deal, d.feeCurrency, float(d.feeAmount or 0.0))

    def _heard_text(self, message: str) -> bool:
        """An acknowledgement or a pong; True for the first.

        Raises:
            VenueError: no answer, as an invalid listen key gets.
            SubscriptionRefused: the venue will not serve it.
        """
        try:
            said = json.loads(message)
            code, text = said["code"], str(said["msg"])
        except (ValueError, TypeError, KeyError):
            raise VenueError("mexc: a stream said what is no answer; the listen key may be invalid") from None
        if code != 0 or "Not Subscribed" in text:
            raise SubscriptionRefused(f"mexc: a subscription was refused: {text}", str(code))
        if not text.startswith(("spot@", "PONG")):
            return self._unknown(f"the message {text[:80]!r}")
        return text != "PONG"

    # Orders

    def _template(self, side: str, reduce_only: bool, how: dict) -> dict:
        client = self._clients.orders
        market = client.market(self.symbol)
        least, tick = self.terms.qty_step, self.terms.price_tick
        return client.create_spot_order_request(market, "limit", side, least, tick, None, how)

    def _particulars(self, order_id: str, order: Order, price: str) -> dict:
        amount = grid(self.terms.qty_step).size(abs(order.qty))
        return {"quantity": amount, "price": price, "newClientOrderId": order_id}

    def _by_ccxt(self, request: dict) -> dict:
        return self._clients.orders.sign("order", ["spot", "private"], "POST", request)

    def _sign(self, request: dict) -> dict:
        client, like = self._clients.orders, self._like
        symbol = _quoted(request["symbol"])  # some are Chinese; all else is plain
        asked = request | {"symbol": symbol, "timestamp": client.nonce(), "recvWindow": client.window_ms}
        query = "&".join([f"{name}={value}" for name, value in asked.items()])
        url = f"{like['url'].partition('?')[0]}?{query}&signature={self._keyed(query)}"
        return like | {"url": url, "headers": dict(like["headers"])}  # ccxt writes into them

    def _answer(self, order_id: str, answer: dict) -> OrderStatus | None:
        """That it is accepted is all; of an order that rests this is news."""
        if "orderId" not in answer:
            return None
        return OrderStatus(order_id, str(answer["orderId"]), int(answer["transactTime"]) * MS, 0.0, 0.0, False)

    async def test(self, order: Order) -> str:
        """Signature, fields, size and price as MEXC would judge them; nothing is placed."""
        request = self._request("check-only", order, self._price(order))
        try:
            await self._clients.orders.spotPrivatePostOrderTest(request)
        except ccxt.BaseError as error:
            if code := refusal(error, self.certain, self.doubtful):
                return code
            raise VenueError(f"mexc: the test order: {plain(error)}", code_of(error)) from None
        return ""

    async def _look_up(self, order_id: str) -> OrderStatus | None:
        asked = {"symbol": self.id, "origClientOrderId": order_id}
        try:
            row = await self._now(self._clients.orders.spotPrivateGetOrder, asked, what=f"order {order_id}", weight=2)
        except VenueError as error:
            if error.code in self.gone:
                return None
            raise
        filled, quote = float(row["executedQty"]), float(row["cummulativeQuoteQty"])
        signed = filled if row["side"] == "BUY" else -filled
        price = quote / filled if filled else 0.0
        ts_ns = int(row.get("updateTime") or row["time"]) * MS
        return OrderStatus(order_id, str(row["orderId"]), ts_ns, signed, price, row["status"] in ENDED)

    async def _fills_of(self, said: OrderStatus) -> list[BookedFill]:
        asked = {"symbol": self.id, "orderId": said.venue_id}
        call, what = self._clients.orders.spotPrivateGetMyTrades, f"fills of {said.order_id}"
        return [self._fill(row) for row in await self._now(call, asked, what=what, weight=10)]

    def _fill(self, row: dict) -> BookedFill:
        qty = float(row["qty"]) if row["isBuyer"] else -float(row["qty"])
        at_ns, ours = int(row["time"]) * MS, row.get("clientOrderId") or ""
        deal = Execution(row["id"], ours, at_ns, qty, float(row["price"]), 0.0)
        return self._booked(deal, row["commissionAsset"], float(row["commission"]))

    def _booked(self, deal: Execution, coin: str, fee: float) -> BookedFill:
        return booked(deal, coin, fee, self.base, self.terms.taker_fee)

    async def _cancel(self, order_id: str) -> None:
        name = "origClientOrderId" if OURS.fullmatch(order_id) else "orderId"
        await self._clients.orders.spotPrivateDeleteOrder({"symbol": self.id, name: order_id})

    async def working(self) -> tuple[str, ...]:
        """Ids of all orders open on this market; MEXC's own where the order has no id of ours."""
        asked = {"symbol": self.id}
        rows = await self._now(self._clients.orders.spotPrivateGetOpenOrders, asked, what="open orders", weight=3)
        with reading("mexc: open orders"):
            return tuple(row.get("clientOrderId") or str(row["orderId"]) for row in rows)

    # Account

    async def account(self) -> Account:
        """USDT and the coin; `coin` counts what open orders hold too."""
        asked_ns = clock.now_ns()
        answer = await self._now(self._clients.orders.spotPrivateGetAccount, what="the account", weight=10)
        with reading("mexc: the account"):
            held = {row["asset"]: (float(row["free"]), float(row["locked"])) for row in answer["balances"]}
        free, locked = held.get("USDT", (0.0, 0.0))
        return Account(free, free + locked, sum(held.get(self.base, (0.0, 0.0))), 0.0, 0.0, 0, asked_ns)

    async def setup(self) -> Setup:
        """Whether the account may trade, and this market by the interface (MEXC lists those that may)."""
        answer = await self._now(self._clients.orders.spotPrivateGetAccount, what="the account", weight=10)
        listed = await self._now(self._clients.orders.spotPublicGetDefaultSymbols, what="markets open to programs")
        with reading("mexc: the account"):
            return Setup(bool(answer["canTrade"]) and self.id in listed["data"])

    async def rights(self) -> Rights:
        queries = self._clients.queries
        account = await told(self._query(queries.spotPrivateGetAccount, what="the account"))
        withdrawals = await told(
            self._query(queries.spotPrivateGetCapitalWithdrawHistory, {"limit": 1}, what="withdrawals")
        )
        info = await told(self._query(queries.spotPrivateGetApiKeyInfo, {"apikey": queries.apiKey}, what="its key"))
        return mexc_rights(account, withdrawals, info)

    async def deals(self, start_ns: int, end_ns: int) -> tuple[Execution, ...]:
        """See `base.Venue.deals`; MEXC gives the newest hundred of a range, so it is walked backwards."""
        found: dict[str, Execution] = {}
        until_ms = (end_ns - 1) // MS
        while True:
            asked = {"symbol": self.id, "startTime": start_ns // MS, "endTime": until_ms, "limit": PAGE}
            rows = await self._page("spotPrivateGetMyTrades", asked, weight=10)
            with reading("mexc: fills"):
                fresh = {row["id"]: self._fill(row).deal for row in rows if row["id"] not in found}
            found |= fresh
            if len(rows) < PAGE:
                break
            if not fresh:
                raise VenueError(f"mexc: more than {PAGE} fills in the ms {until_ms}; ask for a shorter range")
            until_ms = min(int(row["time"]) for row in rows)
        inside = (deal for deal in found.values() if start_ns <= deal.ts_ns < end_ns)
        return tuple(sorted(inside, key=lambda deal: (deal.ts_ns, deal.deal_id)))

    async def funding(self) -> Funding:
        raise VenueError("mexc: a spot market has no funding; ask the perpetual's venue")

    async def funding_history(self, start_ns: int, end_ns: int) -> tuple[tuple[int, float], ...]:
        raise VenueError("mexc: a spot market has no funding; ask the perpetual's venue")


def decoded(message: bytes) -> PushDataV3ApiWrapper:
    """A push, by the schema that ships in ccxt."""
    try:
        return PushDataV3ApiWrapper.FromString(message)
    except DecodeError as error:
        raise VenueError(f"mexc: a push of {len(message)} bytes cannot be decoded") from error


def _status(push: PushDataV3ApiWrapper) -> OrderStatus:
    """What a push of own orders tells."""
    o = push.privateOrders
    filled = float(o.cumulativeQuantity or 0.0)
    price = float(o.cumulativeAmount or 0.0) / filled if filled else 0.0
    signed = filled if o.tradeType == BUY else -filled
    return OrderStatus(o.clientId, o.id, push.sendTime * MS, signed, price, o.status in ENDED_PUSHED)
