"""The figures of the notebooks. Each takes a result and the `Inputs` it came from, and changes neither.

`look` has the two kinds of figure, the colours, and the marks. Where a result is empty, its figure says why.
"""

import numpy as np

from .faces import number, seconds, share
from .look import (
    BASIS,
    DIVERGING,
    GAIN,
    LOSS,
    NOTE,
    PERP,
    SOFT,
    SPOT,
    Chart,
    Picture,
    best,
    dates,
    empty,
    extremes,
    marked,
    packed,
    picture,
    when,
)  # fmt: skip
from .market import NS
from .plots_report import attribution, equity, holds, sensitivity, trades, walk

__all__ = [
    "Chart", "Picture", "attribution", "costs", "distribution", "edges", "episodes", "equity", "heat", "heat_chart",
    "holds", "legs", "memory", "profile", "sensitivity", "signature", "trades", "walk",
]  # fmt: skip


# --- 01: the spread --------------------------------------------------------------------------------------------------


def legs(basis, inputs) -> Picture:
    """Mids of both legs, and the basis between them."""
    title = "Both legs and the basis"
    with picture(title, inputs, 5.2, nrows=2, sharex=True, height_ratios=(1, 1.25)) as (figure, (top, below)):
        known = np.where(basis.known, 1.0, np.nan)
        for name, column, color in (("spot", basis.spot_mid, SPOT), ("perpetual", basis.perp_mid, PERP)):
            at, shown = extremes(basis.ts_ns, column * known)
            top.plot(
                when(at),
                shown,
                color=color,
                label=f"{name}, {inputs.spot_venue if name == 'spot' else inputs.perp_venue}",
                lw=0.9,
            )
        top.set_ylabel("mid, USDT")
        top.legend(loc="upper right", ncols=2)
        at, shown = extremes(basis.ts_ns, basis.basis_bps * known)
        below.plot(when(at), shown, color=BASIS, lw=0.7)
        middle = float(np.median(basis.basis_bps[basis.known])) if basis.known.any() else 0.0
        below.axhspan(middle - basis.fees_bps / 2, middle + basis.fees_bps / 2, color=NOTE, alpha=0.22, lw=0)
        below.set_ylabel("basis of the mids, bps")
        below.set_title(f"shaded: as wide as the four fees, {basis.fees_bps:g} bps", fontsize=9, fontweight="normal")
        dates(below)
    return Picture(marked(title, inputs), figure)


def edges(basis, inputs) -> Chart | Picture:
    """The best chances to open and to close in each stretch of time, while both books were fresh, fees included."""
    title = "Chances to open and to close"
    if not basis.fresh.any():
        return empty(title, "no event has fresh books on both legs", inputs)
    fresh = np.where(basis.fresh, 1.0, np.nan)
    data = []
    for name, column, color, highest in (
        ("entry_edge, highest", basis.entry_bps, SPOT, True),
        ("exit_cost and four fees, lowest", basis.exit_bps + basis.fees_bps, PERP, False),
    ):
        start, step_ms, shown = best(basis.ts_ns, column * fresh, highest, 700)
        at = {
            "x0": str(when(start).astype("datetime64[ms]")).replace("T", " "),
            "dx": step_ms,
            "y": packed(np.round(shown, 2)),
        }
        data.append({"type": "scatter", "mode": "lines", "name": name, **at, "line": {"color": color, "width": 1.3}})
    layout = {
        "height": 400,
        "hovermode": "x",
        "xaxis": {"type": "date", "title": {"text": f"time, UTC; the best of each {seconds(step_ms / 1e3)}"}},
        "yaxis": {"title": {"text": "bps of the spot price"}},
    }
    return Chart(marked(title, inputs), data, layout)


