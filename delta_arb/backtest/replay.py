"""Replay of the pair machine over a tape: the same `decide` as live, fed event by event, filled by the fill rule.

`run` drives a rule over a tape (see `event_loop`) and settles what came of it. Compiled with numba it skips the rows on which
nothing can be decided (see `fast_forward`); `run(plain=True)` executes the same lines in Python and skips none. Both give the
identical lists of orders and fills.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np

from delta_arb.backtest.event_loop import Columns, Ground, Machine, Schedule, Sent, Stamps, filter_shifts, whole_tape
from delta_arb.backtest.fast_forward import FAR, NEAR, SIGNALS, Looks, extremes
from delta_arb.backtest.resting_orders import Road, Roads
from delta_arb.funding_stamps import NOTHING_EXPECTED, Expected, expected
from delta_arb.latency import Latency
from delta_arb.market import ASSUMPTIONS, DAY_NS, PERP, SNAPSHOTS, SPOT, Fill, FundingPayment
from delta_arb.numba_cache import compiled, read_only, records
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.ledger import TRADE_FIELDS, Closing, Dust, Trade, dust, settle_all, total
from delta_arb.strategy.rule import check_deadline
from delta_arb.strategy.signal import Filter
from delta_arb.strategy.state import NO_LEG, MachineRule
from delta_arb.wallets import BOUNDLESS, Funds, Purse, Transfer, days_blocked


@dataclass(frozen=True, slots=True)
class Backtest:
    """What the machine did on a tape: orders, fills, closed trades; `missed` entries filled on neither leg.

    `purse` is what the wallets hold at the end, `refusals` when an opportunity came that they could not pay for, `assumed` the
    place of resting orders, "" where none may rest.
    """

    trades: tuple[Trade, ...]
    sent: tuple[Sent, ...]
    fills: tuple[Fill, ...]
    closings: tuple[Closing, ...]
    payments: tuple[FundingPayment, ...]
    missed: int
    halted: bool
    open_at_end: bool
    start_ns: int
    end_ns: int
    rule: MachineRule
    funds: Funds = BOUNDLESS
    purse: Purse = BOUNDLESS.purse
    refusals: tuple[int, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    assumed: str = ""

    @property
    def capital_usdt(self) -> float:
        """What both wallets were given; without wallets the value of a full position and the margin of its short."""
        return capital_of(self.rule, self.funds)

    @property
    def dust(self) -> tuple[Dust, Dust]:
        """What the closed pairs left of spot and perpetual below the venues' minima."""
        return dust(self.fills, self.closings, self.rule)

    @property
    def days_blocked(self) -> int:
        """On how many UTC days a wallet could not pay for an entry."""
        return days_blocked(self.refusals)

    @property
    def transfers_month(self) -> float:
        """Transfers between the wallets, per 30 days."""
        return 30.0 * len(self.transfers) / self.days if self.days else 0.0

    @property
    def transfer_fees_usdt(self) -> float:
        """What the transfers cost; it belongs to no pair, so it is not in `net_usdt`."""
        return sum((t.fee_usdt for t in self.transfers), 0.0)

    @property
    def net_usdt(self) -> float:
        return total(t.net_usdt for t in self.trades)

    @property
    def days(self) -> float:
        return (self.end_ns - self.start_ns) / DAY_NS

    @property
    def entered(self) -> dict[int, int]:
        """When each pair was decided (ns), filled or not; by the numbers of the pairs."""
        return {order.pair: order.ts_ns for order in reversed(self.sent)}

    @property
    def rested(self) -> tuple[Fill, ...]:
        """The fills of orders that rested: the newest order of their leg was post-only when they came."""
        known = sorted([*self.sent, *self.fills], key=lambda one: (one.ts_ns, isinstance(one, Sent)))
        newest, found = {}, []
        for one in known:
            if isinstance(one, Sent):
                newest[one.leg] = one
            elif (
                one.leg in newest and newest[one.leg].post_only and not (self.open_at_end and one.ts_ns == self.end_ns)
            ):
                found.append(one)
        return tuple(found)

    def only(self, pairs: Collection[int]) -> "Backtest":
        """The same, as if only these pairs had been."""
        kept = {
            name: tuple(x for x in getattr(self, name) if x.pair in pairs)
            for name in ("trades", "sent", "fills", "closings")
        }
        return replace(self, **kept, missed=len(kept["closings"]) - len(kept["trades"]))

    def to_frame(self):
        """One row per trade, the fields of `Trade` as columns."""
        import pandas as pd

        return pd.DataFrame([[getattr(t, name) for name in TRADE_FIELDS] for t in self.trades], columns=TRADE_FIELDS)

    def __repr__(self) -> str:
        queue = f", resting under {self.assumed}" if self.assumed else ""
        tail = queue + (", halted" if self.halted else ", open at the end" if self.open_at_end else "")
        return f"Backtest({len(self.trades)} trades, net {self.net_usdt:.4f} USDT, {self.days:.2f} days{tail})"


