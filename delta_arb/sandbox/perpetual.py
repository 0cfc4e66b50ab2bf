"""A perpetual venue's engine: positions, funding, liquidation, auto-deleveraging on top of the spot one."""

from collections.abc import Mapping
from decimal import Decimal

from delta_arb.sandbox import values as v
from delta_arb.sandbox.accounts import MarginAccount, Position
from delta_arb.sandbox.book import floor_to, round_to
from delta_arb.sandbox.engine import Engine


class PerpetualEngine(Engine):
    """One perpetual venue, single-currency (USDT) margin; see `Engine` for what orders do."""

    account: MarginAccount

    def _open_account(self, deposits: Mapping[str, Decimal]) -> MarginAccount:
        self.funding: list[v.FundingPaid] = []
        self.upcoming_funding: dict[str, v.Upcoming] = {}
        account = MarginAccount(deposits.get("USDT", v.ZERO), self.settings, self._emit)
        account.marks, account.listings = self.marks, self.listings
        return account

    def _allowed(self, order: v.Order) -> Decimal:
        """All that is left; of a reduce-only order, what there is to reduce."""
        if not order.reduce_only:
            return order.left
        size = self.account.position(order.pair).size
        return min(order.left, abs(size)) if size * order.side < 0 else v.ZERO

    def _grid_qty(self, order: v.Order, qty: Decimal) -> Decimal:
        """As on spot, but a position that other terms left off the grid is closed whole."""
        whole = order.reduce_only and qty == abs(self.account.position(order.pair).size)
        return qty if whole else super()._grid_qty(order, qty)

    def _fill(
        self, order: v.Order, price: Decimal, qty: Decimal, maker: bool, why: str = v.BY_FILL, *, public: bool = True
    ) -> None:
        super()._fill(order, price, qty, maker, why, public=public)
        if not self.account.position(order.pair).size:
            self._cancel_what_cannot_reduce(order.pair)

    def _cancel_what_cannot_reduce(self, pair: str) -> None:
        for order in list(self._open[pair].values()):
            if order.reduce_only and not self._allowed(order):
                self._finish(order, v.BY_REDUCE_ONLY)

    def _check_reduces(self, order: v.Order) -> None:
        if not self._allowed(order):
            raise v.NothingToReduce(f"a reduce-only order, but no position in {order.pair} that it would reduce")

    def set_leverage(self, pair: str, leverage: Decimal, cross: bool) -> Position:
        """Leverage and margin mode of a pair; the position after it."""
        position = self.account.set_leverage(self.listing(pair).pair, leverage, cross, self.clock.now_ns())
        self._flush()
        return position

    def fund(self, pair: str, rate: Decimal, mark: Decimal) -> v.FundingPaid:
        """One funding stamp, paid by the position of the pair; a `funding_flip` turns the sign of the rate."""
        if self.faults.take("market", ("funding_flip",), pair):
            rate = -rate
        now_ns = self.clock.now_ns()
        paid = v.FundingPaid(now_ns, pair, rate, mark, self.account.fund(pair, rate, mark, now_ns))
        self.funding.append(paid)
        self._emit(paid)
        self._flush()
        return paid

    def take_positions(self, pair: str, action: str, fraction: Decimal) -> None:
        if action == "liquidate":
            self.liquidate(pair)
        else:
            self.deleverage(pair, fraction)

    def liquidate(self, pair: str) -> None:
        """Liquidate the position of a pair now, at the touch, at worst at its bankruptcy price."""
        self._liquidate(self.account.position(pair))
        self._flush()

    def deleverage(self, pair: str, fraction: Decimal) -> None:
        """Take `fraction` of the position of a pair (whole steps, at least one) at the mark: auto-deleveraging."""
        position, listing = self.account.position(pair), self.listings[pair]
        if position.size:
            qty = max(listing.qty_step, floor_to(abs(position.size) * fraction, listing.qty_step))
            price = round_to(self.marks[pair], listing.price_step)
            self._take_position(position, min(qty, abs(position.size)), price, v.BY_ADL)
        self._flush()

    def _mark_moved(self, pair: str) -> None:
        if not self.account.position(pair).size:
            return
        for position in self.account.must_liquidate():
            self._liquidate(position)

    def _liquidate(self, position: Position) -> None:
        if not position.size:
            return
        for order in list(self._open[position.pair].values()):
            self._finish(order, v.BY_LIQUIDATION)
        touch, shown = self.books[position.pair].best(v.BUY if position.size > 0 else v.SELL)
        price = touch if shown else self.marks[position.pair]
        edge = self.account.bankruptcy_price(position)
        if edge:
            step = self.listings[position.pair].price_step
            edge = round_to(edge, step)
            price = max(price, edge) if position.size > 0 else min(price, edge)
        self._take_position(position, abs(position.size), price, v.BY_LIQUIDATION)

    def _take_position(self, position: Position, qty: Decimal, price: Decimal, why: str) -> None:
        """The venue's own order against a position, filled whole at `price`."""
        side = v.SELL if position.size > 0 else v.BUY
        order = self._new_order(position.pair, side, v.MARKET, qty, v.ZERO, v.IOC, True, "")
        self.orders[order.id] = order
        self._fill(order, price, qty, maker=False, why=why)
