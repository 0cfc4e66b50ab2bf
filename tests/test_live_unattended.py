"""What a venue, a disk or another program does to a runner that nobody watches: it ends flat or hedged, and says why."""

import asyncio
import os
import sqlite3
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path

import aiohttp
import ccxt.pro
import pytest
from aiohttp import web
from live_stage import CALM, ENTER, LEAVE, quick_config, stage
from test_live import export, rule_params
from test_live_venues import BOTH, QUICK, buy, live, until

from delta_arb import params
from delta_arb.errors import ParamsError, RunError
from delta_arb.live import supervisor
from delta_arb.live.config import Keys, sample
from delta_arb.live.journal import Journal, JournalError
from delta_arb.live.market_watch import TermsChangedError
from delta_arb.live.messages import Console
from delta_arb.live.parameters import ParameterFile, utc_now
from delta_arb.live.supervisor import LIVE, LiveJob
from delta_arb.live.venues.base import VenueError
from delta_arb.live.venues.ccxt_client import REFUSED, asked_pause_s
from delta_arb.live.venues.gate import GateVenue, decoded
from delta_arb.live.venues.mexc import MexcVenue
from delta_arb.live.venues.websocket import Stream
from delta_arb.market import PERP, SPOT
from delta_arb.params import Bounds
from delta_arb.quotes.inputs import Inputs
from delta_arb.sandbox.mexc_rest import SETTINGS
from delta_arb.sandbox.values import Settings
from delta_arb.strategy.state import FLAT, HALTED, OPEN

VENUES = pytest.mark.parametrize("venue", ["mexc", "gate"])
FOR_GOOD = {"mexc": "30016", "gate": "CONTRACT_IN_DELISTING"}  # trading disabled, and a contract that is delisted


def everywhere(*plays) -> None:
    """Several stages at once: what they wait for is time, not work."""

    async def go():
        async with asyncio.TaskGroup() as tasks:
            for play in plays:
                tasks.create_task(play)

    asyncio.run(go())


def engine(it, venue: str):
    return it.venues.spot if venue == "mexc" else it.venues.perp


# --- 1 Messages that nobody knows -------------------------------------------------------------------------------------


def test_a_notice_to_all_clients_or_an_unknown_message_ends_nothing(tmp_path):
    async def play(do: str, code: str):
        async with stage(tmp_path / f"{do}{code}") as it:
            await it.start()
            for venue in ("mexc", "gate"):
                if (do, venue) != ("upgrade_notice", "mexc"):
                    it.fault(venue, "socket", do, **({"code": code} if code else {}))
            await asyncio.sleep(0.2)
            await it.opened()
            await it.closed()
            assert not it.task.done()
            assert await it.stop() == "stopped"
            it.agree()

    everywhere(play("upgrade_notice", ""), *(play("unknown_message", code) for code in ("channel", "shape", "text")))


def test_a_frame_that_cannot_be_decoded_redials_in_the_first_life_of_a_socket_too():
    async def play():
        async def serve(request):
            wire = web.WebSocketResponse()
            await wire.prepare(request)
            lives.append(request)
            await wire.receive()
            await wire.send_str("{torn" if len(lives) == 1 else '{"event": "subscribe", "channel": "c"}')
            await wire.receive()
            return wire

        def heard(message) -> bool:
            return decoded(message)["event"] == "subscribe"

        lives, app = [], web.Application()
        app.router.add_get("/", serve)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/"

        async def where() -> str:
            return url

        async with aiohttp.ClientSession() as session:
            stream = Stream("test", session, QUICK, url=where, hello=lambda: ["hi"], heard=heard, ping=lambda: "ping")
            running = asyncio.create_task(stream.run())
            await stream.first()
            assert stream.alive and len(lives) == 2
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await runner.cleanup()

    asyncio.run(play())


# --- 2 Refusals that were none ----------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("status", [403, 418, 429])
@live
async def test_a_bare_403_418_or_429_is_a_doubt_and_a_look_up_tells_the_truth(it, leg, status):
    it.mute(leg)
    it.fault(leg, "order.create", "error_after", status=status, bare=True, retry_after_s=0.3)
    first = await it.outcome(leg, buy(50))
    assert first.doubt and not first.final and not first.refused
    await until(lambda: not it.legs[leg].trouble)
    truth = await it.legs[leg].outcome("run-1")
    assert (truth.filled, truth.final) == (50, True) and len(it.placed(leg)) == 1


