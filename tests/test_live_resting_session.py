"""The runner with an order that rests, on the local venues: fills and hedges, restarts, the watcher, races."""

import asyncio

import numpy as np
import pytest
from live_stage import CALM, ENTER, LEAVE, QUICK, quick_config, stage

from delta_arb.market import NEVER, PERP, SPOT
from delta_arb.rule_params import RestingLeg
from delta_arb.sandbox.values import BUY, SELL
from delta_arb.sandbox.values import OPEN as WORKS
from delta_arb.strategy.state import ENTERING, FLAT

RESTS = RestingLeg(adverse_bps=0.0, tolerance_bps=1.0, least_life_s=0.1, quotes_per_minute=1200.0, longest_rest_s=600.0)
RULE = {"entry_bps": 15.0, "exit_bps": -12.0, "spot_role": "maker", "resting": RESTS, "leg_deadline_s": 3.5}


def config(**changes):
    """Both legs with their ticks, and the fees of makers that the local venues have."""
    sample = quick_config()
    spot = sample.spot.model_copy(update={"maker_fee_bps": 0.0, "price_tick": 1e-4})
    perp = sample.perp.model_copy(update={"maker_fee_bps": 2.0, "price_tick": 1e-4})
    guards = sample.guards.model_copy(update={"max_orders_minute": 10_000, "max_failures": 10_000})
    patient = {"pace": QUICK | {"dead_s": 3.0}, "guards": guards}  # a stream that is down forbids entries
    return sample.model_copy(update={"spot": spot, "perp": perp} | patient | changes)


def quotes(it, leg=SPOT):
    """The post-only orders that work now."""
    return [o for o in it.placed(leg) if o.tif == "post_only" and o.state == WORKS]


async def quoted(it, price, leg=SPOT):
    await it.until(
        lambda: [o for o in quotes(it, leg) if str(o.price) == price and it.session.runner.state.quote_ns < NEVER]
    )


def test_a_pair_is_entered_and_left_by_resting_and_everybody_agrees_to_the_cent(tmp_path):
    async def play():
        async with stage(tmp_path, rule=RULE, config=config()) as it:
            await it.start()
            it.show(ENTER)
            await quoted(it, "0.8001")
            it.venues.trade(SELL, "0.8001", 25)
            await it.until(lambda: it.position() == (25.0, -20.0))
            it.venues.trade(SELL, "0.8001", 100)
            await it.until(lambda: it.position() == (60.0, -60.0))
            it.show(LEAVE)
            await quoted(it, "0.8004")
            it.venues.trade(BUY, "0.8005", 600)  # beyond it: at a level that is not shown nobody knows the queue
            await it.until(lambda: it.position() == (0.0, 0.0) and it.session.runner.trades)
            it.show(CALM)
            assert await it.stop() == "stopped"
            it.agree()
            it.agree_on_money()
            it.assert_replays()
            assert not quotes(it)

    asyncio.run(play())


def test_a_fill_whose_hedge_a_kill_cut_off_is_hedged_however_late_the_next_start(tmp_path):
    """Its leg deadline is not that of a runner that was not there: 25 of spot are hedged by two contracts of 10."""

    async def play():
        async with stage(tmp_path, rule=RULE | {"leg_deadline_s": 2.0}, config=config()) as it:
            await it.start()
            it.fault("gate", "order.create", "hang", before=True)
            it.show(ENTER)
            await quoted(it, "0.8001")
            it.venues.trade(SELL, "0.8001", 25)
            await it.until(lambda: it.rows("SELECT 1 FROM orders WHERE leg = 'perp'"))
            await it.crash()
            await asyncio.sleep(4.5)  # more than twice the deadline
            await it.start()
            await it.until(lambda: it.position() == (25.0, -20.0))
            assert it.phase == ENTERING
            await it.stop()
            it.agree()

    asyncio.run(play())


# --- Fill against cancel ----------------------------------------------------------------------------------------------

ANY, GONE = "mexc", {"code": "-2011", "status": 400}
RACES = {
    "fills during the cancel": [("order.cancel", "late_fill", {"fraction": 0.5})],
    "fills whole during the cancel": [("order.cancel", "late_fill", {"fraction": 1.0})],
    "fills after the cancel": [("order.cancel", "fill_after", {"fraction": 0.5, "seconds": 0.15})],
    "is said to be gone, and works": [("order.cancel", "refuse", GONE)],
    "the answer to the cancel is lost": [("order.cancel", "error_after", {"status": 503})],
    "the cancel is lost": [("order.cancel", "error", {"status": 503})],
    "pushes come twice": [("stream.fills", "duplicate", {"times": 6}), ("stream.orders", "duplicate", {"times": 6})],
    "a push of a fill is lost": [("stream.fills", "drop", {})],
    "pushes of orders are late": [("stream.orders", "delay", {"seconds": 0.2, "times": 3})],
    "pushes come out of order": [("stream.fills", "swap", {}), ("stream.orders", "swap", {})],
}


