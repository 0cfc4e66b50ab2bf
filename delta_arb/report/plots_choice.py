"""The figures of the choice: what a round trip costs, and what each set of thresholds earned; see `plots`.

The map with sliders works in a page without a kernel. A slider of plotly's knows nothing of the others, so each one rules
attributes of its own. Every longest hold and latency has a map and a break-even line: the slider of the hold makes them
visible; that of the latency moves the other maps far out of the fixed axes and makes their lines transparent; that of
the fees gives all of them the numbers of its level.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from delta_arb.report import figures
from delta_arb.report.figures import Chart, Picture
from delta_arb.tables import Table, seconds

if TYPE_CHECKING:
    from delta_arb.report.sensitivity import Surface

TICKS = 16  # thresholds named on an axis


def costs(stack, inputs) -> Picture | Table:
    """The costs of a round trip on top of each other, and how far the basis swings beneath them."""
    title = "What a round trip costs, and what the basis offers"
    if stack.total_bps is None or stack.swing_bps is None:
        return figures.empty(title, "no event has fresh books on both legs", inputs)
    with figures.picture(title, inputs, 2.3) as (figure, (ax,)):
        left = 0.0
        for (name, value), color in zip(
            stack.parts.items(), (figures.SPOT, figures.PERP, "#7FB8DA", "#EBAE85"), strict=True
        ):
            ax.barh("costs", value, left=left, color=color, label=f"{name} {value:.1f}", edgecolor="white")
            left += value
        ax.barh(
            "swing of\nthe basis",
            stack.swing_bps,
            color=figures.GAIN,
            alpha=0.75,
            edgecolor="white",
            label=f"5th to 95th percentile {stack.swing_bps:.1f}",
        )
        ax.text(left, 0, f" {left:.1f} bps", va="center")
        ax.text(stack.swing_bps, 1, f" {stack.swing_bps:.1f} bps", va="center")
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        ax.set_xlim(0, 1.12 * max(left, stack.swing_bps))
        ax.set_xlabel("bps of notional")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=5, fontsize=8)
    return Picture(figures.marked(title, inputs), figure)


def heat(choice, inputs) -> Picture | Table:
    """Net a day over entry and exit at the chosen longest hold, with the choice and its neighbourhood."""
    from matplotlib.patches import Rectangle

    from delta_arb.report.sensitivity import NEAR, cells, untraded

    title, grid = "Net USDT a day on the fit part", cells(choice)
    if grid is None or untraded(choice):
        return figures.empty(title, untraded(choice) or choice.reason, inputs)
    with figures.picture(title, inputs, 4.6) as (figure, (ax,)):
        _cells(figure, ax, grid.exits, grid.entries, grid.net)
        ax.set_title(
            f"longest hold {seconds(grid.max_hold_s)}; hatched: gain below the fees, not tried{_elsewhere(choice, grid)}",
            fontsize=9,
            fontweight="normal",
        )
        if choice.proposal is not None:
            peak, best = choice.proposal.peak, choice.best
            here = best.max_hold_s == grid.max_hold_s
            column, row = grid.exits.tolist().index(peak.exit_bps), grid.entries.tolist().index(peak.entry_bps)
            corner = column - NEAR - 0.5, row - NEAR - 0.5
            ax.add_patch(Rectangle(corner, 2 * NEAR + 1, 2 * NEAR + 1, fill=False, ec=figures.BASIS, lw=1.6, ls="--"))
            ax.plot(
                column, row, marker="o", ms=9, mfc="white", mec=figures.BASIS, mew=1.8, ls="", label="best of the grid"
            )
            if here:  # a mark belongs to the map of its own hold
                ax.plot(
                    *place(grid, best).values(),
                    marker="D",
                    ms=8,
                    mfc=figures.PERP,
                    mec="white",
                    mew=1.2,
                    ls="",
                    label="proposed: plug-in and grid",
                )
            ax.legend(
                loc="lower right", bbox_to_anchor=(1.0, 0.09), fontsize=8.5, framealpha=0.9
            )  # above the watermark
        ax.set_xlim(-0.5, len(grid.exits) - 0.5)
        ax.set_ylim(-0.5, len(grid.entries) - 0.5)
    return Picture(figures.marked(title, inputs), figure)


def _cells(figure, ax, exits: np.ndarray, entries: np.ndarray, net: np.ndarray) -> None:
    """The map itself: a cell of each pair of thresholds, with its axes and its colours' scale."""
    bound = max(float(np.nanmax(np.abs(net))), 1e-9)
    image = ax.pcolormesh(
        np.arange(len(exits) + 1) - 0.5, np.arange(len(entries) + 1) - 0.5, net, cmap="RdBu", vmin=-bound, vmax=bound
    )
    ax.patch.set(facecolor="white", edgecolor="#c3cbd4", hatch="////")
    ax.grid(visible=False)
    bar = figure.colorbar(image, ax=ax, label="net, USDT a day", pad=0.015)
    bar.ax.set_ylim(min(0.0, float(np.nanmin(net))), max(0.0, float(np.nanmax(net))) or bound)
    for set_ticks, levels in ((ax.set_xticks, exits), (ax.set_yticks, entries)):
        shown = np.arange(len(levels))[:: -(-len(levels) // TICKS)]
        set_ticks(shown, [f"{round(float(level), 1):g}" for level in levels[shown]])
    ax.set_xlabel("exit threshold, bps: leave when the exit cost is at or below")
    ax.set_ylabel("entry threshold, bps")


def net_map(frame, inputs) -> Picture | Table:
    """Net a day over entry and exit of a sweep's frame, at the longest hold that earns most."""
    title = "Net USDT a day"
    if not len(frame):
        return figures.empty(title, "no exit lies below an entry", inputs)
    hold = frame.loc[frame["net_usdt_day"].idxmax(), "max_hold_s"]
    net = frame[frame["max_hold_s"] == hold].pivot(index="entry_bps", columns="exit_bps", values="net_usdt_day")
    with figures.picture(title, inputs, 4.6) as (figure, (ax,)):
        _cells(figure, ax, net.columns.to_numpy(), net.index.to_numpy(), net.to_numpy())
        ax.set_title(f"longest hold {seconds(hold)}; hatched: not tried", fontsize=9, fontweight="normal")
    return Picture(figures.marked(title, inputs), figure)


def _elsewhere(choice, grid) -> str:
    """Where the proposal is, when its hold is not that of the map."""
    best = choice.best if choice.proposal else None
    if best is None or best.max_hold_s == grid.max_hold_s:
        return ""
    return f"; the proposal holds {seconds(best.max_hold_s)} and stands on the map with sliders"


def place(grid, at) -> dict[str, float]:
    """Where thresholds lie between the cells, in numbers of cells from the first."""
    levels = {"x": (at.exit_bps, grid.exits), "y": (at.entry_bps, grid.entries)}
    return {axis: float(np.interp(level, cells, np.arange(len(cells)))) for axis, (level, cells) in levels.items()}


# --- the map with sliders --------------------------------------------------------------------------------------------

AWAY = 1000  # cells from the first one
SLIDER = 75  # points of height
LINE = {"color": figures.BASIS, "width": 2.5}
NAMES = ("longest hold", "orders arrive after", "four fees")


def surface(found: "Surface", choice, inputs) -> Chart | Table:
    """Net a day over entry and exit, with sliders over longest hold, latency and fees; the choice is marked."""
    title = "Every set at other holds, latencies and fees, fit part"
    if not found.traded:
        return figures.empty(title, "no set made a trade on the fit part", inputs)
    maps = list(np.ndindex(len(found.holds_s), len(found.latencies)))
    start = found.nearest_hold(choice), found.latencies.index(1.0)
    fee = found.fee_factors.index(1.0)
    data = [trace for at in maps for trace in (_map(found, at, start, fee), _break_even(found, at, start, fee))]
    sliders = [
        _slider(NAMES[0], start[0], [_hold_step(found, choice, maps, hold) for hold in range(len(found.holds_s))]),
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
    return Chart(figures.marked(title, inputs), [*data, *_marks(found, choice, start[0])], layout)


def _bound(found: "Surface") -> float:
    """The end of the colours: the most that is earned; the most that is lost where nothing earns at any level."""
    most = float(np.nanmax(found.net))
    if most <= 0:
        most = max(float(np.nanmax(found.net_at(*at, 0))) for at in np.ndindex(found.net.shape[:2]))
    return most if most > 0 else max(float(np.nanmax(-found.net)), 1e-9)


def _axis(name: str, levels: np.ndarray) -> dict:
    """Cells of equal size, named by their levels; fixed, so that what is away stays out of sight."""
    named = {"tickvals": list(range(len(levels))), "ticktext": [f"{level:g}" for level in levels]}
    return figures.axis(name, range=[-0.5, len(levels) - 0.5], fixedrange=True, showgrid=False, **named)


def _map(found: "Surface", at: tuple[int, int], start: tuple[int, int], fee: int) -> dict:
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


def _break_even(found: "Surface", at: tuple[int, int], start: tuple[int, int], fee: int) -> dict:
    shown = {"visible": at[0] == start[0], "opacity": int(at[1] == start[1]), "hoverinfo": "skip", "showlegend": False}
    return figures.trace("scatter", "break-even", *_line(found.net_at(*at, fee)), mode="lines", line=LINE, **shown)


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


def _step(label: str, maps: list[tuple[int, int]], more: int = 0, **changes: list) -> dict:
    """One value per map and per line, in turn, and of so many traces behind them (the line of the legend apart)."""
    rows = 2 * len(maps)
    return {"method": "restyle", "label": label, "args": [changes, [*range(rows), *range(rows + 1, rows + 1 + more)]]}


def _hold_step(found: "Surface", choice, maps: list[tuple[int, int]], hold: int) -> dict:
    marks = [_hold_of(found, mark[1]) == hold for mark in _marked(choice)]
    shown = [at[0] == hold for at in maps for _ in (0, 1)] + marks
    return _step(found.spoken(hold, 0, 0)[0], maps, len(marks), visible=shown)


def _latency_step(found: "Surface", maps: list[tuple[int, int]], late: int) -> dict:
    here = [at[1] == late for at in maps]
    moved = [x0 for is_ in here for x0 in (_offset(is_), 0)]
    return _step(found.spoken(0, late, 0)[1], maps, x0=moved, opacity=[o for is_ in here for o in (1, int(is_))])


def _fee_step(found: "Surface", maps: list[tuple[int, int]], fee: int) -> dict:
    nets = [found.net_at(*at, fee) for at in maps]
    lines = [_line(net) for net in nets]
    z = [column for net in nets for column in (figures.packed(net), None)]
    x, y = ([column for line in lines for column in (None, line[k])] for k in (0, 1))
    return _step(found.spoken(0, 0, fee)[2], maps, z=z, x=x, y=y)


def _marks(found: "Surface", choice, hold: int) -> list[dict]:
    """The break-even line in the legend, and the proposal with its two witnesses, each on the maps of its own hold."""
    return [
        figures.trace("scatter", "break-even", [None], [None], mode="lines", line=LINE),
        *(
            figures.trace(
                "scatter", name, *([cell] for cell in place(found, at).values()), mode="markers",
                visible=_hold_of(found, at) == hold,
                marker={"symbol": symbol, "size": 16, "color": color, "line": {"width": 3, "color": color}},
                hovertemplate=f"{name}: entry {at.entry_bps:g} bps, exit {at.exit_bps:g} bps<extra></extra>",
            )
            for name, at, symbol, color in _marked(choice)
        ),
    ]  # fmt: skip


def _marked(choice) -> list[tuple]:
    """Name, thresholds, symbol and colour of every mark there is."""
    proposal = choice.proposal
    if proposal is None:
        return []
    marks = (
        ("best of the grid", proposal.peak, "circle-open", figures.BASIS),
        ("plug-in", proposal.plug_in, "x", figures.NOTE),
        ("proposed", proposal.thresholds, "diamond-open", figures.PERP),
    )
    return [mark for mark in marks if mark[1] is not None]


def _hold_of(found: "Surface", at) -> int:
    return int(np.argmin([abs(hold_s - at.max_hold_s) for hold_s in found.holds_s]))
