"""Both markets while trading: funding as it happens, and the terms that orders are sized by.

Funding: what an entry may expect, the next stamp's announced rate for the guards, and each stamp that passed for the ledger. At a
stamp the announced rate is booked at once, so that a pair which closes a second later has it; the settled rate
takes its place as soon as the venue tells it. The mark at the stamp is not told by the venues: the last one read
stands for it, and trades say so (`approximate_funding`).

Terms: contract size, steps, minima, tick, and whether the market is open. An order is sized by what the venue listed when it was
opened. A contract that has become ten times as large would be ten times the exposure, and nothing else would tell: the account is
converted by the same number. So what is listed now is compared every few seconds and after each fill, nothing is entered on an
older look, and a change ends the session: the next one opens the venues anew, measures what is open by the new terms, and closes it.
"""

import asyncio
import contextlib
import math
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence

from delta_arb.funding_stamps import RECENT
from delta_arb.live.venues.base import Funding, ListedTerms, Venue, VenueError, within
from delta_arb.market import NS, FundingPayment, utc
from delta_arb.venue_terms import VenueTerms

EVERY_S = 60.0
ANSWER_S = 5.0
AGAIN_S = 5.0  # after a venue did not answer
BEFORE_S = 5.0  # the last look before a stamp
LATE_S = 120.0  # a stamp that is not known so long after its time is missing
LONGEST_NS = 32 * 86_400 * NS  # no history is looked back on for longer


