"""How much of the result is one draw: its days dealt anew (a block bootstrap), and the kinds of market it came from.

The marked equity of a replay is cut into blocks: whole days where there are enough of them, else stretches longer than
the longest hold, so that most trades lie whole within a block. A path is as many blocks as there are, drawn with
replacement and joined; what is counted is its net and its largest drawdown, which is exact within the blocks and across
their joints. Blocks that were never seen are not drawn: a crash that the record does not contain is in no path.

A trade belongs to the regime in force when it was opened, told from the hour before: nothing later is looked at. The
lines between the regimes are medians over the quotes before the judged part, so they were known before it began.

    volatility  standard deviation of the one-minute changes of the basis over the last hour
    trend       distance the basis went in that hour over the way it took (Kaufman's efficiency ratio), from 0 to 1

Source: Kunsch 1989, Annals of Statistics 17(3), with blocks that do not overlap (Carlstein 1986).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from delta_arb.backtest.performance import Equity
from delta_arb.errors import SeriesError
from delta_arb.market import DAY_NS, NS
from delta_arb.optimize.study import SEED
from delta_arb.quotes.tape import Tape
from delta_arb.stats.basis import basis_of
from delta_arb.stats.series import grid
from delta_arb.strategy.ledger import Trade, net_bps
from delta_arb.tables import NOTHING, Table, number, seconds, share

MIN_BLOCKS = 10  # fewer say nothing about a distribution
PATHS = 10_000
QUARTER_S = 900.0
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """What each block did to the marked net, USDT, arrays of shape (blocks,).

    net: its change; high, low: the most and the least the net stood above the block's beginning (0 counts); fall: its
    largest drop from a peak within the block.
    """

    block_s: float
    net: np.ndarray
    high: np.ndarray
    low: np.ndarray
    fall: np.ndarray

    def __len__(self) -> int:
        return len(self.net)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Paths:
    """Net and largest drawdown (USDT, >= 0) of every path, shape (paths,); `days` is the length of each."""

    blocks: Blocks
    days: float
    capital_usdt: float
    net: np.ndarray
    fall: np.ndarray

    @property
    def loss_share(self) -> float:
        """Share of the paths that end at or below zero."""
        return float(np.mean(self.net <= 0.0))


def block_s(span_s: float, longest_hold_s: float) -> float:
    """Length of a block in seconds, longer than the hold: whole days, or quarters of an hour where days are too few.

    Raises:
        SeriesError: fewer than `MIN_BLOCKS` stretches longer than the longest hold.
    """
    day_s = DAY_NS / NS
    for unit_s in (day_s, QUARTER_S):
        length_s = (math.floor(longest_hold_s / unit_s) + 1) * unit_s
        if span_s >= MIN_BLOCKS * length_s:
            return length_s
    raise SeriesError(
        f"{seconds(span_s)} hold {int(span_s / length_s)} stretches of {seconds(length_s)}, which is longer than the "
        f"longest hold; {MIN_BLOCKS} are needed for a distribution: record {seconds(MIN_BLOCKS * length_s)}"
    )


def blocks(curve: Equity, length_s: float) -> Blocks:
    """The curve in blocks counted back from its last event; what is left over at the beginning is not used."""
    length_ns = round(length_s * NS)
    start_ns, end_ns = int(curve.ts_ns[0]), int(curve.ts_ns[-1]) + 1
    count = (end_ns - start_ns) // length_ns
    edges = np.searchsorted(curve.ts_ns, end_ns - np.arange(count, -1, -1) * length_ns, side="left")
    net = curve.net
    ends = net[np.maximum(edges - 1, 0)] * (edges > 0)  # the net in force at each edge
    changes, highs, lows, falls = (np.zeros(count) for _ in range(4))
    for k, (first, last) in enumerate(pairwise(edges)):
        inside = np.append(0.0, net[first:last] - ends[k])
        changes[k], highs[k], lows[k] = inside[-1], inside.max(), inside.min()
        falls[k] = (np.maximum.accumulate(inside) - inside).max()
    return Blocks(length_s, changes, highs, lows, falls)


def deal(found: Blocks, capital_usdt: float, rng: np.random.Generator, paths: int = PATHS) -> Paths:
    """Paths of as many blocks as there are, drawn with replacement.

    Raises:
        SeriesError: fewer than `MIN_BLOCKS` blocks.
    """
    if len(found) < MIN_BLOCKS:
        raise SeriesError(
            f"{len(found)} blocks of {seconds(found.block_s)} are no distribution; {MIN_BLOCKS} are needed"
        )
    level, peak, fall = (np.zeros(paths) for _ in range(3))
    for _ in range(len(found)):
        drawn = rng.integers(len(found), size=paths)
        fall = np.maximum(np.maximum(fall, found.fall[drawn]), peak - level - found.low[drawn])
        peak = np.maximum(peak, level + found.high[drawn])
        level = level + found.net[drawn]
    return Paths(found, len(found) * found.block_s * NS / DAY_NS, capital_usdt, level, fall)


def resampled(sheet) -> Paths | str:
    """The paths of a tear-sheet's whole replay, or why there are none."""
    if sheet.empty_because:
        return sheet.empty_because
    span_s = (sheet.tape.end_ns - sheet.tape.start_ns) / NS
    try:
        cut = blocks(sheet.curve, block_s(span_s, sheet.thresholds.max_hold_s))
        return deal(cut, sheet.judged.capital_usdt, np.random.default_rng(SEED))
    except SeriesError as error:
        return str(error)


