"""Whether two legs are one coin at one time in one unit, and whether a funding history can be what was settled."""

import json
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from delta_arb import pipeline
from delta_arb.errors import DataError
from delta_arb.formats.recognise import NO_OPTIONS, FormatOptions
from delta_arb.funding_stamps import check_stamps
from delta_arb.market import NS
from delta_arb.quotes import candles, tape
from delta_arb.quotes.bars import bars_of
from delta_arb.quotes.candles import Stated
from delta_arb.quotes.checks import Limits
from delta_arb.quotes.files import LegFile
from delta_arb.quotes.funding_file import FundingFile, check_rates, funding_history, notes_on
from delta_arb.quotes.inputs import Inputs
from delta_arb.quotes.two_legs import correlated, refuse_one_file
from delta_arb.tables import heading, told

SHARED = Path(__file__).resolve().parents[2] / "shared"
START_NS = 1_767_225_600 * NS  # 2026-01-01 00:00 UTC
MINUTE_NS, HOUR_NS = 60 * NS, 3600 * NS
STATED = Stated(1.0, 1.0)


def walk(bars=400, seed=1, scale=1e-3):
    return 100 * np.exp(np.random.default_rng(seed).normal(0, scale, bars + 1).cumsum())


def bars_file(path, prices, *, shift=0, factor=1.0, noise=0, open_gap=2e-4):
    """Bars of a price path `prices` (open near prices[k], close prices[k+1]), moved by `shift` bars."""
    rng = np.random.default_rng(noise)
    opening, close = (
        prices[:-1] * (1 + open_gap * rng.choice((-1, 1), len(prices) - 1)),
        prices[1:] * (1 + 1e-5 * rng.normal(size=len(prices) - 1)),
    )
    columns = [opening, np.maximum(opening, close) * 1.0001, np.minimum(opening, close) * 0.9999, close]
    times = START_NS + MINUTE_NS * (np.arange(len(close)) + shift)
    names = ("timestamp", "open", "high", "low", "close", "volume")
    pq.write_table(
        pa.table(
            dict(
                zip(
                    names,
                    (
                        pa.array(times, pa.timestamp("ns", "UTC")),
                        *(factor * c for c in columns),
                        np.full(len(close), 7.0),
                    ),
                )
            )
        ),
        path,
    )
    return LegFile(path, "updates")


def legs(folder, spot=None, perp=None):
    prices = walk()
    return bars_file(folder / "spot.parquet", prices, noise=1, **(spot or {})), bars_file(
        folder / "perp.parquet", prices, noise=2, **(perp or {})
    )


def test_legs_of_one_coin_at_one_time_are_read_without_a_word(tmp_path):
    assert candles.read(*legs(tmp_path), STATED).quality.notes == ()


@pytest.mark.parametrize(("bars", "side"), [(60, "late"), (-60, "early"), (1, "late"), (-1, "early")])
def test_a_leg_whose_clock_is_off_is_refused_with_the_seconds(tmp_path, bars, side):
    with pytest.raises(
        DataError, match=rf"the perpetual's stamps look {abs(bars) * 60} s {side} against spot: .*check time zones"
    ):
        candles.read(*legs(tmp_path, perp={"shift": bars}), STATED)


def test_swapped_open_and_close_of_one_leg_look_like_a_bar_of_lag(tmp_path):
    spot, perp = legs(tmp_path)
    table = pq.read_table(perp.path)
    pq.write_table(table.rename_columns(["timestamp", "close", "high", "low", "open", "volume"]), perp.path)
    with pytest.raises(DataError, match=r"one bar off: .*open and close swapped"):
        candles.read(spot, perp, STATED)


@pytest.mark.parametrize(
    ("factor", "says"),
    [(1000.0, "counts 1000 coins a unit"), (1e-3, "counts 1000 units a coin"), (1.7, "not the same coin")],
)
def test_prices_of_another_unit_or_coin_are_refused(tmp_path, factor, says):
    with pytest.raises(DataError, match=f"perp.parquet is {factor:g} times the price of .*{says}"):
        candles.read(*legs(tmp_path, perp={"factor": factor}), STATED)


