"""Hands the pair machine its events, one after the other, and rings the timer that it asks for.

While the journal cannot be written nothing is done, so nothing may be lost either: reports wait in their order, the
timer rings again, and a quote is followed by the next one anyway.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from delta_arb.live.journal import JournalError
from delta_arb.live.runner import Runner
from delta_arb.live.venues.broker import Report
from delta_arb.market import NEVER, NS, Book

RETRY_S = 1.0


class Dealer:
    """The only one who moves the runner, which it is given before the first event.

    Args:
        moved: called after each step.
        unwritten: called when the journal could not take one.
        booked: called with each report that the machine has heard.
        broken: called with what else a step ended by.
    """

    def __init__(
        self,
        clock: Callable[[], int],
        moved: Callable[[], None],
        unwritten: Callable[[JournalError], None],
        booked: Callable[[Report], None],
        broken: Callable[[Exception], None],
    ) -> None:
        self.runner: Runner | None = None
        self.over = False  # from then on nothing is decided: what still comes is asked for at the next start
        self.untold: deque[Report] = deque()  # oldest first: what the machine has not heard yet
        self._clock, self._moved, self._unwritten = clock, moved, unwritten
        self._booked, self._broken = booked, broken
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0

    def quote(self, now_ns: int, spot: Book, perp: Book, outside: Report | None = None) -> None:
        """A new book on either leg."""
        self._do(self.runner.quote, now_ns, spot, perp, outside)

    def report(self, report: Report) -> None:
        """The end of an order, a late fill or a change from outside."""
        self.untold.append(report)
        if len(self.untold) == 1:
            self._tell()

    def arm(self) -> None:
        """Set the loop's timer to what the machine asks for."""
        wake_ns = self.runner.state.wake_ns
        if wake_ns == self._timer_ns and self._timer:
            return
        if self._timer:
            self._timer.cancel()
        self._timer, self._timer_ns = None, wake_ns
        if wake_ns < NEVER:
            wait_s = max(0.0, (wake_ns - self._clock()) / NS)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._ring)

    def close(self) -> None:
        """Decide nothing any more."""
        self.over = True
        if self._timer:
            self._timer.cancel()

    def _tell(self) -> None:
        while self.untold and not self.over:
            report = self.untold[0]
            if not self._do(self.runner.report, report):
                asyncio.get_running_loop().call_later(RETRY_S, self._tell)
                return
            self.untold.popleft()
            self._booked(report)

    def _ring(self) -> None:
        self._timer = None
        if self._clock() < self._timer_ns:
            self.arm()
        elif not self._do(self.runner.timer, self._clock()):
            self._timer = asyncio.get_running_loop().call_later(RETRY_S, self._ring)

    def _do(self, act: Callable[..., None], *args) -> bool:
        """One step of the machine; False, and nothing done, when the journal cannot be written."""
        if self.over:
            return True
        try:
            act(*args)
        except JournalError as error:
            self._unwritten(error)
            return False
        except Exception as error:
            self._broken(error)
            raise
        self.arm()
        self._moved()
        return True
