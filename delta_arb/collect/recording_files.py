"""Rows of a recording on their way to disk, what becomes of the files, and how much of them is kept.

    streams/quotes/2026-01-31T08-15-02.123456789.arrows  ->  LUNC_USDT/quotes/2026-01-31T08-15-02.123456789.parquet, and so each pair
    LUNC_USDT/quotes/2026-01-31T*.parquet             ->  LUNC_USDT/quotes/2026-01-31.parquet

Rows are gathered, scaled, and written to a stream a few times a second. Finished streams become one Parquet file a pair,
those of a finished day one file: differences of integers, zstd, a checksum on every page and a digest of all numbers.

A file is written beside, read back, and renamed; then only what it was made of is deleted. Whatever is killed in between
is done again, and until then each row is read once (see `quotes.recorded`). The recorder has it done by `aside`.
"""

import contextlib
import fcntl
import json
import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from delta_arb.errors import DataError
from delta_arb.market import DAY_NS, HOUR_NS, NS
from delta_arb.quotes.recorded import DIGEST, SOURCES, STREAMS, digest, read_parquet, span
from delta_arb.quotes.stream_file import (
    HEADER,
    LAYOUTS,
    STREAM,
    RecordedLayout,
    StreamFile,
    decimals,
    log_of,
    read_stream,
    scaled,
)

MOST_WAITING = 4_000  # numbers; to write more at once would hold up the loop for longer than some milliseconds
MOST_ROWS = 1_000_000  # of a file, since compaction holds one in memory: 64 MB


class RecordingWriter:
    """A file for each hour and each start; a new one too where a venue's numbers become finer.

    Args:
        market: folder of the venue's market.
        pairs: names; a row names its pair by the place here.
        digits: decimals of the scaled columns of each pair, as the venue lists them.
    """

    def __init__(
        self, market: Path, layout: RecordedLayout, pairs: Sequence[str], digits: Sequence[Sequence[int]]
    ) -> None:
        self.layout, self.rows = layout, 0
        self.refused: list[str] = []  # rows that no number could be made of, told by whoever reads this
        self.growing: Path | None = None  # the file that is written, or about to be
        self._folder, self._pairs = market / STREAMS / layout.name, tuple(pairs)
        self._digits = [list(each) for each in zip(*digits, strict=True)]  # by column, then by pair
        self._file: StreamFile | None = None
        self._hour = 0
        self._waiting: list[tuple] = []
        self._most = MOST_WAITING // len(layout.scaled)
        self._first = 1 + len(layout.whole)  # of a row's numbers

    def add(self, row: tuple) -> None:
        """The place of its pair, the whole columns (our stamp first), and the decimals as the venue wrote them."""
        self._waiting.append(row)
        if len(self._waiting) >= self._most:
            self.flush()

    def turn(self, now_ns: int) -> None:
        """Flush, and finish a file whose hour is over, though nothing comes any more."""
        self.flush()
        self._in_hour_of(now_ns)

    def flush(self) -> None:
        """Whatever was added is in the system's hands afterwards."""
        rows, self._waiting = self._waiting, []
        while rows:
            self._in_hour_of(rows[0][1])
            end = bisect_left(rows, (self._hour + 1) * HOUR_NS, key=itemgetter(1))
            self._write(rows[:end])
            rows = rows[end:]

    def close(self) -> None:
        """Finish the file; the next row begins another."""
        self.flush()
        self._end()

    def _in_hour_of(self, at_ns: int) -> None:
        if at_ns // HOUR_NS != self._hour:
            self._end()
            self._hour = at_ns // HOUR_NS

    def _end(self) -> None:
        if self._file:
            self._file.close()
        self._file = self.growing = None

    def _write(self, rows: list[tuple]) -> None:
        """Rows of one hour; one that no number can be made of is left out and told."""
        try:
            columns = self._columns(rows)
        except DataError:
            if not (rows := self._fitting(rows)):
                return
            columns = self._columns(rows)
        if self._file is None:
            self.growing = self._path(rows[0][1])
            digits = list(zip(*self._digits, strict=True))
            head = {"dataset": self.layout.name, "pairs": self._pairs, "digits": digits}
            self._file = StreamFile(self.growing, self.layout, head)
        self._file.write(columns)
        self.rows += len(rows)
        if self._file.rows >= MOST_ROWS:
            self._end()

    def _columns(self, rows: list[tuple]) -> list[Sequence[int]]:
        """Integers, column by column."""
        columns = list(zip(*rows, strict=True))
        texts, digits = columns[self._first :], (map(column.__getitem__, columns[0]) for column in self._digits)
        return [*columns[: self._first], *(list(map(scaled, *each)) for each in zip(texts, digits, strict=True))]

    def _fitting(self, rows: list[tuple]) -> list[tuple]:
        """Those that have numbers, in a file with as many decimals as they have; the others are told."""
        for row in rows:
            self._widen(row)
        whys = [self._why_not(row) for row in rows]
        self.refused += [f"{self._pairs[row[0]]}: {why}" for row, why in zip(rows, whys, strict=True) if why]
        return [row for row, why in zip(rows, whys, strict=True) if not why]

    def _widen(self, row: tuple) -> None:
        """As many decimals as a row has; where that are more, a new file is begun."""
        with contextlib.suppress(DataError):  # no number, which `_fitting` tells
            wanted = [decimals(text) for text in row[self._first :]]
            for digits, have in zip(self._digits, wanted, strict=True):
                if have > digits[row[0]]:
                    digits[row[0]] = have
                    self._end()

    def _why_not(self, row: tuple) -> str:
        """Why a row has no numbers in this file; "" where it has."""
        try:
            for text, digits in zip(row[self._first :], self._digits, strict=True):
                scaled(text, max(digits[row[0]], decimals(text)))  # a finer number has its file by now
        except DataError as error:
            return str(error)
        return ""

    def _path(self, at_ns: int) -> Path:
        """Named by its first stamp, or the first free one after it: an earlier file may have ended within the same one."""
        while (path := self._folder / _name(at_ns)).exists():
            at_ns += 1
        return path


