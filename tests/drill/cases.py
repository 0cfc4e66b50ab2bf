"""The named faults of the drill: what a venue, the network, the disk or a person does to a runner, as data.

A row is a line of a fault script (`delta_arb.sandbox.faults`); one that names no venue is the leg's that is hit. `act` is
what no venue does: a method of `scene.Scene` by its name. A fault begins before its phase, or as the first order of that
phase reaches a venue (`at_order`), which is when one leg can be caught alone.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from delta_arb.market import PERP, SPOT
from delta_arb.sandbox.faults import Fault, script_of

ENTRY, EXIT = "entry", "exit"
DIRECT, REVERSE = 1, -1
VENUES = ("mexc", "gate")
BOTH, ONLY_GATE, ONLY_MEXC, NEITHER = (SPOT, PERP), (PERP,), (SPOT,), (SPOT,)
REFUSALS = json.loads(Path(__file__).with_name("refusals.json").read_text("utf-8"))

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One named fault.

    Args:
        answers: both venues answer, so a run must end flat or hedged, and within the bars on naked time.
        final: the venue refuses for good: an alarm alone is enough.
        legs: the legs it can hit; a fault that hits neither is played once, as the spot's.
    """

    name: str
    kind: str
    rows: tuple[Row, ...] = ()
    act: str = ""
    at_order: bool = False
    answers: bool = True
    final: bool = False
    legs: tuple[int, ...] = BOTH
    phases: tuple[str, ...] = (ENTRY, EXIT)

    @property
    def must_end_safe(self) -> bool:
        """Whether an alarm alone is not enough."""
        return self.answers and not self.final


class Plan(NamedTuple):
    """One run of one fault."""

    case: Case
    leg: int
    phase: str
    side: int

    @property
    def must_end_safe(self) -> bool:
        """A liquidation takes the short of an inventory as well, which is not the pair's: there a person is rung."""
        return self.case.must_end_safe and not (self.case.kind == "outside" and self.side == REVERSE)

    def script(self) -> list[Fault]:
        return script_of([{"venue": VENUES[self.leg]} | row for row in self.case.rows])

    def __str__(self) -> str:
        side = "direct" if self.side == DIRECT else "reverse"
        return f"{self.case.name} ({VENUES[self.leg]}, {self.phase}, {side})"


def orders(do: str, **how) -> Row:
    return {"at": "order.create", "do": do} | how


def request(at: str, do: str, **how) -> Row:
    return {"at": at, "do": do} | how


def socket(do: str, **how) -> Row:
    return {"at": "socket", "do": do} | how


def terms(text: str) -> Row:
    return {"at": "market", "do": "terms", "terms": text}


def _notices() -> Iterator[Case]:
    seven = socket("upgrade_notice", times=7, seconds=0.1)
    yield Case("seven upgrade notices", "notices", (seven,), legs=ONLY_GATE)
    for code in ("channel", "shape", "text"):
        yield Case(f"unknown message: {code}", "notices", (socket("unknown_message", code=code),))


def _doubts() -> Iterator[Case]:
    for status in (403, 418, 429):
        bare = orders("error_after", status=status, bare=True)
        yield Case(f"order taken, answered {status} by a gateway", "doubtful answers", (bare,))
    yield Case("order taken, answered 503", "doubtful answers", (orders("error_after", status=503),))
    yield Case("order not taken, answered 503", "doubtful answers", (orders("error", status=503),))
    yield Case("orders not taken, 502 twice", "doubtful answers", (orders("error", status=502, bare=True, times=2),))
    yield Case("order taken, connection cut", "doubtful answers", (orders("cut_after"),))
    yield Case("order not taken, connection cut", "doubtful answers", (orders("cut"),))
    yield Case("order taken, never answered", "doubtful answers", (orders("hang"),))
    yield Case("order not taken, never answered", "doubtful answers", (orders("hang", before=True),))
    yield Case("order redirected to another host", "doubtful answers", (orders("redirect"),))


def _limits() -> Iterator[Case]:
    for status in (429, 418):
        limited = orders("rate_limit", status=status, retry_after_s=1.0)
        yield Case(f"order refused by {status}, pause of 1 s", "rate limits", (limited,))
    account = request("account", "rate_limit", retry_after_s=1.0)
    yield Case("account refused by 429, pause of 1 s", "rate limits", (account,))
    yield Case("every request refused by 429", "rate limits", (request("*", "rate_limit", times=0),), answers=False)


