"""Jobs that tests hand to workers: importable from there, unlike what a test module defines."""

import os
import signal
import sys
import time
from pathlib import Path


def square(told):
    """The square; each call leaves a file, so that they can be counted."""
    Path(told["calls"], f"{told['x']}-{time.time_ns()}").touch()
    return {"square": told["x"] ** 2}


def die_once(told):
    """Killed at the first call, as by the system when memory ends."""
    mark = Path(told["calls"], "died")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(told)


def die_always(told):
    os.kill(os.getpid(), signal.SIGKILL)


def pids(told):
    """Says which process it runs in, and takes a minute."""
    Path(told["calls"], str(os.getpid())).touch()
    time.sleep(60)


def slow_square(told):
    time.sleep(told["seconds"])
    return square(told)


def trim(told):
    return {"trim": os.environ.get("MALLOC_TRIM_THRESHOLD_", "not set")}


def loaded(told):
    return {"loaded": sorted({"numba", "pandas", "delta_arb.universe.look"} & {*sys.modules})}
