"""Small tapes, rules and machine events for the tests, by hand and at random (hypothesis).

Prices stand around 100 USDT, so that 1 USDT is 1 % and an edge of 0.01 is hit exactly by 100 and 101. Times are
whole tenths of a second, latencies too, so that reports, quotes and timers often fall on the same instant.
"""

import math
import random
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st
from scipy.signal import lfilter

from delta_arb.latency import Delay, Latency
from delta_arb.market import PERP, SPOT, Book, Fill, FundingPayment
from delta_arb.quotes import candles
from delta_arb.quotes.tape import TAPE_COLUMNS, Tape, align
from delta_arb.strategy.signal import OFF, Filter
from delta_arb.strategy.state import LegRule, MachineRule
from delta_arb.wallets import Funds

SECOND = 1_000_000_000
TENTH = SECOND // 10


def random_rows(choices, shortest, longest):
    """Lists of tuples with one of each of the choices; a failing list shrinks to its shortest failing beginning.

    Rows come from a seeded generator, because drawing each value would cost ten times as much.
    """

    def rows(seed, n):
        rng = random.Random(seed)
        return [tuple(rng.choice(options) for options in choices) for _ in range(n)]

    return st.builds(rows, st.integers(0, 2**32), st.integers(shortest, longest))


def seconds(s: float) -> int:
    """Nanoseconds of some seconds."""
    return round(s * SECOND)


# --- By hand ---------------------------------------------------------------------------------------------------------


def leg_rule(
    *, step=0.0, min_qty=0.0, min_notional_usdt=0.0, fee=0.0, leverage=1.0, tick=0.0, fee_in_base=False, maintenance=0.0
) -> LegRule:
    numbers = (step, min_qty, min_notional_usdt, fee, leverage, tick)
    return LegRule(*(float(n) for n in numbers), fee_in_base, float(maintenance))


def rule(
    *,
    entry=0.01,
    exit=0.0,  # noqa: A002, the word of the trade
    rearm=0.0,
    max_hold_s=60.0,
    clip_usdt=1000.0,
    participation=1.0,
    step=0.0,
    max_quote_age_s=1.0,
    price_bound=0.02,
    leg_tolerance=0.0,
    leg_deadline_s=5.0,
    spot=None,
    perp=None,
    may_enter=True,
    flatten=False,
    filter=OFF,  # noqa: A002
    reverse_entry=math.inf,
    reverse_exit=-math.inf,
    max_position_usdt=0.0,
    funding_horizon_s=0.0,
) -> MachineRule:
    """A rule without fees and grids: enter at an edge of 1 %, leave at a cost of zero, one clip of 1000 USDT."""
    return MachineRule(
        may_enter, flatten, float(entry), float(exit), float(rearm), seconds(max_hold_s), float(clip_usdt),
        float(participation), float(step), seconds(max_quote_age_s), float(price_bound), float(leg_tolerance),
        seconds(leg_deadline_s), spot or leg_rule(), perp or leg_rule(), filter, float(reverse_entry), float(reverse_exit),
        float(max_position_usdt), float(funding_horizon_s),
    )  # fmt: skip


def book(bid, ask, *, bid_qty=100.0, ask_qty=100.0, at=0.0) -> Book:
    """A book last confirmed `at` seconds."""
    return Book(float(bid), float(ask), float(bid_qty), float(ask_qty), seconds(at))


def spot(s: float, bid: float, ask: float, bid_qty: float = 100.0, ask_qty: float = 100.0) -> tuple:
    """A spot quote at second `s`."""
    return (seconds(s), SPOT, bid, ask, bid_qty, ask_qty)


def perp(s: float, bid: float, ask: float, bid_qty: float = 100.0, ask_qty: float = 100.0) -> tuple:
    """A quote of the perpetual at second `s`."""
    return (seconds(s), PERP, bid, ask, bid_qty, ask_qty)


def ou_path(n: int, half_life: float, seed: int = 0) -> np.ndarray:
    """A stationary Ornstein-Uhlenbeck path of mean 0 and sd 1; `half_life` in steps, 0 for white noise."""
    draws = np.random.default_rng(seed).standard_normal(n)
    phi = 0.5 ** (1 / half_life) if half_life else 0.0
    draws[1:] *= (1 - phi * phi) ** 0.5
    return lfilter([1.0], [1.0, -phi], draws)


