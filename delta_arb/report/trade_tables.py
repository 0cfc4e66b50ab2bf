"""What was traded, in tables: where the money came from, the trades, why they ended, and the days."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from delta_arb.backtest.performance import slippage_bps
from delta_arb.market import to_bps, utc
from delta_arb.optimize.champion import NAMES
from delta_arb.report.tearsheet import SAYS, WHOLE, TearSheet
from delta_arb.strategy.ledger import Trade, attribution, net_bps
from delta_arb.strategy.state import REVERSE
from delta_arb.tables import NOTHING, Table, number, seconds, share

ROWS = 12  # trades shown in the text form of the table
MONEY_NOTE = (
    "USDT. Net is the sum of spot, perp, fees (paid, so negative), funding and residual, to the cent. Gross is net before "
    "fees and funding. Slippage is the fill price against the price decided on, positive when it cost; it is part of "
    "spot and perp, not added."
)
MONTHLY = 62  # days, above which months are shown


def money(sheet: TearSheet) -> Table:
    """Where the money came from, per part and for the whole; the parts of a column sum to its net."""
    if WHOLE in sheet.parts:
        return _money_of_one(sheet)
    columns = {**{SAYS[name]: part.result.trades for name, part in sheet.parts.items()}, "whole": sheet.trades}
    split = {name: attribution(trades) for name, trades in columns.items()}
    summed = {part: sum(split[name][part] for name in columns if name != "whole") for part in split["whole"]}
    rows = [
        (part, *(number(split[name][part], 4) for name in columns if name != "whole"), *(number(x, 4) for x in sums))
        for part, sums in ((part, (summed[part], split["whole"][part])) for part in summed)
    ]
    for name in ("fees_usdt", "funding_usdt"):
        shares = [_of_gross(trades, name) for trades in columns.values()]
        rows.append((f"{name.removesuffix('_usdt')}, share of gross", *shares[:-1], NOTHING, shares[-1]))
    slip = [number(slippage_bps(s.tape, s.result), 2) for s in (*sheet.parts.values(), sheet)]
    rows.append(("slippage inside the prices, bps per fill", *slip[:-1], NOTHING, slip[-1]))
    heads = ("", *(name for name in columns if name != "whole"), "parts, sum", "whole")
    return Table.of(
        "Where the money came from", heads, rows, f"{_adds_up(summed['net'], split['whole']['net'])} {MONEY_NOTE}"
    )


def _money_of_one(sheet: TearSheet) -> Table:
    """The same of a replay that is one part."""
    rows = [(part, number(usdt, 4)) for part, usdt in attribution(sheet.trades).items()]
    shares = ((name, _of_gross(sheet.trades, f"{name}_usdt")) for name in ("fees", "funding"))
    rows += [(f"{name}, share of gross", of_gross) for name, of_gross in shares]
    slip = number(slippage_bps(sheet.tape, sheet.result), 2)
    rows.append(("slippage inside the prices, bps per fill", slip))
    return Table.of("Where the money came from", ("", "whole"), rows, MONEY_NOTE)


def _adds_up(parts: float, whole: float) -> str:
    """Whether the parts sum to the whole; they need not, and why."""
    if abs(parts - whole) < 0.005:
        return "The parts sum to the whole."
    return (
        f"The parts sum to {number(parts, 4)}, the whole is {number(whole, 4)}: each part starts flat and is closed at its "
        "end, so a pair that is open over a boundary is cut in two, or another one is entered."
    )


def _of_gross(trades: tuple[Trade, ...], name: str) -> str:
    fees, paid = sum(t.fees_usdt for t in trades), sum(t.funding_usdt for t in trades)
    gross = sum(t.net_usdt for t in trades) + fees - paid
    return share({"fees_usdt": fees, "funding_usdt": paid}[name] / gross) if gross > 0 else NOTHING


def trades(sheet: TearSheet, run_folder: str = "") -> Table:
    """Every trade, newest last; their fields as they are, in trades.csv and trades.parquet of the run's folder if any."""
    if run_folder:
        save_trades(sheet, run_folder)
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
    shown = sheet.trades
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
        f"{len(shown)} trades of the whole replay; the text form of this table shows the last {ROWS}."
        if sheet.trades
        else f"Nothing to show: {sheet.empty_because}."
    )
    return Table.of("Trades", columns, rows, note, last=ROWS)


def _edges(t: Trade) -> tuple[str, str]:
    """Relative distance of the legs' prices at opening and at closing, bps."""
    return number(to_bps(t.perp_in / t.spot_in - 1) if t.spot_in else None, 1), number(
        to_bps(t.perp_out / t.spot_out - 1) if t.spot_out else None, 1
    )


def endings(sheet: TearSheet) -> Table:
    """Why pairs ended, and what each kind earned."""
    rows = []
    for reason, count in Counter(t.reason for t in sheet.trades).most_common():
        ended = [t for t in sheet.trades if t.reason == reason]
        nets = [t.net_usdt for t in ended]
        hold, money = float(np.median([t.held_s for t in ended])), (sum(nets), float(np.mean(nets)))
        cells = f"{count}", share(count / len(sheet.trades)), seconds(hold), *(number(usdt, 4) for usdt in money)
        rows.append((reason, *cells))
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
    """Change of the marked equity per UTC day (of more than two months per month), by part of the money; with its sum."""
    table, kind = sheet.curve.daily(), "day"
    if len(table) > MONTHLY:
        table, kind = table.resample("MS").sum(), "month"
    form = {"day": "%Y-%m-%d", "month": "%Y-%m"}[kind]
    rows = [
        (f"{at:{form}}", *(number(float(v), 4) for v in values))
        for at, values in zip(table.index, table.to_numpy(), strict=True)
    ]
    rows.append(("sum", *(number(float(v), 4) for v in table.sum())))
    note = f"Marked at the exit side of both legs at the end of each {kind}."
    return Table.of(f"Marked equity by {kind}, USDT", (f"{kind}, UTC", *table.columns), rows, note)


def hours(sheet: TearSheet) -> Table:
    """Trades and money by the UTC hour in which they were opened; they sum to the whole."""
    of_hour: dict[int, list[Trade]] = {}
    for t in sheet.trades:
        of_hour.setdefault(int(utc(t.opened_ns)[11:13]), []).append(t)
    rows = [(f"{hour:02d} h", *_sums(opened)) for hour, opened in sorted(of_hour.items())]
    rows = [*rows, ("sum", *_sums(sheet.trades))] if rows else [("no trade", *[NOTHING] * 4)]
    return Table.of("By hour of opening, UTC", ("opened", "trades", "target hit rate", "net USDT", "net, bps"), rows)


def _sums(of: Sequence[Trade]) -> tuple[str, ...]:
    hits = sum(t.reason == "target" for t in of) / len(of)
    return f"{len(of)}", share(hits), number(sum(t.net_usdt for t in of), 4), number(net_bps(of), 1)


def save_trades(sheet: TearSheet, run_folder: str) -> None:
    """Every trade, with its fields as they are, as trades.csv and trades.parquet in the run's folder."""
    import pandas as pd

    table = pd.DataFrame([asdict(t) for t in sheet.trades], columns=[field.name for field in fields(Trade)])
    for name in ("opened_ns", "closed_ns"):
        table[name.replace("_ns", "_utc")] = pd.to_datetime(table[name], utc=True)
    table.to_csv(Path(run_folder) / "trades.csv", index=False)
    table.to_parquet(Path(run_folder) / "trades.parquet")
