"""The review of a run as tables and sentences, for the command and for notebook 04."""

from collections.abc import Sequence
from statistics import median

from delta_arb.market import LEGS, NS, to_bps, utc
from delta_arb.quotes.depth_and_trades import known_at
from delta_arb.review import fill_costs
from delta_arb.review.bridge import CAUSES, FEES, OTHER, UNEXPLAINED, together
from delta_arb.review.fill_costs import ALARM_BPS, Slipped, booked_funding_usdt
from delta_arb.review.session_log import PAPER, REPLAY, Recorded
from delta_arb.review.session_review import Review
from delta_arb.strategy.ledger import Trade
from delta_arb.tables import NOTHING, Findings, Heading, Table, number, rests, seconds

SHOWN = 40  # rows of a long table
SHOWN_USDT = 1e-4  # the last digit of a sum of money
WORDS = {
    "start": "the run began out of an earlier one, or later than its first quote",
    "parameters": "new parameters during the run",
    "guard": "guards or wallets forbade entries, or ordered exits",
    "latency": "orders met other books than assumed",
    "price bound": "the price had gone beyond an order's limit",
    "size taken": "less could be filled than the book showed",
    "fault": "refused, lost, late: the venue or the way there",
    "unexplained": "no received book explains these fills",
    "fees": "charged, against those assumed",
    "other run": "a pair that one run left open and another closed counts there",
}


def everything(review: Review) -> tuple:
    """All of it in reading order."""
    parts = (heading, decisions, bridge, differences, pairs, fills, rested, fees, funding, findings)
    return tuple(part(review) for part in parts)


def heading(review: Review) -> Heading:
    run = review.run
    first, last = run.events[0].event.ts_ns, run.end_ns
    lines = (
        f"{run.mode}, {run.outcome}: {utc(first)[:19]} to {utc(last)[:19]} UTC ({seconds((last - first) / 1e9)}), "
        f"{review.retraced.events:,} events",
        f"assumed: orders arrive after {run.latency.spot_s:g} s and {run.latency.perp_s:g} s, taker fees "
        f"{run.params.spot.taker_fee_bps:g} and {run.params.perp.taker_fee_bps:g} bps",
        *filter(None, [rests(run.params.model_dump()), _levels(run)]),
    )
    return Heading(run.name, run.synthetic, lines)


def _levels(run: Recorded) -> str:
    """Of orders on paper that took: how many met a book of which only the best level was known."""
    took = [
        run.ends[order.order_id].event for order in run.orders if not order.post_only and order.order_id in run.ends
    ]
    if run.mode not in (PAPER, REPLAY) or not took:
        return ""
    old_ns = round(run.params.rule.max_quote_age_s * NS)
    best_only = sum(not known_at(run.depths[end.leg], end.ts_ns, old_ns) for end in took)
    return (
        f"of {len(took):,} orders on paper that took, {best_only:,} met a book of which only the best level was known"
    )


def decisions(review: Review) -> Table:
    """Whether `decide` says the same again."""
    r = review.retraced
    rows = [
        ("events decided again", f"{r.events:,}"),
        ("decisions compared", f"{r.decisions:,}"),
        ("of them from the journal alone (a kill cut the events off)", f"{r.by_journal:,}"),
        ("orders compared", f"{r.orders:,}"),
        ("verdict", "identical" if r.identical else "DIFFERENT"),
    ]
    return Table.of("The decisions, made again", ("", "found"), rows, r.difference)


def bridge(review: Review) -> Table:
    """From the backtest's net to the run's."""
    b, run = review.bridge, review.run
    rows = [("backtest of the quotes seen", f"{len(b.backtest)}", _usdt(b.backtest_net_usdt), "as it was assumed")]
    for cause in CAUSES:
        count = sum(d.cause == cause for d in b.differences)
        if cause == OTHER and not count:
            continue
        rows.append((f"+ {cause}", f"{count}" if count else "", _usdt(b.usdt(cause)), WORDS[cause]))
    rows.append(("= the run", f"{len(b.pairs)}", _usdt(b.net_usdt), "fills, fees and funding as they were"))
    note = f"Checked: the steps add up to the run's net, {_usdt(b.net_usdt - b.gap_usdt)} USDT."
    if abs(b.gap_usdt) >= 0.005:
        note = f"DOES NOT ADD UP: {_usdt(b.gap_usdt)} USDT are missing; do not trust this review."
    if run.found:
        note += f" Pair {run.found} was open when the run began; the run that closed it has all of its money."
    if run.handed_on[1]:
        note += f" Pair {run.handed_on[0]} was open at its end, closed in run {run.handed_on[1]}: all of its money is that run's."
    return Table.of("From backtest to live, USDT", ("step", "pairs", "USDT", "what it is"), rows, note)


def differences(review: Review) -> Table:
    """Every difference with its cause, largest first where there are many."""
    found = sorted(review.bridge.differences, key=lambda d: -abs(d.usdt))[:SHOWN]
    rows = [(utc(d.decided_ns)[:19], d.cause, _net(d.before), _net(d.after), _usdt(d.usdt), d.what) for d in found]
    title = "The differences, pair by pair"
    if not rows:
        return Table.nothing(title, "every pair of the run is the backtest's, to the cent")
    more = len(review.bridge.differences) - len(rows)
    columns = ("decided, UTC", "cause", "before, USDT", "after, USDT", "difference", "what")
    return Table.of(title, columns, rows, f"{more} smaller ones are not shown." if more else "")


