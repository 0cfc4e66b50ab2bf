"""What a run of the notebooks can be told: its quotes and costs, where it writes, how often. Read by `--help` too."""

from dataclasses import dataclass
from pathlib import Path

from delta_arb.command import duration, moment, option
from delta_arb.quotes.options import InputOptions, config_option

RUN, DATA = "the run", "quotes"


@dataclass(frozen=True, slots=True)
class PipelineOptions(InputOptions):
    """What a run is told: its quotes and costs, where it writes, how often."""

    config: Path | None = config_option(lambda said: {k: v for k, v in said.items() if k != "config"})
    data: str = option(
        "",
        "what download and record wrote, a folder or a URL like s3://bucket/data: quotes or candles, funding and rules of --pair",
        DATA,
        metavar="FOLDER|URL",
    )
    since: int | None = option(
        None, "of --data, from when on, UTC, like 2026-01-31", DATA, parser=moment, metavar="TIME"
    )
    until: int | None = option(None, "of --data, up to when  [default: now]", DATA, parser=moment, metavar="TIME")
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
    params_url: str = option(
        "",
        "publish the parameters there too, like s3://bucket/params, for runners on other machines",
        RUN,
        metavar="URL",
    )
    publish: bool = option(False, "export thresholds of your own (-p entry_bps=... -p exit_bps=...) to the runner", RUN)
    whole: bool = option(False, "run all notebooks, also where the choice is refused and 02 has said why", RUN)
    json: bool = option(False, "the result as one JSON object in the last line of the output", RUN)
    notebooks: Path | None = option(None, "folder of the notebooks", hidden=True)
    tick: int | None = option(None, "set by --every for its own runs: the loop holds the lock", hidden=True)
