"""The public way in: `import delta_arb as da`, the lines of the README, tables in memory, results with a face."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

import delta_arb as da
from delta_arb.errors import DataError, ParamsError
from delta_arb.optimize.study import Thresholds, market
from delta_arb.quotes.inputs import Inputs

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
SAMPLE = Path(__file__).parent.parent / "data" / "sample"
HEAVY = ("numpy", "pandas", "numba", "ccxt", "scipy", "pyarrow", "pydantic", "matplotlib")
FREE = {"funding": "none", "contract_size": 1}


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def leg(*books: tuple[float, float], start="2026-01-05 00:00:00+00:00") -> pd.DataFrame:
    """A book every half second, five coins on either side, by time."""
    times = pd.date_range(start, periods=len(books), freq="500ms", name="timestamp")
    prices = pd.DataFrame(books, columns=["bid_price", "ask_price"], index=times)
    return prices.assign(bid_quantity=5.0, ask_quantity=5.0)


SPOT = leg(*[(99.9, 100.0)] * 6, *[(100.0, 100.1)] * 6)
PERP = leg(*[(101.0, 101.1)] * 6, *[(99.9, 100.0)] * 6)


@pytest.fixture(scope="module")
def result():
    """One pair: opened at (101 - 100) / 100 = 100 bps, left at (100 - 100) / 100 = 0 bps."""
    rule = da.Rule(entry_bps=50, exit_bps=10, clip_usdt=100)
    return da.backtest(da.read_quotes(SPOT, PERP, **FREE), rule, da.Market(fee_bps=10, latency_s=0.1))


# --- names -----------------------------------------------------------------------------------------------------------


def test_importing_loads_nothing_heavy():
    assert python(f"import sys, delta_arb as da; dir(da); print([m for m in {HEAVY} if m in sys.modules])") == "[]"


def test_every_public_name_is_there_and_nothing_else_is_promised():
    assert all(getattr(da, name) is not None for name in da.__all__)
    assert set(da.__all__) <= set(dir(da))
    with pytest.raises(AttributeError, match="no attribute 'backtests'"):
        _ = da.backtests


@pytest.mark.parametrize("first", ["", "from delta_arb.backtest import sweep", "import delta_arb.api"])
def test_backtest_is_a_function_whatever_was_imported_first(first):
    said = python(f"{first}\nimport delta_arb as da\nimport delta_arb.backtest.replay\n"
                  "print(callable(da.backtest), da.backtest.replay.run.__name__)")  # fmt: skip
    assert said == "True run"


# --- the lines of the README -----------------------------------------------------------------------------------------


def test_the_lines_of_the_documentation_run(monkeypatch):
    monkeypatch.chdir(SAMPLE.parent.parent)
    page, here = (SAMPLE.parent.parent / "docs" / "api.md").read_text("utf-8"), {}
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert re.search(r"```python\n(import delta_arb as da\n.*?)```", README, re.DOTALL)[1] == blocks[0]
    for lines in ("import delta_arb as da", *blocks[1:]):
        exec(lines, here)


def test_the_lines_of_the_readme_give_a_trade_table_a_tear_sheet_and_a_plot(monkeypatch):
    lines = re.search(r"```python\n(import delta_arb as da\n.*?)```", README, re.DOTALL)[1]
    assert len([line for line in lines.splitlines() if line.strip()]) <= 10
    monkeypatch.chdir(SAMPLE.parent.parent)
    here = {}
    exec(lines, here)
    result = here["result"]
    assert len(result.trades) == len(result.replay.trades) > 0
    assert "Where the money came from" in repr(result.tear_sheet())
    assert result.plot().png().startswith(b"\x89PNG")


# --- a pair by hand --------------------------------------------------------------------------------------------------


def test_a_pair_from_two_tables_earns_what_one_adds_up_by_hand(result):
    """Spot 100 to 100, perpetual sold at 101 and bought at 100; fees of 10 bps on 100, 101, 100 and 100."""
    (trade,) = result.trades.to_dict("records")
    assert (trade["reason"], trade["side"], trade["qty_coins"]) == ("target", "direct", 1.0)
    prices = [trade[f"{name}_usdt"] for name in ("spot_in", "perp_in", "spot_out", "perp_out")]
    assert prices == [100.0, 101.0, 100.0, 100.0]
    assert trade["fees_usdt"] == pytest.approx(0.401)
    assert trade["net_usdt"] == pytest.approx(1.0 - 0.401)


def test_times_are_utc_and_units_stand_in_the_names(result):
    assert (
        str(result.trades.index[0]) == "2026-01-05 00:00:00.100000+00:00"
    )  # the first fill, a latency after the quote
    assert str(result.trades["closed"].iloc[0]) == "2026-01-05 00:00:03.100000+00:00"
    assert str(result.equity.index.tz) == "UTC"
    assert result.equity.columns[0] == "net_usdt"
    assert result.equity["net_usdt"].iloc[-1] == pytest.approx(0.599)
    parts = result.equity[["spot_usdt", "perp_usdt", "funding_usdt", "residual_usdt"]].sum(axis=1)
    assert (parts - result.equity["fees_usdt"] - result.equity["net_usdt"]).abs().max() < 1e-12


def test_a_result_says_in_one_line_what_it_is_and_on_the_page_what_was_assumed(result):
    assert repr(result) == (
        "COIN_USDT-mexc-gate, Rule(entry_bps=50, exit_bps=10, clip_usdt=100): Backtest(1 trades, net 0.5990 USDT, 0.00 days)"
    )
    assert "fee 10 bps, latency 0.1 s, contract of 1, step 1" in result._repr_html_()


def test_trades_are_written_as_csv(result, tmp_path):
    read = pd.read_csv(result.to_csv(tmp_path / "trades.csv"))
    assert read["net_usdt"].tolist() == pytest.approx([0.599])


def test_funding_of_a_table_is_received_by_the_short_that_was_held_into_the_stamp():
    """One coin short over 08:00, opened a second before: 0.001 of the mark of 101, beside the 0.599 of the prices."""
    stamps = pd.date_range("2026-01-05 00:00", periods=4, freq="8h", tz="UTC", name="timestamp")
    funding = pd.DataFrame({"funding_rate": [0.0002, 0.001, 0.0002, 0.0002], "mark_price": 101.0}, index=stamps)
    spot, perp = (table.set_axis(table.index + pd.Timedelta("7h59min59s")) for table in (SPOT, PERP))
    tape = da.read_quotes(spot, perp, funding=funding, contract_size=1)
    result = da.backtest(tape, da.Rule(entry_bps=50, exit_bps=10, clip_usdt=100), da.Market(fee_bps=10, latency_s=0.1))
    assert result.trades["funding_usdt"].tolist() == pytest.approx([0.101])
    assert result.trades["net_usdt"].tolist() == pytest.approx([0.599 + 0.101])


@pytest.mark.parametrize(
    "names", [("bid", "ask", "bid_size", "ask_size"), ("bidPrice", "askPrice", "bidQty", "askQty")]
)
def test_tables_with_other_usual_names_are_the_same_tape(names, result):
    ours = ("bid_price", "ask_price", "bid_quantity", "ask_quantity")
    spot, perp = (table.rename(columns=dict(zip(ours, names, strict=True))) for table in (SPOT, PERP))
    tape = da.read_quotes(spot, perp, **FREE)
    assert tape.to_frame().equals(result.tape.to_frame())


def test_a_folder_and_a_table_are_the_same_tape(tmp_path, result):
    for name, table in (("spot", SPOT), ("perp", PERP)):
        (tmp_path / name).mkdir()
        table.reset_index().to_parquet(tmp_path / name / "day.parquet")
    tape = da.read_quotes(tmp_path / "spot", str(tmp_path / "perp"), **FREE)
    assert tape.to_frame().equals(result.tape.to_frame())


# --- the market ------------------------------------------------------------------------------------------------------


def test_a_market_says_the_fees_and_latencies_of_both_legs_or_of_each():
    both, each = da.Market(fee_bps=7, latency_s=0.2), da.Market(fee_bps=(5, 2), latency_s=(0.1, "0.3~0.9"))
    assert [leg.taker_fee_bps for leg in (both.spot, both.perp)] == [7.0, 7.0]
    assert [leg.taker_fee_bps for leg in (each.spot, each.perp)] == [5.0, 2.0]
    assert (each.latency.spot_s, each.latency.perp_s, each.latency.perp.p99_s) == (0.1, 0.3, 0.9)


def test_a_rule_that_rests_needs_the_makers_fee_of_its_leg():
    market = da.Market(fee_bps=5, maker_fee_bps=(0, None))
    assert (market.spot.maker_fee_bps, market.perp.maker_fee_bps, market.spot.taker_fee_bps) == (0.0, None, 5.0)
    assert "fee 5 bps (makers 0)" in repr(market) and repr(market).count("makers") == 1
    tape = da.read_quotes(SPOT, PERP, **FREE, spot_tick=0.01)
    rule = da.Rule(entry_bps=5, exit_bps=1, spot_role="maker", resting={"adverse_bps": 1.0}, clip_usdt=100)
    assert "makers 0" in repr(da.backtest(tape, rule, market).market)
    with pytest.raises(ParamsError, match=r"fee of .* for makers is not known: state maker_fee_bps"):
        da.backtest(tape, rule, da.Market(fee_bps=5))


def test_what_a_market_does_not_say_comes_with_the_quotes():
    tape = da.read_quotes(
        SPOT, PERP, funding="none", contract_size=2.5, perp_format="quantity=coins", spot_min_usdt=3.0
    )
    market = da.Market(fee_bps=(1, 2)).on(tape, da.Rule(clip_usdt=500))
    assert (market.perp.contract_size, market.perp.qty_step, market.spot.min_notional_usdt) == (2.5, 2.5, 3.0)
    assert (market.spot.taker_fee_bps, market.perp.taker_fee_bps) == (1.0, 2.0)
    assert market.payments == ()
    own = da.Market(perp=da.VenueTerms(venue="okx", taker_fee_bps=3, qty_step=0.1)).on(tape, da.Rule(clip_usdt=500))
    assert (own.perp.venue, own.perp.taker_fee_bps, own.perp.qty_step, own.perp.contract_size) == ("okx", 3.0, 0.1, 2.5)


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: da.read_quotes(SPOT, PERP, contract_size=1), 'say that it is left out with funding="none"'),
        (lambda: da.read_quotes("", PERP, **FREE), "give the quotes of the spot leg"),
        (lambda: da.read_quotes(SPOT, PERP, funding="none"), "contract size"),
        (lambda: da.read_quotes(SPOT, PERP, **FREE, spot_fee_bps=1), "fees, latencies, leverage and wallets belong to da.Market"),
        (lambda: da.read_quotes(SPOT, PERP, **FREE, spotkind="updates"), "read_quotes has no option spotkind"),
        (lambda: da.read_quotes(SPOT, PERP, **FREE, since="2026-01-31"), "without data=, read_quotes has no option since"),
        (lambda: da.Rule(entry_bps=5, exit_bps=9), "exit_bps must be below entry_bps, was exit_bps=9"),
        (lambda: da.Rule(entry_bps=5), "entry_bps and exit_bps belong together"),
        (lambda: da.Rule(entry_bps=5, exit_bps=1, clip_usdt=-5), r"^clip_usdt: should be greater than 0 \(was -5\)$"),
        (lambda: da.Market(fee_bps=600), "taker_fee_bps: should be less than or equal to 500"),
        (lambda: da.Market(fee_bps=(1, 2, 3)), "fee_bps is one value of both legs"),
        (lambda: da.Market(latency_s=0), "must be above 0"),
        (lambda: da.Market(5, 0.1), "spot is VenueTerms.*a fee is given as fee_bps=5"),
        (lambda: da.read_quotes(3, PERP, **FREE), "spot is a file, a folder or a DataFrame, was int"),
        (lambda: da.backtest("spot.parquet", da.Rule(entry_bps=5, exit_bps=1)), "what da.read_quotes gives, was str"),
        (lambda: da.read_quotes(pd.concat([SPOT, SPOT["bid_price"]], axis=1), PERP, **FREE), "several columns of the name bid_price"),
        (lambda: da.backtest(da.read_quotes(SPOT, PERP, **FREE), da.Rule(entry_bps=5, exit_bps=1), 5), "market is a da.Market, was int"),
        (lambda: da.choose(da.read_quotes(SPOT, PERP, **FREE), None, 15), "come as a da.Rule, was int"),
        (lambda: da.choose(da.read_quotes(SPOT, PERP, **FREE), None, None, {"hit_rate": 0.9}), "demands are da.Constraints, was dict"),
        (lambda: da.judge(None, None), "what da.choose gives, was NoneType"),
        (lambda: da.save_params({}, "latest.json"), "what da.judge or da.load_params gives, was dict"),
        (lambda: da.Market(spot=da.VenueTerms(venue="a"), fee_bps=1), "leave fee_bps and latency_s away"),
        (lambda: da.backtest(da.read_quotes(SPOT, PERP, **FREE), da.Rule()), "a backtest needs thresholds"),
        (lambda: da.sweep(da.read_quotes(SPOT, PERP, **FREE), None, [], [1.0], da.Rule(clip_usdt=100)), "entries are finite thresholds"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_in_one_line(ask, says):
    with pytest.raises(ParamsError, match=says) as refused:
        ask()
    assert "\n" not in str(refused.value)


def test_tables_of_other_libraries_come_by_their_arrow_stream():
    class Streamed:
        """As polars, duckdb and others hand out a table."""

        def __init__(self, frame):
            self.table = pa.Table.from_pandas(frame)

        def __arrow_c_stream__(self, schema=None):
            return self.table.__arrow_c_stream__(schema)

    of_pandas = da.read_quotes(SPOT, PERP, **FREE).to_frame()
    pd.testing.assert_frame_equal(
        da.read_quotes(pa.Table.from_pandas(SPOT), Streamed(PERP), **FREE).to_frame(), of_pandas
    )


def test_a_table_without_prices_is_refused_by_its_leg():
    with pytest.raises(DataError, match="the perp table"):
        da.read_quotes(SPOT, PERP.drop(columns="ask_price"), **FREE)


# --- maps, choice and verdict ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample():
    files = (str(SAMPLE / name) for name in ("spot.parquet", "perp.parquet"))
    return da.read_quotes(*files, funding=str(SAMPLE / "funding.parquet"), contract_size=10, pair="SYN/USDT")


def test_a_map_of_thresholds_has_the_figures_of_single_backtests(sample):
    tried = da.sweep(sample, da.Market(), [10, 20], [-10, 15])
    assert tried[["entry_bps", "exit_bps"]].to_numpy().tolist() == [
        [10, -10],
        [20, -10],
        [20, 15],
    ]  # an exit below its entry
    alone = da.backtest(sample, da.Rule(entry_bps=20, exit_bps=-10))
    assert tried["net_usdt"][1] == pytest.approx(alone.trades["net_usdt"].sum(), abs=1e-9)
    assert tried["trades"][1] == len(alone.trades)
    assert tried.plot().png().startswith(b"\x89PNG")


def test_a_map_without_an_exit_below_its_entry_is_empty_and_says_so():
    tried = da.sweep(da.read_quotes(SPOT, PERP, **FREE), None, [5.0], [9.0], da.Rule(clip_usdt=100))
    assert len(tried) == 0 and "no exit lies below an entry" in repr(tried.plot())


def test_a_backtest_is_what_the_notebooks_replay(sample):
    part = sample.between(sample.start_ns, sample.start_ns + 3600 * 10**9)
    theirs = market(Inputs(pair="SYN_USDT"), part, da.Rule()).replay(part, Thresholds(12.0, -5.0, 6 * 3600.0))
    assert da.backtest(part, da.Rule(entry_bps=12, exit_bps=-5)).replay.trades == theirs.trades != ()


def test_a_verdict_is_saved_and_read_with_the_market_it_was_judged_on(sample, tmp_path):
    part = sample.between(sample.start_ns, sample.start_ns + 8 * 3600 * 10**9)
    choice = da.choose(part, da.Market(fee_bps=(4, 3)))
    verdict = da.judge(part, choice)
    read = da.load_params(da.save_params(verdict, tmp_path / "latest.json"))
    assert (read.trade, read.reason, read.pair) == (verdict.trade, verdict.reason, "SYN_USDT")
    assert (read.spot.taker_fee_bps, read.perp.taker_fee_bps, read.perp.contract_size) == (4.0, 3.0, 10.0)
    assert choice._repr_html_() and verdict._repr_html_()


def test_how_the_basis_comes_back_is_told_with_its_interval(sample):
    """The generator's half-life is 600 s (data/sample/truth.json)."""
    found = da.mean_reversion(sample)
    low, high = found.interval_s
    assert low < 600 < high and low < found.half_life_s < high
    assert found.plot().png().startswith(b"\x89PNG")
    assert "half-life" in found._repr_html_()


