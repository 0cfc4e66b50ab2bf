"""How fast, and in how much memory, two recordings become one checked tape.

    python tests/benchmarks/bench_tape.py [rows per leg ...]        default: 100000 1000000 10000000

Goal: twice as fast as polars, linear from 1e5 to 3e7 rows, peak memory at most 1.3 times the tape. The clean case is
random-walk quotes; the dirty one has 2 % bad rows of every kind in each leg as well.

Where polars is installed (`make bench-compare` brings it) the same two files go through it in turn with ours: `joins` are its two
as-of joins, each leg's rows with the other's book, unchecked; `polars_tape` puts both into one table in time order, as a tape is.

Each case is measured in a process of its own, pinned to one core. Seconds: median of the warm runs, files in the
page cache; processor time, of both. Memory: the rise of the process's peak resident size (ru_maxrss) over that after the imports, during
the first read, as a multiple of the tape's bytes; it contains arrow's buffers and every numpy temporary.
"""

import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from unittest.mock import patch

import numpy as np

POLARS = importlib.util.find_spec("polars") is not None
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # measures this checkout, installed or not

SIZES = (100_000, 1_000_000, 10_000_000)
START_NS = 1_760_140_800_000_000_000  # 2025-10-11
MEAN_STEP_NS = 86_400_000  # 1e6 rows a day
MOST_RUNS, ROWS = 7, 5e7  # warm runs of a size, as many as rows allow, and three at least


def main(sizes: list[int]) -> None:
    from table import report

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for n in sizes:
            for case, rows_a_leg, bad_share in (("small", 1000, 0.0), ("clean", n, 0.0), ("dirty", n, 0.02)):
                files = [Path(folder) / f"{case}_{leg}.parquet" for leg in ("spot", "perp")]
                for seed, path in enumerate(files):
                    _run("--write", path, rows_a_leg, bad_share, seed)
                if case == "small":
                    continue
                rows.append({"case": case, "rows_per_leg": n, **json.loads(_run("--read", *files))})
    report(
        "tape",
        rows,
        packages=("numpy", "pyarrow"),
        method="own process, one core; seconds of the processor: median of warm runs; memory: rise of ru_maxrss in the first read",
        goal="twice as fast as polars; peak at most 1.3 times the tape; linear from 1e5 to 3e7",
        polars=version("polars") if POLARS else "not installed",
    )


def write_leg(path: Path, n: int, bad_share: float, seed: int) -> None:
    """A random walk of ticks around 60,000, which is the other leg's too, with sizes of 0.001 to 10, `bad_share` of its rows spoilt."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng, market = np.random.default_rng(seed), np.random.default_rng(2)  # both legs follow one market
    ts_ns = START_NS + np.cumsum(rng.exponential(MEAN_STEP_NS, n).astype(np.int64))
    level = np.cumsum(market.integers(-1, 2, int(1.1 * n) + 1000))
    bid = 60_000 + 0.1 * (level[(ts_ns - START_NS) // MEAN_STEP_NS] + rng.integers(-1, 2, n))
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
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def read_legs(spot: str, perp: str) -> None:
    """Read the two files repeatedly on one core and print the figures as JSON."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from delta_arb.quotes import one_pass
    from delta_arb.quotes.tape import LegFile, read

    def ours():
        return read(LegFile(spot, "updates"), LegFile(perp, "updates", contract_size=10.0))

    with patch.object(one_pass, "WORTH", 2):  # what loading compiled code takes is not the read's
        read(*(LegFile(path.replace("clean", "small").replace("dirty", "small"), "updates") for path in (spot, perp)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tape = ours()
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    tape_bytes, events = tape.nbytes, len(tape)
    del tape
    ways = {"ours": ours, "decoding": lambda: decoded(spot, perp)}
    if POLARS and "clean" in spot:  # it joins no rows that go back
        ways |= {"joins": lambda: polars_joins(spot, perp), "polars_tape": lambda: polars_tape(spot, perp)}
    taken = {way: [] for way in ways}
    for _ in range(max(3, min(MOST_RUNS, int(ROWS / events)))):
        for way, act in ways.items():
            began = time.process_time()
            act()
            taken[way].append(time.process_time() - began)
    median = {way: statistics.median(seconds) for way, seconds in taken.items()}
    figures = {
        "events": events,
        "seconds": round(median["ours"], 4),
        "ns_per_row": round(median["ours"] * 1e9 / events, 1),
        "tape_mb": round(tape_bytes / 1e6, 1),
        "peak_over_tape": round(peak / tape_bytes, 2),
        **{f"{way}_over_ours": _over(median, way) for way in ("decoding", "joins", "polars_tape")},
    }
    print(json.dumps(figures))


def _over(median: dict[str, float], way: str) -> float | str:
    return round(median[way] / median["ours"], 2) if way in median else "-"


def decoded(spot: str, perp: str):
    """No more than the columns of both files, by pyarrow: what any reader that uses it takes at least."""
    import pyarrow.parquet as pq

    return [pq.read_table(path, use_threads=False) for path in (spot, perp)]


def polars_joins(spot: str, perp: str):
    """Each leg's rows with the book of the other then in force."""
    import polars as pl

    def named(table, leg):
        return table.rename({name: f"{leg}_{name}" for name in table.columns if name != "timestamp"})

    legs = {leg: named(pl.read_parquet(path), leg) for leg, path in (("spot", spot), ("perp", perp))}
    return [legs[own].join_asof(legs[other], on="timestamp") for own, other in (("spot", "perp"), ("perp", "spot"))]


def polars_tape(spot: str, perp: str):
    """The same as one table in time order."""
    joined = polars_joins(spot, perp)
    return joined[0].merge_sorted(joined[1].select(joined[0].columns), key="timestamp")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--read", spot, perp]:
            read_legs(spot, perp)
        case ["--write", path, n, bad_share, seed]:
            write_leg(Path(path), int(n), float(bad_share), int(seed))
        case sizes:
            main([int(float(n)) for n in sizes] or list(SIZES))
