"""What both venues share: an HTTP and websocket server on loopback, with faults and network delay.

A venue's protocol (see `VenueApi`) knows its paths, fields and codes, and nothing of connections or faults. Its handlers
are plain functions: a request is answered in one go, so that all of a venue's state is always consistent. Faults stand
between the wire and the protocol: `through_faults` around every request, `Hub.publish` around every push.
"""

import asyncio
import ipaddress
import json
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from aiohttp import WSCloseCode, web

from delta_arb.errors import ParamsError
from delta_arb.sandbox.engine import Engine
from delta_arb.sandbox.faults import NOTICES, REQUEST, TIMED, Fault
from delta_arb.sandbox.network import Hub, Limiter, Network, Socket
from delta_arb.sandbox.values import Refusal, dec


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
    weight: int = 1


class VenueApi(Protocol):
    """One venue's protocol. The server gives it `hub` before the first request."""

    name: str
    engine: Engine
    hub: Hub
    socket_path: str
    limiter: Limiter | None

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
        """A timed fault that only this venue knows begins: dying listen keys, notices."""

    def rewritten(self, fault: Fault, push: str | bytes) -> str | bytes:
        """A push of quotes as the faults `foreign` and `restamp` have it."""

    def config(self, base_url: str) -> dict[str, Any]:
        """The constructor configuration for ccxt; `base_url` is like http://127.0.0.1:1234."""


def dumps(value: Any) -> str:
    """JSON as the venues write it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


class ConnectionCut(Exception):
    """The connection is to be aborted."""


async def through_faults(
    api: VenueApi, hook: str, detail: str, act: Callable[[], Answer], elsewhere: str = ""
) -> Answer:
    """Answer a request through the script: `act` is run at most once, and the answer may be lost.

    Args:
        elsewhere: where a redirect leads.

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
    if fault.do == "redirect":
        return Answer(b"", fault.status or 307, {"Location": elsewhere})
    return scripted(api, fault)


def scripted(api: VenueApi, fault: Fault) -> Answer:
    """The answer that the script asks for: the venue's own, or the page of a gateway before it."""
    answer = api.fault_answer(fault)
    if fault.bare:
        answer = Answer(f"<html><h1>{answer.status}</h1></html>".encode(), answer.status, {"Content-Type": "text/html"})
    waits = {"Retry-After": f"{fault.retry_after_s:g}"} if fault.retry_after_s else {}
    return answer._replace(headers={**answer.headers, **waits})


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
        self.api.hub = Hub(self.api.engine.faults, self.api.rewritten)

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    async def __aenter__(self) -> "Server":
        app = web.Application(client_max_size=1 << 20)
        for route in self.api.routes():
            app.router.add_route(route.method, route.path, self._rest(route))
        app.router.add_get(self.api.socket_path, self._websocket)
        app.router.add_route("*", "/elsewhere/{path:.*}", self._elsewhere)
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
                elsewhere = f"http://localhost:{self.port}/elsewhere{http.rel_url}"
                answer = await through_faults(
                    self.api, route.hook, detail, lambda: _act(self.api, route, request), elsewhere
                )
                await self.network.passes()
                return _response(answer)
            except ConnectionCut:
                http.transport.abort()
                return web.Response()
            finally:
                self._pending.discard(task)

        return serve

    async def _elsewhere(self, http: web.Request) -> web.Response:
        """Where a redirect leads: another host, which has no business with the client's keys."""
        keys = {"KEY", "SIGN", "X-MEXC-APIKEY"} & set(http.headers) or "signature" in http.query
        came = Fault(at="time", do="redirect")
        self.api.engine.faults.note(came, "elsewhere", f"{http.method} {http.path} with{'' if keys else 'out'} keys")
        return _response(Answer({}))

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
            for number in range(fault.times if fault.do in NOTICES else 1):
                delay = fault.from_s - faults.now_s + number * fault.seconds
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
    elif fault.do in ("listen_key_death", *NOTICES):
        api.begin_fault(fault)
    for pair in engine.listings:
        if fault.do == "delist":
            engine.delist(pair)
        elif fault.do in ("inactive", "unlist"):
            _flagged(engine, fault).add(pair)
        elif fault.do == "terms":
            engine.change_terms(pair, fault.new_terms())
        elif fault.do in ("liquidate", "adl"):
            engine.take_positions(pair, fault.do, dec(fault.fraction))


def _flagged(engine: Any, fault: Fault) -> set[str]:
    """The pairs that are inactive, or missing from the lists."""
    return engine.inactive if fault.do == "inactive" else engine.unlisted


def end(api: VenueApi, fault: Fault) -> None:
    """A timed state ends."""
    if fault.do == "drift":
        api.engine.clock.offset_s = 0.0
    for pair in api.engine.listings:
        if fault.do == "delist":
            api.engine.delist(pair, on=False)
        elif fault.do in ("inactive", "unlist"):
            _flagged(api.engine, fault).discard(pair)
        elif fault.do == "terms":
            api.engine.change_terms(pair, {})


def check_loopback(host: str) -> None:
    """Refuse to serve anything but this machine: the venues know no real keys and take no real orders."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ParamsError(f"the sandbox serves this machine only, not {host!r}; use 127.0.0.1 or ::1")


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

    if api.limiter and (wait := api.limiter.take(route.hook, api.engine.clock.seconds(), route.weight)):
        seconds = math.ceil(wait.seconds)
        return scripted(api, Fault(at=route.hook, do="rate_limit", status=wait.status, retry_after_s=seconds))
    return answer_of(api, act)


def _response(answer: Answer) -> web.Response:
    body = answer.body if isinstance(answer.body, bytes) else dumps(answer.body).encode()
    return web.Response(body=body, status=answer.status, headers={"Content-Type": "application/json", **answer.headers})
