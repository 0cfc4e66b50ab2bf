"""The rim that both venues share: HTTP and websockets on loopback, routing by prefix, fault hooks, subscriptions.

A face (see `Face`) knows one venue's paths, fields and codes, and nothing of sockets or faults. Its handlers are plain
functions: a request is answered in one go, so that all of a venue's state is always consistent. Faults sit between
the wire and the face: `through_faults` around every request (REST, and orders over a websocket), `Hub.publish`
around every push.
"""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSCloseCode, web

from delta_arb.errors import ParamsError
from delta_arb.sandbox.faults import REQUEST, TIMED, Fault
from delta_arb.sandbox.values import Refusal, dec
from delta_arb.sandbox.websocket import Hub, Socket
from delta_arb.sandbox.wire import Answer, Face, Limiter, Request, Route, dumps


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


__all__ = ["Answer", "Face", "Hub", "Limiter", "Request", "Route", "Server", "Socket", "answer_over_socket", "dumps"]
