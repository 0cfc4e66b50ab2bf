"""The newest exported parameters of a pair, read again when the file changes, and refused where they do not fit."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from delta_arb.errors import ParamsError
from delta_arb.params import FEES, Bounds, Params, WalletParams, check_assumed, check_in_force, check_inventory, load
from delta_arb.strategy.rule import make_rule
from delta_arb.strategy.state import MachineRule
from delta_arb.venue_terms import VenueTerms


class TradedPair(Protocol):
    """Which pair is traded, and what is assumed of its venues: `Inputs` of a replay, or the live configuration."""

    @property
    def name(self) -> str: ...

    @property
    def hedged_coins(self) -> float: ...

    def terms(self) -> tuple[VenueTerms, VenueTerms]: ...


def absent(path: Path) -> str:
    """What is said where no parameters were exported yet."""
    return f"{path}: there is no parameter file; run the pipeline for this pair first"


def check_fees(params: Params, spot: VenueTerms, perp: VenueTerms) -> None:
    """Refuse a rule that loses with each pair that it closes at its target, by the fees that the accounts really pay.

    A file is consistent with the fees that it states itself; a carry rule is paid by funding.
    """
    cost_bps = params.rule.takers() * (spot.taker_fee_bps + perp.taker_fee_bps)
    for way, (enter, leave) in params.rule.levels.items():
        if enter - leave <= cost_bps and not params.rule.funding_horizon_s:
            raise ParamsError(
                f"{way}entry_bps={enter:g} less {way}exit_bps={leave:g} does not exceed the {cost_bps:g} bps that the "
                f"{FEES[params.rule.takers()]} taker fees of a pair cost; choose thresholds further apart, or write "
                "cover_fees = false into the limits"
            )


class ParameterFile:
    """The newest parameters of a pair, reloaded when the file changes; `refused` says why there are none.

    `terms` are the venues' own order rules and fees, where they are known; else those of the file count.
    """

    def __init__(
        self,
        path: Path,
        pair: TradedPair,
        bounds: Bounds,
        now: Callable[[], datetime],
        terms: tuple[VenueTerms, VenueTerms] | None = None,
    ) -> None:
        self._path, self._bounds, self._now = Path(path), bounds, now
        self._name, self._venues, self._coins = pair.name, pair.terms(), pair.hedged_coins
        self._terms = terms
        self._seen: tuple[int, int] | None = None
        self.params: Params | None = None
        self.refused = "not read yet"

    def poll(self) -> bool:
        """Look at the file and at the clock; True when the answer changed."""
        before = (self.params, self.refused)
        try:
            stat = self._path.stat()
            if (stat.st_mtime_ns, stat.st_ino) != self._seen or self.params is None:
                self._seen = (stat.st_mtime_ns, stat.st_ino)
                self.params = None
                self.params = load(self._path)
            if self.params.rule.resting:
                raise ParamsError(
                    "a leg of these parameters rests, and the runner does not rest orders yet; choose takers"
                )
            check_in_force(self.params, self._name, self._now(), self._bounds)
            if self._bounds.cover_fees:
                check_fees(self.params, *(self._terms or (self.params.spot, self.params.perp)))
            check_assumed(self.params, *self._venues)
            check_inventory(self.params, self._coins)
            self.refused = ""
        except FileNotFoundError:
            self.params, self.refused = None, absent(self._path)
        except ParamsError as error:
            self.refused = str(error)
        return before != (self.params, self.refused)

    @property
    def wallets(self) -> WalletParams:
        """What the parameters assume of the wallets; nothing before any."""
        return self.params.wallets if self.params else WalletParams()

    def first(self, before: MachineRule | None) -> MachineRule:
        """Read for the first time; `before` is the rule of what is open. ParamsError where there is neither."""
        self.poll()
        rule = self.newest(before)
        if rule is None:
            raise ParamsError(self.refused)
        return rule

    def newest(self, before: MachineRule | None) -> MachineRule | None:
        """The rule of the next entry: that of the file, or the one of `before` without entries."""
        return self.rule() or (before and before._replace(may_enter=False))

    def rule(self) -> MachineRule | None:
        """The machine's rule: entries only on parameters that are accepted and say trade; None before any."""
        if self.params is None:
            return None
        rule = make_rule(self.params.rule, *(self._terms or (self.params.spot, self.params.perp)))
        return rule._replace(may_enter=rule.may_enter and self.params.trade and not self.refused)


def utc_now() -> datetime:
    return datetime.now(UTC)
