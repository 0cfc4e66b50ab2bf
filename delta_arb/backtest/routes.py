"""What many rules have in common on one tape: where two of them stand at the same place, they go on alike.

Rules that differ in their levels only part ways at rows where one of them is met and another is not. So what the
machine did from one rest to the next is kept as a `Stretch`, driven once, with the levels for which it leaves that rest
so (`Way`); a rule whose levels are among them goes on where the stretch ends, without a row being looked at.

    a rest (`Stand`)  flat, open or halted, no order under way; all flat rests at one row are one
    its ways          flat, armed: entries that no row has met before the one on which it left, and which that one meets
                      flat, disarmed: as much of the level less `rearm`, which is to be undercut
                      open: as much of the exit; by the longest hold, exits that no row has met, and entries by which
                      the time-out was put off until then
    its stretches     no level is looked at by `strategy.decide` while orders are out

Every rest is one of the replay's own, so the pairs of a rule are those of its replay, to the bit. What was taken of a
book that still stands is part of an open rest; a flat one is left through a shared stretch only when both books are new.
Needs money without end, no reverse pairs and one clip a pair: wallets remember all that was before.
"""

from typing import NamedTuple

import numpy as np

from delta_arb.backtest.event_loop import BEGINNING, Columns, Money, Place, Road, Stamps, drive
from delta_arb.backtest.fast_forward import (
    DIRECT_HIGH,
    DIRECT_LOW,
    REVERSE_HIGH,
    Looks,
    first_at,
    highest,
    perp_book,
    signal_at,
    spot_book,
)
from delta_arb.backtest.sweep_figures import Deal, Step, add_deal
from delta_arb.market import END, HALT, NEVER, UNTOUCHED, Fill, Taken
from delta_arb.strategy.ledger import closing, left_open
from delta_arb.strategy.state import FLAT, HALTED, OPEN, START

MOST = 2**13  # stretches that are kept from one rule to the next
SLOTS = 8 * MOST  # of the index of flat rests and of what leaves them; where it is half full, what is new is not shared
DISARMED = START._replace(armed=False)
LEAVES, OTHERWISE = range(2)  # how an open rest is left: at the exit level; by the clock or by the venue


class Ground(NamedTuple):
    """What drives share: the inputs of `driver.drive` besides a rule and a place, and the funding table with its holes."""

    tape: Columns
    looks: Looks
    spot_road: Road
    perp_road: Road
    money: Money
    stamps: Stamps
    payments: np.ndarray
    holes: np.ndarray


class Span(NamedTuple):
    """Rows `row` to `past` of a tape, traded from a flat start; the last of them at `end_ns`.

    Below `NEVER`, `until_ns` makes it a look-back: pairs entered from then on, or cut off by the end, do not count.
    """

    row: int
    past: int
    end_ns: int
    until_ns: int


class Way(NamedTuple):
    """The levels with which a stand is left by a stretch (0: it is not, on this tape), and the next way from there."""

    entry_low: float
    entry_high: float
    exit_low: float
    exit_high: float
    stretch: int
    following: int


class Stretch(NamedTuple):
    """From leaving a rest to the next one (`NEVER`: the tape ends before), at `stand`.

    Its fills are `first` to `past`, behind those of the stretches `before` of the same pair; `deal` is the pair if it has
    ended. `spot_fresh_ns` and `perp_fresh_ns` are of the books it left on, `spot_taken` and `perp_taken` what it took last.
    """

    left_ns: int
    rest_ns: int
    kind: int
    spot_fresh_ns: int
    perp_fresh_ns: int
    spot_taken: Taken
    perp_taken: Taken
    before: int
    first: int
    past: int
    deal: int
    stand: int


class Routes(NamedTuple):
    """All that was driven so far; in every list the number 0 stands for none.

    `ways` of a stand begin at `ways_from`, and `led_by` is the stretch that opened it, where a pair is open; `keys`,
    `values` and `used` are the index of what is found by its row.
    """

    stands: list[Place]
    ways_from: list[int]
    led_by: list[int]
    ways: list[Way]
    stretches: list[Stretch]
    fills: list[Fill]
    deals: list[Deal]
    steps: list[Step]
    keys: np.ndarray
    values: np.ndarray
    used: np.ndarray


