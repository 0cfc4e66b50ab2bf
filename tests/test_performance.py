"""Equity, drawdown and rates on examples small enough for paper, and the money identity at every event."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SECOND, Case, basis_tape, cases, leg_rule, ou_path, perp, rates, rule, seconds, spot

from delta_arb.backtest import performance
from delta_arb.backtest.performance import drawdown, equity, measure, profit_factor, underwater
from delta_arb.backtest.replay import Backtest, run
from delta_arb.errors import DataError
from delta_arb.latency import Latency
from delta_arb.market import END, PERP, SPOT, TARGET, TIMEOUT, UNWOUND, Fill, FundingPayment
from delta_arb.optimize.study import Constraints
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.ledger import PARTS, Closing, attribution, settle_all

DAY = 86_400


def done(quotes, payments=(), **changes):
    """The tape and its plain replay, with fees of 10 bps on spot and 5 bps on the perpetual."""
    tape = Tape.of(quotes)
    fees = {"spot": leg_rule(fee=0.001), "perp": leg_rule(fee=0.0005)}
    return tape, run(tape, rule(**fees | changes), Latency(0.2, 0.2), payments, plain=True)


@pytest.fixture
def round_trip():
    """In at 0.2 s for 100 and 101, spot falls and comes back, out at 3.2 s for 99.5 and 99.5; ten coins."""
    return done([
        spot(0, 99.5, 100), perp(0, 101, 101.5),
        spot(1, 99.5, 100), perp(1, 100.5, 101),
        spot(2, 98, 98.5), perp(2, 100.5, 101),
        spot(3, 99.5, 100), perp(3, 99, 99.5),
        spot(4, 99.5, 100), perp(4, 99, 99.5),
    ])  # fmt: skip


IN_FEES = 0.001 * 1000 + 0.0005 * 1010  # 1.505
OUT_FEES = 0.001 * 995 + 0.0005 * 995  # 1.4925


# --- The curve -------------------------------------------------------------------------------------------------------


def test_equity_is_marked_at_the_exit_side_of_both_legs(round_trip):
    """At second 1, for instance, the spot coins are worth their bid of 99.5 and the short costs its ask of 101."""
    curve = equity(*round_trip)
    assert curve.ts_ns.tolist() == [seconds(s) for s in range(5)]
    assert curve.spot == pytest.approx([0, -5, -20, -5, -5])
    assert curve.perp == pytest.approx([0, 0, 0, 15, 15])
    assert curve.fees == pytest.approx([0, IN_FEES, IN_FEES, IN_FEES, IN_FEES + OUT_FEES])
    assert curve.net == pytest.approx([0, -6.505, -21.505, 8.495, 7.0025])


def test_the_last_value_of_the_curve_is_the_sum_of_the_trades(round_trip):
    tape, result = round_trip
    assert result.net_usdt == pytest.approx(5 * -1 + 15 - IN_FEES - OUT_FEES) == pytest.approx(7.0025)
    assert equity(tape, result).net[-1] == pytest.approx(result.net_usdt)


def test_slippage_is_against_the_touch_and_not_against_the_tick_below_the_limit():
    """Asks of 100.5 and bids of 101.5 that stay: the limits of 102.51 and 99.47 are on a tick of 0.5 at 102.5 and 99.5."""
    legs = {"spot": leg_rule(tick=0.5), "perp": leg_rule(tick=0.5)}
    quotes = [spot(0, 100.0, 100.5), perp(0, 101.5, 102.0), spot(1, 100.0, 100.5), perp(1, 101.5, 102.0)]
    tape = Tape.of(quotes)
    still = run(tape, rule(entry=0.005, exit=-1.0, **legs), Latency(0.2, 0.2), plain=True)
    assert [order.limit for order in still.sent] == [102.5, 99.5]
    assert performance.slippage_bps(tape, still) == 0.0
    moved = Tape.of([*quotes[:2], spot(0.1, 100.5, 101.0), *quotes[2:]])
    dearer = run(moved, rule(entry=0.005, exit=-1.0, **legs), Latency(0.2, 0.2), plain=True)
    assert performance.slippage_bps(moved, dearer) == pytest.approx(0.5 * 1e4 * 0.5 / 100.5)  # of two fills one


def test_drawdown_includes_the_loss_of_an_open_position_mistake_22(round_trip):
    """The only trade won 7.0025, so drawdown of closed trades is zero; on the way the account was 21.505 down."""
    p = measure(*round_trip)
    assert p.capital_usdt == 2000.0  # two clips
    assert p.drawdown == pytest.approx(21.505 / 2000)
    assert p.drawdown_s == 3.0  # from second 0 to the new high at second 3
    assert p.win_rate == 1.0


def test_the_drawdown_in_usdt_and_with_the_fees_of_leaving(round_trip):
    """21.505 down at second 2, where leaving ten coins at 98 and 101 would cost 0.1 and 0.05 % on top."""
    curve = equity(*round_trip)
    assert performance.largest_fall(curve.net) == pytest.approx(21.505)
    assert curve.leaving[2] == pytest.approx(0.98 + 0.505) and curve.leaving[-1] == 0.0
    assert performance.largest_fall(curve.net_if_left) == pytest.approx(21.505 + 1.485)


def test_an_open_position_at_the_end_is_closed_at_its_exit_side_and_counted():
    tape, result = done([spot(0, 99.5, 100), perp(0, 101, 101.5), spot(1, 98, 98.5), perp(1, 100.5, 101)])
    p = measure(tape, result)
    assert (p.trades, p.censored, p.ended, p.open_at_end) == (1, 1, 0, True)
    assert (p.hit_rate, p.win_rate, p.timeout_share, p.median_hold_s) == (None,) * 4 and p.longest_hold_s > 0
    assert p.net_usdt == pytest.approx(-20 + 0 - IN_FEES - 0.001 * 980 - 0.0005 * 1010)
    assert equity(tape, result).net[-1] == pytest.approx(p.net_usdt)


def test_funding_is_on_the_curve_from_its_stamp_on_mistake_21():
    """Ten coins short at a mark of 100 and a rate of 10 bps receive one dollar at second 2."""
    quotes = [spot(s, 99.5, 100) for s in range(5)] + [perp(s, 101, 101.5) for s in range(5)]
    stamps = [FundingPayment(seconds(s), 0.001, 100.0, True) for s in (-2, 2, 6)]
    curve = equity(*done(sorted(quotes), stamps))
    at = curve.ts_ns.searchsorted([seconds(s) for s in range(5)], side="right") - 1
    assert curve.funding[at] == pytest.approx([0, 0, 1, 1, 1])


# --- By day ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def over_midnight():
    """The round trip, begun two and a half seconds before midnight: out on the second day."""
    start = DAY - 2.5
    return done([
        spot(start, 99.5, 100), perp(start, 101, 101.5),
        spot(start + 2, 98, 98.5), perp(start + 2, 100.5, 101),
        spot(start + 3, 99.5, 100), perp(start + 3, 99, 99.5),
        spot(start + 4, 99.5, 100), perp(start + 4, 99, 99.5),
    ])  # fmt: skip


def test_a_day_has_the_change_of_the_marked_value_not_the_trades_closed_in_it(over_midnight):
    table = equity(*over_midnight).daily()
    assert [str(day.date()) for day in table.index] == ["1970-01-01", "1970-01-02"]
    assert table["spot"].tolist() == pytest.approx([-20, 15])
    assert table["perp"].tolist() == pytest.approx([0, 15])
    assert table["fees"].tolist() == pytest.approx([-IN_FEES, -OUT_FEES])
    assert table["net"].tolist() == pytest.approx([-21.505, 28.5075])


def test_a_row_at_midnight_belongs_to_the_new_day():
    """Held over midnight, and spot falls by two dollars in the row at midnight sharp."""
    tape, result = done([
        spot(DAY - 3, 99.5, 100), perp(DAY - 3, 101, 101.5),
        spot(DAY - 1, 99.5, 100), perp(DAY - 1, 101, 101.5),
        spot(DAY, 97.5, 98), perp(DAY + 1, 101, 101.5),
    ])  # fmt: skip
    assert equity(tape, result).daily()["spot"].tolist() == pytest.approx([-5, -20])


def test_a_day_without_events_has_no_change(over_midnight):
    tape, result = over_midnight
    curve = equity(tape, result)
    held = (np.append(getattr(curve, part), getattr(curve, part)[-1]) for part in PARTS)
    late = performance.Equity(np.append(curve.ts_ns, seconds(3.5 * DAY)), *held)
    table = late.daily()
    assert len(table) == 4
    assert table["net"].tolist() == pytest.approx([-21.505, 28.5075, 0, 0])


# --- Any tape --------------------------------------------------------------------------------------------------------


@st.composite
def funded(draw):
    """A case with a funding stamp every two seconds."""
    case = draw(cases)
    end_s = case.quotes[-1][0] // SECOND
    return case, [FundingPayment(seconds(s), draw(rates), 100.0, True) for s in range(-2, end_s + 4, 2)]


def by_hand(case: Case, result: Backtest, ts_ns: int) -> dict[str, float]:
    """The parts of the marked equity at a moment, summed fill by fill."""
    row = int(case.tape.ts_ns.searchsorted(ts_ns, side="right")) - 1
    parts = dict.fromkeys(PARTS, 0.0)
    closings = {c.pair: c for c in result.closings if c.ts_ns <= ts_ns}
    for pair in {f.pair for f in result.fills}:
        for name, leg in (("spot", SPOT), ("perp", PERP)):
            fills = [f for f in result.fills if (f.pair, f.leg) == (pair, leg) and f.ts_ns <= ts_ns]
            held = sum(f.qty for f in fills)
            parts[name] -= sum(f.qty * f.price for f in fills)
            parts["fees"] += sum(f.fee_usdt for f in fills)
            if pair in closings:
                mark = closings[pair].spot_mark if leg == SPOT else closings[pair].perp_mark
                parts["residual"] += held * mark
            else:
                side = getattr(case.tape, f"{name}_{'bid' if held >= 0 else 'ask'}")
                parts[name] += held * side[row]
        perp_fills = [f for f in result.fills if (f.pair, f.leg) == (pair, PERP)]
        for p in result.payments:
            if p.ts_ns <= ts_ns and any(f.ts_ns >= p.ts_ns for f in perp_fills):
                parts["funding"] -= p.rate * p.mark * sum(f.qty for f in perp_fills if f.ts_ns < p.ts_ns)
    return parts


@given(funded())
def test_the_parts_of_the_curve_are_right_at_every_event_and_sum_to_the_trades(case_and_stamps):
    case, stamps = case_and_stamps
    result = run(case.tape, case.rule, case.latency, stamps)
    curve = equity(case.tape, result)
    assert curve.net[-1] == pytest.approx(result.net_usdt, abs=1e-6)
    assert curve.ts_ns.tolist() == sorted(set(case.tape.ts_ns.tolist()))  # of several rows of one instant, the last
    for k in range(len(curve.ts_ns)):
        parts = by_hand(case, result, int(curve.ts_ns[k]))
        assert {p: getattr(curve, p)[k] for p in PARTS} == pytest.approx(parts, abs=1e-6)


@given(funded())
def test_days_and_trades_attribute_the_same_money_lesson_11(case_and_stamps):
    case, stamps = case_and_stamps
    result = run(case.tape, case.rule, case.latency, stamps)
    parts = attribution(result.trades)
    assert sum(parts[p] for p in PARTS) == pytest.approx(parts["net"], abs=1e-6)
    daily = equity(case.tape, result).daily()
    assert daily["net"].sum() == pytest.approx(result.net_usdt, abs=1e-6)
    for part in ("fees", "funding"):
        assert daily[part].sum() == pytest.approx(parts[part], abs=1e-6)
    # What was marked while held is realized in the end: the rest is the same, whichever leg it came from.
    assert daily[["spot", "perp", "residual"]].sum().sum() == pytest.approx(
        parts["spot"] + parts["perp"] + parts["residual"], abs=1e-6
    )


# --- The rates -------------------------------------------------------------------------------------------------------


def closed(pair, opened_s, held_s, reason, net):
    """Two fills of one spot trade that earned `net` on a notional of 1000 USDT, and its end."""
    out = opened_s + held_s
    fills = [
        Fill(pair, seconds(opened_s), SPOT, 10.0, 100.0, 0.0),
        Fill(pair, seconds(out), SPOT, -10.0, 100.0 + net / 10, 0.0),
    ]
    return fills, Closing(pair, seconds(out), reason, 100.0, 100.0)


@pytest.fixture
def day_of_three():
    """One day: a target that won 7, a time-out that lost 3, an unwound entry that lost 1; one entry was missed."""
    trades = [closed(1, 10, 10, TARGET, 7), closed(2, 100, 30, TIMEOUT, -3), closed(3, 200, 2, UNWOUND, -1)]
    fills = [f for pair, _ in trades for f in pair]
    closings = [c for _, c in trades] + [Closing(4, seconds(300), UNWOUND, 100.0, 100.0)]
    tape = Tape.of([spot(0, 100, 101), perp(0, 100, 101), spot(DAY, 100, 101)])
    result = Backtest(
        trades=settle_all(fills, closings, ()), sent=(), fills=tuple(fills), closings=tuple(closings), payments=(),
        missed=1, halted=False, open_at_end=False, start_ns=tape.start_ns, end_ns=tape.end_ns, rule=rule(),
    )  # fmt: skip
    return tape, result


def test_three_rates_by_name(day_of_three):
    p = measure(*day_of_three)
    assert (p.trades, p.trades_day, p.days, p.missed) == (3, 3.0, 1.0, 1)
    assert p.hit_rate == p.win_rate == p.timeout_share == p.unwound_share == pytest.approx(1 / 3)
    assert p.net_usdt == p.net_usdt_day == pytest.approx(3.0)
    assert p.return_day == pytest.approx(3 / 2000)
    assert p.mean_net_bps == pytest.approx(10.0)  # 3 on a notional of 3000
    assert (p.median_hold_s, p.longest_hold_s) == (10.0, 30.0)
    assert p.profit_factor == pytest.approx(7 / 4)


def test_a_pair_that_the_data_cut_off_is_in_the_money_and_in_no_rate(day_of_three):
    """After a target (10 s), a time-out (30 s) and an unwound entry (2 s) a fourth pair is still open when the data end."""
    tape, three = day_of_three
    fills, closing = closed(5, 400, 50, END, -2)
    both = {"fills": (*three.fills, *fills), "closings": (*three.closings, closing)}
    result = replace(three, trades=settle_all(both["fills"], both["closings"], ()), open_at_end=True, **both)
    p = measure(tape, result)
    assert (p.trades, p.censored, p.ended, p.hits) == (4, 1, 3, 1)
    assert p.hit_rate == p.win_rate == p.timeout_share == p.unwound_share == pytest.approx(1 / 3)
    assert p.net_usdt == pytest.approx(3.0 - 2.0)
    assert (p.median_hold_s, p.longest_hold_s) == (10.0, 50.0)


def one_sd(tape: Tape, max_hold_s: float, latency_s: float = 0.1):
    """Entered at one sd of 10 bps and left at minus one, both on quotes 2 bps wide; figures and trades."""
    levels = rule(entry=9e-4, exit=-9e-4, max_hold_s=max_hold_s, spot=leg_rule(fee=5e-4), perp=leg_rule(fee=5e-4))
    result = run(tape, levels, Latency(latency_s, latency_s))
    return measure(tape, result), result


def next_tick(basis: np.ndarray) -> float:
    """What was once called a hit rate: the next tick at the exit level, given this one at the entry level, any sign."""
    at_entry = np.abs(basis[:-1]) >= 1
    return float(np.mean(np.abs(basis[1:][at_entry]) <= 0.25))


def test_the_hit_rate_is_of_trades_and_as_often_as_the_process_gets_there_mistake_7():
    """Ten minutes of half-life, half an hour of patience: paths of the same process, started where it enters, say how
    often minus one sd is reached in time. The next tick knows nothing of it: it never is there."""
    basis = ou_path(500_000, 600)
    found, _ = one_sd(basis_tape(10 * basis), max_hold_s=1800.0)
    phi, x = 0.5 ** (1 / 600), np.full(5000, 1.0)
    reached, draw = np.zeros(5000, bool), np.random.default_rng(1)
    for _ in range(1800):
        x = phi * x + (1 - phi * phi) ** 0.5 * draw.standard_normal(5000)
        reached |= x <= -1
    rate = reached.mean()
    assert 0.2 < rate < 0.8 and found.trades > 100
    assert found.hit_rate == pytest.approx(rate, abs=3 * (rate * (1 - rate) / found.trades) ** 0.5)
    assert found.hit_rate + found.timeout_share == pytest.approx(1.0)
    assert next_tick(basis) < 0.01


def test_white_noise_reaches_every_target_and_loses_all_the_same_mistake_7():
    """Filled one quote later, at a price that has nothing to do with the signal: four fees and the width are lost."""
    basis = ou_path(20_000, 0)
    found, result = one_sd(basis_tape(10 * basis), max_hold_s=600.0, latency_s=1.0)
    assert found.hit_rate > 0.99 and found.timeout_share == 0.0
    nets_bps = [1e4 * t.net_usdt / t.notional_usdt for t in result.trades]
    assert np.mean(nets_bps) == pytest.approx(-22.0, abs=4 * np.std(nets_bps) / len(nets_bps) ** 0.5)
    assert 0.1 < next_tick(basis) < 0.3
    assert any("is not above zero" in miss for miss in Constraints().failures(found))


@pytest.mark.parametrize("step_s", [0.5, 5.0, 25.0])
def test_trades_a_day_are_trades_and_not_rows_mistake_8(step_s):
    """Four hours of six waves each, half of the time above the level: 24 trades, 144 a day, however often we look."""
    at_s = np.arange(0.0, 4 * 3600.0, step_s)
    tape = basis_tape(np.where(at_s % 600 < 300, 50.0, -50.0), step_s)
    found, _ = one_sd(tape, max_hold_s=3600.0)
    assert found.trades == 24
    assert found.trades_day == pytest.approx(144.0, rel=0.002)  # the last look is one step before the end
    assert np.mean(tape.perp_bid > tape.spot_ask) == pytest.approx(0.5, abs=0.001)  # of the rows


def test_money_is_summed_and_not_percents_mistake_22():
    """10 % on 10 USDT and -1 % on 1000: the percents sum to plus nine, the money to minus nine."""
    fills = [
        Fill(1, seconds(10), SPOT, 10.0, 1.0, 0.0),
        Fill(1, seconds(15), SPOT, -10.0, 1.1, 0.0),
        Fill(2, seconds(20), SPOT, 10.0, 100.0, 0.0),
        Fill(2, seconds(25), SPOT, -10.0, 99.0, 0.0),
    ]
    closings = [Closing(1, seconds(15), TARGET, 100.0, 100.0), Closing(2, seconds(25), TARGET, 100.0, 100.0)]
    tape = Tape.of([spot(0, 100, 101), perp(0, 100, 101), spot(DAY, 100, 101)])
    result = Backtest(
        trades=settle_all(fills, closings, ()), sent=(), fills=tuple(fills), closings=tuple(closings), payments=(),
        missed=0, halted=False, open_at_end=False, start_ns=tape.start_ns, end_ns=tape.end_ns, rule=rule(),
    )  # fmt: skip
    found = measure(tape, result)
    assert [t.net_usdt / t.notional_usdt for t in result.trades] == pytest.approx([0.1, -0.01])
    assert found.net_usdt == pytest.approx(-9.0)
    assert found.mean_net_bps == pytest.approx(1e4 * -9.0 / 1010.0)
    assert found.return_day == pytest.approx(-9.0 / 2000.0)


def test_capital_is_the_spot_bought_and_as_much_margin_mistake_21():
    """One clip of 250 USDT takes 500: a day's return is on both legs, not on the spot notional alone."""
    tape, result = done([spot(0, 99.5, 100), perp(0, 101, 101.5), spot(3, 99.5, 100), perp(3, 99, 99.5),
                         spot(4, 99.5, 100), perp(4, 99, 99.5)], clip_usdt=250.0)  # fmt: skip
    found = measure(tape, result)
    assert (found.trades, found.capital_usdt) == (1, 500.0)
    net = 2.5 * (-0.5 + 1.5) - (IN_FEES + OUT_FEES) / 4
    assert found.return_day == pytest.approx(net / (4 / DAY) / 500.0)


