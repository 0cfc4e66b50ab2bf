"""The parameter file: survives the way to disk and back, and is refused for every reason, each by its name."""

import hashlib
import json
import math
import os
import resource
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from delta_arb.errors import ParamsError
from delta_arb.evidence import DataParams, Evidence, FilterParams, Gate, LayoutParams, ReverseEvidence
from delta_arb.latency import Latency
from delta_arb.params import (
    Bounds,
    Params,
    Rule,
    WalletParams,
    check_assumed,
    check_in_force,
    drop_half_written,
    load,
    publish,
    save,
    sealed,
)
from delta_arb.rule_params import RestingLeg
from delta_arb.strategy import rule as rules
from delta_arb.strategy.rule import make_rule
from delta_arb.strategy.signal import OFF
from delta_arb.strategy.state import LegRule, MachineRule
from delta_arb.venue_terms import VenueTerms, perpetual

NOON = datetime(2026, 11, 5, 12, tzinfo=UTC)
SPOT = VenueTerms(venue="mexc", taker_fee_bps=5.0, latency_s=0.1, min_notional_usdt=1.0)
PERP = VenueTerms(
    venue="gate", taker_fee_bps=2.5, latency_s=0.2, contract_size=10_000.0, qty_step=10_000.0, min_qty=10_000.0
)
DATA = DataParams(
    synthetic=False, start=NOON - timedelta(days=1), end=NOON, judged_from=NOON - timedelta(hours=6), events=86_400,
    spot_sha256="a" * 64, perp_sha256="b" * 64, funding_sha256=None, spot_kind="snapshots", perp_kind="updates",
)  # fmt: skip


LAID = {"layout": "x", "time": "ms", "zone": "UTC", "quantity": None, "clock": "venue", "notes": []}


def values(**changes) -> dict:
    """What an export is made of: 20 bps in, 1 bp out, fees of 15 bps a round trip, valid for an hour from noon."""
    rule = {"entry_bps": 20.0, "exit_bps": 1.0, "max_hold_s": 3600.0, "clip_usdt": 100.0} | changes.pop("rule", {})
    return {
        "pair": "LUNC_USDT", "trade": True, "reason": "passes every gate", "rule": Rule(**rule), "spot": SPOT,
        "perp": PERP, "data": DATA, "evidence": Evidence(), "created": NOON, "valid_until": NOON + timedelta(hours=1),
        "code_version": "0.1.0", "notebook": "02_optimization.ipynb", "run_id": "20261105T120000Z",
    } | changes  # fmt: skip


@pytest.fixture
def export() -> Params:
    return sealed(**values())


@pytest.fixture
def saved(export, tmp_path) -> Path:
    return save(export, tmp_path / "latest.json")


