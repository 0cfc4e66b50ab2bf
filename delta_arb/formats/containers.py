"""What a data file holds, whatever it is written in: a table whose columns have names, or only places.

A path may name a table inside a file: `research.duckdb#quotes_spot`, `research.h5#/SYN/spot/quotes`. A folder with a
Delta log or with partitions (`venue=mexc/`) is one table. Text (CSV with or
without a header, JSON, the lines of a collector of messages) is read as text: what it means is `columns`' to say. HDF5
and DuckDB need packages of their own (PyTables and DuckDB).
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from delta_arb.errors import DataError
from delta_arb.formats.raw_table import (
    SUFFIXES,
    RawTable,
    clean,
    column_of,
    file_bytes,
    form,
    named,
    of_arrow,
    of_duckdb,
    of_feather,
    of_folder,
    of_hdf5,
    of_numpy,
    of_parquet,
    of_sqlite,
    only,
    refuse_twice,
    split,
)

_HEAD = 1 << 18  # bytes of a text that are enough to recognise it
_RULER = b"=========="
_NULLS = ["", "null", "NULL", "None", "nan", "NaN", "N/A"]
_COLLECTOR = re.compile(r"\d{19} \{")  # lines of hftbacktest's collector: ns, a space, the venue's message


def of_csv(path, wanted, begin) -> RawTable:
    start = file_bytes(path, _HEAD)
    lines = start.decode("utf-8-sig").splitlines()
    if len(start) == _HEAD:
        lines = lines[:-1]  # the last one may be cut
    if lines and _COLLECTOR.match(lines[0]):
        return _collector(path, wanted)
    shape = _shape(path, lines)
    text = "\n".join(lines).encode() if begin else file_bytes(path)
    keep, numbers = wanted or (shape.names, set())
    return RawTable(str(path), _csv_table(text, shape, keep, numbers), shape.named, not begin)


@dataclass(frozen=True, slots=True)
class _Shape:
    """How a CSV text is laid out: lines before the rows, names of the columns and whether they are the file's own."""

    skip: int
    names: list[str]
    named: bool
    separator: str = ","
    decimal: str = "."


def _csv_table(text: bytes, shape: _Shape, keep: Sequence[str], numbers: set[str]) -> pa.Table:
    # Backtrader rules its rows off from the report behind them.
    ruled = text.find(b"\n" + _RULER, len(_RULER)) if text.startswith(_RULER) else -1
    return pa.csv.read_csv(
        io.BytesIO(text if ruled < 0 else text[:ruled]),
        read_options=pa.csv.ReadOptions(use_threads=False, column_names=shape.names, skip_rows=shape.skip),
        parse_options=pa.csv.ParseOptions(delimiter=shape.separator),
        convert_options=pa.csv.ConvertOptions(
            column_types={name: pa.float64() if name in numbers else pa.string() for name in keep},
            include_columns=keep,
            null_values=_NULLS,
            strings_can_be_null=True,
            decimal_point=shape.decimal,
        ),
    )


def _separator(lines: Sequence[str]) -> str:
    """What stands between the columns: of tab, semicolon, bar and comma the first that every line has equally often."""
    for separator in "\t;|":
        counts = {line.count(separator) for line in lines[2:8] or lines}
        if len(counts) == 1 and counts.pop():
            return separator
    return ","


def _shape(path, lines: Sequence[str]) -> _Shape:
    """The shape of a text by its first lines; DataError where there are no rows.

    A header of several rows (pandas' column levels) gives names of all levels, joined by a dot. Semicolons come with
    decimal commas in countries that write them.
    """
    separator = _separator(lines)
    rows = [next(csv.reader([line], delimiter=separator), []) for line in lines[:12]]
    comma = separator == ";" and any(re.fullmatch(r"-?\d+,\d+", cell) for row in rows for cell in row)
    if comma:
        rows = [[cell.replace(",", ".") for cell in row] for row in rows]
    skip = 1 if rows and len(rows[0]) == 1 and len(rows) > 1 and len(rows[1]) > 1 else 0  # a title or a ruler
    rows = rows[skip:]
    if not rows:
        raise DataError(f"{path} has no rows; give a recording that contains quotes")
    at = next((k for k, row in enumerate(rows) if _is_data(row)), None)
    if at is None:
        raise DataError(
            f"{path} has a header and no rows; give a recording that contains quotes"
            if len(rows) == 1
            else f"{path}: none of its first {len(rows)} rows has a time or a price; give a recording that contains quotes"
        )
    width = len(rows[at])
    if at == 0 or all(cell.isdigit() for cell in rows[at - 1]):
        return _Shape(skip + at, [str(k) for k in range(width)], False, separator, "," if comma else ".")
    names = [clean(name) for name in (rows[0] if at == 1 else _levels(rows[:at]))]
    if not skip:  # below a title stands a report of several tables side by side, of which the first is meant
        refuse_twice(path, names)
    names = [name if name and names.index(name) == k else f"{name}#{k}" for k, name in enumerate(names)]
    return _Shape(skip + at, names, True, separator, "," if comma else ".")


