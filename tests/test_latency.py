"""Latencies as a table: constants, draws by median and 99th percentile, recordings, and how the options say them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from delta_arb.errors import DataError, ParamsError
from delta_arb.latency import Delay, Latency, delay, latency
from delta_arb.market import NS, SPOT

DAY = 86_400 * NS


def test_a_constant_is_one_row():
    assert [column.tolist() for column in Delay(0.1).between(5 * NS, 9 * NS)] == [[0], [100_000_000]]
    assert str(delay("0.1", 0)) == "0.1 s"


def test_draws_have_their_median_and_99th_percentile():
    """A day of draws: the standard error of a median is 1.25 sigma / sqrt(n) of it, here a quarter of a per cent."""
    drawn = Delay(0.1, 0.4, seed=3).between(0, DAY).latency_ns / NS
    assert np.median(drawn) == pytest.approx(0.1, rel=0.02)
    assert np.quantile(drawn, 0.99) == pytest.approx(0.4, rel=0.06)
    assert drawn.max() <= 3 * 0.4 and drawn.min() > 0


@given(st.integers(0, 400_000), st.integers(0, 20_000), st.integers(0, 5))
def test_a_second_has_one_latency_whatever_the_slice(start_s, length_s, seed):
    of = Delay(0.1, 0.4, seed)
    part, whole = of.between(start_s * NS, (start_s + length_s) * NS), of.between(0, 500_000 * NS)
    first = int(part.ts_ns[0] // NS)
    assert first <= start_s and part.ts_ns[-1] >= (start_s + length_s) * NS - NS
    assert np.array_equal(part.latency_ns, whole.latency_ns[first : first + len(part.ts_ns)])


def test_both_legs_draw_apart_and_another_seed_draws_anew():
    both = latency("0.1~0.4", "0.1~0.4")
    assert not np.array_equal(both.spot.between(0, NS).latency_ns, both.perp.between(0, NS).latency_ns)


def test_of_a_recording_the_row_in_force_when_the_order_is_sent_counts(tmp_path):
    path = tmp_path / "latency.csv"
    path.write_text("timestamp,latency_s\n2026-01-01T00:00:10Z,0.2\n2026-01-01T00:00:20Z,0.5\n")
    of = latency(str(path), "0.1")
    assert (of.spot_s, of.longest_s) == (0.35, 0.5)
    start = int(np.datetime64("2026-01-01T00:00:00", "ns").astype(np.int64))
    at = {s: of.ns(SPOT, start + s * NS) / NS for s in (0, 10, 19, 20, 1000)}
    assert at == {0: 0.2, 10: 0.2, 19: 0.2, 20: 0.5, 1000: 0.5}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("2026-01-01T00:00:10Z,0.0", "row 0 has a latency of 0.0"),
        ("2026-01-01T00:00:10Z,\n", "row 0 has a latency"),
        ("", "rising"),
    ],
)
def test_a_recording_with_a_latency_of_nothing_is_refused(tmp_path, rows, says):
    path = tmp_path / "latency.csv"
    path.write_text(f"timestamp,latency_s\n{rows}\n" if rows else "timestamp,latency_s\n")
    with pytest.raises(DataError, match=says):
        delay(str(path), 0)


@pytest.mark.parametrize("text", ["0.4~0.1", "0.1~0.2~0.3", "0.0", "0.1~25", "-0.1", "nan"])
def test_nonsense_is_refused(text):
    with pytest.raises(ParamsError):
        latency(text, "0.1")


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(DataError, match="no such file of latencies"):
        delay("none.csv", 0)


def test_the_longest_latency_bounds_every_draw():
    assert Latency(0.1, 0.2, Delay(0.1, 0.4)).longest_s == pytest.approx(1.2)
