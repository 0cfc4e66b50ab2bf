"""What both venues' clients share: ccxt set up for trading, errors told apart, a budget of requests, the clock.

Two ccxt objects talk to a venue through one session. Queries go through ccxt's own rate limiter; orders and what must
be known at once about them do not, for it sleeps 50 ms before a request that follows another: a budget of our own
refuses instead. The session keeps its connections for long, since a new one costs a handshake on the next order.
"""

import asyncio
import contextlib
import json
import logging
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any

import aiohttp
import ccxt.pro as ccxtpro
from ccxt.base import errors as ccxt

from delta_arb.live import clock
from delta_arb.live.venues.base import SHAPES, VenueError
from delta_arb.live.venues.order_connection import HttpAnswer, OrderConnection
from delta_arb.live.venues.websocket import Pace
from delta_arb.market import HOUR_NS

log = logging.getLogger(__name__)
SIGNED = ("url", "method", "headers", "body")  # what ccxt's `sign` makes of a request
KEEP_S = 300.0  # an idle connection is kept for so long; the look at the clock uses each in turn
CLOCK_LOOKS = 3
PAUSE_S = 1.0  # after a 429 without Retry-After, then twice as long each time
LONGEST_PAUSE_S = 120.0
BANNED_S = 60.0  # after a 418, which is an address that is banned
DOUBT_S = 2.0  # between two looks at a clock that quotes contradict: they may be late, and the clock right

# Nothing was accepted, whatever else may be wrong. RateLimitExceeded and InvalidNonce are NetworkErrors to ccxt.
REFUSED = (
    ccxt.InsufficientFunds, ccxt.InvalidOrder, ccxt.BadRequest, ccxt.AuthenticationError, ccxt.NotSupported,
    ccxt.RateLimitExceeded, ccxt.DDoSProtection, ccxt.InvalidNonce, ccxt.OperationRejected,
)  # fmt: skip
WRONG_GRID = "scale is invalid"  # MEXC says code 400 and this of a price or an amount that is off its grid


class _StatusInErrors:
    """Mixed into a ccxt class: its errors carry the HTTP status, which their texts do not, and its time is ours.

    `throttled` hears of each answer that asks for a pause. A redirection is an error: nobody else gets a signed request.
    """

    throttled: Callable[[int, Mapping[str, str]], None]

    def handle_errors(self, code: int, *rest: Any) -> None:
        if code in (418, 429):
            self.throttled(code, rest[3] or {})
        try:
            if 300 <= code < 400:
                raise ccxt.ExchangeNotAvailable(f"HTTP {code}: sent elsewhere")
            super().handle_errors(code, *rest)
        except ccxt.BaseError as error:
            error.status = code
            raise

    def handle_http_status_code(self, code: int, *rest: Any) -> None:
        try:
            super().handle_http_status_code(code, *rest)
        except ccxt.BaseError as error:
            error.status = code
            raise

    def milliseconds(self) -> int:
        """Of our clock: what a request is signed with does not jump when the system's is set."""
        return clock.now_ns() // 1_000_000


class MexcClient(_StatusInErrors, ccxtpro.mexc):
    """Genuine ccxt; its orders have a window of their own, after which MEXC refuses them."""

    window_ms: int

    def sign(self, path: str, api: Any = "public", method: str = "GET", *rest: Any, **named: Any) -> dict:
        usual = self.options["recvWindow"]
        if method == "POST" and path == "order":
            self.options["recvWindow"] = self.window_ms
        try:
            return super().sign(path, api, method, *rest, **named)
        finally:
            self.options["recvWindow"] = usual


class GateClient(_StatusInErrors, ccxtpro.gate):
    """Genuine ccxt; its orders also say when they expire, so that one on a slow way cannot arrive any time later."""

    window_ms: int

    def sign(self, path: str, api: Any = "public", method: str = "GET", *rest: Any, **named: Any) -> dict:
        request = super().sign(path, api, method, *rest, **named)
        if method == "POST" and path == "{settle}/orders":
            request["headers"]["X-Gate-Exptime"] = str(self.nonce() + self.window_ms)
        return request


def body_code(error: ccxt.BaseError) -> str:
    """The venue's own code or label in the body that a ccxt error quotes; "" where there is none."""
    begin = str(error).find("{")
    if begin >= 0:
        with contextlib.suppress(ValueError, KeyError, AttributeError):
            body = json.loads(str(error)[begin:])
            return str(body.get("label") or body["code"])
    return ""


def code_of(error: ccxt.BaseError) -> str:
    """The venue's own code or label, else the name of ccxt's class."""
    return body_code(error) or type(error).__name__


