"""Edges and costs by hand arithmetic and by their identities; columns weighted by time, not by row."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from delta_arb import market
from delta_arb.errors import SeriesError
from delta_arb.stats import basis

S = 1_000_000_000  # ns

prices = st.floats(1e-6, 1e6)
FORMULAS = (
    market.entry_edge, market.exit_cost, market.reverse_edge, market.reverse_cost,
    market.mid, market.basis, market.round_trip_fees,
)  # fmt: skip


def test_edges_and_costs_by_hand():
    assert market.entry_edge(100.0, 100.25) == 0.0025
    assert market.exit_cost(100.0, 100.5) == 0.005
    assert market.reverse_edge(100.0, 99.0) == 0.01
    assert market.reverse_cost(100.0, 99.5) == 0.005
    assert market.basis(200.0, 201.0) == 0.005
    assert market.mid(99.0, 101.0) == 100.0


def test_a_round_trip_pays_four_taker_fees():
    assert market.round_trip_fees(0.0005, 0.0002) == pytest.approx(0.0014)


def test_a_bp_is_a_ten_thousandth():
    assert market.to_bps(0.0012) == pytest.approx(12.0)


@given(prices, prices)
def test_the_reverse_pair_is_the_direct_one_with_the_sign_turned(spot, perp):
    assert market.reverse_edge(spot, perp) == -market.exit_cost(spot, perp)
    assert market.reverse_cost(spot, perp) == -market.entry_edge(spot, perp)


@given(prices, prices, st.floats(0.1, 10))
def test_an_edge_does_not_depend_on_the_currency_unit(spot, perp, unit):
    rescaled = market.entry_edge(spot * unit, perp * unit)
    assert rescaled == pytest.approx(market.entry_edge(spot, perp), rel=1e-9, abs=1e-12)


@given(st.lists(st.tuples(prices, prices), min_size=1, max_size=20))
def test_a_column_holds_what_the_quotes_give_one_by_one(rows):
    first, second = (np.array(column) for column in zip(*rows))
    for formula in FORMULAS:
        assert formula(first, second).tolist() == [formula(a, b) for a, b in rows]


def test_compiled_formulas_give_the_same_bits():
    numba = pytest.importorskip("numba")
    rng = np.random.default_rng(7)
    pairs = rng.uniform(0.5, 2.0, (200, 2)).tolist()
    for formula in FORMULAS:
        compiled = numba.njit(formula)
        assert [compiled(a, b) for a, b in pairs] == [formula(a, b) for a, b in pairs]


def test_the_module_loads_neither_pandas_nor_numba():
    code = "import sys, delta_arb.market; sys.exit(bool({'pandas', 'numba', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# --- In time ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def steps():
    """2.0 for 1 s, 5.0 for 3 s, 1.0 for 6 s, and a last 100.0 of unknown duration."""
    return np.array([2.0, 5.0, 1.0, 100.0]), np.array([0, 1, 4, 10]) * S


def test_a_value_counts_for_as_long_as_it_was_in_force(steps):
    d = basis.distribution(*steps)
    assert (d.n, d.span_s) == (4, 10.0)
    assert d.mean == pytest.approx((2 * 1 + 5 * 3 + 1 * 6) / 10)  # 2.3: the 100.0 has no weight
    assert d.sd == pytest.approx(np.sqrt((0.3**2 * 1 + 2.7**2 * 3 + 1.3**2 * 6) / 10))
    assert (d.p1, d.p50, d.p75, d.p99) == (1.0, 1.0, 5.0, 5.0)


def test_a_percentile_is_the_smallest_value_held_below_for_that_share(steps):
    values = np.arange(101.0)
    d = basis.distribution(values, np.arange(101) * S)  # 0..99 one second each
    assert (d.p1, d.p5, d.p10, d.p25, d.p50, d.p75, d.p90, d.p95, d.p99) == (0, 4, 9, 24, 49, 74, 89, 94, 98)


def test_a_masked_row_ends_the_value_before_it_and_counts_itself_for_nothing(steps):
    values, ts_ns = steps
    valid = np.array([True, False, True, True])
    d = basis.distribution(np.where(valid, values, np.nan), ts_ns, valid)
    assert d.span_s == 7.0
    assert d.mean == pytest.approx((2 * 1 + 1 * 6) / 7)


def test_a_gap_does_not_count_as_one_long_quote(steps):
    d = basis.distribution(*steps, max_hold_s=2.0)
    assert d.span_s == 1 + 2 + 2
    assert d.mean == pytest.approx((2 * 1 + 5 * 2 + 1 * 2) / 5)


def test_episodes_are_half_open_and_the_last_one_is_flagged():
    values = np.array([0.0, 3.0, 4.0, 0.0, 3.0, 0.0, 5.0, 5.0])
    e = basis.episodes(values, np.array([0, 1, 2, 5, 6, 8, 10, 11]) * S, level=3.0)
    assert e.count == 3
    assert e.starts_ns.tolist() == [1 * S, 6 * S, 10 * S]
    assert e.durations_s.tolist() == [4.0, 2.0, 1.0]
    assert (e.median_s, e.longest_s) == (2.0, 4.0)
    assert e.p90_s == pytest.approx(3.6)
    assert e.open_at_end and not e.open_at_start


def test_an_episode_that_begins_with_the_last_row_has_been_seen_for_no_time():
    e = basis.episodes([0.0, 9.0], np.array([0, 5]) * S, level=1.0)
    assert (e.count, e.longest_s, e.open_at_end) == (1, 0.0, True)


def test_no_episode_is_none_and_not_zero_seconds():
    e = basis.episodes([0.0, 0.0], np.array([0, 5]) * S, level=1.0)
    assert (e.count, e.median_s, e.longest_s, e.open_at_end) == (0, None, None, False)
    assert repr(e) == "Episodes(level=1, count=0)"


def test_a_row_overwritten_at_its_own_time_stamp_is_no_episode():
    e = basis.episodes([0.0, 9.0, 0.0, 0.0], np.array([0, 5, 5, 6]) * S, level=1.0)
    assert e.count == 0


def test_a_stale_row_and_a_gap_each_end_an_episode():
    values, ts_ns = np.full(5, 9.0), np.array([0, 1, 2, 3, 60]) * S
    valid = np.array([True, True, False, True, True])
    e = basis.episodes(values, ts_ns, level=1.0, valid=valid, max_hold_s=10.0)
    assert e.durations_s.tolist() == [2.0, 10.0, 0.0]
    assert e.open_at_start and e.open_at_end


columns = st.lists(st.tuples(st.floats(-100, 100), st.integers(0, 5 * S), st.booleans()), min_size=3, max_size=40).map(
    lambda rows: (np.array([r[0] for r in rows]), np.cumsum([r[1] for r in rows]), np.array([r[2] for r in rows]))
)


@given(columns, st.floats(-100, 100))
def test_episodes_together_last_as_long_as_the_time_above(column, level):
    values, ts_ns, valid = column
    in_force_s = np.diff(ts_ns, append=ts_ns[-1]) / S
    if not in_force_s[valid].sum() > 0:
        return
    above_s = in_force_s[valid & (values >= level)].sum()
    assert basis.episodes(values, ts_ns, level, valid).durations_s.sum() == pytest.approx(above_s, abs=1e-6)


@given(columns, st.floats(-100, 100))
def test_repeating_a_row_before_its_end_changes_nothing(column, level):
    values, ts_ns, _ = column
    if ts_ns[-1] == ts_ns[0]:
        return
    twice_v, twice_t = np.repeat(values, 2)[:-1], np.repeat(ts_ns, 2)[:-1]
    twice_t[1::2] += np.diff(ts_ns) // 2
    one, two = basis.distribution(values, ts_ns), basis.distribution(twice_v, twice_t)
    assert (one.span_s, one.mean, one.sd) == pytest.approx((two.span_s, two.mean, two.sd), abs=1e-9)
    assert basis.episodes(twice_v, twice_t, level).count == basis.episodes(values, ts_ns, level).count


@pytest.mark.parametrize(
    ("values", "ts_ns", "says"),
    [
        ([1.0, np.nan], [0, S], "not finite, the first in row 1"),
        ([1.0, 2.0], [S, 0], "falls after row 0"),
        ([1.0, 2.0], [S, S], "in force for any time"),
        ([1.0], [S], "in force for any time"),
        ([], np.array([], dtype=np.int64), "in force for any time"),
        ([1.0, 2.0], [0, S, 2 * S], "one length"),
        ([1.0, 2.0], [0.0, 1e9], "whole nanoseconds"),
    ],
)
def test_a_column_without_an_answer_is_an_error_which_says_why(values, ts_ns, says):
    for ask in (basis.distribution, lambda v, t: basis.episodes(v, t, 0)):
        with pytest.raises(SeriesError, match=says):
            ask(values, ts_ns)


def test_the_representation_is_short_and_the_frame_complete(steps):
    d = basis.distribution(*steps)
    assert len(repr(d)) < 120
    assert d.to_frame().loc["p50", "value"] == 1.0
    assert "<table" in d._repr_html_()
