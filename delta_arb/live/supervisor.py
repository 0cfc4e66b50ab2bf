"""Trading on venues as a command: opens the journal, runs sessions, sums up.

A session that a venue's failure ended is begun again from the journal, like after a crash, with growing pauses: a few
times, and for as long as it takes while something is open. Orders of the new one have a new run's ids.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import signal
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from delta_arb import __version__
from delta_arb.errors import DeltaArbError, RunError
from delta_arb.interrupt import heeded
from delta_arb.live import control, monitoring
from delta_arb.live.clock import ClockSetError
from delta_arb.live.config import Config, Keys
from delta_arb.live.durability import Later, at_once, private
from delta_arb.live.event_log import EventLog, events_path
from delta_arb.live.journal import Journal, JournalError
from delta_arb.live.market_watch import TermsChangedError
from delta_arb.live.messages import REFUSED, SUMMARY, VENUE, Alerts, Console, until_daily_s
from delta_arb.live.parameters import ParameterFile, utc_now
from delta_arb.live.resources import Resources, both_venues
from delta_arb.live.session import Session
from delta_arb.live.venues.base import Venue, VenueError
from delta_arb.strategy.ledger import PARTS, Trade, attribution
from delta_arb.strategy.state import PHASES, State

PAPER, SANDBOX, LIVE = "paper", "sandbox", "live"
MODES = {PAPER: "paper, live quotes", SANDBOX: "sandbox, local venues", LIVE: "LIVE, real money"}
AGAIN_S = (1.0, 2.0, 5.0, 15.0, 30.0)  # pauses before a session is begun again
LIVED_S = 600.0  # a session of this length starts the pauses anew
STATUS_S = 1.0
OPEN_S = 10.0  # between two lines while a pair is open
LATER_S = 0.005
SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP  # end in an orderly way


class LiveJob(NamedTuple):
    """One run of the command. `ccxt`: options of the local venues' clients; `leave`: close what is open, then end;
    `alerts`: addresses, which are secrets."""

    config: Config
    kind: str
    reports: Path
    params: Path | str
    keys: tuple[Keys, Keys] | None
    ccxt: Mapping[str, Mapping[str, Any]]
    say: Console
    leave: bool = False
    alerts: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return self.reports / self.config.name / "live"

    @property
    def real_venues(self) -> bool:
        """Whether the quotes are those of exchanges, with real orders or on paper."""
        return self.kind != SANDBOX

    @property
    def journal(self) -> Path:
        return journal_path(self.reports, self.config, self.kind)

    def new_journal(self, later: Later = at_once) -> Journal:
        """The journal under a run id of its own, which heads the ids of all orders."""
        return Journal(self.journal, utc_now().strftime("%y%m%d%H%M%S%f"), later)


def journal_path(reports: Path, config: Config, kind: str) -> Path:
    """One journal for each kind of trading: what is held on paper is not held on a venue."""
    return reports / config.name / "live" / f"{kind}.sqlite"


class Supervisor:
    """Sessions one after the other until one is over in an orderly way."""

    def __init__(self, job: LiveJob) -> None:
        self.job = job
        self.session: Session | None = None
        self._trading: Session | None = None  # the same while its journal is open: not between two sessions
        self._rung: list[str] = []  # alerts that no journal has yet
        self.trades: list[Trade] = []
        self.alerts = Alerts(job.alerts, job.config.alerts, job.config.name, job.say, self._note_alert)
        self._stopped = ""

    def stop(self, why: str) -> None:
        self._stopped = why
        if self._trading:
            self._trading.stop(why)

    async def run(self) -> str:
        """The last session's: "stopped", "open", "halted" or "unfinished"; raises what no restart can mend."""
        loop = asyncio.get_running_loop()
        for number in heeded(SIGNALS):
            loop.add_signal_handler(number, self.stop, signal.Signals(number).name)
        aside = [asyncio.create_task(each) for each in (self.alerts.run(), self._summaries(), monitoring.watchdog())]
        try:
            async with self._health():
                return await self._sessions()
        except DeltaArbError as error:
            self.alerts.ring(REFUSED, str(error))
            raise
        finally:
            for task in aside:
                task.cancel()
            await self.alerts.drain()
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    @contextlib.asynccontextmanager
    async def _health(self) -> AsyncIterator[None]:
        """/healthz and /metrics, where a port is named."""
        if port := self.job.config.health.port:
            async with monitoring.serving(port, lambda: self.session):
                yield
        else:
            yield

    def _note_alert(self, text: str) -> None:
        self._rung.append(text)
        self._note_rung()

    def _note_rung(self) -> None:
        """Journal what rang; what rings between two sessions waits for the next one's journal."""
        while self._trading and self._rung:
            self._trading.risk.kept(self._trading.resources.journal.note, "alert", self._rung.pop(0))

    async def _summaries(self) -> None:
        """The day before, once a day."""
        while True:
            await asyncio.sleep(until_daily_s(self.job.config.alerts.daily_utc))
            if self.session and self.session.runner:
                self.alerts.ring(SUMMARY, control.summary(self.session))

    async def _sessions(self) -> str:
        attempt = 0
        while True:
            began_s = time.monotonic()
            try:
                return await self._one()
            except Exception as error:  # a leg may stand alone: whatever failed, what is open is taken up again
                attempt = 0 if time.monotonic() - began_s > LIVED_S else attempt
                settled = isinstance(error, DeltaArbError) and not isinstance(
                    error, VenueError | JournalError | ClockSetError
                )
                tried = attempt >= len(AGAIN_S) and not self._open  # while a pair is open: for ever
                changed = attempt == 0 and isinstance(error, TermsChangedError)  # a leg may be ten times as large
                if settled or tried or (self._stopped and not changed):
                    raise
                pause_s = 0.0 if changed else AGAIN_S[min(attempt, len(AGAIN_S) - 1)]
                self.job.say(f"{_spoken(error)}; beginning again from the journal in {pause_s:g} s")
                if self._open:
                    self.alerts.ring(
                        VENUE, f"a pair is open, and the session failed: {str(error) or type(error).__name__}"
                    )
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._asked_to_stop()
                attempt += 1

    @property
    def _open(self) -> bool:
        """Whether something is open, or nobody can tell."""
        try:
            return bool(unsettled(self.job.journal))
        except JournalError as error:
            self.job.say(str(error))
            return True

    async def _asked_to_stop(self) -> None:
        while not self._stopped:  # noqa: ASYNC110 - a signal sets it, for whatever session there is
            await asyncio.sleep(0.1)

    async def _one(self) -> str:
        job = self.job
        with job.new_journal(_next) as journal, contextlib.ExitStack() as files:
            journal.begin_run(MODES[job.kind], __version__, {"config": job.config.model_dump_json()})
            kill_file = job.folder / job.config.kill_file

            def record(state: State) -> EventLog:
                path = events_path(journal.path, journal.run_id)
                return files.enter_context(EventLog(path, journal.run_id, state, job.say, _later))

            def exports(venues: tuple[Venue, Venue]) -> ParameterFile:
                return ParameterFile(
                    job.params,
                    job.config,
                    job.config.bounds(),
                    utc_now,
                    job.config.of_accounts(*(v.terms for v in venues)),
                    job.say,
                    job.real_venues,
                )

            resources = Resources(
                job.config, MODES[job.kind], journal, both_venues(job.config, job.keys, job.ccxt), exports, record,
                job.say,
                lambda: str(kill_file) if kill_file.exists() else "", job.kind == PAPER, self.alerts,
            )  # fmt: skip
            self.session = self._trading = Session(resources, leave=job.leave)
            try:
                self._note_rung()
                if self._stopped:
                    self.session.stop(self._stopped)
                return await self._watched(journal)
            finally:
                self._trading = None

    async def _watched(self, journal: Journal) -> str:
        """One session with its socket and its status line."""
        path = control.socket_path(journal.path)
        control.clear(path)
        server = await control.serve(path, control.obeying(lambda: self.session))
        status = asyncio.create_task(self._status(), name="status line")
        outcome = "failed"
        try:
            outcome = await self.session.run()
            return outcome
        finally:
            status.cancel()
            server.close()
            control.clear(path)
            if self.session.runner:
                self.trades += self.session.runner.trades
            try:
                journal.end_run(outcome)
            except JournalError as error:  # how the session ended counts, not that it could not be noted
                self.job.say(str(error))

    async def _status(self) -> None:
        said_s = time.monotonic()
        while True:
            await asyncio.sleep(STATUS_S)
            self.job.say.status(self.session.line())
            if time.monotonic() - said_s >= OPEN_S and (line := monitoring.open_line(self.session)):
                said_s = time.monotonic()
                self.job.say(line)