def test_one_file_or_its_copy_is_no_second_leg(tmp_path):
    spot, _ = legs(tmp_path)
    with pytest.raises(DataError, match="was given for both legs"):
        candles.read(spot, spot, STATED)
    copy = tmp_path / "copy.parquet"
    copy.write_bytes(spot.path.read_bytes())
    with pytest.raises(DataError, match="the same prices and sizes in every row"):
        candles.read(spot, LegFile(copy, "updates"), STATED)
    with pytest.raises(DataError, match="the same prices and sizes in every row"):  # in contracts of ten coins
        candles.read(spot, LegFile(copy, "updates", 10.0), STATED)


def test_legs_that_are_named_the_other_way_round_are_refused(tmp_path):
    spot, perp = legs(tmp_path)
    assert refuse_one_file(spot, perp) is None
    with pytest.raises(
        DataError, match=r"by their names .*perp.parquet is the perpetual and .*spot.parquet is spot.*exchange"
    ):
        candles.read(perp, spot, STATED)
    for names in (
        ("futures/a.csv", "futures/b.csv"),
        ("futures/x_spot.csv", "spot/x_swap.csv"),
        ("PERP_USDT.csv", "b.csv"),
    ):
        assert refuse_one_file(*(LegFile(tmp_path / name, "updates") for name in names)) is None


def test_a_bar_far_off_on_one_leg_is_dropped_and_counted(tmp_path):
    spot, perp = legs(tmp_path)
    table = pq.read_table(perp.path).to_pylist()
    for name in ("open", "high", "low", "close"):
        table[200][name] *= 2.34  # 134 % off
    pq.write_table(pa.Table.from_pylist(table), perp.path)
    found = candles.read(spot, perp, STATED)
    assert (found.quality.spot.far_off, found.quality.perp.far_off) == (0, 1)
    assert found.perp_ask.max() < 130


def test_a_crash_of_one_leg_by_a_fifth_is_believed(tmp_path):
    spot, perp = legs(tmp_path)
    table = pq.read_table(perp.path).to_pylist()
    for name in ("low", "close"):
        table[200][name] *= 0.81
    pq.write_table(pa.Table.from_pylist(table), perp.path)
    assert candles.read(spot, perp, STATED).quality.perp.far_off == 0


def test_opens_that_repeat_the_close_before_are_told(tmp_path):
    prices = walk()
    spot = bars_file(tmp_path / "spot.parquet", prices, noise=1)
    close = prices * (1 + 1e-5 * np.random.default_rng(5).normal(size=len(prices)))
    rows = {"timestamp": START_NS + MINUTE_NS * np.arange(len(close) - 1), "open": close[:-1], "high": np.maximum(close[:-1], close[1:]),
            "low": np.minimum(close[:-1], close[1:]), "close": close[1:], "volume": np.full(len(close) - 1, 7.0)}  # fmt: skip
    pq.write_table(pa.table(rows), tmp_path / "perp.parquet")
    notes = candles.read(spot, LegFile(tmp_path / "perp.parquet", "updates"), STATED).quality.notes
    assert len(notes) == 1 and re.match("perpetual: 100 % of the opens repeat the close before", notes[0])


def test_a_volume_in_money_is_told(tmp_path):
    spot, perp = legs(tmp_path)
    table = pq.read_table(perp.path)
    pq.write_table(table.set_column(5, "volume", pa.array(np.full(len(table), 7.0 * 60_000))), perp.path)
    (note,) = candles.read(spot, perp, STATED).quality.notes
    assert note.startswith("the perpetual trades 6e+04 times the volume of spot: are both in coins?")


def test_bars_of_another_order_of_columns_are_named_by_what_is_wrong(tmp_path):
    spot, perp = legs(tmp_path)
    table = pq.read_table(perp.path)
    pq.write_table(table.rename_columns(["timestamp", "open", "low", "high", "close", "volume"]), perp.path)
    with pytest.raises(
        DataError,
        match=r"400 of 400 bars are bad, 400 of them inconsistent \(low above high\).*check the order of columns",
    ):
        candles.read(spot, perp, STATED)


def test_the_correlation_at_every_lag_is_that_of_numpy_with_holes_left_out():
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=80), rng.normal(size=80)
    first[[4, 30]] = np.nan
    second[[5, 60, 61]] = np.nan
    lags, found, pairs = correlated(first, second, 7)
    for lag, correlation, n in zip(lags, found, pairs):
        a, b = (first[: 80 - lag], second[lag:]) if lag >= 0 else (first[-lag:], second[:lag])
        there = np.isfinite(a) & np.isfinite(b)
        assert n == there.sum() and correlation == pytest.approx(np.corrcoef(a[there], b[there])[0, 1], abs=1e-12)


