"""`--check`: everything that must be right before orders go out, as a table that says what to do about what is not.

Nothing is ordered: MEXC's test order is judged and forgotten, Gate has none. What no venue tells (whether a key may
withdraw, is bound to an address, or will expire) stands in the table as a question to the person.
"""

import asyncio
import json
import math
from typing import Any, NamedTuple

from delta_arb.errors import ParamsError, RunError
from delta_arb.market import LEGS, PERP, SPOT, Book, Order, common_step, floor_to, tradable
from delta_arb.pair import FLAT

from . import connect
from .accounts import baseline, differences
from .config import Config
from .journal import Journal
from .runner import Exports, utc_now
from .trading import LIVE, PAPER, Job
from .venue import Account, Setup, Venue, VenueError, within
from .watch import check_undeclared, new_baseline, noted_baseline

QUOTES_S = 15.0
ANSWER_S = 15.0
FEE_SLACK_BPS = 0.01


class Row(NamedTuple):
    """One check: passed or not, what was found, and what to do."""

    check: str
    passed: bool
    found: str
    remedy: str = ""


class Seen(NamedTuple):
    """What was read of both venues; accounts and set-ups only where there are keys."""

    venues: tuple[Venue, Venue]
    books: tuple[Book, Book]
    accounts: tuple[Account, Account] | None
    setups: tuple[Setup, Setup] | None
    working: tuple[tuple[str, ...], tuple[str, ...]]


def command(job: Job, as_json: bool) -> int:
    """Print the table; 0 if every check passed."""
    rows = asyncio.run(look(job))
    if as_json:
        print(
            json.dumps({"status": "passed" if _passed(rows) else "failed", "checks": [row._asdict() for row in rows]})
        )
    else:
        print(table(rows))
    return 0 if _passed(rows) else 1


def require(job: Job) -> None:
    """Refuse to trade real money on a failed check. What is open is managed all the same."""
    rows = asyncio.run(look(job))
    if _passed(rows):
        return
    failed = table([row for row in rows if not row.passed])
    if not job.journal.exists():
        raise RunError(f"not ready to trade:\n{failed}")
    with job.new_journal() as journal:
        state = journal.last_state()
        if not journal.working() and (state is None or state.phase == FLAT):
            raise RunError(f"not ready to trade:\n{failed}")
        job.say(f"not ready to trade, but pair {state.pair} is open:\n{failed}")
        journal.note("halt", "the check failed while a pair was open; mend what it says, then `resume`")


def _passed(rows: list[Row]) -> bool:
    return all(row.passed for row in rows)


def table(rows: list[Row]) -> str:
    """The checks in columns; what failed is followed by what to do."""
    wide = max(len(row.check) for row in rows)
    lines = []
    for row in rows:
        lines.append(f"{'ok  ' if row.passed else 'FAIL'} {row.check:{wide}}  {row.found}")
        if not row.passed and row.remedy:
            lines.append(f"     {'':{wide}}  -> {row.remedy}")
    return "\n".join(lines)


async def look(job: Job) -> list[Row]:
    """All checks, in the order in which they depend on each other; the later ones need the venues open."""
    venues = connect.venues(job.config, job.keys, job.ccxt)
    slots: list[Book | None] = [None, None]
    both = asyncio.Event()

    def on_quote(leg: int, book: Book, venue_ns: int) -> None:
        slots[leg] = book
        if None not in slots:
            both.set()

    opened = await asyncio.gather(
        *(v.open(on_quote, lambda leg, outcome: None) for v in venues), return_exceptions=True
    )
    rows = [_opened(venue, error) for venue, error in zip(venues, opened, strict=True)]
    try:
        if not _passed(rows):
            return rows
        async with asyncio.timeout(QUOTES_S):
            await both.wait()
        seen = await _read(job, venues, tuple(slots))
        rows += await _checks(job, seen)
    except (VenueError, TimeoutError) as error:
        rows.append(
            Row(
                "answers",
                False,
                str(error) or "no answer in time",
                "see whether the venue works for others, then check again",
            )
        )
    finally:
        for venue, error in zip(venues, opened, strict=True):
            if error is None:
                await venue.close()
    return rows


def _opened(venue: Venue, error: BaseException | None) -> Row:
    if error is None:
        return Row(
            f"{venue.name} connects", True, f"market, clock and streams; fee {venue.instrument.taker_fee * 1e4:g} bps"
        )
    if not isinstance(error, VenueError):
        raise error
    return Row(
        f"{venue.name} connects", False, str(error), "check the pair, the keys and their permissions, and the network"
    )


