"""Recordings become one tape: every defect and its treatment, every refusal, and no look ahead.

Rows are written as (seconds, bid, bid_quantity, ask, ask_quantity) after `BASE`; expected values are hand arithmetic,
or those of `plain_tape`, a row-by-row reading of the treatment table that shares no code with the fast one.
"""

import hashlib
import json
import math
import mmap
import pickle
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from delta_arb.errors import DataError, ParamsError
from delta_arb.quotes import one_pass
from delta_arb.quotes.quality import TREATMENTS
from delta_arb.quotes.tape import EVENTS, PERP, SPOT, TAPE_COLUMNS, LegFile, Tape, align, read, sha256

NS = 1_000_000_000
BASE = 1_760_140_800 * NS  # 2025-10-11 00:00 UTC
SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "data"
NAMES = ("timestamp", "bid_price", "bid_quantity", "ask_price", "ask_quantity", "venue_timestamp")
NAN, INF = math.nan, math.inf

QUIET = [(k, 100.0, 1.0, 101.0, 1.0) for k in range(10)]  # a good row a second, for the leg a test is not about


def at(seconds):
    return BASE + round(seconds * NS)


def table(rows, unit="ns", zone="UTC"):
    """Rows as an arrow table; a sixth number is the venue's stamp in seconds."""
    columns = [list(column) for column in zip(*rows, strict=True)] or [[]] * 5
    stamps = pa.timestamp(unit, zone)
    arrays = [
        pa.array([at(s) for s in column]).cast(pa.int64()).cast(pa.timestamp("ns", zone)).cast(stamps)
        if name.endswith("timestamp")
        else pa.array(column, pa.float64())
        for name, column in zip(NAMES, columns, strict=False)
    ]
    return pa.table(arrays, names=NAMES[: len(arrays)])


def written(path, rows, **how):
    path.parent.mkdir(exist_ok=True)
    pq.write_table(table(rows, **how), path)
    return path


def read_rows(folder, spot, perp, *, spot_how=None, perp_how=None, **limits):
    """The tape of two legs given as rows; a share of bad rows is no reason to refuse unless a test says so."""
    spot_file = LegFile(written(folder / "spot.parquet", spot), **{"kind": "updates", **(spot_how or {})})
    perp_file = LegFile(written(folder / "perp.parquet", perp), **{"kind": "updates", **(perp_how or {})})
    return read(spot_file, perp_file, **{"max_bad_share": 1.0, **limits})


def events(tape, *names):
    """The named columns of the tape, one tuple per event; `s` is seconds after BASE, ages are in seconds."""
    units = {
        "s": lambda: (tape.ts_ns - BASE) / NS,
        "spot_age_s": lambda: tape.spot_age_ns / NS,
        "perp_age_s": lambda: tape.perp_age_ns / NS,
    }
    columns = [(units.get(name) or (lambda name=name: getattr(tape, name)))() for name in names]
    return list(zip(*(column.tolist() for column in columns), strict=True))


def refusal(folder, spot, perp=QUIET, **limits):
    with pytest.raises(DataError) as refused:
        read_rows(folder, spot, perp, **{"max_bad_share": 0.05, **limits})
    return str(refused.value)


# Joining two legs


def test_every_row_of_either_leg_is_an_event_with_both_books(tmp_path):
    spot = [(1, 100, 5, 101, 6), (4, 102, 7, 103, 8)]
    perp = [(0, 110, 1, 111, 2), (3, 112, 3, 113, 4), (4.5, 114, 5, 115, 6)]
    tape = read_rows(tmp_path, spot, perp, perp_how={"contract_size": 10.0})
    assert events(tape, "s", "leg", "spot_bid", "spot_ask", "spot_bid_qty", "spot_ask_qty", "spot_age_s") == [
        (1, SPOT, 100, 101, 5, 6, 0),
        (3, PERP, 100, 101, 5, 6, 2),
        (4, SPOT, 102, 103, 7, 8, 0),
    ]
    assert events(tape, "perp_bid", "perp_ask", "perp_bid_qty", "perp_ask_qty", "perp_age_s") == [
        (110, 111, 10, 20, 1),
        (112, 113, 30, 40, 0),
        (112, 113, 30, 40, 1),
    ]
    assert (tape.spot_kind, tape.perp_kind, tape.start_ns, tape.end_ns) == ("updates", "updates", at(1), at(4))


def test_spot_comes_before_the_perpetual_at_equal_stamps(tmp_path):
    spot = [(0, 100, 1, 101, 1), (1, 102, 1, 103, 1)]
    perp = [(0, 110, 1, 111, 1), (1, 112, 1, 113, 1)]
    tape = read_rows(tmp_path, spot, perp)
    # At 0 s the spot row comes first, when the perpetual has no book yet: the tape begins with the perpetual's row.
    assert events(tape, "s", "leg", "spot_bid", "perp_bid") == [
        (0, PERP, 100, 110),
        (1, SPOT, 102, 110),
        (1, PERP, 102, 112),
    ]
    assert (tape.quality.spot.outside, tape.quality.perp.outside) == (1, 0)


def test_rows_of_one_leg_with_equal_stamps_keep_the_order_of_the_file(tmp_path):
    spot = [(1, 100, 1, 101, 1), (1, 102, 1, 103, 1), (1, 100, 1, 101, 1)]
    tape = read_rows(tmp_path, spot, QUIET)
    assert events(tape, "s", "leg", "spot_bid") == [(1, 0, 100), (1, 0, 102), (1, 0, 100), (1, 1, 100)]


def test_the_tape_covers_the_time_of_both_legs_and_says_what_it_left_out(tmp_path):
    spot = [(k, 100 + k, 1, 101 + k, 1) for k in range(10)]
    perp = [(3.5, 110, 1, 111, 1), (6, 112, 1, 113, 1)]
    tape = read_rows(tmp_path, spot, perp)
    assert events(tape, "s", "leg", "spot_bid") == [(3.5, 1, 103), (4, 0, 104), (5, 0, 105), (6, 0, 106), (6, 1, 106)]
    assert (tape.quality.spot.rows, tape.quality.spot.used, tape.quality.spot.outside) == (10, 3, 7)
    assert (tape.quality.start_ns, tape.quality.end_ns, tape.quality.events) == (at(3.5), at(6), 5)


