"""The pair machine, one sentence of the domain per test, and what no sequence of events may bring about.

Ten coins are one clip (1000 USDT at an ask of 100). Unless a test says otherwise: enter at an edge of 1 %, leave at a
cost of 0, hold 60 s at most, books no older than 1 s, a leg deadline of 5 s, no fees, no grids.
"""

import copy
import math

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from strategies import SECOND, leg_rule, random_rows, rule, rules, seconds

from delta_arb.market import GUARD, HALT, NEVER, NO_REASON, PERP, SPOT, TARGET, TIMEOUT, UNWOUND, Book
from delta_arb.strategy.decide import decide
from delta_arb.strategy.state import (
    DIRECT,
    ENTERING,
    EXITING,
    FLAT,
    HALTED,
    HEDGING,
    NO_ORDERS,
    OPEN,
    OUTSIDE,
    QUOTE,
    REPORT,
    REVERSE,
    TIMER,
    Event,
    State,
)
from delta_arb.wallets import Wallet

PAYS = (101.0, 101.5)  # books of the perpetual beside a spot book of 99.5 / 100: this one pays an edge of 1 %
FAIR = (99.8, 100.3)  # this one pays nothing and costs 80 bps to leave
GONE = (99.0, 99.5)  # this one lets the pair out at a cost of zero


class Desk:
    """One machine at work: feeds it events in time order, keeps the books, and returns the orders of each event."""

    def __init__(self, of=None, **changes):
        self.rule = of or rule(**changes)
        self.state, self.now, self.wallet = State(), 0, Wallet(math.inf, math.inf, math.inf)
        self.spot, self.perp = (Book(99.5, 100.0, 100.0, 100.0, 0), Book(*FAIR, 100.0, 100.0, 0))

    def event(self, kind, s, leg=0, filled=0.0, price=0.0, remaining=0.0):
        self.now = seconds(s)
        report = leg, float(filled), float(price), float(remaining)
        happened = Event(kind, self.now, self.spot, self.perp, *report, 0.0, self.wallet)
        self.state = self.state.copy()  # `before` of a test stays what it was
        return decide(self.state, happened, self.rule)

    def quote(self, s, spot=None, perp=None):
        """New books (bid, ask[, bid_qty, ask_qty]), confirmed now; a leg that is not given keeps its old one."""
        if spot:
            self.spot = Book(*spot, *(100.0, 100.0)[: 4 - len(spot)], seconds(s))
        if perp:
            self.perp = Book(*perp, *(100.0, 100.0)[: 4 - len(perp)], seconds(s))
        return self.event(QUOTE, s)

    def both(self, s, perp, spot=(99.5, 100.0)):
        return self.quote(s, spot, perp)

    def timer(self, s):
        return self.event(TIMER, s)

    def report(self, s, leg, filled, price=100.0, remaining=0.0):
        return self.event(REPORT, s, leg, filled, price, remaining)

    @property
    def held(self):
        return self.state.legs[SPOT].position, self.state.legs[PERP].position


def quantities(orders):
    return tuple(order.qty for order in orders)


def opened(**changes):
    """A desk with ten coins open since second 0: bought at 100, sold at 101."""
    desk = Desk(**changes)
    desk.both(0, PAYS)
    desk.report(0.1, SPOT, 10, 100.0)
    desk.report(0.1, PERP, -10, 101.0)
    assert (desk.state.phase, desk.held) == (OPEN, (10.0, -10.0))
    return desk


def entered(spot_filled, perp_filled, **changes):
    """A desk whose entry at second 0 came back filled in part: the orders of its last report, and the desk."""
    desk = Desk(**changes)
    desk.both(0, PAYS)
    desk.report(0.1, SPOT, spot_filled, 100.0)
    return desk.report(0.1, PERP, -perp_filled, 101.0), desk


# --- Entering --------------------------------------------------------------------------------------------------------


def test_it_enters_at_the_entry_edge_and_not_below():
    assert quantities(Desk().both(0, (101.0, 101.5))) == (10.0, -10.0)
    assert Desk().both(0, (100.999, 101.5)) == NO_ORDERS


def test_entry_orders_are_bounded_and_neither_is_reduce_only():
    buy, sell = Desk(price_bound=0.02).both(0, (101.0, 101.5))
    assert buy.limit == pytest.approx(102.0) and sell.limit == pytest.approx(98.98)
    assert not (buy.reduce_only or sell.reduce_only or buy.cancel or sell.cancel)


@pytest.mark.parametrize(("age_s", "orders"), [(1.0, (10.0, -10.0)), (1.000000001, (0.0, 0.0))])
def test_it_enters_on_books_that_are_fresh_on_both_legs_only_lesson_22(age_s, orders):
    old_spot, old_perp = Desk(max_quote_age_s=1.0), Desk(max_quote_age_s=1.0)
    old_spot.both(0, FAIR)
    assert quantities(old_spot.quote(age_s, perp=PAYS)) == orders
    old_perp.both(0, PAYS, (101.0, 101.5))
    assert quantities(old_perp.quote(age_s, spot=(99.5, 100.0))) == orders


@pytest.mark.parametrize(
    ("spot", "perp"),
    [
        ((100.5, 100.0), PAYS),  # spot crossed
        ((100.0, 100.0), PAYS),  # spot locked
        ((99.5, 100.0), (101.0, 100.9)),  # perpetual crossed
        ((0.0, 100.0), PAYS),  # no bid
        ((99.5, 100.0, 0.0, 0.0), PAYS),  # spot withdrawn
        ((99.5, 100.0), (101.0, 101.5, 0.0, 0.0)),  # perpetual withdrawn
        ((99.5, math.nan), PAYS),
    ],
)
def test_it_never_enters_on_a_crossed_one_sided_or_withdrawn_book_lesson_23(spot, perp):
    assert Desk(entry=-1.0).both(0, perp, spot) == NO_ORDERS


def test_the_size_is_one_clip():
    assert quantities(Desk(clip_usdt=250.0).both(0, PAYS)) == (2.5, -2.5)


