"""What the runner meant and what happened, in SQLite, written before it is acted upon.

A committed row survives kill -9 at once, and a power cut as soon as the disk has it: a thread asks for that after each
commit (`durability`), and no order waits for it (a commit that does took 3.7 ms where this one takes 0.04). Should the power
fail in those milliseconds, the newest rows are gone and none before them; the next start finds at the venues what the
orders of this journal's runs did since (`recovery`). One transaction per event: the fill, the new state and the orders it
calls for are there together or not at all. A lock beside the file keeps a second runner out; the system releases it when
the process ends, however it ends.
"""

import functools
import json
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import orjson

from delta_arb.errors import DataError, RunError
from delta_arb.live.durability import Disk, Later, at_once, locked, lost
from delta_arb.live.event_log import named, state_of
from delta_arb.live.venues.base import Placed, Report
from delta_arb.market import LEGS, NS, REASONS, Fill, FundingPayment, Order
from delta_arb.params import Params
from delta_arb.strategy.ledger import TRADE_FIELDS, Trade
from delta_arb.strategy.state import PHASES, Event, MachineRule, State

FORCED = -1  # in place of an event's kind
BUSY_MS = 50  # how long a writer that does not belong here may hold up the loop; 1 s later it is tried again
RECOVERED = "recovered"  # in place of the phase of an order whose own row is lost
ORDERED, BEGUN = "ordered", "begun"  # kinds of notes: what a person wanted; that the run had taken up what there was
AT_END = "end"  # in place of an order id: fills that close a pair because the quotes ended
Row = tuple[str, tuple]  # a table and its values
_TRADE_COLUMNS = ", ".join(f"{n} {'TEXT' if n == 'reason' else 'NUMERIC'}" for n in TRADE_FIELDS)
_TABLES = f"""
CREATE TABLE IF NOT EXISTS runs (
    run_id TEXT PRIMARY KEY, started TEXT, mode TEXT, version TEXT, options TEXT, ended TEXT, outcome TEXT);
CREATE TABLE IF NOT EXISTS params (run_id TEXT, read_at TEXT, verdict TEXT, sha256 TEXT, content TEXT);
CREATE TABLE IF NOT EXISTS decisions (
    run_id TEXT, ts_ns INTEGER, kind INTEGER, pair INTEGER, phase TEXT, reason TEXT, event TEXT, state TEXT);
CREATE TABLE IF NOT EXISTS orders (
    run_id TEXT, order_id TEXT, pair INTEGER, ts_ns INTEGER, leg TEXT, phase TEXT, qty REAL, price_limit REAL,
    reduce_only INTEGER, post_only INTEGER);
CREATE TABLE IF NOT EXISTS fills (
    run_id TEXT, order_id TEXT, pair INTEGER, ts_ns INTEGER, leg TEXT, qty REAL, price REAL, fee_usdt REAL,
    settled INTEGER DEFAULT 0);
CREATE INDEX IF NOT EXISTS unsettled ON fills (settled) WHERE settled = 0;
CREATE TABLE IF NOT EXISTS outcomes (
    run_id TEXT, order_id TEXT, ts_ns INTEGER, leg TEXT, filled REAL, price REAL, refused TEXT, venue_ns INTEGER,
    remaining REAL);
CREATE INDEX IF NOT EXISTS ended ON outcomes (order_id);
CREATE TABLE IF NOT EXISTS rules (run_id TEXT, pair INTEGER, rule TEXT);
CREATE TABLE IF NOT EXISTS funding (run_id TEXT, ts_ns INTEGER, rate REAL, mark REAL, exact INTEGER);
CREATE TABLE IF NOT EXISTS notes (run_id TEXT, at TEXT, kind TEXT, text TEXT);
CREATE TABLE IF NOT EXISTS trades (run_id TEXT, {_TRADE_COLUMNS});
CREATE INDEX IF NOT EXISTS closed ON trades (closed_ns);
"""


class JournalError(RunError):
    """The journal cannot be written, so nothing may be done."""