async def _read(job: Job, venues: tuple[Venue, Venue], books: tuple[Book, Book]) -> Seen:
    if job.kind == PAPER:
        return Seen(venues, books, None, None, ((), ()))
    async with asyncio.timeout(ANSWER_S):
        accounts = await asyncio.gather(*(v.account() for v in venues))
        setups = await asyncio.gather(*(v.setup() for v in venues))
        working = await asyncio.gather(*(v.working() for v in venues))
    return Seen(venues, books, tuple(accounts), tuple(setups), tuple(working))


def holdings(job: Job) -> dict[str, Any]:
    """What both venues hold of ours and work on, for `status` while no runner is up."""
    return asyncio.run(_holdings(job))


async def _holdings(job: Job) -> dict[str, Any]:
    venues = connect.venues(job.config, job.keys, job.ccxt)
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


async def _checks(job: Job, seen: Seen) -> list[Row]:
    config = job.config
    exports = Exports(
        job.params, config, config.limits.bounds(), utc_now, config.instruments(*(v.instrument for v in seen.venues))
    )
    exports.poll()
    rows = [_parameters(exports), *_books(seen), *_markets(config, seen), *_clocks(config, seen)]
    clip_usdt = exports.params.rule.clip_usdt if exports.params else config.limits.max_clip_usdt
    rows.append(_clip(clip_usdt, seen))
    if seen.accounts:
        rows += [await _test_order(venue, seen, clip_usdt) for venue in seen.venues]
        rows += [*_setups(config, seen), *_balances(config, seen, clip_usdt), _known(job, seen)]
    if job.kind == LIVE:
        rows.append(
            Row(
                "keys",
                True,
                "for you to see on both venues' pages: no withdrawal, bound to this address, not about to expire",
            )
        )
    return rows


def _parameters(exports: Exports) -> Row:
    if exports.refused:
        return Row("parameters", False, exports.refused, "run the pipeline for this pair")
    return Row("parameters", True, str(exports.params))


def _books(seen: Seen) -> list[Row]:
    return [
        Row(
            f"{venue.name} quotes",
            tradable(book),
            f"{book.bid:g} / {book.ask:g}",
            "a one-sided or crossed book: wait, or choose another pair",
        )
        for venue, book in zip(seen.venues, seen.books, strict=True)
    ]


def _markets(config: Config, seen: Seen) -> list[Row]:
    """The venues' own rules and fees against those that the research assumed."""
    rows = []
    for venue, assumed in zip(seen.venues, (config.spot, config.perp), strict=True):
        fee_bps = venue.instrument.taker_fee * 1e4
        size = venue.instrument.contract_size
        rows += [
            Row(
                f"{venue.name} fee", fee_bps <= assumed.taker_fee_bps + FEE_SLACK_BPS, f"{fee_bps:g} bps, assumed "
f"{assumed.taker_fee_bps:g}",
                "repeat the research with the account's own fee, and write it into the configuration",
            ),
            Row(
                f"{venue.name} contract", math.isclose(size, assumed.contract_size, rel_tol=1e-9),
                f"{size:g} base units, assumed "
f"{assumed.contract_size:g}", "correct contract_size in research and configuration",
            ),
        ]  # fmt: skip
    return rows


def _clocks(config: Config, seen: Seen) -> list[Row]:
    limit = config.guards.max_clock_offset_ms
    return [
        Row(
            f"{v.name} clock",
            abs(v.clock_offset_ns) / 1e6 <= limit,
            f"{v.clock_offset_ns / 1e6:+.0f} ms from ours",
            "set this machine's clock (NTP)",
        )
        for v in seen.venues
    ]


def _clip(clip_usdt: float, seen: Seen) -> Row:
    """One clip must be an order on both venues."""
    qty = _clip_qty(clip_usdt, seen)
    least = [
        max(v.instrument.min_qty, v.instrument.min_notional_usdt / book.bid)
        for v, book in zip(seen.venues, seen.books, strict=True)
    ]
    fits = qty > 0.0 and all(qty >= smallest for smallest in least)
    return Row(
        "clip",
        fits,
        f"{clip_usdt:g} USDT is {qty:g} coins; smallest orders {least[SPOT]:g} and {least[PERP]:g}",
        "raise the clip",
    )


