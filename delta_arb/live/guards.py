"""Guards: each compares one fact with its number in the configuration and answers with a reason, or with nothing.

    NO_ENTRY  no new pair until it passes
    FLATTEN   no new pair, and the open one is left now
    HALT      no new pair until a person resumes; the open one is managed to its end

Pure functions; who collects the facts is the session.
"""

import math
from collections.abc import Callable, Sequence
from operator import ge, gt, lt
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

    @property
    def worst_clock_ms(self) -> float:
        return max(self.clock_offset_ms, key=abs)


class Breach(NamedTuple):
    """A guard that acts: its name, what it does, and why."""

    guard: str
    level: int
    reason: str

    def __str__(self) -> str:
        return f"{LEVELS[self.level]} ({self.guard}): {self.reason}"


class Told(NamedTuple):
    """A guard that acts while there are words in a fact, and answers with them."""

    guard: str
    level: int
    fact: str
    reason: str = "{}"

    def breach(self, facts: Facts, config: Config) -> Breach | None:
        words = getattr(facts, self.fact)
        return Breach(self.guard, self.level, self.reason.format(words)) if words else None


class Compared(NamedTuple):
    """A guard that compares a number of the facts (`v`) with its limit (`m`); `while_open` is its level while a pair is.

    `unit` is that of `distances`, empty where there is none; `part` tells two numbers of one guard apart there.
    """

    guard: str
    level: int
    value: Callable[[Facts], float]
    acts: Callable[[float, float], bool]
    limit: Callable[[Config], float]
    unit: str
    reason: str
    part: str = ""
    while_open: int | None = None

    def breach(self, facts: Facts, config: Config) -> Breach | None:
        value, limit = self.value(facts), self.limit(config)
        level = self.while_open if facts.open and self.while_open is not None else self.level
        reason = self.reason.format(v=value, m=limit, f=facts)
        return Breach(self.guard, level, reason) if level and self.acts(value, limit) else None


GUARDS: Sequence[Told | Compared] = (
    Compared("position", FLATTEN, lambda f: f.held_usdt, gt, lambda c: c.limits.max_position_usdt * (1.0 + c.guards.position_headroom),
             "USDT", "{v:.2f} USDT are held, the limit is {m:g} (max_position_usdt and its headroom)"),
    Compared("unequal legs", HALT, lambda f: f.naked_usdt, gt, lambda c: c.limits.max_clip_usdt,
             "USDT", "the legs differ by {v:.2f} USDT, more than a clip of {m:g}"),
    Compared("orders", NO_ENTRY, lambda f: f.orders_minute, ge, lambda c: c.guards.max_orders_minute,
             "a minute", "{v} orders within a minute, the limit is {m}"),
    Compared("loss of the day", HALT, lambda f: -f.net_day_usdt, ge, lambda c: c.limits.max_loss_day_usdt,
             "USDT", "{v:.2f} USDT lost today, the limit is {m:g}", while_open=FLATTEN),
    Compared("failures", HALT, lambda f: f.failures, ge, lambda c: c.guards.max_failures,
             "in a row", "{v} entries in a row were refused or unwound; find out why before `resume`"),
    Compared("liquidation", FLATTEN, lambda f: 100.0 * f.liquidation_distance, lt, lambda c: 100.0 * c.guards.min_liquidation_distance,
             "% away", "liquidation is {v:.1f} % away, the limit is {m:.1f} %; add margin or lower the leverage"),
    Compared("auto-deleveraging", FLATTEN, lambda f: f.adl_rank, lambda rank, worst: 0 < rank <= worst, lambda c: c.guards.worst_adl_rank,
             "", "rank {v} in the queue of auto-deleveraging, {m} is the limit"),
    Told("funding", NO_ENTRY, "funding_missing", "{}, and the parameters count on funding"),
    Compared("funding", NO_ENTRY, lambda f: to_bps(-f.funding_rate), gt, lambda c: c.guards.max_funding_against_bps,
             "bps against a short", "the next funding costs a short {v:.1f} bps, the limit is {m:g}"),
    Compared("margin", NO_ENTRY, lambda f: f.margin_free_usdt, lt, lambda c: c.guards.min_margin_usdt,
             "USDT free", "{v:.2f} USDT of margin are free, the floor is {m:g}; `status` names the transfer", ", futures"),
    Compared("margin", NO_ENTRY, lambda f: f.spot_free_usdt, lt, lambda c: c.guards.min_spot_usdt,
             "USDT free", "{v:.2f} USDT are free for coins, the floor is {m:g}; `status` names the transfer", ", spot", while_open=0),
    Compared("clock", NO_ENTRY, lambda f: abs(f.worst_clock_ms), gt, lambda c: c.guards.max_clock_offset_ms,
             "ms", "a clock is {f.worst_clock_ms:+.0f} ms from ours, the limit is {m:g}; set the clock"),
    Told("parameters", NO_ENTRY, "refused_parameters"),
    Told("kill file", FLATTEN, "kill_file", "{} exists; remove it to go on"),
    Told("disk", NO_ENTRY, "journal"),
    Compared("disk", NO_ENTRY, lambda f: f.disk_free_mb, lt, lambda c: c.guards.min_disk_mb,
             "MB free", "{v:.0f} MB are free on the disk, the floor is {m:g}; no order leaves without its row"),
    Told("outside", HALT, "outside"),
    Told("network", NO_ENTRY, "network"),
    Told("blind", NO_ENTRY, "blind"),
    Told("terms", FLATTEN, "closed"),
    Told("terms", NO_ENTRY, "terms"),
    Told("foreign order", NO_ENTRY, "foreign"),
)  # fmt: skip


def check(facts: Facts, config: Config) -> tuple[Breach, ...]:
    """All guards that act on these facts, the strongest first; each says the first thing that it finds."""
    found: dict[str, Breach] = {}
    for guard in GUARDS:
        if breach := guard.breach(facts, config):
            found.setdefault(guard.guard, breach)
    return tuple(sorted(found.values(), key=lambda breach: -breach.level))


class Distance(NamedTuple):
    """How far a guard is from acting: the fact, its limit, and whether it acts above or below that."""

    guard: str
    value: float
    limit: float
    unit: str
    above: bool


def distances(facts: Facts, config: Config) -> tuple[Distance, ...]:
    """Of the guards that compare numbers; those that answer yes or no are in `check` alone."""
    return tuple(
        Distance(g.guard + g.part, g.value(facts), g.limit(config), g.unit, g.acts is not lt)
        for g in GUARDS
        if isinstance(g, Compared) and g.unit
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
