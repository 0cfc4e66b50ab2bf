"""A recording as it grows: an Arrow stream of scaled integers, and beside it a line for every batch that was written.

    data/gate/perp/streams/quotes/2026-01-31T08-15-02.123456789.arrows      and the same with .log

A killed Arrow stream ends as cleanly as a finished one, a second stream behind the first is not read, and flipped bytes are
read as other numbers. So each start and each hour begins a new file; its log names the end of every batch with its rows
and the SHA-256 of its bytes, and a last line with the digest of the whole says that it is complete. What lies behind the
last line is at most one flush old and is left out.

Prices and sizes are integers times 10^-digits, exactly as the venue wrote them; the digits of each pair and column are
in the schema's metadata. One stream holds all pairs of a dataset, since a flush of two hundred files is no flush.
"""

import hashlib
import io
import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from delta_arb.errors import DataError

HEADER = b"delta_arb.recording"
STREAM, LOG = ".arrows", ".log"
MOST_DECIMALS = 12
PAIR = "pair"  # the column with the pair's place in the header


class FinerGridError(DataError):
    """A number with more decimals than the file was begun with: a new file is begun."""


@dataclass(frozen=True, slots=True)
class RecordedLayout:
    """The columns of one dataset: int64 `whole` (ns, ids, signs), and `scaled` ones, which are decimals."""

    name: str
    whole: tuple[str, ...]
    scaled: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.whole, *self.scaled)


QUOTES = RecordedLayout("quotes", ("recv_ns", "venue_ns", "id"), ("bid", "bid_qty", "ask", "ask_qty"))
TRADES = RecordedLayout(
    "trades", ("recv_ns", "venue_ns", "id", "side"), ("price", "qty")
)  # side: +1 where the buyer came
LEVELS = RecordedLayout(  # bid1, bid1_qty ... bid5_qty, ask1 ... ask5_qty
    "levels", ("recv_ns", "venue_ns", "id"),
    tuple(f"{side}{k}{unit}" for side in ("bid", "ask") for k in range(1, 6) for unit in ("", "_qty")),
)  # fmt: skip
FUNDING_NOW = RecordedLayout(
    "funding_now", ("recv_ns", "next_ns", "interval_s"), ("rate", "indicative", "mark", "index")
)
LAYOUTS = {layout.name: layout for layout in (QUOTES, TRADES, LEVELS, FUNDING_NOW)}


@lru_cache(maxsize=1 << 16)  # prices and sizes come again and again: a third of the time
def scaled(text: str, digits: int) -> int:
    """A decimal as the venue wrote it, times 10^digits; "" is 0.

    Raises:
        FinerGridError: it has more decimals.
        DataError: no number.
    """
    whole, _, part = text.partition(".")
    if not (whole + part).removeprefix("-").isdecimal():
        return _of_decimal(text, digits) if text else 0
    if len(part) > digits and len(part := part.rstrip("0")) > digits:
        raise FinerGridError(f"{text} has more than {digits} decimals")
    return _in_bounds(int(whole + part.ljust(digits, "0")), text)


def _in_bounds(value: int, text: str) -> int:
    if not -(2**63) <= value < 2**63:
        raise DataError(f"{text} is too large to be kept with its decimals")
    return value


def _of_decimal(text: str, digits: int) -> int:
    """The same of other spellings, like 1e-05."""
    try:
        value = Decimal(text).scaleb(digits)
    except InvalidOperation:
        raise DataError(f"{text!r} is no number") from None
    if not value.is_finite():
        raise DataError(f"{text!r} is no number")
    if value != int(value):
        raise FinerGridError(f"{text} has more than {digits} decimals")
    return _in_bounds(int(value), text)


def decimals(text: str) -> int:
    """How many decimals a number has that are not zeros at its end.

    Raises:
        DataError: no number, or more than `MOST_DECIMALS`.
    """
    try:
        exponent = Decimal(text or "0").normalize().as_tuple().exponent
    except InvalidOperation:
        raise DataError(f"{text!r} is no number") from None
    if not isinstance(exponent, int) or exponent < -MOST_DECIMALS:
        raise DataError(f"{text!r} is no number of at most {MOST_DECIMALS} decimals")
    return max(0, -exponent)


