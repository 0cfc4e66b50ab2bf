"""Sessions on virtual time against model venues: seeds, a kill at each await, and a state machine of the pair."""

from contextlib import ExitStack, suppress

import pytest
from drill import virtual
from drill.cases import DIRECT, REVERSE
from drill.model import KINDS, Fault
from drill.virtual import CONTRACT, Kill, World, play, shortest, troubles, world
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from delta_arb.errors import RunError
from delta_arb.live.executor import Executor
from delta_arb.live.venues.base import VenueError
from delta_arb.market import PERP, SPOT
from delta_arb.strategy.state import ENTERING, EXITING, FLAT, HALTED, HEDGING, OPEN

SEEDS, MORE = 24, 1000


def failing(seeds) -> list[str]:
    """Each seed that fails, with the shortest list of its troubles that still does."""
    found = []
    for seed in seeds:
        if wrong := play(seed, troubles(seed)).wrong:
            short = shortest(troubles(seed), lambda of, seed=seed: bool(play(seed, of).wrong))
            found.append(f"seed {seed}: {'; '.join(wrong)}; shortest: {', '.join(map(str, short))}")
    return found


def test_seeded_sessions_on_virtual_time_end_flat_or_hedged_with_the_venues_in_the_journal():
    assert failing(range(SEEDS)) == []


@pytest.mark.slow
def test_a_thousand_seeded_sessions_on_virtual_time():
    assert failing(range(SEEDS, MORE)) == []


def test_the_same_seed_gives_the_same_session():
    seed = next(n for n in range(100) if any(isinstance(t, Kill) for t in troubles(n)))
    assert play(seed, troubles(seed)) == play(seed, troubles(seed))


def test_a_runner_that_takes_a_doubt_for_a_refusal_is_found_out_and_the_seed_shrinks_to_that_doubt(monkeypatch):
    outcome = Executor.outcome

    def hasty(self, leg, told):
        outcome(self, leg, type(told).nothing(told.order_id, refused="hasty") if told.doubt else told)

    monkeypatch.setattr(Executor, "outcome", hasty)
    doubt = Fault("doubt", PERP, 0)
    of = [Fault("twice", SPOT, 1), doubt, Fault("part", SPOT, 3, 0.5)]
    assert play(0, of).naked_s > 0.1 or play(0, of).wrong
    assert shortest(of, lambda some: doubt in some) == [doubt]


def test_orders_that_never_left_and_filled_nothing_halt_nothing():
    with world() as it:
        it.start()
        it.until(lambda: it.phase == FLAT, 5.0)
        spot = it.markets[SPOT].client
        spot.allowance, spot.paused_s = 0, 8.0  # the venue wants a pause
        it.act = "enter"
        it.advance(4.0)
        assert it.session.runner.state.pair > 2 and it.phase != HALTED and not it.session.risk.halted
        spot.allowance, spot.paused_s = 10, 0.0
        assert it.until(lambda: it.phase == OPEN and it.at_rest, 5.0) and it.net == 0.0
        assert it.stop() == "stopped" and it.wrong() == []


@pytest.mark.parametrize("leg", [SPOT, PERP])
def test_what_refuses_three_times_is_mended_on_the_other_venue_within_a_second(leg):
    with world() as it:
        it.markets[leg].faults += [Fault("refused", leg, nth) for nth in range(9)]
        it.start()
        it.act = "enter"
        it.advance(4.0)
        assert it.held == (0.0, 0.0) and it.phase == FLAT
        assert it.markets[leg].arrived[3:] == [] and 0.3 < it.naked.worst_s < 1.0
        assert it.stop() == "stopped" and it.wrong() == []


# --- Killed at any await between the intent and the settled pair --------------------------------------------------------


CYCLES = {
    "nothing": (),
    "unanswered": (Fault("unanswered", PERP, 0), Fault("untold", SPOT, 1)),
    "lost": (Fault("lost", SPOT, 0), Fault("lost", PERP, 1)),
    "held": (Fault("held", SPOT, 0), Fault("held", PERP, 1, 0.1)),
    "refused": (Fault("refused", PERP, 0), Fault("part", SPOT, 0), Fault("refused for good", SPOT, 2)),
}  # fmt: skip


def cycle(it: World, kill_at: int = 0) -> int:
    """One pair from its first order until it is settled again; how many of the runner's steps that took.

    With `kill_at` the runner is gone before that step, and another one takes up what its journal says.
    """
    steps, began = 0, False
    died: list[int] = []

    def step() -> None:
        nonlocal steps, began
        began = began or bool(it.session and it.session.runner and it.session.runner.state.pair)
        steps += began
        if kill_at and steps == kill_at:
            it.die()
            died.append(steps)

    it.start()
    it.loop.step, it.act = step, "enter"
    for _ in range(int(40.0 / virtual.TICK_S)):
        it.advance(virtual.TICK_S)
        if died:
            died.clear()
            it.kill(died=True)
            it.start()
        rests = began and it.phase >= 0 and it.at_rest
        if rests and it.phase == OPEN:
            it.act = "leave"
        if rests and (it.phase == HALTED or (it.phase == FLAT and not any(it.held))):
            break
    it.loop.step = None
    it.stop()
    return steps


