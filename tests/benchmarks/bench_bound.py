"""What no test can beat on the faint edges of `bench_gates`, and what the gates refuse of what it lets pass.

    python tests/benchmarks/bench_bound.py [--quick] [--seed N] [--worlds N] [--keep FILE] [--found FILE]

Somebody knows the best rule, the distribution F of what its pairs earn, and the null that is hardest to tell from it: the
same pairs, with losses like those that came so much more often that nothing is earned. Of all distributions G of them with a
mean of zero that is the closest, dG = dF / (1 + c x) with c such that it adds up to one (Owen 1988, Biometrika 75(2); Grunwald,
de Heide & Koolen 2024, J. Royal Statistical Society B 86(5)). A world of the null is one of F's, only weighted by its pairs,
so neither prices nor a model of them tell more than the pairs do. The most powerful test at the level a refuses the null where
T, the sum of log(1 + c x) over the pairs, is above t (Neyman & Pearson 1933), which is such that exp(-T), counted where
T > t, has the mean a. Any test that lets this null pass in a at most finds no more, whatever else it looks at.

`all` judges all hours, `judged` those of the walk-forward: the hours before are needed to find the rule. `worst` is the largest
loss of F, in wins. `15 wins`: the same at 2.5 % on all hours, where a pair of the null may lose 15 wins, though none did.
`gates`: the share of worlds in which the gates' own chance test passes the record of the best rule on the hours judged, and
`level` how often it passes one of that null. With the FILE that `bench_gates --keep` wrote of the same seed: how many
worlds the gates `found`, how many the most powerful test at 2.5 % `passes` on the hours judged, and what `became` of those:
found, or refused by what, and how the record that was found differs from the best rule's on those hours.
"""

import argparse
import math
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from bench_gates import OF_ERRORS, ended, faint, kept, known_passes, play
from scipy.optimize import brentq
from worlds import NS

from delta_arb.optimize.verdict import frame

LEVELS = (0.01, 0.025)


def main() -> None:
    from table import report

    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--seed", type=int, default=np.random.SeedSequence().entropy % 2**32)
    arguments.add_argument("--worlds", type=int, default=0)
    arguments.add_argument("--keep", type=Path, help="file of the worlds done")
    arguments.add_argument("--found", type=Path, help="what bench_gates kept of the same seed")
    options = arguments.parse_args()
    worlds, done, found = options.worlds or (20 if options.quick else 150), kept(options.keep), kept(options.found)
    kinds = {f"edge, {errors}, {span}": (errors, span) for errors, spans in OF_ERRORS.items() for span in spans}
    for k in range(worlds):
        play(done, {kind: partial(known, *of) for kind, of in kinds.items()}, k, options)
    rows = []
    for kind in kinds:
        records = [done[kind, k] for k in range(worlds)]
        theirs = [found.get((kind, k)) for k in range(worlds)]
        rows.append({"kind": kind, **bounds(records), **(compared(records, theirs) if found else {})})
    method = "most powerful test of the best rule's pairs against the nearest null, by simulation"
    report("bound", rows, packages=("numpy", "scipy"), seed=options.seed, worlds=worlds, method=method)


def known(errors: str, span: str, rng) -> dict[str, object]:
    """What the pairs of the best rule earn on all hours and on those judged by the walk-forward of a half-life that is known."""
    world = faint(rng, errors, span)
    tape, half_life = world.halves[0], SimpleNamespace(half_life_s=math.log(2) / world.theta)
    cut = frame(tape, SimpleNamespace(half_life=half_life, constraints=world.constraints))
    first_ns = tape.start_ns + round((cut.look_back_s + cut.embargo_s) * NS)
    last_ns = tape.end_ns - round(cut.embargo_s * NS)
    everything, later = (world.market.replay(of, world.best) for of in (tape, tape.between(first_ns, tape.end_ns)))
    judged = [t.net_usdt for t in later.trades if not t.censored and later.entered[t.pair] < last_ns]
    return {"all": ended(everything), "judged": judged, "passes": known_passes(judged, tape, world)}


def bounds(records) -> dict[str, object]:
    every, judged = ([np.array(r[name]) for r in records] for name in ("all", "judged"))
    pairs, nets, passes = np.concatenate(every), [r.sum() for r in every], [r["passes"] for r in records]
    win, evidence = float(np.median(pairs[pairs > 0])), told(judged)
    return {
        "worlds": len(records), "errors": np.mean(nets) / np.std(nets), "pairs": len(pairs) / len(records),
        "pairs judged": np.mean([len(r) for r in judged]),
        **{f"all {a:.1%}": power(told(every), a)[0] for a in LEVELS},
        **{f"judged {a:.1%}": power(evidence, a)[0] for a in LEVELS},
        "worst": -pairs.min() / win, "15 wins": power(told(every, 15 * win), LEVELS[1])[0],
        "gates": np.mean(passes), "level": np.mean(np.exp(-evidence) * passes),
    }  # fmt: skip


def told(records, loss: float = 0.0) -> np.ndarray:
    """T of each record: the log of how much likelier it is than without an edge, where a pair may lose `loss`."""
    pairs = np.concatenate(records)
    if (worst := max(loss, -pairs.min())) <= 0:
        raise SystemExit("error: no pair of these worlds lost anything, so nothing can be feared; play more (--worlds)")
    most = (1 - 1e-9) / worst

    def mean(c: float) -> float:
        return float((pairs / (1 + c * pairs)).mean())

    c = brentq(mean, 0.0, most) if mean(most) < 0 else most
    return np.array([np.log1p(c * nets).sum() for nets in records])


def power(evidence: np.ndarray, level: float) -> tuple[float, float]:
    """Share of worlds that pass, and the bound t that they pass; at the bound a part of a world, as a test that draws lots."""
    falling = np.sort(evidence)[::-1]
    passed = np.cumsum(np.exp(-falling)) / len(falling)
    k = int(np.searchsorted(passed, level))
    if k == len(falling):
        return 1.0, -np.inf
    part = (level - (passed[k - 1] if k else 0.0)) * len(falling) / np.exp(-falling[k])
    return (k + part) / len(falling), float(falling[k])


def compared(records, found) -> dict[str, object]:
    """What became of the worlds that the most powerful test lets pass, of those that were played."""
    evidence = told([np.array(r["judged"]) for r in records])
    least = power(evidence, LEVELS[1])[1]
    played = [(t > least, r, row) for t, r, row in zip(evidence, records, found, strict=True) if row]
    passing = [(r, row) for passes, r, row in played if passes]
    what = Counter(
        "found" if row["exported"] else refused(row["missed"], row.get("record"), np.array(r["judged"]))
        for r, row in passing
    )
    return {
        "found": f"{sum(row['exported'] for *_, row in played)} of {len(played)}", "passes": len(passing),
        "became": "; ".join(f"{name} {count}" for name, count in what.most_common()),
    }  # fmt: skip


def refused(missed, found, best: np.ndarray) -> str:
    """By what; of the chance without an edge, how the record that was found differs from that of the best rule."""
    if missed[0].startswith("choice"):
        return "choice"
    why = ""
    if found is not None:
        more = sum(net < 0 for net in found) > (best < 0).sum()
        why = " (a loss more)" if more else " (fewer pairs)" if len(found) < len(best) else " (smaller wins)"
    return ", ".join(name + why * (name == "chance without an edge") for name in missed)


if __name__ == "__main__":
    main()
