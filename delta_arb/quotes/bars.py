"""One leg's candle file as bars on a grid: read, checked, counted (see `candles` for what is made of them)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from delta_arb.errors import DataError
from delta_arb.formats.read import Recognised
from delta_arb.market import NS
from delta_arb.quotes.checks import Limits
from delta_arb.quotes.columns import CANDLES
from delta_arb.quotes.files import LegFile, coins_a_unit, is_candles, located, refuse_coins, whole_columns

MINUTE_S = 60.0
BAD = ("out_of_order", "repeated", "non_finite", "nonpositive", "inconsistent", "off_grid")
TREATMENTS = {
    "bars": "rows in the file",
    "used": "ends of bars at which something can be decided on this leg",
    "out_of_order": "dropped: an earlier bar stands behind a later one",
    "duplicate": "dropped: says nothing new",
    "repeated": "dropped: a second bar of the same opening with other values",
    "non_finite": "dropped: NaN, null or infinite",
    "nonpositive": "dropped: a price of zero or below, or a negative volume",
    "inconsistent": "dropped: open or close outside low to high",
    "off_grid": "dropped: opens between two bars",
    "far_off": "dropped: more than a third off the other leg's price, which did not move there",
    "untraded": "no volume: nothing is decided on it and nothing fills in it",
    "missing": "bars that the file leaves out: the book is withdrawn",
    "longest_outage_s": "longest stretch of missing bars",
    "longest_outage_ns": "opening of the first bar missing in it",
    "stale_share": "share of the ends of bars in the common time without a close",
    "bad_share": "share of bars that are bad; above the limit the file is refused",
    "first_ns": "first opening in the file",
    "last_ns": "last opening in the file",
}
_REMEDIES = {
    "out_of_order": "sort by time",
    "repeated": "keep one row of each bar",
    "non_finite": "look for a reader that left cells empty",
    "nonpositive": "look for a reader that writes 0 for a missing price",
    "inconsistent": "check the order of columns",
    "off_grid": "look for bars of two lengths in one file",
}


class Bars(NamedTuple):
    """One leg's bars by their places on its grid, without holes: shape (n,), opening at `start_ns + k * bar_ns`.

    `opens` and `closes`: whether the first and the last price are of trades; prices are NaN and volume 0 where not.
    """

    start_ns: int
    bar_ns: int
    open: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    opens: np.ndarray
    closes: np.ndarray

    @property
    def bar_s(self) -> float:
        return self.bar_ns / NS


@dataclass(frozen=True, slots=True)
class LegCandles:
    """What one leg's file is like; the meaning and treatment of each number is in `TREATMENTS`."""

    file: str
    bar_s: float
    bars: int
    out_of_order: int
    duplicate: int
    repeated: int
    non_finite: int
    nonpositive: int
    inconsistent: int
    off_grid: int
    untraded: int
    missing: int
    longest_outage_s: float
    longest_outage_ns: int
    first_ns: int
    last_ns: int
    far_off: int = 0
    used: int = 0
    stale_share: float = 0.0

    @property
    def bad_share(self) -> float:
        """Share of bad bars, as compared with `max_bad_share`."""
        return sum(getattr(self, kind) for kind in BAD) / self.bars


def bars_of(leg: LegFile, limits: Limits) -> tuple[Bars, LegCandles, Recognised | None]:
    """The bars of one file in base units, what was found, and what another layout than ours was taken for.

    Raises:
        DataError: a file that holds no candles, or that cannot be used; names kind, count, first row and remedy.
    """
    if not is_candles(leg):
        raise DataError(
            f"{leg.name} holds no candles (columns {', '.join(CANDLES)}); half-spreads are stated for candles only: "
            "give candles of both legs, or quotes of both and no half-spread"
        )
    if leg.feed_latency_s:
        raise DataError(f"{leg.name}: bars of both venues end at one moment; candles go without a feed latency")
    whole = whole_columns(leg, CANDLES)
    rows_ns, *columns = (whole.columns[name] for name in CANDLES)
    refuse_coins(leg, columns[-1], whole.recognised)
    rows = np.stack(columns)
    ts_ns, values, bar_ns, found = _checked(rows_ns, rows, leg, whole.parts)
    _refuse_if_bad(found, rows, whole.parts, limits)
    place = (ts_ns - ts_ns[0]) // bar_ns
    opening, _, _, close, volume = values
    traded = volume > 0
    holes = np.append(0, np.diff(place) - 1)  # bars missing before each
    longest = int(holes.argmax())
    summary = LegCandles(
        file=leg.name,
        bar_s=bar_ns / NS,
        bars=len(rows_ns),
        **{kind: len(at) for kind, at in found.items()},
        untraded=int((~traded).sum()),
        missing=int(holes.sum()),
        longest_outage_s=float(holes[longest]) * bar_ns / NS,
        longest_outage_ns=int(ts_ns[longest] - holes[longest] * bar_ns),
        first_ns=int(rows_ns.min()),
        last_ns=int(rows_ns.max()),
    )
    grid = int(place[-1]) + 1
    open_, close = (_placed(np.where(traded, prices, np.nan), place, grid, np.nan) for prices in (opening, close))
    there = _placed(traded, place, grid, False)
    volume = _placed(volume * coins_a_unit(leg, whole.recognised), place, grid, 0.0)
    return Bars(int(ts_ns[0]), bar_ns, open_, close, volume, there, there), summary, whole.recognised


