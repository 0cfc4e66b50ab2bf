"""What stands behind the best price, and the trades of others, which are what a resting order fills by.

The five best levels of each side are as `record` wrote them beside the quotes. An order that rests at a price which is not the best
finds its queue there, and what takes more than the best level shows goes on into the next ones. Where no snapshot is young enough
nothing is known, and it is as without them. That part is plain Python over scalars and columns of five numbers a row: the
backtest compiles it.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from delta_arb.errors import DataError, ParamsError
from delta_arb.formats.layouts import QUOTES, TIME, TRADES
from delta_arb.formats.read import read
from delta_arb.market import ASSUMPTIONS, BACK, NS, SAME, Order, floor_to, utc
from delta_arb.quotes import recorded
from delta_arb.quotes.files import LegFile, coins_a_unit, sha256, whole_columns


class Prints(NamedTuple):
    """Arrays of shape (n,) in time order: stamps on the tape's clock (int64 ns), aggressor (+1 bought, -1 sold), USDT, base units."""

    ts_ns: np.ndarray
    side: np.ndarray
    price: np.ndarray
    qty: np.ndarray


def sized(ts_ns, side, price, qty) -> tuple[Prints, int]:
    """The checked prints of a recording, and how many rows of size 0 were left out: they traded nothing."""
    traded = np.asarray(qty, float) != 0.0
    return prints(*(np.asarray(column)[traded] for column in (ts_ns, side, price, qty))), int((~traded).sum())


def prints(ts_ns, side, price, qty) -> Prints:
    """Checked: one length, in time order, a side that is +1 or -1, prices and sizes above zero. Raises DataError."""
    made = Prints(
        np.ascontiguousarray(ts_ns, np.int64), np.ascontiguousarray(side, np.int64),
        np.ascontiguousarray(price, float), np.ascontiguousarray(qty, float),
    )  # fmt: skip
    if len({len(column) for column in made}) > 1:
        raise DataError(f"trades of different lengths: {[len(column) for column in made]}; one row each")
    if (made.ts_ns[1:] < made.ts_ns[:-1]).any():
        at = int((made.ts_ns[1:] < made.ts_ns[:-1]).argmax()) + 1
        raise DataError(f"trade {at} is before the one above it; sort the trades by time, of one stamp as they came")
    if not (np.isin(made.side, (1, -1)).all() and (made.price > 0).all() and (made.qty > 0).all()):
        raise DataError("a trade has no aggressor, price or size; drop such rows first")
    return made


def read_prints(path: str | Path, leg: LegFile) -> tuple[Prints, int]:
    """The trades of one venue from a file of them or as `record` wrote them, in base units, and how many rows of size 0 were left
    out; stamps as in the leg's recording.

    Raises DataError where nothing tells sizes, sides or times; ParamsError for stamps of the venue where `leg` is on ours, and
    for a recording's trades without the quotes beside them.
    """
    if recorded.is_recorded(path):
        return _recorded(path, leg)
    if recorded.is_recorded(Path(path).parent):
        raise DataError(
            f"{path} is one file of a recording; give its folder, or a range of it: {Path(path).parent}#SINCE..UNTIL"
        )
    options = replace(leg.options, clock="venue") if leg.clock == "venue" and not leg.options.clock else leg.options
    reading = read(path, TRADES, options, replace(leg.context, contract_size=leg.contract_size))
    of, coins = reading.columns, coins_a_unit(leg, reading.recognised)
    late_ns = round(leg.feed_latency_s * NS)
    return sized(of[TIME] + late_ns, np.where(of["buyer"], 1, -1), of["price"], of["quantity"] * coins)


def _recorded(path: str | Path, leg: LegFile) -> tuple[Prints, int]:
    """Trades that `record` wrote beside this leg's quotes: on the same clock and in the same unit of size."""
    folder = recorded.DatasetRange.of(path).folder
    if folder.name != TRADES:
        raise DataError(f"{folder} holds {folder.name}; give the folder {TRADES} beside it")
    beside = folder.parent / QUOTES
    known = isinstance(leg.path, str | Path) and recorded.is_recorded(leg.path)
    if not known or recorded.DatasetRange.of(leg.path).folder.resolve() != beside.resolve():
        raise ParamsError(
            f"{folder} has the clock and the sizes of the quotes beside it; give {beside} as this leg's quotes"
        )
    of = whole_columns(replace(leg, path=path), ()).columns
    order = np.argsort(of[TIME], kind="stable")  # our clock may have been set back
    ts_ns, side, price, qty = (of[name][order] for name in (TIME, "side", "price", "quantity"))
    return sized(ts_ns, side, price, qty * coins_a_unit(leg, None))


class Queues(NamedTuple):
    """What resting orders fill by: the trades of both venues, and what is assumed of their place (`market.ASSUMPTIONS`)."""

    spot: Prints
    perp: Prints
    place: int

    def __bool__(self) -> bool:
        """Whether any trade was recorded."""
        return len(self.spot.ts_ns) + len(self.perp.ts_ns) > 0


def read_queues(paths: Sequence[str | Path], legs: Sequence[LegFile]) -> tuple[Queues, list[str]]:
    """The trades of both legs ("": none of that one) at the back of the queue, and a note where rows of size 0 were left out."""
    found = [read_prints(path, leg) if path else (NO_PRINTS, 0) for path, leg in zip(paths, legs, strict=True)]
    notes = [
        f"{n:,} trade{'s' * (n != 1)} of size 0 on {leg} skipped: nothing was traded"
        for leg, (_, n) in zip(("spot", "the perpetual"), found, strict=True)
        if n
    ]
    return Queues(found[0][0], found[1][0], BACK), notes


def sources(queues: Queues, paths: tuple[str, str]) -> Iterator[str]:
    """A note on the trades of each leg: how many, from which file, when, and how resting orders fill by them."""
    for leg, path, of in zip(("spot", "the perpetual"), paths, queues, strict=False):
        if path and len(of.ts_ns):
            yield (
                f"{len(of.ts_ns):,} trades of others on {leg} from {Path(path).name}, {utc(of.ts_ns[0])} to {utc(of.ts_ns[-1])} UTC, "
                f"SHA-256 {sha256(path)}; what rests there fills under {ASSUMPTIONS[queues.place]}"
            )


Trade = tuple[int, int, int, float, float]  # ts_ns, leg, side of the taker, price, quantity


def in_order(queues: Queues, start_ns: int, end_ns: int) -> Iterator[Trade]:
    """The trades of both legs with start_ns <= ts_ns <= end_ns, as they came."""
    legs = (queues.spot, queues.perp)
    rows = (zip(p.ts_ns.tolist(), repeat(leg), *(c.tolist() for c in p[1:])) for leg, p in enumerate(legs))
    return (trade for trade in heapq.merge(*rows, key=itemgetter(0)) if start_ns <= trade[0] <= end_ns)


NO_PRINTS = prints([], [], [], [])
NO_QUEUES = Queues(NO_PRINTS, NO_PRINTS, BACK)


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
