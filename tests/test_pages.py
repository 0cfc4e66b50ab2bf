"""What a page shows first, what it leaves out, and that it is whole wherever it is moved."""

import json
import re
from types import SimpleNamespace

import nbformat
import pytest

from delta_arb.optimize.gates import gate
from delta_arb.optimize.verdict import warned
from delta_arb.report import banner, cells, pages
from delta_arb.stats.sharpe import Interval

LINE = {
    "rests_on": "the walk-forward, 13 folds", "trades": 25, "folds": 13, "days": 2.17, "capital_usdt": 100.0,
    "net_usdt_day": 1.91, "low_usdt_day": 1.07, "high_usdt_day": 2.78, "net_bps": 37.3, "percent": 697.2,
    "without_best_day_usdt_day": 0.7, "cash_percent": 4.0, "above_cash_percent": 693.2,
    "break_even_days": 0.02, "held_days": 0.05, "refusal": None,
    "stresses": [{"name": "USDT -5 %", "usdt": 5.0, "years": 0.0072}, {"name": "frozen", "usdt": 0.7, "years": 0.001}],
}  # fmt: skip
GATES = [
    gate("pairs out of sample", 25.0, 9.0), gate("hit rate's upper bound", 0.75, 0.7),
    gate("look-back", 93.19, 150.0).replace(result="warns"),
]  # fmt: skip
MISSED = gate("drawdown of marked equity", 0.031, 0.02, least=False)
RULE = {"entry_bps": 21.92, "exit_bps": -34.6, "max_hold_s": 21_600.0}


def record(trade=True, gates=GATES, line=LINE, **more) -> dict:
    return {
        "pair": "SYN_USDT-mexc-gate", "stamp": "20260105T000000Z", "status": "ok", "trade": trade, "reason": "why",
        "metrics": {}, "line": line, "candidate": {
            "gates": [g.model_dump() for g in gates], "rule": RULE, "evidence": {"confidence": 0.86, "horizon_s": 14_400.0},
        },
    } | more  # fmt: skip


def shown(of: dict) -> str:
    return banner.banner(of, ["02_optimization"], "02_optimization", "../..")


def test_the_banner_says_the_walk_forward_figure_its_interval_and_what_it_rests_on():
    text = shown(record())
    for part in ("+1.91", "95 %: +1.07 to +2.78", "+37.3 bps a trade", "25 trades", "the walk-forward, 13 folds"):
        assert part in text
    for part in (
        "+693 %",
        "cash 4 %",
        "extrapolated from 2.17 days",
        "5.00 USDT",
        "2.63 days of earnings",
        "86 %",
        "of the next 4 h",
    ):
        assert part in text


def test_the_verdict_says_which_leg_rests_and_its_fee():
    terms = {"venue": "mexc", "maker_fee_bps": 0.0, "taker_fee_bps": 5.0}
    rule = RULE | {"spot_role": "maker", "perp_role": "taker", "resting": {"ends": "both"}}
    text = shown(record(candidate={"rule": rule, "spot": terms}))
    assert "hold at most 6 h. Spot rests at both ends, maker fee 0 bps on mexc." in text
    assert "rests at" not in shown(record())


def test_a_warning_does_not_read_like_a_refusal():
    text = shown(record())
    assert "All 2 demands are met." in text and '<li class="warns">' in text and '<li class="missed">' not in text
    assert "<b>Warning, no refusal:</b> look-back 93.19 half-lives is below 150 half-lives" in text


@pytest.mark.parametrize("chosen", ["by search", "by hand"])
@pytest.mark.parametrize(
    ("low", "high", "warns"), [(-0.3138, 1.483, True), (-0.5, -0.1, True), (0.01, 1.483, False), (None, None, False)]
)
def test_a_net_that_may_be_a_loss_is_the_first_warning(low, high, warns, chosen):
    trade, line = chosen == "by search", LINE | {"low_usdt_day": low, "high_usdt_day": high}
    candidate = record()["candidate"] | {"chosen": chosen}
    text = shown(record(trade=trade, line=line, candidate=candidate))
    said = (
        f"<b>Warning, no refusal:</b> the 95 % interval of the net out of sample, {low:.3g} to {high:.3g} USDT a day, "
        if warns
        else ""
    )
    assert said in text and ("does not lie above zero: a loss is not excluded; look-back" in text) == warns
    evidence = {"walk_net_low_usdt_day": low, "walk_net_high_usdt_day": high}
    assert said in banner.warnings({"trade": True, "candidate": {"evidence": evidence}})  # a card of the index