def test_legs_of_different_hours_are_refused_with_both_ranges(tmp_path):
    text = refusal(tmp_path, QUIET, [(k + 3600, *book) for k, *book in QUIET])
    for part in (
        "spot.parquet",
        "perp.parquet",
        "do not overlap",
        "2025-10-11 00:00:09",
        "2025-10-11 01:00:00",
        "give",
    ):
        assert part in text


def test_legs_that_meet_in_one_instant_overlap(tmp_path):
    tape = read_rows(tmp_path, QUIET, [(k + 9, *book) for k, *book in QUIET])
    assert events(tape, "s", "leg") == [(9, PERP)]
    assert tape.quality.spot.stale_share == 0.0  # of no time at all


# Defects and their treatments


@pytest.mark.parametrize(
    ("kind", "book"),
    [
        ("non_finite", (NAN, 1, 101, 1)),
        ("non_finite", (100, 1, NAN, 1)),
        ("non_finite", (100, NAN, 101, 1)),
        ("non_finite", (100, 1, 101, NAN)),
        ("non_finite", (100, 1, INF, 1)),
        ("non_finite", (100, 1, 101, INF)),
        ("non_finite", (-INF, 1, 101, 1)),
        ("non_finite", (NAN, NAN, NAN, NAN)),
        ("nonpositive", (0, 1, 101, 1)),
        ("nonpositive", (100, 0, 101, 1)),
        ("nonpositive", (100, 1, 101, 0)),
        ("nonpositive", (-100, 1, 101, 1)),
        ("nonpositive", (100, 1, 101, -1)),
        ("nonpositive", (0, 0, 0, 0)),
        ("one_sided", (0, 0, 101, 1)),
        ("one_sided", (NAN, NAN, 101, 1)),
        ("one_sided", (100, 1, NAN, 0)),
        ("locked", (100, 1, 100, 1)),
        ("crossed", (101, 1, 100, 1)),
        ("absurd", (110.7, 1, 111.7, 1)),
        ("absurd", (90.3, 1, 91.3, 1)),  # 90.8 is beyond a tenth below the last mid of 101
    ],
)
def test_a_bad_row_withdraws_the_book_until_the_next_good_one_lesson_23(tmp_path, kind, book):
    spot = [(0, 100, 1, 101, 2), (2, 100.5, 3, 101.5, 4), (3, *book), (5, 101, 5, 102, 6)]
    tape = read_rows(tmp_path, spot, [(1, 100, 1, 101, 1), (4, 100, 1, 101, 1), (5, 100, 1, 101, 1)], max_jump=0.096)
    if kind == "absurd":
        assert abs(sum(book[::2]) / 2 / 101 - 1) > 0.096
    assert events(tape, "s", "leg", "spot_bid", "spot_ask", "spot_bid_qty", "spot_ask_qty", "spot_age_s") == [
        (1, PERP, 100, 101, 1, 2, 1),
        (2, SPOT, 100.5, 101.5, 3, 4, 0),
        (3, SPOT, 100.5, 101.5, 0, 0, 1),  # the last tradable prices, nothing to trade, and no refreshed age
        (4, PERP, 100.5, 101.5, 0, 0, 2),
        (5, SPOT, 101, 102, 5, 6, 0),
        (5, PERP, 101, 102, 5, 6, 0),
    ]
    counted = {name: getattr(tape.quality.spot, name) for name in ("bad_share", kind)}
    assert counted == {"bad_share": 0.25, kind: 1}


def test_bad_rows_in_a_row_keep_the_last_good_prices_and_age(tmp_path):
    spot = [(0, 100, 1, 101, 2), (1, 102, 1, 101, 2), (2, NAN, 1, 101, 2), (3, 0, 0, 101, 2)]
    tape = read_rows(tmp_path, spot, [(0, 100, 1, 101, 1), (9, 100, 1, 101, 1)])
    assert events(tape, "s", "spot_bid", "spot_ask", "spot_bid_qty", "spot_age_s")[1:] == [
        (1, 100, 101, 0, 1),
        (2, 100, 101, 0, 2),
        (3, 100, 101, 0, 3),
    ]


def test_bad_rows_before_the_first_good_one_are_dropped(tmp_path):
    spot = [(0, NAN, 1, 101, 1), (1, 101, 1, 100, 1), (2, 100, 1, 101, 1), (3, 100, 1, 101, 1)]
    tape = read_rows(tmp_path, spot, QUIET)
    assert tape.start_ns == at(2)
    assert (tape.quality.spot.leading, tape.quality.spot.used, tape.quality.spot.bad_share) == (2, 2, 0.5)


def test_an_exact_duplicate_is_dropped_and_an_unchanged_row_refreshes_the_age(tmp_path):
    book = (100.0, 1.0, 101.0, 1.0)
    spot = [(0, *book), (0, *book), (2, *book), (2, 100.0, 1.0, 101.0, 1.5), (2, *book)]
    tape = read_rows(tmp_path, spot, [(0, 110, 1, 111, 1), (1, 110, 1, 111, 1), (3, 110, 1, 111, 1)])
    assert events(tape, "s", "leg", "spot_age_s", "spot_ask_qty") == [
        (0, 1, 0, 1),
        (1, 1, 1, 1),
        (2, 0, 0, 1),
        (2, 0, 0, 1.5),
        (2, 0, 0, 1),
    ]
    assert (tape.quality.spot.duplicate, tape.quality.spot.unchanged, tape.quality.spot.bad_share) == (1, 1, 0)


def test_a_repeated_bad_row_is_a_duplicate_too(tmp_path):
    spot = [(0, 100, 1, 101, 1), (1, NAN, 1, 101, 1), (1, NAN, 1, 101, 1), (2, 100, 1, 101, 1)]
    quality = read_rows(tmp_path, spot, QUIET).quality.spot
    assert (quality.duplicate, quality.non_finite, quality.unchanged) == (1, 1, 0)


def test_a_row_behind_the_latest_stamp_is_dropped(tmp_path):
    spot = [(0, 100, 1, 101, 1), (5, 105, 1, 106, 1), (2, 102, 1, 103, 1), (4, 104, 1, 105, 1), (6, 106, 1, 107, 1)]
    tape = read_rows(tmp_path, spot, [(0, 110, 1, 111, 1), (9, 110, 1, 111, 1)])
    assert events(tape, "s", "spot_bid") == [(0, 100), (5, 105), (6, 106)]
    assert (tape.quality.spot.out_of_order, tape.quality.spot.bad_share) == (2, 0.4)


