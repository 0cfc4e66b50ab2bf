"""All that is found out about one recorded run: decided again, accounted for, its fills and charges compared."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from delta_arb.errors import ParamsError
from delta_arb.funding_stamps import HeldStamp
from delta_arb.places import placed
from delta_arb.quotes.files import LegFile
from delta_arb.quotes.prints import NO_PRINTS, Prints, read_prints
from delta_arb.review import costs, rehearsal
from delta_arb.review.bridge import CAUSES, Bridge, bridge
from delta_arb.review.costs import Charged, Slipped
from delta_arb.review.decisions import Retraced, retrace
from delta_arb.review.resting import OwnQuotes, own_quotes
from delta_arb.review.session_log import Recorded, find, read


@dataclass(frozen=True, slots=True)
class Review:
    """All that is found out about one run."""

    run: Recorded
    retraced: Retraced
    bridge: Bridge
    slipped: tuple[Slipped, ...]
    charged: tuple[Charged, ...]
    stamps: tuple[HeldStamp, ...]
    rested: OwnQuotes | None = None

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


def review(run: Recorded, trades: str = "") -> Review:
    """The review of a run; `trades`: a file of those of others at the venue of the leg that rests, by our clock or the venue's.

    Raises:
        DataError: the run saw no quote while it was flat; or the trades cannot be read.
    """
    found = retrace(run), bridge(run), costs.slippage(run), costs.fees(run), costs.funding(run)
    others = _trades_of_others(run, trades)
    return Review(run, *found, own_quotes(run, others) if run.seen_flat else None)


def _trades_of_others(run: Recorded, trades: str) -> Prints:
    if not trades:
        return NO_PRINTS
    if run.params.rule.maker_leg is None:
        raise ParamsError(
            "trades of others say how what rests fills, and both legs took in this run; leave --trades away"
        )
    terms = run.params.spot if run.params.rule.maker_leg == "spot" else run.params.perp
    return read_prints(trades, LegFile(trades, "updates", contract_size=terms.contract_size))[0]


def load(reports: str = "", pair: str = "", run_id: str = "", trades: str = "") -> Review:
    """The review of a run under `reports` (see `places.placed`), the newest unless named; without a folder, of the rehearsal.

    Raises:
        RunError: there is no such run.
    """
    if reports:
        return review(read(*find(Path(placed(reports)), pair, run_id)), trades)
    with tempfile.TemporaryDirectory() as folder:
        rehearsal.rehearse(Path(folder))
        return review(read(*find(Path(folder))))
