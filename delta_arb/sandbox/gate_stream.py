"""Gate.io futures over the websocket: subscriptions and pushes.

A topic is `channel|contract|d`, or `...|i` for clients that get integer sizes; private ones push to the one account.
Every change is pushed at once: the frequency in a subscription to `order_book_update` is accepted and not used.
"""

import json
from collections.abc import Callable
from itertools import product
from typing import Any
from uuid import uuid4

from delta_arb.market import NS
from delta_arb.sandbox import gate_account as account_rows
from delta_arb.sandbox import gate_messages as rows
from delta_arb.sandbox import values as v
from delta_arb.sandbox.candles import Candles
from delta_arb.sandbox.faults import Fault
from delta_arb.sandbox.gate_messages import check_time, signs
from delta_arb.sandbox.http import Answer, VenueApi, answer_over_socket, dumps
from delta_arb.sandbox.network import Socket
from delta_arb.sandbox.values import text

ALL = "!all"
PUBLIC = {
    "futures.tickers": "stream.ticker",
    "futures.book_ticker": "stream.ticker",
    "futures.order_book_update": "stream.book",
    "futures.order_book": "stream.book",
    "futures.trades": "stream.trades",
}
PRIVATE = {
    "futures.orders": "stream.orders",
    "futures.usertrades": "stream.fills",
    "futures.positions": "stream.positions",
    "futures.balances": "stream.balance",
}
DEPTHS = (1, 5, 10, 20, 50, 100)  # of futures.order_book
BAD_ARGUMENT, BAD_AUTH = 2, 4  # codes of subscription errors