def test_an_order_taken_and_answered_with_403_is_never_sent_again(tmp_path):
    async def play(venue: str):
        async with stage(tmp_path / venue) as it:
            await it.start()
            it.fault(venue, "order.create", "error_after", status=403, bare=True)
            await it.opened()
            assert it.position() == (60.0, -60.0)
            assert [len(it.placed(leg)) for leg in (SPOT, PERP)] == [1, 1]
            await it.closed()
            assert await it.stop() == "stopped"
            it.agree()

    everywhere(play("mexc"), play("gate"))


def test_an_own_fill_of_an_order_thought_refused_is_booked_in_the_same_session(tmp_path):
    """The venue says refused, takes the order all the same, and its stream says nothing: the account tells."""

    async def play():
        async with stage(tmp_path) as it:
            session = await it.start()
            refused = {}
            report = session.executor.outcome
            venue = session.resources.venues[PERP]

            def lie(leg, outcome):  # an answer that was wrong, once
                if leg == PERP and not refused and outcome.final:
                    refused[outcome.order_id] = outcome
                    outcome = type(outcome).nothing(outcome.order_id, refused="RISK_LIMIT_EXCEEDED")
                report(leg, outcome)

            venue._on_outcome = lie
            it.show(ENTER)
            await it.until(lambda: refused)
            it.show(CALM)
            await it.until(lambda: any("which was not reported" in s for s in it.said))
            await it.settled()
            it.assert_hedged()
            await it.stop()
            it.agree()

    asyncio.run(play())


@pytest.mark.parametrize("venue", [MexcVenue, GateVenue])
def test_a_code_that_lasts_is_known_for_a_refusal(venue):
    """Else it would be a doubt first: seconds with one leg, and then as if the order had been lost."""
    known = getattr(ccxt.pro, venue.name)().exceptions
    known = known.get("exact", known)
    proven = {code for code in venue.lasting if issubclass(known.get(code, ccxt.BaseError), REFUSED)}
    assert venue.lasting - proven <= venue.certain


def test_a_header_retry_after_is_read_in_seconds_and_as_a_date():
    in_a_minute = datetime.now(UTC) + timedelta(seconds=60)
    assert asked_pause_s("15") == 15.0 and asked_pause_s("0.5") == 0.5
    assert 55.0 < asked_pause_s(format_datetime(in_a_minute, usegmt=True)) <= 61.0
    assert asked_pause_s("") == asked_pause_s("soon") == asked_pause_s("-3") == 0.0


@BOTH
@live
async def test_a_pause_that_the_venue_wants_is_kept(it, leg):
    """One request is answered with 429; until Retry-After has passed none follows, and orders are not sent."""
    venue = it.legs[leg]
    it.fault(leg, "account", "rate_limit", retry_after_s=1.0)
    with pytest.raises(Exception, match=r"429|TOO_MANY"):
        await venue.account()
    begun = asyncio.get_running_loop().time()
    assert "pause" in venue.trouble and venue.allowance == 0
    with pytest.raises(Exception, match="pause"):
        await venue.account()
    assert "pause" in (await it.outcome(leg, buy(50))).refused and not it.placed(leg)
    await until(lambda: not venue.trouble)
    assert asyncio.get_running_loop().time() - begun > 0.5
    assert (await it.outcome(leg, buy(50), "run-2")).filled == 50


# --- 3 Terms ----------------------------------------------------------------------------------------------------------