def test_the_size_is_at_most_what_both_best_levels_show_times_the_participation():
    thin_spot, thin_perp = (99.5, 100.0, 100.0, 4.0), (101.0, 101.5, 3.0, 100.0)
    assert quantities(Desk(participation=0.5).both(0, PAYS, thin_spot)) == (2.0, -2.0)
    assert quantities(Desk(participation=0.5).both(0, thin_perp)) == (1.5, -1.5)
    assert quantities(Desk().both(0, thin_perp, thin_spot)) == (3.0, -3.0)


def test_the_size_is_on_both_grids_lesson_1():
    coarse = {"step": 3.0, "spot": leg_rule(step=1.0), "perp": leg_rule(step=3.0)}
    assert quantities(Desk(**coarse).both(0, PAYS)) == (9.0, -9.0)
    assert Desk(clip_usdt=299.0, **coarse).both(0, PAYS) == NO_ORDERS


@pytest.mark.parametrize("leg", ["spot", "perp"])
@pytest.mark.parametrize(
    ("minimum", "enters"),
    [
        ({"min_qty": 10.0}, True),
        ({"min_qty": 10.001}, False),
        ({"min_notional_usdt": 1000.0}, True),
        ({"min_notional_usdt": 1010.01}, False),
    ],
)
def test_it_does_not_enter_below_a_minimum_of_either_venue_lesson_1(leg, minimum, enters):
    orders = Desk(**{leg: leg_rule(**minimum)}).both(0, PAYS)
    assert quantities(orders) == ((10.0, -10.0) if enters else (0.0, 0.0))


@pytest.mark.parametrize("changes", [{"may_enter": False}, {"flatten": True}])
def test_it_never_enters_when_told_not_to(changes):
    assert Desk(**changes).both(0, (150.0, 150.5)) == NO_ORDERS


def test_an_entry_that_no_venue_filled_is_tried_again():
    orders, desk = entered(0, 0)
    assert orders == NO_ORDERS and desk.state.phase == FLAT and desk.state.armed
    assert quantities(desk.both(0.2, PAYS)) == (10.0, -10.0)
    assert desk.state.pair == 2


# --- While orders are out --------------------------------------------------------------------------------------------


def test_a_quote_while_orders_are_out_decides_nothing_lesson_20():
    desk = Desk(leg_deadline_s=5)
    desk.both(0, PAYS)
    before = desk.state
    assert desk.both(1, GONE) == NO_ORDERS
    assert desk.both(2, (90.0, 90.5)) == NO_ORDERS
    assert desk.state == before


def test_a_partial_report_leaves_the_rest_working():
    desk = Desk()
    desk.both(0, PAYS)
    assert desk.report(0.1, SPOT, 4, 100.0, remaining=6.0) == NO_ORDERS
    assert desk.report(0.1, PERP, -10, 101.0) == NO_ORDERS
    assert desk.state.phase == ENTERING and desk.state.legs[SPOT].working == 6.0
    desk.report(0.2, SPOT, 6, 101.0)
    assert desk.state.phase == OPEN
    assert desk.state.legs[SPOT].average == pytest.approx(100.6)  # (4 * 100 + 6 * 101) / 10


def test_at_the_deadline_what_still_works_is_cancelled_and_again_one_deadline_later():
    desk = Desk(leg_deadline_s=5)
    desk.both(0, PAYS)
    assert desk.state.wake_ns == seconds(5)
    desk.report(0.1, SPOT, 10, 100.0)
    assert desk.timer(4.999) == NO_ORDERS
    spot, perp = desk.timer(5)
    assert (spot.cancel, perp.cancel, spot.qty, perp.qty) == (False, True, 0.0, 0.0)
    assert desk.state.wake_ns == seconds(10)
    assert desk.both(9.9, PAYS) == NO_ORDERS
    assert [order.cancel for order in desk.timer(10)] == [False, True]


def test_a_fill_during_the_cancel_is_booked_and_hedged_lesson_4():
    desk = Desk(leg_deadline_s=5)
    desk.both(0, PAYS)
    desk.report(0.1, SPOT, 10, 100.0)
    desk.timer(5)
    desk.both(5.1, FAIR)
    orders = desk.report(5.2, PERP, -7, 101.0, remaining=0.0)
    assert desk.held == (10.0, -7.0)
    assert quantities(orders) == (-3.0, 0.0)  # 120 bps worse to complete, 50 to unwind


# --- Leaving ---------------------------------------------------------------------------------------------------------


def test_it_leaves_at_the_target_and_not_above():
    assert quantities(opened().both(10, (99.0, 99.5))) == (-10.0, 10.0)
    assert opened().both(10, (99.0, 99.501)) == NO_ORDERS


@pytest.mark.parametrize("sold_at", [90.0, 101.0, 130.0])
def test_the_exit_asks_what_leaving_costs_and_not_what_was_gained_mistake_2(sold_at):
    """Sold at 130 the pair is 30 % ahead and at 90 it is 10 % behind: both leave at a cost of 0 and not above."""
    desk = Desk()
    desk.both(0, PAYS)
    desk.report(0.1, SPOT, 10, 100.0)
    desk.report(0.1, PERP, -10, sold_at)
    assert desk.both(10, (99.0, 99.501)) == NO_ORDERS
    assert quantities(desk.both(11, (99.0, 99.5))) == (-10.0, 10.0)


def test_only_the_perpetual_leg_of_an_exit_is_reduce_only_and_both_are_bounded():
    sell, buy = opened(price_bound=0.02).both(10, GONE)
    assert (sell.reduce_only, buy.reduce_only) == (False, True)
    assert sell.limit == pytest.approx(99.5 * 0.98) and buy.limit == pytest.approx(99.5 * 1.02)


def test_a_target_on_a_stale_book_is_not_taken_lesson_28():
    """The perpetual has not moved for 1.1 s while spot fell: the cost looks good, nobody would pay it."""
    desk = opened(max_quote_age_s=1.0)
    desk.both(10, FAIR)
    assert desk.quote(11.1, spot=(101.0, 101.5)) == NO_ORDERS
    assert quantities(desk.quote(11.2, perp=GONE)) == (-10.0, 10.0)


def test_the_pair_is_closed_when_both_legs_are_back():
    desk = opened()
    desk.both(10, GONE)
    assert desk.report(10.1, SPOT, -10, 99.5) == NO_ORDERS
    assert desk.state.phase == EXITING
    assert desk.report(10.2, PERP, 10, 99.5) == NO_ORDERS
    state = desk.state
    assert (state.phase, state.reason, state.armed, state.wake_ns) == (FLAT, TARGET, True, NEVER)
    assert desk.held == (0.0, 0.0)


