"""The figures of the choice: what a round trip costs, and what each set of thresholds earned; see `plots`."""

import numpy as np

from delta_arb.report import figures
from delta_arb.report.figures import Picture
from delta_arb.tables import seconds


def costs(stack, inputs) -> Picture:
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


def heat(choice, inputs) -> Picture:
    """Net a day over entry and exit at the chosen longest hold, with the choice and its neighbourhood."""
    from matplotlib.patches import Rectangle

    from delta_arb.report.sensitivity import NEAR, cells, untraded

    title, grid = "Net USDT a day on the fit part", cells(choice)
    if grid is None or untraded(choice):
        return figures.empty(title, untraded(choice) or choice.reason, inputs)
    with figures.picture(title, inputs, 4.6) as (figure, (ax,)):
        bound = max(float(np.nanmax(np.abs(grid.net))), 1e-9)
        image = ax.pcolormesh(
            np.arange(len(grid.exits) + 1) - 0.5,
            np.arange(len(grid.entries) + 1) - 0.5,
            grid.net,
            cmap="RdBu",
            vmin=-bound,
            vmax=bound,
        )
        ax.patch.set(facecolor="white", edgecolor="#c3cbd4", hatch="////")
        ax.grid(visible=False)
        bar = figure.colorbar(image, ax=ax, label="net, USDT a day", pad=0.015)
        bar.ax.set_ylim(min(0.0, float(np.nanmin(grid.net))), max(0.0, float(np.nanmax(grid.net))) or bound)
        ax.set_xticks(np.arange(len(grid.exits)), [f"{x:g}" for x in grid.exits])
        ax.set_yticks(np.arange(len(grid.entries)), [f"{e:g}" for e in grid.entries])
        ax.set_xlabel("exit threshold, bps: leave when exit_cost is at or below")
        ax.set_ylabel("entry threshold, bps")
        ax.set_title(
            f"longest hold {seconds(grid.max_hold_s)}; hatched: gain below the fees, not tried",
            fontsize=9,
            fontweight="normal",
        )
        if choice.proposal is not None:
            peak, best = choice.proposal.peak, choice.best
            column, row = grid.exits.tolist().index(peak.exit_bps), grid.entries.tolist().index(peak.entry_bps)
            corner = column - NEAR - 0.5, row - NEAR - 0.5
            ax.add_patch(Rectangle(corner, 2 * NEAR + 1, 2 * NEAR + 1, fill=False, ec=figures.BASIS, lw=1.6, ls="--"))
            ax.plot(
                column, row, marker="o", ms=9, mfc="white", mec=figures.BASIS, mew=1.8, ls="", label="best of the grid"
            )
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
            ax.legend(loc="lower right", fontsize=8.5, framealpha=0.9)
        ax.set_xlim(-0.5, len(grid.exits) - 0.5)
        ax.set_ylim(-0.5, len(grid.entries) - 0.5)
    return Picture(figures.marked(title, inputs), figure)


def place(grid, at) -> dict[str, float]:
    """Where thresholds lie between the cells, in numbers of cells from the first."""
    levels = {"x": (at.exit_bps, grid.exits), "y": (at.entry_bps, grid.entries)}
    return {axis: float(np.interp(level, cells, np.arange(len(cells)))) for axis, (level, cells) in levels.items()}
