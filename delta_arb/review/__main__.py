"""`python -m delta_arb.review`: was live what the backtest says? One recorded run, decided again and accounted for.

    identical decisions   every recorded event through `decide` again: the same orders, or the first difference
    the bridge            a backtest of the quotes that the run saw, and from it to the run, each difference with its cause
    fills                 prices paid against the quotes decided on and met; fees and funding against those assumed

It reads the journal and the events of a run of any mode, also of one that is still running, and writes nothing.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from delta_arb.errors import DeltaArbError
from delta_arb.quotes.inputs import root
from delta_arb.review import tables
from delta_arb.review.session_log import find, read
from delta_arb.review.session_review import review


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        "python -m delta_arb.review",
        description="Was live what the backtest says? Decides a recorded run again and accounts for every difference.",
    )
    p.add_argument(
        "run", nargs="?", default="", metavar="RUN", help="id of the run, or how it begins (default: the newest)"
    )
    p.add_argument(
        "--pair", default="", metavar="NAME", help="folder of the pair, like LUNC_USDT-mexc-gate (default: any)"
    )
    p.add_argument(
        "--reports",
        type=Path,
        default=root() / "reports",
        metavar="DIR",
        help="where the runner journals (default: reports/)",
    )
    p.add_argument("--json", action="store_true", help="end with one line of JSON on standard output")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """0 if the decisions are identical, 1 if they are not, 2 where nothing can be reviewed."""
    options = parser().parse_args(argv)
    out = sys.stderr if options.json else sys.stdout
    try:
        found = review(read(*find(options.reports, options.pair, options.run)))
    except DeltaArbError as error:
        print(f"error: {error}", file=sys.stderr)
        if options.json:
            print(json.dumps({"status": "refused", "reason": str(error)}))
        return 2
    print("\n\n".join(map(repr, tables.everything(found))), file=out)
    if options.json:
        print(json.dumps(found.to_json()))
    return 0 if found.retraced.identical else 1


if __name__ == "__main__":
    sys.exit(main())
