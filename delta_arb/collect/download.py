"""`delta-arb download`: months of candles and funding of the pairs that two venues have in common, into `data/`, resumable.

Each venue is asked by a thread of its own. A pair's months are written one after the other, so a call that was killed
loses at most the month it was in; the next one asks only for what is missing. At the end every range that was asked for
is checked against what is there, and holes are said.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from delta_arb.collect import history
from delta_arb.collect.history import (
    CANDLE_COLUMNS,
    FUNDING_COLUMNS,
    PERP,
    SPOT,
    Dataset,
    Listed,
    Month,
    Row,
    Stored,
    VenueHistory,
    months,
    read,
    write,
)
from delta_arb.collect.options import LOCAL_VENUES, DownloadOptions
from delta_arb.errors import ParamsError
from delta_arb.live import config as configuration
from delta_arb.live import local_venues
from delta_arb.market import utc
from delta_arb.quotes.data_folder import CURRENCIES_FILE, RULES_FILE


class Legs(NamedTuple):
    """The two venues of a download."""

    spot: VenueHistory
    perp: VenueHistory


@dataclass(frozen=True, slots=True)
class Request:
    """What is downloaded: pairs (none: all in common), a range [since, until) in ms UTC, the bar, and what beside it."""

    pairs: tuple[str, ...]
    since_ms: int
    until_ms: int
    bar: str = "1m"
    funding: bool = True
    marks: bool = False


@dataclass(frozen=True, slots=True)
class Coverage:
    """What of a dataset's range is there: rows, and the ranges [start, end) in ms that the venue does not have."""

    dataset: str
    rows: int
    missing: tuple[tuple[int, int], ...]


Progress = Callable[[str], None]


def download(legs: Legs, request: Request, data: Path, done: Progress = lambda _: None) -> list[Coverage]:
    """Fetch what is missing of a request.

    Args:
        data: folder that holds `<venue>/<market>/<pair>/<dataset>/<month>.parquet`.
        done: called after each month of a dataset with its name.

    Returns:
        Coverage of every dataset, in order of venue and pair; also written to `<venue>/<market>/coverage.json`.

    Raises:
        ParamsError: a pair that one venue does not list, or a range that one of them does not serve.
        RunError: a venue stopped answering; what is complete stays.
        DataError: a file that is there is damaged.
    """
    listed = [leg.listed() for leg in legs]
    pairs = _common(request.pairs, *listed)
    until_ms = min(request.until_ms, *(leg.now_ms() for leg in legs))
    for leg in legs:
        leg.check(bar=request.bar, start_ms=request.since_ms, mark=request.marks and leg.market == PERP)
    with ThreadPoolExecutor(len(legs)) as pool:
        jobs = [
            pool.submit(_venue, leg, [have[pair] for pair in pairs], request, until_ms, data, done)
            for leg, have in zip(legs, listed, strict=True)
        ]
        try:
            return [covered for job in jobs for covered in job.result()]
        except KeyboardInterrupt:
            for leg in legs:
                leg.stopped.set()
            raise


def _common(asked: Sequence[str], spot: Mapping[str, Listed], perp: Mapping[str, Listed]) -> list[str]:
    both = sorted(pair for pair in spot.keys() & perp.keys() if spot[pair].active and perp[pair].active)
    if not asked:
        return both
    for pair in asked:
        lacking = [
            name for name, have in (("the spot venue", spot), ("the perpetual's venue", perp)) if pair not in have
        ]
        if lacking:
            raise ParamsError(
                f"{pair} is not listed at {' nor at '.join(lacking)}; {len(both)} pairs are listed at both"
            )
    return list(asked)


def _venue(
    leg: VenueHistory, pairs: Iterable[Listed], request: Request, until_ms: int, data: Path, done: Progress
) -> list[Coverage]:
    """Everything that one venue is asked for."""
    _keep_rules(leg, data)
    found = [covered for pair in pairs for covered in _pair(leg, pair, request, until_ms, data, done)]
    report = data / leg.venue / leg.market / "coverage.json"
    report.write_text(json.dumps([asdict(covered) for covered in found], indent=1), encoding="utf-8")
    return found


def _keep_rules(leg: VenueHistory, data: Path) -> None:
    """The venue's list of instruments, as `--spot-rules` and `--perp-rules` read it, and which coins can be moved."""
    folder = data / leg.venue / leg.market
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RULES_FILE).write_text(json.dumps(leg.rules()), encoding="utf-8")
    (folder / CURRENCIES_FILE).write_text(json.dumps(leg.wallets()), encoding="utf-8")


def _pair(
    leg: VenueHistory, pair: Listed, request: Request, until_ms: int, data: Path, done: Progress
) -> list[Coverage]:
    bar_ms = leg.bar_ms(request.bar)
    start_ms, end_ms = request.since_ms // bar_ms * bar_ms, until_ms // bar_ms * bar_ms  # the last bar is still open
    found = []
    for mark in (False, True) if request.marks and leg.market == PERP else (False,):
        kind = f"{'mark' if mark else 'candles'}_{request.bar}"
        dataset = Dataset(leg.venue, leg.market, pair.pair, kind, CANDLE_COLUMNS, bar_ms, leg.synthetic)

        def bars(a_ms: int, b_ms: int, mark: bool = mark) -> list[Row]:
            page = lambda x, y: leg.candles(pair, request.bar, x, y, mark=mark)  # noqa: E731
            return history.candles(page, a_ms, b_ms, bar_ms, leg.page_bars)

        rows = _dataset(dataset, start_ms, end_ms, bars, data, done)
        found.append(Coverage(str(dataset), len(rows), tuple(history.gaps(rows, start_ms, end_ms, bar_ms))))
    if request.funding and leg.market == PERP:
        found.append(keep_funding(leg, pair, start_ms, end_ms, data, done))
    return found


