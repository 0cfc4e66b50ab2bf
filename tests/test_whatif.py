"""What the report asks beyond its headline: one assumption moved, regimes, blocks dealt anew, sizes, sums twice."""

import base64
import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import pair_fills, payments, perp, seconds, spot
from studies import study

from delta_arb.backtest import performance
from delta_arb.backtest.performance import Equity
from delta_arb.backtest.replay import Backtest
from delta_arb.errors import SeriesError
from delta_arb.latency import Delay, Latency
from delta_arb.market import PERP, SPOT, TARGET, Fill, FundingPayment
from delta_arb.optimize.study import Market, Thresholds
from delta_arb.params import Rule
from delta_arb.quotes.tape import Tape
from delta_arb.report import money_tables, plots, robustness, what_if
from delta_arb.report.figures import Chart
from delta_arb.report.what_if import Case
from delta_arb.strategy.ledger import settle
from delta_arb.strategy.rule import make_rule
from delta_arb.venue_terms import VenueTerms

WORLDS = ["sample", "random_walk", "no_edge", "frozen_leg"]
RULES = Rule(entry_bps=None, exit_bps=None, max_hold_s=600.0, clip_usdt=250.0, max_quote_age_s=1.0)
LEVELS = Thresholds(90.0, 10.0, 600.0)
HOUR, DAY = 3600.0, 86_400.0
REPORT = Path(__file__).resolve().parents[1] / "notebooks" / "03_backtest_report.ipynb"


def fees(bps: float) -> Market:
    venues = (VenueTerms(venue="mexc", taker_fee_bps=bps), VenueTerms(venue="gate", taker_fee_bps=bps))
    return Market(*venues, Latency(0.1, 0.1), (), RULES)


def round_trip() -> Tape:
    """Bought at 100 and sold at 101, then closed at 99.5 on both legs: 1 USDT per unit. 4 units are shown."""
    rows = [spot(0.0, 99.5, 100.0, 4.0, 4.0), perp(0.0, 101.0, 101.5, 4.0, 4.0), spot(0.5, 99.5, 100.0, 4.0, 4.0)]
    rows += [perp(1.0, 99.0, 99.5, 4.0, 4.0), spot(1.0, 99.5, 100.0, 4.0, 4.0), perp(1.5, 99.0, 99.5, 4.0, 4.0)]
    return Tape.of(sorted(rows))


# --- one assumption moved --------------------------------------------------------------------------------------------


def net_of(found: what_if.Tornado, name: str, step: float, days: float) -> float:
    bar = next(bar for bar in found.bars if bar.name == name)
    return bar.outcomes[found.steps.index(step)].net_usdt_day * days


def test_a_dearer_fee_costs_a_fifth_more_of_what_it_cost():
    tape = round_trip()
    days = (tape.end_ns - tape.start_ns) / seconds(DAY)
    found = what_if.one_by_one(Case(tape, fees(10.0), LEVELS))
    spot_fees, perp_fees = 2.5 * 199.5 * 0.001, 2.5 * 200.5 * 0.001
    assert found.base.net_usdt_day * days == pytest.approx(2.5 - spot_fees - perp_fees)
    assert net_of(found, "taker fee, spot", 0.20, days) == pytest.approx(2.5 - 1.2 * spot_fees - perp_fees)
    assert net_of(found, "taker fee, perpetual", -0.10, days) == pytest.approx(2.5 - spot_fees - 0.9 * perp_fees)


def test_a_wider_book_is_bought_higher_and_sold_lower():
    tape = round_trip()
    days = (tape.end_ns - tape.start_ns) / seconds(DAY)
    found = what_if.one_by_one(Case(tape, fees(0.0), LEVELS))  # spot 99.45 to 100.05 where it was 99.5 to 100
    assert net_of(found, "own spread of the book, spot", 0.20, days) == pytest.approx(250 / 100.05 * (1.5 - 0.6))
    assert net_of(found, "clip", 0.20, days) == pytest.approx(3.0)  # 300 USDT buy 3 units