# --- sliders ---------------------------------------------------------------------------------------------------------


def test_the_sliders_begin_at_what_was_given_and_replay_what_they_say(result):
    given = da.Market(fee_bps=10, latency_s=0.1)
    found = da.explore(result.tape, da.Rule(entry_bps=50, exit_bps=10, clip_usdt=100), given)
    assert found.result.replay.trades == result.replay.trades and repr(found.market) == repr(result.market)
    assert "sliders where a kernel runs" in repr(found)
    found.sliders["spot_fee_bps"].value = found.sliders["perp_fee_bps"].value = 0.0
    found.sliders["latency_s"].value = 0.2
    same = da.backtest(result.tape, found.rule, da.Market(fee_bps=0, latency_s=0.2))
    assert found.result.replay.net_usdt == same.replay.net_usdt > result.replay.net_usdt
    found.sliders["max_hold_h"].value = 0.5
    assert found.rule.max_hold_s == 1800 and found.result.rule == found.rule


def test_sliders_that_cross_say_so_instead_of_a_figure(result):
    found = da.explore(result.tape, da.Rule(entry_bps=50, exit_bps=10, clip_usdt=100))
    found.sliders["exit_bps"].value = 60.0
    assert found.result is None and "exit_bps must be below entry_bps" in found.message
    found.sliders["exit_bps"].value = 10.0
    assert found.result is not None and found.message == ""


def test_a_cell_of_sliders_shows_them_and_a_text_that_is_the_same_every_time(result):
    bundles = [
        da.explore(result.tape, da.Rule(entry_bps=50, exit_bps=10, clip_usdt=100))._repr_mimebundle_() for _ in range(2)
    ]
    assert bundles[0]["text/plain"] == bundles[1]["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in bundles[0]


def test_sliders_need_a_place_to_begin(result):
    with pytest.raises(ParamsError, match="begin at thresholds"):
        da.explore(result.tape, da.Rule())


@pytest.mark.parametrize("ask", [da.backtest, da.explore])
def test_what_is_no_rule_is_refused_in_words(result, ask):
    with pytest.raises(ParamsError, match=r"da.Rule\(entry_bps=..., exit_bps=...\), was None"):
        ask(result.tape, None)