def _refuse_if_bad(
    found: dict[str, np.ndarray], values: np.ndarray, parts: Sequence[tuple[Path, int]], limits: Limits
) -> None:
    bars, bad = values.shape[1], sum(len(found[kind]) for kind in BAD if kind in found)
    if bad > limits.max_bad_share * bars:
        raise DataError(f"{_worst(found, values, parts)}; mend the file, or raise max_bad_share knowingly")


def _worst(found: dict[str, np.ndarray], values: np.ndarray, parts: Sequence[tuple[Path, int]]) -> str:
    """How many bars are bad, the commonest kind, the first of it and what to do, in words."""
    bars, bad = values.shape[1], sum(len(found[kind]) for kind in BAD if kind in found)
    kind = max((kind for kind in BAD if kind in found), key=lambda name: len(found[name]))
    what = f" ({_against(values[:, found[kind]])})" if kind == "inconsistent" else ""
    return (
        f"{located(parts, int(found[kind][0]))}: {bad} of {bars} bars are bad, {len(found[kind])} of them {kind}{what}, "
        f"this the first: {_REMEDIES[kind]}"
    )


def _against(values: np.ndarray) -> str:
    """Which prices most inconsistent bars have on the wrong side of which."""
    opening, high, low, close, _ = values
    ways = {
        "low above high": low > high,
        "close above high": close > high,
        "open above high": opening > high,
        "close below low": close < low,
        "open below low": opening < low,
    }
    return max(ways, key=lambda name: int(ways[name].sum()))


def _placed(column: np.ndarray, place: np.ndarray, n: int, empty) -> np.ndarray:
    """The column on the whole grid."""
    whole = np.full(n, empty, column.dtype)
    whole[place] = column
    return whole


def _checked(ts_ns: np.ndarray, values: np.ndarray, leg: LegFile, parts: Sequence[tuple[Path, int]]):
    """Stamps and values (shape (5, n)) of the good bars, the bar's length, and the rows of each kind left out."""
    found: dict[str, np.ndarray] = {}
    left = np.arange(len(ts_ns))

    def drop(kind: str, mask: np.ndarray) -> None:
        nonlocal left
        found[kind] = left[mask[left]]
        left = left[~mask[left]]

    drop("out_of_order", ts_ns < np.maximum.accumulate(ts_ns))
    again = np.zeros(len(ts_ns), bool)
    again[left[1:][np.diff(ts_ns[left]) == 0]] = True
    same = np.zeros(len(ts_ns), bool)
    same[1:] = (values[:, 1:] == values[:, :-1]).all(axis=0)
    drop("duplicate", again & same)
    drop("repeated", again)
    opening, high, low, close, volume = values
    drop("non_finite", ~np.isfinite(values).all(axis=0))
    drop("nonpositive", (values[:4] <= 0).any(axis=0) | (volume < 0))
    drop("inconsistent", (low > np.minimum(opening, close)) | (high < np.maximum(opening, close)))
    if len(left) < 2:
        if any(len(rows) for rows in found.values()):
            raise DataError(f"{_worst(found, values, parts)}; {len(left)} good bars are left")
        raise DataError(f"{leg.name} has {len(left)} good bars; two are needed to know their length, give more")
    steps, counts = np.unique(np.diff(ts_ns[left]), return_counts=True)
    bar_ns = int(steps[counts.argmax()])
    if bar_ns < MINUTE_S * NS:
        raise DataError(f"{leg.name} has bars of {bar_ns / NS:g} s; a minute is the shortest, record quotes instead")
    offsets, counts = np.unique(ts_ns[left] % bar_ns, return_counts=True)
    drop("off_grid", ts_ns % bar_ns != offsets[counts.argmax()])
    return ts_ns[left], values[:, left], bar_ns, found