class Unhedged:
    """For how long the venues' own positions differed by a hedge step or more, and by how much."""

    def __init__(self, it) -> None:
        self.it, self.since, self.longest_s, self.most = it, None, 0.0, 0.0

    async def run(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            coins, position = self.it.position()
            naked = abs(coins + position)
            self.since = (self.since or clock()) if naked >= 10.0 else None
            self.most = max(self.most, naked)
            self.longest_s = max(self.longest_s, clock() - self.since if self.since else 0.0)
            await asyncio.sleep(0.005)


async def race(it, kind, rng) -> None:
    """The quote is too near all of a sudden, and somebody takes a part of it while it is withdrawn."""
    state = lambda: it.session.runner.state  # noqa: E731

    def near() -> bool:
        it.show(ENTER if state().phase in (FLAT, ENTERING) else LEAVE)
        touch = [o for o in quotes(it) if str(o.price) in ("0.8001", "0.8004")]
        return bool(touch) and not (state().withdrawn or it.session.busy())

    await it.until(near)
    entering = state().phase == ENTERING
    for at, do, how in RACES[kind]:
        it.fault("mexc", at, do, **how)
    side, price = (SELL, "0.8000") if entering else (BUY, "0.8006")
    if rng.random() < 0.7:
        it.venues.trade(side, price, float(rng.integers(1, 30)))
    it.show(CALM)
    await asyncio.sleep(float(rng.random()) * 0.03)
    if rng.random() < 0.7:
        it.venues.trade(side, price, float(rng.integers(1, 30)))
    await asyncio.sleep(0.05)
    await it.until(lambda: not state().withdrawn and not it.session.busy())


async def raced(folder, seed, races):
    rng = np.random.default_rng(seed)
    async with stage(folder, rule=RULE, config=config()) as it:
        await it.start()
        unhedged = Unhedged(it)
        watching = asyncio.create_task(unhedged.run())
        for _ in range(races):
            await race(it, list(RACES)[rng.integers(len(RACES))], rng)
        it.venues.spot.faults.clear()
        await asyncio.sleep(0.5)
        assert await it.stop() in ("stopped", "open")
        watching.cancel()
        it.agree()
        it.assert_hedged()
        it.assert_replays()
        assert not quotes(it)
        assert unhedged.longest_s < RULE["leg_deadline_s"] and unhedged.most <= 60.0
        return len([o for o in it.placed(SPOT) if o.tif == "post_only" and o.filled])


@pytest.mark.parametrize("races", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_fills_race_cancels_and_no_step_stays_unhedged_nor_is_hedged_twice(tmp_path, races):
    at_once = 2

    async def play():
        async with asyncio.TaskGroup() as tasks:
            runs = [tasks.create_task(raced(tmp_path / str(k), k, races // at_once)) for k in range(at_once)]
        return sum(run.result() for run in runs)

    assert asyncio.run(play()) > races / 3  # quotes that filled


def test_on_paper_an_order_rests_in_the_queue_of_the_venues_trades(tmp_path):
    async def play():
        async with stage(tmp_path, rule=RULE, config=config()) as it:
            it.paper = True
            await it.start()
            it.show(ENTER)
            await it.until(lambda: it.session.runner.state.quote == 0.8001 and it.session.runner.state.quote_ns < NEVER)
            held = lambda: tuple(leg.position for leg in it.session.runner.state.legs)  # noqa: E731
            it.venues.trade(BUY, "0.8001", 30)  # the wrong side
            it.venues.trade(SELL, "0.8001", 25)
            await it.until(lambda: held() == (25.0, -20.0))
            it.venues.trade(SELL, "0.8000", 100)
            await it.until(lambda: held() == (60.0, -60.0))
            fills = it.rows("SELECT leg, qty, price, fee_usdt FROM fills WHERE leg = 'spot'")
            assert fills == [("spot", 25.0, 0.8001, 0.0), ("spot", 35.0, 0.8001, 0.0)]
            assert not it.placed(SPOT) and not it.placed(PERP)
            assert await it.stop() == "open"

    asyncio.run(play())
