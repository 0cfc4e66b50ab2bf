"""Two recordings in, one event tape out: read, checked, joined on one clock; nothing is repaired silently.

`recording` says what a recording looks like on disk; the kinds of bad row and what is done about each are the table
at the top of `checks`. The tape has one event per row of either leg, in time order, and each event carries both
books as they were known then. It begins with the first event at which both legs have had a good row, and ends,
inclusive, at the earlier of both last rows. Stamps are the receiver's; those of a venue get the leg's feed latency
added first. Needs pyarrow and numpy; pandas is loaded by `to_frame` only.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np

from delta_arb.errors import DataError, ParamsError
from delta_arb.market import ASSUMPTIONS, LEGS, PERP, SPOT, UPDATES, Book, utc
from delta_arb.numba_cache import read_only
from delta_arb.quotes.allocator import given_back, release, together
from delta_arb.quotes.checks import PIECE, Limits, Quotes, checked, first_back
from delta_arb.quotes.depth_and_trades import NO_DEPTH, NO_QUEUES, Depth, Queues
from delta_arb.quotes.files import LegFile, check_kind, sha256
from delta_arb.quotes.one_pass import merged, quick
from delta_arb.quotes.quality import Quality, leg_quality
from delta_arb.quotes.two_legs import compare_quotes, doubtful_unit, overlap_end, refuse_one_file

__all__ = ["PERP", "SPOT", "LegFile", "Limits", "Quality", "Quotes", "Tape", "align", "read", "sha256"]


class Books(NamedTuple):
    """One leg's books in turn, shape (m,): USDT per base unit, base units, and when each was last confirmed."""

    bid: np.ndarray
    ask: np.ndarray
    bid_qty: np.ndarray
    ask_qty: np.ndarray
    fresh_ns: np.ndarray