def resampled_table(found: Paths | str) -> Table:
    """Quantiles of net and drawdown, and the share of paths that lose."""
    title = "Net and drawdown of blocks dealt anew"
    if isinstance(found, str):
        return Table.nothing(title, found)
    columns = ("share of the paths", "net at most, USDT", "a day", "drawdown at most, USDT", "of capital")
    rows = [
        (share(q), number(net), number(net / found.days), number(fall), share(fall / found.capital_usdt, 2))
        for q, net, fall in zip(QUANTILES, *(np.quantile(x, QUANTILES) for x in (found.net, found.fall)), strict=True)
    ]
    rows.append(("ends in a loss", share(found.loss_share, 1), NOTHING, NOTHING, NOTHING))
    cut = found.blocks
    note = (
        f"{len(found.net):,} paths of {found.days:.3g} days, each {len(cut)} blocks of {seconds(cut.block_s)} drawn "
        f"with replacement from the {len(cut)} there are ({int(np.sum(cut.net < 0))} of them lost). The fit part is "
        "among them and flatters, so how sure the net is, the walk-forward says; a loss that no block contains is in no path."
    )
    return Table.of(title, columns, rows, note)


# --- in which kind of market -----------------------------------------------------------------------------------------

STEP_S = 60.0
LOOK = 60  # steps looked back
UNKNOWN = "the hour before is not known"


