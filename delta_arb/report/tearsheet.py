"""The tear-sheet of one pair: the whole recording replayed, and its parts told apart.

The recording is shown whole, but it is three things: `earlier` quotes, which nobody looked at when choosing; the part
the thresholds were fitted on (in sample: flattering by construction); and the `judged` part, which the fit has not
seen. Each part is a replay of its own, starting flat. Headlines are those of the judged part.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from delta_arb.backtest.performance import FACES, Equity, Performance, by_period, compare, equity, measure, slippage_bps
from delta_arb.backtest.replay import Backtest
from delta_arb.errors import ParamsError, SeriesError
from delta_arb.market import to_bps, utc
from delta_arb.optimize.champion import NAMES, examined
from delta_arb.optimize.study import CARRY, Constraints, Market, Thresholds, window
from delta_arb.params import Params
from delta_arb.quotes.tape import Tape
from delta_arb.stats.sharpe import Interval, mean_interval, wilson
from delta_arb.strategy.ledger import Trade, attribution, net_bps
from delta_arb.strategy.state import REVERSE
from delta_arb.tables import NOTHING, Findings, Table, Tiles, number, seconds, share

FIT, JUDGED, EARLIER = "fit", "judged", "earlier"
SAYS = {EARLIER: "earlier quotes", FIT: "fit, in sample", JUDGED: "judged, unseen"}
MIN_PERIODS = 16  # of a part, for an interval of its net
ROWS = 12  # trades shown in the table


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A stretch of the recording with its own replay."""

    name: str
    tape: Tape
    result: Backtest
    curve: Equity
    performance: Performance


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TearSheet:
    """Everything the report shows; `thresholds` is None where nothing was even worth examining."""

    candidate: Params
    thresholds: Thresholds | None
    market: Market
    tape: Tape
    result: Backtest
    curve: Equity
    parts: dict[str, Part]
    note: str

    @property
    def judged(self) -> Performance:
        return self.parts[JUDGED].performance

    @property
    def fitted(self) -> Performance:
        return self.parts[FIT].performance

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
        return next(
            name
            for name in (JUDGED, FIT, EARLIER)
            if name in self.parts and trade.opened_ns >= self.parts[name].tape.start_ns
        )

    def __repr__(self) -> str:
        return f"TearSheet({len(self.trades)} trades in {self.result.days:.2f} days; {self.status})"

    @property
    def status(self) -> str:
        """Whether these thresholds were exported."""
        if self.candidate.trade:
            return "exported for trading"
        return f"{'' if self.thresholds else 'nothing replayed and '}not exported: {self.candidate.reason}"


def of(tape: Tape, market: Market, candidate: Params, constraints: Constraints) -> TearSheet:
    """Replay the thresholds of a candidate (or the best ones examined) over the whole tape and over its parts.

    Raises:
        ParamsError: the candidate's own evidence says something else than this replay: other quotes or other settings.
    """
    thresholds = examined(candidate)
    cut = window(tape, constraints)
    tapes = {FIT: cut.fit, JUDGED: cut.judge}
    earlier = tape.between(tape.start_ns, cut.fit.start_ns)
    if len(earlier) > 1 and earlier.end_ns > earlier.start_ns:
        tapes = {EARLIER: earlier, **tapes}
    parts = {}
    for name, part in tapes.items():
        replayed = market.replay(part, thresholds)
        curve = equity(part, replayed)
        parts[name] = Part(name, part, replayed, curve, measure(part, replayed, curve))
    whole = market.replay(tape, thresholds)
    _check(candidate, parts[JUDGED].performance)
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
    j, f = sheet.judged, sheet.fitted
    hits = wilson(round((j.hit_rate or 0.0) * j.trades), j.trades) if j.trades else None
    net = net_interval(sheet.parts[JUDGED])
    rows = (
        ("net, USDT a day", number(j.net_usdt_day, sign=True), f"{_range(net)}fit {number(f.net_usdt_day, sign=True)}"),
        ("return a day", share(j.return_day, 2), f"on {number(j.capital_usdt, 0)} USDT; fit {share(f.return_day, 2)}"),
        (
            "net per trade",
            number(j.mean_net_bps, 1, sign=True, unit="bps"),
            f"fit {number(f.mean_net_bps, 1, sign=True, unit='bps')}",
        ),
        (
            "trades a day",
            number(j.trades_day, 1),
            f"{j.trades} in {seconds(j.days * 86_400)}; fit {number(f.trades_day, 1)}",
        ),
        (
            "target hit rate",
            share(j.hit_rate),
            f"95 %: {share(hits.low)} to {share(hits.high)}; fit {share(f.hit_rate)}" if hits else "no trades",
        ),
        (
            "largest drawdown",
            FACES["largest drawdown"](j),
            f"longest {FACES['longest drawdown'](j)}; fit {FACES['largest drawdown'](f)}",
        ),
        ("profit factor", FACES["profit factor"](j), f"fit {FACES['profit factor'](f)}"),
        (
            "median hold",
            seconds(j.median_hold_s),
            f"longest {seconds(j.longest_hold_s)}; fit {seconds(f.median_hold_s)}",
        ),
    )
    return Tiles(f"The judged part, which the fit has not seen; {sheet.status}", rows)


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


def tapes(sheet: TearSheet) -> dict[str, Tape]:
    """The quotes of each part, by its name."""
    return {name: part.tape for name, part in sheet.parts.items()}


# --- money and trades ------------------------------------------------------------------------------------------------


