"""Downloaded history on disk: one Parquet file a venue, market, pair, dataset and month, written whole or not at all.

    data/gate/perp/LUNC_USDT/candles_1m/2026-01.parquet

A month's file says in its metadata which range [start, end) was asked for, so that a later call fetches only what is
missing, and a call that was killed begins again with the month it was in. The same rows give the same bytes.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from delta_arb.errors import DataError

RANGE = b"delta_arb.range_ms"  # key of the metadata: [start, end) that was asked for
CANDLE_COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
FUNDING_COLUMNS = ("timestamp", "funding_rate")
SPOT, PERP = "spot", "perp"


@dataclass(frozen=True, slots=True)
class Dataset:
    """What one folder holds: rows of one kind of one pair at one venue; `bar_ms` is 0 where rows are no bars."""

    venue: str
    market: str
    pair: str
    kind: str
    columns: tuple[str, ...]
    bar_ms: int = 0

    def folder(self, data: Path) -> Path:
        return data / self.venue / self.market / self.pair / self.kind

    def __str__(self) -> str:
        return f"{self.venue} {self.market} {self.pair} {self.kind}"


@dataclass(frozen=True, slots=True)
class Month:
    """The part [start_ms, end_ms) of one calendar month, UTC."""

    name: str
    start_ms: int
    end_ms: int


def months(start_ms: int, end_ms: int) -> Iterator[Month]:
    """The calendar months that a range touches, each cut to the range."""
    at = datetime.fromtimestamp(start_ms / 1000, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while (first_ms := _ms(at)) < end_ms:
        following = at.replace(year=at.year + at.month // 12, month=at.month % 12 + 1)
        yield Month(at.strftime("%Y-%m"), max(first_ms, start_ms), min(_ms(following), end_ms))
        at = following


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


Row = Sequence[float]


@dataclass(frozen=True, slots=True)
class Stored:
    """A month's file as it lies on disk: the range that was asked for, and its rows in order of time (ms first)."""

    start_ms: int
    end_ms: int
    rows: tuple[Row, ...]


def read(path: Path) -> Stored | None:
    """A month's file; None where there is none.

    Raises:
        DataError: the file is damaged, or was not written by this program.
    """
    if not path.exists():
        return None
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        start_ms, end_ms = json.loads((table.schema.metadata or {})[RANGE])
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise DataError(f"{path} is damaged or not ours; move it away, and it is downloaded again") from error
    columns = [table.column(name).to_pylist() for name in table.column_names]
    columns[0] = [ns // 1_000_000 for ns in table.column(0).cast(pa.int64()).to_pylist()]
    return Stored(start_ms, end_ms, tuple(zip(*columns, strict=True)))


def write(path: Path, columns: Sequence[str], stored: Stored) -> None:
    """Replace a month's file atomically: written beside it, synced, renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = list(zip(*stored.rows, strict=True)) or [()] * len(columns)
    stamps = pa.array([int(ms) * 1_000_000 for ms in values[0]], pa.int64()).cast(pa.timestamp("ns", "UTC"))
    arrays = [stamps, *(pa.array(column, pa.float64()) for column in values[1:])]
    table = pa.table(dict(zip(columns, arrays, strict=True)))
    table = table.replace_schema_metadata({RANGE: json.dumps([stored.start_ms, stored.end_ms])})
    part = path.with_suffix(".part")
    pq.write_table(table, part, compression="zstd", write_page_checksum=True)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
