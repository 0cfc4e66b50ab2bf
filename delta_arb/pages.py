"""Report pages: executed notebooks as HTML, and the index of all runs; everything works from disk, without network.

    reports/index.html                     all runs of all pairs, newest first
    reports/assets/                        plotly.min.js and style.css, shared by every page
    reports/<pair>/<stamp>/                a run: run.json, metrics.json, notebooks, pages
    reports/<pair>/failed/<stamp>/         the same of a run that failed

Figures stay interactive: a notebook's plotly output is drawn by the one shared script. Formulas are drawn by
matplotlib's mathtext into the page, because the usual MathJax would be fetched from elsewhere.
"""

import base64
import html
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from . import __version__
from .errors import ParamsError
from .params import Params, load, write_atomic

STAMP = re.compile(r"\d{8}T\d{6}Z")
EXPORT = re.compile(r"\d{8}T\d{6}\.\d{6}Z\.json")
EXPORTS_SHOWN = 40
DASH = "—"
PLOTLY = "application/vnd.plotly.v1+json"
NOT_SHOWN = ("application/vnd.jupyter.widget-view+json", "application/javascript")  # both need a kernel or jQuery
CODE_LABELS = {"parameters": "default parameters", "injected-parameters": "parameters of this run"}
NUMBER = re.compile(r"[-+−]?\.?\d")
PAGE_LABELS = {"01": "Spread", "02": "Optimization", "03": "Backtest"}


# --- what is on disk -------------------------------------------------------------------------------------------------


def run_folders(pair: Path) -> list[Path]:
    """Folders of the runs of one pair that are not failed, oldest first; nothing else is ever listed (or removed)."""
    if not pair.is_dir():
        return []
    return sorted(path for path in pair.iterdir() if path.is_dir() and STAMP.fullmatch(path.name))


def exports(pair: Path) -> list[Path]:
    """Dated parameter files of one pair, oldest first; `latest.json` is none of them."""
    return sorted(path for path in (pair / "params").glob("*.json") if EXPORT.fullmatch(path.name))


def history(reports: Path) -> list[dict]:
    """The records of all runs below `reports`, newest first, each with its metrics and its folder."""
    pairs = [path for path in reports.iterdir() if path.is_dir()] if reports.is_dir() else []
    folders = [folder for pair in pairs for place in (pair, pair / "failed") for folder in run_folders(place)]
    records = [{"metrics": read_json(f / "metrics.json"), **read_json(f / "run.json"), "folder": f} for f in folders]
    return sorted((r for r in records if "run_id" in r), key=lambda r: (r["folder"].name, r["pair"]), reverse=True)


def read_json(path: Path) -> dict:
    """An object from a file; empty where there is none or it is damaged: one bad file must not hide the other runs."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def write_assets(reports: Path) -> None:
    """The shared script and style sheet, rewritten when this version's differ."""
    from plotly.offline import get_plotlyjs

    for name, text in (("plotly.min.js", get_plotlyjs()), ("style.css", STYLE)):
        path = reports / "assets" / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_atomic(path, text)


# --- one notebook ----------------------------------------------------------------------------------------------------


def write_page(notebook: Path, record: dict, reports: Path) -> Path:
    """The page of an executed notebook, beside it; `record` is the run's, with its metrics."""
    import nbformat

    folder = notebook.parent
    body = _body(nbformat.read(notebook, as_version=4))
    up = os.path.relpath(reports, folder)
    pages = sorted({path.stem for path in folder.glob("*.ipynb")})
    title = f"{_title(notebook.stem)} · {record['pair']}"
    content = _banner(record, pages, notebook.stem, up) + f"<main>{body}</main>"
    return write_atomic(notebook.with_suffix(".html"), _document(title, content, up))


def _body(nb) -> str:
    """Cells as HTML: prose, folded code, outputs."""
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_file="page.html.j2", extra_loaders=[DictLoader({"page.html.j2": TEMPLATE})])
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = exporter.exclude_anchor_links = True
    text, _ = exporter.from_notebook_node(_offline(nb), resources={"code_labels": CODE_LABELS})
    return re.sub(r"<table.*?</table>", lambda found: _aligned(found[0]), text, flags=re.DOTALL)