def test_a_spike_loses_one_row_and_a_crash_loses_one_row_mistake_17(tmp_path):
    mids = [100, 130, 101, 80, 80.5, 81]
    spot = [(k, mid - 0.5, 1, mid + 0.5, 1) for k, mid in enumerate(mids)]
    tape = read_rows(tmp_path, spot, [(0, 100, 1, 101, 1), (9, 100, 1, 101, 1)])
    # 130 is a spike: 101 is near the level before it. 80 may be one: 80.5 confirms it.
    assert events(tape, "spot_bid", "spot_bid_qty") == [
        (99.5, 1), (99.5, 0), (100.5, 1), (100.5, 0), (80, 1), (80.5, 1),
    ]  # fmt: skip
    assert tape.quality.spot.absurd == 2


def test_no_price_is_on_the_tape_that_was_not_recorded_mistake_17(tmp_path):
    """Outliers up to a hundredfold are left out or withdraw the book; none is pulled back to the limit of 10 %."""
    rng = np.random.default_rng(3)
    mids = 100.0 * np.exp(0.001 * rng.standard_normal(400).cumsum())
    mids[5::10] *= rng.choice([0.01, 0.5, 0.85, 1.15, 2.0, 100.0], 40)
    spot = [(k, mid - 0.5, 1.0, mid + 0.5, 1.0) for k, mid in enumerate(mids.tolist())]
    tape = read_rows(tmp_path, spot, [(0, 100.0, 1.0, 101.0, 1.0), (400, 100.0, 1.0, 101.0, 1.0)])
    assert tape.quality.spot.absurd == 40
    assert set(tape.spot_bid.tolist()) <= {row[1] for row in spot}
    assert set(tape.spot_ask.tolist()) <= {row[3] for row in spot}
    tradable = tape.spot_bid[tape.spot_bid_qty > 0]
    assert tradable.min() > 90.0 and tradable.max() < 110.0


def test_a_move_of_exactly_the_limit_is_believed(tmp_path):
    spot = [(0, 99, 1, 101, 1), (1, 109, 1, 111, 1), (2, 109, 1, 111, 1)]
    assert read_rows(tmp_path, spot, QUIET, max_jump=0.10).quality.spot.absurd == 0


def test_two_instruments_in_one_file_are_refused(tmp_path):
    mixed = [(k, *((100, 1, 101, 1) if k % 2 == 0 else (50, 1, 51, 1))) for k in range(10)]
    text = refusal(tmp_path, mixed)
    assert "spot.parquet, row 1: 5 of 10 rows are bad (50.0 %, at most 5.0 % allowed), most of them absurd (5)" in text
    assert "two instruments in one file" in text


def test_gaps_are_counted_with_the_longest_and_its_beginning(tmp_path):
    seconds = (0, 1, 7, 12, 20, 20.5)  # pauses of 1, 6, 5 (not over 5), 8 and 0.5 s
    spot = [(s, 100, 1, 101, 1) for s in seconds]
    quality = read_rows(tmp_path, spot, [(s, 100, 1, 101, 1) for s in (0, 21)], gap_s=5.0).quality.spot
    assert (quality.gaps, quality.longest_gap_s, quality.longest_gap_ns) == (2, 8.0, at(12))
    assert quality.rows_per_s == pytest.approx(6 / 20.5)


def test_one_pass_counts_what_the_columns_count(tmp_path):
    spot = [
        (0, 100.0, 1.0, 101.0, 1.0),
        (1, 100.0, 1.0, 101.0, 1.0),
        (9, 100.0, 2.0, 101.0, 1.0),
        (17, 100.0, 2.0, 102.0, 1.0),
    ]
    columns = read_rows(tmp_path, spot, QUIET).quality
    with patch.object(one_pass, "WORTH", 2):
        found = read_rows(tmp_path, spot, QUIET).quality
    assert found == columns and (found.spot.unchanged, found.spot.gaps, found.spot.longest_gap_ns) == (1, 2, at(1))


def test_the_stale_share_is_the_time_beyond_the_age_limit(tmp_path):
    # Good at 0, 1, 4 and 10; bad at 5. Over 1 s old: 2 to 4 and 5 to 10, of the tape's ten seconds.
    spot = [(0, 100, 1, 101, 1), (1, 100, 1, 101, 1), (4, 100, 1, 101, 1), (5, NAN, 1, 101, 1), (10, 100, 1, 101, 1)]
    perp = [(-3, 100, 1, 101, 1), (10, 100, 1, 101, 1)]  # the row of -3 s is stale from the first event on
    quality = read_rows(tmp_path, spot, perp, max_quote_age_s=1.0).quality
    assert quality.spot.stale_share == pytest.approx(0.7)
    assert quality.perp.stale_share == pytest.approx(1.0)
    assert quality.perp.outside == 1


# Clocks


def test_stamps_of_the_venue_get_the_feed_latency_first(tmp_path):
    spot = [(0, 100, 1, 101, 1), (1, 102, 1, 103, 1)]
    perp = [(0.05, 110, 1, 111, 1), (0.9, 112, 1, 113, 1), (2, 112, 1, 113, 1)]
    tape = read_rows(tmp_path, spot, perp, spot_how={"clock": "venue", "feed_latency_s": 0.25})
    assert events(tape, "s", "leg", "spot_bid", "spot_age_s") == [
        (0.25, 0, 100, 0),
        (0.9, 1, 100, 0.65),
        (1.25, 0, 102, 0),
    ]


