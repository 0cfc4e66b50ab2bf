"""From a quote to both orders, with and without the monitor beside the runner, in turn: five minutes.

    python tests/benchmarks/bench_monitor.py

As bench_wire measures it, in fresh processes each time. The monitor is the one that `--monitor` starts: it asks the
runner's socket and looks at the journal twice a second. The two differ by no more than the rounds of each.
"""

import tempfile
from pathlib import Path

import numpy as np
from bench_wire import _measured, _row
from table import report

from delta_arb.live.__main__ import beside

ROUNDS, TICKS = 4, 60
PORT = 18642


def main() -> None:
    found = {name: {"runner": [], "missed": {"runner": 0}} for name in ("alone", "monitor beside")}
    for number in range(2 * ROUNDS):
        of = found[("alone", "monitor beside")[number % 2]]
        with tempfile.TemporaryDirectory() as folder, beside(PORT if number % 2 else 0, Path(folder)):
            measured = _measured(Path(folder), 1, TICKS)
        of["runner"] += measured["runner"]
        of["missed"]["runner"] += measured["missed"]["runner"]
    rows = [_row("runner", of) | {"client": name, "p50_of_rounds_ms": each(of["runner"])} for name, of in found.items()]
    report("live_monitor", rows, ("ccxt", "aiohttp", "uvloop"), rounds=ROUNDS, ticks=TICKS, what="median of the rounds")


def each(rounds: list) -> str:
    """p50 of the later order, round by round."""
    return " ".join(f"{np.percentile(np.array(ticks).max(axis=1) / 1e6, 50):.3f}" for ticks in rounds)


if __name__ == "__main__":
    main()
