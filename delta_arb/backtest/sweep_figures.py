"""Ended pairs in money, the figures that many of them come to, and the drawdown of their marked equity; compiled.

Money is what `ledger.money` says of the fills, figures are added up in the order of `performance.measure`, and the steps
of equity are those of `performance.equity`, so that all are the same to the bit. Between two steps a hedged pair moves
with the distance of both exits only; its least and greatest value per block of 64 events and per 64 blocks say whether a
block may hold a new peak or a deeper fall. Only such blocks are looked at.
"""

from typing import NamedTuple

import numpy as np

from delta_arb.backtest.fast_forward import FAR, NEAR, first_at
from delta_arb.market import END, NS, SPOT, TARGET, TIMEOUT, UNWOUND
from delta_arb.strategy.ledger import funding, money, stamp_after

FIGURES = np.dtype(
    [(f"{name}_usdt", float) for name in ("net", "spot", "perp", "fees", "funding", "residual")]
    + [(f"{name}_usdt", float) for name in ("notional", "gains", "losses")]
    + [(name, float) for name in ("median_hold_s", "longest_hold_s", "drawdown", "drawdown_s")]
    + [(name, np.int32) for name in ("trades", "wins", "targets", "timeouts", "unwound", "missed", "censored")]
    + [(name, bool) for name in ("halted", "open_at_end")]
)


class Deal(NamedTuple):
    """An ended pair in money (see `ledger.money`), the numbers of its steps; `hold_s` is -1 where nothing was filled."""

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


