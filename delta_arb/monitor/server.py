"""The page over HTTP: for a browser on this machine, and for no other page that this browser has open.

    GET  /             the page; with style and script from the same place and nothing from elsewhere
    GET  /events       server-sent events: `points` of the charts, and `state` twice a second
    POST /orders       stop, flatten, resume, kill (`PersonOrder`)

A request whose Host is not ours is refused, so a name that was made to point here (DNS rebinding) reads nothing; one
whose Origin is another page likewise.
"""

import asyncio
import contextlib
import hmac
import json
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

from delta_arb.errors import ParamsError, RunError
from delta_arb.interrupt import heeded
from delta_arb.live import control
from delta_arb.live.monitoring import HOST, listening
from delta_arb.live.options import TOKEN
from delta_arb.monitor.runners import Runners, ShownRunner

ORDERS = ("stop", "flatten", "resume", "kill")
SHORTEST = 16  # letters of a token
KILL_ANSWER_S = 3.0  # a frozen runner finds the file when it wakes
LONGEST = 200  # letters of a name or a reason


class PersonOrder(NamedTuple):
    """One word to a runner; who gives it and why."""

    word: str
    by: str
    why: str

    @property
    def signed(self) -> str:
        return f"{self.by}: {self.why}"


def token(file: Path | None) -> str:
    """From the private file, or the environment; "" where there is none, and nobody can give orders.

    Raises:
        ParamsError: a file that others can read, or a token that could be guessed.
    """
    found = _private(file) if file else os.environ.get(TOKEN, "")
    if found and len(found) < SHORTEST:
        raise ParamsError(
            f"a token of {len(found)} letters can be guessed; take {SHORTEST} or more, like `openssl rand -hex 16`"
        )
    if file and not found:
        raise ParamsError(f"{file}: there is no token in it")
    return found


def _private(file: Path) -> str:
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        if mode & 0o077:
            raise ParamsError(f"{file}: mode {mode:o} lets others read the token; chmod 600 it, and take a new one")
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"{file}: no token can be read there ({error})") from None


def bearer(header: str, wanted: str) -> bool:
    """Whether this Authorization header holds the token; without one nobody's does."""
    return bool(wanted) and hmac.compare_digest(header.encode("utf-8", "surrogateescape"), f"Bearer {wanted}".encode())


def order_of(said: Any, runner: ShownRunner) -> PersonOrder:
    """The order, if it is whole; RunError says what is missing."""
    if not isinstance(said, dict) or said.get("order") not in ORDERS:
        raise RunError(f"an order is one of {', '.join(ORDERS)}")
    word, by, why = said["order"], _line(said.get("by")), _line(said.get("why"))
    if not by or not why:
        raise RunError("say who you are and why: the journal keeps both")
    if said.get("confirmation") != (wanted := f"{word} {runner.id}"):
        raise RunError(f"not confirmed: type {wanted}")
    return PersonOrder(word, by, why)


def _line(text: Any) -> str:
    return " ".join(text.split())[:LONGEST] if isinstance(text, str) else ""


def give(runner: ShownRunner, order: PersonOrder) -> str:
    """Ask the runner, and say in one line what came of it.

    Raises:
        RunError: it refuses, does not answer, or none is up.
    """
    if order.word == "kill":
        return _killed(runner, order)
    answer = control.ask(runner.socket, order.word, by=order.signed)
    if answer is None:
        raise RunError(f"no runner is up for {runner.id}; from the terminal, `delta-arb live {order.word}` needs none")
    return _taken(order, answer)


def _taken(order: PersonOrder, answer: dict[str, Any]) -> str:
    if "error" in answer:
        raise RunError(answer["error"])
    return f"{order.word} is taken: {answer['line']}"


def _killed(runner: ShownRunner, order: PersonOrder) -> str:
    """By the runner, which notes it; by the file alone where it is frozen, connecting or down."""
    if (file := runner.kill_file) is None:
        raise RunError("a replay knows no kill file")
    try:
        answer = control.ask(runner.socket, order.word, KILL_ANSWER_S, by=order.signed)
        return _taken(order, answer or {"error": "no runner is up"})
    except RunError as error:
        file.write_text(f"{order.signed}\n", "utf-8")
        return f"{error}; {file.name} now lies in its folder: a runner leaves and stays out while it does"


