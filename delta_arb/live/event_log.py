"""Every event that the pair machine of a run was told, in compact files: what its decisions can be repeated from.

    live/events/<run id>.bin          blocks: 4 bytes of length, then zlib; a block that a crash tore off is left out
    live/events/<run id>.0002.bin     the next one, after 32 MB (5 hours at 100 quotes a second); each stands for itself

Inside: a head with the state at the start, rules when they change, books when they change, events; many quotes on which
nothing was decided are columns: a byte each of whose book is another one (1 spot, 2 perpetual), steps from stamp to stamp, then
the columns of the books of each leg, with how old each is in place of when it was confirmed. Replaying all through `decide`
gives the orders of the journal (`replayed`); the quotes alone are what a backtest of the session sees. All files of a run are
read as one. Old ones may be moved away: what is left still replays, a review needs all of them.
"""

import errno
import json
import math
import struct
import time
from array import array
from collections.abc import Callable, Generator, Iterator
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from zlib_ng import zlib_ng as zlib

from delta_arb.errors import DataError
from delta_arb.live.durability import private
from delta_arb.market import LEGS, Book, Order
from delta_arb.quotes.depth_and_trades import LEVELS as FIVE
from delta_arb.quotes.depth_and_trades import Depth
from delta_arb.strategy.decide import decide
from delta_arb.strategy.state import QUOTE, Event, MachineRule, State
from delta_arb.wallets import BOTTOMLESS, Wallet

SCHEMA = 1
BLOCK = 1 << 16  # bytes collected before they are written, unless `flush` comes first
LONGEST_S = 10.0  # and no longer than this: of a quiet pair a killed run keeps what it saw, too
SEGMENT = 1 << 25  # bytes of a file, about
HEAD, RULE, BOOK, QUOTED, TOLD, WALLET, LEVELS = range(1, 8)
QUIET = 9  # 8 had stamps where there are steps and ages now
_BOOK = struct.Struct("<BBddddq")
_QUOTED = struct.Struct("<Bqd")
_TOLD = struct.Struct("<BBqBdddd")
_WALLET = struct.Struct("<Bddd")
_LEVELS = struct.Struct(f"<BBq{4 * FIVE}d")
_TEXT = struct.Struct("<BI")
_LENGTH = struct.Struct("<I")
_SHOWN = np.dtype(
    [("tag", "u1"), ("leg", "u1"), ("ts_ns", "<i8"), *((name, "<f8", FIVE) for name in Depth._fields[1:])]
)
_QUIET = struct.Struct("<BId")
_BOOK_KINDS = ("<f8",) * (len(Book._fields) - 1) + ("<i8",)


def events_path(journal: Path, run_id: str) -> Path:
    """Where the events of a run are, beside its journal."""
    return journal.parent / "events" / f"{run_id}.bin"


def segments(path: Path) -> list[Path]:
    """The files of a run that are there, oldest first; DataError where one between them is missing."""
    found = [(1, path)] if path.exists() else []
    later = path.parent.glob(f"{path.stem}.[0-9][0-9][0-9][0-9]{path.suffix}")
    found += sorted((int(file.suffixes[-2][1:]), file) for file in later)
    for (before, _), (number, _) in pairwise(found):
        if number != before + 1:
            raise DataError(f"{_segment(path, before + 1)} is missing between its neighbours; bring it back")
    return [file for _, file in found]


def _segment(path: Path, number: int) -> Path:
    return path.with_suffix(f".{number:04d}{path.suffix}")


