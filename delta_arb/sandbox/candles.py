"""Candles of the mids that were quoted, and of the quantity that traded; bars of 10 s, merged on request."""

from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from delta_arb.market import NS
from delta_arb.sandbox.engine import Engine
from delta_arb.sandbox.rules import round_to
from delta_arb.sandbox.values import ZERO, Print, Quote

BAR_S = 10
BARS = 20_000  # remembered per pair: 55 hours


class Candle(NamedTuple):
    """One bar; `start_s` is its opening time, seconds UTC; `volume` in base units, `value` in quote currency."""

    start_s: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    value: Decimal


History = Callable[[str, int, int, int], list[Candle]]  # as `Candles.between`


class Candles:
    """Listens to an engine. Prices are mids on the price grid, since a tape has no trades of others."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.history: History | None = None
        self._bars: dict[str, deque[list]] = {pair: deque(maxlen=BARS) for pair in engine.listings}
        engine.listen(Quote, self._quoted)
        engine.listen(Print, self._printed)

    def _quoted(self, quote: Quote) -> None:
        if not quote.bid_qty or not quote.ask_qty:
            return
        mid = (quote.bid + quote.ask) / 2
        bars, start = self._bars[quote.pair], quote.ts_ns // NS // BAR_S * BAR_S
        if not bars or bars[-1][0] != start:
            bars.append([start, mid, mid, mid, mid, ZERO, ZERO])
            return
        bar = bars[-1]
        bar[4] = mid
        if mid > bar[2]:
            bar[2] = mid
        elif mid < bar[3]:
            bar[3] = mid

    def _printed(self, trade: Print) -> None:
        if bars := self._bars[trade.pair]:
            bars[-1][5] += trade.qty
            bars[-1][6] += trade.qty * trade.price

    def last(self, pair: str) -> Decimal:
        """The newest price; 0 before the first quote."""
        return self._on_grid(pair, self._bars[pair][-1][4]) if self._bars[pair] else ZERO

    def merged(self, pair: str, interval_s: int) -> list[Candle]:
        """All bars of `interval_s` (10 s or a multiple), oldest first."""
        merged: list[list] = []
        for start, open_, high, low, close, volume, value in self._bars[pair]:
            begin = start // interval_s * interval_s
            if merged and merged[-1][0] == begin:
                bar = merged[-1]
                bar[2], bar[3], bar[4] = max(bar[2], high), min(bar[3], low), close
                bar[5], bar[6] = bar[5] + volume, bar[6] + value
            else:
                merged.append([begin, open_, high, low, close, volume, value])
        return [Candle(b[0], *(self._on_grid(pair, p) for p in b[1:5]), b[5], b[6]) for b in merged]

    def between(self, pair: str, interval_s: int, first_s: int, last_s: int) -> list[Candle]:
        """Bars that open in [first_s, last_s], oldest first: of the past that is made, then those that were quoted."""
        past = self.history(pair, interval_s, first_s, last_s) if self.history else []
        return past + [bar for bar in self.merged(pair, interval_s) if first_s <= bar.start_s <= last_s]

    def _on_grid(self, pair: str, price: Decimal) -> Decimal:
        return round_to(price, self._engine.listings[pair].price_step)
