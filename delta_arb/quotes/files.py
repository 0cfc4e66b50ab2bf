"""One leg's recording as it lies on disk: which files, how they were made, their columns as arrays; nothing is judged.

A recording of our own is a Parquet or CSV file, or a folder of files of one of the two kinds, with exactly the columns

    timestamp, bid_price, bid_quantity, ask_price, ask_quantity [, venue_timestamp]      quotes
    timestamp, open, high, low, close, volume                                            candles (see `candles`)

`timestamp` and `venue_timestamp` are UTC times of any unit (ISO in CSV, naive times are UTC) or int64 ns; the others
are numbers, null is NaN. Any other file, and a pandas table, is read by `delta_arb.formats`, which tells what it took
it for. pyarrow and numpy only: numpy is handed arrow's memory itself, because arrow's own `to_numpy` and `scalar` load
pandas wherever it is installed, and the live runner replays tapes without it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from delta_arb.errors import DataError, ParamsError
from delta_arb.formats import layouts
from delta_arb.formats.columns import on_grid
from delta_arb.formats.raw_table import SUFFIXES, form, split
from delta_arb.formats.read import ANY_LEG, LegContext, Reading, Recognised, kind_of, read, read_frame
from delta_arb.formats.recognise import NO_OPTIONS, FormatOptions
from delta_arb.market import SNAPSHOTS, UPDATES
from delta_arb.quotes import recorded
from delta_arb.quotes.columns import (
    CANDLES,
    COLUMNS,
    FORMATS,
    STAMP,
    VENUE_STAMP,
    OtherUnitError,
    columns_of,
    is_ours,
    names_in,
)

_ENOUGH = 100  # rows whose two clocks are not equal by chance


@dataclass(frozen=True, slots=True)
class LegFile:
    """Where one leg's recording is and how it was made.

    Args:
        path: a file, or a folder of files of one kind, joined in the order of their names; or a pandas table.
        kind: 'updates' (a row per change) or 'snapshots' (polled; nobody knows the book between two rows).
        contract_size: base units per unit of the quantity columns.
        clock: whose clock `timestamp` is, 'receiver' or 'venue'. With the receiver's, an optional column
            `venue_timestamp` tells how late each row was; it serves its age alone.
        feed_latency_s: added to each stamp of the venue's clock, > 0 then; 0 with the receiver's.
        options: what the user says of a file of another layout than ours.
        context: the leg's name, pair and venue: which rows of a file that holds several.

    Raises:
        ParamsError: a value out of bounds, or a latency that does not go with the clock.
    """

    path: str | Path
    kind: str
    contract_size: float = 1.0
    clock: str = "receiver"
    feed_latency_s: float = 0.0
    options: FormatOptions = NO_OPTIONS
    context: LegContext = ANY_LEG

    def __post_init__(self) -> None:
        check_kind("kind", self.kind)
        if not 0 < self.contract_size < np.inf:
            raise ParamsError(
                f"contract_size must be positive, was {self.contract_size}; take it from the venue's contract list"
            )
        if self.clock not in ("receiver", "venue"):
            raise ParamsError(
                f"clock must be 'receiver' or 'venue', was {self.clock!r}; say whose clock stamped the rows"
            )
        if self.clock == "venue" and not 0 < self.feed_latency_s < np.inf:
            raise ParamsError(
                f"feed_latency_s must be positive with clock='venue', was {self.feed_latency_s}; "
                "nobody has a quote at the moment the venue stamps it, give the time it takes to arrive"
            )
        if self.clock == "receiver" and self.feed_latency_s != 0:
            raise ParamsError(
                f"feed_latency_s goes with clock='venue', was {self.feed_latency_s}; the receiver's stamps contain it"
            )

    @property
    def name(self) -> str:
        """The file, or "the spot table" of one in memory."""
        return str(self.path) if isinstance(self.path, str | Path) else f"the {self.context.leg} table"


def check_kind(name: str, kind: str) -> None:
    """Refuse a kind of recording that is neither (ParamsError)."""
    if kind not in (UPDATES, SNAPSHOTS):
        raise ParamsError(f"{name} must be {UPDATES!r} or {SNAPSHOTS!r}, was {kind!r}; say how the recording was made")


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of one leg as recorded: arrays of shape (n,), USDT per base unit and the file's own unit of quantity.

    `ts_ns` is the stamp, `venue_ns` the venue's where both were recorded; `parts` are the files with their rows, and
    `recognised` what a file of another layout than ours was taken for.
    """

    ts_ns: np.ndarray
    bid: np.ndarray
    bid_qty: np.ndarray
    ask: np.ndarray
    ask_qty: np.ndarray
    venue_ns: np.ndarray | None = None
    parts: tuple[tuple[Path, int], ...] = ()
    recognised: Recognised | None = None

    def __len__(self) -> int:
        return len(self.ts_ns)

    def columns(self) -> list[np.ndarray]:
        """The arrays there are, stamps first."""
        return [column for f in fields(self)[:-2] if (column := getattr(self, f.name)) is not None]

    def take(self, at: np.ndarray) -> "Rows":
        return Rows(*(column[at] for column in self.columns()))

    def located(self, row: int) -> str:
        """The file of a row and its number there, counted from 0 without the header, as words."""
        return located(self.parts, row)


