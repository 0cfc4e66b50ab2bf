"""What a venue checks before it accepts an order, and its arithmetic on grids; pure."""

from collections.abc import Container
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from delta_arb.sandbox.values import (
    BUY,
    LIMIT,
    ZERO,
    AboveMaximum,
    BadPrecision,
    BelowMinimum,
    BelowNotional,
    DuplicateClientId,
    Listing,
    Order,
    PriceTooDeviated,
    text,
)


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` not above `value`."""
    return (value / step).to_integral_value(ROUND_FLOOR) * step


def round_to(value: Decimal, step: Decimal) -> Decimal:
    """The nearest multiple of `step`."""
    return (value / step).to_integral_value(ROUND_HALF_EVEN) * step


def on_grid(value: Decimal, step: Decimal) -> bool:
    return not value % step


def reaches(order: Order, price: Decimal) -> bool:
    """Whether the order's limit allows a fill at `price`; a market order's always does."""
    return order.kind != LIMIT or (price <= order.price if order.side == BUY else price >= order.price)


def check(order: Order, listing: Listing, mark: Decimal | None, client_ids: Container[str]) -> None:
    """Raise the Refusal that this order deserves by itself, if any; funds and the book come later."""
    if order.client_id and order.client_id in client_ids:
        raise DuplicateClientId(f"an order {order.client_id} exists")
    if order.kind == LIMIT and (order.price <= 0 or not on_grid(order.price, listing.price_step)):
        raise BadPrecision(f"price {text(order.price)} is not a positive multiple of {text(listing.price_step)}")
    if not on_grid(order.qty, listing.qty_step):
        raise BadPrecision(f"quantity {text(order.qty)} is not a multiple of {text(listing.qty_step)}")
    if order.qty <= 0 or order.qty < listing.min_qty:
        raise BelowMinimum(f"quantity {text(order.qty)} is below the minimum {text(listing.min_qty)}")
    if order.qty > listing.max_qty:
        raise AboveMaximum(f"quantity {text(order.qty)} is above the maximum {text(listing.max_qty)}")
    value = order.qty * (order.price or mark or ZERO)
    if value < listing.min_notional and not order.reduce_only:
        raise BelowNotional(f"value {text(value)} is below the minimum {text(listing.min_notional)}")
    if order.kind == LIMIT and mark and abs(order.price - mark) > mark * listing.max_deviation:
        raise PriceTooDeviated(f"price {text(order.price)} is too far from the mark {text(mark)}")
