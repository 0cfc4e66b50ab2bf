"""Parts of the live runner by themselves: configuration and keys, guards, accounts, the executor, events."""

import asyncio
import json
import math
import os
import re
import sqlite3
from contextlib import redirect_stdout
from io import TextIOWrapper
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_stage import quick_config
from strategies import book, rule
from test_live import rule_params

from delta_arb.errors import DataError, ParamsError
from delta_arb.live import accounts, config, event_log, guards, resources
from delta_arb.live.config import OrderTimeouts
from delta_arb.live.control import socket_path
from delta_arb.live.durability import Disk
from delta_arb.live.event_log import HEAD, SCHEMA, EventLog, logged, segments
from delta_arb.live.executor import Executor
from delta_arb.live.guards import FLATTEN, HALT, NO_ENTRY, Facts
from delta_arb.live.journal import Journal, JournalError
from delta_arb.live.messages import Console
from delta_arb.live.venues.base import WOULD_TAKE, Account, Execution, OrderOutcome, Placed, VenueError
from delta_arb.market import PERP, SPOT, Order
from delta_arb.params import Bounds, Rule
from delta_arb.strategy.state import QUOTE, REPORT, Event, State
from delta_arb.venue_terms import VenueTerms, perpetual
from delta_arb.wallets import Wallet

CONFIG = quick_config()
EXAMPLE = """
pair = "LUNC_USDT"
[spot]
venue = "mexc"
[perp]
venue = "gate"
contract_size = 10000.0
[limits]
max_clip_usdt = 50.0
max_position_usdt = 60.0
max_loss_day_usdt = 5.0
"""


# --- Configuration and keys -------------------------------------------------------------------------------------------


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_configuration_is_read_whole_and_unknown_names_are_refused(tmp_path):
    read = config.read(written(tmp_path / "c.toml", EXAMPLE))
    spelled = EXAMPLE.replace("LUNC_USDT", "LUNC/USDT:USDT")
    assert config.read(written(tmp_path / "c.toml", spelled)).pair == read.pair == "LUNC_USDT"
    assert (read.name, read.perp.contract_size, read.limits.max_clip_usdt) == ("LUNC_USDT-mexc-gate", 10_000.0, 50.0)
    read.require_explicit()
    assert read.limits.bounds() == Bounds(max_clip_usdt=50.0, max_position_usdt=60.0)
    assert config.sample().limits.bounds() == Bounds()
    with pytest.raises(ParamsError, match=r"limits\.max_clip: Extra inputs"):
        config.read(written(tmp_path / "c.toml", EXAMPLE + "max_clip = 3"))
    with pytest.raises(ParamsError, match="not TOML"):
        config.read(written(tmp_path / "c.toml", "pair = "))
    with pytest.raises(ParamsError, match=r"explicit limits: write limits\.max_clip_usdt"):
        config.sample().require_explicit()


def test_a_key_in_the_configuration_is_refused_and_not_repeated(tmp_path):
    """The journal keeps the configuration of each run as it is."""
    text = EXAMPLE.replace("[perp]", "[spot.ccxt]\napiKey = 'hidden-k'\n[perp]")
    with pytest.raises(ParamsError, match=r"spot\.ccxt: .*apiKey may not be here: keys come from") as refused:
        config.read(written(tmp_path / "c.toml", text))
    assert "hidden-k" not in str(refused.value)


def test_keys_come_from_the_environment_or_from_a_file_that_only_its_owner_reads(tmp_path):
    named = CONFIG.model_copy(update={"keys_file": "keys.toml"})
    text = '[mexc]\nkey = "hidden-a"\nsecret = "hidden-b"\n[gate]\nkey = "hidden-c"\nsecret = "hidden-d"\n'
    file = written(tmp_path / "keys.toml", text, 0o640)
    with pytest.raises(ParamsError, match="mode 640 lets others read the keys; chmod 600"):
        config.keys(named, tmp_path, {})
    file.chmod(0o600)
    spot, perp = config.keys(named, tmp_path, {"DELTA_ARB_GATE_KEY": "hidden-e", "DELTA_ARB_GATE_SECRET": "hidden-f"})
    assert (spot.ccxt(), perp.ccxt()) == (
        {"apiKey": "hidden-a", "secret": "hidden-b"},
        {"apiKey": "hidden-e", "secret": "hidden-f"},
    )
    assert "hidden" not in f"{spot} {spot!r} {spot.model_dump()}"
    with pytest.raises(ParamsError, match="no keys for mexc: set DELTA_ARB_MEXC_KEY and DELTA_ARB_MEXC_SECRET"):
        config.keys(CONFIG, tmp_path, {"DELTA_ARB_MEXC_KEY": "hidden"})
    written(file, "[mexc]\nkey = hidden-broken\n")
    with pytest.raises(ParamsError) as refused:
        config.keys(named, tmp_path, {})
    assert "hidden" not in str(refused.value)


