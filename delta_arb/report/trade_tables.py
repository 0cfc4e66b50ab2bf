"""What was traded, in tables: where the money came from, the trades, why they ended, and the days."""

from collections import Counter

import numpy as np

from delta_arb.backtest.performance import slippage_bps
from delta_arb.market import to_bps, utc
from delta_arb.optimize.champion import NAMES
from delta_arb.report.tearsheet import SAYS, TearSheet
from delta_arb.strategy.ledger import Trade, attribution, net_bps
from delta_arb.strategy.state import REVERSE
from delta_arb.tables import NOTHING, Table, number, seconds, share

ROWS = 12  # trades shown in the table


def money(sheet: TearSheet) -> Table:
    """Where the money came from, per part and for the whole; the parts of a column sum to its net."""
    columns = {**{SAYS[name]: part.result.trades for name, part in sheet.parts.items()}, "whole": sheet.trades}
    split = {name: attribution(trades) for name, trades in columns.items()}
    rows = [(part, *(number(split[name][part], 4) for name in columns)) for part in next(iter(split.values()))]
    shares = [
        ("fees, share of gross", [_of_gross(t, "fees_usdt") for t in columns.values()]),
        ("funding, share of gross", [_of_gross(t, "funding_usdt") for t in columns.values()]),
    ]
    rows += [(name, *values) for name, values in shares]
    replays = {**{SAYS[name]: part for name, part in sheet.parts.items()}, "whole": sheet}
    slip = (slippage_bps(each.tape, each.result) for each in replays.values())
    rows.append(("slippage inside the prices, bps per fill", *(number(s, 2) for s in slip)))
    note = (
        "USDT. Net = spot + perp - fees + funding + residual, to the cent. Gross is net before fees and funding. "
        "Slippage is the fill price against the price decided on, positive when it cost; it is part of "
        "spot and perp, not added."
    )
    return Table.of("Where the money came from", ("", *columns), rows, note)


def _of_gross(trades: tuple[Trade, ...], name: str) -> str:
    fees, paid = sum(t.fees_usdt for t in trades), sum(t.funding_usdt for t in trades)
    gross = sum(t.net_usdt for t in trades) + fees - paid
    return share({"fees_usdt": fees, "funding_usdt": paid}[name] / gross) if gross > 0 else NOTHING


def trades(sheet: TearSheet) -> Table:
    """The latest trades, newest last."""
    columns = (
        "opened, UTC",
        "part",
        "held",
        "end",
        "USDT",
        "in, bps",
        "out, bps",
        "fees",
        "funding",
        "net",
        "net, bps",
    )
    shown = sheet.trades[-ROWS:]
    rows = [
        (
            utc(t.opened_ns)[:19], sheet.part_of(t), seconds(t.held_s), t.reason, number(t.notional_usdt), *_edges(t),
            *(number(usdt, 4) for usdt in (t.fees_usdt, t.funding_usdt, t.net_usdt)), number(net_bps([t]), 1),
        )
        for t in shown
    ]  # fmt: skip
    if any(t.side == REVERSE for t in sheet.trades):
        columns = (*columns[:2], "direction", *columns[2:])
        rows = [(*row[:2], NAMES[t.side], *row[2:]) for row, t in zip(rows, shown, strict=True)]
    rows = rows or [("no trade", *[NOTHING] * (len(columns) - 1))]
    note = (
        f"The last {len(shown)} of {len(sheet.trades)} trades of the whole replay."
        if sheet.trades
        else f"Nothing to show: {sheet.empty_because}."
    )
    return Table.of("Trades", columns, rows, note)


def _edges(t: Trade) -> tuple[str, str]:
    """Relative distance of the legs' prices at opening and at closing, bps."""
    return number(to_bps(t.perp_in / t.spot_in - 1) if t.spot_in else None, 1), number(
        to_bps(t.perp_out / t.spot_out - 1) if t.spot_out else None, 1
    )


def endings(sheet: TearSheet) -> Table:
    """Why pairs ended, and what each kind earned."""
    counted = Counter(t.reason for t in sheet.trades)
    rows = []
    for reason, count in counted.most_common():
        ended = [t for t in sheet.trades if t.reason == reason]
        nets = [t.net_usdt for t in ended]
        hold = float(np.median([t.held_s for t in ended]))
        rows.append(
            (
                reason,
                f"{count}",
                share(count / len(sheet.trades)),
                seconds(hold),
                number(sum(nets), 4),
                number(float(np.mean(nets)), 4),
            )
        )
    rows = rows or [("no trade", *[NOTHING] * 5)]
    note = f"{sheet.result.missed} entries filled on neither leg." + (
        " The machine halted." if sheet.result.halted else ""
    )
    return Table.of(
        "How pairs ended, whole replay",
        ("end", "trades", "share", "median hold", "net USDT", "net per trade"),
        rows,
        note,
    )


def days(sheet: TearSheet) -> Table:
    """Change of the marked equity per UTC day, by part of the money."""
    table = sheet.curve.daily()
    rows = [
        (f"{day:%Y-%m-%d}", *(number(float(v), 4) for v in values))
        for day, values in zip(table.index, table.to_numpy(), strict=True)
    ]
    return Table.of(
        "Marked equity by day, USDT",
        ("day, UTC", *table.columns),
        rows[-ROWS:],
        "Marked at the exit side of both legs at the end of each day.",
    )
