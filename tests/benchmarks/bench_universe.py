"""A universe of pairs without edge, and what the screen saves and loses against the full walk.

    python tests/benchmarks/bench_universe.py [--quick] [--seed N] [--pool N] [--runs N] [--data FOLDER ...]

Null universe: a pool of worlds in which no rule earns (those of the gates but the late feed, a row a minute over 30 days; of carry, hourly
quotes over 240 days with funding of no mean, or one that fades), each looked at once as one of 200 pairs; then `runs`
universes of 200 are drawn from the pool, ranked and tested jointly. A run is false if any pair says trade. Runs share
their pool, so the bound is of the pool's pairs: Clopper & Pearson, one-sided 95 %, for one pair, times 200.

Screen: process time of both looks, of pairs that the pipeline does not export, against walking every fold of every pair,
and against the pipeline's own questions, which end where a choice fails; `lost` are pairs and ways that the pipeline
exports and the screen excludes. With --data also on folders that
`download` wrote (half-spreads of 1 bp, spot from binance).
"""

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # one core, before numpy is loaded

import numpy as np
from scipy.special import betaincinv

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # measures this checkout, installed or not

from worlds import HOUR, NULLS, funding, market_of, ou, tape_of

from delta_arb.errors import DeltaArbError
from delta_arb.market import NS
from delta_arb.optimize import carry_walk_forward, search
from delta_arb.optimize.study import CARRY, Constraints, Frame
from delta_arb.optimize.verdict import MOST_FOLDS, judge
from delta_arb.optimize.walk_forward import walk_forward
from delta_arb.universe import screen
from delta_arb.universe.look import first_of, second_of
from delta_arb.universe.pairs import listed
from delta_arb.universe.ranking import candidates, ranked
from delta_arb.universe.reading import Opened, Study, opened

PAIRS = 200
DEMANDS = {"look_back_h": 96.0, "min_trades_day": 1.0}


def minutes(kind: str, rng) -> Opened:
    """30 days of minutes: a null of the gates with every time six times as long."""
    return _of(replace(NULLS[kind](rng, 60.0), row_s=60.0))


def edge(rng) -> Opened:
    """A strong edge over the same 30 days."""
    return _of(replace(ou(rng, 60.0, 25.0), row_s=60.0))


def _of(basis) -> Opened:
    demands = Constraints(**DEMANDS)
    here = market_of(max_quote_age_s=60.0, max_hold_s=demands.max_hold_s).with_latency(1.0, 1.0)
    return Opened(None, basis.tape, here, demands)


def carried(rng, mean_bps: float, later: float = 1.0) -> Opened:
    """240 days of hours with funding around a mean."""
    hours = 240 * 24
    spot = 100 * np.exp(rng.normal(0, 0.002, hours).cumsum())
    tape = tape_of(spot, spot * (1 + ou(rng, hours / 720, 2.0).bps[:hours] * 1e-4), HOUR)
    paid = [p._replace(mark=100.0) for p in funding(rng, 240, mean_bps, later)]
    return Opened(None, tape, market_of(paid, max_quote_age_s=60.0).with_latency(1.0, 1.0), Constraints(**DEMANDS))


POOLS = {
    "null, reversion": [lambda rng, kind=kind: minutes(kind, rng) for kind in NULLS if kind != "lagged feed"],
    "null, carry": [lambda rng: carried(rng, 0.0), lambda rng: carried(rng, 1.0, 0.0)],
    "edges, reversion": [edge],
    "edges, carry": [lambda rng: carried(rng, 1.5)],
}


def looked(pair: str, of: Opened, study: Study) -> tuple[dict, dict, float]:
    """Both looks, and their seconds of the processor."""
    began = time.process_time()
    first = {"pair": pair, "guessed": [], "notes": [], "bad_share": 0.0} | first_of(of, study)
    first |= {"one_coin": True}  # worlds of one coin, whose returns may be those of the basis alone
    ways = candidates(first, [])
    second = second_of(of, study, ways) if ways else {}
    return first, second, time.process_time() - began


def full(of: Opened, pairs: int) -> tuple[set[str], float]:
    """The ways that the pipeline exports, asked of everything, and the seconds."""
    began, trades = time.process_time(), set()
    try:
        if judge(of.tape, search.choose(of.tape, of.market, of.constraints), upstream=pairs).trade:
            trades.add("reversion")
        if carry_walk_forward.asked(of.tape, of.market, CARRY, pairs, of.constraints).trade:
            trades.add("carry")
    except DeltaArbError:
        pass  # it exports nothing
    return trades, time.process_time() - began


