"""Two recordings in, one event tape out: read, checked, joined on one clock; nothing is repaired silently.

A recording is a Parquet or CSV file, or a folder of either, with the columns

    timestamp, bid_price, bid_quantity, ask_price, ask_quantity [, venue_timestamp]

(timestamps of any unit in UTC, or int64 ns). The row checks and their treatments are the table at the top of
`quality`. The tape has one event per update of either leg, in time order, and each event carries both books as
they were known then. It begins with the first event at which both legs have had a tradable row, and ends,
inclusive, at the earlier of both last rows. Needs pyarrow and numpy; pandas is loaded by `to_frame` only.
"""

import csv
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from .errors import DataError, ParamsError
from .market import NS, PERP, SNAPSHOTS, SPOT, UPDATES, utc
from .quality import Checked, Limits, Quality, Quotes, Rows, check, leg_quality, refuse_if_bad

NUMBERS = ("bid_price", "ask_price", "bid_quantity", "ask_quantity")
COLUMNS = ("timestamp", *NUMBERS)
VENUE_COLUMN = "venue_timestamp"
_FORMATS = (".parquet", ".csv")
_EARLIEST_NS = 100_000_000 * NS  # 1973: an integer stamp below it is in another unit


@dataclass(frozen=True, slots=True)
class LegFile:
    """Where one leg's recording is and how it was made.

    Args:
        path: a .parquet or .csv file, or a folder of files of one of the two kinds, joined in the order of their names.
        kind: 'updates' (a row per change) or 'snapshots' (polled; nobody knows the book between two rows).
        contract_size: base units per unit of the quantity columns.
        clock: whose clock `timestamp` is, 'receiver' or 'venue'.
        feed_latency_s: added to each stamp of the venue's clock, > 0 then; 0 with the receiver's.

    Raises:
        ParamsError: a value out of bounds, or a latency that does not go with the clock.
    """

    path: str | Path
    kind: str
    contract_size: float = 1.0
    clock: str = "receiver"
    feed_latency_s: float = 0.0

    def __post_init__(self) -> None:
        _check_kind("kind", self.kind)
        if not 0 < self.contract_size < np.inf:
            raise ParamsError(f"contract_size must be positive, was {self.contract_size}; take it from the venue's contract list")
        if self.clock not in ("receiver", "venue"):
            raise ParamsError(f"clock must be 'receiver' or 'venue', was {self.clock!r}; say whose clock stamped the rows")
        if self.clock == "venue" and not 0 < self.feed_latency_s < np.inf:
            raise ParamsError(
                f"feed_latency_s must be positive with clock='venue', was {self.feed_latency_s}; "
                "nobody has a quote at the moment the venue stamps it, give the time it takes to arrive"
            )
        if self.clock == "receiver" and self.feed_latency_s != 0:
            raise ParamsError(
                f"feed_latency_s goes with clock='venue' only, was {self.feed_latency_s}; the receiver's clock already contains it"
            )


def _check_kind(name: str, kind: str) -> None:
    if kind not in (UPDATES, SNAPSHOTS):
        raise ParamsError(f"{name} must be {UPDATES!r} or {SNAPSHOTS!r}, was {kind!r}; say how the recording was made")


