"""The first ten seconds of a report: is there money, how sure is it, is it more than cash pays, what could go wrong.

Notebook 02 shows it and writes it beside the candidate; the banner of every page and the index of runs are made of it.
Figures are those of quotes that the choice had not seen: of the walk-forward where there is one.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from delta_arb.backtest.performance import period_nets
from delta_arb.backtest.replay import Backtest
from delta_arb.market import DAY_S, NS, exit_cost, from_bps
from delta_arb.optimize.carry_walk_forward import Asked, CarryWalk
from delta_arb.optimize.carry_ways import crossing_bps
from delta_arb.optimize.champion import examined
from delta_arb.optimize.gates import YEAR_DAYS
from delta_arb.optimize.offers import offers
from delta_arb.optimize.search import levels, spoken
from delta_arb.optimize.study import CARRY, Market
from delta_arb.optimize.verdict import Verdict
from delta_arb.params import BY_HAND, Params, write_atomic
from delta_arb.quotes.tape import Tape
from delta_arb.report.tearsheet import Part, net_interval
from delta_arb.strategy.ledger import net_bps, total
from delta_arb.tables import NOTHING, Table, lasting, number, seconds

FILE = "bottom_line.json"
WIDER = 10.0
USDT_FALL = 0.05
AT_ONCE_S = 0.001
COURSE = 60  # points of the equity kept for the index


@dataclass(frozen=True, slots=True)
class Stress:
    """One thing that may go wrong with a full position: what it costs, and the years in which the pair earns that.

    `years` is None where the pair earns nothing.
    """

    name: str
    usdt: float
    years: float | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no trade: what was looked for, what was missing, what would have to change."""

    looked_for: tuple[str, ...]
    missing: tuple[str, ...]
    change: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BottomLine:
    """Out of sample: USDT a day with its 95 % interval (None: too little for one), bps a trade, and what it rests on.

    Percentages are a year, on all capital: both wallets with buffer and idle money, or a full position and its margin.
    `course`: marked net at the ends of equal periods, USDT.
    `break_even_days`: how long a position must be held, at the pace at which it earns, to pay for its round trip.
    """

    rests_on: str
    trades: int
    folds: int
    days: float
    capital_usdt: float
    net_usdt_day: float | None
    low_usdt_day: float | None
    high_usdt_day: float | None
    net_bps: float | None
    without_best_day_usdt_day: float | None
    cash_percent: float
    break_even_days: float | None
    held_days: float | None
    stresses: tuple[Stress, ...]
    refusal: Refusal | None
    course: tuple[float, ...]

    @property
    def percent(self) -> float | None:
        """Net a year on all capital, before what cash would have paid; None of less than a day, which says nothing."""
        if self.net_usdt_day is None or self.days < 1.0:
            return None
        return 100 * YEAR_DAYS * self.net_usdt_day / self.capital_usdt

    @property
    def above_cash_percent(self) -> float | None:
        return None if self.percent is None else self.percent - self.cash_percent

    @property
    def worst(self) -> Stress:
        return max(self.stresses, key=lambda stress: stress.usdt)

    def __repr__(self) -> str:
        return f"{self.table()}\n\n{self.stress_table()}"

    def _repr_html_(self) -> str:
        return self.table()._repr_html_() + self.stress_table()._repr_html_()

    def table(self) -> Table:
        """Earned out of sample, and against cash."""
        interval = (
            f"95 %: {number(self.low_usdt_day)} to {number(self.high_usdt_day)}"
            if self.low_usdt_day is not None
            else "no interval: too little happened"
        )
        if self.low_usdt_day is not None and self.low_usdt_day <= 0.0:
            interval += ": a loss is not excluded"
        held = f"held {seconds(self.held_days * DAY_S)} on average" if self.held_days else "nothing was held"
        even = None if self.break_even_days is None else self.break_even_days * DAY_S
        rows = [
            ("rests on", self.rests_on, f"{self.trades} trades in {seconds(self.days * DAY_S)}"),
            ("net", number(self.net_usdt_day, sign=True, unit="USDT/day"), interval),
            ("net a trade", number(self.net_bps, 1, sign=True, unit="bps"), "of the spot notional"),
            ("without its best day", number(self.without_best_day_usdt_day, sign=True, unit="USDT/day"), ""),
            ("a year on all capital", _percent(self.percent), f"capital {number(self.capital_usdt)} USDT"),
            ("cash pays a year", _percent(self.cash_percent), "on the same capital, without trading"),
            ("above cash", _percent(self.above_cash_percent), "a year, on all capital"),
            ("breaks even after", seconds(even), f"at the rate that an open position earned; {held}"),
        ]
        known = [row for row in rows if row[1] != NOTHING]
        return Table.of("Out of sample, and against cash", ("", "value", "remarks"), known)

    def stress_table(self) -> Table:
        worst_first = sorted(self.stresses, key=lambda s: -s.usdt)
        rows = [(s.name, number(s.usdt), "never" if s.years is None else lasting(s.years)) for s in worst_first]
        heads = ("what goes wrong", "costs, USDT", "the pair earns that in")
        return Table.of("What could go wrong with a full position", heads, rows)


