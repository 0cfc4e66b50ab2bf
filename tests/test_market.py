"""Books, contracts, fills, funding and the one money identity: by hand, and against exact fractions."""

import functools
import math
import operator
from fractions import Fraction

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SECOND, book, books, pair_fills, payments, prices, quantities, seconds

from delta_arb.errors import DataError, ParamsError
from delta_arb.funding_stamps import check_stamps
from delta_arb.market import (
    END,
    PERP,
    SPOT,
    TARGET,
    Fill,
    FundingPayment,
    exit_price,
    fill,
    floor_to,
)
from delta_arb.strategy.ledger import funding, settle
from delta_arb.venue_terms import VenueTerms, common_step, perpetual

HOUR = 3600 * SECOND
CENT = 0.01


def bought(leg, s, qty, price, fee=0.0):
    return Fill(1, seconds(s), leg, float(qty), float(price), float(fee))


def sold(leg, s, qty, price, fee=0.0):
    return Fill(1, seconds(s), leg, -float(qty), float(price), float(fee))


@pytest.fixture
def round_trip():
    """Ten coins: in at 100 and 101, out at 100.5 and 100.8; a spot fill costs 0.5, one of the perpetual 0.25."""
    return [
        bought(SPOT, 1, 10, 100.0, fee=0.5),
        sold(PERP, 1, 10, 101.0, fee=0.25),
        sold(SPOT, 9, 10, 100.5, fee=0.5),
        bought(PERP, 9, 10, 100.8, fee=0.25),
    ]


# --- The identity ----------------------------------------------------------------------------------------------------


def test_a_round_trip_by_hand(round_trip):
    trade = settle(round_trip, TARGET, [FundingPayment(seconds(5), 0.0001, 101.0, True)])
    assert trade.spot_usdt == pytest.approx(5.0)  # 1005 - 1000
    assert trade.perp_usdt == pytest.approx(2.0)  # 1010 - 1008
    assert trade.fees_usdt == pytest.approx(1.5)
    assert trade.funding_usdt == pytest.approx(0.101)  # 0.0001 * 101 * 10
    assert trade.residual_usdt == 0.0
    assert trade.net_usdt == pytest.approx(5.0 + 2.0 - 1.5 + 0.101)
    assert (trade.qty, trade.notional_usdt, trade.held_s, trade.reason) == (10.0, 1000.0, 8.0, "target")
    assert (trade.spot_in, trade.perp_in, trade.spot_out, trade.perp_out) == (100.0, 101.0, 100.5, 100.8)
    assert (trade.fills, trade.approximate_funding) == (4, False)


def test_prices_are_means_weighted_by_quantity():
    trade = settle([bought(SPOT, 1, 1, 100), bought(SPOT, 2, 3, 104), sold(SPOT, 3, 4, 110)], TARGET)
    assert (trade.spot_in, trade.spot_out) == (103.0, 110.0)
    assert math.isnan(trade.perp_in) and math.isnan(trade.perp_out)


def test_a_residual_is_booked_at_its_exit_side_lesson_5(round_trip):
    """One coin too many is left on the spot leg and worth the bid of 100.4."""
    fills = [bought(SPOT, 0.5, 1, 100.0), *round_trip]
    trade = settle(fills, END, spot_mark=100.4, perp_mark=100.9)
    assert trade.residual_usdt == pytest.approx(100.4)
    assert trade.net_usdt == pytest.approx(-100.0 + 5.0 + 2.0 - 1.5 + 100.4)


