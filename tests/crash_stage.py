"""Local venues and runners as processes of their own, for tests that kill runners.

    venues      plays one pair after the other, as told line by line
    runners     forks a runner for each line: the real command

Both are copies of one process that has imported everything, so that a test waits for no import (`copy_of`).

A runner ends by its own SIGKILL right before or right after the nth commit of its journal: SQLite's connection counts
them, so nothing of the runner is touched. Or the venues kill it, right before or after they match its nth order.
"""

import asyncio
import gc
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from decimal import Decimal
from functools import cache
from pathlib import Path

PAYS, CALM, COSTS = ("0.8018", "0.8020"), ("0.8001", "0.8003"), ("0.7988", "0.7990")
STEADY = 8  # ticks of 20 ms that a position must stand


class Player:
    """Shows quotes that open a pair until both legs are held, then such that close it, then calm ones.

    With `adverse` the quotes turn as soon as one leg alone is held, so that unwinding it is the cheaper way.
    """

    def __init__(self, venues, core: Decimal) -> None:
        self.venues, self.core = venues, core
        self.act, self.adverse, self.side, self.since, self.traded = "calm", False, 1, 0, False
        self.ticks = self.orders = self.every = 0
        self.victim: list | None = None
        self.arrived: list[list[str]] = [[], []]
        for leg, engine in enumerate((venues.spot, venues.perp)):
            engine.place = self._counted(leg, engine.place)

    def _counted(self, leg: int, place):
        """Every order that reaches matching, refused ones too; a runner may be killed as its nth arrives."""

        def counted(*what, **how):
            self.arrived[leg].append(how.get("client_id", ""))
            self.orders += 1
            self._kill("before")
            try:
                return place(*what, **how)
            finally:
                self._kill("after")

        return counted

    @property
    def held(self) -> tuple[Decimal, Decimal]:
        coins = self.venues.spot.account.total("SYN") - self.core
        return coins, self.venues.perp.account.position("SYN_USDT").size + self.core

    def _kill(self, moment: str) -> None:
        if self.victim and self.victim[1:] == [self.orders, moment]:
            os.kill(self.victim[0], signal.SIGKILL)

    def begin(self, faults: list[dict], adverse: bool, side: int, every: int = 0) -> None:
        """With `every` somebody trades against what rests at each so many ticks, and the play goes on for ever."""
        from delta_arb.sandbox.faults import script_of

        for engine in (self.venues.spot, self.venues.perp):
            engine.faults.clear()
            for fault in script_of(faults):
                engine.faults.add(fault)
        self.act, self.adverse, self.side, self.since, self.traded = "enter", adverse, side, 0, False
        self.victim, self.orders, self.every = None, 0, every

    async def play(self) -> None:
        last, flip = None, 0
        while True:
            now = self.held
            self.since = self.since + 1 if now == last else 0
            last, flip = now, 1 - flip
            self.ticks += 1
            self.traded |= any(now)
            self._turn(now)
            size = (500, 510)[flip]
            for leg, (bid, ask) in (("spot", ("0.8000", "0.8002")), ("perp", self._shown(now))):
                self.venues.quote(bid, size, ask, size, leg)
            if self.every and self.ticks % self.every == 0:
                self.venues.trade(*((-1, "0.8000", 7) if self.act == "enter" else (1, "0.8006", 7)))
            await asyncio.sleep(0.02)

    def _turn(self, now: tuple[Decimal, Decimal]) -> None:
        if self.every:
            self.act = ("enter", "leave")[self.ticks // 150 % 2]
            return
        if self.since < STEADY:
            return
        if now[0] and now[0] == -now[1]:  # also of a pair that was sent just before the play seemed over
            self.act = "leave"
        elif not any(now) and self.traded:
            self.act = "calm"

    def _shown(self, now: tuple[Decimal, Decimal]) -> tuple[str, str]:
        if self.act == "calm":
            return CALM
        if self.every:
            return PAYS if self.act == "enter" else COSTS
        if not any(now) and self.ticks % 25 < 5:  # what was left without profit wants calm quotes before it is entered
            return CALM
        opening = self.act == "enter" and not (self.adverse and now[0] != -now[1])
        return PAYS if opening == (self.side > 0) else COSTS

    def report(self) -> dict:
        """The venues' own log."""
        engines = (self.venues.spot, self.venues.perp)
        filled = {
            order.client_id.removeprefix("t-"): [float(order.side * order.filled), float(order.fee)]
            for engine in engines
            for order in engine.orders.values()
        }
        # What a core short was sold for moves with each reverse pair: it counts at one price, whatever the quotes.
        core = self.venues.perp.account.position("SYN_USDT").unrealised(Decimal("0.8"))
        money = self.venues.spot.account.total("USDT") + self.venues.perp.account.wallet + core
        return {
            "act": self.act, "held": [float(qty) for qty in self.held], "arrived": self.arrived, "filled": filled,
            "usdt": float(money),
            "resting": [o.client_id.removeprefix("t-") for e in engines for o in e.open_orders() if o.tif == "post_only"],
        }  # fmt: skip


async def venues_process(setup: dict) -> None:
    from delta_arb.sandbox.venues import Venues

    core = Decimal(setup.get("spot_coins", 0))
    async with Venues.quiet(spot_coins=core) as venues:
        venues.quote("0.8000", 500, "0.8002", 500, "spot")
        venues.quote(*CALM[:1], 500, *CALM[1:], 500, "perp")
        if core:  # the inventory is held hedged
            venues.perp.place("SYN_USDT", -1, qty=core, price=Decimal("0.80"), tif="ioc", client_id="core")
        player = Player(venues, core)
        playing = asyncio.create_task(player.play())
        print(json.dumps(venues.config()), flush=True)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            told = json.loads(line)
            if "victim" in told:
                player.victim = told["victim"]
            elif told:
                player.begin(**told)
            print(json.dumps(player.report()), flush=True)
        playing.cancel()


def runners_process() -> None:
    """Lines {"argv", "env", "log", "kill": [n, "before" or "after"] or null}; answers {"pid"}; {"pid"}: {"code"}."""
    from delta_arb.live.__main__ import main

    for line in sys.stdin:
        told = json.loads(line)
        if "pid" in told:
            pid, status = os.waitpid(told["pid"], os.WNOHANG)
            print(json.dumps({"code": os.waitstatus_to_exitcode(status) if pid else None}), flush=True)
            continue
        if pid := os.fork():
            print(json.dumps({"pid": pid}), flush=True)
            continue
        os.environ.update(told["env"])
        log = os.open(told["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if told["kill"]:
            kill_at(*told["kill"])
        os._exit(main(told["argv"]))


def kill_at(nth: int, moment: str) -> None:
    """End this process right before or right after the nth commit."""
    connect, commits = sqlite3.connect, []

    class Counting(sqlite3.Connection):
        def execute(self, sql, *values):
            ends = sql == "COMMIT"
            if ends:
                commits.append(sql)
            if ends and len(commits) == nth and moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = super().execute(sql, *values)
            if ends and len(commits) == nth:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

    sqlite3.connect = lambda *what, **how: connect(*what, **how, factory=Counting)


class Copy:
    """One of the two kinds of process, told and answering line by line; it ends once nobody tells it anything."""

    def __init__(self, kind: str, setup: str = "") -> None:
        (told, tell), (answered, answer) = os.pipe(), os.pipe()
        try:
            socket.send_fds(_original()[1], [f"{kind} {setup}".encode()], [told, answer])
        finally:
            os.close(told)
            os.close(answer)
        self.stdin, self.stdout = os.fdopen(tell, "w"), os.fdopen(answered)

    def answer(self, what: dict) -> dict:
        self.stdin.write(json.dumps(what) + "\n")
        self.stdin.flush()
        return json.loads(self.stdout.readline())

    def close(self) -> None:
        """And wait until it has ended."""
        self.stdin.close()
        self.stdout.read()
        self.stdout.close()


@cache
def _original() -> tuple[subprocess.Popen, socket.socket]:
    """The process of which there are copies, and where it listens; it ends with this one."""
    import delta_arb

    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    env = os.environ | {"PYTHONPATH": str(Path(delta_arb.__path__[0]).parent)}  # the tree under test, wherever it is
    with its:
        return subprocess.Popen([sys.executable, __file__], stdin=its, env=env), ours


def original_process() -> None:
    import ccxt.pro  # noqa: F401

    import delta_arb.live.__main__
    import delta_arb.live.supervisor
    import delta_arb.live.venues.gate
    import delta_arb.live.venues.mexc
    import delta_arb.sandbox.venues  # noqa: F401

    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a copy ended
    with socket.socket(fileno=os.dup(0)) as listening:
        while True:
            what, fds, *_ = socket.recv_fds(listening, 1 << 16, 2)
            if not what:
                return
            if not os.fork():
                break
            for fd in fds:
                os.close(fd)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for at, fd in enumerate(fds):
        os.dup2(fd, at)
        os.close(fd)
    kind, _, setup = what.decode().partition(" ")
    if kind == "venues":
        asyncio.run(venues_process(json.loads(setup)))
    else:
        runners_process()


if __name__ == "__main__":
    original_process()