class _AtEvents:
    """A column of one leg as it was known at every event, made anew each time unless it is `at_hand`: take the rows first
    where few are wanted."""

    def __set_name__(self, tape: type, name: str) -> None:
        self.name, (self.leg, self.column) = name, name.split("_", 1)

    def __get__(self, tape: "Tape | None", _kind: type) -> Any:
        if tape is None:
            return self
        if tape.made is not None:
            return tape.made[self.name]
        books, row = getattr(tape, self.leg), getattr(tape, f"{self.leg}_row")
        if self.column != "age_ns":
            return _frozen(_at_rows(getattr(books, self.column), row))
        age_ns = _at_rows(books.fresh_ns, row)
        return _frozen(np.subtract(tape.ts_ns, age_ns, out=age_ns))


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Tape:
    """Both legs' books at every event, in time order: each leg's books once, and at each event which of them is in force.

    Args:
        ts_ns: int64, shape (n,), when the event was known to the receiver, UTC.
        leg: uint8, shape (n,), whose row the event is, `SPOT` or `PERP`.
        spot_row, perp_row: uint32, shape (n,), the numbers of the books in force at the event.
        spot, perp: the books. Sizes of zero on both sides mean that the book is withdrawn: its prices are the last tradable ones.
        spot_kind, perp_kind: 'updates' or 'snapshots'.
        quality: of the recordings the tape was read from (of candles a `CandleQuality`); None for one not read.
        bar_s: length of the bars behind a tape of candles, seconds; 0 for recorded quotes.
        queues: the trades of others on both venues, by which resting orders fill, and the place assumed; of a part of a tape all.
        depths: the five best levels of both legs where they were recorded, of a part of a tape all.
        made: the columns at every event, by name, where they are `at_hand`.

    Beside them the columns at every event, shape (n,), read-only: `spot_bid` ... `perp_ask_qty`, float64, and `spot_age_ns`
    and `perp_age_ns`, int64, time since that leg's book was last confirmed.

    Raises:
        DataError: arrays of another dtype or length, stamps that go back, a leg that is neither, a book that is not there.
        ParamsError: a kind that is neither.
    """

    ts_ns: np.ndarray
    leg: np.ndarray
    spot_row: np.ndarray
    perp_row: np.ndarray
    spot: Books
    perp: Books
    spot_kind: str = UPDATES
    perp_kind: str = UPDATES
    quality: Quality | None = None
    bar_s: float = 0.0
    queues: Queues = NO_QUEUES
    depths: tuple[Depth, Depth] = (NO_DEPTH, NO_DEPTH)
    made: dict[str, np.ndarray] | None = None

    spot_bid = _AtEvents()
    spot_ask = _AtEvents()
    spot_bid_qty = _AtEvents()
    spot_ask_qty = _AtEvents()
    perp_bid = _AtEvents()
    perp_ask = _AtEvents()
    perp_bid_qty = _AtEvents()
    perp_ask_qty = _AtEvents()
    spot_age_ns = _AtEvents()
    perp_age_ns = _AtEvents()

    def __post_init__(self) -> None:
        for name in EVENTS:
            object.__setattr__(self, name, _column(name, getattr(self, name), len(self.ts_ns)))
        for leg in LEGS:
            books, row = getattr(self, leg), getattr(self, f"{leg}_row")
            made = (_column(f"{leg}_{name}", getattr(books, name), len(books.bid)) for name in Books._fields)
            object.__setattr__(self, leg, Books(*made))
            if len(row) and (last := int(row.max())) >= len(books.bid):
                raise DataError(f"{leg}_row names the book {last} of {len(books.bid)}; number them from 0")
        if (at := first_back(self.ts_ns)) > 0:
            raise DataError(
                f"ts_ns goes back from {self.ts_ns[at - 1]} to {self.ts_ns[at]} at event {at}; sort the events"
            )
        if self.leg.max(initial=SPOT) > PERP:
            raise DataError(f"leg must be {SPOT} (spot) or {PERP} (perpetual), was {self.leg.max()}")
        check_kind("spot_kind", self.spot_kind)
        check_kind("perp_kind", self.perp_kind)

    @classmethod
    def of(cls, quotes: Iterable[Sequence[float]], *, spot_kind: str = UPDATES, perp_kind: str = UPDATES) -> "Tape":
        """A tape of hand-written quotes `(ts_ns, leg, bid, ask, bid_qty, ask_qty)`, in time order and unchecked.

        Each row confirms its book. The tape begins once both legs have a quote and goes on to the last one.

        Raises:
            DataError: a leg without a quote, or stamps that go back.
        """
        rows = list(quotes)
        spot, perp = (_quotes([row for row in rows if row[1] == leg]) for leg in (SPOT, PERP))
        return align(spot, perp, spot_kind=spot_kind, perp_kind=perp_kind)

    @classmethod
    def wide(cls, *columns: np.ndarray, **named) -> "Tape":
        """A tape of both books written out at every event: the columns of `TAPE_COLUMNS`, in this order or by name.

        Raises:
            DataError: as the tape itself.
        """
        of = dict(zip(TAPE_COLUMNS, columns, strict=False)) | named
        n = len(of["ts_ns"])
        given = {name: _column(name, of.pop(name), n) for name in TAPE_COLUMNS}
        events = {name: given[name] for name in ("ts_ns", "leg")}
        for leg in LEGS:
            books = Books(*(given[f"{leg}_{name}"] for name in _SHOWN), events["ts_ns"] - given[f"{leg}_age_ns"])
            another = np.ones(n, bool)
            another[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in books])
            events |= {leg: Books(*(column[another] for column in books)), f"{leg}_row": _counted(another)}
        return cls(**events, **of)

    def __len__(self) -> int:
        return len(self.ts_ns)

    def __repr__(self) -> str:
        span = f"{utc(self.start_ns)} to {utc(self.end_ns)} UTC, " if len(self) else ""
        return f"Tape({len(self):,} events, {span}spot {self.spot_kind}, perp {self.perp_kind})"

    def __reduce__(self):  # numpy forgets read-only when pickled; the books of other events stay behind
        parts = {f.name: getattr(self, f.name) for f in fields(self)} | {"made": None}
        for leg in LEGS if len(self) else ():
            row = parts[f"{leg}_row"]
            first, last = int(row.min()), int(row.max())
            parts[leg] = Books(*(column[first : last + 1] for column in parts[leg]))
            parts[f"{leg}_row"] = row - np.uint32(first)
        return type(self), tuple(parts.values())

    @property
    def nbytes(self) -> int:
        """What its columns take, bytes."""
        return sum(column.nbytes for column in (*(getattr(self, name) for name in EVENTS), *self.spot, *self.perp))

    def book(self, leg: int, event: int) -> Book:
        """A leg's book at an event, as Python numbers."""
        row = getattr(self, f"{LEGS[leg]}_row")[event]
        return Book(*(column[row].item() for column in getattr(self, LEGS[leg])))

    @property
    def start_ns(self) -> int:
        """Stamp of the first event; DataError for an empty tape."""
        return self._stamp(0)

    @property
    def end_ns(self) -> int:
        """Stamp of the last event (so `between(start_ns, end_ns)` excludes it); DataError for an empty tape."""
        return self._stamp(-1)

    def _stamp(self, event: int) -> int:
        if not len(self):
            raise DataError("an empty tape has no start and no end; choose a longer time range")
        return int(self.ts_ns[event])

    @property
    def settled(self) -> np.ndarray:
        """Whether an event is the last one of its instant, shape (n,): between two rows of one stamp no book ever stood."""
        return np.append(self.ts_ns[1:] != self.ts_ns[:-1], True)[: len(self)]

    def looks(self) -> "Tape":
        """The events on which something can be decided: all of them, or of candles the ends of bars."""
        if not self.bar_s:
            return self
        return self.take(self.settled & (np.where(self.leg == SPOT, self.spot_age_ns, self.perp_age_ns) == 0))

    def take(self, rows: np.ndarray | slice) -> "Tape":
        """The events of these rows (numbers in order, or a mask) with the same books; `quality` stays that of the whole."""
        made = self.made and {name: _frozen(column[rows]) for name, column in self.made.items()}
        return replace(self, **{name: getattr(self, name)[rows] for name in EVENTS}, made=made)

    def at_hand(self) -> "Tape":
        """The same with its columns at every event made once, for parts of it that are asked again and again: 80 bytes an event."""
        return replace(self, made={name: getattr(self, name) for name in TAPE_COLUMNS[2:]})

    def between(self, start_ns: int, end_ns: int) -> "Tape":
        """The events with `start_ns <= ts_ns < end_ns`, views on the same arrays; `quality` stays that of the whole."""
        start, stop = np.searchsorted(self.ts_ns, (start_ns, end_ns), "left")
        return self.take(slice(start, stop))

    def assuming(self, place: str) -> "Tape":
        """The same with another assumption about the place of resting orders: front, back or through."""
        if place == "middle":
            raise ParamsError(
                "middle is a share of the queue fitted to own fills, and none is fitted: say front, back or through"
            )
        if place not in ASSUMPTIONS:
            raise ParamsError(f"a resting order is at the {', '.join(ASSUMPTIONS)} of its queue, not {place!r}")
        return replace(self, queues=self.queues._replace(place=ASSUMPTIONS.index(place)))

    def to_frame(self):
        """The columns as a pandas table, indexed by UTC time."""
        import pandas as pd

        time = pd.to_datetime(self.ts_ns, utc=True).rename("time")
        return pd.DataFrame({name: getattr(self, name) for name in TAPE_COLUMNS}, index=time)


