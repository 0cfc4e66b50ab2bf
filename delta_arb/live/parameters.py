"""The newest exported parameters of a pair, read again when the file changes, and refused where they do not fit."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from delta_arb.errors import ParamsError
from delta_arb.object_store import is_url
from delta_arb.params import FEES, Bounds, Params, WalletParams, check_assumed, check_in_force, check_inventory, load
from delta_arb.publishing import PublishedParameters, pointer
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


def place(given: str | Path | None, reports: Path, name: str) -> Path | str:
    """Where a pair's parameters are: the file that was given, the pointer behind a URL that was given, or the newest export."""
    if is_url(given):
        return pointer(str(given), name)
    return Path(given) if given else reports / name / "params" / "latest.json"


class _File:
    """A parameter file on this disk, and how one knows that it is another one."""

    trouble = ""

    def __init__(self, path: Path) -> None:
        self._path = path

    def stamp(self) -> tuple[int, int]:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            raise ParamsError(absent(self._path)) from None
        return stat.st_mtime_ns, stat.st_ino

    def load(self) -> Params:
        return load(self._path)


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


def check_quotes(params: Params, where: str | Path) -> None:
    """Refuse what was chosen on synthetic quotes: no venue quotes them, whatever the pair is called."""
    if params.data.synthetic:
        raise ParamsError(
            f"{where}: chosen on synthetic quotes, which say nothing about {params.name} on its venues; run the pipeline on "
            "your own quotes of this pair (--spot, --perp), recorded or downloaded"
        )


class ParameterFile:
    """The newest parameters of a pair, reloaded when the file changes; `refused` says why there are none.

    `terms` are the venues' own order rules and fees, where they are known; else those of the file count. On `real_venues`
    parameters of synthetic quotes are refused.
    """

    def __init__(
        self,
        path: Path | str,
        pair: TradedPair,
        bounds: Bounds,
        now: Callable[[], datetime],
        terms: tuple[VenueTerms, VenueTerms] | None = None,
        say: Callable[[str], None] = lambda _: None,
        real_venues: bool = False,
    ) -> None:
        self._path, self._real_venues = path, real_venues
        self._say, self._told = say, ""
        self._source = PublishedParameters(str(path)) if is_url(path) else _File(Path(path))
        self._bounds, self._now = bounds, now
        self._name, self._venues, self._coins = pair.name, pair.terms(), pair.hedged_coins
        self._terms = terms
        self._seen: object = None
        self.params: Params | None = None
        self.refused = "not read yet"

    async def reached(self) -> None:
        """Have the first answer of a URL, which the loop does not wait for."""
        if isinstance(self._source, PublishedParameters):
            await asyncio.to_thread(self.poll)

    def poll(self) -> bool:
        """Look at the source and at the clock; True when the answer changed."""
        before = (self.params, self.refused)
        try:
            self._newest()
            check_in_force(self.params, self._name, self._now(), self._bounds)
            if self._real_venues:
                check_quotes(self.params, self._path)
            if self._bounds.cover_fees:
                check_fees(self.params, *(self._terms or (self.params.spot, self.params.perp)))
            check_assumed(self.params, *self._venues)
            check_inventory(self.params, self._coins)
            self.refused = ""
        except ParamsError as error:
            self.refused = str(error)
        self._tell()
        return before != (self.params, self.refused)

    def _tell(self) -> None:
        """Say when newer parameters are not heard of any more, and when they are again."""
        if self.params and self._source.trouble != self._told:
            self._told = self._source.trouble
            until = f"the parameters in force stay until {self.params.valid_until:%Y-%m-%d %H:%M} UTC"
            self._say(f"{self._told}; {until}" if self._told else "newer parameters are heard of again")

    def _newest(self) -> None:
        """Read again what has changed; nothing is in force where nothing can be read."""
        try:
            stamp = self._source.stamp()
            if stamp != self._seen or self.params is None:
                self._seen, self.params = stamp, None
                self.params = self._source.load()
        except ParamsError:
            self.params = None
            raise

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
