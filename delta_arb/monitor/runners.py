"""The runners of a reports folder: each is a journal, and while one is up the socket beside it.

`read_journal` is a read-only look of a few milliseconds beside whoever writes it. Rows that are shown are the newest few; money is
summed over all of the run and of its day.

A journal is read again when it has changed; the socket is asked each time. The points of the chart are kept here, so
a browser that comes back has them; after a restart of the monitor they begin with the journal's decisions.
"""

import json
import sqlite3
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from delta_arb.errors import DataError, RunError
from delta_arb.live import control
from delta_arb.live.event_log import named, state_of
from delta_arb.live.journal import FORCED, trade_of
from delta_arb.live.monitoring import REPLAY, finite, levels, offers
from delta_arb.live.reconcile import midnight_ns
from delta_arb.market import DAY_NS, LEGS, NS
from delta_arb.strategy.ledger import TRADE_FIELDS, Trade, attribution
from delta_arb.strategy.state import FLAT, PHASES, Event, MachineRule

SHOWN = 30  # orders, and notes
PAIRS = 12
HISTORY = 600  # decisions that the chart begins with
TOLD = ("halt", "resume", "alert", "ordered", "disk", "terms", "difference")  # notes that a person asks about
ORDERS = f"""
SELECT orders.ts_ns, orders.order_id, pair, orders.leg, phase, qty, price_limit, reduce_only, outcomes.ts_ns,
    IIF(post_only, (SELECT SUM(fills.qty) FROM fills WHERE fills.order_id = orders.order_id), filled),
    IIF(post_only, price_limit, outcomes.price),
    refused, (SELECT SUM(fee_usdt) FROM fills WHERE fills.order_id = orders.order_id)
FROM orders LEFT JOIN outcomes ON outcomes.order_id = orders.order_id AND outcomes.remaining = 0
WHERE orders.run_id = ? ORDER BY orders.rowid DESC LIMIT {SHOWN}"""
Whose = tuple[str, str]  # a condition on the runs whose pairs count, and its value


def read_journal(journal: Path) -> dict[str, Any]:
    """The newest run: how it began and ended, its last state, orders with their fills, pairs, money, notes, edge so far.

    Raises:
        RunError: no journal of this version, or one that cannot be read.
    """
    try:
        with closing(sqlite3.connect(f"{journal.resolve().as_uri()}?mode=ro", uri=True)) as db:
            db.execute("BEGIN")  # all of one moment
            return _run(db)
    except (sqlite3.Error, DataError, ValueError, TypeError) as error:
        raise RunError(f"{journal.name}: cannot be read ({error}); is it of this version?") from error


def _run(db: sqlite3.Connection) -> dict[str, Any]:
    names = ("run_id", "mode", "started", "ended", "outcome", "options")
    row = db.execute(f"SELECT {', '.join(names)} FROM runs ORDER BY started DESC LIMIT 1").fetchone()
    if row is None:
        return {"run": None}
    run = dict(zip(names, row, strict=True))
    run["kill_file"] = _kill_file(json.loads(run.pop("options")))
    whose = ("run_id = ?", run["run_id"]) if run["mode"] == REPLAY else ("run_id != ?", "")  # replays share their days
    last = _last(db)
    if last and run["mode"] == REPLAY and run["outcome"]:  # what was open is closed with the quotes, by no decision
        last |= {"phase": PHASES[FLAT], **dict.fromkeys(LEGS, 0.0)}
    now_ns = last["ts_ns"] if last else round(datetime.fromisoformat(run["started"]).timestamp() * NS)
    return {
        "run": run, "last": last, "orders": _orders(db, run["run_id"]), "pairs": _pairs(db, whose),
        "money_run": money(_trades(db, "run_id = ?", run["run_id"])),
        "money_day": money(_of_day(db, whose, now_ns)),
        "notes": _notes(db), "parameters": _parameters(db), "history": _history(db, run["run_id"]),
    }  # fmt: skip


def _kill_file(options: dict[str, Any]) -> str:
    """As the run's configuration names it; "" for a replay, which has none."""
    config = options.get("config", "")
    return json.loads(config).get("kill_file", "") if config.startswith("{") else ""


