"""How much a choice depends on what was assumed: neighbouring thresholds, the signal, dearer fills, later orders, and the
surface over all entries and exits at other longest holds, latencies and fees."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from delta_arb.backtest.performance import Performance, measure
from delta_arb.market import NS
from delta_arb.optimize.offers import offers
from delta_arb.optimize.search import HOLD_SHARES, Choice, choose, levels, sweep
from delta_arb.optimize.study import Market, Thresholds
from delta_arb.quotes.tape import Tape
from delta_arb.report.tearsheet import TearSheet
from delta_arb.report.what_if import Case, Ladder, Outcome, replayed
from delta_arb.tables import NOTHING, Findings, Table, TableFace, number, seconds, share
from delta_arb.venue_terms import common_step

EXTRA_BPS = (0.0, 1.0, 2.0, 5.0, 10.0)
LATENCIES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # times the assumed ones
SURFACE_LATENCIES = (1.0, 5.0, 20.0)
FEES = (0.0, 0.5, 1.0, 2.0)  # times the assumed ones
SLOWEST_S = 30.0  # orders that take longer are not asked about
SIGNALS = ("raw", "filtered")
SIGNAL_LATENCIES_S = (0.01, 0.05, 0.2, 1.0)
NEAR = 1  # cells to each side


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Net USDT a day over entry (rows) and exit (columns) at one longest hold; NaN where a set was not tried."""

    entries: np.ndarray
    exits: np.ndarray
    net: np.ndarray
    results: dict[tuple[float, float], Performance]
    max_hold_s: float


def cells(choice: Choice) -> Cells | None:
    """The sweep as a grid, at the chosen hold; None where nothing was tried."""
    tried = choice.sweep
    if not tried.sets:
        return None
    hold = choice.proposal.peak.max_hold_s if choice.proposal else tried.sets[0].max_hold_s
    results = {
        (s.entry_bps, s.exit_bps): r for s, r in zip(tried.sets, tried.results, strict=True) if s.max_hold_s == hold
    }
    entries, exits = (np.array(sorted({key[k] for key in results})) for k in (0, 1))
    net = np.array([[results[e, x].net_usdt_day if (e, x) in results else np.nan for x in exits] for e in entries])
    return Cells(entries, exits, net, results, hold)


def untraded(choice: Choice) -> str:
    """Why there is no landscape to look at: sets were replayed and not one of them traded; empty where some did."""
    tried = choice.sweep.results
    if not tried or any(result.trades for result in tried):
        return ""
    return f"none of the {len(tried)} sets made a trade on the fit part{_clip_too_small(choice)}"


def _clip_too_small(choice: Choice) -> str:
    """The usual reason: the clip does not buy the smallest order that both venues take."""
    market, price = choice.market, float(np.median(choice.window.fit.spot_ask))
    least = max(common_step(market.spot, market.perp), market.spot.min_qty, market.perp.min_qty) * price
    least = max(least, market.spot.min_notional_usdt, market.perp.min_notional_usdt)
    clip = market.settings.clip_usdt
    return "" if clip >= least else f": a clip of {clip:g} USDT is below the smallest order, about {least:.4g} USDT"


