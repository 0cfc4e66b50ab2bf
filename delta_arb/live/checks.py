"""The rows of `--check`: what was read of both venues, judged one by one. `preflight` reads, prints and refuses."""

import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from delta_arb.errors import ParamsError, RunError
from delta_arb.live import clock
from delta_arb.live.accounts import baseline, discrepancies
from delta_arb.live.config import Config
from delta_arb.live.durability import is_watched
from delta_arb.live.journal import Journal
from delta_arb.live.market_watch import FundingWatch
from delta_arb.live.parameters import ParameterFile, utc_now
from delta_arb.live.reconcile import check_undeclared, new_baseline, noted_baseline
from delta_arb.live.recovery import unbooked
from delta_arb.live.supervisor import LiveJob
from delta_arb.live.venues.base import Account, Report, Rights, Setup, Venue, VenueError
from delta_arb.market import DAY_NS, LEGS, NS, PERP, SPOT, Book, Order, floor_to, tradable
from delta_arb.params import Params
from delta_arb.strategy.state import FLAT, State
from delta_arb.venue_terms import common_step

FEE_SLACK_BPS = 0.01
KEY_DAYS = 7  # a key that ends sooner is about to end


class CheckRow(NamedTuple):
    """One check: passed or not (None: nobody told), what was found, and what to do."""

    check: str
    passed: bool | None
    found: str
    remedy: str = ""


class VenueReadings(NamedTuple):
    """What was read of both venues; accounts, set-ups and rights only where there are keys."""

    venues: tuple[Venue, Venue]
    books: tuple[Book, Book]
    accounts: tuple[Account, Account] | None
    setups: tuple[Setup, Setup] | None
    working: tuple[tuple[str, ...], tuple[str, ...]]
    rights: tuple[Rights, Rights] | None


def passed(rows: list[CheckRow]) -> bool:
    """Whether nothing failed; what no venue tells is for a person to see, and holds nothing up."""
    return all(row.passed is not False for row in rows)


def opened(venue: Venue, error: BaseException | None) -> CheckRow:
    """Whether a venue could be opened; raises what is no failure of a venue."""
    if error is None:
        return CheckRow(
            f"{venue.name} connects", True, f"market, clock and streams; fee {venue.terms.taker_fee_bps:g} bps"
        )
    if not isinstance(error, VenueError):
        raise error
    remedy = "check the pair, the keys and their permissions, and the network"
    return CheckRow(f"{venue.name} connects", False, str(error), remedy)


async def judged(job: LiveJob, seen: VenueReadings) -> list[CheckRow]:
    """The checks of what was seen; orders are tested, never placed."""
    config = job.config
    exports = ParameterFile(
        job.params, config, config.bounds(), utc_now, config.of_accounts(*(v.terms for v in seen.venues)),
        real_venues=job.real_venues,
    )  # fmt: skip
    await exports.reached()
    exports.poll()
    rows = [_parameters(exports), *_books(seen), *_markets(config, seen), *_clocks(config, seen)]
    clip_usdt = exports.params.rule.clip_usdt if exports.params else config.limits.max_clip_usdt
    rows.append(_clip(clip_usdt, seen))
    if exports.params and exports.params.rule.funding_horizon_s:
        rows.append(await _funding(seen))
    if seen.accounts:
        rows += _resting(job, exports.params, seen)
        rows += [await _test_order(venue, seen, clip_usdt) for venue in seen.venues]
        known, is_open = await _known(job, seen)
        rows += [*_setups(config, seen), *_balances(config, seen, exports.params, is_open), known]
        now_ns = round(utc_now().timestamp()) * NS
        for venue, rights in zip(seen.venues, seen.rights, strict=True):
            rows += key_rows(venue.name, rights, now_ns, config.accept_unbound_keys)
    return rows


def key_rows(name: str, rights: Rights, now_ns: int, accept_unbound: bool) -> list[CheckRow]:
    """What a key may do besides trading; `accept_unbound`: the configuration takes one that works from anywhere."""
    rows = [_withdrawal(name, rights), _addresses(name, rights, accept_unbound), _expiry(name, rights, now_ns)]
    if rights.trade is not None:
        found = f"the key {rights.said}" if rights.trade else f"the key {rights.said}, or is locked"
        rows.append(CheckRow(f"{name} key trades", rights.trade, found, "permit futures trading (read and write)"))
    return rows


