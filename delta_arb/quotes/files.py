"""One leg's recording as it lies on disk: which files, how they were made, their columns as arrays; nothing is judged.

A recording is a Parquet or CSV file, or a folder of files of one of the two kinds, with exactly the columns

    timestamp, bid_price, bid_quantity, ask_price, ask_quantity [, venue_timestamp]      quotes
    timestamp, open, high, low, close, volume                                            candles (see `candles`)

`timestamp` and `venue_timestamp` are UTC times of any unit (ISO in CSV, naive times are UTC) or int64 ns; the others
are numbers, null is NaN. pyarrow and numpy only: numpy is handed arrow's memory itself, because arrow's own
`to_numpy` and `scalar` load pandas wherever it is installed, and the live runner replays tapes without it.
"""

import csv
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from delta_arb.errors import DataError, ParamsError
from delta_arb.market import NS, SNAPSHOTS, UPDATES

STAMP, VENUE_STAMP = "timestamp", "venue_timestamp"
COLUMNS = (STAMP, "bid_price", "bid_quantity", "ask_price", "ask_quantity")
CANDLES = (STAMP, "open", "high", "low", "close", "volume")
STAMPS = (STAMP, VENUE_STAMP)
NUMBERS = tuple(name for name in (*COLUMNS, *CANDLES) if name not in STAMPS)
FORMATS = (".parquet", ".csv")
_EARLIEST_NS = 100_000_000 * NS  # 1973: an integer stamp below it is in another unit, today's milliseconds are 1.8e12


@dataclass(frozen=True, slots=True)
class LegFile:
    """Where one leg's recording is and how it was made.

    Args:
        path: a .parquet or .csv file, or a folder of files of one of the two kinds, joined in the order of their names.
        kind: 'updates' (a row per change) or 'snapshots' (polled; nobody knows the book between two rows).
        contract_size: base units per unit of the quantity columns.
        clock: whose clock `timestamp` is, 'receiver' or 'venue'. With the receiver's, an optional column
            `venue_timestamp` tells how late each row was; it serves its age alone.
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
        check_kind("kind", self.kind)
        if not 0 < self.contract_size < np.inf:
            raise ParamsError(
                f"contract_size must be positive, was {self.contract_size}; take it from the venue's contract list"
            )
        if self.clock not in ("receiver", "venue"):
            raise ParamsError(
                f"clock must be 'receiver' or 'venue', was {self.clock!r}; say whose clock stamped the rows"
            )
        if self.clock == "venue" and not 0 < self.feed_latency_s < np.inf:
            raise ParamsError(
                f"feed_latency_s must be positive with clock='venue', was {self.feed_latency_s}; "
                "nobody has a quote at the moment the venue stamps it, give the time it takes to arrive"
            )
        if self.clock == "receiver" and self.feed_latency_s != 0:
            raise ParamsError(
                f"feed_latency_s goes with clock='venue', was {self.feed_latency_s}; the receiver's stamps contain it"
            )


def check_kind(name: str, kind: str) -> None:
    """Refuse a kind of recording that is neither (ParamsError)."""
    if kind not in (UPDATES, SNAPSHOTS):
        raise ParamsError(f"{name} must be {UPDATES!r} or {SNAPSHOTS!r}, was {kind!r}; say how the recording was made")


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of one leg as recorded: arrays of shape (n,), USDT per base unit and the file's own unit of quantity.

    `ts_ns` is the stamp, `venue_ns` the venue's where both were recorded; `parts` are the files with their rows.
    """

    ts_ns: np.ndarray
    bid: np.ndarray
    bid_qty: np.ndarray
    ask: np.ndarray
    ask_qty: np.ndarray
    venue_ns: np.ndarray | None = None
    parts: tuple[tuple[Path, int], ...] = ()

    def __len__(self) -> int:
        return len(self.ts_ns)

    def columns(self) -> list[np.ndarray]:
        """The arrays there are, stamps first."""
        return [column for f in fields(self)[:-1] if (column := getattr(self, f.name)) is not None]

    def take(self, at: np.ndarray) -> "Rows":
        return Rows(*(column[at] for column in self.columns()))

    def located(self, row: int) -> str:
        """The file of a row and its number there, counted from 0 without the header, as words."""
        return located(self.parts, row)


