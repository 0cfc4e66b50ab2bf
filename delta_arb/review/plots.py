"""The figures of a live review: the steps from the backtest to the run, and what each fill cost against the quotes."""

import numpy as np

from delta_arb.market import LEGS
from delta_arb.report.figures import BASIS, GAIN, LOSS, PERP, SOFT, SPOT, Picture, dates, empty, marked, picture, when
from delta_arb.review.bridge import CAUSES
from delta_arb.review.session_review import Review


def bridge(review: Review) -> Picture:
    """Backtest, each cause that changed anything, and the run, as a waterfall in USDT."""
    b, title = review.bridge, "From backtest to live"
    causes = [(cause, b.usdt(cause)) for cause in CAUSES if any(d.cause == cause for d in b.differences)]
    names = ["backtest", *(cause for cause, _ in causes), "the run"]
    steps = np.array([usdt for _, usdt in causes])
    tops = b.backtest_net_usdt + np.cumsum(np.concatenate(([0.0], steps)))
    with picture(title, review.run, 3.2) as (figure, (ax,)):
        ax.bar([0, len(names) - 1], [b.backtest_net_usdt, b.net_usdt], color=SOFT, width=0.6)
        ax.bar(
            range(1, len(names) - 1), steps, bottom=tops[:-1], color=[GAIN if s > 0 else LOSS for s in steps], width=0.6
        )
        for k, (value, top) in enumerate(
            zip([b.backtest_net_usdt, *steps, b.net_usdt], [*tops, b.net_usdt], strict=True)
        ):
            ax.annotate(
                f"{value:+.4f}",
                (k, max(top, top - value if 0 < k < len(names) - 1 else top)),
                (0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=8.5,
            )
        ax.axhline(0.0, color=BASIS, linewidth=0.8)
        ax.set_xticks(range(len(names)), names)
        ax.set_ylabel("net, USDT")
        ax.margins(y=0.15)
    return Picture(marked(title, review.run), figure)


def slippage(review: Review) -> Picture:
    """Each filled order: bps against the touch it was decided on, by the time of the decision."""
    title = "Price paid against the touch at the decision"
    if not review.slipped:
        return empty(title, "nothing was filled in this run", review.run)
    with picture(title, review.run, 2.8) as (figure, (ax,)):
        for leg, color, mark in ((0, SPOT, "o"), (1, PERP, "s")):
            of = [s for s in review.slipped if s.leg == leg]
            ax.plot(
                when(np.array([s.ts_ns for s in of], np.int64)),
                [s.decided_bps for s in of],
                mark,
                color=color,
                markersize=4,
                label=LEGS[leg],
            )
        ax.axhline(0.0, color=BASIS, linewidth=0.8)
        ax.set_ylabel("slippage, bps (positive: it cost)")
        ax.legend(loc="upper left")
        dates(ax)
    return Picture(marked(title, review.run), figure)
