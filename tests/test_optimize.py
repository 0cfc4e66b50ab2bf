"""Choosing thresholds: the fit sees nothing of the judged part, and what does not pass is not traded."""

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import basis_tape, hours, ou_path, rewritten
from studies import study as study_of

from delta_arb import params
from delta_arb.backtest.performance import Performance
from delta_arb.errors import DataError, ParamsError
from delta_arb.latency import Latency
from delta_arb.market import NS
from delta_arb.optimize import export, search, study
from delta_arb.optimize.offers import Offers, ordered
from delta_arb.optimize.search import Sweep
from delta_arb.optimize.study import Constraints, Market, Thresholds
from delta_arb.optimize.verdict import judge
from delta_arb.optimize.window import window
from delta_arb.quotes import synthetic
from delta_arb.quotes.inputs import Inputs
from delta_arb.quotes.tape import Tape
from delta_arb.stats.half_life import HalfLife, half_life_clean
from delta_arb.stats.ou import Process
from delta_arb.venue_terms import VenueTerms

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
SETTINGS = params.Rule(entry_bps=None, exit_bps=None, max_hold_s=21_600.0, clip_usdt=50.0)


@pytest.fixture(scope="module")
def sample() -> tuple[Inputs, Tape]:
    inputs = Inputs()
    return inputs, inputs.tape()


@pytest.fixture(scope="module")
def chosen(sample) -> search.Choice:
    inputs, tape = sample
    return search.choose(tape, study.market(inputs, tape, SETTINGS), Constraints())


def made(folder: Path, world: synthetic.World, seed: int) -> tuple[Inputs, Tape]:
    synthetic.write(synthetic.make(world, seed), folder / "quotes")
    files = {leg: str(folder / "quotes" / f"{leg}.parquet") for leg in ("spot", "perp")}
    inputs = Inputs(**files, funding="none", pair="SYN_USDT", contract_size=10.0)
    return inputs, inputs.tape()


def by_hand(fee_bps: float) -> Market:
    """The same taker fee on both legs, four of which are a round trip; no grids, a tenth of a second on the way."""
    settings = params.Rule(entry_bps=None, exit_bps=None, max_hold_s=3600.0, clip_usdt=50.0, rearm_bps=0.0)
    venues = (VenueTerms(venue=name, taker_fee_bps=fee_bps) for name in ("mexc", "gate"))
    return Market(*venues, Latency(0.1, 0.1), (), settings)


def performance(**changes) -> Performance:
    """A result that passes the default constraints, but for the changes."""
    values = {field.name: None for field in dataclasses.fields(Performance)} | {
        "days": 1.0, "trades": 10, "trades_day": 10.0, "net_usdt": 1.0, "net_usdt_day": 1.0, "hit_rate": 0.8,
        "censored": 0,
        "drawdown": 0.01,
        "halted": False,
    }  # fmt: skip
    return Performance(**values | changes)


# --- the window -------------------------------------------------------------------------------------------------------


def test_the_look_back_is_cut_in_two_without_a_shared_event(sample):
    _, tape = sample
    parts = window(tape, Constraints(look_back_h=24.0, fit_share=2 / 3))
    assert parts.fit.start_ns >= tape.end_ns - 24 * 3600 * NS
    assert parts.fit.ts_ns[-1] < parts.judge.ts_ns[0]
    assert parts.judge.ts_ns[-1] == tape.end_ns
    assert parts.judge.start_ns == pytest.approx(tape.end_ns - 8 * 3600 * NS, abs=10 * NS)
    assert len(parts.fit) + len(parts.judge) == np.sum(tape.ts_ns >= parts.fit.start_ns)


def test_data_shorter_than_the_look_back_are_named(sample):
    _, tape = sample
    short = tape.between(tape.start_ns, tape.start_ns + 3 * 3600 * NS)
    assert "the last 3.0 h (shorter than the look-back of 24 h)" in window(short, Constraints()).note
    assert "shorter" not in window(tape, Constraints()).note


