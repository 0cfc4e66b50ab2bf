"""What a list of trades was worth: marked equity, attribution, drawdown, rates.

Equity is marked at every event at the exit side of both legs (spot bid, perp ask), fees when they are paid. Its parts
spot + perp - fees + funding + residual sum to it at every event, and its last value is the sum of the trades' net.
Returns are on a fixed capital: what both wallets were given, or else a full position and the margin of its short.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from delta_arb.backtest.replay import Backtest, Sent
from delta_arb.errors import DataError
from delta_arb.market import DAY_NS, NS, PERP, SPOT, FundingPayment, exit_price, mid, to_bps
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.ledger import PARTS, Trade, funding, net_bps, total
from delta_arb.strategy.margin import liquidation_price
from delta_arb.strategy.state import LegRule
from delta_arb.tables import Table, TableFace, number, seconds, share


@dataclass(frozen=True, slots=True, eq=False)
class Equity:
    """Marked profit in USDT at every event of a tape, and its parts; arrays of shape (n,), starting at 0.

    Marks are at the exit side; `leaving`, the taker fees that closing there would still cost, is in none of the parts.
    """

    ts_ns: np.ndarray
    spot: np.ndarray
    perp: np.ndarray
    fees: np.ndarray
    funding: np.ndarray
    residual: np.ndarray
    leaving: np.ndarray | float = 0.0

    @property
    def net_if_left(self) -> np.ndarray:
        """The net if all that is held were closed at each event, with the fees of that."""
        return self.net - self.leaving

    @property
    def net(self) -> np.ndarray:
        return self.spot + self.perp - self.fees + self.funding + self.residual

    def daily(self):
        """One row per UTC day: change of every part and of the net, which is their sum."""
        import pandas as pd

        days = np.arange(self.ts_ns[0] // DAY_NS, self.ts_ns[-1] // DAY_NS + 1)
        last = np.searchsorted(self.ts_ns, (days + 1) * DAY_NS, side="left") - 1
        changes = {part: np.diff(getattr(self, part)[last], prepend=0.0) for part in PARTS}
        table = pd.DataFrame(changes, index=pd.to_datetime(days, unit="D"))
        table["fees"] = -table["fees"]
        table["net"] = table.sum(axis=1)
        return table


def equity(tape: Tape, result: Backtest) -> Equity:
    """The marked curve of a backtest on the tape it was made from, at the last event of every instant.

    Between two rows of one stamp no book ever stood: one leg's new price beside the other's old one is no mark.
    """
    return _curve(tape if tape.settled.all() else tape.take(tape.settled), result)


def _curve(tape: Tape, result: Backtest) -> Equity:
    stamps, steps = _steps(result)
    sums = np.cumsum(np.vstack((np.zeros(7), steps)), axis=0)
    changes = np.searchsorted(tape.ts_ns, stamps, side="left")  # the first event that shows each step
    events = np.diff(changes, prepend=0, append=len(tape))  # how long each sum stays in force
    spot_qty, spot_cash, perp_qty, perp_cash, fees, paid, residual = (np.repeat(column, events) for column in sums.T)
    spot_exit = np.where(spot_qty >= 0, tape.spot_bid, tape.spot_ask)
    perp_exit = np.where(perp_qty >= 0, tape.perp_bid, tape.perp_ask)
    leaving = result.rule.spot.fee * np.abs(spot_qty) * spot_exit + result.rule.perp.fee * np.abs(perp_qty) * perp_exit
    spot, perp = spot_cash + spot_qty * spot_exit, perp_cash + perp_qty * perp_exit
    return Equity(tape.ts_ns, spot, perp, fees, paid, residual, leaving)


def _steps(result: Backtest) -> tuple[np.ndarray, np.ndarray]:
    """When (spot qty, spot cash, perp qty, perp cash, fees, funding, residual) change, and by how much, in time order."""
    pair, ts_ns, leg, qty, price, fee = _table(result.fills, 6)
    spot, cash = leg == SPOT, -qty * price
    fills = np.zeros((len(pair), 7))
    fills[spot, 0], fills[spot, 1], fills[~spot, 2], fills[~spot, 3] = qty[spot], cash[spot], qty[~spot], cash[~spot]
    fills[:, 4] = fee
    ended, end_ns, _, *marks = _table(result.closings, 5)
    numbers, of = np.unique(np.concatenate((ended, pair)), return_inverse=True)
    left = np.zeros((len(numbers), 2))
    np.add.at(left, (of[len(ended) :], leg), qty)
    left = left[of[: len(ended)]]
    ends = np.zeros((len(ended), 7))
    ends[:, 0], ends[:, 2], ends[:, 6] = -left[:, 0], -left[:, 1], left[:, 0] * marks[0] + left[:, 1] * marks[1]
    paid_ns, paid = _paid(result)
    stamps = np.concatenate((ts_ns, paid_ns, end_ns))
    order = np.argsort(stamps, kind="stable")
    return stamps[order], np.concatenate((fills, paid, ends))[order]


def _table(rows: Sequence[tuple], columns: int) -> tuple[np.ndarray, ...]:
    """Named tuples as one array per field; whole numbers stay whole."""
    if not rows:
        return tuple(np.zeros(0, np.int64) for _ in range(columns))
    return tuple(np.array(column) for column in zip(*rows, strict=True))


def _paid(result: Backtest) -> tuple[np.ndarray, np.ndarray]:
    """Stamps at which pairs were paid funding, as steps."""
    by_pair, found = defaultdict(list), []
    for f in result.fills if result.payments else ():
        if f.leg == PERP:
            by_pair[f.pair].append(f)
    stamps = [payment.ts_ns for payment in result.payments]
    for perp in by_pair.values():
        for payment in result.payments[slice(*(bisect_right(stamps, f.ts_ns) for f in (perp[0], perp[-1])))]:
            usdt, _ = funding(perp, 0, len(perp), [payment])
            if usdt:
                found.append((payment.ts_ns, usdt))
    ts_ns, usdt = _table(found, 2)
    steps = np.zeros((len(found), 7))
    steps[:, 5] = usdt
    return ts_ns, steps


@dataclass(frozen=True, slots=True)
class Performance(TableFace):
    """Headline figures of one backtest. Money in USDT, rates as fractions; None where nothing can be said.

    hit_rate: trades that ended at the exit threshold; win_rate: net above zero; drawdown: largest fall of the marked
    equity from its peak, as a fraction of capital plus that peak; gross: net before fees and funding. `censored` trades
    were cut off by the end of the data: they are in the money, but neither in rates nor in the median hold, for nobody
    knows how they would have ended.
    """

    days: float
    trades: int
    trades_day: float
    net_usdt: float
    net_usdt_day: float
    gross_usdt: float
    fees_usdt: float
    funding_usdt: float
    capital_usdt: float
    return_day: float
    hit_rate: float | None
    win_rate: float | None
    timeout_share: float | None
    unwound_share: float | None
    mean_net_bps: float | None
    median_hold_s: float | None
    longest_hold_s: float | None
    profit_factor: float | None
    drawdown: float
    drawdown_s: float
    missed: int
    halted: bool
    open_at_end: bool
    censored: int

    @property
    def ended(self) -> int:
        """Trades that came to an end of their own."""
        return self.trades - self.censored

    @property
    def hits(self) -> int:
        """How many of those ended at the exit threshold."""
        return round((self.hit_rate or 0.0) * self.ended)

    def to_dict(self) -> dict:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def table(self) -> Table:
        return compare({"value": self}, "Performance")


def measure(tape: Tape, result: Backtest, curve: Equity | None = None) -> Performance:
    """The headline figures; `curve` saves computing the equity again. DataError for a tape that lasts no time."""
    if result.end_ns <= result.start_ns:
        raise DataError("a tape that lasts no time has no rates per day; choose a longer time range")
    curve = equity(tape, result) if curve is None else curve
    capital = result.capital_usdt
    fall, fall_s = drawdown(curve.ts_ns, capital + curve.net)
    trades, n = result.trades, len(result.trades)
    nets, ended = [t.net_usdt for t in trades], [t for t in trades if not t.censored]
    fees, paid = total(t.fees_usdt for t in trades), total(t.funding_usdt for t in trades)
    days = result.days
    return Performance(
        days=days,
        trades=n,
        trades_day=n / days,
        net_usdt=result.net_usdt,
        net_usdt_day=result.net_usdt / days,
        gross_usdt=result.net_usdt + fees - paid,
        fees_usdt=fees,
        funding_usdt=paid,
        capital_usdt=capital,
        return_day=result.net_usdt / days / capital,
        hit_rate=_share(ended, "target"),
        win_rate=sum(t.net_usdt > 0 for t in ended) / len(ended) if ended else None,
        timeout_share=_share(ended, "time-out"),
        unwound_share=_share(ended, "unwound"),
        mean_net_bps=net_bps(trades),
        median_hold_s=float(np.median([t.held_s for t in ended])) if ended else None,
        longest_hold_s=max(t.held_s for t in trades) if n else None,
        profit_factor=profit_factor(nets),
        drawdown=fall,
        drawdown_s=fall_s,
        missed=result.missed,
        halted=result.halted,
        open_at_end=result.open_at_end,
        censored=n - len(ended),
    )


def _share(trades: Sequence[Trade], reason: str) -> float | None:
    return sum(t.reason == reason for t in trades) / len(trades) if trades else None


def profit_factor(nets: Sequence[float]) -> float | None:
    """Gains over losses; None without losses (shown as such, never as a large number)."""
    losses = -total(net for net in nets if net < 0)
    return total(net for net in nets if net > 0) / losses if losses > 0 else None


def drawdown(ts_ns: np.ndarray, equity_usdt: np.ndarray) -> tuple[float, float]:
    """Largest fall from a running peak as a fraction of that peak, and the longest time below one in seconds."""
    peak = np.maximum.accumulate(equity_usdt)
    fall = float(np.max((peak - equity_usdt) / peak))
    at_peak = np.append(np.flatnonzero(equity_usdt >= peak), len(peak))
    left = np.flatnonzero(np.diff(at_peak) > 1)  # peaks after which the next event lies below
    back = ts_ns[np.minimum(at_peak[left + 1], len(peak) - 1)]
    return fall, float(np.max(back - ts_ns[at_peak[left]], initial=0)) / NS


def largest_fall(net_usdt: np.ndarray) -> float:
    """Largest fall of a curve from its running peak, in its own unit; the curve begins at 0."""
    return float(np.max(np.maximum.accumulate(np.maximum(net_usdt, 0.0)) - net_usdt, initial=0.0))


def underwater(equity_usdt: np.ndarray) -> np.ndarray:
    """Fall from the running peak as a fraction of it, <= 0, shape (n,)."""
    peak = np.maximum.accumulate(equity_usdt)
    return (equity_usdt - peak) / peak


def by_period(curve: Equity, periods: int) -> np.ndarray:
    """Change of the marked net in each of `periods` equal stretches of the curve, USDT; they sum to the whole."""
    span_ns = int(curve.ts_ns[-1] - curve.ts_ns[0])
    ends = curve.ts_ns[0] + np.arange(1, periods + 1) * span_ns // periods
    last = np.searchsorted(curve.ts_ns, ends, side="right") - 1
    return np.diff(curve.net[last], prepend=0.0)


def slippage_bps(tape: Tape, result: Backtest) -> float | None:
    """Mean of (fill price against the touch decided on), bps, positive when it cost; None without fills.

    Every IOC order of a leg fills at most once, so a fill belongs to the last order of its pair and leg sent before it.
    `tape` is what was replayed.
    """
    decided = defaultdict(list)
    for order in result.sent:
        decided[order.pair, order.leg].append(order)
    costs = []
    for f in result.fills:
        before = [o for o in decided[f.pair, f.leg] if o.ts_ns < f.ts_ns and o.qty * f.qty > 0]
        if before:
            side, touch = (1.0 if f.qty > 0 else -1.0), _decided_on(tape, before[-1], result.rule.price_bound)
            costs.append(to_bps(side * (f.price - touch) / touch))
    return float(np.mean(costs)) if costs else None


def _decided_on(tape: Tape, order: Sent, price_bound: float) -> float:
    """The touch that an order was decided on. A report of the very instant of a row came before that row, and its order
    was decided on the book before: of both the one from which the limit was made, but for the tick."""
    rows = (max(int(np.searchsorted(tape.ts_ns, order.ts_ns, side)) - 1, 0) for side in ("right", "left"))
    touches = [exit_price(-order.qty, tape.book(order.leg, row)) for row in rows]
    implied = order.limit / (1.0 + (price_bound if order.qty > 0 else -price_bound))
    return min(touches, key=lambda touch: abs(touch - implied))


def compare(performances: Mapping[str, Performance], title: str) -> Table:
    """Headline figures of several stretches or settings beside each other."""
    rows = [(name, *(say(p) for p in performances.values())) for name, say in FACES.items()]
    return Table.of(title, ("", *performances), rows)


FACES: Mapping[str, Callable[[Performance], str]] = MappingProxyType(
    {
        "length": lambda p: seconds(86_400 * p.days),
        "net, USDT a day": lambda p: number(p.net_usdt_day),
        "return a day, on the capital": lambda p: share(p.return_day, 2),
        "net per trade, bps of notional": lambda p: number(p.mean_net_bps, 1),
        "trades": lambda p: f"{p.trades}, {p.censored} cut off by the end" if p.censored else f"{p.trades}",
        "trades a day": lambda p: number(p.trades_day, 1),
        "target hit rate": lambda p: share(p.hit_rate),
        "share of winners": lambda p: share(p.win_rate),
        "share of time-outs": lambda p: share(p.timeout_share),
        "profit factor": lambda p: "no losses" if p.trades and p.profit_factor is None else number(p.profit_factor),
        "median hold": lambda p: seconds(p.median_hold_s),
        "largest drawdown": lambda p: share(p.drawdown if p.trades else None, 2),
        "longest drawdown": lambda p: seconds(p.drawdown_s if p.trades else None),
        "fees, USDT": lambda p: number(p.fees_usdt, 4),
        "funding, USDT": lambda p: number(p.funding_usdt, 4),
        "entries missed on both legs": lambda p: f"{p.missed}",
    }
)


def thinned(tape: Tape, start_ns: int, end_ns: int, period_s: float) -> Tape:
    """The last event of each period of [start, end); for the last period, the tape's last event."""
    ends = np.arange(start_ns, end_ns, round(period_s * NS))[1:]
    rows = np.append(np.maximum(np.searchsorted(tape.ts_ns, ends) - 1, 0), len(tape) - 1)
    return tape.take(rows)