def distribution(basis, inputs) -> Picture:
    """How often which edge and which cost was offered."""
    from .basis import reach

    title, able = "How often which price was offered", reach(basis)
    if able is None:
        return empty(title, "no event has fresh books on both legs", inputs)
    with picture(title, inputs, 3.3) as (figure, (ax,)):
        both = np.concatenate((basis.entry_bps[basis.fresh], basis.exit_bps[basis.fresh]))
        bins = np.linspace(*np.quantile(both, (0.001, 0.999)), 60)
        held = np.minimum(np.diff(basis.ts_ns, append=basis.ts_ns[-1]) / NS, basis.max_quote_age_s)[basis.fresh]
        for name, column, color in (
            ("entry_edge: what opening pays", basis.entry_bps, SPOT),
            ("exit_cost: what closing costs", basis.exit_bps, PERP),
        ):
            ax.hist(
                column[basis.fresh],
                bins,
                weights=100 * held / held.sum(),
                histtype="stepfilled",
                color=color,
                alpha=0.35,
                label=name,
            )
        top = ax.get_ylim()[1]
        ax.set_ylim(0, 1.32 * top)
        sides = ("left", "right") if able.entry_bps >= able.exit_bps else ("right", "left")
        for at, text, color, side in (
            (able.entry_bps, f"good entry, 95th percentile\n{able.entry_bps:.1f} bps", SPOT, sides[0]),
            (able.exit_bps, f"good exit, 5th percentile\n{able.exit_bps:.1f} bps", PERP, sides[1]),
        ):
            ax.axvline(at, color=color, lw=1.4)
            ax.annotate(
                text,
                (at, 1.05 * top),
                ha=side,
                va="bottom",
                color=color,
                fontsize=8.5,
                xytext=(5 if side == "left" else -5, 0),
                textcoords="offset points",
            )
        if basis.fees_bps > 0:
            ends = able.exit_bps, able.exit_bps + basis.fees_bps
            ax.annotate(
                "", (ends[0], 0.93 * top), (ends[1], 0.93 * top), arrowprops={"arrowstyle": "|-|", "color": BASIS}
            )
            ax.text(sum(ends) / 2, 0.96 * top, f"fees {basis.fees_bps:g} bps", ha="center", fontsize=8.5)
        ax.set_xlabel("bps of the spot price")
        ax.set_ylabel("share of the time, %")
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    return Picture(marked(title, inputs), figure)


def memory(found, inputs) -> Picture:
    """Autocorrelation of the levels with Bartlett's band, and what the fitted half-life implies."""
    from .memory import ACF_STEP_S

    title, acf, h = "Autocorrelation of the basis", found.levels.value, found.half_life.value
    if acf is None:
        return empty(title, found.levels.reason, inputs)
    with picture(title, inputs, 3.0) as (figure, (ax,)):
        unit, size = ("min", 60.0) if acf.lags[-1] * ACF_STEP_S >= 300 else ("s", 1.0)
        lag = acf.lags * ACF_STEP_S / size
        ax.fill_between(lag, -acf.band, acf.band, color=SOFT, alpha=0.3, lw=0, label="95 % band (Bartlett)")
        ax.plot(lag, acf.values, color=BASIS, label="levels")
        if h is not None:
            p = h.process
            share_ = p.sd**2 / (p.sd**2 + p.noise_sd**2)
            ax.plot(
                lag,
                share_ * np.exp(-h.theta * lag * size),
                color=LOSS,
                ls="--",
                label=f"half-life {seconds(h.half_life_s)}, noise {p.noise_sd:.1f} bps",
            )
        ax.axhline(0, color=BASIS, lw=0.7)
        ax.set_xlim(0, lag[-1])
        ax.set_xlabel(f"lag, {unit}")
        ax.set_ylabel("autocorrelation")
        ax.legend(loc="upper right")
    return Picture(marked(title, inputs), figure)


def signature(found, inputs) -> Picture:
    """How far the basis has moved after each lag: noise at the left, the bend where it comes back, the plateau."""
    title, seen, h = "How far the basis moves in which time", found.signature.value, found.half_life.value
    if seen is None:
        return empty(title, found.signature.reason, inputs)
    with picture(title, inputs, 3.4) as (figure, (ax,)):
        unit, size = ("min", 60.0) if seen.lag_s[-1] >= 1800 else ("s", 1.0)
        ax.plot(seen.lag_s / size, seen.measured, ls="none", marker="o", ms=4.5, color=BASIS, label="measured")
        if h is not None:
            p, lag_s = h.process, np.geomspace(seen.lag_s[0], seen.lag_s[-1], 200)
            ax.plot(
                lag_s / size, p.difference_variance(lag_s), color=LOSS, ls="--", label="fitted: reverting, with noise"
            )
            ax.axvline(h.half_life_s / size, color=GAIN, lw=1.2, label=f"half-life {seconds(h.half_life_s)}")
            for level, name, line in (
                (2 * (p.sd**2 + p.noise_sd**2), "plateau, it is held back", ":"),
                (2 * p.noise_sd**2, "noise alone", "-."),
            ):
                ax.axhline(level, color=SOFT, ls=line, lw=1.3, label=f"{name}: {number(level, 2)} bps²")
        else:
            ax.set_title(
                "no half-life, so no fitted curve: the reason stands in the table below",
                fontsize=9,
                fontweight="normal",
            )
        ax.set_ylim(0, 1.1 * ax.get_ylim()[1])
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.set_xlabel(f"lag, {unit}")
        ax.set_ylabel("mean squared change, bps²")
        ax.legend(**({"loc": "upper left"} if h is None else {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}))
    return Picture(marked(title, inputs), figure)


