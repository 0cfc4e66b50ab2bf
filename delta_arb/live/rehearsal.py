"""The way of an order, gone through while there is nothing to do, up to the wire; nothing of it is kept.

Between two orders a processor does other things, and the code of the next one is out of its caches: it takes up to four times
as long as just after another. So for a moment after each quote the runner decides now and then as if its levels were reached,
writes the rows and takes them back, and builds and signs both requests, which are dropped.
"""

import asyncio

from delta_arb.live.executor import Executor
from delta_arb.live.journal import JournalError
from delta_arb.live.resources import Resources
from delta_arb.live.runner import Runner
from delta_arb.live.venues.base import Placed
from delta_arb.market import LEGS
from delta_arb.strategy.decide import decide
from delta_arb.strategy.state import BOTH_TAKE, FLAT, OPEN, QUOTE, Event

AFTER_S = 0.05  # a quote: the next one is likely to come within it, or not soon


class Rehearsal:
    """Rehearses every `config.orders.rehearse_s` seconds, in the breaks of the event loop; never on paper."""

    def __init__(self, runner: Runner, executor: Executor, resources: Resources) -> None:
        self._runner, self._executor, self._journal = runner, executor, runner.journal
        self._every_s = 0.0 if resources.paper else resources.config.orders.rehearse_s
        self._next: asyncio.TimerHandle | None = None
        self._until_s = 0.0

    def quoted(self) -> None:
        """A quote has come, and what it called for is done."""
        loop = asyncio.get_running_loop()
        self._until_s = loop.time() + AFTER_S
        if self._next is None and self._every_s > 0.0:
            self._next = loop.call_later(self._every_s, self._go)

    def close(self) -> None:
        """Rehearse no more."""
        self._until_s = 0.0
        if self._next:
            self._next.cancel()

    def _go(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._once()
        except JournalError:  # a real event will say so; until then nobody is to wait for whoever holds the journal up
            return
        self._next = loop.call_later(self._every_s, self._go) if loop.time() < self._until_s else None

    def _once(self) -> None:
        runner = self._runner
        state, rule, flat = runner.state.copy(), runner.rule, runner.state.phase == FLAT
        if runner.working or not (state.phase == OPEN or (flat and rule.may_enter)):
            return
        state.armed = True
        event = Event(QUOTE, runner.now_ns, *runner.books, 0, 0.0, 0.0, 0.0, runner.shift)
        orders = decide(state, event, rule._replace(entry=-1.0, flatten=not flat, quoting=BOTH_TAKE))
        names = (f"{self._journal.run_id}-{leg[0]}0" for leg in LEGS)
        if placed := [Placed(name, leg, orders[leg]) for leg, name in enumerate(names) if orders[leg].qty]:
            self._journal.event(event, state, placed, opened=runner.pinned if flat else None, kept=False)
            self._executor.rehearse(placed)
