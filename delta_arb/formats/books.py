"""Updates of an order book -> its best bid and ask after each moment. A moment is all rows of one stamp."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from delta_arb.errors import DataError
from delta_arb.formats.columns import floats, integers, texts

# hftbacktest's events: the low byte is the kind, high bits say which clock's order a row belongs to and its side.
_EXCH, _LOCAL, _BID, _ASK = 1 << 31, 1 << 30, 1 << 29, 1 << 28
_DEPTH, _CLEAR, _SNAPSHOT, _BEST_BID, _BEST_ASK = 1, 3, 4, 103, 104


class _Side:
    """The levels of one side with the best one at hand; `sign` is 1 for bids, -1 for asks."""

    def __init__(self, sign: int) -> None:
        self.sign, self.sizes, self.best = sign, {}, None

    def put(self, price: float, size: float) -> None:
        if size > 0:
            self.sizes[price] = size
            if self.best is None or self.sign * (price - self.best) > 0:
                self.best = price
        elif self.sizes.pop(price, None) is not None and price == self.best:
            self.best = (max if self.sign > 0 else min)(self.sizes) if self.sizes else None

    def clear(self) -> None:
        self.sizes.clear()
        self.best = None


Row = tuple[int, int, str, float, float]  # stamp, side (1 bid, -1 ask), what ("size", "change", "clear"), price, size


def best_quotes(rows: Iterable[Row], where: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Stamps and the four columns of the best quotes, a row for each stamp at which both sides stand.

    Raises:
        DataError: no moment at which both sides stand.
    """
    found = list(_moments(rows))
    if not found:
        raise DataError(f"{where}: the updates never make a book of two sides; the part with the snapshot is missing")
    stamps = np.array([t for t, _ in found], np.int64)
    columns = np.array([book for _, book in found], float).T
    return stamps, dict(zip(("bid_price", "bid_quantity", "ask_price", "ask_quantity"), columns, strict=True))


def _moments(rows: Iterable[Row]) -> Iterator[tuple[int, tuple[float, float, float, float]]]:
    bids, asks, now = _Side(1), _Side(-1), None
    for t, side, what, price, size in rows:
        if now is not None and t != now and bids.best is not None and asks.best is not None:
            yield now, (bids.best, bids.sizes[bids.best], asks.best, asks.sizes[asks.best])
        now = t
        for levels in (bids,) if side > 0 else (asks,) if side < 0 else (bids, asks):
            if what == "clear":
                levels.clear()
            elif what == "change":
                left = levels.sizes.get(price, 0.0) + size
                levels.put(price, left if left > 1e-12 else 0.0)
            else:
                levels.put(price, size)
    if now is not None and bids.best is not None and asks.best is not None:
        yield now, (bids.best, bids.sizes[bids.best], asks.best, asks.sizes[asks.best])


def sizes(stamps: np.ndarray, of: dict[str, pa.ChunkedArray]) -> Iterator[Row]:
    """Rows that give a level's new size, zero taking it away; a snapshot begins with an empty book."""
    sides = texts(of["side"]).to_pylist()
    fresh = [cell.lower() in ("true", "1") for cell in texts(of["snapshot"]).to_pylist()]
    before = False
    for t, side, new, price, size in zip(
        stamps.tolist(), sides, fresh, floats(of["price"]).tolist(), floats(of["quantity"]).tolist(), strict=True
    ):
        if new and not before:
            yield t, 0, "clear", 0.0, 0.0
        before = new
        yield t, 1 if side.startswith(("b", "B")) else -1, "size", price, size


def changes(stamps: np.ndarray, of: dict[str, pa.ChunkedArray]) -> Iterator[Row]:
    """Gate's archive: `set` gives a size, `make` adds and `take` takes away; sizes of asks are negative."""
    before = ""
    for t, action, price, size in zip(
        stamps.tolist(),
        texts(of["action"]).to_pylist(),
        floats(of["price"]).tolist(),
        floats(of["quantity"]).tolist(),
        strict=True,
    ):
        if action == "set" != before:
            yield t, 0, "clear", 0.0, 0.0
        before = action
        side, size = (1, size) if size > 0 else (-1, -size)
        yield t, side, "size" if action == "set" else "change", price, -size if action == "take" else size


def events(of: dict[str, pa.ChunkedArray]) -> tuple[list[Row], str]:
    """hftbacktest's rows in the order of one clock, and whose clock: the receiver's of depth, the venue's of best quotes.

    A row whose place differs by clock stands twice, once for each. Best quotes (kinds 103 and 104) come from a Binance
    stream whose receiver's stamps are late by what its mark prices are early, so they go by the venue's clock.
    """
    event = integers(of["event"])
    kind = event & 0xFF
    best = np.isin(kind, (_BEST_BID, _BEST_ASK))
    clock, stamps, flag = (
        ("venue", integers(of["venue_timestamp"]), _EXCH)
        if best.any()
        else ("receiver", integers(of["timestamp"]), _LOCAL)
    )
    kept = ((event & flag) != 0) & (best if best.any() else np.isin(kind, (_DEPTH, _CLEAR, _SNAPSHOT)))
    at = np.flatnonzero(kept)
    at = at[np.argsort(stamps[at], kind="stable")]
    side = np.where(best, np.where(kind == _BEST_BID, 1, -1), np.where(event & _BID, 1, np.where(event & _ASK, -1, 0)))
    rows = zip(
        stamps[at].tolist(),
        side[at].tolist(),
        kind[at].tolist(),
        floats(of["price"])[at].tolist(),
        floats(of["quantity"])[at].tolist(),
        strict=True,
    )
    return [row for t, s, k, price, size in rows for row in _event_rows(t, s, k, price, size)], clock


def _event_rows(t: int, side: int, kind: int, price: float, size: float) -> tuple[Row, ...]:
    if kind == _CLEAR:
        return ((t, side, "clear", 0.0, 0.0),)
    if kind in (_BEST_BID, _BEST_ASK):  # a best quote replaces the one before: nothing else of that side is known
        return (t, side, "clear", 0.0, 0.0), (t, side, "size", price, size)
    return ((t, side, "size", price, size),)
