"""Figures: they say whose quotes and in what unit, keep every peak, stay small, and say why where there is nothing."""

import base64
import dataclasses
import json
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from studies import study

from delta_arb.market import utc
from delta_arb.optimize.verdict import judge
from delta_arb.quotes.inputs import Inputs
from delta_arb.quotes.tape import Tape
from delta_arb.report import choice_tables, plots, sensitivity, trade_tables
from delta_arb.report import figures as look
from delta_arb.report.figures import Chart, Picture
from delta_arb.stats.basis import above_costs
from delta_arb.stats.mean_reversion import interval, mean_reversion
from delta_arb.tables import Table

WORLDS = ["sample", "random_walk", "no_edge", "frozen_leg"]


@cache
def figures(regime: str) -> dict[str, Picture | Chart | Table]:
    s = study(regime)
    found = {name: getattr(plots, name)(s.basis, s.inputs) for name in ("legs", "edges", "distribution", "episodes")}
    found["heat"] = plots.heat(s.choice, s.inputs)
    found |= {name: getattr(plots, name)(s.sheet, s.inputs) for name in ("entries", "minutes")}
    found |= {name: getattr(plots, name)(s.sheet, s.inputs) for name in ("equity", "attribution", "trades")}
    for name in ("memory", "signature", "profile"):
        found[name] = getattr(plots, name)(mean_reversion(s.basis), s.inputs)
    found["walk"] = plots.walk(s.verdict, s.inputs)
    found["costs"] = plots.costs(s.stack, s.inputs)
    return found


@pytest.mark.parametrize("regime", WORLDS)
def test_every_figure_can_be_drawn_for_any_world_and_says_synthetic(regime):
    for name, figure in figures(regime).items():
        assert "SYNTHETIC" in repr(figure), name
        if isinstance(figure, Picture):
            assert figure.png().startswith(b"\x89PNG"), name
            assert "SYNTHETIC" in figure.figure.get_suptitle()
        elif isinstance(figure, Chart):
            assert "SYNTHETIC" in figure.figure.layout.title.text  # plotly accepts the whole specification


def test_every_axis_has_a_label_with_its_unit():
    for name, figure in figures("sample").items():
        if isinstance(figure, Picture):
            labelled = [ax for ax in figure.figure.axes if ax.axison]
            assert any(ax.get_ylabel() or name in ("costs", "attribution") for ax in labelled), name
            assert any(ax.get_xlabel() for ax in labelled) or name == "attribution", name
        else:
            assert figure.layout["xaxis"]["title"]["text"] and figure.layout["yaxis"]["title"]["text"], name


def test_a_figure_without_anything_to_show_says_why():
    s = study("no_edge")
    for figure in (plots.heat(s.choice, s.inputs), plots.equity(s.sheet, s.inputs), plots.trades(s.sheet, s.inputs)):
        assert (figure.columns[1], figure.rows) == ("nothing to show", (("reason", s.choice.reason),))


def test_every_trade_is_a_point_of_the_chart_one_without_its_spot_leg_too():
    s = study("sample")
    assert any(t.notional_usdt == 0.0 for t in s.sheet.trades)  # unwound: only the perpetual had filled
    shown = [
        np.frombuffer(base64.b64decode(trace["y"]["bdata"]), "f4") for trace in plots.trades(s.sheet, s.inputs).data
    ]
    assert sorted(np.concatenate(shown)) == pytest.approx(sorted(t.net_usdt for t in s.sheet.trades), rel=1e-6)


def test_every_opening_and_closing_stands_on_the_basis_with_the_thresholds():
    s = study("sample")
    chart = plots.entries(s.sheet, s.inputs)
    whole = [t for t in s.sheet.trades if np.isfinite(t.spot_in) and np.isfinite(t.perp_in)]
    marks = {trace["name"]: trace for trace in chart.data if trace.get("mode") == "markers"}
    assert marks["opened"]["y"] == [round(1e4 * (t.perp_in / t.spot_in - 1), 2) for t in whole]
    assert len(marks["closed"]["x"]) == sum(np.isfinite(t.spot_out) for t in whole)
    levels = {shape["y0"] for shape in chart.layout["shapes"]}
    assert levels == {s.sheet.thresholds.entry_bps, s.sheet.thresholds.exit_bps}
    hidden = [trace["name"] for trace in chart.data if trace.get("visible") is False]
    assert hidden == ["spot mid", "perpetual mid"]  # until the button shows them