EVERY_S = 0.5
ASSETS = Path(__file__).parent / "assets"
FILES = {"/": "monitor.html", "/monitor.css": "monitor.css", "/monitor.js": "monitor.js", "/chart.js": "chart.js"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin", "Cache-Control": "no-store",
}  # fmt: skip
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class MonitorServer:
    """Looks at the runners while it serves; each browser gets what was seen last."""

    def __init__(self, runners: Runners, token: str) -> None:
        self.runners = runners
        self._token = token
        self._said: list[dict[str, Any]] = []
        self._looked = asyncio.Condition()
        self._over = False

    def application(self) -> web.Application:
        app = web.Application(middlewares=[guarded], client_max_size=1 << 14)
        for path in FILES:
            app.router.add_get(path, self.file)
        app.router.add_get("/events", self.events)
        app.router.add_post("/orders", self.order)
        app.on_shutdown.append(self._end)
        app.cleanup_ctx.append(self._looking)
        app.on_response_prepare.append(_with_headers)
        return app

    async def _looking(self, app: web.Application) -> AsyncIterator[None]:
        self._said = await asyncio.to_thread(self.runners.look)  # the first browser is told no emptiness
        task = asyncio.create_task(self._look(), name="look at the runners")
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        self.runners.close()

    async def _end(self, app: web.Application) -> None:
        """Let the browsers go, that nobody waits for them."""
        async with self._looked:
            self._over = True
            self._looked.notify_all()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            said = await asyncio.to_thread(self.runners.look)
            async with self._looked:
                self._said = said
                self._looked.notify_all()

    async def file(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(ASSETS / FILES[request.path])

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Until the browser goes."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        sent: dict[str, tuple[str, int]] = {}
        with contextlib.suppress(ConnectionError):
            await response.write(b"retry: 1000\n\n")
            while not self._over:
                for event, value in self._news(sent):
                    await response.write(f"event: {event}\ndata: {json.dumps(value)}\n\n".encode())
                async with self._looked:
                    await self._looked.wait()
        return response

    def _news(self, sent: dict[str, tuple[str, int]]) -> list[tuple[str, Any]]:
        """What one browser does not have: new points of each run's chart, all of a new run's, and how all stand."""
        news: list[tuple[str, Any]] = []
        for one in self._said:
            runner = self.runners.named(one["id"])
            run_id, had = sent.get(one["id"], ("", 0))
            fresh = runner is None or run_id != runner.run_id
            if runner and (points := runner.newer(0 if fresh else had)):
                news.append(("points", {"id": one["id"], "fresh": fresh, "points": points}))
                sent[one["id"]] = (runner.run_id, runner.added)
        return [
            *news,
            ("state", {"runners": self._said, "orders": bool(self._token), "reports": self.runners.reports.name}),
        ]

    async def order(self, request: web.Request) -> web.StreamResponse:
        """One order of a person; 403 without the token, 409 with the reason where it is refused."""
        if not request.headers.get("Origin"):
            return web.json_response({"error": "an order comes from the page itself"}, status=403)
        if not bearer(request.headers.get("Authorization", ""), self._token):
            why = "wrong token" if self._token else "this monitor was started without a token: it only shows"
            return web.json_response({"error": why}, status=403)
        try:
            said = await request.json()
            runner = self.runners.named(str(said.get("runner"))) if isinstance(said, dict) else None
            if runner is None:
                raise RunError("no such runner")
            done = await asyncio.to_thread(give, runner, order_of(said, runner))
        except (RunError, ValueError, OSError) as error:
            return web.json_response({"error": str(error)}, status=409)
        return web.json_response({"done": done})


async def _with_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


@web.middleware
async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Only what a page of ours asks of this address."""
    port = request.transport.get_extra_info("sockname")[1] if request.transport else 0
    ours = {f"{HOST}:{port}", f"localhost:{port}"}
    if request.headers.get("Host", "") not in ours:
        return web.json_response({"error": f"this is {HOST}:{port}; another Host is not answered"}, status=421)
    origin = request.headers.get("Origin")
    if origin is not None and origin not in {f"http://{host}" for host in ours}:
        return web.json_response({"error": "another page's requests are not answered"}, status=403)
    return await handler(request)


async def serve(reports: Path, port: int, token: str, beside: bool) -> None:
    """Until a signal comes; `beside` another process: until standard input ends, which that one holds."""
    site, port = await listening(MonitorServer(Runners(reports), token).application(), port, "--port")
    orders_by = "orders with the token" if token else "read-only"
    print(f"monitor of {reports}: http://{HOST}:{port} ({orders_by})", flush=True)
    over, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in heeded((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
        loop.add_signal_handler(number, over.set)
    if beside:
        loop.add_reader(sys.stdin.fileno(), lambda: os.read(sys.stdin.fileno(), 1) or over.set())
    try:
        await over.wait()
    finally:
        await site.cleanup()
