"""Whether a choice may be exported, and whether it may replace the one in force: numbers, bounds and words.

A gate that could not be computed is missed: what nobody knows is no evidence.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from delta_arb.backtest.performance import thinned
from delta_arb.backtest.sweep import sweep
from delta_arb.errors import ParamsError, SeriesError
from delta_arb.evidence import Gate
from delta_arb.market import DAY_S, NS, from_bps
from delta_arb.optimize.offers import offers
from delta_arb.optimize.study import PERIOD_S, Constraints, Frame, Market, Thresholds
from delta_arb.optimize.walk_forward import (
    Choose,
    LookBack,
    WalkForward,
    outcomes,
    propose,
    walk_forward,
)
from delta_arb.quotes.tape import Tape
from delta_arb.stats import multiple_testing, sharpe
from delta_arb.stats.multiple_testing import Deflated, Overfitting, Superior
from delta_arb.stats.sharpe import REPETITIONS, Interval, chance_with_memory, chance_without_edge
from delta_arb.strategy.state import DIRECT, REVERSE
from delta_arb.tables import Table, TableFace, quantity, share

MIN_DEFLATED = 0.95
MAX_OVERFITTING = 0.5
MAX_LOSS = 0.05  # share of halvings that lose, below which a flat top is no alarm
MIN_HALF_LIVES = 150.0
LEVEL = 0.95  # two-sided, of all looks together: luck may pass in half of the rest
LUCK = "chance without an edge"
WORST = 0.999  # of the cost of leaving, what an exit of carry at a bad moment is taken to meet
YEAR_DAYS = 365.0
WARNINGS = DEFLATED, OVERFITTING, LOOK_BACK = (
    "deflated Sharpe ratio",
    "probability of overfitting",
    "look-back",
)  # they do not refuse


DEMANDS = {  # unit of the number, and what is asked
    "pairs out of sample": ("pairs", "round trips on quotes that the choice had not seen"),
    "pairs a day": ("", "round trips often enough to be worth running"),
    "hit rate's upper bound": ("fraction", "pairs that reach their exit level, at the upper end of 95 %"),
    "drawdown of marked equity": ("fraction", "deepest fall of what could be cashed in, of all capital"),
    LUCK: ("fraction", "how often a rule that earns nothing shows such pairs, if one of them may go wrong"),
    "net a year on all capital": ("% a year", "earned a year on all capital, against what cash pays"),
    DEFLATED: ("fraction", "probability of an edge once all tries are counted"),
    OVERFITTING: ("fraction", "how often the best of one half of the record ends in the worse half of the other"),
    LOOK_BACK: ("half-lives", "how often the basis can have come back in what the choice looked at"),
    "halts": ("", "times that the machine stopped on a leg it could not close"),
    "independent days held": ("days", "days held that say something new"),
    "net a day of a position, lower bound": ("bps a day", "earned a day of a full position, at the lower end of its interval"),
    "net a day without the best day": ("bps a day", "earned a day of a full position if its best day had not come"),
    "net after one more exit at its worst": ("bps", "what is left of everything earned after one more bad exit"),
}  # fmt: skip


def gate(
    name: str, value: float | None, bound: float, *, least: bool = True, note: str = "", finding: str = ""
) -> Gate:
    """A demand from its number; None is missed, or warns where it is one that only does so.

    `note`: why there is none. `finding`: in other words than these.
    """
    unit, meaning = DEMANDS[name]
    passed = value is not None and bool(value >= bound if least else value <= bound)
    side = ("is at least" if passed else "is below") if least else ("is at most" if passed else "is above")
    if value is None:
        finding = f"{name} was not computed{f' ({note})' if note else ''}"
    return Gate(
        name=name, meaning=meaning, value=None if value is None else float(value), unit=unit, bound=bound, at_least=least,
        result="met" if passed else "warns" if name in WARNINGS else "missed",
        finding=finding or f"{name} {quantity(value, unit)} {side} {quantity(bound, unit)}",
    )  # fmt: skip


def gates(
    walk: WalkForward,
    constraints: Constraints,
    frame: Frame,
    *,
    luck: float | None,
    may_be_luck: float,
    deflated: Deflated | None,
    overfitting: Overfitting | None,
) -> tuple[Gate, ...]:
    """Every demand on an export: trades, hit rate, drawdown, that it is no luck, cash, halts; and what is only told.

    Out of sample is the walk-forward. That it earns is tested once, by `luck` (see `chance_without_edge` and
    `chance_with_memory`), whose record pays for the choosing already; the others look at what this test cannot see. So many
    pairs are asked for as a coin does not win in a row at that level. `deflated` and `overfitting` are of all
    sets tried on the look-back (see `trials`), None where they were refused: of choices that saw what they are judged on,
    so they warn.
    """
    seen = walk.performance
    return (
        gate("pairs out of sample", seen.ended, math.ceil(-math.log2(may_be_luck))),
        gate("pairs a day", seen.trades_day, constraints.min_trades_day),
        gate(
            "hit rate's upper bound", walk.hit_rate and walk.hit_rate.high, constraints.target_hit_rate, note="no pair"
        ),
        gate("drawdown of marked equity", seen.drawdown, constraints.max_drawdown, least=False),
        gate(LUCK, luck, may_be_luck, least=False, note="no pair"),
        above_cash(walk.net_usdt_day and walk.net_usdt_day.value, seen.capital_usdt, constraints.cash_percent),
        told_deflated(deflated),
        _overfitting(overfitting),
        gate(
            LOOK_BACK, frame.half_life_s and frame.look_back_s / frame.half_life_s, MIN_HALF_LIVES, note="no half-life"
        ),
        gate("halts", float(seen.halted), 0.0, least=False),
    )


def above_zero(name: str, net: Interval | None, note: str) -> Gate:
    """The lower end of the interval must be above zero, not at it."""
    if net is None:
        return gate(name, None, 0.0, note=note)
    passed = net.low > 0
    finding = f"net {net} {DEMANDS[name][0]} out of sample is {'' if passed else 'not '}surely above zero"
    return gate(name, net.low, 0.0, finding=finding).replace(result="met" if passed else "missed")


def told_deflated(found: Deflated | None, why: str = "") -> Gate:
    """The verdict at the effective number tried, and at all of them; `why` there is none."""
    plain = gate(DEFLATED, found and found.probability, MIN_DEFLATED, note=why)
    if found is None:
        return plain
    both = "passes" if found.of_all >= MIN_DEFLATED else "does not pass"
    paid = f"{found.clusters} effective of {found.tried} tried; with all as independent {100 * found.of_all:.3g} %, which {both}"
    return plain.replace(finding=f"{plain.finding} ({paid})")


def above_cash(net_usdt_day: float | None, capital_usdt: float, cash_percent: float) -> Gate:
    """A year on all capital must earn more than the same money without trading."""
    percent = None if net_usdt_day is None else 100 * YEAR_DAYS * net_usdt_day / capital_usdt
    return gate("net a year on all capital", percent, cash_percent, note="no pair")


def _overfitting(found: Overfitting | None) -> Gate:
    """Near one half is no alarm where the choice hardly ever loses: then the best are equals."""
    plain = gate(OVERFITTING, found and found.probability, MAX_OVERFITTING, least=False)
    if found is None or plain.passed or found.loss > MAX_LOSS:
        return plain
    lost = share(found.loss, 1)
    finding = f"{plain.finding}, but the choice loses on {lost} of the other halves: a flat top, no alarm"
    return plain.replace(result="met", finding=finding)


def said(found: Sequence[Gate], result: str) -> str:
    """The findings of this result, in one line."""
    return "; ".join(g.finding for g in found if g.result == result)


def table(found: Sequence[Gate]) -> Table:
    """The gates as a reader sees them."""
    rows = [(g.name, quantity(g.value, g.unit, 3), g.wanted, g.result, g.meaning) for g in found]
    missed, warned = said(found, "missed"), said(found, "warns")
    note = (f"Missed: {missed}." if missed else "All demands are met.") + (f" Warning: {warned}." if warned else "")
    return Table.of("Demands on the export", ("", "value", "demand", "result", "meaning"), rows, note)


@dataclass(frozen=True, eq=False)
class Judgement(TableFace):
    """All that speaks for a choice or against it; None is what the statistics refused, and `refusals` say why.

    `confidence` is the estimated probability that the next fold's net is above zero, None of candles; `walk.brier` how good such
    probabilities were.
    """

    walk: WalkForward
    deflated: Deflated | None
    overfitting: Overfitting | None
    superior: Superior | None
    confidence: float | None
    gates: tuple[Gate, ...]
    refusals: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every demand is met; warnings do not count."""
        return not any(g.refuses for g in self.gates)

    @property
    def reason(self) -> str:
        """The demands that were missed and why some were not computed, in words; empty when all were met."""
        return "" if self.passed else "; ".join((said(self.gates, "missed"), *self.refusals))

    @property
    def warning(self) -> str:
        return said(self.gates, "warns")

    def table(self) -> Table:
        return table(self.gates)

    def __repr__(self) -> str:
        return f"Judgement({'; '.join(filter(None, ('passed' if self.passed else 'not passed', self.reason)))})"


