"""Hands the pair machine its events, one after the other, and rings the timer that it asks for.

Per leg the newest quote counts, decided upon in the receive path, as soon as all that came with it is here: after a
stall a hundred quotes wait in a socket, and only the newest of them can still be traded on.

While the journal cannot be written nothing is done, so nothing may be lost either: reports wait in their order, the
timer rings again, and a quote is followed by the next one anyway.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from delta_arb.live.journal import JournalError
from delta_arb.live.market_watch import FundingWatch
from delta_arb.live.paper import PaperVenue
from delta_arb.live.runner import Runner
from delta_arb.live.venues.base import OrderOutcome, Placed, Report, VenueError
from delta_arb.market import LEGS, NEVER, NS, PERP, SPOT, Book
from delta_arb.quotes.depth_and_trades import Depth, snapshot

RETRY_S = 1.0
FIRST_S = 15.0


class LivePaper:
    """The same on a loop's clock, for paper trading on live quotes: reports come when they are due.

    Args:
        report: takes the end of an order.
        keep: takes the levels as they came, for the review.
    """

    def __init__(
        self,
        venue: PaperVenue,
        report: Callable[[Report], None],
        clock: Callable[[], int],
        keep: Callable[[int, Depth], None],
    ) -> None:
        self._venue, self._report, self._clock, self._keep = venue, report, clock, keep
        self.liquidation = venue.liquidation
        self._timer: asyncio.TimerHandle | None = None

    def place(self, orders: Sequence[Placed], now_ns: int) -> None:
        """Accept the orders of one decision, and report each when its latency is over."""
        self._venue.place(orders, now_ns)
        self._expect()

    def cancel(self, leg: int, now_ns: int) -> None:
        """See `PaperVenue.cancel`."""
        self._venue.cancel(leg, now_ns)
        self._expect()

    def quote(self, leg: int, ts_ns: int, book: Book) -> None:
        """See `PaperVenue.quote`."""
        self._venue.quote(leg, ts_ns, book)
        self._expect()

    def levels(self, leg: int, levels: Sequence[float]) -> None:
        """See `PaperVenue.levels`."""
        depth = snapshot(self._clock(), levels)
        self._venue.levels(leg, depth)
        self._keep(leg, depth)

    @property
    def best_only(self) -> str:
        """The legs of which no more than the best level is known now; "" where five are of both."""
        legs = [leg for leg, only in zip(LEGS, self._venue.best_only(self._clock()), strict=True) if only]
        return f"; takes the best level only of {' and '.join(legs)}" if legs else ""

    def trade(self, leg: int, side: int, price: float, qty: float) -> None:
        """See `PaperVenue.trade`."""
        self._venue.trade(leg, self._clock(), side, price, qty)
        self._expect()

    def adopt(self, placed: Placed, sent_ns: int, booked: OrderOutcome | None = None) -> None:
        """Paper forgets: what was under way is gone."""
        self._report(Report(self._clock(), placed.leg, placed.order_id, 0.0, 0.0, None, "paper was interrupted"))

    def _expect(self) -> None:
        """Ring when the next report is due."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._venue.due_ns < NEVER:
            wait_s = max(0.0, (self._venue.due_ns - self._clock()) / NS)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._venue.due_ns <= self._clock():
            self._report(self._venue.report())
        self._expect()


class EventLoop:
    """The only one who moves the runner, which it is given before the first event.

    `paper`, once it is set, fills its orders on the same quotes; `funding` books the stamps before them.

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
        self.funding: FundingWatch | None = None
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

    def levels(self, leg: int, levels: Sequence[float]) -> None:
        """The best levels of one leg: on paper an order may take from them."""
        if self.paper and not self.over:
            self.paper.levels(leg, levels)

    def decide(self) -> None:
        """Put the newest books to the machine."""
        self._due = False
        self._do(self.runner.quote, self._quoted_ns(), *self.books)

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
        now_ns = self._quoted_ns()
        self.paper.quote(leg, now_ns, book)
        outside = self.paper.liquidation(now_ns, self.runner.state, self.books[PERP])
        if outside:
            self._do(self.runner.quote, now_ns, *self.books, outside)
        return bool(outside)

    def _quoted_ns(self) -> int:
        """The time of a quote; a stamp of funding before it is booked first."""
        now_ns = self.clock()
        if self.funding:
            self.funding.passed(now_ns)
        return now_ns

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