def _levels(rows: Sequence[Sequence[str]]) -> list[str]:
    """Names of columns with several header rows; the last row names the index, or nothing."""
    first, *_ = (row[0] for row in reversed(rows) if row and row[0])
    columns = [".".join(filter(None, (row[k] for row in rows))) for k in range(1, len(rows[0]))]
    tails = {name.partition(".")[2] for name in columns}
    return [first, *(name.partition(".")[0] if len(tails) == 1 else name for name in columns)]


def _is_data(row: Sequence[str]) -> bool:
    """A row of data begins with a number or a time, or holds one, where a header holds only words."""
    cells = [cell for cell in row if cell]
    return (
        len(cells) > 1
        and any(_is_value(cell) for cell in cells)
        and not all(cell.isdigit() and len(cell) < 3 for cell in cells)
    )


def _is_value(cell: str) -> bool:
    return bool(re.fullmatch(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?%?|\d{4}-\d\d-\d\d.*", cell.strip()))


def _collector(path, wanted) -> RawTable:
    """Best quotes of lines `<ns received> <message>`; other messages are left out."""
    rows = []
    for line in file_bytes(path).decode().splitlines():
        message = json.loads(line[20:])
        message = message.get("data", message)
        if message.get("e") == "bookTicker":
            rows.append({"local_ts": int(line[:19]), **{name: message[name] for name in "TbBaA"}})
    if not rows:
        raise DataError(f"{path} has no bookTicker message; record best quotes")
    table = pa.Table.from_pylist(rows).rename_columns(
        ["local_ts", "transaction_ms", "b_price", "b_qty", "a_price", "a_qty"]
    )
    return named(path, table, wanted)


def of_json(path, wanted, begin) -> RawTable:
    text = file_bytes(path).decode("utf-8-sig")
    rows = [json.loads(line) for line in text.splitlines() if line] if form(path) == ".jsonl" else json.loads(text)
    return _of_rows(path, rows, wanted)


def _of_rows(path, rows, wanted) -> RawTable:
    """Rows of a JSON text: dictionaries, lists, pandas' split form, or one of these in an answer of a venue."""
    if isinstance(rows, dict) and {"columns", "data"} <= rows.keys():
        rows = [dict(zip(rows["columns"], row, strict=True)) for row in rows["data"]]
    while isinstance(rows, dict):
        inner = [value for value in rows.values() if isinstance(value, list | dict) and value]
        if (
            all(isinstance(value, list) for value in inner)
            and len({len(value) for value in inner}) == 1
            and len(inner) > 1
        ):
            return named(path, pa.table({k: column_of(v) for k, v in rows.items() if isinstance(v, list)}), wanted)
        if len(inner) != 1:
            raise DataError(f"{path} has no list of rows; give the list itself")
        rows = inner[0]
    if not rows:
        raise DataError(f"{path} has no rows; give a recording that contains quotes")
    if isinstance(rows[0], dict):
        names = [name for name in rows[0] if not isinstance(rows[0][name], dict | list)]
        return named(path, pa.table({name: column_of([row.get(name) for row in rows]) for name in names}), wanted)
    columns = {str(k): column_of([row[k] for row in rows]) for k in range(len(rows[0]))}
    return RawTable(str(path), pa.table(only(columns, wanted)), named=False)


def head(path: str | Path) -> RawTable:
    """What is needed to recognise a file: its beginning where it is text, else all of it.

    Raises:
        DataError: no such file, a form that is not read, or bytes that are not of that form.
    """
    return _opened(path, None, True)


def whole(path: str | Path, columns: Iterable[str], numbers: Iterable[str] = ()) -> RawTable:
    """The named columns of a file, of text those in `numbers` as 64-bit floats and the others as they stand."""
    return _opened(path, (list(dict.fromkeys(columns)), set(numbers)), False)


def _opened(path: str | Path, wanted: tuple[list[str], set[str]] | None, begin: bool) -> RawTable:
    file, _ = split(path)
    if not file.exists():
        raise DataError(f"{path} does not exist; download or record it first, or correct the path")
    reader = of_folder if file.is_dir() else _READERS.get(form(path))
    if reader is None:
        raise DataError(f"{path}: files of this kind are not read; convert it to one of {' '.join(SUFFIXES)}")
    try:
        return reader(path, wanted, begin)
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, ValueError, KeyError) as error:
        raise DataError(f"{path}: cannot be read: {error}; mend that part or record again") from error


_READERS: dict[str, Callable] = {
    ".csv": of_csv, ".gz": of_csv, ".json": of_json, ".jsonl": of_json,
    ".parquet": of_parquet, ".feather": of_feather, ".arrow": of_arrow, ".arrows": of_arrow,
    ".npz": of_numpy, ".npy": of_numpy, ".h5": of_hdf5, ".hdf5": of_hdf5,
    ".duckdb": of_duckdb, ".sqlite": of_sqlite, ".db": of_sqlite,
}  # fmt: skip