EVENTS = ("ts_ns", "leg", "spot_row", "perp_row")
_SHOWN = ("bid", "ask", "bid_qty", "ask_qty")
TAPE_COLUMNS = ("ts_ns", "leg", *(f"{leg}_{name}" for leg in LEGS for name in _SHOWN), "spot_age_ns", "perp_age_ns")
_DTYPES = {"ts_ns": np.int64, "leg": np.uint8, "spot_row": np.uint32, "perp_row": np.uint32}


def _column(name: str, column: np.ndarray, n: int) -> np.ndarray:
    """A read-only view of one column, or a refusal."""
    dtype = np.dtype(_DTYPES.get(name, np.int64 if name.endswith("_ns") else np.float64))
    if not isinstance(column, np.ndarray) or column.dtype != dtype or column.shape != (n,):
        was = f"{column.dtype} of shape {column.shape}" if isinstance(column, np.ndarray) else type(column).__name__
        raise DataError(f"{name} must be an array of {dtype} and shape ({n},), was {was}; convert it first")
    return _frozen(column.view())


def _frozen(column: np.ndarray) -> np.ndarray:
    column.flags.writeable = False
    return column


def _at_rows(column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Its values at these rows; piece by piece, since numpy turns all row numbers into wider ones first."""
    made = np.empty(len(row), column.dtype)
    for at in range(0, len(row), PIECE):
        made[at : at + PIECE] = column[row[at : at + PIECE]]
    return made


def _counted(another: np.ndarray) -> np.ndarray:
    """The number of the last row until each at which there was another."""
    row = np.cumsum(another, dtype=np.uint32)
    row -= np.uint32(1)
    return row


def _quotes(rows: Sequence[Sequence[float]]) -> Quotes:
    """Hand-written rows `(ts_ns, leg, bid, ask, bid_qty, ask_qty)` of one leg as columns."""
    ts_ns = np.array([row[0] for row in rows], np.int64)
    return Quotes(ts_ns, *(np.array([row[k] for row in rows], np.float64) for k in (2, 3, 4, 5)), ts_ns)


def read(
    spot: LegFile,
    perp: LegFile,
    *,
    max_bad_share: float = 0.05,
    max_jump: float = 0.10,
    gap_s: float = 5.0,
    max_quote_age_s: float = 1.0,
) -> Tape:
    """The event tape of two recordings, checked row by row (see `checks` for kinds and treatments).

    Args:
        max_bad_share: share of bad rows above which a leg is refused.
        max_jump: fraction of the mid beyond which one row's move is not believed.
        gap_s: pause above which the summary counts a gap, s.
        max_quote_age_s: age above which the summary calls a book stale or a row late, s.

    Raises:
        DataError: a missing, empty, unreadable or mixed file or folder; missing or unknown columns, a column
            of another type, a missing stamp; too many bad rows; no overlap in time. Names file, row and remedy.
        ParamsError: a limit out of bounds.
    """
    with given_back():
        return _read(spot, perp, Limits(max_bad_share, max_jump, gap_s, max_quote_age_s))


def _read(spot: LegFile, perp: LegFile, limits: Limits) -> Tape:
    refuse_one_file(spot, perp)
    (spot_found, spot_as), (perp_found, perp_as) = checked(spot, limits), checked(perp, limits)
    release()
    legs = spot_found.quotes, perp_found.quotes
    end_ns = overlap_end(spot, legs[SPOT], perp, legs[PERP])
    compare_quotes(spot, legs[SPOT], perp, legs[PERP])
    start_ns = int(max(quotes.ts_ns[0] for quotes in legs))
    spot_waits = (
        legs[PERP].ts_ns[0] == start_ns
    )  # at equal stamps it comes first, and the tape begins with the perpetual
    used = _used(legs[SPOT], start_ns + spot_waits, end_ns), _used(legs[PERP], start_ns, end_ns)
    quality = Quality(
        spot=leg_quality(spot.name, spot.kind, spot_found, used[SPOT], start_ns, end_ns, limits),
        perp=leg_quality(perp.name, perp.kind, perp_found, used[PERP], start_ns, end_ns, limits),
        limits=limits,
        start_ns=start_ns,
        end_ns=end_ns,
        events=sum(used),
        taken_for=(spot_as, perp_as),
        notes=doubtful_unit(perp, legs[PERP].bid_qty, perp_as),
    )
    events = _merged(*legs, start_ns, end_ns)
    return Tape(**events, spot_kind=spot.kind, perp_kind=perp.kind, quality=quality)


def align(
    spot: Quotes, perp: Quotes, *, spot_kind: str = UPDATES, perp_kind: str = UPDATES, end_ns: int | None = None
) -> Tape:
    """Both legs' quotes as one tape: every row an event, spot before perpetual at equal stamps.

    Begins with the first event at which both legs have a row; ends with `end_ns`, included, or with the last row.
    The rows of each leg must be in time order.

    Raises:
        DataError: a leg without a row, or in wrong order; no event at which both legs have one.
    """
    if not len(spot) or not len(perp):
        raise DataError(f"both legs need a quote, had {len(spot)} of spot and {len(perp)} of the perpetual")
    first_ns = int(max(spot.ts_ns[0], perp.ts_ns[0]))
    if end_ns is not None and end_ns < first_ns:
        raise DataError(
            f"both legs have a book from {first_ns} ns on, the tape was to end at {end_ns} ns; end it later"
        )
    return Tape(**_merged(spot, perp, first_ns, end_ns), spot_kind=spot_kind, perp_kind=perp_kind)


def _used(quotes: Quotes, start_ns: int, end_ns: int) -> int:
    """How many rows of a leg are events between two stamps, both included."""
    first, last = np.searchsorted(quotes.ts_ns, start_ns, "left"), np.searchsorted(quotes.ts_ns, end_ns, "right")
    return int(last - first)


def _merged(spot: Quotes, perp: Quotes, first_ns: int, end_ns: int | None) -> dict:
    """The fields of a tape from `first_ns` on: stamps and legs of its events, the rows in force, and the books of both legs."""
    legs = [_in_force(leg, first_ns, end_ns) for leg in (spot, perp)]
    spot_ns, perp_ns = stamps = tuple(leg.ts_ns for leg in legs)
    early, late, side = (spot_ns, perp_ns, "right") if spot_ns[0] <= perp_ns[0] else (perp_ns, spot_ns, "left")
    begin = int(np.searchsorted(early, late[0], side))  # before it, one leg has no book yet
    columns = together({name: _DTYPES[name] for name in EVENTS}, len(spot_ns) + len(perp_ns) - begin)
    if whole := quick(merged, len(spot_ns) + len(perp_ns)):
        whole(begin, *read_only(stamps), *columns.values())
    else:
        order = np.argsort(np.concatenate(stamps), kind="stable")  # a stable sort of two sorted runs is a merge
        of_perp = order >= len(spot_ns)
        made = np.concatenate(stamps)[order], of_perp, _counted(~of_perp), _counted(of_perp)
        for column, values in zip(columns.values(), made, strict=True):
            column[:] = values[begin:]
    books = (Books(*(getattr(leg, name) for name in Books._fields)) for leg in legs)
    return columns | dict(zip(LEGS, books, strict=True))


def _in_force(leg: Quotes, first_ns: int, end_ns: int | None) -> Quotes:
    """The rows from the one in force just before `first_ns` to `end_ns`, included."""
    if first_back(leg.ts_ns) > 0:
        raise DataError("the quotes of a leg go back in time; sort them by stamp")
    start = max(int(np.searchsorted(leg.ts_ns, first_ns, "left")) - 1, 0)
    stop = len(leg) if end_ns is None else int(np.searchsorted(leg.ts_ns, end_ns, "right"))
    return leg.rows(start, stop)
