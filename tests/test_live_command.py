"""`python -m delta_arb.live` as a real process on the local venues: killed and started again, and with keys."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from live_stage import PATIENCE, QUICK
from test_live import export, rule_params

from delta_arb import params
from delta_arb.errors import ParamsError
from delta_arb.live import cli, control, local_venues, resources
from delta_arb.live import config as configuration
from delta_arb.live.options import LiveOptions
from delta_arb.quotes.inputs import Inputs

# Ends its own process, as kill -9 does, at the nth passage of a place in the code.
KILLED = """
import os, signal, sys
from delta_arb.live import executor, journal
from delta_arb.live.__main__ import main
where, n = sys.argv[1].split(":")
owner, name = {"journaled": (journal.Journal, "event"), "sent": (executor.Executor, "place")}[where]
whole, passed = getattr(owner, name), []
def wrapped(self, *args, **more):
    whole(self, *args, **more)
    passed.append(1)
    if len(passed) == int(n):
        os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, name, wrapped)
sys.exit(main(sys.argv[2:]))
"""


WAVE = ["0.8018"] * 16 + ["0.8001"] * 8 + ["0.7988"] * 16 + ["0.8001"] * 8  # the perpetual's bid, every 50 ms


@pytest.fixture(scope="module")
def wave(tmp_path_factory) -> list[str]:
    """A tape on which a pair pays every 2.4 s: it opens for 20 bps and closes 1.2 s later for -12.5."""
    folder = tmp_path_factory.mktemp("wave")
    n = 48 * 25
    stamps = pa.array(pd.date_range("2026-01-05", periods=n, freq="50ms", tz="UTC").as_unit("ns"))
    qty = [50.0, 51.0] * (n // 2)
    perp = [float(bid) for bid in WAVE * (n // 48)]
    for name, bids, size in (("spot", [0.8] * n, 10.0), ("perp", perp, 1.0)):
        sizes = [q * size for q in qty]
        asks = [round(bid + 0.0002, 4) for bid in bids]
        columns = {
            "timestamp": stamps,
            "bid_price": bids,
            "bid_quantity": sizes,
            "ask_price": asks,
            "ask_quantity": sizes,
        }
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    return ["--tape", str(folder / "spot.parquet"), str(folder / "perp.parquet"), "--speed", "1", "--repeat"]


@pytest.fixture
def reports(tmp_path) -> Path:
    params.publish(
        export(Inputs(), rule_params(15.0, -12.0), created=datetime.now(UTC) - timedelta(seconds=1)), tmp_path
    )
    return tmp_path


def command(*arguments: str, **more) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "delta_arb.live", *arguments], capture_output=True, text=True, timeout=60, **more
    )


@contextmanager
def running(*arguments: str, code: tuple[str, ...] = ("-m", "delta_arb.live"), log: Path, **more):
    with (
        log.open("a") as file,
        subprocess.Popen([sys.executable, *code, *arguments], stdout=file, stderr=file, **more) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def until(true, seconds: float = 40.0, why=lambda: "") -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, why()
        time.sleep(0.05)


def rows(journal: Path, query: str) -> list[tuple]:
    if not journal.exists():
        return []
    with closing(sqlite3.connect(journal, timeout=5)) as db:
        try:
            return db.execute(query).fetchall()
        except sqlite3.OperationalError:  # the table is not there yet
            return []


async def deals(ccxt: dict, since_ns: int) -> dict[str, float]:
    """What the venues themselves filled, by our order ids, base units."""
    found: dict[str, float] = {}
    venues = resources.both_venues(configuration.sample(), None, ccxt)
    for venue in venues:
        await venue.open(lambda *quote: None, lambda *told: None)
        for deal in await venue.deals(since_ns, time.time_ns() + 10**9):
            found[deal.order_id] = found.get(deal.order_id, 0.0) + deal.qty
        await venue.close()
    return found


CONFIG = f"""
pair = "SYN_USDT"
on_stop = "flatten"
guards_every_s = 0.2
accounts_every_s = 0.5
LIMITS
[pace]
{chr(10).join(f"{name} = {value}" for name, value in QUICK.items())}
[orders]
{chr(10).join(f"{name} = {value}" for name, value in PATIENCE.items())}
[spot]
venue = "mexc"
min_notional_usdt = 1.0
[perp]
venue = "gate"
contract_size = 10.0
qty_step = 10.0
min_qty = 10.0
"""


def test_a_runner_killed_at_step_after_step_is_never_naked_and_sends_nothing_twice_lesson_32(reports, wave):
    (reports / "c.toml").write_text(CONFIG.replace("LIMITS", ""))
    options = ["--sandbox", "--config", str(reports / "c.toml"), *wave, "--reports", str(reports)]
    folder = reports / Inputs().name / "live"
    journal, log, began_ns = folder / "sandbox.sqlite", reports / "log", time.time_ns()

    def ask(word: str) -> dict:
        return control.ask(control.socket_path(journal), word)

    try:
        for place in ("journaled:1", "sent:1", "journaled:3"):
            with running(place, *options, code=("-c", KILLED), log=log) as process:
                assert process.wait(60) == -signal.SIGKILL, log.read_text()
        alone = json.loads(command("status", *options, "--json").stdout)
        assert "no runner is up" in alone["line"] and alone["working"] == []
        assert abs(alone["coins"] + alone["position"]) < 10.0 or alone["orders"]  # hedged, or asked about at the start
        rows_of = json.loads(command("--check", *options, "--json").stdout)["checks"]
        assert [row["passed"] for row in rows_of if row["check"] == "account"] == [True], (
            rows_of
        )  # its orders explain it
        ccxt = json.loads((folder / "sandbox.json").read_text())["ccxt"]
        with running(*options, "--json", log=log) as process:
            until(lambda: len(rows(journal, "SELECT 1 FROM trades")) >= 2, why=log.read_text)
            second = command(*options)
            assert second.returncode == 2 and "another runner holds this pair's journal" in second.stderr
            ask("flatten")
            until(
                lambda: (said := ask("status"))["phase"] == "flat" and said["position"] == said["coins"] == 0.0,
                why=log.read_text,
            )
            said = json.loads(command("status", *options, "--json").stdout)
            assert said["unexplained_usdt"] == pytest.approx([0.0, 0.0], abs=0.005)
            filled = asyncio.run(deals(ccxt, began_ns))
            assert filled == pytest.approx(
                dict(rows(journal, "SELECT order_id, SUM(qty) FROM fills GROUP BY order_id")), abs=1e-9
            )
            ask("stop")
            assert process.wait(30) == 0, log.read_text()
    finally:
        local_venues.end(folder)
    assert not (folder / "sandbox.json").exists()
    assert rows(journal, "SELECT COUNT(*) FROM runs WHERE ended IS NULL") == [(3,)]
    assert all(
        line.startswith("[sandbox, local venues]") for line in log.read_text().splitlines() if not line.startswith("{")
    )


def test_local_venues_with_a_position_are_neither_replaced_nor_ended_lesson_31(reports, wave):
    """A start or `flatten` that names another tape or speed must not put others in the place of those that hold it."""
    (reports / "c.toml").write_text(CONFIG.replace("LIMITS", ""))
    options = ["--sandbox", "--config", str(reports / "c.toml"), "--reports", str(reports)]
    folder, log = reports / Inputs().name / "live", reports / "log"
    try:
        with running("journaled:3", *options, *wave, code=("-c", KILLED), log=log) as process:
            assert process.wait(60) == -signal.SIGKILL, log.read_text()
        began = json.loads((folder / "sandbox.json").read_text())["pid"]
        refused = command(*options, "--speed", "600")
        assert refused.returncode == 2 and "start with the same arguments" in refused.stderr
        left = command("flatten", *options)
        assert left.returncode == 0 and f"found as they were left, process {began}" in left.stderr + left.stdout
        held = rows(folder / "sandbox.sqlite", "SELECT ABS(SUM(qty)) < 1e-9, COUNT(*) >= 4 FROM fills")
        assert held == [(1, 1)]
        assert not (folder / "sandbox.json").exists()  # nothing is open any more
    finally:
        local_venues.end(folder)


def toml(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


@pytest.fixture
def venues(wave):
    """Local venues in a process of their own, as if they were real ones."""
    arguments = ["--json", *wave, "--pair", "SYN_USDT", "--contract-size", "10"]
    process = subprocess.Popen(
        [sys.executable, "-m", "delta_arb.sandbox", *arguments], stdout=subprocess.PIPE, text=True
    )
    yield json.loads(process.stdout.readline())["ccxt"]
    process.terminate()
    process.wait()
    process.stdout.close()


def test_live_wants_keys_limits_and_a_passed_check_then_trades_and_never_prints_a_key(reports, venues, tmp_path):
    keys = {
        f"DELTA_ARB_{name.upper()}_{part}": venues[name][field]
        for name in venues
        for part, field in (("KEY", "apiKey"), ("SECRET", "secret"))
    }
    plain = {
        name: {k: v for k, v in options.items() if k not in ("apiKey", "secret")} for name, options in venues.items()
    }
    text = CONFIG
    for name, options in plain.items():
        text = text.replace(f'venue = "{name}"', f'venue = "{name}"\nccxt = {toml(options)}')
    file, log = tmp_path / "live.toml", tmp_path / "log"
    file.write_text(text.replace("LIMITS", ""))
    options = ["--config", str(file), "--live", "--reports", str(reports)]
    said = command(*options, env=os.environ | keys)
    assert said.returncode == 2 and "real money needs explicit limits: write limits.max_clip_usdt" in said.stderr
    file.write_text(
        text.replace("LIMITS", "limits = {max_clip_usdt = 60, max_position_usdt = 70, max_loss_day_usdt = 5}")
    )
    said = command(*options)
    assert said.returncode == 2 and "no keys for mexc: set DELTA_ARB_MEXC_KEY" in said.stderr
    checked = command(*options, "--check", env=os.environ | keys)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    wrong = command(*options, env=os.environ | keys | {"DELTA_ARB_GATE_SECRET": "not-this-secret"})
    assert wrong.returncode == 2 and "FAIL gate connects" in wrong.stdout and wrong.stderr.count("\n") == 1
    assert wrong.stderr.startswith("error: not ready to trade: gate connects: ")
    journal = reports / Inputs().name / "live" / "live.sqlite"
    with running(*options, log=log, env=os.environ | keys) as process:
        until(lambda: rows(journal, "SELECT 1 FROM trades"), why=log.read_text)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()
    lines = log.read_text()
    assert all(line.startswith("[LIVE, real money]") for line in lines.splitlines())
    paper = ["--config", str(file), "--reports", str(reports)]
    with running(*paper, log=log) as process:
        until(lambda: "started flat" in log.read_text()[len(lines) :], why=log.read_text)
        process.send_signal(signal.SIGHUP)  # a terminal that is closed
        assert process.wait(30) == 0, log.read_text()
    assert "[paper, live quotes]" in log.read_text()
    printed = "".join([checked.stdout, checked.stderr, wrong.stdout, wrong.stderr, log.read_text()]).encode()
    kept = b"".join(path.read_bytes() for path in (reports / Inputs().name / "live").rglob("*") if path.is_file())
    for secret in [*keys.values(), "not-this-secret"]:
        assert secret.encode() not in printed and secret.encode() not in kept


def test_a_command_that_names_no_mode_is_refused_while_a_runner_of_another_mode_is_up(tmp_path, monkeypatch):
    """Without --live it would go to the runner on paper, and the one with real money would trade on."""
    asked = []

    def answers(path, command, **rest):
        asked.append((path.name, command))
        return {"line": "up"} if path.stem == "live" else None

    monkeypatch.setattr(control, "ask", answers)
    monkeypatch.setattr(control, "socket_path", lambda journal: journal)
    config = tmp_path / "pair.toml"
    config.write_text('pair = "SYN_USDT"\n[spot]\nvenue = "mexc"\n[perp]\nvenue = "gate"\ncontract_size = 10.0\n')
    options = LiveOptions(command="flatten", config=config, reports=tmp_path)
    with pytest.raises(
        ParamsError, match="is up in the mode LIVE, real money; say which one is meant: --live, or --paper"
    ):
        cli.talk(options)
    assert [command for _, command in asked] == ["status"]
    assert cli.talk(replace(options, live=True)) == 0
    assert asked[-1][1] == "flatten"
