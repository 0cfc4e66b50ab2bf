"""A pair of a folder that `download` and `record` wrote, as it is asked: the study that all share, its quotes, its market.

And what the venues' lists say against trading it. A veto is no column among others: closed deposits, a delisting and a
market closed to API orders are often the very cause of the basis that looks like a profit.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from delta_arb.errors import DataError, ParamsError
from delta_arb.market import to_bps
from delta_arb.optimize.study import Constraints, Market, market
from delta_arb.params import Rule
from delta_arb.places import folder_at
from delta_arb.quotes import data_folder
from delta_arb.quotes.data_folder import CURRENCIES_FILE, RULES_FILE, DataRequest
from delta_arb.quotes.inputs import Inputs
from delta_arb.quotes.options import InputOptions, as_dict
from delta_arb.quotes.tape import Tape
from delta_arb.tables import share

TRADING = {"", "1", "trading", "enabled", "online", "live", "open", "normal"}
OFF = {True, "true", "True"}


def listed(data: Path, spot_venue: str, perp_venue: str) -> list[str]:
    """Every pair that has a folder at one of the two markets: what was asked for is listed, whole or not.

    Raises:
        ParamsError: the folder holds no pair of these venues, or is a file.
    """
    folder_at(data, "--data")
    request = DataRequest(data, "", spot_venue, perp_venue)
    found = {p.name for leg in ("spot", "perp") for p in (data / request.market(leg)).glob("*_USDT") if p.is_dir()}
    if not found:
        raise ParamsError(
            f"{data} holds no pair of {spot_venue} spot and {perp_venue} perpetuals; download or record them first "
            "(delta-arb download --all --since ... --candles 1h --funding), or name the folder with --data"
        )
    return sorted(found)


def list_rows(data: Path, spot_venue: str, perp_venue: str) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Of each leg the venue's own rows of `rules.json` by pair, and of `currencies.json` by coin; empty where there are none."""
    request = DataRequest(data, "", spot_venue, perp_venue)
    found = {}
    for leg in ("spot", "perp"):
        rows = _json(data / request.market(leg) / RULES_FILE, [], list | dict)
        rows = rows if isinstance(rows, list) else next((v for v in rows.values() if isinstance(v, list)), [])
        found[leg] = {_name(row): row for row in rows if isinstance(row, dict)}
        found[f"{leg} coins"] = _json(data / request.market(leg) / CURRENCIES_FILE, {}, dict)
    return found


def _json(path: Path, none: Any, kind: Any) -> Any:
    if not path.exists():
        return none
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); download again") from None
    if not isinstance(found, kind):
        raise DataError(f"{path} is no venue's list, it holds {str(found)[:40]}; download again")
    return found


def _name(row: Mapping[str, Any]) -> str:
    """Our name of a market, of the rows that venues write."""
    if "baseAsset" in row:
        return f"{row['baseAsset']}_{row['quoteAsset']}"
    if "baseCoin" in row:
        return f"{row['baseCoin']}_{row.get('quoteCoin', 'USDT')}"
    return str(row.get("name") or row.get("id") or row.get("symbol") or "")


