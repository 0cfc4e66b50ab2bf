"""What both venues share: an HTTP and websocket server on loopback, with faults and network delay.

A venue's protocol (see `VenueApi`) knows its paths, fields and codes, and nothing of connections or faults. Its handlers
are plain functions: a request is answered in one go, so that all of a venue's state is always consistent. Faults stand
between the wire and the protocol: `through_faults` around every request, `Hub.publish` around every push.
"""

import asyncio
import ipaddress
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from aiohttp import WSCloseCode, web

from delta_arb.errors import ParamsError
from delta_arb.sandbox.engine import Engine
from delta_arb.sandbox.faults import REQUEST, TIMED, Fault
from delta_arb.sandbox.values import Refusal, dec
from delta_arb.sandbox.websocket import Hub, Network, Socket


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. `query_string` as it came (for signatures); `match` is what the braces of the path matched."""

    method: str
    path: str
    query_string: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    match: Mapping[str, str]


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


class VenueApi(Protocol):
    """One venue's protocol. The server gives it `hub` before the first request."""

    name: str
    engine: Engine
    hub: Hub
    socket_path: str
    limiter: "Limiter | None"

    def routes(self) -> Iterable[Route]: ...

    def authorize(self, request: Request) -> None:
        """Verify signature and clock of a signed route; raises a Refusal."""

    def refused(self, refusal: Refusal) -> Answer:
        """The venue's own answer for a refusal."""

    def fault_answer(self, fault: Fault) -> Answer:
        """The answer for the actions `error`, `error_after` (fault.status), `refuse` (fault.code) and `rate_limit`."""

    def opened(self, socket: Socket) -> None:
        """A websocket was opened (`socket.query` is its query); a Refusal closes it."""

    def received(self, socket: Socket, message: str | bytes) -> None:
        """A websocket message came."""

    def begin_fault(self, fault: Fault) -> None:
        """A timed fault that only this venue knows begins."""

    def config(self, base_url: str) -> dict[str, Any]:
        """The constructor configuration for ccxt; `base_url` is like http://127.0.0.1:1234."""


class Limiter:
    """At most `count` requests of a hook in a window of `window_s` that the venue counts.

    Args:
        per_hook: count each hook by itself, instead of all together.
        special: hook -> (count, window) where it differs.
    """

    def __init__(
        self,
        count: int,
        window_s: float,
        per_hook: bool = True,
        special: Mapping[str, tuple[int, float]] | None = None,
    ) -> None:
        self.count, self.window_s = count, window_s
        self._per_hook, self._special = per_hook, special or {}
        self._windows: dict[str, tuple[float, int]] = {}  # hook -> when its window began, requests in it

    def take(self, hook: str, now_s: float) -> bool:
        """Count one request; False when it is one too many."""
        count, window_s = self._rule(hook)
        began, used = self._windows.get(self._key(hook), (now_s, 0))
        if now_s - began >= window_s:
            began, used = now_s, 0
        self._windows[self._key(hook)] = (began, used + 1)
        return used < count

    def allowed(self, hook: str) -> int:
        return self._rule(hook)[0]

    def resets_at_s(self, hook: str) -> float:
        return self._windows.get(self._key(hook), (0.0, 0))[0] + self._rule(hook)[1]

    def _rule(self, hook: str) -> tuple[int, float]:
        return self._special.get(hook, (self.count, self.window_s))

    def _key(self, hook: str) -> str:
        return hook if self._per_hook else ""


