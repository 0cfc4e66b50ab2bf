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

from delta_arb.sandbox import values as v
from delta_arb.sandbox.values import text

GRAIN = Decimal("1e-12")  # where a closed part of a position's cost is cut; what is cut stays in the rest


class Settled(NamedTuple):
    """What one fill did to the account."""

    fee: Decimal
    fee_coin: str
    closed_qty: Decimal


class SpotAccount:
    """Coins, each free or locked for open orders."""

    def __init__(self, coins: Mapping[str, Decimal], settings: v.Settings, emit: Callable[[object], None]) -> None:
        self.settings = settings
        held = {settings.fee_in: v.TOKENS_HELD} if settings.fee_in in v.TOKENS else {}
        self.free: defaultdict[str, Decimal] = defaultdict(lambda: v.ZERO, {**coins, **held})
        self.locked: defaultdict[str, Decimal] = defaultdict(lambda: v.ZERO)
        self._emit = emit

    def coins(self) -> list[str]:
        return sorted(set(self.free) | set(self.locked))

    def total(self, coin: str) -> Decimal:
        return self.free[coin] + self.locked[coin]

    def reserve(self, order: v.Order, listing: v.Listing, price: Decimal, now_ns: int) -> None:
        """Lock what the order can cost at most when filled at `price` or better, fee included."""
        coin, amount = self._pays(order, listing), order.left
        if order.side == v.BUY:
            amount = order.left * price * (1 + self._quote_fee())
        if amount > self.free[coin]:
            raise v.InsufficientFunds(f"needs {text(amount)} {coin}, free are {text(self.free[coin])}")
        order.frozen = amount
        self._move(coin, -amount, amount, "order", order.pair, now_ns)

    def can_pay(self, order: v.Order, price: Decimal) -> Decimal:
        """How much of the order its reservation pays for at `price`; less than all after the price ran away."""
        if order.side != v.BUY or order.kind != v.MARKET:
            return order.left
        return order.frozen / (price * (1 + self._quote_fee()))

    def fill(
        self, order: v.Order, listing: v.Listing, price: Decimal, qty: Decimal, maker: bool, now_ns: int
    ) -> Settled:
        rate = self.settings.maker_fee if maker else self.settings.taker_fee
        cost = price * qty
        fee, fee_coin = self._fee(order, listing, cost * rate, qty * rate)
        taken = {fee_coin: fee}
        if order.side == v.BUY:
            paid = cost + taken.pop(listing.quote, v.ZERO)
            order.frozen -= paid
            self._move(listing.quote, v.ZERO, -paid, "fill", order.pair, now_ns)
            self._move(listing.base, qty - taken.pop(listing.base, v.ZERO), v.ZERO, "fill", order.pair, now_ns)
        else:
            order.frozen -= qty
            self._move(listing.base, v.ZERO, -qty, "fill", order.pair, now_ns)
            self._move(listing.quote, cost - taken.pop(listing.quote, v.ZERO), v.ZERO, "fill", order.pair, now_ns)
        for token, amount in taken.items():
            self._move(token, -amount, v.ZERO, "fee", order.pair, now_ns)
        return Settled(fee, fee_coin, v.ZERO)

    def _fee(self, order: v.Order, listing: v.Listing, of_value: Decimal, of_qty: Decimal) -> tuple[Decimal, str]:
        """A fee in the currency that it is taken in."""
        fee_in = self.settings.fee_in
        if fee_in in v.TOKENS:
            return of_value / v.TOKENS[fee_in], fee_in
        in_quote = fee_in == v.QUOTE or order.side != v.BUY
        return (of_value, listing.quote) if in_quote else (of_qty, listing.base)

    def release(self, order: v.Order, listing: v.Listing, now_ns: int) -> None:
        """Unlock what an ended order did not use."""
        if order.frozen:
            self._move(self._pays(order, listing), order.frozen, -order.frozen, "cancel", order.pair, now_ns)
            order.frozen = v.ZERO

    def deposit(self, coin: str, amount: Decimal, now_ns: int) -> None:
        self._move(coin, amount, v.ZERO, "deposit", "", now_ns)

    def _quote_fee(self) -> Decimal:
        highest = max(self.settings.taker_fee, self.settings.maker_fee, v.ZERO)
        return highest if self.settings.fee_in == v.QUOTE else v.ZERO

    @staticmethod
    def _pays(order: v.Order, listing: v.Listing) -> str:
        return listing.quote if order.side == v.BUY else listing.base

    def _move(self, coin: str, free: Decimal, locked: Decimal, reason: str, pair: str, now_ns: int) -> None:
        self.free[coin] += free
        self.locked[coin] += locked
        self._emit(v.BalanceChange(now_ns, coin, self.free[coin], self.locked[coin], free, locked, reason, pair))


