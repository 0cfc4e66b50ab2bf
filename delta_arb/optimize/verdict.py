"""What the gates say of a choice: the procedure walked forward over the whole tape, or why it cannot be.

The choice says what would be traded; the walk-forward says what the procedure of choosing earned on quotes it had not
seen, and the statistics of `multiple_testing` how much of the rest is the choosing itself. Whatever is not passed, or
could not be computed, ends in "do not trade" with the reason.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from delta_arb.backtest.performance import Performance
from delta_arb.errors import DataError
from delta_arb.evidence import ReverseEvidence
from delta_arb.market import NS
from delta_arb.optimize import gates
from delta_arb.optimize.gates import Contest, Judgement, Tried
from delta_arb.optimize.search import Choice, spoken
from delta_arb.optimize.study import HALF_LIVES, PERIOD_S, SEED, Frame, Thresholds
from delta_arb.optimize.walk_forward import Choose, Fit, LookBack, coarse, propose
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.state import DIRECT
from delta_arb.tables import not_above_zero

STEP_S = 4 * 3600.0  # of the walk-forward, where the quotes are long enough
MOST_FOLDS = 30
FOLDS = 6  # at least, before the step is shortened
LOOK_BACK, LEAST_SHARE = 60.0, 1 / 6  # half-lives, and at least of the quotes


@dataclass(frozen=True, slots=True, eq=False)
class Champion:
    """The parameters in force on this run's quotes; `fitted` and `judged`: their replays on the parts of its window;
    `passed_ns`: when they last passed every gate."""

    sha256: str
    thresholds: Thresholds
    fitted: Performance
    judged: Performance
    passed_ns: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """A choice and what the gates say of it; `judgement` is None where it was refused before the walk-forward, or that has no answer.

    After a contest, `champion` and `contest` are set. Where the champion stays, `judgement`, `fitted` and `judged` are
    of its thresholds; `choice` is the challenger still. `ask` gives the judgement of other thresholds, `choose` is
    the procedure that was walked. `reverse`: what became of the reverse direction, where it was asked about (see
    `directions`).
    """

    choice: Choice
    judgement: Judgement | None
    horizon_s: float | None
    trade: bool
    reason: str
    ask: Callable[[Thresholds], Judgement] | None = None
    champion: Champion | None = None
    contest: Contest | None = None
    choose: Choose | None = None
    reverse: ReverseEvidence | None = None

    @property
    def kept(self) -> bool:
        """Whether the parameters in force were confirmed."""
        return self.contest is not None and not self.contest.replace

    @property
    def unwalked(self) -> str:
        """Why there is no walk-forward."""
        known = self.choice.best is not None and not self.choice.trade
        return f"not walked forward, for it is refused already: {self.reason}" if known else self.reason

    @property
    def thresholds(self) -> Thresholds | None:
        """What is exported when it says trade, and looked at when it does not."""
        return self.champion.thresholds if self.kept else self.choice.best

    @property
    def fitted(self) -> Performance | None:
        return self.champion.fitted if self.kept else self.choice.fitted

    @property
    def judged(self) -> Performance | None:
        return self.champion.judged if self.kept else self.choice.judged

    def __repr__(self) -> str:
        return f"Verdict({'trade' if self.trade else 'do not trade'}: {self.reason})"


def judge(tape: Tape, choice: Choice, upstream: float = 1.0, choose: Choose | None = None, sets=()) -> Verdict:
    """Walk the procedure forward over the whole tape, count what was tried, pass the gates or refuse.

    What is refused already, by a demand on the quotes of the choice, is not walked: no evidence would change that.

    Args:
        upstream: how many pairs, modes or markets were examined before this one was picked (this one included). Where coins
            are held, both directions are asked: each has half of the level (Bonferroni).
        choose: the procedure, where it is not that of the choice's one direction.
        sets: what was tried besides the choice's own.
    """
    if choice.best is None or choice.half_life is None:
        return Verdict(choice, None, None, False, choice.reason)
    tape = choice.market.in_force(tape)
    cut = frame(tape, choice)
    sets = _tried(choice, sets)
    looks = upstream * (2 if choice.market.funds.inventory else 1)
    choose = choose or Once(choice.side)

    def ask(thresholds: Thresholds) -> Judgement:
        tried, rng = Tried(sets, thresholds, looks), np.random.default_rng(SEED)
        return gates.judge(tape, choice.market, choice.constraints, tried, cut, rng=rng, choose=choose)

    if not choice.trade:
        return Verdict(choice, None, cut.step_s, False, choice.reason, ask, choose=choose)
    try:
        found = ask(choice.best)
    except DataError as error:
        reason = f"{spoken(choice.best)} cannot be walked forward: {error}"
        return Verdict(choice, None, cut.step_s, False, reason)
    if not found.passed:
        reason = f"{spoken(choice.best)} does not pass: {found.reason}"
        return Verdict(choice, found, cut.step_s, False, reason, ask, choose=choose)
    reason = f"{choice.reason}, and {found.walk.net_usdt_day} in the walk-forward, which decides{warned(found)}"
    return Verdict(choice, found, cut.step_s, True, reason, ask, choose=choose)


def _tried(choice: Choice, sets=()) -> list[Thresholds]:
    return [choice.best, *(s for s in (*coarse(choice.sweep.sets), *sets) if s != choice.best)]


def warned(found: Judgement) -> str:
    net = found.walk and found.walk.net_usdt_day
    said = "; ".join(filter(None, (net and not_above_zero(net.low, net.high), found.warning)))
    return f"; warning: {said}" if said else ""


@dataclass(frozen=True, slots=True, eq=False)
class Once:
    """The choice of `propose` before each fold, searched once: a second judgement walks the same folds."""

    side: int = DIRECT
    fits: dict[int, Fit] = field(default_factory=dict)

    def __call__(self, look_back: LookBack) -> Fit:
        if look_back.until_ns not in self.fits:
            self.fits[look_back.until_ns] = propose(look_back, self.side)
        return self.fits[look_back.until_ns]


def frame(tape: Tape, choice: Choice) -> Frame:
    """Look-back, step and embargo of the walk-forward: whole periods that fit into the quotes there are.

    Only what is traded is evidence, so the look-back is short: 60 half-lives, within a sixth to a half of the quotes, and
    no longer than the choice's own. The embargo is five half-lives, or the longest hold where that is shorter; as long
    behind the last fold, its pairs end. Folds are longer where there would be too many: every fold is a choice of its
    own, and weeks would take minutes.
    """
    span_s, half_life_s = (tape.end_ns - tape.start_ns) / NS, choice.half_life.half_life_s
    embargo_s = min(HALF_LIVES * half_life_s, choice.constraints.max_hold_s)
    wanted_s = min(max(LOOK_BACK * half_life_s, span_s * LEAST_SHARE), span_s / 2)
    look_back_s = min(choice.constraints.look_back_h * 3600.0 * choice.constraints.fit_share, wanted_s)
    look_back_s = max(round(look_back_s // PERIOD_S), 1) * PERIOD_S
    traded_s = span_s - look_back_s - 2 * embargo_s
    step_s = traded_s / min(max(round(traded_s / STEP_S), FOLDS), MOST_FOLDS)
    step_s = max(round(step_s // PERIOD_S), 1) * PERIOD_S
    return Frame(look_back_s, step_s, embargo_s, half_life_s=half_life_s)
