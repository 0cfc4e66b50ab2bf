"""Whole sessions on virtual time against the model venues: seeded ones, and one that is killed at any of its awaits.

A `World` holds both markets, the quotes, the journal and the runner: a real `Session` with everything below it but the
venues. A seed draws a direction, faults of single orders, silences of a venue, quotes that turn, and kills; at the end the
faults are over, and the legs must be equal, no id used twice, and every order in the journal as its venue has it.
"""

import asyncio
import contextvars
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from live_stage import publish

from delta_arb.live import clock
from delta_arb.live.config import Config, sample
from delta_arb.live.journal import Journal, JournalError
from delta_arb.live.messages import Alerts
from delta_arb.live.parameters import ParameterFile, utc_now
from delta_arb.live.resources import Resources
from delta_arb.live.session import Session
from delta_arb.live.venues.base import VenueError
from delta_arb.market import LEGS, PERP, SPOT
from delta_arb.strategy.state import FLAT, HALTED, OPEN
from drill.cases import DIRECT, REVERSE
from drill.measures import PRICE, NakedTime, Outcome
from drill.model import KINDS, OURS, Fault, Market, ModelVenue, VirtualLoop
from drill.scene import DIRECT_RULE, INVENTORY, REVERSE_RULE

TICK_S = 0.05
PAYS, CALM, COSTS = (0.8018, 0.8020), (0.8001, 0.8003), (0.7988, 0.7990)
CONTRACT = 10.0
MEMORY = Path("/dev/shm")  # thousands of journals, none of which outlives its world
RULE = {"leg_deadline_s": 15.0, "max_quote_age_s": 1.0}
GUARDS = {"max_orders_minute": 1000, "max_failures": 1000, "min_disk_mb": 1.0}


class Silence(NamedTuple):
    """A venue neither answers nor shows quotes for some seconds; orders arrive all the same."""

    leg: int
    at_s: float
    seconds: float


class Kill(NamedTuple):
    """The runner is gone, and started again after some seconds."""

    at_s: float
    seconds: float


Trouble = Fault | Silence | Kill


