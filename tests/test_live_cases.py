"""Rarer things that happen to a live pair: inventory, funding, books that lie, hedges that fail, stops halfway."""

import asyncio
import itertools
import json
import time
from decimal import Decimal

import pytest
from live_stage import CALM, ENTER, LEAVE, QUICK, quick_config, stage

from delta_arb.live import cli, control, monitoring, supervisor
from delta_arb.live.clock import ClockSetError
from delta_arb.live.session import Session
from delta_arb.live.venues.websocket import Pace, delays
from delta_arb.market import NS, PERP, SPOT
from delta_arb.strategy.state import FLAT, HALTED, HEDGING, OPEN


def test_a_reverse_pair_is_sold_out_of_declared_inventory_and_bought_back(tmp_path):
    """100 coins and a core short of 100 are there before; selling 60 pays 12.5 bps, buying back costs 22.5."""
    config = quick_config(inventory_coins=100.0)
    rule = {"entry_bps": None, "exit_bps": None, "reverse_entry_bps": 10.0, "reverse_exit_bps": -15.0}

    async def play():
        async with stage(tmp_path, config=config, rule=rule, spot_coins=Decimal(100)) as it:
            it.venues.perp.place("SYN_USDT", -1, qty=Decimal(100), price=Decimal("0.80"), tif="ioc", client_id="core")
            began = it.venues.spot.account.total("USDT") + it.venues.perp.account.wallet
            await it.start()
            it.show(LEAVE)
            await it.until(lambda: it.phase == OPEN and it.at_rest)
            it.show(CALM)
            assert it.position() == (40.0, -40.0)
            it.show(ENTER)
            await it.until(lambda: it.phase == FLAT and it.at_rest)
            it.show(CALM)
            assert await it.stop() == "stopped"
            assert it.position() == (100.0, -100.0)
            it.assert_replays()
            gained = it.venues.spot.account.total("USDT") + it.venues.perp.account.wallet - began
            net, side = it.rows("SELECT net_usdt, side FROM trades")[0]
            # The core short is averaged with what is sold again: the wallet has the rest of the gain when that closes.
            mark = it.venues.perp.account.position("SYN_USDT")
            open_gain = mark.unrealised(Decimal("0.8")) - Decimal(100) * (Decimal("0.8001") - Decimal("0.8"))
            assert side == -1 and net == pytest.approx(float(gained + open_gain), abs=0.005)

    asyncio.run(play())


def test_inventory_that_is_not_there_refuses_the_start(tmp_path):
    async def play():
        async with stage(tmp_path, config=quick_config(inventory_coins=100.0)) as it:
            with pytest.raises(Exception, match="declared: inventory_coins 100, so a position of -100"):
                await it.start()

    asyncio.run(play())


def test_funding_that_passed_while_the_pair_was_open_is_in_its_trade(tmp_path):
    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            await it.opened()
            await asyncio.sleep(1.1)  # the venue tells stamps in whole seconds
            paid = it.venues.perp.fund("SYN_USDT", Decimal("0.001"), Decimal("0.8002"))
            await it.session.funding._settle()
            await it.closed()
            await it.stop()
            funding, flagged = it.rows("SELECT funding_usdt, approximate_funding FROM trades")[0]
            assert float(paid.paid_usdt) == pytest.approx(0.001 * 0.8002 * 60)  # received: longs pay shorts
            assert funding == pytest.approx(float(paid.paid_usdt), abs=1e-3) and flagged
            it.agree_on_money()

    asyncio.run(play())


