"""kill -9 of the real process right before and right after every commit of its journal, and what the next start does."""

import json
import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from crash_stage import Copy
from live_stage import PATIENCE, QUICK, publish

from delta_arb.live import control
from delta_arb.live.config import Config
from delta_arb.live.event_log import events_path, logged
from delta_arb.market import DAY_NS
from delta_arb.monitor.runners import read_journal
from delta_arb.review.bridge import OTHER, bridge
from delta_arb.review.session_log import read

DIRECT, REVERSE = 1, -1
RULES = {
    DIRECT: {"leg_deadline_s": 3.0},
    REVERSE: {
        "leg_deadline_s": 3.0, "entry_bps": None, "exit_bps": None, "reverse_entry_bps": 10.0, "reverse_exit_bps": -15.0,
    },
}  # fmt: skip
PART = {"at": "order.create", "do": "partial_fill", "fraction": 0.5}
REFUSED = {"at": "order.create", "do": "refuse", "venue": "gate", "code": "PRICE_TOO_DEVIATED", "times": 3}
FAULTS = {
    "whole": [],
    "completed": [PART | {"venue": "gate"}, PART | {"venue": "mexc", "skip": 1}],
    "unwound": [REFUSED],
    "late": [{"at": "order.create", "do": "late_fill", "seconds": 0.25, "venue": "gate", "times": 0}],
    "unanswered": [{"at": "order.create", "do": "hang", "venue": "gate", "times": 0}],
}
# Orders of one play that reach matching, at the least: two of each leg, and one more where one comes in two. A refused one
# does not, so spot is sold and bought back; whether a second pair follows before the play is over, the clock decides.
ORDERS = {"whole": 4, "completed": 6, "unwound": 2, "late": 4, "unanswered": 4}
COMMITS = 11
CONFIG = f"""
pair = "SYN_USDT"
on_stop = "flatten"
guards_every_s = 0.1
accounts_every_s = 0.3
accept_unbound_keys = true
INVENTORY
limits = {{max_clip_usdt = 60, max_position_usdt = 70, max_loss_day_usdt = 500}}
guards = {{max_orders_minute = 1000, max_failures = 1000, min_disk_mb = 1}}
[pace]
{chr(10).join(f"{name} = {value}" for name, value in QUICK.items())}
[orders]
{chr(10).join(f"{name} = {value}" for name, value in PATIENCE.items())}
[watch]
accept_unwatched = UNWATCHED
[spot]
venue = "mexc"
min_notional_usdt = 1.0
RESTS_SPOT
ccxt = MEXC
[perp]
venue = "gate"
contract_size = 10.0
qty_step = 10.0
min_qty = 10.0
RESTS_PERP
ccxt = GATE
"""


class Rests(NamedTuple):
    """A rule of which a leg rests, and the configuration that it was chosen for."""

    config: Config
    rule: dict


