"""Both markets' terms while trading: contract size, steps, minima, tick, and whether the market is open.

An order is sized by what the venue listed when it was opened. A contract that has become ten times as large would be
ten times the exposure, and nothing else would tell: the account is converted by the same number. So what is listed now
is compared every few seconds and after each fill, nothing is entered on an older look, and a change ends the session:
the next one opens the venues anew, measures what is open by the new terms, and closes it.
"""

import asyncio
import contextlib
from collections.abc import Callable

from delta_arb.live.venues.base import ListedTerms, Venue, VenueError, within
from delta_arb.market import NS
from delta_arb.venue_terms import VenueTerms

EVERY_S = 20.0
APART_S = 1.0
AGAIN_S = 2.0  # after a venue did not answer
ANSWER_S = 5.0
OLD_S = 60.0  # nothing is entered on terms older than that
FIELDS = ("contract_size", "qty_step", "min_qty", "min_notional_usdt", "price_tick")


class TermsChangedError(VenueError):
    """A venue trades on other terms than it was opened with: whoever trades there begins again."""


class TermsWatch:
    """Compares what both venues list now with what they were opened with.

    Args:
        changed: is given what changed, once.
    """

    def __init__(
        self, venues: tuple[Venue, Venue], clock: Callable[[], int], changed: Callable[[str], None], every_s: float
    ) -> None:
        self._venues, self._clock, self._changed, self._every_s = venues, clock, changed, min(EVERY_S, every_s)
        self._seen_ns = [clock(), clock()]  # they were listed when they were opened
        self._asked_ns = clock()
        self._closed = [venue.closed for venue in venues]
        self._failed = ["", ""]
        self._changed_ns = 0
        self.differ = asyncio.Event()  # set once a change was told
        self.due = asyncio.Event()  # set after a fill: what it came to depends on the terms

    @property
    def stale(self) -> str:
        """Why the terms are not known well enough to enter; "" while they are."""
        old_s = (self._clock() - min(self._seen_ns)) / NS
        return next(filter(None, self._failed), f"the terms were last read {old_s:.0f} s ago" if old_s > OLD_S else "")

    @property
    def changed_s(self) -> float:
        """How long ago a change was seen."""
        return (self._clock() - self._changed_ns) / NS

    @property
    def closed(self) -> str:
        """Why one of the markets takes no new orders; "" while both do."""
        return next(filter(None, self._closed), "")

    async def run(self) -> None:
        """Compare for ever: on time, and after fills, though not more than once a second."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S if any(self._failed) else self._every_s):
                    await self.due.wait()
            await self._look()
            await asyncio.sleep(min(APART_S, self._every_s))

    async def last_look(self, ended_ns: int, say: Callable[[str], None]) -> None:
        """Before the end, where an order ended after the look before: what it came to depends on the terms."""
        if ended_ns < self._asked_ns:
            return
        await self._look()
        if why := next(filter(None, self._failed), ""):
            say(f"{why}, so what the last fills came to is not certain")

    async def _look(self) -> None:
        self.due.clear()
        self._asked_ns = self._clock()
        await asyncio.gather(*(self._compare(venue) for venue in self._venues))

    async def _compare(self, venue: Venue) -> None:
        leg = venue.leg
        try:
            listed = await within(venue.listed(), f"{venue.name}'s terms", ANSWER_S)
        except VenueError as error:
            self._failed[leg] = str(error)
            return
        self._failed[leg], self._closed[leg], self._seen_ns[leg] = "", listed.closed, self._clock()
        if found := differing(venue.terms, listed):
            self._changed_ns = self._changed_ns or self._clock()
            self._changed(f"{venue.name} changed its terms: {found}")
            self.differ.set()


def differing(opened: VenueTerms, listed: ListedTerms) -> str:
    """What of the terms differs, in words; "" where nothing does."""
    pairs = ((name, getattr(opened, name), getattr(listed.terms, name)) for name in FIELDS)
    return ", ".join(f"{name} from {old:g} to {new:g}" for name, old, new in pairs if old != new)
