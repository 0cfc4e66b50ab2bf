"""Twenty tapes of a resting order, worked by hand under three assumptions each: every fill, hedge and cent.

They run through the machine and the replay that everything else uses. Where a tape gives commands, only the placing is put in
its place; what follows, hedges, unwinds and what is taken, is decided by `decide`.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from delta_arb.backtest import resting_orders
from delta_arb.backtest.event_loop import Ground, Machine, Schedule, whole_tape
from delta_arb.backtest.replay import _plain, kernel_inputs, looks, run
from delta_arb.backtest.resting_orders import Roads
from delta_arb.latency import Latency
from delta_arb.market import ASSUMPTIONS, NEVER, PERP, SPOT, Order
from delta_arb.quotes.depth_and_trades import NO_PRINTS, Queues, prints
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.decide import decide
from delta_arb.strategy.quoting import wanted_price
from delta_arb.strategy.signal import OFF
from delta_arb.strategy.state import ENTERING, EXITING, FLAT, LegRule, MachineRule, QuoteRule
from delta_arb.wallets import BOUNDLESS

TAPES = json.loads((Path(__file__).parent / "maker_tapes.json").read_text("utf-8"))
COMMON = TAPES["common"]
SIDES = {"buy": 1, "sell": -1}
CASES = [(tape, assumption) for tape in TAPES["tapes"] for assumption in ASSUMPTIONS]
IDS = [f"{tape['name']}, {assumption}" for tape, assumption in CASES]
LATENCY = Latency(COMMON["place_s"], COMMON["hedge_s"])
LONG_NS = 10**15


def ns(seconds):
    return round(seconds * 1e9)


def bps(name):
    return COMMON[name] / 1e4


SPOT_RULE = LegRule(
    COMMON["spot_step"], 0.0, 0.0, bps("spot_taker_fee_bps"), tick=COMMON["spot_tick"], maker_fee=bps("maker_fee_bps")
)
PERP_RULE = LegRule(COMMON["hedge_step"], COMMON["hedge_min"], 0.0, bps("perp_taker_fee_bps"))
GIVEN = QuoteRule(SPOT, False, False, 0.0, 0.0, 1e9, 0, 0, LONG_NS, False)


def machine_rule(**changes):
    return MachineRule(
        may_enter=True, flatten=False, entry=float("inf"), exit=float("-inf"), rearm=0.0, max_hold_ns=LONG_NS, clip_usdt=150.0,
        participation=1.0, step=COMMON["hedge_step"], max_quote_age_ns=LONG_NS, price_bound=bps("price_bound_bps"),
        leg_tolerance=COMMON["leg_tolerance"], leg_deadline_ns=LONG_NS, spot=SPOT_RULE, perp=PERP_RULE, quoting=GIVEN,
    )._replace(**changes)  # fmt: skip


def events(tape):
    """The tape, and a quarter of a second more of the same perpetual's book, so that everything under way arrives."""
    trades, rows = [], []
    for ts, venue, kind, *rest in tape["events"]:
        if kind == "trade":
            trades.append((ns(ts), SIDES[rest[0]], rest[2], rest[1]))
        else:
            bid, bid_qty, ask, ask_qty = rest
            rows.append((ns(ts), SPOT if venue == "spot" else PERP, bid, ask, bid_qty, ask_qty))
    last = max([*(row[0] for row in rows), *(trade[0] for trade in trades), *(ns(c[0]) for c in tape["commands"])])
    rows.append((last + ns(0.25), *[row for row in rows if row[1] == PERP][-1][1:]))
    spot = prints(*zip(*trades, strict=True)) if trades else NO_PRINTS
    return replace(Tape.of(rows), queues=Queues(spot, NO_PRINTS, 0)), last


class Commands:
    """`decide`, but quotes are placed as a tape says; a cancel forbids to enter, a deadline says to leave."""

    def __init__(self, tape):
        self.due = [(ns(ts), *rest) for ts, *rest in tape["commands"]]
        self.refused, self.ended, self.stops = [], [], {}

    def __call__(self, state, event, rule):
        if event.kind == 0 and event.leg == SPOT and state.quote and event.remaining == 0.0:
            told = self.ended if state.withdrawn or event.filled else self.refused
            told.append((event.ts_ns, event.filled, state.withdrawn))
        orders, quote = decide(state, event, rule._replace(**self.stops)), None
        while self.due and self.due[0][0] <= event.ts_ns:
            _, what, *rest = self.due.pop(0)
            if what == "place":
                quote = self.placed(state, event, SIDES[rest[0]] * rest[1], rest[2])
            else:
                self.stops = {"flatten": True} if what == "deadline" else {"may_enter": False}
                orders = decide(state, event, rule._replace(**self.stops))
        if self.due:
            state.wake_ns = min(state.wake_ns, self.due[0][0])
        return (quote, orders[PERP]) if quote else orders

    def placed(self, state, event, qty, price):
        self.stops = {}
        if state.phase == FLAT:
            state.pair, state.phase, state.pair_qty, state.opened_ns = state.pair + 1, ENTERING, abs(qty), 0
        else:
            state.phase, state.exiting = EXITING, True
        state.rests, state.rest_ns, state.quote, state.quote_ns, state.next_quote_ns = (
            True,
            event.ts_ns,
            price,
            NEVER,
            LONG_NS,
        )
        state.legs[SPOT].working = qty
        return Order(qty, price, False, False, True)


