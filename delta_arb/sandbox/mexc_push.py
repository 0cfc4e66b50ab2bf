"""MEXC's websocket pushes as bytes: one `PushDataV3ApiWrapper` message each, with the schema that ships in ccxt.

All numbers inside are decimal strings, as on the venue. Fields that are left at zero or empty are not on the wire,
which is why the venue's own recordings lack some of them.
"""

import ast
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..errors import ParamsError

PUBLIC = {"bookTicker": "aggre.bookTicker", "depth": "aggre.depth", "deals": "aggre.deals"}
PRIVATE = ("orders", "deals", "account")


@dataclass(frozen=True, slots=True)
class Stream:
    """What a channel name asks for: `kind` bookTicker, depth, deals (public) or orders, deals, account (private)."""

    channel: str
    kind: str
    private: bool
    symbol: str = ""
    interval_ms: int = 0

    @classmethod
    def parse(cls, channel: str) -> "Stream | None":
        """The stream behind `spot@public.aggre.bookTicker.v3.api.pb@100ms@BTCUSDT` and its like; None for no stream."""
        match channel.split("@"):
            case ["spot", name]:
                kind = name.removeprefix("private.").removesuffix(".v3.api.pb")
                return cls(channel, kind, True) if name == f"private.{kind}.v3.api.pb" and kind in PRIVATE else None
            case ["spot", name, ("10ms" | "100ms") as interval, symbol]:
                kinds = {f"public.{path}.v3.api.pb": kind for kind, path in PUBLIC.items()}
                return cls(channel, kinds[name], False, symbol, int(interval[:-2])) if name in kinds else None
        return None


def encode(channel: str, symbol: str, sent_ms: int, **body: dict) -> bytes:
    """One push; `body` is the single message of it, such as `publicAggreBookTicker={"bidPrice": "1.5", ...}`."""
    return _schema()(channel=channel, symbol=symbol, sendTime=sent_ms, **body).SerializeToString()


@cache
def _schema() -> type:
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
