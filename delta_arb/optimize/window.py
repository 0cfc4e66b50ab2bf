"""Which part of the quotes a choice may look at: the look-back, cut in a part to fit on and a later one that judges."""

import math
from dataclasses import dataclass

from delta_arb.errors import DataError
from delta_arb.market import NS
from delta_arb.optimize.study import Constraints
from delta_arb.quotes.tape import Tape

LEAST_FIT, LEAST_JUDGE = 100, 50  # events


@dataclass(frozen=True, slots=True)
class Window:
    """The look-back, cut in two: fit on [start, judged_from), judge on [judged_from, end]."""

    fit: Tape
    judge: Tape
    note: str

    @property
    def judged_from_ns(self) -> int:
        return self.judge.start_ns


def window(tape: Tape, constraints: Constraints) -> Window:
    """The last `look_back_h` hours of the tape; shorter data are used whole, and named."""
    wanted_ns = round(constraints.look_back_h * 3600 * NS)
    start_ns = max(tape.start_ns, tape.end_ns - wanted_ns)
    cut_ns = start_ns + round((tape.end_ns - start_ns) * constraints.fit_share)
    fit, judge = tape.between(start_ns, cut_ns), tape.between(cut_ns, tape.end_ns + 1)
    if len(fit) < LEAST_FIT or len(judge) < LEAST_JUDGE:
        raise DataError(
            f"{len(fit)} events to fit on and {len(judge)} to judge on are too few for a choice; {_enough(tape, constraints)}"
        )
    hours = (tape.end_ns - start_ns) / NS / 3600
    short = hours < 0.99 * constraints.look_back_h
    note = f"the last {hours:.1f} h" + (
        f" (shorter than the look-back of {constraints.look_back_h:g} h)" if short else ""
    )
    return Window(fit, judge, note)


def _enough(tape: Tape, constraints: Constraints) -> str:
    """What to do about a window with too few events: how far back to look, and whether the quotes go so far."""
    share, have_h = constraints.fit_share, (tape.end_ns - tape.start_ns) / NS / 3600
    needed = max(LEAST_FIT / share, LEAST_JUDGE / (1 - share))
    hours = math.ceil(1.2 * needed / len(tape) * have_h)  # not every hour has as many
    look = f"look back {hours} h (-p look_back_h={hours})"
    if hours <= have_h:
        return look
    return (
        f"record longer: {len(tape)} events in {have_h:.1f} h are given, it takes about {hours} h of them; then {look}"
    )
