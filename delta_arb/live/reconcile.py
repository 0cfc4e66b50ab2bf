"""Facts for the guards, and the look at both accounts: what is held is compared with the journal, not believed.

After every fill and every few seconds both venues are asked what they hold. A difference that nobody ordered must be
seen twice. Where it took something from the open pair the machine is told, which reduces the other leg to match; either
way the runner halts then, and only a person lifts that.
"""

import asyncio
import math
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from delta_arb.errors import RunError
from delta_arb.live.accounts import Baseline, Discrepancy, baseline, brought, discrepancies
from delta_arb.live.config import Config
from delta_arb.live.event_loop import EventLoop
from delta_arb.live.executor import Executor
from delta_arb.live.guards import Facts
from delta_arb.live.journal import Journal
from delta_arb.live.market_watch import FundingWatch, differing
from delta_arb.live.recovery import MEASURED, unbooked_of
from delta_arb.live.resources import Resources
from delta_arb.live.runner import Runner
from delta_arb.live.venues.base import OUTSIDE, Account, Execution, Report, Venue, VenueError, filled_by, within
from delta_arb.market import LEGS, NS, PERP, SPOT, Fill, exit_price, floor_to
from delta_arb.strategy.state import FLAT, HEDGING, OPEN, Event, State
from delta_arb.wallets import BOTTOMLESS, Wallet

AGAIN_S = 0.5  # between two looks at a difference
LOOK_BACK_NS = 600 * NS  # for the fills behind a difference
REFETCH_S = 0.25
ANSWER_S = 5.0
APART_S = 0.5  # two looks after two fills: each weighs 10 of MEXC's 25 a second
LATE_S = 3.0  # an answer about an account is missed
ORDERS_EVERY_S = 10.0  # between two looks at orders that are not ours


class AccountSnapshot(NamedTuple):
    """Both accounts at one look."""

    spot: Account
    perp: Account
    at_ns: int


class VenueWallets:
    """What an entry may use, as the venues last said; before the first look nothing is held up (`runner.Wallets`), and
    the coins are those declared."""

    def __init__(self, coins: float = 0.0) -> None:
        self.seen: AccountSnapshot | None = None
        self._declared = BOTTOMLESS._replace(spot_coin=coins)

    def at(self, event: Event, fill: Fill | None) -> Wallet:
        """Free money and coins at the last look; the next one follows every fill."""
        if self.seen is None:
            return self._declared
        return Wallet(self.seen.spot.usdt_free, self.seen.spot.coin, self.seen.perp.usdt_free)

    def booked(self, fill: Fill) -> None:
        """Nothing to do: the venues count."""

    def lacked(self, event: Event) -> None:
        """Nothing to do: a person transfers, and `status` says how much."""


