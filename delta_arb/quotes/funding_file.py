"""The funding history of a run: a file read and checked, what it pays on, and the part of a tape that it covers.

Columns `timestamp`, `funding_rate` (a fraction that longs pay shorts at that time) and, where recorded, `mark_price`.
"""

from pathlib import Path

import numpy as np

from delta_arb.errors import DataError
from delta_arb.funding_stamps import gaps
from delta_arb.market import FundingPayment, utc
from delta_arb.quotes.tape import Tape

FAR = 2.0  # a mark price beyond this factor of the perpetual's mid is not that contract's


def covered(tape: Tape, path: Path) -> Tape:
    """The part of a tape in which a position can be settled: up to the first stamp that the funding table lacks.

    It begins one interval before the table and ends one behind it. What was left out is told by `faces.left_out`.

    Raises:
        DataError: a funding file that cannot be used, or of another time.
    """
    stamps = _read(path)[0].tolist()
    (_, first_ns), (last_ns, _) = gaps(stamps)[:2]
    part = tape.between(first_ns, last_ns + 1)
    if not len(part):
        raise DataError(
            f"{path} covers {utc(first_ns)} to {utc(last_ns)}, the quotes {utc(tape.start_ns)} to {utc(tape.end_ns)} UTC: "
            "no hold could be settled; fetch the funding of that time (--funding FILE), or leave it out (--funding none)"
        )
    return part


def payments(path: Path, tape: Tape) -> tuple[FundingPayment, ...]:
    """The stamps of a funding history; where the mark was not recorded, the perpetual's mid at the stamp (flagged).

    Raises:
        DataError: a file that cannot be used, or a mark far from the perpetual's mid at its stamp.
    """
    stamps, rates, recorded = _read(path)
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


def _read(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The checked columns of a funding file, see `_columns`."""
    import pyarrow as pa

    if not path.exists():
        raise DataError(f"{path}: there is no such funding file; give one, or --funding none")
    try:
        stamps, rates, recorded = _columns(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read: {error}; give a Parquet or CSV file, or --funding none") from error
    bad = np.flatnonzero(~np.isfinite(rates) | (np.abs(rates) > 0.1))
    if len(bad):
        raise DataError(
            f"{path}: row {bad[0]} has the funding rate {rates[bad[0]]}; a fraction of notional per interval is expected"
        )
    bad = np.flatnonzero((recorded <= 0) | np.isinf(recorded))
    if len(bad):
        raise DataError(
            f"{path}: row {bad[0]} has the mark price {recorded[bad[0]]}; leave the cell empty where none was recorded"
        )
    if len(stamps) < 2 or np.any(np.diff(stamps) <= 0):
        raise DataError(f"{path}: need at least two funding stamps in rising order; sort the file and drop repeats")
    return stamps, rates, recorded


def _columns(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stamps in ns, rates and recorded marks (NaN where there is none) of a funding file."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    table = pyarrow.csv.read_csv(path) if path.suffix == ".csv" else pyarrow.parquet.ParquetFile(path).read()
    unknown = set(table.column_names) - {"timestamp", "funding_rate", "mark_price"}
    missing = {"timestamp", "funding_rate"} - set(table.column_names)
    if unknown or missing:
        raise DataError(
            f"{path}: need the columns timestamp, funding_rate and perhaps mark_price; "
            f"missing {sorted(missing)}, unknown {sorted(unknown)}"
        )
    if table["timestamp"].null_count:
        raise DataError(f"{path}: a row has no timestamp; remove it, its place in time is not known")
    # to_pylist and not to_numpy, which would load pandas into the live runner
    stamps = np.array(table["timestamp"].cast(pa.timestamp("ns", "UTC")).cast(pa.int64()).to_pylist(), np.int64)
    rates = np.array(table["funding_rate"].cast(pa.float64()).to_pylist(), float)
    if "mark_price" not in table.column_names:
        return stamps, rates, np.full(len(stamps), np.nan)
    return stamps, rates, np.array(table["mark_price"].cast(pa.float64()).to_pylist(), float)


def _mids_at(stamps: np.ndarray, tape: Tape) -> np.ndarray:
    """The perpetual's mid of the last event at or before each stamp; before the quotes, that of the first one."""
    row = np.maximum(np.searchsorted(tape.ts_ns, stamps, side="right") - 1, 0)
    return 0.5 * (tape.perp_bid[row] + tape.perp_ask[row])
