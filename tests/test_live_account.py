"""Limits of an account over several runners, and one kill for all of them."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from live_stage import quick_config, stage
from test_live_alerts import sink

from delta_arb.errors import RunError
from delta_arb.live import control, watch
from delta_arb.live.__main__ import main
from delta_arb.live.config import WatchSettings
from delta_arb.live.journal import Journal
from delta_arb.live.messages import Console
from delta_arb.live.supervisor import SANDBOX, LiveJob
from delta_arb.live.watch import RunnerShare, Watcher, before, beyond, resting
from delta_arb.strategy.state import FLAT

SHARES = (RunnerShare("A", 40.0, -3.0), RunnerShare("B", 45.0, 1.0))


@pytest.mark.parametrize(
    ("position", "loss", "said"),
    [
        (84.9, 0.0, "holds 85.00 USDT, its limit is 84.9 (A 40.00 held -3.00 today, B 45.00 held +1.00 today)"),
        (85.0, 0.0, ""),
        (0.0, 2.0, "has lost 2.00 USDT today, its limit is 2"),
        (0.0, 2.01, ""),
        (0.0, 0.0, ""),
    ],
)
def test_a_limit_counts_what_all_runners_hold_and_have_lost_together(position, loss, said):
    limits = WatchSettings(account_position_usdt=position, account_loss_day_usdt=loss)
    found = beyond(SHARES, limits)
    assert said in found and bool(found) == bool(said)


def journal_of(reports: Path, name: str) -> Path:
    path = reports / name / "live" / "sandbox.sqlite"
    with Journal(path, "run") as journal:
        journal.begin_run("test", "test", {"config": quick_config(kill_file="halt").model_dump_json()})
    return path


def test_one_kill_is_for_every_runner_of_its_kind_and_says_who_and_why(tmp_path, capsys):
    """None of them is up: the files are there when they start."""
    for name in ("A_USDT-mexc-gate", "B_USDT-mexc-gate"):
        journal_of(tmp_path, name)
    assert main(["kill", "--live", "--reports", str(tmp_path)]) == 2
    assert "no runner of this kind" in capsys.readouterr().err
    assert main(["kill", "--sandbox", "--why", "the exchange is hacked", "--reports", str(tmp_path)]) == 0
    files = [tmp_path / name / "live" / "halt" for name in ("A_USDT-mexc-gate", "B_USDT-mexc-gate")]
    assert all(file.read_text().endswith(": the exchange is hacked\n") for file in files)
    assert capsys.readouterr().out.count("is removed") == 2


def test_a_runner_whose_journal_cannot_be_read_is_named_and_keeps_nobody_else_from_being_killed(tmp_path, capsys):
    """It may look for its kill file anywhere: the usual name would be a guess."""
    broken, sound = (journal_of(tmp_path, name) for name in ("A_USDT-mexc-gate", "B_USDT-mexc-gate"))
    broken.write_bytes(b"no journal" * 1000)
    assert main(["kill", "--sandbox", "--why", "a test", "--reports", str(tmp_path)]) == 2
    assert "A_USDT-mexc-gate/live/sandbox.sqlite: cannot be read" in capsys.readouterr().err
    assert not (broken.parent / "kill").exists() and (sound.parent / "halt").exists()


def test_orders_that_rest_are_not_forgotten_with_a_journal_that_cannot_be_read(tmp_path):
    """Neither for what is in the file nor for what its folder is called (a URI would end at the question mark)."""
    path = tmp_path / "50 % of it?" / "live" / "sandbox.sqlite"
    assert resting(path) == {} and before(path) is None
    with Journal(path, "run") as journal:
        journal._db.execute("INSERT INTO orders (order_id, leg, post_only) VALUES ('id', 'perp', 1)")
    assert resting(path) == {"id": 1}
    path.write_bytes(b"no journal" * 1000)
    for ask in (resting, before):
        with pytest.raises(RunError, match=r"cannot be read .*so nobody knows"):
            ask(path)


def test_of_a_runner_that_does_not_answer_its_journal_says_what_it_holds(tmp_path):
    path = journal_of(tmp_path, "A_USDT-mexc-gate")
    with Journal(path, "run") as journal:
        journal._db.execute("INSERT INTO fills VALUES ('run', 'o', 1, 1, 'spot', 60.0, 0.8, 0.02, 0)")
        journal._db.execute("INSERT INTO fills VALUES ('run', 'p', 1, 1, 'perp', -50.0, 0.8, 0.02, 0)")
        journal._db.execute(
            "INSERT INTO trades (run_id, net_usdt, closed_ns) VALUES ('run', -1.5, ?)", (time.time_ns(),)
        )
        journal._db.execute("INSERT INTO trades (run_id, net_usdt, closed_ns) VALUES ('run', -9.0, 1)")
    assert watch.share(path) == RunnerShare("A_USDT-mexc-gate", 48.0, -1.5)
    path.write_bytes(b"no journal" * 1000)
    with pytest.raises(RunError, match="nobody knows what the account holds"):
        watch.share(path)


def test_the_watcher_ends_all_pairs_of_an_account_that_holds_too_much_together(tmp_path):
    """Two runners hold 48 USDT each; 90 are allowed together."""
    limits = WatchSettings(account_position_usdt=90.0)
    names = ("A_USDT-mexc-gate", "B_USDT-mexc-gate")

    async def play(address: str):
        async with AsyncExitStack() as stack:
            stages = [await stack.enter_async_context(stage(tmp_path / name)) for name in names]
            servers = []
            for name, it in zip(names, stages, strict=True):
                await it.start()
                journal = tmp_path / name / "live" / "sandbox.sqlite"
                journal.parent.mkdir(parents=True)
                journal.symlink_to(it.journal_path)
                it.kill_file = ""
                servers.append(
                    await control.serve(control.socket_path(journal), control.obeying(lambda it=it: it.session))
                )
            job = LiveJob(
                quick_config(watch=limits.model_dump()), SANDBOX, tmp_path, tmp_path / "none", None, {}, Console("test", True),
                alerts=(address,),
            )  # fmt: skip
            watcher = Watcher(job)
            await stages[0].opened()
            await asyncio.to_thread(watcher._keep_limits)
            assert not list(tmp_path.glob("*/live/kill"))
            await stages[1].opened()
            await asyncio.to_thread(watcher._keep_limits)
            for name, it in zip(names, stages, strict=True):
                file = tmp_path / name / "live" / "kill"
                assert "the watcher: the account holds 96." in file.read_text()
                it.kill_file = str(file)
                await it.until(lambda it=it: it.phase == FLAT and it.at_rest)
                assert it.position() == (0.0, 0.0)
                assert any("the watcher: the account" in text for (text,) in it.rows("SELECT text FROM notes"))
                await it.stop()
            for server in servers:
                server.close()

    with sink() as (address, took):
        asyncio.run(play(address))
        assert [message["title"].rpartition(": ")[2] for message in took] == ["limit of the account"]
