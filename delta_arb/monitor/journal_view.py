"""What a journal says of its newest run, read beside whoever writes it: a read-only look of a few milliseconds each.

Rows that are shown are the newest few; money is summed over all of the run and of its day.
"""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from delta_arb.errors import DataError, RunError
from delta_arb.live.event_log import named, state_of
from delta_arb.live.journal import FORCED, trade_of
from delta_arb.live.reconcile import midnight_ns
from delta_arb.live.snapshot import REPLAY, finite, levels
from delta_arb.market import DAY_NS, LEGS, NS, to_bps
from delta_arb.strategy.ledger import TRADE_FIELDS, Trade, attribution
from delta_arb.strategy.settling import opening_pays
from delta_arb.strategy.state import DIRECT, FLAT, PHASES, REVERSE, Event, MachineRule

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


def read(journal: Path) -> dict[str, Any]:
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
    values = (opening_pays(DIRECT, event), -opening_pays(REVERSE, event))
    return [event.ts_ns / NS, *(finite(to_bps(value)) for value in values), *on_chart(levels(rule) if rule else None)]


def on_chart(of: dict[str, float | None] | None) -> tuple[float | None, float | None]:
    """Where entry and exit lie on the chart of edge and cost: reverse pairs enter at a low cost and leave at a high edge."""
    if of is None:
        return None, None
    if of["entry_bps"] is None and of["reverse_entry_bps"] is not None:
        leave = of["reverse_exit_bps"]
        return -of["reverse_entry_bps"], None if leave is None else -leave
    return of["entry_bps"], of["exit_bps"]
