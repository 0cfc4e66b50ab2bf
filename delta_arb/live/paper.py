"""Two venues on paper: orders meet the books by the backtest's fill rule, after the same latency; a post-only one then rests.

The venue is told every quote before the runner is, and says when its next report is due; whoever drives it (a replay's clock,
or a loop's) fetches the report then. Of a stamp trades come before rows, and both before what arrives then; fills of one stamp
are one report. An order rests in its queue by the rules of the replay; where no trades are told, only a quote that reaches it
fills it.
"""

import json
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from delta_arb.errors import RuleError
from delta_arb.latency import Latency
from delta_arb.live.accounts import Baseline
from delta_arb.live.config import Config
from delta_arb.live.journal import Journal
from delta_arb.live.venues.base import OUTSIDE, WOULD_TAKE, Account, Placed, Report
from delta_arb.market import (
    BACK,
    LEGS,
    NEVER,
    NS,
    PERP,
    SNAPSHOTS,
    SPOT,
    UNTOUCHED,
    Book,
    Fill,
    FundingPayment,
    Order,
    fill,
    left_of,
    utc,
    with_taken,
)
from delta_arb.params import WalletParams
from delta_arb.quotes.depth_and_trades import NO_DEPTH, Depth, ahead_at, into_levels, known_at
from delta_arb.strategy.margin import liquidated_at
from delta_arb.strategy.quoting import UNKNOWN, Queued, crosses, joined, on_print, on_row
from delta_arb.strategy.sizing import fee_usdt, needs_usdt, received
from delta_arb.strategy.state import Event, LegRule, MachineRule, State
from delta_arb.wallets import (
    NO_REBALANCING,
    NO_TRANSFER,
    Funds,
    Purse,
    Rebalancing,
    Transfer,
    Wallet,
    moved,
    sent_transfer,
    wallet_of,
    with_fill,
)

DONE = 1e-12  # of a base unit: less than this is nothing left


@dataclass(slots=True)
class PaperRest:
    """One that has arrived; `rested` makes it. What was `filled` since its last report is due at `told_ns`."""

    order_id: str
    leg: int
    of: LegRule
    place: int
    queued: Queued
    cancel_ns: int = NEVER  # when its cancel arrives
    told_ns: int = NEVER
    filled: float = 0.0

    @property
    def due_ns(self) -> int:
        """When its next report is due."""
        return min(self.told_ns, self.cancel_ns)

    def on_row(self, ts_ns: int, book: Book) -> None:
        """A row of the book that it rests in."""
        own, other = _sides(self.queued.side, book)
        self.queued, filled = on_row(self.queued, *own, *other)
        self._fill(ts_ns, filled)

    def on_trade(self, ts_ns: int, side: int, price: float, qty: float) -> None:
        """A trade of others; `side` is its taker's."""
        self.queued, filled = on_print(self.queued, side, price, qty, self.place)
        self._fill(ts_ns, filled)

    def _fill(self, ts_ns: int, filled: float) -> None:
        if filled > 0.0:
            self.filled, self.told_ns = self.filled + filled, min(self.told_ns, ts_ns)

    def report(self) -> Report:
        """The one that is due; nothing works after the last one."""
        due_ns, filled = self.due_ns, received(self.queued.side * self.filled, self.of, True)
        over = self.queued.left <= DONE or due_ns == self.cancel_ns
        fee = fee_usdt(filled, self.queued.price, self.of, True)
        self.filled, self.told_ns = 0.0, NEVER
        remaining = 0.0 if over else self.queued.side * self.queued.left
        return Report(due_ns, self.leg, self.order_id, filled, self.queued.price, fee, remaining=remaining)


def rested(
    order_id: str, leg: int, order: Order, at_ns: int, book: Book | None, of: LegRule, place: int
) -> tuple[Report, PaperRest | None]:
    """What is reported of a post-only order that arrives at a book, and the order, if it rests."""
    side = 1 if order.qty > 0.0 else -1
    if book is None or crosses(side, order.limit, book.bid, book.ask):
        refused = WOULD_TAKE if book else ""
        return Report(at_ns, leg, order_id, 0.0, order.limit, 0.0, refused), None
    own, _ = _sides(side, book)
    queued = joined(side, order.limit, abs(order.qty), *own)
    accepted = Report(at_ns, leg, order_id, 0.0, order.limit, 0.0, remaining=order.qty)
    return accepted, PaperRest(order_id, leg, of, place, queued)