def rewrite(path: Path, change) -> Path:
    """Change the content of a file by a function of its values, and sign it again, as an able forger would."""
    content = json.loads(path.read_text())
    change(content)
    unsigned = {name: value for name, value in content.items() if name != "sha256"}
    text = json.dumps(unsigned, sort_keys=True, separators=(",", ":"))
    content["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(content))
    return path


# --- There and back --------------------------------------------------------------------------------------------------


def test_an_export_survives_the_way_to_disk_and_back(export, saved):
    assert load(saved) == export


def test_a_file_signed_again_without_a_change_is_accepted(export, saved):
    """So the tests below are refused for their change, not for their signature."""
    assert load(rewrite(saved, lambda content: None)) == export


def number(low, high, **options):
    return st.floats(low, high, **options)


names = st.from_regex(r"[A-Za-z0-9_.-]{1,40}", fullmatch=True)
texts = st.text(min_size=1, max_size=30)
digests = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
tiny = 5e-324
venues = st.builds(
    VenueTerms,
    venue=names,
    taker_fee_bps=number(-10, 500),
    latency_s=number(tiny, 60),
    contract_size=number(tiny, 1e300),
    qty_step=number(0, 1e300),
    min_qty=number(0, 1e300),
    min_notional_usdt=number(0, 1e300),
)
layouts = st.none() | st.builds(
    LayoutParams,
    layout=texts,
    time=st.sampled_from(("s", "ms", "us", "ns", "UTC", "naive")),
    zone=texts,
    quantity=st.sampled_from((None, "coins", "contracts", "quote")),
    clock=st.sampled_from((None, "receiver", "venue")),
    notes=st.lists(texts, max_size=2).map(tuple),
)
recorded = st.builds(
    DataParams,
    synthetic=st.booleans(),
    start=times,
    end=times,
    judged_from=st.none() | times,
    events=st.integers(0, 10**18),
    spot_sha256=digests,
    perp_sha256=digests,
    funding_sha256=st.none() | digests,
    spot_kind=st.sampled_from(("updates", "snapshots")),
    perp_kind=st.sampled_from(("updates", "snapshots")),
    spot_layout=layouts,
    perp_layout=layouts,
    funding_layout=layouts,
    notes=st.lists(texts, max_size=2).map(tuple),
    funding_changes=st.lists(times, max_size=2).map(tuple),
)
filters = st.builds(
    FilterParams,
    half_life_s=number(tiny, 1e300),
    mean_bps=number(-1000, 1000),
    sd_bps=number(tiny, 1e300),
    noise_sd_bps=number(tiny, 1e300),
    step_s=number(0, 600),
)
demands = st.builds(
    Gate,
    name=texts,
    meaning=texts,
    value=st.none() | number(-1e300, 1e300),
    unit=texts,
    bound=number(-1e300, 1e300),
    at_least=st.booleans(),
    result=st.sampled_from(["met", "warns"]),
    finding=texts,
)


def evidence(annotation: str):
    """Values of one field of the evidence, null among them."""
    if "FilterParams" in annotation:
        return st.none() | filters
    if "ReverseEvidence" in annotation:
        return st.none() | st.builds(ReverseEvidence, passed=st.booleans(), reason=texts, **REVERSE)
    if "datetime" in annotation:
        return st.none() | times
    if "Literal" in annotation:
        return st.sampled_from(("direct", "reverse"))
    if "bool" in annotation or "[str" in annotation:
        return st.none() | (st.booleans() if "bool" in annotation else digests)
    return st.none() | (st.integers(0, 10**9) if "int" in annotation else number(tiny, 1))


REVERSE = {
    name: evidence(str(field.annotation))
    for name, field in ReverseEvidence.model_fields.items()
    if not field.is_required()
}
EVIDENCE = {name: evidence(str(field.annotation)) for name, field in Evidence.model_fields.items()}


@st.composite
def wallets(draw):
    """Wallets with unlimited money or not, with transfers or not."""
    amount, limited = number(tiny, 1e300), draw(st.booleans())
    moved = limited and draw(st.booleans())
    return WalletParams(
        spot_usdt=draw(amount) if limited else None, perp_usdt=draw(amount) if limited else None,
        min_spot_usdt=draw(amount), min_perp_usdt=draw(amount), inventory_coins=draw(amount),
        transfer_delay_s=draw(amount) if moved else None, transfer_fee_usdt=draw(amount) if moved else None,
        transfer_least_usdt=draw(amount) if moved else None,
    )  # fmt: skip


@st.composite
def exports(draw):
    """Any export that the schema allows, every field of it drawn."""
    spot, perp, trade = draw(venues), draw(venues), draw(st.booleans())
    exit_bps = entry_bps = None
    if trade:
        exit_bps = draw(number(-1000, -100))
        fees_bps = 2 * (spot.taker_fee_bps + perp.taker_fee_bps)
        entry_bps = draw(number(max(exit_bps, min(exit_bps + fees_bps, 999)), 1000, exclude_min=True))
        if not entry_bps - exit_bps > fees_bps:
            spot = spot.model_copy(update={"taker_fee_bps": 0.0})
            perp = perp.model_copy(update={"taker_fee_bps": 0.0})
    process = draw(st.none() | filters)
    rule = Rule(
        entry_bps=entry_bps,
        exit_bps=exit_bps,
        signal="filtered" if process else "raw",
        filter=process,
        rearm_bps=draw(number(0, 1000)),
        max_hold_s=draw(number(tiny, 366 * 86_400)),
        clip_usdt=draw(number(tiny, 1e300)),
        participation=draw(number(tiny, 1)),
        max_quote_age_s=draw(number(tiny, 60)),
        price_bound_bps=draw(number(0, 500)),
        leg_tolerance=draw(number(0, 0.5)),
        leg_deadline_s=draw(number(tiny, 600)),
    )
    created = draw(times)
    return sealed(
        pair=draw(names), trade=trade, reason=draw(texts), rule=rule, spot=spot, perp=perp, data=draw(recorded),
        wallets=draw(wallets()),
        evidence=draw(st.builds(Evidence, **EVIDENCE)), gates=tuple(draw(st.lists(demands, max_size=3))),
        created=created, valid_until=created + draw(st.timedeltas(timedelta(microseconds=1), timedelta(days=9999))),
        code_version=draw(texts), notebook=draw(texts), run_id=draw(texts),
    )  # fmt: skip


@given(exports())
def test_any_export_survives_the_way_to_disk_and_back(tmp_path_factory, export):
    path = save(export, tmp_path_factory.mktemp("params", numbered=True) / "latest.json")
    again = load(path)
    assert again == export
    assert again.model_dump(mode="json") == export.model_dump(mode="json")


# --- What is refused -------------------------------------------------------------------------------------------------


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ParamsError, match="there is no parameter file; run the pipeline"):
        load(tmp_path / "latest.json")


