"""Which leg rests, if any, and how far away: chosen on the fit part with the thresholds, judged by the same gates.

A leg may rest where the account's fee for makers and the price tick are known, and trades of others were recorded: without them
a replay proves only quotes that reach ours. The choice is made under `back`; `trade` is true only where the same procedure
passes every demand and gate under `back` and under `through`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from delta_arb.backtest.performance import measure
from delta_arb.market import ASSUMPTIONS, BACK, LEGS, NS, THROUGH, to_bps
from delta_arb.optimize.search import Choice, choose
from delta_arb.optimize.study import Constraints, Market
from delta_arb.optimize.verdict import Verdict, judge
from delta_arb.params import Rule
from delta_arb.quotes.tape import Tape
from delta_arb.rule_params import RestingLeg

WAYS = tuple({"distance_bps": bps} for bps in (0.0, 2.0, 5.0))
AFTER_NS = NS  # how long after a fill its adverse selection is taken


def conducts(tape: Tape, market: Market, ways: Sequence[Mapping] = WAYS) -> list[Rule]:
    """The rules without thresholds to choose from: both legs take, or one of them rests in one of the ways (fields of
    `RestingLeg`). On candles both take: they prove no fill at a moment at which it could be hedged."""
    plain = market.taking().settings
    one_clip = plain.max_position_usdt in (None, plain.clip_usdt) and not market.funds.inventory
    found = [plain]
    for leg, name in enumerate(LEGS):
        terms = getattr(market, name)
        if (
            tape.bar_s
            or not one_clip
            or terms.maker_fee_bps is None
            or not terms.price_tick
            or not len(tape.queues[leg].ts_ns)
        ):
            continue
        adverse_bps = expected_adverse_bps(tape, leg)
        if adverse_bps is None:
            continue
        found += [
            plain.replace(**{f"{name}_role": "maker"}, resting=RestingLeg(adverse_bps=adverse_bps, **way))
            for way in ways
        ]
    return found


def expected_adverse_bps(tape: Tape, leg: int) -> float | None:
    """How far the mid goes on in the direction of a trade within a second, in the mean of a tape's trades; at least 0, bps.

    None where no trade has a second of quotes behind it: nothing is known, and nothing may rest on a guess.
    """
    trades = tape.queues[leg]
    inside = (trades.ts_ns >= tape.start_ns) & (trades.ts_ns + AFTER_NS <= tape.end_ns)
    if not inside.any():
        return None
    name = LEGS[leg]
    mids = 0.5 * (getattr(tape, f"{name}_bid") + getattr(tape, f"{name}_ask"))
    at, later = (mids[np.searchsorted(tape.ts_ns, trades.ts_ns[inside] + ns, "right") - 1] for ns in (0, AFTER_NS))
    return min(max(float(to_bps(np.mean(trades.side[inside] * (later - at) / at))), 0.0), 100.0)


def chosen(tape: Tape, market: Market, constraints: Constraints) -> Choice:
    """The choice of the conduct that earned most on the fit part, among those that meet the demands there if any does."""
    first = choose(under(tape, BACK), market, constraints)
    others = conducts(first.window.fit, market)[1:]
    found = [first, *(choose(under(tape, BACK), replace(market, settings=rule), constraints) for rule in others)]
    best = max(found, key=lambda c: (c.fitted is not None, any(c.passing), c.fitted.net_usdt if c.fitted else 0.0))
    rest = [c for c in found if c is not best]
    told = [f"{spoken_conduct(c.market.settings)}: {_said(c)}" for c in rest if c.fitted or c is first]
    silent = len(rest) - len(told)
    told += [f"no levels pay in {silent} way{'s' * (silent != 1)} in which a leg rests"] * (silent > 0)
    reason = f"{spoken_conduct(best.market.settings)}: {best.reason} ({'; '.join(told)})"
    return replace(best, reason=reason, ways=tuple(found)) if others else best


def spoken_conduct(rule: Rule) -> str:
    return f"{rule.maker_leg} rests, {rule.resting.distance_bps:g} bps further" if rule.resting else "both legs take"


def _said(choice: Choice) -> str:
    return f"{choice.fitted.net_usdt_day:.2f} USDT a day on the fit part" if choice.fitted else "no levels pay there"


def judged(tape: Tape, choice: Choice, upstream: float = 1.0) -> Verdict:
    """The gates on what was chosen, each conduct looked at counted as a pair would be; of a leg that rests under `back` and
    `through`, and what fails under either is not traded."""
    upstream *= len(conducts(choice.window.fit, choice.market))
    verdict = judge(under(tape, BACK), choice, upstream)
    if choice.market.settings.resting is None or not verdict.trade:
        return verdict
    through = judge(under(tape, THROUGH), _replayed(choice, THROUGH), upstream)
    if through.trade:
        return replace(
            verdict, reason=f"{verdict.reason}; and under through, where nothing fills at our price: {through.reason}"
        )
    return replace(
        verdict, trade=False, reason=f"passes at the back of the queue, but not under through: {through.reason}"
    )


def under(tape: Tape, place: int) -> Tape:
    """The tape under an assumption, by its number; the same one where it is assumed already."""
    return tape if tape.queues.place == place else tape.assuming(ASSUMPTIONS[place])


def _replayed(choice: Choice, place: int) -> Choice:
    """The same thresholds on both parts under another assumption."""
    parts = replace(choice.window, fit=under(choice.window.fit, place), judge=under(choice.window.judge, place))
    fitted, judged_ = (measure(part, choice.market.replay(part, choice.best)) for part in (parts.fit, parts.judge))
    misses = [*choice.constraints.failures(fitted), *choice.constraints.failures(judged_)]
    reason = "; ".join(misses) or f"{judged_.net_usdt_day:.2f} USDT a day net on the part not seen"
    return replace(choice, window=parts, fitted=fitted, judged=judged_, trade=not misses, reason=reason)
