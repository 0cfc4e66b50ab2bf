"""Power and protection of the whole procedure: what share of worlds with an edge is exported, and what share of those without.

    python tests/benchmarks/bench_gates.py [--quick] [--seed N] [--worlds N]

Every world is a tape of quotes of both legs, a row every ten seconds, on which choice, walk-forward and gates say trade
or not, or a year of hourly quotes with funding for carry. Nulls have no rule that earns: a random walk, one whose
volatility takes turns, one that jumps, level shifts, an Ornstein-Uhlenbeck basis that its costs exceed, an edge that died
before the last third; funding without a mean, and funding that fades. Edges are steady funding and
Ornstein-Uhlenbeck bases of half-lives from 5 to 20 min over 60 h and 168 h, modest and strong. The upper bound beside a
share of false exports is one-sided at 95 % (Clopper & Pearson). `missed` counts which gate refused, of all refusals.
"""

import argparse
import math
import os
import sys
import time
from collections import Counter
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # one core, before numpy is loaded

import numpy as np
from scipy.signal import lfilter
from scipy.special import betaincinv

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # measures this checkout, installed or not

from delta_arb.errors import DataError
from delta_arb.latency import Latency
from delta_arb.market import NS, PERP, SPOT, FundingPayment, from_bps
from delta_arb.optimize import carry_walk_forward, search
from delta_arb.optimize.study import Constraints, Market
from delta_arb.optimize.verdict import judge
from delta_arb.params import Rule
from delta_arb.quotes.tape import Tape
from delta_arb.venue_terms import VenueTerms

HOUR = 3600
ROW_S = 10
FEE_BPS = 2.5
EDGES = {"modest": 1.6, "strong": 2.5}  # sd of the basis over half of the four fees
SPANS_H = {"60 h": 60, "168 h": 168}


def main() -> None:
    from table import report

    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--seed", type=int, default=np.random.SeedSequence().entropy % 2**32)
    arguments.add_argument("--worlds", type=int, default=0)
    arguments.add_argument("--only", default="", help="kinds whose name contains this")
    options = arguments.parse_args()
    began, worlds = time.perf_counter(), options.worlds or (4 if options.quick else 50)
    rows = [
        of_kind(kind, exports, edge, worlds, options.seed)
        for kind, (exports, edge) in kinds().items()
        if options.only in kind
    ]
    nulls = [row for row in rows if row["kind"].startswith("null")]
    if nulls:
        n, false = sum(r["worlds"] for r in nulls), sum(r["exported"] for r in nulls)
        rows.append({"kind": "all nulls", "worlds": n, **exported(false, n), "missed": ""})
    report(
        "gates",
        rows,
        packages=("numpy", "scipy", "numba"),
        seed=options.seed,
        quick=options.quick,
        minutes=round((time.perf_counter() - began) / 60, 1),
        method="choice, walk-forward and gates on simulated worlds; upper: one-sided 95 % bound",
    )


def kinds():
    """Name of a kind -> (whether a world of it is exported and what refused it, whether it has an edge)."""
    reversion = {
        f"null, {name}, 60 h": (lambda rng, make=make: traded(make(rng, 60)), False) for name, make in NULLS.items()
    }
    edges = {
        f"edge, {size}, {span}": (lambda rng, sd=sd, h=h: traded(ou(rng, h, sd * 2 * FEE_BPS)), True)
        for span, h in SPANS_H.items()
        for size, sd in EDGES.items()
    }
    carry = {
        "null, carry, funding of no mean": (lambda rng: carried(rng, 0.0), False),
        "edge, carry, steady": (lambda rng: carried(rng, 1.0), True),
        "null, carry, fading": (lambda rng: carried(rng, 1.0, fades=True), False),
    }
    return reversion | carry | edges


def of_kind(kind: str, exports, edge: bool, worlds: int, seed: int) -> dict[str, object]:
    missed: Counter[str] = Counter()
    passed = 0
    for k in range(worlds):
        trade, reasons = exports(np.random.default_rng([seed, k, *map(ord, kind)]))
        passed += trade
        missed.update(reasons)
    words = ", ".join(f"{name} {n}" for name, n in missed.most_common(4))
    return {"kind": kind, "worlds": worlds, **exported(passed, worlds), "missed": words}


def exported(passed: int, n: int) -> dict[str, object]:
    upper = 1.0 if passed == n else float(betaincinv(passed + 1, n - passed, 0.95))
    return {"exported": passed, "share": passed / n, "upper": upper}


# --- worlds -----------------------------------------------------------------------------------------------------------


def ou(rng, hours: float, sd_bps: float, half_life_s: float | None = None) -> np.ndarray:
    n = round(hours * HOUR / ROW_S)
    decay = 0.5 ** (ROW_S / (half_life_s or 300.0 * 4.0 ** rng.random()))
    shocks = rng.normal(size=n) * sd_bps * math.sqrt(1 - decay * decay)
    shocks[0] = rng.normal() * sd_bps
    return lfilter([1.0], [1.0, -decay], shocks)


