"""Both directions of one pair: each chosen and judged by itself, then together, since one machine trades both.

The reverse pair sells coins and buys the perpetual, and is closed the other way round. On spot that is possible only
with coins that are held anyway: an inventory, beside a short of the same size that hedges it. A reverse pair takes some
of both away for a while. What inventory and short earn or cost by themselves (funding, basis, the capital tied up) is
there with or without these trades, and in no pair's net; what a reverse pair changes of it is: the funding that the
short would have been paid meanwhile.

A direction is exported when it passes every demand and gate alone, and both when the machine of both does too and earns
more on the fit part than the direct pair alone. So a reverse direction that does not pass takes nothing from the direct.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from delta_arb.backtest.performance import measure
from delta_arb.errors import SeriesError
from delta_arb.evidence import ReverseEvidence
from delta_arb.market import DAY_S
from delta_arb.optimize import export
from delta_arb.optimize.offers import both
from delta_arb.optimize.search import choose, spoken
from delta_arb.optimize.study import SEED
from delta_arb.optimize.verdict import Verdict, judge
from delta_arb.optimize.walk_forward import LookBack, coarse, joined
from delta_arb.quotes.tape import Tape
from delta_arb.stats.sharpe import Interval, mean_interval
from delta_arb.strategy.state import DIRECT, REVERSE
from delta_arb.tables import NOTHING, Table, number

TITLE = "Direct, reverse, and both in one machine"
HEADS = ("", "entry, bps", "exit, bps", "judged, USDT/day", "walk: pairs", "walk: net, USDT/day", "passes")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Directions:
    """What each direction is worth, and the verdict of the run; `reverse` is None without an inventory, `together`
    where not both pass. `adds`: USDT a day of the walk-forward that the reverse direction adds to the direct one."""

    direct: Verdict
    verdict: Verdict
    reverse: Verdict | None = None
    together: Verdict | None = None
    adds: Interval | None = None

    def table(self) -> Table:
        if self.reverse is None:
            reason = "not asked: no coins are held to be sold (--inventory-coins)"
            return Table.of(TITLE, ("direction", "answer"), [("reverse", reason)])
        found = {"direct": self.direct, "reverse": self.reverse, "both": self.together}
        rows = [_row(name, verdict) for name, verdict in found.items() if verdict]
        held = self.direct.choice.market.funds.inventory
        more = f"The reverse direction adds {self.adds} USDT a day on unseen quotes. " if self.adds else ""
        note = (
            f"{more}{self.verdict.reverse.reason[0].upper()}{self.verdict.reverse.reason[1:]}. Sold out of {held:,.10g} coins "
            "that are held beside a short of the same size; what those two earn or cost is in no pair's net, the "
            "funding that a reverse pair keeps the short from is in its own."
        )
        return Table.of(TITLE, HEADS, rows, note)

    @property
    def faces(self) -> list[Table]:
        """The table, and the gates of what is exported where that is not the direct pair, whose gates were shown."""
        judged = (
            self.verdict.judgement if self.verdict.trade and self.verdict.choice is not self.direct.choice else None
        )
        return [self.table(), *([judged.table()] if judged else [])]

    def __repr__(self) -> str:
        return "\n\n".join(map(repr, self.faces))

    def _repr_html_(self) -> str:
        return "".join(face._repr_html_() for face in self.faces)


def _row(name: str, verdict: Verdict) -> tuple[str, ...]:
    best, judged, walk = verdict.choice.best, verdict.choice.judged, verdict.judgement and verdict.judgement.walk
    traded = [at for side in (DIRECT, REVERSE) if best and (at := best.levels(side))]
    levels = (" / ".join(f"{at[k]:.1f}" for at in traded) or NOTHING for k in range(2))
    walked = (f"{len(walk.result.trades)}", f"{walk.net_usdt_day or NOTHING}") if walk else (NOTHING, NOTHING)
    return name, *levels, number(judged and judged.net_usdt_day), *walked, "yes" if verdict.trade else "no"


def asked(tape: Tape, direct: Verdict, upstream: float = 1.0) -> Directions:
    """The reverse direction by itself and together with the direct one, where coins are held to be sold.

    `judge` gives each half of the level, and deflates by twice as many trials; both together are asked only where each passed.
    """
    market, constraints = direct.choice.market, direct.choice.constraints
    if not market.funds.inventory:
        return Directions(direct, direct)
    reverse = judge(tape, choose(tape, market, constraints, REVERSE), upstream)
    together = _together(tape, direct, reverse, upstream) if direct.trade and reverse.trade else None
    verdict, reason = _settled(direct, reverse, together)
    adds = _adds(direct, reverse, together)
    return Directions(direct, replace(verdict, reverse=_evidence(reverse, reason, adds)), reverse, together, adds)


def _together(tape: Tape, direct: Verdict, reverse: Verdict, upstream: float) -> Verdict:
    """The machine of both: replayed on both parts, walked forward, and judged by the same demands."""
    choice = direct.choice
    best = both(choice.best, reverse.choice.best)
    parts = choice.window.fit, choice.window.judge
    fitted, judged = (measure(part, choice.market.replay(part, best)) for part in parts)
    misses = [f"{miss} on the fit part" for miss in choice.constraints.failures(fitted)]
    misses += [f"{miss} on the judged part" for miss in choice.constraints.failures(judged)]
    if fitted.net_usdt <= choice.fitted.net_usdt:
        misses.append(f"{fitted.net_usdt_day:.2f} USDT a day on the fit part are no more than the direct pair's alone")
    reason = (
        f"{spoken(best)} fails: {'; '.join(misses)}"
        if misses
        else f"{spoken(best)} earned {judged.net_usdt_day:.2f} USDT a day net on the part it has not seen"
    )
    joint = replace(choice, together=best, fitted=fitted, judged=judged, trade=not misses, reason=reason)
    sets = (*coarse(reverse.choice.sweep.sets), choice.best, reverse.choice.best)
    return judge(tape, joint, upstream, partial(_joined, direct, reverse), sets)


def _joined(direct: Verdict, reverse: Verdict, look_back: LookBack):
    return joined(look_back, direct.choose(look_back), reverse.choose(look_back))


def _settled(direct: Verdict, reverse: Verdict, together: Verdict | None) -> tuple[Verdict, str]:
    """The verdict of the run, and what it says of the reverse direction."""
    if together and together.trade:
        return together, "the reverse direction is traded too: it passes every demand alone and with the direct one"
    if together:
        left = f"the reverse direction is left out, because both in one machine do not pass: {together.reason}"
    elif reverse.trade:
        return (
            replace(reverse, reason=f"{reverse.reason}; the direct direction is left out: {direct.reason}"),
            f"the reverse direction alone is traded: {reverse.reason}",
        )
    else:
        left = f"the reverse direction is left out: {reverse.reason}"
    shown = reverse if direct.choice.best is None and reverse.choice.best else direct
    return replace(shown, trade=direct.trade, reason=f"{direct.reason}; {left}"), left


def _adds(direct: Verdict, reverse: Verdict, together: Verdict | None) -> Interval | None:
    """Both minus direct in the same periods of the walk-forward; the reverse one's own net without a direct one."""
    if together is None:
        return reverse.judgement.walk.net_usdt_day if reverse.trade else None
    if together.judgement is None:
        return None
    walk = together.judgement.walk
    gain = walk.nets - direct.judgement.walk.nets
    try:
        return mean_interval(gain, np.random.default_rng(SEED)).scaled(DAY_S / walk.period_s)
    except SeriesError:
        return None


def _evidence(reverse: Verdict, reason: str, adds: Interval | None) -> ReverseEvidence:
    """The figures of the reverse direction by itself, as the parameter file keeps them."""
    alone = export.evidence(reverse)
    names = ReverseEvidence.model_fields.keys() & alone.__class__.model_fields.keys()
    more = {"adds_usdt_day": adds.value, "adds_low_usdt_day": adds.low, "adds_high_usdt_day": adds.high} if adds else {}
    return ReverseEvidence(passed=reverse.trade, reason=reason, **{n: getattr(alone, n) for n in names}, **more)
