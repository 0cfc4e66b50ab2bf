"""Funding that an entry may count on: what was settled of late, carried on for a horizon, as part of the edge.

    expected = (sum of the last N settled rates) / (time they were earned in) * horizon        a fraction of notional

It is added to what opening a short pays and to what leaving it costs, because leaving forgoes it, so it moves both
thresholds alike and triggers nothing by itself; the reverse pair, which is long, sees it with the other sign. Only
rates settled strictly before the moment are known: a rate is final at its stamp. Before there are two, nothing is. The
indicative rate that venues announce for the next stamp would know more; funding histories hold settled rates alone.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from delta_arb.errors import ParamsError
from delta_arb.market import NS, FundingPayment

RECENT = 9  # rates that are looked at: three days of the usual eight hours


class Expected(NamedTuple):
    """The expected edge after each funding stamp; nothing up to the first one."""

    ts_ns: tuple[int, ...]
    edges: tuple[float, ...]

    def at(self, now_ns: int) -> float:
        """What is expected at a moment, from the stamps strictly before it."""
        return self.edges[bisect_left(self.ts_ns, now_ns)]


NOTHING_EXPECTED = Expected((), (0.0,))
NOT_KNOWN = Expected((), (math.nan,))  # decides nothing: an edge that is no number passes no threshold


def expected(payments: Sequence[FundingPayment], horizon_s: float) -> Expected:
    """The edge that funding promises over a horizon; `edges[k]` counts until stamp k has passed.

    Raises:
        ParamsError: a horizon without a funding history.
    """
    if horizon_s == 0.0:
        return NOTHING_EXPECTED
    if not payments:
        raise ParamsError(
            "funding_horizon_s counts on funding, but there is no funding history; give one, or set it to 0"
        )
    edges = [0.0, 0.0]
    for k in range(1, len(payments)):
        first = max(k - RECENT, 0)
        earned_s = (payments[k].ts_ns - payments[first].ts_ns) / NS
        edges.append(sum(p.rate for p in payments[first + 1 : k + 1]) / earned_s * horizon_s)
    return Expected(tuple(p.ts_ns for p in payments), tuple(edges))
