"""Rows of a tape on which the runner provably decides nothing, told to it and to the venue all at once.

What it waits for says `strategy.waiting`, for rules that decide at once on the raw basis. While an order is out, and with a rule
that rests, a filtered signal, or wallets that have an end, every row is played.
"""

import numpy as np

from delta_arb.live.paper import PaperVenue
from delta_arb.live.runner import Runner
from delta_arb.market import NEVER, PERP, SPOT, Book
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.settling import opening_pays
from delta_arb.strategy.state import DIRECT, NO_LEG, QUOTE, REVERSE, Event
from delta_arb.strategy.waiting import DIRECT_HIGH, DIRECT_LOW, REVERSE_HIGH, Wait, awaited

FEWEST, MOST = 512, 1 << 13  # rows looked at together
PATIENCE = 16  # rows played before looking again, at most: they take as long as one look ahead


class QuietRows:
    """Looks ahead on one tape."""

    def __init__(self, tape: Tape, runner: Runner, venue: PaperVenue) -> None:
        self._tape, self._runner, self._venue = tape, runner, venue
        self._last = _first_of_instant(tape.ts_ns, len(tape) - 1)  # the last instant is always seen
        self._size, self._again, self._patience, self._shift = FEWEST, 0, 1, 0.0

    def passed(self, row: int) -> int:
        """The first row, from this one on, that has to be played; those before it have been told. `row` begins an instant."""
        if row < self._again or row >= self._last:
            return row
        wait = self._wait()
        if not wait:
            return row
        stop = _first_of_instant(self._tape.ts_ns, min(row + self._size, self._last))
        ahead = self._columns(slice(row, max(stop, row)))
        stop = row + _reached(wait, ahead)
        if stop == row:
            self._size, self._again = FEWEST, row + self._patience
            self._patience = min(2 * self._patience, PATIENCE)
            return row
        self._size, self._patience = min(4 * self._size, MOST), 1
        self._tell(ahead, stop - row)
        return stop

    def _wait(self) -> Wait | None:
        """What the runner waits for; None where each row may change something."""
        runner, rule = self._runner, self._runner.rule
        known = runner.books is not None and runner.promised[0] == rule.funding_horizon_s
        if not known or runner.wallets or self._venue.due_ns < NEVER:
            return None
        if rule.quoting.leg != NO_LEG or rule.filter.noise_sd:
            return None
        funding = runner.promised[1]
        self._shift = funding.at(runner.now_ns) if rule.funding_horizon_s else 0.0
        return awaited(runner.state, funding.until_ns(runner.now_ns), rule)

    def _columns(self, part: slice) -> Event:
        """An event whose fields are columns of a part of the tape."""
        t = self._tape
        rows = (row[part].astype(np.intp) for row in (t.spot_row, t.perp_row))  # once, not for each column
        spot, perp = (Book(*(column[at] for column in of)) for of, at in zip((t.spot, t.perp), rows, strict=True))
        return Event(QUOTE, t.ts_ns[part], spot, perp, 0, 0.0, 0.0, 0.0, self._shift)

    def _tell(self, ahead: Event, count: int) -> None:
        """The first rows of those; the rows of one instant are one event."""
        ts_ns = ahead.ts_ns[:count]
        ends = np.append(ts_ns[1:] != ts_ns[:-1], True)
        part = slice(count) if ends.all() else np.flatnonzero(ends)
        spot, perp = (Book(*(column[part] for column in book)) for book in (ahead.spot, ahead.perp))
        last = [Book(*(column[-1].item() for column in book)) for book in (spot, perp)]
        now_ns = int(ts_ns[-1])
        for leg in (SPOT, PERP):
            self._venue.quote(leg, now_ns, last[leg])
        self._runner.passed(ahead._replace(ts_ns=ts_ns[part], spot=spot, perp=perp), now_ns, *last)


def _reached(wait: Wait, ahead: Event) -> int:
    """The place of the first row of the first instant that may show what is awaited; their number where none does."""
    found = ahead.ts_ns >= wait.until_ns
    for signal, level in ((wait.signal, wait.level), (wait.other, wait.other_level)):
        if level < np.inf:
            found |= _strength(signal, ahead) >= level
    if wait.mid < np.inf:
        found |= 0.5 * (ahead.perp.bid + ahead.perp.ask) >= wait.mid
    return _first_of_instant(ahead.ts_ns, int(found.argmax())) if found.any() else len(found)


def _strength(signal: int, event: Event) -> np.ndarray:
    """A signal of `strategy.waiting` at every row; one without prices shows none."""
    direct = signal in (DIRECT_HIGH, DIRECT_LOW)
    with np.errstate(divide="ignore", invalid="ignore"):
        pays = opening_pays(DIRECT if direct else REVERSE, event)
    prices = (event.spot.ask, event.perp.bid) if direct else (event.spot.bid, event.perp.ask)
    pays[(prices[0] <= 0.0) | (prices[1] <= 0.0)] = np.nan
    return pays if signal in (DIRECT_HIGH, REVERSE_HIGH) else -pays


def _first_of_instant(ts_ns: np.ndarray, row: int) -> int:
    return int(np.searchsorted(ts_ns, ts_ns[row], "left"))
