"""Was live what the backtest says: sessions whose differences are known by hand, and runs that were tampered with.

One pair: 0.5 coins bought at 100 and sold at 100.9, the short opened at 101 and closed at 100.85, 5 bps on every fill:
0.5 * (0.9 + 0.15) - 0.0005 * (50 + 50.5 + 50.45 + 50.425) = 0.525 - 0.1006875 = 0.4243125 USDT.
"""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from strategies import perp, seconds, spot

from delta_arb import params
from delta_arb.latency import Latency
from delta_arb.live import event_log, replay
from delta_arb.live.event_log import EventLog, events_path
from delta_arb.live.journal import Journal
from delta_arb.live.paper import PaperVenue
from delta_arb.live.runner import CLOSED, FREE, Hold, Resumed, Runner
from delta_arb.market import SPOT, FundingPayment
from delta_arb.monitor.runners import read_journal
from delta_arb.quotes.depth_and_trades import prints, snapshot
from delta_arb.quotes.inputs import Inputs
from delta_arb.quotes.tape import Tape
from delta_arb.report import index
from delta_arb.review import __main__ as command
from delta_arb.review import fill_costs, plots, session_review, tables
from delta_arb.review.bridge import (
    BOUND,
    FAULT,
    FEES,
    GUARD,
    LATENCY,
    OTHER,
    PARAMETERS,
    START,
    TAKEN,
    UNEXPLAINED,
    Difference,
)
from delta_arb.review.session_log import PAPER, find, read
from delta_arb.review.tables import fills, findings, heading
from delta_arb.rule_params import RestingLeg
from delta_arb.strategy.rule import make_rule
from delta_arb.strategy.sizing import fee_usdt
from delta_arb.strategy.state import OUTSIDE, State

NET = 0.4243125
WIDE = [spot(0, 99.9, 100.0), perp(0, 101.0, 101.1)]
MOVED = [spot(0.15, 100.2, 100.3)]  # after the assumed arrival at 0.1 s, before the later one at 0.3 s
CLOSE = [spot(9.9, 100.9, 101.0), perp(10, 100.8, 100.85)]
LATER = [spot(10.5, 100.9, 101.0), perp(10.5, 100.8, 100.85), spot(11, 100.9, 101.0)]
INPUTS = Inputs(contract_size=0.0)
MODE = "by hand"


def rule_params(**changes) -> params.Rule:
    return params.Rule(
        **{"entry_bps": 50.0, "exit_bps": 0.0, "max_hold_s": 600.0, "clip_usdt": 50.0, "leg_deadline_s": 5.0} | changes
    )


def instruments(**margin):
    grid = {"contract_size": 1.0, "qty_step": 0.1, "min_qty": 0.1}
    spot_, perp_ = INPUTS.terms()
    return spot_.model_copy(update=grid), perp_.model_copy(update=grid | margin)


class Venue(PaperVenue):
    """Fills by the rule, but for what the script says of the nth order of the spot leg: None refuses it, else a share."""

    def __init__(self, *args, script=None, spot_fee=0.0005, rested_fee=0.0) -> None:
        super().__init__(*args)
        self.script, self.spot_fee, self.number, self.refused = script or {}, spot_fee, 0, ""
        self.rested_fee = rested_fee

    def send(self, leg, order_id, order, now_ns):
        if leg == SPOT:
            self.number += 1
            share = self.script.get(self.number, 1.0)
            self.refused = order_id if share is None else self.refused
            order = order._replace(qty=order.qty * (share or 1.0))
        super().send(leg, order_id, order, now_ns)

    def report(self):
        report = super().report()
        if report.order_id == self.refused:
            report = report._replace(filled=0.0, price=0.0, refused="30005")
        taken = self.spot_fee if report.leg == SPOT else 0.0005
        leg = self._legs[report.leg]._replace(fee=taken if report.fee_usdt is None else self.rested_fee)
        return report._replace(fee_usdt=fee_usdt(report.filled, report.price, leg), venue_ns=report.ts_ns)


