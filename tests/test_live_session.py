"""The live runner with real orders on the local venues: pairs, faults on either leg, restarts, outside hands."""

import asyncio
import sqlite3
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from live_stage import CALM, ENTER, LEAVE, publish, stage

from delta_arb.errors import RunError
from delta_arb.live import control
from delta_arb.live.venues.base import VenueError
from delta_arb.market import PERP, SPOT, Order
from delta_arb.sandbox.faults import Fault
from delta_arb.strategy.state import FLAT, HALTED, OPEN

# 60 bought at 0.8002 and sold at 0.8, sold at 0.8018 and bought back at 0.799; 5 bps on each of the four.
NET = 60 * (0.8000 - 0.8002 + 0.8018 - 0.7990) - 60 * 0.0005 * (0.8000 + 0.8002 + 0.8018 + 0.7990)


def test_a_pair_opens_and_closes_and_everybody_agrees_to_the_cent(tmp_path):
    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            await it.opened()
            assert it.position() == (60.0, -60.0)
            it.agree()
            await it.until(lambda: it.session.reconciler.seen.spot.ts_ns > it.session.executor.last_end_ns)
            held = control.status(it.session)
            await it.closed()
            await it.until(lambda: it.session.reconciler.seen.spot.ts_ns > it.session.executor.last_end_ns)
            said = control.status(it.session)
            assert await it.stop() == "stopped"
            it.agree()
            it.agree_on_money()
            it.assert_replays()
            assert said["net_usdt"] == pytest.approx(NET, abs=1e-9)
            assert said["unexplained_usdt"] == pytest.approx([0.0, 0.0], abs=1e-6)
            # of the open short the futures wallet had booked its fee alone
            assert held["perp_gain_usdt"] == pytest.approx(-60 * 0.8018 * 0.0005, abs=1e-9)
            assert held["unexplained_usdt"] == pytest.approx([0.0, 0.0], abs=1e-6)
            assert len(it.placed(SPOT)) == len(it.placed(PERP)) == 2

    asyncio.run(play())


