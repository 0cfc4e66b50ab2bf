"""One pair on two venues, from the first quote to the last leg: the loop that feeds the machine and keeps watch.

    quotes arrive          -> the slots of their legs -> Runner.quote, once for all that came at once
    an order ends          -> Executor -> Runner.report
    the machine's timer    -> loop.call_later on state.wake_ns -> Runner.timer
    every second           -> facts -> guards -> Runner.hold
    after fills, every 5 s -> both accounts -> differences

All state is owned by the runner and changed synchronously; tasks beside it look, and ask it. A failure of any of them
ends the session; whoever started it begins a new one from the journal, which is the same as a restart.
"""

import asyncio
import gc
from collections.abc import Callable

from delta_arb.errors import DeltaArbError, ParamsError
from delta_arb.live import clock, recovery
from delta_arb.live.accounts import Baseline
from delta_arb.live.desk import Desk
from delta_arb.live.event_loop import Dealer
from delta_arb.live.executor import Executor
from delta_arb.live.funding_watch import FundingWatch
from delta_arb.live.guards import Facts
from delta_arb.live.journal import JournalError
from delta_arb.live.paper import LivePaper, PaperVenue
from delta_arb.live.purse import PaperPurse
from delta_arb.live.reconcile import SeenWallets, Watch, disk_free_mb, due_for_refetch, midnight_ns
from delta_arb.live.risk import Risk
from delta_arb.live.runner import CLOSED, Exports, Hold, Resumed, Runner
from delta_arb.live.slots import Slots
from delta_arb.live.venues.base import Account, Outcome, VenueError, within
from delta_arb.live.venues.broker import Report
from delta_arb.market import LEGS, PERP, SPOT, FundingPayment
from delta_arb.strategy.rule import check_deadline
from delta_arb.strategy.state import FLAT, HALTED, OPEN, PHASES, Rule

STOP_S = 90.0  # for the legs to be finished; what cannot be by then is said


