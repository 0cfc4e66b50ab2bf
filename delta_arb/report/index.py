"""The index of all runs, sessions and reviews of all pairs: what is in force, and the way to every page."""

import fcntl
import html
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from delta_arb import __version__
from delta_arb.errors import ParamsError
from delta_arb.live.journal import trade_of
from delta_arb.market import DAY_S
from delta_arb.params import Params, drop_half_written, load, write_atomic
from delta_arb.report.banner import (
    DASH,
    FIGURES,
    figures,
    mark_pills,
    number,
    page_label,
    plain,
    result,
    tiles,
    time_element,
    usdt,
    verdict,
    warnings,
)
from delta_arb.report.bottom_line import COURSE
from delta_arb.report.pages import document, exports, history, read_json
from delta_arb.strategy.ledger import TRADE_FIELDS, Trade, net_bps, total
from delta_arb.tables import seconds, share

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
        (*_rule_levels(rule), *_money(trades, lasted_s)),
        lasted_s,
        options=(f"run {run_id}", f"parameters {params.get('run_id', DASH)}"),
        course=_net_course(trades),
    )


def _rule_levels(rule: dict) -> tuple[str, str]:
    """Entry and exit of both directions, as research shows them."""
    record = {"status": "ok", "metrics": rule}
    entry, exit_, *_ = (text for _, text in figures(record))
    return entry, exit_


def _money(trades: list[Trade], lasted_s: float | None) -> tuple[str, ...]:
    """Net, net a day of what lasted a day at least, number of pairs, bps; what is above cash is research's question."""
    net = total(t.net_usdt for t in trades)
    day = net * DAY_S / lasted_s if lasted_s and lasted_s >= DAY_S else None
    return number(net, "+.2f"), number(day, "+.2f"), f"{len(trades)}", number(net_bps(trades), "+.1f"), DASH


def _net_course(trades: list[Trade]) -> tuple[float, ...]:
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


EXPORTS_SHOWN = 40
COLUMNS = (
    ("", "pick"), ("When (UTC)", ""), ("What", ""), ("Page", ""), ("Pair", ""), ("Result", "result"),
    *((name, "num") for name in FIGURE_NAMES), ("Seconds", "num"),
)  # fmt: skip


