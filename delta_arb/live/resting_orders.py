"""Orders in flight, and those that rest: looked up between pushes, withdrawn by id, and none left behind.

Where a venue can (Gate), it cancels by itself what rests once it hears no more of us.
"""

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from delta_arb.live.config import OrderTimeouts
from delta_arb.live.venues.base import OrderOutcome, Venue, VenueError
from delta_arb.market import LEGS

COUNTDOWN_S = 5.0
REFRESH_S = 1.5
TOLD_S = 0.1  # for a stream to tell the end of a cancelled order
LEAVE_S = 3.0  # for the cancels of a session that ends by a failure
LONGEST_S = 10.0  # between two quotes that are refused


@dataclass(slots=True)
class OrderInFlight:
    """One order of ours: what was reported of it, and who is asking."""

    order_id: str
    leg: int
    qty: float
    sent_s: float  # of the loop's clock, which no one sets
    sent_ns: int
    post_only: bool = False
    reported: OrderOutcome | None = None  # of one that rests what it came to so far
    over: bool = False
    cancel: bool = False
    adopted: bool = False  # of an earlier run
    asking: asyncio.Task | None = field(default=None, repr=False)
    withdrawing: asyncio.Task | None = field(default=None, repr=False)
    overdue: asyncio.TimerHandle | None = field(default=None, repr=False)

    @property
    def rests(self) -> bool:
        """Whether it rests, and nobody wants its end."""
        return self.post_only and self.reported is not None and not (self.over or self.cancel)


class Countdown:
    """The countdowns of both venues."""

    def __init__(self, venues: tuple[Venue, Venue], say: Callable[[str], None]) -> None:
        self._venues, self._say = venues, say
        self._asked_s = [0.0, 0.0]  # when each began anew; inf at a venue without one

    def hold(self, leg: int, tasks: asyncio.TaskGroup) -> None:
        """Begin it anew, in a moment, and not more often than need be."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._asked_s[leg] >= REFRESH_S * 0.9:
            self._asked_s[leg] = now_s
            tasks.create_task(self._ask(leg), name=f"{LEGS[leg]} countdown")

    async def _ask(self, leg: int) -> None:
        try:
            async with asyncio.timeout(COUNTDOWN_S):
                if not await self._venues[leg].cancel_after(COUNTDOWN_S):
                    self._asked_s[leg] = math.inf
        except (VenueError, TimeoutError) as error:
            self._say(f"{LEGS[leg]}: the countdown was not renewed ({str(error) or 'timeout'})")


class RestingOrders(ABC):
    """What an `Executor` does about orders that rest."""

    _venues: tuple[Venue, Venue]
    _say: Callable[[str], None]
    _patience: OrderTimeouts
    _sent: dict[str, OrderInFlight]
    _tasks: asyncio.TaskGroup | None
    _closed: bool

    def __init__(self) -> None:
        self._countdown = Countdown(self._venues, self._say)
        self._unquoted = [0, 0]  # quotes refused in a row, of each leg

    @abstractmethod
    def outcome(self, leg: int, outcome: OrderOutcome) -> None: ...

    @abstractmethod
    def _ask(self, sent: OrderInFlight) -> None: ...

    @abstractmethod
    def _tell_in(self, wait_s: float, *what: Any) -> None: ...

    @property
    def resting(self) -> tuple[str, ...]:
        """Ids of the orders that rest, or may."""
        return tuple(s.order_id for s in self._sent.values() if s.post_only and not s.over)

    def _back_off(self, sent: OrderInFlight, outcome: OrderOutcome, more: tuple[float, float, float]) -> None:
        """A quote that was refused is made again from the newer book: at once the first time, then after longer and longer,
        for a book that is stale looks the same each time."""
        before, self._unquoted[sent.leg] = self._unquoted[sent.leg], self._unquoted[sent.leg] + 1
        pause_s = min(self._patience.retry_s * 2.0 ** min(before - 1, 10), LONGEST_S) if before else 0.0
        self._tell_in(max(pause_s, self._venues[sent.leg].paused_s), sent, *more, outcome, outcome.for_good)

    async def leave_nothing(self) -> None:
        """Cancel what may rest, at the end of a session that a failure ended; what became of it the next one asks."""
        left = [s for s in self._sent.values() if s.post_only and not s.over]
        ends = (self._venues[s.leg].cancel(s.order_id) for s in left)
        try:
            async with asyncio.timeout(LEAVE_S):
                found = await asyncio.gather(*ends, return_exceptions=True)
        except TimeoutError:
            found = [TimeoutError("timeout")] * len(left)
        for sent, error in zip(left, found, strict=True):
            if isinstance(error, Exception):
                self._say(
                    f"{LEGS[sent.leg]}: order {sent.order_id} may still rest ({error}); the next start cancels it"
                )

    @property
    def watches(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        """What runs beside a session, for ever."""
        return self.watch_resting, self.hold_resting

    async def watch_resting(self) -> None:
        """Look up what rests, for a stream may lose a fill; for ever."""
        while True:
            await asyncio.sleep(self._patience.resting_s)
            await self.look_up_resting()

    async def look_up_resting(self) -> None:
        for sent in [s for s in self._sent.values() if s.rests]:
            await self._compare(sent)

    async def hold_resting(self) -> None:
        """As long as this runs the venues hold what rests; for ever."""
        while True:
            await asyncio.sleep(REFRESH_S)
            for leg in {s.leg for s in self._sent.values() if s.post_only and not s.over}:
                self._countdown.hold(leg, self._tasks)

    async def _compare(self, sent: OrderInFlight) -> None:
        try:
            async with asyncio.timeout(self._patience.answer_s):
                found = await self._venues[sent.leg].outcome(sent.order_id)
        except (VenueError, TimeoutError):
            return  # the next look is soon; a venue that does not answer at all stops entries
        if found is None:
            self._ask(sent)
        else:
            self.outcome(sent.leg, found)

    def _withdraw(self, sent: OrderInFlight) -> None:
        if not (self._closed or (sent.withdrawing and not sent.withdrawing.done())):
            sent.withdrawing = self._tasks.create_task(self._withdrawn(sent), name=f"cancel {sent.order_id}")

    async def _withdrawn(self, sent: OrderInFlight) -> None:
        """Cancel by id; then its end is asked for, if the stream has not told it by then."""
        try:
            async with asyncio.timeout(self._patience.answer_s):
                await self._venues[sent.leg].cancel(sent.order_id)
            await asyncio.sleep(TOLD_S)
        except (VenueError, TimeoutError) as error:
            self._say(f"{LEGS[sent.leg]}: the cancel of {sent.order_id} is in doubt ({str(error) or 'timeout'})")
        self._ask(sent)
