"""Hands the pair machine its events, one after the other, and rings the timer that it asks for.

Per leg the newest quote counts, decided upon in the receive path, as soon as all that came with it is here: after a
stall a hundred quotes wait in a socket, and only the newest of them can still be traded on.

While the journal cannot be written nothing is done, so nothing may be lost either: reports wait in their order, the
timer rings again, and a quote is followed by the next one anyway.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from delta_arb.live.journal import JournalError
from delta_arb.live.paper import LivePaper
from delta_arb.live.runner import Runner
from delta_arb.live.venues.base import Report, VenueError
from delta_arb.market import NEVER, NS, PERP, SPOT, Book

RETRY_S = 1.0
FIRST_S = 15.0


class EventLoop:
    """The only one who moves the runner, which it is given before the first event.

    `paper`, once it is set, fills its orders on the same quotes.

    Args:
        moved: called after each step.
        unwritten: called when the journal could not take one.
        booked: called with each report that the machine has taken.
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
        self.paper: LivePaper | None = None
        self.books: list[Book | None] = [None, None]
        self.over = False  # from then on nothing is decided: what still comes is asked for at the next start
        self.waiting: deque[Report] = deque()  # oldest first: what the machine has not taken yet
        self.clock, self._moved, self._unwritten = clock, moved, unwritten
        self._booked, self._broken = booked, broken
        self._due = False  # whether a decision is due
        self._both = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0

    def quote(self, leg: int, book: Book, venue_ns: int) -> None:
        """A quote of one leg."""
        self.books[leg] = book
        if self.over:
            return
        if self.runner is None:
            if None not in self.books:
                self._both.set()
        elif not (self.paper and self._on_paper(leg, book)) and not self._due:
            self._due = True
            # behind the reader, which does not pause between messages
            asyncio.get_running_loop().call_soon(self.decide)

    def trade(self, leg: int, side: int, price: float, qty: float) -> None:
        """A trade of others on one leg: on paper it may fill what rests there."""
        if self.paper and not self.over:
            self.paper.trade(leg, side, price, qty)

    def decide(self) -> None:
        """Put the newest books to the machine."""
        self._due = False
        self._do(self.runner.quote, self.clock(), *self.books)

    async def first(self, names: tuple[str, str]) -> None:
        """Wait for a quote of both legs; VenueError names the venue that sent none."""
        try:
            async with asyncio.timeout(FIRST_S):
                await self._both.wait()
        except TimeoutError:
            missing = " and ".join(names[leg] for leg in (SPOT, PERP) if self.books[leg] is None)
            raise VenueError(f"no quote from {missing} within {FIRST_S:g} s; is the market open?") from None

    def report(self, report: Report) -> None:
        """The end of an order, a late fill or a change from outside."""
        self.waiting.append(report)
        if len(self.waiting) == 1:
            self._deliver()

    def arm(self) -> None:
        """Set the loop's timer to what the machine asks for."""
        wake_ns = self.runner.state.wake_ns
        if wake_ns == self._timer_ns and self._timer:
            return
        if self._timer:
            self._timer.cancel()
        self._timer, self._timer_ns = None, wake_ns
        if wake_ns < NEVER:
            wait_s = max(0.0, (wake_ns - self.clock()) / NS)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._ring)

    def close(self) -> None:
        """Decide nothing any more."""
        self.over = True
        if self._timer:
            self._timer.cancel()

    def _on_paper(self, leg: int, book: Book) -> bool:
        """Show the quote to the paper venues; whether they liquidated the short, which the machine then gets at once."""
        now_ns = self.clock()
        self.paper.quote(leg, now_ns, book)
        outside = self.paper.liquidation(now_ns, self.runner.state, self.books[PERP])
        if outside:
            self._do(self.runner.quote, now_ns, *self.books, outside)
        return bool(outside)

    def _deliver(self) -> None:
        while self.waiting and not self.over:
            report = self.waiting[0]
            if not self._do(self.runner.report, report):
                asyncio.get_running_loop().call_later(RETRY_S, self._deliver)
                return
            self.waiting.popleft()
            self._booked(report)

    def _ring(self) -> None:
        self._timer = None
        if self.clock() < self._timer_ns:
            self.arm()
        elif not self._do(self.runner.timer, self.clock()):
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
