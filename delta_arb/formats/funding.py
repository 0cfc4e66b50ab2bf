"""Funding tables: rates as fractions of one interval, a row for each settlement."""

from collections.abc import Mapping
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from delta_arb.errors import DataError
from delta_arb.formats.columns import in_order, numbers, texts, times, to_ns
from delta_arb.formats.layouts import TIME, Layout
from delta_arb.market import HOUR_NS, NS

_SCALE = {"fraction": 1.0, "percent": 1e-2, "bps": 1e-4}
_SHORTEST_H = 1 / 2  # settlements nearer to each other are not settlements


def settlements(
    of: Mapping[str, pa.ChunkedArray], layout: Layout, path: str, options
) -> tuple[dict[str, np.ndarray], str, str, list[str]]:
    """Our columns, the unit of the times, whose they are, and what was done.

    Stamps some milliseconds off the second are rounded to it, as the venue settles on it.

    Raises:
        DataError: rates told ahead and not settled, times of a zone that the file does not name and nothing proves,
            an interval that rows and column give differently.
    """
    of = {name: column.filter(pc.is_valid(of[TIME])) for name, column in of.items()}
    if "told" in of:  # of several rates for one settlement the last one told counts, however the rows stand
        order = pa.array(np.argsort(to_ns(of["told"], f"{path}: told", options.time)[0], kind="stable"))
        of = {name: column.take(order) for name, column in of.items()}
    rate, told = _rates(of, path, options)
    ns, unit, zone = _times(of, layout, path, options)
    columns = {TIME: _to_second(ns), "funding_rate": rate}
    if "mark_price" in of:
        marks = numbers(of["mark_price"])
        columns["mark_price"] = np.full(len(ns), np.nan) if marks is None else marks
    columns, order = in_order(columns, None, 3)
    told += order
    if layout.indicative or _is_indicative(columns[TIME]):
        columns, words = _last_told(columns) if layout.indicative else (columns, [])
        return columns, unit, zone, [*told, *words, INDICATIVE]
    hours = float(options.interval or 0) or _stated_hours(of)
    if hours and not (options.interval and hours == 1):
        columns, words = _once(columns, hours, layout, path, options)
        told += words
    return columns, unit, zone, told


INDICATIVE = "indicative rates, told ahead of a settlement"