def test_a_path_that_is_no_file_is_refused(tmp_path):
    with pytest.raises(ParamsError, match="cannot be read"):
        load(tmp_path)


def test_a_truncated_file_is_refused(saved):
    whole = saved.read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 3):
        saved.write_bytes(whole[:length])
        with pytest.raises(ParamsError, match="damaged, not JSON"):
            load(saved)


@pytest.mark.parametrize(
    "content", [b"entry_bps = 20", b"\xff\xfe\x00", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"],
    ids=["not JSON", "not UTF-8", "nested without end", "a number without end"],
)  # fmt: skip
def test_a_file_that_is_no_json_is_refused(saved, content):
    saved.write_bytes(content)
    with pytest.raises(ParamsError, match=r"damaged, not JSON.*run the pipeline again"):
        load(saved)


@pytest.mark.parametrize("content", ["[]", "null", "7", '"text"'])
def test_a_file_that_is_no_object_is_refused(saved, content):
    saved.write_text(content)
    with pytest.raises(ParamsError, match="damaged, not an object"):
        load(saved)


@pytest.mark.parametrize("version", [0, 1, 2, 3, 4, 5, "5", None, [5]])
def test_a_file_of_another_schema_is_refused(saved, version):
    rewrite(saved, lambda content: content.update(schema_version=version))
    with pytest.raises(ParamsError, match=r"schema version .* is not 6; run the pipeline of this version"):
        load(saved)


@pytest.mark.parametrize("version", [3.0])
def test_a_version_that_only_equals_ours_is_refused(saved, version):
    rewrite(saved, lambda content: content.update(schema_version=version))
    with pytest.raises(ParamsError, match="schema"):
        load(saved)


def test_a_file_without_a_schema_is_refused(saved):
    rewrite(saved, lambda content: content.pop("schema_version"))
    with pytest.raises(ParamsError, match="schema version None"):
        load(saved)


@pytest.mark.parametrize("section", [None, "rule", "spot", "perp", "wallets", "data", "evidence"])
def test_an_unknown_field_is_refused_by_name(saved, section):
    rewrite(saved, lambda content: (content[section] if section else content).update(levrage=3))
    with pytest.raises(ParamsError, match="levrage: Extra inputs are not permitted"):
        load(saved)


def fields(model=Params, prefix=()):
    """Path of every field of the file."""
    for name, field in model.model_fields.items():
        yield (*prefix, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation, (*prefix, name))


OWN_MESSAGE = (("sha256",), ("schema_version",))


@pytest.mark.parametrize("path", [path for path in fields() if path not in OWN_MESSAGE], ids=".".join)
def test_a_missing_field_is_refused_and_never_filled_in(saved, path):
    def drop(content):
        for name in path[:-1]:
            content = content[name]
        del content[path[-1]]

    rewrite(saved, drop)
    with pytest.raises(ParamsError, match=path[-1]):
        load(saved)


def test_a_file_without_its_digest_is_refused(saved):
    content = json.loads(saved.read_text())
    del content["sha256"]
    saved.write_text(json.dumps(content))
    with pytest.raises(ParamsError, match="sha256: Field required"):
        load(saved)


RESTS = {"spot_role": "maker", "resting": RestingLeg(adverse_bps=1.0)}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (RESTS | {"perp_role": "maker"}, "one leg rests at most"),
        ({"spot_role": "maker"}, "resting is given exactly when"),
        ({"resting": RestingLeg(adverse_bps=1.0)}, "resting is given exactly when"),
        (RESTS | {"reverse_entry_bps": 20.0, "reverse_exit_bps": 0.0}, "direct pairs only"),
        (RESTS | {"clip_usdt": 50.0, "max_position_usdt": 100.0}, "one clip at a time"),
    ],
)
def test_a_leg_that_rests_is_refused_where_the_machine_could_not_hedge_it(asked, says):
    with pytest.raises(ParamsError, match=says):
        Rule(**asked)


