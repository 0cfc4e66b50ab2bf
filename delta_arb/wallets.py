"""Two venues, two wallets: what an entry may spend, what fills, fees and funding leave, and transfers between them.

Gains pile up on one side: when the perpetual falls the short earns USDT there, and the coins bought here are worth
less. Without `Funds` a replay has unlimited money and no coins; with them the driver keeps a `Purse` through every
fill, fee and funding stamp, and tells the machine a `Wallet` with each event. Reverse pairs sell coins that must be
there: an inventory, declared, which is itself held hedged by a core short. The purse counts what the pairs change of
coins and short; the core and its margin stand on a line of their own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from delta_arb.errors import ParamsError
from delta_arb.market import DAY_NS, NEVER, PERP, SPOT, Book, Fill


class Wallet(NamedTuple):
    """What an entry may use: USDT and coins of the spot venue, free margin of the perpetual's."""

    spot_usdt: float
    spot_coin: float
    perp_usdt: float


BOTTOMLESS = Wallet(math.inf, 0.0, math.inf)  # unlimited money, but no inventory: that must be declared


class Purse(NamedTuple):
    """What the driver keeps: USDT and coins of the spot venue, USDT and position (base units) of the perpetual's."""

    spot_usdt: float
    spot_coin: float
    perp_usdt: float
    perp_qty: float


class Transfer(NamedTuple):
    """USDT on the way to the wallet of `to_leg`; `usdt` left the other one, `fee_usdt` less than that arrives."""

    sent_ns: int
    arrives_ns: int
    to_leg: int
    usdt: float
    fee_usdt: float


NO_TRANSFER = Transfer(0, NEVER, SPOT, 0.0, 0.0)


class Rebalancing(NamedTuple):
    """When a wallet cannot pay, half the difference of both is sent; less than `least_usdt` is not worth its fee."""

    least_usdt: float
    fee_usdt: float
    delay_ns: int


NO_REBALANCING = Rebalancing(math.inf, 0.0, 0)


@dataclass(frozen=True, slots=True)
class Funds:
    """What both wallets hold at the beginning.

    Args:
        spot_usdt, perp_usdt: USDT of each; inf is no limit.
        inventory: coins held on spot beside a short of the same size, which reverse pairs are sold out of.
        rebalancing: when USDT are sent from one to the other; never if not given.

    Raises:
        ParamsError: a negative amount, a transfer that takes no time or does not exceed its fee, or one without limits.
    """

    spot_usdt: float
    perp_usdt: float
    inventory: float = 0.0
    rebalancing: Rebalancing = NO_REBALANCING

    def __post_init__(self) -> None:
        for name in ("spot_usdt", "perp_usdt", "inventory"):
            if not getattr(self, name) >= 0:
                raise ParamsError(
                    f"{name} must be zero or positive, was {getattr(self, name)}; leave the wallets out for unlimited money"
                )
        r = self.rebalancing
        if r == NO_REBALANCING:
            return
        if not (r.least_usdt > r.fee_usdt >= 0 and 0 < r.delay_ns < NEVER):
            raise ParamsError(
                f"a transfer needs least_usdt above its fee and a delay above zero, was {r}; no money arrives at once"
            )
        if not (math.isfinite(self.spot_usdt) and math.isfinite(self.perp_usdt)):
            raise ParamsError(
                "transfers between wallets need both of them finite; give both, or leave the rebalancing out"
            )

    def __str__(self) -> str:
        if math.isinf(self.spot_usdt):
            return "no limit"
        return f"{self.spot_usdt:g} and {self.perp_usdt:g} USDT"

    @property
    def purse(self) -> Purse:
        return Purse(float(self.spot_usdt), float(self.inventory), float(self.perp_usdt), 0.0)


BOUNDLESS = Funds(math.inf, math.inf)  # unlimited money and no coins


def with_fill(purse: Purse, fill: Fill) -> Purse:
    """The purse after a fill and its fee."""
    return moved(purse, fill.leg, -fill.qty * fill.price - fill.fee_usdt, fill.qty)


def wallet_of(purse: Purse, perp: Book, leverage: float) -> Wallet:
    """What an order may use now: cash, coins, and the margin that the position at the perpetual's mid leaves free.

    A short ties up its value over the leverage; a long of the pair has unwound as much of the core short and frees it.
    """
    if purse.perp_qty == 0.0:
        return Wallet(purse.spot_usdt, purse.spot_coin, purse.perp_usdt)
    value = purse.perp_qty * 0.5 * (perp.bid + perp.ask)
    return Wallet(purse.spot_usdt, purse.spot_coin, purse.perp_usdt + value + value / leverage)


def sent_transfer(wallet: Wallet, now_ns: int, policy: Rebalancing) -> Transfer:
    """The transfer that would even out both wallets, or NO_TRANSFER where it is not worth it."""
    usdt = 0.5 * abs(wallet.spot_usdt - wallet.perp_usdt)
    if not usdt >= policy.least_usdt:
        return NO_TRANSFER
    to_leg = SPOT if wallet.perp_usdt > wallet.spot_usdt else PERP
    return Transfer(now_ns, now_ns + policy.delay_ns, to_leg, usdt, policy.fee_usdt)


def moved(purse: Purse, leg: int, usdt: float, qty: float = 0.0) -> Purse:
    """The purse with USDT, and base units, added to (or, negative, taken from) the wallet of a leg."""
    if leg == SPOT:
        return Purse(purse.spot_usdt + usdt, purse.spot_coin + qty, purse.perp_usdt, purse.perp_qty)
    return Purse(purse.spot_usdt, purse.spot_coin, purse.perp_usdt + usdt, purse.perp_qty + qty)


def days_blocked(refusals: Sequence[int]) -> int:
    """On how many UTC days a wallet could not pay for an entry."""
    return len({ts_ns // DAY_NS for ts_ns in refusals})