def _to_second(ns: np.ndarray) -> np.ndarray:
    return (ns + NS // 2) // NS * NS


def _rates(of: Mapping, path: str, options) -> tuple[np.ndarray, list[str]]:
    """Rates as fractions; text with a % is percent."""
    column = of["funding_rate"]
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        percent = bool(pc.any(pc.ends_with(column, pattern="%")).as_py())
        column = pc.replace_substring(pc.utf8_trim_whitespace(column), "%", "")
    else:
        percent = False
    rates = numbers(column)
    if rates is None:
        raise DataError(
            f"{path}: funding_rate holds text like {column[0].as_py()!r}, not numbers; name the column of the rates"
        )
    unit = options.rate or ("percent" if percent else "fraction")
    return rates * _SCALE[unit], [f"rates in {unit}"] * (unit != "fraction")


def _times(of: Mapping, layout: Layout, path: str, options) -> tuple[np.ndarray, str, str]:
    ns, unit, zone = times(of, path, options)
    if options.zone or not layout.local:
        return ns, unit, zone
    zone = _proven_zone(ns, _stated_hours(of) or 8.0)
    if not zone:
        raise DataError(
            f"{path}: its times are in the zone of the browser that exported it, which the file does not name and its hours do not "
            "prove; say which: --funding-format zone=Europe/Amsterdam (or UTC)"
        )
    return (
        to_ns(of[TIME], f"{path}: {TIME}", options.time, zone)[0],
        unit,
        f"local times like those of {zone}, proven by the hours and the change of the clock",
    )


def _proven_zone(local_ns: np.ndarray, hours: float) -> str:
    """A zone in which every time is a settlement's, if all zones that are so agree on every time; else ""."""
    day_ns, grid_ns = 24 * HOUR_NS, round(hours * HOUR_NS)
    if len({int(t) % grid_ns for t in local_ns}) < 2:
        return ""  # the clock did not change in it: zones 8 hours apart look alike
    found: dict[tuple[int, ...], str] = {}
    whole = _to_second(local_ns)
    for zone in _zones():
        offsets = _offsets(zone, int(whole.min()) // day_ns, int(whole.max()) // day_ns)
        if offsets is None:
            continue
        try:
            utc_ns = to_ns(pa.chunked_array([pa.array(whole)]), "", "ns", zone)[0]
        except DataError:
            continue
        if not (utc_ns % grid_ns).any() and (np.diff(np.sort(utc_ns)) == grid_ns).mean() > 0.9:
            found.setdefault(tuple(utc_ns.tolist()), zone)
    return next(iter(found.values())) if len(found) == 1 else ""


@lru_cache
def _zones() -> tuple[str, ...]:
    plain = sorted(
        zone
        for zone in available_timezones()
        if "/" in zone and not zone.startswith(("Etc/", "SystemV/", "posix", "right"))
    )
    return tuple(sorted(plain, key=lambda zone: (zone != "Europe/Amsterdam", zone)))


def _offsets(zone: str, first_day: int, last_day: int) -> tuple[int, int] | None:
    """The zone's offsets of the first and the last day; None where its clock did not change between them."""
    from datetime import UTC, datetime

    at = [
        datetime.fromtimestamp(day * 86_400, UTC).astimezone(ZoneInfo(zone)).utcoffset()
        for day in (first_day, last_day + 1)
    ]
    return None if at[0] == at[1] else (int(at[0].total_seconds()), int(at[1].total_seconds()))


def _stated_hours(of: Mapping) -> float:
    """Hours between settlements that a column tells, of hours, minutes or ms; 0 where there is none, or several."""
    if "interval" not in of:
        return 0.0
    cells = {cell.rstrip("hH ") for cell in texts(of["interval"].unique()).to_pylist() if cell}
    if len(cells) != 1:
        return 0.0
    try:
        value = float(cells.pop())
    except ValueError:
        return 0.0
    return value if value <= 24 else value / 60 if value <= 24 * 60 else value / 3.6e6


def _is_indicative(ns: np.ndarray) -> bool:
    return len(ns) > 2 and float(np.median(np.diff(np.sort(ns)))) < _SHORTEST_H * HOUR_NS


def _last_told(columns: dict) -> tuple[dict[str, np.ndarray], list[str]]:
    """Of rates told for a settlement, the last one."""
    ns = columns[TIME]
    last = np.append(np.flatnonzero(np.diff(ns)), len(ns) - 1)
    return {name: column[last] for name, column in columns.items()}, [
        f"the last rate told before each of {len(last)} settlements"
    ]


def _once(columns: dict, hours: float, layout: Layout, path: str, options) -> tuple[dict[str, np.ndarray], list[str]]:
    """One row a settlement, where the rate of an interval stands on several rows."""
    ns, grid_ns = columns[TIME], round(hours * HOUR_NS)
    if len(ns) < 2 or float(np.median(np.diff(ns))) > 0.9 * grid_ns:
        return columns, []
    settles = options.settles or ("after" if layout.repeats else "")
    if not settles:
        raise DataError(
            f"{path}: the rate of {hours:g} h stands on several rows; say when it is paid, at the first of them or after the last: "
            f"--funding-format interval={hours:g},settles=first (or settles=after)"
        )
    group = ns // grid_ns
    first = np.append(0, np.flatnonzero(np.diff(group)) + 1)
    rates = columns["funding_rate"]
    if (np.maximum.reduceat(rates, first) != np.minimum.reduceat(rates, first)).any():
        raise DataError(
            f"{path}: rates change within {hours:g} h, so they are not the rates of that interval; correct interval={hours:g}"
        )
    kept = {name: column[first] for name, column in columns.items()} | {
        TIME: (group[first] + (settles == "after")) * grid_ns
    }
    when = "after the last" if settles == "after" else "at the first"
    return kept, [f"{len(ns)} rows for {len(first)} settlements every {hours:g} h, paid {when} of its rows"]
