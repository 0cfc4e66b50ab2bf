"""What was recorded or downloaded is read by pair and range: the very numbers, growing or finished, or a question."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from test_resting import resting_rule

import delta_arb as da
from delta_arb.backtest.replay import run
from delta_arb.collect.history import CANDLE_COLUMNS, FUNDING_COLUMNS, Stored, write
from delta_arb.collect.recording_files import RecordingWriter, compact_days, compact_stream
from delta_arb.errors import DataError, ParamsError
from delta_arb.latency import Latency
from delta_arb.live.venues.book_feed import gate_trades
from delta_arb.market import NS
from delta_arb.quotes.depth_and_trades import levels_behind
from delta_arb.quotes.files import files_of
from delta_arb.quotes.recorded import MARK, content_digest
from delta_arb.quotes.stream_file import LEVELS, QUOTES, STREAM, TRADES
from delta_arb.report.job import job_of
from delta_arb.report.options import PipelineOptions

DAY_S = 1_769_731_200  # 2026-01-30 00:00 UTC
PAIR, OTHER = "LUNC_USDT", "DOGE_USDT"
LEGS = {"spot": "mexc/spot", "perp": "gate/perp"}
GATE = {"name": PAIR, "quanto_multiplier": "1000", "order_size_min": 1, "order_price_round": "0.0001",
        "leverage_max": "20", "maintenance_rate": "0.02"}  # fmt: skip
MEXC = {"baseAsset": "LUNC", "quoteAsset": "USDT", "baseAssetPrecision": 2, "baseSizePrecision": "0.01",
        "quoteAmountPrecision": "1", "quoteAssetPrecision": 4}  # fmt: skip
BEGIN_S = DAY_S + 86_400 - 1800  # half an hour before midnight


WALK = np.cumsum(np.random.default_rng(5).integers(-2, 3, 4000))  # both legs follow it: two others are refused


def prices(leg, k):
    bid = 8000 + int(WALK[k]) + (leg == "perp") * (3 + k % 2)
    return f"0.{bid}", str(20 + k % 5), f"0.{bid + 2}", str(30 + k % 3)


def record(data, leg, rows=3000, begin_s=BEGIN_S):
    """Quotes every second from half an hour before midnight; spot a little before the perpetual."""
    market = data / LEGS[leg]
    for pair in (PAIR, OTHER):
        (market / pair / "quotes").mkdir(parents=True, exist_ok=True)
        (market / pair / "quotes" / MARK).write_text("{}")
    into = RecordingWriter(market, QUOTES, (OTHER, PAIR), [(4, 0, 4, 0)] * 2)
    for k in range(rows):
        at_ns = (begin_s + k) * NS + (leg == "perp") * NS // 2
        into.add((1, at_ns, at_ns - 2_000_000, k, *prices(leg, k)))
        into.add((0, at_ns, at_ns - 2_000_000, k, "0.1", "1", "0.2", "1"))
        if k % 100 == 99:
            into.flush()
    into.flush()
    return into


@pytest.fixture
def data(tmp_path):
    for folder, rules in (("mexc/spot", {"symbols": [MEXC]}), ("gate/perp", [GATE])):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "rules.json").write_text(json.dumps(rules))
    return tmp_path


@pytest.fixture
def both(data):
    return data, [record(data, leg) for leg in LEGS]


def finish(data, writers):
    for into in writers:
        into.close()
    for leg in LEGS.values():
        for stream in sorted((data / leg / "streams" / "quotes").glob(f"*{STREAM}")):
            compact_stream(stream, data / leg)
        compact_days(data / leg / PAIR / "quotes", (DAY_S + 2 * 86_400) * NS)


def expected(rows=3000):
    """The tape by hand: an event a row, from the first at which both legs are known to the earlier of both last ones."""
    at = [(BEGIN_S + k) * NS + half * NS // 2 for k in range(rows) for half in (0, 1)]
    return at[1:-1]


def test_a_growing_and_a_finished_recording_are_read_as_they_were_quoted(both):
    data, writers = both
    growing = da.read_quotes(data=data, pair=PAIR, funding="none")
    finish(data, writers)
    assert not list(data.rglob(f"*{STREAM}"))
    finished = da.read_quotes(data=str(data), pair="LUNC/USDT", funding="none")
    for tape in (growing, finished):
        assert tape.ts_ns.tolist() == expected()
        assert tape.spot_bid[1::2].tolist() == [float(prices("spot", k)[0]) for k in range(1, 3000)]
        assert tape.perp_ask[::2].tolist() == [float(prices("perp", k)[2]) for k in range(2999)]
        assert tape.perp_ask_qty[::2].tolist() == [
            1000.0 * (30 + k % 3) for k in range(2999)
        ]  # contracts of 1000 coins
        assert tape.inputs.contract_size == 1000.0
        assert [t.price_tick for t in tape.inputs.terms()] == pytest.approx([1e-4, 1e-4])


def test_a_run_keeps_what_it_read_of_a_growing_and_a_finished_recording(both):
    """The pipeline reads the quotes once for all its notebooks, and knows by the files whether they changed."""
    data, writers = both
    found = da.read_quotes(data=data, pair=PAIR, funding="none", until="2026-02-01").inputs
    for _ in range(2):
        found.keep()
        assert found.tape().ts_ns.tolist() == expected()
        finish(data, writers)


def test_a_range_is_read_from_its_own_files_alone(both):
    data, writers = both
    finish(data, writers)
    for leg in LEGS.values():
        (data / leg / PAIR / "quotes" / "2026-01-30.parquet").write_bytes(b"not opened")
    tape = da.read_quotes(data=data, pair=PAIR, funding="none", since="2026-01-31", until="2026-01-31T00:05")
    assert tape.start_ns == (DAY_S + 86_400) * NS + NS // 2
    assert tape.end_ns == (DAY_S + 86_400 + 299) * NS
    with pytest.raises(DataError, match="damaged"):
        da.read_quotes(data=data, pair=PAIR, funding="none", until="2026-01-31")


def test_the_digest_of_a_range_stays_while_the_recording_grows_and_is_compacted(both):
    data, writers = both
    path = f"{data / LEGS['spot'] / PAIR / 'quotes'}#2026-01-30T23:40:00..2026-01-30T23:50:00"
    before = content_digest(path)
    finish(data, writers)
    assert content_digest(path) == before
    record(data, "spot", 10, BEGIN_S + 86_400).close()
    assert content_digest(path) == before != content_digest(path.replace("23:50:00", "23:50:01"))


def test_the_pipeline_finds_quotes_funding_and_rules(both):
    data, _ = both
    stamps = [(DAY_S + 8 * 3600 * k) * 1000 for k in range(8)]
    write(
        data / "gate/perp" / PAIR / "funding" / "2026-01.parquet",
        FUNDING_COLUMNS,
        Stored(stamps[0], stamps[-1] + 1, tuple((ms, 1e-4) for ms in stamps)),
    )
    job = job_of(PipelineOptions(data=str(data), pair=PAIR, since=(BEGIN_S + 60) * 1000, until=(BEGIN_S + 120) * 1000))
    tape = job.inputs.tape()
    assert (tape.start_ns, tape.end_ns) == ((BEGIN_S + 60) * NS + NS // 2, (BEGIN_S + 119) * NS)
    assert len(job.inputs.payments(tape)) == 8
    assert Path(job.inputs.spot_rules) == data / "mexc/spot/rules.json"
    assert job.values["01_spread_analysis"]["spot"].endswith("quotes#2026-01-30T23:31:00..2026-01-30T23:32:00")


def one_bar(leg, k):
    first, last = (0.8 + WALK[k + 100 + d] / 1000 + (leg == LEGS["perp"]) * 0.0003 * (k % 2) for d in (0, 1))
    return first, max(first, last) + 0.0001, min(first, last) - 0.0001, last


def candles(data, bar="1h", step_s=3600):
    for leg in LEGS.values():
        rows = [(1000 * (DAY_S + k * step_s), *one_bar(leg, k), 5e6) for k in range(-100, 100)]
        for month, inside in (("2026-01", rows[:147]), ("2026-02", rows[147:])):
            path = data / leg / PAIR / f"candles_{bar}" / f"{month}.parquet"
            write(path, CANDLE_COLUMNS, Stored(inside[0][0], inside[-1][0] + 1, tuple(inside)))


def test_candles_are_asked_for_their_half_spreads_and_then_read_by_month(data):
    candles(data)
    asked = {"data": data, "pair": PAIR, "funding": "none"}
    with pytest.raises(ParamsError, match=r"holds candles of LUNC_USDT \(1h\).*--spot-half-spread-bps"):
        da.read_quotes(**asked)
    stated = {"spot_half_spread_bps": 5.0, "perp_half_spread_bps": 5.0}
    for leg in LEGS.values():
        (data / leg / PAIR / "candles_1h" / "2026-01.parquet").write_bytes(b"not opened")
    tape = da.read_quotes(**asked, **stated, since="2026-02-01", until="2026-02-02")
    assert tape.bar_s == 3600.0
    assert tape.start_ns == (DAY_S + 2 * 86_400 + 3600) * NS  # known at its end
    assert tape.end_ns - (DAY_S + 3 * 86_400) * NS in (0, 1)
    of_a_minute = 5e6 / 60 * 0.01  # what was downloaded is in coins already, of both legs, whatever a contract is
    assert tape.spot_ask_qty.max() == tape.perp_ask_qty.max() == pytest.approx(of_a_minute)
    assert "CANDLES" in repr(tape) and "SYNTHETIC" not in repr(tape)


def test_recorded_quotes_of_one_leg_are_no_pair(data):
    record(data, "spot", 10)
    with pytest.raises(
        ParamsError, match=r"no quotes and no candles .*\(spot: quotes, perp: nothing\); record or download"
    ):
        da.read_quotes(data=data, pair=PAIR, funding="none")


def test_a_range_of_a_folder_without_dates_is_refused(tmp_path):
    write(tmp_path / "mine.parquet", CANDLE_COLUMNS, Stored(0, 1, ()))
    with pytest.raises(DataError, match=r"mine.parquet: its name is no month, day or hour"):
        files_of(f"{tmp_path}#2026-01-01..")
    with pytest.raises(DataError, match=r"a time is like 2026-01-31 .* was soon"):
        files_of(f"{tmp_path}#soon..")


def test_missing_funding_is_a_question(both):
    data, _ = both
    with pytest.raises(ParamsError, match=r"holds no settled funding of LUNC_USDT; fetch it .* --funding none"):
        da.read_quotes(data=data, pair=PAIR)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"since": 1}, "give --data FOLDER or URL with them"),
        ({"data": "data", "spot": "a", "perp": "b"}, "leave --spot and --perp away"),
        ({"data": "data"}, "name the pair"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, said):
    with pytest.raises(ParamsError, match=said):
        job_of(PipelineOptions(**options))


def test_a_damaged_growing_file_is_refused_by_name(both):
    data, (spot, _) = both
    whole = bytearray(spot.growing.read_bytes())
    whole[len(whole) // 2] ^= 1
    spot.growing.write_bytes(whole)
    with pytest.raises(DataError, match=rf"{spot.growing.name}.*not as they were written"):
        da.read_quotes(data=data, pair=PAIR, funding="none")


def test_the_recorded_folder_is_read_without_data_too(both):
    data, _ = both
    legs = {leg: f"{data / folder / PAIR / 'quotes'}" for leg, folder in LEGS.items()}
    tape = da.read_quotes(**legs, funding="none", contract_size=1000)
    assert np.array_equal(tape.ts_ns, expected())


SPOT_TRADES = [  # s, taker, USDT, coins
    (10, 1, "0.8001", "12.5"), (11, -1, "0.80005", "7"), (11, 1, "0.8001", "3"), (900, -1, "0.8", "0.25"),
]  # fmt: skip
GATE_TRADES = [
    (20, -3, "0.8004"),
    (30, 2, "0.8011"),
]  # s, contracts of 1000 coins and below 0 where the taker sold, USDT


def record_trades(data):
    """Beside the quotes, as the venues told them; the second spot price is finer than its grid, so a new file is begun."""
    gate = [
        gate_trades({"result": [{"contract": PAIR, "size": size, "price": price, "id": 7, "create_time_ms": 1.0}]})[0]
        for _, size, price in GATE_TRADES
    ]
    told = {
        "spot": SPOT_TRADES,
        "perp": [(at[0], push.side, *push[4:]) for at, push in zip(GATE_TRADES, gate, strict=True)],
    }
    writers = []
    for leg, trades in told.items():
        folder = data / LEGS[leg] / PAIR / "trades"
        folder.mkdir(parents=True)
        (folder / MARK).write_text("{}")
        writers.append(RecordingWriter(data / LEGS[leg], TRADES, (OTHER, PAIR), [(4, 2)] * 2))
        for at_s, side, price, qty in trades:
            writers[-1].add((1, (BEGIN_S + at_s) * NS, 1, 7, side, price, qty))
            writers[-1].add((0, (BEGIN_S + at_s) * NS, 1, 7, 1, "5", "5"))
            writers[-1].flush()
    return writers


def compact_trades(data):
    for leg in LEGS.values():
        for stream in sorted((data / leg / "streams" / "trades").glob(f"*{STREAM}")):
            compact_stream(stream, data / leg)
        compact_days(data / leg / PAIR / "trades", (DAY_S + 2 * 86_400) * NS)


def test_recorded_trades_are_what_a_resting_order_fills_by(both):
    data, _ = both
    writers = record_trades(data)
    growing = da.read_quotes(data=data, pair=PAIR, funding="none")
    for into in writers:
        into.close()
    compact_trades(data)
    assert (data / LEGS["spot"] / PAIR / "trades" / "2026-01-30.parquet").exists()
    finished = da.read_quotes(data=data, pair=PAIR, funding="none")
    typed = {f"{leg}{kind}": str(data / at / PAIR / name) for leg, at in LEGS.items()
             for kind, name in (("", "quotes"), ("_trades", "trades"))}  # fmt: skip
    for tape in (growing, finished, da.read_quotes(**typed, funding="none", contract_size=1000)):
        spot, perp = tape.queues.spot, tape.queues.perp
        assert spot.ts_ns.tolist() == [(BEGIN_S + at) * NS for at in (10, 11, 11, 900)]
        assert (spot.side.tolist(), spot.price.tolist()) == ([1, -1, 1, -1], [0.8001, 0.80005, 0.8001, 0.8])
        assert spot.qty.tolist() == [12.5, 7.0, 3.0, 0.25]
        assert perp.ts_ns.tolist() == [(BEGIN_S + at) * NS for at in (20, 30)]
        assert (perp.side.tolist(), perp.price.tolist()) == ([-1, 1], [0.8004, 0.8011])
        assert perp.qty.tolist() == [3000.0, 2000.0]
    said = [[re.sub(r"#\.\.\S+", "", note) for note in of.inputs.notes(of)] for of in (growing, finished)]
    assert said[0] == said[1]  # but for the second until which they were asked for
    assert "resting under back" in repr(run(finished, resting_rule("perp"), Latency(0.1, 0.1), plain=True))


def test_recorded_levels_are_read_beside_the_quotes_and_the_run_says_so(both):
    """Two of five levels are there on each side; the perpetual's are contracts of 1000 coins. It has none recorded here."""
    data, _ = both
    for into in record_trades(data):
        into.close()
    folder = data / LEGS["spot"] / PAIR / "levels"
    folder.mkdir(parents=True)
    (folder / MARK).write_text("{}")
    empty, told = ("", "") * 3, []
    writer = RecordingWriter(data / LEGS["spot"], LEVELS, (OTHER, PAIR), [(4, 2) * 10] * 2)
    for at_s, bid in ((10, "0.8"), (20, "0.7999")):
        told.append((bid, "30", "0.79", "60", *empty, "0.8002", "20", "0.8004", "5.5", *empty))
        writer.add((1, (BEGIN_S + at_s) * NS, 1, 7, *told[-1]))
    writer.flush()
    writer.close()
    tape = da.read_quotes(data=data, pair=PAIR, funding="none")
    spot, perp = tape.depths
    assert spot.ts_ns.tolist() == [(BEGIN_S + at) * NS for at in (10, 20)] and not len(perp.ts_ns)
    assert spot.bid.tolist() == [0.8, 0.79, 0.0, 0.0, 0.0, 0.7999, 0.79, 0.0, 0.0, 0.0]
    assert spot.ask_qty.tolist() == [20.0, 5.5, 0.0, 0.0, 0.0] * 2
    notes = tape.inputs.notes(tape)
    assert any(note.startswith("2 snapshots of five levels of spot") for note in notes)
    assert any(note.startswith("no deeper levels of the perpetual recorded") for note in notes)
    assert levels_behind(spot, (BEGIN_S + 10) * NS, 0.8, 0.8002) == ([(0.79, 60.0)], [(0.8004, 5.5)])
    assert levels_behind(spot, (BEGIN_S + 12) * NS, 0.8, 0.8002) == ([], [])  # older than a second