def walked(of: Opened) -> float:
    """Seconds of walking every fold of every pair, and carry."""
    began, hold_s = time.process_time(), of.constraints.max_hold_s
    look_back_s = screen.look_back_s(of.tape, of.constraints) // 900 * 900
    traded_s = (of.tape.end_ns - of.tape.start_ns) / NS - look_back_s - hold_s
    step_s = max(4 * HOUR, traded_s / MOST_FOLDS // 900 * 900 + 900)
    try:
        frame = Frame(look_back_s, step_s, hold_s)
        walk_forward(of.tape, of.market, of.constraints, frame, rng=np.random.default_rng(1))
        carry_walk_forward.asked(of.tape, of.market, CARRY, 1.0, of.constraints)
    except DeltaArbError:
        pass  # too short to be walked
    return time.process_time() - began


def screened(name: str, pairs: list[tuple[str, Opened]], study: Study) -> dict:
    """CPU of both looks over that of the full procedure, of pairs that it does not export; and what is lost."""
    ours = theirs = walks = 0.0
    lost, exported, without_edge = [], 0, 0
    if pairs:  # compiles, and loads what is compiled
        full(pairs[0][1], study.pairs), looked(*pairs[0], study)
    for pair, of in pairs:
        trades, seconds = full(of, study.pairs)
        try:
            _, second, mine = looked(pair, of, study)
        except DeltaArbError:
            second, mine = {}, 0.0
        exported += len(trades)
        lost += [f"{pair} {way}" for way in trades - second.keys()]
        if not trades:
            ours, theirs, without_edge = ours + mine, theirs + seconds, without_edge + 1
            walks += walked(of)
    print(name, lost, flush=True)
    return {
        "what": f"screen, {name}", "pairs": len(pairs), "without edge": without_edge, "s a pair": ours / max(without_edge, 1),
        "share of walking all": ours / max(walks, 1e-9), "share of the pipeline": ours / max(theirs, 1e-9),
        "exported": exported, "lost": len(lost),
    }  # fmt: skip


def universes(name: str, pool: list[tuple[dict, dict]], runs: int, rng) -> dict:
    """Universes of 200 drawn from the pool: how many say trade of any pair."""
    false, pairs = 0, set()
    for _ in range(runs):
        drawn = rng.choice(len(pool), PAIRS, replace=len(pool) < PAIRS)
        firsts = [pool[k][0] | {"pair": f"{n}"} for n, k in enumerate(drawn)]
        seconds = {f"{n}": pool[k][1] for n, k in enumerate(drawn) if pool[k][1]}
        trades = ranked(firsts, seconds, {}, {}, "").trades
        false += bool(trades)
        pairs |= {int(drawn[int(each.pair)]) for each in trades}
    bound = 1.0 if len(pairs) == len(pool) else float(betaincinv(len(pairs) + 1, len(pool) - len(pairs), 0.95))
    return {
        "what": name, "pool": len(pool), "runs": runs, "runs with a trade": false, "share": false / runs,
        "pairs of the pool": len(pairs), "bound of a pair": bound,
    }  # fmt: skip


def main() -> None:
    from table import report

    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--seed", type=int, default=np.random.SeedSequence().entropy % 2**32)
    arguments.add_argument("--pool", type=int, default=0, help="worlds of each pool")
    arguments.add_argument("--runs", type=int, default=60)
    arguments.add_argument("--only", choices=["", "null", "screen"], default="")
    arguments.add_argument("--data", nargs="*", default=[])
    options = arguments.parse_args()
    pool_size = options.pool or (18 if options.quick else 400)
    study, rows = Study(pairs=PAIRS, demands=DEMANDS), []
    for name, kinds in POOLS.items() if options.only != "screen" else ():
        size = pool_size if "null, reversion" in name else max(pool_size // (4 if "null" in name else 20), 6)
        made = [
            (f"{k}", kinds[k % len(kinds)](np.random.default_rng([options.seed, k, *map(ord, name)])))
            for k in range(size)
        ]
        pool = [looked(pair, of, study)[:2] for pair, of in made]
        rows.append(universes(name, pool, options.runs, np.random.default_rng(options.seed)))
        print(rows[-1], flush=True)
    found = [
        screened(name, made_of(name, options.seed, 8 if options.quick else 24), study)
        for name in POOLS
        if options.only != "null"
    ]
    for folder in map(Path, options.data):
        spot = {
            "spot_venue": "binance",
            "perp_venue": next(v for v in ("gate", "binance") if (folder / v / "perp").exists()),
        }
        asked = Study(
            pairs=50, demands=DEMANDS,
            inputs=spot | {"contract_size": 1.0, "perp_step": 1e-6, "spot_half_spread_bps": 1.0, "perp_half_spread_bps": 1.0},
        )  # fmt: skip
        found.append(screened(folder.name, list(read(asked, folder, *spot.values())), asked))
        print(found[-1], flush=True)
    if rows:
        report("universe", rows, packages=("numpy", "scipy", "numba"), seed=options.seed, quick=options.quick)
    if found:
        report("universe_screen", found, seed=options.seed, goal="share of walking all at most 0.15, lost 0")


def made_of(name: str, seed: int, n: int) -> list[tuple[str, Opened]]:
    kinds = POOLS[name]
    return [(f"{k}", kinds[k % len(kinds)](np.random.default_rng([seed, k, 1]))) for k in range(n)]


def read(study: Study, folder: Path, *venues: str):
    """The pairs of a folder that can be read."""
    for pair in listed(folder, *venues):
        for paid in ("", "none"):  # of some none was recorded
            try:
                yield pair, opened(replace(study, inputs=study.inputs | {"funding": paid}), pair, folder)
                break
            except DeltaArbError as error:
                print(pair, error)


if __name__ == "__main__":
    main()