@given(pair_fills(), payments(), prices, prices)
def test_the_parts_of_any_pair_sum_to_its_net_to_the_cent_lesson_11(fills, payments, spot_mark, perp_mark):
    trade = settle(fills, TARGET, payments, spot_mark, perp_mark)
    cash = sum(-Fraction(f.qty) * Fraction(f.price) for f in fills)
    fees = sum(Fraction(f.fee_usdt) for f in fills)
    left = {leg: sum(Fraction(f.qty) for f in fills if f.leg == leg) for leg in (SPOT, PERP)}
    residual = left[SPOT] * Fraction(spot_mark) + left[PERP] * Fraction(perp_mark)
    received = sum(exact_funding(fills, payment) for payment in payments)
    assert abs(Fraction(trade.net_usdt) - (cash - fees + received + residual)) < CENT
    parts = trade.spot_usdt + trade.perp_usdt - trade.fees_usdt + trade.funding_usdt + trade.residual_usdt
    assert parts == trade.net_usdt


def exact_funding(fills, payment):
    """Rate times mark times the short held just before the stamp, if some of it was closed at the stamp or later."""
    perp = [f for f in fills if f.leg == PERP]
    if not any(f.ts_ns >= payment.ts_ns for f in perp):
        return 0
    short = -sum(Fraction(f.qty) for f in perp if f.ts_ns < payment.ts_ns)
    return Fraction(payment.rate) * Fraction(payment.mark) * short


@given(pair_fills(), prices, prices, st.floats(0.5, 2.0))
def test_a_pair_that_nets_to_zero_does_not_depend_on_the_marks(fills, spot_mark, perp_mark, factor):
    """Nets to zero in floating point, added up one by one: `sum` compensates from Python 3.12 on."""
    flat = [*fills]
    for leg in (SPOT, PERP):
        left = functools.reduce(operator.add, (f.qty for f in fills if f.leg == leg), 0.0)
        flat.append(Fill(1, fills[-1].ts_ns, leg, -left, 100.0, 0.0))
    one, two = (settle(flat, TARGET, (), k * spot_mark, k * perp_mark) for k in (1.0, factor))
    assert one.residual_usdt == 0.0
    assert one.net_usdt == two.net_usdt


# --- Funding ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def short_of_ten():
    """Ten coins sold at second 10 and bought back at second 20."""
    return [sold(PERP, 10, 10, 100.0), bought(PERP, 20, 10, 100.0)]


def paid_at(fills, s, rate=0.001, mark=50.0, exact=True):
    return funding(fills, 0, len(fills), [FundingPayment(seconds(s), rate, mark, exact)])[0]


def test_a_short_receives_a_positive_rate_and_pays_a_negative_one(short_of_ten):
    assert paid_at(short_of_ten, 15, rate=0.001, mark=50.0) == pytest.approx(0.5)  # 0.001 * 50 * 10
    assert paid_at(short_of_ten, 15, rate=-0.001, mark=50.0) == pytest.approx(-0.5)


def test_a_position_opened_at_the_stamp_is_not_paid_one_closed_at_it_is(short_of_ten):
    assert paid_at(short_of_ten, 10) == 0.0
    assert paid_at(short_of_ten, 10.000000001) == pytest.approx(0.5)
    assert paid_at(short_of_ten, 20) == pytest.approx(0.5)
    assert paid_at(short_of_ten, 20.000000001) == 0.0


def test_funding_is_paid_on_the_position_held_at_the_stamp():
    fills = [sold(PERP, 10, 10, 100), bought(PERP, 12, 4, 100), sold(PERP, 14, 1, 100), bought(PERP, 20, 7, 100)]
    assert [paid_at(fills, s, rate=0.01, mark=100.0) for s in (11, 12, 13, 15)] == pytest.approx([10, 10, 6, 7])


def test_stamps_add_up_and_one_estimated_mark_makes_the_sum_approximate(short_of_ten):
    stamps = [FundingPayment(seconds(s), 0.001, 50.0, s != 13) for s in (9, 12, 13, 25)]
    assert funding(short_of_ten, 0, len(short_of_ten), stamps) == (pytest.approx(1.0), False)
    assert funding(short_of_ten, 0, len(short_of_ten), stamps[:2]) == (pytest.approx(0.5), True)
    assert funding(short_of_ten, 0, len(short_of_ten), [stamps[0]._replace(exact=False)]) == (
        0.0,
        True,
    )  # outside the hold: not used