def test_a_contract_that_became_ten_times_as_large_is_measured_anew_and_closed(tmp_path):
    """Six contracts of 10 coins were ordered, which are 600 coins by then; the book shows 500."""

    async def play():
        async with stage(tmp_path, config=quick_config(terms_every_s=0.5)) as it:
            await it.start()
            it.fault("gate", "market", "terms", terms="contract_size=100")
            it.show(ENTER)
            await it.until(lambda: it.phase == OPEN)
            coins, position = it.position()
            assert coins > 0.0 and position == -10 * coins
            it.show(CALM)
            await it.until(it.task.done)
            with pytest.raises(TermsChangedError, match="contract_size from 10 to 100"):
                it.task.result()
            await it.start()
            await it.until(lambda: it.phase == FLAT and it.at_rest)
            assert it.position() == (0.0, 0.0)
            assert "contract_size" in it.session.risk.halted
            await it.held_back("", lambda: None, lambda: None)
            await it.stop()
            it.agree_on_money()

    asyncio.run(play())


def test_a_position_that_is_counted_by_an_old_contract_is_not_taken_for_a_smaller_one(tmp_path):
    """60 coins are six contracts of 10, and 0.6 of 100: by the old size that reads as 6 coins, and nothing was taken."""

    async def play():
        async with stage(tmp_path, config=quick_config(terms_every_s=30.0)) as it:
            await it.start()
            look = it.session.terms._look
            it.session.terms._look = lambda: asyncio.sleep(0)  # the accounts are looked at first
            await it.opened()
            it.fault("gate", "market", "terms", terms="contract_size=100")
            await it.until(lambda: any("not true any more" in text for text in it.said))
            assert it.position() == (60.0, -60.0) and not it.session.risk.halted
            await look()
            await it.until(it.task.done)
            with pytest.raises(TermsChangedError, match="contract_size from 10 to 100"):
                it.task.result()
            assert it.position() == (60.0, -60.0)

    asyncio.run(play())


def test_a_stop_beside_a_contract_that_became_ten_times_as_large_books_what_was_really_filled(tmp_path):
    """The pair is closed by the old size before the terms were looked at: ten contracts of 10 coins were 1,000."""

    async def play():
        slow = quick_config(terms_every_s=30.0, on_stop="flatten")
        async with stage(tmp_path, config=slow) as it:
            await it.start()
            it.session.terms.due.set = lambda: None  # nobody looks after a fill
            it.fault("gate", "market", "terms", terms="contract_size=100")
            it.show(ENTER)
            await it.until(lambda: it.phase == OPEN)
            assert it.position()[PERP] < it.session.runner.state.legs[PERP].position
            it.session.stop("a person")
            await it.until(it.task.done)
            with pytest.raises(TermsChangedError, match="contract_size from 10 to 100"):
                it.task.result()
            await it.start()
            await it.until(lambda: it.phase == FLAT and it.at_rest)
            await it.stop()
            assert it.position() == (0.0, 0.0)
            it.agree()
            it.agree_on_money()

    asyncio.run(play())


def test_nothing_is_entered_on_terms_that_cannot_be_read_or_have_changed(tmp_path):
    async def unread():
        async with stage(tmp_path / "unread", config=quick_config(terms_every_s=0.2)) as it:
            await it.start()
            await it.held_back(
                "terms", lambda: it.fault("mexc", "markets", "error", status=503, times=0), it.venues.spot.faults.clear
            )
            await it.stop()

    async def changed():
        async with stage(tmp_path / "changed", config=quick_config(terms_every_s=0.2)) as it:
            await it.start()
            it.fault("gate", "market", "terms", terms="min_qty=200")
            await it.until(it.task.done)
            await it.start()
            assert "min_qty from 10 to 200" in it.session.risk.halted
            await it.stop()

    everywhere(unread(), changed())


# --- 4 Refusals that will not change ----------------------------------------------------------------------------------


def test_a_leg_refused_for_good_at_entry_is_unwound_at_once(tmp_path):
    async def play(venue: str):
        async with stage(tmp_path / venue) as it:
            await it.start()
            it.fault(venue, "order.create", "refuse", code=FOR_GOOD[venue], times=0)
            it.show(ENTER)
            await it.until(lambda: engine(it, venue).faults.fired("refuse"))
            await it.until(lambda: it.phase == FLAT and it.at_rest)
            assert it.position() == (0.0, 0.0)
            assert len(engine(it, venue).faults.fired("refuse")) == 1  # it is not asked again
            assert FOR_GOOD[venue] in it.session.risk.halted
            await it.stop()
            it.agree()
            it.agree_on_money()
            it.assert_replays()

    everywhere(play("mexc"), play("gate"))