class Reconciler:
    """Both accounts of a runner with real orders.

    Args:
        busy: whether an order is out or a fill not booked yet, so that nothing can be compared.
        halt: no entries until a person resumes.
    """

    def __init__(
        self,
        resources: Resources,
        runner: Runner,
        executor: Executor,
        funding: FundingWatch,
        wallets: VenueWallets,
        loop: EventLoop,
        busy: Callable[[], bool],
        halt: Callable[[str], None],
    ) -> None:
        self._config, self._journal, self._venues = resources.config, resources.journal, resources.venues
        self._say, self._runner, self._executor, self._funding = resources.say, runner, executor, funding
        self._wallets, self._loop, self._busy, self._halt = wallets, loop, busy, halt
        self._clock = loop.clock
        self.base: Baseline | None = None
        self._answered_ns = self._clock()
        self._outside_ns = 0  # of the last change that was booked
        self._doubt: tuple[Discrepancy, ...] = ()
        self._unanswered = ""  # why the last look failed
        self._foreign, self._orders_ns = "", 0
        self.filled = asyncio.Event()

    @property
    def seen(self) -> AccountSnapshot | None:
        """The last look at both accounts."""
        return self._wallets.seen

    # Accounts

    async def begin(self, *, measured: bool = False) -> None:
        """The first look, orders of earlier runs settled: refuses what it does not know while nothing is open."""
        await self._refuse_strangers()
        self.base = noted_baseline(self._journal)
        if self.base is None:
            await self.accept()
        found = await self._discrepancies()
        if found:
            await asyncio.sleep(AGAIN_S)
            found = await self._discrepancies()
        if found and self._runner.state.phase == FLAT:
            raise RunError(
                f"{'; '.join(map(str, found))}; close it by hand, or `delta-arb live "
                "resume` to take the account as it is"
            )
        await self._answer(found, measured=measured)
        if measured:
            self._journal.note(MEASURED, "")

    async def accept(self) -> None:
        """Take the accounts as they are: what is there now and no fill explains is not ours to touch."""
        seen = await self._look()
        of = self._config, self._venues, self._price(SPOT)
        self.base = new_baseline(self._journal, self._runner.state, seen, *of)
        self._journal.note("baseline", self.base.text)

    async def _refuse_strangers(self) -> None:
        """Orders of earlier runs are cancelled; others refuse the start, or halt where a pair must be managed."""
        for venue in self._venues:
            for order_id in await within(venue.working(), f"orders of {venue.name}"):
                if self._journal.knows(order_id):
                    await venue.cancel(order_id)
                    self._say(f"{venue.name}: cancelled order {order_id} of an earlier run")
                    continue
                strange = (
                    f"{venue.name} works on order {order_id}, which this journal does not know; "
                    "cancel it, or use a sub-account"
                )
                if self._runner.state.phase == FLAT:
                    raise RunError(strange)
                self._halt(strange)

    async def _look(self) -> tuple[Account, Account]:
        spot, perp = await within(
            asyncio.gather(*(venue.account() for venue in self._venues)), "the accounts", ANSWER_S
        )
        self._answered_ns = self._clock()
        self._wallets.seen = AccountSnapshot(spot, perp, self._answered_ns)
        return spot, perp

    async def _discrepancies(self) -> tuple[Discrepancy, ...]:
        """What differs now; nothing while an order of ours is out or ended meanwhile."""
        ended_ns = self._executor.last_end_ns
        if self._busy():
            return ()
        spot, perp = await self._look()
        if self._busy() or self._executor.last_end_ns != ended_ns:
            return ()
        state = self._runner.state
        positions = (state.legs[SPOT].position, state.legs[PERP].position)
        terms = (self._venues[SPOT].terms, self._venues[PERP].terms)
        return discrepancies(spot, perp, self.base, self._journal.held(), positions, terms)

    async def accounts(self) -> None:
        """Compare for ever, after every fill and every few seconds."""
        while True:
            try:
                async with asyncio.timeout(AGAIN_S if self._doubt else self._config.accounts_every_s):
                    await self.filled.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(min(APART_S, self._config.accounts_every_s) - (self._clock() - self._answered_ns) / NS)
            self.filled.clear()
            try:
                found = await self._discrepancies()
                if found and found != self._doubt:  # what rests may have filled, and its stream not have told it yet
                    await self._executor.look_up_resting()
                await self._look_for_foreign()
                self._unanswered = ""
            except VenueError as error:
                self._unanswered = str(error)
                self._say(f"accounts could not be read: {error}")
                continue
            if found and found == self._doubt:
                await self._answer(found)
                found = ()
            self._doubt = found

    async def _look_for_foreign(self) -> None:
        """Orders on these markets that no run of this journal sent."""
        if self._clock() - self._orders_ns < ORDERS_EVERY_S * NS:
            return
        strange = [
            f"{venue.name} works on order {order_id}, which is not ours; cancel it, or use a sub-account"
            for venue in self._venues
            for order_id in await within(venue.working(), f"orders of {venue.name}", ANSWER_S)
            if not self._journal.named(order_id)
        ]
        self._foreign, self._orders_ns = next(iter(strange), ""), self._clock()

    async def _answer(self, found: tuple[Discrepancy, ...], *, measured: bool = False) -> None:
        """Book what our own orders filled and nobody told, such as one thought refused, as the restart does. Of anything
        else the machine reduces the other leg to match what was taken, and halts.

        After a change of terms all of a difference is ours: the same contracts are `measured` anew.
        """
        if found:  # no entry may be thought of meanwhile
            self._unanswered = f"{found[0]}; reading what happened"
            self._runner.hold = self._runner.hold._replace(may_enter=False)
        for difference in found:
            leg, now_ns = difference.leg, self._clock()
            deals = await self._executions(leg, now_ns)
            if own := unbooked_of(self._journal, leg, deals, now_ns):
                for report in own:
                    if report.order_id in self._executor.resting:
                        continue  # it is looked up every few seconds, and told with what still works of it
                    self._say(f"{LEGS[leg]}: order {report.order_id} filled {report.filled:+g}, which was not reported")
                    self._loop.report(report)
                continue
            if not measured and (other := await self._other_terms(leg)):
                self._say(f"{difference}, but {other}: nothing is reduced by a size that is not true any more")
                continue
            self._halt(f"{difference}; settle it, then `resume`")
            ours = difference.qty if measured else difference.ours
            if ours:
                self._say(f"{difference}; reducing the other leg to match")
                self._loop.report(self._outside(leg, ours, deals, now_ns))

    async def _other_terms(self, leg: int) -> str:
        """What of the leg's terms is not as its account is counted by; "" where nothing is, or the venue does not tell."""
        venue = self._venues[leg]
        try:
            listed = await within(venue.listed(), f"{venue.name}'s terms", ANSWER_S)
        except VenueError as error:
            self._say(str(error))
            return ""
        return differing(venue.terms, listed)

    async def _executions(self, leg: int, now_ns: int) -> tuple[Execution, ...]:
        """What the account of a leg filled of late; nothing where the venue does not tell."""
        venue = self._venues[leg]
        since_ns = max(self._outside_ns, now_ns - LOOK_BACK_NS) + venue.clock_offset_ns
        try:
            return await within(venue.deals(since_ns, now_ns + venue.clock_offset_ns + NS), "what happened")
        except VenueError as error:
            self._say(f"{LEGS[leg]}: {error}")
            return ()

    def _outside(self, leg: int, ours: float, deals: tuple[Execution, ...], now_ns: int) -> Report:
        """The change as a report, at the price and fee that the venue booked; else at the exit side."""
        self._outside_ns = now_ns
        strange = [d for d in deals if not self._journal.knows(d.order_id) and d.qty * ours > 0.0]
        found = filled_by(OUTSIDE, strange) if strange else None
        if found is None or abs(found.filled - ours) > 1e-6 * abs(ours):
            self._say(
                f"{LEGS[leg]}: no fills at the venue make up this {ours:+g}; at the book's exit side and the usual fee"
            )
            return Report(now_ns, leg, OUTSIDE, ours, self._price(leg, -ours))
        return Report(now_ns, leg, OUTSIDE, ours, found.price, found.fee_usdt, "", found.ts_ns)

    def _price(self, leg: int, position: float = 1.0) -> float:
        return exit_price(position, self._runner.books[leg])

    async def refetch(self) -> None:
        """Before the machine mends or leaves on a stale book, the book is read by REST; for ever."""
        while True:
            await asyncio.sleep(REFETCH_S)
            for leg in due_for_refetch(self._runner, self._clock()):
                try:
                    book = await within(self._venues[leg].book(), f"the {LEGS[leg]} book", 5.0)
                except VenueError as error:
                    self._say(str(error))
                    continue
                self._loop.quote(leg, book, 0)

    # Facts

    def facts(self) -> Facts:
        """What the accounts add to the facts of the guards."""
        state, seen = self._runner.state, self.seen
        mark = self._funding.mark if math.isfinite(self._funding.mark) else self._price(PERP, -1.0)
        distance = math.inf
        if seen and seen.perp.position != 0.0 and seen.perp.liquidation_price > 0.0:
            distance = abs(seen.perp.liquidation_price - mark) / mark
        old_s = (self._clock() - self._answered_ns) / NS
        late = old_s > self._config.accounts_every_s + LATE_S and not self._busy()
        blind = self._unanswered or (f"the accounts have not answered for {old_s:.0f} s" if late else "")
        for venue in self._venues:
            if not venue.private_alive:
                blind = blind or f"{venue.name} tells nothing of our orders; its private stream is down"
        now_ns = self._clock()
        excess = state.legs[SPOT].position + state.legs[PERP].position
        naked = excess if (state.phase in (FLAT, OPEN) or state.rests) and not self._busy() else 0.0
        return Facts(
            naked_usdt=self._unequal_usdt(naked),
            orders_minute=sum(1 for sent_ns in self._executor.sent_ns if sent_ns > now_ns - 60 * NS),
            liquidation_distance=distance,
            adl_rank=seen.perp.adl_rank if seen and seen.perp.position != 0.0 else 0,
            margin_free_usdt=seen.perp.usdt_free if seen else math.inf,
            spot_free_usdt=seen.spot.usdt_free if seen else math.inf,
            clock_offset_ms=tuple(venue.clock_offset_ns / 1e6 for venue in self._venues),
            blind=blind,
            foreign=self._foreign,
        )

    def _unequal_usdt(self, excess: float) -> float:
        """What the legs differ by beyond what neither venue would take as an order."""
        step = max(venue.terms.qty_step for venue in self._venues)
        return floor_to(abs(excess), step) * self._price(SPOT)