def _aligned(table: str) -> str:
    """A table whose columns of words are marked, so that the style sheet puts only figures to the right."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(table, "html.parser")
    rows = [row.find_all(["th", "td"], recursive=False) for row in soup.find_all("tr")]
    if len({len(row) for row in rows}) != 1:
        return table  # spanning cells: the columns are not what they seem
    for column in zip(*rows, strict=True):
        cells = [cell.get_text().strip() for cell in column if cell.name == "td"]
        if not any(NUMBER.match(cell) for cell in cells):
            for cell in column:
                cell["class"] = [*cell.get("class", []), "words"]
    return str(soup)


def _offline(nb):
    """The notebook with plotly outputs and formulas turned into HTML that needs no network."""
    nb.metadata.pop("widgets", None)
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = _with_formulas(cell.source)
        for output in cell.get("outputs", []):
            if "data" in output:
                _offline_output(output.data)
    return nb


def _offline_output(data: dict) -> None:
    for mimetype in NOT_SHOWN:
        data.pop(mimetype, None)
    if PLOTLY in data:
        data["text/html"] = _figure(data.pop(PLOTLY))
        data.pop("image/png", None)
    if "text/latex" in data and "text/html" not in data:
        data["text/html"] = _with_formulas(data.pop("text/latex"))


def _figure(figure: dict) -> str:
    """A plotly figure as a <div> and its call; the library is loaded once, in the page's head."""
    from plotly.io import to_html

    # By default plotly puts a button on every figure that uploads it to a cloud.
    private = {"showSendToCloud": False, "plotlyServerURL": "", "displaylogo": False}
    config = {"responsive": True, **figure.get("config", {}), **private}
    drawn = {"data": figure.get("data", []), "layout": figure.get("layout", {})}
    return to_html(drawn, config=config, include_plotlyjs=False, full_html=False, validate=False)


# Code spans and fences come first in the alternation, so that a dollar inside them stays one. A closing dollar is not
# followed by a digit: "$5 and $6" is money.
FORMULA = re.compile(
    r"(?P<code>```.*?```|`[^`\n]+`)"
    r"|\$\$(?P<block>.+?)\$\$"
    r"|(?<![\\\w$])\$(?P<inline>[^\s$](?:[^$\n]*[^\s$\\])?)\$(?![\d$])",
    re.DOTALL,
)


def _with_formulas(source: str) -> str:
    def drawn(found: re.Match) -> str:
        if found["code"]:
            return found["code"]
        if found["inline"]:
            return _formula(found["inline"])
        # mathtext draws one line at a time
        lines = re.sub(r"\\(begin|end)\{[a-z]+\*?\}|&", "", found["block"]).replace(r"\frac", r"\dfrac").split(r"\\")
        return f'<span class="formula">{"<br>".join(_formula(line) for line in lines if line.strip())}</span>'

    return FORMULA.sub(drawn, source)


@cache
def _formula(tex: str) -> str:
    """TeX as an inline picture, the TeX being its alternative text; the TeX itself where mathtext cannot draw it."""
    import matplotlib as mpl
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import math_to_image

    size = 36.0  # of an em; mathtext rounds to whole points, so a large size places the baseline well
    picture, plain = io.BytesIO(), " ".join(tex.split())
    try:
        with mpl.rc_context({"mathtext.fontset": "stix", "svg.hashsalt": "formula"}):
            depth = math_to_image(f"${plain}$", picture, prop=FontProperties(size=1.1 * size), dpi=72, format="svg")
    except ValueError:
        return f"<code>{html.escape(plain)}</code>"
    svg = picture.getvalue().decode()
    sides = (re.search(rf'<svg[^>]*? {side}="([\d.]+)pt"', svg)[1] for side in ("width", "height"))
    width, height = (float(side) / size for side in sides)
    data = base64.b64encode(re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL).encode()).decode()
    style = f"width:{width:.3f}em;height:{height:.3f}em;vertical-align:{-depth / size:.3f}em"
    return f'<img class="tex" alt="{html.escape(plain)}" style="{style}" src="data:image/svg+xml;base64,{data}">'


# --- header and index ------------------------------------------------------------------------------------------------


def write_index(reports: Path) -> Path:
    """The index of all runs of all pairs."""
    records = history(reports)
    pairs = sorted({record["pair"] for record in records})
    cards = "".join(_card(reports, pair, [r for r in records if r["pair"] == pair]) for pair in pairs)
    rows = "".join(_row(reports, record) for record in records)
    heads = "".join(f'<th class="{kind}">{label.replace("/", "/<wbr>")}</th>' for label, kind in COLUMNS)
    kept = "1 run" if len(records) == 1 else f"{len(records)} runs"
    body = (
        '<header class="bar"><b>delta_arb</b><span>research runs</span>'
        f'<span class="right">{kept} kept · version {__version__}</span></header>'
        f'<main class="index"><h2>In force</h2><div class="cards">{cards}</div><h2>Runs</h2>'
        '<p class="quiet">Net, trades, hit rate and drawdown are those of the judged window.</p>'
        f'<div class="wide"><table class="runs" title="click a heading to sort"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></main><script>{SCRIPT}</script>"
    )
    return write_atomic(reports / "index.html", _document("delta_arb runs", body, "."))


