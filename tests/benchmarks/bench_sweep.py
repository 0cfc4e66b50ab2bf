"""Ten thousand parameter sets over a million quotes: the sweep against the same kernel without jumping.

`rare`: thresholds that trade about twenty times per million events; `busy`: thresholds that trade constantly. Both
are measured in one run, on one core; the sets differ in their entry by up to 2 %, so none is the copy of another.
"""

import time

import numpy as np
from bench_backtest import LATENCY, rule, tape
from table import report

from delta_arb import sweep as sweeping
from delta_arb.backtest import looks
from delta_arb.kalman import OFF
from delta_arb.sweep import FIGURES, sweep

EVENTS, SETS, EVERY_ROW = 1_000_000, 10_000, 20


def sets(entry: float, exit_: float, count: int) -> list:
    return [rule(float(e), exit_) for e in np.linspace(entry, entry * 1.02, count)]


def seconds(job) -> float:
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


def every_row(job) -> float:
    """The same job with the extremes left out, so that each row is looked at."""
    jumping = sweeping.looks
    sweeping.looks = lambda quotes, process: jumping(quotes, process, jumping=False)
    try:
        return seconds(job)
    finally:
        sweeping.looks = jumping


def main() -> None:
    first_s = seconds(lambda: sweep(tape(1000), sets(0.001, -0.001, 2), LATENCY))
    rows = []
    for events in (EVENTS, 10 * EVENTS):
        quotes = tape(events)
        held = sum(a.nbytes for a in (*looks(quotes, OFF)[1:], *sweeping._marks(quotes, True)[-2:]))
        for name, entry, exit_, count in (("rare", 0.001, -0.001, SETS), ("busy", -0.0005, 0.0005, 20)):
            many, few = sets(entry, exit_, count), sets(entry, exit_, min(count, EVERY_ROW))
            jump_s = seconds(lambda of=many, on=quotes: sweep(on, of, LATENCY)) / len(many)
            plain_s = every_row(lambda of=few, on=quotes: sweep(on, of, LATENCY)) / len(few)
            trades = float(sweep(quotes, few, LATENCY).figures["trades"].mean())
            rows.append(
                {
                    "levels": name, "events": events, "sets": len(many), "trades_per_set": trades,
                    "us_per_set": jump_s * 1e6, "every_row_us": plain_s * 1e6, "ratio": plain_s / jump_s,
                    "set_events_per_s": events / jump_s, "bytes_per_event": held / events,
                    "bytes_per_set": FIGURES.itemsize + 5 * 8, "first_call_s": first_s,
                }
            )  # fmt: skip
    goal = "rare at least 120 times every row, busy never slower; below 5 bytes an event and 200 a set"
    report("sweep", rows, ("numpy", "numba"), method="one run, one core; settled and marked in both", goal=goal)


if __name__ == "__main__":
    main()
