"""A file as somebody has it -> our columns as numpy arrays, with what was recognised.

What is wrong with a row (crossed, out of order, a hole) is not judged here but by the readers of quotes, candles and
funding. Here is decided what the columns are, and refused what nobody can know.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from delta_arb.errors import DataError
from delta_arb.formats import books, funding
from delta_arb.formats.columns import (
    NAIVE,
    chosen,
    coins_a_unit,
    in_order,
    integers,
    numbers,
    on_grid,
    swapped,
    texts,
    times,
    to_ns,
    trades_contracts,
)
from delta_arb.formats.containers import head, whole
from delta_arb.formats.layouts import (
    BOOK,
    CANDLES,
    COINS,
    CONTRACTS,
    FUNDING,
    MARKS,
    NUMBERS,
    PRICES,
    QUOTES,
    RECEIVER,
    TIME,
    TRADES,
    VENUE,
    VENUE_TIME,
    Layout,
)
from delta_arb.formats.raw_table import RawTable, of_frame
from delta_arb.formats.recognise import FormatOptions, recognised


@dataclass(frozen=True, slots=True)
class LegContext:
    """What the caller knows of a leg: its name in the options, the pair and venue (which rows), its contract size."""

    leg: str = "spot"
    pair: str = ""
    venue: str = ""
    contract_size: float = 1.0


ANY_LEG = LegContext()


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a file was taken for.

    `time` is the unit of its times or UTC, `zone` whose they are, `quantity` COINS, CONTRACTS or "" (as declared),
    `clock` RECEIVER or VENUE of quotes, else "".
    """

    layout: str
    kind: str
    time: str
    zone: str
    quantity: str = ""
    clock: str = ""
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        unit = "" if self.time in ("UTC", NAIVE) else f"times in {self.time}, "
        words = [self.layout, f"{unit}{self.zone}"]
        words += [f"{self.clock}'s clock"] * bool(self.clock) + [f"sizes in {self.quantity}"] * bool(self.quantity)
        return "; ".join((", ".join(words), *self.notes))


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """Columns of ours, shape (n,) each, in time order as far as the file's order can be told; `timestamp` int64 ns UTC."""

    columns: dict[str, np.ndarray]
    recognised: Recognised

    def __len__(self) -> int:
        return len(self.columns[TIME])


def kind_of(path: str | Path, options: FormatOptions, context: LegContext) -> str:
    """What a file holds: quotes, candles, funding, trades or marks; DataError as `read`."""
    return recognised(head(path), _of_leg(options, context), context.leg).kind


def read(path: str | Path, kind: str, options: FormatOptions, context: LegContext) -> Reading:
    """The columns of one file of a kind.

    Raises:
        DataError: a file that is not there, cannot be read, is of another kind or of no layout we know, or holds
            something that its bytes do not tell; the message asks for it and names the option that says it.
    """
    return _read(head(path), lambda columns, numbers: whole(path, columns, numbers), kind, options, context)


def read_frame(frame, kind: str, options: FormatOptions, context: LegContext) -> Reading:
    """The same of a pandas table whose columns, or index, have usual names."""
    raw = of_frame(frame, f"the {context.leg} table")
    return _read(raw, lambda columns, numbers: raw, kind, options, context)


def _of_leg(options: FormatOptions, context: LegContext) -> FormatOptions:
    """What is said with the leg's venue, which names the columns of wide tables."""
    return options if options.venue else replace(options, venue=context.venue)


def _read(begin: RawTable, rest: Callable, kind: str, options: FormatOptions, context: LegContext) -> Reading:
    layout = recognised(begin, _of_leg(options, context), context.leg)
    if layout.kind != kind:
        raise DataError(
            f"{begin.path} holds {layout.kind} ({layout.name}), {kind} are needed here; give another file, or --{context.leg}-format"
        )
    numeric = [layout.columns[name] for name in layout.columns if name in NUMBERS]
    raw = begin if begin.whole else rest(tuple(layout.columns.values()), numeric)
    of = {ours: raw.table[theirs] for ours, theirs in layout.columns.items()}
    of, notes = chosen(of, begin.path, options, context)
    if not len(next(iter(of.values()))):
        raise DataError(f"{begin.path} has no rows; give a recording that contains {kind}")
    return _KINDS[kind](of, layout, begin.path, options, context, notes)


def _floats(of: Mapping, names, path: str) -> dict[str, np.ndarray]:
    found = {}
    for name in names:
        if name in of:
            found[name] = numbers(of[name])
            if found[name] is None:
                kind = str(of[name].type).replace("large_string", "text").replace("string", "text")
                raise DataError(
                    f"{path}: {name} holds {kind} like {of[name][0].as_py()!r}, not numbers; name another column"
                )
    return found


# --- quotes ----------------------------------------------------------------------------------------------------------


