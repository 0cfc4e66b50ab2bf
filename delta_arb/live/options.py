"""What the runner is told, mode by mode, and the spelling of earlier versions. Read by `--help` too.

    delta-arb live replay|paper|sandbox|real        trade, in this mode
    delta-arb live status|stop|flatten|resume       talk to a running runner
    delta-arb live watch                            look after a running runner
    delta-arb live alert --test                     ring once
    delta-arb live example                          print a configuration

Earlier versions named the mode by an option (--replay, --sandbox ...); `translated` turns theirs into today's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from delta_arb.command import expanded, option, speed
from delta_arb.errors import ParamsError
from delta_arb.quotes.options import InputOptions

PORT, TOKEN = 8642, "DELTA_ARB_MONITOR_TOKEN"  # of the monitor: where it is seen, and who may order
SPEED = 60.0  # recorded seconds a second
MAX_CLIP_USDT = 1000.0  # as params.Bounds
RUN, RECORDED, LOCAL, WHICH = "the run", "recorded quotes", "the local venues", "which runner"
TALK = {
    "status": "What a running runner does and holds; without one, what its journal says.",
    "stop": "End a running runner in an orderly way.",
    "flatten": "Leave the open pair, and stay out until `resume`.",
    "resume": "Trade again after a halt.",
}
MODES = {
    "replay": "Recorded quotes through the runner, on paper.",
    "paper": "The venues' public quotes, simulated fills.",
    "sandbox": "Real orders on local venues, with play money and no keys.",
    "real": "Real orders with real money: keys, limits, a passed check.",
    "watch": "Watch a runner from outside: alert when it is silent and, if configured, flatten.",
    "kill": "Leave what all runners of a kind hold; they enter nothing until the kill files are removed.",
    "alert": "Send a test to every address of the alerts.",
    "example": "Print a configuration with every name explained.",
}
NAMED = {"--replay": "replay", "--paper": "paper", "--sandbox": "sandbox", "--live": "real", "--example": "example"}


def time(text: object) -> datetime:
    """A time in UTC, unless it says another zone."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        raise ParamsError(f"not a time like 2026-01-31T12:00: {text}") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


@dataclass(frozen=True, slots=True)
class LiveOptions(InputOptions):
    """All of every mode; which mode takes which is in `TAKES`."""

    files: list[str] = option(
        (), "quotes of both legs, SPOT PERP  [default: the bundled sample]", argument=True, metavar="SPOT PERP"
    )
    config: Path | None = option(None, "pair, venues, limits and guards; see `example`", RUN, metavar="FILE")
    params: str = option(
        "",
        "a parameter file, or where --params-url publishes, instead of the newest export here",
        RUN,
        metavar="FILE|URL",
    )
    reports: Path | None = option(
        None, "where the pipeline published  [default: reports/ of the project]", RUN, metavar="DIR"
    )
    log: Path | None = option(
        None, "write every line there too; five older files of 10 MB are kept", RUN, metavar="FILE"
    )
    check: bool = option(False, "only look whether everything is ready, and say what to do about what is not", RUN)
    json: bool = option(False, "end with one line of JSON on standard output", RUN)
    speed: float = option(SPEED, "recorded seconds a second", RECORDED, parser=speed, metavar="1|60|max")
    tape: tuple[str, str] | None = option(None, "what they play  [default: the sample]", LOCAL, metavar="SPOT PERP")
    repeat: bool = option(False, "begin the tape again when it ends", LOCAL)
    faults: Path | None = option(None, "what they do wrong (delta-arb sandbox --explain)", LOCAL, metavar="FILE")
    round_trip_ms: str = option(
        "", "network delay to them, fixed or drawn  [default: none]", LOCAL, metavar="N|LOW-HIGH"
    )
    as_of: datetime | None = option(
        None,
        "judge the validity of parameters as of this UTC time, like 2026-01-31T12:00",
        RECORDED,
        parser=time,
        metavar="TIME",
    )
    max_clip_usdt: float = option(MAX_CLIP_USDT, "refuse larger clips", RECORDED, min=0.0)
    paper: bool = option(False, "the one on paper (the default)", WHICH)
    sandbox: bool = option(False, "the one on the local venues", WHICH)
    live: bool = option(False, "the one with real money", WHICH)
    monitor: int = option(
        0, f"show it in the browser, on this port of this machine; alone {PORT}", RUN, whole=True, min=0, max=65535,
        metavar="[PORT]", show_default=False,
    )  # fmt: skip
    watch: bool = option(False, "say it again every second, until Ctrl-C", RUN, whole=True)
    test: bool = option(False, "send one message, and say whether it was delivered", RUN)
    why: str = option("", "a reason, for the journal", WHICH, metavar="TEXT")
    command: str = option("", "status, stop, flatten or resume", hidden=True)


