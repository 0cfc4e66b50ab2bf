"""What if one thing were other than assumed: the thresholds held, one assumption moved, the tape replayed again.

    one_by_one   every cost and parameter, 5, 10 and 20 % of itself smaller and larger
    capacity     other clips

Nothing is chosen anew, so this is how much the result depends on what was assumed. A moved spread moves both sides of a
book away from its mid, for decisions and fills alike. Wider ranges of costs and latency, and the map over entry and
exit, are in `sensitivity`.

A larger clip takes at most what the best levels show (times the participation), so it fills in part and then earns no
more. Our own orders move no price here, and what we took is shown again at the next row: capacity is an upper bound.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from delta_arb.backtest.replay import Backtest
from delta_arb.errors import DataError, ParamsError
from delta_arb.market import LEGS, mid, to_bps
from delta_arb.optimize.study import Market, Thresholds
from delta_arb.quotes.tape import Tape
from delta_arb.report.tearsheet import TearSheet
from delta_arb.strategy.ledger import net_bps, total
from delta_arb.strategy.state import DIRECT, REVERSE
from delta_arb.tables import NOTHING, Findings, Table, TableFace, number, seconds, share

STEPS = (-0.20, -0.10, -0.05, 0.05, 0.10, 0.20)
CLIPS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)  # times the clip


class Case(NamedTuple):
    """One replay: quotes, market, thresholds."""

    tape: Tape
    market: Market
    thresholds: Thresholds | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a replay earned and how often it traded; `filled_usdt` is the spot notional of a mean trade.

    Hit rate, notional and net in bps are None where there was no trade.
    """

    trades: int
    trades_day: float
    net_usdt_day: float
    hit_rate: float | None
    filled_usdt: float | None
    clip_usdt: float
    net_bps: float | None
    capital_usdt: float

    @classmethod
    def of(cls, result: Backtest) -> "Outcome":
        trades, days, n = result.trades, result.days, len(result.trades)
        ended = [t for t in trades if not t.censored]
        return cls(
            trades=n,
            trades_day=n / days,
            net_usdt_day=result.net_usdt / days,
            hit_rate=sum(t.reason == "target" for t in ended) / len(ended) if ended else None,
            filled_usdt=total(t.notional_usdt for t in trades) / n if n else None,
            clip_usdt=result.rule.clip_usdt,
            net_bps=net_bps(trades),
            capital_usdt=result.capital_usdt,
        )

    @property
    def filled_share(self) -> float | None:
        """Of the clip."""
        return None if self.filled_usdt is None else self.filled_usdt / self.clip_usdt

    @property
    def return_day(self) -> float:
        """On the capital of the replay, as everywhere."""
        return self.net_usdt_day / self.capital_usdt


def replayed(case: Case) -> Outcome:
    return Outcome.of(case.market.replay(case.tape, case.thresholds))


# --- other clips --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Ladder(TableFace):
    """One assumption at several levels, the thresholds held: what each level earned, per part of the recording.

    `base` is the level assumed; `limit` a level to hold beside it (of the clip: what both best levels show, median).
    """

    title: str
    unit: str
    levels: tuple[float, ...]
    base: float
    outcomes: dict[str, tuple[Outcome, ...]]
    limit: float | None = None

    @property
    def traded(self) -> bool:
        return any(o.trades for outcomes in self.outcomes.values() for o in outcomes)

    def table(self) -> Table:
        """Net a day of every part; trades and hit rate of the last one, which is the judged one."""
        if not self.traded:
            return Table.of(self.title, (self.unit, "nothing to show"), [("all", "no trade at any step")])
        last = list(self.outcomes)[-1]
        nets = (f"net USDT/day, {part}" for part in self.outcomes)
        columns = (self.unit, *nets, f"trades/day, {last}", f"hit rate, {last}")
        rows = [
            (
                f"{level:g}",
                *(number(outcomes[k].net_usdt_day) for outcomes in self.outcomes.values()),
                number(self.outcomes[last][k].trades_day, 1),
                share(self.outcomes[last][k].hit_rate),
            )
            for k, level in enumerate(self.levels)
        ]
        return Table.of(self.title, columns, rows)


