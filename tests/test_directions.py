"""Both directions: the reverse one is the direct one of a mirrored market, each passes alone, and both in one machine."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import basis_tape, leg_rule, ou_path, rewritten, seconds
from strategies import rule as machine_rule

from delta_arb import params
from delta_arb.backtest.performance import held
from delta_arb.errors import ParamsError
from delta_arb.latency import Latency
from delta_arb.market import NS, FundingPayment
from delta_arb.optimize import directions, export, gates, search, study, walk_forward
from delta_arb.optimize.champion import NAMES, examined, settle
from delta_arb.optimize.offers import EntryExit, both
from delta_arb.optimize.study import Constraints, Market, Thresholds
from delta_arb.optimize.verdict import Verdict, judge
from delta_arb.optimize.walk_forward import Fit, LookBack
from delta_arb.quotes.inputs import Inputs
from delta_arb.quotes.tape import Tape
from delta_arb.report import banner, choice_tables, money_tables, tearsheet, trade_tables, what_if
from delta_arb.strategy import sizing
from delta_arb.strategy.state import DIRECT, REVERSE
from delta_arb.venue_terms import VenueTerms
from delta_arb.wallets import BOUNDLESS, Funds

HOUR = 3600
SETTINGS = params.Rule(entry_bps=None, exit_bps=None, max_hold_s=21_600.0, clip_usdt=50.0)
COINS = replace(BOUNDLESS, inventory=10.0)


def market(fee_bps: float = 0.5, payments=(), funds: Funds = COINS, **changes) -> Market:
    """The same taker fee on both legs, a tenth of a second on the way, ten coins of about 100 USDT held."""
    rule = params.Rule(**{**SETTINGS.model_dump(), "rearm_bps": 0.0, **changes})
    venues = (VenueTerms(venue=name, taker_fee_bps=fee_bps) for name in ("mexc", "gate"))
    return Market(*venues, Latency(0.1, 0.1), tuple(payments), rule, funds=funds)


def mirrored(tape: Tape) -> Tape:
    """The market in which opening the direct pair pays what opening the reverse one pays in `tape`, and so on."""
    return rewritten(
        tape, perp_bid=tape.spot_ask * (2.0 - tape.perp_ask / tape.spot_bid),
        perp_ask=tape.spot_bid * (2.0 - tape.perp_bid / tape.spot_ask),
        spot_bid_qty=tape.spot_ask_qty, spot_ask_qty=tape.spot_bid_qty,
        perp_bid_qty=tape.perp_ask_qty, perp_ask_qty=tape.perp_bid_qty,
    )  # fmt: skip


def other_way(payments):
    """Funding as the mirrored perpetual pays it."""
    return tuple(p._replace(rate=-p.rate) for p in payments)


# --- one set, two directions ------------------------------------------------------------------------------------------


def test_one_machine_holds_as_long_as_the_longer_of_its_directions():
    direct, reverse = Thresholds(30.0, -5.0, 600.0), Thresholds(25.0, -8.0, 900.0, side=REVERSE)
    joint = both(direct, reverse)
    assert joint == Thresholds(30.0, -5.0, 900.0, reverse=EntryExit(25.0, -8.0))
    assert both(direct, None) == direct and both(None, reverse) == reverse and both(None, None) is None
    assert joint.alone(REVERSE) == reverse and joint.alone(DIRECT) == direct._replace(max_hold_s=900.0)
    assert reverse.alone(DIRECT) is None and direct.levels(REVERSE) is None


def test_the_rule_has_the_levels_of_each_direction_and_the_other_is_off():
    direct, reverse = Thresholds(30.0, -5.0, 600.0), Thresholds(25.0, -8.0, 600.0, side=REVERSE)
    rules = market().rules([direct, reverse, both(direct, reverse)])
    levels = [(r.entry, r.exit, r.reverse_entry, r.reverse_exit) for r in rules]
    off = (math.inf, -math.inf)
    assert levels == [(0.003, -0.0005, *off), (*off, 0.0025, -0.0008), (0.003, -0.0005, 0.0025, -0.0008)]
    assert search.spoken(both(direct, reverse)) == (
        "entry 30 bps, exit -5 bps, reverse entry 25 bps, exit -8 bps, hold at most 0.166667 h"
    )


def test_a_direction_is_no_neighbour_of_the_other():
    sets = [Thresholds(e, 0.0, 60.0, side=side) for side in (DIRECT, REVERSE) for e in (10.0, 20.0, 30.0)]
    weights = gates.neighbourhoods(sets)
    three = np.array([[1 / 2, 1 / 3, 0], [1 / 2, 1 / 3, 1 / 2], [0, 1 / 3, 1 / 2]])
    assert weights == pytest.approx(np.block([[three, np.zeros((3, 3))], [np.zeros((3, 3)), three]]))


# --- the mirror -------------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.floats(-40, 40), st.floats(0.2, 20))
def test_what_the_reverse_pair_is_offered_is_what_the_direct_one_is_in_the_mirror(seed, mean_bps, width_bps):
    path = mean_bps + 20.0 * np.random.default_rng(seed).standard_normal(200)
    tape = basis_tape(path, width_bps=width_bps)
    here = search.offers(tape, SETTINGS, None, REVERSE)
    there = search.offers(mirrored(tape), SETTINGS, None)
    assert here.entry_bps == pytest.approx(there.entry_bps, abs=1e-8)
    assert here.exit_bps == pytest.approx(there.exit_bps, abs=1e-8)


@pytest.mark.parametrize("signal", ["raw", "filtered"])
def test_the_reverse_choice_is_the_direct_one_of_the_mirrored_market(signal):
    """Twelve hours of a basis with a mean of 8 bps that reverts in ten minutes; funding pays the short 3 bps an hour."""
    noise = np.random.default_rng(1).standard_normal(21_600)
    tape = basis_tape(8.0 + 25.0 * ou_path(21_600, 300.0) + noise, step_s=2.0)
    paid = [FundingPayment(seconds(h * HOUR), 0.0003, 100.0, True) for h in range(14)]
    demands = Constraints(max_hold_s=7200.0, min_trades_day=1.0)
    here = replace(market(2.0, paid), signal=signal)
    found = search.choose(tape, here, demands, REVERSE)
    there = search.choose(mirrored(tape), replace(here, payments=other_way(paid)), demands)
    assert found.best.side == REVERSE and there.best.side == DIRECT
    assert found.proposal.plug_in[:3] == pytest.approx(there.proposal.plug_in[:3], abs=0.02)
    assert found.best[:3] == pytest.approx(there.best[:3], abs=0.05)
    assert found.trade == there.trade and found.judged.trades == there.judged.trades > 0
    assert found.judged.net_usdt == pytest.approx(there.judged.net_usdt, rel=0.01)
    direct = search.choose(tape, replace(here, payments=()), demands).proposal.plug_in
    reverse = search.choose(tape, replace(here, payments=()), demands, REVERSE).proposal.plug_in
    twice = 2 * found.half_life.process.mean  # as far apart as the means of a basis and of its mirror image
    assert direct.entry_bps - reverse.entry_bps == pytest.approx(twice, abs=0.02) and twice > 10.0


# --- by hand: a perpetual that is cheap for five minutes of each hour --------------------------------------------------

DAYS = 3
PAID = [FundingPayment(seconds(h * HOUR), -0.01, 100.0, True) for h in range(24 * DAYS + 2)]
DEMANDS = Constraints(max_hold_s=7200.0)


DEPTHS = np.random.default_rng(3).choice([50.0, 60.0, 70.0], 24 * DAYS)  # bps, by the hour


def dips() -> Tape:
    """So far below spot from the 30th to the 35th minute of each hour, else level, and two bps of noise."""
    at_s = np.arange(0, 24 * DAYS * HOUR, 20)
    noise = np.random.default_rng(2).standard_normal(len(at_s)).clip(-2.0, 2.0)
    there = (at_s % HOUR >= 1800) & (at_s % HOUR < 2100)
    return basis_tape(np.where(there, -DEPTHS[at_s // HOUR], 0.0) + noise, step_s=20.0)


@pytest.fixture(scope="module")
def cheap() -> tuple[Tape, directions.Directions]:
    """Funding takes 1 % of a short at every full hour: who holds the direct pair from dip to dip pays it."""
    tape = dips()
    verdict = judge(tape, search.choose(tape, market(payments=PAID), DEMANDS))
    return tape, directions.asked(tape, verdict)


def test_a_market_that_pays_one_way_only_is_traded_that_way(cheap):
    found = cheap[1]
    assert not found.direct.trade and found.reverse.trade and found.together is None
    assert found.verdict.trade and found.verdict.thresholds.side == REVERSE
    assert "the direct direction is left out" in found.verdict.reason
    judged = found.reverse.choice.window.judge
    trades = found.reverse.choice.market.replay(judged, found.verdict.thresholds).trades
    # The judged part is the last 8 hours. Each dip is sold into at its first quote and bought back behind its end.
    assert len(trades) == 8 and {t.reason for t in trades} == {"target"} and {t.side for t in trades} == {REVERSE}
    assert [t.opened_ns // NS % HOUR for t in trades] == [1800] * 8 and min(t.held_s for t in trades) >= 300.0
    assert all(t.funding_usdt == 0.0 for t in trades)
    # Of a clip of 50 USDT: the depth and the noise of up to 2 bps, less half the width (1) and four fees of half a bp;
    # left at a gain of half a bp to 1 (noise 2, half the width 1).
    for trade, depth_bps in zip(trades, DEPTHS[-8:], strict=True):
        assert 50.0e-4 * (depth_bps - 4.5) <= trade.net_usdt <= 50.0e-4 * depth_bps
    direct = found.direct.choice.sweep.results
    assert max(r.net_usdt for r in direct) <= 0.0 and any(r.trades for r in direct)  # those that trade pay the funding


def test_what_is_exported_is_what_was_judged(cheap, tmp_path):
    tape, found = cheap
    exported = export.candidate(found.verdict, SoldFrom(10.0), tape, valid_for_s=3600.0, notebook="test", run_id="test")
    assert exported.trade and exported.rule.entry_bps is None and exported.rule.exit_bps is None
    assert exported.wallets.inventory_coins == 10.0 and exported.evidence.best_direction == "reverse"
    path = params.save(exported, tmp_path / "candidate.json")
    assert examined(params.load(path)) == found.verdict.thresholds
    said = exported.evidence.reverse
    assert said.passed and said.reason.startswith("the reverse direction alone is traded")
    assert said.adds_usdt_day == found.reverse.judgement.walk.net_usdt_day.value > 0
    assert exported.evidence.judged_trades == 8


class SoldFrom(Inputs):
    """The sample's venues with an inventory, for exports of tapes that were never files."""

    def __init__(self, coins: float) -> None:
        super().__init__(inventory_coins=coins, spot_fee_bps=0.5, perp_fee_bps=0.5)