def record(
    folder,
    quotes,
    *,
    latency_s=0.1,
    mode=MODE,
    rules=(),
    holds=(),
    payments=(),
    run_id="run",
    margin=None,
    ordered=None,
    terms=None,
    conduct=None,
    killed=False,
    levels=None,
    **venue,
) -> None:
    """A session of these quotes; `rules` and `holds` are (second, parameters or hold), in force from then on. It takes up what an
    earlier one left, which was `killed`."""
    tape = Tape.of(sorted(quotes))
    spot_, perp_ = instruments(**margin or {})
    spot_, wanted = spot_.model_copy(update=terms or {}), rule_params(**conduct or {})
    base = make_rule(wanted, spot_, perp_)
    path = folder / "SYN_USDT-mexc-gate" / "live" / "hand.sqlite"
    created = datetime(2026, 1, 5, tzinfo=UTC)
    data = params.DataParams(
        synthetic=True, start=created, end=created, judged_from=None, events=1, spot_sha256="0" * 64, perp_sha256="0" * 64,
        funding_sha256=None, spot_kind="updates", perp_kind="updates",
    )  # fmt: skip
    exported = params.sealed(
        pair="SYN_USDT", trade=True, reason="a test", rule=wanted, spot=spot_, perp=perp_, data=data, evidence=params.Evidence(),
        created=created, valid_until=created + timedelta(hours=1), code_version="test", notebook="test", run_id="test",
    )  # fmt: skip
    with ExitStack() as files:
        journal = files.enter_context(Journal(path, run_id))
        state = journal.last_state() or State()
        recorder = files.enter_context(EventLog(events_path(path, run_id), run_id, state))
        resumed = Resumed(state, journal.rule_of(state.pair), journal.unsettled_fills())
        journal.begin_run(mode, "test", {})
        journal.parameters("accepted", exported)
        journal.funding(payments)
        legs = (base.spot, base.perp)
        broker = Venue(Latency(latency_s, latency_s), ("updates", "updates"), legs, base.max_quote_age_ns, **venue)
        known: list[FundingPayment] = []
        runner = Runner(base, journal, broker, known, resumed, recorder)
        known += payments
        replay.show_first(tape, broker)
        if levels:
            broker.levels(SPOT, levels)
            recorder.levels(SPOT, levels)
        for group in replay.instants(tape):
            for at_s, changes in rules:
                if seconds(at_s) <= group[0][0]:
                    runner.newest = make_rule(rule_params(**changes), spot_, perp_)
            for at_s, hold in holds:
                runner.hold = hold if seconds(at_s) <= group[0][0] else runner.hold
            replay.play(group, runner, broker)
        replay.catch_up(runner, broker, tape.end_ns, timers_at_until=True)
        if killed:
            return
        runner.finish(tape.end_ns)
        if ordered:
            journal.note("ordered", ordered[1])
            at = datetime.fromtimestamp(seconds(ordered[0]) / 1e9, UTC).isoformat()
            journal._db.execute("UPDATE notes SET at = ? WHERE kind = 'ordered'", (at,))
        journal.end_run("finished")


def reviewed(folder) -> session_review.Review:
    return session_review.review(read(*find(folder)))


def caused(found: session_review.Review) -> dict[str, float]:
    """USDT by cause, where there is any; and the bridge holds."""
    b = found.bridge
    assert b.net_usdt - b.backtest_net_usdt == pytest.approx(sum(d.usdt for d in b.differences), abs=1e-12)
    assert found.retraced.identical, found.retraced.difference
    return {d.cause: pytest.approx(b.usdt(d.cause), abs=1e-9) for d in b.differences}


def test_a_session_whose_short_was_liquidated_is_retraced_and_is_the_backtest(tmp_path):
    """Sold at 101 on leverage 5 with a maintenance rate of 1 %: taken at 101 * 1.2 / 1.0105 = 119.94, the coins sold at 119."""
    rally = [spot(9.9, 119.0, 119.1), perp(10, 120.5, 120.6), spot(10.5, 119.0, 119.1), perp(11, 120.5, 120.6)]
    record(tmp_path, WIDE + rally, margin={"leverage": 5.0, "maintenance_rate": 0.01})
    found = reviewed(tmp_path)
    taken = 101 * 1.2 / 1.0105
    fees = 0.0005 * 0.5 * (100 + 101 + taken + 119)
    net = 0.5 * (119 - 100 + 101 - taken) - fees
    assert caused(found) == {}
    assert found.bridge.net_usdt == found.bridge.backtest_net_usdt == pytest.approx(net)
    with closing(sqlite3.connect(find(tmp_path)[0])) as db, db:
        db.execute(f"UPDATE decisions SET state = (SELECT state FROM decisions WHERE rowid = 1) WHERE kind = {OUTSIDE}")
    assert "the run went by a fill from outside of 00:00:10.000" in reviewed(tmp_path).retraced.difference


