"""`python -m delta_arb.sandbox`: both venues on this machine, playing a tape, until interrupted."""

import argparse
import asyncio
import json
import pprint
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from delta_arb.errors import DeltaArbError, ParamsError
from delta_arb.market import utc
from delta_arb.quotes.inputs import NONE, Inputs
from delta_arb.quotes.options import speed
from delta_arb.sandbox.faults import read_script
from delta_arb.sandbox.http import check_loopback
from delta_arb.sandbox.mexc_rest import SETTINGS
from delta_arb.sandbox.values import QUOTE, RECEIVED, Settings
from delta_arb.sandbox.venues import Setup, Venues, setup_of

ABOUT = """\
Two small exchanges on this machine: MEXC spot and Gate.io USDT futures. They speak the real wire protocols, so ccxt
connects to them by configuration alone, which is printed below. They play recorded quotes (the bundled synthetic
sample, or your own files), keep one account each with play money, and fill orders against the quotes shown.
No keys, no network: they listen on 127.0.0.1 only."""

EPILOG = """\
examples:
  python -m delta_arb.sandbox --speed 60
  python -m delta_arb.sandbox --tape spot.parquet perp.parquet --pair LUNC_USDT --contract-size 10000
  python -m delta_arb.sandbox --faults drill.toml --log fired.jsonl

a fault script (drill.toml) is a list of lines such as
  [[fault]]
  venue = "gate"
  at = "order.create"
  do = "error_after"     # the order is accepted, the answer is HTTP 503
(all hooks and actions: python -m pydoc delta_arb.sandbox.faults)"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        "python -m delta_arb.sandbox", description=ABOUT, epilog=EPILOG, formatter_class=argparse.RawTextHelpFormatter
    )
    quotes = p.add_argument_group("quotes")
    quotes.add_argument("--tape", nargs=2, metavar=("SPOT", "PERP"), help="quotes of both legs (default: the sample)")
    quotes.add_argument("--pair", default="", help="what they are quotes of, like LUNC_USDT")
    quotes.add_argument("--contract-size", type=float, default=0.0, metavar="N", help="coins in one contract of PERP")
    quotes.add_argument("--funding", default="", metavar="FILE", help="funding history (default: none)")
    quotes.add_argument("--speed", type=speed, default=1.0, metavar="N|max", help="recorded seconds a second (1)")
    quotes.add_argument("--repeat", action="store_true", help="begin again when the tape ends")
    account = p.add_argument_group("the account on each venue")
    account.add_argument("--spot-usdt", type=_decimal, default=Decimal(10_000), metavar="N", help="spot USDT (10000)")
    account.add_argument("--spot-coins", type=_decimal, default=Decimal(0), metavar="N", help="coins on spot (0)")
    account.add_argument(
        "--inventory-coins", type=_decimal, default=Decimal(0), metavar="N", help="coins beside as short a position (0)"
    )
    account.add_argument("--perp-usdt", type=_decimal, default=Decimal(10_000), metavar="N", help="margin (10000)")
    account.add_argument("--spot-fee-bps", type=_decimal, default=Decimal(5), metavar="N", help="taker fee, bps (5)")
    account.add_argument("--spot-fee-in", choices=(QUOTE, RECEIVED), default=QUOTE, help="currency of the spot fee")
    account.add_argument("--perp-fee-bps", type=_decimal, default=Decimal(5), metavar="N", help="taker fee, bps (5)")
    account.add_argument("--leverage", type=_decimal, default=Decimal(10), metavar="N", help="on futures (10)")
    account.add_argument("--isolated", action="store_true", help="isolated margin instead of cross")
    account.add_argument("--dual", action="store_true", help="say that the account is in dual position mode")
    drill = p.add_argument_group("drills and output")
    drill.add_argument("--faults", type=Path, metavar="FILE", help="script of faults, TOML or JSON")
    drill.add_argument("--limits", action="store_true", help="refuse more requests than the venues' documents allow")
    drill.add_argument("--log", type=Path, metavar="FILE", help="append each fault that fired, as JSON lines")
    drill.add_argument("--host", default="127.0.0.1", help="a loopback address; others are refused")
    drill.add_argument("--port", type=int, default=0, help="of MEXC, Gate takes the next one (default: any free ones)")
    drill.add_argument("--json", action="store_true", help="print one line of JSON: urls and ccxt configuration")
    return p


def _decimal(value: str) -> Decimal:
    try:
        number = Decimal(value)
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite() or number < 0:
        raise argparse.ArgumentTypeError(f"not a number of 0 or more: {value}")
    return number


def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    try:
        check_loopback(options.host)
        return asyncio.run(serve(options))
    except DeltaArbError as error:
        print(f"error: {error}", file=sys.stderr)
        if options.json:
            print(json.dumps({"status": "refused", "reason": str(error)}))
        return 2


def _inputs(options: argparse.Namespace) -> Inputs:
    if not options.tape:
        return Inputs(pair=options.pair)
    spot, perp = options.tape
    funding = options.funding or NONE
    return Inputs(spot=spot, perp=perp, funding=funding, pair=options.pair, contract_size=options.contract_size)


def _setup(options: argparse.Namespace, inputs: Inputs, tape: Any) -> Setup:
    base, _, quote = inputs.pair.partition("_")
    if quote != "USDT":
        raise ParamsError(f"a pair is like LUNC_USDT here, was {inputs.pair!r}; both venues settle in USDT")
    bps = Decimal(10_000)
    perp_settings = Settings(
        taker_fee=options.perp_fee_bps / bps,
        leverage=options.leverage,
        cross_margin=not options.isolated,
        dual_positions=options.dual,
    )
    return setup_of(
        tape,
        base,
        Decimal(repr(inputs.contract_size)).normalize(),
        spot_usdt=options.spot_usdt,
        spot_coins=options.spot_coins,
        perp_usdt=options.perp_usdt,
        spot_settings=replace(
            SETTINGS, taker_fee=options.spot_fee_bps / bps, maker_fee=Decimal(0), fee_in=options.spot_fee_in
        ),
        perp_settings=perp_settings,
    )


async def serve(options: argparse.Namespace) -> int:
    """Both venues until SIGINT or SIGTERM."""
    inputs = _inputs(options)
    tape = inputs.tape()
    faults = read_script(options.faults) if options.faults else []
    setup = _setup(options, inputs, tape)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    where = {"host": options.host, "port": options.port, "log": options.log, "limited": options.limits}
    venues = Venues(setup, faults, **where)
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


def _introduce(options: argparse.Namespace, inputs: Inputs, tape: Any, venues: Venues) -> None:
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


def _say(options: argparse.Namespace, words: str) -> None:
    print(words, file=sys.stderr if options.json else sys.stdout, flush=True)


if __name__ == "__main__":
    sys.exit(main())
