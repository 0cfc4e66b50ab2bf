"""Our wall clock, as the runner reads it."""

import time
from collections.abc import Callable


def wall_clock() -> Callable[[], int]:
    """Wall time in ns that never goes back, and never stands still: while somebody sets the clock back, it runs on."""
    last_ns, beat_ns = 0, time.monotonic_ns()

    def now_ns() -> int:
        nonlocal last_ns, beat_ns
        before_ns, beat_ns = beat_ns, time.monotonic_ns()
        last_ns = max(time.time_ns(), last_ns + beat_ns - before_ns)
        return last_ns

    return now_ns