def test_what_is_zero_or_missing_is_not_moved():
    found = what_if.one_by_one(Case(round_trip(), fees(0.0), LEVELS))
    bars = {bar.name: bar for bar in found.bars}
    assert bars["taker fee, spot"].outcomes == (None,) * 6 and bars["taker fee, spot"].face == "0 bps"
    assert bars["funding rates"].face == "n/a"
    row = next(row for row in what_if.net_table(found).rows if row[0] == "funding rates")
    assert row[2:] == ("n/a",) * 8


def test_a_step_that_would_put_the_exit_above_the_entry_has_no_number():
    found = what_if.one_by_one(Case(round_trip(), fees(0.0), LEVELS._replace(exit_bps=80.0)))
    moved = next(bar for bar in found.bars if bar.name == "exit threshold")
    assert moved.outcomes[-1] is None and moved.outcomes[-2] is not None  # 96 and 88 against 90


def test_a_step_beyond_what_a_rule_may_hold_is_not_computed():
    """Carry holds up to 365 days, a file at most 366: 5 % more is 383."""
    found = what_if.one_by_one(Case(round_trip(), fees(0.0), LEVELS._replace(max_hold_s=365 * DAY)))
    held = next(bar for bar in found.bars if bar.name == "longest hold")
    assert [outcome is None for outcome in held.outcomes] == [step > 0 for step in found.steps]


def test_a_moved_hold_that_runs_into_a_missing_funding_stamp_says_so_and_leaves_the_other_rows():
    """Entered at 0, left after 10 s; stamps of every second end at 11, so that of 12 is expected and not there."""
    rows = [spot(0.0, 99.5, 100.0), perp(0.0, 101.0, 101.5)]
    rows += [
        quote(0.5 * k, *book) for k in range(1, 31) for quote, book in ((spot, (99.5, 100.0)), (perp, (100.0, 100.5)))
    ]
    paid = tuple(FundingPayment(seconds(k), 1e-4, 100.0, True) for k in range(-5, 12))
    case = dataclasses.replace(fees(10.0), payments=paid)
    found = what_if.one_by_one(Case(Tape.of(rows), case, Thresholds(90.0, -500.0, 10.0)))
    held = next(bar for bar in found.bars if bar.name == "longest hold")
    assert [outcome is None for outcome in held.outcomes] == [False] * 5 + [True]  # 11.0 s are settled, 12 are not
    assert "Longest hold: the funding table covers" in what_if.net_table(found)._repr_html_()
    assert not any(bar.unsettled for bar in found.bars if bar is not held)


def test_a_slower_way_is_slower_at_every_order_and_its_deadline_is_later():
    ways = Delay(0.1, 0.4, 7), Delay(0.2, recorded=((0, 5), (100, 300)))
    market = dataclasses.replace(fees(0.0), latency=Latency(0.1, 0.2, *ways))
    slow = market.slower(2.0, 1.5)
    drawn, doubled = (m.latency.between(SPOT, 0, seconds(10)).latency_ns for m in (market, slow))
    assert doubled / drawn == pytest.approx(2.0, rel=1e-6) and drawn.std() > 0
    assert slow.latency.perp.recorded == ((0, 5), (150, 450)) and slow.latency.perp_s == pytest.approx(0.3)
    assert market.slower(30.0, 1.0).settings.leg_deadline_s == pytest.approx(2 * (36.0 + 1.0))  # 3 x 12 s


# --- regimes ---------------------------------------------------------------------------------------------------------


def minutes(steps) -> Tape:
    """Two quotes a minute; the perpetual's mid goes these steps (in bps of 100) up or down."""
    level = 101.0 + 0.01 * np.concatenate(([0.0], np.cumsum(steps)))
    rows = [
        row
        for k, mid in enumerate(level)
        for row in (spot(60.0 * k, 99.5, 100.5), perp(60.0 * k, mid - 0.5, mid + 0.5))
    ]
    return Tape.of(rows)


