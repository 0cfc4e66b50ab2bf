"""Memory that was freed goes back to the system while large columns come and go; that of a dropped tape serves the next one.

glibc keeps freed blocks, and raises the size up to which it does so with what a program frees: half of the peak of reading a
month was such blocks. Other C libraries have no such call, and nothing is changed there.
"""

import contextlib
import ctypes
import mmap
import weakref
from collections.abc import Iterator

import numpy as np

M_MMAP_THRESHOLD = -3  # of mallopt
SMALL, LARGE = 4 << 20, 32 << 20  # bytes; the larger is what glibc raises it to by itself

_kept: list[mmap.mmap] = []  # what the last dropped tape left


def block(size: int) -> np.ndarray:
    """So many bytes, in large pages where there are some.

    What the last dropped one left is used again where it fits: fresh memory takes longer to get than a tape to make. Until then
    the system may take it back, where it runs short.
    """
    if not hasattr(mmap, "MADV_FREE"):
        return np.empty(size, np.uint8)
    if _kept and size <= len(_kept[0]) <= 2 * size:
        memory = _kept.pop()
    else:
        memory = mmap.mmap(-1, max(size, 1), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(mmap.MADV_HUGEPAGE)
    made = np.frombuffer(memory, np.uint8, size)
    weakref.finalize(made, _keep, memory).atexit = False
    return made


def _keep(memory: mmap.mmap) -> None:
    memory.madvise(mmap.MADV_FREE)
    _kept[:] = [memory]


@contextlib.contextmanager
def given_back() -> Iterator[None]:
    """Large blocks are handed back as soon as they are freed, within this block."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", lambda *_: None)
    set_option(M_MMAP_THRESHOLD, SMALL)
    try:
        yield
    finally:
        set_option(M_MMAP_THRESHOLD, LARGE)
        release()


def release() -> None:
    """What Arrow keeps for itself goes back too."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