class Stage:
    """Venues that stay, runners that are killed and started again, one journal for all of it."""

    def __init__(self, folder: Path, side: int, rests: Rests | None = None, unwatched: bool = False) -> None:
        self.folder, self.side = folder, side
        publish(folder, config=rests and rests.config, **(rests.rule if rests else RULES[side]))
        coins = 100 if side == REVERSE else 0
        self.venues = Copy("venues", json.dumps({"spot_coins": coins}))
        ccxt = json.loads(self.venues.stdout.readline())
        self.runners = Copy("runners")
        self.started: set[int] = set()
        self.codes: dict[int, int] = {}
        self.log, file = folder / "log", folder / "c.toml"
        keys = {"apiKey": "KEY", "secret": "SECRET"}
        self.env = {f"DELTA_ARB_{name.upper()}_{part}": ccxt[name][key] for name in ccxt for key, part in keys.items()}
        self.env["XDG_STATE_HOME"] = str(folder)  # every stage is an account of its own
        text = CONFIG.replace("INVENTORY", f"inventory_coins = {coins}")
        text = text.replace("UNWATCHED", json.dumps(unwatched))
        for leg, fee_bps in (("SPOT", 0.0), ("PERP", 2.0)):
            more = f"maker_fee_bps = {fee_bps}\nprice_tick = 0.0001" if rests else ""
            text = text.replace(f"RESTS_{leg}", more)
        for name in ccxt:
            text = text.replace(name.upper(), _toml({k: v for k, v in ccxt[name].items() if k not in keys}))
        file.write_text(text)
        self.file = file
        self.argv = ["--config", str(file), "--live", "--reports", str(folder)]
        self.journal = folder / "SYN_USDT-mexc-gate" / "live" / "live.sqlite"

    def close(self) -> None:
        for pid in self.started - set(self.codes):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in (self.venues, self.runners):
            process.close()

    def told(self, **what) -> dict:
        """What the venues' own log says, after a word to them."""
        return self.venues.answer(what)

    def start(self, kill: tuple[int, str] | None = None) -> int:
        self.before = len(self.rows("SELECT 1 FROM runs"))
        told = {"argv": self.argv, "env": self.env, "log": str(self.log), "kill": kill}
        self.started.add(pid := self.runners.answer(told)["pid"])
        return pid

    def until(self, true, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, self.log.read_text()[-6000:]
            time.sleep(0.05)

    def rows(self, query: str) -> list[tuple]:
        """Of the journal; none while there are no tables yet."""
        file = f"file:{self.journal}?mode=ro"
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(file, uri=True, timeout=5)) as db:
            return db.execute(query).fetchall()
        return []

    @property
    def at_rest(self) -> bool:
        """The runner is up, the play over, and the journal says so too."""
        said = self.told()
        last = self.rows("SELECT phase FROM decisions ORDER BY rowid DESC LIMIT 1")
        up = len(self.rows("SELECT 1 FROM runs")) > self.before
        return up and said["act"] == "calm" and said["held"] == [0.0, 0.0] and last == [("flat",)]

    def ended(self, pid: int) -> int:
        """The runner's exit code, once it was killed or is at rest and was asked to stop."""
        self.until(lambda: self.has_ended(pid) or self.at_rest)
        if not self.has_ended(pid):
            os.kill(pid, signal.SIGTERM)
            self.until(lambda: self.has_ended(pid))
        return self.codes[pid]

    def has_ended(self, pid: int) -> bool:
        if pid not in self.codes and (code := self.runners.answer({"pid": pid})["code"]) is not None:
            self.codes[pid] = code
        return pid in self.codes

    def played(self, faults: str, kill: tuple[int, str], by: str = "commit") -> bool:
        """One pair, its runner killed at a commit or order and started again; False when there is no such one."""
        self.told(faults=FAULTS[faults], adverse=faults == "unwound", side=self.side)
        pid = self.start(kill if by == "commit" else None)
        if by == "order":
            self.told(victim=[pid, *kill])
        code = self.ended(pid)
        self.told(victim=None)
        assert code in (0, -signal.SIGKILL), self.log.read_text()[-6000:]
        if code:
            assert self.ended(self.start()) == 0, self.log.read_text()[-6000:]
        self.agree()
        return code != 0

    def agree(self) -> None:
        """No client id twice, nothing held, and journal and venues tell the same orders, fills and money."""
        said = self.told()
        for arrived in said["arrived"]:
            assert len(arrived) == len(set(arrived))
        booked = {
            order_id: pytest.approx([qty, fee], abs=5e-5)
            for order_id, qty, fee in self.rows("SELECT order_id, SUM(qty), SUM(fee_usdt) FROM fills GROUP BY order_id")
        }
        filled = {order_id: of for order_id, of in said["filled"].items() if of[0] and order_id != "core"}
        assert filled == booked
        assert set(filled) <= {order_id for (order_id,) in self.rows("SELECT order_id FROM orders")}
        assert said["held"] == [0.0, 0.0]


