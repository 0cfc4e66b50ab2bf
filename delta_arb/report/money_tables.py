"""Whether the money adds up: funding and fees counted a second time, and what the wallets went through.

The ledger pays each pair on its own. Here one running position of the whole account meets every stamp, and every fee is
the notional of a venue's fills times its rate. Both ways must agree to the cent; where they do not, the table says so.
"""

import math
from collections import defaultdict
from dataclasses import dataclass

from delta_arb.backtest.performance import distance, held
from delta_arb.backtest.replay import Backtest
from delta_arb.funding_stamps import HeldStamp, held_stamps
from delta_arb.market import BASE, LEGS, NS, PERP, Fill, to_bps, utc
from delta_arb.optimize.study import Market
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.ledger import attribution, total
from delta_arb.strategy.state import REVERSE
from delta_arb.tables import NOTHING, Findings, Table, number, seconds, share
from delta_arb.venue_terms import VenueTerms
from delta_arb.wallets import BOUNDLESS, NO_REBALANCING

CENT_USDT = 0.01
ENDS = 8  # stamps shown at the beginning and at the end of a long record
MONEY_DIGITS = 4


@dataclass(frozen=True, slots=True)
class VenueFees:
    """What one venue was paid: `charged` as its fills say, `expected` as notional times rate; USDT, rate a fraction."""

    name: str
    fills: int
    notional_usdt: float
    rate: float
    charged_usdt: float

    @property
    def expected_usdt(self) -> float:
        return self.notional_usdt * self.rate


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Both ways of adding up: stamps that met a position, how many met none, venues; `booked_*` by the attribution."""

    stamps: tuple[HeldStamp, ...]
    venues: tuple[VenueFees, ...]
    booked_funding_usdt: float
    booked_fees_usdt: float
    flat: int

    @property
    def funding_usdt(self) -> float:
        return sum((s.usdt for s in self.stamps), 0.0)

    @property
    def expected_fees_usdt(self) -> float:
        return sum((v.expected_usdt for v in self.venues), 0.0)

    @property
    def funding_agrees(self) -> bool:
        return abs(self.funding_usdt - self.booked_funding_usdt) < CENT_USDT / 2

    @property
    def fees_agree(self) -> bool:
        charged = sum((v.charged_usdt for v in self.venues), 0.0)
        return all(abs(sum_ - self.booked_fees_usdt) < CENT_USDT / 2 for sum_ in (charged, self.expected_fees_usdt))


def recount(result: Backtest, market: Market) -> Reconciliation:
    """Both ways for one backtest; `market` is the one it was replayed on."""
    booked = attribution(result.trades)
    stamps = _stamps(result)
    met = tuple(s for s in stamps if s.position != 0.0)
    venues = tuple(v for leg, side in enumerate((market.spot, market.perp)) for v in _venues(result, leg, side))
    return Reconciliation(met, venues, booked["funding"], -booked["fees"], len(stamps) - len(met))


def _stamps(result: Backtest) -> list[HeldStamp]:
    """Every stamp within the quotes, with the position of the account strictly before it.

    A residual that a closed pair leaves is booked off at its last fill, as the ledger does: it is held by nobody.
    """
    perp = [f for f in result.fills if f.leg == PERP]
    left, last = defaultdict(float), {}
    for f in perp:
        left[f.pair] += f.qty
        last[f.pair] = f.ts_ns
    moves = [(f.ts_ns, f.qty) for f in perp] + [(last[pair], -qty) for pair, qty in left.items() if qty != 0.0]
    return held_stamps(moves, (p for p in result.payments if result.start_ns <= p.ts_ns <= result.end_ns))


def _venues(result: Backtest, leg: int, side: VenueTerms) -> list[VenueFees]:
    """What one venue was paid as a taker, and apart from it for orders that rested."""
    rested = set(result.rested)
    ways = {False: ("", side.taker_fee), True: (", rested", side.maker_fee)}
    found = []
    for way, (said, rate) in ways.items():
        fills = [f for f in result.fills if f.leg == leg and (f in rested) == way]
        if fills or not way:
            notional = sum((_traded(f, side, rate) * f.price for f in fills), 0.0)
            found.append(
                VenueFees(
                    f"{side.venue}, {LEGS[leg]}{said}",
                    len(fills),
                    notional,
                    rate,
                    sum((f.fee_usdt for f in fills), 0.0),
                )
            )
    return found


def _traded(fill: Fill, side: VenueTerms, rate: float) -> float:
    """What changed hands: of a purchase whose fee is taken in coins more than was delivered."""
    kept = rate if side.fee_currency == BASE and fill.qty > 0.0 else 0.0
    return abs(fill.qty) / (1.0 - kept)


# --- tables ----------------------------------------------------------------------------------------------------------


def funding_table(found: Reconciliation) -> Table:
    """Each stamp that met a position: its rate, its mark, the short before it, and what it paid."""
    title = "Funding, stamp by stamp"
    if not found.stamps:
        why = (
            f"none of the {found.flat} stamps met a position"
            if found.flat
            else "no funding stamp lies within the quotes"
        )
        return Table.nothing(title, why)
    columns = ("stamp, UTC", "rate, bps", "mark, USDT", "short before, base units", "paid, USDT")
    rows = [
        (
            utc(s.payment.ts_ns)[:19],
            number(to_bps(s.payment.rate), 3),
            f"{s.payment.mark:.6g}{'' if s.payment.exact else ' (mid)'}",
            f"{-s.position:.6g}",
            number(s.usdt, MONEY_DIGITS),
        )
        for s in found.stamps
    ]
    hidden = found.stamps[ENDS:-ENDS]
    if hidden:
        paid = sum(s.usdt for s in hidden)
        between = (f"{len(hidden)} stamps between", NOTHING, NOTHING, NOTHING, number(paid, MONEY_DIGITS))
        rows = [*rows[:ENDS], between, *rows[-ENDS:]]
    rows.append(("sum", "", "", "", number(found.funding_usdt, MONEY_DIGITS)))
    said = _said(found.funding_agrees, found.funding_usdt, found.booked_funding_usdt)
    return Table.of(
        title,
        columns,
        rows,
        f"{said} {found.flat} more stamps fell into times without a position. (mid): no mark was recorded.",
    )


def fee_table(found: Reconciliation) -> Table:
    """What each venue was paid, by its fills and by its rate."""
    columns = ("venue", "fills", "notional, USDT", "rate, bps", "notional x rate, USDT", "charged, USDT")
    rows = [
        (
            v.name,
            f"{v.fills}",
            number(v.notional_usdt),
            number(to_bps(v.rate), 2),
            number(v.expected_usdt, MONEY_DIGITS),
            number(v.charged_usdt, MONEY_DIGITS),
        )
        for v in found.venues
    ]
    charged = sum(v.charged_usdt for v in found.venues)
    fills, notional = sum(v.fills for v in found.venues), sum(v.notional_usdt for v in found.venues)
    sums = number(found.expected_fees_usdt, MONEY_DIGITS), number(charged, MONEY_DIGITS)
    rows.append(("sum", f"{fills}", number(notional), "", *sums))
    return Table.of("Fees, venue by venue", columns, rows, _said(found.fees_agree, charged, found.booked_fees_usdt))


def _said(agrees: bool, here: float, booked: float) -> str:
    both = f"the sum here is {number(here, MONEY_DIGITS)} USDT, that of the attribution {number(booked, MONEY_DIGITS)}"
    return f"Checked: {both}." if agrees else f"DOES NOT AGREE: {both}; do not trust this report."


# --- wallets ---------------------------------------------------------------------------------------------------------

UNLIMITED = (
    "Wallets were not limited: every entry could be paid, and nothing was moved between the venues. Capital is a full "
    "position and the margin of its short. Give --spot-usdt and --perp-usdt to see what limited wallets go through."
)


def wallets_table(tape: Tape, result: Backtest) -> Table | Findings:
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
            f"{len(pairs)} of them; of it funding {number(kept, sign=True)}, the change in what the short is paid",
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
