"""The review of a run as a page beside its journal, with its figures for the index of everything."""

import base64
import html
import json
from datetime import UTC, datetime
from pathlib import Path

from delta_arb.params import write_atomic
from delta_arb.report.banner import mark_pills
from delta_arb.report.figures import Picture
from delta_arb.report.index import refresh, review_folder
from delta_arb.report.pages import document
from delta_arb.review import plots, tables
from delta_arb.review.session_review import Review


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
    heading, decisions, bridge, differences, pairs, fills, rested, fees, funding, findings = tables.everything(found)
    shown = (
        findings,
        decisions,
        plots.bridge(found),
        bridge,
        differences,
        pairs,
        plots.slippage(found),
        fills,
        rested,
        fees,
        funding,
    )
    name = html.escape(found.run.pair_name) + mark_pills({"synthetic": found.run.synthetic})
    return (
        f'<header class="bar"><b>delta_arb</b><span>{name}</span><nav aria-label="pages">'
        '<a href="../../../index.html">All runs</a></nav></header><div class="page"><main id="content">'
        f"<h1>Was live what the backtest says?</h1>{heading._repr_html_()}{''.join(map(_shown, shown))}</main></div>"
    )


def _shown(part) -> str:
    if isinstance(part, Picture):
        data = base64.b64encode(part.png()).decode()
        return f'<p class="output_png"><img alt="{html.escape(part.title)}" src="data:image/png;base64,{data}"></p>'
    return f'<div class="output_subarea">{part._repr_html_()}</div>'
