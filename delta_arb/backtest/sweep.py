"""Thousands of rules over one tape: what each would have earned, as columns; the trades of any one by replaying it.

One compiled loop over the sets drives the machine of `driver`, settles with the identity of `ledger` and marks equity
by the formulas of `performance`; so every figure is that of `run` and `measure` of the same rule, to the bit. Four
things make it fast: rows on which nothing can be decided are skipped (`jump`), what two rules have in common is driven
once (`routes`), trades never become Python objects, and equity is marked only in those blocks of 64 events that may hold
a new peak or a deeper fall. A set costs the memory of its row in `FIGURES` and five levels, the tape one and a half bytes
an event, all routes together a few megabytes.

Rules with wallets that can run dry, with several clips, a reverse direction, or to be flattened share nothing: each is
replayed alone.
"""

import math
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from delta_arb.backtest import replay
from delta_arb.backtest.event_loop import BEGINNING, drive
from delta_arb.backtest.marks import Marks, mark, prices
from delta_arb.backtest.numba_cache import compiled, records, uncounted
from delta_arb.backtest.performance import Performance, thinned
from delta_arb.backtest.replay import capital_of, kernel_inputs, looks, run
from delta_arb.backtest.routes import MOST, SLOTS, Ground, Span, driven, follow, new_routes
from delta_arb.backtest.sweep_figures import FIGURES, add_deal, ranked, tell
from delta_arb.errors import DataError
from delta_arb.funding_stamps import expected, gaps
from delta_arb.latency import Latency
from delta_arb.market import DAY_NS, END, HALT, NEVER, FundingPayment
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.ledger import closing, left_open
from delta_arb.strategy.rule import check_deadline
from delta_arb.strategy.state import HALTED, Rule
from delta_arb.wallets import BOUNDLESS, Funds

WORTH = 200  # replays that are worth a thread
PAYMENT = np.dtype([("ts_ns", np.int64), ("rate", float), ("mark", float), ("exact", bool)])


class Levels(NamedTuple):
    """What differs between the sets of one kernel call; arrays of shape (sets,)."""

    entry: np.ndarray
    exit: np.ndarray
    reverse_entry: np.ndarray
    reverse_exit: np.ndarray
    max_hold_ns: np.ndarray


class Spans(NamedTuple):
    """The columns of `routes.Span`, and between which marks equity is marked; arrays of shape (spans,)."""

    row: np.ndarray
    past: np.ndarray
    end_ns: np.ndarray
    until_ns: np.ndarray
    first_mark: np.ndarray
    past_mark: np.ndarray


# --- The kernel -------------------------------------------------------------------------------------------------------


def _sweep(ground, rule, levels, order, shared, spans, watched, capital, figures):
    """Fill `figures`, one row per set and one column per span; the number of a set that meets a hole, or -1.

    The first set of every longest hold is replayed alone; where it trades all the time, so are the others.
    """
    ground, watched = uncounted(ground), uncounted(watched)
    known, alone, crowded, whole = new_routes(1), True, False, len(spans.row) == 1
    for at in range(len(order)):
        k = order[at]
        other = at == 0 or levels.max_hold_ns[k] != rule.max_hold_ns
        rule.entry, rule.exit, rule.max_hold_ns = levels.entry[k], levels.exit[k], levels.max_hold_ns[k]
        rule.reverse_entry, rule.reverse_exit = levels.reverse_entry[k], levels.reverse_exit[k]
        before, alone = alone, not shared or (whole and (other or crowded))
        if alone or before or other or len(known.stretches) > MOST:
            known = new_routes(1 if alone else SLOTS)
        for j in range(len(spans.row)):
            span = Span(spans.row[j], spans.past[j], spans.end_ns[j], spans.until_ns[j])
            kept = [0 for _ in range(0)]
            if alone:
                halted, left_open, hole = _alone(ground, rule, known, span, kept)
            else:
                halted, left_open, hole = follow(ground, rule, known, span, kept, not alone)
            if hole:
                return k
            figures[k, j].halted, figures[k, j].open_at_end = halted, left_open
            tell(figures[k, j], known.deals, kept)
            mark(
                figures[k, j], known.deals, known.steps, kept, watched, spans.first_mark[j], spans.past_mark[j], capital
            )
        crowded = len(known.deals) > MOST // 4 if other else crowded
    return -1


