"""The figures of the notebooks. Each takes a result and the `Inputs` it came from, and changes neither.

`figures` has the two kinds of figure, the colours, and the marks. Where a result is empty, its figure says why.
"""

import numpy as np

from delta_arb.market import NS
from delta_arb.report import figures
from delta_arb.report.figures import Chart, Picture
from delta_arb.report.plots_backtest import (
    attribution,
    capacity,
    equity,
    montecarlo,
    tornado,
    trades,
    walk,
)
from delta_arb.report.plots_choice import costs, heat, surface
from delta_arb.report.trade_tables import entries, minutes
from delta_arb.tables import Table, number, seconds

__all__ = [
    "Chart", "Picture", "attribution", "capacity", "costs", "distribution", "edges", "entries", "episodes", "equity", "heat",
    "legs", "memory", "minutes", "montecarlo", "profile", "signature", "surface", "tornado", "trades", "walk",
]  # fmt: skip


def legs(basis, inputs) -> Picture:
    """Mids of both legs, and the basis between them."""
    title = "Both legs and the basis"
    with figures.picture(title, inputs, 5.2, nrows=2, sharex=True, height_ratios=(1, 1.25)) as (figure, (top, below)):
        known = np.where(basis.known, 1.0, np.nan)
        for name, column, color in (
            ("spot", basis.spot_mid, figures.SPOT),
            ("perpetual", basis.perp_mid, figures.PERP),
        ):
            at, shown = figures.extremes(basis.ts_ns, column * known)
            top.plot(
                figures.when(at),
                shown,
                color=color,
                label=f"{name}, {inputs.spot_venue if name == 'spot' else inputs.perp_venue}",
                lw=0.9,
            )
        top.set_ylabel("mid, USDT")
        top.legend(loc="upper right", ncols=2)
        at, shown = figures.extremes(basis.ts_ns, basis.basis_bps * known)
        below.plot(figures.when(at), shown, color=figures.BASIS, lw=0.7)
        middle = float(np.median(basis.basis_bps[basis.known])) if basis.known.any() else 0.0
        below.axhspan(middle - basis.fees_bps / 2, middle + basis.fees_bps / 2, color=figures.NOTE, alpha=0.22, lw=0)
        below.set_ylabel("basis of the mids, bps")
        below.set_title(f"shaded: as wide as the four fees, {basis.fees_bps:g} bps", fontsize=9, fontweight="normal")
        figures.dates(below)
    return Picture(figures.marked(title, inputs), figure)


def edges(basis, inputs) -> Chart | Table:
    """The best chances to open and to close in each stretch of time, while both books were fresh, fees included."""
    title = "Chances to open and to close"
    if not basis.fresh.any():
        return figures.empty(title, "no event has fresh books on both legs", inputs)
    fresh = np.where(basis.fresh, 1.0, np.nan)
    data = []
    for name, column, color, highest in (
        ("entry edge, highest", basis.entry_bps, figures.SPOT, True),
        ("exit cost and four fees, lowest", basis.exit_bps + basis.fees_bps, figures.PERP, False),
    ):
        start, step_ms, shown = figures.best(basis.ts_ns, column * fresh, highest, 700)
        at = {
            "x0": str(figures.when(start).astype("datetime64[ms]")).replace("T", " "),
            "dx": step_ms,
            "y": figures.packed(np.round(shown, 2)),
        }
        data.append({"type": "scatter", "mode": "lines", "name": name, **at, "line": {"color": color, "width": 1.3}})
    layout = {
        "height": 400,
        "hovermode": "x",
        "xaxis": figures.axis(f"time, UTC; the best of each {seconds(step_ms / 1e3)}", type="date"),
        "yaxis": figures.axis("bps of the spot price"),
    }
    return Chart(figures.marked(title, inputs), data, layout)