def _clip_qty(clip_usdt: float, seen: Seen) -> float:
    step = common_step(*(venue.instrument for venue in seen.venues))
    return floor_to(clip_usdt / seen.books[SPOT].ask, step)


async def _test_order(venue: Venue, seen: Seen, clip_usdt: float) -> Row:
    """An IOC order as the machine would send it, judged by the venue where it offers that."""
    qty, book = _clip_qty(clip_usdt, seen), seen.books[venue.leg]
    order = Order(qty, book.ask, False, False) if venue.leg == SPOT else Order(-qty, book.bid, False, False)
    try:
        refused = await venue.test(order)
    except (VenueError, ParamsError) as error:
        refused = str(error)
    said = refused or (
        "the venue takes it" if venue.leg == SPOT else "size and price are right; this venue has no test order"
    )
    return Row(f"{venue.name} order", not refused, said, "permit trading of this pair by the key; see the venue's code")


def _setups(config: Config, seen: Seen) -> list[Row]:
    spot, perp = seen.venues
    s = seen.setups[PERP]
    return [
        Row(
            f"{spot.name} trading", seen.setups[SPOT].trading, "open" if seen.setups[SPOT].trading else "closed",
            "this market is not open to programs",
        ),
        Row(f"{perp.name} trading", s.trading, "open" if s.trading else "closed", "this market is not open, or "
"is being delisted"),
        Row(f"{perp.name} mode", not s.dual, "dual" if s.dual else "one position", "switch to one-way mode: dual "
"positions cannot be netted"),
        Row(
            f"{perp.name} account", not s.unified, "unified" if s.unified else "futures wallet",
            "use a sub-account that is not unified",
        ),
        Row(
            f"{perp.name} margin", s.leverage >= config.perp.leverage,
            f"{'cross' if s.cross else 'isolated'}, leverage {s.leverage:g}, assumed {config.perp.leverage:g}",
            f"set the leverage of this market to {config.perp.leverage:g} or more",
        ),
    ]  # fmt: skip


def _balances(config: Config, seen: Seen, clip_usdt: float) -> list[Row]:
    spot, perp = seen.accounts
    leverage = max(seen.setups[PERP].leverage, 1.0)
    wanted = (clip_usdt * 1.01 + config.guards.min_spot_usdt, clip_usdt / leverage + config.guards.min_margin_usdt)
    flat = perp.position == 0.0
    return [
        Row(
            f"{venue.name} balance", account.usdt_free >= need or not flat, f"{account.usdt_free:.2f} USDT "
f"free, a clip wants {need:.2f}",
            f"move {need - account.usdt_free:.2f} USDT there",
        )
        for venue, account, need in zip(seen.venues, (spot, perp), wanted, strict=True)
    ]  # fmt: skip


def _known(job: Job, seen: Seen) -> Row:
    """Orders and holdings that the journal does not explain."""
    remedy = "use a sub-account of its own; or close them, or declare inventory_coins"
    if not job.journal.exists():
        return _first_start(job, seen, remedy)
    try:
        with Journal(job.journal, "check") as journal:
            strange = [order for orders in seen.working for order in orders if not journal.knows(order)]
            base = noted_baseline(journal) or new_baseline(
                journal, seen.accounts, job.config, seen.venues, seen.books[SPOT].bid
            )
            held = journal.held()
            state = journal.last_state()
            positions = (state.spot.position, state.perp.position) if state else (0.0, 0.0)
            found = differences(*seen.accounts, base, held, positions, tuple(v.instrument for v in seen.venues))
    except RunError as error:
        return Row("account", False, str(error), remedy)
    said = [*(f"order {order}" for order in strange), *map(str, found)]
    legs = ", ".join(f"{name} {qty:+g}" for name, qty in zip(LEGS, held, strict=True))
    return Row("account", not said, "; ".join(said) or f"as the journal says ({legs})", remedy)


def _first_start(job: Job, seen: Seen, remedy: str) -> Row:
    """No journal yet: the account must be empty but for what is declared, and no order may work."""
    orders = [order for orders in seen.working for order in orders]
    if orders:
        return Row("account", False, f"working orders: {', '.join(orders)}", remedy)
    try:
        check_undeclared(
            baseline(*seen.accounts, (0.0, 0.0), (0.0, 0.0)), job.config, seen.venues, seen.books[SPOT].bid
        )
    except RunError as error:
        return Row("account", False, str(error), remedy)
    return Row("account", True, "nothing open, nothing undeclared")