def test_a_run_says_which_trades_it_read_and_under_what_it_fills(both):
    data, _ = both
    record_trades(data)
    asked = {
        "data": str(data),
        "pair": PAIR,
        "funding": "none",
        "since": BEGIN_S * 1000,
        "until": (BEGIN_S + 60) * 1000,
    }
    job = job_of(PipelineOptions(**asked))
    tape = job.inputs.tape()
    assert len(tape.queues.spot.ts_ns) == 3  # that of second 900 is outside the range
    *_, spot, perp = job.inputs.data_params(tape, None).notes
    assert spot.startswith(
        "3 trades of others on spot from trades#2026-01-30T23:30:00..2026-01-30T23:31:00, "
        "2026-01-30 23:30:10.000 to 2026-01-30 23:30:11.000 UTC, SHA-256 "
    )
    assert perp.startswith("2 trades of others on the perpetual") and perp.endswith("fills under back")
    assert job.values["02_optimization"]["spot_trades"] == job.inputs.spot_trades
    mine = data / "mine.csv"
    mine.write_text(f"timestamp,price,quantity,side\n{BEGIN_S + 5},0.8,1,buy\n")
    given = job_of(PipelineOptions(**asked, spot_trades=str(mine))).inputs.tape()
    assert given.queues.spot.qty.tolist() == [1.0] and len(given.queues.perp.ts_ns) == 2
    mine.write_text(f"timestamp,price,quantity,side\n{BEGIN_S + 5},0.8,1,buy\n{BEGIN_S + 6},0.8,0,sell\n")
    job = job_of(PipelineOptions(**asked, spot_trades=str(mine)))
    tape = job.inputs.tape()
    assert tape.queues.spot.qty.tolist() == [1.0]
    assert "1 trade of size 0 on spot skipped: nothing was traded" in job.inputs.data_params(tape, None).notes


