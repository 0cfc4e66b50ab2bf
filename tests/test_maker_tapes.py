"""Twenty tapes of a resting order, worked by hand under three assumptions each: every fill, hedge and cent."""

import json
from pathlib import Path

import pytest

from delta_arb.backtest.maker_replay import Costs, MakerReplay, Print, Row
from delta_arb.market import NEVER, PERP, SPOT
from delta_arb.strategy import quoting, resting
from delta_arb.strategy.queue_fills import ASSUMPTIONS
from delta_arb.strategy.quoting import BUY, Quoting, Sight
from delta_arb.strategy.resting import PLACE, WITHDRAW, Command, HedgeRule

TAPES = json.loads((Path(__file__).parent / "maker_tapes.json").read_text("utf-8"))
COMMON = TAPES["common"]
SIDES = {"buy": 1, "sell": -1}
CASES = [(tape, assumption) for tape in TAPES["tapes"] for assumption in ASSUMPTIONS]
IDS = [f"{tape['name']}, {assumption}" for tape, assumption in CASES]


def ns(seconds):
    return round(seconds * 1e9)


def costs():
    fees = (COMMON[f"{name}_fee_bps"] / 1e4 for name in ("maker", "spot_taker", "perp_taker"))
    return Costs(*(ns(COMMON[f"{k}_s"]) for k in ("place", "cancel", "hedge")), *fees, COMMON["price_bound_bps"] / 1e4)


def events(tape):
    prints, rows = [], []
    for ts, venue, kind, *rest in tape["events"]:
        if kind == "trade":
            prints.append(Print(ns(ts), SIDES[rest[0]], rest[1], rest[2]))
        else:
            rows.append(Row(ns(ts), SPOT if venue == "spot" else PERP, *rest))
    return prints, rows


def replay(tape, assumption, decide):
    hedge = HedgeRule(COMMON["hedge_step"], COMMON["hedge_min"], COMMON["leg_tolerance"])
    return MakerReplay(*events(tape), costs(), hedge, assumption, decide)


def given(tape, assumption):
    """The tape's own commands."""
    run = replay(tape, assumption, lambda pair, books, now_ns: ([], NEVER))
    for ts, what, *rest in tape["commands"]:
        if what == "place":
            run.command(ns(ts), Command(PLACE, SIDES[rest[0]] * rest[1], rest[2]))
        else:
            run.command(ns(ts), "deadline" if what == "deadline" else Command(WITHDRAW))
    return run


def seconds(rows):
    return [pytest.approx(row, abs=1e-9) for row in rows]


@pytest.mark.parametrize(("tape", "assumption"), CASES, ids=IDS)
def test_every_fill_hedge_and_cent_of_a_tape(tape, assumption):
    run, expected = given(tape, assumption), tape["expected"][assumption]
    result, pair = run.run(), run.pair
    check(result, pair, expected)


def check(result, pair, expected):
    assert [(f.ts_ns / 1e9, f.qty, f.price) for f in result.fills] == seconds(expected["fills"])
    taken = {name: expected.get(name, []) for name in ("hedges", "unwound", "taken")}
    wanted = sorted(
        [(s, f, PERP, q, p) for s, f, q, p in taken["hedges"]]
        + [(s, f, SPOT, q, p) for s, f, q, p in taken["unwound"]]
        + [(s, f, SPOT if v == "spot" else PERP, q, p) for s, f, v, q, p in taken["taken"]]
    )
    assert sorted((t.sent_ns / 1e9, t.ts_ns / 1e9, t.leg, t.qty, t.price) for t in result.taken) == seconds(wanted)
    assert result.cash == pytest.approx([expected["spot_cash"], expected["perp_cash"]], abs=1e-9)
    assert (pair.held, pair.hedged) == pytest.approx((expected["spot_position"], expected["perp_position"]), abs=1e-9)
    assert result.fees == pytest.approx(expected["fees"], abs=1e-9)
    assert result.net_marked == pytest.approx(expected["net_marked"], abs=1e-9)
    assert result.left == pytest.approx(expected["left"], abs=1e-9)
    assert [t / 1e9 for t in result.refused_ns] == seconds([expected["refused"]] if "refused" in expected else [])
    if "cancel" in expected:
        done = f"done at {result.cancelled_ns[0] / 1e9:.10g}" if result.cancelled_ns else "found it filled"
        assert done == expected["cancel"]


