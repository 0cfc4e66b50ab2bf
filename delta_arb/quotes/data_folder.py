"""Both legs of a pair in the folder that `download` and `record` write, with funding and order rules from beside them.

    data/<venue>/<market>/<pair>/<dataset>/     data/<venue>/<market>/rules.json

Quotes where both legs were recorded in the range, and the trades recorded with them; else candles, for which both
half-spreads must be stated. The answer is what one would have typed: paths with a range, so that a report says what it stands on.

A folder behind a URL (s3://bucket/data) is copied to this disk as far as a range needs it. Files are named by their day or month,
so the names say what a range needs; each is fetched once, whole, and again only where size or time of change differ. What is
gone there goes here too. The copy is read as any folder, and the checksums in the files are verified as ever.
"""

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from delta_arb.errors import DataError, ParamsError
from delta_arb.market import NEVER, NS, plain_pair
from delta_arb.object_store import ObjectStore, StoredObject, is_url
from delta_arb.places import copies
from delta_arb.quotes.files import files_of
from delta_arb.quotes.listings import READERS
from delta_arb.quotes.options import SPOT_MIN_USDT
from delta_arb.quotes.recorded import MARK, DatasetRange, is_recorded, parts, within

SETTLED_NS = 5 * NS  # what was received by then is on disk
MARKETS = {"spot": "spot", "perp": "perp"}
RULES_FILE, CURRENCIES_FILE = "rules.json", "currencies.json"
PAIR_DATASET = re.compile(r"[^/]+/[^/]+/[^/]+_USDT/[^/]+")
COINS = "quantity=coins"
BARS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class DataRequest:
    """A pair at two venues and a range [since, until) in ns, below a folder; 0 is the beginning, and until now."""

    folder: Path | str
    pair: str
    spot_venue: str = "mexc"
    perp_venue: str = "gate"
    since_ns: int = 0
    until_ns: int = 0

    def market(self, leg: str) -> str:
        return f"{self.spot_venue if leg == 'spot' else self.perp_venue}/{MARKETS[leg]}"

    def dataset(self, leg: str, name: str) -> str:
        return f"{self.market(leg)}/{plain_pair(self.pair)}/{name}"


class _Source:
    """Where the datasets of a request are on this disk; what is behind a URL is fetched when it is asked for."""

    def __init__(self, request: DataRequest) -> None:
        self.request, self._copy = request, FolderCopy(str(request.folder)) if is_url(request.folder) else None
        self.folder = self._copy.local if self._copy else Path(request.folder)
        self._listed: dict[str, list[StoredObject]] = {}
        if self._copy:
            for leg in MARKETS:
                self._listed |= self._copy.folders(request.dataset(leg, "")[:-1])

    def dataset(self, leg: str, name: str, *, whole: bool = False) -> DatasetRange:
        """A dataset's folder with the range; with all its files in the range, or all of them."""
        wanted = self.request.dataset(leg, name)
        found = DatasetRange(self.folder / wanted, self.request.since_ns, self.request.until_ns)
        if self._copy:
            chosen = (lambda paths: paths) if whole else (lambda paths: _needed(found, paths))
            self._copy.bring(wanted, self._listed.get(wanted, ()), chosen)
        return found

    def bars(self, leg: str) -> list[DatasetRange]:
        """The datasets of candles."""
        pair = self.request.dataset(leg, "")
        here = (
            self._listed
            if self._copy
            else (str(f.relative_to(self.folder)) for f in self.folder.glob(f"{pair}candles_*"))
        )
        names = [name.removeprefix(pair) for name in here if name.startswith(f"{pair}candles_")]
        return [self.dataset(leg, name) for name in sorted(names)]

    def rules(self, leg: str) -> Path:
        """The venue's list of instruments; may not be there."""
        name = f"{self.request.market(leg)}/{RULES_FILE}"
        return self._copy.file(name) if self._copy else self.folder / name


