"""The funding history of a run: a file read and checked, what it pays on, and the part of a tape that it covers.

Columns `timestamp`, `funding_rate` (a fraction that longs pay shorts at that time) and, where recorded, `mark_price`;
any other layout is read by `delta_arb.formats`.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from delta_arb.errors import DataError
from delta_arb.formats.funding import INDICATIVE
from delta_arb.formats.read import LegContext, Reading, Recognised, read, read_frame
from delta_arb.formats.recognise import NO_OPTIONS, FormatOptions
from delta_arb.funding_stamps import gaps
from delta_arb.market import FundingPayment, utc
from delta_arb.quotes.columns import EARLIEST_NS, FORMATS, names_in
from delta_arb.quotes.files import files_of
from delta_arb.quotes.funding_checks import check_rates, notes_on
from delta_arb.quotes.tape import Tape

FAR = 2.0  # a mark price beyond this factor of the perpetual's mid is not that contract's
FUNDING_OF = LegContext("funding")
_OURS = {"timestamp", "funding_rate", "mark_price"}


@dataclass(frozen=True, slots=True)
class FundingFile:
    """Where a funding history is, and what the user says of it.

    Args:
        path: a file, or a pandas table.
        options: what the user says of a file of another layout than ours.
        context: the perpetual's pair and venue: which rows of a file that holds several.
    """

    path: str | Path
    options: FormatOptions = NO_OPTIONS
    context: LegContext = FUNDING_OF

    @property
    def name(self) -> str:
        return str(self.path) if isinstance(self.path, str | Path) else "the funding table"


@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """A checked funding history: stamps (int64 ns, rising), rates as fractions of an interval, marks (NaN: not recorded).

    `recognised` is what a file of another layout than ours was taken for; `notes` what every page must say of the times.
    """

    name: str
    stamps: np.ndarray
    rates: np.ndarray
    marks: np.ndarray
    recognised: Recognised | None = None
    notes: tuple[str, ...] = ()


def covered(tape: Tape, history: Path | FundingFile) -> Tape:
    """The part of a tape in which a position can be settled: up to the first stamp that the funding table lacks.

    It begins one interval before the table and ends one behind it. What was left out is told by `faces.left_out`.

    Raises:
        DataError: a funding file that cannot be used, or of another time.
    """
    found = funding_history(history)
    path, stamps = found.name, found.stamps.tolist()
    (_, first_ns), (last_ns, _) = gaps(stamps)[:2]
    part = tape.between(first_ns, last_ns + 1)
    if not len(part):
        raise DataError(
            f"{path} covers {utc(first_ns)} to {utc(last_ns)}, the quotes {utc(tape.start_ns)} to {utc(tape.end_ns)} UTC: "
            "no hold could be settled; fetch the funding of that time (--funding FILE), or leave it out (--funding none)"
        )
    return part


def payments(history: Path | FundingFile, tape: Tape) -> tuple[FundingPayment, ...]:
    """The stamps of a funding history; where the mark was not recorded, the perpetual's mid at the stamp (flagged).

    Raises:
        DataError: a file that cannot be used, or a mark far from the perpetual's mid at its stamp.
    """
    found = funding_history(history)
    path, stamps, rates, recorded = found.name, found.stamps, found.rates, found.marks
    exact, mids = np.isfinite(recorded), _mids_at(stamps, tape)
    inside = (stamps >= tape.start_ns) & (stamps <= tape.end_ns)
    far = np.flatnonzero(inside & exact & ~((recorded > mids / FAR) & (recorded < mids * FAR)))
    if len(far):
        raise DataError(
            f"{path}: the mark price {recorded[far[0]]:g} at {utc(int(stamps[far[0]]))} UTC is far from the perpetual's "
            f"mid of {mids[far[0]]:g}; give the history of this contract, in USDT per base unit"
        )
    marks = np.where(exact, recorded, mids)
    return tuple(
        FundingPayment(int(t), float(r), float(m), bool(e))
        for t, r, m, e in zip(stamps, rates, marks, exact, strict=True)
    )


def funding_history(history: str | Path | FundingFile) -> Rates:
    """The checked rates of a funding history.

    Raises:
        DataError: a file that cannot be used, or that leaves open what its rates or times are.
    """
    source = history if isinstance(history, FundingFile) else FundingFile(history)
    if isinstance(source.path, str | Path) and not Path(str(source.path).partition("#")[0]).exists():
        raise DataError(f"{source.name}: there is no such funding file; give one, or --funding none")
    stamps, rates, marks, recognised = _columns(source)
    _refuse_rows(source.name, stamps, rates, marks)
    check_rates(source.name, stamps, rates, source.options)
    return Rates(
        source.name, stamps, rates, marks, recognised, notes_on(Path(source.name).name, stamps, source.context.venue)
    )


def _refuse_rows(path: str, stamps: np.ndarray, rates: np.ndarray, marks: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(rates) | (np.abs(rates) > 0.1))
    if len(bad):
        raise DataError(
            f"{path}: row {bad[0]} has the funding rate {rates[bad[0]]}; a fraction of notional per interval is expected, "
            "say what it is: --funding-format rate=percent (or rate=bps)"
        )
    bad = np.flatnonzero((marks <= 0) | np.isinf(marks))
    if len(bad):
        raise DataError(
            f"{path}: row {bad[0]} has the mark price {marks[bad[0]]}; leave the cell empty where none was recorded"
        )
    if len(stamps) < 2:
        raise DataError(
            f"{path}: need at least two funding stamps, has {len(stamps)}; record longer, or say --funding none"
        )
    if np.any(np.diff(stamps) < 0):
        raise DataError(f"{path}: need funding stamps in rising order; sort the file")


def _columns(source: FundingFile) -> tuple[np.ndarray, np.ndarray, np.ndarray, Recognised | None]:
    """Stamps in ns, rates and recorded marks (NaN where there is none), and what another layout was taken for; those of a
    folder's files one behind the other."""
    if isinstance(source.path, str | Path) and Path(source.path).is_dir() and len(parts := files_of(source.path)) > 1:
        *columns, recognised = zip(*(_columns(replace(source, path=part)) for part in parts), strict=True)
        return *map(np.concatenate, columns), recognised[0]
    if isinstance(source.path, str | Path):
        path = Path(source.path)
        path = files_of(path)[0] if path.is_dir() else path
        if (
            source.options == NO_OPTIONS
            and path.suffix in FORMATS
            and path.is_file()
            and _is_ours(path)
            and (own := _own(path))
        ):
            return *own, None
        reading = read(source.path, "funding", source.options, source.context)
    else:
        reading = read_frame(source.path, "funding", source.options, source.context)
    _refuse_indicative(source, reading)
    columns, n = reading.columns, len(reading)
    marks = columns.get("mark_price", np.full(n, np.nan))
    return columns["timestamp"], columns["funding_rate"], marks, reading.recognised


