"""Jumping over rows changes nothing: the same orders, fills, closings and trades to the bit, on any tape and rule."""

import dataclasses
import math
import random

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from strategies import TENTH, Case, cases, kinds, latencies, perp, quotes_from, random_rows, rule, rules, seconds, spot
from test_backtest import FIFTH, LUNC_RULES, ONE_EVENT, QUIET, assert_same, busy, leg_rule, minute_filter
from test_backtest import lunc as lunc

from delta_arb.backtest import fast_forward, replay, resting_orders
from delta_arb.backtest import sweep as sweep_module
from delta_arb.backtest.performance import measure, period_nets, thinned
from delta_arb.backtest.replay import glance, looks, run
from delta_arb.backtest.sweep import FIGURES, sweep
from delta_arb.errors import DataError
from delta_arb.funding_stamps import NOTHING_EXPECTED
from delta_arb.latency import Latency
from delta_arb.market import END, FundingPayment
from delta_arb.numba_cache import records
from delta_arb.quotes.tape import LegFile, Tape, read
from delta_arb.strategy.decide import decide
from delta_arb.strategy.ledger import PARTS, total
from delta_arb.strategy.signal import OFF
from delta_arb.wallets import Funds, Rebalancing

# Long tapes that mostly do nothing: blocks are left out whole, near and far, and rows share their instant.
CALM = (
    (0, 0, 1, 1, 2, 3),
    (0, 1),
    (-0.5, 0.0, 0.0, 0.5),
    (-1.5, -1.5, -1.5, -1.0, -1.0, 0.0),
    (0.5, 0.5, 0.5, 1.0),
    (0.0, 2.5, 10.0, 50.0),
    (0.0, 2.5, 10.0, 50.0),
)


@st.composite
def calm_quotes(draw):
    """A few hundred calm rows, then a wild one, some times over."""
    parts = draw(st.lists(random_rows(CALM, 100, 700), min_size=1, max_size=3))
    wild = [(1, 1, 0.0, 2.0, 0.5, 50.0, 50.0), (0, 0, 0.0, 0.0, 0.5, 50.0, 50.0), (2, 1, 0.0, -1.5, 0.5, 10.0, 10.0)]
    return quotes_from([row for part in parts for row in (*part, *wild)])


calm_cases = st.builds(Case, calm_quotes(), st.tuples(kinds, kinds), latencies, rules(), st.sampled_from((0.0, 4.0)))


def assert_jumping_changes_nothing(tape, of, latency, **given):
    plain = run(tape, of, latency, plain=True, **given)
    assert_same(run(tape, of, latency, **given), plain)
    assert_same(run(tape, of, latency, seen=looks(tape, of.filter, jumping=False), **given), plain)
    assert_same(run(tape, of, latency, plain=True, seen=looks(tape, of.filter, plain=True), **given), plain)
    new = dataclasses.replace(tape)
    assert_same(run(new, of, latency, seen=glance(new, of.filter, NOTHING_EXPECTED), **given), plain)


@example(ONE_EVENT)
@given(cases)
def test_jumping_changes_nothing_on_wild_tapes(case):
    assert_jumping_changes_nothing(case.tape, case.rule, case.latency, funds=case.funds)


@settings(max_examples=40)
@given(calm_cases)
def test_jumping_changes_nothing_on_calm_tapes(case):
    assert_jumping_changes_nothing(case.tape, case.rule, case.latency, funds=case.funds)


small_funds = st.builds(
    Funds, *[st.sampled_from((300.0, 1000.0, 3000.0))] * 2, st.sampled_from((0.0, 20.0)),
    st.builds(Rebalancing, st.sampled_from((10.0, 100.0)), st.sampled_from((0.0, 1.0)), st.integers(1, 9).map(seconds)),
)  # fmt: skip


@given(cases, small_funds, st.booleans())
def test_jumping_changes_nothing_where_wallets_run_dry_and_money_is_on_its_way(case, funds, stamps):
    """With a table that is whole: a stamp every second."""
    whole = [FundingPayment(seconds(k), 1e-3, 100.0, True) for k in range(-9, 400)] if stamps else ()
    assert_jumping_changes_nothing(case.tape, case.rule, case.latency, funds=funds, payments=whole)


