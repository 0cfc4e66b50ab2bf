"""One run of the runner as it was: what its machine was told, what it decided, what was sent and what came of it.

Two sources that know nothing of each other: the event file (`live.event_log`) and the journal (`live.journal`). This
module only reads them; whether they agree is `session_review`'s question, what the run earned and why is `bridge`'s.
"""

import json
import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from delta_arb.errors import DataError, RunError
from delta_arb.latency import Latency, latency
from delta_arb.live.event_log import LoggedEvent, events_path, levels_shown, logged, named, state_of
from delta_arb.live.journal import BEGUN, FORCED, ORDERED, RECOVERED, trade_of
from delta_arb.market import DAY_NS, LEGS, NS, PERP, SPOT, UPDATES, Book, Fill, FundingPayment
from delta_arb.params import Params
from delta_arb.quotes.depth_and_trades import NO_DEPTH, Depth
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.ledger import TRADE_FIELDS, Trade
from delta_arb.strategy.state import FLAT, OUTSIDE, QUOTE, REPORT, Event, State

REPLAY, PAPER = "paper, replay", "paper, live quotes"  # modes as the runner writes them


class Decision(NamedTuple):
    """One row of the journal: an event that changed or called for something, and the state after it."""

    event: Event
    state: State


class SentOrder(NamedTuple):
    """An order as it was journaled before it was sent."""

    order_id: str
    pair: int
    ts_ns: int
    leg: int
    phase: str
    qty: float
    limit: float
    reduce_only: bool
    post_only: bool


class End(NamedTuple):
    """How an order ended: filled (signed), mean price, `venue_ns` on the venue's clock (0: not told), and the machine's event."""

    order_id: str
    filled: float
    price: float
    refused: str
    venue_ns: int
    event: Event

    @property
    def reported_ns(self) -> int:
        """When the machine was told, on our clock."""
        return self.event.ts_ns


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run. `ends` holds the first end of each order, later ones are late fills; `fills` and `trades` are the journal's.

    `rested`: the ids of its fills' orders that were post-only, those that an earlier run sent included.
    """

    run_id: str
    pair_name: str
    mode: str
    outcome: str
    params: Params
    latency: Latency
    kinds: tuple[str, str]
    events: tuple[LoggedEvent, ...]
    decisions: tuple[Decision, ...]
    orders: tuple[SentOrder, ...]
    ends: dict[str, End]
    late: tuple[End, ...]
    fills: tuple[tuple[str, Fill], ...]
    rested: frozenset[str]
    trades: tuple[Trade, ...]
    payments: tuple[FundingPayment, ...]
    ordered: tuple[tuple[int, str], ...] = ()  # what a person wanted of it, and when (ns)
    recovered: frozenset[str] = frozenset()  # its fills' orders whose rows were lost: nobody knows whether they rested
    asked: tuple[tuple[int, int], ...] = (
        (0, 0),
        (0, 0),
    )  # of each leg: requests about orders and orders filled in its last day
    handed_on: tuple[int, str] = (0, "")  # the pair open at its end and the later run that closed it, if one did
    depths: tuple[Depth, Depth] = (NO_DEPTH, NO_DEPTH)  # the levels that a run on paper was told
    begun_ns: int = 0  # when it had taken up what it found, and the guards alone held entries back; 0: from the start

    @property
    def name(self) -> str:
        return self.pair_name

    @property
    def synthetic(self) -> bool:
        """Whether the parameters came from quotes that a program made, as those of the local venues' sample are."""
        return self.params.data.synthetic

    @property
    def mark(self) -> str:
        """What titles must say (as `Inputs.mark`)."""
        return "SYNTHETIC quotes" if self.synthetic else ""

    @property
    def start_ns(self) -> int:
        """When the machine was first flat: a pair that an earlier run left open is that run's."""
        if self.events[0].state is None or self.events[0].state.phase == FLAT:
            return self.events[0].event.ts_ns
        flat = (d.event.ts_ns for d in self.decisions if d.state.phase == FLAT)
        return next(flat, self.end_ns + 1)

    @property
    def start(self) -> State:
        """The flat state that the machine had at `start_ns`."""
        first = self.events[0].state or State()
        return first if first.phase == FLAT else next((d.state for d in self.decisions if d.state.phase == FLAT), first)

    @property
    def found(self) -> int:
        """The pair that was open when the run began; 0: none."""
        first = self.events[0].state
        return first.pair if first and first.phase != FLAT else 0

    def closed_in(self, pair: int) -> str:
        """The later run that closed a pair of this one; "" where none did."""
        return self.handed_on[1] if pair == self.handed_on[0] else ""

    @property
    def untold(self) -> list[Event]:
        """Events that a kill cut off the event file, and the journal has."""
        return [d.event for d in self.decisions if d.event.ts_ns > self.events[-1].event.ts_ns]

    @property
    def last(self) -> Event:
        return self.untold[-1] if self.untold else self.events[-1].event

    @property
    def end_ns(self) -> int:
        return self.last.ts_ns

    @property
    def hours(self) -> float:
        return (self.end_ns - self.events[0].event.ts_ns) / NS / 3600

    def tape(self) -> Tape:
        """The quotes that the run saw, from `start_ns` on, as a backtest reads them.

        Raises:
            DataError: there are none.
        """
        return replace(tape_of(self.seen_flat, self.kinds), depths=self.depths)

    @property
    def seen_flat(self) -> list[Event]:
        """The quotes from `start_ns` on."""
        quotes = (QUOTE, OUTSIDE)  # on paper a liquidation arrives with the quote that brings it
        seen = [*(t.event for t in self.events if t.event.kind in quotes), *self.untold]
        return [event for event in seen if event.ts_ns >= self.start_ns]


