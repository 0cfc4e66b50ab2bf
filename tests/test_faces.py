"""How numbers, tables and sentences show themselves: the same text everywhere, and escaped HTML."""

import pytest

from delta_arb.quotes.inputs import Inputs
from delta_arb.tables import Findings, Heading, Table, Tiles, account, number, quantity, seconds, share


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.567, "1,234.57"), (-0.001, "0.00"), (None, "n/a"), (float("nan"), "n/a"), (float("inf"), "n/a")],
)
def test_a_number_is_rounded_and_never_minus_zero(value, text):
    assert number(value) == text


def test_a_sign_is_shown_where_asked_and_never_on_zero():
    assert [number(x, sign=True) for x in (2.0, -2.0, 0.001)] == ["+2.00", "-2.00", "0.00"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.42, "0.42 s"), (90.0, "90 s"), (624.0, "10.4 min"), (86_400.0, "24 h"), (259_200.0, "3 days"), (None, "n/a")],
)
def test_a_duration_is_in_the_unit_a_reader_expects(value, text):
    assert seconds(value) == text


def test_a_share_is_a_percentage():
    assert share(0.0234, 1) == "2.3 %" and share(None) == "n/a"


def test_a_table_is_aligned_text_and_escaped_html():
    table = Table.of("Costs", ("", "bps"), [("spot <fees>", "10.00"), ("all", "5.00")], "a note")
    assert repr(table) == "Costs\n               bps\nspot <fees>  10.00\nall           5.00\na note"
    assert "spot &lt;fees&gt;" in table._repr_html_() and "a note" in table._repr_html_()
    assert list(table.to_frame().columns) == ["", "bps"]


def test_findings_leave_out_what_has_nothing_to_say():
    assert repr(Findings.of("one", "", "two")) == "- one\n- two"


def test_tiles_show_label_value_and_what_stands_beside():
    tiles = Tiles("Judged", (("net", "+1.97", "fit +2.08"), ("hit rate", "80 %", "fit 100 %")))
    assert repr(tiles) == "Judged\nnet       +1.97  fit +2.08\nhit rate   80 %  fit 100 %"
    assert "+1.97" in tiles._repr_html_()


def test_a_heading_says_synthetic_in_text_and_html_only_where_it_is():
    made, real = Heading("SYN", True, ("quotes",)), Heading("LUNC", False, ("quotes",))
    assert "SYNTHETIC" in repr(made) and "SYNTHETIC" in made._repr_html_()
    assert "SYNTHETIC" not in repr(real) and "SYNTHETIC" not in real._repr_html_()


def test_a_heading_tells_of_leverage_and_wallets_only_where_they_were_stated():
    assert account(Inputs()) == ""
    assert account(Inputs(leverage=3.0, spot_usdt=500.0, perp_usdt=400.0)) == (
        "leverage 3, wallets of 500 USDT on spot and 400 USDT on the perpetual's venue"
    )


def test_a_quantity_has_its_unit_and_never_an_exponent():
    said = [
        quantity(1460.3, "% a year", 3),
        quantity(999.96, "bps", 3),
        quantity(0.00005, "fraction"),
        quantity(-0.0, "pairs"),
    ]
    assert said == ["1,460 % a year", "1,000 bps", "0.005 %", "0 pairs"]
    assert quantity(float("nan"), "bps") == quantity(None, "bps") == "not computed"
