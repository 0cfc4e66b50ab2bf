"""Live paper's wallets: what they begin with, what they refuse to pay, what a restart finds, what `status` tells."""

import asyncio
import sqlite3
from decimal import Decimal

import pytest
from live_stage import CALM, ENTER, publish, quick_config, stage

from delta_arb.errors import ParamsError
from delta_arb.latency import Latency
from delta_arb.live import config as configuration
from delta_arb.live import control
from delta_arb.live.event_log import levels_shown, replayed
from delta_arb.live.event_loop import LivePaper
from delta_arb.live.paper import PaperVenue
from delta_arb.live.venues.base import Placed
from delta_arb.market import NS, SPOT, Book, Order
from delta_arb.params import WalletParams
from delta_arb.strategy.state import FLAT, OPEN, LegRule

FLOORS = {"min_spot_usdt": 10.0, "min_margin_usdt": 10.0}


def on_paper(folder, **changes):
    """A stage whose sessions trade on paper."""
    return stage(folder, config=quick_config(guards=FLOORS, **changes))


def last_wallet(it):
    """What the machine was told of the wallets last, and how often one could not pay."""
    decided = [d for path in sorted(it.folder.glob("*.bin")) for d in replayed(path)]
    return decided[-1].event.wallet


def test_wallets_that_nobody_stated_hold_twice_what_a_position_needs_and_it_is_said(tmp_path):
    """A clip of 50 at up to 50 bps above the ask, its fee of 5 bps and a floor of 10: 60.275125 USDT on spot; as margin
    at a leverage of 1 60.025."""

    async def play():
        async with on_paper(tmp_path) as it:
            it.paper = True
            session = await it.start()
            (said,) = [s for s in it.said if s.startswith("paper wallets")]
            assert (
                "spot 120.55 USDT, futures 120.05 USDT (twice what a full position and the guards' floors need" in said
            )
            await it.opened()
            status = control.status(session)
            spot_usdt = 120.55025 - 60.0 * 0.8002 * 1.0005  # 60 coins: six whole contracts for 50 USDT
            assert status["spot_usdt"] == pytest.approx(spot_usdt, abs=1e-9) and status["coins"] == 60.0
            margin = 120.05 - 60.0 * 0.8018 * 0.0005
            assert (
                status["perp_usdt"] == pytest.approx(margin + 60.0 * 0.8018, abs=1e-9) and status["position"] == -60.0
            )
            assert status["unexplained_usdt"] == pytest.approx([0.0, 0.0], abs=1e-9)
            await it.closed()
            await it.stop()
            ((net,),) = it.rows("SELECT net_usdt FROM trades")
            wallet = last_wallet(it)
            assert wallet.spot_usdt + wallet.perp_usdt == pytest.approx(240.60025 + net, abs=1e-9)
            it.assert_replays()

    asyncio.run(play())


def test_an_entry_that_a_paper_wallet_cannot_pay_is_refused_and_counted(tmp_path):
    async def play():
        async with on_paper(tmp_path, paper={"spot_usdt": 45.0, "perp_usdt": 500.0}) as it:
            it.paper = True
            session = await it.start()
            assert any("spot 45.00 USDT, futures 500.00 USDT (began with what the configuration" in s for s in it.said)
            it.show(ENTER)
            await it.until(lambda: control.status(session)["unpaid"] > 0)
            await asyncio.sleep(0.2)
            assert it.phase == FLAT and not it.rows("SELECT 1 FROM orders")

    asyncio.run(play())


def test_a_wallet_below_its_floor_holds_entries_back_on_paper_too(tmp_path):
    async def play():
        async with on_paper(tmp_path, paper={"spot_usdt": 500.0, "perp_usdt": 9.0}) as it:
            it.paper = True
            session = await it.start()
            await it.until(lambda: any("9.00 USDT of margin are free, the floor is 10" in s for s in it.said))
            it.show(ENTER)
            await asyncio.sleep(0.3)
            assert it.phase == FLAT
            assert control.status(session)["transfer"] == ""  # there is nothing that a person could move

    asyncio.run(play())