def brought(url: str, venues: tuple[str, str], since_ns: int = 0, until_ns: int = 0) -> Path:
    """What a URL has of all pairs of two venues in a range, copied to this disk: the folder of the copy.

    Raises:
        ParamsError: an address that is none. StoreError: no answer, or refused.
    """
    copy, request = FolderCopy(url), DataRequest(url, "", *venues)
    for leg in MARKETS:
        market = request.market(leg)
        datasets = {name: of for name, of in copy.folders(market).items() if PAIR_DATASET.fullmatch(name)}
        copy.forget(market, {name.split("/")[2] for name in datasets})
        for name, objects in datasets.items():
            wanted = DatasetRange(copy.local / name, since_ns, until_ns or NEVER)
            whole = name.endswith("/funding")
            copy.bring(name, objects, lambda paths, whole=whole, of=wanted: paths if whole else _needed(of, paths))
        for name in (RULES_FILE, CURRENCIES_FILE):
            copy.file(f"{market}/{name}")
    return copy.local


def _needed(wanted: DatasetRange, paths: list[Path]) -> list[Path]:
    """Of a dataset's files those that a range reads, with what says that they were recorded."""
    return [path for path in paths if path.name == MARK] + within(wanted, [p for p in paths if p.suffix == ".parquet"])


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
    source = _Source(request)
    quotes = {leg: _recorded(source, leg, "quotes") for leg in MARKETS}
    chosen = quotes if all(quotes.values()) else _candles(source, quotes, given)
    made = {"pair": request.pair, **{leg: str(path) for leg, path in chosen.items()}}
    if chosen is not quotes and not given.get("perp_format"):
        made["perp_format"] = COINS  # download has multiplied by the contract size
    if not given.get("funding"):
        made["funding"] = str(_funding(source))
    return made | (_trades(source, given) if chosen is quotes else {}) | _rules(source, given)


def _trades(source: _Source, given: Mapping) -> dict[str, str]:
    """The recorded trades of both legs, by which resting orders fill, where no others were given."""
    asked = [leg for leg in MARKETS if not given.get(f"{leg}_trades")]
    return {f"{leg}_trades": str(found) for leg in asked if (found := _recorded(source, leg, "trades"))}


def _recorded(source: _Source, leg: str, name: str) -> DatasetRange | None:
    """The recorded quotes or trades of a leg, where there are any in the range."""
    wanted = source.dataset(leg, name)
    return wanted if is_recorded(wanted.folder) and any(part.table.num_rows for part in parts(wanted)) else None


def _candles(source: _Source, quotes: Mapping, given: Mapping) -> dict[str, DatasetRange]:
    folder, pair = source.request.folder, source.request.pair
    bars = {leg: _bars(source, leg) for leg in MARKETS}
    common = sorted(bars["spot"].keys() & bars["perp"].keys(), key=_length_s)
    if not common:
        have = ", ".join(f"{leg}: {_told(quotes[leg], bars[leg])}" for leg in MARKETS)
        raise ParamsError(
            f"{folder} holds no quotes and no candles of one length of both legs of {pair} in that time ({have}); "
            "record or download them first"
        )
    if not (given.get("spot_half_spread_bps") and given.get("perp_half_spread_bps")):
        raise ParamsError(
            f"{folder} holds candles of {pair} ({common[0]}) and no quotes of both legs in that time; candles do "
            "not say where bid and ask were: how far were they from the last trade? --spot-half-spread-bps and "
            "--perp-half-spread-bps"
        )
    return {leg: bars[leg][common[0]] for leg in MARKETS}


def _bars(source: _Source, leg: str) -> dict[str, DatasetRange]:
    """Downloaded candles of a leg by their length, where there are months within the range."""
    ranges = {each.folder.name.partition("_")[2]: each for each in source.bars(leg)}
    return {bar: each for bar, each in ranges.items() if any(each.folder.glob("*.parquet")) and files_of(str(each))}


