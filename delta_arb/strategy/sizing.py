"""How much an order may be, and at what price: venue grids and minima, what the best levels show, the price bound,
and what mends legs that differ."""

import math

from delta_arb.market import PERP, SPOT, Book, Order, ceil_to, exit_price, floor_to, tradable
from delta_arb.strategy.state import DIRECT, NO_ORDER, Event, LegRule, MachineRule, State


def usable(book: Book, ts_ns: int, rule: MachineRule) -> bool:
    """Fresh and tradable."""
    return ts_ns - book.fresh_ns <= rule.max_quote_age_ns and tradable(book)


def orderable(qty: float, price: float, leg: LegRule) -> float:
    """The part of `qty` (>= 0) that the venue would take as an order, 0.0 when it is below a minimum."""
    qty = floor_to(qty, leg.step)
    if qty < leg.min_qty or qty * price < leg.min_notional_usdt or qty * price < 1e-9:
        return 0.0
    return qty


def shown_qty(selling: float, book: Book, leg: LegRule, participation: float) -> float:
    """What an order that sells (`selling` >= 0) or buys could trade of the best level, net of a fee taken in coins."""
    if selling >= 0.0:
        return book.bid_qty * participation
    return (
        received(floor_to(book.ask_qty * participation, leg.step), leg)
        if leg.fee_in_base
        else book.ask_qty * participation
    )


def received(filled: float, leg: LegRule, rested: bool = False) -> float:
    """What a fill changes of the position: a purchase whose fee is taken in coins is delivered without them."""
    fee = leg.maker_fee if rested else leg.fee
    return filled * (1.0 - fee) if leg.fee_in_base and filled > 0.0 else filled


def ordered(qty: float, leg: LegRule) -> float:
    """What must be ordered for `qty` to be received: more of a purchase whose fee is taken in coins, on the grid."""
    return ceil_to(qty / (1.0 - leg.fee), leg.step) if leg.fee_in_base and qty > 0.0 else qty


def fee_usdt(qty: float, price: float, leg: LegRule, rested: bool = False) -> float:
    """The fee of a fill that changed the position by `qty`; coins that the venue kept are worth what they cost."""
    fee = leg.maker_fee if rested else leg.fee
    if leg.fee_in_base and qty > 0.0:
        return fee * (qty / (1.0 - fee)) * price
    return fee * abs(qty) * price


def entry_qty(side: int, usdt: float, event: Event, rule: MachineRule) -> float:
    """A clip of so many USDT on both venues' grids, at most what both best levels show times the participation.

    0.0 when a venue would not take it.
    """
    spot_price, perp_price = exit_price(-side, event.spot), exit_price(side, event.perp)
    spot_shown = shown_qty(-side, event.spot, rule.spot, rule.participation)
    shown = min(spot_shown, shown_qty(side, event.perp, rule.perp, rule.participation))
    qty = floor_to(min(usdt / spot_price, shown), rule.step)
    if orderable(qty, spot_price, rule.spot) == 0.0 or orderable(qty, perp_price, rule.perp) == 0.0:
        return 0.0
    return qty


def affordable(side: int, qty: float, event: Event, rule: MachineRule) -> bool:
    """Whether both wallets can pay for an entry: the spot order within its price bound, margin and fee of the perpetual's.

    A reverse pair needs the coins that it sells; the perpetual that it buys unwinds a short and only costs its fee.
    """
    if side == DIRECT:
        spot_usdt = ordered(qty, rule.spot) * event.spot.ask * (1.0 + rule.price_bound)
        spot_usdt += 0.0 if rule.spot.fee_in_base else rule.spot.fee * spot_usdt
        perp_usdt = qty * event.perp.bid * (1.0 / rule.perp.leverage + rule.perp.fee)
        return spot_usdt <= event.wallet.spot_usdt and perp_usdt <= event.wallet.perp_usdt
    perp_usdt = qty * event.perp.ask * (1.0 + rule.price_bound) * rule.perp.fee
    return qty <= event.wallet.spot_coin and perp_usdt <= event.wallet.perp_usdt


def needs_usdt(rule: MachineRule) -> tuple[float, float]:
    """What a full position takes of the spot wallet and of the perpetual's, USDT, as `affordable` counts its clips.

    0.0 where nothing is entered. A reverse position takes coins, and of the perpetual's wallet its fee.
    """
    full_usdt = max(rule.clip_usdt, rule.max_position_usdt)
    bound_usdt = full_usdt * (1.0 + rule.price_bound)
    if rule.entry < math.inf:
        fee = rule.spot.fee
        spot_usdt = bound_usdt / (1.0 - fee) if rule.spot.fee_in_base else bound_usdt * (1.0 + fee)
        return spot_usdt, full_usdt * (1.0 / rule.perp.leverage + rule.perp.fee)
    return 0.0, bound_usdt * rule.perp.fee if rule.reverse_entry < math.inf else 0.0


