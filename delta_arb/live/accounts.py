"""What the venues say we hold against what the journal says: reconciliation, and the drift between the two wallets.

Every fill is in the journal, so what each leg must hold is its sum, on top of what was there at the start (`Baseline`).
A difference that nobody ordered is never bought back. Pure functions; the session asks and acts.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from delta_arb.live.venues.base import Account, Venue
from delta_arb.market import LEGS, PERP, SPOT, utc
from delta_arb.strategy.state import Leg
from delta_arb.venue_terms import VenueTerms

SLACK = 1e-6  # share of a position that is rounding
FEES = "fees"  # kind of note


class Baseline(NamedTuple):
    """The account when the journal began, or when a person last said that it is right."""

    spot_usdt: float
    perp_usdt: float
    coins: float
    position: float

    @staticmethod
    def of(text: str) -> "Baseline":
        return Baseline(*json.loads(text))

    @property
    def text(self) -> str:
        return json.dumps(self)


def fees_text(venues: Sequence[Venue], now_ns: int) -> str:
    """The account's own fees of either role at both venues, and when they were read."""
    names = ("taker_fee_bps", "maker_fee_bps")
    fees = {venue.name: {name: getattr(venue.terms, name) for name in names} for venue in venues}
    return json.dumps(fees | {"read": f"{utc(now_ns)} UTC"})


def brought(cash: tuple[float, float], perp: Leg) -> tuple[float, float]:
    """USDT that fills brought each wallet: that of futures books a profit once it is realized, so what is held counts at
    its mean entry.

    Args:
        cash: what the fills come to (`Journal.cash`), the value of what is held among it.
    """
    return cash[SPOT], cash[PERP] + perp.position * perp.average


def baseline(spot: Account, perp: Account, held: tuple[float, float], cash: tuple[float, float]) -> Baseline:
    """What is there besides what the fills of the journal explain."""
    return Baseline(
        spot.usdt_total - cash[SPOT], perp.usdt_total - cash[PERP], spot.coin - held[SPOT], perp.position - held[PERP]
    )


class Discrepancy(NamedTuple):
    """Holdings of one leg that no order of ours explains, signed base units; `ours` of it reduces our position."""

    leg: int
    qty: float
    ours: float

    def __str__(self) -> str:
        return f"the {LEGS[self.leg]} leg holds {self.qty:+g} that nobody here ordered"


def discrepancies(
    spot: Account,
    perp: Account,
    base: Baseline,
    held: tuple[float, float],
    positions: tuple[float, float],
    terms: tuple[VenueTerms, VenueTerms],
) -> tuple[Discrepancy, ...]:
    """What differs by at least one step that could be ordered.

    Args:
        held: what the fills add up to, coins and position.
        positions: of the open pair, as the machine knows them.
    """
    found = []
    actual = (spot.coin - base.coins, perp.position - base.position)
    for leg in (SPOT, PERP):
        qty = actual[leg] - held[leg]
        slack = max(0.5 * terms[leg].qty_step, SLACK * abs(held[leg]), 1e-9)
        if abs(qty) > slack:
            found.append(Discrepancy(leg, qty, _reducing(qty, positions[leg])))
    return tuple(found)


def _reducing(qty: float, position: float) -> float:
    """The part of a difference that took something from our position."""
    if qty * position >= 0.0:
        return 0.0
    return -position if abs(qty) > abs(position) else qty


class TransferAdvice(NamedTuple):
    """A transfer that a person should make; the program never withdraws."""

    usdt: float
    source: str
    target: str
    why: str

    def __str__(self) -> str:
        return f"move {self.usdt:.2f} USDT from {self.source} to {self.target}: {self.why}"


def transfer(
    spot: Account, perp: Account, coin_price: float, base: Baseline, names: tuple[str, str], floors: tuple[float, float]
) -> TransferAdvice | None:
    """What restores the shares that both wallets had at the start, once a floor is touched or a tenth has moved.

    None where nothing needs to move, and where nothing was there at the start: then there are no shares.
    """
    began = base.spot_usdt + base.coins * coin_price
    if began + base.perp_usdt <= 0.0:
        return None
    share = began / (began + base.perp_usdt)
    worth = spot.usdt_total + spot.coin * coin_price
    excess = worth - share * (worth + perp.usdt_total)
    poor = [name for name, account, floor in zip(names, (spot, perp), floors, strict=True) if account.usdt_free < floor]
    if abs(excess) < 0.1 * (worth + perp.usdt_total) and not poor:
        return None
    source, target = (SPOT, PERP) if excess > 0 else (PERP, SPOT)
    usdt = min(abs(excess), (spot, perp)[source].usdt_free)
    if usdt < 1.0:
        return None
    why = f"{poor[0]} is below its floor" if poor else "gains pile up on one side"
    return TransferAdvice(usdt, names[source], names[target], why)
