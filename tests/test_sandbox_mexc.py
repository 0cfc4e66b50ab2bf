"""The MEXC face of the local venue: what MEXC documents, and genuine ccxt against a running one.

The documented payloads and known answers are third-party data beside the project (`../shared/fixtures`); tests that
need them are skipped where they are not at hand.
"""

import json
from pathlib import Path

import pytest

from delta_arb.sandbox.mexc_push import Stream
from delta_arb.sandbox.mexc_wire import Refused, check_clock, sign, signed_params

FIXTURES = Path(__file__).resolve().parents[1].parent / "shared" / "fixtures"


def fixture(name: str) -> dict:
    if not (FIXTURES / name).exists():
        pytest.skip(f"the fixture {name} is not here (looked beside the project, in ../shared/fixtures)")
    return json.loads((FIXTURES / name).read_text("utf-8"))


# --- signatures and clocks -------------------------------------------------------------------------------------------


def known_answer() -> tuple[str, str, str, str, int]:
    """Key, secret, what was signed, its signature, and the clock then (ms)."""
    known = fixture("mexc_signature_known_answer.json")
    case = known["cases"][0]
    return known["api_key"], known["secret"], case["total_params"], case["signature"], 1644489390087


def test_the_documented_signature_is_accepted():
    key, secret, total, signature, now_ms = known_answer()
    assert sign(secret, total) == signature
    params = signed_params(f"{total}&signature={signature}", "", {"X-MEXC-APIKEY": key}, {key: secret}, now_ms)
    assert params == {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": "1", "price": "11"}


@pytest.mark.parametrize(("old", "new"), [("price=11", "price=12"), ("fd3e", "fd3f"), ("BUY", "SELL")])
def test_an_altered_request_is_refused(old, new):
    key, secret, total, signature, now_ms = known_answer()
    query = f"{total}&signature={signature}".replace(old, new)
    with pytest.raises(Refused) as refused:
        signed_params(query, "", {"X-MEXC-APIKEY": key}, {key: secret}, now_ms)
    assert refused.value.body == {"code": 700002, "msg": "Signature for this request is not valid."}


def test_the_body_is_signed_with_the_query():
    signature = sign("secret", "timestamp=5000" + "quantity=1")
    query = f"timestamp=5000&signature={signature}"
    assert signed_params(query, "quantity=1", {"X-MEXC-APIKEY": "key"}, {"key": "secret"}, 5000) == {}
    with pytest.raises(Refused):
        signed_params(query, "quantity=2", {"X-MEXC-APIKEY": "key"}, {"key": "secret"}, 5000)


def test_a_request_without_a_known_key_is_refused():
    for headers, code in (({}, 400), ({"X-MEXC-APIKEY": "stranger"}, 10072)):
        with pytest.raises(Refused) as refused:
            signed_params("timestamp=1&signature=00", "", headers, {"key": "secret"}, 1)
        assert refused.value.body["code"] == code


@pytest.mark.parametrize(
    ("timestamp", "window", "code"),
    [
        (10_999, "5000", None),  # less than a second ahead
        (11_000, "5000", 700003),
        (5_000, "5000", None),  # exactly as old as the window allows
        (4_999, "5000", 700003),
        (1, "60000", None),
        (1, "60001", 700005),
        (1, "many", 700005),
    ],
)
def test_the_clock_rule_is_the_documented_one(timestamp, window, code):
    if code is None:
        check_clock(str(timestamp), window, now_ms=10_000)
        return
    with pytest.raises(Refused) as refused:
        check_clock(str(timestamp), window, now_ms=10_000)
    assert refused.value.body["code"] == code


# --- channels --------------------------------------------------------------------------------------------------------


def test_channel_names_say_which_stream_is_meant():
    ticker = Stream.parse("spot@public.aggre.bookTicker.v3.api.pb@10ms@BTCUSDT")
    assert (ticker.kind, ticker.interval_ms, ticker.symbol, ticker.private) == ("bookTicker", 10, "BTCUSDT", False)
    assert Stream.parse("spot@private.orders.v3.api.pb").private
    for other in ("spot@public.bookTicker.v3.api@BTCUSDT", "spot@public.aggre.depth.v3.api.pb@50ms@BTCUSDT", "", "x"):
        assert Stream.parse(other) is None