def test_a_row_that_arrives_late_is_as_old_as_it_is_late_lesson_22(tmp_path):
    # The receiver's clock is 1.5 s behind: received - stamped is -1.5, -1.4, -1.6 and then 1.4 s.
    spot = [
        (0, 100, 1, 101, 1, 1.5),
        (1, 101, 1, 102, 1, 2.4),  # 0.1 s later than the quickest so far
        (2, 102, 1, 103, 1, 3.6),  # the quickest of all; what came before was not known to be slower
        (6, 103, 1, 104, 1, 4.6),  # 3 s late
        (7, NAN, 1, 104, 1, 8.6),
    ]
    tape = read_rows(tmp_path, spot, [(0, 110, 1, 111, 1), (6.5, 110, 1, 111, 1), (9, 110, 1, 111, 1)])
    assert events(tape, "s", "spot_bid", "spot_age_s") == [
        (0, 100, 0),
        (1, 101, 0.1),
        (2, 102, 0),
        (6, 103, 3),
        (6.5, 103, 3.5),
        (7, 103, 4),
    ]
    assert (tape.quality.spot.late, tape.quality.spot.worst_lag_s) == (1, 3.0)


def test_both_stamps_need_the_receivers_clock(tmp_path):
    spot = [(k, *book, k) for k, *book in QUIET]
    with pytest.raises(DataError, match=r"spot\.parquet has both stamps.*clock='receiver'"):
        read_rows(tmp_path, spot, QUIET, spot_how={"clock": "venue", "feed_latency_s": 0.1})


# Refusals


def test_too_many_bad_rows_are_refused_with_file_row_values_and_remedy(tmp_path):
    rows = [*QUIET, (10, 101, 2, 100.5, 3), (11, NAN, 1, 101, 1), (12, 100.25, 1, 100, 7)]
    text = refusal(tmp_path, rows)
    assert f"{tmp_path / 'spot.parquet'}, row 10: 3 of 13 rows are bad (23.1 %, at most 5.0 % allowed)" in text
    assert "most of them crossed (2), this the first: 2025-10-11 00:00:10.000 bid=101, bid_qty=2, ask=100.5" in text
    assert "swapped bid and ask columns" in text and "max_bad_share" in text


def test_the_row_of_a_refusal_is_that_of_the_file_after_drops(tmp_path):
    rows = [(5, 100, 1, 101, 1), (1, 100, 1, 101, 1), (5, 100, 1, 101, 1), (6, 100, 1, 100, 1), (7, 100, 1, 100, 1)]
    assert "spot.parquet, row 3: 3 of 5 rows are bad" in refusal(tmp_path, rows)


def test_the_share_at_the_limit_is_still_accepted(tmp_path):
    rows = [*QUIET[:9], (9, NAN, 1, 101, 1)]
    assert read_rows(tmp_path, rows, QUIET, max_bad_share=0.1).quality.spot.bad_share == 0.1
    assert "row 9: 1 of 10" in refusal(tmp_path, rows, max_bad_share=0.09)


def test_a_leg_without_a_good_row_is_refused_whatever_the_share(tmp_path):
    text = refusal(tmp_path, [(k, 100, 1, 100, 1) for k in range(3)], max_bad_share=1.0)
    assert "row 0: 3 of 3 rows are bad (100.0 %, no good one left)" in text and "locked" in text


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (
            lambda t: t.drop_columns(["ask_price"]),
            ("columns not recognised: ['timestamp', 'bid_price'", "name them, like --spot-columns timestamp=TIME"),
        ),
        (lambda t: t.append_column("bid_price", t["bid_price"]), ("twice ['bid_price']",)),
        (
            lambda t: t.set_column(1, "bid_price", t["bid_price"].cast(pa.string())),
            ("bid_price holds string", "floats"),
        ),
        (lambda t: t.set_column(0, "timestamp", t["bid_price"]), ("timestamp holds double", "int64 nanoseconds")),
        (
            lambda t: t.set_column(
                0, "timestamp", pa.array([*t["timestamp"].to_pylist()[:9], None], t["timestamp"].type)
            ),
            ("row 9: timestamp is empty", "remove the row"),
        ),
        (
            lambda t: t.set_column(0, "timestamp", pa.array([1_000_000 + k for k in range(10)])),
            ("timestamp runs from 1000000 to 1000009, which is a time in no one unit",),
        ),
        (
            lambda t: t.set_column(0, "timestamp", pa.array([2**60] * 10, pa.timestamp("ms"))),
            ("cannot be read", "out of bounds"),
        ),
        (lambda t: t.slice(0, 0), ("has no rows",)),
    ],
)
def test_a_table_of_another_form_is_refused(tmp_path, change, parts):
    pq.write_table(change(table(QUIET)), tmp_path / "spot.parquet")
    perp = LegFile(written(tmp_path / "perp.parquet", QUIET), "updates")
    with pytest.raises(DataError) as refused:
        read(LegFile(tmp_path / "spot.parquet", "updates"), perp)
    for part in ("spot.parquet", *parts):
        assert part in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.append_column("id", t["bid_price"]),
        lambda t: t.set_column(0, "timestamp", t["timestamp"].cast(pa.timestamp("ms")).cast(pa.int64())),
        lambda t: t.rename_columns(["ts", "bid", "bidQty", "ask", "askQty"]).select(
            ["ask", "askQty", "ts", "bid", "bidQty"]
        ),
    ],
    ids=["an extra column", "milliseconds", "other names in another order"],
)
def test_a_table_of_another_form_that_leaves_no_question_is_read(tmp_path, change):
    ours = table(QUIET)
    pq.write_table(ours, tmp_path / "ours.parquet")
    pq.write_table(change(ours), tmp_path / "spot.parquet")
    perp = LegFile(written(tmp_path / "perp.parquet", QUIET), "updates")
    assert same_columns(
        read(LegFile(tmp_path / "spot.parquet", "updates"), perp),
        read(LegFile(tmp_path / "ours.parquet", "updates"), perp),
    )


def test_a_table_in_memory_is_a_leg_like_a_file(tmp_path):
    frame = table(QUIET).to_pandas()
    perp = LegFile(written(tmp_path / "perp.parquet", QUIET), "updates")
    ours = LegFile(written(tmp_path / "spot.parquet", QUIET), "updates")
    assert same_columns(read(LegFile(frame, "updates"), perp), read(ours, perp))


def refused_path(path, perp):
    with pytest.raises(DataError) as refused:
        read(LegFile(path, "updates"), perp)
    return str(refused.value)


