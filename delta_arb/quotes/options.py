"""What a run can be told of its quotes, costs, order rules and wallets: name, kind, default and meaning of each option.

Every field is an option of the commands (with dashes), a key of `delta_arb.toml` and a parameter of the notebooks;
`quotes.inputs` checks them and makes values of them. Imports nothing heavy: `--help` reads it too.

`delta_arb.toml` is what would be typed with every command (pair, files, fees, folders), written down once:

    pair = "LUNC_USDT"
    spot = "quotes/mexc"          # files and folders as seen from this file
    perp = "quotes/gate"
    funding = "quotes/funding.parquet"
    contract_size = 10000
    spot_fee_bps = 0
    reports = "reports"

Its keys are the options of quotes, costs and wallets with _ for -, `reports`, and `config` (of the runner). The command
line wins. The one in the working folder is read, or the one that --config names.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from math import inf, isfinite
from pathlib import Path
from typing import Any, Literal

from delta_arb.command import option
from delta_arb.errors import ParamsError
from delta_arb.market import BASE, QUOTE, SNAPSHOTS, UPDATES
from delta_arb.places import parsed

NONE = "none"
FILES = ("spot", "perp", "funding")
RULES = ("spot_rules", "perp_rules", "spot_trades", "perp_trades")  # files too, where they are given
LATENCIES = ("spot_latency", "perp_latency")  # a number, or a file
SPOT_MIN_USDT = 1.0
BAR_SHARE = 0.01
_quotes, _layouts, _costs, _candles, _money = (
    partial(option, panel=title)
    for title in (
        "quotes",
        "layouts that a file does not show",
        "costs",
        "candles instead of quotes",
        "order rules and wallets",
    )
)


@dataclass(frozen=True, slots=True)
class InputOptions:
    """As they were given, unchecked; all defaults together are the bundled sample."""

    spot: str = _quotes(
        "",
        "quotes or candles of the spot leg: a file or folder of any usual layout  [default: the bundled synthetic sample]",
    )
    perp: str = _quotes(
        "", "the same of the perpetual, quantities in contracts unless the file proves that they are coins"
    )
    funding: str = _quotes("", "funding history: settled rates, a file of any usual layout; or none")
    pair: str = _quotes("", "name of the pair, like LUNC_USDT")
    spot_venue: str = _quotes("mexc", "venue of the spot leg")
    perp_venue: str = _quotes("gate", "venue of the perpetual")
    contract_size: float = _quotes(0.0, "base units of one contract", min=0.0, nothing=False)
    spot_kind: Literal[UPDATES, SNAPSHOTS] = _quotes(
        UPDATES, "how the spot leg was recorded: updates, or snapshots (polled)"
    )
    perp_kind: Literal[UPDATES, SNAPSHOTS] = _quotes(UPDATES, "the same of the perpetual")
    spot_feed_latency: float = _quotes(
        0.0, "seconds added to the stamps of a file that has only the venue's clock; 0: the receiver's clock", min=0.0,
        max=60.0,
    )  # fmt: skip
    perp_feed_latency: float = _quotes(0.0, "the same of the perpetual", min=0.0, max=60.0)
    spot_trades: str = _quotes(
        "",
        "trades of others on the spot venue, by which resting orders fill: a file of any usual layout, or a recording's folder",
    )
    perp_trades: str = _quotes("", "the same of the perpetual")
    spot_fee_bps: float = _costs(5.0, "taker fee of the spot venue, bps of notional per fill")
    perp_fee_bps: float = _costs(5.0, "taker fee of the perpetual's venue")
    spot_maker_fee_bps: str = _costs(
        "", "fee of an order that rested on the spot venue, bps; empty: not known, and none rests"
    )
    perp_maker_fee_bps: str = _costs("", "the same of the perpetual")
    spot_latency: str = _costs(
        "0.1",
        "seconds from a quote at the venue to our order arriving there (feed plus order); "
        "0.1~0.4 is a median and a 99th percentile; or a file",
    )
    perp_latency: str = _costs("0.1", "the same of the perpetual")
    spot_min_usdt: float = _money(SPOT_MIN_USDT, "smallest order of the spot venue in USDT")
    max_bad_share: float = _quotes(0.05, "share of bad rows above which a file is refused", min=0.0, max=1.0)
    spot_half_spread_bps: float = _candles(0.0, "half the spot book's spread, stated, bps")
    perp_half_spread_bps: float = _candles(0.0, "the same of the perpetual; needed for both legs, and only for candles")
    bar_share: float = _candles(
        BAR_SHARE, "size shown on each side, as a share of what the bar traded in a mean minute"
    )
    bar_s: float = _candles(0.0, "aggregate to bars of so many seconds; 0: as they are, both legs alike")
    perp_step: float = _money(
        0.0, "smallest step of an order on the perpetual, base units, where files are in base units; 0: one contract"
    )
    spot_tick: float = _money(0.0, "smallest step of a price on spot, USDT; 0: not known, and no order rests there")
    perp_tick: float = _money(0.0, "the same of the perpetual")
    spot_rules: str = _money(
        "",
        "the venue's own list of instruments, saved: MEXC's exchangeInfo; grids, minima and tick are read from it, never fees",
    )
    perp_rules: str = _money(
        "",
        "the same of the perpetual: Gate.io's contract list; also contract size, largest leverage and maintenance margin",
    )
    spot_fee_in: Literal[QUOTE, BASE] = _money(
        QUOTE, "what a buyer's fee on spot is taken in: quote (USDT), or base (the coin bought)"
    )
    leverage: float = _money(1.0, "of the short: its margin is its value over this")
    spot_usdt: float = _money(0.0, "USDT in the spot wallet at the beginning; 0 in both wallets: no limit")
    perp_usdt: float = _money(0.0, "USDT in the perpetual's wallet at the beginning")
    transfer_delay_h: float = _money(
        0.0, "hours that a transfer between the wallets takes, sent when one cannot pay; 0: there are none"
    )
    transfer_fee_usdt: float = _money(0.0, "what a transfer costs")
    transfer_least_usdt: float = _money(0.0, "less than this is not sent; above the fee")
    inventory_coins: float = _money(
        0.0,
        "coins held on spot beside a short of the same size: what reverse pairs are sold out of; 0: direct pairs only",
        min=0.0,
    )
    spot_format: str = _layouts(
        "",
        'what the spot file does not say: a layout\'s name and facts, like "binance klines" or '
        '"time=ms,zone=Europe/Amsterdam"; facts: time, zone, label, quantity, clock, size, venue, symbol',
    )
    spot_columns: str = _layouts("", "which column is which, like bid_price=b,ask_price=a; else by their names")
    perp_format: str = _layouts("", "the same of the perpetual")
    perp_columns: str = _layouts("", "the same of the perpetual")
    funding_format: str = _layouts(
        "",
        "the same of the funding history; facts: time, zone, rate (fraction, percent, bps), interval (hours) with settles "
        "(first, after), indicative, venue, symbol",
    )
    funding_columns: str = _layouts("", "the same of the funding history, like timestamp=t,funding_rate=r")
    funding_changes: str = _quotes(
        "",
        "days or times (UTC) from which the perpetual's funding follows other rules, like 2026-05-27,2026-08-01T08:00; no "
        "evidence is pooled over them; or none  [default: what its venue announced, as far as known]",
    )

    def resting(self, leg: str) -> dict[str, float]:
        """What an order that rests needs of a leg's terms besides, as far as it was said."""
        fee, tick = getattr(self, f"{leg}_maker_fee_bps"), float(getattr(self, f"{leg}_tick"))
        try:
            said = {"maker_fee_bps": float(fee)} if fee else {}
        except ValueError:
            raise ParamsError(
                f"--{leg}-maker-fee-bps must be a number of bps, was {fee!r}; leave it out where it is not known"
            ) from None
        return said | ({"price_tick": tick} if tick else {})

    def check_numbers(self) -> None:
        """Raises ParamsError for a number out of the bounds of its option, however it came: typed ones are refused before."""
        for of in fields(InputOptions):
            if of.type is not float:
                continue
            value, least, most = getattr(self, of.name), of.metadata.get("min", -inf), of.metadata.get("max", inf)
            if not (isfinite(value) and least <= value <= most):
                raise ParamsError(f"--{of.name.replace('_', '-')} needs {_bounds(least, most)}, was {value}")