def test_too_few_events_are_refused(sample):
    _, tape = sample
    with pytest.raises(DataError, match="too few for a choice; record longer"):
        window(tape.between(tape.start_ns, tape.start_ns + 60 * NS), Constraints())
    with pytest.raises(DataError, match=r"too few for a choice; look back 1 h \(-p look_back_h=1\)"):
        window(tape, Constraints(look_back_h=0.01))


# --- no look-ahead ----------------------------------------------------------------------------------------------------


def test_poisoned_later_quotes_do_not_change_what_was_fitted_mistake_20(sample, chosen):
    """Everything from the judged part on is replaced by nonsense: fit, sweep and thresholds stay the same bits."""
    inputs, tape = sample
    cut = int(np.searchsorted(tape.ts_ns, chosen.window.judged_from_ns))
    rng = np.random.default_rng(0)
    columns = {}
    for name in ("spot_bid", "spot_ask", "perp_bid", "perp_ask"):
        column = getattr(tape, name).copy()
        column[cut:] *= rng.uniform(0.2, 5.0, len(tape) - cut)
        columns[name] = column
    poisoned = rewritten(tape, **columns)
    again = search.choose(poisoned, study.market(inputs, poisoned, SETTINGS), Constraints())
    assert again.sweep == chosen.sweep
    assert (again.best, again.fitted, again.passing) == (chosen.best, chosen.fitted, chosen.passing)
    assert repr(again.half_life) == repr(chosen.half_life)
    assert again.judged != chosen.judged  # the poison did arrive


# --- the grid ---------------------------------------------------------------------------------------------------------


def test_every_set_pays_its_fees_and_enters_below_the_cap_mistake_1(sample, chosen):
    inputs, _ = sample
    fees_bps = 2 * (inputs.spot_fee_bps + inputs.perp_fee_bps)
    assert fees_bps == 20.0
    assert all(s.entry_bps - s.exit_bps > fees_bps for s in chosen.sweep.sets)
    offered = search.offers(chosen.window.fit, chosen.market.settings, None)
    capped = search.grid(offered, chosen.market, Constraints(max_entry_bps=10.0))
    assert 0 < max(s.entry_bps for s in capped) <= 10.0
    assert {s.max_hold_s for s in chosen.sweep.sets} == {5400.0, 10_800.0, 21_600.0}


@example(mean=0.0, sd=2.0, width=0.0, fee=1.5, seed=0)  # 6 bps of gain, once more than fees of 5.999999999999999
@given(st.floats(-200, 200), st.floats(0.5, 60), st.floats(0, 10), st.floats(0, 10), st.integers(0, 2**32))
def test_levels_are_reached_and_pay_four_fees_whatever_the_sign_of_the_edge_mistake_1(mean, sd, width, fee, seed):
    """A negative edge is no positive one: where all edges are negative, so are the levels to enter at."""
    edges = mean + sd * np.random.default_rng(seed).standard_normal(500)
    sets = search.grid(Offers(edges, edges + width), by_hand(fee), Constraints(max_entry_bps=1000.0))
    for s in sets:
        assert s.entry_bps - s.exit_bps > 4 * fee
        assert np.median(edges) - 0.251 <= s.entry_bps <= edges.max() + 0.251  # rounded to half a bp
    assert sets or np.quantile(edges, 0.995) - np.quantile(edges + width, 0.005) <= 4 * fee + 0.5


def test_no_target_is_a_loss_where_every_edge_is_negative_after_costs_mistake_1():
    """Twelve waves between -150 and -50 bps, 5 bps a fee: 100 bps less the width of 2 and 20 bps of fees is gained."""
    tape = basis_tape(np.where(np.arange(12 * 600) % 600 < 300, -50.0, -150.0))
    market = by_hand(5.0)
    sets = search.grid(search.offers(tape, market.settings, None), market, Constraints())
    assert {s.entry_bps < 0 for s in sets} == {True}
    for s in sets:
        trades = [t for t in market.replay(tape, s).trades if t.reason == "target"]
        assert trades
        assert [1e4 * t.net_usdt / t.notional_usdt for t in trades] == pytest.approx([78.0] * len(trades), abs=0.5)


