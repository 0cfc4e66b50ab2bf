"""What the numbers of a file say of themselves: which column is which price, coins or contracts, which row comes first."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from delta_arb.formats.arrays import floats, texts
from delta_arb.formats.layouts import CANDLES, COINS, CONTRACTS, FUNDING, MARKS, PRICES, TIME, TRADES, Layout

_SIDES = {"buy", "sell", "Buy", "Sell", "BUY", "SELL"}
_TIMES = 1e9  # a number above it may be a time, no price and no size is
_ENOUGH = 10  # rows that prove something about their order
_SIZES = 20  # different sizes that prove their grid
CHUNK = 8192  # rows at a time, whose temporaries stay near
_CONTRACT_VENUES = re.compile(
    r"gate.*fut|oke?x.*swap|mexc.*(fut|swap)|kucoin.*fut|(huobi|htx).*swap|(perp|swap)\.(gate|oke?x|kucoin|htx)"
)


def numbers(column: pa.ChunkedArray) -> np.ndarray | None:
    """A column as floats, or None where it does not hold numbers."""
    try:
        column = texts(column) if pa.types.is_dictionary(column.type) else column
        return floats(pc.cast(column, pa.float64()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def fits(table: pa.Table, layout: Layout) -> bool:
    """Whether a table with the columns of a layout can be one, by what its numbers are."""
    of = {ours: table[theirs] for ours, theirs in layout.columns.items()}
    if layout.book == "changes":
        return set(texts(of["action"].unique()).to_pylist()) <= {"set", "make", "take"}
    if layout.kind == MARKS and "volume" in of:
        return of["volume"].null_count == len(of["volume"])
    if layout.kind == TRADES and "side" in of and not set(texts(of["side"].unique()).to_pylist()) <= _SIDES:
        return False
    if not layout.width and not (layout.kind == FUNDING and "high" in of):
        return True
    values = {name: numbers(column) for name, column in of.items()}
    if layout.kind == FUNDING and "high" in of:
        return all(values[name] is not None and not np.any(values[name]) for name in (*PRICES[1:], "volume"))
    return _fits_places(layout, values)


def _fits_places(layout: Layout, values: dict[str, np.ndarray | None]) -> bool:
    """The same of columns that have no names, where a place alone proves nothing."""
    free = {"side", "sequence"}
    if any(column is None for name, column in values.items() if name not in free):
        return False
    if not (values[TIME] >= _TIMES).all() or any(
        (values[name] >= _TIMES).any() for name in (*PRICES, "price", "volume") if name in values
    ):
        return False
    if layout.kind == FUNDING:
        return bool(np.nanmax(np.abs(values["funding_rate"]), initial=0.0) < 1)
    if layout.kind != CANDLES:
        return True
    order = np.argsort(values[TIME], kind="stable")
    prices = [values[name][order] for name in PRICES]
    if np.isnan(values["volume"]).all():
        return False  # candles of a mark price, which nobody trades
    return (
        consistent(*prices)
        and swapped(prices[0], prices[3]) is not True
        and _not_a_price(values["volume"], values["close"])
    )


def consistent(open_, high, low, close) -> bool:
    """Whether the prices of nearly all bars lie as their names say, and of some bars in no other way."""
    inside = (high >= np.maximum(open_, close)) & (low <= np.minimum(open_, close))
    return bool(np.mean(inside) > 0.95) and bool(np.any(high > low))


def swapped(open_: np.ndarray, close: np.ndarray) -> bool | None:
    """Whether open and close change places: then each close, and not each open, continues the bar before. None: not clear."""
    if len(open_) < _ENOUGH:
        return None
    right, wrong = (float(np.nanmean(np.abs(step))) for step in (open_[1:] - close[:-1], close[1:] - open_[:-1]))
    if wrong * 2 < right:
        return True
    return False if right < wrong else None


def _not_a_price(volume: np.ndarray, close: np.ndarray) -> bool:
    """A volume differs from the price far more, or far more often, than prices of one bar do."""
    ratio = volume[close > 0] / close[close > 0]
    return not bool(np.mean(np.abs(ratio - 1) < 0.05) > 0.9)


def coins_a_unit(volume: np.ndarray, quote_volume: np.ndarray, close: np.ndarray) -> float | None:
    """Coins in one unit of volume by the turnover beside it; None where nothing was traded."""
    traded = (volume > 0) & (quote_volume > 0) & (close > 0)
    if traded.sum() < 2:
        return None
    return float(np.median(quote_volume[traded] / (volume[traded] * close[traded])))


def on_grid(sizes: np.ndarray, contract_size: float) -> str:
    """Whether sizes of a perpetual are coins or contracts, by the grid they lie on; "" where the grid does not tell.

    Contracts are whole numbers (of some venues tenths or hundredths), coins whole multiples of the contract size. Of two
    grids that both hold, sizes lie on the coarser one by chance as good as never.
    """
    if contract_size == 1:
        return ""
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if len(np.unique(sizes[:CHUNK])) < _SIZES and len(np.unique(sizes)) < _SIZES:
        return ""
    whole, multiples = _whole(sizes), _whole(sizes, contract_size)
    if contract_size > 1:
        return COINS if multiples else CONTRACTS if whole else ""
    if whole:
        return CONTRACTS
    return COINS if multiples and not _whole(sizes, 0.01) else ""


def _whole(sizes: np.ndarray, of: float = 1.0) -> bool:
    """Whether all are whole multiples; the first part that has others ends the search."""
    parts = (sizes[k : k + CHUNK] / of for k in range(0, len(sizes), CHUNK))
    return all((np.abs(part - np.rint(part)) <= 1e-6 * np.maximum(part, 1e-3)).all() for part in parts)


def trades_contracts(venue: str) -> bool:
    """Whether the sizes of a venue, as vendors name it, are contracts."""
    return bool(_CONTRACT_VENUES.search(venue.lower()))


def order_of(ts_ns: np.ndarray, least: int = 16) -> tuple[np.ndarray | None, str]:
    """The order that brings rows newest first into time order, and the words for it; None where they are not so.

    Fewer than `least` rows are too few to know that from a broken file.
    """
    if len(ts_ns) >= least and (np.diff(ts_ns) < 0).all():
        back = len(ts_ns) - 1
        return np.arange(back, -1, -1), f"newest row first, {back} of {len(ts_ns)} out_of_order: sorted by time"
    return None, ""