def test_a_reverse_direction_that_does_not_pass_takes_nothing_from_the_direct_one(cheap):
    """The same market mirrored: now the direct pair pays, and is exported exactly as without an inventory."""
    tape = mirrored(cheap[0])
    with_coins, without = (
        judge(tape, search.choose(tape, market(payments=other_way(PAID), funds=funds), DEMANDS))
        for funds in (COINS, BOUNDLESS)
    )
    found = directions.asked(tape, with_coins)
    assert without.trade and found.verdict.trade and not found.reverse.trade
    assert [face.title for face in found.faces] == [directions.TITLE]  # the direct pair's gates were shown before
    assert found.verdict.thresholds == without.thresholds and found.verdict.judged == without.judged
    assert found.verdict.reason.startswith(f"{without.reason}; the reverse direction is left out: ")
    assert found.verdict.reverse.passed is False and found.verdict.reverse.adds_usdt_day is None


def test_without_an_inventory_nothing_is_asked(cheap):
    tape = cheap[0]
    verdict = Verdict(replace(cheap[1].direct.choice, market=market(funds=BOUNDLESS)), None, None, False, "no edge")
    found = directions.asked(tape, verdict)
    assert found.verdict is verdict and found.reverse is None
    assert "not asked: no coins are held" in repr(found)


