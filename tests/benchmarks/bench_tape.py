"""How fast, and in how much memory, two recordings become one checked tape.

    python tests/benchmarks/bench_tape.py [rows per leg ...]        default: 1000000 10000000

Goal: 1e6 rows per leg in 0.6 s on one core (median of warm runs), peak memory at most three times the tape, linear
to 1e7. The clean case is random-walk quotes; the dirty one has 2 % bad rows of every kind in each leg as well.

Each case is measured in a process of its own, pinned to one core. Seconds: median of the warm runs, files in the
page cache. Memory: the rise of the process's peak resident size (ru_maxrss) over that after the imports, during
the first read, as a multiple of the tape's bytes; it contains arrow's buffers and every numpy temporary.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # measures this checkout, installed or not

SIZES = (1_000_000, 10_000_000)
START_NS = 1_760_140_800_000_000_000  # 2025-10-11
MEAN_STEP_NS = 86_400_000  # 1e6 rows a day
RUNS = 7


def main(sizes: list[int]) -> None:
    from table import report

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for n in sizes:
            for case, bad_share in (("clean", 0.0), ("dirty", 0.02)):
                files = [Path(folder) / f"{case}_{leg}.parquet" for leg in ("spot", "perp")]
                for seed, path in enumerate(files):
                    _run("--write", path, n, bad_share, seed)
                rows.append({"case": case, "rows_per_leg": n, **json.loads(_run("--read", *files))})
    report(
        "tape",
        rows,
        packages=("numpy", "pyarrow"),
        method="own process, one core; seconds: median of warm runs; memory: rise of ru_maxrss in the first read",
        goal="1e6 rows per leg: 0.6 s, peak at most 3 times the tape; linear to 1e7",
    )


def write_leg(path: Path, n: int, bad_share: float, seed: int) -> None:
    """A random walk of one tick around 60,000 with sizes of 0.001 to 10, `bad_share` of its rows spoilt."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed)
    ts_ns = START_NS + np.cumsum(rng.exponential(MEAN_STEP_NS, n).astype(np.int64))
    bid = 60_000 + 0.1 * np.cumsum(rng.integers(-1, 2, n))
    ask = bid + 0.1 * rng.integers(1, 4, n)
    bid_qty, ask_qty = rng.integers(1, 10_000, (2, n)) / 1000
    spoil(rng.permutation(n)[: int(bad_share * n)], ts_ns, bid, ask, bid_qty, ask_qty)
    columns = {
        "timestamp": pa.array(ts_ns, pa.timestamp("ns", "UTC")),
        "bid_price": bid,
        "bid_quantity": bid_qty,
        "ask_price": ask,
        "ask_quantity": ask_qty,
    }
    pq.write_table(pa.table(columns), path, compression="zstd")


def spoil(at, ts_ns, bid, ask, bid_qty, ask_qty) -> None:
    """Write defects of every kind into the columns, one kind per row of `at`."""
    late, nan, zero, one_sided, crossed, locked, absurd = np.array_split(at, 7)
    ts_ns[late] -= 10 * MEAN_STEP_NS
    bid[nan] = np.nan
    ask_qty[zero] = 0.0
    bid[one_sided] = bid_qty[one_sided] = np.nan
    bid[crossed] = ask[crossed] + 0.1
    bid[locked] = ask[locked]
    ask[absurd] *= 10.0


def _run(*arguments: object) -> str:
    """What this script prints when called so, in a process of its own.

    Writing has one too: a child's peak size begins at its parent's, so the parent must stay small.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def read_legs(spot: str, perp: str) -> None:
    """Read the two files repeatedly on one core and print the figures as JSON."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from delta_arb.quotes.tape import TAPE_COLUMNS, LegFile, read

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for run in range(RUNS + 1):
        begin = time.perf_counter()
        tape = read(LegFile(spot, "updates"), LegFile(perp, "updates", contract_size=10.0))
        seconds.append(time.perf_counter() - begin)
        if run == 0:
            peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
            tape_bytes = sum(getattr(tape, name).nbytes for name in TAPE_COLUMNS)
        events = len(tape)
        del tape
    median = statistics.median(seconds[1:])
    figures = {
        "events": events,
        "seconds": round(median, 4),
        "worst_s": round(max(seconds[1:]), 4),
        "ns_per_row": round(median * 1e9 / events, 1),
        "tape_mb": round(tape_bytes / 1e6, 1),
        "peak_over_tape": round(peak / tape_bytes, 2),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--read", spot, perp]:
            read_legs(spot, perp)
        case ["--write", path, n, bad_share, seed]:
            write_leg(Path(path), int(n), float(bad_share), int(seed))
        case sizes:
            main([int(float(n)) for n in sizes] or list(SIZES))