def vetoes(pair: str, rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Why the pair must not be traded whatever it shows, from `list_rows`."""
    coin = pair.removesuffix("_USDT")
    found = []
    for leg, name in (("spot", "spot"), ("perp", "the perpetual")):
        found += [f"{name} {what}" for what in _against(rows[leg].get(pair, {}))]
        wallet = rows[f"{leg} coins"].get(coin, {})
        shut = [what for what in ("deposit", "withdraw") if wallet.get(what) is False]
        found += [f"{what}s of {coin} are closed at the {name.split()[-1]} venue" for what in shut]
    return found


def _against(row: Mapping[str, Any]) -> list[str]:
    """What a venue's row of a market says against it."""
    delisting = row.get("in_delisting") in OFF or float(row.get("delisting_time") or row.get("delistTime") or 0) > 0
    status = str(row.get("status", "")).lower()
    return [
        *(["is being delisted"] if delisting else []),
        *(
            ["is closed to API orders"]
            if row.get("isSpotTradingAllowed") is False or row.get("apiAllowed") is False
            else []
        ),
        *(["carries the venue's warning of a delisting (ST)"] if row.get("st") in OFF else []),
        *([f"does not trade (status {row['status']})"] if status not in TRADING and not delisting else []),
    ]


def unknown_of(pair: str, rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What no list says of the pair, and is taken to be open."""
    coin = pair.removesuffix("_USDT")
    lists = [f"{leg}'s rules" for leg in ("spot", "perp") if pair not in rows[leg]]
    spot = rows["spot coins"].get(coin, {})
    wallets = ["deposits and withdrawals"] if not any(isinstance(v, bool) for v in spot.values()) else []
    return [f"{what} are not known and taken to be open" for what in (*lists, *wallets)]


@dataclass(frozen=True, slots=True)
class Study:
    """What all pairs are asked: venues, range, costs and wallets, conduct, demands; everything that JSON can say.

    Args:
        inputs: options of `InputOptions` that differ from their defaults.
        rule, demands: fields of `Rule` and `Constraints`.
        pairs: how many are listed, all of which are paid for.
        maker_fee_bps: of the spot leg, where it rests; for the break-even alone.
    """

    since_ns: int = 0
    until_ns: int = 0
    inputs: Mapping[str, Any] = field(default_factory=dict)
    rule: Mapping[str, float] = field(default_factory=dict)
    demands: Mapping[str, float] = field(default_factory=dict)
    maker_fee_bps: float = 0.0
    pairs: int = 1
    first_share: float = 2 / 3

    @property
    def options(self) -> InputOptions:
        return InputOptions(**self.inputs)


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A pair that was read: inputs, all its quotes, the market they are traded in, demands, and what was guessed."""

    inputs: Inputs | None
    tape: Tape
    market: Market
    constraints: Constraints
    guessed: tuple[str, ...] = ()

    def before(self, end_ns: int) -> "Opened":
        """The same as it was known at a time."""
        payments = tuple(p for p in self.market.payments if p.ts_ns < end_ns)
        return replace(
            self, tape=self.tape.between(self.tape.start_ns, end_ns), market=replace(self.market, payments=payments)
        )


def inputs_of(study: Study, pair: str, data: Path) -> Inputs:
    """The pair's quotes, funding and rules in the folder; errors as `data_folder.found`."""
    options = replace(study.options, pair=pair)
    legs = options.spot_venue, options.perp_venue
    request = data_folder.DataRequest(data, pair, *legs, study.since_ns, study.until_ns)
    given = as_dict(options)
    found = data_folder.found(request, given)
    if "candles" not in str(found["spot"]):
        found |= {
            "spot_half_spread_bps": 0.0,
            "perp_half_spread_bps": 0.0,
            "bar_s": 0.0,
            "bar_share": InputOptions().bar_share,
        }
    return Inputs.from_options(replace(options, **found))


def opened(study: Study, pair: str, data: Path, bar_s: float = 0.0) -> Opened:
    """Both legs read and checked; of candles no half-spread is below half a tick."""
    inputs = inputs_of(study, pair, data)
    inputs = replace(inputs, bar_s=bar_s) if bar_s else inputs
    tape, guessed = inputs.tape(), []
    if inputs.candles:
        wider = _not_below_a_tick(inputs, tape)
        if wider != inputs:
            inputs, tape = wider, wider.tape()
        guessed.append(f"half-spreads {inputs.spot_half_spread_bps:.2g} and {inputs.perp_half_spread_bps:.2g} bps")
        guessed.append(f"size shown {share(inputs.bar_share, 2)} of a mean minute's volume")
    made = market(inputs, tape, Rule(**study.rule))
    guessed += [] if inputs.perp_rules else [f"contract size {inputs.contract_size:g}"]
    guessed += [] if inputs.spot_rules else ["spot grid not known"]
    guessed += ["marks at funding stamps are mids"] if any(not p.exact for p in made.payments) else []
    return Opened(inputs, tape, made, Constraints(**study.demands), tuple(guessed))


def _not_below_a_tick(inputs: Inputs, tape: Tape) -> Inputs:
    prices = float(np.median(tape.spot_bid)), float(np.median(tape.perp_bid))
    ticks = [terms.price_tick for terms in inputs.terms()]
    least = [float(to_bps(tick / price)) / 2 for tick, price in zip(ticks, prices, strict=True)]
    stated = inputs.spot_half_spread_bps, inputs.perp_half_spread_bps
    spot, perp = (max(each) for each in zip(stated, least, strict=True))
    return replace(inputs, spot_half_spread_bps=spot, perp_half_spread_bps=perp)


def without(data: Path, error: Exception) -> str:
    """What an error says, without where the folder is and up to when it was read: an answer depends on neither."""
    return re.sub(r"#\S*\.\.\S*", "", str(error).replace(f"{data}/", "").replace(f"{data} ", "the folder "))