class Session:
    """Trades until it is stopped; `run` does everything. To `leave` is to close what is open, and enter nothing."""

    def __init__(self, desk: Desk, *, leave: bool = False) -> None:
        self.desk = desk
        self._once = leave
        clock.take_over()
        self.clock = clock.now_ns
        self.payments: list[FundingPayment] = []
        self.runner: Runner | None = None
        self.watch: Watch | None = None
        self.funding: FundingWatch | None = None
        self.risk = Risk(desk.config, desk.journal, desk.say, leaving=leave)
        self.exports: Exports | None = None
        self._stop = asyncio.Event()
        self._moved = asyncio.Event()  # after each step of the machine
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.dealer = Dealer(self.clock, self._after, self._unwritten, self._booked, self._break)
        self.slots = Slots(self.dealer, self.clock)
        self._purse: PaperPurse | None = None
        self._executor = Executor(desk.venues, self.dealer.report, self.clock, desk.say, desk.config.orders)

    # From the venues

    def on_outcome(self, leg: int, outcome: Outcome) -> None:
        self._executor.outcome(leg, outcome)

    def busy(self) -> bool:
        """Whether an order is out or a fill not booked yet, so that accounts cannot be compared."""
        return self.runner.working or bool(self._executor.pending or self.dealer.untold)

    def _booked(self, report: Report) -> None:
        if report.filled == 0.0:
            return
        what = f"filled {report.filled:+g} at {report.price:g}, {report.order_id}"
        self.desk.say(f"{LEGS[report.leg]}: {what}; {self.line()}")
        if self.watch:
            self.watch.filled.set()

    def _unwritten(self, error: JournalError) -> None:
        self.risk.unwritten(error)
        self._hold()

    def _after(self) -> None:
        """After each step of the machine."""
        self._moved.set()
        if self.runner.halted and not self.risk.halted:
            self.halt(f"the legs could not be mended within their deadlines ({self.line()}); `flatten` tries again")

    def _break(self, error: Exception) -> None:
        """A defect in a step of the machine ends the session, whoever asked for the step: a timer's is only logged."""
        if not self._broken.done():
            self._broken.set_exception(error)

    async def _breaking(self) -> None:
        await asyncio.shield(self._broken)

    # The life of a session

    async def run(self) -> str:
        """Start, trade, stop; returns how it ended: "stopped", "open" (hedged, to be resumed), "halted", or
        "unfinished": the legs could not be brought to rest in time.

        Raises:
            VenueError: a venue cannot be used any more; the journal says what is open.
            RunError: the venues hold what the journal does not know.
            ParamsError: there are no parameters to start with.
        """
        await self.desk.open(self.slots.on_quote, self.on_outcome)
        try:
            async with asyncio.TaskGroup() as tasks:
                aside = [
                    tasks.create_task(venue.failed(), name=f"{venue.name} supervision") for venue in self.desk.venues
                ]
                aside.append(tasks.create_task(self._breaking(), name="defects"))
                self._executor.start(tasks)
                aside += await self._begin(tasks)
                await self._stop.wait()
                outcome = await self._finish()
                self.dealer.close()
                for task in (*aside, *self._executor.tasks):
                    task.cancel()
        except* DeltaArbError as group:
            raise _first(group) from None
        finally:
            self._executor.close()
            self.dealer.close()
            await self.desk.close()
        return outcome

    async def _begin(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task]:
        """Take up what is open, look at the accounts; entries wait until all of that is done."""
        desk = self.desk
        await self.slots.first((desk.venues[SPOT].name, desk.venues[PERP].name))
        found = (
            recovery.NOTHING
            if desk.paper
            else await recovery.found_at(desk.venues, desk.journal, self.clock(), desk.say)
        )
        resumed, sent = recovery.taken_up(desk.journal, self.clock(), found)
        is_open = resumed.state.phase != FLAT
        rule = self._first_rule(resumed, found)
        since_ns = resumed.state.opened_ns if is_open else self.clock()
        self.funding = FundingWatch(
            desk.venues[PERP], self.payments, since_ns, self.clock, desk.say, self._note_funding,
            desk.journal.funding_since(since_ns),
        )  # fmt: skip
        counts_on_it = max(r.funding_horizon_s for r in (rule, resumed.rule or rule)) > 0.0
        await self.funding.begin(counts_on_it, is_open=is_open)
        wallets = SeenWallets(desk.config.hedged_coins)
        if desk.paper:
            wallets = self._purse = PaperPurse(
                desk.config, rule, self.exports.wallets, desk.journal, self.payments, since_ns, self.clock(), desk.say
            )
        self.runner = Runner(
            rule, desk.journal, self._broker(rule), self.payments, resumed, desk.recorder(resumed.state), wallets,
            growing=True,
        )  # fmt: skip
        self.dealer.runner = self.runner
        self.runner.hold = CLOSED
        self.slots.decide()
        self._recover(found, resumed)
        self._adopt(resumed, sent)
        await self._until(lambda: not self.runner.working or self.stopping)
        aside = [self._guarding, self._reloading, self.funding.run]
        if not desk.paper:
            self.watch = Watch(
                desk.config, desk.journal, desk.venues, self.runner, self._executor, self.clock, self.busy,
                self.dealer.report, self.halt, desk.say, self.funding, wallets,
            )  # fmt: skip
            await self.watch.begin()
            aside += [self.watch.accounts, self._refetching]
        self._open_up(resumed)
        return [tasks.create_task(one(), name=one.__name__) for one in aside]

    def _first_rule(self, resumed: Resumed, found: recovery.Found) -> Rule:
        """Read the parameters; ParamsError where there are none to start with."""
        self.exports = self.desk.exports(self.desk.venues)
        self.exports.poll()
        is_open = resumed.state.phase != FLAT or bool(found.reports)
        # Of a pair whose entry a power cut took the rule is lost too: without parameters the one before it must do.
        rule = self._newest(resumed.rule or (self.desk.journal.last_rule() if is_open else None))
        if rule is None:
            raise ParamsError(self.exports.refused)
        check_deadline(rule, self.desk.config.latency())
        self.desk.journal.parameters(self.exports.refused or "accepted", self.exports.params)
        return rule

    def _open_up(self, resumed: Resumed) -> None:
        """Say what was taken up, and let the guards decide from now on whether to enter."""
        desk = self.desk
        gc.collect()
        gc.freeze()  # ccxt and its markets are here to stay: nobody looks through them again while a quote waits
        if why := desk.journal.unreserved:
            desk.say(f"no room is kept for the journal ({why}): on a full disk nothing could be closed; watch it")
        self.risk.closed = self.stopping
        self.risk.leaving |= desk.config.on_restart == "flatten" and resumed.state.phase != FLAT
        self._hold()
        desk.say(
            recovery.greeting(
                resumed.state, self.runner.state, self.risk.leaving, self.line(), str(self.exports.params)
            )
        )
        if self._once:
            self.stop("asked to leave what is open, and to end")

    def accounts(self) -> tuple[Account, Account, Baseline] | None:
        """Both wallets as they were last seen, and what they began with; None before the first look."""
        if self._purse:
            return *self._purse.accounts(self.runner.books[PERP], self.clock()), self._purse.base
        if self.watch and self.watch.seen and self.watch.base:
            return self.watch.seen.spot, self.watch.seen.perp, self.watch.base
        return None

    def _newest(self, before: Rule | None) -> Rule | None:
        """The rule of the next entry: the exported one, or that of before without entries."""
        return self.exports.rule() or (before and before._replace(may_enter=False))

    def _broker(self, rule: Rule) -> Executor | LivePaper:
        if not self.desk.paper:
            return self._executor
        latency = self.desk.config.latency()
        venue = PaperVenue(latency, ("updates", "updates"), (rule.spot, rule.perp), rule.max_quote_age_ns)
        paper = self.slots.paper = LivePaper(venue, self.dealer.report, self.clock)
        for leg in (SPOT, PERP):
            paper.quote(leg, self.clock(), self.slots.books[leg])
        return paper

    def _recover(self, found: recovery.Found, resumed: Resumed) -> None:
        """Tell the machine what the journal had lost, once its rows are there again."""
        if found.lost:
            self.desk.journal.recovered(self.clock(), resumed.state, found.lost, self.runner.pinned)
        for report in found.reports:
            self.dealer.report(report)

    def _adopt(self, resumed: Resumed, sent: dict[str, int]) -> None:
        for placed in resumed.working:
            if placed.order_id not in sent:  # recovered, and its end is told
                continue
            if self.desk.paper:  # paper forgets: what was under way is gone
                self.dealer.report(
                    Report(self.clock(), placed.leg, placed.order_id, 0.0, 0.0, None, "paper was interrupted")
                )
            else:
                self.desk.say(
                    f"{LEGS[placed.leg]}: order {placed.order_id} of an earlier run has no end yet; asking by its id"
                )
                self._executor.adopt([placed], sent[placed.order_id])

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def stop(self, why: str) -> None:
        """Finish or unwind the legs, then end."""
        if not self._stop.is_set():
            self.desk.say(f"stopping: {why}")
            self.risk.closed = True
            self._stop.set()
            self._moved.set()

    async def _finish(self) -> str:
        self.risk.leaving |= self.desk.config.on_stop == "flatten"
        self._hold()
        try:
            async with asyncio.timeout(STOP_S):
                await self._until(lambda: self._at_rest)
        except TimeoutError:
            self.desk.say(f"not at rest after {STOP_S:g} s")
        state = self.runner.state
        if state.phase == HALTED:
            return "halted"
        if state.phase == FLAT and not self.runner.working:
            return "stopped"
        self.desk.say(f"left open: {self.line()}; start again to resume it, or `python -m delta_arb.live flatten`")
        return "open" if state.phase == OPEN and not self.runner.working else "unfinished"

    async def _until(self, true: Callable[[], bool]) -> None:
        """Wait for the machine to come to where `true` holds."""
        while not true():
            self._moved.clear()
            await self._moved.wait()

    @property
    def _at_rest(self) -> bool:
        if self.runner is None:
            return True
        phase = self.runner.state.phase
        if self.busy():
            return False
        return phase in (FLAT, HALTED) or (phase == OPEN and not self.risk.leaving)

    # Beside it

    async def _guarding(self) -> None:
        """Look at the guards; and once nothing is open, begin again when the system's clock was set.

        Raises:
            ClockSetError: it was.
        """
        while True:
            self._hold()
            step_ms = clock.stepped_ns() / 1e6
            idle = self.runner.state.phase == FLAT and not self.busy()
            if idle and abs(step_ms) > self.desk.config.guards.max_clock_offset_ms:
                raise clock.ClockSetError(f"the system's clock was set by {step_ms / 1e3:+.3f} s")
            await asyncio.sleep(self.desk.config.guards_every_s)

    async def _reloading(self) -> None:
        """New parameters rule the next entry; refused or stale ones forbid it; an open pair keeps its own."""
        noted = True
        while True:
            await asyncio.sleep(self.desk.config.guards_every_s)
            if self.exports.poll():
                noted = False
                if not self.exports.refused:
                    self.desk.say(f"new parameters: {self.exports.params}")
                self.runner.newest = self._newest(self.runner.newest)
                self.funding.expecting |= self.runner.newest.funding_horizon_s > 0.0
            if not noted:
                verdict = self.exports.refused or "accepted"
                noted = self.risk.kept(self.desk.journal.parameters, verdict, self.exports.params)

    async def _refetching(self) -> None:
        """Before the machine mends or leaves on a stale book, the book is read by REST."""
        while True:
            await asyncio.sleep(0.25)
            for leg in due_for_refetch(self.runner, self.clock()):
                try:
                    book = await within(self.desk.venues[leg].book(), f"the {LEGS[leg]} book", 5.0)
                except VenueError as error:
                    self.desk.say(str(error))
                    continue
                self.slots.on_quote(leg, book, 0)

    # Guards

    def facts(self) -> Facts:
        """Everything the guards look at."""
        runner, journal = self.runner, self.desk.journal
        state = runner.state
        known = self.watch.facts() if self.watch else Facts()
        if self._purse:
            spot, perp, _ = self.accounts()
            known = known._replace(spot_free_usdt=spot.usdt_free, margin_free_usdt=perp.usdt_free)
        prices = [book.bid for book in runner.books]
        return known._replace(
            held_usdt=max(abs(state.legs[SPOT].position) * prices[SPOT], abs(state.legs[PERP].position) * prices[PERP]),
            net_day_usdt=journal.net_since(midnight_ns(self.clock())) + runner.mark_usdt(),
            failures=runner.failures,
            funding_rate=self.funding.rate,
            funding_missing=self.funding.missing() if runner.newest.funding_horizon_s > 0.0 else "",
            refused_parameters=self.exports.refused,
            kill_file=self.desk.kill_file(),
            disk_free_mb=disk_free_mb(journal),
            journal=self.risk.journal_error,
            outside=self.risk.halted,
            clock_offset_ms=(*known.clock_offset_ms, clock.stepped_ns() / 1e6),
            open=state.phase != FLAT,
        )

    def _hold(self) -> None:
        """What the guards allow now, told to the runner."""
        if self.runner is None or self.runner.books is None:
            return
        self.risk.try_journal()
        self.runner.hold = self.risk.allowed(self.facts())

    def halt(self, reason: str) -> None:
        """No entries until a person resumes; what is open is managed to its end."""
        self.runner.hold = Hold(False, self.runner.hold.flatten)
        self.risk.halt(reason)

    def _note_funding(self, payment: FundingPayment) -> None:
        """For the review; what cannot be journaled is in the trades all the same."""
        if self.runner:
            self.runner.funded()
        self.risk.kept(self.desk.journal.funding, [payment])

    def flatten(self) -> None:
        """Leave the open pair now, also from a halt of the machine, and stay out until `resume`."""
        self.risk.leaving = True
        if self.runner.state.phase == HALTED:
            self.runner.force(recovery.to_flatten(self.runner.state, self.clock()), "flatten")
            self.dealer.arm()
        self.halt("flattened by a person; `resume` to trade again")  # also after a restart
        self._hold()

    async def resume(self) -> str:
        """A person says that all is well: the account is taken as it is, halts are lifted. Returns why not, or ""."""
        runner = self.runner
        if runner.state.phase == HALTED:
            if runner.state.legs[SPOT].position + runner.state.legs[PERP].position != 0.0:
                return f"the machine halted on unequal legs ({self.line()}); `flatten` first"
            runner.force(recovery.to_resume(runner.state, self.clock()), "resume")
            self.dealer.arm()
        if self.watch:
            await self.watch.accept()
        self.risk.lift()
        runner.failures = 0
        self._hold()
        return ""

    def line(self) -> str:
        """One line of what is."""
        runner = self.runner
        if runner is None:
            return "starting"
        state = runner.state
        legs = (
            f"spot {state.legs[SPOT].position:+g}, perp {state.legs[PERP].position:+g}"
            if state.phase != FLAT
            else "no position"
        )
        net = sum(t.net_usdt for t in runner.trades)
        return (
            f"{PHASES[state.phase]}, pair {state.pair}, {legs}, {len(runner.trades)} trades, net {net:+.4f} USDT, "
            f"open {runner.mark_usdt():+.4f} USDT"
        )


def _first(group: BaseExceptionGroup) -> BaseException:
    """The first of our own errors in a group."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
