"""Row checks of a recorded book: what can be wrong with a row, and what is done about it (`quality` sums it up).

Nothing is repaired. A row is kept as it is, dropped, or **withdraws** its leg's book: it enters the tape with the
last tradable prices and both sizes zero, so nothing can be decided on it or filled from it, and it does not refresh
the age. The book comes back with the leg's next good row. Every row has at most one kind, the first that applies:

    out_of_order    stamp behind an earlier row's              dropped: it shows a past book
    duplicate       stamp and values of the row before         dropped: it says nothing new
    one_sided       price and size of one side zero or NaN,    withdraws the book
                    the other side fine
    non_finite      NaN, null or infinite price or size        withdraws the book
    nonpositive     zero or negative price or size             withdraws the book
    crossed         bid above ask                              withdraws the book
    locked          bid equal to ask                           withdraws the book
    absurd          mid beyond `max_jump` from the row before  withdraws the book; a row near the one before it
                    and from the last good row; the very       confirms a new level, so a crash loses one row
                    first row is believed
    leading         any bad row before the first good one      dropped: there is no book to withdraw yet
    outside         not in the time both legs cover            dropped; the last one before the tape begins stays
                                                               in force until that leg's next row

Facts that are counted and change nothing: unchanged rows (they refresh the age), gaps, late rows, stale time.
A leg with more than `max_bad_share` bad rows (all kinds above but duplicate, leading and outside) is refused.
All checks are causal: a row's treatment depends on earlier rows only.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from delta_arb.errors import DataError, ParamsError
from delta_arb.formats.read import Recognised
from delta_arb.market import NS, utc
from delta_arb.numba_cache import read_only
from delta_arb.quotes.files import LegFile, Rows, coins_a_unit, rows_of
from delta_arb.quotes.one_pass import faultless, quick
from delta_arb.tables import share

PIECE = 1 << 16  # rows
BAD = ("out_of_order", "one_sided", "non_finite", "nonpositive", "crossed", "locked", "absurd")
_REMEDIES = {
    "out_of_order": "sort the recording by its stamps, or mend the stamp before this row if it lies in the future",
    "non_finite": "look for a reader or a venue outage that left cells empty",
    "nonpositive": "look for a reader that writes 0 for a missing price or size",
    "one_sided": "one side of the book was empty; choose a more liquid market or another part of the recording",
    "crossed": "look for swapped bid and ask columns, or for a missed update of the recorder",
    "locked": "look for a recorder that writes a last or mid price into both columns",
    "absurd": "look for two instruments in one file or a change of price unit, or raise max_jump",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a fact becomes a defect. Shares and `max_jump` are fractions.

    Raises:
        ParamsError: a limit out of bounds.
    """

    max_bad_share: float = 0.05
    max_jump: float = 0.10
    gap_s: float = 5.0
    max_quote_age_s: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.max_bad_share <= 1:
            raise ParamsError(f"max_bad_share is a share of rows between 0 and 1, was {self.max_bad_share}")
        for name in ("max_jump", "gap_s", "max_quote_age_s"):
            if not getattr(self, name) > 0:
                raise ParamsError(f"{name} must be positive, was {getattr(self, name)}")


@dataclass(frozen=True, slots=True, eq=False)
class Quotes:
    """One leg's books in time order, shape (n,); withdrawn ones have sizes zero.

    `fresh_ns` is when the book in force was last confirmed: the stamp of the last good row less its lag.
    """

    ts_ns: np.ndarray
    bid: np.ndarray
    ask: np.ndarray
    bid_qty: np.ndarray
    ask_qty: np.ndarray
    fresh_ns: np.ndarray

    def __len__(self) -> int:
        return len(self.ts_ns)

    def rows(self, start: int, stop: int) -> "Quotes":
        return Quotes(*(getattr(self, f.name)[start:stop] for f in fields(self)))


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """What `check` found: the quotes, the file's row numbers of each bad kind, and the counted facts."""

    quotes: Quotes
    bad: dict[str, np.ndarray]
    facts: dict[str, float]


