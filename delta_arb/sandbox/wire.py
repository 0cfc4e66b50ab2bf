"""What a venue's face and the server say to each other: requests, answers, routes, limits."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from .engine import Engine
from .faults import Fault
from .sockets import Hub, Socket
from .values import Refusal


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


def dumps(value: Any) -> str:
    """JSON as the venues write it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
