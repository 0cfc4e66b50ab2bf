"""The monitor: what it shows of a replay and of a session, whom it answers, and that nothing is ordered without the token."""

import asyncio
import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
from test_live_command import reports, wave  # noqa: F401 - fixtures

from delta_arb.errors import ParamsError
from delta_arb.live import monitoring, options
from delta_arb.live.__main__ import main as live
from delta_arb.live.__main__ import without_keys
from delta_arb.live.config import sample
from delta_arb.live.guards import Facts, distances
from delta_arb.market import NS, Book
from delta_arb.monitor import runners as shown_runners
from delta_arb.monitor import server
from delta_arb.monitor.runners import Runners

TOKEN = "0123456789abcdef"
NAME = "SYN_USDT-mexc-gate/journal"
WHOLE = {"order": "stop", "runner": NAME, "by": "anna", "why": "a drill", "confirmation": f"stop {NAME}"}


def tape(wave: list[str]) -> list[str]:  # noqa: F811
    return [*wave[1:3], "--pair", "SYN_USDT", "--contract-size", "10", "--funding", "none"]


@pytest.fixture
def replayed(reports, wave) -> Path:  # noqa: F811
    """A reports folder with the journal of a replay of one minute."""
    assert live(["replay", *tape(wave), "--speed", "max", "--reports", str(reports)]) == 0
    return reports


@asynccontextmanager
async def monitor(folder: Path, token: str = "") -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    """The address of a monitor of this folder, and a client."""
    site, port = await monitoring.listening(server.MonitorServer(Runners(folder), token).application(), 0, "--port")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as http:
        try:
            yield f"http://127.0.0.1:{port}", http
        finally:
            await site.cleanup()


async def told(http: aiohttp.ClientSession, url: str, event: str, wanted=lambda value: True) -> dict:
    """The first event of this name that is wanted."""
    async with http.get(f"{url}/events") as answer:
        assert answer.content_type == "text/event-stream"
        name = ""
        async for line in answer.content:
            word, _, value = line.decode().rstrip().partition(": ")
            name = value if word == "event" else name
            if word == "data" and name == event and wanted(found := json.loads(value)):
                return found
    raise AssertionError(f"no {event} came")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# --- what it shows ----------------------------------------------------------------------------------------------------


def test_a_finished_replay_is_shown_with_its_orders_money_and_edge(replayed):
    async def play():
        async with monitor(replayed) as (url, http):
            state = await told(http, url, "state")
            points = await told(http, url, "points")
        assert (state["orders"], [one["id"] for one in state["runners"]]) == (False, [NAME])
        one = state["runners"][0]
        assert one["errors"] == [] and one["now"] is None and one["run"]["outcome"] == "finished"
        with closing(sqlite3.connect(replayed / "SYN_USDT-mexc-gate" / "live" / "journal.sqlite")) as db:
            net, pairs = db.execute("SELECT SUM(net_usdt), COUNT(*) FROM trades").fetchone()
        assert one["money_run"]["net"] == pytest.approx(net) and one["money_day"]["pairs"] == pairs > 10
        parts = sum(one["money_run"][part] for part in ("spot", "perp", "fees", "funding", "residual"))
        assert parts == pytest.approx(net, abs=1e-9)
        first = points["points"][0]
        # spot 0.8000 / 0.8002, perp 0.8018 / 0.8020: (0.8018 - 0.8002) / 0.8002 and (0.8020 - 0.8000) / 0.8000
        assert first[1:] == pytest.approx([19.9950, 25.0, 15.0, -12.0], abs=1e-3)
        sold = next(order for order in one["orders"] if order["leg"] == "spot" and order["qty"] < 0)
        assert (sold["filled"], sold["price"]) == (-60.0, 0.8)
        assert sold["fee_usdt"] == pytest.approx(60.0 * 0.8 * 5e-4)

    asyncio.run(play())


def test_a_running_replay_is_shown_by_its_own_monitor_and_stopped_by_name_with_the_token(reports, wave, tmp_path):  # noqa: F811
    port = free_port()
    url, headers = (
        f"http://127.0.0.1:{port}",
        {"Authorization": f"Bearer {TOKEN}", "Origin": f"http://127.0.0.1:{port}"},
    )
    command = [sys.executable, "-m", "delta_arb.live", "replay", *tape(wave), "--speed", "2",
               "--reports", str(reports), "--monitor", str(port)]  # fmt: skip
    environment = os.environ | {options.TOKEN: TOKEN, "DELTA_ARB_MEXC_SECRET": "not for a page"}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    async def play():
        async with aiohttp.ClientSession(headers=headers) as http:
            for _ in range(200):
                try:
                    up = lambda said: said["runners"] and (said["runners"][0]["now"] or {}).get("books")  # noqa: E731
                    state = await told(http, url, "state", up)
                    break
                except aiohttp.ClientConnectorError:
                    await asyncio.sleep(0.1)
            now = state["runners"][0]["now"]
            assert now["levels"]["entry_bps"] == pytest.approx(15.0) and now["mode"] == "paper, replay"
            spot, perp = now["books"]
            assert (spot["bid"], spot["ask"]) == (0.8, 0.8002)
            assert now["edge_bps"] == pytest.approx((perp["bid"] / spot["ask"] - 1) * 1e4)
            assert now["open_usdt"] == pytest.approx(sum(now["open_parts"].values()), abs=1e-12)
            async with http.post(f"{url}/orders", json=WHOLE) as answer:
                assert answer.status == 200, await answer.text()

    try:
        asyncio.run(play())
        assert process.wait(20) == 1  # stopped before its end
    finally:
        process.kill()
        process.wait()
    path = reports / "SYN_USDT-mexc-gate" / "live" / "journal.sqlite"
    left = shown_runners.read_journal(path)["last"]
    assert (left["phase"], left["spot"], left["perp"]) == ("flat", 0.0, 0.0)  # whatever was open ended with the quotes
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT text FROM notes WHERE kind = 'ordered'").fetchall() == [
            ("a stop (asked by anna: a drill)",)
        ]
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 1):
        pass  # it ended with the runner


