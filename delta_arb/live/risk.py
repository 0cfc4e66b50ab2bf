"""What holds entries back: guards, halts, a journal that cannot be written, a start or a stop under way.

The session tells facts and asks what is allowed; what changed is told to a person. A halt is noted in the journal, and
only `resume` lifts it.
"""

from collections.abc import Callable

from delta_arb.live import guards
from delta_arb.live.config import Config
from delta_arb.live.guards import FLATTEN, HALT, NO_ENTRY, Facts, Held
from delta_arb.live.journal import Journal, JournalError
from delta_arb.live.runner import FREE, Hold


class Risk:
    """What one session may do now. `closed` until it has taken up what was open; `leaving` closes the open pair."""

    def __init__(self, config: Config, journal: Journal, say: Callable[[str], None], *, leaving: bool) -> None:
        self._config, self._journal, self._say = config, journal, say
        self.held: tuple[Held, ...] = ()
        self.closed, self.leaving = True, leaving
        self.journal_error = ""
        last = journal.last_note("halt", "resume")
        self.halted = last[1] if last and last[0] == "halt" else ""

    def allowed(self, facts: Facts) -> Hold:
        """What the guards allow on these facts; a person hears what is new."""
        before, self.held = self.held, guards.check(facts, self._config)
        for held in self.held:
            if held.level == HALT and not self.halted:
                self.halt(held.reason)
            if held.guard not in {h.guard for h in before}:
                self._say(str(held))
        for gone in {h.guard for h in before} - {h.guard for h in self.held}:
            self._say(f"no longer: {gone}")
        worst = self.held[0].level if self.held else 0
        flatten = self.leaving or any(h.level == FLATTEN for h in self.held)
        may_enter = worst < NO_ENTRY and not (flatten or self.closed or self.halted)
        return FREE if may_enter else Hold(False, flatten)

    def halt(self, reason: str) -> None:
        """No entries until a person resumes; what is open is managed to its end."""
        if self.halted == reason:
            return
        self.halted = reason
        self.kept(self._journal.note, "halt", reason)
        self._say(f"HALTED: {reason}")

    def lift(self) -> None:
        """A person says that all is well; JournalError where that cannot be noted."""
        self._journal.note("resume", self.halted)
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
        """Whether the journal can be written again."""
        if self.journal_error and self.kept(self._journal.note, "disk", "writable again"):
            self.journal_error = ""
