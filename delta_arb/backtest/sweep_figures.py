"""Ended pairs in money, the figures that they come to, and the drawdown of their marked equity; compiled.

Money is what `ledger.money` says of the fills, figures are added up in the order of `performance.measure`, and the steps
of equity are those of `performance.equity`, so that all are the same to the bit. Between two steps a hedged pair moves
with the distance of both exits only; its least and greatest value per block of 32 events and per 32 blocks say what a
stretch may hold: neither a new peak nor a deeper fall, one of both, whose rows are then those of its extreme block, or
both; only then it is halved, down to blocks of which every row is looked at.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from delta_arb.backtest.fast_forward import FAN, NEAR, first_at
from delta_arb.funding_stamps import met_hole
from delta_arb.market import END, NEVER, NS, SPOT, TARGET, TIMEOUT, UNWOUND
from delta_arb.quotes.tape import Books
from delta_arb.strategy.ledger import funding, money, stamp_after

FIGURES = np.dtype(
    [(f"{name}_usdt", float) for name in ("net", "spot", "perp", "fees", "funding", "residual")]
    + [(f"{name}_usdt", float) for name in ("notional", "gains", "losses")]
    + [(name, float) for name in ("median_hold_s", "longest_hold_s", "drawdown", "drawdown_s")]
    + [(name, np.int32) for name in ("trades", "wins", "targets", "timeouts", "unwound", "missed", "censored")]
    + [(name, bool) for name in ("halted", "open_at_end")]
)


# Fills of the open pair, each with the first row of the tape that it was made before.
ROOM = np.dtype(
    [("pair", int), ("ts_ns", int), ("leg", int), ("qty", float), ("price", float), ("fee_usdt", float), ("row", int)]
)


class SetAccount(NamedTuple):
    """Where the pairs of a set go, one after the other; `fills` and `holds` are room that is used again and again.

    Equity is marked at the events of `marks`, returns are on `capital` (USDT). With an `until_ns` below `NEVER` pairs
    entered from then on, or cut off by the end of the tape, do not count. `payments` is the funding table, `holes` what it
    does not cover, shape (holes, 2). `nets` takes the marked net at the events of `marks`; empty where nobody asks.
    """

    figures: np.ndarray
    curve: np.ndarray
    nets: np.ndarray
    fills: np.ndarray
    holds: np.ndarray
    marks: "Marks"
    payments: np.ndarray
    holes: np.ndarray
    until_ns: int
    capital: float


def add_fill(account, made, row):
    """Keep a fill of the open pair, made before a row of the tape; of more than there is room for, only their number."""
    k = account.curve.fills
    if k < len(account.fills):
        f = account.fills[k]
        (f.pair, f.ts_ns, f.leg, f.qty, f.price, f.fee_usdt), f.row = made, row
    account.curve.fills += 1


def add_pair(account, closing, entered_ns, row):
    """Add an ended pair to the figures, one by one as `performance.measure` does, and forget its fills."""
    f, curve, fills, n = account.figures, account.curve, account.fills, account.curve.fills
    curve.fills = 0
    if n > len(fills):
        curve.most_fills = max(curve.most_fills, n)
        return
    if n > 0 and met_hole(account.holes, fills[0].ts_ns, fills[n - 1].ts_ns) >= 0:
        curve.hole = True
    if account.until_ns < NEVER and (entered_ns >= account.until_ns or closing.reason == END):
        return
    if n == 0:
        f.missed += 1
        return
    m = money(fills, 0, n, account.payments, closing.spot_mark, closing.perp_mark)
    hold_s = (fills[n - 1].ts_ns - fills[0].ts_ns) / NS
    f.net_usdt += m.net_usdt
    f.spot_usdt += m.spot_usdt
    f.perp_usdt += m.perp_usdt
    f.fees_usdt += m.fees_usdt
    f.funding_usdt += m.funding_usdt
    f.residual_usdt += m.residual_usdt
    f.notional_usdt += m.notional_usdt
    f.gains_usdt += max(0.0, m.net_usdt)
    f.losses_usdt -= min(0.0, m.net_usdt)
    f.longest_hold_s = hold_s if f.trades == 0 else max(f.longest_hold_s, hold_s)
    f.trades += 1
    if closing.reason == END:
        f.censored += 1
    else:
        account.holds[f.trades - f.censored - 1] = hold_s
        f.wins += m.net_usdt > 0.0
        f.targets += closing.reason == TARGET
        f.timeouts += closing.reason == TIMEOUT
        f.unwound += closing.reason == UNWOUND
    _mark(account, n, closing, row)


def close_account(account, halted, open_at_end):
    """Fill in what is known once all pairs are there."""
    f, holds, curve, marks = account.figures, account.holds, account.curve, account.marks
    n, past = f.trades - f.censored, len(marks.ts_ns)
    f.halted, f.open_at_end = halted, open_at_end and account.until_ns == NEVER
    f.median_hold_s = np.nan
    if f.trades == 0:
        f.longest_hold_s = np.nan
    if n > 0:
        f.median_hold_s = ranked(holds, n, n // 2)
        if n % 2 == 0:
            f.median_hold_s = (ranked(holds, n, n // 2 - 1) + f.median_hold_s) / 2
    _watch(account, past)
    if past - curve.peak_row > 1:
        curve.longest_ns = max(curve.longest_ns, marks.ts_ns[past - 1] - marks.ts_ns[curve.peak_row])
    f.drawdown, f.drawdown_s = curve.fall, curve.longest_ns / NS


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
    """The events at which equity is marked; `near` and `far` are of `prices`, or empty."""

    ts_ns: np.ndarray
    spot_row: np.ndarray
    perp_row: np.ndarray
    spot: Books
    perp: Books
    near: np.ndarray
    far: np.ndarray


@dataclass(slots=True)
class Curve:
    """What is held and paid at an event `row`, in the order of `performance.Equity`, and the drawdown until then.

    `peak` is the highest equity so far and `peak_row` the last event at it; the deepest fall, and the longest time below.
    And so many fills of the open pair, or of one for which there was no room; whether a pair met a hole of the funding table.
    `path` says when the machine stood how, `stands` how it stands (see `trace`).
    """

    spot_qty: float = 0.0
    spot_cash: float = 0.0
    perp_qty: float = 0.0
    perp_cash: float = 0.0
    fees: float = 0.0
    funding: float = 0.0
    residual: float = 0.0
    row: int = 0
    peak: float = -np.inf
    peak_row: int = -1
    fall: float = 0.0
    longest_ns: int = 0
    fills: int = 0
    most_fills: int = 0
    hole: bool = False
    path: int = 0
    stands: int = -1


def trace(curve, state, now_ns):
    """Take in what the machine does: two rules of the same `path` were flat, entered and left at the same events.

    A level only counts in comparisons with what a book pays. So a rule whose one level lies between those of two others of
    the same path goes that way as well: each comparison comes out as both of theirs.
    """
    flags = 8 * state.armed + 4 * state.reverse_armed + 2 * state.refusing + (state.side > 0)
    stands = 16 * state.phase + flags
    if stands != curve.stands:
        mixed = (curve.path ^ now_ns ^ (stands << 56)) * 0x1E3779B97F4A7C15
        curve.path, curve.stands = mixed ^ (mixed >> 29), stands


def _mark(account, n, closing, row):
    """Carry the curve through an ended pair: its fills, funding stamps and closing in the order of time, at equal times so."""
    fills, payments, curve = account.fills, account.payments, account.curve
    at, j, spot_left, perp_left = stamp_after(payments, fills[0].ts_ns), 0, 0.0, 0.0
    while j <= n:
        before_ns, usdt = fills[j].ts_ns if j < n else fills[n - 1].ts_ns + 1, 0.0
        paid = at < len(payments) and payments[at].ts_ns < before_ns
        if paid:
            usdt, _ = funding(fills, 0, n, payments[at : at + 1])
            ts_ns, at_row = payments[at].ts_ns, 0
            at += 1
            if usdt == 0.0:
                continue
        else:
            ts_ns, at_row = (fills[j].ts_ns, fills[j].row) if j < n else (closing.ts_ns, row)
        _reach(account, ts_ns, at_row)
        if paid:
            curve.funding += usdt
            continue
        if j < n:
            f = fills[j]
            curve.fees += f.fee_usdt
            if f.leg == SPOT:
                spot_left += f.qty
                curve.spot_qty += f.qty
                curve.spot_cash += -f.qty * f.price
            else:
                perp_left += f.qty
                curve.perp_qty += f.qty
                curve.perp_cash += -f.qty * f.price
        j += 1
    curve.spot_qty += -spot_left
    curve.perp_qty += -perp_left
    curve.residual += spot_left * closing.spot_mark + perp_left * closing.perp_mark


def _reach(account, ts_ns, row):
    """Carry the curve to the first event that is not before a time; `row` is that of the tape, often the same."""
    curve, stamps = account.curve, account.marks.ts_ns
    if not (curve.row < row < len(stamps) and stamps[row - 1] < ts_ns <= stamps[row]):
        row = first_at(stamps, curve.row, ts_ns)
    _watch(account, row)


def _watch(account, past):
    """Carry a curve through the events before `past`, between which nothing is traded."""
    marks, curve, capital = account.marks, account.curve, account.capital
    if curve.row >= past:
        return
    if account.nets.size > 0:
        spot, perp = _exits(marks, curve)
        for k in range(curve.row, past):
            account.nets[k] = _worth(curve, spot[marks.spot_row[k]], perp[marks.perp_row[k]], 0.0)
    if curve.spot_qty == 0.0 and curve.perp_qty == 0.0:  # nothing moves: the first event stands for all
        _look(marks, curve.row + 1, curve, capital)
        if curve.peak_row == curve.row - 1:
            curve.peak_row = past - 1
        curve.row = past
        return
    if curve.spot_qty * curve.perp_qty < 0.0 and marks.near.size > 0:
        _look(marks, min((curve.row + NEAR - 1) // NEAR * NEAR, past), curve, capital)
        size = past // NEAR
        while curve.row // NEAR < past // NEAR:
            size = min(size, past // NEAR - curve.row // NEAR)
            if _passed(marks, curve.row // NEAR + size, curve, capital):
                size *= 2
            elif size > 1:
                size //= 2
            else:
                _look(marks, curve.row + NEAR, curve, capital)
    _look(marks, past, curve, capital)


def _look(marks, past, curve, capital):
    """Carry a curve through the events before `past`, one by one."""
    spot, perp = _exits(marks, curve)
    spot_row, perp_row = marks.spot_row, marks.perp_row
    peak, peak_row, fall = curve.peak, curve.peak_row, curve.fall
    for k in range(curve.row, past):
        worth = _worth(curve, spot[spot_row[k]], perp[perp_row[k]], capital)
        if worth >= peak:
            if peak_row >= 0 and k - peak_row > 1:
                curve.longest_ns = max(curve.longest_ns, marks.ts_ns[k] - marks.ts_ns[peak_row])
            peak, peak_row = worth, k
        else:
            fall = max(fall, (peak - worth) / peak)
    curve.peak, curve.peak_row, curve.fall, curve.row = peak, peak_row, fall, max(curve.row, past)


def _exits(marks, curve):
    """The prices at which both legs could be left, of every book."""
    return (
        marks.spot.bid if curve.spot_qty >= 0.0 else marks.spot.ask,
        marks.perp.bid if curve.perp_qty >= 0.0 else marks.perp.ask,
    )


def _worth(curve, spot, perp, capital):
    spot_usdt, perp_usdt = curve.spot_cash + curve.spot_qty * spot, curve.perp_cash + curve.perp_qty * perp
    return capital + (spot_usdt + perp_usdt - curve.fees + curve.funding + curve.residual)


def _passed(marks, stop, curve, capital):
    """Carry the curve of a hedged pair from the block that it stands at towards the block `stop`, at one go; False: it cannot.

    The pair is worth what it was, less its spot quantity times the distance of both exits, and what its legs differ by at
    the perpetual's price. So blocks of the least and greatest distance say how high and how deep it may go.
    """
    side, block, past = 0 if curve.spot_qty > 0.0 else 4, curve.row // NEAR, stop * NEAR
    qty, odd, least, most = abs(curve.spot_qty), curve.spot_qty + curve.perp_qty, 0.0, 0.0
    if odd != 0.0:
        cheap, dear = _extent(marks, side + 2, block, stop)
        least, most = min(odd * cheap, odd * dear), max(odd * cheap, odd * dear)
    base = capital + (curve.spot_cash + curve.perp_cash - curve.fees + curve.funding + curve.residual)
    price = marks.far[side + 3, block // FAN]
    slack = 1e-11 * (capital + abs(curve.spot_cash) + abs(curve.perp_cash) + qty * abs(price))
    low, high = _extent(marks, side, block, stop)
    near = base - qty * low if side == 0 else base + qty * high  # at the best distance, with equal legs
    deep = base - qty * high if side == 0 else base + qty * low
    rises = near + most + slack >= curve.peak
    falls = deep + least - slack <= max(curve.peak, near + most + slack) * (1.0 - curve.fall)
    if curve.peak_row < 0 or (rises and falls):
        return False
    if not rises and not falls:
        curve.row = past
        return True
    waited = rises and marks.ts_ns[past - 1] - marks.ts_ns[curve.peak_row] > curve.longest_ns
    enough = curve.peak - most - slack if waited else near + least - most - 2.0 * slack
    level = enough if rises else -(deep + most - least + 2.0 * slack)
    # worth at the best distance of a block where it rises, else its worst negated, against that level
    if side == 0:
        of, sign = (side, -qty) if rises else (side + 1, qty)
    else:
        of, sign = (side + 1, qty) if rises else (side, -qty)
    start = base if rises else -base
    spot, perp = _exits(marks, curve)
    spot_row, perp_row = marks.spot_row, marks.perp_row
    top, top_row, bottom, k = -np.inf, -1, np.inf, block
    near_bound, far_bound = marks.near[of], marks.far[of]
    while k < stop:
        if k % FAN == 0 and k + FAN <= stop and start + sign * far_bound[k // FAN] < level:
            k += FAN
            continue
        if start + sign * near_bound[k] >= level:
            if waited:  # the first block that may be at the peak again says for how long it was below
                curve.row = k * NEAR
                _look(marks, curve.row + NEAR, curve, capital)
                return True
            for at in range(k * NEAR, (k + 1) * NEAR):
                worth = _worth(curve, spot[spot_row[at]], perp[perp_row[at]], capital)
                bottom = min(bottom, worth)
                if worth >= top:
                    top, top_row = worth, at
        k += 1
    if rises and top >= curve.peak:
        curve.peak, curve.peak_row = top, top_row
    if falls:
        curve.fall = max(curve.fall, (curve.peak - bottom) / curve.peak)
    curve.row = past
    return True


def _extent(marks, row, block, stop):
    """Least and greatest of a pair of bounds over some blocks."""
    low, high = np.inf, -np.inf
    while block < stop:
        far = block % FAN == 0 and block + FAN <= stop
        low = min(low, marks.far[row, block // FAN] if far else marks.near[row, block])
        high = max(high, marks.far[row + 1, block // FAN] if far else marks.near[row + 1, block])
        block += FAN if far else 1
    return low, high


def prices(tape, near, far):
    """Least and greatest, per block, of the distance of both exits and of the perpetual's: direct, then reverse.

    `near` and `far` are infinite before, the least up and the greatest down.
    """
    n = len(tape.ts_ns)
    for block in range(near.shape[1]):
        low0 = low2 = low4 = low6 = np.inf
        high0 = high2 = high4 = high6 = -np.inf
        for i in range(block * NEAR, min((block + 1) * NEAR, n)):
            s, p = tape.spot_row[i], tape.perp_row[i]
            direct, reverse = tape.perp.ask[p] - tape.spot.bid[s], tape.perp.bid[p] - tape.spot.ask[s]
            low0, high0 = min(low0, direct), max(high0, direct)
            low2, high2 = min(low2, tape.perp.ask[p]), max(high2, tape.perp.ask[p])
            low4, high4 = min(low4, reverse), max(high4, reverse)
            low6, high6 = min(low6, tape.perp.bid[p]), max(high6, tape.perp.bid[p])
        near[0, block], near[1, block], near[2, block], near[3, block] = low0, high0, low2, high2
        near[4, block], near[5, block], near[6, block], near[7, block] = low4, high4, low6, high6
        for row in range(0, 8, 2):
            far[row, block // FAN] = min(far[row, block // FAN], near[row, block])
            far[row + 1, block // FAN] = max(far[row + 1, block // FAN], near[row + 1, block])