def capacity(case: Case | TearSheet, factors: Sequence[float] = CLIPS) -> Ladder:
    """The same thresholds with other clips, in multiples of the market's own, over the whole tape."""
    base = case.market.settings.clip_usdt
    clips = tuple(factor * base for factor in factors)
    outcomes = tuple(replayed(Case(case.tape, case.market.with_clip(clip), case.thresholds)) for clip in clips)
    title = "The same thresholds with other clips, whole recording"
    return Ladder(title, "clip, USDT", clips, base, {"whole": outcomes}, _shown_usdt(case.tape))


def _shown_usdt(tape: Tape) -> float | None:
    """Median money that both legs show for an entry, over the events at which both show something."""
    shown = np.minimum(tape.spot_ask_qty, tape.perp_bid_qty) * tape.spot_ask
    return float(np.median(shown[shown > 0])) if (shown > 0).any() else None


def capacity_table(found: Ladder) -> Table:
    """One row per size of clip."""
    if not found.traded:
        return Table.of(found.title, ("clip", "nothing to show"), [("all", "no trade at any size")])
    columns = (
        "clip, USDT", "trades/day", "filled per trade, USDT", "of the clip", "net USDT/day", "net, bps", "return/day",
    )  # fmt: skip
    rows = [
        (
            f"{clip:g}{' (asked)' if clip == found.base else ''}",
            number(o.trades_day, 1),
            number(o.filled_usdt),
            share(o.filled_share),
            number(o.net_usdt_day),
            number(o.net_bps, 1),
            share(o.return_day, 2),
        )
        for clip, o in zip(found.levels, found.outcomes["whole"], strict=True)
    ]
    note = f"Both best levels show {number(found.limit, 0)} USDT for an entry (median). Returns are on the capital."
    return Table.of(found.title, columns, rows, note)


def capacity_findings(found: Ladder) -> Findings:
    """From which size on the books are the limit, and which size earns most."""
    clips = list(zip(found.levels, found.outcomes["whole"], strict=True))
    traded = [(clip, o) for clip, o in clips if o.trades]
    if not traded:
        return Findings.of("No trade at any size, so nothing to say about capacity.")
    best_usdt, best = max(traded, key=lambda at: at[1].net_usdt_day)
    limited = next((clip for clip, o in traded if o.filled_share < 0.5), None)
    small = [clip for clip, o in clips if not o.trades and clip < traded[0][0]]
    return Findings.of(
        f"A clip of {small[-1]:g} USDT never trades: it is below the smallest order." if small else "",
        f"Net a day is highest at a clip of {best_usdt:g} USDT: {number(best.net_usdt_day)} USDT."
        if best.net_usdt_day > 0
        else "No size of clip earns anything.",
        f"From {limited:g} USDT on less than half of a clip is filled: the sizes shown are the limit."
        if limited
        else f"Up to {traded[-1][0]:g} USDT at least half of a clip is filled.",
        "An upper bound: our own orders move no price here, and what was taken is shown again at the next row.",
    )


# --- every assumption by a little ------------------------------------------------------------------------------------


class Assumption(NamedTuple):
    """One thing assumed of a case: its value in its unit (None: there is none), and the case with it times a factor."""

    name: str
    unit: str
    value: float | None
    times: Callable[[float], Case]


