"""The recording's files: exact numbers, nothing of a proven batch lost or changed in silence, each row once."""

import contextlib
import json
import os
import random
import subprocess
import sys
from decimal import Decimal

import pytest
from ccxt.protobuf.mexc.PushDataV3ApiWrapper_pb2 import PushDataV3ApiWrapper
from hypothesis import given
from hypothesis import strategies as st

from delta_arb import record
from delta_arb.collect.aside import aside
from delta_arb.collect.public_feeds import GateFeed, MexcFeed
from delta_arb.collect.recording_files import (
    RecordingWriter,
    Retention,
    compact_days,
    compact_stream,
    make_room,
    size,
    streams_of,
)
from delta_arb.errors import DataError, RunError
from delta_arb.market import NS
from delta_arb.quotes.recorded import MARK, DatasetRange, columns, content_digest, is_recorded, parts, span
from delta_arb.quotes.stream_file import (
    LEVELS,
    MOST_DECIMALS,
    QUOTES,
    STREAM,
    TRADES,
    FinerGridError,
    decimals,
    log_of,
    read_stream,
    scaled,
)

DAY = 1_769_731_200 * NS  # 2026-01-30 00:00 UTC
HOUR = 3600 * NS
PAIRS = ("AAA_USDT", "BBB_USDT")


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9))
def test_a_decimal_is_kept_exactly(value):
    for text in (str(value), f"{value:.8f}", format(value.normalize(), "e")):
        assert Decimal(scaled(text, 8)).scaleb(-8) == value
    assert decimals(f"{value:f}") <= 6