# --- The decisions ---------------------------------------------------------------------------------------------------


def decider(tape):
    """The machine that quotes by rule 10, as tapes 08 and 18 to 20 have it."""
    told = {"entry_bps": 20, "adverse_bps": 5, "tolerance_bps": 1e9, "least_life_s": 0.0, "clip": 1}
    told |= tape["settings"].get("decision", {})
    fees = (COMMON["maker_fee_bps"] + COMMON["perp_taker_fee_bps"]) / 1e4
    rule = Quoting(
        told["entry_bps"] / 1e4, fees, told["adverse_bps"] / 1e4, told["tolerance_bps"] / 1e4,
        ns(told["least_life_s"]), ns(COMMON["max_quote_age_s"]), COMMON["spot_tick"],
    )  # fmt: skip
    sent = []

    def decide(pair, books, now_ns):
        spot, perp = books
        sight = Sight(spot.bid, spot.ask, perp.bid, perp.ask, now_ns - perp.ts_ns)
        fresh = now_ns - spot.ts_ns <= rule.max_quote_age_ns
        left = told["clip"] - pair.held if fresh and not pair.hedge_out else 0.0
        commands = resting.quote(pair, BUY, left, sight, rule, now_ns)
        sent.extend((now_ns / 1e9, c) for c in commands)
        stale_ns = perp.ts_ns + rule.max_quote_age_ns + 1
        return commands, min(t for t in (stale_ns, pair.since_ns + rule.least_life_ns, NEVER) if t > now_ns)

    return decide, sent


@pytest.mark.parametrize(
    ("tape", "assumption"),
    [(t, a) for t in TAPES["tapes"] if t["name"][:2] in ("08", "18", "19", "20") for a in ASSUMPTIONS],
    ids=lambda value: value if isinstance(value, str) else value["name"],
)
def test_the_decisions_are_the_tapes_commands(tape, assumption):
    decide, sent = decider(tape)
    run = replay(tape, assumption, decide)
    check(run.run(), run.pair, tape["expected"][assumption])
    commands = [
        (t, "place", "buy" if c.qty > 0 else "sell", abs(c.qty), c.price) if c.kind == PLACE else (t, "cancel")
        for t, c in sent
    ]
    assert len(commands) == len(tape["commands"])
    for ours, theirs in zip(commands, tape["commands"]):
        assert ours[1] == theirs[1]
        assert [x for x in ours if not isinstance(x, str)] == pytest.approx(
            [x for x in theirs if not isinstance(x, str)], abs=1e-9
        )


def test_the_edge_at_the_fill_less_the_hedged_one_is_slippage_of_the_hedge():
    """Tape 10: the hedge bid was 100.5 at the fill and 99.7 at the arrival, of a coin bought at 100.1."""
    tape = next(t for t in TAPES["tapes"] if t["name"].startswith("10"))
    result = given(tape, "front").run()
    fill, hedge = result.fills[0], result.taken[0]
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
def test_the_mirrored_tape_gives_the_mirrored_fills(tape, assumption):
    fills = given(mirrored(tape), assumption).run().fills
    expected = [(t, -q, 200 - p) for t, q, p in tape["expected"][assumption]["fills"]]
    assert [(f.ts_ns / 1e9, f.qty, f.price) for f in fills] == seconds(expected)


def test_a_quote_of_the_selling_side_is_the_mirror_image():
    """Hedge ask 100.7, exit -20 bps, fees 5, adverse 5: 100.7 / (1 - 0.002 - 0.001) = 101.003, up to 101.1."""
    rule = Quoting(-0.002, 0.0005, 0.0005, 0.0005, 0, ns(2), 0.1)
    sight = Sight(100.0, 100.2, 100.5, 100.7, 0)
    assert quoting.wanted_price(-1, sight, rule) == pytest.approx(101.1)
