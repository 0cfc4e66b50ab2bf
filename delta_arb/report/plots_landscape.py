"""The heat map with sliders, which works in a page without a kernel. `plots` offers it.

A slider of plotly's knows nothing of the others, so each one rules attributes of its own. Every longest hold and
latency has a map and a break-even line: the slider of the hold makes them visible; that of the latency moves the other
maps far out of the fixed axes and makes their lines transparent; that of the fees gives all of them the numbers of its
level.
"""

from collections.abc import Iterator

import numpy as np

from delta_arb.report import figures
from delta_arb.report.figures import Chart, Picture
from delta_arb.report.landscape import Landscape, chosen_hold
from delta_arb.report.plots_choice import place

AWAY = 1000  # cells from the first one
SLIDER = 75  # points of height
LINE = {"color": figures.BASIS, "width": 2.5}
NAMES = ("longest hold", "orders arrive after", "four fees")


def landscape(found: Landscape, choice, inputs) -> Chart | Picture:
    """Net a day over entry and exit, with sliders over longest hold, latency and fees; the choice is marked."""
    title = "Every set at other holds, latencies and fees, fit part"
    if not found.traded:
        return figures.empty(title, "no set made a trade on the fit part", inputs)
    maps = list(np.ndindex(len(found.holds_s), len(found.latencies)))
    start = chosen_hold(found, choice), found.latencies.index(1.0)
    fee = found.fee_factors.index(1.0)
    data = [trace for at in maps for trace in (_map(found, at, start, fee), _break_even(found, at, start, fee))]
    sliders = [
        _slider(NAMES[0], start[0], [_hold_step(found, maps, hold) for hold in range(len(found.holds_s))]),
        _slider(NAMES[1], start[1], [_latency_step(found, maps, late) for late in range(len(found.latencies))]),
        _slider(NAMES[2], fee, [_fee_step(found, maps, level) for level in range(len(found.fee_factors))]),
    ]
    sliders = [slider for slider in sliders if len(slider["steps"]) > 1]
    bound = _bound(found)
    layout = {
        "height": 560 + SLIDER * len(sliders),
        "margin": {"l": 70, "r": 30, "t": 100, "b": 85 + SLIDER * len(sliders)},
        "coloraxis": {
            "cmin": -bound,
            "cmax": bound,
            "colorscale": [[k / 10, color] for k, color in enumerate(figures.DIVERGING)],
            "colorbar": {"title": {"text": "net,<br>USDT/day", "font": {"size": 13}}, "thickness": 14},
        },
        "xaxis": _axis("exit threshold, bps", found.exits),
        "yaxis": _axis("entry threshold, bps", found.entries),
        "sliders": [{**slider, "pad": {"t": 55 + SLIDER * row, "b": 0}} for row, slider in enumerate(sliders)],
    }
    return Chart(figures.marked(title, inputs), [*data, *_marks(found, choice)], layout)


def _bound(found: Landscape) -> float:
    """The end of the colours: the most that is earned; the most that is lost where nothing earns at any level."""
    most = float(np.nanmax(found.net))
    if most <= 0:
        most = max(float(np.nanmax(found.net_at(*at, 0))) for at in np.ndindex(found.net.shape[:2]))
    return most if most > 0 else max(float(np.nanmax(-found.net)), 1e-9)


def _axis(name: str, levels: np.ndarray) -> dict:
    """Cells of equal size, named by their levels; fixed, so that what is away stays out of sight."""
    return {
        "title": {"text": name},
        "range": [-0.5, len(levels) - 0.5],
        "fixedrange": True,
        "showgrid": False,
        "tickvals": list(range(len(levels))),
        "ticktext": [f"{level:g}" for level in levels],
    }


def _map(found: Landscape, at: tuple[int, int], start: tuple[int, int], fee: int) -> dict:
    counts = np.nan_to_num(np.stack((found.trades[at], found.hits[at]), axis=-1))
    hold, latency, _ = found.spoken(*at, fee)
    return {
        "type": "heatmap",
        "visible": at[0] == start[0],
        "x0": _offset(at[1] == start[1]),
        "z": figures.packed(found.net_at(*at, fee)),
        "customdata": figures.packed(counts, "u4" if counts.max() > 65_535 else "u2"),
        "coloraxis": "coloraxis",
        "hoverongaps": False,
        "hovertemplate": "entry %{y} bps, exit %{x} bps<br>net %{z:.2f} USDT/day<br>%{customdata[0]} trades, "
        f"%{{customdata[1]}} ended at the exit<br>hold {hold}, orders after {latency}<extra></extra>",
        "xgap": 1,
        "ygap": 1,
    }


