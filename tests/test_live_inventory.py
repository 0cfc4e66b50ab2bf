"""An inventory on the way to trading: the file demands it, the check and status show it, both directions are traded."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from live_stage import quick_config, stage
from test_live import export, rule_params
from test_live_command import command, rows, running, until, wave  # noqa: F401, a fixture

from delta_arb import params
from delta_arb.errors import ParamsError
from delta_arb.live import local_venues, preflight
from delta_arb.live.event_log import events_path, logged
from delta_arb.live.supervisor import LIVE, LiveJob
from delta_arb.optimize.offers import EntryExit
from delta_arb.optimize.study import Market, Thresholds
from delta_arb.quotes.inputs import Inputs
from delta_arb.sandbox.venues import Venues
from delta_arb.strategy.rule import make_rule
from delta_arb.strategy.state import DIRECT, REVERSE

COINS = ["--inventory-coins", "600"]
WAYS = {"reverse_entry_bps": 30.0, "reverse_exit_bps": -20.0}


def published(folder: Path, entry_bps: float, exit_bps: float, coins: float = 600.0, **levels) -> params.Params:
    """Parameters of both directions for the sample, sold out of so many coins."""
    made = export(
        Inputs(), rule_params(entry_bps, exit_bps, **levels), created=datetime.now(UTC) - timedelta(seconds=1),
        wallets=params.WalletParams(inventory_coins=coins, min_spot_usdt=50.3, min_perp_usdt=50.1),
    )  # fmt: skip
    params.publish(made, folder)
    return made


def test_a_replay_trades_both_directions_as_the_backtest_does(tmp_path):
    made = published(tmp_path, 20.0, -30.0, **WAYS)
    done = command("--replay", "--speed", "max", *COINS, "--reports", str(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    inputs = Inputs(inventory_coins=600.0)
    tape, (spot, perp) = inputs.tape(), inputs.terms()
    market = Market(spot, perp, inputs.latency(), inputs.payments(tape), made.rule, funds=inputs.funds)
    levels = Thresholds(20.0, -30.0, made.rule.max_hold_s, reverse=EntryExit(*WAYS.values()))
    assert make_rule(market.rule_params(levels), spot, perp) == make_rule(made.rule, spot, perp)
    replayed = market.replay(tape, levels).trades
    journal = tmp_path / made.name / "live" / "journal.sqlite"
    live = rows(journal, "SELECT side, opened_ns, closed_ns, net_usdt FROM trades ORDER BY pair")
    assert live == [(t.side, t.opened_ns, t.closed_ns, t.net_usdt) for t in replayed]
    assert {t.side for t in replayed} == {DIRECT, REVERSE} and len(replayed) > 40


@pytest.mark.parametrize("coins", [(), ("--inventory-coins", "599")])
def test_a_file_that_sells_out_of_more_than_is_declared_is_refused(tmp_path, coins):
    published(tmp_path, 20.0, -30.0, **WAYS)
    done = command("--replay", "--speed", "max", *coins, "--reports", str(tmp_path))
    assert done.returncode == 2 and "chosen to sell out of 600 coins" in done.stderr
    assert "declared (inventory_coins)" in done.stderr


def test_a_file_of_the_direct_pair_asks_for_no_coins(tmp_path):
    published(tmp_path, 20.0, -30.0)
    assert command("--replay", "--speed", "max", "--reports", str(tmp_path)).returncode == 0


def test_reverse_levels_without_an_inventory_are_no_export(tmp_path):
    with pytest.raises(ParamsError, match=r"wallets\.inventory_coins must be above 0"):
        published(tmp_path, 20.0, -30.0, coins=0.0, **WAYS)


# --- on the local venues ----------------------------------------------------------------------------------------------


def test_local_venues_hold_coins_beside_their_short_as_from_before():
    async def go():
        async with Venues.quiet() as venues:
            venues.quote("0.8", 50, "0.8002", 70)
            wallet = venues.perp.account.wallet
            venues.hold(Decimal(100))
            short = venues.perp.account.position("SYN_USDT")
            assert venues.spot.account.total("SYN") == 100 and short.size == -100
            assert abs(short.entry - Decimal("0.8001")) <= Decimal("0.0001")
            assert venues.perp.account.wallet == wallet  # no fee: it was there before
            with pytest.raises(ParamsError, match="95 coins cannot be hedged by contracts of 10"):
                venues.hold(Decimal(95))

    asyncio.run(go())


def test_the_check_wants_what_the_parameters_need(tmp_path):
    """100 coins and their short are there; the file wants 100, then 200, then more money than there is."""
    config = quick_config(inventory_coins=200.0)
    levels = {"reverse_entry_bps": 12.0, "reverse_exit_bps": -15.0}

    async def look(it, **wallets):
        made = export(Inputs(), rule_params(15.0, -12.0, **levels), wallets=params.WalletParams(**wallets))
        params.publish(made, tmp_path)
        path = tmp_path / config.name / "params" / "latest.json"
        found = await preflight.look(LiveJob(config, LIVE, tmp_path, path, None, it.venues.config(), print))
        return {row.check: row for row in found}

    async def play():
        async with stage(tmp_path, config=config, spot_coins=Decimal(100)) as it:
            it.venues.perp.place("SYN_USDT", -1, qty=Decimal(200), price=Decimal("0.80"), tif="ioc", client_id="core")
            return (
                await look(it, inventory_coins=100.0),
                await look(it, inventory_coins=200.0, min_spot_usdt=50.3, spot_usdt=500.0, perp_usdt=400.0),
                await look(it, inventory_coins=100.0, min_perp_usdt=1e6),
            )

    enough, few, poor = asyncio.run(play())
    assert (
        enough["inventory"].passed and enough["inventory"].found == "100 coins and a position of -200, sold out of 100"
    )
    assert not few["inventory"].passed and "buy what is missing" in few["inventory"].remedy
    assert few["mexc balance"].passed and "want 60.30; the parameters assume 500" in few["mexc balance"].found
    assert not poor["gate balance"].passed and enough["gate balance"].passed


def test_the_command_trades_both_directions_on_the_local_venues(tmp_path, wave):  # noqa: F811
    """The wave opens direct for 20 bps and closes for -12.5: reverse opens for 12.5 then, and closes for -20."""
    made = published(tmp_path, 15.0, -12.0, coins=200.0, reverse_entry_bps=12.0, reverse_exit_bps=-15.0, rearm_bps=0.0)
    folder = tmp_path / made.name / "live"
    journal, log = folder / "sandbox.sqlite", tmp_path / "log"
    options = ["--sandbox", *wave, "--inventory-coins", "200", "--reports", str(tmp_path)]
    try:
        with running(*options, log=log) as process:
            until(lambda: len(rows(journal, "SELECT DISTINCT side FROM trades")) == 2, why=log.read_text)
            said = command("status", *options)
            assert "the parameters assume: no limit of USDT, 200 coins beside as short a position" in said.stdout
            assert command("stop", *options).returncode == 0
            assert process.wait(30) == 0, log.read_text()
        sides = dict(rows(journal, "SELECT side, COUNT(*) FROM trades GROUP BY side"))
        assert sides[DIRECT] > 0 and sides[REVERSE] > 0
        assert rows(journal, "SELECT ABS(SUM(qty)) < 1e-9 FROM fills") == [(1,)]
        (run_id,) = rows(journal, "SELECT run_id FROM runs")[0]
        first = next(logged(events_path(journal, run_id)))
        assert first.event.wallet.spot_coin == 200.0  # declared, before the venues have told: the review begins with it
    finally:
        local_venues.end(folder)


def test_the_local_venues_take_an_inventory_by_option():
    process = subprocess.Popen(
        [sys.executable, "-m", "delta_arb.sandbox", "--json", "--inventory-coins", "95"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2 and "hold a multiple of it" in err and json.loads(out)["status"] == "refused"