def neighbourhood(choice: Choice) -> Table:
    """Net a day of the grid's best set and of the sets beside it, on the fit part."""
    title, grid = "Net USDT a day around the best of the grid, fit part", cells(choice)
    if grid is None or choice.proposal is None or untraded(choice):
        return Table.nothing(title, untraded(choice) or choice.reason)
    row, column = (
        int(np.argmin(np.abs(axis - at)))
        for axis, at in ((grid.entries, choice.proposal.peak.entry_bps), (grid.exits, choice.proposal.peak.exit_bps))
    )
    near = slice(max(row - NEAR, 0), row + NEAR + 1), slice(max(column - NEAR, 0), column + NEAR + 1)
    rows = [
        (f"entry {entry:g} bps", *(NOTHING if np.isnan(net) else number(net) for net in nets))
        for entry, nets in zip(grid.entries[near[0]], grid.net[near], strict=True)
    ]
    around = grid.net[near]
    note = (
        f"The best set earned {number(float(grid.net[row, column]))}, its neighbourhood "
        f"{number(float(np.nanmean(around)))} on average and "
        f"{number(float(np.nanmin(around)))} at worst. n/a: a set whose gain would not pay the fees, not tried."
    )
    return Table.of(title, ("", *(f"exit {x:g} bps" for x in grid.exits[near[1]])), rows, note)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Signals(TableFace):
    """What a decision on raw quotes and one on the basis without its noise earn on unseen quotes, at each latency.

    `choices`: the proposal of each signal, made at the latency assumed; `results`: one per latency, on the judged part;
    empty where there is nothing to replay, and `reasons` then say why.
    """

    latencies_s: tuple[float, ...]
    choices: dict[str, Choice]
    results: dict[str, tuple[Performance, ...]]
    reasons: dict[str, str]

    def table(self) -> Table:
        """Net a day and trades of each signal over the latency."""
        title = "Raw and filtered signal on the judged part, over the latency"
        if not any(p.trades for results in self.results.values() for p in results):
            reasons = [
                (name, self.reasons.get(name) or untraded(made) or "no trade at any latency")
                for name, made in self.choices.items()
            ]
            return Table.of(title, ("signal", "nothing to show"), reasons)
        shown = [(name, self.results.get(name)) for name in self.choices]
        heads = [head for name, _ in shown for head in (f"{name}: net USDT/day", f"{name}: trades")]
        rows = [
            (f"{1e3 * latency_s:g} ms", *(text for _, results in shown for text in _signal_cells(results, k)))
            for k, latency_s in enumerate(self.latencies_s)
        ]
        return Table.of(title, ("both orders arrive after", *heads), rows, self._note())

    def _note(self) -> str:
        levels = [
            f"{name}: entry {choice.best.entry_bps:g} bps, exit {choice.best.exit_bps:g} bps"
            for name, choice in self.choices.items()
            if name in self.results
        ]
        missing = [f"no {name} signal: {reason}" for name, reason in self.reasons.items()]
        assumed = next(iter(self.choices.values())).market.latency
        at = f"Chosen at the latency assumed, {1e3 * max(assumed.spot_s, assumed.perp_s):g} ms"
        hours = next(iter(self.choices.values())).window.judge
        span = (hours.end_ns - hours.start_ns) / NS / 3600
        return (
            f"{at}. {'; '.join((*levels, *missing))}. Judged on {span:.1f} h: with few trades a difference is chance."
        )


def _signal_cells(results: Sequence[Performance] | None, k: int) -> tuple[str, str]:
    if results is None:
        return NOTHING, NOTHING
    return number(results[k].net_usdt_day) if results[k].trades else NOTHING, f"{results[k].trades}"


def signals(tape: Tape, choice: Choice, latencies_s: Sequence[float] = SIGNAL_LATENCIES_S) -> Signals:
    """Each signal with its own proposal, replayed on the judged part at each latency of both legs.

    `choice` is that of its own signal, the other one is made here. Fills stay at the quotes in force when the order
    arrives; only what the decision looks at differs.
    """
    choices = {name: choice if name == choice.market.signal else choose_with(tape, choice, name) for name in SIGNALS}
    reasons = {name: reason for name, made in choices.items() if (reason := _no_signal(made))}
    results = {
        name: tuple(
            measure(made.window.judge, made.market.with_latency(s, s).replay(made.window.judge, made.best))
            for s in latencies_s
        )
        for name, made in choices.items()
        if name not in reasons
    }
    return Signals(tuple(latencies_s), choices, results, reasons)


def choose_with(tape: Tape, choice: Choice, signal: str) -> Choice:
    """The same choice, decided on another signal."""
    return choose(tape, replace(choice.market, signal=signal), choice.constraints)


