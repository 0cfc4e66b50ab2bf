"""Rows of one dataset of a venue's pairs, on their way to disk: gathered, scaled, and written a few times a second."""

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from delta_arb.errors import DataError
from delta_arb.market import NS
from delta_arb.quotes.recorded import STREAMS
from delta_arb.quotes.stream_file import STREAM, RecordedLayout, StreamFile, decimals, scaled

HOUR_NS = 3600 * NS
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
        self._digits = [list(each) for each in digits]
        self._file: StreamFile | None = None
        self._hour = 0
        self._waiting: list[tuple[int, tuple[int, ...], tuple[str, ...]]] = []

    def add(self, pair: int, whole: tuple[int, ...], numbers: tuple[str, ...]) -> None:
        """A row: its whole columns (our stamp first), and its decimals as the venue wrote them."""
        if whole[0] // HOUR_NS != self._hour:
            self.close()
            self._hour = whole[0] // HOUR_NS
        self._waiting.append((pair, whole, numbers))
        if len(self._waiting) * len(numbers) >= MOST_WAITING:
            self.flush()

    def turn(self, now_ns: int) -> None:
        """Finish a file whose hour is over, though nothing comes any more."""
        if self._file and now_ns // HOUR_NS != self._hour:
            self.close()

    def flush(self) -> None:
        """Whatever was added is in the system's hands afterwards."""
        if not self._waiting:
            return
        rows = self._scaled()
        if self._file is None and rows:
            self.growing = self._path()
            self._file = StreamFile(self.growing, self.layout, self._header())
        if rows:
            self._file.write(list(zip(*rows, strict=True)))
        self.rows += len(rows)
        self._waiting = []
        if self._file and self._file.rows >= MOST_ROWS:
            self._end()

    def close(self) -> None:
        """Finish the file; the next row begins another."""
        self.flush()
        self._end()

    def _end(self) -> None:
        if self._file:
            self._file.close()
        self._file = self.growing = None

    def _scaled(self) -> list[tuple[int, ...]]:
        """The waiting rows as integers; one that no number can be made of is left out and told."""
        try:
            return [self._row(*each) for each in self._waiting]
        except DataError:
            self._widen()
            return [row for each in self._waiting if (row := self._row_or_none(*each))]

    def _widen(self) -> None:
        """As many decimals as the waiting rows have; where that are more, a new file is begun."""
        before = [list(each) for each in self._digits]
        for pair, _, numbers in self._waiting:
            with contextlib.suppress(DataError):  # told by `_row_or_none`
                have = self._digits[pair]
                self._digits[pair] = [max(h, decimals(text)) for h, text in zip(have, numbers, strict=True)]
        if self._digits != before:
            self._end()

    def _row_or_none(self, pair: int, whole: tuple[int, ...], numbers: tuple[str, ...]) -> tuple[int, ...] | None:
        try:
            return self._row(pair, whole, numbers)
        except DataError as error:
            self.refused.append(f"{self._pairs[pair]}: {error}")
            return None

    def _row(self, pair: int, whole: tuple[int, ...], numbers: tuple[str, ...]) -> tuple[int, ...]:
        return (pair, *whole, *map(scaled, numbers, self._digits[pair]))

    def _path(self) -> Path:
        """Named by its first stamp, or the first free one after it: an earlier file may have ended within the same one."""
        at_ns = self._waiting[0][1][0]
        while (path := self._folder / _name(at_ns)).exists():
            at_ns += 1
        return path

    def _header(self) -> dict:
        return {"dataset": self.layout.name, "pairs": self._pairs, "digits": self._digits}


def _name(at_ns: int) -> str:
    seconds, rest_ns = divmod(at_ns, NS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H-%M-%S}.{rest_ns:09d}{STREAM}"
