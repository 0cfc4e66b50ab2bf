"""What a recorder leaves to processes of their own, at low priority: a thread that computes would hold up its loop.

Compaction and settled funding: `python -m delta_arb.collect.aside` does one of both, told as JSON on standard input, and
says on standard output what went wrong or was deleted.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from delta_arb.collect.history import PERP
from delta_arb.collect.recording_files import Retention, tidied
from delta_arb.errors import DataError, RunError

LOW_PRIORITY = 10
LISTED_MS = 600_000  # after a settlement, its rate is in the venue's history


def aside(work: str, **told: Any) -> list[tuple[str, str]]:
    """Have `tidy` or `settle` done with these arguments; returns what they do.

    Raises:
        RunError: the process was killed; what it had not done can be done again.
    """
    command, asked = [sys.executable, "-m", "delta_arb.collect.aside", work], json.dumps(told, default=str)
    done = subprocess.run(command, input=asked, stdout=subprocess.PIPE, text=True, start_new_session=True, check=False)
    if done.returncode:
        raise RunError(f"{work} ended with {done.returncode}; what was not done is tried again")
    return [(kind, what) for kind, what in json.loads(done.stdout)]


def here(work: str, **told: Any) -> list[tuple[str, str]]:
    """The same in this process, once nothing is received any more."""
    return {"tidy": tidy, "settle": settle}[work](**told)


def tidy(market: Path | str, streams: Sequence[Path | str], keep_days: float, keep_gb: float) -> list[tuple[str, str]]:
    """See `recording_files.tidied`, now."""
    kept = Retention(keep_days, keep_gb * 1e9)
    return list(tidied(Path(market), [Path(each) for each in streams], kept, time.time_ns()))


def settle(
    venue: str, ccxt: dict, synthetic: bool, pairs: Sequence[str], since_ms: int, out: Path | str
) -> list[tuple[str, str]]:
    """Complete the settled funding of a perpetual's pairs, as `download` keeps it; what fails can be asked again later."""
    from delta_arb.collect.download import keep_funding  # not above: ccxt takes longer than a compaction
    from delta_arb.collect.history import VenueHistory

    try:
        leg = VenueHistory(venue, PERP, ccxt)
        leg.synthetic = synthetic
        listed, end_ms = leg.listed(), leg.now_ms() - LISTED_MS
        for pair in pairs:
            if pair in listed:
                keep_funding(leg, listed[pair], since_ms, end_ms, Path(out))
    except (RunError, DataError) as error:
        return [("unanswered", str(error))]
    return []


if __name__ == "__main__":
    os.nice(LOW_PRIORITY)
    found = here(sys.argv[1], **json.load(sys.stdin))
    with contextlib.suppress(BrokenPipeError):  # the recorder was killed meanwhile; damage is told to the next one
        os.write(1, json.dumps(found).encode())
