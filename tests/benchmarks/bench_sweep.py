"""Thousands of rules over a million quotes: the sweep beside the loop that anybody would write, in one process, in turn.

Five jobs on the quotes of `plain_loop`: `wide` 100 x 100 levels, `near` 10,000 entries within 2 %, `dense` a thousand trades
a set, `busy` sets that always trade, `churn` calm and busy sets in one call. Each is timed by the processor time of one
thread a set, best of some rounds, beside `plain_loop.plain` with equal trades and money; the sweep marks equity at every
event besides. Rules of several clips, of both directions and with a known maintenance rate stand beside plain ones, a tape
of which nothing is known yet beside the plain loop. Then how cost grows, and end to end: a day of ten quotes a second in two
files, read, joined, and of 10,000 sets, `near` and `wide`, the best on the five hours behind each of 18 folds, as the
walk-forward sweeps them. First calls are measured in a copy of the package without caches.
"""

import dataclasses
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_backtest import LATENCY, SECOND, rule, tape
from plain_loop import FEE, plain, quotes
from table import report

import delta_arb
from delta_arb.backtest.performance import thinned
from delta_arb.backtest.sweep import FIGURES, sweep
from delta_arb.latency import Latency
from delta_arb.quotes.tape import LegFile, Tape, read
from delta_arb.wallets import BOUNDLESS, Funds

EVENTS, SETS, LOOPS, REPEATS = 1_000_000, 10_000, 16, 3
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


def seconds(job) -> float:
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


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


# --- Beside the plain loop --------------------------------------------------------------------------------------------

QUICK = Latency(1e-9, 1e-9)  # an order meets the book that it was decided on, as the plain loop has it
NEVER_LEFT_NS = 2**60


def plain_tape(columns: tuple) -> Tape:
    """The quotes of the plain loop as a tape: books without end, both legs confirmed on every row."""
    ts_ns, spot_bid, spot_ask, perp_bid, perp_ask = columns
    endless, fresh = np.full(len(ts_ns), 1e9), np.zeros(len(ts_ns), np.int64)
    return Tape.wide(
        ts_ns=ts_ns, leg=(np.arange(len(ts_ns)) % 2).astype(np.uint8), spot_bid=spot_bid, spot_ask=spot_ask,
        spot_bid_qty=endless, spot_ask_qty=endless, perp_bid=perp_bid, perp_ask=perp_ask, perp_bid_qty=endless,
        perp_ask_qty=endless, spot_age_ns=fresh, perp_age_ns=fresh,
    )  # fmt: skip


def plain_rule(entry_bps: float, exit_bps: float):
    """One USDT a trade, 5 bps a fill, held until the exit."""
    of = rule(entry_bps / 1e4, exit_bps / 1e4)
    leg = of.spot._replace(fee=FEE, min_notional_usdt=0.0)
    return of._replace(clip_usdt=1.0, rearm=0.0, max_hold_ns=NEVER_LEFT_NS, spot=leg, perp=leg)


def grid(entries, exits) -> list[tuple[float, float]]:
    return [(float(entry), float(exit_)) for entry in entries for exit_ in exits]


JOBS = {
    "wide": grid(np.linspace(8, 40, 100), np.linspace(-20, 8, 100)),
    "near": grid(np.linspace(24, 24 * 1.02, SETS), (-6.0,)),
    "dense": grid(np.linspace(0, 30, 12), np.linspace(-15, 15, 12)),
    "busy": [(-10.0, 10.0), (-10.0, 15.0), (-5.0, 15.0), (-8.0, 12.0)],
    "churn": grid(np.linspace(-10, 10, 4), np.linspace(-5, 15, 4)),
}


def processor_s(job) -> tuple[float, object]:
    began = time.process_time()
    made = job()
    return time.process_time() - began, made


