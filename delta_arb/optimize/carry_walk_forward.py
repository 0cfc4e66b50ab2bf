"""Carry judged by walking forward: horizon and levels chosen on the past, held after, told part by part.

The search of `carry` finds a rule on a look-back; the pair machine then replays it there, with both wallets and the
margin of the short, and holds it on the fold after. What the search does not know can only be lost by that: a rule that
a wallet cannot pay for, or whose short is liquidated, earns nothing on its look-back or loses its fold, and a machine
that halted enters no more.

A look-back marks what is open at its end at prices of that moment, so nothing needs to be purged: no choice uses a
later price or a later funding stamp. Pairs belong to the fold that entered them and keep its rule until they end; the
next fold enters nothing before that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from delta_arb.backtest.performance import period_nets
from delta_arb.backtest.replay import Backtest
from delta_arb.errors import DataError, ParamsError
from delta_arb.market import DAY_S, END, NS, entry_edge, exit_cost, to_bps, utc
from delta_arb.optimize.carry_search import (
    BreakEven,
    CarryRule,
    Moments,
    Pair,
    break_even,
    moments,
    nets_bps,
    pairs,
)
from delta_arb.optimize.gates import Gate, gate
from delta_arb.optimize.rolling import Machine
from delta_arb.optimize.study import CARRY, MIN_FOLDS, SEED, Market, Thresholds
from delta_arb.quotes.tape import Tape
from delta_arb.stats.sharpe import Interval, mean_interval
from delta_arb.strategy.ledger import Trade, attribution
from delta_arb.tables import NOTHING, Table, number

HORIZONS_S = tuple(days * DAY_S for days in (3, 7, 14, 30, 60))
MARGINS_BPS = (-10.0, -5.0, 0.0, 5.0, 10.0)  # of the entry, above what the round trip costs; below: let it pay later
SLACKS_BPS = (-20.0, -10.0, -5.0, 0.0, 5.0)  # of the exit, above the median cost of leaving
LEVEL = 0.95
MIN_PAIRS = 5  # walked forward; fewer entries are an anecdote, whatever the interval of their days says
MIN_LOOK_BACK_S = 30 * DAY_S


class Chosen(NamedTuple):
    """What was chosen of so many `trials` on a look-back, or why nothing was; `net_bps_day`: what the machine earned
    with it there, bps of a full position."""

    rule: CarryRule | None
    reason: str
    net_bps_day: float | None = None
    trials: int = 0


def candidates(seen: Moments, market: Market, known: slice) -> list[CarryRule]:
    """The rules worth trying on a look-back: levels around its median cost of leaving, four fees above it to enter."""
    costs = seen.exit_bps[known][seen.leavable[known]]
    if not len(costs):
        return []
    leave_bps = float(np.median(costs))
    return [
        CarryRule(horizon_s, leave_bps + market.fees_bps + margin, leave_bps + slack)
        for horizon_s in HORIZONS_S
        for margin in MARGINS_BPS
        for slack in SLACKS_BPS
        if margin > slack  # the levels alone pay the four fees, as the parameter file demands
    ]


def choose(tape: Tape, seen: Moments, market: Market, first: int, last: int) -> Chosen:
    """The rule that earned most on moments [first, last), what is open there closed at its exit side; or a refusal.

    Its horizon's and levels' neighbours count as much as itself: the mean of a rule and those one step away decides. It
    is refused unless the machine earns with it there too.
    """
    known = slice(first, last)
    rules = candidates(seen, market, known)
    if not rules or not seen.funding_bps_day[known].any():
        return Chosen(None, "the look-back has no moment with an expectation of funding")
    nets = np.array([nets_bps(seen, market, pairs(seen, rule, first, last), last - 1).sum() for rule in rules])
    best = int(np.argmax(_smoothed(rules, nets)))
    if not nets[best] > 0:
        mean = float(np.mean(seen.funding_bps_day[known]))
        paid = f"funding was expected to pay {mean:.2f} bps a day, four fees are {market.fees_bps:g} bps"
        return Chosen(None, f"no carry rule earned anything on the look-back ({paid})", trials=len(rules))
    replayed = market.replay(tape.between(seen.ts_ns[first], seen.ts_ns[last - 1] + 1), rules[best].thresholds)
    net_bps_day = to_bps(replayed.net_usdt / position_usdt(market)) / replayed.days
    if replayed.halted or not net_bps_day > 0:
        end = "it halted" if replayed.halted else f"entries that a wallet could not pay for: {len(replayed.refusals)}"
        why = f"with these wallets and this margin the best rule earned {net_bps_day:.2f} bps a day ({end})"
        return Chosen(None, why, net_bps_day, len(rules))
    return Chosen(rules[best], "earned on its look-back", net_bps_day, len(rules))


def position_usdt(market: Market) -> float:
    """A full position, which returns are told in bps of: one clip, unless several are allowed."""
    return max(market.settings.clip_usdt, market.settings.max_position_usdt or 0.0)


def _smoothed(rules: Sequence[CarryRule], nets: np.ndarray) -> np.ndarray:
    """Mean of each rule and its direct neighbours on all three axes."""
    places = np.column_stack([np.unique([r[k] for r in rules], return_inverse=True)[1] for k in range(3)])
    near = (np.abs(places[:, None] - places[None]) <= 1).all(axis=2)
    return near @ nets / near.sum(axis=1)


class CarryFold(NamedTuple):
    """One stretch held by what was chosen before it; its trades are of the pairs that it entered."""

    start_ns: int
    end_ns: int
    chosen: Chosen
    trades: tuple[Trade, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CarryWalk:
    """The whole procedure on history it had not seen, as exact money.

    `daily`: change of marked equity a day, bps of a full position (`position_usdt`); `net_bps_day` its mean with a block
    bootstrap interval, None where nothing was held. `always_bps`: entered at the first moment, left at the last: what a
    holder without any rule got, if no venue took his short; `now`: chosen for the time to come. A crash that throws the
    legs apart can pay a year of funding in one fill, and a candle's prices are least to be believed there: so the parts
    are told, and what is left without the best day.
    """

    folds: tuple[CarryFold, ...]
    result: Backtest
    daily: np.ndarray
    net_bps_day: Interval | None
    even: BreakEven
    always_bps: float | None
    position_usdt: float
    now: Chosen

    @property
    def trades(self) -> tuple[Trade, ...]:
        return self.result.trades

    @property
    def rest_bps_day(self) -> float | None:
        """The mean without the best day; None where nothing was held."""
        return (
            None if self.net_bps_day is None else float((self.daily.sum() - self.daily.max()) / (len(self.daily) - 1))
        )

    def part_bps_day(self, part: str) -> float:
        """Mean a day of one part of the net: funding, fees (negative), or basis (all else), bps of a full position."""
        sums = attribution(self.trades)
        sums["basis"] = sums["spot"] + sums["perp"] + sums["residual"]
        return to_bps(sums[part] / self.position_usdt) / len(self.daily)

    @property
    def pays(self) -> bool:
        """Whether the interval lies above zero, the mean without the best day does too, and nothing halted the machine."""
        return (
            self.net_bps_day is not None
            and self.net_bps_day.low > 0
            and self.rest_bps_day > 0
            and not self.result.halted
        )

    @property
    def verdict(self) -> str:
        """One sentence: carry, or do not."""
        if self.net_bps_day is None:
            reasons = sorted({fold.chosen.reason for fold in self.folds})
            return f"Do not carry: nothing was held in {len(self.folds)} folds ({'; '.join(reasons)}). {self.even}."
        parts = ", ".join(f"{part} {self.part_bps_day(part):+.2f}" for part in ("funding", "basis", "fees"))
        says = (
            f"{len(self.trades)} pairs earned {self.net_bps_day} bps a day of a full position on history not seen ({parts}), "
            f"{self.rest_bps_day:.2f} without the best day"
        )
        if self.pays:
            return f"Carry pays: {says}."
        halted = f"the machine halted at {utc(self.trades[-1].closed_ns)[:16]} UTC" if self.result.halted else ""
        return f"Do not carry: {says}; {halted or 'not surely above zero'}. {self.even}."

    @property
    def gates(self) -> tuple[Gate, ...]:
        """Every demand on an export. The rules tried are paid for by judging each choice on what came after it, the pairs
        and markets looked at before by the level of the interval."""
        low = self.net_bps_day and self.net_bps_day.low
        return (
            gate("pairs walked forward", float(len(self.trades)), float(MIN_PAIRS)),
            gate("net a day, lower bound", low, 0.0, "bps", note="nothing was held"),
            gate("net a day without the best day", self.rest_bps_day, 0.0, "bps", note="nothing was held"),
            gate("halts", float(self.result.halted), 0.0, least=False),
        )

    def table(self) -> Table:
        rows = [_fold_row(fold, self.position_usdt) for fold in self.folds]
        heads = (
            "fold from, UTC",
            "horizon, days",
            "entry, bps",
            "exit, bps",
            "look-back, bps/day",
            "pairs",
            "net, bps",
        )
        return Table.of("Carry, walked forward: chosen before, held after", heads, rows, self.verdict)

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def _fold_row(fold: CarryFold, position_usdt: float) -> tuple[str, ...]:
    rule, trades = fold.chosen.rule, fold.trades
    levels = (NOTHING,) * 3 if rule is None else (f"{rule.horizon_s / DAY_S:g}", *(f"{x:.1f}" for x in rule[1:3]))
    net = to_bps(sum(t.net_usdt for t in trades) / position_usdt) if trades else None
    return utc(fold.start_ns)[:10], *levels, number(fold.chosen.net_bps_day), f"{len(trades)}", number(net, 1)


def walk(
    tape: Tape,
    market: Market,
    *,
    look_back_s: float = 120 * DAY_S,
    step_s: float = 30 * DAY_S,
    rng: np.random.Generator,
    upstream: float = 1.0,
) -> CarryWalk:
    """Choose before every fold from what was known then, hold, go on; a pair keeps its rule and its fold.

    `upstream`: how many pairs and markets were looked at before this one was picked (this one included); the interval
    holds for all of them at once (Bonferroni).

    Raises:
        ParamsError: no funding, or a look-back shorter than a month.
        DataError: fewer than three folds.
    """
    if not market.payments:
        raise ParamsError("carry lives on funding; give its history (--funding FILE), none cannot be carried")
    if look_back_s < MIN_LOOK_BACK_S:
        raise ParamsError(
            f"look_back_s={look_back_s:g} is shorter than 30 days, which hold no carry; look back further"
        )
    tape = tape.between(tape.start_ns, min(tape.end_ns, market.payments[-1].ts_ns) + 1)  # what funding covers
    seen = moments(tape, market)
    look_back_ns, step_ns = round(look_back_s * NS), round(step_s * NS)
    starts = range(int(seen.ts_ns[0]) + look_back_ns, int(seen.ts_ns[-1]) - step_ns + 1, step_ns)
    if len(starts) < MIN_FOLDS:
        days = (seen.ts_ns[-1] - seen.ts_ns[0]) / NS / DAY_S
        raise DataError(
            f"{days:.0f} days hold {len(starts)} folds of {step_s / DAY_S:g} days behind a look-back of "
            f"{look_back_s / DAY_S:g}; {MIN_FOLDS} are needed, give a longer history or shorter ones"
        )
    machine, folds = Machine(tape, market), []
    for start_ns in starts:
        first, at = np.searchsorted(seen.ts_ns, (start_ns - look_back_ns, start_ns))
        chosen = choose(tape, seen, market, int(first), int(at))
        trades, _ = machine.trade(chosen.rule and chosen.rule.thresholds, start_ns, start_ns + step_ns)
        folds.append(CarryFold(start_ns, start_ns + step_ns, chosen, trades))
    now = choose(tape, seen, market, int(np.searchsorted(seen.ts_ns, seen.ts_ns[-1] - look_back_ns)), len(seen))
    return _judged(machine, seen, tuple(folds), now, 1.0 - (1.0 - LEVEL) / upstream, rng)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Asked:
    """What carry is worth on a run's history, and the reason of a candidate of that profile; `walk` where it could."""

    profile: str
    table: Table
    reason: str
    walk: CarryWalk | None = None

    @property
    def trade(self) -> bool:
        """Whether the walk passes every gate, and there is a rule for the time to come."""
        return self.thresholds is not None and all(gate.passed for gate in self.walk.gates)

    @property
    def thresholds(self) -> Thresholds | None:
        """The rule chosen for the time to come, as the machine takes it; None where there is none."""
        rule = self.walk and self.walk.now.rule
        return rule and rule.thresholds

    def __repr__(self) -> str:
        return repr(self.table)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()


