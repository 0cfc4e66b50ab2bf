"""The parameters of a study, read by the names under which a notebook declares them, and checked before anything runs.

A notebook declares them one per line, and reads them in one: `open_study(globals())`. The pipeline checks the same values
the same way before the first notebook starts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from delta_arb.errors import ParamsError
from delta_arb.market import utc
from delta_arb.optimize.study import CASH_PERCENT, REVERSION, Constraints, Market, check_signal, demands, market
from delta_arb.params import Rule
from delta_arb.places import placed
from delta_arb.quotes.inputs import Inputs, named
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.rule import check_deadline, make_rule

RULE = (
    "clip_usdt", "max_position_usdt", "max_quote_age_s", "participation", "price_bound_bps", "leg_tolerance",
    "leg_deadline_s", "rearm_bps", "max_hold_s",
)  # fmt: skip
BY_HAND = ("entry_bps", "exit_bps")
DEMANDS = (
    "target_hit_rate", "min_trades_day", "max_drawdown", "max_entry_bps", "max_hold_s", "look_back_h", "repeated_h",
    "stress_loss_bps",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parameters:
    """What is asked of a study: its quotes and costs, the conduct of orders, the demands, the signal, thresholds by hand."""

    inputs: Inputs
    settings: Rule
    constraints: Constraints
    signal: str
    by_hand: Rule | None = None
    hurdle: str = f"{CASH_PERCENT:g}"


def parameters(values: Mapping[str, object]) -> Parameters:
    """All of them, of a namespace that declares them; a position of 0 USDT is one clip.

    Raises:
        ParamsError: the namespace lacks a name, or a value is out of its bounds; which, and why, in one line.
    """
    rule = named(values, RULE)
    rule["max_position_usdt"] = rule["max_position_usdt"] or None
    settings = Rule(entry_bps=None, exit_bps=None, **rule)
    profile, signal = named(values, ("profile", "signal")).values()
    check_signal(signal)
    inputs, asked = Inputs.named(values), demands(profile, **named(values, DEMANDS))
    if not values.get("upstream", 1.0) >= 1:
        raise ParamsError(
            f"upstream counts what was looked at, this one included: at least 1, was {values['upstream']:g}"
        )
    machine = make_rule(settings, *inputs.terms())
    if not inputs.candles:  # of candles the deadline is made longer than a bar
        check_deadline(machine, inputs.latency())
    rule = _by_hand(values, settings)
    if rule and (profile, signal) != (REVERSION, "raw"):
        raise ParamsError(
            f"thresholds by hand trade reversion on raw quotes, was {profile} and {signal}; leave those away"
        )
    if rule and (gain := rule.entry_bps - rule.exit_bps) <= inputs.fees_bps:
        raise ParamsError(
            f"entry_bps={rule.entry_bps:g} less exit_bps={rule.exit_bps:g} gains {gain:g} bps and does not pay the four fees "
            f"of {inputs.fees_bps:g} bps; move them apart, or state lower fees"
        )
    hurdle = str(values.get("hurdle", CASH_PERCENT))
    _paid(hurdle)  # what cannot be read is refused here, not behind the quotes
    return Parameters(inputs, settings, asked, signal, rule, hurdle)


def _by_hand(values: Mapping[str, object], settings: Rule) -> Rule | None:
    """The rule of the thresholds stated; None where neither is. Empty text is none, so that 0 may be one."""
    given = {name: str(values.get(name, "")).strip() for name in BY_HAND}
    if not any(given.values()):
        return None
    try:
        levels = {name: float(text) for name, text in given.items()}
    except ValueError:
        shown = " ".join(f"{name}={text!r}" for name, text in given.items())
        raise ParamsError(f"entry_bps and exit_bps are two numbers in bps, or both empty, was {shown}") from None
    return settings.replace(**levels)


def open_study(values: Mapping[str, object]) -> tuple[Inputs, Tape, Market, Constraints]:
    """The quotes read, and the market and demands of the study that a namespace declares.

    Raises:
        ParamsError: see `parameters`; or what the quotes say does not go with them.
        DataError: the quotes cannot be used.
    """
    asked = parameters(values)
    tape = asked.inputs.tape()
    cash = cash_percent(asked.hurdle, tape.start_ns, tape.end_ns)
    return (
        asked.inputs,
        tape,
        market(asked.inputs, tape, asked.settings, asked.signal),
        replace(asked.constraints, cash_percent=cash),
    )


def cash_percent(hurdle: str, start_ns: int, end_ns: int) -> float:
    """What cash paid between two times, % a year in the mean.

    `hurdle`: a number of % a year, or a CSV file with the columns date and percent; each row holds until the next one.
    """
    since_ns, percent = _paid(hurdle)
    if since_ns[0] > start_ns:
        raise ParamsError(
            f"hurdle {Path(hurdle).name}: begins after the quotes, at {utc(start_ns)[:10]} nothing is known"
        )
    in_force = np.diff(np.clip(np.append(since_ns, end_ns), start_ns, end_ns))
    return float(percent[0] if len(percent) == 1 else np.average(percent, weights=in_force))


def _paid(hurdle: str) -> tuple[np.ndarray, np.ndarray]:
    """Since when (ns), in order of time, cash pays which % a year; a number since ever."""
    wanted = f"hurdle {Path(hurdle).name}: give % a year, or a CSV file with the columns date and percent"
    try:
        since_ns, percent = np.zeros(1, np.int64), np.array([float(hurdle)])
    except ValueError:
        import pandas as pd

        try:
            table = pd.read_csv(placed(hurdle), parse_dates=["date"]).sort_values("date")
            since_ns, percent = (
                table["date"].astype("datetime64[ns]").astype(np.int64).to_numpy(),
                table["percent"].to_numpy(float),
            )
        except (OSError, KeyError, ValueError) as error:
            raise ParamsError(f"{wanted} ({error})") from None
    if not len(percent) or not np.isfinite(percent).all():
        raise ParamsError(f"{wanted}, finite numbers, at least one")
    return since_ns, percent
