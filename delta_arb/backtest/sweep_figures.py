"""Ended pairs in money, the figures that they come to, and the drawdown of their marked equity; compiled.

Money is what `ledger.money` says of the fills, figures are added up in the order of `performance.measure`, and the steps
of equity are those of `performance.equity`, so that all are the same to the bit. Between two steps a hedged pair moves
with what leaving both legs costs; the least and greatest of that per block of 32 events and per 32 blocks say what a
stretch may hold: a fall below the peak before it, a new peak, or neither, and in which block. Only where it falls behind
a new peak it is halved, down to blocks of which every row is looked at.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from delta_arb.backtest.fast_forward import ALIKE, FAR, NEAR, exits, first_at, reaching, span_of
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


SHORT = 2 * NEAR  # of so few events each is looked at


class SetAccount(NamedTuple):
    """Where the pairs of a set go, one after the other; `fills`, `holds` and `spans` are room that is used again and again.

    Equity is marked at the events of `marks`, returns are on `capital` (USDT). With an `until_ns` below `NEVER` pairs
    entered from then on, or cut off by the end of the tape, do not count. `payments` is the funding table, `holes` what it
    does not cover, shape (holes, 2). `nets` takes the marked net at the events of `marks`; empty where nobody asks.
    """

    figures: np.ndarray
    curve: np.ndarray
    nets: np.ndarray
    fills: np.ndarray
    holds: np.ndarray
    spans: np.ndarray
    marks: "Marks"
    payments: np.ndarray
    holes: np.ndarray
    until_ns: int
    capital: float


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
    fills, payments, curve, stamps = account.fills, account.payments, account.curve, account.marks.ts_ns
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
        if not (curve.row < at_row < len(stamps) and stamps[at_row - 1] < ts_ns <= stamps[at_row]):
            at_row = first_at(stamps, curve.row, ts_ns)  # that of the tape is often the same
        _watch(account, at_row)
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


def _watch(account, past):
    """Carry a curve through the events before `past`, between which nothing is traded."""
    marks, curve, capital = account.marks, account.curve, account.capital
    if curve.row >= past:
        return
    if account.nets.size > 0:
        spot, perp = exits(marks, curve.spot_qty, curve.perp_qty)
        for k in range(curve.row, past):
            account.nets[k] = _worth(curve, spot[marks.spot_row[k]], perp[marks.perp_row[k]], 0.0)
    flat, bounded = curve.spot_qty == curve.perp_qty == 0.0, marks.near.size > 0 and past - curve.row > SHORT
    bounded = bounded and curve.spot_qty * curve.perp_qty < 0.0
    size = 1 if flat else past - curve.row
    while curve.row < past:
        stop = min(curve.row + size, past)
        if bounded and stop < past:
            stop = max(stop // NEAR, curve.row // NEAR + 1) * NEAR
        size = stop - curve.row
        if bounded and _passed(account, stop):
            size *= 2
        elif bounded and size > NEAR:
            size //= 2
        else:
            _look(marks, stop, curve, capital)
            if flat:  # nothing moves: the first event stands for all
                curve.peak_row = past - 1 if curve.peak_row == stop - 1 else curve.peak_row
                curve.row = past


def _look(marks, past, curve, capital):
    """Carry a curve through the events before `past`, one by one."""
    spot, perp = exits(marks, curve.spot_qty, curve.perp_qty)
    spot_row, perp_row = marks.spot_row, marks.perp_row
    peak, peak_row, bottom = curve.peak, curve.peak_row, np.inf
    for k in range(curve.row, past):
        worth = _worth(curve, spot[spot_row[k]], perp[perp_row[k]], capital)
        if worth >= peak:
            if peak_row >= 0 and k - peak_row > 1:
                curve.longest_ns = max(curve.longest_ns, marks.ts_ns[k] - marks.ts_ns[peak_row])
            peak, peak_row, bottom = worth, k, np.inf
        elif worth < bottom:
            bottom, curve.fall = worth, max(curve.fall, (peak - worth) / peak)
    curve.peak, curve.peak_row, curve.row = peak, peak_row, past


def _worth(curve, spot, perp, capital):
    spot_usdt, perp_usdt = curve.spot_cash + curve.spot_qty * spot, curve.perp_cash + curve.perp_qty * perp
    return capital + (spot_usdt + perp_usdt - curve.fees + curve.funding + curve.residual)


def _passed(account, stop):
    """Carry the curve of a hedged pair from the event that it stands at to the event `stop`, at one go; False: it cannot.

    The pair is worth what it was, less its spot quantity times what leaving costs, and what its legs differ by at the
    perpetual's price. So the costs say how high and how deep it may go, and which blocks may hold that.
    """
    marks, curve, capital, start = account.marks, account.curve, account.capital, account.curve.row
    side, qty, odd = 0 if curve.spot_qty > 0.0 else 2, abs(curve.spot_qty), curve.spot_qty + curve.perp_qty
    span, blocks = span_of(marks, account.spans, side, start, stop), (stop + FAR - 1) // FAR
    price = marks.far[side + 5, start // FAR]
    cheap = dear = price
    for block in range(start // FAR if odd != 0.0 else blocks, blocks):
        cheap, dear = min(cheap, marks.far[side + 4, block]), max(dear, marks.far[side + 5, block])
    least, most = min(odd * cheap, odd * dear), max(odd * cheap, odd * dear)
    base = capital + (curve.spot_cash + curve.perp_cash - curve.fees + curve.funding + curve.residual)
    slack = 1e-11 * (capital + abs(curve.spot_cash) + abs(curve.perp_cash) + qty * price)
    unsure, to_rise = most - least + 2.0 * slack, (base + most + slack - curve.peak) / qty
    known, rises, worse = unsure <= qty * ALIKE * price, span.low <= to_rise, span.worse
    if curve.peak_row < 0:
        return False
    if curve.peak - base + qty * span.high - least + slack >= curve.peak * curve.fall:
        if (span.before if known else span.low) <= to_rise:
            return False
        first, past = (span.high_from, span.high_to) if known else (start, stop)
        bottom, _, _ = _extremes(account, side + 1, span.high - unsure / qty, first, past)
        curve.fall, worse = max(curve.fall, (curve.peak - bottom) / curve.peak), span.after
    if rises:
        if qty * worse + unsure >= curve.peak * curve.fall:
            return False
        k = start  # the first block that may be at the peak again says for how long it was below
        while marks.ts_ns[stop - 1] - marks.ts_ns[curve.peak_row] > curve.longest_ns and k < stop:
            k = reaching(marks, side, (curve.peak - base - most - slack) / qty, k, stop)
            if k < stop:
                curve.row, k = k, min((k // NEAR + 1) * NEAR, stop)
                _look(marks, k, curve, capital)
        first, past = (max(k, span.low_from), span.low_to) if known else (k, stop)
        _, top, top_row = _extremes(account, side, -span.low - unsure / qty, first, past)
        if top >= curve.peak:
            curve.peak, curve.peak_row = top, top_row
    curve.row = stop
    return True


def _extremes(account, row, level, k, past):
    """The least worth, the greatest and its last event, of blocks that reach a level (see `reaching`)."""
    marks, curve, capital = account.marks, account.curve, account.capital
    spot, perp = exits(marks, curve.spot_qty, curve.perp_qty)
    bottom, top, top_row = np.inf, -np.inf, -1
    while k < past:
        k = reaching(marks, row, level, k, past)
        for at in range(k, min((k // NEAR + 1) * NEAR, past)):
            worth = _worth(curve, spot[marks.spot_row[at]], perp[marks.perp_row[at]], capital)
            bottom = min(bottom, worth)
            if worth >= top:
                top, top_row = worth, at
        k = (k // NEAR + 1) * NEAR
    return bottom, top, top_row
