"""A table as it lies in a typed file, a folder of Parquet, a database or in memory, before anything is made of it."""

import gzip
import importlib
import json
import re
import sqlite3
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet

from delta_arb.errors import DataError

SUFFIXES = (
    ".csv", ".parquet", ".feather", ".arrow", ".arrows", ".json", ".jsonl", ".npz", ".npy", ".gz", ".zip",
    ".h5", ".hdf5", ".duckdb", ".sqlite", ".db",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RawTable:
    """A table as it lies in a file.

    `named` says whether the file names its columns; if not, they are called "0", "1", ... Names are lower case with
    _ for spaces. `whole` is False where only the beginning was read, to recognise it.
    """

    path: str
    table: pa.Table
    named: bool = True
    whole: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.table.column_names)


def split(path: str | Path) -> tuple[Path, str]:
    """The file of a path, and the table inside it that is named after a #."""
    file, _, inside = str(path).partition("#")
    return Path(file), inside


def form(path: str | Path) -> str:
    """The suffix that says what a file is written in, lower case; of a packed one that of what is in it."""
    file = split(path)[0]
    if file.suffix.lower() == ".zip" and file.exists():
        return Path(_member(file)).suffix.lower()
    suffixes = [suffix.lower() for suffix in file.suffixes]
    packed = suffixes[-1:] == [".gz"] and suffixes[-2:-1] and suffixes[-2] in SUFFIXES
    return (suffixes[-2] if packed else suffixes[-1]) if suffixes else ""


def _member(file: Path) -> str:
    """The one file in a .zip, as Binance publishes them."""
    try:
        with zipfile.ZipFile(file) as packed:
            names = packed.namelist()
    except zipfile.BadZipFile as error:
        raise DataError(f"{file}: cannot be read: {error}; download it again") from error
    if len(names) != 1:
        raise DataError(f"{file} holds {len(names)} files; unpack the one that is meant")
    return names[0]


def clean(name: str) -> str:
    """A column's name in one spelling: lower case, _ between words."""
    return re.sub(r"[\s\-]+", "_", name.strip().lower())


def named(path, table: pa.Table, wanted) -> RawTable:
    """A typed table, its columns renamed to one spelling; DataError where two have one name."""
    names = [clean(name) for name in table.column_names]
    refuse_twice(path, names)
    kept = [k for k, name in enumerate(names) if not wanted or name in wanted[0]]
    return RawTable(str(path), pa.table([table.column(k) for k in kept], names=[names[k] for k in kept]))


def refuse_twice(path, names: list[str]) -> None:
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: columns twice {twice}; rename or drop one, they cannot be told apart")


def only(columns: dict, wanted) -> dict:
    return columns if not wanted else {name: columns[name] for name in wanted[0]}


