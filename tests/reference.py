"""A second replay, written from the design and not from the code: slow, with objects and one queue of events.

It shares with `delta_arb` the words of its results (order, fill, closing) and nothing else: no formula, no rule of the
machine, no look-up on the tape, not even the filter of the signal. Where both agree on random tapes, a mistake must
have been made twice.
"""

import heapq
import itertools
import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

SPOT, PERP = 0, 1
FLAT, ENTERING, OPEN, EXITING, HEDGING, HALTED = "flat", "entering", "open", "exiting", "hedging", "halted"
TARGET, TIMEOUT, GUARD, UNWOUND, END = "target", "time-out", "guard", "unwound", "end of data"
REPORT_RANK = {SPOT: 0, PERP: 1}
QUOTE_RANK, ALARM_RANK = 2, 3


@dataclass(frozen=True)
class Quote:
    ts: int
    leg: int
    bid: float
    ask: float
    bid_qty: float
    ask_qty: float
    fresh: int


def quotes_by_hand(rows):
    return [Quote(*row, fresh=row[0]) for row in rows]


def quotes_of(tape):
    """The rows of a tape, each with its own leg's book, after the book that the other leg had at the beginning."""
    legs = {
        leg: [getattr(tape, f"{name}_{column}").tolist() for column in ("bid", "ask", "bid_qty", "ask_qty", "age_ns")]
        for leg, name in ((SPOT, "spot"), (PERP, "perp"))
    }
    rows = []
    for i, (ts, leg) in enumerate(zip(tape.ts_ns.tolist(), tape.leg.tolist())):
        if i == 0:
            *values, age = (column[0] for column in legs[1 - leg])
            rows.append(Quote(ts - age, 1 - leg, *values, fresh=ts - age))
        *values, age = (column[i] for column in legs[leg])
        rows.append(Quote(ts, leg, *values, fresh=ts - age))
    return rows


class Venue:
    """One market: what it shows at a time, and what becomes of an order that is sent to it."""

    def __init__(self, quotes, latency, polled, max_age):
        self.quotes = quotes
        self.stamps = [q.ts for q in quotes]
        self.latency, self.polled, self.max_age = latency, polled, max_age
        self.touched, self.gone = None, {"buy": 0.0, "sell": 0.0}  # the confirmation we took from, and how much

    def fate(self, sent, qty, limit, step):
        """(when it is known, signed quantity filled, price) of an order sent at `sent`."""
        stamps, latencies = self.latency
        arrival = sent + latencies[max(bisect_right(stamps, sent), 1) - 1]
        if self.polled:
            i = bisect_left(self.stamps, arrival)
            if i == len(self.stamps) or self.stamps[i] > arrival + self.max_age:
                return arrival + self.max_age, 0.0, 0.0
            known = self.stamps[i]
        else:
            i = bisect_right(self.stamps, arrival) - 1
            known = arrival
        met = self.quotes[i]
        price, shown = (met.ask, met.ask_qty) if qty > 0 else (met.bid, met.bid_qty)
        beyond = price > limit if qty > 0 else price < limit
        if beyond or met.bid >= met.ask:
            return known, 0.0, 0.0
        if self.touched != met.fresh:
            self.touched, self.gone = met.fresh, {"buy": 0.0, "sell": 0.0}
        side = "buy" if qty > 0 else "sell"
        got = on_grid(min(abs(qty), max(shown - self.gone[side], 0.0)), step)
        self.gone[side] += got
        return known, got if qty > 0 else -got, price


def grossed(qty, rules):
    """What must be bought so that `qty` coins arrive; where the fee is paid in coins, more than that, on the grid."""
    if not rules.fee_in_base:
        return qty
    gross = qty / (1 - rules.fee)
    if not rules.step:
        return gross
    steps = round(gross / rules.step)
    return (steps if steps * rules.step - gross > -1e-9 * rules.step else steps + 1) * rules.step


def on_tick(price, tick, up):
    if not tick:
        return price
    ticks = round(price / tick)
    if up:
        return (ticks if ticks * tick - price > -1e-9 * tick else ticks + 1) * tick
    return (ticks if ticks * tick - price < 1e-9 * tick else ticks - 1) * tick


def on_grid(qty, step):
    if not step:
        return qty
    steps = int(qty / step)
    return (steps + 1 if (steps + 1) * step - qty < 1e-9 * step else steps) * step


