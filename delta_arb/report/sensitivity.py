"""How much a choice depends on what was assumed: neighbouring thresholds, extra costs, latency, the signal."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from delta_arb.backtest.performance import Performance, measure
from delta_arb.market import NS, common_step, to_bps
from delta_arb.optimize.search import Choice, choose
from delta_arb.optimize.study import Market, Thresholds
from delta_arb.params import RuleParams
from delta_arb.quotes.tape import Tape
from delta_arb.tables import NOTHING, Findings, Table, number, share

EXTRA_BPS = (0.0, 1.0, 2.0, 5.0, 10.0)
LATENCIES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # times the assumed ones
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


def cells(choice: Choice, max_hold_s: float | None = None) -> Cells | None:
    """The sweep as a grid, at the chosen hold; None where nothing was tried."""
    tried = choice.sweep
    if not tried.sets:
        return None
    hold = max_hold_s or (choice.proposal.peak.max_hold_s if choice.proposal else tried.sets[0].max_hold_s)
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
        return Table.of(title, ("", "nothing to show"), [("reason", untraded(choice) or choice.reason)])
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
class Signals:
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

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


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


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Ladder:
    """One assumption varied, the thresholds held: performance at each step, per part of the recording."""

    title: str
    unit: str
    steps: tuple[float, ...]
    base: float
    results: dict[str, tuple[Performance, ...]]

    def table(self) -> Table:
        """Net a day of every part; trades and hit rate of the last one, which is the judged one."""
        if not any(p.trades for results in self.results.values() for p in results):
            return Table.of(self.title, (self.unit, "nothing to show"), [("all", "no trade at any step")])
        last = list(self.results)[-1]
        columns = (
            self.unit,
            *(f"net USDT/day, {part}" for part in self.results),
            f"trades/day, {last}",
            f"hit rate, {last}",
        )
        rows = []
        for k, step in enumerate(self.steps):
            nets = (number(results[k].net_usdt_day) for results in self.results.values())
            rows.append(
                (f"{step:g}", *nets, number(self.results[last][k].trades_day, 1), share(self.results[last][k].hit_rate))
            )
        return Table.of(self.title, columns, rows)

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def extra_costs(
    parts: dict[str, Tape], market: Market, thresholds: Thresholds | None, steps: Sequence[float] = EXTRA_BPS
) -> Ladder:
    """The same thresholds where every fill costs some bps more (a higher fee, or worse prices)."""
    fees = to_bps(market.spot.taker_fee), to_bps(market.perp.taker_fee)
    dearer = [market.with_fees(fees[0] + step, fees[1] + step) for step in steps]
    return _ladder("Every fill dearer, thresholds held", "extra bps per fill", steps, 0.0, parts, dearer, thresholds)


def latencies(
    parts: dict[str, Tape], market: Market, thresholds: Thresholds | None, factors: Sequence[float] = LATENCIES
) -> Ladder:
    """The same thresholds where orders arrive later."""
    slow, longest = max(market.latency.spot_s, market.latency.perp_s), market.latency.longest_s
    allowed = [f for f in factors if f * longest <= max(SLOWEST_S, longest)]
    later = [slower(market, f, f) for f in allowed]
    return _ladder(
        "Orders arrive later, thresholds held",
        "slower leg, s",
        [f * slow for f in allowed],
        slow,
        parts,
        later,
        thresholds,
    )


def slower(market: Market, spot: float, perp: float) -> Market:
    """The same market where the orders of each leg take a factor longer, with time enough until their deadline."""
    latency = market.latency.times(spot, perp)
    needed_s = 2 * (latency.longest_s + market.settings.max_quote_age_s)
    values = {**market.settings.model_dump(), "leg_deadline_s": max(market.settings.leg_deadline_s, needed_s)}
    return replace(market, latency=latency, settings=RuleParams(**values))


def _ladder(title, unit, steps, base, parts, markets, thresholds) -> Ladder:
    results = {name: tuple(measure(tape, m.replay(tape, thresholds)) for m in markets) for name, tape in parts.items()}
    return Ladder(title, unit, tuple(float(s) for s in steps), base, results)


def spoken(costs: Ladder, later: Ladder, part: str) -> Findings:
    """What the two ladders say about one part, in words."""
    if not any(p.trades for p in (*costs.results[part], *later.results[part])):
        return Findings.of(f"No trade on the {part} part, so nothing depends on costs or latency.")
    said = _until(costs, part, "every fill costs", "bps more"), _until(later, part, "orders take", "s")
    return Findings.of(*dict.fromkeys(said))  # what earns nothing as it is does so in both


def _until(ladder: Ladder, part: str, does: str, unit: str) -> str:
    nets = [p.net_usdt_day for p in ladder.results[part]]
    losing = [step for step, net in zip(ladder.steps, nets, strict=True) if net <= 0]
    if not losing:
        return f"The {part} part still earns when {does} {ladder.steps[-1]:g} {unit} ({number(nets[-1])} USDT a day)."
    if losing[0] <= ladder.base:
        return f"The {part} part earns nothing as it is."
    return f"The {part} part earns nothing when {does} {losing[0]:g} {unit}."