# --- Guards -----------------------------------------------------------------------------------------------------------

BAD = {
    "position": (Facts(held_usdt=1250.1), FLATTEN, "1250.10 USDT are held"),
    "unequal legs": (Facts(naked_usdt=1000.1), HALT, "differ by 1000.10"),
    "orders": (Facts(orders_minute=60), NO_ENTRY, "60 orders within a minute"),
    "loss of the day": (Facts(net_day_usdt=-20.0), HALT, "20.00 USDT lost today"),
    "failures": (Facts(failures=5), HALT, "5 entries in a row"),
    "liquidation": (Facts(liquidation_distance=0.099), FLATTEN, "liquidation is 9.9 % away"),
    "auto-deleveraging": (Facts(adl_rank=1), FLATTEN, "rank 1 in the queue"),
    "funding": (Facts(funding_rate=-0.00101), NO_ENTRY, "costs a short 10.1 bps"),
    "margin": (Facts(margin_free_usdt=9.99), NO_ENTRY, "9.99 USDT of margin"),
    "clock": (Facts(clock_offset_ms=(3.0, -501.0)), NO_ENTRY, "-501 ms from ours"),
    "parameters": (Facts(refused_parameters="stale: x"), NO_ENTRY, "stale: x"),
    "kill file": (Facts(kill_file="kill"), FLATTEN, "kill exists"),
    "disk": (Facts(disk_free_mb=49.0), NO_ENTRY, "49 MB are free"),
    "outside": (Facts(outside="the perp leg holds"), HALT, "the perp leg holds"),
    "network": (Facts(network="no network"), NO_ENTRY, "no network"),
    "blind": (Facts(blind="no answer"), NO_ENTRY, "no answer"),
    "terms": (Facts(terms="gate's terms: no answer"), NO_ENTRY, "no answer"),
    "foreign order": (Facts(foreign="mexc works on order 7"), NO_ENTRY, "order 7"),
}


@pytest.mark.parametrize("name", BAD)
def test_each_guard_acts_on_its_own_fact_with_its_own_words(name):
    facts, level, words = BAD[name]
    (held,) = guards.check(facts, CONFIG)
    assert (held.guard, held.level) == (name, level) and words in held.reason


def test_every_guard_is_tested_and_none_acts_on_good_or_unknown_facts():
    assert set(BAD) == {guard.guard for guard in guards.GUARDS}
    assert guards.check(Facts(), CONFIG) == ()
    assert guards.check(Facts(funding_rate=math.nan, liquidation_distance=math.nan), CONFIG) == ()
    assert guards.check(Facts(net_day_usdt=-20.0, open=True), CONFIG)[0].level == FLATTEN
    assert guards.check(Facts(closed="gate is delisting"), CONFIG)[0].level == FLATTEN


# --- Accounts ---------------------------------------------------------------------------------------------------------

STEPS = (VenueTerms(venue="mexc", taker_fee_bps=5.0, qty_step=1.0), perpetual("gate", 5.0, 10.0))
NOTHING = accounts.Baseline(1000.0, 1000.0, 0.0, 0.0)


def account(usdt=1000.0, coin=0.0, position=0.0, free=None) -> Account:
    return Account(usdt if free is None else free, usdt, coin, position, 0.0, 0, 0)


