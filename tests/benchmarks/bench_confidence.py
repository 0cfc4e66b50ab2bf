"""Whether the confidence is a probability: what was said before each fold of many walks, against what came.

    python tests/benchmarks/bench_confidence.py [--quick] [--seed N]       full: some 6 to 12 min on one core, quick: 1
    python tests/benchmarks/bench_confidence.py --data ../shared/data      on recorded candles instead

Before every fold the walk-forward says the probability that the fold's net is above zero, from the quotes before it.
The worlds are Ornstein-Uhlenbeck spreads as quotes, a row of both legs every five seconds, of half-lives from 3 minutes
to an hour and costs of half to three of its standard deviations; in the shifting ones the mean, the size and the speed
change some times in four days, and what was fitted before is wrong after it. Fills come a second late.

Recorded candles are of 5 minutes, walked in half days behind three days. At 5 bps a fill hardly anything is chosen on them, so
fees of 0.5 bps and half-spreads of 0.1 bps are stated and less is demanded: of these markets the result says nothing, only
whether probabilities hold.

Good is a Brier score below that of the base rate, the share of gains that nobody knew beforehand, and in each tenth of
what was said a share of gains within 0.05 of it; where a tenth holds few folds, within what chance allows (Wilson,
95 %). The seed is fresh in every run and printed; --seed repeats a run.
"""

import argparse
import math
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # one core, before numpy is loaded

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # measures this checkout, installed or not

from delta_arb.errors import DataError, DeltaArbError
from delta_arb.latency import Latency
from delta_arb.market import NS, PERP, SPOT
from delta_arb.optimize import study
from delta_arb.optimize.study import HALF_LIVES, Constraints, Frame, Market
from delta_arb.optimize.walk_forward import Fold, walk_forward
from delta_arb.params import Rule
from delta_arb.quotes.tape import Tape
from delta_arb.stats import sharpe
from delta_arb.venue_terms import VenueTerms

HOUR = 3600
SPAN_S, ROW_S = 96 * HOUR, 5
LOOK_BACK_S, STEP_S = 16.0 * HOUR, 4.0 * HOUR
FEE_BPS = 2.5
WORLDS = 60  # of either kind
DEMANDS = Constraints()
SMALL_COINS = [
    "ACH", "ARKM", "BOME", "CRV", "ENA", "GMT", "HBAR", "JASMY", "LUNA", "NOT", "ORDI", "PEPE", "PHB", "STMX", "WIF",
]  # fmt: skip
LESS = Constraints(min_trades_day=1.0, target_hit_rate=0.5, max_drawdown=0.1)
FINE = {"perp_step": 1e-9, "spot_min_usdt": 0.0}


@dataclass(frozen=True)
class Regime:
    """What holds for a while: bps and seconds."""

    mean_bps: float
    sd_bps: float
    half_life_s: float