def _percent(value: float | None) -> str:
    return number(value, 1, unit="%")


def bottom_line(candidate: Params, verdict: Verdict, carried: Asked, tape: Tape) -> BottomLine:
    """The bottom line of a run."""
    market = verdict.choice.market
    seen = _unseen(candidate, verdict, carried)
    result = seen.result
    trades = result.trades if result else ()
    days = result.days if result else 0.0
    net = total(t.net_usdt for t in trades) / days if days else None
    low, high = _interval(candidate, seen)
    held = total(t.held_s for t in trades) / len(trades) / DAY_S if trades else None
    return BottomLine(
        rests_on=seen.name,
        trades=len(trades),
        folds=seen.folds,
        days=days,
        capital_usdt=result.capital_usdt if result else market.replay(verdict.choice.window.judge, None).capital_usdt,
        net_usdt_day=net,
        low_usdt_day=low,
        high_usdt_day=high,
        net_bps=net_bps(trades),
        without_best_day_usdt_day=_without_best_day(tape, result) if trades else None,
        cash_percent=verdict.choice.constraints.cash_percent,
        break_even_days=_break_even_days(net_bps(trades), held, market.taking().fees_bps + crossing_bps(tape)),
        held_days=held,
        stresses=stresses(tape, market, net),
        refusal=None if candidate.trade else refusal(candidate, verdict, carried),
        course=_course(tape, result) if trades else (),
    )


def save(found: BottomLine, run_folder: str) -> BottomLine:
    """Write it into the run's folder where there is one; opened by hand it is only returned."""
    if run_folder:
        values = asdict(found) | {"percent": found.percent, "above_cash_percent": found.above_cash_percent}
        write_atomic(Path(run_folder) / FILE, json.dumps(values, indent=2, allow_nan=False) + "\n")
    return found


@dataclass(frozen=True, slots=True)
class Unseen:
    """The replay on quotes that the choice had not seen; None where there is none. `tape`: its quotes, of one replay."""

    name: str
    folds: int
    result: Backtest | None
    tape: Tape | None = None


def _unseen(candidate: Params, verdict: Verdict, carried: Asked) -> Unseen:
    if candidate.chosen == BY_HAND:
        judged = verdict.choice.market.replay(verdict.choice.window.judge, examined(candidate))
        return Unseen(
            "one replay of the last third: the thresholds were chosen by hand", 0, judged, verdict.choice.window.judge
        )
    walk = carried.walk if candidate.profile == CARRY else verdict.judgement and verdict.judgement.walk
    if walk is not None:
        return Unseen(f"the walk-forward, {len(walk.folds)} folds", len(walk.folds), walk.result)
    if candidate.profile == CARRY or verdict.thresholds is None:
        return Unseen("nothing: no thresholds were worth examining", 0, None)
    judged = verdict.choice.market.replay(verdict.choice.window.judge, verdict.thresholds)
    return Unseen("the judged part alone: it was not walked forward", 0, judged, verdict.choice.window.judge)


