"""`--monitor [PORT]`: the monitor as a process of its own beside this one, never in the loop that trades.

It ends when the pipe from this process does, however this one ends. Where it cannot start (its port is taken) it says so
and the trading goes on: what is open after a restart has to be looked after, seen or not.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

PORT = 8642
TOKEN = "DELTA_ARB_MONITOR_TOKEN"
OURS, PASSED_ON = "DELTA_ARB_", frozenset((TOKEN, "DELTA_ARB_ROOT"))
END_S = 5.0


@contextlib.contextmanager
def beside(port: int, reports: Path) -> Iterator[None]:
    """A monitor of this reports folder on that port of this machine; none where the port is 0."""
    if not port:
        yield
        return
    command = [sys.executable, "-m", "delta_arb.monitor", "--port", str(port), "--reports", str(reports), "--beside"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=2, env=without_keys(os.environ), start_new_session=True)
    try:
        yield
    finally:
        process.stdin.close()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def without_keys(environment: Mapping[str, str]) -> dict[str, str]:
    """What the monitor gets of our environment: of our own names none that may be a secret of the venues."""
    return {name: value for name, value in environment.items() if not name.startswith(OURS) or name in PASSED_ON}