def test_a_run_that_a_restarted_runner_begins_starts_a_chart_of_its_own(replayed, wave):  # noqa: F811
    runners = Runners(replayed)
    before = runners.look()[0]
    shown = runners.named(NAME)
    assert shown.newer(0) and shown.newer(shown.added) == []
    live(["replay", *tape(wave), "--speed", "max", "--reports", str(replayed)])
    after = runners.look()[0]
    runners.close()
    assert before["run"]["run_id"] != after["run"]["run_id"] == shown.run_id
    assert after["money_day"] == after["money_run"] == before["money_run"]  # the tape's day again, not twice its money
    assert after["money_run"]["pairs"] == 25


def test_the_day_is_that_of_all_runs_on_a_venue_and_of_no_other_day(replayed):
    path = replayed / "SYN_USDT-mexc-gate" / "live" / "journal.sqlite"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE runs SET mode = 'sandbox, local venues'")
        db.execute("UPDATE trades SET closed_ns = closed_ns - 86400000000000 WHERE rowid = 1")  # the day before
        db.execute("UPDATE trades SET closed_ns = closed_ns + 86400000000000 WHERE rowid = 2")  # the day after
        db.execute("UPDATE trades SET run_id = 'earlier' WHERE rowid = 3")
    seen = shown_runners.read_journal(path)
    assert seen["money_day"]["pairs"] == 23 and seen["money_run"]["pairs"] == 24


def test_a_file_that_is_no_journal_is_said_and_the_others_are_shown(replayed):
    other = replayed / "AAA_USDT-mexc-gate" / "live" / "paper.sqlite"
    other.parent.mkdir(parents=True)
    other.write_text("not a journal")
    runners = Runners(replayed)
    good, broken = sorted(runners.look(), key=lambda one: bool(one["errors"]))
    runners.close()
    assert good["id"] == NAME and good["errors"] == []
    assert "cannot be read" in broken["errors"][0]


def test_a_guard_says_how_much_is_left():
    config = sample().model_copy(update={"limits": sample().limits.model_copy(update={"max_position_usdt": 60.0})})
    facts = Facts(
        held_usdt=48.0, net_day_usdt=-5.0, margin_free_usdt=12.5, clock_offset_ms=(3.0, -20.0), funding_rate=-2e-4
    )
    found = {one.guard: one for one in distances(facts, config)}
    assert (found["position"].value, found["position"].limit) == (48.0, 75.0)  # 60 and a quarter of headroom
    assert (found["loss of the day"].value, found["loss of the day"].limit) == (5.0, 20.0)
    assert (found["margin, futures"].value, found["margin, futures"].above) == (12.5, False)
    assert found["clock"].value == 20.0 and found["funding"].value == pytest.approx(2.0)


# --- whom it answers --------------------------------------------------------------------------------------------------


def test_the_page_lets_nothing_in_from_elsewhere(replayed):
    async def play():
        async with monitor(replayed) as (url, http):
            for path in server.FILES:
                async with http.get(url + path) as answer:
                    text = await answer.text()
                    policy = answer.headers["Content-Security-Policy"]
                assert answer.status == 200 and answer.headers["X-Frame-Options"] == "DENY"
                assert "default-src 'none'; script-src 'self'" in policy and "unsafe" not in policy
                assert "https://" not in text and "<script>" not in text and " style=" not in text
            async with http.get(f"{url}/../server.py") as answer:
                assert answer.status == 404

    asyncio.run(play())


@pytest.mark.parametrize("path", ["/", "/events", "/orders"])
def test_a_name_that_was_made_to_point_here_and_another_page_get_no_answer(replayed, path):
    async def play():
        async with monitor(replayed, TOKEN) as (url, http):
            ask = http.post if path == "/orders" else http.get
            foreign = [({"Host": "evil.example"}, 421), ({"Host": "127.0.0.1"}, 421), ({"Origin": "http://evil.example"}, 403),
                       ({"Origin": "null"}, 403), ({"Origin": url.replace("127.0.0.1", "localhost.evil.example")}, 403)]  # fmt: skip
            for headers, status in foreign:
                async with ask(url + path, headers=headers | {"Authorization": f"Bearer {TOKEN}"}) as answer:
                    assert answer.status == status, headers
                    assert "runners" not in await answer.text()

    asyncio.run(play())