@dataclass(frozen=True, slots=True, eq=False)
class Tape:
    """Both legs' books at every event, one read-only array of shape (n,) per column, in time order.

    Args:
        ts_ns: int64, when the event was known to the receiver, UTC.
        leg: uint8, whose row the event is, `SPOT` or `PERP`.
        spot_bid ... perp_ask_qty: float64, USDT per base unit and base units. Sizes of zero on both sides mean that
            the book is withdrawn: its prices are the last tradable ones.
        spot_age_ns, perp_age_ns: int64, time since that leg's book was last confirmed.
        spot_kind, perp_kind: 'updates' or 'snapshots'.
        quality: of the recordings the tape was read from; None for a tape that was not read.

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

    def __post_init__(self) -> None:
        for name in TAPE_COLUMNS:
            object.__setattr__(self, name, _column(name, getattr(self, name), len(self.ts_ns)))
        if (self.ts_ns[1:] < self.ts_ns[:-1]).any():
            at = int((self.ts_ns[1:] < self.ts_ns[:-1]).argmax()) + 1
            raise DataError(f"ts_ns goes back at event {at}, from {self.ts_ns[at - 1]} to {self.ts_ns[at]}; sort the events by time")
        if (self.leg > PERP).any():
            raise DataError(f"leg must be {SPOT} (spot) or {PERP} (perpetual), was {self.leg.max()}")
        _check_kind("spot_kind", self.spot_kind)
        _check_kind("perp_kind", self.perp_kind)

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
        return Tape, tuple(getattr(self, f.name) for f in fields(self))  # numpy forgets read-only when pickled

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

    def between(self, start_ns: int, end_ns: int) -> "Tape":
        """The events with `start_ns <= ts_ns < end_ns`, as views on the same arrays; `quality` stays that of the whole."""
        start, stop = np.searchsorted(self.ts_ns, (start_ns, end_ns), "left")
        return replace(self, **{name: getattr(self, name)[start:stop] for name in TAPE_COLUMNS})

    def to_frame(self):
        """The columns as a pandas table, indexed by UTC time."""
        import pandas as pd

        return pd.DataFrame({name: getattr(self, name) for name in TAPE_COLUMNS}, index=pd.to_datetime(self.ts_ns, utc=True).rename("time"))


TAPE_COLUMNS = tuple(f.name for f in fields(Tape) if f.type is np.ndarray)
_DTYPES = {"ts_ns": np.int64, "leg": np.uint8, "spot_age_ns": np.int64, "perp_age_ns": np.int64}


def _column(name: str, column: np.ndarray, n: int) -> np.ndarray:
    """A read-only view of one column, or a refusal."""
    dtype = np.dtype(_DTYPES.get(name, np.float64))
    if not isinstance(column, np.ndarray) or column.dtype != dtype or column.shape != (n,):
        was = f"{column.dtype} of shape {column.shape}" if isinstance(column, np.ndarray) else type(column).__name__
        raise DataError(f"{name} must be an array of {dtype} and shape ({n},), was {was}; convert it before building a Tape")
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
    """The event tape of two recordings, checked row by row (see `quality` for kinds and treatments).

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
    limits = Limits(max_bad_share, max_jump, gap_s, max_quote_age_s)
    spot_found, perp_found = _checked(spot, limits), _checked(perp, limits)
    end_ns = _overlap_end(spot, spot_found.quotes, perp, perp_found.quotes)
    tape = align(spot_found.quotes, perp_found.quotes, spot_kind=spot.kind, perp_kind=perp.kind, end_ns=end_ns)
    perp_used = int(np.count_nonzero(tape.leg))
    span = tape.start_ns, tape.end_ns, limits
    return replace(
        tape,
        quality=Quality(
            leg_quality(str(spot.path), spot.kind, spot_found, len(tape) - perp_used, *span),
            leg_quality(str(perp.path), perp.kind, perp_found, perp_used, *span),
            limits, tape.start_ns, tape.end_ns, len(tape),
        ),
    )  # fmt: skip