def test_a_refusal_needs_no_word_of_its_interval():
    refused = record(trade=False, gates=[MISSED], line=LINE | {"low_usdt_day": -1.0})
    assert "does not lie above zero" not in shown(refused)


def test_the_reason_in_the_file_names_an_interval_that_does_not_exclude_a_loss():
    def of(low):
        return SimpleNamespace(
            walk=SimpleNamespace(net_usdt_day=Interval(0.6166, low, 1.483)), warning="look-back is short"
        )

    said = "the 95 % interval of the net out of sample, -0.314 to 1.48 USDT a day, does not lie above zero: a loss is not excluded"
    assert warned(of(-0.3138)) == f"; warning: {said}; look-back is short"
    assert warned(of(0.1)) == "; warning: look-back is short"


def test_a_demand_says_its_unit_once():
    assert gate("pairs a day", 3.4, 5.0).finding == "pairs a day 3.4 is below 5"


def test_each_demand_has_its_unit_its_bound_and_its_meaning():
    text = shown(record())
    assert "<span>75 %</span> <i>at least 70 %</i><small>pairs that reach their exit level, at the" in text
    assert "<span>93.2 half-lives</span> <i>at least 150 half-lives, warns only</i>" in text


def test_a_missed_demand_is_named_and_stands_first_with_its_number_and_its_bound():
    text = shown(record(trade=False, gates=[*GATES, MISSED]))
    assert "1 of 3 demands is missed: drawdown of marked equity." in text
    assert text.index('<li class="missed">') < text.index('<li class="met">') < text.index('<li class="warns">')
    assert "<span>3.1 %</span> <i>at most 2 %</i>" in text and '<details class="asked">' in text


def test_the_verdict_of_synthetic_quotes_says_so():
    text = shown(record(synthetic=True))
    assert re.search(r'<p class="verdict"><span class="pill yes">trade</span> <span class="pill synthetic"', text)
    assert "synthetic" not in shown(record())


def test_thresholds_kept_or_chosen_by_hand_do_not_claim_that_demands_were_met():
    held = {
        "rule": RULE,
        "data": {"end": "2026-01-05T12:00:00Z"},
        "evidence": {"last_passed": "2026-01-05T06:00:00.5Z"},
    }
    kept = shown(record(candidate=held))
    again = held | {"evidence": {"last_passed": "2026-01-05T12:00:00Z"}, "gates": [g.model_dump() for g in GATES]}
    assert "All 2 demands are met" in shown(record(candidate=again))  # re-confirmed on these quotes
    hand = shown(record(candidate={"rule": RULE, "chosen": "by hand"}))
    assert "this run alone would publish nothing" in kept and "Chosen by hand: no demand was asked." in hand
    assert "are met" not in kept + hand


@pytest.mark.parametrize(
    ("years", "text"), [(0.0072, "2.63 days"), (0.001, "8.76 h"), (3.08, "3.1 years"), (0.75, "274 days")]
)
def test_what_an_accident_costs_is_in_the_unit_a_reader_expects(years, text):
    assert banner.earned_back(years) == f"{text} of earnings"


def test_small_money_keeps_digits_that_say_something():
    line = LINE | {"net_usdt_day": 0.0222, "low_usdt_day": 0.0143, "high_usdt_day": 0.0305}
    assert "+0.022" in shown(record(line=line)) and "95 %: +0.014 to +0.030" in shown(record(line=line))


def test_a_refusal_says_what_was_looked_for_what_was_missing_and_what_would_have_to_change():
    refusal = {"looked_for": ["an edge"], "missing": ["a <swing>"], "change": ["fees below 2 bps"]}
    text = shown(record(trade=False, gates=[], line=LINE | {"refusal": refusal}))
    for part in ("Looked for", "an edge", "Missing", "a &lt;swing&gt;", "Would have to change", "fees below 2 bps"):
        assert part in text
    assert "Why" in text  # the reason, as a sentence
    again = shown(record(trade=False, gates=[], line=LINE | {"refusal": refusal | {"missing": ["why"]}}))
    assert "<h2>Missing</h2>" not in again  # the sentence above says it


