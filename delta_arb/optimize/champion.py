"""The parameters in force against a new choice: kept, unless the new ones earn more by more than the noise.

What passes the gates meets the champion: it replaces it for a gain above its noise, otherwise the champion is confirmed
with this run's evidence and a new validity. Where nothing passes, it stays as long as nothing speaks against it and it
passed within the last look-back: the evidence of some hours comes and goes, and an edge that lasts would be taken up and
dropped every day.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from delta_arb import params
from delta_arb.backtest.performance import measure
from delta_arb.errors import DataError, ParamsError, SeriesError
from delta_arb.market import NS, utc
from delta_arb.optimize import gates
from delta_arb.optimize.gates import Contest, Judgement
from delta_arb.optimize.offers import both
from delta_arb.optimize.search import WAYS, Choice, spoken
from delta_arb.optimize.study import PERIOD_S, REVERSION, SEED, Thresholds
from delta_arb.optimize.verdict import Champion, Verdict, warned
from delta_arb.params import Params
from delta_arb.quotes.inputs import Inputs
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.state import DIRECT, REVERSE
from delta_arb.tables import Table, number, seconds, share

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


@dataclass(frozen=True, slots=True)
class InForce:
    """Thresholds in force; `fitted_until_ns`: nothing later was fitted on; `passed_ns`: when they last passed every gate."""

    sha256: str
    thresholds: Thresholds
    fitted_until_ns: int
    passed_ns: int


def settle(verdict: Verdict, inputs: Inputs, tape: Tape, champion: str) -> Verdict:
    """The verdict after the contest with the parameter file in force (see `against`); unchanged without one."""
    held = in_force(Path(champion), inputs) if champion else None
    if held is None or not held.trade or held.profile != REVERSION:  # what carries is judged by its own walk
        return verdict
    if held.rule.maker_leg != verdict.choice.market.settings.maker_leg:
        ways = {None: "both legs take", "spot": "spot rests", "perp": "the perpetual rests"}
        return replace(
            verdict, reason=f"{verdict.reason}; those in force, where {ways[held.rule.maker_leg]}, are given up"
        )
    fitted_until, passed = held.data.judged_from or held.data.end, held.evidence.last_passed or held.data.end
    return against(verdict, tape, InForce(held.sha256, examined(held), _ns(fitted_until), _ns(passed)))


def against(verdict: Verdict, tape: Tape, held: InForce) -> Verdict:
    """The verdict after the contest with the thresholds in force.

    Where the new choice passes, they must meet all demands and gates of this run too, as if they had been chosen now; then
    they stay unless the challenger earned more by more than the noise of the difference. Where it does not pass, no
    evidence for them is asked for again: they are withdrawn for what speaks against them, see `_against`.
    """
    choice, mine = verdict.choice, held.thresholds
    parts = (measure(part, choice.market.replay(part, mine)) for part in (choice.window.fit, choice.window.judge))
    here = Champion(held.sha256, mine, *parts, passed_ns=held.passed_ns)
    same = mine == choice.best
    if not verdict.trade:
        return _kept_on(verdict, here, tape.end_ns)
    found = verdict.judgement if same else verdict.ask(mine)
    if misses := _misses(choice, here, found):
        words = f"those in force ({spoken(mine)}) do not pass any more: {'; '.join(misses)}"
        contest = Contest(True, None, words)
    elif same:
        contest = Contest(False, None, "the new choice is the same")
    else:
        contest = _contest(tape, choice, mine, held.fitted_until_ns)
    here = replace(here, passed_ns=tape.end_ns)
    if contest.replace:
        return replace(verdict, champion=here, contest=contest, reason=f"{verdict.reason}; {contest.words}")
    reason = f"re-confirmed: {spoken(mine)}; {contest.words}{warned(found)}"
    return replace(verdict, judgement=found, champion=here, contest=contest, reason=reason)


def _kept_on(verdict: Verdict, here: Champion, now_ns: int) -> Verdict:
    """What becomes of the thresholds in force where this run would export nothing."""
    said = f"this run alone would export nothing ({verdict.reason})"
    if why := _against(verdict.choice, here, now_ns):
        words = f"those in force ({spoken(here.thresholds)}) are withdrawn: {'; '.join(why)}"
        return replace(verdict, champion=here, contest=Contest(True, None, words), reason=f"{verdict.reason}; {words}")
    words = f"it earned {here.judged.net_usdt_day:.2f} USDT a day on the last {here.judged.days * 24:.1f} h, last passed at "
    contest = Contest(False, None, f"{words}{utc(here.passed_ns)[:16]} UTC, and nothing speaks against it")
    reason = f"kept in force: {spoken(here.thresholds)}; {said}, but {contest.words}"
    try:
        found = verdict.ask and verdict.ask(here.thresholds)
    except DataError as error:
        found, reason = None, f"{reason}; no new judgement of them: {error}"
    return replace(verdict, trade=True, judgement=found, champion=here, contest=contest, reason=reason)


def _against(choice: Choice, champion: Champion, now_ns: int) -> list[str]:
    """What speaks against thresholds that once passed: a limit of this run, a change of the funding rules since, a loss or a
    fall too deep on the judged part, a halt, or that they passed no run for as long as one looks back."""
    demands, seen = choice.constraints, champion.judged
    why = _limits(choice, champion)
    changed_ns = choice.market.rules_since_ns(now_ns)
    if choice.market.payments and champion.passed_ns < changed_ns:
        why.append(f"the rules of funding changed on {utc(changed_ns)[:16]} UTC, and they passed no run since")
    if seen.net_usdt <= 0:
        why.append(f"net {seen.net_usdt_day:.2f} USDT a day on the last {seen.days * 24:.1f} h is not above zero")
    if seen.drawdown > demands.max_drawdown:
        why.append(f"drawdown {share(seen.drawdown, 2)} there is above {share(demands.max_drawdown, 2)}")
    if seen.halted:
        why.append("the machine halted")
    if now_ns - champion.passed_ns > demands.look_back_h * 3600 * NS:
        why.append(f"they passed no run since {utc(champion.passed_ns)[:16]} UTC, longer than one looks back")
    return why


def _limits(choice: Choice, champion: Champion) -> list[str]:
    """Which limits of this run the champion breaks."""
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
    return misses


def _misses(choice: Choice, champion: Champion, found: Judgement) -> list[str]:
    """Which of this run's limits, demands and gates the champion does not meet."""
    demands, misses = choice.constraints, _limits(choice, champion)
    for name, result in (("fit", champion.fitted), ("judged", champion.judged)):
        misses += [f"{miss} on the {name} part" for miss in demands.failures(result)]
    return misses if misses or found.passed else [found.reason]


def _ns(at: datetime) -> int:
    return round(at.timestamp() * 1e6) * 1000


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
        if s is not None
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
