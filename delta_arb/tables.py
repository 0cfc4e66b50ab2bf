"""How results show themselves in a notebook: a table, tiles, sentences, a heading; as plain text and as HTML.

The text form is what nbval compares, so it is the same on every machine: rounded numbers, no widths of a terminal, no
paths, no times of now. The HTML form says the same and has its colours with it, because the page may be dark.
"""

import html
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

NOTHING = "n/a"
INK, QUIET, LINE, PAPER = "#1c2530", "#5b6673", "#d5dce4", "#ffffff"
SYNTHETIC_INK, SYNTHETIC_PAPER = "#4a2a86", "#efe8fb"


def number(value: float | None, digits: int = 2, *, sign: bool = False, unit: str = "") -> str:
    """A rounded number, never "-0.00"; n/a where there is none."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:{'+' if sign and round(value, digits) else ''}z,.{digits}f}" + (f" {unit}" if unit else "")


def share(value: float | None, digits: int = 0) -> str:
    """A fraction as a percentage."""
    return NOTHING if value is None or not math.isfinite(value) else f"{100 * value:z.{digits}f} %"


def quantity(value: float | None, unit: str, digits: int = 4) -> str:
    """A number with its unit; a "fraction" as a percentage."""
    if value is None or not math.isfinite(value):
        return "not computed"
    shown, unit = (100 * value, "%") if unit == "fraction" else (value, unit)
    form = ",.0f" if round(abs(shown)) >= 10**digits else f",.{digits}g"  # 1,460, not 1.46e+03
    return f"{shown:z{form}} {unit}".rstrip()


def not_above_zero(low: float | None, high: float | None) -> str:
    """What a reader must know of a 95 % interval of the net, USDT a day, that does not lie above zero."""
    if low is None or high is None or low > 0:
        return ""
    shown = f"{quantity(low, '', 3)} to {quantity(high, 'USDT a day', 3)}"
    return f"the 95 % interval of the net out of sample, {shown}, does not lie above zero: a loss is not excluded"


def seconds(value: float | None) -> str:
    """A duration in the unit a reader expects: 0.42 s, 42 s, 10.4 min, 24 h, 5.2 days."""
    if value is None or not math.isfinite(value):
        return NOTHING
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if value < limit:
            return f"{value / size:.3g} {unit}"
    return f"{value / 86_400:.3g} days"


def lasting(years: float) -> str:
    """Years, in days or hours where they are less than one."""
    return f"{years:{',.0f' if years >= 10 else '.2g'}} years" if years >= 1 else seconds(years * 365 * 86_400)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of formatted cells under a title; the first column names the row. `note` is said below.

    `last`: of a long listing, how many rows its text form shows, the last ones; on a page all can be sorted and filtered.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    last: int = 0

    @classmethod
    def of(
        cls, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], note: str = "", last: int = 0
    ) -> "Table":
        return cls(title, tuple(columns), tuple(tuple(row) for row in rows), note, last)

    @classmethod
    def nothing(cls, title: str, reason: str) -> "Table":
        """A table that says why it is empty."""
        return cls.of(title, ("", "nothing to show"), [("reason", reason)])

    def to_frame(self):
        """The cells as a pandas table of texts."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=list(self.columns))

    def __repr__(self) -> str:
        shown = (self.columns, *self.rows[-self.last :])
        widths = [max(len(row[k]) for row in shown) for k in range(len(self.columns))]
        lines = [_line(row, widths, self._texts) for row in shown]
        return "\n".join([self.title, *lines, *([self.note] if self.note else [])])

    @property
    def _texts(self) -> list[bool]:
        """Which columns hold words, and are set to the left."""
        return [k == 0 or any(len(row[k]) > 24 for row in self.rows) for k in range(len(self.columns))]

    def _repr_html_(self) -> str:
        head = "".join(_cell("th", text, words) for text, words in zip(self.columns, self._texts, strict=True))
        body = "".join(
            "<tr>" + "".join(_cell("td", text, words) for text, words in zip(row, self._texts, strict=True)) + "</tr>"
            for row in self.rows
        )
        note = (
            f'<p style="max-width:60em;margin:2px 0 8px;font-size:13px;opacity:.75">{html.escape(self.note)}</p>'
            if self.note
            else ""
        )
        caption = f'<p style="margin:6px 0 2px"><b>{html.escape(self.title)}</b></p>'
        listing = f' class="listing" data-name="{html.escape(self.title)}"' if self.last else ""
        return f"{caption}<table{listing}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"


