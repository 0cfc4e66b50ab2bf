"""One pair machine over a tape whose rule changes while it is flat, as the runner changes it.

`backtest.run` replays one rule from a flat start. Here the replays of one rule after the other are joined where the
machine is flat, with all that it carries along: when it became flat, and which directions are armed. Joined
replays of one and the same rule give the trades of a single replay, bit for bit (tested on random tapes); only what
was taken from the very row at a joint is forgotten.
"""

import functools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from delta_arb.backtest.replay import Backtest, promised_at, shifts
from delta_arb.funding_stamps import expected
from delta_arb.market import END, HALT, NEVER, NS, PERP, SPOT, TARGET, entry_edge, reverse_edge
from delta_arb.optimize.study import Market, Thresholds
from delta_arb.quotes.tape import TAPE_COLUMNS, Tape
from delta_arb.strategy.ledger import Closing, Trade
from delta_arb.strategy.rule import make_rule
from delta_arb.strategy.state import DIRECT, REVERSE, Rule
from delta_arb.wallets import Funds, moved, with_fill

LOGS = ("sent", "fills", "closings")  # besides the trades, what a backtest keeps of its pairs
MOVES = ("refusals", "transfers")  # and of its wallets


class Machine:
    """The pair machine over a tape, its rule changed only while flat: since when, which directions are armed, its wallets,
    and all its pairs.

    What a wallet could not pay for is forgotten at a joint, and a transfer on its way is there at once. A filtered
    signal begins anew with every rule and is itself again after some of its steps.
    """

    def __init__(self, tape: Tape, market: Market) -> None:
        self.tape, self.market = tape, market
        self.flat_ns, self.halted, self.open_at_end = tape.start_ns, False, False
        self.armed = {DIRECT: True, REVERSE: True}
        self.funds = market.funds
        self.parts: list[Backtest] = []
        self.pairs = 0

    def trade(self, thresholds: Thresholds | None, start_ns: int, end_ns: int) -> tuple[tuple[Trade, ...], bool]:
        """Enter by these thresholds in [start, end); the trades, and whether the last pair outlived the fold.

        While a direction waits to be armed again, the other one is replayed alone and pair by pair.
        """
        rule = make_rule(self.market.rule_params(thresholds), self.market.spot, self.market.perp)
        before = len(self.parts)
        row = int(np.searchsorted(self.tape.ts_ns, max(start_ns, self.flat_ns)))
        while not self.halted and row < len(self.tape) and self.tape.ts_ns[row] < end_ns:
            waiting = {side: self._armed_ns(row, side, rule) for side, armed in self.armed.items() if not armed}
            if not waiting:
                if thresholds is not None:
                    self._took(self._replay(thresholds, row, end_ns), rule, end_ns)
                break
            soonest_ns = min(waiting.values())
            part = self._first(thresholds, row, min(soonest_ns + 1, end_ns))
            reached_ns = entries(part)[1] if part else soonest_ns
            self.armed |= {side: at_ns <= reached_ns < end_ns for side, at_ns in waiting.items()}
            if part:
                self._took(part, rule, 0)
            row = int(np.searchsorted(self.tape.ts_ns, self.flat_ns if part else soonest_ns + 1))
        trades = tuple(trade for part in self.parts[before:] for trade in part.trades)
        return trades, self.flat_ns > end_ns

    def _first(self, thresholds: Thresholds | None, row: int, end_ns: int) -> Backtest | None:
        """The first pair of the direction that is armed, entered before `end_ns`; None where there is none."""
        alone = [thresholds.alone(side) for side, armed in self.armed.items() if armed] if thresholds else []
        part = self._replay(alone[0], row, end_ns) if alone and alone[0] else None
        return only(part, {1}) if part and part.sent else None

    def _replay(self, thresholds: Thresholds | None, row: int, end_ns: int) -> Backtest:
        """From a row on, until the last pair entered before `end_ns` is closed; mostly the longest hold suffices."""
        settings = self.market.rule_params(thresholds)
        reach_ns = end_ns + round((settings.max_hold_s + 4 * settings.leg_deadline_s) * NS)
        stop = int(np.searchsorted(self.tape.ts_ns, reach_ns, "right"))
        for past in dict.fromkeys((stop, len(self.tape))):
            whole = replace(self.market, funds=self.funds).replay(rows_between(self.tape, row, past), thresholds)
            part = only(whole, {pair for pair, at_ns in entries(whole).items() if at_ns < end_ns})
            if all(c.reason not in (END, HALT) for c in part.closings) and len(part.closings) == entered(part):
                break
        return part

    def _took(self, part: Backtest, rule: Rule, known_ns: int) -> None:
        """The state after the last pair of a part, in which all pairs entered before `known_ns` are; pairs numbered on."""
        if part.closings:
            last = part.closings[-1]
            part = until(part, last.ts_ns)
            self.parts.append(renumbered(part, self.pairs))
            self.flat_ns = last.ts_ns
            self.funds = held_after(part)
            self.halted = last.reason == HALT
            self.open_at_end |= last.reason in (END, HALT)
            for side, closing in last_of_each(part).items():
                missed = all(f.pair != closing.pair for f in part.fills)
                self.armed[side] = closing.reason == TARGET or missed
                if not self.armed[side] and closing.ts_ns < known_ns:
                    row = int(np.searchsorted(self.tape.ts_ns, closing.ts_ns))
                    self.armed[side] = self._armed_ns(row, side, rule, busy(part)) < known_ns
        self.pairs += entered(part)
        if len(part.closings) < entered(part):  # the quotes end while an entry is on its way: there is no flat any more
            self.flat_ns = self.tape.end_ns + 1

    def _armed_ns(self, row: int, side: int, rule: Rule, held: Sequence[tuple[int, int]] = ()) -> int:
        """When, from `row` on, a direction is armed again while no pair is held (see `strategy.decide`); NEVER if not."""
        tape = rows_between(self.tape, row, len(self.tape))
        usable = tape.settled & (np.maximum(tape.spot_age_ns, tape.perp_age_ns) <= rule.max_quote_age_ns)
        for leg in ("spot", "perp"):
            bid, ask, bid_qty, ask_qty = (
                getattr(tape, f"{leg}_{side}") for side in ("bid", "ask", "bid_qty", "ask_qty")
            )
            usable &= (bid > 0) & (bid < ask) & (bid_qty > 0) & (ask_qty > 0)
        for opened_ns, closed_ns in held:
            usable &= (tape.ts_ns <= opened_ns) | (tape.ts_ns >= closed_ns)
        promised = promised_at(expected(self.market.payments, rule.funding_horizon_s), tape.ts_ns)
        shift = shifts(tape, rule.filter) + promised
        if side == DIRECT:
            low = usable & (entry_edge(tape.spot_ask, tape.perp_bid) + shift < rule.entry - rule.rearm)
        else:
            low = usable & (reverse_edge(tape.spot_bid, tape.perp_ask) - shift < rule.reverse_entry - rule.rearm)
        return int(tape.ts_ns[np.argmax(low)]) if low.any() else NEVER

    def result(self, start_ns: int, end_ns: int) -> Backtest:
        """All pairs so far as one backtest of [start, end)."""
        parts = self.parts or [self.market.replay(rows_between(self.tape, 0, 1), None)]
        joined = {name: tuple(x for part in parts for x in getattr(part, name)) for name in ("trades", *LOGS, *MOVES)}
        return replace(
            parts[-1],
            **joined,
            missed=len(joined["closings"]) - len(joined["trades"]),
            halted=self.halted,
            open_at_end=self.open_at_end,
            start_ns=start_ns,
            end_ns=end_ns,
            funds=self.market.funds,
            purse=self.funds.purse,
        )