def test_it_leaves_when_the_longest_hold_is_over_and_not_a_nanosecond_before():
    desk = opened(max_hold_s=60)
    assert desk.state.wake_ns == seconds(60)
    assert desk.both(59.999999999, FAIR) == NO_ORDERS
    assert quantities(desk.timer(60)) == (-10.0, 10.0)
    assert desk.state.reason == TIMEOUT


def test_a_time_out_is_skipped_while_the_same_books_would_pass_entry():
    desk = opened(max_hold_s=60)
    assert desk.both(61, PAYS) == NO_ORDERS
    assert desk.both(62, PAYS) == NO_ORDERS
    assert quantities(desk.both(63, (100.99, 101.5))) == (-10.0, 10.0)


def test_a_time_out_is_not_skipped_when_entering_is_forbidden():
    desk = opened(max_hold_s=60)
    desk.rule = desk.rule._replace(may_enter=False)
    assert quantities(desk.both(61, PAYS)) == (-10.0, 10.0)


def test_a_time_out_on_stale_books_waits_for_fresh_ones_until_the_leg_deadline_and_then_acts():
    desk = opened(max_hold_s=60, leg_deadline_s=5)
    desk.both(50, FAIR)
    assert desk.timer(60) == NO_ORDERS
    assert desk.state.wake_ns == seconds(65)
    assert desk.timer(64.9) == NO_ORDERS
    assert quantities(desk.timer(65)) == (-10.0, 10.0)


def test_a_hedged_pair_stays_whole_while_a_venue_shows_no_book_however_late_it_is():
    desk = opened(max_hold_s=60, leg_deadline_s=5)
    desk.both(50, FAIR, (99.5, 100.0, 0.0, 0.0))  # spot withdraws its book
    for s in (60, 65, 70, 3600):
        assert desk.timer(s) == NO_ORDERS
        assert desk.quote(s, perp=FAIR) == NO_ORDERS
    assert quantities(desk.quote(3601, spot=(99.5, 100.0))) == (-10.0, 10.0)


def test_a_time_out_on_stale_books_acts_on_the_first_fresh_ones():
    desk = opened(max_hold_s=60, leg_deadline_s=5)
    desk.timer(60)
    assert desk.quote(61, spot=(99.5, 100.0)) == NO_ORDERS
    assert quantities(desk.quote(61.5, perp=FAIR)) == (-10.0, 10.0)


def test_after_a_time_out_it_enters_again_only_once_the_edge_was_below_entry_minus_rearm():
    desk = opened(max_hold_s=60, rearm=0.005)
    desk.both(60, FAIR)
    desk.report(60.1, SPOT, -10, 99.5)
    desk.report(60.1, PERP, 10, 100.3)
    assert (desk.state.phase, desk.state.armed) == (FLAT, False)
    assert desk.both(61, PAYS) == NO_ORDERS
    assert desk.both(62, (100.5, 101.0)) == NO_ORDERS  # an edge of 0.5 % exactly: not below
    assert desk.both(63, PAYS) == NO_ORDERS
    assert desk.both(64, (100.49, 101.0)) == NO_ORDERS and desk.state.armed
    assert quantities(desk.both(65, PAYS)) == (10.0, -10.0)


def test_a_stale_or_withdrawn_book_does_not_re_arm():
    desk = opened(max_hold_s=60)
    desk.both(60, FAIR)
    desk.report(60.1, SPOT, -10, 99.5)
    desk.report(60.1, PERP, 10, 100.3)
    desk.quote(70, spot=(110.0, 110.5))  # the perpetual is stale
    desk.both(71, PAYS, (110.0, 110.5, 0.0, 0.0))  # spot is withdrawn
    assert not desk.state.armed


def test_a_stop_leaves_at_once_on_fresh_books():
    desk = opened()
    desk.rule = desk.rule._replace(flatten=True)
    assert quantities(desk.both(10, PAYS)) == (-10.0, 10.0)
    assert desk.state.reason == GUARD


# --- Leaving thin books ----------------------------------------------------------------------------------------------


def test_an_exit_takes_the_slice_that_both_best_levels_show():
    desk = opened()
    orders = desk.quote(10, spot=(99.5, 100.0, 6.0, 100.0), perp=(99.0, 99.5, 100.0, 4.0))
    assert quantities(orders) == (-4.0, 4.0)
    desk.report(10.1, SPOT, -4, 99.5)
    desk.report(10.1, PERP, 4, 99.5)
    assert (desk.state.phase, desk.held) == (OPEN, (6.0, -6.0))
    assert quantities(desk.both(10.2, GONE)) == (-6.0, 6.0)


def test_no_slice_leaves_a_rest_that_could_not_be_sold():
    desk = opened(spot=leg_rule(min_qty=3.0))
    orders = desk.quote(10, spot=(99.5, 100.0, 8.0, 100.0), perp=GONE)
    assert quantities(orders) == (-10.0, 10.0)  # not 8, because 2 are below the minimum


def test_with_less_shown_than_one_tradable_slice_a_target_waits_and_a_time_out_sends_all():
    thin = (99.5, 100.0, 2.0, 100.0)
    desk = opened(spot=leg_rule(min_qty=3.0), max_hold_s=60)
    assert desk.both(10, GONE, thin) == NO_ORDERS
    assert quantities(desk.both(60, FAIR, thin)) == (-10.0, 10.0)


def test_a_time_out_waits_for_a_withdrawn_book_to_come_back():
    """Sent into it, the other leg would fill alone."""
    desk = opened(max_hold_s=60, leg_deadline_s=5)
    assert desk.both(60, FAIR, (99.5, 100.0, 0.0, 0.0)) == NO_ORDERS
    assert quantities(desk.both(61, FAIR)) == (-10.0, 10.0)


# --- Several clips ---------------------------------------------------------------------------------------------------