@pytest.mark.parametrize("step_s", [5.0, -5.0])
def test_our_clock_that_is_set_in_the_middle_of_a_pair_changes_nothing_until_it_is_closed(
    tmp_path, monkeypatch, step_s
):
    """Neither ages nor deadlines nor signatures jump with it; then a new session takes it over."""
    system_ns = time.time_ns

    async def play():
        async with stage(tmp_path, config=quick_config(pace=QUICK | {"clock_s": 60.0})) as it:
            await it.start()
            await it.opened()
            monkeypatch.setattr(time, "time_ns", lambda: system_ns() + round(step_s * NS))
            await it.until(lambda: any(f"a clock is {step_s * 1e3:+.0f} ms from ours" in s for s in it.said))
            it.show(LEAVE)
            with pytest.raises(ClockSetError, match=rf"set by \{step_s:+.3f} s"):
                await it.task
            assert not any("refused" in s for s in it.said)
            assert it.rows("SELECT reason FROM trades") == [("target",)]
            it.agree()
            it.agree_on_money()

    asyncio.run(play())


@pytest.mark.parametrize("step_s", [5.0, -5.0])
def test_a_venues_clock_that_jumps_is_measured_before_the_next_order_lesson_30(tmp_path, step_s):
    """MEXC refuses what is a second ahead of its clock, or older than the window; looks on a timer are a minute apart."""

    async def play():
        async with stage(tmp_path, config=quick_config(pace=QUICK | {"clock_s": 60.0})) as it:
            await it.start()
            await it.opened()
            for venue in ("mexc", "gate"):
                it.fault(venue, "clock", "drift", seconds=step_s)
            await it.until(lambda: all(abs(v.clock_offset_ns / NS - step_s) < 0.2 for v in it.session.resources.venues))
            await it.closed()
            assert not any("refused" in s for s in it.said)
            assert await it.stop() == "stopped"
            it.agree_on_money()

    asyncio.run(play())


def test_a_stream_that_is_refused_again_and_again_is_asked_ever_more_rarely_and_comes_back_lesson_25(tmp_path):
    """Each dial is told; eight refusals with pauses that double, and then a pair opens on the quotes."""

    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            gate = it.session.resources.venues[PERP]
            streams, before = [gate._private], gate._private.dials
            for at in ("ws.subscribe", "book", "tickers"):
                it.fault("gate", at, "refuse", code="INVALID_NONCE", times=8)
            it.fault("gate", "socket", "close", status=1006)
            await it.until(lambda: len(it.venues.perp.faults.fired("refuse", "ws.subscribe")) == 8)
            await it.until(lambda: all(stream.alive for stream in streams))
            assert streams[0].dials - before <= 10
            await it.opened()
            assert await it.stop() == "open"
            it.agree()

    asyncio.run(play())


def test_pauses_between_dials_double_up_to_their_limit_lesson_25():
    pauses = delays(Pace(backoff_s=0.2, backoff_max_s=30.0))
    assert [next(pauses) for _ in range(11)] == pytest.approx(
        [0.0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]
    )