def _refuse_indicative(source: FundingFile, reading: Reading) -> None:
    if INDICATIVE in reading.recognised.notes and not source.options.indicative:
        raise DataError(
            f"{source.name} holds rates that were told ahead of a settlement ({reading.recognised.layout}), and none of them need "
            "be the one that was settled; give the history of settled rates, or take them knowingly: --funding-format indicative=accept"
        )


def _is_ours(path: Path) -> bool:
    names = names_in(path)
    return {"timestamp", "funding_rate"} <= set(names) <= _OURS and len(set(names)) == len(names)


def _own(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The columns of a file of our own layout; None where its stamps are numbers of another unit than ns, or turned."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    try:
        table = pyarrow.csv.read_csv(path) if path.suffix == ".csv" else pyarrow.parquet.ParquetFile(path).read()
        if table["timestamp"].null_count:
            raise DataError(f"{path}: a row has no timestamp; remove it, its place in time is not known")
        # to_pylist and not to_numpy, which would load pandas into the live runner
        stamps = np.array(table["timestamp"].cast(pa.timestamp("ns", "UTC")).cast(pa.int64()).to_pylist(), np.int64)
        rates = np.array(table["funding_rate"].cast(pa.float64()).to_pylist(), float)
        if pa.types.is_integer(table["timestamp"].type) and stamps.max(initial=0) < EARLIEST_NS:
            return None
        if len(stamps) > 2 and (np.diff(stamps) < 0).all():
            return None
        if "mark_price" not in table.column_names:
            return stamps, rates, np.full(len(stamps), np.nan)
        return stamps, rates, np.array(table["mark_price"].cast(pa.float64()).to_pylist(), float)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read: {error}; give a Parquet or CSV file, or --funding none") from error


def _mids_at(stamps: np.ndarray, tape: Tape) -> np.ndarray:
    """The perpetual's mid of the last event at or before each stamp; before the quotes, that of the first one."""
    then = tape.take(np.maximum(np.searchsorted(tape.ts_ns, stamps, side="right") - 1, 0))
    return 0.5 * (then.perp_bid + then.perp_ask)