def test_a_transfer_on_paper_arrives_after_its_delay_also_over_a_restart(tmp_path):
    """45 and 255 USDT: half the difference, 105, is sent; 104 of it arrive 1.8 s later."""
    money = {"spot_usdt": 45.0, "perp_usdt": 255.0, "transfer_delay_h": 1.8 / 3600.0, "transfer_fee_usdt": 1.0}

    async def play():
        async with on_paper(tmp_path, paper=money | {"transfer_least_usdt": 50.0}) as it:
            it.paper = True
            await it.start()
            it.show(ENTER)
            await it.until(lambda: any("paper transfer: 105.00 USDT from perp to spot" in s for s in it.said))
            await it.crash()
            assert not it.rows("SELECT 1 FROM orders")
            session = await it.start()
            assert any("paper wallets: spot 45.00 USDT, futures 150.00 USDT" in s for s in it.said[it._mark :])
            await it.until(lambda: it.phase == OPEN and it.at_rest)
            assert control.status(session)["spot_usdt"] == pytest.approx(45.0 + 104.0 - 60.0 * 0.8002 * 1.0005)
            await it.crash()
            session = await it.start()
            assert control.status(session)["spot_usdt"] == pytest.approx(45.0 + 104.0 - 60.0 * 0.8002 * 1.0005)
            assert len(it.rows("SELECT 1 FROM notes WHERE kind = 'paper transfer'")) == 1

    asyncio.run(play())


def test_a_restart_on_paper_finds_the_wallets_as_they_were(tmp_path):
    async def play():
        async with on_paper(tmp_path) as it:
            it.paper = True
            await it.start()
            await it.opened()
            await it.closed()
            await it.opened()
            before = control.status(it.session)
            await it.crash()
            session = await it.start()
            after = control.status(session)
            for name in ("spot_usdt", "coins", "perp_usdt", "position"):
                assert after[name] == pytest.approx(before[name], abs=1e-9), name
            assert any("began so at the first start" in s for s in it.said[it._mark :])

    asyncio.run(play())


@pytest.mark.parametrize(
    ("money", "why"),
    [
        ("spot_usdt = 100.0", "paper: .*needs spot_usdt and perp_usdt above zero, or nothing at all"),
        ("transfer_delay_h = 1.0", "needs spot_usdt and perp_usdt above zero"),
        ("spot_usdt = 9.0\nperp_usdt = 9.0\ntransfer_delay_h = 1.0", "needs least_usdt above its fee"),
        ("usdt = 9.0", "usdt"),
    ],
)
def test_money_on_paper_that_makes_no_sense_is_refused_with_the_file(tmp_path, money, why):
    file = tmp_path / "lunc.toml"
    file.write_text(f'pair = "LUNC_USDT"\n[spot]\nvenue = "mexc"\n[perp]\nvenue = "gate"\n[paper]\n{money}\n')
    with pytest.raises(ParamsError, match=rf"(?s)lunc.toml.*{why}"):
        configuration.read(file)


def test_wallets_that_the_parameters_assume_are_what_paper_begins_with(tmp_path):
    """A later file that assumes others changes nothing: the money of a journal is one."""

    async def play():
        async with on_paper(tmp_path) as it:
            it.paper = True
            publish(tmp_path, wallets=WalletParams(spot_usdt=300.0, perp_usdt=200.0))
            await it.start()
            assert any("spot 300.00 USDT, futures 200.00 USDT (what the parameters assumed" in s for s in it.said)
            await it.crash()
            publish(tmp_path, wallets=WalletParams(spot_usdt=9_000.0, perp_usdt=9_000.0))
            await it.start()
            assert any("spot 300.00 USDT, futures 200.00" in s for s in it.said[it._mark :])

    asyncio.run(play())


def test_a_fill_that_the_journal_could_not_take_counts_once_in_the_wallets(tmp_path):
    """The report comes again every second until it is written."""

    async def play():
        async with on_paper(tmp_path) as it:
            it.paper = True
            session = await it.start()
            session.resources.journal._db.execute("PRAGMA busy_timeout = 0")
            locked = sqlite3.connect(it.journal_path, isolation_level=None)
            it.show(ENTER)
            await it.until(lambda: session.runner.working)
            locked.execute("BEGIN IMMEDIATE")
            await it.until(lambda: any("no order leaves without its row" in s for s in it.said))
            await asyncio.sleep(1.2)
            locked.execute("ROLLBACK")
            locked.close()
            await it.until(lambda: it.phase == OPEN and it.at_rest)
            status = control.status(session)
            assert status["coins"] == 60.0 and status["position"] == -60.0
            assert status["spot_usdt"] == pytest.approx(120.55025 - 60.0 * 0.8002 * 1.0005, abs=1e-9)

    asyncio.run(play())


