"""The first ten seconds of a report: figures by hand, against cash, accidents, and a refusal's three questions."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from strategies import perp, seconds, spot
from studies import CONSTRAINTS, study

from delta_arb.errors import ParamsError
from delta_arb.latency import Latency
from delta_arb.market import NS
from delta_arb.optimize import carry_walk_forward, gates
from delta_arb.optimize.by_hand import by_hand
from delta_arb.optimize.carry_search import BreakEven
from delta_arb.optimize.parameters import cash_percent
from delta_arb.optimize.study import Market, Thresholds
from delta_arb.params import Rule
from delta_arb.quotes.tape import Tape
from delta_arb.report import bottom_line, tearsheet
from delta_arb.venue_terms import VenueTerms

DAY_NS = 86_400 * NS
SETTINGS = Rule(entry_bps=None, exit_bps=None, max_hold_s=600.0, clip_usdt=100.0)
MARKET = Market(
    VenueTerms(venue="a", taker_fee_bps=5.0, latency_s=0.1), VenueTerms(venue="b", taker_fee_bps=5.0, latency_s=0.1),
    Latency(0.1, 0.1), (), SETTINGS,
)  # fmt: skip


def found(regime: str) -> bottom_line.BottomLine:
    s = study(regime)
    carried = carry_walk_forward.asked(s.tape, s.market, "reversion")
    return bottom_line.bottom_line(s.sheet.candidate, s.verdict, carried, s.tape)


def test_it_rests_on_the_walk_forward_and_says_its_figures():
    line, walk = found("sample"), study("sample").verdict.judgement.walk
    assert line.rests_on == f"the walk-forward, {len(walk.folds)} folds" and line.trades == len(walk.result.trades)
    assert line.net_usdt_day == pytest.approx(walk.result.net_usdt / walk.result.days)
    assert (line.low_usdt_day, line.high_usdt_day) == (walk.net_usdt_day.low, walk.net_usdt_day.high)
    assert line.percent == pytest.approx(100 * 365 * line.net_usdt_day / 100.0)  # a clip of 50 and as much margin
    assert line.above_cash_percent == pytest.approx(line.percent - 4.0)
    assert len(line.course) == bottom_line.COURSE and line.course[-1] == pytest.approx(walk.result.net_usdt, abs=1e-3)
    assert line.refusal is None and line.without_best_day_usdt_day < line.net_usdt_day


def test_a_loss_that_the_interval_does_not_exclude_stands_beside_the_net():
    line = found("sample")
    rows = {low: replace(line, low_usdt_day=low, high_usdt_day=2.0).table().rows for low in (0.1, 0.0, -0.31)}
    beside = {low: next(row[2] for row in of if row[0] == "net") for low, of in rows.items()}
    assert beside[0.1] == "95 %: 0.10 to 2.00"
    assert beside[0.0].endswith(": a loss is not excluded")
    assert beside[-0.31] == "95 %: -0.31 to 2.00: a loss is not excluded"


def test_it_is_written_as_plain_values_into_the_folder_of_a_run_and_only_there(tmp_path):
    line = found("sample")
    assert bottom_line.save(line, "") is line and not list(tmp_path.iterdir())
    bottom_line.save(line, str(tmp_path))
    written = json.loads((tmp_path / bottom_line.FILE).read_text())
    assert written["above_cash_percent"] == line.above_cash_percent and written["stresses"][0]["usdt"] > 0


def test_costs_are_earned_back_at_the_pace_at_which_a_position_earns():
    """A trade nets 30 bps after costs of 20, held a day: 50 bps a day before costs pay 20 in 0.4 days."""
    assert bottom_line._break_even_days(30.0, 1.0, 20.0) == pytest.approx(0.4)
    assert (
        bottom_line._break_even_days(-25.0, 1.0, 20.0) is None
        and bottom_line._break_even_days(None, None, 20.0) is None
    )


# --- against cash ----------------------------------------------------------------------------------------------------


def test_cash_is_a_number_or_the_mean_of_a_series_over_the_quotes(tmp_path):
    assert cash_percent("4", 0, DAY_NS) == 4.0
    file = tmp_path / "cash.csv"
    file.write_text("date,percent\n1970-01-01,5\n1970-01-04,1\n")
    assert cash_percent(str(file), 0, 4 * DAY_NS) == pytest.approx((3 * 5 + 1 * 1) / 4)
    assert cash_percent(str(file), 4 * DAY_NS, 9 * DAY_NS) == 1.0


@pytest.mark.parametrize(
    "text", ["date,percent\n1970-01-03,5\n", "day,percent\n1970-01-01,5\n", "date,percent\n1970-01-01,\n"]
)
def test_a_series_that_begins_too_late_or_is_none_is_refused(tmp_path, text):
    file = tmp_path / "cash.csv"
    file.write_text(text)
    with pytest.raises(ParamsError, match=r"hurdle cash\.csv"):
        cash_percent(str(file), DAY_NS, 4 * DAY_NS)
    with pytest.raises(ParamsError, match="hurdle nowhere"):
        cash_percent("nowhere", 0, DAY_NS)


def test_a_year_below_cash_is_not_exported():
    """1 USDT a month on 400 USDT are 3 % a year."""
    missed = gates.above_cash(12 / 365, 400.0, 4.0)
    assert not missed.passed and missed.finding == "net a year on all capital 3 % a year is below 4 % a year"
    assert gates.above_cash(12 / 365, 400.0, 2.0).passed and not gates.above_cash(None, 400.0, 4.0).passed


def test_thresholds_chosen_by_hand_rest_on_their_own_replay_and_not_on_the_walk_of_the_search():
    s = study("sample")
    rule = s.market.settings.replace(entry_bps=40.0, exit_bps=0.0)
    chosen = by_hand(rule, (s.inputs, s.tape, s.market, CONSTRAINTS), valid_for_s=60.0, notebook="n", run_id="r")
    carried = carry_walk_forward.asked(s.tape, s.market, "reversion")
    line = bottom_line.bottom_line(chosen, s.verdict, carried, s.tape)
    replayed = s.market.replay(s.choice.window.judge, Thresholds(40.0, 0.0, rule.max_hold_s))
    assert "chosen by hand" in line.rests_on
    sheet = tearsheet.tear_sheet(s.tape, s.market, chosen, CONSTRAINTS)
    net = tearsheet.net_interval(sheet.last)
    assert (line.low_usdt_day, line.high_usdt_day) == (net.low, net.high)  # both pages say the same of one replay
    assert f"95 %: {net.low:.2f} to {net.high:.2f}" in repr(line)
    assert (line.trades, line.net_usdt_day) == (len(replayed.trades), pytest.approx(replayed.net_usdt / replayed.days))


# --- what could go wrong ---------------------------------------------------------------------------------------------


def falling() -> Tape:
    """Spot falls from 100 to 90 within a minute; the perpetual's ask stays at 101."""
    rows = [spot(0, 99.9, 100.1), perp(0, 100.9, 101.0), spot(60, 89.91, 90.1), perp(60, 100.9, 101.0)]
    return Tape.of([*rows, spot(120, 89.91, 90.1), perp(120, 100.9, 101.0)])


