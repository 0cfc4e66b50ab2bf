"""The short drill: each named fault once and twenty seeded sessions, in this process; `make drill` is the long one."""

import asyncio
import logging

import pytest
from drill import seeds
from drill.cases import CASES, DIRECT, ENTRY, VENUES, Case, Plan, every_run, one_run_each
from drill.measures import NakedTime, Outcome, Shown, percentile
from drill.rounds import little_patience, played
from drill.scene import QUICK
from drill.table import CLIP_USDT, bars, summed

from delta_arb.live.executor import Executor
from delta_arb.market import PERP, SPOT

AT_ONCE = 16
SEEDS = 20


def short_drill(plans: list[Plan]) -> list[Outcome]:
    logging.disable(logging.CRITICAL)  # what streams log of each cut; the runner's own lines are kept with each run
    try:
        with little_patience():
            return asyncio.run(played(plans, QUICK, at_once=AT_ONCE))
    finally:
        logging.disable(logging.NOTSET)


def told(outcomes: list[Outcome]) -> str:
    """What failed, with what the runner said."""
    failed = [o for o in outcomes if o.failures]
    return "\n".join(f"{o.plan}: {'; '.join(o.failures)}\n    " + "\n    ".join(o.said) for o in failed)


@pytest.fixture(scope="module")
def drilled() -> tuple[list[Outcome], list[Outcome]]:
    """The named faults and the seeded lists, played beside each other: most of a run is waiting. The lists take longest."""
    outcomes = short_drill([seeds.plan(seed) for seed in range(SEEDS)] + one_run_each())
    return outcomes[SEEDS:], outcomes[:SEEDS]


def test_each_named_fault_ends_flat_or_hedged_or_rings_where_a_venue_is_gone(drilled, capsys):
    outcomes, _ = drilled
    assert not any(o.failures for o in outcomes), told(outcomes)
    found = bars(outcomes)
    assert found["answered_safe"] == found["answered_runs"] > 70 and found["ids_twice"] == 0
    with capsys.disabled():
        print(f" {len(outcomes)} faults, naked p99 {found['naked_p99_s']:.2f} s", end=" ")


def test_seeded_lists_of_faults_end_flat_or_hedged(drilled, capsys):
    _, outcomes = drilled
    assert len(outcomes) == SEEDS and not any(o.failures for o in outcomes), told(outcomes)
    with capsys.disabled():
        print(f" seeds 0 to {SEEDS - 1}", end=" ")


def test_the_drill_names_at_least_forty_faults_and_every_documented_code():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert sum(case.kind not in ("refusals", "none") for case in CASES) >= 40
    assert len(every_run()) > 700
    for plan in every_run():
        assert all(fault.venue in VENUES for fault in plan.script())


# That the drill can fail


def test_a_runner_that_sends_an_order_in_doubt_again_is_found_out(monkeypatch):
    """The order was taken and a gateway answered: who takes that for a refusal holds twice as much of one leg."""
    outcome = Executor.outcome

    def hasty(self, leg, told):
        outcome(self, leg, type(told).nothing(told.order_id, refused="hasty") if told.doubt else told)

    monkeypatch.setattr(Executor, "outcome", hasty)
    pushes = tuple({"at": f"stream.{name}", "do": "silence"} for name in ("orders", "fills"))
    case = Case("taken, 503, no push", "doubtful answers", ({"at": "order.create", "do": "error_after"}, *pushes))
    (found,) = short_drill([Plan(case, PERP, ENTRY, DIRECT)])
    assert found.failures or found.naked_usdt > CLIP_USDT or found.naked_s > 0.1


def test_a_failing_seed_shrinks_to_the_fault_that_fails():
    wanted, leg = seeds.parts(3)[-1]

    async def fails(plan: Plan) -> bool:
        return wanted.name in plan.case.name

    shortest = asyncio.run(seeds.shortest(3, fails))
    assert len(seeds.parts(3)) > 1
    assert shortest.case.name == f"seed 3: {wanted.name} on {('spot', 'perp')[leg]}"


def test_naked_time_is_the_longest_spell_in_which_the_legs_differ_by_a_contract(monkeypatch):
    now = iter((10.0, 10.5, 11.0, 13.0, 20.0, 20.25))
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    naked = NakedTime()
    for net in (0.0, 60.0, -30.0, 9.0, 10.0, 0.0):
        naked.update(net)
    assert [end - begin for begin, end in naked.spells] == [2.5, 0.25]
    assert naked.worst_s == 2.5 and naked.worst_coins == 60.0
    # Silent from 9 to 11 and from 10.8 to 12 s: of the spell from 10.5 to 13 s one second is left, of the other all.
    assert naked.counted_s([(10.8, 12.0), (9.0, 11.0)]) == pytest.approx(1.0)


def test_a_quote_counts_as_shown_only_while_it_was():
    shown = Shown()
    shown._were[SPOT] = [(0.8, 0.9, 100, 200)]
    assert shown.was(SPOT, 0.8, 0.9, 150, 160) and shown.was(SPOT, 0.8, 0.9, 200, 300)
    assert not shown.was(SPOT, 0.8, 0.9, 201, 300) and not shown.was(SPOT, 0.4, 0.9, 150, 160)


@pytest.mark.parametrize(("share", "value"), [(0.99, 99.0), (0.5, 50.0), (1.0, 100.0)])
def test_percentiles_of_one_to_a_hundred(share, value):
    assert percentile([float(n) for n in range(100, 0, -1)], share) == value


def test_a_line_of_the_table_counts_what_the_runs_came_to():
    one = Outcome("a", "a", "k", "mexc", "exit", 1, True, True, ended="flat", naked_s=0.5, naked_usdt=48.0)
    other = Outcome(
        "b",
        "a",
        "k",
        "gate",
        "exit",
        1,
        True,
        True,
        ended="naked",
        naked_s=3.0,
        alarms=["halted"],
        alarm_s=4.96,
        twice=1,
    )
    assert other.failures == ["ended naked", "1 ids used twice"]
    assert summed([one, other]) == ["2", "1", "1", "5.0", "3.00", "3.00", "48", "1", "2", "0"]
    assert bars([one, other])["answered_safe"] == 1 and bars([one, other])["naked_over_2_s"] == 1