# --- Levels -----------------------------------------------------------------------------------------------------------


def test_both_venues_tell_paper_five_levels_and_they_are_kept_for_the_review(tmp_path):
    """The local venues show 500 or 510 coins at the best price and three times as many one tick behind it; Gate in contracts of ten."""

    async def play():
        async with stage(tmp_path, config=quick_config(guards=FLOORS), behind=(Decimal(3),)) as it:
            it.paper = True
            session = await it.start()
            await it.until(lambda: "best level" not in session.line())
            await it.stop()
            (path,) = it.folder.glob("*.bin")
            for depth, (bid, ask) in zip(levels_shown(path), (("0.8000", "0.8002"), CALM), strict=True):
                best = depth.ask_qty[0]
                assert best in (500.0, 510.0)
                tick = 0.0001
                assert depth.ask[:3] == pytest.approx([float(ask), float(ask) + tick, 0.0])
                assert list(depth.ask_qty[:3]) == [best, 3 * best, 0.0]
                assert depth.bid[:3] == pytest.approx([float(bid), float(bid) - tick, 0.0])

    asyncio.run(play())


def test_an_order_on_live_paper_goes_on_into_the_levels_that_were_pushed_by_hand():
    """7 are wanted: 2 at 10.0, 4 at 10.1, and 1 of the 9 at 10.3, in all 70.7. With no levels only the best is taken, and it says so."""

    async def play():
        told, kept, now_ns = asyncio.Queue(), [], [NS]
        legs = (LegRule(0.0, 0.0, 1.0, 0.0),) * 2
        venue = PaperVenue(Latency(0.001, 0.001), ("updates", "updates"), legs, 5 * NS)
        paper = LivePaper(venue, told.put_nowait, lambda: now_ns[0], lambda leg, depth: kept.append(leg))
        book = Book(9.9, 10.0, 5.0, 2.0, NS)
        paper.quote(SPOT, NS, book)
        assert paper.best_only == "; takes the best level only of spot and perp"
        for levels, filled, price in (((), 2.0, 10.0), (SHOWN, 7.0, 70.7 / 7)):
            if levels:
                paper.levels(SPOT, levels)
                paper.quote(SPOT, NS, book._replace(fresh_ns=NS + 1))
            paper.place([Placed("a", SPOT, Order(7.0, 10.5, False, False))], now_ns[0])
            now_ns[0] += NS // 100
            report = await asyncio.wait_for(told.get(), 10.0)
            assert (report.filled, report.price) == (filled, pytest.approx(price))
        assert paper.best_only == "; takes the best level only of perp" and kept == [SPOT]

    asyncio.run(play())


def test_a_snapshot_of_levels_fills_one_order_on_paper_by_hand():
    """Three orders of 9 on fresh quotes of 2 at 10.0, the levels told once: 2 at 10.0, 4 at 10.1. The first takes 6 for 60.4; the 4
    are gone, so the others have 2 each, until the levels are told anew."""

    async def play():
        told, now_ns = asyncio.Queue(), [NS]
        legs = (LegRule(0.0, 0.0, 1.0, 0.0),) * 2
        venue = PaperVenue(Latency(0.001, 0.001), ("updates", "updates"), legs, 5 * NS)
        paper = LivePaper(venue, told.put_nowait, lambda: now_ns[0], lambda leg, depth: None)
        paper.levels(SPOT, SHOWN)
        for n, (filled, price) in enumerate([(6.0, 60.4 / 6), (2.0, 10.0), (2.0, 10.0), (6.0, 60.4 / 6)]):
            now_ns[0] += NS // 100
            if n == 3:
                paper.levels(SPOT, SHOWN)
            paper.quote(SPOT, now_ns[0], Book(9.9, 10.0, 5.0, 2.0, now_ns[0]))
            paper.place([Placed(f"a{n}", SPOT, Order(9.0, 10.2, False, False))], now_ns[0])
            now_ns[0] += NS // 100
            report = await asyncio.wait_for(told.get(), 10.0)
            assert (report.filled, report.price) == (filled, pytest.approx(price))

    asyncio.run(play())


SHOWN = (9.9, 5.0, *[0.0] * 8, 10.0, 2.0, 10.1, 4.0, 10.3, 9.0, *[0.0] * 4)