def test_the_worst_minute_is_the_largest_fall_of_the_bid():
    fall, lag_s = bottom_line.worst_fall(falling(), 60.0)
    assert (fall, lag_s) == (pytest.approx(1 - 89.91 / 99.9), 60.0)


def test_the_basis_against_us_is_the_largest_rise_of_what_leaving_costs():
    against, lag_s = bottom_line.worst_basis(falling(), 86_400.0)
    assert lag_s == 60.0  # half of the record
    assert against == pytest.approx((101 - 89.91) / 89.91 - (101 - 99.9) / 99.9)


def test_accidents_cost_a_full_position_and_are_told_in_years_of_earnings():
    of = {s.name.split()[0]: s for s in bottom_line.stresses(falling(), MARKET, 0.1)}
    assert of["half"].usdt == pytest.approx(0.5 * 100.0 * (1 - 89.91 / 99.9))
    assert of["USDT"].usdt == pytest.approx(0.05 * 200.0)  # a clip of 100 and its margin
    assert of["USDT"].years == pytest.approx(10.0 / 36.5)
    assert all(s.years is None for s in bottom_line.stresses(falling(), MARKET, -0.1))
    assert seconds(1) == NS and np.isfinite(of["spreads"].usdt)


# --- a refusal -------------------------------------------------------------------------------------------------------


def test_without_an_edge_the_fee_and_the_swing_are_named_that_would_do():
    """Entering at -6 and leaving at -8.5 gains 2.5 bps: the four fees of 20 would have to be an eighth."""
    refused = found("no_edge").refusal
    assert refused.looked_for[0].endswith("so none was replayed") and "no edge after costs" in refused.missing[0]
    assert refused.change == (
        "the rarest good prices of the fit part are 2.5 bps apart, entry to exit, and a round trip pays 20 bps of fees, so each would "
        "lose 17.5 bps: the four fees together would have to be below 2.5 bps",
        "or the basis would have to swing at least 8 times as wide",
    )  # fmt: skip


def test_a_loss_larger_than_the_fees_says_that_no_fee_is_low_enough():
    refused = found("random_walk").refusal
    assert "does not revert" in refused.missing[0] and any("no fee is low enough" in s for s in refused.change)
    assert any(s.startswith("latency: with orders that arrive at once") for s in refused.change)


def test_a_warning_is_not_among_what_was_missing():
    s = study("sample")
    few = gates.gate("pairs out of sample", 3.0, 9.0)
    gates_ = (gates.gate("look-back", 72.0, 150.0).replace(result="warns"), few)
    refused = s.sheet.candidate.model_copy(update={"trade": False, "gates": gates_})
    carried = carry_walk_forward.asked(s.tape, s.market, "reversion")
    assert bottom_line.refusal(refused, s.verdict, carried).missing == ("pairs out of sample 3 pairs is below 9 pairs",)


def test_a_year_of_bitcoins_funding_on_twice_the_capital_is_below_cash():
    """0.88 bps a day of 250 USDT on 500: 0.88 * 365 / 2 = 160.6 bps a year, of 4 % two fifths."""
    walk = SimpleNamespace(
        even=BreakEven(22.0, 0.88, 0.26),
        position_usdt=250.0,
        cash_percent=4.0,
        result=SimpleNamespace(capital_usdt=500.0),
    )
    paid, gross = bottom_line._carry_would_have_to_change(walk)
    assert paid.endswith("a round trip of 22.0 bps is paid after 25.0 days")
    assert (
        "1.6 % a year of the whole record on all capital, where cash pays 4 %: it would have to pay more than 2.5 times as much"
        in gross
    )


@pytest.mark.parametrize("regime", ["sample", "random_walk", "no_edge"])
def test_its_tables_hold_for_any_world(regime):
    line = found(regime)
    assert "nan" not in repr(line) and line._repr_html_()