def test_a_swing_below_the_four_fees_is_not_entered_mistake_1():
    """The rarest edge is 5 - 1 bps and the rarest exit -5 + 1: 8 bps of gain, 20 bps of fees."""
    tape = basis_tape(5.0 * np.sin(np.arange(7200) / 60) + 0.05 * ou_path(7200, 0))
    choice = search.choose(tape, by_hand(5.0), Constraints())
    assert not choice.trade and choice.best is None
    assert "no edge after costs" in choice.reason and "gains 8 bps, the four fees are 20 bps" in choice.reason


COLUMNS = {
    "even": np.random.default_rng(5).normal(12, 3, 5001), "ticks": np.random.default_rng(6).integers(-4, 5, 5000) / 2,
    "far off": np.append(np.random.default_rng(7).normal(size=4999), 1e9), "one value": np.full(50, -0.5), "one": np.ones(1),
    "next to each other": np.tile([1.0, np.nextafter(1.0, 2.0)], 40), "denormal": np.array([0.0, 5e-324, 1e-323] * 9),
    "too far apart": np.array([-1.7e308, 0.0, 1.7e308]),
}  # fmt: skip


@pytest.mark.parametrize("name", COLUMNS)
def test_ordered_values_and_the_median_width_are_those_of_a_sort(name):
    values = COLUMNS[name]
    places = np.unique(np.linspace(0, values.size - 1, 37).astype(int))
    assert (ordered(values, places) == np.sort(values)[places]).all()
    assert ordered(values, places[-1:])[0] == values.max()
    with np.errstate(over="ignore"):
        assert Offers(np.zeros(values.size), values).width_bps == np.median(values)


def test_entry_and_exit_levels_come_from_their_own_quantities_mistake_2():
    """Edges of 0 to 100 bps beside costs of -200 to -100: quantiles 0.5 and 0.995 of these, 0.005 and 0.5 of those."""
    edges, costs = np.arange(0.0, 101.0), np.arange(-200.0, -99.0)
    entries, exits = search.levels(Offers(edges, costs))
    assert (entries[0], entries[-1]) == (50.0, 99.5)
    assert (exits[0], exits[-1]) == (-199.5, -150.0)
    again, later = search.levels(Offers(edges, costs + 7.0))  # dearer to leave: only the exits move
    assert np.array_equal(again, entries) and np.array_equal(later, exits + 7.0)


@pytest.mark.parametrize("scale", [0.02, 0.1, 1.0, 2.0])
def test_levels_have_no_floor_mistake_10(scale):
    """A tenth of the spread at a tenth of the costs has a tenth of the levels, however small they become.

    Bertram's level is 1.2644 sd at a cost of one sd (8 of fees, 2 of width); looks a second apart are met 0.5826 sd
    sqrt(2 theta) beyond it, and the quotes stand half the width inside: 12.644 - 0.280 - 1 = 11.36 bps of an sd of 10.
    """
    theta = np.log(2) / 600
    edges = scale * np.linspace(-40.0, 38.0, 2000)
    offered, market = Offers(edges, edges + 2.0 * scale), by_hand(2.0 * scale)
    process = Process(theta, 0.0, 10.0 * scale, 0.0, 0.0, 86_400, 86_400.0)
    reverts = HalfLife(600.0, 400.0, 900.0, "by hand", 86_400, 86_400.0, process)
    demands = Constraints(max_hold_s=1e6)
    found = search.plug_in(offered, market, demands, reverts, basis_tape(np.zeros(100)), None)
    assert (found.entry_bps, found.exit_bps) == pytest.approx((11.36 * scale, -11.36 * scale), abs=0.01 * scale + 0.006)
    entries, exits = search.levels(offered)
    assert (entries[0], entries[-1]) == pytest.approx((-1.0 * scale, 37.6 * scale), abs=0.25 + 0.05 * scale)
    assert (exits[0], exits[-1]) == pytest.approx((-37.6 * scale, 1.0 * scale), abs=0.25 + 0.05 * scale)


