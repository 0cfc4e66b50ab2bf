"""Two recordings in, one event tape out: read, checked, joined on one clock; nothing is repaired silently.

`recording` says what a recording looks like on disk; the kinds of bad row and what is done about each are the table
at the top of `defects`. The tape has one event per row of either leg, in time order, and each event carries both
books as they were known then. It begins with the first event at which both legs have had a good row, and ends,
inclusive, at the earlier of both last rows. Stamps are the receiver's; those of a venue get the leg's feed latency
added first. Needs pyarrow and numpy; pandas is loaded by `to_frame` only.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from delta_arb.errors import DataError, ParamsError
from delta_arb.formats.read import Recognised
from delta_arb.market import ASSUMPTIONS, NS, PERP, SPOT, UPDATES, utc
from delta_arb.numba_cache import compiled, read_only
from delta_arb.quotes import one_pass
from delta_arb.quotes.allocator import block, given_back, release
from delta_arb.quotes.checks import Checked, Limits, Quotes, check, first_back, refuse_if_bad
from delta_arb.quotes.depth import NO_DEPTH, Depth
from delta_arb.quotes.files import LegFile, check_kind, coins_a_unit, rows_of, sha256
from delta_arb.quotes.one_pass import filled, merged
from delta_arb.quotes.prints import NO_QUEUES, Queues
from delta_arb.quotes.quality import Quality, leg_quality
from delta_arb.quotes.two_legs import compare_quotes, doubtful_unit, refuse_one_file

__all__ = ["PERP", "SPOT", "LegFile", "Limits", "Quality", "Quotes", "Tape", "align", "read", "sha256"]


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Tape:
    """Both legs' books at every event, one read-only array of shape (n,) per column, in time order.

    Args:
        ts_ns: int64, when the event was known to the receiver, UTC.
        leg: uint8, whose row the event is, `SPOT` or `PERP`.
        spot_bid ... perp_ask_qty: float64, USDT per base unit and base units. Sizes of zero on both sides mean that
            the book is withdrawn: its prices are the last tradable ones.
        spot_age_ns, perp_age_ns: int64, time since that leg's book was last confirmed.
        spot_kind, perp_kind: 'updates' or 'snapshots'.
        quality: of the recordings the tape was read from (of candles a `CandleQuality`); None for one not read.
        bar_s: length of the bars behind a tape of candles, seconds; 0 for recorded quotes.
        queues: the trades of others on both venues, by which resting orders fill, and the place assumed; of a part of a tape all.
        depths: the five best levels of both legs where they were recorded, of a part of a tape all.

    Raises:
        DataError: arrays of another dtype or length, stamps that go back, a leg that is neither.
        ParamsError: a kind that is neither.
    """

    ts_ns: np.ndarray
    leg: np.ndarray
    spot_bid: np.ndarray
    spot_ask: np.ndarray
    spot_bid_qty: np.ndarray
    spot_ask_qty: np.ndarray
    perp_bid: np.ndarray
    perp_ask: np.ndarray
    perp_bid_qty: np.ndarray
    perp_ask_qty: np.ndarray
    spot_age_ns: np.ndarray
    perp_age_ns: np.ndarray
    spot_kind: str = UPDATES
    perp_kind: str = UPDATES
    quality: Quality | None = None
    bar_s: float = 0.0
    queues: Queues = NO_QUEUES
    depths: tuple[Depth, Depth] = (NO_DEPTH, NO_DEPTH)

    def __post_init__(self) -> None:
        for name in TAPE_COLUMNS:
            object.__setattr__(self, name, _column(name, getattr(self, name), len(self.ts_ns)))
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

    def __len__(self) -> int:
        return len(self.ts_ns)

    def __repr__(self) -> str:
        span = f"{utc(self.start_ns)} to {utc(self.end_ns)} UTC, " if len(self) else ""
        return f"Tape({len(self):,} events, {span}spot {self.spot_kind}, perp {self.perp_kind})"

    def __reduce__(self):
        return type(self), tuple(getattr(self, f.name) for f in fields(self))  # numpy forgets read-only when pickled

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

    def take(self, rows: np.ndarray) -> "Tape":
        """The events of these rows (numbers in order, or a mask); `quality` stays that of the whole."""
        return replace(self, **{name: getattr(self, name)[rows] for name in TAPE_COLUMNS})

    def between(self, start_ns: int, end_ns: int) -> "Tape":
        """The events with `start_ns <= ts_ns < end_ns`, views on the same arrays; `quality` stays that of the whole."""
        start, stop = np.searchsorted(self.ts_ns, (start_ns, end_ns), "left")
        return replace(self, **{name: getattr(self, name)[start:stop] for name in TAPE_COLUMNS})

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


_FILLED = ("fresh_ns", "bid", "ask", "bid_qty", "ask_qty")  # as `one_pass.filled` takes them
TAPE_COLUMNS = tuple(f.name for f in fields(Tape) if f.type is np.ndarray)
LINE = 64  # bytes of a cache line
_DTYPES = {"ts_ns": np.int64, "leg": np.uint8, "spot_age_ns": np.int64, "perp_age_ns": np.int64}


def _column(name: str, column: np.ndarray, n: int) -> np.ndarray:
    """A read-only view of one column, or a refusal."""
    dtype = np.dtype(_DTYPES.get(name, np.float64))
    if not isinstance(column, np.ndarray) or column.dtype != dtype or column.shape != (n,):
        was = f"{column.dtype} of shape {column.shape}" if isinstance(column, np.ndarray) else type(column).__name__
        raise DataError(f"{name} must be an array of {dtype} and shape ({n},), was {was}; convert it first")
    view = column.view()
    view.setflags(write=False)
    return view


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
    """The event tape of two recordings, checked row by row (see `defects` for kinds and treatments).

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
    (spot_found, spot_as), (perp_found, perp_as) = _checked(spot, limits), _checked(perp, limits)
    release()
    legs = spot_found.quotes, perp_found.quotes
    end_ns = overlap_end(spot, legs[SPOT], perp, legs[PERP])
    compare_quotes(spot, legs[SPOT], perp, legs[PERP])
    start_ns = int(max(quotes.ts_ns[0] for quotes in legs))
    spot_waits = (
        legs[PERP].ts_ns[0] == start_ns
    )  # at equal stamps spot comes first, and the tape begins with the perpetual
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
    both = [_columns(quotes) for quotes in legs]
    del (
        legs,
        spot_found,
        perp_found,
    )  # their columns go one by one as the tape's are made: together they do not fit twice
    tape = _aligned(*both, start_ns, end_ns)
    return Tape(**tape, spot_kind=spot.kind, perp_kind=perp.kind, quality=quality)


