"""The machine's rule from a parameter file's: bps to fractions, seconds to ns, in one place."""

import math
from collections.abc import Mapping
from types import MappingProxyType

from delta_arb.errors import ParamsError
from delta_arb.evidence import FilterParams
from delta_arb.latency import Latency
from delta_arb.market import BASE, LEGS, NS, from_bps
from delta_arb.params import Rule
from delta_arb.strategy.signal import OFF, Filter
from delta_arb.strategy.state import BOTH_TAKE, LegRule, MachineRule, QuoteRule
from delta_arb.venue_terms import VenueTerms, check_fees, common_step

# Where every input of `decide` comes from (besides quotes and reports): this file, or the runner.
RULE_SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "may_enter": "file: trade; runner: false once valid_until has passed or a newer file was refused",
        "flatten": "runner: a stop or a guard",
        "entry": "file: rule.entry_bps",
        "exit": "file: rule.exit_bps",
        "rearm": "file: rule.rearm_bps",
        "max_hold_ns": "file: rule.max_hold_s",
        "clip_usdt": "file: rule.clip_usdt, at most the runner's max_clip_usdt",
        "participation": "file: rule.participation",
        "step": "file: spot and perp, the smallest quantity on both grids",
        "max_quote_age_ns": "file: rule.max_quote_age_s",
        "price_bound": "file: rule.price_bound_bps",
        "leg_tolerance": "file: rule.leg_tolerance",
        "leg_deadline_ns": "file: rule.leg_deadline_s",
        "spot": "file: spot (step, minima, fee and its currency, price tick)",
        "perp": "file: perp (step, minima, fee, leverage, maintenance margin, price tick)",
        "filter": "file: rule.filter, off with rule.signal raw",
        "reverse_entry": "file: rule.reverse_entry_bps, off where null",
        "reverse_exit": "file: rule.reverse_exit_bps, off where null",
        "max_position_usdt": "file: rule.max_position_usdt, one clip where null; at most the runner's max_position_usdt",
        "funding_horizon_s": "file: rule.funding_horizon_s, at most the runner's max_hold_s",
        "quoting": "file: rule.spot_role, rule.perp_role and rule.resting",
    }
)


def make_rule(rule: Rule, spot: VenueTerms, perp: VenueTerms, *, may_enter: bool = True) -> MachineRule:
    """The machine's inputs from the file's: bps to fractions, seconds to ns. No thresholds means no entry, no target."""
    check_fees(spot, perp)
    return MachineRule(
        may_enter=may_enter and bool(rule.levels),
        flatten=False,
        entry=_level(rule.entry_bps, math.inf),
        exit=_level(rule.exit_bps, -math.inf),
        rearm=from_bps(rule.rearm_bps),
        max_hold_ns=round(rule.max_hold_s * NS),
        clip_usdt=float(rule.clip_usdt),
        participation=float(rule.participation),
        step=common_step(spot, perp),
        max_quote_age_ns=round(rule.max_quote_age_s * NS),
        price_bound=from_bps(rule.price_bound_bps),
        leg_tolerance=float(rule.leg_tolerance),
        leg_deadline_ns=round(rule.leg_deadline_s * NS),
        spot=_leg_rule(spot),
        perp=_leg_rule(perp),
        filter=as_filter(rule.filter, rule.max_quote_age_s),
        reverse_entry=_level(rule.reverse_entry_bps, math.inf),
        reverse_exit=_level(rule.reverse_exit_bps, -math.inf),
        max_position_usdt=float(rule.max_position_usdt or rule.clip_usdt),
        funding_horizon_s=float(rule.funding_horizon_s),
        quoting=_quoting(rule, spot, perp),
    )


def _quoting(rule: Rule, spot: VenueTerms, perp: VenueTerms) -> QuoteRule:
    resting, leg = rule.resting, rule.maker_leg
    if resting is None or leg is None:
        return BOTH_TAKE
    terms = spot if leg == "spot" else perp
    if terms.maker_fee_bps is None:
        raise ParamsError(
            f"{leg} rests and the fee of {terms.venue} for makers is not known: state maker_fee_bps of that leg"
        )
    if terms.price_tick <= 0.0:
        raise ParamsError(f"{leg} rests and the price tick of {terms.venue} is not known: state price_tick of that leg")
    return QuoteRule(
        LEGS.index(leg), resting.entry, resting.exit, from_bps(resting.distance_bps), from_bps(resting.adverse_bps),
        from_bps(resting.tolerance_bps), round(resting.least_life_s * NS), round(60 * NS / resting.quotes_per_minute),
        round(resting.longest_rest_s * NS), resting.past_rest == "take",
    )  # fmt: skip


def on_terms(rule: MachineRule, spot: VenueTerms, perp: VenueTerms) -> MachineRule:
    """The same thresholds on the venues' present order rules: an open pair is closed on the grid that there is."""
    return rule._replace(step=common_step(spot, perp), spot=_leg_rule(spot), perp=_leg_rule(perp))


def _level(bps: float | None, off: float) -> float:
    return off if bps is None else from_bps(bps)


def as_filter(f: FilterParams | None, max_quote_age_s: float) -> Filter:
    """The filter in fractions and per second; off without parameters."""
    if f is None:
        return OFF
    theta, old_ns = math.log(2) / f.half_life_s, round(max_quote_age_s * NS)
    return Filter(theta, from_bps(f.mean_bps), from_bps(f.sd_bps), from_bps(f.noise_sd_bps), float(f.step_s), old_ns)


def check_deadline(rule: MachineRule, latency: Latency) -> None:
    slowest_ns = round(latency.longest_s * NS) + rule.max_quote_age_ns
    if rule.leg_deadline_ns <= slowest_ns:
        raise ParamsError(
            f"leg_deadline_s={rule.leg_deadline_ns / NS:g} must exceed latency plus max_quote_age_s ({slowest_ns / NS:g}); "
            "before that an order may still be under way"
        )


def _leg_rule(terms: VenueTerms) -> LegRule:
    """What the machine needs of a venue's terms."""
    return LegRule(
        terms.qty_step, terms.min_qty, terms.min_notional_usdt, terms.taker_fee, terms.leverage, terms.price_tick,
        terms.fee_currency == BASE, terms.maintenance_rate, terms.maker_fee,
    )  # fmt: skip
