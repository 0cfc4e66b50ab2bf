"""The index of all runs, sessions and reviews of all pairs: what is in force, and the way to every page."""

import fcntl
import html
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from delta_arb import __version__
from delta_arb.errors import ParamsError
from delta_arb.params import Params, load, write_atomic
from delta_arb.report.banner import DASH, mark_pills, number, sentence, tiles, time_element, usdt, verdict
from delta_arb.report.index_rows import FIGURE_NAMES, RESEARCH, REVIEW, SESSION, IndexRow, research, reviews, sessions
from delta_arb.report.pages import document, exports, history, read_json

EXPORTS_SHOWN = 40
COLUMNS = (
    ("", "pick"), ("When (UTC)", ""), ("What", ""), ("Page", ""), ("Pair", ""), ("Result", "result"),
    *((name, "num") for name in FIGURE_NAMES), ("Seconds", "num"),
)  # fmt: skip


def refresh(reports: Path) -> Path:
    """Write the index anew; two pairs may end at the same moment."""
    with open(reports / ".index.lock", "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        return write_index(reports)


def write_index(reports: Path) -> Path:
    """The index of everything below `reports`, newest first."""
    records = history(reports)
    pairs = sorted({record["pair"] for record in records})
    cards = "".join(_card(reports, pair, [r for r in records if r["pair"] == pair]) for pair in pairs)
    listed = [*(research(reports, record) for record in records), *sessions(reports), *reviews(reports)]
    rows = "".join(map(_row, sorted(listed, key=lambda row: row.stamp, reverse=True)))
    heads = "".join(f'<th class="{kind}">{label.replace("/", "/<wbr>")}</th>' for label, kind in COLUMNS)
    kinds = "".join(f"<option>{kind}</option>" for kind in (RESEARCH, SESSION, REVIEW))
    body = (
        '<header class="bar"><b>delta_arb</b><span>runs, sessions, reviews</span>'
        f'<span class="right">{_universe(reports)}{len(listed)} listed · version {__version__}</span></header>'
        f'<main class="index"><h1 class="skip">delta_arb</h1><h2>In force</h2><div class="cards">{cards}</div><h2>Everything</h2>'
        '<p class="quiet">Of research, figures are out of sample: of the walk-forward, or of the judged part where there is '
        "none; above cash: a year on all capital, less what cash pays. Of a live session they are of its closed pairs. "
        "Click a heading to sort, tick two rows to compare them.</p>"
        '<p class="tools"><input type="search" id="filter" placeholder="filter rows" aria-label="filter rows"> '
        f'<select id="kind" aria-label="what"><option value="">everything</option>{kinds}</select></p>'
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
    sides = "".join(f'<td class="{kind}">{cell}</td>' for cell, (_, kind) in zip(cells, COLUMNS, strict=True))
    return f'<tr class="{html.escape(row.status)}" data-kind="{row.kind}">{sides}</tr>'


def _card(reports: Path, pair: str, records: list[dict]) -> str:
    """What the runner trades now: the newest published parameters of a pair."""
    try:
        published = load(reports / pair / "params" / "latest.json")
    except ParamsError as error:
        missing = not (reports / pair / "params" / "latest.json").exists()
        why = "Nothing published yet." if missing else f"Damaged: {str(error).split(': ', 1)[-1]}"
        return f'<section class="card none"><h3>{html.escape(pair)}</h3><p>{html.escape(why)}</p></section>'
    until = f'<span class="until" data-until="{published.valid_until:%Y-%m-%dT%H:%M:%SZ}">valid until</span>'
    return (
        f'<section class="card {"yes" if published.trade else "no"}">'
        f"<h3>{html.escape(pair)}{mark_pills({'synthetic': published.data.synthetic, 'candles': published.data.kind == 'candles'})}</h3>"
        f"<p>{verdict(published.trade)} {html.escape(sentence(published.reason))}</p>"
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
    yield "Longest hold, min", number(rule.max_hold_s / 60, ",.0f")
    yield "Walk-forward net USDT/day", usdt(evidence.walk_net_usdt_day) + interval
    yield "Confidence", number(evidence.confidence, ".0%")


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
