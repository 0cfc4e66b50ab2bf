"""Local venues and runners as processes of their own, for tests that kill runners.

    python tests/crash_stage.py venues '{"spot_coins": 0}'    plays one pair after the other, as told line by line
    python tests/crash_stage.py runners                       forks a runner for each line: the real command, imported once

A runner ends by its own SIGKILL right before or right after the nth commit of its journal: SQLite's connection counts
them, so nothing of the runner is touched. Or the venues kill it, right before or after they match its nth order.
"""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from decimal import Decimal

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
    import ccxt.pro  # noqa: F401

    import delta_arb.live.venues.gate
    import delta_arb.live.venues.mexc  # noqa: F401
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


if __name__ == "__main__":
    if sys.argv[1] == "venues":
        asyncio.run(venues_process(json.loads(sys.argv[2])))
    else:
        runners_process()
