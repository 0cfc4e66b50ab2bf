"""The procedure asked again every hour, as a schedule does: how often it exports a null in a day, how often an edge flips.

    python tests/benchmarks/bench_schedule.py [--seed N] [--days N] [--weeks N] [--only KIND] [--keep FILE]

A day of a null: the last 60 h before each of 24 hours are judged, repeated runs paid for (`repeated_h` 24); it fails if
any of them exports; `last` is the latest of its 24 runs that did, of all days. Kinds take turns. A week of a constant
edge: the same every two hours, with the thresholds in force as champion; a flip is a change of the answer, trade or not,
after the first that says trade. `alone` counts those of the answer without a champion. The edge that dies does so in the
middle of the week; what was held on to then shows in the second half. USDT a day: what the rule in force earned with a
clip of 1,000, beside the best that knew the truth.
"""

import argparse
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from bench_gates import EDGES, kept, lower, play, upper
from worlds import FEE_BPS, HOUR, NULLS, Basis, died, ou

from delta_arb.errors import DataError
from delta_arb.market import NS
from delta_arb.optimize import search
from delta_arb.optimize.champion import InForce, against
from delta_arb.optimize.study import Constraints
from delta_arb.optimize.verdict import Verdict, judge

SPAN_H, DAY_H, WEEK_H, EVERY_H = 60, 24, 168, 2
DEMANDS = Constraints(look_back_h=SPAN_H, repeated_h=DAY_H)


def main() -> None:
    from table import report

    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seed", type=int, default=np.random.SeedSequence().entropy % 2**32)
    arguments.add_argument("--quick", action="store_true", help="two days of each null, one week of each edge")
    arguments.add_argument("--days", type=int, help="of each null, 14")
    arguments.add_argument("--weeks", type=int, help="of each edge, 5")
    arguments.add_argument("--only", default="", help="kinds whose name contains this")
    arguments.add_argument("--keep", type=Path, help="file of the worlds done")
    options = arguments.parse_args()
    done = kept(options.keep)
    usual = (1, 2) if options.quick else (5, 14)
    asked = (usual[0] if options.weeks is None else options.weeks, usual[1] if options.days is None else options.days)
    for count, kinds in zip(asked, (weeks(), days()), strict=True):
        for k in range(count):
            play(done, {name: of for name, of in kinds.items() if options.only in name}, k, options)
    method = "rolling windows of 60 h; bounds: one-sided, 95 %"
    report(
        "schedule", table(list(done.values())), packages=("numpy", "scipy", "numba"), seed=options.seed, method=method
    )


def days():
    """Of each null; the edge that died did so in the first 60 h as in `bench_gates`, or 10 h before the first run."""
    nulls = NULLS | {
        "died": lambda rng, hours: died(rng, hours, 0.6 * SPAN_H),
        "died 10 h before the first run": lambda rng, hours: died(rng, hours, SPAN_H + 1 - 10),
    }
    return {f"null, {name}": lambda rng, make=make: day(make(rng, SPAN_H + DAY_H)) for name, make in nulls.items()}


def weeks():
    hours = SPAN_H + WEEK_H
    lasting = {f"edge, {n}": lambda rng, sd=sd: week(ou(rng, hours, sd * 2 * FEE_BPS)) for n, sd in EDGES.items()}
    return lasting | {"edge, dies in the middle": lambda rng: week(dying(ou(rng, hours, 2.5 * 2 * FEE_BPS)))}


def dying(world: Basis) -> Basis:
    """A sixth of its width from the middle of the week on."""
    alive = np.arange(world.bps.size) * world.row_s < (SPAN_H + WEEK_H / 2) * HOUR
    return replace(world, bps=world.bps * np.where(alive, 1.0, 0.15))


def judged(world: Basis, hour: int) -> tuple[Verdict, object]:
    """The verdict on the 60 h before an hour; where the choice itself says no, nothing is walked."""
    tape = world.tape.between((hour - SPAN_H) * HOUR * NS, hour * HOUR * NS)
    choice = search.choose(tape, world.market, DEMANDS)
    return judge(tape, choice) if choice.trade else Verdict(choice, None, None, False, choice.reason), tape


def day(world: Basis) -> dict[str, object]:
    exports, crashes = [], 0
    for hour in range(1, DAY_H + 1):
        try:
            exports += [hour] * judged(world, SPAN_H + hour)[0].trade
        except DataError:
            continue
        except Exception:  # noqa: BLE001 - counted and shown
            crashes += 1
    return {"exports": len(exports), "last": max(exports, default=0), "crashes": crashes}


def week(world: Basis) -> dict[str, object]:
    held, alone, answers, earned = None, [], [], []
    for hour in range(SPAN_H, SPAN_H + WEEK_H, EVERY_H):
        found, tape = judged(world, hour)
        alone.append(found.trade)
        found = against(found, tape, held) if held else found
        answers.append(found.trade)
        if not found.trade:
            held = None
        elif not (held and found.kept):
            held = InForce("", found.thresholds, found.choice.window.judged_from_ns, tape.end_ns)
        else:
            held = InForce("", held.thresholds, held.fitted_until_ns, found.champion.passed_ns)
        if held:
            part = world.tape.between(hour * HOUR * NS, (hour + EVERY_H) * HOUR * NS)
            earned.append(sum(t.net_usdt for t in world.market.replay(part, held.thresholds).trades))
        else:
            earned.append(0.0)
    best = world.market.replay(world.tape.between(SPAN_H * HOUR * NS, (SPAN_H + WEEK_H) * HOUR * NS), world.best)
    best_day = sum(t.net_usdt for t in best.trades) * DAY_H / WEEK_H
    half = len(answers) // 2
    return {
        "alone": flips(alone), "flips": flips(answers), "trading": float(np.mean(answers)),
        "trading, 2nd half": float(np.mean(answers[half:])), "usdt_day": sum(earned) * DAY_H / WEEK_H,
        "usdt, 2nd half": sum(earned[half:]), "best_usdt_day": best_day,
    }  # fmt: skip


def flips(answers) -> int:
    """Changes of the answer after the first that says trade."""
    since = answers[answers.index(True) :] if True in answers else []
    return sum(a != b for a, b in pairwise(since))


def table(done) -> list[dict[str, object]]:
    nulls = [row for row in done if row["kind"].startswith("null")]
    of_kind = {
        kind: [row for row in done if row["kind"] == kind] for kind in dict.fromkeys(row["kind"] for row in done)
    }
    rows = [summed(kind, of) for kind, of in (of_kind | ({"null, all": nulls} if nulls else {})).items()]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name, "") for name in names} for row in rows]


def summed(kind: str, of: list[dict]) -> dict[str, object]:
    values = {"kind": kind, "worlds": len(of)}
    if not kind.startswith("null"):
        return values | {name: round(float(np.mean([row[name] for row in of])), 2) for name in list(of[0])[2:]}
    n, bad, last = len(of), sum(row["exports"] > 0 for row in of), max(row["last"] for row in of)
    return values | {"days with an export": bad, "last": last, "lower": lower(bad, n), "upper": upper(bad, n)}


if __name__ == "__main__":
    main()
