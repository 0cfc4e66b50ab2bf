"""Files as people have them: each layout read to the numbers its writer had, and a question where no file can tell."""

import gzip
import itertools
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest

from delta_arb.errors import DataError, ParamsError
from delta_arb.formats.columns import on_grid
from delta_arb.formats.read import LegContext, read, read_frame
from delta_arb.formats.recognise import FormatOptions
from delta_arb.quotes.columns import CANDLES
from delta_arb.quotes.files import LegFile, is_candles, whole_columns

SHARED = Path(__file__).resolve().parents[2] / "shared" / "formats"
SPOT = LegContext("spot", "SYN_USDT", "mexc")
PERP = LegContext("perp", "SYN_USDT", "gate", 10.0)
# What a file does not say and a user must: whose clock, and the unit of a few round trades.
ANSWERS = {
    "tardis/downloaded/": "clock=venue",
    "arrow/perp_quotes_decimal": "clock=venue",
    "freqtrade/feather/futures/SYN_USDT_USDT-trades": "quantity=coins",
    "freqtrade/jsongz/futures/SYN_USDT_USDT-trades": "quantity=coins",
}
NAMES = {"bid": "bid_price", "bid_qty": "bid_quantity", "ask": "ask_price", "ask_qty": "ask_quantity",
         "rate": "funding_rate", "mark": "mark_price", "qty": "quantity"}  # fmt: skip
IN_SIZE = {"bid_quantity", "ask_quantity", "volume", "quantity"}


def shared():
    if not (SHARED / "expected.json").exists():
        return [
            pytest.param(None, marks=pytest.mark.skip(reason="the shared sample files are not beside this checkout"))
        ]
    return [pytest.param(e, id=f"{e['file']}-{e['leg']}") for e in json.loads((SHARED / "expected.json").read_text())]


