"""What a run is about: the sample without a word, real files with every word, and each refusal."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from strategies import perp, seconds, spot
from typed import typed

from delta_arb import pipeline
from delta_arb.errors import DataError, ParamsError
from delta_arb.market import NS, SNAPSHOTS, UPDATES
from delta_arb.params import check_assumed
from delta_arb.quotes import funding_file
from delta_arb.quotes import inputs as module
from delta_arb.quotes.inputs import Inputs
from delta_arb.quotes.options import InputOptions, given
from delta_arb.quotes.tape import Tape
from delta_arb.tables import heading
from delta_arb.venue_terms import VenueTerms, check_fees
from delta_arb.wallets import BOUNDLESS, Funds

FILES = {"spot": "spot.parquet", "perp": "perp.parquet", "funding": "none", "pair": "LUNC_USDT", "contract_size": 1e4}


# --- The sample ------------------------------------------------------------------------------------------------------


def test_without_a_word_it_is_the_bundled_sample_which_is_synthetic():
    inputs = Inputs()
    assert (inputs.is_sample, inputs.synthetic, inputs.name) == (True, True, "SYN_USDT-mexc-gate")
    for file in (inputs.spot, inputs.perp, inputs.funding):
        assert Path(file).exists()
    assert inputs.contract_size == module.SAMPLE_CONTRACT_SIZE


def test_the_sample_is_found_from_any_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Path(Inputs().spot).exists()


def test_the_samples_folder_can_be_moved(tmp_path, monkeypatch):
    monkeypatch.setenv("DELTA_ARB_ROOT", str(tmp_path))
    assert Inputs().spot == str(tmp_path / "data" / "sample" / "spot.parquet")
    assert Inputs().is_sample


def test_the_sample_can_be_taken_with_other_costs():
    cheaper = dataclasses.replace(Inputs(), spot_fee_bps=0.0, pair="OTHER_USDT")
    assert (cheaper.is_sample, cheaper.spot_fee_bps, cheaper.name) == (True, 0.0, "OTHER_USDT-mexc-gate")
    assert cheaper.perp == Inputs().perp


def test_a_leg_of_the_sample_beside_another_file_is_not_the_sample():
    """Once the other file was silently replaced by the sample's own."""
    mixed = Inputs(spot=Inputs().spot, **{name: FILES[name] for name in ("perp", "funding", "pair", "contract_size")})
    assert not mixed.is_sample
    assert mixed.perp == "perp.parquet"


@pytest.mark.parametrize("own", [{"funding": "none"}, {"contract_size": 1.0}])
def test_the_sample_brings_its_own_funding_and_contract_size(own):
    with pytest.raises(ParamsError, match="the sample brings its own funding and contract size"):
        Inputs(**own)


# --- Real files ------------------------------------------------------------------------------------------------------


