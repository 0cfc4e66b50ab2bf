"""Thousands of rules over one tape: what each would have earned, as columns; the trades of any one by replaying it.

One compiled loop over the sets calls the replay of `backtest`, settles with the identity of `ledger` and marks equity
by the formulas of `performance`; so every figure is that of `run` and `measure` of the same rule, to the bit. Three
things make it fast: rows on which nothing can be decided are skipped (`jump`), trades never become Python objects, and
equity is marked only in those blocks of 64 events that may hold a new peak or a deeper fall. A set costs the memory of
its row in `FIGURES` and five levels, the tape one and a half bytes an event.
"""

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import backtest, ledger, marks
from .backtest import _replay, capital_of, compiled, kernel_inputs, looks, run
from .errors import DataError
from .expected import expected
from .kernel import records
from .latency import Latency
from .ledger import closing, gaps, left_open, money
from .market import END, HALT, NS, TARGET, TIMEOUT, UNWOUND, FundingPayment
from .marks import Marks, mark, prices, segment
from .pair import HALTED, NEVER, Rule
from .performance import Performance
from .rules import check_deadline
from .tape import Tape
from .wallets import BOUNDLESS, Funds

FIGURES = np.dtype(
    [(f"{name}_usdt", float) for name in ("net", "spot", "perp", "fees", "funding", "residual")]
    + [(f"{name}_usdt", float) for name in ("notional", "gains", "losses")]
    + [(name, float) for name in ("median_hold_s", "longest_hold_s", "drawdown", "drawdown_s")]
    + [(name, np.int32) for name in ("trades", "wins", "targets", "timeouts", "unwound", "missed")]
    + [(name, bool) for name in ("halted", "open_at_end")]
)
PAYMENT = np.dtype([("ts_ns", np.int64), ("rate", float), ("mark", float), ("exact", bool)])


class Levels(NamedTuple):
    """What differs between the sets of one kernel call; arrays of shape (sets,)."""

    entry: np.ndarray
    exit: np.ndarray
    reverse_entry: np.ndarray
    reverse_exit: np.ndarray
    max_hold_ns: np.ndarray


# --- The kernel -------------------------------------------------------------------------------------------------------


def _sweep(
    tape, seen, spot_road, perp_road, rule, purse, stamps, payments, holes, levels, watched, capital, until_ns, figures
):
    """Fill `figures`, one row per set; the number of the first set that meets a hole of the funding table, or -1."""
    end_ns = tape.ts_ns[len(tape.ts_ns) - 1]
    for k in range(len(figures)):
        rule.entry, rule.exit, rule.max_hold_ns = levels.entry[k], levels.exit[k], levels.max_hold_ns[k]
        rule.reverse_entry, rule.reverse_exit = levels.reverse_entry[k], levels.reverse_exit[k]
        done = _replay(tape, seen, spot_road, perp_road, rule, purse, stamps)
        state, spot, perp, _, sent, fills, closings, _, _ = done
        rest = left_open(state, spot, perp, end_ns, rule)
        for f in rest:
            fills.append(f)
        if len(rest) > 0:
            closings.append(closing(state, spot, perp, end_ns, HALT if state.phase == HALTED else END))
        if _meets_hole(fills, closings, holes):
            return k
        past = len(fills)
        if until_ns < NEVER:  # a look-back: only pairs that were entered in it and are closed
            past = _purge(sent, fills, closings, until_ns)
        figures[k].halted = state.phase == HALTED
        figures[k].open_at_end = len(rest) > 0 and until_ns == NEVER
        _tell(figures, k, fills, past, closings, payments)
        mark(figures, k, fills, past, closings, payments, watched, capital)
    return -1


def _meets_hole(fills, closings, holes):
    past = 0
    for c in closings:
        first, past = segment(fills, past, len(fills), c.pair)
        for hole in holes:
            if first < past and fills[first].ts_ns < hole[1] and fills[past - 1].ts_ns > hole[0]:
                return True
    return False


def _purge(sent, fills, closings, until_ns):
    """Leave only the closings of pairs entered before `until_ns` that ended themselves; how many fills are theirs."""
    newest = 0
    for order in sent:
        if order.ts_ns >= until_ns:
            break
        newest = order.pair
    while len(closings) > 0 and (closings[-1].pair > newest or closings[-1].reason == END):
        closings.pop()
    newest = closings[-1].pair if len(closings) > 0 else 0
    past = len(fills)
    while past > 0 and fills[past - 1].pair > newest:
        past -= 1
    return past


