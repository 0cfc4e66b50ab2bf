"""The funding history of a run: a file read and checked, what it pays on, and the part of a tape that it covers.

Columns `timestamp`, `funding_rate` (a fraction that longs pay shorts at that time) and, where recorded, `mark_price`;
any other layout is read by `delta_arb.formats`.

What can be wrong though every row is a number was found on real files: rates in percent; the rate of eight hours on every hourly
row; times of another zone than the venue's; one settlement stored twice, milliseconds apart; a history of zeros. A wrong table is
charged to every pair held, so what would change the money is refused, with the option that says it is right after all; what only
looks odd is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from delta_arb.command import moment
from delta_arb.errors import DataError, ParamsError
from delta_arb.formats.funding import INDICATIVE
from delta_arb.formats.read import LegContext, Reading, Recognised, read, read_frame
from delta_arb.formats.recognise import NO_OPTIONS, FormatOptions
from delta_arb.funding_stamps import gaps
from delta_arb.market import HOUR_NS, NEVER, NS, FundingPayment, utc
from delta_arb.quotes.columns import EARLIEST_NS, FORMATS, names_in
from delta_arb.quotes.files import files_of
from delta_arb.quotes.tape import Tape
from delta_arb.tables import share

MEDIAN_BPS, YEARLY = 10.0, 3.0  # above either, rates are no fractions of one interval
_TWICE = 1 / 50  # of the usual step: no settlements are that near to each other
_OFF_NS = 90 * NS  # a stamp up to a minute late is still its hour's
_FEW = 10  # rates that say nothing yet about all of them
_BY_CHANCE = 1e-4
# From when on a venue computes its funding by another formula, as it announced, UTC.
ANNOUNCED = {"gate": ("2026-05-27",)}
# Where an interval of eight hours does not begin at midnight UTC.
_SHIFTED_H = {"kucoin": 4, "bitmex": 4}


def check_rates(name: str, stamps: np.ndarray, rates: np.ndarray, options) -> None:
    """Refuse a history whose rates cannot be what was settled; `options` (`formats.FormatOptions`) overrules.

    Raises:
        DataError: names the rows, what the table would pay, and the option that says that it is right.
    """
    steps = np.diff(stamps)
    again = np.flatnonzero(steps <= _TWICE * np.median(steps))
    if len(again):
        k = int(again[0])
        raise DataError(
            f"{name}: rows {k} and {k + 1} are the same settlement twice, {utc(int(stamps[k]))} and {utc(int(stamps[k + 1]))} "
            f"UTC ({len(again)} such rows); keep one of them"
        )
    if len(rates) > 1 and not np.any(rates):
        raise DataError(
            f"{name}: all {len(rates)} rates are 0; give the settled rates, or leave funding out knowingly (--funding none)"
        )
    if len(rates) < _FEW:
        return
    if not options.rate:
        _refuse_percent(name, stamps, rates)
    if not options.interval:
        _refuse_repeats(name, stamps, rates)


def _refuse_percent(name: str, stamps: np.ndarray, rates: np.ndarray) -> None:
    median_bps = float(np.median(np.abs(rates))) * 1e4
    a_year = float(rates.sum()) / (float(stamps[-1] - stamps[0]) / (8766 * HOUR_NS))
    if median_bps > MEDIAN_BPS or abs(a_year) > YEARLY:
        raise DataError(
            f"{name}: the median rate is {median_bps:.3g} bps a settlement and a year of them {share(a_year)}: rates look like percent; "
            "divide by 100, or say --funding-format rate=percent (rate=fraction where they are right as they stand)"
        )


def _refuse_repeats(name: str, stamps: np.ndarray, rates: np.ndarray) -> None:
    """Rates in runs of equal values that change only on a coarser grid than the rows stand on."""
    hours = _repeated_h(stamps, rates)
    if not hours:
        return
    a_day = len(rates) / (float(stamps[-1] - stamps[0]) / (24 * HOUR_NS))
    same = float(np.mean(rates[1:] == rates[:-1]))
    raise DataError(
        f"{name}: {a_day:.3g} rows a day would pay {float(rates.mean()) * a_day * 1e4:.3g} bps a day, but {share(same)} of the rates equal "
        f"the one before and they change every {hours:g} h only, so each stands on several rows; say when it is paid: --funding-format "
        f"interval={hours:g},settles=first (or settles=after; interval={_step_h(stamps):g} where every row is paid)"
    )


def _step_h(stamps: np.ndarray) -> float:
    return float(np.median(np.diff(stamps))) / HOUR_NS


def _repeated_h(stamps: np.ndarray, rates: np.ndarray) -> float:
    """Hours between changes of rates that stand on a finer grid; 0 where rates are not repeated so.

    If changes fell anywhere, each would lie on one coarser grid with probability step / grid.
    """
    step_h = _step_h(stamps)
    changes = np.rint(stamps[1:][rates[1:] != rates[:-1]] / HOUR_NS)
    for hours in (8.0, 4.0, 2.0):
        if step_h > hours / 1.5 or len(changes) < 2:
            continue
        if len(np.unique(changes % hours)) == 1 and (step_h / hours) ** (len(changes) - 1) < _BY_CHANCE:
            return hours
    return 0.0


def changes(text: str, venue: str) -> tuple[int, ...]:
    """Times (ns) from which funding follows other rules, rising: those of a list; if it is empty, what the venue announced.

    Raises:
        ParamsError: a word that is no time.
    """
    announced = next((days for begin, days in ANNOUNCED.items() if venue.lower().startswith(begin)), ())
    days = text.split(",") if text else announced
    try:
        return () if text == "none" else tuple(sorted(moment(day.strip()) * (NS // 1000) for day in days))
    except ParamsError as error:
        raise ParamsError(f"--funding-changes {text}: {error}; or say none") from None


def notes_on(name: str, stamps: np.ndarray, venue: str) -> tuple[str, ...]:
    """What every page must say of the times of a history: hours that are not the venue's, settlements that are missing."""
    return (*_hours(name, stamps, venue), *_missing(name, stamps))


