"""What the runner asks of a venue: quotes, orders, and the truth about both.

`mexc.py` and `gate.py` answer with genuine ccxt clients, `paper.py` with the backtest's fill rule. Quantities are
signed base units everywhere; contracts exist only inside the Gate venue. A venue never decides and never retries an
order: whoever sent it asks `outcome` until the venue says that it is final.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from ..errors import DeltaArbError
from ..market import Book, Instrument, Order


class VenueError(DeltaArbError):
    """A venue refuses, cannot be reached, or is not set up as the runner needs it."""


class OutcomeUnknown(VenueError):
    """An order was sent and nobody said what became of it: it may work, have filled, or never have arrived."""


class Outcome(NamedTuple):
    """What the venue says of one order: filled quantity (signed, net of a fee taken in the coin), mean price, fees.

    `final` is false while it may still fill. `refused` is the venue's code where it never accepted the order.
    """

    order_id: str
    ts_ns: int
    filled: float
    price: float
    fee_usdt: float
    final: bool
    refused: str = ""


class Account(NamedTuple):
    """One wallet: free and whole USDT, coins held (spot), signed position (perpetual), in base units.

    `liquidation_price` is 0.0 without a position; `adl_rank` counts from 1, the first to be deleveraged, 0 where unknown.
    """

    usdt_free: float
    usdt_total: float
    coin: float
    position: float
    liquidation_price: float
    adl_rank: int
    ts_ns: int


OnQuote = Callable[[int, Book, int], None]  # leg, book (fresh_ns on our clock), the venue's own stamp in ns
OnOutcome = Callable[[int, Outcome], None]  # leg, what a private stream says of an order of ours


class Venue(Protocol):
    """One leg's venue. `open` loads the market, measures the clock and starts the streams; the rest needs it."""

    leg: int
    name: str
    instrument: Instrument  # as the venue lists it, with the account's own fee
    clock_offset_ns: int  # the venue's clock minus ours

    async def open(self, on_quote: OnQuote, on_outcome: OnOutcome) -> None: ...

    async def close(self) -> None: ...

    def send(self, order_id: str, order: Order) -> None:
        """Put an IOC order on the wire now; its `Outcome` comes by `on_outcome`, or is asked for by `outcome`."""

    async def outcome(self, order_id: str) -> Outcome | None:
        """What the venue says of an order of ours; None when it does not know it. Raises VenueError when it does not answer."""

    async def cancel(self, order_id: str) -> None: ...

    async def book(self) -> Book:
        """The best levels by REST."""

    async def account(self) -> Account: ...

    async def working(self) -> tuple[str, ...]:
        """Ids of all orders open on this market, ours and others."""
