"""The filtered basis, step by step: by hand, and against the likelihood's own filter."""

import math

import numpy as np
import pytest

from delta_arb.market import NS, Book
from delta_arb.stats.ou import Process, filtered
from delta_arb.strategy.signal import OFF, UNKNOWN, Estimate, Filter, step

TEN_MINUTES = math.log(2) / 600


def books(basis: float) -> tuple[Book, Book]:
    """A spot mid of 1 and a perpetual's mid of 1 + basis."""
    return Book(0.9999, 1.0001, 5.0, 5.0, 0), Book(1 + basis - 0.0001, 1 + basis + 0.0001, 5.0, 5.0, 0)


def test_the_first_quote_is_weighed_against_the_stationary_process():
    """Variance 4 of the process against 1 of the noise (1e-6): the gain is 4 / 5 of an observation of 10 bps over a mean of 0."""
    known, shift = step(UNKNOWN, 7 * NS, *books(0.0010), Filter(TEN_MINUTES, 0.0, 0.002, 0.001, 0.0))
    assert known == pytest.approx(Estimate(7 * NS, 0.0008, 0.8e-6), rel=1e-9)
    assert shift == pytest.approx(-0.0002, rel=1e-9)


def test_after_one_half_life_half_of_the_way_to_the_mean_is_expected():
    """Level 10 bps over a mean of 2 is expected at 6; the quote says 6 as well, so nothing is shifted."""
    process = Filter(TEN_MINUTES, 0.0002, 0.002, 0.001, 0.0)
    known, shift = step(Estimate(0, 0.0010, 0.0), 600 * NS, *books(0.0006), process)
    assert known.level == pytest.approx(0.0006, rel=1e-9)
    assert shift == pytest.approx(0.0, abs=1e-12)


def test_a_quote_within_the_step_teaches_nothing_but_is_compared_with_what_is_expected():
    process = Filter(TEN_MINUTES, 0.0, 0.002, 0.001, step_s=2.0)
    before = Estimate(10 * NS, 0.0010, 1e-7)
    known, shift = step(before, 11 * NS, *books(0.0030), process)
    assert known is before
    assert shift == pytest.approx(0.0010 * math.exp(-TEN_MINUTES) - 0.0030, rel=1e-6)


def test_a_withdrawn_or_crossed_book_teaches_nothing():
    process = Filter(TEN_MINUTES, 0.0, 0.002, 0.001, 0.0)
    spot, perp = books(0.0010)
    for bad in (spot._replace(ask_qty=0.0), spot._replace(bid=1.1)):
        assert step(UNKNOWN, NS, bad, perp, process) == (UNKNOWN, 0.0)


def test_an_old_book_teaches_nothing():
    """The perpetual was confirmed at 0, the limit is one second."""
    process = Filter(TEN_MINUTES, 0.0, 0.002, 0.001, 0.0, max_age_ns=NS)
    spot, perp = books(0.0010)
    spot = spot._replace(fresh_ns=2 * NS)
    assert step(UNKNOWN, 2 * NS, spot, perp, process) == (UNKNOWN, 0.0)
    assert step(UNKNOWN, 2 * NS, spot, perp._replace(fresh_ns=NS), process)[0].ts_ns == 2 * NS


def test_switched_off_it_shifts_nothing():
    assert step(UNKNOWN, NS, *books(0.5), OFF) == (UNKNOWN, 0.0)


def test_it_agrees_with_the_filter_of_the_likelihood():
    """The same process on irregular times, written differently (innovations form): every level to 1e-12."""
    rng = np.random.default_rng(1)
    ts_ns = np.cumsum(rng.integers(1, 5 * NS, 400))
    basis = rng.normal(0, 0.001, 400)
    process = Process(theta=TEN_MINUTES, mean=0.0001, sd=0.002, noise_sd=0.001, log_likelihood=0.0, n=400, span_s=1.0)
    levels, known = [], UNKNOWN
    for ts, value in zip(ts_ns.tolist(), basis.tolist(), strict=True):
        known, _ = step(known, ts, *books(value), Filter(TEN_MINUTES, 0.0001, 0.002, 0.001, 0.0))
        levels.append(known.level)
    assert levels == pytest.approx(filtered(basis, ts_ns, process).level.tolist(), abs=1e-12)