FIGURES = (
    ("Entry bps", "entry_bps", ".1f"),
    ("Exit bps", "exit_bps", ".1f"),
    ("Net USDT/day", "net_usdt_day", "+.2f"),
    ("Trades/day", "trades_day", ".1f"),
    ("Hit rate", "hit_rate", ".0%"),
    ("Drawdown", "drawdown", ".2%"),
)
COLUMNS = (
    ("Run (UTC)", ""),
    ("Report", ""),
    ("Pair", ""),
    ("Result", "result"),
    *((label, "num") for label, _, _ in FIGURES),
    ("Seconds", "num"),
)


def _row(reports: Path, record: dict) -> str:
    cells = [
        _utc(record["folder"].name),
        _links(reports, record["folder"]),
        html.escape(record["pair"]) + _synthetic(record),
        f"{_result(record)} {html.escape(str(record.get('reason') or ''))}",
        *(value for _, value in _figures(record)),
        number(record.get("seconds"), ".1f"),
    ]
    sides = "".join(f'<td class="{kind}">{cell}</td>' for cell, (_, kind) in zip(cells, COLUMNS, strict=True))
    return f'<tr class="{html.escape(record.get("status", ""))}">{sides}</tr>'


def _figures(record: dict) -> Iterator[tuple[str, str]]:
    """Label and text of the headline figures of a chosen set; of a failed run, or where none was chosen, dashes."""
    metrics = record["metrics"] if record.get("status") == "ok" else {}
    chosen = metrics.get("entry_bps") is not None
    for label, name, form in FIGURES:
        yield label, number(metrics.get(name), form) if chosen else DASH


def _links(reports: Path, folder: Path) -> str:
    where = folder.relative_to(reports).as_posix()
    pages = [path.stem for path in sorted(folder.glob("*.html"))]
    return " ".join(f'<a href="{where}/{page}.html" title="{_title(page)}">{page[:2]}</a>' for page in pages) or DASH


def number(value: object, form: str) -> str:
    """A figure as text, an em dash where there is none; true minus sign, so that columns align."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return DASH
    return format(value, form).replace("-", "−")


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
        f"<h3>{html.escape(pair)}{_synthetic({'synthetic': published.data.synthetic})}</h3>"
        f"<p>{_verdict(published.trade)} {html.escape(published.reason)}</p>"
        f"<dl>{_tiles(_card_figures(published))}</dl>{_course(records)}"
        f"{_stability(exports(reports / pair))}{_warning(records)}"
        f'<p class="quiet">created {published.created:%Y-%m-%d %H:%M} UTC, {until} '
        f"{published.valid_until:%Y-%m-%d %H:%M} UTC"
        f' · <a href="{html.escape(pair)}/params/latest.json">latest.json</a></p></section>'
    )


def _card_figures(published: Params) -> Iterator[tuple[str, str]]:
    rule, evidence = published.rule, published.evidence
    low, high = evidence.walk_net_low_usdt_day, evidence.walk_net_high_usdt_day
    interval = "" if low is None else f" <small>{number(low, '+.2f')} to {number(high, '+.2f')}</small>"
    yield "Entry bps", number(rule.entry_bps, ".1f")
    yield "Exit bps", number(rule.exit_bps, ".1f")
    yield "Clip USDT", number(rule.clip_usdt, ",.0f")
    yield "Longest hold, min", number(rule.max_hold_s / 60, ",.0f")
    yield "Judged net USDT/day", number(evidence.judged_net_usdt_day, "+.2f")
    yield "Walk-forward net USDT/day", number(evidence.walk_net_usdt_day, "+.2f") + interval
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


def _banner(record: dict, pages: list[str], here: str, up: str) -> str:
    """Header of a notebook's page: where we are, what came out, the ways to the other pages."""
    ways = "".join(
        f'<a href="{page}.html"{" class=here" if page == here else ""}>{page[:2]} {_title(page)}</a>' for page in pages
    )
    return (
        f'<header class="bar"><b>delta_arb</b><span>{html.escape(record["pair"])}{_synthetic(record)}</span>'
        f'<span>{_utc(record["stamp"])} UTC</span><nav>{ways}<a href="{up}/index.html">All runs</a></nav></header>'
        f'<section class="outcome {record["status"]} {"yes" if record.get("trade") else "no"}">'
        f"<p>{_result(record)} {html.escape(str(record.get('reason') or ''))}</p>"
        f"<dl>{_tiles(_figures(record))}</dl></section>"
    )


