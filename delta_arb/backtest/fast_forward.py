"""Where the pair machine need not look: the first row of a tape that shows what it waits for (see `strategy.waiting`).

To find the rows fast, the extremes of the signals are kept for every block of 32 rows and for every 32 blocks; they are made
by the very formulas that the rows are tested with, so a block that cannot reach a level holds no row that does, to the last
bit.
"""

from typing import NamedTuple

import numpy as np

from delta_arb.market import SPOT, Book, entry_edge, exit_cost
from delta_arb.strategy.waiting import CHEAP, DIRECT_HIGH, MID, REVERSE_HIGH, REVERSE_LOW

NEAR = 32  # rows of a block
FAN = 32  # blocks of a far one
FAR = FAN * NEAR
SIGNALS = 6  # of `waiting`


class Looks(NamedTuple):
    """What is known of a tape before any rule, for each way (a filter and an expected funding) that rules of it look at it.

    `shift`, of shape (ways, n), is what the way adds to edges and costs at every row, or (1, 1) and zero; `near` and `far`,
    of shape (ways, signals, blocks), the extremes of the signals, without blocks where every row is to be looked at.
    `sought` is what a sweep keeps of its sets' seeks (see `_known`), None where there is one set only.
    """

    shift: np.ndarray
    near: np.ndarray
    far: np.ndarray
    sought: np.ndarray | None = None


def book_at(tape, leg, i):
    """A leg's book at a row."""
    books, row = (tape.spot, tape.spot_row[i]) if leg == SPOT else (tape.perp, tape.perp_row[i])
    return Book(books.bid[row], books.ask[row], books.bid_qty[row], books.ask_qty[row], books.fresh_ns[row])


def shift_at(shift, way, i):
    """What the filter adds to a raw edge or cost at a row."""
    return shift[way, min(i, shift.shape[1] - 1)]


# --- Where that is on the tape ----------------------------------------------------------------------------------------


def next_row(tape, looks, way, wait, i):
    """The first row, from `i` on, that a waiting machine must see: it may show a level, or is not before the time."""
    row = len(tape.ts_ns)
    for k in range(3):
        signal, level = (
            (wait.signal, wait.level) if k == 0 else (wait.other, wait.other_level) if k == 1 else (MID, wait.mid)
        )
        if level != np.inf:
            start = i if signal == wait.adding else _known(looks.sought, signal, level, i)
            found = _seek(tape, looks, way, wait, signal, level, start, row)
            if found < row:
                row = found
                if signal != wait.adding:
                    _keep(looks.sought, signal, level, i, row)
    if row == len(tape.ts_ns) or tape.ts_ns[row] > wait.until_ns:
        return first_at(tape.ts_ns, i, wait.until_ns)
    while row > i and tape.ts_ns[row - 1] == tape.ts_ns[row]:
        row -= 1  # the first one of its instant
    return row


def _known(sought, signal, level, i):
    """The row from which on a level is to be sought from row `i`: an earlier set sought a lower one from there, and found it.

    `sought` has a place for so many seeks, by row and signal: that, the level, and the row that was found.
    """
    if sought is None:
        return i
    seek = SIGNALS * i + signal
    of = sought[seek % len(sought)]
    return int(of[2]) if of[0] == seek and of[1] <= level else i


def _keep(sought, signal, level, i, row):
    if sought is not None:
        of = sought[(SIGNALS * i + signal) % len(sought)]
        of[0], of[1], of[2] = SIGNALS * i + signal, level, row


def _seek(tape, looks, way, wait, signal, level, i, past):
    """The first row, from `i` on, at which a signal is at its level; `past` where it is behind that, or behind the time.

    For the signal `adding` rows on which `CHEAP` is below its level are passed over.
    """
    ts_ns, far, near = tape.ts_ns, looks.far[way, signal], looks.near[way, signal]
    until_ns, cheap = wait.until_ns, wait.cheap if signal == wait.adding else -np.inf
    far_cheap, near_cheap = looks.far[way, CHEAP], looks.near[way, CHEAP]
    spot = tape.spot.bid if signal >= REVERSE_HIGH else tape.spot.ask
    perp = tape.perp.ask if signal >= REVERSE_HIGH else tape.perp.bid
    spot_row, perp_row = tape.spot_row, tape.perp_row
    sign = 1.0 if signal in (DIRECT_HIGH, REVERSE_LOW) else -1.0
    still = looks.shift.shape[1] == 1 and signal != MID
    cut = 1.0 + sign * (level - 1e-9) - looks.shift[way, 0]
    while i < past:
        block, part = i // FAR, i // NEAR
        if i % FAR == 0:
            while block < len(far) and not (far[block] >= level and far_cheap[block] >= cheap):
                block += 1
            if block >= len(far) or ts_ns[max(i, block * FAR)] >= until_ns:
                return past
            i, part = max(i, block * FAR), max(part, block * FAN)
        stop = min((block + 1) * FAN, len(near))
        while part < stop and not (near[part] >= level and near_cheap[part] >= cheap):
            part += 1
        i = max(i, part * NEAR)
        if part == stop:
            continue
        stop = min((part + 1) * NEAR, past)
        while i < stop:
            if still:  # without a division, and with a little to spare
                while i < stop and sign * (perp[perp_row[i]] - cut * spot[spot_row[i]]) < 0.0:
                    i += 1
            if (
                i < stop
                and strength(tape, looks.shift, way, signal, i) >= level
                and not -tape.spot.bid[spot_row[i]] < cheap
            ):
                return i
            i += 1
        i = min(i, stop)
    return past


