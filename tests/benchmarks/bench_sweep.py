"""Ten thousand parameter sets over a million quotes: the sweep against the same kernel that shares and skips nothing.

`rare`: thresholds that trade about twenty times per million events, up to 2 % apart, so none is the copy of another;
`grid`: as many from 5 to 15 bps, with exits from -15 to 0; `busy`: thresholds that trade constantly. Each is measured
against sets that look at every row on their own, in one run, on one core, the ratio as the median of some. Then end to
end: a day of ten quotes a second in two files, read, joined, and of 10,000 sets the best on the five hours behind each of
18 folds, by all processors; no statistics. First calls are measured in a copy of the package without caches.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_backtest import LATENCY, SECOND, rule, tape
from table import report

import delta_arb
from delta_arb.backtest import sweep as sweeping
from delta_arb.backtest.performance import thinned
from delta_arb.backtest.replay import looks
from delta_arb.backtest.sweep import FIGURES, sweep
from delta_arb.quotes.tape import LegFile, Tape, read
from delta_arb.strategy.signal import OFF

EVENTS, SETS, EVERY_ROW, REPEATS = 1_000_000, 10_000, 20, 3
DAY, FOLDS = 864_000, 18
HOUR = 3600 * SECOND

FIRST_CALL = """
import time
import bench_backtest as bench
from delta_arb.backtest.sweep import sweep

tape, rules = bench.tape(1000), [bench.rule(0.001, -0.001)]
began, cpu = time.perf_counter(), time.process_time()
sweep(tape, rules, bench.LATENCY)
print(time.perf_counter() - began, time.process_time() - cpu)
"""


def sets(entry: float, exit_: float, count: int) -> list:
    return [rule(float(e), exit_) for e in np.linspace(entry, entry * 1.02, count)]


def seconds(job) -> float:
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


def every_row(job) -> float:
    """The same job without extremes, so that each set looks at each row."""
    kept = sweeping.looks
    sweeping.looks = lambda *given: kept(*given, jumping=False)
    try:
        return seconds(job)
    finally:
        sweeping.looks = kept


def first_calls() -> tuple[list[float], list[float]]:
    """Seconds and CPU seconds of the first call without any cache, and of the first one that finds the code on disk."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(delta_arb.__file__).parent
        shutil.copytree(package, Path(folder) / "delta_arb", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("bench_backtest.py", "table.py"):
            shutil.copy(Path(__file__).with_name(name), folder)
        command = [sys.executable, "-c", FIRST_CALL]
        done = [subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True) for _ in range(2)]
    cold, cached = ([float(part) for part in each.stdout.split()] for each in done)
    return cold, cached


def wide(count: int) -> list:
    """A square grid of levels."""
    side = round(count**0.5)
    return [
        rule(float(e), float(x)) for e in np.linspace(0.0005, 0.0015, side) for x in np.linspace(-0.0015, 0.0, side)
    ]


def ratios() -> list[dict]:
    rows = []
    for events in (EVENTS, 10 * EVENTS):
        quotes = tape(events)
        held = sum(a.nbytes for a in (*looks(quotes, OFF)[1:], *sweeping._marks(quotes, True)[-2:]))
        share = events // EVENTS  # fewer sets of a longer tape
        jobs = (
            ("rare", sets(0.001, -0.001, SETS // share)), ("grid", wide(SETS // share)),
            ("busy", sets(-0.0005, 0.0005, EVERY_ROW // share)),
        )  # fmt: skip
        for name, many in jobs:
            few = many[:: max(len(many) * share // EVERY_ROW, 1)]
            timed = []
            for _ in range(REPEATS):
                jump_s = seconds(lambda of=many, on=quotes: sweep(on, of, LATENCY, threads=1)) / len(many)
                apart_s = every_row(lambda of=few, on=quotes: sweep(on, of, LATENCY, threads=1)) / len(few)
                timed.append((jump_s, apart_s))
            jump_s, plain_s = (statistics.median(column) for column in zip(*timed, strict=True))
            rows.append(
                {
                    "levels": name, "events": events, "sets": len(many),
                    "trades_per_set": float(sweep(quotes, few, LATENCY).figures["trades"].mean()),
                    "us_per_set": jump_s * 1e6, "every_row_us": plain_s * 1e6,
                    "ratio": statistics.median(plain / jump for jump, plain in timed),
                    "set_events_per_s": events / jump_s, "bytes_per_event": held / events,
                    "bytes_per_set": FIGURES.itemsize + 5 * 8,
                }
            )  # fmt: skip
    return rows


# --- End to end -------------------------------------------------------------------------------------------------------


def write_legs(of: Tape, folder: Path) -> list[LegFile]:
    """The rows of either leg of a tape as a recording."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = []
    for k, leg in enumerate(("spot", "perp")):
        of_leg = of.leg == k
        columns = {"timestamp": pa.array(of.ts_ns[of_leg], pa.timestamp("ns", "UTC"))}
        for side in ("bid", "ask"):
            columns[f"{side}_price"] = getattr(of, f"{leg}_{side}")[of_leg]
            columns[f"{side}_quantity"] = getattr(of, f"{leg}_{side}_qty")[of_leg]
        path = folder / f"{leg}.parquet"
        pq.write_table(pa.table(columns), path, compression="zstd")
        files.append(LegFile(path, "updates"))
    return files


def chosen(quotes: Tape, of: list) -> list[int]:
    """The best set of the five hours behind the embargo of an hour before each fold, as the walk-forward sweeps them."""
    best = []
    for start_ns in range(quotes.start_ns, quotes.start_ns + FOLDS * HOUR, HOUR):
        known, until_ns = quotes.between(start_ns, start_ns + 6 * HOUR), start_ns + 5 * HOUR
        marked = thinned(known, start_ns, until_ns, 900.0)
        found = sweep(known, of, LATENCY, marked=marked, start_ns=start_ns, until_ns=until_ns)
        best.append(int(np.argmax(found.figures["net_usdt"])))
    return best


def end_to_end() -> dict:
    of = sets(0.001, -0.001, SETS)
    with tempfile.TemporaryDirectory() as folder:
        files = write_legs(tape(DAY), Path(folder))
        quotes = read(*files)
        read_s = statistics.median(seconds(lambda: read(*files)) for _ in range(REPEATS))
    walk_s = seconds(lambda: chosen(quotes, of))
    return {
        "events": len(quotes), "sets": SETS, "folds": FOLDS, "read_s": read_s, "walk_s": walk_s,
        "end_to_end_s": read_s + walk_s,
    }  # fmt: skip


def main() -> None:
    cold, cached = first_calls()
    first = {"first_call_s": cold[0], "first_call_cpu_s": cold[1], "first_cached_s": cached[0]}
    goal = "first call 10 s; rare at least 120 times every row, busy never slower; below 5 bytes an event, 200 a set"
    method = f"one run, one core, medians of {REPEATS}; settled and marked in both"
    report("sweep", ratios(), ("numpy", "numba"), method=method, goal=goal, **first)
    report("sweep_walk", [end_to_end()], ("numpy", "numba", "pyarrow"), goal="0.5 s from Parquet to what is chosen")


if __name__ == "__main__":
    main()
