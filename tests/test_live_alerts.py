"""A person is rung: real messages by apprise to a sink on this machine, while sessions trade and when the sink is away."""

import asyncio
import json
import logging
import sqlite3
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from live_stage import CALM, ENTER, stage

from delta_arb.errors import ParamsError
from delta_arb.live import control, supervisor
from delta_arb.live.__main__ import main
from delta_arb.live.config import AlertSettings, alert_addresses, sample
from delta_arb.live.messages import Alerts, until_daily_s
from delta_arb.live.session import Session
from delta_arb.strategy.state import OPEN

QUICK = AlertSettings(naked_s=0.2, repeat_s=600.0)


@contextmanager
def sink(status: int = 200):
    """An address that takes messages, and what it took."""
    took: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            took.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            """Quietly."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"json://127.0.0.1:{server.server_port}/secret-path", took
        server.shutdown()


def ringing(it, address: str, settings: AlertSettings = QUICK) -> tuple[asyncio.Task, list[str]]:
    """The stage's alerts to this address, delivered by a task; and what was noted as sent."""
    sent: list[str] = []
    it.alerts = Alerts((address,), settings, it.config.name, it.said.append, sent.append)
    return asyncio.create_task(it.alerts.run()), sent


def test_a_halt_and_a_leg_alone_ring_within_seconds_and_only_once(tmp_path):
    async def play():
        with sink() as (address, took):
            async with stage(tmp_path, rule={"leg_deadline_s": 3.0}) as it:
                running, sent = ringing(it, address)
                await it.start()
                for venue, code, skip in (("gate", "PRICE_TOO_DEVIATED", 0), ("mexc", "30010", 1)):
                    it.fault(venue, "order.create", "refuse", code=code, times=0, skip=skip)
                it.show(ENTER)
                began = time.monotonic()
                await it.until(lambda: any("naked leg" in message["title"] for message in took))
                assert time.monotonic() - began < 5.0
                await it.until(lambda: any("halted" in message["title"] for message in took))
                it.session.halt("another")
                await asyncio.sleep(0.1)
                await it.stop()
                running.cancel()
        by_kind = {message["title"].rpartition(": ")[2]: message["message"] for message in took}
        assert len(took) == len(by_kind) == len(sent)
        assert "could not be brought to rest" in by_kind["halted"] and "without the other" in by_kind["naked leg"]
        assert all(message["title"].startswith("delta_arb SYN_USDT-mexc-gate") for message in took)

    asyncio.run(play())


def test_what_rings_between_two_sessions_is_journaled_by_the_next_and_a_stop_then_is_orderly(tmp_path, monkeypatch):
    """The pause is when a pair stands unwatched: the message that says so must not be the last one."""
    whole = Session.facts

    def defective(session):
        if session.runner.state.phase == OPEN and len(failed) < wanted[0]:
            failed.append(session)
            raise ZeroDivisionError("a defect")
        return whole(session)

    failed, wanted = [], [1]
    monkeypatch.setattr(Session, "facts", defective)
    monkeypatch.setattr(supervisor, "AGAIN_S", (0.5,))

    class Heard(list):
        __call__ = list.append

        def status(self, text):
            """For people."""

    async def play():
        with sink() as (address, took):
            async with stage(tmp_path, rule={"leg_deadline_s": 3.0}) as it:
                parameters = tmp_path / it.config.name / "params" / "latest.json"
                job = supervisor.LiveJob(
                    it.config,
                    supervisor.SANDBOX,
                    tmp_path,
                    parameters,
                    None,
                    it.venues.config(),
                    Heard(),
                    False,
                    (address,),
                )
                running = supervisor.Supervisor(job)
                task = asyncio.create_task(running.run())
                it.show(ENTER)
                await it.until(lambda: any("venue does not answer" in message["title"] for message in took))
                it.show(CALM)
                await it.until(lambda: any("resumed pair" in line for line in job.say))
                running.session.halt("a reason")
                await it.until(lambda: any("halted" in message["title"] for message in took))
                wanted[0] = 2
                await it.until(lambda: sum("beginning again" in line for line in job.say) == 2)
                running.stop("test")
                assert await asyncio.wait_for(task, 10) == "open"
            with closing(sqlite3.connect(job.journal)) as db:
                noted = [text for (text,) in db.execute("SELECT text FROM notes WHERE kind = 'alert'")]
        assert [text.split(":")[0] for text in noted] == ["venue does not answer", "halted"]

    asyncio.run(play())


