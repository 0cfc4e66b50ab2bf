"""Report pages: executed notebooks as HTML; everything works from disk, without network. `overview` indexes them.

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
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from delta_arb.params import write_atomic

STAMP = re.compile(r"\d{8}T\d{6}Z")
EXPORT = re.compile(r"\d{8}T\d{6}\.\d{6}Z\.json")
DASH = "—"
TEMPLATE = "page.html.j2"
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


def asset(name: str) -> str:
    """Text of a file that ships with the package."""
    return (Path(__file__).parent / "assets" / name).read_text(encoding="utf-8")


def write_assets(reports: Path) -> None:
    """The shared script and style sheet, rewritten when this version's differ."""
    from plotly.offline import get_plotlyjs

    for name, text in (("plotly.min.js", get_plotlyjs()), ("style.css", asset("style.css"))):
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
    title = f"{page_label(notebook.stem)} · {record['pair']}"
    content = _banner(record, pages, notebook.stem, up) + f"<main>{body}</main>"
    return write_atomic(notebook.with_suffix(".html"), document(title, content, up))


def _body(nb) -> str:
    """Cells as HTML: prose, folded code, outputs."""
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_file=TEMPLATE, extra_loaders=[DictLoader({TEMPLATE: asset(TEMPLATE)})])
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


# --- what every page shows --------------------------------------------------------------------------------------------


FIGURES = (
    ("Entry bps", "entry_bps", ".1f"),
    ("Exit bps", "exit_bps", ".1f"),
    ("Net USDT/day", "net_usdt_day", "+.2f"),
    ("Trades/day", "trades_day", ".1f"),
    ("Hit rate", "hit_rate", ".0%"),
    ("Drawdown", "drawdown", ".2%"),
)


def figures(record: dict) -> Iterator[tuple[str, str]]:
    """Label and text of the headline figures of a chosen set; of a failed run, or where none was chosen, dashes.

    Levels of the reverse direction stand behind a stroke.
    """
    metrics = record["metrics"] if record.get("status") == "ok" else {}
    levels = [metrics.get(f"{way}entry_bps") for way in ("", "reverse_")]
    for label, name, form in FIGURES:
        texts = [number(metrics.get(name), form)]
        if name in ("entry_bps", "exit_bps") and levels[1] is not None:
            texts.append(number(metrics.get(f"reverse_{name}"), form))
        yield label, " / ".join(texts) if levels != [None, None] else DASH


def number(value: object, form: str) -> str:
    """A figure as text, an em dash where there is none; true minus sign, so that columns align."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return DASH
    return format(value, form).replace("-", "−")


def _banner(record: dict, pages: list[str], here: str, up: str) -> str:
    """Header of a notebook's page: where we are, what came out, the ways to the other pages."""
    ways = "".join(
        f'<a href="{page}.html"{" class=here" if page == here else ""}>{page[:2]} {page_label(page)}</a>'
        for page in pages
    )
    return (
        f'<header class="bar"><b>delta_arb</b><span>{html.escape(record["pair"])}{mark_pills(record)}</span>'
        f'<span>{time_element(record["stamp"])} UTC</span><nav>{ways}<a href="{up}/index.html">All runs</a></nav></header>'
        f'<section class="outcome {record["status"]} {"yes" if record.get("trade") else "no"}">'
        f"<p>{result(record)} {html.escape(str(record.get('reason') or ''))}</p>"
        f"<dl>{tiles(figures(record))}</dl></section>"
    )


def tiles(figures: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<div><dt>{label}</dt><dd>{value}</dd></div>" for label, value in figures)


def page_label(stem: str) -> str:
    return PAGE_LABELS.get(stem[:2], stem.split("_", 1)[-1].replace("_", " "))


def time_element(stamp: str) -> str:
    return f"<time>{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]} {stamp[9:11]}:{stamp[11:13]}:{stamp[13:15]}</time>"


def result(record: dict) -> str:
    """The verdict of a run that ended well, else its status."""
    if record.get("status") == "ok":
        return verdict(record.get("trade"))
    return f'<span class="pill failed">{html.escape(str(record.get("status")))}</span>'


def verdict(trade: object) -> str:
    return '<span class="pill yes">trade</span>' if trade else '<span class="pill no">do not trade</span>'


HINTS = {
    "synthetic": "made by a program; says nothing about any market",
    "candles": "bid and ask were not recorded: last prices and stated half-spreads",
}


def mark_pills(record: dict) -> str:
    """What must be said of the quotes behind a run, wherever its pair is named."""
    return "".join(
        f' <span class="pill synthetic" title="{hint}">{mark}</span>'
        for mark, hint in HINTS.items()
        if record.get(mark)
    )


def document(title: str, body: str, up: str) -> str:
    script = "" if up == "." else f'<script src="{up}/assets/plotly.min.js"></script>'
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{html.escape(title)}</title><link rel="icon" href="data:,">'
        f'<link rel="stylesheet" href="{up}/assets/style.css">{script}</head><body>{body}</body></html>\n'
    )
