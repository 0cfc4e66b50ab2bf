"""What a recording is like: every count of `checks`, gaps, late rows and stale time, each with its treatment."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from delta_arb.formats.read import Recognised
from delta_arb.market import NS, utc
from delta_arb.quotes.checks import BAD, Checked, Limits, Quotes
from delta_arb.tables import Table, TableFace, quantity, share

_WITHDRAWN = "withdraws the book until the leg's next good row"
TREATMENTS = {
    "rows": "rows in the file",
    "used": "rows that are events of the tape",
    "out_of_order": "dropped: shows a past book",
    "duplicate": "dropped: says nothing new",
    "one_sided": _WITHDRAWN,
    "non_finite": _WITHDRAWN,
    "nonpositive": _WITHDRAWN,
    "crossed": _WITHDRAWN,
    "locked": _WITHDRAWN,
    "absurd": _WITHDRAWN,
    "leading": "bad rows before the first good one, dropped",
    "outside": "rows outside the time both legs cover, dropped",
    "unchanged": "kept: refreshes the age",
    "gaps": "pauses above the limit; kept: the age grows",
    "longest_gap_s": "kept: the age grows",
    "longest_gap_ns": "stamp of the row before the longest gap",
    "late": "kept: older than the limit on arrival, which its age says",
    "worst_lag_s": "kept: added to the row's age",
    "stale_share": "share of the tape's time in which the age is above the limit",
    "bad_share": "share of rows that are bad; above the limit the file is refused",
    "rows_per_s": "rows over the time of the file",
    "first_ns": "first stamp of the file",
    "last_ns": "last stamp of the file",
}
_NAMES = {
    "used": "rows used", "out_of_order": "out of order", "duplicate": "duplicates", "one_sided": "one-sided books",
    "non_finite": "not a number", "nonpositive": "price or size not above zero", "crossed": "crossed books",
    "locked": "locked books", "absurd": "absurd prices", "leading": "bad before the first good row",
    "outside": "outside the common time", "unchanged": "unchanged books", "longest_gap_s": "longest gap, s",
    "longest_gap_ns": "longest gap, from", "late": "late rows", "worst_lag_s": "worst lag, s",
    "stale_share": "time too old to decide on", "bad_share": "bad rows", "rows_per_s": "rows a second",
    "first_ns": "first row", "last_ns": "last row",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LegQuality:
    """What one leg's recording is like; the meaning and treatment of each number is in `TREATMENTS`."""

    file: str
    kind: str
    rows: int
    used: int
    out_of_order: int
    duplicate: int
    one_sided: int
    non_finite: int
    nonpositive: int
    crossed: int
    locked: int
    absurd: int
    leading: int
    outside: int
    unchanged: int
    gaps: int
    longest_gap_s: float
    longest_gap_ns: int
    late: int
    worst_lag_s: float
    stale_share: float
    first_ns: int
    last_ns: int

    @property
    def bad_share(self) -> float:
        """Share of bad rows, as compared with `max_bad_share`."""
        return sum(getattr(self, kind) for kind in BAD) / self.rows

    @property
    def rows_per_s(self) -> float:
        """Rows per second of the file; NaN for a file of one instant."""
        return self.rows * NS / (self.last_ns - self.first_ns) if self.last_ns > self.first_ns else math.nan


CHUNK = 8192


def leg_quality(
    file: str, kind: str, found: Checked, used: int, start_ns: int, end_ns: int, limits: Limits
) -> LegQuality:
    """The summary of one leg of a tape from `start_ns` to `end_ns`, both included, of which it gave `used` events."""
    counts = {name: len(rows) for name, rows in found.bad.items()}
    facts = dict(found.facts)
    outside = facts["rows"] - counts["out_of_order"] - facts["duplicate"] - facts["leading"] - used
    stale = _stale_share(found.quotes, start_ns, end_ns, limits.max_quote_age_s)
    return LegQuality(file=file, kind=kind, used=used, outside=outside, stale_share=stale, **counts, **facts)