def assumptions(case: Case) -> Iterator[Assumption]:
    """Everything assumed of a case with thresholds."""
    market, at, legs = case.market, case.thresholds, (("spot", "spot"), ("perp", "perpetual"))
    for leg, name in legs:
        fee_bps = getattr(market, leg).taker_fee_bps
        yield Assumption(f"taker fee, {name}", "bps", fee_bps, partial(_times_fee, case, leg))
    for leg, name in legs:
        latency_s = getattr(market.latency, f"{leg}_s")
        yield Assumption(f"latency, {name}", "s", latency_s, partial(_times_latency, case, leg))
    for leg, name in legs:
        spread_bps = _spread_bps(case.tape, leg)
        yield Assumption(f"own spread of the book, {name}", "bps", spread_bps, partial(_times_spread, case, leg))
    yield Assumption("funding rates", "bps in the mean", _funding_bps(case), partial(_times_funding, case))
    for field, name, unit in LEVELS:
        yield Assumption(name, unit, getattr(at, field), partial(_times_level, case, field))
    clip_usdt = market.settings.clip_usdt
    yield Assumption("clip", "USDT", clip_usdt, lambda x: case._replace(market=market.with_clip(x * clip_usdt)))
    for field in at.reverse._fields if at.reverse else ():
        name = f"reverse {field.removesuffix('_bps')} threshold"
        yield Assumption(name, "bps", getattr(at.reverse, field), partial(_times_reverse_level, case, field))


LEVELS = (
    ("entry_bps", "entry threshold", "bps"), ("exit_bps", "exit threshold", "bps"), ("max_hold_s", "longest hold", "s")
)  # fmt: skip


def _times_fee(case: Case, leg: str, factor: float) -> Case:
    side = getattr(case.market, leg)
    return case._replace(market=replace(case.market, **{leg: side.replace(taker_fee_bps=factor * side.taker_fee_bps)}))


def _times_latency(case: Case, leg: str, factor: float) -> Case:
    return case._replace(market=case.market.slower(*(factor if leg == name else 1.0 for name in LEGS)))


def _times_spread(case: Case, leg: str, factor: float) -> Case:
    books = getattr(case.tape, leg)
    bid, ask = books.bid, books.ask
    middle, half = mid(bid, ask), 0.5 * factor * (ask - bid)
    return case._replace(tape=replace(case.tape, **{leg: books._replace(bid=middle - half, ask=middle + half)}))


def _times_funding(case: Case, factor: float) -> Case:
    payments = tuple(p._replace(rate=factor * p.rate) for p in case.market.payments)
    return case._replace(market=replace(case.market, payments=payments))


def _times_level(case: Case, field: str, factor: float) -> Case:
    return case._replace(thresholds=case.thresholds._replace(**{field: factor * getattr(case.thresholds, field)}))


def _times_reverse_level(case: Case, field: str, factor: float) -> Case:
    levels = case.thresholds.reverse
    moved = levels._replace(**{field: factor * getattr(levels, field)})
    return case._replace(thresholds=case.thresholds._replace(reverse=moved))


def _spread_bps(tape: Tape, leg: str) -> float | None:
    bid, ask = (getattr(tape, f"{leg}_{side}") for side in ("bid", "ask"))
    two_sided = bid < ask
    return float(np.median(to_bps((ask - bid) / mid(bid, ask))[two_sided])) if two_sided.any() else None


def _funding_bps(case: Case) -> float | None:
    """Mean size of the rates within the quotes; None without a stamp there."""
    within = [abs(p.rate) for p in case.market.payments if case.tape.start_ns <= p.ts_ns <= case.tape.end_ns]
    return to_bps(float(np.mean(within))) if within else None


@dataclass(frozen=True, slots=True)
class Bar:
    """One assumption at every step; None where the step leaves what the rules allow, or there is nothing to move.

    `unsettled`: why a step could not be settled (a moved hold runs into a missing funding stamp); None stands there too.
    """

    name: str
    face: str
    outcomes: tuple[Outcome | None, ...]
    unsettled: str = ""

    def swing(self, base: Outcome) -> float:
        """The largest change of the net a day."""
        return max((abs(o.net_usdt_day - base.net_usdt_day) for o in self.outcomes if o), default=0.0)


