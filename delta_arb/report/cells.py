"""The cells of an executed notebook as HTML: prose, folded code, outputs.

What pages need of nbconvert, without it: loading it and filling its templates takes longer than all of this.
"""

import base64
import html
import itertools
import re
from collections.abc import Iterator, Mapping
from functools import cache
from urllib.parse import unquote

LABELS = {"parameters": "default parameters", "injected-parameters": "parameters of this run"}  # by a code cell's tag
PLUGINS = ("strikethrough", "table", "url", "task_lists", "def_list")  # of Markdown, as in JupyterLab
PICTURES = ("image/svg+xml", "image/png", "image/jpeg")
# What a terminal obeys and does not show: colours and moves (ECMA-48 CSI), links and titles (OSC).
ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\].*?(?:\x07|\x1b\\)", re.DOTALL)
OVERWRITTEN = re.compile(r".*\r(?=[^\n])")  # of a progress bar only its last state is seen
CELL = re.compile(r"<(t[hd])\b([^>]*)>(.*?)</\1>", re.DOTALL)
NUMBER = re.compile(r"[-+−]?\.?\d")


def body(nb) -> str:
    """All cells, tables with their columns of words marked."""
    text = "".join(map(_cell, nb.cells))
    return re.sub(r"<table.*?</table>", lambda found: _aligned(found[0]), text, flags=re.DOTALL)


def _cell(cell) -> str:
    if cell.cell_type == "code":
        label = next((LABELS[tag] for tag in cell.metadata.get("tags", []) if tag in LABELS), "code")
        code = f'<details class="code"><summary>{label}</summary>{_highlighted(cell.source)}</details>'
        return f'<div class="cell">{code}{"".join(_outputs(cell.outputs))}</div>\n'
    prose = _prose(cell.source, cell.get("attachments", {})) if cell.cell_type == "markdown" else _pre(cell.source)
    return f'<div class="cell text_cell">{prose}</div>\n'


def _prose(source: str, attached: Mapping[str, Mapping[str, str]]) -> str:
    def packed(found: re.Match) -> str:
        kind, data = next(iter(attached.get(unquote(found[1]), {}).items()), ("", ""))
        return f"(data:{kind};base64,{data}" if kind else found[0]

    return _markdown()(re.sub(r"\(attachment:([^\s)]+)", packed, source))


@cache
def _markdown():
    import mistune

    renderer = mistune.HTMLRenderer(escape=False, allow_harmful_protocols=True)  # else attached drawings are left out
    return mistune.create_markdown(renderer=renderer, plugins=PLUGINS)


def _highlighted(source: str) -> str:
    from pygments import highlight
    from pygments.formatters.html import HtmlFormatter
    from pygments.lexers.python import PythonLexer

    return highlight(source, PythonLexer(), HtmlFormatter())


def _pre(text: str) -> str:
    return f"<pre>{html.escape(OVERWRITTEN.sub('', ESCAPES.sub('', text)), quote=False)}</pre>"


def _outputs(outputs) -> Iterator[str]:
    """All of a cell; the pieces of a stream that follow each other are one text."""
    for (kind, name), run in itertools.groupby(outputs, lambda output: (output.output_type, output.get("name"))):
        if kind == "stream":
            yield _area(name, _pre("".join(piece.text for piece in run)))
        else:
            yield from map(_output, run)


def _output(output) -> str:
    """The richest form of an output that a page can show."""
    if output.output_type == "error":
        return _area("error", _pre("\n".join(output.traceback)))
    data = output.data
    if "text/html" in data:
        return _area("html", data["text/html"])
    if "text/markdown" in data:
        return _area("markdown", _prose(data["text/markdown"], {}))
    kind = next((kind for kind in PICTURES if kind in data), "")
    if not kind:
        return _area("text", _pre(data["text/plain"])) if "text/plain" in data else ""
    packed = base64.b64encode(data[kind].encode()).decode() if kind == PICTURES[0] else data[kind]
    sides = "".join(
        f' {side}="{of}"' for side, of in output.metadata.get(kind, {}).items() if side in ("width", "height")
    )
    said = html.escape(re.sub(r"\A\w+\((.*)\)\Z", r"\1", data.get("text/plain", "picture"), flags=re.DOTALL))
    return _area("picture", f'<img alt="{said}" src="data:{kind};base64,{packed}"{sides}>')


def _area(kind: str, content: str) -> str:
    return f'<div class="output output_{kind}">{content}</div>'


def _aligned(table: str) -> str:
    """A table whose columns of words are marked, so that the style sheet puts only figures to the right."""
    rows = [CELL.findall(row) for row in re.split(r"<tr\b", table)[1:]]
    if len({len(row) for row in rows}) != 1:
        return table  # spanning cells: the columns are not what they seem
    figures = [any(NUMBER.match(_text(text)) for tag, _, text in of if tag == "td") for of in zip(*rows, strict=True)]
    columns = itertools.cycle(figures)

    def marked(found: re.Match) -> str:
        if next(columns):
            return found[0]
        tag, given, text = found.groups()
        classes = re.search(r'\bclass="([^"]*)"', given)
        given = given.replace(classes[0], f'class="{classes[1]} words"') if classes else f' class="words"{given}'
        return f"<{tag}{given}>{text}</{tag}>"

    return CELL.sub(marked, table)


def _text(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", markup)).strip()