def test_steps_in_one_direction_are_a_trend_and_steps_to_and_fro_are_none():
    up = robustness.signs(minutes([1.0] * 70), 1.0)
    assert np.isnan(up.trend[:60]).all() and up.trend[60:] == pytest.approx(1.0)
    assert up.volatility[60:] == pytest.approx(0.0, abs=1e-9)
    to_and_fro = robustness.signs(minutes([1.0, -1.0] * 35), 1.0)
    assert to_and_fro.trend[60:] == pytest.approx(0.0, abs=1e-9) and to_and_fro.volatility[60:] == pytest.approx(1.0)


def test_a_regime_is_told_from_the_past_alone():
    steps = np.random.default_rng(3).normal(size=200)
    changed = np.concatenate((steps[:100], 50.0 * steps[100:]))
    before, after = (robustness.signs(minutes(s), 1.0) for s in (steps, changed))
    assert np.array_equal(before.volatility[:101], after.volatility[:101], equal_nan=True)
    assert before.volatility[110] != after.volatility[110]
    assert robustness.cuts(before, seconds(60 * 100)) == robustness.cuts(after, seconds(60 * 100))


def test_every_kind_of_regime_adds_up_to_the_whole():
    sheet = study("sample").sheet
    found = robustness.regimes(sheet)
    for kind in {r.kind for r in found}:
        alike = [r for r in found if r.kind == kind]
        assert sum(len(r.trades) for r in alike) == len(sheet.trades)
        assert sum(r.net_usdt for r in alike) == pytest.approx(sheet.result.net_usdt)
        assert sum(r.time_share for r in alike) == pytest.approx(1.0)


def test_without_an_hour_before_the_judged_part_no_line_is_drawn():
    with pytest.raises(SeriesError, match="record longer"):
        robustness.cuts(robustness.signs(minutes([1.0] * 70), 1.0), seconds(60 * 30))


# --- blocks dealt anew -----------------------------------------------------------------------------------------------


def curve(at_s, net) -> Equity:
    zeros = np.zeros(len(net))
    return Equity(np.array([seconds(s) for s in at_s]), np.array(net, float), zeros, zeros, zeros, zeros)


def test_blocks_are_days_where_there_are_ten_else_longer_than_the_longest_hold():
    assert robustness.block_s(12 * DAY, 6 * HOUR) == DAY
    assert robustness.block_s(40 * DAY, 2 * DAY) == 3 * DAY
    assert robustness.block_s(3 * DAY, 6 * HOUR) == 6.25 * HOUR
    with pytest.raises(SeriesError, match=r"24 h hold 3 stretches of 6\.25 h"):
        robustness.block_s(DAY, 6 * HOUR)


def test_a_block_knows_its_change_its_extremes_and_its_fall():
    found = robustness.blocks(curve([1, 2, 3, 4, 5, 6], [0.0, 3.0, 1.0, 2.0, -2.0, 4.0]), 3.0)
    # the last block holds 4 < t <= 6 plus the event at 4: changes 1, -3, 3 against the 1.0 before it
    assert found.net.tolist() == [3.0] and found.high.tolist() == [3.0]
    assert found.low.tolist() == [-3.0] and found.fall.tolist() == [4.0]
    falling = robustness.blocks(curve([1, 2, 3, 4, 5, 6], [0.0, 3.0, 1.0, -2.0, 0.0, 0.5]), 3.0)
    assert (falling.high.tolist(), falling.low.tolist(), falling.fall.tolist()) == ([0.0], [-3.0], [3.0])


class InTurn:
    """Deals the blocks in the order in which they were."""

    def __init__(self):
        self.block = -1

    def integers(self, _count, size):
        self.block += 1
        return np.full(size, self.block)