def _withdrawal(name: str, rights: Rights) -> CheckRow:
    check = f"{name} withdrawal"
    if rights.withdraw is None:
        found = f"the venue does not tell: {rights.said}"
        return CheckRow(check, None, found, "see the key's page: it must not be allowed to withdraw")
    remedy = "make a key without any right to withdrawals or the wallet: this program never needs one"
    return CheckRow(check, not rights.withdraw, rights.said, remedy)


def _addresses(name: str, rights: Rights, accept_unbound: bool) -> CheckRow:
    check = f"{name} key bound"
    if rights.addresses is None:
        return CheckRow(check, None, "the venue does not tell", "see the key's page: bind it to this machine's address")
    if rights.addresses:
        return CheckRow(check, True, f"to {', '.join(rights.addresses)}")
    found = "to no address: whoever has the key can trade from anywhere"
    remedy = "bind it to this machine's address; without a fixed one, write accept_unbound_keys = true"
    return CheckRow(check, accept_unbound, found, remedy)


def _expiry(name: str, rights: Rights, now_ns: int) -> CheckRow:
    check = f"{name} key ends"
    if rights.addresses:
        return CheckRow(check, True, "never, while it is bound to an address")
    if rights.ends_ns is None:
        found = "the venue does not tell; bound to no address it ends 90 days after it was made"
        return CheckRow(check, None, found, "see the key's page for the day, and renew it before")
    left = (rights.ends_ns - now_ns) / DAY_NS
    day = datetime.fromtimestamp(rights.ends_ns / NS, UTC)
    found = f"on {day:%Y-%m-%d}, in {max(left, 0.0):.0f} days"
    return CheckRow(check, left >= KEY_DAYS, found, "make a new key, bound to an address: such a one does not end")


def _resting(job: LiveJob, params: Params | None, seen: VenueReadings) -> list[CheckRow]:
    """Whether somebody cancels what a dead runner left, where a leg rests at a venue that would not do so by itself."""
    leg = params and params.rule.maker_leg
    if not leg or seen.venues[LEGS.index(leg)].counts_down:
        return []
    name, watched = seen.venues[LEGS.index(leg)].name, is_watched(job.journal)
    alone = f"{name} has no countdown and no watcher is up: an order outlives a dead runner"
    found = "a watcher is up" if watched else alone
    remedy = "start `delta-arb live watch --live --config FILE` first; one on another machine is not seen: write accept_unwatched = true"
    return [CheckRow(f"{name} resting orders", watched or job.config.watch.accept_unwatched, found, remedy)]


async def _funding(seen: VenueReadings) -> CheckRow:
    """Whether the venue tells the settled funding that the parameters count on."""
    perp, known = seen.venues[PERP], []
    watch = FundingWatch(perp, known, 0, time.time_ns, lambda text: None, lambda payment: None)
    try:
        await watch.feed()
    except VenueError as error:
        remedy = "wait until enough was settled, or use other parameters"
        return CheckRow(f"{perp.name} funding", False, str(error), remedy)
    missing = watch.missing()
    found = missing or f"{len(known)} stamps settled"
    return CheckRow(f"{perp.name} funding", not missing, found, "wait for the next stamp")


def _parameters(exports: ParameterFile) -> CheckRow:
    if exports.refused:
        return CheckRow("parameters", False, exports.refused, "run the pipeline for this pair")
    return CheckRow("parameters", True, str(exports.params))


def _books(seen: VenueReadings) -> list[CheckRow]:
    remedy = "a one-sided or crossed book: wait, or choose another pair"
    return [
        CheckRow(f"{venue.name} quotes", tradable(book), f"{book.bid:g} / {book.ask:g}", remedy)
        for venue, book in zip(seen.venues, seen.books, strict=True)
    ]