class World:
    """Both markets and one runner; advance it by virtual seconds."""

    def __init__(self, folder: Path, seed: int = 0, side: int = DIRECT) -> None:
        self.folder, self.side, self.loop = folder, side, VirtualLoop()
        rng = random.Random(seed)
        self.core = INVENTORY if side == REVERSE else 0
        self.markets = tuple(Market(leg, self.loop, rng) for leg in (SPOT, PERP))
        self.markets[SPOT].position, self.markets[PERP].position = self.core, -self.core
        self.naked, self.said = NakedTime(lambda: self.loop.now_s), []
        for market in self.markets:
            market.traded = self._traded
        self.gone: list[tuple[float, float]] = []  # from, to: a venue silent, or no runner
        self.act = "calm"
        own = {"inventory_coins": float(self.core), "guards": GUARDS, "on_stop": "flatten"}
        self.config = Config.model_validate(sample().model_dump(exclude_unset=True) | own)
        publish(folder, **(DIRECT_RULE if side == DIRECT else REVERSE_RULE) | RULE)
        self.runs = 0
        self.session: Session | None = None
        self.task: asyncio.Task | None = None
        self.failed: Exception | None = None
        self._quoting = self.loop.create_task(self._quotes())

    # Quotes

    async def _quotes(self) -> None:
        opens = {DIRECT: (PAYS, COSTS), REVERSE: (COSTS, PAYS)}[self.side]
        while True:
            self.markets[SPOT].show(0.8, 0.8002)
            self.markets[PERP].show(*{"enter": opens[0], "leave": opens[1], "calm": CALM}[self.act])
            await asyncio.sleep(TICK_S)

    def _traded(self) -> None:
        self.naked.update(self.net, CONTRACT)

    @property
    def held(self) -> tuple[float, float]:
        return self.markets[SPOT].position - self.core, self.markets[PERP].position + self.core

    @property
    def net(self) -> float:
        return sum(self.held)

    @property
    def phase(self) -> int:
        return self.session.runner.state.phase if self.session and self.session.runner else -1

    @property
    def at_rest(self) -> bool:
        return self.phase in (FLAT, OPEN, HALTED) and not self.session.busy()

    # The runner

    @property
    def journal(self) -> Path:
        return self.folder / f"live{self.runs}.sqlite"

    def start(self) -> None:
        """A runner on the journal as it is, begun again as the command does when a venue fails."""
        context = contextvars.copy_context()
        context.run(OURS.set, True)
        self.task = self.loop.create_task(self._sessions(), context=context)

    async def _sessions(self) -> str:
        for number in range(100):
            try:
                return await self._one(f"26{self.runs:04d}{number:04d}")
            except (VenueError, JournalError) as error:
                self.said.append(f"{self.loop.now_s:.2f} {error}; again")
                await asyncio.sleep(1.0)
        raise AssertionError("it never began")

    async def _one(self, run_id: str) -> str:
        with Journal(self.journal, run_id, lambda act: None) as journal:  # no disk is waited for
            journal.begin_run("test", "test", {})
            venues = tuple(ModelVenue(market) for market in self.markets)
            own = self.config.of_accounts(*(venue.terms for venue in venues))
            path = self.folder / self.config.name / "params" / "latest.json"
            resources = Resources(
                self.config, "test", journal, venues,
                lambda _: ParameterFile(path, self.config, self.config.bounds(), utc_now, own), lambda state: None,
                self._say, lambda: "", False, Alerts((), self.config.alerts, self.config.name, self._say),
            )  # fmt: skip
            self.session = Session(resources)
            return await self.session.run()

    def _say(self, text: str) -> None:
        self.said.append(f"{self.loop.now_s:.2f} {text}")

    def die(self) -> None:
        """Nothing of the runner acts any more; its journal is what was written by now."""
        self.loop.step, journal = None, self.journal
        self.runs += 1
        for ending in ("", "-wal"):
            if (file := Path(f"{journal}{ending}")).exists():
                shutil.copy(file, f"{self.journal}{ending}")
        for market in self.markets:
            if market.client:
                market.client.cut = True

    def kill(self, *, died: bool = False) -> None:
        """It is gone; `died`: at an earlier step."""
        if not died:
            self.die()
        if self.task:
            self.task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                self.loop.run_until_complete(self.task)
        self.session = self.task = None

    def flatten(self, by: str) -> None:
        async def flatten() -> None:
            self.session.flatten(by)

        self.loop.run_until_complete(flatten())

    def stop(self, seconds: float = 120.0) -> str:
        """How it ended."""
        self.until(lambda: self.session is not None, 10.0)
        self.session.stop("test")
        self.until(self.task.done, seconds)
        return self.task.result() if self.task.done() else "never"

    def advance(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        if self.task and self.task.done() and not self.task.cancelled():
            self.task.result()  # whatever ended it is the test's failure

    def until(self, true: Callable[[], bool], seconds: float) -> bool:
        end_s = self.loop.now_s + seconds
        while not true() and self.loop.now_s < end_s:
            self.advance(TICK_S)
        return bool(true())

    def close(self) -> None:
        if self.task and not self.task.done():
            self.kill()
        self._quoting.cancel()
        with suppress(asyncio.CancelledError):
            self.loop.run_until_complete(self._quoting)
        self.loop.close()

    # What must be

    @property
    def rung(self) -> bool:
        """Whether the machine halted, which a person is told."""
        return self.phase == HALTED and bool(self.session.risk.halted)

    def settled_by_a_person(self, faults: Sequence[Fault]) -> list[str]:
        """Only where both venues refused for good may a leg stand alone: a person is rung, and flattens."""
        if abs(self.net) < CONTRACT:
            return []
        final = {fault.leg for fault in faults if fault.kind == "refused for good"}
        if not self.rung or final != {SPOT, PERP}:
            return [f"naked without a final refusal of both venues: {self.held}"]
        self.flatten("a person: both venues take orders again")
        self.until(lambda: self.phase == FLAT and self.at_rest, 60.0)
        return []

    def twice(self) -> list[str]:
        """Ids that reached a venue more than once."""
        return [i for market in self.markets for i in set(market.arrived) if market.arrived.count(i) > 1]

    def booked(self) -> dict[str, tuple[float, float]]:
        """Quantity and fee of each order in the journal."""
        if not self.journal.exists():
            return {}
        with closing(sqlite3.connect(self.journal)) as db:
            query = "SELECT order_id, SUM(qty), SUM(fee_usdt) FROM fills GROUP BY order_id"
            return {order_id: (qty, fee) for order_id, qty, fee in db.execute(query)}

    def differs(self) -> list[str]:
        """Where journal and venues tell of different fills."""
        booked = self.booked()
        with closing(sqlite3.connect(self.journal)) as db:
            ordered = {order_id for (order_id,) in db.execute("SELECT order_id FROM orders")}
        found = []
        for market in self.markets:
            for placed in market.orders.values():
                qty, fee = booked.pop(placed.order_id, (0.0, 0.0))
                if abs(qty - placed.filled) > 1e-9 or abs(fee - placed.fee) > 1e-9:
                    found.append(f"{LEGS[market.leg]} {placed.order_id}: {placed.filled:g} filled, {qty:g} booked")
                if placed.order_id not in ordered:
                    found.append(f"{placed.order_id} was not journaled")
        return [*found, *(f"{order_id} booked and never sent" for order_id in booked)]

    def wrong(self) -> list[str]:
        """At the end."""
        found = self.differs()
        if abs(self.net) >= CONTRACT:
            found.append(f"naked: {self.held}")
        if twice := self.twice():
            found.append(f"ids used twice: {twice}")
        return found


@contextmanager
def world(seed: int = 0, side: int = DIRECT) -> Iterator[World]:
    """A world whose clock is everybody's."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        it = World(Path(name), seed, side)
        virtual = {"now_ns": it.loop.now_ns, "take_over": lambda: None, "stepped_ns": lambda: 0}
        with mock.patch.multiple(clock, **virtual):
            try:
                yield it
            finally:
                it.close()


# Seeds


def troubles(seed: int) -> list[Trouble]:
    """Two to five of them; those of orders twice as often as others."""
    rng = random.Random(seed)

    def one() -> Trouble:
        kind = rng.choice((*KINDS, *KINDS, "silence", "silence", "kill", "kill"))
        if kind == "silence":
            return Silence(rng.choice((SPOT, PERP)), rng.uniform(0.0, 12.0), rng.uniform(0.2, 6.0))
        if kind == "kill":
            return Kill(rng.uniform(0.5, 12.0), rng.uniform(0.1, 3.0))
        return Fault(kind, rng.choice((SPOT, PERP)), rng.randrange(8), rng.random())

    return [one() for _ in range(rng.randint(2, 5))]


class Played(NamedTuple):
    """What a session came to; `wrong` is empty where all is well. `rung`: a person had to settle it."""

    wrong: list[str]
    ended: str
    rung: bool
    naked_s: float
    excused_s: float
    naked_usdt: float
    trades: int
    said: list[str]


def play(seed: int, of: Sequence[Trouble]) -> Played:
    """A session of a dozen seconds and what came after it, with these troubles."""
    side = random.Random(-seed - 1).choice((DIRECT, REVERSE))
    with world(seed, side) as it:
        for fault in of:
            if isinstance(fault, Fault):
                it.markets[fault.leg].faults.append(fault)
        timed = sorted((t for t in of if not isinstance(t, Fault)), key=lambda t: t.at_s)
        it.start()
        for number in range(int(14.0 / TICK_S)):
            now_s = number * TICK_S
            while timed and timed[0].at_s <= now_s:
                _begin(it, timed.pop(0))
            _turn(it)
            it.advance(TICK_S)
        for market in it.markets:
            market.faults.clear()
        it.act = "calm"
        if not it.task:
            it.start()
        it.until(lambda: it.at_rest and (abs(it.net) < CONTRACT or it.rung), 60.0)
        alone = abs(it.net) >= CONTRACT
        state = "naked" if alone else "hedged" if it.held[SPOT] else "flat"
        it.naked.end()
        wrong = it.settled_by_a_person([t for t in of if isinstance(t, Fault)])
        ended = it.stop()
        wrong += it.wrong() + ([] if ended in ("stopped", "halted", "open") else [f"ended {ended}"])
        rung = alone and not wrong
        return Played(
            wrong,
            state,
            rung,
            it.naked.worst_s,
            it.naked.worst_s - it.naked.counted_s(it.gone),
            it.naked.worst_coins * PRICE,
            sum(len(m.deals) for m in it.markets),
            it.said,
        )


def outcome(seed: int) -> Outcome:
    """A seed as a row of the drill's table."""
    of = troubles(seed)
    played = play(seed, of)
    name = f"seed {seed}: {' + '.join(map(str, of))}"
    return Outcome(
        name, name, "seeds on virtual time", "", "", 0, True, not played.rung, ended=played.ended,
        naked_s=played.naked_s, excused_s=played.excused_s, naked_usdt=played.naked_usdt,
        differs=played.wrong, said=played.said[-40:], alarms=["halted"] * played.rung,
    )  # fmt: skip


def _begin(it: World, trouble: Silence | Kill) -> None:
    it.gone.append((it.loop.now_s, it.loop.now_s + trouble.seconds))
    if isinstance(trouble, Silence):
        it.markets[trouble.leg].silent_until_s = it.loop.now_s + trouble.seconds
        return
    it.kill()
    it.advance(trouble.seconds)
    it.start()


def _turn(it: World) -> None:
    """Quotes that open a pair while there is none, and close it while there is one."""
    coins, position = it.held
    if coins or position:
        it.act = "leave" if abs(it.net) < CONTRACT else it.act
    else:
        it.act = "enter" if int(it.loop.now_s) % 3 else "calm"  # what was unwound wants calm quotes before


def shortest(parts: Sequence[Trouble], fails: Callable[[Sequence[Trouble]], bool]) -> list[Trouble]:
    """The fewest of them with which it still fails, leaving one out after the other."""
    left, n = list(parts), 0
    while n < len(left) and len(left) > 1:
        fewer = left[:n] + left[n + 1 :]
        left, n = (fewer, 0) if fails(fewer) else (left, n + 1)
    return left
