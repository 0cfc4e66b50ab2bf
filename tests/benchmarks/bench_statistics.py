"""How right, how honest and how fast the statistics are, measured on simulated spreads whose truth is known.

    python tests/benchmarks/bench_statistics.py [--quick] [--seed N]        full: some 8 min on one core, quick: 1 min

The seed is fresh in every run and printed, so that no figure is tuned to a draw; --seed repeats a run. A day is 86,400
rows of one second with as much noise as signal where nothing else is said. Times are processor seconds of one thread,
medians of warm runs, so that a busy machine does not count.
"""

import argparse
import math
import os
import statistics
import sys
import time
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # one core, before numpy is loaded

import numpy as np
from scipy.optimize import minimize
from scipy.signal import lfilter
from scipy.special import betaincinv

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # measures this checkout, installed or not

from delta_arb.errors import SeriesError
from delta_arb.stats import level_shifts, optimal_thresholds, ou, reversion
from delta_arb.stats import sharpe as track_record

S = 1_000_000_000  # ns
DAY = np.arange(86_400) * S
MINUTES = np.arange(1440) * 60 * S
REAL = (288, 576, 864, 1152)
# cost / sd: level / sd, theta * cycle, profit / (theta sd), with arbitragelab 1.0
BERTRAM = {0.5: (0.9643, 5.7008, 0.25060), 1.0: (1.2644, 8.5241, 0.17936), 2.0: (1.7137, 15.537, 0.09187)}


def main() -> None:
    from table import report

    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--seed", type=int, default=np.random.SeedSequence().entropy % 2**32)
    arguments.add_argument("--only", default="", help="parts whose name contains this")
    options = arguments.parse_args()
    rng = np.random.default_rng(options.seed)
    share = 0.1 if options.quick else 1.0
    parts = {
        "half-life of 10 min": lambda: half_lives(rng, 600.0, round(1000 * share), share),
        "half-life of 1 min": lambda: half_lives(rng, 60.0, round(1000 * share), share),
        "coverage": lambda: coverage_by_truth(rng, round(200 * share) + 1),
        "clean": lambda: clean(rng, round(20 * share) + 1),
        "refusals": lambda: refusals(rng, round(300 * share), share),
        "clustering": lambda: clustering(rng, round(300 * share)),
        "shifts": lambda: shifts(rng, round(60 * share) + 2),
        "memory": lambda: remembering(rng, round(20_000 * share)),
        "levels": levels,
        "speed": lambda: speed(rng),
    }
    rows = [row for name, of in parts.items() if options.only in name for row in of()]
    report(
        "statistics",
        rows,
        packages=("numpy", "scipy", "numba", "statsmodels"),
        seed=options.seed,
        quick=options.quick,
        method="simulated spreads with known truth; one core; goal met is yes or no",
    )


def row(what: str, value: float, low: float = -math.inf, high: float = math.inf, runs: int = 1) -> dict[str, object]:
    goal = f"{low:g} to {high:g}" if low > -math.inf and high < math.inf else f"<= {high:g}" if high < math.inf else ""
    goal = goal or (f">= {low:g}" if low > -math.inf else "-")
    return {
        "what": what, "measured": float(value), "goal": goal, "runs": runs,
        "met": "" if goal == "-" else "yes" if low <= value <= high else "NO",
    }  # fmt: skip


def spread(rng, half_life_s: float, n: int = 86_400, step_s: float = 1.0, noise_sd: float = 1.0) -> np.ndarray:
    phi = 0.5 ** (step_s / half_life_s)
    shocks = rng.normal(size=n) * math.sqrt(1 - phi * phi)
    shocks[0] = rng.normal()
    return lfilter([1.0], [1.0, -phi], shocks) + noise_sd * rng.normal(size=n)


def half_lives(rng, truth_s: float, runs: int, share: float) -> list[dict[str, object]]:
    found, two_lags = [], []
    for _ in range(runs):
        y = spread(rng, truth_s)
        found.append(reversion.half_life(y, DAY))
        two_lags.append(answered(lambda y=y: reversion.half_life_two_lags_s(y, DAY, 1.0)))
    ratio = np.array([h.half_life_s for h in found]) / truth_s
    covered = np.mean([h.low_s <= truth_s <= h.high_s for h in found])
    quick = np.log(np.array([t for t in two_lags if t is not None]) / truth_s)
    name = f"half-life {truth_s:g} s"
    ten_minutes = truth_s == 600.0
    slack = 0.0 if share == 1.0 else 0.06  # a hundred runs know a coverage to 2 points, a median to 2 %
    median, rmse, tenth = ((0.92, 1.06), 0.17, -math.inf) if ten_minutes else ((0.97, 1.03), 0.06, 0.93 - slack)
    return [
        row(f"{name}: median / truth", np.median(ratio), *median, runs),
        row(f"{name}: RMSE of log", np.sqrt(np.mean(np.log(ratio) ** 2)), high=rmse, runs=runs),
        row(f"{name}: bound of that", math.sqrt(2 * truth_s / (math.log(2) * found[0].span_s))),
        row(f"{name}: 95 % interval covers", covered, 0.927 - slack, min(0.973 + slack, 1.0), runs),
        row(f"{name}: within 25 %", np.mean(np.abs(ratio - 1) < 0.25), low=0.88 - slack, runs=runs),
        row(f"{name}: within 10 %", np.mean(np.abs(ratio - 1) < 0.10), low=tenth, runs=runs),
        row(f"{name}: two lags, RMSE of log", np.sqrt(np.mean(quick**2)), runs=quick.size),
    ]