class Signal:
    """What a filtered signal adds to an edge: the level believed in, less the basis that the two mids show.

    In the language of information: a belief is a level and a precision; belief and observation are weighed by theirs.
    """

    def __init__(self, process):
        self.process, self.level, self.spread, self.seen, self.shift = process, process.mean, process.sd**2, None, 0.0

    def look(self, now, spot, perp):
        self.shift = 0.0
        if not self.process.noise_sd or any(q.bid >= q.ask or not q.bid_qty or not q.ask_qty for q in (spot, perp)):
            return
        if any(now - q.fresh > self.process.max_age_ns for q in (spot, perp)):
            return
        mid = (spot.bid + spot.ask) / 2
        shown = ((perp.bid + perp.ask) / 2 - mid) / mid
        believed, spread = self.process.mean, self.process.sd**2
        if self.seen is not None:
            elapsed = (now - self.seen) / 1e9
            decay = math.exp(-self.process.theta * elapsed)
            believed += decay * (self.level - believed)
            spread -= decay**2 * (spread - self.spread)
            if elapsed < self.process.step_s:
                self.shift = believed - shown
                return
        precision = 1 / spread + 1 / self.process.noise_sd**2
        self.level = (believed / spread + shown / self.process.noise_sd**2) / precision
        self.spread, self.seen = 1 / precision, now
        self.shift = self.level - shown


@dataclass
class Side:
    """What the machine knows of one leg."""

    rules: object
    held: float = 0.0
    paid: float = 0.0  # mean price of what is held
    decided: float = 0.0
    out: bool = False

    def takes(self, qty, price):
        """The part of a quantity that the venue would take as an order."""
        qty = on_grid(qty, self.rules.step)
        big_enough = qty >= self.rules.min_qty and qty * price >= max(self.rules.min_notional_usdt, 1e-9)
        return qty if big_enough else 0.0

    def book_fill(self, qty, price):
        before, self.held = self.held, self.held + qty
        if qty * self.held > 0 and abs(self.held) > abs(before):
            self.paid = (self.paid * abs(before) + price * abs(qty)) / abs(self.held)
        self.out = False


@dataclass
class Outcome:
    orders: list = field(default_factory=list)  # (pair, ts, leg, phase, qty, limit)
    fills: list = field(default_factory=list)  # (pair, ts, leg, qty, price, fee)
    closings: list = field(default_factory=list)  # (pair, ts, reason, spot bid, perp ask)
    nets: dict = field(default_factory=dict)  # pair -> USDT
    refusals: list = field(default_factory=list)
    halted: bool = False
    most_naked: float = 0.0


