"""What the monitor shows of a runner, as one JSON object: read when it asks, from what is in memory already.

    of_runner    books and their ages, edge and cost against the levels in force, legs, money; of a replay too
    of_session   besides: guards with their distance, funding, wallets, parameters

A number that is not known, or has no end, is null: JSON has neither NaN nor infinity.
"""

import asyncio
import math
from typing import Any

from delta_arb.live.guards import distances
from delta_arb.live.reconcile import midnight_ns
from delta_arb.live.runner import Runner
from delta_arb.live.session import Session
from delta_arb.market import LEGS, NS, PERP, SPOT, to_bps, two_sided
from delta_arb.params import Params
from delta_arb.strategy.settling import opening_pays
from delta_arb.strategy.state import DIRECT, FLAT, PHASES, QUOTE, REVERSE, Event, MachineRule

REPLAY = "paper, replay"  # the mode of recorded quotes; those of venues are `supervisor.MODES`
WAYS = {DIRECT: "direct", REVERSE: "reverse"}


def of_session(session: Session) -> dict[str, Any]:
    """A session on venues, from its first quotes on."""
    runner, resources, now_ns = session.runner, session.resources, session.clock()
    risk, funding = session.risk, session.funding
    said = of_runner(runner, now_ns) | {
        "mode": resources.mode, "name": resources.config.name, "halted": risk.halted, "stopping": session.stopping,
        "tasks": len(asyncio.all_tasks()), "venues": [venue.name for venue in resources.venues],
        "net_day_usdt": resources.journal.net_since(midnight_ns(now_ns)),
        "guards": [d._asdict() | {"value": finite(d.value)} for d in distances(risk.facts, resources.config)],
        "held": [str(breach) for breach in risk.breaches],
        "funding": {"rate_bps": finite(to_bps(funding.rate)), "next_ns": funding.next_ns} if funding else None,
        "parameters": of_parameters(session.parameters.params, session.parameters.refused) if session.parameters else None,
    }  # fmt: skip
    if seen := session.accounts():
        spot, perp, _ = seen
        said["wallets"] = {"spot_usdt": spot.usdt_total, "coins": spot.coin, "perp_usdt": perp.usdt_total,
                           "margin_free_usdt": finite(perp.usdt_free), "position": perp.position,
                           "liquidation_price": finite(perp.liquidation_price)}  # fmt: skip
    return said


def open_line(session: Session) -> str:
    """While a pair is open: edge and cost against the levels in force, ages of both books, PnL; else ""."""
    runner = session.runner
    if runner is None or runner.books is None or runner.state.phase == FLAT:
        return ""
    said = of_runner(runner, session.clock())
    ages = ", ".join(f"{book['leg']} {_age(book['age_s'])}" for book in said["books"])
    way = "" if said["way"] == "direct" else f"{said['way']}_"
    target = said["levels"][f"{way}exit_bps"]
    if said["cost_bps"] is None:
        leave = "a side of a book has no price"
    else:
        here = said["cost_bps"] if not way else -said["edge_bps"]
        leave = f"leaving costs {here:+.2f} bps" + ("" if target is None else f", target {target:+.2f}")
    return f"pair {said['number']} {said['phase'].lower()}: {leave}; ages {ages}; open {said['open_usdt']:+.4f} USDT"


def _age(seconds: float | None) -> str:
    return "not trusted" if seconds is None else f"{seconds:.1f} s"


def of_runner(runner: Runner, now_ns: int) -> dict[str, Any]:
    """The machine of any runner; `now_ns` is its clock, of a replay the tape's."""
    state = runner.state
    said = {
        "now_ns": now_ns, "phase": PHASES[state.phase], "number": state.pair, "events": runner.events,
        "way": WAYS[state.side] if state.phase != FLAT else "", "opened_ns": state.opened_ns if state.phase != FLAT else None,
        "spot": state.legs[SPOT].position, "perp": state.legs[PERP].position,
        "working": [state.legs[SPOT].working, state.legs[PERP].working], "naked_usdt": finite(runner.alone_usdt()),
        "open_usdt": runner.mark_usdt(), "open_parts": runner.mark_parts(),
        "net_run_usdt": math.fsum(trade.net_usdt for trade in runner.trades),
        "trades": len(runner.trades), "missed": runner.missed, "may_enter": runner.rule.may_enter,
        "levels": levels(runner.rule), "max_hold_s": runner.rule.max_hold_ns / NS,
        "max_quote_age_s": runner.rule.max_quote_age_ns / NS,
    }  # fmt: skip
    return said | (of_books(runner, now_ns) if runner.books else {"books": []})


def of_books(runner: Runner, now_ns: int) -> dict[str, Any]:
    """Both books, what opening a direct pair pays on them and what leaving it costs, as the rule's signal sees it.

    The age of a book that is not trusted, or that never came, is None; so are edge and cost while a side has no price.
    """
    event = Event(QUOTE, now_ns, *runner.books, 0, 0.0, 0.0, 0.0, runner.shift)
    books = [book._asdict() | {"leg": leg, "age_s": (now_ns - book.fresh_ns) / NS if book.fresh_ns else None}
             for leg, book in zip(LEGS, runner.books, strict=True)]  # fmt: skip
    edge_bps, cost_bps = offers(event)
    return {"books": books, "edge_bps": edge_bps, "cost_bps": cost_bps}


def offers(event: Event) -> tuple[float | None, float | None]:
    """What opening a direct pair pays and what leaving it costs, bps; None while a side of a book has no price."""
    if not (two_sided(event.spot) and two_sided(event.perp)):
        return None, None
    return finite(to_bps(opening_pays(DIRECT, event))), finite(-to_bps(opening_pays(REVERSE, event)))


def levels(rule: MachineRule) -> dict[str, float | None]:
    """Where the rule in force enters and leaves, bps; null where a direction is off."""
    named = {"entry_bps": rule.entry, "exit_bps": rule.exit, "reverse_entry_bps": rule.reverse_entry,
             "reverse_exit_bps": rule.reverse_exit}  # fmt: skip
    return {name: finite(to_bps(value)) for name, value in named.items()}


def of_parameters(params: Params | None, refused: str) -> dict[str, Any]:
    """The newest export: what it says, since when and until when; why it is refused, where it is."""
    if params is None:
        return {"refused": refused}
    return {
        "refused": refused, "trade": params.trade, "reason": params.reason, "says": params.says, "synthetic": params.data.synthetic,
        "clip_usdt": params.rule.clip_usdt, "profile": params.profile, "chosen": params.chosen,
        "created": params.created.timestamp(), "valid_until": params.valid_until.timestamp(), "sha256": params.sha256,
    }  # fmt: skip


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
