"""Which rows of a file are meant, and in which order they stand."""

import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from delta_arb.errors import DataError
from delta_arb.formats.arrays import texts
from delta_arb.formats.layouts import TIME
from delta_arb.formats.proofs import numbers, order_of

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
        if len(there) < 2:
            continue
        meant = [cell for cell in there if wanted and (cell == wanted or matches(cell, wanted))]
        meant = [wanted] if wanted in meant else meant
        if len(meant) != 1:
            raise DataError(
                f"{path} holds {len(there)} {name}s ({', '.join(there[:6])}{', ...' if len(there) > 6 else ''}), {_which(meant, wanted)}; "
                f"say which: --{context.leg}-format {name}={there[0]}"
            )
        rows = pc.equal(texts(of[name]), meant[0])
        of = {column: cells.filter(rows) for column, cells in of.items()}
        notes.append(f"rows of {meant[0]}")
    return of, notes


def _which(meant, wanted: str) -> str:
    return f"{len(meant)} of them like {wanted!r}" if wanted else "and none was named"


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
