"""The basis of a tape, its two masks, and what is said where the quotes have no answer."""

import numpy as np
import pytest
from studies import study

from delta_arb.errors import SeriesError
from delta_arb.market import NS, PERP, SPOT
from delta_arb.quotes.inputs import Inputs
from delta_arb.quotes.tape import Tape
from delta_arb.report import choice_tables, spread_tables
from delta_arb.stats.basis import above_costs, basis_of, reach
from delta_arb.stats.mean_reversion import answered, fit_step_s, mean_reversion

INPUTS = Inputs()  # the sample's
FEES_BPS = 20.0  # four of 5 bps


def quoted(*rows) -> Tape:
    """Rows of (second, leg, bid, ask); sizes are 1."""
    return Tape.of([(round(s * NS), leg, bid, ask, 1.0, 1.0) for s, leg, bid, ask in rows])


def test_edges_are_in_bps_of_the_spot_price():
    seen = basis_of(quoted((0, SPOT, 99.0, 100.0), (0, PERP, 101.0, 102.0)), FEES_BPS, 1.0)
    assert seen.entry_bps[-1] == pytest.approx(100.0)  # (101 - 100) / 100
    assert seen.exit_bps[-1] == pytest.approx(10_000 * (102 - 99) / 99)
    assert seen.basis_bps[-1] == pytest.approx(10_000 * (101.5 - 99.5) / 99.5)
    assert seen.fees_bps == pytest.approx(20.0)


def test_a_book_may_be_known_and_yet_too_old_for_a_decision():
    seen = basis_of(quoted((0, SPOT, 99.0, 100.0), (0, PERP, 101.0, 102.0), (5, PERP, 101.0, 102.0)), FEES_BPS, 1.0)
    assert seen.known.tolist() == [True, True] and seen.fresh.tolist() == [True, False]


def test_between_two_rows_of_one_stamp_no_price_counts():
    minute = [(60 * k, leg, 99.99 + k, 100.01 + k) for k in range(3) for leg in (SPOT, PERP)]
    seen = basis_of(quoted(*minute), FEES_BPS, 60.0)  # each minute both legs move by 1 %, in two rows of one stamp
    assert np.abs(seen.basis_bps).max() > 90 and np.abs(seen.basis_bps[seen.known]).max() == pytest.approx(0.0)
    assert not seen.fresh[~seen.known].any() and seen.known.sum() == 3


def test_an_episode_lasts_while_the_books_count_as_fresh():
    rows = [
        (60 * k, leg, bid, bid + 0.01) for k in range(4) for leg, bid in ((SPOT, 99.99), (PERP, 101.0 if k < 2 else 99))
    ]
    found = above_costs(basis_of(quoted(*rows), FEES_BPS, 60.0))["closing at no cost"]
    assert found.durations_s.tolist() == [120.0]


def test_an_episode_ends_with_the_first_fresh_quotes_below_the_level():
    high, low = (101.0, 101.1), (99.0, 99.1)
    rows = [(0, SPOT, 99.99, 100.0), (0, PERP, *high)]
    for second, perp in ((1, high), (2, high), (3, low), (4, low), (5, high), (6, low)):
        rows += [(second, SPOT, 99.99, 100.0), (second, PERP, *perp)]
    found = above_costs(basis_of(quoted(*rows), FEES_BPS, 1.0))["closing at no cost"]
    assert found.count == 2 and found.durations_s.tolist() == [3.0, 1.0]


def test_a_good_price_on_a_stale_book_is_no_episode():
    rows = [(0, SPOT, 99.99, 100.0), (0, PERP, 99.0, 99.1), (1, SPOT, 99.99, 100.0), (5, PERP, 101.0, 101.1)]
    found = above_costs(basis_of(quoted(*rows), FEES_BPS, 1.0))
    assert found["closing at no cost"].count == 0


def test_without_fresh_books_tables_say_so_and_hold_no_number():
    seen = basis_of(quoted((0, SPOT, 99.0, 100.0), (5, PERP, 101.0, 102.0), (9, PERP, 101.0, 102.0)), FEES_BPS, 1.0)
    assert not seen.fresh.any() and reach(seen) is None
    assert "no answer" in repr(spread_tables.percentiles(seen))
    assert "no event has fresh books" in repr(spread_tables.episodes(seen, 0.1))


def test_costs_are_four_fees_and_the_own_spread_of_both_books():
    rows = [(s, leg, *book) for s in range(5) for leg, book in ((SPOT, (99.95, 100.05)), (PERP, (100.8, 101.0)))]
    stack = choice_tables.cost_stack(tape := quoted(*rows), basis_of(tape, FEES_BPS, 1.0), INPUTS)
    assert stack.spot_crossing_bps == pytest.approx(10.0)
    assert stack.perp_crossing_bps == pytest.approx(1e4 * 0.2 / 100.9)
    assert stack.total_bps == pytest.approx(20.0 + 10.0 + 1e4 * 0.2 / 100.9)


def test_the_half_life_put_in_is_within_the_interval_found():
    found = mean_reversion(study("sample").basis).half_life.value
    assert found.low_s < 600.0 < found.high_s


def test_a_frozen_leg_has_a_reason_where_a_half_life_would_be():
    found = mean_reversion(study("frozen_leg").basis)
    assert found.half_life.value is None and "perp stood still" in found.half_life.reason


def test_a_random_walk_is_given_no_half_life():
    found = mean_reversion(study("random_walk").basis)
    assert found.half_life.value is None and "random walk" in found.half_life.reason
    assert "half-life, OU under noise" in repr(found) and "no answer" in repr(found)
    assert "No speed can be given" in found.verdict


def test_only_a_series_without_an_answer_becomes_a_reason():
    def refuses():
        raise SeriesError("too short")

    assert answered(refuses).reason == "too short"
    with pytest.raises(ZeroDivisionError):
        answered(lambda: 1 / 0)


def test_the_fit_steps_over_several_rows_of_the_slower_leg():
    assert fit_step_s(study("no_edge").basis) == pytest.approx(10.0)  # a day, 2 s between rows: five of them
    assert fit_step_s(study("sample").basis) == pytest.approx(13.0)  # three days in at most 20,000 points


def test_estimates_stand_beside_the_truth_that_was_put_in():
    s = study("sample")
    table = spread_tables.against_truth(s.inputs, mean_reversion(s.basis))
    assert table.rows[0][:2] == ("half-life", "10 min")


def test_real_quotes_have_no_truth(tmp_path):
    (tmp_path / "truth.json").write_text("{}")  # whatever lies beside them
    files = {leg: str(tmp_path / f"{leg}.csv") for leg in ("spot", "perp")}
    real = Inputs(**files, funding="none", pair="X", contract_size=1.0)
    assert "no truth is known" in repr(spread_tables.against_truth(real, mean_reversion(study("sample").basis)))


@pytest.mark.parametrize("regime", ["sample", "random_walk", "no_edge", "frozen_leg"])
def test_the_last_words_hold_for_any_world(regime):
    s = study(regime)
    said = repr(spread_tables.findings(s.tape, s.basis, mean_reversion(s.basis)))
    assert "Recording:" in said and "four fees of 20 bps" in said and "nan" not in said


def test_too_short_a_recording_has_reasons_and_no_numbers():
    rows = [(s / 4, leg, 99.0 + leg, 100.0 + leg) for s in range(8) for leg in (SPOT, PERP)]
    seen = basis_of(quoted(*rows), FEES_BPS, 1.0)
    found = mean_reversion(seen)
    assert found.half_life.value is None and found.stationarity.value is None and found.levels.value is None
    assert np.isfinite(fit_step_s(seen))
