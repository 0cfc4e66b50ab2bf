"""One set of thresholds as a search tries it: levels of one direction or of both, longest hold, filter and horizon."""

import math
from typing import NamedTuple

from delta_arb.evidence import FilterParams
from delta_arb.market import from_bps
from delta_arb.strategy.state import DIRECT, REVERSE


class Levels(NamedTuple):
    """Entry and exit of one direction, bps."""

    entry_bps: float
    exit_bps: float


class Thresholds(NamedTuple):
    """One set: levels, longest hold, the filter behind the signal (None decides on raw quotes), and the horizon whose
    expected funding counts as edge (0: none; carry has one).

    The levels are those of `side`: of the direct pair, or of the reverse one alone (`REVERSE`). A direct set that trades
    both directions has the reverse pair's levels in `reverse`; hold, filter and horizon belong to the machine.
    """

    entry_bps: float
    exit_bps: float
    max_hold_s: float
    filter: FilterParams | None = None
    funding_horizon_s: float = 0.0
    side: int = DIRECT
    reverse: Levels | None = None

    def levels(self, side: int) -> Levels | None:
        """Entry and exit of a direction; None where it is not traded."""
        return Levels(self.entry_bps, self.exit_bps) if side == self.side else self.reverse

    def alone(self, side: int) -> "Thresholds | None":
        """The same with one direction only; None where that one is not traded."""
        levels = self.levels(side)
        return levels and self._replace(**levels._asdict(), side=side, reverse=None)

    def values(self) -> dict:
        """The fields of `Rule` that a set decides."""
        (enter, leave), (reverse_enter, reverse_leave) = (
            self.levels(side) or (None, None) for side in (DIRECT, REVERSE)
        )
        return {
            "entry_bps": enter, "exit_bps": leave, "reverse_entry_bps": reverse_enter, "reverse_exit_bps": reverse_leave,
            "max_hold_s": self.max_hold_s, "funding_horizon_s": self.funding_horizon_s, "filter": self.filter,
            "signal": "filtered" if self.filter else "raw",
        }  # fmt: skip


def both(direct: Thresholds | None, reverse: Thresholds | None) -> Thresholds | None:
    """One set of a direct and a reverse one, for the one machine that trades both: it holds as long as the longer."""
    if direct is None or reverse is None:
        return direct or reverse
    hold_s = max(direct.max_hold_s, reverse.max_hold_s)
    return direct._replace(max_hold_s=hold_s, reverse=reverse.levels(REVERSE))


def rule_levels(s: Thresholds) -> dict[str, float]:
    """The levels of a set as `MachineRule` has them."""
    (enter, leave), (reverse_enter, reverse_leave) = (s.levels(side) or OFF for side in (DIRECT, REVERSE))
    return {
        "entry": from_bps(enter), "exit": from_bps(leave),
        "reverse_entry": from_bps(reverse_enter), "reverse_exit": from_bps(reverse_leave),
    }  # fmt: skip


OFF = Levels(math.inf, -math.inf)
