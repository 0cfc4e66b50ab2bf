"""What one pair is worth: the two jobs of a universe, on the first part of its data and, once ranked, on all of it.

    first     on [start, cut): is it one coin, what the basis does, what may be earned; screened, then chosen
    second    on all: the verdict that a run of the pipeline gives, with every pair listed paid for, and the days
              out of sample, which the universe tests jointly

A pair that cannot be read is an answer too: `refused` says why, and it counts among those listed. Results are what JSON
can say, rounded to nine digits, so that no engine shows in them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from delta_arb.errors import DataError, ParamsError, SeriesError
from delta_arb.market import DAY_NS, DAY_S, NS, from_bps, to_bps
from delta_arb.optimize import carry_walk_forward, gates, search, verdict
from delta_arb.optimize.carry_search import break_even
from delta_arb.optimize.carry_walk_forward import HELD_THROUGHOUT
from delta_arb.optimize.carry_ways import crossing_bps
from delta_arb.optimize.offers import offers
from delta_arb.optimize.study import CARRY, SEED
from delta_arb.optimize.walk_forward import walk_forward
from delta_arb.optimize.window import window
from delta_arb.quotes.tape import Tape
from delta_arb.stats.basis import Basis, above_median, basis_of
from delta_arb.stats.sharpe import Interval, mean_interval
from delta_arb.strategy.state import DIRECT
from delta_arb.universe import screen
from delta_arb.universe.reading import Opened, Study, opened, without

DIGITS = 9
LEAST_ALIKE = 0.3  # correlation of one-bar returns below which one coin is not proven (as in `quotes.two_legs`)
MOST_APART_BPS = 500.0  # of the median of the basis; recorded pairs have at most 20
LEAST_RETURNS, MOST_RETURNS = 50, 20_000
SHOWN = 1000  # resamples of an interval that is shown and decides nothing
NOT_FITTED = "not fitted, since no look-back has an edge after costs"
BARS = (1, 3, 12)  # times the bars there are: 5, 15 and 60 minutes
Answer = dict[str, Any]


# --- the first look ---------------------------------------------------------------------------------------------------


def first(told: Mapping[str, Any]) -> Answer:
    """Job: what the first part of a pair's data says; `told` has pair, data and the fields of `Study`."""
    study, pair, data = _told(told)
    try:
        whole = opened(study, pair, data)
        answer = {"pair": pair, "synthetic": whole.inputs.synthetic, "guessed": list(whole.guessed)}
        return _rounded(answer | _quality(whole) | first_of(whole, study))
    except (DataError, ParamsError) as error:
        return {"pair": pair, "refused": without(data, error)}


def first_of(whole: Opened, study: Study) -> Answer:
    """The same of a pair that was read."""
    cut_ns = cut_of(study, whole.tape)
    known = whole.before(cut_ns)
    answer = {"cut_ns": cut_ns} | _described(known) | _paid(known, study)
    excluded = screen.cannot_revert(known.tape, known.market, known.constraints)
    half_life_s, wanders = (None, NOT_FITTED) if excluded else _half_life(known)
    answer |= {"half_life_s": half_life_s, "half_life_why": wanders}
    reversion = _shown(excluded, screened=True) if excluded else _reversion_first(known, wanders)
    return answer | {"reversion": reversion, "carry": _carry_first(known)}


def _half_life(of: Opened) -> tuple[float | None, str]:
    """Of the newest look-back, s, or why there is none."""
    reverts, why_not = search.reversion_of(window(of.tape, of.constraints).fit, interval=False)
    return (reverts.half_life_s if reverts else None), why_not


def _told(told: Mapping[str, Any]) -> tuple[Study, str, Path]:
    names = {name: told[name] for name in Study.__dataclass_fields__}
    return Study(**names), told["pair"], Path(told["data"])


def cut_of(study: Study, tape: Tape) -> int:
    """Where the untouched part begins: at a midnight, so that days are whole."""
    at_ns = tape.start_ns + round((tape.end_ns - tape.start_ns) * study.first_share)
    day_ns = round(at_ns / DAY_NS) * DAY_NS
    return day_ns if tape.start_ns < day_ns < tape.end_ns else at_ns