def test_a_leg_that_its_venue_will_not_close_is_hedged_again_and_the_machine_halts(tmp_path):
    async def play(venue: str):
        async with stage(tmp_path / venue) as it:
            await it.start()
            await it.opened()
            it.fault(venue, "order.create", "refuse", code=FOR_GOOD[venue], times=0)
            it.show(LEAVE)
            await it.until(lambda: it.phase == HALTED and it.at_rest)
            assert it.position() == (60.0, -60.0)
            assert FOR_GOOD[venue] in it.session.risk.halted
            engine(it, venue).faults.clear()  # a person has settled it
            it.session.flatten()
            await it.until(lambda: it.phase == FLAT and it.at_rest)
            assert it.position() == (0.0, 0.0)
            await it.stop()
            it.agree()
            it.agree_on_money()
            it.assert_replays()

    everywhere(play("mexc"), play("gate"))


# --- 5 A market that closes -------------------------------------------------------------------------------------------


def test_an_inactive_market_with_a_pair_open_still_starts_closes_and_flattens(tmp_path):
    async def play(venue: str):
        async with stage(tmp_path / venue, config=quick_config(terms_every_s=0.2)) as it:
            await it.start()
            await it.opened()
            await it.crash()
            it.fault(venue, "market", "inactive")
            await it.start()
            await it.until(lambda: it.phase == FLAT and it.at_rest)
            assert it.position() == (0.0, 0.0)
            assert await it.stop() == "stopped"
            it.agree_on_money()
            it.launch()
            await it.until(it.task.done)
            with pytest.raises(RunError, match="choose another market"):
                it.task.result()

    everywhere(play("mexc"), play("gate"))


def test_a_market_missing_from_the_list_with_a_pair_open_still_starts_closes_and_flattens(tmp_path):
    async def play(venue: str):
        async with stage(tmp_path / venue, config=quick_config(terms_every_s=0.2)) as it:
            it.fault(venue, "market", "unlist")
            it.launch()
            await it.until(it.task.done)
            with pytest.raises(VenueError, match="is not listed"):
                it.task.result()
            engine(it, venue).faults.clear()
            engine(it, venue).unlisted.clear()
            await it.start()
            await it.opened()
            await it.crash()
            it.fault(venue, "market", "unlist")
            await it.start()
            await it.until(lambda: it.phase == FLAT and it.at_rest)
            assert it.position() == (0.0, 0.0)
            assert await it.stop() == "stopped"
            it.agree_on_money()
            it.launch()
            await it.until(it.task.done)
            with pytest.raises(RunError, match=r"does not list .* any more; choose another market"):
                it.task.result()

    everywhere(play("mexc"), play("gate"))


def test_a_market_that_vanishes_from_the_list_is_left(tmp_path):
    async def play(venue: str):
        async with stage(tmp_path / venue, config=quick_config(terms_every_s=0.2)) as it:
            await it.start()
            await it.opened()
            it.fault(venue, "market", "unlist")
            await it.until(lambda: it.phase == FLAT and it.at_rest)
            assert it.position() == (0.0, 0.0)
            await it.stop()

    everywhere(play("mexc"), play("gate"))


def test_a_market_being_delisted_is_closed_or_where_it_takes_nothing_hedged_again(tmp_path):
    """Gate takes what reduces a position; a spot market takes no order any more, so its coins keep their hedge."""

    async def play(venue: str, ends: tuple[float, float]):
        async with stage(tmp_path / venue, config=quick_config(terms_every_s=0.2)) as it:
            await it.start()
            await it.opened()
            it.fault(venue, "market", "delist")
            await it.until(lambda: it.phase in (FLAT, HALTED) and it.at_rest and it.position() == ends)
            assert (it.phase == FLAT) == (ends == (0.0, 0.0))
            await it.stop()
            it.agree()

    everywhere(play("gate", (0.0, 0.0)), play("mexc", (60.0, -60.0)))