# --- quotes ----------------------------------------------------------------------------------------------------------


def quotes_file(path, prices, shift_s=0.0):
    n = len(prices)
    times = START_NS + int(shift_s * NS) + (np.arange(n) * NS // 2).astype(np.int64)
    names = ("timestamp", "bid_price", "bid_quantity", "ask_price", "ask_quantity")
    rows = dict(zip(names, (times, prices, np.full(n, 5.0), prices * 1.0002, np.full(n, 5.0))))
    pq.write_table(pa.table(rows), path)
    return LegFile(path, "updates")


def test_quotes_whose_clock_is_half_a_minute_off_are_refused_and_a_leading_market_is_not(tmp_path):
    prices = walk(2000, scale=1e-4)
    spot = quotes_file(tmp_path / "spot.parquet", prices)
    assert len(tape.read(spot, quotes_file(tmp_path / "leads.parquet", prices * 1.001, -2.0)))
    with pytest.raises(DataError, match="stamps look 30 s late"):
        tape.read(spot, quotes_file(tmp_path / "late.parquet", prices * 1.001, 30.0))


def test_sizes_that_are_coins_already_are_not_multiplied_by_a_contract(tmp_path):
    spot, perp = legs(tmp_path)
    table = pq.read_table(perp.path)
    volume = 250.0 * np.arange(1, len(table) + 1)
    pq.write_table(table.set_column(5, "volume", pa.array(volume)), perp.path)
    with pytest.raises(DataError, match="its sizes are coins already: all are whole multiples of the contract of 10"):
        candles.read(spot, LegFile(perp.path, "updates", contract_size=10.0), STATED)
    assert len(
        candles.read(
            spot,
            LegFile(perp.path, "updates", contract_size=10.0, options=FormatOptions.of("quantity=contracts")),
            STATED,
        )
    )
    assert len(candles.read(spot, LegFile(perp.path, "updates", contract_size=3.0), STATED))  # whole, not of three
    pq.write_table(table.set_column(5, "volume", pa.array(volume / 1000 + 0.017)), perp.path)
    told = candles.read(spot, LegFile(perp.path, "updates", contract_size=0.001), STATED).quality.notes
    assert any("if they are coins already, give --contract-size 1" in note for note in told)


def test_sizes_on_the_grid_of_coins_are_taken_as_contracts_below_one_coin_and_every_page_says_so(tmp_path):
    prices = walk(200, scale=1e-4)
    spot, perp = quotes_file(tmp_path / "spot.parquet", prices), quotes_file(tmp_path / "perp.parquet", prices * 1.001)
    table = pq.read_table(perp.path)
    contracts = LegFile(perp.path, "updates", contract_size=0.001)
    assert tape.read(spot, contracts).quality.notes == ()  # five whole contracts in every row
    sizes = np.arange(1, len(table) + 1) * 0.017
    pq.write_table(table.set_column(2, "bid_quantity", pa.array(sizes)), perp.path)
    both = tape.read(spot, contracts)
    assert both.perp_bid_qty.max() == pytest.approx(sizes[-1] * 0.001)
    assert "if they are coins already, give --contract-size 1 with --perp-step 0.001" in both.quality.notes[0]
    said = FormatOptions.of("quantity=contracts")
    assert tape.read(spot, LegFile(perp.path, "updates", contract_size=0.001, options=said)).quality.notes == ()


def test_two_columns_of_one_clock_are_refused(tmp_path):
    prices = walk(200, scale=1e-4)
    spot, perp = quotes_file(tmp_path / "spot.parquet", prices), quotes_file(tmp_path / "perp.parquet", prices * 1.001)
    table = pq.read_table(perp.path)
    pq.write_table(table.append_column("venue_timestamp", table["timestamp"]), perp.path)
    with pytest.raises(DataError, match=r"the receiver's stamps are the venue's in every row.*--spot-feed-latency"):
        tape.read(spot, perp)


# --- the real command --------------------------------------------------------------------------------------------------

CASES = SHARED / "cases"
CARRY_FILES = {"spot": "spot", "perp": "perp", "funding": "fund"}
HALF_SPREADS = ("--spot-half-spread-bps=1", "--perp-half-spread-bps=1")
REFUSED = {
    "clock_shift_1h perp_shifted": "the perpetual's stamps look 3600 s late against spot",
    "wrong_order_message perp_columns_mixed": "72 of 72 bars are bad, 72 of them inconsistent",
    "funding_hourly_indicative perp funding": "so each stands on several rows; say when it is paid",
    "funding_percent perp funding": "rates look like percent",
    "funding_holes perp funding_dup_5ms_inside_hold": "are the same settlement twice",
}


@pytest.mark.skipif(not CASES.exists(), reason="the shared cases are not beside this checkout")
@pytest.mark.parametrize("what", REFUSED)
def test_a_case_that_was_published_is_refused_by_the_command(tmp_path, capsys, what):
    folder, perp, *funding = what.split()
    quotes = CASES / ("funding_percent" if folder == "funding_holes" else folder)
    history = next((str(path) for name in funding for path in (CASES / folder).glob(f"{name}.*")), "none")
    options = [
        "--pair=X_USDT",
        "--contract-size=1",
        "--spot-half-spread-bps=1",
        "--perp-half-spread-bps=1",
        f"--reports={tmp_path}",
    ]
    code = pipeline.main(
        [*options, f"--spot={quotes / 'spot.csv'}", f"--perp={quotes / perp}.csv", f"--funding={history}"]
    )
    options = " ".join(capsys.readouterr().err.split())
    assert code == 2 and REFUSED[what] in options, options
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not CASES.exists(), reason="the shared cases are not beside this checkout")
@pytest.mark.parametrize(
    ("folder", "perp", "funding", "says"),
    [
        ("stitched_open", "perp", "none", "perpetual: 100 % of the opens repeat the close before"),
        ("wrong_order_message", "perp_newest_first", "none", "newest row first, 71 of 72 out_of_order: sorted by time"),
        ("funding_ms_int", "perp", "funding", "funding read as columns by name, times in ms, UTC"),
        (
            "funding_local_time",
            "perp",
            "funding",
            "settlement hours 03, 11, 19 UTC of funding.csv are not those of gate",
        ),
    ],
)
def test_a_case_that_passed_in_silence_is_told_on_every_page(folder, perp, funding, says):
    paths = {"spot": f"{CASES / folder / 'spot'}.csv", "perp": f"{CASES / folder / perp}.csv"}
    paths["funding"] = funding if funding == "none" else f"{CASES / folder / funding}.csv"
    inputs = Inputs(**paths, pair="X_USDT", contract_size=1.0, spot_half_spread_bps=1.0, perp_half_spread_bps=1.0)
    found = inputs.tape()
    assert any(says in line for line in told(inputs, found)) and any(
        says in line for line in heading(inputs, found).lines
    )