def written(options: InputOptions) -> list[str]:
    """All options as a command line would give them."""
    return [f"--{f.name.replace('_', '-')}={getattr(options, f.name)}" for f in fields(InputOptions)]


def given(options: InputOptions) -> list[str]:
    """Those that differ from their default (for logs and reports)."""
    return [text for text, default in zip(written(options), written(InputOptions()), strict=True) if text != default]


def _bounds(least: float, most: float) -> str:
    if isfinite(most):
        return f"a number from {least:g} to {most:g}"
    return f"a number of {least:g} or more" if isfinite(least) else "a finite number"


def as_dict(options: InputOptions) -> dict[str, Any]:
    """Their values by name, also of a record that has other options besides."""
    return {f.name: getattr(options, f.name) for f in fields(InputOptions)}


FILE = "delta_arb.toml"


@dataclass(frozen=True, slots=True)
class Settings(InputOptions):
    """Every key that the file may have, with its type."""

    reports: str = ""
    config: str = ""


def config_option(wanted: Callable[[dict[str, Any]], dict[str, Any]] = dict) -> Any:
    """The option --config of a command, which takes its defaults from the file: those that `wanted` makes of the settings."""
    from typer import Context

    def chosen(context: Context, value: Path | None) -> Path | None:
        context.default_map = wanted(settings(value))
        return value

    text = f"a file with what is typed each time, instead of {FILE} in the working folder"
    return option(None, text, metavar="FILE", is_eager=True, callback=chosen)


def settings(path: Path | None = None) -> dict[str, Any]:
    """What the file says, paths as seen from the working folder; nothing where there is no file and none was named.

    Raises:
        ParamsError: the named file is not there, is no TOML, has a key that does not exist or a value of another type.
    """
    if path is None and not Path(FILE).exists():
        return {}
    path = path or Path(FILE)
    return {name: _located(name, _checked(path, name, value), path.parent) for name, value in parsed(path).items()}


def _checked(path: Path, name: str, value: Any) -> Any:
    known = {field.name: field for field in fields(Settings)}
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        raise ParamsError(f"{path}: there is no key {name}; {meant}")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in LATENCIES and number:
        return str(value)
    if not (number if isinstance(known[name].default, float) else isinstance(value, str)):
        kind = "a number" if isinstance(known[name].default, float) else 'a text in "quotes"'
        raise ParamsError(f"{path}: {name} needs {kind}, was {value!r}")
    return value


def _located(name: str, value: Any, folder: Path) -> Any:
    """A path as seen from the working folder."""
    named = name in (*FILES, *RULES, "reports", "config") and value not in ("", NONE)
    return str(folder / value) if named or (name in LATENCIES and (folder / value).is_file()) else value
