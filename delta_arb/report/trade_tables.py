"""What was traded, in tables and figures: where the money came from, the trades, why they ended, the days, both books around them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from delta_arb.backtest.performance import slippage_bps
from delta_arb.market import LEGS, NS, to_bps, utc
from delta_arb.optimize.champion import NAMES
from delta_arb.report import figures
from delta_arb.report.figures import Chart
from delta_arb.report.tearsheet import SAYS, WHOLE, TearSheet
from delta_arb.stats.basis import basis_of
from delta_arb.strategy.ledger import Trade, attribution, net_bps
from delta_arb.strategy.state import DIRECT, REVERSE
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
    parts = {} if WHOLE in sheet.parts else {SAYS[name]: part for name, part in sheet.parts.items()}
    traded = [*(part.result.trades for part in parts.values()), sheet.trades]
    *split, whole = (attribution(trades) for trades in traded)
    summed = {part: sum(each[part] for each in split) for part in whole}

    def row(name: str, texts: Sequence[str], of_all: str = NOTHING) -> tuple[str, ...]:
        return (name, *texts[:-1], *[of_all] * bool(parts), texts[-1])

    rows = [row(part, [number(each[part], 4) for each in (*split, whole)], number(summed[part], 4)) for part in whole]
    rows += [
        row(f"{name}, share of gross", [_of_gross(trades, f"{name}_usdt") for trades in traded])
        for name in ("fees", "funding")
    ]
    slipped = [number(slippage_bps(s.tape, s.result), 2) for s in (*parts.values(), sheet)]
    rows.append(row("slippage inside the prices, bps per fill", slipped))
    heads = ("", *parts, *["parts, sum"] * bool(parts), "whole")
    note = f"{_adds_up(summed['net'], whole['net'])} {MONEY_NOTE}" if parts else MONEY_NOTE
    return Table.of("Where the money came from", heads, rows, note)


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


STRETCHES = 500
COLORS = {DIRECT: (figures.SPOT, figures.PERP), REVERSE: (figures.PERP, figures.SPOT)}  # of entry and exit
MINUTES, FEW = 200, 4  # trades whose minutes a run's page holds, 3 KB each, and a notebook by itself: the newest
HALF_S = 30.0  # of a minute, before and after; of candles five bars if that is more
STEP_S, NEAR_S = 0.25, 2.0  # one book per step, and every change this near to the trade
BUTTONS = {"type": "buttons", "direction": "right", "x": 0, "xanchor": "left", "y": -0.16, "yanchor": "top"}


def entries(sheet, inputs) -> Chart | Table:
    """Entry_edge and exit_cost with the thresholds, each trade's opening and closing; prices of both legs by a button."""
    title = "Entries and exits on the basis"
    if sheet.empty_because:
        return figures.empty(title, sheet.empty_because, inputs)
    seen = basis_of(sheet.tape, sheet.market.fees_bps, sheet.market.settings.max_quote_age_s)
    lines = [*_offered(seen), *_prices(sheet.tape)]
    data = [*lines, *_trades(sheet)]
    basis_only, with_prices = ([True] * 2 + [shown] * 2 + [True] * (len(data) - 4) for shown in (False, True))
    buttons = [
        {"method": "update", "label": label, "args": [{"visible": visible}, {"yaxis2.visible": visible[2]}]}
        for label, visible in (("basis", basis_only), ("basis and prices", with_prices))
    ]
    layout = {
        "height": 520,
        "hovermode": "closest",
        "shapes": _thresholds(sheet.thresholds),
        "updatemenus": [{**BUTTONS, "buttons": buttons}],
        "xaxis": figures.axis(f"time, UTC; lines: the best of each {seconds(lines[0]['dx'] / 1e3)}", type="date"),
        "yaxis": figures.axis("bps of the spot price; dashed: the thresholds"),
        "yaxis2": figures.axis("mid, USDT", overlaying="y", side="right", showgrid=False, visible=False),
    }
    return Chart(figures.marked(title, inputs), data, layout)


