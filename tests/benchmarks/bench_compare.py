"""The same thresholds over the same quotes by what a user would pick instead; each must trade on the very same rows.

The job is the least that all of them can do: from flat, open on the row where selling the perpetual at its bid and
buying spot at its ask pays the entry level; from open, close on the row where leaving costs the exit level or less; no
fees, no latency worth a row. Ours settles and marks each trade on top. Every program gets as many rows as it can do in
some seconds, and its answer is compared on those. Engines that bring packages of their own run apart (`compare_engines`).
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from bench_backtest import SECOND, rule
from bench_backtest import tape as walk
from table import report

from delta_arb.backtest.replay import run
from delta_arb.backtest.sweep import sweep
from delta_arb.latency import Latency
from delta_arb.market import entry_edge, exit_cost
from delta_arb.quotes.tape import Tape

ENTRY, EXIT, SETS = 0.0007, -0.0007, 1000
PRICES = ("spot_bid", "spot_ask", "perp_bid", "perp_ask")
AT_ONCE = Latency(1e-9, 1e-9)  # arrives before the next row


def tape(events: int) -> Tape:
    """The walk of `bench_backtest`, prices on a grid of 1e-6, both legs confirmed at every row, sizes that limit no clip."""
    of = walk(events)
    ages = np.zeros(events, np.int64)
    sizes = {f"{leg}_{side}_qty": np.full(events, 1e6) for leg in ("spot", "perp") for side in ("bid", "ask")}
    prices = {name: np.round(getattr(of, name), 6) for name in PRICES}
    return Tape.wide(ts_ns=of.ts_ns, leg=of.leg, **prices, **sizes, spot_age_ns=ages, perp_age_ns=ages)


def of_levels(entry: float):
    free = rule(entry, EXIT).spot._replace(fee=0.0)
    return rule(entry, EXIT)._replace(max_hold_ns=30 * 86_400 * SECOND, spot=free, perp=free)


def signals(quotes: Tape) -> tuple[np.ndarray, np.ndarray]:
    return entry_edge(quotes.spot_ask, quotes.perp_bid), exit_cost(quotes.spot_bid, quotes.perp_ask)


# --- Each gives the rows on which it opened, then those on which it closed --------------------------------------------


def ours(quotes: Tape) -> np.ndarray:
    done = run(quotes, of_levels(ENTRY), AT_ONCE)
    opened = {order.pair: order.ts_ns for order in reversed(done.sent)}
    closed = {order.pair: order.ts_ns for order in done.sent if order.ts_ns > opened[order.pair]}
    stamps = np.array([(opened[pair], closed[pair]) for pair in closed])
    return np.searchsorted(quotes.ts_ns, stamps)


def looped(edges, costs, entry, exit_, found):
    """The plain loop; compiled by numba as it stands."""
    trades, opened = 0, -1
    for i in range(len(edges)):
        if opened < 0:
            if edges[i] >= entry:
                opened = i
        elif costs[i] <= exit_:
            found[trades, 0], found[trades, 1] = opened, i
            trades, opened = trades + 1, -1
    return trades


def numba_loop(quotes: Tape) -> np.ndarray:
    edges, costs = signals(quotes)
    found = np.zeros((len(edges), 2), np.int64)
    return found[: compiled_loop()(edges, costs, ENTRY, EXIT, found)]


def compiled_loop(made=[]):  # noqa: B006, compiled once
    if not made:
        made.append(importlib.import_module("numba").njit(looped))
    return made[0]


def pandas_iterrows(quotes: Tape) -> np.ndarray:
    import pandas as pd

    found, opened = [], None
    for i, row in pd.DataFrame({name: getattr(quotes, name) for name in PRICES}).iterrows():
        if opened is None:
            if entry_edge(row.spot_ask, row.perp_bid) >= ENTRY:
                opened = i
        elif exit_cost(row.spot_bid, row.perp_ask) <= EXIT:
            found.append((opened, i))
            opened = None
    return np.array(found)


def backtesting_py(quotes: Tape) -> np.ndarray:
    """The short perpetual alone, for it knows one instrument; the levels are asked of the signals."""
    import pandas as pd
    from backtesting import Backtest, Strategy

    edges, costs = signals(quotes)
    bars = pd.DataFrame(dict.fromkeys(("Open", "High", "Low", "Close"), quotes.perp_bid))
    bars["Edge"], bars["Cost"] = edges, costs

    class Basis(Strategy):
        def init(self):
            pass

        def next(self):
            if not self.position:
                if self.data.Edge[-1] >= ENTRY:
                    self.sell(size=1)
            elif self.data.Cost[-1] <= EXIT:
                self.position.close()

    bars.index = pd.to_datetime(quotes.ts_ns)
    trades = Backtest(bars, Basis, cash=1e6, trade_on_close=True).run()._trades
    return trades[["EntryBar", "ExitBar"]].to_numpy()


def vectorbt(quotes: Tape) -> np.ndarray:
    import vectorbt as vbt

    edges, costs = signals(quotes)
    book = vbt.Portfolio.from_signals(quotes.perp_bid, edges >= ENTRY, costs <= EXIT, direction="shortonly", size=1.0)
    trades = book.trades.records
    return trades[trades["status"] == 1][["entry_idx", "exit_idx"]].to_numpy()


OTHERS = (
    (numba_loop, "numba", 1_000_000), (vectorbt, "vectorbt", 1_000_000), (backtesting_py, "backtesting", 100_000),
    (pandas_iterrows, "pandas", 100_000),
)  # fmt: skip
APART = (("hftbacktest", "2.4.4", 1_000_000), ("nautilus_trader", "1.221.0", 100_000))


def apart(engine: str, pinned: str, quotes: Tape) -> tuple[float, np.ndarray]:
    """Seconds and rows of an engine in a folder of packages of its own, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, f"{engine}=={pinned}"]
        subprocess.run(pip, check=True)
        np.savez(Path(folder) / "tape.npz", leg=quotes.leg, **{name: getattr(quotes, name) for name in PRICES})
        script = [
            str(Path(__file__).with_name("compare_engines.py")),
            engine,
            f"{folder}/tape.npz",
            str(ENTRY),
            str(EXIT),
        ]
        told = subprocess.run(
            [sys.executable, *script], env=os.environ | {"PYTHONPATH": folder}, stdout=subprocess.PIPE, check=True
        ).stdout
    answer = json.loads(told.splitlines()[-1])
    return answer["seconds"], np.array(answer["rows"])