def test_a_market_that_becomes_inactive_is_left(tmp_path):
    async def play():
        async with stage(tmp_path, config=quick_config(terms_every_s=0.2)) as it:
            await it.start()
            await it.opened()
            it.fault("gate", "market", "inactive")
            await it.until(lambda: it.phase == FLAT and it.at_rest)
            assert it.position() == (0.0, 0.0)
            await it.stop()

    asyncio.run(play())


# --- 6 Venues that do not answer --------------------------------------------------------------------------------------


def test_a_venue_that_fails_one_look_is_not_entered(tmp_path, monkeypatch):
    monkeypatch.setattr("delta_arb.live.market_watch.EVERY_S", 0.2)
    monkeypatch.setattr("delta_arb.live.market_watch.AGAIN_S", 0.2)

    async def play(venue: str, at: str):
        async with stage(tmp_path / venue / at) as it:
            await it.start()
            faults = engine(it, venue).faults
            await it.held_back("blind", lambda: it.fault(venue, at, "error", status=503, times=0), faults.clear)
            assert not it.placed(SPOT) and not it.placed(PERP)
            await it.stop()

    looks = [(venue, at) for venue in ("mexc", "gate") for at in ("time", "account")]
    everywhere(*(play(*look) for look in [*looks, ("gate", "funding")]))


# --- 7 The journal's file ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["deleted", "replaced", "its log is deleted"])
def test_a_journal_that_is_gone_is_noticed_within_a_second_and_stops_entries(tmp_path, what):
    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            path = it.journal_path
            if what == "replaced":
                copy = path.with_suffix(".copy")
                copy.write_bytes(path.read_bytes())
                copy.replace(path)
            else:
                (path if what == "deleted" else path.with_name(f"{path.name}-wal")).unlink()
            await it.until(lambda: any("deleted or replaced" in s for s in it.said), 1.0)
            it.show(ENTER)
            await asyncio.sleep(0.2)
            assert it.phase == FLAT and not it.placed(SPOT)

    asyncio.run(play())


def test_journal_lock_and_events_are_their_owners_alone(tmp_path):
    path = tmp_path / "j.sqlite"
    path.touch(mode=0o644)
    with Journal(path, "run") as journal:
        journal.note("a", "b")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert len(modes) >= 3 and set(modes.values()) == {0o600}


def test_a_journal_that_cannot_be_opened_says_so(tmp_path):
    (tmp_path / "j.sqlite").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "j.sqlite", tmp_path / "file" / "live" / "j.sqlite"):
        with pytest.raises(JournalError, match=r"cannot be opened .*nothing is traded without it"):
            Journal(path, "run")


def test_a_state_that_cannot_be_read_is_named_with_the_way_back(tmp_path):
    path = tmp_path / "j.sqlite"
    with Journal(path, "run"):
        pass
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO decisions (run_id, state) VALUES ('run', '[1, 2')")
    with Journal(path, "next") as journal, pytest.raises(RunError, match="bring back a backup"):
        journal.last_state()


def test_a_sync_thread_that_ends_is_an_error_and_not_silence(tmp_path):
    with Journal(tmp_path / "j.sqlite", "run") as journal:
        journal.note("a", "b")
        disk = journal._disk
        disk._over = True
        disk._due.set()
        disk._thread.join()
        journal.note("a", "b")  # the commit that finds it out
        with pytest.raises(RunError, match="has ended"):
            journal.note("a", "b")


# --- 8 The parameter file ---------------------------------------------------------------------------------------------


def test_a_parameter_file_that_is_no_small_regular_file_is_refused_unread(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ParamsError, match="no regular file"):
        params.load(tmp_path / "fifo")
    with pytest.raises(ParamsError, match=r"no regular file|directory"):
        params.load(tmp_path)
    with open(tmp_path / "large", "wb") as large:
        large.truncate(120_000_000)
    with pytest.raises(ParamsError, match="120,000,000 bytes"):
        params.load(tmp_path / "large")