def refresh(reports: Path) -> Path:
    """Write the index anew; two pairs may end at the same moment."""
    with open(reports / ".index.lock", "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        drop_half_written(reports)
        return write_index(reports)


def write_index(reports: Path) -> Path:
    """The index of everything below `reports`, newest first."""
    records = history(reports)
    pairs = sorted({record["pair"] for record in records})
    cards = "".join(_card(reports, pair, [r for r in records if r["pair"] == pair]) for pair in pairs)
    listed = [*(research(reports, record) for record in records), *sessions(reports), *reviews(reports)]
    rows = "".join(map(_row, sorted(listed, key=lambda row: row.stamp, reverse=True)))
    heads = "".join(f'<th class="{kind}">{label.replace("/", "/<wbr>")}</th>' for label, kind in COLUMNS)
    sorts = "".join(
        f'<option value="{k}">by {name}</option>' for k, (name, _) in enumerate(COLUMNS) if name not in ("", "Page")
    )
    kinds = "".join(f"<option>{kind}</option>" for kind in (RESEARCH, SESSION, REVIEW))
    body = (
        '<header class="bar"><b>delta_arb</b><span>runs, sessions, reviews</span>'
        f'<span class="right">{_universe(reports)}{len(listed)} listed · version {__version__}</span></header>'
        f'<main class="index"><h1 class="skip">delta_arb</h1><h2>In force</h2><div class="cards">{cards}</div><h2>Everything</h2>'
        '<p class="quiet">Of research, figures are out of sample: of the walk-forward, or of the judged part where there is '
        "none; above cash: a year on all capital, less what cash pays. Of a live session they are of its closed pairs. "
        "Tick two rows to compare them.</p>"
        '<p class="tools"><input type="search" id="filter" placeholder="filter rows" aria-label="filter rows"> '
        f'<select id="kind" aria-label="what"><option value="">everything</option>{kinds}</select> '
        f'<select id="sort" aria-label="sort by">{sorts}</select> <button id="turn">turn the order</button></p>'
        '<section id="compare" aria-live="polite"></section>'
        f'<div class="wide" tabindex="0"><table class="runs"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></main>'
    )
    return write_atomic(reports / "index.html", document("delta_arb: all runs", body, "index.js"))


def _universe(reports: Path) -> str:
    """The way to the page that ranks many pairs, where there is one."""
    return '<a href="universe/index.html">universe</a> · ' if (reports / "universe" / "index.html").exists() else ""


def _row(row: IndexRow) -> str:
    """A row with a box to compare it with another, which holds its options and its money over time."""
    options = html.escape(json.dumps(row.options))
    pick = (
        f'<input type="checkbox" aria-label="compare" data-course="{json.dumps(row.course)}" data-options="{options}">'
    )
    seconds = number(row.seconds, ".1f")
    cells = [pick, time_element(row.stamp), row.kind, row.links, row.pair, row.found, *row.figures, seconds]
    named = zip(cells, COLUMNS, strict=True)
    sides = "".join(f'<td class="{kind}" data-name="{name}">{cell}</td>' for cell, (name, kind) in named)
    return f'<tr class="{html.escape(row.status)}" data-kind="{row.kind}">{sides}</tr>'


def _card(reports: Path, pair: str, records: list[dict]) -> str:
    """What the runner trades now: the newest published parameters of a pair."""
    try:
        published = load(reports / pair / "params" / "latest.json")
    except ParamsError as error:
        missing = not (reports / pair / "params" / "latest.json").exists()
        why = "Nothing published yet." if missing else f"Damaged: {str(error).split(': ', 1)[-1]}"
        return f'<section class="card none"><h3>{html.escape(pair)}</h3><p>{html.escape(why)}</p></section>'
    record = {
        "status": "ok",
        "trade": published.trade,
        "reason": published.reason,
        "candidate": published.model_dump(mode="json"),
    }
    until = f'<span class="until" data-until="{published.valid_until:%Y-%m-%dT%H:%M:%SZ}">valid until</span>'
    return (
        f'<section class="card {"yes" if published.trade else "no"}">'
        f"<h3>{html.escape(pair)}{mark_pills({'synthetic': published.data.synthetic, 'candles': published.data.kind == 'candles'})}</h3>"
        f"<p>{verdict(published.trade)} {html.escape(plain(record))}</p>{warnings(record)}"
        f"<dl>{tiles(shown for shown in _card_figures(published) if shown[1] != DASH)}</dl>{_course(records)}"
        f"{_stability(exports(reports / pair))}{_warning(records)}"
        f'<p class="quiet">created {published.created:%Y-%m-%d %H:%M} UTC, {until} '
        f"{published.valid_until:%Y-%m-%d %H:%M} UTC"
        f' · <a href="{html.escape(pair)}/params/latest.json">latest.json</a></p></section>'
    )


def _card_figures(published: Params) -> Iterator[tuple[str, str]]:
    rule, evidence = published.rule, published.evidence
    low, high = evidence.walk_net_low_usdt_day, evidence.walk_net_high_usdt_day
    interval = "" if low is None else f" <small>{usdt(low)} to {usdt(high)}</small>"
    yield "Entry bps", number(rule.entry_bps, ".1f")
    yield "Exit bps", number(rule.exit_bps, ".1f")
    if rule.reverse_entry_bps is not None:
        yield "Reverse entry bps", number(rule.reverse_entry_bps, ".1f")
        yield "Reverse exit bps", number(rule.reverse_exit_bps, ".1f")
    yield "Clip USDT", number(rule.clip_usdt, ",.0f")
    yield "Longest hold", seconds(rule.max_hold_s)
    yield "Walk-forward net USDT/day", usdt(evidence.walk_net_usdt_day) + interval
    yield "Chance of a gain", DASH if evidence.confidence is None else share(evidence.confidence)


def _course(records: list[dict]) -> str:
    """Judged net of the last runs, oldest first, as a small line around zero; nothing for fewer than three."""
    nets = [record["metrics"].get("net_usdt_day") for record in reversed(records) if record.get("status") == "ok"]
    nets = [net for net in nets if isinstance(net, int | float)][-40:]
    if len(nets) < 3:
        return ""
    low, high = min(0.0, *nets), max(0.0, *nets)
    y = [32 - 30 * (net - low) / (high - low or 1.0) for net in (0.0, *nets)]
    points = " ".join(f"{4 + 232 * k / (len(nets) - 1):.1f},{value:.1f}" for k, value in enumerate(y[1:]))
    return (
        f'<svg class="course" viewBox="0 0 240 36" role="img"><title>judged net, last {len(nets)} runs</title>'
        f'<line x1="0" x2="240" y1="{y[0]:.1f}" y2="{y[0]:.1f}"/><polyline points="{points}"/></svg>'
    )


def _stability(paths: Sequence[Path]) -> str:
    """Entry and exit over the last exports, as each run chose and as in force, and how far the last choice moved."""
    found = [read_json(path) for path in paths[-EXPORTS_SHOWN:]]
    chosen = [_of(export, "evidence", *CHOSEN) for export in found]
    in_force = [_of(export, "rule", "entry_bps", "exit_bps") for export in found]
    known = [levels for levels in chosen if _known(*levels[:2])]
    if len(known) < 2:
        return ""
    caption = f"Entry and exit over {len(found)} runs: thin as chosen, thick in force. {_moved(*known[-2:])}"
    return f'{_levels([levels[:2] for levels in chosen], in_force)}<p class="quiet">{caption}</p>'


CHOSEN = ("best_entry_bps", "best_exit_bps", "entry_se_bps", "exit_se_bps")


def _of(export: dict, section: str, *names: str) -> tuple:
    values = export.get(section)
    return tuple(values.get(name) if isinstance(values, dict) else None for name in names)


def _levels(chosen: Sequence[tuple], in_force: Sequence[tuple]) -> str:
    """The small figure: thin what each run chose, thick what it exported; runs without are passed over."""
    values = [level for levels in (*chosen, *in_force) for level in levels if _known(level)]
    low, high = min(values), max(values)
    across = 232 / max(len(chosen) - 1, 1)

    def line(levels: Sequence[object], kind: str) -> str:
        heights = [(k, 44 - 40 * (v - low) / (high - low or 1.0)) for k, v in enumerate(levels) if _known(v)]
        drawn = " ".join(f"{4 + across * k:.1f},{y:.1f}" for k, y in heights)
        return f'<polyline class="{kind}" points="{drawn}"/>'

    kinds = (in_force, "force"), (chosen, "chosen")
    drawn = [line(side, kind) for pairs, kind in kinds for side in zip(*pairs, strict=True)]
    span = f"{number(low, '.1f')} to {number(high, '.1f')} bps"
    title = f"entry and exit, last {len(chosen)} runs, {span}"
    return f'<svg class="course levels" viewBox="0 0 240 48" role="img"><title>{title}</title>{"".join(drawn)}</svg>'


def _moved(before: tuple, now: tuple) -> str:
    """The larger move of the two thresholds in its own standard errors; runs on nearly the same quotes hardly move."""
    if not (_known(*now[2:]) and min(now[2:]) > 0):
        return "The last choice has no standard error."
    moved = max(abs(now[k] - before[k]) / now[k + 2] for k in (0, 1))
    return f"Since the run before, the choice moved by {moved:.1f} standard errors."


def _known(*values: object) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _warning(records: list[dict]) -> str:
    """How many runs have failed since the last good one."""
    failed = next((k for k, record in enumerate(records) if record.get("status") == "ok"), len(records))
    last = "The last run" if failed == 1 else f"The last {failed} runs"
    return f'<p class="warn">{last} failed; these are the last good parameters.</p>' if failed else ""
