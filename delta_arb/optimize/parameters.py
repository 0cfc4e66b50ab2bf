"""The parameters of a study, read by the names under which a notebook declares them, and checked before anything runs.

A notebook declares them one per line, and reads them in one: `open_study(globals())`. The pipeline checks the same values
the same way before the first notebook starts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from delta_arb.optimize.study import Constraints, Market, check_signal, demands, market
from delta_arb.params import RuleParams
from delta_arb.quotes.inputs import Inputs, named
from delta_arb.quotes.tape import Tape

RULE = (
    "clip_usdt", "max_position_usdt", "max_quote_age_s", "participation", "price_bound_bps", "leg_tolerance",
    "leg_deadline_s", "rearm_bps", "max_hold_s",
)  # fmt: skip
DEMANDS = ("target_hit_rate", "min_trades_day", "max_drawdown", "max_entry_bps", "max_hold_s", "look_back_h")


@dataclass(frozen=True, slots=True)
class Parameters:
    """What is asked of a study: its quotes and costs, the conduct of orders, the demands, the signal."""

    inputs: Inputs
    settings: RuleParams
    constraints: Constraints
    signal: str


def parameters(values: Mapping[str, object]) -> Parameters:
    """All of them, of a namespace that declares them; a position of 0 USDT is one clip.

    Raises:
        ParamsError: the namespace lacks a name, or a value is out of its bounds; which, and why, in one line.
    """
    rule = named(values, RULE)
    rule["max_position_usdt"] = rule["max_position_usdt"] or None
    settings = RuleParams(entry_bps=None, exit_bps=None, **rule)
    profile, signal = named(values, ("profile", "signal")).values()
    check_signal(signal)
    return Parameters(Inputs.named(values), settings, demands(profile, **named(values, DEMANDS)), signal)


def open_study(values: Mapping[str, object]) -> tuple[Inputs, Tape, Market, Constraints]:
    """The quotes read, and the market and demands of the study that a namespace declares.

    Raises:
        ParamsError: see `parameters`; or what the quotes say does not go with them.
        DataError: the quotes cannot be used.
    """
    asked = parameters(values)
    tape = asked.inputs.tape()
    return asked.inputs, tape, market(asked.inputs, tape, asked.settings, asked.signal), asked.constraints
