"""`make drill`: the named faults against real processes over a slow network, lists of them in this process, and seeded
sessions on virtual time.

make drill                                 every fault, leg, phase and direction, 60 lists and 1,000 seeds: about an hour
make drill ARGS="--every 8 --lists 20"     each eighth of the runs, and 20 lists
make drill ARGS="--only delisted"          the faults whose name has this word
make drill ARGS="--list 17"                that one list, and the shortest of its faults that still fails
make drill ARGS="--seed 17"                the same of a seed
"""

import argparse
import asyncio
import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence

from drill import seeds, table, virtual
from drill.cases import Plan, every_run
from drill.measures import Outcome
from drill.rounds import little_patience, played
from drill.scene import QUICK, REAL, Inside, Outside, forking


def options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="drill", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each Nth of the named runs")
    parser.add_argument("--offset", type=int, default=0, metavar="N", help="and begin with this one")
    parser.add_argument("--only", default="", metavar="WORD", help="only the named runs with this word in their line")
    parser.add_argument("--minutes", type=float, default=1e9, metavar="N", help="begin no further named run after that")
    parser.add_argument("--lists", type=int, default=60, metavar="N", help="random lists of faults on the local venues")
    parser.add_argument("--seeds", type=int, default=1000, metavar="N", help="sessions on virtual time")
    parser.add_argument("--list", type=int, metavar="N", help="this list alone")
    parser.add_argument("--seed", type=int, metavar="N", help="this seed alone")
    parser.add_argument("--at-once", type=int, default=8, metavar="N", help="runs at a time")
    return parser.parse_args(argv)


def said(outcome: Outcome) -> None:
    """One line for each run as it ends, and what the runner said where it failed."""
    failed = f"  FAILED: {'; '.join(outcome.failures)}" if outcome.failures else ""
    print(
        f"{outcome.plan}: {outcome.ended}, naked {outcome.naked_s:.2f} s, {outcome.seconds:.0f} s{failed}", flush=True
    )
    if failed:
        print("\n".join(f"    {line}" for line in outcome.said), flush=True)


def named(asked: argparse.Namespace) -> list[Outcome]:
    plans = [plan for plan in every_run() if asked.only in str(plan)][asked.offset :: asked.every]
    if not plans:
        return []
    until_s = time.monotonic() + asked.minutes * 60
    outcomes: list[Outcome] = []
    with forking():
        for n in range(0, len(plans), 4 * asked.at_once):
            if time.monotonic() > until_s:
                print(f"{len(plans) - n} runs left out: the time is over")
                break
            some = plans[n : n + 4 * asked.at_once]
            outcomes += asyncio.run(played(some, REAL, Outside, asked.at_once, seed=n, heard=said))
    return outcomes


def listed(asked: argparse.Namespace) -> list[Outcome]:
    with little_patience():
        return asyncio.run(
            played([seeds.plan(n) for n in range(asked.lists)], QUICK, Inside, asked.at_once, heard=said)
        )


def seeded(asked: argparse.Namespace) -> list[Outcome]:
    outcomes = []
    for seed in range(asked.seeds):
        outcomes.append(virtual.outcome(seed))
        if outcomes[-1].failures:
            said(outcomes[-1])
    return outcomes


def shrink(seed: int) -> Plan:
    """The shortest list of a seed's faults that still fails."""

    async def fails(plan: Plan) -> bool:
        (outcome,) = await played([plan], QUICK)
        said(outcome)
        return bool(outcome.failures)

    with little_patience():
        return asyncio.run(seeds.shortest(seed, fails))


def main(argv: Sequence[str]) -> int:
    asked = options(argv)
    command = " ".join(["make drill", f'ARGS="{" ".join(argv)}"' if argv else ""]).strip()
    if asked.list is not None:
        print(f"shortest: {shrink(asked.list)}")
        return 0
    if asked.seed is not None:
        of = virtual.troubles(asked.seed)
        short = virtual.shortest(of, lambda some: bool(virtual.play(asked.seed, some).wrong))
        print("\n".join([*virtual.play(asked.seed, short).said, f"shortest: {', '.join(map(str, short))}"]))
        return 0
    outcomes = []
    for name, run, what in (
        ("named", named, {"round_trip_ms": REAL.round_trip_ms, "runner": "its own process, default patience"}),
        ("lists", listed, {"lists": asked.lists, "runner": "in this process, little patience"}),
        ("seeded", seeded, {"seeds": asked.seeds, "runner": "in this process, virtual time, model venues"}),
    ):  # fmt: skip
        found = run(asked)
        if not found:
            continue
        path = table.write(name, found, table.meta(command, **what))
        print("\n".join(["", *table.by_kind(found), "", f"{path}"]))
        outcomes += found
    for outcome in outcomes:
        if outcome.failures and outcome.kind == "random lists":
            print(f'shrink it with: make drill ARGS="--list {outcome.name.split()[1].rstrip(":")}"')
    return int(any(outcome.failures for outcome in outcomes))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)  # the runner's own lines are kept with each run
    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_STATE_HOME"] = state  # no lock of these accounts outlives them
        sys.exit(main(sys.argv[1:]))