def tape_of(events: Iterable[Event], kinds: tuple[str, str] = (UPDATES, UPDATES)) -> Tape:
    """A tape of quote events: a row for each leg whose book an event changed, and one where it changed neither."""
    rows, before = [], (None, None)
    for event in events:
        books = (event.spot, event.perp)
        changed = [leg for leg in (SPOT, PERP) if books[leg] != before[leg]] or [SPOT]
        shown = before if before[SPOT] else books
        for leg in changed:
            shown = (books[SPOT], shown[PERP]) if leg == SPOT else (shown[SPOT], books[PERP])
            rows.append((event.ts_ns, leg, *_side(event.ts_ns, shown[SPOT]), *_side(event.ts_ns, shown[PERP])))
        before = books
    if not rows:
        raise DataError("the run saw no quote while it was flat; there is nothing to replay")
    names = (
        "ts_ns",
        "leg",
        *(f"{leg}_{name}" for leg in LEGS for name in ("bid", "ask", "bid_qty", "ask_qty", "age_ns")),
    )
    kind = {"ts_ns": np.int64, "leg": np.uint8, "spot_age_ns": np.int64, "perp_age_ns": np.int64}
    columns = {n: np.array(c, kind.get(n, np.float64)) for n, c in zip(names, zip(*rows, strict=True), strict=True)}
    return Tape.wide(**columns, spot_kind=kinds[SPOT], perp_kind=kinds[PERP])


def _side(ts_ns: int, book: Book) -> tuple[float, float, float, float, int]:
    return book.bid, book.ask, book.bid_qty, book.ask_qty, ts_ns - book.fresh_ns


# --- reading -----------------------------------------------------------------------------------------------------------


def find(reports: Path, pair: str = "", run_id: str = "") -> tuple[Path, str]:
    """The journal and the run id of a run: the newest with recorded events, of any pair, unless told otherwise.

    Raises:
        RunError: there is none.
    """
    found = []
    for journal in sorted(Path(reports).glob(f"{pair or '*'}/live/*.sqlite")):
        with _opened(journal) as db:
            runs = [row[0] for row in db.execute("SELECT run_id FROM runs ORDER BY started")]
        found += [(run, journal) for run in runs if run.startswith(run_id) and events_path(journal, run).exists()]
    if not found:
        what = f"run {run_id}" if run_id else "run"
        raise RunError(
            f"no {what} with recorded events under {Path(reports) / (pair or '*') / 'live'}; trade first, or name another folder"
        )
    run, journal = max(found)
    return journal, run


