"""The five best levels of each side as `record` wrote them beside the quotes: what stands behind the best price.

An order that rests at a price which is not the best finds its queue here, and what takes more than the best level shows goes on
into the next ones. Where no snapshot is young enough nothing is known, and it is as without them. Plain Python over scalars and
columns of five numbers a row: the backtest compiles it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from delta_arb.market import NS, SAME, Order, floor_to

if TYPE_CHECKING:
    from delta_arb.quotes.files import LegFile

LEVELS = 5
OLD_NS = NS  # a snapshot that is older shows nothing at a local venue
UNKNOWN = -1.0  # how much is ahead at a price of which nothing was shown


class Depth(NamedTuple):
    """Stamps of shape (n,) on the tape's clock (int64 ns, rising); prices and sizes of shape (5 n,), five a snapshot, best first.

    USDT and base units; a level that is not there has the price 0.
    """

    ts_ns: np.ndarray
    bid: np.ndarray
    bid_qty: np.ndarray
    ask: np.ndarray
    ask_qty: np.ndarray


NO_DEPTH = Depth(np.zeros(0, np.int64), *(np.zeros(0) for _ in range(4)))


def snapshot(ts_ns: int, levels: Sequence[float]) -> Depth:
    """One snapshot as it was pushed: price and size of five bids, then of five asks, best first."""
    sides = levels[: 2 * LEVELS], levels[2 * LEVELS :]
    return Depth(np.array([ts_ns], np.int64), *(np.array(side[k::2], float) for side in sides for k in (0, 1)))


def known_at(depth: Depth, at_ns: int, old_ns: int) -> bool:
    """Whether more than the best level is known at a time."""
    return row_at(depth, at_ns, old_ns) >= 0


def read_depths(legs: Sequence["LegFile"]) -> tuple[tuple[Depth, Depth], list[str]]:
    """The levels of both legs, and a note on what is known behind the best price of each."""
    depths = (read_depth(legs[0]), read_depth(legs[1]))
    notes = [
        f"{len(of.ts_ns):,} snapshots of five levels of {name}: they say who is ahead behind the best price, and what stands there to take"
        if len(of.ts_ns)
        else f"no deeper levels of {name} recorded: behind its best price nobody knows who is ahead, so nothing fills there"
        for name, of in zip(("spot", "the perpetual"), depths, strict=True)
    ]
    return depths, notes


def read_depth(leg: "LegFile") -> Depth:
    """The levels that `record` wrote beside a leg's quotes; none where it wrote none. DataError: damaged."""
    from delta_arb.quotes import recorded  # the runner itself reads no recording, and starts without what they need
    from delta_arb.quotes.files import coins_a_unit

    if not recorded.is_recorded(leg.path):
        return NO_DEPTH
    wanted = recorded.DatasetRange.of(leg.path)
    beside = recorded.DatasetRange(wanted.folder.parent / "levels", wanted.start_ns, wanted.end_ns)
    if not recorded.is_recorded(beside.folder):
        return NO_DEPTH
    found = [recorded.numbers(part, beside.layout) for part in recorded.parts(beside)]
    if not found:
        return NO_DEPTH
    of = {name: np.concatenate([rows[name] for rows in found]) for name in found[0]}
    order, coins = np.argsort(of["recv_ns"], kind="stable"), coins_a_unit(leg, None)
    side = {
        f"{name}{unit}": np.stack([of[f"{name}{k}{unit}"][order] for k in range(1, LEVELS + 1)], axis=1).ravel()
        for name in ("bid", "ask")
        for unit in ("", "_qty")
    }
    return Depth(
        np.ascontiguousarray(of["recv_ns"][order]),
        side["bid"],
        side["bid_qty"] * coins,
        side["ask"],
        side["ask_qty"] * coins,
    )


def row_at(depth, at_ns, old_ns):
    """The newest snapshot at or before a time, if it is at most so old; else -1."""
    low, high = 0, len(depth.ts_ns)
    while low < high:
        middle = (low + high) // 2
        if depth.ts_ns[middle] <= at_ns:
            low = middle + 1
        else:
            high = middle
    return low - 1 if low > 0 and at_ns - depth.ts_ns[low - 1] <= old_ns else -1


def levels_behind(depth: Depth, at_ns: int, bid: float, ask: float) -> tuple[list[tuple[float, float]], ...]:
    """What the newest snapshot shows behind the best prices, (price, size) of bids and of asks; empty without one."""
    row = row_at(depth, at_ns, OLD_NS)
    five = slice(LEVELS * row, LEVELS * row + LEVELS) if row >= 0 else slice(0)
    bids, asks = (zip(p[five].tolist(), q[five].tolist(), strict=True) for p, q in (depth[1:3], depth[3:5]))
    return [(p, q) for p, q in bids if 0.0 < p < bid * (1 - SAME)], [(p, q) for p, q in asks if p > ask * (1 + SAME)]


def ahead_at(depth, at_ns, old_ns, side, price):
    """What was shown at a price of a side (+1: bids) behind the best, `UNKNOWN` below the last level or without a snapshot."""
    row = row_at(depth, at_ns, old_ns)
    if row < 0:
        return UNKNOWN
    prices, sizes = (depth.bid, depth.bid_qty) if side > 0 else (depth.ask, depth.ask_qty)
    for k in range(LEVELS * row, LEVELS * row + LEVELS):
        if prices[k] <= 0.0:
            return UNKNOWN
        if abs(prices[k] - price) <= SAME * price:
            return sizes[k]
        if side * (price - prices[k]) > 0.0:
            return 0.0  # nothing stands there
    return UNKNOWN


def into_levels(depth, at_ns, old_ns, order: Order, best, filled, step, entered_ns):
    """What an order took in all, its mean price, and the stamp of the newest snapshot that ours have taken from.

    Once the best level gave all that it showed, the order goes on into the next ones; as it was without levels, and where
    the snapshot is the one entered before (`entered_ns`): a size shown once fills once.
    """
    if depth is None:
        return filled, best, entered_ns
    row, left = row_at(depth, at_ns, old_ns), abs(order.qty) - abs(filled)
    if row < 0 or filled == 0.0 or left < max(step, SAME) or depth.ts_ns[row] <= entered_ns:
        return filled, best, entered_ns
    side = 1.0 if order.qty > 0.0 else -1.0
    prices, sizes = (depth.ask, depth.ask_qty) if side > 0.0 else (depth.bid, depth.bid_qty)
    total, cash = abs(filled), abs(filled) * best
    for k in range(LEVELS * row, LEVELS * row + LEVELS):
        price = prices[k]
        if price > 0.0 and side * (price - best) > SAME * best and side * (order.limit - price) >= 0.0:
            more = floor_to(min(abs(order.qty) - total, sizes[k]), step)
            total, cash = total + more, cash + more * price
    total = abs(order.qty) if abs(abs(order.qty) - total) < 1e-12 else total
    return side * total, cash / total, depth.ts_ns[row] if total > abs(filled) else entered_ns
