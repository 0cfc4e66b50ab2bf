"""What a run of the notebooks can be told: its quotes and costs, where it writes, how often. Read by `--help` too."""

import re
from dataclasses import dataclass
from pathlib import Path

from delta_arb.command import option
from delta_arb.errors import ParamsError
from delta_arb.market import DAY_S
from delta_arb.quotes.options import InputOptions
from delta_arb.quotes.settings import config_option

RUN = "the run"


def duration(text: str) -> float:
    """Seconds of 30s, 5m, 24h or 7d."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h|d)", text)
    seconds = float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": DAY_S}[found[2]] if found else 0.0
    if not 1 <= seconds <= 366 * DAY_S:
        raise ParamsError(f"need a time from 1s to 366d, like 30s, 5m, 24h or 7d, was {text!r}")
    return seconds


@dataclass(frozen=True, slots=True)
class PipelineOptions(InputOptions):
    """What a run is told: its quotes and costs, where it writes, how often."""

    config: Path | None = config_option(lambda said: {k: v for k, v in said.items() if k != "config"})
    p: list[str] = option((), "any other parameter of a notebook", RUN, "-p", metavar="NAME=VALUE")
    reports: Path | None = option(None, "where results go  [default: reports/ of the project]", RUN, metavar="DIR")
    keep: int = option(
        50, "runs kept per pair; as many failed ones, and 4 times as many parameter files", RUN, metavar="RUNS"
    )
    every: float | None = option(
        None,
        "repeat at this interval, like 5m; a run that takes longer skips the next one",
        RUN,
        parser=duration,
        metavar="TIME",
    )
    time_limit: float | None = option(
        None,
        "stop a run that takes longer  [default: 30m; with --every two intervals]",
        RUN,
        parser=duration,
        metavar="TIME",
    )
    valid_for: float | None = option(
        None,
        "validity of the parameters  [default: 24h; with --every six intervals]",
        RUN,
        parser=duration,
        metavar="TIME",
    )
    publish: bool = option(False, "export thresholds of your own (-p entry_bps=... -p exit_bps=...) to the runner", RUN)
    json: bool = option(False, "the result as one JSON object in the last line of the output", RUN)
    notebooks: Path | None = option(None, "folder of the notebooks", hidden=True)
    tick: int | None = option(None, "set by --every for its own runs: the loop holds the lock", hidden=True)
