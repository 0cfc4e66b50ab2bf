"""The figures of a live review (the steps from the backtest to the run, what each fill cost against the quotes), and its page."""

import base64
import html
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from delta_arb.market import LEGS
from delta_arb.params import write_atomic
from delta_arb.report.banner import mark_pills
from delta_arb.report.figures import BASIS, GAIN, LOSS, PERP, SOFT, SPOT, Picture, dates, empty, marked, picture, when
from delta_arb.report.index import refresh, review_folder
from delta_arb.report.pages import document
from delta_arb.review import tables
from delta_arb.review.bridge import CAUSES
from delta_arb.review.session_review import Review
from delta_arb.tables import Table


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


def slippage(review: Review) -> Picture | Table:
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


def write(found: Review, reports: Path) -> Path:
    """The page, its figures (`Review.to_json`) and the index; returns the page.

    Raises:
        OSError: the folder cannot be written.
    """
    folder, run = review_folder(reports, found.run.pair_name), found.run
    folder.mkdir(parents=True, exist_ok=True)
    values = found.to_json() | {"reviewed": f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}", "pair": run.pair_name}
    page = write_atomic(folder / f"{run.run_id}.html", document(f"Review · {run.pair_name}", _body(found)))
    write_atomic(folder / f"{run.run_id}.json", json.dumps(values, indent=2) + "\n")
    refresh(reports)
    return page


def _body(found: Review) -> str:
    heading, decisions, steps, differences, pairs, fills, rested, fees, funding, findings = tables.everything(found)
    figures = bridge(found), slippage(found)
    shown = (
        findings, decisions, figures[0], steps, differences, pairs, figures[1], fills, rested, fees, funding,
    )  # fmt: skip
    name = html.escape(found.run.pair_name) + mark_pills({"synthetic": found.run.synthetic})
    return (
        f'<header class="bar"><b>delta_arb</b><span>{name}</span><nav aria-label="pages">'
        '<a href="../../../index.html">All runs</a></nav></header><div class="page"><main id="content">'
        f"<h1>Was live what the backtest says?</h1>{heading._repr_html_()}{''.join(map(_shown, shown))}</main></div>"
    )


def _shown(part) -> str:
    if isinstance(part, Picture):
        data = base64.b64encode(part.png()).decode()
        return f'<p class="output_picture"><img alt="{html.escape(part.title)}" src="data:image/png;base64,{data}"></p>'
    return f'<div class="output">{part._repr_html_()}</div>'
