"""Two-venue quotes made from a recipe and a seed, with the truth beside them. SYNTHETIC: no market behaved like this.

For tests, for the committed sample, and for asking whether an estimate finds what was put in. The legs imitate what
recordings show: irregular asynchronous rows, repeats, coarse ticks, thin books, stale spells, a little dirt.

    World (recipe, `synthetic_spec`) -> make(world, seed) -> Recording (spot, perp, funding, truth, latent) -> write(recording, folder)

    spot  = price,  perp = price * (1 + basis)
    price = random walk in the log + jumps
    basis = mean + drift * t + fast OU (+ jumps, which revert with it) + slow OU + random walk

The same world and seed give equal values on every machine: times are whole milliseconds, prices whole ticks,
quantities whole lots, so the last bit of an `exp` does not show.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from delta_arb.errors import ParamsError
from delta_arb.market import DAY_S, MS, from_bps, to_bps
from delta_arb.quotes.synthetic_spec import LEGS, LegSpec, World

Columns = dict[str, np.ndarray]  # column name -> shape (n,); `timestamp` is int64 ns UTC, all others float64

SAMPLE_SEED = 7
SECOND = 10**9
# How the dirty rows of a leg divide; one absurd price comes on top, in the spot leg.
DIRT_MIX = {"duplicated": 0.3, "out_of_order": 0.3, "nan_quantity": 0.15, "zero_quantity": 0.15, "crossed": 0.1}
DIRT_SPACING = 5  # rows, so that no dirty row touches another and the counts stay exact


@dataclass(frozen=True, slots=True)
class Truth:
    """What was put in, to compare estimates with. Times are int ns UTC; ranges are half-open."""

    world: World
    seed: int
    price_jumps: tuple[tuple[int, float], ...]  # (time, bps of the price); both legs
    basis_jumps: tuple[tuple[int, float], ...]  # (time, bps of the basis)
    stale: dict[str, tuple[tuple[int, int], ...]]  # leg -> spells without a row
    frozen: tuple[int, int] | None  # when the frozen leg stands still
    observed_noise_bps: float  # rms of (basis of the mids in force - true basis) at the rows, before the dirt
    dirt: dict[str, dict[str, int]]  # leg -> kind -> rows

    def as_json(self) -> str:
        return json.dumps({"synthetic": True, **asdict(self)}, indent=1) + "\n"


@dataclass(frozen=True, slots=True)
class Recording:
    """Quotes in arrival order (`timestamp, bid_price, bid_quantity, ask_price, ask_quantity`), stamps and truth.

    Perp quantities are whole contracts. `funding` has `timestamp, funding_rate, mark_price` (fraction per interval).
    `latent` has `timestamp, price, basis_bps` and the basis' parts `mean_bps, fast_bps, slow_bps, walk_bps`, all
    without noise, at every time at which anything happens.
    """

    spot: Columns
    perp: Columns
    funding: Columns
    truth: Truth
    latent: Columns


def make(world: World, seed: int) -> Recording:
    """The recording of `world` drawn with `seed` (0 or more); 72 h take about a second."""
    if seed < 0:
        raise ParamsError(f"seed must be 0 or more, was {seed}")
    rng = np.random.Generator(np.random.PCG64(seed))
    price_jumps = _jumps(world, world.price_jumps_per_day, world.price_jump_bps, rng)
    basis_jumps = _jumps(world, world.basis_jumps_per_day, world.basis_jump_bps, rng)
    stale = {name: _stale_spells(world, getattr(world, name), rng) for name in LEGS}
    times = {name: _row_times(world, getattr(world, name), stale[name], price_jumps[0], rng) for name in LEGS}
    stamps = _funding_stamps(world)
    every = np.unique(np.concatenate([*times.values(), stamps, price_jumps[0], basis_jumps[0]]))
    latent = latent_path(world, every, price_jumps, basis_jumps, rng)
    clean = {name: _quotes(world, name, times[name], latent, rng) for name in LEGS}
    soiled = {name: _soil(clean[name], world.dirt_share, name == "spot", rng) for name in LEGS}
    truth = Truth(
        world,
        seed,
        price_jumps=_pairs(*price_jumps),
        basis_jumps=_pairs(*basis_jumps),
        stale={name: _pairs(*stale[name].T) for name in LEGS},
        frozen=(_frozen_from_ns(world), world.end_ns) if world.frozen else None,
        observed_noise_bps=_observed_noise_bps(clean["spot"], clean["perp"], latent),
        dirt={name: soiled[name][1] for name in LEGS},
    )
    return Recording(soiled["spot"][0], soiled["perp"][0], _funding(world, stamps, latent, rng), truth, latent)


def ou_path(
    times_s: np.ndarray, sd: float, half_life_s: float, rng: np.random.Generator, kicks: np.ndarray | None = None
) -> np.ndarray:
    """An Ornstein-Uhlenbeck path around 0 at irregular times, exact in distribution, from its stationary law on.

    x[0] = sd * z[0];  x[i] = phi * x[i-1] + sd * sqrt(1 - phi^2) * z[i] + kicks[i],
    phi = 2^(-(t[i] - t[i-1]) / half_life)

    Args:
        times_s: shape (n,), seconds, non-decreasing.
        sd: stationary standard deviation, in the unit of the result.
        half_life_s: seconds.
        kicks: shape (n,), added to the state and forgotten with it; None = none.

    Source: transition density of the OU process (Uhlenbeck & Ornstein, 1930).
    """
    decay = math.log(2) / half_life_s * np.diff(times_s, prepend=-np.inf)  # inf first: nothing to remember
    shocks = sd * np.sqrt(-np.expm1(-2 * decay)) * rng.standard_normal(len(times_s))  # 1 - phi^2, exact for tiny gaps
    if kicks is not None:
        shocks = shocks + kicks
    path, state = [], 0.0
    for phi, shock in zip(np.exp(-decay).tolist(), shocks.tolist(), strict=True):
        state = phi * state + shock
        path.append(state)
    return np.array(path)


def walk_path(times_s: np.ndarray, sd_per_root_s: float, rng: np.random.Generator) -> np.ndarray:
    """A random walk at irregular times, from 0: increments N(0, sd_per_root_s^2 * dt). Shape (n,)."""
    steps = np.sqrt(np.diff(times_s, prepend=times_s[0])) * rng.standard_normal(len(times_s))
    return sd_per_root_s * np.cumsum(steps)


def latent_path(
    world: World,
    times_ns: np.ndarray,
    price_jumps: tuple[np.ndarray, np.ndarray],
    basis_jumps: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> Columns:
    """Price (USDT) and basis (bps) with its parts, free of noise, at `times_ns` (which holds the jump times)."""
    t_s = (times_ns - world.start_ns) / SECOND
    log_price = walk_path(t_s, from_bps(world.volatility_day_bps) / math.sqrt(DAY_S), rng)
    log_price += from_bps(np.cumsum(_at(times_ns, price_jumps)))
    parts = {
        "mean_bps": world.mean_bps + world.drift_bps_per_day * t_s / DAY_S,
        "fast_bps": ou_path(t_s, world.fast_sd_bps, world.fast_half_life_s, rng, kicks=_at(times_ns, basis_jumps)),
        "slow_bps": ou_path(t_s, world.slow_sd_bps, world.slow_half_life_s, rng),
        "walk_bps": walk_path(t_s, world.walk_bps_per_root_h / 60.0, rng),
    }
    price = world.price * np.exp(log_price)
    return {"timestamp": times_ns, "price": price, "basis_bps": sum(parts.values())} | parts


def write(recording: Recording, folder: Path | str, overwrite: bool = False) -> list[Path]:
    """Write `spot.parquet`, `perp.parquet`, `funding.parquet` and `truth.json` into `folder`; returns their paths.

    The files' own metadata says `synthetic`, the regime, the seed and the contract size.

    Raises:
        ParamsError: one of the files exists already and `overwrite` was not asked for; nothing was written.
    """
    folder, truth = Path(folder), recording.truth
    tables = {name: getattr(recording, name) for name in (*LEGS, "funding")}
    paths = {name: folder / f"{name}.parquet" for name in tables} | {"truth": folder / "truth.json"}
    if not overwrite and (there := [path.name for path in paths.values() if path.exists()]):
        raise ParamsError(f"{', '.join(there)} exist in {folder}; choose another folder or overwrite (--force)")
    folder.mkdir(parents=True, exist_ok=True)
    for name, columns in tables.items():
        about = {"synthetic": "true", "regime": truth.world.regime, "seed": str(truth.seed)}
        if name in LEGS:
            about |= {"kind": "updates", "contract_size": str(getattr(truth.world, name).contract_size)}
        _write_table(columns, paths[name], about)
    paths["truth"].write_text(truth.as_json(), encoding="utf-8")
    return list(paths.values())


def _write_table(columns: Columns, path: Path, metadata: dict[str, str]) -> None:
    import pyarrow as pa  # here, so that making quotes needs numpy only
    import pyarrow.parquet as pq

    utc = pa.timestamp("ns", tz="UTC")
    table = pa.table({k: pa.array(v, utc if k == "timestamp" else None) for k, v in columns.items()})
    pq.write_table(
        table.replace_schema_metadata(metadata),
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=[name for name in columns if name != "timestamp"],  # few distinct ticks and lots
        column_encoding={"timestamp": "DELTA_BINARY_PACKED"},
    )


def _jumps(world: World, per_day: float, size_bps: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Times (ns) and sizes (bps, whole tenths) of a Poisson number of jumps."""
    count = rng.poisson(per_day * world.hours / 24)
    times = np.sort(_within(world, rng.random(count)))
    return times, np.round(rng.normal(0.0, size_bps, count), 1)


