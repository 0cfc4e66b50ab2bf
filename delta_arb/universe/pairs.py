"""The pairs of a folder that `download` and `record` wrote, and what their venues' lists say against trading them.

A veto is no column among others: closed deposits, a delisting and a market closed to API orders are often the very
cause of the basis that looks like a profit.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from delta_arb.errors import DataError, ParamsError
from delta_arb.quotes.data_folder import CURRENCIES_FILE, RULES_FILE, DataRequest

TRADING = {"", "1", "trading", "enabled", "online", "live", "open", "normal"}
OFF = {True, "true", "True"}


def listed(data: Path, spot_venue: str, perp_venue: str) -> list[str]:
    """Every pair that has a folder at one of the two markets: what was asked for is listed, whole or not.

    Raises:
        ParamsError: the folder holds no pair of these venues.
    """
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