def profile(found, inputs) -> Picture:
    """Which half-lives explain the recording nearly as well as the best one: those above the line."""
    from .halflife import LR_95
    from .memory import interval, put_in

    title, seen, h = "Which half-lives the recording allows", found.profile.value, found.half_life.value
    if seen is None or h is None:
        return empty(title, found.profile.reason, inputs)
    with picture(title, inputs, 3.2) as (figure, (ax,)):
        unit, size = next(
            (u, s) for limit, u, s in ((120, "s", 1), (7200, "min", 60), (np.inf, "h", 3600)) if h.half_life_s < limit
        )
        ax.plot(seen.half_life_s / size, seen.ratio, color=BASIS, lw=1.5, label="likelihood, best half-life = 0")
        ax.axhline(-LR_95, color=NOTE, lw=1.2, label=f"95 % line, -{LR_95:.2f}")
        ax.axvspan(
            max(h.low_s, seen.half_life_s[0]) / size,
            h.high_s / size,
            color=NOTE,
            alpha=0.16,
            lw=0,
            label=f"95 %: {interval(h)}",
        )
        ax.axvline(h.half_life_s / size, color=LOSS, ls="--", label=f"estimate {seconds(h.half_life_s)}")
        truth = put_in(inputs)
        if truth is not None:
            known_s = truth["world"]["fast_half_life_s"]
            ax.axvline(known_s / size, color=GAIN, lw=1.6, label=f"put in {seconds(known_s)} (the fast process)")
        ax.set_xlim(seen.half_life_s[0] / size, seen.half_life_s[-1] / size)
        ax.set_ylim(max(-4 * LR_95, 1.1 * float(np.min(seen.ratio))), 0.8)
        ax.set_xscale("log")
        ticks = np.geomspace(*ax.get_xlim(), 9)[1:-1]
        ax.set_xticks([float(f"{tick:.2g}") for tick in ticks], [f"{float(f'{tick:.2g}'):g}" for tick in ticks])
        ax.minorticks_off()
        ax.set_xlabel(f"half-life, {unit}")
        ax.set_ylabel("2 × log likelihood ratio")
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return Picture(marked(title, inputs), figure)


def episodes(basis, inputs) -> Picture:
    """How long the episodes above costs lasted, against the way of an order."""
    from .basis import above_costs

    title = "How long an edge above costs lasts"
    found = above_costs(basis).get("closing at its median")
    if found is None or not found.count:
        return empty(title, "no episode pays the four fees and a median closing", inputs)
    latency = max(inputs.spot_latency, inputs.perp_latency)
    with picture(title, inputs, 2.8) as (figure, (ax,)):
        lasted = np.maximum(found.durations_s, 1e-3)
        ax.hist(
            lasted,
            np.geomspace(min(lasted.min(), latency) * 0.8, max(lasted.max(), latency) * 1.2, 50),
            color=SPOT,
            alpha=0.7,
        )
        ax.axvline(latency, color=LOSS, lw=1.4)
        ax.annotate(
            f" an order takes {latency:g} s",
            (latency, 0.97),
            xycoords=("data", "axes fraction"),
            va="top",
            color=LOSS,
            fontsize=8.5,
        )
        ax.set_xscale("log")
        ax.yaxis.get_major_locator().set_params(integer=True)
        ax.set_xlabel(f"duration, s: entry_edge at or above {found.level:.1f} bps (four fees and a median closing)")
        ax.set_ylabel("episodes")
    return Picture(marked(title, inputs), figure)


# --- 02: the choice --------------------------------------------------------------------------------------------------


