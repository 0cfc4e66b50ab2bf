"""Coins that are held on spot beside a short of the same size: what the two earn when nothing is traded with them.

Reverse pairs are sold out of such an inventory (see `directions`). It is there before the first pair and after the last
one, so its capital and its gains stand on lines of their own; a pair's net has only what the pair changes.
"""

from collections.abc import Sequence
from typing import NamedTuple

from delta_arb.market import FundingPayment, mid
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.ledger import total


class Held(NamedTuple):
    """Value of the coins at the first quotes and margin of their short, USDT; what the hedge earned until the last ones.

    `basis_usdt`: what coins and short changed in value together, at the sides at which both could be closed;
    `funding_usdt`: what the short received.
    """

    coins: float
    value_usdt: float
    margin_usdt: float
    basis_usdt: float
    funding_usdt: float

    @property
    def net_usdt(self) -> float:
        return self.basis_usdt + self.funding_usdt


def held(tape: Tape, coins: float, leverage: float, payments: Sequence[FundingPayment]) -> Held:
    """An inventory held over a whole tape, left alone."""
    spot = float(tape.spot_bid[-1] - tape.spot_bid[0])
    perp = float(tape.perp_ask[-1] - tape.perp_ask[0])
    paid = [p.rate * p.mark for p in payments if tape.start_ns < p.ts_ns <= tape.end_ns]
    value = coins * float(mid(tape.spot_bid[0], tape.spot_ask[0]))
    short = coins * float(mid(tape.perp_bid[0], tape.perp_ask[0]))
    return Held(coins, value, short / leverage, coins * (spot - perp), coins * total(paid))
