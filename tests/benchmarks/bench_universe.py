"""A universe of pairs without edge, and what the screen saves and loses against the full walk.

    python tests/benchmarks/bench_universe.py [--quick] [--seed N] [--runs N] [--kept FOLDER] [--data FOLDER]

Null universes: `runs` of 200 worlds each, every one of them new, in which no rule earns (those of the gates but the late
feed, a row a minute over 30 days; of carry, hourly quotes over 240 days with funding of no mean, or one that fades), each
pair judged as one of 200, ranked and tested jointly. A run is false if any pair says trade. The bound is that of Clopper &
Pearson, one-sided 95 %, for a universe.

Screen: process time of both looks, of pairs that the pipeline does not export, against walking every fold of every pair,
and against the pipeline's own questions, which end where a choice fails; `lost` are pairs and ways that the pipeline
exports and the screen excludes. With --data also on recorded candles: a folder of files named
<venue>_<spot|futures>_<coin>_USDT_candles_<bar>_<from>_<to>.parquet, of which each spot and perpetual file of a coin that
overlap in time become a pair (half-spreads of 1 bp; funding where it was recorded). With --keep FOLDER the pairs stay
there, as `download` writes them: `delta-arb universe --data FOLDER --spot-venue binance ...` reads them. With --beside FOLDER, a
tree of f5e8bbf with its .venv, also against what walking the same tapes takes that, in turn.

Workers (--only workers --data FOLDER): the command on those pairs in one process, in two, and on a Dask cluster of two, each
from nothing: processor time with that of its workers (user and system), wall time, and the digest, which is one. --times 4
lists each pair four times, under other names.
"""

import argparse
import ctypes
import json
import math
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

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
from delta_arb.quotes.tape import TAPE_COLUMNS
from delta_arb.universe import screen
from delta_arb.universe.jobs import KeptJob, Serial
from delta_arb.universe.jobs import run as run_jobs
from delta_arb.universe.look import first_of, second_of
from delta_arb.universe.ranking import candidates, ranked
from delta_arb.universe.reading import Opened, Study, opened

PAIRS = 200
PR_SET_CHILD_SUBREAPER = 36  # of Linux
SPOT_VENUE, PERP_VENUE = "binance", "gate"  # the folders of recorded pairs, whatever venue they are of
AGGREGATED = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
DEMANDS = {"look_back_h": 96.0, "min_trades_day": 1.0}
STUDY = Study(pairs=PAIRS, demands=DEMANDS)


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


