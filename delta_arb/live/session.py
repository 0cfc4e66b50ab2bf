"""One pair on two venues, from the first quote to the last leg: the loop that feeds the machine and keeps watch.

    quotes arrive          -> EventLoop.quote -> Runner.quote, once for all that came at once
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

from delta_arb.errors import DeltaArbError
from delta_arb.live import clock, recovery
from delta_arb.live.accounts import FEES, Baseline, fees_text
from delta_arb.live.event_loop import EventLoop, LivePaper
from delta_arb.live.executor import Executor
from delta_arb.live.guards import Facts, Risk
from delta_arb.live.journal import BEGUN, JournalError
from delta_arb.live.market_watch import FundingWatch, TermsChangedError, TermsWatch
from delta_arb.live.paper import PaperAccount, PaperVenue
from delta_arb.live.parameters import ParameterFile
from delta_arb.live.reconcile import Reconciler, VenueWallets, disk_free_mb, midnight_ns
from delta_arb.live.resources import Resources
from delta_arb.live.runner import CLOSED, Recorder, Resumed, Runner
from delta_arb.live.venues.base import Account, Report
from delta_arb.market import LEGS, PERP, SPOT, UPDATES, FundingPayment
from delta_arb.strategy.rule import check_deadline, on_terms
from delta_arb.strategy.state import FLAT, HALTED, HEDGING, OPEN, MachineRule

MEND_S, SOON_S = 2.0, 0.02  # for unequal legs to be mended, before a session ends for other terms; between two looks
STOP_S = 90.0  # for the legs to be finished; what cannot be by then is said


class Session:
    """Trades until it is stopped; `run` does everything. To `leave` is to close what is open, and enter nothing."""

    def __init__(self, resources: Resources, *, leave: bool = False) -> None:
        self.resources = resources
        self._once = leave
        clock.take_over()
        self.clock = clock.now_ns
        self.payments: list[FundingPayment] = []
        self.runner: Runner | None = None
        self.reconciler: Reconciler | None = None
        self.funding: FundingWatch | None = None
        self.risk = Risk(resources, leaving=leave)
        self.parameters: ParameterFile | None = None
        self.terms: TermsWatch | None = None
        self._changed = ""  # what of a venue's terms
        self._stop, self._moved = asyncio.Event(), asyncio.Event()  # the second: after each step of the machine
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.loop = EventLoop(self.clock, self._after, self._unwritten, self._booked, self._break)
        self._paper_account: PaperAccount | None = None
        self.executor = Executor(resources.venues, self.loop.report, self.clock, resources.say, resources.config.orders)

    def busy(self) -> bool:
        """Whether an order is out or a fill not booked yet, so that accounts cannot be compared; one that rests may be out."""
        return self.runner.unsettled or bool(self.executor.pending or self.loop.waiting)

    def _booked(self, report: Report) -> None:
        if report.for_good:
            why = f"{report.refused} will be refused again; settle it with the venue, then `resume`"
            self.halt(f"{LEGS[report.leg]}: {why}")
        if report.filled == 0.0:
            return
        what = f"filled {report.filled:+g} at {report.price:g}, {report.order_id}"
        self.resources.say(f"{LEGS[report.leg]}: {what}; {self.line()}")
        if self.terms:
            self.terms.due.set()
        if self.reconciler:
            self.reconciler.filled.set()

    def _unwritten(self, error: JournalError) -> None:
        self.risk.unwritten(error)
        self._hold()

    def _after(self) -> None:
        """After each step of the machine."""
        self._moved.set()
        if self.runner.halted and not self.risk.halted:
            self.halt(f"the legs could not be brought to rest ({self.line()}); `flatten` tries again")

    def _break(self, error: Exception) -> None:
        """A defect in a step of the machine ends the session, whoever asked for the step: a timer's is only logged."""
        if not self._broken.done():
            self._broken.set_exception(error)

    # The life of a session

    async def run(self) -> str:
        """Start, trade, stop; returns how it ended: "stopped", "open" (hedged, to be resumed), "halted", or
        "unfinished": the legs could not be brought to rest in time.

        Raises:
            VenueError: a venue cannot be used any more; the journal says what is open.
            RunError: the venues hold what the journal does not know.
            ParamsError: there are no parameters to start with.
        """
        self.resources.tell_market(self.loop.trade, self.loop.levels)
        await self.resources.open(self.loop.quote, self.executor.outcome)
        try:
            async with asyncio.TaskGroup() as tasks:
                failures = ((venue.failed(), f"{venue.name} supervision") for venue in self.resources.venues)
                aside = [tasks.create_task(failed, name=name) for failed, name in failures]
                aside.append(tasks.create_task(asyncio.wait_for(asyncio.shield(self._broken), None), name="defects"))
                self.executor.start(tasks)
                aside += await self._begin(tasks)
                await self._stop.wait()
                outcome = await self._finish()
                self.loop.close()
                for task in (*aside, *self.executor.tasks):
                    task.cancel()
        except* DeltaArbError as group:
            raise _first(group) from None
        finally:
            await self.executor.leave_nothing()
            self.executor.close()
            self.loop.close()
            await self.resources.close()
        return outcome

    async def _begin(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task]:
        """Take up what is open, look at the accounts; entries wait until all of that is done."""
        resources = self.resources
        await self.loop.first((resources.venues[SPOT].name, resources.venues[PERP].name))
        looked_for = (resources.venues, resources.journal, self.clock(), resources.say)
        found = recovery.NOTHING if resources.paper else await recovery.found_at(*looked_for)
        resumed, sent = recovery.taken_up(resources.journal, self.clock(), found)
        is_open = resumed.state.phase != FLAT
        if resumed.state.phase == FLAT and not found.reports:
            recovery.require_open(resources.venues)
        resumed = resumed._replace(rule=resumed.rule and on_terms(resumed.rule, *resources.terms))
        rule = await self._first_rule(resumed, found)
        since_ns = (is_open and resumed.state.opened_ns) or self.clock()  # an entry may rest, and nothing be open
        self.funding = FundingWatch(
            resources.venues[PERP], self.payments, since_ns, self.clock, resources.say, self._note_funding,
            resources.journal.funding_since(since_ns),
        )  # fmt: skip
        counts_on_it = max(r.funding_horizon_s for r in (rule, resumed.rule or rule)) > 0.0
        await self.funding.begin(counts_on_it, is_open=is_open)
        wallets = VenueWallets(resources.config.hedged_coins)
        if resources.paper:
            wallets = self._paper_account = PaperAccount(
                resources.config, rule, self.parameters.wallets, resources.journal, self.payments, since_ns, self.clock(),
                resources.say,
            )  # fmt: skip
        recorder = resources.recorder(resumed.state)
        broker = self._broker(rule, recorder)
        self.runner = Runner(rule, resources.journal, broker, self.payments, resumed, recorder, wallets, growing=True)
        self.terms = TermsWatch(resources.venues, self.clock, self._terms_changed, resources.config.terms_every_s)
        self.loop.runner, self.loop.funding = self.runner, self.funding
        self.runner.hold = CLOSED
        self.loop.decide()
        recovery.book(resources.journal, self.clock(), found, resumed, self.runner.pinned)
        for report in found.reports:
            self.loop.report(report)
        for placed in resumed.working:
            if placed.order_id in sent:  # of a recovered one the end was reported
                broker.adopt(placed, sent[placed.order_id], recovery.so_far(resources.journal, placed))
        await self._until(lambda: not self.runner.working or self.stopping)
        aside = [self._guarding, self._reloading, self.funding.run, self.terms.run, self._renewing]
        if not resources.paper:
            self.reconciler = Reconciler(
                resources, self.runner, self.executor, self.funding, wallets, self.loop, self.busy, self.halt
            )
            measured = recovery.terms_changed(resources.journal)
            await self.reconciler.begin(measured=measured)
            self.risk.leaving |= measured and self.runner.state.phase != FLAT
            aside += [self.reconciler.accounts, self.reconciler.refetch, *self.executor.watches]
        self._open_up(resumed)
        return [tasks.create_task(one(), name=one.__name__) for one in aside]

    async def _first_rule(self, resumed: Resumed, found: recovery.UnbookedFills) -> MachineRule:
        """Read the parameters; ParamsError where there are none to start with."""
        resources = self.resources
        self.parameters = resources.parameters(resources.venues)
        await self.parameters.reached()
        # Of a pair whose entry a power cut took the rule is lost too: without parameters the one before it must do.
        is_open = resumed.state.phase != FLAT or bool(found.reports)
        rule = self.parameters.first(resumed.rule or (resources.journal.last_rule() if is_open else None))
        check_deadline(rule, resources.config.latency())
        resources.journal.parameters(self.parameters.refused or "accepted", self.parameters.params)
        return rule

    def _open_up(self, resumed: Resumed) -> None:
        """Say what was taken up, and let the guards decide from now on whether to enter."""
        resources = self.resources
        gc.collect()
        gc.freeze()  # ccxt and its markets are here to stay: nobody looks through them again while a quote waits
        if why := resources.journal.unreserved:
            resources.say(f"no room is kept for the journal ({why}): on a full disk nothing could be closed; watch it")
        resources.journal.note(BEGUN, "")
        self.risk.closed = self.stopping
        self.risk.leaving |= resources.config.on_restart == "flatten" and resumed.state.phase != FLAT
        self._hold()
        self.risk.kept(resources.journal.note, FEES, fees_text(resources.venues, self.clock()))
        told = (self.risk.leaving, self.line(), str(self.parameters.params))
        resources.say(recovery.greeting(resumed.state, self.runner.state, *told))
        if self._once:
            self.stop("asked to leave what is open, and to end")

    def accounts(self) -> tuple[Account, Account, Baseline] | None:
        """Both wallets as they were last seen, and what they began with; None before the first look."""
        if paper := self._paper_account:
            return *paper.accounts(self.runner.books[PERP], self.clock()), paper.base
        seen, base = (self.reconciler.seen, self.reconciler.base) if self.reconciler else (None, None)
        return (seen.spot, seen.perp, base) if seen and base else None

    def _broker(self, rule: MachineRule, recorder: Recorder) -> Executor | LivePaper:
        if not self.resources.paper:
            return self.executor
        of, legs = self.resources.config, (rule.spot, rule.perp)
        venue = PaperVenue(of.latency(), (UPDATES, UPDATES), legs, rule.max_quote_age_ns)
        self.loop.paper = LivePaper(venue, self.loop.report, self.clock, recorder.levels)
        for leg in (SPOT, PERP):
            self.loop.paper.quote(leg, self.clock(), self.loop.books[leg])
        return self.loop.paper

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def stop(self, why: str) -> None:
        """Finish or unwind the legs, then end."""
        if not self._stop.is_set():
            self.resources.say(f"stopping: {why}")
            self.risk.ordered(f"a stop ({why})")
            self.risk.closed = True
            self._stop.set()
            self._moved.set()

    async def _finish(self) -> str:
        self.risk.leaving |= self.resources.config.on_stop == "flatten"
        self._hold()
        try:
            async with asyncio.timeout(STOP_S):
                await self._until(lambda: self._at_rest)
        except TimeoutError:
            self.resources.say(f"not at rest after {STOP_S:g} s")
        if self.terms:
            await self.terms.last_look(self.executor.last_end_ns, self.resources.say)
        if self._changed and not self.busy():
            raise TermsChangedError(self._changed)
        state = self.runner.state
        if state.phase == HALTED:
            return "halted"
        if state.phase == FLAT and not self.runner.working:
            return "stopped"
        remedy = "start the same command again to take it up, or run `flatten` with the same mode and --config"
        self.resources.say(f"left open: {self.line()}; {remedy}")
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
        if self.runner.working or self.busy():
            return False
        return phase in (FLAT, HALTED) or (phase == OPEN and not self.risk.leaving)

    # Beside it

    async def _guarding(self) -> None:
        """Look at the guards; and once nothing is open, begin again (ClockSetError) when the system's clock was set."""
        while True:
            self._hold()
            step_ms = clock.stepped_ns() / 1e6
            idle = self.runner.state.phase == FLAT and not self.busy()
            if idle and abs(step_ms) > self.resources.config.guards.max_clock_offset_ms:
                raise clock.ClockSetError(f"the system's clock was set by {step_ms / 1e3:+.3f} s")
            await asyncio.sleep(self.resources.config.guards_every_s)

    async def _renewing(self) -> None:
        """Begin again once a venue trades on other terms, and no order is out; by a wrong size nothing is mended."""
        await self.terms.differ.wait()
        mend_s = 0.0 if "contract_size" in self._changed else MEND_S
        while self.busy() or (self.runner.state.phase == HEDGING and self.terms.changed_s < mend_s):  # noqa: ASYNC110
            await asyncio.sleep(SOON_S)
        raise TermsChangedError(self._changed)

    async def _reloading(self) -> None:
        """New parameters rule the next entry; refused or stale ones forbid it; an open pair keeps its own."""
        noted = True
        while True:
            await asyncio.sleep(self.resources.config.guards_every_s)
            if self.parameters.poll():
                noted = False
                if not self.parameters.refused:
                    self.resources.say(f"new parameters: {self.parameters.params}")
                self.runner.newest = self.parameters.newest(self.runner.newest)
                self.funding.expecting |= self.runner.newest.funding_horizon_s > 0.0
            if not noted:
                verdict = self.parameters.refused or "accepted"
                noted = self.risk.kept(self.resources.journal.parameters, verdict, self.parameters.params)

    # Guards

    def facts(self) -> Facts:
        """Everything the guards look at."""
        runner, journal = self.runner, self.resources.journal
        state = runner.state
        known = self.reconciler.facts() if self.reconciler else Facts()
        if self._paper_account:
            spot, perp, _ = self.accounts()
            known = known._replace(spot_free_usdt=spot.usdt_free, margin_free_usdt=perp.usdt_free)
        prices = [book.bid for book in runner.books]
        return known._replace(
            held_usdt=max(abs(state.legs[SPOT].position) * prices[SPOT], abs(state.legs[PERP].position) * prices[PERP]),
            net_day_usdt=journal.net_since(midnight_ns(self.clock())) + runner.mark_usdt(),
            failures=runner.failures,
            funding_rate=self.funding.rate,
            funding_missing=self.funding.missing() if runner.newest.funding_horizon_s > 0.0 else "",
            refused_parameters=self.parameters.refused,
            kill_file=self.resources.kill_file(),
            disk_free_mb=disk_free_mb(journal),
            journal=self.risk.journal_error,
            outside=self.risk.halted,
            clock_offset_ms=(*known.clock_offset_ms, clock.stepped_ns() / 1e6),
            open=state.phase != FLAT,
            network=self.resources.network,
            blind=known.blind or self.resources.trouble or self.funding.unanswered,
            terms=self.terms.stale,
            closed=self.terms.closed,
        )

    def _hold(self) -> None:
        """What the guards allow now, told to the runner."""
        if self.runner is None or self.runner.books is None:
            return
        self.risk.try_journal()
        self.runner.hold = self.risk.allowed(self.facts())._replace(may_rest=not self.risk.closed)
        self.resources.alerts.alone(self.runner.alone_usdt(), self.line())

    def halt(self, reason: str) -> None:
        """No entries until a person resumes; what is open is managed to its end."""
        self.runner.hold = self.runner.hold._replace(may_enter=False)
        self.risk.halt(reason)

    def _terms_changed(self, what: str) -> None:
        """No entry any more; once no order is out the session ends, and the next one measures what is open anew."""
        if not self._changed:
            self._changed = what
            self.halt(f"{what}; what is open is measured anew and closed, then `resume`")
            self.risk.kept(self.resources.journal.note, recovery.TERMS, what)

    def _note_funding(self, payment: FundingPayment) -> None:
        """For the review; what cannot be journaled is in the trades all the same."""
        if self.runner:
            self.runner.funded()
        self.risk.kept(self.resources.journal.funding, [payment])

    def flatten(self, by: str = "a person") -> None:
        """Leave the open pair now, also from a halt of the machine, and stay out until `resume`."""
        self.risk.ordered(f"a flatten (asked by {by})", leaving=True)
        if self.runner.state.phase == HALTED:
            self.runner.stuck.clear()  # what the venue refused may be mended by now
            self.runner.force(recovery.to_flatten(self.runner.state, self.clock()), "flatten")
            self.loop.arm()
        self.halt(f"flattened by {by}; `resume` to trade again")  # also after a restart
        self._hold()

    async def resume(self, by: str = "a person") -> str:
        """A person says that all is well: the account is taken as it is, halts are lifted. Returns why not, or ""."""
        runner = self.runner
        if runner.state.phase == HALTED:
            if runner.state.legs[SPOT].position + runner.state.legs[PERP].position != 0.0:
                return f"the machine halted on unequal legs ({self.line()}); `flatten` first"
            runner.stuck.clear()
            runner.force(recovery.to_resume(runner.state, self.clock()), "resume")
            self.loop.arm()
        if self.reconciler:
            await self.reconciler.accept()
        self.risk.lift(by)
        runner.failures = 0
        self._hold()
        return ""

    def line(self) -> str:
        """One line of what is."""
        best_only = self.loop.paper.best_only if self.loop.paper else ""
        return self.runner.line() + best_only if self.runner else "starting"


def _first(group: BaseExceptionGroup) -> BaseException:
    """The first of our own errors in a group."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