def test_while_the_edge_holds_clips_are_added_up_to_the_largest_position():
    desk = opened(max_position_usdt=2500.0, max_hold_s=60)
    assert quantities(desk.both(1, PAYS)) == (10.0, -10.0)
    assert (desk.state.phase, desk.state.pair, desk.state.opened_ns) == (ENTERING, 1, 0)
    desk.report(1.1, SPOT, 10, 100.0)
    desk.report(1.1, PERP, -10, 101.0)
    assert (desk.state.phase, desk.held, desk.state.wake_ns) == (OPEN, (20.0, -20.0), seconds(60))
    assert quantities(desk.both(2, PAYS)) == (5.0, -5.0)  # 500 USDT are left
    desk.report(2.1, SPOT, 5, 100.0)
    desk.report(2.1, PERP, -5, 101.0)
    assert desk.both(3, PAYS) == NO_ORDERS
    for s, left in ((4, 25), (5, 15), (6, 5)):  # and left clip by clip, so that one leg alone is one clip at most
        slice_ = min(left, 10.0)
        assert quantities(desk.both(s, GONE)) == (-slice_, slice_)
        desk.report(s + 0.1, SPOT, -slice_, 99.5)
        desk.report(s + 0.1, PERP, slice_, 100.0)
    assert (desk.state.phase, desk.state.reason) == (FLAT, TARGET)


def test_a_clip_is_added_only_at_the_entry_level_and_on_books_newer_than_the_last():
    assert opened(max_position_usdt=2500.0).both(1, (100.999, 101.5)) == NO_ORDERS
    desk = opened(max_position_usdt=2500.0)
    assert desk.quote(0.5, spot=(99.5, 100.0)) == NO_ORDERS  # the perpetual's book is the one of the first clip
    assert quantities(desk.quote(0.6, perp=PAYS)) == (10.0, -10.0)
    assert opened().both(1, PAYS) == NO_ORDERS  # one clip, unless more is allowed


def test_an_added_clip_that_no_venue_filled_leaves_the_pair_open():
    desk = opened(max_position_usdt=2500.0)
    desk.both(1, PAYS)
    desk.report(1.1, SPOT, 0)
    desk.report(1.1, PERP, 0)
    assert (desk.state.phase, desk.held) == (OPEN, (10.0, -10.0))


def test_a_clip_that_cannot_be_paid_for_is_not_added_and_counted_once():
    desk = opened(max_position_usdt=2500.0)
    desk.wallet = Wallet(10.0, 0.0, 5000.0)
    assert desk.both(1, PAYS) == NO_ORDERS and desk.both(2, PAYS) == NO_ORDERS
    assert desk.state.refused == 1
    assert quantities(desk.both(3, GONE)) == (-10.0, 10.0)


# --- Wallets ---------------------------------------------------------------------------------------------------------


def test_an_entry_that_a_wallet_cannot_pay_for_is_refused_and_counted_once():
    desk = Desk(price_bound=0.0)
    desk.wallet = Wallet(999.99, 0.0, 5000.0)
    assert desk.both(0, PAYS) == NO_ORDERS and desk.both(0.1, PAYS) == NO_ORDERS
    assert (desk.state.refused, desk.state.refusing) == (1, True)
    desk.both(0.2, FAIR)
    assert (desk.state.refused, desk.state.refusing) == (1, False)
    desk.both(0.3, PAYS)
    assert desk.state.refused == 2
    desk.wallet = Wallet(1000.0, 0.0, 1010.0)
    assert quantities(desk.both(0.4, PAYS)) == (10.0, -10.0)
    assert (desk.state.refused, desk.state.refusing) == (2, False)


def test_an_exit_asks_no_wallet():
    desk = opened()
    desk.wallet = Wallet(0.0, 0.0, 0.0)
    assert quantities(desk.both(10, GONE)) == (-10.0, 10.0)


# --- Unequal legs ----------------------------------------------------------------------------------------------------

# Spot bought at 100, its bid is 99.5, fees of 10 bps: unwinding costs 0.5 / 99.5 + 0.002 = 0.0070251. The perpetual was
# decided at 101, so completing costs as much at a bid of 101 / 1.0070251 = 100.2954.
MISSING_PERP = {"spot": leg_rule(fee=0.001), "perp": leg_rule(fee=0.003)}


@pytest.mark.parametrize(("bid", "orders"), [(100.30, (0.0, -10.0)), (100.29, (-10.0, 0.0))])
def test_a_missing_perpetual_is_completed_while_that_is_cheaper_than_unwinding_spot_lesson_8(bid, orders):
    desk = Desk(**MISSING_PERP)
    desk.both(0, PAYS)
    desk.both(0.05, (bid, bid + 0.5))
    desk.report(0.1, SPOT, 10, 100.0)
    sent = desk.report(0.1, PERP, 0)
    assert quantities(sent) == orders
    assert desk.state.phase == HEDGING


# The perpetual was sold at 101, its ask is 101.5, fees of 10 bps: 0.5 / 101.5 + 0.002 = 0.0069261. Spot was decided at
# 100, so completing costs as much at an ask of 100 / (1 - 0.0069261) = 100.6974.
MISSING_SPOT = {"spot": leg_rule(fee=0.003), "perp": leg_rule(fee=0.001)}


@pytest.mark.parametrize(("ask", "orders"), [(100.69, (10.0, 0.0)), (100.70, (0.0, 10.0))])
def test_a_missing_spot_leg_is_completed_while_that_is_cheaper_than_unwinding_the_perpetual(ask, orders):
    desk = Desk(**MISSING_SPOT)
    desk.both(0, PAYS)
    desk.quote(0.05, spot=(ask - 0.5, ask))
    desk.report(0.1, SPOT, 0)
    sent = desk.report(0.1, PERP, -10, 101.0)
    assert quantities(sent) == orders
    assert sent[PERP].reduce_only == (orders[PERP] > 0)


def test_at_equal_cost_it_unwinds():
    desk = Desk()
    desk.both(0, (125.0, 126.0))
    desk.both(0.05, (100.0, 101.0), (80.0, 100.0))  # completing: 25 / 100, unwinding: 20 / 80
    desk.report(0.1, SPOT, 10, 100.0)
    assert quantities(desk.report(0.1, PERP, 0)) == (-10.0, 0.0)


def test_only_the_difference_of_the_legs_is_mended():
    orders, desk = entered(10, 6)
    assert quantities(orders) == (0.0, -4.0)  # still 101 bid: completing costs nothing
    desk.report(0.2, PERP, -4, 101.0)
    assert (desk.state.phase, desk.held) == (OPEN, (10.0, -10.0))


