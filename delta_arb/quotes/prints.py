"""Trades of others at one venue, which are what a resting order fills by."""

from typing import NamedTuple

import numpy as np

from delta_arb.errors import DataError
from delta_arb.market import BACK


class Prints(NamedTuple):
    """Arrays of shape (n,) in time order: stamps on the tape's clock (int64 ns), aggressor (+1 bought, -1 sold), USDT, base units."""

    ts_ns: np.ndarray
    side: np.ndarray
    price: np.ndarray
    qty: np.ndarray


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


class Queues(NamedTuple):
    """What resting orders fill by: the trades of both venues, and what is assumed of their place (`market.ASSUMPTIONS`)."""

    spot: Prints
    perp: Prints
    place: int

    def __bool__(self) -> bool:
        """Whether any trade was recorded."""
        return len(self.spot.ts_ns) + len(self.perp.ts_ns) > 0


NO_PRINTS = prints([], [], [], [])
NO_QUEUES = Queues(NO_PRINTS, NO_PRINTS, BACK)