@pytest.mark.skipif(not CASES.exists(), reason="the shared cases are not beside this checkout")
@pytest.mark.parametrize(
    ("folder", "options"),
    [
        ("funding_hourly_indicative", "interval=8,settles=first"),
        ("funding_percent", "rate=percent"),
        ("funding_local_time", "zone=+03:00"),
    ],
)
def test_the_remedy_that_is_named_gives_the_right_funding(folder, options):
    right = funding_history(CASES / folder / "funding_right.csv")
    mended = funding_history(FundingFile(CASES / folder / "funding.csv", FormatOptions.of(options)))
    assert mended.stamps.tolist() == right.stamps.tolist() and mended.rates == pytest.approx(right.rates, rel=1e-9)


@pytest.mark.skipif(not CASES.exists(), reason="the shared cases are not beside this checkout")
@pytest.mark.parametrize(
    ("folder", "wrong", "right", "options"),
    [
        ("clock_shift_1h", "perp_shifted", "perp_right", {"perp_format": "zone=+01:00"}),
        (
            "wrong_order_message", "perp_columns_mixed", "perp",
            {"perp_columns": "timestamp=timestamp,open=open,close=high,high=low,low=close,volume=volume"},
        ),
        ("wrong_order_message", "perp_newest_first", "perp", {}),
    ],
)  # fmt: skip
def test_the_remedy_that_is_named_gives_the_right_bars(folder, wrong, right, options):
    def read(name, **options):
        paths = {"spot": str(CASES / folder / "spot.csv"), "perp": f"{CASES / folder / name}.csv", "funding": "none"}
        stated = {"spot_half_spread_bps": 1.0, "perp_half_spread_bps": 1.0}
        return Inputs(**paths, **stated, **options, pair="X_USDT", contract_size=1.0).tape()

    mended, meant = read(wrong, **options), read(right)
    assert all(np.array_equal(getattr(mended, name), getattr(meant, name)) for name in tape.TAPE_COLUMNS)


