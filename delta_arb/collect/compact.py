"""Finished streams become one Parquet file a pair, those of a finished day one file: differences of integers, zstd, a
checksum on every page and a digest of all numbers.

    streams/quotes/2026-01-31T08-15-02.123456789.arrows  ->  LUNC_USDT/quotes/2026-01-31T08-15-02.123456789.parquet, and so each pair
    LUNC_USDT/quotes/2026-01-31T*.parquet             ->  LUNC_USDT/quotes/2026-01-31.parquet

A file is written beside, read back, and renamed; then only what it was made of is deleted. Whatever is killed in between
is done again, and until then each row is read once (see `quotes.recorded`). The recorder has it done by a process of its
own, at low priority: `python -m delta_arb.collect.compact` with the work as JSON on its standard input.
"""

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from delta_arb.errors import DataError
from delta_arb.quotes.recorded import DIGEST, SOURCES, STREAMS, digest, read_parquet, span
from delta_arb.quotes.stream_file import HEADER, LAYOUTS, STREAM, RecordedLayout, log_of, read_stream

DAY = len("2026-01-31")
LOW_PRIORITY = 10


def to_compact(market: Path, now_ns: int) -> list[Path]:
    """What there is in a market's folder: streams, growing ones too, then datasets with a finished day."""
    streams = (path for name in LAYOUTS for path in sorted((market / STREAMS / name).glob(f"*{STREAM}")))
    folders = (folder for name in LAYOUTS for folder in sorted(market.glob(f"*/{name}")))
    return [*streams, *(folder for folder in folders if _finished_days(folder, now_ns))]


def compacted_aside(market: Path, work: Sequence[Path]) -> list[tuple[Path, str]]:
    """Have it done by another process; returns the damaged files and what is wrong with them, which stay."""
    command = [sys.executable, "-m", "delta_arb.collect.compact", str(market)]
    paths = json.dumps([str(path) for path in work])
    done = subprocess.run(command, input=paths, stdout=subprocess.PIPE, text=True, start_new_session=True, check=False)
    if done.returncode:
        return [(market, f"{market}: compaction ended with {done.returncode}; what was not done is tried again")]
    return [(Path(path), why) for path, why in json.loads(done.stdout)]


def compact(market: Path, work: Sequence[Path], now_ns: int) -> list[tuple[Path, str]]:
    """The same in this process. What is gone already was compacted by another one, which is waited for."""
    with open(market / ".compacting.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        damaged = []
        for path in work:
            try:
                if path.suffix == STREAM and path.exists():
                    compact_stream(path, market)
                elif path.is_dir():
                    compact_days(path, now_ns)
            except DataError as error:
                damaged.append((path, str(error)))
    return damaged


def compact_stream(stream: Path, market: Path) -> int:
    """One file for each pair of a finished stream; returns its rows. The stream is deleted at the end.

    Args:
        market: folder of the venue's market; pairs are below it.

    Raises:
        DataError: the stream is damaged; it stays.
    """
    read = read_stream(stream)
    for at, pair in enumerate(read.header["pairs"] if read else ()):
        if (table := read.of(pair)).num_rows:
            header = {"dataset": read.header["dataset"], "pair": pair, "digits": read.header["digits"][at]}
            target = market / pair / read.header["dataset"] / f"{stream.stem}.parquet"
            write_parquet(target, table, header | {SOURCES: []})
    stream.unlink()
    log_of(stream).unlink(missing_ok=True)
    return read.table.num_rows if read else 0


def compact_days(folder: Path, now_ns: int) -> list[Path]:
    """The finished days of one dataset of a pair, each as one file; returns those that were written."""
    return [_day(folder, day) for day in sorted(_finished_days(folder, now_ns))]


def _finished_days(folder: Path, now_ns: int) -> set[str]:
    return {path.stem[:DAY] for path in folder.glob("*T*.parquet") if span(path.stem[:DAY])[1] <= now_ns}


def _day(folder: Path, day: str) -> Path:
    target = folder / f"{day}.parquet"
    hours = sorted(folder.glob(f"{day}T*.parquet"))
    reads = [read_parquet(path) for path in ([target] if target.exists() else []) + hours]
    known = set(reads[0][1][SOURCES]) if target.exists() else set()
    stems = [None] * target.exists() + [path.stem for path in hours]
    fresh = [read for read, stem in zip(reads, stems, strict=True) if stem not in known]
    if len(fresh) > target.exists():
        layout = LAYOUTS[folder.name]
        digits = [max(each) for each in zip(*(header["digits"] for _, header in fresh), strict=True)]
        tables = [rescaled(table, layout, header["digits"], digits) for table, header in fresh]
        table = pa.concat_tables(tables).sort_by("recv_ns")
        header = fresh[0][1] | {"digits": digits, SOURCES: sorted(known | {path.stem for path in hours})}
        write_parquet(target, table, header)
    for path in hours:
        path.unlink()
    return target


def rescaled(table: pa.Table, layout: RecordedLayout, digits: Sequence[int], wanted: Sequence[int]) -> pa.Table:
    """The same numbers with as many decimals as are wanted, which are no fewer; exact."""
    table = table.replace_schema_metadata(None)
    for name, have, want in zip(layout.scaled, digits, wanted, strict=True):
        if want > have:
            column = pa.compute.multiply_checked(table[name], 10 ** (want - have))
            table = table.set_column(table.column_names.index(name), name, column)
    return table


def write_parquet(path: Path, table: pa.Table, header: dict) -> None:
    """A compacted file, whole or not at all, and read back before it counts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = header | {DIGEST: digest(table, header)}
    table = table.replace_schema_metadata({HEADER: json.dumps(header)})
    part = path.with_name(f"{path.name}.part")
    pq.write_table(
        table,
        part,
        compression="zstd",
        compression_level=9,
        use_dictionary=False,
        column_encoding="DELTA_BINARY_PACKED",
        write_page_checksum=True,
        write_statistics=False,
    )
    with part.open("rb") as file:
        os.fsync(file.fileno())
    if not read_parquet(part)[0].equals(table):
        raise DataError(f"{part} does not read back as it was written; the disk is not to be trusted")
    part.replace(path)


if __name__ == "__main__":
    os.nice(LOW_PRIORITY)
    work = [Path(path) for path in json.load(sys.stdin)]
    found = compact(Path(sys.argv[1]), work, time.time_ns())
    print(json.dumps([(str(path), why) for path, why in found]))