def column_of(values: list) -> pa.Array:
    """One JSON column: numbers stay numbers, anything mixed becomes text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float}:
        return pa.array(values, pa.int64() if kinds == {int} else pa.float64())
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def file_bytes(path: str | Path, limit: int = -1) -> bytes:
    """The bytes of a file, unpacked; of a text only the first `limit`."""
    file = split(path)[0]
    if file.suffix.lower() == ".zip":
        with zipfile.ZipFile(file) as packed, packed.open(_member(file)) as stream:
            return stream.read(limit)
    opened = gzip.open if file.suffix.lower() == ".gz" else open
    with opened(file, "rb") as stream:
        return stream.read(limit)


def of_parquet(path, wanted, begin) -> RawTable:
    with pa.parquet.ParquetFile(split(path)[0]) as file:
        return named(path, _decoded(file.read(use_threads=False)), wanted)


def of_arrow(path, wanted, begin) -> RawTable:
    with pa.OSFile(str(split(path)[0])) as source:  # of a map a file that is cut meanwhile ends the process
        try:
            table = pa.ipc.open_file(source).read_all()
        except pa.ArrowInvalid:
            source.seek(0)
            table = pa.ipc.open_stream(source).read_all()
    return named(path, table, wanted)


def of_feather(path, wanted, begin) -> RawTable:
    return named(path, pa.feather.read_table(split(path)[0], use_threads=False), wanted)


def of_numpy(path, wanted, begin) -> RawTable:
    loaded = np.load(split(path)[0], allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return _of_array(path, loaded, wanted)
    with loaded:
        if len(loaded.files) == 1:
            return _of_array(path, loaded[loaded.files[0]], wanted)
        return named(path, pa.table({name: loaded[name] for name in loaded.files}), wanted)


def _of_array(path, array: np.ndarray, wanted) -> RawTable:
    if array.dtype.names:
        return named(path, pa.table({name: array[name].copy() for name in array.dtype.names}), wanted)
    if array.ndim != 2:
        raise DataError(f"{path} holds an array of shape {array.shape}; rows and columns are needed")
    columns = {str(k): array[:, k].copy() for k in range(array.shape[1])}
    return RawTable(str(path), pa.table(only(columns, wanted)), named=False)


def _decoded(table: pa.Table) -> pa.Table:
    """Fixed-point numbers of a nautilus catalog (16 bytes, units of 1e-16, 8 bytes of 1e-9) as floats; JSON in binary as text."""
    facts = {
        k.decode(): v.decode()
        for k, v in (table.schema.metadata or {}).items()
        if k.endswith((b"_precision", b"ment_id"))
    }
    digits = {name: int(value) for name, value in facts.items() if name.endswith("_precision")}
    for k, field in enumerate(table.schema):
        column = table.column(k)
        if pa.types.is_fixed_size_binary(field.type) and field.type.byte_width in (8, 16):
            size = "size" in field.name or field.name == "volume"
            places = digits.get("size_precision" if size else "price_precision", 9)
            scale = 10**16 if field.type.byte_width == 16 else 10**9
            cells = [round(int.from_bytes(cell, "little", signed=True) / scale, places) for cell in column.to_pylist()]
            table = table.set_column(k, field.name, pa.array(cells, pa.float64()))
        elif pa.types.is_binary(field.type):
            cells = [None if cell is None else cell.decode().strip('"') for cell in column.to_pylist()]
            table = table.set_column(k, field.name, pa.array(cells, pa.string()))
    if digits and "instrument_id" in facts and "instrument_id" not in table.column_names:
        table = table.append_column("instrument_id", pa.array([facts["instrument_id"]] * len(table)))
    return table


def of_folder(path, wanted, begin) -> RawTable:
    """A Delta table by its log, or partitions whose folders carry values (`venue=mexc`)."""
    file = split(path)[0]
    parts = _delta_parts(file) if (file / "_delta_log").is_dir() else sorted(file.rglob("*=*/*.parquet"))
    if not parts:
        raise DataError(f"{path} holds neither a Delta log nor partitions; give one table")
    tables = [_with_partition(of_parquet(part, None, begin).table, part.relative_to(file)) for part in parts]
    return named(path, pa.concat_tables(tables, promote_options="default"), wanted)


def _delta_parts(file: Path) -> list[Path]:
    """The files that make up the table now: a Delta folder also keeps those it has replaced."""
    kept: dict[str, None] = {}
    if list((file / "_delta_log").glob("*.checkpoint*.parquet")):
        raise DataError(f"{file} has checkpoints in its log; write the table out as Parquet")
    for entry in sorted((file / "_delta_log").glob("*.json")):
        for action in map(json.loads, entry.read_text().splitlines()):
            if "add" in action and action["add"].get("deletionVector"):
                raise DataError(f"{file} has deletion vectors; write the table out as Parquet")
            if "add" in action:
                kept[action["add"]["path"]] = None
            elif "remove" in action:
                kept.pop(action["remove"]["path"], None)
    return [file / part for part in kept]


def _with_partition(table: pa.Table, part: Path) -> pa.Table:
    for folder in part.parts[:-1]:
        name, equals, value = folder.partition("=")
        if equals and name not in table.column_names:
            table = table.append_column(name, pa.array([value] * len(table), pa.string()))
    return table


def _chosen(path, tables: Sequence[str]) -> str:
    inside = split(path)[1]
    if inside in tables:
        return inside
    if not inside and len(tables) == 1:
        return tables[0]
    raise DataError(
        f"{path}: which of its tables? Name one behind a #: {', '.join(f'{split(path)[0].name}#{t}' for t in tables)}"
    )


def of_sqlite(path, wanted, begin) -> RawTable:

    connection = sqlite3.connect(f"{split(path)[0].resolve().as_uri()}?mode=ro", uri=True)
    try:
        names = [
            name for (name,) in connection.execute("select name from sqlite_master where type in ('table', 'view')")
        ]
        cursor = connection.execute(f'select * from "{_chosen(path, sorted(names))}"')
        columns = zip(*cursor.fetchall(), strict=True)
        made = {d[0]: column_of(list(values)) for d, values in zip(cursor.description, columns, strict=True)}
    except sqlite3.DatabaseError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    finally:
        connection.close()
    return named(path, pa.table(made), wanted)


def of_duckdb(path, wanted, begin) -> RawTable:
    duckdb = _package("duckdb", path)
    with duckdb.connect(str(split(path)[0]), read_only=True) as connection:
        names = [row[0] for row in connection.execute("select table_name from duckdb_tables()").fetchall()]
        found = connection.sql(f'select * from "{_chosen(path, sorted(names))}"').to_arrow_table()
    return named(path, found, wanted)


def of_hdf5(path, wanted, begin) -> RawTable:
    _package("tables", path)
    import pandas as pd

    with pd.HDFStore(str(split(path)[0]), "r") as store:
        frame = store[_chosen(path, store.keys())]
    return of_frame(frame, str(path), wanted)


def of_frame(frame, path: str = "the table", wanted=None) -> RawTable:
    """A pandas table; an index that has a name or holds times is a column like the others."""
    if frame.index.name is not None or str(frame.index.dtype).startswith("datetime"):
        frame = frame.rename_axis(index=frame.index.name or "timestamp").reset_index()
    return named(path, pa.Table.from_pandas(frame, preserve_index=False), wanted)


def _package(name: str, path):

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DataError(
            f"{path}: reading it needs the package {name}; pip install {name}, or export to Parquet"
        ) from error
