"""All that is found out about one recorded run: decided again, accounted for, its fills and charges compared.

The run's decisions are made again from what its machine was told, and must be those of its journal, without exception: every
recorded event goes through `decide` from the recorded state on, and each state and order that comes out is compared. What a killed
run had journaled and not yet written to its event file is decided again from the event in the journal's own row.

Where nobody has traded yet, a rehearsal is reviewed. Some hours of the bundled sample go through the runner with venues that are
worse than assumed, on purpose and by count: orders take 0.6 s instead of 0.1 s, every seventh finds 40 % of the size shown gone,
the eleventh of the spot leg is refused, the spot venue charges 0.2 bps more than assumed, and for an hour a guard lets nothing
in. Nothing is random, so two rehearsals are the same to the last digit.
"""

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from delta_arb import __version__, params
from delta_arb.errors import ParamsError
from delta_arb.funding_stamps import HeldStamp
from delta_arb.latency import Latency
from delta_arb.live import replay
from delta_arb.live.event_log import EventLog, events_path
from delta_arb.live.journal import Journal
from delta_arb.live.paper import PaperVenue
from delta_arb.live.runner import CLOSED, FREE, Runner
from delta_arb.live.venues.base import Report
from delta_arb.market import LEGS, NS, PERP, SPOT, Order, utc
from delta_arb.places import placed
from delta_arb.quotes.depth_and_trades import NO_PRINTS, Prints, read_prints
from delta_arb.quotes.files import LegFile
from delta_arb.quotes.inputs import Inputs
from delta_arb.review import fill_costs
from delta_arb.review.bridge import CAUSES, Bridge, bridge
from delta_arb.review.fill_costs import Charged, OwnQuotes, Slipped, own_quotes
from delta_arb.review.session_log import Decision, Recorded, SentOrder, find, read
from delta_arb.strategy import rule as rules
from delta_arb.strategy.decide import decide
from delta_arb.strategy.sizing import fee_usdt
from delta_arb.strategy.state import PHASES, REPORT, MachineRule, State

KINDS = ("report", "quote", "timer", "fill from outside")


class Again(NamedTuple):
    """A decision made again, with the orders it called for: (pair, ts_ns, leg, qty, limit, reduce_only) each."""

    decision: Decision
    orders: tuple[tuple, ...]


class Retraced(NamedTuple):
    """How much was compared, and the first difference in words; "" where there is none.

    `by_journal` decisions were missing in the event file, which a kill cuts off, and decided again from their journal rows.
    """

    events: int
    decisions: int
    orders: int
    by_journal: int
    difference: str

    @property
    def identical(self) -> bool:
        return not self.difference


def retrace(run: Recorded) -> Retraced:
    """Decide everything again and compare."""
    again = list(_decided(run))
    tail = list(_tail(run, again))
    again += tail
    orders = [order for a in again for order in a.orders]
    differences = [*_decisions_differ(run, again), *_orders_differ(run, orders)]
    first = min(differences)[1] if differences else ""
    return Retraced(len(run.events), len(again), len(orders), len(tail), first)


def _decided(run: Recorded) -> Iterator[Again]:
    """Every event again; what changed nothing and called for nothing has no row in the journal."""
    state = run.events[0].state
    for event, rule, begins in run.events:
        before = begins or state
        state = before.copy()
        orders = decide(state, event, rule)
        if event.kind == REPORT or state != before or any(order.qty for order in orders):
            yield Again(Decision(event, state), _faces(event.ts_ns, state, orders))


def _tail(run: Recorded, again: list[Again]) -> Iterator[Again]:
    """What the journal goes on with after the last event that was written down, under the last rule."""
    state = again[-1].decision.state if again else run.events[0].state
    rule: MachineRule = run.events[-1].rule
    for event, _ in run.decisions[len(again) :]:
        if event.ts_ns < run.events[-1].event.ts_ns:
            return  # a difference, not a tail
        state = state.copy()
        orders = decide(state, event, rule)
        yield Again(Decision(event, state), _faces(event.ts_ns, state, orders))


def _faces(ts_ns: int, state: State, orders: tuple) -> tuple[tuple, ...]:
    return tuple((state.pair, ts_ns, leg, o.qty, o.limit, o.reduce_only) for leg, o in enumerate(orders) if o.qty)