def _length_s(bar: str) -> int:
    return int(bar[:-1]) * BARS[bar[-1]] if bar[-1] in BARS else 30 * BARS["d"]


def _told(quotes: DatasetRange | None, bars: Mapping) -> str:
    return " and ".join(["quotes"] * bool(quotes) + [f"candles of {bar}" for bar in bars]) or "nothing"


def _funding(source: _Source) -> Path:
    folder = source.dataset("perp", "funding", whole=True).folder
    if not any(folder.glob("*.parquet")):
        raise ParamsError(
            f"{source.request.folder} holds no settled funding of {source.request.pair}; fetch it (delta-arb download "
            "--funding), or say that it is left out: --funding none"
        )
    return folder


def _rules(source: _Source, given: Mapping) -> dict[str, object]:
    """The venues' lists of instruments, where nothing else was said of what is in them."""
    said = {
        "spot": given.get("spot_rules") or given.get("spot_min_usdt", SPOT_MIN_USDT) != SPOT_MIN_USDT,
        "perp": given.get("perp_rules") or given.get("perp_step"),
    }
    venues = {"spot": source.request.spot_venue, "perp": source.request.perp_venue}
    files = {leg: source.rules(leg) for leg in MARKETS if not said[leg] and venues[leg] in READERS}
    return {f"{leg}_rules": str(path) for leg, path in files.items() if path.exists()}


AT_ONCE = 8  # requests


class FolderCopy:
    """The copy of one URL: `local` is the folder, `fetched_bytes` what was fetched so far."""

    def __init__(self, url: str) -> None:
        self._store, self.fetched_bytes = ObjectStore(url), 0
        self.url = self._store.url
        place = f"{self.url} {os.environ.get('AWS_ENDPOINT_URL', '')}"
        self.local = copies() / hashlib.sha256(place.encode()).hexdigest()[:16]

    def folders(self, folder: str) -> dict[str, list[StoredObject]]:
        """The objects below a folder by the folder they are in."""
        found: dict[str, list[StoredObject]] = {}
        for each in self._store.listed(folder):
            found.setdefault(each.name.rpartition("/")[0], []).append(each)
        return found

    def bring(
        self, folder: str, objects: Sequence[StoredObject], wanted: Callable[[list[Path]], Iterable[Path]]
    ) -> None:
        """Of a folder's objects have those that `wanted` chooses by their paths here, as they are there now."""
        there = {self.local / each.name: each for each in objects}
        (self.local / folder).mkdir(parents=True, exist_ok=True)  # it is listed there, in the range or not
        for path in (self.local / folder).glob("*.*"):
            if path not in there:
                path.unlink(missing_ok=True)
        lacking = [there[path] for path in wanted(list(there)) if not _same(path, there[path])]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            self.fetched_bytes += sum(pool.map(self._fetch, lacking))

    def forget(self, folder: str, names: Collection[str]) -> None:
        """Below a folder, only these are there any more."""
        for path in (self.local / folder).glob("*"):
            if path.is_dir() and path.name not in names:
                shutil.rmtree(path)

    def file(self, name: str) -> Path:
        """One file, as it is there now, if it is there."""
        there = self._store.found(name)
        path = self.local / name
        if there is None:
            path.unlink(missing_ok=True)
        elif not _same(path, there):
            self.fetched_bytes += self._fetch(there)
        return path

    def _fetch(self, wanted: StoredObject) -> int:
        path = self.local / wanted.name
        content, _ = self._store.read(wanted.name, etag=wanted.etag)
        if len(content) != wanted.size:
            raise DataError(
                f"{self.url}/{wanted.name}: {len(content)} bytes came, {wanted.size} were listed; try again"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.utime(part, (wanted.modified.timestamp(),) * 2)
        os.replace(part, path)
        return len(content)


def _same(path: Path, there: StoredObject) -> bool:
    try:
        here = path.stat()
    except FileNotFoundError:
        return False
    return here.st_size == there.size and abs(here.st_mtime - there.modified.timestamp()) < 0.001
