"""Long recordings in one pass: is a leg without a fault, and the events of both legs merged straight into place.

Compiled, and worth loading the compiler only from `WORTH` rows on, or from `AGAIN` on once it is; `checks` and `tape` say the
same of shorter ones in columns, and of every leg with a bad row.
"""

from collections.abc import Callable

import numpy as np

from delta_arb.numba_cache import compiled

WORTH, AGAIN = 500_000, 20_000  # rows
_loaded: set[Callable] = set()


def quick(kernel: Callable, rows: int) -> Callable | None:
    """A kernel of this module as machine code, where that is worth it for so many rows."""
    if rows < (AGAIN if kernel in _loaded else WORTH):
        return None
    _loaded.add(kernel)
    return compiled(kernel)


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


def merged(begin, spot_ns, perp_ns, ts_ns, leg, spot_row, perp_row):
    """Fill stamps, legs and rows in force of the events from number `begin` on; spot before perpetual at equal stamps."""
    i, j, n, m = 0, 0, len(spot_ns), len(perp_ns)
    for k in range(n + m):
        of_perp = i == n or (j < m and perp_ns[j] < spot_ns[i])
        now = perp_ns[j] if of_perp else spot_ns[i]
        j += of_perp
        i += not of_perp
        if k >= begin:
            ts_ns[k - begin], leg[k - begin], spot_row[k - begin], perp_row[k - begin] = now, of_perp, i - 1, j - 1