def _alone(ground, rule, known, span, kept):
    """As `follow`, of a rule that shares nothing with others: the whole tape, replayed."""
    done = drive(
        ground.tape,
        ground.looks,
        ground.spot_road,
        ground.perp_road,
        rule,
        ground.money,
        ground.stamps,
        BEGINNING,
        False,
    )
    state, whole, hole = done.place.state, span.until_ns == NEVER, False
    rest = left_open(state, done.spot, done.perp, span.end_ns, rule)
    for f in rest:
        done.fills.append(f)
    halted = state.phase == HALTED
    if len(rest) > 0:
        done.closings.append(closing(state, done.spot, done.perp, span.end_ns, HALT if halted else END))
    newest, at = 0, 0
    for order in done.sent:
        if order.ts_ns < span.until_ns:
            newest = order.pair
    for c in done.closings:
        first, at = segment(done.fills, at, len(done.fills), c.pair)
        deal = add_deal(ground.payments, ground.holes, known, done.fills[first:at], c)
        hole = hole or known.deals[deal].hole
        if c.pair <= newest and (whole or c.reason != END):
            kept.append(deal)
    return halted, whole and len(rest) > 0, hole


def segment(fills, at, past, pair):
    """The fills of a pair, first and past; they lie together, behind those of the pairs before."""
    while at < past and fills[at].pair < pair:
        at += 1
    first = at
    while at < past and fills[at].pair == pair:
        at += 1
    return first, at


# Apart from the loop over the sets, which all else is part of.
CALLED = (drive, follow, driven, mark, add_deal, _alone, tell, ranked)


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
    threads: int | None = None,
) -> Swept:
    """What `run` and `measure` say of every rule.

    Args:
        rules: any; those that differ only in levels and the longest hold share one call of the kernel.
        marked: the events at which equity is marked; the last of every instant, if not given.
        start_ns: from when the days are counted; from the first event, if not given.
        until_ns: count only pairs entered before it and closed on the tape (a look-back); others are purged.
        threads: at most so many at once; as many as there are processors, if not given.

    Raises:
        ParamsError, DataError: as `run`, of a rule that it would refuse; DataError for a tape without length.
    """
    start_ns = tape.start_ns if start_ns is None else start_ns
    days = _days(start_ns, tape.end_ns if until_ns == NEVER else until_ns)
    shown = tape if marked is None else marked
    watched = _marks(shown if shown.settled.all() else shown.take(shown.settled), known=marked is None)
    spans = Spans(*(np.array([x]) for x in (0, len(tape), tape.end_ns, until_ns, 0, len(watched.ts_ns))))
    figures = _figures(tape, rules, latency, payments, funds, watched, spans, threads)
    return Swept(rules, figures[:, 0], days, funds)


class LookBackSpan(NamedTuple):
    """Pairs entered in [start, until) and closed before `end_ns`, as all that is known then."""

    start_ns: int
    until_ns: int
    end_ns: int


def look_backs(
    tape: Tape,
    rules: Sequence[Rule],
    latency: Latency,
    payments: Sequence[FundingPayment] = (),
    *,
    spans: Sequence[LookBackSpan],
    period_s: float,
    funds: Funds = BOUNDLESS,
    threads: int | None = None,
) -> tuple[Swept, ...]:
    """For every span what `sweep` says of `tape.between(start_ns, end_ns)`, equity marked once a period.

    Replays of two spans are one as soon as they rest at the same row, so spans that overlap cost little more than one.
    A filtered signal begins anew with every span and shares nothing.
    """
    parts = [tape.between(span.start_ns, span.end_ns) for span in spans]
    thin = [thinned(part, *span[:2], period_s) for part, span in zip(parts, spans, strict=True)]
    if not _one_tape(tape, rules, payments, funds):
        return tuple(
            sweep(
                part, rules, latency, payments, funds=funds, marked=of, start_ns=span.start_ns, until_ns=span.until_ns,
                threads=threads,
            )
            for part, of, span in zip(parts, thin, spans, strict=True)
        )  # fmt: skip
    thin = [of.take(of.settled) for of in thin]
    ends = np.cumsum([len(of) for of in thin])
    columns = [np.concatenate([getattr(of, name) for of in thin]) for name in _MARKED]
    rows = np.searchsorted(tape.ts_ns, [span.start_ns for span in spans])
    past = rows + [len(part) for part in parts]
    columns_of = rows, past, [part.end_ns for part in parts], [s.until_ns for s in spans], [0, *ends[:-1]], ends
    at = Spans(*(np.asarray(column, np.int64) for column in columns_of))
    figures = _figures(tape, rules, latency, payments, funds, Marks(*columns, *_UNBOUNDED), at, threads)
    days = [_days(span.start_ns, span.until_ns) for span in spans]
    return tuple(Swept(rules, figures[:, j], days[j], funds) for j in range(len(spans)))


def _days(start_ns: int, end_ns: int) -> float:
    if end_ns <= start_ns:
        raise DataError("a tape that lasts no time has no rates per day; choose a longer time range")
    return (end_ns - start_ns) / DAY_NS