@pytest.mark.parametrize(("ends", "least_bps"), [("both", 0.0), ("entry", 20.0), ("exit", 20.0)])
def test_levels_must_pay_the_fees_of_the_ends_that_take(ends, least_bps):
    """Two taker fees of 10 bps at an end that takes; the level of one that rests is net of fees already."""
    spot, perp = (terms.replace(taker_fee_bps=10.0, maker_fee_bps=0.0) for terms in (SPOT, PERP))
    legs = {"spot": spot, "perp": perp}

    def of(apart_bps):
        resting = RestingLeg(adverse_bps=1.0, ends=ends)
        rule = {"entry_bps": 5.0, "exit_bps": 5.0 - apart_bps, "spot_role": "maker", "resting": resting}
        return sealed(**values(rule=rule, **legs))

    of(least_bps + 0.1)
    if least_bps:
        with pytest.raises(ParamsError, match="does not pay the two fees of 20 bps"):
            of(least_bps)


def test_a_leg_rests_only_where_the_accounts_fee_for_makers_is_stated():
    rule = {"perp_role": "maker", "resting": RestingLeg(adverse_bps=1.0)}
    with pytest.raises(ParamsError, match=r"perp\.maker_fee_bps is null"):
        sealed(**values(rule=rule))


WRONG = {
    "a number as text": (("rule", "entry_bps"), "20", "rule.entry_bps"),
    "a flag as a number": (("trade",), 1, "trade"),
    "a flag as text": (("trade",), "true", "trade"),
    "a number as a flag": (("rule", "clip_usdt"), True, "rule.clip_usdt"),
    "a count as a fraction": (("data", "events"), 1.5, "data.events"),
    "a time as a number": (("created",), 1_700_000_000, "created"),
    "a time without a zone": (("created",), "2026-11-05T12:00:00", "created must be a UTC time"),
    "a time of another zone": (("valid_until",), "2026-11-05T14:00:00+01:00", "valid_until must be a UTC time"),
    "null where a number must be": (("rule", "max_hold_s"), None, "rule.max_hold_s"),
    "a section that is none": (("spot",), "mexc", "spot"),
    "an unknown kind": (("data", "spot_kind"), "candles", "data.spot_kind"),
    "an unknown unit of time": (
        ("data", "spot_layout"),
        LAID | {"time": "min"},
        "data.spot_layout.time",
    ),
    "a layout without a zone": (("data", "perp_layout"), LAID | {"zone": ""}, "data.perp_layout.zone"),
    "an unknown role": (("rule", "spot_role"), "arbiter", "rule.spot_role"),
    "a maker that does not say how it rests": (("rule", "spot_role"), "maker", "resting is given exactly when"),
    "an unknown profile": (("profile",), "maker", "profile"),
    "a pair that is no folder name": (("pair",), "../../LUNC/USDT", "pair"),
    "an empty reason": (("reason",), "", "reason"),
    "a digest that is none": (("data", "spot_sha256"), "abc", "data.spot_sha256"),
    "a hold of zero": (("rule", "max_hold_s"), 0.0, "rule.max_hold_s"),
    "a hold of more than a year": (("rule", "max_hold_s"), 367 * 86_400.0, "rule.max_hold_s"),
    "a clip of zero": (("rule", "clip_usdt"), 0.0, "rule.clip_usdt"),
    "a participation above one": (("rule", "participation"), 1.01, "rule.participation"),
    "an age above a minute": (("rule", "max_quote_age_s"), 61.0, "rule.max_quote_age_s"),
    "a negative price bound": (("rule", "price_bound_bps"), -1.0, "rule.price_bound_bps"),
    "a tolerance above one half": (("rule", "leg_tolerance"), 0.51, "rule.leg_tolerance"),
    "a deadline of zero": (("rule", "leg_deadline_s"), 0.0, "rule.leg_deadline_s"),
    "a negative re-arm distance": (("rule", "rearm_bps"), -0.1, "rule.rearm_bps"),
    "thresholds beyond ten per cent": (("rule", "entry_bps"), 1000.1, "rule.entry_bps"),
    "a fee above five per cent": (("perp", "taker_fee_bps"), 501.0, "perp.taker_fee_bps"),
    "a latency of zero": (("spot", "latency_s"), 0.0, "spot.latency_s"),
    "a contract of nothing": (("perp", "contract_size"), 0.0, "perp.contract_size"),
    "a probability above one": (("evidence", "confidence"), 1.1, "evidence.confidence"),
    "a reverse entry alone": (
        ("rule", "reverse_entry_bps"),
        20.0,
        "reverse_entry_bps and reverse_exit_bps belong together",
    ),
    "exit at entry": (("rule", "exit_bps"), 20.0, "exit_bps must be below entry_bps, was exit_bps=20.0 entry_bps=20.0"),
    "a filtered signal without its filter": (("rule", "signal"), "filtered", "exactly when filter is given"),
    "an unknown signal": (("rule", "signal"), "smoothed", "rule.signal"),
    "one threshold only": (("rule", "exit_bps"), None, "give both or null both"),
    "thresholds that do not pay the fees": (("rule", "exit_bps"), 5.0, "15 does not pay the four fees of 15 bps"),
    "thresholds without trading": (("trade",), False, "trade is false but there are thresholds"),
    "valid until before created": (("valid_until",), "2026-11-05T12:00:00Z", "valid_until must be after created"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_refused_by_name(saved, wrong):
    path, value, says = WRONG[wrong]

    def put(content):
        for name in path[:-1]:
            content = content[name]
        content[path[-1]] = value

    rewrite(saved, put)
    with pytest.raises(ParamsError) as refusal:
        load(saved)
    assert says in str(refusal.value) and str(saved) in str(refusal.value)


def test_trading_without_thresholds_is_refused(saved):
    rewrite(saved, lambda content: content["rule"].update(entry_bps=None, exit_bps=None))
    with pytest.raises(ParamsError, match="trade is true but there are no thresholds"):
        load(saved)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_nan_and_infinity_are_refused(saved, value):
    saved.write_text(saved.read_text().replace('"clip_usdt": 100.0', f'"clip_usdt": {value}'))
    with pytest.raises(ParamsError, match="refused"):
        load(saved)


@pytest.mark.parametrize(("old", "new"), [('"entry_bps": 20.0', '"entry_bps": 19.5'), ("every gate", "each gate")])
def test_a_file_edited_by_hand_is_refused(saved, old, new):
    text = saved.read_text()
    assert old in text
    saved.write_text(text.replace(old, new))
    with pytest.raises(ParamsError, match="damaged or edited, its content does not match its sha256"):
        load(saved)


def test_another_layout_of_the_same_content_is_no_edit(export, saved):
    saved.write_text(json.dumps(json.loads(saved.read_text()), indent=None, sort_keys=True))
    assert load(saved) == export


def test_what_cannot_be_read_back_is_not_exported_either():
    with pytest.raises(ParamsError, match=r"cannot be exported: valid_until must be after created"):
        sealed(**values(valid_until=NOON))
    with pytest.raises(ParamsError, match=r"pair: .* \(was 'LUNC/USDT'\)"):
        sealed(**values(pair="LUNC/USDT"))
    with pytest.raises(ParamsError, match="created must be a UTC time"):
        sealed(**values(created=NOON.astimezone(timezone(timedelta(hours=-1)))))


def test_do_not_trade_is_an_export_like_any_other(tmp_path):
    rule = {"entry_bps": None, "exit_bps": None}
    export = sealed(**values(trade=False, reason="no edge after costs", rule=rule))
    assert load(save(export, tmp_path / "latest.json")) == export
    assert repr(export) == "Params(LUNC_USDT-mexc-gate, do not trade: no edge after costs)"


# --- What the runner refuses -----------------------------------------------------------------------------------------

NAME = "LUNC_USDT-mexc-gate"


def check(export, *, name=NAME, now=NOON, bounds=None):
    check_in_force(export, name, now, bounds or Bounds())


def test_a_valid_export_is_accepted_from_its_creation_to_the_last_moment(export):
    check(export)
    check(export, now=NOON + timedelta(hours=1) - timedelta(microseconds=1))
    check(export, now=NOON - timedelta(seconds=5))  # clocks differ a little


def test_a_stale_export_is_refused(export):
    with pytest.raises(ParamsError, match=r"stale: valid until 2026-11-05 13:00:00 UTC, it is 2026-11-05 13:00:00 UTC"):
        check(export, now=NOON + timedelta(hours=1))


def test_an_export_from_the_future_is_refused(export):
    with pytest.raises(ParamsError, match=r"which is after now .*; set the clock"):
        check(export, now=NOON - timedelta(seconds=5.000001))


@pytest.mark.parametrize("other", ["LUNA_USDT-mexc-gate", "LUNC_USDT-binance-gate", "LUNC_USDT-mexc-bybit"])
def test_an_export_of_another_pair_or_venue_is_refused(export, other):
    with pytest.raises(ParamsError, match=f"these parameters are for {NAME}, the runner trades {other}"):
        check(export, name=other)


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        (Bounds(max_clip_usdt=99.0), "clip_usdt=100 is above the configured 99"),
        (Bounds(max_entry_bps=19.0), "entry_bps=20 is above the configured 19"),
        (Bounds(max_hold_s=3599.0), "max_hold_s=3600 is above the configured 3599"),
        (Bounds(max_quote_age_s=0.5), "max_quote_age_s=1 is above the configured 0.5"),
        (Bounds(max_price_bound_bps=49.0), "price_bound_bps=50 is above the configured 49"),
        (Bounds(max_leg_deadline_s=14.0), "leg_deadline_s=15 is above the configured 14"),
        (Bounds(max_leg_tolerance=0.005), "leg_tolerance=0.01 is above the configured 0.005"),
        (Bounds(max_participation=0.5), "participation=1 is above the configured 0.5"),
        (Bounds(min_entry_bps=21.0), "entry_bps=20 is below the configured 21"),
    ],
)
def test_an_export_beyond_the_runners_own_bounds_is_refused(export, bounds, says):
    with pytest.raises(ParamsError, match=says):
        check(export, bounds=bounds)