def frame_of(of: Opened) -> Frame:
    """As a choice is framed, whose look-back has a half-life or not."""
    hold_s, look_back_s = of.constraints.max_hold_s, screen.look_back_s(of.tape, of.constraints) // 900 * 900
    traded_s = (of.tape.end_ns - of.tape.start_ns) / NS - look_back_s - hold_s
    return Frame(look_back_s, max(4 * HOUR, traded_s / MOST_FOLDS // 900 * 900 + 900), hold_s)


def walked(of: Opened) -> float:
    """Seconds of walking every fold of every pair, and carry."""
    began = time.process_time()
    try:
        walk_forward(of.tape, of.market, of.constraints, frame_of(of), rng=np.random.default_rng(1))
        carry_walk_forward.asked(of.tape, of.market, CARRY, 1.0, of.constraints)
    except DeltaArbError:
        pass  # too short to be walked
    return time.process_time() - began


LISTED = ("contract_size", "qty_step", "min_qty", "min_notional_usdt", "leverage", "price_tick", "maintenance_rate")
Asking = Callable[[Opened, int], np.ndarray]


@contextmanager
def beside(tree: Path | None) -> Iterator[Asking]:
    """What asks a tree of f5e8bbf for the seconds that walking a pair takes it, and its own question (`walk_beside`)."""
    if tree is None:
        yield lambda *_: np.full(2, np.nan)
        return
    command = [tree.resolve() / ".venv/bin/python", Path(__file__).with_name("walk_beside.py")]
    told, env = (
        {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True},
        os.environ | {"PYTHONPATH": str(tree.resolve())},
    )
    with TemporaryDirectory() as made, subprocess.Popen(command, cwd=tree, env=env, **told) as there:

        def ask(of: Opened, pairs: int) -> np.ndarray:
            path = Path(made, "pair.npz")
            told_to(path, of, pairs)
            print(path, file=there.stdin, flush=True)
            return np.array(there.stdout.readline().split(), float)

        yield ask
        there.stdin.close()


def told_to(path: Path, of: Opened, pairs: int) -> None:
    """A pair as `walk_beside` reads it."""
    here, frame = of.market, frame_of(of)
    legs = [
        {"venue": t.venue, "taker_fee": t.taker_fee} | {name: getattr(t, name) for name in LISTED}
        for t in (here.spot, here.perp)
    ]
    said = {
        "bar_s": of.tape.bar_s, "legs": legs, "latency_s": [here.latency.spot_s, here.latency.perp_s],
        "rule": here.settings.model_dump(), "demands": DEMANDS, "pairs": pairs,
        "frame": {"look_back_s": frame.look_back_s, "step_s": frame.step_s, "embargo_s": frame.embargo_s},
    }  # fmt: skip
    columns = {name: getattr(of.tape, name) for name in TAPE_COLUMNS}
    stamps = np.array([p.ts_ns for p in here.payments], np.int64)
    rates, marks = ([getattr(p, name) for p in here.payments] for name in ("rate", "mark"))
    np.savez(path, said=json.dumps(said), paid_ns=stamps, rates=rates, marks=marks, **columns)


def screened(name: str, pairs: list[tuple[str, Opened]], study: Study, ask: Asking) -> dict:
    """CPU of both looks over that of the full procedure, of pairs that it does not export; and what is lost."""
    ours = theirs = walks = 0.0
    lost, exported, without_edge, before = [], 0, 0, np.zeros(2)
    if pairs:  # compiles, and loads what is compiled
        full(pairs[0][1], study.pairs), looked(*pairs[0], study), ask(pairs[0][1], study.pairs)
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
            before += ask(of, study.pairs)
    print(name, lost, flush=True)
    return {
        "what": f"screen, {name}", "pairs": len(pairs), "without edge": without_edge, "s a pair": ours / max(without_edge, 1),
        "share of walking all": ours / max(walks, 1e-9), "share of the pipeline": ours / max(theirs, 1e-9),
        "of walking all beside": ours / before[0], "of its own question": ours / before[1],
        "exported": exported, "lost": len(lost),
    }  # fmt: skip


def null_universes(runs: int, seed: int, folder: Path) -> dict:
    """Universes of 200 worlds each, all of them new: how many say trade of any pair. Those in the folder are done."""
    asked = [KeptJob(f"{run}", "bench_universe:null_universe", {"seed": seed, "run": run}) for run in range(runs)]
    found = run_jobs(asked, folder, Serial(), lambda name: print(f"universe {name}", flush=True))
    false = sum(bool(each["trades"]) for each in found)
    bound = 1.0 if false == runs else float(betaincinv(false + 1, runs - false, 0.95))
    return {
        "what": "null universes", "pairs": runs * PAIRS, "runs": runs, "with a trade": false, "bound": bound,
        "CPU, s": sum(each["cpu_s"] for each in found),
    }  # fmt: skip


def null_universe(told: dict) -> dict:
    """Job: one of them, its pairs to trade and seconds of the processor."""
    kinds = [make for name, made in POOLS.items() if "null" in name for make in made]
    firsts, seconds, began = [], {}, time.process_time()
    for k in range(PAIRS):
        of = kinds[k % len(kinds)](np.random.default_rng([told["seed"], told["run"], k]))
        first, second, _ = looked(f"{k}", of, STUDY)
        firsts.append(first)
        seconds |= {f"{k}": second} if second else {}
    trades = [each.pair for each in ranked(firsts, seconds, {}, {}, "").trades]
    return {"trades": trades, "second looks": len(seconds), "cpu_s": time.process_time() - began}


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
    arguments.add_argument("--only", choices=["", "null", "screen", "workers"], default="")
    arguments.add_argument("--kept", type=Path, help="where finished null universes stay, so that a call goes on")
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--keep", type=Path)
    arguments.add_argument(
        "--beside", type=Path, help="a tree of f5e8bbf with its .venv, whose walks are timed in turn"
    )
    arguments.add_argument("--times", type=int, default=1, help="of --only workers: each pair so many times")
    options = arguments.parse_args()
    if options.only == "workers":
        with TemporaryDirectory() as made:
            laid_out(options.data, Path(made, "data"))
            report(
                "universe_workers",
                engines(Path(made, "data"), Path(made), options.times),
                goal="two workers 1.7 times as fast as one, Dask's CPU at most 1.15 of the pool's",
            )
        return
    if options.only != "screen":
        with TemporaryDirectory() as made:
            runs = options.runs or (1 if options.quick else 60)
            nulls = [null_universes(runs, options.seed, options.kept or Path(made))]
        report("universe", nulls, packages=("numpy", "scipy", "numba"), seed=options.seed)
        found = [edges(name, 2 if options.quick else 12, options.seed, STUDY) for name in POOLS if "edges" in name]
        report("universe_edges", found, seed=options.seed)
    if options.only == "null":
        return
    worlds = {name: (64 if "null" in name else 4) // (4 if options.quick else 1) for name in POOLS}
    with beside(options.beside) as ask:
        found = [screened(name, made_of(name, options.seed, n), STUDY, ask) for name, n in worlds.items()]
        if options.data:
            with TemporaryDirectory() as made:
                folder = options.keep or Path(made)
                pairs = list(read(laid_out(options.data, folder), folder))
            found.append(screened("recorded", pairs, Study(pairs=len(pairs), demands=DEMANDS), ask))
    report("universe_screen", found, seed=options.seed, goal="of walking all beside at most 0.15, lost 0")


def engines(data: Path, reports: Path, times: int) -> list[dict]:
    """What a universe of pairs, each listed so many times, takes on each engine: the least of three runs in turn."""
    for pair, k in product([*data.glob("*/*/*_USDT")], range(1, times)):
        pair.with_name(f"{k}{pair.name}").symlink_to(pair)
    said = f"--spot-venue {SPOT_VENUE} --perp-venue {PERP_VENUE} --contract-size 1 --perp-step 1e-6 --json"
    said += " --spot-half-spread-bps 1 --perp-half-spread-bps 1"
    # workers are no children of the command itself: whoever loses its parent becomes one of this process, and is counted
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    found = {"--workers 1": [], "--workers 2": [], "--cluster local --workers 2": []}
    for run, (engine, rows) in enumerate([*found.items()] * 3):
        into = ["--data", data, "--reports", reports / f"{run}"]
        command = [sys.executable, "-m", "delta_arb.universe", *into, *said.split(), *engine.split()]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        with (reports / "said").open("w+") as file:
            subprocess.run(command, check=True, stdout=file)
            wall = time.monotonic() - began
            file.seek(0)
            digest = json.loads(file.readlines()[-1])["digest"]
        wait_for_all()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        rows.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall, digest[:12]))
        print(engine, *rows[-1], flush=True)
    return [
        {"engine": engine, "CPU, s": min(cpu), "wall, s": min(wall), "digest": " ".join({*digests})}
        for engine, (cpu, wall, digests) in ((engine, zip(*rows, strict=True)) for engine, rows in found.items())
    ]


def wait_for_all() -> None:
    """Until the last process below this one has ended, whoever started it (Linux, see `engines`)."""
    with suppress(ChildProcessError):
        while True:
            os.wait()


def made_of(name: str, seed: int, n: int) -> list[tuple[str, Opened]]:
    kinds = POOLS[name]
    return [(f"{k}", kinds[k % len(kinds)](np.random.default_rng([seed, k, 1]))) for k in range(n)]


def laid_out(files: Path, into: Path) -> list[str]:
    """Recorded candles as `download` writes them, on the bars that both legs have, within the time of both; the pairs."""
    import pandas as pd

    listed_sizes = files / "gateio_futures_contracts_2023-05-24.parquet"
    sizes = {row.contract: row.quanto_multiplier for row in pd.read_parquet(listed_sizes).itertuples()}
    bars, pairs = [], []
    for path in sorted(files.glob("*_candles_*.parquet")):
        venue, leg, coin, bar = re.match(r"(\w+?)_(spot|futures)_(\w+?)_USDT_candles_(\w+?)_", path.name).groups()
        rows = pd.read_parquet(path).set_index("timestamp")
        rows["volume"] *= sizes.get(f"{coin}_USDT", 1.0) if (venue, leg) == ("gateio", "futures") else 1.0
        bars.append((venue, leg, coin, int(bar[:-1]) * {"m": 1, "h": 60}[bar[-1]], rows))
    for (_, one, coin, own, spot), (venue, other, same, theirs, perp) in product(bars, bars):
        since, until = max(spot.index[0], perp.index[0]), min(spot.index[-1], perp.index[-1])
        if (one, other, same) != ("spot", "futures", coin) or since >= until:
            continue
        pairs.append(f"{coin}{len(pairs) + 1}_USDT")
        minutes = math.lcm(own, theirs)
        for venue_and_leg, rows in ((f"{SPOT_VENUE}/spot", spot), (f"{PERP_VENUE}/perp", perp)):
            grouped = rows[since:until].resample(f"{minutes}min").agg(AGGREGATED).dropna().reset_index()
            _kept(grouped, into / venue_and_leg / pairs[-1] / f"candles_{minutes}m")
        paid = [pd.read_parquet(p) for p in files.glob(f"{venue}_futures_{coin}_USDT_funding_*.parquet")]
        most = max((p[p.timestamp.between(since, until)] for p in paid), key=len, default=())
        if len(most):
            _kept(most, into / PERP_VENUE / "perp" / pairs[-1] / "funding")
    return pairs


def _kept(rows, folder: Path) -> None:
    folder.mkdir(parents=True)
    for month, part in rows.groupby(rows.timestamp.dt.strftime("%Y-%m")):
        part.to_parquet(folder / f"{month}.parquet", index=False)


def read(pairs: list[str], folder: Path):
    """Those of them that can be read, without funding where it was not recorded throughout."""
    said = {"spot_venue": SPOT_VENUE, "perp_venue": PERP_VENUE, "contract_size": 1.0, "perp_step": 1e-6}
    said |= {"spot_half_spread_bps": 1.0, "perp_half_spread_bps": 1.0}
    for pair in pairs:
        for paid in ("", "none"):
            try:
                yield pair, opened(Study(demands=DEMANDS, inputs=said | {"funding": paid}), pair, folder)
                break
            except DeltaArbError as error:
                print(pair, error)


if __name__ == "__main__":
    main()