def test_a_difference_is_what_no_fill_explains_and_only_its_reducing_part_is_ours():
    of = lambda coin, position: accounts.discrepancies(  # noqa: E731
        account(coin=coin), account(position=position), NOTHING, (60.0, -60.0), (60.0, -60.0), STEPS
    )
    assert of(60.0, -60.0) == of(60.4, -60.0) == ()
    assert of(60.0, -20.0) == (accounts.Discrepancy(PERP, 40.0, 40.0),)
    assert of(60.0, 10.0) == (accounts.Discrepancy(PERP, 70.0, 60.0),)  # beyond flat is not ours
    assert of(30.0, -70.0) == (accounts.Discrepancy(SPOT, -30.0, -30.0), accounts.Discrepancy(PERP, -10.0, 0.0))


def test_the_transfer_restores_the_shares_of_the_start():
    floors, names = (10.0, 10.0), ("mexc", "gate")
    of = lambda spot, perp: accounts.transfer(spot, perp, 0.8, NOTHING, names, floors)  # noqa: E731
    assert of(account(1050.0), account(950.0)) is None
    assert of(account(1300.0), account(700.0)) == (300.0, "mexc", "gate", "gains pile up on one side")
    # 400 USDT and 1000 coins at 0.8 are 1200 against 800: 200 should move, and only free money can.
    assert of(account(400.0, coin=1000.0, free=150.0), account(800.0)).usdt == 150.0
    assert of(account(1006.0), account(994.0, free=5.0)).why == "gate is below its floor"


@given(spot=st.floats(0, 5000), perp=st.floats(0, 5000))
def test_after_the_transfer_none_is_left_to_make(spot, perp):
    move = accounts.transfer(account(spot), account(perp), 0.8, NOTHING, ("a", "b"), (0.0, 0.0))
    if move:
        sign = -1 if move.source == "a" else 1
        assert (
            accounts.transfer(
                account(spot + sign * move.usdt), account(perp - sign * move.usdt), 0.8, NOTHING, ("a", "b"), (0.0, 0.0)
            )
            is None
        )


# --- The executor -----------------------------------------------------------------------------------------------------


class Scripted:
    """A venue that answers each look-up by the next line of a script, and knows nothing else."""

    name, allowance, clock_offset_ns, paused_s = "scripted", 10, 0, 0.0

    def __init__(self, *answers, fills=()) -> None:
        self.answers, self.sent, self.cancelled, self.asked = list(answers), [], [], 0
        self.fills = list(fills)

    def prepare(self, order_id, order):
        return lambda: self.sent.append(order_id)

    async def outcome(self, order_id):
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def cancel(self, order_id):
        self.cancelled.append(order_id)

    async def cancel_after(self, seconds):
        return False

    async def deals(self, start_ns, end_ns):
        found = self.fills.pop(0) if self.fills else []
        if isinstance(found, Exception):
            raise found
        return tuple(found)


def ended(filled: float, price: float = 1.0, fee: float = 0.0) -> OrderOutcome:
    return OrderOutcome("run-s1", 5, filled, price, fee, True)


WORKS = OrderOutcome("run-s1", 5, 0.0, 0.0, 0.0, False)
FAST = OrderTimeouts(overdue_s=0.01, ioc_s=0.03, unknown_s=0.15, answer_s=0.1, retry_s=0.01)


def executed(*answers, told_later=(), fills=(), kind=Scripted) -> tuple[list, Scripted, list[str]]:
    """The reports of one order of +10, its venue and what was said."""
    reports, said, venue = [], [], kind(*answers, fills=fills)

    async def play():
        executor = Executor((venue, venue), reports.append, lambda: 7, said.append, FAST)
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            executor.start(tasks)
            executor.place([Placed("run-s1", SPOT, Order(10.0, 1.1, False, False))], 0)
            while not reports:  # noqa: ASYNC110 - a test looks from outside
                await asyncio.sleep(0.005)
            for outcome in told_later:
                executor.outcome(SPOT, outcome)
            assert executor.pending == ()
            executor.close()

    asyncio.run(play())
    return reports, venue, said


