"""What a venue's face and the server say to each other: requests, answers, routes, limits."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from delta_arb.sandbox.engine import Engine
from delta_arb.sandbox.faults import Fault
from delta_arb.sandbox.values import Refusal
from delta_arb.sandbox.websocket import Hub, Socket


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
    hub: Hub
    socket_paths: tuple[str, ...]
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

    def closed(self, socket: Socket) -> None:
        """It is gone; its subscriptions are already ended."""

    def on_fault(self, fault: Fault) -> None:
        """A timed fault that only this venue knows (listen_key_death)."""

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
