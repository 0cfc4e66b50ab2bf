"""The figures of what was traded, in the walk-forward and in the tear-sheet, and of what could have been; see `plots`."""

import numpy as np

from delta_arb.market import DAY_S, NS
from delta_arb.report import figures
from delta_arb.report.figures import Chart, Picture
from delta_arb.strategy.ledger import net_bps
from delta_arb.tables import Table, number, seconds, share


def walk(verdict, inputs) -> Picture | Table:
    """Equity of the walk-forward, earned on quotes not seen, against what the look-backs of its folds had promised."""
    title = "Earned out of sample, against what the look-backs promised"
    if verdict.judgement is None:
        return figures.empty(title, verdict.unwalked, inputs)
    found = verdict.judgement.walk
    if not found.result.trades:
        return figures.empty(title, f"no fold traded: {found.folds[-1].reason}", inputs)
    with figures.picture(title, inputs, 3.6) as (figure, (ax,)):
        for k, fold in enumerate(found.folds):
            paper = "#fbe3ad" if fold.thresholds is None else figures.PARTS["earlier"] if k % 2 else "white"
            ax.axvspan(figures.when(fold.start_ns), figures.when(fold.end_ns), color=paper, lw=0, zorder=0)
        ends = np.array([found.folds[0].start_ns, *(fold.end_ns for fold in found.folds)])
        days = (ends[-1] - ends[0]) / NS / DAY_S
        net, each = found.net_usdt_day, [(fold.fit_net_usdt_day or 0.0) * fold.days for fold in found.folds]
        promised = np.concatenate(([0.0], np.cumsum(each)))
        if net is not None:
            ax.fill_between(
                figures.when(ends[[0, -1]]), [0, net.low * days], [0, net.high * days], color=figures.GAIN, alpha=0.16, lw=0,
                label=f"95 % of the mean, {number(net.low)} to {number(net.high)} USDT a day",
            )  # fmt: skip
        ax.plot(
            figures.when(ends), promised, color=figures.NOTE, ls="--", lw=1.6, marker="o", ms=3,
            label=f"promised in sample, {number(promised[-1] / days)} USDT a day",
        )  # fmt: skip
        at, shown = _curve(found.equity.ts_ns, found.equity.net)
        ax.plot(
            figures.when(at), shown, color=figures.BASIS, lw=1.3,
            label=f"earned out of sample, marked, {number(found.equity.net[-1] / days)} USDT a day",
        )  # fmt: skip
        ax.axhline(0, color=figures.SOFT, lw=0.8)
        ax.set_xlim(figures.when(ends[0]), figures.when(max(int(ends[-1]), int(found.equity.ts_ns[-1]))))
        ax.set_ylabel("net, USDT")
        ax.set_title(
            "stripes: folds; yellow: no set passed on the look-back, not traded", fontsize=9, fontweight="normal"
        )
        ax.legend(loc="upper left")
        figures.dates(ax)
    return Picture(figures.marked(title, inputs), figure)