def rewritten(tape: Tape, **columns) -> Tape:
    """The same events with other columns, or of other kinds."""
    same = (*TAPE_COLUMNS, "spot_kind", "perp_kind", "quality", "bar_s", "queues", "depths")
    return Tape.wide(**{name: getattr(tape, name) for name in same} | columns)


def basis_tape(basis_bps, step_s: float = 1.0, width_bps: float = 2.0) -> Tape:
    """Both legs quoted every `step_s`: mids this far apart, exit cost `width_bps` above the entry edge, spot moving."""
    n = len(basis_bps)
    spot_mid = 100.0 + 0.1 * np.sin(np.arange(n) / 50.0)
    perp_mid = spot_mid * (1 + np.asarray(basis_bps, float) / 1e4)
    row = np.arange(2 * n)  # of the two of an instant spot is the first, with the perpetual of before
    latest = row // 2, np.maximum(row - 1, 0) // 2
    books = [
        mid[rows] * (1 + side * width_bps / 4e4)
        for mid, rows in zip((spot_mid, perp_mid), latest, strict=True)
        for side in (-1, 1)
    ]
    size, fresh = np.full(2 * n, 100.0), np.zeros(2 * n, np.int64)
    ts_ns, leg = latest[0] * seconds(step_s), np.tile(np.array([SPOT, PERP], np.uint8), n)
    return Tape.wide(
        ts_ns, leg, *books[:2], size, size, *books[2:], size, size, fresh, ts_ns - latest[1] * seconds(step_s)
    )


START = 1_700_006_400 * SECOND  # of candles: a whole day


def hours(spot, perp, *, half_spread: float = 0.0001) -> Tape:
    """Hourly candles of two legs, each hour's open and close its price, with volume enough; NaN: it did not trade."""
    legs = []
    for prices in (spot, perp):
        prices = np.asarray(prices, float)
        there = np.isfinite(prices)
        legs.append(
            candles.quotes(
                candles.Bars(START, 3600 * SECOND, prices, prices, there * 6e6, there, there), half_spread, 1.0
            )
        )
    return replace(align(*legs), bar_s=3600.0)


# --- At random: money ------------------------------------------------------------------------------------------------

prices = st.floats(1e-5, 1e5)
quantities = st.floats(1e-3, 1e6)
rates = st.floats(-0.02, 0.02)


@st.composite
def books(draw, prices=prices):
    """A two-sided, uncrossed book of any size, zero included."""
    bid = draw(prices)
    ask = bid * (1 + draw(st.floats(1e-6, 0.05)))
    return Book(bid, ask, draw(st.floats(0, 1e6)), draw(st.floats(0, 1e6)), 0)


@st.composite
def pair_fills(draw, max_size=8):
    """Fills of one pair in time order: any legs, signs, sizes and fees, several at one instant too."""
    ts_ns, fills = draw(st.integers(1, 10**6)), []
    for _ in range(draw(st.integers(1, max_size))):
        ts_ns += draw(st.integers(0, 5)) * SECOND
        qty = draw(quantities) * draw(st.sampled_from((-1, 1)))
        fills.append(Fill(1, ts_ns, draw(st.sampled_from((SPOT, PERP))), qty, draw(prices), draw(st.floats(-10, 100))))
    return fills


@st.composite
def payments(draw, max_size=6):
    """Funding stamps a few seconds apart."""
    ts_ns, stamps = 0, []
    for _ in range(draw(st.integers(0, max_size))):
        ts_ns += draw(st.integers(1, 10)) * SECOND
        stamps.append(FundingPayment(ts_ns, draw(rates), draw(prices), draw(st.booleans())))
    return stamps


# --- At random: tapes and rules --------------------------------------------------------------------------------------

ROWS = (
    (0, 0, 1, 1, 1, 2, 2, 3, 5, 8, 12, 40),  # tenths of a second after the row before
    (SPOT, PERP),
    (-0.5, 0.0, 0.0, 0.5),  # bid of spot above 99.5
    (-1.5, -0.5, 0.0, 0.5, 1.5, 2.0),  # bid of the perpetual above 99.5
    (0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 0.0, -1.0),  # ask above bid, now and then locked or crossed
    (0.0, 1.0, 2.5, 4.0, 10.0, 10.0, 50.0),  # shown at the bid
    (0.0, 1.0, 2.5, 4.0, 10.0, 10.0, 50.0),  # and at the ask
)