def _offered(seen) -> list[dict]:
    """The highest entry_edge and the lowest exit_cost of each stretch of time, while both books were fresh."""
    fresh = np.where(seen.fresh, 1.0, np.nan)
    return [
        _line(name, seen.ts_ns, column * fresh, color, highest)
        for name, column, color, highest in (
            ("entry edge, highest", seen.entry_bps, figures.SPOT, True),
            ("exit cost, lowest", seen.exit_bps, figures.PERP, False),
        )
    ]


def _prices(tape) -> list[dict]:
    looks = tape.looks()
    mids = (("spot mid", looks.spot_bid + looks.spot_ask), ("perpetual mid", looks.perp_bid + looks.perp_ask))
    return [
        {**_line(name, looks.ts_ns, both / 2, color, True), "yaxis": "y2", "visible": False}
        for (name, both), color in zip(mids, (figures.SOFT, figures.BASIS), strict=True)
    ]


def _line(name: str, ts_ns: np.ndarray, values: np.ndarray, color: str, highest: bool) -> dict:
    start, step_ms, shown = figures.best(ts_ns, values, highest, STRETCHES)
    return {
        "type": "scatter", "mode": "lines", "name": name, "x0": str(figures.when(start).astype("datetime64[ms]")),
        "dx": step_ms, "y": figures.packed(shown), "line": {"color": color, "width": 1}, "opacity": 0.55, "hoverinfo": "skip",
    }  # fmt: skip


def _trades(sheet) -> list[dict]:
    """Openings as triangles, closings as crosses, at the prices of their fills; of unwound entries only what filled."""
    shown = [t for t in sheet.trades if np.isfinite(t.spot_in) and np.isfinite(t.perp_in)]
    kinds = (
        ("opened", "triangle-up", figures.SPOT, [(t.opened_ns, t.perp_in / t.spot_in, t) for t in shown]),
        (
            "closed",
            "x",
            figures.LOSS,
            [(t.closed_ns, t.perp_out / t.spot_out, t) for t in shown if np.isfinite(t.spot_out)],
        ),
    )
    return [
        {
            "type": "scatter", "mode": "markers", "name": name,
            "x": [str(figures.when(at_ns).astype("datetime64[ms]")) for at_ns, _, _ in points],
            "y": [round(float(to_bps(ratio - 1.0)), 2) for _, ratio, _ in points],
            "text": [_hover(t) for _, _, t in points], "hovertemplate": "%{x}<br>%{y:.1f} bps<br>%{text}<extra></extra>",
            "marker": {"symbol": symbol, "size": 10, "color": color, "line": {"width": 1, "color": "white"}},
        }
        for name, symbol, color, points in kinds
    ]  # fmt: skip


def _hover(t) -> str:
    return f"net {number(t.net_usdt, 4)} USDT, {number(net_bps([t]), 1)} bps; held {seconds(t.held_s)}, {t.reason}"


def _thresholds(thresholds) -> list[dict]:
    """Of the reverse pair the edge is minus exit_cost and the cost minus entry_edge."""
    levels = {side: at for side in (DIRECT, REVERSE) if (at := thresholds.levels(side))}
    return [
        figures.level(side * level, color, 1.6, dash="dash")
        for side, at in levels.items()
        for level, color in zip(at, COLORS[side], strict=True)
    ]


