"""What hftbacktest fills of single resting orders; run by its own Python in an environment of its own (`test_queue_peer`).

    python queue_peer.py STREAM.npz FILLED.npy

The stream holds rows of a best level and trades, the orders their time, side and price. Risk-averse queue, no partial fills: an
order is filled whole or not at all.
"""

import sys

import numpy as np
from hftbacktest import (
    BUY_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    FILLED,
    GTX,
    LIMIT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    BacktestAsset,
    HashMapMarketDepthBacktest,
)
from hftbacktest.types import event_dtype
from numba import njit


def events(rows, trades) -> np.ndarray:
    """Depth of one level on each side, an old level taken away when the best one moves; trades before rows of later stamps."""
    found, best = [], {BUY_EVENT: 0.0, SELL_EVENT: 0.0}
    both = EXCH_EVENT | LOCAL_EVENT
    stream = [(row[0], 1, row) for row in rows] + [(trade[0], 0, trade) for trade in trades]
    for ts, is_row, item in sorted(stream, key=lambda x: x[:2]):
        if not is_row:
            way = BUY_EVENT if item[1] > 0 else SELL_EVENT
            found.append((TRADE_EVENT | way | both, ts, item[2], item[3]))
            continue
        for way, price in ((BUY_EVENT, item[1]), (SELL_EVENT, item[2])):
            if best[way] and best[way] != price:
                found.append((DEPTH_EVENT | way | both, ts, best[way], 0.0))
        for way, price, qty in ((BUY_EVENT, item[1], item[3]), (SELL_EVENT, item[2], item[4])):
            found.append((DEPTH_EVENT | way | both, ts, price, qty))
            best[way] = price
    made = np.zeros(len(found), event_dtype)
    for k, (ev, ts, px, qty) in enumerate(found):
        made[k]["ev"], made[k]["exch_ts"], made[k]["local_ts"], made[k]["px"], made[k]["qty"] = ev, ts, ts, px, qty
    return made


@njit
def play(hbt, sent_ns, sides, prices, qty, life_ns, filled):
    hbt.elapse(1)  # before that its clock stands at the end of time
    for k in range(len(sent_ns)):
        if hbt.elapse(sent_ns[k] - hbt.current_timestamp) != 0:
            return
        if sides[k] > 0:
            hbt.submit_buy_order(0, k, prices[k], qty, GTX, LIMIT, False)
        else:
            hbt.submit_sell_order(0, k, prices[k], qty, GTX, LIMIT, False)
        if hbt.elapse(life_ns) != 0:
            return
        order = hbt.orders(0).get(k)
        if order is not None and order.cancellable:
            hbt.cancel(0, k, False)
        if hbt.elapse(500_000_000) != 0:
            return
        order = hbt.orders(0).get(k)
        filled[k] = order is not None and order.status == FILLED
        hbt.clear_inactive_orders(0)


def main(source: str, target: str) -> None:
    given = np.load(source)
    late_ns = int(given["late_ns"])
    stream = events(
        given["rows"].tolist(), given["trades"].tolist()
    )  # the peer keeps its address alone: it must live on
    asset = (
        BacktestAsset()
        .data([stream])
        .linear_asset(1.0)
        .constant_order_latency(late_ns, 0)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(0.1)
        .lot_size(0.1)
    )
    filled = np.zeros(len(given["sent_ns"]), np.bool_)
    hbt = HashMapMarketDepthBacktest([asset])
    play(hbt, given["sent_ns"], given["sides"], given["prices"], float(given["qty"]), int(given["life_ns"]), filled)
    hbt.close()
    assert len(stream)
    np.save(target, filled)


if __name__ == "__main__":
    main(*sys.argv[1:])
