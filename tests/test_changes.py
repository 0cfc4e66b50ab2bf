"""Shifts of the level: real ones are found, a stationary spread has none."""

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from delta_arb.errors import SeriesError
from delta_arb.stats import level_shifts

S = 1_000_000_000  # ns
MINUTES = np.arange(1440) * 60 * S
REAL = (288, 576, 864, 1152)


def spread(half_life_rows, seed, noise_sd=0.0):
    rng = np.random.default_rng(seed)
    phi = 0.5 ** (1 / half_life_rows)
    shocks = rng.normal(size=1440) * math.sqrt(1 - phi * phi)
    shocks[0] = rng.normal()
    return lfilter([1.0], [1.0, -phi], shocks) + noise_sd * rng.normal(size=1440)


def shifted(x, size):
    x = x.copy()
    for row, sign in zip(REAL, (1, -1, 1, 1)):
        x[row:] += sign * size
    return x


@pytest.mark.parametrize(("half_life_rows", "noise_sd"), [(3, 0.0), (10, 0.0), (10, 1.0), (60, 0.0)])
def test_a_stationary_spread_has_no_shifts_mistake_16(half_life_rows, noise_sd):
    for seed in range(3):
        assert level_shifts.level_shifts(spread(half_life_rows, seed, noise_sd), MINUTES).size.size == 0


@pytest.mark.parametrize(("half_life_rows", "noise_sd", "size"), [(10, 0.0, 2.0), (3, 0.0, 3.0), (10, 0.5, 3.0)])
def test_four_real_shifts_are_found_where_they_are(half_life_rows, noise_sd, size):
    found = level_shifts.level_shifts(shifted(spread(half_life_rows, 1, noise_sd), size), MINUTES)
    assert found.ts_ns / (60 * S) == pytest.approx(REAL, abs=10)
    assert np.sign(found.size).tolist() == [1, -1, 1, 1]
    assert np.abs(found.size) == pytest.approx(size, abs=1.0)
    assert (found.gain > found.needed).all()


def test_white_noise_has_no_shifts_mistake_16():
    for seed in range(5):
        noise = np.random.default_rng(seed).normal(size=1440)
        assert level_shifts.level_shifts(noise, MINUTES).size.size == 0


def test_segments_are_cut_at_the_changes_and_not_into_equal_lengths_mistake_16():
    places = (140, 330, 1150)
    y = spread(10, 6)
    for row, size in zip(places, (3.0, 3.0, -4.0)):
        y[row:] += size
    found = level_shifts.level_shifts(y, MINUTES)
    assert found.ts_ns / (60 * S) == pytest.approx(places, abs=10)
    assert found.size == pytest.approx([3.0, 3.0, -4.0], abs=1.0)


def test_windows_are_in_time_and_not_in_rows_mistake_16():
    """The second half of the day is quoted six times as often: the shifts are at the same times all the same."""
    y = shifted(spread(10, 1), 3.0)
    often = np.repeat(np.arange(720, 1440), 6)
    ts_ns = np.concatenate([MINUTES[:720], often * 60 * S + np.tile(np.arange(6) * 10 * S, 720)])
    one, two = (
        level_shifts.level_shifts(y, MINUTES),
        level_shifts.level_shifts(np.concatenate([y[:720], y[often]]), ts_ns),
    )
    assert two.ts_ns / (60 * S) == pytest.approx(REAL, abs=10)
    assert two.ts_ns / (60 * S) == pytest.approx(one.ts_ns / (60 * S), abs=1)


def test_without_its_shifts_a_spread_looks_slower_than_it_is():
    y = shifted(spread(10, 2), 3.0)
    segments = level_shifts._rows(y, MINUTES, None, 60.0)
    assert level_shifts.level_shifts(y, MINUTES).half_life_s == pytest.approx(600, rel=0.5)
    assert math.log(2) / segments.fit([]).theta > 1200


def test_unit_and_gaps_carry_through():
    y = shifted(spread(10, 5), 3.0)
    valid = np.random.default_rng(5).random(1440) < 0.8
    found = level_shifts.level_shifts(1e-4 * np.where(valid, y, np.nan) + 0.01, MINUTES, valid)
    assert found.ts_ns / (60 * S) == pytest.approx(REAL, abs=10)
    assert np.abs(found.size) == pytest.approx(3e-4, abs=1e-4)
    assert found.to_frame().shape == (4, 2)


@pytest.mark.parametrize(
    ("values", "ts_ns", "says"),
    [
        (spread(10, 1)[:40], MINUTES[:40], "at least 50 rows"),
        (np.full(1440, 2.0), MINUTES, "constant"),
        (np.zeros(4000) + np.arange(4000) % 7, np.arange(4000) * 60 * S, "more than 3000"),
    ],
)
def test_what_cannot_be_answered_is_an_error(values, ts_ns, says):
    with pytest.raises(SeriesError, match=says):
        level_shifts.level_shifts(values, ts_ns)