def test_paths_that_hold_no_recording_are_refused(tmp_path):
    perp = LegFile(written(tmp_path / "perp.parquet", QUIET), "updates")
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "torn.parquet").write_bytes((tmp_path / "perp.parquet").read_bytes()[:400])
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text(",".join(NAMES[:5]) + "\n")
    (tmp_path / "latin.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "nothing").mkdir()
    assert "does not exist" in refused_path(tmp_path / "none.parquet", perp)
    assert "a.txt is none of .csv .parquet" in refused_path(tmp_path / "a.txt", perp)
    assert "torn.parquet: cannot be read" in refused_path(tmp_path / "torn.parquet", perp)
    assert "empty.csv has no rows" in refused_path(tmp_path / "empty.csv", perp)
    assert "header.csv has no rows" in refused_path(tmp_path / "header.csv", perp)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert "other.csv: none of its first 2 rows has a time or a price" in refused_path(tmp_path / "other.csv", perp)
    assert "latin.csv: cannot be read" in refused_path(tmp_path / "latin.csv", perp)
    assert "holds no .parquet or .csv" in refused_path(tmp_path / "nothing", perp)
    assert "mixes .csv and .parquet" in refused_path(tmp_path, perp)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"kind": "ticks"}, "'updates' or 'snapshots', was 'ticks'"),
        ({"contract_size": 0.0}, "contract_size must be positive, was 0.0"),
        ({"contract_size": NAN}, "contract_size must be positive, was nan"),
        ({"clock": "mine"}, "'receiver' or 'venue', was 'mine'"),
        ({"clock": "venue"}, "feed_latency_s must be positive"),
        ({"clock": "venue", "feed_latency_s": INF}, "feed_latency_s must be positive"),
        ({"feed_latency_s": 0.1}, "goes with clock='venue'"),
    ],
)
def test_a_leg_file_refuses_nonsense(how, says):
    with pytest.raises(ParamsError, match=says):
        LegFile("x.parquet", **{"kind": "updates", **how})


@pytest.mark.parametrize("limit", [{"max_bad_share": 1.1}, {"max_jump": 0.0}, {"gap_s": NAN}, {"max_quote_age_s": -1}])
def test_a_limit_out_of_bounds_is_refused(tmp_path, limit):
    with pytest.raises(ParamsError, match=next(iter(limit))):
        read_rows(tmp_path, QUIET, QUIET, **limit)


# Forms of a recording


def same_columns(one, other):
    return all(getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in TAPE_COLUMNS)


@pytest.mark.parametrize("form", ["zone", "offset", "naive", "whole seconds first", "int"])
def test_a_csv_file_gives_the_same_tape_as_parquet(tmp_path, form):
    rows = [(0, 100.25, 1, 101, 2), (1, NAN, 1, 101, 2), (2.000123456, 100, 1, 101.5, 2)]
    wanted = read_rows(tmp_path, rows, QUIET)
    stamps = ["2025-10-11T00:00:00.000000000", "2025-10-11T00:00:01.000000000", "2025-10-11T00:00:02.000123456"]
    spelled = {
        "zone": [stamp + "Z" for stamp in stamps],
        "offset": ["2025-10-11 02:00:00+02:00", "2025-10-11 02:00:01.0+02:00", "2025-10-11 02:00:02.000123456+02:00"],
        "naive": [stamp.replace("T", " ") for stamp in stamps],
        "whole seconds first": ["2025-10-11 00:00:00", "2025-10-11 00:00:01", "2025-10-11 00:00:02.000123456"],
        "int": [str(at(s)) for s, *_ in rows],
    }[form]
    books = ["100.25,1,101,2", ",1,101,2", "1e2,1,101.5,2"]
    lines = [",".join(NAMES[:5]), *(f"{stamp},{book}" for stamp, book in zip(spelled, books, strict=True))]
    (tmp_path / "spot.csv").write_text("\n".join(lines) + "\n")
    tape = read(
        LegFile(tmp_path / "spot.csv", "updates"), LegFile(tmp_path / "perp.parquet", "updates"), max_bad_share=1
    )
    assert same_columns(tape, wanted)


def test_a_cell_of_a_csv_file_that_is_no_number_is_refused_with_its_row(tmp_path):
    perp = LegFile(written(tmp_path / "perp.parquet", QUIET), "updates")
    (tmp_path / "spot.csv").write_text(",".join(NAMES[:5]) + f"\n{at(0)},1,1,2,1\n{at(1)},1,1,two,1\n")
    text = refused_path(tmp_path / "spot.csv", perp)
    assert "spot.csv, row 1" in text and "two" in text


@pytest.mark.parametrize(("unit", "zone"), [("ms", "UTC"), ("us", None), ("s", "Asia/Tokyo"), ("ns", None)])
def test_stamps_of_any_unit_are_utc(tmp_path, unit, zone):
    wanted = read_rows(tmp_path, QUIET, QUIET)
    path = written(tmp_path / "other.parquet", QUIET, unit=unit, zone=zone)
    assert same_columns(read(LegFile(path, "updates"), LegFile(tmp_path / "perp.parquet", "updates")), wanted)


def test_whole_numbers_are_numbers_and_int64_stamps_are_ns(tmp_path):
    wanted = read_rows(tmp_path, QUIET, QUIET)
    whole = [pa.array([at(s) for s, *_ in QUIET])] + [pa.array([int(row[k]) for row in QUIET]) for k in range(1, 5)]
    pq.write_table(pa.table(whole, names=NAMES[:5]), tmp_path / "whole.parquet")
    leg = LegFile(str(tmp_path / "whole.parquet"), "snapshots")
    assert same_columns(read(leg, LegFile(tmp_path / "perp.parquet", "updates")), wanted)


def test_a_folder_is_read_in_the_order_of_names_and_located_by_file(tmp_path):
    wanted = read_rows(tmp_path, QUIET, QUIET)
    written(tmp_path / "days" / "2.parquet", QUIET[6:])
    written(tmp_path / "days" / "1.parquet", QUIET[:6])
    (tmp_path / "days" / "README.md").write_text("left alone")
    days, perp = LegFile(tmp_path / "days", "updates"), LegFile(tmp_path / "perp.parquet", "updates")
    assert same_columns(read(days, perp), wanted)
    written(tmp_path / "days" / "3.parquet", [(10, 100, 1, 101, 1), (11, 100, 1, 100, 1)])
    with pytest.raises(DataError, match=r"3\.parquet, row 1: 1 of 12 rows are bad"):
        read(days, perp)


