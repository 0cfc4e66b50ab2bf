"""What a download and a recording are told. Read by `--help` too."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from delta_arb.command import duration, moment, option
from delta_arb.errors import ParamsError
from delta_arb.market import plain_pair, utc
from delta_arb.places import to_write

DATA = Path("data")
LOCAL_VENUES = "local_venues"  # folder of those that --sandbox started, below that of what they gave
KEEP = "how much is kept"
BAR = r"[1-9]\d*[smhdw]"
WHAT, WHERE, LOCAL = "what", "from where, to where", "rehearsal on this machine"


def a_pair(text: object) -> str:
    """LUNC_USDT, from LUNC_USDT, LUNC/USDT or LUNC/USDT:USDT."""
    name = plain_pair(str(text).upper())
    if not re.fullmatch(r"[A-Z0-9.-]{1,30}_USDT", name):
        raise ParamsError(f"a pair is like LUNC_USDT or LUNC/USDT, was {text}")
    return name


def apart(folder: Path, sandbox: bool) -> Path:
    """Where quotes are kept: those of the local venues, which are synthetic, not among recorded ones."""
    return folder / "synthetic" if sandbox and folder == DATA else folder


def of_settings(said: Mapping[str, Any], argv: Sequence[str]) -> dict[str, Any]:
    """What delta_arb.toml says of the pair and its venues, where nothing else was typed of them."""
    typed = {word.partition("=")[0] for word in argv}
    wanted = {"pair": [said["pair"]]} if "pair" in said and not typed & {"--all", "--sandbox", "--config"} else {}
    if typed & {"--spot", "--perp", "--sandbox"}:
        return wanted
    venues = {leg: said[f"{leg}_venue"] for leg in ("spot", "perp") if f"{leg}_venue" in said}
    return wanted | venues | {name: said[name] for name in ("config",) if name in said}


@dataclass(frozen=True, slots=True)
class DownloadOptions:
    """Of one download."""

    pair: list[str] = option((), "one pair, like LUNC_USDT; may be repeated", WHAT, parser=a_pair)
    all: bool = option(False, "every pair that both venues list", WHAT)
    since: int | None = option(None, "from when on, UTC, like 2026-01-31", WHAT, parser=moment, metavar="TIME")
    until: int | None = option(None, "up to when  [default: now]", WHAT, parser=moment, metavar="TIME")
    candles: str = option("1m", "length of the bars", WHAT, metavar="BAR")
    funding: bool = option(False, "settled funding of the perpetual too", WHAT)
    marks: bool = option(False, "candles of its mark price too", WHAT)
    spot: str = option("mexc", "spot venue, by its name at ccxt", WHERE, metavar="VENUE")
    perp: str = option("gate", "venue of the perpetual", WHERE, metavar="VENUE")
    config: Path | None = option(None, "the runner's configuration, for its venues", WHERE, metavar="FILE")
    out: Path = option(DATA, "folder to write to; of --sandbox data/synthetic", WHERE, metavar="FOLDER")
    sandbox: bool = option(False, "the local venues with made pairs (synthetic), started if need be", LOCAL)
    listings: int = option(200, "made pairs that they list", LOCAL, metavar="N", min=0)
    seed: int = option(7, "of the made pairs", LOCAL, metavar="N", min=0)
    history_days: float = option(30.0, "how far back their past goes", LOCAL, metavar="DAYS", min=0.01, max=3660.0)
    json: bool = option(False, "print the result as one line of JSON, last", WHERE)

    def checked(self) -> "DownloadOptions":
        """The same, if it can be asked for.

        Raises:
            ParamsError: no pairs, no beginning, or an end that is not after it.
        """
        if bool(self.pair) == self.all:
            raise ParamsError("say which pairs: --pair LUNC_USDT (may be repeated), or --all")
        if self.since is None:
            raise ParamsError("say from when on: --since 2026-01-31")
        if not re.fullmatch(BAR, self.candles):
            raise ParamsError(f"--candles is the length of a bar like 1m, 15m, 1h or 1d, was {self.candles}")
        since = utc(self.since * 10**6)
        if self.until is not None and self.until <= self.since:
            raise ParamsError(f"--until {utc(self.until * 10**6)} is not after --since {since}")
        if self.since * 10**6 >= time.time_ns():
            raise ParamsError(f"--since {since} is still to come; give a time that is past, like 2026-01-31")
        return replace(self, out=to_write(apart(self.out, self.sandbox), "--out"))


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """Of one recording."""

    pair: list[str] = option((), "one pair, like LUNC_USDT; may be repeated", WHAT, parser=a_pair)
    all: bool = option(False, "every pair that both venues list", WHAT)
    no_trades: bool = option(False, "leave trades out: then no resting order can be tested on it", WHAT)
    no_levels: bool = option(False, "leave out the five best levels of each side", WHAT)
    for_s: float | None = option(
        None, "stop by itself after so long, like 60s or 24h", WHAT, "--for", parser=duration, metavar="TIME"
    )
    sample_s: float = option(60.0, "seconds between two looks at funding, mark, rules and clock", WHAT, metavar="N")
    spot: str = option("mexc", "spot venue", WHERE, metavar="VENUE")
    perp: str = option("gate", "venue of the perpetual", WHERE, metavar="VENUE")
    config: Path | None = option(None, "the runner's configuration, for its venues and pair", WHERE, metavar="FILE")
    out: Path = option(DATA, "folder to write to; of --sandbox data/synthetic", WHERE, metavar="FOLDER")
    json: bool = option(False, "print the result as one line of JSON, last", WHERE)
    keep_days: float = option(0.0, "delete older recordings; 0: never", KEEP, metavar="DAYS", min=0.0)
    keep_gb: float = option(
        0.0, "delete the oldest above so much for each venue; 0: never", KEEP, metavar="GB", min=0.0
    )
    status_s: float = option(10.0, "seconds between two status lines", KEEP, metavar="N")
    sandbox: bool = option(False, "the local venues with the sample (synthetic), started if need be", LOCAL)
    speed: float = option(1.0, "how fast they play it", LOCAL, metavar="N")

    def checked(self) -> "RecordOptions":
        """The same, if it can be asked for; ParamsError where it says no pairs, or a number that is none."""
        if self.pair and self.all:
            raise ParamsError("--pair or --all, not both")
        if not (self.pair or self.all or self.sandbox or self.config):
            raise ParamsError("say which pairs: --pair LUNC_USDT (may be repeated), or --all")
        for name in ("sample_s", "status_s", "speed"):
            if not getattr(self, name) > 0:
                raise ParamsError(f"--{name.replace('_', '-')} must be above 0, was {getattr(self, name):g}")
        return replace(self, out=to_write(apart(self.out, self.sandbox), "--out"))
