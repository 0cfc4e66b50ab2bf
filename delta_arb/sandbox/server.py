"""The rim that both venues share: HTTP and websockets on loopback, routing by prefix, fault hooks, subscriptions.

A face (see `Face`) knows one venue's paths, fields and codes, and nothing of sockets or faults. Its handlers are plain
functions: a request is answered in one go, so that all of a venue's state is always consistent. Faults sit between
the wire and the face: `through_faults` around every request (REST, and orders over a websocket), `Hub.publish`
around every push.
"""

import asyncio
import ipaddress
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from aiohttp import WSCloseCode, WSMsgType, web

from delta_arb.errors import ParamsError

from .engine import Engine
from .faults import PUSH, REQUEST, TIMED, Fault, Faults
from .values import Refusal, dec

WRITTEN_AT_ONCE = 500  # messages
UNREAD = 1 << 18  # bytes that the network has not taken yet, above which a socket's writer waits
OUTBOX = 200_000  # pushes waiting for a client that does not read, before it is disconnected


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. `path` is without the mount prefix, `query_string` as it came (for signatures)."""

    method: str
    path: str
    query_string: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    match: Mapping[str, str]  # what the braces of the route's path matched


class Answer(NamedTuple):
    """A response: `body` is sent as JSON; bytes are sent as they are."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = {}


class Route(NamedTuple):
    """`handler(request)` returns what becomes the JSON body, or an `Answer`. `hook`: its name for faults and limits."""

    method: str
    path: str
    hook: str
    handler: Callable[[Request], Any]
    signed: bool = False


class Face(Protocol):
    """One venue's protocol. The server gives it `hub` before the first request."""

    name: str  # also the mount prefix: /mexc, /gate
    engine: Engine
    hub: "Hub"
    socket_paths: tuple[str, ...]
    limiter: "Limiter | None"

    def routes(self) -> Iterable[Route]: ...

    def authorize(self, request: Request) -> None:
        """Verify signature and clock of a signed route; raises a Refusal."""

    def refused(self, refusal: Refusal) -> Answer:
        """The venue's own answer for a refusal."""

    def fault_answer(self, fault: Fault) -> Answer:
        """The answer for the actions `error`, `error_after` (fault.status), `refuse` (fault.code) and `rate_limit`."""

    def opened(self, socket: "Socket") -> None:
        """A websocket was opened (`socket.query` is its query); a Refusal closes it."""

    def received(self, socket: "Socket", message: str | bytes) -> None:
        """A websocket message came."""

    def closed(self, socket: "Socket") -> None:
        """It is gone; its subscriptions are already ended."""

    def on_fault(self, fault: Fault) -> None:
        """A timed fault that only this venue knows (listen_key_death)."""

    def config(self, base_url: str) -> dict[str, Any]:
        """The constructor configuration for ccxt; `base_url` is like http://127.0.0.1:1234."""


class Limiter:
    """At most `count` requests of a hook (or of all, `per_hook=False`) in any `window_s` that the venue counts."""

    def __init__(self, count: int, window_s: float, per_hook: bool = True) -> None:
        self.count, self.window_s, self.per_hook = count, window_s, per_hook
        self._windows: dict[str, tuple[float, int]] = {}

    def take(self, hook: str, now_s: float) -> bool:
        """Count one request; False when it is one too many."""
        key = hook if self.per_hook else ""
        began, used = self._windows.get(key, (now_s, 0))
        if now_s - began >= self.window_s:
            began, used = now_s, 0
        self._windows[key] = (began, used + 1)
        return used < self.count

    def remaining(self, hook: str) -> int:
        return max(0, self.count - self._windows.get(hook if self.per_hook else "", (0.0, 0))[1])

    def resets_at_s(self, hook: str) -> float:
        return self._windows.get(hook if self.per_hook else "", (0.0, 0))[0] + self.window_s


