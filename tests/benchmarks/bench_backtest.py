"""The replay on a million quotes: plain Python against the compiled machine, and what the first call costs.

The same lines run in both; the tape is a seeded random walk of 0.1 s between rows whose basis reverts with a half-life
of ten minutes. `flat`: a threshold that is never reached, so every row is looked at and nothing is decided. `wide`:
thresholds some trades a day apart. `busy`: a trade every dozen rows, so that what is measured is the money of the
trades, which stays in Python. The first call is measured in processes of their own, in a copy of the package without
caches.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from table import report

import delta_arb
from delta_arb.backtest.replay import run
from delta_arb.latency import Latency
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.state import LegRule, MachineRule

SECOND = 1_000_000_000
EVENTS, PLAIN_EVENTS, REPEATS = 1_000_000, 100_000, 3
LATENCY = Latency(0.1, 0.1)

FIRST_CALL = """
import time
import bench_backtest as bench
from delta_arb.backtest.replay import run

tape, rule = bench.tape(1000), bench.rule(0.0, 0.0)
began = time.perf_counter()
run(tape, rule, bench.LATENCY)
print(time.perf_counter() - began)
"""


def tape(events: int) -> Tape:
    """Rows of both legs, 0.1 s apart; prices near 100 USDT, spreads of 2 and 4 bps, a basis of sd 10 bps."""
    rng = np.random.default_rng(7)
    ts_ns = np.arange(events) * (SECOND // 10)
    leg = rng.integers(0, 2, events, dtype=np.uint8)
    mid = 100.0 * np.exp(np.cumsum(rng.normal(0, 2e-5, events)))
    kept = np.exp(-np.log(2) / 6000)
    kicks = rng.normal(0, 1e-3 * np.sqrt(1 - kept**2), events).tolist()
    basis, level = np.empty(events), 0.0
    for i, kick in enumerate(kicks):
        level = kept * level + kick
        basis[i] = level
    perp = mid * (1 + basis)
    sizes = rng.uniform(5, 50, (4, events))
    row = np.arange(events)
    ages = []
    columns = {}
    for name, k, price, half in (("spot", 0, mid, 1e-4), ("perp", 1, perp, 2e-4)):
        last = np.maximum.accumulate(np.where(leg == k, row, 0))  # the row that is in force
        columns[f"{name}_bid"], columns[f"{name}_ask"] = (price * (1 - half))[last], (price * (1 + half))[last]
        columns[f"{name}_bid_qty"], columns[f"{name}_ask_qty"] = sizes[2 * k][last], sizes[2 * k + 1][last]
        ages.append(ts_ns - ts_ns[last])
    return Tape.wide(ts_ns=ts_ns, leg=leg, **columns, spot_age_ns=ages[0], perp_age_ns=ages[1])


def rule(entry: float, exit: float) -> MachineRule:  # noqa: A002, the word of the trade
    """One clip of 100 USDT, an hour at most."""
    leg = LegRule(step=0.0, min_qty=0.0, min_notional_usdt=1.0, fee=0.0005)
    return MachineRule(
        may_enter=True, flatten=False, entry=entry, exit=exit, rearm=0.0005, max_hold_ns=3600 * SECOND, clip_usdt=100.0,
        participation=1.0, step=0.0, max_quote_age_ns=5 * SECOND, price_bound=0.005, leg_tolerance=0.01,
        leg_deadline_ns=15 * SECOND, spot=leg, perp=leg,
    )  # fmt: skip


def best_seconds(of: Tape, with_rule: MachineRule, *, plain: bool) -> tuple[float, int]:
    """Shortest of some runs, and the trades."""
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        result = run(of, with_rule, LATENCY, plain=plain)
        taken.append(time.perf_counter() - began)
    return min(taken), len(result.trades)


def first_call_seconds() -> tuple[float, float]:
    """First call without any cache, and first call of a second process that finds the compiled code on disk."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(delta_arb.__file__).parent
        shutil.copytree(package, Path(folder) / "delta_arb", ignore=shutil.ignore_patterns("__pycache__"))
        for file in (Path(__file__), Path(__file__).with_name("table.py")):
            shutil.copy(file, folder)
        command = [sys.executable, "-c", FIRST_CALL]
        done = [subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True) for _ in range(2)]
    return float(done[0].stdout), float(done[1].stdout)


def main() -> None:
    cold_s, cached_s = first_call_seconds()
    million, part = tape(EVENTS), tape(PLAIN_EVENTS)
    run(part, rule(0.0, 0.0), LATENCY)  # compiled or loaded here, not in what is measured
    rows = []
    for name, entry, exit_ in (("flat", 1.0, -1.0), ("wide", 0.0010, -0.0010), ("busy", -0.0005, 0.0005)):
        fast_s, trades = best_seconds(million, rule(entry, exit_), plain=False)
        slow_s, _ = best_seconds(part, rule(entry, exit_), plain=True)
        fast_ns, slow_ns = fast_s / EVENTS * 1e9, slow_s / PLAIN_EVENTS * 1e9
        rows.append(
            {
                "tape": name, "events": EVENTS, "trades": trades, "compiled_ns": fast_ns, "plain_ns": slow_ns,
                "ratio": slow_ns / fast_ns, "seconds": fast_s,
                "us_per_trade": (fast_s - rows[0]["seconds"]) / trades * 1e6 if name == "busy" else None,
                "first_call_s": cold_s, "first_cached_s": cached_s,
            }
        )  # fmt: skip
    method = f"ns per event, best of {REPEATS}; plain on {PLAIN_EVENTS:,} events of the same make"
    goal = "compiled at least 100 times as fast as plain (flat and wide)"
    report("backtest", rows, ("numpy", "numba"), method=method, goal=goal)
    for row in rows[:2]:
        assert row["ratio"] > 100, row


if __name__ == "__main__":
    main()
