"""Where a trader looks first: every entry and exit on the basis, with the thresholds; see `plots`."""

import numpy as np

from delta_arb.market import to_bps
from delta_arb.report import figures
from delta_arb.report.figures import Chart, Picture
from delta_arb.stats.basis import basis_of
from delta_arb.strategy.ledger import net_bps
from delta_arb.strategy.state import DIRECT, REVERSE
from delta_arb.tables import number, seconds

STRETCHES = 500
COLORS = {DIRECT: (figures.SPOT, figures.PERP), REVERSE: (figures.PERP, figures.SPOT)}  # of entry and exit
BUTTONS = {"type": "buttons", "direction": "right", "x": 0, "xanchor": "left", "y": -0.16, "yanchor": "top"}


def entries(sheet, inputs) -> Chart | Picture:
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
        "xaxis": {"type": "date", "title": {"text": f"time, UTC; lines: the best of each {seconds(lines[0]['dx'] / 1e3)}"}},
        "yaxis": {"title": {"text": "bps of the spot price; dashed: the thresholds"}},
        "yaxis2": {
            "title": {"text": "mid, USDT"}, "overlaying": "y", "side": "right", "showgrid": False, "visible": False
        },
    }  # fmt: skip
    return Chart(figures.marked(title, inputs), data, layout)


def _offered(seen) -> list[dict]:
    """The highest entry_edge and the lowest exit_cost of each stretch of time, while both books were fresh."""
    fresh = np.where(seen.fresh, 1.0, np.nan)
    return [
        _line(name, seen.ts_ns, column * fresh, color, highest)
        for name, column, color, highest in (
            ("entry_edge, highest", seen.entry_bps, figures.SPOT, True),
            ("exit_cost, lowest", seen.exit_bps, figures.PERP, False),
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
        {
            "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": side * level, "y1": side * level,
            "line": {"color": color, "width": 1.6, "dash": "dash"},
        }
        for side, at in levels.items()
        for level, color in zip(at, COLORS[side], strict=True)
    ]  # fmt: skip
