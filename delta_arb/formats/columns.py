"""A file's columns as arrays, and what they say of themselves: times, prices, coins or contracts, which rows in which order.

The unit of a time is proven by its range: between 2001 and 2286 a time is a number of 10 digits in s, 13 in ms, 16 in us
and 19 in ns, so no two units can be taken for each other. Text with decimals is read exactly, not as a float. Arrow's own
`to_numpy` loads pandas wherever it is installed; `integers` and `floats` do not.
"""

import re
from collections.abc import Mapping
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from delta_arb.errors import DataError
from delta_arb.formats.layouts import CANDLES, COINS, CONTRACTS, FUNDING, MARKS, PRICES, TIME, TRADES, Layout
from delta_arb.market import NS, utc


def integers(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """A column of integers without nulls."""
    pieces = [np.from_dlpack(chunk) for chunk in _chunks(column)]
    return np.concatenate(pieces) if len(pieces) != 1 else pieces[0]


def floats(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """A column of numbers as float64, null as NaN."""
    pieces = [np.from_dlpack(pc.fill_null(chunk.cast(pa.float64()), float("nan"))) for chunk in _chunks(column)]
    return np.concatenate(pieces) if len(pieces) != 1 else pieces[0]


def texts(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """A column as text, whatever it holds."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.string())


def _chunks(column: pa.ChunkedArray | pa.Array) -> list[pa.Array]:
    return column.chunks or [pa.array([], column.type)] if isinstance(column, pa.ChunkedArray) else [column]


UNITS = {"s": NS, "ms": NS // 10**3, "us": NS // 10**6, "ns": 1}
NAIVE = "naive"
_EARLIEST, _LATEST = 10**9, 10**10  # seconds: 2001-09-09 to 2286-11-20
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)")
_ZONED = re.compile(r"(Z|[+-]\d\d(:?\d\d)?)$")


def to_ns(column: pa.ChunkedArray, where: str, unit: str = "", zone: str = "") -> tuple[np.ndarray, str]:
    """The times as int64 ns UTC, and the unit they were in: "s" ... "ns", "UTC" of zoned text, or `NAIVE`.

    Args:
        where: file and column, for messages.
        unit: overrules what the range says.
        zone: of times that name none, like Europe/Amsterdam or +03:00; also of numbers that count local time.

    Raises:
        DataError: an empty cell, a number that is a time in no unit, text that is no time, a zone that does not exist,
            a local time that does not exist or exists twice in it.
    """
    if column.null_count:
        row = int(integers(column.is_null().cast(pa.uint8())).argmax())
        raise DataError(f"{where}, row {row} is empty; remove the row, its place in time is not known")
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type):
        return _typed(column, where, zone)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return _text(column, where, unit, zone)
    if pa.types.is_integer(column.type):
        return _local(*_whole(integers(column), where, unit), where, zone)
    if pa.types.is_floating(column.type):
        return _local(*_float(floats(column), where, unit), where, zone)
    raise DataError(f"{where} holds {column.type}; write UTC times or int64 nanoseconds")


def times(of: Mapping, path: str, options, name: str = TIME) -> tuple[np.ndarray, str, str]:
    """Times of a column in ns, their unit, and whose they are."""
    ns, unit = to_ns(of[name], f"{path}: {name}", options.time, options.zone)
    if options.zone:
        return ns, unit, f"local times of {options.zone}"
    return ns, unit, "times without a zone, taken as UTC" if unit == NAIVE else "UTC"


def _typed(column, where: str, zone: str) -> tuple[np.ndarray, str]:
    aware = column.type.tz is not None
    ns = integers(column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64()))
    if aware and zone:
        raise DataError(f"{where} names its own zone ({column.type.tz}); leave zone={zone} away")
    return (ns, "UTC") if aware else _local(ns, NAIVE, where, zone)


def _text(column, where: str, unit: str, zone: str) -> tuple[np.ndarray, str]:
    first = column[0].as_py().strip()
    try:
        if re.fullmatch(r"-?\d+", first):
            return _local(*_whole(integers(pc.cast(column, pa.int64())), where, unit), where, zone)
        if re.fullmatch(r"-?\d+\.\d*", first):
            return _local(*_decimal(column, where, unit), where, zone)
        if _ZONED.search(first) and ":" in first:
            if zone:
                raise DataError(f"{where} names its own zone ({first}); leave zone={zone} away")
            return integers(pc.cast(column, pa.timestamp("ns", "UTC")).cast(pa.int64())), "UTC"
        naive = pc.cast(column, pa.timestamp("ns"))
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{where}: {error}; write times like 2026-03-29 06:30:00+00:00, or whole numbers of one unit"
        ) from error
    return _local(integers(naive.cast(pa.int64())), NAIVE, where, zone)


def _whole(numbers: np.ndarray, where: str, unit: str) -> tuple[np.ndarray, str]:
    unit = unit or proven_unit(numbers, where)
    return numbers.astype(np.int64) * UNITS[unit], unit


def _float(numbers: np.ndarray, where: str, unit: str) -> tuple[np.ndarray, str]:
    """Numbers of 64-bit floats, which are exact to a microsecond and no further."""
    unit = unit or proven_unit(numbers, where)
    return np.rint(numbers * (UNITS[unit] / 1e3)).astype(np.int64) * 1000, unit


def _decimal(column, where: str, unit: str) -> tuple[np.ndarray, str]:
    unit = unit or proven_unit(floats(pc.cast(column, pa.float64())), where)
    exact = pc.cast(column, pa.decimal128(38, 9))
    scaled = pc.multiply(exact.cast(pa.decimal256(38, 9)), pa.scalar(UNITS[unit]).cast(pa.decimal256(19, 0)))
    return integers(scaled.cast(pa.decimal256(58, 0), safe=False).cast(pa.int64())), unit


def proven_unit(numbers: np.ndarray, where: str) -> str:
    """The unit in which all of these are times of this century and the next two; DataError where there is none."""
    low, high = float(np.min(numbers)), float(np.max(numbers))
    for unit, ns in UNITS.items():
        scale = NS // ns
        if _EARLIEST * scale <= low and high < _LATEST * scale:
            return unit
    raise DataError(
        f"{where} runs from {low:.0f} to {high:.0f}, which is a time in no one unit (s, ms, us, ns); "
        "name the column of the time (timestamp=NAME), or split a file that changes its unit"
    )


def _local(ns: np.ndarray, unit: str, where: str, zone: str) -> tuple[np.ndarray, str]:
    """Local time counted as if it were UTC, moved to UTC."""
    if not zone or zone.upper() == "UTC":
        return ns, unit
    if fixed := _OFFSET.fullmatch(zone):
        minutes = int(fixed[2]) * 60 + int(fixed[3])
        return ns - (minutes if fixed[1] == "+" else -minutes) * 60 * NS, unit
    try:
        ZoneInfo(zone)
        moved = pc.assume_timezone(pa.array(ns).cast(pa.timestamp("ns")), zone)
    except (KeyError, ValueError, OSError) as error:
        raise DataError(f"there is no time zone {zone!r}; give one like Europe/Amsterdam or +03:00") from error
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{where}: {error}; in {zone} that hour does not exist or exists twice, export the times in UTC"
        ) from error
    return integers(moved.cast(pa.int64())), unit


def shown(ns: np.ndarray) -> str:
    """First and last time, as words."""
    return f"{utc(int(ns.min()))} to {utc(int(ns.max()))} UTC"


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
    whole, multiples = _multiples(sizes), _multiples(sizes, contract_size)
    if contract_size > 1:
        return COINS if multiples else CONTRACTS if whole else ""
    if whole:
        return CONTRACTS
    return COINS if multiples and not _multiples(sizes, 0.01) else ""


def _multiples(sizes: np.ndarray, of: float = 1.0) -> bool:
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


_PERPETUAL = re.compile(r":[A-Z]+$|[-_ ](SWAP|PERP(ETUAL)?)$", re.IGNORECASE)  # as ccxt, OKX and others spell one
_ENDINGS = ("", "SWAP", "PERP", "PERPETUAL", "VANILLAPERPETUAL")


def chosen(of: dict[str, pa.ChunkedArray], path: str, options, context) -> tuple[dict[str, pa.ChunkedArray], list[str]]:
    """The rows of the venue and instrument that are meant, where a file holds several; DataError where that is not told."""
    notes: list[str] = []
    for name, wanted, matches in (
        ("venue", options.venue or context.venue, _is_venue),
        ("symbol", options.symbol or context.pair, _is_symbol),
    ):
        if name not in of:
            continue
        there = sorted(cell for cell in texts(of[name].unique()).to_pylist() if cell is not None)
        meant = [cell for cell in there if wanted and (cell == wanted or matches(cell, wanted))]
        meant = [wanted] if wanted in meant else meant
        if name == "symbol" and context.leg == "spot" and len(meant) == 1 and _PERPETUAL.search(meant[0]):
            raise DataError(
                f"{path} holds {meant[0]}, which is a perpetual, and was given as spot; exchange --spot and --perp"
            )
        if len(there) < 2:
            continue
        if len(meant) != 1:
            which = f"{len(meant)} of them like {wanted!r}" if wanted else "and none was named"
            raise DataError(
                f"{path} holds {len(there)} {name}s ({', '.join(there[:6])}{', ...' if len(there) > 6 else ''}), {which}; "
                f"say which: --{context.leg}-format {name}={there[0]}"
            )
        rows = pc.equal(texts(of[name]), meant[0])
        of = {column: cells.filter(rows) for column, cells in of.items()}
        notes.append(f"rows of {meant[0]}")
    return of, notes


def _letters(text: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", text.upper())


def _is_venue(cell: str, wanted: str) -> bool:
    return _letters(cell).startswith(_letters(wanted)) or _letters(wanted).startswith(_letters(cell))


def _is_symbol(cell: str, pair: str) -> bool:
    """Whether an instrument is a pair's, as venues spell it: SYN-USDT-SWAP, SYN/USDT:USDT, SYNUSDT Perpetual, SYN."""
    base, _, quote = pair.replace("/", "_").partition("_")
    both = _letters(base + quote)
    return _letters(cell) in {_letters(base), both + _letters(quote), *(both + ending for ending in _ENDINGS)}


def in_order(
    columns: Mapping[str, np.ndarray], sequence: pa.ChunkedArray | None, least: int = 16
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The rows by their own numbers where they have some, turned where the newest stands first, and words on it."""
    if sequence is not None and (numbered := numbers(sequence)) is not None:
        late = int((np.diff(numbered) < 0).sum())
        if not late:
            return dict(columns), []
        at, told = np.argsort(numbered, kind="stable"), f"{late} rows stood behind later ones: sorted by their numbers"
    else:
        at, told = order_of(columns[TIME], least)
        if at is None:
            return dict(columns), []
    return {name: column[at] for name, column in columns.items()}, [told]
