"""Report pages: executed notebooks as HTML, each one file that works from disk, moved or mailed. `index` lists them.

    reports/index.html                     all runs of all pairs, newest first
    reports/<pair>/<stamp>/                a run: run.json, metrics.json, bottom_line.json, notebooks, pages
    reports/<pair>/failed/<stamp>/         the same of a run that failed

A page carries its style, its script and, where it has charts, plotly's cartesian bundle, compressed: two thirds of a
megabyte. Formulas are drawn by matplotlib's mathtext into the page, because the usual MathJax would be fetched from
elsewhere. A section with nothing in it is left out and named at the end.
"""

import base64
import html
import io
import json
import os
import re
from functools import cache
from pathlib import Path

from delta_arb.params import SCHEMA, write_atomic
from delta_arb.report import cells
from delta_arb.report.banner import banner, page_label

STAMP = re.compile(r"\d{8}T\d{6}Z")
EXPORT = re.compile(r"\d{8}T\d{6}\.\d{6}Z\.json")
PLOTLY = "application/vnd.plotly.v1+json"
NOT_SHOWN = ("application/vnd.jupyter.widget-view+json", "application/javascript")  # both need a kernel or jQuery
BUNDLE = "plotly-cartesian-4.1.1.min.js.gz"  # of the npm package plotly.js-cartesian-dist-min, MIT licence
MOST_BYTES = 300_000  # of a file that a page carries


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
    """The records of all runs below `reports`, newest first, each with what lies in its folder."""
    pairs = [path for path in reports.iterdir() if path.is_dir()] if reports.is_dir() else []
    folders = [folder for pair in pairs for place in (pair, pair / "failed") for folder in run_folders(place)]
    records = [run_record(folder, read_json(folder / "run.json")) for folder in folders]
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


# --- one notebook ----------------------------------------------------------------------------------------------------


def write_page(notebook: Path, record: dict, reports: Path) -> Path:
    """The page of an executed notebook, beside it; `record` is the run's, as `banner` reads it."""
    from nbformat.v4 import reads

    folder = notebook.parent
    nb, left_out = without_empty(reads(notebook.read_text(encoding="utf-8")))
    sections = [(slug(title), title) for title in _titles(nb)]
    body = _with_downloads(cells.body(_offline(nb)), folder)
    up = os.path.relpath(reports, folder)
    pages = sorted({path.stem for path in folder.glob("*.ipynb")})
    content = (
        banner(record, pages, notebook.stem, up)
        + f'<div class="page">{_contents(sections)}<main id="content">{body}{_named(left_out)}</main></div>'
    )
    title = f"{page_label(notebook.stem)} · {record['pair']}"
    return write_atomic(notebook.with_suffix(".html"), document(title, content, charts='class="chart"' in body))


def run_record(folder: Path, record: dict) -> dict:
    """A run's record with what lies in its folder, as pages and the index read it; empty where it did not get so far.

    A parameter file of another version's schema is left out: its run is told by its verdict and reason alone.
    """
    files = {"metrics": "metrics.json", "line": "bottom_line.json", "candidate": "candidate.json"}
    found = {name: read_json(folder / file) for name, file in files.items()}
    if found["candidate"].get("schema_version", SCHEMA) != SCHEMA:
        found["candidate"] = {}
    return found | record | {"folder": folder}


# --- sections --------------------------------------------------------------------------------------------------------

NOTHING = re.compile(r"nothing to (show|compare)|\A.*\n.*\n.*not asked:.*\Z", re.IGNORECASE)


def _titles(nb) -> list[str]:
    return [title for cell in nb.cells if cell.cell_type == "markdown" for title in _headings(cell.source)]


def _headings(source: str) -> list[str]:
    return re.findall(r"^## (.+)$", source, re.MULTILINE)


def slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def without_empty(nb) -> tuple[object, list[str]]:
    """The notebook without the sections in which every output says that there is nothing, and their titles."""
    kept, left_out = [], []
    for section in _sections(nb.cells):
        titles = _headings(section[0].source) if section[0].cell_type == "markdown" else []
        if titles and _is_empty(section):
            left_out.append(titles[0])
        else:
            kept += section
    nb.cells = kept
    return nb, left_out