# --- together ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def swings() -> tuple[Inputs, Tape, directions.Directions]:
    """The bundled sample, whose basis swings both ways, with 600 coins of about 0.80 USDT."""
    inputs = Inputs(inventory_coins=600.0)
    tape = inputs.tape()
    verdict = judge(tape, search.choose(tape, study.market(inputs, tape, SETTINGS), Constraints()))
    return inputs, tape, directions.asked(tape, verdict)


def test_both_directions_together_earn_about_their_sum(swings):
    _, _, found = swings
    assert found.direct.trade and found.reverse.trade and found.together.trade
    walks = [v.judgement.walk for v in (found.direct, found.reverse, found.together)]
    direct, reverse, together = (w.result.net_usdt for w in walks)
    assert max(direct, reverse) < together < 1.1 * (direct + reverse)
    assert {t.side for t in walks[2].result.trades} == {DIRECT, REVERSE}
    assert [(f.start_ns, f.end_ns) for f in walks[2].folds] == [(f.start_ns, f.end_ns) for f in walks[0].folds]
    days = sum(f.days for f in walks[0].folds)
    assert found.adds.value == pytest.approx((together - direct) / days)
    assert found.adds.low > 0
    asked = (found.direct, found.reverse, found.together)
    tries = [(v.judgement.deflated.trials, v.judgement.deflated.clusters) for v in asked]
    assert [trials / clusters for trials, clusters in tries] == [2, 2, 2]  # two are looked at, neither is the first
    luck = [gate for v in asked for gate in v.judgement.gates if gate.name == "chance without an edge"]
    assert [gate.bound for gate in luck] == pytest.approx([0.0125] * 3)  # half of 2.5 % each: Bonferroni
    assert [face.title for face in found.faces] == [directions.TITLE, "Demands on the export"]
    rows = {row[0]: row for row in found.table().rows}
    assert rows.keys() == {"direct", "reverse", "both"} and all(row[-1] == "yes" for row in rows.values())


