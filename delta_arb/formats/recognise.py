"""Which layout a table is in, by its header and shape; what the user says overrules.

`FormatOptions` is what `--spot-format` and `--spot-columns` say (and those of the other legs and of funding):

    --spot-format  "binance klines"                     a layout's name
    --perp-format  "time=ms,zone=Europe/Amsterdam"      facts, after a layout's name or alone
    --spot-columns "bid_price=bid,ask_price=ask"        ours=theirs, where the names mislead
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from delta_arb.errors import DataError, ParamsError
from delta_arb.formats.columns import fits
from delta_arb.formats.layouts import LAYOUTS, NAMES, NEEDED, Layout
from delta_arb.formats.raw_table import RawTable, clean

ALLOWED: Mapping[str, tuple[str, ...]] = {
    "time": ("s", "ms", "us", "ns"),
    "label": ("open", "close"),
    "quantity": ("coins", "contracts", "quote"),
    "rate": ("fraction", "percent", "bps"),
    "clock": ("receiver", "venue"),
    "settles": ("first", "after"),
    "indicative": ("accept",),
}


@dataclass(frozen=True, slots=True)
class FormatOptions:
    """What a user says of a file; empty where the file is to speak for itself.

    Args:
        layout: a layout's name.
        columns: ours -> the file's, in one spelling.
        time: unit of the times that are numbers.
        zone: of times that name none, like Europe/Amsterdam or +03:00.
        label: whether a bar is stamped with its opening or its close.
        quantity: what sizes and volumes are: coins, contracts, or quote currency.
        rate: what funding rates are; interval: hours between settlements; settles: whether the rate that stands on
            several rows is settled at the first of them, or after the last; indicative: taken for the settled ones.
        clock: whose clock stamped the quotes.
        venue, symbol: which rows of a file of several.
        size: coins shown on both sides of quotes that were recorded without sizes.
    """

    layout: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    time: str = ""
    zone: str = ""
    label: str = ""
    quantity: str = ""
    rate: str = ""
    interval: str = ""
    settles: str = ""
    indicative: str = ""
    clock: str = ""
    venue: str = ""
    symbol: str = ""
    size: str = ""

    def __post_init__(self) -> None:
        for name, values in ALLOWED.items():
            if getattr(self, name) and getattr(self, name) not in values:
                raise ParamsError(f"{name}={getattr(self, name)} of a format: it is one of {', '.join(values)}")
        for name in ("interval", "size"):
            if getattr(self, name) and not _positive(getattr(self, name)):
                raise ParamsError(f"{name}={getattr(self, name)} of a format: a number above 0 is needed")
        if self.layout and clean(self.layout) not in _KNOWN:
            raise ParamsError(
                f"there is no format {self.layout!r}; known are {', '.join(sorted({known.name for known in LAYOUTS}))}"
            )

    @classmethod
    def of(cls, format_: str = "", columns: str = "") -> "FormatOptions":
        """From the texts of the two options; ParamsError for a word that is no fact and no layout."""
        layout, facts = "", {}
        for part in filter(None, (word.strip() for word in format_.split(","))):
            name, equals, value = part.partition("=")
            if not equals:
                layout = part
            elif name.strip() not in _FACTS:
                raise ParamsError(f"{name!r} is no fact of a format; known are {', '.join(_FACTS)}, in {format_!r}")
            else:
                facts[name.strip()] = value.strip()
        return cls(layout=layout, columns=_columns(columns), **facts)


NO_OPTIONS = FormatOptions()
_FACTS = tuple(f.name for f in fields(FormatOptions) if f.name not in ("layout", "columns"))
_KNOWN = {clean(layout.name) for layout in LAYOUTS}


def _positive(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False


def _columns(text: str) -> dict[str, str]:
    found = {}
    for part in filter(None, (word.strip() for word in text.split(","))):
        ours, equals, theirs = part.partition("=")
        if not equals or ours.strip() not in NAMES:
            raise ParamsError(
                f"columns are given as ours=theirs, like bid_price=bid, was {part!r}; ours are {', '.join(NAMES)}"
            )
        found[ours.strip()] = clean(theirs)
    return found


def recognised(raw: RawTable, options: FormatOptions, leg: str = "spot") -> Layout:
    """The layout of a table.

    Raises:
        DataError: none, or several that its numbers do not tell apart; names the columns and the options that answer.
    """
    if options.columns:
        return _by_names(raw, options, dict(options.columns), leg)
    if options.layout:
        return _named(raw, options)
    found = [layout for layout in LAYOUTS if _has(raw, layout) and fits(raw.table, layout)]
    if raw.named:
        return found[0] if found else _by_names(raw, options, {}, leg)
    if len({tuple(sorted(layout.columns.items())) for layout in found}) == 1:
        return found[0]
    what = f"could be {' or '.join(layout.name for layout in found)}" if found else "is in no order we know"
    first = ", ".join(str(column[0].as_py()) for column in raw.table.columns[:12])
    raise DataError(
        f"{raw.path}: {len(raw.names)} columns without names, {what}: first row {first}; say which is which, counted from 0, "
        f"like --{leg}-columns timestamp=0,open=1,high=2,low=3,close=4,volume=5"
    )


def _has(raw: RawTable, layout: Layout) -> bool:
    if raw.named:
        return not layout.width and {*layout.columns.values(), *layout.marks} <= set(raw.names)
    return layout.width == len(raw.names)


def _named(raw: RawTable, options: FormatOptions) -> Layout:
    same = [layout for layout in LAYOUTS if clean(layout.name) == clean(options.layout)]
    for layout in same:
        if set(layout.columns.values()) <= set(raw.names):
            return layout
    missing = sorted(set(same[0].columns.values()) - set(raw.names))
    raise DataError(
        f"{raw.path} is not in the format {options.layout}: columns missing {missing}, found "
        f"{list(raw.names)}; leave the format away, or name the columns"
    )


def _by_names(raw: RawTable, options: FormatOptions, given: dict[str, str], leg: str) -> Layout:
    """A layout made of the names that columns commonly go by, after those given."""
    names = _of_venue(raw, options)
    unknown = [theirs for theirs in given.values() if theirs not in names]
    if unknown:
        raise DataError(
            f"{raw.path} has no column {unknown[0]!r}, which the columns option names; found {list(raw.names)}"
        )
    known = {ours: next((names[n] for n in also if n in names), None) for ours, also in NAMES.items()} | given
    for kind, needed, more in NEEDED:
        if all(known[name] for name in needed):
            columns = {name: known[name] for name in (*needed, *more) if known.get(name)}
            if len(set(columns.values())) < len(columns):
                continue
            return Layout("columns as named" if given else "columns by name", kind, columns)
    raise DataError(
        f"{raw.path}: columns not recognised: {list(raw.names)}; name them, like --{leg}-columns "
        "timestamp=TIME,bid_price=BID,bid_quantity=SIZE,ask_price=ASK,ask_quantity=SIZE (quotes), timestamp=,open=,high=,low=,"
        "close=,volume= (candles) or timestamp=,funding_rate= (funding)"
    )


def _of_venue(raw: RawTable, options: FormatOptions) -> dict[str, str]:
    """Names a column can be found by; of a wide table `close.gate`, those of the venue or symbol that was named."""
    own = {name: name for name in raw.names}
    which = {clean(options.venue), clean(options.symbol)} - {""}
    wide = {name.rpartition(".")[0]: name for name in raw.names if name.rpartition(".")[2] in which}
    return _volumes(raw) | own | wide


def _volumes(raw: RawTable) -> dict[str, str]:
    """Volumes named after their unit: `volume_btc` of coins and `volume_usdt` of money."""
    units = {name: name.partition("_")[2] for name in raw.names if name.startswith("volume_")}
    return {"quote_volume" if unit.startswith(("usd", "quote")) else "volume": name for name, unit in units.items()}
