"""Every compiled function called once: what a first call waits for is waited for at a time of one's choosing.

A set-up compiles by `python -m delta_arb.optimize.first_calls`, the build of a wheel takes the machine code along, and a run
of notebooks loads it once for all its kernels.
"""

import time

import numpy as np

from delta_arb.backtest import replay
from delta_arb.backtest.sweep import sweep
from delta_arb.latency import Latency
from delta_arb.market import NS
from delta_arb.numba_cache import compiled
from delta_arb.optimize import carry_ways
from delta_arb.quotes import one_pass, tape
from delta_arb.quotes.checks import Limits, Quotes, check
from delta_arb.quotes.files import Rows
from delta_arb.rule_params import Rule
from delta_arb.stats import level_shifts, ou
from delta_arb.strategy.rule import make_rule
from delta_arb.strategy.signal import Filter
from delta_arb.venue_terms import VenueTerms

ROWS = 600  # minutes
LATENCY = Latency(0.1, 0.1)


def research() -> None:
    """Those of the sweep, the replay and the fits."""
    quotes = _quotes(ROWS, 60 * NS)
    events = tape.align(quotes, quotes)
    venues = VenueTerms(venue="mexc"), VenueTerms(venue="gate")
    rule = make_rule(Rule(entry_bps=30, exit_bps=-30, max_hold_s=3600, clip_usdt=100), *venues)
    sweep(events, [rule, rule], LATENCY)  # two: bounds of prices are made for more than one
    replay.run(events, rule, LATENCY)
    replay.shifts(events, Filter(1e-3, 0.0, 1e-3, 1e-4, 60.0))
    noisy = np.random.default_rng(7).normal(size=ROWS)
    ou.fit(noisy, quotes.ts_ns)
    level_shifts.level_shifts(noisy, quotes.ts_ns)
    compiled(carry_ways.most_in_turn)(noisy, noisy)


def long_recordings() -> None:
    """Those by which long recordings are checked and merged."""
    quotes = _quotes(one_pass.WORTH, NS)
    check(Rows(quotes.ts_ns, quotes.bid, quotes.bid_qty, quotes.ask, quotes.ask_qty), Limits())
    tape.align(quotes, quotes)


def _quotes(rows: int, step_ns: int) -> Quotes:
    """One leg whose price swings."""
    ts_ns = np.arange(rows) * step_ns
    bid = 100.0 + np.sin(np.arange(rows) / 20)
    sizes = np.full(rows, 50.0)
    return Quotes(ts_ns, bid, bid + 0.01, sizes, sizes, ts_ns)


if __name__ == "__main__":
    began = time.monotonic()
    research()
    long_recordings()
    print(f"delta_arb: compiled for this machine in {time.monotonic() - began:.0f} s")
