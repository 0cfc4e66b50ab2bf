"""Order rules from the venues' own lists: the recorded list of Gate.io, MEXC's documented answer, and what is no list."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delta_arb.errors import DataError
from delta_arb.quotes.listings import gate_contracts, listed_terms, mexc_symbols

FEE_BPS = 5.0
SHARED = Path(__file__).resolve().parents[2] / "shared"
LIST = SHARED / "data" / "gateio_futures_contracts_2023-05-24.parquet"
needs_recordings = pytest.mark.skipif(not LIST.exists(), reason="the recordings are not beside the project (../shared)")


@pytest.fixture(scope="module")
def listed():
    return gate_contracts(LIST, FEE_BPS)


@needs_recordings
def test_a_contract_is_read_in_base_units_and_at_the_accounts_fee(listed):
    """Ten thousand LUNC a contract, a tick of 1e-8; the list's own fee of 7.5 bps is nowhere."""
    lunc = listed["LUNC_USDT"]
    assert (lunc.venue, lunc.contract_size, lunc.qty_step, lunc.min_qty) == ("gate", 10_000.0, 10_000.0, 10_000.0)
    assert lunc.taker_fee == 0.0005 and len(listed) == 302
    btc = listed["BTC_USDT"]
    assert (btc.contract_size, btc.price_tick, btc.max_leverage, btc.maintenance_rate) == (0.0001, 0.1, 100.0, 0.005)


@needs_recordings
def test_the_list_as_json_says_the_same(listed):
    recorded = gate_contracts(SHARED / "fixtures" / "gate_futures_contracts_recorded.json", FEE_BPS)
    assert recorded and all(listed[name] == found for name, found in recorded.items())


@needs_recordings
@given(data=st.data(), contracts=st.integers(-(10**9), 10**9))
def test_whole_contracts_survive_the_way_to_base_units_and_back_for_every_contract(listed, data, contracts):
    found = listed[data.draw(st.sampled_from(sorted(listed)))]
    assert found.to_contracts(found.to_base(contracts)) == contracts


def test_a_contract_that_trades_in_parts_has_their_step(tmp_path):
    row = {
        "name": "LUNC_USDT", "quanto_multiplier": "10000", "order_size_min": "0.1", "enable_decimal": True,
        "order_price_round": "0.00000001", "leverage_max": "20", "maintenance_rate": "0.025",
    }  # fmt: skip
    path = tmp_path / "contracts.json"
    path.write_text(json.dumps([row, row | {"name": "WHOLE_USDT", "enable_decimal": False, "order_size_min": 1}]))
    parts, whole = gate_contracts(path, FEE_BPS).values()
    assert (parts.contract_size, parts.qty_step, parts.min_qty) == (10_000, 1_000, 1_000)
    assert (parts.to_contracts(-23_000), parts.to_base("-2.3")) == (Decimal("-2.3"), -23_000)
    assert (whole.qty_step, whole.min_qty) == (10_000, 10_000)


@needs_recordings
def test_the_documented_exchange_information_is_read(tmp_path):
    """Its amount step is the digits of the base asset, the minima are the two fields called precision."""
    documented = json.loads((SHARED / "fixtures" / "mexc_docs_examples.json").read_text())
    path = tmp_path / "exchangeInfo.json"
    path.write_text(json.dumps({"symbols": [documented["sections"]["Exchange Information"]["examples"][0]["json"]]}))
    found = listed_terms(path, "mexc", "TOMO3L_USDT", FEE_BPS)
    assert (found.qty_step, found.min_qty, found.min_notional_usdt, found.price_tick) == (0.01, 0.01, 5.0, 0.001)
    assert (found.taker_fee, found.fee_currency) == (0.0005, "quote")
    with pytest.raises(DataError, match="mexc does not list LUNC_USDT there"):
        listed_terms(path, "mexc", "LUNC_USDT", FEE_BPS)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[]", "no list of contracts"),
        ("{", "cannot be read"),
        ('{"contracts": 3}', "no list of contracts"),
        ('[{"name": "BTC_USDT"}]', "BTC_USDT lacks an order rule"),
        ('[{"name": "BTC_USDT", "quanto_multiplier": "a"}]', "BTC_USDT lacks an order rule"),
    ],
)
def test_what_is_no_list_is_refused_with_what_is_wrong(tmp_path, content, says):
    path = tmp_path / "list.json"
    path.write_text(content)
    with pytest.raises(DataError, match=says):
        gate_contracts(path, FEE_BPS)


def test_a_list_that_is_not_there_or_of_an_unknown_venue_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is no such list"):
        mexc_symbols(tmp_path / "none.json", FEE_BPS)
    with pytest.raises(DataError, match="no reader for the lists of 'kraken'"):
        listed_terms(tmp_path / "none.json", "kraken", "BTC_USDT", FEE_BPS)
