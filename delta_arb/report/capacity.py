"""How much money the same thresholds could carry: profit against the size of a clip.

A clip takes at most what the best levels show (times the participation), so larger ones fill in part and then earn no
more. Nothing else grows with size here: our own orders move no price, and what we took is shown again at the next row.
So this is an upper bound, and a looser one the larger the clip.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from delta_arb.backtest.replay import Backtest
from delta_arb.optimize.study import Market, Thresholds
from delta_arb.params import RuleParams
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.ledger import net_bps
from delta_arb.tables import Findings, Table, number, share

FACTORS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)  # times the clip


@dataclass(frozen=True, slots=True)
class Clip:
    """What one size of clip did; `filled_usdt` is the spot notional of a mean trade, None where there was none."""

    clip_usdt: float
    trades_day: float
    filled_usdt: float | None
    net_usdt_day: float
    net_bps: float | None
    capital_usdt: float

    @property
    def filled_share(self) -> float | None:
        return None if self.filled_usdt is None else self.filled_usdt / self.clip_usdt

    @property
    def return_day(self) -> float:
        """On the capital of the replay, as everywhere."""
        return self.net_usdt_day / self.capital_usdt


@dataclass(frozen=True, slots=True)
class Capacity:
    """Clips from small to large; `shown_usdt` is what both best levels show for an entry, median over the events."""

    clips: tuple[Clip, ...]
    base_usdt: float
    shown_usdt: float | None


def of(tape: Tape, market: Market, thresholds: Thresholds | None, factors: Sequence[float] = FACTORS) -> Capacity:
    """The same thresholds replayed with other clips, in multiples of the market's own."""
    base = market.settings.clip_usdt
    clips = [_clip(with_clip(market, factor * base).replay(tape, thresholds), factor * base) for factor in factors]
    return Capacity(tuple(clips), base, _shown_usdt(tape))


def with_clip(market: Market, clip_usdt: float) -> Market:
    """The same market with another clip, and with room for as many of them as before."""
    settings = market.settings.model_dump()
    room = settings["max_position_usdt"] and settings["max_position_usdt"] * clip_usdt / settings["clip_usdt"]
    return replace(market, settings=RuleParams(**{**settings, "clip_usdt": clip_usdt, "max_position_usdt": room}))


def _clip(result: Backtest, clip_usdt: float) -> Clip:
    trades, days = result.trades, result.days
    return Clip(
        clip_usdt=clip_usdt,
        trades_day=len(trades) / days,
        filled_usdt=sum(t.notional_usdt for t in trades) / len(trades) if trades else None,
        net_usdt_day=result.net_usdt / days,
        net_bps=net_bps(trades),
        capital_usdt=result.capital_usdt,
    )


def _shown_usdt(tape: Tape) -> float | None:
    """Median money that both legs show for an entry, over the events at which both show something."""
    shown = np.minimum(tape.spot_ask_qty, tape.perp_bid_qty) * tape.spot_ask
    return float(np.median(shown[shown > 0])) if (shown > 0).any() else None


def table(found: Capacity) -> Table:
    """One row per size of clip."""
    title = "The same thresholds with other clips, whole recording"
    if not any(c.trades_day for c in found.clips):
        return Table.of(title, ("clip", "nothing to show"), [("all", "no trade at any size")])
    columns = (
        "clip, USDT", "trades/day", "filled per trade, USDT", "of the clip", "net USDT/day", "net, bps", "return/day",
    )  # fmt: skip
    rows = [
        (
            f"{c.clip_usdt:g}{' (asked)' if c.clip_usdt == found.base_usdt else ''}",
            number(c.trades_day, 1),
            number(c.filled_usdt),
            share(c.filled_share),
            number(c.net_usdt_day),
            number(c.net_bps, 1),
            share(c.return_day, 2),
        )
        for c in found.clips
    ]
    note = (
        f"Both best levels show {number(found.shown_usdt, 0)} USDT for an entry (median). Returns are on the capital."
    )
    return Table.of(title, columns, rows, note)


def spoken(found: Capacity) -> Findings:
    """From which size on the books are the limit, and which size earns most."""
    traded = [c for c in found.clips if c.trades_day]
    if not traded:
        return Findings.of("No trade at any size, so nothing to say about capacity.")
    best = max(traded, key=lambda c: c.net_usdt_day)
    limited = next((c for c in traded if c.filled_share is not None and c.filled_share < 0.5), None)
    small = [c for c in found.clips if not c.trades_day and c.clip_usdt < traded[0].clip_usdt]
    return Findings.of(
        f"A clip of {small[-1].clip_usdt:g} USDT never trades: it is below the smallest order." if small else "",
        f"Net a day is highest at a clip of {best.clip_usdt:g} USDT: {number(best.net_usdt_day)} USDT."
        if best.net_usdt_day > 0
        else "No size of clip earns anything.",
        f"From {limited.clip_usdt:g} USDT on less than half of a clip is filled: the sizes shown are the limit."
        if limited
        else f"Up to {traded[-1].clip_usdt:g} USDT at least half of a clip is filled.",
        "An upper bound: our own orders move no price here, and what was taken is shown again at the next row.",
    )