def test_blocks_in_their_own_order_are_the_record_with_its_net_and_its_drawdown():
    rng = np.random.default_rng(5)
    net = np.cumsum(rng.normal(size=2400)) - 7.0
    found = robustness.blocks(curve(np.arange(1, 2401), net), 200.0)
    assert len(found) == 11  # 2399 s hold no twelfth one; the first 200 events are left over
    kept = net[200:] - net[199]
    path = robustness.deal(found, 100.0, InTurn(), paths=3)
    fall = (np.maximum.accumulate(np.append(0.0, kept)) - np.append(0.0, kept)).max()
    assert path.net == pytest.approx(kept[-1]) and path.fall == pytest.approx(fall)


def test_the_share_of_losing_paths_is_that_of_a_fair_coin():
    won = np.array([1.0, -1.0] * 5 + [0.0])
    found = robustness.Blocks(DAY, won, np.maximum(won, 0.0), np.minimum(won, 0.0), np.maximum(-won, 0.0))
    paths = robustness.deal(found, 100.0, np.random.default_rng(7))
    tied = float(np.mean(paths.net == 0.0))
    assert paths.loss_share == pytest.approx(0.5 + tied / 2, abs=0.02)


def test_three_days_are_dealt_in_blocks_longer_than_the_longest_hold():
    """72 hours hold 11 blocks of 6.25: together 68.75 hours. Each of them earns what it lasts, so each path does."""
    at_s = np.arange(0.0, 3 * DAY + 1.0, 900.0)
    sheet = SimpleNamespace(
        empty_because="", tape=SimpleNamespace(start_ns=0, end_ns=seconds(3 * DAY)), curve=curve(at_s, at_s / HOUR),
        thresholds=SimpleNamespace(max_hold_s=6 * HOUR), judged=SimpleNamespace(capital_usdt=100.0),
    )  # fmt: skip
    found = robustness.resampled(sheet)
    assert (found.blocks.block_s, len(found.blocks), found.capital_usdt) == (6.25 * HOUR, 11, 100.0)
    assert found.net == pytest.approx(68.75) and found.days == pytest.approx(68.75 / 24) and (found.fall == 0.0).all()
    assert "(0 of them lost)" in robustness.resampled_table(found).note


def test_a_day_is_no_distribution_and_says_so():
    s = study("random_walk")  # 24 hours, longest hold six
    assert "10 are needed" in repr(robustness.resampled_table(robustness.resampled(s.sheet)))
    three = robustness.Blocks(DAY, *np.zeros((4, 3)))
    with pytest.raises(SeriesError, match="3 blocks"):
        robustness.deal(three, 1.0, np.random.default_rng(1))


# --- capacity --------------------------------------------------------------------------------------------------------


def test_a_clip_fills_no_more_than_is_shown():
    tape = round_trip()
    days = (tape.end_ns - tape.start_ns) / seconds(DAY)
    small, all_shown, too_large = what_if.capacity(Case(tape, fees(0.0), LEVELS), (1.0, 1.6, 4.0)).outcomes["whole"]
    assert (small.filled_usdt, small.net_usdt_day * days) == pytest.approx((250.0, 2.5))
    assert (all_shown.filled_usdt, all_shown.filled_share) == pytest.approx((400.0, 1.0))
    assert (too_large.filled_usdt, too_large.filled_share, too_large.net_usdt_day * days) == pytest.approx(
        (400.0, 0.4, 4.0)
    )
    assert too_large.return_day * days == pytest.approx(4.0 / 2000.0)


def test_a_larger_clip_has_room_for_as_many_of_them():
    market = dataclasses.replace(fees(0.0), settings=RULES.model_copy(update={"max_position_usdt": 750.0}))
    assert market.with_clip(1000.0).settings.max_position_usdt == 3000.0
    assert fees(0.0).with_clip(1000.0).settings.max_position_usdt is None


def test_the_words_name_the_best_size_and_where_the_books_end():
    said = repr(what_if.capacity_findings(what_if.capacity(Case(round_trip(), fees(0.0), LEVELS), (1.0, 4.0))))
    assert "highest at a clip of 1000 USDT" in said and "From 1000 USDT on less than half" in said