def located(parts: Sequence[tuple[Path, int]], row: int) -> str:
    """The same of the files with their rows."""
    for path, n in parts:
        if row < n:
            return f"{path}, row {row}"
        row -= n
    return f"row {row}"


def rows_of(leg: LegFile) -> Rows:
    """All rows of a recording, in the order of the files.

    Raises:
        DataError: nothing there, nothing in it, another format or a mixture, unreadable, missing or unknown
            columns, a column of another type, a row without a stamp. Names file, row and remedy.
    """
    whole, parts = whole_columns(leg, COLUMNS)
    return Rows(*(whole.get(name) for name in (*COLUMNS, VENUE_STAMP)), parts)


def whole_columns(leg: LegFile, wanted: Sequence[str]) -> tuple[dict[str, np.ndarray], tuple[tuple[Path, int], ...]]:
    """The columns of all files of a recording, joined, and the files with their rows; errors as `rows_of`."""
    columns: dict[str, list[np.ndarray]] = {}
    parts: list[tuple[Path, int]] = []
    for path in _files(Path(leg.path)):
        part = _columns(path, wanted)
        if parts and set(part) != set(columns):
            raise DataError(
                f"{path} has the columns {sorted(part)}, {parts[0][0]} has {sorted(columns)}; record in one form"
            )
        if VENUE_STAMP in part and leg.clock == "venue":
            raise DataError(
                f"{path} has both stamps ({VENUE_STAMP}); declare clock='receiver', the legs are joined on its clock"
            )
        for name, pieces in part.items():
            columns.setdefault(name, []).extend(pieces)
        parts.append((path, sum(map(len, part[STAMP]))))
    if not sum(n for _, n in parts):
        raise DataError(f"{leg.path} has no rows; give a recording that contains quotes")
    return {name: _joined(columns.pop(name)) for name in list(columns)}, tuple(parts)


def is_candles(path: str | Path) -> bool:
    """Whether the first file of a recording has the columns of candles; DataError where it cannot be read."""
    file = _files(Path(path))[0]
    try:
        if file.suffix == ".csv":
            with file.open(newline="", encoding="utf-8-sig") as lines:
                names = next(csv.reader(lines), [])
        else:
            names = pa.parquet.read_schema(file).names
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read: {error}; mend it or record again") from error
    return set(CANDLES[1:]) <= set(names)


def _joined(pieces: list[np.ndarray]) -> np.ndarray:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _files(path: Path) -> list[Path]:
    """The files of a recording in the order of their names; other kinds of file in a folder are left alone."""
    if not path.exists():
        raise DataError(f"{path} does not exist; download or record it first, or correct the path")
    if not path.is_dir():
        if path.suffix not in FORMATS:
            raise DataError(f"{path} is neither {' nor '.join(FORMATS)}; convert it to one of them")
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in FORMATS)
    if not files:
        raise DataError(
            f"the folder {path} holds no {' or '.join(FORMATS)} file; give the folder of one leg's recording"
        )
    if len({file.suffix for file in files}) > 1:
        raise DataError(f"the folder {path} mixes {' and '.join(FORMATS)} files; keep one form of the recording in it")
    return files


def _columns(path: Path, wanted: Sequence[str]) -> dict[str, list[np.ndarray]]:
    """The columns of one file, each in pieces; arrow's own errors end here."""
    try:
        table = _csv_table(path, wanted) if path.suffix == ".csv" else _parquet_table(path, wanted)
        names = table.column_names
        return {name: (_stamps if name in STAMPS else _numbers)(table[name], name, path) for name in names}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        row = re.search(r"Row #(\d+)", str(error))  # of a CSV file, where the header is row 1
        where = f", row {int(row[1]) - 2}" if row else ""
        raise DataError(f"{path}{where}: cannot be read: {error}; mend that part or record again") from error


