"""What notebook 02 shows and hands on: the costs of a round trip, the choice in tables and words, and the candidate."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from delta_arb import params
from delta_arb.backtest.performance import compare, measure
from delta_arb.errors import SeriesError
from delta_arb.evidence import Evidence
from delta_arb.market import FundingPayment, mid, to_bps
from delta_arb.optimize.carry_walk_forward import Asked
from delta_arb.optimize.search import Choice
from delta_arb.optimize.study import CARRY, Thresholds
from delta_arb.optimize.verdict import Verdict
from delta_arb.params import Params
from delta_arb.quotes.tape import Tape
from delta_arb.report.sensitivity import cells, untraded
from delta_arb.stats.basis import Basis, distribution
from delta_arb.tables import NOTHING, Findings, Table, TableFace, number, rests, seconds, share

ENDS = 10  # folds shown at the beginning and at the end of a long walk


def in_and_out(choice: Choice) -> Table:
    """The best set on the part it was fitted on and on the part it has not seen."""
    title = "The proposal, in sample and out of sample"
    if choice.fitted is None or choice.judged is None:
        return Table.nothing(title, choice.reason)
    return compare({"fit, in sample": choice.fitted, "judged, unseen": choice.judged}, title)


def witnesses(choice: Choice) -> Table:
    """What theory says, what the grid of replays says, and what is proposed, side by side.

    Theory is the optimum for the fitted process on all costs, under the longest hold; it knows no latency and no sizes.
    The grid knows them, but its best set is the best of many. The proposal starts at theory and goes towards the grid
    as far as what the grid earns more exceeds its noise.
    """
    title, heads = "Two witnesses and the proposal", ("", "entry, bps", "exit, bps", "trades/day", "net USDT/day")
    proposal, fitted = choice.proposal, choice.fitted
    if proposal is None or fitted is None:
        return Table.nothing(title, choice.reason)
    grid = choice.sweep.results[choice.sweep.sets.index(proposal.peak)]
    rows = [
        _levels("theory, replayed", proposal.plug_in, *_replayed(choice)),
        _levels("best of the grid, replayed", proposal.peak, grid.trades_day, grid.net_usdt_day),
        _levels("proposed, replayed", proposal.thresholds, fitted.trades_day, fitted.net_usdt_day),
    ]
    missing = f"Theory is not followed: {proposal.plug_in_why}. " if proposal.plug_in_why else ""
    note = f"{missing}On the fit part. The grid pulls the proposal {share(proposal.weight)} of the way from theory."
    return Table.of(title, heads, rows, note)


def _levels(name: str, at: Thresholds | None, trades_day: float | None, net: float | None) -> tuple[str, ...]:
    levels = (None, None) if at is None else at[:2]
    return (name, *(number(level, 1) for level in levels), number(trades_day, 1), number(net))


def _replayed(choice: Choice) -> tuple[float | None, float | None]:
    """Trades a day and net of theory's levels on the fit part; None where it has none."""
    if choice.proposal is None or choice.proposal.plug_in is None:
        return None, None
    fit = choice.window.fit
    found = measure(fit, choice.market.replay(fit, choice.proposal.plug_in))
    return found.trades_day, found.net_usdt_day


def walked(verdict: Verdict) -> Table:
    """The walk-forward, fold by fold (of many the first and the last ones), or why there is none."""
    if verdict.judgement is None:
        return Table.nothing("Walk-forward", verdict.unwalked)
    walk = verdict.judgement.walk
    table, left_out = walk.table(), walk.folds[ENDS:-ENDS]
    if len(left_out) <= ENDS:
        return table
    pairs, days = sum(len(fold.trades) for fold in left_out), sum(fold.days for fold in left_out)
    net = sum(fold.net_usdt for fold in left_out) / days
    idle = [NOTHING] * (len(table.columns) - 3)
    between = (f"{len(left_out)} folds between", *idle, f"{pairs}", number(net))
    return replace(table, rows=(*table.rows[:ENDS], between, *table.rows[-ENDS:]))


