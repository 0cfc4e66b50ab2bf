"""MEXC's websockets: subscriptions and their limits, PING, listen keys, and the pushes.

A socket is closed by the venue after 30 s without a valid subscription, after 60 s in which neither a push went out nor
a ping came in, and after a day in any case. A listen key lives 60 minutes after its creation or last extension; when it
dies, its sockets stay open and fall silent, pongs included, which is what clients have reported.

Each push is one `PushDataV3ApiWrapper` message, with the schema that ships in ccxt. Public streams are aggregated: what
changed within a window of 10 or 100 ms goes out at its end, as one push. Private ones go out at once.
"""

import ast
import asyncio
import importlib.util
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from delta_arb.errors import ParamsError
from delta_arb.sandbox.http import VenueApi, answer_over_socket, dumps
from delta_arb.sandbox.mexc_messages import (
    balance_push,
    deal_push,
    deals_push,
    depth_push,
    order_push,
    symbol_of,
    ticker_push,
)
from delta_arb.sandbox.mexc_requests import MexcError
from delta_arb.sandbox.values import ZERO, BalanceChange, BookChange, Order, Print, Quote, Trade
from delta_arb.sandbox.websocket import Socket

INVALID_KEY = "Invalid listen key"
PUBLIC = {"bookTicker": "aggre.bookTicker", "depth": "aggre.depth", "deals": "aggre.deals"}
PRIVATE = ("orders", "deals", "account")
WINDOWS_MS = (10, 100)
HOOKS = {"bookTicker": "stream.ticker", "depth": "stream.book", "deals": "stream.trades"}
PRIVATE_HOOKS = {"orders": "stream.orders", "deals": "stream.fills", "account": "stream.balance"}


@dataclass(frozen=True, slots=True)
class Limits:
    """What the venue allows; the defaults are the documented ones."""

    streams: int = 30  # per socket
    listen_keys: int = 60  # per account
    sockets: int = 5  # per listen key
    listen_key_s: float = 3600.0
    unsubscribed_s: float = 30.0
    silent_s: float = 60.0
    lifetime_s: float = 86_400.0


class ListenKeys:
    """Keys to the private streams, each with its end in venue seconds since the start."""

    def __init__(self, api: VenueApi, limits: Limits) -> None:
        self._api, self._limits = api, limits
        self._until_s: dict[str, float] = {}

    def alive(self) -> list[str]:
        now_s = self._api.engine.clock.seconds()
        return [key for key, until_s in self._until_s.items() if until_s > now_s]

    def create(self) -> str:
        if len(self.alive()) >= self._limits.listen_keys:
            raise MexcError(730708)
        key = secrets.token_hex(32)
        self._live(key)
        return key

    def extend(self, key: str) -> None:
        self._check(key)
        self._live(key)

    def delete(self, key: str) -> None:
        """End a key now, and close its sockets."""
        self._check(key)
        del self._until_s[key]
        for socket in self._sockets(key):
            socket.close()

    def kill(self) -> None:
        """All keys die at once, as if their time were up."""
        for key in list(self._until_s):
            self._until_s[key] = 0.0
            self._die(key)

    def admits(self, key: str) -> bool:
        """Whether a further socket may be opened with this key."""
        return key in self.alive() and len(self._sockets(key)) <= self._limits.sockets

    def _check(self, key: str) -> None:
        if not key:
            raise MexcError(700004, param="listenKey")
        if key not in self.alive():
            raise MexcError(730708)

    def _live(self, key: str) -> None:
        self._until_s[key] = self._api.engine.clock.seconds() + self._limits.listen_key_s
        if self._api.engine.later:
            self._api.engine.later(self._limits.listen_key_s + 0.001, lambda: self._die(key))

    def _die(self, key: str) -> None:
        """Silence the sockets of a key, unless it was extended meanwhile."""
        if key in self._until_s and key not in self.alive():
            del self._until_s[key]
            for socket in self._sockets(key):
                socket.data["dead"] = True
                for topic in list(socket.topics):
                    self._api.hub.leave(socket, topic)

    def _sockets(self, key: str) -> list[Socket]:
        return [socket for socket in self._api.hub.sockets if socket.data.get("key") == key]


