"""The runners of a reports folder: each is a journal, and while one is up the socket beside it.

A journal is read again when it has changed; the socket is asked each time. The points of the chart are kept here, so
a browser that comes back has them; after a restart of the monitor they begin with the journal's decisions.
"""

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from delta_arb.errors import RunError
from delta_arb.live import control
from delta_arb.market import NS
from delta_arb.monitor import journal_view
from delta_arb.monitor.journal_view import on_chart

JOURNALS = ("journal", "paper", "sandbox", "live")  # as the runner names them; one set aside has its time in the name
ANSWER_S = 2.0
POINTS = 7200  # an hour, at a look each half second


class ShownRunner:
    """One journal and its runner."""

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.pair, self.kind = journal.parent.parent.name, journal.stem
        self.points: deque[list[float | None]] = deque(maxlen=POINTS)
        self.run_id, self.added = "", 0  # of the points
        self._seen: tuple = ()
        self._read: dict[str, Any] = {}

    @property
    def id(self) -> str:
        """Like SYN_USDT-mexc-gate/sandbox."""
        return f"{self.pair}/{self.kind}"

    @property
    def kill_file(self) -> Path | None:
        """Where a person's kill goes; None for a replay."""
        name = (self._read.get("run") or {}).get("kill_file")
        return self.journal.parent / name if name else None

    @property
    def socket(self) -> Path:
        return control.socket_path(self.journal)

    def look(self) -> dict[str, Any]:
        """What is now, of socket and journal; `error` says what could not be read."""
        errors: list[str] = []
        now = self._asked(errors)
        read = self._journal(errors)
        self._keep(now, read)
        shown = {name: value for name, value in read.items() if name != "history"}
        seen = {"id": self.id, "pair": self.pair, "kind": self.kind, "now": now, "errors": errors, "at": time.time()}
        return seen | shown

    def _asked(self, errors: list[str]) -> dict[str, Any] | None:
        """The running one's answer; None when none is up, or it does not answer, which is an error to show."""
        if not self.socket.exists():
            return None
        try:
            said = control.ask(self.socket, "snapshot", ANSWER_S)
        except RunError as error:
            errors.append(str(error))
            return None
        if said and "error" in said:
            errors.append(said["error"])
            return None
        return said

    def _journal(self, errors: list[str]) -> dict[str, Any]:
        """As it was read last, unless it has changed."""
        try:
            if (seen := _written(self.journal)) != self._seen:
                self._read = journal_view.read(self.journal)
                self._seen = seen
        except (RunError, OSError) as error:
            errors.append(str(error))
        return self._read

    def _keep(self, now: dict[str, Any] | None, read: dict[str, Any]) -> None:
        """The chart: a run's decisions, and while it is up a point at each look."""
        if (run_id := (read.get("run") or {}).get("run_id", "")) != self.run_id:
            self.run_id, self.added = run_id, 0
            self.points.clear()
        points = list(read.get("history", ()))
        if now and now.get("edge_bps") is not None:
            points.append([now["now_ns"] / NS, now["edge_bps"], now["cost_bps"], *on_chart(now["levels"])])
        for point in points:
            if not self.points or point[0] > self.points[-1][0]:
                self.points.append(point)
                self.added += 1

    def newer(self, than: int) -> list[list[float | None]]:
        """The points after so many of this run."""
        new = min(self.added - than, len(self.points))
        return list(self.points)[len(self.points) - new :]


def _written(journal: Path) -> tuple:
    """Changes whenever the journal does."""
    files = (journal, journal.with_name(f"{journal.name}-wal"))
    return tuple(
        (stat.st_ino, stat.st_size, stat.st_mtime_ns) for file in files if file.exists() and (stat := file.stat())
    )


class Runners:
    """All of a reports folder, looked at side by side, so that a frozen one does not hold up the others."""

    def __init__(self, reports: Path) -> None:
        self.reports = Path(reports)
        self._known: dict[Path, ShownRunner] = {}
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="look")

    def look(self) -> list[dict[str, Any]]:
        """Each runner as it is now: those that are up first, then by the time of their last run."""
        said = list(self._pool.map(ShownRunner.look, self.found()))
        said.sort(key=lambda one: (one["now"] is None, _reversed((one.get("run") or {}).get("started", ""))))
        return said

    def found(self) -> list[ShownRunner]:
        """Those whose journals are there now, new ones too."""
        journals = [path for kind in JOURNALS for path in sorted(self.reports.glob(f"*/live/{kind}.sqlite"))]
        self._known = {path: self._known.get(path) or ShownRunner(path) for path in journals}
        return list(self._known.values())

    def named(self, name: str) -> ShownRunner | None:
        return next((one for one in self._known.values() if one.id == name), None)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _reversed(text: str) -> list[int]:
    """Sorts the newest time first."""
    return [-ord(letter) for letter in text]