def distribution(basis, inputs) -> Picture | Table:
    """How often which edge and which cost was offered."""
    from delta_arb.stats.basis import reach

    title, able = "How often which price was offered", reach(basis)
    if able is None:
        return figures.empty(title, "no event has fresh books on both legs", inputs)
    with figures.picture(title, inputs, 3.3) as (figure, (ax,)):
        both = np.concatenate((basis.entry_bps[basis.fresh], basis.exit_bps[basis.fresh]))
        bins = np.linspace(*np.quantile(both, (0.001, 0.999)), 60)
        held = np.minimum(np.diff(basis.ts_ns, append=basis.ts_ns[-1]) / NS, basis.max_quote_age_s)[basis.fresh]
        for name, column, color, line in (
            ("entry edge: what opening pays", basis.entry_bps, figures.SPOT, "-"),
            ("exit cost: what closing costs", basis.exit_bps, figures.PERP, "--"),
        ):
            ax.hist(
                column[basis.fresh],
                bins,
                weights=100 * held / held.sum(),
                histtype="step",
                color=color,
                lw=1.8,
                ls=line,
                label=name,
            )
        top = ax.get_ylim()[1]
        ax.set_ylim(0, 1.32 * top)
        sides = ("left", "right") if able.entry_bps >= able.exit_bps else ("right", "left")
        for at, text, color, side in (
            (able.entry_bps, f"good entry, 95th percentile\n{able.entry_bps:.1f} bps", figures.SPOT, sides[0]),
            (able.exit_bps, f"good exit, 5th percentile\n{able.exit_bps:.1f} bps", figures.PERP, sides[1]),
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
                "",
                (ends[0], 0.93 * top),
                (ends[1], 0.93 * top),
                arrowprops={"arrowstyle": "|-|", "color": figures.BASIS},
            )
            ax.text(sum(ends) / 2, 0.96 * top, f"fees {basis.fees_bps:g} bps", ha="center", fontsize=8.5)
        ax.set_xlabel("bps of the spot price")
        ax.set_ylabel("share of the time, %")
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    return Picture(figures.marked(title, inputs), figure)


def memory(found, inputs) -> Picture | Table:
    """Autocorrelation of the levels with Bartlett's band, and what the fitted half-life implies."""
    title, acf, h = "Autocorrelation of the basis", found.levels.value, found.half_life.value
    if acf is None:
        return figures.empty(title, found.levels.reason, inputs)
    with figures.picture(title, inputs, 3.0) as (figure, (ax,)):
        unit, size = ("min", 60.0) if acf.lags[-1] * found.acf_step_s >= 300 else ("s", 1.0)
        lag = acf.lags * found.acf_step_s / size
        ax.fill_between(lag, -acf.band, acf.band, color=figures.SOFT, alpha=0.3, lw=0, label="95 % band (Bartlett)")
        ax.plot(lag, acf.values, color=figures.BASIS, label="levels")
        if h is not None:
            p = h.process
            share_ = p.sd**2 / (p.sd**2 + p.noise_sd**2)
            ax.plot(
                lag,
                share_ * np.exp(-h.theta * lag * size),
                color=figures.LOSS,
                ls="--",
                label=f"half-life {seconds(h.half_life_s)}, noise {p.noise_sd:.1f} bps",
            )
        ax.axhline(0, color=figures.BASIS, lw=0.7)
        ax.set_xlim(0, lag[-1])
        ax.set_xlabel(f"lag, {unit}")
        ax.set_ylabel("autocorrelation")
        ax.legend(loc="upper right")
    return Picture(figures.marked(title, inputs), figure)


def signature(found, inputs) -> Picture | Table:
    """How far the basis has moved after each lag: noise at the left, the bend where it comes back, the plateau."""
    title, seen, h = "How far the basis moves in which time", found.signature.value, found.half_life.value
    if seen is None:
        return figures.empty(title, found.signature.reason, inputs)
    with figures.picture(title, inputs, 3.4) as (figure, (ax,)):
        unit, size = ("min", 60.0) if seen.lag_s[-1] >= 1800 else ("s", 1.0)
        ax.plot(seen.lag_s / size, seen.measured, ls="none", marker="o", ms=4.5, color=figures.BASIS, label="measured")
        if h is not None:
            p, lag_s = h.process, np.geomspace(seen.lag_s[0], seen.lag_s[-1], 200)
            ax.plot(
                lag_s / size,
                p.difference_variance(lag_s),
                color=figures.LOSS,
                ls="--",
                label="fitted: reverting, with noise",
            )
            ax.axvline(h.half_life_s / size, color=figures.GAIN, lw=1.2, label=f"half-life {seconds(h.half_life_s)}")
            for level, name, line in (
                (2 * (p.sd**2 + p.noise_sd**2), "plateau, it is held back", ":"),
                (2 * p.noise_sd**2, "noise alone", "-."),
            ):
                ax.axhline(level, color=figures.SOFT, ls=line, lw=1.3, label=f"{name}: {number(level, 2)} bps²")
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
    return Picture(figures.marked(title, inputs), figure)


