"""Gate.io futures over the websocket: subscriptions, pushes, and orders (`event: api`).

A topic is `channel|contract|d`, or `...|i` for clients that get integer sizes; private ones push to the one account.
Every change is pushed at once: the frequency asked for in `order_book_update` is accepted and not used.
"""

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from delta_arb.sandbox import gate_messages as rows
from delta_arb.sandbox.engine import NS
from delta_arb.sandbox.http import answer_over_socket
from delta_arb.sandbox.values import (
    BY_ADL,
    BalanceChange,
    BookChange,
    FundingPaid,
    Order,
    PositionChange,
    Print,
    Quote,
    Refusal,
    Taken,
    Trade,
    text,
)
from delta_arb.sandbox.websocket import Hub, Socket
from delta_arb.sandbox.wire import Answer, dumps

if TYPE_CHECKING:
    from delta_arb.sandbox.gate_rest import Gate

ALL = "!all"
PUBLIC = {
    "futures.tickers": "stream.ticker",
    "futures.book_ticker": "stream.ticker",
    "futures.order_book_update": "stream.book",
    "futures.trades": "stream.trades",
    "futures.candlesticks": "stream.candles",
}
PRIVATE = {
    "futures.orders": "stream.orders",
    "futures.usertrades": "stream.fills",
    "futures.positions": "stream.positions",
    "futures.balances": "stream.balance",
    "futures.liquidates": "stream.other",
    "futures.auto_deleverages": "stream.other",
}
REQUESTS = {
    "futures.login": "ws.login",
    "futures.order_place": "ws.order.create",
    "futures.order_cancel": "ws.order.cancel",
    "futures.order_cancel_cp": "ws.order.cancel",
    "futures.order_status": "ws.order.fetch",
    "futures.order_list": "ws.orders.open",
}
BAD_ARGUMENT, BAD_AUTH = 2, 4  # codes of subscription errors


def unauthorized(label: str, message: str) -> Answer:
    return Answer({"label": label, "message": message}, 401)