def against_plain() -> list[dict]:
    columns = quotes(EVENTS)
    of = plain_tape(columns)
    plain(*columns, 10.0, 0.0, NEVER_LEFT_NS)
    sweep(of, [plain_rule(10.0, 0.0)], QUICK)  # both compiled
    rows = []
    for name, levels in JOBS.items():
        many, few = [plain_rule(*each) for each in levels], levels[:: max(1, len(levels) // LOOPS)]
        ours_s, loop_s = np.inf, np.inf
        for _ in range(REPEATS):
            took_s, swept = processor_s(lambda many=many: sweep(of, many, QUICK, threads=1))
            ours_s = min(ours_s, took_s / len(many))
            took_s, found = processor_s(lambda few=few: [plain(*columns, *each, NEVER_LEFT_NS) for each in few])
            loop_s = min(loop_s, took_s / len(few))
        for figures, (trades, _, money, _, _) in zip(
            swept.figures[:: max(1, len(levels) // LOOPS)], found, strict=True
        ):
            assert figures["trades"] == trades and abs(figures["net_usdt"] - money) < 1e-9
        trades = float(swept.figures["trades"].mean())
        rows.append(
            {
                "job": name, "sets": len(many), "trades_per_set": trades, "us_per_set": 1e6 * ours_s,
                "us_per_trade": 1e6 * ours_s / trades, "plain_us": 1e6 * loop_s, "ratio": loop_s / ours_s,
            }
        )  # fmt: skip
    return rows


# --- Other rules, a tape that nobody has seen, and how cost grows -----------------------------------------------------


def against_plain_rules() -> list[dict]:
    """400 sets each, all trades of one direction but for `reverse`, whose sets trade twice as often."""
    of = tape(EVENTS)
    base = [rule(float(entry), -0.0008) for entry in np.linspace(0.0008, 0.0020, 400)]
    kinds = {
        "plain": (base, BOUNDLESS),
        "clips": ([r._replace(max_position_usdt=300.0) for r in base], BOUNDLESS),
        "reverse": ([r._replace(reverse_entry=0.0012, reverse_exit=-0.0012) for r in base], Funds(1e6, 1e6, 1e6)),
        "maintenance": ([r._replace(perp=r.perp._replace(maintenance=0.005, leverage=3.0)) for r in base], BOUNDLESS),
    }
    sweep(of, base[:1], LATENCY)
    took, trades = dict.fromkeys(kinds, np.inf), {}
    for _ in range(REPEATS):
        for name, (many, funds) in kinds.items():
            s, swept = processor_s(lambda many=many, funds=funds: sweep(of, many, LATENCY, funds=funds, threads=1))
            took[name], trades[name] = min(took[name], s / len(many)), float(swept.figures["trades"].mean())
    return [
        {"rules": name, "trades_per_set": trades[name], "us_per_set": 1e6 * s, "times_plain_rules": s / took["plain"]}
        for name, s in took.items()
    ]


def seen_first() -> list[dict]:
    """One set on a tape that is new each time; the plain loop knows nothing beforehand either."""
    columns = quotes(EVENTS)
    of, one = plain_tape(columns), [plain_rule(16.0, -6.0)]
    ours_s = loop_s = np.inf
    for _ in range(2 * REPEATS):
        new = dataclasses.replace(of)
        ours_s = min(ours_s, processor_s(lambda new=new: sweep(new, one, QUICK, threads=1))[0])
        loop_s = min(loop_s, processor_s(lambda: plain(*columns, 16.0, -6.0, NEVER_LEFT_NS))[0])
    ours_ns, loop_ns = 1e9 * ours_s / EVENTS, 1e9 * loop_s / EVENTS
    return [{"job": "one set anew", "ns_per_event": ours_ns, "plain_ns": loop_ns, "ratio": loop_ns / ours_ns}]


def growth() -> list[dict]:
    """The levels of `wide`, fewer or more of them, on fewer or more events; a first call has been before."""
    rows = []
    for events, axis in (
        (100_000, 100),
        (1_000_000, 10),
        (1_000_000, 32),
        (1_000_000, 100),
        (1_000_000, 316),
        (10_000_000, 32),
    ):
        of = plain_tape(quotes(events))
        many = [plain_rule(*each) for each in grid(np.linspace(8, 40, axis), np.linspace(-20, 8, axis))]
        sweep(of, many[:1], QUICK)
        took_s, swept = processor_s(lambda of=of, many=many: sweep(of, many, QUICK, threads=1))
        trades = int(swept.figures["trades"].sum())
        rows.append(
            {
                "events": events, "sets": len(many), "trades": trades, "s": took_s, "us_per_set": 1e6 * took_s / len(many),
                "us_per_trade": 1e6 * took_s / trades,
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
        found = sweep(known, of, LATENCY, marked=marked, span=(start_ns, until_ns), threads=1)
        best.append(int(np.argmax(found.figures["net_usdt"])))
    return best


def end_to_end() -> list[dict]:
    near = [rule(float(entry), -0.001) for entry in np.linspace(0.001, 0.00102, SETS)]
    wide = [rule(entry, exit_) for entry, exit_ in grid(np.linspace(8e-4, 40e-4, 100), np.linspace(-20e-4, 8e-4, 100))]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = write_legs(tape(DAY), Path(folder))
        quotes = read(*files)
        read_s = statistics.median(processor_s(lambda: read(*files))[0] for _ in range(REPEATS))
    for name, of in (("near", near), ("wide", wide)):
        walk_s = min(processor_s(lambda of=of: chosen(quotes, of))[0] for _ in range(REPEATS))
        rows.append(
            {
                "job": name, "events": len(quotes), "sets": SETS, "folds": FOLDS, "read_s": read_s, "walk_s": walk_s,
                "end_to_end_s": read_s + walk_s,
            }
        )  # fmt: skip
    return rows


def main() -> None:
    cold, cached = first_calls()
    first = {"first_call_s": cold[0], "first_call_cpu_s": cold[1], "first_cached_s": cached[0]}
    goal = "wide and near 120 times the plain loop, dense as fast, busy and churn 0.3 us a trade; 200 bytes a set"
    method = f"ratio to plain_loop.plain in this run; processor time of one thread, best of {REPEATS}"
    size = {"bytes_per_set": FIGURES.itemsize + 5 * 8}
    report("sweep", against_plain(), ("numpy", "numba"), method=method, goal=goal, **first, **size)
    report("sweep_rules", against_plain_rules(), goal="each at most twice a plain rule")
    report("sweep_first", seen_first(), goal="1.5 ns an event")
    report("sweep_growth", growth())
    report(
        "sweep_walk",
        end_to_end(),
        ("numpy", "pyarrow"),
        goal="0.15 s near and 0.25 s wide, processor time of one thread",
    )


if __name__ == "__main__":
    main()