def first_at(ts_ns, i, until_ns):
    """The first row, from `i` on, that is not before a time; the number of rows where there is none."""
    n, step = len(ts_ns), 1
    while i + step < n and ts_ns[i + step] < until_ns:
        step *= 2
    low, high = i + step // 2, min(i + step, n)
    while low < high:
        middle = (low + high) // 2
        if ts_ns[middle] < until_ns:
            low = middle + 1
        else:
            high = middle
    return low


def strength(tape, shift, way, signal, i):
    """A signal at a row; one without prices shows none."""
    if signal == MID:
        return 0.5 * (tape.perp.bid[tape.perp_row[i]] + tape.perp.ask[tape.perp_row[i]])
    if signal == CHEAP:
        return -tape.spot.bid[tape.spot_row[i]]
    if signal >= REVERSE_HIGH:
        spot, perp = tape.spot.bid[tape.spot_row[i]], tape.perp.ask[tape.perp_row[i]]
        costs = exit_cost(spot, perp) + shift_at(shift, way, i) if spot > 0.0 and perp > 0.0 else np.nan
        return -costs if signal == REVERSE_HIGH else costs
    spot, perp = tape.spot.ask[tape.spot_row[i]], tape.perp.bid[tape.perp_row[i]]
    pays = entry_edge(spot, perp) + shift_at(shift, way, i) if spot > 0.0 and perp > 0.0 else np.nan
    return pays if signal == DIRECT_HIGH else -pays