def _tiles(figures: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<div><dt>{label}</dt><dd>{value}</dd></div>" for label, value in figures)


def _title(stem: str) -> str:
    return PAGE_LABELS.get(stem[:2], stem.split("_", 1)[-1].replace("_", " "))


def _utc(stamp: str) -> str:
    return f"<time>{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]} {stamp[9:11]}:{stamp[11:13]}:{stamp[13:15]}</time>"


def _result(record: dict) -> str:
    """The verdict of a run that ended well, else its status."""
    if record.get("status") == "ok":
        return _verdict(record.get("trade"))
    return f'<span class="pill failed">{html.escape(str(record.get("status")))}</span>'


def _verdict(trade: object) -> str:
    return '<span class="pill yes">trade</span>' if trade else '<span class="pill no">do not trade</span>'


def _synthetic(record: dict) -> str:
    hint = "made by a program; says nothing about any market"
    return f' <span class="pill synthetic" title="{hint}">synthetic</span>' if record.get("synthetic") else ""


def _document(title: str, body: str, up: str) -> str:
    script = "" if up == "." else f'<script src="{up}/assets/plotly.min.js"></script>'
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{html.escape(title)}</title><link rel="icon" href="data:,">'
        f'<link rel="stylesheet" href="{up}/assets/style.css">{script}</head><body>{body}</body></html>\n'
    )


TEMPLATE = """{%- extends 'basic/index.html.j2' -%}
{% block input_group %}
{%- set ns = namespace(label='code') -%}
{%- for tag in cell.metadata.get('tags', []) -%}
{%- set ns.label = resources.code_labels.get(tag, ns.label) -%}
{%- endfor -%}
<details class="code"><summary>{{ ns.label }}</summary>{{ super() }}</details>
{% endblock input_group %}
"""

# Sorting, and the one thing a static page cannot know: whether the parameters are still valid when it is read.
SCRIPT = """
document.querySelectorAll('.until').forEach(e => {
  if (Date.parse(e.dataset.until) < Date.now()) { e.classList.add('stale'); e.textContent = 'STALE since'; }
});
document.querySelectorAll('table.runs th').forEach((th, k) => th.onclick = () => {
  const down = th.dataset.down = th.dataset.down === '1' ? '' : '1', numeric = th.classList.contains('num');
  const value = row => {
    const text = row.cells[k].textContent.trim();
    const number = parseFloat(text.replace('\u2212', '-'));
    return numeric ? (isNaN(number) ? -Infinity : number) : text;
  };
  const order = (a, b) => { const x = value(a), y = value(b); return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1); };
  const body = th.closest('table').tBodies[0];
  [...body.rows].sort(order).forEach(row => body.append(row));
});
"""

