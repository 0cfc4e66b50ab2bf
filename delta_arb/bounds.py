"""Whether a parameter file may be traded: of the right pair, valid now, within bounds, chosen for these venues."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from delta_arb.errors import ParamsError
from delta_arb.params import Params, RuleParams, VenueParams


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the runner's own configuration allows a parameter file to ask for."""

    max_clip_usdt: float = 1000.0
    max_entry_bps: float = 100.0
    max_hold_s: float = 6 * 3600.0
    max_quote_age_s: float = 5.0
    max_price_bound_bps: float = 100.0
    max_leg_deadline_s: float = 60.0
    min_entry_bps: float = -50.0
    max_leg_tolerance: float = 0.1
    max_participation: float = 1.0
    max_position_usdt: float = 1000.0

    def check(self, rule: RuleParams) -> None:
        """Refuse a rule beyond the configuration, naming each excess."""
        asked = {
            "clip_usdt": (rule.clip_usdt, self.max_clip_usdt),
            "max_hold_s": (rule.max_hold_s, self.max_hold_s),
            "funding_horizon_s": (rule.funding_horizon_s, self.max_hold_s),
            "max_quote_age_s": (rule.max_quote_age_s, self.max_quote_age_s),
            "price_bound_bps": (rule.price_bound_bps, self.max_price_bound_bps),
            "leg_deadline_s": (rule.leg_deadline_s, self.max_leg_deadline_s),
            "leg_tolerance": (rule.leg_tolerance, self.max_leg_tolerance),
            "participation": (rule.participation, self.max_participation),
            "max_position_usdt": (
                rule.max_position_usdt or rule.clip_usdt,
                max(self.max_position_usdt, self.max_clip_usdt),
            ),
            **{f"{way}entry_bps": (enter, self.max_entry_bps) for way, (enter, _) in rule.levels.items()},
        }
        beyond = [
            f"{name}={value:g} is above the configured {limit:g}"
            for name, (value, limit) in asked.items()
            if value > limit
        ]
        beyond += [
            f"{way}entry_bps={enter:g} is below the configured {self.min_entry_bps:g}"
            for way, (enter, _) in rule.levels.items()
            if enter < self.min_entry_bps
        ]
        if beyond:
            raise ParamsError(
                f"parameters out of the runner's bounds: {'; '.join(beyond)}; lower them in the research, or raise the bound"
            )


def check(params: Params, name: str, now: datetime, bounds: Bounds) -> None:
    """Refuse parameters of another pair, not yet or no longer valid at `now`, or out of the runner's bounds."""
    if params.name != name:
        raise ParamsError(
            f"these parameters are for {params.name}, the runner trades {name}; point it at the right export"
        )
    if now >= params.valid_until:
        raise ParamsError(
            f"stale: valid until {params.valid_until:%Y-%m-%d %H:%M:%S} UTC, it is {now.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC; "
            "run the pipeline again, or replay with --as-of"
        )
    if now < params.created - timedelta(seconds=5):
        raise ParamsError(
            f"created at {params.created:%Y-%m-%d %H:%M:%S} UTC, "
            f"which is after now ({now.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC); set the clock"
        )
    bounds.check(params.rule)


def check_inventory(params: Params, coins: float) -> None:
    """Refuse reverse pairs where less is held than they were chosen to be sold out of; `coins` beside as short a position."""
    assumed = params.wallets.inventory_coins
    if "reverse_" in params.rule.levels and coins < assumed:
        raise ParamsError(
            f"chosen to sell out of {assumed:,.10g} coins that are held beside a short of the same size, here {coins:,.10g} are "
            "declared (inventory_coins); hold and declare them, or run the pipeline with what there is"
        )


def check_assumed(params: Params, spot: VenueParams, perp: VenueParams) -> None:
    """Refuse parameters that were chosen for other fees, latencies or order rules than those of this run."""
    differences = [
        f"{leg}.{field} is {getattr(assumed, field)!r} in the file and {getattr(ours, field)!r} here"
        for leg, assumed, ours in (("spot", params.spot, spot), ("perp", params.perp, perp))
        for field in VenueParams.model_fields
        if getattr(assumed, field) != getattr(ours, field)
    ]
    if differences:
        raise ParamsError(
            f"chosen under other assumptions: {'; '.join(differences)}; give the same options as to the pipeline, or run it again"
        )
