"""Marked equity of many replays, compiled: the drawdown of each without looking at every event.

The steps are those of `performance.equity`, added in the same order, so the figures are the same to the bit. Between
two steps a hedged pair moves with the distance of both exits only; its least and greatest value per block of 64 events
and per 64 blocks say whether a block may hold a new peak or a deeper fall. Only such blocks are looked at.
"""

from typing import NamedTuple

import numpy as np

from .jump import FAR, NEAR, first_at
from .ledger import funding
from .market import NS, SPOT
from .pair import NEVER


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


def segment(fills, at, past, pair):
    """The fills of a pair, first and past; they lie together, behind those of the pairs before."""
    while at < past and fills[at].pair < pair:
        at += 1
    first = at
    while at < past and fills[at].pair == pair:
        at += 1
    return first, at


def mark(figures, k, fills, past, closings, payments, marks, capital):
    """Drawdown of the marked equity of set k: the steps of `performance.equity`, in its order, and what is between."""
    ts_ns, steps, stamped = _steps(fills, past, closings, payments)
    held, under, at = Held(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), Under(-np.inf, -1, 0, 0.0, 0), 0
    filled, paid, closed = 0, past, stamped
    for _ in range(len(ts_ns)):  # at equal times fills, then funding, then closings
        filled_ns = ts_ns[filled] if filled < past else NEVER
        paid_ns = ts_ns[paid] if paid < stamped else NEVER
        closed_ns = ts_ns[closed] if closed < len(ts_ns) else NEVER
        if filled_ns <= min(paid_ns, closed_ns):
            j, filled = filled, filled + 1
        elif paid_ns <= closed_ns:
            j, paid = paid, paid + 1
        else:
            j, closed = closed, closed + 1
        change = first_at(marks.ts_ns, at, ts_ns[j])
        under = _watched(marks, at, change, held, capital, under)
        at, s = change, steps[j]
        held = Held(
            held.spot_qty + s[0], held.spot_cash + s[1], held.perp_qty + s[2], held.perp_cash + s[3],
            held.fees + s[4], held.funding + s[5], held.residual + s[6],
        )  # fmt: skip
    n = len(marks.ts_ns)
    under = _watched(marks, at, n, held, capital, under)
    if n - under.at > 1:
        under = _back(marks.ts_ns[n - 1], under)
    figures[k].drawdown, figures[k].drawdown_s = under.fall, under.longest_ns / NS


def _steps(fills, past, closings, payments):
    """Times and changes (`Held`) of every fill, then funding stamp, then closing; and where the closings begin."""
    rows = np.zeros((past + len(closings) * (1 + len(payments)), 7))
    ts_ns = np.empty(len(rows), np.int64)
    for j in range(past):
        f, cash = fills[j], -fills[j].qty * fills[j].price
        ts_ns[j], rows[j, 4] = f.ts_ns, f.fee_usdt
        rows[j, 0 if f.leg == SPOT else 2], rows[j, 1 if f.leg == SPOT else 3] = f.qty, cash
    n, at = past, 0
    while at < past:
        first, at = segment(fills, at, past, fills[at].pair)
        for p in range(len(payments)):
            usdt, _ = funding(fills, first, at, payments[p : p + 1])
            if usdt != 0.0:
                ts_ns[n], rows[n, 5] = payments[p].ts_ns, usdt
                n += 1
    at, stamped = 0, n
    for c in closings:
        first, at = segment(fills, at, past, c.pair)
        for j in range(first, at):
            rows[n, 0 if fills[j].leg == SPOT else 2] += fills[j].qty
        rows[n, 6] = rows[n, 0] * c.spot_mark + rows[n, 2] * c.perp_mark
        rows[n, 0], rows[n, 2], ts_ns[n] = -rows[n, 0], -rows[n, 2], c.ts_ns
        n += 1
    return ts_ns[:n], rows[:n], stamped


def _watched(marks, at, past, held, capital, under):
    """The drawdown after the events `at` to `past`, between which nothing was traded."""
    if at == past:
        return under
    if held.spot_qty == 0.0 and held.perp_qty == 0.0:  # nothing moves: the first event stands for all
        worth, ts_ns = _worth(held, 0.0, 0.0, capital), marks.ts_ns
        under = _seen(at, ts_ns[at], worth, under)
        if worth >= under.peak:
            under = Under(under.peak, past - 1, ts_ns[past - 1], under.fall, under.longest_ns)
        return under
    spot = marks.spot_bid if held.spot_qty >= 0.0 else marks.spot_ask
    perp = marks.perp_bid if held.perp_qty >= 0.0 else marks.perp_ask
    paired = held.spot_qty * held.perp_qty < 0.0
    side = 0 if held.spot_qty > 0.0 else 4
    ts_ns, near, far = marks.ts_ns, marks.near, marks.far
    known = paired and near.shape[1] > 0
    while at < past:
        if known and at % NEAR == 0 and at + NEAR <= past:
            block = at // FAR
            if (
                at % FAR == 0
                and at + FAR <= past
                and _dull(
                    far[side, block],
                    far[side + 1, block],
                    far[side + 2, block],
                    far[side + 3, block],
                    held,
                    capital,
                    under,
                )
            ):
                at += FAR
                continue
            block = at // NEAR
            if _dull(
                near[side, block], near[side + 1, block], near[side + 2, block], near[side + 3, block],
                held, capital, under,
            ):  # fmt: skip
                at += NEAR
                continue
        under = _seen(at, ts_ns[at], _worth(held, spot[at], perp[at], capital), under)
        at += 1
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


def _dull(narrow, wide, cheap, dear, held, capital, under):
    """Whether a block can hold neither a new peak nor a deeper fall.

    The pair is worth what it was, less its spot quantity times the distance of both exits (`narrow` to `wide`), and
    what its legs differ by at the perpetual's price (from `cheap` to `dear`).
    """
    base = capital + (held.spot_cash + held.perp_cash - held.fees + held.funding + held.residual)
    near, away = -held.spot_qty * narrow, -held.spot_qty * wide
    odd = held.spot_qty + held.perp_qty
    slack = 1e-12 * (capital + abs(held.spot_cash) + abs(held.perp_cash) + abs(held.spot_qty) * abs(dear))
    high = base + max(near, away) + max(odd * cheap, odd * dear) + slack
    low = base + min(near, away) + min(odd * cheap, odd * dear) - slack
    return high < under.peak and (under.peak - low) / under.peak <= under.fall


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


REACHED = (mark, segment, _steps, _watched, _worth, _seen, _back, _dull)