def test_the_minute_of_every_trade_holds_both_books_as_they_were_known_and_its_fills():
    s = study("sample")
    chart = plots.minutes(s.sheet, s.inputs, "a run's")
    buttons = chart.layout["updatemenus"][0]["buttons"]
    assert [b["label"] for b in buttons] == [utc(t.opened_ns)[:19] for t in reversed(s.sheet.trades)]
    trade, lines = s.sheet.trades[-1], chart.data
    at_s, bids = (np.frombuffer(base64.b64decode(lines[0][axis]["bdata"]), "f4") for axis in "xy")
    assert (at_s[0], at_s[-1]) == (-30, 30)
    for second in (-30.0, -1.0, 0.0, 1.5):  # exactly what the tape knew
        row = np.searchsorted(s.tape.ts_ns, trade.opened_ns + round(second * 1e9), "right") - 1
        assert bids[np.searchsorted(at_s, second, "right") - 1] == np.float32(s.tape.spot_bid[row])
    spot_in = [y for x, y in zip(lines[2]["x"], lines[2]["y"], strict=True) if x >= 0]
    assert spot_in[0] == pytest.approx(trade.spot_in)


def test_a_book_that_is_withdrawn_is_a_gap_and_far_from_the_trade_one_book_a_step_is_kept():
    n = 40
    at_ns = np.arange(n) * 50_000_000 - 10_000_000_000  # every 50 ms from 10 s before
    size = np.where(np.arange(n) == n - 1, 0.0, 1.0)
    books, fresh = [100.0 + np.arange(n), 100.0 + np.arange(n), size, size], np.zeros(n, np.int64)
    tape = Tape.wide(at_ns, np.zeros(n, np.uint8), *books, *books, fresh, fresh)
    at_s, bid, _ = trade_tables.books(tape, "spot", 0)
    assert at_s[:3].tolist() == pytest.approx([-9.8, -9.55, -9.3]) and bid[:2].tolist() == [104.0, 109.0]
    assert at_s[-1] == 30.0 and np.isnan(bid[-1])


def lines(figure: Picture, ax: int = 0) -> dict[str, np.ndarray]:
    """What each line of a picture goes through, by its name in the legend."""
    return {line.get_label(): np.asarray(line.get_ydata(), float) for line in figure.figure.axes[ax].get_lines()}


def bars(figure: Picture, ax: int = 0) -> list:
    return [patch for patch in figure.figure.axes[ax].patches if isinstance(patch, Rectangle)]


def heights(figure: Picture, ax: int = 0) -> np.ndarray:
    return np.array([bar.get_height() for bar in bars(figure, ax)])


def unpacked(values) -> np.ndarray:
    return (
        np.frombuffer(base64.b64decode(values["bdata"]), f"<{values['dtype']}") if isinstance(values, dict) else values
    )


def test_the_pictures_of_the_spread_draw_what_was_recorded():
    s, drawn = study("sample"), figures("sample")
    seen, found = s.basis, mean_reversion(s.basis)
    mids = lines(drawn["legs"])
    for name, column in (("spot, mexc", seen.spot_mid), ("perpetual, gate", seen.perp_mid)):
        known = column[seen.known]
        assert (np.nanmin(mids[name]), np.nanmax(mids[name])) == (known.min(), known.max())
    (basis,) = (values for values in lines(drawn["legs"], 1).values() if len(values) > 2)
    known = seen.basis_bps[seen.known]
    assert (np.nanmin(basis), np.nanmax(basis)) == (known.min(), known.max())
    entry, exit_ = (unpacked(line["y"]) for line in drawn["edges"].data)
    assert np.nanmax(entry) == pytest.approx(seen.entry_bps[seen.fresh].max(), abs=0.01)
    assert np.nanmin(exit_) == pytest.approx(seen.exit_bps[seen.fresh].min() + 20, abs=0.01)
    assert lines(drawn["memory"])["levels"].tolist() == found.levels.value.values.tolist()
    assert lines(drawn["signature"])["measured"].tolist() == found.signature.value.measured.tolist()
    assert lines(drawn["profile"])["likelihood, best half-life = 0"].tolist() == found.profile.value.ratio.tolist()
    assert heights(drawn["episodes"]).sum() == above_costs(seen)["closing at its median"].count
    steps = drawn["distribution"].figure.axes[0].patches[0].get_xy()[:, 1]
    assert 99.0 < steps[1::2].sum() <= 100.01  # per cent of the time; a thousandth on either side is outside