def located(parts: Sequence[tuple[Path, int]], row: int) -> str:
    """The same of the files with their rows."""
    for path, n in parts:
        if row < n:
            return f"{path}, row {row}"
        row -= n
    return f"row {row}"


def rows_of(leg: LegFile) -> Rows:
    """All rows of a recording, in the order of the files.

    Raises:
        DataError: nothing there, nothing in it, another format or a mixture, unreadable, missing or unknown
            columns, a column of another type, a row without a stamp. Names file, row and remedy.
    """
    whole = whole_columns(leg, COLUMNS)
    rows = Rows(*(whole.columns.get(name) for name in (*COLUMNS, VENUE_STAMP)), whole.parts, whole.recognised)
    if rows.venue_ns is not None and len(rows) >= _ENOUGH and np.array_equal(rows.ts_ns, rows.venue_ns):
        raise DataError(
            f"{leg.name}: the receiver's stamps are the venue's in every row, so nobody knows when a quote arrived; drop "
            f"{VENUE_STAMP} and say how long it takes: --{leg.context.leg}-feed-latency SECONDS"
        )
    refuse_coins(leg, rows.bid_qty, whole.recognised)
    return rows


def refuse_coins(leg: LegFile, sizes: np.ndarray, recognised: Recognised | None) -> None:
    """Refuse sizes that were declared as contracts of several coins and lie on the grid of coins (see `formats.columns`)."""
    if recognised is None and leg.contract_size > 1 and on_grid(sizes, leg.contract_size) == layouts.COINS:
        raise DataError(
            f"{leg.name}: its sizes are coins already: all are whole multiples of the contract of {leg.contract_size:g}; "
            f"give --contract-size 1 with --perp-step {leg.contract_size:g}, or --{leg.context.leg}-format "
            "quantity=coins (quantity=contracts where they are contracts after all)"
        )


@dataclass(frozen=True, slots=True, eq=False)
class LegColumns:
    """The columns of all files of a recording, joined; the files with their rows; what another layout was taken for."""

    columns: dict[str, np.ndarray]
    parts: tuple[tuple[Path, int], ...]
    recognised: Recognised | None


def whole_columns(leg: LegFile, wanted: Sequence[str]) -> LegColumns:
    """The columns of a recording; errors as `rows_of`."""
    if not isinstance(leg.path, str | Path):
        reading = read_frame(leg.path, _kind(wanted), _options(leg), _context(leg))
        return LegColumns(_needed(reading, wanted, leg), ((Path(leg.name), len(reading)),), reading.recognised)
    if recorded.is_recorded(leg.path):
        return _recorded(leg)
    columns: dict[str, list[np.ndarray]] = {}
    parts: list[tuple[Path, int]] = []
    taken_for: list[Recognised | None] = []
    for path in files_of(leg.path):
        part, recognised = _part(path, leg, wanted)
        if parts and set(part) != set(columns):
            raise DataError(
                f"{path} has the columns {sorted(part)}, {parts[0][0]} has {sorted(columns)}; record in one form"
            )
        if VENUE_STAMP in part and leg.clock == "venue":
            raise DataError(
                f"{path} has both stamps ({VENUE_STAMP}); declare clock='receiver', the legs are joined on its clock"
            )
        for name, pieces in part.items():
            columns.setdefault(name, []).extend(pieces)
        parts.append((path, sum(map(len, part[STAMP]))))
        taken_for.append(recognised)
    if not sum(n for _, n in parts):
        raise DataError(f"{leg.path} has no rows; give a recording that contains quotes")
    whole = LegColumns(
        {name: _joined(columns.pop(name)) for name in list(columns)}, tuple(parts), _one(taken_for, parts)
    )
    return _ranged(leg, whole) if recorded.is_ranged(leg.path) else whole