def pairs(review: Review) -> Table:
    """The run's pairs beside the backtest's."""
    rows = []
    for was, now in together(review.bridge.backtest, review.bridge.pairs)[:SHOWN]:
        trade = (now or was).trade
        at_ns = min(p.decided_ns for p in (was, now) if p)
        net = [p.net_usdt if p else None for p in (was, now)]
        gap = (net[1] or 0.0) - (net[0] or 0.0)
        rows.append((utc(at_ns)[:19], trade.reason if trade else "missed", *(_usdt(n) for n in net), _usdt(gap)))
    if not rows:
        return Table.nothing("Pair by pair", "neither the run nor the backtest entered")
    return Table.of("Pair by pair", ("decided, UTC", "end", "backtest, USDT", "run, USDT", "difference"), rows)


def fills(review: Review) -> Table:
    """Price paid against the quotes, by leg and phase; and how long orders took."""
    groups: dict[tuple[int, str], list[Slipped]] = {}
    for s in review.slipped:
        groups.setdefault((s.leg, s.phase), []).append(s)
    rows = [_fill_row(f"{LEGS[leg]}, {phase}", of) for (leg, phase), of in sorted(groups.items())]
    if not rows:
        return Table.nothing("Fills against quotes", "nothing was filled")
    rows.append(_fill_row("all", review.slipped))
    columns = (
        "leg, phase",
        "orders",
        "to decision, mean bps",
        "worst",
        "to book met, mean bps",
        "worst",
        "there, median",
        "back, median",
    )
    note = "Positive: it cost. The touch at the decision is what the backtest's signal saw, the book met is what was there on arrival."
    if any(order.post_only for order in review.run.orders):
        note += " Of an order that rested it is the book of its last fill, and the times are those of its rest."
    return Table.of("Fills against quotes", columns, rows, note)


def _fill_row(name: str, group: Sequence[Slipped]) -> tuple[str, ...]:
    decided, met = [s.decided_bps for s in group], [s.met_bps for s in group]
    mean = [sum(values) / len(values) for values in (decided, met)]
    took = [median(getattr(s, way) for s in group) for way in ("there_s", "back_s")]
    return (
        name, f"{len(group)}", number(mean[0], 3), number(max(decided), 3), number(mean[1], 3), number(max(met), 3),
        *(f"{1000 * s:,.1f} ms" for s in took),
    )  # fmt: skip


def rested(review: Review) -> Table:
    """What rested, how it filled, and which assumption of the queue that bears out."""
    return fill_costs.table(review.rested)


def fees(review: Review) -> Table:
    """Per day and venue, with the alarm."""
    names = review.run.params.spot.venue, review.run.params.perp.venue
    rows = [
        (
            c.day, names[c.leg], f"{c.fills}", number(c.notional_usdt), number(c.fees_usdt, 4), number(c.assumed_usdt, 4),
            number(c.off_bps, 3, sign=True), "ALARM" if c.alarm else "",
        )
        for c in review.charged
    ]  # fmt: skip
    if not rows:
        return Table.nothing("Fees against those assumed", "nothing was filled")
    columns = ("day, UTC", "venue", "fills", "notional, USDT", "charged, USDT", "assumed, USDT", "off, bps", "")
    return Table.of(
        "Fees against those assumed", columns, rows, f"Alarm: more than {ALARM_BPS} bps of the notional off."
    )


def funding(review: Review) -> Table:
    """Stamps that met a position, and what the trades booked."""
    booked = booked_funding_usdt(tuple(p.trade for p in review.bridge.pairs if p.trade))
    title = "Funding against its stamps"
    if not review.stamps:
        return Table.nothing(title, f"no stamp met a position; booked: {number(booked, 4)} USDT")
    rows = [
        (
            utc(s.payment.ts_ns)[:19], number(to_bps(s.payment.rate), 3),
            f"{s.payment.mark:.6g}{'' if s.payment.exact else ' (read later)'}", f"{s.position:g}", number(s.usdt, 4),
        )
        for s in review.stamps
    ]  # fmt: skip
    expected = sum(s.usdt for s in review.stamps)
    rows.append(("sum", "", "", "", number(expected, 4)))
    note = f"Booked by the trades: {number(booked, 4)} USDT."
    columns = ("stamp, UTC", "rate, bps", "mark, USDT", "position before", "paid, USDT")
    return Table.of(title, columns, rows, note)


def findings(review: Review) -> Findings:
    """What a person must know."""
    b, r = review.bridge, review.retraced
    largest = max(CAUSES, key=lambda cause: abs(b.usdt(cause)))
    gap_usdt = b.net_usdt - b.backtest_net_usdt
    parts = f"{largest} {_usdt(b.usdt(largest))} USDT, all else {_usdt(gap_usdt - b.usdt(largest))}"
    return Findings.of(
        f"All {r.decisions:,} decisions and {r.orders:,} orders come out the same when the recorded events are decided again."
        if r.identical
        else f"THE DECISIONS DIFFER: {r.difference}. Do not trade on until it is understood.",
        f"The run earned {_usdt(b.net_usdt)} USDT, the backtest of the same quotes {_usdt(b.backtest_net_usdt)}"
        + (f"; the difference of {_usdt(gap_usdt)} is {parts}." if abs(gap_usdt) >= SHOWN_USDT / 2 else ": the same."),
        f"{_usdt(b.usdt(UNEXPLAINED))} USDT are unexplained."
        if any(d.cause == UNEXPLAINED for d in b.differences)
        else "",
        f"FEES: {len(review.alarms)} days and venues are off by more than {ALARM_BPS} bps, {_usdt(b.usdt(FEES))} USDT in all."
        if review.alarms
        else "",
    )


def _usdt(value: float | None) -> str:
    return NOTHING if value is None else number(value, 4, sign=True)


def _net(trade: Trade | None) -> str:
    return _usdt(trade.net_usdt if trade else None)
