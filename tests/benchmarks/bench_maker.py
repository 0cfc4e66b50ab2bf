"""What a resting spot leg, hedged on its fills, earns on recorded books and trades: before fees, under every assumption.

    python tests/benchmarks/bench_maker.py [--data ../shared/data]

The quote stands at the mean basis of the last minute (exponential, half-life 60 s), known at that moment: it buys at
hedge_bid / (1 + mean), and once bought and hedged it sells at hedge_ask / (1 + mean). Latency 0.1 s each way, clip 0.05
BTC, tolerance 1 bp, least life 1 s. A few minutes are no sample: the table says what a trip cost there, and no more.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # this checkout, installed or not

from delta_arb.backtest.maker_replay import Costs, MakerReplay, Print, Row
from delta_arb.market import NEVER, NS, PERP, SPOT
from delta_arb.strategy import resting
from delta_arb.strategy.queue_fills import ASSUMPTIONS
from delta_arb.strategy.quoting import BUY, SELL, Quoting, Sight
from delta_arb.strategy.resting import HedgeRule

DAYS = ("2023-04-05", "2024-08-08")
CLIP, HALF_LIFE_NS, AGE_NS = 0.05, 60 * NS, 2 * NS
COSTS = Costs(NS // 10, NS // 10, NS // 10, 0.0, 0.0, 0.0, 0.02)
QUOTING = Quoting(0.0, 0.0, 0.0, 1e-4, NS, AGE_NS, 0.01)
AFTER_NS = NS  # of adverse selection
HEDGE_FEE_BPS = 2.0


def columns(path: Path, *names: str) -> list[list]:
    table = pq.read_table(path)
    return [table["timestamp"].cast("int64").to_pylist(), *(table[name].to_pylist() for name in names)]


def recording(data: Path, day: str) -> tuple[list[Print], list[Row]]:
    sizes = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
    rows = [
        Row(ts, leg, *rest)
        for leg, name in ((SPOT, "spot"), (PERP, "futures"))
        for ts, *rest in zip(*columns(data / f"binance_{name}_BTC_USDT_book_{day}.parquet", *sizes), strict=True)
    ]
    trades = zip(
        *columns(data / f"binance_spot_BTC_USDT_trades_{day}.parquet", "side", "quantity", "price"), strict=True
    )
    return [Print(ts, BUY if side == "buy" else SELL, q, p) for ts, side, q, p in trades], sorted(rows)


class AtTheMean:
    """Buys, and once bought and hedged sells, at the mean basis of the last minute."""

    def __init__(self) -> None:
        self.mean: float | None = None
        self._at_ns = 0

    def __call__(self, pair, books, now_ns):
        spot, perp = books
        self._learn(perp.bid / spot.bid - 1.0, now_ns)
        side = pair.side if pair.price else BUY if pair.held < CLIP / 2 else SELL
        left = CLIP - pair.held if side == BUY else pair.held
        if pair.hedge_out or pair.take_out or abs(pair.naked) > 1e-9:
            left = 0.0
        sight = Sight(spot.bid, spot.ask, perp.bid, perp.ask, now_ns - perp.ts_ns)
        commands = resting.quote(pair, side, round(left, 8), sight, QUOTING._replace(edge=self.mean), now_ns)
        return commands, NEVER

    def _learn(self, basis: float, now_ns: int) -> None:
        if self.mean is None:
            self.mean = basis
        keep = math.exp(-math.log(2) * (now_ns - self._at_ns) / HALF_LIFE_NS) if self._at_ns else 0.0
        self.mean, self._at_ns = basis + keep * (self.mean - basis), now_ns


def adverse_bps(fills, rows) -> float:
    """Mean move of the spot mid against each fill after a second, bps; NaN without fills."""
    spot = [row for row in rows if row.leg == SPOT]
    stamps, mids = np.array([r.ts_ns for r in spot]), np.array([(r.bid + r.ask) / 2 for r in spot])

    def mid(at_ns: int) -> float:
        return mids[max(np.searchsorted(stamps, at_ns, "right") - 1, 0)]

    moves = [np.sign(f.qty) * (mid(f.ts_ns) - mid(f.ts_ns + AFTER_NS)) / mid(f.ts_ns) * 1e4 for f in fills]
    return float(np.mean(moves)) if moves else float("nan")


def measured(prints, rows, assumption: str) -> dict:
    run = MakerReplay(prints, rows, COSTS, HedgeRule(1e-3, 1e-3), assumption, AtTheMean())
    result = run.run()
    bought = sum(f.qty for f in result.fills if f.qty > 0)
    gross = result.net_marked / (bought * rows[0].ask) * 1e4 if bought else float("nan")
    return {
        "fills": len(result.fills),
        "trips": round(bought / CLIP, 1),
        "gross_bps_a_trip": round(gross, 2),
        "net_bps_hedged_at_2_bps": round(gross - 2 * HEDGE_FEE_BPS, 2),
        "adverse_1s_bps": round(adverse_bps(result.fills, rows), 2),
        "cancels": len(result.cancelled_ns) + result.found_filled,
        "cancels_that_came_late": result.found_filled,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    data = parser.parse_args().data
    if not data.is_dir():
        sys.exit(f"error: no recordings in {data}; name their folder with --data")
    rows = {}
    for day in DAYS:
        prints, books = recording(data, day)
        for assumption in ASSUMPTIONS:
            rows[f"BTC {day}, {assumption}"] = measured(prints, books, assumption)
            print(f"BTC {day}, {assumption}: {rows[f'BTC {day}, {assumption}']}", flush=True)
    pays = [name for name, row in rows.items() if row["net_bps_hedged_at_2_bps"] > 0]
    print(
        f"After two hedges of {HEDGE_FEE_BPS:g} bps each, the cheapest there are: {', '.join(pays) or 'none of these'} pays."
    )


if __name__ == "__main__":
    main()