@dataclass(frozen=True, slots=True)
class Tried:
    """The sets examined and the one `chosen`, which need not be one of them: it may lie between the plug-in and the
    grid's best. `upstream`: of how many pairs, modes and markets this one was picked, this one included."""

    sets: Sequence[Thresholds]
    chosen: Thresholds
    upstream: float = 1.0

    @property
    def others(self) -> list[Thresholds]:
        return [s for s in self.sets if s != self.chosen]

    def nets(self, tape: Tape, market: Market, period_s: float) -> np.ndarray:
        """Net of every period for every set, the chosen one last: off the grid it would stand between neighbours."""
        return trials(tape, market, [*self.others, self.chosen], period_s)


def judge(
    tape: Tape,
    market: Market,
    constraints: Constraints,
    tried: Tried,
    frame: Frame,
    *,
    rng: np.random.Generator,
    choose: Choose = propose,
) -> Judgement:
    """Walk forward over all quotes, and ask what choosing one of those `tried` on them flatters.

    The walk judges the way of choosing, on quotes unseen each time; deflation and overfitting are of the sets tried,
    over all quotes, because a look-back alone is too short for them.
    """
    walk = walk_forward(tape, market, constraints, frame, rng=rng, choose=choose)
    chosen, others = tried.chosen, tried.others
    nets = tried.nets(tape, market, frame.period_s)
    until_ns = tape.end_ns - round(frame.embargo_s * NS)
    start_ns = until_ns - round(frame.look_back_s * NS)
    last = LookBack(tape.between(start_ns, tape.end_ns), start_ns, until_ns, market, constraints, frame.period_s)
    recent = last.by_entry(last.replay(chosen))
    refusals: list[str] = []

    def ask(question: Callable):
        try:
            return question()
        except SeriesError as error:
            refusals.append(str(error))
            return None

    deflated = ask(lambda: multiple_testing.deflated(nets, -1, upstream=tried.upstream))
    smoother = neighbourhoods(others) if others else None
    overfitting = ask(lambda: multiple_testing.overfitting(nets[:, :-1], _blocks(walk, len(nets)), smoother=smoother))
    superior = ask(lambda: multiple_testing.superior(nets, rng))
    earned = outcomes(walk.folds, tape.end_ns)
    confidence = ask(
        lambda: sharpe.probability_of_gain(recent, round(frame.step_s / frame.period_s), rng, earned=earned)
    )
    if walk.brier is None:
        confidence = None
        refusals.append("confidence is not known: no probability was scored in the walk")
    elif tape.bar_s:  # on recorded candles it scored worse than the base rate, see docs/statistics.md
        confidence = None
    windows = constraints.repeated_h * 3600.0 / ((tape.end_ns - tape.start_ns) / NS)
    may_be_luck = (1 - multiple_testing.level_of_each(LEVEL, tried.upstream, windows)) / 2
    ended = [t.net_usdt for t in walk.result.trades if not t.censored]
    seen = modelled_loss_usdt(tape, market, chosen)
    stated = from_bps(constraints.stress_loss_bps) * market.position_usdt
    luck = chance_of_luck(ended, max(seen, stated), rng, may_be_luck) if ended else None
    found = gates(
        walk, constraints, frame, luck=luck, may_be_luck=may_be_luck, deflated=deflated, overfitting=overfitting
    )
    if ended and stated > seen:
        plain = quantity(chance_of_luck(ended, seen, rng, may_be_luck), "fraction")
        of = f" ({plain} without the loss of {constraints.stress_loss_bps:g} bps that stress_loss_bps states)"
        found = tuple(g.replace(finding=g.finding + of) if g.name == LUCK else g for g in found)
    return Judgement(walk, deflated, overfitting, superior, confidence, found, tuple(refusals))