def overlap_end(spot: LegFile, spot_quotes: Quotes, perp: LegFile, perp_quotes: Quotes) -> int:
    """The earlier of both last stamps; refuses legs that never have a book at the same time."""
    ends = int(spot_quotes.ts_ns[-1]), int(perp_quotes.ts_ns[-1])
    starts = int(spot_quotes.ts_ns[0]), int(perp_quotes.ts_ns[0])
    if max(starts) > min(ends):
        raise DataError(
            f"{spot.name} and {perp.name} do not overlap in time: spot {utc(starts[0])} to {utc(ends[0])}, perpetual "
            f"{utc(starts[1])} to {utc(ends[1])} UTC; give recordings of the same hours, and check units and time zones"
        )
    return min(ends)


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
    return Tape(**_aligned(_columns(spot), _columns(perp), first_ns, end_ns), spot_kind=spot_kind, perp_kind=perp_kind)


def _used(quotes: Quotes, start_ns: int, end_ns: int) -> int:
    """How many rows of a leg are events between two stamps, both included."""
    first, last = np.searchsorted(quotes.ts_ns, start_ns, "left"), np.searchsorted(quotes.ts_ns, end_ns, "right")
    return int(last - first)


def _columns(quotes: Quotes) -> dict[str, np.ndarray]:
    return {f.name: getattr(quotes, f.name) for f in fields(Quotes)}


def _aligned(
    spot: dict[str, np.ndarray], perp: dict[str, np.ndarray], first_ns: int, end_ns: int | None
) -> dict[str, np.ndarray]:
    """The tape's columns from `first_ns` on; those of the legs are taken out of their dicts as they are used up."""
    for leg in (spot, perp):
        _in_force(leg, first_ns, end_ns)
    if len(spot["ts_ns"]) + len(perp["ts_ns"]) >= one_pass.WORTH:
        return _in_one_pass(spot, perp)
    ts_ns, leg = _merged(spot.pop("ts_ns"), perp.pop("ts_ns"))
    begin = int((leg != leg[0]).argmax())  # before it, one leg has no book yet
    row = np.cumsum(leg, dtype=np.int32 if len(leg) < 2**31 else np.int64)[begin:]  # rows of the perpetual so far
    ts_ns, leg = ts_ns[begin:], leg[begin:]
    row -= 1
    perp_columns = _filled("perp", perp, row, ts_ns)
    np.subtract(
        np.arange(begin - 1, begin - 1 + len(row), dtype=row.dtype), row, out=row
    )  # of k + 1 events so far, the rest are spot's
    return {"ts_ns": ts_ns, "leg": leg, **_filled("spot", spot, row, ts_ns), **perp_columns}


