"""A universe at work: pairs of a folder -> first looks -> ranks -> second looks -> verdicts; and `delta-arb universe`.

Without a folder a small made one shows what a ranking looks like: seven pairs of hourly candles, 240 days. SYNTHETIC.
What was put in, by coin:
    STEADY    funding that pays 4.5 bps a day, every day
    SHUT      funding that pays twice as much, and deposits of the coin are closed: the cause of it
    SWING     a basis that comes back within hours and swings by hardly more than its costs
    QUIET     a basis that never moves by its costs
    WANDER    a random walk: what looks wide does not come back
    TWIN      two coins of one ticker
    LONELY    a perpetual that nobody downloaded
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.signal import lfilter

from delta_arb.collect.history import CANDLE_COLUMNS, FUNDING_COLUMNS, PERP, SPOT, Dataset, months
from delta_arb.collect.options import LOCAL_VENUES, apart
from delta_arb.command import moment, refused
from delta_arb.errors import DataError, ParamsError
from delta_arb.market import MS, NS, from_bps
from delta_arb.object_store import is_url
from delta_arb.places import placed, reports
from delta_arb.quotes.data_folder import CURRENCIES_FILE, RULES_FILE, brought
from delta_arb.quotes.inputs import Inputs, named
from delta_arb.quotes.options import InputOptions
from delta_arb.universe import reading
from delta_arb.universe.jobs import Engine, KeptJob, digest_of, engine, single_threaded
from delta_arb.universe.jobs import run as run_jobs
from delta_arb.universe.options import QUOTES, UniverseOptions
from delta_arb.universe.ranking import Universe, candidates, ranked
from delta_arb.universe.reading import Study, inputs_of, without
from delta_arb.universe.tables import findings, ranking, refusals, write_page

START_MS, HOURS = 1_735_689_600_000, 240 * 24  # 2025-01-01
HOUR_MS = 3_600_000
COINS_A_BAR = 4_000_000.0  # so that the size shown is no limit
# standard deviation of the basis in bps, its half-life in hours (inf: a walk, bps per root hour), funding in bps a stamp
MADE = {
    "STEADY": (3.0, 2.0, 1.5),
    "SHUT": (3.0, 2.0, 3.0),
    "SWING": (9.0, 4.0, 0.1),
    "QUIET": (1.0, 2.0, 0.0),
    "WANDER": (4.0, math.inf, 0.1),
    "TWIN": (3.0, 2.0, 0.1),
}


def write_example(data: Path, seed: int = 7) -> Path:
    """Write the made universe below a folder, as `download` would."""
    rng = np.random.default_rng(seed)
    for coin, (sd_bps, half_life_h, funding_bps) in MADE.items():
        price = _price(rng)
        other = _price(rng) if coin == "TWIN" else price
        basis = from_bps(_basis(rng, sd_bps, half_life_h))
        _candles(data, "mexc", SPOT, coin, price, rng)
        _candles(data, "gate", PERP, coin, other * (1 + basis), rng)
        stamps = START_MS + np.arange(0, HOURS, 8) * HOUR_MS
        rates = from_bps(funding_bps + rng.normal(0, 0.3, len(stamps)))
        _write(data, Dataset("gate", PERP, f"{coin}_USDT", "funding", FUNDING_COLUMNS), [stamps, rates])
    _candles(data, "mexc", SPOT, "LONELY", _price(rng), rng)
    _lists(data)
    return data


def _price(rng: np.random.Generator) -> np.ndarray:
    """A random walk of a tenth of 1 % a root hour, with one value more than there are bars."""
    return np.exp(np.cumsum(rng.normal(0, 0.003, HOURS + 1)))


def _basis(rng: np.random.Generator, sd_bps: float, half_life_h: float) -> np.ndarray:
    decay = 0.5 ** (1 / half_life_h)
    step = sd_bps * (math.sqrt(1 - decay**2) if decay < 1 else 1.0)
    return lfilter([1.0], [1.0, -decay], rng.normal(0, step, HOURS + 1))


def _candles(data: Path, venue: str, market: str, coin: str, price: np.ndarray, rng: np.random.Generator) -> None:
    """Bars from one value to the next; the open is a hair beside the last close, as where nobody stitches."""
    opened, closed = price[:-1] * (1 + rng.normal(0, 2e-5, HOURS)), price[1:]
    high, low = np.maximum(opened, closed) * 1.0005, np.minimum(opened, closed) * 0.9995
    coins = COINS_A_BAR * rng.uniform(0.5, 1.5, HOURS)
    stamps = START_MS + np.arange(HOURS) * HOUR_MS
    dataset = Dataset(venue, market, f"{coin}_USDT", "candles_1h", CANDLE_COLUMNS, HOUR_MS)
    _write(data, dataset, [stamps, opened, high, low, closed, coins])


def _write(data: Path, dataset: Dataset, columns: list[np.ndarray]) -> None:
    """A file a month, with the generator's mark."""
    for month in months(START_MS, START_MS + HOURS * HOUR_MS):
        rows = slice(*np.searchsorted(columns[0], (month.start_ms, month.end_ms)))
        stamps = pa.array(columns[0][rows] * (NS // 1000), pa.int64()).cast(pa.timestamp("ns", "UTC"))
        arrays = [stamps, *(pa.array(column[rows]) for column in columns[1:])]
        table = pa.table(dict(zip(dataset.columns, arrays, strict=True))).replace_schema_metadata({"synthetic": "true"})
        path = dataset.folder(data) / f"{month.name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)


def _lists(data: Path) -> None:
    """The venues' lists, as far as they are read: grids, and which coin's deposits are closed."""
    spot = [
        {"baseAsset": coin, "quoteAsset": "USDT", "status": "1", "isSpotTradingAllowed": True, "baseAssetPrecision": 2,
         "baseSizePrecision": "0.01", "quoteAmountPrecision": "1", "quoteAssetPrecision": 6}
        for coin in (*MADE, "LONELY")
    ]  # fmt: skip
    perp = [
        {"name": f"{coin}_USDT", "quanto_multiplier": "1", "order_size_min": "1", "order_price_round": "0.000001",
         "leverage_max": "20", "maintenance_rate": "0.01", "status": "trading", "in_delisting": False}
        for coin in MADE
    ]  # fmt: skip
    coins = {coin: {"deposit": coin != "SHUT", "withdraw": True} for coin in MADE}
    for venue, market, name, rows in (
        ("mexc", SPOT, RULES_FILE, spot),
        ("gate", PERP, RULES_FILE, perp),
        ("mexc", SPOT, CURRENCIES_FILE, coins),
    ):
        (data / venue / market / name).write_text(json.dumps(rows), encoding="utf-8")


JOBS, FOLDER = "jobs", "universe"
BASE_BYTES = 400_000_000  # of a worker: libraries, compiled code, bootstraps
ROW_BYTES = 500  # of a row of either file; 460 MB at most were measured at 240,000 rows
FIRST, SECOND = (f"delta_arb.universe.look:{name}" for name in ("first", "second"))
NOTEBOOK = (
    "data", "since", "until", "clip_usdt", "participation", "spot_maker_fee_bps", "look_back_h", "max_hold_h",
    "min_trades_day", "cluster", "workers",
)  # fmt: skip
Progress = Callable[[str], None]


def study_of(options: UniverseOptions) -> dict[str, Any]:
    """What every pair is asked in its first look, as JSON can say it (the fields of `look.Study`)."""
    given = {name: getattr(options, name) for name in QUOTES}
    changed = {f.name: given[f.name] for f in fields(InputOptions) if f.name in given and given[f.name] != f.default}
    hold_s = options.max_hold_h * 3600.0
    return {
        "since_ns": (options.since or 0) * MS,
        "until_ns": (options.until or 0) * MS,
        "inputs": changed,
        "rule": {"clip_usdt": options.clip_usdt, "participation": options.participation, "max_hold_s": hold_s},
        "demands": {"look_back_h": options.look_back_h, "max_hold_s": hold_s, "min_trades_day": options.min_trades_day},
        "maker_fee_bps": options.spot_maker_fee_bps,
        "pairs": 1,
        "first_share": 2 / 3,
    }


def options_of(values: Mapping[str, Any]) -> UniverseOptions:
    """The options that a namespace declares, like a notebook's; ParamsError naming what it lacks."""
    given = named(values, (*QUOTES, *NOTEBOOK))
    given |= {name: moment(text) if (text := given[name]) else None for name in ("since", "until")}
    return UniverseOptions(**given | {"data": placed(given["data"])})


def open_universe(values: Mapping[str, Any]) -> Universe:
    """The universe of such options; without a folder the made one, which is synthetic. Errors as `rank`."""
    options = options_of(values)
    if values["data"]:
        return rank(options, where(options) / JOBS)
    with TemporaryDirectory() as made:
        return rank(replace(options, data=str(write_example(Path(made, "data")))), Path(made, JOBS))


def rank(
    options: UniverseOptions, kept_in: Path, progress: Callable[[int], Progress] = lambda _: lambda __: None
) -> Universe:
    """The universe of a folder.

    Args:
        kept_in: folder of the result files.
        progress: of a number of jobs, what is called after each.

    Raises:
        ParamsError: no pairs, an open question of all of them, or more memory than there is.
        DataError: no pair of them can be judged.
        RunError: jobs that cannot be done; what is finished stays.
    """
    single_threaded()
    options = options.checked()
    study, venues = study_of(options), (options.spot_venue, options.perp_venue)
    bounds = study["since_ns"], study["until_ns"]
    data = brought(str(options.data), venues, *bounds) if is_url(options.data) else Path(options.data)
    listed = reading.listed(data, *venues)
    rows = reading.list_rows(data, *venues)
    against = {pair: reading.vetoes(pair, rows) for pair in listed}
    open_ = {pair: reading.unknown_of(pair, rows) for pair in listed}
    with engine(options.workers, options.cluster) as work:
        looks = [_job(FIRST, pair, study, data) for pair in listed]  # what they find does not depend on how many
        firsts = run_jobs(looks, kept_in, work, progress(len(looks)))
        if all("refused" in found for found in firsts):  # a wrong option, mostly: that no pair pays is another answer
            raise DataError(f"none of {len(firsts)} pairs can be judged; {firsts[0]['pair']}: {firsts[0]['refused']}")
        return _judged(options, looks, firsts, (against, open_), work, kept_in, progress)


def _judged(options, looks, firsts, lists, work: Engine, kept_in: Path, progress) -> Universe:
    """The second looks of all that the first did not exclude, and the verdicts."""
    ways = {f["pair"]: candidates(f, lists[0][f["pair"]]) for f in firsts}
    again = [
        replace(job, function=SECOND, parameters={**job.parameters, "pairs": len(looks), "ways": ways[job.name]})
        for job in looks
        if ways[job.name] and not options.quick
    ]
    seconds = run_jobs(again, kept_in, work, progress(len(again)))
    found = ranked(firsts, {s["pair"]: s for s in seconds}, *lists, digest_of([*firsts, *seconds]))
    return replace(found, asked=_spoken(options))


def _spoken(options: UniverseOptions) -> tuple[str, ...]:
    """What was asked, as pages say it."""
    return (
        f"spot at {options.spot_venue}, perpetuals at {options.perp_venue}; taker fees {options.spot_fee_bps:g} and "
        f"{options.perp_fee_bps:g} bps a fill, latencies {options.spot_latency} and {options.perp_latency} s",
        f"clip {options.clip_usdt:g} USDT, look-back {options.look_back_h:g} h, hold at most {options.max_hold_h:g} h, "
        f"at least {options.min_trades_day:g} trades a day; a resting spot leg is assumed to pay {options.spot_maker_fee_bps:g} bps",
    )


def _job(function: str, pair: str, study: Mapping[str, Any], data: Path) -> KeptJob:
    """The first look of a pair, with the digest of all that it reads; of a pair without quotes, of that answer."""
    try:
        inputs = inputs_of(Study(**study), pair, data)
        memory = BASE_BYTES + ROW_BYTES * _rows(inputs)
    except (DataError, ParamsError) as error:
        if "half-spread-bps" in str(error):  # one question of every pair
            raise
        return KeptJob(pair, function, {**study, "pair": pair}, without(data, error), {"data": str(data)})
    legs = ("spot", "perp") if inputs.funding == "none" else ("spot", "perp", "funding")
    digests = [inputs.digest(leg) for leg in legs]
    terms = [repr(each) for each in inputs.terms()]
    return KeptJob(pair, function, {**study, "pair": pair}, " ".join([*digests, *terms]), {"data": str(data)}, memory)


def _rows(inputs: Inputs) -> int:
    """Rows of both legs' files, from their footers; DataError naming one that is damaged."""
    return sum(_rows_of(path) for leg in ("spot", "perp") for path in _files(getattr(inputs, leg)))


def _rows_of(path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(path).num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is damaged ({error}); fetch it again") from None


def _files(leg: object) -> Iterable[Path]:
    folder = Path(str(leg).partition("#")[0])
    return sorted(folder.glob("*.parquet"))


def where(options: UniverseOptions) -> Path:
    """The folder of the page and the result files."""
    return reports(options.reports) / FOLDER


@contextmanager
def bars(silent: bool):
    """Progress bars on standard error, one for each round of jobs."""
    import sys

    from tqdm import tqdm

    opened = []

    def bar(total: int) -> Progress:
        opened.append(tqdm(total=total, unit=" pairs", disable=silent or not sys.stderr.isatty(), file=sys.stderr))
        return lambda name, on=opened[-1]: (on.set_description(name), on.update())[1]

    yield bar
    for each in opened:
        each.close()


PRINTED = 12
SANDBOX_BAR = "15m"
SANDBOX_HALF_SPREAD_BPS = 1.0


def session(options: UniverseOptions) -> int:
    """The exit code: 0 once every pair has its verdict."""
    try:
        return _session(options)
    except OSError as error:  # a folder that cannot be written, a full disk: nothing of it is ours to mend
        from delta_arb.report.run import spoken

        return refused(spoken(error), options.json, "failed", 1)


def _session(options: UniverseOptions) -> int:
    from delta_arb.report.index import refresh

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
        print(ranking(found, PRINTED), refusals(found, PRINTED), findings(found), f"page: {page}", sep="\n\n")
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
    from delta_arb.collect.options import DownloadOptions

    data = apart(Path(options.data), options.sandbox)
    since = options.since or round((time.time() - options.history_days * 86_400) * 1000) // 86_400_000 * 86_400_000
    same = {name: getattr(options, name) for name in ("until", "listings", "seed", "history_days", "json")}
    fetch(DownloadOptions(all=True, since=since, candles=SANDBOX_BAR, funding=True, out=data, sandbox=True, **same))
    stated = ((name, getattr(options, name)) for name in ("spot_half_spread_bps", "perp_half_spread_bps"))
    half = {name: bps or SANDBOX_HALF_SPREAD_BPS for name, bps in stated}
    return replace(options, since=since, data=str(data), **half)