FAULTS = {
    "refused": {"do": "refuse", "code": {"mexc": "30010", "gate": "PRICE_TOO_DEVIATED"}},
    "partial": {"do": "partial_fill", "fraction": 0.5},
    "late": {"do": "late_fill", "seconds": 0.5},
    "cut before": {"do": "cut"},
    "cut after": {"do": "cut_after"},
    "5xx after": {"do": "error_after", "status": 503},
    "500 after": {"do": "error_after", "status": 500},
    "hang": {"do": "hang"},
    "hang before": {"do": "hang", "before": True},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_leg_that_fails_ends_hedged_or_flat_without_a_second_order_lesson_34(tmp_path, fault):
    async def play(venue: str, moment: str):
        how = dict(FAULTS[fault])
        if "code" in how:
            how["code"] = how["code"][venue]
        async with stage(tmp_path / venue / moment) as it:
            await it.start()
            if moment == "exit":
                await it.opened()
            it.fault(venue, "order.create", **how)
            it.show(ENTER if moment == "entry" else LEAVE)
            engine = it.venues.spot if venue == "mexc" else it.venues.perp
            await it.until(lambda: engine.faults.fired(how["do"]))
            it.show(CALM if moment == "entry" else LEAVE)
            await it.settled()
            it.assert_hedged()
            it.agree()
            it.show(LEAVE)
            await it.until(lambda: it.phase == FLAT and it.at_rest)
            assert await it.stop() == "stopped"
            it.agree()
            it.agree_on_money()
            it.assert_replays()
            assert it.position() == (0.0, 0.0)

    async def everywhere():
        async with asyncio.TaskGroup() as tasks:
            for venue in ("mexc", "gate"):
                for moment in ("entry", "exit"):
                    tasks.create_task(play(venue, moment), name=f"{venue} {moment}")

    asyncio.run(everywhere())


# --- Crashes and restarts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked_at", ["order.create", "after the fill"])
def test_a_runner_that_dies_with_orders_in_the_air_finds_them_and_sends_none_twice(tmp_path, asked_at):
    async def play(venue: str):
        async with stage(tmp_path / venue) as it:
            await it.start()
            if asked_at == "after the fill":
                it.fault("gate", "order.create", "late_fill", seconds=0.5)
            else:  # neither answer is heard; one leg may have arrived
                it.fault("mexc", "order.create", "hang")
                it.fault("gate", "order.create", "hang", before=venue == "gate")
            it.show(ENTER)
            if asked_at == "order.create":
                await it.until(lambda: it.rows("SELECT COUNT(*) FROM orders")[0][0] == 2)
            else:
                await it.until(lambda: it.rows("SELECT COUNT(*) FROM fills")[0][0] == 1)
            await it.crash()
            it.show(CALM)
            await it.start()
            await it.settled()
            it.assert_hedged()
            it.agree()
            it.show(LEAVE)
            await it.until(lambda: it.phase == FLAT and it.at_rest)
            assert await it.stop() == "stopped"
            it.agree()
            it.agree_on_money()
            it.assert_replays()

    async def both():
        async with asyncio.TaskGroup() as tasks:
            for venue in ("mexc", "gate"):
                tasks.create_task(play(venue))

    asyncio.run(both())


def test_a_late_restart_finds_fills_of_orders_that_the_venue_has_forgotten_lesson_33(tmp_path):
    """Gate knows our id for a minute after the end of an order; a filled one must not count as never arrived."""

    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            for venue in ("mexc", "gate"):
                it.fault(venue, "order.create", "hang")
                for stream in ("stream.orders", "stream.fills"):
                    it.fault(venue, stream, "silence")
            it.show(ENTER)
            await it.until(lambda: all(it.placed(leg) for leg in (SPOT, PERP)))
            await it.crash()
            it.show(CALM)
            it.venues.gate.account.texts_known_s = 0.0
            await it.start()
            await it.settled()
            assert any("has forgotten order" in s for s in it.said)
            assert (it.phase, it.position()) == (OPEN, (60.0, -60.0))
            it.agree()
            assert await it.stop() == "open"

    asyncio.run(play())


@pytest.mark.parametrize("until", ["open", "closed", "one leg"])
def test_what_a_power_cut_takes_from_the_journal_is_found_at_the_venues(tmp_path, until):
    """Every beginning of the log that a power cut may leave: what came after it, orders included, is taken up."""

    async def play(rows: int) -> int:
        async with stage(tmp_path / str(rows)) as it:
            await it.start()
            beginnings = [Beginning(it.journal_path)]
            write = it.session.resources.journal.event

            def event(*what):
                write(*what)
                beginnings.append(Beginning(it.journal_path))

            it.session.resources.journal.event = event
            if until == "one leg":
                it.fault("gate", "order.create", "hang", before=True, times=0)
                it.show(ENTER)
                await it.until(lambda: len(beginnings) == 3)
            else:
                it.fault("gate", "order.create", "partial_fill", fraction=0.5)
                await it.opened()
            if until == "closed":
                await it.closed()
            await it.crash()
            it.show(CALM)
            it.venues.perp.faults.clear()
            it.venues.gate.account.texts_known_s = 0.0  # it takes a while until the machine is up again
            beginnings[rows].put_back()
            await it.start()
            await it.settled()
            held = {"open": (60.0, -60.0), "closed": (0.0, 0.0), "one leg": (0.0, 0.0)}[until]
            assert it.position() == held, (rows, it.said)
            assert not it.session.risk.halted
            it.agree()
            if until == "open":
                await it.closed()
            assert await it.stop() == "stopped"
            it.agree()
            it.agree_on_money()
            assert it.rows("SELECT COUNT(*) FROM trades") == [(1,)]
            return len(beginnings)

    async def everywhere():
        whole = {"open": 5, "closed": 8, "one leg": 3}[until]
        async with asyncio.TaskGroup() as tasks:
            plays = [tasks.create_task(play(rows)) for rows in range(whole)]
        assert {p.result() for p in plays} == {whole}

    asyncio.run(everywhere())


def test_a_pair_whose_rows_are_lost_is_managed_without_parameters_by_the_rule_before_it(tmp_path):
    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            await it.opened()
            await it.closed()
            beginning = Beginning(it.journal_path)
            await it.opened()
            await it.crash()
            beginning.put_back()
            (tmp_path / it.config.name / "params" / "latest.json").write_text("{")
            await it.start()
            assert any("resumed pair 2" in s for s in it.said)
            await it.closed()
            it.show(ENTER)
            await asyncio.sleep(0.3)
            assert it.session.runner.state.pair == 2  # and nothing is entered
            assert await it.stop() == "stopped"
            it.agree()
            it.agree_on_money()

    asyncio.run(play())


class Beginning:
    """A journal and its log as they are now, which is how a power cut may leave them."""

    def __init__(self, journal: Path) -> None:
        files = [journal, journal.with_name(journal.name + "-wal")]
        self._journal, self._files = journal, {file: file.read_bytes() for file in files}

    def put_back(self) -> None:
        self._journal.with_name(self._journal.name + "-shm").unlink(missing_ok=True)
        for file, content in self._files.items():
            file.write_bytes(content)


def test_an_open_pair_is_resumed_under_its_own_rule_or_flattened_as_configured_lesson_31(tmp_path):
    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            await it.opened()
            assert await it.stop() == "open"
            assert any("left open" in s for s in it.said)
            publish(tmp_path, exit_bps=-90.0)
            await it.start()
            assert any("resumed pair 1 of an earlier run" in s for s in it.said)
            assert it.session.runner.rule.exit == pytest.approx(
                -12e-4
            ) and it.session.runner.newest.exit == pytest.approx(-90e-4)
            assert await it.stop() == "open"
            it.config = it.config.model_copy(update={"on_restart": "flatten"})
            await it.start()
            assert any("flattening pair 1 of an earlier run" in s for s in it.said)
            await it.until(lambda: it.phase == FLAT and it.at_rest)
            await it.stop()
            it.agree()
            it.agree_on_money()
            assert it.rows("SELECT reason FROM trades") == [("guard",)]

    asyncio.run(play())


def test_a_pair_opened_after_the_clock_was_set_back_is_settled_whole_over_a_restart(tmp_path):
    """Its fills are older, by the clock, than the trade before: they must not be taken for settled."""

    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            await it.opened()
            await it.closed()
            await it.stop()
            with sqlite3.connect(it.journal_path) as db:  # as if the clock had been an hour fast until now
                db.execute("UPDATE trades SET closed_ns = closed_ns + 3600000000000")
                db.execute("UPDATE fills SET ts_ns = ts_ns + 3600000000000")
            db.close()
            await it.start()
            await it.opened()
            assert await it.stop() == "open"
            await it.start()
            await it.closed()
            assert await it.stop() == "stopped"
            it.agree_on_money()

    asyncio.run(play())


def test_what_the_journal_does_not_know_refuses_the_start_lesson_35(tmp_path):
    async def play():
        async with stage(tmp_path) as it:
            it.venues.perp.place("SYN_USDT", -1, qty=Decimal(50), price=Decimal("0.80"), tif="ioc", client_id="mine")
            with pytest.raises(RunError, match="position of -50 that this journal knows nothing of"):
                await it.start()
            it.venues.perp.place("SYN_USDT", 1, qty=Decimal(50), price=Decimal("0.81"), tif="ioc", reduce_only=True)
            it.venues.spot.place("SYN_USDT", 1, qty=Decimal(50), price=Decimal("0.7"), client_id="resting")
            with pytest.raises(RunError, match="mexc works on order resting"):
                await it.start()

    asyncio.run(play())


# --- Outside hands ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["liquidated", "deleveraged", "sold by hand"])
def test_a_leg_reduced_from_outside_is_matched_never_bought_back_and_halts(tmp_path, what):
    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            await it.opened()
            if what == "liquidated":
                it.venues.perp.liquidate("SYN_USDT")
            elif what == "deleveraged":
                it.venues.perp.deleverage("SYN_USDT", Decimal("0.5"))
            else:
                it.venues.spot.place(
                    "SYN_USDT", -1, qty=Decimal(30), price=Decimal("0.79"), tif="ioc", client_id="mine"
                )
            await it.until(lambda: it.session.risk.halted)
            await it.settled()
            left = 0.0 if what == "liquidated" else 30.0
            assert it.position() == pytest.approx((left, -left))
            assert all(order.qty < 0 or order.reduce_only for order in map(_order, it.rows(ORDERS)[2:]))
            it.show(ENTER)
            await asyncio.sleep(0.2)
            assert it.session.runner.state.pair == 1  # no entry until a person resumes
            if left:
                await it.closed()
            it.show(CALM)
            assert await it.session.resume() == ""
            it.show(ENTER)
            await it.until(lambda: it.session.runner.state.pair == 2 and it.phase == OPEN)
            await it.closed()
            await it.stop()
            it.assert_replays()

    asyncio.run(play())


ORDERS = "SELECT qty, price_limit, reduce_only FROM orders ORDER BY rowid"


def _order(row: tuple) -> Order:
    return Order(row[0], row[1], bool(row[2]), False)


# --- Guards -----------------------------------------------------------------------------------------------------------


def test_guards_stop_entries_with_their_own_words_and_let_them_pass_again(tmp_path):
    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            await it.held_back(
                "kill file", lambda: setattr(it, "kill_file", "kill"), lambda: setattr(it, "kill_file", "")
            )
            latest = tmp_path / it.config.name / "params" / "latest.json"
            whole = latest.read_bytes()
            await it.held_back("damaged, not JSON", lambda: latest.write_text("{"), lambda: latest.write_bytes(whole))
            faults = it.venues.perp.faults
            drift = Fault("clock", "drift", venue="gate", seconds=0.9, from_s=faults.now_s, until_s=faults.now_s + 3.0)
            await it.held_back("ms from ours", lambda: faults.add(drift), lambda: None)
            await it.opened()
            await it.closed()
            await it.stop()
            it.agree_on_money()

    asyncio.run(play())


def test_a_kill_file_leaves_the_open_pair(tmp_path):
    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            await it.opened()
            it.kill_file = "kill"
            await it.until(lambda: it.phase == FLAT and it.at_rest)
            assert any("leaving (kill file): kill exists" in s for s in it.said)
            assert await it.stop() == "stopped"
            it.agree_on_money()

    asyncio.run(play())


@contextmanager
def locked(it):
    """As good as a full disk: nothing can be written to the journal."""
    with closing(sqlite3.connect(it.journal_path, isolation_level=None)) as db:
        db.execute("PRAGMA busy_timeout = 0")
        it.session.resources.journal._db.execute("PRAGMA busy_timeout = 0")
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")


@pytest.mark.parametrize("what", ["liquidated", "filled late"])
def test_what_the_journal_could_not_take_is_booked_once_however_often_it_is_seen(tmp_path, what):
    """Both accounts are looked at many times while the report waits: the difference must not be booked as well."""

    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            if what == "filled late":
                it.fault("gate", "order.create", "partial_fill", fraction=0.5)
            await it.opened()
            with locked(it):
                if what == "liquidated":
                    it.venues.perp.liquidate("SYN_USDT")
                else:  # the venue filled 10 more of an order that was over
                    leg, order = PERP, it.placed(PERP)[0]
                    it.venues.perp.place("SYN_USDT", -1, qty=Decimal(10), price=Decimal("0.79"), tif="ioc")
                    known = it.session.executor._sent[order.client_id.removeprefix("t-")].reported
                    it.session.executor.outcome(leg, known._replace(filled=known.filled - 10.0))
                await it.until(lambda: any("no order leaves without its row" in s for s in it.said))
                await asyncio.sleep(1.2)
            await it.until(lambda: it.session.risk.halted or what == "filled late")
            await asyncio.sleep(1.2)  # looks that would find a second booking out
            await it.settled()
            booked = dict(it.rows("SELECT leg, SUM(qty) FROM fills GROUP BY leg"))
            assert (booked["spot"], booked["perp"]) == pytest.approx(it.position(), abs=1e-9)
            it.assert_hedged()
            assert it.rows("SELECT COUNT(*) FROM outcomes WHERE order_id = 'outside'") == [(what == "liquidated",)]

    asyncio.run(play())


def test_no_order_leaves_while_the_journal_cannot_be_written(tmp_path):
    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            await it.opened()
            with locked(it):
                it.show(LEAVE)
                await it.until(lambda: any("no order leaves without its row" in s for s in it.said))
                publish(tmp_path, exit_bps=-90.0)  # cannot be noted now, which must not end the session
                await it.until(lambda: it.session.parameters.params.rule.exit_bps == -90.0)
                await asyncio.sleep(0.3)
                assert len(it.placed(SPOT)) == len(it.placed(PERP)) == 1 and not it.task.done()
            await it.until(lambda: it.phase == FLAT and it.at_rest)
            await it.until(lambda: it.rows("SELECT COUNT(DISTINCT sha256) FROM params")[0][0] == 2)
            assert await it.stop() == "stopped"
            it.agree()
            it.agree_on_money()
            it.assert_replays()

    asyncio.run(play())


# --- Paper ------------------------------------------------------------------------------------------------------------


def test_paper_trades_on_the_venues_quotes_and_sends_them_nothing(tmp_path):
    async def play():
        async with stage(tmp_path) as it:
            it.paper = True
            await it.start()
            await it.opened()
            await it.crash()
            await it.start()
            assert any("resumed pair 1" in s for s in it.said)
            await it.closed()
            assert await it.stop() == "stopped"
            it.assert_replays()
            assert it.placed(SPOT) == it.placed(PERP) == []
            assert it.rows("SELECT net_usdt FROM trades")[0][0] == pytest.approx(NET, abs=1e-9)

    asyncio.run(play())


def test_a_short_on_paper_is_liquidated_like_a_real_one_and_halts(tmp_path):
    """A short at 0.8018 with a leverage of 1 has lost its margin before 1.6036; its coins are sold, and entries end."""

    async def play():
        async with stage(tmp_path) as it:
            it.paper = True
            await it.start()
            await it.opened()
            it.spot = ("1.7000", "1.7002")
            it.show(("1.7001", "1.7003"))
            await it.until(lambda: it.phase == HALTED and it.at_rest)
            spot, perp = it.session.runner.state.legs[SPOT], it.session.runner.state.legs[PERP]
            assert (spot.position, perp.position) == (0.0, 0.0)
            assert it.session.risk.halted
            assert await it.stop() == "halted"
            assert it.rows("SELECT qty FROM fills WHERE leg = 'perp' ORDER BY rowid") == [(-60.0,), (60.0,)]

    asyncio.run(play())


@pytest.mark.parametrize(("last", "orders"), [(CALM, 0), (ENTER, 2)], ids=["gone again", "there to stay"])
def test_a_burst_of_quotes_is_decided_upon_by_the_newest(tmp_path, last, orders):
    """A hundred frames that waited in the socket, of which some paid: only what the last one shows can be traded."""

    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            it.quoting = False
            await asyncio.sleep(0.1)
            before = it.session.runner.events
            for n, (bid, ask) in enumerate([*[CALM, ENTER] * 50, last]):
                it.venues.quote(bid, 500, ask, 777 if n == 100 else 500, "perp")
            await it.until(lambda: it.session.loop.books[PERP].ask_qty == 777)
            await it.until(lambda: len(it.placed(PERP)) == orders // 2)
            await asyncio.sleep(0.05)
            assert it.session.runner.events - before < 50
            assert len(it.rows("SELECT * FROM orders")) == orders
            it.show(last)
            it.quoting = True
            assert await it.stop() in ("stopped", "open")
            it.assert_replays()

    asyncio.run(play())


def test_a_defect_in_a_step_of_the_machine_ends_the_session_whoever_asked_for_it(tmp_path):
    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            it.session.runner.quote = lambda *_: 1 / 0
            await it.until(it.task.done)
            with pytest.raises(ExceptionGroup) as caught:
                it.task.result()
            assert caught.group_contains(ZeroDivisionError)

    asyncio.run(play())


# --- No network -------------------------------------------------------------------------------------------------------


def test_where_neither_venue_answers_it_is_the_network_that_is_named(tmp_path):
    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            it.fault("gate", "time", "cut", times=0)
            await it.until(lambda: not it.session.resources.venues[PERP].reachable)
            assert not it.session.resources.network  # the other one answers
            it.fault("mexc", "time", "cut", times=0)
            await it.until(
                lambda: any("no entries (network): no network: neither mexc nor gate can be" in s for s in it.said)
            )
            for engine in it.engines():
                engine.faults.clear()
            await it.until(lambda: any("no longer: network" in s for s in it.said))
            for venue in ("mexc", "gate"):
                it.fault(venue, "*", "cut", times=0)
            await it.crash()
            it.launch()
            await it.until(it.task.done)
            with pytest.raises(VenueError, match="no network: neither mexc nor gate can be reached from this machine"):
                it.task.result()

    asyncio.run(play())