def _name(at_ns: int) -> str:
    seconds, rest_ns = divmod(at_ns, NS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H-%M-%S}.{rest_ns:09d}{STREAM}"


DAY = len("2026-01-31")


def streams_of(market: Path) -> list[Path]:
    """Every stream in a market's folder, growing ones too."""
    return [path for name in LAYOUTS for path in sorted((market / STREAMS / name).glob(f"*{STREAM}"))]


def tidied(market: Path, streams: Sequence[Path], kept: "Retention", now_ns: int) -> Iterator[tuple[str, str]]:
    """Compact these streams, then the days that are over, then make room.

    Yields what is to be told: "damaged" and why, of a file that stays; "deleted" and the file that made room.
    """
    with open(market / ".compacting.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of a recorder that was killed, one may still be at it
        yield from _damaged(lambda path: compact_stream(path, market), [path for path in streams if path.exists()])
        folders = (folder for name in LAYOUTS for folder in sorted(market.glob(f"*/{name}")))
        yield from _damaged(lambda folder: compact_days(folder, now_ns), folders)
        yield from (("deleted", str(gone.relative_to(market))) for gone in make_room(market, kept, now_ns))


def _damaged(compact: Callable[[Path], object], paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    for path in paths:
        try:
            compact(path)
        except DataError as error:
            yield "damaged", str(error)


def compact_stream(stream: Path, market: Path) -> int:
    """One file for each pair of a finished stream; returns its rows. The stream is deleted at the end.

    Args:
        market: folder of the venue's market; pairs are below it.

    Raises:
        DataError: the stream is damaged; it stays.
    """
    read = read_stream(stream)
    for at, table in read.each() if read else ():
        pair = read.header["pairs"][at]
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


@dataclass(frozen=True, slots=True)
class Retention:
    """Days and bytes that are kept for each venue; 0 keeps all."""

    days: float = 0.0
    most_bytes: float = 0.0


def make_room(market: Path, kept: Retention, now_ns: int) -> list[Path]:
    """Delete compacted files that are too old or too many; returns them."""
    files = sorted(_compacted(market), key=lambda path: span(path.stem)[1])
    gone = [path for path in files if kept.days and span(path.stem)[1] < now_ns - kept.days * DAY_NS]
    left = [path for path in files if path not in set(gone)]
    over = size(market) - sum(path.stat().st_size for path in gone) - kept.most_bytes if kept.most_bytes else 0.0
    while over > 0 and left:
        over -= left[0].stat().st_size
        gone.append(left.pop(0))
    for path in gone:
        path.unlink()
    return gone


def _compacted(market: Path) -> Iterator[Path]:
    for name in LAYOUTS:
        yield from market.glob(f"*/{name}/*.parquet")


def size(market: Path) -> int:
    """Bytes of a venue's recordings, the growing ones included; downloads are not counted."""
    files = (path for name in LAYOUTS for path in market.glob(f"*/{name}/*"))
    return sum(path.stat().st_size for path in files if path.is_file())
