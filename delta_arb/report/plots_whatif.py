"""The figures of what could have been: assumptions moved, blocks dealt anew, other sizes. `plots` offers them all."""

import numpy as np

from delta_arb.report import figures
from delta_arb.report.figures import Chart, Picture
from delta_arb.tables import number, seconds, share


def tornado(found, inputs) -> Chart | Picture:
    """Net a day when one assumption is a fifth smaller or larger, the one that matters most on top."""
    title = "Net USDT a day when one assumption is 20 % smaller or larger"
    if found.empty_because:
        return figures.empty(title, found.empty_because, inputs)
    base = found.base.net_usdt_day
    names = [f"{bar.name}, {bar.face}" for bar in found.bars]
    data = []
    for step, color in ((found.steps[0], figures.SPOT), (found.steps[-1], figures.NOTE)):
        ends = [bar.outcomes[found.steps.index(step)] for bar in found.bars]
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": f"{100 * step:+.0f} %",
                "y": names,
                "base": base,
                "x": [0.0 if end is None else round(end.net_usdt_day - base, 6) for end in ends],
                "text": ["n/a" if end is None else f"{number(end.net_usdt_day, 3)} USDT/day" for end in ends],
                "textposition": "none",
                "hovertemplate": "%{y}: %{text}<extra>" + f"{100 * step:+.0f} %" + "</extra>",
                "marker": {"color": color, "opacity": 0.85},
            }
        )
    layout = {
        "height": 130 + 28 * len(names),
        "barmode": "overlay",
        "shapes": [_upright(base, figures.BASIS, "solid")],
        "xaxis": {"title": {"text": "net, USDT a day, whole recording; the line: nothing moved"}},
        "yaxis": {"autorange": "reversed", "title": {"text": "assumed"}, "showgrid": False},
    }
    return Chart(figures.marked(title, inputs), data, layout)


def montecarlo(found, inputs) -> Chart | Picture:
    """Net and largest drawdown of all paths; the solid line is what happened."""
    title = "Net and drawdown of blocks dealt anew"
    if isinstance(found, str):
        return figures.empty(title, found, inputs)
    as_it_was, worst = float(found.blocks.net.sum()), float(np.quantile(found.fall, 0.95))
    data = [
        _histogram(found.net, figures.SPOT, f"net; loss: {share(found.loss_share, 1)} of the paths", ""),
        _histogram(found.fall, figures.LOSS, f"drawdown; 95 % of the paths stay below {number(worst)} USDT", "2"),
    ]
    lines = [_upright(as_it_was, figures.BASIS, "solid"), _upright(worst, figures.BASIS, "dash", "2")]
    if found.net.min() < 0 < found.net.max():
        lines.append(_upright(0.0, figures.LOSS, "dash"))
    cut = f"{len(found.blocks)} blocks of {seconds(found.blocks.block_s)}"
    layout = {
        "height": 360,
        "bargap": 0.03,
        "shapes": lines,
        "xaxis": {
            "domain": [0, 0.47],
            "title": {"text": f"net after {found.days:.3g} days, USDT; the line: as it was"},
        },
        "xaxis2": {"domain": [0.53, 1], "anchor": "y2", "title": {"text": f"largest drawdown, USDT; {cut}"}},
        "yaxis": {"title": {"text": "share of the paths, %"}},
        "yaxis2": {"anchor": "x2"},
    }
    return Chart(figures.marked(title, inputs), data, layout)


def _histogram(values: np.ndarray, color: str, name: str, axis: str) -> dict:
    counts, edges = np.histogram(values, 40)
    middle = (edges[:-1] + edges[1:]) / 2
    return {
        "type": "bar",
        "name": name,
        "x": figures.packed(middle),
        "y": figures.packed(100 * counts / len(values)),
        "xaxis": f"x{axis}",
        "yaxis": f"y{axis}",
        "marker": {"color": color, "opacity": 0.75},
        "hovertemplate": "about %{x:.2f} USDT: %{y:.1f} % of the paths<extra></extra>",
    }


def _upright(at: float, color: str, dash: str, axis: str = "") -> dict:
    line = {"color": color, "width": 1.4, "dash": dash}
    return {"type": "line", "xref": f"x{axis}", "yref": "paper", "x0": at, "x1": at, "y0": 0, "y1": 1, "line": line}


def capacity(found, inputs) -> Chart | Picture:
    """Net a day and return against the size of a clip."""
    title = "Profit against the size of a clip"
    traded = [c for c in found.clips if c.trades_day]
    if not traded:
        return figures.empty(title, "no trade at any size", inputs)
    sizes = [c.clip_usdt for c in traded]
    text = [f"filled {number(c.filled_usdt)} USDT a trade, {share(c.filled_share)} of the clip" for c in traded]
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "x": sizes,
            "y": [round(y, 6) for y in values],
            "yaxis": axis,
            "text": text,
            "hovertemplate": "clip %{x:g} USDT: %{y:.2f} " + unit + "<br>%{text}<extra></extra>",
            "marker": {"size": 8},
            "line": {"color": color},
        }
        for name, values, axis, unit, color in (
            ("net (left)", [c.net_usdt_day for c in traded], "y", "USDT/day", figures.GAIN),
            ("return on the capital (right)", [100 * c.return_day for c in traded], "y2", "%/day", figures.SPOT),
        )
    ]
    marks = [_upright(found.base_usdt, figures.SOFT, "dot")]
    if found.shown_usdt:
        marks.append(_upright(found.shown_usdt, figures.NOTE, "dash"))
    layout = {
        "height": 380,
        "shapes": marks,
        "xaxis": {
            "type": "log",
            "tickvals": sizes,
            "ticktext": [f"{s:g}" for s in sizes],
            "title": {"text": "clip, USDT; dotted: asked for, dashed: what both best levels show (median)"},
        },
        "yaxis": {"title": {"text": "net, USDT a day"}, "rangemode": "tozero"},
        "yaxis2": {
            "title": {"text": "return a day, %"},
            "overlaying": "y",
            "side": "right",
            "rangemode": "tozero",
            "showgrid": False,
        },
    }
    return Chart(figures.marked(title, inputs), data, layout)