def test_an_order_nobody_speaks_of_is_asked_for_until_it_is_final_and_sent_once():
    reports, venue, _ = executed(None, VenueError("down"), WORKS, ended(4.0, 1.05, 0.002))
    assert [(r.filled, r.price, r.fee_usdt, r.order_id, r.venue_ns) for r in reports] == [
        (4.0, 1.05, 0.002, "run-s1", 5)
    ]
    assert venue.sent == ["run-s1"] and venue.asked == 4


def test_an_order_that_its_venue_never_heard_of_is_over_only_after_the_receive_window():
    reports, venue, said = executed(None)
    assert [(r.filled, r.refused) for r in reports] == [(0.0, "unknown to the venue")]
    assert venue.asked >= 2 and any("never reached" in text for text in said)


def test_fills_may_take_longer_to_be_told_than_any_answer_about_an_order():
    """A day's busy hour is many pages; cut off and begun again they would never be read to their end."""

    class Slow(Scripted):
        async def deals(self, start_ns, end_ns):
            await asyncio.sleep(3 * FAST.answer_s)
            return await super().deals(start_ns, end_ns)

    reports, venue, _ = executed(None, kind=Slow, fills=[[Execution("1", "run-s1", 6, 4.0, 1.0, 0.001)]])
    assert [r.filled for r in reports] == [4.0] and not venue.fills


def test_an_order_that_its_venue_has_forgotten_is_what_the_accounts_fills_say_lesson_33():
    """Two fills of ours, one of a stranger; and before that a look at the fills that was not answered."""
    deals = [
        Execution("1", "run-s1", 6, 4.0, 1.0, 0.001),
        Execution("2", "", 7, 9.0, 1.0, 0.0),
        Execution("3", "run-s1", 8, 2.0, 1.3, 0.002),
    ]
    reports, _, said = executed(None, fills=[VenueError("down"), deals])
    assert [(r.filled, r.refused, r.venue_ns) for r in reports] == [(6.0, "", 8)]
    assert (reports[0].price, reports[0].fee_usdt) == pytest.approx((1.1, 0.003))  # (4 * 1 + 2 * 1.3) / 6
    assert any("has forgotten" in text for text in said) and not any("never reached" in text for text in said)


def test_by_the_defaults_two_orders_that_were_cut_off_leave_another_try_before_the_deadline():
    assert 2 * OrderTimeouts().unknown_s < Rule.model_fields["leg_deadline_s"].default
    hasty = config.sample().model_copy(update={"orders": OrderTimeouts(unknown_s=0.7)})
    with pytest.raises(ParamsError, match=r"unknown_s=0\.7 is too short: .*window_s=0\.5 s and the half of it"):
        resources.both_venues(hasty, None)


def test_a_deadline_that_two_lost_orders_do_not_fit_into_is_refused_at_the_door():
    of = config.sample()
    with pytest.raises(ParamsError, match=r"leg_deadline_s=1\.7 is below 1\.8, twice the configured orders\.unknown_s"):
        of.bounds().check(rule_params(15.0, -5.0, leg_deadline_s=1.7))
    of.bounds().check(rule_params(15.0, -5.0, leg_deadline_s=1.8))
    patient = of.model_copy(update={"orders": OrderTimeouts(unknown_s=8.0)})
    with pytest.raises(ParamsError, match="leg_deadline_s=15 is below 16"):
        patient.bounds().check(rule_params(15.0, -5.0))


def test_an_ioc_that_still_works_is_cancelled_by_its_id_and_asked_about_again():
    reports, venue, _ = executed(WORKS, WORKS, WORKS, ended(2.0))
    assert reports[0].filled == 2.0 and set(venue.cancelled) == {"run-s1"}


def test_a_log_has_every_line_with_its_day_and_turns_over(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("delta_arb.live.messages.LOG_BYTES", 200)
    say = Console("paper", False, file=tmp_path / "logs" / "run.log")
    for number in range(20):
        say(f"line {number}\nof two")
    assert capsys.readouterr().out.count("line") == 20
    files = sorted((tmp_path / "logs").iterdir())
    assert len(files) == 6  # five older ones
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} of two", files[0].read_text().splitlines()[-1])
    assert all(file.stat().st_size <= 200 for file in files)
    with pytest.raises(ParamsError, match=r"--log .*: cannot be written"):
        Console("paper", False, file=tmp_path)
    say._file.stream.close()
    say("the disk is gone, and the trading goes on")