def _offset(in_sight: bool) -> int:
    return 0 if in_sight else AWAY


def _break_even(found: Landscape, at: tuple[int, int], start: tuple[int, int], fee: int) -> dict:
    x, y = _line(found.net_at(*at, fee))
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "break-even",
        "visible": at[0] == start[0],
        "opacity": int(at[1] == start[1]),
        "line": LINE,
        "x": x,
        "y": y,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _line(net: np.ndarray) -> tuple[dict, dict]:
    """`edges` as plotly's columns."""
    x, y = np.array(list(edges(net)), float).reshape(-1, 2).T
    return figures.packed(x), figures.packed(y)


def edges(net: np.ndarray) -> Iterator[tuple[float, float]]:
    """Edges between a cell that earns and a neighbour that does not, as (x, y) in cells; NaN ends each of them."""
    known, earns = np.isfinite(net), net > 0
    side_by_side = known[:, :-1] & known[:, 1:] & (earns[:, :-1] != earns[:, 1:])
    for row, column in np.argwhere(side_by_side).tolist():
        yield from ((column + 0.5, row - 0.5), (column + 0.5, row + 0.5), (np.nan, np.nan))
    one_above_the_other = known[:-1] & known[1:] & (earns[:-1] != earns[1:])
    for row, column in np.argwhere(one_above_the_other).tolist():
        yield from ((column - 0.5, row + 0.5), (column + 0.5, row + 0.5), (np.nan, np.nan))


def _slider(name: str, active: int, steps: list[dict]) -> dict:
    return {"active": active, "steps": steps, "currentvalue": {"prefix": f"{name}: ", "xanchor": "left"}, "len": 0.92}


def _step(label: str, maps: list[tuple[int, int]], **changes: list) -> dict:
    """One value per map and per line, in turn."""
    return {"method": "restyle", "label": label, "args": [changes, list(range(2 * len(maps)))]}


def _hold_step(found: Landscape, maps: list[tuple[int, int]], hold: int) -> dict:
    return _step(found.spoken(hold, 0, 0)[0], maps, visible=[at[0] == hold for at in maps for _ in (0, 1)])


def _latency_step(found: Landscape, maps: list[tuple[int, int]], late: int) -> dict:
    here = [at[1] == late for at in maps]
    moved = [x0 for is_ in here for x0 in (_offset(is_), 0)]
    return _step(found.spoken(0, late, 0)[1], maps, x0=moved, opacity=[o for is_ in here for o in (1, int(is_))])


def _fee_step(found: Landscape, maps: list[tuple[int, int]], fee: int) -> dict:
    nets = [found.net_at(*at, fee) for at in maps]
    lines = [_line(net) for net in nets]
    z = [column for net in nets for column in (figures.packed(net), None)]
    x, y = ([column for line in lines for column in (None, line[k])] for k in (0, 1))
    return _step(found.spoken(0, 0, fee)[2], maps, z=z, x=x, y=y)


def _marks(found: Landscape, choice) -> list[dict]:
    """The proposal and its two witnesses, where there are any; the break-even line in the legend."""
    proposal = choice.proposal
    said = {"x": [None], "y": [None], "line": LINE, "name": "break-even"}
    marks = [{"type": "scatter", "mode": "lines", **said}]
    if proposal is None:
        return marks
    for name, at, symbol, color in (
        ("best of the grid", proposal.peak, "circle-open", figures.BASIS),
        ("plug-in", proposal.plug_in, "x", figures.NOTE),
        ("proposed", proposal.thresholds, "diamond-open", figures.PERP),
    ):
        if at is not None:
            marks.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    **{axis: [cell] for axis, cell in place(found, at).items()},
                    "marker": {"symbol": symbol, "size": 16, "color": color, "line": {"width": 3, "color": color}},
                    "hovertemplate": f"{name}: entry {at.entry_bps:g} bps, exit {at.exit_bps:g} bps<extra></extra>",
                }
            )
    return marks
