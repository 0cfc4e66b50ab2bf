"""One recorded dataset of a pair, by range: `data/mexc/spot/LUNC_USDT/quotes#2026-01-30..2026-02-01`.

Its folder holds a Parquet file for each finished day (`2026-01-30.parquet`) and for each finished stream of a day that is
not over (`2026-01-31T08-15-02.123456789.parquet`); what is still growing is in the streams of the venue. Files outside the
range are not opened, and a row that is in two of them, because a compaction was killed, is read once.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from delta_arb.errors import DataError
from delta_arb.market import NS
from delta_arb.quotes.stream_file import LAYOUTS, STREAM, RecordedLayout, header_of, read_stream

STREAMS = "streams"
DIGEST = "sha256"  # in a header: of the rest of it and of all numbers, since a footer has no checksum
SOURCES = "sources"  # in a header: the stems of the streams that are in a file
BETWEEN = ".."
NAMES = {"recv_ns": "timestamp", "venue_ns": "venue_timestamp", "bid": "bid_price", "bid_qty": "bid_quantity",
         "ask": "ask_price", "ask_qty": "ask_quantity", "side": "side", "price": "price", "qty": "quantity"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DatasetRange:
    """A dataset's folder, and [start, end) in ns of our clock."""

    folder: Path
    start_ns: int = 0
    end_ns: int = 2**63 - 1

    @classmethod
    def of(cls, path: str | Path) -> "DatasetRange":
        """From FOLDER, or FOLDER#SINCE..UNTIL; DataError for another range."""
        folder, _, told = str(path).partition("#")
        since, between, until = told.partition(BETWEEN)
        if told and not between:
            raise DataError(f"{path}: a range is like {folder}#2026-01-30..2026-02-01T08:00")
        least, most = cls(Path()).start_ns, cls(Path()).end_ns
        return cls(Path(folder), _ns(since, path) if since else least, _ns(until, path) if until else most)

    def __str__(self) -> str:
        since = _text(self.start_ns) if self.start_ns else ""
        return f"{self.folder}#{since}{BETWEEN}{_text(self.end_ns)}"

    @property
    def layout(self) -> RecordedLayout:
        return LAYOUTS[self.folder.name]

    @property
    def pair(self) -> str:
        return self.folder.parent.name

    @property
    def streams(self) -> Path:
        return self.folder.parent.parent / STREAMS / self.folder.name


def _ns(text: str, path: object) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise DataError(f"{path}: a time is like 2026-01-31 or 2026-01-31T08:00 (UTC), was {text}") from None
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()) * NS


