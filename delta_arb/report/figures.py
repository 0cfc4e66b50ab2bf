"""How figures look: matplotlib pictures for what must show anywhere, plotly charts for what is worth pointing at.

Drawing changes no global setting. A `Picture` and a `Chart` show themselves as the
value of a notebook cell; their text form is their title. Where there is nothing to draw, the figure says why. Every
figure made from synthetic quotes says so. Columns of a million events are drawn as the extremes of up to 1,000 equal
stretches of time (`extremes`), so that no peak is lost and a page stays small.
"""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from delta_arb.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers and in grey print.
SPOT, PERP, BASIS = "#0072B2", "#D55E00", "#333333"
GAIN, LOSS, NOTE, SOFT = "#009E73", "#B5396B", "#E69F00", "#8A94A0"
INK, GRID, EDGE = "#1c2530", "#e3e8ee", "#9aa4b0"
REASONS = {
    "target": GAIN,
    "time-out": NOTE,
    "unwound": LOSS,
    "guard": "#56B4E9",
    "halted": "#000000",
    "end of data": SOFT,
}
PARTS = {
    "earlier": "#eef1f4", "fit": "#fdf3dc", "judged": "#dff1ea", "first": "#eef1f4", "last": "#dff1ea", "whole": "#ffffff",
}  # fmt: skip

# Red for losses, blue for gains, as matplotlib's RdBu; plotly's own goes the other way.
DIVERGING = (
    "#67001f", "#b2182b", "#d6604d", "#f4a582", "#fddbc7", "#f7f7f7", "#d1e5f0", "#92c5de", "#4393c3", "#2166ac",
    "#053061",
)  # fmt: skip

WIDTH, DPI = 9.6, 130  # inches; shown at 960 points wide, drawn a third finer for sharp screens
POINTS = 1000  # stretches of time per line, two points each
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 9.5, "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.edgecolor": EDGE, "axes.titlesize": 10.5, "axes.titlelocation": "left",
    "axes.titleweight": "bold", "axes.grid": True, "axes.axisbelow": True, "grid.color": GRID, "grid.linewidth": 0.8,
    "axes.spines.top": False, "axes.spines.right": False, "figure.facecolor": "white", "axes.facecolor": "white",
    "savefig.facecolor": "white", "legend.frameon": False, "legend.fontsize": 9, "lines.linewidth": 1.1,
    "figure.titlesize": 11.5, "axes.unicode_minus": True, "axes.formatter.useoffset": False,
}  # fmt: skip
AXIS = {
    "gridcolor": GRID, "linecolor": EDGE, "zeroline": False, "automargin": True,
    "title": {"standoff": 8, "font": {"size": 13}},
}  # fmt: skip
TEMPLATE = {
    "layout": {
        "font": {"family": "system-ui, Segoe UI, Roboto, Liberation Sans, sans-serif", "size": 13, "color": INK},
        "paper_bgcolor": "white", "plot_bgcolor": "white", "colorway": [SPOT, PERP, GAIN, NOTE, LOSS, "#56B4E9", SOFT],
        "title": {"x": 0.01, "xanchor": "left", "font": {"size": 15}}, "hovermode": "closest",
        "margin": {"l": 70, "r": 30, "t": 70, "b": 55}, "xaxis": AXIS, "yaxis": AXIS,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 1, "xanchor": "right"},
    }
}  # fmt: skip


# No button that would send the data to somebody's server.
CONFIG = {"responsive": True, "displaylogo": False, "plotlyServerURL": ""}


# --- parts of charts -------------------------------------------------------------------------------------------------


def trace(kind: str, name: str, x, y, **more) -> dict:
    """What is drawn of one series of a chart."""
    return {"type": kind, "name": name, "x": x, "y": y, **more}


def axis(title: str, **more) -> dict:
    return {"title": {"text": title}, **more}


def level(at: float, color: str, width: float = 1, **more) -> dict:
    """A horizontal line across a chart."""
    line = {"color": color, "width": width, **more}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": at, "y1": at, "line": line}


def upright(at: float, color: str, dash: str, on: str = "") -> dict:
    """A vertical line through a chart."""
    line = {"color": color, "width": 1.4, "dash": dash}
    return {"type": "line", "xref": f"x{on}", "yref": "paper", "x0": at, "x1": at, "y0": 0, "y1": 1, "line": line}