def _last(db: sqlite3.Connection) -> dict[str, Any] | None:
    """Where the machine stood after its last event, for when no runner is up."""
    row = db.execute("SELECT ts_ns, state FROM decisions ORDER BY rowid DESC LIMIT 1").fetchone()
    if row is None:
        return None
    state = state_of(json.loads(row[1]))
    legs = dict(zip(LEGS, (leg.position for leg in state.legs), strict=True))
    return {"ts_ns": row[0], "phase": PHASES[state.phase], "number": state.pair, **legs}


def _orders(db: sqlite3.Connection, run_id: str) -> list[dict[str, Any]]:
    """The newest orders of the run, each with how it ended; the newest first."""
    names = ("ts_ns", "order_id", "pair", "leg", "phase", "qty", "limit", "reduce_only", "ended_ns", "filled", "price",
             "refused", "fee_usdt")  # fmt: skip
    return [dict(zip(names, row, strict=True)) for row in db.execute(ORDERS, (run_id,))]


def _trades(db: sqlite3.Connection, where: str, *values: object) -> list[Trade]:
    return [trade_of(row) for row in db.execute(f"SELECT {', '.join(TRADE_FIELDS)} FROM trades WHERE {where}", values)]


def _of_day(db: sqlite3.Connection, whose: Whose, now_ns: int) -> list[Trade]:
    """The pairs that closed in this UTC day."""
    since_ns = midnight_ns(now_ns)
    return _trades(db, f"{whose[0]} AND closed_ns >= ? AND closed_ns < ?", whose[1], since_ns, since_ns + DAY_NS)


def money(trades: Sequence[Trade]) -> dict[str, float]:
    """Number of pairs, and where their money came from, USDT."""
    return {"pairs": len(trades)} | {part: finite(usdt) for part, usdt in attribution(trades).items()}


def _pairs(db: sqlite3.Connection, whose: Whose) -> list[dict[str, Any]]:
    """The pairs that closed last; the newest first."""
    trades = _trades(db, f"{whose[0]} ORDER BY rowid DESC LIMIT {PAIRS}", whose[1])
    facts = ("pair", "side", "opened_ns", "closed_ns", "reason", "notional_usdt")
    return [{name: getattr(trade, name) for name in facts} | money([trade]) for trade in trades]


def _notes(db: sqlite3.Connection) -> list[dict[str, str]]:
    marks = ", ".join("?" * len(TOLD))
    query = f"SELECT at, kind, text FROM notes WHERE kind IN ({marks}) ORDER BY rowid DESC LIMIT {SHOWN}"
    return [dict(zip(("at", "kind", "text"), row, strict=True)) for row in db.execute(query, TOLD)]


def _parameters(db: sqlite3.Connection) -> dict[str, Any] | None:
    names = ("read_at", "verdict", "synthetic")
    query = "SELECT read_at, verdict, json_extract(content, '$.data.synthetic') FROM params ORDER BY rowid DESC LIMIT 1"
    row = db.execute(query).fetchone()
    return dict(zip(names, row, strict=True)) if row else None


def _history(db: sqlite3.Connection, run_id: str) -> list[list[float | None]]:
    """The edge at the run's last decisions, as a chart's points (`point`); what came between them is not in a journal."""
    rows = db.execute(
        "SELECT pair, event FROM decisions WHERE run_id = ? AND kind != ? ORDER BY rowid DESC LIMIT ?",
        (run_id, FORCED, HISTORY),
    ).fetchall()
    rules = {pair: named(MachineRule, json.loads(rule)) for pair, rule in
             db.execute("SELECT pair, rule FROM rules WHERE run_id = ? ORDER BY rowid", (run_id,))}  # fmt: skip
    return [_point(named(Event, json.loads(event)), rules.get(pair)) for pair, event in reversed(rows)]


def _point(event: Event, rule: MachineRule | None) -> list[float | None]:
    """[seconds since 1970, edge, cost, entry, exit], bps; the levels of the pair that the decision belongs to."""
    return [event.ts_ns / NS, *offers(event), *on_chart(levels(rule) if rule else None)]


def on_chart(of: dict[str, float | None] | None) -> tuple[float | None, float | None]:
    """Where entry and exit lie on the chart of edge and cost: reverse pairs enter at a low cost and leave at a high edge."""
    if of is None:
        return None, None
    if of["entry_bps"] is None and of["reverse_entry_bps"] is not None:
        leave = of["reverse_exit_bps"]
        return -of["reverse_entry_bps"], None if leave is None else -leave
    return of["entry_bps"], of["exit_bps"]


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
                self._read = read_journal(self.journal)
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