def _markets(config: Config, seen: VenueReadings) -> list[CheckRow]:
    """The venues' own rules and fees against those that the research assumed."""
    rows = []
    for venue, assumed in zip(seen.venues, (config.spot, config.perp), strict=True):
        size = venue.terms.contract_size
        rows.append(_fee(f"{venue.name} fee", venue.terms.taker_fee_bps, assumed.taker_fee_bps))
        if assumed.maker_fee_bps is not None:
            rows.append(_fee(f"{venue.name} maker fee", venue.terms.maker_fee_bps, assumed.maker_fee_bps))
        same, found = (
            math.isclose(size, assumed.contract_size, rel_tol=1e-9),
            f"{size:g} base units, assumed {assumed.contract_size:g}",
        )
        rows.append(
            CheckRow(f"{venue.name} contract", same, found, "correct contract_size in research and configuration")
        )
    return rows


def _fee(check: str, bps: float | None, assumed_bps: float) -> CheckRow:
    known = bps is not None
    return CheckRow(
        check, known and bps <= assumed_bps + FEE_SLACK_BPS, f"{bps:g} bps, assumed {assumed_bps:g}" if known else "not told",
        "repeat the research with the account's own fee, and write it into the configuration",
    )  # fmt: skip


def _clocks(config: Config, seen: VenueReadings) -> list[CheckRow]:
    limit, remedy = config.guards.max_clock_offset_ms, "set this machine's clock (NTP)"
    ahead_ms = [(v.name, v.clock_offset_ns / 1e6) for v in seen.venues]
    return [CheckRow(f"{name} clock", abs(ms) <= limit, f"{ms:+.0f} ms from ours", remedy) for name, ms in ahead_ms]


def _clip(clip_usdt: float, seen: VenueReadings) -> CheckRow:
    """One clip must be an order on both venues."""
    qty = _clip_qty(clip_usdt, seen)
    both = zip(seen.venues, seen.books, strict=True)
    least = [max(v.terms.min_qty, v.terms.min_notional_usdt / book.bid) for v, book in both]
    found = f"{clip_usdt:g} USDT is {qty:g} coins; smallest orders {least[SPOT]:g} and {least[PERP]:g}"
    return CheckRow("clip", qty > 0.0 and qty >= max(least), found, "raise the clip")


def _clip_qty(clip_usdt: float, seen: VenueReadings) -> float:
    step = common_step(*(venue.terms for venue in seen.venues))
    return floor_to(clip_usdt / seen.books[SPOT].ask, step)


async def _test_order(venue: Venue, seen: VenueReadings, clip_usdt: float) -> CheckRow:
    """An IOC order as the machine would send it, judged by the venue where it offers that."""
    qty, book = _clip_qty(clip_usdt, seen), seen.books[venue.leg]
    order = Order(qty, book.ask, False, False) if venue.leg == SPOT else Order(-qty, book.bid, False, False)
    try:
        refused = await venue.test(order)
    except (VenueError, ParamsError) as error:
        refused = str(error)
    fine = "the venue takes it" if venue.leg == SPOT else "size and price are right; this venue has no test order"
    remedy = "permit trading of this pair by the key; see the venue's code"
    return CheckRow(f"{venue.name} order", not refused, refused or fine, remedy)


def _setups(config: Config, seen: VenueReadings) -> list[CheckRow]:
    (spot, perp), (of_spot, s) = seen.venues, seen.setups
    open_word = {True: "open", False: "closed"}
    margin = f"{'cross' if s.cross else 'isolated'}, leverage {s.leverage:g}, assumed {config.perp.leverage:g}"
    set_it = f"set the leverage of this market to {config.perp.leverage:g} or more"
    one_way = "switch to one-way mode: dual positions cannot be netted"
    apart = "use a sub-account that is not unified"
    return [
        CheckRow(
            f"{spot.name} trading", of_spot.trading, open_word[of_spot.trading], "this market is not open to programs"
        ),
        CheckRow(
            f"{perp.name} trading", s.trading, open_word[s.trading], "this market is not open, or is being delisted"
        ),
        CheckRow(f"{perp.name} mode", not s.dual, "dual" if s.dual else "one position", one_way),
        CheckRow(f"{perp.name} account", not s.unified, "unified" if s.unified else "futures wallet", apart),
        CheckRow(f"{perp.name} margin", s.leverage >= config.perp.leverage, margin, set_it),
    ]