def test_a_difference_within_the_tolerance_is_left_alone():
    assert quantities(entered(10, 9, leg_tolerance=0.1)[0]) == (0.0, 0.0)
    assert quantities(entered(10, 8.9, leg_tolerance=0.1)[0])[PERP] == pytest.approx(-1.1)


def test_a_difference_that_no_venue_takes_as_an_order_is_left_alone_lesson_5():
    minima = {"spot": leg_rule(min_qty=3.0), "perp": leg_rule(min_qty=3.0)}
    orders, desk = entered(10, 7.5, **minima)
    assert orders == NO_ORDERS and desk.state.phase == OPEN


def test_it_never_completes_with_a_stale_book():
    """The perpetual's book of 101 would be cheap, but it is 1.1 s old: spot is sold again."""
    desk = Desk(max_quote_age_s=1.0)
    desk.both(0, PAYS)
    desk.report(0.1, SPOT, 10, 100.0)
    desk.quote(1.1, spot=(99.5, 100.0))
    assert quantities(desk.report(1.1, PERP, 0)) == (-10.0, 0.0)


def test_with_both_books_stale_it_waits_for_the_deadline_and_then_unwinds_within_the_bound():
    desk = Desk(max_quote_age_s=1.0, leg_deadline_s=5, price_bound=0.02)
    desk.both(0, PAYS)
    desk.report(2, SPOT, 10, 100.0)
    assert desk.report(2, PERP, 0) == NO_ORDERS
    assert (desk.state.phase, desk.state.wake_ns) == (HEDGING, seconds(7))
    assert desk.timer(6.9) == NO_ORDERS
    spot, perp = desk.timer(7)
    assert (spot.qty, perp.qty) == (-10.0, 0.0)
    assert spot.limit == pytest.approx(99.5 * 0.98)


def test_past_the_deadline_it_unwinds_even_where_completing_is_cheap():
    orders, desk = entered(10, 0, leg_deadline_s=5)
    assert quantities(orders) == (0.0, -10.0)
    desk.both(5.2, PAYS)
    assert desk.report(5.2, PERP, 0) == NO_ORDERS  # refused: half a second, a tenth of the deadline, of patience
    assert quantities(desk.both(5.7, PAYS)) == (-10.0, 0.0)


def test_a_venue_that_refuses_every_hedge_is_asked_less_and_less_often():
    """Legs unequal from 0.1 s on. The answer at 0.3 s is followed by a pause as long as it has lasted, 0.2 s, those at 0.6,
    1.0 and 1.4 s by 0.3 s, a fiftieth of the deadline; quotes come every 10 ms."""
    orders, desk = entered(10, 0, leg_deadline_s=15)
    sent, answer_at = [0.1], 0.3
    assert orders != NO_ORDERS
    for tick in range(21, 200):
        now = tick / 100
        if answer_at is not None and now >= answer_at:
            leg = PERP if desk.state.legs[PERP].working else SPOT
            orders, answer_at = desk.report(now, leg, 0), None
        else:
            orders = desk.both(now, PAYS)
        if orders != NO_ORDERS:
            sent.append(now)
            answer_at = round(now + 0.1, 2)
    assert sent == pytest.approx([0.1, 0.5, 0.9, 1.3, 1.7], abs=0.005)


def test_an_entry_that_was_unwound_is_named_so_and_must_re_arm():
    _, desk = entered(10, 0)
    desk.both(0.15, FAIR)
    desk.report(0.2, PERP, 0)
    desk.report(0.3, SPOT, -10, 99.5)
    assert (desk.state.phase, desk.state.reason, desk.state.armed) == (FLAT, UNWOUND, False)


@pytest.fixture
def contracts_of_ten():
    """The perpetual trades in tens, spot in any quantity from one coin."""
    return {"clip_usdt": 3000.0, "step": 10.0, "spot": leg_rule(min_qty=1.0), "perp": leg_rule(step=10, min_qty=10)}


def test_less_than_one_contract_too_many_is_completed_whatever_it_costs(contracts_of_ten):
    desk = Desk(**contracts_of_ten)
    desk.both(0, PAYS)
    desk.report(0.1, SPOT, 25, 100.0)
    desk.both(0.15, PAYS, (149.5, 150.0))
    orders = desk.report(0.2, PERP, -30, 101.0)
    assert quantities(orders) == (5.0, 0.0)


def test_and_not_on_a_stale_book_either(contracts_of_ten):
    desk = Desk(**contracts_of_ten)
    desk.both(0, PAYS)
    desk.report(0.1, SPOT, 25, 100.0)
    desk.quote(1.2, perp=PAYS)
    assert desk.report(1.2, PERP, -30, 101.0) == NO_ORDERS
    assert desk.state.phase == HEDGING
    assert quantities(desk.quote(1.3, spot=(99.5, 100.0))) == (5.0, 0.0)


def test_whole_contracts_are_unwound_and_the_rest_is_completed(contracts_of_ten):
    desk = Desk(**contracts_of_ten)
    desk.both(0, PAYS)
    desk.report(0.1, SPOT, 15, 100.0)
    desk.both(0.15, PAYS, (149.5, 150.0))
    assert quantities(desk.report(0.2, PERP, -30, 101.0)) == (0.0, 10.0)
    assert quantities(desk.report(0.3, PERP, 10, 101.5)) == (5.0, 0.0)
    desk.report(0.4, SPOT, 5, 150.0)
    assert (desk.state.phase, desk.held) == (OPEN, (20.0, -20.0))


# --- The reverse pair ------------------------------------------------------------------------------------------------

CHEAP = (98.0, 98.5)  # a perpetual this cheap pays the reverse pair (99.5 - 98.5) / 99.5, some 100 bps
BACK = (100.0, 100.5)  # and this one lets it out at a cost of zero


def reversed_(**changes):
    """A desk that sold ten coins at 99.5 and bought the perpetual at 98.5, at second 0."""
    desk = Desk(**{"entry": 0.05, "reverse_entry": 0.01, "reverse_exit": 0.0, "clip_usdt": 995.0, **changes})
    sell, buy = desk.both(0, CHEAP)
    assert quantities((sell, buy)) == (-10.0, 10.0) and desk.state.side == REVERSE
    assert buy.reduce_only and not sell.reduce_only  # it unwinds the core short behind the inventory
    desk.report(0.1, SPOT, -10, 99.5)
    desk.report(0.1, PERP, 10, 98.5)
    assert (desk.state.phase, desk.held) == (OPEN, (-10.0, 10.0))
    return desk