def new_routes(slots):
    nothing = Stretch(0, 0, 0, 0, 0, UNTOUCHED, UNTOUCHED, 0, 0, 0, 0, 0)
    return Routes(
        [BEGINNING], [0], [0], [Way(0.0, 0.0, 0.0, 0.0, 0, 0)], [nothing], [Fill(0, 0, 0, 0.0, 0.0, 0.0)],
        [Deal(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0, 0, 0, False)], [Step(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)],
        np.full(slots, -1), np.zeros(slots, np.int64), np.zeros(1, np.int64),
    )  # fmt: skip


# --- One rule through a span ------------------------------------------------------------------------------------------


def follow(ground, rule, routes, span, kept, pausing):
    """Put the deals of a rule into `kept`; whether it ends halted, whether with an open pair, and whether it met a hole."""
    at, last, entered_ns, hole, whole = _flat_stand(ground, routes, span.row, True), 0, 0, False, span.until_ns == NEVER
    spot_taken, perp_taken = UNTOUCHED, UNTOUCHED
    cut = False
    while not cut and not _over(routes.stands[at].state, rule):
        flat = routes.stands[at].state.phase == FLAT
        number = _way_out(routes, at, rule)
        if number > 0 and flat:
            left = routes.stretches[number]
            if left.rest_ns > left.left_ns and _met_again(
                spot_taken, perp_taken, left.spot_fresh_ns, left.perp_fresh_ns
            ):
                number = -1
        if number < 0:
            number = driven(ground, rule, routes, at, spot_taken, perp_taken, pausing)
        left = routes.stretches[number]
        if number == 0 or left.left_ns > span.end_ns:
            break
        cut = left.rest_ns > span.end_ns
        at, last = left.stand, number
        if flat:
            entered_ns = left.left_ns
        if left.rest_ns > left.left_ns:
            spot_taken, perp_taken = left.spot_taken, left.perp_taken
        if not cut and left.deal > 0:
            hole = hole or routes.deals[left.deal].hole
            if entered_ns < span.until_ns:
                kept.append(left.deal)
    state = routes.stands[at].state
    halted = state.phase == HALTED and (whole or not cut)
    if (state.spot.position == 0.0 and state.perp.position == 0.0) or not (whole or halted):
        return halted, False, hole
    fills = _of_pair(routes, last)
    spot, perp = spot_book(ground.tape, span.past - 1), perp_book(ground.tape, span.past - 1)
    for f in left_open(state, spot, perp, span.end_ns, rule):
        fills.append(f)
    deal = add_deal(
        ground.payments, ground.holes, routes, fills, closing(state, spot, perp, span.end_ns, HALT if halted else END)
    )
    if entered_ns < span.until_ns:
        kept.append(deal)
    return halted, whole, hole or routes.deals[deal].hole


def _over(state, rule):
    """Whether nothing can happen any more: halted, and no short is left that the venue might take."""
    return state.phase == HALTED and not (rule.perp.maintenance > 0.0 and state.perp.position < 0.0)


def _way_out(routes, at, rule):
    """The number of the stretch by which a rule leaves a stand, -1 where that is not known."""
    entry = rule.entry if routes.stands[at].state.armed else rule.entry - rule.rearm
    number = routes.ways_from[at]
    while number > 0:
        way = routes.ways[number]
        if way.entry_low <= entry <= way.entry_high and way.exit_low <= rule.exit <= way.exit_high:
            return way.stretch
        number = way.following
    return -1


# --- What is new on the way -------------------------------------------------------------------------------------------


def _met_again(spot_taken, perp_taken, spot_fresh_ns, perp_fresh_ns):
    """Whether orders may meet a book that earlier ones have taken from: it was not new when they were sent."""
    return spot_taken.fresh_ns >= spot_fresh_ns or perp_taken.fresh_ns >= perp_fresh_ns