def refusal(error: ccxt.BaseError, certain: frozenset[str], doubtful: frozenset[str]) -> str:
    """The venue's code if the request was certainly not accepted; "" if nobody knows.

    Only a code that the venue documents, in a body that was decoded, proves that: a bare 403, 418 or 429 may come from
    a gateway in front of an order that was taken, and a code that only repeats the status says no more, unless the venue
    says beside it what is wrong with the order.

    Args:
        certain: codes that ccxt calls a mere ExchangeError, and that are refusals.
        doubtful: codes that look like refusals and are not, such as "this id was used before".
    """
    code, status = body_code(error), getattr(error, "status", 0)
    bare = code == str(status) and WRONG_GRID not in str(error)
    if not code or status >= 500 or code in doubtful or bare:
        return ""
    return code if isinstance(error, REFUSED) or code in certain else ""


class reading:
    """An answer that is not shaped as documented is the venue's failure, not ours."""

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, SHAPES):
            raise VenueError(f"{self.what}: an answer of another shape than documented ({error!r})") from error


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


async def _not_elsewhere(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Follows no redirection: our requests carry keys and signatures."""
    answer = await send(request)
    if 300 <= answer.status < 400:
        answer.close()
        raise aiohttp.ClientConnectionError(f"HTTP {answer.status}: sent elsewhere")
    return answer


class Budget:
    """At most `per_s` a second, and `at_once` (by default as many); what is over that is refused, never delayed."""

    def __init__(self, per_s: float, at_once: float = 0.0) -> None:
        self._per_s, self._most, self._at_s = per_s, at_once or per_s, time.monotonic()
        self._left = self._most

    @property
    def left(self) -> int:
        now_s = time.monotonic()
        self._left = min(self._most, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        return int(self._left)

    def take(self, weight: int = 1) -> bool:
        if self.left < weight:
            return False
        self._left -= weight
        return True


class FillRatio:
    """Requests about orders in the last 24 hours against the orders that filled: a venue slows down who asks much for little.

    Counted since this began, and of earlier runs what they `recall`; quotes stop at nine tenths of what the venue
    tolerates, so that hedges never meet its limit.
    """

    def __init__(self, most: int, least: float) -> None:
        self._most, self._least = 0.9 * most, least
        self._hours: deque[list[int]] = deque(maxlen=24)  # hour, requests, orders filled

    def recall(self, hours: Iterable[tuple[int, int, int]]) -> None:
        """What earlier runs asked: hour (of the Unix time), requests, orders filled; oldest first."""
        self._hours.extend([hour, requests, filled] for hour, requests, filled in hours)

    def count(self, requests: int = 1, filled: int = 0) -> None:
        hour = clock.now_ns() // HOUR_NS
        if not self._hours or self._hours[-1][0] != hour:
            self._hours.append([hour, 0, 0])
        self._hours[-1][1] += requests
        self._hours[-1][2] += filled

    @property
    def refused(self) -> str:
        """Why no quote is sent now; "" where one may be."""
        since = clock.now_ns() // HOUR_NS - 24
        requests, filled = (sum(hour[k] for hour in self._hours if hour[0] > since) for k in (1, 2))
        if requests < self._most or filled >= self._least * requests:
            return ""
        return f"{requests} requests about orders in a day and {filled} filled: the venue would slow all orders down"


def asked_pause_s(retry_after: str) -> float:
    """What a header Retry-After asks for, in seconds or as a date of HTTP; 0.0 where it says nothing of use."""
    with contextlib.suppress(ValueError):
        return max(0.0, float(retry_after))
    with contextlib.suppress(ValueError):
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - clock.now_ns() / 1e9)
    return 0.0


class CcxtClients:
    """The two ccxt objects of one venue, its session and its clock.

    Args:
        kind: a ccxt class.
        config: ccxt's constructor configuration; the keys are there and nowhere else.
        defaults: what it is merged onto.
    """

    def __init__(
        self,
        name: str,
        kind: Callable[[dict], ccxtpro.Exchange],
        config: Mapping[str, Any],
        defaults: Mapping[str, Any],
        pace: Pace,
    ) -> None:
        connector = aiohttp.TCPConnector(keepalive_timeout=KEEP_S, limit=0, ssl=certificates())
        self.session = aiohttp.ClientSession(connector=connector, middlewares=(_not_elsewhere,))
        ours = {"session": self.session, "timeout_on_exit": 0}  # ccxt waits there for connections of its own
        merged = ccxtpro.Exchange.deep_extend(dict(defaults), dict(config))
        self.queries = kind(merged | ours | {"enableRateLimit": True})
        quick = merged | ours | {"enableRateLimit": False, "timeout": round(pace.order_s * 1000)}
        self.orders = kind(quick)
        for client in (self.queries, self.orders):
            client.options["maxRetriesOnFailure"] = 0  # an order is never sent again by a machine that does not know
            client.ssl_context = certificates()
            client.throttled = self._throttled
            client.window_ms = round(pace.window_s * 1000)
            client.logger.setLevel(logging.INFO)  # below that ccxt logs requests, and the keys in their headers
        self.keyed = bool(merged.get("apiKey"))
        self.offset_ns = 0
        self.measured_ns = 0
        self.unanswered, self.reachable = "", True  # why the last look at the clock failed; whether anything came back
        self._pause_s, self._until_s = PAUSE_S, 0.0
        self._name, self._pace, self._budget = name, pace, Budget(pace.weight_per_s, 2.0 * pace.weight_per_s)

    async def close(self) -> None:
        for client in (self.queries, self.orders):
            await client.close()
        await self.session.close()

    @property
    def paused_s(self) -> float:
        """How long the venue wants nothing from us yet; 0.0 when it takes requests."""
        return max(0.0, self._until_s - time.monotonic())

    @property
    def weight_left(self) -> int:
        """Of requests past ccxt's rate limiter, now."""
        return self._budget.left

    def _throttled(self, status: int, headers: Mapping[str, str]) -> None:
        """The venue asked for a pause: what is sent meanwhile gets the address banned."""
        told = {name.lower(): value for name, value in headers.items()}.get("retry-after", "")
        wanted_s = asked_pause_s(told) or (BANNED_S if status == 418 else self._pause_s)
        self._pause_s = min(2.0 * self._pause_s, LONGEST_PAUSE_S)
        self._until_s = max(self._until_s, time.monotonic() + wanted_s)
        log.warning("%s: too many requests (%d); nothing is sent for %g s", self._name, status, wanted_s)

    async def ask(self, call: Callable[..., Any], *args: Any, what: str) -> Any:
        """A query; ccxt's errors become ours here."""
        if self.paused_s:
            raise VenueError(f"{self._name}: {what} not asked, the venue wants a pause")
        try:
            answer = await call(*args)
            self._pause_s = PAUSE_S
            return answer
        except ccxt.BaseError as error:
            raise self.translated(error, what) from None

    async def ask_now(self, call: Callable[..., Any], *args: Any, what: str, weight: int = 1) -> Any:
        """The same past ccxt's rate limiter, if the budget allows its weight: for `orders`."""
        if not self._budget.take(weight):
            raise VenueError(
                f"{self._name}: {what} not asked, our own limit of requests a second is reached; ask again"
            )
        return await self.ask(call, *args, what=what)

    def translated(self, error: ccxt.BaseError, what: str) -> VenueError:
        silent = isinstance(error, ccxt.NetworkError) and not getattr(error, "status", 0)
        return VenueError(f"{self._name}: {what}: {plain(error)}", code_of(error), unreachable=silent)

    def order_connection(self, path: str, api: list[str]) -> OrderConnection | None:
        """A connection kept for orders, to where ccxt asks for `path`; None where requests go through a proxy."""
        client, asked = self.orders, ("https://venue", "POST")
        if any((client.aiohttp_proxy, client.check_proxy_url_settings(*asked), *client.check_proxy_settings(*asked))):
            return None
        look, headers = client.sign(path, api, "GET", {}), client.prepare_request_headers({})
        return OrderConnection(
            f"{self._name} orders", look, headers, certificates(), self._pace, lambda: self.paused_s > 0.0
        )

    async def understood(self, request: Mapping[str, Any], answer: asyncio.Future[HttpAnswer]) -> Any:
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
        """The clock offset, from the quickest of a few looks: half of a round trip is the error of one.

        Raises:
            VenueError: the venue did not answer, or so slowly that nobody knows until when it may accept an order.
        """
        looks = []
        for _ in range(CLOCK_LOOKS):
            sent_ns = clock.now_ns()
            venue_ms = await self.ask(self.orders.fetch_time, what="its clock")
            heard_ns = clock.now_ns()
            looks.append((heard_ns - sent_ns, venue_ms * 1_000_000 - (sent_ns + heard_ns) // 2))
        quickest_s = min(looks)[0] / 1e9
        if quickest_s > self._pace.window_s:
            raise VenueError(
                f"{self._name}: its clock answered after {quickest_s:.1f} s at the quickest, too slow to trade by"
            )
        self.offset_ns, self.measured_ns = min(looks)[1], clock.now_ns()
        for client in (self.queries, self.orders):
            client.options["timeDifference"] = round(-self.offset_ns / 1e6)

    async def watch_clock(self, doubtful: asyncio.Event) -> None:
        """Measure it every now and then, and at once when a quote's stamp is far from our time; for ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pace.clock_s):
                    await doubtful.wait()
            try:
                await self.measure()
                self.unanswered, self.reachable = "", True
            except VenueError as error:
                self.unanswered, self.reachable = str(error), not error.unreachable
                log.warning("%s", error)
            if doubtful.is_set():
                await asyncio.sleep(min(DOUBT_S, self._pace.clock_s))
                doubtful.clear()

    async def load(self, symbol: str, known: dict | None = None) -> tuple[dict, bool]:
        """The market, as ccxt understands the venue's list, or as it was `known` when it was listed; and whether it is
        listed. Both clients know it then."""
        markets = await self.ask(self.orders.load_markets, what="its markets")
        listed = symbol in markets
        if not listed and known is None:
            raise VenueError(
                f"{self._name}: {symbol} is not listed; {len(markets)} markets are, see the venue's own list"
            )
        if not listed:
            markets = self.orders.set_markets([*markets.values(), known], self.orders.currencies)
        self.queries.set_markets(self.orders.markets, self.orders.currencies)
        return markets[symbol], listed