def capital_of(rule: MachineRule, funds: Funds) -> float:
    """The capital of `Backtest.capital_usdt`."""
    given = funds.spot_usdt + funds.perp_usdt
    full = max(rule.clip_usdt, rule.max_position_usdt) * (1.0 + 1.0 / rule.perp.leverage)
    return given if given < math.inf else full


def _columns(tape: Tape) -> Columns:
    return Columns(*(getattr(tape, name) for name in Columns._fields))


def _stamps(payments: Sequence[FundingPayment]) -> Stamps:
    ts_ns = np.array([p.ts_ns for p in payments], np.int64)
    return Stamps(ts_ns, *(np.array([getattr(p, name) for p in payments], float) for name in ("rate", "mark")))


def shifts(tape: Tape, process: Filter) -> np.ndarray:
    """What the filter adds to the raw edges and costs at the last row of every instant, as a fraction; else zero."""
    if process.noise_sd == 0.0:
        return np.zeros(len(tape))
    return compiled(filter_shifts)(read_only(_columns(tape)), process)


def looks(
    tape: Tape, process: Filter, promised: Expected = NOTHING_EXPECTED, *, plain: bool = False, jumping: bool = True
) -> Looks:
    """What every replay of one tape, filter and expected funding shares; without `jumping`, every row will be looked at."""
    return _looks(tape, [(process, promised)], plain=plain, jumping=jumping)