def _described(of: Opened) -> Answer:
    """Basis, episodes, depth, and whether both legs are one coin."""
    basis = basis_of(of.tape, of.market.fees_bps, of.market.settings.max_quote_age_s)
    known = basis.basis_bps[basis.known]
    if not len(known):
        raise DataError("no moment has fresh books on both legs; is one leg frozen?")
    low, middle, high = np.quantile(known, (0.05, 0.5, 0.95))
    above = above_median(basis)
    days = (of.tape.end_ns - of.tape.start_ns) / NS / DAY_S
    seen = of.tape.looks()
    shown = np.minimum(seen.spot_ask_qty, seen.perp_bid_qty) * seen.spot_ask
    return {
        "start_ns": of.tape.start_ns, "end_ns": of.tape.end_ns, "rows": len(of.tape), "bar_s": of.tape.bar_s,
        "basis_bps": middle, "basis_low_bps": low, "basis_high_bps": high,
        "episodes_day": (above.count if above else 0) / days,
        "depth_usdt": float(np.median(shown)) * of.market.settings.participation,
        **same_coin(basis),
    }  # fmt: skip


def same_coin(basis: Basis) -> Answer:
    """Prices at one level that move together at one time, which two coins of one ticker do not: by the bar, or the minute or more."""
    prices = [np.log(np.where(basis.known, mid, np.nan)) for mid in (basis.spot_mid, basis.perp_mid)]
    if not basis.bar_s:  # quotes come one leg at a time: from one to the next only one of them moves
        step_ns = max(60 * NS, (basis.ts_ns[-1] - basis.ts_ns[0]) // MOST_RETURNS)
        minutes = np.arange(basis.ts_ns[0], basis.ts_ns[-1] + 1, step_ns)
        prices = [price[np.searchsorted(basis.ts_ns, minutes, "right") - 1] for price in prices]
    returns = [np.diff(price) for price in prices]
    moved = np.isfinite(returns[0]) & np.isfinite(returns[1])
    if moved.sum() < LEAST_RETURNS or any(np.ptp(r[moved]) == 0 for r in returns):
        return {"alike": None, "one_coin": False, "coin_why": f"{moved.sum()} returns of both legs prove nothing"}
    apart = float(to_bps(abs(np.nanmedian(prices[1] - prices[0]))))
    alike = float(np.corrcoef(*(r[moved] for r in returns))[0, 1])
    why = f"returns correlate {alike:.2f}, prices {apart:.1f} bps apart"
    return {"alike": alike, "one_coin": alike >= LEAST_ALIKE and apart <= MOST_APART_BPS, "coin_why": why}


def _quality(of: Opened) -> Answer:
    q = of.tape.quality
    bad = max(q.spot.bad_share, q.perp.bad_share) if q else 0.0
    return {"bad_share": float(bad), "notes": list(of.inputs.notes(of.tape))}


def _paid(of: Opened, study: Study) -> Answer:
    """Funding a day with its interval, and the days after which it has paid a round trip: taker, and spot resting."""
    since_ns, end_ns = of.market.in_force(of.tape).start_ns, of.tape.end_ns  # of the funding rules that hold now
    paid = [p for p in of.market.payments if since_ns <= p.ts_ns <= end_ns]
    spreads = crossing_bps(of.tape)
    none = dict.fromkeys(("funding_bps_day", "funding_low", "funding_high", "break_even_days", "resting_days"))
    try:
        even = break_even(paid, of.market.fees_bps + spreads)
    except DataError:
        return none
    # resting: two fills at the maker fee, and the spot book's half-spreads are not crossed
    seen = of.tape.looks()
    own = float(to_bps(np.median((seen.spot_ask - seen.spot_bid) / seen.spot_bid)))
    saved = 2 * (of.market.spot.taker_fee_bps - study.maker_fee_bps) + own
    resting = even._replace(costs_bps=even.costs_bps - saved)
    low, high = _interval_of_days(paid)
    return {
        "funding_bps_day": even.funding_bps_day, "funding_low": low, "funding_high": high,
        "break_even_days": even.days, "resting_days": resting.days and max(resting.days, 0.0),
    }  # fmt: skip


def _interval_of_days(paid) -> tuple[float | None, float | None]:
    """The 95 % interval of funding a day, bps, from whole days."""
    days = np.array([p.ts_ns // DAY_NS for p in paid])
    sums = np.bincount(days - days[0], weights=[to_bps(p.rate) for p in paid])[1:-1]
    try:
        found = mean_interval(sums, np.random.default_rng(SEED), repetitions=SHOWN)
    except SeriesError:
        return None, None
    return found.low, found.high


def _shown(reason: str, net: float | None = None, *, screened: bool = False, halted: bool = False) -> Answer:
    """What a way showed on the first part; a machine that halted shows no net."""
    return {"screened": screened, "net_usdt_day": None if halted else net, "halted": halted, "reason": reason}


def _reversion_first(of: Opened, wanders: str) -> Answer:
    """Chosen: net a day on the quotes that the fit has not seen, or why not; `wanders`: why there is no half-life."""
    if wanders:  # what does not revert is not traded, whatever the grid says
        return _shown(f"the basis does not revert: {wanders}")
    if empty := _no_grid(of):
        return _shown(empty)
    choice = search.choose(of.tape, of.market, of.constraints)
    judged = choice.judged
    net = judged.net_usdt_day if judged and judged.trades else None
    return _shown(choice.reason, net, halted=bool(judged and judged.halted))


def _carry_first(of: Opened) -> Answer:
    """Screened, and what holding throughout earned a day; whether that is taken is judged on all data."""
    if not of.market.payments:
        return _shown("no funding is known, so none is carried", screened=True)
    if why := screen.cannot_carry(of.tape, of.market):
        return _shown(why, screened=True)
    found = of.market.replay(of.tape, HELD_THROUGHOUT)
    reason = "the machine halted while holding throughout" if found.halted else "held throughout, not judged yet"
    return _shown(reason, found.net_usdt / found.days if found.trades else None, halted=bool(found.halted))


# --- the second look --------------------------------------------------------------------------------------------------


def second(told: Mapping[str, Any]) -> Answer:
    """Job: the pipeline's verdict on all of a pair's data, for each way in `told["ways"]`, with its days out of sample."""
    study, pair, data = _told(told)
    whole = opened(study, pair, data)
    again = (lambda bar_s: opened(study, pair, data, bar_s)) if whole.tape.bar_s else None
    return _rounded({"pair": pair} | second_of(whole, study, told["ways"], again))


Again = Callable[[float], Opened] | None  # the same pair on bars of another length, s; None of quotes


def second_of(whole: Opened, study: Study, ways: Sequence[str], again: Again = None) -> Answer:
    """The same of a pair that was read."""
    cut_ns = cut_of(study, whole.tape)
    return {way: _second(way, whole, study, cut_ns, again) for way in ways}


def _second(way: str, of: Opened, study: Study, cut_ns: int, again: Again) -> Answer:
    try:
        return (_reversion_second if way == "reversion" else _carry_second)(of, study, cut_ns, again)
    except (DataError, ParamsError) as error:  # the quotes do not answer: too few, a frozen leg
        return _no(str(error))


def _reversion_second(of: Opened, study: Study, cut_ns: int, again: Again) -> Answer:
    """Asked in the order of what the answers cost: whatever refuses one way ends it."""
    refused = _no_grid(of) or _wanders(of)
    if refused:
        return _no(refused)
    choice = search.choose(of.tape, of.market, of.constraints)
    if not choice.trade:
        return _no(choice.reason)
    tape, chosen = of.market.in_force(of.tape), verdict.Once(choice.side)
    walk = walk_forward(tape, of.market, of.constraints, verdict.frame(tape, choice), rng=None, choose=chosen)
    net = float(walk.nets.mean()) * DAY_S / walk.period_s if np.ptp(walk.nets) > 0 else None
    performance = walk.performance
    cash = gates.above_cash(net, performance.capital_usdt, of.constraints.cash_percent)
    trade, interval, reason = False, None, f"{search.spoken(choice.best)} does not pass: {cash.finding}"
    if not cash.refuses:
        found = verdict.judge(of.tape, choice, upstream=study.pairs, choose=chosen)
        trade, reason, interval = found.trade, found.reason, found.judgement and found.judgement.walk.net_usdt_day
    if net is None:
        return _no(reason)
    at_ns = walk.result.start_ns + (np.arange(len(walk.nets)) * walk.period_s * NS).astype(np.int64)
    halted = bool(performance.halted)
    return _of(trade and not halted, reason, _days(at_ns, walk.nets), cut_ns, net, interval, halted)


def _newest(of: Opened) -> Tape:
    """What a choice is fitted on; DataError where it is too short."""
    return window(of.market.in_force(of.tape), of.constraints).fit


def _no_grid(of: Opened) -> str:
    offered = offers(_newest(of), of.market.settings, None)
    return "" if search.grid(offered, of.market, of.constraints) else search.no_edge(offered, of.market, DIRECT)


def _wanders(of: Opened) -> str:
    why = search.reversion_of(_newest(of), interval=False)[1]
    return why and f"the basis does not revert: {why}"


def _carry_second(of: Opened, study: Study, cut_ns: int, again: Again) -> Answer:
    """Asked in that order too: bounds, then one choice of the walk's, then all of them."""
    refused = screen.cannot_beat_cash(of.tape, of.market, of.constraints) or screen.no_rule(of.tape, of.market)
    if refused:
        return _no(refused)
    rng, terms = np.random.default_rng(SEED), {"upstream": study.pairs, "constraints": of.constraints}
    walk = carry_walk_forward.walk(of.tape, of.market, rng=rng, **terms)
    if walk.net_bps_day is None:
        return _no(walk.reason)
    start_ns = walk.folds[0].start_ns
    usdt = from_bps(walk.position_usdt)
    days = _days(start_ns + np.arange(len(walk.daily)) * DAY_NS, walk.daily * usdt)
    halted = bool(walk.result.halted)
    trade = walk.pays and walk.now.thresholds is not None and not halted
    net = walk.net_bps_day.scaled(usdt)
    found = _of(trade, walk.reason, days, cut_ns, net.value, net, halted)
    if found["trade"] and again:
        nets = {f"{of.tape.bar_s:g}": walk.net_bps_day.value} | _on_longer_bars(of, study, again)
        found["bars"] = nets
        if len(nets) < len(BARS) or min(nets.values()) <= 0:
            found |= {"trade": False, "reason": f"the sign depends on the length of the bars: {spoken_bars(nets)}"}
    return found


def _on_longer_bars(of: Opened, study: Study, again: Callable[[float], Opened]) -> dict[str, float]:
    """Carry's net a day on longer bars of the same candles, bps; a length that has no answer is left out."""
    found = {}
    for bar_s in (of.tape.bar_s * times for times in BARS[1:]):
        longer = again(bar_s)
        walk = carry_walk_forward.asked(longer.tape, longer.market, CARRY, study.pairs, of.constraints).walk
        if walk and walk.net_bps_day:
            found[f"{bar_s:g}"] = walk.net_bps_day.value
    return found


def spoken_bars(nets: Mapping[str, float]) -> str:
    said = ", ".join(f"{net:+.2f} bps a day at {float(bar_s) / 60:g} min" for bar_s, net in nets.items())
    return said + ("" if len(nets) == len(BARS) else f"; {len(BARS)} lengths must answer, {len(nets)} do")


def _no(reason: str) -> Answer:
    return {"trade": False, "reason": reason, "days": None, "halted": False}


def _of(
    trade: bool,
    reason: str,
    days: tuple[int, np.ndarray],
    cut_ns: int,
    net: float,
    interval: Interval | None,
    halted: bool,
) -> Answer:
    """What was earned out of sample, and on the part that nobody had looked at before the ranking; no interval of what less
    than that refuses."""
    first_day, nets = days
    unseen = nets[max(math.ceil(cut_ns / DAY_NS) - first_day, 0) :]
    return {
        "trade": bool(trade), "reason": reason, "days": [first_day, nets.tolist()], "halted": halted,
        "net_usdt_day": net, "low_usdt_day": interval and interval.low, "high_usdt_day": interval and interval.high,
        "unseen_usdt_day": float(unseen.mean()) if len(unseen) else None,
    }  # fmt: skip


def _days(at_ns: np.ndarray, nets: np.ndarray) -> tuple[int, np.ndarray]:
    """First day, as days since 1970, and the net of each day."""
    day = at_ns // DAY_NS
    return int(day[0]), np.bincount(day - day[0], weights=nets)


def _rounded(value: Any) -> Any:
    """The same with numbers of nine digits: what differs beyond them is the order of a sum."""
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    if isinstance(value, float | np.floating):
        return float(f"{float(value):.{DIGITS}g}")
    return value