def period_nets(tape: Tape, result: Backtest, start_ns: int, end_ns: int, period_s: float) -> np.ndarray:
    """Change of marked equity in each period of [start, end), USDT; the last one holds all that came after."""
    return np.diff(_curve(thinned(tape, start_ns, end_ns, period_s), result).net, prepend=0.0)


# --- The short's margin, and the inventory behind reverse pairs ----------------------------------------------------------


def distance(tape: Tape, trade: Trade, leg: LegRule) -> float:
    """How far the mid stayed below the liquidation price over a hold at least, a fraction of the mid; 0.0: it was hit.

    NaN for a pair that was never short, and where the maintenance rate is not known.
    """
    if leg.maintenance == 0.0 or trade.side < 0 or not trade.perp_in > 0.0:
        return float("nan")
    first, last = np.searchsorted(tape.ts_ns, (trade.opened_ns, trade.closed_ns), "right")
    held = tape.take(slice(max(first - 1, 0), max(last, 1)))
    highest = float(np.max(mid(held.perp_bid, held.perp_ask)))
    return max(float(liquidation_price(trade.perp_in, leg)) / highest - 1.0, 0.0)


class Inventory(NamedTuple):
    """Coins that are held on spot beside a short of the same size, for reverse pairs to sell: what the two earn untraded.

    They are there before the first pair and after the last one, so their capital and gains stand on lines of their own; a
    pair's net has only what the pair changes. Value of the coins at the first quotes and margin of their short, USDT; what
    the hedge earned until the last ones.

    `basis_usdt`: what coins and short changed in value together, at the sides at which both could be closed;
    `funding_usdt`: what the short received.
    """

    coins: float
    value_usdt: float
    margin_usdt: float
    basis_usdt: float
    funding_usdt: float

    @property
    def net_usdt(self) -> float:
        return self.basis_usdt + self.funding_usdt


def held(tape: Tape, coins: float, leverage: float, payments: Sequence[FundingPayment]) -> Inventory:
    """An inventory held over a whole tape, left alone."""
    (spot, perp), (spot_last, perp_last) = ([tape.book(leg, event) for leg in (SPOT, PERP)] for event in (0, -1))
    paid = [p.rate * p.mark for p in payments if tape.start_ns < p.ts_ns <= tape.end_ns]
    value, short = coins * mid(spot.bid, spot.ask), coins * mid(perp.bid, perp.ask)
    earned = (spot_last.bid - spot.bid) - (perp_last.ask - perp.ask)
    return Inventory(coins, value, short / leverage, coins * earned, coins * total(paid))
