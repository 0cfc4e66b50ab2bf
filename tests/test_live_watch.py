"""The watcher beside a runner that is stopped, killed or frozen: it rings, and where it may, it flattens."""

import asyncio
import os
import signal
import time

import pytest
from live_stage import quick_config, stage
from test_live_alerts import sink
from test_live_command import reports, rows, running, until, wave  # noqa: F401 - fixtures

from delta_arb.errors import RunError
from delta_arb.live import cli, local_venues, preflight, supervisor
from delta_arb.live.config import WatchSettings
from delta_arb.live.durability import free, watching
from delta_arb.live.journal import Journal
from delta_arb.live.messages import Console
from delta_arb.live.options import LiveOptions
from delta_arb.live.supervisor import SANDBOX, LiveJob
from delta_arb.live.watch import Watcher, end_runner

AT_ONCE = WatchSettings.model_construct(silent_s=0.5, every_s=0.1, flatten=True)
HANGING = """
[[fault]]
venue = "gate"
at = "order.create"
do = "hang"
before = true
"""  # the spot leg stands alone for as long as the perpetual's order is waited for: 4 s


@pytest.mark.parametrize("number", [signal.SIGSTOP, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_a_leg_that_a_silent_runner_left_alone_is_closed_and_rings(reports, wave, tmp_path, number):  # noqa: F811
    faults, log = tmp_path / "faults.toml", tmp_path / "log"
    faults.write_text(HANGING)
    options = ["sandbox", *wave, "--faults", str(faults), "--reports", str(reports)]
    journal = reports / "SYN_USDT-mexc-gate" / "live" / "sandbox.sqlite"
    with sink() as (address, took), running(*options, log=log) as process:
        until(lambda: rows(journal, "SELECT 1 FROM fills"), why=log.read_text)
        process.send_signal(number)
        try:
            asked = LiveOptions(
                sandbox=True, tape=tuple(wave[1:3]), speed=1.0, repeat=True, faults=faults, reports=reports
            )
            job = cli.job_of(asked, leave=True)
            config = job.config.model_copy(update={"watch": AT_ONCE})
            watcher, said = Watcher(job._replace(config=config, alerts=(address,))), []
            deadline = time.monotonic() + 30.0
            while not said or said[-1] != "flattened":
                assert time.monotonic() < deadline, said
                said.append(watcher.look())
                time.sleep(0.05)
            held = preflight.holdings(job)
            assert (held["coins"], held["position"], held["working"]) == (0.0, 0.0, [])
            assert process.wait(5) == -signal.SIGKILL  # the frozen one too: it may not wake beside another
            assert supervisor.unsettled(journal) == ""
            ids = [order_id for (order_id,) in rows(journal, "SELECT order_id FROM orders")]
            assert len(ids) == len(set(ids)) == 3  # both legs of the entry, and what closed the spot
            titles = [message["title"] for message in took]
            assert any("naked leg" in title for title in titles) and any("runner" in title for title in titles)
        finally:
            local_venues.end(journal.parent)


def test_a_living_runner_is_left_alone_and_a_hedged_pair_is_never_closed(tmp_path):
    async def play():
        with sink() as (address, took):
            async with stage(tmp_path) as it:
                config = quick_config().model_copy(update={"watch": AT_ONCE})
                job = LiveJob(
                    config, SANDBOX, tmp_path, tmp_path / "none", None, it.venues.config(), Console("test", True),
                    alerts=(address,),
                )  # fmt: skip
                journal = job.journal
                journal.parent.mkdir(parents=True)
                await it.start()
                await it.opened()
                assert await it.stop() == "open"
                journal.symlink_to(it.journal_path)
                watcher = Watcher(job)
                assert await asyncio.to_thread(watcher.look) == "silent"
                await asyncio.sleep(0.6)
                assert await asyncio.to_thread(watcher.look) == "open"
                assert it.position() == (60.0, -60.0)
                assert "runner does not answer" in took[0]["title"] and "coins +60" in took[0]["message"]

    asyncio.run(play())


def test_who_holds_a_journal_is_named_and_a_lock_without_a_name_ends_nobody(tmp_path):
    path = tmp_path / "j.sqlite"
    with Journal(path, "run"):
        assert (tmp_path / "j.lock").read_text().strip() == str(os.getpid())
        (tmp_path / "j.lock").write_text("")
        with pytest.raises(RunError, match="by hand"):
            end_runner(path)
    end_runner(path)  # nobody has it


def test_a_lock_that_cannot_be_asked_is_no_sign_that_somebody_watches(tmp_path):
    """flock of a file that is not open is EBADF: an error, not "taken by another"."""
    with watching(tmp_path / "j.sqlite") as held:
        assert free(held)
        number = held.fileno()
    with pytest.raises(OSError, match="Bad file descriptor"):
        free(number)