class EventLog:
    """Appends the events of one run to its files; use it as a context manager.

    A disk that takes no more ends the recording, not the trading: `say` hears of it, and the file ends there.
    """

    def __init__(
        self,
        path: Path,
        run_id: str,
        state: State,
        say: Callable[[str], None] = print,
        later: Callable[[Callable[[], None]], object] = lambda act: act(),
    ) -> None:
        self.path = Path(path)
        self._say, self._later, self._lost = say, later, False
        self._file: FileIO | None = None
        self._number = 1
        self._buffer = bytearray()
        self._run_id = run_id
        self._flushed_s = time.monotonic()
        self._open(self.path, state)

    def _open(self, path: Path, state: State) -> None:
        """A file that knows nothing of those before it."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "ab", buffering=0, opener=private)  # noqa: SIM115 - held until the next one, or the end of the run
        except OSError as error:
            self._end(error)
        self._rule: MachineRule | None = None
        self._books: list[Book | None] = [None, None]
        self._wallet = BOTTOMLESS
        self._size = 0
        self.begin(state)

    def begin(self, state: State) -> None:
        """What follows starts from this state: the start of a run, or a person lifted a halt."""
        self._text(HEAD, {"schema": SCHEMA, "run_id": self._run_id, "state": state.values()})

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(self, *exc) -> None:
        self.flush()
        if self._file:
            self._file.close()

    def event(self, event: Event, rule: MachineRule, before: State) -> None:
        """One event, as `decide` gets it; `before` is the state that it met."""
        self._under(rule, event.wallet, before)
        for leg, book in enumerate((event.spot, event.perp)):
            if book is not self._books[leg] and book != self._books[leg]:
                self._books[leg] = book
                self._buffer += _BOOK.pack(BOOK, leg, *book)
        if event.kind == QUOTE:
            self._buffer += _QUOTED.pack(QUOTED, event.ts_ns, event.shift)
        else:
            e = event
            self._buffer += _TOLD.pack(TOLD, e.kind, e.ts_ns, e.leg, e.filled, e.price, e.remaining, e.shift)
        if len(self._buffer) >= BLOCK or time.monotonic() - self._flushed_s >= LONGEST_S:
            self.flush_soon()

    def quotes(self, event: Event, rule: MachineRule, before: State) -> None:
        """Quotes on which nothing was decided, as if each had been told by `event`: the fields are columns, `leg` says whose
        book is another one (bits: 1 spot, 2 perpetual), and the books are those."""
        self._under(rule, event.wallet, before)
        columns = [event.leg, np.diff(event.ts_ns, prepend=0)]
        for leg, book in enumerate((event.spot, event.perp)):
            columns += [*book[:-1], event.ts_ns[_of_leg(event.leg, leg)] - book.fresh_ns]
        self._buffer += _QUIET.pack(QUIET, len(event.ts_ns), event.shift)
        self._buffer += b"".join(column.tobytes() for column in columns)
        self._books = [None, None]
        if len(self._buffer) >= BLOCK:
            self.flush_soon()

    def _under(self, rule: MachineRule, wallet: Wallet, before: State) -> None:
        """What holds of the events that follow."""
        if self._size >= SEGMENT and not self._lost:
            self._turn(before)
        if rule is not self._rule and rule != self._rule:
            self._rule = rule
            self._text(RULE, rule)
        if wallet != self._wallet:
            self._wallet = wallet
            self._buffer += _WALLET.pack(WALLET, *wallet)

    def levels(self, leg: int, depth: Depth) -> None:
        """Snapshots of five levels that orders on paper may take from."""
        rows = np.empty(len(depth.ts_ns), _SHOWN)
        rows["tag"], rows["leg"], rows["ts_ns"] = LEVELS, leg, depth.ts_ns
        for name in Depth._fields[1:]:
            rows[name] = getattr(depth, name).reshape(-1, FIVE)
        self._buffer += rows.tobytes()

    def _turn(self, state: State) -> None:
        """The next file, from this state on."""
        self.flush()
        self._file.close()
        self._number += 1
        self._open(_segment(self.path, self._number), state)

    def flush_soon(self) -> None:
        """`flush` when `later` gets to it: behind the orders that were handed over before."""
        self._later(self.flush)

    def flush(self) -> None:
        """Hand everything so far to the system."""
        self._flushed_s = time.monotonic()
        block = zlib.compress(self._buffer, 1) if self._buffer and not self._lost else b""
        self._buffer.clear()
        if block:
            whole = _LENGTH.pack(len(block)) + block
            try:
                if self._file.write(whole) < len(whole):
                    raise OSError(errno.ENOSPC, "only a part was taken")
                self._size += len(whole)
            except OSError as error:
                self._end(error)

    def _end(self, error: OSError) -> None:
        self._lost = True  # a gap would make all that follows meaningless
        self._say(f"{self.path}: events are not recorded any more ({error}); make room on the disk")

    def _text(self, tag: int, value: Any) -> None:
        text = json.dumps(value).encode()
        self._buffer += _TEXT.pack(tag, len(text)) + text


class LoggedEvent(NamedTuple):
    """One event, the rule it was decided under, and the state it met where no event led to it."""

    event: Event
    rule: MachineRule
    state: State | None


class Decided(NamedTuple):
    """One event again, with the state after it and the orders it called for."""

    event: Event
    state: State
    orders: tuple[Order, Order]


def logged(path: Path) -> Iterator[LoggedEvent]:
    """The events of a run, as far as they were written; `path` is its first file."""
    for file in segments(path) or [path]:
        yield from _logged(file)


def _logged(path: Path) -> Iterator[LoggedEvent]:
    rule: MachineRule | None = None
    state: State | None = None
    books: list[Book | None] = [None, None]
    wallet = BOTTOMLESS
    for tag, value in _records(path):
        if tag == HEAD:
            if value["schema"] != SCHEMA:
                raise DataError(
                    f"{path}: events of schema {value['schema']}, not {SCHEMA}; read them with "
                    "the version that wrote them"
                )
            state = state_of(value["state"])
        elif tag == RULE:
            rule = named(MachineRule, value)
        elif tag == BOOK:
            books[value[1]] = Book(*value[2:])
        elif tag == WALLET:
            wallet = Wallet(*value[1:])
        elif tag != LEVELS:
            yield LoggedEvent(_event(tag, value, books, wallet), rule, state)
            state = None


def levels_shown(path: Path) -> tuple[Depth, Depth]:
    """The levels of both legs that a run on paper was told, in order of time; `path` is its first file."""
    found = [(array("q"), array("d")) for _ in LEGS]  # of a day on paper there are more than Python's numbers fit for
    for file in segments(path):
        for tag, value in _records(file):
            if tag == LEVELS:
                stamps, numbers = found[value[1]]
                stamps.append(value[2])
                numbers.extend(value[3:])
    spot, perp = (_depth(*of) for of in found)
    return spot, perp


def _depth(stamps: array, numbers: array) -> Depth:
    columns = np.array(numbers, float).reshape(len(stamps), 4, FIVE)
    return Depth(np.array(stamps, np.int64), *(columns[:, k].ravel() for k in range(4)))


def _event(tag: int, value: tuple, books: list[Book], wallet: Wallet) -> Event:
    if tag == QUOTED:
        return Event(QUOTE, value[1], *books, 0, 0.0, 0.0, 0.0, value[2], wallet)
    _, kind, ts_ns, leg, filled, price, remaining, shift = value
    return Event(kind, ts_ns, *books, leg, filled, price, remaining, shift, wallet)


def replayed(path: Path) -> Iterator[Decided]:
    """The run's decisions, made again from its events."""
    state = None
    for event, rule, begins in logged(path):
        state = (begins or state).copy()
        orders = decide(state, event, rule)
        yield Decided(event, state, orders)