def _line(row: Sequence[str], widths: Sequence[int], words: Sequence[bool]) -> str:
    cells = (
        text.ljust(width) if left else text.rjust(width) for text, width, left in zip(row, widths, words, strict=True)
    )
    return "  ".join(cells).rstrip()


def _cell(tag: str, text: str, words: bool) -> str:
    wrap = "" if len(text) > (12 if tag == "th" else 40) else ";white-space:nowrap"
    return f'<{tag} style="text-align:{"left" if words else "right"}{wrap}">{html.escape(text)}</{tag}>'


class TableFace:
    """What shows itself as its `table()`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


@dataclass(frozen=True, slots=True)
class Tiles:
    """Headline figures: (label, value, what to hold beside it)."""

    title: str
    tiles: tuple[tuple[str, str, str], ...]

    def __repr__(self) -> str:
        widths = [max(len(tile[k]) for tile in self.tiles) for k in range(3)]
        return "\n".join([self.title, *(_line(tile, widths, (True, False, True)) for tile in self.tiles)])

    def _repr_html_(self) -> str:
        boxes = "".join(
            f'<div style="background:{PAPER};color:{INK};border:1px solid {LINE};border-radius:6px;padding:8px 12px">'
            f'<div style="font-size:12px;color:{QUIET}">{html.escape(label)}</div>'
            '<div style="font-size:21px;font-weight:600;line-height:1.35;white-space:nowrap">'
            f"{html.escape(value)}</div>"
            f'<div style="font-size:12px;color:{QUIET}">{html.escape(beside)}</div></div>'
            for label, value, beside in self.tiles
        )
        grid = "display:grid;grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:8px;max-width:1000px"
        return f'<p style="margin:6px 0"><b>{html.escape(self.title)}</b></p><div style="{grid}">{boxes}</div>'


@dataclass(frozen=True, slots=True)
class Findings:
    """Sentences made from results."""

    sentences: tuple[str, ...]

    @classmethod
    def of(cls, *sentences: str) -> "Findings":
        return cls(tuple(s for s in sentences if s))

    def __repr__(self) -> str:
        return "\n".join(f"- {s}" for s in self.sentences)

    def _repr_html_(self) -> str:
        return "<ul>" + "".join(f"<li>{html.escape(s)}</li>" for s in self.sentences) + "</ul>"


@dataclass(frozen=True, slots=True)
class Heading:
    """What a page is about, with the mark that synthetic quotes and candles must carry."""

    name: str
    synthetic: bool
    lines: tuple[str, ...]
    candles: bool = False

    @property
    def mark(self) -> str:
        made = "SYNTHETIC quotes, made by a program: a profit here says that the program works, nothing about a market."
        bars = "CANDLES, not quotes: bid and ask are last prices with stated half-spreads; fills are at the next open."
        return " ".join([made] * self.synthetic + [bars] * self.candles)

    def __repr__(self) -> str:
        return "\n".join(filter(None, [self.name, self.mark, *self.lines]))

    def _repr_html_(self) -> str:
        mark = (
            f'<p style="background:{SYNTHETIC_PAPER};color:{SYNTHETIC_INK};border-left:5px solid {SYNTHETIC_INK};'
            'padding:6px 12px;margin:4px 0">'
            f"<b>{html.escape(self.mark)}</b></p>"
            if self.mark
            else ""
        )
        lines = "<br>".join(html.escape(line) for line in self.lines)
        return f'{mark}<p style="margin:4px 0"><b style="font-size:17px">{html.escape(self.name)}</b><br>{lines}</p>'


def heading(inputs, tape) -> Heading:
    """Pair, quotes, costs and latencies of a run (`inputs.Inputs`, `tape.Tape`), and what of the quotes is left out."""
    from delta_arb.market import utc

    quotes = (
        f"{len(tape):,} events, {utc(tape.start_ns)[:19]} to {utc(tape.end_ns)[:19]} UTC "
        f"({seconds((tape.end_ns - tape.start_ns) / 1e9)}), "
        + (
            f"candles of {tape.bar_s:g} s, half-spreads {inputs.spot_half_spread_bps:g} and "
            f"{inputs.perp_half_spread_bps:g} bps, size shown {share(inputs.bar_share, 2)} of a mean minute's volume"
            if inputs.candles
            else f"spot {tape.spot_kind}, perpetual {tape.perp_kind}"
        )
    )
    latency = inputs.latency()
    costs = (
        f"taker fees {inputs.spot_fee_bps:g} bps on {inputs.spot_venue} and {inputs.perp_fee_bps:g} bps on "
        f"{inputs.perp_venue}, per fill{_makers(inputs)}; "
        f"orders arrive after {latency.delay('spot')} and {latency.delay('perp')}"
    )
    paid = "funding is left out" if inputs.funding == "none" else "funding from its recorded history"
    lines = tuple(filter(None, (quotes, costs, paid, left_out(tape), account(inputs), *told(inputs, tape))))
    return Heading(inputs.name, inputs.synthetic, lines, inputs.candles)


def _makers(inputs) -> str:
    """The fees of orders that rest, where they were said."""
    legs = (leg for leg in ("spot", "perp") if getattr(inputs, f"{leg}_maker_fee_bps"))
    fees = [f"{getattr(inputs, f'{leg}_maker_fee_bps')} bps on {getattr(inputs, f'{leg}_venue')}" for leg in legs]
    return f" (of an order that rests {' and '.join(fees)})" if fees else ""


def rests(candidate: dict) -> str:
    """Which leg of a parameter file rests, at which ends, and its fee; empty where both take."""
    rule = candidate.get("rule") or {}
    leg = next((leg for leg in ("spot", "perp") if rule.get(f"{leg}_role") == "maker"), "")
    if not leg:
        return ""
    ends, terms = rule["resting"]["ends"], candidate[leg]
    where = "both ends" if ends == "both" else f"the {ends}"
    return f"{leg} rests at {where}, maker fee {terms['maker_fee_bps']:g} bps on {terms['venue']}"


def told(inputs, tape) -> tuple[str, ...]:
    """What every page and the log must say of the files: what those of other layouts were taken for, and notes on them."""
    taken_for = tape.quality.taken_for if tape.quality else (None, None)
    files = zip(("spot", "perpetual", "funding"), (*taken_for, inputs.funding_as()), strict=True)
    read = (f"{leg} read as {found}" for leg, found in files if found)
    return (*read, *rebates(inputs), *inputs.notes(tape))


def rebates(inputs) -> Iterator[str]:
    """What must be said of takers' fees below zero: hardly a venue pays its takers, and a slip of the sign earns on every fill."""
    for leg in ("spot", "perp"):
        if (fee_bps := getattr(inputs, f"{leg}_fee_bps")) < 0:
            venue = getattr(inputs, f"{leg}_venue")
            yield f"{venue} is taken to pay {-fee_bps:g} bps of every fill to us: --{leg}-fee-bps is below zero"