class Journal:
    """One journal file of one pair; use it as a context manager. `run_id` marks the rows of this run.

    `later` wakes the disk (see `durability.Disk`).
    """

    def __init__(self, path: Path, run_id: str, later: Later = at_once) -> None:
        self.path = path = Path(path)
        self.run_id, self._held = run_id, False
        self._ordered: set[str] = set()  # ids of this run's orders: an index of them took a fifth of each commit
        try:
            self._lock = locked(path)  # held for the journal's life
        except BlockingIOError:
            remedy = "stop it first, or use another --reports folder"
            raise RunError(f"{path.name}: another runner holds this pair's journal; {remedy}") from None
        except OSError as error:  # another user's, a disk that is read only
            raise _unopened(path, error) from error
        self._db = sqlite3.connect(path, isolation_level=None)
        self._disk = Disk(path, later)
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("PRAGMA wal_autocheckpoint=0")
            self._db.executescript(_TABLES)
            self._db.execute(f"PRAGMA busy_timeout={BUSY_MS}")
            self._sums = self._summed()
            self._disk.reserve()
            self._files = {file: file.stat().st_ino for file in (path, path.with_name(f"{path.name}-wal"))}
        except (sqlite3.OperationalError, OSError) as error:  # a full disk, a lock: what may pass
            self.__exit__()
            raise _unopened(path, error) from error
        except sqlite3.DatabaseError as error:
            self.__exit__()
            raise RunError(f"{path}: no journal of ours ({error}); move it away, and see what is open") from error

    def __enter__(self) -> "Journal":
        return self

    @property
    def unreserved(self) -> str:
        """Why no room is kept for the journal on its disk; "" where there is."""
        return str(self._disk.unreserved or "")

    def __exit__(self, *exc) -> None:
        self._disk.close()
        self._db.close()
        self._lock.close()

    def check(self) -> None:
        """JournalError where its files are not those that were opened, or cannot be written any more.

        What SQLite writes into a file that was deleted or replaced goes nowhere, and it would not say so.
        """
        if why := lost(self._files):
            raise JournalError(why)

    def begin_run(self, mode: str, version: str, options: dict) -> None:
        self._write([("runs", (self.run_id, _now(), mode, version, json.dumps(options), None, None))])

    def end_run(self, outcome: str) -> None:
        self._write([], "UPDATE runs SET ended = ?, outcome = ? WHERE run_id = ?", (_now(), outcome, self.run_id))

    def parameters(self, verdict: str, params: Params | None) -> None:
        """A parameter file that was taken over, or refused with its reason."""
        digest, content = (params.sha256, params.model_dump_json()) if params else (None, None)
        self._write([("params", (self.run_id, _now(), verdict, digest, content))])

    def event(
        self,
        event: Event,
        state: State,
        orders: Sequence[Placed],
        report: Report | None = None,
        fill: Fill | None = None,
        trade: Trade | None = None,
        opened: MachineRule | None = None,
    ) -> None:
        """One event's consequences in one transaction: how an order ended, its fill, the new state and orders, a trade.

        `opened` is the rule that a new pair keeps until it is closed.
        """
        run_id, phase, rows = self.run_id, PHASES[state.phase], []
        if report:
            r = report
            told = r.order_id, r.ts_ns, LEGS[r.leg], r.filled, r.price, r.refused, r.venue_ns, r.remaining
            rows.append(("outcomes", (run_id, *told)))
        if fill:
            rows.append(self._fill(report.order_id, fill))
        if opened:
            rows.append(("rules", (run_id, state.pair, _rule_text(opened))))
        told, after = _text(event), _text(state.values())
        how = state.pair, phase, REASONS[state.reason]
        rows.append(("decisions", (run_id, event.ts_ns, event.kind, *how, told, after)))
        for order_id, leg, order in orders:
            if order_id in self._ordered:
                raise JournalError(f"{self.path}: {order_id} is the id of an order before; none leaves under it again")
            how = order.qty, order.limit, order.reduce_only, order.post_only
            rows.append(("orders", (run_id, order_id, state.pair, event.ts_ns, LEGS[leg], phase, *how)))
        if trade:
            self._settle(rows, trade)
        else:
            self._write(rows)
        self._ordered.update(placed.order_id for placed in orders)
        if fill:
            self._count(fill)

    def _write(self, rows: Sequence[Row], change: str = "", values: tuple = ()) -> None:
        """Rows of tables, and then a change, in one transaction: all of it written, or nothing and a JournalError."""
        execute = self._db.execute
        try:
            if self._disk.failed:
                self._disk.soon()
                raise sqlite3.OperationalError(f"the disk did not take the last rows: {self._disk.failed}")
            if not self._db.in_transaction:
                execute("BEGIN IMMEDIATE")
            for table, row in rows:
                execute(_insert(table, len(row)), row)
            if change:
                execute(change, values)
            if not self._held:
                execute("COMMIT")
        except BaseException as error:  # also a cancellation or Ctrl-C must not leave half a decision
            if self._db.in_transaction:
                execute("ROLLBACK")
            if not isinstance(error, sqlite3.Error):
                raise
            busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            remedy = "close the program that writes to it" if busy else "make room on the disk"
            why = f"cannot be written ({error}); no order leaves without its row, {remedy}"
            raise JournalError(f"{self.path}: {why}") from error
        if not self._held:
            self._disk.soon()

    def hold(self) -> None:
        """What follows is committed by `release`, all at once: for a replay, whose orders nobody fills but itself."""
        self._held = True

    def release(self) -> None:
        """Commit it, and all that follows at once again."""
        self._held = False
        self._write([])

    def closing(self, fills: list[Fill], trade: Trade) -> None:
        """The fills and the trade of a pair that was closed because the quotes ended."""
        self._settle([self._fill(AT_END, fill) for fill in fills], trade)
        for fill in fills:
            self._count(fill)

    def _fill(self, order_id: str, f: Fill) -> Row:
        return "fills", (self.run_id, order_id, f.pair, f.ts_ns, LEGS[f.leg], f.qty, f.price, f.fee_usdt, 0)

    def _settle(self, rows: list[Row], trade: Trade) -> None:
        """These rows, and the trade that settles all fills up to now."""
        row = (self.run_id, *(getattr(trade, name) for name in TRADE_FIELDS))
        self._write([*rows, ("trades", row)], "UPDATE fills SET settled = 1 WHERE settled = 0")

    def forced(self, ts_ns: int, state: State, why: str) -> None:
        """A state that a person set, in place of one that an event led to."""
        self._write([self._forced(ts_ns, state, why)])

    def _forced(self, ts_ns: int, state: State, why: str) -> Row:
        row = (self.run_id, ts_ns, FORCED, state.pair, PHASES[state.phase], why, "null", _text(state.values()))
        return "decisions", row

    def recovered(self, ts_ns: int, state: State, lost: Sequence[Report], rule: MachineRule) -> None:
        """Orders whose rows a power cut took, as the venues know them, and the state in which they are out."""
        rows = []
        # what was asked for is lost as well: as much as it filled, at that price; the run is that which sent it
        for r in lost:
            of = r.order_id.rpartition("-")[0], r.order_id, state.pair, ts_ns, LEGS[r.leg]
            rows.append(("orders", (*of, RECOVERED, r.filled, r.price, 0, 0)))
        if self.rule_of(state.pair) is None:
            rows.append(("rules", (self.run_id, state.pair, _rule_text(rule))))
        self._write([*rows, self._forced(ts_ns, state, RECOVERED)])

    def funding(self, payments: Sequence[FundingPayment]) -> None:
        """The stamps that the trades of this run are settled with."""
        self._write([("funding", (self.run_id, *payment)) for payment in payments])

    def funding_since(self, ts_ns: int) -> tuple[FundingPayment, ...]:
        """The stamps booked in any run from `ts_ns` on, in order of time, each as it was told last."""
        rows = self._db.execute(
            "SELECT ts_ns, rate, mark, exact FROM funding WHERE ts_ns >= ? ORDER BY rowid", (ts_ns,)
        ).fetchall()
        last = {ts: FundingPayment(ts, rate, mark, bool(exact)) for ts, rate, mark, exact in rows}
        return tuple(last[ts] for ts in sorted(last))

    def note(self, kind: str, text: str) -> None:
        """What a person will ask about: halts and who lifted them, differences, transfers, how a run was taken up."""
        self._write([("notes", (self.run_id, _now(), kind, text))])

    def last_note(self, *kinds: str) -> tuple[str, str] | None:
        """The latest note of one of these kinds, of any run: (kind, text)."""
        marks = ", ".join("?" * len(kinds))
        return self._db.execute(
            f"SELECT kind, text FROM notes WHERE kind IN ({marks}) ORDER BY rowid DESC LIMIT 1", kinds
        ).fetchone()

    def notes(self, kind: str) -> list[str]:
        """All notes of a kind, of any run, oldest first."""
        return [text for (text,) in self._db.execute("SELECT text FROM notes WHERE kind = ? ORDER BY rowid", (kind,))]

    def funded_usdt(self) -> float:
        """Funding of all pairs that were closed, in any run."""
        return self._db.execute("SELECT SUM(funding_usdt) FROM trades").fetchone()[0] or 0.0

    def held(self) -> tuple[float, float]:
        """Coins and signed perpetual position that all fills of this journal add up to."""
        return self._sums[0][0], self._sums[1][0]

    def cash(self) -> tuple[float, float]:
        """USDT that all fills of this journal brought each wallet, fees paid."""
        return self._sums[0][1], self._sums[1][1]

    def _summed(self) -> list[tuple[float, float]]:
        """(quantity, cash) of each leg; read once, then carried on."""
        rows = self._db.execute("SELECT leg, SUM(qty), SUM(-qty * price - fee_usdt) FROM fills GROUP BY leg").fetchall()
        sums = {leg: (qty, cash) for leg, qty, cash in rows}
        return [sums.get(leg, (0.0, 0.0)) for leg in LEGS]

    def _count(self, f: Fill) -> None:
        qty, cash = self._sums[f.leg]
        self._sums[f.leg] = (qty + f.qty, cash - f.qty * f.price - f.fee_usdt)

    def net_since(self, ts_ns: int) -> float:
        """Net of the pairs that closed at `ts_ns` or later, in any run."""
        return self._db.execute("SELECT SUM(net_usdt) FROM trades WHERE closed_ns >= ?", (ts_ns,)).fetchone()[0] or 0.0

    def last_state(self) -> State | None:
        """The machine's state after the last event of any run; None in a new journal."""
        row = self._db.execute("SELECT state FROM decisions ORDER BY rowid DESC LIMIT 1").fetchone()
        try:
            return state_of(json.loads(row[0])) if row else None
        except (ValueError, DataError) as error:
            raise RunError(
                f"{self.path}: the state of its last row cannot be read ({error}); bring back a backup of the journal, and the "
                "start reads from the venues' fills what came after it; without one, move the file away and close by hand what "
                "both accounts hold"
            ) from error

    def rule_of(self, pair: int) -> MachineRule | None:
        """The rule that this pair was opened under."""
        row = self._db.execute("SELECT rule FROM rules WHERE pair = ? ORDER BY rowid DESC LIMIT 1", (pair,)).fetchone()
        return named(MachineRule, json.loads(row[0])) if row else None

    def last_rule(self) -> MachineRule | None:
        """The rule that a pair was opened under last."""
        row = self._db.execute("SELECT rule FROM rules ORDER BY rowid DESC LIMIT 1").fetchone()
        return named(MachineRule, json.loads(row[0])) if row else None

    def unsettled_fills(self) -> tuple[Fill, ...]:
        """The fills that no trade has settled: those of the pair that is open, whatever the clock said since."""
        rows = self._db.execute(
            "SELECT pair, ts_ns, leg, qty, price, fee_usdt FROM fills WHERE settled = 0 ORDER BY rowid"
        ).fetchall()
        return tuple(Fill(pair, ts_ns, LEGS.index(leg), qty, price, fee) for pair, ts_ns, leg, qty, price, fee in rows)

    def working(self) -> tuple[tuple[Placed, int], ...]:
        """Orders without an end, with the time they were decided, oldest first: each may or may not have been sent."""
        rows = self._db.execute(
            "SELECT order_id, leg, qty, price_limit, reduce_only, post_only, ts_ns FROM orders WHERE NOT EXISTS "
            "(SELECT 1 FROM outcomes WHERE outcomes.order_id = orders.order_id AND remaining = 0) ORDER BY rowid"
        ).fetchall()
        return tuple(
            (Placed(i, LEGS.index(leg), Order(qty, limit, bool(reduce), False, bool(post))), ts)
            for i, leg, qty, limit, reduce, post, ts in rows
        )

    def knows(self, order_id: str) -> bool:
        """Whether an order of any run went out under this id."""
        return self._db.execute("SELECT 1 FROM orders WHERE order_id = ?", (order_id,)).fetchone() is not None

    def named(self, order_id: str) -> bool:
        """Whether a run of this journal gave this id, even if the order's row is gone."""
        run_id = order_id.rpartition("-")[0]
        return self._db.execute("SELECT 1 FROM runs WHERE run_id = ?", (run_id,)).fetchone() is not None

    def asked_since(self, ts_ns: int, leg: int) -> list[tuple[int, int, int]]:
        """Of each hour (of the Unix time) since then: requests about a leg's orders, and how many of these filled. One that
        rests counts twice, since it is withdrawn as well."""
        filled = "EXISTS (SELECT 1 FROM outcomes WHERE outcomes.order_id = orders.order_id AND filled != 0)"
        query = f"SELECT ts_ns / {3600 * NS} AS hour, SUM(1 + post_only), SUM({filled}) FROM orders"
        return self._db.execute(
            f"{query} WHERE leg = ? AND ts_ns >= ? GROUP BY hour ORDER BY hour", (LEGS[leg], ts_ns)
        ).fetchall()

    def booked(self, order_id: str) -> tuple[float, float, float]:
        """What is booked of an order: quantity (signed), quantity times price, fees."""
        sums = "COALESCE(SUM(qty), 0.0), COALESCE(SUM(qty * price), 0.0), COALESCE(SUM(fee_usdt), 0.0)"
        return self._db.execute(f"SELECT {sums} FROM fills WHERE order_id = ?", (order_id,)).fetchone()

    def until_ns(self) -> int | None:
        """When the last row of an earlier run was written, by the clock of then; None in a new journal."""
        began = self._db.execute("SELECT MAX(started) FROM runs WHERE run_id != ?", (self.run_id,)).fetchone()[0]
        if began is None:
            return None
        decided_ns = self._db.execute("SELECT ts_ns FROM decisions ORDER BY rowid DESC LIMIT 1").fetchone()
        return max((round(datetime.fromisoformat(began).timestamp() * NS), *(decided_ns or ())))

    def trades(self) -> list[Trade]:
        """The trades of this run as they stand on disk."""
        rows = self._db.execute(
            f"SELECT {', '.join(TRADE_FIELDS)} FROM trades WHERE run_id = ? ORDER BY rowid", (self.run_id,)
        )
        return [trade_of(row) for row in rows]


def _unopened(path: Path, error: Exception) -> JournalError:
    return JournalError(f"{path}: cannot be opened ({error}); nothing is traded without it")


@functools.cache
def _insert(table: str, columns: int) -> str:
    return f"INSERT INTO {table} VALUES ({', '.join('?' * columns)})"


def trade_of(row: tuple) -> Trade:
    """A row as a Trade again: SQLite keeps NaN as NULL and booleans and whole floats as integers."""
    values = dict(zip(TRADE_FIELDS, row, strict=True))
    for name in Trade.__annotations__:
        kind = Trade.__annotations__[name]
        values[name] = float("nan") if values[name] is None else kind(values[name])
    return Trade(**values)


def _text(values: tuple) -> str:
    """An event or a state, in half of json's time; only a wallet of theirs may be infinite, and becomes null (`event_log.named`)."""
    return orjson.dumps(values, default=lambda v: tuple(v) if isinstance(v, tuple) else v.item()).decode()


_rule_text = functools.lru_cache(maxsize=8)(json.dumps)  # a third of an entry's row, and the rule seldom changes


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
