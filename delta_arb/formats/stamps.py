"""Times as files have them -> int64 ns UTC: text with or without a zone, numbers in s, ms, us or ns, typed columns.

The unit of a number is proven by its range: between 2001 and 2286 a time is a number of 10 digits in s, 13 in ms, 16
in us and 19 in ns, so no two units can be taken for each other. Text with decimals is read exactly, not as a float.
"""

import re
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from delta_arb.errors import DataError
from delta_arb.formats.arrays import floats, integers
from delta_arb.market import NS, utc

UNITS = {"s": NS, "ms": NS // 10**3, "us": NS // 10**6, "ns": 1}
NAIVE = "naive"
_EARLIEST, _LATEST = 10**9, 10**10  # seconds: 2001-09-09 to 2286-11-20
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)")
_ZONED = re.compile(r"(Z|[+-]\d\d(:?\d\d)?)$")


def to_ns(column: pa.ChunkedArray, where: str, unit: str = "", zone: str = "") -> tuple[np.ndarray, str]:
    """The times as int64 ns UTC, and the unit they were in: "s" ... "ns", "UTC" of zoned text, or `NAIVE`.

    Args:
        where: file and column, for messages.
        unit: overrules what the range says.
        zone: of times that name none, like Europe/Amsterdam or +03:00; also of numbers that count local time.

    Raises:
        DataError: an empty cell, a number that is a time in no unit, text that is no time, a zone that does not exist,
            a local time that does not exist or exists twice in it.
    """
    if column.null_count:
        raise DataError(
            f"{where}, row {int(np.flatnonzero(_nulls(column))[0])} is empty; remove the row, its place in time is not known"
        )
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type):
        return _typed(column, where, zone)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return _text(column, where, unit, zone)
    if pa.types.is_integer(column.type):
        return _local(*_whole(integers(column), where, unit), where, zone)
    if pa.types.is_floating(column.type):
        return _local(*_float(floats(column), where, unit), where, zone)
    raise DataError(f"{where} holds {column.type}; write UTC times or int64 nanoseconds")


def _nulls(column: pa.ChunkedArray) -> np.ndarray:
    return integers(column.is_null().cast(pa.uint8())).astype(bool)


def _typed(column, where: str, zone: str) -> tuple[np.ndarray, str]:
    aware = column.type.tz is not None
    ns = integers(column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64()))
    if aware and zone:
        raise DataError(f"{where} names its own zone ({column.type.tz}); leave zone={zone} away")
    return (ns, "UTC") if aware else _local(ns, NAIVE, where, zone)


def _text(column, where: str, unit: str, zone: str) -> tuple[np.ndarray, str]:
    first = column[0].as_py().strip()
    try:
        if re.fullmatch(r"-?\d+", first):
            return _local(*_whole(integers(pc.cast(column, pa.int64())), where, unit), where, zone)
        if re.fullmatch(r"-?\d+\.\d*", first):
            return _local(*_decimal(column, where, unit), where, zone)
        if _ZONED.search(first) and ":" in first:
            if zone:
                raise DataError(f"{where} names its own zone ({first}); leave zone={zone} away")
            return integers(pc.cast(column, pa.timestamp("ns", "UTC")).cast(pa.int64())), "UTC"
        naive = pc.cast(column, pa.timestamp("ns"))
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{where}: {error}; write times like 2026-03-29 06:30:00+00:00, or whole numbers of one unit"
        ) from error
    return _local(integers(naive.cast(pa.int64())), NAIVE, where, zone)


def _whole(numbers: np.ndarray, where: str, unit: str) -> tuple[np.ndarray, str]:
    unit = unit or proven_unit(numbers, where)
    return numbers.astype(np.int64) * UNITS[unit], unit


def _float(numbers: np.ndarray, where: str, unit: str) -> tuple[np.ndarray, str]:
    """Numbers of 64-bit floats, which are exact to a microsecond and no further."""
    unit = unit or proven_unit(numbers, where)
    return np.rint(numbers * (UNITS[unit] / 1e3)).astype(np.int64) * 1000, unit


def _decimal(column, where: str, unit: str) -> tuple[np.ndarray, str]:
    unit = unit or proven_unit(floats(pc.cast(column, pa.float64())), where)
    exact = pc.cast(column, pa.decimal128(38, 9))
    scaled = pc.multiply(exact.cast(pa.decimal256(38, 9)), pa.scalar(UNITS[unit]).cast(pa.decimal256(19, 0)))
    return integers(scaled.cast(pa.decimal256(58, 0), safe=False).cast(pa.int64())), unit


def proven_unit(numbers: np.ndarray, where: str) -> str:
    """The unit in which all of these are times of this century and the next two; DataError where there is none."""
    low, high = float(np.min(numbers)), float(np.max(numbers))
    for unit, ns in UNITS.items():
        scale = NS // ns
        if _EARLIEST * scale <= low and high < _LATEST * scale:
            return unit
    raise DataError(
        f"{where} runs from {low:.0f} to {high:.0f}, which is a time in no one unit (s, ms, us, ns); "
        "name the column of the time (timestamp=NAME), or split a file that changes its unit"
    )


def _local(ns: np.ndarray, unit: str, where: str, zone: str) -> tuple[np.ndarray, str]:
    """Local time counted as if it were UTC, moved to UTC."""
    if not zone or zone.upper() == "UTC":
        return ns, unit
    if fixed := _OFFSET.fullmatch(zone):
        minutes = int(fixed[2]) * 60 + int(fixed[3])
        return ns - (minutes if fixed[1] == "+" else -minutes) * 60 * NS, unit
    try:
        ZoneInfo(zone)
        moved = pc.assume_timezone(pa.array(ns).cast(pa.timestamp("ns")), zone)
    except (KeyError, ValueError, OSError) as error:
        raise DataError(f"there is no time zone {zone!r}; give one like Europe/Amsterdam or +03:00") from error
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{where}: {error}; in {zone} that hour does not exist or exists twice, export the times in UTC"
        ) from error
    return integers(moved.cast(pa.int64())), unit


def shown(ns: np.ndarray) -> str:
    """First and last time, as words."""
    return f"{utc(int(ns.min()))} to {utc(int(ns.max()))} UTC"