def test_theory_on_candles_looks_once_a_bar_although_rows_stand_a_nanosecond_apart():
    """Half-life 6000 s, looks an hour apart: met 0.5826 sd sqrt(2 ln 2 * 0.6) = 5.314 bps beyond, so the level is
    12.644 - 5.314 - 1 = 6.33 bps, not the 11.64 of a process looked at all the time.
    """
    edges, process = np.linspace(-40.0, 38.0, 2000), Process(np.log(2) / 6000, 0.0, 10.0, 0.0, 0.0, 365, 1.3e6)
    reverts = HalfLife(6000.0, 5e3, 7e3, "by hand", 365, 1.3e6, process)
    candles = hours([100.0] * 50, [100.0] * 50)
    offered, demands = Offers(edges, edges + 2.0), Constraints(max_hold_s=1e8)
    found = search.plug_in(offered, by_hand(2.0), demands, reverts, candles, None)
    assert (found.entry_bps, found.exit_bps) == pytest.approx((6.33, -6.33), abs=0.011)


def test_the_reversion_of_hourly_candles_is_found_on_their_closes():
    """Put in: a half-life of four hours. An outage of two days is none of frozen closes, 40 equal closes are."""
    basis_bps, spot = 10 * ou_path(2000, 4.0, seed=3), 100 + 0.1 * np.sin(np.arange(2000) / 5.0)
    spot[1000:1048] = np.nan
    perp = np.where(np.isfinite(spot), spot, 100.0) * (1 + basis_bps / 1e4)
    found, why = search.reversion_of(hours(spot, perp))
    assert not why and found.low_s < 4 * 3600.0 < found.high_s
    perp[100:140] = 100.0
    found, why = search.reversion_of(hours(spot, perp))
    assert found is None and why.startswith("perp closed 40 bars in a row at one price")


def test_a_random_walk_of_hourly_candles_is_told_in_its_own_step():
    walk = np.random.default_rng(1).normal(0, 3e-4, 1000).cumsum()
    spot = 100 + 0.1 * np.sin(np.arange(1000) / 5.0)
    found, why = search.reversion_of(hours(spot, spot * (1 + walk)))
    assert found is None and "on values 60 min apart a random walk is not rejected" in why


def test_the_filter_of_hourly_candles_steps_an_hour():
    process = Process(np.log(2) / 6000, 0.0, 10.0, 3.0, 0.0, 366, 365 * 3600.0)
    reverts = HalfLife(6000.0, 5e3, 7e3, "by hand", 366, 365 * 3600.0, process)
    assert dataclasses.replace(by_hand(2.0), signal="filtered").process(reverts).step_s == 3600.0


def test_the_neighbourhood_is_the_mean_of_the_cell_and_those_around_it():
    """A 3 x 3 grid with nets 0..8 row by row: the centre's mean is 4, the corner's (0 + 1 + 3 + 4) / 4 = 2."""
    sets = tuple(Thresholds(entry, exit_, 60.0) for entry in (10.0, 20.0, 30.0) for exit_ in (-30.0, -20.0, -10.0))
    results = tuple(performance(net_usdt_day=float(k)) for k in range(9))
    grid = Sweep(sets, results)
    assert grid.neighbourhood(4) == pytest.approx(4.0)
    assert grid.neighbourhood(0) == pytest.approx(2.0)


def test_a_lonely_peak_loses_against_a_plateau():
    sets = tuple(Thresholds(float(entry), -10.0, 60.0) for entry in range(10, 60, 10))
    results = tuple(performance(net_usdt_day=net) for net in (-4.0, 5.0, -4.0, 3.0, 3.5))
    assert search._best(Sweep(sets, results), [True] * 5) == 4


# --- constraints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"net_usdt": 0.0, "net_usdt_day": 0.0}, "net 0.00 USDT a day is not above zero"),
        ({"trades_day": 4.9}, "4.9 trades a day are below 5"),
        ({"hit_rate": 0.2}, "hit rate 0.20 of 10 pairs (95 %: at most 0.51) is below 0.7"),  # Wilson, 2 of 10
        ({"drawdown": 0.021}, "drawdown 2.10 % is above 2.00 %"),
        ({"halted": True}, "the machine halted"),
    ],
)
def test_each_demand_that_is_missed_is_named(changes, message):
    assert any(message in miss for miss in Constraints().failures(performance(**changes)))


