"""The figures of what was traded, in the walk-forward and in the tear-sheet, which `plots` offers with all others."""

import numpy as np

from delta_arb.market import DAY_S, NS
from delta_arb.report import figures
from delta_arb.report.figures import Chart, Picture
from delta_arb.strategy.ledger import net_bps
from delta_arb.tables import number


def walk(verdict, inputs) -> Picture:
    """Equity of the walk-forward, earned on quotes not seen, against what the look-backs of its folds had promised."""
    title = "Earned out of sample, against what the look-backs promised"
    if verdict.judgement is None:
        return figures.empty(title, verdict.reason, inputs)
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
        at, shown = figures.extremes(found.equity.ts_ns, found.equity.net)
        ax.plot(
            figures.when(at), shown, color=figures.BASIS, lw=1.3,
            label=f"earned out of sample, marked, {number(found.equity.net[-1] / days)} USDT a day",
        )  # fmt: skip
        ax.axhline(0, color=figures.SOFT, lw=0.8)
        ax.set_xlim(figures.when(ends[0]), figures.when(max(int(ends[-1]), int(found.equity.ts_ns[-1]))))
        ax.set_ylabel("net, USDT")
        ax.set_title(
            "stripes: folds; yellow: nothing passed on the look-back, not traded", fontsize=9, fontweight="normal"
        )
        ax.legend(loc="upper left")
        figures.dates(ax)
    return Picture(figures.marked(title, inputs), figure)


def _shade(ax, sheet, legend: bool = False) -> None:
    from delta_arb.report.tearsheet import SAYS

    for name, part in sheet.parts.items():
        begin, end = figures.when(part.tape.start_ns), figures.when(part.tape.end_ns)
        ax.axvspan(begin, end, color=figures.PARTS[name], lw=0, zorder=0, label=SAYS[name] if legend else None)


def equity(sheet, inputs) -> Picture:
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
        at, shown = figures.extremes(sheet.curve.ts_ns, net)
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
        at, shown = figures.extremes(sheet.curve.ts_ns, 100 * underwater(capital + net))
        below.fill_between(figures.when(at), shown, 0, color=figures.LOSS, alpha=0.55, lw=0)
        below.set_ylabel(f"below peak,\n% of {capital:g} USDT")
        figures.dates(below)
    return Picture(figures.marked(title, inputs), figure)


def attribution(sheet, inputs) -> Picture:
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


def trades(sheet, inputs) -> Chart | Picture:
    """Every trade of the whole replay: how long held, what earned, why ended."""

    title = "Every trade of the whole replay"
    if sheet.empty_because:
        return figures.empty(title, sheet.empty_because, inputs)
    data = []
    for reason, color in figures.REASONS.items():
        ended = [t for t in sheet.trades if t.reason == reason]
        if ended:
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": reason,
                    "x": figures.packed([t.held_s / 60 for t in ended]),
                    "y": figures.packed([t.net_usdt for t in ended]),
                    "text": [_hover(sheet, t) for t in ended],
                    "hovertemplate": "%{text}<br>held %{x:.1f} min<extra>" + reason + "</extra>",
                    "marker": {"size": 10, "color": color, "opacity": 0.8, "line": {"width": 1, "color": "white"}},
                }
            )
    zero = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": 0,
        "y1": 0,
        "line": {"color": figures.BASIS, "width": 1},
    }
    axes = {
        "xaxis": {"title": {"text": "held, minutes"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "net, USDT"}},
    }
    return Chart(figures.marked(title, inputs), data, {"height": 380, "shapes": [zero], **axes})


def _hover(sheet, trade) -> str:
    opened = str(figures.when(trade.opened_ns))[:19].replace("T", " ")
    money = f"net {number(trade.net_usdt, 4)} USDT, fees {number(trade.fees_usdt, 4)}"
    return f"{opened} UTC, {sheet.part_of(trade)}<br>{money}, net {number(net_bps([trade]), 1)} bps"


def holds(sheet, inputs) -> Picture:
    """Holding times, and how pairs ended."""
    title = "Holding times and endings"
    if sheet.empty_because:
        return figures.empty(title, sheet.empty_because, inputs)
    with figures.picture(title, inputs, 2.9, ncols=2, width_ratios=(2, 1)) as (figure, (left, right)):
        present = [r for r in figures.REASONS if any(t.reason == r for t in sheet.trades)]
        held = [[t.held_s / 60 for t in sheet.trades if t.reason == r] for r in present]
        left.hist(held, bins=24, stacked=True, color=[figures.REASONS[r] for r in present], label=present)
        limit = sheet.thresholds.max_hold_s / 60
        left.axvline(limit, color=figures.BASIS, ls="--", lw=1)
        left.annotate(
            "longest hold ", (limit, 0.96), xycoords=("data", "axes fraction"), ha="right", va="top", fontsize=8.5
        )
        left.set_xlim(0)
        left.set_xlabel("held, minutes")
        left.set_ylabel("trades")
        counts = [len(h) for h in held]
        right.barh(present, counts, color=[figures.REASONS[r] for r in present])
        for k, count in enumerate(counts):
            right.annotate(f" {count}", (count, k), va="center")
        right.invert_yaxis()
        right.margins(x=0.15)
        right.grid(axis="y", visible=False)
        right.set_xlabel("trades")
        for ax in (left, right):
            (ax.yaxis if ax is left else ax.xaxis).get_major_locator().set_params(integer=True)
    return Picture(figures.marked(title, inputs), figure)


def sensitivity(costs_, later, inputs) -> Picture:
    """Net a day of held thresholds when fills cost more and when orders arrive later."""
    title = "How much depends on costs and latency"
    if not any(p.trades for ladder in (costs_, later) for results in ladder.results.values() for p in results):
        return figures.empty(title, "no trade at any step", inputs)
    with figures.picture(title, inputs, 3.0, ncols=2, sharey=True) as (figure, axes):
        for ax, ladder in zip(axes, (costs_, later), strict=True):
            for (part, results), color, marker in zip(
                ladder.results.items(),
                (figures.SOFT, figures.NOTE, figures.GAIN)[-len(ladder.results) :],
                "^so",
                strict=False,
            ):
                ax.plot(ladder.steps, [p.net_usdt_day for p in results], marker=marker, ms=5, color=color, label=part)
            ax.axhline(0, color=figures.BASIS, lw=0.8)
            ax.axvline(ladder.base, color=figures.SOFT, ls=":", lw=1)
            ax.set_xlabel(ladder.unit)
            ax.set_title(ladder.title, fontsize=9.5)
        axes[1].set_xscale("log")
        axes[1].set_xticks(later.steps, [f"{s:g}" for s in later.steps])
        axes[1].minorticks_off()
        axes[0].set_ylabel("net, USDT a day")
        axes[0].legend()
    return Picture(figures.marked(title, inputs), figure)
