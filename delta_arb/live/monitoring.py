"""What others see of a running one: `/healthz` and `/metrics`, and what the monitor shows.

    /healthz   200 while quotes, accounts, terms and the journal are fresh, else 503; one line of JSON says why
    /metrics   for Prometheus: what is open, what stands alone, ages, round trips, refusals, weights
    of_runner  for the monitor, as one JSON object: books and their ages, edge and cost against the levels, legs, money
    of_session besides: guards with their distance, funding, wallets, parameters

Both pages are on this machine only, and off unless the configuration names a port. Everything is read when it is asked for;
the trading knows nothing of it. A number that is not known, or has no end, is null: JSON has neither NaN nor infinity.
"""

import asyncio
import contextlib
import math
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from statistics import quantiles
from typing import TYPE_CHECKING, Any

from delta_arb.errors import ParamsError, RunError
from delta_arb.live.guards import distances
from delta_arb.live.reconcile import midnight_ns
from delta_arb.live.runner import Runner
from delta_arb.live.session import Session
from delta_arb.market import LEGS, NS, PERP, SPOT, to_bps, two_sided
from delta_arb.params import Params
from delta_arb.strategy.settling import opening_pays
from delta_arb.strategy.state import DIRECT, FLAT, PHASES, QUOTE, REVERSE, Event, MachineRule

if TYPE_CHECKING:
    from aiohttp import web

HOST = "127.0.0.1"
WATCHDOG_S = 1.0
STALE = frozenset(("blind", "disk", "terms"))  # guards that say that something is not fresh
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def healthy(session: Session | None) -> tuple[bool, str]:
    """Whether all that is traded by is fresh, and why not."""
    if session is None or session.runner is None or session.runner.books is None:
        return False, "starting"
    old = [_old(leg, age_s) for leg, age_s in ages_s(session) if age_s > limit_s(session)]
    stale = [f"{breach.guard}: {breach.reason}" for breach in session.risk.breaches if breach.guard in STALE]
    return not (old or stale), "; ".join((*old, *stale)) or session.line()


def _old(leg: str, age_s: float) -> str:
    return f"the {leg} book is {age_s:.1f} s old" if math.isfinite(age_s) else f"the {leg} book is not trusted"


def ages_s(session: Session) -> Iterator[tuple[str, float]]:
    """Of both books, seconds since they were last confirmed; infinite where one is not trusted."""
    now_ns = session.clock()
    for leg, book in zip(LEGS, session.runner.books, strict=True):
        yield leg, (now_ns - book.fresh_ns) / NS if book.fresh_ns else math.inf


def limit_s(session: Session) -> float:
    return session.runner.rule.max_quote_age_ns / NS


class Collector:
    """What Prometheus reads, made from the session at that moment."""

    def __init__(self, session: Callable[[], Session | None]) -> None:
        self._session = session

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        session = self._session()
        up = session is not None and session.runner is not None and session.runner.books is not None
        yield GaugeMetricFamily(
            "delta_arb_healthy", "1 while all that is traded by is fresh", float(healthy(session)[0])
        )
        if not up:
            return
        for name, text, value in plain(session):
            yield GaugeMetricFamily(f"delta_arb_{name}", text, value)
        for name, text, label, values in labelled(session):
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            family = kind(f"delta_arb_{name}", text, labels=[label])
            for which, value in values:
                family.add_metric([which], value)
            yield family


def plain(session: Session) -> Iterator[tuple[str, str, float]]:
    """(name, meaning, value) of what there is one of."""
    runner, day_ns = session.runner, midnight_ns(session.clock())
    yield "naked_usdt", "what the legs differ by", runner.alone_usdt()
    yield "naked_seconds", "since when they do", session.resources.alerts.alone_s
    yield "net_day_usdt", "closed pairs of this UTC day", session.resources.journal.net_since(day_ns)
    yield "open_usdt", "the open pair at its exit side", runner.mark_usdt()
    yield "halted", "1 until a person resumes", float(bool(session.risk.halted))