def _sides(side: int, book: Book) -> tuple[tuple[float, float], tuple[float, float]]:
    """(best, size) of the side that an order joins, and of the other one."""
    bid, ask = (book.bid, book.bid_qty), (book.ask, book.ask_qty)
    return (bid, ask) if side > 0 else (ask, bid)


class Working(NamedTuple):
    """An order under way; `met` is the snapshot row that it met, if any. A cancel may follow it before it arrives."""

    order_id: str
    order: Order
    arrival_ns: int
    due_ns: int
    met: Book | None
    cancel_ns: int = NEVER


class PaperVenue:
    """Both legs' venues; one working order per leg, like the machine that sends them.

    Args:
        place: what is assumed of the place of an order that rests, a number of `market.ASSUMPTIONS`.
        depths: the five best levels of both legs, where they are known; of live quotes each newest one (`levels`).
    """

    def __init__(
        self,
        latency: Latency,
        kinds: tuple[str, str],
        legs: tuple[LegRule, LegRule],
        max_quote_age_ns: int,
        place: int = BACK,
        depths: tuple[Depth, Depth] = (NO_DEPTH, NO_DEPTH),
    ) -> None:
        self._latency = latency
        self._polled = tuple(kind == SNAPSHOTS for kind in kinds)
        self._legs = legs
        self._patience_ns = max_quote_age_ns
        self._books: list[Book | None] = [None, None]
        self._working: list[Working | None] = [None, None]
        self._rests: list[PaperRest | None] = [None, None]
        self._place = place
        self._depths = list(depths)
        self._taken, self._entered_ns = [UNTOUCHED, UNTOUCHED], [UNTOUCHED.fresh_ns] * 2

    def place(self, orders: Sequence[Placed], now_ns: int) -> None:
        """Accept the orders of one decision."""
        for order_id, leg, order in orders:
            self.send(leg, order_id, order, now_ns)

    def cancel(self, leg: int, now_ns: int) -> None:
        """The cancel of an order that rests, or will, is under way; an IOC order ends by itself."""
        arrival_ns = now_ns + self._latency.ns(leg, now_ns)
        rest, working = self._rests[leg], self._working[leg]
        if rest:
            rest.cancel_ns = min(rest.cancel_ns, arrival_ns)
        elif working and working.order.post_only:
            self._working[leg] = working._replace(cancel_ns=max(arrival_ns, working.due_ns))

    def send(self, leg: int, order_id: str, order: Order, now_ns: int) -> None:
        """Accept an order at `now_ns`; its fate is decided at its arrival."""
        if out := self._working[leg] or self._rests[leg]:
            raise RuleError(f"{order_id}: the {LEGS[leg]} leg still has {out.order_id} working")
        arrival_ns = now_ns + self._latency.ns(leg, now_ns)
        # On polled snapshots nobody knows the book before the next row: the order waits for it, at most the quote age.
        due_ns = arrival_ns + self._patience_ns if self._polled[leg] else arrival_ns
        self._working[leg] = Working(order_id, order, arrival_ns, due_ns, None)

    def quote(self, leg: int, ts_ns: int, book: Book) -> None:
        """A row of a leg; called before any report of the same time is fetched."""
        self._books[leg] = book
        working = self._working[leg]
        if working and self._polled[leg] and working.met is None and working.arrival_ns <= ts_ns <= working.due_ns:
            self._working[leg] = working._replace(due_ns=ts_ns, met=book)
        if rest := self._rests[leg]:
            rest.on_row(ts_ns, book)

    def levels(self, leg: int, depth: Depth) -> None:
        """The newest levels of a leg."""
        self._depths[leg] = depth

    def best_only(self, now_ns: int) -> tuple[bool, bool]:
        """Of which leg no more than the best level is known now."""
        spot, perp = (not known_at(depth, now_ns, self._patience_ns) for depth in self._depths)
        return spot, perp

    def trade(self, leg: int, ts_ns: int, side: int, price: float, qty: float) -> None:
        """A trade of others on a leg, told before the rows of its stamp; `side` is its taker's."""
        if rest := self._rests[leg]:
            rest.on_trade(ts_ns, side, price, qty)

    def liquidation(self, ts_ns: int, state: State, perp: Book) -> Report | None:
        """The end of a short whose margin no longer suffices on this book."""
        price = liquidated_at(state, perp, self._legs[PERP])
        return Report(ts_ns, PERP, OUTSIDE, -state.legs[PERP].position, price) if price > 0.0 else None

    @property
    def due_ns(self) -> int:
        """When the next report is due; NEVER without one."""
        return min(self._due_ns(SPOT), self._due_ns(PERP))

    def _due_ns(self, leg: int) -> int:
        out = self._working[leg] or self._rests[leg]
        return out.due_ns if out else NEVER

    def report(self) -> Report:
        """The next report (spot first at equal times)."""
        leg = min((SPOT, PERP), key=self._due_ns)
        working, rest = self._working[leg], self._rests[leg]
        if rest:
            report = rest.report()
            self._rests[leg] = rest if report.remaining else None
            return report
        if working is None:
            raise RuleError("no order is working, there is nothing to report")
        self._working[leg] = None
        book = working.met if self._polled[leg] else self._books[leg]
        if working.order.post_only:
            return self._arrive(leg, working, book)
        if book is None:
            return Report(working.due_ns, leg, working.order_id, 0.0, 0.0)
        order, taken, step = working.order, self._taken[leg], self._legs[leg].step
        filled, price = fill(order.qty, order.limit, left_of(book, taken), step)
        if taken.fresh_ns != book.fresh_ns:
            known = self._depths[leg], working.due_ns, self._patience_ns
            into = into_levels(*known, order, price, filled, step, self._entered_ns[leg])
            filled, price, self._entered_ns[leg] = float(into[0]), float(into[1]), int(into[2])
        self._taken[leg] = with_taken(book, taken, filled)
        return Report(working.due_ns, leg, working.order_id, received(filled, self._legs[leg]), price)

    def _arrive(self, leg: int, working: Working, book: Book | None) -> Report:
        at_ns, of = working.due_ns, self._legs[leg]
        report, rest = rested(working.order_id, leg, working.order, at_ns, book, of, self._place)
        if rest:
            rest.cancel_ns, queued = working.cancel_ns, rest.queued
            if queued.ahead == UNKNOWN:
                known = self._depths[leg], at_ns, self._patience_ns
                rest.queued = queued._replace(ahead=float(ahead_at(*known, queued.side, queued.price)))
        self._rests[leg] = rest
        return report


