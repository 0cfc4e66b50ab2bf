"""The levels that a venue shows: set by quotes, thinned by our own orders, never moved by them."""

from collections.abc import Iterable
from decimal import Decimal

from delta_arb.sandbox.values import BUY, SELL, ZERO, Quote

Levels = tuple[tuple[Decimal, Decimal], ...]  # (price, qty)


class Book:
    """Bids and asks of one pair. Every change takes the next `id` (or the one given, when frames are replayed)."""

    def __init__(self, pair: str, first_id: int = 1_000_000) -> None:
        self.pair = pair
        self.id = first_id
        self.ts_ns = 0
        self._sides: dict[int, dict[Decimal, Decimal]] = {BUY: {}, SELL: {}}

    def levels(self, side: int, limit: int | None = None) -> list[tuple[Decimal, Decimal]]:
        """(price, qty) of the bids (`BUY`) or asks (`SELL`), best first."""
        return sorted(self._sides[side].items(), reverse=side == BUY)[:limit]

    def best(self, side: int) -> tuple[Decimal, Decimal]:
        """Best (price, qty) of a side, (0, 0) where it is empty."""
        levels = self._sides[side]
        if not levels:
            return ZERO, ZERO
        price = next(iter(levels)) if len(levels) == 1 else max(levels) if side == BUY else min(levels)
        return price, levels[price]

    def quote(self, ts_ns: int) -> Quote:
        return Quote(self.pair, ts_ns, self.id, *self.best(BUY), *self.best(SELL))

    def replace(self, side: int, levels: Iterable[tuple[Decimal, Decimal]]) -> Levels:
        """Make `levels` the whole side; returns what changed, gone levels with qty 0."""
        old, new = self._sides[side], {price: qty for price, qty in levels if qty}
        if old == new:
            return ()
        self._sides[side] = new
        gone = [(price, ZERO) for price in old if price not in new]
        return (*gone, *((price, qty) for price, qty in new.items() if old.get(price) != qty))

    def change(self, side: int, levels: Iterable[tuple[Decimal, Decimal]]) -> Levels:
        """Set single levels (qty 0 removes); returns them."""
        mine, changed = self._sides[side], tuple(levels)
        for price, qty in changed:
            if qty:
                mine[price] = qty
            else:
                mine.pop(price, None)
        return changed

    def take(self, side: int, price: Decimal, qty: Decimal) -> tuple[Decimal, Decimal]:
        """Consume `qty` of a level until the next quote; returns the level as it is now."""
        left = self._sides[side][price] - qty
        self.change(side, [(price, left)])
        return price, left