def check(rows: Rows, limits: Limits) -> Checked:
    """The quotes of one leg after the treatments of the module's table, with what was found.

    `rows` is not written to. The quotes start at the first good row and are empty if there is none.
    """
    if (whole := quick(faultless, len(rows))) and (found := _in_one_pass(whole, rows, limits)):
        return found
    behind = _behind(rows.ts_ns)
    kept, number = _without(rows, behind, np.empty(0, np.int64))
    repeated = _repeated(kept)
    kept, number = _without(kept, repeated, number)
    good, bad = _classified(kept, limits.max_jump)
    lag_ns = _lag_ns(kept)
    leading = int(good.argmax()) if good.any() else len(kept)
    facts = {
        "rows": len(rows),
        "duplicate": len(repeated),
        "leading": leading,
        "unchanged": _unchanged(kept, good),
        **_late(lag_ns, limits),
        "first_ns": int(kept.ts_ns[0]),
        "last_ns": int(kept.ts_ns[-1]),
        **_gaps(kept.ts_ns, limits.gap_s),
    }
    numbered = {kind: number[at] if len(number) else at for kind, at in bad.items()}
    return Checked(_withdrawn(kept, good, lag_ns, leading), {"out_of_order": behind, **numbered}, facts)


def _in_one_pass(whole: Callable, rows: Rows, limits: Limits) -> Checked | None:
    """What `check` finds of a leg without a fault; None where there is one."""
    columns = read_only((rows.ts_ns, rows.bid, rows.ask, rows.bid_qty, rows.ask_qty))
    clean, unchanged, gaps, longest = whole(*columns, limits.max_jump, limits.gap_s * NS)
    if not clean:
        return None
    lag_ns, ts_ns = _lag_ns(rows), rows.ts_ns
    facts = {
        "rows": len(rows), "duplicate": 0, "leading": 0, "unchanged": unchanged, **_late(lag_ns, limits),
        "first_ns": int(ts_ns[0]), "last_ns": int(ts_ns[-1]), "gaps": gaps,
        "longest_gap_s": float(ts_ns[longest + 1] - ts_ns[longest]) / NS, "longest_gap_ns": int(ts_ns[longest]),
    }  # fmt: skip
    return Checked(_withdrawn(rows, None, lag_ns, 0), {kind: np.empty(0, np.int64) for kind in BAD}, facts)


def _late(lag_ns: np.ndarray | None, limits: Limits) -> dict[str, float]:
    if lag_ns is None:
        return {"late": 0, "worst_lag_s": 0.0}
    late = int((lag_ns > limits.max_quote_age_s * NS).sum())
    return {"late": late, "worst_lag_s": float(lag_ns.max(initial=0)) / NS}


def first_back(ts_ns: np.ndarray) -> int:
    """The first row whose stamp is behind that of the row before; -1 where none is."""
    for at in range(0, len(ts_ns) - 1, PIECE):  # the temporaries of so many rows stay near
        back = ts_ns[at + 1 : at + PIECE + 1] < ts_ns[at : at + PIECE][: len(ts_ns) - 1 - at]
        if back.any():
            return at + int(back.argmax()) + 1
    return -1


def _behind(ts_ns: np.ndarray) -> np.ndarray:
    """Rows whose stamp is behind the running maximum."""
    if first_back(ts_ns) < 0:
        return np.empty(0, np.int64)
    return np.flatnonzero(ts_ns < np.maximum.accumulate(ts_ns))


def _without(rows: Rows, dropped: np.ndarray, number: np.ndarray) -> tuple[Rows, np.ndarray]:
    """`rows` less the dropped ones, and the file's number of each that stays (empty: still its position)."""
    if not len(dropped):
        return rows, number
    stays = np.ones(len(rows), bool)
    stays[dropped] = False
    at = np.flatnonzero(stays)
    return rows.take(at), number[at] if len(number) else at


