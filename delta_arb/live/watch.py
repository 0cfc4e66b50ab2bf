"""`delta-arb live watch`: a small process beside a runner, for the hour in which nobody hears from it.

It asks a running runner how it is, every few seconds. When that has not answered for a while it looks at both accounts, rings
a person where something is open, and, if the configuration says so and the legs differ, flattens as `flatten` does: from
the journal, so reduce-only on futures, on spot what is the pair's and never inventory, under order ids of its own.

Orders that rest do not wait for that: after a few seconds without an answer they are cancelled by their ids, which the journal
has from before they were sent. That harms no runner that is alive after all: it is told of the end as of any.

It never trades beside a living runner: a frozen one may wake, so it is ended by its process id first, and whoever trades
holds the journal's lock. Where there is no journal (on another machine) it only rings.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from delta_arb.errors import RunError
from delta_arb.live import account_limits, control, preflight, supervisor
from delta_arb.live.accounts import Baseline
from delta_arb.live.durability import free, watching
from delta_arb.live.messages import ACCOUNT, GONE, NAKED, Alerts
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
        held = (
            f"coins {exposure.coins:+g}, position {exposure.position:+g}"
            if exposure.known
            else "the venues do not answer"
        )
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
        of = account_limits.journals(self.job.reports, self.job.kind)
        try:
            why = account_limits.beyond([account_limits.share(journal) for journal in of], self._settings)
            if why and account_limits.kill(of, f"the watcher: {why}"):
                self._ring(
                    ACCOUNT, f"{why}; all runners leave what is open, and enter nothing while the kill files are there"
                )
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
        base = before(self.job.journal) or Baseline(
            0.0, 0.0, self.job.config.inventory_coins, -self.job.config.hedged_coins
        )
        return Exposure(held["coins"] - base.coins, held["position"] - base.position, True)

    def _ring(self, kind: str, text: str) -> None:
        self.job.say(f"{kind}: {text}")
        self._alerts.ring(kind, text)
        asyncio.run(self._alerts.drain())


def before(journal: Path) -> Baseline | None:
    """What both accounts held before the journal began; None where there is none, or it does not say. RunError: unreadable."""
    if not journal.exists():
        return None
    with account_limits.reading(journal, "nobody knows what was there before") as db:
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
    with account_limits.reading(journal, "nobody knows which orders rest") as db:
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
