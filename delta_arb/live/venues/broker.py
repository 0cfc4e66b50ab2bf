"""Between the runner and whoever fills its orders: what goes out, and the one report that each order comes back with.

`paper.PaperVenue` answers by the backtest's fill rule, `executor.Executor` puts orders on two real wires.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from delta_arb.market import Order

OUTSIDE = "outside"  # in place of an order id: a liquidation, auto-deleveraging, a person's hand


class Report(NamedTuple):
    """The end of an order: what was filled of it (signed base units), at what mean price, and when that is known.

    `fee_usdt` is what the venue took, None on paper (the rule's fee applies). `refused` is why it never worked.
    A second report of the same order is a late fill: what came in after the order was held to be over.
    """

    ts_ns: int
    leg: int
    order_id: str
    filled: float
    price: float
    fee_usdt: float | None = None
    refused: str = ""
    venue_ns: int = 0


class Placed(NamedTuple):
    """An order with the id that it is journaled and sent under."""

    order_id: str
    leg: int
    order: Order


class Broker(Protocol):
    """Takes the orders of one decision, together; each ends in a `Report` to the runner."""

    def place(self, orders: Sequence[Placed], now_ns: int) -> None: ...

    def cancel(self, leg: int, now_ns: int) -> None:
        """The order working on this leg must end; its report says how it did."""