def _quotes(of, layout: Layout, path: str, options: FormatOptions, context: LegContext, notes: list[str]) -> Reading:
    if layout.book:
        return _book(of, layout, path, options, context, notes)
    clock = options.clock or layout.clock or RECEIVER
    stamp = VENUE_TIME if clock == VENUE and VENUE_TIME in of else TIME
    ns, unit, zone = times(of, path, options, stamp)
    columns = {TIME: ns, **_floats(of, BOOK, path)}
    if clock == RECEIVER and VENUE_TIME in of:
        if blank := of[VENUE_TIME].null_count:
            notes.append(f"the venue's stamp is blank in {blank} rows and is not used")
        else:
            columns[VENUE_TIME] = times(of, path, options, VENUE_TIME)[0]
            _refuse_one_clock(columns, path, context)
    if "bid_quantity" not in columns:
        columns |= {name: np.full(len(ns), float(options.size or "nan")) for name in ("bid_quantity", "ask_quantity")}
        notes.append(f"sizes as stated: {options.size} coins" if options.size else "has no sizes")
    columns, order = in_order(columns, of.get("sequence"))
    quantity = COINS if options.size else _quantity(of, layout, options, context, columns["bid_quantity"])
    if np.isfinite(columns["bid_quantity"]).any():
        _refuse_unknown(quantity, path, context)
    return Reading(columns, Recognised(layout.name, QUOTES, unit, zone, quantity, clock, (*notes, *order)))


def _refuse_one_clock(columns: Mapping[str, np.ndarray], path: str, context: LegContext) -> None:
    """Two columns of one clock: then nobody has written down when a quote arrived."""
    if len(columns[TIME]) >= 16 and (columns[TIME] == columns[VENUE_TIME]).all():
        raise DataError(
            f"{path}: the receiver's stamps are the venue's in every row, so nobody knows when a quote arrived; say so "
            f"with --{context.leg}-format clock=venue and --{context.leg}-feed-latency SECONDS"
        )


def _book(of, layout: Layout, path: str, options: FormatOptions, context: LegContext, notes: list[str]) -> Reading:
    clock = options.clock or layout.clock or RECEIVER
    if layout.book == "events":
        rows, clock = books.events(of)
        unit, zone = "ns", "UTC"
    else:
        ns, unit, zone = times(of, path, options, VENUE_TIME if clock == VENUE and VENUE_TIME in of else TIME)
        back = np.flatnonzero(np.diff(ns) < 0)
        if len(back):
            raise DataError(
                f"{path}, row {back[0] + 1}: updates of a book go back in time, and applied in that order they make another book; "
                "sort them as they came (their order within one stamp counts)"
            )
        of = of | {name: pa.array(column) for name, column in _floats(of, ("price", "quantity"), path).items()}
        rows = books.sizes(ns, of) if layout.book == "sizes" else books.changes(ns, of)
    stamps, columns = books.best_quotes(rows, path)
    quantity = _quantity(of, layout, options, context, columns["bid_quantity"])
    _refuse_unknown(quantity, path, context)
    notes = (*notes, "best quotes of a book made of its updates")
    return Reading({TIME: stamps, **columns}, Recognised(layout.name, QUOTES, unit, zone, quantity, clock, notes))


def _quantity(of, layout: Layout, options: FormatOptions, context: LegContext, sizes: np.ndarray) -> str:
    """What a unit of size is: as said, as the layout has it, as its venue has it, or as the sizes' own grid shows."""
    if options.quantity:
        return options.quantity
    if context.contract_size == 1:
        return COINS if layout.quantity == COINS else ""
    if layout.quantity:
        return layout.quantity
    if "venue" in of and trades_contracts(str(of["venue"][0].as_py())):
        return CONTRACTS
    return on_grid(sizes, context.contract_size)


def _refuse_unknown(quantity: str, path: str, context: LegContext) -> None:
    if not quantity and context.contract_size != 1:
        raise DataError(
            f"{path}: nothing in it tells whether its sizes are coins or contracts of {context.contract_size:g}; say so with "
            f"--{context.leg}-format quantity=coins (or quantity=contracts)"
        )


# --- candles ---------------------------------------------------------------------------------------------------------


def _candles(of, layout: Layout, path: str, options: FormatOptions, context: LegContext, notes: list[str]) -> Reading:
    ns, unit, zone = times(of, path, options)
    columns = {TIME: ns, **_floats(of, (*PRICES, "volume", "quote_volume"), path)}
    columns, order = in_order(columns, None)
    columns[TIME], label = _opening(columns, of, path, options, context)
    notes = [*notes, *[layout.note] * bool(layout.note), *order, *label]
    if "open" in columns and swapped(columns["open"], columns["close"]):
        raise DataError(
            f"{path}: each close continues the open before it and not the other way, so open and close are swapped; say which "
            f"is which, like --{context.leg}-columns open=close,close=open"
        )
    turnover = columns.pop("quote_volume", None)
    if "volume" not in columns:
        return Reading(columns, Recognised(layout.name, CANDLES, unit, zone, "", "", tuple(notes)))
    quantity = _quantity(of, layout, options, context, columns["volume"])
    if turnover is not None and not options.quantity:
        quantity, told = _by_turnover(columns, turnover, quantity, path, context)
        notes += told
    _refuse_unknown(quantity, path, context)
    if quantity == "quote":
        columns["volume"], quantity = columns["volume"] / columns["close"], COINS
        notes.append("volume in USDT, divided by the close")
    return Reading(columns, Recognised(layout.name, CANDLES, unit, zone, quantity, "", tuple(notes)))