def test_the_pictures_of_the_choice_draw_what_was_replayed():
    s, drawn = study("sample"), figures("sample")
    (mesh,) = (c for c in drawn["heat"].figure.axes[0].collections if c.get_array() is not None)
    net = sensitivity.cells(s.choice).net
    assert np.array_equal(np.ma.filled(mesh.get_array(), np.nan).reshape(net.shape), net, equal_nan=True)
    widths = [bar.get_width() for bar in bars(drawn["costs"])]
    assert widths == pytest.approx([*s.stack.parts.values(), s.stack.swing_bps])


def test_the_pictures_of_the_report_draw_what_was_traded():
    s, drawn = study("sample"), figures("sample")
    sheet = s.sheet
    equity = lines(drawn["equity"])
    assert equity["after a closed trade"][-1] == pytest.approx(sheet.result.net_usdt)
    marked = equity["marked at the exit side"]
    assert (np.nanmin(marked), np.nanmax(marked)) == (sheet.curve.net.min(), sheet.curve.net.max())
    for ax, part in enumerate(sheet.parts.values()):
        assert heights(drawn["attribution"], ax)[-1] == pytest.approx(part.performance.net_usdt_day)


def labels(figure: Picture) -> str:
    return "; ".join(text.get_text() for text in figure.figure.axes[0].get_legend().get_texts())


def test_the_profile_shows_estimate_interval_line_and_what_was_put_in():
    s = study("sample")
    found = mean_reversion(s.basis)
    shown = labels(plots.profile(found, s.inputs))
    for part in (f"95 %: {interval(found.half_life.value)}", "95 % line, -3.84", "put in 10 min"):
        assert part in shown


def test_without_a_half_life_no_curve_and_no_level_is_drawn():
    s = study("random_walk")
    found = mean_reversion(s.basis)
    assert labels(plots.signature(found, s.inputs)) == "measured"
    assert "random walk" in repr(plots.profile(found, s.inputs))
    still = mean_reversion(study("frozen_leg").basis)
    assert "perp stood still" in repr(plots.signature(still, s.inputs))


def test_the_walk_ends_at_what_it_earned_and_at_what_was_promised():
    s = study("sample")
    walk = s.verdict.judgement.walk
    (ax,) = plots.walk(s.verdict, s.inputs).figure.axes
    promised, earned = ax.get_lines()[:2]
    assert earned.get_ydata()[-1] == pytest.approx(walk.performance.net_usdt)
    assert promised.get_ydata()[-1] == pytest.approx(sum((f.fit_net_usdt_day or 0.0) * f.days for f in walk.folds))
    assert len(promised.get_xdata()) == len(walk.folds) + 1


def test_where_no_set_traded_there_is_no_landscape():
    s = study("sample")
    idle = tuple(dataclasses.replace(r, trades=0) for r in s.choice.sweep.results)
    choice = dataclasses.replace(s.choice, sweep=dataclasses.replace(s.choice.sweep, results=idle))
    assert f"none of the {len(idle)} sets made a trade" in repr(plots.heat(choice, s.inputs))
    assert "none of the" in repr(sensitivity.neighbourhood(choice)) and "none of the" in repr(
        choice_tables.peak(choice)
    )
    assert "smallest order" not in sensitivity.untraded(choice)
    dear = dataclasses.replace(choice.market, perp=choice.market.perp.replace(qty_step=1e6, min_qty=1e6))
    assert "a clip of 50 USDT is below" in sensitivity.untraded(dataclasses.replace(choice, market=dear))