def _next(act: Callable[[], None]) -> None:
    """In the loop's next turn: orders are written in this one."""
    asyncio.get_running_loop().call_soon(act)


def _later(act: Callable[[], None]) -> None:
    """Once the answers to orders are in: to compress takes as long as they do."""
    asyncio.get_running_loop().call_later(LATER_S, act)


def _spoken(error: Exception) -> str:
    """Ours speak for themselves; of a defect, all that helps to find it."""
    return str(error) if isinstance(error, DeltaArbError) else "".join(traceback.format_exception(error)).rstrip()


def run(job: LiveJob, as_json: bool) -> int:
    """Trade until stopped; 0 after an orderly end, 1 after a halt or with legs that may differ."""
    job.say(f"{job.config.name}, journal {job.journal}")
    trading = Supervisor(job)
    began = time.monotonic()
    with account_lock(job):
        outcome = uvloop.run(trading.run())
    sum_up(job, trading, outcome, time.monotonic() - began, as_json)
    return 1 if outcome in ("halted", "unfinished") else 0


def sum_up(job: LiveJob, trading: Supervisor, outcome: str, seconds: float, as_json: bool) -> None:
    """The closing summary: trades, net and where it came from."""
    parts = attribution(trading.trades)
    job.say(
        f"{outcome}: {len(trading.trades)} trades; "
        + "  ".join(f"{part} {parts[part]:+.4f}" for part in (*PARTS, "net"))
        + "  USDT"
    )
    job.say(f"journal: {job.journal}")
    if as_json:
        runner = trading.session.runner
        summary = {
            "status": outcome, "mode": MODES[job.kind], "pair": job.config.name, "trades": len(trading.trades),
            "missed": runner.missed if runner else 0, "net_usdt": parts["net"], "attribution": parts,
            "events": runner.events if runner else 0, "seconds": round(seconds, 3), "journal": str(job.journal),
        }  # fmt: skip
        print(json.dumps(summary))