def _opening(columns, of, path: str, options: FormatOptions, context: LegContext) -> tuple[np.ndarray, list[str]]:
    """The openings of the bars, where they are stamped with their close."""
    ns = columns[TIME]
    if len(ns) < 2:
        return ns, []
    steps, counts = np.unique(np.diff(ns), return_counts=True)
    bar_ns = int(steps[counts.argmax()])
    label = options.label
    if "known" in of and not label:
        behind = int(
            np.median(to_ns(of["known"], f"{path}: ts_init")[0] - np.sort(to_ns(of[TIME], f"{path}: ts_event")[0]))
        )
        if behind != bar_ns:
            raise DataError(
                f"{path}: ts_event is the opening or the close of a bar, as its writer chose, and ts_init {behind / 1e9:g} s "
                f"behind it does not tell; say --{context.leg}-format label=open or label=close"
            )
    if label != "close":
        return ns, []
    return ns - bar_ns, [f"stamped with the bar's close, moved by {bar_ns / 1e9:g} s"]


def _by_turnover(columns, turnover: np.ndarray, quantity: str, path: str, context: LegContext) -> tuple[str, list[str]]:
    """Coins or contracts, as the turnover beside the volume proves."""
    unit = coins_a_unit(columns["volume"], turnover, columns["close"])
    if unit is None:
        return quantity, []
    for name, coins in ((COINS, 1.0), (CONTRACTS, context.contract_size)):
        if abs(unit / coins - 1) < 0.2:
            return name, [f"volume in {name}, proven by the turnover"]
    raise DataError(
        f"{path}: by its turnover a unit of volume is {unit:.6g} coins, neither 1 nor the contract size of {context.contract_size:g}; "
        f"correct --contract-size, or say --{context.leg}-format quantity=coins, contracts or quote"
    )


# --- others ----------------------------------------------------------------------------------------------------------


def _funding(of, layout: Layout, path: str, options: FormatOptions, context: LegContext, notes: list[str]) -> Reading:
    found, unit, zone, told = funding.settlements(of, layout, path, options)
    notes = (*notes, *[layout.note] * bool(layout.note), *told)
    return Reading(found, Recognised(layout.name, FUNDING, unit, zone, "", "", notes))


def _marks(of, layout: Layout, path: str, options: FormatOptions, context: LegContext, notes: list[str]) -> Reading:
    ns, unit, zone = times(of, path, options)
    columns, order = in_order({TIME: ns, **_floats(of, ("mark_price",), path)}, None)
    return Reading(columns, Recognised(layout.name, MARKS, unit, zone, "", "", (*notes, *order)))


def _trades(of, layout: Layout, path: str, options: FormatOptions, context: LegContext, notes: list[str]) -> Reading:
    ns, unit, zone = times(of, path, options)
    columns = {TIME: ns, **_floats(of, ("price", "quantity"), path)}
    columns["buyer"] = _takers_bought(of, columns["quantity"], path)
    columns["quantity"] = np.abs(columns["quantity"])
    columns, order = in_order(columns, None)
    quantity = _quantity(of, layout, options, context, columns["quantity"])
    _refuse_unknown(quantity, path, context)
    return Reading(columns, Recognised(layout.name, TRADES, unit, zone, quantity, "", (*notes, *order)))


_BOUGHT, _SOLD = {"buy", "b", "buyer"}, {"sell", "s", "seller"}


def _takers_bought(of, quantity: np.ndarray, path: str) -> np.ndarray:
    """Whether the taker bought, by a column of sides, of makers, or by the sign of the size."""
    if "seller" in of:
        return np.array([cell.lower() not in ("true", "1") for cell in texts(of["seller"]).to_pylist()])
    if "aggressor" in of:
        return integers(pc.cast(of["aggressor"], pa.int64())) == 1
    if "side" in of:
        sides = [str(cell).lower() for cell in texts(of["side"]).to_pylist()]
        if strange := set(sides) - _BOUGHT - _SOLD:
            raise DataError(
                f"{path}: a side is buy or sell, the taker's, was {min(strange)}; drop such rows, or correct them"
            )
        return np.array([side in _BOUGHT for side in sides])
    if (quantity < 0).any():
        return quantity > 0
    raise DataError(f"{path}: nothing tells which side took; name the column (side=NAME)")


_KINDS = {QUOTES: _quotes, CANDLES: _candles, FUNDING: _funding, MARKS: _marks, TRADES: _trades}
