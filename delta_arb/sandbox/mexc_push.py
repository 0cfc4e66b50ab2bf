"""MEXC's websocket pushes: which streams there are, their messages as bytes, and when they are sent.

Each push is one `PushDataV3ApiWrapper` message, with the schema that ships in ccxt. Public streams are aggregated: what
changed within a window of 10 or 100 ms goes out at its end, as one push. Private ones go out at once.
"""

import ast
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

from delta_arb.errors import ParamsError
from delta_arb.sandbox import mexc_messages as shapes
from delta_arb.sandbox.faults import Fault
from delta_arb.sandbox.http import VenueApi
from delta_arb.sandbox.values import ZERO, BalanceChange, BookChange, Order, Print, Quote, Trade, text

PUBLIC = {"bookTicker": "aggre.bookTicker", "depth": "aggre.depth", "deals": "aggre.deals"}
LEVELS = "public.limit.depth.v3.api.pb"
DEPTHS = (5, 10, 20)
PRIVATE = ("orders", "deals", "account")
WINDOWS_MS = (10, 100)
HOOKS = {"bookTicker": "stream.ticker", "depth": "stream.book", "deals": "stream.trades"}
PRIVATE_HOOKS = {"orders": "stream.orders", "deals": "stream.fills", "account": "stream.balance"}


@dataclass(frozen=True, slots=True)
class Stream:
    """What a channel name asks for: `kind` bookTicker, depth, deals, levels (public) or orders, deals, account (private)."""

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
            case ["spot", name, symbol, depth] if name == LEVELS and depth in map(str, DEPTHS):
                return cls(channel, "levels", False, symbol)
        return None

    @property
    def event(self) -> str:
        """The `eventType` inside of a push: the channel without its symbol."""
        return self.channel.rpartition("@")[0]


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
            (kind, pair): [
                Stream(f"spot@public.{path}.v3.api.pb@{ms}ms@{symbol}", kind, False, symbol, ms) for ms in WINDOWS_MS
            ]
            for kind, path in PUBLIC.items()
            for pair in self._engine.listings
            if (symbol := shapes.symbol_of(pair))
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
        self._public("bookTicker", quote, lambda stream, quotes: shapes.ticker_push(quotes[-1]))

    def _book(self, change: BookChange) -> None:
        self._public("depth", change, self._depth_body)
        symbol = shapes.symbol_of(change.pair)
        for depth in DEPTHS:
            event = f"spot@{LEVELS}"
            if self._api.hub.has(channel := f"{event}@{symbol}@{depth}"):
                self._send(
                    channel, symbol, HOOKS["depth"], shapes.levels_push(self._engine.books[change.pair], depth, event)
                )

    def _print(self, deal: Print) -> None:
        self._public("deals", deal, lambda stream, deals: shapes.deals_push(deals, stream.event))

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

    def _depth_body(self, stream: Stream, changes: list[BookChange]) -> dict:
        """All changes of a window as one: the last size of each level, from the first id to the last."""
        bids = {price: qty for change in changes for price, qty in change.bids}
        asks = {price: qty for change in changes for price, qty in change.asks}
        merged = changes[-1]._replace(first_id=changes[0].first_id, bids=tuple(bids.items()), asks=tuple(asks.items()))
        return shapes.depth_push(merged, stream.event)

    # Private

    def _trade(self, trade: Trade) -> None:
        self._filled[trade.order.id] = trade
        self._private("deals", shapes.symbol_of(trade.pair), lambda: shapes.deal_push(trade))

    def _order(self, order: Order) -> None:
        fill = self._filled.pop(order.id, None)
        last, maker = (fill.qty, fill.maker) if fill else (ZERO, False)
        self._private("orders", shapes.symbol_of(order.pair), lambda: shapes.order_push(order, last, maker))

    def _balance(self, change: BalanceChange) -> None:
        self._private("account", "", lambda: shapes.balance_push(change))

    def _private(self, kind: str, symbol: str, body: Callable[[], dict]) -> None:
        channel = f"spot@private.{kind}.v3.api.pb"
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


def rewritten_push(fault: Fault, push: bytes) -> bytes:
    """A push of quotes as of another symbol at half the price (`foreign`), or made later (`restamp`)."""
    message = schema().FromString(push)
    if fault.do == "restamp":
        message.sendTime += round(fault.seconds * 1000)
        return message.SerializeToString()
    message.channel = message.channel.replace(message.symbol, "OTHERUSDT")
    message.symbol = "OTHERUSDT"
    if message.WhichOneof("body") == "publicAggreBookTicker":
        ticker = message.publicAggreBookTicker
        ticker.bidPrice, ticker.askPrice = (text(Decimal(p or 0) / 2) for p in (ticker.bidPrice, ticker.askPrice))
    return message.SerializeToString()


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