def _recorded(leg: LegFile) -> LegColumns:
    """Quotes or trades as `record` wrote them, of the range that is asked for."""
    wanted = recorded.DatasetRange.of(leg.path)
    if leg.clock == "venue":
        raise DataError(
            f"{wanted.folder} has our own stamps, which contain the feed's latency; leave the feed latency away"
        )
    whole: dict[str, np.ndarray] = {}
    parts: list[tuple[Path, int]] = []
    for part in recorded.parts(wanted):
        parts.append((part.path, part.table.num_rows))
        for name, column in recorded.columns(part, wanted.layout).items():
            _extend(whole.setdefault(name, np.empty(0, column.dtype)), column)
    if not sum(n for _, n in parts):
        raise DataError(f"{leg.path} has no rows; give a range in which {wanted.layout.name} were recorded")
    return LegColumns(whole, tuple(parts), None)


def _extend(whole: np.ndarray, piece: np.ndarray) -> None:
    """Append in place, so that no more than one file is in memory twice."""
    n = len(whole)
    whole.resize(n + len(piece), refcheck=False)
    whole[n:] = piece


def _ranged(leg: LegFile, whole: LegColumns) -> LegColumns:
    """Of downloaded months, the rows within the range; its first file is told as where they are."""
    wanted = recorded.DatasetRange.of(leg.path)
    stamps = whole.columns[STAMP]
    inside = (stamps >= wanted.start_ns) & (stamps < wanted.end_ns)
    if not inside.any():
        raise DataError(f"{leg.path} has no rows; give a range that was downloaded")
    columns = {name: column[inside] for name, column in whole.columns.items()}
    return LegColumns(columns, ((wanted.folder, int(inside.sum())),), whole.recognised)


def _one(taken_for: Sequence[Recognised | None], parts: Sequence[tuple[Path, int]]) -> Recognised | None:
    """What the files of a folder were taken for; sizes of two units do not go into one column."""
    first = taken_for[0]
    for other, (path, _) in zip(taken_for, parts, strict=True):
        if (other and (other.kind, other.quantity, other.clock)) != (
            first and (first.kind, first.quantity, first.clock)
        ):
            raise DataError(f"{path} is taken for {other}, {parts[0][0]} for {first}; keep one layout in a folder")
    return first


def _part(path: Path, leg: LegFile, wanted: Sequence[str]) -> tuple[dict[str, list[np.ndarray]], Recognised | None]:
    """The columns of one file, each in pieces: in our own layout as they stand, in any other as it is recognised."""
    if leg.options == NO_OPTIONS and path.suffix in FORMATS and is_ours(path, wanted):
        try:
            part = columns_of(path)
            if not _newest_first(part[STAMP]):
                return part, None
        except OtherUnitError:
            pass
    reading = read(path, _kind(wanted), _options(leg), _context(leg))
    return {name: [column] for name, column in _needed(reading, wanted, leg).items()}, reading.recognised


def _newest_first(pieces: Sequence[np.ndarray]) -> bool:
    """Whether every row is older than the one before, within and between the pieces of a column of stamps."""
    ends = np.concatenate([piece[[0, -1]] for piece in pieces if len(piece)] or [np.zeros(0, np.int64)])
    return sum(map(len, pieces)) >= 16 and ends[0] > ends[-1] and bool((np.diff(_joined(list(pieces))) < 0).all())


def _kind(wanted: Sequence[str]) -> str:
    return layouts.QUOTES if wanted == COLUMNS else layouts.CANDLES


def _options(leg: LegFile) -> FormatOptions:
    """A leg that was declared to be on the venue's clock is so in its file too."""
    return replace(leg.options, clock="venue") if leg.clock == "venue" and not leg.options.clock else leg.options


