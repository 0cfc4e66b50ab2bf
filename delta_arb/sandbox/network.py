"""The network between a venue and its clients: how many requests it takes, websockets and who listens to what, delays.

Every push passes the faults of its stream here, and every message the delay of the network.
"""

import asyncio
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiohttp import WSCloseCode, WSMsgType, web

from delta_arb.errors import ParamsError
from delta_arb.sandbox.faults import PUSH, QUOTE_PUSH, Fault, Faults


class Wait(NamedTuple):
    """Why a request was not taken: HTTP `status` 429, or 418 for a ban; and after how long it may be taken."""

    status: int
    seconds: float


class Limiter:
    """A weight of at most `count` in a window of `window_s` that the venue counts.

    Args:
        per_hook: count each hook by itself, instead of all together.
        special: hook -> (count, window) where it differs.
        ban_s: who asks `BAN_AFTER` times in a window that is used up is banned for so long; 0 for no bans.
    """

    BAN_AFTER = 10

    def __init__(
        self,
        count: int,
        window_s: float,
        per_hook: bool = True,
        special: Mapping[str, tuple[int, float]] | None = None,
        ban_s: float = 0.0,
    ) -> None:
        self.count, self.window_s, self.ban_s = count, window_s, ban_s
        self._per_hook, self._special = per_hook, special or {}
        self._windows: dict[str, tuple[float, int]] = {}  # hook -> when its window began, weight used in it
        self._refused = 0
        self._banned_until_s = 0.0

    def take(self, hook: str, now_s: float, weight: int = 1) -> Wait | None:
        """Count one request; None while it is within the limit."""
        if now_s < self._banned_until_s:
            return Wait(418, self._banned_until_s - now_s)
        count, window_s = self._rule(hook)
        began, used = self._windows.get(self._key(hook), (now_s, 0))
        if now_s - began >= window_s:
            began, used, self._refused = now_s, 0, 0
        self._windows[self._key(hook)] = (began, used + weight)
        if used + weight <= count:
            return None
        self._refused += 1
        if self.ban_s and self._refused >= self.BAN_AFTER:
            self._banned_until_s, self._refused = now_s + self.ban_s, 0
            return Wait(418, self.ban_s)
        return Wait(429, began + window_s - now_s)

    def allowed(self, hook: str) -> int:
        return self._rule(hook)[0]

    def resets_at_s(self, hook: str) -> float:
        return self._windows.get(self._key(hook), (0.0, 0))[0] + self._rule(hook)[1]

    def _rule(self, hook: str) -> tuple[int, float]:
        return self._special.get(hook, (self.count, self.window_s))

    def _key(self, hook: str) -> str:
        return hook if self._per_hook else ""


PUSHED = (PUSH | QUOTE_PUSH) - {"freeze"}
WRITTEN_AT_ONCE = 500  # messages
UNREAD = 1 << 18  # bytes that the network has not taken yet, above which a socket's writer waits
OUTBOX = 200_000  # pushes waiting for a client that does not read, before it is disconnected


@dataclass(slots=True)
class Network:
    """The delay of each message on its way; a round trip takes two of them.

    A round trip lasts `low_s` to `high_s`, evenly spread in its logarithm: of 5 to 150 ms half are below 27 ms and one in
    ten is above 107 ms. Equal bounds are a fixed delay; the same seed gives the same delays.
    """

    low_s: float = 0.0
    high_s: float = 0.0
    seed: int = 0
    _rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.low_s <= self.high_s < 60 or (self.high_s and not self.low_s):
            raise ParamsError(f"a round trip needs 0 < low <= high < 60 s, was {self.low_s:g} to {self.high_s:g} s")
        self._rng = random.Random(self.seed)

    @classmethod
    def of_ms(cls, text: str, seed: int = 0) -> "Network":
        """Round trips of so many ms: `20`, or drawn from `5-150`; none for ""."""
        low, _, high = (text or "0").partition("-")
        try:
            return cls(float(low) / 1000, float(high or low) / 1000, seed)
        except ValueError:
            raise ParamsError(f"a round trip is like 20 or 5-150 (ms), was {text!r}") from None

    def one_way_s(self) -> float:
        """Half of a round trip, drawn anew."""
        if not self.high_s:
            return 0.0
        return math.exp(self._rng.uniform(math.log(self.low_s), math.log(self.high_s))) / 2

    async def passes(self) -> None:
        """One message is on its way."""
        if self.high_s:
            await asyncio.sleep(self.one_way_s())