def minutes(sheet, inputs, run_folder: str = "") -> Chart | Table:
    """Both books a minute around the opening and the closing of one trade, with its fills; a list picks the trade.

    Of a run (`run_folder`) the newest `MINUTES` trades, else a `FEW`.
    """
    title = "Both books around a trade"
    if sheet.empty_because:
        return figures.empty(title, sheet.empty_because, inputs)
    shown = sheet.trades[: -(MINUTES if run_folder else FEW) - 1 : -1]
    lines = {t: _minute(sheet, t) for t in shown}
    heads = {t: f"{figures.marked(title, inputs)}: {utc(t.opened_ns)[:19]}, {_hover(t)}" for t in shown}
    buttons = [
        {"method": "update", "label": utc(t.opened_ns)[:19], "args": [
            {axis: [line[axis] for line in lines[t]] for axis in "xy"}, {"title.text": figures.headline(heads[t])}
        ]}
        for t in shown
    ]  # fmt: skip
    layout = {
        "height": 460,
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": -0.16, "yanchor": "top"},
        "title": {"text": figures.headline(heads[shown[0]])},
        "updatemenus": [{**BUTTONS, "type": "dropdown", "direction": "up", "showactive": True, "buttons": buttons}],
        "xaxis": figures.axis("seconds from the opening", domain=[0, 0.46]),
        "xaxis2": figures.axis("seconds from the closing", domain=[0.54, 1], anchor="y2"),
        "yaxis": figures.axis("USDT", tickformat="~g"),
        "yaxis2": {"anchor": "x2", "tickformat": "~g"},
    }
    return Chart(figures.marked(title, inputs), lines[shown[0]], layout)


def _minute(sheet, trade) -> list[dict]:
    """Bid and ask of both legs and the trade's fills, first around its opening, then around its closing."""
    lines = []
    for at_ns, axis in ((trade.opened_ns, ""), (trade.closed_ns, "2")):
        place = {"type": "scatter", "xaxis": f"x{axis}", "yaxis": f"y{axis}", "showlegend": not axis}
        for leg, (name, color) in enumerate(zip(LEGS, (figures.SPOT, figures.PERP), strict=True)):
            at_s, *touch = books(sheet.tape, name, at_ns)
            lines += [
                {**place, "mode": "lines", "name": f"{name} {side}", "x": figures.packed(at_s), "y": figures.packed(prices),
                 "legendgroup": f"{name} {side}", "line": {"shape": "hv", "color": color, "width": 1.4, "dash": dash}}
                for side, prices, dash in zip(("bid", "ask"), touch, ("solid", "dot"), strict=True)
            ]  # fmt: skip
            fills = [f for f in sheet.result.fills if f.pair == trade.pair and f.leg == leg]
            near = [f for f in fills if abs(f.ts_ns - at_ns) <= _half_ns(sheet.tape)]
            lines.append(
                {**place, "mode": "markers", "name": f"{name} fill", "legendgroup": f"{name} fill",
                 "x": [(f.ts_ns - at_ns) / NS for f in near], "y": [f.price for f in near],
                 "marker": {"symbol": "diamond", "size": 10, "color": color, "line": {"width": 1, "color": "white"}}}
            )  # fmt: skip
    return lines


def _half_ns(tape) -> int:
    return round(max(HALF_S, 5 * tape.bar_s) * NS)


def books(tape, leg: str, at_ns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seconds from `at_ns`, best bid and best ask of one leg, USDT, as they were known; NaN while the book was withdrawn."""
    half_ns = _half_ns(tape)
    start = max(0, np.searchsorted(tape.ts_ns, at_ns - half_ns, "right") - 1)  # the book that stood then
    seen = tape.take(slice(start, np.searchsorted(tape.ts_ns, at_ns + half_ns, "right")))
    bid, ask, bid_qty, ask_qty = (getattr(seen, f"{leg}_{name}") for name in ("bid", "ask", "bid_qty", "ask_qty"))
    there = np.where(bid_qty + ask_qty > 0, 1.0, np.nan)
    at_s = np.maximum(seen.ts_ns - at_ns, -half_ns) / NS
    prices = np.stack((bid * there, ask * there))
    changed = np.append(True, (np.nan_to_num(np.diff(prices)) != 0).any(axis=0) | (np.diff(np.isnan(there)) != 0))
    rows = np.flatnonzero(changed)
    last_of_step = np.append(np.diff(np.floor(at_s[rows] / STEP_S)) != 0, True)
    rows = rows[last_of_step | (np.abs(at_s[rows]) <= NEAR_S)]
    return np.append(at_s[rows], half_ns / NS), *(np.append(side[rows], side[-1]) for side in prices)