def test_several_clips_are_bounded_by_the_largest_position():
    file = Rule(entry_bps=20.0, exit_bps=-1.0, max_hold_s=60.0, clip_usdt=100.0, max_position_usdt=400.0)
    Bounds(max_position_usdt=400.0).check(file)
    with pytest.raises(ParamsError, match="max_position_usdt=400 is above the configured 399"):
        Bounds(max_clip_usdt=100.0, max_position_usdt=399.0).check(file)
    with pytest.raises(ParamsError, match=r"max_position_usdt=50\.0 is below one clip"):
        file.replace(max_position_usdt=50.0)


def test_the_bounds_themselves_are_allowed(export):
    check(export, bounds=Bounds(100.0, 20.0, 3600.0, 1.0, 50.0, 15.0))


def test_every_excess_is_named_at_once(export):
    with pytest.raises(ParamsError, match=r"clip_usdt=100 .*; max_hold_s=3600"):
        check(export, bounds=Bounds(max_clip_usdt=1.0, max_hold_s=1.0))


def test_an_export_chosen_for_other_costs_is_refused(export):
    check_assumed(export, SPOT, PERP)
    cheaper, slower = SPOT.model_copy(update={"taker_fee_bps": 0.0}), PERP.model_copy(update={"latency_s": 0.5})
    with pytest.raises(ParamsError, match=r"spot.taker_fee_bps is 5.0 in the file and 0.0 here; perp.latency_s is 0.2"):
        check_assumed(export, cheaper, slower)


