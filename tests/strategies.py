"""Small tapes, rules and machine events for the tests, by hand and at random (hypothesis).

Prices stand around 100 USDT, so that 1 USDT is 1 % and an edge of 0.01 is hit exactly by 100 and 101. Times are
whole tenths of a second, latencies too, so that reports, quotes and timers often fall on the same instant.
"""

from dataclasses import dataclass

from hypothesis import strategies as st

from delta_arb.backtest import Latency
from delta_arb.market import PERP, SPOT, Book, Fill, FundingPayment
from delta_arb.strategy import LegRule, Rule
from delta_arb.tape import Tape

SECOND = 1_000_000_000
TENTH = SECOND // 10


def seconds(s: float) -> int:
    """Nanoseconds of some seconds."""
    return round(s * SECOND)


# --- By hand ---------------------------------------------------------------------------------------------------------


def leg_rule(*, step=0.0, min_qty=0.0, min_notional_usdt=0.0, fee=0.0) -> LegRule:
    return LegRule(float(step), float(min_qty), float(min_notional_usdt), float(fee))


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
) -> Rule:
    """A rule without fees and grids: enter at an edge of 1 %, leave at a cost of zero, one clip of 1000 USDT."""
    return Rule(
        may_enter, flatten, float(entry), float(exit), float(rearm), seconds(max_hold_s), float(clip_usdt),
        float(participation), float(step), seconds(max_quote_age_s), float(price_bound), float(leg_tolerance),
        seconds(leg_deadline_s), spot or leg_rule(), perp or leg_rule(),
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

QUOTED_BIDS = {SPOT: (99.0, 99.5, 99.5, 100.0), PERP: (98.0, 99.0, 99.5, 100.0, 101.0, 101.5, 102.0)}
QUOTED_SPREADS = (0.5, 0.5, 0.5, 1.0, 1.0, 0.0, -1.0)  # now and then locked or crossed
QUOTED_SIZES = (0.0, 1.0, 2.0, 2.5, 4.0, 10.0, 10.0, 50.0)
GAPS = (0, 0, 1, 1, 1, 2, 2, 3, 5, 8, 12, 40)  # tenths of a second


def rows_of(leg: int):
    return st.tuples(
        st.sampled_from(GAPS), st.just(leg), st.sampled_from(QUOTED_BIDS[leg]), st.sampled_from(QUOTED_SPREADS),
        st.sampled_from(QUOTED_SIZES), st.sampled_from(QUOTED_SIZES),
    )  # fmt: skip


@st.composite
def quotes(draw):
    """Recordings of both legs in time order, ties included; spot comes first at equal stamps."""
    row = rows_of(SPOT) | rows_of(PERP)
    short, long = st.lists(row, max_size=3), st.lists(row, min_size=25, max_size=80)
    rows, tenths = [], 0
    for gap, leg, bid, spread, bid_qty, ask_qty in draw(st.one_of(short, long, long, long)):
        tenths += gap
        rows.append((tenths * TENTH, leg, bid, bid + spread, bid_qty, ask_qty))
    rows = [spot(0.0, 99.5, 100.0), perp(0.0, 101.0, 101.5), *rows]
    return sorted(rows, key=lambda row: (row[0], row[1]))


latencies = st.builds(Latency, *(st.sampled_from((0.05, 0.1, 0.2, 0.3, 1.0)) for _ in range(2)))
kinds = st.sampled_from(("updates", "snapshots"))
leg_rules = st.builds(
    leg_rule,
    step=st.sampled_from((0.0, 0.5, 1.0, 2.0)),
    min_qty=st.sampled_from((0.0, 1.0)),
    min_notional_usdt=st.sampled_from((0.0, 5.0, 120.0)),
    fee=st.sampled_from((0.0, 0.0005, 0.01)),
)


@st.composite
def rules(draw):
    """Rules whose thresholds the random quotes often hit exactly; the deadline is above latency plus age."""
    legs = draw(leg_rules), draw(leg_rules)
    entry = draw(st.sampled_from((-0.01, 0.0, 0.005, 0.01, 0.01, 0.015)))
    return rule(
        entry=entry,
        exit=draw(st.sampled_from((-1.0, -0.01, 0.0, 0.0, 0.005, 0.01))),
        rearm=draw(st.sampled_from((0.0, 0.01))),
        max_hold_s=draw(st.sampled_from((0.05, 0.3, 1.0, 4.0, 600.0))),
        clip_usdt=draw(st.sampled_from((250.0, 450.0, 1000.0))),
        participation=draw(st.sampled_from((0.5, 1.0))),
        step=max(leg.step for leg in legs),  # 0.5, 1 and 2 divide each other
        max_quote_age_s=draw(st.sampled_from((0.2, 0.5, 1.0))),
        price_bound=draw(st.sampled_from((0.0, 0.005, 0.02))),
        leg_tolerance=draw(st.sampled_from((0.0, 0.05, 0.3))),
        leg_deadline_s=draw(st.sampled_from((2.1, 3.0, 5.0))),
        spot=legs[0],
        perp=legs[1],
        may_enter=draw(st.integers(0, 19)) > 0,
        flatten=draw(st.integers(0, 19)) == 0,
    )


@dataclass(frozen=True)
class Case:
    """One replay: what is quoted, how it was recorded, what rules."""

    quotes: list
    kinds: tuple[str, str]
    latency: Latency
    rule: Rule

    @property
    def tape(self) -> Tape:
        return Tape.of(self.quotes, spot_kind=self.kinds[0], perp_kind=self.kinds[1])


cases = st.builds(Case, quotes(), st.tuples(kinds, kinds), latencies, rules())
