"""`python -m delta_arb.review`: was live what the backtest says? One recorded run, decided again and accounted for.

    identical decisions   every recorded event through `decide` again: the same orders, or the first difference
    the bridge            a backtest of the quotes that the run saw, and from it to the run, each difference with its cause
    fills                 prices paid against the quotes decided on and met; fees and funding against those assumed

It reads the journal and the events of a run of any mode, also of one that is still running, and writes nothing.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from delta_arb.errors import DeltaArbError
from delta_arb.quotes.inputs import root
from delta_arb.review import costs, rehearsal, tables
from delta_arb.review.bridge import CAUSES, Bridge, bridge
from delta_arb.review.costs import Charged, Slipped, Stamp
from delta_arb.review.decisions import Retraced, retrace
from delta_arb.review.session_log import Recorded, find, read


@dataclass(frozen=True, slots=True)
class Review:
    """All that is found out about one run."""

    run: Recorded
    retraced: Retraced
    bridge: Bridge
    slipped: tuple[Slipped, ...]
    charged: tuple[Charged, ...]
    stamps: tuple[Stamp, ...]

    @property
    def alarms(self) -> tuple[Charged, ...]:
        return tuple(c for c in self.charged if c.alarm)

    def to_json(self) -> dict:
        """The findings as plain values, USDT and bps."""
        b = self.bridge
        return {
            "status": "identical" if self.retraced.identical else "differs",
            "difference": self.retraced.difference,
            "pair": self.run.name,
            "run_id": self.run.run_id,
            "mode": self.run.mode,
            "outcome": self.run.outcome,
            "synthetic": self.run.synthetic,
            "events": self.retraced.events,
            "decisions": self.retraced.decisions,
            "orders": self.retraced.orders,
            "pairs": len(b.pairs),
            "backtest_pairs": len(b.backtest),
            "backtest_net_usdt": b.backtest_net_usdt,
            "causes_usdt": {cause: b.usdt(cause) for cause in CAUSES},
            "net_usdt": b.net_usdt,
            "differences": len(b.differences),
            "fee_alarms": [f"{c.day} {('spot', 'perp')[c.leg]} {c.off_bps:+.3f} bps" for c in self.alarms],
        }


def of(run: Recorded) -> Review:
    """The review of a run.

    Raises:
        DataError: the run saw no quote while it was flat.
    """
    return Review(run, retrace(run), bridge(run), costs.slippage(run), costs.fees(run), costs.funding(run))


def load(reports: str = "", pair: str = "", run_id: str = "") -> Review:
    """The review of a run under `reports` (relative to the project), the newest unless named; without a folder, of the rehearsal.

    Raises:
        RunError: there is no such run.
    """
    if reports:
        return of(read(*find(root() / reports, pair, run_id)))
    with tempfile.TemporaryDirectory() as folder:
        rehearsal.rehearse(Path(folder))
        return of(read(*find(Path(folder))))


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
        found = of(read(*find(options.reports, options.pair, options.run)))
    except DeltaArbError as error:
        print(f"error: {error}", file=sys.stderr)
        if options.json:
            print(json.dumps({"status": "refused", "reason": str(error)}))
        return 2
    print("\n\n".join(map(repr, tables.everything(found))), file=out)
    if options.json:
        print(json.dumps(found.to_json()))
    return 0 if found.retraced.identical else 1
