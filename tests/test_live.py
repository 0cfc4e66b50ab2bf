"""The live runner on recorded quotes: the same trades as the backtest, a journal that survives, refusals that speak."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import rewritten

from delta_arb import params
from delta_arb.backtest import replay as backtest
from delta_arb.errors import RunError
from delta_arb.evidence import FilterParams
from delta_arb.live import replay
from delta_arb.live.journal import Journal
from delta_arb.live.paper import PaperVenue, PaperWallets
from delta_arb.live.parameters import ParameterFile
from delta_arb.live.runner import Runner
from delta_arb.market import LEGS, NS, FundingPayment, Order
from delta_arb.params import Bounds
from delta_arb.quotes import synthetic
from delta_arb.quotes.inputs import Inputs
from delta_arb.quotes.tape import Tape
from delta_arb.strategy import rule as rules
from delta_arb.strategy.state import OPEN, LegRule
from delta_arb.wallets import BOUNDLESS, Funds, Rebalancing

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)
DIGEST = "0" * 64
FILTERED = {
    "signal": "filtered",
    "filter": FilterParams(half_life_s=600.0, mean_bps=-8.0, sd_bps=25.0, noise_sd_bps=5.0, step_s=2.0),
}


def rule_params(entry_bps: float, exit_bps: float, **changes) -> params.Rule:
    return params.Rule(entry_bps=entry_bps, exit_bps=exit_bps, **{"max_hold_s": 21_600.0, "clip_usdt": 50.0, **changes})


def export(
    inputs: Inputs,
    rule: params.Rule,
    *,
    trade: bool = True,
    created: datetime = NOW,
    synthetic: bool = False,
    **changes,
) -> params.Params:
    spot, perp = inputs.terms()
    data = params.DataParams(
        synthetic=synthetic, start=NOW, end=NOW, judged_from=None, events=1, spot_sha256=DIGEST, perp_sha256=DIGEST, funding_sha256=None,
        spot_kind=inputs.spot_kind, perp_kind=inputs.perp_kind,
    )  # fmt: skip
    values = {
        "pair": inputs.pair, "trade": trade, "reason": "a test", "rule": rule, "spot": spot, "perp": perp, "data": data,
        "evidence": params.Evidence(), "created": created, "valid_until": created + timedelta(hours=1), "code_version": "test",
        "notebook": "test", "run_id": "test",
    }  # fmt: skip
    return params.sealed(**{**values, **changes})


def drive(inputs: Inputs, tape: Tape, rule, payments, folder: Path, funds: Funds = BOUNDLESS):
    """The live runner over a tape at full speed; returns it and what its journal holds."""
    with Journal(folder / "journal.sqlite", "run") as journal:
        venue = PaperVenue(
            inputs.latency(),
            (tape.spot_kind, tape.perp_kind),
            (rule.spot, rule.perp),
            rule.max_quote_age_ns,
            tape.queues.place,
            tape.depths,
        )
        wallets = PaperWallets(funds, rule.perp.leverage, payments)
        runner = Runner(rule, journal, venue, payments, wallets=wallets)
        asyncio.run(replay.run(tape, runner, venue, asyncio.Event()))
        trades = journal.trades()
    with closing(sqlite3.connect(folder / "journal.sqlite")) as db:
        sent = db.execute("SELECT pair, ts_ns, leg, qty, price_limit FROM orders ORDER BY rowid").fetchall()
        fills = db.execute("SELECT pair, ts_ns, leg, qty, price, fee_usdt FROM fills ORDER BY rowid").fetchall()
    return runner, trades, sent, fills


def assert_same(
    inputs: Inputs, tape: Tape, rule, payments, folder: Path, funds: Funds = BOUNDLESS
) -> backtest.Backtest:
    """Trade by trade, order by order, fill by fill, to the last digit (repr, so that NaN equals NaN)."""
    expected = backtest.run(tape, rule, inputs.latency(), payments, funds=funds)
    runner, journaled, sent, fills = drive(inputs, tape, rule, payments, folder, funds)
    assert repr(tuple(runner.trades)) == repr(expected.trades)
    assert repr(tuple(journaled)) == repr(expected.trades)
    assert sent == [(s.pair, s.ts_ns, LEGS[s.leg], s.qty, s.limit) for s in expected.sent]
    assert fills == [(f.pair, f.ts_ns, LEGS[f.leg], f.qty, f.price, f.fee_usdt) for f in expected.fills]
    assert (runner.missed, runner.halted) == (expected.missed, expected.halted)
    assert runner.state.refused == len(expected.refusals)
    return expected


@pytest.mark.parametrize(
    ("entry_bps", "exit_bps", "signal"),
    [(15.0, -12.0, FILTERED), (10.0, -40.0, {}), (10.0, -40.0, {"funding_horizon_s": 3600.0})],
)
def test_the_runner_makes_the_backtests_trades_on_the_sample_lesson_36(tmp_path, entry_bps, exit_bps, signal):
    inputs = Inputs()
    tape = inputs.tape()
    rule = rules.make_rule(rule_params(entry_bps, exit_bps, **signal), *inputs.terms())
    expected = assert_same(inputs, tape, rule, inputs.payments(tape), tmp_path)
    assert len(expected.trades) >= 20
    if exit_bps == -40.0:
        assert any(t.funding_usdt != 0 for t in expected.trades)


def test_the_runner_makes_the_backtests_trades_on_the_real_lunc_quotes(tmp_path):
    inputs = lunc(spot_fee_bps=0.0, perp_fee_bps=0.0)
    tape = inputs.tape()
    rule = rules.make_rule(rule_params(-4.0, -4.5, max_hold_s=300.0), *inputs.terms())
    expected = assert_same(inputs, tape, rule, (), tmp_path)
    assert len(expected.trades) >= 20
    assert {t.reason for t in expected.trades} >= {"target", "time-out", "unwound"}


def test_the_runner_makes_the_backtests_trades_on_real_candles_through_an_outage(tmp_path):
    span = "5m_2023-01-01_2023-09-22.parquet"
    spot, perp = DATA / f"binance_spot_BTC_USDT_candles_{span}", DATA / f"gateio_futures_BTC_USDT_candles_{span}"
    if not spot.exists():
        pytest.skip("the recorded candles are not here (../shared/data)")
    inputs = Inputs(
        spot=str(spot), perp=str(perp), funding="none", pair="BTC_USDT", contract_size=1e-4, spot_fee_bps=0.0,
        perp_fee_bps=0.0, spot_half_spread_bps=0.1, perp_half_spread_bps=0.1,
    )  # fmt: skip
    tape = inputs.tape()
    out_ns = tape.quality.spot.longest_outage_ns
    week = tape.between(out_ns - 3 * 86_400 * 10**9, out_ns + 4 * 86_400 * 10**9)
    rule = rules.make_rule(rule_params(-3.0, -6.0, max_hold_s=3600.0, leg_deadline_s=450.0), *inputs.terms())
    expected = assert_same(inputs, week, rule, (), tmp_path)
    assert len(expected.trades) >= 10


def lunc(**changes) -> Inputs:
    spot, perp = (DATA / f"{name}_LUNC_USDT_book_2025-10-11.parquet" for name in ("mexc_spot", "gateio_futures"))
    if not spot.exists():
        pytest.skip("the real LUNC quotes are not here (../shared/data)")
    return Inputs(
        spot=str(spot), perp=str(perp), funding="none", pair="LUNC_USDT", contract_size=10_000.0, spot_kind="snapshots",
        perp_kind="snapshots", **changes,
    )  # fmt: skip


@st.composite
def tapes(draw) -> Tape:
    """Short tapes on a coarse clock (equal times are common), books that are now and then crossed, empty or old."""
    n = draw(st.integers(2, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ts = np.cumsum(rng.integers(0, 4, n)) * NS // 4 + NS
    spot, perp = 1 + rng.normal(0, 0.003, n), 1 + rng.normal(0, 0.003, n)
    half = rng.choice([0.0001, 0.0005, -0.0001], n, p=[0.6, 0.35, 0.05])
    qty = lambda: rng.choice([0.0, 7.0, 20.0, 55.0, 500.0], n, p=[0.05, 0.15, 0.3, 0.2, 0.3])  # noqa: E731
    age = lambda: rng.choice([0, NS // 2, 2 * NS], n, p=[0.6, 0.3, 0.1]).astype(np.int64)  # noqa: E731
    kinds = draw(st.tuples(*[st.sampled_from(["updates", "snapshots"])] * 2))
    return Tape.wide(
        ts_ns=ts.astype(np.int64), leg=rng.integers(0, 2, n).astype(np.uint8),
        spot_bid=spot - half, spot_ask=spot + half, spot_bid_qty=qty(), spot_ask_qty=qty(), spot_age_ns=age(),
        perp_bid=perp - half, perp_ask=perp + half, perp_bid_qty=qty(), perp_ask_qty=qty(), perp_age_ns=age(),
        spot_kind=kinds[0], perp_kind=kinds[1], quality=None,
    )  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    tape=tapes(),
    latency=st.sampled_from([0.1, 0.25, 0.5, "0.1~0.3"]),
    participation=st.sampled_from([0.3, 1.0]),
    hold=st.sampled_from([1.0, 30.0]),
    signal=st.sampled_from([{}, FILTERED]),
    reverse=st.sampled_from([{}, {"reverse_entry_bps": 15.0, "reverse_exit_bps": -20.0}]),
    currency=st.sampled_from(["quote", "base"]),
    maintenance=st.sampled_from([0.0, 0.0099]),
    funds=st.sampled_from([BOUNDLESS, Funds(60.0, 20.0, 30.0, Rebalancing(1.0, 0.5, NS))]),
)
def test_the_runner_makes_the_backtests_trades_on_random_tapes(
    tmp_path_factory, tape, latency, participation, hold, signal, reverse, currency, maintenance, funds
):
    inputs = Inputs(spot_latency=latency, perp_latency=0.25)
    changes = (
        {"max_hold_s": hold, "participation": participation, "leg_deadline_s": 3.0, "price_bound_bps": 20.0}
        | signal
        | reverse
    )
    spot, perp = inputs.terms()
    perp = perp.replace(leverage=100.0, maintenance_rate=maintenance)
    spot = spot.replace(fee_currency=currency, price_tick=1e-4)
    rule = rules.make_rule(rule_params(20.0, -20.0, **changes), spot, perp)
    # Rows of one leg carry the other leg's last book: a tape is a history, not a set of pairs.
    assert_same(inputs, as_history(tape), rule, (), tmp_path_factory.mktemp("run"), funds)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    tapes(), st.floats(0.1, 0.9), st.sampled_from([-20.0, -1000.0]), st.sampled_from([0.5, 30.0]), st.booleans(),
    st.sampled_from([{}, {"reverse_entry_bps": 15.0, "reverse_exit_bps": -20.0, "max_position_usdt": 100.0}]),
)  # fmt: skip
def test_rules_in_turn_are_replayed_as_the_runner_takes_new_parameters(
    tmp_path_factory, tape, share, exit_bps, hold, enters, more
):
    """Of hold, levels and both directions; an open pair keeps what it was opened with, a new file may forbid entries."""
    inputs, tape = Inputs(spot_latency=0.1, perp_latency=0.25), as_history(tape)
    changes = {"leg_deadline_s": 3.0, "price_bound_bps": 20.0}
    first, second = (
        rules.make_rule(rule_params(20.0, level, max_hold_s=held, **changes, **extra), *inputs.terms())
        for level, held, extra in ((exit_bps, hold, {}), (-20.0, 1.0, more))
    )
    second = second._replace(may_enter=enters)
    at_ns = tape.start_ns + round(share * (tape.end_ns - tape.start_ns)) + 1
    expected = backtest.run(tape, first, inputs.latency(), later=[(at_ns, second)], funds=Funds(1e6, 1e6, 30.0))
    with Journal(tmp_path_factory.mktemp("run") / "journal.sqlite", "run") as journal:
        venue = PaperVenue(
            inputs.latency(), (tape.spot_kind, tape.perp_kind), (first.spot, first.perp), first.max_quote_age_ns
        )
        runner = Runner(first, journal, venue, wallets=PaperWallets(Funds(1e6, 1e6, 30.0), first.perp.leverage, ()))
        replay.show_first(tape, venue)
        for group in replay.instants(tape):
            if group[0][0] >= at_ns and runner.newest is first:
                if runner.events:
                    replay.catch_up(runner, venue, at_ns - 1, timers_at_until=True)
                runner.newest = second
            replay.play(group, runner, venue)
        replay.catch_up(runner, venue, tape.end_ns, timers_at_until=True)
        runner.finish(tape.end_ns)
    assert repr(tuple(runner.trades)) == repr(expected.trades)


def as_history(tape: Tape) -> Tape:
    """The tape with each leg's columns held until that leg's next row, as alignment makes them."""
    columns = {}
    for leg, name in enumerate(LEGS):
        last = np.maximum.accumulate(np.where(tape.leg == leg, np.arange(len(tape)), 0))
        for column in ("bid", "ask", "bid_qty", "ask_qty"):
            columns[f"{name}_{column}"] = getattr(tape, f"{name}_{column}")[last]
        columns[f"{name}_age_ns"] = getattr(tape, f"{name}_age_ns")[last] + tape.ts_ns - tape.ts_ns[last]
    return rewritten(tape, **columns)


# --- parameters -------------------------------------------------------------------------------------------------------


def test_new_parameters_rule_the_next_entry_and_an_open_pair_keeps_its_own_lesson_39(tmp_path):
    """Opened with exit -12; then exit -1000 is exported: the open pair still leaves at -12, the next one does not."""
    inputs = Inputs()
    tape = inputs.tape()
    old, new = (rules.make_rule(rule_params(15.0, exit_bps), *inputs.terms()) for exit_bps in (-12.0, -1000.0))
    with Journal(tmp_path / "journal.sqlite", "run") as journal:
        venue = PaperVenue(
            inputs.latency(), (tape.spot_kind, tape.perp_kind), (old.spot, old.perp), old.max_quote_age_ns
        )
        runner = Runner(old, journal, venue)
        for group in replay.instants(tape):
            replay.play(group, runner, venue)
            if runner.state.phase == OPEN:
                runner.newest = new
            if len(runner.trades) == 1 and runner.state.phase == OPEN:
                break
    assert runner.trades[0].reason == "target"
    assert runner.rule.exit == pytest.approx(-0.1)


def exports(tmp_path: Path, now: datetime = NOW + timedelta(minutes=1)) -> ParameterFile:
    return ParameterFile(tmp_path / "latest.json", Inputs(), Bounds(), lambda: now)


def test_a_refused_newer_file_stops_entries_until_a_good_one_comes(tmp_path):
    params.save(export(Inputs(), rule_params(30.0, -10.0)), tmp_path / "latest.json")
    source = exports(tmp_path)
    assert source.poll() and source.rule().may_enter
    (tmp_path / "latest.json").write_text("{")
    assert source.poll() and "damaged" in source.refused
    assert source.rule() is None
    params.save(export(Inputs(), rule_params(31.0, -10.0)), tmp_path / "latest.json")
    assert source.poll() and source.rule().entry == pytest.approx(31e-4)
    assert not source.poll()


def test_parameters_that_grow_stale_while_running_stop_entries(tmp_path):
    params.save(export(Inputs(), rule_params(30.0, -10.0)), tmp_path / "latest.json")
    clock = [NOW + timedelta(minutes=1)]
    source = ParameterFile(tmp_path / "latest.json", Inputs(), Bounds(), lambda: clock[0])
    assert source.poll() and source.rule().may_enter
    clock[0] = NOW + timedelta(hours=2)
    assert source.poll() and "stale" in source.refused
    assert not source.rule().may_enter


def test_do_not_trade_is_accepted_and_enters_nothing(tmp_path):
    nothing = rule_params(None, None)
    params.save(export(Inputs(), nothing, trade=False, reason="no edge after costs"), tmp_path / "latest.json")
    source = exports(tmp_path)
    assert source.poll() and source.refused == ""
    assert not source.rule().may_enter


# --- the command ------------------------------------------------------------------------------------------------------


def live(*arguments: str, **popen) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "delta_arb.live", *arguments], capture_output=True, text=True, timeout=120, **popen
    )


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> Path:
    """A reports folder with parameters for the sample that are valid now."""
    folder = tmp_path_factory.mktemp("reports")
    params.publish(export(Inputs(), rule_params(15.0, -12.0), created=datetime.now(UTC) - timedelta(seconds=1)), folder)
    return folder


def test_the_command_replays_the_sample_and_ends_in_one_line_of_json(reports):
    done = live("--replay", "--speed", "max", "--reports", str(reports), "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["status"] == "finished" and summary["synthetic"] is True and summary["trades"] >= 20
    parts = summary["attribution"]
    assert parts["net"] == pytest.approx(sum(v for k, v in parts.items() if k != "net"), abs=1e-9)
    assert "(SYNTHETIC quotes)" in done.stderr and "[paper, replay]" in done.stderr


def test_the_runner_loads_no_research_library(reports):
    code = (
        "import sys; from delta_arb.live.__main__ import main; code = main(sys.argv[1:]); "
        "print(code, sorted({'pandas', 'matplotlib', 'statsmodels', 'plotly', 'numba', 'papermill'} & set(sys.modules)))"
    )
    arguments = ["--replay", "--speed", "max", "--reports", str(reports)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the configuration with --config FILE"),
        (["--live"], "name the configuration with --config FILE"),
        (["status", "--sandbox"], "no runner is up, and there is no journal"),
        (["--replay", "spot.parquet"], "replay takes the quotes of both legs"),
        (["--replay", "a.parquet", "b.parquet"], "--pair"),
        (["--replay", "a.parquet", "b.parquet", "--pair", "A_USDT"], "--funding"),
        (["--replay", "--spot-latency", "0"], "nothing fills at once"),
        (["--replay", "--as-of", "2020-01-01"], "set the clock"),
        (["--replay", "--as-of", "2100-01-01"], "stale"),
        (["--replay", "--max-clip-usdt", "10"], "out of the runner's bounds: clip_usdt=50 is above the configured 10"),
        (["--replay", "--pair", "OTHER_USDT"], "there is no parameter file"),
        (["--replay", "--perp-fee-bps", "2"], "perp.taker_fee_bps is 5.0 in the file and 2.0 here"),
    ],
)
def test_the_command_refuses_and_says_what_to_do(reports, arguments, message):
    done = live(*arguments, "--reports", str(reports))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_emptied_journal_is_not_called_flat(tmp_path):
    path = tmp_path / Inputs().name / "live" / "sandbox.sqlite"
    path.parent.mkdir(parents=True)
    path.touch()
    done = live("status", "--sandbox", "--reports", str(tmp_path))
    assert done.returncode == 2 and done.stdout == ""
    assert "tells of no run" in done.stderr and "see what both accounts hold" in done.stderr


def test_the_command_refuses_parameters_of_another_pair(reports):
    file = reports / Inputs().name / "params" / "latest.json"
    done = live("--replay", "--pair", "OTHER_USDT", "--params", str(file))
    assert done.returncode == 2
    assert "these parameters are for SYN_USDT-mexc-gate, the runner trades OTHER_USDT-mexc-gate" in done.stderr


def test_a_second_runner_of_the_same_pair_is_kept_out(tmp_path):
    with Journal(tmp_path / "journal.sqlite", "one"), pytest.raises(RunError, match="another runner"):
        Journal(tmp_path / "journal.sqlite", "two")
    with Journal(tmp_path / "journal.sqlite", "three"):
        pass


# --- signals and crashes ----------------------------------------------------------------------------------------------


@pytest.fixture
def slow_runner(reports, tmp_path):
    """A real process that replays the sample slowly enough to be hit in the middle, trades already journaled."""
    folder = tmp_path / "reports"
    params.publish(params.load(reports / Inputs().name / "params" / "latest.json"), folder)
    command = [
        sys.executable,
        "-m",
        "delta_arb.live",
        "--replay",
        "--speed",
        "15000",
        "--reports",
        str(folder),
        "--json",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = folder / Inputs().name / "live" / "journal.sqlite"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None and rows(journal, "fills") < 12:
        time.sleep(0.05)
    assert process.poll() is None, process.stderr.read()
    yield process, journal
    process.kill()
    process.wait()


def rows(journal: Path, table: str) -> int:
    if not journal.exists():
        return 0
    db = sqlite3.connect(journal)
    try:
        return db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
    except sqlite3.OperationalError:  # the table is not there yet
        return 0
    finally:
        db.close()


def test_a_running_process_takes_over_a_new_export_and_refuses_a_damaged_one(slow_runner):
    process, journal = slow_runner
    latest = journal.parents[1] / "params" / "latest.json"
    params.save(export(Inputs(), rule_params(16.0, -12.0), created=datetime.now(UTC) - timedelta(seconds=1)), latest)
    wait_for(lambda: rows(journal, "params") == 2)
    latest.write_text("{")
    wait_for(lambda: rows(journal, "params") == 3)
    db = sqlite3.connect(journal)
    verdicts = [row[0] for row in db.execute("SELECT verdict FROM params ORDER BY rowid")]
    db.close()
    assert verdicts[:2] == ["accepted", "accepted"] and "damaged" in verdicts[2]
    assert process.poll() is None  # it goes on managing what is open


def wait_for(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "the runner did not look at the new export"
        time.sleep(0.05)


def test_kill_9_leaves_a_whole_journal(slow_runner):
    process, journal = slow_runner
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    db = sqlite3.connect(journal)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert rows(journal, "fills") >= 12
    orphans = "SELECT COUNT(*) FROM fills WHERE order_id NOT IN (SELECT order_id FROM orders)"
    assert db.execute(orphans).fetchone() == (0,)
    # Every closed trade is there with all its fills: its net is theirs.
    for pair, net, funding, residual in db.execute(
        "SELECT pair, net_usdt, funding_usdt, residual_usdt FROM trades"
    ).fetchall():
        cash = db.execute("SELECT SUM(-qty * price - fee_usdt) FROM fills WHERE pair = ?", (pair,)).fetchone()[0]
        assert net == pytest.approx(cash + funding + residual, abs=1e-9)
    assert db.execute("SELECT ended FROM runs").fetchall() == [(None,)]  # nobody claims that it ended well
    db.close()


def test_sigterm_closes_what_is_open_and_says_stopped(slow_runner):
    process, journal = slow_runner
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 1, err
    assert json.loads(out.splitlines()[-1])["status"] == "stopped"
    db = sqlite3.connect(journal)
    assert db.execute("SELECT outcome FROM runs").fetchall() == [("stopped",)]
    assert (
        db.execute("SELECT COUNT(DISTINCT pair) FROM fills").fetchone()
        == db.execute("SELECT COUNT(*) FROM trades").fetchone()
    )
    db.close()


# --- the paper venue --------------------------------------------------------------------------------------------------


def test_the_paper_venue_takes_one_order_per_leg():
    inputs = Inputs()
    venue = PaperVenue(inputs.latency(), ("updates", "updates"), (LegRule(0.0, 0.0, 0.0, 0.0),) * 2, NS)
    venue.send(0, "a", Order(1.0, 10.0, False, False), 0)
    with pytest.raises(Exception, match="still has a working"):
        venue.send(0, "b", Order(1.0, 10.0, False, False), 0)


def test_regimes_of_the_generator_run_through(tmp_path):
    recording = synthetic.make(synthetic.World.sample(hours=9.0), 5)
    synthetic.write(recording, tmp_path / "quotes")
    files = {leg: str(tmp_path / "quotes" / f"{leg}.parquet") for leg in LEGS}
    inputs = Inputs(**files, funding=str(tmp_path / "quotes" / "funding.parquet"), pair="SYN_USDT", contract_size=10.0)
    assert inputs.synthetic
    tape = inputs.tape()
    rule = rules.make_rule(rule_params(5.0, -30.0), *inputs.terms())
    assert_same(inputs, tape, rule, inputs.payments(tape), tmp_path)


def test_a_funding_stamp_pays_the_same_in_runner_and_backtest_lesson_16(tmp_path):
    """Two hours with a stamp every ten minutes, so that holds span several."""
    inputs = Inputs()
    tape = inputs.tape()
    part = tape.between(tape.start_ns, tape.start_ns + 7200 * NS)
    stamps = range(tape.start_ns - 600 * NS, tape.start_ns + 9000 * NS, 600 * NS)
    payments = tuple(FundingPayment(t, 0.0001, 0.8, True) for t in stamps)
    rule = rules.make_rule(rule_params(0.0, -45.0), *inputs.terms())
    expected = assert_same(inputs, part, rule, payments, tmp_path)
    assert any(t.funding_usdt > 0 for t in expected.trades)