def _decisions_differ(run: Recorded, again: list[Again]) -> Iterator[tuple[int, str]]:
    """(time, words) of the first decision that is not the same."""
    for number, (was, now) in enumerate(zip_longest(run.decisions, (a.decision for a in again)), 1):
        if was != now:
            at_ns = min(d.event.ts_ns for d in (was, now) if d)
            yield at_ns, f"decision {number}, {utc(at_ns)} UTC: the run {_in_words(was)}; again: {_in_words(now)}"
            return


def _in_words(decision: Decision | None) -> str:
    if decision is None:
        return "decided nothing here"
    event, state = decision
    legs = ", ".join(
        f"{name} {leg.position:+g} working {leg.working:+g}" for name, leg in zip(LEGS, state.legs, strict=True)
    )
    return (
        f"went by a {KINDS[event.kind]} of {utc(event.ts_ns)[11:]} to {PHASES[state.phase]}, pair {state.pair}, {legs}"
    )


def _orders_differ(run: Recorded, orders: list[tuple]) -> Iterator[tuple[int, str]]:
    for number, (was, now) in enumerate(zip_longest((_face(o) for o in run.orders), orders), 1):
        if was != now:
            at_ns = min(o[1] for o in (was, now) if o)
            yield at_ns, f"order {number}, {utc(at_ns)} UTC: the run sent {_order(was)}; again: {_order(now)}"
            return


def _face(o: SentOrder) -> tuple:
    return o.pair, o.ts_ns, o.leg, o.qty, o.limit, o.reduce_only


def _order(face: tuple | None) -> str:
    if face is None:
        return "nothing here"
    pair, ts_ns, leg, qty, limit, reduce_only = face
    return f"{LEGS[leg]} {qty:+g} at {limit:g}{', reduce only' if reduce_only else ''}, pair {pair}, {utc(ts_ns)[11:]}"


@dataclass(frozen=True, slots=True)
class Review:
    """All that is found out about one run."""

    run: Recorded
    retraced: Retraced
    bridge: Bridge
    slipped: tuple[Slipped, ...]
    charged: tuple[Charged, ...]
    stamps: tuple[HeldStamp, ...]
    rested: OwnQuotes | None = None

    @property
    def alarms(self) -> tuple[Charged, ...]:
        return tuple(c for c in self.charged if c.alarm)

    def to_json(self) -> dict:
        """The findings as plain values, USDT and bps."""
        b = self.bridge
        return {
            "status": "identical" if self.retraced.identical else "differs",
            "difference": self.retraced.difference,
            "pair": self.run.name,
            "run_id": self.run.run_id,
            "mode": self.run.mode,
            "outcome": self.run.outcome,
            "synthetic": self.run.synthetic,
            "events": self.retraced.events,
            "decisions": self.retraced.decisions,
            "orders": self.retraced.orders,
            "pairs": len(b.pairs),
            "backtest_pairs": len(b.backtest),
            "backtest_net_usdt": b.backtest_net_usdt,
            "causes_usdt": {cause: b.usdt(cause) for cause in CAUSES},
            "net_usdt": b.net_usdt,
            "differences": len(b.differences),
            "fee_alarms": [f"{c.day} {('spot', 'perp')[c.leg]} {c.off_bps:+.3f} bps" for c in self.alarms],
        }


def review(run: Recorded, trades: str = "") -> Review:
    """The review of a run; `trades`: a file of those of others at the venue of the leg that rests, by our clock or the venue's.

    Raises:
        DataError: the run saw no quote while it was flat; or the trades cannot be read.
    """
    found = retrace(run), bridge(run), fill_costs.slippage(run), fill_costs.fees(run), fill_costs.funding(run)
    others = _trades_of_others(run, trades)
    return Review(run, *found, own_quotes(run, others) if run.seen_flat else None)


def _trades_of_others(run: Recorded, trades: str) -> Prints:
    if not trades:
        return NO_PRINTS
    if run.params.rule.maker_leg is None:
        raise ParamsError(
            "trades of others say how what rests fills, and both legs took in this run; leave --trades away"
        )
    terms = run.params.spot if run.params.rule.maker_leg == "spot" else run.params.perp
    return read_prints(trades, LegFile(trades, "updates", contract_size=terms.contract_size))[0]


