"""What both venues' clients share: ccxt set up for trading, errors told apart, a budget of requests, the clock.

Two ccxt objects talk to a venue through one session. Queries go through ccxt's own rate limiter; orders and what must
be known at once about them do not, for it sleeps 50 ms before a request that follows another: a budget of our own
refuses instead. The session keeps its connections for long, since a new one costs a handshake on the next order.
"""

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import aiohttp
import ccxt.pro as ccxtpro
from ccxt.base import errors as ccxt

from delta_arb.live import clock
from delta_arb.live.venues.base import VenueError
from delta_arb.live.venues.order_connection import Answer, Lane
from delta_arb.live.venues.websocket import Pace

SIGNED = ("url", "method", "headers", "body")  # what ccxt's `sign` makes of a request
KEEP_S = 300.0  # an idle connection is kept for so long; the look at the clock uses each in turn
CLOCK_LOOKS = 3

# Nothing was accepted, whatever else may be wrong. RateLimitExceeded and InvalidNonce are NetworkErrors to ccxt.
REFUSED = (
    ccxt.InsufficientFunds, ccxt.InvalidOrder, ccxt.BadRequest, ccxt.AuthenticationError, ccxt.NotSupported,
    ccxt.RateLimitExceeded, ccxt.DDoSProtection, ccxt.InvalidNonce, ccxt.OperationRejected,
)  # fmt: skip


class Told:
    """Mixed into a ccxt class: its errors carry the HTTP status, which their texts do not, and its time is ours."""

    def handle_errors(self, code: int, *rest: Any) -> None:
        try:
            super().handle_errors(code, *rest)
        except ccxt.BaseError as error:
            error.status = code
            raise

    def milliseconds(self) -> int:
        """Of our clock: what a request is signed with does not jump when the system's is set."""
        return clock.now_ns() // 1_000_000


class MexcClient(Told, ccxtpro.mexc):
    """Genuine ccxt."""


class GateClient(Told, ccxtpro.gate):
    """Genuine ccxt; its orders also say when they expire, so that one on a slow way cannot arrive any time later."""

    def sign(self, path: str, api: Any = "public", method: str = "GET", *rest: Any, **named: Any) -> dict:
        request = super().sign(path, api, method, *rest, **named)
        if method == "POST" and path == "{settle}/orders":
            request["headers"]["X-Gate-Exptime"] = str(self.nonce() + self.timeout)
        return request


def code_of(error: ccxt.BaseError) -> str:
    """The venue's own code or label in a ccxt error, else the name of its class."""
    begin = str(error).find("{")
    if begin >= 0:
        try:
            body = json.loads(str(error)[begin:])
            return str(body.get("label") or body["code"])
        except (ValueError, KeyError, AttributeError):
            pass
    return type(error).__name__


def refusal(error: ccxt.BaseError, certain: frozenset[str], doubtful: frozenset[str]) -> str:
    """The venue's code if the request was certainly not accepted; "" if nobody knows.

    Args:
        certain: codes that ccxt calls a mere ExchangeError, and that are refusals.
        doubtful: codes that look like refusals and are not, such as "this id was used before".
    """
    code = code_of(error)
    if getattr(error, "status", 0) >= 500 or code in doubtful:
        return ""
    return code if isinstance(error, REFUSED) or code in certain else ""


def plain(error: ccxt.BaseError) -> str:
    """What a foreign error says, without its address: that holds signatures and keys of streams."""
    code = code_of(error)
    text = str(error)
    begin = text.find("{")
    said = text[begin : begin + 200] if code != type(error).__name__ else "no usable answer"
    return f"{type(error).__name__}: {said}"


@cache
def certificates() -> ssl.SSLContext:
    """The authorities that ccxt trusts as well; reading them takes 40 ms, so once for all."""
    return ssl.create_default_context(cafile=ccxtpro.Exchange().cafile)


