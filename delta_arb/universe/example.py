"""A small made universe, to see what a ranking looks like: seven pairs of hourly candles, 240 days. SYNTHETIC.

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
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.signal import lfilter

from delta_arb.collect.history_store import CANDLE_COLUMNS, FUNDING_COLUMNS, PERP, SPOT, Dataset, months
from delta_arb.market import NS, from_bps
from delta_arb.quotes.data_folder import CURRENCIES_FILE, RULES_FILE

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
