"""Candles of the mids that were quoted, merged on request from bars of 10 s; and a past of made pairs, which is synthetic.

Of any number of made pairs bars, funding and holes follow from a seed, without being kept. A price is a smooth function of
the time, so any bar of any length can be asked for, in any order, and two calls agree. The perpetual follows the spot price
with a basis of its own.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from delta_arb.market import NS
from delta_arb.sandbox.book import round_to
from delta_arb.sandbox.engine import Engine
from delta_arb.sandbox.values import ZERO, Listing, Print, Quote, dec

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


MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
OCTAVES = ((30 * DAY_S, 0.3), (3 * DAY_S, 0.06), (6 * HOUR_S, 0.015), (40 * MINUTE_S, 0.004), (3 * MINUTE_S, 0.001))
BASIS = ((5 * DAY_S, 0.0008), (2 * HOUR_S, 0.0008), (10 * MINUTE_S, 0.0004))
PRICE, PERP_BASIS, RANGE, VOLUME, RATE, SHAPE, OPEN = range(7)  # what a random number is for


@dataclass(frozen=True, slots=True)
class Made:
    """One made pair: both listings, its price level, and its funding: hours between settlements, and after `change_s`."""

    index: int
    spot: Listing
    perp: Listing
    level: float
    interval_h: int
    later_interval_h: int
    change_s: int

    @property
    def pair(self) -> str:
        return self.spot.pair


class SeededHistory:
    """The past of `count` made pairs, from `days` before the day of `now_s` until then; all day long the same one."""

    def __init__(self, count: int, seed: int, days: float, now_s: int) -> None:
        self._day_s = now_s // DAY_S * DAY_S
        self.seed, self.start_s, self.end_s = seed, round(self._day_s - days * DAY_S), now_s
        self.made = {made.pair: made for made in map(self._make, range(count))}

    def _make(self, index: int) -> Made:
        shape = [self._number(index, SHAPE, k) for k in range(5)]
        level = round(10.0 ** (4.0 * shape[0] - 2.0), 6)
        step = Decimal(10) ** -max(0, 5 - len(str(int(level))))
        contract = Decimal(10) ** max(0, 2 - len(str(int(level))) + (level < 1.0))
        base = f"MADE{index:03d}"
        interval_h = (8, 8, 4, 1)[int(shape[1] * 4)]
        later_h = 4 if shape[2] > 0.8 and interval_h == 8 else interval_h
        return Made(
            index,
            Listing(base, step, Decimal("0.0001"), min_notional=Decimal(1)),
            Listing(base, step, contract, contract, contract_size=contract),
            level,
            interval_h,
            later_h,
            (self.start_s + round(shape[3] * (self._day_s - self.start_s))) // (8 * HOUR_S) * (8 * HOUR_S),
        )

    # Bars

    def bars(self, pair: str, perp: bool, interval_s: int, first_s: int, last_s: int) -> list[Candle]:
        """The bars that open in [first_s, last_s], of whole minutes, less those in a hole; volume in coins."""
        made = self.made[pair]
        begin = max(-(-max(first_s, self.start_s) // interval_s) * interval_s, 0)
        opens = np.arange(begin, min(last_s + 1, self.end_s - interval_s + 1), interval_s, dtype=np.int64)
        for start_s, stop_s in self.holes(pair, perp):
            opens = opens[(opens < start_s) | (opens >= stop_s)]
        if not len(opens):
            return []
        jitter = 1.0 + 4e-4 * (
            self._numbers(made.index, OPEN + 10 * perp, opens) - 0.5
        )  # a bar opens beside the last close
        first, last = self._price(made, perp, opens) * jitter, self._price(made, perp, opens + interval_s)
        reach = 1.0 + 0.001 * self._numbers(made.index, RANGE + 10 * perp, opens)
        high, low = np.maximum(first, last) * reach, np.minimum(first, last) / reach
        coins = (
            (50_000.0 / made.level)
            * (interval_s / HOUR_S)
            * (0.2 + self._numbers(made.index, VOLUME + 10 * perp, opens))
        )
        grid = float(made.spot.price_step)
        columns = [np.round(column / grid) for column in (first, high, low, last)]
        listing = made.perp if perp else made.spot
        return [
            self._candle(int(opens[k]), [column[k] for column in columns], coins[k], listing) for k in range(len(opens))
        ]

    @staticmethod
    def _candle(start_s: int, ticks: Sequence[float], coins: float, listing: Listing) -> Candle:
        prices = [listing.price_step * int(tick) for tick in ticks]
        volume = listing.qty_step * int(coins / float(listing.qty_step))
        return Candle(start_s, *prices, volume, volume * prices[3])

    def holes(self, pair: str, perp: bool) -> list[tuple[int, int]]:
        """The planted ranges [start, end) without bars: of a tenth of the pairs, one on each market, up to two hours."""
        made, salt = self.made[pair], 100 + perp
        if self._number(made.index, SHAPE, salt) > 0.1:
            return []
        at = self.start_s + self._number(made.index, SHAPE, salt + 10) * 0.9 * (self._day_s - self.start_s)
        start_s = int(at) // MINUTE_S * MINUTE_S
        return [(start_s, start_s + MINUTE_S * (1 + int(119 * self._number(made.index, SHAPE, salt + 20))))]

    def _price(self, made: Made, perp: bool, at_s: np.ndarray) -> np.ndarray:
        log = self._noise(made.index, PRICE, at_s, OCTAVES)
        if perp:
            log = log + self._noise(made.index, PERP_BASIS, at_s, BASIS)
        return made.level * np.exp(log)

    # Funding

    def funding(self, pair: str, first_s: int, last_s: int) -> list[tuple[int, Decimal]]:
        """Stamps in [first_s, last_s] with their rates, oldest first."""
        made = self.made[pair]
        first_s, last_s = max(first_s, self.start_s), min(last_s, self.end_s - 1)
        early = _multiples(first_s, min(last_s, made.change_s), made.interval_h * HOUR_S)
        late = _multiples(max(first_s, made.change_s + 1), last_s, made.later_interval_h * HOUR_S)
        stamps = np.array([*early, *late], dtype=np.int64)
        if not len(stamps):
            return []
        rates = 1e-4 + 2e-4 * self._noise(made.index, RATE, stamps, ((7 * DAY_S, 1.0),))
        return [(int(at), dec(round(float(rate), 6))) for at, rate in zip(stamps, rates, strict=True)]

    # Random numbers

    def _noise(self, index: int, use: int, at_s: np.ndarray, octaves: Sequence[tuple[int, float]]) -> np.ndarray:
        """Value noise: random numbers at lattice points, joined smoothly; one lattice for each (period, size)."""
        total = np.zeros(len(at_s))
        for k, (period, size) in enumerate(octaves):
            cell, part = at_s // period, (at_s % period) / period
            left, right = (self._numbers(index, use + 20 * (k + 1), cell + d) for d in (0, 1))
            total += size * (2.0 * (left + (right - left) * part * part * (3.0 - 2.0 * part)) - 1.0)
        return total

    def _numbers(self, index: int, use: int, at: np.ndarray) -> np.ndarray:
        """A number in [0, 1) for each place, the same whenever it is asked for (splitmix64; Steele et al., 2014)."""
        key = (self.seed * 1_000_003 + index * 4099 + use) & 0xFFFFFFFF
        with np.errstate(over="ignore"):
            z = (at.astype(np.uint64) + np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(float) / 2.0**53

    def _number(self, index: int, use: int, at: int) -> float:
        return float(self._numbers(index, use, np.array([at], dtype=np.int64))[0])


def _multiples(first: int, last: int, step: int) -> range:
    return range(-(-first // step) * step, last + 1, step)