def _stale_share(quotes: Quotes, start_ns: int, end_ns: int, max_quote_age_s: float) -> float:
    """Share of [start, end] in which the time since the last confirmation is above the limit."""
    if end_ns <= start_ns:
        return 0.0
    first = max(int(np.searchsorted(quotes.ts_ns, start_ns, "right")) - 1, 0)
    last, stale_ns = int(np.searchsorted(quotes.ts_ns, end_ns, "right")), 0
    for at in range(first, last, CHUNK):  # temporaries of so many rows stay near
        stop = min(at + CHUNK, last)
        begins = np.maximum(quotes.fresh_ns[at:stop] + round(max_quote_age_s * NS), quotes.ts_ns[at:stop])
        if at == first:
            np.maximum(begins, start_ns, out=begins)
        ends = quotes.ts_ns[at + 1 : stop + 1] if stop < last else np.append(quotes.ts_ns[at + 1 : stop], end_ns)
        stale_ns += int(np.maximum(np.subtract(ends, begins, out=begins), 0, out=begins).sum())
    return stale_ns / (end_ns - start_ns)


TakenFor = tuple[Recognised | None, Recognised | None]  # of spot and perpetual; None: our own layout


def layout_rows(taken_for: TakenFor) -> list[tuple[str, str, str, str]]:
    """The row that says what files of other layouts were taken for; none where both are of our own."""
    if taken_for == (None, None):
        return []
    return [
        (
            "layout",
            *("our own" if found is None else str(found) for found in taken_for),
            "recognised; overruled by --spot-format and --perp-format",
        )
    ]


@dataclass(frozen=True, slots=True)
class Quality(TableFace):
    """What a tape was made from: one summary per leg, the limits that were applied, the time both legs cover.

    `taken_for`: what files of other layouts than ours were recognised as; `notes`: what every page must say of them.
    """

    spot: LegQuality
    perp: LegQuality
    limits: Limits
    start_ns: int
    end_ns: int
    events: int
    taken_for: TakenFor = (None, None)
    notes: tuple[str, ...] = ()

    def to_frame(self):
        """The summary as a pandas table: one row per number, columns `spot`, `perp`, `treatment`."""
        return summary_frame(TREATMENTS, self.spot, self.perp)

    def table(self) -> Table:
        rows = [*layout_rows(self.taken_for), *summary(TREATMENTS, self.spot, self.perp)]
        title = f"The recording: {self.events:,} events, {utc(self.start_ns)[:19]} to {utc(self.end_ns)[:19]} UTC"
        return Table.of(
            title, ("", "spot", "perpetual", "treatment"), [(_NAMES.get(row[0], row[0]), *row[1:]) for row in rows]
        )

    def __repr__(self) -> str:
        bad = ", ".join(f"{share(leg.bad_share, 2)} of {leg.rows:,}" for leg in (self.spot, self.perp))
        return f"Quality({self.events:,} events, {utc(self.start_ns)} to {utc(self.end_ns)} UTC; bad rows: {bad})"


def summary(treatments: Mapping[str, str], spot: object, perp: object) -> list[tuple[str, str, str, str]]:
    """The rows of a table on both legs' recordings: each number that `treatments` names, as a table shows it."""
    return [(name, _face(name, spot), _face(name, perp), says) for name, says in treatments.items()]


def summary_frame(treatments: Mapping[str, str], spot: object, perp: object):
    """The numbers themselves as a pandas table: columns `spot`, `perp`, `treatment`."""
    import pandas as pd

    rows = [(getattr(spot, name), getattr(perp, name), says) for name, says in treatments.items()]
    return pd.DataFrame(rows, index=list(treatments), columns=["spot", "perp", "treatment"], dtype=object)


def _face(name: str, leg: object) -> str:
    value = getattr(leg, name)
    if name.endswith("_ns"):
        return utc(value)
    if name.endswith("_share"):
        return share(value, 2)
    if name == "rows_per_s":
        return quantity(value, "", 3)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
