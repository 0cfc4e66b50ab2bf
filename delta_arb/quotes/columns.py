"""A file of our own layout as arrays: Parquet or CSV with exactly the columns that `files` names, nothing judged."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from delta_arb.errors import DataError
from delta_arb.market import NS

STAMP, VENUE_STAMP = "timestamp", "venue_timestamp"
COLUMNS = (STAMP, "bid_price", "bid_quantity", "ask_price", "ask_quantity")
CANDLES = (STAMP, "open", "high", "low", "close", "volume")
STAMPS = (STAMP, VENUE_STAMP)
NUMBERS = tuple(name for name in (*COLUMNS, *CANDLES) if name not in STAMPS)
FORMATS = (".parquet", ".csv")
EARLIEST_NS = 100_000_000 * NS  # 1973: a whole number below it is a time in another unit, or none


class OtherUnitError(DataError):
    """Whole numbers that are times in another unit than ns, or none."""


def is_ours(path: Path, wanted: Sequence[str]) -> bool:
    """Whether a file has exactly our columns, in any order."""
    names = names_in(path)
    return set(names) - {VENUE_STAMP} == set(wanted) and len(set(names)) == len(names)


def names_in(file: Path) -> list[str]:
    """The names of the columns of a Parquet or CSV file; DataError where it cannot be read."""
    try:
        if file.suffix == ".csv":
            with file.open(newline="", encoding="utf-8-sig") as lines:
                return next(csv.reader(lines), [])
        return pa.parquet.read_schema(file).names
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read: {error}; mend it or record again") from error


def columns_of(path: Path) -> dict[str, list[np.ndarray]]:
    """The columns of one file, each in pieces; arrow's own errors end here."""
    try:
        table = _csv_table(path) if path.suffix == ".csv" else _parquet_table(path)
        names = table.column_names
        return {name: (_stamps if name in STAMPS else _numbers)(table[name], name, path) for name in names}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        row = re.search(r"Row #(\d+)", str(error))  # of a CSV file, where the header is row 1
        where = f", row {int(row[1]) - 2}" if row else ""
        raise DataError(f"{path}{where}: cannot be read: {error}; mend that part or record again") from error


def _parquet_table(path: Path) -> pa.Table:
    with pa.parquet.ParquetFile(path, memory_map=True) as file:
        return file.read()


def _csv_table(path: Path) -> pa.Table:
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file)
        names = next(lines, [])
        first = next(lines, [""] * len(names))
    if not names:
        raise DataError(f"{path} has no rows; give a recording that contains quotes")
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
    if sum(map(len, pieces)) and max(piece.max(initial=0) for piece in pieces) < EARLIEST_NS:
        raise OtherUnitError(f"{path}: {name} holds whole numbers that are no nanoseconds")
    return pieces
