"""A universe: jobs that are kept, engines that agree, a screen that loses nothing, many pairs judged as many."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from delta_arb.errors import DataError, ParamsError, RunError, SeriesError
from delta_arb.market import NS, PERP, SPOT, FundingPayment
from delta_arb.optimize import carry_walk_forward
from delta_arb.optimize.offers import offers
from delta_arb.optimize.search import grid
from delta_arb.optimize.study import Constraints, Market
from delta_arb.params import Rule
from delta_arb.quotes.tape import Tape
from delta_arb.stats.basis import basis_of
from delta_arb.stats.multiple_testing import critical_z, stepdown
from delta_arb.universe import jobs, look, reading, screen
from delta_arb.universe.__main__ import main
from delta_arb.universe.jobs import KeptJob, digest_of
from delta_arb.universe.options import UniverseOptions
from delta_arb.universe.ranking import candidates, ranked
from delta_arb.universe.reading import Study
from delta_arb.universe.run import rank, write_example
from delta_arb.universe.tables import refusals

ROOT = Path(__file__).resolve().parents[1]


# --- jobs and engines ------------------------------------------------------------------------------------------------


def job(tmp_path, x, function="square", **more):
    (tmp_path / "calls").mkdir(exist_ok=True)
    return KeptJob(
        f"job {x}", f"universe_jobs:{function}", {"x": x, **more}, "data", {"calls": str(tmp_path / "calls")}
    )


def calls(tmp_path):
    return len([each for each in (tmp_path / "calls").iterdir() if each.name != "died"])


def test_a_finished_job_is_never_done_again_and_a_changed_file_is(tmp_path):
    asked, kept, told = [job(tmp_path, x) for x in (2, 3)], tmp_path / "kept", []
    assert jobs.run(asked, kept, jobs.Serial()) == [{"square": 4}, {"square": 9}]
    assert jobs.run(asked, kept, jobs.Serial(), told.append) == [{"square": 4}, {"square": 9}]
    assert calls(tmp_path) == 2 and told == ["job 2", "job 3"]
    file = kept / f"{asked[0].digest}.json"
    file.write_text(file.read_text().replace('{\\"square\\": 4}', '{\\"square\\": 5}'))
    assert jobs.run(asked, kept, jobs.Serial()) == [{"square": 4}, {"square": 9}]
    assert calls(tmp_path) == 3


def test_code_parameters_and_data_name_a_result_and_folders_do_not(tmp_path, monkeypatch):
    one = job(tmp_path, 2)
    assert replace(one, where={"calls": "elsewhere"}).digest == replace(one, name="other").digest == one.digest
    others = {job(tmp_path, 3).digest, replace(one, data="other").digest, job(tmp_path, 2, "trim").digest}
    monkeypatch.setattr(jobs, "code", lambda: "other sources")
    assert len({one.digest, *others}) == 4


def test_a_worker_of_other_sources_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"a worker runs delta_arb of other sources .* update it"):
        jobs.perform(job(tmp_path, 2), "0" * 64)
    assert calls(tmp_path) == 0


def test_a_killed_worker_costs_a_retry_and_who_dies_alone_is_named(tmp_path):
    asked = [job(tmp_path, 1, "die_once"), *(job(tmp_path, x) for x in (2, 3)), job(tmp_path, 4, "die_always")]
    with pytest.raises(RunError, match=r"1 of 4 jobs failed, the others are kept: job 4: its worker died twice"):
        jobs.run(asked, tmp_path / "kept", jobs.Pool(2))
    done = calls(tmp_path)
    assert [jobs.kept(tmp_path / "kept", each) for each in asked] == [*({"square": x * x} for x in (1, 2, 3)), None]
    jobs.run(asked[:3], tmp_path / "kept", jobs.Serial())
    assert calls(tmp_path) == done  # all three are there


def test_the_workers_of_a_killed_call_end_with_it(tmp_path):
    with asking(tmp_path, "jobs.Pool(2)", "pids") as call:
        until(lambda: len([*(tmp_path / "calls").iterdir()]) == 2)
        call.kill()
    workers = [
        psutil.Process(int(each.name)) for each in (tmp_path / "calls").iterdir() if psutil.pid_exists(int(each.name))
    ]
    assert psutil.wait_procs(workers, 5.0)[1] == []


def asking(tmp_path, engine, function):
    """A call of its own process that asks for two jobs."""
    code = (
        "from delta_arb.universe import jobs; from pathlib import Path\n"
        f"asked = [jobs.KeptJob(str(x), 'universe_jobs:{function}', {{'x': x}}, '', {{'calls': 'calls'}}) for x in (1, 2)]\n"
        f"if __name__ == '__main__': print(jobs.run(asked, Path('kept'), {engine}))"
    )
    (tmp_path / "asks.py").write_text(code)
    (tmp_path / "calls").mkdir()
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    return subprocess.Popen(
        [sys.executable, "asks.py"], cwd=tmp_path, env=os.environ | paths, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are no copies")
def test_workers_begin_with_all_that_jobs_load(tmp_path):
    said = asking(tmp_path, "jobs.engine(2, '')", "loaded").communicate()[0]
    each = {"loaded": ["delta_arb.universe.look", "numba", "pandas"]}
    assert said == f"{[each, each]}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="what a process has loaded by now is read from /proc")
@pytest.mark.parametrize("loaded", ["_multiarray_umath", "scipy/signal"])
def test_ctrl_c_while_it_loads_ends_in_one_line(tmp_path, loaded):
    command = [sys.executable, "-m", "delta_arb", "universe", "--workers", "2"]
    with (tmp_path / "said").open("w+") as said:
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        call = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=said, start_new_session=True)
        until(lambda: loaded in Path(f"/proc/{call.pid}/maps").read_text(), 60.0)
        os.killpg(call.pid, signal.SIGINT)
        assert call.wait(60) == 130
        said.seek(0)
        assert re.fullmatch("stopped: (nothing was begun|pairs that were finished are kept; .*)\n", said.read())


def test_what_can_be_checked_is_refused_before_any_worker_starts(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jobs, "engine", lambda *_: pytest.fail("workers were started"))
    words = ["--since", "2026-02-01", "--until", "2026-01-01", "--reports", str(tmp_path / "reports")]
    assert main(words) == 2
    assert "--until is not after --since" in capsys.readouterr().err


def until(true, seconds=30.0):
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_more_memory_than_the_machine_has_is_refused_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "machine_memory", lambda: 8 * 10**9)
    asked = [replace(job(tmp_path, 2), memory=3 * 10**9)]
    with pytest.raises(ParamsError, match=r"4 workers of 3.0 GB each do not fit into 8.0 GB; give --workers 2"):
        jobs.run(asked, tmp_path / "kept", jobs.Pool(4))
    with pytest.raises(ParamsError, match=r"give --workers 1, or a shorter range"):
        jobs.Serial().check(9 * 10**9)
    assert calls(tmp_path) == 0


@pytest.mark.slow
def test_dask_gives_the_same_digest_survives_a_killed_worker_and_frees_no_memory_at_once(tmp_path):
    pytest.importorskip("distributed")
    asked = [job(tmp_path, 1, "die_once"), *(job(tmp_path, x) for x in range(2, 8)), job(tmp_path, 9, "trim")]
    with jobs.DaskCluster("local", 2) as cluster:
        found = jobs.run(asked, tmp_path / "dask", cluster)
    assert found[-1] == {"trim": "not set"}
    assert digest_of(found[:-1]) == digest_of(jobs.run(asked[:-1], tmp_path / "serial", jobs.Serial()))
    with jobs.DaskCluster("local", 1) as cluster, pytest.raises(RunError, match=r"1 of 1 jobs failed.*job 4: its work"):
        jobs.run([job(tmp_path, 4, "die_always")], tmp_path / "dask", cluster)


@pytest.fixture
def scheduler(tmp_path):
    """A Dask scheduler of its own process; `add(path)` starts a worker that imports delta_arb from there."""
    pytest.importorskip("distributed")
    file, started = tmp_path / "scheduler.json", []

    def start(*words, path=ROOT):
        env = os.environ | {"PYTHONPATH": f"{path}{os.pathsep}{ROOT / 'tests'}"}
        command = [sys.executable, "-P", "-m", *words, "--scheduler-file", str(file)]
        started.append(subprocess.Popen(command, env=env, cwd=tmp_path, stderr=subprocess.DEVNULL))
        return started[-1]

    words = ("--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0")
    process = start("distributed.cli.dask_scheduler", *words)
    while not file.exists():
        time.sleep(0.05)
    address = json.loads(file.read_text())["address"]
    worker = ("distributed.cli.dask_worker", "--no-nanny", "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1")
    yield address, process, lambda path=ROOT: start(*worker, path=path)
    for each in started:
        each.kill()
        each.wait()


@pytest.mark.slow
def test_a_cluster_with_a_worker_of_other_sources_is_refused(tmp_path, scheduler):
    address, _, add = scheduler
    shutil.copytree(ROOT / "delta_arb", tmp_path / "other" / "delta_arb", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "other" / "delta_arb" / "errors.py").open("a") as file:
        file.write("# a line more\n")
    add(tmp_path / "other")
    wait_for_workers(address, 1)
    other = r"the worker tcp://127.0.0.1:\d+ runs other sources of delta_arb"
    with jobs.DaskCluster(address, 0) as cluster, pytest.raises(RunError, match=other):
        jobs.run([job(tmp_path, 2)], tmp_path / "kept", cluster)
    assert calls(tmp_path) == 0


@pytest.mark.slow
def test_a_dead_scheduler_costs_only_the_running_jobs(tmp_path, scheduler):
    address, process, add = scheduler
    add()
    wait_for_workers(address, 1)
    asked = [job(tmp_path, x, "slow_square", seconds=0.5) for x in range(8)]

    def killed(_):
        if process.poll() is None and calls(tmp_path) >= 2:
            process.send_signal(signal.SIGKILL)

    gone = r"the scheduler is gone; \d of 8 jobs are done and kept, call again"
    with jobs.DaskCluster(address, 0) as cluster, pytest.raises(RunError, match=gone):
        jobs.run(asked, tmp_path / "kept", cluster, killed)
    kept = [each.parameters["x"] for each in asked if jobs.kept(tmp_path / "kept", each)]
    assert len(kept) >= 2
    assert jobs.run(asked, tmp_path / "kept", jobs.Serial())[7] == {"square": 49}
    assert all(len(list((tmp_path / "calls").glob(f"{x}-*"))) == 1 for x in kept)


def wait_for_workers(address, n):
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(n, timeout=60)


# --- screen ----------------------------------------------------------------------------------------------------------


def quotes(spot_bids, perp_bids, step_s=60):
    """A quote of both legs at every step, a cent wide, sizes without end."""
    rows = []
    for k, (spot, perp) in enumerate(zip(spot_bids, perp_bids, strict=True)):
        at = k * step_s * NS
        rows += [(at, SPOT, spot, spot + 0.01, 1e6, 1e6), (at, PERP, perp, perp + 0.01, 1e6, 1e6)]
    return Tape.of(rows)


def test_the_best_holds_of_all_are_what_one_adds_up_by_hand():
    tape = quotes([100.0, 100.0, 100.0], [100.5, 100.5, 100.1])
    at = Market(fee_bps=10, latency_s=0.1, payments=(FundingPayment(90 * NS, 0.001, 100.0, True),))
    # bought at 100.01, sold short at 100.5; sold at 100, bought back at 100.11; a tenth of 1 % of 100 is paid between
    net = (100.5 - 100.01) + (100.0 - 100.11) + 0.1 - 0.001 * (100.5 + 100.01 + 100.0 + 100.11)
    assert screen.best_holds_bps(tape, at, 0.0) == pytest.approx(net / 100.01 * 1e4)
    assert screen.best_holds_bps(tape, at) == pytest.approx(net / 100.01 * 1e4 + screen.MARGIN_BPS)
    assert screen.cannot_carry(tape, at) == ""
    dear = Market(fee_bps=20, latency_s=0.1, payments=at.payments)
    assert screen.best_holds_bps(tape, dear) == 0.0
    assert screen.cannot_carry(tape, dear) == "no hold from any moment to any later one earned its four fees"
    # twice in turn: each gains 0.8 of basis less two spreads of a cent, fees are paid four times each
    twice = quotes([100.0] * 4, [100.8, 100.0, 100.8, 100.0])
    once = (100.8 - 100.01) + (100.0 - 100.01) - 0.001 * (100.8 + 100.01 + 100.0 + 100.01)
    assert screen.best_holds_bps(twice, replace(at, payments=()), 0.0) == pytest.approx(2 * once / 100.01 * 1e4)


@pytest.mark.parametrize(("rate_bps", "excluded"), [(0.2, True), (0.9, False)])
def test_carry_is_excluded_where_even_the_best_holds_earn_less_than_cash(rate_bps, excluded):
    n = 240 * 24
    tape = quotes(np.full(n, 100.0), np.full(n, 100.0), 3600)
    paid = tuple(FundingPayment(k * 8 * 3600 * NS, rate_bps * 1e-4, 100.0, True) for k in range(1, 720))
    at = Market(fee_bps=2.5, latency_s=0.1, payments=paid).on(tape, Rule(clip_usdt=100.0))
    why = screen.cannot_beat_cash(tape, at, Constraints())
    assert (why != "") == excluded
    if excluded:
        # 359 stamps after 120 days of look-back, less four fees and two spreads of a cent, plus the margin; three folds of
        # 30 days, 4 % a year on the position and as much margin
        assert f"earned {359 * 0.2 - 10 - 2 + 1:.1f} bps" in why
        assert f"in 90 days cash earns {2 * 400 * 90 / 365:.1f} bps" in why


@pytest.mark.parametrize("fades", [False, True])
def test_carry_is_excluded_where_the_walk_has_no_rule_for_the_time_to_come(fades):
    n = 240 * 24
    tape = quotes(
        np.full(n, 100.0), np.full(n, 100.0), 3600
    )  # of the last 120 days, which choose, nothing pays if it fades
    paid = tuple(FundingPayment(k * 8 * 3600 * NS, 3e-4 * (not fades or k < 357), 100.0, True) for k in range(1, 720))
    at = Market(fee_bps=2.5, latency_s=0.1, payments=paid).on(tape, Rule(clip_usdt=100.0))
    why, asked = screen.no_rule(tape, at), carry_walk_forward.asked(tape, at, "carry")
    assert (why != "") == fades == (asked.thresholds is None) and asked.trade != fades
    with pytest.raises(DataError, match="3 are needed"):
        screen.no_rule(tape.between(0, 200 * 24 * 3600 * NS), at)


@pytest.mark.parametrize("seed", range(8))
def test_no_look_back_has_a_grid_where_the_screen_excludes(seed):
    rng = np.random.default_rng(seed)
    n, demands = 2000, Constraints(look_back_h=6.0)
    basis = np.cumsum(rng.normal(0, 0.01, n)) + rng.normal(0, 0.1, n) * (rng.random(n) < 0.02)
    price = 100 + np.cumsum(rng.normal(0, 0.05, n))
    tape = quotes(price, price + basis)
    length_ns = round(screen.look_back_s(tape, demands) * NS)
    starts = rng.integers(tape.start_ns, tape.end_ns - length_ns, 40)
    for fee_bps in (2.0, 5.0, 10.0, 20.0):
        at = Market(fee_bps=fee_bps, latency_s=0.1, payments=())
        parts = [tape.between(int(start), int(start) + length_ns) for start in starts]
        found = any(grid(offers(part, Rule(), None), at, demands) for part in parts)
        assert not (found and screen.cannot_revert(tape, at, demands))


# --- vetoes ----------------------------------------------------------------------------------------------------------


def test_lists_veto_and_what_they_do_not_say_is_named(tmp_path):
    for market, rules in {
        "mexc/spot": {"symbols": [
            {"baseAsset": "A", "quoteAsset": "USDT", "status": "1", "isSpotTradingAllowed": False},
            {"baseAsset": "B", "quoteAsset": "USDT", "status": "1", "isSpotTradingAllowed": True, "st": True},
            {"baseAsset": "C", "quoteAsset": "USDT", "status": "3", "isSpotTradingAllowed": True},
        ]},
        "gate/perp": [{"name": f"{c}_USDT", "status": "trading", "in_delisting": c == "B"} for c in "ABC"],
    }.items():  # fmt: skip
        (tmp_path / market).mkdir(parents=True)
        (tmp_path / market / "rules.json").write_text(json.dumps(rules))
    (tmp_path / "mexc/spot/currencies.json").write_text('{"A": {"deposit": true, "withdraw": false}}')
    (tmp_path / "mexc/spot/A_USDT").mkdir()
    rows = reading.list_rows(tmp_path, "mexc", "gate")
    assert reading.listed(tmp_path, "mexc", "gate") == ["A_USDT"]
    assert reading.vetoes("A_USDT", rows) == [
        "spot is closed to API orders",
        "withdraws of A are closed at the spot venue",
    ]
    assert reading.vetoes("B_USDT", rows) == [
        "spot carries the venue's warning of a delisting (ST)",
        "the perpetual is being delisted",
    ]
    assert reading.vetoes("C_USDT", rows) == ["spot does not trade (status 3)"]
    assert reading.unknown_of("A_USDT", rows) == []
    assert reading.unknown_of("C_USDT", rows) == ["deposits and withdrawals are not known and taken to be open"]
    for file, text in (
        ("gate/perp/rules.json", "null"),
        ("mexc/spot/currencies.json", "[]"),
        ("gate/perp/rules.json", "{"),
    ):
        was = (tmp_path / file).read_text() if (tmp_path / file).exists() else "{}"
        (tmp_path / file).write_text(text)
        with pytest.raises(DataError, match=rf"{file} is .*download again"):
            reading.list_rows(tmp_path, "mexc", "gate")
        (tmp_path / file).write_text(was)
    with pytest.raises(ParamsError, match=r"holds no pair of okx spot and gate perpetuals; download or record"):
        reading.listed(tmp_path / "gate", "okx", "gate")


# --- many pairs ------------------------------------------------------------------------------------------------------


def test_the_bound_of_so_many_tests_is_that_of_the_normal_tables():
    assert [round(critical_z(n), 2) for n in (1, 50, 200, 400)] == [1.64, 3.09, 3.48, 3.66]


def test_copies_cost_nothing_and_others_cost_as_independent_tests():
    rng = np.random.default_rng(3)
    days = rng.normal(0.35, 1.0, 200)[:, None]  # t near 5
    alone = stepdown(days, np.random.default_rng(1), block=1.0, repetitions=20_000)
    copies = stepdown(np.repeat(days, 5, axis=1), np.random.default_rng(1), block=1.0, repetitions=20_000)
    assert copies == pytest.approx(np.repeat(alone, 5))
    weak = days - days.mean() + 3.2 * days.std() / np.sqrt(200)  # z of 3.2: enough for 50 tests, not for 200
    few, many = (
        stepdown(weak, np.random.default_rng(1), others=n, block=1.0, repetitions=20_000)[0] for n in (49, 199)
    )
    assert few < 0.055 and 0.1 < many < 0.2  # Sidak: 1 - (1 - 0.0008)^n of Student's t of 199 days: 0.04 and 0.15


def test_a_stepdown_lets_the_best_go_before_it_asks_the_next():
    rng = np.random.default_rng(5)
    nets = rng.normal(0, 1.0, (300, 4))
    nets -= nets.mean(axis=0)
    nets += np.array([6.0, 2.3, -1.0, 0.0]) / np.sqrt(300)
    p = stepdown(nets, np.random.default_rng(1), block=1.0, repetitions=5000)
    assert p[0] < 0.001 and p[0] < p[1] < p[3] <= p[2]
    # 2.3 against the best of three that are left: 1 - Phi(2.3)^3
    assert p[1] == pytest.approx(0.032, abs=0.01)
    with pytest.raises(SeriesError, match="is one of the others"):
        stepdown(np.column_stack([nets[:, 0], np.full(300, np.nan)]), np.random.default_rng(1))


def first(pair, net=1.0, *, halted=False, screened=False, one_coin=True):
    way = {"screened": screened, "net_usdt_day": net, "halted": halted, "reason": "because"}
    nothing = way | {"screened": True, "net_usdt_day": None, "halted": False}
    return {"pair": pair, "one_coin": one_coin, "coin_why": "?", "guessed": [], "reversion": way, "carry": nothing}


def second(nets, unseen=1.0, trade=True, halted=False):
    answer = {
        "trade": trade,
        "reason": "earned",
        "days": [20_000, list(nets)],
        "halted": halted,
        "unseen_usdt_day": unseen,
    }
    return {"reversion": answer | dict.fromkeys(("net_usdt_day", "low_usdt_day", "high_usdt_day"), 1.0)}


def test_ranks_are_of_the_first_part_and_every_condition_can_refuse():
    rng = np.random.default_rng(2)
    good = 1.0 + rng.normal(0, 0.5, 60)
    weak = 0.15 + rng.normal(0, 0.5, 60)
    firsts = [
        first("GOOD", 1.0), first("HALTED", 9.0, halted=True), first("LATE", 3.0), first("WEAK", 2.0),
        first("SHUT", 8.0), first("TWIN", 7.0, one_coin=False), first("NO", None, screened=True), {"pair": "BAD", "refused": "?"},
    ]  # fmt: skip
    answers = {"GOOD": second(good), "HALTED": second(good), "LATE": second(good, -0.1), "WEAK": second(weak)}
    found = ranked(firsts, answers, {"SHUT": ["deposits are closed"]}, {}, "digest")
    by_name = {each.pair: each for each in found.pairs}
    assert [each.pair for each in found.pairs] == ["GOOD", "LATE", "WEAK", "HALTED", "NO", "SHUT", "TWIN", "BAD"]
    assert [each.pair for each in found.trades] == ["GOOD"] and found.tests == 16
    assert (
        by_name["HALTED"].rank_usdt_day is None and by_name["HALTED"].ways["reversion"].reason == "the machine halted"
    )
    assert "the last third, not looked at before, earned -0.10" in by_name["LATE"].reason
    assert "not surely above zero among all pairs listed" in by_name["WEAK"].reason
    assert by_name["SHUT"].reason == "deposits are closed" and "not proven" in by_name["TWIN"].reason
    assert candidates(firsts[4], ["shut"]) == candidates(firsts[5], []) == candidates(firsts[7], []) == []
    assert candidates(firsts[0], []) == ["reversion"]


def test_pairs_that_nobody_walked_count_too():
    rng = np.random.default_rng(4)
    days = rng.normal(0, 1.0, 100)
    days += 3.3 * days.std() / 10 - days.mean()
    few, many = (
        ranked([first("A"), *(first(f"N{k}", None, screened=True) for k in range(n))], {"A": second(days)}, {}, {}, "")
        for n in (4, 199)
    )
    assert few.trades and not many.trades
    assert many.tests == 400 and round(many.z, 2) == 3.66


# --- one pair --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("universe"))


HALF = {"spot_half_spread_bps": 1.0, "perp_half_spread_bps": 1.0}


def told(data, pair, **more):
    return asdict(Study(inputs=HALF, demands={"look_back_h": 480.0}, **more)) | {"pair": pair, "data": str(data)}


def test_the_first_look_does_not_see_the_last_third(data, tmp_path):
    shutil.copytree(data, tmp_path / "other")
    path = tmp_path / "other/gate/perp/SWING_USDT/candles_1h/2025-08.parquet"
    table = pq.read_table(path)
    closes = pa.array(table["close"].to_numpy() * (1 + 0.0002 * (np.arange(table.num_rows) % 2)))
    pq.write_table(table.set_column(table.column_names.index("close"), "close", closes), path)
    before, after = (look.first(told(folder, "SWING_USDT")) for folder in (data, tmp_path / "other"))
    assert before == after and before["cut_ns"] < 1_753_920_000 * NS  # 2025-07-31
    assert reading.opened(Study(inputs=HALF), "SWING_USDT", tmp_path / "other").tape.end_ns > before["cut_ns"]


def test_one_coin_is_proven_by_quotes_and_by_candles_and_two_coins_are_not():
    rng = np.random.default_rng(6)
    one, other = (100 + np.cumsum(rng.normal(0, 0.05, 400)) for _ in range(2))
    same, two = (
        look.same_coin(basis_of(quotes(one, perp), 20.0, 1.0)) for perp in (one + 0.05, other + one[0] - other[0])
    )
    assert same["one_coin"] and same["alike"] > 0.95 and same["coin_why"].startswith("returns correlate 1.00, prices 5")
    assert not two["one_coin"] and two["alike"] < 0.3
    flat = look.same_coin(basis_of(quotes(one, np.full(400, 100.0)), 20.0, 1.0))
    assert not flat["one_coin"] and "prove nothing" in flat["coin_why"]


def test_what_is_refused_says_so_without_where_or_when(data):
    said = look.first(told(data, "TWIN_USDT"))["refused"]
    assert (
        said.startswith("gate/perp/TWIN_USDT/candles_1h is ") and "not the same coin" in said and str(data) not in said
    )


def test_a_torn_file_refuses_its_pair_alone_and_a_new_pair_redoes_no_first_look(data, tmp_path):
    few = shutil.copytree(data, tmp_path / "data", ignore=shutil.ignore_patterns("[!Q]*_USDT"))  # QUIET alone
    asked = UniverseOptions(data=few, look_back_h=480.0, workers=1, quick=True, **HALF)
    rank(asked, tmp_path / "jobs")
    once = len([*(tmp_path / "jobs").iterdir()])
    new = shutil.copytree(data / "mexc/spot/TWIN_USDT", few / "mexc/spot/TWIN_USDT")
    shutil.copytree(data / "gate/perp/TWIN_USDT", few / "gate/perp/TWIN_USDT")
    torn = next(new.rglob("*.parquet"))
    torn.write_bytes(torn.read_bytes()[:1000])
    found = {each.pair: each for each in rank(asked, tmp_path / "jobs").pairs}
    assert len([*(tmp_path / "jobs").iterdir()]) == once + 1
    assert "refused" in found["TWIN_USDT"].figures and torn.name in found["TWIN_USDT"].reason
    assert "refused" not in found["QUIET_USDT"].figures


def test_break_even_is_costs_over_funding_and_resting_saves_fees_and_the_spread_of_spot(data):
    answer = look.first(told(data, "STEADY_USDT", maker_fee_bps=1.0))
    day = answer["funding_bps_day"]
    assert day == pytest.approx(4.5, abs=0.1) and answer["funding_low"] < day < answer["funding_high"]
    assert answer["break_even_days"] * day == pytest.approx(20 + 4, rel=0.01)  # four fees, four half-spreads
    assert answer["resting_days"] * day == pytest.approx(2 * 5 + 2 * 1 + 2, rel=0.01)


def test_a_half_spread_is_never_below_half_a_tick(data, tmp_path):
    shutil.copytree(data / "mexc", tmp_path / "mexc")
    shutil.copytree(data / "gate", tmp_path / "gate")
    rules = tmp_path / "gate/perp/rules.json"
    rules.write_text(rules.read_text().replace('"0.000001"', '"0.002"'))
    inputs = reading.opened(Study(inputs=HALF), "STEADY_USDT", tmp_path).inputs
    price = float(np.median(reading.opened(Study(inputs=HALF), "STEADY_USDT", tmp_path).tape.perp_bid))
    assert inputs.spot_half_spread_bps == 1.0
    assert inputs.perp_half_spread_bps == pytest.approx(0.001 / price * 1e4, rel=0.01)


def test_carry_must_have_one_sign_at_three_lengths_of_bars(data):
    study = Study(inputs=HALF, demands={"look_back_h": 480.0})
    steady = reading.opened(study, "STEADY_USDT", data)
    paid = tuple(p._replace(rate=0.1 * p.rate) for p in steady.market.payments)
    dear = replace(steady, market=replace(steady.market, payments=paid).with_fees(20.0, 20.0))
    asked = []

    def again(bar_s):
        asked.append(bar_s)
        return dear if bar_s == 3 * 3600 else steady

    found = look.second_of(steady, study, ["carry"], again)["carry"]
    assert asked == [3 * 3600.0, 12 * 3600.0] and not found["trade"]
    assert "the sign depends on the length of the bars: +4." in found["reason"]
    assert look.second_of(steady, study, ["carry"], lambda _: steady)["carry"]["trade"]


def test_what_no_pair_can_answer_is_refused_instead_of_none_of_them_pays(data, tmp_path, capsys):
    only = shutil.copytree(data, tmp_path / "data", ignore=shutil.ignore_patterns("[!Q]*_USDT"))
    half = [f"--{leg}-half-spread-bps=1" for leg in ("spot", "perp")]
    asked = ["--data", str(only), "--workers", "1", *half, "--reports", str(tmp_path / "reports")]
    for wrong, why in {
        "--clip-usdt=0": "clip_usdt",
        "--since=2027-01-01": "QUIET_USDT: the folder",
        "--cluster=host": "--cluster is local",
        "--cluster=tcp://nobody": "--cluster is local",
    }.items():
        assert main([*asked, wrong]) == 2
        said = capsys.readouterr().err
        assert why in said and said.count("\n") == 1
    (tmp_path / "file").touch()
    for option in ("--reports", "--data"):
        assert main([*asked, "--quick", option, str(tmp_path / "file")]) == 2
        assert f"{option} {tmp_path}/file is a file, not a folder; name a folder" in capsys.readouterr().err


@pytest.mark.slow
def test_serial_pool_and_dask_give_one_digest_and_a_second_call_does_nothing(data, tmp_path):
    pytest.importorskip("distributed")
    asked = UniverseOptions(data=data, look_back_h=480.0, **HALF)
    ways = {"serial": {"workers": 1}, "pool": {"workers": 2}, "dask": {"workers": 2, "cluster": "local"}}
    found = {name: rank(replace(asked, **way), tmp_path / name) for name, way in ways.items()}
    assert len({each.digest for each in found.values()}) == 1
    assert [each.pair for each in found["pool"].trades] == ["STEADY_USDT"]
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "pool").iterdir()}
    assert rank(replace(asked, workers=1), tmp_path / "pool") == found["serial"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "pool").iterdir()} == files


# --- the command -----------------------------------------------------------------------------------------------------


def test_help_is_quick_and_refusals_are_one_line(tmp_path, capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert {"--cluster", "--spot-maker-fee-bps", "--config", "--spot-fee-bps"} <= set(re.findall(r"--[a-z-]+", shown))
    assert main(["--data", str(tmp_path), "--json"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ") and said.err.count("\n") == 1
    assert json.loads(said.out)["status"] == "refused"
    code = "import sys; from delta_arb.universe.__main__ import main; main(['--help']); print(sorted({'numpy', 'ccxt'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_quick_says_of_each_pair_why_not(data, tmp_path, capsys):
    half = [f"--{leg}-half-spread-bps=1" for leg in ("spot", "perp")]
    asked = [
        "--data",
        str(data),
        "--workers",
        "1",
        "--quick",
        *half,
        "--look-back-h",
        "480",
        "--reports",
        str(tmp_path),
    ]
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert re.search(r"^SHUT_USDT: deposits of SHUT are closed at the spot venue$", said, re.MULTILINE)
    assert re.search(r"^QUIET_USDT: .*reversion: no edge after costs: in no look-back", said, re.MULTILINE)
    assert re.search(r"^TWIN_USDT: gate/perp/TWIN_USDT/candles_1h is .*not the same coin", said, re.MULTILINE)


def test_a_pair_that_cannot_be_read_is_named_though_it_comes_last():
    firsts = [*(first(f"P{k}", 1.0) for k in range(3)), {"pair": "BAD", "refused": "the file is damaged"}]
    said = refusals(ranked(firsts, {}, {}, {}, ""), 2)
    assert [line.partition(":")[0] for line in said.splitlines()] == ["P0", "P1", "BAD"]
    assert said.endswith("BAD: the file is damaged")