def test_a_pair_without_a_perpetual_fill_has_no_funding():
    assert funding([], 0, 0, [FundingPayment(seconds(1), 0.01, 100.0, False)]) == (0.0, True)


# --- The funding table -----------------------------------------------------------------------------------------------


def stamps_h(*hours):
    return [round(h * HOUR) for h in hours]


@pytest.fixture
def eight_four_one():
    """A contract whose interval changes from 8 h to 4 h at hour 24 and to 1 h at hour 36."""
    return stamps_h(0, 8, 16, 24, 28, 32, 36, 37, 38, 39, 40)


def test_a_changing_interval_is_no_hole_lesson_12(eight_four_one):
    check_stamps(eight_four_one, 1 * HOUR, 40 * HOUR)
    check_stamps([40 * HOUR - t for t in reversed(eight_four_one)], 1 * HOUR, 40 * HOUR)  # 1 h, 4 h, 8 h


@pytest.mark.parametrize(
    ("missing", "after", "before"),
    [
        (8, "01 00", "01 16"),
        (16, "01 08", "02 00"),
        (24, "01 16", "02 04"),
        (32, "02 04", "02 12"),
        (36, "02 08", "02 13"),
        (38, "02 13", "02 15"),
        (39, "02 14", "02 16"),
    ],
)
def test_a_missing_stamp_inside_a_hold_raises_and_names_its_place_lesson_14(eight_four_one, missing, after, before):
    """Also at a change of interval: without hour 24 there are 8 h, 12 h and 4 h, without hour 36 4 h, 5 h and 1 h."""
    table = [t for t in eight_four_one if t != missing * HOUR]
    with pytest.raises(DataError, match=f"missing between 1970-01-{after}:00:00.000 and 1970-01-{before}:00:00.000"):
        check_stamps(table, 1 * HOUR, 40 * HOUR)


@pytest.mark.parametrize("missing", [28, 37])
def test_the_first_stamp_after_a_change_is_not_missed(eight_four_one, missing):
    """8 h, 8 h and then 4 h is also the table of a contract that changed one stamp later: nobody can see this one."""
    check_stamps([t for t in eight_four_one if t != missing * HOUR], 1 * HOUR, 40 * HOUR)


def test_a_hole_outside_the_hold_does_not_matter(eight_four_one):
    table = [t for t in eight_four_one if t != 16 * HOUR]
    check_stamps(table, 25 * HOUR, 40 * HOUR)
    check_stamps(table, 24 * HOUR, 40 * HOUR)  # opened at the stamp after the hole
    with pytest.raises(DataError, match="missing between"):
        check_stamps(table, 24 * HOUR - 1, 40 * HOUR)


@given(st.lists(st.integers(-200, 200), min_size=12, max_size=12))
def test_milliseconds_of_jitter_are_no_hole(jitter_ms):
    table = [8 * HOUR * k + ms * 1_000_000 for k, ms in enumerate(jitter_ms)]
    check_stamps(table, table[0] + HOUR, table[-1] - HOUR)


def test_a_hold_may_reach_past_the_table_by_less_than_one_interval_lesson_14():
    table = stamps_h(8, 16, 24)
    check_stamps(table, 1 * HOUR, 31 * HOUR)
    with pytest.raises(DataError, match=r"covers 1970-01-01 08:00:00.000 to 1970-01-02 00:00:00.000.*held.*09:00"):
        check_stamps(table, 8 * HOUR, 33 * HOUR)  # the stamp of hour 32 is missing
    with pytest.raises(DataError, match="fetch the missing stamps"):
        check_stamps(table, -1 * HOUR, 20 * HOUR)  # the stamp of hour 0 is missing


def test_a_position_closed_at_the_next_stamp_needs_that_stamp():
    with pytest.raises(DataError, match="fetch the missing stamps"):
        check_stamps(stamps_h(8, 16, 24), 9 * HOUR, 32 * HOUR)