# --- the two kinds of figure -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Picture:
    """A matplotlib figure that shows as PNG; `figure` is the matplotlib object."""

    title: str
    figure: "Figure"

    def png(self) -> bytes:
        """The picture, its colours reduced to a palette that covers rare ones too: half the size, no visible loss."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from PIL import Image

        small, dpi = io.BytesIO(), self.figure.dpi
        with style():
            self.figure.dpi = DPI
            canvas = FigureCanvasAgg(self.figure)
            canvas.draw()  # `savefig` would also pack it, before the colours are reduced
            self.figure.dpi = dpi
        drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        drawn.quantize(128, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            small, format="png", compress_level=8
        )
        return small.getvalue()

    def _repr_png_(self):
        return self.png(), {"width": round(self.figure.get_figwidth() * 100)}

    def __repr__(self) -> str:
        return f"Picture({self.title})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Chart:
    """An interactive plotly figure as plain data, shown without plotly in the kernel; `figure` builds the object."""

    title: str
    data: list[dict]
    layout: dict = field(default_factory=dict)

    @property
    def spec(self) -> dict:
        """What plotly draws: data, layout with our template, configuration."""
        layout = {"template": TEMPLATE, "title": {"text": headline(self.title)}, **self.layout}
        return {"data": self.data, "layout": layout, "config": CONFIG}

    @property
    def figure(self):
        """The plotly figure."""
        import plotly.graph_objects as go

        return go.Figure({"data": self.data, "layout": self.spec["layout"]})

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return {"application/vnd.plotly.v1+json": self.spec, "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"Chart({self.title}; interactive in JupyterLab and in the report page)"


def headline(title: str) -> str:
    """A chart's title, what is after the colon below it."""
    what, _, whose = title.partition(": ")
    return f'<b>{what}</b><br><span style="font-size:13px">{whose}</span>'


def marked(title: str, inputs) -> str:
    """A title with the pair, and the mark of synthetic quotes and of candles."""
    return f"{title}: {inputs.name}" + (f", {inputs.mark}" if inputs.mark else "")


@contextmanager
def style() -> Iterator[None]:
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        yield


@contextmanager
def picture(title: str, inputs, height: float, **grid) -> Iterator[tuple["Figure", np.ndarray]]:
    """A styled matplotlib figure with its axes; marked, and with a watermark where the quotes are synthetic or candles."""
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        figure.suptitle(marked(title, inputs), x=0.008, ha="left", fontweight="bold")
        axes = figure.subplots(squeeze=False, **grid).ravel()
        yield figure, axes
        if inputs.mark:
            for ax in axes:
                place = {"transform": ax.transAxes, "ha": "right", "va": "bottom", "zorder": 0.1}  # behind all data
                ax.text(
                    0.995, 0.02, "synthetic" if inputs.synthetic else "candles", fontsize=15, color="#5b6673", alpha=0.35,
                    **place,
                )  # fmt: skip


def dates(ax) -> None:
    """A UTC time axis."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=4, maxticks=9)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    ax.set_xlabel("time, UTC")


def empty(title: str, reason: str, inputs) -> Table:
    """What stands in the place of a figure that has nothing to show: why, in words."""
    return Table.nothing(marked(title, inputs), reason)


def extremes(ts_ns: np.ndarray, values: np.ndarray, stretches: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest value of each of up to `stretches` equal stretches of time, in the order in which they came.

    Returns times (ns) on an even grid, two per stretch, and the values; NaN where a stretch has none. Peaks survive.
    """
    start, end = int(ts_ns[0]), int(ts_ns[-1]) + 1
    stretches = max(1, min(stretches, len(ts_ns) // 2))
    whole, rest = divmod(end - start, stretches)  # stretches times a year of ns is more than 64 bits
    at = np.arange(stretches + 1)
    edges = start + at * whole + at * rest // stretches
    low_high = np.full((stretches, 2), np.nan)
    known = np.flatnonzero(np.isfinite(values))
    box = np.searchsorted(edges, ts_ns[known], side="right") - 1
    order = np.lexsort((values[known], box))
    rows, boxes = known[order], box[order]
    first = np.flatnonzero(np.diff(boxes, prepend=-1))
    last = np.append(first[1:], len(boxes)) - 1
    pair = np.sort(np.stack((rows[first], rows[last]), axis=1), axis=1) if len(rows) else np.empty((0, 2), int)
    low_high[boxes[first] if len(rows) else []] = values[pair]
    middle = (edges[:-1, None] + np.diff(edges)[:, None] * np.array([0.25, 0.75])).astype(np.int64)
    return middle.ravel(), low_high.ravel()


def when(ts_ns: np.ndarray | int) -> np.ndarray:
    """UTC ns as numpy times, which both libraries draw."""
    return np.asarray(ts_ns).astype("datetime64[ns]")


def packed(values, kind: str = "f4") -> dict:
    """Numbers of any shape as plotly's typed array, by default in single precision: a third of their digits' size."""
    array = np.ascontiguousarray(values, dtype=f"<{kind}")
    shape = {"shape": ", ".join(map(str, array.shape))} if array.ndim > 1 else {}
    return {"dtype": kind, "bdata": base64.b64encode(array.tobytes()).decode(), **shape}


def best(
    ts_ns: np.ndarray, values: np.ndarray, highest: bool, stretches: int = POINTS
) -> tuple[int, float, np.ndarray]:
    """The highest (or lowest) value of each of up to `stretches` equal stretches of time; NaN where a stretch has none.

    Returns the middle of the first stretch (ns), the length of a stretch (ms), and the values: an even grid.
    """
    pairs = extremes(ts_ns, values, stretches)[1].reshape(-1, 2)
    step_ns = float(ts_ns[-1] + 1 - ts_ns[0]) / len(pairs)
    return int(ts_ns[0] + step_ns / 2), step_ns / 1e6, (np.fmax if highest else np.fmin)(pairs[:, 0], pairs[:, 1])