def keep_funding(
    leg: VenueHistory, pair: Listed, start_ms: int, end_ms: int, data: Path, done: Progress = lambda _: None
) -> Coverage:
    """The settled funding of a pair in [start_ms, end_ms), of which what is missing is fetched; errors as `download`."""
    dataset = Dataset(leg.venue, leg.market, pair.pair, "funding", FUNDING_COLUMNS, synthetic=leg.synthetic)
    rows = _dataset(dataset, start_ms, end_ms, partial(leg.funding, pair), data, done)
    return Coverage(str(dataset), len(rows), tuple(history.missing_settlements(rows, start_ms, end_ms)))


def _dataset(
    dataset: Dataset, start_ms: int, end_ms: int, fetch: Callable[[int, int], list[Row]], data: Path, done: Progress
) -> list[int]:
    """Complete every month of a dataset; returns the stamps within the range, ms."""
    stamps: list[int] = []
    for month in months(start_ms, end_ms):
        path = dataset.folder(data) / f"{month.name}.parquet"
        stored = _completed(read(path), month, fetch)
        if stored is not None:
            write(path, dataset.columns, stored, dataset.synthetic)
        rows = (stored or read(path)).rows
        stamps += [int(row[0]) for row in rows if month.start_ms <= row[0] < month.end_ms]
        done(f"{dataset} {month.name}")
    return stamps


def _completed(stored: Stored | None, month: Month, fetch: Callable[[int, int], list[Row]]) -> Stored | None:
    """The month with what was missing; None where nothing was."""
    if stored is None:
        return Stored(month.start_ms, month.end_ms, tuple(fetch(month.start_ms, month.end_ms)))
    head = fetch(month.start_ms, stored.start_ms) if month.start_ms < stored.start_ms else []
    tail = fetch(stored.end_ms, month.end_ms) if stored.end_ms < month.end_ms else []
    if month.start_ms >= stored.start_ms and month.end_ms <= stored.end_ms:
        return None
    start_ms, end_ms = min(month.start_ms, stored.start_ms), max(month.end_ms, stored.end_ms)
    return Stored(start_ms, end_ms, (*head, *stored.rows, *tail))


SHOWN = 20  # lines about holes; the rest is in coverage.json


class Sources(NamedTuple):
    """Both venues by their names at ccxt, and what its constructors are handed."""

    spot: str
    perp: str
    ccxt: Mapping[str, Mapping[str, Any]]


def fetch(options: DownloadOptions) -> int:
    """The exit code: 0 once everything that the venues have is there, holes of theirs included."""
    options = options.checked()
    if not options.sandbox:
        return _fetched(options)
    with local_venues.ending(options.out / LOCAL_VENUES):
        return _fetched(options)


def _fetched(options: DownloadOptions) -> int:
    sources = _sources(options)
    legs = Legs(
        VenueHistory(sources.spot, SPOT, sources.ccxt.get(sources.spot, {})),
        VenueHistory(sources.perp, PERP, sources.ccxt.get(sources.perp, {})),
    )
    legs.spot.synthetic = legs.perp.synthetic = options.sandbox
    until_ms = options.until or round(datetime.now(UTC).timestamp() * 1000)
    request = Request(tuple(options.pair), options.since, until_ms, options.candles, options.funding, options.marks)
    with _progress(options) as bar:
        found = download(legs, request, options.out, lambda name: (bar.set_description(name), bar.update())[1])
    _report(options, found)
    return 0


def _sources(options: DownloadOptions) -> Sources:
    if options.sandbox:
        words = ["--listings", str(options.listings), "--seed", str(options.seed), "--repeat"]
        started, _ = local_venues.start(
            options.out / LOCAL_VENUES, [*words, "--history-days", f"{options.history_days:g}"]
        )
        return Sources("mexc", "gate", started.ccxt)
    if options.config:
        told = configuration.read(options.config)
        return Sources(told.spot.venue, told.perp.venue, {leg.venue: leg.ccxt for leg in (told.spot, told.perp)})
    return Sources(options.spot, options.perp, {})


def _progress(options: DownloadOptions):
    from tqdm import tqdm

    return tqdm(unit=" months", disable=options.json or not sys.stderr.isatty(), file=sys.stderr)


def _report(options: DownloadOptions, found: list[Coverage]) -> None:
    holes = [(covered.dataset, hole) for covered in found for hole in covered.missing]
    rows = sum(covered.rows for covered in found)
    print(f"{len(found)} datasets, {rows} rows in {options.out}; {len(holes)} ranges that the venues do not have")
    for dataset, (start_ms, end_ms) in holes[:SHOWN]:
        print(f"  {dataset}: nothing from {utc(start_ms * 10**6)} to {utc(end_ms * 10**6)}")
    if len(holes) > SHOWN:
        print(f"  and {len(holes) - SHOWN} more; all are in coverage.json of each venue")
    if options.json:
        line = {
            "status": "ok",
            "datasets": len(found),
            "rows": rows,
            "holes": len(holes),
            "folder": str(Path(options.out)),
        }
        print(json.dumps(line))
