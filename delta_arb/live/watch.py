"""`delta-arb live watch`: a small process beside a runner, for the hour in which nobody hears from it.

It asks a running runner how it is, every few seconds. When that has not answered for a while it looks at both accounts, rings
a person where something is open, and, if the configuration says so and the legs differ, flattens as `flatten` does: from
the journal, so reduce-only on futures, on spot what is the pair's and never inventory, under order ids of its own.

It never trades beside a living runner: a frozen one may wake, so it is ended by its process id first, and whoever trades
holds the journal's lock. Where there is no journal (on another machine) it only rings.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from delta_arb.errors import RunError
from delta_arb.live import control, preflight, supervisor
from delta_arb.live.accounts import Baseline
from delta_arb.live.alerts import GONE, NAKED, Alerts
from delta_arb.live.supervisor import LiveJob

ANSWER_S = 3.0
GONE_S = 10.0  # for a runner that was ended to be gone


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

    def run(self) -> None:
        """For ever."""
        self.job.say(f"watching {self.job.config.name}, journal {self.job.journal}")
        while True:
            self.look()
            time.sleep(self._settings.every_s)

    def look(self) -> str:
        """One look: "answers", "silent" (not for long enough), "flat", "open", "alone" or "flattened"."""
        if self._answers():
            self._heard_s = time.monotonic()
            return "answers"
        silent_s = time.monotonic() - self._heard_s
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
    """What both accounts held before the journal began, read beside whoever has it; None where it does not say."""
    with contextlib.suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as db:
        query = "SELECT kind, text FROM notes WHERE kind IN ('baseline', 'accepted') ORDER BY rowid DESC LIMIT 1"
        note = db.execute(query).fetchone()
        return Baseline.of(note[1]) if note and note[0] == "baseline" else None
    return None


def end_runner(journal: Path) -> None:
    """End the runner that holds this journal, if one does, however frozen it is.

    Raises:
        RunError: it cannot be ended, so nothing may be traded here.
    """
    with open(journal.with_suffix(".lock"), "a+") as lock:
        if _free(lock):
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
        while not _free(lock):
            if time.monotonic() > deadline_s:
                raise RunError(f"process {pid} still holds {journal.name} {GONE_S:g} s after it was ended")
            time.sleep(0.05)


def _free(lock) -> bool:
    """Whether nobody holds it; it is not kept."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    fcntl.flock(lock, fcntl.LOCK_UN)
    return True