@pytest.mark.parametrize(
    ("trades", "censored", "hit_rate"), [(2, 1, 1.0), (2, 0, 0.5), (4, 0, 0.5), (1, 1, None), (10, 0, 0.6)]
)
def test_a_rate_of_few_pairs_and_a_pair_that_the_data_cut_off_refuse_nothing(trades, censored, hit_rate):
    assert Constraints().failures(performance(trades=trades, censored=censored, hit_rate=hit_rate)) == []


def test_what_meets_every_demand_exactly_passes():
    assert Constraints().failures(performance(trades_day=5.0, hit_rate=0.7, drawdown=0.02)) == []


ALONE = {
    "target_hit_rate": 1.0,
    "min_trades_day": 10_000.0,
    "max_drawdown": 1e-6,
    "max_entry_bps": 1e-6,
    "max_hold_s": 5.0,
    "look_back_h": 0.5,
    "fit_share": 0.1,
}


@pytest.fixture(scope="module")
def small() -> tuple[Tape, Constraints, search.Choice]:
    """Three hours of a half-life of two minutes, 30 bps wide, at 20 bps of fees; held 5 min at most."""
    tape, demands = basis_tape(30.0 * ou_path(3600, 40, seed=3), step_s=3.0), Constraints(max_hold_s=900.0)
    return tape, demands, search.choose(tape, by_hand(5.0), demands)


OF_THE_GATES = {"repeated_h", "stress_loss_bps", "cash_percent"}  # these constrain what the walk-forward must earn


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Constraints) if f.name not in OF_THE_GATES])
def test_every_constraint_constrains_mistake_9(small, name):
    """Each alone at a value that cannot be met, or as hard as it can be: what was traded is refused or another."""
    tape, demands, usual = small
    assert usual.trade, usual.reason
    found = search.choose(tape, by_hand(5.0), dataclasses.replace(demands, **{name: ALONE[name]}))
    assert not found.trade or found.best != usual.best


@pytest.mark.parametrize(
    "changes", [{"target_hit_rate": 1.1}, {"fit_share": 0.95}, {"min_trades_day": -1.0}, {"max_drawdown": 0.0}]
)
def test_nonsense_constraints_are_refused(changes):
    with pytest.raises(ParamsError):
        Constraints(**changes)


# --- the verdict ------------------------------------------------------------------------------------------------------