class Budget:
    """At most `per_s` requests a second, and as many at once; what is over that is refused, never delayed."""

    def __init__(self, per_s: float) -> None:
        self._per_s, self._left, self._at_s = per_s, per_s, time.monotonic()

    @property
    def left(self) -> int:
        now_s = time.monotonic()
        self._left = min(self._per_s, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        return int(self._left)

    def take(self) -> bool:
        if self.left < 1:
            return False
        self._left -= 1
        return True


class Clients:
    """The two ccxt objects of one venue, its session and its clock.

    Args:
        kind: a ccxt class.
        config: ccxt's constructor configuration; the keys are there and nowhere else.
        defaults: what it is merged onto.
        requests_per_s: for what goes past ccxt's rate limiter, orders not counted.
    """

    def __init__(
        self,
        name: str,
        kind: Callable[[dict], ccxtpro.Exchange],
        config: Mapping[str, Any],
        defaults: Mapping[str, Any],
        pace: Pace,
        requests_per_s: float = 18.0,
    ) -> None:
        connector = aiohttp.TCPConnector(keepalive_timeout=KEEP_S, limit=0, ssl=certificates())
        self.session = aiohttp.ClientSession(connector=connector)
        ours = {"session": self.session, "timeout_on_exit": 0}  # ccxt waits there for connections of its own
        merged = ccxtpro.Exchange.deep_extend(dict(defaults), dict(config))
        self.queries = kind(merged | ours | {"enableRateLimit": True})
        quick = merged | ours | {"enableRateLimit": False, "timeout": round(pace.order_s * 1000)}
        self.orders = kind(quick)
        for client in (self.queries, self.orders):
            client.options["maxRetriesOnFailure"] = 0  # an order is never sent again by a machine that does not know
            client.ssl_context = certificates()
            client.logger.setLevel(logging.INFO)  # below that ccxt logs requests, and the keys in their headers
        self.orders.options["recvWindow"] = quick["timeout"]  # MEXC refuses what arrives later
        self.keyed = bool(merged.get("apiKey"))
        self.offset_ns = 0
        self.measured_ns = 0
        self._name, self._pace, self._budget = name, pace, Budget(requests_per_s)

    async def close(self) -> None:
        for client in (self.queries, self.orders):
            await client.close()
        await self.session.close()

    async def ask(self, call: Callable[..., Any], *args: Any, what: str) -> Any:
        """A query; ccxt's errors become ours here."""
        try:
            return await call(*args)
        except ccxt.BaseError as error:
            raise self.translated(error, what) from None

    async def ask_now(self, call: Callable[..., Any], *args: Any, what: str) -> Any:
        """The same past ccxt's rate limiter, if the budget allows it: for `orders`."""
        if not self._budget.take():
            raise VenueError(
                f"{self._name}: {what} not asked, our own limit of requests a second is reached; ask again"
            )
        return await self.ask(call, *args, what=what)

    def translated(self, error: ccxt.BaseError, what: str) -> VenueError:
        return VenueError(f"{self._name}: {what}: {plain(error)}", code_of(error))

    def lane(self, path: str, api: list[str]) -> Lane | None:
        """A connection kept for orders, to where ccxt asks for `path`; None where requests go through a proxy."""
        client, asked = self.orders, ("https://venue", "POST")
        if any((client.aiohttp_proxy, client.check_proxy_url_settings(*asked), *client.check_proxy_settings(*asked))):
            return None
        look, headers = client.sign(path, api, "GET", {}), client.prepare_request_headers({})
        return Lane(f"{self._name} orders", look, headers, certificates(), self._pace)

    async def understood(self, request: Mapping[str, Any], answer: asyncio.Future[Answer]) -> Any:
        """What ccxt's `fetch` would return for an answer that comes past it; raises ccxt's errors."""
        client, (url, method, sent, body) = self.orders, (request[part] for part in SIGNED)
        try:
            a = await answer
        except TimeoutError:
            raise ccxt.RequestTimeout(f"{self._name} {method}") from None
        except ConnectionError as error:
            raise ccxt.ExchangeNotAvailable(f"{self._name} {method} {error}") from None
        asked = a.status, a.reason, url, method
        text = client.on_rest_response(*asked, a.headers, a.body.decode(errors="replace"), sent, body)
        parsed = client.parse_json(text)
        client.handle_errors(*asked, a.headers, text, parsed, sent, body)
        client.handle_http_status_code(*asked, text)
        return parsed

    async def measure(self) -> None:
        """The clock offset, from the quickest of a few looks (half of a round trip is the error of one)."""
        looks = []
        for _ in range(CLOCK_LOOKS):
            sent_ns = clock.now_ns()
            venue_ms = await self.ask(self.orders.fetch_time, what="its clock")
            heard_ns = clock.now_ns()
            looks.append((heard_ns - sent_ns, venue_ms * 1_000_000 - (sent_ns + heard_ns) // 2))
        self.offset_ns, self.measured_ns = min(looks)[1], clock.now_ns()
        for client in (self.queries, self.orders):
            client.options["timeDifference"] = round(-self.offset_ns / 1e6)

    async def load(self, symbol: str) -> dict:
        """The market, as ccxt understands the venue's list; both clients know it then."""
        markets = await self.ask(self.orders.load_markets, what="its markets")
        if symbol not in markets:
            raise VenueError(
                f"{self._name}: {symbol} is not listed; {len(markets)} markets are, see the venue's own list"
            )
        self.queries.set_markets(self.orders.markets, self.orders.currencies)
        return markets[symbol]