# --- From the file to the machine ------------------------------------------------------------------------------------


def test_one_table_says_where_every_input_of_the_machine_comes_from():
    assert list(rules.RULE_SOURCES) == list(MachineRule._fields)


def test_the_rule_is_the_file_in_fractions_and_nanoseconds():
    file = Rule(
        entry_bps=20.0, exit_bps=-1.0, rearm_bps=4.0, max_hold_s=90.5, clip_usdt=100.0, participation=0.5,
        max_quote_age_s=0.75, price_bound_bps=30.0, leg_tolerance=0.02, leg_deadline_s=7.0,
    )  # fmt: skip
    spot = VenueTerms(venue="mexc", taker_fee_bps=5.0, qty_step=100.0, min_notional_usdt=1.0)
    rule = make_rule(file, spot, perpetual("gate", 2.0, 150.0))
    assert (rule.may_enter, rule.flatten) == (True, False)
    assert (rule.entry, rule.exit, rule.rearm) == pytest.approx((0.0020, -0.0001, 0.0004))
    assert (rule.max_hold_ns, rule.max_quote_age_ns) == (90_500_000_000, 750_000_000)
    assert rule.leg_deadline_ns == 7_000_000_000
    assert (rule.clip_usdt, rule.participation, rule.price_bound, rule.leg_tolerance) == (100.0, 0.5, 0.003, 0.02)
    assert rule.step == 300.0  # 100 and 150
    assert rule.filter == OFF
    assert rule.spot == LegRule(100.0, 0.0, 1.0, 0.0005)
    assert rule.perp == LegRule(150.0, 150.0, 0.0, 0.0002)


