"""What the index lists, as one kind of row: runs of the notebooks, sessions of the runner, and reviews of these."""

import html
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from delta_arb.live.journal import trade_of
from delta_arb.market import DAY_S
from delta_arb.report.banner import DASH, FIGURES, figures, mark_pills, number, page_label, plain, result
from delta_arb.report.bottom_line import COURSE
from delta_arb.report.pages import read_json
from delta_arb.strategy.ledger import TRADE_FIELDS, Trade, net_bps, total

RESEARCH, SESSION, REVIEW = "research", "live session", "review"
UNFINISHED = "no end in its journal: it runs, or was killed"
RUNS = """SELECT runs.run_id, started, ended, mode, outcome,
    (SELECT content FROM params WHERE params.run_id = runs.run_id AND content IS NOT NULL ORDER BY rowid DESC LIMIT 1)
FROM runs ORDER BY started"""


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One row. `stamp` as a run's folder has it, UTC; `found`, `links` and `pair` are HTML; `course` is money over time."""

    kind: str
    stamp: str
    pair: str
    links: str
    found: str
    figures: tuple[str, ...]
    seconds: float | None = None
    status: str = "ok"
    options: tuple[str, ...] = ()
    course: tuple[float, ...] = ()


FIGURE_NAMES = ("Entry bps", "Exit bps", "Net USDT", *(label for label, _, _ in FIGURES))


def research(reports: Path, record: dict) -> IndexRow:
    """A run of the notebooks; its figures are those out of sample."""
    line = record.get("line") or {}
    entry, exit_, *rest = (text for _, text in figures(record))
    net, days = line.get("net_usdt_day"), line.get("days")
    whole = number(net * days, "+.2f") if net is not None and record.get("status") == "ok" else DASH
    return IndexRow(
        RESEARCH,
        record["folder"].name,
        html.escape(record["pair"]) + mark_pills(record),
        _pages(reports, record["folder"]),
        f'{result(record)} <span title="{html.escape(str(record.get("reason") or ""))}">{html.escape(plain(record))}</span>',
        (entry, exit_, whole, *rest),
        record.get("seconds"),
        str(record.get("status", "")),
        tuple(record.get("options") or ()),
        tuple(line.get("course") or ()),
    )


def _pages(reports: Path, folder: Path) -> str:
    stems = [path.stem for path in sorted(folder.glob("*.html"))]
    return " ".join(_link(reports, folder / f"{stem}.html", stem[:2], page_label(stem)) for stem in stems) or DASH


def _link(reports: Path, page: Path, text: str, title: str) -> str:
    return f'<a href="{page.relative_to(reports).as_posix()}" title="{title}">{text}</a>'


def sessions(reports: Path) -> Iterator[IndexRow]:
    """Every run in every journal, and the journals that cannot be read."""
    for journal in sorted(reports.glob("*/live/*.sqlite")):
        try:
            with closing(sqlite3.connect(f"{journal.resolve().as_uri()}?mode=ro", uri=True)) as db:
                yield from [_session(reports, journal, db, run) for run in db.execute(RUNS).fetchall()]
        except (sqlite3.Error, ValueError) as error:
            at = f"{datetime.fromtimestamp(journal.stat().st_mtime).astimezone():%Y%m%dT%H%M%SZ}"
            pair, why = journal.parent.parent.name, html.escape(f"{journal.name} cannot be read: {error}")
            yield IndexRow(SESSION, at, html.escape(pair), DASH, why, (DASH,) * len(FIGURE_NAMES), status="failed")


def _session(reports: Path, journal: Path, db: sqlite3.Connection, run: tuple) -> IndexRow:
    run_id, started, ended, mode, outcome, content = run
    params = json.loads(content or "{}")
    rows = db.execute(f"SELECT {', '.join(TRADE_FIELDS)} FROM trades WHERE run_id = ? ORDER BY closed_ns", (run_id,))
    trades = [trade_of(row) for row in rows]
    began, end = (datetime.fromisoformat(at) if at else None for at in (started, ended))
    lasted_s = (end - began).total_seconds() if end else None
    rule, data = params.get("rule") or {}, params.get("data") or {}
    page = review_folder(reports, journal.parent.parent.name) / f"{run_id}.html"
    marks = {"synthetic": data.get("synthetic"), "candles": data.get("kind") == "candles"}
    return IndexRow(
        SESSION,
        f"{began:%Y%m%dT%H%M%SZ}",
        html.escape(journal.parent.parent.name) + mark_pills(marks),
        _link(reports, page, "review", "was it what the backtest says?") if page.exists() else DASH,
        f"<b>{html.escape(mode)}</b> {html.escape(outcome or UNFINISHED)}",
        (*_levels(rule), *_money(trades, lasted_s)),
        lasted_s,
        options=(f"run {run_id}", f"parameters {params.get('run_id', DASH)}"),
        course=_course(trades),
    )


def _levels(rule: dict) -> tuple[str, str]:
    """Entry and exit of both directions, as research shows them."""
    record = {"status": "ok", "metrics": rule}
    entry, exit_, *_ = (text for _, text in figures(record))
    return entry, exit_


def _money(trades: list[Trade], lasted_s: float | None) -> tuple[str, ...]:
    """Net, net a day of what lasted a day at least, number of pairs, bps; what is above cash is research's question."""
    net = total(t.net_usdt for t in trades)
    day = net * DAY_S / lasted_s if lasted_s and lasted_s >= DAY_S else None
    return number(net, "+.2f"), number(day, "+.2f"), f"{len(trades)}", number(net_bps(trades), "+.1f"), DASH


def _course(trades: list[Trade]) -> tuple[float, ...]:
    """Net of the pairs closed so far, at up to `COURSE` of them, the last one included."""
    sums, so_far = [], 0.0
    for trade in trades:
        so_far += trade.net_usdt
        sums.append(round(so_far, 4))
    step = -(-len(sums) // COURSE) or 1
    return tuple(sums[::-1][::step][::-1])


def review_folder(reports: Path, pair: str) -> Path:
    """Where the reviews of a pair's sessions are: a page and its figures for each run."""
    return reports / pair / "live" / "reviews"


def reviews(reports: Path) -> Iterator[IndexRow]:
    """Every review that was written."""
    for path in sorted(reports.glob("*/live/reviews/*.json")):
        found = read_json(path)
        if "run_id" not in found:
            continue
        same = found["status"] == "identical"
        verdict = (
            f'<span class="pill {"yes" if same else "failed"}">decisions {"identical" if same else "differ"}</span>'
        )
        backtest, alarms = number(found["backtest_net_usdt"], "+.2f"), found["fee_alarms"]
        said = f"of {found['mode']}; the backtest earned {backtest} USDT" + ("; fee alarm" if alarms else "")
        money = number(found["net_usdt"], "+.2f"), DASH, f"{found['pairs']}", DASH, DASH
        yield IndexRow(
            REVIEW,
            found["reviewed"],
            html.escape(found["pair"]) + mark_pills(found),
            _link(reports, path.with_suffix(".html"), "review", "was it what the backtest says?"),
            f"{verdict} {html.escape(said)}",
            (DASH, DASH, *money),
            status="ok" if same else "failed",
            options=(f"run {found['run_id']}",),
        )