def test_the_reverse_pair_enters_at_its_own_level_on_what_spot_bids_and_the_perpetual_asks():
    assert Desk(entry=0.05, reverse_entry=0.0101).both(0, CHEAP) == NO_ORDERS
    assert Desk(entry=0.05).both(0, (50.0, 50.5)) == NO_ORDERS  # it is off without a level
    thin = Desk(entry=0.05, reverse_entry=0.01, reverse_exit=0.0)
    assert quantities(thin.quote(0, (99.5, 100.0, 4.0, 100.0), (98.0, 98.5, 100.0, 3.0))) == (-3.0, 3.0)


def test_the_reverse_pair_leaves_at_its_own_level_and_buys_its_coins_back():
    desk = reversed_()
    assert desk.both(10, (99.999, 100.5)) == NO_ORDERS
    buy, sell = desk.both(11, BACK)
    assert quantities((buy, sell)) == (10.0, -10.0) and not (buy.reduce_only or sell.reduce_only)
    desk.report(11.1, SPOT, 10, 100.0)
    desk.report(11.1, PERP, -10, 100.0)
    assert (desk.state.phase, desk.state.reason, desk.state.reverse_armed) == (FLAT, TARGET, True)


def test_the_filter_shifts_the_reverse_edge_the_other_way():
    for shift, orders in ((-0.0002, (-10.0, 10.0)), (0.0002, (0.0, 0.0))):
        desk = Desk(entry=0.05, reverse_entry=0.0101, clip_usdt=995.0)
        desk.both(0, FAIR)
        happened = Event(QUOTE, 0, desk.spot, Book(*CHEAP, 100.0, 100.0, 0), 0, 0.0, 0.0, 0.0, shift, desk.wallet)
        assert quantities(decide(desk.state.copy(), happened, desk.rule)) == orders


def test_directions_re_arm_one_by_one():
    desk = reversed_(max_hold_s=60)
    desk.both(60, (98.6, 99.1))
    desk.report(60.1, SPOT, 10, 100.0)
    desk.report(60.1, PERP, -10, 98.6)
    assert (desk.state.phase, desk.state.reason, desk.state.armed, desk.state.reverse_armed) == (
        FLAT,
        TIMEOUT,
        True,
        False,
    )
    assert desk.both(61, CHEAP) == NO_ORDERS
    assert quantities(desk.both(62, (106.0, 106.5))) == (9.95, -9.95)  # the direct pair needs no re-arming


def test_a_missing_reverse_perpetual_is_completed_or_the_sold_coins_are_bought_back():
    for ask, orders in ((98.6, (0.0, 10.0)), (99.5, (10.0, 0.0))):  # 10 bps worse, or 101: unwinding costs 50
        desk = Desk(entry=0.05, reverse_entry=0.01, reverse_exit=0.0, clip_usdt=995.0)
        desk.both(0, CHEAP)
        desk.both(0.05, (ask - 0.5, ask))
        desk.report(0.1, SPOT, -10, 99.5)
        assert quantities(desk.report(0.1, PERP, 0)) == orders


def test_a_late_sale_of_spot_when_flat_is_bought_back():
    """With the legs of no pair known, what a fill opened is closed on its own leg."""
    _, desk = entered(0, 0)
    assert quantities(desk.report(0.2, SPOT, -4, 99.5)) == (4.0, 0.0)


# --- Unequal exits ---------------------------------------------------------------------------------------------------


def leaving(spot_sold, perp_bought, **changes):
    desk = opened(**changes)
    desk.both(10, GONE)
    desk.report(10.1, SPOT, -spot_sold, 99.5)
    return desk.report(10.1, PERP, perp_bought, 99.5), desk


def test_an_unequal_exit_is_reduced_and_never_re_opened():
    too_short, desk = leaving(10, 4)
    assert quantities(too_short) == (0.0, 6.0) and too_short[PERP].reduce_only
    assert desk.held == (0.0, -6.0)
    too_long, desk = leaving(4, 10)
    assert quantities(too_long) == (-6.0, 0.0)
    assert desk.held == (6.0, 0.0)


def test_an_unequal_exit_has_no_tolerance():
    assert quantities(leaving(10, 9.9, leg_tolerance=0.5)[0])[PERP] == pytest.approx(0.1)


def test_what_is_left_of_an_exit_after_mending_stays_open_with_its_time_out():
    orders, desk = leaving(6, 4)
    assert quantities(orders) == (0.0, 2.0)
    desk.report(10.2, PERP, 2, 99.5)
    assert (desk.state.phase, desk.held) == (OPEN, (4.0, -4.0))
    assert desk.state.wake_ns == seconds(60)


def test_the_exit_sells_what_was_received_after_a_fee_in_the_coin_lesson_18():
    """Ten coins were bought, 1 % of them kept by the venue: 9.9 are hedged by ten contracts, 9.9 are sold again."""
    orders, desk = entered(9.9, 10, leg_tolerance=0.02, perp=leg_rule(step=1.0), spot=leg_rule(step=0.1))
    assert orders == NO_ORDERS and desk.held == (9.9, -10.0)
    assert quantities(desk.both(10, GONE)) == pytest.approx((-9.9, 10.0))
    desk.report(10.1, SPOT, -9.9, 99.5)
    assert desk.report(10.1, PERP, 10, 99.5) == NO_ORDERS
    assert (desk.state.phase, desk.held) == (FLAT, (0.0, 0.0))


def test_an_exit_that_left_dust_only_is_closed():
    _, desk = leaving(9, 10, spot=leg_rule(min_qty=3.0))
    assert (desk.state.phase, desk.state.reason) == (FLAT, TARGET)


# --- Halted ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def halted():
    """Ten coins of spot that nobody took back for ten seconds, twice the deadline."""
    _, desk = entered(10, 0, leg_deadline_s=5)
    for s in range(1, 11):
        desk.both(s, FAIR)
        desk.report(s + 0.05, SPOT if desk.state.legs[SPOT].working else PERP, 0)
    assert desk.state.phase == HEDGING
    desk.both(10.1, FAIR)
    desk.report(10.1, SPOT, 0)
    return desk