def test_a_filter_is_handed_on_in_fractions_and_seconds():
    process = FilterParams(half_life_s=10.0, mean_bps=2.0, sd_bps=3.0, noise_sd_bps=4.0, step_s=0.5)
    file = Rule(
        entry_bps=20.0, exit_bps=1.0, max_hold_s=60.0, clip_usdt=100.0, signal="filtered", filter=process
    )  # fmt: skip
    rule = make_rule(file, SPOT, PERP)
    assert rule.filter == pytest.approx(
        (0.0693147, 0.0002, 0.0003, 0.0004, 0.5, 1e9), rel=1e-6
    )  # ln 2 / 10 a second; a second old


def test_without_thresholds_the_machine_neither_enters_nor_has_a_target():
    file = Rule(entry_bps=None, exit_bps=None, max_hold_s=60.0, clip_usdt=100.0)
    rule = make_rule(file, SPOT, PERP)
    assert (rule.may_enter, rule.entry, rule.exit) == (False, math.inf, -math.inf)


def test_entering_can_be_forbidden_although_there_are_thresholds(export):
    assert make_rule(export.rule, SPOT, PERP, may_enter=True).may_enter
    assert not make_rule(export.rule, SPOT, PERP, may_enter=False).may_enter


def test_the_reverse_pair_is_traded_by_its_own_levels_alone():
    file = Rule(
        entry_bps=None, exit_bps=None, reverse_entry_bps=30.0, reverse_exit_bps=-5.0, max_hold_s=60.0, clip_usdt=100.0
    )
    rule = make_rule(file, SPOT, PERP)
    assert rule.may_enter and (rule.entry, rule.exit) == (math.inf, -math.inf)
    assert (rule.reverse_entry, rule.reverse_exit) == (0.003, -0.0005)
    with pytest.raises(ParamsError, match="reverse_entry_bps=30 is above the configured 29"):
        Bounds(max_entry_bps=29.0).check(file)


