"""What an account owns: coins on a spot venue, USDT and positions on a perpetual one. Exact decimals throughout.

Both answer the engine's four questions: `reserve` what an order could cost (or refuse), settle a `fill`, `release`
what is left of the reservation, and what changed (passed to `emit`, in order).

    spot:    coins change by fills and fees only
    margin:  wallet = deposits + realised pnl - fees + funding;  a position keeps its exact `cost` = sum of qty * price
             of the open part, so wallet + size * price - cost is the account's value at any price
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from delta_arb.sandbox.values import (
    BUY,
    MARKET,
    QUOTE,
    TOKENS,
    TOKENS_HELD,
    ZERO,
    BalanceChange,
    InsufficientFunds,
    LeverageTooHigh,
    Listing,
    Order,
    PositionChange,
    Settings,
    text,
)

GRAIN = Decimal("1e-12")  # where a closed part of a position's cost is cut; what is cut stays in the rest


class Settled(NamedTuple):
    """What one fill did to the account."""

    fee: Decimal
    fee_coin: str
    closed_qty: Decimal


class SpotAccount:
    """Coins, each free or locked for open orders."""

    def __init__(self, coins: Mapping[str, Decimal], settings: Settings, emit: Callable[[object], None]) -> None:
        self.settings = settings
        held = {settings.fee_in: TOKENS_HELD} if settings.fee_in in TOKENS else {}
        self.free: defaultdict[str, Decimal] = defaultdict(lambda: ZERO, {**coins, **held})
        self.locked: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
        self._emit = emit

    def coins(self) -> list[str]:
        return sorted(set(self.free) | set(self.locked))

    def total(self, coin: str) -> Decimal:
        return self.free[coin] + self.locked[coin]

    def reserve(self, order: Order, listing: Listing, price: Decimal, now_ns: int) -> None:
        """Lock what the order can cost at most when filled at `price` or better, fee included."""
        coin, amount = self._pays(order, listing), order.left
        if order.side == BUY:
            amount = order.left * price * (1 + self._quote_fee())
        if amount > self.free[coin]:
            raise InsufficientFunds(f"needs {text(amount)} {coin}, free are {text(self.free[coin])}")
        order.frozen = amount
        self._move(coin, -amount, amount, "order", order.pair, now_ns)

    def can_pay(self, order: Order, price: Decimal) -> Decimal:
        """How much of the order its reservation pays for at `price`; less than all after the price ran away."""
        if order.side != BUY or order.kind != MARKET:
            return order.left
        return order.frozen / (price * (1 + self._quote_fee()))

    def fill(self, order: Order, listing: Listing, price: Decimal, qty: Decimal, maker: bool, now_ns: int) -> Settled:
        rate = self.settings.maker_fee if maker else self.settings.taker_fee
        cost = price * qty
        fee, fee_coin = self._fee(order, listing, cost * rate, qty * rate)
        taken = {fee_coin: fee}
        if order.side == BUY:
            paid = cost + taken.pop(listing.quote, ZERO)
            order.frozen -= paid
            self._move(listing.quote, ZERO, -paid, "fill", order.pair, now_ns)
            self._move(listing.base, qty - taken.pop(listing.base, ZERO), ZERO, "fill", order.pair, now_ns)
        else:
            order.frozen -= qty
            self._move(listing.base, ZERO, -qty, "fill", order.pair, now_ns)
            self._move(listing.quote, cost - taken.pop(listing.quote, ZERO), ZERO, "fill", order.pair, now_ns)
        for token, amount in taken.items():
            self._move(token, -amount, ZERO, "fee", order.pair, now_ns)
        return Settled(fee, fee_coin, ZERO)

    def _fee(self, order: Order, listing: Listing, of_value: Decimal, of_qty: Decimal) -> tuple[Decimal, str]:
        """A fee in the currency that it is taken in."""
        fee_in = self.settings.fee_in
        if fee_in in TOKENS:
            return of_value / TOKENS[fee_in], fee_in
        in_quote = fee_in == QUOTE or order.side != BUY
        return (of_value, listing.quote) if in_quote else (of_qty, listing.base)

    def release(self, order: Order, listing: Listing, now_ns: int) -> None:
        """Unlock what an ended order did not use."""
        if order.frozen:
            self._move(self._pays(order, listing), order.frozen, -order.frozen, "cancel", order.pair, now_ns)
            order.frozen = ZERO

    def deposit(self, coin: str, amount: Decimal, now_ns: int) -> None:
        self._move(coin, amount, ZERO, "deposit", "", now_ns)

    def _quote_fee(self) -> Decimal:
        highest = max(self.settings.taker_fee, self.settings.maker_fee, ZERO)
        return highest if self.settings.fee_in == QUOTE else ZERO

    @staticmethod
    def _pays(order: Order, listing: Listing) -> str:
        return listing.quote if order.side == BUY else listing.base

    def _move(self, coin: str, free: Decimal, locked: Decimal, reason: str, pair: str, now_ns: int) -> None:
        self.free[coin] += free
        self.locked[coin] += locked
        self._emit(BalanceChange(now_ns, coin, self.free[coin], self.locked[coin], free, locked, reason, pair))


@dataclass(slots=True)
class Position:
    """One position; `size` is signed. Money in USDT; the `history` parts are of everything closed before."""

    pair: str
    leverage: Decimal
    cross: bool
    size: Decimal = ZERO
    cost: Decimal = ZERO  # signed: sum of qty * price of the open part
    realised: Decimal = ZERO  # of this opening: pnl of reductions - fees + funding
    pnl: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    history: Decimal = ZERO
    last_close: Decimal = ZERO
    opened_ns: int = 0
    updated_ns: int = 0
    updates: int = 0

    @property
    def entry(self) -> Decimal:
        return self.cost / self.size if self.size else ZERO

    def unrealised(self, mark: Decimal) -> Decimal:
        return self.size * mark - self.cost


class MarginAccount:
    """USDT and the positions it carries, one a pair, cross or isolated."""

    def __init__(self, wallet: Decimal, settings: Settings, emit: Callable[[object], None]) -> None:
        self.settings = settings
        self.wallet = wallet
        self.points = TOKENS_HELD if settings.fee_in in TOKENS else ZERO
        self.marks: dict[str, Decimal] = {}
        self.listings: dict[str, Listing] = {}
        self.order_margin: dict[int, Decimal] = {}
        self.positions: dict[str, Position] = {}
        self.paid: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)  # wallet changes by reason
        self._emit = emit

    def position(self, pair: str) -> Position:
        """The position of a pair, made empty when it was never held."""
        if pair not in self.positions:
            leverage = min(self.settings.leverage, self.listings[pair].leverage_max)
            self.positions[pair] = Position(pair, leverage, self.settings.cross_margin)
        return self.positions[pair]

    def held(self) -> list[Position]:
        return [position for position in self.positions.values() if position.size]

    def position_margin(self, position: Position) -> Decimal:
        """Initial margin of the open part."""
        return abs(position.cost) / position.leverage

    def maintenance(self, position: Position) -> Decimal:
        """What must be left: maintenance margin at the mark."""
        return abs(position.size) * self.marks[position.pair] * self.listings[position.pair].maintenance_rate

    def unrealised(self, cross_only: bool = False) -> Decimal:
        held = (p for p in self.held() if p.cross or not cross_only)
        return sum((p.unrealised(self.marks[p.pair]) for p in held), ZERO)

    @property
    def available(self) -> Decimal:
        """What new orders can use: wallet and the pnl of cross positions, less margins of positions and orders."""
        used = sum((self.position_margin(p) for p in self.held()), sum(self.order_margin.values(), ZERO))
        return self.wallet + self.unrealised(cross_only=True) - used

    def reserve(self, order: Order, listing: Listing, price: Decimal, now_ns: int) -> None:
        """Set aside initial margin and fee of what the order could open; an order that only reduces needs nothing."""
        position = self.position(order.pair)
        opposite = abs(position.size) if position.size * order.side < 0 else ZERO
        opens = ZERO if order.reduce_only else max(ZERO, order.left - opposite)
        fee = max(self.settings.taker_fee, ZERO)
        needs = opens * price * (1 / position.leverage + fee)
        if needs > self.available:
            raise InsufficientFunds(f"needs a margin of {needs:.6f} USDT, available are {self.available:.6f}")
        order.frozen = self.order_margin[order.id] = needs

    def can_pay(self, order: Order, price: Decimal) -> Decimal:
        """All: margin pays for whatever was accepted."""
        return order.left

    def fill(self, order: Order, listing: Listing, price: Decimal, qty: Decimal, maker: bool, now_ns: int) -> Settled:
        if order.id in self.order_margin:
            order.frozen -= order.frozen * qty / order.left
            self.order_margin[order.id] = order.frozen
        rate = self.settings.maker_fee if maker else self.settings.taker_fee
        fee = price * qty * rate
        position = self.position(order.pair)
        closed_qty, pnl = _apply(position, order.side * qty, price, now_ns)
        in_points = self.settings.fee_in in TOKENS
        of_wallet = ZERO if in_points else fee
        self.points -= fee - of_wallet
        position.pnl, position.fees = position.pnl + pnl, position.fees - of_wallet
        position.realised += pnl - of_wallet
        self._pay(pnl, "pnl", order.pair, now_ns)
        self._pay(-of_wallet, "fee", order.pair, now_ns)
        if not position.size:
            _close_books(position)
        self._emit(PositionChange(now_ns, order.pair))
        return Settled(fee, self.settings.fee_in if in_points else "USDT", closed_qty)

    def release(self, order: Order, listing: Listing, now_ns: int) -> None:
        self.order_margin.pop(order.id, None)
        order.frozen = ZERO

    def fund(self, pair: str, rate: Decimal, mark: Decimal, now_ns: int) -> Decimal:
        """Funding of the position: longs pay `rate` of the value at `mark`; returns what was received."""
        position = self.position(pair)
        if not position.size:
            return ZERO
        received = -position.size * mark * rate
        position.funding, position.realised = position.funding + received, position.realised + received
        position.updated_ns, position.updates = now_ns, position.updates + 1
        self._pay(received, "fund", pair, now_ns)
        self._emit(PositionChange(now_ns, pair))
        return received

    def deposit(self, coin: str, amount: Decimal, now_ns: int) -> None:
        self._pay(amount, "deposit", "", now_ns)

    def hold(self, pair: str, signed: Decimal, price: Decimal, now_ns: int) -> None:
        """A position as from before, at this price: no order, no fee."""
        _apply(self.position(pair), signed, price, now_ns)

    def set_leverage(self, pair: str, leverage: Decimal, cross: bool, now_ns: int) -> Position:
        """Leverage and margin mode of a pair; in cross mode it is the limit used for the initial margin."""
        highest = self.listings[pair].leverage_max
        if not 1 <= leverage <= highest:
            raise LeverageTooHigh(f"leverage must be 1 to {highest}, was {leverage}")
        position = self.position(pair)
        position.leverage, position.cross = leverage, cross
        position.updated_ns, position.updates = now_ns, position.updates + 1
        self._emit(PositionChange(now_ns, pair))
        return position

    def must_liquidate(self) -> list[Position]:
        """The positions that the marks have eaten: isolated ones each for itself, cross ones together."""
        cross = [p for p in self.held() if p.cross]
        alone = [p for p in self.held() if not p.cross and self._doomed([p], self.position_margin(p))]
        return alone + (cross if cross and self._doomed(cross, self._cross_backing()) else [])

    def liquidation_price(self, position: Position) -> Decimal:
        """The mark at which this position would be liquidated, others unchanged; 0 where there is none."""
        rate = self.listings[position.pair].maintenance_rate + max(self.settings.taker_fee, ZERO)
        return self._price_leaving(position, rate)

    def bankruptcy_price(self, position: Position) -> Decimal:
        """The price at which closing (and its fee) leaves nothing of the position's backing."""
        return self._price_leaving(position, max(self.settings.taker_fee, ZERO))

    def _price_leaving(self, position: Position, rate: Decimal) -> Decimal:
        if not position.size:
            return ZERO
        backing = self.position_margin(position)
        if position.cross:
            others = (p for p in self.held() if p.cross and p is not position)
            backing = self._cross_backing() + sum((p.unrealised(self.marks[p.pair]) for p in others), ZERO)
        # backing + size * p - cost = |size| * p * rate
        return max(ZERO, (position.cost - backing) / (position.size - abs(position.size) * rate))

    def _cross_backing(self) -> Decimal:
        return self.wallet - sum((self.position_margin(p) for p in self.held() if not p.cross), ZERO)

    def _doomed(self, positions: list[Position], backing: Decimal) -> bool:
        fee = max(self.settings.taker_fee, ZERO)
        value = backing + sum((p.unrealised(self.marks[p.pair]) for p in positions), ZERO)
        closing = sum((abs(p.size) * self.marks[p.pair] * fee for p in positions), ZERO)
        return value <= sum((self.maintenance(p) for p in positions), closing)

    def _pay(self, change: Decimal, reason: str, pair: str, now_ns: int) -> None:
        if change:
            self.wallet += change
            self.paid[reason] += change
            self._emit(BalanceChange(now_ns, "USDT", self.wallet, ZERO, change, ZERO, reason, pair))


def _apply(position: Position, signed: Decimal, price: Decimal, now_ns: int) -> tuple[Decimal, Decimal]:
    """Add a signed fill to a position; returns the quantity closed and its realised pnl."""
    position.updated_ns, position.updates = now_ns, position.updates + 1
    closing = min(abs(signed), abs(position.size)) if signed * position.size < 0 else ZERO
    pnl = ZERO
    if closing:
        direction = 1 if signed > 0 else -1
        part = position.cost
        if closing < abs(position.size):
            part = (position.cost * closing / abs(position.size)).quantize(GRAIN)
        pnl = -direction * closing * price - part
        position.size, position.cost = position.size + direction * closing, position.cost - part
        signed -= direction * closing
    if signed:
        if not position.size:
            if position.realised:
                _close_books(position)
            position.opened_ns = now_ns
        position.size, position.cost = position.size + signed, position.cost + signed * price
    return closing, pnl


def _close_books(position: Position) -> None:
    """What was realised while it was open becomes history."""
    position.last_close, position.history = position.realised, position.history + position.realised
    position.realised = position.pnl = position.fees = position.funding = ZERO