def killed(cycle_of: str, side: int, kill_at: int) -> list[str]:
    """What is wrong after a kill before this step; 0 is none."""
    return _cycled(cycle_of, side, kill_at)[1]


def _cycled(cycle_of: str, side: int, kill_at: int = 0) -> tuple[int, list[str]]:
    with world(0, side) as it:
        for fault in CYCLES[cycle_of]:
            it.markets[fault.leg].faults.append(fault)
        return cycle(it, kill_at), it.wrong()


def killed_at(cycle_of: str, side: int, every: int) -> list[tuple[int, list[str]]]:
    steps, wrong = _cycled(cycle_of, side)
    assert steps >= 40 and wrong == []
    return [(at, wrong) for at in range(1, steps + 1, every) if (wrong := killed(cycle_of, side, at))]


def test_a_runner_killed_at_some_of_its_awaits_leaves_nothing_naked():
    assert killed_at("nothing", DIRECT, 5) == killed_at("lost", REVERSE, 12) == []


@pytest.mark.slow
@pytest.mark.parametrize("side", [DIRECT, REVERSE])
@pytest.mark.parametrize("cycle_of", CYCLES)
def test_a_runner_killed_at_every_await_between_intent_and_settled_leaves_nothing_naked(cycle_of, side):
    assert killed_at(cycle_of, side, 1) == []


# --- A state machine of the pair ---------------------------------------------------------------------------------------


class Pair(RuleBasedStateMachine):
    """Entries, fills, parts, refusals, doubts, late fills, silences, kills and a person, in whatever order."""

    @initialize(side=st.sampled_from((DIRECT, REVERSE)))
    def begin(self, side):
        self._stack = ExitStack()
        self.it = self._stack.enter_context(world(0, side))
        self.faults: list[Fault] = []
        self.it.start()
        self.it.advance(1.0)

    @rule(act=st.sampled_from(("enter", "leave", "calm")), seconds=st.sampled_from((0.05, 0.15, 0.4, 1.5)))
    def quotes(self, act, seconds):
        self.it.act = act
        self.it.advance(seconds)

    @rule(kind=st.sampled_from(KINDS), leg=st.sampled_from((SPOT, PERP)), x=st.sampled_from((0.1, 0.5, 0.9)))
    def next_order(self, kind, leg, x):
        market = self.it.markets[leg]
        self.faults.append(Fault(kind, leg, market.sent, x))
        market.faults.append(self.faults[-1])

    @rule(leg=st.sampled_from((SPOT, PERP)), seconds=st.sampled_from((0.3, 2.0, 6.0)))
    def silent(self, leg, seconds):
        self.it.markets[leg].silent_until_s = self.it.loop.now_s + seconds

    @rule(away_s=st.sampled_from((0.05, 1.0)))
    def killed_and_started_again(self, away_s):
        self.it.kill()
        self.it.advance(away_s)
        self.it.start()
        self.it.advance(0.1)

    @precondition(lambda self: self.it.session and self.it.session.runner and self.it.phase >= 0)
    @rule()
    def a_person_flattens(self):
        self.it.flatten("a person")

    @precondition(lambda self: self.it.session and self.it.session.runner and self.it.at_rest)
    @rule()
    def a_person_resumes(self):
        async def resumed() -> None:
            with suppress(VenueError, RunError):
                await self.it.session.resume("a person")

        self.it.loop.run_until_complete(resumed())

    @invariant()
    def hedged_or_being_hedged(self):
        it = self.it
        mends = it.phase in (-1, ENTERING, EXITING, HEDGING) or it.session.busy() or it.rung
        assert abs(it.net) < CONTRACT or mends or it.naked.since_s > it.loop.now_s - 5.0
        assert it.naked.worst_coins <= 60.0  # a clip

    @invariant()
    def no_id_twice_and_nothing_booked_that_was_not_filled(self):
        assert self.it.twice() == []
        filled = {p.order_id: p.filled for market in self.it.markets for p in market.orders.values()}
        for order_id, qty in self.it.booked().items():
            assert abs(qty[0]) <= abs(filled[order_id]) + 1e-9

    def teardown(self):
        it = self.it
        for market in it.markets:
            market.faults.clear()
            market.silent_until_s = 0.0
        it.act = "calm"
        it.until(lambda: it.at_rest and (abs(it.net) < CONTRACT or it.rung), 90.0)
        wrong = it.settled_by_a_person(self.faults)
        ended = it.stop()
        wrong += it.wrong()
        self._stack.close()
        assert (wrong, ended in ("stopped", "halted", "open")) == ([], True)


Pair.TestCase.settings = settings(max_examples=12, stateful_step_count=15, deadline=None)
TestPair = Pair.TestCase


@pytest.mark.slow
def test_the_pair_for_longer():
    run_state_machine_as_test(Pair, settings=settings(max_examples=300, stateful_step_count=30, deadline=None))