def test_recorded_trades_without_their_quotes_are_refused(both):
    data, _ = both
    for into in record_trades(data):
        into.close()
    spot, perp = (data / at / PAIR for at in LEGS.values())
    legs = {"spot": str(spot / "quotes"), "perp": str(perp / "quotes"), "funding": "none", "contract_size": 1000}
    with pytest.raises(
        ParamsError, match=r"has the clock and the sizes of the quotes beside it; give .*quotes as this leg's"
    ):
        da.read_quotes(**legs, spot_trades=str(perp / "trades"))
    with pytest.raises(
        DataError, match=r"has our own stamps, which contain the feed's latency; leave the feed latency away"
    ):
        da.read_quotes(data=data, pair=PAIR, funding="none", spot_feed_latency=0.1)
    with pytest.raises(DataError, match=r"holds quotes; give the folder trades beside it"):
        da.read_quotes(**legs, spot_trades=str(spot / "quotes"))
    compact_trades(data)
    with pytest.raises(DataError, match=r"is one file of a recording; give its folder, or a range of it"):
        da.read_quotes(**legs, spot_trades=str(spot / "trades" / "2026-01-30.parquet"))
    with pytest.raises(DataError, match=r"has no rows; give a range in which trades were recorded"):
        da.read_quotes(**legs, spot_trades=f"{spot / 'trades'}#2026-01-31..2026-02-01")