NO_DEAL = Deal(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0, 0, 0)
NO_STEP = Step(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def add_deal(payments, deals, steps, fills, closing):
    """Append an ended pair, whose fills are in the order of time, and its steps."""
    first, n = len(steps), len(fills)
    if n == 0:
        deals.append(Deal(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, closing.reason, first, first))
        return
    m = money(fills, 0, n, payments, closing.spot_mark, closing.perp_mark)
    _add_steps(steps, fills, payments, closing)
    deals.append(
        Deal(
            m.net_usdt, m.spot_usdt, m.perp_usdt, m.fees_usdt, m.funding_usdt, m.residual_usdt, m.notional_usdt,
            (fills[n - 1].ts_ns - fills[0].ts_ns) / NS, closing.reason, first, len(steps),
        )
    )  # fmt: skip


def _add_steps(steps, fills, payments, closing):
    """Of fills, funding stamps and the closing, in the order of time; at equal times as named."""
    n, at, spot_left, perp_left = len(fills), stamp_after(payments, fills[0].ts_ns), 0.0, 0.0
    for j in range(n + 1):
        before_ns = fills[j].ts_ns if j < n else fills[n - 1].ts_ns + 1
        while at < len(payments) and payments[at].ts_ns < before_ns:
            usdt, _ = funding(fills, 0, n, payments[at : at + 1])
            if usdt != 0.0:
                steps.append(Step(payments[at].ts_ns, 0.0, 0.0, 0.0, 0.0, 0.0, usdt, 0.0))
            at += 1
        if j < n:
            f, cash = fills[j], -fills[j].qty * fills[j].price
            if f.leg == SPOT:
                spot_left += f.qty
                steps.append(Step(f.ts_ns, f.qty, cash, 0.0, 0.0, f.fee_usdt, 0.0, 0.0))
            else:
                perp_left += f.qty
                steps.append(Step(f.ts_ns, 0.0, 0.0, f.qty, cash, f.fee_usdt, 0.0, 0.0))
    residual = spot_left * closing.spot_mark + perp_left * closing.perp_mark
    steps.append(Step(closing.ts_ns, -spot_left, 0.0, -perp_left, 0.0, 0.0, 0.0, residual))


def tell(f, deals):
    """Money and counts of all deals, added up one by one as `performance.measure` does."""
    holds, longest = np.empty(len(deals)), np.nan
    net = spot = perp = fees = funded = residual = notional = gains = losses = 0.0
    trades = wins = targets = timeouts = unwound = missed = censored = ended = 0
    for d in deals:
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
        trades += 1
        longest = d.hold_s if trades == 1 else max(longest, d.hold_s)
        if d.reason == END:
            censored += 1
            continue
        wins += d.net_usdt > 0.0
        targets += d.reason == TARGET
        timeouts += d.reason == TIMEOUT
        unwound += d.reason == UNWOUND
        holds[ended] = d.hold_s
        ended += 1
    f.net_usdt, f.spot_usdt, f.perp_usdt, f.fees_usdt, f.funding_usdt = net, spot, perp, fees, funded
    f.residual_usdt, f.notional_usdt, f.gains_usdt, f.losses_usdt = residual, notional, gains, -losses
    f.trades, f.wins, f.targets, f.timeouts, f.unwound, f.missed = trades, wins, targets, timeouts, unwound, missed
    f.censored = censored
    f.longest_hold_s, f.median_hold_s = longest, np.nan
    if ended > 0:
        f.median_hold_s = ranked(holds, ended, ended // 2)
        if ended % 2 == 0:
            f.median_hold_s = (ranked(holds, ended, ended // 2 - 1) + f.median_hold_s) / 2


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


# --- Marked equity ---------------------------------------------------------------------------------------------------


class Marks(NamedTuple):
    """The events at which equity is marked; `near` and `far` as in `jump.Looks`, of the prices of `extremes`."""

    ts_ns: np.ndarray
    spot_bid: np.ndarray
    spot_ask: np.ndarray
    perp_bid: np.ndarray
    perp_ask: np.ndarray
    near: np.ndarray
    far: np.ndarray


class Under(NamedTuple):
    """A running drawdown: highest equity so far, the last event at it; deepest fall and longest time below a peak."""

    peak: float
    at: int
    at_ns: int
    fall: float
    longest_ns: int


class Held(NamedTuple):
    """Sums since the beginning, in the order of `performance.Equity`."""

    spot_qty: float
    spot_cash: float
    perp_qty: float
    perp_cash: float
    fees: float
    funding: float
    residual: float


def mark(figures, deals, steps, marks, capital):
    """Drawdown of the marked equity of some deals, in their order: the steps of `performance.equity`, and what is between."""
    held, under, at = Held(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), Under(-np.inf, -1, 0, 0.0, 0), 0
    past = len(marks.ts_ns)
    for d in deals:
        for j in range(d.first, d.past):
            s = steps[j]
            change = first_at(marks.ts_ns, at, s.ts_ns)
            if change > at:
                under = _watched(marks, at, change, held, capital, under)
            at = change
            held = Held(
                held.spot_qty + s.spot_qty, held.spot_cash + s.spot_cash, held.perp_qty + s.perp_qty,
                held.perp_cash + s.perp_cash, held.fees + s.fees, held.funding + s.funding, held.residual + s.residual,
            )  # fmt: skip
    if past > at:
        under = _watched(marks, at, past, held, capital, under)
    if past - under.at > 1:
        under = _back(marks.ts_ns[past - 1], under)
    figures.drawdown, figures.drawdown_s = under.fall, under.longest_ns / NS


def _watched(marks, at, past, held, capital, under):
    """The drawdown after the events `at` to `past`, of which there are some, and between which nothing was traded."""
    ts_ns = marks.ts_ns
    if held.spot_qty == 0.0 and held.perp_qty == 0.0:  # nothing moves: the first event stands for all
        worth = _worth(held, 0.0, 0.0, capital)
        under = _seen(at, ts_ns[at], worth, under)
        if worth >= under.peak:
            under = Under(under.peak, past - 1, ts_ns[past - 1], under.fall, under.longest_ns)
        return under
    spot = marks.spot_bid if held.spot_qty >= 0.0 else marks.spot_ask
    perp = marks.perp_bid if held.perp_qty >= 0.0 else marks.perp_ask
    known = held.spot_qty * held.perp_qty < 0.0 and marks.near.size > 0
    ahead = known and past - at > 8 * NEAR
    while at < past:
        if ahead and at % NEAR == 0:
            ahead, deepest = False, _deepest(marks, at, past, held, capital, under)
            for k in range(deepest, deepest + NEAR if deepest >= 0 else deepest):
                under = _seen(k, ts_ns[k], _worth(held, spot[k], perp[k], capital), under)
        if known and at % NEAR == 0:
            at = _dull_until(marks, at, past, held, capital, under)
        stop = min((at // NEAR + 1) * NEAR, past)
        for k in range(at, stop):
            under = _seen(k, ts_ns[k], _worth(held, spot[k], perp[k], capital), under)
        at = stop
    return under


def _worth(held, spot, perp, capital):
    spot_usdt, perp_usdt = held.spot_cash + held.spot_qty * spot, held.perp_cash + held.perp_qty * perp
    return capital + (spot_usdt + perp_usdt - held.fees + held.funding + held.residual)


def _seen(at, at_ns, worth, under):
    if worth >= under.peak:
        if under.at >= 0 and at - under.at > 1:
            under = _back(at_ns, under)
        return Under(worth, at, at_ns, under.fall, under.longest_ns)
    fall = max(under.fall, (under.peak - worth) / under.peak)
    return Under(under.peak, under.at, under.at_ns, fall, under.longest_ns)


def _back(at_ns, under):
    return Under(under.peak, under.at, under.at_ns, under.fall, max(under.longest_ns, at_ns - under.at_ns))


def _dull_until(marks, at, past, held, capital, under):
    """The beginning of the first block, from that at `at` on, that may hold a new peak or a deeper fall."""
    near, far, side = marks.near, marks.far, 0 if held.spot_qty > 0.0 else 4
    while at + NEAR <= past:
        stop = min((at // FAR + 1) * FAR, past)
        least, most = _bounds(far[side + 2, at // FAR], far[side + 3, at // FAR], held, capital, under)
        if at % FAR == 0 and at + FAR <= past and least < far[side, at // FAR] and far[side + 1, at // FAR] < most:
            at += FAR
            continue
        while at + NEAR <= stop and least < near[side, at // NEAR] and near[side + 1, at // NEAR] < most:
            at += NEAR
        if at < stop:
            break
    return at


def _deepest(marks, at, past, held, capital, under):
    """Of the blocks before the first one that may hold a new peak, the beginning of that which falls deepest, or -1.

    Below one and the same peak the order of the falls does not matter; with the deepest known first, the others are dull.
    """
    side, deepest, depth = 0 if held.spot_qty > 0.0 else 4, -1, -np.inf
    while at + NEAR <= past:
        block, stop = at // FAR, min((at // FAR + 1) * FAR, past)
        least, most = _bounds(marks.far[side + 2, block], marks.far[side + 3, block], held, capital, under)
        peakless, falls = _reach(marks.far, side, block, least, most)
        if at % FAR == 0 and at + FAR <= past and peakless and falls <= depth:
            at += FAR
            continue
        while at + NEAR <= stop:
            peakless, falls = _reach(marks.near, side, at // NEAR, least, most)
            if not peakless:
                return deepest
            if falls > depth:
                deepest, depth = at, falls
            at += NEAR
    return deepest


def _reach(bounds, side, block, least, most):
    """Whether a block holds no new peak, and how deep it falls."""
    narrow, wide = bounds[side, block], bounds[side + 1, block]
    return (least < narrow, wide) if side == 0 else (wide < most, -narrow)


def _bounds(cheap, dear, held, capital, under):
    """Between which distances of both exits a hedged pair is neither at a new peak nor deeper below one than before.

    It is worth what it was, less its spot quantity times the distance, and what its legs differ by at the perpetual's
    price, which is from `cheap` to `dear`.
    """
    base = capital + (held.spot_cash + held.perp_cash - held.fees + held.funding + held.residual)
    odd = held.spot_qty + held.perp_qty
    slack = capital + abs(held.spot_cash) + abs(held.perp_cash) + abs(held.spot_qty) * abs(dear)
    at_peak = (base - under.peak + max(odd * cheap, odd * dear) + 1e-12 * slack) / held.spot_qty
    floor = under.peak - under.fall * under.peak
    at_floor = (base - floor + min(odd * cheap, odd * dear) - 1e-12 * slack) / held.spot_qty
    return (at_peak, at_floor) if held.spot_qty > 0.0 else (at_floor, at_peak)


def prices(tape):
    """Least and greatest, per block, of the distance of both exits and of the perpetual's: direct, then reverse."""
    n = len(tape.ts_ns)
    near = np.full((8, (n + NEAR - 1) // NEAR), np.inf)
    far = np.full((8, (n + FAR - 1) // FAR), np.inf)
    for bounds in (near, far):
        bounds[1::2] = -np.inf
    for block in range(near.shape[1]):
        low0 = low2 = low4 = low6 = np.inf
        high0 = high2 = high4 = high6 = -np.inf
        for i in range(block * NEAR, min((block + 1) * NEAR, n)):
            direct, reverse = tape.perp_ask[i] - tape.spot_bid[i], tape.perp_bid[i] - tape.spot_ask[i]
            low0, high0 = min(low0, direct), max(high0, direct)
            low2, high2 = min(low2, tape.perp_ask[i]), max(high2, tape.perp_ask[i])
            low4, high4 = min(low4, reverse), max(high4, reverse)
            low6, high6 = min(low6, tape.perp_bid[i]), max(high6, tape.perp_bid[i])
        for row, value in enumerate((low0, high0, low2, high2, low4, high4, low6, high6)):
            near[row, block], so_far = value, far[row, block // NEAR]
            far[row, block // NEAR] = min(so_far, value) if row % 2 == 0 else max(so_far, value)
    return near, far
