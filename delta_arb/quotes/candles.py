"""Candles of two venues as an event tape: months for which nobody recorded quotes, with stated half-spreads.

A bar has its first and its last price and what it traded; `timestamp` is its opening. Where bid and ask were, nobody
knows, so the half-spread of each leg is stated. The convention, for a bar that opens at T and lasts L:

    T + L          its close is known: the book is close -+ half-spread, the size on both sides a stated share of what
                   the bar traded in a mean minute. Here, and nowhere else, something is decided.
    T + L + 1 ns   the book is the next bar's open -+ half-spread, with the same sizes, and as old as a bar: too old to
                   decide on. Every order decided at T + L arrives later and fills here, at the next bar's open, never
                   at the close that called for it. It stays in force until the next close.

A bar without a trade has no prices, so nothing is decided at its end and nothing fills in it; the same of a bar that
is missing or bad on one venue. The book is then **withdrawn** (sizes zero) until the leg's next bar that traded, and an
order already under way finds nothing. What one leg alone has filled waits for the next end of a bar: the machine's
deadline for a missing leg must be longer than a bar (`DEADLINE_BARS`). The only orders that may fill at a price they
have seen are those that do not choose it: time-outs and unwindings past that deadline.

So nothing at or before an end of a bar depends on a bar that opens then or later. What no candle tells, and what makes
results from them rougher than from quotes: spreads widen when it matters, a last price is half a spread off either
way, and between two ends of bars nothing is seen. Every page, table and file made from candles says so.
"""

from dataclasses import dataclass, replace

import numpy as np

from delta_arb.errors import DataError, ParamsError
from delta_arb.market import NS, from_bps, utc
from delta_arb.quotes.bars import BAD, MINUTE_S, TREATMENTS, Bars, LegCandles, bars_of
from delta_arb.quotes.checks import Limits, Quotes
from delta_arb.quotes.files import LegFile
from delta_arb.quotes.options import BAR_SHARE
from delta_arb.quotes.quality import TakenFor, layout_rows, summary, summary_frame
from delta_arb.quotes.tape import Tape, align
from delta_arb.quotes.two_legs import compared, doubtful_unit, overlap_end, refuse_one_file
from delta_arb.tables import Table, TableFace, share

__all__ = ["BAD", "Bars", "CandleQuality", "LegCandles", "Stated", "aggregated", "quotes", "read"]

DEADLINE_BARS = 1.5


@dataclass(frozen=True, slots=True)
class Stated:
    """What candles do not tell and the reader must: half-spreads in bps of the price, share of the volume shown.

    `bar_s` is the length of the bars to trade on, seconds; shorter ones are aggregated to it. 0: both files' own.

    Raises:
        ParamsError: a value out of bounds.
    """

    spot_half_spread_bps: float
    perp_half_spread_bps: float
    share: float = BAR_SHARE
    bar_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("spot_half_spread_bps", "perp_half_spread_bps"):
            if not 0 < getattr(self, name) <= 500:
                raise ParamsError(f"{name} must be above 0 and at most 500 bps, was {getattr(self, name)}")
        if not 0 < self.share <= 1:
            raise ParamsError(f"bar_share is a share of the volume, above 0 and at most 1, was {self.share}")
        if self.bar_s and not (self.bar_s >= MINUTE_S and 86_400 % self.bar_s == 0):
            raise ParamsError(f"bar_s must be a minute or more and divide a day, was {self.bar_s:g}; 3600 is an hour")

    def half_spread(self, leg: str) -> float:
        """As a fraction of the price."""
        return from_bps(getattr(self, f"{leg}_half_spread_bps"))


