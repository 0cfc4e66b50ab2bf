"""A universe of pairs without edge, and what the screen saves and loses against the full walk.

    python tests/benchmarks/bench_universe.py [--quick] [--seed N] [--runs N] [--data FOLDER ...]

Null universes: `runs` of 200 worlds each, every one of them new, in which no rule earns (those of the gates but the late
feed, a row a minute over 30 days; of carry, hourly quotes over 240 days with funding of no mean, or one that fades), each
pair judged as one of 200, ranked and tested jointly. A run is false if any pair says trade. The bound is that of Clopper &
Pearson, one-sided 95 %, for a universe.

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
from delta_arb.universe.ranking import candidates, ranked
from delta_arb.universe.reading import Opened, Study, listed, opened

PAIRS = 200
DEMANDS = {"look_back_h": 96.0, "min_trades_day": 1.0}


def minutes(kind: str, rng) -> Opened:
    """30 days of minutes: a null of the gates with every time six times as long."""
    return _of(replace(NULLS[kind](rng, 60.0), row_s=60.0))


def strong(rng) -> Opened:
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
    "edges, reversion": [strong],
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


def null_universes(runs: int, seed: int, study: Study) -> dict:
    """Universes of 200 worlds each, all of them new: how many say trade of any pair."""
    kinds = [make for name, made in POOLS.items() if "null" in name for make in made]
    false, began = 0, time.process_time()
    for run in range(runs):
        firsts, seconds = [], {}
        for k in range(PAIRS):
            of = kinds[k % len(kinds)](np.random.default_rng([seed, run, k]))
            first, second, _ = looked(f"{k}", of, study)
            firsts.append(first)
            seconds |= {f"{k}": second} if second else {}
        trades = ranked(firsts, seconds, {}, {}, "").trades
        false += bool(trades)
        print(run, len(seconds), [each.pair for each in trades], f"{time.process_time() - began:.0f} s", flush=True)
    bound = 1.0 if false == runs else float(betaincinv(false + 1, runs - false, 0.95))
    return {
        "what": "null universes", "pairs": runs * PAIRS, "runs": runs, "with a trade": false, "bound": bound,
        "CPU, s": time.process_time() - began,
    }  # fmt: skip


def edges(name: str, worlds: int, seed: int, study: Study) -> dict:
    """Of how many worlds with an edge a universe says trade: each alone among 199 without."""
    found = 0
    for pair, of in made_of(name, seed, worlds):
        first, second, _ = looked(pair, of, study)
        others = [{"pair": f"other {k}", "refused": "?"} for k in range(PAIRS - 1)]
        found += bool(ranked([first, *others], {pair: second} if second else {}, {}, {}, "").trades)
    return {"what": name, "pairs": worlds, "with a trade": found}


def main() -> None:
    from table import report

    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--seed", type=int, default=np.random.SeedSequence().entropy % 2**32)
    arguments.add_argument("--runs", type=int, default=0, help="universes; 60, with --quick 1")
    arguments.add_argument("--only", choices=["", "null", "screen"], default="")
    arguments.add_argument("--data", nargs="*", default=[])
    options = arguments.parse_args()
    study, rows = Study(pairs=PAIRS, demands=DEMANDS), []
    if options.only != "screen":
        rows.append(null_universes(options.runs or (1 if options.quick else 60), options.seed, study))
        rows += [edges(name, 2 if options.quick else 12, options.seed, study) for name in POOLS if "edges" in name]
    found = [
        screened(name, made_of(name, options.seed, (24 if "null" in name else 4) // (3 if options.quick else 1)), study)
        for name in POOLS
        if options.only != "null"
    ]
    if options.data:
        pairs = [pair for folder in options.data for pair in read(Path(folder))]
        found.append(screened("recorded", pairs, Study(pairs=len(pairs), demands=DEMANDS)))
    if rows:
        report("universe", rows, packages=("numpy", "scipy", "numba"), seed=options.seed, quick=options.quick)
    if found:
        report("universe_screen", found, seed=options.seed, goal="share of walking all at most 0.15, lost 0")


def made_of(name: str, seed: int, n: int) -> list[tuple[str, Opened]]:
    kinds = POOLS[name]
    return [(f"{k}", kinds[k % len(kinds)](np.random.default_rng([seed, k, 1]))) for k in range(n)]


def read(folder: Path):
    """The pairs of a folder that can be read: spot from binance."""
    legs = "binance", next(v for v in ("gate", "binance") if (folder / v / "perp").exists())
    said = {"spot_venue": legs[0], "perp_venue": legs[1], "contract_size": 1.0, "perp_step": 1e-6}
    said |= {"spot_half_spread_bps": 1.0, "perp_half_spread_bps": 1.0}
    for pair in listed(folder, *legs):
        for paid in ("", "none"):  # of some none was recorded
            try:
                yield (
                    f"{folder.name} {pair}",
                    opened(Study(demands=DEMANDS, inputs=said | {"funding": paid}), pair, folder),
                )
                break
            except DeltaArbError as error:
                print(pair, error)


if __name__ == "__main__":
    main()