def _balances(config: Config, seen: VenueReadings, asked: Params | None, is_open: bool) -> list[CheckRow]:
    """While nothing is open: what a full position takes, and the coins that reverse pairs are sold out of."""
    if asked is None:
        return []
    spot, perp = seen.accounts
    wallets, guards = asked.wallets, config.guards
    needs = wallets.min_spot_usdt + guards.min_spot_usdt, wallets.min_perp_usdt + guards.min_margin_usdt
    core = abs(perp.position + config.hedged_coins) < 0.5 * max(seen.venues[PERP].terms.qty_step, 1e-9)
    flat = core and not is_open  # one leg may be out alone
    rows, given = [], (wallets.spot_usdt, wallets.perp_usdt)
    for venue, account, need, assumed in zip(seen.venues, seen.accounts, needs, given, strict=True):
        free, says = account.usdt_free, "" if assumed is None else f"; the parameters assume {assumed:g}"
        found = f"{free:.2f} USDT free, a full position and the guard's floor want {need:.2f}{says}"
        rows.append(
            CheckRow(f"{venue.name} balance", free >= need or not flat, found, f"move {need - free:.2f} USDT there")
        )
    if "reverse_" not in asked.rule.levels:
        return rows
    found = f"{spot.coin:g} coins and a position of {perp.position:+g}, sold out of {wallets.inventory_coins:,.10g}"
    remedy = "buy what is missing and sell as much of the perpetual; or run the pipeline with what there is"
    return [*rows, CheckRow("inventory", spot.coin >= wallets.inventory_coins or not flat, found, remedy)]


async def _known(job: LiveJob, seen: VenueReadings) -> tuple[CheckRow, bool]:
    """Orders and holdings that the journal does not explain; and whether a pair or an order of ours is out.

    A leg is not judged while an order of it has no end: it may be filling between two of our questions.
    """
    remedy = "use a sub-account of its own; or close them, or declare inventory_coins"
    if not job.journal.exists():
        return _first_start(job, seen, remedy), False
    try:
        with Journal(job.journal, "check") as journal:
            strange = [order for orders in seen.working for order in orders if not journal.named(order)]
            state = journal.last_state() or State()
            known = seen.accounts, job.config, seen.venues, seen.books[SPOT].bid
            base = noted_baseline(journal) or new_baseline(journal, state, *known)
            untold = await unbooked(seen.venues, journal, clock.now_ns())  # the start takes them up
            held = _with(journal.held(), untold)
            awaited = {placed.leg for placed, _ in journal.working()}
            positions = _with((state.legs[SPOT].position, state.legs[PERP].position), untold)
            found = discrepancies(*seen.accounts, base, held, positions, tuple(v.terms for v in seen.venues))
    except (RunError, VenueError) as error:
        return CheckRow("account", False, str(error), remedy), False
    said = [*(f"order {order}" for order in strange), *(str(each) for each in found if each.leg not in awaited)]
    legs = ", ".join(f"{name} {qty:+g}" for name, qty in zip(LEGS, held, strict=True))
    row = CheckRow("account", not said, "; ".join(said) or f"as the journal says ({legs})", remedy)
    return row, state.phase != FLAT or bool(awaited or untold)


def _with(held: tuple[float, float], reports: Sequence[Report]) -> tuple[float, ...]:
    """Both legs' quantities after these fills."""
    return tuple(qty + sum(r.filled for r in reports if r.leg == leg) for leg, qty in enumerate(held))


def _first_start(job: LiveJob, seen: VenueReadings, remedy: str) -> CheckRow:
    """No journal yet: the account must be empty but for what is declared, and no order may work."""
    orders = [order for orders in seen.working for order in orders]
    if orders:
        return CheckRow("account", False, f"working orders: {', '.join(orders)}", remedy)
    try:
        base = baseline(*seen.accounts, (0.0, 0.0), (0.0, 0.0))
        check_undeclared(base, job.config, seen.venues, seen.books[SPOT].bid)
    except RunError as error:
        return CheckRow("account", False, str(error), remedy)
    return CheckRow("account", True, "nothing open, nothing undeclared")
