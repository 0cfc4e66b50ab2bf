"""Months of history: pages put together, nothing missing in silence, the same bytes after a kill."""

import contextlib
import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from urllib.parse import parse_qs, urlsplit

import ccxt
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from delta_arb import download as command
from delta_arb.collect import download, history
from delta_arb.collect.download import Legs, Request
from delta_arb.collect.history import PERP, SPOT, Listed, Stored, VenueHistory, months, read, write
from delta_arb.collect.options import DownloadOptions, RecordOptions
from delta_arb.errors import DataError, ParamsError, RunError

MINUTE = 60_000
HOUR = 60 * MINUTE


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


START = ms("2026-01-30")
PERPETUAL = {
    "type": "swap", "spot": False, "margin": False, "swap": True, "future": False, "option": False, "contract": True,
    "linear": True, "inverse": False, "contractSize": 1.0, "active": True, "precision": {}, "limits": {}, "info": {},
}  # fmt: skip


def bar(at_ms: int) -> tuple[float, ...]:
    price = 1.0 + at_ms % 977 / 1000
    return (at_ms, price, price, price, price, 3.0)


def test_a_range_is_cut_into_its_calendar_months():
    found = list(months(ms("2025-12-31T12:00"), ms("2026-02-01")))
    assert [(m.name, m.start_ms, m.end_ms) for m in found] == [
        ("2025-12", ms("2025-12-31T12:00"), ms("2026-01-01")),
        ("2026-01", ms("2026-01-01"), ms("2026-02-01")),
    ]


def test_gaps_are_the_ranges_without_bars():
    assert history.gaps([0, 60, 240], 0, 360, 60) == [(120, 240), (300, 360)]
    assert history.gaps([], 0, 120, 60) == [(0, 120)]
    assert history.gaps([0, 60], 0, 120, 60) == []