def _text(ns: int) -> str:
    return datetime.fromtimestamp(ns // NS, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def is_ranged(path: str | Path) -> bool:
    """Whether a path is a folder of which only a range is meant."""
    folder, _, told = str(path).partition("#")
    return BETWEEN in told and Path(folder).is_dir()


def is_recorded(path: str | Path) -> bool:
    """Whether this is a folder that `record` wrote, finished or growing."""
    folder = Path(str(path).partition("#")[0])
    if folder.name not in LAYOUTS or not folder.is_dir():
        return False
    return (folder / MARK).exists()


def is_synthetic(folder: Path) -> bool:
    """Whether the local venues were recorded."""
    return bool(json.loads((folder / MARK).read_text("utf-8")).get("synthetic"))


MARK = "recorded.json"  # in each dataset's folder: the columns and their meaning


@dataclass(frozen=True, slots=True)
class RecordedPart:
    """The rows of one file within the range: int64 columns by name, and the decimals of those that are scaled."""

    path: Path
    table: pa.Table
    digits: tuple[int, ...]


def span(stem: str) -> tuple[int, int]:
    """[start, end) in ns that a file of this name can hold: its month, its day, or the hour it was begun in."""
    if len(stem) == len("2026-01"):
        month = datetime.fromisoformat(f"{stem}-01").replace(tzinfo=UTC)
        after = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
        return round(month.timestamp()) * NS, round(after.timestamp()) * NS
    if len(stem) == len("2026-01-31"):
        day = datetime.fromisoformat(stem).replace(tzinfo=UTC)
        return round(day.timestamp()) * NS, round((day + timedelta(days=1)).timestamp()) * NS
    hour = datetime.strptime(stem[:13], "%Y-%m-%dT%H").replace(tzinfo=UTC)
    return round(hour.timestamp()) * NS, round((hour + timedelta(hours=1)).timestamp()) * NS


def parts(wanted: DatasetRange) -> Iterator[RecordedPart]:
    """The rows within a range, file by file, in order of receipt.

    Raises:
        DataError: a file within the range is damaged.
    """
    seen: set[str] = set()
    for path in _compacted(wanted):
        table, header = read_parquet(path)
        if path.stem not in seen:
            seen |= {path.stem, *header[SOURCES]}
            yield _cut(wanted, path, table, tuple(header["digits"]))
    for path in _streams(wanted):
        if path.stem not in seen and (found := _stream(wanted, path)):
            yield found


def files(wanted: DatasetRange) -> list[Path]:
    """The files that can hold rows of the range: compacted ones, then the streams that more pairs are in."""
    return _compacted(wanted) + _streams(wanted)


def _compacted(wanted: DatasetRange) -> list[Path]:
    return within(wanted, wanted.folder.glob("*.parquet"))


def _streams(wanted: DatasetRange) -> list[Path]:
    return within(wanted, wanted.streams.glob(f"*{STREAM}"))


def _stream(wanted: DatasetRange, path: Path) -> RecordedPart | None:
    try:
        read = read_stream(path)
    except FileNotFoundError:  # compacted meanwhile
        compacted = wanted.folder / f"{path.stem}.parquet"
        if not compacted.exists():
            return None
        table, header = read_parquet(compacted)
        return _cut(wanted, compacted, table, tuple(header["digits"]))
    if read is None or wanted.pair not in read.header["pairs"]:
        return None
    digits = read.header["digits"][read.header["pairs"].index(wanted.pair)]
    return _cut(wanted, path, read.of(wanted.pair), tuple(digits))


def within(wanted: DatasetRange, paths: Iterable[Path]) -> list[Path]:
    """Those whose names say that they can hold rows of the range; a day before the streams of its hours."""
    spans = {path: _span(path) for path in paths}
    return sorted((p for p, (a, b) in spans.items() if a < wanted.end_ns and b > wanted.start_ns), key=lambda p: p.stem)


def _span(path: Path) -> tuple[int, int]:
    try:
        return span(path.stem)
    except ValueError:
        raise DataError(
            f"{path}: its name is no month, day or hour, so a range of its folder cannot be chosen; leave the range away"
        ) from None


def _cut(wanted: DatasetRange, path: Path, table: pa.Table, digits: tuple[int, ...]) -> RecordedPart:
    at = table["recv_ns"]
    inside = pa.compute.and_(
        pa.compute.greater_equal(at, wanted.start_ns), pa.compute.less(at, min(wanted.end_ns, 2**63 - 1))
    )
    return RecordedPart(path, table.filter(inside), digits)


def read_parquet(path: Path) -> tuple[pa.Table, dict]:
    """A compacted file and its header, checksums verified; DataError where it is damaged."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read(use_threads=False)
        header = dict(header_of(table.schema, path))
        if {str(each) for each in table.schema.types} != {"int64"}:
            raise DataError("its columns are no whole numbers")
        if header.pop(DIGEST) != digest(table, header):
            raise DataError("its numbers are not those that were recorded")
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError, DataError) as error:
        raise DataError(f"{path} is damaged ({error}); restore it from a copy") from error
    return table, header


def digest(table: pa.Table, header: Mapping[str, Any]) -> str:
    """SHA-256 of a header and of a table's integers, column by column, with their names."""
    found = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in table.column_names:
        found.update(name.encode())
        for piece in _pieces(table, name):
            found.update(np.ascontiguousarray(piece).tobytes())
    return found.hexdigest()


def _pieces(table: pa.Table, name: str) -> list[np.ndarray]:
    return [np.from_dlpack(chunk) for chunk in table[name].chunks if len(chunk)]


def columns(part: RecordedPart, layout: RecordedLayout) -> dict[str, np.ndarray]:
    """A part of quotes or trades as our own layout has it: int64 ns, float64; a side that was empty is NaN."""
    found = numbers(part, layout)
    for name in {"bid", "ask"} & found.keys():
        found[name][found[name] == 0.0] = np.nan
    return {NAMES[name]: values for name, values in found.items() if name in NAMES}


def numbers(part: RecordedPart, layout: RecordedLayout) -> dict[str, np.ndarray]:
    """The columns of a part under the names of its layout: int64, and decimals as float64."""
    found = {}
    for name in part.table.column_names:
        values = np.concatenate([*_pieces(part.table, name), np.zeros(0, np.int64)])
        scaled = name in layout.scaled
        found[name] = _decimal(values, part.digits[layout.scaled.index(name)]) if scaled else values
    return found


def _decimal(values: np.ndarray, digits: int) -> np.ndarray:
    """The nearest float of each decimal: both operands are exact, so one division rounds once."""
    return values / 10.0**digits


def content_digest(path: str | Path) -> str:
    """SHA-256 of the rows of a range, whichever files they are in: compaction does not change it."""
    wanted = DatasetRange.of(path)
    found = hashlib.sha256()
    for part in parts(wanted):
        rows = columns(part, wanted.layout)
        found.update(np.stack([rows[name].view(np.int64) for name in sorted(rows)], axis=1).tobytes())
    return found.hexdigest()
