"""What a data file holds, whatever it is written in: a table whose columns have names, or only places.

A path may name a table inside a file: `research.duckdb#quotes_spot`, `research.h5#/SYN/spot/quotes`. A folder with a
Delta log or with partitions (`venue=mexc/`) is one table. Text is read as text: what it means is `stamps`' and
`proofs`' to say. HDF5 and DuckDB need packages of their own (PyTables and DuckDB).
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa

from delta_arb.errors import DataError
from delta_arb.formats import databases, text, typed
from delta_arb.formats.raw_table import SUFFIXES, RawTable, form, split


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
    reader = typed.of_folder if file.is_dir() else _READERS.get(form(path))
    if reader is None:
        raise DataError(f"{path}: files of this kind are not read; convert it to one of {' '.join(SUFFIXES)}")
    try:
        return reader(path, wanted, begin)
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, ValueError, KeyError) as error:
        raise DataError(f"{path}: cannot be read: {error}; mend that part or record again") from error


_READERS: dict[str, Callable] = {
    ".csv": text.of_csv, ".gz": text.of_csv, ".json": text.of_json, ".jsonl": text.of_json,
    ".parquet": typed.of_parquet, ".feather": typed.of_feather, ".arrow": typed.of_arrow, ".arrows": typed.of_arrow,
    ".npz": typed.of_numpy, ".npy": typed.of_numpy, ".h5": databases.of_hdf5, ".hdf5": databases.of_hdf5,
    ".duckdb": databases.of_duckdb, ".sqlite": databases.of_sqlite, ".db": databases.of_sqlite,
}  # fmt: skip