class Played:
    """What a tape came to; `commands` places its quotes, None leaves that to the machine."""

    def __init__(self, tape, assumption, rule, commands, monkeypatch):
        made, self.last_ns = events(tape)
        columns, roads, stamps = kernel_inputs(made.assuming(assumption), LATENCY, (), [rule])
        roads = Roads(
            tuple(road._replace(delays=_plain(road.delays)) for road in roads.legs),
            roads.queues._replace(spot=_plain(roads.queues.spot), perp=_plain(roads.queues.perp)),
        )
        machine, schedule = Machine(purse=[*BOUNDLESS.purse]), Schedule([made.start_ns], [rule, rule], [0])
        machine.state.wake_ns = 0 if commands else NEVER
        if commands:
            monkeypatch.setattr(resting_orders, "decide", commands)
        seen = looks(made, OFF, plain=True, jumping=False)
        ground = Ground(_plain(columns), seen, roads, BOUNDLESS.rebalancing, _plain(stamps))
        logs, *_ = whole_tape(ground, schedule, machine)
        self.sent, self.venue, self.made = logs.sent, machine.venues[SPOT], made
        closes = sum(made_.ts_ns == made.end_ns for made_ in logs.fills)
        self.filled = logs.fills[: len(logs.fills) - closes]

    def order_of(self, fill):
        """The newest order of its leg that was sent before it."""
        return [order for order in self.sent if order.leg == fill.leg and order.ts_ns < fill.ts_ns][-1]

    @property
    def rested(self):
        return [f for f in self.filled if self.order_of(f).post_only]

    @property
    def taken(self):
        return [
            (self.order_of(f).ts_ns / 1e9, f.ts_ns / 1e9, f.leg, f.qty, f.price)
            for f in self.filled
            if f not in self.rested
        ]


def given(tape, assumption, monkeypatch):
    """The tape's own commands, and how their quotes ended."""
    commands = Commands(tape)
    return Played(tape, assumption, machine_rule(), commands, monkeypatch), commands


def seconds(rows):
    return [pytest.approx(row, abs=1e-9) for row in rows]


@pytest.mark.parametrize(("tape", "assumption"), CASES, ids=IDS)
def test_every_fill_hedge_and_cent_of_a_tape(tape, assumption, monkeypatch):
    played, commands = given(tape, assumption, monkeypatch)
    expected = tape["expected"][assumption]
    check(played, expected)
    assert [ts / 1e9 for ts, *_ in commands.refused] == seconds([expected["refused"]] if "refused" in expected else [])
    if "cancel" in expected:
        ts_ns, filled, withdrawn = commands.ended[0]
        assert withdrawn
        assert (f"done at {ts_ns / 1e9:.10g}" if not filled else "found it filled") == expected["cancel"]


def check(played, expected):
    assert [(f.ts_ns / 1e9, f.qty, f.price) for f in played.rested] == seconds(expected["fills"])
    taken = {name: expected.get(name, []) for name in ("hedges", "unwound", "taken")}
    wanted = sorted(
        [(s, f, PERP, q, p) for s, f, q, p in taken["hedges"]]
        + [(s, f, SPOT, q, p) for s, f, q, p in taken["unwound"]]
        + [(s, f, SPOT if v == "spot" else PERP, q, p) for s, f, v, q, p in taken["taken"]]
    )
    assert sorted(played.taken) == seconds(wanted)
    held, cash = [0.0, 0.0], [0.0, 0.0]
    for f in played.filled:
        held[f.leg], cash[f.leg] = held[f.leg] + f.qty, cash[f.leg] - f.qty * f.price
    fees = sum(f.fee_usdt for f in played.filled)
    sides = (("spot_bid", "spot_ask"), ("perp_bid", "perp_ask"))
    worth = sum(q * getattr(played.made, side[q < 0])[-1] for q, side in zip(held, sides, strict=True))
    assert cash == pytest.approx([expected["spot_cash"], expected["perp_cash"]], abs=1e-9)
    assert held == pytest.approx([expected["spot_position"], expected["perp_position"]], abs=1e-9)
    assert fees == pytest.approx(expected["fees"], abs=1e-9)
    assert sum(cash) - fees + worth == pytest.approx(expected["net_marked"], abs=1e-9)
    left = played.venue.left if played.venue.rests else 0.0
    assert left == pytest.approx(expected["left"], abs=1e-9)


