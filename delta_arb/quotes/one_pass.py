"""Long recordings in one pass: is a leg without a fault, and both legs merged straight into the columns of the tape.

Compiled, and worth loading the compiler only from `WORTH` rows on; `checks` and `tape` say the same of shorter ones in
columns, and of every leg with a bad row.
"""

import numpy as np

WORTH = 500_000  # rows


def faultless(ts_ns, bid, ask, bid_qty, ask_qty, max_jump, gap_ns):
    """Whether no row is bad, behind or a duplicate; with it unchanged rows, gaps, and the row before the longest gap.

    `ts_ns` int64, the others float64, shape (n,), n above 1.
    """
    n, bad, unchanged, repeated, gaps = len(ts_ns), 0, 0, 0, 0
    least, most = np.int64(0), np.int64(-1)
    for i in range(n):  # no branch: several rows at a time
        bad += not ((bid[i] > 0.0) & (bid[i] < ask[i]) & (ask[i] < np.inf))
        bad += not ((bid_qty[i] > 0.0) & (bid_qty[i] < np.inf) & (ask_qty[i] > 0.0) & (ask_qty[i] < np.inf))
    for i in range(1, n):
        before = bid[i - 1] + ask[i - 1]
        bad += abs(bid[i] + ask[i] - before) > max_jump * before
        same = (
            (bid[i] == bid[i - 1])
            & (ask[i] == ask[i - 1])
            & (bid_qty[i] == bid_qty[i - 1])
            & (ask_qty[i] == ask_qty[i - 1])
        )
        unchanged += same
        repeated += same & (ts_ns[i] == ts_ns[i - 1])
    for i in range(1, n):
        pause = ts_ns[i] - ts_ns[i - 1]
        gaps += pause > gap_ns
        least, most = min(least, pause), max(most, pause)
    longest = 0
    while longest < n - 1 and ts_ns[longest + 1] - ts_ns[longest] != most:
        longest += 1
    return bad == 0 and repeated == 0 and least >= 0, unchanged, gaps, longest


def merged(begin, spot_ns, perp_ns, ts_ns, leg):
    """Fill stamps and legs of the events from number `begin` on; spot before perpetual at equal stamps."""
    i, j = 0, 0
    for k in range(len(spot_ns) + len(perp_ns)):
        of_perp = i == len(spot_ns) or (j < len(perp_ns) and perp_ns[j] < spot_ns[i])
        if of_perp:
            now, j = perp_ns[j], j + 1
        else:
            now, i = spot_ns[i], i + 1
        if k >= begin:
            ts_ns[k - begin], leg[k - begin] = now, of_perp


def filled(ts_ns, leg, number, before, rows, out):
    """Fill the columns of a leg with what is in force at each event; `before` is the row in force before the first one.

    `rows` are (fresh_ns, bid, ask, bid_qty, ask_qty) of the leg, `out` takes the age and the other four.
    """
    at = before
    for k in range(len(leg)):
        at += leg[k] == number
        out[0][k] = ts_ns[k] - rows[0][at]
        out[1][k], out[2][k], out[3][k], out[4][k] = rows[1][at], rows[2][at], rows[3][at], rows[4][at]
