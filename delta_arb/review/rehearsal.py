"""A session with known faults, recorded like any other: what the review shows when nobody has traded yet.

Some hours of the bundled sample go through the runner with venues that are worse than assumed, on purpose and by count:
orders take 0.6 s instead of 0.1 s, every seventh finds 40 % of the size shown gone, the eleventh of the spot leg is
refused, the spot venue charges 0.2 bps more than assumed, and for an hour a guard lets nothing in. Nothing is random,
so two rehearsals are the same to the last digit.
"""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

from delta_arb import __version__, params
from delta_arb.latency import Latency
from delta_arb.live import replay
from delta_arb.live.event_log import EventLog, events_path
from delta_arb.live.journal import Journal
from delta_arb.live.paper import PaperVenue
from delta_arb.live.runner import CLOSED, FREE, Runner
from delta_arb.live.venues.base import Report
from delta_arb.market import NS, PERP, SPOT, Order
from delta_arb.quotes.inputs import Inputs
from delta_arb.strategy import rule as rules
from delta_arb.strategy.sizing import fee_usdt
from delta_arb.strategy.state import State

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
