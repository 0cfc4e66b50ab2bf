"""The local venues at work: started from the command's options, introduced, and ended by a signal."""

import asyncio
import json
import pprint
import signal
import sys
import time
from dataclasses import replace
from decimal import Decimal
from typing import Any

from delta_arb.errors import ParamsError
from delta_arb.market import NS, utc
from delta_arb.quotes.inputs import Inputs
from delta_arb.quotes.options import NONE
from delta_arb.sandbox.candles import SeededHistory
from delta_arb.sandbox.faults import read_script
from delta_arb.sandbox.http import check_loopback
from delta_arb.sandbox.mexc_rest import SETTINGS
from delta_arb.sandbox.network import Network
from delta_arb.sandbox.options import SandboxOptions, decimal
from delta_arb.sandbox.values import Settings
from delta_arb.sandbox.venues import Setup, Venues, setup_of


def _inputs(options: SandboxOptions) -> Inputs:
    trades = {"spot_trades": options.spot_trades, "perp_trades": options.perp_trades}
    if not options.tape:
        return Inputs(pair=options.pair, **trades)
    spot, perp = options.tape
    files = {"spot": spot, "perp": perp, "funding": options.funding or NONE} | trades
    return Inputs(**files, pair=options.pair, contract_size=options.contract_size)


def _setup(options: SandboxOptions, inputs: Inputs, tape: Any) -> Setup:
    base, _, quote = inputs.pair.partition("_")
    if quote != "USDT":
        raise ParamsError(f"a pair is like LUNC_USDT here, was {inputs.pair!r}; both venues settle in USDT")
    bps, resting = Decimal(10_000), {"queue": options.queue}
    if options.post_only != "venue":
        resting["post_only_refused"] = options.post_only == "refuse"
    perp_settings = Settings(
        taker_fee=options.perp_fee_bps / bps,
        maker_fee=options.perp_maker_fee_bps / bps,
        fee_in=options.perp_fee_in,
        leverage=options.leverage,
        cross_margin=not options.isolated,
        dual_positions=options.dual,
        **resting,
    )
    return setup_of(
        tape,
        base,
        Decimal(repr(inputs.contract_size)).normalize(),
        spot_usdt=options.spot_usdt,
        spot_coins=options.spot_coins,
        perp_usdt=options.perp_usdt,
        spot_settings=replace(
            SETTINGS,
            taker_fee=options.spot_fee_bps / bps,
            maker_fee=options.spot_maker_fee_bps / bps,
            fee_in=options.spot_fee_in,
            **resting,
        ),
        perp_settings=perp_settings,
        past=_past(options),
        behind=tuple(map(decimal, filter(None, options.behind.split(",")))),
    )


def _past(options: SandboxOptions) -> SeededHistory | None:
    now_s = time.time_ns() // NS
    return SeededHistory(options.listings, options.seed, options.history_days, now_s) if options.listings else None


async def serve(options: SandboxOptions) -> int:
    """Both venues until SIGINT or SIGTERM."""
    check_loopback(options.host)
    inputs = _inputs(options)
    tape = inputs.tape()
    faults = read_script(options.faults) if options.faults else []
    setup = _setup(options, inputs, tape)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    where = {"host": options.host, "port": options.port, "log": options.log, "limited": options.limits}
    venues = Venues(setup, faults, **where, network=Network.of_ms(options.round_trip_ms, options.seed))
    venues.play(tape, inputs.payments(tape), speed=options.speed, repeat=options.repeat)
    venues.hold(options.inventory_coins)
    async with venues:
        _introduce(options, inputs, tape, venues)
        stopped = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait((stopped, venues.playing_task), return_when=asyncio.FIRST_COMPLETED)
        if not stopped.done():
            venues.playing_task.result()  # a failed feed is not a finished tape
            _say(options, "the tape has ended; the last books stay until you stop the venues (Ctrl-C)")
        await stopped
    _say(options, f"stopped; {len(venues.spot.faults.log) + len(venues.perp.faults.log)} faults fired")
    return 0


def _introduce(options: SandboxOptions, inputs: Inputs, tape: Any, venues: Venues) -> None:
    urls = venues.urls
    base = venues.setup.spot.base
    symbols = {"mexc": f"{base}/USDT", "gate": f"{base}/USDT:USDT"}
    if options.json:
        line = {"status": "serving", "urls": urls, "symbols": symbols, "synthetic": inputs.synthetic}
        print(json.dumps(line | {"ccxt": venues.config()}), flush=True)
        return
    made = inputs.mark or "quotes"
    print(f"{made} of {inputs.pair}, {utc(tape.start_ns)} to {utc(tape.end_ns)} UTC, at speed {options.speed:g}")
    for name, url in urls.items():
        print(f"  {name}: {url}   symbol {symbols[name]}")
    print("\nccxt connects by configuration alone:\n")
    print("import ccxt.pro\n")
    for name, config in venues.config().items():
        print(f"{name} = ccxt.pro.{name}({pprint.pformat(config, width=110, sort_dicts=False)})")
    print("\nStop with Ctrl-C.", flush=True)


def _say(options: SandboxOptions, words: str) -> None:
    print(words, file=sys.stderr if options.json else sys.stdout, flush=True)