@dataclass(frozen=True, slots=True)
class Tornado:
    """All bars, the one that moves the net most first; no base where nothing was replayed."""

    base: Outcome | None
    bars: tuple[Bar, ...]
    steps: tuple[float, ...] = STEPS

    @property
    def empty_because(self) -> str:
        """Why there is nothing to show; empty where there is something."""
        traded = [o for bar in self.bars for o in (*bar.outcomes, self.base) if o and o.trades]
        return "" if traded else "no trade, so nothing depends on any assumption"


def one_by_one(found: Case | TearSheet) -> Tornado:
    """Every assumption at every step, replayed over the whole tape."""
    case = Case(found.tape, found.market, found.thresholds)
    if case.thresholds is None:
        return Tornado(None, ())
    base = replayed(case)
    return Tornado(base, tuple(sorted(map(_bar, assumptions(case)), key=lambda bar: -bar.swing(base))))


def _bar(assumed: Assumption) -> Bar:
    name, unit, value, _ = assumed
    if not value:
        return Bar(name, NOTHING if value is None else f"0 {unit}", (None,) * len(STEPS))
    found = [_moved(assumed, 1.0 + step) for step in STEPS]
    face = seconds(value) if unit == "s" else f"{value:.4g} {unit}"
    outcomes = tuple(None if isinstance(outcome, str) else outcome for outcome in found)
    return Bar(name, face, outcomes, next((why for why in found if isinstance(why, str)), ""))


def _moved(assumed: Assumption, factor: float) -> Outcome | str | None:
    """What the moved case earned, or why it cannot be settled; None where the rules do not allow it."""
    try:
        moved = assumed.times(factor)
        levels = filter(None, (moved.thresholds.levels(side) for side in (DIRECT, REVERSE)))
        return None if any(at.exit_bps >= at.entry_bps for at in levels) else replayed(moved)
    except ParamsError:
        return None
    except DataError as error:
        return str(error)


def net_table(found: Tornado) -> Table:
    """Net a day at every step, its largest change, and how seldom it then trades at worst."""
    title = "Net USDT a day, one assumption moved"
    if found.empty_because:
        return Table.nothing(title, found.empty_because)
    base, rows = found.base.net_usdt_day, []
    for bar in found.bars:
        known = [o for o in bar.outcomes if o]
        farthest = max((o.net_usdt_day for o in known), key=lambda net: abs(net - base), default=None)
        change = share((farthest - base) / abs(base), 1) if known and base else NOTHING
        nets = (number(o and o.net_usdt_day, 3) for o in bar.outcomes)
        fewest = number(min((o.trades_day for o in known), default=None), 1)
        rows.append((bar.name, bar.face, *nets, change, fewest))
    heads = ("", "assumed", *(f"{100 * step:+.0f} %" for step in found.steps), "largest change", "fewest trades/day")
    unmoved = (
        f"Whole recording, as assumed: {number(base, 3)} USDT and {number(found.base.trades_day, 1)} trades a day."
    )
    note = "Steps are shares of the value itself. n/a: nothing to move, or beyond what the rules allow."
    unsettled = (f"{bar.name[0].upper()}{bar.name[1:]}: {bar.unsettled}." for bar in found.bars if bar.unsettled)
    return Table.of(title, heads, rows, " ".join((unmoved, note, *unsettled)))


def tornado_findings(found: Tornado) -> Findings:
    """Which assumption matters most, and whether any of them alone ends the profit."""
    if found.empty_because:
        return Findings.of(f"{found.empty_because[0].upper()}{found.empty_because[1:]}.")
    first, base = found.bars[0], found.base.net_usdt_day
    if base <= 0:
        return Findings.of(f"It earns nothing as it is ({number(base)} USDT a day); {first.name} moves that most.")
    ends = [bar.name for bar in found.bars if any(o and o.net_usdt_day <= 0 for o in bar.outcomes)]
    return Findings.of(
        f"Most depends on: {first.name}, {share(first.swing(base=found.base) / base, 1)} of the net at most.",
        f"Moved alone by up to 20 %, these end the profit: {', '.join(ends)}."
        if ends
        else "No assumption moved alone by up to 20 % ends the profit.",
    )