def _no_signal(choice: Choice) -> str:
    """Why there is nothing to replay: no set at all, or no process whose noise could be taken out."""
    if choice.best is None:
        return choice.reason
    if choice.market.signal == "filtered" and choice.best.filter is None:
        return "without a half-life there is no filter" if choice.half_life is None else "no noise was found"
    return ""


# --- dearer fills, later orders --------------------------------------------------------------------------------------


def extra_costs(sheet: TearSheet) -> Ladder:
    """The same thresholds where every fill costs some bps more (a higher fee, or worse prices)."""
    market = sheet.market
    fees = market.spot.taker_fee_bps, market.perp.taker_fee_bps
    dearer = [market.with_fees(fees[0] + step, fees[1] + step) for step in EXTRA_BPS]
    return Ladder("Every fill dearer, thresholds held", "extra bps per fill", EXTRA_BPS, 0.0, _on_parts(sheet, dearer))


def latencies(sheet: TearSheet, factors: Sequence[float] = LATENCIES) -> Ladder:
    """The same thresholds where orders arrive later."""
    slow_s = max(sheet.market.latency.spot_s, sheet.market.latency.perp_s)
    allowed = not_too_late(sheet.market, factors)
    later = _on_parts(sheet, [sheet.market.slower(f, f) for f in allowed])
    levels = tuple(f * slow_s for f in allowed)
    return Ladder("Orders arrive later, thresholds held", "slower leg, s", levels, slow_s, later)


def _on_parts(sheet: TearSheet, markets: Sequence[Market]) -> dict[str, tuple[Outcome, ...]]:
    return {
        name: tuple(replayed(Case(part.tape, market, sheet.thresholds)) for market in markets)
        for name, part in sheet.parts.items()
    }


def not_too_late(market: Market, factors: Sequence[float]) -> tuple[float, ...]:
    """The factors that keep the longest latency below `SLOWEST_S`, or below what is assumed anyhow."""
    longest_s = market.latency.longest_s
    return tuple(f for f in factors if f * longest_s <= max(SLOWEST_S, longest_s))


def worse_findings(costs: Ladder, later: Ladder) -> Findings:
    """What dearer fills and later orders do to the last part, which is the judged one, in words."""
    part = list(costs.outcomes)[-1]
    if not any(o.trades for ladder in (costs, later) for o in ladder.outcomes[part]):
        return Findings.of(f"No trade on the {part} part, so nothing depends on costs or latency.")
    said = _until(costs, part, "every fill costs", "bps more"), _until(later, part, "orders take", "s")
    return Findings.of(*dict.fromkeys(said))  # what earns nothing as it is does so in both


def _until(ladder: Ladder, part: str, does: str, unit: str) -> str:
    nets = [o.net_usdt_day for o in ladder.outcomes[part]]
    losing = [level for level, net in zip(ladder.levels, nets, strict=True) if round(net, 2) <= 0]  # as it is shown
    if not losing:
        return f"The {part} part still earns when {does} {ladder.levels[-1]:g} {unit} ({number(nets[-1])} USDT a day)."
    if losing[0] <= ladder.base:
        return f"The {part} part earns nothing as it is."
    return f"The {part} part earns nothing when {does} {losing[0]:g} {unit}."