@pytest.mark.parametrize("text", ["abc", "nan", "1.2.3", "inf"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(DataError, match="is no number"):
        scaled(text, 4)


def test_a_finer_number_is_refused_and_zeros_behind_it_are_not_finer():
    assert scaled("0.12000", 2) == 12 and scaled("", 2) == 0
    with pytest.raises(FinerGridError):
        scaled("0.125", 2)


def test_five_levels_of_both_venues_are_read_in_one_order():
    sides = {"bids": [{"p": "97.1", "s": "2245"}, {"p": "97.0", "s": 3}], "asks": [{"p": "97.2", "s": "1"}]}
    frame = {
        "channel": "futures.order_book",
        "event": "all",
        "result": {"t": 1700, "id": 9, "contract": "AAA_USDT"} | sides,
    }
    push = PushDataV3ApiWrapper(symbol="AAAUSDT", sendTime=1700)
    push.publicLimitDepths.version = "9"
    for side, levels in sides.items():
        for level in levels:
            getattr(push.publicLimitDepths, side).add(price=level["p"], quantity=str(level["s"]))
    wanted = ("97.1", "2245", "97.0", "3", *[""] * 6, "97.2", "1", *[""] * 8)
    for feed, message, name in (
        (GateFeed(), json.dumps(frame), "AAA_USDT"),
        (MexcFeed(), push.SerializeToString(), "AAAUSDT"),
    ):
        assert feed.read(message) == (True, [(name, 1_700_000_000, 9, wanted)])
    assert LEVELS.scaled[:4] == ("bid1", "bid1_qty", "bid2", "bid2_qty") and LEVELS.scaled[10] == "ask1"


def writer(market, digits=(4, 0, 4, 0)):
    for pair in PAIRS:
        (market / pair / "quotes").mkdir(parents=True, exist_ok=True)
        (market / pair / "quotes" / MARK).write_text("{}")
    return RecordingWriter(market, QUOTES, PAIRS, [digits, digits])


def quote(k, at_ns, pair=0):
    return pair, at_ns, at_ns - 3_000_000, k, f"0.{1000 + k % 7:04d}", str(50 + k), f"0.{1010 + k % 7:04d}", "7"


def recorded(market, n=600, start=DAY, step=NS // 4):
    into = writer(market)
    for k in range(n):
        into.add(quote(k, start + k * step, k % 2))
        if k % 10 == 9:
            into.flush()
    return into


def rows_of(market, pair="AAA_USDT", told=""):
    wanted = DatasetRange.of(f"{market / pair / 'quotes'}{told}")
    found = [columns(part, QUOTES) for part in parts(wanted)]
    return [row for part in found for row in zip(*(part[name].tolist() for name in sorted(part)), strict=True)]


def test_a_growing_a_finished_and_a_compacted_recording_are_the_same_rows(tmp_path):
    into = recorded(tmp_path)
    path = f"{tmp_path / 'AAA_USDT' / 'quotes'}"
    growing, digest = rows_of(tmp_path), content_digest(path)
    assert len(growing) == 300 and is_recorded(path)
    assert growing[1] == (0.1012, 7.0, 0.1002, 52.0, DAY + 2 * NS // 4, DAY + 2 * NS // 4 - 3_000_000)
    into.close()
    (stream,) = (tmp_path / "streams" / "quotes").glob(f"*{STREAM}")
    assert read_stream(stream).complete
    assert compact_stream(stream, tmp_path) == 600
    assert rows_of(tmp_path) == growing and content_digest(path) == digest
    assert len(compact_days(tmp_path / "AAA_USDT" / "quotes", DAY + 25 * HOUR)) == 1
    assert rows_of(tmp_path) == growing and content_digest(path) == digest
    assert [p.name for p in (tmp_path / "AAA_USDT" / "quotes").glob("*.parquet")] == ["2026-01-30.parquet"]


def test_each_hour_and_each_start_begin_a_file_and_a_range_opens_only_its_own(tmp_path):
    recorded(tmp_path, 30, DAY + HOUR - 3 * NS).close()
    recorded(tmp_path, 30, DAY + HOUR + 100 * NS).close()
    streams = sorted((tmp_path / "streams" / "quotes").glob(f"*{STREAM}"))
    assert [s.stem[:19] for s in streams] == ["2026-01-30T00-59-57", "2026-01-30T01-00-00", "2026-01-30T01-01-40"]
    streams[0].write_bytes(b"not opened")
    inside = rows_of(tmp_path, told="#2026-01-30T01:00:01..2026-01-30T01:01:41")
    first = [DAY + HOUR - 3 * NS + k * NS // 4 for k in range(16, 30, 2)]  # from a second after the hour
    assert [row[4] for row in inside] == first + [DAY + HOUR + 100 * NS + k * NS // 4 for k in (0, 2)]
    assert span("2026-01-30") == (DAY, DAY + 24 * HOUR)


def test_a_compaction_that_was_killed_anywhere_is_done_again_and_no_row_is_read_twice(tmp_path):
    recorded(tmp_path, 60).close()
    recorded(tmp_path, 60, DAY + 2 * HOUR).close()
    whole = rows_of(tmp_path)
    streams = sorted((tmp_path / "streams" / "quotes").glob(f"*{STREAM}"))
    kept = {path: path.read_bytes() for stream in streams for path in (stream, log_of(stream))}
    folder = tmp_path / "AAA_USDT" / "quotes"
    for stream in streams:
        compact_stream(stream, tmp_path)
    hours = {path: path.read_bytes() for path in folder.glob("*.parquet")}
    for path, content in kept.items():  # killed before the streams were deleted
        path.write_bytes(content)
    assert rows_of(tmp_path) == whole
    for stream in streams:
        compact_stream(stream, tmp_path)
    compact_days(folder, DAY + 25 * HOUR)
    for path, content in hours.items():  # killed before the hours were deleted
        path.write_bytes(content)
    assert rows_of(tmp_path) == whole
    compact_days(folder, DAY + 25 * HOUR)
    assert rows_of(tmp_path) == whole and len(list(folder.glob("*.parquet"))) == 1


@pytest.mark.parametrize("later_ns", [0, 1])  # one message may bring both: then both have its stamp
def test_numbers_that_become_finer_begin_a_file_and_a_day_of_both_is_exact(tmp_path, later_ns):
    into = writer(tmp_path)
    into.add((0, DAY, DAY, 1, "0.1000", "5", "0.1001", "6"))
    into.flush()
    into.add((0, DAY + later_ns, DAY, 2, "0.100015", "5", "0.1001", "6.5"))
    into.close()
    assert len(list((tmp_path / "streams" / "quotes").glob(f"*{STREAM}"))) == 2
    for stream in sorted((tmp_path / "streams" / "quotes").glob(f"*{STREAM}")):
        compact_stream(stream, tmp_path)
    compact_days(tmp_path / "AAA_USDT" / "quotes", DAY + 25 * HOUR)
    assert [(row[2], row[1]) for row in rows_of(tmp_path)] == [(0.1, 6.0), (0.100015, 6.5)]


def test_a_file_of_too_many_rows_is_ended_and_nothing_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr("delta_arb.collect.recording_files.MOST_ROWS", 100)
    recorded(tmp_path, 250).close()
    streams = sorted((tmp_path / "streams" / "quotes").glob(f"*{STREAM}"))
    assert [read_stream(path).table.num_rows for path in streams] == [100, 100, 50]
    assert len(rows_of(tmp_path)) == 125


@pytest.mark.parametrize("bad", ["nan", "1e-20", "12345678901234567890", "x"])
def test_a_row_with_what_is_no_number_is_left_out_and_told_and_the_others_are_kept(tmp_path, bad):
    into = writer(tmp_path)
    for k, bid in enumerate(("0.1000", bad, "0.100001", bad, "0.1002")):
        into.add((0, DAY + k, DAY, k, bid, "5", "0.1003", "6"))
    into.close()
    assert [row[2] for row in rows_of(tmp_path)] == [0.1, 0.100001, 0.1002]
    assert len(into.refused) == 2 and all(text.startswith("AAA_USDT: ") for text in into.refused)
    into.add((0, DAY, DAY, 1, "0.1", "5", "1e-30", "6"))  # no finer file would hold it: that is the reason
    into.close()
    assert into.refused[2:] == [f"AAA_USDT: '1e-30' is no number of at most {MOST_DECIMALS} decimals"]


def test_an_empty_side_is_no_price(tmp_path):
    into = writer(tmp_path)
    into.add((0, DAY, DAY, 1, "", "0", "0.1001", "6"))
    into.flush()
    assert rows_of(tmp_path)[0][2] != rows_of(tmp_path)[0][2]


def test_what_a_kill_left_behind_the_last_line_is_left_out(tmp_path):
    into = recorded(tmp_path, 40)
    stream = into.growing
    whole, lines = stream.read_bytes(), log_of(stream).read_text().splitlines(keepends=True)
    for torn in (whole[:-1] + b"?" * 9, whole + b"half a batch"):
        stream.write_bytes(torn)
        log_of(stream).write_text("".join(lines[:-1]) + lines[-1][:-7])
        read = read_stream(stream)
        assert read.table.num_rows == 30 and not read.complete
    log_of(stream).write_text("")
    assert read_stream(stream) is None


def flips(path, count):
    whole, rng = path.read_bytes(), random.Random(3)
    for at in rng.sample(range(len(whole)), min(count, len(whole))):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1 :])
        yield at
    path.write_bytes(whole)


SOME_AND_ALL = [250, pytest.param(10**6, marks=pytest.mark.slow)]


@pytest.mark.parametrize("count", SOME_AND_ALL)
def test_every_flipped_byte_of_a_stream_is_detected(tmp_path, count):
    path = recorded(tmp_path, 100).growing
    for _ in flips(path, count):
        with pytest.raises(DataError, match="not as they were written"):
            read_stream(path)


@pytest.mark.parametrize("count", SOME_AND_ALL)
def test_every_flipped_byte_of_a_compacted_file_is_detected_or_changes_no_number(tmp_path, count):
    recorded(tmp_path, 100).close()
    compact_stream(next((tmp_path / "streams" / "quotes").glob(f"*{STREAM}")), tmp_path)
    (path,) = (tmp_path / "AAA_USDT" / "quotes").glob("*.parquet")
    whole = rows_of(tmp_path)
    for _ in flips(path, count):
        with contextlib.suppress(DataError):
            assert rows_of(tmp_path) == whole  # only the name of the writer, and the like


def test_a_stream_without_its_log_is_empty_gone_or_refused(tmp_path):
    """Killed between making the two files; compacted while somebody read; a log that a person deleted."""
    path = tmp_path / f"2026-01-31T08-00-00.000000001{STREAM}"
    with pytest.raises(FileNotFoundError):
        read_stream(path)
    path.touch()
    assert read_stream(path) is None
    path.write_bytes(b"rows")
    with pytest.raises(DataError, match="does not read"):
        read_stream(path)


def test_the_oldest_files_make_room(tmp_path):
    for day in range(4):
        recorded(tmp_path, 40, DAY + 24 * HOUR * day).close()
    for stream in sorted((tmp_path / "streams" / "quotes").glob(f"*{STREAM}")):
        compact_stream(stream, tmp_path)
    now_ns = DAY + 4 * 24 * HOUR
    assert not make_room(tmp_path, Retention(), now_ns)
    gone = make_room(tmp_path, Retention(days=3.5), now_ns)
    assert {p.stem[:10] for p in gone} == {"2026-01-30"}  # its hour ended almost four days ago
    most = size(tmp_path) / 2
    assert make_room(tmp_path, Retention(most_bytes=most), now_ns)
    assert size(tmp_path) <= most
    assert {p.stem[:10] for p in (tmp_path / "AAA_USDT" / "quotes").glob("*.parquet")} <= {"2026-02-01", "2026-02-02"}


def test_what_a_process_aside_has_to_tell_is_told_and_its_end_before_the_end_too(tmp_path):
    for day in range(2):
        recorded(tmp_path, 40, DAY + 24 * HOUR * day).close()
    first, second = streams = streams_of(tmp_path)
    first.write_bytes(first.read_bytes()[:-9])
    told = aside("tidy", market=tmp_path, streams=streams, keep_days=1.0, keep_gb=0.0)
    day = "quotes/2026-01-31.parquet"
    assert [(kind, what.split(": ")[0]) for kind, what in told[:1]] == [("damaged", str(first))]
    assert sorted(told[1:]) == [("deleted", f"{pair}/{day}") for pair in PAIRS]
    assert first.exists() and not second.exists()
    with pytest.raises(RunError, match="tidy ended with 1; what was not done is tried again"):
        aside("tidy", market=tmp_path / "none", streams=[], keep_days=0.0, keep_gb=0.0)


def test_a_process_aside_outlives_its_recorder_without_a_word(tmp_path):
    recorded(tmp_path, 40).close()
    asked = {"market": str(tmp_path), "streams": list(map(str, streams_of(tmp_path))), "keep_days": 0, "keep_gb": 0}
    nobody, into = os.pipe()
    os.close(nobody)
    command = [sys.executable, "-m", "delta_arb.collect.aside", "tidy"]
    done = subprocess.run(command, input=json.dumps(asked).encode(), stdout=into, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"") and not streams_of(tmp_path)


def test_trades_are_recorded_beside(tmp_path):
    into = RecordingWriter(tmp_path, TRADES, PAIRS, [(4, 0), (4, 0)])
    into.add((1, DAY, DAY - 5, 77, -1, "0.1001", "12"))
    into.close()
    read = read_stream(next((tmp_path / "streams" / "trades").glob(f"*{STREAM}")))
    assert read.of("BBB_USDT").to_pylist() == [
        {"recv_ns": DAY, "venue_ns": DAY - 5, "id": 77, "side": -1, "price": 1001, "qty": 12}
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say which pairs: --pair LUNC_USDT"),
        (["--pair", "LUNC_USDT", "--all"], "--pair or --all, not both"),
        (["--pair", "LUNC"], "a pair is like LUNC_USDT"),
        (["--pair", "LUNC_USDT", "--for", "soon"], "need a time from 1s"),
        (["--pair", "LUNC_USDT", "--spot", "kraken"], "no recorder for kraken spot; there is mexc spot, gate perp"),
        (
            ["--pair", "LUNC_USDT", "--keep-days", "-1"],
            "Invalid value for '--keep-days': Input should be greater than or equal to 0",
        ),
    ],
)
def test_what_cannot_be_recorded_is_refused_before_anything_is_written(tmp_path, capsys, words, said):
    assert record.main([*words, "--out", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