def _in_one_pass(spot: dict[str, np.ndarray], perp: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same columns, merged straight into place: no sort, no index, no gathers."""
    spot_ns, perp_ns = read_only((spot.pop("ts_ns"), perp.pop("ts_ns")))
    spot_first = bool(spot_ns[0] <= perp_ns[0])
    early, late, side = (spot_ns, perp_ns, "right") if spot_first else (perp_ns, spot_ns, "left")
    begin = int(np.searchsorted(early, late[0], side))  # before it, one leg has no book yet
    columns = _empty(len(spot_ns) + len(perp_ns) - begin)
    compiled(merged)(begin, spot_ns, perp_ns, columns["ts_ns"], columns["leg"])
    del spot_ns, perp_ns, early, late
    for number, (name, leg) in enumerate((("spot", spot), ("perp", perp))):
        before = begin - 1 if spot_first == (number == SPOT) else -1
        made = tuple(columns[f"{name}_{column.replace('fresh', 'age')}"] for column in _FILLED)
        rows = read_only(tuple(leg.pop(column) for column in _FILLED))
        compiled(filled)(columns["ts_ns"], columns["leg"], number, before, rows, made)
        del rows
        release()
    return columns


def _empty(n: int) -> dict[str, np.ndarray]:
    """The columns of a tape in one block, each on a cache line of its own."""
    dtypes = {name: np.dtype(_DTYPES.get(name, np.float64)) for name in TAPE_COLUMNS}
    starts = np.cumsum([0, *(-(-n * dtype.itemsize // LINE) * LINE for dtype in dtypes.values())]).tolist()
    whole = block(starts[-1])
    return {
        name: whole[start : start + n * dtype.itemsize].view(dtype)
        for start, (name, dtype) in zip(starts, dtypes.items(), strict=False)
    }


def _in_force(leg: dict[str, np.ndarray], first_ns: int, end_ns: int | None) -> None:
    """Keep the rows from the one in force just before `first_ns` to `end_ns`, included."""
    ts_ns = leg["ts_ns"]
    if first_back(ts_ns) > 0:
        raise DataError("the quotes of a leg go back in time; sort them by stamp")
    start = max(int(np.searchsorted(ts_ns, first_ns, "left")) - 1, 0)
    stop = len(ts_ns) if end_ns is None else int(np.searchsorted(ts_ns, end_ns, "right"))
    leg.update({name: column[start:stop] for name, column in leg.items()})


def _merged(spot_ns: np.ndarray, perp_ns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All stamps in order, and the leg of each; a stable sort of two sorted runs is a merge."""
    stamps = np.concatenate((spot_ns, perp_ns))
    order = np.argsort(stamps, kind="stable")
    return stamps[order], (order >= len(spot_ns)).view(np.uint8)


def _filled(name: str, leg: dict[str, np.ndarray], row: np.ndarray, ts_ns: np.ndarray) -> dict[str, np.ndarray]:
    """The tape's columns of one leg, whose row `row[k]` is in force at event k."""
    columns = {f"{name}_{column}": leg.pop(column)[row] for column in ("bid", "ask", "bid_qty", "ask_qty")}
    age_ns = leg.pop("fresh_ns")[row]
    return {**columns, f"{name}_age_ns": np.subtract(ts_ns, age_ns, out=age_ns)}


def _checked(leg: LegFile, limits: Limits) -> tuple[Checked, Recognised | None]:
    """The good and withdrawn quotes of one recording, in base units on the receiver's clock, or a refusal.

    Beside them what a file of another layout than ours was taken for.
    """
    rows = rows_of(leg)
    found = check(rows, limits)
    refuse_if_bad(found, rows, limits)
    return replace(found, quotes=_received(found.quotes, leg, coins_a_unit(leg, rows.recognised))), rows.recognised


def _received(quotes: Quotes, leg: LegFile, coins: float) -> Quotes:
    """The quotes in base units, of which a unit of size is `coins`, and when they arrived."""
    if coins != 1:
        quotes = replace(quotes, bid_qty=quotes.bid_qty * coins, ask_qty=quotes.ask_qty * coins)
    if leg.feed_latency_s:
        latency_ns = round(leg.feed_latency_s * NS)
        quotes = replace(quotes, ts_ns=quotes.ts_ns + latency_ns, fresh_ns=quotes.fresh_ns + latency_ns)
    return quotes
