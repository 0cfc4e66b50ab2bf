"""Rows of a tape on which the runner provably decides nothing, told to it and to the venue all at once.

What it waits for says `strategy.waiting`, for rules that decide at once on the raw basis. While an order is out, and with a rule
that rests, a filtered signal, or wallets that have an end, every row is played.
"""

import numpy as np

from delta_arb.live.paper import PaperVenue
from delta_arb.live.runner import Runner
from delta_arb.market import NEVER, PERP, SPOT, Book
from delta_arb.quotes.tape import Books, Tape
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
        self._legs = (tape.spot, tape.spot_row), (tape.perp, tape.perp_row)
        self._size, self._again, self._patience, self._shift = FEWEST, 0, 1, 0.0

    def passed(self, row: int) -> int:
        """The first row, from this one on, that has to be played; those before it have been told. `row` begins an instant."""
        if row < self._again or row >= self._last:
            return row
        wait = self._wait()
        if not wait:
            return row
        end = _first_of_instant(self._tape.ts_ns, min(row + self._size, self._last))
        stop = self._reached(wait, slice(row, max(end, row)))
        if stop == row:
            self._size, self._again = FEWEST, row + self._patience
            self._patience = min(2 * self._patience, PATIENCE)
            return row
        self._size, self._patience = min(4 * self._size, MOST), 1
        self._tell(slice(row, stop))
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

    def _reached(self, wait: Wait, part: slice) -> int:
        """The first row of the first instant that may show what is awaited; the end of the part where none does."""
        ts_ns = self._tape.ts_ns[part]
        found = np.zeros(len(ts_ns), bool)
        found[np.searchsorted(ts_ns, wait.until_ns) :] = True
        for signal, level in ((wait.signal, wait.level), (wait.other, wait.other_level)):
            if level < np.inf:
                found |= self._strength(signal, part) >= level
        if wait.mid < np.inf:
            found |= 0.5 * (self._price(PERP, "bid", part) + self._price(PERP, "ask", part)) >= wait.mid
        at = int(found.argmax())
        return part.start + _first_of_instant(ts_ns, at) if len(found) and found[at] else part.stop

    def _strength(self, signal: int, part: slice) -> np.ndarray:
        """A signal of `strategy.waiting` at every row; one without prices shows none."""
        direct = signal in (DIRECT_HIGH, DIRECT_LOW)
        spot, perp = (
            self._price(SPOT, "ask" if direct else "bid", part),
            self._price(PERP, "bid" if direct else "ask", part),
        )
        event = _event(
            self._tape.ts_ns[part], Book(spot, spot, 0.0, 0.0, 0), Book(perp, perp, 0.0, 0.0, 0), 0, self._shift
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            pays = opening_pays(DIRECT if direct else REVERSE, event)
        pays[(spot <= 0.0) | (perp <= 0.0)] = np.nan
        return pays if signal in (DIRECT_HIGH, REVERSE_HIGH) else -pays

    def _price(self, leg: int, side: str, part: slice) -> np.ndarray:
        books, row = self._legs[leg]
        return getattr(books, side)[row[part]]

    def _tell(self, part: slice) -> None:
        """These rows; the rows of one instant are one event."""
        ts_ns, now_ns = self._tape.ts_ns[part], int(self._tape.ts_ns[part.stop - 1])
        ends = np.append(ts_ns[1:] != ts_ns[:-1], True)
        moved, books = zip(*(_books(books, row[part][ends]) for books, row in self._legs), strict=True)
        last = [self._tape.book(leg, part.stop - 1) for leg in (SPOT, PERP)]
        for leg in (SPOT, PERP):
            self._venue.quote(leg, now_ns, last[leg])
        changed = moved[SPOT].view(np.uint8) | moved[PERP].view(np.uint8) << 1
        self._runner.passed(_event(ts_ns[ends], *books, changed, self._shift), now_ns, *last)


def _event(ts_ns: np.ndarray, spot: Book, perp: Book, leg: np.ndarray, shift: float) -> Event:
    """One whose fields are columns: of each leg the books that were new, and in `leg` which were (bits: 1 spot, 2 perpetual)."""
    return Event(QUOTE, ts_ns, spot, perp, leg, 0.0, 0.0, 0.0, shift)


def _books(books: Books, row: np.ndarray) -> tuple[np.ndarray, Book]:
    """At which events there was another book, the first included, and these as columns."""
    moved = np.ones(len(row), bool)
    np.not_equal(row[1:], row[:-1], out=moved[1:])
    return moved, Book(*(column[row[moved]] for column in books))


def _first_of_instant(ts_ns: np.ndarray, row: int) -> int:
    return int(np.searchsorted(ts_ns, ts_ns[row], "left"))