def labelled(session: Session) -> Iterator[tuple[str, str, str, list[tuple[str, float]]]]:
    """(name, meaning, label, values) of what there are several of."""
    runner, executor = session.runner, session.executor
    event = Event(QUOTE, session.clock(), *runner.books, 0, 0.0, 0.0, 0.0, 0.0)
    sides = (("direct", DIRECT), ("reverse", REVERSE)) if all(map(two_sided, runner.books)) else ()
    yield (
        "edge_bps",
        "what opening pays now",
        "direction",
        [(n, to_bps(opening_pays(side, event))) for n, side in sides],
    )
    yield "position", "base units", "leg", [(leg, runner.state.legs[n].position) for n, leg in enumerate(LEGS)]
    yield "quote_age_seconds", "since the book was confirmed", "leg", list(ages_s(session))
    yield "state", "1 for the phase of the pair", "phase", [(p, float(p == PHASES[runner.state.phase])) for p in PHASES]
    yield "guard", "1 while it acts", "guard", [(breach.guard, 1.0) for breach in session.risk.breaches]
    for share, name in ((49, "p50"), (98, "p99")):
        trips = [(leg, quantiles(executor.round_trips_s[n], n=100)[share]) for n, leg in enumerate(LEGS) if
                 len(executor.round_trips_s[n]) > 1]  # fmt: skip
        yield f"order_round_trip_{name}_seconds", "from an order's send to its end, of the last thousand", "leg", trips
    yield (
        "refusals_total",
        "orders that a venue refused",
        "leg",
        [(leg, executor.refusals[n]) for n, leg in enumerate(LEGS)],
    )
    yield "weight_left", "of requests that may be made now", "venue", [
        (venue.name, float(venue.weight_left)) for venue in session.resources.venues
    ]  # fmt: skip


def metrics(session: Callable[[], Session | None]) -> Callable[[], bytes]:
    """What answers /metrics; ParamsError where the library is missing."""
    try:
        from prometheus_client import CollectorRegistry, generate_latest
    except ImportError:
        raise ParamsError("[health] needs prometheus-client: pip install prometheus-client") from None
    registry = CollectorRegistry()
    registry.register(Collector(session))
    return lambda: generate_latest(registry)


@contextlib.asynccontextmanager
async def serving(port: int, session: Callable[[], Session | None]) -> AsyncIterator[int]:
    """Both pages meanwhile, on a port of this machine (0: any that is free): the one that it is."""
    from aiohttp import web  # not above: most runners serve nothing

    scraped = metrics(session)

    async def health(_: web.Request) -> web.Response:
        fine, why = healthy(session())
        return web.json_response({"healthy": fine, "why": why}, status=200 if fine else 503)

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=scraped(), headers={"Content-Type": PROMETHEUS})

    pages = web.Application()
    pages.add_routes([web.get("/healthz", health), web.get("/metrics", scrape)])
    runner, port = await listening(pages, port, "[health] port")
    try:
        yield port
    finally:
        await runner.cleanup()


async def listening(pages: "web.Application", port: int, name: str) -> "tuple[web.AppRunner, int]":
    """Pages served on a port of this machine (0: any that is free) until the runner's `cleanup`; the port that it is.

    Raises:
        RunError: another program has it; `name` is how the port is said.
    """
    from aiohttp import web

    runner = web.AppRunner(pages, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
    except OSError as error:
        await runner.cleanup()
        raise RunError(f"{name} {port} of {HOST} cannot be had ({error.strerror}); name another") from None
    return runner, runner.addresses[0][1]


async def watchdog() -> None:
    """Tell systemd, where it started us, that the loop turns; for ever (sd_notify: READY, then WATCHDOG)."""
    notify("READY=1")
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(WATCHDOG_S)


def notify(word: str) -> None:
    if address := os.environ.get("NOTIFY_SOCKET"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
            wire.sendto(word.encode(), f"\0{address[1:]}" if address.startswith("@") else address)


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