def coverage_by_truth(rng, runs: int) -> list[dict[str, object]]:
    """A day at steps of 30 s: how often there is an answer, and how often its interval covers the truth where there is."""
    ts_ns, rows = np.arange(2880) * 30 * S, []
    for minutes in (1, 4, 15, 30, 60, 120, 240, 480):
        truth_s = 60.0 * minutes
        tries = runs if minutes <= 60 else 4 * runs  # few of the slow ones are answered
        made = (spread(rng, truth_s, 2880, 30.0, noise_sd=0.5) for _ in range(tries))
        found = [h for y in made if (h := answered(lambda y=y: reversion.half_life(y, ts_ns))) is not None]
        covered = np.mean([h.low_s <= truth_s <= h.high_s for h in found]) if found else math.nan
        median = np.median([h.half_life_s for h in found]) / truth_s if found else math.nan
        name = f"half-life {minutes} min, a day"
        rows.append(row(f"{name}: answered", len(found) / tries, runs=tries))
        rows.append(row(f"{name}: 95 % interval covers, where answered", covered, low=0.9, runs=len(found)))
        rows.append(row(f"{name}: median / truth, where answered", median, runs=len(found)))
    return rows


def clean(rng, runs: int) -> list[dict[str, object]]:
    """Clean irregular series against the density of the whole covariance matrix, maximised by another search."""
    worst = 0.0
    for _ in range(runs):
        ts_ns = np.cumsum(np.round(rng.exponential(4.0, 120) * S).astype(np.int64))
        t = ts_ns / S
        theta = math.log(2) / 20
        factor = np.linalg.cholesky(np.exp(-theta * np.abs(t[:, None] - t)))
        y = 3.0 + 0.5 * factor @ rng.normal(size=t.size)

        def loss(p, y=y, t=t):
            factor = np.linalg.cholesky(math.exp(2 * p[2]) * np.exp(-math.exp(p[1]) * np.abs(t[:, None] - t)))
            left = np.linalg.solve(factor, y - p[0])
            return np.log(np.diag(factor)).sum() + 0.5 * left @ left

        start = [y.mean(), math.log(theta), math.log(y.std())]
        best = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 4000}).x
        fit = ou.fit(y, ts_ns, noisy=False, restricted=False)
        worst = max(worst, abs(fit.theta / math.exp(best[1]) - 1), abs(fit.sd / math.exp(best[2]) - 1))
    return [row("clean irregular: worst theta, sd against dense likelihood", worst, high=0.002, runs=runs)]


def remembering(rng, runs: int) -> list[dict[str, object]]:
    """Pairs without an edge that remember a share of the one before, beside a modelled loss of half a standard deviation:
    asked at the level of one market, and at that of ten, which takes nine pairs."""
    rows = []
    for memory, n in [(m, n) for m in (0.5, 0.7) for n in (6, 9, 12, 20, 50, 200)]:
        shocks = rng.normal(size=(runs, n + 50)) * math.sqrt(1 - memory * memory)
        records = lfilter([1.0], [1.0, -memory], shocks)[:, 50:]
        told = [(track_record.chance_with_memory(nets), nets) for nets in records]
        both = [
            max(p, track_record.chance_without_edge(nets, 0.5, rng, repetitions=2000)) for p, nets in told if p <= 0.025
        ]
        for level in (0.025, 0.0025) if n > 6 else (0.025,):
            passes, high = sum(p <= level for p in both), level if memory == 0.5 else math.inf
            what = f"no edge, memory {memory:g}, {n} pairs, at {level:.2%}: passes"
            rows.append(row(what, passes / runs, high=high, runs=runs))
            rows.append(row("one-sided 95 % bound of that", betaincinv(passes + 1, runs - passes, 0.95)))
    return rows