class GateStream:
    """Subscriptions and pushes of all sockets."""

    def __init__(self, api: VenueApi, key: v.ApiKey, candles: Candles) -> None:
        self._api, self._engine, self._key, self._candles = api, api.engine, key, candles
        for kind, push in {
            v.Quote: self._quote, v.BookChange: self._book, v.Print: self._print, v.Order: self._order, v.Trade: self._trade,
            v.PositionChange: self._position, v.BalanceChange: self._balance,
        }.items():  # fmt: skip
            self._engine.listen(kind, push)

    def opened(self, socket: Socket) -> None:
        socket.data["conn_id"] = uuid4().hex[:16]
        socket.data["sizes"] = "d" if socket.headers.get("X-Gate-Size-Decimal") == "1" else "i"

    # Messages in

    def received(self, socket: Socket, message: str | bytes) -> None:
        request = parsed(message)
        if request is None:
            socket.send(dumps({**self._stamp(), "error": {"code": 1, "message": "invalid request"}}))
            return
        channel, event = request["channel"], request.get("event", "")
        if channel == "futures.ping":
            socket.send(dumps({**self._stamp(), "channel": "futures.pong", "event": "", "result": None}))
        elif event in ("subscribe", "unsubscribe"):
            self._subscription(socket, request)
        else:
            self._reply(socket, request, (BAD_ARGUMENT, f"unknown channel or event: {channel} {event}"))

    def _subscription(self, socket: Socket, request: rows.Row) -> None:
        """Join or leave the topics that the payload names; answered with success, or with a code and a text."""

        def act() -> Answer:
            error = self._change_topics(socket, request)
            return Answer(error, 400 if error else 200)

        def reply(answer: Answer) -> None:
            error = answer.body
            if isinstance(error, dict):  # a refusal by script
                error = (BAD_ARGUMENT, json.dumps(error))
            self._reply(socket, request, error)

        answer_over_socket(self._api, socket, request["channel"], act, reply)

    def _change_topics(self, socket: Socket, request: rows.Row) -> tuple[int, str] | None:
        channel, payload = request["channel"], [str(part) for part in request.get("payload") or []]
        if channel in PRIVATE and request["event"] == "subscribe" and (error := self._unproven(request)):
            return error
        if channel not in PRIVATE and channel not in PUBLIC:
            return BAD_ARGUMENT, f"unknown channel {channel}"
        names = self._names(channel, payload)
        if unknown := [name for name in names if name not in (*self._engine.listings, ALL)]:
            return BAD_ARGUMENT, f"unknown contract {unknown[0]}"
        if channel == "futures.order_book":
            if payload[1:2] not in [[str(most)] for most in DEPTHS]:
                return BAD_ARGUMENT, f"the levels of a book are one of {DEPTHS}, was {payload[1:2]}"
            channel = f"{channel}.{payload[1]}"
        for name in names:
            topic = f"{channel}|{name}|{socket.data['sizes']}"
            (self._api.hub.join if request["event"] == "subscribe" else self._api.hub.leave)(socket, topic)
        return None

    def _unproven(self, request: rows.Row) -> tuple[int, str] | None:
        """Why the `auth` and uid of a private subscription do not hold."""
        auth, payload = request.get("auth") or {}, request.get("payload") or []
        signed = f"channel={request['channel']}&event={request['event']}&time={request.get('time')}"
        if auth.get("KEY") != self._key.key:
            return BAD_AUTH, '{"label":"INVALID_KEY","message":"Invalid key provided"}\n'
        if not signs(self._key.secret, signed, auth.get("SIGN", "")):
            return BAD_AUTH, '{"label":"INVALID_SIGNATURE","message":"Signature mismatch"}\n'
        if not payload or str(payload[0]) != str(rows.USER):
            return BAD_ARGUMENT, f"the payload must begin with the user id, was {payload}"
        try:
            check_time(str(request.get("time")), self._engine.clock.now_ns())
        except v.Refusal as refusal:
            return BAD_AUTH, json.dumps({"label": "REQUEST_EXPIRED", "message": str(refusal)})
        return None

    @staticmethod
    def _names(channel: str, payload: list) -> list[str]:
        """The last part of the topics: contracts, or `!all`."""
        if channel in ("futures.order_book_update", "futures.order_book"):
            return payload[:1]
        if channel in PRIVATE:
            return payload[1:] or [ALL]
        return payload

    def _reply(self, socket: Socket, request: rows.Row, error: tuple[int, str] | None) -> None:
        row = {**self._stamp(), "id": request.get("id"), "conn_id": socket.data["conn_id"], "trace_id": uuid4().hex}
        row |= {"channel": request["channel"], "event": request.get("event", ""), "payload": request.get("payload")}
        if error:
            row["error"] = {"code": error[0], "message": error[1]}
        socket.send(dumps(row | {"result": {"status": "fail" if error else "success"}}))

    def _stamp(self) -> rows.Row:
        now_ms = self._engine.clock.now_ms()
        return {"time": now_ms // 1000, "time_ms": now_ms}

    def notice(self, fault: Fault) -> None:
        """Send every client the venue's upgrade notice, or a message that no client knows, as the script has it."""
        upgrade = "The connection will soon be closed for a service upgrade. Please reconnect."
        frame = {**self._stamp(), "channel": "futures.system", "event": "update"}
        frame["result"] = {"type": "upgrade", "msg": upgrade}
        unknown = {"type": "unknown", "msg": "unknown"}
        for socket in self._api.hub.sockets:
            if fault.do == "upgrade_notice":
                socket.send(dumps(frame))
            elif fault.code == "text":
                socket.send("maintenance")
            elif fault.code == "channel":
                socket.send(dumps(frame | {"channel": "futures.unknown", "result": [unknown]}))
            else:
                for channel in {topic.partition("|")[0] for topic in socket.topics}:
                    socket.send(dumps(frame | {"channel": channel, "result": unknown}))

    # Pushes

    def _quote(self, quote: v.Quote) -> None:
        for sizes in "di":
            topic = f"futures.book_ticker|{quote.pair}|{sizes}"
            if self._api.hub.has(topic):
                self._api.hub.publish(topic, "stream.ticker", self._book_ticker(quote, sizes == "d"))
            topic = f"futures.tickers|{quote.pair}|{sizes}"
            if self._api.hub.has(topic):
                self._push("futures.tickers", quote.pair, sizes, [self._ticker(quote, sizes == "d")])

    def _book_ticker(self, quote: v.Quote, decimal: bool) -> str:
        """Written by hand: the one push that goes out by the ten thousand a second."""
        listing, now_ms = self._engine.listings[quote.pair], quote.ts_ns // 1_000_000
        bid, ask = text(quote.bid) if quote.bid_qty else "", text(quote.ask) if quote.ask_qty else ""
        bid_size, ask_size = (rows.contracts(qty, listing, decimal) for qty in (quote.bid_qty, quote.ask_qty))
        q = '"' if decimal else ""
        return (
            f'{{"time":{now_ms // 1000},"time_ms":{now_ms},"channel":"futures.book_ticker","event":"update","result":'
            f'{{"t":{now_ms},"u":{quote.book_id},"s":"{quote.pair}","b":"{bid}","B":{q}{bid_size}{q},"a":"{ask}",'
            f'"A":{q}{ask_size}{q}}}}}'
        )

    def _ticker(self, quote: v.Quote, decimal: bool) -> rows.Row:
        listing = self._engine.listings[quote.pair]
        row = rows.ticker_row(self._engine, self._candles, listing, decimal) | rows.funding_times(self._engine, listing)
        return row | {"price_type": "last", "change_from": "24h", "change_price": "0", "t": quote.ts_ns // 1_000_000}

    def _book(self, change: v.BookChange) -> None:
        listing = self._engine.listings[change.pair]
        for sizes in "di":
            if self._api.hub.has(f"futures.order_book_update|{change.pair}|{sizes}"):
                sides = {
                    name: [{"p": text(price), "s": rows.contracts(qty, listing, sizes == "d")} for price, qty in levels]
                    for name, levels in (("b", change.bids), ("a", change.asks))
                }
                row = {"t": change.ts_ns // 1_000_000, "s": change.pair, "U": change.first_id, "u": change.last_id}
                self._push("futures.order_book_update", change.pair, sizes, row | sides)

        self._levels(change)

    def _levels(self, change: v.BookChange) -> None:
        """The best levels as a whole, to whoever asked for so many."""
        book, listing = self._engine.books[change.pair], self._engine.listings[change.pair]
        for most, sizes in product(DEPTHS, "di"):
            topic = f"futures.order_book.{most}|{change.pair}|{sizes}"
            if self._api.hub.has(topic):
                sides = {
                    name: [
                        {"p": text(p), "s": rows.contracts(q, listing, sizes == "d")}
                        for p, q in book.levels(side, most)
                    ]
                    for name, side in (("asks", v.SELL), ("bids", v.BUY))
                }
                result = {"t": change.ts_ns // 1_000_000, "contract": change.pair, "id": book.id} | sides
                frame = {**self._stamp(), "channel": "futures.order_book", "event": "all", "result": result}
                self._api.hub.publish(topic, "stream.book", dumps(frame))

    def _print(self, trade: v.Print) -> None:
        def row(decimal: bool) -> rows.Row:
            shown = rows.print_row(trade, self._engine.listings[trade.pair], decimal)
            return shown | {"create_time": trade.ts_ns // NS, "create_time_ms": trade.ts_ns // 1_000_000}

        self._each("futures.trades", trade.pair, row)

    def _order(self, order: v.Order) -> None:
        self._each("futures.orders", order.pair, lambda decimal: rows.order_push(order, self._engine, decimal))

    def _trade(self, trade: v.Trade) -> None:
        self._each("futures.usertrades", trade.pair, lambda decimal: rows.trade_push(trade, self._engine, decimal))

    def _position(self, change: v.PositionChange) -> None:
        position = self._engine.account.position(change.pair)

        def row(decimal: bool) -> rows.Row:
            return account_rows.position_push(position, self._engine.account, change.ts_ns, decimal)

        self._each("futures.positions", change.pair, row)

    def _balance(self, change: v.BalanceChange) -> None:
        self._each("futures.balances", ALL, lambda decimal: account_rows.balance_push(change))

    def _each(self, channel: str, pair: str, row: Callable[[bool], rows.Row]) -> None:
        """Push one row to those who follow the contract, and to those who follow all."""
        for sizes in "di":
            for name in {pair, ALL}:
                if self._api.hub.has(f"{channel}|{name}|{sizes}"):
                    self._push(channel, name, sizes, [row(sizes == "d")])

    def _push(self, channel: str, name: str, sizes: str, result: Any) -> None:
        frame = {**self._stamp(), "channel": channel, "event": "update", "result": result}
        hook = PUBLIC.get(channel) or PRIVATE[channel]
        self._api.hub.publish(f"{channel}|{name}|{sizes}", hook, dumps(frame))


def parsed(message: str | bytes) -> rows.Row | None:
    """The request, if its parts have the types that they must have; a client's mistake must not end the socket."""
    try:
        request = json.loads(message)
    except ValueError:
        return None
    if not isinstance(request, dict) or not isinstance(request.get("channel"), str):
        return None
    payload, auth = request.get("payload") or [], request.get("auth") or {}
    named = isinstance(payload, list) and all(isinstance(name, str | int) for name in payload)
    return request if named and isinstance(auth, dict) else None
