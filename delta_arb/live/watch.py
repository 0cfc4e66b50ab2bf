"""`delta-arb live watch`: a small process beside a runner, for the hour in which nobody hears from it.

It asks a running runner how it is, every few seconds. When that has not answered for a while it looks at both accounts, rings
a person where something is open, and, if the configuration says so and the legs differ, flattens as `flatten` does: from
the journal, so reduce-only on futures, on spot what is the pair's and never inventory, under order ids of its own.

Orders that rest do not wait for that: after a few seconds without an answer they are cancelled by their ids, which the journal
has from before they were sent. That harms no runner that is alive after all: it is told of the end as of any.

It never trades beside a living runner: a frozen one may wake, so it is ended by its process id first, and whoever trades
holds the journal's lock. Where there is no journal (on another machine) it only rings.

It keeps the limits of the account over all runners. Those of one kind (paper, local venues, real money) under one reports folder
are taken for one account. What each holds and has earned today it says itself; of one that does not answer, its journal says it,
at the price of its last fills. Beyond a limit everything is left, and nothing entered until a person has removed the kill files.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from delta_arb.errors import RunError
from delta_arb.live import control, preflight, supervisor
from delta_arb.live.accounts import Baseline
from delta_arb.live.config import WatchSettings
from delta_arb.live.durability import free, watching
from delta_arb.live.messages import ACCOUNT, GONE, NAKED, Alerts
from delta_arb.live.reconcile import midnight_ns
from delta_arb.live.resources import both_venues
from delta_arb.live.supervisor import LiveJob
from delta_arb.live.venues.base import VenueError, within
from delta_arb.market import LEGS

ANSWER_S = 3.0
GONE_S = 10.0  # for a runner that was ended to be gone
CLOSER_S = 1.0  # between two looks while an order rests
CANCEL_S = 8.0


class Exposure(NamedTuple):
    """What both accounts hold besides what was there before, base units; `known`: whether the venues answered."""

    coins: float
    position: float
    known: bool

    @property
    def open(self) -> bool:
        return not self.known or bool(self.coins or self.position)

    def alone(self, step: float) -> bool:
        """Whether one leg stands without the other by at least one step."""
        return self.known and abs(self.coins + self.position) >= step


class Watcher:
    """Looks again and again; `job` is the one that would flatten."""

    def __init__(self, job: LiveJob) -> None:
        self.job = job
        self._settings = job.config.watch
        self._alerts = Alerts(job.alerts, job.config.alerts, job.config.name, job.say)
        self._heard_s = time.monotonic()
        self._withdrawn: set[str] = set()

    def run(self) -> None:
        """For ever; a start of the runner sees that somebody watches."""
        self.job.say(f"watching {self.job.config.name}, journal {self.job.journal}")
        with watching(self.job.journal) as held:
            fcntl.flock(held, fcntl.LOCK_SH)  # of several
            self._run()

    def _run(self) -> None:
        while True:
            try:
                self.look()
                closer = resting(self.job.journal).keys() - self._withdrawn
            except (
                RunError
            ) as error:  # a journal that cannot be read: a person must look, and the watcher goes on looking
                self._ring(GONE, str(error))
                closer = True
            time.sleep(min(CLOSER_S, self._settings.every_s) if closer else self._settings.every_s)

    def look(self) -> str:
        """One look: "answers", "silent" (not for long enough), "flat", "open", "alone" or "flattened"."""
        self._keep_limits()
        if self._answers():
            self._heard_s = time.monotonic()
            self._withdrawn.clear()
            return "answers"
        silent_s = time.monotonic() - self._heard_s
        if silent_s >= self._settings.resting_s:
            self._withdraw(silent_s)
        if silent_s < self._settings.silent_s:
            return "silent"
        exposure = self._exposure()
        if not exposure.open:
            return "flat"
        known = f"coins {exposure.coins:+g}, position {exposure.position:+g}"
        held = known if exposure.known else "the venues do not answer"
        line = f"the runner has not answered for {silent_s:.0f} s: {held}"
        alone = exposure.alone(max(self.job.config.perp.qty_step, self.job.config.spot.qty_step, 1e-9))
        self._ring(NAKED if alone else GONE, line)
        if not (alone and self._settings.flatten and self.job.journal.exists()):
            return "alone" if alone else "open"
        end_runner(self.job.journal)
        supervisor.run(self.job, False)
        self._heard_s = time.monotonic()
        self._ring(GONE, "the watcher has flattened; find out what became of the runner before it is started again")
        return "flattened"

    def _withdraw(self, silent_s: float) -> None:
        """Cancel what rests and was not cancelled yet."""
        left = {order_id: leg for order_id, leg in resting(self.job.journal).items() if order_id not in self._withdrawn}
        if not left:
            return
        try:
            asyncio.run(cancelled(self.job, left))
            self._withdrawn |= left.keys()
            said = "cancelled"
        except VenueError as error:
            said = f"not cancelled yet ({error})"
        self._ring(GONE, f"the runner has not answered for {silent_s:.0f} s; what rested is {said}: {', '.join(left)}")

    def _keep_limits(self) -> None:
        """Beyond a limit of the account all of its runners are killed, also again where a kill file was removed."""
        if not (self._settings.account_position_usdt or self._settings.account_loss_day_usdt):
            return
        of = journals(self.job.reports, self.job.kind)
        try:
            why = beyond([share(journal) for journal in of], self._settings)
            if why and kill(of, f"the watcher: {why}"):
                then = "all runners leave what is open, and enter nothing while the kill files are there"
                self._ring(ACCOUNT, f"{why}; {then}")
        except RunError as error:
            self._ring(ACCOUNT, str(error))

    def _answers(self) -> bool:
        """Whether a runner is up and turns."""
        try:
            return control.ask(control.socket_path(self.job.journal), "status", ANSWER_S) is not None
        except RunError:
            return False

    def _exposure(self) -> Exposure:
        held = preflight.holdings(self.job)
        if "coins" not in held:
            return Exposure(0.0, 0.0, False)
        declared = self.job.config.inventory_coins, -self.job.config.hedged_coins
        base = before(self.job.journal) or Baseline(0.0, 0.0, *declared)
        return Exposure(held["coins"] - base.coins, held["position"] - base.position, True)

    def _ring(self, kind: str, text: str) -> None:
        self.job.say(f"{kind}: {text}")
        self._alerts.ring(kind, text)
        asyncio.run(self._alerts.drain())


def before(journal: Path) -> Baseline | None:
    """What both accounts held before the journal began; None where there is none, or it does not say. RunError: unreadable."""
    if not journal.exists():
        return None
    with reading(journal, "nobody knows what was there before") as db:
        query = "SELECT kind, text FROM notes WHERE kind IN ('baseline', 'accepted') ORDER BY rowid DESC LIMIT 1"
        note = db.execute(query).fetchone()
        return Baseline.of(note[1]) if note and note[0] == "baseline" else None


def resting(journal: Path) -> dict[str, int]:
    """The orders that may rest by the journal, each with its leg. RunError: it cannot be read, and so nobody knows."""
    query = (
        "SELECT order_id, leg FROM orders WHERE post_only AND NOT EXISTS "
        "(SELECT 1 FROM outcomes WHERE outcomes.order_id = orders.order_id AND remaining = 0)"
    )
    if not journal.exists():
        return {}
    with reading(journal, "nobody knows which orders rest") as db:
        return {order_id: LEGS.index(leg) for order_id, leg in db.execute(query)}


async def cancelled(job: LiveJob, orders: Mapping[str, int]) -> None:
    """Cancel these orders, each at the venue of its leg.

    Raises:
        VenueError: a venue does not answer, or one of them may still rest.
    """
    venues = both_venues(job.config, job.keys, job.ccxt)
    for leg in set(orders.values()):
        venue = venues[leg]
        await within(venue.open(lambda *quote: None, lambda *told: None), f"{venue.name} opened", CANCEL_S)
        try:
            for order_id in (order_id for order_id, of in orders.items() if of == leg):
                await within(venue.cancel(order_id), f"the cancel of {order_id}", CANCEL_S)
        finally:
            await venue.close()


def end_runner(journal: Path) -> None:
    """End the runner that holds this journal, if one does, however frozen it is.

    Raises:
        RunError: it cannot be ended, so nothing may be traded here.
    """
    with open(journal.with_suffix(".lock"), "a+") as lock:
        if free(lock):
            return
        lock.seek(0)
        pid = lock.read().strip()
        if not pid.isdecimal():
            raise RunError(
                f"{journal.with_suffix('.lock')} does not say which process holds it; end the runner by hand"
            )
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
        deadline_s = time.monotonic() + GONE_S
        while not free(lock):
            if time.monotonic() > deadline_s:
                raise RunError(f"process {pid} still holds {journal.name} {GONE_S:g} s after it was ended")
            time.sleep(0.05)


SHARE_ANSWER_S = 3.0
KILL_FILE = "kill"  # where a journal has no run with a configuration


class RunnerShare(NamedTuple):
    """What one runner holds (the larger leg at its price) and has earned this UTC day, closed and open pairs, USDT."""

    name: str
    held_usdt: float
    net_day_usdt: float


def journals(reports: Path, kind: str) -> list[Path]:
    """Of every runner of a kind."""
    return sorted(Path(reports).glob(f"*/live/{kind}.sqlite"))


def share(journal: Path) -> RunnerShare:
    """Of one runner; RunError where neither it nor its journal says."""
    name = journal.parent.parent.name
    with contextlib.suppress(RunError):
        said = control.ask(control.socket_path(journal), "snapshot", SHARE_ANSWER_S)
        if said and "error" not in said and said["books"]:
            held = max(abs(said[book["leg"]]) * book["bid"] for book in said["books"])
            return RunnerShare(name, held, said["net_day_usdt"] + said["open_usdt"])
    return _of_journal(name, journal)


def _of_journal(name: str, journal: Path) -> RunnerShare:
    held = "SELECT COALESCE(MAX(ABS(value)), 0) FROM (SELECT SUM(qty * price) AS value FROM fills WHERE settled = 0 GROUP BY leg)"
    net = "SELECT COALESCE(SUM(net_usdt), 0) FROM trades WHERE closed_ns >= ?"
    with reading(journal, "nobody knows what the account holds") as db:
        (held_usdt,) = db.execute(held).fetchone()
        (net_usdt,) = db.execute(net, (midnight_ns(time.time_ns()),)).fetchone()
        return RunnerShare(name, held_usdt, net_usdt)


@contextlib.contextmanager
def reading(journal: Path, unknown: str) -> Iterator[sqlite3.Connection]:
    """A journal, read beside whoever has it; RunError where it cannot be read, with what is `unknown` then."""
    try:
        with closing(sqlite3.connect(f"{journal.resolve().as_uri()}?mode=ro", uri=True)) as db:
            yield db
    except sqlite3.Error as error:
        raise RunError(f"{journal}: cannot be read ({error}), so {unknown}") from error


def beyond(shares: Sequence[RunnerShare], limits: WatchSettings) -> str:
    """Which limit of the account is passed, and by whom; "" while none is."""
    told = ", ".join(f"{s.name} {s.held_usdt:.2f} held {s.net_day_usdt:+.2f} today" for s in shares)
    held, net = sum(s.held_usdt for s in shares), sum(s.net_day_usdt for s in shares)
    if 0.0 < limits.account_position_usdt < held:
        return f"the account holds {held:.2f} USDT, its limit is {limits.account_position_usdt:g} ({told})"
    if 0.0 < limits.account_loss_day_usdt <= -net:
        return f"the account has lost {-net:.2f} USDT today, its limit is {limits.account_loss_day_usdt:g} ({told})"
    return ""


def kill(of: Sequence[Path], by: str) -> list[Path]:
    """Every runner leaves what is open and enters nothing, also one that is not up, until the files returned are removed;
    those that were there already are not among them.

    Raises:
        RunError: some of them could not be reached for sure; all others were.
    """
    written, failed = [], []
    for journal in of:
        try:
            file = journal.parent / _kill_file(journal)
            if not file.exists():
                _ask_kill(journal, by)
                file.write_text(f"{by}\n", "utf-8")
                written.append(file)
        except (RunError, OSError, ValueError, KeyError) as error:
            _ask_kill(journal, by)
            failed.append(str(error))
    if failed:
        raise RunError(f"no kill file for {'; '.join(failed)}: see to these runners by hand (all others are told)")
    return written


def _ask_kill(journal: Path, by: str) -> None:
    with contextlib.suppress(RunError):  # one that is not up or frozen finds the file
        control.ask(control.socket_path(journal), "kill", SHARE_ANSWER_S, by=by)


def _kill_file(journal: Path) -> str:
    """As the newest run's configuration names it; runs without a configuration have the usual one."""
    with reading(journal, "nobody knows where it looks for its kill file") as db:
        found = db.execute("SELECT options FROM runs ORDER BY rowid DESC LIMIT 1").fetchone()
    config = json.loads(found[0]).get("config") if found else None
    return json.loads(config)["kill_file"] if config else KILL_FILE
