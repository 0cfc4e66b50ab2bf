"""Funding stamps: the funding that an entry may count on, and where a table of stamps has holes.

What was settled of late, carried on for a horizon, is part of the edge:

    expected = (sum of the last N settled rates) / (time they were earned in) * horizon        a fraction of notional

It is added to what opening a short pays and to what leaving it costs, because leaving forgoes it, so it moves both
thresholds alike and triggers nothing by itself; the reverse pair, which is long, sees it with the other sign. Only
rates settled strictly before the moment are known: a rate is final at its stamp. Before there are two, nothing is. The
indicative rate that venues announce for the next stamp would know more; funding histories hold settled rates alone.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from statistics import median_low
from typing import NamedTuple

from delta_arb.errors import DataError, ParamsError
from delta_arb.market import NEVER, NS, FundingPayment, utc

RECENT = 9  # rates that are looked at: three days of the usual eight hours
LOCAL = 5  # steps on each side that tell the interval there: two holes among them do not


class Expected(NamedTuple):
    """The expected edge after each funding stamp; nothing up to the first one."""

    ts_ns: tuple[int, ...]
    edges: tuple[float, ...]

    def at(self, now_ns: int) -> float:
        """What is expected at a moment, from the stamps strictly before it."""
        return self.edges[bisect_left(self.ts_ns, now_ns)]

    def until_ns(self, now_ns: int) -> int:
        """The first moment at which something else may be expected; NEVER without another stamp."""
        k = bisect_left(self.ts_ns, now_ns)
        return self.ts_ns[k] + 1 if k < len(self.ts_ns) else NEVER


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
    ts_ns, a_second = _settled(tuple(payments))
    return Expected(ts_ns, (0.0, 0.0, *(rate * horizon_s for rate in a_second)))


@lru_cache(maxsize=8)  # every rule of a sweep asks for the same table's
def _settled(payments: tuple[FundingPayment, ...]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The stamps, and from the second one on what was settled of late, a second."""
    a_second = []
    for k in range(1, len(payments)):
        first = max(k - RECENT, 0)
        earned_s = (payments[k].ts_ns - payments[first].ts_ns) / NS
        a_second.append(sum(p.rate for p in payments[first + 1 : k + 1]) / earned_s)
    return tuple(p.ts_ns for p in payments), tuple(a_second)


def check_stamps(stamps: Sequence[int], opened_ns: int, closed_ns: int) -> None:
    """Refuse a funding table with a hole inside the hold [opened_ns, closed_ns].

    A hole is a step longer by more than a twentieth than the intervals of either side (intervals change, and stamps are
    milliseconds off; see `gaps`), or a hold that contains the time at which the next stamp outside the table is expected.
    """
    holes = gaps(stamps)
    met = met_hole(holes, opened_ns, closed_ns)
    if met >= 0:
        raise DataError(_told(stamps, *holes[met], opened_ns, closed_ns))


def met_hole(holes, opened_ns: int, closed_ns: int) -> int:
    """The number of the first hole (of `gaps`) that a hold [opened_ns, closed_ns] meets, or -1."""
    for k in range(len(holes)):
        if opened_ns < holes[k][1] and closed_ns > holes[k][0]:
            return k
    return -1


def gaps(stamps: Sequence[int]) -> list[tuple[int, int]]:
    """Where the table says nothing: a pair opened before the end of such a stretch and closed after its start is refused.

    First what lies before and behind the table, then its holes: steps longer than both neighbours, and steps longer than
    the interval that holds on either side (the median of up to `LOCAL` steps), as two holes side by side do not show
    among neighbours. An interval that changes is no hole.
    """
    return list(_gaps(tuple(stamps)))


@lru_cache(maxsize=8)  # every trade of a replay asks for the same table's
def _gaps(stamps: tuple[int, ...]) -> list[tuple[int, int]]:
    if len(stamps) < 2:
        return [(-NEVER, NEVER)]
    steps = [later - earlier for earlier, later in pairwise(stamps)]
    found = [(-NEVER, stamps[0] - steps[0]), (stamps[-1] + steps[-1] - 1, NEVER)]
    for k, step in enumerate(steps):
        before, behind = steps[max(k - LOCAL, 0) : k], steps[k + 1 : k + 1 + LOCAL]
        neighbours = [*before[-1:], *behind[:1]]
        levels = [median_low(side) for side in (before, behind) if side]
        if neighbours and (_longer(step, neighbours) or (len(levels) == 2 and _longer(step, levels))):
            found.append((stamps[k], stamps[k + 1]))
    return found


def _longer(step: int, than: Sequence[int]) -> bool:
    return step > 1.05 * max(than)


def missing(stamps: Sequence[int], hole: tuple[int, int]) -> list[int]:
    """When the stamps were due that a hole of a table lacks, by the shorter interval of its two sides."""
    after, before = bisect_left(stamps, hole[0]), bisect_left(stamps, hole[1])
    sides = (stamps[max(after - LOCAL, 0) : after + 1], stamps[before : before + 1 + LOCAL])
    interval = min(median_low([b - a for a, b in pairwise(side)]) for side in sides if len(side) > 1)
    return [hole[0] + k * interval for k in range(1, round((hole[1] - hole[0]) / interval))]


def _told(stamps: Sequence[int], after_ns: int, before_ns: int, opened_ns: int, closed_ns: int) -> str:
    if len(stamps) < 2:
        return f"a funding table of {len(stamps)} stamps has no interval; give the whole history, or --funding none"
    if after_ns > -NEVER and before_ns < NEVER:
        due = [
            ns
            for hole in gaps(stamps)[2:]
            if met_hole([hole], opened_ns, closed_ns) == 0
            for ns in missing(stamps, hole)
        ]
        return (
            f"a funding stamp is missing between {utc(after_ns)} and {utc(before_ns)} while a position was held "
            f"(due at {', '.join(map(utc, due))}); fetch it, the last rate is never used again"
        )
    return (
        f"the funding table covers {utc(stamps[0])} to {utc(stamps[-1])}, the position was held "
        f"{utc(opened_ns)} to {utc(closed_ns)}; fetch the missing stamps"
    )


# --- what an account was paid at each stamp ---------------------------------------------------------------------------


class HeldStamp(NamedTuple):
    """One funding stamp and the signed position of the perpetual strictly before it, base units."""

    payment: FundingPayment
    position: float

    @property
    def usdt(self) -> float:
        """What the stamp paid: a short is paid a positive rate."""
        return -self.payment.rate * self.payment.mark * self.position


def held_stamps(
    moves: Iterable[tuple[int, float]], payments: Iterable[FundingPayment], position: float = 0.0
) -> list[HeldStamp]:
    """Every stamp with the one running position of an account, the check on what the ledger pays pair by pair.

    Args:
        moves: (ts_ns, signed base units) of the perpetual's fills, in any order; one at the stamp itself comes too late.
        position: held before the first of them.
    """
    moves = sorted(moves)
    at_ns = [ts_ns for ts_ns, _ in moves]
    held = list(accumulate((qty for _, qty in moves), initial=position))
    dust = 1e-9 * max((abs(qty) for _, qty in moves), default=0.0)  # the last digits of a long sum are no position
    before = ((p, held[bisect_left(at_ns, p.ts_ns)]) for p in payments)
    return [HeldStamp(p, q if abs(q) > dust else 0.0) for p, q in before]