def gated(verdict: Verdict) -> Table:
    """The gates of the export with their numbers, or why none was reached; and the tries that are paid for."""
    if verdict.judgement is None:
        return Table.nothing("Demands on the export", verdict.unwalked)
    table, paid = verdict.judgement.table(), verdict.judgement.deflated
    if paid is None:
        return table
    tries = (
        f"The deflated Sharpe ratio corrects for N = {paid.trials:g} independent tries: {len(verdict.choice.sweep.sets)} sets were "
        f"swept, their near-copies fall into {paid.clusters} clusters."
    )
    return replace(table, note=f"{table.note} {tries}")


def spoken(verdict: Verdict, carried: Asked | None = None) -> Findings:
    """What was tried, what passed, what was decided and why; of `carried`, where the profile is carry."""
    choice, decided = verdict.choice, carried if carried and carried.profile == CARRY else verdict
    tried, passing = len(choice.sweep.sets), sum(choice.passing)
    demands = choice.constraints
    asked = (
        f"at least {demands.min_trades_day:g} trades a day, hit rate {demands.target_hit_rate:g} or more, drawdown "
        f"{share(demands.max_drawdown, 1)} or less, and a net above zero"
    )
    return Findings.of(
        f"Looked at: {choice.window.note}; fitted on the first {share(demands.fit_share)} of it, judged on the rest.",
        f"{passing} of {tried} threshold sets meet the demands on the fit part ({asked})."
        if tried
        else "No threshold set was worth a replay.",
        _lasting(verdict),
        _confident(verdict),
        f"Without holding for days: {verdict.reason}." if decided is carried else "",
        f"Verdict: {'trade' if decided.trade else 'do not trade'}. {decided.reason[0].upper()}{decided.reason[1:].rstrip('.')}.",
    )


def _confident(verdict: Verdict) -> str:
    """The estimated probability of a gain, and how good such estimates were."""
    found = verdict.judgement
    if found is None or verdict.horizon_s is None:
        return ""
    if found.confidence is None:
        why = "How likely a gain is next is not shown for candles: on recorded ones such estimates said more than came."
        return why if verdict.choice.window.judge.bar_s else ""
    said = f"The next {seconds(verdict.horizon_s)} end above zero with an estimated probability of "
    said += share(found.confidence)
    brier = found.walk.brier
    if brier is None:
        return f"{said}."
    return f"{said}; such estimates scored {brier.score:.3f} (Brier), the base rate {brier.base:.3f}."


def _lasting(verdict: Verdict) -> str:
    """What was earned on the unseen quotes and before; of the parameters in force, where they stay."""
    if verdict.fitted is None or verdict.judged is None:
        return ""
    fitted, judged = verdict.fitted.net_usdt_day, verdict.judged.net_usdt_day
    if verdict.kept:
        unseen = f"The parameters in force earned {number(judged)} USDT a day on the judged part"
        return f"{unseen}, {number(fitted)} before."
    unseen = f"On the quotes it has not seen it earned {number(judged)} USDT a day, {number(fitted)} in sample"
    return f"{unseen}: {share(judged / fitted)} were left." if 0 < judged < fitted else f"{unseen}."


def peak(choice: Choice) -> Findings:
    """Whether the best set stands on a plateau or on a needle, and why it is not what is proposed."""
    grid = cells(choice)
    if grid is None or choice.proposal is None or untraded(choice):
        return Findings.of(f"Nothing to compare: {untraded(choice) or choice.reason}.")
    k = choice.sweep.sets.index(choice.proposal.peak)
    own, around = choice.sweep.results[k].net_usdt_day, choice.sweep.neighbourhood(k)
    top = max(r.net_usdt_day for r in choice.sweep.results)
    return Findings.of(
        f"The grid's best set earns {number(own)} USDT a day in sample, its neighbourhood {number(around)}; the "
        f"highest single cell of the whole sweep earns {number(top)}.",
        "Best is the set whose neighbourhood earns most, not the highest cell: a single cell is mostly noise.",
        _not_the_best(choice, own),
    )


def _not_the_best(choice: Choice, own: float) -> str:
    """Why the proposal is not the grid's best, in one sentence with the numbers; nothing where it is."""
    proposal, fitted = choice.proposal, choice.fitted
    if proposal.thresholds == proposal.peak or fitted is None:
        return ""
    kept = (
        "no more than its noise (two standard errors), so theory's levels stay"
        if proposal.weight == 0.0
        else f"above its noise in part, so the levels move {share(proposal.weight)} of the way to it"
    )
    return (
        f"Proposed is not the best of the grid: that one earns {number(own)} USDT a day in sample against "
        f"{number(fitted.net_usdt_day)}, but it is the best of {len(choice.sweep.sets)} tries, and its gain is {kept}."
    )