def _one_tape(tape: Tape, rules: Sequence[Rule], payments: Sequence[FundingPayment], funds: Funds) -> bool:
    """Whether spans of the tape see what it sees: no filter that starts in between, no hole of the funding table."""
    whole = not any(
        tape.start_ns < before_ns and tape.end_ns > after_ns for after_ns, before_ns in _holes(payments).tolist()
    )
    return whole and all(rule.filter.noise_sd == 0.0 and _shares(rule, funds) for rule in rules)


def _shares(rule: Rule, funds: Funds) -> bool:
    """Whether all that a machine remembers of earlier pairs is when it became flat (see `routes`)."""
    boundless = math.isinf(funds.spot_usdt) and math.isinf(funds.perp_usdt)
    one_clip = rule.max_position_usdt <= rule.clip_usdt
    return boundless and one_clip and rule.reverse_entry == math.inf and not rule.flatten


def _figures(tape, rules, latency, payments, funds, watched, spans, threads) -> np.ndarray:
    """Figures of every rule and span, shape (rules, spans)."""
    table, holes = np.array([tuple(p) for p in payments], PAYMENT), _holes(payments)
    figures = np.zeros((len(rules), len(spans.row)), FIGURES)
    ways = {(rule.filter, rule.funding_horizon_s) for rule in rules}
    seen = {way: looks(tape, way[0], expected(payments, way[1])) for way in ways}
    columns, roads, purse, stamps = kernel_inputs(tape, latency, payments, funds)
    rising = _rising(tape)
    kernel = _kernel()
    for members in _groups(rules):
        rule = rules[members[0]]
        check_deadline(rule, latency)
        levels = Levels(*(np.array([getattr(rules[k], name) for k in members], kind) for name, kind in _LEVELS))
        part = np.zeros((len(members), len(spans.row)), FIGURES)
        here = seen[rule.filter, rule.funding_horizon_s]
        ground = Ground(columns, here, *roads, purse, stamps, table, holes)
        order = np.lexsort((levels.exit, levels.entry, levels.max_hold_ns))
        capital = float(capital_of(rule, funds))
        shared = rising and _shares(rule, funds)

        def fill(some, ground=ground, rule=rule, levels=levels, shared=shared, capital=capital, part=part):
            return kernel(ground, records([rule])[0], levels, some, shared, spans, watched, capital, part)

        for bad in _by_threads(fill, order, threads, WORTH // len(spans.row)):
            if bad >= 0:
                run(tape, rules[members[bad]], latency, payments, funds=funds, seen=here)  # raises
        figures[members] = part
    return figures


def _by_threads(fill, order: np.ndarray, threads: int | None, worth: int) -> list[int]:
    """Neighbouring parts of the order, one by each thread; none for fewer than `worth` sets."""
    parts = min(threads or os.cpu_count() or 1, len(order) // max(worth, 1))
    if parts < 2:
        return [fill(order)]
    with ThreadPoolExecutor(parts) as pool:
        return list(pool.map(fill, np.array_split(order, parts)))


_LEVELS = tuple((name, np.int64 if name == "max_hold_ns" else float) for name in Levels._fields)


def _groups(rules: Sequence[Rule]) -> list[list[int]]:
    """The numbers of the rules that differ only in their levels, those with a reverse direction apart."""
    rest = itemgetter(*(k for k, name in enumerate(Rule._fields) if name not in Levels._fields))
    found = defaultdict(list)
    for k, rule in enumerate(rules):
        found[rest(rule), rule.reverse_entry == math.inf].append(k)
    return list(found.values())


def _holes(payments: Sequence[FundingPayment]) -> np.ndarray:
    return np.array(gaps([p.ts_ns for p in payments]) if payments else [], np.int64).reshape(-1, 2)


def _rising(tape: Tape) -> bool:
    """Whether no book is older than the one before it: what was taken of one is then never met again."""
    return all(bool((np.diff(tape.ts_ns - age_ns) >= 0).all()) for age_ns in (tape.spot_age_ns, tape.perp_age_ns))


_MARKED = ("ts_ns", "spot_bid", "spot_ask", "perp_bid", "perp_ask")
_UNBOUNDED = np.zeros((8, 0)), np.zeros((8, 0))


def _marks(tape: Tape, known: bool) -> Marks:
    bounds = compiled(prices)(replay._columns(tape)) if known else _UNBOUNDED
    return Marks(*(getattr(tape, name) for name in _MARKED), *bounds)


@cache
def _kernel():
    """`_sweep` as machine code; says so when it has to be compiled first, but not in a notebook, whose output it would be."""
    kernel = compiled(_sweep, CALLED)
    if "ipykernel" not in sys.modules and not any(Path(kernel.stats.cache_path).glob("sweep._sweep-*.nbi")):
        print("delta_arb: compiling the sweep, some seconds, once on this machine", file=sys.stderr)
    return kernel
