"""What limited wallets go through, by hand; the sentence where nothing limited them; and wallets over a joint."""

import pytest
from strategies import leg_rule, perp, rule, seconds, spot

from delta_arb import params
from delta_arb.backtest.replay import run
from delta_arb.latency import Latency
from delta_arb.optimize.study import Market, Thresholds
from delta_arb.quotes.tape import Tape
from delta_arb.report import money_tables
from delta_arb.venue_terms import VenueTerms
from delta_arb.wallets import BOUNDLESS, Funds, Rebalancing

QUICK = Latency(0.2, 0.2)
ROWS = [quote for s in range(6) for quote in (spot(s, 99.5, 100), perp(s, 101, 101.5))]
POOR = Funds(400.0, 2000.0, rebalancing=Rebalancing(50.0, 10.0, seconds(2)))  # ten coins at 100 are not paid by 400


def said(funds: Funds, **changes) -> dict[str, tuple[str, str]]:
    tape = Tape.of(ROWS)
    found = money_tables.wallets_table(tape, run(tape, rule(**changes), QUICK, funds=funds, plain=True))
    return {name: (value, remark) for name, value, remark in found.rows}


def test_without_wallets_one_sentence_says_so():
    tape = Tape.of(ROWS)
    found = money_tables.wallets_table(tape, run(tape, rule(), QUICK, plain=True))
    assert found.sentences == (money_tables.UNLIMITED,)


def test_what_wallets_hold_refuse_and_send_is_told():
    """Of 2,400 a full position takes 1,000 and at leverage 1 as much margin; half of 2,000 - 400 is sent, and pays 790."""
    found = said(POOR)
    assert found["capital, USDT"][0] == "2,400.00"
    assert [found[f"of it {name}"][0] for name in ("spot notional", "margin", "buffer")] == [
        "1,000.00",
        "1,000.00",
        "400.00",
    ]
    assert (found["entries refused"][0], found["days blocked"][0]) == ("1", "1")
    assert found["transfers"] == ("1", "10.00 USDT of fees, 2 s each")
    assert found["transfers a month"][0] == "518,400.0"  # one in five seconds
    assert found["least distance to liquidation"] == ("n/a", "maintenance rate not known")


def test_a_capital_that_cannot_carry_a_full_position_says_so():
    assert said(Funds(400.0, 100.0))["of it buffer"] == ("-1,500.00", "too little for a full position")


def test_the_least_distance_is_that_of_the_worst_hold():
    """Short at 101 with leverage 5 and a maintenance of 2 %: taken at 101 x 1.2 / 1.02 = 118.82, the mark is 101.25."""
    found = said(POOR, perp=leg_rule(leverage=5, maintenance=0.02))
    assert found["least distance to liquidation"] == ("17.4 %", "0 shorts liquidated")
    assert found["of it margin"] == ("200.00", "at leverage 5")
    idle = said(POOR, entry=1.0, perp=leg_rule(leverage=5, maintenance=0.02))
    assert idle["least distance to liquidation"] == ("n/a", "nothing was short")


# --- Wallets over a joint (see `Market.in_turn`) ------------------------------------------------------------------------------

# Ten coins bought at 100 are sold at 89 after the fall: 1,005 USDT of spot are then 895, and 1,000 more cannot be paid.
FALL = [
    *(quote for s in range(3) for quote in (spot(s, 99.5, 100), perp(s, 102, 102.5))),
    *(quote for s in range(3, 6) for quote in (spot(s, 89, 89.5), perp(s, 88.5, 89))),
    *(quote for s in range(6, 9) for quote in (spot(s, 89, 89.5), perp(s, 92, 92.5))),
    *(quote for s in range(9, 12) for quote in (spot(s, 89, 89.5), perp(s, 88.5, 89))),
]


@pytest.mark.parametrize(("funds", "trades"), [(BOUNDLESS, 2), (Funds(1005.0, 1500.0), 1), (Funds(2000.0, 2000.0), 2)])
def test_the_next_rule_meets_the_wallets_that_the_last_pair_left(funds, trades):
    settings = params.Rule(
        entry_bps=None,
        exit_bps=None,
        max_hold_s=60.0,
        clip_usdt=1000.0,
        rearm_bps=0.0,
        leg_deadline_s=3.0,
        price_bound_bps=0.0,
    )
    tape, levels = Tape.of(FALL), Thresholds(150.0, 20.0, 60.0)
    market = Market(
        VenueTerms(venue="a", taker_fee_bps=0.0),
        VenueTerms(venue="b", taker_fee_bps=0.0),
        QUICK,
        (),
        settings,
        funds=funds,
    )
    joined = market.in_turn(tape, [(0, levels), (seconds(5), levels)], tape.end_ns + 1)
    one = market.replay(tape, levels)
    assert len(one.trades) == len(joined.trades) == trades
    assert (joined.net_usdt, joined.capital_usdt) == (one.net_usdt, one.capital_usdt)
    assert joined.purse == one.purse
