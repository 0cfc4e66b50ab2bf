"""Many runs, several at a time."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from delta_arb.live import market_watch, reconcile, supervisor
from drill.cases import Plan
from drill.measures import Outcome
from drill.scene import Inside, Pace, Sink, play

AGAIN_S = (0.1, 0.2, 0.5, 1.0)


async def played(
    plans: Sequence[Plan],
    pace: Pace,
    runs_in: type = Inside,
    at_once: int = 6,
    seed: int = 0,
    heard: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Every plan once, in the order given; `heard` is told of each as it ends."""
    turns = asyncio.Semaphore(at_once)

    async def one(n: int, plan: Plan, sink: Sink) -> Outcome:
        async with turns:
            outcome = await play(plan, pace, sink, runs_in, seed + 2 * n)
        heard(outcome)
        return outcome

    async with Sink() as sink:
        return list(await asyncio.gather(*(one(n, plan, sink) for n, plan in enumerate(plans))))


@contextmanager
def little_patience() -> Iterator[None]:
    """For runs in this process: pauses and looks that take seconds for a user take tenths of them."""
    quick = [
        (supervisor, "AGAIN_S", AGAIN_S), (market_watch, "EVERY_S", 0.5), (market_watch, "AGAIN_S", 0.5),
        (reconcile, "ORDERS_EVERY_S", 0.5),
    ]  # fmt: skip
    before = [getattr(module, name) for module, name, _ in quick]
    for module, name, value in quick:
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name, _), value in zip(quick, before, strict=True):
            setattr(module, name, value)