def done(folder: Path, *options: str) -> dict:
    """What a run of the real command left of itself; it must end well."""
    command = [sys.executable, "-m", "delta_arb.pipeline", "--pair=X_USDT", f"--reports={folder}", *options]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (run,) = folder.glob("*/2*Z")
    texts = "".join(path.read_text("utf-8") for path in sorted(run.glob("*.ipynb")))
    return json.loads((run / "run.json").read_text("utf-8")) | {"texts": texts}


@pytest.mark.slow
@pytest.mark.skipif(not CASES.exists(), reason="the shared cases are not beside this checkout")
def test_a_carry_run_that_has_a_rule_ends_with_page_three(tmp_path):
    """A longest hold of 365 days, 5 % longer, is above the 366 that a rule may have: that step alone is not computed."""
    files = [f"--{leg}={CASES / 'carry_rule_crash' / name}.csv" for leg, name in CARRY_FILES.items()]
    carry = ["-p", "clip_usdt=500", "-p", "profile=carry", "-p", "look_back_h=960"]
    record = done(tmp_path, *files, "--contract-size=1", *HALF_SPREADS, *carry)
    assert record["status"] == "ok" and "validation" not in record["reason"].lower()
    assert len(record["notebooks"]) == 3 and "ValidationError" not in record["texts"]
    assert re.search(r"longest hold +365 days( +[-.\d]+){3}( +n/a){3}", record["texts"])


@pytest.mark.slow
@pytest.mark.skipif(not CASES.exists(), reason="the shared cases are not beside this checkout")
def test_a_pair_that_the_end_of_the_data_cut_off_is_no_miss(tmp_path):
    """One target and one pair still open were a hit rate of one half: what refuses now must not be that."""
    made = CASES / "open_pair_is_no_miss" / "make.py"
    subprocess.run([sys.executable, made], cwd=tmp_path, check=True)
    files = [f"--{leg}={tmp_path / leg}.parquet" for leg in ("spot", "perp")]
    fees = ["--funding=none", "--spot-fee-bps=2", "--perp-fee-bps=2"]
    record = done(tmp_path / "out", *files, "--contract-size=0.001", *fees)
    assert record["status"] == "ok" and "hit rate" not in record["reason"]


# --- funding ---------------------------------------------------------------------------------------------------------

RATES = np.array([1e-4, 2e-4, -1e-4, 3e-4, 5e-5, 1e-4, 7e-5, 1e-4, 4e-5, 6e-5, 2e-5, 1e-4, 9e-5])
EIGHT = START_NS + 8 * HOUR_NS * np.arange(len(RATES))


@pytest.mark.parametrize(
    ("stamps", "rates", "says"),
    [
        (EIGHT, RATES * 100, r"rates look like percent; divide by 100, or say --funding-format rate=percent"),
        (EIGHT, RATES * 0, "all 13 rates are 0"),
        (np.sort(np.append(EIGHT, EIGHT[5] + 5_000_000)), np.append(RATES, 1e-4), "rows 5 and 6 are the same settlement twice"),
        (
            START_NS + HOUR_NS * np.arange(8 * len(RATES)), np.repeat(RATES, 8),
            r"24\.2 rows a day .* change every 8 h only.*interval=8,settles=first .*interval=1 where every row is paid",
        ),
    ],
    ids=["percent", "zeros", "twice", "repeated"],
)  # fmt: skip
def test_a_funding_history_that_was_never_settled_so_is_refused(stamps, rates, says):
    with pytest.raises(DataError, match=says):
        check_rates("f", stamps, rates, NO_OPTIONS)


def test_what_the_user_says_of_rates_is_believed():
    check_rates("f", EIGHT, RATES * 100, FormatOptions.of("rate=fraction"))
    check_rates(
        "f", START_NS + HOUR_NS * np.arange(8 * len(RATES)), np.repeat(RATES, 8), FormatOptions.of("interval=1")
    )


