"""One pair machine over a tape whose rule changes while it is flat, as the runner changes it.

`backtest.run` replays one rule from a flat start. Here the replays of one rule after the other are joined where the
machine is flat, with all that it carries along: when it became flat, and whether its direction is armed. Joined
replays of one and the same rule give the trades of a single replay, bit for bit (tested on random tapes); only what
was taken from the very row at a joint is forgotten.
"""

import functools
from dataclasses import replace

import numpy as np

from .backtest import Backtest, promised_at, shifts
from .errors import ParamsError
from .expected import expected
from .ledger import Trade
from .market import END, HALT, NS, PERP, SPOT, TARGET
from .pair import Rule
from .rules import make_rule
from .spread import entry_edge
from .study import Market, Thresholds
from .tape import TAPE_COLUMNS, Tape
from .wallets import Funds, moved, with_fill

LOGS = ("sent", "fills", "closings")  # besides the trades, what a backtest keeps of its pairs
MOVES = ("refusals", "transfers")  # and of its wallets


class Machine:
    """The pair machine over a tape, its rule changed only while flat: since when, armed or not, its wallets, and all its pairs.

    What a wallet could not pay for is forgotten at a joint, and a transfer on its way is there at once. A filtered
    signal begins anew with every rule and is itself again after some of its steps.
    """

    def __init__(self, tape: Tape, market: Market) -> None:
        if market.settings.reverse_entry_bps is not None:
            raise ParamsError(
                "replays are joined for the direct pair only; null reverse_entry_bps and reverse_exit_bps"
            )
        self.tape, self.market = tape, market
        self.flat_ns, self.armed, self.halted, self.open_at_end = tape.start_ns, True, False, False
        self.funds = market.funds
        self.parts: list[Backtest] = []
        self.pairs = 0

    def trade(self, thresholds: Thresholds | None, start_ns: int, end_ns: int) -> tuple[tuple[Trade, ...], bool]:
        """Enter by these thresholds in [start, end); the trades, and whether the last pair outlived the fold."""
        rule = make_rule(self.market.rule_params(thresholds), self.market.spot, self.market.perp)
        row = int(np.searchsorted(self.tape.ts_ns, max(start_ns, self.flat_ns)))
        if not self.armed:
            row = self._armed_after(row, rule)
        if self.halted or row >= len(self.tape) or self.tape.ts_ns[row] >= end_ns:
            return (), False
        self.armed = True
        if thresholds is None:
            return (), False
        part = self._replay(thresholds, row, end_ns)
        if part.closings:
            self._took(part, rule, end_ns)
        if len(part.closings) < entered(part):  # the quotes end while an entry is on its way: there is no flat any more
            self.flat_ns = self.tape.end_ns + 1
        trades = self.parts[-1].trades if part.closings else ()
        return trades, self.flat_ns > end_ns

    def _replay(self, thresholds: Thresholds, row: int, end_ns: int) -> Backtest:
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

    def _took(self, part: Backtest, rule: Rule, end_ns: int) -> None:
        """The state after the last pair of a fold, and the pairs numbered on."""
        last = part.closings[-1]
        part = until(part, last.ts_ns)
        self.parts.append(renumbered(part, self.pairs))
        self.pairs += entered(part)
        self.flat_ns = last.ts_ns
        self.funds = held_after(part)
        self.halted = last.reason == HALT
        self.open_at_end |= last.reason in (END, HALT)
        missed = all(f.pair != last.pair for f in part.fills)
        self.armed = last.reason == TARGET or missed
        if not self.armed and self.flat_ns < end_ns:
            row = self._armed_after(int(np.searchsorted(self.tape.ts_ns, self.flat_ns)), rule)
            self.armed = row < len(self.tape) and bool(self.tape.ts_ns[row - 1] < end_ns)

    def _armed_after(self, row: int, rule: Rule) -> int:
        """The row behind the first one, from `row` on, whose edge re-arms the direction (see `strategy.decide`)."""
        tape = rows_between(self.tape, row, len(self.tape))
        usable = tape.settled & (np.maximum(tape.spot_age_ns, tape.perp_age_ns) <= rule.max_quote_age_ns)
        for leg in ("spot", "perp"):
            bid, ask, bid_qty, ask_qty = (
                getattr(tape, f"{leg}_{side}") for side in ("bid", "ask", "bid_qty", "ask_qty")
            )
            usable &= (bid > 0) & (bid < ask) & (bid_qty > 0) & (ask_qty > 0)
        edge = entry_edge(tape.spot_ask, tape.perp_bid) + shifts(tape, rule.filter)
        edge += promised_at(expected(self.market.payments, rule.funding_horizon_s), tape.ts_ns)
        low = usable & (edge < rule.entry - rule.rearm)
        return row + int(np.argmax(low)) + 1 if low.any() else len(self.tape)

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