def test_a_session_as_assumed_is_the_backtest_to_the_last_digit(tmp_path):
    record(tmp_path, WIDE + CLOSE + LATER)
    found = reviewed(tmp_path)
    assert caused(found) == {}
    assert found.bridge.net_usdt == found.bridge.backtest_net_usdt == pytest.approx(NET, abs=1e-12)
    assert [s.decided_bps for s in found.slipped] == [0.0] * 4
    assert (found.retraced.orders, found.alarms) == (4, ())


def test_a_session_on_paper_that_took_from_five_levels_is_the_backtest(tmp_path):
    """0.2 coins are left at 100 when the order arrives; 0.3 more at 100.2. The bought half coin costs 50.06 instead of 50, and its fee
    0.02503: NET less 0.06 and less 0.00003. Of the exit only the best level is known."""
    shown = snapshot(seconds(0.05), [99.9, 9.0, *[0.0] * 8, 100.0, 0.2, 100.2, 0.7, *[0.0] * 6])
    left = [spot(0.05, 99.9, 100.0, ask_qty=0.2)]
    record(tmp_path, WIDE + left + CLOSE + LATER, mode=PAPER, levels=shown)
    found = reviewed(tmp_path)
    assert caused(found) == {}
    assert found.bridge.net_usdt == pytest.approx(NET - 0.06 - 0.0005 * 0.06)
    assert "of 4 orders on paper that took, 3 met a book of which only the best level was known" in repr(heading(found))


def test_orders_that_take_longer_than_assumed_have_the_cause_latency(tmp_path):
    record(tmp_path, WIDE + MOVED + CLOSE + LATER, latency_s=0.3)
    found = reviewed(tmp_path)
    assert caused(found) == {LATENCY: -0.5 * 0.3 * 1.0005}  # 100.3 paid instead of 100
    first = found.slipped[0]
    assert first.decided_bps == pytest.approx(30.0) and first.met_bps == 0.0
    assert (first.there_s, first.back_s) == (0.3, 0.3)


def test_a_price_beyond_the_limit_on_arrival_has_the_cause_price_bound(tmp_path):
    record(tmp_path, [*WIDE, spot(0.15, 101.1, 101.2), *CLOSE, *LATER], latency_s=0.3)
    found = reviewed(tmp_path)
    assert set(caused(found)) == {BOUND}
    assert found.bridge.net_usdt < 0


def test_a_refused_order_has_the_cause_fault_and_costs_what_the_hedge_paid_more(tmp_path):
    record(tmp_path, WIDE + MOVED + CLOSE + LATER, script={1: None})
    assert caused(reviewed(tmp_path)) == {FAULT: -0.5 * 0.3 * 1.0005}


def test_a_smaller_fill_than_shown_has_the_cause_size_taken(tmp_path):
    record(tmp_path, WIDE + MOVED + CLOSE + LATER, script={1: 0.6})
    assert caused(reviewed(tmp_path)) == {TAKEN: -0.2 * 0.3 * 1.0005}  # 0.2 of 0.5 had to be bought at 100.3


def test_a_closed_guard_has_the_cause_guard(tmp_path):
    later = [perp(4, 100.8, 100.9), spot(4.5, 99.9, 100.0), spot(5, 99.9, 100.0)]
    record(tmp_path, WIDE + later + CLOSE + LATER, holds=[(0, CLOSED), (4.5, FREE)])
    assert caused(reviewed(tmp_path)) == {GUARD: -0.5 * 0.2 * 0.9995}  # sold at 100.8 instead of 101