class GateSockets:
    """The websocket half of the face."""

    def __init__(self, gate: "Gate") -> None:
        self._gate, self._engine = gate, gate.engine
        self._hub: Hub | None = None
        self._intervals: set[str] = set()

    def attach(self, hub: Hub) -> None:
        """Listen to the engine, once there is somebody to push to."""
        first = self._hub is None
        self._hub = hub
        if not first:
            return
        for kind, push in {
            Quote: self._quote, BookChange: self._book, Print: self._print, Order: self._order, Trade: self._trade,
            PositionChange: self._position, BalanceChange: self._balance, Taken: self._taken, FundingPaid: self._funded,
        }.items():  # fmt: skip
            self._engine.listen(kind, push)

    def opened(self, socket: Socket) -> None:
        socket.data["conn_id"] = uuid4().hex[:16]
        socket.data["sizes"] = "d" if socket.headers.get("X-Gate-Size-Decimal") == "1" else "i"

    # Messages in

    def received(self, socket: Socket, message: str | bytes) -> None:
        request = understood(message)
        if request is None:
            socket.send(dumps({**self._stamp(), "error": {"code": 1, "message": "invalid request"}}))
            return
        channel, event = request["channel"], request.get("event", "")
        if channel == "futures.ping":
            socket.send(dumps({**self._stamp(), "channel": "futures.pong", "event": "", "result": None}))
        elif event in ("subscribe", "unsubscribe"):
            self._subscription(socket, request)
        elif event == "api" and channel in REQUESTS:
            self._api(socket, request, message if isinstance(message, str) else message.decode())
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

        answer_over_socket(self._gate, socket, "ws.subscribe", request["channel"], act, reply)

    def _change_topics(self, socket: Socket, request: rows.Row) -> tuple[int, str] | None:
        channel, payload = request["channel"], [str(part) for part in request.get("payload") or []]
        if channel in PRIVATE and request["event"] == "subscribe" and (error := self._unproven(request)):
            return error
        if channel not in PRIVATE and channel not in PUBLIC:
            return BAD_ARGUMENT, f"unknown channel {channel}"
        names = self._names(channel, payload)
        if channel == "futures.candlesticks":
            if not payload or payload[0] not in rows.INTERVALS:
                return BAD_ARGUMENT, f"unknown interval {payload[:1]}"
            self._intervals.add(payload[0])
        if unknown := [n for n in names if n.split("@")[0] not in (*self._engine.listings, ALL)]:
            return BAD_ARGUMENT, f"unknown contract {unknown[0]}"
        for name in names:
            topic = f"{channel}|{name}|{socket.data['sizes']}"
            (self._hub.join if request["event"] == "subscribe" else self._hub.leave)(socket, topic)
        return None

    def _unproven(self, request: rows.Row) -> tuple[int, str] | None:
        """Why the `auth` and uid of a private subscription do not hold."""
        auth, payload = request.get("auth") or {}, request.get("payload") or []
        signed = f"channel={request['channel']}&event={request['event']}&time={request.get('time')}"
        if auth.get("KEY") != self._gate.key:
            return BAD_AUTH, '{"label":"INVALID_KEY","message":"Invalid key provided"}\n'
        if not self._signed(signed, auth.get("SIGN", "")):
            return BAD_AUTH, '{"label":"INVALID_SIGNATURE","message":"Signature mismatch"}\n'
        if not payload or str(payload[0]) != str(rows.USER):
            return BAD_ARGUMENT, f"the payload must begin with the user id, was {payload}"
        try:
            self._gate.check_time(str(request.get("time")))
        except Refusal as refusal:
            return BAD_AUTH, json.dumps({"label": "REQUEST_EXPIRED", "message": str(refusal)})
        return None

    @staticmethod
    def _names(channel: str, payload: list) -> list[str]:
        """The last part of the topics: contracts, `!all`, or contract@interval."""
        if channel == "futures.order_book_update":
            return payload[:1]
        if channel == "futures.candlesticks":
            return [f"{contract}@{payload[0]}" for contract in payload[1:2]]
        if channel in PRIVATE:
            return payload[1:] or [ALL]
        return payload

    def _reply(self, socket: Socket, request: rows.Row, error: tuple[int, str] | None) -> None:
        row = {**self._stamp(), "id": request.get("id"), "conn_id": socket.data["conn_id"], "trace_id": uuid4().hex}
        row |= {"channel": request["channel"], "event": request.get("event", ""), "payload": request.get("payload")}
        if error:
            row["error"] = {"code": error[0], "message": error[1]}
        socket.send(dumps(row | {"result": {"status": "fail" if error else "success"}}))

    # Requests over the socket

    def _api(self, socket: Socket, request: rows.Row, raw: str) -> None:
        payload = request.get("payload") or {}
        channel = request["channel"]
        decimal = socket.data["sizes"] == "d" or (payload.get("req_header") or {}).get("X-Gate-Size-Decimal") == "1"
        arguments = payload.get("req_param") or {}

        def act() -> Any:
            if channel == "futures.login":
                return self._login(socket, request, raw)
            if not socket.data.get("login"):
                return unauthorized("AUTHENTICATION_FAILED", "Not login")
            return Answer(self._call(channel, arguments, decimal))

        def reply(answer: Answer) -> None:
            self._api_reply(socket, request, answer)

        answer_over_socket(self._gate, socket, REQUESTS[channel], channel, act, reply)

    def _login(self, socket: Socket, request: rows.Row, raw: str) -> Answer:
        payload = request.get("payload") or {}
        timestamp = str(payload.get("timestamp", ""))
        if payload.get("api_key") != self._gate.key:
            return unauthorized("INVALID_KEY", "Invalid key provided")
        self._gate.check_time(timestamp)
        signed = "\n".join(("api", request["channel"], raw_member(raw, "req_param"), timestamp))
        if not self._signed(signed, payload.get("signature", "")):
            return unauthorized("INVALID_SIGNATURE", "Signature mismatch")
        socket.data["login"] = True
        return Answer({"api_key": self._gate.key, "uid": str(rows.USER)})

    def _call(self, channel: str, arguments: rows.Row, decimal: bool) -> Any:
        gate, engine = self._gate, self._engine
        calls: dict[str, Callable[[], Any]] = {
            "futures.order_place": lambda: gate.my.place(arguments),
            "futures.order_cancel": lambda: engine.cancel(*gate.my.ids(str(arguments.get("order_id", "")))),
            "futures.order_cancel_cp": lambda: engine.cancel_all(engine.listing(str(arguments.get("contract"))).pair),
            "futures.order_status": lambda: engine.order(*gate.my.ids(str(arguments.get("order_id", "")))),
            "futures.order_list": lambda: gate.my.listed(arguments),
        }
        result = calls[channel]()
        if isinstance(result, list):
            return [rows.order_row(order, engine, decimal) for order in result]
        return rows.order_row(result, engine, decimal)

    def _api_reply(self, socket: Socket, request: rows.Row, answer: Answer) -> None:
        """Orders are acknowledged first; then comes the result, or `errs` with label and message."""
        payload, channel = request.get("payload") or {}, request["channel"]
        now_ms = str(self._engine.clock.now_ms())
        header = {
            "response_time": now_ms, "status": str(answer.status), "channel": channel, "event": "api",
            "client_id": f"127.0.0.1-{socket.data['conn_id'][:10]}", "conn_id": socket.data["conn_id"],
            "trace_id": uuid4().hex,
        }  # fmt: skip
        row = {"request_id": str(payload.get("req_id", "")), "header": header}
        if answer.status < 300 and channel == "futures.order_place":
            accepted = {"req_id": row["request_id"], "req_param": payload.get("req_param")}
            socket.send(dumps({**row, "ack": True, "data": {"result": accepted}}))
        data = {"result": answer.body} if answer.status < 300 else {"errs": answer.body}
        socket.send(dumps({**row, "ack": False, "data": data}))

    def _signed(self, signed: str, sign: str) -> bool:
        expected = hmac.new(self._gate.secret.encode(), signed.encode(), hashlib.sha512).hexdigest()
        return hmac.compare_digest(str(sign), expected)

    def _stamp(self) -> rows.Row:
        now_ms = self._engine.clock.now_ms()
        return {"time": now_ms // 1000, "time_ms": now_ms}

    # Pushes

    def _quote(self, quote: Quote) -> None:
        for sizes in "di":
            topic = f"futures.book_ticker|{quote.pair}|{sizes}"
            if self._hub.has(topic):
                self._hub.publish(topic, "stream.ticker", self._book_ticker(quote, sizes == "d"))
            topic = f"futures.tickers|{quote.pair}|{sizes}"
            if self._hub.has(topic):
                self._push("futures.tickers", quote.pair, sizes, [self._ticker(quote, sizes == "d")])
        self._candle(quote)

    def _book_ticker(self, quote: Quote, decimal: bool) -> str:
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

    def _ticker(self, quote: Quote, decimal: bool) -> rows.Row:
        listing = self._engine.listings[quote.pair]
        row = self._gate.ticker_row(listing, decimal) | rows.funding_times(self._engine, listing)
        return row | {"price_type": "last", "change_from": "24h", "change_price": "0", "t": quote.ts_ns // 1_000_000}

    def _candle(self, quote: Quote) -> None:
        """The newest bar of each interval that anybody ever asked for."""
        for interval in self._intervals:
            name = f"{quote.pair}@{interval}"
            for sizes in "di":
                if self._hub.has(f"futures.candlesticks|{name}|{sizes}"):
                    bar = self._gate.candles.merged(quote.pair, rows.INTERVALS[interval])[-1]
                    row = rows.candle_row(bar, self._engine.listings[quote.pair], sizes == "d")
                    row = {k: x for k, x in row.items() if k != "sum"}
                    row |= {"n": f"{interval}_{quote.pair}", "a": text(bar.value)}
                    self._push("futures.candlesticks", name, sizes, [row])

    def _book(self, change: BookChange) -> None:
        listing = self._engine.listings[change.pair]
        for sizes in "di":
            if self._hub.has(f"futures.order_book_update|{change.pair}|{sizes}"):
                sides = {
                    name: [{"p": text(price), "s": rows.contracts(qty, listing, sizes == "d")} for price, qty in levels]
                    for name, levels in (("b", change.bids), ("a", change.asks))
                }
                row = {"t": change.ts_ns // 1_000_000, "s": change.pair, "U": change.first_id, "u": change.last_id}
                self._push("futures.order_book_update", change.pair, sizes, row | sides)

    def _print(self, trade: Print) -> None:
        def row(decimal: bool) -> rows.Row:
            shown = rows.print_row(trade, self._engine.listings[trade.pair], decimal)
            return shown | {"create_time": trade.ts_ns // NS, "create_time_ms": trade.ts_ns // 1_000_000}

        self._each("futures.trades", trade.pair, row)

    def _order(self, order: Order) -> None:
        self._each("futures.orders", order.pair, lambda decimal: rows.order_push(order, self._engine, decimal))

    def _trade(self, trade: Trade) -> None:
        self._each("futures.usertrades", trade.pair, lambda decimal: rows.trade_push(trade, self._engine, decimal))

    def _position(self, change: PositionChange) -> None:
        position = self._engine.account.position(change.pair, change.side)

        def row(decimal: bool) -> rows.Row:
            return rows.position_push(position, self._engine.account, change.ts_ns, decimal)

        self._each("futures.positions", change.pair, row)

    def _balance(self, change: BalanceChange) -> None:
        self._each("futures.balances", ALL, lambda decimal: rows.balance_push(change))

    def _taken(self, taken: Taken) -> None:
        channel = "futures.auto_deleverages" if taken.reason == BY_ADL else "futures.liquidates"
        self._each(channel, taken.pair, lambda decimal: rows.taken_push(taken, self._engine, decimal))

    def _funded(self, paid: FundingPaid) -> None:
        """Told by balances and positions; there is no channel of its own."""

    def _each(self, channel: str, pair: str, row: Callable[[bool], rows.Row]) -> None:
        """Push one row to those who follow the contract, and to those who follow all."""
        for sizes in "di":
            for name in {pair, ALL}:
                if self._hub.has(f"{channel}|{name}|{sizes}"):
                    self._push(channel, name, sizes, [row(sizes == "d")])

    def _push(self, channel: str, name: str, sizes: str, result: Any) -> None:
        frame = {**self._stamp(), "channel": channel, "event": "update", "result": result}
        hook = PUBLIC.get(channel) or PRIVATE[channel]
        self._hub.publish(f"{channel}|{name}|{sizes}", hook, dumps(frame))


def understood(message: str | bytes) -> rows.Row | None:
    """The request, if its parts have the types that they must have; a client's mistake must not end the socket."""
    try:
        request = json.loads(message)
    except ValueError:
        return None
    if not isinstance(request, dict) or not isinstance(request.get("channel"), str):
        return None
    payload, api = request.get("payload"), request.get("event") == "api"
    if payload is not None and not isinstance(payload, dict if api else list):
        return None
    if not api:
        names = all(isinstance(name, str | int) for name in payload or [])
        return request if names and isinstance(request.get("auth") or {}, dict) else None
    nested = ((payload or {}).get(name) or {} for name in ("req_param", "req_header"))
    return request if all(isinstance(each, dict) for each in nested) else None


def raw_member(raw: str, name: str) -> str:
    """The JSON text of a member as it was sent (signatures are over the bytes); {} where it is missing."""
    at = raw.find(f'"{name}"')
    if at < 0:
        return "{}"
    begin = raw.index(":", at) + 1
    begin += len(raw[begin:]) - len(raw[begin:].lstrip())
    return raw[begin : json.JSONDecoder().raw_decode(raw, begin)[1]]