def dumps(value: Any) -> str:
    """JSON as the venues write it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


class ConnectionCut(Exception):
    """The connection is to be aborted."""


async def through_faults(api: VenueApi, hook: str, detail: str, act: Callable[[], Answer]) -> Answer:
    """Answer a request through the script: `act` is run at most once, and the answer may be lost.

    Raises:
        ConnectionCut: abort the connection now.
    """
    fault = api.engine.faults.take(hook, REQUEST, detail) if api.engine.faults.any(hook) else None
    if fault is None:
        return act()
    acts_first = fault.do in ("cut_after", "error_after") or (fault.do in ("delay", "hang") and not fault.before)
    answer = act() if acts_first else None
    if fault.seconds:
        await asyncio.sleep(fault.seconds)
    if fault.do == "hang":
        await asyncio.Event().wait()
    if fault.do in ("cut", "cut_after"):
        raise ConnectionCut
    if fault.do == "delay":
        return act() if answer is None else answer
    return api.fault_answer(fault)


def answer_over_socket(
    api: VenueApi, socket: Socket, detail: str, act: Callable[[], Any], reply: Callable[[Answer], None]
) -> None:
    """Answer a subscription at once, unless the script has something for it (hook `ws.subscribe`)."""

    async def slowly() -> None:
        try:
            reply(await through_faults(api, "ws.subscribe", detail, lambda: answer_of(api, act)))
        except ConnectionCut:
            socket.abort()

    if api.engine.faults.any("ws.subscribe"):
        socket.spawn(slowly())
    else:
        reply(answer_of(api, act))


def answer_of(api: VenueApi, act: Callable[[], Any]) -> Answer:
    """What `act` returns as an `Answer`, a refusal as the venue words it."""
    try:
        result = act()
    except Refusal as refusal:
        return api.refused(refusal)
    return result if isinstance(result, Answer) else Answer(result)


@dataclass(slots=True)
class Server:
    """One venue at the root of its own loopback port; timed faults are scheduled here.

    `async with Server(api) as server:` serves until the block ends; `server.url` is like http://127.0.0.1:1234.
    """

    api: VenueApi
    host: str = "127.0.0.1"
    port: int = 0
    network: Network = field(default_factory=Network)
    _runner: web.AppRunner | None = None
    _timers: list[asyncio.TimerHandle] = field(default_factory=list)
    _pending: set[asyncio.Task] = field(default_factory=set)

    def __post_init__(self) -> None:
        check_loopback(self.host)
        self.api.hub = Hub(self.api.engine.faults)

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    async def __aenter__(self) -> "Server":
        app = web.Application(client_max_size=1 << 20)
        for route in self.api.routes():
            app.router.add_route(route.method, route.path, self._rest(route))
        app.router.add_get(self.api.socket_path, self._websocket)
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
        self._schedule()
        return self

    async def __aexit__(self, *_: object) -> None:
        for timer in self._timers:
            timer.cancel()
        for task in tuple(self._pending):
            task.cancel()
        for socket in tuple(self.api.hub.sockets):
            socket.abort()
        await self._runner.cleanup()

    def _rest(self, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(http: web.Request) -> web.StreamResponse:
            task = asyncio.current_task()
            self._pending.add(task)
            try:
                request = await _request(http)
                await self.network.passes()
                detail = f"{request.method} {request.path}"
                answer = await through_faults(self.api, route.hook, detail, lambda: _act(self.api, route, request))
                await self.network.passes()
                return _response(answer)
            except ConnectionCut:
                http.transport.abort()
                return web.Response()
            finally:
                self._pending.discard(task)

        return serve

    async def _websocket(self, http: web.Request) -> web.StreamResponse:
        ws, api = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=1 << 20), self.api
        await ws.prepare(http)
        socket = Socket(ws, http, api.engine.faults, self.network)
        api.hub.sockets[socket] = None
        try:
            api.opened(socket)
            await socket.run(lambda message: api.received(socket, message))
        except Refusal as refusal:
            await ws.close(code=WSCloseCode.POLICY_VIOLATION, message=str(refusal).encode())
        finally:
            api.hub.forget(socket)
        return ws

    def _schedule(self) -> None:
        """Timed faults begin (and end) on their own; those added later are taken up too."""
        loop, faults = asyncio.get_running_loop(), self.api.engine.faults
        self.api.engine.later = loop.call_later

        def arm(fault: Fault) -> None:
            if fault.do not in TIMED:
                return
            delay = fault.from_s - faults.now_s
            if delay <= 0:
                begin(self.api, fault)
            else:
                self._timers.append(loop.call_later(delay, begin, self.api, fault))
            if fault.until_s != float("inf"):
                self._timers.append(loop.call_later(max(0.0, fault.until_s - faults.now_s), end, self.api, fault))

        for fault in faults.script:
            arm(fault)
        faults.on_add = arm


def begin(api: VenueApi, fault: Fault) -> None:
    """A timed fault begins."""
    engine = api.engine
    engine.faults.note(fault, fault.at)
    if fault.do == "close":
        for socket in tuple(api.hub.sockets):
            socket.close(fault.status or WSCloseCode.GOING_AWAY)
    elif fault.do == "drift":
        engine.clock.offset_s = fault.seconds
    elif fault.do == "listen_key_death":
        api.begin_fault(fault)
    for pair in engine.listings:
        if fault.do == "delist":
            engine.delist(pair)
        elif fault.do in ("liquidate", "adl"):
            engine.take_positions(pair, fault.do, dec(fault.fraction))


def end(api: VenueApi, fault: Fault) -> None:
    """A timed state ends."""
    if fault.do == "drift":
        api.engine.clock.offset_s = 0.0
    elif fault.do == "delist":
        for pair in api.engine.listings:
            api.engine.delist(pair, on=False)


def check_loopback(host: str) -> None:
    """Refuse to serve anything but this machine: the venues know no real keys and take no real orders."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ParamsError(f"the sandbox serves this machine only, was told to listen on {host!r}; use 127.0.0.1 or ::1")


async def _request(http: web.Request) -> Request:
    body = await http.read() if http.can_read_body else b""
    url = http.rel_url
    return Request(http.method, url.raw_path, url.raw_query_string, http.query, http.headers, body, http.match_info)


def _act(api: VenueApi, route: Route, request: Request) -> Answer:
    """Limits, signature, handler."""

    def act() -> Any:
        if route.signed:
            api.authorize(request)
        return route.handler(request)

    if api.limiter and not api.limiter.take(route.hook, api.engine.clock.seconds()):
        return api.fault_answer(Fault(at=route.hook, do="rate_limit"))
    return answer_of(api, act)


def _response(answer: Answer) -> web.Response:
    body = answer.body if isinstance(answer.body, bytes) else dumps(answer.body).encode()
    return web.Response(body=body, status=answer.status, headers=answer.headers, content_type="application/json")
