"""What can be wrong with a funding history though every row of it is a number: units, times, repeats, holes.

Found on real files, each: rates in percent; the rate of eight hours on every hourly row; times of another zone than the
venue's; one settlement stored twice, milliseconds apart; a history of zeros. A wrong table is charged to every pair
held, so what would change the money is refused, with the option that says it is right after all; what only looks odd is told.
"""

from collections.abc import Sequence

import numpy as np

from delta_arb.command import moment
from delta_arb.errors import DataError, ParamsError
from delta_arb.funding_stamps import gaps
from delta_arb.market import NEVER, NS, utc

HOUR_NS = 3600 * NS
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
            f"{name}: the median rate is {median_bps:.3g} bps a settlement and a year of them {a_year:.0%}: rates look like percent; "
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
        f"{name}: {a_day:.3g} rows a day would pay {float(rates.mean()) * a_day * 1e4:.3g} bps a day, but {same:.0%} of the rates equal "
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
