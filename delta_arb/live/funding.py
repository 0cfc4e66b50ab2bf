"""Funding while it happens: the next stamp's announced rate for the guards, and each stamp that passed for the ledger.

At a stamp the announced rate is booked at once, so that a pair which closes a second later has it; the settled rate
takes its place as soon as the venue tells it. The mark at the stamp is not told by the venues: the last one read
stands for it, and trades say so (`approximate_funding`).
"""

import asyncio
import math
from collections.abc import Callable

from delta_arb.market import NS, FundingPayment

from .venue import Funding, Venue, VenueError, within

EVERY_S = 60.0
BEFORE_S = 5.0  # the last look before a stamp


class FundingWatch:
    """Fills `payments`, which the runner settles its pairs with.

    Args:
        venue: the perpetual's.
        since_ns: from when on stamps are needed: the opening of a pair that is taken up, else now.
        note: keeps each stamp, and again when its rate is settled.
    """

    def __init__(
        self,
        venue: Venue,
        payments: list[FundingPayment],
        since_ns: int,
        clock: Callable[[], int],
        say: Callable[[str], None],
        note: Callable[[FundingPayment], None],
    ) -> None:
        self.rate, self.mark = math.nan, math.nan
        self._venue, self._payments, self._clock, self._say, self._note = venue, payments, clock, say, note
        self._settled_ns = since_ns

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                upcoming = await within(self._venue.funding(), "the next funding")
                self.rate, self.mark = upcoming.rate, upcoming.mark
                await self._settle()
            except VenueError as error:
                self._say(f"funding could not be read: {error}")
                await asyncio.sleep(EVERY_S / 4)
                continue
            await self._sleep(upcoming)

    async def _sleep(self, upcoming: Funding) -> None:
        """Until the next look; over a stamp it books the announced rate."""
        left_s = (upcoming.next_ns - self._clock()) / NS
        if left_s > BEFORE_S:
            await asyncio.sleep(min(EVERY_S, left_s - BEFORE_S))
            return
        await asyncio.sleep(max(0.0, left_s))
        self._book(FundingPayment(upcoming.next_ns, upcoming.rate, upcoming.mark, False))
        await asyncio.sleep(BEFORE_S / 2)  # the venue needs a moment to settle

    async def _settle(self) -> None:
        """The settled rates since the last one."""
        told = await within(self._venue.funding_history(self._settled_ns, self._clock() + 1), "settled funding")
        for stamp_ns, rate in told:
            self._book(FundingPayment(stamp_ns, rate, self.mark, False))
            self._settled_ns = stamp_ns + 1

    def _book(self, payment: FundingPayment) -> None:
        """Add a stamp, or the settled rate to one that was booked by its announcement (a second is the same stamp)."""
        for k, known in enumerate(self._payments):
            if abs(known.ts_ns - payment.ts_ns) < NS:
                self._payments[k] = payment._replace(mark=known.mark, ts_ns=known.ts_ns)
                if payment.rate != known.rate:
                    self._note(self._payments[k])
                return
        self._payments.append(payment)
        self._note(payment)