@dataclass(frozen=True, slots=True, eq=False)
class Signs:
    """Volatility (bps) and trend of the hour before each minute, shape (n,); NaN where that hour was not all known."""

    start_ns: int
    volatility: np.ndarray
    trend: np.ndarray

    @property
    def ts_ns(self) -> np.ndarray:
        return self.start_ns + np.arange(len(self.trend)) * round(STEP_S * NS)

    def row(self, ts_ns: int) -> int:
        """The last minute at or before a time."""
        return min(max((ts_ns - self.start_ns) // round(STEP_S * NS), 0), len(self.trend) - 1)


@dataclass(frozen=True, slots=True)
class Regime:
    """One kind of market: share of the time, and the trades opened in it."""

    kind: str
    name: str
    days: float
    time_share: float
    trades: tuple[Trade, ...]

    @property
    def net_usdt(self) -> float:
        return sum((t.net_usdt for t in self.trades), 0.0)


def signs(tape: Tape, max_quote_age_s: float) -> Signs:
    """Both signs at every minute of a tape. SeriesError where no minute is known."""
    seen = basis_of(tape, 0.0, max_quote_age_s)
    minutes = grid(np.where(seen.known, seen.basis_bps, np.nan), seen.ts_ns, STEP_S, seen.known)
    changes = np.diff(minutes.values)
    count = len(minutes.values)
    volatility, trend = np.full(count, np.nan), np.full(count, np.nan)
    if len(changes) >= LOOK:
        hours = np.lib.stride_tricks.sliding_window_view(changes, LOOK)
        volatility[LOOK:] = hours.std(axis=1)
        way = np.abs(hours).sum(axis=1)
        trend[LOOK:] = np.divide(np.abs(hours.sum(axis=1)), way, out=np.full(len(way), np.nan), where=way > 0)
    return Signs(minutes.start_ns, volatility, trend)


def regimes(sheet) -> tuple[Regime, ...] | str:
    """The regimes of a tear-sheet's whole replay, each kind adding up to the whole; or why there are none."""
    if sheet.empty_because:
        return sheet.empty_because
    try:
        found = signs(sheet.tape, sheet.market.settings.max_quote_age_s)
        lines = cuts(found, sheet.last.tape.start_ns)
    except SeriesError as error:
        return str(error)
    return by_regime(sheet.trades, found, lines)


def cuts(found: Signs, before_ns: int) -> tuple[float, float]:
    """The lines: medians of volatility and trend over the minutes before a time.

    Raises:
        SeriesError: no known hour before it.
    """
    before = found.ts_ns < before_ns
    known = [values[before & np.isfinite(values)] for values in (found.volatility, found.trend)]
    if not all(len(values) for values in known):
        raise SeriesError(
            "no whole hour of the basis is known before the judged part, so no line can be drawn; record longer"
        )
    return tuple(float(np.median(values)) for values in known)


def by_regime(trades: Sequence[Trade], found: Signs, lines: tuple[float, float]) -> tuple[Regime, ...]:
    """Time and trades of each regime."""
    wild, trending = lines
    kinds = (
        (f"volatility, line {wild:.2f} bps", _sides(found.volatility, wild, "calm", "wild")),
        (f"trend, line {trending:.2f}", _sides(found.trend, trending, "back and forth", "trending")),
    )
    rows = [found.row(t.opened_ns) for t in trades]
    day = len(found.trend) * STEP_S * NS / DAY_NS
    return tuple(
        Regime(
            kind, name, float(inside.mean()) * day, float(inside.mean()),
            tuple(t for t, row in zip(trades, rows, strict=True) if inside[row]),
        )
        for kind, names in kinds
        for name, inside in names.items()
    )  # fmt: skip


def _sides(values: np.ndarray, line: float, below: str, above: str) -> dict[str, np.ndarray]:
    return {below: values <= line, above: values > line, UNKNOWN: ~np.isfinite(values)}


def regimes_table(found: tuple[Regime, ...] | str) -> Table:
    """One row per regime."""
    title = "Results by regime at opening, whole recording"
    if isinstance(found, str):
        return Table.nothing(title, found)
    columns = ("", "regime", "of the time", "trades", "target hit rate", "net USDT", "net USDT/day of it", "net, bps")
    rows = []
    for regime in found:
        if not regime.days and not regime.trades:
            continue
        hits = [t.reason == "target" for t in regime.trades if not t.censored]
        rate, day = float(np.mean(hits)) if hits else None, regime.net_usdt / regime.days if regime.days else None
        money = number(regime.net_usdt, 4), number(day), number(net_bps(regime.trades), 1)
        rows.append((regime.kind, regime.name, share(regime.time_share), f"{len(regime.trades)}", share(rate), *money))
    note = (
        "From the hour before a trade opened; the lines are medians over the quotes before the judged part. "
        "Each kind adds up to all trades. Few trades in a row say little."
    )
    return Table.of(title, columns, rows, note)