def account(inputs) -> str:
    """What was said of order rules, the short's leverage and the wallets; empty where nothing was."""
    listed = [leg for leg, file in (("spot", inputs.spot_rules), ("perpetual", inputs.perp_rules)) if file]
    said = (
        f"order rules of {' and '.join(listed)} from the venues' lists" if listed else "",
        "the fee on spot is taken in the coin bought" if inputs.spot_fee_in == "base" else "",
        f"leverage {inputs.leverage:g}" if inputs.leverage != 1.0 else "",
        f"wallets of {inputs.spot_usdt:g} USDT on spot and {inputs.perp_usdt:g} USDT on the perpetual's venue"
        if inputs.spot_usdt
        else "",
        f"transfers take {inputs.transfer_delay_h:g} h and cost {inputs.transfer_fee_usdt:g} USDT"
        if inputs.transfer_delay_h
        else "",
    )
    return ", ".join(filter(None, said))


def left_out(tape) -> str:
    """What of a recording its funding table does not cover (`funding_file.covered`), in words; empty where nothing is."""
    if tape.quality is None:
        return ""
    ends_ns = ((tape.start_ns - tape.quality.start_ns, "before it"), (tape.quality.end_ns - tape.end_ns, "behind it"))
    parts = [f"{seconds(ns / 1e9)} {where}" for ns, where in ends_ns if ns > 0]
    return (
        f"left out, because the funding table does not cover it: {' and '.join(parts)} of the quotes" if parts else ""
    )