def driven(ground, rule, routes, at, spot_taken, perp_taken, pausing):
    """Drive a rule from a stand to its next rest; the number of the stretch, 0 where nothing more happens on the tape."""
    place = routes.stands[at]
    flat = place.state.phase == FLAT
    if flat:
        place = Place(place.state, place.row, place.now_ns, spot_taken, perp_taken)
    done = drive(
        ground.tape, ground.looks, ground.spot_road, ground.perp_road, rule, ground.money, ground.stamps, place, pausing
    )
    if done.left_ns == NEVER:
        _add_way(ground, rule, routes, at, NEVER, len(ground.tape.ts_ns), OTHERWISE, 0)
        return 0
    row = max(first_at(ground.tape.ts_ns, place.row, done.left_ns + 1) - 1, 0)  # whose books it left on
    kind = _kind(ground, rule, done, row)
    key = 4 * row + (2 if place.state.armed else 3)
    again = flat and done.place.now_ns > done.left_ns and _met_again(spot_taken, perp_taken, *_fresh(ground, row))
    number = 0 if again else _known(routes, at, flat, key, done.left_ns, kind)
    if number == 0:
        number = _add_stretch(ground, routes, at, done, row, kind)
    if again:
        return number
    if flat:
        _note(routes, key, number)
    _add_way(ground, rule, routes, at, done.left_ns, row, kind, number)
    return number


def _fresh(ground, row):
    """When the books in force at a row were confirmed."""
    return spot_book(ground.tape, row).fresh_ns, perp_book(ground.tape, row).fresh_ns


def _kind(ground, rule, done, row):
    if len(done.sent) == 0 or (len(done.fills) > 0 and done.fills[0].ts_ns == done.left_ns):  # nobody of us ordered it
        return OTHERWISE
    return LEAVES if -signal_at(ground.tape, ground.looks, REVERSE_HIGH, row) <= rule.exit else OTHERWISE


def _known(routes, at, flat, key, left_ns, kind):
    """The number of the same stretch, if it was driven before."""
    if flat:
        slot = _slot(routes, key)
        return routes.values[slot] if routes.keys[slot] == key else 0
    way = routes.ways_from[at]
    while way > 0:
        number = routes.ways[way].stretch
        if routes.stretches[number].left_ns == left_ns and routes.stretches[number].kind == kind:
            return number
        way = routes.ways[way].following
    return 0


def _add_way(ground, rule, routes, at, left_ns, row, kind, number):
    """Note for which levels a stand is left so: those that no row before has met, and this one does."""
    tape, seen, place, inf = ground.tape, ground.looks, routes.stands[at], np.inf
    state, n = place.state, len(tape.ts_ns)
    before, past = row, min(row + 1, n)  # rows before the one that it left on, and with that
    begin = min(place.row, row) if state.phase == FLAT else max(place.row - 1, 0)  # a timer looks at the row in force
    entry_low, entry_high, exit_low, exit_high = -inf, inf, -inf, inf
    if state.phase == FLAT and state.armed:
        entry_low = min(rule.entry, _above(highest(tape, seen, DIRECT_HIGH, begin, before)))
        entry_high = highest(tape, seen, DIRECT_HIGH, before, past) if number > 0 else inf
    elif state.phase == FLAT:
        entry_low = _above(-highest(tape, seen, DIRECT_LOW, before, past)) if number > 0 else -inf
        entry_high = max(rule.entry - rule.rearm, -highest(tape, seen, DIRECT_LOW, begin, before))
    elif state.phase == OPEN:
        due_ns, leaves = state.opened_ns + rule.max_hold_ns, kind == LEAVES
        met = highest(tape, seen, REVERSE_HIGH, begin, before if leaves else past)
        exit_low = -highest(tape, seen, REVERSE_HIGH, before, past) if leaves else -inf
        exit_high = max(rule.exit, -_above(met))
        if left_ns >= due_ns and not leaves and number > 0:
            entry_low = min(rule.entry, _above(highest(tape, seen, DIRECT_HIGH, before, past)))
        if min(left_ns, tape.ts_ns[n - 1] + 1) > due_ns:  # the time-out was put off for as long as opening paid
            due = max(first_at(tape.ts_ns, begin, due_ns + 1) - 1, begin)
            stayed = before if number == 0 or tape.ts_ns[row] == left_ns else past
            entry_high = max(rule.entry, -highest(tape, seen, DIRECT_LOW, due, stayed))
    routes.ways.append(Way(entry_low, entry_high, exit_low, exit_high, number, routes.ways_from[at]))
    routes.ways_from[at] = len(routes.ways) - 1


