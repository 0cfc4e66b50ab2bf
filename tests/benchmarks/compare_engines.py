"""The job of `bench_compare` by engines that bring numpy and pandas of their own: each in a folder of packages and a process apart.

    PYTHONPATH=FOLDER python tests/benchmarks/compare_engines.py ENGINE TAPE.npz ENTRY EXIT

Prints JSON: seconds of the run alone (data handed over before), and the rows on which pairs were opened and closed. Both
engines hold the position themselves: the next order is decided by what they say is held.
"""

import json
import sys
import time

import numpy as np

STEP_NS, TICK, PLACES = 100_000_000, 1e-6, 6  # between rows; the grid of prices
BEGIN_NS = 1_700_000_000_000_000_000


def hftbacktest(tape, entry: float, exit_: float) -> tuple[float, list]:
    """Two books by updates of levels, limit orders IOC at the best price of the other side, a nanosecond on their way."""
    from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest
    from numba import njit

    @njit
    def play(hbt, entry, exit_, found):
        trades, opened, order = 0, -1, 1
        for row in range(1, len(found)):  # the first row is there before the first step
            hbt.elapse(STEP_NS)
            spot, perp = hbt.depth(0), hbt.depth(1)
            if hbt.position(0) == 0.0 and hbt.position(1) == 0.0:
                if opened >= 0 and found[trades, 1] > 0:
                    trades, opened = trades + 1, -1
                if (perp.best_bid - spot.best_ask) / spot.best_ask >= entry:
                    hbt.submit_buy_order(0, order, spot.best_ask, 1.0, 3, 0, False)
                    hbt.submit_sell_order(1, order, perp.best_bid, 1.0, 3, 0, False)
                    found[trades, 0], opened, order = row, row, order + 1
            elif (perp.best_ask - spot.best_bid) / spot.best_bid <= exit_:
                hbt.submit_sell_order(0, order, spot.best_bid, 1.0, 3, 0, False)
                hbt.submit_buy_order(1, order, perp.best_ask, 1.0, 3, 0, False)
                found[trades, 1], order = row, order + 1
        return trades

    def run(rows: int) -> tuple[float, list]:
        feeds = [levels(tape, leg, rows) for leg in ("spot", "perp")]  # kept: they are read where they lie
        assets = [
            BacktestAsset().data([feed]).linear_asset(1.0).constant_order_latency(1, 1)
            .risk_adverse_queue_model().no_partial_fill_exchange().trading_value_fee_model(0.0, 0.0).tick_size(TICK)
            .lot_size(1.0).last_trades_capacity(0)
            for feed in feeds
        ]  # fmt: skip
        hbt, found = HashMapMarketDepthBacktest(assets), np.zeros((rows, 2), np.int64)
        began = time.process_time()
        trades = play(hbt, entry, exit_, found)
        seconds = time.process_time() - began
        hbt.close()
        return seconds, found[:trades].tolist()

    run(1000)  # compiles
    return run(len(tape["leg"]))


def levels(tape, leg: str, rows: int) -> np.ndarray:
    """A leg's rows as updates of its two best levels: the old price goes where another one comes."""
    from hftbacktest import BUY_EVENT, DEPTH_EVENT, EXCH_EVENT, LOCAL_EVENT, SELL_EVENT, event_dtype

    own = np.flatnonzero((tape["leg"][:rows] == ("spot", "perp").index(leg)) | (np.arange(rows) == 0))
    parts = []
    for side, flag in (("bid", BUY_EVENT), ("ask", SELL_EVENT)):
        price = tape[f"{leg}_{side}"][own]
        gone = np.flatnonzero(np.diff(price) != 0.0) + 1
        for order, at, px, qty in ((0, gone, price[gone - 1], 0.0), (1, slice(None), price, 1e6)):
            made = np.zeros(len(px), event_dtype)
            made["ev"] = DEPTH_EVENT | EXCH_EVENT | LOCAL_EVENT | flag
            made["exch_ts"] = made["local_ts"] = BEGIN_NS + own[at] * STEP_NS
            made["px"], made["qty"], made["ival"] = px, qty, order
            parts.append(made)
    events = np.concatenate(parts)
    events = events[np.lexsort((events["ival"], events["exch_ts"]))]
    events["ival"] = 0
    return events


def nautilus_trader(tape, entry: float, exit_: float) -> tuple[float, list]:
    """Two instruments of one venue by quote ticks, market orders."""
    from decimal import Decimal

    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
    from nautilus_trader.config import LoggingConfig
    from nautilus_trader.model.currencies import BTC, USDT
    from nautilus_trader.model.data import QuoteTick
    from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
    from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
    from nautilus_trader.model.instruments import CurrencyPair
    from nautilus_trader.model.objects import Money, Price, Quantity
    from nautilus_trader.trading.strategy import Strategy

    class Basis(Strategy):
        def __init__(self, ids):
            super().__init__()
            self.ids, self.found, self.last = ids, [], {}

        def on_start(self):
            for each in self.ids:
                self.subscribe_quote_ticks(each)

        def on_quote_tick(self, tick):
            self.last[tick.instrument_id] = tick.bid_price.as_double(), tick.ask_price.as_double()
            if len(self.last) < 2:
                return
            (spot_bid, spot_ask), (perp_bid, perp_ask) = (self.last[each] for each in self.ids)
            row = (tick.ts_event - BEGIN_NS) // STEP_NS
            if self.portfolio.is_flat(self.ids[1]):
                if (perp_bid - spot_ask) / spot_ask >= entry:
                    self.both(OrderSide.BUY, OrderSide.SELL)
                    self.found.append([row, 0])
            elif (perp_ask - spot_bid) / spot_bid <= exit_:
                self.both(OrderSide.SELL, OrderSide.BUY)
                self.found[-1][1] = row

        def both(self, *sides):
            for each, side in zip(self.ids, sides, strict=True):
                self.submit_order(self.order_factory.market(each, side, Quantity.from_int(1)))

    venue = Venue("SIM")
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(venue, OmsType.NETTING, AccountType.MARGIN, [Money(1_000_000_000, USDT)])
    ids = [InstrumentId(Symbol(leg), venue) for leg in ("SPOT", "PERP")]
    for k, each in enumerate(ids):
        zero, leg = Decimal(0), ("spot", "perp")[k]
        engine.add_instrument(
            CurrencyPair(
                each, each.symbol, BTC, USDT, PLACES, 0, Price(TICK, PLACES), Quantity.from_int(1), 0, 0, margin_init=zero,
                margin_maint=zero, maker_fee=zero, taker_fee=zero,
            )
        )  # fmt: skip
        own = np.flatnonzero((tape["leg"] == k) | (np.arange(len(tape["leg"])) == 0))
        size, sides = Quantity.from_int(1_000_000), (tape[f"{leg}_{side}"][own].tolist() for side in ("bid", "ask"))
        stamps = (BEGIN_NS + own * STEP_NS).tolist()
        ticks = [
            QuoteTick(each, Price(bid, PLACES), Price(ask, PLACES), size, size, ns, ns)
            for bid, ask, ns in zip(*sides, stamps, strict=True)
        ]
        engine.add_data(ticks)
    strategy = Basis(ids)
    engine.add_strategy(strategy)
    began = time.process_time()
    engine.run()
    return time.process_time() - began, [pair for pair in strategy.found if pair[1]]


if __name__ == "__main__":
    engine, path, entry, exit_ = sys.argv[1:]
    seconds, rows = globals()[engine](np.load(path), float(entry), float(exit_))
    print(json.dumps({"seconds": seconds, "rows": rows}))