STYLE = """
:root { --ink: #1c2530; --quiet: #667282; --line: #dde3ea; --ground: #f5f7f9; --paper: #fff; --link: #1f5fa8;
  --yes: #1a7f4b; --no: #8a5a00; --bad: #b3261e; --synthetic: #6a3fb5;
  --mono: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font-variant-numeric: tabular-nums;
  font: 15px/1.55 system-ui, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }

.bar { position: sticky; top: 0; z-index: 5; display: flex; flex-wrap: wrap; gap: 4px 22px; align-items: center;
  padding: 9px 24px; background: #16202b; color: #dfe6ee; font-size: 14px; }
.bar b { color: #fff; letter-spacing: .02em; }
.bar nav, .bar .right { margin-left: auto; }
.bar a { color: #a9c9ee; margin-left: 16px; padding: 3px 0; }
.bar a.here { color: #fff; border-bottom: 2px solid #6fb1ff; }
main { max-width: 1080px; margin: 18px auto 60px; padding: 8px 36px 28px; background: var(--paper);
  border: 1px solid var(--line); border-radius: 6px; }
main.index { max-width: 1600px; background: none; border: 0; padding: 0 24px; }
.outcome { max-width: 1080px; margin: 18px auto 0; padding: 12px 20px 14px; background: var(--paper);
  border: 1px solid var(--line); border-left: 5px solid var(--no); border-radius: 6px; }
.outcome.yes { border-left-color: var(--yes); }
.outcome.failed { border-left-color: var(--bad); }
.outcome p { margin: 0 0 8px; }
dl { display: flex; flex-wrap: wrap; gap: 8px 26px; margin: 0; }
dl div { min-width: 76px; }
dt { color: var(--quiet); font-size: 12px; }
dd { margin: 0; font-size: 18px; font-weight: 600; }
dd small { font-size: 12px; font-weight: 400; color: var(--quiet); }
.pill { display: inline-block; padding: 1px 8px; border-radius: 9px; font-size: 11px; font-weight: 700;
  letter-spacing: .04em; white-space: nowrap; color: #fff; background: var(--quiet); text-transform: uppercase; }
.pill.yes { background: var(--yes); }
.pill.no { background: var(--no); }
.pill.failed { background: var(--bad); }
.pill.synthetic { background: var(--synthetic); }

.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(460px, 1fr)); gap: 14px; }
.card { background: var(--paper); border: 1px solid var(--line); border-top: 4px solid var(--quiet);
  border-radius: 6px; padding: 10px 18px; }
.card.yes { border-top-color: var(--yes); }
.card.no { border-top-color: var(--no); }
.card h3 { margin: 2px 0 4px; font-size: 16px; }
.card p { margin: 6px 0; }
.course { display: block; width: 240px; height: 36px; margin-top: 8px; }
.course line { stroke: var(--line); }
.course polyline { fill: none; stroke: var(--link); stroke-width: 1.5; }
.course.levels { height: 48px; }
.course .force { stroke: var(--yes); stroke-width: 4; opacity: .35; }
.quiet { color: var(--quiet); font-size: 13px; }
.warn, .stale { color: var(--bad); font-weight: 600; }

h1 { font-size: 26px; line-height: 1.25; }
h2 { font-size: 20px; margin-top: 30px; }
h3 { font-size: 16px; }
.wide { overflow-x: auto; background: var(--paper); border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; font-size: 13px; }
th, td { padding: 5px 9px; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--quiet); font-weight: 600; border-bottom: 2px solid var(--line); white-space: nowrap; }
tbody tr:hover { background: #f0f5fb; }
table.dataframe, .text_cell table { border: 0; margin: 10px 0; }
.text_cell td, .text_cell th, th.words, td.words { text-align: left; }
tbody th { font-weight: 500; }
table.runs { width: 100%; }
table.runs th, table.runs td { text-align: left; white-space: nowrap; padding: 5px 7px; }
table.runs th, table.runs time { white-space: normal; }
table.runs time { display: block; min-width: 6.4em; }
table.runs .num { text-align: right; }
table.runs td.result { white-space: normal; min-width: 240px; }
table.runs thead th { cursor: pointer; background: #fafbfc; }
table.runs td a { margin-right: 4px; }
table.runs .synthetic { display: block; width: max-content; font-size: 9px; padding: 0 6px; }
tr.failed td.result { color: var(--bad); }

details.code { margin: 2px 0; }
details.code summary { cursor: pointer; color: var(--quiet); font-size: 12px; width: max-content; }
pre { background: #f6f8fa; border: 1px solid var(--line); border-radius: 4px; padding: 8px 12px; overflow-x: auto;
  font: 12.5px/1.5 var(--mono); margin: 6px 0; white-space: pre-wrap; }
code { font-family: var(--mono); font-size: .92em; background: #f1f4f7; padding: 0 3px; border-radius: 3px; }
pre code { background: none; padding: 0; }
.output_error pre, .output_stderr pre { background: #fdf3f2; border-color: #f0cfcc; }
.text_cell_render span[style*="color:red"] { font: 600 1em system-ui, sans-serif !important; } /* papermill's banners */
.output_subarea { overflow-x: auto; }
.output_png img, .output_svg img { max-width: 100%; height: auto; }
.formula { display: block; margin: 12px 24px; line-height: 2.6; font-size: 1.1em; }
.ansi-red-fg { color: var(--bad); }
.ansi-green-fg { color: var(--yes); }
.ansi-bold { font-weight: 700; }
.highlight .k, .highlight .kn, .highlight .kc { color: #8250df; }
.highlight .s1, .highlight .s2, .highlight .sa { color: #0a6640; }
.highlight .c1 { color: #7a8694; }
.highlight .mi, .highlight .mf { color: #0b57a4; }
.highlight .nf { color: #953800; }

@media print {
  .bar { position: static; }
  body { background: #fff; }
  main, .outcome { border: 0; max-width: none; }
  details.code, .modebar { display: none; }
  .js-plotly-plot, .card, tr { break-inside: avoid; }
}
"""
