"""Nothing later may change an earlier decision: quotes and funding of the future are poisoned, and the past must not move.

The whole procedure at once, on a filtered signal and with funding: choice, walk-forward, gates, champion, and runs of a
schedule one after another. Carry has the same tests beside its walk (`test_carry`).
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter
from strategies import perp, spot

from delta_arb.latency import Latency
from delta_arb.market import NS, FundingPayment
from delta_arb.optimize import search
from delta_arb.optimize.champion import InForce, against
from delta_arb.optimize.study import Constraints, Market, Thresholds
from delta_arb.optimize.verdict import Verdict, judge
from delta_arb.params import Rule
from delta_arb.quotes.tape import Tape
from delta_arb.venue_terms import VenueTerms

HOURS, ROW_S = 20, 10
DEMANDS = Constraints(look_back_h=HOURS, max_hold_s=3600.0)


def tape_of(poison_s: float = np.inf) -> Tape:
    """A basis of a half-life of 2 min and 12 bps under noise of 3; from `poison_s` on the perpetual stands 5 % higher and
    swings by 2 % from row to row."""
    rng, n = np.random.default_rng(3), HOURS * 3600 // ROW_S
    decay = 0.5 ** (ROW_S / 120)
    basis = lfilter([1.0], [1.0, -decay], rng.normal(0.0, 12.0 * np.sqrt(1 - decay**2), n)) + rng.normal(0.0, 3.0, n)
    later = np.arange(n) * ROW_S >= poison_s
    basis = np.where(later, 500.0 + 200.0 * (-1.0) ** np.arange(n), basis)
    asks, rows = 100.0 * np.exp(rng.normal(0.0, 1e-5, n).cumsum()), []
    for k, (ask, bid) in enumerate(zip(asks.tolist(), (asks * (1 + basis / 1e4)).tolist(), strict=True)):
        rows += [spot(k * ROW_S, ask - 0.001, ask), perp(k * ROW_S, bid, bid + 0.001)]
    return Tape.of(rows)


def market(poison_s: float = np.inf) -> Market:
    """Funding every hour, of 0.1 bps; from `poison_s` on of -300."""
    rates = [0.1e-4 if h * 3600 < poison_s else -0.03 for h in range(HOURS + 10)]
    payments = tuple(FundingPayment(h * 3600 * NS, rate, 100.0, True) for h, rate in enumerate(rates))
    settings = Rule(entry_bps=None, exit_bps=None, max_hold_s=3600.0, clip_usdt=1000.0, max_quote_age_s=ROW_S)
    venues = (VenueTerms(venue=name, taker_fee_bps=2.5) for name in ("spot", "perp"))
    return Market(*venues, Latency(1.0, 1.0), payments, settings, signal="filtered")


def decided(tape: Tape, here: Market) -> Verdict:
    return judge(tape, search.choose(tape, here, DEMANDS))


@pytest.fixture(scope="module")
def plain() -> Verdict:
    found = decided(tape_of(), market())
    assert found.trade and found.thresholds.filter is not None and len(found.judgement.walk.folds) >= 6
    return found


def test_quotes_and_funding_behind_the_fit_change_no_proposal(plain):
    from_s = plain.choice.window.judged_from_ns / NS
    poisoned = search.choose(tape_of(from_s), market(from_s), DEMANDS)
    choice = plain.choice
    assert (poisoned.proposal, poisoned.sweep, poisoned.passing) == (choice.proposal, choice.sweep, choice.passing)
    assert poisoned.fitted == choice.fitted and poisoned.half_life == choice.half_life
    assert poisoned.judged != choice.judged  # the poison was not spilled


@pytest.mark.parametrize("fold", [1, 4])
def test_quotes_and_funding_behind_a_fold_change_no_fold_and_no_pair_before_it(plain, fold):
    walk = plain.judgement.walk
    at_ns = walk.folds[fold].start_ns
    found = judge(tape_of(at_ns / NS), replace(plain.choice, market=market(at_ns / NS)))
    said = [
        [(f.start_ns, f.thresholds, f.reason, f.fit_net_usdt_day, f.probability) for f in w.folds[: fold + 1]]
        for w in (walk, found.judgement.walk)
    ]
    assert said[0] == said[1] and said[0][-1][1] is not None
    entered = [
        [(t.opened_ns, t.pair) for t in w.result.trades if w.result.entered[t.pair] < at_ns - NS]
        for w in (walk, found.judgement.walk)
    ]
    assert entered[0] == entered[1] and len(entered[0]) >= fold
    ended = [[t for t in w.result.trades if t.closed_ns < at_ns] for w in (walk, found.judgement.walk)]
    assert repr(ended[0]) == repr(ended[1])
    assert found.judgement.walk.nets.sum() != walk.nets.sum()


@pytest.mark.parametrize("passes", [True, False])
def test_funding_behind_the_last_quote_changes_no_verdict_and_no_contest(plain, passes):
    """The table of funding may reach further than the quotes: of that nothing is known yet."""
    tape = tape_of()
    here = market(HOURS * 3600)
    mine = plain.thresholds._replace(entry_bps=plain.thresholds.entry_bps + 2.0)
    held = InForce("", mine, tape.start_ns + 4 * 3600 * NS, tape.end_ns - 3600 * NS)
    of = [plain, decided(tape, here)]
    of = of if passes else [replace(v, trade=False, reason="refused") for v in of]
    one, other = (against(v, tape, held) for v in of)
    assert (one.trade, one.reason, one.thresholds) == (other.trade, other.reason, other.thresholds)
    assert repr(one.judgement) == repr(other.judgement) and repr(one.contest) == repr(other.contest)
    assert one.judgement.confidence == other.judgement.confidence and isinstance(one.thresholds, Thresholds)


def scheduled(tape: Tape, here: Market, hours) -> list[tuple]:
    """What runs at these hours say, each with the quotes until then and the thresholds that the one before left in force."""
    held, said = None, []
    for hour in hours:
        known = tape.between(0, hour * 3600 * NS)
        found = decided(known, here)
        found = against(found, known, held) if held else found
        said.append((found.trade, found.reason, found.thresholds, repr(found.judgement)))
        if found.trade:
            held = InForce("", found.thresholds, found.choice.window.judged_from_ns, known.end_ns)
    return said


def test_quotes_and_funding_to_come_change_no_run_of_a_schedule_before_them():
    hours = (17, 18, 20)
    plain, poisoned = (scheduled(tape_of(at_s), market(at_s), hours) for at_s in (np.inf, 18 * 3600))
    assert plain[:2] == poisoned[:2] and plain[2] != poisoned[2]
    assert plain[0][0] and "re-confirmed" in plain[1][1]