@dataclass(frozen=True, slots=True)
class CandleQuality(TableFace):
    """What a tape of candles was made from: a summary per leg, what was stated, the time both legs cover."""

    spot: LegCandles
    perp: LegCandles
    stated: Stated
    bar_s: float
    limits: Limits
    start_ns: int
    end_ns: int
    events: int
    taken_for: TakenFor = (None, None)
    notes: tuple[str, ...] = ()

    def table(self) -> Table:
        rows = [*layout_rows(self.taken_for), *summary(TREATMENTS, self.spot, self.perp)]
        s = self.stated
        own = " and ".join(f"{leg.bar_s:g} s" for leg in (self.spot, self.perp))
        note = (
            f"CANDLES, not quotes: decided at the ends of bars of {self.bar_s:g} s (files: {own}), filled at the next "
            f"bar's open. Stated half-spreads {s.spot_half_spread_bps:g} bps (spot) and {s.perp_half_spread_bps:g} bps "
            f"(perpetual); size shown {share(s.share, 2)} of a mean minute's volume."
        )
        return Table.of(repr(self), ("", "spot", "perp", "treatment"), rows, note)

    def to_frame(self):
        """The summary as a pandas table: one row per number, columns `spot`, `perp`, `treatment`."""
        return summary_frame(TREATMENTS, self.spot, self.perp)

    def __repr__(self) -> str:
        span = f"{utc(self.start_ns)} to {utc(self.end_ns)} UTC"
        bad = ", ".join(f"{share(leg.bad_share, 2)} of {leg.bars:,}" for leg in (self.spot, self.perp))
        return f"CandleQuality({self.events:,} events from candles, {span}; bad bars: {bad})"


# --- from files to a tape --------------------------------------------------------------------------------------------


def read(spot: LegFile, perp: LegFile, stated: Stated, *, max_bad_share: float = 0.05) -> Tape:
    """The event tape of two candle files by the convention of this module.

    Raises:
        DataError: a file that is missing, unreadable, too bad or holds no candles; bars of another length or offset
            on the two legs; no overlap in time. Names file, row and remedy.
        ParamsError: a limit out of bounds.
    """
    limits = Limits(max_bad_share)
    refuse_one_file(spot, perp)
    (spot_bars, spot_found, spot_as), (perp_bars, perp_found, perp_as) = (bars_of(leg, limits) for leg in (spot, perp))
    if stated.bar_s:
        spot_bars, perp_bars = (aggregated(bars, stated.bar_s) for bars in (spot_bars, perp_bars))
    _check_same_grid(spot, spot_bars, perp, perp_bars)
    spot_bars, perp_bars, far_off, notes = compared(spot, spot_bars, perp, perp_bars, max_bad_share)
    notes = (*notes, *doubtful_unit(perp, perp_bars.volume, perp_as))
    spot_found, perp_found = replace(spot_found, far_off=far_off[0]), replace(perp_found, far_off=far_off[1])
    spot_quotes = quotes(spot_bars, stated.half_spread("spot"), stated.share)
    perp_quotes = quotes(perp_bars, stated.half_spread("perp"), stated.share)
    end_ns = overlap_end(spot, spot_quotes, perp, perp_quotes)
    tape = replace(align(spot_quotes, perp_quotes, end_ns=end_ns), bar_s=spot_bars.bar_s)
    span = tape.start_ns, tape.end_ns
    quality = CandleQuality(
        _seen(spot_found, spot_bars, *span), _seen(perp_found, perp_bars, *span), stated, spot_bars.bar_s, limits,
        *span, len(tape), (spot_as, perp_as), notes,
    )  # fmt: skip
    return replace(tape, quality=quality)


def _check_same_grid(spot: LegFile, spot_bars: Bars, perp: LegFile, perp_bars: Bars) -> None:
    if spot_bars.bar_ns != perp_bars.bar_ns:
        longer = max(spot_bars.bar_s, perp_bars.bar_s)
        raise DataError(
            f"{spot.name} has bars of {spot_bars.bar_s:g} s and {perp.name} of {perp_bars.bar_s:g} s; both legs need "
            f"one length: give the same, or aggregate knowingly with --bar-s {longer:g}"
        )
    offsets = spot_bars.start_ns % spot_bars.bar_ns, perp_bars.start_ns % perp_bars.bar_ns
    if offsets[0] != offsets[1]:
        raise DataError(
            f"the bars of {spot.name} open {offsets[0] / NS:g} s and those of {perp.name} {offsets[1] / NS:g} s past a "
            f"multiple of {spot_bars.bar_s:g} s; closes of different moments make no basis, give bars of one grid"
        )