def test_the_sample_is_traded_on_evidence_it_had_not_seen(sample, chosen):
    inputs, tape = sample
    assert chosen.trade, chosen.reason
    assert chosen.judged.net_usdt > 0 and chosen.judged.hit_rate >= 0.7 and chosen.judged.trades_day >= 5
    exported = export.candidate(judge(tape, chosen), inputs, tape, valid_for_s=60.0, notebook="test", run_id="test")
    assert exported.trade and exported.data.synthetic
    assert (exported.rule.entry_bps, exported.rule.exit_bps) == (chosen.best.entry_bps, chosen.best.exit_bps)
    assert exported.evidence.judged_net_usdt_day == chosen.judged.net_usdt_day
    assert exported.data.judged_from == datetime.fromtimestamp(chosen.window.judged_from_ns // 1000 / 1e6, UTC)


@pytest.mark.parametrize(
    ("regime", "reason"),
    [("random_walk", "the basis does not revert"), ("no_edge", "no edge after costs"), ("frozen_leg", "stood still")],
)
def test_regimes_without_an_edge_end_in_do_not_trade(tmp_path, regime, reason):
    inputs, tape = made(tmp_path, getattr(synthetic.World, regime)(hours=24.0), seed=4)
    choice = search.choose(tape, study.market(inputs, tape, SETTINGS), Constraints())
    assert not choice.trade and reason in choice.reason
    exported = export.candidate(judge(tape, choice), inputs, tape, valid_for_s=60.0, notebook="test", run_id="test")
    assert exported.trade is False and exported.rule.entry_bps is None and exported.rule.exit_bps is None


def real(spot: str, perp: str, **changes) -> Inputs:
    files = {"spot": str(DATA / spot), "perp": str(DATA / perp)}
    if not Path(files["spot"]).exists():
        pytest.skip("the real quotes are not here (../shared/data)")
    return Inputs(**files, funding="none", **changes)


@pytest.mark.parametrize("day", ["2023-04-05", "2024-08-08"])
def test_real_bitcoin_quotes_of_one_venue_have_no_edge_after_costs(day):
    names = (f"binance_spot_BTC_USDT_book_{day}.parquet", f"binance_futures_BTC_USDT_book_{day}.parquet")
    venues = {"spot_venue": "binance", "perp_venue": "binance", "contract_size": 1.0, "perp_step": 0.001}
    inputs = real(*names, pair="BTC_USDT", **venues)
    tape, settings = inputs.tape(), SETTINGS.model_copy(update={"clip_usdt": 100.0})
    choice = search.choose(tape, study.market(inputs, tape, settings), Constraints())
    assert not choice.trade and "no edge after costs" in choice.reason and choice.best is None


def test_real_lunc_quotes_have_no_edge_after_costs():
    names = ("mexc_spot_LUNC_USDT_book_2025-10-11.parquet", "gateio_futures_LUNC_USDT_book_2025-10-11.parquet")
    kinds = {"spot_kind": "snapshots", "perp_kind": "snapshots"}
    inputs = real(*names, pair="LUNC_USDT", contract_size=10_000.0, **kinds)
    tape = inputs.tape()
    choice = search.choose(tape, study.market(inputs, tape, SETTINGS), Constraints())
    assert not choice.trade and "the four fees are 20 bps" in choice.reason


# --- how sure theory is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_hold_s", [21_600.0, 900.0])  # the second times half of the pairs out
def test_the_standard_errors_of_the_levels_are_their_scatter_over_worlds_like_the_fitted_one(max_hold_s):
    """Parametric bootstrap: paths of the fitted process over the same span, each fitted and solved anew."""
    choice = study_of("sample").choice
    reverts, fit, demands = choice.half_life, choice.window.fit, Constraints(max_hold_s=max_hold_s, target_hit_rate=0.5)
    offered = search.offers(fit, choice.market.settings, None)
    prior = search.plug_in(offered, choice.market, demands, reverts, fit, None)
    choice = dataclasses.replace(choice, constraints=demands, proposal=search.Proposal(prior, "", prior, 0.0))
    rng, levels = np.random.default_rng(3), []
    times_s = np.arange(0.0, reverts.span_s, 30.0)
    for _ in range(60):
        path = synthetic.ou_path(times_s, reverts.process.sd, reverts.half_life_s, rng) + reverts.process.mean
        again = half_life_clean(path, (times_s * NS).astype(np.int64))
        levels.append(search.plug_in(offered, choice.market, demands, again, fit, None)[:2])
    assert np.std(levels, axis=0) == pytest.approx(search.standard_errors_bps(choice), rel=0.25)


def test_levels_that_theory_has_no_part_in_have_no_standard_errors():
    choice = study_of("sample").choice
    alone = choice.proposal.of_grid(["it misses a demand"])
    assert search.standard_errors_bps(dataclasses.replace(choice, proposal=alone)) is None
    assert search.standard_errors_bps(dataclasses.replace(choice, half_life=None)) is None


def test_a_half_life_not_bounded_from_below_takes_the_upper_half():
    choice = study_of("sample").choice
    loose = dataclasses.replace(choice, half_life=dataclasses.replace(choice.half_life, low_s=0.0))
    assert search.standard_errors_bps(loose) == pytest.approx(search.standard_errors_bps(choice), rel=0.3)


def test_where_theory_answers_on_one_side_only_that_side_must_do():
    """With the entry capped just above the plug-in's, a slower and wider process enters above the cap."""
    choice = study_of("sample").choice
    both = search.standard_errors_bps(choice)
    cap = choice.proposal.plug_in.entry_bps + 0.01
    capped = dataclasses.replace(choice, constraints=dataclasses.replace(choice.constraints, max_entry_bps=cap))
    assert search.standard_errors_bps(capped) == pytest.approx(both, rel=0.3)
    assert search.standard_errors_bps(capped) != both