def test_a_folder_of_two_forms_is_refused(tmp_path):
    written(tmp_path / "days" / "1.parquet", QUIET)
    written(tmp_path / "days" / "2.parquet", [(k + 10, *book, k + 10) for k, *book in QUIET])
    text = refused_path(tmp_path / "days", LegFile(written(tmp_path / "perp.parquet", QUIET), "updates"))
    assert "2.parquet has the columns" in text and "venue_timestamp" in text


def test_the_digest_is_that_of_the_bytes_in_the_order_of_names(tmp_path):
    (tmp_path / "b.csv").write_bytes(b"second")
    (tmp_path / "a.csv").write_bytes(b"first ")
    assert sha256(tmp_path) == hashlib.sha256(b"first second").hexdigest()
    assert sha256(str(tmp_path / "b.csv")) == hashlib.sha256(b"second").hexdigest()


def test_recordings_of_equal_length_and_sum_have_digests_of_their_own_mistake_23(tmp_path):
    """Two prices swapped: the same bytes in number, the same rows, the same sum."""
    texts = ("bid\n100.0\n101.0\n102.0\n", "bid\n102.0\n101.0\n100.0\n")
    files = [tmp_path / name for name in ("one.csv", "two.csv")]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    assert len(texts[0]) == len(texts[1]) and sorted(texts[0]) == sorted(texts[1])
    assert sha256(files[0]) != sha256(files[1])
    assert [sha256(file) for file in files] == [hashlib.sha256(text.encode()).hexdigest() for text in texts]


# The tape as a value


def tiny():
    return Tape.of(
        [
            (0, SPOT, 100, 101, 1, 2),
            (10, PERP, 110, 111, 3, 4),
            (20, SPOT, 102, 103, 5, 6),
            (20, PERP, 112, 113, 7, 8),
            (30, PERP, 114, 115, 0, 0),
        ],
        spot_kind="snapshots",
    )


def test_a_hand_written_tape_begins_with_both_legs_and_goes_on_to_the_last_row():
    tape = tiny()
    assert len(tape) == 4
    assert tape.spot_bid.tolist() == [100, 102, 102, 102]
    assert tape.perp_ask_qty.tolist() == [4, 4, 8, 0]
    assert tape.spot_age_ns.tolist() == [10, 0, 0, 10]
    assert tape.perp_age_ns.tolist() == [0, 10, 0, 0]
    assert (tape.spot_kind, tape.perp_kind, tape.quality) == ("snapshots", "updates", None)
    with pytest.raises(DataError, match="both legs need a quote, had 1 of spot and 0"):
        Tape.of([(0, SPOT, 100, 101, 1, 2)])
    with pytest.raises(DataError, match="go back in time"):
        Tape.of([(5, SPOT, 100, 101, 1, 2), (0, SPOT, 100, 101, 1, 2), (0, PERP, 100, 101, 1, 2)])


def test_between_is_half_open_and_copies_nothing():
    tape = tiny()
    head, tail = tape.between(10, 20), tape.between(20, 31)
    assert (head.ts_ns.tolist(), tail.ts_ns.tolist()) == ([10], [20, 20, 30])
    assert all(np.shares_memory(getattr(tail, name), getattr(tape, name)) for name in EVENTS)
    assert all(
        np.shares_memory(one, other) for one, other in zip(tail.spot + tail.perp, tape.spot + tape.perp, strict=True)
    )
    assert (tail.spot_kind, tail.start_ns, tail.end_ns) == ("snapshots", 20, 30)


def test_an_empty_tape_has_no_start():
    empty = tiny().between(11, 20)
    assert len(empty) == 0 and repr(empty) == "Tape(0 events, spot snapshots, perp updates)"
    with pytest.raises(DataError, match="an empty tape"):
        _ = empty.start_ns


def test_a_tape_cannot_be_written_to_even_after_travelling_to_another_process():
    for tape in (tiny(), tiny().between(0, 25), pickle.loads(pickle.dumps(tiny()))):
        for name in TAPE_COLUMNS:
            with pytest.raises(ValueError, match="read-only"):
                getattr(tape, name)[0] = 1


def test_the_arrays_handed_in_stay_the_callers():
    columns = {name: getattr(tiny(), name).copy() for name in TAPE_COLUMNS}
    Tape.wide(**columns)
    assert all(column.flags.writeable for column in columns.values())


@pytest.mark.parametrize(
    ("name", "column", "says"),
    [
        ("spot_bid", np.zeros(3), "spot_bid must be an array of float64 and shape (4,), was float64 of shape (3,)"),
        ("leg", np.zeros(4), "leg must be an array of uint8"),
        ("perp_age_ns", [0, 0, 0, 0], "perp_age_ns must be an array of int64 and shape (4,), was list"),
        ("ts_ns", np.array([1, 2, 1, 3]), "ts_ns goes back from 2 to 1 at event 2"),
        ("leg", np.array([0, 1, 2, 0], np.uint8), "leg must be 0 (spot) or 1 (perpetual), was 2"),
    ],
)
def test_a_tape_of_unfit_arrays_is_refused(name, column, says):
    columns = {column: getattr(tiny(), column) for column in TAPE_COLUMNS} | {name: column}
    with pytest.raises(DataError) as refused:
        Tape.wide(**columns)
    assert says in str(refused.value)
    with pytest.raises(ParamsError, match="perp_kind"):
        Tape.wide(*(getattr(tiny(), name) for name in TAPE_COLUMNS), perp_kind="polled")


def test_align_refuses_an_end_before_both_legs_have_a_book():
    from delta_arb.quotes.checks import Quotes

    def quotes(*ts_ns):
        return Quotes(np.array(ts_ns), *(np.ones(len(ts_ns)) for _ in range(4)), np.array(ts_ns))

    with pytest.raises(DataError, match="end it later"):
        align(quotes(5, 9), quotes(1, 9), end_ns=4)


def test_the_frame_has_every_column_and_utc_time():
    frame = tiny().to_frame()
    assert list(frame.columns) == list(TAPE_COLUMNS)
    assert str(frame.index.tz) == "UTC" and frame.index.name == "time" and frame.index[0].value == 10
    assert frame["perp_bid"].tolist() == [110, 110, 112, 114]


