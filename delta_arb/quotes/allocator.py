"""Memory that was freed goes back to the system while large columns come and go.

glibc keeps freed blocks, and raises the size up to which it does so with what a program frees: half of the peak of reading a
month was such blocks. Other C libraries have no such call, and nothing is changed there.
"""

import contextlib
import ctypes
from collections.abc import Iterator

M_MMAP_THRESHOLD = -3  # of mallopt
SMALL, LARGE = 1 << 17, 32 << 20  # bytes; the larger is what glibc raises it to by itself


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
