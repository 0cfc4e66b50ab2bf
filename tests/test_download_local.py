"""Downloads from the local venues' made pairs: holes as planted, whole funding, and killed with -9 in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from delta_arb import interrupt
from delta_arb.collect.history import FUNDING_COLUMNS, Stored, read, write
from delta_arb.quotes.funding_file import funding_history
from delta_arb.sandbox.candles import DAY_S, SeededHistory

NOW_S = 1_796_000_000


@pytest.fixture(scope="module")
def past():
    return SeededHistory(40, 7, 20.0, NOW_S)


@pytest.mark.parametrize("perp", [False, True])
def test_a_bar_is_the_same_whatever_page_it_is_asked_in(past, perp):
    start_s = past.start_s + DAY_S
    whole = past.bars("MADE003_USDT", perp, 60, start_s, start_s + 6000)
    pages = [
        b for k in range(0, 6000, 600) for b in past.bars("MADE003_USDT", perp, 60, start_s + k, start_s + k + 540)
    ]
    assert whole[:-1] == pages
    assert all(b.low <= min(b.open, b.close) <= max(b.open, b.close) <= b.high for b in whole)
    assert any(a.close != b.open for a, b in pairwise(whole))  # as at real venues, a bar opens beside the last close


def test_holes_are_where_they_were_planted_and_nowhere_else(past):
    pair = next(p for p in past.made if past.holes(p, perp=True))
    ((start_s, end_s),) = past.holes(pair, perp=True)
    opens = [b.start_s for b in past.bars(pair, True, 60, start_s - 600, end_s + 600)]
    assert opens == [*range(start_s - 600, start_s, 60), *range(end_s, end_s + 601, 60)]


def test_settlements_are_at_their_hours_before_and_after_the_change(past):
    made = next(m for m in past.made.values() if m.interval_h != m.later_interval_h)
    stamps = [at for at, _ in past.funding(made.pair, past.start_s, past.end_s)]
    steps = [b - a for a, b in pairwise(stamps)]
    assert set(steps) == {8 * 3600, 4 * 3600} and steps == sorted(steps, reverse=True)


def day(back):
    return (datetime.now(UTC) - timedelta(days=back)).strftime("%Y-%m-%d")


def command(folder: Path, pairs: int, since: int):
    words = ["--sandbox", "--listings", str(pairs), "--history-days", "20", "--all", "--since", day(since)]
    words += ["--until", day(1), "--candles", "5m", "--funding", "--json", "--out", str(folder)]
    return [sys.executable, "-m", "delta_arb.download", *words]


def files(folder):
    kept = (p for p in folder.rglob("*") if p.is_file() and "local_venues" not in p.parts)
    return {str(p.relative_to(folder)): p.read_bytes() for p in kept}


def killed_and_resumed(tmp_path, pairs, since, kills):
    """One undisturbed download, and one that is killed with -9 again and again and called once more at the end."""
    done = subprocess.run(command(tmp_path / "whole", pairs, since), capture_output=True, text=True, check=True)
    for k in range(kills):
        process = subprocess.Popen(
            command(tmp_path / "broken", pairs, since), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        before = len(files(tmp_path / "broken")) if (tmp_path / "broken").exists() else 0
        limit = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < limit:
            if (tmp_path / "broken").exists() and len(files(tmp_path / "broken")) >= before + 3 + k:
                break
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command(tmp_path / "broken", pairs, since), capture_output=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def check(tmp_path, told, pairs, since):
    whole, broken = files(tmp_path / "whole"), files(tmp_path / "broken")
    assert not [name for name in broken if name.endswith(".part")]
    rows = {name for name in whole if name.endswith(".parquet")}
    assert {name: whole[name] for name in rows} == {name: broken[name] for name in rows}
    past = SeededHistory(pairs, 7, 20.0, round(time.time()))
    begin_s, end_s = (round(datetime.fromisoformat(day(k)).replace(tzinfo=UTC).timestamp()) for k in (since, 1))
    planted = {
        (f"{'gate perp' if perp else 'mexc spot'} {pair} candles_5m")
        for pair in past.made
        for perp in (False, True)
        for a, b in past.holes(pair, perp)
        if -(-max(a, begin_s) // 300) * 300 < min(b, end_s)  # a bar of five minutes opens in it
    }
    found = [
        c
        for name in ("mexc/spot", "gate/perp")
        for c in json.loads((tmp_path / "whole" / name / "coverage.json").read_text())
    ]
    holes = {c["dataset"] for c in found if c["missing"] and "SYN_USDT" not in c["dataset"]}
    assert holes == planted
    for pair in past.made:
        path = tmp_path / "whole" / "gate" / "perp" / pair / "funding"
        stamps = [row[0] // 1000 for file in sorted(path.glob("*.parquet")) for row in read(file).rows]
        assert stamps == [at for at, _ in past.funding(pair, begin_s, end_s - 1)]
    assert told["status"] == "ok"


def test_a_download_killed_twice_and_resumed_is_byte_identical(tmp_path):
    check(tmp_path, killed_and_resumed(tmp_path, 6, 3, kills=2), 6, 3)


def pid_of(folder):
    """Of the local venues, as soon as they serve."""
    limit = time.monotonic() + 60
    while not (found := list(folder.rglob("sandbox.json"))):
        assert time.monotonic() < limit, "the local venues did not come up"
        time.sleep(0.02)
    return json.loads(found[0].read_text())["pid"]


def gone(pid):
    limit = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        if time.monotonic() > limit:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("interrupted", [None, *interrupt.ENDING])
def test_the_local_venues_end_with_a_download_that_is_refused_or_interrupted(tmp_path, interrupted):
    words = [sys.executable, "-m", "delta_arb.download", "--sandbox", "--listings", "3", "--out", str(tmp_path)]
    words += ["--since", day(20), "--candles", "1m", *(["--all"] if interrupted else ["--pair", "NOBODY_USDT"])]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    pid = pid_of(tmp_path)
    if interrupted:
        process.send_signal(interrupted)
    said = process.communicate(timeout=120)[1]
    assert ("stopped: months that were complete" if interrupted else "NOBODY_USDT is not listed") in said
    assert process.returncode == (128 + interrupted if interrupted else 2) and gone(pid)
    assert not list(tmp_path.rglob(".lock"))


@pytest.mark.parametrize("signum", interrupt.ENDING)
@pytest.mark.parametrize("recording", [False, True])
def test_a_recording_that_is_stopped_ends_its_local_venues_and_leaves_no_lock_behind(tmp_path, recording, signum):
    words = [sys.executable, "-m", "delta_arb.record", "--sandbox", "--speed", "60", "--status-s", "0.1"]
    with subprocess.Popen([*words, "--out", str(tmp_path)], stderr=subprocess.PIPE, text=True) as process:
        pid = pid_of(tmp_path)
        if recording:
            assert "rows/s" in process.stderr.readline()
        process.send_signal(signum)
        process.stderr.read()
    assert process.returncode in {0, 128 + signum} and gone(pid)
    assert not list(tmp_path.rglob(".lock"))


def test_a_second_command_of_a_folder_leaves_the_local_venues_of_the_first_alone(tmp_path):
    words = [sys.executable, "-m", "delta_arb.record", "--sandbox", "--out", str(tmp_path)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as first:
        pid = pid_of(tmp_path)
        second = subprocess.run(words, capture_output=True, text=True, timeout=60)
        died = not (status := Path(f"/proc/{pid}/status")).exists() or "\nState:\tZ" in status.read_text()
        first.send_signal(signal.SIGINT)
    assert second.returncode == 2 and f"is being worked on by process {first.pid} since " in second.stderr
    assert not died and gone(pid)


@pytest.mark.slow
def test_two_hundred_pairs_killed_and_resumed_are_byte_identical(tmp_path):
    check(tmp_path, killed_and_resumed(tmp_path, 200, 12, kills=10), 200, 12)


def test_a_folder_of_months_is_read_as_one_funding_history(tmp_path):
    months = {
        "2026-01": [(1_769_817_600_000, 1e-4)],
        "2026-02": [(1_769_904_000_000 + 28_800_000 * k, 2e-4) for k in range(3)],
    }
    for name, rows in months.items():
        write(tmp_path / f"{name}.parquet", FUNDING_COLUMNS, Stored(rows[0][0], rows[-1][0] + 1, tuple(rows)))
    history = funding_history(tmp_path)
    assert list(history.stamps) == [at * 10**6 for rows in months.values() for at, _ in rows]
    assert list(history.rates) == [1e-4, 2e-4, 2e-4, 2e-4]