def extremes(tape, looks):
    """Fill in the largest value of each signal in every block of 32 rows, and in every 32 blocks."""
    n = len(tape.ts_ns)
    for way in range(len(looks.shift)):
        near, far = looks.near[way], looks.far[way]
        for block in range(near.shape[1]):
            direct_high = direct_low = reverse_high = reverse_low = mid = cheap = -np.inf
            for i in range(block * NEAR, min((block + 1) * NEAR, n)):
                direct = strength(tape, looks.shift, way, DIRECT_HIGH, i)
                reverse = strength(tape, looks.shift, way, REVERSE_HIGH, i)
                direct_high, direct_low = max(direct_high, direct), max(direct_low, -direct)
                reverse_high, reverse_low = max(reverse_high, reverse), max(reverse_low, -reverse)
                mid = max(mid, strength(tape, looks.shift, way, MID, i))
                cheap = max(cheap, strength(tape, looks.shift, way, CHEAP, i))
            for signal, value in enumerate((direct_high, direct_low, reverse_high, reverse_low, mid, cheap)):
                near[signal, block] = value
                far[signal, block // FAN] = max(far[signal, block // FAN], value)


def prices(tape, near, far):
    """Least and greatest, per block, of what leaving a pair costs a unit: a direct one, then a reverse one; far blocks' of the
    perpetual's ask and bid too.

    `near` and `far` are infinite before, the least up and the greatest down.
    """
    n = len(tape.ts_ns)
    for block in range(near.shape[1]):
        low0 = low2 = low4 = low6 = np.inf
        high0 = high2 = high4 = high6 = -np.inf
        for i in range(block * NEAR, min((block + 1) * NEAR, n)):
            s, p = tape.spot_row[i], tape.perp_row[i]
            direct, reverse = tape.perp.ask[p] - tape.spot.bid[s], tape.spot.ask[s] - tape.perp.bid[p]
            low0, high0 = min(low0, direct), max(high0, direct)
            low2, high2 = min(low2, reverse), max(high2, reverse)
            low4, high4 = min(low4, tape.perp.ask[p]), max(high4, tape.perp.ask[p])
            low6, high6 = min(low6, tape.perp.bid[p]), max(high6, tape.perp.bid[p])
        near[0, block], near[1, block], near[2, block], near[3, block] = low0, high0, low2, high2
        for row, low, high in ((0, low0, high0), (2, low2, high2), (4, low4, high4), (6, low6, high6)):
            far[row, block // FAN] = min(far[row, block // FAN], low)
            far[row + 1, block // FAN] = max(far[row + 1, block // FAN], high)


# --- What leaving a pair costs over a stretch ---------------------------------------------------------------------------

# What leaving a pair costs a unit of spot from the event `start` to before `past`: least and greatest, and between which
# events each stands that is `ALIKE` of the price near to that; how far it rises at most, the least before the greatest, and
# how far it rises after that, from the least there.
SPAN = np.dtype(
    [(name, int) for name in ("start", "past", "side", "low_from", "low_to", "high_from", "high_to")]
    + [(name, float) for name in ("low", "high", "worse", "before", "after", "lowest")]
)
ALIKE = 1e-8


def exits(marks, spot_qty, perp_qty):
    """The prices at which both legs could be left, of every book."""
    return marks.spot.bid if spot_qty >= 0.0 else marks.spot.ask, marks.perp.bid if perp_qty >= 0.0 else marks.perp.ask


def reaching(marks, row, level, k, past):
    """The first event, from `k` on, of a block whose greatest cost, or least one negated, is at a level or above."""
    near, far, sign = marks.near[row], marks.far[row], 1.0 if row % 2 else -1.0
    while k < past and sign * near[k // NEAR] < level:
        k = (k // NEAR + 1) * NEAR
        while k % FAR == 0 and k + FAR <= past and sign * far[k // FAR] < level:
            k += FAR
    return min(k, past)


def reached(marks, row, level, k, past):
    """Between which events a cost, or one negated, is at a level or above (see `reaching`)."""
    side, first, last = row // 2 * 2, past, k
    spot, perp = exits(marks, 1.0 - side, side - 1.0)
    sign = (1.0 - side) * (1.0 if row % 2 else -1.0)
    while k < past:
        k = reaching(marks, row, level, k, past)
        for at in range(k, min((k // NEAR + 1) * NEAR, past)):
            if sign * (perp[marks.perp_row[at]] - spot[marks.spot_row[at]]) >= level:
                first, last = min(first, at), at + 1
        k = (k // NEAR + 1) * NEAR
    return first, last


def span_of(marks, kept, side, start, past):
    """What leaving a pair costs between two events. It is kept, since neighbouring sets hold the same pairs; one that begins
    where another did goes on where that ended."""
    room = len(kept) // 2
    of, longest = kept[room + (31 * start + past) % room], kept[start % room]
    if of.start == start and of.past == past and of.side == side:
        return of
    near, far = marks.near, marks.far
    spot, perp = exits(marks, 1.0 - side, side - 1.0)
    alike, at = ALIKE * far[side + 5, start // FAR], start
    low, high, worse, before, lowest, after = np.inf, -np.inf, 0.0, np.inf, np.inf, 0.0
    low_from = low_to = high_from = high_to = start
    if longest.start == start and longest.side == side and start < longest.past < past:
        at, low, high, worse = longest.past, longest.low, longest.high, longest.worse
        before, lowest, after = longest.before, longest.lowest, longest.after
        low_from, low_to, high_from, high_to = longest.low_from, longest.low_to, longest.high_from, longest.high_to
    while at < past:
        wide = at % FAR == 0 and at + FAR <= past
        block, bounds = (at // FAR, far) if wide else (at // NEAR, near)
        stop = min(at + FAR if wide else (block + 1) * NEAR, past)
        least, most = bounds[side, block], bounds[side + 1, block]
        if stop - at < NEAR:
            least, most = np.inf, -np.inf
            for k in range(at, stop):
                cost = (1.0 - side) * (perp[marks.perp_row[k]] - spot[marks.spot_row[k]])
                least, most = min(least, cost), max(most, cost)
        if least <= low + alike:
            low_from, low_to = at if least < low - alike else low_from, stop
        low, worse = min(low, least), max(worse, most - min(low, least))
        if most >= high - alike:
            high_from, high_to = at if most > high + alike else high_from, stop
            high, before, lowest, after = max(high, most), low, np.inf, 0.0
        else:
            lowest = min(lowest, least)
            after = max(after, most - lowest)
        at = stop
    low_from, low_to = reached(marks, side, -low - alike, low_from, low_to)
    high_from, high_to = reached(marks, side + 1, high - alike, high_from, high_to)
    for one in (of, longest):
        one.start, one.past, one.side, one.low, one.high, one.worse = start, past, side, low, high, worse
        one.before, one.after, one.lowest = before, after, lowest
        one.low_from, one.low_to, one.high_from, one.high_to = low_from, low_to, high_from, high_to
    return of