def _sections(cells: list) -> list[list]:
    """Cells up to the first heading, then those of each."""
    found: list[list] = [[]]
    for cell in cells:
        if cell.cell_type == "markdown" and _headings(cell.source) and found[-1]:
            found.append([])
        found[-1].append(cell)
    return [section for section in found if section]


def _is_empty(section: list) -> bool:
    """Whether there is an output that says so, and beside it only words; a table of many rows has something to say."""
    outputs = [o for cell in section if cell.cell_type == "code" for o in cell.get("outputs", [])]
    if any(o.output_type != "execute_result" for o in outputs):
        return False
    texts = [o.data.get("text/plain", "") for o in outputs]
    nothing = [bool(NOTHING.search(text)) and text.count("\n") < 4 for text in texts]
    words = [text.startswith("- ") for text in texts]
    return any(nothing) and all(a or b for a, b in zip(nothing, words, strict=True))


def _contents(sections: list[tuple[str, str]]) -> str:
    """The table of contents: a column beside the page, or folded above it where there is no room."""
    links = "".join(f'<li><a href="#{anchor}">{html.escape(title)}</a></li>' for anchor, title in sections)
    return f'<details class="contents" open><summary>Contents</summary><nav aria-label="contents"><ol>{links}</ol></nav></details>'


def _named(left_out: list[str]) -> str:
    titles = "; ".join(html.escape(title) for title in left_out)
    return f'<p class="quiet">Left out, because there is nothing in it: {titles}</p>' if left_out else ""


def _with_downloads(body: str, folder: Path) -> str:
    """The files with all fields of all trades, in the page itself, above the table that shows them."""
    files = [path for path in sorted(folder.glob("trades.*")) if path.stat().st_size <= MOST_BYTES]
    links = " ".join(
        f'<a download="{path.name}" href="data:application/octet-stream;base64,'
        f'{base64.b64encode(path.read_bytes()).decode()}">{path.name}</a>'
        for path in files
    )
    table = '<table class="listing" data-name="Trades"'
    return body.replace(table, f'<p class="tools">every field: {links}</p>{table}', 1) if files else body


# --- cells -----------------------------------------------------------------------------------------------------------


def _offline(nb):
    """The notebook with plotly outputs and formulas turned into HTML that needs no network."""
    nb.metadata.pop("widgets", None)
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = _anchored(_with_formulas(cell.source))
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


def _anchored(source: str) -> str:
    return re.sub(r"^## (.+)$", lambda found: f'<h2 id="{slug(found[1])}">{found[1]}</h2>', source, flags=re.MULTILINE)


def _figure(figure: dict) -> str:
    """A plotly figure as its data, which the page's script draws."""
    # By default plotly puts a button on every figure that uploads it to a cloud.
    private = {"showSendToCloud": False, "plotlyServerURL": "", "displaylogo": False}
    layout = figure.get("layout", {})
    drawn = {
        "data": figure.get("data", []),
        "layout": layout,
        "config": {"responsive": True, **figure.get("config", {}), **private},
    }
    title = re.sub(r"<[^>]+>", " ", str((layout.get("title") or {}).get("text", "chart")))
    spec = json.dumps(drawn, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'<div class="chart" role="figure" aria-label="{html.escape(" ".join(title.split()))}" '
        f'style="min-height:{layout.get("height", 400)}px"><script type="application/json">{spec}</script></div>'
    )


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


# --- the frame of every page -----------------------------------------------------------------------------------------


def document(title: str, body: str, script: str = "page.js", charts: bool = False) -> str:
    """One file with everything in it; the library of charts only where there is one."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{html.escape(title)}</title><link rel="icon" href="data:,"><style>{asset("style.css")}</style></head>'
        f"<body>{body}{_library() if charts else ''}<script>{asset(script)}</script></body></html>\n"
    )


@cache
def _library() -> str:
    """plotly, compressed; the page's script unpacks it."""
    packed = (Path(__file__).parent / "assets" / BUNDLE).read_bytes()
    return f'<script id="plotly" type="text/plain">{base64.b64encode(packed).decode()}</script>'