def test_where_nothing_traded_no_figure_is_shown():
    text = shown(record(trade=False, gates=[], line=LINE | {"trades": 0, "net_usdt_day": None}))
    assert "Net out of sample" not in text and "Why" in text


def test_less_than_a_day_is_no_year():
    short = LINE | {"days": 0.02, "percent": None, "above_cash_percent": None}
    assert "less than a day says nothing of a year" in shown(record(line=short)) and "extrapolated" not in shown(
        record(line=short)
    )


def test_a_failed_run_shows_its_error_and_no_figures():
    text = shown(record(status="failed", reason="ValueError: too late", trade=None))
    assert "ValueError: too late" in text and "+1.91" not in text
    assert dict(banner.figures(record(status="failed")))["Net USDT/day"] == banner.DASH


def test_a_run_of_another_version_is_told_by_its_verdict_and_reason(tmp_path):
    """Its demands have another form: read by today's they ended the index, and with it the next run, in a traceback."""
    folder = tmp_path / "A-B-c" / "20260101T000000Z"
    folder.mkdir(parents=True)
    run = {
        "run_id": "1",
        "pair": "A-B-c",
        "stamp": "20260101T000000Z",
        "status": "ok",
        "trade": False,
        "reason": "too few",
    }
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "candidate.json").write_text(
        json.dumps({"schema_version": 5, "gates": [{"name": "pairs", "passed": False}]})
    )
    (of,) = pages.history(tmp_path)
    assert banner.plain(of) == "too few"


def test_figures_are_rounded_never_minus_zero_and_absent_ones_are_dashes():
    shown_ = [banner.number(value, "+.2f") for value in (1.234, -0.5, -0.001, None, True, float("nan"), "7")]
    assert shown_ == ["+1.23", "−0.50", "0.00", *"————"]


@pytest.mark.parametrize(("days", "text"), [(0.02, "28.8 min"), (0.5, "12 h"), (2.17, "2.17 days"), (None, "—")])
def test_a_span_is_in_the_unit_a_reader_expects(days, text):
    assert banner.span(days) == text


# --- sections --------------------------------------------------------------------------------------------------------


def notebook(**sections: str | dict):
    """One section per name, whose only output is this text, or this chart."""
    nb = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    )
    nb.cells.append(nbformat.v4.new_markdown_cell("# The question"))
    for name, shown_ in sections.items():
        nb.cells.append(nbformat.v4.new_markdown_cell(f"## {name.replace('_', ' ')}?\n\nProse."))
        data = {"text/plain": "Chart()", pages.PLOTLY: shown_} if isinstance(shown_, dict) else {"text/plain": shown_}
        output = nbformat.v4.new_output("execute_result", data, execution_count=1)
        nb.cells.append(nbformat.v4.new_code_cell("x", outputs=[output]))
    return nb


CHART = {
    "data": [{"type": "bar", "x": [1], "y": [2], "name": "</script>"}],
    "layout": {"title": {"text": "<b>Net</b>"}},
}
EMPTY = "Champion and challenger\n        nothing to compare\nreason  no parameters are in force"


def page(tmp_path, **sections) -> str:
    folder = tmp_path / "pair" / "20260105T000000Z"
    folder.mkdir(parents=True)
    nbformat.write(notebook(**sections), folder / "02_optimization.ipynb")
    return pages.write_page(folder / "02_optimization.ipynb", record(), tmp_path).read_text()


def test_of_a_progress_bar_its_last_state_is_shown_and_no_escape_of_a_terminal():
    pieces = [
        "  0%|  |",
        "\r 50%|# |",
        "\r100%|##|\n",
        "\x1b[?25l\x1b]8;;https://x.y\x1b\\link\x1b]8;;\x1b\\ \x1b]0;t\x07end\r\n",
    ]
    streams = [nbformat.v4.new_output("stream", name="stderr", text=text) for text in pieces]
    code = nbformat.v4.new_code_cell(
        "x", outputs=[*streams, nbformat.v4.new_output("stream", name="stdout", text="a\n")]
    )
    text = cells.body(nbformat.v4.new_notebook(cells=[code]))
    assert re.findall(r"<pre>(.*?)</pre>", text[text.index("output_stderr") :], re.DOTALL) == [
        "100%|##|\nlink end\r\n", "a\n",
    ]  # fmt: skip