class Socket:
    """One websocket connection. `send` never waits: a writer task sends in order and feels the client's pace."""

    def __init__(self, ws: web.WebSocketResponse, http: web.Request, faults: Faults) -> None:
        self.query = http.query
        self.headers = http.headers
        self.topics: dict[str, None] = {}  # in the order of subscription
        self.data: dict[str, Any] = {}  # the face's own notes
        self._ws, self._transport, self._faults = ws, http.transport, faults
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
        self._outbox.append(data)
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
    """Who listens to what at one venue; every push goes through here, and through the faults of its stream."""

    def __init__(self, faults: Faults) -> None:
        self.sockets: dict[Socket, None] = {}
        self._faults = faults
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
        fault = self._faults.take(hook, PUSH - {"freeze"}, topic) if self._faults.any(hook) else None
        if fault is None:
            self._send(topic, data)
            if topic in self._swapped:
                self._send(topic, self._swapped.pop(topic))
        elif fault.do == "duplicate":
            self._send(topic, data)
            self._send(topic, data)
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


class Cut(Exception):
    """The connection is to be aborted."""


async def through_faults(face: Face, hook: str, detail: str, act: Callable[[], Answer]) -> Answer:
    """Answer a request through the script: `act` is run at most once, and the answer may be lost.

    Raises:
        Cut: abort the connection now.
    """
    fault = face.engine.faults.take(hook, REQUEST, detail) if face.engine.faults.any(hook) else None
    if fault is None:
        return act()
    acts_first = fault.do in ("cut_after", "error_after") or (fault.do in ("delay", "hang") and not fault.before)
    answer = act() if acts_first else None
    if fault.seconds:
        await asyncio.sleep(fault.seconds)
    if fault.do == "hang":
        await asyncio.Event().wait()
    if fault.do in ("cut", "cut_after"):
        raise Cut
    if fault.do == "delay":
        return act() if answer is None else answer
    return face.fault_answer(fault)


def answer_over_socket(
    face: Face,
    socket: Socket,
    hook: str,
    detail: str,
    act: Callable[[], Any],
    reply: Callable[[Answer], None],
) -> None:
    """The same for a request that came over a websocket: answered at once, unless the script has something for it."""

    async def slowly() -> None:
        try:
            reply(await through_faults(face, hook, detail, lambda: answer_of(face, act)))
        except Cut:
            socket.abort()

    if face.engine.faults.any(hook):
        socket.spawn(slowly())
    else:
        reply(answer_of(face, act))


def answer_of(face: Face, act: Callable[[], Any]) -> Answer:
    """What `act` returns as an `Answer`, a refusal as the venue words it."""
    try:
        result = act()
    except Refusal as refusal:
        return face.refused(refusal)
    return result if isinstance(result, Answer) else Answer(result)