def test_the_quality_summary_tells_every_count_with_its_treatment(tmp_path):
    spot = [(0, 100, 1, 101, 1), (1, 101, 1, 100, 1), (1.5, 100, 1, 101, 1), (1, 100, 1, 101, 1), (2, 100, 1, 101, 1)]
    quality = read_rows(tmp_path, spot, QUIET, spot_how={"kind": "snapshots"}).quality
    frame = quality.to_frame()
    assert list(frame.columns) == ["spot", "perp", "treatment"] and list(frame.index) == list(TREATMENTS)
    assert frame.loc["crossed", "spot"] == 1 and frame.loc["out_of_order", "spot"] == 1
    assert "withdraws" in frame.loc["crossed", "treatment"]
    assert (quality.spot.file, quality.spot.kind) == (str(tmp_path / "spot.parquet"), "snapshots")
    assert "40.00 % of 5" in repr(quality) and len(repr(quality)) < 160
    shown = {row[0]: row[1:3] for row in quality.table().rows}
    assert (shown["crossed books"], shown["first row"][0]) == (("1", "0"), "2025-10-11 00:00:00.000")
    assert "crossed" in quality._repr_html_()


def test_reading_loads_neither_pandas_nor_numba(tmp_path):
    written(tmp_path / "spot.parquet", [*QUIET, (9.5, None, 1, 101, 1)])
    csv_rows = "\n".join(f"2025-10-11T00:00:0{s}Z,{b},{bq},{a},{aq}" for s, b, bq, a, aq in QUIET)
    (tmp_path / "perp.csv").write_text(",".join(NAMES[:5]) + "\n" + csv_rows)
    code = (
        "import sys; from delta_arb.quotes.tape import LegFile, read; "
        f"tape = read(LegFile({str(tmp_path / 'spot.parquet')!r}, 'updates', contract_size=2.0),"
        f" LegFile({str(tmp_path / 'perp.csv')!r}, 'snapshots'), max_bad_share=0.5); "
        "repr(tape), tape.quality._repr_html_(); print({'pandas', 'numba'} & set(sys.modules), len(tape))"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "set() 19\n"


# The fast reader against a plain one, on random dirt


def books():
    """Mostly good books around three levels, with every kind of cell that has gone wrong."""
    price = st.sampled_from([100.0, 100.0, 100.0, 101.0, 115.0, 140.0])
    half = st.sampled_from([0.5, 0.5, 0.5, 1.0, 0.0, -0.5])
    size = st.sampled_from([1.0, 1.0, 2.0])
    good = st.builds(lambda p, h, b, a: (p - h, b, p + h, a), price, half, size, size)
    cell = st.sampled_from([100.0, 101.0, 1.0, 0.0, -1.0, NAN, INF])
    return st.one_of(good, good, good, st.tuples(cell, cell, cell, cell))


def legs(min_size=1, max_size=12):
    """Rows (seconds, book..., venue seconds): steps back and ties in time, lags that come and go."""
    step = st.sampled_from([0, 0, 1, 1, 2, 3, -2])
    row = st.tuples(step, books(), st.integers(-2, 3))
    return st.lists(row, min_size=min_size, max_size=max_size).map(_rows_of_steps)


def _rows_of_steps(steps):
    rows, now = [], 0
    for step, book, lag in steps:
        now += step
        rows.append((now, *book, now - lag))
    return rows


def plain_leg(rows, max_jump=0.10):
    """Treated rows of one leg: (s, bid, ask, bid_qty, ask_qty, fresh_s), good ones and withdrawn ones."""
    kept, latest = [], -INF
    for row in rows:
        if row[0] < latest or (kept and repr(row) == repr(kept[-1])):
            continue
        latest = row[0]
        kept.append(row)
    treated, quickest, before, level, last = [], INF, None, None, None
    for s, bid, bid_qty, ask, ask_qty, venue_s in kept:
        quickest = min(quickest, s - venue_s)
        good = all(0 < cell < INF for cell in (bid, bid_qty, ask, ask_qty)) and bid < ask
        if good:
            mid = bid + ask
            good = before is None or abs(mid - before) <= max_jump * before or abs(mid - level) <= max_jump * level
            before = mid
        if good:
            level = mid
            last = (bid, ask, bid_qty, ask_qty, s - (s - venue_s - quickest))
            treated.append((s, *last))
        elif last:
            treated.append((s, last[0], last[1], 0.0, 0.0, last[4]))
    return treated


def plain_tape(spot, perp):
    """Events (s, leg, spot book and fresh_s, perp book and fresh_s), or None where a reader must refuse."""
    treated = plain_leg(spot), plain_leg(perp)
    if not all(treated) or max(leg[0][0] for leg in treated) > min(leg[-1][0] for leg in treated):
        return None
    end = min(leg[-1][0] for leg in treated)
    arrivals = sorted((row[0], leg, k) for leg in (SPOT, PERP) for k, row in enumerate(treated[leg]))
    known, tape = [None, None], []
    for s, leg, k in arrivals:
        known[leg] = treated[leg][k][1:]
        if all(known) and s <= end:
            tape.append((s, leg, *known[SPOT], *known[PERP]))
    return tape


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("legs")


@pytest.fixture(params=[one_pass.WORTH, 2], ids=["in columns", "in one pass"])
def worth(request):
    with patch.object(one_pass, "WORTH", request.param):
        yield


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spot=legs(), perp=legs())
def test_every_event_is_what_a_plain_row_by_row_reader_says(worth, folder, spot, perp):
    wanted = plain_tape(spot, perp)
    if wanted is None:
        with pytest.raises(DataError):
            read_rows(folder, spot, perp)
        return
    tape = read_rows(folder, spot, perp)
    found = zip(
        *((tape.ts_ns - BASE) / NS, tape.leg),
        *(tape.spot_bid, tape.spot_ask, tape.spot_bid_qty, tape.spot_ask_qty),
        (tape.ts_ns - tape.spot_age_ns - BASE) / NS,
        *(tape.perp_bid, tape.perp_ask, tape.perp_bid_qty, tape.perp_ask_qty),
        (tape.ts_ns - tape.perp_age_ns - BASE) / NS,
        strict=True,
    )
    assert [tuple(map(float, event)) for event in found] == wanted
    for leg in (tape.quality.spot, tape.quality.perp):
        assert leg.rows == leg.used + leg.out_of_order + leg.duplicate + leg.leading + leg.outside
        assert 0 <= leg.stale_share <= 1 and leg.outside >= 0