def test_a_start_that_takes_up_what_an_earlier_run_left_is_no_guard(tmp_path):
    """Entries were closed until 4.5 s, as above, and the run had begun by then, or not."""
    later = [perp(4, 100.8, 100.9), spot(4.5, 99.9, 100.0), spot(5, 99.9, 100.0)]
    for begun_s, cause in ((4.4, START), (0.0, GUARD)):
        folder = tmp_path / cause
        record(folder, WIDE + later + CLOSE + LATER, holds=[(0, CLOSED), (4.5, FREE)])
        at = datetime.fromtimestamp(seconds(begun_s) / 1e9, UTC).isoformat()
        with closing(sqlite3.connect(find(folder)[0])) as db, db:
            db.execute("INSERT INTO notes SELECT run_id, ?, 'begun', '' FROM runs", (at,))
        found = reviewed(folder)
        assert caused(found) == {cause: -0.5 * 0.2 * 0.9995}


def test_the_same_is_said_only_of_sums_that_are_shown_alike(tmp_path):
    """0.1044 against 0.1084 is not the same."""
    record(tmp_path, WIDE + MOVED + CLOSE + LATER)
    found = reviewed(tmp_path)
    assert ": the same." in str(findings(found))
    for off, same in ((0.004, False), (0.00006, False), (1e-9, True)):
        (pair, *rest) = found.bridge.pairs
        moved = pair._replace(trade=replace(pair.trade, net_usdt=pair.trade.net_usdt + off))
        other = replace(found, bridge=replace(found.bridge, pairs=(moved, *rest)))
        assert (": the same." in str(findings(other))) == same, off


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ((0.7, -0.2), "the difference of +0.5000 is other run +0.7000 USDT, all else -0.2000."),
        ((-0.04, -0.03, -0.02), "the difference of -0.0900 is other run -0.0400 USDT, all else -0.0500."),
        ((0.3,), "the difference of +0.3000 is other run +0.3000 USDT, all else 0.0000."),
    ],
)
def test_the_largest_part_of_a_difference_is_told_beside_all_others(tmp_path, parts, said):
    """It may be larger than the whole, or less than half of it; nothing here was different before."""
    record(tmp_path, WIDE + MOVED + CLOSE + LATER)
    found = reviewed(tmp_path)
    (pair,) = found.bridge.pairs
    more = [replace(pair.trade, net_usdt=usdt) for usdt in parts]
    told = tuple(Difference(0, cause, "", None, one) for cause, one in zip((OTHER, GUARD, FEES), more, strict=False))
    now = pair._replace(trade=replace(pair.trade, net_usdt=pair.trade.net_usdt + sum(parts)))
    other = replace(found, bridge=replace(found.bridge, pairs=(now,), differences=(*found.bridge.differences, *told)))
    assert said in str(findings(other))


def test_a_stop_that_a_person_ordered_is_no_guard_and_no_wallet(tmp_path):
    """The pair is left at 5 s because of a stop at 4.5; the backtest would have held it."""
    left = [perp(5, 100.4, 100.5), spot(5.5, 100.2, 100.3), perp(6, 100.4, 100.5)]
    record(tmp_path, WIDE + left + LATER, holds=[(4.5, Hold(False, True))], ordered=(4.5, "a stop (SIGTERM)"))
    (difference,) = [d for d in reviewed(tmp_path).bridge.differences if d.cause == GUARD]
    assert difference.what == "a stop (SIGTERM), ordered by a person"


def test_new_parameters_have_the_cause_parameters(tmp_path):
    again = [spot(4.9, 99.9, 100.0), perp(5, 101.0, 101.1)]
    record(tmp_path, WIDE + again + CLOSE + LATER, rules=[(0, {"entry_bps": 200.0}), (5, {"entry_bps": 50.0})])
    found = reviewed(tmp_path)
    assert caused(found) == {PARAMETERS: NET}
    assert [d.what for d in found.bridge.differences] == ["other parameters"]
    assert found.bridge.backtest_net_usdt == 0.0


@pytest.mark.parametrize(("charged_bps", "alarm"), [(6.0, True), (5.09, False), (4.8, True)])
def test_a_fee_more_than_a_tenth_of_a_bp_off_is_an_alarm_lesson_17(tmp_path, charged_bps, alarm):
    record(tmp_path, WIDE + CLOSE + LATER, spot_fee=charged_bps / 1e4)
    found = reviewed(tmp_path)
    assert caused(found) == {FEES: -(charged_bps - 5.0) / 1e4 * (50 + 50.45)}
    assert [c.leg for c in found.alarms] == [SPOT] * alarm


