"""The three notebooks as one run, once or every few minutes: `delta-arb pipeline`.

A run executes the notebooks by papermill into `reports/<pair>/<UTC stamp>/`, makes pages of them, and publishes the
parameters that notebook 02 proposed once notebook 03 has succeeded and the proposal is what this run asked for. A run
that fails anywhere publishes nothing: the last good parameters stay, the remains go to `reports/<pair>/failed/`.

Exit code: 0 success ("do not trade" is one), 1 the run failed or another one holds the pair, 2 refused before anything
was written, 130 and 143 stopped by SIGINT and SIGTERM (0 with --every, where a stop is the normal end).
"""

import os
import sys
from collections.abc import Sequence

from delta_arb.command import application, command
from delta_arb.command import run as run_command
from delta_arb.report.options import PipelineOptions

EXAMPLES = (
    "delta-arb pipeline                            the bundled sample, which is synthetic",
    "delta-arb pipeline --spot mexc.parquet --perp gate.parquet --funding funding.parquet \\",
    "                   --pair LUNC_USDT --contract-size 10000",
    "delta-arb pipeline --data data --pair LUNC_USDT --since 2026-01-15      what was downloaded or recorded",
    "delta-arb pipeline --every 5m                 again and again; late runs are skipped",
    "delta-arb pipeline -p clip_usdt=100           any parameter that a notebook declares",
)
STOPPED = "nothing was published, the parameters in force stay; the same command begins a new run"


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    app = application()

    @command(app, PipelineOptions, *EXAMPLES, stopped=STOPPED)
    def pipeline(options: PipelineOptions) -> int:
        """Run the notebooks on recorded quotes, write the report, publish the parameters that they choose.

        Without files: the bundled sample, which is synthetic. What is typed each time can stand in delta_arb.toml.
        """
        # The matrices here are small: threads that wait for each other on a busy machine take five times as long.
        for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
            os.environ.setdefault(name, "1")
        from delta_arb.report.kernels import to_stay

        with to_stay():
            from delta_arb.report import schedule  # loads the research modules, which --help does without

        return schedule.pipeline(options, argv)

    return run_command(app, argv, "delta-arb pipeline", "failed")


if __name__ == "__main__":
    raise SystemExit(main())
