"""How much of a recording is kept: so many days, so many bytes; the oldest files go first, never what is growing."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from delta_arb.market import NS
from delta_arb.quotes.recorded import span
from delta_arb.quotes.stream_file import LAYOUTS

DAY_NS = 86_400 * NS


@dataclass(frozen=True, slots=True)
class Retention:
    """Days and bytes that are kept for each venue; 0 keeps all."""

    days: float = 0.0
    most_bytes: float = 0.0


def make_room(market: Path, kept: Retention, now_ns: int) -> list[Path]:
    """Delete compacted files that are too old or too many; returns them."""
    files = sorted(_compacted(market), key=lambda path: span(path.stem)[1])
    gone = [path for path in files if kept.days and span(path.stem)[1] < now_ns - kept.days * DAY_NS]
    left = [path for path in files if path not in set(gone)]
    over = size(market) - sum(path.stat().st_size for path in gone) - kept.most_bytes if kept.most_bytes else 0.0
    while over > 0 and left:
        over -= left[0].stat().st_size
        gone.append(left.pop(0))
    for path in gone:
        path.unlink()
    return gone


def _compacted(market: Path) -> Iterator[Path]:
    for name in LAYOUTS:
        yield from market.glob(f"*/{name}/*.parquet")


def size(market: Path) -> int:
    """Bytes of a venue's recordings, the growing ones included; downloads are not counted."""
    files = (path for name in LAYOUTS for path in market.glob(f"*/{name}/*"))
    return sum(path.stat().st_size for path in files if path.is_file())
