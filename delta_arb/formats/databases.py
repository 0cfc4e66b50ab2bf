"""Tables inside a database file, and in memory. DuckDB and HDF5 need packages of their own."""

import importlib
import sqlite3
from collections.abc import Sequence

import pyarrow as pa

from delta_arb.errors import DataError
from delta_arb.formats.raw_table import RawTable, column_of, named, split


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
