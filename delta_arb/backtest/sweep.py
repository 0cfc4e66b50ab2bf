"""Thousands of rules over one tape: what each would have earned, as columns; the trades of any one by replaying it.

One compiled loop over the sets drives the machine of `event_loop`, settles with the identity of `ledger` and marks equity
by the formulas of `performance`; so every figure is that of `run` and `measure` of the same rule, to the bit. Four
things make it fast: rows on which nothing can be decided are skipped (`fast_forward`), of rules between two that go the
same path none is driven (`trace`), trades never become Python objects, and equity is marked only in those blocks of 32
events that may hold a new peak or a deeper fall. A set costs the memory of its row in `FIGURES` and five levels, the tape
two and two thirds bytes an event.
"""

import math
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from delta_arb.backtest import replay
from delta_arb.backtest.event_loop import Ground, Machine, Schedule, drive
from delta_arb.backtest.fast_forward import FAR, NEAR, SPAN, prices
from delta_arb.backtest.performance import Performance
from delta_arb.backtest.replay import capital_of, glance, kernel_inputs, looks, run
from delta_arb.backtest.sweep_figures import (
    FIGURES,
    ROOM,
    Curve,
    Marks,
    SetAccount,
    close_account,
)
from delta_arb.errors import DataError
from delta_arb.funding_stamps import expected, gaps
from delta_arb.latency import Latency
from delta_arb.market import DAY_NS, NEVER, FundingPayment, to_bps
from delta_arb.numba_cache import compiled, read_only, records
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.rule import check_deadline
from delta_arb.strategy.state import HALTED, MachineRule
from delta_arb.wallets import BOUNDLESS, Funds

FILLS = 1024  # of one pair, for which there is room at first
WORTH = 200  # replays that are worth a thread
SOUGHT = 2048  # seeks that are kept for the sets to come, see `fast_forward`
PAYMENT = np.dtype([("ts_ns", np.int64), ("rate", float), ("mark", float), ("exact", bool)])


class Levels(NamedTuple):
    """What differs between the sets of one kernel call; arrays of shape (sets,)."""

    entry: np.ndarray
    exit: np.ndarray
    reverse_entry: np.ndarray
    reverse_exit: np.ndarray
    max_hold_ns: np.ndarray


# --- The kernel -------------------------------------------------------------------------------------------------------


def _sweep(ground, schedule, machines, curves, account, levels, sets, out):
    """Fill figures and nets (of `out`) of some sets; the number of one that meets a hole of the funding table, or -1.

    The rest of `out` is room for the path of each set, and for the numbers of those that wait.
    `schedule` is of one rule, which gets the levels of each set in turn; of `machines` and `curves` the second is used, from
    where the first one stands; `account` is without figures, curve and nets. `sets` are in the order of `_sorted`. Where two
    that differ in one level only go the same path, so do all between them (see `trace`), which are not driven: so steps
    are doubled as long as paths stay the same, and halved where they part.
    """
    figures, nets, paths, ahead = out
    waiting, at, low, last, step = 0, 0, 0, -1, 1
    while at < len(sets):
        k = sets[at]
        for j in range(2):
            rule = schedule.rules[j]
            rule.entry, rule.exit, rule.max_hold_ns = levels.entry[k], levels.exit[k], levels.max_hold_ns[k]
            rule.reverse_entry, rule.reverse_exit = levels.reverse_entry[k], levels.reverse_exit[k]
        machines[1], curves[1] = machines[0], curves[0]
        machine, curve = machines[1], curves[1]
        of = SetAccount(figures[k], curve, nets[k if nets.size > 0 else 0], *account)
        drive(ground, schedule, machine, None, of)
        if curve.hole or curve.most_fills > 0:
            curves[0].most_fills = curve.most_fills
            return k
        close_account(of, machine.state.phase == HALTED, machine.open_at_end)
        paths[at] = curve.path
        if at > last:
            low, last, waiting, step = at, _last_alike(ground.roads, levels, sets, at), 0, 1
        else:
            step = 2 * step if paths[at] == paths[low] else max(1, step // 2)
            ahead[waiting] = at  # driven, and not yet all between it and `low`
            waiting += 1
        while waiting > 0 and (paths[ahead[waiting - 1]] == paths[low] or ahead[waiting - 1] == low + 1):
            waiting -= 1
            for between in range(low + 1, ahead[waiting]):
                figures[sets[between]] = figures[sets[low]]
                for m in range(nets.shape[1]):
                    nets[sets[between], m] = nets[sets[low], m]
            low = ahead[waiting]
        at = (low + ahead[waiting - 1]) // 2 if waiting > 0 else min(low + step, max(last, low + 1))
    return -1


def _last_alike(roads, levels, sets, at):
    """The last of the sets that differ from this one in the entry, or in the exit, only; where none quotes a level."""
    first, last, one_entry, one_exit = sets[at], at, True, True
    while roads.queues is None and last + 1 < len(sets):
        k = sets[last + 1]
        one_entry = one_entry and levels.entry[k] == levels.entry[first]
        one_exit = one_exit and levels.exit[k] == levels.exit[first]
        if levels.max_hold_ns[k] != levels.max_hold_ns[first] or not (one_entry or one_exit):
            break
        if (
            levels.reverse_entry[k] != levels.reverse_entry[first]
            or levels.reverse_exit[k] != levels.reverse_exit[first]
        ):
            break
        last += 1
    return last


# --- The sweep --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Swept:
    """One row of `FIGURES` per rule, in the order given. `days` and `funds` are those of every set.

    `nets`, where `marked` was given: the marked net at each of those events, USDT, shape (rules, events).
    """

    rules: Sequence[MachineRule]
    figures: np.ndarray
    days: float
    funds: Funds = BOUNDLESS
    nets: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.figures)

    def __repr__(self) -> str:
        return f"Swept({len(self):,} sets, {self.days:.2f} days, {int(self.figures['trades'].sum()):,} trades)"

    def performance(self, k: int) -> Performance:
        """The headline figures of set k, as `performance.measure` gives them."""
        f = dict(zip(FIGURES.names, self.figures[k].item(), strict=True))
        n, ended, days, capital = (
            f["trades"],
            f["trades"] - f["censored"],
            self.days,
            capital_of(self.rules[k], self.funds),
        )
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
            hit_rate=f["targets"] / ended if ended else None,
            win_rate=f["wins"] / ended if ended else None,
            timeout_share=f["timeouts"] / ended if ended else None,
            unwound_share=f["unwound"] / ended if ended else None,
            mean_net_bps=to_bps(f["net_usdt"]) / f["notional_usdt"] if f["notional_usdt"] else None,
            median_hold_s=f["median_hold_s"] if ended else None,
            longest_hold_s=f["longest_hold_s"] if n else None,
            profit_factor=f["gains_usdt"] / f["losses_usdt"] if f["losses_usdt"] > 0 else None,
            drawdown=f["drawdown"],
            drawdown_s=f["drawdown_s"],
            missed=f["missed"],
            halted=f["halted"],
            open_at_end=f["open_at_end"],
            censored=f["censored"],
        )


