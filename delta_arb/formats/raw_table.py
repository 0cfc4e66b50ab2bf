"""A table as it lies in a file, before anything is made of it."""

import gzip
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

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
