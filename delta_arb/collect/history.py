"""Downloaded history: pages put together so that nothing is missing in silence, and one Parquet file a month on disk.

    data/gate/perp/LUNC_USDT/candles_1m/2026-01.parquet

A month's file is written whole or not at all, and says in its metadata which range [start, end) was asked for, so that a
later call fetches only what is missing. The same rows give the same bytes.

Candles are asked forwards, funding backwards: ccxt's own pagination loses funding stamps, and some venues ignore the
start of a range. A page that is shorter than it could be is asked again where the hole is, so that a hole that remains is
the venue's. Times are ms UTC, as ccxt has them; ranges are half-open.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from delta_arb.errors import DataError, RunError

RANGE = b"delta_arb.range_ms"  # key of the metadata: [start, end) that was asked for
CANDLE_COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
FUNDING_COLUMNS = ("timestamp", "funding_rate")
SPOT, PERP = "spot", "perp"


@dataclass(frozen=True, slots=True)
class Dataset:
    """What one folder holds: rows of one kind of one pair at one venue; `bar_ms` is 0 where rows are no bars.

    `synthetic`: of the local venues.
    """

    venue: str
    market: str
    pair: str
    kind: str
    columns: tuple[str, ...]
    bar_ms: int = 0
    synthetic: bool = False

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


def write(path: Path, columns: Sequence[str], stored: Stored, synthetic: bool = False) -> None:
    """Replace a month's file atomically: written beside it, synced, renamed; it says where its rows are synthetic."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = list(zip(*stored.rows, strict=True)) or [()] * len(columns)
    stamps = pa.array([int(ms) * 1_000_000 for ms in values[0]], pa.int64()).cast(pa.timestamp("ns", "UTC"))
    arrays = [stamps, *(pa.array(column, pa.float64()) for column in values[1:])]
    table = pa.table(dict(zip(columns, arrays, strict=True)))
    about = {RANGE: json.dumps([stored.start_ms, stored.end_ms])} | ({"synthetic": "true"} if synthetic else {})
    table = table.replace_schema_metadata(about)
    part = path.with_suffix(".part")
    pq.write_table(table, part, compression="zstd", write_page_checksum=True)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)


Page = Callable[[int, int], Sequence[Row]]  # rows of [start, end), the oldest or the newest of them where they are many
MOST_PAGES = 100_000


def candles(page: Page, start_ms: int, end_ms: int, bar_ms: int, most: int) -> list[Row]:
    """All bars that open in [start, end), oldest first, each once.

    Args:
        page: asks the venue for at most `most` bars.
        bar_ms: length of a bar.
    """
    found: dict[int, Row] = {}
    for begin in range(start_ms, end_ms, most * bar_ms):
        _take(found, page, begin, min(begin + most * bar_ms, end_ms))
    for gap_start, gap_end in gaps(sorted(found), start_ms, end_ms, bar_ms):
        for begin in range(gap_start, gap_end, most * bar_ms):  # a short page looks like a hole: ask there once more
            _take(found, page, begin, min(begin + most * bar_ms, gap_end))
    return [found[ms] for ms in sorted(found)]


def _take(found: dict[int, Row], page: Page, start_ms: int, end_ms: int) -> None:
    found.update((int(row[0]), row) for row in page(start_ms, end_ms) if start_ms <= row[0] < end_ms)


def funding(page: Page, start_ms: int, end_ms: int) -> list[Row]:
    """All settled rates with a stamp in [start, end), oldest first, each once; walked backwards from the end."""
    found: dict[int, Row] = {}
    until_ms = end_ms
    for _ in range(MOST_PAGES):
        fresh = {int(row[0]): row for row in page(start_ms, until_ms) if start_ms <= row[0] < until_ms}
        found |= fresh
        if not fresh:
            return [found[ms] for ms in sorted(found)]
        until_ms = min(fresh)
    raise RunError(f"{MOST_PAGES} pages of funding and no end; ask for a shorter range")


def gaps(stamps: Sequence[int], start_ms: int, end_ms: int, step_ms: int) -> list[tuple[int, int]]:
    """Ranges [start, end) in which bars are missing, in order."""
    edges = [start_ms - step_ms, *stamps, end_ms]
    return [(a + step_ms, b) for a, b in pairwise(edges) if b - a > step_ms]


def missing_settlements(stamps: Sequence[int], start_ms: int, end_ms: int) -> list[tuple[int, int]]:
    """Ranges without a settlement where the local interval wants one: longer than both neighbours by half, or an edge
    longer than the longest interval. Intervals change (8 h, 4 h, 1 h), so no constant is compared with."""
    steps = [b - a for a, b in pairwise(stamps)]
    if not steps:
        return [(start_ms, end_ms)]
    found = [
        (a, b)
        for k, (a, b) in enumerate(pairwise(stamps))
        if (near := steps[max(k - 2, 0) : k] + steps[k + 1 : k + 3]) and steps[k] > 1.5 * max(near)
    ]
    longest = max(steps)
    head = [(start_ms, stamps[0])] if stamps[0] - start_ms > longest else []
    tail = [(stamps[-1], end_ms)] if end_ms - stamps[-1] > longest else []
    return head + found + tail
