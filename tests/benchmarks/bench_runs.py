"""What a user waits for besides the numbers: a run of the notebooks, one that is refused, a judgement, --help.

CPU seconds with all child processes, medians of rounds in turn. `--beside FOLDER` runs the notebooks of another checkout,
with the .venv that it has, in turn with ours: on a busy machine only such ratios mean something.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as a user's Python, which compiles our sources once

import numpy as np
from scipy.signal import lfilter
from table import report

import delta_arb as da
from delta_arb.quotes.checks import Quotes
from delta_arb.quotes.tape import align

ROOT = Path(__file__).resolve().parents[2]
REFUSED = ("-p", "min_trades_day=500")
HOUR, NS = 3600, 1_000_000_000
COMMANDS = ("pipeline", "live", "review", "download", "record", "universe", "sandbox", "synthetic", "monitor", "index")
LOAD = "from delta_arb.report import kernels; kernels.load()"


def cpu_s(command: list[str], folder: Path) -> float:
    """Of a command and of all that it started."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run_s(folder: Path, *options: str) -> float:
    with tempfile.TemporaryDirectory() as reports:
        python = str(folder / ".venv" / "bin" / "python") if (folder / ".venv").exists() else sys.executable
        return cpu_s([python, "-m", "delta_arb.pipeline", "--reports", reports, *options], folder)


def week() -> tuple:
    """168 h of a basis of sd 12 bps and half-life 10 min, both legs every other second."""
    rng, rows = np.random.default_rng(7), 84 * HOUR
    kept = np.exp(-np.log(2) / 300)
    basis = lfilter([1], [1, -kept], rng.normal(0, 12e-4 * np.sqrt(1 - kept**2), rows))
    spot = 100.0 * np.exp(np.cumsum(rng.normal(0, 2e-5, rows)))
    legs = []
    for at, mid in ((0, spot), (1, spot * (1 + basis))):
        sizes, ts_ns = rng.uniform(5, 50, (2, rows)), (2 * np.arange(rows) + at) * NS
        legs.append(Quotes(ts_ns, mid * 0.9999, mid * 1.0001, *sizes, ts_ns))
    tape = align(*legs)
    return tape, da.choose(tape, da.Market(fee_bps=5, latency_s=0.1), demands=da.Constraints(look_back_h=48.0))


def judge_s(tape, choice) -> float:
    began = time.process_time()
    da.judge(tape, choice)
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beside", type=Path, help="another checkout, whose notebooks are run in turn with ours")
    options = parser.parse_args()
    judged = week()
    jobs = {
        "run that exports": lambda: run_s(ROOT),
        "run that is refused": lambda: run_s(ROOT, *REFUSED),
        "of both: libraries and machine code loaded": lambda: cpu_s([sys.executable, "-c", LOAD], ROOT),
        "judgement of a week": lambda: judge_s(*judged),
        "bare Python": lambda: cpu_s([sys.executable, "-c", ""], ROOT),
        **{f"{c} --help": lambda c=c: cpu_s([sys.executable, "-m", "delta_arb", c, "--help"], ROOT) for c in COMMANDS},
    }
    if options.beside:
        jobs["run that exports, beside"] = lambda: run_s(options.beside.resolve())
    run_s(ROOT)  # compiled here, not in what is measured
    judge_s(*judged)
    taken = {name: [] for name in jobs}
    for _ in range(options.rounds):
        for name, job in jobs.items():
            taken[name].append(job())
    export_s = statistics.median(taken["run that exports"])
    report(
        "runs",
        [
            {
                "job": name, "cpu_s": statistics.median(of), "least": min(of), "most": max(of),
                "of an export": statistics.median(of) / export_s,
            }
            for name, of in taken.items()
        ],
        ("numpy", "numba", "papermill", "matplotlib"),
        method=f"CPU seconds with child processes, medians of {options.rounds} rounds in turn",
        load=f"{os.getloadavg()[0]:.1f}",
    )  # fmt: skip


if __name__ == "__main__":
    main()