def test_real_files_need_nothing_more():
    inputs = Inputs(**FILES)
    assert (inputs.is_sample, inputs.name) == (False, "LUNC_USDT-mexc-gate")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"perp": ""}, "give the quotes of both legs, was spot='spot.parquet' perp=''; or neither, for the sample"),
        ({"spot": ""}, "give the quotes of both legs, was spot='' perp='perp.parquet'"),
        ({"pair": ""}, "name the pair of these files, like --pair LUNC_USDT"),
        ({"pair": "LUNC/../USDT"}, "pair names a folder: .* was 'LUNC/../USDT'"),
        ({"pair": "LUNC_USDT" * 9}, "pair names a folder"),
        ({"spot_venue": "MEXC spot"}, "spot_venue names a folder: .* was 'MEXC spot'"),
        ({"perp_venue": ""}, "perp_venue names a folder"),
        ({"funding": ""}, "give the funding history .*, or say that it is left out with --funding none"),
        ({"contract_size": 0.0}, "give the perpetual's contract size in base units"),
        ({"contract_size": float("nan")}, "--contract-size needs a number of 0 or more, was nan"),
        ({"contract_size": float("inf")}, "--contract-size needs a number of 0 or more, was inf"),
        ({"perp_feed_latency": -1.0}, "--perp-feed-latency needs a number from 0 to 60, was -1.0"),
        ({"spot_feed_latency": float("nan")}, "--spot-feed-latency needs a number from 0 to 60, was nan"),
        ({"max_bad_share": float("nan")}, "--max-bad-share needs a number from 0 to 1, was nan"),
        ({"inventory_coins": float("inf")}, "--inventory-coins needs a number of 0 or more, was inf"),
        ({"leverage": float("nan")}, "--leverage needs a finite number, was nan"),
        ({"spot_kind": "candles"}, "a leg is recorded as updates or snapshots, was 'candles'"),
        ({"perp_kind": ""}, "a leg is recorded as updates or snapshots, was ''"),
        ({"spot_latency": 0.0}, "latency spot_s must be above 0"),
        ({"perp_latency": 61.0}, "latency perp_s must be above 0 and at most 60 s, was 61"),
        ({"spot_fee_bps": 600.0}, r"^mexc: taker_fee_bps: should be less than or equal to 500 \(was 600.0\)"),
        ({"perp_fee_bps": float("nan")}, "--perp-fee-bps needs a finite number, was nan"),
        (
            {"spot_fee_bps": -50.0},
            "^mexc: taker_fee_bps of -50 is a rebate on every fill, and no venue is known to pay more than 10 bps",
        ),
        ({"perp_maker_fee_bps": "-11"}, "^gate: maker_fee_bps of -11 is a rebate"),
        ({"spot_min_usdt": -1.0}, r"min_notional_usdt: should be greater than or equal to 0 \(was -1.0\)"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes, says):
    with pytest.raises(ParamsError, match=says):
        Inputs(**FILES | changes)


def test_the_perpetual_is_recorded_in_contracts_and_spot_in_base_units():
    inputs = Inputs(**FILES, spot_kind=SNAPSHOTS, perp_feed_latency=0.05)
    leg, other = inputs.leg_file("spot"), inputs.leg_file("perp")
    assert (leg.contract_size, leg.kind, leg.clock, leg.feed_latency_s) == (1.0, SNAPSHOTS, "receiver", 0.0)
    assert (other.contract_size, other.kind, other.clock, other.feed_latency_s) == (1e4, UPDATES, "venue", 0.05)


def test_the_order_rules_are_those_of_the_options():
    leg, other = Inputs(**FILES, spot_fee_bps=4.0, perp_fee_bps=2.0, spot_min_usdt=5.0).terms()
    assert (leg.taker_fee, leg.qty_step, leg.min_notional_usdt) == (0.0004, 0.0, 5.0)
    assert (other.taker_fee, other.qty_step, other.min_qty, other.contract_size) == (0.0002, 1e4, 1e4, 1e4)


def test_the_parameter_file_writes_down_the_same_costs():
    leg, other = Inputs(**FILES, spot_latency=0.3).terms()
    assert (leg.latency_s, leg.taker_fee_bps, leg.min_notional_usdt) == (0.3, 5.0, 1.0)
    assert other == VenueTerms(
        venue="gate", taker_fee_bps=5.0, latency_s=0.1, contract_size=1e4, qty_step=1e4, min_qty=1e4
    )


# --- Order rules and wallets ------------------------------------------------------------------------------------------


@pytest.fixture
def rules(tmp_path) -> dict[str, str]:
    """Both venues' lists with LUNC_USDT, as the venues write them; the contract's own fee is one nobody pays."""
    spot_list = {"baseAsset": "LUNC", "quoteAsset": "USDT", "baseAssetPrecision": 2, "quoteAssetPrecision": 8}
    spot_list |= {"baseSizePrecision": "0", "quoteAmountPrecision": "5", "takerCommission": "0.9"}
    perp_list = {
        "name": "LUNC_USDT",
        "quanto_multiplier": "10000",
        "order_size_min": 2,
        "order_price_round": "0.00000001",
    }
    perp_list |= {"leverage_max": "20", "maintenance_rate": "0.02", "taker_fee_rate": "0.9"}
    (tmp_path / "spot.json").write_text(json.dumps({"symbols": [spot_list]}))
    (tmp_path / "perp.json").write_text(json.dumps([perp_list]))
    return {"spot_rules": str(tmp_path / "spot.json"), "perp_rules": str(tmp_path / "perp.json")}


