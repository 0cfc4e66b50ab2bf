"""What the wallets went through in a replay: the capital, what it could not pay for, transfers, margin, and dust."""

import math

from delta_arb.backtest.performance import distance, held
from delta_arb.backtest.replay import Backtest
from delta_arb.market import LEGS, NS, utc
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.ledger import total
from delta_arb.strategy.state import REVERSE
from delta_arb.tables import NOTHING, Findings, Table, number, seconds, share
from delta_arb.wallets import BOUNDLESS, NO_REBALANCING

UNLIMITED = (
    "Wallets were not limited: every entry could be paid, and nothing was moved between the venues. Capital is a full "
    "position and the margin of its short. Give --spot-usdt and --perp-usdt to see what limited wallets go through."
)


def table(tape: Tape, result: Backtest) -> Table | Findings:
    """One table where wallets or an inventory were given; else the sentence that they were not. `tape` is what was
    replayed."""
    if result.funds == BOUNDLESS:
        return Findings.of(UNLIMITED)
    limited = math.isfinite(result.funds.spot_usdt)
    rows = [*_capital(result), *_ways(result)] if limited else [("USDT of both wallets", "no limit", "none was given")]
    rows += [*_inventory(tape, result), *_margin(tape, result), *_dust(result)]
    note = (
        "Over the whole recording; each of its parts was replayed from the same wallets again. Transfers' fees are not "
        "in the net. The liquidation price is that of isolated margin, held against the perpetual's mid: recordings do not "
        "carry the mark price. A maintenance rate comes with a list of instruments (--perp-rules)."
    )
    return Table.of("What the wallets went through", ("", "value", "remarks"), rows, note)


def _capital(result: Backtest) -> list[tuple[str, str, str]]:
    full = max(result.rule.clip_usdt, result.rule.max_position_usdt)
    margin, base = full / result.rule.perp.leverage, result.capital_usdt
    start, end = result.funds.purse, result.purse
    of = ("spot notional", full, "a full position"), ("margin", margin, f"at leverage {result.rule.perp.leverage:g}")
    moves = [
        (f"USDT on {leg}", a, b)
        for leg, a, b in zip(LEGS, (start.spot_usdt, start.perp_usdt), (end.spot_usdt, end.perp_usdt), strict=True)
    ]
    return [
        ("capital, USDT", number(base), "both wallets at the beginning"),
        *((f"of it {name}", number(usdt), says) for name, usdt, says in of),
        (
            "of it buffer",
            number(base - full - margin),
            "" if base >= full + margin else "too little for a full position",
        ),
        *((name, f"{number(a)} to {number(b)}", f"{number(b - a, sign=True)}") for name, a, b in moves),
    ]


def _inventory(tape: Tape, result: Backtest) -> list[tuple[str, str, str]]:
    """The coins that reverse pairs are sold out of, and what they and their short earned by themselves."""
    if not result.funds.inventory:
        return []
    own = held(tape, result.funds.inventory, result.rule.perp.leverage, result.payments)
    pairs = [t for t in result.trades if t.side == REVERSE]
    net, kept = (total(getattr(t, name) for t in pairs) for name in ("net_usdt", "funding_usdt"))
    each = f"basis {number(own.basis_usdt, sign=True)}, funding {number(own.funding_usdt, sign=True)}"
    return [
        ("inventory, USDT", number(own.value_usdt), f"{own.coins:,.10g} coins on spot beside a short of the same size"),
        ("margin of that short, USDT", number(own.margin_usdt), "neither is in the capital of the returns"),
        ("it earned by itself, USDT", number(own.net_usdt, sign=True), f"{each}; in no pair's net"),
        (
            "reverse pairs, USDT",
            number(net, sign=True),
            f"{len(pairs)} of them; of it funding {number(kept, sign=True)}, which the short was paid less or more",
        ),
    ]


def _ways(result: Backtest) -> list[tuple[str, str, str]]:
    policy, sent = result.funds.rebalancing, len(result.transfers)
    way = (
        "none asked for: nothing is moved"
        if policy == NO_REBALANCING
        else f"{number(result.transfer_fees_usdt)} USDT of fees, {seconds(policy.delay_ns / NS)} each"
    )
    return [
        ("entries refused", f"{len(result.refusals)}", "opportunities that a wallet could not pay for"),
        ("days blocked", f"{result.days_blocked}", f"UTC days with one of them, of {number(result.days, 1)}"),
        ("transfers", f"{sent}", way),
        ("transfers a month", number(result.transfers_month, 1), "per 30 days"),
    ]


def _margin(tape: Tape, result: Backtest) -> list[tuple[str, str, str]]:
    distances = [distance(tape, t, result.rule.perp) for t in result.trades]
    known = [d for d in distances if not math.isnan(d)]
    gone = sum(d == 0.0 for d in known)
    unknown = "nothing was short" if result.rule.perp.maintenance else "maintenance rate not known"
    says = f"{gone} shorts liquidated" if known else unknown
    return [("least distance to liquidation", share(min(known), 1) if known else NOTHING, says)]


def _dust(result: Backtest) -> list[tuple[str, str, str]]:
    return [
        (
            f"dust on {d.leg}",
            number(d.usdt, 4, unit="USDT"),
            f"{d.qty:.6g} base units"
            + (f", enough for an order since {utc(d.sellable_ns)[:19]}" if d.sellable_ns is not None else ""),
        )
        for d in result.dust
    ]
