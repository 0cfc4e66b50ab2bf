"""What a leg that rests earns on recorded books and trades, under every assumption; and what a sweep of such rules costs.

    python tests/benchmarks/bench_maker.py [--data ../shared/data]

A spot leg rests at both ends; levels stand around the mean basis of the first minute, which was known before the first quote,
by half a distance each. Distances of 0 to 8 bps, latency 0.1 s each way, makers pay nothing, the hedge takes at 2 bps. A few
minutes are no sample: the table says what a trip earned there, and no more. Then 200 distances and budgets are swept beside
200 levels of takers on the same tape, in turn, best of 5: nanoseconds of one thread an event and set, trades counted as events.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # this checkout, installed or not

from delta_arb.backtest.replay import run
from delta_arb.backtest.sweep import sweep
from delta_arb.latency import Latency
from delta_arb.market import ASSUMPTIONS, BACK, NS, SPOT, to_bps
from delta_arb.quotes.depth_and_trades import NO_PRINTS, Queues, read_prints
from delta_arb.quotes.tape import LegFile, Tape, read
from delta_arb.rule_params import RestingLeg, Rule
from delta_arb.strategy.rule import make_rule
from delta_arb.strategy.state import MachineRule
from delta_arb.venue_terms import VenueTerms

DAYS = ("2023-04-05", "2024-08-08")
DISTANCES = (0.0, 2.0, 4.0, 8.0)
LATENCY = Latency(0.1, 0.1)
SPOT_TERMS = VenueTerms(venue="binance", taker_fee_bps=5.0, maker_fee_bps=0.0, qty_step=1e-5, price_tick=0.01)
PERP_TERMS = VenueTerms(venue="futures", taker_fee_bps=2.0, qty_step=1e-3, min_qty=1e-3, price_tick=0.1)


def recording(data: Path, day: str) -> Tape:
    legs = [LegFile(data / f"binance_{name}_BTC_USDT_book_{day}.parquet", "updates") for name in ("spot", "futures")]
    trades, _ = read_prints(data / f"binance_spot_BTC_USDT_trades_{day}.parquet", legs[SPOT])
    return replace(read(*legs), queues=Queues(trades, NO_PRINTS, BACK))


def mean_bps(tape: Tape) -> float:
    """The mean basis of the first minute, bps."""
    first = tape.between(tape.start_ns, tape.start_ns + 60 * NS)
    spot, perp = (first.spot_bid + first.spot_ask) / 2, (first.perp_bid + first.perp_ask) / 2
    return float(np.mean(to_bps((perp - spot) / spot)))


def rule(mean: float, distance: float, quotes_per_minute: float = 60.0, rests: bool = True) -> MachineRule:
    """Net of fees the round trip asks for the distance: half of it on each side of the mean."""
    role = (
        {"spot_role": "maker", "resting": RestingLeg(adverse_bps=0.0, quotes_per_minute=quotes_per_minute)}
        if rests
        else {}
    )
    fees = 0.0 if rests else 7.0
    levels = {"entry_bps": mean + distance / 2 + 0.01 + fees, "exit_bps": mean - distance / 2 - fees}
    return make_rule(
        Rule(**levels, **role, clip_usdt=1500.0, max_hold_s=120.0, max_quote_age_s=2.0), SPOT_TERMS, PERP_TERMS
    )


def measured(tape: Tape, mean: float, distance: float) -> dict:
    done = run(tape, rule(mean, distance), LATENCY)
    notional = sum(t.notional_usdt for t in done.trades)
    return {
        "trips": len(done.trades),
        "quotes": sum(order.post_only for order in done.sent),
        "resting_fills": len(done.rested),
        "net_bps_a_trip": round(to_bps(done.net_usdt / notional), 2) if notional else None,
    }


def speed(tape: Tape, mean: float) -> tuple[float, float]:
    """Nanoseconds an event and set: resting, and taking."""
    events = len(tape) + len(tape.queues.spot.ts_ns)
    makers = [rule(mean, d, q) for d in np.linspace(0, 10, 20) for q in (6, 12, 20, 30, 60, 90, 120, 180, 240, 300)]
    takers = [rule(mean, d, rests=False) for d in np.linspace(-14, 10, 200)]
    best = {}
    for _ in range(5):
        for name, rules, count in (("rests", makers, events), ("takes", takers, len(tape))):
            began = time.thread_time()
            sweep(tape, rules, LATENCY, threads=1)
            spent = time.thread_time() - began
            best[name] = min(best.get(name, np.inf), spent / len(rules) / count * 1e9)
    return best["rests"], best["takes"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    data = parser.parse_args().data
    if not data.is_dir():
        sys.exit(f"error: no recordings in {data}; name their folder with --data")
    pays = []
    for day in DAYS:
        tape = recording(data, day)
        mean = mean_bps(tape)
        for distance in DISTANCES:
            found = {a: measured(tape.assuming(a), mean, distance) for a in ASSUMPTIONS}
            for assumption, row in found.items():
                print(f"BTC {day}, mean {mean:.1f} bps, distance {distance:g} bps, {assumption}: {row}", flush=True)
            if all((found[a]["net_bps_a_trip"] or -1.0) > 0 for a in ("back", "through")):
                pays.append(f"{day} at {distance:g} bps")
    print(f"Pays under back and through: {', '.join(pays) or 'none, an honest no'}.")
    rests, takes = speed(tape, mean)
    print(f"A sweep of 200 sets, ns an event and set: {rests:.1f} resting, {takes:.2f} taking, in one run.")


if __name__ == "__main__":
    main()