def timed(job, *given):
    began = time.process_time()
    answer = job(*given)
    return time.process_time() - began, answer


def main() -> None:
    quotes = {events: tape(events) for events in {events for *_, events in OTHERS}}
    full = quotes[max(quotes)]
    many = [of_levels(float(entry)) for entry in np.linspace(ENTRY, ENTRY * 1.02, SETS)]
    sweep(full, many[:1], AT_ONCE)
    sweep_s, swept = timed(lambda *given: sweep(*given, threads=1), full, many, AT_ONCE)
    ours_ns = sweep_s / SETS / len(full) * 1e9
    closed = int(swept.figures["trades"][0]) - int(swept.figures["open_at_end"][0])
    rows = [_row("delta_arb sweep", "this", len(full), closed, ours_ns, ours_ns)]
    packages = []
    for job, package, events in OTHERS:
        try:
            installed = version(package)
            job(tape(1000))  # compiled here, not in what is measured
        except (ImportError, PackageNotFoundError) as error:
            print(f"{package} is not installed here: {error}")
            continue
        job_s, answer = timed(job, quotes[events])
        _compare(package, answer, quotes[events])
        packages.append(package)
        rows.append(_row(job.__name__, installed, events, len(answer), job_s / events * 1e9, ours_ns))
    for engine, pinned, events in APART:
        try:
            job_s, answer = apart(engine, pinned, quotes[events])
        except subprocess.CalledProcessError as error:
            print(f"{engine} {pinned} does not install or run here: {error}")
            continue
        _compare(engine, answer, quotes[events])
        rows.append(_row(engine, pinned, events, len(answer), job_s / events * 1e9, ours_ns))
    method = f"one run, processor time; ours: {SETS} sets, settled and marked; others one set, after a first call; same rows asserted"
    report("compare", rows, ("numpy", *packages), method=method)


def _compare(program: str, answer: np.ndarray, quotes: Tape) -> None:
    expected = ours(quotes)
    assert len(expected) > 0, "no trade in the sample: nothing is compared"
    assert np.array_equal(np.asarray(answer)[: len(expected)], expected), (program, answer, expected)
    assert len(answer) == len(expected), (program, len(answer), len(expected))


def _row(program: str, installed: str, events: int, trades: int, ns: float, ours_ns: float) -> dict:
    return {
        "program": program, "version": installed, "events": events, "trades": trades, "ns_per_set_event": ns,
        "times_ours": ns / ours_ns,
    }  # fmt: skip


if __name__ == "__main__":
    main()
