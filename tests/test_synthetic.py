"""Synthetic recordings: the same everywhere, as the recipe says, and each regime what its name promises."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_type_hints

import numpy as np
import pyarrow.parquet as pq
import pytest

from delta_arb.errors import ParamsError
from delta_arb.quotes import synthetic
from delta_arb.quotes.synthetic import make, ou_path, walk_path, write
from delta_arb.quotes.synthetic_spec import REGIMES, LegSpec, World, perp_leg
from delta_arb.synthetic import SyntheticOptions, main

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
QUOTE_COLUMNS = ["timestamp", "bid_price", "bid_quantity", "ask_price", "ask_quantity"]
SECOND, HOUR = 10**9, 3600 * 10**9


@pytest.fixture(scope="module")
def sample():
    return make(World.sample(), synthetic.SAMPLE_SEED)


@pytest.fixture(scope="module")
def clean():
    """Six hours without dirt, so that rows can be compared with their neighbours."""
    return make(World.sample(hours=6.0, dirt_share=0.0), seed=5)


def still_world(**changes):
    """Nothing moves: no volatility, no basis, no jumps, no stale spells, no dirt."""
    legs = {"spot": LegSpec(stale_per_day=0.0), "perp": perp_leg(stale_per_day=0.0, long_stale_s=0.0)}
    flat = {"volatility_day_bps": 0.0, "price_jumps_per_day": 0.0, "basis_jumps_per_day": 0.0, "dirt_share": 0.0}
    basis = {"mean_bps": 0.0, "drift_bps_per_day": 0.0, "fast_sd_bps": 0.0, "slow_sd_bps": 0.0}
    return World(**legs | flat | basis | {"hours": 4.0} | changes)


def rng(seed=1):
    return np.random.Generator(np.random.PCG64(seed))


def without_dirt(quotes):
    """Time-ordered rows that a trader could use; what is dirty is stated here and not taken from the generator."""
    usual = np.median(quotes["bid_price"])
    good = (quotes["bid_price"] < quotes["ask_price"]) & (quotes["ask_price"] < 2 * usual)
    good &= (quotes["bid_quantity"] > 0) & (quotes["ask_quantity"] > 0)
    order = np.argsort(quotes["timestamp"][good], kind="stable")
    return {name: column[good][order] for name, column in quotes.items()}


def edges_bps(recording):
    """Times, entry_edge and exit_cost (bps) of the books in force, as design's formulas say."""
    spot, perp = without_dirt(recording.spot), without_dirt(recording.perp)
    times = np.union1d(spot["timestamp"], perp["timestamp"])
    times = times[times >= max(spot["timestamp"][0], perp["timestamp"][0])]
    i = np.searchsorted(spot["timestamp"], times, side="right") - 1
    j = np.searchsorted(perp["timestamp"], times, side="right") - 1
    entry_edge = (perp["bid_price"][j] - spot["ask_price"][i]) / spot["ask_price"][i]
    exit_cost = (perp["ask_price"][j] - spot["bid_price"][i]) / spot["bid_price"][i]
    return times, entry_edge * 1e4, exit_cost * 1e4


def unchanged(quotes):
    """For each row but the first: does it repeat all prices and quantities of the row before?"""
    return np.all([np.diff(quotes[name]) == 0 for name in QUOTE_COLUMNS[1:]], axis=0)


# The committed sample


@pytest.mark.parametrize("name", ["spot", "perp", "funding"])
def test_committed_sample_is_rebuilt_value_by_value(sample, name):
    table = pq.read_table(SAMPLE / f"{name}.parquet")
    rebuilt = getattr(sample, name)
    assert table.column_names == list(rebuilt)
    for column, values in rebuilt.items():
        stored = table[column].to_numpy()
        np.testing.assert_array_equal(stored.astype(np.int64) if column == "timestamp" else stored, values)


def test_committed_truth_is_rebuilt(sample):
    assert json.loads((SAMPLE / "truth.json").read_text()) == json.loads(sample.truth.as_json())