def noted_baseline(journal: Journal) -> Baseline | None:
    """What the journal began with; None where the account is yet to be taken as it is."""
    note = journal.last_note("baseline", "accepted")
    return Baseline.of(note[1]) if note and note[0] == "baseline" else None


def new_baseline(
    journal: Journal,
    state: State,
    seen: tuple[Account, Account],
    config: Config,
    venues: tuple[Venue, Venue],
    price: float,
) -> Baseline:
    """The accounts as a new start; raises RunError for holdings that are neither ours nor declared."""
    base = baseline(*seen, journal.held(), brought(journal.cash(), state.legs[PERP]))
    check_undeclared(base, config, venues, price)
    return base


def check_undeclared(base: Baseline, config: Config, venues: tuple[Venue, Venue], price: float) -> None:
    """Refuse coins or a position that are neither explained by fills nor declared as inventory."""
    spot_rules, perp_rules = (venue.terms for venue in venues)
    small = max(spot_rules.min_qty, 2.0 * spot_rules.qty_step, spot_rules.min_notional_usdt / price)
    core = -config.inventory_coins if config.inventory_hedged else 0.0
    if abs(base.coins - config.inventory_coins) > small or abs(base.position - core) > 0.5 * perp_rules.qty_step:
        raise RunError(
            f"the account holds {base.coins:g} coins and a position of {base.position:g} that "
            "this journal knows nothing of "
            f"(declared: inventory_coins {config.inventory_coins:g}, so a position of "
            f"{core:g}); use a sub-account of its own, "
            "close them, or declare them"
        )


def midnight_ns(now_ns: int) -> int:
    """The start of this UTC day."""
    day = datetime.fromtimestamp(now_ns / NS, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return round(day.timestamp()) * NS


def disk_free_mb(journal: Journal) -> float:
    return shutil.disk_usage(journal.path.parent).free / 1e6


def due_for_refetch(runner: Runner, now_ns: int) -> tuple[int, ...]:
    """Legs whose book must be read by REST before the machine can mend or leave: stale ones, where it wants to act."""
    state, rule = runner.state, runner.rule
    wants = state.phase == HEDGING or (
        state.phase == OPEN and (rule.flatten or now_ns >= state.opened_ns + rule.max_hold_ns)
    )
    if not wants or runner.working:
        return ()
    return tuple(leg for leg in (SPOT, PERP) if now_ns - runner.books[leg].fresh_ns > rule.max_quote_age_ns)