def _overlap_end(spot: LegFile, spot_quotes: Quotes, perp: LegFile, perp_quotes: Quotes) -> int:
    """The earlier of both last stamps; refuses legs that never have a book at the same time."""
    ends = int(spot_quotes.ts_ns[-1]), int(perp_quotes.ts_ns[-1])
    starts = int(spot_quotes.ts_ns[0]), int(perp_quotes.ts_ns[0])
    if max(starts) > min(ends):
        raise DataError(
            f"{spot.path} and {perp.path} do not overlap in time: spot {utc(starts[0])} to {utc(ends[0])}, perpetual "
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
        DataError: a leg without a row, or in wrong order.
    """
    if not len(spot) or not len(perp):
        raise DataError(f"both legs need a quote, had {len(spot)} of spot and {len(perp)} of the perpetual")
    first_ns = max(spot.ts_ns[0], perp.ts_ns[0])
    spot, perp = _in_force(spot, first_ns, end_ns), _in_force(perp, first_ns, end_ns)
    ts_ns, leg = _merged(spot.ts_ns, perp.ts_ns)
    begin = int((leg != leg[0]).argmax())  # before it, one leg has no book yet
    row = np.cumsum(leg, dtype=np.int64)[begin:]  # rows of the perpetual so far
    ts_ns, leg = ts_ns[begin:], leg[begin:]
    row -= 1
    perp_columns = _filled("perp", perp, row, ts_ns)
    np.subtract(np.arange(begin - 1, begin - 1 + len(row)), row, out=row)  # of k + 1 events so far, the rest are spot's
    spot_columns = _filled("spot", spot, row, ts_ns)
    return Tape(ts_ns=ts_ns, leg=leg, **spot_columns, **perp_columns, spot_kind=spot_kind, perp_kind=perp_kind)


def _in_force(quotes: Quotes, first_ns: int, end_ns: int | None) -> Quotes:
    """The rows from the one in force just before `first_ns` to `end_ns`, included."""
    if (quotes.ts_ns[1:] < quotes.ts_ns[:-1]).any():
        raise DataError("the quotes of a leg go back in time; sort them by stamp")
    start = max(int(np.searchsorted(quotes.ts_ns, first_ns, "left")) - 1, 0)
    stop = len(quotes) if end_ns is None else int(np.searchsorted(quotes.ts_ns, end_ns, "right"))
    return quotes.rows(start, stop)


def _merged(spot_ns: np.ndarray, perp_ns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All stamps in order, and the leg of each; a stable sort of two sorted runs is a merge."""
    stamps = np.concatenate((spot_ns, perp_ns))
    order = np.argsort(stamps, kind="stable")
    return stamps[order], (order >= len(spot_ns)).view(np.uint8)


def _filled(name: str, quotes: Quotes, row: np.ndarray, ts_ns: np.ndarray) -> dict[str, np.ndarray]:
    """The tape's columns of one leg, whose row `row[k]` is in force at event k."""
    columns = {f"{name}_{column}": getattr(quotes, column)[row] for column in ("bid", "ask", "bid_qty", "ask_qty")}
    age_ns = quotes.fresh_ns[row]
    return {**columns, f"{name}_age_ns": np.subtract(ts_ns, age_ns, out=age_ns)}


def _checked(leg: LegFile, limits: Limits) -> Checked:
    """The quotes of one recording on the receiver's clock, or a refusal."""
    rows, parts = _rows(leg)
    found = check(rows, limits)
    refuse_if_bad(found, rows, limits, lambda row: _located(parts, row))
    return found


def _rows(leg: LegFile) -> tuple[Rows, list[tuple[Path, int]]]:
    """The rows of a recording in base units on the receiver's clock, and each file with its number of rows."""
    columns: dict[str, list[np.ndarray]] = {}
    parts = []
    for path in _files(Path(leg.path)):
        table = _table(path)
        names = set(table.column_names)
        if parts and names != set(columns):
            raise DataError(f"{path} has the columns {sorted(names)}, {parts[0][0]} has {sorted(columns)}; record a folder in one form")
        if VENUE_COLUMN in names and leg.clock == "venue":
            raise DataError(f"{path} has both stamps ({VENUE_COLUMN}); declare clock='receiver', the legs are joined on its clock")
        for name in table.column_names:
            columns.setdefault(name, []).extend((_numbers if name in NUMBERS else _stamps)(table[name], path))
        parts.append((path, len(table)))
    if not sum(n for _, n in parts):
        raise DataError(f"{leg.path} has no rows; give a recording that contains quotes")
    whole = {name: _joined(columns.pop(name)) for name in list(columns)}
    rows = Rows(*(whole.get(name) for name in (*COLUMNS, VENUE_COLUMN)))
    return _in_base_units(rows, leg), parts


def _in_base_units(rows: Rows, leg: LegFile) -> Rows:
    if leg.feed_latency_s:
        rows = replace(rows, ts_ns=rows.ts_ns + round(leg.feed_latency_s * NS))
    if leg.contract_size != 1:
        rows = replace(rows, bid_qty=rows.bid_qty * leg.contract_size, ask_qty=rows.ask_qty * leg.contract_size)
    return rows


def _joined(pieces: list[np.ndarray]) -> np.ndarray:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _located(parts: list[tuple[Path, int]], row: int) -> str:
    """The file and the number within it of a row of the whole recording."""
    for path, n in parts:
        if row < n:
            break
        row -= n
    return f"{path}, row {row}"


def _files(path: Path) -> list[Path]:
    """The files of a recording in the order of their names; other kinds of file in a folder are left alone."""
    if not path.exists():
        raise DataError(f"{path} does not exist; download or record it first, or correct the path")
    if not path.is_dir():
        if path.suffix not in _FORMATS:
            raise DataError(f"{path} is neither {' nor '.join(_FORMATS)}; convert it to one of them")
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in _FORMATS)
    if not files:
        raise DataError(f"the folder {path} holds no {' or '.join(_FORMATS)} file; give the folder of one leg's recording")
    if len({file.suffix for file in files}) > 1:
        raise DataError(f"the folder {path} mixes {' and '.join(_FORMATS)} files; keep one form of the recording in it")
    return files