def costs(stack, inputs) -> Picture:
    """The costs of a round trip on top of each other, and how far the basis swings beneath them."""
    title = "What a round trip costs, and what the basis offers"
    if stack.total_bps is None or stack.swing_bps is None:
        return empty(title, "no event has fresh books on both legs", inputs)
    with picture(title, inputs, 2.3) as (figure, (ax,)):
        left = 0.0
        for (name, value), color in zip(stack.parts.items(), (SPOT, PERP, "#7FB8DA", "#EBAE85"), strict=True):
            ax.barh("costs", value, left=left, color=color, label=f"{name} {value:.1f}", edgecolor="white")
            left += value
        ax.barh(
            "swing of\nthe basis",
            stack.swing_bps,
            color=GAIN,
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
    return Picture(marked(title, inputs), figure)


def heat(choice, inputs) -> Picture:
    """Net a day over entry and exit at the chosen longest hold, with the choice and its neighbourhood."""
    from matplotlib.patches import Rectangle

    from .sensitivity import NEAR, cells, untraded

    title, grid = "Net USDT a day on the fit part", cells(choice)
    if grid is None or untraded(choice):
        return empty(title, untraded(choice) or choice.reason, inputs)
    with picture(title, inputs, 4.6) as (figure, (ax,)):
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
            ax.add_patch(Rectangle(corner, 2 * NEAR + 1, 2 * NEAR + 1, fill=False, ec=BASIS, lw=1.6, ls="--"))
            ax.plot(column, row, marker="o", ms=9, mfc="white", mec=BASIS, mew=1.8, ls="", label="best of the grid")
            ax.plot(
                *_place(grid, best).values(),
                marker="D",
                ms=8,
                mfc=PERP,
                mec="white",
                mew=1.2,
                ls="",
                label="proposed: plug-in and grid",
            )
            ax.legend(loc="lower right", fontsize=8.5, framealpha=0.9)
        ax.set_xlim(-0.5, len(grid.exits) - 0.5)
        ax.set_ylim(-0.5, len(grid.entries) - 0.5)
    return Picture(marked(title, inputs), figure)


def heat_chart(choice, inputs) -> Chart | Picture:
    """The same to point at: trades, hit rate and drawdown of every set at the chosen hold."""
    from .sensitivity import cells, untraded

    title, grid = "Every set of the sweep, fit part", cells(choice)
    if grid is None or untraded(choice):
        return empty(title, untraded(choice) or choice.reason, inputs)
    text = [[_hover(grid.results.get((e, x))) for x in grid.exits.tolist()] for e in grid.entries.tolist()]
    bound, notes = max(float(np.nanmax(np.abs(grid.net))), 1e-9), []
    data = [
        {
            "type": "heatmap",
            "x": [f"{x:g}" for x in grid.exits],
            "y": [f"{e:g}" for e in grid.entries],
            "z": [[None if np.isnan(net) else round(float(net), 4) for net in row] for row in grid.net],
            "zmin": -bound,
            "zmax": bound,
            "text": text,
            "hoverongaps": False,
            "hovertemplate": "entry %{y} bps, exit %{x} bps<br>%{text}<extra></extra>",
            "xgap": 1,
            "ygap": 1,
            "colorscale": [[k / 10, color] for k, color in enumerate(DIVERGING)],
            "colorbar": {"title": {"text": "net,<br>USDT/day", "font": {"size": 13}}, "thickness": 14},
        }
    ]
    if choice.proposal is not None:
        peak = choice.proposal.peak
        at = {"x": [f"{peak.exit_bps:g}"], "y": [f"{peak.entry_bps:g}"]}
        mark = {"symbol": "circle-open", "size": 18, "line": {"width": 3, "color": BASIS}, "color": BASIS}
        data.append(
            {"type": "scatter", "mode": "markers", **at, "marker": mark, "hoverinfo": "skip", "showlegend": False}
        )
        notes.append(
            {**_place(grid, choice.best), "text": "◆", "font": {"color": PERP, "size": 20}, "showarrow": False}
        )
    axes = {
        f"{axis}axis": {"type": "category", "title": {"text": name}, "showgrid": False}
        for axis, name in (
            ("x", "exit threshold, bps"),
            ("y", f"entry threshold, bps (longest hold {seconds(grid.max_hold_s)})"),
        )
    }
    return Chart(marked(title, inputs), data, {"height": 480, "annotations": notes, **axes})


def _place(grid, at) -> dict[str, float]:
    """Where thresholds lie between the cells, in numbers of cells from the first."""
    levels = {"x": (at.exit_bps, grid.exits), "y": (at.entry_bps, grid.entries)}
    return {axis: float(np.interp(level, cells, np.arange(len(cells)))) for axis, (level, cells) in levels.items()}


def _hover(p) -> str:
    if p is None:
        return ""
    return (
        f"net {number(p.net_usdt_day)} USDT/day<br>{number(p.trades_day, 1)} trades/day, hit rate {share(p.hit_rate)}"
        f"<br>drawdown {share(p.drawdown, 2)}"
    )
