"""kill -9 of the real process with an order resting: none is alive ten seconds later, and at most a clip is unhedged."""

import fcntl
import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from test_live_crash import DIRECT, Rests, crash_stage
from test_live_resting_session import RULE, config

from delta_arb.errors import RunError
from delta_arb.live import config as configuration
from delta_arb.live import control, durability
from delta_arb.live.config import WatchSettings
from delta_arb.live.messages import Console
from delta_arb.live.supervisor import LIVE, LiveJob
from delta_arb.live.watch import Watcher

ALIVE_S = 10.0
CLIP = 60.0
SPOT = Rests(config(), RULE)
PERP = Rests(config(), RULE | {"spot_role": "taker", "perp_role": "maker"})


def watcher(it, silent_s=60.0, **watch):
    read = configuration.read(it.file)
    changed = read.model_copy(update={"watch": WatchSettings(silent_s=silent_s, **watch)})
    keys = configuration.keys(read, it.folder, it.env)
    params = it.journal.parent.parent / "params" / "latest.json"
    return Watcher(LiveJob(changed, LIVE, it.folder, params, keys, {}, Console("test", True), leave=True))


def at_rest(it):
    """Orders that rest, once there are some; what the venues hold never differs by more than a clip."""
    said = it.told()
    assert abs(sum(said["held"])) <= CLIP, said["held"]
    return said["resting"]


def started(it):
    """A runner that has taken up what the one before it left."""
    query = "SELECT 1 FROM notes WHERE kind = 'fees'"
    before = len(it.rows(query))
    pid = it.start()
    it.until(lambda: len(it.rows(query)) > before, seconds=60.0)
    return pid


def lifted(it):
    """A check that a busy machine failed halts a start which finds a pair open: somebody has looked, and lifts it."""
    last = it.rows("SELECT kind FROM notes WHERE kind IN ('halt', 'resume') ORDER BY rowid DESC LIMIT 1")
    if last == [("halt",)]:
        with suppress(RunError):  # not up yet
            control.ask(control.socket_path(it.journal), "resume", 5.0)


def killed(it, pid, rng):
    it.until(lambda: at_rest(it) or lifted(it), seconds=60.0)
    time.sleep(rng.random() * 0.4)
    os.kill(pid, signal.SIGKILL)
    it.until(lambda: it.has_ended(pid))
    return at_rest(it), time.monotonic()


def gone(it, orders, since_s, act=lambda: None):
    while set(orders) & set(at_rest(it)):
        assert time.monotonic() - since_s < ALIVE_S, it.log.read_text()[-4000:]
        act()
        time.sleep(0.05)


def play(folder, kills, seed):
    """Runners one after the other, each killed with an order resting; how many of the kills found one."""
    rng = random.Random(seed)
    folder.mkdir()
    with crash_stage(folder, DIRECT, SPOT, unwatched=True) as it:  # every other start is without a watcher
        it.told(faults=[], adverse=False, side=DIRECT, every=9)
        watching, with_order, pid = watcher(it, resting_s=2.0), 0, started(it)
        for n in range(kills):
            orders, since_s = killed(it, pid, rng)
            with_order += bool(orders)
            if n % 2 == 0:
                gone(it, orders, since_s, watching.look)
            pid = started(it)
            gone(it, orders, since_s)
        os.kill(pid, signal.SIGTERM)
        it.until(lambda: it.has_ended(pid), seconds=60.0)
        said = it.told()
        assert said["resting"] == [] and abs(sum(said["held"])) < 10.0
        booked = dict(it.rows("SELECT order_id, SUM(qty) FROM fills GROUP BY order_id"))
        assert booked == {order_id: pytest.approx(of[0]) for order_id, of in said["filled"].items() if of[0]}
        return with_order


@pytest.mark.parametrize(("stages", "kills"), [(1, 2), pytest.param(2, 100, marks=pytest.mark.slow)])
def test_no_order_outlives_a_killed_runner_by_ten_seconds(tmp_path, stages, kills):
    """By turns the watcher cancels it, and the next start; somebody trades against what rests all the time."""
    with ThreadPoolExecutor(stages) as threads:
        found = list(threads.map(lambda n: play(tmp_path / str(n), kills, n), range(stages)))
    assert sum(found) > 0.8 * kills * stages


def test_gate_itself_cancels_what_rests_when_the_runner_is_killed_and_nobody_watches(tmp_path):
    with crash_stage(tmp_path, DIRECT, PERP) as it:
        it.told(faults=[], adverse=False, side=DIRECT)
        orders, since_s = killed(it, started(it), random.Random(1))
        assert orders
        gone(it, orders, since_s)


def frozen_with_a_leg_alone(it, pid):
    """Frozen with an order resting of which others then take more than a contract."""
    while True:
        it.until(lambda: at_rest(it), seconds=60.0)
        os.kill(pid, signal.SIGSTOP)
        for _ in range(20):
            time.sleep(0.1)
            if abs(sum(it.told()["held"])) >= 10.0:
                return
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.5)  # to follow the quotes: what rests too far behind is never taken


def test_a_frozen_runner_is_ended_its_order_cancelled_and_what_filled_meanwhile_closed(tmp_path):
    with crash_stage(tmp_path, DIRECT, SPOT) as it, durability.watching(it.journal) as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)  # a watcher is up before the runner starts
        it.told(faults=[], adverse=False, side=DIRECT, every=9)
        pid = started(it)
        watching, said = watcher(it, silent_s=5.0, resting_s=2.0, flatten=True), []
        frozen_with_a_leg_alone(it, pid)
        since_s = time.monotonic()
        while not said or said[-1] != "flattened":
            assert time.monotonic() - since_s < 60.0, (said, it.log.read_text()[-4000:])
            said.append(watching.look())
        it.until(lambda: it.has_ended(pid))
        assert it.codes[pid] == -signal.SIGKILL  # it may not wake beside another
        told = it.told()
        assert told["resting"] == [] and told["held"] == [0.0, 0.0]
        booked = dict(it.rows("SELECT order_id, SUM(qty) FROM fills GROUP BY order_id"))
        assert booked == {order_id: pytest.approx(of[0]) for order_id, of in told["filled"].items() if of[0]}
