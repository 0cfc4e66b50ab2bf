"""What a universe is told. Read by `--help` too."""

from dataclasses import dataclass
from pathlib import Path

from delta_arb.command import moment, option
from delta_arb.errors import ParamsError
from delta_arb.quotes.options import InputOptions, config_option

WHAT, DEMANDS, WORK, LOCAL = "what", "the trader", "how it is computed", "rehearsal on this machine"
QUOTES = (
    "spot_venue", "perp_venue", "contract_size", "perp_step", "spot_fee_bps", "perp_fee_bps", "spot_fee_in",
    "spot_latency", "perp_latency", "spot_half_spread_bps", "perp_half_spread_bps", "bar_share", "bar_s",
    "max_bad_share", "funding_changes", "leverage", "spot_usdt", "perp_usdt",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class UniverseOptions(InputOptions):
    """Of one universe; of the options of quotes only those that hold for every pair."""

    config: Path | None = config_option(
        lambda said: {name: said[name] for name in (*QUOTES, "reports") if name in said}
    )
    data: str = option(
        "data", "what download and record wrote: a folder, or a URL like s3://bucket/data", WHAT, metavar="PLACE"
    )
    since: int | None = option(None, "from when on, UTC, like 2026-01-31", WHAT, parser=moment, metavar="TIME")
    until: int | None = option(None, "up to when  [default: now]", WHAT, parser=moment, metavar="TIME")
    clip_usdt: float = option(50.0, "size of one entry per leg, USDT", DEMANDS)
    participation: float = option(1.0, "share of the size shown that is taken", DEMANDS, metavar="SHARE")
    spot_maker_fee_bps: float = option(
        0.0,
        "fee of a spot leg that rests, for the break-even only: an assumption, no maker fill is tested here",
        DEMANDS,
        min=-10.0,  # as venue_terms.LARGEST_REBATE_BPS and Fee
        max=500.0,
    )
    look_back_h: float = option(
        96.0, "hours looked back by a choice; the last third of them judges", DEMANDS, metavar="HOURS", min=0.0
    )
    max_hold_h: float = option(6.0, "longest hold of a reversion pair", DEMANDS, metavar="HOURS")
    min_trades_day: float = option(1.0, "least trades a day of a reversion pair", DEMANDS, metavar="N", min=0.0)
    cluster: str = option(
        "", "a Dask cluster instead of processes: local, or a scheduler like tcp://10.0.0.1:8786", WORK
    )
    workers: int = option(0, "processes; 0: one a core, 1: this one", WORK, metavar="N")
    quick: bool = option(False, "screen and first look only: ranks nothing as to trade", WORK)
    reports: Path | None = option(None, "where the page goes  [default: reports/ of the project]", WORK, metavar="DIR")
    json: bool = option(False, "the result as one JSON object in the last line of the output", WORK)
    sandbox: bool = option(False, "made pairs of the local venues (synthetic), downloaded first if need be", LOCAL)
    listings: int = option(200, "made pairs that they list", LOCAL, metavar="N", min=0)
    seed: int = option(7, "of the made pairs", LOCAL, metavar="N", min=0)
    history_days: float = option(30.0, "how far back their past goes", LOCAL, metavar="DAYS", min=0.01, max=3660.0)

    def checked(self) -> "UniverseOptions":
        """The same, if it can be asked for; ParamsError for a range that ends before it begins."""
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise ParamsError("--until is not after --since")
        return self


SHOWN = (*QUOTES, *UniverseOptions.__annotations__)
