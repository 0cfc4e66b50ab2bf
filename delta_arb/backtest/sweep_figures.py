"""Ended pairs in money, and the figures that many of them come to; compiled, for the sweep.

Money is what `ledger.money` says of the fills, figures are added up in the order of `performance.measure`, and the steps
of equity are those of `performance.equity`, so that all are the same to the bit.
"""

from typing import NamedTuple

import numpy as np

from delta_arb.market import NS, SPOT, TARGET, TIMEOUT, UNWOUND
from delta_arb.strategy.ledger import funding, money, stamp_after

FIGURES = np.dtype(
    [(f"{name}_usdt", float) for name in ("net", "spot", "perp", "fees", "funding", "residual")]
    + [(f"{name}_usdt", float) for name in ("notional", "gains", "losses")]
    + [(name, float) for name in ("median_hold_s", "longest_hold_s", "drawdown", "drawdown_s")]
    + [(name, np.int32) for name in ("trades", "wins", "targets", "timeouts", "unwound", "missed")]
    + [(name, bool) for name in ("halted", "open_at_end")]
)


class Deal(NamedTuple):
    """An ended pair in money (see `ledger.money`), the numbers of its steps, and whether it met a hole of the funding table.

    `hold_s` is -1 where nothing was filled.
    """

    net_usdt: float
    spot_usdt: float
    perp_usdt: float
    fees_usdt: float
    funding_usdt: float
    residual_usdt: float
    notional_usdt: float
    hold_s: float
    reason: int
    first: int
    past: int
    hole: bool


class Step(NamedTuple):
    """What a fill, a funding stamp or the end of a pair changes of what is held and paid (see `performance.Equity`)."""

    ts_ns: int
    spot_qty: float
    spot_cash: float
    perp_qty: float
    perp_cash: float
    fees: float
    funding: float
    residual: float


def add_deal(payments, holes, routes, fills, closing):
    """The number of an ended pair, whose fills are in the order of time."""
    first, n, hole = len(routes.steps), len(fills), False
    if n == 0:
        routes.deals.append(Deal(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, closing.reason, first, first, False))
        return len(routes.deals) - 1
    m = money(fills, 0, n, payments, closing.spot_mark, closing.perp_mark)
    for k in range(len(holes)):
        hole = hole or (fills[0].ts_ns < holes[k, 1] and fills[n - 1].ts_ns > holes[k, 0])
    _add_steps(routes, fills, payments, closing)
    routes.deals.append(
        Deal(
            m.net_usdt, m.spot_usdt, m.perp_usdt, m.fees_usdt, m.funding_usdt, m.residual_usdt, m.notional_usdt,
            (fills[n - 1].ts_ns - fills[0].ts_ns) / NS, closing.reason, first, len(routes.steps), hole,
        )
    )  # fmt: skip
    return len(routes.deals) - 1


def _add_steps(routes, fills, payments, closing):
    """Of fills, funding stamps and the closing, in the order of time; at equal times as named."""
    n, at, spot_left, perp_left = len(fills), stamp_after(payments, fills[0].ts_ns), 0.0, 0.0
    for j in range(n + 1):
        before_ns = fills[j].ts_ns if j < n else fills[n - 1].ts_ns + 1
        while at < len(payments) and payments[at].ts_ns < before_ns:
            usdt, _ = funding(fills, 0, n, payments[at : at + 1])
            if usdt != 0.0:
                routes.steps.append(Step(payments[at].ts_ns, 0.0, 0.0, 0.0, 0.0, 0.0, usdt, 0.0))
            at += 1
        if j < n:
            f, cash = fills[j], -fills[j].qty * fills[j].price
            if f.leg == SPOT:
                spot_left += f.qty
                routes.steps.append(Step(f.ts_ns, f.qty, cash, 0.0, 0.0, f.fee_usdt, 0.0, 0.0))
            else:
                perp_left += f.qty
                routes.steps.append(Step(f.ts_ns, 0.0, 0.0, f.qty, cash, f.fee_usdt, 0.0, 0.0))
    residual = spot_left * closing.spot_mark + perp_left * closing.perp_mark
    routes.steps.append(Step(closing.ts_ns, -spot_left, 0.0, -perp_left, 0.0, 0.0, 0.0, residual))


def tell(f, deals, kept):
    """Money and counts of some deals, added up one by one as `performance.measure` does."""
    holds = np.empty(len(kept))
    net = spot = perp = fees = funded = residual = notional = gains = losses = 0.0
    trades = wins = targets = timeouts = unwound = missed = 0
    for k in kept:
        d = deals[k]
        if d.hold_s < 0.0:
            missed += 1
            continue
        net += d.net_usdt
        spot += d.spot_usdt
        perp += d.perp_usdt
        fees += d.fees_usdt
        funded += d.funding_usdt
        residual += d.residual_usdt
        notional += d.notional_usdt
        gains += max(0.0, d.net_usdt)
        losses += min(0.0, d.net_usdt)
        wins += d.net_usdt > 0.0
        targets += d.reason == TARGET
        timeouts += d.reason == TIMEOUT
        unwound += d.reason == UNWOUND
        holds[trades] = d.hold_s
        trades += 1
    f.net_usdt, f.spot_usdt, f.perp_usdt, f.fees_usdt, f.funding_usdt = net, spot, perp, fees, funded
    f.residual_usdt, f.notional_usdt, f.gains_usdt, f.losses_usdt = residual, notional, gains, -losses
    f.trades, f.wins, f.targets, f.timeouts, f.unwound, f.missed = trades, wins, targets, timeouts, unwound, missed
    f.longest_hold_s, f.median_hold_s = np.nan, np.nan
    if trades > 0:
        f.longest_hold_s = ranked(holds, trades, trades - 1)
        f.median_hold_s = ranked(holds, trades, trades // 2)
        if trades % 2 == 0:
            f.median_hold_s = (ranked(holds, trades, trades // 2 - 1) + f.median_hold_s) / 2


def ranked(values, n, rank):
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