def asked(tape: Tape, market: Market, profile: str, upstream: float = 1.0) -> Asked:
    """How long a hold must last on this history; with the profile carry, walked forward too, or why it cannot be."""
    title = "Would holding for days pay?"
    seen = tape.looks()
    width = exit_cost(seen.spot_bid, seen.perp_ask) - entry_edge(seen.spot_ask, seen.perp_bid)
    paid = [p for p in market.payments if tape.start_ns <= p.ts_ns <= tape.end_ns]
    try:
        even = f"{break_even(paid, market.fees_bps + float(to_bps(np.median(width))))}"
    except DataError as error:
        even = f"not known: {error}"
    if profile != CARRY:
        rows = [("break-even", even), ("walked forward", f"not asked: the profile is {profile}")]
        return Asked(profile, Table.of(title, ("question", "answer"), rows), even)
    try:
        walked = walk(tape, market, rng=np.random.default_rng(SEED), upstream=upstream)
    except (DataError, ParamsError) as error:
        reason = f"carry cannot be judged: {error}"
        return Asked(
            profile, Table.of(title, ("question", "answer"), [("break-even", even), ("carry", reason)]), reason
        )
    return Asked(profile, walked.table(), _reason(walked), walked)


def _reason(walked: CarryWalk) -> str:
    """The verdict, why nothing is exported, and the rule for the time to come."""
    now = walked.now
    missed = [gate.words for gate in walked.gates if not gate.passed] + ([] if now.rule else [now.reason])
    told = (walked.verdict, f"Not exported: {'; '.join(missed)}." * bool(missed), f"Now: {now.rule}." * bool(now.rule))
    return " ".join(filter(None, told))


