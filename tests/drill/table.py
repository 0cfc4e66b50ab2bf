"""What a drill found, as tables and as one file that holds every run."""

import json
import os
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from delta_arb import __version__
from drill.measures import Outcome, percentile

FOLDER = Path(__file__).resolve().parents[2] / "reports" / "drill"
HEAD = (
    "runs", "flat or hedged", "rung instead", "after s", "worst naked s", "p99 naked s", "worst naked USDT", "ids twice",
    "journal = venues", "false books",
)  # fmt: skip
RUNG = "an alarm is enough"  # the venue is silent, refuses for good, or took what is not the pair's
MOST_NAKED_S, CLIP_USDT = 2.0, 48.0 + 1e-6


def summed(outcomes: Sequence[Outcome]) -> list[str]:
    """The cells of one line."""
    played = [o for o in outcomes if o.ended != "not played"]
    naked = [o.naked_s for o in played]
    rung = [o.alarm_s for o in played if not o.safe and o.alarm_s is not None]
    return [
        str(len(played)),
        str(sum(o.safe for o in played)),
        str(sum(not o.safe and bool(o.alarms) for o in played)),
        f"{max(rung, default=0.0):.1f}" if rung else "",
        f"{max(naked, default=0.0):.2f}",
        f"{percentile([o.counted_s for o in played], 0.99):.2f}",
        f"{max((o.naked_usdt for o in played), default=0.0):.0f}",
        str(sum(o.twice for o in played)),
        f"{sum(not o.differs for o in played)}",
        str(sum(o.false_books for o in played)),
    ]


def lines(outcomes: Sequence[Outcome], first: Sequence[str], of: Callable[[Outcome], tuple[str, ...]]) -> list[str]:
    """A Markdown table with one line for each group, in the order in which the groups came, and both classes at the end."""
    groups: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(of(outcome), []).append(outcome)
    rows = [[*name, *summed(group)] for name, group in groups.items()]
    classes = (("all that must end safe", judged(outcomes)), (f"all: {RUNG}", judged(outcomes, safe=False)))
    total = [[name, *[""] * (len(first) - 1), *summed(group)] for name, group in classes if group]
    return [_row([*first, *HEAD]), _row(["---"] * (len(first) + len(HEAD))), *map(_row, rows + total)]


def judged(outcomes: Sequence[Outcome], *, safe: bool = True) -> list[Outcome]:
    """Those in which both venues answer and none refuses for good; or the others."""
    return [o for o in outcomes if (o.answers and o.must_end_safe) == safe]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def by_kind(outcomes: Sequence[Outcome]) -> list[str]:
    return lines(outcomes, ("kind of fault",), lambda o: (o.kind if judged([o]) else f"{o.kind}: {RUNG}",))


def by_fault(outcomes: Sequence[Outcome]) -> list[str]:
    return lines(outcomes, ("fault", "leg", "phase"), lambda o: (o.name, o.leg, o.phase))


def bars(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The bars, and what was measured; naked time where both venues answer."""
    answered = [o for o in judged(outcomes) if o.ended != "not played"]
    naked = [o.counted_s for o in answered]
    return {
        "runs": len(outcomes),
        "not_played": sum(o.ended == "not played" for o in outcomes),
        "failures": sum(bool(o.failures) for o in outcomes),
        "ids_twice": sum(o.twice for o in outcomes),
        "answered_runs": len(answered),
        "answered_safe": sum(o.safe for o in answered),
        "naked_p99_s": round(percentile(naked, 0.99), 3),
        "naked_over_2_s": sum(s > MOST_NAKED_S for s in naked),
        "naked_over_a_clip": sum(o.naked_usdt > CLIP_USDT for o in answered),
    }


def meta(command: str, **what: Any) -> dict[str, Any]:
    """When, by what, on what."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "command": command,
        "versions": {"delta_arb": __version__, "python": platform.python_version()}
        | {name: version(name) for name in ("ccxt", "aiohttp", "uvloop")},
        "processors": os.cpu_count(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        **what,
    }


def write(name: str, outcomes: Sequence[Outcome], of: dict[str, Any]) -> Path:
    """reports/drill/<name>.md and .json; returns the first."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(
        json.dumps(of | {"bars": bars(outcomes), "runs": [o.row() for o in outcomes]}, indent=1) + "\n"
    )
    about = [f"- {key.replace('_', ' ')}: {value}" for key, value in (of | bars(outcomes)).items()]
    failed = [f"- {o.plan}: {'; '.join(o.failures)}" for o in outcomes if o.failures]
    slow = [
        f"- {o.plan}: {o.counted_s:.2f} s, {o.naked_usdt:.0f} USDT"
        for o in sorted(outcomes, key=lambda o: -o.counted_s)
        if o.answers and (o.counted_s > MOST_NAKED_S or o.naked_usdt > CLIP_USDT)
    ]
    text = [
        f"# Drill: {name}", "", *about, "", "## By kind", "", *by_kind(outcomes), "", "## Failures", "",
        *(failed or ["none"]), "", "## Naked for longer than 2 s, or more than a clip", "", *(slow or ["none"]), "",
        "## By fault", "", *by_fault(outcomes),
    ]  # fmt: skip
    path = FOLDER / f"{name}.md"
    path.write_text("\n".join(text) + "\n")
    return path
