"""Which leg of a carry rests, if any: chosen on the look-back before the first fold, and kept; the walk then judges it.

As of any other rule a leg may rest where its fee for makers, its price tick and trades of others are known. It rests at both ends
or at the entry, as near as its level allows, with a patience of hours; what is left of an entry then is taken where its level pays
a taker. Every way looked at counts as a pair would.
"""

from dataclasses import replace
from typing import NamedTuple

from delta_arb.market import BACK
from delta_arb.optimize.carry_search import choose_carry
from delta_arb.optimize.carry_ways import PATIENCE_S
from delta_arb.optimize.roles import conducts, under
from delta_arb.optimize.study import Market
from delta_arb.optimize.walk_forward import LookBack, chosen_by

PATIENT = {"longest_rest_s": PATIENCE_S, "past_rest": "take", "tolerance_bps": 2.0, "quotes_per_minute": 6.0}
WAYS = tuple(PATIENT | {"ends": ends} for ends in ("both", "entry"))


class Conduct(NamedTuple):
    """The market with the roles of its legs, out of how many ways, and what each way earned, in words."""

    market: Market
    tried: int
    words: str


def chosen(first: LookBack) -> Conduct:
    """The way that earned most on a look-back, at the back of the queue; both legs take where none earned more."""
    first, found = replace(first, tape=under(first.tape, BACK)), []
    rules = conducts(first.tape, first.market, WAYS)
    if len(rules) == 1:
        return Conduct(first.market.taking(), 1, "")
    for rule in rules:
        here = replace(first.market, settings=rule)
        fit = chosen_by(choose_carry, replace(first, market=here))
        found.append((here, 0.0 if fit.nets is None else float(fit.nets.sum())))
    best, _ = max(found, key=lambda one: one[1])  # the first of equals: both take
    said = "; ".join(f"{_spoken(here)} earned {usdt:.2f} USDT" for here, usdt in found)
    return Conduct(best, len(found), f"{_spoken(best)} (before the first fold: {said})")


def _spoken(here: Market) -> str:
    rule = here.settings
    return (
        f"{rule.maker_leg} rests at {'both ends' if rule.resting.exit else 'the entry'}"
        if rule.resting
        else "both legs take"
    )