def save(candidate: Params, run_folder: str) -> Params:
    """Write the candidate into the run's folder where there is one; opened by hand it is only returned."""
    if run_folder:
        params.save(candidate, Path(run_folder) / "candidate.json")
    return candidate


def _walk_range(evidence: Evidence) -> str:
    low, high = evidence.walk_net_low_usdt_day, evidence.walk_net_high_usdt_day
    return "chosen before, traded after" + ("" if low is None else f"; 95 %: {number(low)} to {number(high)}")


def _reverse(candidate: Params) -> list[tuple[str, str, str]]:
    """The levels of the reverse direction, and what it adds; nothing where it was not asked about."""
    rule, said = candidate.rule, candidate.evidence.reverse
    if said is None:
        return []
    low, high = said.adds_low_usdt_day, said.adds_high_usdt_day
    more = "walk-forward, over the direct pair alone" + (
        "" if low is None else f"; 95 %: {number(low)} to {number(high)}"
    )
    return [
        (
            "reverse entry",
            number(rule.reverse_entry_bps, 1, unit="bps"),
            "sell spot, buy perpetual: minus the exit cost",
        ),
        ("reverse exit", number(rule.reverse_exit_bps, 1, unit="bps"), "and back: minus the entry edge"),
        ("reverse adds", number(said.adds_usdt_day, unit="USDT/day"), more),
    ]


def _held(candidate: Params) -> list[tuple[str, str, str]]:
    """What the wallets are assumed to hold; nothing where nothing was said of them."""
    held = candidate.wallets
    if held.spot_usdt is None and not held.inventory_coins:
        return []
    return [("wallets", "as assumed", f"{held}")]


def _fees(candidate: Params) -> tuple[str, str]:
    """What a round trip pays, and in which roles."""
    rule, bps = candidate.rule, 2 * (candidate.spot.taker_fee_bps + candidate.perp.taker_fee_bps)
    if not rule.maker_leg:
        return number(bps, 1, unit="bps"), "four taker fees"
    terms, ends = getattr(candidate, rule.maker_leg), 2 - rule.takers()
    bps += ends * (terms.maker_fee_bps - terms.taker_fee_bps)
    return number(bps, 1, unit="bps"), f"{4 - ends} taker fees, {ends} of a maker: {rests(candidate.model_dump())}"


def shown(candidate: Params) -> Table:
    """The candidate without its times and digests."""
    rule, e = candidate.rule, candidate.evidence
    interval = (
        f"{seconds(e.half_life_s)} ({seconds(e.half_life_low_s)} to {seconds(e.half_life_high_s)})"
        if e.half_life_s
        else NOTHING
    )
    horizon = seconds(e.horizon_s) if e.horizon_s else "hours"
    valid_s = (candidate.valid_until - candidate.created).total_seconds()
    rows = (
        ("trade", "yes" if candidate.trade else "no", candidate.reason),
        *([("chosen", candidate.chosen, "exported only with --publish")] if candidate.chosen == params.BY_HAND else []),
        ("entry", number(rule.entry_bps, 1, unit="bps"), "enter when the entry edge is at or above"),
        ("exit", number(rule.exit_bps, 1, unit="bps"), "leave when the exit cost is at or below"),
        *_reverse(candidate),
        ("longest hold", seconds(rule.max_hold_s), "then leave at the market, unless the same books would pass entry"),
        *_counted_on(rule.funding_horizon_s),
        ("clip", number(rule.clip_usdt, 0, unit="USDT"), "per leg, at most the size shown times the participation"),
        *_held(candidate),
        ("oldest quote", seconds(rule.max_quote_age_s), "both legs, to enter"),
        ("fees", *_fees(candidate)),
        ("half-life", interval, "evidence, on the fit part"),
        (
            "sets tried",
            NOTHING if e.trials is None else f"{e.trials}",
            "the more are tried, the more of the best one is luck",
        ),
        ("net, fit part", number(e.fit_net_usdt_day, unit="USDT/day"), "in sample"),
        ("net, judged part", number(e.judged_net_usdt_day, unit="USDT/day"), "not seen by the fit"),
        ("net, walk-forward", number(e.walk_net_usdt_day, unit="USDT/day"), _walk_range(e)),
        ("deflated Sharpe ratio", share(e.deflated_sharpe, 1), "probability of an edge, corrected for all tries"),
        ("probability of overfitting", share(e.overfitting_probability), "choices that end below the median elsewhere"),
        ("confidence", share(e.confidence), f"probability of a gain in the next {horizon}"),
        ("valid for", seconds(valid_s), "the runner refuses it afterwards"),
    )
    marked = f", {candidate.data.mark}" if candidate.data.mark else ""
    known = [row for row in rows if row[1] != NOTHING]
    return Table.of(f"Candidate parameters, {candidate.name}{marked}", ("", "value", "meaning"), known)