def test_hours_that_are_not_the_venues_are_told_with_a_change_of_the_clock():
    assert notes_on("f", EIGHT, "gate") == ()
    assert notes_on("f", EIGHT + 4 * HOUR_NS, "kucoin") == ()
    (note,) = notes_on("f", EIGHT + 3 * HOUR_NS, "gate")
    assert "settlement hours 03, 11, 19 UTC of f are not those of gate (00, 08, 16)" in note
    turned = EIGHT + HOUR_NS * np.where(np.arange(len(EIGHT)) < 6, 1, 2)
    assert "the hours of f change within it, first after 2026-01-02 17:00" in notes_on("f", turned, "gate")[1]


def test_two_holes_side_by_side_do_not_hide_each_other():
    stamps = np.delete(EIGHT, [5, 7])  # 16 h, one stamp, 16 h
    assert (
        "f lacks settlements between 2026-01-02 08:00:00.000 and 2026-01-03 00:00:00.000 UTC and in 1 more places"
        in notes_on("f", stamps, "gate")[0]
    )
    with pytest.raises(
        DataError,
        match=r"missing between 2026-01-02 08:00.*\(due at 2026-01-02 16:00:00.000, 2026-01-03 08:00:00.000\)",
    ):
        check_stamps(stamps.tolist(), int(EIGHT[4]) + 1, int(EIGHT[8]) + 1)


@pytest.mark.parametrize(
    "hours", [[8] * 6 + [4] * 6 + [1] * 12 + [4] * 6 + [8] * 6, [2] * 9 + [4] + [8] * 9, [8, 8, 4, 4]]
)
def test_an_interval_that_changes_is_no_hole(hours):
    late_ns = np.random.default_rng(2).integers(0, 60, len(hours) + 1) * NS  # stamps up to a minute late
    stamps = START_NS + HOUR_NS * np.append(0, np.cumsum(hours)) + late_ns
    check_stamps(stamps.tolist(), int(stamps[0]), int(stamps[-1]))


# --- recorded months: nothing may fire ---------------------------------------------------------------------------------


def recorded():
    """All pairs of files of one coin and two markets."""
    files = sorted((SHARED / "data").glob("*_candles_*.parquet"))
    of = {file: re.match(r"(\w+?_(?:spot|futures))_(\w+?)_USDT_", file.name).groups() for file in files}
    return [(a, b) for a, b in combinations(files, 2) if of[a][0] != of[b][0] and of[a][1] == of[b][1]]


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "data").exists(), reason="the recorded data are not beside this checkout")
def test_nothing_fires_on_recorded_months_and_crash_days():
    told, read = {}, 0
    listed = pq.read_table(SHARED / "data" / "gateio_futures_contracts_2023-05-24.parquet").to_pylist()
    coins = {row["contract"]: row["quanto_multiplier"] for row in listed}
    for first, second in recorded():
        of = "_".join(first.name.split("_")[2:4])  # like BTC_USDT
        sizes = (coins.get(of, 1.0) if path.name.startswith("gateio") else 1.0 for path in (first, second))
        one, other = (LegFile(path, "updates", contract_size=size) for path, size in zip((first, second), sizes))
        bar_s = max(bars_of(leg, Limits())[0].bar_s for leg in (one, other))
        try:
            found = candles.read(one, other, Stated(1.0, 1.0, bar_s=bar_s))
        except DataError as error:
            if re.search("do not overlap in time|cannot be aggregated", str(error)):
                continue
            raise
        read += 1
        assert (found.quality.spot.far_off, found.quality.perp.far_off) == (0, 0), (first, second)
        for note in found.quality.notes:
            if "times the volume" in note and "gateio" in first.name + second.name and of not in coins:
                continue  # the contract of a coin listed after that day is not known here
            told.setdefault((first if note.startswith("spot") else second).name.split("_")[0], note)
    # Bybit's own candles open at the close before, every one: what is told of them is so
    assert read >= 60 and set(told) == {"bybit"}


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "data").exists(), reason="the recorded data are not beside this checkout")
def test_nothing_fires_on_recorded_funding_and_quotes():
    for path in sorted((SHARED / "data").glob("*_funding_*.parquet")):
        assert funding_history(path).notes == (), path
    btc = ("binance_spot_BTC", "binance_futures_BTC")
    days = {"2023-04-05": btc, "2024-08-08": btc, "2025-10-11": ("mexc_spot_LUNC", "gateio_futures_LUNC")}
    for day, venues in days.items():
        files = (SHARED / "data" / f"{venue}_USDT_book_{day}.parquet" for venue in venues)
        assert len(tape.read(*(LegFile(file, "updates") for file in files)))