def utc_text(ns):
    moment = datetime.fromtimestamp(int(ns) // 10**9, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{int(ns) % 10**9:09d}Z".replace(".000000000Z", "Z")


@pytest.mark.parametrize("entry", shared())
def test_every_shared_sample_reads_as_its_truth(entry):
    answer = next((text for begin, text in ANSWERS.items() if entry["file"].startswith(begin)), "")
    context = SPOT if entry["leg"] == "spot" else PERP
    reading = read(SHARED / entry["file"], entry["kind"], FormatOptions.of(answer), context)
    contract = 1.0 if reading.recognised.quantity == "coins" else context.contract_size
    every = (
        8 if entry["kind"] == "marks" and "freqtrade" in entry["file"] else 1
    )  # of hourly marks those at a settlement
    columns = {name: column[::every] for name, column in reading.columns.items()}
    assert len(columns["timestamp"]) == entry["rows"]
    assert entry["kind"] != "quotes" or reading.recognised.clock == entry["clock"]
    for row, at in (("first", 0), ("last", -1)):
        for name, value in entry[row].items():
            ours = NAMES.get(name, name)
            if name == "utc":
                assert utc_text(columns["timestamp"][at]) == value
            elif name == "side":
                assert bool(columns["buyer"][at]) == (value == "buy")
            else:
                assert columns[ours][at] * (contract if ours in IN_SIZE else 1.0) == pytest.approx(value, rel=1e-9)


# --- layouts of our own making, which always run ---------------------------------------------------------------------

START_MS = 1_767_225_600_000  # 2026-01-01 00:00 UTC
# open, high, low, close of a wandering price: each open is near the close before, and none equals it
WALK = np.random.default_rng(7).normal(0, 0.2, 40).cumsum() + 100
BARS = [
    (
        START_MS + 60_000 * k,
        round(c0 + 0.01, 4),
        round(max(c0, c1) + 0.05, 4),
        round(min(c0, c1) - 0.05, 4),
        round(c1, 4),
        100.0 + k,
    )
    for k, (c0, c1) in enumerate(itertools.pairwise(WALK))
]


def write(path, rows, header=""):
    text = "\n".join([*([header] if header else []), *(",".join(map(str, row)) for row in rows)]) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def as_bars(path, options="", columns="", context=SPOT):
    reading = read(path, "candles", FormatOptions.of(options, columns), context)
    c = reading.columns
    rows = list(
        zip(
            (c["timestamp"] // 1_000_000).tolist(),
            *(c[name].tolist() for name in ("open", "high", "low", "close", "volume")),
        )
    )
    return rows, reading.recognised


@pytest.mark.parametrize(("unit", "factor"), [("s", 0.001), ("ms", 1), ("us", 1000), ("ns", 1_000_000)])
def test_the_unit_of_a_time_is_proven_by_its_range(tmp_path, unit, factor):
    path = write(
        tmp_path / "a.csv", [(int(t * factor), *rest) for t, *rest in BARS], "timestamp,open,high,low,close,volume"
    )
    rows, recognised = as_bars(path)
    assert rows == BARS and recognised.time == unit


@pytest.mark.parametrize("order", ["tohlcv", "tochlv", "tvchlo"])
def test_places_of_a_file_without_names_are_proven_by_its_prices(tmp_path, order):
    path = write(tmp_path / "bars.csv.gz", [[bar["tohlcv".index(name)] for name in order] for bar in BARS])
    assert as_bars(path)[0] == BARS


REST = {
    "kucoin": lambda t, o, top, low, c, v: [str(t // 1000), o, c, top, low, v, v * c],
    "okx": lambda t, o, top, low, c, v: [str(t), o, top, low, c, v, v, v * c, "1"],
    "bybit": lambda t, o, top, low, c, v: [str(t), o, top, low, c, v, v * c],
    "mexc": lambda t, o, top, low, c, v: [t, str(o), str(top), str(low), str(c), str(v), t + 59_999, str(v * c)],
}


@pytest.mark.parametrize("venue", REST)
def test_answers_of_venues_saved_as_they_came_newest_first(tmp_path, venue):
    rows = [REST[venue](*bar) for bar in reversed(BARS)]
    (tmp_path / "a.json").write_text(
        json.dumps({"code": "0", "result": {"symbol": "SYNUSDT", "list": rows}, "time": 1})
    )
    found, recognised = as_bars(tmp_path / "a.json")
    assert found == BARS and venue in recognised.layout


def test_an_answer_of_columns_is_read_like_one_of_rows(tmp_path):
    names = ("time", "open", "high", "low", "close", "vol")
    columns = dict(zip(names, map(list, zip(*((t // 1000, *rest) for t, *rest in BARS)))))
    (tmp_path / "a.json").write_text(json.dumps({"success": True, "code": 0, "data": columns}))
    assert as_bars(tmp_path / "a.json")[0] == BARS


TEXTS = {
    "semicolons": ("time;open;high;low;close;volume", ";", "."),
    "decimal commas": ("time;open;high;low;close;volume", ";", ","),
    "tabs": ("time\topen\thigh\tlow\tclose\tvolume", "\t", "."),
    "a byte order mark": ("\ufefftime,open,high,low,close,volume", ",", "."),
    "spaces": ("Time, Open, High, Low, Close, Volume", ", ", "."),
    "a title": ("https://www.example.org\nUnix,Open,High,Low,Close,Volume SYN", ",", "."),
}


@pytest.mark.parametrize("what", TEXTS)
def test_text_as_programs_and_countries_write_it(tmp_path, what):
    header, separator, point = TEXTS[what]
    lines = [separator.join(str(cell).replace(".", point) for cell in bar) for bar in BARS]
    (tmp_path / "a.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    assert as_bars(tmp_path / "a.csv")[0] == BARS


def test_a_zip_of_one_file_and_an_index_without_a_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("SYNUSDT-1m.csv", "\n".join(",".join(map(str, bar)) for bar in BARS))
    assert as_bars(tmp_path / "a.zip")[0] == BARS
    frame = pd.DataFrame([bar[1:] for bar in BARS], columns=["open", "high", "low", "close", "volume"])
    frame.index = pd.to_datetime([bar[0] for bar in BARS], unit="ms", utc=True)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_csv(tmp_path / "a.csv")
    assert as_bars(tmp_path / "a.parquet")[0] == as_bars(tmp_path / "a.csv")[0] == BARS


def test_an_order_of_columns_that_no_program_writes_is_asked_for(tmp_path):
    path = write(tmp_path / "bars.csv", [(t, low, high, o, c, v) for t, o, high, low, c, v in BARS])
    with pytest.raises(DataError, match=r"no order we know.*--spot-columns timestamp=0,open=1"):
        as_bars(path)
    assert as_bars(path, columns="timestamp=0,low=1,high=2,open=3,close=4,volume=5")[0] == BARS


def test_extra_columns_other_names_and_the_newest_row_first_are_read(tmp_path):
    rows = [("x", c, v, o, high, low, t, "DOGE") for t, o, high, low, c, v in reversed(BARS)]
    path = write(tmp_path / "bars.CSV", rows, "note,Close,Volume,Open,High,Low,Open time,Symbol")
    read_rows, recognised = as_bars(path)
    assert read_rows == BARS and "38 of 39 out_of_order" in str(recognised)


def test_swapped_open_and_close_are_seen_and_can_be_put_right(tmp_path):
    path = write(tmp_path / "bars.csv", [(t, c, high, low, o, v) for t, o, high, low, c, v in BARS], "t,o,h,l,c,v")
    with pytest.raises(DataError, match=r"open and close are swapped.*--spot-columns open=close,close=open"):
        as_bars(path)
    assert as_bars(path, columns="open=c,close=o,high=h,low=l,volume=v,timestamp=t")[0] == BARS


def test_times_without_a_zone_are_utc_until_a_zone_is_said(tmp_path):
    texts = [
        pd.Timestamp(t, unit="ms").tz_localize("UTC").tz_convert("Europe/Amsterdam").strftime("%Y-%m-%d %H:%M:%S")
        for t, *_ in BARS
    ]
    path = write(
        tmp_path / "bars.csv",
        [(text, *rest) for text, (_, *rest) in zip(texts, BARS)],
        "date,open,high,low,close,volume",
    )
    assert [t for t, *_ in as_bars(path)[0]] == [t + 3_600_000 for t, *_ in BARS]
    rows, recognised = as_bars(path, "zone=Europe/Amsterdam")
    assert rows == BARS and "local times of Europe/Amsterdam" in str(recognised)
    assert as_bars(path, "zone=+01:00")[0] == BARS


def test_bars_stamped_with_their_close_are_moved_when_that_is_said(tmp_path):
    path = write(tmp_path / "bars.csv", [(t + 60_000, *rest) for t, *rest in BARS], "time,open,high,low,close,volume")
    assert as_bars(path, "label=close")[0] == BARS


@pytest.mark.parametrize(("scale", "quantity"), [(1.0, "contracts"), (10.0, "coins")])
def test_contracts_and_coins_are_told_apart_by_their_grid(tmp_path, scale, quantity):
    path = write(
        tmp_path / "bars.csv", [(*rest, v * scale) for *rest, v in BARS], "timestamp_ms,open,high,low,close,volume"
    )
    assert as_bars(path, context=PERP)[1].quantity == quantity


@pytest.mark.parametrize(
    ("contract", "sizes", "is_in"),
    [
        (10.0, np.arange(1, 40) * 10.0, "coins"),
        (10.0, np.arange(1, 40) * 1.0, "contracts"),
        (10.0, np.arange(1, 40) * 0.1, ""),  # tenths of a contract, or coins of another step
        (1e-4, np.arange(1, 40) * 1.0, "contracts"),
        (1e-4, np.arange(1, 40) * 0.0123, "coins"),
        (1e-4, np.arange(1, 40) * 0.1, ""),  # tenths of a contract lie on the grid of coins too
        (1.0, np.arange(1, 40) * 1.0, ""),
        (10.0, np.full(40, 10.0), ""),  # one size proves no grid
    ],
)
def test_the_grid_of_sizes_tells_coins_from_contracts_or_nothing(contract, sizes, is_in):
    assert on_grid(sizes, contract) == is_in


def test_a_turnover_beside_the_volume_proves_its_unit_or_refuses_a_wrong_contract_size(tmp_path):
    rows = [(t, o, h, low, c, v, v * 10 * c) for t, o, h, low, c, v in BARS]
    path = write(tmp_path / "bars.csv", rows, "time,open,high,low,close,volume,turnover2")
    options = "timestamp=time,open=open,high=high,low=low,close=close,volume=volume,quote_volume=turnover2"
    assert as_bars(path, columns=options, context=PERP)[1].quantity == "contracts"
    with pytest.raises(DataError, match=r"a unit of volume is 10 coins, neither 1 nor the contract size of 100"):
        as_bars(path, columns=options, context=LegContext("perp", contract_size=100.0))


def test_sizes_that_tell_nothing_are_asked_for(tmp_path):
    path = write(tmp_path / "bars.csv", [(*rest, 50.0) for *rest, _ in BARS], "timestamp_ms,open,high,low,close,volume")
    with pytest.raises(DataError, match=r"coins or contracts of 10; say so with --perp-format quantity=coins"):
        as_bars(path, context=PERP)
    assert as_bars(path, "quantity=contracts", context=PERP)[1].quantity == "contracts"


QUOTES = [(START_MS + 500 * k, 100 + k / 100, 5.5 + k, 100.05 + k / 100, 7.25 + k) for k in range(30)]


@pytest.mark.parametrize(
    "header",
    [
        "ts,bid,bid_size,ask,ask_size",
        "time,bidPrice,bidQty,askPrice,askQty",
        "received_at,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty",
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".feather", ".arrow", ".parquet", ".json", ".jsonl", ".npz"])
def test_quotes_by_the_names_people_use_in_every_kind_of_file(tmp_path, header, suffix):
    frame = pd.DataFrame(QUOTES, columns=header.split(","))
    path = tmp_path / f"quotes{suffix}"
    save(frame, path)
    found = read(path, "quotes", FormatOptions(), SPOT)
    names = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
    rows = list(
        zip((found.columns["timestamp"] // 1_000_000).tolist(), *(found.columns[name].tolist() for name in names))
    )
    assert rows == [pytest.approx(row) for row in QUOTES]


def save(frame, path):
    if path.suffix in (".csv", ".gz"):
        frame.to_csv(path, index=False)
    elif path.suffix == ".feather":
        frame.to_feather(path)
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".npz":
        np.savez(path, **{name: frame[name].to_numpy() for name in frame})
    elif path.suffix == ".arrow":
        table = pa.Table.from_pandas(frame, preserve_index=False)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    else:
        frame.to_json(path, orient="records", lines=path.suffix == ".jsonl", double_precision=15)


def test_an_order_book_is_rebuilt_from_its_updates(tmp_path):
    header = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"
    t = START_MS * 1000
    updates = [
        (0, 5, "true", "bid", 99, 3), (0, 5, "true", "bid", 98, 9), (0, 5, "true", "ask", 101, 2),
        (50, 60, "false", "bid", 100, 1),  # a better bid
        (70, 80, "false", "bid", 100, 0), (70, 80, "false", "bid", 99, 0),  # both gone: 98 is best
    ]  # fmt: skip
    rows = [("mexc", "X", t + sent, t + received, *rest) for sent, received, *rest in updates]
    found = read(write(tmp_path / "book.csv.gz", rows, header), "quotes", FormatOptions(), SPOT).columns
    assert found["bid_price"].tolist() == [99, 100, 98] and found["bid_quantity"].tolist() == [3, 1, 9]
    assert found["ask_price"].tolist() == [101] * 3 and (found["timestamp"] - t * 1000).tolist() == [
        5_000,
        60_000,
        80_000,
    ]


def test_updates_that_go_back_in_time_make_no_book(tmp_path):
    header = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"
    rows = [("mexc", "X", START_MS * 1000 + k, START_MS * 1000 + k, "false", "bid", 99, 3) for k in (5, 4)]
    with pytest.raises(DataError, match=r"row 1: updates of a book go back in time"):
        read(write(tmp_path / "book.csv", rows, header), "quotes", FormatOptions(), SPOT)


def test_of_rates_told_ahead_the_last_one_counts_and_is_marked_as_no_settlement(tmp_path):
    header = "exchange,symbol,timestamp,local_timestamp,funding_timestamp,funding_rate"
    t, due = START_MS * 1000, (START_MS + 8 * 3_600_000) * 1000
    rows = [("gate", "X", t + k, t + k, due, rate) for k, rate in ((3, 3e-4), (2, 2e-4), (1, 1e-4))]  # newest first
    found, recognised = as_funding(write(tmp_path / "a.csv", rows, header))
    assert found == [(due // 1000, 3e-4)] and "indicative rates" in str(recognised)


def test_receiver_stamps_that_are_the_venues_are_refused(tmp_path):
    rows = [(t, t, *rest) for t, *rest in QUOTES]
    path = write(tmp_path / "quotes.csv", rows, "timestamp,venue_timestamp,bid,bid_qty,ask,ask_qty")
    with pytest.raises(DataError, match=r"the receiver's stamps are the venue's in every row.*clock=venue"):
        read(path, "quotes", FormatOptions(), SPOT)
    assert read(path, "quotes", FormatOptions.of("clock=venue"), SPOT).recognised.clock == "venue"


FUNDING = [(START_MS + 8 * 3_600_000 * k, r) for k, r in enumerate([1e-4, 2e-4, -1e-4, 3e-4, 5e-5, 1e-4, 7e-5])]


def as_funding(path, options=""):
    found = read(path, "funding", FormatOptions.of(options), PERP)
    return [
        (t // 1_000_000, pytest.approx(r))
        for t, r in zip(found.columns["timestamp"].tolist(), found.columns["funding_rate"].tolist())
    ], found.recognised


def test_percent_signs_and_said_units_of_rates(tmp_path):
    texts = [(t, f"{r * 100:.4f}%") for t, r in FUNDING]
    assert as_funding(write(tmp_path / "a.csv", texts, "fundingTime,fundingRate"))[0] == FUNDING
    bps = [(t, r * 1e4) for t, r in FUNDING]
    assert as_funding(write(tmp_path / "b.csv", bps, "fundingTime,fundingRate"), "rate=bps")[0] == FUNDING


def test_times_of_a_browsers_zone_are_asked_for_unless_a_clock_change_proves_them(tmp_path):
    header = "Time,Contracts,Funding Interval,Funding Rate"
    winter = [
        (
            (datetime(2026, 1, 1, 1, tzinfo=UTC) + pd.Timedelta(hours=8 * k)).strftime("%Y-%m-%d %H:%M:%S"),
            "X",
            "8h",
            "0.0100%",
        )
        for k in range(6)
    ]
    path = write(tmp_path / "a.csv", winter, header)
    with pytest.raises(DataError, match=r"zone of the browser.*--funding-format zone="):
        as_funding(path)
    assert as_funding(path, "zone=+01:00")[0][0][0] == START_MS


@pytest.mark.parametrize(
    ("rate", "time"),
    [
        ("fundingRate", "fundingRateTimestamp"),
        ("fundingRate", "settleTime"),
        ("rate", "effectiveAt"),
        ("fundingRate", "timepoint"),
    ],
)
def test_funding_as_venues_answer_it(tmp_path, rate, time):
    rows = [{"symbol": "SYNUSDT", rate: str(r), time: str(t)} for t, r in reversed(FUNDING)]
    (tmp_path / "a.json").write_text(json.dumps({"code": 0, "data": {"pageSize": 20, "resultList": rows}}))
    assert as_funding(tmp_path / "a.json")[0] == FUNDING


def test_a_rate_that_stands_on_every_hour_is_settled_once(tmp_path):
    hourly = [(t + 3_600_000 * hour, r) for t, r in FUNDING for hour in range(8)]
    path = write(tmp_path / "a.csv", hourly, "timestamp_ms,funding_rate")
    assert as_funding(path, "interval=8,settles=first")[0] == FUNDING
    assert as_funding(path, "interval=8,settles=after")[0] == [(t + 8 * 3_600_000, r) for t, r in FUNDING]
    with pytest.raises(DataError, match=r"when it is paid.*settles=first"):
        as_funding(path, "interval=8")


def test_one_instrument_of_several_is_chosen_by_the_pair(tmp_path):
    rows = [(f"{coin}-USDT-SWAP", r * k, t) for t, r in FUNDING for k, coin in enumerate(("OTHER", "SYN"), 0)]
    path = write(tmp_path / "all.csv", rows, "instrument_name,funding_rate,funding_time")
    assert as_funding(path)[0] == FUNDING
    with pytest.raises(DataError, match=r"holds 2 symbols.*say which: --perp-format symbol="):
        read(path, "funding", FormatOptions(), LegContext("perp", "", "gate"))


@pytest.mark.parametrize("symbol", ["SYN/USDT:USDT", "SYN-USDT-SWAP", "SYNUSDT_PERP"])
def test_a_perpetuals_symbol_in_the_spot_leg_is_refused(tmp_path, symbol):
    def bars(of):
        return write(tmp_path / "a.csv", [(*bar, of) for bar in BARS], "timestamp,open,high,low,close,volume,symbol")

    with pytest.raises(DataError, match=f"a.csv holds {symbol}, which is a perpetual, and was given as spot"):
        read(bars(symbol), "candles", FormatOptions(), SPOT)
    assert len(read(bars("SYN/USDT"), "candles", FormatOptions(), SPOT).columns["close"]) == len(BARS)


def test_a_table_in_memory_is_read_like_a_file():
    frame = (
        pd.DataFrame(BARS, columns=["t", "open", "high", "low", "close", "volume"])
        .set_index(pd.to_datetime([t for t, *_ in BARS], unit="ms", utc=True))
        .drop(columns="t")
    )
    found = read_frame(frame, "candles", FormatOptions(), SPOT).columns
    assert (found["timestamp"] // 1_000_000).tolist() == [t for t, *_ in BARS] and found["close"].tolist() == [
        bar[4] for bar in BARS
    ]


def test_a_file_of_another_kind_or_of_no_layout_says_what_is_needed(tmp_path):
    with pytest.raises(DataError, match=r"holds candles .* quotes are needed"):
        read(write(tmp_path / "a.csv", BARS, "timestamp,open,high,low,close,volume"), "quotes", FormatOptions(), SPOT)
    with pytest.raises(DataError, match=r"columns not recognised.*name them"):
        read(write(tmp_path / "b.csv", [(START_MS, 1.0)] * 3, "when,what"), "quotes", FormatOptions(), SPOT)
    with pytest.raises(DataError, match=r"a time in no one unit"):
        read(
            write(tmp_path / "c.csv", [(5, *rest) for _, *rest in BARS], "timestamp,open,high,low,close,volume"),
            "candles",
            FormatOptions(),
            SPOT,
        )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tim=ms", "'tim' is no fact"),
        ("time=min", "one of s, ms, us, ns"),
        ("nothing known", "there is no format"),
        ("size=-1", "a number above 0"),
    ],
)
def test_answers_that_mean_nothing_are_refused(text, says):
    with pytest.raises(ParamsError, match=says):
        FormatOptions.of(text)


def test_a_wide_table_of_closes_has_nothing_to_fill_at(tmp_path):
    rows = [(t, c, c, v, v) for t, _, _, _, c, v in BARS]
    path = write(tmp_path / "wide.csv", rows, ",close,close,volume,volume\nvenue,gate,mexc,gate,mexc\ntimestamp,,,,")
    assert read(path, "candles", FormatOptions(), SPOT).columns["close"].tolist() == [bar[4] for bar in BARS]
    leg = LegFile(path, "updates", context=SPOT)
    assert is_candles(leg)
    with pytest.raises(DataError, match=r"has no open and no high and no low, and nothing can be filled without"):
        whole_columns(leg, CANDLES)


@pytest.mark.parametrize("side", ["maybe", "1", "none"])
def test_a_trade_whose_side_is_neither_buy_nor_sell_is_refused(tmp_path, side):
    def trades(*sides):
        return write(
            tmp_path / "t.csv",
            [(1767571200 + k, 1.5, 3, said) for k, said in enumerate(sides)],
            "timestamp,price,quantity,side",
        )

    bought = read(trades("buy", "SELL", "b"), "trades", FormatOptions.of("quantity=coins"), SPOT).columns["buyer"]
    assert bought.tolist() == [True, False, True]
    with pytest.raises(DataError, match=f"a side is buy or sell, the taker's, was {side}; drop"):
        read(trades("buy", "SELL", side), "trades", FormatOptions.of("quantity=coins"), SPOT)