def test_the_venues_lists_say_the_order_rules_and_never_the_fees(rules):
    leg, other = Inputs(
        **FILES | {"contract_size": 0.0}, **rules, spot_fee_bps=4.0, perp_fee_bps=2.0, leverage=5.0
    ).terms()
    assert (leg.taker_fee, leg.qty_step, leg.min_notional_usdt, leg.price_tick) == (0.0004, 0.01, 5.0, 1e-8)
    assert (other.taker_fee, other.contract_size, other.qty_step, other.min_qty) == (0.0002, 1e4, 1e4, 2e4)
    assert (other.price_tick, other.leverage, other.maintenance_rate) == (1e-8, 5.0, 0.02)


def test_the_parameter_file_writes_them_down_and_is_held_against_them(rules):
    wrote = Inputs(**FILES, **rules, leverage=5.0, spot_fee_in="base").terms()
    assert (wrote[0].fee_currency, wrote[0].price_tick, wrote[0].qty_step) == ("base", 1e-8, 0.01)
    assert (wrote[1].leverage, wrote[1].maintenance_rate, wrote[1].min_qty) == (5.0, 0.02, 2e4)
    found = SimpleNamespace(spot=wrote[0], perp=wrote[1])
    check_assumed(found, *wrote)
    with pytest.raises(ParamsError, match=r"perp\.leverage is 5\.0 in the file and 4\.0 here"):
        check_assumed(found, *Inputs(**FILES, **rules, leverage=4.0, spot_fee_in="base").terms())


def test_a_file_in_base_units_keeps_its_unit_and_takes_the_grid_of_the_list(rules):
    inputs = Inputs(**FILES | {"contract_size": 1.0}, **rules)
    assert inputs.leg_file("perp").contract_size == 1.0
    assert inputs.terms()[1].qty_step == 1e4


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"contract_size": 1e3}, "--contract-size 1000 is not the 10000 of .*; leave the option out, or give 1"),
        ({"perp_step": 5.0}, "--perp-rules say the step themselves; leave --perp-step away"),
        ({"spot_min_usdt": 2.0}, "--spot-rules say the smallest order themselves; leave --spot-min-usdt away"),
        ({"leverage": 21.0}, "leverage is at least 1 and here at most 20, was 21"),
        ({"pair": "DOGE_USDT"}, "does not list DOGE_USDT there"),
        ({"perp_venue": "bybit"}, "no reader for the lists of 'bybit'"),
    ],
)
def test_what_a_list_says_is_not_said_again(rules, changes, says):
    with pytest.raises((ParamsError, DataError), match=says):
        Inputs(**FILES | rules | changes)


def test_without_a_word_wallets_are_not_limited():
    assert Inputs(**FILES).funds == BOUNDLESS


def test_wallets_and_transfers_are_those_of_the_options():
    asked = {"spot_usdt": 500.0, "perp_usdt": 400.0}
    assert Inputs(**FILES, **asked).funds == Funds(500.0, 400.0)
    moved = Inputs(**FILES, **asked, transfer_delay_h=2.0, transfer_fee_usdt=1.0, transfer_least_usdt=50.0).funds
    assert tuple(moved.rebalancing) == (50.0, 1.0, 7200 * 10**9)
    whole = Inputs(**FILES, **asked, transfer_delay_h=2, transfer_fee_usdt=1, transfer_least_usdt=50).funds.rebalancing
    assert [type(value) for value in whole] == [float, float, int]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"spot_usdt": 500.0}, "give the USDT of both wallets, was spot 500 and perp 0; or of neither"),
        ({"spot_usdt": -1.0, "perp_usdt": 1.0}, "give the USDT of both wallets, was spot -1"),
        ({"spot_usdt": float("nan"), "perp_usdt": 1.0}, "--spot-usdt needs a finite number, was nan"),
        ({"transfer_delay_h": 1.0}, "transfers go between two wallets; give --spot-usdt and --perp-usdt too"),
        ({"spot_usdt": 1.0, "perp_usdt": 1.0, "transfer_fee_usdt": 1.0}, "say how long a transfer takes"),
        ({"spot_usdt": 9.0, "perp_usdt": 9.0, "transfer_delay_h": 1.0}, "needs least_usdt above its fee"),
        ({"spot_fee_in": "coin"}, r"fee_currency: should be 'quote' or 'base' \(was 'coin'\)"),
        ({"leverage": 0.5}, "leverage: should be greater than or equal to 1"),
    ],
)
def test_wallets_that_cannot_be_meant_are_refused(changes, says):
    with pytest.raises(ParamsError, match=says):
        Inputs(**FILES | changes)