# --- The decisions ---------------------------------------------------------------------------------------------------


def quoting_rule(tape):
    """The rule that quotes by itself, as tapes 08 and 18 to 20 have it."""
    told = {"entry_bps": 20, "adverse_bps": 5, "tolerance_bps": 1e9, "least_life_s": 0.0} | tape["settings"].get(
        "decision", {}
    )
    quoting = QuoteRule(
        SPOT,
        True,
        False,
        0.0,
        told["adverse_bps"] / 1e4,
        told["tolerance_bps"] / 1e4,
        ns(told["least_life_s"]),
        ns(1),
        LONG_NS,
        False,
    )
    return machine_rule(entry=told["entry_bps"] / 1e4, max_quote_age_ns=ns(COMMON["max_quote_age_s"]), quoting=quoting)


@pytest.mark.parametrize(
    ("tape", "assumption"),
    [(t, a) for t in TAPES["tapes"] if t["name"][:2] in ("08", "18", "19", "20") for a in ASSUMPTIONS],
    ids=lambda value: value if isinstance(value, str) else value["name"],
)
def test_the_decisions_are_the_tapes_commands(tape, assumption, monkeypatch):
    seen = []

    def watched(state, event, rule):
        orders = decide(state, event, rule)
        seen.extend((event.ts_ns, order) for order in orders if order.cancel or order.post_only)
        return orders

    monkeypatch.setattr(resting_orders, "decide", watched)
    rule = quoting_rule(tape)
    played = Played(tape, assumption, rule, None, monkeypatch)
    check(played, tape["expected"][assumption])
    sides = {True: "buy", False: "sell"}
    commands = [
        (t / 1e9, "cancel") if o.cancel else (t / 1e9, "place", sides[o.qty > 0], abs(o.qty), o.limit)
        for t, o in seen
        if t <= played.last_ns
    ]
    assert len(commands) == len(tape["commands"])
    for ours, theirs in zip(commands, tape["commands"], strict=True):
        assert [x for x in ours if isinstance(x, str)] == [x for x in theirs if isinstance(x, str)]
        assert [x for x in ours if not isinstance(x, str)] == pytest.approx(
            [x for x in theirs if not isinstance(x, str)], abs=1e-9
        )
    monkeypatch.undo()
    compiled = run(played.made.assuming(assumption), rule._replace(leg_deadline_ns=ns(100)), LATENCY)
    assert [s for s in compiled.sent if s.ts_ns <= played.last_ns] == [
        s for s in played.sent if s.ts_ns <= played.last_ns
    ]


def test_the_edge_at_the_fill_less_the_hedged_one_is_slippage_of_the_hedge(monkeypatch):
    """Tape 10: the hedge bid was 100.5 at the fill and 99.7 at the arrival, of a coin bought at 100.1."""
    tape = next(t for t in TAPES["tapes"] if t["name"].startswith("10"))
    played, _ = given(tape, "front", monkeypatch)
    fill, hedge = played.filled[:2]
    assert (100.5 - fill.price) / fill.price * 1e4 == pytest.approx(39.96, abs=1e-3)
    assert (hedge.price - fill.price) / fill.price * 1e4 == pytest.approx(-39.96, abs=1e-3)


def mirrored(tape):
    """Sides swapped and prices reflected at 200: what bought now sells."""
    events = [
        [e[0], e[1], "trade", "buy" if e[3] == "sell" else "sell", e[4], 200 - e[5]]
        if e[2] == "trade"
        else [*e[:3], 200 - e[5], e[6], 200 - e[3], e[4]]
        for e in tape["events"]
    ]
    commands = [
        [*c[:2], "sell" if c[2] == "buy" else "buy", c[3], 200 - c[4]] if c[1] == "place" else c
        for c in tape["commands"]
    ]
    return tape | {"events": events, "commands": commands}


@pytest.mark.parametrize(("tape", "assumption"), CASES, ids=IDS)
def test_the_mirrored_tape_gives_the_mirrored_fills(tape, assumption, monkeypatch):
    fills = given(mirrored(tape), assumption, monkeypatch)[0].rested
    expected = [(t, -q, 200 - p) for t, q, p in tape["expected"][assumption]["fills"]]
    assert [(f.ts_ns / 1e9, f.qty, f.price) for f in fills] == seconds(expected)


def test_a_quote_of_the_selling_side_is_the_mirror_image():
    """Hedge ask 100.7, exit -20 bps, fees 5, adverse 5: 100.7 / (1 - 0.002 - 0.001) = 101.003, up to 101.1."""
    assert wanted_price(-1, 100.0, 100.2, 100.7, 1 / (1 - 0.002 - 0.001), 0.1) == pytest.approx(101.1)