class MexcStream:
    """Subscriptions and pushes of all sockets."""

    def __init__(self, api: VenueApi, limits: Limits, aggregated: bool) -> None:
        self.keys, self.pushes = ListenKeys(api, limits), Pushes(api, aggregated)
        self._api, self._limits = api, limits
        self._symbols = {symbol_of(pair) for pair in api.engine.listings}

    def opened(self, socket: Socket) -> None:
        socket.data["heard_s"] = self._api.engine.clock.seconds()
        socket.spawn(self._watch(socket))
        key = socket.query.get("listenKey")
        if key is None:
            return
        socket.data["key"] = key
        if not self.keys.admits(key):
            socket.data["dead"] = True
            socket.send(INVALID_KEY)

    def received(self, socket: Socket, message: str | bytes) -> None:
        if socket.data.get("dead"):
            return
        try:
            request = json.loads(message)
            method, params, number = str(request["method"]).upper(), request.get("params") or [], request.get("id", 0)
        except (ValueError, TypeError, KeyError, AttributeError):
            socket.send(dumps(_ack("Invalid request")))
            return
        if method == "PING":
            socket.data["heard_s"] = self._api.engine.clock.seconds()
            socket.send(dumps(_ack("PONG", number)))
        elif method == "SUBSCRIPTION":
            answer_over_socket(
                self._api,
                socket,
                ",".join(map(str, params)),
                lambda: _ack(self._subscribe(socket, params), number),
                lambda answer: socket.send(dumps(answer.body)),
            )
        elif method == "UNSUBSCRIPTION":
            for channel in params:
                self._api.hub.leave(socket, str(channel))
            socket.send(dumps(_ack(",".join(map(str, params)), number)))
        else:
            socket.send(dumps(_ack(f"Invalid method {method}", number)))

    def _subscribe(self, socket: Socket, params: list) -> str:
        """Join the channels; the text of the acknowledgement, which is also how the venue refuses."""
        channels = [str(channel) for channel in params]
        blocked = [channel for channel in channels if not self._allows(socket, channel)]
        for channel in channels:
            if channel in blocked:
                continue
            if len(socket.topics) >= self._limits.streams and channel not in socket.topics:
                blocked.append(channel)
            else:
                self._api.hub.join(socket, channel)
        if blocked:
            return f"Not Subscribed successfully! [{','.join(blocked)}].  Reason： Blocked! "
        return ",".join(channels)

    def _allows(self, socket: Socket, channel: str) -> bool:
        stream = Stream.parse(channel)
        if stream is None:
            return False
        return "key" in socket.data if stream.private else stream.symbol in self._symbols

    async def _watch(self, socket: Socket) -> None:
        """Close the socket when its time is up."""
        clock, limits = self._api.engine.clock, self._limits
        opened_s = clock.seconds()
        while True:
            await asyncio.sleep(min(limits.unsubscribed_s, limits.silent_s) / 10)
            if socket.topics:
                socket.data["subscribed_s"] = clock.seconds()
            unsubscribed_s = clock.seconds() - socket.data.get("subscribed_s", opened_s)
            if (
                unsubscribed_s > limits.unsubscribed_s
                or self._silent_s(socket) > limits.silent_s
                or clock.seconds() - opened_s > limits.lifetime_s
            ):
                socket.close()
                return

    def _silent_s(self, socket: Socket) -> float:
        pushed = self.pushes.last_s
        last_s = max((pushed.get(topic, 0.0) for topic in socket.topics), default=0.0)
        return self._api.engine.clock.seconds() - max(last_s, socket.data["heard_s"])


def _ack(msg: str, number: object = 0) -> dict:
    return {"id": number, "code": 0, "msg": msg}


@dataclass(frozen=True, slots=True)
class Stream:
    """What a channel name asks for: `kind` bookTicker, depth, deals (public) or orders, deals, account (private)."""

    channel: str
    kind: str
    private: bool
    symbol: str = ""
    window_ms: int = 0

    @classmethod
    def parse(cls, channel: str) -> "Stream | None":
        """The stream behind `spot@public.aggre.bookTicker.v3.api.pb@100ms@BTCUSDT` and its like; None for no stream."""
        match channel.split("@"):
            case ["spot", name]:
                kind = name.removeprefix("private.").removesuffix(".v3.api.pb")
                return cls(channel, kind, True) if name == f"private.{kind}.v3.api.pb" and kind in PRIVATE else None
            case ["spot", name, ("10ms" | "100ms") as window, symbol]:
                kinds = {f"public.{path}.v3.api.pb": kind for kind, path in PUBLIC.items()}
                return cls(channel, kinds[name], False, symbol, int(window[:-2])) if name in kinds else None
        return None

    @property
    def event(self) -> str:
        """The `eventType` inside of a push: the channel without its symbol."""
        return self.channel.rpartition("@")[0]


def public_stream(kind: str, window_ms: int, symbol: str) -> Stream:
    return Stream(f"spot@public.{PUBLIC[kind]}.v3.api.pb@{window_ms}ms@{symbol}", kind, False, symbol, window_ms)


def private_channel(kind: str) -> str:
    return f"spot@private.{kind}.v3.api.pb"