def read(journal: Path, run_id: str) -> Recorded:
    """A run from its journal and its event file.

    Raises:
        DataError: either of them is missing, empty, or of another version.
    """
    events = tuple(logged(events_path(journal, run_id)))
    if not events:
        raise DataError(f"{events_path(journal, run_id)}: no event in it; the run ended before its first quote")
    with _opened(journal) as db:
        mode, options, outcome = _one(db, journal, run_id)
        params = _params(db, journal, run_id)
        decisions = tuple(_decisions(db, run_id))
        ends, late = _ends(db, run_id, [d.event for d in decisions if d.event.kind in (REPORT, OUTSIDE)])
        kinds = tuple(options.get(f"{leg}_kind", UPDATES) for leg in LEGS)
        return Recorded(
            run_id=run_id,
            pair_name=journal.parent.parent.name,
            mode=mode,
            outcome=outcome or "killed",
            params=params,
            latency=_latency(options, params),
            kinds=kinds,
            events=events,
            decisions=decisions,
            orders=tuple(_orders(db, run_id)),
            ends=ends,
            late=late,
            fills=tuple(_fills(db, run_id)),
            rested=frozenset(_sent(db, run_id, "post_only")),
            recovered=frozenset(_sent(db, run_id, f"phase = '{RECOVERED}'")),
            trades=tuple(_trades(db, run_id)),
            payments=tuple(_payments(db, run_id)),
            ordered=tuple(_noted(db, run_id, ORDERED)),
            asked=tuple(_asked(db, leg, decisions[-1].event.ts_ns if decisions else 0) for leg in LEGS),
            handed_on=_handed_on(db, run_id, decisions),
            depths=levels_shown(events_path(journal, run_id)) if mode in (PAPER, REPLAY) else (NO_DEPTH, NO_DEPTH),
            begun_ns=next((at_ns for at_ns, _ in _noted(db, run_id, BEGUN)), 0),
        )


@contextmanager
def _opened(journal: Path) -> Iterator[sqlite3.Connection]:
    """The journal for reading only; its runner may be at work."""
    try:
        with closing(sqlite3.connect(f"{journal.resolve().as_uri()}?mode=ro", uri=True)) as db:
            yield db
    except sqlite3.Error as error:
        raise DataError(f"{journal}: not a journal of this version ({error})") from error