def _interval(candidate: Params, seen: Unseen) -> tuple[float | None, float | None]:
    """95 % of the net, USDT a day: of the walk-forward, else of the one replay, as the tear-sheet says it."""
    if seen.folds:
        return candidate.evidence.walk_net_low_usdt_day, candidate.evidence.walk_net_high_usdt_day
    net = seen.result and seen.tape and net_interval(Part.of(seen.name, seen.tape, seen.result))
    return (net.low, net.high) if net else (None, None)


def _without_best_day(tape: Tape, result: Backtest) -> float | None:
    """Marked net a day over all days but the best one, days counted from the first moment; None of less than two."""
    if result.days < 2.0:
        return None
    traded = tape.between(result.start_ns, tape.end_ns + 1)
    nets = period_nets(traded, result, result.start_ns, result.end_ns, DAY_S)
    return float(nets.sum() - nets.max()) / (result.days - 1.0)


def _course(tape: Tape, result: Backtest) -> tuple[float, ...]:
    """Marked net out of sample at the ends of equal periods, USDT."""
    traded = tape.between(result.start_ns, tape.end_ns + 1)
    period_s = (result.end_ns - result.start_ns) / NS / COURSE
    nets = period_nets(traded, result, result.start_ns, result.end_ns, period_s)
    return tuple(np.round(np.cumsum(nets), 4).tolist())


def _break_even_days(net: float | None, held_days: float | None, costs_bps: float) -> float | None:
    """Costs of a round trip over what a position earns a day before them; None where it earns nothing."""
    if net is None or not held_days or net + costs_bps <= 0:
        return None
    return held_days * costs_bps / (net + costs_bps)


# --- what could go wrong ---------------------------------------------------------------------------------------------


def stresses(tape: Tape, market: Market, net_usdt_day: float | None) -> tuple[Stress, ...]:
    """What each accident would cost a full position, from the worst of the record, and the years that earn it back."""
    full = max(market.settings.clip_usdt, market.settings.max_position_usdt or 0.0)
    capital = market.replay(tape.between(tape.start_ns, tape.start_ns + 1), None).capital_usdt
    fall, lag_s = worst_fall(tape, 60.0)
    against, frozen_s = worst_basis(tape, DAY_S)
    found = (
        (f"half the short auto-deleveraged before the worst {seconds(lag_s)} on record (spot {-100 * fall:.2f} %)",
         0.5 * full * fall),
        (f"spreads {WIDER:g} times wider when leaving", full * WIDER * from_bps(crossing_bps(tape)) / 2),
        (f"a venue frozen, the basis against us as in the worst {seconds(frozen_s)} on record", full * against),
        (f"USDT {-100 * USDT_FALL:g} % against the dollar, all capital", USDT_FALL * capital),
    )  # fmt: skip
    earns = YEAR_DAYS * net_usdt_day if net_usdt_day and net_usdt_day > 0 else None
    return tuple(Stress(name, usdt, earns and usdt / earns) for name, usdt in found)


def worst_fall(tape: Tape, lag_s: float) -> tuple[float, float]:
    """The largest fall of the spot bid over a lag, as a fraction, and the lag: a bar where that is longer."""
    seen = tape.looks()
    lag_s = max(lag_s, tape.bar_s)
    before = np.searchsorted(seen.ts_ns, seen.ts_ns - round(lag_s * NS), side="right") - 1
    whole, bid = before >= 0, seen.spot_bid
    return float(np.max(1.0 - bid[whole] / bid[before[whole]], initial=0.0)), lag_s


def worst_basis(tape: Tape, lag_s: float) -> tuple[float, float]:
    """The largest rise over a lag of what leaving costs, as a fraction of spot, and the lag; half the record at most."""
    seen = tape.looks()
    cost = exit_cost(seen.spot_bid, seen.perp_ask)
    lag_s = min(lag_s, (int(seen.ts_ns[-1]) - int(seen.ts_ns[0])) / NS / 2)
    before = np.searchsorted(seen.ts_ns, seen.ts_ns - round(lag_s * NS), side="right") - 1
    whole = before >= 0
    return float(np.max(cost[whole] - cost[before[whole]], initial=0.0)), lag_s