class StreamFile:
    """One growing file; not safe to share between threads.

    Args:
        path: a file that does not exist yet.
        header: what it holds: `dataset`, `pairs` (names), `digits` (by pair, of the scaled columns in their order).
    """

    def __init__(self, path: Path, layout: RecordedLayout, header: Mapping[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.rows, self.bytes = path, 0, 0
        self._file, self._log = path.open("xb", buffering=0), log_of(path).open("x", encoding="utf-8")
        self._whole, self._sink = hashlib.sha256(), io.BytesIO()
        self._schema = pa.schema(
            [(name, pa.int64()) for name in (PAIR, *layout.columns)], metadata={HEADER: json.dumps(header)}
        )
        self._writer = pa.ipc.new_stream(
            self._sink, self._schema, options=pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
        )

    def write(self, columns: Sequence[Sequence[int]]) -> None:
        """A batch, a sequence for each column; handed to the system with its line, so that a kill takes nothing of it."""
        self._writer.write_batch(pa.record_batch([_integers(column) for column in columns], schema=self._schema))
        self._out(len(columns[0]))

    def close(self) -> None:
        """Finish the file with its end record."""
        self._writer.close()
        self._out(0)
        self._say({"complete": True, "rows": self.rows, "sha256": self._whole.hexdigest()})
        self._file.close()
        self._log.close()

    def _out(self, rows: int) -> None:
        chunk = self._sink.getvalue()
        self._sink.seek(0)
        self._sink.truncate()
        self._file.write(chunk)
        self._whole.update(chunk)
        self.bytes, self.rows = self.bytes + len(chunk), self.rows + rows
        self._say({"end": self.bytes, "rows": rows, "sha256": hashlib.sha256(chunk).hexdigest()})

    def _say(self, line: Mapping[str, object]) -> None:
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()


def _integers(column: Sequence[int]) -> pa.Array:
    """An int64 column; `pa.array` would load pandas at its first call, which takes 0.2 s of an event loop."""
    values = array("q", column)
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])


@dataclass(frozen=True, slots=True)
class StreamRead:
    """What a growing or finished file holds: int64 columns, its header, and whether it was closed."""

    table: pa.Table
    header: Mapping[str, Any]
    complete: bool

    def of(self, pair: str) -> pa.Table:
        """The rows of one pair, without the column that names it."""
        if pair not in self.header["pairs"]:
            return self.table.slice(0, 0).drop_columns([PAIR])
        at = self.header["pairs"].index(pair)
        return self.table.filter(pa.compute.equal(self.table[PAIR], at)).drop_columns([PAIR])

    def each(self) -> Iterator[tuple[int, pa.Table]]:
        """The same of every pair that has rows, by its place in the header; all are sorted once."""
        rows = self.table.drop_columns([PAIR])
        places = np.concatenate([np.zeros(0, np.int64), *map(np.from_dlpack, self.table[PAIR].chunks)])
        order, end = np.argsort(places, kind="stable"), 0
        for at, n in enumerate(np.bincount(places).tolist()):
            if n:
                yield at, rows.take(pa.array(order[end : end + n])).combine_chunks()
            end += n


def log_of(path: Path) -> Path:
    return path.with_suffix(LOG)


def read_stream(path: Path) -> StreamRead | None:
    """All batches that are proven to be as they were written; None where nothing was, before the first flush.

    Raises:
        DataError: bytes of a proven batch have changed, or the log does not read.
    """
    lines = _lines(path)
    whole = path.read_bytes()
    begin = 0
    for line in lines:
        if "end" in line:
            begin = _proven(path, whole, begin, line)
        elif hashlib.sha256(whole).hexdigest() != line["sha256"]:
            raise DataError(f"{path} is not as it was when it was closed; restore it from a copy")
    if not begin:
        return None
    with pa.ipc.open_stream(io.BytesIO(whole[:begin])) as reader:
        table = pa.Table.from_batches(list(reader), reader.schema)
    if table.num_rows != sum(line["rows"] for line in lines if "end" in line):
        raise DataError(f"{path} has {table.num_rows} rows, its log says otherwise; restore it from a copy")
    return StreamRead(table, header_of(table.schema, path), any("complete" in line for line in lines))


def _proven(path: Path, whole: bytes, begin: int, line: Mapping[str, Any]) -> int:
    """The end of the batch that a line of the log is about."""
    if hashlib.sha256(whole[begin : line["end"]]).hexdigest() != line["sha256"]:
        raise DataError(f"{path}: bytes {begin} to {line['end']} are not as they were written; restore it from a copy")
    return line["end"]


def header_of(schema: pa.Schema, path: Path) -> Mapping[str, Any]:
    """What a recorded file says of itself; DataError where it says nothing."""
    try:
        return json.loads((schema.metadata or {})[HEADER])
    except (KeyError, ValueError) as error:
        raise DataError(f"{path} was not recorded by this program; move it elsewhere") from error


def _lines(path: Path) -> list[dict[str, Any]]:
    """The log's lines; a last one that was cut off is left out. None where the recorder was killed between making the two files.

    Raises:
        FileNotFoundError: the stream is not there any more: it was compacted meanwhile.
    """
    log = log_of(path)
    try:
        if not log.exists() and path.stat().st_size == 0:
            return []
        text = log.read_bytes()
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith(b"\n")]
    except (OSError, ValueError) as error:
        path.stat()  # a stream that was compacted meanwhile takes its log along
        raise DataError(f"{log} does not read ({error}); restore it from a copy") from error
