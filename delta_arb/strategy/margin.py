"""The margin of the short: at what price the venue takes the position away, and how far off that was.

Isolated margin, as perpetual venues keep it: a short of q opened at the mean price a holds a q / leverage of its own, and
is liquidated when that and its loss leave less than the maintenance margin and the fee of closing:

    a q / leverage + (a - p) q = (maintenance + fee) p q     =>     p = a (1 + 1 / leverage) / (1 + maintenance + fee)

The venue then buys it back at that price, taker. Funding and realized profit are not counted into the margin. A
maintenance rate of 0 is one that is not known: nothing is liquidated.

What is held against it is the mid of the contract's own book. Venues take a mark price instead, made from an index of
spot markets so that one thin book liquidates nobody; no recording of quotes carries it. A spike of the own book alone
therefore liquidates here and not there; a book that lags behind the index is spared here for so long.
"""

from delta_arb.market import PERP, SPOT, Book
from delta_arb.strategy.state import LegRule, State


def liquidation_price(average, leg: LegRule):
    """The price at which a short opened at the mean price `average` is taken away."""
    return average * (1.0 + 1.0 / leg.leverage) / (1.0 + leg.maintenance + leg.fee)


def liquidated_at(state: State, perp: Book, leg: LegRule) -> float:
    """The price at which the venue closes the short on this book, 0.0 while its margin suffices.

    While orders of ours are out nothing is checked, but for one that rests: their reports come first.
    """
    if leg.maintenance == 0.0 or state.legs[PERP].position >= 0.0:
        return 0.0
    if (state.legs[SPOT].working != 0.0) + (state.legs[PERP].working != 0.0) > (state.quote != 0.0):
        return 0.0
    price = liquidation_price(state.legs[PERP].average, leg)
    return price if 0.5 * (perp.bid + perp.ask) >= price else 0.0