RESTS = RestingLeg(ends="entry", adverse_bps=0.0, least_life_s=0.0)


@pytest.mark.parametrize(("rested_bps", "alarm"), [(1.0, False), (5.0, True)])
def test_a_fill_that_rested_is_held_against_the_maker_fee_and_the_others_against_the_taker_fee(
    tmp_path, rested_bps, alarm
):
    """0.5 bought at 99.9 by resting, for 1 bp; the three others take, for 5: 0.5 * (1.0 + 0.15) less
    0.0001 * 49.95 + 0.0005 * (50.5 + 50.45 + 50.425) = 0.0806825."""
    conduct = {"spot_role": "maker", "resting": RESTS}
    fell = [spot(0.5, 99.7, 99.8), spot(0.8, 99.7, 99.8)]
    terms = {"maker_fee_bps": 1.0, "price_tick": 0.1}
    record(tmp_path, WIDE + fell + CLOSE + LATER, terms=terms, conduct=conduct, rested_fee=rested_bps / 1e4)
    found = reviewed(tmp_path)
    assert found.bridge.backtest_net_usdt == pytest.approx(0.575 - 0.0806825)
    assert caused(found) == ({FEES: -0.0004 * 49.95} if alarm else {})
    assert [c.leg for c in found.alarms] == [SPOT] * alarm
    assert [c.assumed_usdt for c in found.charged] == pytest.approx([0.004995 + 0.025225, 0.02525 + 0.0252125])
    assert "spot rests at the entry, maker fee 1 bps on mexc" in repr(heading(found))
    assert "spot, entering, rested" in repr(fills(found))


def test_of_a_fill_whose_orders_row_was_lost_nobody_assumes_a_fee(tmp_path):
    """It rested, for 1 bp; its row, written again by the next start, does not say so."""
    fell = [spot(0.5, 99.7, 99.8), spot(0.8, 99.7, 99.8)]
    terms, conduct = {"maker_fee_bps": 1.0, "price_tick": 0.1}, {"spot_role": "maker", "resting": RESTS}
    record(tmp_path, WIDE + fell + CLOSE + LATER, terms=terms, conduct=conduct, rested_fee=1e-4)
    with closing(sqlite3.connect(find(tmp_path)[0])) as db, db:
        db.execute("UPDATE orders SET phase = 'recovered', post_only = 0 WHERE post_only")
    found = reviewed(tmp_path)
    assert found.alarms == () and found.bridge.usdt(FEES) == pytest.approx(0.0, abs=1e-9)
    assert [c.assumed_usdt for c in found.charged] == pytest.approx([0.004995 + 0.025225, 0.02525 + 0.0252125])


def test_funding_is_added_up_again_stamp_by_stamp(tmp_path):
    record(tmp_path, WIDE + CLOSE + LATER, payments=[FundingPayment(seconds(5), 0.001, 101.0, True)])
    found = reviewed(tmp_path)
    (stamp,) = found.stamps
    assert (stamp.position, stamp.usdt) == (-0.5, pytest.approx(0.0505))
    assert caused(found) == {}
    assert found.bridge.net_usdt == pytest.approx(NET + 0.0505)


def test_a_pair_left_open_is_marked_at_the_exit_side(tmp_path):
    record(tmp_path, [*WIDE, spot(1, 99.9, 100.0), spot(2, 99.9, 100.0)])
    with closing(sqlite3.connect(find(tmp_path)[0])) as db, db:
        db.execute("DELETE FROM trades")
        db.execute("DELETE FROM fills WHERE order_id = 'end'")
    found = reviewed(tmp_path)
    assert found.bridge.net_usdt == pytest.approx(0.5 * (99.9 - 100) + 0.5 * (101 - 101.1) - 0.0005 * 0.5 * 402.0)
    assert caused(found) == {}


