"""In which kind of market the money was made: wild or calm, trending or not, and at what time of the day.

A trade belongs to the regime in force when it was opened, told from the hour before: nothing later is looked at. The
lines between the regimes are medians over the quotes before the judged part, so they were known before it began.

    volatility  standard deviation of the one-minute changes of the basis over the last hour
    trend       distance the basis went in that hour over the way it took (Kaufman's efficiency ratio), from 0 to 1
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from delta_arb.errors import SeriesError
from delta_arb.market import DAY_NS, NS
from delta_arb.quotes.tape import Tape
from delta_arb.stats.basis import basis_of
from delta_arb.stats.series import grid
from delta_arb.strategy.ledger import Trade, net_bps
from delta_arb.tables import NOTHING, Table, number, share

STEP_S = 60.0
LOOK = 60  # steps looked back
HOURS = 6  # of one stretch of the day
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


def of(sheet) -> tuple[Regime, ...] | str:
    """The regimes of a tear-sheet's whole replay, each kind adding up to the whole; or why there are none."""
    if sheet.empty_because:
        return sheet.empty_because
    try:
        found = signs(sheet.tape, sheet.market.settings.max_quote_age_s)
        lines = cuts(found, sheet.parts["judged"].tape.start_ns)
    except SeriesError as error:
        return str(error)
    return split(sheet.trades, found, lines)


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


def split(trades: Sequence[Trade], found: Signs, lines: tuple[float, float]) -> tuple[Regime, ...]:
    """Time and trades of each regime."""
    wild, trending = lines
    hour = (found.ts_ns % DAY_NS) // (3600 * NS)
    kinds = (
        (f"volatility, line {wild:.2f} bps", _sides(found.volatility, wild, "calm", "wild")),
        (f"trend, line {trending:.2f}", _sides(found.trend, trending, "back and forth", "trending")),
        (
            "time of day, UTC",
            {f"{h:02d} to {h + HOURS:02d} h": hour // HOURS == h // HOURS for h in range(0, 24, HOURS)},
        ),
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


def table(found: tuple[Regime, ...] | str) -> Table:
    """One row per regime."""
    title = "Results by regime at opening, whole recording"
    if isinstance(found, str):
        return Table.of(title, ("", "nothing to show"), [("reason", found)])
    columns = ("", "regime", "of the time", "trades", "target hit rate", "net USDT", "net USDT/day of it", "net, bps")
    rows = []
    for regime in found:
        if not regime.days and not regime.trades:
            continue
        hits = [t.reason == "target" for t in regime.trades]
        rows.append(
            (
                regime.kind,
                regime.name,
                share(regime.time_share),
                f"{len(regime.trades)}",
                share(float(np.mean(hits)) if hits else None),
                number(regime.net_usdt, 4),
                number(regime.net_usdt / regime.days) if regime.days else NOTHING,
                number(net_bps(regime.trades), 1),
            )
        )
    note = (
        "From the hour before a trade opened; the lines are medians over the quotes before the judged part. "
        "Each kind adds up to all trades. Few trades in a row say little."
    )
    return Table.of(title, columns, rows, note)
