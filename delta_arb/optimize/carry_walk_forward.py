"""Carry judged by walking forward: horizon and levels chosen on the past, held after, told part by part.

The same walk as of any other rule, with folds of days, the choice of `carry_search`, and no embargo: a look-back marks what is open at
its end at prices of that moment, so nothing needs to be purged. Pairs belong to the fold that entered them and keep its rule until they
end; the next fold enters nothing before that. A rule that a wallet cannot pay for, or whose short is liquidated, earns nothing on its
look-back or loses its fold; a machine that halted enters no more. Where a leg rests, both the back of the queue and `through` must pass.
"""

from dataclasses import dataclass, replace

import numpy as np

from delta_arb.backtest.performance import period_nets
from delta_arb.backtest.replay import Backtest
from delta_arb.errors import DataError, ParamsError, SeriesError
from delta_arb.evidence import Gate
from delta_arb.market import BACK, DAY_NS, DAY_S, NEVER, NS, THROUGH, FundingPayment, from_bps, to_bps, utc
from delta_arb.optimize import carry_roles, carry_ways
from delta_arb.optimize.carry_search import NO_RULE, BreakEven, break_even, choose_carry, deflated, spoken_rule
from delta_arb.optimize.carry_ways import LOOK_BACK_S, STEP_S, crossing_bps, known_to_walk, worst_bps
from delta_arb.optimize.gates import DEFLATED, LEVEL, above_cash, above_zero, gate, said, told_deflated
from delta_arb.optimize.roles import under
from delta_arb.optimize.study import (
    CARRY,
    CASH_PERCENT,
    MIN_FOLDS,
    SEED,
    Constraints,
    Frame,
    Market,
    Thresholds,
    demands,
)
from delta_arb.optimize.walk_forward import (
    Fit,
    Fold,
    LookBack,
    WalkForward,
    chosen_by,
    outcomes,
    probability,
    walk_forward,
)
from delta_arb.quotes.tape import Tape
from delta_arb.stats.multiple_testing import Deflated, level_of_each
from delta_arb.stats.sharpe import Brier, Interval, mean_interval, sharpe
from delta_arb.strategy.ledger import Trade, attribution, net_bps
from delta_arb.tables import NOTHING, Table, TableFace, number
from delta_arb.wallets import BOUNDLESS

