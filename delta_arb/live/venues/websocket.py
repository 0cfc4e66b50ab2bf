"""One websocket that is kept alive: dialled, subscribed, read in the receive path, and dialled again when it is dead.

What a message means is the venue's business: `heard` is called synchronously with each one, and with all that came at
once before anything else has its turn. It returns True when the message proves the *subscription* alive; a pong
proves only the socket, and venues are known to keep sockets that say nothing else.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

import aiohttp

from delta_arb.live.venues.base import SubscriptionRefused, VenueError

log = logging.getLogger(__name__)
TEXT, BINARY = aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things may take at a venue, s. The defaults suit the real ones; tests are quicker."""

    first_s: float = 10.0  # from subscribing to the first message of the subscription
    quiet_s: float = 0.4  # without a quote for so long, REST is asked whether the book still stands
    compare_s: float = 60.0  # and in any case this often
    again_s: float = 0.2  # between two looks at a side that differs from REST
    ping_s: float = 5.0
    dead_s: float = 12.0  # nothing at all from the venue, not even a pong
    backoff_s: float = 0.2  # before the second dial after a loss; then twice as long each time
    backoff_max_s: float = 30.0
    clock_s: float = 10.0  # between two looks at the venue's clock; they keep the order connection warm as well
    renew_s: float = 1600.0  # of MEXC's listen key, which dies after 3600 s
    push_s: float = 0.3  # how long the private stream has to tell the end of an order before it is looked up
    order_s: float = 2.0  # an order, or what is asked about one, without an answer for so long is in doubt
    window_s: float = 0.5  # a venue may accept an order for so long
    weight_per_s: float = (
        25.0  # of requests, as MEXC weighs them (500 in 10 s a user; by others 300 an address); no orders
    )


def delays(pace: Pace) -> Iterator[float]:
    """Pauses before dialling again, s: none at first, then longer and longer."""
    delay_s = pace.backoff_s
    yield 0.0
    while True:
        yield delay_s
        delay_s = min(2 * delay_s, pace.backoff_max_s)


class Stream:
    """A supervised websocket.

    Args:
        name: for messages, like "gate quotes".
        url: makes the address anew for each dial.
        hello: what to say after each dial; subscriptions.
        heard: gets each message; True if it proves the subscription alive. A VenueError from it (a message that cannot
            be decoded) ends this socket; SubscriptionRefused the whole stream, while the first subscription is still
            awaited; any other error ends the stream.
        ping: what keeps the socket open; the text of one ping.
        again: called when a lost socket is dialled anew and has asked for its subscription.
    """

    def __init__(
        self,
        name: str,
        session: aiohttp.ClientSession,
        pace: Pace,
        *,
        url: Callable[[], Awaitable[str]],
        hello: Callable[[], Sequence[str]],
        heard: Callable[[str | bytes], bool],
        ping: Callable[[], str],
        again: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.at_once = 0  # messages after which others have their turn though more have come; 0: all of them first
        self.alive = False  # subscribed, as far as anybody can tell
        self.dials = 0
        self.proved = False  # whether this socket, or the last one, ever was alive
        self._session, self._pace = session, pace
        self._url, self._hello, self._heard, self._ping, self._again = url, hello, heard, ping, again
        self._drop = asyncio.Event()  # asks for the end of this socket
        self._last_s = 0.0  # when anything came
        self._proven = asyncio.Event()

    async def first(self) -> None:
        """Wait for the first message of the subscription; start `run` before."""
        try:
            async with asyncio.timeout(self._pace.first_s):
                await self._proven.wait()
        except TimeoutError:
            raise VenueError(
                f"{self.name}: no decoded message within {self._pace.first_s:g} s of subscribing; "
                "is the market listed, and does protobuf (MEXC) or the uid (Gate) fit?"
            ) from None

    def redial(self, why: str) -> None:
        """Drop this socket; the next one is subscribed anew."""
        log.warning("%s: %s; dialling again", self.name, why)
        self.alive = False
        self._drop.set()

    async def run(self) -> None:
        """Dial and read, for ever; ends by an error of `heard`, or when the first subscription is refused."""
        pauses = delays(self._pace)
        while True:
            proven_before = self._proven.is_set()
            began_s = time.monotonic()
            try:
                await self._once()
                why = "closed by the venue"
            except SubscriptionRefused as refusal:
                if not proven_before:
                    raise
                why = str(refusal)
            except VenueError as error:
                why = str(error)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                # Its text may hold the address, and with it the key to a private stream.
                why = type(error).__name__
            finally:
                self.alive = False
            if time.monotonic() - began_s > self._pace.dead_s:
                pauses = delays(self._pace)  # it had lived: this is a new loss, not the old one going on
            delay_s = next(pauses)
            log.warning("%s: lost (%s); dialling again in %.1f s", self.name, why, delay_s)
            await asyncio.sleep(delay_s)

    async def _once(self) -> None:
        """One socket from dial to loss."""
        try:
            url = await self._url()
        except VenueError as error:  # a listen key that is not given out: keys that do not fit
            raise SubscriptionRefused(str(error), error.code) from error
        timeout = aiohttp.ClientWSTimeout(ws_close=0.1)
        async with asyncio.timeout(self._pace.first_s):
            socket = await self._session.ws_connect(url, timeout=timeout, max_msg_size=1 << 22, headers=HEADERS)
        async with socket:
            self._last_s = time.monotonic()
            self._drop.clear()
            self.proved = False
            self.dials += 1
            pinging = asyncio.create_task(self._keep(socket), name=f"{self.name} ping")
            try:
                for message in self._hello():
                    await socket.send_str(message)
                if self.dials > 1:
                    self._again()
                await self._read(socket)
            finally:
                pinging.cancel()

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        count = 0
        async for message in socket:
            count += 1
            if self.at_once and count % self.at_once == 0:
                await asyncio.sleep(0)
            if message.type is not TEXT and message.type is not BINARY:
                continue
            self._last_s = time.monotonic()
            try:
                proof = self._heard(message.data)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                # Of whoever acts on the message, and no loss of this socket.
                raise RuntimeError(f"{self.name}: acting on a message failed") from error
            if proof and not self.alive:
                self.alive = self.proved = True
                self._proven.set()

    async def _keep(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Ping, and close a socket that says nothing at all or is to be dropped."""
        dialled_s = time.monotonic()
        while not socket.closed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(self._pace.ping_s, self._pace.dead_s / 3)):
                    await self._drop.wait()
            now_s = time.monotonic()
            if now_s - self._last_s > self._pace.dead_s:
                self.redial(f"silent for {self._pace.dead_s:g} s, pongs included")
            elif not self.proved and now_s - dialled_s > self._pace.first_s:
                self.redial(f"nothing of the subscription within {self._pace.first_s:g} s")
            if self._drop.is_set():
                await socket.close()
                return
            with contextlib.suppress(aiohttp.ClientError, OSError):  # the reader hears of it too
                await socket.send_str(self._ping())


HEADERS = {"X-Gate-Size-Decimal": "1"}  # as ccxt sends it; other venues ignore it
