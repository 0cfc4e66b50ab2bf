"""A connection to a venue that is kept for orders: a request is written when `post` returns, with nothing in between.

A client library spends more time on a request than the orders spend on their way: sessions, pools, redirects, cookies.
Here a request is one write to a socket that is open and was proven a moment ago; h11 reads the answer. A request is
written once, and whoever sent it hears of a lost connection or of silence: nothing is sent again here. It carries one
request at a time; while that is out, or the connection is being dialled, none is `free` and the caller goes the usual
way through ccxt.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import h11

from delta_arb.live.venues.websocket import Pace, delays

log = logging.getLogger(__name__)
BODILESS = ("GET", "HEAD")


class HttpAnswer(NamedTuple):
    """What a venue said to a request; the names of headers are in lower case."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes


class OrderConnection:
    """One kept connection; `run` dials it, keeps it warm and dials again, for ever.

    Args:
        name: for messages, like "gate orders".
        look: a request without consequences, as ccxt signs it (the venue's clock): it proves the connection, before the
            first order and every `pace.clock_s`; the connection goes to where it goes.
        headers: what every request carries.
        tls: whom to trust, for https.
        paused: whether the venue wants nothing from us, so that it is not kept warm either.
    """

    def __init__(
        self,
        name: str,
        look: Mapping[str, Any],
        headers: Mapping[str, str],
        tls: ssl.SSLContext,
        pace: Pace,
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        where = urlsplit(look["url"])
        self.dials = 0
        self._name, self._look, self._pace, self._paused = name, look, pace, paused
        self._origin = f"{where.scheme}://{where.netloc}"
        self._tls = tls if where.scheme == "https" else None
        self._address = where.hostname, where.port or (443 if self._tls else 80)
        self._always = _lines({"Host": where.netloc, "Accept": "*/*", **headers, "Accept-Encoding": "identity"})
        self._socket: Socket | None = None

    def free(self, url: str) -> "Socket | None":
        """The socket that a request to `url` can be written to now; None while there is none."""
        socket = self._socket
        return socket if socket and socket.free and url.startswith(f"{self._origin}/") else None

    def wired(self, request: Mapping[str, Any]) -> bytes:
        """What goes over the wire for ccxt's url, method, headers and body."""
        method, body = request["method"], (request["body"] or "").encode()
        sized = "" if method in BODILESS else f"Content-Length: {len(body)}\r\n"
        head = f"{method} {request['url'][len(self._origin) :]} HTTP/1.1\r\n"
        return f"{head}{self._always}{_lines(request['headers'] or {})}{sized}\r\n".encode("latin-1") + body

    async def run(self) -> None:
        """Dial, keep warm, dial again; ends by being cancelled."""
        pauses, loop = delays(self._pace), asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            try:
                await self._once()
                why = "closed by the venue"
            except (OSError, TimeoutError) as error:  # its text may hold the address
                why = type(error).__name__
            if loop.time() - began_s > self._pace.dead_s:
                pauses = delays(self._pace)
            pause_s = next(pauses)
            log.info("%s: connection lost (%s); dialling again in %.1f s", self._name, why, pause_s)
            await asyncio.sleep(pause_s)

    async def _once(self) -> None:
        """One connection, from dial to loss; it takes orders once it has answered."""
        self.dials += 1
        async with asyncio.timeout(self._pace.first_s):
            _, socket = await asyncio.get_running_loop().create_connection(Socket, *self._address, ssl=self._tls)
        try:
            await self._warm(socket)
            self._socket = socket
            while not socket.lost.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pace.clock_s):
                        await socket.lost.wait()
                if socket.free and not self._paused():
                    await self._warm(socket)
        finally:
            self._socket = None
            socket.close()

    async def _warm(self, socket: "Socket") -> None:
        await socket.post(self.wired(self._look), self._pace.order_s)


class Socket(asyncio.Protocol):
    """One connection, and the request that is out on it."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self._transport: asyncio.Transport
        self._answer: asyncio.Future[HttpAnswer] | None = None
        self._reader: h11.Connection | None = None
        self._head: h11.Response | None = None
        self._body = bytearray()

    @property
    def free(self) -> bool:
        return self._answer is None and not self._transport.is_closing()

    def post(self, data: bytes, timeout_s: float) -> asyncio.Future[HttpAnswer]:
        answer = self.claim()
        self.write(data)
        self.expect(answer, timeout_s)
        return answer

    def write(self, data: bytes) -> None:
        """The `wired` request that it was claimed for, in the same turn of the loop."""
        self._transport.write(data)

    def claim(self) -> asyncio.Future[HttpAnswer]:
        """Take it for a request. Its end: an HttpAnswer, ConnectionError, TimeoutError."""
        answer = self._answer = asyncio.get_running_loop().create_future()
        return answer

    def expect(self, answer: asyncio.Future[HttpAnswer], timeout_s: float) -> None:
        """From now on, and not for ever."""
        silence = asyncio.get_running_loop().call_later(timeout_s, self._fail, TimeoutError("no answer"))
        answer.add_done_callback(lambda _: silence.cancel())

    def close(self) -> None:
        """Close it behind what was written."""
        self._transport.close()

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=0)  # else uvloop collects what is written until the end of a turn

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set()
        self._fail(ConnectionResetError("the connection was lost before the answer"))

    def data_received(self, data: bytes) -> None:
        self._read(data)

    def eof_received(self) -> None:
        self._read(b"")  # the end of an answer without a length

    def _read(self, data: bytes) -> None:
        if self._answer is None:  # nobody asked: the venue is about to close, or answers what was given up
            self._transport.abort()
            return
        if self._reader is None:
            self._reader = _awaiting_an_answer()
        try:
            self._reader.receive_data(data)
            while self._event(self._reader.next_event()):
                pass
        except h11.RemoteProtocolError as error:
            self._fail(ConnectionError(f"the answer is not HTTP: {error}"))

    def _event(self, event: Any) -> bool:
        """Take in a part of the answer; False when there is no more of it."""
        if isinstance(event, h11.Response):
            self._head = event
        elif isinstance(event, h11.Data):
            self._body += event.data
        elif isinstance(event, h11.EndOfMessage):
            self._answered()
        return isinstance(event, (h11.InformationalResponse, h11.Response, h11.Data))

    def _answered(self) -> None:
        head, body = self._head, bytes(self._body)
        if self._reader.their_state is not h11.DONE:  # the venue closes after this answer
            self._transport.close()
        answer, self._answer, self._reader, self._head = self._answer, None, None, None
        self._body.clear()
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        if not answer.done():
            answer.set_result(HttpAnswer(head.status_code, head.reason.decode("latin-1"), headers, body))

    def _fail(self, error: Exception) -> None:
        """End the request that is out, and the connection: whatever still comes belongs to nobody."""
        answer, self._answer = self._answer, None
        self._transport.abort()
        if answer is not None and not answer.done():
            answer.set_exception(error)


def _awaiting_an_answer() -> h11.Connection:
    """h11 after a request: how an answer is read does not depend on what was asked."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="POST", target="/", headers=[("Host", "venue")]))
    reader.send(h11.EndOfMessage())
    return reader


def _lines(headers: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())