def _slow() -> Iterator[Case]:
    yield Case("answer to an order 1 s late", "slow", (orders("delay", seconds=1.0),))
    yield Case("order accepted 1 s late", "slow", (orders("delay", seconds=1.0, before=True),))
    yield Case("order filled 0.5 s late", "slow", (orders("late_fill", seconds=0.5),))
    pushes = tuple({"at": f"stream.{name}", "do": "delay", "seconds": 1.0, "times": 0} for name in ("orders", "fills"))
    yield Case("fills told 1 s late", "slow", pushes)
    looks = tuple(request(at, "delay", seconds=0.5, times=0) for at in ("account", "positions", "order.fetch"))
    yield Case("accounts answer 0.5 s late", "slow", looks)


def _fills() -> Iterator[Case]:
    yield Case("half of an order filled", "part fills", (orders("partial_fill", fraction=0.5),))
    yield Case("a sixth of two orders filled", "part fills", (orders("partial_fill", fraction=0.17, times=2),))
    for do in ("drop", "duplicate", "swap"):
        pushes = tuple({"at": f"stream.{name}", "do": do, "times": 3} for name in ("orders", "fills"))
        yield Case(f"pushes of orders: {do}", "part fills", pushes)
    late = (orders("late_fill", seconds=3.0), {"at": "order.cancel", "do": "late_fill", "fraction": 0.5})
    yield Case("order held, filled while it is cancelled", "part fills", late)


def _sockets() -> Iterator[Case]:
    for status, words in ((1006, "cut off"), (1001, "closed")):
        yield Case(f"sockets {words} before", "sockets", (socket("close", status=status),))
        yield Case(f"sockets {words} at the order", "sockets", (socket("close", status=status),), at_order=True)
    many = tuple(socket("close", status=1006, from_s=n * 0.7) for n in range(4))
    yield Case("sockets cut off four times", "sockets", many)
    yield Case("listen keys die", "sockets", (socket("listen_key_death"),), legs=ONLY_MEXC)
    again = request("ws.subscribe", "refuse", code="INVALID_NONCE", times=3)
    yield Case(
        "sockets cut off, subscriptions refused", "sockets", (again, socket("close", status=1006)), legs=ONLY_GATE
    )


def _silence() -> Iterator[Case]:
    for name in ("ticker", "orders", "fills"):
        yield Case(f"stream of {name} silent", "silence", ({"at": f"stream.{name}", "do": "silence"},))
    yield Case("sockets silent, REST answers", "silence", (socket("silence"),))
    for at in ("time", "account", "book"):
        yield Case(f"{at} not answered", "silence", (request(at, "hang", times=0),))
    yield Case("orders never answered, not taken", "silence", (orders("hang", before=True, times=0),), answers=False)
    yield Case("orders never answered, taken", "silence", (orders("hang", times=0),))
    gone = (request("*", "hang", before=True, times=0), socket("silence"))
    yield Case("venue silent", "silence", gone, answers=False)
    yield Case("venue silent at the order", "silence", gone, at_order=True, answers=False)
    cut = (request("*", "cut", times=0), socket("close", status=1006))
    yield Case("venue unreachable at the order", "silence", cut, at_order=True, answers=False)


def _terms() -> Iterator[Case]:
    size = (terms("contract_size=100"),)
    yield Case("contract ten times as large", "terms", size, legs=ONLY_GATE)
    yield Case("contract ten times as large at the order", "terms", size, at_order=True, legs=ONLY_GATE)
    for text in ("min_qty=200", "price_step=0.001", "qty_step=20"):
        yield Case(f"{text.partition('=')[0]} changes", "terms", (terms(text),))
    yield Case("min_notional changes", "terms", (terms("min_notional=100"),), legs=ONLY_MEXC)
    yield Case("market flagged as stopped", "terms", ({"at": "market", "do": "inactive"},))
    yield Case("market missing from the list", "terms", ({"at": "market", "do": "unlist"},))
    yield Case("terms not answered", "terms", (request("markets", "error", status=503, times=0),))
    delisted = ({"at": "market", "do": "delist"},)
    yield Case("market delisted", "terms", delisted, final=True)
    yield Case("market delisted at the order", "terms", delisted, at_order=True, final=True)


def _outside() -> Iterator[Case]:
    yield Case(
        "position liquidated", "outside", ({"at": "position", "do": "liquidate"},), legs=ONLY_GATE, phases=(EXIT,)
    )
    adl = {"at": "position", "do": "adl", "fraction": 0.5}
    yield Case("half of the position deleveraged", "outside", (adl,), legs=ONLY_GATE, phases=(EXIT,))
    yield Case("a foreign order rests", "outside", act="foreign_order", legs=NEITHER)


