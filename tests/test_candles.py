"""Candles as a tape: by hand, never at the close that called for it, outages and bars without a trade untraded."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import rule

from delta_arb import tables
from delta_arb.backtest.performance import equity
from delta_arb.backtest.replay import run
from delta_arb.errors import DataError, ParamsError
from delta_arb.latency import Latency
from delta_arb.market import NS, PERP, SPOT
from delta_arb.optimize.study import market
from delta_arb.params import Rule
from delta_arb.quotes import candles
from delta_arb.quotes.candles import Stated
from delta_arb.quotes.files import LegFile
from delta_arb.quotes.inputs import Inputs
from delta_arb.report import figures
from delta_arb.report.banner import mark_pills
from delta_arb.stats.basis import basis_of

MINUTE = 60 * NS
START = 1_700_000_040 * NS  # a whole minute
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
TENTH = Latency(0.1, 0.1)
real = pytest.mark.skipif(not DATA.is_dir(), reason="the recorded candles are not here")


def bars(path: Path, rows, *, start=START, step=MINUTE) -> LegFile:
    """A file of bars `(minute, open, close, volume)`; high and low hold both."""
    k, opens, closes, volumes = zip(*rows)
    columns = {
        "timestamp": pa.array([start + int(i * step) for i in k], pa.timestamp("ns", "UTC")),
        "open": opens,
        "high": [max(o, c) for o, c in zip(opens, closes)],
        "low": [min(o, c) for o, c in zip(opens, closes)],
        "close": closes,
        "volume": volumes,
    }
    floats = {name: c if name == "timestamp" else pa.array(c, pa.float64()) for name, c in columns.items()}
    pq.write_table(pa.table(floats), path)
    return LegFile(path, "updates")


def tape_of(folder: Path, spot, perp, **stated):
    stated = Stated(**{"spot_half_spread_bps": 10.0, "perp_half_spread_bps": 20.0, "share": 1.0} | stated)
    legs = bars(folder / "spot.parquet", spot), bars(folder / "perp.parquet", perp)
    return candles.read(*legs, stated, max_bad_share=1.0)


def inputs_of(folder: Path, **changes) -> Inputs:
    given_ = {
        "spot": str(folder / "spot.parquet"), "perp": str(folder / "perp.parquet"), "funding": "none", "pair": "X_USDT",
        "contract_size": 1.0, "spot_half_spread_bps": 10.0, "perp_half_spread_bps": 20.0, "bar_share": 1.0,
    }  # fmt: skip
    return Inputs(**given_ | changes)


FLAT = [(k, 100.0, 100.0, 60.0) for k in range(6)]


# --- The convention, by hand -----------------------------------------------------------------------------------------


def test_a_close_is_known_at_the_end_of_its_bar_and_the_next_open_stands_behind_it(tmp_path):
    spot = [(0, 100.0, 101.0, 60.0), (1, 102.0, 103.0, 30.0)]
    perp = [(0, 200.0, 201.0, 6.0), (1, 202.0, 203.0, 3.0)]
    tape = tape_of(tmp_path, spot, perp)
    # both legs: the close at the end of bar 0, 1 ns later the open of bar 1, the close of bar 1, and nothing after it
    first, last = START + MINUTE, START + 2 * MINUTE
    assert tape.ts_ns.tolist() == [first, first + 1, first + 1, last, last, last + 1, last + 1]
    assert tape.spot_bid.tolist() == pytest.approx([101 * 0.999, 102 * 0.999, 102 * 0.999] + [103 * 0.999] * 4)
    assert tape.spot_ask.tolist() == pytest.approx([101 * 1.001, 102 * 1.001, 102 * 1.001] + [103 * 1.001] * 4)
    assert tape.perp_bid[[0, 2, 4]].tolist() == pytest.approx([201 * 0.998, 202 * 0.998, 203 * 0.998])
    assert tape.spot_ask_qty.tolist() == [60, 60, 60, 30, 30, 0, 0]  # the share of a minute's volume; then withdrawn
    assert tape.perp_bid_qty.tolist() == [6, 6, 6, 6, 3, 3, 0]
    assert tape.spot_age_ns[[0, 1, 3]].tolist() == [0, MINUTE + 1, 0]  # an open is too old to decide on
    assert tape.bar_s == 60.0


def test_sizes_are_of_a_mean_minute_and_contracts_become_base_units(tmp_path):
    spot, perp = (bars(tmp_path / f"{leg}.parquet", FLAT, step=5 * MINUTE) for leg in ("spot", "perp"))
    perp = LegFile(perp.path, "updates", contract_size=0.1)
    tape = candles.read(spot, perp, Stated(1.0, 1.0, share=0.02))
    assert tape.spot_ask_qty[0] == pytest.approx(0.02 * 60 / 5)  # 2 % of a fifth of the bar's 60
    assert tape.perp_bid_qty[0] == pytest.approx(0.02 * 60 / 5 * 0.1)


def test_an_order_fills_at_the_next_open_and_never_at_the_close_that_called_for_it(tmp_path):
    spot = [(0, 100.0, 100.0, 60.0), (1, 100.5, 100.0, 60.0), (2, 99.0, 99.0, 60.0), (3, 98.0, 98.0, 60.0)]
    perp = [(0, 102.0, 102.0, 60.0), (1, 101.0, 99.0, 60.0), (2, 99.5, 99.0, 60.0), (3, 98.0, 98.0, 60.0)]
    tape = tape_of(tmp_path, spot, perp, spot_half_spread_bps=1.0, perp_half_spread_bps=1.0)
    fills = run(tape, rule(entry=0.015, exit=-0.005, price_bound=0.05, max_hold_s=1e4), TENTH, plain=True).fills
    # entered on the closes 100 and 102 (an edge of 2 %), filled at the opens 100.5 and 101; left on 100 and 99, at 99
    # and 99.5
    assert [(f.leg, f.price) for f in fills] == [
        (SPOT, pytest.approx(100.5 * 1.0001)),
        (PERP, pytest.approx(101.0 * 0.9999)),
        (SPOT, pytest.approx(99.0 * 0.9999)),
        (PERP, pytest.approx(99.5 * 1.0001)),
    ]
    assert [f.ts_ns - START for f in fills] == [MINUTE + NS // 10] * 2 + [2 * MINUTE + NS // 10] * 2


def test_a_round_trip_at_one_price_costs_exactly_the_four_half_spreads_and_fees(tmp_path):
    tape = tape_of(tmp_path, FLAT, [(k, 100.0, 100.0, 60.0) for k in range(6)])
    of = rule(entry=-0.004, exit=0.004, clip_usdt=100.1, price_bound=0.05, max_hold_s=1e4)
    trade = run(tape, of, TENTH, plain=True).trades[0]
    # one unit: bought at 100.1 and sold at 99.9, sold at 99.8 and bought back at 100.2
    assert trade.qty == pytest.approx(1.0)
    assert trade.net_usdt == pytest.approx(-(0.1 + 0.1 + 0.2 + 0.2))


def test_a_crash_of_both_legs_is_no_drawdown_between_the_two_rows_of_one_moment(tmp_path):
    prices = [100.0, 100.0, 80.0, 80.0, 80.0]  # both legs lose a fifth from the second hour to the third
    rows = [(k, price, price, 60.0) for k, price in enumerate(prices)]
    tape = tape_of(tmp_path, rows, rows, spot_half_spread_bps=1e-9, perp_half_spread_bps=1e-9)
    result = run(
        tape, rule(entry=-0.004, exit=-0.5, clip_usdt=100.0, price_bound=0.5, max_hold_s=1e4), TENTH, plain=True
    )
    assert len(result.trades) == 1
    curve = equity(tape, result)
    assert curve.net.min() == pytest.approx(0.0, abs=1e-6)


# --- What is not tradable --------------------------------------------------------------------------------------------


def test_a_bar_without_a_trade_decides_nothing_and_fills_nothing(tmp_path):
    spot = [(0, 100.0, 100.0, 60.0), (1, 100.0, 100.0, 0.0), (2, 100.0, 100.0, 60.0), (3, 100.0, 100.0, 60.0)]
    tape = tape_of(tmp_path, spot, FLAT)
    # ends of bars 1 to 4: spot has no close at the second, and nothing to fill 1 ns behind the first
    ends = [START + k * MINUTE for k in (1, 2, 3, 4)]
    spot_rows = {int(t): q for t, leg, q in zip(tape.ts_ns, tape.leg, tape.spot_ask_qty) if leg == SPOT}
    assert spot_rows == {ends[0] + 1: 0, ends[1] + 1: 60, ends[2]: 60, ends[2] + 1: 60, ends[3]: 60, ends[3] + 1: 0}
    quality = tape.quality
    assert (quality.spot.untraded, quality.spot.used, quality.spot.stale_share) == (1, 3, 0.25)


def test_an_outage_of_one_venue_leaves_its_book_withdrawn_until_it_is_back(tmp_path):
    spot = [(k, 100.0, 100.0, 60.0) for k in (0, 1, 5, 6)]
    perp = [(k, 103.0, 103.0, 60.0) for k in range(7)]
    tape = tape_of(tmp_path, spot, perp)
    out = (tape.ts_ns > START + 2 * MINUTE) & (tape.ts_ns <= START + 5 * MINUTE)
    assert out.any() and (tape.spot_ask_qty[out] == 0).all() and (tape.spot_bid_qty[out] == 0).all()
    sent = run(tape, rule(entry=0.01, exit=-1.0, max_hold_s=60.0, leg_deadline_s=90.0), TENTH, plain=True).sent
    assert sent and not any(START + 2 * MINUTE < order.ts_ns < START + 5 * MINUTE for order in sent)
    assert (tape.quality.spot.missing, tape.quality.spot.longest_outage_s) == (3, 180.0)


def test_an_order_into_an_outage_finds_nothing_and_the_other_leg_is_unwound_at_a_later_end_of_a_bar(tmp_path):
    spot = [(k, 100.0, 100.0, 60.0) for k in (0, 1)] + [(k, 100.0, 100.0, 60.0) for k in (4, 5, 6)]
    perp = [(0, 100.0, 100.0, 60.0)] + [(k, 103.0, 103.0, 60.0) for k in range(1, 7)]
    tape = tape_of(tmp_path, spot, perp)
    result = run(tape, rule(entry=0.01, exit=-1.0, leg_deadline_s=90.0, price_bound=0.0), TENTH, plain=True)
    pair = [(f.leg, f.ts_ns - START) for f in result.fills if f.pair == 1]
    assert pair == [(PERP, 2 * MINUTE + NS // 10), (PERP, 3 * MINUTE + NS // 10)]  # spot was out at its arrival


def test_what_is_decided_at_the_last_end_of_a_bar_is_never_filled(tmp_path):
    tape = tape_of(tmp_path, FLAT[:2], [(0, 100.0, 100.0, 60.0), (1, 100.0, 103.0, 60.0)])
    result = run(tape, rule(entry=0.01, exit=-1.0), TENTH, plain=True)
    assert (len(result.sent), result.fills) == (2, ())  # on the close of 103; the open behind it is not in the file


def history(seed: int, n: int):
    """Bars of two legs at random, with holes and bars without a trade."""
    rng = np.random.default_rng(seed)
    for leg in range(2):
        prices = 100 + leg * 0.5 + rng.normal(0, 1.0, (n, 2))
        volumes = rng.choice([0.0, 60.0, 600.0], n, p=[0.2, 0.4, 0.4])
        volumes[0] = 60.0
        kept = (rng.random(n) > 0.07) | (np.arange(n) < 2)
        yield [(k, *prices[k], volumes[k]) for k in range(n) if kept[k]]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(20, 40), st.integers(3, 19))
def test_bars_that_open_at_t_or_later_change_no_decision_at_or_before_t(tmp_path_factory, seed, n, at):
    folder = tmp_path_factory.mktemp("poison")
    legs = list(history(seed, n))
    poisoned = [[row if row[0] < at else (row[0], 7.0, 9000.0, 1.0) for row in leg] for leg in legs]
    of = rule(entry=0.005, exit=0.0, max_hold_s=300.0, leg_deadline_s=90.0, price_bound=0.05, rearm=0.001)
    t = START + at * MINUTE
    tapes = (tape_of(folder, *both) for both in (legs, poisoned))
    seen = [[o for o in run(tape, of, TENTH, plain=True).sent if o.ts_ns <= t] for tape in tapes]
    assert seen[0] == seen[1]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_no_fill_falls_into_a_bar_without_a_trade_and_none_is_at_a_close(tmp_path_factory, seed):
    legs = list(history(seed, 40))
    tape = tape_of(tmp_path_factory.mktemp("untraded"), *legs, spot_half_spread_bps=1.0, perp_half_spread_bps=1.0)
    of = rule(entry=0.005, exit=0.0, max_hold_s=300.0, leg_deadline_s=90.0, price_bound=0.05)
    result = run(tape, of, TENTH, plain=True)
    opens = [{k: o for k, o, _, volume in leg if volume > 0} for leg in legs]
    for f in result.fills:
        if f.ts_ns == result.end_ns:
            continue  # what was open when the bars ended is valued there
        price = f.price / (1.0001 if f.qty > 0 else 0.9999)
        assert price == pytest.approx(opens[f.leg][(f.ts_ns - START) // MINUTE])


# --- Bars of other lengths, files that are not as they should be -----------------------------------------------------


def test_bars_of_two_lengths_or_offsets_are_refused_unless_aggregated_knowingly(tmp_path):
    spot = bars(tmp_path / "spot.parquet", FLAT)
    hour = bars(tmp_path / "perp.parquet", FLAT, step=5 * MINUTE)
    with pytest.raises(DataError, match=r"bars of 60 s and .* of 300 s; .*--bar-s 300"):
        candles.read(spot, hour, Stated(1.0, 1.0))
    late = bars(tmp_path / "late.parquet", FLAT, start=START + 30 * NS)
    with pytest.raises(DataError, match=r"open 0 s .* 30 s past a multiple of 60 s"):
        candles.read(spot, late, Stated(1.0, 1.0))
    with pytest.raises(DataError, match="cannot be aggregated to 60 s"):
        candles.read(spot, hour, Stated(1.0, 1.0, bar_s=60.0))


def test_aggregation_takes_the_first_open_the_last_close_and_all_volume(tmp_path):
    start = START - START % (3 * MINUTE)
    rows = [(k, 100.0 + k, 100.5 + k, 10.0 * (k + 1)) for k in range(6)]
    legs = (bars(tmp_path / f"{leg}.parquet", rows, start=start) for leg in ("spot", "perp"))
    tape = candles.read(*legs, Stated(1.0, 1.0, share=1.0, bar_s=180.0))
    at_end = tape.between(start + 3 * MINUTE, start + 3 * MINUTE + 1)
    behind = tape.between(start + 3 * MINUTE + 1, start + 3 * MINUTE + 2)
    assert at_end.spot_bid[-1] == pytest.approx(102.5 * 0.9999)  # the close of minute 2, known at its end
    assert at_end.spot_bid_qty[-1] == pytest.approx((10 + 20 + 30) / 3)
    assert behind.spot_bid[-1] == pytest.approx(103.0 * 0.9999)  # the open of minute 3
    assert tape.bar_s == 180.0


def test_an_aggregated_bar_whose_last_part_is_missing_has_no_close(tmp_path):
    start = START - START % (3 * MINUTE)
    rows = [(k, 100.0, 100.0, 10.0) for k in (0, 1, 2, 3, 4, 6, 7, 8)]
    legs = (bars(tmp_path / f"{leg}.parquet", rows, start=start) for leg in ("spot", "perp"))
    tape = candles.read(*legs, Stated(1.0, 1.0, bar_s=180.0))
    assert (start + 6 * MINUTE) not in tape.ts_ns.tolist()
    assert (start + 9 * MINUTE) in tape.ts_ns.tolist()


def test_bad_bars_are_counted_by_kind_and_left_out(tmp_path):
    rows = [(0, 1.0, 1.0, 1.0), (1, 1.0, 1.0, 1.0), (1, 1.0, 1.0, 1.0), (1, 1.0, 2.0, 1.0), (0, 1.0, 1.0, 1.0)]
    rows += [(2, float("nan"), 1.0, 1.0), (3, -1.0, 1.0, 1.0)]
    rows += [(k, 1.0, 1.0, 1.0) for k in (4, 4.5, 5, 6, 7)]
    found = tape_of(tmp_path, rows, FLAT).quality.spot
    counts = {kind: getattr(found, kind) for kind in (*candles.BAD, "duplicate", "missing")}
    assert counts == {
        "out_of_order": 1, "duplicate": 1, "repeated": 1, "non_finite": 1, "nonpositive": 1, "inconsistent": 0,
        "off_grid": 1, "missing": 2,
    }  # fmt: skip
    assert found.bad_share == 5 / 12
    spot, perp = tmp_path / "spot.parquet", tmp_path / "perp.parquet"
    with pytest.raises(DataError, match="5 of 12 bars are bad"):
        candles.read(LegFile(spot, "updates"), LegFile(perp, "updates"), Stated(1.0, 1.0))


def test_candles_without_half_spreads_and_quotes_with_them_are_refused(tmp_path):
    tape_of(tmp_path, FLAT, FLAT)
    with pytest.raises(ParamsError, match=r"holds candles.*--spot-half-spread-bps and --perp-half-spread-bps"):
        inputs_of(tmp_path, spot_half_spread_bps=0.0, perp_half_spread_bps=0.0, bar_share=candles.BAR_SHARE).tape()
    with pytest.raises(ParamsError, match="perp_half_spread_bps must be above 0"):
        inputs_of(tmp_path, perp_half_spread_bps=0.0)
    sample = Inputs()
    with pytest.raises(DataError, match="holds no candles"):
        inputs_of(tmp_path, spot=sample.spot, perp=sample.perp).tape()
    with pytest.raises(ParamsError, match="bar_s and bar_share are for candles"):
        Inputs(bar_s=60.0)
    with pytest.raises(ParamsError, match="neither updates nor snapshots"):
        inputs_of(tmp_path, spot_kind="snapshots").tape()


# --- Marked everywhere -----------------------------------------------------------------------------------------------


def test_titles_headings_and_the_parameter_file_say_candles(tmp_path):
    tape = tape_of(tmp_path, FLAT, FLAT)
    inputs = inputs_of(tmp_path)
    assert "CANDLES" in repr(tables.heading(inputs, tape)) and "CANDLES" in tables.heading(inputs, tape)._repr_html_()
    assert "CANDLES" in figures.marked("A title", inputs)
    data = inputs.data_params(tape, None)
    assert (data.kind, data.spot_half_spread_bps, data.perp_half_spread_bps) == ("candles", 10.0, 20.0)
    assert (data.bar_s, data.bar_share) == (60.0, 1.0)
    assert "CANDLES" in data.mark and "CANDLES" in tape.quality._repr_html_()


def test_the_index_and_the_pages_of_runs_say_candles():
    record = {"candles": True, "synthetic": False}
    assert ">candles</span>" in mark_pills(record) and "synthetic</span>" not in mark_pills(record)
    assert mark_pills({"synthetic": False}) == ""


def test_the_deadline_of_a_missing_leg_is_longer_than_a_bar(tmp_path):
    tape = tape_of(tmp_path, FLAT, FLAT)
    settings_ = Rule(entry_bps=None, exit_bps=None, max_hold_s=600.0, clip_usdt=150.0)
    assert market(inputs_of(tmp_path), tape, settings_).settings.leg_deadline_s == 90.0


def test_a_clip_below_one_contract_is_refused_at_the_door(tmp_path):
    """The lowest ask is 100.1, so a contract of half a unit costs 50.05 USDT."""
    tape = tape_of(tmp_path, FLAT, FLAT)
    settings_ = Rule(entry_bps=None, exit_bps=None, max_hold_s=600.0, clip_usdt=50.0)
    with pytest.raises(ParamsError, match=r"clip_usdt=50 never buys one step of 0.5 .* 50.05 USDT .* raise clip_usdt"):
        market(inputs_of(tmp_path, contract_size=0.5), tape, settings_)
    assert market(inputs_of(tmp_path, contract_size=0.4), tape, settings_).settings.clip_usdt == 50.0


# --- The recorded months ---------------------------------------------------------------------------------------------


def recorded(pair: str, span: str, bar: str = "5m", perp: str = "gateio", **changes) -> Inputs:
    files = {leg: str(DATA / f"{venue}_{leg}_{pair}_candles_{bar}_{span}.parquet") for leg, venue in
             (("spot", "binance"), ("futures", perp))}  # fmt: skip
    given_ = {"funding": "none", "pair": pair, "contract_size": 0.0001, "spot_half_spread_bps": 0.1}
    given_ |= {"spot": files["spot"], "perp": files["futures"], "perp_half_spread_bps": 0.5}
    return Inputs(**given_ | changes)


@real
def test_the_outage_of_2023_03_24_is_withdrawn_and_nothing_is_sent_in_it():
    tape = recorded("BTC_USDT", "2023-01-01_2023-09-22").tape()
    assert (tape.quality.spot.missing, tape.quality.spot.longest_outage_s) == (16, 4800.0)
    begin = tape.quality.spot.longest_outage_ns
    end = begin + 16 * 5 * MINUTE
    inside = (tape.ts_ns > begin) & (tape.ts_ns <= end)
    assert (tape.spot_bid_qty[inside] == 0).all()
    of = rule(entry=-1.0, exit=-2.0, max_hold_s=600.0, clip_usdt=50.0, leg_deadline_s=450.0, price_bound=0.005)
    day = tape.between(begin - 86_400 * NS // 4, end + 86_400 * NS // 4)
    result = run(day, of, TENTH)
    assert result.trades and not [o for o in result.sent if begin < o.ts_ns < end]


@real
def test_the_basis_of_the_candles_is_the_published_one():
    """README of the data: mean -4.55, sd 0.83, 1 % -6.4, 99 % -2.6 over 51,032 bars in common."""
    inputs = recorded("BTC_USDT", "2025-05-20_2025-06-24", "1m", "binance")
    seen = basis_of(inputs.tape(), inputs.fees_bps, 1.0)
    found = seen.distributions()["basis of the mids"]
    assert (len(seen.ts_ns), round(found.mean, 2), round(found.sd, 2)) == (51_032, -4.55, 0.83)
    assert (round(found.p1, 1), round(found.p99, 1)) == (-6.4, -2.6)


def test_a_year_is_drawn_with_its_peak():
    ts_ns = START + np.arange(9_000) * 3600 * NS
    values = np.zeros(9_000)
    values[8_000] = 7.0
    at, shown = figures.extremes(ts_ns, values)
    assert np.nanmax(shown) == 7.0
    assert abs(int(at[np.nanargmax(shown)]) - int(ts_ns[8_000])) < 10 * 3600 * NS