def _repeated(rows: Rows) -> np.ndarray:
    """Rows equal to the row before in every column, bit for bit (so that NaN repeats NaN)."""
    at = np.flatnonzero(rows.ts_ns[1:] == rows.ts_ns[:-1]) + 1
    for column in rows.columns() if len(at) else ():
        bits = column.view(np.int64)
        at = at[bits[at] == bits[at - 1]]
    return at


def _classified(rows: Rows, max_jump: float) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Mask of the good rows, and the positions of each bad kind (out-of-order rows are gone already)."""
    good = rows.bid > 0
    good &= rows.bid < rows.ask
    for column in (rows.ask, rows.bid_qty, rows.ask_qty):
        good &= column > 0
        good &= column < np.inf
    bad = _kinds(rows, np.flatnonzero(~good))
    absurd = _absurd(rows, good, max_jump)
    good[absurd] = False
    return good, {**bad, "absurd": absurd}


def _kinds(rows: Rows, at: np.ndarray) -> dict[str, np.ndarray]:
    """The bad rows `at`, sorted into their kinds."""
    bid, ask, bid_qty, ask_qty = rows.bid[at], rows.ask[at], rows.bid_qty[at], rows.ask_qty[at]
    cells = np.stack((bid, ask, bid_qty, ask_qty))
    fine = np.isfinite(cells) & (cells > 0)
    absent = np.isnan(cells) | (cells == 0)
    one_sided = (fine[0] & fine[2] & absent[1] & absent[3]) | (fine[1] & fine[3] & absent[0] & absent[2])
    masks = {
        "one_sided": one_sided,
        "non_finite": ~np.isfinite(cells).all(axis=0),
        "nonpositive": ~fine.all(axis=0),
        "crossed": bid > ask,
        "locked": bid == ask,
    }
    kinds, left = {}, np.ones(len(at), bool)
    for kind, mask in masks.items():
        kinds[kind] = at[mask & left]
        left &= ~mask
    return kinds


def _absurd(rows: Rows, good: np.ndarray, max_jump: float) -> np.ndarray:
    """Otherwise good rows whose mid is beyond `max_jump` from the one before and from the last that was not absurd.

    The second comparison spares the row that comes back after a spike, and condemns every other row where two
    instruments alternate. Only the jumps are looped over; there are few, or the file is refused.
    """
    at = None if good.all() else np.flatnonzero(good)
    mid = rows.bid + rows.ask  # twice the mid: only ratios are compared
    mid = mid if at is None else mid[at]
    step = np.diff(mid)
    np.abs(step, out=step)
    jumps = np.flatnonzero(step > max_jump * mid[:-1]) + 1
    absurd: list[int] = []
    level = math.nan
    for j in jumps.tolist():
        if not absurd or absurd[-1] != j - 1:
            level = mid[j - 1]
        if abs(mid[j] - level) > max_jump * level:
            absurd.append(j)
    found = np.array(absurd, np.int64)
    return found if at is None else at[found]


def _lag_ns(rows: Rows) -> np.ndarray | None:
    """How much later than the quickest row so far each row arrived; None without venue stamps.

    The running minimum stands for clock offset plus shortest way, so a constant offset of either clock cancels
    and nothing looks ahead.
    """
    if rows.venue_ns is None:
        return None
    way = rows.ts_ns - rows.venue_ns
    return way - np.minimum.accumulate(way)


def _unchanged(rows: Rows, good: np.ndarray) -> int:
    """Good rows that repeat the four values of a good row before."""
    same = good[1:] & good[:-1]
    for column in (rows.bid, rows.ask, rows.bid_qty, rows.ask_qty):
        same &= column[1:] == column[:-1]
    return int(same.sum())


def _gaps(ts_ns: np.ndarray, gap_s: float) -> dict[str, float]:
    pause = np.diff(ts_ns)
    longest = int(pause.argmax()) if len(pause) else 0
    return {
        "gaps": int((pause > gap_s * NS).sum()),
        "longest_gap_s": float(pause[longest]) / NS if len(pause) else 0.0,
        "longest_gap_ns": int(ts_ns[longest]),
    }


def _withdrawn(rows: Rows, good: np.ndarray | None, lag_ns: np.ndarray | None, leading: int) -> Quotes:
    """The rows from `leading` on, each bad one with the last good prices and age, and no size; `good` None: all are."""
    fresh_ns = rows.ts_ns if lag_ns is None else rows.ts_ns - lag_ns
    quotes = Quotes(rows.ts_ns, rows.bid, rows.ask, rows.bid_qty, rows.ask_qty, fresh_ns).rows(leading, len(rows))
    if good is None or good[leading:].all():
        return quotes
    good = good[leading:]
    bad = np.flatnonzero(~good)
    source = np.maximum.accumulate(np.where(good, np.arange(len(good)), 0))[bad]
    return Quotes(
        quotes.ts_ns,
        _replaced(quotes.bid, bad, quotes.bid[source]),
        _replaced(quotes.ask, bad, quotes.ask[source]),
        _replaced(quotes.bid_qty, bad, 0.0),
        _replaced(quotes.ask_qty, bad, 0.0),
        _replaced(quotes.fresh_ns, bad, quotes.fresh_ns[source]),
    )


def _replaced(column: np.ndarray, at: np.ndarray, values: np.ndarray | float) -> np.ndarray:
    column = column.copy()
    column[at] = values
    return column


def refuse_if_bad(found: Checked, rows: Rows, limits: Limits) -> None:
    """Refuse a leg whose share of bad rows is above the limit, or that has no good row at all.

    Raises:
        DataError: names the file, the commonest kind, its first row with the values, and the remedy.
    """
    bad = sum(map(len, found.bad.values()))
    if bad <= limits.max_bad_share * len(rows) and len(found.quotes):
        return
    kind = max(found.bad, key=lambda k: len(found.bad[k]))
    row = int(found.bad[kind][0])
    values = ", ".join(f"{name}={getattr(rows, name)[row]:g}" for name in ("bid", "bid_qty", "ask", "ask_qty"))
    allowed = f"at most {share(limits.max_bad_share, 1)} allowed" if len(found.quotes) else "no good one left"
    raise DataError(
        f"{rows.located(row)}: {bad} of {len(rows)} rows are bad ({share(bad / len(rows), 1)}, {allowed}), most of them "
        f"{kind} ({len(found.bad[kind])}), this the first: {utc(int(rows.ts_ns[row]))} {values}; "
        f"{_REMEDIES[kind]}, or raise max_bad_share knowingly"
    )


def checked(leg: LegFile, limits: Limits) -> tuple[Checked, Recognised | None]:
    """The good and withdrawn quotes of one recording, in base units on the receiver's clock, or a refusal.

    Beside them what a file of another layout than ours was taken for.
    """
    rows = rows_of(leg)
    found = check(rows, limits)
    refuse_if_bad(found, rows, limits)
    return replace(found, quotes=_received(found.quotes, leg, coins_a_unit(leg, rows.recognised))), rows.recognised


def _received(quotes: Quotes, leg: LegFile, coins: float) -> Quotes:
    """The quotes in base units, of which a unit of size is `coins`, and when they arrived."""
    if coins != 1:
        quotes = replace(quotes, bid_qty=quotes.bid_qty * coins, ask_qty=quotes.ask_qty * coins)
    if leg.feed_latency_s:
        latency_ns = round(leg.feed_latency_s * NS)
        quotes = replace(quotes, ts_ns=quotes.ts_ns + latency_ns, fresh_ns=quotes.fresh_ns + latency_ns)
    return quotes
