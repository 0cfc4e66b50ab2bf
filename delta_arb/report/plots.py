"""The figures of the notebooks. Each takes a result and the `Inputs` it came from, and changes neither.

`look` has the two kinds of figure, the colours, and the marks. Where a result is empty, its figure says why.
"""

from delta_arb.report.figures import Chart, Picture
from delta_arb.report.plots_backtest import attribution, equity, holds, sensitivity, trades, walk
from delta_arb.report.plots_choice import costs, heat
from delta_arb.report.plots_landscape import landscape
from delta_arb.report.plots_spread import distribution, edges, episodes, legs, memory, profile, signature
from delta_arb.report.plots_whatif import capacity, montecarlo, tornado

__all__ = [
    "Chart", "Picture", "attribution", "capacity", "costs", "distribution", "edges", "episodes", "equity", "heat",
    "holds", "landscape", "legs", "memory", "montecarlo", "profile", "sensitivity", "signature", "tornado", "trades",
    "walk",
]  # fmt: skip