def _stale_spells(world: World, leg: LegSpec, rng: np.random.Generator) -> np.ndarray:
    """Spells without a row, shape (n, 2): start and end in ns, sorted by start; they may overlap."""
    count = rng.poisson(leg.stale_per_day * world.hours / 24)
    lengths_s = rng.uniform(leg.stale_min_s, leg.stale_max_s, count)
    if leg.long_stale_s > 0:
        lengths_s = np.append(lengths_s, leg.long_stale_s)
    starts = np.sort(_within(world, rng.random(len(lengths_s))))
    return np.column_stack([starts, starts + np.rint(lengths_s * 1e3).astype(np.int64) * MS])


def _row_times(
    world: World, leg: LegSpec, stale: np.ndarray, jumps_ns: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Strictly increasing row times in ns; a price jump is news, so the leg prints within 0.1 s of it."""
    count = int(world.hours * 3600 / leg.interval_s * 1.2) + 100  # more than enough; cut at the end
    gaps_s = rng.gamma(leg.interval_shape, leg.interval_s / leg.interval_shape, count)
    rows = world.start_ns + np.rint(np.cumsum(gaps_s) * 1e3).astype(np.int64) * MS
    news = jumps_ns + rng.integers(10, 60, len(jumps_ns)) * MS
    rows = np.unique(np.concatenate([rows, news]))
    silent = np.zeros(len(rows), bool)
    for start, end in stale:
        silent |= (start <= rows) & (rows < end)
    return rows[~silent & (rows < world.end_ns)]


def _quotes(world: World, name: str, times_ns: np.ndarray, latent: Columns, rng: np.random.Generator) -> Columns:
    """The clean quotes of one leg at `times_ns`."""
    leg, n = getattr(world, name), len(times_ns)
    at = np.searchsorted(latent["timestamp"], times_ns)
    mid = latent["price"][at] * (1 + from_bps(latent["basis_bps"][at]) * (name == "perp"))
    mid = mid * (1 + from_bps(leg.noise_bps) * rng.standard_normal(n))
    half = mid * leg.spread_bps / 2e4 * np.exp(leg.spread_sigma * rng.standard_normal(n))
    bid = np.rint((mid - half) / world.tick)
    ask = np.maximum(np.rint((mid + half) / world.tick), bid + 1)
    bid_quantity, ask_quantity = _quantities(leg, world.price, n, rng)
    quotes = {"bid_price": bid * world.tick, "bid_quantity": bid_quantity}
    quotes |= {"ask_price": ask * world.tick, "ask_quantity": ask_quantity}
    repeats = rng.random(n) < leg.unchanged_share
    if world.frozen == name:
        repeats |= times_ns >= _frozen_from_ns(world)
    source = _last_true(~repeats)
    return {"timestamp": times_ns} | {column: np.round(values[source], 9) for column, values in quotes.items()}


def _quantities(leg: LegSpec, price: float, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Bid and ask quantities, log-normal in USDT; each row renews one side, so that no row repeats by chance."""
    bid_turn = rng.random(n) < 0.5
    notional = leg.size_usdt * np.exp(leg.size_sigma * rng.standard_normal(n))
    quantity = np.maximum(np.rint(notional / price / leg.contract_size / leg.lot), 1) * leg.lot
    return quantity[_last_true(bid_turn)], quantity[_last_true(~bid_turn)]


def _soil(quotes: Columns, share: float, one_absurd: bool, rng: np.random.Generator) -> tuple[Columns, dict[str, int]]:
    """A dirty copy of one leg and how many rows of each kind of dirt it holds."""
    n = len(quotes["timestamp"])
    counts = {kind: int(part * share * n) for kind, part in DIRT_MIX.items()}
    counts["absurd_price"] = int(one_absurd and share > 0)
    places = rng.permutation(np.arange(DIRT_SPACING, n - DIRT_SPACING, DIRT_SPACING))
    if sum(counts.values()) > len(places):
        raise ParamsError(f"dirt_share={share} is too much for {n} rows; 0.1 always fits")
    where = dict(zip(counts, np.split(places, np.cumsum(list(counts.values()))), strict=False))
    dirty = {name: column.copy() for name, column in quotes.items()}
    dirty["bid_quantity"][where["nan_quantity"]] = np.nan
    dirty["ask_quantity"][where["zero_quantity"]] = 0.0
    crossed, absurd = where["crossed"], where["absurd_price"]
    for side, other in (("bid_price", "ask_price"), ("ask_price", "bid_price")):
        dirty[side][crossed] = quotes[other][crossed]
        dirty[side][absurd] = np.round(quotes[side][absurd] * 10, 9)  # a decimal point that slipped
    order, late = np.arange(n), where["out_of_order"]
    order[late], order[late + 1] = late + 1, late
    order = np.repeat(order, 1 + np.isin(np.arange(n), where["duplicated"]))
    return {name: column[order] for name, column in dirty.items()}, counts


def _funding_stamps(world: World) -> np.ndarray:
    """Funding times in ns within [start, end], the end included: whole intervals since 1970, as venues count them."""
    step = round(world.funding_interval_h * 3600) * SECOND
    return np.arange(-(-world.start_ns // step) * step, world.end_ns + 1, step)


def _funding(world: World, stamps: np.ndarray, latent: Columns, rng: np.random.Generator) -> Columns:
    rates = from_bps(rng.uniform(world.funding_min_bps, world.funding_max_bps, len(stamps)))
    at = np.searchsorted(latent["timestamp"], stamps)
    perp = latent["price"][at] * (1 + from_bps(latent["basis_bps"][at]))
    mark = np.round(np.rint(perp / world.tick) * world.tick, 9)
    return {"timestamp": stamps, "funding_rate": np.round(rates, 6), "mark_price": mark}


def _observed_noise_bps(spot: Columns, perp: Columns, latent: Columns) -> float:
    """Rms over all rows of both legs, from the first of the later leg on: what the mids say less the true basis."""
    times = np.union1d(spot["timestamp"], perp["timestamp"])
    times = times[times >= max(spot["timestamp"][0], perp["timestamp"][0])]
    spot_mid, perp_mid = (_mid_in_force(leg, times) for leg in (spot, perp))
    true = latent["basis_bps"][np.searchsorted(latent["timestamp"], times)]
    return round(float(np.sqrt(np.mean((to_bps(perp_mid / spot_mid - 1) - true) ** 2))), 3)


def _mid_in_force(leg: Columns, times: np.ndarray) -> np.ndarray:
    at = np.searchsorted(leg["timestamp"], times, side="right") - 1
    return (leg["bid_price"][at] + leg["ask_price"][at]) / 2


def _frozen_from_ns(world: World) -> int:
    return world.start_ns + round(world.frozen_from * world.hours * 3_600_000) * MS


def _within(world: World, shares: np.ndarray) -> np.ndarray:
    """Times in ns, whole milliseconds, at these shares of the time range."""
    return world.start_ns + np.floor(shares * world.hours * 3_600_000).astype(np.int64) * MS


def _at(times_ns: np.ndarray, jumps: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The jump sizes at their times, 0 elsewhere; shape of `times_ns`, which must hold the jump times."""
    sizes = np.zeros(len(times_ns))
    np.add.at(sizes, np.searchsorted(times_ns, jumps[0]), jumps[1])
    return sizes


def _last_true(mask: np.ndarray) -> np.ndarray:
    """For each row the index of the last True up to it; 0 before the first."""
    return np.maximum.accumulate(np.where(mask, np.arange(len(mask)), 0))


def _pairs(first: np.ndarray, second: np.ndarray) -> tuple[tuple[Any, Any], ...]:
    return tuple(zip(first.tolist(), second.tolist(), strict=True))
