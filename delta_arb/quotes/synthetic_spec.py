"""The recipe of a synthetic recording: how both venues quote, and how price and basis move. `synthetic.make` draws from it."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from delta_arb.errors import ParamsError
from delta_arb.market import MS

LEGS = ("spot", "perp")
REGIMES = ("sample", "random_walk", "no_edge", "frozen_leg")  # constructors of World


@dataclass(frozen=True, slots=True)
class LegSpec:
    """How one venue quotes. Quantities, and `lot`, count units of `contract_size` base units."""

    interval_s: float = 2.0  # mean time between two rows
    interval_shape: float = 2.0  # of the gamma distribution of that time; 1 = exponential
    unchanged_share: float = 0.3  # rows that repeat the row before
    spread_bps: float = 3.0  # median of the venue's own quoted spread
    spread_sigma: float = 0.35  # sd of its log
    noise_bps: float = 0.8  # white noise of the mid, sd
    size_usdt: float = 160.0  # median notional of a best level
    size_sigma: float = 0.7  # sd of its log: 90 % of the levels show 50 to 500 USDT
    lot: float = 5.0  # quantities are whole multiples of it
    contract_size: float = 1.0
    stale_per_day: float = 4.0  # spells without a row
    stale_min_s: float = 5.0
    stale_max_s: float = 30.0
    long_stale_s: float = 0.0  # one longer spell per recording; 0 = none

    def __post_init__(self) -> None:
        above = ("interval_s", "interval_shape", "spread_bps", "size_usdt", "lot", "contract_size", "stale_max_s")
        _check(self, above_zero=above, shares=("unchanged_share",))
        _check_order(self, "stale_min_s", "stale_max_s")


@dataclass(frozen=True, slots=True)
class World:
    """The recipe; the defaults are the committed sample and the named constructors the regimes.

    The constructors take changes by name: `World.no_edge(hours=2.0)`.
    """

    regime: str = "sample"
    start: str = "2026-01-05T00:00:00"  # UTC
    hours: float = 72.0
    price: float = 0.80  # USDT per base unit, at the start
    tick: float = 0.0001  # USDT
    volatility_day_bps: float = 300.0  # sd of the log price over one day
    price_jumps_per_day: float = 2.0
    price_jump_bps: float = 80.0  # sd of their size
    mean_bps: float = -8.0  # of the basis, at the start
    drift_bps_per_day: float = 3.0
    fast_sd_bps: float = 25.0  # stationary
    fast_half_life_s: float = 600.0
    slow_sd_bps: float = 8.0
    slow_half_life_s: float = 14_400.0
    walk_bps_per_root_h: float = 0.0  # sd over one hour of a part that never reverts
    basis_jumps_per_day: float = 1.5
    basis_jump_bps: float = 30.0  # sd of their size
    spot: LegSpec = field(default_factory=LegSpec)
    perp: LegSpec = field(default_factory=lambda: perp_leg())
    frozen: str = ""  # "spot" or "perp": from `frozen_from` on its rows only repeat
    frozen_from: float = 0.25  # share of the time range
    funding_interval_h: float = 8.0
    funding_min_bps: float = 0.5  # per interval; positive = longs pay shorts
    funding_max_bps: float = 1.5
    dirt_share: float = 0.0005  # of the rows; 0 = none, not even the absurd price

    def __post_init__(self) -> None:
        above = ("hours", "price", "tick", "fast_half_life_s", "slow_half_life_s", "funding_interval_h")
        signed = ("mean_bps", "drift_bps_per_day", "funding_min_bps", "funding_max_bps")
        _check(self, above_zero=above, shares=("frozen_from", "dirt_share"), signed=signed)
        _check_order(self, "funding_min_bps", "funding_max_bps")
        if self.frozen not in ("", *LEGS):
            raise ParamsError(f"frozen must be one of {LEGS} or '', was {self.frozen!r}")
        if self.hours * 3600 < 100 * max(self.spot.interval_s, self.perp.interval_s):
            raise ParamsError(f"hours={self.hours} is too short; each leg needs the time of 100 rows")
        try:
            _ = self.start_ns
        except ValueError as error:
            raise ParamsError(f"start must be a UTC time such as 2026-01-05T00:00:00, was {self.start!r}") from error

    @classmethod
    def sample(cls, **changes: Any) -> World:
        """A basis that reverts within minutes and is wider than all costs: to be traded."""
        return cls(**changes)

    @classmethod
    def random_walk(cls, **changes: Any) -> World:
        """A basis that never reverts, 59 bps of random walk a day: not to be traded."""
        recipe = {"regime": "random_walk", "walk_bps_per_root_h": 12.0, "drift_bps_per_day": 0.0}
        recipe |= {"fast_sd_bps": 0.0, "slow_sd_bps": 0.0, "basis_jumps_per_day": 0.0}
        return cls(**recipe | changes)

    @classmethod
    def no_edge(cls, **changes: Any) -> World:
        """A basis that reverts by less than a round trip costs: not to be traded.

        Without jumps: even 60 ms between the legs' prints would show an edge that nobody could take.
        """
        recipe = {"regime": "no_edge", "volatility_day_bps": 150.0, "drift_bps_per_day": 1.0}
        recipe |= {"fast_sd_bps": 2.0, "slow_sd_bps": 1.0, "basis_jumps_per_day": 0.0, "price_jumps_per_day": 0.0}
        recipe |= {"spot": LegSpec(spread_bps=6.0), "perp": perp_leg(spread_bps=6.0)}
        return cls(**recipe | changes)

    @classmethod
    def frozen_leg(cls, **changes: Any) -> World:
        """The sample's world, but after a quarter of the time the perpetual's rows only repeat: not to be traded."""
        return cls(**{"regime": "frozen_leg", "frozen": "perp"} | changes)

    @property
    def start_ns(self) -> int:
        return int(np.datetime64(self.start, "ns").astype(np.int64))

    @property
    def end_ns(self) -> int:
        return self.start_ns + round(self.hours * 3_600_000) * MS


def perp_leg(**changes: Any) -> LegSpec:
    """The default perpetual: fewer repeats than the polled spot leg, contracts of 10 base units, one long silence."""
    return LegSpec(**{"unchanged_share": 0.05, "lot": 1.0, "contract_size": 10.0, "long_stale_s": 120.0} | changes)


def _check(values: Any, above_zero: Collection[str], shares: Collection[str], signed: Collection[str] = ()) -> None:
    """Refuse nonsense; a number that is not named must only not be negative."""
    for name in values.__dataclass_fields__:
        value = getattr(values, name)
        if not isinstance(value, (int, float)) or (name in signed and math.isfinite(value)):
            continue
        if not 0 <= value < math.inf or (name in above_zero and value == 0) or (name in shares and value >= 1):
            need = "in [0, 1)" if name in shares else "above 0" if name in above_zero else "finite and not negative"
            raise ParamsError(f"{name} must be {need}, was {value}")


def _check_order(values: Any, low: str, high: str) -> None:
    if getattr(values, low) > getattr(values, high):
        raise ParamsError(f"{low}={getattr(values, low)} must not be above {high}={getattr(values, high)}")
