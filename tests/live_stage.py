"""The live runner on the local venues with genuine clients: what tests/test_live_*.py play on.

Spot stands at 0.8000 / 0.8002. `Stage.show` moves the perpetual: ENTER pays 20 bps to open, LEAVE costs -12.5 bps to
close, CALM does neither. Both books are quoted anew every 20 ms, so they are fresh and move on both sides.
"""

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from test_live import export, rule_params

from delta_arb import params
from delta_arb.live import config as configuration
from delta_arb.live import resources
from delta_arb.live.config import Config
from delta_arb.live.event_log import EventLog, replayed
from delta_arb.live.journal import Journal
from delta_arb.live.messages import Alerts
from delta_arb.live.parameters import ParameterFile, utc_now
from delta_arb.live.resources import Resources
from delta_arb.live.session import Session
from delta_arb.live.venues.base import VenueError
from delta_arb.market import LEGS
from delta_arb.sandbox.faults import Fault
from delta_arb.sandbox.venues import Venues
from delta_arb.strategy.state import FLAT, HALTED, OPEN

ENTER, CALM, LEAVE = ("0.8018", "0.8020"), ("0.8001", "0.8003"), ("0.7988", "0.7990")
QUICK = {
    "first_s": 2.0, "quiet_s": 0.2, "compare_s": 2.0, "again_s": 0.03, "ping_s": 0.2, "dead_s": 0.6,
    "backoff_s": 0.02, "clock_s": 0.5,
    "push_s": 0.1, "order_s": 1.0, "weight_per_s": 500.0,
}  # fmt: skip
TICKS = {"accounts_every_s": 0.3, "guards_every_s": 0.1}
PATIENCE = {
    "overdue_s": 0.15, "ioc_s": 0.4, "unknown_s": 1.5, "answer_s": 0.6, "retry_s": 0.05,
}  # fmt: skip
HELD = params.WalletParams(inventory_coins=100.0)  # what a reverse pair is sold out of, where it is traded
RULE = {"entry_bps": 15.0, "exit_bps": -12.0, "leg_deadline_s": 1.5, "max_quote_age_s": 0.6, "rearm_bps": 0.0}


def quick_config(**changes) -> Config:
    """The sample's configuration with little patience."""
    sample = configuration.sample().model_dump() | {"pace": QUICK, "orders": PATIENCE, "on_stop": "keep"} | TICKS
    return Config.model_validate(sample | changes)


def publish(folder: Path, wallets: params.WalletParams | None = None, config: Config | None = None, **rule) -> Path:
    """Parameters for the stage, valid for an hour."""
    spot, perp = (config or quick_config()).terms()

    class Pair:
        pair, spot_kind, perp_kind = "SYN_USDT", "updates", "updates"

        @staticmethod
        def terms():
            return spot, perp

    return params.publish(
        export(
            Pair,
            rule_params(**RULE | rule),
            created=datetime.now(UTC) - timedelta(seconds=1),
            wallets=wallets or HELD,
        ),
        folder,
    )