def money(sheet: TearSheet) -> Table:
    """Where the money came from, per part and for the whole; the parts of a column sum to its net."""
    columns = {**{SAYS[name]: part.result.trades for name, part in sheet.parts.items()}, "whole": sheet.trades}
    split = {name: attribution(trades) for name, trades in columns.items()}
    rows = [(part, *(number(split[name][part], 4) for name in columns)) for part in next(iter(split.values()))]
    shares = [
        ("fees, share of gross", [_of_gross(t, "fees_usdt") for t in columns.values()]),
        ("funding, share of gross", [_of_gross(t, "funding_usdt") for t in columns.values()]),
    ]
    rows += [(name, *values) for name, values in shares]
    slip = [slippage_bps(s.tape, s.result) for s in (*sheet.parts.values(), sheet)]
    rows.append(("slippage inside the prices, bps per fill", *(number(s, 2) for s in slip)))
    note = (
        "USDT. Net = spot + perp - fees + funding + residual, to the cent. Gross is net before fees and funding. "
        "Slippage is the fill price against the price decided on, positive when it cost; it is part of "
        "spot and perp, not added."
    )
    return Table.of("Where the money came from", ("", *columns), rows, note)


def _of_gross(trades: tuple[Trade, ...], name: str) -> str:
    fees, paid = sum(t.fees_usdt for t in trades), sum(t.funding_usdt for t in trades)
    gross = sum(t.net_usdt for t in trades) + fees - paid
    return share({"fees_usdt": fees, "funding_usdt": paid}[name] / gross) if gross > 0 else NOTHING


def trades(sheet: TearSheet) -> Table:
    """The latest trades, newest last."""
    columns = (
        "opened, UTC",
        "part",
        "held",
        "end",
        "USDT",
        "in, bps",
        "out, bps",
        "fees",
        "funding",
        "net",
        "net, bps",
    )
    shown = sheet.trades[-ROWS:]
    rows = [
        (
            utc(t.opened_ns)[:19], sheet.part_of(t), seconds(t.held_s), t.reason, number(t.notional_usdt), *_edges(t),
            *(number(usdt, 4) for usdt in (t.fees_usdt, t.funding_usdt, t.net_usdt)), number(net_bps([t]), 1),
        )
        for t in shown
    ]  # fmt: skip
    if any(t.side == REVERSE for t in sheet.trades):
        columns = (*columns[:2], "direction", *columns[2:])
        rows = [(*row[:2], NAMES[t.side], *row[2:]) for row, t in zip(rows, shown, strict=True)]
    rows = rows or [("no trade", *[NOTHING] * (len(columns) - 1))]
    note = (
        f"The last {len(shown)} of {len(sheet.trades)} trades of the whole replay."
        if sheet.trades
        else f"Nothing to show: {sheet.empty_because}."
    )
    return Table.of("Trades", columns, rows, note)


def _edges(t: Trade) -> tuple[str, str]:
    """Relative distance of the legs' prices at opening and at closing, bps."""
    return number(to_bps(t.perp_in / t.spot_in - 1) if t.spot_in else None, 1), number(
        to_bps(t.perp_out / t.spot_out - 1) if t.spot_out else None, 1
    )


def endings(sheet: TearSheet) -> Table:
    """Why pairs ended, and what each kind earned."""
    counted = Counter(t.reason for t in sheet.trades)
    rows = []
    for reason, count in counted.most_common():
        ended = [t for t in sheet.trades if t.reason == reason]
        nets = [t.net_usdt for t in ended]
        hold = float(np.median([t.held_s for t in ended]))
        rows.append(
            (
                reason,
                f"{count}",
                share(count / len(sheet.trades)),
                seconds(hold),
                number(sum(nets), 4),
                number(float(np.mean(nets)), 4),
            )
        )
    rows = rows or [("no trade", *[NOTHING] * 5)]
    note = f"{sheet.result.missed} entries filled on neither leg." + (
        " The machine halted." if sheet.result.halted else ""
    )
    return Table.of(
        "How pairs ended, whole replay",
        ("end", "trades", "share", "median hold", "net USDT", "net per trade"),
        rows,
        note,
    )


def days(sheet: TearSheet) -> Table:
    """Change of the marked equity per UTC day, by part of the money."""
    table = sheet.curve.daily()
    rows = [
        (f"{day:%Y-%m-%d}", *(number(float(v), 4) for v in values))
        for day, values in zip(table.index, table.to_numpy(), strict=True)
    ]
    return Table.of(
        "Marked equity by day, USDT",
        ("day, UTC", *table.columns),
        rows[-ROWS:],
        "Marked at the exit side of both legs at the end of each day.",
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
        "CARRY: its levels were chosen on the last months, so all parts of this report are in sample. Unseen was the walk "
        f"of notebook 02, and that is {number(sheet.candidate.evidence.walk_trades, 0)} pairs."
        if sheet.candidate.profile == CARRY
        else "",
        "The maintenance rate is not known (--perp-rules): no rally liquidated the short of a long hold here."
        if sheet.candidate.profile == CARRY and sheet.market.perp.maintenance_rate == 0.0
        else "",
        _few(j.trades),
        _sure(net_interval(sheet.parts[JUDGED])),
        f"Looked at: {sheet.note}, and {seconds(j.days * 86_400)} of it to judge on. One stretch of one market is no "
        "sample of its future.",
        "Less than 30 days: no annualised Sharpe ratio is given, it would be noise.",
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


def _sure(net: Interval | None) -> str:
    if net is None or not net.low <= 0.0 <= net.high:
        return ""
    return f"The 95 % interval of the judged net, {number(net.low)} to {number(net.high)} USDT a day, includes zero."


def _few(trades: int) -> str:
    if not trades:
        return "No trade on the judged part: nothing was measured there."
    if trades < 300:
        return f"{trades} trades on the judged part are few: below some 300 a hit rate is not known to 5 points."
    return ""
