"""Orders on two real wires, and what became of each: the only place that sends, and it never sends twice.

    place -> venue.prepare, then both legs written one right after the other   journaled before (runner)
          -> the venue says how it ended (stream or answer)         one report
          -> nobody says: asked by client id until it is final      unknown is not rejected
          -> unknown to the venue after `unknown_s`                 final, as the account's fills have it: Gate forgets
                                                                    our ids a minute after the end of an order
          -> still working after `ioc_s`                            cancelled by id, then asked again
          -> more filled than was reported                          a second report with the rest: a late fill
    a resting order -> accepted, each fill, its end                 a report each; between them it is looked up by REST
                    -> withdrawn                                    cancelled by id, then asked for its end
                    -> as long as we live                           Gate is told to hold it, and else cancels it by itself

Whatever is reported is what the venue says was filled; an order itself says nothing.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from delta_arb.live.config import OrderTimeouts
from delta_arb.live.resting_orders import OrderInFlight, RestingOrders
from delta_arb.live.venues.base import (
    NEVER_REACHED,
    Execution,
    OrderOutcome,
    Placed,
    Report,
    Venue,
    VenueError,
    filled_by,
)
from delta_arb.market import LEGS, NS

REMEMBERED = 1_000  # ended orders, whose late fills are still recognized
DUST = 1e-9  # share of a quantity that is rounding, not a fill
REFUSALS = 3  # in a row: the leg is not tried again
FIRST_S = 0.1  # before the second question about an order, then twice as long each time
SLOWEST_S = 0.5  # between two questions about the same order: a leg may stand alone meanwhile
NEAR_NS = 120 * NS  # of an order's send: where its fills are looked for
AROUND_NS = 3600 * NS  # the same for an order of an earlier run, whatever the clocks said then
FILLS_S = 60.0  # for that: a venue tells a hundred at a time, and not more than a few times a second


class Executor(RestingOrders):
    """Both legs' venues as one broker; use it inside a TaskGroup, whose failure ends its questions too.

    Args:
        report: takes the end of an order; called from the loop, never from within `place`.
        say: tells a person what is out of the ordinary.
    """

    def __init__(
        self,
        venues: tuple[Venue, Venue],
        report: Callable[[Report], None],
        clock: Callable[[], int],
        say: Callable[[str], None],
        patience: OrderTimeouts | None = None,
    ) -> None:
        self._venues, self._report, self._clock, self._say = venues, report, clock, say
        self._patience = patience or OrderTimeouts()
        self._sent: dict[str, OrderInFlight] = {}
        self._ended: deque[str] = deque()
        self._tasks: asyncio.TaskGroup | None = None
        self._closed = False
        super().__init__()
        self._refused = [0, 0]  # in a row, of each leg: orders that take
        self.refusals = [0, 0]  # in all
        self.round_trips_s: tuple[deque[float], deque[float]] = (deque(maxlen=1000), deque(maxlen=1000))
        self.sent_ns: deque[int] = deque(maxlen=10_000)  # when orders left, for the guard on their number
        self.last_end_ns = 0

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Questions run as tasks of this group from now on."""
        self._tasks = tasks

    def close(self) -> None:
        """Ask no more; orders without an end are asked about at the next start."""
        self._closed = True
        for sent in self._sent.values():
            if sent.overdue:
                sent.overdue.cancel()

    @property
    def tasks(self) -> tuple[asyncio.Task, ...]:
        """Questions under way."""
        return tuple(task for s in self._sent.values() for task in (s.asking, s.withdrawing) if task)

    @property
    def pending(self) -> tuple[str, ...]:
        """Ids of the orders whose end is not known, but for those that rest."""
        return tuple(s.order_id for s in self._sent.values() if not (s.over or s.rests))

    # Out

    def place(self, orders: Sequence[Placed], now_ns: int) -> None:
        """Both legs on the wire now; or neither, when one venue's allowance of orders is used up. Beside an order that rests
        the other one is a hedge, which goes out by itself."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        sent = [
            self._remember(OrderInFlight(order_id, leg, order.qty, began_s, now_ns, order.post_only))
            for order_id, leg, order in orders
        ]
        barred = {s.order_id: why for s in sent if (why := self._barred(s))}
        if barred and not any(s.post_only for s in sent):
            barred = dict.fromkeys((s.order_id for s in sent), next(iter(barred.values())))
        for s in sent:
            if s.order_id in barred:
                self._refuse(s, barred[s.order_id])
            elif s.post_only:
                self._countdown.hold(s.leg, self._tasks)
        free = [(order_id, leg, order) for order_id, leg, order in orders if order_id not in barred]
        for write in [self._venues[leg].prepare(order_id, order) for order_id, leg, order in free]:
            write()
        for s in (s for s in sent if s.order_id not in barred):
            self.sent_ns.append(now_ns)
            s.overdue = loop.call_later(self._patience.overdue_s, self._ask, s)

    def _barred(self, sent: OrderInFlight) -> str:
        """Why an order is not sent now."""
        if self._venues[sent.leg].allowance < 1:
            return f"not sent: {self._venues[sent.leg].name}'s allowance of orders is used up"
        return ""

    def cancel(self, leg: int, now_ns: int) -> None:
        """The machine's deadline: what works on this leg must end. Whether it filled is asked, not assumed."""
        for sent in self._sent.values():
            if sent.leg == leg and not sent.over:
                sent.cancel = True
                if sent.post_only:
                    self._withdraw(sent)
                else:
                    self._ask(sent)

    def adopt(self, placed: Placed, sent_ns: int, booked: OrderOutcome | None = None) -> None:
        """An order that an earlier run journaled and never learned the end of: looked up at once, never sent; one that
        rests is cancelled. `booked` is what the journal has of its fills."""
        order_id, leg, order = placed
        self._say(f"{LEGS[leg]}: order {order_id} of an earlier run has no end yet; asking by its id")
        age_s = max(0.0, (self._clock() - sent_ns) / NS)
        began_s = asyncio.get_running_loop().time() - age_s
        sent = OrderInFlight(order_id, leg, order.qty, began_s, sent_ns, order.post_only, booked, adopted=True)
        sent.cancel = order.post_only
        self._ask(self._remember(sent))

    def _remember(self, sent: OrderInFlight) -> OrderInFlight:
        self._sent[sent.order_id] = sent
        return sent

    def _refuse(self, sent: OrderInFlight, why: str) -> None:
        """Report what never left, when another try makes sense."""
        outcome = OrderOutcome(sent.order_id, 0, 0.0, 0.0, 0.0, True, why)
        asyncio.get_running_loop().call_later(self._patience.retry_s, self.outcome, sent.leg, outcome)

    # In

    def outcome(self, leg: int, outcome: OrderOutcome) -> None:
        """What a venue says of an order, from whatever source and as often as it likes."""
        sent = self._sent.get(outcome.order_id)
        if self._closed:
            return
        if sent is None:
            name = self._venues[leg].name
            self._say(f"{LEGS[leg]}: {name} tells of order {outcome.order_id}, which this run did not send")
        elif sent.over:
            self._late(sent, outcome)
        elif outcome.final:
            self._end(sent, outcome)
        elif sent.post_only and not outcome.doubt:
            self._progress(sent, outcome)
        elif outcome.doubt:
            self._say(f"{LEGS[leg]}: outcome of order {sent.order_id} unknown ({outcome.doubt}); asking by its id")
            self._ask(sent)

    def _progress(self, sent: OrderInFlight, outcome: OrderOutcome) -> None:
        """It rests, or filled more while it does."""
        accepted = sent.reported is None
        more = self._more(sent, outcome)
        if not (accepted or more[0]):
            return
        sent.reported = outcome
        if sent.overdue:
            sent.overdue.cancel()
        if accepted:
            self.round_trips_s[sent.leg].append(asyncio.get_running_loop().time() - sent.sent_s)
        self._tell(sent, *more, outcome)

    def _end(self, sent: OrderInFlight, outcome: OrderOutcome) -> None:
        more = self._more(sent, outcome)
        if not sent.post_only:
            self.round_trips_s[sent.leg].append(asyncio.get_running_loop().time() - sent.sent_s)
        sent.reported, sent.over = outcome, True
        if sent.overdue:
            sent.overdue.cancel()
        self.refusals[sent.leg] += bool(outcome.refused)
        self._ended.append(sent.order_id)
        if len(self._ended) > REMEMBERED:
            del self._sent[self._ended.popleft()]
        if not outcome.refused:
            (self._unquoted if sent.post_only else self._refused)[sent.leg] = 0
            self._tell(sent, *more, outcome)
            return
        self._say(f"{LEGS[sent.leg]}: order {sent.order_id} refused: {outcome.refused}")
        if sent.post_only:
            self._back_off(sent, outcome, more)
            return
        self._refused[sent.leg] += 1
        paused_s = self._venues[sent.leg].paused_s
        if outcome.for_good or self._refused[sent.leg] >= REFUSALS or paused_s > self._patience.pause_s:
            self._refused[sent.leg] = 0
            self._tell(sent, *more, outcome, True)
            return
        # A machine that mends its legs would order again at once, and be refused as often.
        wait_s = max(paused_s, self._patience.retry_s if self._refused[sent.leg] > 1 else 0.0)
        self._tell_in(wait_s, sent, *more, outcome)

    def _late(self, sent: OrderInFlight, outcome: OrderOutcome) -> None:
        """More was filled than was reported: the difference, at the price and fee that it adds."""
        more = self._more(sent, outcome)
        if more[0]:
            sent.reported = outcome
            self._say(f"{LEGS[sent.leg]}: order {sent.order_id} was over and filled {more[0]:g} more at {more[1]:g}")
            self._tell(sent, *more, outcome)

    @staticmethod
    def _more(sent: OrderInFlight, outcome: OrderOutcome) -> tuple[float, float, float]:
        """What was filled since the last report: quantity, price and fee."""
        known = sent.reported
        if known is None or known.filled == 0.0:
            return outcome.filled, outcome.price, outcome.fee_usdt
        more = outcome.filled - known.filled
        if more * sent.qty <= 0.0 or abs(more) <= DUST * abs(sent.qty):
            return 0.0, 0.0, 0.0
        price = outcome.price
        if price != known.price:
            price = (outcome.filled * outcome.price - known.filled * known.price) / more
        return more, price, outcome.fee_usdt - known.fee_usdt

    def _tell(
        self, sent: OrderInFlight, filled: float, price: float, fee_usdt: float, o: OrderOutcome, give_up: bool = False
    ) -> None:
        self.last_end_ns = now_ns = self._clock()
        said = (o.refused, o.ts_ns, o.for_good, o.working)
        told = Report(now_ns, sent.leg, o.order_id, filled, price, fee_usdt, *said)
        self._report(told._replace(give_up=give_up))

    def _tell_in(self, wait_s: float, *what: Any) -> None:
        if wait_s:
            asyncio.get_running_loop().call_later(wait_s, self._tell, *what)
        else:
            self._tell(*what)

    # Asked

    def _ask(self, sent: OrderInFlight) -> None:
        if sent.overdue:
            sent.overdue.cancel()
        asking = sent.asking is not None and not sent.asking.done()
        if not (sent.over or asking or self._closed):
            sent.asking = self._tasks.create_task(self._follow(sent), name=f"order {sent.order_id}")

    async def _follow(self, sent: OrderInFlight) -> None:
        """Ask until the end is known; a venue that does not answer is asked for as long as it takes."""
        pause_s, p = FIRST_S, self._patience
        while not (sent.over or sent.rests):
            age_s = asyncio.get_running_loop().time() - sent.sent_s
            try:
                found = await self._asked(sent, age_s)
            except (VenueError, TimeoutError) as error:
                why = str(error) or "timeout"
                self._say(f"{LEGS[sent.leg]}: no answer about order {sent.order_id} ({why}); asking again")
                found = None
            if sent.over:
                return
            if found and (found.final or sent.post_only):
                self.outcome(sent.leg, found)
                if found.final:
                    return
            if age_s < p.unknown_s:  # the look after that may be the last
                pause_s = min(pause_s, max(0.0, sent.sent_s + p.unknown_s - asyncio.get_running_loop().time()))
            await asyncio.sleep(max(pause_s, self._venues[sent.leg].paused_s))
            pause_s = min(max(2.0 * pause_s, FIRST_S), SLOWEST_S)

    async def _asked(self, sent: OrderInFlight, age_s: float) -> OrderOutcome | None:
        """One question: by our id, and once its venue can no longer take it by the account's fills as well."""
        if age_s < self._patience.unknown_s:
            return await self._by_id(sent, age_s)
        async with asyncio.timeout(FILLS_S):
            found, deals = await asyncio.gather(self._by_id(sent, age_s), self._deals(sent))
        return found or self._by_fills(sent, deals)

    async def _by_id(self, sent: OrderInFlight, age_s: float) -> OrderOutcome | None:
        venue = self._venues[sent.leg]
        async with asyncio.timeout(self._patience.answer_s):
            found = await venue.outcome(sent.order_id)
            if not found or found.final or not (sent.cancel or (age_s > self._patience.ioc_s and not sent.post_only)):
                return found
            self._say(f"{LEGS[sent.leg]}: order {sent.order_id} still works after {age_s:.1f} s; cancelling it by id")
            await venue.cancel(sent.order_id)
            return await venue.outcome(sent.order_id)

    async def _deals(self, sent: OrderInFlight) -> Sequence[Execution]:
        """The account's fills around its send."""
        venue = self._venues[sent.leg]
        now_ns = self._clock() + venue.clock_offset_ns
        sent_ns = min(sent.sent_ns + venue.clock_offset_ns, now_ns)
        around_ns = AROUND_NS if sent.adopted else NEAR_NS
        until_ns = now_ns + NS if sent.post_only else min(sent_ns + around_ns, now_ns + NS)
        return await venue.deals(sent_ns - around_ns, until_ns)

    def _by_fills(self, sent: OrderInFlight, deals: Sequence[Execution]) -> OrderOutcome:
        """The end of an order that its venue does not know, or not any more: the sum of the account's fills of it."""
        name, order_id = self._venues[sent.leg].name, sent.order_id
        ours = [d for d in deals if d.order_id == order_id]
        if not ours:
            self._say(f"{LEGS[sent.leg]}: order {order_id} never reached {name}; nothing filled")
            return OrderOutcome(order_id, 0, 0.0, 0.0, 0.0, True, NEVER_REACHED)
        found = filled_by(order_id, ours)
        forgotten = f"{name} has forgotten order {order_id}"
        self._say(f"{LEGS[sent.leg]}: {forgotten}; by the account's fills it is {found.filled:+g}")
        return found