def _toml(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


@contextmanager
def crash_stage(folder: Path, side: int, rests: Rests | None = None, unwatched: bool = False):
    stage = Stage(folder, side, rests, unwatched)
    try:
        yield stage
    finally:
        stage.close()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own of 24 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Whatever is left of a disk, to the last byte."""
    file = folder / "filler"
    with file.open("wb", buffering=0) as out, suppress(OSError):
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while out.write(bytes(size)) == size:
                    pass
    return file


def test_a_leg_that_stands_alone_when_the_disk_fills_up_is_unwound_and_journaled(small_disk):
    """The log of the command is on that disk too. Without a reserve nothing of the pair could be written, so done."""
    with crash_stage(small_disk, DIRECT) as it:
        hang = {"at": "order.create", "do": "hang", "venue": "gate", "before": True, "times": 0}
        it.told(faults=[hang], adverse=True, side=DIRECT)
        pid = it.start()
        it.until(lambda: it.told()["held"] == [60.0, 0.0])
        assert it.rows("SELECT COUNT(*) FROM trades") == [(0,)]
        filler = fill(small_disk)
        assert os.statvfs(small_disk).f_bavail == 0
        it.until(lambda: it.told()["held"] == [0.0, 0.0] and it.rows("SELECT COUNT(*) FROM trades") == [(1,)])
        said = control.ask(control.socket_path(it.journal), "status")
        assert said["phase"] == "flat" and any("0 MB are free on the disk" in held for held in said["held"])
        assert os.statvfs(small_disk).f_bavail == 0
        it.agree()
        it.until(lambda: it.told()["act"] == "calm")
        time.sleep(0.2)  # calm quotes arm the machine again
        it.told(faults=[], adverse=False, side=DIRECT)
        time.sleep(0.5)
        assert it.told()["held"] == [0.0, 0.0]  # quotes pay, and nobody enters
        filler.unlink()
        it.until(lambda: it.told()["held"] == [60.0, -60.0])
        assert it.ended(pid) == 0
        it.agree()


def test_a_runner_that_was_killed_with_a_pair_open_closes_it_on_a_full_disk_too(small_disk):
    """What its log had reserved is there after the kill, for the next run."""
    with crash_stage(small_disk, DIRECT) as it:
        it.told(faults=[], adverse=False, side=DIRECT)
        it.ended(it.start((9, "after")))  # run, both markets, parameters, baseline, begun, entry, and both fills
        assert it.told()["held"] == [60.0, -60.0]
        it.log = small_disk.parent / "log"
        fill(small_disk)
        assert it.ended(it.start()) == 0, it.log.read_text()
        assert os.statvfs(small_disk).f_bavail == 0
        assert "no room is kept for the journal" in it.log.read_text()
        assert it.rows("SELECT COUNT(*) FROM trades") == [(1,)]
        it.agree()


def test_a_runner_killed_around_the_commits_of_a_pair_ends_flat_and_sends_nothing_twice_lesson_32(tmp_path):
    """Some moments of a pair whose entry is completed and whose exit comes in two; all the others are slow."""
    with crash_stage(tmp_path, DIRECT) as it:
        began_usdt = it.told()["usdt"]
        for nth in range(8, 13):
            assert it.played("completed", (nth, ("before", "after")[nth % 2]))
        net = it.rows("SELECT SUM(net_usdt) FROM trades")[0][0]
        assert net == pytest.approx(it.told()["usdt"] - began_usdt, abs=0.005)
        assert_one_truth(it, net)


def assert_one_truth(it: Stage, net: float) -> None:
    """The reviews of all runs, killed ones too, add up to the monitor's closed pairs of the day, and to the venues' money."""
    every = [run_id for (run_id,) in it.rows("SELECT run_id FROM runs")]
    runs = [
        run_id for run_id in every if any(True for _ in logged(events_path(it.journal, run_id)))
    ]  # else it saw no quote
    bridges = [bridge(read(it.journal, run_id)) for run_id in runs]
    assert all(abs(found.gap_usdt) < 1e-9 for found in bridges)
    assert any(d.cause == OTHER for found in bridges for d in found.differences)
    assert sum(found.net_usdt for found in bridges) == pytest.approx(net, abs=1e-9)
    if len({ns // DAY_NS for (ns,) in it.rows("SELECT closed_ns FROM trades")}) == 1:
        assert read_journal(it.journal)["money_day"]["net"] == pytest.approx(net, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("side", [DIRECT, REVERSE])
@pytest.mark.parametrize("faults", FAULTS)
@pytest.mark.parametrize("by", ["commit", "order"])
def test_a_runner_killed_at_any_commit_or_order_ends_flat_and_sends_nothing_twice_lesson_32(tmp_path, by, side, faults):
    least = ORDERS[faults] if by == "order" else COMMITS
    with crash_stage(tmp_path, side) as it:
        began_usdt = it.told()["usdt"]
        for moment in ("before", "after"):
            nth = 1
            while it.played(faults, (nth, moment), by):
                nth += 1
            assert nth > least
        net = it.rows("SELECT SUM(net_usdt) FROM trades")[0][0]
        assert net == pytest.approx(it.told()["usdt"] - began_usdt, abs=0.005)