def glance(tape: Tape, process: Filter, promised: Expected) -> Looks:
    """`looks` for one set alone: of a tape and a way that were never looked at, any block may hold what is sought.

    To look for one level at each row takes less time than to make the extremes of all signals; those are made the second time.
    """
    known, key = _SEEN.setdefault(tape, {}), ((process, promised), False, True)
    if key in known or process.noise_sd != 0.0 or promised.ts_ns:
        return looks(tape, process, promised)
    known[key] = None
    anywhere = (np.full((1, SIGNALS, -(-len(tape) // size)), np.inf) for size in (NEAR, FAR))
    return read_only(Looks(np.zeros((1, 1)), *anywhere))


def _looks(tape: Tape, ways: Sequence[tuple[Filter, Expected]], *, plain: bool, jumping: bool) -> Looks:
    known = _SEEN.setdefault(tape, {})
    key = (*ways, plain, jumping)
    if known.get(key) is None:
        if len(known) >= MOST_SEEN:
            known.clear()
        known[key] = _look(tape, ways, plain=plain, jumping=jumping)
    return known[key]


# What was seen of a tape, as long as it lives: a choice and its walk replay hundreds of sets on one.
MOST_SEEN = 8
_SEEN: WeakKeyDictionary[Tape, dict[tuple, Looks | None]] = WeakKeyDictionary()


def _look(tape: Tape, ways: Sequence[tuple[Filter, Expected]], *, plain: bool, jumping: bool) -> Looks:
    columns = _plain(_columns(tape)) if plain else read_only(_columns(tape))
    made = (lambda kernel: kernel) if plain else compiled
    shift = np.zeros((len(ways), 1))
    if any(process.noise_sd != 0.0 or promised.ts_ns for process, promised in ways):
        shift = np.zeros((len(ways), len(tape)))
    for of_way, (process, promised) in zip(shift, ways, strict=True):
        if process.noise_sd != 0.0:
            of_way += made(filter_shifts)(columns, process)
        if promised.ts_ns:
            of_way += promised_at(promised, tape.ts_ns)
    blocks = (-(-len(tape) // size) if jumping else 0 for size in (NEAR, FAR))
    found = Looks(read_only(shift), *(np.full((len(ways), SIGNALS, count), -np.inf) for count in blocks))
    if jumping:
        made(extremes)(columns, found)
    return found if plain else read_only(found)


def promised_at(promised: Expected, ts_ns: np.ndarray) -> np.ndarray:
    """`Expected.at` for a column of moments."""
    return np.array(promised.edges)[np.searchsorted(np.array(promised.ts_ns, np.int64), ts_ns, "left")]


def _plain(columns):
    """The same named tuple with lists for its arrays, which plain Python reads faster."""
    return type(columns)(*(_plain(of) if isinstance(of, tuple) else of.tolist() for of in columns))


def assumed(tape: Tape, rules: Sequence[MachineRule]) -> str:
    """What a result of these rules assumes of resting orders; "" where both legs take."""
    if all(rule.quoting.leg == NO_LEG for rule in rules):
        return ""
    leg = next(rule.quoting.leg for rule in rules if rule.quoting.leg != NO_LEG)
    known = len(tape.queues[leg].ts_ns) > 0
    return ASSUMPTIONS[tape.queues.place] if known else "no trades recorded, so only quotes that reach ours fill"


def kernel_inputs(tape: Tape, latency: Latency, payments: Sequence[FundingPayment], rules: Sequence[MachineRule]):
    """Columns, roads of both legs (with queues and levels where a rule rests or levels are known), and funding stamps, for the kernel."""
    delays = [latency.between(leg, tape.start_ns, tape.end_ns) for leg in (SPOT, PERP)]
    deeper = any(rule.quoting.leg != NO_LEG for rule in rules) or any(len(depth.ts_ns) for depth in tape.depths)
    queues, depths = (tape.queues, tape.depths) if deeper else (None, (None, None))
    kinds = tape.spot_kind, tape.perp_kind
    legs = tuple(Road(delays[leg], kinds[leg] == SNAPSHOTS, depths[leg]) for leg in (SPOT, PERP))
    return read_only((_columns(tape), Roads(legs, queues), _stamps(payments)))


def run(
    tape: Tape,
    rule: MachineRule,
    latency: Latency,
    payments: Sequence[FundingPayment] = (),
    *,
    later: Sequence[tuple[int, MachineRule]] = (),
    funds: Funds = BOUNDLESS,
    plain: bool = False,
    seen: Looks | None = None,
) -> Backtest:
    """Replay `rule` over `tape`. An open position at the end is closed on its exit side, counted and flagged.

    Args:
        later: rules that follow it, each with the time (ns, rising) from which on it is in force. An open pair keeps the
            rule that it was opened with; whether it may take another clip, or outstay its time, is for the newest.
        seen: `looks(tape, rule.filter)`, with the funding that the rule expects, where many replays of single rules share
            one tape; with any of them the result is the same.

    Raises:
        ParamsError: an order could still be under way when its deadline passes (deadline not above latency + quote age).
        DataError: a funding stamp is missing inside a hold.
    """
    rules = [rule, *(each for _, each in later)]
    for each in rules:
        check_deadline(each, latency)
    columns, roads, stamps = kernel_inputs(tape, latency, payments, rules)
    of_rule = [(each.filter, expected(payments, each.funding_horizon_s)) for each in rules]
    ways = list(dict.fromkeys(of_rule))
    if seen is None:
        seen = _looks(tape, ways, plain=plain, jumping=not plain)
    twice = [each._replace(may_enter=enters) for each in rules for enters in (False, each.may_enter)]
    from_ns = np.array([tape.start_ns, *(at_ns for at_ns, _ in later)], np.int64)
    schedule = Schedule(from_ns, twice, np.array([ways.index(way) for way in of_rule]))
    machine, ground = Machine(purse=[*funds.purse]), Ground(columns, seen, roads, funds.rebalancing, stamps)
    if plain:
        legs, queues = roads
        queues = queues and queues._replace(spot=_plain(queues.spot), perp=_plain(queues.perp))
        legs = (r._replace(delays=_plain(r.delays), depth=r.depth and _plain(r.depth)) for r in legs)
        schedule = Schedule(from_ns.tolist(), twice, schedule.way.tolist())
        ground = ground._replace(tape=_plain(columns), roads=Roads(tuple(legs), queues), stamps=_plain(stamps))
        done = whole_tape(ground, schedule, machine)
    else:
        schedule = read_only(schedule)._replace(rules=records(twice))
        done = compiled(whole_tape)(ground, schedule, records([machine])[0])
    logs, halted, open_at_end, purse = done
    trades = settle_all(logs.fills, logs.closings, payments)
    return Backtest(
        trades=trades,
        sent=tuple(logs.sent),
        fills=tuple(logs.fills),
        closings=tuple(logs.closings),
        payments=tuple(payments),
        missed=len(logs.closings) - len(trades),
        halted=halted,
        open_at_end=open_at_end,
        start_ns=tape.start_ns,
        end_ns=tape.end_ns,
        rule=rule,
        funds=funds,
        purse=purse,
        refusals=tuple(logs.refusals),
        transfers=tuple(logs.transfers),
        assumed=assumed(tape, rules),
    )