def _tell(figures, k, fills, past, closings, payments):
    """Money and counts of set k, added up trade by trade as `performance.measure` does."""
    holds = np.empty(len(closings))
    net = spot = perp = fees = funded = residual = notional = gains = losses = 0.0
    trades = wins = targets = timeouts = unwound = missed = at = 0
    for c in closings:
        first, at = segment(fills, at, past, c.pair)
        if first == at:
            missed += 1
            continue
        m = money(fills, first, at, payments, c.spot_mark, c.perp_mark)
        net += m.net_usdt
        spot += m.spot_usdt
        perp += m.perp_usdt
        fees += m.fees_usdt
        funded += m.funding_usdt
        residual += m.residual_usdt
        notional += m.notional_usdt
        gains += max(0.0, m.net_usdt)
        losses += min(0.0, m.net_usdt)
        wins += m.net_usdt > 0.0
        targets += c.reason == TARGET
        timeouts += c.reason == TIMEOUT
        unwound += c.reason == UNWOUND
        holds[trades] = (fills[at - 1].ts_ns - fills[first].ts_ns) / NS
        trades += 1
    f = figures[k]
    f.net_usdt, f.spot_usdt, f.perp_usdt, f.fees_usdt, f.funding_usdt = net, spot, perp, fees, funded
    f.residual_usdt, f.notional_usdt, f.gains_usdt, f.losses_usdt = residual, notional, gains, -losses
    f.trades, f.wins, f.targets, f.timeouts, f.unwound, f.missed = trades, wins, targets, timeouts, unwound, missed
    f.longest_hold_s, f.median_hold_s = np.nan, np.nan
    if trades > 0:
        f.longest_hold_s = _ranked(holds, trades, trades - 1)
        f.median_hold_s = _ranked(holds, trades, trades // 2)
        if trades % 2 == 0:
            f.median_hold_s = (_ranked(holds, trades, trades // 2 - 1) + f.median_hold_s) / 2


def _ranked(values, n, rank):
    """The value of that rank among the first n, which are reordered around it (Hoare's selection)."""
    low, high = 0, n - 1
    while low < high:
        pivot, i, j = values[(low + high) // 2], low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i, j = i + 1, j - 1
        if rank <= j:
            high = j
        elif rank >= i:
            low = i
        else:
            break
    return values[rank]


HERE = (
    *marks.REACHED, _meets_hole, _purge, _tell, _ranked, _replay, ledger.money, ledger.funding, ledger._stamp_after,
    ledger.opened_side, ledger.left_open, ledger._exit_fill,
)  # fmt: skip


# --- The sweep --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Swept:
    """One row of `FIGURES` per rule, in the order given. `days` and `funds` are those of every set."""

    rules: Sequence[Rule]
    figures: np.ndarray
    days: float
    funds: Funds = BOUNDLESS

    def __len__(self) -> int:
        return len(self.figures)

    def __repr__(self) -> str:
        return f"Swept({len(self):,} sets, {self.days:.2f} days, {int(self.figures['trades'].sum()):,} trades)"

    def performance(self, k: int) -> Performance:
        """The headline figures of set k, as `performance.measure` gives them."""
        f = dict(zip(FIGURES.names, self.figures[k].item(), strict=True))
        n, days, capital = f["trades"], self.days, capital_of(self.rules[k], self.funds)
        return Performance(
            days=days,
            trades=n,
            trades_day=n / days,
            net_usdt=f["net_usdt"],
            net_usdt_day=f["net_usdt"] / days,
            gross_usdt=f["net_usdt"] + f["fees_usdt"] - f["funding_usdt"],
            fees_usdt=f["fees_usdt"],
            funding_usdt=f["funding_usdt"],
            capital_usdt=capital,
            return_day=f["net_usdt"] / days / capital,
            hit_rate=f["targets"] / n if n else None,
            win_rate=f["wins"] / n if n else None,
            timeout_share=f["timeouts"] / n if n else None,
            unwound_share=f["unwound"] / n if n else None,
            mean_net_bps=1e4 * f["net_usdt"] / f["notional_usdt"] if f["notional_usdt"] else None,
            median_hold_s=f["median_hold_s"] if n else None,
            longest_hold_s=f["longest_hold_s"] if n else None,
            profit_factor=f["gains_usdt"] / f["losses_usdt"] if f["losses_usdt"] > 0 else None,
            drawdown=f["drawdown"],
            drawdown_s=f["drawdown_s"],
            missed=f["missed"],
            halted=f["halted"],
            open_at_end=f["open_at_end"],
        )


def sweep(
    tape: Tape,
    rules: Sequence[Rule],
    latency: Latency,
    payments: Sequence[FundingPayment] = (),
    *,
    funds: Funds = BOUNDLESS,
    marked: Tape | None = None,
    start_ns: int | None = None,
    until_ns: int = NEVER,
) -> Swept:
    """What `run` and `measure` say of every rule.

    Args:
        rules: any; those that differ only in levels and the longest hold share one call of the kernel.
        marked: the events at which equity is marked; the last of every instant, if not given.
        start_ns: from when the days are counted; from the first event, if not given.
        until_ns: count only pairs entered before it and closed on the tape (a look-back); others are purged.

    Raises:
        ParamsError, DataError: as `run`, of the first rule that it would refuse; DataError for a tape without length.
    """
    start_ns = tape.start_ns if start_ns is None else start_ns
    end_ns = tape.end_ns if until_ns == NEVER else until_ns
    if end_ns <= start_ns:
        raise DataError("a tape that lasts no time has no rates per day; choose a longer time range")
    table = np.array([tuple(p) for p in payments], PAYMENT)
    holes = np.array(gaps([p.ts_ns for p in payments]) if payments else [], np.int64).reshape(-1, 2)
    shown = tape if marked is None else marked
    watched = _marks(shown if shown.settled.all() else shown.take(shown.settled), known=marked is None)
    figures = np.zeros(len(rules), FIGURES)
    ways = {(rule.filter, rule.funding_horizon_s) for rule in rules}
    seen = {way: looks(tape, way[0], expected(payments, way[1])) for way in ways}
    kernel = _kernel()
    for members in _groups(rules):
        rule = rules[members[0]]
        check_deadline(rule, latency)
        columns, roads, purse, stamps = kernel_inputs(tape, latency, payments, funds)
        levels = Levels(*(np.array([getattr(rules[k], name) for k in members], kind) for name, kind in _LEVELS))
        part = np.zeros(len(members), FIGURES)
        here = seen[rule.filter, rule.funding_horizon_s]
        given = (
            columns, here, *roads, records([rule])[0], purse, stamps, table, holes, levels, watched,
            float(capital_of(rule, funds)), until_ns, part,
        )  # fmt: skip
        bad = kernel(*given)
        if bad >= 0:
            run(tape, rules[members[bad]], latency, payments, funds=funds, seen=here)  # raises
        figures[members] = part
    return Swept(rules, figures, (end_ns - start_ns) / (86_400 * NS), funds)


_LEVELS = tuple((name, np.int64 if name == "max_hold_ns" else float) for name in Levels._fields)


def _groups(rules: Sequence[Rule]) -> list[list[int]]:
    """The numbers of the rules that differ only in their levels."""
    rest = itemgetter(*(k for k, name in enumerate(Rule._fields) if name not in Levels._fields))
    found = defaultdict(list)
    for k, rule in enumerate(rules):
        found[rest(rule)].append(k)
    return list(found.values())


def _marks(tape: Tape, known: bool) -> Marks:
    columns = tape.ts_ns, tape.spot_bid, tape.spot_ask, tape.perp_bid, tape.perp_ask
    bounds = compiled(prices)(backtest._columns(tape)) if known else (np.zeros((8, 0)), np.zeros((8, 0)))
    return Marks(*columns, *bounds)


@cache
def _kernel():
    """`_sweep` as machine code; says so when it has to be compiled first, but not in a notebook, whose output it would be."""
    kernel = compiled(_sweep, HERE)
    if "ipykernel" not in sys.modules and not any(Path(kernel.stats.cache_path).glob("sweep._sweep-*.nbi")):
        print("delta_arb: compiling the sweep, some seconds, once on this machine", file=sys.stderr)
    return kernel