class Pushes:
    """Listens to the engine and pushes what the venue would, to whoever subscribed.

    Args:
        api: whose engine and hub these are.
        aggregated: gather within the stream's window; otherwise each change is pushed at once (for load tests).
    """

    def __init__(self, api: VenueApi, aggregated: bool = True) -> None:
        self.last_s: dict[str, float] = {}  # when a channel was last pushed, venue seconds since the start
        schema()  # now, so that no push waits for it
        self._api, self._engine, self._aggregated = api, api.engine, aggregated
        self._gathered: dict[str, list] = {}
        self._filled: dict[int, Trade] = {}  # the fill that the next push of an order is about
        self._streams = {
            (kind, pair): [public_stream(kind, window_ms, symbol_of(pair)) for window_ms in WINDOWS_MS]
            for kind in PUBLIC
            for pair in self._engine.listings
        }
        for event, listener in (
            (Quote, self._quote),
            (BookChange, self._book),
            (Print, self._print),
            (Trade, self._trade),
            (Order, self._order),
            (BalanceChange, self._balance),
        ):
            self._engine.listen(event, listener)

    # Public

    def _quote(self, quote: Quote) -> None:
        self._public("bookTicker", quote, self._ticker_body)

    def _book(self, change: BookChange) -> None:
        self._public("depth", change, self._depth_body)

    def _print(self, deal: Print) -> None:
        self._public("deals", deal, lambda stream, deals: deals_push(deals, stream.event))

    def _public(self, kind: str, event: Quote | BookChange | Print, body: Callable[[Stream, list], dict]) -> None:
        for stream in self._streams[kind, event.pair]:
            if not self._api.hub.has(stream.channel):
                continue
            if not self._aggregated or self._engine.later is None:
                self._send(stream.channel, stream.symbol, HOOKS[kind], body(stream, [event]))
            elif stream.channel in self._gathered:
                self._gathered[stream.channel].append(event)
            else:
                self._gathered[stream.channel] = [event]
                rest_ms = stream.window_ms - self._engine.clock.now_ms() % stream.window_ms
                self._engine.later(rest_ms / 1000, lambda stream=stream: self._window_ends(stream, body))

    def _window_ends(self, stream: Stream, body: Callable[[Stream, list], dict]) -> None:
        events = self._gathered.pop(stream.channel)
        self._send(stream.channel, stream.symbol, HOOKS[stream.kind], body(stream, events))

    def _ticker_body(self, stream: Stream, quotes: list[Quote]) -> dict:
        return ticker_push(quotes[-1])

    def _depth_body(self, stream: Stream, changes: list[BookChange]) -> dict:
        """All changes of a window as one: the last size of each level, from the first id to the last."""
        bids = {price: qty for change in changes for price, qty in change.bids}
        asks = {price: qty for change in changes for price, qty in change.asks}
        merged = changes[-1]._replace(
            first_id=changes[0].first_id,
            bids=tuple(bids.items()),
            asks=tuple(asks.items()),
        )
        return depth_push(merged, stream.event)

    # Private

    def _trade(self, trade: Trade) -> None:
        self._filled[trade.order.id] = trade
        self._private("deals", symbol_of(trade.pair), lambda: deal_push(trade))

    def _order(self, order: Order) -> None:
        fill = self._filled.pop(order.id, None)
        last, maker = (fill.qty, fill.maker) if fill else (ZERO, False)
        self._private("orders", symbol_of(order.pair), lambda: order_push(order, last, maker))

    def _balance(self, change: BalanceChange) -> None:
        self._private("account", "", lambda: balance_push(change))

    def _private(self, kind: str, symbol: str, body: Callable[[], dict]) -> None:
        channel = private_channel(kind)
        if self._api.hub.has(channel):
            self._send(channel, symbol, PRIVATE_HOOKS[kind], body())

    def _send(self, channel: str, symbol: str, hook: str, body: dict) -> None:
        self.last_s[channel] = self._engine.clock.seconds()
        self._api.hub.publish(channel, hook, encode(channel, symbol, self._engine.clock.now_ms(), **body))


def encode(channel: str, symbol: str, sent_ms: int, **body: dict) -> bytes:
    """One push; `body` is the single message of it, such as `publicAggreBookTicker={"bidPrice": "1.5", ...}`.

    Fields that are zero or empty are not on the wire, which is why the venue's own recordings lack some of them.
    """
    return schema()(channel=channel, symbol=symbol, sendTime=sent_ms, **body).SerializeToString()


@cache
def schema() -> type:
    """The message class of the wrapper.

    The descriptors are read out of ccxt's generated modules instead of importing those: an import of them runs all of
    `ccxt/__init__`, half a second of CPU, and the local venue starts faster than that. Their own pool keeps them out
    of the way of a client that lives in the same process and does import them.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    pool, done = descriptor_pool.DescriptorPool(), set()

    def load(proto: str) -> None:
        if proto not in done:
            done.add(proto)
            serialized = _serialized(_folder() / proto.replace(".proto", "_pb2.py"))
            for needed in descriptor_pb2.FileDescriptorProto.FromString(serialized).dependency:
                load(needed)
            pool.AddSerializedFile(serialized)

    load("PushDataV3ApiWrapper.proto")
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("PushDataV3ApiWrapper"))


def _folder() -> Path:
    found = importlib.util.find_spec("ccxt")
    if found is None or not found.submodule_search_locations:
        raise ParamsError("ccxt is not installed, and MEXC's message schema ships in it; install ccxt")
    return Path(found.submodule_search_locations[0]) / "protobuf" / "mexc"


def _serialized(module: Path) -> bytes:
    """The argument of the `AddSerializedFile(b"...")` call of a generated module."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "AddSerializedFile":
            return ast.literal_eval(node.args[0])
    raise ParamsError(f"no descriptor in {module.name}; this ccxt generates its messages differently, use 4.5.90")