def test_sample_says_synthetic_wherever_it_can_be_read():
    for leg in ("spot", "perp"):
        assert pq.read_schema(SAMPLE / f"{leg}.parquet").metadata[b"synthetic"] == b"true"
    assert json.loads((SAMPLE / "truth.json").read_text())["synthetic"] is True
    assert "SYNTHETIC" in (SAMPLE / "README.md").read_text()


def test_sample_has_the_form_of_a_recording():
    schema = pq.read_schema(SAMPLE / "perp.parquet")
    assert schema.names == QUOTE_COLUMNS
    assert [str(kind) for kind in schema.types] == ["timestamp[ns, tz=UTC]"] + ["double"] * 4
    assert schema.metadata[b"contract_size"] == b"10.0"


def test_sample_is_small_and_three_days_long(sample):
    assert sum(path.stat().st_size for path in SAMPLE.iterdir()) < 3_000_000
    for quotes in (sample.spot, sample.perp):
        assert len(quotes["timestamp"]) == pytest.approx(72 * 3600 / 2, rel=0.01)
        assert np.ptp(quotes["timestamp"]) == pytest.approx(72 * HOUR, rel=0.001)


def test_sample_pays_round_trips_after_four_fees_in_every_eight_hours(sample):
    times, entry_edge, exit_cost = edges_bps(sample)
    trips, opened = [], None
    for t, edge, cost in zip(times.tolist(), entry_edge.tolist(), exit_cost.tolist()):
        if opened is None and edge >= 22.0:
            opened = edge
        elif opened is not None and cost <= -18.0:
            trips.append(((t - sample.truth.world.start_ns) // (8 * HOUR), opened - cost))
            opened = None
    assert all(gain >= 22.0 + 18.0 for _, gain in trips)  # 20 bps of fees leave at least 20
    per_part = np.bincount([part for part, _ in trips], minlength=9)
    assert per_part.min() >= 2
    assert per_part.reshape(3, 3).sum(axis=1).min() >= 8


# The same world and seed


def test_same_seed_gives_equal_recordings_and_another_seed_does_not():
    world = World.sample(hours=1.0)
    one, two, other = make(world, 3), make(world, 3), make(world, 4)
    for name in QUOTE_COLUMNS:
        np.testing.assert_array_equal(one.spot[name], two.spot[name])
        np.testing.assert_array_equal(one.perp[name], two.perp[name])
    assert one.truth == two.truth
    assert not np.array_equal(one.spot["timestamp"][:100], other.spot["timestamp"][:100])


def test_making_quotes_loads_neither_pandas_nor_pyarrow():
    program = (
        "import sys; from delta_arb.quotes import synthetic as s; s.make(s.World(hours=1.0), 1);"
        "print({'pandas', 'pyarrow', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# The parts of the basis


def test_ou_path_obeys_the_transition_formula():
    times_s = np.array([0.0, 1.0, 1.5, 600.0, 4000.0])
    path = ou_path(times_s, sd=25.0, half_life_s=600.0, rng=rng())
    z = rng().standard_normal(5)
    phi = 0.5 ** (np.diff(times_s) / 600.0)
    assert path[0] == pytest.approx(25.0 * z[0])
    assert path[1:] == pytest.approx(phi * path[:-1] + 25.0 * np.sqrt(1 - phi**2) * z[1:])


def test_ou_path_has_its_stationary_sd_and_half_life():
    half_life_s, step_s, n = 600.0, 60.0, 200_000  # 20,000 half-lives: theta * T = 13,863
    path = ou_path(np.arange(n) * step_s, sd=25.0, half_life_s=half_life_s, rng=rng())
    four_sigma = 4 * np.sqrt(2 / (n * step_s * np.log(2) / half_life_s))  # sd of the variance, relative: sqrt(2/thetaT)
    assert np.var(path) == pytest.approx(25.0**2, rel=four_sigma)
    lag = int(half_life_s / step_s)
    correlation = np.mean(path[:-lag] * path[lag:]) / np.mean(path**2)
    assert correlation == pytest.approx(0.5, abs=four_sigma)


def test_jump_of_the_basis_is_half_gone_after_one_half_life():
    kicks = np.array([0.0, 40.0, 0.0, 0.0])
    path = ou_path(np.array([0.0, 10.0, 310.0, 610.0]), sd=0.0, half_life_s=300.0, rng=rng(), kicks=kicks)
    assert path == pytest.approx([0.0, 40.0, 20.0, 10.0])


def test_walk_path_spreads_with_the_root_of_time():
    times_s = np.cumsum(rng(2).exponential(2.0, 50_000))
    steps = np.diff(walk_path(times_s, sd_per_root_s=0.2, rng=rng()))
    scaled = steps / np.sqrt(np.diff(times_s))
    assert np.std(scaled) == pytest.approx(0.2, rel=4 / np.sqrt(2 * 50_000))  # four sd of a sample sd


def test_basis_is_the_sum_of_its_parts_and_the_mean_drifts_as_told():
    latent = make(World.sample(hours=24.0, mean_bps=-8.0, drift_bps_per_day=3.0), seed=2).latent
    parts = latent["mean_bps"] + latent["fast_bps"] + latent["slow_bps"] + latent["walk_bps"]
    assert latent["basis_bps"] == pytest.approx(parts)
    assert latent["mean_bps"][0] == pytest.approx(-8.0, abs=0.01)
    assert latent["mean_bps"][-1] == pytest.approx(-5.0, abs=0.01)
    assert not latent["walk_bps"].any()


def test_quotes_of_a_still_world_differ_from_it_by_noise_and_tick_only():
    recording = make(still_world(), seed=1)
    tick_bps = 0.0001 / 0.80 * 1e4
    # Each mid: white noise of 0.8 bps, and the mean of two independent roundings, each uniform over one tick.
    expected = np.sqrt(2 * (0.8**2 + tick_bps**2 / 24))
    assert recording.truth.observed_noise_bps == pytest.approx(expected, rel=0.05)
    for quotes in (recording.spot, recording.perp):
        quoted_spread_bps = (quotes["ask_price"] - quotes["bid_price"]) / 0.80 * 1e4
        assert np.median(quoted_spread_bps) == pytest.approx(3.0, abs=tick_bps / 2)


def test_perpetual_is_quoted_at_spot_plus_basis():
    recording = make(still_world(mean_bps=50.0), seed=1)
    mids = [(quotes["bid_price"] + quotes["ask_price"]).mean() / 2 for quotes in (recording.spot, recording.perp)]
    assert mids == pytest.approx([0.80, 0.80 * 1.005], rel=2e-5)  # 0.2 bps


# Rows


def test_spot_rows_repeat_as_often_as_told(clean):
    # 10,800 rows: four sd of a share of 0.3 are 0.018; a chance repeat needs prices and a redrawn lot to agree
    assert unchanged(clean.spot).mean() == pytest.approx(0.30, abs=0.02)
    assert unchanged(clean.perp).mean() == pytest.approx(0.05, abs=0.01)


def test_clean_rows_are_uncrossed_whole_ticks_and_whole_lots(clean):
    for quotes, lot in ((clean.spot, 5.0), (clean.perp, 1.0)):
        assert (np.diff(quotes["timestamp"]) > 0).all()
        assert (quotes["timestamp"] % 10**6 == 0).all()
        assert (quotes["bid_price"] < quotes["ask_price"]).all()
        for name in ("bid_price", "ask_price"):
            assert (quotes[name] == np.round(quotes[name], 4)).all()
        for name in ("bid_quantity", "ask_quantity"):
            assert (quotes[name] > 0).all() and (quotes[name] % lot == 0).all()


def test_best_levels_show_50_to_500_usdt(clean):
    for quotes, contract_size in ((clean.spot, 1.0), (clean.perp, 10.0)):
        notional_usdt = quotes["bid_quantity"] * contract_size * quotes["bid_price"]
        assert np.median(notional_usdt) == pytest.approx(160.0, rel=0.1)
        assert np.mean((notional_usdt > 45.0) & (notional_usdt < 550.0)) > 0.88


def test_no_row_falls_into_a_stale_spell(sample):
    for leg in ("spot", "perp"):
        times = getattr(sample, leg)["timestamp"]
        spells = sample.truth.stale[leg]
        assert len(spells) >= 3
        assert not any(((start <= times) & (times < end)).any() for start, end in spells)
    assert max(end - start for start, end in sample.truth.stale["perp"]) == 120 * SECOND


def test_both_legs_print_within_a_tenth_of_a_second_after_a_price_jump():
    world = World.sample(hours=24.0, price_jumps_per_day=20.0, spot=LegSpec(stale_per_day=0.0))
    recording = make(replace(world, perp=perp_leg(stale_per_day=0.0, long_stale_s=0.0)), seed=1)
    assert len(recording.truth.price_jumps) > 5
    for quotes in (recording.spot, recording.perp):
        times = np.sort(quotes["timestamp"])
        for jump_ns, _ in recording.truth.price_jumps:
            assert times[np.searchsorted(times, jump_ns)] - jump_ns < SECOND / 10


def test_a_price_jump_moves_both_legs_by_its_size():
    recording = make(still_world(price_jumps_per_day=48.0, price_jump_bps=200.0), seed=3)
    jump_ns, size_bps = max(recording.truth.price_jumps, key=lambda jump: abs(jump[1]))
    assert abs(size_bps) > 50
    for quotes in (recording.spot, recording.perp):
        before = np.searchsorted(quotes["timestamp"], jump_ns) - 1
        after = np.searchsorted(quotes["timestamp"], jump_ns + 10 * SECOND)
        moved_bps = np.log(quotes["bid_price"][after] / quotes["bid_price"][before]) * 1e4
        assert moved_bps == pytest.approx(size_bps, abs=8.0)  # noise, tick and a new own spread


def test_dirt_in_the_tables_is_the_dirt_in_the_truth(sample):
    for leg in ("spot", "perp"):
        quotes = getattr(sample, leg)
        steps = np.diff(quotes["timestamp"])
        same_time = steps == 0
        assert sample.truth.dirt[leg] == {
            "duplicated": int((same_time & unchanged(quotes)).sum()),
            "out_of_order": int((steps < 0).sum()),
            "nan_quantity": int(np.isnan(quotes["bid_quantity"]).sum()),
            "zero_quantity": int((quotes["ask_quantity"] == 0).sum()),
            "crossed": int((quotes["bid_price"] > quotes["ask_price"]).sum()),
            "absurd_price": int((quotes["bid_price"] > 2.0).sum()),
        }
    rows = len(sample.spot["timestamp"]) + len(sample.perp["timestamp"])
    total = sum(sum(kinds.values()) for kinds in sample.truth.dirt.values())
    assert total / rows == pytest.approx(0.0005, rel=0.1)


def test_funding_is_stamped_every_eight_hours_at_the_perpetuals_price(sample):
    funding = sample.funding
    assert (funding["timestamp"] - sample.truth.world.start_ns).tolist() == [k * 8 * HOUR for k in range(10)]
    assert ((funding["funding_rate"] >= 0.5e-4) & (funding["funding_rate"] <= 1.5e-4)).all()
    perp = without_dirt(sample.perp)
    next_bid = perp["bid_price"][np.searchsorted(perp["timestamp"], funding["timestamp"][:-1])]
    assert funding["mark_price"][:-1] == pytest.approx(next_bid, rel=0.002)


# The regimes


def test_random_walk_spreads_in_proportion_to_time_and_the_sample_does_not():
    def mean_square_move_bps2(world, lag_s):
        latent = make(world, seed=1).latent
        grid = np.arange(world.start_ns + HOUR, world.end_ns - HOUR, 60 * SECOND)
        basis = latent["basis_bps"][np.searchsorted(latent["timestamp"], grid)]
        lag = lag_s // 60
        return np.mean((basis[lag:] - basis[:-lag]) ** 2)

    walk = World.random_walk(hours=240.0, spot=LegSpec(interval_s=20.0), perp=perp_leg(interval_s=20.0))
    assert mean_square_move_bps2(walk, 60) == pytest.approx(12.0**2 / 60, rel=0.1)
    assert mean_square_move_bps2(walk, 3600) == pytest.approx(12.0**2, rel=0.4)  # 240 independent hours, 4 sd
    ou = replace(walk, walk_bps_per_root_h=0.0, fast_sd_bps=25.0)
    assert mean_square_move_bps2(ou, 60) == pytest.approx(2 * 25.0**2 * (1 - 2 ** (-60 / 600)), rel=0.1)
    assert mean_square_move_bps2(ou, 3600) == pytest.approx(2 * 25.0**2 * (1 - 2 ** (-3600 / 600)), rel=0.2)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_edge_pays_no_four_fees_even_in_hindsight(seed):
    _, entry_edge, exit_cost = edges_bps(make(World.no_edge(), seed))
    best_round_trip_bps = np.max(np.maximum.accumulate(entry_edge) - exit_cost)
    assert best_round_trip_bps < 20.0


def test_frozen_leg_repeats_one_row_from_a_quarter_of_the_time_on_while_the_other_moves():
    recording = make(World.frozen_leg(hours=8.0, dirt_share=0.0), seed=1)
    start, end = recording.truth.frozen
    assert (start, end) == (recording.truth.world.start_ns + 2 * HOUR, recording.truth.world.end_ns)
    later = recording.perp["timestamp"] >= start
    assert later.sum() > 5000
    for name in QUOTE_COLUMNS[1:]:
        assert len(np.unique(recording.perp[name][later])) == 1
    assert unchanged({name: column[~later] for name, column in recording.perp.items()}).mean() < 0.1
    assert len(np.unique(recording.spot["bid_price"][recording.spot["timestamp"] >= start])) > 50


@pytest.mark.parametrize("regime", REGIMES)
def test_every_regime_can_be_made_short_and_names_itself(regime):
    recording = make(getattr(World, regime)(hours=1.0), seed=1)
    assert recording.truth.world.regime == regime
    assert len(recording.perp["timestamp"]) == pytest.approx(1800, rel=0.2)


# Refusals, files and the command line


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"hours": 0.0}, "hours"),
        ({"hours": 0.01}, "too short"),
        ({"tick": -0.1}, "tick"),
        ({"fast_sd_bps": float("nan")}, "fast_sd_bps"),
        ({"mean_bps": float("inf")}, "mean_bps"),
        ({"dirt_share": 1.0}, "dirt_share"),
        ({"frozen": "both"}, "both"),
        ({"start": "soon"}, "soon"),
        ({"funding_min_bps": 2.0}, "funding_min_bps"),
    ],
)
def test_a_world_refuses_nonsense_and_names_it(changes, named):
    with pytest.raises(ParamsError, match=named):
        World(**changes)


