"""Guards: each compares one fact with its number in the configuration and answers with a reason, or with nothing.

    NO_ENTRY  no new pair until it passes
    FLATTEN   no new pair, and the open one is left now
    HALT      no new pair until a person resumes; the open one is managed to its end

Pure functions; who collects the facts is the session.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from delta_arb.live.config import Config
from delta_arb.live.journal import ORDERED, JournalError
from delta_arb.live.messages import HALT as HALTED
from delta_arb.live.resources import Resources
from delta_arb.live.runner import FREE, Hold
from delta_arb.market import to_bps

NO_ENTRY, FLATTEN, HALT = range(1, 4)
LEVELS = ("", "no entries", "leaving", "halted")


class Facts(NamedTuple):
    """What the guards look at. Not known yet, or nothing to be known, is NaN or infinity, which holds nothing up:
    entries wait for the first look at the accounts, and `blind` tells when there is no newer one."""

    held_usdt: float = 0.0  # the larger leg at its price
    naked_usdt: float = 0.0  # what the legs differ by, while no order works
    orders_minute: int = 0
    net_day_usdt: float = 0.0  # closed pairs of the UTC day, and the open one at its exit side
    failures: int = 0  # entries in a row that were refused or unwound
    liquidation_distance: float = math.inf  # of the mark, as a fraction
    adl_rank: int = 0
    funding_rate: float = 0.0  # the next stamp's; a short pays where it is negative
    funding_missing: str = ""  # of the settled stamps that the parameters count on
    margin_free_usdt: float = math.inf
    spot_free_usdt: float = math.inf
    clock_offset_ms: tuple[float, ...] = (0.0,)  # of both venues, and of our wall clock since it was set back
    refused_parameters: str = ""
    kill_file: str = ""
    disk_free_mb: float = math.inf
    journal: str = ""
    outside: str = ""  # a difference that nobody ordered
    blind: str = ""  # a venue that does not answer: a clock, an account, funding, an order stream
    network: str = ""  # neither venue can be reached
    terms: str = ""  # of a market, that are not known well enough
    closed: str = ""  # a market that takes no new orders
    foreign: str = ""  # an order on this market that is not ours
    open: bool = False


class Breach(NamedTuple):
    """A guard that acts: its name, what it does, and why."""

    guard: str
    level: int
    reason: str

    def __str__(self) -> str:
        return f"{LEVELS[self.level]} ({self.guard}): {self.reason}"


def check(facts: Facts, config: Config) -> tuple[Breach, ...]:
    """All guards that act on these facts, the strongest first."""
    held = [Breach(name, *found) for name, guard in GUARDS if (found := guard(facts, config))]
    return tuple(sorted(held, key=lambda h: -h.level))


Found = tuple[int, str] | None


def _position(f: Facts, c: Config) -> Found:
    limit = c.limits.max_position_usdt * (1.0 + c.guards.position_headroom)
    if f.held_usdt > limit:
        return FLATTEN, f"{f.held_usdt:.2f} USDT are held, the limit is {limit:g} (max_position_usdt and its headroom)"
    return None


def _unequal(f: Facts, c: Config) -> Found:
    if f.naked_usdt > c.limits.max_clip_usdt:
        return HALT, f"the legs differ by {f.naked_usdt:.2f} USDT, more than a clip of {c.limits.max_clip_usdt:g}"
    return None


def _orders(f: Facts, c: Config) -> Found:
    if f.orders_minute >= c.guards.max_orders_minute:
        return NO_ENTRY, f"{f.orders_minute} orders within a minute, the limit is {c.guards.max_orders_minute}"
    return None


def _loss(f: Facts, c: Config) -> Found:
    if f.net_day_usdt <= -c.limits.max_loss_day_usdt:
        lost = f"{-f.net_day_usdt:.2f} USDT lost today, the limit is {c.limits.max_loss_day_usdt:g}"
        return (FLATTEN, lost) if f.open else (HALT, lost)
    return None


def _failures(f: Facts, c: Config) -> Found:
    if f.failures >= c.guards.max_failures:
        return HALT, f"{f.failures} entries in a row were refused or unwound; find out why before `resume`"
    return None


def _liquidation(f: Facts, c: Config) -> Found:
    if f.liquidation_distance < c.guards.min_liquidation_distance:
        return (
            FLATTEN,
            f"liquidation is {f.liquidation_distance:.1%} away, the limit is {c.guards.min_liquidation_distance:.1%}; "
            "add margin or lower the leverage",
        )
    return None


def _adl(f: Facts, c: Config) -> Found:
    if 0 < f.adl_rank <= c.guards.worst_adl_rank:
        return FLATTEN, f"rank {f.adl_rank} in the queue of auto-deleveraging, {c.guards.worst_adl_rank} is the limit"
    return None


def _funding(f: Facts, c: Config) -> Found:
    if f.funding_missing:
        return NO_ENTRY, f"{f.funding_missing}, and the parameters count on funding"
    if to_bps(-f.funding_rate) > c.guards.max_funding_against_bps:
        return (
            NO_ENTRY,
            f"the next funding costs a short {to_bps(-f.funding_rate):.1f} bps, the limit is "
            f"{c.guards.max_funding_against_bps:g}",
        )
    return None


def _margin(f: Facts, c: Config) -> Found:
    if f.margin_free_usdt < c.guards.min_margin_usdt:
        return (
            NO_ENTRY,
            f"{f.margin_free_usdt:.2f} USDT of margin are free, the floor is "
            f"{c.guards.min_margin_usdt:g}; `status` names the transfer",
        )
    if f.spot_free_usdt < c.guards.min_spot_usdt and not f.open:
        return (
            NO_ENTRY,
            f"{f.spot_free_usdt:.2f} USDT are free for coins, the floor is "
            f"{c.guards.min_spot_usdt:g}; `status` names the transfer",
        )
    return None


def _clock(f: Facts, c: Config) -> Found:
    worst = max(f.clock_offset_ms, key=abs)
    if abs(worst) > c.guards.max_clock_offset_ms:
        return (
            NO_ENTRY,
            f"a clock is {worst:+.0f} ms from ours, the limit is {c.guards.max_clock_offset_ms:g}; set the clock",
        )
    return None


def _parameters(f: Facts, c: Config) -> Found:
    return (NO_ENTRY, f.refused_parameters) if f.refused_parameters else None


def _kill(f: Facts, c: Config) -> Found:
    return (FLATTEN, f"{f.kill_file} exists; remove it to go on") if f.kill_file else None


def _disk(f: Facts, c: Config) -> Found:
    if f.journal:
        return NO_ENTRY, f.journal
    if f.disk_free_mb < c.guards.min_disk_mb:
        return (
            NO_ENTRY,
            f"{f.disk_free_mb:.0f} MB are free on the disk, the floor is "
            f"{c.guards.min_disk_mb:g}; no order leaves without its row",
        )
    return None


def _outside(f: Facts, c: Config) -> Found:
    return (HALT, f.outside) if f.outside else None


def _blind(f: Facts, c: Config) -> Found:
    return (NO_ENTRY, f.blind) if f.blind else None


def _network(f: Facts, c: Config) -> Found:
    return (NO_ENTRY, f.network) if f.network else None


def _terms(f: Facts, c: Config) -> Found:
    if f.closed:
        return FLATTEN, f.closed
    return (NO_ENTRY, f.terms) if f.terms else None


def _foreign(f: Facts, c: Config) -> Found:
    return (NO_ENTRY, f.foreign) if f.foreign else None


GUARDS: Sequence[tuple[str, Callable[[Facts, Config], Found]]] = (
    ("position", _position), ("unequal legs", _unequal), ("orders", _orders), ("loss of the day", _loss),
    ("failures", _failures), ("liquidation", _liquidation), ("auto-deleveraging", _adl), ("funding", _funding),
    ("margin", _margin), ("clock", _clock), ("parameters", _parameters), ("kill file", _kill), ("disk", _disk),
    ("outside", _outside), ("network", _network), ("blind", _blind), ("terms", _terms), ("foreign order", _foreign),
)  # fmt: skip


class Distance(NamedTuple):
    """How far a guard is from acting: the fact, its limit, and whether it acts above or below that."""

    guard: str
    value: float
    limit: float
    unit: str
    above: bool = True


def distances(f: Facts, c: Config) -> tuple[Distance, ...]:
    """Of the guards that compare numbers; those that answer yes or no are in `check` alone."""
    g = c.guards
    return (
        Distance("position", f.held_usdt, c.limits.max_position_usdt * (1.0 + g.position_headroom), "USDT"),
        Distance("unequal legs", f.naked_usdt, c.limits.max_clip_usdt, "USDT"),
        Distance("orders", f.orders_minute, g.max_orders_minute, "a minute"),
        Distance("loss of the day", -f.net_day_usdt, c.limits.max_loss_day_usdt, "USDT"),
        Distance("failures", f.failures, g.max_failures, "in a row"),
        Distance("liquidation", 100.0 * f.liquidation_distance, 100.0 * g.min_liquidation_distance, "% away", False),
        Distance("funding", to_bps(-f.funding_rate), g.max_funding_against_bps, "bps against a short"),
        Distance("margin, futures", f.margin_free_usdt, g.min_margin_usdt, "USDT free", False),
        Distance("margin, spot", f.spot_free_usdt, g.min_spot_usdt, "USDT free", False),
        Distance("clock", max(map(abs, f.clock_offset_ms)), g.max_clock_offset_ms, "ms"),
        Distance("disk", f.disk_free_mb, g.min_disk_mb, "MB free", False),
    )


class Risk:
    """What one session may do now. `closed` until it has taken up what was open; `leaving` closes the open pair."""

    def __init__(self, resources: Resources, *, leaving: bool) -> None:
        self._config, self._journal = resources.config, resources.journal
        self._say, self._alerts = resources.say, resources.alerts
        self.breaches: tuple[Breach, ...] = ()
        self.facts = Facts()  # at the last look
        self.closed, self.leaving = True, leaving
        self.journal_error = ""
        last = self._journal.last_note("halt", "resume")
        self.halted = last[1] if last and last[0] == "halt" else ""

    def allowed(self, facts: Facts) -> Hold:
        """What the guards allow on these facts; a person hears what is new."""
        before, self.breaches, self.facts = self.breaches, check(facts, self._config), facts
        for held in self.breaches:
            if held.level == HALT and not self.halted:
                self.halt(held.reason)
            if held.guard not in {h.guard for h in before}:
                self._say(str(held))
                self._alerts.guard(held.guard, held.reason, is_open=facts.open)
        for gone in {h.guard for h in before} - {h.guard for h in self.breaches}:
            self._say(f"no longer: {gone}")
        worst = self.breaches[0].level if self.breaches else 0
        flatten = self.leaving or any(h.level == FLATTEN for h in self.breaches)
        may_enter = worst < NO_ENTRY and not (flatten or self.closed or self.halted)
        return FREE if may_enter else Hold(False, flatten)

    def halt(self, reason: str) -> None:
        """No entries until a person resumes; what is open is managed to its end."""
        if self.halted == reason:
            return
        self.halted = reason
        self.kept(self._journal.note, "halt", reason)
        self._say(f"HALTED: {reason} (what to do: docs/runner/halts.md)")
        self._alerts.ring(HALTED, reason)

    def ordered(self, what: str, *, leaving: bool = False) -> None:
        """A person spoke: for the review, which else would look for a guard."""
        self.leaving |= leaving
        self.kept(self._journal.note, ORDERED, what)

    def lift(self, by: str) -> None:
        """A person says that all is well; JournalError where that cannot be noted."""
        self._journal.note("resume", f"{self.halted} (lifted by {by})")
        self.halted, self.leaving = "", False

    def kept(self, write: Callable[..., None], *what) -> bool:
        """Whether the journal took it; where it did not, entries are held back."""
        try:
            write(*what)
        except JournalError as error:
            self.unwritten(error)
            return False
        return True

    def unwritten(self, error: JournalError) -> None:
        """The journal does not take what must be in it."""
        if not self.journal_error:
            self._say(str(error))
        self.journal_error = str(error)

    def try_journal(self) -> None:
        """Whether the journal is still the one that was opened; and after an error, whether it can be written again."""
        if not self.kept(self._journal.check):
            return
        if self.journal_error and self.kept(self._journal.note, "disk", "writable again"):
            self.journal_error = ""