MIN_DAYS = 20.0  # independent days held; a month of one hold has them, five entries of an hour each do not
NO_MORE = Constraints()  # a single run, cash at its usual rate
MIN_LOOK_BACK_S = 30 * DAY_S
HELD_THROUGHOUT = Thresholds(-999.0, -1000.0, 366 * DAY_S)  # enters at once, leaves when the quotes end


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CarryWalk(TableFace):
    """The whole procedure on history it had not seen, as exact money.

    `daily`: change of marked equity a day, bps of a full position (`position_usdt`); `net_bps_day` its mean with a block
    bootstrap interval of the days held (`held_days`, of which so many are independent), None where nothing was.
    `worst_bps`: of a round trip that is left at a bad moment, with the margin a venue keeps of a short that it takes.
    `always_bps`: entered at the first moment, left at the last: what a holder without any rule got, if no venue took his
    short; `now`: chosen for the time to come, `confidence` the probability that its first fold earns, said as before each
    fold, which `brier` scores; not known where none was scored, and of candles. A crash that throws the legs apart can pay
    a year of funding in one fill, and a candle's prices are least to be believed there: so the parts are told, and what is
    left without the best day.
    `market`: with the roles of both legs, chosen as `conduct` says; `through`: where one rests, the same walk where only what
    is beyond our price fills; `deflated`: of `now`, told beside the walk, which judged each choice on what came after it;
    `not_deflated`: why it is None.
    """

    folds: tuple[Fold, ...]
    result: Backtest
    daily: np.ndarray
    net_bps_day: Interval | None
    even: BreakEven
    always_bps: float | None
    position_usdt: float
    now: Fit
    brier: Brier | None
    confidence: float | None
    held_days: int
    independent_days: float | None
    worst_bps: float
    market: Market
    cash_percent: float = CASH_PERCENT
    conduct: str = ""
    through: "CarryWalk | None" = None
    deflated: Deflated | None = None
    not_deflated: str = ""

    @property
    def trades(self) -> tuple[Trade, ...]:
        return self.result.trades

    @property
    def rest_bps_day(self) -> float | None:
        """The mean without the best day; None where nothing was held."""
        return (
            None if self.net_bps_day is None else float((self.daily.sum() - self.daily.max()) / (len(self.daily) - 1))
        )

    @property
    def wrong_bps(self) -> float:
        """What is left of the whole net after one more round trip that ends at a bad moment."""
        return float(self.daily.sum()) - self.worst_bps

    def part_bps_day(self, part: str) -> float:
        """Mean a day of one part of the net: funding, fees (negative), or basis (all else), bps of a full position."""
        sums = attribution(self.trades)
        sums["basis"] = sums["spot"] + sums["perp"] + sums["residual"]
        return to_bps(sums[part] / self.position_usdt) / len(self.daily)

    @property
    def taken(self) -> carry_ways.Walked | None:
        """Its pairs, where both legs took and something was held."""
        if self.market.settings.resting or self.net_bps_day is None:
            return None
        return carry_ways.Walked(self.trades, len(self.daily), self.net_bps_day.value)

    @property
    def pays(self) -> bool:
        """Whether every gate is passed."""
        return not any(g.refuses for g in self.gates)

    @property
    def verdict(self) -> str:
        """One sentence: carry, or do not, and why not."""
        if self.net_bps_day is None:
            reasons = sorted({fold.reason for fold in self.folds})
            return f"Do not carry: nothing was held in {len(self.folds)} folds ({'; '.join(reasons)}). {_sentence(f'{self.even}')}"
        if self.pays:
            return f"Carry pays: {self.says}."
        return f"Do not carry: {self.says}, but {said(self.gates, 'missed')}. {_sentence(f'{self.even}')}"

    @property
    def reason(self) -> str:
        """What was found, and whether there is a rule for the time to come; what paid and is not exported says why."""
        if self.pays and not self.now.thresholds:
            return f"Carry paid and is not exported, because {NO_RULE}: {self.now.reason}. Before, {self.says}."
        return self.verdict + (f" Now: {spoken_rule(self.now.thresholds)}." if self.pays else "")

    @property
    def says(self) -> str:
        """What was earned, with its parts."""
        parts = ", ".join(f"{part} {self.part_bps_day(part):+z.2f}" for part in ("funding", "basis", "fees"))
        pairs = f"{len(self.trades)} pair{'s' * (len(self.trades) != 1)} held on {self.held_days} days"
        return (
            f"{pairs} earned {self.net_bps_day} bps a day of a full position on history not seen ({parts}), "
            f"{self.rest_bps_day:.2f} without the best day"
        )

    @property
    def gates(self) -> tuple[Gate, ...]:
        """Every demand on an export. Evidence are the independent days held, not the entries. The rules tried are paid for
        by judging each choice on what came after it, the pairs and markets looked at before by the level of the interval;
        being wrong once more must not cost all that was earned."""
        net, nothing = self.net_bps_day, "nothing was held"
        halted = gate("halts", float(self.result.halted), 0.0, least=False)
        if self.result.halted:
            halted = halted.replace(finding=f"the machine halted at {utc(self.trades[-1].closed_ns)[:16]} UTC")
        return (
            gate("independent days held", self.independent_days, MIN_DAYS, note=nothing),
            above_zero("net a day of a position, lower bound", net, nothing),
            gate("net a day without the best day", self.rest_bps_day, 0.0, note=nothing),
            gate("net after one more exit at its worst", net and self.wrong_bps, 0.0, note=nothing),
            above_cash(net and net.value * from_bps(self.position_usdt), self.result.capital_usdt, self.cash_percent),
            halted,
            told_deflated(self.deflated, self.not_deflated),
            *(
                g.replace(name=f"under through: {g.name}", finding=f"under through: {g.finding}")
                for g in (self.through.gates if self.through else ())
                if g.name != DEFLATED
            ),
        )

    def table(self) -> Table:
        rows = [_fold_row(fold, self.position_usdt) for fold in self.folds]
        heads = "fold from, UTC", "horizon, days", "entry, bps", "exit, bps", "look-back, bps/day", "pairs", "net, bps"
        more = (self.conduct, next(g.finding for g in self.gates if g.name == DEFLATED))
        note = " ".join([self.verdict, *(_sentence(text) for text in more if text)])
        return Table.of("Carry, walked forward: chosen before, held after", heads, rows, note)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _fold_row(fold: Fold, position_usdt: float) -> tuple[str, ...]:
    rule, trades = fold.thresholds, fold.trades
    levels = (NOTHING,) * 3
    if rule:
        levels = f"{rule.funding_horizon_s / DAY_S:g}", f"{rule.entry_bps:.1f}", f"{rule.exit_bps:.1f}"
    net = to_bps(sum(t.net_usdt for t in trades) / position_usdt) if trades else None
    before = fold.fit_net_usdt_day and to_bps(fold.fit_net_usdt_day / position_usdt)
    return utc(fold.start_ns)[:10], *levels, number(before), f"{len(trades)}", number(net, 1)