def test_a_pair_that_a_kill_cut_in_two_counts_whole_in_the_run_that_closed_it(tmp_path):
    """The first run's pair, marked at its end, stands at -0.1 - 0.0005 x 0.5 x 402 USDT; it comes to +NET, all of it the second's."""
    marked = 0.5 * (99.9 - 100) + 0.5 * (101 - 101.1) - 0.0005 * 0.5 * 402.0
    record(tmp_path, [*WIDE, spot(1, 99.9, 100.0), spot(2, 99.9, 100.0)], run_id="run1", killed=True)
    opened = reviewed(tmp_path)
    assert opened.bridge.net_usdt == pytest.approx(marked) and caused(opened) == {}  # it is open still
    record(tmp_path, [spot(3, 99.9, 100.0), perp(3, 101.0, 101.1), *CLOSE, *LATER], run_id="run2")
    first, second = (session_review.review(read(*find(tmp_path, run_id=name))) for name in ("run1", "run2"))
    assert first.bridge.net_usdt == 0.0 and caused(first) == {OTHER: pytest.approx(-marked)}
    assert "open at its end, closed in run run2" in tables.bridge(first).note
    assert second.bridge.net_usdt == pytest.approx(NET) and caused(second) == {OTHER: pytest.approx(NET)}
    assert "Pair 1 was open when the run began" in tables.bridge(second).note
    assert read_journal(find(tmp_path)[0])["money_day"]["net"] == pytest.approx(NET)


def test_a_run_that_only_closed_what_it_found_has_its_money(tmp_path):
    record(tmp_path, [*WIDE, spot(1, 99.9, 100.0)], run_id="run1", killed=True)
    record(tmp_path, [spot(3, 99.9, 100.0), perp(3, 101.0, 101.1), *CLOSE], run_id="run2")
    found = reviewed(tmp_path)
    assert found.bridge.net_usdt == pytest.approx(NET) and caused(found) == {OTHER: pytest.approx(NET)}


# --- the same decisions, without exception -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE orders SET qty = 0.4 WHERE rowid = 1", "order 1, 1970-01-01 00:00:00.000 UTC: the run sent spot +0.4 at 100.5"),
        ("DELETE FROM orders WHERE rowid = 4", "order 4"),
        ("UPDATE decisions SET state = (SELECT state FROM decisions WHERE rowid = 1) WHERE rowid = 3", "decision 3"),
    ],
)  # fmt: skip
def test_a_decision_that_differs_is_named_and_the_command_fails(tmp_path, capsys, change, said):
    record(tmp_path, WIDE + CLOSE + LATER)
    with closing(sqlite3.connect(find(tmp_path)[0])) as db, db:
        db.execute(change)
    assert command.main(["--reports", str(tmp_path), "--json"]) == 1
    out = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert out["status"] == "differs" and out["difference"].startswith(said)
    assert "decisions differ" in (tmp_path / "index.html").read_text()


