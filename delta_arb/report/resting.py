"""Where the money of pairs with a leg that rests came from, to the cent, and how far prices went against its fills.

    net = spread captured + adverse selection + hedge slippage + basis - fees + funding + residual

Each fill's cash is split at the mids of its own book. A fill that rested captured its distance from the mid; the move of that
mid in the second after it is adverse selection. A hedge slipped from the price that stood when it was sent to the one that it
got. What is left is the basis: the way from mid to mid, and the half-spreads that takers crossed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from delta_arb.backtest.fast_forward import book_at
from delta_arb.backtest.replay import Backtest
from delta_arb.errors import SeriesError
from delta_arb.market import ASSUMPTIONS, BACK, LEGS, NS, THROUGH, Fill, exit_price, to_bps
from delta_arb.optimize.offers import offers
from delta_arb.optimize.roles import spoken_conduct
from delta_arb.optimize.search import Choice, levels
from delta_arb.optimize.study import SEED, Thresholds
from delta_arb.quotes.tape import Tape
from delta_arb.report.tearsheet import TearSheet
from delta_arb.stats.sharpe import Interval, mean_interval
from delta_arb.strategy.ledger import attribution, net_bps, total
from delta_arb.tables import NOTHING, Table, number

AFTER_S = (1.0, 5.0, 30.0)
FEWEST = 20  # fills for an interval
TIMES = (1, 2, 4, 8, 16)  # the clip


@dataclass(frozen=True, slots=True)
class RestingMoney:
    """USDT; the parts add up to the net. `against_bps`: how far the mid went against a fill after each of `AFTER_S`."""

    fills: int
    spread: float
    adverse: float
    slippage: float
    basis: float
    fees: float
    funding: float
    residual: float
    against_bps: tuple[float | Interval | None, ...]

    @property
    def net(self) -> float:
        return self.spread + self.adverse + self.slippage + self.basis + self.fees + self.funding + self.residual


def resting_money(tape: Tape, result: Backtest) -> RestingMoney:
    """The split of a backtest; fills beyond the end of the tape are measured against its last books."""
    booked, rested = attribution(result.trades), set(result.rested)
    settled = {t.pair for t in result.trades}
    fills = [f for f in result.fills if f.pair in settled]
    ours, hedges = [f for f in fills if f in rested], _hedges(result, rested)
    spread = total(f.qty * (_mid(tape, f.leg, f.ts_ns) - f.price) for f in ours)
    adverse = total(f.qty * _move(tape, f, AFTER_S[0]) for f in ours)
    slippage = total(f.qty * (_touch(tape, f, sent_ns) - f.price) for f, sent_ns in hedges.items() if f.pair in settled)
    cash = booked["spot"] + booked["perp"]
    return RestingMoney(
        len(ours), spread, adverse, slippage, cash - spread - adverse - slippage, booked["fees"], booked["funding"],
        booked["residual"], against(tape, ours),
    )  # fmt: skip


def _hedges(result: Backtest, rested: set) -> dict:
    """When each hedge of a fill that rested was sent: by its fill, the newest order of the other leg."""
    legs = {f.leg for f in rested}
    orders = [o for o in result.sent if not o.post_only]
    found = {}
    for f in result.fills:
        if result.open_at_end and f.ts_ns == result.end_ns:
            continue  # no order of ours
        sent = [o.ts_ns for o in orders if o.leg == f.leg and o.pair == f.pair and o.ts_ns < f.ts_ns]
        if sent and f.leg not in legs:
            found[f] = sent[-1]
    return found


def _row(tape: Tape, ts_ns: int) -> int:
    return max(int(np.searchsorted(tape.ts_ns, ts_ns, "right")) - 1, 0)


def _mid(tape: Tape, leg: int, ts_ns: int) -> float:
    book = book_at(tape, leg, _row(tape, ts_ns))
    return float(0.5 * (book.bid + book.ask))


def _move(tape: Tape, fill, after_s: float) -> float:
    """How far the mid of a fill's book went after it, USDT per base unit."""
    return _mid(tape, fill.leg, fill.ts_ns + round(after_s * NS)) - _mid(tape, fill.leg, fill.ts_ns)


def _touch(tape: Tape, fill, ts_ns: int) -> float:
    """The price at which a hedge was to be had when it was sent."""
    return float(exit_price(-fill.qty, book_at(tape, fill.leg, _row(tape, ts_ns))))


def against(tape: Tape, fills: Sequence[Fill]) -> tuple[float | Interval | None, ...]:
    """How far the mid went against fills after each of `AFTER_S`, bps: the mean, with an interval where there are enough."""
    return tuple(_against([-np.sign(f.qty) * to_bps(_move(tape, f, s) / f.price) for f in fills]) for s in AFTER_S)


def spoken_against(bps: float | Interval | None) -> str:
    return f"{bps:.2f} bps" if isinstance(bps, float) else f"{bps or NOTHING} bps"


def _against(moves: list) -> float | Interval | None:
    if len(moves) < FEWEST:
        return float(np.mean(moves)) if moves else None
    try:
        return mean_interval(np.array(moves, float), np.random.default_rng(SEED))
    except SeriesError:
        return float(np.mean(moves))