def refusals(rng, runs: int, share: float) -> list[dict[str, object]]:
    def share_answered(make, n=4000, step_ns=S):
        ts_ns = np.arange(n) * step_ns
        return np.mean([answered(lambda: reversion.half_life(make(n), ts_ns)) is not None for _ in range(runs)])

    walk = 0.03 if share == 1.0 else 0.1  # one in a hundred is expected; thirty runs may show two
    hour, half_hour = (
        share_answered(lambda n, h=h: spread(rng, h, n, 10.0), 8640, 10 * S) for h in (3600.0, 1800.0)
    )  # fmt: skip
    named = [(np.full(500, 1.0), DAY[:500]), (spread(rng, 5.0, 30), DAY[:30]), (spread(rng, 5.0, 500), 0 * DAY[:500])]
    frozen = spread(rng, 60.0)
    frozen[20_000:40_000] = frozen[20_000]
    named.append((frozen, DAY))
    fixed = np.mean([answered(lambda v=v, t=t: reversion.half_life(v, t)) is not None for v, t in named])
    return [
        row("constant, 30 rows, one time stamp, frozen: answered", fixed, high=0.0, runs=len(named)),
        row("random walk: answered", share_answered(lambda n: rng.normal(size=n).cumsum()), high=walk, runs=runs),
        row(
            "random walk and noise: answered",
            share_answered(lambda n: rng.normal(size=n).cumsum() + 3 * rng.normal(size=n)),
            high=walk,
            runs=runs,
        ),
        row("white noise: answered", share_answered(lambda n: rng.normal(size=n)), high=0.01, runs=runs),
        row("half-life 30 min, a day: answered", half_hour, low=0.93 if share == 1.0 else 0.8, runs=runs),
        row("half-life 1 h, a day: answered", hour, runs=runs),
    ]


def clustering(rng, runs: int) -> list[dict[str, object]]:
    def alarms(make):
        return np.mean([reversion.clustering(make()).present() for _ in range(runs)])

    def garch():
        z, out, var = rng.normal(size=2000), np.empty(2000), 1.0
        for i in range(2000):
            out[i] = math.sqrt(var) * z[i]
            var = 0.05 + 0.1 * out[i] ** 2 + 0.85 * var
        return out

    return [
        row("clustering: alarms on independent rows", alarms(lambda: rng.normal(size=2000)), high=0.09, runs=runs),
        row("clustering: alarms on bounce", alarms(lambda: spread(rng, 60.0, 2000)), high=0.12, runs=runs),
        row("clustering: GARCH found", alarms(garch), low=0.95, runs=runs),
    ]


def shifts(rng, runs: int) -> list[dict[str, object]]:
    rows = []
    for rows_per_half_life in (10, 60):
        counts = [
            level_shifts.level_shifts(spread(rng, rows_per_half_life, 1440, noise_sd=noise), MINUTES).size.size
            for noise in (0.0, 0.5)
            for _ in range(runs)
        ]
        name = f"shifts: stationary, half-life {rows_per_half_life} of 1,440 rows"
        rows.append(row(f"{name}: most", max(counts), high=2, runs=len(counts)))
        rows.append(row(f"{name}: share with any", np.mean(np.array(counts) > 0), runs=len(counts)))
    for size in (2.0, 3.0):
        exact = 0
        for _ in range(runs):
            y = spread(rng, 10, 1440, noise_sd=0.0)
            for at, sign in zip(REAL, rng.choice([-1, 1], 4), strict=True):
                y[at:] += sign * size
            found = level_shifts.level_shifts(y, MINUTES).ts_ns / (60 * S)
            exact += found.size == 4 and bool(np.all(np.abs(found - REAL) <= 10))
        goal = 0.9 if size == 3.0 else -math.inf
        name = f"shifts: 4 of {size:g} sd all found within 10 rows, no other"
        rows.append(row(name, exact / runs, low=goal, runs=runs))
    return rows


def levels() -> list[dict[str, object]]:
    worst = 0.0
    for ratio, expected in BERTRAM.items():
        o = optimal_thresholds.optimal(0.02, 0.0, 0.004, ratio * 0.004)
        got = o.level / 0.004, o.cycle_s * 0.02, o.profit_per_day / optimal_thresholds.DAY_S / (0.02 * 0.004)
        worst = max(worst, *(abs(g / e - 1) for g, e in zip(got, expected, strict=True)))
    return [row("thresholds: worst level, cycle, profit against the table", worst, high=1e-4, runs=len(BERTRAM))]


def speed(rng) -> list[dict[str, object]]:
    y = spread(rng, 600.0)
    uneven = np.sort(rng.integers(0, 86_400 * S, 86_400))

    def everything():
        reversion.stationarity(y, DAY)
        found = reversion.half_life(y, DAY)
        optimal_thresholds.optimal(found.theta, found.process.mean, found.process.sd, 1.0, step_s=1.0)

    return [
        row("seconds a day: half-life with interval", seconds(lambda: reversion.half_life(y, DAY)), high=1.0),
        row("seconds a day: without interval", seconds(lambda: ou.fit(y, DAY)), high=0.4),
        row("seconds a day: irregular, with interval", seconds(lambda: reversion.half_life(y, uneven)), high=1.0),
        row("seconds a day: irregular, without interval", seconds(lambda: ou.fit(y, uneven)), high=0.4),
        row("seconds a day: ADF, KPSS, half-life, thresholds", seconds(everything), high=2.0),
        row("seconds a day: level shifts on minutes", seconds(lambda: level_shifts.level_shifts(y, DAY))),
    ]


def seconds(work, runs: int = 7) -> float:
    work()
    times = []
    for _ in range(runs):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def answered(ask):
    try:
        return ask()
    except SeriesError:
        return None


if __name__ == "__main__":
    main()
