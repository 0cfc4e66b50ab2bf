"""Memory that was freed goes back to the system while large columns come and go; that of a dropped tape serves the next one.

glibc keeps freed blocks, and raises the size up to which it does so with what a program frees: half of the peak of reading a
month was such blocks. Other C libraries have no such call, and nothing is changed there.
"""

import contextlib
import ctypes
import mmap
import weakref
from collections import deque
from collections.abc import Iterator, Mapping

import numpy as np

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt
SMALL, LARGE = 4 << 20, 32 << 20  # bytes; the larger is what glibc raises it to by itself

LINE = 64  # bytes of a cache line

_kept: deque[mmap.mmap] = deque(maxlen=1)  # what the last dropped tape left, for all threads


def together(dtypes: Mapping[str, type], n: int) -> dict[str, np.ndarray]:
    """Columns of so many rows, not filled in, in one block, each on a cache line of its own."""
    sizes = [n * np.dtype(dtype).itemsize for dtype in dtypes.values()]
    starts = np.cumsum([0, *(-(-size // LINE) * LINE for size in sizes)]).tolist()
    whole = block(starts[-1])
    parts = (whole[start : start + size] for start, size in zip(starts, sizes, strict=False))
    return {name: part.view(dtypes[name]) for name, part in zip(dtypes, parts, strict=True)}


def block(size: int) -> np.ndarray:
    """So many bytes, in large pages where there are some.

    What the last dropped one left is used again where it fits: fresh memory takes longer to get than a tape to make. Until then
    the system may take it back, where it runs short.
    """
    if not hasattr(mmap, "MADV_FREE"):
        return np.empty(size, np.uint8)
    memory = _left(size)
    if memory is None:
        memory = mmap.mmap(-1, max(size, 1), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(mmap.MADV_HUGEPAGE)
    made = np.frombuffer(memory, np.uint8, size)
    weakref.finalize(made, _keep, memory).atexit = False
    return made


def _keep(memory: mmap.mmap) -> None:
    memory.madvise(mmap.MADV_FREE)
    _kept.append(memory)


def _left(size: int) -> mmap.mmap | None:
    """What the last dropped one left, if it fits and no other thread was quicker."""
    with contextlib.suppress(IndexError):
        memory = _kept.pop()
        if size <= len(memory) <= 2 * size:
            return memory
        _kept.append(memory)
    return None


@contextlib.contextmanager
def given_back() -> Iterator[None]:
    """Large blocks are handed back as soon as they are freed, within this block."""
    _keep_freed(SMALL)
    try:
        yield
    finally:
        _keep_freed(LARGE)
        release()


def _keep_freed(size: int) -> None:
    """Blocks up to this size, and twice as much of the heap's end, as glibc has it by itself; what it says of one of the two
    alone leaves the other where a program begins, and every freed column goes back to be asked for again."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", lambda *_: None)
    set_option(M_MMAP_THRESHOLD, size)
    set_option(M_TRIM_THRESHOLD, 2 * size)


def release() -> None:
    """What Arrow keeps for itself goes back too."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