def _one(db: sqlite3.Connection, journal: Path, run_id: str) -> tuple[str, dict, str | None]:
    row = db.execute("SELECT mode, options, outcome FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    if row is None:
        raise DataError(f"{journal}: no run {run_id} in it")
    return row[0], json.loads(row[1]), row[2]


def _params(db: sqlite3.Connection, journal: Path, run_id: str) -> Params:
    """The parameters that the run began with: what was assumed of both venues is in them."""
    row = db.execute(
        "SELECT content FROM params WHERE run_id = ? AND content IS NOT NULL ORDER BY rowid", (run_id,)
    ).fetchone()
    if row is None:
        raise DataError(
            f"{journal}: run {run_id} had no parameters, so nothing was assumed that it could be compared with"
        )
    return Params.model_validate_json(row[0])


def _latency(options: dict, params: Params) -> Latency:
    """What was assumed: a replay's options may name a distribution, of which the parameters know only the median."""
    if "spot_latency" in options:
        return latency(options["spot_latency"], options["perp_latency"])
    return Latency(params.spot.latency_s, params.perp.latency_s)


def _noted(db: sqlite3.Connection, run_id: str, kind: str) -> Iterator[tuple[int, str]]:
    rows = db.execute("SELECT at, text FROM notes WHERE run_id = ? AND kind = ? ORDER BY rowid", (run_id, kind))
    for at, text in rows:
        yield round(datetime.fromisoformat(at).timestamp() * NS), text


def _decisions(db: sqlite3.Connection, run_id: str) -> Iterator[Decision]:
    rows = db.execute(
        "SELECT event, state FROM decisions WHERE run_id = ? AND kind != ? ORDER BY rowid", (run_id, FORCED)
    )
    for event, state in rows:
        yield Decision(named(Event, json.loads(event)), state_of(json.loads(state)))


def _orders(db: sqlite3.Connection, run_id: str) -> Iterator[SentOrder]:
    rows = db.execute(
        "SELECT order_id, pair, ts_ns, leg, phase, qty, price_limit, reduce_only, post_only FROM orders "
        "WHERE run_id = ? AND phase != ? ORDER BY rowid",
        (run_id, RECOVERED),
    )
    for order_id, pair, ts_ns, leg, phase, qty, limit, *how in rows:
        yield SentOrder(order_id, pair, ts_ns, LEGS.index(leg), phase, qty, limit, *map(bool, how))


def _ends(db: sqlite3.Connection, run_id: str, reports: list[Event]) -> tuple[dict[str, End], tuple[End, ...]]:
    """The first end of each order, and what came after it; the journal wrote each together with its event.

    Of an order that rested the end counts what was filled before; all of it was at the order's own price.
    """
    first: dict[str, End] = {}
    late, parts = [], defaultdict(list)
    names = "order_id, filled, price, refused, venue_ns, remaining"
    rows = db.execute(f"SELECT {names} FROM outcomes WHERE run_id = ? ORDER BY rowid", (run_id,))
    for (*row, remaining), event in zip(rows, reports, strict=True):
        end = End(*row, event)
        if remaining:
            parts[end.order_id].append(end)
            continue
        if before := [part for part in parts.pop(end.order_id, ()) if part.filled]:
            filled = math.fsum(part.filled for part in (*before, end))
            end = end._replace(filled=filled, price=before[0].price)
        if end.order_id in first:
            late.append(end)
        else:
            first[end.order_id] = end
    return first, tuple(late)


def _fills(db: sqlite3.Connection, run_id: str) -> Iterator[tuple[str, Fill]]:
    rows = db.execute(
        "SELECT order_id, pair, ts_ns, leg, qty, price, fee_usdt FROM fills WHERE run_id = ? ORDER BY rowid", (run_id,)
    )
    for order_id, pair, ts_ns, leg, qty, price, fee in rows:
        yield order_id, Fill(pair, ts_ns, LEGS.index(leg), qty, price, fee)


def _sent(db: sqlite3.Connection, run_id: str, how: str) -> Iterator[str]:
    """Ids of the orders of its fills that were sent in such a way, by whichever run."""
    ours = "SELECT order_id FROM fills WHERE run_id = ?"
    rows = db.execute(f"SELECT order_id FROM orders WHERE {how} AND order_id IN ({ours})", (run_id,))
    return (row[0] for row in rows)


def _trades(db: sqlite3.Connection, run_id: str) -> Iterator[Trade]:
    rows = db.execute(f"SELECT {', '.join(TRADE_FIELDS)} FROM trades WHERE run_id = ? ORDER BY rowid", (run_id,))
    return map(trade_of, rows)


def _asked(db: sqlite3.Connection, leg: str, until_ns: int) -> tuple[int, int]:
    """Requests about a leg's orders in the day before, and orders filled, by all runs of this journal: as the runner counts them."""
    filled = "EXISTS (SELECT 1 FROM outcomes WHERE outcomes.order_id = orders.order_id AND filled != 0)"
    query = f"SELECT COALESCE(SUM(1 + post_only), 0), COALESCE(SUM({filled}), 0) FROM orders WHERE leg = ? AND ts_ns > ? AND ts_ns <= ?"
    return db.execute(query, (leg, until_ns - DAY_NS, until_ns)).fetchone()


def _handed_on(db: sqlite3.Connection, run_id: str, decisions: Sequence[Decision]) -> tuple[int, str]:
    """The pair that was open after the last decision, and the run that closed it. Replays take up nothing of each other."""
    if not decisions or decisions[-1].state.phase == FLAT:
        return 0, ""
    pair = decisions[-1].state.pair
    query = (
        "SELECT run_id FROM trades JOIN runs USING (run_id) WHERE pair = ? AND run_id > ? AND mode != ? ORDER BY run_id"
    )
    row = db.execute(query, (pair, run_id, REPLAY)).fetchone()
    return (pair, row[0]) if row else (0, "")


def _payments(db: sqlite3.Connection, run_id: str) -> Iterator[FundingPayment]:
    """The stamps in order of time; a settled rate comes after the announced one of its stamp, and takes its place."""
    rows = db.execute("SELECT ts_ns, rate, mark, exact FROM funding WHERE run_id = ? ORDER BY rowid", (run_id,))
    last = {row[0]: FundingPayment(*row[:3], bool(row[3])) for row in rows}
    for ts_ns in sorted(last):
        yield last[ts_ns]
