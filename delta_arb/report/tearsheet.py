"""The tear-sheet of one pair: the whole recording replayed, and its parts told apart.

The recording is shown whole, but it is three things: `earlier` quotes, which nobody looked at when choosing; the part
the thresholds were fitted on (in sample: flattering by construction); and the `judged` part, which the fit has not
seen. Each part is a replay of its own, starting flat. Headlines are those of the judged part.
"""

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from delta_arb.backtest.performance import FACES, Equity, Performance, by_period, compare, equity, largest_fall, measure
from delta_arb.backtest.replay import Backtest
from delta_arb.errors import ParamsError, SeriesError
from delta_arb.market import utc
from delta_arb.optimize.champion import examined
from delta_arb.optimize.study import CARRY, Constraints, Market, Thresholds
from delta_arb.optimize.window import window
from delta_arb.params import BY_HAND, Params, write_atomic
from delta_arb.quotes.tape import Tape
from delta_arb.stats.sharpe import Interval, mean_interval, wilson
from delta_arb.strategy.ledger import Trade
from delta_arb.strategy.state import DIRECT, REVERSE
from delta_arb.tables import Findings, Table, Tiles, number, seconds, share

FIT, JUDGED, EARLIER = "fit", "judged", "earlier"
FIRST, LAST, WHOLE = "first", "last", "whole"  # parts of thresholds that nobody fitted
SAYS = {
    EARLIER: "earlier quotes", FIT: "fit, in sample", JUDGED: "judged, unseen",
    FIRST: "first part", LAST: "last part", WHOLE: "whole",
}  # fmt: skip
MIN_PERIODS = 16  # of a part, for an interval of its net


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A stretch of the recording with its own replay."""

    name: str
    tape: Tape
    result: Backtest
    curve: Equity
    performance: Performance

    @classmethod
    def of(cls, name: str, tape: Tape, result: Backtest) -> "Part":
        curve = equity(tape, result)
        return cls(name, tape, result, curve, measure(tape, result, curve))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TearSheet:
    """Everything the report shows; `thresholds` is None where nothing was even worth examining."""

    candidate: Params | None
    thresholds: Thresholds | None
    market: Market
    tape: Tape
    result: Backtest
    curve: Equity
    parts: dict[str, Part]
    note: str

    @property
    def judged(self) -> Performance:
        return self.last.performance

    @property
    def by_hand(self) -> bool:
        """Whether a person chose the thresholds, so that no part was fitted or judged."""
        return self.candidate is not None and self.candidate.chosen == BY_HAND

    @property
    def last(self) -> Part:
        """The part that headlines are of: the judged one."""
        return list(self.parts.values())[-1]

    @property
    def fitted(self) -> Performance:
        return list(self.parts.values())[-2].performance

    @property
    def trades(self) -> tuple[Trade, ...]:
        return self.result.trades

    @property
    def empty_because(self) -> str:
        """Why there is no trade to show; empty where there are trades."""
        if self.trades:
            return ""
        return (
            "the thresholds examined were never reached on usable quotes" if self.thresholds else self.candidate.reason
        )

    def part_of(self, trade: Trade) -> str:
        """The part in which a trade of the whole replay was opened."""
        return next(name for name in reversed(self.parts) if trade.opened_ns >= self.parts[name].tape.start_ns)

    def __repr__(self) -> str:
        return f"TearSheet({len(self.trades)} trades in {self.result.days:.2f} days; {self.status})"

    @property
    def status(self) -> str:
        """Whether these thresholds were exported."""
        if self.by_hand:
            return "thresholds chosen by hand, exported only with --publish"
        if self.candidate.trade:
            return "exported for trading"
        return f"{'' if self.thresholds else 'nothing replayed and '}not exported: {self.candidate.reason}"


def tear_sheet(tape: Tape, market: Market, candidate: Params, constraints: Constraints) -> TearSheet:
    """Replay the thresholds of a candidate (or the best ones examined) over the whole tape and over its parts.

    Raises:
        ParamsError: the candidate's own evidence says something else than this replay: other quotes or other settings.
    """
    thresholds, rule = examined(candidate), candidate.rule
    if rule.resting:
        conduct = {name: getattr(rule, name) for name in ("spot_role", "perp_role", "resting")}
        market = replace(market, settings=market.settings.replace(**conduct))
    searched = candidate.chosen != BY_HAND and candidate.evidence.judged_net_usdt_day is not None
    cut = window(market.in_force(tape) if searched else tape, constraints)
    names = (FIRST, LAST) if candidate.chosen == BY_HAND else (FIT, JUDGED)
    tapes = dict(zip(names, (cut.fit, cut.judge), strict=True))
    earlier = tape.between(tape.start_ns, cut.fit.start_ns)
    if len(earlier) > 1 and earlier.end_ns > earlier.start_ns:
        tapes = {EARLIER: earlier, **tapes}
    parts = {}
    for name, part in tapes.items():
        parts[name] = Part.of(name, part, market.replay(part, thresholds))
    whole = market.replay(tape, thresholds)
    _check(candidate, list(parts.values())[-1].performance)
    return TearSheet(candidate, thresholds, market, tape, whole, equity(tape, whole), parts, cut.note)


def _check(candidate: Params, judged: Performance) -> None:
    claimed = candidate.evidence.judged_net_usdt_day
    if claimed is not None and abs(claimed - judged.net_usdt_day) > 1e-6 * max(1.0, abs(claimed)):
        raise ParamsError(
            f"the candidate claims {claimed:.4f} USDT a day on the judged part, "
            f"this replay earns {judged.net_usdt_day:.4f}; "
            "run notebook 02 and 03 with the same quotes and parameters"
        )


# --- headlines -------------------------------------------------------------------------------------------------------


def tiles(sheet: TearSheet) -> Tiles:
    """Headlines of the judged part, those of the fit beside them."""
    j, f, fit = sheet.judged, sheet.fitted, "first" if sheet.by_hand else "fit"
    hits = wilson(j.hits, j.ended) if j.ended else None
    rate = f"95 %: {share(hits.low)} to {share(hits.high)}; {fit} {share(f.hit_rate)}" if hits else "no trades"
    signed, bps = partial(number, sign=True), partial(number, digits=1, sign=True, unit="bps")
    last, of = sheet.last.curve, f"{j.trades} in {seconds(j.days * 86_400)}; "
    fall, long, factor = (
        (FACES[name](j), FACES[name](f)) for name in ("largest drawdown", "longest drawdown", "profit factor")
    )
    left = f"{number(largest_fall(last.net_if_left))} with the fees of leaving; longest {long[0]}; "
    held = f"longest {seconds(j.longest_hold_s)}; "
    capital = f"on {number(j.capital_usdt, 0)} USDT; "
    rows = (
        (
            "net, USDT a day",
            signed(j.net_usdt_day),
            f"{_range(net_interval(sheet.last))}{fit} {signed(f.net_usdt_day)}",
        ),
        ("return a day", share(j.return_day, 2), f"{capital}{fit} {share(f.return_day, 2)}"),
        ("net per trade", bps(j.mean_net_bps), f"{fit} {bps(f.mean_net_bps)}"),
        ("trades a day", number(j.trades_day, 1), f"{of}{fit} {number(f.trades_day, 1)}"),
        ("target hit rate", share(j.hit_rate), rate),
        ("largest drawdown", f"{fall[0]}, {number(largest_fall(last.net))} USDT", f"{left}{fit} {fall[1]}"),
        ("profit factor", factor[0], f"{fit} {factor[1]}"),
        ("median hold", seconds(j.median_hold_s), f"{held}{fit} {seconds(f.median_hold_s)}"),
    )
    title = "The last part" if sheet.by_hand else "The judged part, which the fit has not seen"
    return Tiles(f"{title}; {sheet.status}", rows)


def net_interval(part: Part) -> Interval | None:
    """Net a day with its 95 % interval, from the marked equity of equal periods (idle ones included).

    Hours, or sixteenths of a shorter part. Drawn with a fixed seed. None where too little happened for an answer.
    """
    periods = max(MIN_PERIODS, int(24 * part.performance.days))
    try:
        mean = mean_interval(by_period(part.curve, periods), np.random.default_rng(7))
    except SeriesError:
        return None
    return mean.scaled(periods / part.performance.days)


def _range(interval: Interval | None) -> str:
    return f"95 %: {number(interval.low)} to {number(interval.high)}; " if interval else ""


def parts(sheet: TearSheet) -> Table:
    """The parts beside each other."""
    return compare(
        {SAYS[name]: part.performance for name, part in sheet.parts.items()},
        "The parts of the recording, each replayed alone",
    )


# --- caveats ---------------------------------------------------------------------------------------------------------


def caveats(sheet: TearSheet, inputs) -> Findings:
    """What to hold against this report; from its own numbers."""
    j = sheet.judged
    approximate = sum(t.approximate_funding for t in sheet.trades)
    return Findings.of(
        "The quotes are SYNTHETIC: this says that the program works, and nothing about any market."
        if inputs.synthetic
        else "",
        f"Made from CANDLES: bid and ask are stated ({inputs.spot_half_spread_bps:g} and {inputs.perp_half_spread_bps:g} bps "
        f"on either side of the last price), decisions fall at the ends of bars of {sheet.tape.bar_s:g} s and fill at the "
        "next open; real spreads widen when it matters, and nothing is seen between."
        if inputs.candles
        else "",
        "" if sheet.candidate.trade else f"{sheet.status[0].upper()}{sheet.status[1:]}.",
        "The thresholds were chosen by hand: no part is out of sample, unless whoever chose them had not seen it."
        if sheet.by_hand
        else "",
        "CARRY: its levels were chosen on the last months, so all parts of this report are in sample. Only the walk-forward of "
        f"notebook 02 is not: {number(sheet.candidate.evidence.walk_trades, 0)} pairs."
        if sheet.candidate.profile == CARRY
        else "",
        "The maintenance rate is not known (--perp-rules): no rally liquidated the short of a long hold here."
        if sheet.candidate.profile == CARRY and sheet.market.perp.maintenance_rate == 0.0
        else "",
        _few(j.trades, sheet.last.name),
        _sure(net_interval(sheet.last), sheet),
        f"Looked at: {sheet.note}, and {seconds(j.days * 86_400)} of it to judge on. One stretch of one market is no "
        "sample of its future.",
        "Less than 30 days: no annualised Sharpe ratio is given, it would be noise." if j.days < 30 else "",
        f"Fills are at the {'stated' if inputs.candles else 'recorded'} touch after the latency, at most the size "
        "shown; our own orders move nothing here, and queues, outages and rate limits are not simulated.",
        "A leg recorded as polled snapshots: what happened between two rows is unknown, and orders meet the next row."
        if "snapshots" in (inputs.spot_kind, inputs.perp_kind)
        else "",
        "Funding is left out." if inputs.funding == "none" else "",
        f"Funding of {approximate} trades used the perpetual's mid, because the mark price was not recorded."
        if approximate
        else "",
        "The position open at the end was closed at its exit side and counted." if sheet.result.open_at_end else "",
    )


def _sure(net: Interval | None, sheet: TearSheet) -> str:
    """What is to be said of intervals of the net that do not exclude a loss: of the last part, and what the verdict rests on."""
    evidence = sheet.candidate.evidence
    low, high = evidence.walk_net_low_usdt_day, evidence.walk_net_high_usdt_day
    last, walk = net and _with_zero(net.low, net.high), _with_zero(low, high)
    decides = "" if low is None else f"the walk-forward's, {number(low)} to {number(high)}"
    if last:
        found = f"The 95 % interval of the {sheet.last.name} net, {number(net.low)} to {number(net.high)} USDT a day, {last}"
        return f"{found}{decides and f'; the verdict rests on {decides}'}{walk and f', which {walk} too'}."
    return f"The 95 % interval of the net that the verdict rests on, {decides} USDT a day, {walk}." if walk else ""


def _with_zero(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None or not low <= 0.0 <= high else "includes zero"


def _few(trades: int, part: str) -> str:
    if not trades:
        return f"No trade on the {part} part: nothing was measured there."
    if trades < 300:
        return f"{trades} trades on the {part} part are few: below some 300 a hit rate is not known to 5 points."
    return ""


# --- the record of a run: flat figures for the index of all runs and for other programs ------------------------------

RECORDED = (
    "net_usdt_day", "return_day", "mean_net_bps", "trades", "trades_day", "hit_rate", "win_rate", "drawdown",
    "median_hold_s", "fees_usdt", "funding_usdt",
)  # fmt: skip


def metrics(sheet: TearSheet, inputs) -> dict:
    """The run in flat figures: those of the judged part under their own names, the fit's with a prefix.

    Where no thresholds were examined, nothing was replayed and there are no figures: they are null.
    """
    t, net = sheet.thresholds, net_interval(sheet.last)
    return {
        "pair": inputs.name,
        "trade": sheet.candidate.trade,
        "reason": sheet.candidate.reason,
        "synthetic": inputs.synthetic,
        "candles": inputs.candles,
        "start": _utc(sheet.tape.start_ns),
        "end": _utc(sheet.tape.end_ns),
        "judged_from": _utc(sheet.last.tape.start_ns),
        **_levels(t),
        "max_hold_s": t.max_hold_s if t else None,
        **{name: getattr(sheet.judged, name) if t else None for name in RECORDED},
        **{f"fit_{name}": getattr(sheet.fitted, name) if t else None for name in RECORDED},
        "net_low_usdt_day": net.low if net else None,
        "net_high_usdt_day": net.high if net else None,
        "whole_net_usdt": sheet.result.net_usdt,
        "whole_trades": len(sheet.trades),
        "capital_usdt": sheet.judged.capital_usdt,
        "fees_bps": sheet.market.fees_bps,
    }


def _levels(t: Thresholds | None) -> dict[str, float | None]:
    """Entry and exit of each direction, null where it is not traded."""
    found = {way: t.levels(side) if t else None for way, side in (("", DIRECT), ("reverse_", REVERSE))}
    return {
        f"{way}{name}_bps": at and getattr(at, f"{name}_bps") for way, at in found.items() for name in ("entry", "exit")
    }


def record(sheet: TearSheet, inputs, run_folder: str) -> Findings:
    """Write the metrics to metrics.json in the run's folder, where there is one."""
    found = metrics(sheet, inputs)
    if not run_folder:
        return Findings.of("Opened by hand: there is no run's folder, and nothing was written.")
    write_atomic(Path(run_folder) / "metrics.json", json.dumps(found, indent=2, allow_nan=False) + "\n")
    return Findings.of(f"{len(found)} figures are in metrics.json of the run's folder.")


def _utc(ts_ns: int) -> str:
    return utc(ts_ns)[:19].replace(" ", "T") + "Z"