def test_the_file_and_the_options_mean_the_same_instrument():
    assert perpetual("gate", 2.5, 10_000.0).replace(latency_s=0.2) == PERP


def test_the_default_deadline_is_above_the_default_age_and_latency(export):
    rule = make_rule(export.rule, SPOT, PERP)
    rules.check_deadline(rule, Latency(SPOT.latency_s, PERP.latency_s))


# --- Writing ---------------------------------------------------------------------------------------------------------


def test_publishing_writes_the_dated_file_and_the_latest(export, tmp_path):
    latest = publish(export, tmp_path)
    folder = tmp_path / NAME / "params"
    assert latest == folder / "latest.json"
    assert sorted(file.name for file in folder.iterdir()) == ["20261105T120000.000000Z.json", "latest.json"]
    assert load(latest) == load(folder / "20261105T120000.000000Z.json") == export


def test_a_newer_export_replaces_the_latest_and_keeps_the_older(export, tmp_path):
    publish(export, tmp_path)
    newer = sealed(**values(created=NOON + timedelta(minutes=5)))
    assert load(publish(newer, tmp_path)) == newer
    assert load(tmp_path / NAME / "params" / "20261105T120000.000000Z.json") == export


def test_others_may_read_the_file(saved):
    assert saved.stat().st_mode & 0o777 == 0o644


def test_a_failing_write_leaves_the_old_file_and_no_other(export, saved):
    """The disk takes no more than 100 bytes of a file."""
    newer = sealed(**values(created=NOON + timedelta(minutes=5)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            save(newer, saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load(saved) == export
    assert [file.name for file in saved.parent.iterdir()] == ["latest.json"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_writer_killed_at_any_moment_leaves_the_old_or_the_new_file_whole(tmp_path):
    """Forty writers or more replace the file as fast as they can, each killed (-9) after a few milliseconds.

    More, until both versions were found and a writer was killed in the middle of one, on however slow a machine.
    """
    script = """
        import os, random, signal, sys, time
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from delta_arb.params import load, save
        from test_params import NOON, sealed, values

        folder = Path(sys.argv[1])
        exports = [sealed(**values(reason=letter * 20_000)) for letter in "ab"]
        path, seen, temporary = save(exports[0], folder / "latest.json"), set(), 0
        for attempt in range(2000):
            if attempt >= 40 and len(seen) == 2 and temporary:
                break
            writer = os.fork()
            if not writer:
                while True:
                    for export in exports:
                        save(export, path)
            time.sleep(random.Random(attempt).uniform(0.001, 0.02))
            os.kill(writer, signal.SIGKILL)
            os.waitpid(writer, 0)
            seen.add(load(path).reason[0])
            temporary = len(list(folder.iterdir())) - 1
        print(sorted(seen), temporary)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    seen, temporary = done.stdout.rsplit(" ", 1)
    assert seen == "['a', 'b']"
    assert int(temporary) > 0
    (tmp_path / ".lock").touch()
    drop_half_written(tmp_path)  # the next one to publish alone writes there
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "latest.json"}
