"""Both legs of a pair in the folder that `download` and `record` write, with funding and order rules from beside them.

    data/<venue>/<market>/<pair>/<dataset>/     data/<venue>/<market>/rules.json

Quotes where both legs were recorded in the range, else candles, for which both half-spreads must be stated. The answer
is what one would have typed: paths with a range, so that a report says what it stands on.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from delta_arb.errors import ParamsError
from delta_arb.market import NS
from delta_arb.params import plain_pair
from delta_arb.quotes.files import files_of
from delta_arb.quotes.listings import READERS
from delta_arb.quotes.options import SPOT_MIN_USDT
from delta_arb.quotes.recorded import DatasetRange, is_recorded, parts

SETTLED_NS = 5 * NS  # what was received by then is on disk
MARKETS = {"spot": "spot", "perp": "perp"}
BARS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class DataRequest:
    """A pair at two venues and a range [since, until) in ns, below a folder; 0 is the beginning, and until now."""

    folder: Path
    pair: str
    spot_venue: str = "mexc"
    perp_venue: str = "gate"
    since_ns: int = 0
    until_ns: int = 0

    def market(self, leg: str) -> Path:
        return self.folder / (self.spot_venue if leg == "spot" else self.perp_venue) / MARKETS[leg]


def found(request: DataRequest, given: Mapping[str, object]) -> dict[str, object]:
    """The options of a run that reads it; what was given stays as it is.

    Args:
        given: other options by name, of which half-spreads, funding, rules and contract size matter here.

    Raises:
        ParamsError: nothing of the pair is there, or a question is open: half-spreads of candles, funding.
    """
    if not request.pair:
        raise ParamsError("name the pair, like --pair LUNC_USDT")
    settled_ns = time.time_ns() - SETTLED_NS
    request = replace(request, until_ns=min(request.until_ns or settled_ns, settled_ns) // NS * NS)
    quotes = {leg: _recorded(request, leg) for leg in MARKETS}
    chosen = quotes if all(quotes.values()) else _candles(request, quotes, given)
    made = {"pair": request.pair, **{leg: str(path) for leg, path in chosen.items()}}
    if not given.get("funding"):
        made["funding"] = str(_funding(request))
    return made | _rules(request, given)


def _within(request: DataRequest, folder: Path) -> DatasetRange:
    return DatasetRange(folder, request.since_ns, request.until_ns)


def _recorded(request: DataRequest, leg: str) -> DatasetRange | None:
    """The recorded quotes of a leg, where there are any in the range."""
    folder = request.market(leg) / plain_pair(request.pair) / "quotes"
    wanted = _within(request, folder)
    return wanted if is_recorded(folder) and any(part.table.num_rows for part in parts(wanted)) else None


def _candles(request: DataRequest, quotes: Mapping, given: Mapping) -> dict[str, DatasetRange]:
    bars = {leg: _bars(request, leg) for leg in MARKETS}
    common = sorted(bars["spot"].keys() & bars["perp"].keys(), key=_length_s)
    if not common:
        have = ", ".join(f"{leg}: {_told(quotes[leg], bars[leg])}" for leg in MARKETS)
        raise ParamsError(
            f"{request.folder} holds no quotes and no candles of one length of both legs of {request.pair} in that time ({have}); "
            "record or download them first"
        )
    if not (given.get("spot_half_spread_bps") and given.get("perp_half_spread_bps")):
        raise ParamsError(
            f"{request.folder} holds candles of {request.pair} ({common[0]}) and no quotes of both legs in that time; candles do "
            "not say where bid and ask were: how far were they from the last trade? --spot-half-spread-bps and "
            "--perp-half-spread-bps"
        )
    return {leg: bars[leg][common[0]] for leg in MARKETS}


def _bars(request: DataRequest, leg: str) -> dict[str, DatasetRange]:
    """Downloaded candles of a leg by their length, where there are months within the range."""
    folders = sorted((request.market(leg) / plain_pair(request.pair)).glob("candles_*"))
    ranges = {folder.name.partition("_")[2]: _within(request, folder) for folder in folders}
    return {bar: each for bar, each in ranges.items() if any(each.folder.glob("*.parquet")) and files_of(str(each))}


def _length_s(bar: str) -> int:
    return int(bar[:-1]) * BARS[bar[-1]] if bar[-1] in BARS else 30 * BARS["d"]


def _told(quotes: DatasetRange | None, bars: Mapping) -> str:
    return " and ".join(["quotes"] * bool(quotes) + [f"candles of {bar}" for bar in bars]) or "nothing"


def _funding(request: DataRequest) -> Path:
    folder = request.market("perp") / plain_pair(request.pair) / "funding"
    if not any(folder.glob("*.parquet")):
        raise ParamsError(
            f"{folder.parent} holds no settled funding; fetch it (delta-arb download --funding), or say that it is left out: "
            "--funding none"
        )
    return folder


def _rules(request: DataRequest, given: Mapping) -> dict[str, object]:
    """The venues' lists of instruments, where nothing else was said of what is in them."""
    said = {
        "spot": given.get("spot_rules") or given.get("spot_min_usdt", SPOT_MIN_USDT) != SPOT_MIN_USDT,
        "perp": given.get("perp_rules") or given.get("perp_step"),
    }
    venues = {"spot": request.spot_venue, "perp": request.perp_venue}
    files = {leg: request.market(leg) / "rules.json" for leg in MARKETS if not said[leg] and venues[leg] in READERS}
    return {f"{leg}_rules": str(path) for leg, path in files.items() if path.exists()}
