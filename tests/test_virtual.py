"""Sessions on virtual time against model venues: seeds, a kill at each await, and a state machine of the pair."""

import pytest
from drill import virtual
from drill.cases import DIRECT, REVERSE
from drill.model import Fault
from drill.virtual import Kill, World, play, shortest, troubles, world

from delta_arb.live.executor import Executor
from delta_arb.market import PERP, SPOT
from delta_arb.strategy.state import FLAT, HALTED, OPEN

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
