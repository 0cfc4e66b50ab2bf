"""/healthz and /metrics of a session on the local venues, asked over a socket and read by Prometheus' own parser."""

import asyncio
import json
import math
import socket
from types import SimpleNamespace

import pytest
from live_stage import stage
from prometheus_client.parser import text_string_to_metric_families

from delta_arb.errors import RunError
from delta_arb.live import monitoring
from delta_arb.live.config import sample
from delta_arb.market import NS, Book


async def get(port: int, path: str) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection(monitoring.HOST, port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


async def scraped(port: int) -> dict[tuple[str, str], float]:
    """(name, its label) and value of each sample."""
    status, body = await get(port, "/metrics")
    assert status == 200
    samples = (s for family in text_string_to_metric_families(body.decode()) for s in family.samples)
    return {(s.name.removeprefix("delta_arb_"), next(iter(s.labels.values()), "")): s.value for s in samples}


def test_a_healthy_session_is_told_from_one_whose_venue_is_silent(tmp_path):
    async def play():
        async with stage(tmp_path) as it, monitoring.serving(0, lambda: it.session) as port:
            assert await get(port, "/healthz") == (503, b'{"healthy": false, "why": "starting"}')
            assert (await scraped(port))["healthy", ""] == 0.0
            await it.start()
            await it.opened()
            status, body = await get(port, "/healthz")
            assert status == 200 and "spot +60, perp -60" in json.loads(body)["why"]
            found = await scraped(port)
            assert (found["position", "spot"], found["position", "perp"]) == (60.0, -60.0)
            assert (found["state", "open"], found["state", "flat"]) == (1.0, 0.0)
            assert found["naked_usdt", ""] == found["naked_seconds", ""] == found["halted", ""] == 0.0
            assert found["quote_age_seconds", "spot"] < 1.0 and found["refusals_total", "perp"] == 0.0
            assert 0 < found["weight_left", "mexc"] <= 1000
            it.fault("mexc", "account", "error", times=0)
            await it.until(lambda: any("blind" in str(breach) for breach in it.session.risk.breaches))
            status, body = await get(port, "/healthz")
            assert status == 503 and "blind" in json.loads(body)["why"]
            assert (await scraped(port))["guard", "blind"] == 1.0
            assert (await get(port, "/else"))[0] == 404
            await it.stop()

    asyncio.run(play())


def test_a_port_that_is_taken_is_named_and_none_is_open_unless_asked_for():
    async def go():
        async with monitoring.serving(0, lambda: None) as port:
            with pytest.raises(RunError, match="name another"):
                async with monitoring.serving(port, lambda: None):
                    pass

    asyncio.run(go())
    assert sample().health.port == 0


def test_systemd_hears_that_it_is_ready_and_that_its_loop_turns(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setattr(monitoring, "WATCHDOG_S", 0.01)

        async def go():
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(monitoring.watchdog(), 0.1)

        asyncio.run(go())
        assert [systemd.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]


def test_a_book_that_is_not_trusted_is_no_book_of_1970():
    books = Book(100.0, 100.1, 1.0, 1.0, 4 * NS), Book(101.0, 101.1, 1.0, 1.0, 0)
    runner = SimpleNamespace(books=books, rule=SimpleNamespace(max_quote_age_ns=2 * NS))
    session = SimpleNamespace(clock=lambda: 5 * NS, runner=runner, risk=SimpleNamespace(breaches=()))
    assert list(monitoring.ages_s(session)) == [("spot", 1.0), ("perp", math.inf)]
    assert monitoring.healthy(session) == (False, "the perp book is not trusted")