def test_each_form_of_an_output_is_shown_by_its_richest_part_and_nothing_is_taken_for_markup():
    data = {"image/png": "iVBO", "text/plain": "Picture(Net: A & B)"}
    picture = nbformat.v4.new_output("display_data", data, metadata={"image/png": {"width": 960}})
    failed = nbformat.v4.new_output("error", ename="E", evalue="v", traceback=["\x1b[31mE\x1b[0m: 1 < 2"])
    html = nbformat.v4.new_output("display_data", {"text/html": "<b>x</b>", "text/plain": "x"})
    said = nbformat.v4.new_output("stream", name="stderr", text="a<b")
    code = nbformat.v4.new_code_cell("1 < 2", outputs=[picture, failed, html, said], metadata={"tags": ["parameters"]})
    prose = nbformat.v4.new_markdown_cell(
        "**bold** ![p](attachment:p.png)", attachments={"p.png": {"image/png": "iVBO"}}
    )
    text = cells.body(nbformat.v4.new_notebook(cells=[prose, code]))
    for part in (
        "<strong>bold</strong>",
        'src="data:image/png;base64,iVBO" alt="p"',
        "<summary>default parameters</summary>",
        '<span class="o">&lt;</span>',
        '<img alt="Net: A &amp; B" src="data:image/png;base64,iVBO" width="960">',
        '<div class="output output_error"><pre>E: 1 &lt; 2</pre></div>',
        '<div class="output output_html"><b>x</b></div>',
        '<div class="output output_stderr"><pre>a&lt;b</pre></div>',
    ):
        assert part in text, part


def test_attached_pictures_are_those_that_the_prose_names():
    """JupyterLab writes a blank in a name as %20; one name may begin another; a drawing is a picture too."""
    attached = {"a.png": {"image/png": "AAAA"}, "a.png2": {"image/png": "BBBB"}, "my p.svg": {"image/svg+xml": "CCCC"}}
    source = "![p](attachment:a.png2) ![q](attachment:my%20p.svg) of attachment:a.png"
    text = cells.body(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(source, attachments=attached)]))
    for part in (
        'src="data:image/png;base64,BBBB"',
        'src="data:image/svg+xml;base64,CCCC"',
        " of attachment:a.png</p>",
    ):
        assert part in text, part


def test_a_section_with_nothing_in_it_is_left_out_and_named_at_the_end(tmp_path):
    text = page(tmp_path, The_sweep="Net\n1.0", The_champion=EMPTY)
    assert 'id="the-sweep"' in text and 'href="#the-sweep"' in text
    assert 'id="the-champion"' not in text and 'href="#the-champion"' not in text
    assert "Left out, because there is nothing in it: The champion?" in text


def test_a_table_that_says_more_than_not_asked_stays():
    asked = "Would holding pay?\nquestion  answer\nbreak-even  9.5 days\nwalked forward  not asked: the profile is reversion"
    assert pages.without_empty(notebook(a=asked))[1] == []
    alone = "Direct, reverse, and both\ndirection  answer\nreverse    not asked: no coins are held"
    assert pages.without_empty(notebook(a=alone))[1] == ["a?"]


def test_a_page_is_whole_without_the_folder_it_was_written_in(tmp_path):
    text = page(tmp_path, The_chart=CHART)
    sources = re.findall(r"""<(?:script|link|img|iframe)[^>]*?(?:src|href)=["']([^"']*)""", text)
    assert all(source.startswith("data:") for source in sources)
    assert 'id="plotly"' in text and "</script>" not in re.search(r'application/json">(.*?)</script>', text)[1]
    spec = json.loads(re.search(r'application/json">(.*?)</script>', text)[1])
    assert spec["data"][0]["name"] == "</script>" and spec["config"]["plotlyServerURL"] == ""
    assert len(text) < 3_000_000


def test_a_page_without_a_chart_carries_no_library(tmp_path):
    assert 'id="plotly"' not in page(tmp_path, The_sweep="Net\n1.0")