def quotes_from(rows):
    """Recordings of both legs in time order, ties included; spot comes first at equal stamps."""
    quotes, tenths = [spot(0.0, 99.5, 100.0), perp(0.0, 101.0, 101.5)], 0
    for gap, leg, spot_bid, perp_bid, spread, bid_qty, ask_qty in rows:
        tenths += gap
        bid = 99.5 + (spot_bid, perp_bid)[leg]
        quotes.append((tenths * TENTH, leg, bid, bid + spread, bid_qty, ask_qty))
    return sorted(quotes, key=lambda quote: (quote[0], quote[1]))


quotes = st.builds(quotes_from, random_rows(ROWS, 0, 90))
DELAYS = (
    None,
    None,
    Delay(0.1, 0.3),  # a distribution
    Delay(0.3, recorded=((0, seconds(1), seconds(2.5)), (2 * TENTH, 10 * TENTH, TENTH))),
)
latencies = st.builds(
    Latency,
    *(st.sampled_from((0.05, 0.1, 0.2, 0.3, 1.0)) for _ in range(2)),
    *(st.sampled_from(DELAYS) for _ in range(2)),
)
kinds = st.sampled_from(("updates", "snapshots"))
leg_rules = st.builds(
    leg_rule,
    step=st.sampled_from((0.0, 0.5, 1.0, 2.0)),
    min_qty=st.sampled_from((0.0, 1.0)),
    min_notional_usdt=st.sampled_from((0.0, 5.0, 120.0)),
    fee=st.sampled_from((0.0, 0.0005, 0.01)),
    tick=st.sampled_from((0.0, 0.0, 0.1, 0.7)),
)


@st.composite
def rules(draw, entries=(-0.01, 0.0, 0.005, 0.01, 0.01, 0.015), fees_in_base=(False,)):
    """Rules whose thresholds the random quotes often hit exactly; the deadline is above latency plus age."""

    def one_of(*options):
        return draw(st.sampled_from(options))

    legs = draw(leg_rules)._replace(fee_in_base=one_of(*fees_in_base)), draw(leg_rules)
    return rule(
        entry=one_of(*entries),
        exit=one_of(-1.0, -0.01, 0.0, 0.0, 0.005, 0.01, 0.015),
        rearm=one_of(0.0, 0.01),
        max_hold_s=one_of(0.05, 0.3, 1.0, 4.0, 600.0),
        clip_usdt=one_of(250.0, 450.0, 1000.0),
        participation=one_of(0.5, 1.0),
        step=max(leg.step for leg in legs),  # 0.5, 1 and 2 divide each other
        max_quote_age_s=one_of(0.2, 0.5, 1.0),
        price_bound=one_of(0.0, 0.005, 0.02, 0.02),
        leg_tolerance=one_of(0.0, 0.05, 0.3),
        leg_deadline_s=one_of(2.1, 3.0, 5.0),
        spot=legs[0],
        perp=legs[1],
        may_enter=one_of(*[True] * 14, False),
        flatten=one_of(*[False] * 14, True),
        max_position_usdt=one_of(0.0, 0.0, 0.0, 600.0, 2500.0),
        reverse_entry=one_of(math.inf, 0.0, 0.005, 0.01),
        reverse_exit=one_of(-math.inf, -0.01, 0.0, 0.005),
        filter=one_of(OFF, OFF, Filter(0.1, 0.005, 0.01, 0.004, 0.0, SECOND), Filter(0.5, 0.0, 0.005, 0.01, 0.2)),
    )


@dataclass(frozen=True)
class Case:
    """One replay: what is quoted, how it was recorded, what rules."""

    quotes: list
    kinds: tuple[str, str]
    latency: Latency
    rule: MachineRule
    inventory: float = 0.0

    @property
    def funds(self) -> Funds:
        return Funds(math.inf, math.inf, self.inventory)

    @property
    def tape(self) -> Tape:
        return Tape.of(self.quotes, spot_kind=self.kinds[0], perp_kind=self.kinds[1])


cases = st.builds(
    Case,
    quotes,
    st.tuples(kinds, kinds),
    latencies,
    rules(fees_in_base=(False, True)),
    st.sampled_from((0.0, 4.0, 1000.0)),
)