def test_pairs_come_and_go_on_sockets_that_are_cut_all_the_time_lesson_27(tmp_path):
    """MEXC drops its sockets every few minutes: here every 0.4 s, of both venues in turn, five times each."""

    async def play():
        async with stage(tmp_path) as it:
            await it.start()

            async def cut() -> None:
                for n in itertools.count():
                    it.fault(("mexc", "gate")[n % 2], "socket", "close", status=(1006, 1001)[n // 2 % 2])
                    await asyncio.sleep(0.4)  # each lives longer than a loss that goes on (`dead_s`)

            cutting = asyncio.create_task(cut())
            pairs = 0
            while pairs < 3 or min(len(engine.faults.fired("close")) for engine in it.engines()) < 5:
                await it.opened()
                it.assert_hedged()
                await asyncio.sleep(0.3)  # not more orders a minute than the guard allows
                await it.closed()
                await asyncio.sleep(0.3)
                pairs += 1
            cutting.cancel()
            assert await it.stop() == "stopped"
            it.agree()
            it.agree_on_money()
            it.assert_replays()
            assert it.rows("SELECT COUNT(*) FROM trades") == [(pairs,)]

    asyncio.run(play())


@pytest.mark.parametrize("lie", ["crossed", "one-sided", "stale"])
def test_no_pair_opens_on_a_book_that_lies(tmp_path, lie):
    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            if lie == "crossed":
                it.spot = ("0.8003", "0.8002")
            elif lie == "one-sided":
                it.sizes = (0, 0)
            else:  # the spot leg falls silent, and REST with it, while the perpetual moves on
                it.fault("mexc", "stream.ticker", "silence")
                it.fault("mexc", "book", "hang", times=0)
                it.fault("mexc", "tickers", "hang", times=0)
                await asyncio.sleep(0.7)
            await asyncio.sleep(0.3)
            it.show(ENTER)
            await asyncio.sleep(0.5)
            assert it.session.runner.state.pair == 0
            assert it.placed(SPOT) == it.placed(PERP) == []

    asyncio.run(play())


IMPATIENT = {"leg_deadline_s": 0.9, "max_quote_age_s": 0.6}
REFUSED = {"gate": "PRICE_TOO_DEVIATED", "mexc": "30010"}  # what a later order may get past


async def halt_with_one_leg(it, missing: str) -> None:
    """One venue refuses every order, the other all but the first: the machine tries, and halts."""
    await it.start()
    for venue, code in REFUSED.items():
        it.fault(venue, "order.create", "refuse", code=code, times=0, skip=int(venue != missing))
    it.show(ENTER)
    await it.until(lambda: it.phase == HALTED)
    it.show(CALM)


def test_a_hedge_that_nobody_fills_halts_the_machine_and_flatten_mends_it(tmp_path):
    async def play():
        async with stage(tmp_path, rule=IMPATIENT) as it:
            await halt_with_one_leg(it, "gate")
            assert it.position() == (60.0, 0.0)
            assert 5 <= it.rows("SELECT COUNT(*) FROM orders")[0][0] <= 14  # tried again, and not as often as it may
            assert "`flatten` first" in await it.session.resume()
            assert await it.stop() == "halted"
            for engine in it.engines():
                engine.faults.clear()
            it.launch()
            await it.until(lambda: it.phase == HALTED)  # a restart does not lift it
            await it.until(lambda: it.session and it.session.reconciler and it.session.reconciler.base)
            it.session.flatten()
            await it.until(lambda: it.phase == FLAT and it.at_rest)
            assert it.position() == (0.0, 0.0)
            assert await it.session.resume() == ""
            await it.stop()
            it.agree()
            it.agree_on_money()
            it.assert_replays()

    asyncio.run(play())


def test_an_entry_one_leg_of_which_never_arrived_is_unwound_at_once(tmp_path):
    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            it.fault("gate", "order.create", "cut", times=0)
            it.show(ENTER)
            await it.until(lambda: it.position()[SPOT] == 60.0)
            await it.settled()
            assert it.position() == (0.0, 0.0)
            assert len(it.venues.perp.faults.fired("cut")) == 1  # the venue that answers mends it
            it.agree()
            it.assert_replays()

    asyncio.run(play())


def test_an_exit_that_never_arrived_is_sent_again_and_hedged_again_once_none_did(tmp_path):
    """Each cut costs `unknown_s`; after the third in a row the other leg is opened again, and a person rung."""

    async def play(times: int):
        async with stage(tmp_path / str(times), rule={"leg_deadline_s": 6.0}) as it:
            await it.start()
            await it.opened()
            it.fault("gate", "order.create", "cut", times=times)
            it.show(LEAVE)
            await it.until(lambda: it.phase == (HALTED if times == 0 else FLAT) and it.at_rest)
            assert it.position() == ((0.0, 0.0) if times else (60.0, -60.0))
            assert len(it.venues.perp.faults.fired("cut")) == (times or 3)
            it.agree()

    async def both():
        async with asyncio.TaskGroup() as tasks:
            for times in (1, 0):
                tasks.create_task(play(times))

    asyncio.run(both())


def test_a_leg_that_is_taken_from_a_halted_machine_settles_its_pair(tmp_path):
    """What the pair lost is a trade, for the guard on the day's loss, and not part of the pair after `resume`."""

    async def play():
        async with stage(tmp_path, rule=IMPATIENT) as it:
            await halt_with_one_leg(it, "mexc")
            assert it.position() == (0.0, -60.0)
            it.venues.perp.liquidate("SYN_USDT")
            await it.until(lambda: it.session.runner.state.legs[PERP].position == 0.0)
            assert it.rows("SELECT COUNT(*) FROM trades") == [(1,)]
            it.agree_on_money()
            for engine in it.engines():
                engine.faults.clear()
            assert await it.session.resume() == ""
            await it.opened()
            await it.stop()
            await it.start()  # takes up the fills of the open pair only
            await it.closed()
            await it.stop()
            it.agree_on_money()

    asyncio.run(play())


def test_a_stop_in_the_middle_of_an_entry_finishes_the_legs_first(tmp_path):
    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            it.fault("gate", "order.create", "late_fill", seconds=0.6)
            it.show(ENTER)
            await it.until(lambda: it.placed(PERP))
            assert await it.stop() == "open"
            assert it.position() == (60.0, -60.0)
            it.agree()
            await it.crash()
            it.launch(leave=True)  # `flatten` while no runner is up
            async with asyncio.timeout(10):
                assert await it.task == "stopped"
            assert it.position() == (0.0, 0.0)
            it.agree_on_money()
            it.assert_replays()

    asyncio.run(play())


def test_a_stop_that_cannot_finish_the_legs_says_so_and_the_next_start_does(tmp_path, monkeypatch):
    monkeypatch.setattr("delta_arb.live.session.STOP_S", 0.2)

    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            it.fault("gate", "order.create", "hang", before=True)
            it.show(ENTER)
            await it.until(lambda: it.placed(SPOT))
            it.show(CALM)
            assert await it.stop() == "unfinished"
            await it.start()
            await it.settled()
            it.assert_hedged()
            it.agree()

    asyncio.run(play())


def test_a_runner_that_died_while_hedging_hedges_on(tmp_path):
    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            it.fault("gate", "order.create", "partial_fill", fraction=0.5)
            it.fault("gate", "order.create", "late_fill", seconds=0.6, skip=1)
            it.fault("mexc", "order.create", "late_fill", seconds=0.6, skip=1)
            it.show(ENTER)
            await it.until(lambda: it.phase == HEDGING and len(it.rows("SELECT 1 FROM orders")) == 3)
            await it.crash()
            it.show(CALM)
            await it.start()
            await it.settled()
            it.assert_hedged()
            it.agree()
            await it.closed()
            await it.stop()
            it.agree_on_money()
            it.assert_replays()

    asyncio.run(play())


def test_the_words_to_a_running_one_go_through_its_socket(tmp_path):
    async def play():
        async with stage(tmp_path) as it:
            path = control.socket_path(it.journal_path)
            async with await control.serve(path, control.obeying(lambda: it.session)):
                ask = lambda word: asyncio.to_thread(control.ask, path, word)  # noqa: E731
                assert "connecting" in (await ask("status"))["error"]
                await it.start()
                await it.opened()
                said = await ask("status")
                assert (said["phase"], said["spot"], said["perp"]) == ("open", 60.0, -60.0)
                assert "none of status" in (await ask("withdraw"))["error"]
                assert (await asyncio.to_thread(cli._said, path)).startswith("open, pair 1, spot +60, perp -60")
                # once it is open the perpetual is calm, 0.8003 to buy, spot 0.8000 to sell: 0.0003 / 0.8000
                line = "pair 1 open: leaving costs +3.75 bps, target -12.00; ages"
                await it.until(lambda: line in monitoring.open_line(it.session))
                seen = await ask("snapshot")
                assert json.loads(json.dumps(seen, allow_nan=False)) == seen  # a browser reads no NaN
                assert seen["open_usdt"] == pytest.approx(sum(seen["open_parts"].values()), abs=1e-12)
                assert seen["levels"]["exit_bps"] == pytest.approx(-12.0) and len(seen["guards"]) == 11
                assert [book["leg"] for book in seen["books"]] == ["spot", "perp"]
                await asyncio.to_thread(control.ask, path, "flatten", by="anna: the venue\nis down")
                noted = it.rows("SELECT text FROM notes WHERE kind = 'ordered'")
                assert noted == [("a flatten (asked by anna: the venue is down)",)]
                await it.until(lambda: it.phase == FLAT and it.at_rest)
                it.show(ENTER)
                await asyncio.sleep(0.2)
                assert it.session.runner.state.pair == 1  # stays out until resumed
                it.show(CALM)
                await it.until(lambda: it.session.runner.state.armed)
                assert (await ask("resume"))["halted"] == ""
                await it.opened()
                await asyncio.to_thread(control.ask, path, "kill", by="ben: a drill")
                assert (tmp_path / "kill").read_text() == "ben: a drill\n"
                assert it.rows("SELECT text FROM notes WHERE kind = 'ordered'")[-1] == (
                    "a kill (asked by ben: a drill)",
                )
                assert (await ask("stop"))["stopping"]
                async with asyncio.timeout(10):
                    assert await it.task == "open"
            assert control.ask(path, "status") is None and cli._said(path) == "no runner is up"

    asyncio.run(play())


@pytest.mark.parametrize("defects", [1, 4])
def test_a_defect_ends_the_session_and_the_next_one_takes_the_pair_up(tmp_path, monkeypatch, defects):
    """Also after more failures than there are pauses: a pair that is open is not left to itself."""
    whole, failed = Session.facts, []

    def defective(session):
        if session.runner.state.phase == OPEN and len(failed) < defects:
            failed.append(session.resources.journal.run_id)
            raise ZeroDivisionError("a defect")
        return whole(session)

    monkeypatch.setattr(Session, "facts", defective)
    monkeypatch.setattr(supervisor, "AGAIN_S", (0.1, 0.1))

    async def play():
        async with stage(tmp_path, rule={"leg_deadline_s": 3.0}) as it:

            class Heard:
                status = staticmethod(lambda text: None)
                __call__ = staticmethod(it.said.append)

            say = Heard()
            params = tmp_path / it.config.name / "params" / "latest.json"
            job = supervisor.LiveJob(it.config, supervisor.SANDBOX, tmp_path, params, None, it.venues.config(), say)
            running = supervisor.Supervisor(job)
            task = asyncio.create_task(running.run())
            it.show(ENTER)
            await it.until(lambda: any("resumed pair 1" in s for s in it.said) or task.done())
            it.show(LEAVE)
            await it.until(lambda: running.trades or running.session.runner.trades)
            running.stop("test")
            async with asyncio.timeout(10):
                assert await task == "stopped"
            assert len(failed) == defects and any(
                "ZeroDivisionError: a defect" in s and "beginning again" in s for s in it.said
            )
            assert it.position() == (0.0, 0.0)
            assert len(it.placed(SPOT)) == len(it.placed(PERP)) == 2

    asyncio.run(play())


def test_listen_keys_that_killed_runs_left_behind_do_not_keep_the_next_one_out(tmp_path):
    """MEXC gives an account 60 of them, and each lives an hour; a run that ends in an orderly way gives its own back."""

    async def play():
        async with stage(tmp_path) as it:
            keys = it.venues.mexc.stream.keys
            left = [keys.create() for _ in range(60)]
            await it.start()
            assert keys.alive() == left
            await it.stop()
            assert keys.alive() == left[:-1]
            await it.start()
            await it.opened()
            await it.stop()
            assert keys.alive() == left[:-1]
            it.agree()

    asyncio.run(play())


def test_a_strange_order_beside_an_open_pair_halts_instead_of_leaving_it_alone(tmp_path):
    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            await it.opened()
            await it.stop()
            it.venues.spot.place("SYN_USDT", 1, qty=Decimal(50), price=Decimal("0.7"), client_id="resting")
            await it.start()
            assert "mexc works on order resting" in it.session.risk.halted
            await it.closed()
            await it.stop()

    asyncio.run(play())
