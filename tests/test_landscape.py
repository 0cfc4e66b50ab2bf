"""The landscape of thresholds: cells are replays, fees are taken off, and the sliders show one map at a time."""

import copy
import dataclasses
import json
from functools import cache
from itertools import product

import numpy as np
import pytest
from studies import study

from delta_arb.backtest.performance import measure
from delta_arb.optimize.study import Thresholds
from delta_arb.report import figures, plots, plots_choice, sensitivity
from delta_arb.report.figures import Chart


@cache
def small(regime: str) -> sensitivity.Surface:
    """Of a study whose longest hold is the only one, so that the test is short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sensitivity, "HOLD_SHARES", (0.5, 1.0))
        patch.setattr(sensitivity, "SURFACE_LATENCIES", (1.0, 20.0))
        return sensitivity.surface(study(regime).choice)


def test_a_cell_is_the_replay_of_its_set_and_the_sweep_agrees():
    s, found = study("sample"), small("sample")
    peak = s.choice.proposal.peak
    row, column = found.entries.tolist().index(peak.entry_bps), found.exits.tolist().index(peak.exit_bps)
    hold = found.holds_s.index(peak.max_hold_s)
    swept = s.choice.sweep.results[s.choice.sweep.sets.index(peak)]
    assert found.net[hold, 0, row, column] == pytest.approx(swept.net_usdt_day)
    assert found.trades[hold, 0, row, column] == swept.trades
    assert found.hits[hold, 0, row, column] == pytest.approx(swept.hits)
    late = s.market.with_latency(2.0, 2.0)
    fit = s.choice.window.fit
    assert found.net[hold, 1, row, column] == pytest.approx(measure(fit, late.replay(fit, peak)).net_usdt_day)


def test_fees_taken_off_are_those_of_a_replay_at_these_fees():
    s, found = study("sample"), small("sample")
    fit, double = s.choice.window.fit, s.market.with_fees(10.0, 10.0)
    for row, column in ((5, 3), (9, 6), (12, 9)):
        levels = Thresholds(float(found.entries[row]), float(found.exits[column]), found.holds_s[-1])
        replayed = measure(fit, double.replay(fit, levels))
        assert found.fee_factors[3] == 2.0
        assert found.net_at(len(found.holds_s) - 1, 0, 3)[row, column] == pytest.approx(replayed.net_usdt_day)


def test_only_sets_whose_entry_is_above_their_exit_are_tried():
    found = small("sample")
    tried = np.isfinite(found.net[0, 0])
    assert np.array_equal(tried, found.entries[:, None] > found.exits[None, :]) and not tried.all()


def test_the_break_even_line_runs_between_cells_that_earn_and_cells_that_do_not():
    nan = np.nan
    assert list(plots_choice.edges(np.array([[-1.0, 2.0], [-1.0, nan]])))[:2] == [(0.5, -0.5), (0.5, 0.5)]
    assert len(list(plots_choice.edges(np.array([[-1.0, 2.0], [-1.0, nan]])))) == 3  # not towards what was not tried
    assert list(plots_choice.edges(np.array([[-1.0], [2.0]])))[:2] == [(-0.5, 0.5), (0.5, 0.5)]
    assert not list(plots_choice.edges(np.array([[1.0, 2.0]])))


def moved(chart: Chart, *steps: int) -> list[dict]:
    """The traces after each slider was put to a step, as plotly's restyle does it."""
    traces = copy.deepcopy(chart.data)
    for slider, step in zip(chart.layout["sliders"], steps, strict=True):
        changes, which = slider["steps"][step]["args"]
        for name, values in changes.items():
            for k, value in zip(which, values, strict=True):
                traces[k][name] = value
    return traces


def in_sight(traces: list[dict]) -> tuple[list[int], list[int]]:
    maps = [k for k, t in enumerate(traces) if t["type"] == "heatmap" and t["visible"] and t["x0"] == 0]
    lines = [
        k for k, t in enumerate(traces) if "opacity" in t and t["type"] == "scatter" and t["visible"] and t["opacity"]
    ]
    return maps, lines


def test_whatever_the_sliders_say_one_map_and_its_own_line_are_in_sight():
    s, found = study("sample"), small("sample")
    chart = plots.surface(found, s.choice, s.inputs)
    shape = len(found.holds_s), len(found.latencies), len(found.fee_factors)
    for steps in product(*map(range, shape)):
        traces = moved(chart, *steps)
        (at,), (line,) = in_sight(traces)
        net = found.net_at(*steps)
        edges = np.array(list(plots_choice.edges(net)), float).reshape(-1, 2)
        assert line == at + 1 and traces[at]["z"] == figures.packed(net)
        assert (traces[line]["x"], traces[line]["y"]) == (figures.packed(edges[:, 0]), figures.packed(edges[:, 1]))
        assert all(part in traces[at]["hovertemplate"] for part in found.spoken(*steps)[:2])
        assert [slider["steps"][k]["label"] for slider, k in zip(chart.layout["sliders"], steps)] == [
            *found.spoken(*steps)
        ]
    untouched = in_sight(chart.data)
    assert untouched == in_sight(moved(chart, *(slider["active"] for slider in chart.layout["sliders"])))


def test_the_map_at_first_is_the_choice_with_its_marks():
    s, found = study("sample"), small("sample")
    chart = plots.surface(found, s.choice, s.inputs)
    (at,), _ = in_sight(chart.data)
    hold = found.nearest_hold(s.choice)
    assert chart.data[at]["z"] == figures.packed(found.net_at(hold, 0, found.fee_factors.index(1.0)))
    marks = {t["name"]: t for t in chart.data if t.get("mode") == "markers"}
    assert set(marks) == {"best of the grid", "plug-in", "proposed"}
    peak = s.choice.proposal.peak
    assert marks["best of the grid"]["x"] == [found.exits.tolist().index(peak.exit_bps)]
    assert marks["best of the grid"]["y"] == [found.entries.tolist().index(peak.entry_bps)]
    assert chart.figure.layout.xaxis.fixedrange  # plotly accepts it, and nothing out of sight can be zoomed to
    assert len(json.dumps(chart.spec, allow_nan=False)) < 100_000


@pytest.mark.parametrize("regime", ["random_walk", "no_edge"])
def test_it_holds_for_any_world(regime):
    s, found = study(regime), small(regime)
    figure, table = plots.surface(found, s.choice, s.inputs), sensitivity.surface_table(found, s.choice)
    assert "SYNTHETIC" in repr(figure) and "nan" not in repr(table)
    idle = dataclasses.replace(found, trades=0.0 * found.trades)
    assert plots.surface(idle, s.choice, s.inputs).rows == (("reason", "no set made a trade on the fit part"),)
    assert "no set made a trade" in repr(sensitivity.surface_table(idle, s.choice))


def test_without_fees_there_is_no_slider_for_them():
    s, found = study("sample"), small("sample")
    free = dataclasses.replace(found, fee_factors=(1.0,), fees_bps=0.0)
    assert len(plots.surface(free, s.choice, s.inputs).layout["sliders"]) == 2


def test_where_every_set_loses_the_colours_still_tell_little_from_much():
    s, found = study("sample"), small("sample")
    lost = dataclasses.replace(found, net=-np.abs(found.net) - 1.0, fees=np.zeros_like(found.fees))
    axis = plots.surface(lost, s.choice, s.inputs).layout["coloraxis"]
    assert axis["cmax"] == -axis["cmin"] == pytest.approx(float(np.nanmax(np.abs(found.net))) + 1.0)