def _judged(
    machine: Machine, seen: Moments, folds: tuple[CarryFold, ...], now: Chosen, level: float, rng: np.random.Generator
) -> CarryWalk:
    tape, market, start_ns = machine.tape, machine.market, folds[0].start_ns
    end_ns = max(folds[-1].end_ns, *(t.closed_ns for fold in folds for t in fold.trades), 0)
    result = machine.result(start_ns, end_ns)
    daily = to_bps(
        period_nets(tape.between(start_ns, tape.end_ns + 1), result, start_ns, end_ns, DAY_S) / position_usdt(market)
    )
    crossing_bps = float(np.median((seen.exit_bps - seen.entry_bps)[seen.leavable]))
    return CarryWalk(
        folds=folds,
        result=result,
        daily=daily,
        net_bps_day=mean_interval(daily, rng, level=level) if result.trades and np.ptp(daily) > 0 else None,
        even=break_even(
            [p for p in market.payments if tape.start_ns <= p.ts_ns <= tape.end_ns], market.fees_bps + crossing_bps
        ),
        always_bps=_always_bps(seen, market, int(np.searchsorted(seen.ts_ns, start_ns))),
        position_usdt=position_usdt(market),
        now=now,
    )


def _always_bps(seen: Moments, market: Market, first: int) -> float | None:
    """Net of one pair entered as soon as it can be from moment `first` on and held to the last one."""
    can = np.flatnonzero(seen.enterable[first:])
    last = len(seen) - 1
    return float(nets_bps(seen, market, [Pair(first + int(can[0]), last, END)], last)[0]) if len(can) else None