def _seen(found: LegCandles, bars: Bars, start_ns: int, end_ns: int) -> LegCandles:
    """The summary with what holds in the time both legs cover."""
    ends = bars.start_ns + (1 + np.arange(len(bars.open))) * bars.bar_ns
    inside = (ends >= start_ns) & (ends <= end_ns)
    used = int((bars.closes & inside).sum())
    return replace(found, used=used, stale_share=1.0 - used / max(int(inside.sum()), 1))


def quotes(bars: Bars, half_spread: float, share: float) -> Quotes:
    """One leg's books: a fresh one at every end of a bar that traded, the next open or a withdrawal 1 ns later.

    `half_spread` is a fraction of the price; sizes are base units. Begins with the first close.

    Raises:
        DataError: no bar has traded.
    """
    if not bars.closes.any():
        raise DataError("no bar of this leg has traded; choose a market with volume")
    n = len(bars.open)
    ends_ns = bars.start_ns + (1 + np.arange(n)) * bars.bar_ns
    opens_next = np.append(bars.opens[1:], False)
    # A row 1 ns behind the end of bar k: the open of bar k + 1, or the book withdrawn where there was one.
    after = opens_next | bars.closes | bars.opens
    after[-1] = True  # the tape ends with the last bar, whether it traded or not
    ts_ns = np.concatenate((ends_ns[bars.closes], ends_ns[after] + 1))
    next_open = np.where(opens_next, np.append(bars.open[1:], np.nan), np.nan)
    price = np.concatenate((bars.close[bars.closes], next_open[after]))
    fresh_ns = np.concatenate((ends_ns[bars.closes], ends_ns[after] - bars.bar_ns))
    per_minute = share * bars.volume * (MINUTE_S / bars.bar_s)
    size = np.concatenate((per_minute[bars.closes], np.full(int(after.sum()), np.nan)))
    order = np.argsort(ts_ns, kind="stable")
    order = order[int(np.argmax(np.isfinite(size[order]))) :]
    ts_ns, price, fresh_ns, size = (column[order] for column in (ts_ns, price, fresh_ns, size))
    shown = np.where(np.isfinite(price), _filled_forward(size), 0.0)
    price = _filled_forward(price)
    return Quotes(ts_ns, price * (1 - half_spread), price * (1 + half_spread), shown, shown, fresh_ns)


def _filled_forward(column: np.ndarray) -> np.ndarray:
    """NaN replaced by the value before it; the first is not NaN."""
    return column[np.maximum.accumulate(np.where(np.isfinite(column), np.arange(len(column)), 0))]


def aggregated(bars: Bars, bar_s: float) -> Bars:
    """Bars of `bar_s` seconds on multiples of it since 1970, from shorter ones that divide it.

    The open is that of the first part and the close that of the last; where that part did not trade, there is none.

    Raises:
        DataError: bars that are longer, do not divide it, or lie across its multiples.
    """
    to_ns = round(bar_s * NS)
    parts, rest = divmod(to_ns, bars.bar_ns)
    if rest or not parts or bars.start_ns % bars.bar_ns:
        raise DataError(
            f"bars of {bars.bar_s:g} s opening at {utc(bars.start_ns)} cannot be aggregated to {bar_s:g} s; "
            "give shorter ones that divide it and open on whole multiples"
        )
    before = (bars.start_ns % to_ns) // bars.bar_ns
    behind = -(before + len(bars.open)) % parts

    def parted(column: np.ndarray, empty) -> np.ndarray:
        return np.pad(column, (before, behind), constant_values=empty).reshape(-1, parts)

    return Bars(
        bars.start_ns - before * bars.bar_ns,
        to_ns,
        parted(bars.open, np.nan)[:, 0],
        parted(bars.close, np.nan)[:, -1],
        parted(bars.volume, 0.0).sum(axis=1),
        parted(bars.opens, False)[:, 0],
        parted(bars.closes, False)[:, -1],
    )