# --- a refusal -------------------------------------------------------------------------------------------------------


def refusal(candidate: Params, verdict: Verdict, carried: Asked) -> Refusal:
    """What was looked for, what was missing, and what would have to change for a trade."""
    missing = tuple(g.finding for g in candidate.gates if g.refuses)
    if candidate.profile == CARRY:
        looked = "a hold of days for which the funding expected pays, chosen before each month and judged on it"
        if carried.walk is None:
            return Refusal((looked,), (carried.reason,), ("a longer history, with its funding",))
        missing += () if carried.thresholds else (f"a rule for the coming days: {carried.walk.now.reason}",)
        return Refusal((looked,), missing or (carried.reason,), tuple(_carry_would_have_to_change(carried.walk)))
    choice = verdict.choice
    tried = len(choice.sweep.sets)
    replayed = (
        f"{tried} sets of thresholds replayed" if tried else "no thresholds gain their fees, so none was replayed"
    )
    looked_for = [f"an edge on {choice.window.note}: {replayed}"]
    if verdict.thresholds is not None:
        looked_for.append(f"the best examined: {spoken(verdict.thresholds)}")
    return Refusal(tuple(looked_for), missing or (candidate.reason,), tuple(_would_have_to_change(verdict)))


def _carry_would_have_to_change(walk: CarryWalk):
    """What funding paid, and what that is on all capital before any cost; more of it is all that helps."""
    yield f"{walk.even}"
    gross = 100 * YEAR_DAYS * from_bps(walk.even.funding_bps_day) * walk.position_usdt / walk.result.capital_usdt
    cash = walk.cash_percent
    yield (
        f"before all costs that is {number(gross, 1)} % a year of the whole record on all capital, where cash pays {cash:.3g} %"
        + (f": it would have to pay more than {cash / gross:.1f} times as much" if 0 < gross < cash else "")
    )


def _would_have_to_change(verdict: Verdict):
    """Fees, latency and swing at which there would be something to gain; each sentence with its numbers."""
    choice, at = verdict.choice, verdict.thresholds
    market, fit = choice.market, choice.window.fit
    fees = market.fees_bps
    if choice.half_life is None:
        yield "the basis would have to come back: a longer record may show it, or another pair"
    if at is None:
        entries, exits = levels(offers(fit, market.settings, market.process(choice.half_life), choice.side))
        best = float(entries[-1] - exits[0])
        yield (
            f"the rarest good prices of the fit part are {best:.1f} bps apart, entry to exit, and a round trip pays {fees:g} bps of fees, "
            f"so each would lose {fees - best:.1f} bps: the four fees together would have to be below {best:.1f} bps"
            if best > 0
            else "no fee is low enough"
        )
        if best > 0:
            yield f"or the basis would have to swing at least {fees / best:.3g} times as wide"
        return
    walk = verdict.judgement and verdict.judgement.walk
    earned = net_bps(walk.result.trades if walk else market.replay(choice.window.judge, at).trades)
    if earned is not None and earned <= 0:
        yield (
            f"out of sample a trade loses {-earned:.1f} bps: the four fees, {fees:g} bps together, would have "
            f"to be below {fees + earned:.1f} bps" if fees + earned > 0
            else f"out of sample a trade loses {-earned:.1f} bps, more than its fees of {fees:g} bps: no fee is low enough"
        )  # fmt: skip
        yield f"or each round trip would have to gain {-earned:.1f} bps more: a basis that swings wider"
    now, at_once = (m.replay(fit, at) for m in (market, market.with_latency(AT_ONCE_S, AT_ONCE_S)))
    yield (
        f"latency: with orders that arrive at once it earns {number(at_once.net_usdt / at_once.days)} USDT a day on the "
        f"fit part, {number(now.net_usdt / now.days)} as assumed"
    )