class Socket:
    """One websocket connection. `send` never waits: a writer task sends in order and feels the client's pace."""

    def __init__(self, ws: web.WebSocketResponse, http: web.Request, faults: Faults, network: Network) -> None:
        self.query = http.query
        self.headers = http.headers
        self.topics: dict[str, None] = {}  # in the order of subscription
        self.data: dict[str, Any] = {}  # the protocol's own notes
        self._ws, self._transport, self._faults, self._network = ws, http.transport, faults, network
        self._under_way: deque[str | bytes] = deque()  # messages arrive in order
        self._arrives_s = 0.0  # the last one of them
        self._outbox: deque[str | bytes] = deque()
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task] = set()

    @property
    def waiting(self) -> int:
        """Messages not yet handed to the network."""
        return len(self._outbox)

    def send(self, data: str | bytes) -> None:
        """Queue a message: `str` as a text frame, `bytes` as a binary one."""
        if self._faults.any("socket") and self._faults.take("socket", ("silence",)):
            return
        if len(self._outbox) >= OUTBOX:
            self.abort()
            return
        if not self._network.high_s:
            self._outbox.append(data)
            self._wake.set()
            return
        loop = asyncio.get_running_loop()
        self._under_way.append(data)
        self._arrives_s = max(self._arrives_s, loop.time() + self._network.one_way_s())
        loop.call_at(self._arrives_s, self._arrived)

    def _arrived(self) -> None:
        self._outbox.append(self._under_way.popleft())
        self._wake.set()

    def close(self, code: int = WSCloseCode.GOING_AWAY, message: str = "") -> None:
        """Close with this code; 1006 aborts the connection without a word."""
        if code == WSCloseCode.ABNORMAL_CLOSURE:
            self.abort()
        else:
            self.spawn(self._ws.close(code=code, message=message.encode()))

    def abort(self) -> None:
        self._outbox.clear()
        if self._transport is not None:
            self._transport.abort()

    def spawn(self, work: Awaitable[None]) -> None:
        """Run `work` as long as this socket lives."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def run(self, received: Callable[[str | bytes], None]) -> None:
        """Read until the client or we close."""
        writer = asyncio.create_task(self._write(), name="socket writer")
        try:
            async for message in self._ws:
                await self._network.passes()
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    received(message.data)
                elif message.type == WSMsgType.PING and not self._faults.take("socket", ("silence",)):
                    await self._ws.pong(message.data)
        finally:
            for task in (writer, *self._tasks):
                task.cancel()
            await asyncio.gather(writer, *self._tasks, return_exceptions=True)

    async def _write(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._outbox and not self._ws.closed:
                    taken = min(len(self._outbox), WRITTEN_AT_ONCE)
                    self._transport.write(b"".join([frame(self._outbox.popleft()) for _ in range(taken)]))
                    await asyncio.sleep(0)
                    while self._transport.get_write_buffer_size() > UNREAD:  # noqa: ASYNC110 - a transport has no event
                        await asyncio.sleep(0.001)
        except ConnectionError:
            self._outbox.clear()


def frame(data: str | bytes) -> bytes:
    """One unmasked, uncompressed websocket message (RFC 6455, 5.2); many go out in one write this way."""
    opcode, payload = (0x81, data.encode()) if isinstance(data, str) else (0x82, data)
    size = len(payload)
    if size < 126:
        return bytes((opcode, size)) + payload
    if size < 1 << 16:
        return bytes((opcode, 126)) + size.to_bytes(2) + payload
    return bytes((opcode, 127)) + size.to_bytes(8) + payload


class Hub:
    """Who listens to what at one venue; every push goes through here, and through the faults of its stream.

    Args:
        rewritten: a push as the faults `foreign` and `restamp` have it.
    """

    def __init__(self, faults: Faults, rewritten: Callable[[Fault, str | bytes], str | bytes]) -> None:
        self.sockets: dict[Socket, None] = {}
        self._faults, self._rewritten = faults, rewritten
        self._topics: dict[str, dict[Socket, None]] = {}
        self._swapped: dict[str, str | bytes] = {}

    def join(self, socket: Socket, topic: str) -> None:
        socket.topics[topic] = None
        self._topics.setdefault(topic, {})[socket] = None

    def leave(self, socket: Socket, topic: str) -> None:
        socket.topics.pop(topic, None)
        listeners = self._topics.get(topic, {})
        listeners.pop(socket, None)
        if not listeners:
            self._topics.pop(topic, None)

    def forget(self, socket: Socket) -> None:
        self.sockets.pop(socket, None)
        for topic in list(socket.topics):
            self.leave(socket, topic)

    def has(self, topic: str) -> bool:
        """Whether anybody listens: ask before building a payload."""
        return topic in self._topics

    def publish(self, topic: str, hook: str, data: str | bytes) -> None:
        """Push to all who joined `topic`; `hook` names the stream for faults, such as 'stream.ticker'."""
        if topic not in self._topics:
            return
        fault = self._faults.take(hook, PUSHED, topic) if self._faults.any(hook) else None
        if fault is None:
            self._send(topic, data)
            if topic in self._swapped:
                self._send(topic, self._swapped.pop(topic))
        elif fault.do == "duplicate":
            self._send(topic, data)
            self._send(topic, data)
        elif fault.do == "foreign":
            self._send(topic, data)
            self._send(topic, self._rewritten(fault, data))
        elif fault.do == "restamp":
            self._send(topic, self._rewritten(fault, data))
        elif fault.do == "swap":
            self._swapped[topic] = data
        elif fault.do == "delay":
            asyncio.get_running_loop().call_later(fault.seconds, self._send, topic, data)

    def _send(self, topic: str, data: str | bytes) -> None:
        for socket in tuple(self._topics.get(topic, ())):
            socket.send(data)

    @property
    def waiting(self) -> int:
        """The longest queue of any client."""
        return max((socket.waiting for socket in self.sockets), default=0)