def refused_in_a_row(paused_s: float, *codes: str, post_only: bool = False) -> list[tuple[bool, float]]:
    """Whether each of the refusals gave its leg up, and after how long the machine was told of it."""
    reports, venue = [], Scripted(None)
    venue.paused_s = paused_s

    async def play():
        loop = asyncio.get_running_loop()
        executor = Executor((venue, venue), lambda r: reports.append((r.give_up, loop.time())), lambda: 7, str, FAST)
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            executor.start(tasks)
            for number, code in enumerate(codes):
                executor.place([Placed(f"run-s{number}", SPOT, Order(10.0, 1.1, False, False, post_only))], 0)
                sent_s = loop.time()
                executor.outcome(SPOT, OrderOutcome.nothing(f"run-s{number}", refused=code))
                while len(reports) <= number:  # noqa: ASYNC110 - a test looks from outside
                    await asyncio.sleep(0.001)
                reports[-1] = (reports[-1][0], reports[-1][1] - sent_s)
            executor.close()

    asyncio.run(play())
    return reports


def test_a_third_refusal_in_a_row_gives_the_leg_up_and_the_count_begins_anew():
    told = refused_in_a_row(0.0, "30010", "30010", "30010", "30010")
    assert [give_up for give_up, _ in told] == [False, False, True, False]
    assert told[0][1] < FAST.retry_s <= told[1][1]  # the second is told after a pause


def test_a_quote_that_is_refused_on_a_stale_book_is_made_again_less_and_less_often_and_its_leg_never_given_up():
    told = refused_in_a_row(0.0, *[WOULD_TAKE] * 5, post_only=True)
    assert not any(give_up for give_up, _ in told)
    least = (0.0, *(FAST.retry_s * 2.0**n for n in range(4)))  # at once, then twice as long each time
    assert all(after_s >= wait_s for (_, after_s), wait_s in zip(told, least))


def test_a_session_that_fails_cancels_what_rests_and_says_what_may_be_left():
    class Deaf(Scripted):
        async def cancel(self, order_id):
            await super().cancel(order_id)
            raise VenueError("down")

    said, venue = [], Deaf(None)

    async def play():
        executor = Executor((venue, venue), lambda report: None, lambda: 7, said.append, FAST)
        async with asyncio.TaskGroup() as tasks:
            executor.start(tasks)
            executor.place([Placed("run-s1", SPOT, Order(10.0, 1.1, False, False, True))], 0)
            executor.outcome(SPOT, WORKS._replace(working=10.0))
            assert (executor.resting, executor.pending) == (("run-s1",), ())
            await executor.leave_nothing()
            executor.close()

    asyncio.run(play())
    assert venue.cancelled == ["run-s1"]
    assert any("may still rest (down)" in line for line in said)


def test_a_short_pause_that_a_venue_wants_is_waited_for_and_a_long_one_gives_the_leg_up():
    assert [give_up for give_up, _ in refused_in_a_row(0.05, "429")] == [False]
    assert refused_in_a_row(0.05, "429")[0][1] >= 0.05
    assert [give_up for give_up, _ in refused_in_a_row(FAST.pause_s + 0.1, "429")] == [True]


def test_more_filled_after_the_end_is_a_report_of_the_rest_and_less_is_none():
    later = [ended(10.0, 1.02, 0.01), ended(4.0), ended(10.0, 1.02, 0.01)]
    reports, _, said = executed(ended(4.0, 1.05, 0.004), told_later=later)
    assert [r.filled for r in reports] == [4.0, 6.0]
    assert reports[1].price == pytest.approx(1.0) and reports[1].fee_usdt == pytest.approx(
        0.006
    )  # 10 * 1.02 - 4 * 1.05 over 6
    assert "filled 6 more" in said[-1]


