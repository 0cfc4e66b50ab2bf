"""What notebook 02 hands on: the choice in tables and words, and the candidate written into the run's folder."""

from pathlib import Path

from . import params
from .costs import CostStack
from .errors import SeriesError
from .faces import NOTHING, Findings, Table, number, seconds, share
from .optimize import Choice
from .params import Params
from .performance import compare
from .sensitivity import cells
from .thresholds import optimal_for


def in_and_out(choice: Choice) -> Table:
    """The best set on the part it was fitted on and on the part it has not seen."""
    title = "The best set, in sample and out of sample"
    if choice.fitted is None or choice.judged is None:
        return Table.of(title, ("", "nothing to show"), [("reason", choice.reason)])
    return compare({"fit, in sample": choice.fitted, "judged, unseen": choice.judged}, title)


def against_theory(choice: Choice, stack: CostStack) -> Table:
    """The best set beside the levels that theory gives for the fitted process: Bertram's, on the same costs.

    Both are triggers for entry_edge and exit_cost. Theory knows no time-out, no latency and no sizes.
    """
    best, fitted = choice.best, choice.fitted
    rows = [("best of the grid", *[NOTHING] * 4)]
    if best is not None and fitted is not None:
        levels = number(best.entry_bps, 1), number(best.exit_bps, 1)
        rows = [("best of the grid", *levels, number(fitted.trades_day, 1), number(fitted.net_usdt_day))]
    try:
        rows.append(_theory(choice, stack))
        note = "Theory: no time-out, no latency, a full clip always shown; an upper bound."
    except SeriesError as error:
        note = f"Theory has no answer: {error}."
    return Table.of(
        "The grid against theory", ("", "entry, bps", "exit, bps", "trades/day", "net USDT/day"), rows, note
    )


def _theory(choice: Choice, stack: CostStack) -> tuple[str, ...]:
    if choice.half_life is None:
        raise SeriesError("the basis of the fit part has no half-life")
    if stack.spot_crossing_bps is None or stack.perp_crossing_bps is None or stack.total_bps is None:
        raise SeriesError("no event has fresh books on both legs")
    best = optimal_for(choice.half_life, stack.total_bps)
    levels = best.quote_levels(stack.spot_crossing_bps + stack.perp_crossing_bps)
    net = best.profit_per_day / 1e4 * choice.market.settings.clip_usdt
    return ("theory, OU process", *(number(bps, 1) for bps in levels), number(best.cycles_per_day, 1), number(net))


def verdict(choice: Choice) -> Findings:
    """What was tried, what passed, what was decided and why."""
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
        _lasting(choice),
        f"Verdict: {'trade' if choice.trade else 'do not trade'}. {choice.reason[0].upper()}{choice.reason[1:]}.",
    )


def _lasting(choice: Choice) -> str:
    """How much of the in-sample net was left on the unseen quotes."""
    if choice.fitted is None or choice.judged is None:
        return ""
    fitted, judged = choice.fitted.net_usdt_day, choice.judged.net_usdt_day
    unseen = f"On the quotes it has not seen it earned {number(judged)} USDT a day, {number(fitted)} in sample"
    return f"{unseen}: {share(judged / fitted)} were left." if fitted > 0 and judged > 0 else f"{unseen}."


def peak(choice: Choice) -> Findings:
    """Whether the best set stands on a plateau or on a needle."""
    grid = cells(choice)
    if grid is None or choice.best is None:
        return Findings.of(f"Nothing to compare: {choice.reason}.")
    k = choice.sweep.sets.index(choice.best)
    own, around = choice.sweep.results[k].net_usdt_day, choice.sweep.neighbourhood(k)
    top = max(r.net_usdt_day for r in choice.sweep.results)
    return Findings.of(
        f"The best set earns {number(own)} USDT a day in sample, its neighbourhood {number(around)}; the highest "
        f"single cell of the whole sweep earns {number(top)}.",
        "Chosen is the set whose neighbourhood earns most, not the highest cell: one cell is a noisy witness.",
    )


def save(candidate: Params, run_folder: str) -> Params:
    """Write the candidate into the run's folder where there is one; opened by hand it is only returned."""
    if run_folder:
        params.save(candidate, Path(run_folder) / "candidate.json")
    return candidate


def shown(candidate: Params) -> Table:
    """The candidate without its times and digests."""
    rule, e = candidate.rule, candidate.evidence
    interval = (
        f"{seconds(e.half_life_s)} ({seconds(e.half_life_low_s)} to {seconds(e.half_life_high_s)})"
        if e.half_life_s
        else NOTHING
    )
    rows = (
        ("trade", "yes" if candidate.trade else "no", candidate.reason),
        ("entry", number(rule.entry_bps, 1, unit="bps"), "enter when entry_edge is at or above"),
        ("exit", number(rule.exit_bps, 1, unit="bps"), "leave when exit_cost is at or below"),
        ("longest hold", seconds(rule.max_hold_s), "then leave at the market, unless the same books would pass entry"),
        ("clip", number(rule.clip_usdt, 0, unit="USDT"), "per leg, at most the size shown times the participation"),
        ("oldest quote", seconds(rule.max_quote_age_s), "both legs, to enter"),
        (
            "fees",
            number(2 * (candidate.spot.taker_fee_bps + candidate.perp.taker_fee_bps), 1, unit="bps"),
            "four taker fees",
        ),
        ("half-life", interval, "evidence, on the fit part"),
        (
            "sets tried",
            NOTHING if e.trials is None else f"{e.trials}",
            "the more are tried, the more the best one flatters",
        ),
        ("net, fit part", number(e.fit_net_usdt_day, unit="USDT/day"), "in sample"),
        ("net, judged part", number(e.judged_net_usdt_day, unit="USDT/day"), "not seen by the fit"),
        (
            "valid for",
            seconds((candidate.valid_until - candidate.created).total_seconds()),
            "the runner refuses it afterwards",
        ),
    )
    return Table.of(
        f"Candidate parameters, {candidate.name}" + (", SYNTHETIC quotes" if candidate.data.synthetic else ""),
        ("", "value", "meaning"),
        rows,
    )