def _above(level):
    """The next number above a level."""
    return np.nextafter(level, np.inf)


def _add_stretch(ground, routes, at, done, row, kind):
    place, number, first, deal = done.place, len(routes.stretches), len(routes.fills), 0
    resting = place.state.phase == FLAT or place.state.phase == OPEN or place.state.phase == HALTED
    for f in done.fills:
        routes.fills.append(f)
    left = Stretch(
        done.left_ns, place.now_ns if resting else NEVER, kind, *_fresh(ground, row), place.spot_taken, place.perp_taken,
        routes.led_by[at], first, len(routes.fills), 0, 0,
    )  # fmt: skip
    routes.stretches.append(left)
    if len(done.closings) > 0:
        deal = add_deal(ground.payments, ground.holes, routes, _of_pair(routes, number), done.closings[0])
    if place.state.phase == FLAT:
        stand = _flat_stand(ground, routes, place.row, place.state.armed)
    else:
        stand = _add_stand(routes, place, number)
    routes.stretches[number] = Stretch(
        left.left_ns, left.rest_ns, kind, left.spot_fresh_ns, left.perp_fresh_ns, left.spot_taken, left.perp_taken,
        left.before, first, left.past, deal, stand,
    )  # fmt: skip
    return number


def _of_pair(routes, number):
    """The fills of a pair up to the end of a stretch."""
    numbers = [number]
    while routes.stretches[numbers[-1]].before > 0:
        numbers.append(routes.stretches[numbers[-1]].before)
    fills = [routes.fills[0] for _ in range(0)]
    for k in range(len(numbers) - 1, -1, -1):
        of = routes.stretches[numbers[k]]
        for j in range(of.first, of.past):
            fills.append(routes.fills[j])  # noqa: PERF401, numba knows no extend by a generator
    return fills


def _flat_stand(ground, routes, row, armed):
    key = 4 * row + (1 if armed else 0)
    slot = _slot(routes, key)
    if routes.keys[slot] == key:
        return routes.values[slot]
    now_ns = ground.tape.ts_ns[max(row - 1, 0)]
    stand = _add_stand(routes, Place(START if armed else DISARMED, row, now_ns, UNTOUCHED, UNTOUCHED), 0)
    _note(routes, key, stand)
    return stand


def _add_stand(routes, place, led_by):
    routes.stands.append(place)
    routes.ways_from.append(0)
    routes.led_by.append(led_by)
    return len(routes.stands) - 1


def _slot(routes, key):
    """Where a key is in the index, or would be."""
    slot = (key ^ key >> 15) * 0x2C1B3C6D & 0xFFFFFFFF
    slot = (slot ^ slot >> 12) * 0x297A2D39 & 0xFFFFFFFF  # neighbouring rows must not be neighbours here
    slot = (slot ^ slot >> 15) & len(routes.keys) - 1
    while routes.keys[slot] >= 0 and routes.keys[slot] != key:
        slot = (slot + 1) & (len(routes.keys) - 1)
    return slot


def _note(routes, key, value):
    if 2 * routes.used[0] < len(routes.keys):
        slot = _slot(routes, key)
        routes.keys[slot], routes.values[slot] = key, value
        routes.used[0] += 1