# --- sums twice ------------------------------------------------------------------------------------------------------


def result(fills, stamps) -> Backtest:
    trades = tuple(
        settle([f for f in fills if f.pair == pair], TARGET, stamps, 100.0, 101.0)
        for pair in dict.fromkeys(f.pair for f in fills)
    )
    rule = make_rule(RULES, VenueTerms(venue="mexc", taker_fee_bps=10.0), VenueTerms(venue="gate", taker_fee_bps=20.0))
    return Backtest(trades, (), tuple(fills), (), tuple(stamps), 0, False, False, 0, seconds(1e6), rule)


def hand_made() -> Backtest:
    """A short of 10 from 10 s to 40 s, of which 2 stay as a residual; fees of 0.1 % (spot) and 0.2 %."""
    fills = [
        Fill(1, seconds(10), SPOT, 10.0, 100.0, 1.0),
        Fill(1, seconds(10), PERP, -10.0, 101.0, 2.02),
        Fill(1, seconds(40), SPOT, -10.0, 100.0, 1.0),
        Fill(1, seconds(40), PERP, 8.0, 100.0, 1.6),
    ]
    stamps = [FundingPayment(seconds(s), 0.001, 100.0, s != 20) for s in (10, 20, 40, 50)]
    return result(fills, stamps)


MARKET = Market(
    VenueTerms(venue="mexc", taker_fee_bps=10.0),
    VenueTerms(venue="gate", taker_fee_bps=20.0),
    Latency(0.1, 0.1),
    (),
    RULES,
)