def test_both_legs_stay_at_home_when_one_allowance_is_used_up():
    reports, spot, perp = [], Scripted(None), Scripted(None)
    perp.allowance = 0

    async def play():
        executor = Executor((spot, perp), reports.append, lambda: 7, lambda text: None, FAST)
        async with asyncio.TaskGroup() as tasks:
            executor.start(tasks)
            order = Order(10.0, 1.1, False, False)
            executor.place([Placed("run-s1", SPOT, order), Placed("run-p2", PERP, order)], 0)
            await asyncio.sleep(0.05)

    asyncio.run(play())
    assert spot.sent == perp.sent == []
    assert [(r.leg, r.filled) for r in reports] == [(SPOT, 0.0), (PERP, 0.0)] and "allowance" in reports[0].refused


# --- Events -----------------------------------------------------------------------------------------------------------


def test_events_come_back_as_they_were_told_and_a_torn_block_is_left_out(tmp_path):
    path, spot, perp = tmp_path / "events.bin", book(100, 101), book(102, 103)
    event_log = [
        Event(QUOTE, 1, spot, perp, 0, 0.0, 0.0, 0.0, 1e-4, Wallet(5.0, 0.0, 6.0)),
        Event(QUOTE, 2, spot, perp._replace(bid=0.1 + 0.2), 0, 0.0, 0.0, 0.0),
        Event(REPORT, 3, spot, perp, 1, -2.5, 102.5, 0.5, math.inf),
    ]
    with EventLog(path, "run", State()) as recorder:
        for event in event_log:
            recorder.event(event, rule(entry=math.inf), State())
    found = list(logged(path))
    assert [t.event for t in found] == event_log
    assert found[0].state == State() and found[1].state is None and found[2].rule == rule(entry=math.inf)
    whole = path.read_bytes()
    with EventLog(path, "run", State()) as recorder:
        recorder.event(event_log[0], rule(), State())
    os.truncate(path, path.stat().st_size - 3)
    assert [t.event for t in logged(path)] == event_log and path.read_bytes()[: len(whole)] == whole


def test_what_a_quiet_pair_showed_is_on_disk_after_ten_seconds_though_no_order_came(tmp_path, monkeypatch):
    """A block takes many minutes to fill there, and a run that was killed would seem to have ended long before."""
    path, clock = tmp_path / "events.bin", iter([0.0, 4.0, 10.0, 10.0])
    monkeypatch.setattr(event_log.time, "monotonic", lambda: next(clock))
    quiet = [Event(QUOTE, ts, book(100, 101), book(102, 103), 0, 0.0, 0.0, 0.0) for ts in (1, 2)]
    recorder = EventLog(path, "run", State())
    recorder.event(quiet[0], rule(), State())
    assert path.stat().st_size == 0
    recorder.event(quiet[1], rule(), State())
    assert [t.event for t in logged(path)] == quiet


def test_a_long_run_has_several_files_that_are_read_as_one_and_each_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(event_log, "SEGMENT", 1)  # a file for each block
    path, calm = tmp_path / "run.bin", Wallet(5.0, 0.0, 6.0)
    told_to = [Event(QUOTE, ts, book(100, 101), book(102, 103 + ts), 0, 0.0, 0.0, 0.0, 0.0, calm) for ts in range(1, 5)]
    states = [State(pair=n) for n in range(4)]
    with EventLog(path, "run", states[0]) as recorder:
        for event, state in zip(told_to, states, strict=True):
            recorder.event(event, rule(), state)
            recorder.flush()
    files = segments(path)
    assert [file.name for file in files] == ["run.bin", "run.0002.bin", "run.0003.bin", "run.0004.bin"]
    assert [(t.event, t.rule, t.state) for t in logged(path)] == [
        (event, rule(), state) for event, state in zip(told_to, states, strict=True)
    ]
    files[0].unlink()
    assert [t.event for t in logged(path)] == told_to[1:]
    files[2].unlink()
    with pytest.raises(DataError, match=r"run\.0003\.bin is missing"):
        list(logged(path))


def test_events_of_another_shape_are_refused(tmp_path):
    with EventLog(tmp_path / "e.bin", "run", State()) as recorder:
        recorder._text(HEAD, {"schema": SCHEMA, "run_id": "run", "state": State().values()[:-1]})
        recorder.event(Event(QUOTE, 1, book(1, 2), book(1, 2), 0, 0.0, 0.0, 0.0), rule(), State())
    with pytest.raises(DataError, match="no State of this version"):
        list(logged(tmp_path / "e.bin"))