def sweep(
    tape: Tape,
    rules: Sequence[MachineRule],
    latency: Latency,
    payments: Sequence[FundingPayment] = (),
    *,
    funds: Funds = BOUNDLESS,
    marked: Tape | None = None,
    span: tuple[int, int] | None = None,
    threads: int | None = None,
) -> Swept:
    """What `run` and `measure` say of every rule.

    Args:
        rules: any; those that differ only in levels and the longest hold share one call of the kernel.
        marked: the events at which equity is marked, and nets are kept; the last of every instant, without nets, if not given.
        span: days are counted from its start to its end (ns), and of the pairs only those entered before its end and closed
            on the tape (a look-back), others are purged; the whole tape and all pairs, if not given.
        threads: at most so many at once; as many as there are processors, if not given.

    Raises:
        ParamsError, DataError: as `run`, of a rule that it would refuse; DataError for a tape without length.
    """
    until_ns = span[1] if span else NEVER
    days = _days(*span or (tape.start_ns, tape.end_ns))
    shown = tape if marked is None else marked
    settled = shown.settled
    bounded = marked is None and (
        len(rules) > 1 or tape in _BOUNDS
    )  # for one set alone they take longer than they spare
    watched = _marks(shown if settled.all() else shown.take(settled), tape if bounded else None)
    kept = None if marked is None else np.zeros((len(rules), len(watched.ts_ns)))
    figures = _figures(tape, rules, latency, payments, funds, (watched, kept), until_ns, threads)
    return Swept(rules, figures, days, funds, kept if kept is None else kept[:, np.cumsum(settled) - settled])


def _days(start_ns: int, end_ns: int) -> float:
    if end_ns <= start_ns:
        raise DataError("a tape that lasts no time has no rates per day; choose a longer time range")
    return (end_ns - start_ns) / DAY_NS


def _figures(tape, rules, latency, payments, funds, marks, until_ns, threads) -> np.ndarray:
    """Figures of every rule, shape (rules,); `marks`: where equity is marked, and room for the nets there, if asked for."""
    watched, nets = marks
    nets = np.zeros((1, 0)) if nets is None else nets
    table, holes = np.array([tuple(p) for p in payments], PAYMENT), _holes(payments)
    figures, (levels, groups) = np.zeros(len(rules), FIGURES), _read(rules)
    columns, roads, stamps = kernel_inputs(tape, latency, payments, [rules[members[0]] for members in groups])
    kernel = _kernel()
    for members in groups:
        rule = rules[members[0]]
        check_deadline(rule, latency)
        here = (glance if len(rules) == 1 else looks)(tape, rule.filter, expected(payments, rule.funding_horizon_s))
        ground = read_only(Ground(columns, here, roads, funds.rebalancing, stamps))
        account = read_only((watched, table, holes)), until_ns, float(capital_of(rule, funds))

        def fill(some, ground=ground, rule=rule, account=account):
            ground = ground._replace(looks=ground.looks._replace(sought=np.zeros((SOUGHT, 3))))
            twice = records([rule._replace(may_enter=False), rule])
            schedule = read_only(Schedule(np.array([tape.start_ns]), (), np.array([0])))._replace(rules=twice)
            (marks, table, holes), *rest = account
            fills, bad = FILLS, -1
            while fills > 0:
                machines, curves = (np.repeat(records([one]), 2) for one in (Machine(purse=[*funds.purse]), Curve()))
                room = np.zeros(fills, ROOM), np.empty(len(tape)), np.zeros(2 * SOUGHT, SPAN)
                of = (*room, marks, table, holes, *rest)
                out = figures, nets, np.zeros(len(some), np.int64), np.zeros(64, np.int64)
                bad = kernel(ground, schedule, machines, curves, of, levels, some, out)
                fills = int(curves["most_fills"][0])
                if fills > 0:  # again with more room, as a pair had more fills
                    figures[some] = np.zeros(1, FIGURES)
            return bad

        for bad in _by_threads(fill, members, threads):
            if bad >= 0:
                run(tape, rules[bad], latency, payments, funds=funds, seen=here)  # raises
    return figures


