"""How many requests a venue takes, by weight and window, and how long it bans who goes on all the same."""

from collections.abc import Mapping
from typing import NamedTuple


class Wait(NamedTuple):
    """Why a request was not taken: HTTP `status` 429, or 418 for a ban; and after how long it may be taken."""

    status: int
    seconds: float


class Limiter:
    """A weight of at most `count` in a window of `window_s` that the venue counts.

    Args:
        per_hook: count each hook by itself, instead of all together.
        special: hook -> (count, window) where it differs.
        ban_s: who asks `BAN_AFTER` times in a window that is used up is banned for so long; 0 for no bans.
    """

    BAN_AFTER = 10

    def __init__(
        self,
        count: int,
        window_s: float,
        per_hook: bool = True,
        special: Mapping[str, tuple[int, float]] | None = None,
        ban_s: float = 0.0,
    ) -> None:
        self.count, self.window_s, self.ban_s = count, window_s, ban_s
        self._per_hook, self._special = per_hook, special or {}
        self._windows: dict[str, tuple[float, int]] = {}  # hook -> when its window began, weight used in it
        self._refused = 0
        self._banned_until_s = 0.0

    def take(self, hook: str, now_s: float, weight: int = 1) -> Wait | None:
        """Count one request; None while it is within the limit."""
        if now_s < self._banned_until_s:
            return Wait(418, self._banned_until_s - now_s)
        count, window_s = self._rule(hook)
        began, used = self._windows.get(self._key(hook), (now_s, 0))
        if now_s - began >= window_s:
            began, used, self._refused = now_s, 0, 0
        self._windows[self._key(hook)] = (began, used + weight)
        if used + weight <= count:
            return None
        self._refused += 1
        if self.ban_s and self._refused >= self.BAN_AFTER:
            self._banned_until_s, self._refused = now_s + self.ban_s, 0
            return Wait(418, self.ban_s)
        return Wait(429, began + window_s - now_s)

    def allowed(self, hook: str) -> int:
        return self._rule(hook)[0]

    def resets_at_s(self, hook: str) -> float:
        return self._windows.get(self._key(hook), (0.0, 0))[0] + self._rule(hook)[1]

    def _rule(self, hook: str) -> tuple[int, float]:
        return self._special.get(hook, (self.count, self.window_s))

    def _key(self, hook: str) -> str:
        return hook if self._per_hook else ""