def _parquet_table(path: Path, wanted: Sequence[str]) -> pa.Table:
    with pa.parquet.ParquetFile(path) as file:
        _check_names(path, file.schema_arrow.names, wanted)
        return file.read(use_threads=False)


def _csv_table(path: Path, wanted: Sequence[str]) -> pa.Table:
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file)
        names = next(lines, [])
        first = next(lines, [""] * len(names))
    if not names:
        raise DataError(f"{path} has no rows; give a recording that contains quotes")
    _check_names(path, names, wanted)
    stamps = {name: _csv_stamp(cell) for name, cell in zip(names, first, strict=False) if name in STAMPS}
    return pa.csv.read_csv(
        path,
        read_options=pa.csv.ReadOptions(use_threads=False),
        convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(NUMBERS, pa.float64()) | stamps),
    )


def _csv_stamp(cell: str) -> pa.DataType:
    """The type of a column of stamps, from its first cell: int64 ns, or ISO time with or without a zone.

    Left to itself, arrow takes whole seconds in the first block for the unit of the column.
    """
    if cell.lstrip("-").isdigit():
        return pa.int64()
    return pa.timestamp("ns", "UTC" if re.search(r"(Z|:\d\d.*[+-]\d\d(:?\d\d)?)$", cell) else None)


def _check_names(path: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    found, optional = list(names), (VENUE_STAMP,) if wanted == COLUMNS else ()
    wrong = {
        "missing": [name for name in wanted if name not in found],
        "unknown": [name for name in found if name not in (*wanted, *optional)],
        "twice": sorted({name for name in found if found.count(name) > 1}),
    }
    if any(wrong.values()):
        what = ", ".join(f"{how} {which}" for how, which in wrong.items() if which)
        raise DataError(
            f"{path}: columns {what}; found {found}; rename or drop columns so that there are exactly "
            f"{', '.join(wanted)}{f', and {VENUE_STAMP} if it was recorded' if optional else ''}"
        )


def _numbers(column: pa.ChunkedArray, name: str, path: Path) -> list[np.ndarray]:
    """The column as float64 arrays, null as NaN; copies only what it must convert."""
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise DataError(f"{path}: {name} holds {column.type}, not numbers; write it as 64-bit floats")
    return [_floats(chunk) for chunk in column.cast(pa.float64()).chunks]


def _floats(chunk: pa.Array) -> np.ndarray:
    if not chunk.null_count:
        return np.from_dlpack(chunk)
    values = pa.Array.from_buffers(chunk.type, len(chunk), [None, chunk.buffers()[1]], offset=chunk.offset)
    return np.where(_nulls(chunk), np.nan, np.from_dlpack(values))


def _nulls(chunk: pa.Array) -> np.ndarray:
    return np.from_dlpack(chunk.is_null().cast(pa.uint8())).view(bool)


def _stamps(column: pa.ChunkedArray, name: str, path: Path) -> list[np.ndarray]:
    """The column as int64 arrays of ns."""
    if column.null_count:
        row = int(np.concatenate([_nulls(chunk) for chunk in column.chunks]).argmax())
        raise DataError(f"{path}, row {row}: {name} is empty; remove the row, its place in time is not known")
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ns", column.type.tz))
        return [np.from_dlpack(chunk.view(pa.int64())) for chunk in column.chunks]
    if not pa.types.is_integer(column.type):
        raise DataError(f"{path}: {name} holds {column.type}; write UTC times or int64 nanoseconds")
    pieces = [np.from_dlpack(chunk) for chunk in column.cast(pa.int64()).chunks]
    if sum(map(len, pieces)) and max(piece.max(initial=0) for piece in pieces) < _EARLIEST_NS:
        first = next(int(piece[0]) for piece in pieces if len(piece))
        raise DataError(f"{path}, row 0: {name} is {first}, before 1973 if it is ns; multiply milliseconds by 1000000")
    return pieces


def sha256(path: str | Path) -> str:
    """Hex digest of a recording's bytes: the file, or the folder's files in the order of their names."""
    digest = hashlib.sha256()
    for file in _files(Path(path)):
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