def ways_table(choice: Choice, tape: Tape) -> Table:
    """What each way of trading came to on the whole tape under each assumption of the queue: pairs, and net, bps a pair.

    Each with the levels that it would choose; where none pay on the fit part, a leg that rests asks for its costs alone around
    the median basis, and who takes trades the rarest good prices there.
    """
    title, heads = (
        "What each way of trading came to",
        ("way", "entry / exit, bps", *(f"{a}: pairs, bps a pair" for a in ASSUMPTIONS)),
    )
    if not choice.ways:
        why = "none may rest without its fee for makers (--spot-maker-fee-bps), its price tick and trades of others (--spot-trades)"
        return Table.of(title, ("way", "reason"), [("both legs take", why)])
    rows = [_way_row(way, tape) for way in choice.ways]
    pays = any(all(net > 0 for _, net in found[BACK:]) for _, _, found in rows)
    verdict = (
        "More than nothing at the back and under through: the gates decide."
        if pays
        else "None earns anything both at the back of the queue and under through: an honest no."
    )
    note = f"{verdict} All of the record, that the levels were chosen on included. * costs alone: no levels pay on the fit part."
    cells = [
        (name, said, *(f"{n}: {number(net, 1) if n else NOTHING}" for n, net in found)) for name, said, found in rows
    ]
    return Table.of(title, heads, cells, note)


def _way_row(way: Choice, tape: Tape) -> tuple[str, str, list[tuple[int, float]]]:
    at, found = way.best or _costs_alone(way), []
    for assumption in ASSUMPTIONS:
        trades = way.market.replay(tape.assuming(assumption), at).trades
        found.append((len(trades), net_bps(trades) or 0.0))
    return (
        spoken_conduct(way.market.settings),
        f"{at.entry_bps:.1f} / {at.exit_bps:.1f}{'' if way.best else ' *'}",
        found,
    )


def _costs_alone(way: Choice) -> Thresholds:
    """Levels where the grid has none: the rarest good prices of who takes; of a leg that rests the middle of the two medians."""
    offered = offers(way.window.fit, way.market.settings, None)
    if way.market.settings.resting is None:
        entries, exits = levels(offered)
        return Thresholds(float(max(entries[-1], exits[0] + 0.01)), float(exits[0]), way.constraints.max_hold_s)
    middle = float(np.median(offered.entry_bps) + np.median(offered.exit_bps)) / 2
    return Thresholds(round(middle + 0.01, 2), round(middle, 2), way.constraints.max_hold_s)


def money_table(sheet: TearSheet) -> Table:
    """Where the money came from when a leg rested; that nothing did, where both legs take."""
    title, result = "What resting earned, and what it gave back", sheet.result
    if sheet.market.settings.resting is None:
        return Table.of(title, ("", "nothing to show"), [("reason", "both legs take: no order rests")])
    found = resting_money(sheet.tape, result)
    leg = LEGS[result.rule.quoting.leg]
    parts = ("spread", "adverse", "slippage", "basis", "fees", "funding", "residual", "net")
    words = ("spread captured", "adverse selection, 1 s", "hedge slippage", "basis", *parts[4:])
    rows = [(word, number(getattr(found, part), 4, unit="USDT")) for word, part in zip(words, parts, strict=True)]
    rows += zip(
        (f"mid against a fill after {s:g} s" for s in AFTER_S), map(spoken_against, found.against_bps), strict=True
    )
    budget = 60.0 * sheet.market.settings.resting.quotes_per_minute
    sent_ns = [order.ts_ns for order in result.sent if order.post_only]
    filled = {int(np.searchsorted(sent_ns, f.ts_ns, "right")) for f in result.rested}  # a fill is of the newest quote
    for name, n in ((f"quotes of the {leg} leg", len(sent_ns)), ("of them nothing filled", len(sent_ns) - len(filled))):
        hour = f", {n / result.days / 24:,.0f} an hour; the budget is {budget:,.0f}" if result.days else ""
        rows.append((name, f"{n:,}{hour}"))
    if sheet.thresholds:
        rows += [(f"clip that the trades filled, {ASSUMPTIONS[way]}", capacity(sheet, way)) for way in (BACK, THROUGH)]
    note = f"{found.fills} fills rested, under {result.assumed}; intervals of 95 % from {FEWEST} fills on."
    return Table.of(
        title,
        ("part", "money"),
        rows,
        f"{note} Clips tried: {', '.join(f'{n}' for n in TIMES)} times the one asked for.",
    )


def capacity(sheet: TearSheet, way: int) -> str:
    """The largest clip tried of which most quotes that filled at all filled whole, and what rested there an hour, in words."""
    best, most = "", 0.0
    for times in TIMES:
        settings = sheet.market.settings
        market = replace(
            sheet.market, settings=settings.replace(clip_usdt=times * settings.clip_usdt, max_position_usdt=None)
        )
        result = market.replay(sheet.tape.assuming(ASSUMPTIONS[way]), sheet.thresholds)
        whole, some, usdt = rested_whole(result)
        if 2 * whole < max(some, 1):
            break
        most, best = times * settings.clip_usdt, f"{usdt / result.days / 24:,.0f} USDT an hour" if result.days else ""
    at_least = "at least " if times == TIMES[-1] and most == times * settings.clip_usdt else ""
    return (
        f"{at_least}{most:,.0f} USDT, {best}"
        if most
        else "none: most quotes that filled did so in part, or none filled"
    )


def rested_whole(result: Backtest) -> tuple[int, int, float]:
    """Quotes that filled whole, and at all; what rested and filled in all, USDT. A fill is of the newest quote."""
    sent = [order for order in result.sent if order.post_only]
    filled, sent_ns = np.zeros(len(sent)), np.array([order.ts_ns for order in sent], np.int64)
    for f in result.rested:
        filled[np.searchsorted(sent_ns, f.ts_ns, "right") - 1] += abs(f.qty)
    wanted = np.array([abs(order.qty) for order in sent])
    return (
        int((filled >= wanted * (1 - 1e-9)).sum()),
        int((filled > 0).sum()),
        total(abs(f.qty) * f.price for f in result.rested),
    )