def tiled(quotes, times, pause=50):
    """The same quotes again and again, `pause` tenths of a second apart: more rows than a far block holds."""
    span = quotes[-1][0] + pause * (seconds(1) // 10)
    return Tape.of([(q[0] + k * span, *q[1:]) for k in range(times) for q in quotes])


@pytest.mark.parametrize("seed", range(6))
def test_jumping_changes_nothing_over_many_blocks(seed):
    """Thresholds that are hit exactly, seldom, always and never; pairs that end at the target and by the clock."""
    rng = random.Random(seed)
    calm = [tuple(rng.choice(options) for options in CALM) for _ in range(3000)]
    wild = [(1, 1, 0.0, 2.0, 0.5, 50.0, 50.0), (0, 0, 0.0, 0.0, 0.5, 50.0, 50.0)]
    tape = tiled(quotes_from(calm + wild), 4)
    assert len(tape) > 2 * fast_forward.FAR
    for entry, exit_ in ((0.01, 0.0), (0.015, -0.01), (0.015, 0.005), (-0.01, 0.015), (0.02, -0.02)):
        for hold_s in (1.0, 100.0, 3600.0):
            assert_jumping_changes_nothing(tape, rule(entry=entry, exit=exit_, max_hold_s=hold_s, rearm=0.005), FIFTH)


def test_most_rows_are_skipped(monkeypatch):
    """Of a tape that never reaches the entry, only the last instant is decided on."""
    quotes = [q for k in range(5000) for q in (spot(k, 99.5, 100), perp(k, *QUIET))]
    tape, decided = Tape.of(quotes), []
    monkeypatch.setattr(resting_orders, "take", lambda *given: decided.append(given) or decide(*given))
    run(tape, rule(), FIFTH, plain=True, seen=looks(tape, OFF, plain=True))
    assert [event.ts_ns for _, event, _ in decided] == [tape.end_ns]


def test_no_more_is_kept_of_a_tape_than_of_eight_ways_though_one_was_glanced_at():
    """The ninth place was given to a glance once, and nothing was thrown away from then on."""
    tape = Tape.of([q for k in range(9) for q in (spot(k, 99.5, 100), perp(k, *QUIET))])
    ways = [OFF._replace(theta=1e-3, sd=1e-3, noise_sd=1e-4, step_s=60.0 + k) for k in range(30)]
    for way in ways[:8]:
        looks(tape, way)
    glance(tape, OFF, NOTHING_EXPECTED)
    for way in ways[8:]:
        looks(tape, way)
        assert len(replay._SEEN[tape]) <= replay.MOST_SEEN + 1


@pytest.mark.parametrize("kind", ["snapshots", "updates"])
@pytest.mark.parametrize(("signal", "max_hold_s"), [("raw", 5.0), ("raw", 600.0), ("filtered", 60.0)])
def test_jumping_changes_nothing_on_the_real_lunc_quotes(lunc, kind, signal, max_hold_s):
    process = minute_filter(lunc) if signal == "filtered" else OFF
    tape = dataclasses.replace(lunc, perp_kind=kind)
    for share in (0.001, 0.05, 0.25):
        of = busy(lunc, share=share, max_hold_s=max_hold_s, filter=process, **LUNC_RULES)
        assert_jumping_changes_nothing(tape, of, Latency(0.1, 0.15))


def test_jumping_changes_nothing_on_real_btc_quotes(recording):
    tape = read(
        LegFile(recording("binance_spot_BTC_USDT_book_2024-08-08.parquet"), "updates"),
        LegFile(recording("binance_futures_BTC_USDT_book_2024-08-08.parquet"), "updates"),
    )
    for share, max_hold_s in ((0.001, 60.0), (0.05, 10.0), (0.6, 10.0)):
        of = busy(tape, share=share, max_hold_s=max_hold_s, step=0.001, perp=leg_rule(step=0.001, min_qty=0.001))
        every_row = run(tape, of, Latency(0.005, 0.01), seen=looks(tape, OFF, jumping=False))
        assert_same(run(tape, of, Latency(0.005, 0.01)), every_row)


# --- Many rules at once ----------------------------------------------------------------------------------------------


def assert_swept_as_run(tape, of, latency, **given):
    """Every figure of every rule, to the bit."""
    swept = sweep(tape, of, latency, **given)
    for k, each in enumerate(of):
        result = run(tape, each, latency, **given)
        assert repr(swept.performance(k)) == repr(measure(tape, result))
        for part in PARTS:
            assert swept.figures[f"{part}_usdt"][k] == total(getattr(t, f"{part}_usdt") for t in result.trades)


@settings(max_examples=60)
@given(cases, st.lists(rules(), min_size=1, max_size=4), st.booleans())
def test_a_sweep_says_of_every_rule_what_its_replay_says(case, others, funded):
    assume(case.tape.end_ns > case.tape.start_ns)
    stamps = [FundingPayment(seconds(k), 1e-3, 100.0, True) for k in range(-9, 400, 2)] if funded else ()
    assert_swept_as_run(case.tape, [case.rule, *others], case.latency, payments=stamps, funds=case.funds)


@settings(max_examples=10)
@given(calm_cases)
def test_a_sweep_over_calm_tapes_finds_the_same_drawdowns(case):
    assume(case.tape.end_ns > case.tape.start_ns)
    of = [case.rule._replace(entry=e, exit=x, max_hold_ns=seconds(600)) for e in (0.0, 0.015) for x in (-0.015, 0.0)]
    assert_swept_as_run(case.tape, of, case.latency, funds=case.funds)


# --- Rules that differ in their levels only -----------------------------------------------------------------------------

LEVELS = (-0.015, -0.01, -0.005, -1e-9, 0.0, 1e-9, 0.0025, 0.005, 0.01, 0.010000001, 0.015, 0.02)


@st.composite
def families(draw):
    """A tape and rules in any order that differ in their levels and longest hold only; the direct pair, unlimited money."""
    case = draw(cases)
    perp = case.rule.perp._replace(
        maintenance=draw(st.sampled_from((0.0, 0.0, 0.3))), leverage=draw(st.sampled_from((1.0, 3.0)))
    )
    of = case.rule._replace(reverse_entry=math.inf, reverse_exit=-math.inf, flatten=False, may_enter=True, perp=perp)
    some = st.lists(st.sampled_from(LEVELS), min_size=1, max_size=5)
    holds = draw(st.lists(st.sampled_from((0.05, 0.3, 1.0, 4.0, 600.0)), min_size=1, max_size=2))
    levels = [(entry, exit_, hold) for entry in draw(some) for exit_ in draw(some) for hold in holds]
    draw(st.randoms()).shuffle(levels)
    return case.tape, [of._replace(entry=e, exit=x, max_hold_ns=seconds(h)) for e, x, h in levels], case.latency


@given(families(), st.booleans())
def test_rules_that_differ_in_levels_only_are_each_swept_as_run(family, funded):
    tape, of, latency = family
    assume(tape.end_ns > tape.start_ns)
    stamps = [FundingPayment(seconds(k), 1e-3, 100.0, True) for k in range(-9, 400, 2)] if funded else ()
    assert_swept_as_run(tape, of, latency, payments=stamps)


@settings(max_examples=10)
@given(calm_quotes(), st.sampled_from((1.0, 30.0, 600.0)))
def test_and_so_they_are_on_calm_tapes(quotes, hold_s):
    tape = tiled(quotes, 3)
    of = [rule(entry=e, exit=x, max_hold_s=hold_s, rearm=0.005) for e in LEVELS for x in LEVELS[::3] if x <= e]
    assert_swept_as_run(tape, of, FIFTH)


@settings(max_examples=25)
@given(cases, st.sampled_from(("entry", "exit")), st.sampled_from((0.3, 4.0, 600.0)))
def test_what_sets_between_two_of_one_path_earn_is_what_their_own_replays_earn(case, level, hold_s):
    """Levels so close that many go the same path: of any rule, also with clips, both directions and wallets that run dry."""
    assume(case.tape.end_ns > case.tape.start_ns)
    of = case.rule._replace(entry=0.01, exit=0.0, max_hold_ns=seconds(hold_s), may_enter=True)
    steps = [of._replace(**{level: x}) for x in np.linspace(-0.005, 0.02, 41)]
    assert_swept_as_run(case.tape, steps[::-1], case.latency, funds=case.funds)


@given(families(), st.data())
def test_a_look_back_counts_the_pairs_entered_before_its_end_and_closed_on_it(family, data):
    """Equity marked once a period, against the replay of what is known."""
    tape, of, latency = family
    until_ns = data.draw(st.integers(tape.start_ns + 1, tape.end_ns + TENTH))
    thin = thinned(tape, tape.start_ns, until_ns, data.draw(st.sampled_from((0.1, 1.0, 5.0))))
    swept = sweep(tape, of, latency, marked=thin, span=(tape.start_ns, until_ns))
    for k, each in enumerate(of):
        whole = run(tape, each, latency)
        closed = {c.pair for c in whole.closings if c.reason != END}
        kept = whole.only(closed & {pair for pair, at_ns in whole.entered.items() if at_ns < until_ns})
        kept = dataclasses.replace(kept, open_at_end=False, start_ns=tape.start_ns, end_ns=until_ns)
        assert repr(swept.performance(k)) == repr(measure(thin, kept))


@settings(max_examples=30)
@given(families(), st.sampled_from((0.1, 1.0, 5.0)))
def test_marked_nets_are_those_of_the_replays_also_over_periods_without_a_row(family, period_s):
    tape, of, latency = family
    assume(tape.end_ns > tape.start_ns)
    thin = thinned(tape, tape.start_ns, tape.end_ns, period_s)
    nets = np.diff(sweep(tape, of, latency, marked=thin).nets, prepend=0.0)
    for row, each in zip(nets, of, strict=True):
        np.testing.assert_array_equal(
            row, period_nets(tape, run(tape, each, latency), tape.start_ns, tape.end_ns, period_s)
        )


def test_a_pair_of_more_fills_than_there_is_room_for_is_swept_again_with_more(lunc, monkeypatch):
    of = [busy(lunc, share=s, max_hold_s=60.0, **LUNC_RULES) for s in (0.01, 0.05)]
    monkeypatch.setattr(sweep_module, "FILLS", 1)
    assert_swept_as_run(lunc, of, Latency(0.1, 0.15))


def test_threads_share_the_sets_and_change_no_figure(lunc):
    of = [busy(lunc, share=s, max_hold_s=h, **LUNC_RULES) for s in np.linspace(0.001, 0.3, 200) for h in (5.0, 60.0)]
    one, three = (sweep(lunc, of, Latency(0.1, 0.15), threads=threads).figures for threads in (1, 3))
    assert one.tobytes() == three.tobytes()


def test_a_sweep_on_the_real_lunc_quotes(lunc):
    of = [busy(lunc, share=s, max_hold_s=h, **LUNC_RULES) for s in (0.01, 0.05, 0.25) for h in (5.0, 600.0, 7200.0)]
    assert_swept_as_run(lunc, of, Latency(0.1, 0.15))


def test_a_hole_of_the_funding_table_ends_the_sweep_as_it_ends_the_replay():
    stamps = [FundingPayment(seconds(s), 1e-4, 100.0, True) for s in (-20, 0, 20, 40, 80, 100, 120)]
    tape = Tape.of([spot(0, 99.5, 100), perp(0, 101, 101.5), spot(99.9, 99.5, 100), perp(100, *QUIET)])
    with pytest.raises(DataError, match="missing between 1970-01-01 00:00:40"):
        sweep(tape, [rule(entry=0.02), rule(max_hold_s=900)], FIFTH, stamps)
    assert sweep(tape, [rule(entry=0.02)], FIFTH, stamps).figures["trades"][0] == 0  # no hold, no hole


def test_compiled_code_is_handed_every_field_of_a_rule():
    """A field that is new in `MachineRule` too: none may fall back to its default on the way."""

    def plain(value):
        return tuple(map(plain, value)) if isinstance(value, tuple) else value

    given = rule(entry=0.03, filter=OFF._replace(mean=0.25), perp=leg_rule(leverage=3.0), max_position_usdt=7.0)
    record = records([given])
    assert record.dtype.names == given._fields and record["perp"].dtype.names == given.perp._fields
    assert record[0].item() == plain(given)


def test_a_set_and_an_event_cost_what_is_promised():
    tape = tiled(quotes_from([]), 5000)
    held = sum(looks(tape, OFF)[k].nbytes for k in (1, 2)) + sum(a.nbytes for a in sweep_module._marks(tape, tape)[-2:])
    assert held / len(tape) < 2.7  # 10 extremes of 8 bytes for every 32 events, and 14 for every 1,024
    assert FIGURES.itemsize + 5 * 8 <= 200