def test_winning_is_not_reaching_the_target(round_trip):
    """A time-out may win and a target may lose its fees: the rates are not one another's complement."""
    tape, result = done([spot(0, 99.5, 100), perp(0, 101, 101.5), spot(3, 99.5, 100), perp(3, 99.8, 100.3),
                         spot(4, 100.5, 101), perp(4, 99.8, 100.3)], max_hold_s=3.0, exit=-1)  # fmt: skip
    p = measure(tape, result)
    assert (p.hit_rate, p.timeout_share) == (0.0, 1.0)
    assert measure(*round_trip).hit_rate == 1.0


def test_without_losses_the_profit_factor_is_none_and_no_large_number():
    assert profit_factor([7.0, 1.0]) is None
    assert profit_factor([]) is None
    assert profit_factor([0.0]) is None
    assert profit_factor([-2.0]) == 0.0
    assert profit_factor([3.0, -2.0]) == 1.5


def test_nothing_is_said_about_the_rates_of_no_trades():
    tape = Tape.of([spot(0, 100, 101), perp(0, 100, 101), spot(5, 100, 101), perp(60, 100, 101)])
    p = measure(tape, run(tape, rule(), Latency(0.1, 0.1), plain=True))
    assert (p.trades, p.trades_day, p.net_usdt, p.drawdown, p.drawdown_s) == (0, 0.0, 0.0, 0.0, 0.0)
    rates = (p.hit_rate, p.win_rate, p.timeout_share, p.unwound_share, p.mean_net_bps, p.median_hold_s, p.profit_factor)
    assert rates == (None,) * 7