def load(reports: str = "", pair: str = "", run_id: str = "", trades: str = "") -> Review:
    """The review of a run under `reports` (see `places.placed`), the newest unless named; without a folder, of the rehearsal.

    Raises:
        RunError: there is no such run.
    """
    if reports:
        return review(read(*find(Path(placed(reports)), pair, run_id)), trades)
    with tempfile.TemporaryDirectory() as folder:
        rehearse(Path(folder))
        return review(read(*find(Path(folder))))


RUN_ID = "rehearsal"
HOURS = 10.0
LATENCY_S = 0.6
TAKEN_EVERY, TAKEN_SHARE = 7, 0.4
REFUSED = 11  # the order of the spot leg that is refused
EXTRA_FEE = 0.2e-4
GUARD_H = (2.0, 3.0)  # no entries between these hours


class RoughVenue(PaperVenue):
    """Both legs as they were not assumed."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self._sent = [0, 0]
        self._refused = ""

    def send(self, leg: int, order_id: str, order: Order, now_ns: int) -> None:
        self._sent[leg] += 1
        if leg == SPOT and self._sent[leg] == REFUSED:
            self._refused = order_id
        if self._sent[leg] % TAKEN_EVERY == 0:
            step = self._legs[PERP].step
            left = math.floor(abs(order.qty) * (1.0 - TAKEN_SHARE) / step) * step
            order = order._replace(qty=math.copysign(left, order.qty))
        super().send(leg, order_id, order, now_ns)

    def report(self) -> Report:
        report = super().report()
        venue_ns = report.ts_ns
        if report.order_id == self._refused:
            return Report(report.ts_ns, report.leg, report.order_id, 0.0, 0.0, 0.0, "30005 (rehearsed)", venue_ns)
        leg = self._legs[report.leg]
        leg = leg._replace(fee=leg.fee + EXTRA_FEE) if report.leg == SPOT else leg
        return report._replace(fee_usdt=fee_usdt(report.filled, report.price, leg), venue_ns=venue_ns)


def rehearse(reports: Path, hours: float = HOURS) -> Path:
    """Record the rehearsal under `reports`; returns its journal."""
    inputs = Inputs()
    tape = inputs.tape()
    tape = tape.between(tape.start_ns, tape.start_ns + round(hours * 3600 * NS))
    settings = params.Rule(entry_bps=15.0, exit_bps=-12.0, max_hold_s=21_600.0, clip_usdt=50.0)
    rule = rules.make_rule(settings, *inputs.terms())
    path = Path(reports) / inputs.name / "live" / "rehearsal.sqlite"
    payments = inputs.payments(tape)
    with Journal(path, RUN_ID) as journal, EventLog(events_path(path, RUN_ID), RUN_ID, State()) as recorder:
        journal.begin_run("rehearsal, worse venues than assumed", __version__, {})
        journal.parameters("accepted", _params(inputs, tape, settings))
        journal.funding(payments)
        venue = RoughVenue(
            Latency(LATENCY_S, LATENCY_S),
            (tape.spot_kind, tape.perp_kind),
            (rule.spot, rule.perp),
            rule.max_quote_age_ns,
        )
        runner = Runner(rule, journal, venue, payments, recorder=recorder)
        closed_ns = [tape.start_ns + round(hour * 3600 * NS) for hour in GUARD_H]
        replay.show_first(tape, venue)
        for group in replay.instants(tape):
            runner.hold = CLOSED if closed_ns[0] <= group[0][0] < closed_ns[1] else FREE
            replay.play(group, runner, venue)
        replay.catch_up(runner, venue, tape.end_ns, timers_at_until=True)
        runner.finish(tape.end_ns)
        journal.end_run("finished")
    return path


def _params(inputs: Inputs, tape, settings: params.Rule) -> params.Params:
    """What such a session would have read: thresholds by hand, no evidence."""
    spot, perp = inputs.terms()
    created = datetime(2026, 1, 5, tzinfo=UTC)
    return params.sealed(
        pair=inputs.pair, trade=True, reason="a rehearsal", rule=settings, spot=spot, perp=perp, data=inputs.data_params(tape, None),
        evidence=params.Evidence(), created=created, valid_until=created + timedelta(days=1), code_version=__version__,
        notebook="none", run_id=RUN_ID,
    )  # fmt: skip
