"""The terms of one venue: what it lists of an instrument, what it charges, and what is assumed of the way there.

`VenueTerms` is the one place of all of them: the options of a run, the parameter file, the runner's configuration and a
venue's own list all say the same fields, in bps, seconds and base units. `taker_fee` and `maker_fee` alone convert to fractions;
`strategy.rule` compiles what the machine needs of it.
"""

import math
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from delta_arb.errors import ParamsError
from delta_arb.evidence import Name, Positive, Section
from delta_arb.market import LEGS, QUOTE, from_bps, to_bps

# Requests about orders in 24 hours beyond which, and the share of them filled below which, a venue slows an account down: Gate to
# 10 to 20 orders in 10 s (article 39603 of its announcements).
FILL_RATIOS = {"gate": (86_400, 0.01)}
NotNegative = Annotated[float, Field(ge=0)]
Fee = Annotated[float, Field(le=500)]
# The largest rebate to makers in the fee tables that ccxt keeps of its venues (4.5; Paymium's); no table pays takers.
LARGEST_REBATE_BPS = 10.0


class VenueTerms(Section):
    """What one venue demands and charges, and what we assume of trading there.

    Args:
        venue: its name, like mexc.
        taker_fee_bps: of notional per fill; negative is a rebate, of at most LARGEST_REBATE_BPS. The account's own: lists
            state defaults.
        latency_s: from a quote at the venue to our order arriving there, seconds.
        contract_size: base units of one contract (Gate.io: quanto_multiplier); 1 on a spot venue.
        qty_step, min_qty: grid and smallest order, base units; 0 means that none is known.
        min_notional_usdt: smallest order, USDT.
        leverage: ours there, of a short; at most `max_leverage`.
        price_tick: smallest step of a price, USDT; 0 means that none is known.
        fee_currency: what a buyer's fee is taken in, `quote` (USDT) or `base` (the coin bought).
        max_leverage: the largest that the venue allows.
        maker_fee_bps: as `taker_fee_bps`, of an order that rested; null where it is not known, and then none rests.
        maintenance_rate: share of a position's value below which its margin may not fall; 0 means that none is known.

    Raises:
        ParamsError: a value out of bounds, named with its field.
    """

    venue: Name
    taker_fee_bps: Fee = 5.0
    latency_s: Annotated[float, Field(gt=0, le=60)] = 0.1
    contract_size: Positive = 1.0
    qty_step: NotNegative = 0.0
    min_qty: NotNegative = 0.0
    min_notional_usdt: NotNegative = 0.0
    leverage: Annotated[float, Field(ge=1, le=200)] = 1.0
    price_tick: NotNegative = 0.0
    fee_currency: Literal["quote", "base"] = QUOTE
    max_leverage: Annotated[float, Field(ge=1, le=200)] = 200.0
    maintenance_rate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    maker_fee_bps: Fee | None = None

    @model_validator(mode="after")
    def _allowed(self):
        for name in ("taker_fee_bps", "maker_fee_bps"):
            if (fee := getattr(self, name) or 0.0) < -LARGEST_REBATE_BPS:
                raise ValueError(
                    f"{name} of {fee:g} is a rebate on every fill, and no venue is known to pay more than "
                    f"{LARGEST_REBATE_BPS:g} bps; leave the minus away if this is what you pay"
                )
        if self.leverage > self.max_leverage:
            raise ValueError(f"leverage is at least 1 and here at most {self.max_leverage:g}, was {self.leverage:g}")
        if not self.maintenance_rate < 1 / self.leverage:
            raise ValueError(
                f"maintenance_rate is a share below 1 / leverage, was {self.maintenance_rate} at leverage {self.leverage:g}"
            )
        return self

    @property
    def taker_fee(self) -> float:
        """The fee as a fraction of notional."""
        return from_bps(self.taker_fee_bps)

    @property
    def maker_fee(self) -> float:
        """The fee of an order that rested, as a fraction; 0 where it is not known, and none rests."""
        return from_bps(self.maker_fee_bps or 0.0)

    def to_base(self, contracts: float | Decimal) -> float:
        """Base units of a number of contracts (signed)."""
        return in_base(contracts, self.contract_size)

    def to_contracts(self, base: float) -> Decimal:
        """Contracts of a base quantity (signed), whole or on the venue's finer step; ParamsError for one off the grid."""
        step = self.qty_step or self.contract_size
        return self.steps(base) * Decimal(repr(float(step))) / Decimal(repr(float(self.contract_size)))

    def steps(self, base: float) -> int:
        """Steps of a base quantity (signed), which are contracts where these are whole; ParamsError for one off the grid."""
        step = self.qty_step or self.contract_size
        steps = round(base / step) if math.isfinite(base) else 0
        if not abs(base / step - steps) < 1e-3:  # true for NaN and infinity too
            grid = f"contracts of {self.contract_size}" if step == self.contract_size else f"steps of {step}"
            raise ParamsError(f"{base} base units are not whole {grid}; size the order on the common step")
        return steps


def in_base(contracts: float | Decimal, contract_size: float) -> float:
    """Base units of so many contracts, without the noise of a product of floats."""
    return float(Decimal(str(contracts)) * Decimal(repr(float(contract_size))))


def in_bps(fraction: float) -> float:
    """A fee in bps as a venue states it, a fraction of notional, without the last digits of the multiplication."""
    return round(to_bps(fraction), 9)


def perpetual(venue: str, taker_fee_bps: float, contract_size: float) -> VenueTerms:
    """A perpetual that trades in whole contracts."""
    size = float(contract_size)
    return VenueTerms(venue=venue, taker_fee_bps=taker_fee_bps, contract_size=size, qty_step=size, min_qty=size)


def check_fees(spot: VenueTerms, perp: VenueTerms) -> None:
    """A round trip of takers costs its fees: where they pay, any pair of thresholds earns; raises ParamsError."""
    if (fees_bps := 2 * (spot.taker_fee_bps + perp.taker_fee_bps)) < 0.0:
        raise ParamsError(
            f"the four taker fees of a round trip add up to {fees_bps:g} bps, as if the venues paid for trading itself; state "
            "what they charge takers (a rebate of orders that rest is a maker fee)"
        )


def common_step(spot: VenueTerms, perp: VenueTerms) -> float:
    """The smallest quantity that is on both venues' grids, in base units (0 when neither has one)."""
    steps = [Decimal(repr(float(step))) for step in (spot.qty_step, perp.qty_step) if step > 0]
    if not steps:
        return 0.0
    scale = Decimal(10) ** max(0, *(-int(step.normalize().as_tuple().exponent) for step in steps))
    return float(Decimal(math.lcm(*(int(step * scale) for step in steps))) / scale)


def said_terms(**values) -> tuple[dict, dict]:
    """The fields of each leg's terms that were said, as `each_leg` takes their values; None says nothing."""
    legs = {f: each_leg(f.removeprefix("taker_"), value) for f, value in values.items()}
    return tuple({f: pair[leg] for f, pair in legs.items() if pair[leg] is not None} for leg in range(len(LEGS)))


def each_leg(name: str, value) -> tuple:
    """One value of both legs, or one for each."""
    legs = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(legs) != 2:
        raise ParamsError(f"{name} is one value of both legs, or one for spot and one for the perpetual, was {value!r}")
    return legs


def completed(mine: VenueTerms, listed: VenueTerms) -> VenueTerms:
    """What the quotes' own list says of a venue, less what was said of it."""
    said = mine.model_fields_set - ({"venue"} if mine.venue in LEGS else set())
    return listed.replace(**{name: getattr(mine, name) for name in said})