# --- the surface over entry and exit ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """What every set did a day, arrays of shape (holds, latencies, entries, exits); NaN where entry is not above exit.

    Every set is replayed on the fit part, those too that do not pay the fees: where profit ends is what one wants to see.
    Fees are not replayed but taken off: they are a share of the notional, which they do not change; only a pair whose
    legs filled unequally could have been mended the other way round at other fees.

    net, fees: USDT a day at the assumed fees; trades: how many on the fit part; hits: how many ended at the exit.
    latencies: times the assumed ones, the slower of which is `latency_s`; fees_bps: the four fees assumed.
    """

    entries: np.ndarray
    exits: np.ndarray
    holds_s: tuple[float, ...]
    latencies: tuple[float, ...]
    latency_s: float
    fee_factors: tuple[float, ...]
    fees_bps: float
    net: np.ndarray
    fees: np.ndarray
    trades: np.ndarray
    hits: np.ndarray

    def net_at(self, hold: int, latency: int, fee: int) -> np.ndarray:
        """Net USDT a day over entry (rows) and exit (columns) at one hold, latency and fee level."""
        return self.net[hold, latency] + (1.0 - self.fee_factors[fee]) * self.fees[hold, latency]

    @property
    def traded(self) -> bool:
        return bool(np.nansum(self.trades) > 0)

    def spoken(self, hold: int, latency: int, fee: int) -> tuple[str, str, str]:
        """What the three levels are, in words."""
        paid = self.fee_factors[fee] * self.fees_bps
        late = self.latencies[latency] * self.latency_s
        return seconds(self.holds_s[hold]), seconds(late), f"{paid:g} bps"

    def nearest_hold(self, choice: Choice) -> int:
        """The hold of the proposal among those of the surface; the longest one without a proposal."""
        wanted = choice.best.max_hold_s if choice.best else self.holds_s[-1]
        return int(np.argmin([abs(hold - wanted) for hold in self.holds_s]))


def surface(choice: Choice) -> Surface:
    """Every set at every hold and latency, replayed on the fit part of a choice."""
    fit, market, constraints = choice.window.fit, choice.market, choice.constraints
    process = market.process(choice.half_life)
    entries, exits = levels(offers(fit, market.settings, process))
    entries = entries[entries <= constraints.max_entry_bps]
    holds_s = tuple(share_ * constraints.max_hold_s for share_ in HOLD_SHARES)
    slow_s = max(market.latency.spot_s, market.latency.perp_s)
    factors = not_too_late(market, SURFACE_LATENCIES)
    cells = [
        (at, Thresholds(float(entries[at[1]]), float(exits[at[2]]), holds_s[at[0]], process))
        for at in np.ndindex(len(holds_s), len(entries), len(exits))
        if exits[at[2]] < entries[at[1]]
    ]
    found = np.full((4, len(holds_s), len(factors), len(entries), len(exits)), np.nan)
    for late, factor in enumerate(factors):
        results = sweep(fit, market.slower(factor, factor), [tried for _, tried in cells]).results
        for ((hold, row, column), _), p in zip(cells, results, strict=True):
            found[:, hold, late, row, column] = p.net_usdt_day, p.fees_usdt / p.days, p.trades, p.hits
    fees = FEES if market.fees_bps else (1.0,)
    return Surface(entries, exits, holds_s, factors, slow_s, fees, market.fees_bps, *found)


def surface_table(found: Surface, choice: Choice) -> Table:
    """How much of the map earns at each latency and fee level, and its highest cell, at the hold chosen."""
    hold = found.nearest_hold(choice)
    title = (
        f"Sets that earn, and the highest of them in USDT a day (longest hold {seconds(found.holds_s[hold])}, fit part)"
    )
    if not found.traded:
        return Table.nothing(title, "no set made a trade on the fit part")
    fees = range(len(found.fee_factors))
    heads = ("both orders arrive after", *(f"four fees {found.spoken(hold, 0, fee)[2]}" for fee in fees))
    rows = [
        (found.spoken(hold, late, 0)[1], *(_earning(found.net_at(hold, late, fee)) for fee in fees))
        for late in range(len(found.latencies))
    ]
    return Table.of(
        title,
        heads,
        rows,
        "In sample, so the highest looks better than the future will. The slower leg's latency; fees of a round trip.",
    )


def _earning(net: np.ndarray) -> str:
    tried = net[np.isfinite(net)]
    if not tried.size:
        return NOTHING
    return f"{share(float(np.mean(tried > 0)))}, {number(float(tried.max()))}"
