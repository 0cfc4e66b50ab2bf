"""What is traded and how, in the words of a trader: bps, seconds, USDT (`strategy.rule` compiles it for the machine)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from delta_arb.evidence import Bps, FilterParams, Positive, Section


class RestingLeg(Section):
    """How the leg with the role `maker` rests: post-only orders, of which each fill is hedged on the other leg.

    Args:
        ends: of a pair that rest, the other one takes.
        distance_bps: how much more than the level the quote of an end that rests asks for, bps.
        adverse_bps: expected adverse selection, how far the mid goes against us after a fill, bps.
        tolerance_bps: how far the quote may stand from where it is wanted, bps.
        least_life_s: a quote that is too far stays for so long, s; one that is too near goes at once.
        quotes_per_minute: the budget of quotes; the next one follows the last by a minute over it.
        longest_rest_s: an entry is tried for so long, and an exit so long after the longest hold, s.
        past_rest: what an entry does then: `take` what is left where the levels pay as a taker, or `give_up`. An exit takes.
    """

    ends: Literal["both", "entry", "exit"] = "both"
    distance_bps: Annotated[float, Field(ge=0, le=1000)] = 0.0
    adverse_bps: Annotated[float, Field(ge=0, le=100)]
    tolerance_bps: Annotated[float, Field(ge=0, le=1000)] = 1.0
    least_life_s: Annotated[float, Field(ge=0, le=3600)] = 1.0
    quotes_per_minute: Annotated[float, Field(gt=0, le=6000)] = 30.0
    longest_rest_s: Annotated[float, Field(gt=0, le=30 * 86_400)] = 3600.0
    past_rest: Literal["take", "give_up"] = "give_up"

    @property
    def entry(self) -> bool:
        return self.ends != "exit"

    @property
    def exit(self) -> bool:
        return self.ends != "entry"


class Rule(Section):
    """What is traded and how: thresholds, size, patience, and the conduct of orders.

    Args:
        entry_bps, exit_bps: open when entry_edge is at or above the one, close when exit_cost is at or below the other,
            bps; a direction without levels is off. The level of an end that rests is net of the fees of both its fills.
        reverse_entry_bps, reverse_exit_bps: the same of the reverse pair, which is sold out of an inventory.
        signal, filter: decide on the raw quotes, or on those that a filter of a fitted process corrects.
        rearm_bps: after a time-out the edge must first fall this far below entry.
        max_hold_s: longest hold, s.
        clip_usdt: size of one entry per leg, USDT; max_position_usdt: most held, in several clips; None: one clip.
        funding_horizon_s: seconds of expected funding that count as edge; 0: none.
        participation: share of the size shown that is taken.
        max_quote_age_s: a book older than this decides nothing, s.
        price_bound_bps: how much worse than the touch an order may fill, bps.
        leg_tolerance: difference of the legs that is not hedged, share of the pair.
        leg_deadline_s: time for an order before it is cancelled, s.
        spot_role, perp_role: `taker`, or of one leg `maker`: it rests, as `resting` says, and the other one hedges its fills.

    Raises:
        ParamsError: a value out of bounds, an exit that is not below its entry, or one without the other.
    """

    entry_bps: Bps | None = None
    exit_bps: Bps | None = None
    reverse_entry_bps: Bps | None = None
    reverse_exit_bps: Bps | None = None
    signal: Literal["raw", "filtered"] = "raw"
    filter: FilterParams | None = None
    rearm_bps: Annotated[float, Field(ge=0, le=1000)] = 5.0
    max_hold_s: Annotated[float, Field(gt=0, le=366 * 86_400)] = 6 * 3600.0
    clip_usdt: Positive = 50.0
    max_position_usdt: Positive | None = None
    funding_horizon_s: Annotated[float, Field(ge=0, le=366 * 86_400)] = 0.0
    participation: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_quote_age_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    price_bound_bps: Annotated[float, Field(ge=0, le=500)] = 50.0
    leg_tolerance: Annotated[float, Field(ge=0, le=0.5)] = 0.01
    leg_deadline_s: Annotated[float, Field(gt=0, le=86_400)] = 15.0  # long only for candles, above a bar
    spot_role: Literal["taker", "maker"] = "taker"
    perp_role: Literal["taker", "maker"] = "taker"
    resting: RestingLeg | None = None

    @model_validator(mode="after")
    def _consistent(self):
        for way in ("", "reverse_"):
            enter, leave = getattr(self, f"{way}entry_bps"), getattr(self, f"{way}exit_bps")
            if (enter is None) != (leave is None):
                raise ValueError(f"{way}entry_bps and {way}exit_bps belong together: give both or null both")
            if enter is not None and not leave < enter:
                raise ValueError(
                    f"{way}exit_bps must be below {way}entry_bps, was {way}exit_bps={leave} {way}entry_bps={enter}"
                )
        if self.max_position_usdt is not None and self.max_position_usdt < self.clip_usdt:
            raise ValueError(f"max_position_usdt={self.max_position_usdt} is below one clip of {self.clip_usdt}")
        if (self.signal == "filtered") != (self.filter is not None):
            raise ValueError("signal is filtered exactly when filter is given")
        if self.spot_role == self.perp_role == "maker":
            raise ValueError(
                "one leg rests at most: a fill of it is hedged on the other one, so make spot_role or perp_role taker"
            )
        if (self.maker_leg is None) != (self.resting is None):
            raise ValueError("resting is given exactly when spot_role or perp_role is maker")
        if self.resting and "reverse_" in self.levels:
            raise ValueError(
                "a leg rests for direct pairs only: null reverse_entry_bps and reverse_exit_bps, or let both take"
            )
        if self.resting and self.max_position_usdt not in (None, self.clip_usdt):
            raise ValueError("a leg rests for one clip at a time: null max_position_usdt, or let both legs take")
        return self

    def __repr__(self) -> str:
        """What differs from the defaults."""
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        said = {name: value for name, value in self if value != defaults[name]}
        words = (
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value!r}" for name, value in said.items()
        )
        return f"Rule({', '.join(words)})"

    @property
    def maker_leg(self) -> Literal["spot", "perp"] | None:
        """The leg that rests."""
        return "spot" if self.spot_role == "maker" else "perp" if self.perp_role == "maker" else None

    def takers(self) -> int:
        """At how many of its two ends both legs take, so that entry less exit has to pay their fees."""
        return 2 - (self.resting.entry + self.resting.exit if self.resting else 0)

    @property
    def levels(self) -> dict[str, tuple[float, float]]:
        """(entry, exit) in bps of each direction that is traded, by its name in this file's fields ("" is direct)."""
        pairs = {"": (self.entry_bps, self.exit_bps), "reverse_": (self.reverse_entry_bps, self.reverse_exit_bps)}
        return {way: levels for way, levels in pairs.items() if levels[0] is not None}