class FundingWatch:
    """Fills `payments`, in order of time: the runner settles its pairs with them and expects by them.

    Args:
        venue: the perpetual's.
        since_ns: from when on stamps are needed to settle: the opening of a pair that is taken up, else now.
        note: is told each stamp, and again when its rate is settled.
        earlier: stamps that earlier runs booked; their marks are nearer to the truth than a later one.
    """

    def __init__(
        self,
        venue: Venue,
        payments: list[FundingPayment],
        since_ns: int,
        clock: Callable[[], int],
        say: Callable[[str], None],
        note: Callable[[FundingPayment], None],
        earlier: Sequence[FundingPayment] = (),
    ) -> None:
        self.rate, self.mark = math.nan, math.nan
        self.unanswered = ""  # why the last look failed
        self.expecting = False  # a rule in force counts on funding, so what was settled of late is needed
        self._venue, self._payments, self._clock, self._say, self._note = venue, payments, clock, say, note
        self._marks = {payment.ts_ns // NS: payment.mark for payment in earlier}
        self._settled_ns = since_ns
        self._upcoming: Funding | None = None
        self._interval_ns = 0

    # What is known

    @property
    def fed(self) -> bool:
        """Whether the stamps reach as far back as an expectation looks."""
        return len(self._payments) > RECENT

    @property
    def next_ns(self) -> int | None:
        """The next stamp; None while the venue has not told it."""
        return self._upcoming.next_ns if self._upcoming else None

    def missing(self) -> str:
        """Why nothing can be expected now; "" while everything that an expectation looks at is known."""
        if not self.fed:
            return f"the last {RECENT + 1} funding stamps are not known"
        late_ns = self._clock() - self._payments[-1].ts_ns - self._interval_ns
        if late_ns > LATE_S * NS:
            return f"the last funding stamp known is that of {utc(self._payments[-1].ts_ns)} UTC"
        return ""

    # Looking

    async def begin(self, expecting: bool, *, is_open: bool) -> None:
        """Before the first decision: what was settled so far, where a rule in force counts on it.

        Raises:
            VenueError: the venue does not tell it. While a pair is open that is said, and the pair managed without.
        """
        self.expecting = expecting
        if not expecting:
            return
        try:
            await self.feed()
        except VenueError as error:
            if not is_open:
                raise
            self._say(f"the open pair's target waits for funding: {error}")

    async def feed(self) -> None:
        """The stamps that an expectation looks back on.

        Raises:
            VenueError: the venue does not tell them.
        """
        await self._ask()
        now_ns, back_ns = self._clock(), (RECENT + 2) * self._interval_ns
        told = await self._history(now_ns - back_ns, now_ns)
        while len(told) <= RECENT and back_ns < LONGEST_NS:  # the interval was longer before
            back_ns *= 2
            told = await self._history(now_ns - back_ns, now_ns)
        if len(told) <= RECENT:
            raise VenueError(
                f"{self._venue.name}: {len(told)} funding stamps since {utc(now_ns - back_ns)} UTC; a rule that counts on "
                f"funding needs {RECENT + 1} settled ones"
            )
        for stamp_ns, rate in told:
            self._book(FundingPayment(stamp_ns, rate, self.mark, False))

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self._ask()
                await self._settle()
                if self.expecting and not self.fed:
                    await self.feed()
                self.unanswered, pause_s = "", EVERY_S
            except VenueError as error:
                self.unanswered = str(error)
                self._say(f"funding could not be read: {error}")
                pause_s = AGAIN_S
            await self._sleep(pause_s)

    async def _ask(self) -> None:
        upcoming = await within(self._venue.funding(), "the next funding", ANSWER_S)
        self.passed(self._clock())  # by what was announced before the stamp, not after
        self.rate, self.mark = upcoming.rate, upcoming.mark
        self._interval_ns = upcoming.interval_s * NS
        ahead = upcoming.next_ns > self._clock()  # just after a stamp a venue may still announce it; settled rates come
        self._upcoming = upcoming if ahead else None

    async def _sleep(self, longest_s: float) -> None:
        """Until the next look; over a stamp it books the announced rate."""
        left_s = (self._upcoming.next_ns - self._clock()) / NS if self._upcoming else math.inf
        if left_s > BEFORE_S:
            await asyncio.sleep(min(longest_s, left_s - BEFORE_S))
            return
        await asyncio.sleep(max(0.0, left_s))
        self.passed(self._clock())
        await asyncio.sleep(BEFORE_S / 2)  # the venue needs a moment to settle

    def passed(self, now_ns: int) -> None:
        """Book the announced rate of a stamp that has come; asked before each quote, so that the first one behind it knows it."""
        if self._upcoming and now_ns >= self._upcoming.next_ns:
            self._book(FundingPayment(self._upcoming.next_ns, self._upcoming.rate, self._upcoming.mark, False))
            self._upcoming = None

    async def _settle(self) -> None:
        """The settled rates since the last one."""
        for stamp_ns, rate in await self._history(self._settled_ns, self._clock() + 1):
            self._book(FundingPayment(stamp_ns, rate, self.mark, False))
            self._settled_ns = stamp_ns + 1

    async def _history(self, start_ns: int, end_ns: int) -> tuple[tuple[int, float], ...]:
        return await within(self._venue.funding_history(start_ns, end_ns), "settled funding", ANSWER_S)

    def _book(self, payment: FundingPayment) -> None:
        """Add a stamp, or the settled rate to one that was booked by its announcement (a second is the same stamp)."""
        at = bisect_left(self._payments, payment.ts_ns - NS + 1, key=_time)
        known = self._payments[at] if at < len(self._payments) else None
        if known is None or known.ts_ns - payment.ts_ns >= NS:
            payment = payment._replace(mark=self._marks.get(payment.ts_ns // NS, payment.mark))
            insort(self._payments, payment, key=_time)
            self._note(payment)
        elif payment.rate != known.rate:
            self._payments[at] = payment._replace(mark=known.mark, ts_ns=known.ts_ns)
            self._note(self._payments[at])


def _time(payment: FundingPayment) -> int:
    return payment.ts_ns


TERMS_EVERY_S = 20.0
APART_S = 1.0
TERMS_AGAIN_S = 2.0  # after a venue did not answer
TERMS_ANSWER_S = 5.0
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
        self._venues, self._clock, self._changed, self._every_s = venues, clock, changed, min(TERMS_EVERY_S, every_s)
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
                async with asyncio.timeout(TERMS_AGAIN_S if any(self._failed) else self._every_s):
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
            listed = await within(venue.listed(), f"{venue.name}'s terms", TERMS_ANSWER_S)
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