@pytest.mark.parametrize("table", [[], [8 * HOUR]])
def test_a_table_without_an_interval_is_refused(table):
    with pytest.raises(DataError, match="--funding none"):
        check_stamps(table, 0, HOUR)


# --- Grids and contracts ---------------------------------------------------------------------------------------------


def test_the_last_digits_of_a_quotient_cost_no_step():
    assert floor_to(0.3, 0.1) == pytest.approx(0.3)  # 0.3 / 0.1 is 2.9999999999999996
    assert floor_to(0.29, 0.1) == pytest.approx(0.2)
    assert floor_to(7.9, 0.0) == 7.9
    assert floor_to(9.99, 10.0) == 0.0


@given(st.floats(0, 1e6), st.sampled_from((1e-8, 0.0001, 0.1, 0.3, 1.0, 10.0, 1e4, 1e6)))
def test_a_floored_quantity_is_on_the_grid_and_less_than_a_step_below(qty, step):
    floored = floor_to(qty, step)
    tolerance = step * 1e-9 + qty * 1e-15
    assert qty - step - tolerance < floored <= qty + tolerance
    assert floored == round(floored / step) * step


@given(st.integers(-(10**12), 10**12), st.sampled_from((1e-4, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1e4, 1e6, 1e7)))
def test_contracts_survive_the_way_to_base_units_and_back_lesson_19(contracts, size):
    instrument = perpetual("gate", 5.0, size)
    assert instrument.to_contracts(instrument.to_base(contracts)) == contracts


@given(st.integers(-(10**9), 10**9), st.floats(0.01, 0.99), st.sampled_from((1e-4, 0.01, 1.0, 10.0, 1e4)))
def test_a_quantity_off_the_contract_grid_is_refused(contracts, part, size):
    with pytest.raises(ParamsError, match="not whole contracts"):
        perpetual("gate", 5.0, size).to_contracts((contracts + part) * size)


@pytest.mark.parametrize("base", [math.nan, math.inf])
def test_a_quantity_that_is_no_number_has_no_contracts(base):
    with pytest.raises(ParamsError, match="not whole contracts"):
        perpetual("gate", 5.0, 1.0).to_contracts(base)


def test_every_multiplier_of_the_venue_makes_the_round_trip(recording):
    table = pq.read_table(recording("gateio_futures_contracts_2023-05-24.parquet"))
    sizes = table["quanto_multiplier"].to_numpy()
    assert len(sizes) == 302
    for size in sizes:  # numpy floats, as every table hands them out
        instrument = perpetual("gate", 5.0, size)
        for contracts in (1, 3, 7, 90, 12_345, 999_999, 1_000_000_000):
            assert instrument.to_contracts(instrument.to_base(contracts)) == contracts
            assert instrument.to_contracts(floor_to(contracts * float(size), instrument.qty_step)) == contracts
        assert common_step(VenueTerms(venue="mexc", taker_fee_bps=5.0, qty_step=np.float64(0.01)), instrument) >= size


@pytest.mark.parametrize(
    ("spot_step", "perp_step", "common"),
    [
        (0.0, 0.0, 0.0),
        (0.0, 10.0, 10.0),
        (0.01, 0.0, 0.01),
        (0.01, 10.0, 10.0),
        (0.4, 0.6, 1.2),
        (3.0, 10000.0, 30000.0),
        (1e-8, 0.0001, 0.0001),
        (0.25, 0.1, 0.5),
    ],
)
def test_the_common_step_is_the_smallest_quantity_on_both_grids(spot_step, perp_step, common):
    spot, perp = VenueTerms(venue="mexc", qty_step=spot_step), VenueTerms(venue="gate", qty_step=perp_step)
    assert common_step(spot, perp) == common


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"contract_size": 0.0}, r"contract_size: should be greater than 0 \(was 0.0\)"),
        ({"contract_size": math.nan}, "contract_size: should be a finite number"),
        ({"taker_fee_bps": 501.0}, "taker_fee_bps: should be less than or equal to 500"),
        ({"taker_fee_bps": math.nan}, "taker_fee_bps: should be a finite number"),
        ({"qty_step": -1.0}, "qty_step: should be greater than or equal to 0"),
        ({"min_qty": math.inf}, "min_qty: should be a finite number"),
        ({"min_notional_usdt": math.nan}, "min_notional_usdt: should be a finite number"),
        ({"leverage": 21.0, "max_leverage": 20.0}, "leverage is at least 1 and here at most 20, was 21"),
        ({"leverage": 50.0, "maintenance_rate": 0.02}, "maintenance_rate is a share below 1 / leverage"),
    ],
)
def test_terms_out_of_bounds_are_refused_in_one_line(values, says):
    with pytest.raises(ParamsError, match=says):
        VenueTerms(**{"venue": "gate"} | values)


