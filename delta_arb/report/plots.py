"""The figures of the notebooks. Each takes a result and the `Inputs` it came from, and changes neither.

`figures` has the two kinds of figure, the colours, and the marks. Where a result is empty, its figure says why.
"""

from delta_arb.report.figures import Chart, Picture
from delta_arb.report.plots_backtest import (
    attribution,
    capacity,
    equity,
    holds,
    montecarlo,
    sensitivity,
    tornado,
    trades,
    walk,
)
from delta_arb.report.plots_choice import costs, heat, surface
from delta_arb.report.plots_spread import distribution, edges, episodes, legs, memory, profile, signature
from delta_arb.report.plots_trades import entries, minutes

__all__ = [
    "Chart", "Picture", "attribution", "capacity", "costs", "distribution", "edges", "entries", "episodes", "equity", "heat",
    "holds", "legs", "memory", "minutes", "montecarlo", "profile", "sensitivity", "signature", "surface", "tornado", "trades",
    "walk",
]  # fmt: skip