def test_the_evidence_names_the_bytes_it_comes_from():
    inputs = Inputs()
    tape = inputs.tape()
    data = inputs.data_params(tape, tape.start_ns + seconds(3600))
    sums = subprocess.run(["sha256sum", inputs.spot, inputs.funding], capture_output=True, text=True, check=True)
    assert [data.spot_sha256, data.funding_sha256] == [line.split()[0] for line in sums.stdout.splitlines()]
    assert (data.events, data.synthetic) == (len(tape), True)
    assert (data.judged_from - data.start).total_seconds() == pytest.approx(3600, abs=1e-5)
    assert data.end > data.start


# --- The options of the commands -------------------------------------------------------------------------------------


def test_there_is_one_option_with_help_for_every_field(capsys):
    assert dataclasses.fields(InputOptions) and [f.name for f in dataclasses.fields(Inputs)] == [
        f.name for f in dataclasses.fields(InputOptions)
    ]
    assert pipeline.main(["--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(InputOptions):
        said = " ".join(field.metadata["help"].split())
        assert f"--{field.name.replace('_', '-')} " in shown
        assert said in shown
        if field.default not in ("", 0.0):
            bounds = "; 0.0<=x<=1.0" if field.name == "max_bad_share" else ""
            assert f"{said} [default: {field.default}{bounds}]" in shown


def test_no_option_means_the_defaults():
    options = typed(InputOptions)
    assert Inputs.from_options(options) == Inputs()
    assert given(options) == []


def test_every_option_reaches_its_field():
    said = [
        "--spot=a.parquet", "--perp=b.csv", "--funding=none", "--pair=LUNC_USDT", "--spot-venue=binance",
        "--perp-venue=bybit", "--contract-size=10000.0", "--spot-kind=snapshots", "--perp-kind=snapshots",
        "--spot-feed-latency=0.01", "--perp-feed-latency=0.02", "--spot-trades=t.csv", "--perp-trades=u.csv", "--spot-fee-bps=1.0",
        "--perp-fee-bps=2.0", "--spot-maker-fee-bps=0", "--perp-maker-fee-bps=-0.5",
        "--spot-latency=0.3", "--perp-latency=0.4", "--spot-min-usdt=5.0", "--max-bad-share=0.1",
        "--spot-half-spread-bps=0.6", "--perp-half-spread-bps=0.7", "--bar-share=0.02", "--bar-s=300.0", "--perp-step=0.5",
        "--spot-tick=0.01", "--perp-tick=0.1", "--spot-fee-in=base", "--leverage=3.0", "--spot-usdt=500.0",
        "--perp-usdt=400.0", "--transfer-delay-h=2.0", "--transfer-fee-usdt=1.0", "--transfer-least-usdt=50.0",
            "--inventory-coins=600.0", "--spot-format=time=ms", "--spot-columns=bid_price=b",
        "--perp-format=clock=venue", "--perp-columns=ask_price=a", "--funding-format=rate=bps", "--funding-columns=timestamp=t",
        "--funding-changes=2026-05-27",
    ]  # fmt: skip
    options = typed(InputOptions, *said)
    assert dataclasses.astuple(Inputs.from_options(options)) == (
        "a.parquet", "b.csv", "none", "LUNC_USDT", "binance", "bybit", 1e4, SNAPSHOTS, SNAPSHOTS,
        0.01, 0.02, "t.csv", "u.csv", 1.0, 2.0, "0", "-0.5", "0.3", "0.4", 5.0, 0.1, 0.6, 0.7, 0.02, 300.0, 0.5,
        0.01, 0.1, "", "", "base", 3.0, 500.0, 400.0, 2.0, 1.0, 50.0, 600.0,
        "time=ms", "bid_price=b", "clock=venue", "ask_price=a", "rate=bps", "timestamp=t", "2026-05-27",
    )  # fmt: skip
    assert given(options) == said


def test_the_lists_of_instruments_are_files_like_the_others():
    options = typed(InputOptions, "--spot-rules=s.json", "--perp-rules=p.json")
    assert (options.spot_rules, options.perp_rules) == ("s.json", "p.json")


@pytest.mark.parametrize("said", [["--spot-kind=candles"], ["--contract-size=many"], ["--leverages=3"]])
def test_nonsense_options_are_refused(said, capsys):
    assert pipeline.main(said) == 2
    assert said[0].split("=")[0] in capsys.readouterr().err


# --- Funding histories -----------------------------------------------------------------------------------------------


@pytest.fixture
def tape():
    """The perpetual's mid is 101 until second 100 and 103 from then on."""
    return Tape.of([spot(0, 99, 100), perp(0, 100.5, 101.5), perp(100, 102.5, 103.5), spot(200, 99, 100)])


def history(path, stamps_s, rates, marks=None):
    columns = {"timestamp": pa.array([seconds(s) for s in stamps_s], pa.timestamp("ns", "UTC")), "funding_rate": rates}
    pq.write_table(pa.table(columns | ({} if marks is None else {"mark_price": marks})), path)
    return path


def test_recorded_marks_are_exact_and_others_are_the_mid_at_the_stamp_lesson_13(tape, tmp_path):
    path = history(tmp_path / "f.parquet", [50, 100, 150], [1e-4, -2e-4, 3e-4], [99.0, None, float("nan")])
    assert [tuple(p) for p in funding_file.payments(path, tape)] == [
        (seconds(50), 1e-4, 99.0, True),
        (seconds(100), -2e-4, 103.0, False),  # the quote of second 100 is known at its stamp
        (seconds(150), 3e-4, 103.0, False),
    ]


def test_without_marks_every_stamp_is_approximate(tape, tmp_path):
    payments = funding_file.payments(history(tmp_path / "f.parquet", [50, 100], [1e-4, 1e-4]), tape)
    assert [(p.mark, p.exact) for p in payments] == [(101.0, False), (103.0, False)]


def test_quotes_outside_the_funding_table_are_left_out_and_told(tmp_path):
    """Stamps every hour from 10 to 20 h settle holds from 9 h to 21 h, exclusive; the sample is 72 h long (51 h are 2.13 days)."""
    sample = Inputs()
    begins_s = sample.tape().start_ns // seconds(1) // 3600 * 3600
    path = history(tmp_path / "f.parquet", [begins_s + 3600 * k for k in range(10, 21)], [1e-4] * 11)
    inputs = Inputs(spot=sample.spot, perp=sample.perp, funding=str(path), pair="SYN_USDT", contract_size=10.0)
    tape, first_ns = inputs.tape(), seconds(begins_s)
    assert first_ns + seconds(9 * 3600) <= tape.start_ns < tape.end_ns < first_ns + seconds(21 * 3600)
    after = inputs.recorded().between(first_ns + seconds(9 * 3600), first_ns + seconds(21 * 3600))
    assert (len(tape), tape.start_ns, tape.end_ns) == (len(after), after.start_ns, after.end_ns)
    told = "left out, because the funding table does not cover it: 9 h before it and 2.13 days behind it of the quotes"
    assert told in repr(heading(inputs, tape)) and "left out" not in repr(heading(sample, sample.tape()))
    history(path, [50, 100], [1e-4, 1e-4])
    with pytest.raises(DataError, match=r"no hold could be settled; fetch the funding of that time \(--funding FILE\)"):
        inputs.tape()


def test_a_csv_history_is_read_alike(tape, tmp_path):
    (tmp_path / "f.csv").write_text("timestamp,funding_rate\n1970-01-01 00:00:50,0.0001\n1970-01-01 00:01:40,0.0002\n")
    payments = funding_file.payments(tmp_path / "f.csv", tape)
    assert [(p.ts_ns, p.rate) for p in payments] == [(seconds(50), 1e-4), (seconds(100), 2e-4)]


def test_funding_none_means_no_payments(tape):
    assert Inputs(**FILES).payments(tape) == ()


@pytest.mark.parametrize(
    ("stamps", "rates", "says"),
    [
        ([50, 100], [1e-4, 0.2], "row 1 has the funding rate 0.2; a fraction of notional per interval is expected"),
        ([50, 100], [float("nan"), 1e-4], "row 0 has the funding rate nan"),
        ([50, 100], [None, 1e-4], "row 0 has the funding rate nan"),
        ([50], [1e-4], "at least two funding stamps, has 1; record longer"),
        ([], [], "at least two funding stamps"),
        ([100, 50], [1e-4, 1e-4], "in rising order; sort the file"),
        ([50, 50], [1e-4, 1e-4], "rows 0 and 1 are the same settlement twice"),
    ],
)
def test_a_history_that_cannot_be_right_is_refused(tape, tmp_path, stamps, rates, says):
    path = history(tmp_path / "f.parquet", stamps, pa.array(rates, pa.float64()))
    with pytest.raises(DataError, match=says):
        funding_file.payments(path, tape)


@pytest.mark.parametrize(
    ("mark", "says"),
    [
        (0.0, r"row 1 has the mark price 0\.0; leave the cell empty where none was recorded"),
        (-103.0, r"row 1 has the mark price -103\.0"),
        (float("inf"), "row 1 has the mark price inf"),
        (0.0103, r"the mark price 0\.0103 at 1970-01-01 00:01:40\.000 UTC is far from the perpetual's mid of 103"),
        (1030.0, "the mark price 1030 at .* give the history of this contract, in USDT per base unit"),
    ],
)
def test_a_mark_that_cannot_be_the_contracts_is_refused_and_not_replaced(tape, tmp_path, mark, says):
    path = history(tmp_path / "f.parquet", [50, 100], [1e-4, 1e-4], [101.0, mark])
    with pytest.raises(DataError, match=says):
        funding_file.payments(path, tape)


def test_a_mark_outside_the_quotes_is_not_held_against_them(tape, tmp_path):
    path = history(tmp_path / "f.parquet", [50, 10**7], [1e-4, 1e-4], [101.0, 900.0])
    assert [p.mark for p in funding_file.payments(path, tape)] == [101.0, 900.0]


def test_a_missing_history_is_refused(tape, tmp_path):
    with pytest.raises(DataError, match="there is no such funding file; give one, or --funding none"):
        funding_file.payments(tmp_path / "f.parquet", tape)


@pytest.mark.parametrize("columns", [["when", "funding_rate"], ["timestamp", "hours"], ["funding_rate"]])
def test_columns_of_no_known_name_are_asked_for(tape, tmp_path, columns):
    pq.write_table(pa.table({name: [1.0] for name in columns}), tmp_path / "f.parquet")
    with pytest.raises(
        DataError, match=r"columns not recognised.*name them, like --funding-columns .*timestamp=,funding_rate="
    ):
        funding_file.payments(tmp_path / "f.parquet", tape)


@pytest.mark.parametrize("name", ["f.parquet", "f.csv"])
def test_a_damaged_file_is_refused(tape, tmp_path, name):
    (tmp_path / name).write_bytes(b'timestamp,funding_rate\n"yesterday,1\n\x00\xff')
    with pytest.raises(DataError, match=r"f\.(parquet|csv): "):
        funding_file.payments(tmp_path / name, tape)


@pytest.mark.parametrize("cell", ["yesterday", ""])
def test_a_stamp_that_is_none_is_refused(tape, tmp_path, cell):
    (tmp_path / "f.csv").write_text(f"timestamp,funding_rate\n1970-01-01 00:00:50,0.0001\n{cell},0.0002\n")
    with pytest.raises(DataError, match=r"f\.csv: "):
        funding_file.payments(tmp_path / "f.csv", tape)


def test_reading_funding_and_quotes_loads_neither_pandas_nor_numba():
    code = (
        "import sys; from delta_arb.quotes.inputs import Inputs; i = Inputs(); i.payments(i.tape()); "
        "print(sorted({'pandas', 'numba', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_real_history_reads_and_covers_its_own_time(recording, tape):
    path = recording("gateio_futures_BTC_USDT_funding_2025-02-25_2026-02-25.parquet")
    payments = funding_file.payments(path, tape)
    assert len(payments) == 1097
    assert np.diff([p.ts_ns for p in payments]).min() == 8 * 3600 * 10**9


@pytest.mark.parametrize("pair", ["LUNC_USDT", "LUNC/USDT", "LUNC/USDT:USDT"])
def test_a_pair_may_be_spelled_as_exchanges_do(pair):
    assert Inputs(**FILES | {"pair": pair}).name == "LUNC_USDT-mexc-gate"


def test_a_relative_path_means_the_same_in_the_notebooks_folder(monkeypatch, tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("DELTA_ARB_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path / "notebooks")
    assert Inputs(**FILES | {"spot": "quotes/spot.csv"}).spot == str(tmp_path / "quotes" / "spot.csv")
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = Inputs(**FILES | {"spot": "quotes/spot.csv"})
    assert (found.spot, found.funding) == ("quotes/spot.csv", FILES["funding"])


def test_when_funding_began_to_follow_other_rules_is_an_input_or_what_the_venue_announced():
    """1779840000 is 2026-05-27 00:00 UTC (20600 days of 86,400 s), 1785571200 is 2026-08-01 08:00."""
    of = {"spot": "a", "perp": "b", "funding": "c", "pair": "X_USDT", "contract_size": 1.0}
    announced = 20_600 * 86_400 * NS
    assert Inputs(**of).rules_changed_ns == (announced,)
    assert Inputs(**of, perp_venue="bybit").rules_changed_ns == ()
    assert Inputs(**of, funding_changes="none").rules_changed_ns == ()
    assert Inputs(**of | {"funding": "none"}).rules_changed_ns == ()
    both = Inputs(**of, perp_venue="bybit", funding_changes="2026-08-01T08:00, 2026-05-27")
    assert both.rules_changed_ns == (announced, 1_785_571_200 * NS)
    with pytest.raises(ParamsError, match="--funding-changes last May: a time is like 2026-01-31"):
        Inputs(**of, funding_changes="last May")


def test_what_a_run_keeps_of_its_files_is_read_again_once_one_of_them_changes(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "KEPT", {})
    for leg in ("spot", "perp"):
        shutil.copy(getattr(Inputs(), leg), tmp_path)
    files = [str(tmp_path / Path(getattr(Inputs(), leg)).name) for leg in ("spot", "perp")]
    inputs = Inputs(*files, "none", pair="SYN_USDT", contract_size=10.0)
    inputs.keep()
    assert inputs.tape() is inputs.tape() and Inputs().tape() is not inputs.tape()
    whole = len(inputs.tape())
    table = pq.read_table(files[0])
    pq.write_table(table.slice(0, len(table) // 2), files[0])
    assert len(inputs.tape()) < whole


def test_a_takers_fee_below_zero_is_said(tmp_path):
    """A slip of the sign would earn on every fill, so it is never taken in silence; fees of zero are common."""
    inputs = Inputs(spot_fee_bps=-5.0, perp_fee_bps=5.0)
    assert [line for line in heading(inputs, inputs.tape()).lines if "below zero" in line] == [
        "mexc is taken to pay 5 bps of every fill to us: --spot-fee-bps is below zero"
    ]


def test_takers_fees_that_pay_for_a_round_trip_are_refused_before_the_first_notebook(capsys):
    """2 * (0.5 - 2) bps; the rebate of orders that rest is no such slip."""
    assert pipeline.main(["--spot-fee-bps=0.5", "--perp-fee-bps=-2"]) == 2
    assert "the four taker fees of a round trip add up to -3 bps" in capsys.readouterr().err
    spot, perp = Inputs(spot_maker_fee_bps="-10", spot_fee_bps=0.0, perp_fee_bps=0.0).terms()
    check_fees(spot, perp)
    assert spot.maker_fee == -0.001