def walk(
    tape: Tape,
    market: Market,
    *,
    look_back_s: float = LOOK_BACK_S,
    step_s: float = STEP_S,
    rng: np.random.Generator,
    upstream: float = 1.0,
    constraints: Constraints = NO_MORE,
) -> CarryWalk:
    """Choose before every fold from what was known then, hold, go on; a pair keeps its rule and its fold.

    `upstream`: how many pairs and markets were looked at before this one was picked (this one included); the interval
    holds for all of them at once (Bonferroni), and for all runs that follow each other over `constraints.repeated_h`. Of the
    constraints only that and `cash_percent` are used. Where the rules of funding changed, folds begin there.

    Raises:
        ParamsError: no funding, or a look-back shorter than a month.
        DataError: fewer than three folds.
    """
    tape, frame = _framed(tape, market, look_back_s, step_s)
    windows = constraints.repeated_h * 3600.0 / ((tape.end_ns - tape.start_ns) / NS - look_back_s)
    first_until_ns = tape.start_ns + round(look_back_s * NS)
    way = carry_roles.chosen(_last(tape.between(tape.start_ns, first_until_ns), frame, market))
    looks, last = upstream * way.tried, _last(under(tape, BACK), frame, way.market)
    level = level_of_each(LEVEL, looks, windows)
    found, *through = (
        replace(_walked(under(tape, place), way.market, frame, level, rng), cash_percent=constraints.cash_percent)
        for place in ((BACK, THROUGH) if way.market.settings.resting else (BACK,))
    )
    found = replace(found, conduct=way.words, through=through[0] if through else None)
    try:
        return replace(found, deflated=deflated(last, found.now.thresholds, looks))
    except SeriesError as error:
        return replace(found, not_deflated=str(error))


def rule_to_come(tape: Tape, market: Market) -> Fit:
    """What a walk over these quotes in which both legs take chooses for the time to come; errors as of `walk`."""
    return chosen_by(choose_carry, _last(*_framed(tape, market, LOOK_BACK_S, STEP_S), market.taking()))


