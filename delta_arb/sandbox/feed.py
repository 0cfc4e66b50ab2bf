"""Plays a tape into both engines at a chosen speed, with the funding payments at their stamps.

Each row goes to its own leg's engine and to no other, as the quote in force from then on; prices and sizes come out as
on the tape. Funding is paid by what is held just before the stamp, so at equal times it comes before the quotes.
The venues' clocks show real time: tape time is mapped onto it, `speed` recorded seconds to a second.
"""

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import lru_cache, partial

from delta_arb.market import NS, SPOT, FundingPayment
from delta_arb.quotes.tape import Tape
from delta_arb.sandbox.engine import Engine
from delta_arb.sandbox.perpetual import PerpetualEngine
from delta_arb.sandbox.rules import round_to
from delta_arb.sandbox.values import ZERO, FundingPaid, Listing, Upcoming, dec

CHUNK = 20_000  # rows turned into Python numbers at a time
BATCH = 100  # rows between two looks at the clock at full speed
BACKLOG = 2_000  # pushes waiting for the slowest client, at which a feed at full speed pauses
CACHED = 1 << 14  # decimals remembered
SLACK_S = 0.001  # earlier than this is on time: asyncio's own grain

Row = tuple[int, int, float, float, float, float]


def rows(tape: Tape) -> Iterator[Row]:
    """(ts_ns, leg, bid, bid_qty, ask, ask_qty) of every event, of the leg whose row it is."""
    for start in range(0, len(tape), CHUNK):
        part = slice(start, start + CHUNK)
        spot = tape.leg[part] == SPOT
        names = ("bid", "bid_qty", "ask", "ask_qty")
        columns = [
            _where(spot, getattr(tape, f"spot_{name}")[part], getattr(tape, f"perp_{name}")[part]) for name in names
        ]
        yield from zip(tape.ts_ns[part].tolist(), tape.leg[part].tolist(), *columns, strict=True)


def _where(spot, ours, theirs) -> list[float]:
    chosen = theirs.copy()
    chosen[spot] = ours[spot]
    return chosen.tolist()


class Feed:
    """One tape and two engines; `run` ends with the tape, unless it is to repeat.

    Args:
        payments: the funding stamps of the perpetual; those before the tape are history from the start.
        speed: recorded seconds per second; `math.inf` plays as fast as the slowest client reads.
        backlog: how many pushes wait for the slowest client.
        repeat: begin again at the end, for ever.
    """

    def __init__(
        self,
        tape: Tape,
        spot: Engine,
        perp: PerpetualEngine,
        *,
        payments: Sequence[FundingPayment] = (),
        speed: float = 1.0,
        backlog: Callable[[], int] = lambda: 0,
        repeat: bool = False,
    ) -> None:
        self.tape, self.speed, self.repeat = tape, speed, repeat
        self.rows = 0
        self._spot, self._perp, self._backlog = spot, perp, backlog
        self._pairs = next(iter(spot.listings)), next(iter(perp.listings))
        self._grids = spot.listings[self._pairs[0]], perp.listings[self._pairs[1]]
        # Prices and sizes of a tape repeat; exact decimals are made once for each.
        self._price = lru_cache(CACHED)(dec)
        self._sizes = [lru_cache(CACHED)(partial(_size, listing=listing)) for listing in self._grids]
        self._payments = list(payments)
        self._due: list[FundingPayment] = []

    def start(self) -> None:
        """Show both books of the tape's first event, and the funding known by then."""
        first = self.tape.between(self.tape.start_ns, self.tape.start_ns + 1)
        for name, leg in (("spot", 0), ("perp", 1)):
            columns = (getattr(first, f"{name}_{column}") for column in ("bid", "bid_qty", "ask", "ask_qty"))
            self._quote(leg, *(float(column[0]) for column in columns))
        self._due = [p for p in self._payments if p.ts_ns > self.tape.start_ns]
        for past in self._payments[: len(self._payments) - len(self._due)]:
            known = FundingPaid(self._venue_ns(past.ts_ns), self._pairs[1], dec(past.rate), dec(past.mark), ZERO)
            self._perp.funding.append(known)
        self._announce()

    async def run(self) -> None:
        """Play the tape once, or for ever."""
        while True:
            await self._play()
            if not self.repeat:
                return
            self._due = [p for p in self._payments if p.ts_ns > self.tape.start_ns]

    async def _play(self) -> None:
        loop = asyncio.get_running_loop()
        began, first_ns = loop.time(), self.tape.start_ns
        for ts_ns, leg, bid, bid_qty, ask, ask_qty in rows(self.tape):
            if math.isinf(self.speed):
                if self.rows % BATCH == 0:
                    await self._breathe()
            else:
                early = began + (ts_ns - first_ns) / NS / self.speed - loop.time()
                if early > SLACK_S or self.rows % BATCH == 0:
                    await asyncio.sleep(max(0.0, early))
            while self._due and self._due[0].ts_ns <= ts_ns:
                self._fund(self._due.pop(0))
            self._quote(leg, bid, bid_qty, ask, ask_qty)
            self.rows += 1

    async def _breathe(self) -> None:
        """Let the sockets write; wait for the slowest client."""
        await asyncio.sleep(0)
        while self._backlog() > BACKLOG:  # noqa: ASYNC110 - the sockets know when, the engines that feed them do not
            await asyncio.sleep(0.001)

    def _quote(self, leg: int, bid: float, bid_qty: float, ask: float, ask_qty: float) -> None:
        engine, price, size = self._spot if leg == SPOT else self._perp, self._price, self._sizes[leg]
        engine.quote(self._pairs[leg], price(bid), size(bid_qty), price(ask), size(ask_qty))

    def _fund(self, payment: FundingPayment) -> None:
        self._perp.fund(self._pairs[1], dec(payment.rate), dec(payment.mark))
        self._announce()

    def _announce(self) -> None:
        """The next stamp, in the venue's time; its rate is an announcement, and here a true one."""
        if self._due:
            following = self._due[1:2] or self._due[:1]
            step_ns = following[0].ts_ns - self._due[0].ts_ns or 8 * 3600 * NS
            at_ns = self._venue_ns(self._due[0].ts_ns)
            upcoming = Upcoming(dec(self._due[0].rate), at_ns, max(1, round(step_ns / NS / self.speed)))
            self._perp.upcoming_funding[self._pairs[1]] = upcoming

    def _venue_ns(self, tape_ns: int) -> int:
        """When a time of the tape is, on the venue's clock."""
        return self._perp.clock.now_ns() + round((tape_ns - self._played_ns()) / self.speed)

    def _played_ns(self) -> int:
        return int(self.tape.ts_ns[min(self.rows, len(self.tape) - 1)])


def _size(qty: float, listing: Listing) -> Decimal:
    """A quantity without the noise of floating point, where it is on the grid but for that."""
    exact = dec(qty)
    nearest = round_to(exact, listing.qty_step)
    return nearest if abs(nearest - exact) <= abs(exact) * Decimal("1e-9") else exact
