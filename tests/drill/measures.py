"""What a run was, by the venues' own books and the runner's journal and events: nothing here asks the runner.

A leg counts as naked while the legs differ by a contract, as the venue lists it then, or more: less is a residual.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from delta_arb.live.event_log import replayed
from delta_arb.market import LEGS, NS, PERP, SPOT
from delta_arb.sandbox.values import Trade
from delta_arb.strategy.state import FLAT

PRICE = 0.8  # USDT, of a naked coin
SLACK_S = 0.5  # that a quote may take through the runner
FEE = 5e-5  # USDT, what rounding may make of the fees of an order


@dataclass
class NakedTime:
    """How long and how large the legs differed, by a clock in seconds; `update` at each trade and each tick."""

    clock: Callable[[], float] = lambda: time.monotonic()
    spells: list[tuple[float, float]] = field(default_factory=list)  # from, to
    worst_coins: float = 0.0
    since_s: float | None = None

    def update(self, net_coins: float, contract: float = 10.0) -> None:
        now_s = self.clock()
        if abs(net_coins) < contract:
            self.end(now_s)
            return
        self.worst_coins = max(self.worst_coins, abs(net_coins))
        self.since_s = now_s if self.since_s is None else self.since_s

    def end(self, now_s: float | None = None) -> None:
        if self.since_s is not None:
            self.spells.append((self.since_s, now_s or self.clock()))
            self.since_s = None

    @property
    def worst_s(self) -> float:
        return max((end - begin for begin, end in self.spells), default=0.0)

    def counted_s(self, gone: Sequence[tuple[float, float]]) -> float:
        """The longest, without the times (from, to) in which a venue was silent or there was no runner."""
        return max((end - begin - covered_s(begin, end, gone) for begin, end in self.spells), default=0.0)


def covered_s(begin: float, end: float, parts: Sequence[tuple[float, float]]) -> float:
    """How much of a time (begin, end) others, which may overlap, cover."""
    covered = 0.0
    for since, until in sorted(parts):
        since, until = max(since, begin), min(until, end)
        if until > since:
            covered, begin = covered + until - since, until
    return covered


class Shown:
    """Every quote that the venues showed, and until when: what a decision may have been made on."""

    def __init__(self) -> None:
        self._last: list[tuple[float, float] | None] = [None, None]
        self._since: list[int] = [0, 0]
        self._were: list[list[tuple[float, float, int, int]]] = [[], []]

    def show(self, leg: int, bid: str, ask: str) -> None:
        quote = float(bid), float(ask)
        if quote != self._last[leg]:
            now = time.time_ns()
            if self._last[leg]:
                self._were[leg].append((*self._last[leg], self._since[leg], now))
            self._last[leg], self._since[leg] = quote, now

    def was(self, leg: int, bid: float, ask: float, from_ns: int, to_ns: int) -> bool:
        """Whether the venue showed this at some time between the two."""
        current = [(*self._last[leg], self._since[leg], time.time_ns())] if self._last[leg] else []
        return any(
            (bid, ask) == (b, a) and began <= to_ns and ended >= from_ns
            for b, a, began, ended in self._were[leg] + current
        )


@dataclass
class Outcome:
    """What one run came to."""

    plan: str
    name: str
    kind: str
    leg: str
    phase: str
    side: int
    answers: bool
    must_end_safe: bool
    ended: str = ""  # flat, hedged, naked, or: not played
    halted: bool = False
    alarms: list[str] = field(default_factory=list)
    alarm_s: float | None = None  # from the start of the longest naked spell, or of the fault
    naked_s: float = 0.0
    excused_s: float = 0.0  # of it, in which a venue was silent or there was no runner
    naked_usdt: float = 0.0
    twice: int = 0
    differs: list[str] = field(default_factory=list)  # journal and venues
    starts: int = 1  # 2: the next start booked what the first had not
    false_books: int = 0
    fired: int = 0
    seconds: float = 0.0
    said: list[str] = field(default_factory=list)

    @property
    def counted_s(self) -> float:
        return self.naked_s - self.excused_s

    @property
    def safe(self) -> bool:
        return self.ended in ("flat", "hedged")

    @property
    def failures(self) -> list[str]:
        """What does not meet the bars of a single run; naked time is judged over all of them."""
        found = []
        if self.ended == "not played":
            return ["the fault could not be played"]
        if not self.safe and (self.must_end_safe or not self.alarms):
            found.append(f"ended {self.ended}" + ("" if self.alarms else " without an alarm"))
        if self.twice:
            found.append(f"{self.twice} ids used twice")
        if self.differs:
            found.append(f"journal and venues differ: {'; '.join(self.differs)}")
        if self.false_books:
            found.append(f"{self.false_books} entries on a false book")
        return found

    def row(self) -> dict[str, Any]:
        return asdict(self) | {"safe": self.safe, "failures": self.failures}


def journal_differs(path: Path, venues, outside: bool) -> list[str]:
    """Where the journal and the venues tell of different fills or fees, order by order and in sum."""
    with closing(sqlite3.connect(path)) as db:
        booked = {
            order_id: (qty, fee)
            for order_id, qty, fee in db.execute(
                "SELECT order_id, SUM(qty), SUM(fee_usdt) FROM fills GROUP BY order_id"
            )
        }
        ordered = {order_id for (order_id,) in db.execute("SELECT order_id FROM orders")}
        held = dict(db.execute("SELECT leg, SUM(qty) FROM fills GROUP BY leg"))
    found = []
    traded = [0.0, 0.0]
    for leg, engine in enumerate((venues.spot, venues.perp)):
        for order in engine.orders.values():
            order_id = order.client_id.removeprefix("t-")
            if order_id in ("core", "foreign") or not order_id:
                continue
            filled, fee = float(order.side * order.filled), float(order.fee)
            traded[leg] += filled
            booked_qty, booked_fee = booked.get(order_id, (0.0, 0.0))
            if abs(booked_qty - filled) > 1e-9 or abs(booked_fee - fee) > FEE:
                found.append(
                    f"{order_id} {LEGS[leg]} filled {filled:g} fee {fee:g}, booked {booked_qty:g} {booked_fee:g}"
                )
            if filled and order_id not in ordered:
                found.append(f"{order_id} was not journaled")
    if not outside:
        found += [
            f"{LEGS[leg]}: traded {traded[leg]:g}, booked {held.get(LEGS[leg]) or 0.0:g}"
            for leg in (SPOT, PERP)
            if abs(traded[leg] - (held.get(LEGS[leg]) or 0.0)) > 1e-9
        ]
    return found


def false_books(events: Path, shown: Shown, max_age_s: float) -> int:
    """Entries that were decided on a book crossed, older than allowed, or never shown by the venue."""
    found = 0
    for path in sorted(events.glob("*.bin")):
        flat = True
        for decided in replayed(path):
            if flat and any(order.qty != 0.0 for order in decided.orders):
                found += not _true_books(decided.event, shown, max_age_s)
            flat = decided.state.phase == FLAT
    return found


def _true_books(event, shown: Shown, max_age_s: float) -> bool:
    since = event.ts_ns - round((max_age_s + SLACK_S) * NS)
    return all(
        book.bid < book.ask and shown.was(leg, book.bid, book.ask, since, event.ts_ns + NS // 10)
        for leg, book in enumerate((event.spot, event.perp))
    )


def listen(venues, update) -> None:
    """Hear of every trade at either venue."""
    for engine in (venues.spot, venues.perp):
        engine.listen(Trade, lambda trade: update())


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed; 0.0 of none."""
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * round(share * 1000) // 1000) - 1)] if ranked else 0.0
