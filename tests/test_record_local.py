"""The recorder against the local venues: killed with -9 again and again, it loses at most a second and never a file."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from decimal import Decimal

import pytest

from delta_arb.market import NS
from delta_arb.quotes.recorded import DatasetRange, columns, is_recorded, parts
from delta_arb.quotes.stream_file import FUNDING_NOW, LAYOUTS, LEVELS, QUOTES, TRADES
from delta_arb.sandbox.values import BUY, SELL, Upcoming
from delta_arb.sandbox.venues import Venues

LEGS = ("mexc/spot", "gate/perp")
TICK_S = 0.02
CLOSED = {
    "mexc/spot": {"status": "3", "isSpotTradingAllowed": False},
    "gate/perp": {"in_delisting": True, "status": "delisting"},
}
DUE_NS = 1_900_000_000 * NS


class Quoting:
    """Local venues in a thread of their own, that change both books every 20 ms and print a trade now and then."""

    def __init__(self):
        self.said: list[tuple[int, int]] = []  # when a quote was put on, ns, and its size, which names it
        self.wanted = []  # what else is to be done to the venues, in their own thread
        self.stop, self.ready = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self):
        async with Venues.quiet() as venues:
            self.config = venues.config()
            venues.perp.upcoming_funding["SYN_USDT"] = Upcoming(Decimal("0.00012"), DUE_NS, 14_400)
            self.ready.set()
            k = 0
            while not self.stop.is_set():
                k += 1
                size = 10 * (1 + k % 50_000)
                venues.quote("0.8000", size, f"0.80{10 + k % 7}", size)
                self.said.append((time.time_ns(), size))
                while self.wanted:
                    self.wanted.pop(0)(venues)
                await asyncio.sleep(TICK_S)

    def __enter__(self):
        self.thread.start()
        assert self.ready.wait(20)
        return self

    def __exit__(self, *exc):
        self.stop.set()
        self.thread.join()


def configured(tmp_path, venues):
    lines = ['pair = "SYN_USDT"']
    for leg, name in (("spot", "mexc"), ("perp", "gate")):
        lines += [f"[{leg}]", f'venue = "{name}"', "taker_fee_bps = 5.0", "latency_s = 0.1"]
        lines += ["contract_size = 10.0"] if leg == "perp" else []
        lines += [f"[{leg}.ccxt]", *_toml(venues.config[name])]
    (tmp_path / "venues.toml").write_text("\n".join(lines))
    return tmp_path / "venues.toml"


def _toml(config):
    keyless = {name: value for name, value in config.items() if name not in ("apiKey", "secret")}
    return [f"{name} = {_inline(value)}" for name, value in keyless.items()]


def _inline(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_inline(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


@contextmanager
def recording(tmp_path, config, *more):
    command = [
        sys.executable,
        "-m",
        "delta_arb.record",
        "--config",
        str(config),
        "--out",
        str(tmp_path / "data"),
        *more,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def received(tmp_path, leg):
    """When each quote was received and its size, of whatever is on disk."""
    folder = tmp_path / "data" / leg / "SYN_USDT" / "quotes"
    if not is_recorded(folder):
        return []
    found = [columns(part, QUOTES) for part in parts(DatasetRange(folder))]
    factor = 10 if leg == "gate/perp" else 1
    return [
        (at, round(size) * factor)
        for part in found
        for at, size in zip(part["timestamp"].tolist(), part["bid_quantity"].tolist(), strict=True)
    ]


def wait_for_rows(tmp_path, process, since_ns, timeout_s=40.0):
    limit = time.monotonic() + timeout_s
    while time.monotonic() < limit:
        assert process.poll() is None, process.stderr.read()
        if all((rows := received(tmp_path, leg)) and rows[-1][0] > since_ns + NS for leg in LEGS):
            return
        time.sleep(0.2)
    raise AssertionError("nothing was recorded")


def files(tmp_path):
    streams = [p for leg in LEGS for name in LAYOUTS for p in (tmp_path / "data" / leg).glob(f"*/{name}/*T*.*")]
    return {p.stem for p in streams if p.suffix in (".arrows", ".parquet")}


def killed(tmp_path, kills):
    """Kills, and after each what is on disk compared with what was quoted until a second before."""
    with Quoting() as venues:
        config, known = configured(tmp_path, venues), set()
        for _ in range(kills):
            began_ns = time.time_ns()
            with recording(tmp_path, config) as process:
                wait_for_rows(tmp_path, process, began_ns)
                killed_ns = time.time_ns()
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
            assert files(tmp_path) >= known, "a file is gone"
            known = files(tmp_path)
            said = dict(map(reversed, venues.said))
            for leg in LEGS:
                rows = [row for row in received(tmp_path, leg) if row[0] > began_ns]
                assert rows == sorted(rows), "rows out of order"
                assert killed_ns - rows[-1][0] < NS, f"{leg}: {(killed_ns - rows[-1][0]) / 1e9:.2f} s are lost"
                first_ns = said[rows[0][1]]
                wanted = [size for at, size in venues.said if first_ns <= at <= killed_ns - NS]
                heard = {size for _, size in rows}
                # MEXC gathers 10 ms into one push, so two quotes of a late loop may come as one
                assert sum(size not in heard for size in wanted) <= 0.1 * len(wanted)
        with recording(tmp_path, config, "--for", "2s", "--json") as process:  # compacts what the killed ones left
            out, error = process.communicate(timeout=60)
            assert process.returncode == 0, error
        assert json.loads(out.splitlines()[-1])["status"] == "ok"
        assert not [p for leg in LEGS for p in (tmp_path / "data" / leg / "streams").rglob("*.*")]
        assert files(tmp_path) >= known
        for leg in LEGS:
            rows = received(tmp_path, leg)
            assert len(rows) == len(set(rows)) and rows == sorted(rows)


def test_two_kills_lose_at_most_a_second_and_no_file(tmp_path):
    killed(tmp_path, 2)


@pytest.mark.slow
def test_fifty_kills_lose_at_most_a_second_and_no_file(tmp_path):
    killed(tmp_path, 50)


def rows_of(tmp_path, leg, layout):
    found = parts(DatasetRange(tmp_path / "data" / leg / "SYN_USDT" / layout.name))
    rows = [row | {"digits": part.digits} for part in found for row in part.table.to_pylist()]
    return [
        {name: Decimal(row[name]).scaleb(-row["digits"][layout.scaled.index(name)]) for name in layout.scaled}
        | {name: row[name] for name in layout.whole}
        for row in rows
    ]


def events(tmp_path, leg):
    lines = [line for path in (tmp_path / "data" / leg / "events").glob("*.jsonl") for line in path.open()]
    return [json.loads(line) for line in lines]


def trade(venues):
    for engine, side, qty in ((venues.spot, BUY, 7), (venues.perp, SELL, 30)):
        engine.print_trade("SYN_USDT", side, Decimal("0.8011"), Decimal(qty))


def delist(venues):
    for engine in (venues.spot, venues.perp):
        engine.delisting.add("SYN_USDT")


def cut(venues):
    for api in (venues.mexc, venues.gate):
        for socket in list(api.hub.sockets):
            socket.close()


def test_trades_gaps_and_what_is_asked_beside_are_recorded(tmp_path):
    with Quoting() as venues:
        config, began_ns = configured(tmp_path, venues), time.time_ns()
        with recording(tmp_path, config, "--for", "8s", "--sample-s", "1") as process:
            wait_for_rows(tmp_path, process, began_ns)
            venues.wanted.append(trade)
            time.sleep(0.5)  # MEXC gathers its pushes for 10 ms
            venues.wanted += [cut, delist]
            _, error = process.communicate(timeout=60)
            assert process.returncode == 0, error
    (bought,), (sold,) = (rows_of(tmp_path, leg, TRADES) for leg in LEGS)
    price = Decimal("0.8011")
    assert (bought["side"], bought["price"], bought["qty"]) == (1, price, 7)  # coins
    assert (sold["side"], sold["price"], sold["qty"]) == (-1, price, 3)  # contracts of ten coins
    assert abs(bought["recv_ns"] - bought["venue_ns"]) < NS and sold["id"] > 0
    for leg in LEGS:
        kinds = [event["event"] for event in events(tmp_path, leg)]
        assert kinds.count("start") == kinds.count("redial") == kinds.count("gap") == 1 and "clock" in kinds
        (gap,) = (event for event in events(tmp_path, leg) if event["event"] == "gap")
        stamps = [row["recv_ns"] for layout in (QUOTES, TRADES, LEVELS) for row in rows_of(tmp_path, leg, layout)]
        assert gap["start_ns"] in stamps and gap["end_ns"] in stamps
        (resync,) = (event for event in events(tmp_path, leg) if event["event"] == "resync")
        inside = [at for at in stamps if gap["start_ns"] < at < gap["end_ns"]]
        assert len(inside) <= len(resync["pairs"]) <= 1  # the book by REST, if it answered before the next push
        (changed,) = (event for event in events(tmp_path, leg) if event["event"] == "rules")
        assert changed["pair"] == "SYN_USDT" and changed["now"] == CLOSED[leg] != changed["before"]
        rules = json.loads((tmp_path / "data" / leg / "rules.json").read_text())
        (mine,) = (row for row in rules if {row.get("name"), row.get("symbol")} & {"SYN_USDT", "SYNUSDT"})
        assert CLOSED[leg].items() <= mine.items()
        levels = rows_of(tmp_path, leg, LEVELS)
        quoted = {(row["bid"], row["bid_qty"], row["ask"], row["ask_qty"]) for row in rows_of(tmp_path, leg, QUOTES)}
        best = {(row["bid1"], row["bid1_qty"], row["ask1"], row["ask1_qty"]) for row in levels}
        assert len(levels) > 20 and len(best - quoted) <= 0.1 * len(
            best
        )  # what MEXC gathered into one push of the best
        assert {row["ask2"] for row in levels} == {0}
    told = rows_of(tmp_path, "gate/perp", FUNDING_NOW)
    assert told and all(Decimal("0.80") <= row["mark"] <= Decimal("0.8010") for row in told)
    assert {(row["rate"], row["interval_s"], row["next_ns"]) for row in told} == {(Decimal("0.00012"), 14_400, DUE_NS)}


def test_a_second_recorder_of_a_folder_is_refused_and_a_pair_that_is_not_listed_too(tmp_path):
    with Quoting() as venues:
        config = configured(tmp_path, venues)
        began_ns = time.time_ns()
        with recording(tmp_path, config) as first:
            wait_for_rows(tmp_path, first, began_ns)
            with recording(tmp_path, config) as second:
                _, error = second.communicate(timeout=40)
                assert second.returncode == 2 and f"mexc spot is being worked on by process {first.pid} since " in error
        with recording(tmp_path, config, "--pair", "NONE_USDT") as third:
            _, error = third.communicate(timeout=40)
            assert third.returncode == 2 and "mexc has no open spot market NONE_USDT" in error
