"""What is traded and how, in the words of a trader: bps, seconds, USDT (`strategy.rule` compiles it for the machine)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from delta_arb.evidence import Bps, FilterParams, Positive, Section


class Rule(Section):
    """What is traded and how: thresholds, size, patience, and the conduct of orders.

    Args:
        entry_bps, exit_bps: open when entry_edge is at or above the one, close when exit_cost is at or below the other,
            bps; a direction without levels is off.
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
    def levels(self) -> dict[str, tuple[float, float]]:
        """(entry, exit) in bps of each direction that is traded, by its name in this file's fields ("" is direct)."""
        pairs = {"": (self.entry_bps, self.exit_bps), "reverse_": (self.reverse_entry_bps, self.reverse_exit_bps)}
        return {way: levels for way, levels in pairs.items() if levels[0] is not None}