def test_nothing_is_ordered_without_the_token_a_name_a_reason_and_the_words(replayed):
    async def answered(http, url, said, token, origin=True):
        headers = {"Authorization": f"Bearer {token}"} | ({"Origin": url} if origin else {})
        async with http.post(f"{url}/orders", json=said, headers=headers) as answer:
            return answer.status, (await answer.json())["error"]

    async def play():
        async with monitor(replayed) as (url, http):
            assert (await answered(http, url, WHOLE, ""))[0] == 403
            assert "without a token" in (await answered(http, url, WHOLE, TOKEN))[1]
        async with monitor(replayed, TOKEN) as (url, http):
            await told(http, url, "state")
            assert await answered(http, url, WHOLE, "wrong") == (403, "wrong token")
            assert (await answered(http, url, WHOLE, TOKEN, origin=False))[0] == 403
            for change, why in (
                ({"by": " "}, "who you are"), ({"why": ""}, "who you are"), ({"confirmation": "stop"}, "not confirmed"),
                ({"order": "withdraw"}, "one of stop"), ({"runner": "AAA/live"}, "no such runner"),
            ):  # fmt: skip
                status, error = await answered(http, url, WHOLE | change, TOKEN)
                assert status == 409 and why in error
            assert "no runner is up" in (await answered(http, url, WHOLE, TOKEN))[1]

    asyncio.run(play())


def test_a_kill_reaches_a_runner_that_does_not_answer_by_its_file(replayed):
    folder = replayed / "SYN_USDT-mexc-gate" / "live"
    with closing(sqlite3.connect(folder / "journal.sqlite")) as db, db:
        db.execute("UPDATE runs SET options = ?", (json.dumps({"config": json.dumps({"kill_file": "kill"})}),))
    runners = Runners(replayed)
    runners.look()
    said = server.give(runners.named(NAME), server.PersonOrder("kill", "anna", "it is frozen"))
    runners.close()
    assert "no runner is up; kill now lies in its folder" in said
    assert (folder / "kill").read_text() == "anna: it is frozen\n"


def test_a_token_comes_from_a_private_file_or_the_environment_and_cannot_be_guessed(tmp_path, monkeypatch):
    monkeypatch.delenv(options.TOKEN, raising=False)
    assert server.token(None) == "" and not server.bearer("Bearer ", "")
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o644)
    with pytest.raises(ParamsError, match="mode 644"):
        server.token(file)
    file.chmod(0o600)
    assert server.token(file) == TOKEN
    monkeypatch.setenv(options.TOKEN, "short")
    with pytest.raises(ParamsError, match="guessed"):
        server.token(None)


def test_the_monitor_gets_no_key_of_the_venues():
    environment = {"PATH": "/bin", "DELTA_ARB_MEXC_KEY": "k", "DELTA_ARB_ALERTS": "tgram://x", options.TOKEN: TOKEN}
    assert without_keys(environment) == {"PATH": "/bin", options.TOKEN: TOKEN}


def test_monitor_without_a_number_means_the_usual_port():
    usual = f"--monitor={options.PORT}"
    assert options.translated(["sandbox", "--monitor", "--speed", "60"]) == ["sandbox", usual, "--speed", "60"]
    assert options.translated(["replay", "--monitor", "8700"]) == ["replay", "--monitor", "8700"]
    assert options.translated(["paper", "--monitor"]) == ["paper", usual]


def test_a_journal_is_only_read(replayed):
    path = replayed / "SYN_USDT-mexc-gate" / "live" / "journal.sqlite"
    before = path.read_bytes()
    path.chmod(0o400)
    assert shown_runners.read_journal(path)["run"]["outcome"] == "finished"
    assert path.read_bytes() == before


def test_a_book_that_is_not_trusted_has_no_age():
    """A feed that lost count withdraws its stamp; as a time it would be 1970."""
    books = Book(100.0, 100.1, 1.0, 1.0, 4 * NS), Book(101.0, 101.1, 1.0, 1.0, 0)
    said = monitoring.of_books(SimpleNamespace(books=books, shift=0.0), 5 * NS)
    assert [book["age_s"] for book in said["books"]] == [1.0, None]
    assert [monitoring._age(book["age_s"]) for book in said["books"]] == ["1.0 s", "not trusted"]


def test_a_book_without_a_price_on_a_side_has_no_edge_and_no_cost():
    """A venue may show an empty side, which was a division by zero in the answer to the monitor."""
    whole = Book(101.0, 101.1, 1.0, 1.0, NS)
    for empty in (Book(100.0, 0.0, 1.0, 0.0, NS), Book(0.0, 100.1, 0.0, 1.0, NS), Book(0.0, 0.0, 0.0, 0.0, 0)):
        for books in ((empty, whole), (whole, empty)):
            said = monitoring.of_books(SimpleNamespace(books=books, shift=0.0), 5 * NS)
            assert said["edge_bps"] is said["cost_bps"] is None