def chance_of_luck(nets: Sequence[float], loss: float, rng: np.random.Generator, level: float = 0.025) -> float:
    """That such pairs come without an edge, if one may lose `loss`: independent ones, or ones that remember each other.

    1 without a pair. Drawn often enough to show a chance as small as `level`.
    """
    if not nets:
        return 1.0
    repetitions = max(10 * REPETITIONS, round(2 / level))
    return max(chance_without_edge(nets, loss, rng, repetitions=repetitions), chance_with_memory(nets))


def modelled_loss_usdt(tape: Tape, market: Market, chosen: Thresholds) -> float:
    """What a full position loses that is entered at its level and left in trouble, fees included.

    One that goes against us is added to as long as there is room. In trouble is any moment at which leaving loses, weighted
    by the loss: one is held through those of which leaving is dear, and a book that was far away for hours counts as what
    it would have cost.
    """
    losses_bps = [0.0]
    for side in (DIRECT, REVERSE):
        if at := chosen.levels(side):
            left = offers(tape, market.settings, None, side).exit_bps - at.entry_bps + market.fees_bps
            lost = np.maximum(left, 0.0)
            losses_bps.append(float(lost @ lost / lost.sum()) if lost.any() else 0.0)
    return from_bps(max(losses_bps)) * market.position_usdt


