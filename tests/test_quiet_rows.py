"""A replay that passes over quiet rows leaves what one of every row leaves: the same journal, the same events, the same review."""

import asyncio
import sqlite3
from contextlib import closing
from unittest.mock import patch

import numpy as np
import pytest
from strategies import rewritten
from test_live import FILTERED, export, rule_params
from test_resting import PERP_TERMS, SPOT_TERMS, resting_rule, world

from delta_arb.live import quiet_rows, replay
from delta_arb.live.event_log import EventLog, events_path, logged
from delta_arb.live.journal import Journal
from delta_arb.live.paper import PaperVenue, PaperWallets
from delta_arb.live.quiet_rows import QuietRows
from delta_arb.live.runner import Runner
from delta_arb.market import NS
from delta_arb.quotes.inputs import Inputs
from delta_arb.review.session_log import find, read
from delta_arb.review.session_review import review
from delta_arb.rule_params import Rule
from delta_arb.strategy.rule import make_rule
from delta_arb.strategy.state import State
from delta_arb.wallets import Funds

INPUTS, LOOKED = Inputs(), QuietRows.passed
SAMPLE = INPUTS.tape()
HOURS = SAMPLE.between(SAMPLE.start_ns, SAMPLE.start_ns + 9 * 3600 * NS)  # its first ones, with a funding stamp within
BUSY = Rule(entry_bps=3.0, exit_bps=-3.0, clip_usdt=500.0, max_hold_s=40.0, leg_deadline_s=5.0, max_quote_age_s=2.0)


def played(folder, tape, rule, payments=(), funds=None, *, every_row=False):
    """The journal and the events of a replay, how many rows were passed over, and its folder."""
    path = folder / f"every_row_{every_row}" / INPUTS.name / "live" / "journal.sqlite"
    passed = [0]

    def counted(self, row):
        stop = row if every_row else LOOKED(self, row)
        passed[0] += stop - row
        return stop

    with Journal(path, "run") as journal, EventLog(events_path(path, "run"), "run", State()) as recorder:
        journal.begin_run("replay", "test", {})
        journal.parameters("accepted", export(INPUTS, rule_params(15.0, -12.0)))
        journal.funding(payments)
        kinds, legs = (tape.spot_kind, tape.perp_kind), (rule.spot, rule.perp)
        venue = PaperVenue(INPUTS.latency(), kinds, legs, rule.max_quote_age_ns, tape.queues.place)
        wallets = PaperWallets(funds, rule.perp.leverage, payments) if funds else None
        runner = Runner(rule, journal, venue, payments, recorder=recorder, wallets=wallets)
        with patch.object(QuietRows, "passed", counted):
            asyncio.run(replay.run(tape, runner, venue, asyncio.Event()))
        journal.end_run("finished")
    return path, runner, passed[0]


def rows(path):
    """What the journal holds, but for the times of the clock on the wall."""
    tables = ("decisions", "orders", "fills", "outcomes", "rules", "funding", "trades")
    with closing(sqlite3.connect(path)) as db:
        return {table: db.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall() for table in tables}


def assert_same(folder, tape, rule, *told):
    """Rows of the journal, events, trades and state; returns the runner that passed over rows, and over how many."""
    (path, runner, passed), (plain_path, plain, _) = (
        played(folder, tape, rule, *told, every_row=every_row) for every_row in (False, True)
    )
    assert rows(path) == rows(plain_path)
    assert list(logged(events_path(path, "run"))) == list(logged(events_path(plain_path, "run")))
    assert repr(runner.trades) == repr(plain.trades)
    for name in ("events", "now_ns", "state", "books", "shift", "missed"):
        assert getattr(runner, name) == getattr(plain, name), name
    return runner, passed


def test_hours_of_the_sample_are_mostly_passed_over(tmp_path):
    """Funding that is expected moves the signal at each stamp."""
    rule = make_rule(rule_params(10.0, -40.0, funding_horizon_s=3600.0), *INPUTS.terms())
    runner, passed = assert_same(tmp_path, HOURS, rule, INPUTS.payments(HOURS))
    assert len(runner.trades) >= 3 and passed > 0.8 * len(HOURS)


def test_a_review_of_it_says_the_same(tmp_path):
    rule = make_rule(rule_params(15.0, -12.0), *INPUTS.terms())
    assert_same(tmp_path, HOURS, rule, INPUTS.payments(HOURS))
    found = [review(read(*find(tmp_path / f"every_row_{each}"))) for each in (False, True)]
    assert found[0].to_json()["status"] == "identical" and found[0].to_json()["orders"] > 8
    assert repr(found[0].to_json()) == repr(found[1].to_json())
    assert repr((found[0].slipped, found[0].charged)) == repr((found[1].slipped, found[1].charged))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("changes", [{}, {"entry_bps": 0.0, "exit_bps": -1.0, "max_position_usdt": 1500.0}])
def test_a_busy_tape_in_small_windows(tmp_path, seed, changes):
    """Every third stamp is that of the row before, and windows end within instants."""
    tape = world(seed, 1500)
    ts_ns = tape.ts_ns.copy()
    again = np.arange(1, len(ts_ns))[np.random.default_rng(seed).random(len(ts_ns) - 1) < 1 / 3]
    moved_ns = np.zeros(len(ts_ns), np.int64)
    for k in again:
        moved_ns[k] = ts_ns[k] - ts_ns[k - 1]
    ts_ns -= np.cumsum(moved_ns)
    tape = rewritten(tape, ts_ns=ts_ns)
    rule = make_rule(BUSY.replace(**changes), SPOT_TERMS, PERP_TERMS)
    with patch.multiple(quiet_rows, FEWEST=7, MOST=60, PATIENCE=2):
        runner, passed = assert_same(tmp_path, tape, rule)
    assert len(runner.trades) >= 3 and passed > 300


@pytest.mark.parametrize("case", ["rests", "filtered", "wallets"])
def test_where_every_row_may_matter_none_is_passed_over(tmp_path, case):
    tape, funds = world(1), None
    rule = make_rule(BUSY, SPOT_TERMS, PERP_TERMS)
    if case == "rests":
        rule = resting_rule("spot")
    elif case == "filtered":
        rule = make_rule(BUSY.replace(**FILTERED), SPOT_TERMS, PERP_TERMS)
    else:
        funds = Funds(1000.0, 1000.0)
    _, passed = assert_same(tmp_path, tape, rule, (), funds)
    assert passed == 0