class Replay:
    def __init__(self, quotes, rule, latency, kinds, inventory=0.0):
        self.coins = inventory
        self.rule, self.deadline = rule, rule.leg_deadline_ns
        start, end = quotes[0].ts, quotes[-1].ts
        tables = [[column.tolist() for column in latency.between(leg, start, end)] for leg in (SPOT, PERP)]
        self.venues = [
            Venue(
                [q for q in quotes if q.leg == leg], tables[leg], kinds[leg] == "snapshots",
                rule.max_quote_age_ns,
            )
            for leg in (SPOT, PERP)
        ]  # fmt: skip
        self.queue, self.numbers = [], itertools.count()
        for q in quotes:
            self.push(q.ts, QUOTE_RANK, q)
        self.end = quotes[-1].ts
        self.books = [None, None]
        self.sides = [Side(rule.spot), Side(rule.perp)]
        self.phase, self.pair, self.leaving, self.reason = FLAT, 0, False, ""
        self.long_spot, self.armed = True, {True: True, False: True}  # the direction, and which ones may be entered
        self.size, self.opened, self.naked_since, self.alarm = 0.0, 0, None, None
        self.signal = Signal(rule.filter)
        self.outcome, self.poor = Outcome(), False
        self.shy_until = 0  # no hedge is tried before

    def push(self, ts, rank, what):
        heapq.heappush(self.queue, (ts, rank, next(self.numbers), what))

    def ring(self, now, ts):
        """Ask for an alarm at `ts`, or at once where that is past; the newest alarm replaces the one before."""
        self.alarm = object()
        if ts is not None:
            self.push(max(now, ts), ALARM_RANK, self.alarm)

    def run(self):
        while self.queue and self.queue[0][0] <= self.end:
            now, rank, _, what = heapq.heappop(self.queue)
            if rank == QUOTE_RANK:
                self.books[what.leg] = what
                if None in self.books or (self.queue and self.queue[0][:2] == (now, QUOTE_RANK)):
                    continue  # what is quoted at one instant is seen at once
                self.signal.look(now, *self.books)
            elif rank == ALARM_RANK:
                if what is not self.alarm:
                    continue
            else:
                leg, qty, price = what
                self.sides[leg].book_fill(qty, price)
                if self.phase == HEDGING:
                    unequal_for = now - self.naked_since
                    pause = sorted((self.deadline // 100, unequal_for, self.deadline // 50))[1]
                    stages = [self.naked_since + k * self.deadline for k in (1, 2)]
                    self.shy_until = 0 if qty else min([now + pause, *(end for end in stages if end > now)])
                self.coins += qty if leg == SPOT else 0.0
                if qty:
                    fee = self.fee(leg, qty, price)
                    self.outcome.fills.append((self.pair, now, leg, qty, price, fee))
            self.outcome.most_naked = max(self.outcome.most_naked, abs(self.sides[SPOT].held + self.sides[PERP].held))
            self.look(now)
        self.close_what_is_left()
        return self.outcome

    # --- the machine

    def look(self, now):
        if any(side.out for side in self.sides) or self.phase == HALTED:
            return
        if self.phase == FLAT:
            self.look_for_entry(now)
        elif self.phase == OPEN:
            self.look_for_exit(now)
        else:
            self.settle(now)

    def good(self, leg, now):
        q = self.books[leg]
        return now - q.fresh <= self.rule.max_quote_age_ns and q.bid < q.ask and min(q.bid_qty, q.ask_qty) > 0

    def all_good(self, now):
        return self.good(SPOT, now) and self.good(PERP, now)

    def opening_pays(self, long_spot):
        spot, perp = self.books
        if long_spot:
            return (perp.bid - spot.ask) / spot.ask + self.signal.shift
        return (spot.bid - perp.ask) / spot.bid - self.signal.shift

    def closing_costs(self):
        spot, perp = self.books
        if self.long_spot:
            return (perp.ask - spot.bid) / spot.bid + self.signal.shift
        return (spot.ask - perp.bid) / spot.ask - self.signal.shift

    def entry_level(self, long_spot):
        return self.rule.entry if long_spot else self.rule.reverse_entry

    def look_for_entry(self, now):
        if not self.all_good(now):
            return
        for long_spot in (True, False):
            pays, level = self.opening_pays(long_spot), self.entry_level(long_spot)
            if not self.armed[long_spot]:
                self.armed[long_spot] = pays < level - self.rule.rearm
        for long_spot in (True, False):
            wanted = self.armed[long_spot] and self.opening_pays(long_spot) >= self.entry_level(long_spot)
            if wanted and self.rule.may_enter and not self.rule.flatten:
                self.enter(now, long_spot)
                return
        if self.rule.may_enter and not self.rule.flatten:
            self.poor = False

    def look_for_another_clip(self, now):
        """True when one was sent; books must be newer than the clip before."""
        limit = self.rule.max_position_usdt
        wanted = limit > self.rule.clip_usdt and self.rule.may_enter and not self.rule.flatten and self.all_good(now)
        wanted = wanted and all(q.fresh > self.clip_sent for q in self.books)
        if not (wanted and self.opening_pays(self.long_spot) >= self.entry_level(self.long_spot)):
            self.poor = False
            return False
        self.enter(now, self.long_spot, adding=True)
        return self.phase == ENTERING

    def enter(self, now, long_spot, adding=False):
        spot, perp = self.books
        if long_spot:
            (spot_price, spot_shown), (perp_price, perp_shown) = (spot.ask, spot.ask_qty), (perp.bid, perp.bid_qty)
        else:
            (spot_price, spot_shown), (perp_price, perp_shown) = (spot.bid, spot.bid_qty), (perp.ask, perp.ask_qty)
        ways = (1, -1) if long_spot else (-1, 1)
        shown = min(self.reach(leg, way, qty) for leg, way, qty in zip((SPOT, PERP), ways, (spot_shown, perp_shown)))
        held = abs(self.sides[SPOT].held) if adding else 0.0
        money = (
            min(self.rule.clip_usdt, self.rule.max_position_usdt - held * spot_price) if adding else self.rule.clip_usdt
        )
        qty = on_grid(min(money / spot_price, shown), self.rule.step) if money > 0 else 0.0
        if not self.sides[SPOT].takes(qty, spot_price) or not self.sides[PERP].takes(qty, perp_price):
            return
        if not long_spot and self.coins < qty:
            if not self.poor:
                self.outcome.refusals.append(now)
            self.poor = True
            return
        self.poor = False
        self.phase, self.size, self.clip_sent = ENTERING, held + qty, now
        if adding:
            self.reason = ""
            self.sides[SPOT].decided, self.sides[PERP].decided = spot_price, perp_price
        else:
            self.pair, self.opened = self.pair + 1, now
            self.long_spot, self.leaving, self.reason = long_spot, False, ""
            self.sides = [Side(self.rule.spot, decided=spot_price), Side(self.rule.perp, decided=perp_price)]
        self.send(now, SPOT, qty if long_spot else -qty)
        self.send(now, PERP, -qty if long_spot else qty)

    def look_for_exit(self, now):
        due = self.opened + self.rule.max_hold_ns
        reason = self.why_leave(now, due)
        sizes = self.exit_sizes(forced=reason != TARGET) if reason else (0.0, 0.0)
        if not any(sizes):
            if not reason and self.look_for_another_clip(now):
                return
            self.ring(now, next((ts for ts in (due, due + self.deadline) if ts > now), None))
            return
        self.phase, self.leaving, self.reason = EXITING, True, reason
        for leg, price in zip((SPOT, PERP), self.way_out()):
            self.sides[leg].decided = price
            self.send(now, leg, -sizes[leg] if self.sides[leg].held > 0 else sizes[leg])

    def way_out(self):
        """Prices at which the two legs of the pair are closed."""
        spot, perp = self.books
        return (spot.bid, perp.ask) if self.long_spot else (spot.ask, perp.bid)

    def why_leave(self, now, due):
        good = self.all_good(now)
        if good and self.closing_costs() <= (self.rule.exit if self.long_spot else self.rule.reverse_exit):
            return TARGET
        late = now >= due + self.deadline and all(b.bid < b.ask and min(b.bid_qty, b.ask_qty) > 0 for b in self.books)
        if self.rule.flatten and (good or late):
            return GUARD
        if self.rule.flatten or now < due:
            return None
        if good:
            pays = self.opening_pays(self.long_spot) >= self.entry_level(self.long_spot)
            return None if self.rule.may_enter and pays else TIMEOUT
        return TIMEOUT if late else None

    def reach(self, leg, way, shown):
        """What of a shown quantity ends up in the position when it is bought (way 1) or sold."""
        rules, shown = self.sides[leg].rules, shown * self.rule.participation
        return on_grid(shown, rules.step) * (1 - rules.fee) if way > 0 and rules.fee_in_base else shown

    def exit_sizes(self, forced):
        spot, perp = self.books
        sides, prices = self.sides, self.way_out()
        whole = tuple(sides[leg].takes(abs(sides[leg].held), prices[leg]) for leg in (SPOT, PERP))
        if self.long_spot:
            shown = min(self.reach(SPOT, -1, spot.bid_qty), self.reach(PERP, 1, perp.ask_qty))
        else:
            shown = min(self.reach(SPOT, 1, spot.ask_qty), self.reach(PERP, -1, perp.bid_qty))
        several = self.rule.max_position_usdt > self.rule.clip_usdt and sides[SPOT].paid
        clip = self.rule.clip_usdt / sides[SPOT].paid if several else max(whole)
        shown = min(shown, clip)
        if shown >= max(whole):
            return whole

        def taken(qty):
            return all(side.takes(qty, price) for side, price in zip(sides, prices))

        slice_ = on_grid(shown, self.rule.step)
        if not taken(slice_):
            if not forced:
                return 0.0, 0.0
            slice_ = on_grid(min(clip, max(whole)), self.rule.step)
        if not taken(slice_) or not taken(max(whole) - slice_):
            return whole
        return min(slice_, whole[SPOT]), min(slice_, whole[PERP])

    def settle(self, now):
        """All orders are back: mend a difference, or note that the pair is open or closed."""
        spot, perp = self.sides
        excess = spot.held + perp.held
        cut, grow = self.mending(excess)
        tolerated = 0.0 if self.leaving else self.rule.leg_tolerance * self.size
        if abs(excess) > tolerated and (cut or grow):
            self.hedge(now, excess, cut, grow)
            return
        self.naked_since = None
        left = [
            side.takes(abs(side.held), book.bid if side.held >= 0 else book.ask)
            for side, book in zip(self.sides, self.books)
        ]
        if any(left):
            self.phase, self.leaving = OPEN, False
            self.ring(now, self.opened + self.rule.max_hold_ns)
            return
        self.reason = self.reason if self.leaving else UNWOUND
        self.armed[self.long_spot] = self.reason == TARGET or not (spot.paid or perp.paid)
        self.close((self.pair, now, self.reason, *self.way_out()))
        self.phase = FLAT
        self.ring(now, None)

    def mending(self, excess):
        """Quantities that the venues would take to reduce the longer leg, and to complete the shorter one."""
        prices = [book.bid if excess > 0 else book.ask for book in self.books]
        longer, shorter = self.longer_first(excess)
        cut, grow = (self.sides[leg].takes(abs(excess), prices[leg]) for leg in (longer, shorter))
        return cut, 0.0 if self.leaving else grow

    def longer_first(self, excess):
        """The longer leg is the one that carries the sign of the sum; one step too many bought back can turn a leg around."""
        return (
            (SPOT, PERP)
            if self.sides[SPOT].held * excess > 0 and abs(self.sides[SPOT].held) >= abs(excess)
            else (PERP, SPOT)
        )

    def hedge(self, now, excess, cut, grow):
        if self.naked_since is None:
            self.naked_since, self.shy_until = now, 0
        waited = now - self.naked_since
        if waited >= 2 * self.deadline:
            self.phase = HALTED
            self.ring(now, None)
            return
        self.phase = HEDGING
        late = waited >= self.deadline
        end = self.naked_since + (2 if late else 1) * self.deadline
        if now < self.shy_until:
            self.ring(now, self.shy_until)
            return
        self.ring(now, end)
        longer, shorter = self.longer_first(excess)
        side = -1 if excess > 0 else 1  # too much spot: both remedies sell; too little: both buy
        can_complete = grow and self.good(shorter, now)
        cheaper = not late and self.completing_costs(shorter, side) < self.unwinding_costs(longer, side)
        if can_complete and (cheaper or not cut):
            self.send(now, shorter, side * grow)
        elif late or self.good(longer, now):
            self.send(now, longer, side * cut)

    def completing_costs(self, leg, side):
        return self.loss(leg, side, self.sides[leg].decided)

    def unwinding_costs(self, leg, side):
        return self.loss(leg, side, self.sides[leg].paid) + 2 * self.sides[leg].rules.fee

    def loss(self, leg, side, once):
        """How much worse the market is now than a price it once had, for who buys (side 1) or sells (-1); a fraction."""
        now = self.books[leg].ask if side > 0 else self.books[leg].bid
        return (now - once) / now if side > 0 else (once - now) / now

    # --- orders and money

    def send(self, now, leg, qty):
        if not qty:
            return
        book, bound = self.books[leg], self.rule.price_bound
        rules = self.sides[leg].rules
        limit = (
            on_tick(book.ask * (1 + bound), rules.tick, False)
            if qty > 0
            else on_tick(book.bid * (1 - bound), rules.tick, True)
        )
        if qty > 0:
            qty = grossed(qty, rules)
        self.outcome.orders.append((self.pair, now, leg, self.phase, qty, limit))
        known, filled, price = self.venues[leg].fate(now, qty, limit, rules.step)
        if filled > 0 and rules.fee_in_base:
            filled *= 1 - rules.fee
        self.sides[leg].out = True
        self.push(known, REPORT_RANK[leg], (leg, filled, price))

    def fee(self, leg, qty, price):
        """In USDT, of what was traded: more than what arrived where the venue kept coins."""
        rules = self.sides[leg].rules
        return rules.fee * (qty / (1 - rules.fee) if qty > 0 and rules.fee_in_base else abs(qty)) * price

    def close(self, closing):
        """Book the money of the pair: cash of its fills, and what is left at the exit side."""
        self.outcome.closings.append(closing)
        fills = [f for f in self.outcome.fills if f[0] == self.pair]
        if fills:
            net = 0.0
            for _, _, leg, qty, price, fee in fills:
                net += qty * (closing[3 + leg] - price) - fee
            self.outcome.nets[self.pair] = net

    def close_what_is_left(self):
        self.outcome.halted = self.phase == HALTED
        if self.phase == FLAT or not any(side.held for side in self.sides):
            return
        for leg, (side, book) in enumerate(zip(self.sides, self.books)):
            if side.held:
                price = book.bid if side.held > 0 else book.ask
                fee = self.fee(leg, -side.held, price)
                self.outcome.fills.append((self.pair, self.end, leg, -side.held, price, fee))
        self.close((self.pair, self.end, "halted" if self.outcome.halted else END, *self.way_out()))
