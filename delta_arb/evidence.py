"""What a parameter file says of where its numbers come from: the quotes, the figures for and against, the demands.

Sections of the schema in `params`: strict and frozen, unknown fields are refused.
"""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from delta_arb.errors import ParamsError
from delta_arb.tables import quantity

Bps = Annotated[float, Field(ge=-1000, le=1000)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", min_length=1, max_length=40)]


class _Refusing(type(BaseModel)):
    """A value that is built with a field out of bounds is refused with our own error, in one line."""

    def __call__(cls, *args, **values):
        try:
            return super().__call__(*args, **values)
        except ValidationError as error:
            venue = f"{values['venue']}: " if "venue" in values else ""  # whose fee, of two
            raise ParamsError(venue + spoken(error)) from None


def spoken(error: ValidationError) -> str:
    """pydantic's findings in one line: field, what is wrong, the value."""
    found = []
    for item in error.errors(include_url=False):
        where = ".".join(str(part) for part in item["loc"])
        said = item["msg"].removeprefix("Value error, ").replace("Input should", "should")
        value = "" if item["type"] in ("missing", "value_error") else f" (was {item['input']!r})"
        found.append(f"{where}: {said}{value}" if where else f"{said}{value}")
    return "; ".join(found)


class Section(BaseModel, metaclass=_Refusing):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def replace(self, **changes) -> Self:
        """The same with other values, checked like a new one."""
        return type(self)(**{**dict(self), **changes})


class FilterParams(Section):
    """The process behind a filtered signal, as it was fitted: Ornstein-Uhlenbeck under white noise, see `strategy.signal`."""

    half_life_s: Positive
    mean_bps: Bps
    sd_bps: Positive
    noise_sd_bps: Positive
    step_s: Annotated[float, Field(ge=0, le=86_400)]  # of candles a bar


class LayoutParams(Section):
    """What a file of another layout than ours was taken for: unit of its times and whose they are, unit of sizes, clock."""

    layout: Annotated[str, Field(min_length=1)]
    time: Literal["s", "ms", "us", "ns", "UTC", "naive"]
    zone: Annotated[str, Field(min_length=1)]
    quantity: Literal["coins", "contracts", "quote"] | None = None
    clock: Literal["receiver", "venue"] | None = None
    notes: tuple[str, ...] = ()


class DataParams(Section):
    """The quotes behind the choice; `synthetic` results say nothing about any market.

    `*_layout`: what files of other layouts than ours were taken for; null of our own. `notes`: what is odd about the files.

    `funding_changes`: when, within these quotes, funding began to follow other rules; the evidence is of the time after.

    `kind` candles: bid and ask were not recorded but stated, as the half-spreads here (see `candles`); null for quotes.
    """

    synthetic: bool
    start: datetime
    end: datetime
    judged_from: datetime | None
    events: Annotated[int, Field(ge=0)]
    spot_sha256: Digest
    perp_sha256: Digest
    funding_sha256: Digest | None
    spot_kind: Literal["updates", "snapshots"]
    perp_kind: Literal["updates", "snapshots"]
    kind: Literal["quotes", "candles"] = "quotes"
    spot_half_spread_bps: Positive | None = None
    perp_half_spread_bps: Positive | None = None
    bar_s: Positive | None = None
    bar_share: Share | None = None
    spot_layout: LayoutParams | None = None
    perp_layout: LayoutParams | None = None
    funding_layout: LayoutParams | None = None
    funding_changes: tuple[datetime, ...] = ()
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _stated(self):
        stated = (self.spot_half_spread_bps, self.perp_half_spread_bps, self.bar_s, self.bar_share)
        if any((value is None) == (self.kind == "candles") for value in stated):
            raise ValueError(
                f"half-spreads, bar_s and bar_share belong to candles and only to them, kind is {self.kind}"
            )
        return self

    @property
    def mark(self) -> str:
        """What titles must say of the quotes behind it."""
        marks = ["SYNTHETIC quotes"] * self.synthetic + ["CANDLES, stated half-spreads"] * (self.kind == "candles")
        return ", ".join(marks)


class ReverseEvidence(Section):
    """What the reverse direction is worth by itself, and together with the direct one; null means not computed.

    `passed`: whether it met every demand alone; `reason` says why it is traded or left out. Net figures in USDT a day.
    `adds_*`: what a machine of both directions earned more in the walk-forward than one of the direct pair alone, with
    its interval; without a direct pair that passes, what the reverse one earned.
    """

    passed: bool
    reason: Annotated[str, Field(min_length=1)]
    best_entry_bps: Bps | None = None
    best_exit_bps: Bps | None = None
    best_max_hold_s: Positive | None = None
    plug_in_entry_bps: Bps | None = None
    plug_in_exit_bps: Bps | None = None
    grid_weight: Share | None = None
    fit_trades: Annotated[int, Field(ge=0)] | None = None
    fit_net_usdt_day: float | None = None
    judged_trades: Annotated[int, Field(ge=0)] | None = None
    judged_net_usdt_day: float | None = None
    walk_trades: Annotated[int, Field(ge=0)] | None = None
    walk_net_usdt_day: float | None = None
    walk_net_low_usdt_day: float | None = None
    walk_net_high_usdt_day: float | None = None
    deflated_sharpe: Share | None = None
    confidence: Share | None = None
    adds_usdt_day: float | None = None
    adds_low_usdt_day: float | None = None
    adds_high_usdt_day: float | None = None


class Evidence(Section):
    """What speaks for the choice, or against it; null means not computed. Net figures in USDT a day.

    `best_*` is the best set that this run examined, of one direction, exported or not, so that a refusal can be looked
    at; `fit_*`, `judged_*` and `walk_*` are of the set exported where one is. `*_se_bps`: standard errors of the plug-in levels.
    `champion_sha256`: of the file in force that the new choice was held against, `replaced` whether it gave way;
    `last_passed`: end of the quotes on which the thresholds last passed every gate, null where those are this run's.
    `gain_*`: challenger minus champion on quotes that neither was fitted on, null where it was not measured.
    """

    half_life_s: Positive | None = None
    half_life_low_s: Annotated[float, Field(ge=0)] | None = None
    half_life_high_s: Positive | None = None
    trials: Annotated[int, Field(ge=0)] | None = None
    best_entry_bps: Bps | None = None
    best_exit_bps: Bps | None = None
    best_max_hold_s: Positive | None = None
    best_filter: FilterParams | None = None
    best_funding_horizon_s: Positive | None = None
    best_direction: Literal["direct", "reverse"] = "direct"
    plug_in_entry_bps: Bps | None = None
    plug_in_exit_bps: Bps | None = None
    grid_weight: Share | None = None
    entry_se_bps: Annotated[float, Field(ge=0)] | None = None
    exit_se_bps: Annotated[float, Field(ge=0)] | None = None
    fit_trades: Annotated[int, Field(ge=0)] | None = None
    fit_net_usdt_day: float | None = None
    judged_trades: Annotated[int, Field(ge=0)] | None = None
    judged_net_usdt_day: float | None = None
    judged_hit_rate: Share | None = None
    judged_drawdown: Annotated[float, Field(ge=0)] | None = None
    walk_folds: Annotated[int, Field(ge=0)] | None = None
    walk_trades: Annotated[int, Field(ge=0)] | None = None
    walk_net_usdt_day: float | None = None
    walk_net_low_usdt_day: float | None = None
    walk_net_high_usdt_day: float | None = None
    walk_brier: Share | None = None
    walk_brier_base: Share | None = None
    deflated_sharpe: Share | None = None
    deflated_sharpe_of_all: Share | None = None
    trials_effective: Annotated[int, Field(ge=0)] | None = None
    overfitting_probability: Share | None = None
    reality_check_p: Share | None = None
    confidence: Share | None = None
    horizon_s: Positive | None = None
    champion_sha256: Digest | None = None
    replaced: bool | None = None
    last_passed: datetime | None = None
    gain_usdt_day: float | None = None
    gain_low_usdt_day: float | None = None
    gain_high_usdt_day: float | None = None
    reverse: ReverseEvidence | None = None


class Gate(Section):
    """One demand on an export, what it asks, its number and bound in `unit` (a fraction is shown in percent), the finding.

    `value` null was not computed, and is not met. `result` warns where the number is on the wrong side of the bound and
    does not refuse: an export that trades has no missed one.
    """

    name: Annotated[str, Field(min_length=1)]
    meaning: Annotated[str, Field(min_length=1)]
    value: float | None
    unit: str
    bound: float
    at_least: bool
    result: Literal["met", "missed", "warns"]
    finding: Annotated[str, Field(min_length=1)]

    @property
    def passed(self) -> bool:
        return self.result == "met"

    @property
    def refuses(self) -> bool:
        return self.result == "missed"

    @property
    def wanted(self) -> str:
        """The bound in words, with its unit."""
        return f"{'at least' if self.at_least else 'at most'} {quantity(self.bound, self.unit)}"