def until(part: Backtest, flat_ns: int) -> Backtest:
    """Without what the wallets went through after its last pair: the next part meets that."""
    refusals = tuple(ts_ns for ts_ns in part.refusals if ts_ns <= flat_ns)
    return replace(part, refusals=refusals, transfers=tuple(t for t in part.transfers if t.sent_ns <= flat_ns))


def held_after(part: Backtest) -> Funds:
    """What the wallets hold after the last pair of a part: fills, fees, funding and transfers."""
    purse = functools.reduce(with_fill, part.fills, part.funds.purse)
    purse = moved(purse, PERP, sum((t.funding_usdt for t in part.trades), 0.0))
    for t in part.transfers:
        purse = moved(moved(purse, PERP if t.to_leg == SPOT else SPOT, -t.usdt), t.to_leg, t.usdt - t.fee_usdt)
    spot_usdt, coins, perp_usdt = (
        max(held, 0.0) for held in purse[:3]
    )  # a short lost altogether takes no more than there is
    return replace(part.funds, spot_usdt=spot_usdt, perp_usdt=perp_usdt, inventory=coins)


def entries(result: Backtest) -> dict[int, int]:
    """When each pair was decided."""
    first: dict[int, int] = {}
    for order in result.sent:
        first.setdefault(order.pair, order.ts_ns)
    return first


def sides(result: Backtest) -> dict[int, int]:
    """The direction of each pair that was decided, by its first order."""
    first: dict[int, int] = {}
    for order in result.sent:
        first.setdefault(order.pair, DIRECT if (order.qty > 0) == (order.leg == SPOT) else REVERSE)
    return first


def last_of_each(result: Backtest) -> dict[int, Closing]:
    """The last closing of each direction that was traded."""
    of = sides(result)
    return {of[closing.pair]: closing for closing in result.closings}


def busy(result: Backtest) -> list[tuple[int, int]]:
    """When a pair was decided and when it was over, for each."""
    began = entries(result)
    return [(began[closing.pair], closing.ts_ns) for closing in result.closings]


def entered(result: Backtest) -> int:
    """How many pairs were decided, filled or not."""
    return len({order.pair for order in result.sent})


def only(result: Backtest, pairs: set[int]) -> Backtest:
    """The same backtest, as if only these pairs had been."""
    kept = {name: tuple(x for x in getattr(result, name) if x.pair in pairs) for name in ("trades", *LOGS)}
    return replace(result, **kept, missed=len(kept["closings"]) - len(kept["trades"]))


def renumbered(result: Backtest, before: int) -> Backtest:
    """The pairs numbered on from `before`."""
    logs = {name: tuple(x._replace(pair=x.pair + before) for x in getattr(result, name)) for name in LOGS}
    return replace(result, **logs, trades=tuple(replace(t, pair=t.pair + before) for t in result.trades))


def rows_between(tape: Tape, start: int, stop: int) -> Tape:
    """Events by their number, where `Tape.between` goes by their stamps, which several may share."""
    return replace(tape, **{name: getattr(tape, name)[start:stop] for name in TAPE_COLUMNS})
