"""Pages of history from a venue, put together so that nothing is missing in silence.

Candles are asked forwards, funding backwards: ccxt's own pagination loses funding stamps, and some venues ignore the
start of a range. A page that is shorter than it could be is asked again where the hole is, so that a hole that remains is
the venue's. Times are ms UTC, as ccxt has them; ranges are half-open.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

from delta_arb.collect.history_store import Row
from delta_arb.errors import RunError

Page = Callable[[int, int], Sequence[Row]]  # rows of [start, end), the oldest or the newest of them where they are many
MOST_PAGES = 100_000


def candles(page: Page, start_ms: int, end_ms: int, bar_ms: int, most: int) -> list[Row]:
    """All bars that open in [start, end), oldest first, each once.

    Args:
        page: asks the venue for at most `most` bars.
        bar_ms: length of a bar.
    """
    found: dict[int, Row] = {}
    for begin in range(start_ms, end_ms, most * bar_ms):
        _take(found, page, begin, min(begin + most * bar_ms, end_ms))
    for gap_start, gap_end in gaps(sorted(found), start_ms, end_ms, bar_ms):
        for begin in range(gap_start, gap_end, most * bar_ms):  # a short page looks like a hole: ask there once more
            _take(found, page, begin, min(begin + most * bar_ms, gap_end))
    return [found[ms] for ms in sorted(found)]


def _take(found: dict[int, Row], page: Page, start_ms: int, end_ms: int) -> None:
    found.update((int(row[0]), row) for row in page(start_ms, end_ms) if start_ms <= row[0] < end_ms)


def funding(page: Page, start_ms: int, end_ms: int) -> list[Row]:
    """All settled rates with a stamp in [start, end), oldest first, each once; walked backwards from the end."""
    found: dict[int, Row] = {}
    until_ms = end_ms
    for _ in range(MOST_PAGES):
        fresh = {int(row[0]): row for row in page(start_ms, until_ms) if start_ms <= row[0] < until_ms}
        found |= fresh
        if not fresh:
            return [found[ms] for ms in sorted(found)]
        until_ms = min(fresh)
    raise RunError(f"{MOST_PAGES} pages of funding and no end; ask for a shorter range")


def gaps(stamps: Sequence[int], start_ms: int, end_ms: int, step_ms: int) -> list[tuple[int, int]]:
    """Ranges [start, end) in which bars are missing, in order."""
    edges = [start_ms - step_ms, *stamps, end_ms]
    return [(a + step_ms, b) for a, b in pairwise(edges) if b - a > step_ms]


def missing_settlements(stamps: Sequence[int], start_ms: int, end_ms: int) -> list[tuple[int, int]]:
    """Ranges without a settlement where the local interval wants one: longer than both neighbours by half, or an edge
    longer than the longest interval. Intervals change (8 h, 4 h, 1 h), so no constant is compared with."""
    steps = [b - a for a, b in pairwise(stamps)]
    if not steps:
        return [(start_ms, end_ms)]
    found = [
        (a, b)
        for k, (a, b) in enumerate(pairwise(stamps))
        if (near := steps[max(k - 2, 0) : k] + steps[k + 1 : k + 3]) and steps[k] > 1.5 * max(near)
    ]
    longest = max(steps)
    head = [(start_ms, stamps[0])] if stamps[0] - start_ms > longest else []
    tail = [(stamps[-1], end_ms)] if end_ms - stamps[-1] > longest else []
    return head + found + tail