@contextlib.contextmanager
def account_lock(job: LiveJob) -> Iterator[None]:
    """Keeps a second runner of this user off the account, whatever folder it writes to: named by a hash of keys and pair.

    Raises:
        RunError: another one has it, or it cannot be made.
    """
    if job.kind != LIVE:
        yield
        return
    secret = "\n".join((job.config.name, *(keys.key.get_secret_value() for keys in job.keys)))
    name = f"{hashlib.sha256(secret.encode()).hexdigest()[:16]}.lock"
    try:
        folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "delta_arb"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / name
        lock = open(path, "w", opener=private)  # noqa: SIM115 - held while it trades
    except (OSError, RuntimeError) as error:  # the second: nobody knows this user's home
        raise RunError(
            f"the lock of this account cannot be made ({error}); set XDG_STATE_HOME to a folder of yours"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(f"another runner trades {job.config.name} with these keys; stop it first ({path})") from None
        yield


async def refused_start(job: LiveJob, why: str) -> None:
    """Ring that nothing trades."""
    alerts = Alerts(job.alerts, job.config.alerts, job.config.name, job.say)
    alerts.ring(REFUSED, why)
    await alerts.drain()


def unsettled(path: Path) -> str:
    """What is open by this journal, in words; "" for nothing. RunError while a runner has it."""
    if not path.exists():
        return ""
    with Journal(path, "look") as journal:
        state = journal.last_state() or State()
        spot, perp = (leg.position for leg in state.legs)
        if spot == perp == 0.0 and not journal.working():
            return ""
    return f"pair {state.pair} ({PHASES[state.phase]}, spot {spot:+g}, perp {perp:+g})"


def require_settled(path: Path, but: str) -> None:
    """RunError while something is open by this journal."""
    if left := unsettled(path):
        raise RunError(
            f"{left} of an earlier run is open, and {but}; start with the same arguments, or `flatten` first"
        )


def set_aside(journal: Path) -> Path | None:
    """Rename a journal whose venues are gone, and say to what; the lock tells whether a runner still has it."""
    if not journal.exists():
        return None
    with Journal(journal, "aside"):
        pass  # takes the lock, and writes its log into the file
    return journal.rename(journal.with_name(f"{journal.stem}-{utc_now():%y%m%d%H%M%S%f}{journal.suffix}"))