def _blocks(walk: WalkForward, periods: int) -> int:
    """As many blocks as are longer than a round trip takes on average, from entry to entry; 16 at most."""
    cycles = periods * walk.period_s / DAY_S * walk.performance.trades_day
    blocks = min(16, 2 * int(cycles / 2))
    if blocks < 4:
        raise SeriesError(f"{cycles:.1f} round trips are too few to halve the record; record longer")
    return blocks


# --- champion against challenger --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Contest:
    """Whether new parameters replace those in force; `gain_usdt_day`: challenger minus champion, None if equal."""

    replace: bool
    gain_usdt_day: Interval | None
    words: str


def contest(
    tape: Tape,
    market: Market,
    champion: Thresholds,
    challenger: Thresholds,
    rng: np.random.Generator,
    *,
    period_s: float = PERIOD_S,
    worth_usdt_day: float = 0.0,
) -> Contest:
    """Both replayed on the same quotes, which neither was fitted on (the judged part of the window)."""
    nets = trials(tape, market, [champion, challenger], period_s)
    return keep_or_replace(*nets.T, rng, period_s=period_s, worth_usdt_day=worth_usdt_day)


def keep_or_replace(
    champion,
    challenger,
    rng: np.random.Generator,
    *,
    period_s: float,
    level: float = 0.95,
    worth_usdt_day: float = 0.0,
) -> Contest:
    """Replace the champion only for a gain above its noise; otherwise it is confirmed anew.

    Both are columns of net profits of the same periods of the same quotes, that neither was fitted on: what moves both
    cancels in the difference. `worth_usdt_day` is what a change must earn at least to be worth it.

    Raises:
        ParamsError: columns of different lengths.
        SeriesError: too few periods for an interval.
    """
    champion, challenger = np.asarray(champion, float), np.asarray(challenger, float)
    if champion.shape != challenger.shape:
        raise ParamsError(f"judge both on the same periods, had {champion.shape} and {challenger.shape}")
    difference = challenger - champion
    if np.array_equal(champion, challenger):
        return Contest(False, None, "both do the same on these quotes; the old parameters are confirmed")
    gain = sharpe.mean_interval(difference, rng, level=level).scaled(DAY_S / period_s)
    if gain.low > worth_usdt_day:
        return Contest(True, gain, f"the new parameters earn {gain} USDT a day more, which is more than its noise")
    return Contest(False, gain, f"a gain of {gain} USDT a day is within its noise; the old parameters are confirmed")


# --- what is asked of many trials -----------------------------------------------------------------------------


def trials(tape: Tape, market: Market, sets: Sequence[Thresholds], period_s: float = PERIOD_S) -> np.ndarray:
    """Net of every period of the tape for every set, shape (periods, sets)."""
    ends = thinned(tape, tape.start_ns, tape.end_ns, period_s)
    swept = sweep(tape, market.rules(sets), market.latency, market.payments, funds=market.funds, marked=ends)
    return np.diff(swept.nets, prepend=0.0).T


def neighbourhoods(sets: Sequence[Thresholds]) -> np.ndarray:
    """Weights of shape (sets, sets): scores @ weights are the neighbourhood means by which a set is chosen.

    Sets of one direction are no neighbours of the other's.
    """
    near = np.zeros((len(sets), len(sets)), bool)
    for side in (DIRECT, REVERSE):
        of = [k for k, s in enumerate(sets) if s.side == side]
        levels = [np.unique([sets[i][k] for i in of], return_inverse=True)[1] for k in range(3)]
        away = [np.abs(level[:, None] - level[None, :]) for level in levels]
        near[np.ix_(of, of)] = (away[0] <= 1) & (away[1] <= 1) & (away[2] == 0)
    return near / near.sum(axis=0)
