"""Power and protection of the whole procedure: what share of worlds with an edge is exported, and what share of those without.

    python tests/benchmarks/bench_gates.py [--quick] [--seed N] [--worlds N] [--only TEXT] [--keep FILE]

Every world is a tape of quotes of both legs (`worlds`), on which choice, walk-forward and gates say trade or not, or
hourly quotes with funding for carry. What is exported is then replayed on as many hours that nobody has seen: `regret`
is what it missed there of the best rule that knew the truth, as a share of that; of nulls, whose best rule is none,
USDT a day lost on average per world with a clip of 1,000. `upper` is the one-sided 95 % bound of a share, `lower` the
other one (Clopper & Pearson). `missed` counts which gate refused, of all refusals. The edges of two and three standard
errors have a true net over the judged half that is so many of its own standard deviations (the best rule replayed on
80 to 300 such windows of other seeds, so within a tenth); they are asked for no number of trades a day. Over 30 days
there is none of two: a rule is traded whose round trips come once a day, and thirty of them say more than that.
`bound` is the share in which the best rule itself, known before and replayed on all judged hours, shows a record that
chance without an edge lets pass: who must find the rule first can hardly find more.

Worlds that were done are kept in FILE, one a line, and not done again.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # one core, before numpy is loaded

import numpy as np
from scipy.special import betaincinv

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # measures this checkout, installed or not
sys.path.insert(0, str(Path(__file__).resolve().parent))

from worlds import FEE_BPS, HOUR, NULLS, Basis, funding, losing_rarely, market_of, ou, tape_of

from delta_arb.errors import DataError
from delta_arb.market import NS, from_bps
from delta_arb.optimize import search
from delta_arb.optimize.carry_walk_forward import HELD_THROUGHOUT, asked
from delta_arb.optimize.gates import chance_of_luck, modelled_loss_usdt
from delta_arb.optimize.study import SEED
from delta_arb.optimize.verdict import judge

EDGES = {"modest": 1.6, "strong": 2.5}  # sd of the basis over half of the four fees
SPANS = {"60 h": (60, 10.0), "168 h": (168, 10.0), "30 days": (720, 60.0)}
OF_ERRORS = {  # standard errors -> sd in bps, half-life in s, of each span
    "2 se": {"60 h": (3.05, 600.0), "168 h": (3.85, 1680.0)},
    "3 se": {"60 h": (3.5, 600.0), "168 h": (4.45, 1680.0), "30 days": (4.0, 2400.0)},
    "over 4 se": {"60 h": (4.2, 600.0), "168 h": (5.2, 1680.0), "30 days": (4.6, 2400.0)},
}
CARRY_DAYS = 240


def play(done: dict, kinds: dict, k: int, options: argparse.Namespace) -> None:
    """World k of each kind, unless it is done; kept at once, where a file was named."""
    for kind, of in kinds.items():
        if (kind, k) in done:
            continue
        rng = np.random.default_rng([options.seed, k, *map(ord, kind)])
        done[kind, k] = {"kind": kind, "k": k, **whatever_comes(of, rng)}
        if options.keep:
            with options.keep.open("a") as file:
                file.write(json.dumps(done[kind, k]) + "\n")


def main() -> None:
    from table import report

    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--seed", type=int, default=np.random.SeedSequence().entropy % 2**32)
    arguments.add_argument("--worlds", type=int, default=0)
    arguments.add_argument("--only", default="", help="kinds whose name contains this")
    arguments.add_argument("--keep", type=Path, help="file of the worlds done")
    options = arguments.parse_args()
    began, worlds = time.perf_counter(), options.worlds or (4 if options.quick else 46)
    chosen = {kind: of for kind, of in kinds().items() if options.only in kind}
    done = kept(options.keep)
    for k in range(worlds):
        play(done, chosen, k, options)
    report(
        "gates",
        table(done.values()),
        packages=("numpy", "scipy", "numba"),
        seed=options.seed,
        quick=options.quick,
        minutes=round((time.perf_counter() - began) / 60, 1),
        method="choice, walk-forward and gates on simulated worlds; bounds: one-sided, 95 %",
    )


def whatever_comes(of, rng) -> dict[str, object]:
    """A world that ends the program is a finding: it is counted as not exported, and named."""
    try:
        return of(rng)
    except Exception as error:  # noqa: BLE001 - shown in the table
        return told(None, [f"CRASH: {type(error).__name__}: {error}"[:80]], 0.0, 0.0)


def kept(path: Path | None) -> dict[tuple[str, int], dict]:
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path and path.exists() else []
    return {(row["kind"], row["k"]): row for row in rows}


def table(done) -> list[dict[str, object]]:
    of_kind = defaultdict(list)
    for row in done:
        of_kind[row["kind"]].append(row)
    nulls = [row for kind, rows in of_kind.items() if kind.startswith("null") for row in rows]
    shown = {kind: of_kind[kind] for kind in kinds() if kind in of_kind} | ({"all nulls": nulls} if nulls else {})
    silent = [row for row in nulls if row.get("silent")]
    shown |= {"of these, no loss came": silent} if silent else {}
    return [summed(kind, rows) for kind, rows in shown.items()]


def summed(kind: str, rows) -> dict[str, object]:
    n, exported = len(rows), sum(row["exported"] for row in rows)
    best, got = (sum(row[name] for row in rows) for name in ("best", "got"))
    missed = Counter(name for row in rows for name in row["missed"])
    return {
        "kind": kind, "worlds": n, "exported": exported, "share": exported / n, "lower": lower(exported, n),
        "upper": upper(exported, n), "bound": sum(row["bound"] for row in rows) / n if "bound" in rows[0] else "",
        "regret": (best - got) / best if best > 0 else -got / n,
        "missed": ", ".join(f"{name} {count}" for name, count in missed.most_common(3)),
    }  # fmt: skip


def upper(k: int, n: int) -> float:
    return 1.0 if k == n else float(betaincinv(k + 1, n - k, 0.95))


def lower(k: int, n: int) -> float:
    return 0.0 if k == 0 else float(betaincinv(k, n - k + 1, 0.05))


def kinds():
    """Name of a kind -> what becomes of a world of it, of a generator."""

    def of(make, *args, **named):
        return lambda rng: traded(make(rng, *args, **named))

    nulls = {f"null, {name}, 60 h": of(make, 60) for name, make in NULLS.items()}
    nulls["null, rare losses, 168 h"] = of(losing_rarely, 168)
    carry = {
        "null, carry, no mean": partial(carried, mean_bps=0.0, later=0.0),
        "null, carry, fading": partial(carried, mean_bps=1.0, later=0.0),
        "null, carry, reversing": partial(carried, mean_bps=1.0, later=-1.0),
        "edge, carry, steady": partial(carried, mean_bps=1.0, later=1.0),
    }
    edges = {
        f"edge, {size}, {span}": of(ou, hours, sd * 2 * FEE_BPS, row_s=row_s)
        for span, (hours, row_s) in SPANS.items()
        for size, sd in EDGES.items()
    }
    faints = {
        f"edge, {errors}, {span}": of(faint, errors, span) for errors, spans in OF_ERRORS.items() for span in spans
    }
    return nulls | carry | edges | faints


def faint(rng, errors: str, span: str) -> Basis:
    hours, row_s = SPANS[span]
    return ou(rng, hours, *OF_ERRORS[errors][span], row_s=row_s, min_trades_day=0.0)


def traded(world: Basis) -> dict[str, object]:
    """Whether reversion is exported, the gates that it missed, and what came of it and of the best rule afterwards."""
    tape = world.halves[0]
    missed, rule, verdict = [], None, None
    try:
        verdict = judge(tape, search.choose(tape, world.market, world.constraints))
    except DataError as error:
        missed = [str(error)[:40]]
    else:
        if verdict.trade:
            rule = verdict.thresholds
        elif verdict.judgement is None or not verdict.choice.trade:
            missed = [f"choice: {verdict.choice.reason.split(': ')[-1][:40]}"]
        else:
            missed = [g.name for g in verdict.judgement.gates if g.refuses]
    found = told(rule, missed, world.later_usdt_day(world.best), world.later_usdt_day(rule))
    if world.best:
        known = ended(world.market.replay(tape, world.best))
        found |= {"bound": known_passes(known, tape, world), "record": walked(verdict)}
    return found | ({"silent": True} if world.silent else {})


def walked(verdict) -> list[float]:
    """What the pairs of the walk-forward earned, none where there was no walk."""
    return ended(verdict.judgement.walk.result) if verdict and verdict.judgement else []


def ended(result) -> list[float]:
    return [t.net_usdt for t in result.trades if not t.censored]


def known_passes(nets, tape, world: Basis) -> bool:
    """Whether such a record of the best rule, which nobody had to find, is better than chance without an edge."""
    loss = modelled_loss_usdt(tape, world.market, world.best)
    return chance_of_luck(nets, loss, np.random.default_rng(SEED)) <= 0.025


def told(rule, missed, best: float, got: float) -> dict[str, object]:
    return {"exported": rule is not None, "missed": missed, "best": best, "got": got}


def carried(rng, *, mean_bps: float, later: float) -> dict[str, object]:
    """The same of carry, whose funding changes in the middle of the days judged and then stays so."""
    judged, whole = (days * 24 for days in (CARRY_DAYS, 2 * CARRY_DAYS))
    stamps = funding(rng, CARRY_DAYS, mean_bps, later) + [
        p._replace(ts_ns=p.ts_ns + judged * HOUR * NS) for p in funding(rng, CARRY_DAYS, mean_bps * later)
    ]
    basis = ou(rng, whole / 2, 3.0, 24.0 * HOUR / 10, float(HOUR)).bps
    spot = 100.0 * np.exp(np.random.default_rng(whole).normal(0.0, 1e-5, whole).cumsum())
    tape, cut_ns = tape_of(spot, spot * (1 + from_bps(basis)), float(HOUR)), judged * HOUR * NS
    conduct = {"leg_deadline_s": 5400.0, "max_hold_s": 30 * 86_400.0, "max_quote_age_s": 60.0}
    found = asked(tape.between(0, cut_ns), market_of([p for p in stamps if p.ts_ns < cut_ns], **conduct), "carry")
    walk = found.walk
    missed = [found.reason[:60]] if walk is None else [g.name for g in walk.gates if not g.passed]
    rule, here, seen = (
        found.thresholds if found.trade else None,
        market_of(stamps, **conduct),
        tape.between(cut_ns, stamps[-1].ts_ns),
    )

    def net(of) -> float:
        return sum(t.net_usdt for t in here.replay(seen, of).trades) / CARRY_DAYS if of else 0.0

    best = HELD_THROUGHOUT if mean_bps * later > 0 else None
    return told(rule, missed or ([] if rule else ["no rule now"]), net(best), net(rule))


if __name__ == "__main__":
    main()