@pytest.mark.parametrize(
    ("entry", "leave", "more", "refused"),
    [
        (12.0, -12.0, {}, True),  # the file pays the 20 bps that it states, the accounts charge 24
        (12.0, -12.01, {}, False),
        (-30.0, -53.9, {}, True),
        (30.0, -30.0, {"reverse_entry_bps": 6.0, "reverse_exit_bps": -15.0}, True),
        (12.0, -12.0, {"funding_horizon_s": 3600.0}, False),  # carry is paid by funding
    ],
)
def test_thresholds_that_lose_the_accounts_four_fees_are_refused(tmp_path, entry, leave, more, refused):
    inputs = Inputs(inventory_coins=1000.0)
    wallets = params.WalletParams(inventory_coins=1000.0)
    made = export(inputs, rule_params(entry, leave, **more), created=datetime.now(UTC), wallets=wallets)
    params.save(made, tmp_path / "p.json")
    charged = tuple(terms.replace(taker_fee_bps=6.0) for terms in inputs.terms())
    for bounds, says in ((Bounds(), refused), (Bounds(cover_fees=False), False)):
        file = ParameterFile(tmp_path / "p.json", inputs, bounds, utc_now, charged)
        file.poll()
        assert ("fees of a pair cost" in file.refused) == says, file.refused


# --- 9 Quotes, redirections, signals, other programs ------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("do", ["foreign", "restamp"])
@live
async def test_a_quote_of_another_contract_or_of_the_future_is_dropped_and_counted(it, leg, do):
    it.fault(leg, "stream.ticker", do, times=0, seconds=30.0)
    await until(lambda: it.legs[leg].quotes.dropped >= 3)
    it.quotes.clear()
    await asyncio.sleep(0.2)
    assert all(book.bid == 0.8 for told, book, _ in it.quotes if told == leg)


@BOTH
@live
async def test_no_redirection_is_followed_with_keys(it, leg):
    it.fault(leg, "account", "redirect", times=0)
    it.fault(leg, "order.create", "redirect", times=0)
    with pytest.raises(Exception, match=r"account"):
        await it.legs[leg].account()
    assert (await it.outcome(leg, buy(50))).doubt
    assert not (it.venues.spot, it.venues.perp)[leg].faults.fired(at="elsewhere")


def test_a_hang_up_ends_like_a_termination():
    assert {"SIGINT", "SIGTERM", "SIGHUP"} == {number.name for number in supervisor.SIGNALS}


def test_two_runners_on_one_account_know_of_each_other_whatever_their_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    key, other = (Keys(key=name, secret="s") for name in ("key", "other"))
    say = Console("test", True)

    def job(folder: str, keys) -> LiveJob:
        return LiveJob(sample(), LIVE, tmp_path / folder, Path(), (keys, keys), {}, say)

    with supervisor.account_lock(job("a", key)):
        with pytest.raises(RunError, match="another runner"), supervisor.account_lock(job("b", key)):
            pass
        with supervisor.account_lock(job("b", other)):
            pass
    (lock,) = {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "state").rglob("*.lock")}
    assert lock == 0o600 and not any("key" in file.name for file in (tmp_path / "state").rglob("*"))


def test_an_order_that_is_not_ours_stops_entries_until_it_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr("delta_arb.live.reconcile.ORDERS_EVERY_S", 0.2)

    async def play():
        async with stage(tmp_path) as it:
            await it.start()
            placed = []

            def rest():
                placed.append(
                    it.venues.spot.place("SYN_USDT", 1, qty=Decimal(10), price=Decimal("0.7"), client_id="mine")
                )

            await it.held_back("foreign order", rest, lambda: it.venues.spot.cancel(placed[0].id))
            await it.opened()
            await it.stop()

    asyncio.run(play())


# --- 10 Fees in tokens ------------------------------------------------------------------------------------------------


@live(spot_settings=replace(SETTINGS, fee_in="MX"), perp_settings=Settings(fee_in="points"))
async def test_fees_paid_in_points_or_mx_are_money_and_not_an_exact_zero(it):
    """5 bps of 50 coins at 0.8002; an MX is worth 2 USDT there, a point one."""
    for leg in (SPOT, PERP):
        outcome = await it.outcome(leg, buy(50), f"run-{leg}")
        looked_up = await it.legs[leg].outcome(f"run-{leg}")
        for told in (outcome, looked_up):
            assert told.fee_usdt == pytest.approx(50 * 0.8002 * 5e-4, rel=1e-6) and not told.fee_exact
