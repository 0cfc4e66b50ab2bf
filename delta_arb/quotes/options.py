"""The commands' options of a run: one for every field of `Inputs`, in words."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import fields

from delta_arb.market import BASE, QUOTE, SNAPSHOTS, UPDATES
from delta_arb.quotes.inputs import Inputs

OPTION_HELP = {
    "spot": "quotes or candles of the spot leg: a file or folder as you have it (default: the bundled synthetic sample)",
    "perp": "the same of the perpetual, quantities in contracts unless the file proves that they are coins",
    "funding": "funding history: settled rates, a file as you have it; or none",
    "spot_format": 'what the spot file does not say: a layout\'s name and facts, like "binance klines" or "time=ms,zone=Europe/Amsterdam"; '
    "facts: time, zone, label, quantity, clock, size, venue, symbol (default: recognised and proven)",
    "spot_columns": "which column is which, like bid_price=b,ask_price=a (default: by their names)",
    "perp_format": "the same of the perpetual",
    "perp_columns": "the same of the perpetual",
    "funding_format": "the same of the funding history; facts: time, zone, rate (fraction, percent, bps), interval (hours) with settles "
    "(first, after), indicative, venue, symbol",
    "funding_columns": "the same of the funding history, like timestamp=t,funding_rate=r",
    "pair": "name of the pair, like LUNC_USDT",
    "spot_venue": "venue of the spot leg",
    "perp_venue": "venue of the perpetual",
    "contract_size": "base units of one contract",
    "spot_kind": "how the spot leg was recorded: updates, or snapshots (polled)",
    "perp_kind": "the same of the perpetual",
    "spot_feed_latency": "seconds added to the stamps of a file that has only the venue's clock; 0: the receiver's clock",
    "perp_feed_latency": "the same of the perpetual",
    "spot_fee_bps": "taker fee of the spot venue, bps of notional per fill",
    "perp_fee_bps": "taker fee of the perpetual's venue",
    "spot_latency": "seconds from a quote at the venue to our order arriving there (feed plus order); "
    "0.1~0.4 is a median and a 99th percentile; or a file",
    "perp_latency": "the same of the perpetual",
    "spot_min_usdt": "smallest order of the spot venue in USDT",
    "max_bad_share": "share of bad rows above which a file is refused",
    "spot_half_spread_bps": "candles instead of quotes: half the spot book's spread, stated, bps",
    "perp_half_spread_bps": "the same of the perpetual; needed for both legs, and only for candles",
    "bar_share": "candles: size shown on each side, as a share of what the bar traded in a mean minute",
    "perp_step": "smallest step of an order on the perpetual, base units, where files are in base units; 0: one contract",
    "bar_s": "candles: aggregate to bars of so many seconds; 0: as they are, both legs alike",
    "spot_rules": "the venue's own list of instruments, saved: MEXC's exchangeInfo; grids, minima and tick are read from it, never fees",
    "perp_rules": "the same of the perpetual: Gate.io's contract list; also contract size, largest leverage and maintenance margin",
    "spot_fee_in": "what a buyer's fee on spot is taken in: quote (USDT), or base (the coin bought)",
    "leverage": "of the short: its margin is its value over this",
    "spot_usdt": "USDT in the spot wallet at the beginning; 0 in both wallets: money without end",
    "perp_usdt": "USDT in the perpetual's wallet at the beginning",
    "transfer_delay_h": "hours that a transfer between the wallets takes, sent when one cannot pay; 0: there are none",
    "transfer_fee_usdt": "what a transfer costs",
    "transfer_least_usdt": "less than this is not sent; above the fee",
    "inventory_coins": "coins held on spot beside a short of the same size: what reverse pairs are sold out of; 0: direct pairs only",
}
MONEY = (
    "spot_rules",
    "perp_rules",
    "spot_fee_in",
    "leverage",
    "spot_usdt",
    "perp_usdt",
    "transfer_",
    "inventory_",
)  # beginnings of names
CHOICES = {"spot_kind": (UPDATES, SNAPSHOTS), "perp_kind": (UPDATES, SNAPSHOTS), "spot_fee_in": (QUOTE, BASE)}


def add_options(parser: argparse.ArgumentParser, *, files: bool = True, of: str = "") -> None:
    """One option per field of `Inputs`; `files=False` leaves out the two quote files (given otherwise). `of` names the
    mode that looks at them, where a command has others."""
    titles = (f"of {of}: {title}" if of else title for title in ("quotes and costs", "order rules and wallets"))
    quotes, money = (parser.add_argument_group(title) for title in titles)
    for field in fields(Inputs):
        if field.name in ("spot", "perp") and not files:
            continue
        choices = CHOICES.get(field.name)
        group = money if field.name.startswith(MONEY) else quotes
        group.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=type(field.default),
            default=field.default,
            choices=choices,
            metavar=None if choices else field.name.split("_")[-1].upper(),
            help=OPTION_HELP[field.name] + ("" if field.default in ("", 0.0) else f" (default {field.default})"),
        )


def given(options: argparse.Namespace) -> Sequence[str]:
    """The options that differ from their default, as a command line would give them (for logs and reports)."""
    return [
        f"--{f.name.replace('_', '-')}={getattr(options, f.name)}"
        for f in fields(Inputs)
        if getattr(options, f.name, f.default) != f.default
    ]


def speed(text: str) -> float:
    """The type of an option: recorded seconds per second, or "max" for as fast as it goes (inf)."""
    try:
        value = math.inf if text == "max" else float(text)
    except ValueError:
        value = math.nan
    if not value > 0:
        raise argparse.ArgumentTypeError(f"a speed is a number above 0, or max; was {text}")
    return value
