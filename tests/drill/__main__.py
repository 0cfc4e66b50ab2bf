"""`make drill`: the named faults against real processes over a slow network, then seeded sessions in this process.

make drill                                 every fault, leg, phase and direction, and 1,000 seeds: about an hour
make drill ARGS="--every 8 --seeds 50"     each eighth of the runs, and 50 seeds
make drill ARGS="--only delisted"          the faults whose name has this word
make drill ARGS="--seed 17"                that one seed, and the shortest list of its faults that still fails
"""

import argparse
import asyncio
import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence

from drill import seeds, table
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
    parser.add_argument("--seeds", type=int, default=1000, metavar="N", help="seeded sessions")
    parser.add_argument("--first-seed", type=int, default=0, metavar="N")
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


def seeded(asked: argparse.Namespace) -> list[Outcome]:
    chosen = range(asked.first_seed, asked.first_seed + asked.seeds)
    with little_patience():
        return asyncio.run(played([seeds.plan(n) for n in chosen], QUICK, Inside, asked.at_once, heard=said))


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
    if asked.seed is not None:
        print(f"shortest: {shrink(asked.seed)}")
        return 0
    outcomes = []
    for name, run, what in (
        ("named", named, {"round_trip_ms": REAL.round_trip_ms, "runner": "its own process, default patience"}),
        ("seeded", seeded, {"seeds": f"{asked.first_seed} to {asked.first_seed + asked.seeds - 1}",
                            "runner": "in this process, little patience"}),
    ):  # fmt: skip
        found = run(asked) if name == "named" or asked.seeds else []
        if not found:
            continue
        path = table.write(name, found, table.meta(command, **what))
        print("\n".join(["", *table.by_kind(found), "", f"{path}"]))
        outcomes += found
    for outcome in outcomes:
        if outcome.failures and outcome.kind == "random lists":
            print(f'shrink it with: make drill ARGS="--seed {outcome.name.split()[1].rstrip(":")}"')
    return int(any(outcome.failures for outcome in outcomes))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)  # the runner's own lines are kept with each run
    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_STATE_HOME"] = state  # no lock of these accounts outlives them
        sys.exit(main(sys.argv[1:]))