def test_a_review_is_a_page_that_the_index_lists_with_its_session(tmp_path, capsys):
    record(tmp_path, WIDE + CLOSE + LATER)
    assert command.main(["--reports", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("SYN_USDT-mexc-gate")
    (page,) = tmp_path.glob("*/live/reviews/*.html")
    text = page.read_text()
    assert "Pair by pair" in text and text.count("data:image/png;base64,") == 2
    (session,), (reviewed_,) = index.sessions(tmp_path), index.reviews(tmp_path)
    href = f'href="{page.relative_to(tmp_path).as_posix()}"'
    assert href in session.links and href in reviewed_.links
    assert session.figures[2:] == ("+0.42", "—", "1", f"{1e4 * NET / 50:+.1f}", "—")
    assert "decisions identical" in reviewed_.found and reviewed_.figures[2] == "+0.42"
    assert f'data-course="[{round(NET, 4)}]"' in (tmp_path / "index.html").read_text()


def test_the_figures_of_a_review_draw_its_bridge_and_its_fills(tmp_path):
    record(tmp_path, WIDE + MOVED + CLOSE + LATER, latency_s=0.3)
    found = reviewed(tmp_path)
    b = found.bridge
    (ax,) = plots.bridge(found).figure.axes
    expected = [b.backtest_net_usdt, b.net_usdt, b.usdt(LATENCY)]
    assert [bar.get_height() for bar in ax.patches] == pytest.approx(expected)
    drawn = np.concatenate([line.get_ydata() for line in plots.slippage(found).figure.axes[0].get_lines()[:2]])
    assert sorted(drawn) == pytest.approx(sorted(s.decided_bps for s in found.slipped)) and len(drawn) == 4


def test_a_journal_that_cannot_be_read_is_a_row_and_hides_no_other(tmp_path):
    record(tmp_path, WIDE + CLOSE + LATER)
    bad = find(tmp_path)[0].with_name("paper.sqlite")
    bad.write_text("not a journal")
    found = {row.status: row for row in index.sessions(tmp_path)}
    assert set(found) == {"ok", "failed"} and "paper.sqlite cannot be read" in found["failed"].found


def test_what_a_kill_cut_off_the_event_file_is_decided_again_from_the_journal(tmp_path):
    record(tmp_path, WIDE + CLOSE + LATER)
    journal, run_id = find(tmp_path)
    recorded = events_path(journal, run_id)
    sizes, block = [0], recorded.read_bytes()
    while sizes[-1] < len(block):
        sizes.append(sizes[-1] + 4 + int.from_bytes(block[sizes[-1] : sizes[-1] + 4], "little"))
    recorded.write_bytes(block[: sizes[-2] + 5])  # the last block was torn
    retraced = reviewed(tmp_path).retraced
    assert retraced.identical and retraced.by_journal >= 1
    assert retraced.orders == 4


def test_a_kill_after_any_event_leaves_nothing_unexplained(tmp_path, monkeypatch):
    """One pair of +NET; the journal has what the event file lost, the entry too."""
    monkeypatch.setattr(event_log, "BLOCK", 1)
    record(tmp_path, WIDE + CLOSE + LATER)
    recorded = events_path(*find(tmp_path))
    sizes, block = [0], recorded.read_bytes()
    while sizes[-1] < len(block):
        sizes.append(sizes[-1] + 4 + int.from_bytes(block[sizes[-1] : sizes[-1] + 4], "little"))
    for size in sizes[2:]:
        recorded.write_bytes(block[:size])
        found = reviewed(tmp_path)
        assert found.bridge.net_usdt == pytest.approx(NET)
        assert found.bridge.usdt(UNEXPLAINED) == pytest.approx(0.0, abs=1e-9), size


def test_a_run_of_many_event_files_is_reviewed_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(event_log, "BLOCK", 1)
    monkeypatch.setattr(event_log, "SEGMENT", 1)
    record(tmp_path, WIDE + CLOSE + LATER)
    assert len(event_log.segments(events_path(*find(tmp_path)))) > 3
    retraced = reviewed(tmp_path).retraced
    assert retraced.identical and retraced.by_journal == 0
    assert retraced.orders == 4


def test_the_command_says_what_it_cannot_review(tmp_path, capsys):
    assert command.main(["--reports", str(tmp_path), "--json"]) == 2
    assert "trade first" in json.loads(capsys.readouterr().out)["reason"]


def test_the_rehearsal_has_every_fault_it_was_given_and_adds_up_to_the_cent(tmp_path, capsys):
    session_review.rehearse(tmp_path, hours=6.5)
    assert command.main(["--reports", str(tmp_path), "--json", "rehe"]) == 0
    out = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert out["net_usdt"] == pytest.approx(out["backtest_net_usdt"] + sum(out["causes_usdt"].values()), abs=1e-9)
    assert {c for c, usdt in out["causes_usdt"].items() if abs(usdt) > 1e-9} >= {LATENCY, FAULT, FEES}
    assert out["fee_alarms"] == ["2026-01-05 spot +0.200 bps"]


def test_a_replay_of_the_command_has_no_difference(tmp_path):
    """Three days in one process, another reviews them."""
    _export(tmp_path)
    done = _run("delta_arb.live", "--replay", "--speed", "max", "--reports", str(tmp_path), "--json")
    traded = json.loads(done.stdout.splitlines()[-1])
    found = json.loads(_run("delta_arb.review", "--reports", str(tmp_path), "--json").stdout.splitlines()[-1])
    assert (found["status"], found["differences"], found["pairs"]) == ("identical", 0, traded["trades"])
    assert found["net_usdt"] == found["backtest_net_usdt"] == pytest.approx(traded["net_usdt"], abs=1e-9)


@pytest.mark.slow
def test_a_refused_order_on_the_local_venues_is_a_fault(tmp_path):
    _export(tmp_path)
    faults = tmp_path / "faults.toml"
    faults.write_text(
        '[[fault]]\nvenue = "mexc"\nat = "order.create"\ndo = "refuse"\ncode = "30005"\nskip = 2\ntimes = 2\n'
    )
    command = [
        sys.executable,
        "-m",
        "delta_arb.live",
        "--sandbox",
        "--speed",
        "600",
        "--faults",
        str(faults),
        "--reports",
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        time.sleep(25)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    found = reviewed(tmp_path)
    assert "30005" in said
    assert FAULT in caused(found)


def _export(reports) -> None:
    inputs = Inputs()
    now = datetime.now(UTC)
    spot_, perp_ = inputs.terms()
    rule = params.Rule(entry_bps=15.0, exit_bps=-12.0, max_hold_s=21_600.0, clip_usdt=50.0)
    exported = params.sealed(
        pair=inputs.pair, trade=True, reason="a test", rule=rule, spot=spot_, perp=perp_, data=inputs.data_params(inputs.tape(), None),
        evidence=params.Evidence(), created=now, valid_until=now + timedelta(hours=1), code_version="test", notebook="test", run_id="test",
    )  # fmt: skip
    params.publish(exported, reports)


def _run(module: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=True, timeout=120
    )


# --- What rested ------------------------------------------------------------------------------------------------------


def test_the_quotes_of_a_run_are_held_against_the_three_assumptions(tmp_path):
    """A quote sent at 0 s arrives at 0.1 s: 0.5 to buy at 99.9, where 1 is shown; the ask of 99.8 fills it at 0.5 s. Of trades, 0.3
    sold there at 0.2 s would have filled it only in front, so front is right by luck, and so are all: the ask fills under each.
    Before the ask came, within 0.4 s, front alone says that it fills."""
    conduct = {"spot_role": "maker", "resting": RESTS}
    fell = [spot(0.5, 99.7, 99.8), spot(0.8, 99.7, 99.8)]
    record(tmp_path, WIDE + fell + CLOSE + LATER, terms={"maker_fee_bps": 1.0, "price_tick": 0.1}, conduct=conduct)
    run = read(*find(tmp_path))
    order, *later = [o for o in run.orders if o.post_only]
    trades = prints([seconds(0.2)], [-1], [order.limit], [0.3])
    found = fill_costs.own_quotes(run, trades)
    assert (found.leg, found.sent, found.filled, found.judged, found.own) == (SPOT, 1 + len(later), 1, 1, 1.0)
    assert found.said == {"front": (1.0, 0.0), "back": (1.0, 0.0), "through": (1.0, 0.0)}
    assert fill_costs.own_quotes(run).said == {fill_costs.REACHED: (1.0, 0.0)}
    tape = run.tape()
    life = (order, seconds(0.1), seconds(0.4))
    assert [fill_costs._fills(life, tape, trades, way) for way in range(3)] == [True, False, False]
    deep = trades._replace(price=trades.price - 0.1)
    assert [fill_costs._fills(life, tape, deep, way) for way in range(3)] == [True] * 3
    # Whole, the quote rested from 0.1 s to the ask at 0.5 s, which shows 100: so much an order of unlimited size would have got there.
    assert found.could == {way: (1, pytest.approx(100 * order.limit)) for way in ("back", "through")}
    # Spot: quotes count twice, for they are withdrawn as well. The perpetual was hedged at the entry and closed.
    sent = [o for o in run.orders if o.leg == SPOT]
    assert found.asked[0] == (
        "mexc",
        len(sent) + len([o for o in sent if o.post_only]),
        1 + len([o for o in sent if not o.post_only]),
    )
    assert found.asked[1][:1] == ("gate",) and found.asked[1][1:] == (2, 2)
    assert "2, 2 filled (100 %); slowed down above 86,400 with less than 1 % filled" in repr(fill_costs.table(found))
    assert "Brier 0.00" in repr(fill_costs.table(found)) and "1,800" in repr(fill_costs.table(found))  # 30 a minute
    assert "no order rested" in repr(fill_costs.table(None))