def _framed(tape: Tape, market: Market, look_back_s: float, step_s: float) -> tuple[Tape, Frame]:
    """What a walk may know, and its frame; errors as of `walk`."""
    if not market.payments:
        raise ParamsError("carry lives on funding; give its history (--funding FILE), none cannot be carried")
    if look_back_s < MIN_LOOK_BACK_S:
        raise ParamsError(f"look_back_s={look_back_s:g} is shorter than 30 days, which hold no carry; look further")
    known = known_to_walk(tape, market, look_back_s)
    span_s = (known.end_ns - known.start_ns) / NS
    folds = max(int((span_s - look_back_s) // step_s), 0)
    if folds < MIN_FOLDS:
        within = (at_ns for at_ns in market.funding_changes if tape.start_ns < at_ns <= known.end_ns)
        raise DataError(_too_short(span_s / DAY_S, folds, look_back_s, step_s, max(within, default=-NEVER)))
    return known, Frame(look_back_s, step_s, 0.0, period_s=DAY_S, half_life_s=0.0)


def _walked(tape: Tape, market: Market, frame: Frame, level: float, rng: np.random.Generator) -> CarryWalk:
    """The walk of one conduct under one assumption; `level` of its interval."""
    found = walk_forward(tape, market, demands(CARRY), frame, rng=np.random.default_rng(SEED), choose=choose_carry)
    now = chosen_by(choose_carry, _last(tape, frame, market))
    return _judged(tape, market, found, now, mean_level=level, rng=rng)


def _too_short(days: float, folds: int, look_back_s: float, step_s: float, changed_ns: int) -> str:
    needed = f"{MIN_FOLDS} are needed"
    if changed_ns > -NEVER:
        return (
            f"since the rules of funding changed on {utc(changed_ns)[:10]} there are {folds} folds of {step_s / DAY_S:g} days; {needed}, "
            "and no evidence is pooled over the change: wait, or say --funding-changes none if this contract's did not change"
        )
    return (
        f"{days:.0f} days hold {folds} folds of {step_s / DAY_S:g} days behind a look-back of {look_back_s / DAY_S:g}; {needed}, "
        "give a longer history or shorter ones"
    )


def _last(tape: Tape, frame: Frame, market: Market) -> LookBack:
    """All that is known for the time behind a tape."""
    start_ns, known = tape.end_ns - round(frame.look_back_s * NS), demands(CARRY)
    return LookBack(tape.between(start_ns, tape.end_ns + 1), start_ns, tape.end_ns, market, known, frame.period_s)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Asked:
    """What carry is worth on a run's history, the ways in and out, and the reason of a candidate of that profile; `walk` where
    it could."""

    profile: str
    table: Table
    reason: str
    walk: CarryWalk | None = None
    ways: Table | None = None

    @property
    def trade(self) -> bool:
        """Whether the walk passes every gate, and there is a rule for the time to come."""
        return self.thresholds is not None and self.walk.pays

    @property
    def thresholds(self) -> Thresholds | None:
        """The rule chosen for the time to come, as the machine takes it; None where there is none."""
        return self.walk and self.walk.now.thresholds

    def __repr__(self) -> str:
        return "\n\n".join(map(repr, filter(None, (self.table, self.ways))))

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in (self.table, self.ways) if table)


def asked(tape: Tape, market: Market, profile: str, upstream: float = 1.0, constraints: Constraints = NO_MORE) -> Asked:
    """How long a hold must last on this history; with the profile carry, walked forward too, or why it cannot be."""
    title, walked, reason = "Would holding for days pay?", None, f"not asked: the profile is {profile}"
    if profile == CARRY:
        try:
            walked = walk(tape, market, rng=np.random.default_rng(SEED), upstream=upstream, constraints=constraints)
        except (DataError, ParamsError) as error:
            reason = f"carry cannot be judged: {error}"
    try:
        found = carry_ways.ways(tape, market, _paid(tape, market), walked and walked.taken)
        even, ways = f"{found[0].even}", carry_ways.table(found)
    except DataError as error:
        even, ways = f"not known: {error}", None
    if walked:
        return Asked(profile, walked.table(), walked.reason, walked, ways)
    what = "carry" if profile == CARRY else "walked forward"
    table = Table.of(title, ("question", "answer"), [("break-even", even), (what, reason)])
    return Asked(profile, table, reason if profile == CARRY else even, None, ways)


def _judged(
    tape: Tape, market: Market, found: WalkForward, now: Fit, *, mean_level: float, rng: np.random.Generator
) -> CarryWalk:
    start_ns = found.folds[0].start_ns
    end_ns = max([found.folds[-1].end_ns, *(t.closed_ns for t in found.result.trades)])
    whole, result = tape.between(start_ns, tape.end_ns + 1), replace(found.result, end_ns=end_ns)
    daily = to_bps(period_nets(whole, result, start_ns, end_ns, DAY_S) / market.position_usdt)
    held = _held(result, start_ns, daily)
    bare = replace(market.taking(), funds=BOUNDLESS, perp=market.perp.replace(maintenance_rate=0.0))
    return CarryWalk(
        folds=found.folds,
        result=result,
        daily=daily,
        net_bps_day=_mean_of_held(daily, held, mean_level, rng),
        even=break_even(_paid(tape, market), market.taking().fees_bps + crossing_bps(tape)),
        always_bps=net_bps(bare.replay(whole, HELD_THROUGHOUT).trades[:1]),
        position_usdt=market.position_usdt,
        now=now,
        brier=found.brier,
        confidence=_confidence(found, now, tape, market),
        held_days=int(held.sum()),
        independent_days=_independent(daily[held]),
        worst_bps=worst_bps(tape, market),
        market=market,
    )


def _held(result: Backtest, start_ns: int, daily: np.ndarray) -> np.ndarray:
    """The days on which a pair was open, as the marks of `daily` are cut; the last one holds all that came after.

    An exit after the last quotes of its day is marked on the next one, which counts as well.
    """
    held, days = daily != 0.0, len(daily)
    for t in result.trades:
        first, last = ((at_ns - start_ns) // DAY_NS for at_ns in (t.opened_ns, t.closed_ns))
        held[min(first, days - 1) : last + 1] = True
    return held


def _mean_of_held(daily: np.ndarray, held: np.ndarray, level: float, rng: np.random.Generator) -> Interval | None:
    """Mean of all days; its interval is that of the days held, since days without a position are known to bring nothing."""
    try:
        return mean_interval(daily[held], rng, level=level).scaled(float(held.mean())) if held.any() else None
    except SeriesError:  # too few of them, or all alike
        return None


def _paid(tape: Tape, market: Market) -> list[FundingPayment]:
    """The stamps of a tape under the rules in force at its end."""
    since_ns = market.in_force(tape).start_ns
    return [p for p in market.payments if since_ns <= p.ts_ns <= tape.end_ns]


def _confidence(found: WalkForward, now: Fit, tape: Tape, market: Market) -> float | None:
    """As before each fold of the walk, of the next one; None of candles, as of reversion, where no fold's was scored, or
    where the last look-back reaches over a change of the funding's rules."""
    look_back_s = (found.folds[0].start_ns - tape.start_ns) / NS
    if tape.bar_s or not found.brier or market.rules_since_ns(tape.end_ns) > tape.end_ns - look_back_s * NS:
        return None
    days = round((found.folds[0].end_ns - found.folds[0].start_ns) / DAY_NS)
    rng = np.random.default_rng(SEED)
    return probability(now, days, outcomes(found.folds, tape.end_ns), rng)


def _independent(days: np.ndarray) -> float | None:
    try:
        return sharpe(days).n
    except SeriesError:
        return None
