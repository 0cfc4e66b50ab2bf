"""One run of the drill: two local venues, quotes that open a pair and close it, a sink for alerts, and a runner.

`Inside` runs the supervisor of the command in this process, with little patience, many at a time. `Outside` is the real
command as a process of its own with the defaults that a user has, over a network that takes its time.
"""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from aiohttp import web
from crash_stage import Copy, Player
from live_stage import RULE, publish, quick_config
from test_live_crash import _toml

from delta_arb.live import supervisor
from delta_arb.live.config import Config
from delta_arb.live.config import sample as sample_config
from delta_arb.market import SPOT
from delta_arb.rule_params import Rule
from delta_arb.sandbox.faults import Fault
from delta_arb.sandbox.network import Network
from delta_arb.sandbox.venues import Venues
from drill.cases import DIRECT, ENTRY, REVERSE, VENUES, Plan
from drill.measures import PRICE, NakedTime, Outcome, Shown, false_books, journal_differs, listen

INVENTORY = 100
SETTLED_S = 60.0  # for the next start to book what the first had not: on a busy machine a venue is slow to answer
DIRECT_RULE = {"entry_bps": 15.0, "exit_bps": -12.0, "rearm_bps": 0.0}
REVERSE_RULE = {
    "entry_bps": None, "exit_bps": None, "reverse_entry_bps": 10.0, "reverse_exit_bps": -15.0, "rearm_bps": 0.0,
}  # fmt: skip
GREETINGS = ("started flat", "is settled and flat", "flattening pair", "resumed pair")


@dataclass(frozen=True)
class Pace:
    """How long each part of a run may take, in seconds, and what the runner and its network are like."""

    start_s: float
    phase_s: float
    rest_s: float
    stop_s: float
    config: dict[str, Any]
    rule: dict[str, Any] = field(default_factory=dict)
    round_trip_ms: str = ""


FREE = {"max_orders_minute": 1000, "max_failures": 1000, "min_disk_mb": 1.0}
QUICK = Pace(
    20.0, 5.0, 6.0, 20.0, {"terms_every_s": 0.5, "guards": FREE},
    {"leg_deadline_s": 4.0, "max_quote_age_s": RULE["max_quote_age_s"]},
)  # fmt: skip
DEFAULT = {name: Rule.model_fields[name].default for name in ("leg_deadline_s", "max_quote_age_s")}
REAL = Pace(60.0, 25.0, 40.0, 60.0, {"guards": FREE | {"max_orders_minute": 60}}, DEFAULT, "5-150")


