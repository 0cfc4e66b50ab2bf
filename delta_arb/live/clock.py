"""Our wall clock, one for all that runs: the system's time when it was last taken over, carried on by a clock that nobody
sets. It neither jumps nor goes back.

A system clock that is set in the middle of a pair would make every book stale, every deadline due or far away, and
every signature invalid until the venues' clocks are measured again. So it counts only from `take_over` on, which a
session does at its start; `stepped_ns` tells how far it has moved away since.
"""

import time

from delta_arb.errors import DeltaArbError

_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # the former also runs while the machine sleeps
_ahead_ns = 0  # of the steady clock: UTC; 0 before it was taken over


class ClockSetError(DeltaArbError):
    """The system's clock was set: whoever trades by it begins again."""


def now_ns() -> int:
    """UTC in ns."""
    if not _ahead_ns:
        take_over()
    return time.clock_gettime_ns(_STEADY) + _ahead_ns


def take_over() -> None:
    """Believe the system's clock as it is now."""
    global _ahead_ns
    _ahead_ns = time.time_ns() - time.clock_gettime_ns(_STEADY)


def stepped_ns() -> int:
    """How far the system's clock is ahead of ours by now."""
    return time.time_ns() - now_ns()