@dataclass(slots=True)
class Position:
    """One position; `size` is signed. Money in USDT; the `history` parts are of everything closed before."""

    pair: str
    leverage: Decimal
    cross: bool
    size: Decimal = v.ZERO
    cost: Decimal = v.ZERO  # signed: sum of qty * price of the open part
    realised: Decimal = v.ZERO  # of this opening: pnl of reductions - fees + funding
    pnl: Decimal = v.ZERO
    fees: Decimal = v.ZERO
    funding: Decimal = v.ZERO
    history: Decimal = v.ZERO
    last_close: Decimal = v.ZERO
    opened_ns: int = 0
    updated_ns: int = 0
    updates: int = 0

    @property
    def entry(self) -> Decimal:
        return self.cost / self.size if self.size else v.ZERO

    def unrealised(self, mark: Decimal) -> Decimal:
        return self.size * mark - self.cost


class MarginAccount:
    """USDT and the positions it carries, one a pair, cross or isolated."""

    def __init__(self, wallet: Decimal, settings: v.Settings, emit: Callable[[object], None]) -> None:
        self.settings = settings
        self.wallet = wallet
        self.points = v.TOKENS_HELD if settings.fee_in in v.TOKENS else v.ZERO
        self.marks: dict[str, Decimal] = {}
        self.listings: dict[str, v.Listing] = {}
        self.order_margin: dict[int, Decimal] = {}
        self.positions: dict[str, Position] = {}
        self.paid: defaultdict[str, Decimal] = defaultdict(lambda: v.ZERO)  # wallet changes by reason
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
        return sum((p.unrealised(self.marks[p.pair]) for p in held), v.ZERO)

    @property
    def available(self) -> Decimal:
        """What new orders can use: wallet and the pnl of cross positions, less margins of positions and orders."""
        used = sum((self.position_margin(p) for p in self.held()), sum(self.order_margin.values(), v.ZERO))
        return self.wallet + self.unrealised(cross_only=True) - used

    def reserve(self, order: v.Order, listing: v.Listing, price: Decimal, now_ns: int) -> None:
        """Set aside initial margin and fee of what the order could open; an order that only reduces needs nothing."""
        position = self.position(order.pair)
        opposite = abs(position.size) if position.size * order.side < 0 else v.ZERO
        opens = v.ZERO if order.reduce_only else max(v.ZERO, order.left - opposite)
        fee = max(self.settings.taker_fee, v.ZERO)
        needs = opens * price * (1 / position.leverage + fee)
        if needs > self.available:
            raise v.InsufficientFunds(f"needs a margin of {needs:.6f} USDT, available are {self.available:.6f}")
        order.frozen = self.order_margin[order.id] = needs

    def can_pay(self, order: v.Order, price: Decimal) -> Decimal:
        """All: margin pays for whatever was accepted."""
        return order.left

    def fill(
        self, order: v.Order, listing: v.Listing, price: Decimal, qty: Decimal, maker: bool, now_ns: int
    ) -> Settled:
        if order.id in self.order_margin:
            order.frozen -= order.frozen * qty / order.left
            self.order_margin[order.id] = order.frozen
        rate = self.settings.maker_fee if maker else self.settings.taker_fee
        fee = price * qty * rate
        position = self.position(order.pair)
        closed_qty, pnl = _apply(position, order.side * qty, price, now_ns)
        in_points = self.settings.fee_in in v.TOKENS
        of_wallet = v.ZERO if in_points else fee
        self.points -= fee - of_wallet
        position.pnl, position.fees = position.pnl + pnl, position.fees - of_wallet
        position.realised += pnl - of_wallet
        self._pay(pnl, "pnl", order.pair, now_ns)
        self._pay(-of_wallet, "fee", order.pair, now_ns)
        if not position.size:
            _close_books(position)
        self._emit(v.PositionChange(now_ns, order.pair))
        return Settled(fee, self.settings.fee_in if in_points else "USDT", closed_qty)

    def release(self, order: v.Order, listing: v.Listing, now_ns: int) -> None:
        self.order_margin.pop(order.id, None)
        order.frozen = v.ZERO

    def fund(self, pair: str, rate: Decimal, mark: Decimal, now_ns: int) -> Decimal:
        """Funding of the position: longs pay `rate` of the value at `mark`; returns what was received."""
        position = self.position(pair)
        if not position.size:
            return v.ZERO
        received = -position.size * mark * rate
        position.funding, position.realised = position.funding + received, position.realised + received
        position.updated_ns, position.updates = now_ns, position.updates + 1
        self._pay(received, "fund", pair, now_ns)
        self._emit(v.PositionChange(now_ns, pair))
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
            raise v.LeverageTooHigh(f"leverage must be 1 to {highest}, was {leverage}")
        position = self.position(pair)
        position.leverage, position.cross = leverage, cross
        position.updated_ns, position.updates = now_ns, position.updates + 1
        self._emit(v.PositionChange(now_ns, pair))
        return position

    def must_liquidate(self) -> list[Position]:
        """The positions that the marks have eaten: isolated ones each for itself, cross ones together."""
        cross = [p for p in self.held() if p.cross]
        alone = [p for p in self.held() if not p.cross and self._doomed([p], self.position_margin(p))]
        return alone + (cross if cross and self._doomed(cross, self._cross_backing()) else [])

    def liquidation_price(self, position: Position) -> Decimal:
        """The mark at which this position would be liquidated, others unchanged; 0 where there is none."""
        rate = self.listings[position.pair].maintenance_rate + max(self.settings.taker_fee, v.ZERO)
        return self._price_leaving(position, rate)

    def bankruptcy_price(self, position: Position) -> Decimal:
        """The price at which closing (and its fee) leaves nothing of the position's backing."""
        return self._price_leaving(position, max(self.settings.taker_fee, v.ZERO))

    def _price_leaving(self, position: Position, rate: Decimal) -> Decimal:
        if not position.size:
            return v.ZERO
        backing = self.position_margin(position)
        if position.cross:
            others = (p for p in self.held() if p.cross and p is not position)
            backing = self._cross_backing() + sum((p.unrealised(self.marks[p.pair]) for p in others), v.ZERO)
        # backing + size * p - cost = |size| * p * rate
        return max(v.ZERO, (position.cost - backing) / (position.size - abs(position.size) * rate))

    def _cross_backing(self) -> Decimal:
        return self.wallet - sum((self.position_margin(p) for p in self.held() if not p.cross), v.ZERO)

    def _doomed(self, positions: list[Position], backing: Decimal) -> bool:
        fee = max(self.settings.taker_fee, v.ZERO)
        value = backing + sum((p.unrealised(self.marks[p.pair]) for p in positions), v.ZERO)
        closing = sum((abs(p.size) * self.marks[p.pair] * fee for p in positions), v.ZERO)
        return value <= sum((self.maintenance(p) for p in positions), closing)

    def _pay(self, change: Decimal, reason: str, pair: str, now_ns: int) -> None:
        if change:
            self.wallet += change
            self.paid[reason] += change
            self._emit(v.BalanceChange(now_ns, "USDT", self.wallet, v.ZERO, change, v.ZERO, reason, pair))


def _apply(position: Position, signed: Decimal, price: Decimal, now_ns: int) -> tuple[Decimal, Decimal]:
    """Add a signed fill to a position; returns the quantity closed and its realised pnl."""
    position.updated_ns, position.updates = now_ns, position.updates + 1
    closing = min(abs(signed), abs(position.size)) if signed * position.size < 0 else v.ZERO
    pnl = v.ZERO
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
    position.realised = position.pnl = position.fees = position.funding = v.ZERO