def state_of(values: list) -> State:
    """The state whose values JSON has kept; else DataError."""
    try:
        return State.of(values)
    except TypeError as error:
        raise DataError("these values are no State of this version; finish with the version that wrote them") from error


def named(kind: type, values: list) -> Any:
    """A named tuple of named tuples, from the nested lists that JSON makes of it; else DataError.

    Of a wallet null is money without limit: no other number is infinite where it may be null.
    """
    if kind is Wallet and isinstance(values, list):
        values = [math.inf if value is None else value for value in values]
    if not isinstance(values, list) or len(values) != len(kind._fields) or None in values:
        raise DataError(f"these values are no {kind.__name__} of this version; finish with the version that wrote them")
    types = [kind.__annotations__[name] for name in kind._fields]
    return kind(*(named(t, v) if hasattr(t, "_fields") else v for t, v in zip(types, values, strict=True)))


def _records(path: Path) -> Iterator[tuple[int, Any]]:
    for block in _blocks(Path(path)):
        at = 0
        while at < len(block):
            tag = block[at]
            if tag in (HEAD, RULE):
                _, size = _TEXT.unpack_from(block, at)
                at += _TEXT.size
                yield tag, json.loads(block[at : at + size])
                at += size
                continue
            if tag == QUIET:
                at = yield from _quiet(block, at)
                continue
            shape = {BOOK: _BOOK, QUOTED: _QUOTED, TOLD: _TOLD, WALLET: _WALLET, LEVELS: _LEVELS}.get(tag)
            if shape is None:
                raise DataError(f"{path}: unknown record {tag}; read it with the version that wrote it")
            yield tag, shape.unpack_from(block, at)
            at += shape.size


def _quiet(block: bytes, at: int) -> Generator[tuple[int, Any], None, int]:
    """Columns of quotes as the records that each of them would be; where they end."""
    _, count, shift = _QUIET.unpack_from(block, at)
    changed = np.frombuffer(block, np.uint8, count, at + _QUIET.size)
    at += _QUIET.size + count
    ts_ns = np.cumsum(np.frombuffer(block, "<i8", count, at))
    at += 8 * count
    books = []
    for leg in range(len(LEGS)):
        stamps = ts_ns[_of_leg(changed, leg)]
        *columns, ages = (
            np.frombuffer(block, k, len(stamps), at + 8 * len(stamps) * n) for n, k in enumerate(_BOOK_KINDS)
        )
        books.append(zip(*(column.tolist() for column in (*columns, stamps - ages)), strict=True))
        at += 8 * len(stamps) * len(_BOOK_KINDS)
    for now_ns, legs in zip(ts_ns.tolist(), changed.tolist(), strict=True):
        for leg in range(len(LEGS)):
            if legs >> leg & 1:
                yield BOOK, (BOOK, leg, *next(books[leg]))
        yield QUOTED, (QUOTED, now_ns, shift)
    return at


def _of_leg(changed: np.ndarray, leg: int) -> np.ndarray:
    """Whether the book of a leg is another one."""
    return (changed >> leg & 1).view(bool)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while head := file.read(_LENGTH.size):
            size = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else -1
            block = file.read(size) if size >= 0 else b""
            if len(block) != size:
                return  # torn off by a crash
            yield zlib.decompress(block)
