"""Peak memory of a pair from a recording to a verdict: 30 days at a row a second and at ten.

    python tests/benchmarks/bench_memory.py                                    both
    python tests/benchmarks/bench_memory.py --days 10 --rates 10 --steps read,search

Each step is a process of its own that does everything up to it; memory is its largest resident size less what importing
takes. A tape of n events takes 57 bytes an event (`tape_mb`): the rest is what reading and searching need beside it.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from table import report

DAY_NS = 86_400_000_000_000
START_NS = 1_769_731_200_000_000_000  # 2026-01-30
PAIR = "SYN_USDT"
LEGS = {"spot": "mexc/spot", "perp": "gate/perp"}
STEPS = ("read", "reversion", "search", "verdict")


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--days", type=int, default=30)
    options.add_argument("--rates", default="1,10", help="rows a second and leg")
    options.add_argument("--steps", default=",".join(STEPS))
    options.add_argument("--step", help=argparse.SUPPRESS)
    options.add_argument("--data", help=argparse.SUPPRESS)
    options = options.parse_args()
    if options.step:
        print(json.dumps(measured(options.step, Path(options.data))))
        return
    days, rows = options.days, []
    for rate in map(float, options.rates.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                [sys.executable, "-c", WRITE, folder, str(days), str(rate)], cwd=Path(__file__).parent, check=True
            )
            for step in options.steps.split(","):
                command = [sys.executable, __file__, "--step", step, "--data", folder]
                said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
                rows.append({"days": days, "rows_a_second": rate, "step": step, **json.loads(said.splitlines()[-1])})
    report("memory", rows, ("numpy", "pyarrow", "numba"), method="ru_maxrss less that after the imports")


WRITE = "import sys; from bench_memory import write; write(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))"


def write(folder: str, days: int, rate: float) -> None:
    """Both legs follow one walk, and their distance comes back within minutes."""
    import pyarrow as pa

    from delta_arb.collect.recording_files import write_parquet
    from delta_arb.quotes.recorded import MARK, SOURCES
    from delta_arb.quotes.stream_file import QUOTES

    rng = np.random.default_rng(7)
    n, level, gap = round(86_400 * rate), 100_000.0, 0.0
    for day in range(days):
        at_ns = START_NS + day * DAY_NS + np.sort(rng.integers(0, DAY_NS, n))
        walk = level + np.cumsum(rng.normal(0, 3 / rate**0.5, n))
        noise, back = rng.normal(0, 20 / rate**0.5, n), np.exp(-1 / (600 * rate))
        distance = _ou(noise, back, gap)
        level, gap = walk[-1], distance[-1]
        for leg, market in LEGS.items():
            bid = np.round(walk + (leg == "perp") * distance).astype(np.int64)
            own_ns = at_ns + (leg == "perp") * 1_000_000
            sizes = rng.integers(1, 1000, (2, n))
            columns = [own_ns, own_ns - 2_000_000, np.arange(n), bid, sizes[0], bid + rng.integers(1, 4, n), sizes[1]]
            target = Path(folder) / market / PAIR / "quotes"
            target.mkdir(parents=True, exist_ok=True)
            (target / MARK).write_text('{"synthetic": true}')
            name = str(np.datetime64(START_NS + day * DAY_NS, "ns"))[:10]
            header = {"dataset": "quotes", "pair": PAIR, "digits": [4, 0, 4, 0], SOURCES: []}
            write_parquet(target / f"{name}.parquet", pa.table(columns, names=list(QUOTES.columns)), header)


def _ou(noise: np.ndarray, back: float, start: float) -> np.ndarray:
    from scipy.signal import lfilter

    return lfilter([1.0], [1.0, -back], noise, zi=[back * start])[0]


def measured(step: str, data: Path) -> dict:
    import delta_arb as da

    market = da.Market(fee_bps=0.5, latency_s=0.1)
    _ = da.mean_reversion, da.choose, da.judge
    before, began_s = _peak_mb(), time.perf_counter()
    tape = da.read_quotes(data=data, pair=PAIR, funding="none", contract_size=1)
    [tape.inputs.digest(leg) for leg in LEGS]
    if step == "reversion":
        da.mean_reversion(tape, market)
    if step in ("search", "verdict"):
        choice = da.choose(tape, market, da.Rule(clip_usdt=50, max_hold_s=3600.0))
    if step == "verdict":
        da.judge(tape, choice)
    size = tape.nbytes
    return {
        "events": len(tape),
        "tape_mb": round(size / 1e6),
        "peak_mb": round(_peak_mb() - before),
        "whole_mb": round(_peak_mb()),
        "seconds": round(time.perf_counter() - began_s, 1),
    }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