def test_a_tape_that_lasts_no_time_has_no_rates():
    tape = Tape.of([spot(0, 100, 101), perp(0, 100, 101)])
    with pytest.raises(DataError, match="choose a longer time range"):
        measure(tape, run(tape, rule(), Latency(0.1, 0.1), plain=True))


# --- Drawdown --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stamps", "values", "fall", "lasted"),
    [
        ([0, 1, 2, 3], [100, 110, 99, 110], 0.1, 2),  # back at the peak counts as back
        ([0, 1, 2, 9], [100, 90, 95, 99], 0.1, 9),  # not back at the end
        ([0, 1, 50, 60], [100, 100, 100, 100], 0.0, 0),  # a flat curve is not below its peak
        ([0, 1, 2, 60], [100, 101, 102, 103], 0.0, 0),
        ([0, 5, 6, 30, 31], [100, 80, 200, 150, 200], 0.25, 25),  # fall of the peak then, not of the first value
        ([7], [100], 0.0, 0),
    ],
)
def test_drawdown_by_hand_mistake_22(stamps, values, fall, lasted):
    assert drawdown(np.array(stamps) * SECOND, np.array(values, float)) == (pytest.approx(fall), lasted)


def test_underwater_is_the_fall_at_every_event():
    assert underwater(np.array([100.0, 80.0, 200.0, 150.0])).tolist() == pytest.approx([0, -0.2, 0, -0.25])


@given(st.lists(st.tuples(st.integers(0, 100), st.floats(50, 200)), min_size=1, max_size=30))
def test_drawdown_is_that_of_every_pair_of_events(rows):
    times = np.cumsum([gap for gap, _ in rows]) * SECOND
    values = np.array([value for _, value in rows])
    fall = max((values[i] - values[j]) / values[i] for i in range(len(rows)) for j in range(i, len(rows)))
    assert drawdown(times, values)[0] == pytest.approx(max(fall, 0.0))
    below = 0
    for i in range(len(rows)):  # from each event, how long until the curve is back at its value
        if i + 1 < len(rows) and values[i] == values[: i + 1].max() and values[i + 1] < values[i]:
            back = next((j for j in range(i + 1, len(rows)) if values[j] >= values[i]), len(rows) - 1)
            below = max(below, times[back] - times[i])
    assert drawdown(times, values)[1] == pytest.approx(below / SECOND)