EVERY = ("params", "reports", "json")
ON_VENUES = ("config", "log", "check", "monitor", *EVERY)
ON_LOCAL = (
    "tape", "speed", "repeat", "faults", "round_trip_ms", "pair", "contract_size", "inventory_coins", "funding",
    "spot_trades", "perp_trades",
)  # fmt: skip
FEES = ("spot_fee_bps", "perp_fee_bps", "spot_maker_fee_bps", "perp_maker_fee_bps", "spot_tick", "perp_tick")
WHICH_ONE = ("paper", "sandbox", "live", "why", "config", *EVERY, *ON_LOCAL)
INPUTS = tuple(field.name for field in fields(InputOptions))
TAKES = {
    "replay": ("files", "monitor", *EVERY, "speed", "as_of", "max_clip_usdt", *INPUTS),
    "paper": ON_VENUES,
    "sandbox": (*ON_VENUES, *ON_LOCAL, *FEES),
    "real": ON_VENUES,
    "kill": ("paper", "sandbox", "live", "why", "reports"),
    "alert": ("config", "test"),
    "watch": ("sandbox", "live", "config", "log", *EVERY, *ON_LOCAL),
    "example": ("params",),
} | dict.fromkeys(TALK, WHICH_ONE)
TAKES["status"] = (*WHICH_ONE, "watch")


def of_settings(said: dict[str, Any], configured: bool = False) -> dict[str, dict[str, Any]]:
    """What delta_arb.toml says to each command. A configuration, there or typed (`configured`), names the pair itself."""

    def of(*names: str) -> dict[str, Any]:
        return {name: said[name] for name in names if name in said}

    on_venues = of("config", "reports")
    local = on_venues | (of("funding") | {"tape": (said["spot"], said["perp"])} if said.get("spot") else {})
    if not configured and "config" not in said:
        local |= of("pair", "contract_size", "inventory_coins")
    fees = {} if configured or "config" in said else of(*FEES)
    every = {
        "replay": of("reports", *INPUTS),
        "paper": on_venues,
        "real": on_venues,
        "sandbox": local | fees,
        "kill": of("reports"),
    }
    return every | dict.fromkeys(TALK, local)


def translated(argv: Sequence[str]) -> list[str]:
    """A command line of today out of one that names its mode by an option, or leaves it away: paper."""
    words = with_port(expanded(argv, LiveOptions, also=NAMED))
    if words and not words[0].startswith("-") and words[0] not in TALK:
        return words
    if talk := _talk_at(words):
        return [words[talk - 1], *words[: talk - 1], *words[talk:]]
    named = [word for word in words if word in NAMED]
    if "--example" in named:
        named = ["--example"]
    if len(named) > 1:
        raise ParamsError(f"{named[0]} and {named[1]} are two modes; name one")
    if not named and words in (["--help"], ["-h"]):
        return words
    return [NAMED[named[0]] if named else "paper", *(word for word in words if word not in NAMED)]


def with_port(words: Sequence[str]) -> list[str]:
    """`--monitor` without a number means the usual port."""
    return [
        f"{word}={PORT}" if word == "--monitor" and not after.isdecimal() else word
        for word, after in zip(words, (*words, "")[1:], strict=True)
    ]


def _talk_at(words: Sequence[str]) -> int:
    """Place of status, stop, flatten or resume, counted from 1; 0 where there is none among the values of options."""
    values = {f"--{field.name.replace('_', '-')}": 0 if field.type is bool else 1 for field in fields(LiveOptions)}
    values |= {"--tape": 2, "--replay": len(words)}
    left = 0
    for at, word in enumerate(words, 1):
        if word.startswith("-"):
            left = 0 if "=" in word else values.get(word, 0)
        elif left:
            left -= 1
        elif word in TALK:
            return at
    return 0