@given(st.sets(st.integers(0, 399), max_size=400), st.integers(1, 50), st.randoms(use_true_random=False))
def test_short_pages_lose_no_bar_that_the_venue_has(opened, most, rng):
    """A page may be short once; what the venue has comes all the same, in order, each bar once."""
    there, asked = {k * MINUTE for k in opened}, set()

    def page(start_ms, end_ms):
        bars = [bar(at) for at in sorted(there) if start_ms <= at < end_ms][:most]
        if (start_ms, end_ms) not in asked and rng.random() < 0.5:
            asked.add((start_ms, end_ms))
            return bars[: len(bars) // 2]
        return bars

    rows = history.candles(page, 0, 400 * MINUTE, MINUTE, most)
    stamps = [row[0] for row in rows]
    assert stamps == sorted(set(stamps))
    lost = there - set(stamps)
    assert all(any(a <= at < b for a, b in history.gaps(stamps, 0, 400 * MINUTE, MINUTE)) for at in lost)


@given(
    st.lists(st.sampled_from([HOUR, 4 * HOUR, 8 * HOUR]), min_size=1, max_size=80),
    st.integers(1, 9),
    st.sampled_from(["newest", "newest, whatever the start", "oldest"]),
)
def test_funding_is_whole_whichever_end_of_a_range_the_venue_gives(steps, most, given_first):
    """Gate and Bybit give the newest rows of a range (Gate was seen to ignore its start), Binance the oldest."""
    stamps = [START]
    for step in steps:
        stamps.append(stamps[-1] + step)

    def page(start_ms, end_ms):
        inside = [(at, 1e-4) for at in stamps if at < end_ms and ("whatever" in given_first or at >= start_ms)]
        return inside[:most] if given_first == "oldest" else inside[-most:]

    begin, end = stamps[len(stamps) // 3], stamps[-1] + 1
    rows = history.funding(page, begin, end)
    assert [row[0] for row in rows] == [at for at in stamps if begin <= at < end]


# the newest first; none later than START
HOURLY = [{"at": START - k * HOUR, "rate": str(k * 1e-6)} for k in range(1300)]


def _binance(asked):
    inside = [row for row in HOURLY[::-1] if int(asked["startTime"]) <= row["at"] <= int(asked["endTime"])]
    return [{"symbol": "B", "fundingTime": r["at"], "fundingRate": r["rate"]} for r in inside[: int(asked["limit"])]]


def _bybit(asked):
    inside = [row for row in HOURLY if int(asked["startTime"]) <= row["at"] <= int(asked["endTime"])]
    rows = [{"symbol": "B", "fundingRateTimestamp": str(r["at"]), "fundingRate": r["rate"]} for r in inside]
    return {"retCode": 0, "result": {"category": "linear", "list": rows[: int(asked["limit"])]}}


def _numbered(number, size):
    first = (int(number) - 1) * int(size)
    return HOURLY[first : first + int(size)]


def _mexc(asked):
    rows = _numbered(asked.get("page_num", 1), asked["page_size"])
    rows = [{"symbol": "B", "fundingRate": float(r["rate"]), "settleTime": r["at"]} for r in rows]
    return {"success": True, "code": 0, "data": {"resultList": rows}}


def _bitget(asked):
    rows = _numbered(asked.get("pageNo", 1), asked["pageSize"])
    rows = [{"symbol": "B", "fundingRate": r["rate"], "fundingTime": str(r["at"])} for r in rows]
    return {"code": "00000", "msg": "success", "data": rows}


def _local(url, answer):
    """`url` of ccxt's, with every address led to `answer`."""
    return answer if isinstance(url, str) else {key: _local(each, answer) for key, each in url.items()}


@pytest.mark.parametrize(
    ("venue", "answer"), [("binance", _binance), ("bybit", _bybit), ("mexc", _mexc), ("bitget", _bitget)]
)
def test_funding_of_a_month_long_ago_is_whole_at_every_venue_whose_perpetuals_are_read(venue, answer):
    """Pages as each venue documents them: Binance begins with the oldest of a range, Bybit with the newest, MEXC and
    Bitget number their pages from the newest of all. 720 hourly stamps, 500 hours before the last."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer(asked)).encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        Thread(target=server.serve_forever).start()
        here = f"http://127.0.0.1:{server.server_port}"
        history = VenueHistory(venue, PERP, {"urls": {"api": _local(getattr(ccxt, venue)().urls["api"], here)}})
        history._client.set_markets(
            [PERPETUAL | {"id": "B", "symbol": "B/USDT:USDT", "base": "B", "quote": "USDT", "settle": "USDT"}]
        )
        begin = START - 1219 * HOUR
        rows = history.funding(Listed("B_USDT", "B/USDT:USDT", 1.0, True), begin, begin + 720 * HOUR)
        server.shutdown()
    assert [row[0] for row in rows] == list(range(begin, begin + 720 * HOUR, HOUR))
    assert [round(row[1] * 1e6) for row in rows] == list(range(1219, 499, -1))


def test_a_missing_settlement_is_found_by_the_intervals_around_it():
    """8 h stamps with one missing, then 1 h stamps: the change of the interval is no hole."""
    eights = [START + 8 * HOUR * k for k in (0, 1, 2, 4, 5, 6)]
    ones = [eights[-1] + HOUR * (k + 1) for k in range(5)]
    stamps = eights + ones
    found = history.missing_settlements(stamps, START, stamps[-1] + HOUR)
    assert found == [(eights[2], eights[3])]
    # every other stamp of five missing: two holes side by side are as long as each other, as in a replay that refuses them
    sparse = [START + 8 * HOUR * k for k in (0, 1, 2, 4, 6, 7, 8)]
    beside = [(sparse[2], sparse[3]), (sparse[3], sparse[4])]
    assert history.missing_settlements(sparse, START, sparse[-1] + HOUR) == beside
    # three hourly stamps missing at the end are less than the 8 h that held before
    assert history.missing_settlements(stamps, START, stamps[-1] + 4 * HOUR)[1:] == [
        (stamps[-1], stamps[-1] + 4 * HOUR)
    ]
    assert history.missing_settlements([], START, START + HOUR) == [(START, START + HOUR)]
    assert history.missing_settlements(stamps, START - 24 * HOUR, stamps[-1])[0] == (START - 24 * HOUR, START)


def test_every_flipped_byte_of_a_months_file_is_noticed(tmp_path):
    """Plain Parquet reads most flipped bytes as other numbers; pages carry checksums here."""
    path = tmp_path / "2026-01.parquet"
    stored = Stored(START, START + 500 * MINUTE, tuple(bar(START + k * MINUTE) for k in range(500)))
    write(path, download.CANDLE_COLUMNS, stored)
    assert read(path) == stored
    whole, rng = path.read_bytes(), random.Random(7)
    for at in rng.sample(range(len(whole)), 60):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1 :])
        with contextlib.suppress(DataError):
            assert read(path) == stored  # a byte that carries no number (a name of the writer) may change


class Venue:
    """A venue in memory with planted holes; `dies_after` calls it is gone for good."""

    bar_holes = ((START + 100 * MINUTE, START + 130 * MINUTE),)
    page_bars, volume_unit, synthetic = 500, "coins", False

    def __init__(self, venue, market, dies_after=10**9):
        self.venue, self.market, self._left = venue, market, dies_after

    def listed(self):
        return {p: Listed(p, p, 1.0, True) for p in ("AAA_USDT", "BBB_USDT", "CCC_USDT")}

    def rules(self):
        return [{"symbol": "AAA"}]

    def wallets(self):
        return {"AAA": {"deposit": False, "withdraw": True}}

    def now_ms(self):
        return ms("2026-02-03T00:00:30")

    def check(self, **asked):
        pass

    def bar_ms(self, text):
        return MINUTE

    def candles(self, pair, text, start_ms, end_ms, *, mark=False):
        self._left -= 1
        if self._left < 0:
            raise ConnectionError("killed")
        holes = self.bar_holes if pair.pair == "BBB_USDT" else ()
        stamps = range(start_ms, end_ms, MINUTE)
        return [bar(at) for at in stamps if not any(a <= at < b for a, b in holes)][: self.page_bars]

    def funding(self, pair, start_ms, end_ms):
        return [(at, 1e-4) for at in range(START, end_ms, 8 * HOUR) if at >= start_ms][-100:]


REQUEST = Request((), START, ms("2026-02-03"), funding=True)


def legs(**more):
    return Legs(Venue("one", SPOT, **more), Venue("two", PERP))


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("calls", [0, 1, 3, 7, 20, 31])
def test_a_download_that_was_broken_off_and_called_again_gives_the_same_bytes(tmp_path, calls):
    download.download(legs(), REQUEST, tmp_path / "whole")
    with pytest.raises(ConnectionError):
        download.download(legs(dies_after=calls), REQUEST, tmp_path / "broken")
    download.download(legs(), REQUEST, tmp_path / "broken")
    assert tree(tmp_path / "whole") == tree(tmp_path / "broken")


def test_the_holes_that_are_reported_are_those_that_were_planted(tmp_path):
    found = download.download(legs(), REQUEST, tmp_path)
    holes = {covered.dataset: covered.missing for covered in found if covered.missing}
    assert holes == {f"{name} BBB_USDT candles_1m": Venue.bar_holes for name in ("one spot", "two perp")}
    assert sum(covered.rows for covered in found if "funding" in covered.dataset) == 3 * 12  # four days of three


def test_what_a_venue_says_of_deposits_is_kept_beside_its_rules_and_what_it_does_not_say_is_left_out(tmp_path):
    download.download(legs(), REQUEST, tmp_path)
    assert json.loads((tmp_path / "one/spot/currencies.json").read_text()) == Venue.wallets(None)
    venue = VenueHistory("gate", SPOT, {})
    venue._client.currencies = {
        "A": {"deposit": False, "withdraw": True}, "B": {"deposit": None, "withdraw": True}, "C": {"deposit": None},
    }  # fmt: skip
    assert venue.wallets() == {"A": {"deposit": False, "withdraw": True}, "B": {"withdraw": True}}


def test_a_second_call_asks_for_nothing_and_a_longer_one_for_the_rest(tmp_path):
    download.download(legs(), REQUEST, tmp_path)
    before = tree(tmp_path)
    download.download(legs(dies_after=0), REQUEST, tmp_path)
    assert tree(tmp_path) == before
    shorter = Request(("AAA_USDT",), START, ms("2026-02-02T10:00"), funding=False)
    download.download(legs(), shorter, tmp_path / "grown")
    download.download(legs(), Request(("AAA_USDT",), START, REQUEST.until_ms, funding=False), tmp_path / "grown")
    name = "one/spot/AAA_USDT/candles_1m/2026-02.parquet"
    stored = read(tmp_path / "grown" / name)
    assert (stored.start_ms, stored.end_ms) == (ms("2026-02-01"), ms("2026-02-03"))
    assert {b[0] - a[0] for a, b in pairwise(stored.rows)} == {MINUTE}


def test_a_pair_that_one_venue_does_not_list_is_refused(tmp_path):
    with pytest.raises(ParamsError, match="ZZZ_USDT is not listed at the spot venue nor at the perpetual's venue; 3"):
        download.download(legs(), Request(("ZZZ_USDT",), START, REQUEST.until_ms), tmp_path)


def test_a_range_that_is_still_to_come_is_refused_before_anything_is_asked(capsys):
    assert command.main(["--pair", "AAA_USDT", "--since", "2099-01-01"]) == 2
    said = capsys.readouterr().err
    assert "--since 2099-01-01 00:00:00.000 is still to come" in said and said.count("\n") == 1


@pytest.mark.parametrize("given", [DownloadOptions(all=True, since=0), RecordOptions(all=True)])
def test_pairs_of_the_local_venues_are_kept_apart_unless_a_folder_is_named(given):
    assert given.checked().out == Path("data")
    assert replace(given, sandbox=True).checked().out == Path("data/synthetic")
    assert replace(given, sandbox=True, out=Path("made")).checked().out == Path("made")


def test_pairs_of_the_local_venues_are_marked_synthetic_in_every_file(tmp_path):
    both = legs()
    both.perp.synthetic = True
    download.download(both, REQUEST, tmp_path)
    files = {at: b"synthetic" in pq.read_schema(at).metadata for at in tmp_path.rglob("*.parquet")}
    assert {marked for at, marked in files.items() if "two" in at.parts} == {True}
    assert {marked for at, marked in files.items() if "one" in at.parts} == {False}


def test_ctrl_c_says_in_one_line_what_is_kept_and_how_to_go_on(monkeypatch, tmp_path, capsys):
    venues = legs()
    venues.spot.stopped, venues.perp.stopped = Event(), Event()
    monkeypatch.setattr(download, "Legs", lambda *_: venues)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "download", interrupted)
    words = ["--all", "--since", "2026-01-30", "--out", str(tmp_path), "--json"]
    assert command.main(words) == 130
    said = capsys.readouterr()
    assert said.err == "stopped: months that were complete are kept; the same command goes on with what is missing\n"
    assert json.loads(said.out)["status"] == "stopped"


def test_a_venue_whose_spot_volume_is_money_is_refused_before_anything_is_asked():
    with pytest.raises(ParamsError, match="btse's candle volume in money"):
        VenueHistory("btse", SPOT, {}).check(bar="1m", start_ms=START, mark=False)


def test_after_ctrl_c_a_venue_is_asked_nothing_more():
    venue = VenueHistory("gate", SPOT, {})
    venue.stopped.set()
    with pytest.raises(RunError, match="stopped"):
        venue.listed()