def test_a_stamp_pays_the_short_held_before_it_and_a_residual_is_held_by_nobody():
    found = money_tables.recount(hand_made(), MARKET)
    assert [(s.payment.ts_ns // seconds(1), -s.position, s.usdt) for s in found.stamps] == [
        (20, 10.0, 1.0),
        (40, 10.0, 1.0),
    ]
    assert found.flat == 2 and found.funding_usdt == found.booked_funding_usdt == 2.0
    table = money_tables.funding_table(found)
    assert table.rows[0][2] == "100 (mid)" and table.rows[1][2] == "100" and table.rows[-1][-1] == "2.0000"
    assert table.note.startswith("Checked")


def test_what_a_venue_charged_is_its_notional_times_its_rate():
    found = money_tables.recount(hand_made(), MARKET)
    assert [(v.name, v.fills, v.notional_usdt) for v in found.venues] == [
        ("mexc, spot", 2, 2000.0),
        ("gate, perp", 2, 1810.0),
    ]
    assert found.fees_agree and found.expected_fees_usdt == pytest.approx(2.0 + 3.62)
    dearer = dataclasses.replace(
        MARKET, perp=VenueTerms(venue="gate", taker_fee_bps=25.0)
    )  # the venue's list says 25 bps, 20 were charged
    assert money_tables.fee_table(money_tables.recount(hand_made(), dearer)).note.startswith("DOES NOT AGREE")


def test_a_fee_taken_in_the_coin_is_one_of_what_was_ordered_and_not_of_what_was_delivered():
    """A thousand ordered at 100, a tenth of a percent kept by the venue: 999 delivered, worth 100 USDT less."""
    fills = [Fill(1, seconds(10), SPOT, 999.0, 100.0, 100.0), Fill(1, seconds(40), SPOT, -999.0, 100.0, 99.9)]
    in_coins = dataclasses.replace(MARKET, spot=VenueTerms(venue="mexc", taker_fee_bps=10.0, fee_currency="base"))
    found = money_tables.recount(result(fills, []), in_coins)
    assert found.venues[0].notional_usdt == pytest.approx(100_000 + 99_900)
    assert found.fees_agree and found.expected_fees_usdt == pytest.approx(199.9)


@settings(max_examples=60, deadline=None)
@given(st.lists(pair_fills(), min_size=1, max_size=3), payments())
def test_both_ways_of_adding_up_funding_agree_for_any_fills(pairs, stamps):
    fills, last = [], 0
    for k, pair in enumerate(pairs):
        fills += [f._replace(pair=k, ts_ns=f.ts_ns + last) for f in pair]
        last = fills[-1].ts_ns + 1
    found = money_tables.recount(result(fills, stamps), MARKET)
    scale = sum(abs(p.rate * p.mark) for p in stamps) * sum(abs(f.qty) for f in fills)
    assert found.funding_usdt == pytest.approx(found.booked_funding_usdt, rel=1e-9, abs=1e-8 * scale + 1e-12)


# --- all of it, in any world -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("regime", WORLDS)
def test_tables_words_and_figures_hold_for_any_world(regime):
    s = study(regime)
    moved = what_if.one_by_one(s.sheet)
    sizes = what_if.capacity(s.sheet, (0.5, 1.0, 10.0))
    dealt, again = robustness.resampled(s.sheet), money_tables.recount(s.sheet.result, s.market)
    shown = [
        what_if.net_table(moved),
        what_if.tornado_findings(moved),
        robustness.regimes_table(robustness.regimes(s.sheet)),
    ]
    shown += [robustness.resampled_table(dealt), what_if.capacity_table(sizes), what_if.capacity_findings(sizes)]
    shown += [money_tables.funding_table(again), money_tables.fee_table(again)]
    for face in shown:
        assert "nan" not in repr(face) and face._repr_html_()
    for figure in (plots.tornado(moved, s.inputs), plots.montecarlo(dealt, s.inputs), plots.capacity(sizes, s.inputs)):
        assert "SYNTHETIC" in repr(figure)
        if isinstance(figure, Chart):
            assert figure.figure.layout.xaxis.title.text and len(json.dumps(figure.spec, allow_nan=False)) < 10_000


def test_the_charts_of_what_could_have_been_draw_it():
    s = study("sample")
    moved, dealt = what_if.one_by_one(s.sheet), robustness.resampled(s.sheet)
    sizes = what_if.capacity(s.sheet, (0.5, 1.0, 10.0))
    less = plots.tornado(moved, s.inputs).data[0]
    ends = [bar.outcomes[0] for bar in moved.bars]
    assert less["base"] == moved.base.net_usdt_day
    assert less["x"] == pytest.approx(
        [0.0 if end is None else end.net_usdt_day - less["base"] for end in ends], abs=1e-6
    )
    for histogram in plots.montecarlo(dealt, s.inputs).data:
        assert np.frombuffer(base64.b64decode(histogram["y"]["bdata"]), "<f4").sum() == pytest.approx(100.0, abs=1e-3)
    net, day = (line["y"] for line in plots.capacity(sizes, s.inputs).data)
    assert net == pytest.approx([o.net_usdt_day for o in sizes.outcomes["whole"]], abs=1e-6)
    assert day == pytest.approx([100 * o.return_day for o in sizes.outcomes["whole"]], abs=1e-6)


def test_the_report_shows_dealt_days_moved_assumptions_and_regimes_lesson_38():
    """Moved by 5, 10 and 20 % either way; the outputs of the report's notebook are compared with a run of it elsewhere."""
    assert what_if.STEPS == (-0.20, -0.10, -0.05, 0.05, 0.10, 0.20)
    cells = json.loads(REPORT.read_text("utf-8"))["cells"]
    shown = "".join(
        line
        for cell in cells
        for output in cell.get("outputs", [])
        for line in output.get("data", {}).get("text/plain", [])
    )
    titles = ("Net and drawdown of blocks dealt anew", "Net USDT a day, one assumption moved", "Results by regime at")
    assert all(title in shown for title in titles)


def test_the_base_of_the_tornado_is_the_replay_of_the_report():
    s = study("sample")
    found = what_if.one_by_one(s.sheet)
    assert found.base.net_usdt_day == pytest.approx(s.sheet.result.net_usdt / s.sheet.result.days)
    assert performance.measure(s.tape, s.sheet.result).trades_day == pytest.approx(found.base.trades_day)
