"""Sessions with random lists of faults; a list that fails is shortened to the shortest one that still does."""

import random
from collections.abc import Awaitable, Callable, Sequence

from delta_arb.market import LEGS, SPOT
from drill.cases import CASES, DIRECT, ENTRY, EXIT, REVERSE, VENUES, Case, Plan

MOST = 4
POOL = tuple(
    case for case in CASES if case.must_end_safe and case.kind not in ("none", "outside", "refusals for good", "terms")
)

Part = tuple[Case, int]


def parts(seed: int) -> list[Part]:
    """Two to four faults, each with its leg; at most one of them is not a venue's."""
    rng = random.Random(seed)
    chosen: list[Part] = []
    wanted = rng.randint(2, MOST)
    while len(chosen) < wanted:
        case = rng.choice(POOL)
        if not (case.act and any(other.act for other, _ in chosen)):
            chosen.append((case, rng.choice(case.legs)))
    return chosen


def plan(seed: int, of: Sequence[Part] | None = None) -> Plan:
    """The run of a seed; or of some of its faults, at the same moment and in the same direction."""
    rng = random.Random(-seed - 1)
    chosen = parts(seed) if of is None else of
    rows = tuple({"venue": VENUES[leg]} | row for case, leg in chosen for row in case.rows)
    phases = [p for p in (ENTRY, EXIT) if all(p in case.phases for case, _ in chosen)]
    name = f"seed {seed}: " + " + ".join(f"{case.name} on {LEGS[leg]}" for case, leg in chosen)
    act = next((case.act for case, _ in chosen if case.act), "")
    both = Case(name, "random lists", rows, act, at_order=rng.random() < 0.5)
    return Plan(both, SPOT, rng.choice(phases), rng.choice((DIRECT, REVERSE)))


async def shortest(seed: int, fails: Callable[[Plan], Awaitable[bool]]) -> Plan:
    """The fewest of the seed's faults with which the run still fails, leaving one out after the other."""
    left = parts(seed)
    n = 0
    while n < len(left) and len(left) > 1:
        fewer = left[:n] + left[n + 1 :]
        if await fails(plan(seed, fewer)):
            left, n = fewer, 0
        else:
            n += 1
    return plan(seed, left)