def test_a_venue_that_does_not_answer_rings_only_while_a_pair_is_open(tmp_path):
    async def play():
        with sink() as (address, took):
            async with stage(tmp_path) as it:
                running, _ = ringing(it, address)
                await it.start()
                await it.held_back(
                    "blind", lambda: it.fault("mexc", "account", "error", times=0), it.venues.spot.faults.clear
                )
                assert not took
                await it.opened()
                it.fault("mexc", "account", "error", times=0)
                await it.until(lambda: took)
                assert "venue does not answer" in took[0]["title"]
                it.venues.spot.faults.clear()
                await it.stop()
                running.cancel()

    asyncio.run(play())


@pytest.mark.parametrize("away", ["nobody listens", "it refuses"])
def test_what_cannot_be_delivered_is_shown_without_its_address_and_stops_nothing(tmp_path, away, caplog):
    caplog.set_level(logging.CRITICAL)  # apprise logs its own failures

    async def play():
        with sink(500) as (address, _):
            pass
        with sink(500) as (refusing, _):
            async with stage(tmp_path) as it:
                running, sent = ringing(it, address if away == "nobody listens" else refusing)
                await it.start()
                it.alerts.ring("halted", "a reason")
                await it.opened()
                await it.closed()
                await it.until(lambda: any("NOT delivered" in s for s in it.said))
                assert await it.stop() == "stopped"
                running.cancel()
        assert not sent and not any("secret-path" in s for s in it.said)

    asyncio.run(play())


def test_alerts_of_a_kind_are_counted_until_it_may_ring_again():
    async def play():
        with sink() as (address, took):
            alerts = Alerts((address,), AlertSettings(repeat_s=0.3), "PAIR", print)
            for n in range(5):
                alerts.ring("halted", f"reason {n}")
            await alerts.drain()
            await asyncio.sleep(0.3)
            alerts.ring("halted", "reason 5")
            await alerts.drain()
        assert [message["message"] for message in took] == ["reason 0", "reason 5 (and 4 more of these)"]

    asyncio.run(play())


def test_addresses_come_from_the_environment_or_a_private_file_and_are_never_shown(tmp_path):
    config = sample().model_copy(update={"keys_file": "keys.toml"})
    file = tmp_path / "keys.toml"
    file.write_text('[alerts]\nurls = ["json://one", "json://two"]\n')
    file.chmod(0o600)
    assert alert_addresses(config, tmp_path, {}) == ("json://one", "json://two")
    assert alert_addresses(config, tmp_path, {"DELTA_ARB_ALERTS": "json://a json://b"}) == ("json://a", "json://b")
    assert alert_addresses(sample(), tmp_path, {}) == ()
    file.chmod(0o644)
    with pytest.raises(ParamsError, match="lets others read"):
        alert_addresses(config, tmp_path, {})
    with pytest.raises(ParamsError, match="address 2") as refused:
        Alerts(("json://one", "not-an-address-secret"), QUICK, "PAIR", print)
    assert "secret" not in str(refused.value).replace("it is secret", "")


def test_the_command_rings_once_and_says_whether_it_was_delivered(monkeypatch, capsys):
    with sink() as (address, took):
        monkeypatch.setenv("DELTA_ARB_ALERTS", address)
        assert main(["alert", "--test"]) == 0
        assert "delivered to 1 address" in capsys.readouterr().out and "alerts arrive" in took[0]["message"]
    monkeypatch.delenv("DELTA_ARB_ALERTS")
    assert main(["alert", "--test"]) == 2
    assert "no addresses for alerts" in capsys.readouterr().err


def test_the_summary_says_what_was_earned_and_what_is(tmp_path):
    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            await it.opened()
            it.session.halt("a reason")
            text = control.summary(it.session)
            assert text.startswith("yesterday +0.00 USDT net; now open, pair 1, spot +60, perp -60")
            assert "halted: a reason" in text and "no fill explains" in text
            await it.stop()

    asyncio.run(play())


def test_the_next_summary_is_due_at_its_time_of_the_day():
    assert until_daily_s("00:05", datetime(2026, 1, 1, 0, 4, tzinfo=UTC)) == 60.0
    assert until_daily_s("00:05", datetime(2026, 1, 1, 0, 5, tzinfo=UTC)) == 86_400.0