# --- The fill rule ---------------------------------------------------------------------------------------------------


@pytest.fixture
def shown():
    """Three coins bid at 99, five offered at 101."""
    return book(99, 101, bid_qty=3, ask_qty=5)


def test_a_buy_pays_the_ask_and_a_sale_gets_the_bid(shown):
    assert fill(2.0, 101.5, shown, 0.0) == (2.0, 101.0)
    assert fill(-2.0, 98.0, shown, 0.0) == (-2.0, 99.0)


def test_at_most_the_shown_quantity_is_filled(shown):
    assert fill(9.0, 200.0, shown, 0.0) == (5.0, 101.0)
    assert fill(-9.0, 1.0, shown, 0.0) == (-3.0, 99.0)


def test_the_limit_itself_is_filled_and_nothing_beyond_it(shown):
    assert fill(1.0, 101.0, shown, 0.0) == (1.0, 101.0)
    assert fill(1.0, 100.999, shown, 0.0)[0] == 0.0
    assert fill(-1.0, 99.0, shown, 0.0) == (-1.0, 99.0)
    assert fill(-1.0, 99.001, shown, 0.0)[0] == 0.0


def test_a_partial_fill_is_on_the_grid(shown):
    assert fill(9.0, 101.0, shown, 2.0) == (4.0, 101.0)
    assert fill(-9.0, 99.0, shown, 2.0) == (-2.0, 99.0)
    assert fill(-9.0, 99.0, shown, 10.0)[0] == 0.0


@pytest.mark.parametrize(("bid", "ask"), [(101, 99), (100, 100), (0, 101), (math.nan, 101), (99, math.nan)])
def test_nothing_fills_on_a_crossed_locked_or_one_sided_book(bid, ask):
    assert fill(1.0, 1000.0, book(bid, ask), 0.0)[0] == 0.0
    assert fill(-1.0, 0.001, book(bid, ask), 0.0)[0] == 0.0


def test_nothing_fills_where_nothing_is_shown_or_asked():
    empty = book(99, 101, bid_qty=0, ask_qty=0)
    assert fill(1.0, 200.0, empty, 0.0)[0] == 0.0
    assert fill(-1.0, 1.0, empty, 0.0)[0] == 0.0
    assert fill(0.0, 200.0, book(99, 101), 0.0) == (0.0, 0.0)


@given(quantities, st.sampled_from((-1, 1)), prices, books(), st.sampled_from((0.0, 0.5, 10.0)))
def test_a_fill_is_never_larger_than_asked_and_shown_nor_worse_than_the_limit(qty, side, limit, shown, step):
    filled, price = fill(side * qty, limit, shown, step)
    assert filled * side >= 0.0
    assert abs(filled) <= min(qty, shown.ask_qty if side > 0 else shown.bid_qty) + 1e-9 * step
    if filled:
        assert price == (shown.ask if side > 0 else shown.bid)
        assert (limit - price) * side >= 0.0


def test_a_long_is_worth_the_bid_and_a_short_owes_the_ask(shown):
    assert exit_price(2.0, shown) == 99.0
    assert exit_price(-2.0, shown) == 101.0