class Stage:
    """Local venues, one after the other sessions on them, and what they said."""

    def __init__(self, folder: Path, venues: Venues, config: Config) -> None:
        self.folder, self.venues, self.config = folder, venues, config
        self.said: list[str] = []
        self.session: Session | None = None
        self.task: asyncio.Task | None = None
        self.perp = CALM
        self.spot = ("0.8000", "0.8002")
        self.quoting = True
        self.sizes = (500, 510)
        self.runs = 0
        self.kill_file = ""
        self.paper = False
        self.alerts = Alerts((), config.alerts, config.name, self.said.append)
        self._stack: list = []

    # Quotes

    async def tick(self) -> None:
        flip = 0
        while True:
            if self.quoting:
                flip = 1 - flip
                size = self.sizes[flip]
                self.venues.quote(self.spot[0], size, self.spot[1], size, "spot")
                self.venues.quote(self.perp[0], size, self.perp[1], size, "perp")
            await asyncio.sleep(0.02)

    def show(self, perp: tuple[str, str]) -> None:
        self.perp = perp

    def fault(self, venue: str, at: str, do: str, **how) -> None:
        engine = self.venues.spot if venue == "mexc" else self.venues.perp
        engine.faults.add(Fault(at, do, venue=venue, **how))

    # Sessions

    @property
    def journal_path(self) -> Path:
        return self.folder / "live.sqlite"

    async def start(self, **how) -> Session:
        """A session, up to where it may enter; begun again when a venue did not answer in time, as the command does."""
        for _ in range(3):
            self.launch(**how)
            await self.until(lambda: self._begun or self.task.done())
            with suppress(VenueError):
                if self.task.done():
                    self.task.result()
                return self.session
        raise AssertionError("the local venues did not answer three times")

    @property
    def _begun(self) -> bool:
        greetings = ("started flat", "is settled and flat", "flattening pair", "resumed pair")
        return any(greeting in s for s in self.said[self._mark :] for greeting in greetings)

    def launch(self, **how) -> None:
        self.runs += 1
        self._mark = len(self.said)
        self.session = None
        self.task = asyncio.create_task(self._run(f"26112200000000{self.runs:04d}", **how))

    async def _run(self, run_id: str, **how) -> str:
        with Journal(self.journal_path, run_id) as journal:
            journal.begin_run("test", "test", {})
            venues = resources.both_venues(self.config, None, self.venues.config())
            recorder: list[EventLog] = []

            def record(state):
                recorder.append(EventLog(self.folder / f"{run_id}.bin", run_id, state))
                return recorder[0]

            def exports(opened):
                own = self.config.of_accounts(*(v.terms for v in opened))
                path = self.folder / self.config.name / "params" / "latest.json"
                return ParameterFile(path, self.config, self.config.limits.bounds(), utc_now, own)

            self.session = Session(
                Resources(
                    self.config,
                    "test",
                    journal,
                    venues,
                    exports,
                    record,
                    self.said.append,
                    lambda: self.kill_file,
                    self.paper,
                    self.alerts,
                ),
                **how,
            )
            try:
                outcome = await self.session.run()
            finally:
                for one in recorder:
                    one.__exit__()
            journal.end_run(outcome)
            return outcome

    async def crash(self) -> None:
        """The session is gone in the middle of whatever it did; what is in the journal and at the venues stays."""
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task

    async def stop(self) -> str:
        self.session.stop("test")
        async with asyncio.timeout(20):
            return await self.task

    # What is

    async def until(self, true, seconds: float = 10.0) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not true():  # noqa: ASYNC110 - a test looks from outside
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError("\n".join(["not within the time; it said:", *self.said])) from None

    @property
    def phase(self) -> int:
        return self.session.runner.state.phase if self.session and self.session.runner else -1

    async def opened(self) -> None:
        self.show(ENTER)
        await self.until(lambda: self.phase == OPEN and self.at_rest)
        self.show(CALM)

    async def closed(self) -> None:
        self.show(LEAVE)
        await self.until(lambda: self.phase == FLAT and self.at_rest)
        self.show(CALM)

    async def settled(self) -> None:
        """Flat or open, and it stays so for a moment."""
        calm = 0
        while calm < 10:
            await self.until(lambda: self.phase in (FLAT, OPEN) and self.at_rest)
            await asyncio.sleep(0.02)
            calm = calm + 1 if self.phase in (FLAT, OPEN) and self.at_rest else 0

    async def held_back(self, words: str, begin, end) -> None:
        """Quotes that would pay, while something holds entries back; then it ends."""
        before, mark = self.session.runner.state.pair, len(self.said)
        begin()
        if words:
            await self.until(lambda: any(words in s for s in self.said[mark:]))
        else:
            await asyncio.sleep(0.8)
        self.show(ENTER)
        await asyncio.sleep(0.2)
        assert self.session.runner.state.pair == before, words
        self.show(CALM)
        await asyncio.sleep(0.1)
        end()
        if words:
            await self.until(lambda: any("no longer" in s for s in self.said[mark:]))

    @property
    def at_rest(self) -> bool:
        return not self.session.runner.working and not self.session.executor.pending

    def rows(self, query: str, *values) -> list[tuple]:
        with closing(sqlite3.connect(self.journal_path)) as db:
            return db.execute(query, values).fetchall()

    def engines(self):
        return (self.venues.spot, self.venues.perp)

    def placed(self, leg: int) -> list:
        """The orders in a venue's own log."""
        return list(self.engines()[leg].orders.values())

    def position(self) -> tuple[float, float]:
        """Coins and perpetual position as the venues hold them, base units."""
        coins = self.venues.spot.account.total("SYN")
        return float(coins), float(self.venues.perp.account.position("SYN_USDT").size)

    def agree(self) -> None:
        """Journal, venues and machine tell the same: orders once, fills to the unit, money to the cent, legs hedged."""
        for leg, name in enumerate(LEGS):
            placed = self.placed(leg)
            ids = [order.client_id.removeprefix("t-") for order in placed]
            assert len(ids) == len(set(ids))
            journaled = {i for (i,) in self.rows("SELECT order_id FROM orders WHERE leg = ?", name)}
            assert set(ids) <= journaled
            for order, order_id in zip(placed, ids, strict=True):
                booked = self.rows(
                    "SELECT COALESCE(SUM(qty), 0), COALESCE(SUM(fee_usdt), 0) FROM fills WHERE order_id = ?", order_id
                )[0]
                assert booked[0] == pytest.approx(float(order.side * order.filled), abs=1e-9), order_id
                assert booked[1] == pytest.approx(float(order.fee), abs=5e-3 * 1e-2), order_id
        coins, position = self.position()
        held = dict(self.rows("SELECT leg, SUM(qty) FROM fills GROUP BY leg"))
        assert (held.get("spot") or 0.0, held.get("perp") or 0.0) == pytest.approx((coins, position), abs=1e-9)

    def agree_on_money(self) -> None:
        """When flat: what the trades earned is what both wallets gained, to the cent."""
        gained = self.venues.spot.account.total("USDT") + self.venues.perp.account.wallet - Decimal(20_000)
        net = self.rows("SELECT COALESCE(SUM(net_usdt), 0) FROM trades")[0][0]
        assert net == pytest.approx(float(gained), abs=0.005)

    def assert_hedged(self) -> None:
        coins, position = self.position()
        assert abs(coins + position) < 10.0  # one contract

    def assert_replays(self) -> None:
        """The events of each run, told to `decide` again, call for the orders of its journal."""
        for (run_id,) in self.rows("SELECT run_id FROM runs"):
            path = self.folder / f"{run_id}.bin"
            if not path.exists():
                continue
            again = [
                (decided.event.ts_ns, LEGS[leg], order.qty, order.limit)
                for decided in replayed(path)
                for leg, order in enumerate(decided.orders)
                if order.qty != 0.0
            ]
            assert again == self.rows(
                "SELECT ts_ns, leg, qty, price_limit FROM orders WHERE run_id = ? ORDER BY rowid", run_id
            )


@asynccontextmanager
async def stage(folder: Path, *, faults=(), config: Config | None = None, rule=None, **setup):
    """Venues with both books shown, and parameters published; sessions are started on it."""
    publish(folder, config=config, **(rule or {}))
    async with Venues.quiet(faults, **setup) as venues:
        it = Stage(folder, venues, config or quick_config())
        venues.quote("0.8000", 500, "0.8002", 500, "spot")
        venues.quote(*_quote(CALM), "perp")
        ticking = asyncio.create_task(it.tick())
        try:
            yield it
        finally:
            ticking.cancel()
            if it.task and not it.task.done():
                await it.crash()


def _quote(perp: tuple[str, str]) -> tuple:
    return perp[0], 500, perp[1], 500


def halted(it: Stage) -> bool:
    return it.phase == HALTED or bool(it.session.risk.halted)