def _table(path: Path) -> pa.Table:
    """The rows of one file; its columns are the known ones."""
    try:
        if path.suffix == ".csv":
            return _csv_table(path)
        file = pa.parquet.ParquetFile(path)
        _check_names(path, file.schema_arrow.names)
        return file.read(use_threads=False)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        row = re.search(r"Row #(\d+)", str(error))  # counts the header as row 1
        where = f", row {int(row[1]) - 2}" if row else ""
        raise DataError(f"{path}{where}: cannot be read: {error}; mend or remove that row, or record the file again") from error


def _csv_table(path: Path) -> pa.Table:
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file)
        names, first = next(lines, []), next(lines, [])
    if not names:
        raise DataError(f"{path} has no rows; give a recording that contains quotes")
    _check_names(path, names)
    types = dict.fromkeys(NUMBERS, pa.float64()) | {
        name: _csv_stamp(cell) for name, cell in zip(names, first, strict=False) if name not in NUMBERS
    }
    return pa.csv.read_csv(
        path, read_options=pa.csv.ReadOptions(use_threads=False), convert_options=pa.csv.ConvertOptions(column_types=types)
    )


def _csv_stamp(cell: str) -> pa.DataType:
    """The type of a column of stamps, from its first cell: int64 ns, or ISO time with or without a zone."""
    if cell.lstrip("-").isdigit():
        return pa.int64()
    return pa.timestamp("ns", "UTC" if re.search(r"(Z|:\d\d.*[+-]\d\d(:?\d\d)?)$", cell) else None)


def _check_names(path: Path, names: Sequence[str]) -> None:
    missing = [name for name in COLUMNS if name not in names]
    unknown = [name for name in names if name not in (*COLUMNS, VENUE_COLUMN)]
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if missing or unknown or twice:
        wrong = "; ".join(f"{what} {which}" for what, which in (("missing", missing), ("unknown", unknown), ("twice", twice)) if which)
        raise DataError(
            f"{path}: columns {wrong}; found {list(names)}; rename or drop columns so that there are exactly "
            f"{', '.join(COLUMNS)}, and {VENUE_COLUMN} if recorded"
        )


def _numbers(column: pa.ChunkedArray, path: Path) -> list[np.ndarray]:
    """The column as float64 arrays, null as NaN; copies only what it must convert."""
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise DataError(f"{path}: a price or quantity column holds {column.type}, not numbers; write it as 64-bit floats")
    column = column.cast(pa.float64())
    if column.null_count:
        column = pa.compute.fill_null(column, np.nan)
    return [np.from_dlpack(chunk) for chunk in column.chunks]  # to_numpy would load pandas


def _stamps(column: pa.ChunkedArray, path: Path) -> list[np.ndarray]:
    """The column as int64 arrays of ns; naive times are UTC."""
    if column.null_count:
        row = column.is_null().index(True).as_py()
        raise DataError(f"{path}, row {row}: the row has no stamp; remove it, its place in time is not known")
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ns", column.type.tz))
        return [np.from_dlpack(chunk.view(pa.int64())) for chunk in column.chunks]
    if not pa.types.is_integer(column.type):
        raise DataError(f"{path}: stamps are {column.type}; write UTC timestamps or int64 nanoseconds")
    stamps = [np.from_dlpack(chunk) for chunk in column.cast(pa.int64()).chunks]
    if stamps and max(chunk.max(initial=0) for chunk in stamps) < _EARLIEST_NS:
        raise DataError(f"{path}, row 0: the integer stamp {stamps[0][0]} is before 1973 in ns; multiply milliseconds by 1000000")
    return stamps


def sha256(path: str | Path) -> str:
    """Hex digest of a recording's bytes: the file, or the folder's files in the order of their names."""
    digest = hashlib.sha256()
    for file in _files(Path(path)):
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