def _counted_on(horizon_s: float) -> list[tuple[str, str, str]]:
    """Of carry: how far ahead funding is counted on."""
    meaning = "horizon of the expected funding, part of both edges"
    return [("funding counted on", seconds(horizon_s), meaning)] if horizon_s else []


# --- what a round trip costs -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class CostStack(TableFace):
    """Costs of a round trip in bps of notional, per leg for both fills; None where no book was ever fresh.

    `*_crossing_bps` is the venue's own quoted spread (median over time): half is lost on the way in and half out.
    `swing_bps` is how far the basis of the mids moves, 5th to 95th percentile. `funding_bps` is the mean of the
    recorded rates per stamp, received by the short; None without a history.
    """

    spot_fee_bps: float
    perp_fee_bps: float
    spot_crossing_bps: float | None
    perp_crossing_bps: float | None
    swing_bps: float | None
    funding_bps: float | None

    @property
    def parts(self) -> dict[str, float | None]:
        return {
            "spot fees": 2 * self.spot_fee_bps,
            "perpetual fees": 2 * self.perp_fee_bps,
            "crossing the spot book": self.spot_crossing_bps,
            "crossing the perpetual's book": self.perp_crossing_bps,
        }

    @property
    def total_bps(self) -> float | None:
        return None if None in self.parts.values() else sum(self.parts.values())

    def table(self) -> Table:
        """Opening, closing, and both."""
        rows = [(name, *_halves(value)) for name, value in (*self.parts.items(), ("all", self.total_bps))]
        swing = (
            "no event has fresh books on both legs."
            if self.swing_bps is None
            else f"The basis of the mids swings by {self.swing_bps:.1f} bps (5th to 95th percentile)."
        )
        paid = (
            ""
            if self.funding_bps is None
            else f" Funding paid the short {self.funding_bps:.2f} bps per stamp on average."
        )
        return Table.of(
            "Cost of a round trip, bps of notional", ("", "opening", "closing", "round trip"), rows, swing + paid
        )

    def plot(self, inputs):
        """The stack against the swing of the basis."""
        from delta_arb.report import plots

        return plots.costs(self, inputs)


def _halves(value: float | None) -> tuple[str, str, str]:
    return (NOTHING,) * 3 if value is None else (number(value / 2), number(value / 2), number(value))


def cost_stack(tape: Tape, basis: Basis, inputs, payments: tuple[FundingPayment, ...] = ()) -> CostStack:
    """The stack over a tape, from moments at which a decision was possible."""
    looks = tape.looks()
    within = [p.rate for p in payments if tape.start_ns <= p.ts_ns <= tape.end_ns]
    return CostStack(
        spot_fee_bps=inputs.spot_fee_bps,
        perp_fee_bps=inputs.perp_fee_bps,
        spot_crossing_bps=_median_spread_bps(looks.spot_bid, looks.spot_ask, basis),
        perp_crossing_bps=_median_spread_bps(looks.perp_bid, looks.perp_ask, basis),
        swing_bps=_swing_bps(basis),
        funding_bps=float(to_bps(np.mean(within))) if within else None,
    )


def _median_spread_bps(bid: np.ndarray, ask: np.ndarray, basis: Basis) -> float | None:
    quoted = to_bps((ask - bid) / mid(bid, ask))
    try:
        return distribution(quoted, basis.ts_ns, basis.fresh, basis.max_quote_age_s).p50
    except SeriesError:
        return None


def _swing_bps(basis: Basis) -> float | None:
    try:
        found = basis.distributions()["basis of the mids"]
    except SeriesError:
        return None
    return found.p95 - found.p5