def exit_qty(state: State, event: Event, rule: MachineRule, force: bool) -> tuple[float, float]:
    """Signed quantities that close the pair, or the slice of it that both best levels show, at most one clip.

    With less shown than one tradable slice, a target exit waits; a forced one sends a clip whatever is shown.
    """
    side = state.side
    spot_price, perp_price = exit_price(side, event.spot), exit_price(-side, event.perp)
    spot_all = orderable(side * state.legs[SPOT].position, spot_price, rule.spot)
    perp_all = orderable(-side * state.legs[PERP].position, perp_price, rule.perp)
    spot_shown = shown_qty(side, event.spot, rule.spot, rule.participation)
    average = state.legs[SPOT].average  # what one clip of several bought, at their mean price
    clip = rule.clip_usdt / average if rule.max_position_usdt > rule.clip_usdt and average != 0.0 else math.inf
    shown = min(spot_shown, shown_qty(-side, event.perp, rule.perp, rule.participation), clip)
    if shown >= max(spot_all, perp_all):
        return -side * spot_all, side * perp_all
    part = floor_to(shown, rule.step)
    if not _both_take(part, spot_price, perp_price, rule):
        if not force:
            return 0.0, 0.0
        part = floor_to(min(clip, max(spot_all, perp_all)), rule.step)
    rest = max(spot_all, perp_all) - part
    if not _both_take(part, spot_price, perp_price, rule) or not _both_take(rest, spot_price, perp_price, rule):
        return -side * spot_all, side * perp_all  # a part, or what it leaves, could not be sold
    return -side * min(part, spot_all), side * min(part, perp_all)


def _both_take(qty: float, spot_price: float, perp_price: float, rule: MachineRule) -> bool:
    return orderable(qty, spot_price, rule.spot) > 0.0 and orderable(qty, perp_price, rule.perp) > 0.0


def limited(qty: float, book: Book, leg: LegRule, price_bound: float, reduce_only: bool) -> Order:
    """An IOC order at the touch, allowed to be worse by the price bound; the limit is on the tick within it."""
    if qty > 0.0:
        return Order(ordered(qty, leg), floor_to(book.ask * (1.0 + price_bound), leg.tick), reduce_only, False, False)
    if qty < 0.0:
        return Order(qty, ceil_to(book.bid * (1.0 - price_bound), leg.tick), reduce_only, False, False)
    return NO_ORDER


# --- Unequal legs: complete the missing one while that is cheaper than unwinding the filled one, else unwind -------------
#
# The excess is the sum of both signed positions, so either remedy trades against its sign: on the longer leg (the one
# with the larger position) it unwinds, on the shorter one it completes.


def unbalanced(state: State, event: Event, rule: MachineRule) -> bool:
    """Whether the legs differ by more than the tolerance, and by enough that a venue would take an order for it.

    An exit leaves nothing behind that can still be ordered, so there the tolerance is zero.
    """
    if not state.exiting and abs(_excess(state)) <= rule.leg_tolerance * state.pair_qty:
        return False
    longer = _longer(state)
    return _mended_by(longer, state, event, rule) > 0.0 or (
        not state.exiting and _mended_by(1 - longer, state, event, rule) > 0.0
    )


def mending(state: State, event: Event, rule: MachineRule, late: bool) -> tuple[float, float]:
    """Signed quantities (spot, perp) that mend the difference of the legs now; both zero while there is to wait.

    Both remedies need a fresh book of the leg they trade. When it is `late` only unwinding is tried, on the last book
    and within the price bound. What no venue takes as an unwinding order (less than one contract too many) is
    completed whatever it costs, but never on a stale book.
    """
    longer = _longer(state)
    cut = _mended_by(longer, state, event, rule)
    grow = 0.0 if state.exiting else _mended_by(1 - longer, state, event, rule)
    completes = cut == 0.0 or (grow > 0.0 and not late and _completing_is_cheaper(longer, state, event, rule))
    leg, qty = (1 - longer, grow) if completes else (longer, cut)
    if (completes or not late) and not usable((event.spot, event.perp)[leg], event.ts_ns, rule):
        return 0.0, 0.0  # wait for a fresh book
    signed = -qty if _excess(state) > 0.0 else qty
    return (signed, 0.0) if leg == SPOT else (0.0, signed)


def _excess(state: State) -> float:
    return state.legs[SPOT].position + state.legs[PERP].position


def _longer(state: State) -> int:
    return SPOT if abs(state.legs[SPOT].position) > abs(state.legs[PERP].position) else PERP


def _mended_by(leg: int, state: State, event: Event, rule: MachineRule) -> float:
    """What a leg's venue would take to unwind the difference (the longer one) or to complete it (the shorter one)."""
    excess = _excess(state)
    return orderable(abs(excess), exit_price(excess, (event.spot, event.perp)[leg]), (rule.spot, rule.perp)[leg])


def _completing_is_cheaper(longer: int, state: State, event: Event, rule: MachineRule) -> bool:
    """Extra cost of the missing leg against the price it was decided on, below spread and both fees of the filled one."""
    books, average, decided = (event.spot, event.perp), state.legs[longer].average, state.legs[1 - longer].decided
    long_book, short_book, fee = books[longer], books[1 - longer], (rule.spot, rule.perp)[longer].fee
    if not usable(short_book, event.ts_ns, rule):
        return False
    if _excess(state) > 0.0:  # both remedies sell
        extra = (decided - short_book.bid) / short_book.bid
        return extra < (average - long_book.bid) / long_book.bid + 2.0 * fee
    extra = (short_book.ask - decided) / short_book.ask
    return extra < (long_book.ask - average) / long_book.ask + 2.0 * fee