class PaperWallets:
    """Both venues' wallets on paper: fills, fees, funding and transfers by the same rules as in the backtest."""

    def __init__(self, funds: Funds, leverage: float, payments: Sequence[FundingPayment] = ()) -> None:
        self.purse = funds.purse
        self._policy, self._leverage = funds.rebalancing, leverage
        self._due = list(reversed(payments))
        self._moving = NO_TRANSFER

    def at(self, event: Event, fill: Fill | None) -> Wallet:
        """What an entry may use now, funding and transfers up to now and this event's fill included."""
        for stamp in self._stamps(event.ts_ns):
            self.purse = moved(self.purse, PERP, -stamp.rate * stamp.mark * self.purse.perp_qty)
        if self._moving.arrives_ns <= event.ts_ns:
            self.purse = moved(self.purse, self._moving.to_leg, self._moving.usdt - self._moving.fee_usdt)
            self._moving = NO_TRANSFER
        purse = with_fill(self.purse, fill) if fill else self.purse
        return wallet_of(purse, event.perp, self._leverage)

    def booked(self, fill: Fill) -> None:
        """See `runner.Wallets`: a fill that the journal could not take comes again."""
        self.purse = with_fill(self.purse, fill)

    def _stamps(self, now_ns: int) -> Sequence[FundingPayment]:
        """The funding stamps that have come since it was asked last."""
        come = []
        while self._due and self._due[-1].ts_ns <= now_ns:
            come.append(self._due.pop())
        return come

    def lacked(self, event: Event) -> None:
        """A wallet could not pay: money is sent over, where the policy says so and none is under way."""
        if self._moving.usdt > 0.0:
            return
        self._moving = sent_transfer(event.wallet, event.ts_ns, self._policy)
        if self._moving.usdt > 0.0:
            self.purse = moved(self.purse, PERP if self._moving.to_leg == SPOT else SPOT, -self._moving.usdt)


BEGAN, SENT = "paper wallets", "paper transfer"  # kinds of notes
FULL = 2.0  # wallets that nobody stated hold so many times what is needed