def test_the_names_of_a_good_entry_and_a_good_exit_do_not_meet():
    s = study("sample")
    for seen in (s.basis, dataclasses.replace(s.basis, exit_bps=s.basis.exit_bps + 200.0, fees_bps=0.0)):
        figure = plots.distribution(seen, s.inputs)
        figure.png()  # lays it out
        boxes = [text.get_window_extent() for text in figure.figure.axes[0].texts if text.get_text().startswith("good")]
        assert len(boxes) == 2 and not boxes[0].overlaps(boxes[1])


def test_without_a_walk_its_figure_says_why():
    s = study("no_edge")
    assert plots.walk(s.verdict, s.inputs).rows == (("reason", s.verdict.reason),)


def test_what_a_demand_refuses_is_not_walked_forward_and_its_page_says_so():
    s = study("sample")
    verdict = judge(s.tape, dataclasses.replace(s.choice, trade=False, reason="10.5 trades a day are below 500"))
    assert not verdict.trade and verdict.judgement is None
    words = "not walked forward, for it is refused already: 10.5 trades a day are below 500"
    assert words in repr(plots.walk(verdict, s.inputs))
    assert all(words in repr(table(verdict)) for table in (choice_tables.walked, choice_tables.gated))


def test_real_quotes_carry_no_mark(tmp_path):
    files = {leg: str(tmp_path / f"{leg}.csv") for leg in ("spot", "perp")}
    real = Inputs(**files, funding="none", pair="LUNC_USDT", contract_size=1.0)
    assert look.marked("Equity", real) == "Equity: LUNC_USDT-mexc-gate"
    assert look.empty("Equity", "no trade", real).title == "Equity: LUNC_USDT-mexc-gate"


def test_extremes_keep_the_one_peak_among_a_million_events():
    values = np.zeros(1_000_000)
    values[345_678] = 99.0
    at, shown = look.extremes(np.arange(1_000_000) * 1000, values)
    assert len(shown) == 2 * look.POINTS and shown.max() == 99.0
    assert (np.diff(at) > 0).all() and np.allclose(np.diff(at), np.diff(at)[0], atol=1000)


def test_extremes_keep_the_order_in_which_they_came():
    _, shown = look.extremes(np.arange(4), np.array([1.0, 5.0, 2.0, 0.0]), stretches=1)
    assert shown.tolist() == [5.0, 0.0]


def test_a_stretch_without_a_value_is_a_gap():
    values = np.array([1.0, 1.0, np.nan, np.nan, 4.0, 4.0])
    _, shown = look.extremes(np.arange(6), values, stretches=3)
    assert np.array_equal(shown, [1.0, 1.0, np.nan, np.nan, 4.0, 4.0], equal_nan=True)
    _, empty = look.extremes(np.arange(4), np.full(4, np.nan), stretches=2)
    assert np.isnan(empty).all()


def test_the_best_of_a_stretch_is_its_highest_or_its_lowest():
    values = np.array([1.0, 5.0, 2.0, 0.0])
    assert look.best(np.arange(4), values, True, 2)[2].tolist() == [5.0, 2.0]
    assert look.best(np.arange(4), values, False, 2)[2].tolist() == [1.0, 0.0]


def test_charts_stay_small():
    for name, figure in figures("sample").items():
        if isinstance(figure, Chart):
            assert len(json.dumps(figure.spec)) < 40_000, name


def test_a_chart_shows_itself_without_loading_plotly():
    chart = plots.edges(study("sample").basis, study("sample").inputs)
    bundle = chart._repr_mimebundle_()
    assert set(bundle) == {"application/vnd.plotly.v1+json", "text/plain"}
    assert json.dumps(bundle, allow_nan=False)


IMPORT_AND_DRAW = """
import sys
from delta_arb.report import figures, plots
assert not {"matplotlib", "plotly"} & set(sys.modules)
import matplotlib as mpl
before = dict(mpl.rcParams)
from delta_arb.quotes.inputs import Inputs
with figures.picture("title", Inputs(), 1.1) as (figure, _):
    pass
figures.Picture("title", figure).png()
assert dict(mpl.rcParams) == before
"""


def test_importing_and_drawing_change_no_global_setting():
    subprocess.run([sys.executable, "-c", IMPORT_AND_DRAW], check=True)