def _context(leg: LegFile) -> LegContext:
    return replace(leg.context, contract_size=leg.contract_size)


def _needed(reading: Reading, wanted: Sequence[str], leg: LegFile) -> dict[str, np.ndarray]:
    """The columns of ours of a reading, or a question where the file lacks what a tape needs."""
    missing = [name for name in wanted if name not in reading.columns]
    if missing:
        raise DataError(
            f"{leg.name} ({reading.recognised.layout}) has no {' and no '.join(missing)}, and nothing can be filled without; "
            "give a file that has it"
        )
    if "bid_quantity" in wanted and not np.isfinite(reading.columns["bid_quantity"]).any():
        raise DataError(
            f"{leg.name} ({reading.recognised.layout}) has no sizes, and nothing fills without one; say what is shown on "
            f"both sides, in coins: --{leg.context.leg}-format size=100"
        )
    if reading.recognised.clock == "venue" and leg.clock != "venue":
        raise DataError(
            f"{leg.name} ({reading.recognised.layout}) has the venue's stamps only, and nobody has a quote at that moment; "
            f"say how long it takes to arrive: --{leg.context.leg}-feed-latency 0.05 (seconds)"
        )
    return {name: column for name, column in reading.columns.items() if name in (*wanted, VENUE_STAMP)}


def coins_a_unit(leg: LegFile, recognised: Recognised | None) -> float:
    """Base units in a unit of size: one where the file itself is in coins, else the declared contract size."""
    return 1.0 if recognised and recognised.quantity == layouts.COINS else leg.contract_size


def is_candles(leg: LegFile) -> bool:
    """Whether a recording holds candles, by its first file; DataError where it cannot be read."""
    if not isinstance(leg.path, str | Path):
        return {*CANDLES[1:]} <= {str(name).lower() for name in leg.path.columns}
    if recorded.is_recorded(leg.path):
        return False
    file = files_of(leg.path)[0]
    names = names_in(file) if file.suffix in FORMATS else []
    if leg.options == NO_OPTIONS and set(COLUMNS) <= set(names):
        return False
    return kind_of(file, leg.options, leg.context) == layouts.CANDLES


def _joined(pieces: list[np.ndarray]) -> np.ndarray:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def files_of(path: str | Path) -> list[Path]:
    """The files of a recording in the order of their names; other kinds of file in a folder are left alone."""
    if recorded.is_recorded(path):
        return recorded.files(recorded.DatasetRange.of(path))
    file, _ = split(path)
    if not file.exists():
        raise DataError(f"{path} does not exist; download or record it first, or correct the path")
    if not file.is_dir():
        if form(file) not in SUFFIXES:
            raise DataError(f"{path} is none of {' '.join(SUFFIXES)}; convert it to one of them")
        return [Path(path)]
    if _is_one_table(file):
        return [file]
    files = sorted(each for each in file.iterdir() if form(each) in SUFFIXES and each.is_file())
    if recorded.is_ranged(path):
        files = recorded.within(recorded.DatasetRange.of(path), files)
    if not files:
        raise DataError(
            f"the folder {path} holds no {' or '.join(FORMATS)} file; give the folder of one leg's recording"
        )
    kinds = {form(each) for each in files}
    if len(kinds) > 1:
        raise DataError(
            f"the folder {path} mixes {' and '.join(sorted(kinds))} files; keep one form of the recording in it"
        )
    return files


def _is_one_table(folder: Path) -> bool:
    """A folder with a Delta log, or with partitions like `venue=mexc`, is read as a whole."""
    return any(each.is_dir() and (each.name == "_delta_log" or "=" in each.name) for each in folder.iterdir())


def sha256(path: str | Path) -> str:
    """Hex digest of a recording's bytes: the file, or the folder's files in the order of their names; of what `record` wrote,
    that of the rows of the range, which grows and is compacted without changing them."""
    if recorded.is_recorded(path):
        return recorded.content_digest(path)
    digest = hashlib.sha256()
    for file in _on_disk(path):
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _on_disk(path: str | Path) -> list[Path]:
    """The files that hold a recording, those inside a folder that is one table too."""
    files = [split(file)[0] for file in files_of(path)]
    return sorted(each for each in files[0].rglob("*") if each.is_file()) if files[0].is_dir() else files
