"""`delta-arb download` at work: venues from the options, a progress bar, what is missing in words."""

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from delta_arb.collect import history_store
from delta_arb.collect.download import Coverage, Legs, Request, download
from delta_arb.collect.options import DownloadOptions
from delta_arb.collect.venue_history import VenueHistory
from delta_arb.live import config as configuration
from delta_arb.live import local_venues
from delta_arb.market import utc

LOCAL_VENUES = "local_venues"
SHOWN = 20  # lines about holes; the rest is in coverage.json


class Sources(NamedTuple):
    """Both venues by their names at ccxt, and what its constructors are handed."""

    spot: str
    perp: str
    ccxt: Mapping[str, Mapping[str, Any]]


def fetch(options: DownloadOptions) -> int:
    """The exit code: 0 once everything that the venues have is there, holes of theirs included."""
    options = options.checked()
    sources = _sources(options)
    legs = Legs(
        VenueHistory(sources.spot, history_store.SPOT, sources.ccxt.get(sources.spot, {})),
        VenueHistory(sources.perp, history_store.PERP, sources.ccxt.get(sources.perp, {})),
    )
    until_ms = options.until or round(datetime.now(UTC).timestamp() * 1000)
    request = Request(tuple(options.pair), options.since, until_ms, options.candles, options.funding, options.marks)
    with _progress(options) as bar:
        found = download(legs, request, options.out, lambda name: (bar.set_description(name), bar.update())[1])
    _report(options, found)
    if options.sandbox:
        local_venues.end(options.out / LOCAL_VENUES)  # a download that was broken off finds them as they were
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
