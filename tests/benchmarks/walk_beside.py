"""What walking a pair takes f5e8bbf, the tree before the rooms: run by its Python for `bench_universe.py --beside`.

Of each file named on standard input a line of two numbers, seconds of the processor: every fold of reversion walked, and
carry; and its notebook's own question (choice, judgement, carry), which ends where the choice finds no threshold set.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from delta_arb.study import CARRY, Constraints, Market
from delta_arb.tape import Tape
from delta_arb.walkforward import walk_forward

from delta_arb import carry_walk, export, optimize
from delta_arb.errors import DeltaArbError
from delta_arb.latency import Latency
from delta_arb.market import FundingPayment, Instrument
from delta_arb.params import RuleParams


def read(path: str) -> tuple[Tape, Market, dict]:
    """A pair as `bench_universe.told_to` leaves it: columns of its tape, its payments, and the rest as JSON."""
    held = dict(np.load(path))
    said = json.loads(str(held.pop("said")))
    paid = zip(held.pop("paid_ns").tolist(), held.pop("rates").tolist(), held.pop("marks").tolist(), strict=True)
    payments = tuple(FundingPayment(*each, True) for each in paid)
    rule = {name: value for name, value in said["rule"].items() if name in RuleParams.model_fields}
    legs = (Instrument(**leg) for leg in said["legs"])
    market = Market(*legs, Latency(*said["latency_s"]), payments, RuleParams(**rule))
    return Tape(**held, bar_s=said["bar_s"]), market, said


def seconds_of(question: Callable) -> float:
    began = time.process_time()
    with suppress(
        DeltaArbError, ValueError
    ):  # too short; of one pair its half-life is no finite number, which stops it
        question()
    return time.process_time() - began


def asked(path: str) -> tuple[float, float]:
    tape, market, said = read(path)
    demands, pairs, rng = Constraints(**said["demands"]), said["pairs"], np.random.default_rng(1)
    walked = seconds_of(lambda: walk_forward(tape, market, demands, rng=rng, **said["frame"]))
    carried = seconds_of(lambda: carry_walk.asked(tape, market, CARRY, pairs))
    judged = seconds_of(lambda: export.judge(tape, optimize.choose(tape, market, demands), pairs))
    return walked + carried, judged + carried


for line in sys.stdin:
    print(*asked(line.strip()), flush=True)
