"""What each assumption does alone: every cost and parameter moved by 5, 10 and 20 % while all others stay.

The thresholds are held, so this is how much the result depends on what was assumed, not what a new choice would make of
it. A moved spread moves both sides of a book away from its mid, for decisions and fills alike.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from pydantic import ValidationError

from delta_arb.errors import DataError, ParamsError
from delta_arb.market import LEGS, mid, to_bps
from delta_arb.optimize.study import Market, Thresholds
from delta_arb.quotes.tape import Tape
from delta_arb.report.capacity import with_clip
from delta_arb.report.sensitivity import slower
from delta_arb.strategy.state import DIRECT, REVERSE
from delta_arb.tables import NOTHING, Findings, Table, number, seconds, share

STEPS = (-0.20, -0.10, -0.05, 0.05, 0.10, 0.20)


class Case(NamedTuple):
    """One replay: quotes, market, thresholds."""

    tape: Tape
    market: Market
    thresholds: Thresholds


class Assumption(NamedTuple):
    """One thing assumed: its value in its unit (None: there is none), and the case with it multiplied by a factor."""

    name: str
    unit: str
    value: Callable[[Case], float | None]
    moved: Callable[[Case, float], Case]


class Outcome(NamedTuple):
    """What a replay earned and how often it traded, per day."""

    net_usdt_day: float
    trades_day: float


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
    """All bars, the one that moves the net most first; empty where nothing was replayed."""

    base: Outcome
    bars: tuple[Bar, ...]
    steps: tuple[float, ...] = STEPS

    @property
    def empty_because(self) -> str:
        """Why there is nothing to show; empty where there is something."""
        traded = [o for bar in self.bars for o in bar.outcomes if o and o.trades_day]
        return "" if self.base.trades_day or traded else "no trade, so nothing depends on any assumption"


def of(tape: Tape, market: Market, thresholds: Thresholds | None) -> Tornado:
    """Every assumption at every step, replayed over the tape."""
    if thresholds is None:
        return Tornado(Outcome(0.0, 0.0), ())
    case = Case(tape, market, thresholds)
    base = _outcome(case)
    bars = [_bar(assumption, case) for assumption in (*ASSUMPTIONS, *(OTHER_WAY if thresholds.reverse else ()))]
    return Tornado(base, tuple(sorted(bars, key=lambda bar: -bar.swing(base))))


def _bar(assumption: Assumption, case: Case) -> Bar:
    value = assumption.value(case)
    if not value:
        return Bar(assumption.name, NOTHING if value is None else f"0 {assumption.unit}", (None,) * len(STEPS))
    found = [_moved(assumption, case, 1.0 + step) for step in STEPS]
    face = seconds(value) if assumption.unit == "s" else f"{value:.4g} {assumption.unit}"
    outcomes = tuple(None if isinstance(outcome, str) else outcome for outcome in found)
    return Bar(assumption.name, face, outcomes, next((why for why in found if isinstance(why, str)), ""))


def _moved(assumption: Assumption, case: Case, factor: float) -> Outcome | str | None:
    """What the moved case earned, or why it cannot be settled; None where the rules do not allow it."""
    try:
        moved = assumption.moved(case, factor)
    except (ParamsError, ValidationError):
        return None
    try:
        levels = filter(None, (moved.thresholds.levels(side) for side in (DIRECT, REVERSE)))
        return None if any(at.exit_bps >= at.entry_bps for at in levels) else _outcome(moved)
    except DataError as error:
        return str(error)


def _outcome(case: Case) -> Outcome:
    result = case.market.replay(case.tape, case.thresholds)
    return Outcome(result.net_usdt / result.days, len(result.trades) / result.days)


# --- what is assumed -------------------------------------------------------------------------------------------------


def _with_fee(leg: str, case: Case, factor: float) -> Case:
    side = getattr(case.market, leg)
    return case._replace(market=replace(case.market, **{leg: replace(side, taker_fee=factor * side.taker_fee)}))


def _with_latency(leg: str, case: Case, factor: float) -> Case:
    return case._replace(market=slower(case.market, *(factor if leg == name else 1.0 for name in LEGS)))


def _with_spread(leg: str, case: Case, factor: float) -> Case:
    bid, ask = (getattr(case.tape, f"{leg}_{side}") for side in ("bid", "ask"))
    middle, half = mid(bid, ask), 0.5 * factor * (ask - bid)
    return case._replace(tape=replace(case.tape, **{f"{leg}_bid": middle - half, f"{leg}_ask": middle + half}))


def _with_funding(case: Case, factor: float) -> Case:
    payments = tuple(p._replace(rate=factor * p.rate) for p in case.market.payments)
    return case._replace(market=replace(case.market, payments=payments))


def _with_threshold(name: str, case: Case, factor: float) -> Case:
    return case._replace(thresholds=case.thresholds._replace(**{name: factor * getattr(case.thresholds, name)}))


def _with_reverse(name: str, case: Case, factor: float) -> Case:
    levels = case.thresholds.reverse
    moved = levels._replace(**{name: factor * getattr(levels, name)})
    return case._replace(thresholds=case.thresholds._replace(reverse=moved))


def _spread_bps(leg: str, case: Case) -> float | None:
    bid, ask = (getattr(case.tape, f"{leg}_{side}") for side in ("bid", "ask"))
    two_sided = bid < ask
    return float(np.median(to_bps((ask - bid) / mid(bid, ask))[two_sided])) if two_sided.any() else None


def _funding_bps(case: Case) -> float | None:
    """Mean size of the rates within the quotes; None without a stamp there."""
    within = [abs(p.rate) for p in case.market.payments if case.tape.start_ns <= p.ts_ns <= case.tape.end_ns]
    return to_bps(float(np.mean(within))) if within else None


def _of_leg(name: str, unit: str, value: Callable, moved: Callable) -> tuple[Assumption, ...]:
    """The same assumption of either leg."""
    return tuple(
        Assumption(
            f"{name}, {word}",
            unit,
            lambda case, leg=leg: value(leg, case),
            lambda case, x, leg=leg: moved(leg, case, x),
        )
        for leg, word in (("spot", "spot"), ("perp", "perpetual"))
    )


def _threshold(name: str, unit: str, field: str) -> Assumption:
    return Assumption(
        name,
        unit,
        lambda case: getattr(case.thresholds, field),
        lambda case, factor: _with_threshold(field, case, factor),
    )


ASSUMPTIONS = (
    *_of_leg("taker fee", "bps", lambda leg, case: to_bps(getattr(case.market, leg).taker_fee), _with_fee),
    *_of_leg("latency", "s", lambda leg, case: getattr(case.market.latency, f"{leg}_s"), _with_latency),
    *_of_leg("own spread of the book", "bps", _spread_bps, _with_spread),
    Assumption("funding rates", "bps in the mean", _funding_bps, _with_funding),
    _threshold("entry threshold", "bps", "entry_bps"),
    _threshold("exit threshold", "bps", "exit_bps"),
    _threshold("longest hold", "s", "max_hold_s"),
    Assumption(
        "clip",
        "USDT",
        lambda case: case.market.settings.clip_usdt,
        lambda case, factor: case._replace(market=with_clip(case.market, factor * case.market.settings.clip_usdt)),
    ),
)


OTHER_WAY = tuple(
    Assumption(
        f"reverse {name} threshold",
        "bps",
        lambda case, field=f"{name}_bps": getattr(case.thresholds.reverse, field),
        lambda case, factor, field=f"{name}_bps": _with_reverse(field, case, factor),
    )
    for name in ("entry", "exit")
)


# --- tables ----------------------------------------------------------------------------------------------------------


def nets(found: Tornado) -> Table:
    """Net a day at every step, and the largest change."""
    base = found.base.net_usdt_day
    note = (
        f"Whole recording; nothing moved: {number(base, 3)} USDT a day. Steps are shares of the value itself. "
        "n/a: nothing to move, or beyond what the rules allow."
    )
    return _table(found, "Net USDT a day, one assumption moved", lambda o: o.net_usdt_day, 3, note)


def trades(found: Tornado) -> Table:
    """Trades a day at every step, and the largest change."""
    note = f"Whole recording; nothing moved: {number(found.base.trades_day, 1)} trades a day."
    return _table(found, "Trades a day, one assumption moved", lambda o: o.trades_day, 1, note)


def _table(found: Tornado, title: str, of_outcome: Callable[[Outcome], float], digits: int, note: str) -> Table:
    if found.empty_because:
        return Table.of(title, ("", "nothing to show"), [("reason", found.empty_because)])
    base = of_outcome(found.base)
    rows = []
    for bar in found.bars:
        values = [None if o is None else of_outcome(o) for o in bar.outcomes]
        known = [v for v in values if v is not None]
        farthest = max(known, key=lambda v: abs(v - base), default=None)
        change = NOTHING if farthest is None else share((farthest - base) / abs(base), 1) if base else NOTHING
        rows.append((bar.name, bar.face, *(number(v, digits) for v in values), change))
    heads = ("", "assumed", *(f"{100 * step:+.0f} %" for step in found.steps), "largest change")
    note = " ".join(
        [note, *(f"{bar.name[0].upper()}{bar.name[1:]}: {bar.unsettled}." for bar in found.bars if bar.unsettled)]
    )
    return Table.of(title, heads, rows, note)


def spoken(found: Tornado) -> Findings:
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