@settings(max_examples=200, deadline=None)
@given(spot=legs(), perp=legs(), spot_tails=st.tuples(legs(), legs()), perp_tails=st.tuples(legs(), legs()))
def test_changing_later_rows_leaves_earlier_events_bit_identical(folder, spot, perp, spot_tails, perp_tails):
    start = (-10, 100.0, 1.0, 101.0, 1.0, -10)  # so that neither leg is ever without a book
    now = max(row[0] for row in [start, *spot, *perp])
    tapes = []
    for spot_tail, perp_tail in zip(spot_tails, perp_tails, strict=True):
        later = [[(row[0] + now + 50, *row[1:5], row[5] + now) for row in tail] for tail in (spot_tail, perp_tail)]
        tape = read_rows(folder, [start, *spot, *later[0]], [start, *perp, *later[1]])
        tapes.append(tape.between(at(-20), at(now) + 1))
    assert same_columns(*tapes)


# Speed


@pytest.mark.benchmark
def test_a_day_of_a_million_rows_per_leg_is_read_in_time_and_in_memory(tmp_path):
    script = Path(__file__).parent / "benchmarks" / "bench_tape.py"

    def run(*arguments):
        command = [sys.executable, script, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    files = [tmp_path / "spot.parquet", tmp_path / "perp.parquet"]
    for seed, path in enumerate(files):
        run("--write", path, 1_000_000, 0.02, seed)
    figures = json.loads(run("--read", *files))
    assert figures["seconds"] <= 0.6 and figures["peak_over_tape"] <= 3.0


# Real recordings


def sample(name, **how):
    path = SAMPLES / name
    if not path.exists():
        pytest.skip(f"{name} is not in ../shared/data; its counts were checked where it is")
    return LegFile(path, **{"kind": "updates", **how})


@pytest.fixture(scope="module")
def lunc():
    spot = sample("mexc_spot_LUNC_USDT_book_2025-10-11.parquet", kind="snapshots")
    return read(spot, sample("gateio_futures_LUNC_USDT_book_2025-10-11.parquet", contract_size=10_000.0), gap_s=1.0)


def test_the_lunc_recordings_count_as_their_readme_says(lunc):
    spot, perp = lunc.quality.spot, lunc.quality.perp
    assert (spot.rows, spot.unchanged, spot.gaps, round(spot.longest_gap_s, 2)) == (6583, 2889, 113, 3.29)
    assert (perp.rows, perp.unchanged, perp.gaps, round(perp.longest_gap_s, 1)) == (8306, 456, 3347, 19.4)
    assert spot.bad_share == perp.bad_share == 0.0
    assert (spot.kind, perp.kind) == ("snapshots", "updates")


def test_the_lunc_tape_covers_0418_to_0520_and_starts_with_contracts_as_coins(lunc):
    assert repr(lunc) == (
        "Tape(9,900 events, 2025-10-11 04:18:33.361 to 2025-10-11 05:19:55.851 UTC, spot snapshots, perp updates)"
    )
    # The first rows of both files: MEXC at 04:18:33.361; Gate in force then, 64 and 89 contracts of 10,000 LUNC.
    assert (lunc.spot_bid[0], lunc.spot_ask_qty[0]) == (3.539e-05, 450460.0)
    assert (lunc.perp_bid_qty[0], lunc.perp_ask_qty[0]) == (640_000.0, 890_000.0)


def test_the_lunc_tape_agrees_with_a_join_by_pandas(lunc):
    import pandas as pd

    frame = lunc.to_frame().reset_index()
    for leg, name in (("spot", "mexc_spot"), ("perp", "gateio_futures")):
        rows = pd.read_parquet(SAMPLES / f"{name}_LUNC_USDT_book_2025-10-11.parquet")
        rows["stamp"] = rows["timestamp"]
        joined = pd.merge_asof(frame[["time"]], rows, left_on="time", right_on="timestamp")
        for ours, theirs in (("bid", "bid_price"), ("ask", "ask_price")):
            assert (frame[f"{leg}_{ours}"] == joined[theirs]).all()
        assert (frame[f"{leg}_age_ns"] == (joined["time"] - joined["stamp"]).dt.as_unit("ns").astype("int64")).all()


@pytest.mark.parametrize(
    ("day", "rows", "gaps", "longest_s"),
    [("2023-04-05", (8015, 37440), (3, 3), (1.45, 3.86)), ("2024-08-08", (28040, 66089), (0, 0), (0.636, 0.753))],
)
def test_the_btc_recordings_count_as_their_readme_says(day, rows, gaps, longest_s):
    legs = [sample(f"binance_{market}_BTC_USDT_book_{day}.parquet") for market in ("spot", "futures")]
    quality = read(*legs, gap_s=1.0).quality
    found = quality.spot, quality.perp
    assert tuple(leg.rows for leg in found) == rows
    assert tuple(leg.gaps for leg in found) == gaps
    assert [leg.longest_gap_s for leg in found] == pytest.approx(longest_s, abs=0.005)
    assert all(leg.unchanged == 0 and leg.crossed == 0 and leg.locked == 0 and leg.bad_share == 0 for leg in found)


@pytest.mark.skipif(not hasattr(mmap, "MADV_FREE"), reason="this system lends no memory")
def test_a_dropped_tape_leaves_its_memory_to_the_next_one_and_a_column_that_is_held_keeps_it():
    def made(price):
        rows = [(k + 1, k % 2, price + k, price + k + 0.5, 1.0, 1.0) for k in range(40)]
        with patch.object(one_pass, "WORTH", 2):
            return Tape.of(rows)

    def place(column):
        return column.__array_interface__["data"][0]

    first = made(100.0)
    where, held = place(first.ts_ns), first.spot_row
    del first
    second = made(200.0)
    assert held.tolist() == [k // 2 for k in range(1, 40)]
    assert place(second.ts_ns) != where
    del held
    third = made(300.0)
    assert place(third.ts_ns) == where and third.spot_bid[0] == 300.0 and second.spot_bid[0] == 200.0