def test_it_halts_past_twice_the_deadline_lesson_8(halted):
    assert (halted.state.phase, halted.state.reason, halted.held) == (HALTED, HALT, (10.0, 0.0))
    assert halted.state.wake_ns == NEVER


def test_halted_stays_halted_whatever_comes(halted):
    assert halted.both(20, PAYS) == NO_ORDERS
    assert halted.both(30, GONE) == NO_ORDERS
    assert halted.timer(100) == NO_ORDERS
    assert halted.report(101, SPOT, -10, 99.5) == NO_ORDERS
    assert (halted.state.phase, halted.held) == (HALTED, (0.0, 0.0))


# --- Fills that nobody waited for ------------------------------------------------------------------------------------


def test_a_late_spot_fill_when_flat_is_sold_and_opens_no_pair():
    _, desk = entered(0, 0)
    assert desk.state.phase == FLAT
    orders = desk.report(0.2, SPOT, 4, 100.0)
    assert quantities(orders) == (-4.0, 0.0)
    desk.report(0.3, SPOT, -4, 99.5)
    assert (desk.state.phase, desk.held, desk.state.armed) == (FLAT, (0.0, 0.0), False)


def test_a_late_perpetual_fill_when_flat_is_bought_back():
    _, desk = entered(0, 0)
    orders = desk.report(0.2, PERP, -4, 101.0)
    assert quantities(orders) == (0.0, 4.0) and orders[PERP].reduce_only


def test_a_late_fill_of_an_open_pair_is_reduced():
    orders, desk = opened(), None
    desk = orders
    desk.both(0.2, PAYS)
    assert quantities(desk.report(0.2, SPOT, 3, 100.0)) == (-3.0, 0.0)
    desk.report(0.3, SPOT, -3, 99.5)
    assert (desk.state.phase, desk.held) == (OPEN, (10.0, -10.0))


def test_after_a_fill_from_outside_the_other_leg_is_reduced_to_match_and_the_machine_halts():
    desk = opened()
    desk.both(10, (131.0, 131.5), (129.5, 130.0))
    assert quantities(desk.event(OUTSIDE, 10, PERP, 4, 130.0)) == (-4.0, 0.0)
    assert desk.report(10.1, SPOT, -4, 129.5) == NO_ORDERS
    assert (desk.state.phase, desk.state.reason, desk.held) == (HALTED, HALT, (6.0, -6.0))
    assert desk.both(11, GONE) == NO_ORDERS


def test_a_fill_from_outside_while_orders_are_out_is_reduced_when_they_are_back():
    desk = Desk()
    desk.both(0, PAYS)
    assert desk.event(OUTSIDE, 0.05, SPOT, 3, 100.0, desk.state.legs[SPOT].working) == NO_ORDERS
    desk.report(0.1, SPOT, 10, 100.0)
    assert quantities(desk.report(0.1, PERP, -10, 101.0)) == (-3.0, 0.0)
    desk.report(0.2, SPOT, -3, 99.5)
    assert (desk.state.phase, desk.held) == (HALTED, (10.0, -10.0))


def test_a_leg_reduced_from_outside_is_not_opened_again_lesson_9():
    """The perpetual was liquidated at 130; selling it again at 131 would look like a bargain."""
    desk = opened()
    desk.both(10, (131.0, 131.5), (129.5, 130.0))
    assert quantities(desk.report(10, PERP, 10, 130.0)) == (-10.0, 0.0)
    desk.report(10.1, SPOT, -10, 129.5)
    assert (desk.state.phase, desk.state.reason, desk.state.armed) == (FLAT, UNWOUND, False)


def test_a_late_fill_while_hedging_changes_what_is_hedged():
    desk = Desk(max_quote_age_s=1.0)
    desk.both(0, PAYS)
    desk.report(2, SPOT, 10, 100.0)
    assert desk.report(2, PERP, 0) == NO_ORDERS and desk.state.phase == HEDGING  # stale books, it waits
    assert desk.report(2.5, PERP, -10, 101.0) == NO_ORDERS
    assert (desk.state.phase, desk.held) == (OPEN, (10.0, -10.0))


@pytest.mark.parametrize("leg", [SPOT, PERP])
def test_a_report_of_nothing_changes_nothing_when_no_order_is_out(leg):
    desk = opened(max_hold_s=60)
    before = desk.state
    assert desk.report(1, leg, 0) == NO_ORDERS and desk.state == before
    desk.both(60, FAIR)
    desk.report(60.1, SPOT, -10, 99.5)
    desk.report(60.1, PERP, 10, 100.3)
    timed_out = desk.state
    assert not timed_out.armed
    assert desk.report(61, leg, 0) == NO_ORDERS and desk.state == timed_out


# --- Whatever happens ------------------------------------------------------------------------------------------------

STEPS = (
    ("spot", "perp", "report", "report", "report", "timer", "late"),
    (0, 0, 0, 0, 1, 1, 1, 2, 5, 30),  # tenths of a second later
    (SPOT, PERP),
    (0.0, 0.25, 0.5, 1.0, 1.0),  # part of the order filled
    (True, False),  # the order ends with this report
    (98.0, 99.0, 99.5, 100.0, 101.0, 102.0),  # bid
    (0.5, 0.5, 1.0, -1.0),  # spread
    (0.0, 2.0, 5.0, 100.0, 100.0),  # shown
)
walks = random_rows(STEPS, 0, 120)
any_rule = rules(entries=(-0.05, -0.05, -0.05, 0.0))