class PaperAccount(PaperWallets):
    """The wallets of one session on paper.

    Args:
        assumed: what the parameters say of the wallets.
        payments: the funding stamps known so far; others add to it.
        since_ns: stamps up to then are in the journal's trades, or nobody's.
    """

    def __init__(
        self,
        config: Config,
        rule: MachineRule,
        assumed: WalletParams,
        journal: Journal,
        payments: Sequence[FundingPayment],
        since_ns: int,
        now_ns: int,
        say: Callable[[str], None],
    ) -> None:
        funds, why = begun(config, rule, assumed, journal)
        super().__init__(funds, rule.perp.leverage)
        self._payments, self._paid_ns = payments, since_ns
        self._journal, self._say = journal, say
        self.base = Baseline(funds.spot_usdt, funds.perp_usdt, funds.inventory, 0.0)
        self.purse = _later(funds, journal)
        for sent in (Transfer(*json.loads(text)) for text in journal.notes(SENT)):
            self.purse = moved(self.purse, _other(sent.to_leg), -sent.usdt)
            if sent.arrives_ns > now_ns:
                self._moving = sent
            else:
                self.purse = moved(self.purse, sent.to_leg, sent.usdt - sent.fee_usdt)
        say(f"paper wallets: spot {self.purse.spot_usdt:.2f} USDT, futures {self.purse.perp_usdt:.2f} USDT ({why})")

    def _stamps(self, now_ns: int) -> Sequence[FundingPayment]:
        if not self._payments or self._payments[-1].ts_ns <= self._paid_ns:
            return ()
        first, past = (bisect_right(self._payments, ns, key=lambda p: p.ts_ns) for ns in (self._paid_ns, now_ns))
        self._paid_ns = max(self._paid_ns, now_ns)
        return self._payments[first:past]

    def lacked(self, event: Event) -> None:
        """See `PaperWallets`; a transfer is noted for the next start."""
        before = self._moving
        super().lacked(event)
        if self._moving != before:
            self._journal.note(SENT, json.dumps(self._moving))
            source, target = (LEGS[leg] for leg in (_other(self._moving.to_leg), self._moving.to_leg))
            self._say(
                f"paper transfer: {self._moving.usdt:.2f} USDT from {source} to {target}, there at "
                f"{utc(self._moving.arrives_ns)} UTC"
            )

    def accounts(self, perp: Book, now_ns: int) -> tuple[Account, Account]:
        """Both wallets as a venue would tell of them."""
        free, purse = wallet_of(self.purse, perp, self._leverage), self.purse
        spot = Account(free.spot_usdt, purse.spot_usdt, purse.spot_coin, 0.0, 0.0, 0, now_ns)
        return spot, Account(free.perp_usdt, purse.perp_usdt, 0.0, purse.perp_qty, 0.0, 0, now_ns)


def begun(config: Config, rule: MachineRule, assumed: WalletParams, journal: Journal) -> tuple[Funds, str]:
    """What both wallets held at the beginning, and who says so: the configuration, an earlier start, the parameters, or
    what a position needs."""
    inventory = config.hedged_coins
    if stated := config.paper.funds(inventory):
        return stated, "began with what the configuration states under [paper]"
    transfers = NO_REBALANCING
    if assumed.transfer_delay_s:
        delay_ns = round(assumed.transfer_delay_s * NS)
        transfers = Rebalancing(assumed.transfer_least_usdt, assumed.transfer_fee_usdt, delay_ns)
    if noted := journal.last_note(BEGAN):
        return Funds(*json.loads(noted[1]), inventory, transfers), "began so at the first start; [paper] states others"
    usdt, why = (assumed.spot_usdt, assumed.perp_usdt), "what the parameters assumed"
    if not all(usdt):
        entering = rule if min(rule.entry, rule.reverse_entry) < math.inf else rule._replace(entry=0.0)
        floors = config.guards.min_spot_usdt, config.guards.min_margin_usdt
        usdt = tuple(FULL * (need + floor) for need, floor in zip(needs_usdt(entering), floors, strict=True))
        why = "twice what a full position and the guards' floors need"
    journal.note(BEGAN, json.dumps(usdt))
    return Funds(*usdt, inventory, transfers), f"{why}; [paper] in the configuration states others"


def _later(funds: Funds, journal: Journal) -> Purse:
    """The purse after everything in the journal but transfers."""
    (coins, position), (spot, perp) = journal.held(), journal.cash()
    return Purse(
        funds.spot_usdt + spot, funds.inventory + coins, funds.perp_usdt + perp + journal.funded_usdt(), position
    )


def _other(leg: int) -> int:
    return PERP if leg == SPOT else SPOT