def test_neither_lines_nor_events_that_a_full_disk_refuses_end_anything(tmp_path):
    said = []
    with open("/dev/full", "wb", buffering=0) as full, redirect_stdout(TextIOWrapper(full, write_through=True)):
        Console("test", quiet_stdout=False)("not to be read by anybody")
    (tmp_path / "full.bin").symlink_to("/dev/full")
    with EventLog(tmp_path / "full.bin", "run", State(), said.append) as recorder:
        recorder.flush()
    with EventLog(Path("/proc/none/e.bin"), "run", State(), said.append) as recorder:
        recorder.event(Event(QUOTE, 1, book(1, 2), book(1, 2), 0, 0.0, 0.0, 0.0), rule(), State())
    assert len(said) == 2 and all("events are not recorded any more" in text for text in said)


def test_the_socket_is_beside_the_journal_or_private_where_that_is_too_long(tmp_path):
    assert socket_path(Path("/x/live.sqlite")) == Path("/x/live.sock")
    long = socket_path(tmp_path / ("a" * 100) / "live.sqlite")
    assert len(os.fsencode(long)) < 100 and long.parent.stat().st_mode & 0o077 == 0
    assert long == socket_path(tmp_path / ("a" * 100) / "live.sqlite")


def test_a_log_that_cannot_be_synced_is_told_and_not_passed_over(tmp_path):
    disk = Disk(tmp_path / "there-is-none.sqlite")
    disk.soon()
    disk.close()
    assert isinstance(disk.failed, FileNotFoundError)


def test_what_is_null_is_money_without_limit_in_a_wallet_and_refused_anywhere_else():
    """A direction that is off has an exit of minus infinity; read as plus infinity it would leave at once."""
    assert event_log.named(Wallet, [None, 3.0, None]) == Wallet(math.inf, 3.0, math.inf)
    off = rule(exit=-math.inf)
    assert event_log.named(type(off), json.loads(json.dumps(off))) == off
    values = json.loads(json.dumps(off))
    values[off._fields.index("exit")] = None
    with pytest.raises(DataError, match="no MachineRule of this version"):
        event_log.named(type(off), values)


def test_a_program_that_writes_to_the_journal_holds_nobody_up_and_is_named(tmp_path):
    with Journal(tmp_path / "j.sqlite", "run") as journal:
        other = sqlite3.connect(tmp_path / "j.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert journal._db.execute("PRAGMA busy_timeout").fetchone()[0] <= 50
        with pytest.raises(JournalError, match=r"locked.*close the program that writes to it"):
            journal.note("halt", "a test")
        other.execute("ROLLBACK")
        journal.note("halt", "a test")
        assert journal.last_note("halt") == ("halt", "a test")
        other.close()


def test_an_order_s_id_is_journaled_once(tmp_path):
    """Whoever comes with it again has lost count, and gets no row at all, so that no order leaves."""
    at, asked = book(0.8, 0.8002), Placed("run-s1", SPOT, Order(60.0, 0.8042, False, False))
    with Journal(tmp_path / "j.sqlite", "run") as journal:
        told = Event(QUOTE, 1, at, at, 0, 0.0, 0.0, 0.0)
        journal.event(told, State(), [asked])
        with pytest.raises(JournalError, match="run-s1 is the id of an order before"):
            journal.event(told._replace(ts_ns=2), State(), [Placed("run-p2", PERP, asked.order), asked])
        assert [placed.order_id for placed, _ in journal.working()] == ["run-s1"] and journal.until_ns() is None
        assert journal._db.execute("SELECT ts_ns FROM decisions").fetchall() == [(1,)]


def test_the_disk_is_woken_when_whoever_writes_says_so(tmp_path):
    waiting = []
    with Journal(tmp_path / "j.sqlite", "run", waiting.append) as journal:
        journal.note("start", "a test")
        disk = journal._disk
        assert len(waiting) == 1 and not disk._due.is_set()
        waiting[0]()
    assert disk.failed is None and not disk._thread.is_alive()
