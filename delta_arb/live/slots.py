"""Per leg the newest quote, and when it is decided upon: in the receive path, as soon as all that came with it is here.

After a stall a hundred quotes wait in a socket: only the newest of them can still be traded on.
"""

import asyncio
from collections.abc import Callable

from delta_arb.live.event_loop import Dealer
from delta_arb.live.paper import LivePaper
from delta_arb.live.venues.base import VenueError
from delta_arb.market import PERP, SPOT, Book

FIRST_S = 15.0


class Slots:
    """Takes the quotes of both venues and has the dealer decide on the newest, from when there is a machine.

    `paper`, once it is set, fills its orders on the same quotes.
    """

    def __init__(self, dealer: Dealer, clock: Callable[[], int]) -> None:
        self.books: list[Book | None] = [None, None]
        self.paper: LivePaper | None = None
        self._dealer, self._clock = dealer, clock
        self._due = False  # whether a decision is due
        self._both = asyncio.Event()

    def on_quote(self, leg: int, book: Book, venue_ns: int) -> None:
        """A quote of one leg."""
        self.books[leg] = book
        if self._dealer.over:
            return
        if self._dealer.runner is None:
            if None not in self.books:
                self._both.set()
        elif not (self.paper and self._on_paper(leg, book)) and not self._due:
            self._due = True
            # behind the reader, which does not pause between messages
            asyncio.get_running_loop().call_soon(self.decide)

    def decide(self) -> None:
        """Put what is newest to the machine."""
        self._due = False
        self._dealer.quote(self._clock(), *self.books)

    async def first(self, names: tuple[str, str]) -> None:
        """Wait for a quote of both legs; VenueError names the venue that sent none."""
        try:
            async with asyncio.timeout(FIRST_S):
                await self._both.wait()
        except TimeoutError:
            missing = " and ".join(names[leg] for leg in (SPOT, PERP) if self.books[leg] is None)
            raise VenueError(f"no quote from {missing} within {FIRST_S:g} s; is the market open?") from None

    def _on_paper(self, leg: int, book: Book) -> bool:
        """Show the quote to the paper venues; whether they took the short away, which the machine then hears at once."""
        now_ns = self._clock()
        self.paper.quote(leg, now_ns, book)
        outside = self.paper.liquidation(now_ns, self._dealer.runner.state, self.books[PERP])
        if outside:
            self._dealer.quote(now_ns, *self.books, outside)
        return bool(outside)
