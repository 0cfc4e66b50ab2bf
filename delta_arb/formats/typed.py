"""Typed files as tables: Parquet, Arrow, Feather, numpy, and folders of Parquet that are one table."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet

from delta_arb.errors import DataError
from delta_arb.formats.raw_table import RawTable, named, only, split


def of_parquet(path, wanted, begin) -> RawTable:
    with pa.parquet.ParquetFile(split(path)[0]) as file:
        return named(path, _decoded(file.read(use_threads=False)), wanted)


def of_arrow(path, wanted, begin) -> RawTable:
    with pa.memory_map(str(split(path)[0])) as source:
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
