"""A pair of a folder as it is asked: the study that all pairs share, the quotes, the market they are traded in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from delta_arb.market import to_bps
from delta_arb.optimize.study import Constraints, Market, market
from delta_arb.params import Rule
from delta_arb.quotes import data_folder
from delta_arb.quotes.inputs import Inputs
from delta_arb.quotes.options import InputOptions, as_dict
from delta_arb.quotes.tape import Tape


@dataclass(frozen=True, slots=True)
class Study:
    """What all pairs are asked: venues, range, costs and wallets, conduct, demands; everything that JSON can say.

    Args:
        inputs: options of `InputOptions` that differ from their defaults.
        rule, demands: fields of `Rule` and `Constraints`.
        pairs: how many are listed, all of which are paid for.
        maker_fee_bps: of the spot leg, where it rests; for the break-even alone.
    """

    since_ns: int = 0
    until_ns: int = 0
    inputs: Mapping[str, Any] = field(default_factory=dict)
    rule: Mapping[str, float] = field(default_factory=dict)
    demands: Mapping[str, float] = field(default_factory=dict)
    maker_fee_bps: float = 0.0
    pairs: int = 1
    first_share: float = 2 / 3

    @property
    def options(self) -> InputOptions:
        return InputOptions(**self.inputs)


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A pair that was read: inputs, all its quotes, the market they are traded in, demands, and what was guessed."""

    inputs: Inputs | None
    tape: Tape
    market: Market
    constraints: Constraints
    guessed: tuple[str, ...] = ()

    def before(self, end_ns: int) -> "Opened":
        """The same as it was known at a time."""
        payments = tuple(p for p in self.market.payments if p.ts_ns < end_ns)
        return replace(
            self, tape=self.tape.between(self.tape.start_ns, end_ns), market=replace(self.market, payments=payments)
        )


def inputs_of(study: Study, pair: str, data: Path) -> Inputs:
    """The pair's quotes, funding and rules in the folder; errors as `data_folder.found`."""
    options = replace(study.options, pair=pair)
    legs = options.spot_venue, options.perp_venue
    request = data_folder.DataRequest(data, pair, *legs, study.since_ns, study.until_ns)
    given = as_dict(options)
    found = data_folder.found(request, given)
    if "candles" not in str(found["spot"]):
        found |= {
            "spot_half_spread_bps": 0.0,
            "perp_half_spread_bps": 0.0,
            "bar_s": 0.0,
            "bar_share": InputOptions().bar_share,
        }
    return Inputs.from_options(replace(options, **found))


def opened(study: Study, pair: str, data: Path, bar_s: float = 0.0) -> Opened:
    """Both legs read and checked; of candles no half-spread is below half a tick."""
    inputs = inputs_of(study, pair, data)
    inputs = replace(inputs, bar_s=bar_s) if bar_s else inputs
    tape, guessed = inputs.tape(), []
    if inputs.candles:
        wider = _not_below_a_tick(inputs, tape)
        if wider != inputs:
            inputs, tape = wider, wider.tape()
        guessed.append(f"half-spreads {inputs.spot_half_spread_bps:.2g} and {inputs.perp_half_spread_bps:.2g} bps")
        guessed.append(f"size shown {inputs.bar_share:.2%} of a mean minute's volume")
    made = market(inputs, tape, Rule(**study.rule))
    guessed += [] if inputs.perp_rules else [f"contract size {inputs.contract_size:g}"]
    guessed += [] if inputs.spot_rules else ["spot grid not known"]
    guessed += ["marks at funding stamps are mids"] if any(not p.exact for p in made.payments) else []
    return Opened(inputs, tape, made, Constraints(**study.demands), tuple(guessed))


def _not_below_a_tick(inputs: Inputs, tape: Tape) -> Inputs:
    prices = float(np.median(tape.spot_bid)), float(np.median(tape.perp_bid))
    ticks = [terms.price_tick for terms in inputs.terms()]
    least = [float(to_bps(tick / price)) / 2 for tick, price in zip(ticks, prices, strict=True)]
    stated = inputs.spot_half_spread_bps, inputs.perp_half_spread_bps
    spot, perp = (max(each) for each in zip(stated, least, strict=True))
    return replace(inputs, spot_half_spread_bps=spot, perp_half_spread_bps=perp)


def without(data: Path, error: Exception) -> str:
    """What an error says, without where the folder is and up to when it was read: an answer depends on neither."""
    return re.sub(r"#\S*\.\.\S*", "", str(error).replace(f"{data}/", "").replace(f"{data} ", "the folder "))