class Sink:
    """Takes the alerts of all runs; each posts to a path of its own."""

    def __init__(self) -> None:
        self.took: dict[str, list[tuple[float, str]]] = {}
        self.port = 0

    async def __aenter__(self) -> "Sink":
        app = web.Application()
        app.router.add_post("/{run}", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _take(self, http: web.Request) -> web.Response:
        kind = (await http.json())["title"].rpartition(": ")[2]
        self.took.setdefault(http.match_info["run"], []).append((time.monotonic(), kind))
        return web.Response()


class Quotes(Player):
    """The player of the crash tests, told from outside when to open and when to close; it keeps what it showed."""

    def __init__(self, venues: Venues, core: Decimal, side: int) -> None:
        super().__init__(venues, core)
        self.side, self.crossed = side, False
        self.naked, self.shown = NakedTime(), Shown()
        self.at_order = [lambda: None, lambda: None]  # as an order arrives at a leg
        quote = venues.quote

        def kept(bid, bid_qty, ask, ask_qty, leg):
            self.shown.show(("spot", "perp").index(leg), bid, ask)
            quote("0.8003" if self.crossed and leg == "spot" else bid, bid_qty, ask, ask_qty, leg)

        venues.quote = kept
        listen(venues, self.measure)

    def measure(self) -> None:
        self.naked.update(float(sum(self.held)), self.contract)

    @property
    def contract(self) -> float:
        """Coins of one, as the venue lists it now."""
        return float(self.venues.perp.listing("SYN_USDT").qty_step)

    def _turn(self, now) -> None:
        self.measure()

    def _counted(self, leg: int, place):
        counted = super()._counted(leg, place)

        def arrives(*what, **how):
            self.at_order[leg]()
            return counted(*what, **how)

        return arrives

    @property
    def steady(self) -> bool:
        return self.since >= 8


class Inside:
    """The supervisor of the command, in this process."""

    def __init__(self, scene: "Scene") -> None:
        self.scene, self.lines, self.mark = scene, [], 0
        self.task: asyncio.Task | None = None

    def __call__(self, text: str) -> None:
        self.lines.append(text)

    def status(self, text: str) -> None:
        """The status line is for people."""

    @property
    def said(self) -> list[str]:
        return self.lines

    @property
    def journal(self) -> Path:
        return supervisor.journal_path(self.scene.folder, self.scene.config, supervisor.SANDBOX)

    async def start(self) -> None:
        scene, self.mark = self.scene, len(self.lines)
        job = supervisor.LiveJob(
            scene.config, supervisor.SANDBOX, scene.folder, scene.parameters, None, scene.venues.config(), self,
            alerts=(scene.address,),
        )  # fmt: skip
        self.running = supervisor.Supervisor(job)
        self.task = asyncio.create_task(self.running.run())

    @property
    def ended(self) -> bool:
        return self.task.done()

    async def kill(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def stop(self, seconds: float) -> None:
        self.running.stop("the drill")
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(self.task, return_exceptions=True)
        if self.task.done() and not self.task.cancelled() and (error := self.task.exception()):
            self.lines.append(f"ended by {type(error).__name__}: {error}")


class Outside:
    """The real command as a process of its own, forked by a process that has imported it."""

    forker = None

    def __init__(self, scene: "Scene") -> None:
        self.scene, self.mark, self.pid, self._ended = scene, 0, 0, True
        self.log = scene.folder / "log"

    @property
    def said(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    @property
    def journal(self) -> Path:
        return supervisor.journal_path(self.scene.folder, self.scene.config, supervisor.LIVE)

    async def start(self) -> None:
        scene, self.mark = self.scene, len(self.said)
        ccxt = scene.venues.config()
        keys = {"apiKey": "KEY", "secret": "SECRET"}
        env = {f"DELTA_ARB_{name.upper()}_{part}": ccxt[name][key] for name in ccxt for key, part in keys.items()}
        env |= {"XDG_STATE_HOME": str(scene.folder), "DELTA_ARB_ALERTS": scene.address}
        file, dump = scene.folder / "c.toml", scene.config.model_dump(exclude_unset=True)
        for leg, venue in zip(("spot", "perp"), VENUES, strict=True):
            dump[leg] = dump[leg] | {"ccxt": {k: v for k, v in ccxt[venue].items() if k not in keys}}
        file.write_text("".join(f"{name} = {_toml(value)}\n" for name, value in dump.items()))
        argv = ["--config", str(file), "--live", "--reports", str(scene.folder)]
        told = {"argv": argv, "env": env, "log": str(self.log), "kill": None}
        self.pid, self._ended = self.forker.answer(told)["pid"], False

    @property
    def ended(self) -> bool:
        if not self._ended:
            self._ended = self.forker.answer({"pid": self.pid})["code"] is not None
        return self._ended

    async def kill(self) -> None:
        if not self.ended:
            os.kill(self.pid, signal.SIGKILL)
        while not self.ended:  # noqa: ASYNC110 - a process of the system
            await asyncio.sleep(0.02)

    async def stop(self, seconds: float) -> None:
        if not self.ended:
            os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while not self.ended and time.monotonic() < deadline:  # noqa: ASYNC110 - a process of the system
            await asyncio.sleep(0.05)


@contextmanager
def forking() -> Iterator[None]:
    """The process that forks runners."""
    Outside.forker = Copy("runners")
    try:
        yield
    finally:
        Outside.forker.close()


@dataclass
class Scene:
    """One run: what is there, and what can be done to it."""

    plan: Plan
    pace: Pace
    folder: Path
    venues: Venues
    sink: Sink
    run: str
    config: Config
    parameters: Path
    player: Quotes
    runner: Inside | Outside | None = None
    down: bool = False
    begun_s: float = 0.0  # of the fault
    tasks: list[asyncio.Task] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"json://127.0.0.1:{1 if self.down else self.sink.port}/{self.run}"

    @property
    def alarms(self) -> list[tuple[float, str]]:
        return self.sink.took.get(self.run, [])

    @property
    def engines(self):
        return self.venues.spot, self.venues.perp

    @property
    def net(self) -> float:
        return float(sum(self.player.held))

    @property
    def halted(self) -> bool:
        return any(kind == "halted" for _, kind in self.alarms)

    async def until(self, true, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not true() and time.monotonic() < deadline:  # noqa: ASYNC110 - a drill looks from outside
            await asyncio.sleep(0.02)
        return bool(true())

    async def start(self) -> bool:
        """Whether a runner has begun; on a busy machine a local venue may not answer in time, so it is tried again."""
        for _ in range(3):
            await self.runner.start()
            if await self.until(lambda: self.begun or self.runner.ended, self.pace.start_s) and self.begun:
                return True
        return False

    @property
    def begun(self) -> bool:
        return any(greeting in line for line in self.runner.said[self.runner.mark :] for greeting in GREETINGS)

    @property
    def opened(self) -> bool:
        return self.player.steady and self.player.held[0] != 0 and self.net == 0

    @property
    def closed(self) -> bool:
        return self.player.steady and not any(self.player.held)

    @property
    def even(self) -> bool:
        return self.player.steady and abs(self.net) < self.player.contract

    # What a fault does

    def inject(self) -> None:
        self.player.at_order = [lambda: None, lambda: None]
        self.begun_s = time.monotonic()
        for engine in self.engines:
            for fault in self.plan.script():
                engine.faults.add(_from_now(fault, engine.faults.now_s))
        if self.plan.case.act:
            getattr(self, self.plan.case.act)()

    def kill(self) -> None:
        async def again() -> None:
            await self.runner.kill()
            await self.start()

        self.tasks.append(asyncio.create_task(again()))

    def foreign_order(self) -> None:
        self.venues.spot.place("SYN_USDT", 1, qty=Decimal(10), price=Decimal("0.7"), client_id="foreign")

    def cross_book(self) -> None:
        self.player.crossed = True

    def delete_journal(self) -> None:
        journal = self.runner.journal
        for ending in ("", "-wal", "-shm"):
            Path(f"{journal}{ending}").rename(self.folder / f"away.sqlite{ending}")

    def damage_parameters(self) -> None:
        self.parameters.write_text("{")

    def fifo_parameters(self) -> None:
        self.parameters.unlink()
        os.mkfifo(self.parameters)

    def lay_kill_file(self) -> None:
        (self.runner.journal.parent / "kill").touch()

    def alerts_down(self) -> None:
        """They are from the start."""


def _from_now(fault: Fault, now_s: float) -> Fault:
    return replace(fault, from_s=fault.from_s + now_s)


@asynccontextmanager
async def scene(plan: Plan, pace: Pace, sink: Sink, runs_in: type, seed: int = 0):
    """Venues, quotes and a folder for one run; the runner is not started yet."""
    with tempfile.TemporaryDirectory() as name:
        folder, core = Path(name), Decimal(INVENTORY if plan.side == REVERSE else 0)
        rule = (DIRECT_RULE if plan.side == DIRECT else REVERSE_RULE) | pace.rule
        parameters = publish(folder, **rule)
        network = Network.of_ms(pace.round_trip_ms, seed)
        async with Venues.quiet(network=network, spot_coins=core) as venues:
            venues.quote("0.8000", 500, "0.8002", 500, "spot")
            venues.quote("0.8001", 500, "0.8003", 500, "perp")
            if core:
                venues.perp.place("SYN_USDT", -1, qty=core, price=Decimal("0.80"), tif="ioc", client_id="core")
            it = Scene(
                plan, pace, folder, venues, sink, f"run{id(venues)}", _config(pace, runs_in, float(core)), parameters,
                Quotes(venues, core, plan.side), down=plan.case.act == "alerts_down",
            )  # fmt: skip
            it.runner = runs_in(it)
            playing = asyncio.create_task(it.player.play())
            try:
                yield it
            finally:
                playing.cancel()
                for task in it.tasks:
                    task.cancel()
                with suppress(TimeoutError):
                    async with asyncio.timeout(10):
                        await it.runner.kill()


def _config(pace: Pace, runs_in: type, inventory: float) -> Config:
    own = pace.config | {"on_stop": "flatten", "inventory_coins": inventory, "accept_unbound_keys": True}
    if runs_in is Inside:
        return quick_config(**own)
    limits = {"max_clip_usdt": 60.0, "max_position_usdt": 70.0, "max_loss_day_usdt": 500.0}
    return Config.model_validate(sample_config().model_dump(exclude_unset=True) | own | {"limits": limits})


async def play(plan: Plan, pace: Pace, sink: Sink, runs_in: type, seed: int = 0) -> Outcome:
    """One run from start to stop, and what it came to."""
    began_s = time.monotonic()
    async with scene(plan, pace, sink, runs_in, seed) as it:
        outcome = _blank(plan)
        if not await it.start() or not await _phase(it):
            outcome.ended, outcome.said = "not played", it.runner.said[-15:]
            return outcome
        player = it.player
        player.act = "calm"
        await it.until(lambda: it.even, pace.rest_s)
        if not it.even and it.alarms == [] and not it.down:
            await it.until(lambda: it.alarms, 8.0)
        _look(it, outcome)
        await _mend(it)
        await it.runner.stop(pace.stop_s)
        outcome.differs = await _differs(it, outcome)
        outcome.false_books = await asyncio.to_thread(
            false_books, it.runner.journal.parent / "events", player.shown, pace.rule.get("max_quote_age_s", 1.0)
        )
        outcome.seconds = time.monotonic() - began_s
        if outcome.failures:
            outcome.said = it.runner.said[-40:]
        return outcome


def _blank(plan: Plan) -> Outcome:
    case = plan.case
    return Outcome(
        str(plan), case.name, case.kind, VENUES[plan.leg], plan.phase, plan.side, case.answers, plan.must_end_safe
    )


async def _phase(it: Scene) -> bool:
    """The phase that the fault hits, to where the pair is open or closed, or the time is over; False: it never came."""
    plan, player = it.plan, it.player
    if plan.phase != ENTRY:
        player.act = "enter"
        if not await it.until(lambda: it.opened, it.pace.start_s):
            return False
        player.act = "calm"
    if plan.case.at_order:  # the other leg's: what is hit then stands alone
        player.at_order[1 - plan.leg] = it.inject
    else:
        it.inject()
    if plan.phase == ENTRY:
        player.act = "enter"
        await it.until(lambda: it.opened or it.halted, it.pace.phase_s)
    else:
        player.act = "leave"
        await it.until(lambda: it.closed or it.halted, it.pace.phase_s)
    return True


def _look(it: Scene, outcome: Outcome) -> None:
    """While the fault still lasts."""
    player = it.player
    outcome.ended = "naked" if abs(it.net) >= player.contract else "hedged" if player.held[SPOT] else "flat"
    outcome.halted = it.halted
    outcome.alarms = [kind for _, kind in it.alarms]
    since_s = player.naked.since_s or it.begun_s
    outcome.alarm_s = it.alarms[0][0] - since_s if it.alarms else None
    player.naked.end()
    outcome.naked_s, outcome.naked_usdt = player.naked.worst_s, player.naked.worst_coins * PRICE
    outcome.fired = sum(len(engine.faults.log) for engine in it.engines)
    for arrived in player.arrived:
        ids = [client_id for client_id in arrived if client_id]
        outcome.twice += len(ids) - len(set(ids))


async def _mend(it: Scene) -> None:
    """The fault is over: the venues are as before."""
    for task in it.tasks:
        await task
    for engine in it.engines:
        engine.faults.clear()
        engine.clock.offset_s = 0.0
        for pair in engine.listings:
            engine.delist(pair, on=False)
            engine.inactive.discard(pair)
            engine.unlisted.discard(pair)
    it.player.crossed = False
    await asyncio.sleep(0.2)


async def _differs(it: Scene, outcome: Outcome) -> list[str]:
    """Where journal and venues differ after the stop; where they do, the next start may set it right, as it says it does."""
    gone = it.plan.case.act == "delete_journal"
    journal = it.folder / "away.sqlite" if gone else it.runner.journal
    outside = it.plan.case.kind in ("outside", "terms")
    found = journal_differs(journal, it.venues, outside)
    if found and not gone:
        outcome.starts += 1
        await it.start()
        await it.until(lambda: it.closed and not journal_differs(journal, it.venues, outside), SETTLED_S)
        await it.runner.stop(it.pace.stop_s)
        found = journal_differs(journal, it.venues, outside)
    return found