def _hours(name: str, stamps: np.ndarray, venue: str) -> Sequence[str]:
    steps = np.diff(stamps)
    interval_ns = round(float(np.median(steps)) / HOUR_NS) * HOUR_NS
    if not interval_ns or interval_ns > 24 * HOUR_NS:
        return ()
    shift_h = next((hours for begin, hours in _SHIFTED_H.items() if venue.lower().startswith(begin)), 0)
    off = (stamps - shift_h * HOUR_NS + interval_ns // 2) % interval_ns - interval_ns // 2
    strange = np.abs(off) > _OFF_NS
    if strange.mean() < 0.05:
        return ()
    hours = sorted({int(t) // HOUR_NS % 24 for t in stamps[strange]})
    usual = range(shift_h, 24, int(interval_ns // HOUR_NS))
    lines = [
        f"settlement hours {_listed(hours)} UTC of {name} are not those of {venue or 'the venue'} ({_listed(usual)}): "
        "times without a zone are taken as UTC, say --funding-format zone=... if they are local"
    ]
    late_h = np.rint(off / HOUR_NS).astype(int)
    turns = np.flatnonzero(np.diff(late_h))
    if len(turns):
        lines.append(
            f"the hours of {name} change within it, first after {utc(int(stamps[turns[0]]))}: "
            "local times of a zone with summer time look so"
        )
    return lines


def _listed(hours: Sequence[int]) -> str:
    return ", ".join(f"{hour:02d}" for hour in list(hours)[:8]) + (", ..." if len(hours) > 8 else "")


def _missing(name: str, stamps: np.ndarray) -> Sequence[str]:
    holes = [hole for hole in gaps(stamps.tolist()) if hole[0] > -NEVER and hole[1] < NEVER]
    if not holes:
        return ()
    return (
        f"{name} lacks settlements between {utc(holes[0][0])} and {utc(holes[0][1])} UTC"
        f"{f' and in {len(holes) - 1} more places' if len(holes) > 1 else ''}: a pair held over one is refused",
    )


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

    It begins one interval before the table and ends one behind it. What was left out is told by `tables.left_out`.

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