def test_a_leg_refuses_nonsense_and_names_it():
    with pytest.raises(ParamsError, match="unchanged_share"):
        LegSpec(unchanged_share=1.0)
    with pytest.raises(ParamsError, match="stale_min_s"):
        LegSpec(stale_min_s=40.0)


def test_write_leaves_files_alone_unless_told(tmp_path):
    write(make(World.sample(hours=1.0), 1), tmp_path)
    before = (tmp_path / "spot.parquet").read_bytes()
    other = make(World.sample(hours=1.0), 2)
    with pytest.raises(ParamsError, match=r"spot\.parquet"):
        write(other, tmp_path)
    assert (tmp_path / "spot.parquet").read_bytes() == before
    write(other, tmp_path, overwrite=True)
    stored = pq.read_table(tmp_path / "spot.parquet")["bid_price"].to_numpy()
    np.testing.assert_array_equal(stored, other.spot["bid_price"])


def test_the_command_makes_the_sample_unless_told_and_knows_every_regime():
    assert SyntheticOptions(out=Path()).seed == synthetic.SAMPLE_SEED
    assert get_type_hints(SyntheticOptions)["regime"] == Literal[REGIMES]


def test_command_line_says_synthetic_and_refuses_a_second_time(tmp_path, capsys):
    arguments = ["--out", str(tmp_path / "walk"), "--regime", "random_walk", "--hours", "1", "--seed", "3"]
    assert main(arguments) == 0
    assert "synthetic, regime random_walk, seed 3" in capsys.readouterr().out
    assert json.loads((tmp_path / "walk" / "truth.json").read_text())["world"]["regime"] == "random_walk"
    assert main(arguments) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*arguments, "--force"]) == 0
