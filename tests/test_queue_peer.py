"""Resting orders beside hftbacktest 2.4.4 on the same stream: its fills lie between ours under back or through, and front."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from delta_arb.market import BACK, FRONT, NS, THROUGH
from delta_arb.strategy.quoting import crosses, joined, on_print, on_row

PEER = "hftbacktest==2.4.4"
LATE_NS, LIFE_NS, QTY, ORDERS = NS // 10, 5 * NS, 0.1, 1000


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The interpreter of an environment that holds nothing but the peer."""
    place = tmp_path_factory.mktemp("peer") / "env"
    python = place / "bin" / "python"
    if uv := shutil.which("uv"):
        commands = (
            [uv, "venv", "-q", "--python", sys.executable, place],
            [uv, "pip", "install", "-q", "--python", python, PEER],
        )
    else:
        commands = [sys.executable, "-m", "venv", place], [python, "-m", "pip", "install", "-q", PEER]
    for command in commands:
        subprocess.run([*map(str, command)], check=True)
    return python


def stream(seed: int):
    """A walk of the best level, trades at and beyond it, and orders that join it, improve it or stand behind; whole ticks."""
    rng, seconds = np.random.default_rng(seed), ORDERS * 6 + 20
    n = seconds * 4
    ts = np.sort(rng.choice(seconds * 1000, n, replace=False)).astype(np.int64) * 1_000_000 + NS
    bid = 10_000 + np.cumsum(rng.choice((-1, 0, 0, 0, 0, 1), n))
    ask = bid + rng.integers(1, 4, n)
    rows, trades = [], []
    for k in range(n):
        if rng.random() < 0.5:
            rows.append((ts[k], bid[k] / 10, ask[k] / 10, rng.integers(1, 20) / 1.0, rng.integers(1, 20) / 1.0))
        elif rows:
            side, last = (1 if rng.random() < 0.5 else -1), rows[-1]
            price = round((last[2] if side > 0 else last[1]) * 10) + side * (rng.random() < 0.2) * rng.integers(1, 3)
            trades.append((ts[k], side, price / 10, rng.integers(1, 12) / 1.0))
    sent_ns = np.arange(ORDERS) * 6 * NS + 10 * NS
    at = np.searchsorted([row[0] for row in rows], sent_ns, "right") - 1
    sides = rng.choice((-1, 1), ORDERS)
    prices = [
        round(rows[k][1 if s > 0 else 2] * 10 + s * o) / 10
        for k, s, o in zip(at, sides, rng.choice((-2, -1, 0, 0, 0, 1), ORDERS))
    ]
    return np.array(rows), np.array(trades), sent_ns, sides, np.array(prices)


def ours(rows, trades, sent_ns, sides, prices, place: int) -> np.ndarray:
    """Which orders our rules fill whole."""
    row_ns, trade_ns, filled = rows[:, 0], trades[:, 0], np.zeros(len(sent_ns), bool)
    for k, (at, side, price) in enumerate(zip(sent_ns + LATE_NS, sides.tolist(), prices.tolist(), strict=True)):
        first = int(np.searchsorted(row_ns, at, "right"))
        _, bid, ask, bid_qty, ask_qty = rows[first - 1]
        if crosses(side, price, bid, ask):
            continue
        order = joined(side, price, QTY, *((bid, bid_qty) if side > 0 else (ask, ask_qty)))
        until = at + LIFE_NS
        later = [
            (t[0], 0, t)
            for t in trades[np.searchsorted(trade_ns, at, "right") : np.searchsorted(trade_ns, until, "right")]
        ]
        later += [(r[0], 1, r) for r in rows[first : np.searchsorted(row_ns, until, "right")]]
        for _, is_row, item in sorted(later, key=lambda x: x[:2]):
            if is_row:
                _, bid, ask, bid_qty, ask_qty = item
                own, other = ((bid, bid_qty), (ask, ask_qty)) if side > 0 else ((ask, ask_qty), (bid, bid_qty))
                order, _ = on_row(order, *own, *other)
            else:
                order, _ = on_print(order, int(item[1]), item[2], item[3], place)
            if order.left <= 1e-9:
                filled[k] = True
                break
    return filled


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_hftbacktest_fills_what_back_or_through_fill_and_no_more_than_front(seed, python, tmp_path):
    rows, trades, sent_ns, sides, prices = stream(seed)
    given, target = tmp_path / "stream.npz", tmp_path / "filled.npy"
    known = {"late_ns": LATE_NS, "life_ns": LIFE_NS, "qty": QTY}
    np.savez(given, rows=rows, trades=trades, sent_ns=sent_ns, sides=sides, prices=prices, **known)
    subprocess.run([str(python), str(Path(__file__).with_name("queue_peer.py")), str(given), str(target)], check=True)
    theirs = np.load(target)
    front, back, through = (ours(rows, trades, sent_ns, sides, prices, place) for place in (FRONT, BACK, THROUGH))
    assert theirs.sum() > ORDERS / 10 and not theirs.all() and (back | through).sum() > ORDERS / 20
    assert not ((back | through) & ~theirs).any()
    assert not (theirs & ~front).any()