def main() -> None:
    from table import report

    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--seed", type=int, default=np.random.SeedSequence().entropy % 2**32)
    arguments.add_argument("--data", type=Path, help="a folder of recorded candles")
    options = arguments.parse_args()
    began = time.perf_counter()
    said = (
        recorded(options.data)
        if options.data
        else {
            kind: [
                f for k in range(WORLDS // 10 if options.quick else WORLDS) for f in folds([options.seed, k, shifting])
            ]
            for shifting, kind in enumerate(("steady", "shifting"))
        }
    )
    said = {"all": [f for found in said.values() for f in found], **said}
    report(
        "confidence",
        [row for kind, found in said.items() for row in scored(kind, found)] + reliability(said["all"]),
        seed=options.seed,
        quick=options.quick,
        minutes=round((time.perf_counter() - began) / 60, 1),
        method="probabilities said before each fold of a walk-forward, against whether it earned",
    )


# --- recorded candles -------------------------------------------------------------------------------------------------


def recorded(data: Path) -> dict[str, list[Fold]]:
    """The folds with a probability of every pair of which days of candles of 5 minutes are there."""
    from history import AUGUST, YEAR, names, pair

    month = "2026-01-26_2026-02-25"
    files = [(coin, names("gateio", month, YEAR)) for coin in ("BTC", "DOGE", "SOL")]
    files += [(coin, names("binance", YEAR, YEAR)) for coin in ("BTC", "DOGE", "SOL")]
    files += [(coin, names("gateio", AUGUST, AUGUST)) for coin in SMALL_COINS]
    said = defaultdict(list)
    for coin, (spot, perp) in files:
        inputs = pair(data, coin, spot, perp, "none", (0.1, 0.1), 1.0, spot_fee_bps=0.5, perp_fee_bps=0.5, **FINE)
        if not (Path(inputs.spot).exists() and Path(inputs.perp).exists()):
            print(f"left out: {Path(inputs.perp).name} or its spot leg is not there", file=sys.stderr)
            continue
        try:
            tape = inputs.tape()
            settings = Rule(entry_bps=None, exit_bps=None, max_hold_s=LESS.max_hold_s, clip_usdt=100.0)
            frame = Frame(72.0 * HOUR, 12.0 * HOUR, LESS.max_hold_s)
            walk = walk_forward(tape, study.market(inputs, tape, settings), LESS, frame, rng=np.random.default_rng(7))
        except DeltaArbError as error:
            print(f"left out: {inputs.name}: {error}", file=sys.stderr)
            continue
        venue = "august 2024, small coins" if coin in SMALL_COINS else f"{inputs.perp_venue}, large coins"
        said[venue] += [f for f in walk.folds if f.probability is not None]
    return {kind: found for kind, found in said.items() if found}


# --- worlds -----------------------------------------------------------------------------------------------------------


def folds(seed: list[int]) -> list[Fold]:
    """The folds of one world that had a probability."""
    rng = np.random.default_rng(seed)
    first = Regime(0.0, 4 * FEE_BPS / rng.uniform(0.5, 3.0), 180.0 * 20.0 ** rng.random())
    tape = quotes(basis_bps(rng, first, shifting=bool(seed[-1])))
    settings = Rule(entry_bps=None, exit_bps=None, max_hold_s=DEMANDS.max_hold_s, clip_usdt=1000.0)
    market = Market(
        VenueTerms(venue="spot", taker_fee_bps=FEE_BPS),
        VenueTerms(venue="perp", taker_fee_bps=FEE_BPS),
        Latency(1.0, 1.0),
        (),
        settings,
    )
    embargo_s = min(HALF_LIVES * first.half_life_s, DEMANDS.max_hold_s)
    frame = Frame(LOOK_BACK_S, STEP_S, embargo_s, half_life_s=first.half_life_s)
    try:
        walk = walk_forward(tape, market, DEMANDS, frame, rng=rng)
    except DataError:
        return []
    return [f for f in walk.folds if f.probability is not None]


def basis_bps(rng: np.random.Generator, regime: Regime, *, shifting: bool) -> np.ndarray:
    """A path through one regime, or through several: they last 16 h on average."""
    n = SPAN_S // ROW_S
    path, x, ends = np.empty(n), rng.normal(), n
    at = 0
    while at < n:
        if shifting:
            ends = min(n, at + 1 + int(rng.exponential(16 * HOUR / ROW_S)))
        decay = 0.5 ** (ROW_S / regime.half_life_s)
        shocks = rng.normal(size=ends - at) * math.sqrt(1 - decay * decay)
        for k, shock in enumerate(shocks.tolist(), at):
            x = decay * x + shock
            path[k] = regime.mean_bps + regime.sd_bps * x
        old, at = regime, ends
        regime = Regime(
            old.mean_bps + old.sd_bps * rng.normal(), old.sd_bps * 2.0 ** rng.normal(0.0, 0.5),
            float(np.clip(old.half_life_s * 2.0 ** rng.normal(), 180.0, 3600.0)),
        )  # fmt: skip
        x = (old.mean_bps + old.sd_bps * x - regime.mean_bps) / regime.sd_bps  # the spread itself does not jump
    return path


def quotes(basis: np.ndarray) -> Tape:
    """Both legs at every row; half-spreads of 1e-9, books of ample size."""
    n = basis.size
    rng = np.random.default_rng(n)
    spot = np.repeat(100.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-6, n))), 2)
    perp = spot * (1 + 1e-4 * np.repeat(basis, 2))
    perp[2::2] = perp[1:-1:2]  # at the spot's row the perpetual's is still the last one
    age = np.tile(np.array([ROW_S * NS, 0]), n)
    age[0] = 0
    sides = [price * (1 + sign * 1e-9) for price in (spot, perp) for sign in (-1, 1)]
    size, leg = np.full(2 * n, 1e6), np.tile(np.array([SPOT, PERP], np.uint8), n)
    ts_ns = np.repeat(np.arange(n) * ROW_S * NS, 2)
    return Tape.wide(ts_ns, leg, *sides[:2], size, size, *sides[2:], size, size, np.zeros(2 * n, np.int64), age)


# --- the tables -------------------------------------------------------------------------------------------------------


def scored(kind: str, found: list[Fold]) -> Iterator[dict[str, object]]:
    said, came = np.array([f.probability for f in found]), np.array([f.net_usdt > 0 for f in found])
    score = sharpe.brier(said, came)
    yield row(f"{kind}: Brier score", score.score, f"< {score.base:.4f}", score.better, score.n)
    yield row(f"{kind}: said on average", said.mean(), "-", None, score.n)
    yield row(f"{kind}: came", came.mean(), "-", None, score.n)


def reliability(found: list[Fold]) -> list[dict[str, object]]:
    """What came in each tenth of what was said."""
    said, came = np.array([f.probability for f in found]), np.array([f.net_usdt > 0 for f in found])
    tenth = np.minimum((said * 10).astype(int), 9)
    rows = []
    for k in np.unique(tenth):
        here = tenth == k
        mean, n = float(said[here].mean()), int(here.sum())
        share = sharpe.wilson(int(came[here].sum()), n)
        met = abs(share.value - mean) <= 0.05 or mean in share
        rows.append(row(f"said {k / 10:.1f} to {(k + 1) / 10:.1f}: came", share.value, f"{mean:.3f} +- 0.05", met, n))
    return rows


def row(what: str, value: float, goal: str, met: bool | None, n: int) -> dict[str, object]:
    return {
        "what": what,
        "measured": float(value),
        "goal": goal,
        "folds": n,
        "met": {None: "", True: "yes", False: "NO"}[met],
    }


if __name__ == "__main__":
    main()