def test_a_file_of_both_directions_is_traded_as_it_was_judged(swings):
    inputs, tape, found = swings
    exported = export.candidate(found.verdict, inputs, tape, valid_for_s=3600.0, notebook="t", run_id="t")
    assert exported.rule.levels.keys() == {"", "reverse_"}
    assert examined(exported) == found.verdict.thresholds == found.together.choice.together
    assert exported.evidence.reverse.adds_low_usdt_day > 0
    judged = found.direct.choice.market.replay(found.direct.choice.window.judge, examined(exported))
    assert judged.net_usdt / judged.days == pytest.approx(exported.evidence.judged_net_usdt_day)


def test_a_champion_that_sells_coins_gives_way_where_none_are_held(swings, tmp_path):
    inputs, tape, found = swings
    exported = export.candidate(found.verdict, inputs, tape, valid_for_s=3600.0, notebook="t", run_id="t")
    path = str(params.save(exported, tmp_path / "latest.json"))
    kept = settle(found.verdict, inputs, tape, path)
    assert kept.kept and kept.contest.words == "the new choice is the same"
    choice = found.direct.choice
    bare = replace(found.direct, choice=replace(choice, market=replace(choice.market, funds=BOUNDLESS)))
    gone = settle(bare, replace(inputs, inventory_coins=0.0), tape, path)
    assert gone.contest.replace and "they sell coins that are held" in gone.contest.words


def test_where_both_do_not_pass_together_the_direct_one_stays(swings):
    """Neither its net nor its demands: the machine of both must earn more on the fit part than the direct pair alone."""
    _, tape, found = swings
    rich = replace(found.direct.choice.fitted, net_usdt=1e6, net_usdt_day=1e6)
    direct = replace(found.direct, choice=replace(found.direct.choice, fitted=rich))
    again = directions.asked(tape, direct)
    assert not again.together.trade and again.verdict.trade and again.verdict.thresholds == direct.choice.best
    assert "both in one machine do not pass" in again.verdict.reason
    assert "are no more than the direct pair's alone" in again.verdict.reverse.reason


def test_a_fold_trades_what_either_direction_proposes():
    tape = basis_tape(np.zeros(200))
    look_back = LookBack(tape, tape.start_ns, tape.start_ns + seconds(100), market(), Constraints(), 10.0)
    one = Fit(Thresholds(10.0, 0.0, 60.0, side=REVERSE), "passes", np.ones(10), 5)
    none = Fit(None, "no edge", None, 3)
    found = walk_forward.joined(look_back, none, one)
    assert found.thresholds == one.thresholds and found.nets is one.nets and found.tried == 8
    assert found.reason == "direct: no edge; reverse: passes"
    assert walk_forward.joined(look_back, none, none).thresholds is None


# --- what pages say ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sheet(swings) -> tearsheet.TearSheet:
    inputs, tape, found = swings
    exported = export.candidate(found.verdict, inputs, tape, valid_for_s=3600.0, notebook="t", run_id="t")
    return tearsheet.tear_sheet(tape, found.direct.choice.market, exported, Constraints())


def test_the_candidate_shows_both_directions_and_the_coins(sheet):
    rows = {row[0]: row[1:] for row in choice_tables.shown(sheet.candidate).rows}
    levels = sheet.thresholds.reverse
    assert rows["reverse entry"][0] == f"{levels.entry_bps:.1f} bps"
    assert rows["reverse exit"][0] == f"{levels.exit_bps:.1f} bps"
    assert (
        rows["reverse adds"][0].endswith("USDT/day") and "over the direct pair alone; 95 %" in rows["reverse adds"][1]
    )
    assert "600 coins beside as short a position" in rows["wallets"][1]


