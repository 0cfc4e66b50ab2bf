"""`delta-arb universe` at work: made pairs fetched where asked for, progress bars, the table, the page, a line of JSON."""

import json
import time
from dataclasses import replace
from pathlib import Path

from delta_arb.collect.download import LOCAL_VENUES
from delta_arb.command import refused
from delta_arb.places import reports
from delta_arb.report.index import refresh
from delta_arb.report.run import spoken
from delta_arb.universe.options import UniverseOptions
from delta_arb.universe.ranking import Universe
from delta_arb.universe.run import FOLDER, JOBS, bars, rank
from delta_arb.universe.tables import findings, ranking, write_page

PRINTED = 12
SANDBOX_BAR = "15m"
SANDBOX_HALF_SPREAD_BPS = 1.0


def session(options: UniverseOptions) -> int:
    """The exit code: 0 once every pair has its verdict."""
    try:
        return _session(options)
    except OSError as error:  # a folder that cannot be written, a full disk: nothing of it is ours to mend
        return refused(spoken(error), options.json, "failed", 1)


def _session(options: UniverseOptions) -> int:
    if options.sandbox:
        options = _fetched(options)
    place = reports(options.reports) / FOLDER
    with bars(options.json) as progress:
        found = rank(options, place / JOBS, progress)
    made = options.sandbox or Path(options.data, LOCAL_VENUES).exists()
    found = replace(found, synthetic=found.synthetic or made)
    page = write_page(found, place, (options.spot_venue, options.perp_venue))
    refresh(place.parent)
    if not options.json:
        print(ranking(found, PRINTED), findings(found), f"page: {page}", sep="\n")
    else:
        print(json.dumps(line(found, page)), flush=True)
    return 0


def line(found: Universe, page) -> dict:
    return {
        "status": "ok", "pairs": len(found.pairs), "trade": [each.pair for each in found.trades], "tests": found.tests,
        "digest": found.digest, "page": str(page), "synthetic": found.synthetic,
    }  # fmt: skip


def _fetched(options: UniverseOptions) -> UniverseOptions:
    """The made pairs of the local venues, downloaded; half-spreads that are said of them, unless others are."""
    from delta_arb.collect.download import fetch
    from delta_arb.collect.options import DownloadOptions, apart

    data = apart(Path(options.data), options.sandbox)
    since = options.since or round((time.time() - options.history_days * 86_400) * 1000) // 86_400_000 * 86_400_000
    wanted = {"listings": options.listings, "seed": options.seed, "history_days": options.history_days}
    fetch(
        DownloadOptions(
            [],
            True,
            since,
            options.until,
            SANDBOX_BAR,
            True,
            out=data,
            sandbox=True,
            json=options.json,
            **wanted,
        )
    )
    half = {
        f"{leg}_half_spread_bps": getattr(options, f"{leg}_half_spread_bps") or SANDBOX_HALF_SPREAD_BPS
        for leg in ("spot", "perp")
    }
    return replace(options, since=since, data=str(data), **half)