def profile(found, inputs) -> Picture | Table:
    """Which half-lives explain the recording nearly as well as the best one: those above the line."""
    from delta_arb.report.spread_tables import put_in
    from delta_arb.stats.half_life import LR_95
    from delta_arb.stats.mean_reversion import interval

    title, seen, h = "Which half-lives the recording allows", found.profile.value, found.half_life.value
    if seen is None or h is None:
        return figures.empty(title, found.profile.reason, inputs)
    with figures.picture(title, inputs, 3.2) as (figure, (ax,)):
        unit, size = next(
            (u, s) for limit, u, s in ((120, "s", 1), (7200, "min", 60), (np.inf, "h", 3600)) if h.half_life_s < limit
        )
        ax.plot(
            seen.half_life_s / size, seen.ratio, color=figures.BASIS, lw=1.5, label="likelihood, best half-life = 0"
        )
        ax.axhline(-LR_95, color=figures.NOTE, lw=1.2, label=f"95 % line, -{LR_95:.2f}")
        ax.axvspan(
            max(h.low_s, seen.half_life_s[0]) / size,
            h.high_s / size,
            color=figures.NOTE,
            alpha=0.16,
            lw=0,
            label=f"95 %: {interval(h)}",
        )
        ax.axvline(h.half_life_s / size, color=figures.LOSS, ls="--", label=f"estimate {seconds(h.half_life_s)}")
        truth = put_in(inputs)
        if truth is not None:
            known_s = truth["world"]["fast_half_life_s"]
            ax.axvline(
                known_s / size, color=figures.GAIN, lw=1.6, label=f"put in {seconds(known_s)} (the fast process)"
            )
        ax.set_xlim(seen.half_life_s[0] / size, seen.half_life_s[-1] / size)
        ax.set_ylim(max(-4 * LR_95, 1.1 * float(np.min(seen.ratio))), 0.8)
        ax.set_xscale("log")
        ticks = np.geomspace(*ax.get_xlim(), 9)[1:-1]
        ax.set_xticks([float(f"{tick:.2g}") for tick in ticks], [f"{float(f'{tick:.2g}'):g}" for tick in ticks])
        ax.minorticks_off()
        ax.set_xlabel(f"half-life, {unit}")
        ax.set_ylabel("2 × log likelihood ratio")
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return Picture(figures.marked(title, inputs), figure)


def episodes(basis, inputs) -> Picture | Table:
    """How long the episodes above costs lasted, against the way of an order."""
    from delta_arb.stats.basis import above_median

    title = "How long an edge above costs lasts"
    found = above_median(basis)
    if found is None or not found.count:
        return figures.empty(title, "no episode pays the four fees and a median closing", inputs)
    latency = max(inputs.latency().spot_s, inputs.latency().perp_s)
    with figures.picture(title, inputs, 2.8) as (figure, (ax,)):
        lasted = np.maximum(found.durations_s, 1e-3)
        ax.hist(
            lasted,
            np.geomspace(min(lasted.min(), latency) * 0.8, max(lasted.max(), latency) * 1.2, 50),
            color="#4d9cc9",
        )
        ax.axvline(latency, color=figures.LOSS, lw=1.4)
        ax.annotate(
            f" an order takes {latency:g} s",
            (latency, 0.97),
            xycoords=("data", "axes fraction"),
            va="top",
            color=figures.LOSS,
            fontsize=8.5,
        )
        ax.set_xscale("log")
        ax.yaxis.get_major_locator().set_params(integer=True)
        ax.set_xlabel(f"duration, s: entry edge at or above {found.level:.1f} bps (four fees and a median closing)")
        ax.set_ylabel("episodes")
    return Picture(figures.marked(title, inputs), figure)