@dataclass(slots=True)
class Server:
    """Both faces on one loopback port, each under its own prefix; timed faults are scheduled here.

    `async with Server(faces) as server:` serves until the block ends; `server.url` is like http://127.0.0.1:1234.
    """

    faces: tuple[Face, ...]
    host: str = "127.0.0.1"
    port: int = 0
    _runner: web.AppRunner | None = None
    _timers: list[asyncio.TimerHandle] = field(default_factory=list)
    _pending: set[asyncio.Task] = field(default_factory=set)

    def __post_init__(self) -> None:
        check_loopback(self.host)
        for face in self.faces:
            face.hub = Hub(face.engine.faults)

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    async def __aenter__(self) -> "Server":
        app = web.Application(client_max_size=1 << 20)
        for face in self.faces:
            self._mount(app, face)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            where = f"{self.host} port {self.port}"
            raise ParamsError(f"cannot listen on {where}: {error.strerror}; choose another port") from error
        self.port = self._runner.addresses[0][1]
        for face in self.faces:
            self._schedule(face)
        return self

    async def __aexit__(self, *_: object) -> None:
        for timer in self._timers:
            timer.cancel()
        for task in tuple(self._pending):
            task.cancel()
        for face in self.faces:
            for socket in tuple(face.hub.sockets):
                socket.abort()
        await self._runner.cleanup()

    def _mount(self, app: web.Application, face: Face) -> None:
        prefix = f"/{face.name}"
        for route in face.routes():
            app.router.add_route(route.method, prefix + route.path, self._rest(face, route))
        for path in face.socket_paths:
            app.router.add_get(prefix + path, self._websocket(face))

    def _rest(self, face: Face, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(http: web.Request) -> web.StreamResponse:
            task = asyncio.current_task()
            self._pending.add(task)
            try:
                request = await _request(http, face.name)
                detail = f"{request.method} {request.path}"
                answer = await through_faults(face, route.hook, detail, lambda: _act(face, route, request))
                return _response(answer)
            except Cut:
                http.transport.abort()
                return web.Response()
            finally:
                self._pending.discard(task)

        return serve

    def _websocket(self, face: Face) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(http: web.Request) -> web.StreamResponse:
            ws = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=1 << 20)
            await ws.prepare(http)
            socket = Socket(ws, http, face.engine.faults)
            face.hub.sockets[socket] = None
            try:
                face.opened(socket)
                await socket.run(lambda message: face.received(socket, message))
            except Refusal as refusal:
                await ws.close(code=WSCloseCode.POLICY_VIOLATION, message=str(refusal).encode())
            finally:
                face.hub.forget(socket)
                face.closed(socket)
            return ws

        return serve

    def _schedule(self, face: Face) -> None:
        """Timed faults begin (and end) on their own; those added later are taken up too."""
        loop, faults = asyncio.get_running_loop(), face.engine.faults
        face.engine.later = loop.call_later

        def arm(fault: Fault) -> None:
            if fault.do not in TIMED:
                return
            delay = fault.from_s - faults.now_s
            if delay <= 0:
                begin(face, fault)
            else:
                self._timers.append(loop.call_later(delay, begin, face, fault))
            if fault.until_s != float("inf"):
                self._timers.append(loop.call_later(max(0.0, fault.until_s - faults.now_s), end, face, fault))

        for fault in faults.script:
            arm(fault)
        faults.on_add = arm


def begin(face: Face, fault: Fault) -> None:
    """A timed fault begins."""
    engine = face.engine
    engine.faults.note(fault, fault.at)
    if fault.do == "close":
        for socket in tuple(face.hub.sockets):
            socket.close(fault.status or WSCloseCode.GOING_AWAY)
    elif fault.do == "drift":
        engine.clock.offset_s = fault.seconds
    elif fault.do == "listen_key_death":
        face.on_fault(fault)
    for pair in engine.listings:
        if fault.do == "delist":
            engine.delist(pair)
        elif fault.do in ("liquidate", "adl"):
            engine.take_positions(pair, fault.do, dec(fault.fraction))


def end(face: Face, fault: Fault) -> None:
    """A timed state ends."""
    if fault.do == "drift":
        face.engine.clock.offset_s = 0.0
    elif fault.do == "delist":
        for pair in face.engine.listings:
            face.engine.delist(pair, on=False)


def check_loopback(host: str) -> None:
    """Refuse to serve anything but this machine: the venues know no real keys and take no real orders."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ParamsError(f"the sandbox serves this machine only, was told to listen on {host!r}; use 127.0.0.1 or ::1")


async def _request(http: web.Request, name: str) -> Request:
    body = await http.read() if http.can_read_body else b""
    path = http.rel_url.raw_path.removeprefix(f"/{name}")
    return Request(http.method, path, http.rel_url.raw_query_string, http.query, http.headers, body, http.match_info)


def _act(face: Face, route: Route, request: Request) -> Answer:
    """Limits, signature, handler."""

    def act() -> Any:
        if route.signed:
            face.authorize(request)
        return route.handler(request)

    if face.limiter and not face.limiter.take(route.hook, face.engine.clock.seconds()):
        return face.fault_answer(Fault(at=route.hook, do="rate_limit"))
    return answer_of(face, act)


def _response(answer: Answer) -> web.Response:
    body = answer.body if isinstance(answer.body, bytes) else dumps(answer.body).encode()
    return web.Response(body=body, status=answer.status, headers=answer.headers, content_type="application/json")


def dumps(value: Any) -> str:
    """JSON as the venues write it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