def _read(rules: Sequence[MachineRule]) -> tuple[Levels, list[np.ndarray]]:
    """The levels of rules, and the sorted numbers of those that share a call of the kernel.

    Those read last are kept, for who sweeps the same rules on one look-back after another.
    """
    given, (known, read) = tuple(rules), _LAST_READ[0]
    if given != known:
        levels = read_only(_levels(rules))
        read = levels, [_sorted(levels, members) for members in _groups(rules, levels.reverse_entry == math.inf)]
        _LAST_READ[0] = given, read
    return read


_LAST_READ = [(None, None)]


def _sorted(levels: Levels, members: np.ndarray) -> np.ndarray:
    """The numbers of the sets: by their longest hold, of one hold by the reverse levels, then the entry, then the exit.

    Exits fall, so that what a set waits for comes no earlier than for the set before (see `fast_forward`).
    """
    of = Levels(*(column[members] for column in levels))
    columns = (-of.exit, of.entry, of.reverse_entry, -of.reverse_exit, of.max_hold_ns)
    return members[np.lexsort([column for column in columns if (column != column[0]).any()] or [of.exit])]


def _by_threads(fill, sets: np.ndarray, threads: int | None) -> list[int]:
    """Neighbouring sets, so many by each thread; none for few."""
    parts = min(threads or os.cpu_count() or 1, len(sets) // WORTH)
    if parts < 2:
        return [fill(sets)]
    with ThreadPoolExecutor(parts) as pool:
        return list(pool.map(fill, np.array_split(sets, parts)))


_REST_OF = itemgetter(*(k for k, name in enumerate(MachineRule._fields) if name not in Levels._fields))


def _levels(rules: Sequence[MachineRule]) -> Levels:
    kinds = (np.int64 if name == "max_hold_ns" else float for name in Levels._fields)
    columns = (map(attrgetter(name), rules) for name in Levels._fields)
    return Levels(*(np.fromiter(column, kind, len(rules)) for column, kind in zip(columns, kinds, strict=True)))


def _groups(rules: Sequence[MachineRule], direct: np.ndarray) -> list[np.ndarray]:
    """The numbers of the rules that differ only in their levels, those with a reverse direction apart."""
    if rules and all(map(_REST_OF(rules[0]).__eq__, map(_REST_OF, rules))) and (direct == direct[0]).all():
        return [np.arange(len(rules))]  # as nearly always
    found = defaultdict(list)
    for k, rule in enumerate(rules):
        found[_REST_OF(rule), direct[k]].append(k)
    return [np.array(members) for members in found.values()]


def _holes(payments: Sequence[FundingPayment]) -> np.ndarray:
    return np.array(gaps([p.ts_ns for p in payments]) if payments else [], np.int64).reshape(-1, 2)


_MARKED = ("ts_ns", "spot_row", "perp_row", "spot", "perp")
_UNBOUNDED = np.zeros((4, 0)), np.zeros((8, 0))


_BOUNDS: WeakKeyDictionary[Tape, tuple[np.ndarray, np.ndarray]] = WeakKeyDictionary()  # of a tape, as long as it lives


def _marks(settled: Tape, of: Tape | None) -> Marks:
    """Where equity is marked; with the bounds of the tape `of` whose settled events these are, made at its first sweep."""
    if of is not None and of not in _BOUNDS:
        _BOUNDS[of] = tuple(
            np.tile([[np.inf], [-np.inf]], (kinds, -(-len(settled) // size))) for kinds, size in ((2, NEAR), (4, FAR))
        )
        compiled(prices)(read_only(replay._columns(settled)), *_BOUNDS[of])
    bounds = _UNBOUNDED if of is None else _BOUNDS[of]
    return Marks(*(getattr(settled, name) for name in _MARKED), *bounds)


@cache
def _kernel():
    """`_sweep` as machine code; says so when it has to be compiled first, but not in a notebook, whose output it would be."""
    kernel = compiled(_sweep)
    if "ipykernel" not in sys.modules and not any(Path(kernel.stats.cache_path).glob("sweep._sweep-*.nbi")):
        print("delta_arb: compiling the sweep, some 15 seconds, more on a busy machine; once", file=sys.stderr)
    return kernel
