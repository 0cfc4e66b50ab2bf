"""Which of many pairs deserve a trader's time: `delta-arb universe`. It publishes nothing.

Exit code: 0 done ("none of them" is a result), 2 refused, or jobs that failed: what is finished stays, call again.
"""

import atexit
import gc
import signal
import sys
from collections.abc import Sequence

from delta_arb.command import ended_by_interrupt, program
from delta_arb.places import reports, to_write
from delta_arb.universe.options import SHOWN, UniverseOptions

EXAMPLES = (
    "delta-arb universe --data data --spot-half-spread-bps 1 --perp-half-spread-bps 1      what was downloaded",
    "delta-arb universe --data data --quick      screen and first look of a recording",
    "delta-arb universe --sandbox --listings 200      made pairs of the local venues (synthetic)",
    "delta-arb universe --cluster tcp://10.0.0.1:8786      on a Dask cluster that sees the same folders",
)
STOPPED = "pairs that were finished are kept; the same command goes on with the others"


def universe(options: UniverseOptions) -> int:
    """Rank all pairs of a download or recording by what they would earn after costs, and say which a pipeline would export.

    What is finished is kept: a call that was broken off, or made again, does only what is missing.
    """
    from delta_arb.universe.jobs import engine, single_threaded

    options = options.checked()
    to_write(reports(options.reports), "--reports")
    single_threaded()
    atexit.register(gc.freeze)  # ending takes half a second less where nothing is looked through once more
    engine(options.workers, options.cluster)  # its workers load while this process does
    from delta_arb.universe.run import session  # loads the research modules, which --help does without

    signal.signal(signal.SIGINT, signal.default_int_handler)  # from here on there is something to end
    return session(options)


asked = program(UniverseOptions, universe, *EXAMPLES, only=SHOWN, stopped=STOPPED)


def main(argv: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    with ended_by_interrupt(STOPPED, "--json" in words):
        return asked(words)


if __name__ == "__main__":
    raise SystemExit(main())
