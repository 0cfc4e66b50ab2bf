"""The parameters in force against a new choice: kept, unless the new ones earn more by more than the noise.

What passes the gates meets the champion: it replaces it for a gain above its noise, otherwise the champion is confirmed
with this run's evidence and a new validity.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from delta_arb import params
from delta_arb.backtest.performance import measure
from delta_arb.errors import ParamsError, SeriesError
from delta_arb.market import NS
from delta_arb.optimize import gates
from delta_arb.optimize.gates import Contest, Judgement
from delta_arb.optimize.search import WAYS, Choice, spoken
from delta_arb.optimize.study import PERIOD_S, REVERSION, SEED, Thresholds
from delta_arb.optimize.threshold_sets import both
from delta_arb.optimize.verdict import Champion, Verdict, warned
from delta_arb.params import Params
from delta_arb.quotes.inputs import Inputs
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.state import DIRECT, REVERSE
from delta_arb.tables import Table, number, seconds

SIDES = {"direct": DIRECT, "reverse": REVERSE}
NAMES = {side: name for name, side in SIDES.items()}
MIN_UNSEEN = 16  # periods of a contest; below that the long-run variance of the difference is a guess


def in_force(path: Path, inputs: Inputs) -> Params:
    """A parameter file that a new choice can be held against: whole, and of the market of `inputs`; stale or not.

    Raises:
        ParamsError: damaged, of another pair, of other fees, latencies or order rules, or of synthetic quotes or
            candles where these are not.
    """
    held = params.load(path)
    if held.pair != inputs.pair or held.data.mark != inputs.mark:
        kind = f" ({held.data.mark})" if held.data.mark else ""
        raise ParamsError(f"{path}: of {held.pair}{kind}, this run is about {inputs.name}; give the file of this pair")
    params.check_assumed(held, *inputs.terms())
    return held


def settle(verdict: Verdict, inputs: Inputs, tape: Tape, champion: str) -> Verdict:
    """The verdict after the contest with the parameter file in force; unchanged without one, or with "do not trade".

    The champion must meet all demands and gates of this run, as if it had been chosen now; then it stays unless the
    challenger earned more than it by more than the noise of the difference.
    """
    if not (champion and verdict.trade):
        return verdict
    held = in_force(Path(champion), inputs)
    if not held.trade or held.profile != REVERSION:  # what carries is judged by its own walk
        return verdict
    choice, mine = verdict.choice, examined(held)
    parts = (measure(part, choice.market.replay(part, mine)) for part in (choice.window.fit, choice.window.judge))
    here = Champion(held.sha256, mine, *parts)
    same = mine == choice.best
    found = verdict.judgement if same else verdict.ask(mine)
    if misses := _misses(choice, here, found):
        words = f"those in force ({spoken(mine)}) do not pass any more: {'; '.join(misses)}"
        contest = Contest(True, None, words)
    elif same:
        contest = Contest(False, None, "the new choice is the same")
    else:
        contest = _contest(tape, choice, mine, _fitted_until_ns(held))
    if contest.replace:
        return replace(verdict, champion=here, contest=contest, reason=f"{verdict.reason}; {contest.words}")
    reason = f"re-confirmed: {spoken(mine)}; {contest.words}{warned(found)}"
    return replace(verdict, judgement=found, champion=here, contest=contest, reason=reason)


def _misses(choice: Choice, champion: Champion, found: Judgement) -> list[str]:
    """Which of this run's demands and gates the champion does not meet."""
    demands, mine = choice.constraints, champion.thresholds
    misses = []
    if mine.levels(REVERSE) and not choice.market.funds.inventory:
        misses.append("they sell coins that are held, and this run was given none (--inventory-coins)")
    if mine.filter and choice.market.signal == "raw":
        misses.append("they decide on the filtered basis, this run on the raw one")
    entries = {WAYS[side]: at.entry_bps for side in (DIRECT, REVERSE) if (at := mine.levels(side))}
    misses += [
        f"{way}entry {entry:g} bps is above the {demands.max_entry_bps:g} bps allowed"
        for way, entry in entries.items()
        if entry > demands.max_entry_bps
    ]
    if mine.max_hold_s > demands.max_hold_s:
        misses.append(f"hold {mine.max_hold_s:g} s is above the {demands.max_hold_s:g} s allowed")
    for name, result in (("fit", champion.fitted), ("judged", champion.judged)):
        misses += [f"{miss} on the {name} part" for miss in demands.failures(result)]
    return misses if misses or found.passed else [found.reason]


def _fitted_until_ns(held: Params) -> int:
    """From here on the champion's thresholds are not fitted; a confirmed file names a later time than it need."""
    return round((held.data.judged_from or held.data.end).timestamp() * 1e6) * 1000


def _contest(tape: Tape, choice: Choice, champion: Thresholds, fitted_until_ns: int) -> Contest:
    """Both on the quotes that neither was fitted on: this run's judged part, from where the champion's own began.

    The judged part of either could veto its thresholds and did not choose them. Periods are counted back from the end;
    with too few of them the champion, which has passed all demands, stays.
    """
    start_ns = max(choice.window.judged_from_ns, fitted_until_ns)
    periods = max(0, int((tape.end_ns - start_ns) / NS // PERIOD_S))
    unseen = f"on the {seconds(periods * PERIOD_S)} that neither was fitted on"
    if periods < MIN_UNSEEN:
        needed = seconds(MIN_UNSEEN * PERIOD_S)
        return Contest(False, None, f"{unseen} the new choice cannot be told from it, {needed} are needed")
    start_ns = tape.end_ns - round(periods * PERIOD_S * NS)
    part = tape.between(start_ns, tape.end_ns + 1)
    try:
        found = gates.contest(part, choice.market, champion, choice.best, np.random.default_rng(SEED))
    except SeriesError as error:
        return Contest(False, None, f"{unseen} the new choice cannot be told from it: {error}")
    return replace(found, words=f"{unseen}: {found.words}")


def contested(verdict: Verdict) -> Table:
    """Champion and challenger beside each other, or why there was no contest."""
    title, found, held = "Champion and challenger", verdict.contest, verdict.champion
    if found is None or held is None:
        why = "no parameters of this market are in force" if verdict.trade else f"nothing is traded: {verdict.reason}"
        return Table.of(title, ("", "nothing to compare"), [("reason", why)])
    both = (("in force", held.thresholds, held.judged), ("new", verdict.choice.best, verdict.choice.judged))
    rows = [
        (name, *(number(level, 1) for level in s[:2]), seconds(s.max_hold_s), f"{p.trades}", number(p.net_usdt_day))
        for name, s, p in both
    ]
    heads = ("", "entry, bps", "exit, bps", "longest hold", "judged trades", "judged net USDT/day")
    return Table.of(title, heads, rows, f"{'Replaced' if found.replace else 'Kept'}: {found.words}.")


def examined(exported: Params) -> Thresholds | None:
    """The thresholds of an export, or of the best set examined when it says do not trade."""
    rule, e = exported.rule, exported.evidence
    if exported.trade:
        machine = rule.max_hold_s, rule.filter, rule.funding_horizon_s
        of_each = (
            Thresholds(*rule.levels[way], *machine, side=side) if way in rule.levels else None
            for way, side in (("", DIRECT), ("reverse_", REVERSE))
        )
        return both(*of_each)
    if e.best_entry_bps is None:
        return None
    horizon_s, side = e.best_funding_horizon_s or 0.0, SIDES[e.best_direction]
    return Thresholds(e.best_entry_bps, e.best_exit_bps, e.best_max_hold_s, e.best_filter, horizon_s, side)
