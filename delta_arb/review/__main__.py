"""`delta-arb review`: was live what the backtest says? One recorded run, decided again and accounted for.

    identical decisions   every recorded event through `decide` again: the same orders, or the first difference
    the bridge            a backtest of the quotes that the run saw, and from it to the run, each difference with its cause
    fills                 prices paid against the quotes decided on and met; fees and funding against those assumed

It reads the journal and the events of a run of any mode, also of one that is still running, and writes a page beside them,
which the index lists.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delta_arb import places
from delta_arb.command import application, command, expanded, option, run
from delta_arb.errors import RunError
from delta_arb.quotes.options import config_option

EXAMPLES = (
    "delta-arb review                              the newest run of any mode",
    "delta-arb review 260105                       the newest whose id begins so",
    "delta-arb review --pair LUNC_USDT-mexc-gate --json",
)


def _of_pair(said: dict[str, Any]) -> dict[str, Any]:
    """The folder that the pipeline and the runner give the pair of these settings."""
    from delta_arb.market import pair_name, plain_pair

    name = {}
    if "pair" in said:
        name["pair"] = pair_name(
            plain_pair(said["pair"]), said.get("spot_venue", "mexc"), said.get("perp_venue", "gate")
        )
    return name | {key: said[key] for key in ("reports",) if key in said}


@dataclass(frozen=True, slots=True)
class ReviewOptions:
    """Which run is looked at."""

    run: str = option("", "id of the run, or how it begins (default: the newest)", argument=True, metavar="RUN")
    pair: str = option("", "folder of the pair, like LUNC_USDT-mexc-gate (default: any)", metavar="NAME")
    reports: Path | None = option(None, "where the runner journals  [default: reports/ of the project]", metavar="DIR")
    config: Path | None = config_option(_of_pair)
    trades: str = option(
        "", "trades of others at the venue of the leg that rested: which assumption its fills bear out", metavar="FILE"
    )
    json: bool = option(False, "end with one line of JSON on standard output")


def main(argv: Sequence[str] | None = None) -> int:
    """0 if the decisions are identical, 1 if they are not, 2 where nothing can be reviewed."""
    app = application()

    @command(app, ReviewOptions, *EXAMPLES)
    def review(options: ReviewOptions) -> int:
        """Was live what the backtest says? Decides a recorded run again and accounts for every difference.

        Exit code 0 if the decisions are identical, 1 if they are not, 2 where nothing can be reviewed.
        """
        return _review(options)

    return run(app, expanded(sys.argv[1:] if argv is None else argv, ReviewOptions), "delta-arb review")


def _review(options: ReviewOptions) -> int:
    from delta_arb.review import plots, tables
    from delta_arb.review.session_log import find, read
    from delta_arb.review.session_review import review

    reports = places.reports(options.reports)
    found = review(read(*find(reports, options.pair, options.run)), options.trades)
    print("\n\n".join(map(repr, tables.everything(found))), file=sys.stderr if options.json else sys.stdout)
    try:
        print(f"page    {plots.write(found, reports)}", file=sys.stderr)
    except OSError as error:
        raise RunError(f"the review above is whole, but its page cannot be written: {error}") from error
    if options.json:
        print(json.dumps(found.to_json()))
    return 0 if found.retraced.identical else 1


if __name__ == "__main__":
    sys.exit(main())