def _curve(ts_ns: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Peaks and troughs of a curve, and where it ends."""
    at, shown = figures.extremes(ts_ns, values)
    return np.append(at, ts_ns[-1]), np.append(shown, values[-1])


def _shade(ax, sheet, legend: bool = False) -> None:
    from delta_arb.report.tearsheet import SAYS

    for name, part in sheet.parts.items() if len(sheet.parts) > 1 else ():
        begin, end = figures.when(part.tape.start_ns), figures.when(part.tape.end_ns)
        ax.axvspan(begin, end, color=figures.PARTS[name], lw=0, zorder=0, label=SAYS[name] if legend else None)


def equity(sheet, inputs) -> Picture | Table:
    """Marked equity and its fall from the peak over the whole recording, its parts shaded."""
    from delta_arb.backtest.performance import underwater

    title = "Marked equity and drawdown"
    if sheet.empty_because:
        return figures.empty(title, sheet.empty_because, inputs)
    capital = sheet.judged.capital_usdt
    with figures.picture(title, inputs, 4.8, nrows=2, sharex=True, height_ratios=(2.2, 1)) as (figure, (top, below)):
        _shade(top, sheet, legend=True)
        _shade(below, sheet)
        net = sheet.curve.net
        at, shown = _curve(sheet.curve.ts_ns, net)
        top.plot(figures.when(at), shown, color=figures.BASIS, lw=1.2, label="marked at the exit side")
        top.axhline(0, color=figures.SOFT, lw=0.8)
        closed = [t.closed_ns for t in sheet.trades]
        earned = np.cumsum([t.net_usdt for t in sheet.trades])
        top.plot(
            figures.when(np.array(closed)),
            earned,
            ls="none",
            marker="o",
            ms=4,
            color=figures.SPOT,
            label="after a closed trade",
        )
        top.set_ylabel("net, USDT")
        top.legend(loc="upper left", ncols=2)
        at, shown = _curve(sheet.curve.ts_ns, 100 * underwater(capital + net))
        below.fill_between(figures.when(at), shown, 0, color=figures.LOSS, alpha=0.55, lw=0)
        below.set_ylabel(f"below peak,\n% of {capital:g} USDT")
        figures.dates(below)
    return Picture(figures.marked(title, inputs), figure)


def attribution(sheet, inputs) -> Picture | Table:
    """From the legs' money to the net, part by part of the recording."""
    from delta_arb.report.tearsheet import SAYS
    from delta_arb.strategy.ledger import attribution as split

    title = "From gross to net, USDT a day"
    if sheet.empty_because:
        return figures.empty(title, sheet.empty_because, inputs)
    with figures.picture(title, inputs, 3.0, ncols=len(sheet.parts), sharey=True) as (figure, axes):
        reached = [0.0]
        for ax, (name, part) in zip(axes, sheet.parts.items(), strict=True):
            parts = {k: v / part.performance.days for k, v in split(part.result.trades).items()}
            steps = {
                "both legs": parts["spot"] + parts["perp"] + parts["residual"],
                "fees": parts["fees"],
                "funding": parts["funding"],
            }
            level = 0.0
            for k, value in enumerate(steps.values()):
                ax.bar(k, value, bottom=level, color=figures.GAIN if value >= 0 else figures.LOSS, alpha=0.85)
                _label(ax, k, max(level, level + value), value)
                level += value
                reached.append(level)
            ax.bar(len(steps), level, color=figures.BASIS)
            _label(ax, len(steps), max(level, 0.0), level)
            ax.set_xticks(range(len(steps) + 1), [*steps, "net"])
            ax.axhline(0, color=figures.BASIS, lw=0.8)
            ax.grid(axis="x", visible=False)
            ax.set_title(f"{SAYS[name]}: {len(part.result.trades)} trades", fontsize=9.5)
        room = 0.18 * (max(reached) - min(reached)) or 1.0
        axes[0].set_ylim(min(reached) - 0.3 * room * (min(reached) < 0), max(reached) + room)
        axes[0].set_ylabel("USDT a day")
    return Picture(figures.marked(title, inputs), figure)


def _label(ax, x: float, y: float, value: float) -> None:
    ax.annotate(
        f"{value:+.2f}", (x, y), ha="center", va="bottom", fontsize=8.5, xytext=(0, 2), textcoords="offset points"
    )


def trades(sheet, inputs) -> Chart | Table:
    """Every trade of the whole replay: how long held, what earned, why ended."""
    title = "Every trade of the whole replay"
    if sheet.empty_because:
        return figures.empty(title, sheet.empty_because, inputs)
    by_reason = {reason: [t for t in sheet.trades if t.reason == reason] for reason in figures.REASONS}
    data = [
        figures.trace(
            "scatter", reason, figures.packed([t.held_s / 60 for t in ended]), figures.packed([t.net_usdt for t in ended]),
            mode="markers", text=[_hover(sheet, t) for t in ended],
            hovertemplate="%{text}<br>held %{x:.1f} min<extra>" + reason + "</extra>",
            marker={"size": 10, "color": figures.REASONS[reason], "opacity": 0.8, "line": {"width": 1, "color": "white"}},
        )
        for reason, ended in by_reason.items()
        if ended
    ]  # fmt: skip
    axes = {"xaxis": figures.axis("held, minutes", rangemode="tozero"), "yaxis": figures.axis("net, USDT")}
    zero = figures.level(0, figures.BASIS)
    return Chart(figures.marked(title, inputs), data, {"height": 380, "shapes": [zero], **axes})


def _hover(sheet, trade) -> str:
    opened = str(figures.when(trade.opened_ns))[:19].replace("T", " ")
    money = f"net {number(trade.net_usdt, 4)} USDT, fees {number(trade.fees_usdt, 4)}"
    return f"{opened} UTC, {sheet.part_of(trade)}<br>{money}, net {number(net_bps([trade]), 1)} bps"


# --- what could have been --------------------------------------------------------------------------------------------


def tornado(found, inputs) -> Chart | Table:
    """Net a day when one assumption is a fifth smaller or larger, the one that matters most on top."""
    title = "Net USDT a day when one assumption is 20 % smaller or larger"
    if found.empty_because:
        return figures.empty(title, found.empty_because, inputs)
    base = found.base.net_usdt_day
    names = [f"{bar.name}, {bar.face}" for bar in found.bars]
    data = []
    for step, color in ((found.steps[0], figures.SPOT), (found.steps[-1], figures.NOTE)):
        ends, name = [bar.outcomes[found.steps.index(step)] for bar in found.bars], f"{100 * step:+.0f} %"
        moved = [0.0 if end is None else round(end.net_usdt_day - base, 6) for end in ends]
        text = ["n/a" if end is None else f"{number(end.net_usdt_day, 3)} USDT/day" for end in ends]
        hover = "%{y}: %{text}<extra>" + name + "</extra>"
        more = {
            "text": text,
            "textposition": "none",
            "hovertemplate": hover,
            "marker": {"color": color, "opacity": 0.85},
        }
        data.append(figures.trace("bar", name, moved, names, orientation="h", base=base, **more))
    layout = {
        "height": 130 + 28 * len(names),
        "barmode": "overlay",
        "shapes": [figures.upright(base, figures.BASIS, "solid")],
        "xaxis": figures.axis("net, USDT a day, whole recording; the line: as assumed"),
        "yaxis": figures.axis("assumed", autorange="reversed", showgrid=False),
    }
    return Chart(figures.marked(title, inputs), data, layout)


def montecarlo(found, inputs) -> Chart | Table:
    """Net and largest drawdown of all paths; the solid line is what happened."""
    title = "Net and drawdown of blocks dealt anew"
    if isinstance(found, str):
        return figures.empty(title, found, inputs)
    as_it_was, worst = float(found.blocks.net.sum()), float(np.quantile(found.fall, 0.95))
    data = [
        _histogram(found.net, figures.SPOT, f"net; loss: {share(found.loss_share, 1)} of the paths", ""),
        _histogram(found.fall, figures.LOSS, f"drawdown; 95 % of paths below {number(worst)} USDT", "2"),
    ]
    lines = [figures.upright(as_it_was, figures.BASIS, "solid"), figures.upright(worst, figures.BASIS, "dash", "2")]
    if found.net.min() < 0 < found.net.max():
        lines.append(figures.upright(0.0, figures.LOSS, "dash"))
    cut = f"{len(found.blocks)} blocks of {seconds(found.blocks.block_s)}"
    layout = {
        "height": 360,
        "bargap": 0.03,
        "shapes": lines,
        "xaxis": figures.axis(f"net after {found.days:.3g} days, USDT; the line: the recorded order", domain=[0, 0.47]),
        "xaxis2": figures.axis(f"largest drawdown, USDT; {cut}", domain=[0.53, 1], anchor="y2"),
        "yaxis": figures.axis("share of the paths, %"),
        "yaxis2": {"anchor": "x2"},
    }
    return Chart(figures.marked(title, inputs), data, layout)


def _histogram(values: np.ndarray, color: str, name: str, axis: str) -> dict:
    counts, edges = np.histogram(values, 40)
    middle = (edges[:-1] + edges[1:]) / 2
    hover = "about %{x:.2f} USDT: %{y:.1f} % of the paths<extra></extra>"
    more = {
        "xaxis": f"x{axis}",
        "yaxis": f"y{axis}",
        "marker": {"color": color, "opacity": 0.75},
        "hovertemplate": hover,
    }
    return figures.trace("bar", name, figures.packed(middle), figures.packed(100 * counts / len(values)), **more)


def capacity(found, inputs) -> Chart | Table:
    """Net a day and return against the size of a clip."""
    title = "Profit against the size of a clip"
    traded = [o for o in found.outcomes["whole"] if o.trades]
    if not traded:
        return figures.empty(title, "no trade at any size", inputs)
    sizes = [o.clip_usdt for o in traded]
    text = [f"filled {number(o.filled_usdt)} USDT a trade, {share(o.filled_share)} of the clip" for o in traded]
    hover = "clip %{{x:g}} USDT: %{{y:.2f}} {}<br>%{{text}}<extra></extra>"
    data = [
        figures.trace(
            "scatter", name, sizes, [round(y, 6) for y in values], yaxis=axis, mode="lines+markers", text=text,
            hovertemplate=hover.format(unit), marker={"size": 8}, line={"color": color},
        )
        for name, values, axis, unit, color in (
            ("net (left)", [o.net_usdt_day for o in traded], "y", "USDT/day", figures.GAIN),
            ("return on the capital (right)", [100 * o.return_day for o in traded], "y2", "%/day", figures.SPOT),
        )
    ]  # fmt: skip
    marks = [figures.upright(found.base, figures.SOFT, "dot")]
    if found.limit:
        marks.append(figures.upright(found.limit, figures.NOTE, "dash"))
    name = "clip, USDT; dotted: asked for, dashed: what both best levels show (median)"
    right = {"overlaying": "y", "side": "right", "rangemode": "tozero", "showgrid": False, "tickmode": "auto"}
    layout = {
        "height": 380,
        "shapes": marks,
        "xaxis": figures.axis(name, type="log", tickvals=sizes, ticktext=[f"{s:g}" for s in sizes]),
        "yaxis": figures.axis("net, USDT a day", rangemode="tozero"),
        "yaxis2": figures.axis("return a day, %", **right),
    }
    return Chart(figures.marked(title, inputs), data, layout)
