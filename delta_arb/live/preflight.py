"""`--check`: everything that must be right before orders go out, as a table that says what to do about what is not.

Nothing is ordered: MEXC's test order is judged and forgotten, Gate has none. What a venue does not tell of a key
stands in the table with a question mark, and what a person should look at.
"""

import asyncio
import json
from typing import Any

from delta_arb.errors import RunError
from delta_arb.live.checks import CheckRow, VenueReadings, judged, opened, passed
from delta_arb.live.resources import both_venues
from delta_arb.live.supervisor import PAPER, LiveJob
from delta_arb.live.venues.base import Account, Venue, VenueError, no_network, within
from delta_arb.market import Book
from delta_arb.strategy.state import FLAT

QUOTES_S = 15.0
ANSWER_S = 15.0
MARKS = {True: "ok  ", False: "FAIL", None: "?   "}
WAIT = "see whether the venue works for others, then check again"


def command(job: LiveJob, as_json: bool) -> int:
    """Print the table; 0 if no check failed."""
    rows = asyncio.run(look(job))
    if as_json:
        checks = [row._asdict() for row in rows]
        print(json.dumps({"status": "passed" if passed(rows) else "failed", "checks": checks}))
    else:
        print(table(rows))
    return 0 if passed(rows) else 1


def require(job: LiveJob) -> None:
    """Refuse to trade real money on a failed check. What is open is managed all the same."""
    rows = asyncio.run(look(job))
    if untold := [row for row in rows if row.passed is None]:
        job.say(table(untold))
    if passed(rows):
        return
    failed = [row for row in rows if row.passed is False]
    job.say(table(failed))
    refusal = RunError("not ready to trade: " + "; ".join(f"{row.check}: {row.found}" for row in failed))
    if not job.journal.exists():
        raise refusal
    with job.new_journal() as journal:
        state = journal.last_state()
        if not journal.working() and (state is None or state.phase == FLAT):
            raise refusal
        job.say(f"not ready to trade, but pair {state.pair} is open")
        journal.note("halt", "the check failed while a pair was open; mend what it says, then `resume`")


def table(rows: list[CheckRow]) -> str:
    """The checks in columns; what failed or was not told is followed by what to do."""
    wide = max(len(row.check) for row in rows)
    lines = []
    for row in rows:
        lines.append(f"{MARKS[row.passed]} {row.check:{wide}}  {row.found}")
        if not row.passed and row.remedy:
            lines.append(f"     {'':{wide}}  -> {row.remedy}")
    return "\n".join(lines)


async def look(job: LiveJob) -> list[CheckRow]:
    """All checks, in the order in which they depend on each other; the later ones need the venues open."""
    venues = both_venues(job.config, job.keys, job.ccxt)
    slots: list[Book | None] = [None, None]
    both = asyncio.Event()

    def on_quote(leg: int, book: Book, venue_ns: int) -> None:
        slots[leg] = book
        if None not in slots:
            both.set()

    errors = await asyncio.gather(
        *(v.open(on_quote, lambda leg, outcome: None) for v in venues), return_exceptions=True
    )
    try:
        rows = [opened(venue, error) for venue, error in zip(venues, errors, strict=True)]
        if all(getattr(error, "unreachable", False) for error in errors):
            return [CheckRow("network", False, no_network(venues), "connect this machine, then check again")]
        if not passed(rows):
            return rows
        try:
            async with asyncio.timeout(QUOTES_S):
                await both.wait()
        except TimeoutError:
            silent = " and ".join(venue.name for venue, book in zip(venues, slots, strict=True) if book is None)
            return [*rows, CheckRow("quotes", False, f"none from {silent} within {QUOTES_S:g} s", WAIT)]
        try:
            return rows + await judged(job, await _read(job, venues, tuple(slots)))
        except VenueError as error:
            return [*rows, CheckRow("answers", False, str(error), WAIT)]
    finally:
        for venue, error in zip(venues, errors, strict=True):
            if error is None:
                await venue.close()


async def _read(job: LiveJob, venues: tuple[Venue, Venue], books: tuple[Book, Book]) -> VenueReadings:
    if job.kind == PAPER:
        return VenueReadings(venues, books, None, None, ((), ()), None)

    async def both(question: str) -> tuple:
        asked = asyncio.gather(*(getattr(venue, question)() for venue in venues))
        return tuple(await within(asked, f"{question} of both venues", ANSWER_S))

    return VenueReadings(
        venues, books, await both("account"), await both("setup"), await both("working"), await both("rights")
    )


def holdings(job: LiveJob) -> dict[str, Any]:
    """What both venues hold of ours and work on, for `status` while no runner is up."""
    return asyncio.run(_holdings(job))


async def _holdings(job: LiveJob) -> dict[str, Any]:
    venues = both_venues(job.config, job.keys, job.ccxt)
    found: list[tuple[Account, tuple[str, ...]]] = []
    try:
        for venue in venues:
            await venue.open(lambda *quote: None, lambda *told: None)
            try:
                account = await within(venue.account(), f"{venue.name}'s account")
                found.append((account, await within(venue.working(), f"{venue.name}'s orders")))
            finally:
                await venue.close()
    except VenueError as error:
        return {"venues": str(error)}
    (spot, spot_orders), (perp, perp_orders) = found
    return {
        "spot_usdt": spot.usdt_total, "coins": spot.coin, "perp_usdt": perp.usdt_total,
        "margin_free_usdt": perp.usdt_free, "position": perp.position, "working": [*spot_orders, *perp_orders],
    }  # fmt: skip