def _lies() -> Iterator[Case]:
    yield Case("quotes of another contract", "lies", ({"at": "stream.ticker", "do": "foreign", "times": 0},))
    stamp = {"at": "stream.ticker", "do": "restamp", "seconds": 30.0, "times": 0}
    yield Case("quotes stamped in the future", "lies", (stamp,))
    for side in ("bid", "ask"):
        yield Case(f"{side} frozen", "lies", ({"at": "stream.ticker", "do": "freeze", "side": side},))
    for seconds in (5.0, -5.0):
        yield Case(f"venue's clock {seconds:+g} s", "lies", ({"at": "clock", "do": "drift", "seconds": seconds},))
    yield Case("book crossed", "lies", act="cross_book", legs=NEITHER, phases=(ENTRY,))
    yield Case("account redirected to another host", "lies", (request("account", "redirect", times=3),))


def _here() -> Iterator[Case]:
    """On our own machine."""
    yield Case("runner killed at the order", "own machine", act="kill", at_order=True, legs=NEITHER)
    yield Case("runner killed with the pair open", "own machine", act="kill", legs=NEITHER, phases=(EXIT,))
    yield Case("journal deleted", "own machine", act="delete_journal", legs=NEITHER)
    yield Case("parameter file damaged", "own machine", act="damage_parameters", legs=NEITHER)
    yield Case("parameter file a FIFO", "own machine", act="fifo_parameters", legs=NEITHER)
    yield Case("kill file laid", "own machine", act="lay_kill_file", legs=NEITHER)
    down = (orders("refuse", code="30010"), request("account", "error", status=503, times=3))
    yield Case("alert sink down", "own machine", down, act="alerts_down", legs=ONLY_MEXC)


LASTING = {"mexc": ("30016", "30004", "30002", "700007"), "gate": ("CONTRACT_IN_DELISTING", "INSUFFICIENT_AVAILABLE",
           "SIZE_TOO_SMALL", "FORBIDDEN")}  # fmt: skip
# Passing, for good, doubtful, and a code that is the status of a gateway too; of each venue.
ONE_OF_EACH = {"30010:", "60005:", "403:", "500:", "PRICE_TOO_DEVIATED:", "BALANCE_NOT_ENOUGH:", "SERVER_ERROR:"}
PASSING = {"mexc": "30010", "gate": "PRICE_TOO_DEVIATED"}


def _refusals() -> Iterator[Case]:
    """Every code of the documents once, some for good; and one that a later order might get past, but none does."""
    for leg, venue in enumerate(VENUES):
        for code, text in REFUSALS[venue].items():
            yield Case(
                f"refused once: {code}: {text.lower()[:40]}", "refusals", (orders("refuse", code=code),), legs=(leg,)
            )
        for code in LASTING[venue]:
            row = orders("refuse", code=code, times=0)
            yield Case(f"refused for good: {code}", "refusals for good", (row,), legs=(leg,))
        row = orders("refuse", code=PASSING[venue], times=0)
        yield Case(f"refused again and again: {PASSING[venue]}", "refusals for good", (row,), legs=(leg,), final=True)


NO_FAULT = Case("no fault", "none", legs=NEITHER)
CASES = (
    NO_FAULT, *_notices(), *_doubts(), *_limits(), *_slow(), *_fills(), *_sockets(), *_silence(), *_terms(), *_outside(),
    *_lies(), *_here(), *_refusals(),
)  # fmt: skip


def every_run(cases: Sequence[Case] = CASES) -> list[Plan]:
    """Each fault on each leg that it can hit, at entry and exit, in both directions."""
    return [
        Plan(case, leg, phase, side)
        for case in cases
        for leg in case.legs
        for phase in case.phases
        for side in (DIRECT, REVERSE)
    ]


def one_run_each(cases: Sequence[Case] = CASES) -> list[Plan]:
    """Each fault once; legs, phases and directions take turns. Of the codes refused once, one for each treatment."""
    chosen = [case for case in cases if case.kind != "refusals" or case.name.split()[2] in ONE_OF_EACH]
    return [
        Plan(case, case.legs[n % len(case.legs)], case.phases[n // 2 % len(case.phases)], (DIRECT, REVERSE)[n // 4 % 2])
        for n, case in enumerate(chosen)
    ]