class Market:
    """Two venues that answer the machine's orders as a random walk tells; keeps what an honest venue would know."""

    def __init__(self, of, late_fills):
        self.desk, self.late_fills = Desk(of), late_fills
        self.working = [0.0, 0.0]
        self.unfilled = [0.0, 0.0]  # of orders that were reported as ended
        self.held = [0.0, 0.0]
        self.late = self.clip = 0.0

    def step(self, kind, tenths, leg, part, ends, bid, spread, shown):
        s = self.desk.now / SECOND + tenths / 10
        if kind in ("spot", "perp"):
            orders = self.desk.quote(s, **{kind: (bid, bid + spread, shown, shown)})
        elif kind == "timer":
            orders = self.desk.timer(s)
        elif kind == "late":
            qty, self.unfilled[leg] = self.unfilled[leg] * part, 0.0
            if not qty or not self.late_fills:
                return
            self.late += abs(qty)
            self.held[leg] += qty
            orders = self.desk.report(s, leg, qty, bid, remaining=self.working[leg])
        else:
            leg = leg if self.working[leg] else 1 - leg
            if not self.working[leg]:
                return
            qty = self.working[leg] * part
            rest = self.working[leg] - qty
            self.working[leg] = 0.0 if ends else rest
            self.unfilled[leg] += rest if ends else 0.0
            self.held[leg] += qty
            orders = self.desk.report(s, leg, qty, bid, remaining=self.working[leg])
        self.take(orders)

    def take(self, orders):
        state = self.desk.state
        if state.phase == FLAT:  # the pair is closed: what no venue takes as an order is written off
            of = self.desk.rule
            for leg, book, of_leg in ((SPOT, self.desk.spot, of.spot), (PERP, self.desk.perp, of.perp)):
                whole = abs(self.held[leg]) // of_leg.step * of_leg.step if of_leg.step else abs(self.held[leg])
                assert whole < max(of_leg.min_qty, 1e-9) or whole * book.bid < of_leg.min_notional_usdt
                self.held[leg] = 0.0
        for leg, order in enumerate(orders):
            if order.qty:
                assert not self.working[leg], "an order while one works"
                self.working[leg] = order.qty
        if state.phase == ENTERING and any(order.qty for order in orders):
            self.clip = max(self.clip, abs(orders[SPOT].qty))


@given(any_rule, walks, st.booleans())
def test_no_sequence_of_events_leaves_more_than_one_clip_unhedged_lesson_3(of, walk, late_fills):
    """Plus what late fills added, and what no venue took as an order when a clip was added to the one before; and the
    machine always knows what it holds."""
    market = Market(of, late_fills)
    grain = max(of.spot.step, of.perp.step, of.spot.min_qty, of.perp.min_qty, of.spot.min_notional_usdt / 98.0)
    grain *= of.max_position_usdt > of.clip_usdt
    largest = 0.0
    for step in walk:
        market.step(*step)
        assert market.desk.held == pytest.approx(tuple(market.held), abs=1e-9)
        tolerated = of.leg_tolerance * market.desk.state.pair_qty  # of the clips before
        if market.desk.state.legs[SPOT].average:  # an exit goes clip by clip too, of their mean price
            largest = max(largest, of.clip_usdt / market.desk.state.legs[SPOT].average)
        clip = max(market.clip, largest) if of.max_position_usdt > of.clip_usdt else market.clip
        assert abs(sum(market.held)) <= clip + market.late + tolerated + grain + 1e-6
    event(f"late fills {market.late > 0}, pairs {min(market.desk.state.pair, 3)}")


@given(any_rule, walks)
def test_an_order_that_reduces_is_never_larger_than_the_position(of, walk):
    market = Market(of, late_fills=False)
    for step in walk:
        held = [*market.held]
        before = market.desk.state
        market.step(*step)
        state = market.desk.state
        for leg, sign in ((SPOT, -state.side), (PERP, state.side)):
            grew_out, was = state.legs[leg], before.legs[leg]
            if grew_out.working and not was.working and grew_out.working * sign > 0:  # a new order that reduces
                now_held = -sign * (grew_out.position)
                assert abs(grew_out.working) <= now_held + 1e-9
                assert -sign * held[leg] >= -1e-9


@given(any_rule, walks, st.booleans())
def test_every_order_keeps_the_venues_rules(of, walk, late_fills):
    market = Market(of, late_fills)
    sent = []
    market.take = lambda orders, take=market.take: (sent.append((market.desk.state.phase, orders)), take(orders))
    for step in walk:
        market.step(*step)
    for phase, orders in sent:
        for leg, order, of_leg in ((SPOT, orders[0], of.spot), (PERP, orders[1], of.perp)):
            if not order.qty:
                continue
            assert order.reduce_only == (leg == PERP and order.qty > 0)
            assert abs(order.qty) >= of_leg.min_qty
            if of_leg.step:
                assert abs(order.qty) / of_leg.step == pytest.approx(round(abs(order.qty) / of_leg.step), abs=1e-6)
            assert phase in (ENTERING, EXITING, HEDGING)


@given(any_rule, walks, st.booleans())
def test_a_phase_with_orders_out_or_a_naked_leg_always_asks_for_a_timer_lesson_2(of, walk, late_fills):
    market = Market(of, late_fills)
    for step in walk:
        market.step(*step)
        state = market.desk.state
        if any(market.working) or state.phase in (ENTERING, EXITING, HEDGING):
            assert state.wake_ns < NEVER
            assert state.wake_ns <= market.desk.now + 2 * of.leg_deadline_ns
        if state.phase == FLAT:
            assert state.wake_ns == NEVER


@given(any_rule, walks)
def test_forbidden_entries_never_happen_and_a_halt_never_ends(of, walk):
    market = Market(of, late_fills=True)
    for step in walk:
        before = market.desk.state
        market.step(*step)
        state = market.desk.state
        if before.phase == HALTED:
            assert state.phase == HALTED
        if state.pair > before.pair:
            armed = before.armed if state.side == DIRECT else before.reverse_armed
            assert of.may_enter and not of.flatten and armed and before.phase == FLAT


@given(any_rule, walks)
def test_the_same_inputs_give_the_same_outputs_and_only_the_state_is_written_to(of, walk):
    market = Market(of, late_fills=True)
    desk = market.desk
    for step in walk:
        market.step(*step)
        happened = Event(QUOTE, desk.now, desk.spot, desk.perp, 0, 0.0, 0.0, 0.0)
        one, other, kept = (
            desk.state.copy(),
            copy.deepcopy(desk.state),
            copy.deepcopy((desk.state, happened, desk.rule)),
        )
        assert decide(one, happened, desk.rule) == decide(other, happened, desk.rule)
        assert one == other  # and only the state that was handed over has changed
        assert (desk.state, happened, desk.rule) == kept


def test_the_reason_of_an_open_pair_is_none_yet():
    assert opened().state.reason == NO_REASON
