"""Values of the pair machine: its rule, the events it is fed, and the state, which is all that it remembers between them.

Rules and events never change once made; the state is changed by `decide`, and by nobody else. Quantities are base units,
signed (bought positive); edges and fees are fractions; times are int64 ns UTC.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from delta_arb.market import NEVER, NO_REASON, Book, Order
from delta_arb.strategy.signal import OFF, Filter
from delta_arb.wallets import BOTTOMLESS, Wallet

FLAT, ENTERING, OPEN, EXITING, HEDGING, HALTED = range(6)
PHASES = ("flat", "entering", "open", "exiting", "hedging", "halted")
# Also their order at equal times: reports first, then quotes, then timers. A fill from outside is one that nobody of us
# ordered (a liquidation, auto-deleveraging, a person's hand).
REPORT, QUOTE, TIMER, OUTSIDE = range(4)
DIRECT, REVERSE = 1, -1  # the sign of the pair's spot position: bought, or sold out of inventory


class LegRule(NamedTuple):
    """What one venue demands and charges: quantity step and minima in base units and USDT, fee as a fraction.

    `leverage` is ours on that venue: an order of a perpetual ties up its value over it. With `fee_in_base` a purchase is
    delivered less its fee, which the venue keeps of the coins. `maintenance` is the share of its value below which a
    position's margin may not fall (see `margin`), 0 where it is not known.
    """

    step: float
    min_qty: float
    min_notional_usdt: float
    fee: float
    leverage: float = 1.0
    tick: float = 0.0
    fee_in_base: bool = False
    maintenance: float = 0.0
    maker_fee: float = 0.0


class QuoteRule(NamedTuple):
    """How one leg rests (`rule_params.RestingLeg`): fractions, ns; `leg` is the one that does, `NO_LEG` where both take."""

    leg: int
    entry: bool
    exit: bool
    distance: float
    adverse: float
    tolerance: float
    least_life_ns: int
    spacing_ns: int
    longest_rest_ns: int
    takes: bool


NO_LEG = -1
BOTH_TAKE = QuoteRule(NO_LEG, False, False, 0.0, 0.0, 0.0, 0, 0, 0, False)


class MachineRule(NamedTuple):
    """Every input of `decide` besides quotes and reports (`rule.RULE_SOURCES` says where each one comes from).

    A direction is off with an entry of inf and an exit of -inf. Clips are added up to `max_position_usdt`; with less
    than two clips there is one.
    """

    may_enter: bool
    flatten: bool
    entry: float
    exit: float
    rearm: float
    max_hold_ns: int
    clip_usdt: float
    participation: float
    step: float
    max_quote_age_ns: int
    price_bound: float
    leg_tolerance: float
    leg_deadline_ns: int
    spot: LegRule
    perp: LegRule
    filter: Filter = OFF
    reverse_entry: float = math.inf
    reverse_exit: float = -math.inf
    max_position_usdt: float = 0.0
    funding_horizon_s: float = 0.0
    quoting: QuoteRule = BOTH_TAKE


class Event(NamedTuple):
    """What happened at `ts_ns`, with the latest book of both legs; `leg` to `remaining` belong to a report.

    `shift` is what the filter adds to a raw edge or cost (`signal.step` at the last quote), and the
    funding expected over the rule's horizon (see `funding_stamps`); 0.0 decides on the raw ones.
    """

    kind: int
    ts_ns: int
    spot: Book
    perp: Book
    leg: int
    filled: float
    price: float
    remaining: float
    shift: float = 0.0
    wallet: Wallet = BOTTOMLESS


@dataclass(slots=True)
class Leg:
    """One leg of the pair: signed position, signed quantity still working, price it was decided on, mean entry price."""

    position: float = 0.0
    working: float = 0.0
    decided: float = 0.0
    average: float = 0.0


@dataclass(slots=True)
class State:
    """All that the machine remembers; a new one is flat. `pair` counts entries, `side` is the direction of the newest one.

    `armed` and `reverse_armed` say whether a direction may be entered, `wake_ns` is the timer that is asked for.
    `legs` are by the number of the leg (`SPOT`, `PERP`). `clip_ns` is when the newest clip was sent, `retry_ns` before when
    no hedge is tried again. `refused` counts opportunities that a wallet could not pay for, `refusing` says that one still
    lasts. While an end of the pair `rests`, since `rest_ns`: the price of the `quote` that is out (0.0: none), when it was
    accepted (`NEVER`: not yet), whether it is `withdrawn`, before when the next one may not go out, and since when a fill
    waits for its hedge (`naked_ns`, 0: none does). In compiled code a record of the same fields stands for it
    (`numba_cache.records`).
    """

    phase: int = FLAT
    pair: int = 0
    side: int = DIRECT
    reason: int = NO_REASON
    exiting: bool = False
    armed: bool = True
    reverse_armed: bool = True
    pair_qty: float = 0.0
    opened_ns: int = 0
    hedging_ns: int = 0
    wake_ns: int = NEVER
    legs: tuple[Leg, Leg] = field(default_factory=lambda: (Leg(), Leg()))
    refused: int = 0
    refusing: bool = False
    clip_ns: int = 0
    retry_ns: int = 0
    rests: bool = False
    quote: float = 0.0
    quote_ns: int = NEVER
    withdrawn: bool = False
    rest_ns: int = 0
    next_quote_ns: int = 0
    naked_ns: int = 0

    def copy(self) -> "State":
        """Another one that shares nothing with it."""
        return State(
            self.phase, self.pair, self.side, self.reason, self.exiting, self.armed, self.reverse_armed, self.pair_qty,
            self.opened_ns, self.hedging_ns, self.wake_ns,
            tuple(Leg(leg.position, leg.working, leg.decided, leg.average) for leg in self.legs),
            self.refused, self.refusing, self.clip_ns, self.retry_ns, self.rests, self.quote, self.quote_ns, self.withdrawn,
            self.rest_ns, self.next_quote_ns, self.naked_ns,
        )  # fmt: skip

    def values(self) -> tuple:
        """Every field in its order, the legs one after the other as tuples of theirs: what journals keep."""
        legs = ((leg.position, leg.working, leg.decided, leg.average) for leg in self.legs)
        return (
            self.phase, self.pair, self.side, self.reason, self.exiting, self.armed, self.reverse_armed, self.pair_qty,
            self.opened_ns, self.hedging_ns, self.wake_ns, *legs, self.refused, self.refusing, self.clip_ns, self.retry_ns,
            self.rests, self.quote, self.quote_ns, self.withdrawn, self.rest_ns, self.next_quote_ns, self.naked_ns,
        )  # fmt: skip

    @classmethod
    def of(cls, values: Sequence) -> "State":
        """The state that `values` were taken of. Raises TypeError where they are those of another version."""
        head, spot, perp, rest = values[:11], values[11], values[12], values[13:]
        if len(rest) != 11:
            raise TypeError(f"{len(values)} values, a state of this version has 24")
        return cls(*head, (Leg(*spot), Leg(*perp)), *rest)


NO_ORDER = Order(0.0, 0.0, False, False, False)
NO_ORDERS = (NO_ORDER, NO_ORDER)