def test_the_record_and_the_index_have_the_levels_of_both(sheet, swings):
    found = tearsheet.metrics(sheet, swings[0])
    both_ways = (sheet.thresholds.entry_bps, *sheet.thresholds.reverse)
    assert (found["entry_bps"], found["reverse_entry_bps"], found["reverse_exit_bps"]) == both_ways
    shown = dict(banner.figures({"status": "ok", "metrics": found}))
    assert shown["Entry bps"] == f"{both_ways[0]:.1f} / {both_ways[1]:.1f}"
    only = found | {"entry_bps": None, "exit_bps": None}
    assert dict(banner.figures({"status": "ok", "metrics": only}))["Entry bps"] == f"{banner.DASH} / {both_ways[1]:.1f}"


def test_the_trades_of_both_directions_are_told_apart(sheet):
    table = trade_tables.trades(sheet)
    column = table.columns.index("direction")
    assert [row[column] for row in table.rows] == [NAMES[t.side] for t in sheet.trades[-len(table.rows) :]]


def test_the_inventory_stands_on_lines_of_its_own(sheet):
    rows = {row[0]: row[1:] for row in money_tables.wallets_table(sheet.tape, sheet.result).rows}
    reverse = [t for t in sheet.trades if t.side == REVERSE]
    assert rows["USDT of both wallets"][0] == "no limit"
    assert rows["inventory, USDT"][1] == "600 coins on spot beside a short of the same size"
    assert float(rows["inventory, USDT"][0]) == pytest.approx(600 * 0.8, rel=0.1)
    assert float(rows["reverse pairs, USDT"][0]) == pytest.approx(sum(t.net_usdt for t in reverse), abs=0.005)
    assert rows["reverse pairs, USDT"][1].startswith(f"{len(reverse)} of them")


def test_the_levels_of_the_reverse_direction_are_moved_too(sheet):
    judged = sheet.parts["judged"].tape
    names = {bar.name for bar in what_if.one_by_one(what_if.Case(judged, sheet.market, sheet.thresholds)).bars}
    assert {"entry threshold", "reverse entry threshold", "reverse exit threshold"} <= names
    alone = {
        bar.name for bar in what_if.one_by_one(what_if.Case(judged, sheet.market, sheet.thresholds.alone(DIRECT))).bars
    }
    assert names - alone == {"reverse entry threshold", "reverse exit threshold"}


# --- what is held -----------------------------------------------------------------------------------------------------


def test_what_an_inventory_earns_by_itself():
    """Ten coins: spot bid 99.5 to 100.5 gains 10, the short's ask 101 to 100 gains 10; funding 0.001 of 100 on ten, once."""
    base = basis_tape(np.zeros(2))
    tape = rewritten(
        base, spot_bid=np.array([99.5, 99.5, 99.5, 100.5]), spot_ask=np.array([100.5] * 4),
        perp_bid=np.array([99.0] * 4), perp_ask=np.array([101.0, 101.0, 101.0, 100.0]),
    )  # fmt: skip
    paid = [FundingPayment(at, 0.001, 100.0, True) for at in (tape.start_ns, tape.end_ns, tape.end_ns + NS)]
    found = held(tape, 10.0, 4.0, paid)
    assert found[:5] == pytest.approx((10.0, 1000.0, 250.0, 20.0, 1.0))
    assert found.net_usdt == pytest.approx(21.0)


def test_an_inventory_that_is_worth_less_than_a_clip_is_refused():
    inputs = Inputs(inventory_coins=10.0)
    with pytest.raises(ParamsError, match=r"inventory_coins=10 are worth .* less than a clip of 50"):
        study.market(inputs, inputs.tape(), SETTINGS)


def test_a_full_position_needs_what_its_clips_do():
    """1000 USDT: the price bound of 2 % and a fee of 10 bps on spot; margin at leverage 4 and the fee on the other."""
    rule = machine_rule(spot=leg_rule(fee=0.001), perp=leg_rule(fee=0.001, leverage=4.0))
    assert sizing.needs_usdt(rule) == pytest.approx((1000 * 1.02 * 1.001, 1000 * (0.25 + 0.001)))
    only = rule._replace(entry=math.inf, reverse_entry=0.01)
    assert sizing.needs_usdt(only) == pytest.approx((0.0, 1000 * 1.02 * 0.001))
    assert sizing.needs_usdt(only._replace(reverse_entry=math.inf)) == (0.0, 0.0)
