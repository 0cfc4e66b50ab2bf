"""Trades of others at one venue, which are what a resting order fills by."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from delta_arb.errors import DataError, ParamsError
from delta_arb.formats.layouts import QUOTES, TIME, TRADES
from delta_arb.formats.read import read
from delta_arb.market import ASSUMPTIONS, BACK, NS, utc
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