def walk(rng, hours: float) -> np.ndarray:
    n = round(hours * HOUR / ROW_S)
    return np.cumsum(rng.normal(size=n)) * 10.0 / math.sqrt(n / 10)


def taking_turns(rng, hours: float) -> np.ndarray:
    n = round(hours * HOUR / ROW_S)
    scale = np.exp(np.repeat(rng.normal(0.0, 0.7, n // 360 + 1), 360)[:n])
    return np.cumsum(rng.normal(size=n) * scale) * 10.0 / math.sqrt(n / 10)


def jumping(rng, hours: float) -> np.ndarray:
    n = round(hours * HOUR / ROW_S)
    return walk(rng, hours) * 0.5 + np.cumsum((rng.random(n) < 12 / n) * rng.normal(0, 15.0, n))


def shifting(rng, hours: float) -> np.ndarray:
    n = round(hours * HOUR / ROW_S)
    return ou(rng, hours, 2.0) + np.cumsum((rng.random(n) < 8 / n) * rng.normal(0, 12.0, n))


def dead(rng, hours: float) -> np.ndarray:
    n = round(hours * HOUR / ROW_S)
    return ou(rng, hours, 12.0) * np.where(np.arange(n) < 0.6 * n, 1.0, 0.15)


NULLS = {
    "walk": walk, "volatility in turns": taking_turns, "jumps": jumping, "level shifts": shifting,
    "below its costs": lambda rng, h: ou(rng, h, 0.6 * FEE_BPS), "died": dead,
}  # fmt: skip


def quotes(basis_bps: np.ndarray, row_s: float = ROW_S) -> Tape:
    """Both legs at every row, half-spreads of 0.1 bps, books of ample size."""
    n = basis_bps.size
    spot = np.repeat(100.0 * np.exp(np.cumsum(np.random.default_rng(n).normal(0.0, 1e-5, n))), 2)
    perp = spot * (1 + from_bps(np.repeat(basis_bps, 2)))
    perp[2::2] = perp[1:-1:2]  # at the spot's row the perpetual's is still the last one
    rows = []
    ts_ns = np.repeat(np.arange(n) * round(row_s * NS), 2)
    for k, (at, s, p) in enumerate(zip(ts_ns.tolist(), spot.tolist(), perp.tolist(), strict=True)):
        price = p if k % 2 else s
        rows.append((at, PERP if k % 2 else SPOT, price * (1 - 1e-5), price * (1 + 1e-5), 1e6, 1e6))
    return Tape.of(rows)


def market_of(payments=(), **changes) -> Market:
    rule = Rule(**{"entry_bps": None, "exit_bps": None, "max_hold_s": 6 * 3600.0, "clip_usdt": 1000.0, **changes})
    venues = (VenueTerms(venue=name, taker_fee_bps=FEE_BPS) for name in ("spot", "perp"))
    return Market(*venues, Latency(1.0, 1.0), tuple(payments), rule)


def traded(basis_bps: np.ndarray) -> tuple[bool, list[str]]:
    """Whether reversion is exported on these quotes, and the gates that it missed."""
    tape, demands = quotes(basis_bps), Constraints(look_back_h=basis_bps.size * ROW_S / HOUR)
    here = market_of(max_quote_age_s=ROW_S)
    try:
        verdict = judge(tape, search.choose(tape, here, demands))
    except DataError as error:
        return False, [str(error)[:40]]
    if verdict.trade:
        return True, []
    if verdict.judgement is None or not verdict.choice.trade:
        return False, [f"choice: {verdict.choice.reason.split(': ')[-1][:45]}"]
    return False, [g.name for g in verdict.judgement.gates if not (g.passed or g.warning)]


def carried(rng, mean_bps: float, *, fades: bool = False, days: int = 240) -> tuple[bool, list[str]]:
    """Whether carry is exported: funding that persists (AR 0.8 between stamps) around a mean, bps a stamp."""
    stamps = days * 3
    noise = lfilter([1.0], [1.0, -0.8], rng.normal(size=stamps) * 0.6 * 0.5)
    level = mean_bps * (np.where(np.arange(stamps) < stamps / 2, 1.0, -0.3) if fades else 1.0)
    payments = [FundingPayment(k * 8 * HOUR * NS, float(from_bps(r)), 100.0, True) for k, r in enumerate(level + noise)]
    tape = quotes(ou(rng, days * 24 / (HOUR / ROW_S), 3.0, 24 * ROW_S), row_s=HOUR)
    here = market_of(payments, leg_deadline_s=5400.0, max_hold_s=30 * 86_400.0, max_quote_age_s=60.0)
    found = carry_walk_forward.asked(tape, here, "carry")
    missed = [found.reason[:60]] if found.walk is None else [g.name for g in found.walk.gates if not g.passed]
    return found.trade, missed or ([] if found.trade else ["no rule now"])


if __name__ == "__main__":
    main()
