"""What a key may do besides trading, in the shapes that the venues' documents give, and as the local venues tell it."""

import asyncio
from datetime import timedelta

import pytest
from live_stage import quick_config, stage
from test_live import export, rule_params

from delta_arb import params
from delta_arb.live import preflight
from delta_arb.live.__main__ import main
from delta_arb.live.checks import key_rows, passed
from delta_arb.live.parameters import ParameterFile, utc_now
from delta_arb.live.supervisor import LIVE, PAPER, SANDBOX, LiveJob
from delta_arb.live.venues.base import Rights, VenueError
from delta_arb.live.venues.key_permissions import gate_rights, mexc_rights
from delta_arb.market import NS
from delta_arb.quotes.inputs import Inputs

DAY_NS = 86_400 * NS
MADE_S = 1_790_000_000


def gate_key(**changes):
    """A row of main_keys: the fields of Gate's own client libraries."""
    return {
        "state": 1, "mode": 1, "name": "bot", "currency_pairs": [], "user_id": 10003, "ip_whitelist": ["192.0.2.7"],
        "perms": [{"name": "futures", "read_only": False}, {"name": "account", "read_only": True}],
        "key": "ours", "created_at": str(MADE_S), "updated_at": str(MADE_S), "last_access": str(MADE_S),
    } | changes  # fmt: skip


def may(*writes: str) -> list[dict]:
    return [{"name": name, "read_only": False} for name in writes]


@pytest.mark.parametrize(
    ("keys", "withdraw", "trade"),
    [
        ([gate_key()], False, True),
        ([gate_key(key="another"), gate_key(perms=may("futures", "withdrawal"))], True, True),
        ([gate_key(perms=may("futures", "wallet"))], True, True),
        ([gate_key(perms=may("futures", "custody"))], None, True),  # a name of which we do not know what it moves
        ([gate_key(perms=may("spot"))], False, False),
        ([gate_key(state=2)], False, False),  # locked
        (gate_key(key={"mode": 1}), False, True),  # one object, and no key named: as the libraries describe it
        ([gate_key(key={"mode": 1}), gate_key(key={"mode": 1})], None, None),  # which of them is ours?
        ([gate_key(key="another")], None, None),
        ([gate_key(key="ou*****"), gate_key(key="theirs*****", perms=may("withdrawal"))], False, True),  # as documented
        ([gate_key(key="*****")], None, None),
        ([gate_key(perms="futures")], None, None),
        ([gate_key(perms=[{"name": "futures"}])], None, None),
        ([], None, None),
        ({}, None, None),
        ("nothing", None, None),
        (VenueError("gate: FORBIDDEN", "FORBIDDEN"), None, None),
    ],
)
def test_gate_tells_of_a_key_what_is_documented_and_else_nothing(keys, withdraw, trade):
    rights = gate_rights({"ip_whitelist": ["192.0.2.7"], "key": {"mode": 1}}, keys, "ours")
    assert (rights.withdraw, rights.trade) == (withdraw, trade)
    assert rights.addresses == ("192.0.2.7",) and rights.ends_ns is None and rights.said


def test_the_addresses_of_a_gate_key_are_told_by_either_answer():
    refused = VenueError("refused")
    assert gate_rights(refused, [gate_key()], "ours").addresses == ("192.0.2.7",)
    assert gate_rights({"ip_whitelist": []}, refused, "ours").addresses == ()
    assert gate_rights({"user_id": 1}, refused, "ours").addresses is None
    assert gate_rights(refused, refused, "ours").addresses is None


@pytest.mark.parametrize("made", ["", "yesterday", "2026-11-22", None, MADE_S * 1000])
def test_a_day_that_is_not_told_in_seconds_is_not_guessed(made):
    rights = gate_rights({"ip_whitelist": []}, [gate_key(created_at=made, ip_whitelist=[])], "ours")
    assert rights.withdraw is False and rights.made_ns is None and rights.ends_ns is None


REFUSED = VenueError("mexc: withdrawals: refused", "700007")
ACCOUNT = {"canTrade": True, "canWithdraw": True, "canDeposit": True, "accountType": "SPOT", "permissions": ["SPOT"]}


@pytest.mark.parametrize(
    ("account", "withdrawals", "withdraw"),
    [
        (ACCOUNT, REFUSED, False),
        (ACCOUNT, [], True),
        (ACCOUNT | {"canWithdraw": False}, [], False),
        (ACCOUNT, VenueError("mexc: 503", "503"), None),
        (VenueError("mexc: 503", "503"), REFUSED, False),
        ({}, [], True),
        (ACCOUNT, {"code": 0}, None),
    ],
)
def test_mexc_tells_of_the_account_and_refuses_a_key_without_the_right(account, withdrawals, withdraw):
    assert mexc_rights(account, withdrawals, {}).withdraw is withdraw


@pytest.mark.parametrize(
    ("info", "addresses"),
    [
        ({"note": "note2", "apikey": "mx0", "ipWhiteList": "162.133.62.1"}, ("162.133.62.1",)),
        ({"ipWhiteList": "192.0.2.1, 192.0.2.2"}, ("192.0.2.1", "192.0.2.2")),
        ({"ipWhiteList": ""}, ()),
        ({"note": "note2"}, None),
        (VenueError("mexc: 404"), None),
    ],
)
def test_mexc_tells_the_addresses_of_a_key_as_one_text(info, addresses):
    assert mexc_rights(ACCOUNT, REFUSED, info).addresses == addresses


def verdicts(rights: Rights, days: float = 0.0, accept: bool = False) -> list:
    return [row.passed for row in key_rows("gate", rights, MADE_S * NS + round(days * DAY_NS), accept)]


def test_each_row_is_good_bad_or_not_told():
    assert verdicts(Rights(False, "may trade", ("192.0.2.7",))) == [True, True, True]
    assert verdicts(Rights(True, "may withdraw", (), True, MADE_S * NS)) == [False, False, True, True]
    assert verdicts(Rights(None, "refused", None)) == [None, None, None]
    assert verdicts(Rights(False, "may trade", None, True, MADE_S * NS), days=300.0) == [True, None, None, True]
    assert verdicts(Rights(False, "may trade", ())) == [True, False, None]
    assert verdicts(Rights(False, "may trade", ()), accept=True) == [True, True, None]
    assert verdicts(Rights(False, "may read", ("192.0.2.7",), False))[3] is False


@pytest.mark.parametrize(("age_days", "good"), [(0.0, True), (82.9, True), (83.1, False), (91.0, False)])
def test_an_unbound_key_ends_ninety_days_after_it_was_made(age_days, good):
    assert verdicts(Rights(False, "may trade", (), True, MADE_S * NS), age_days, accept=True)[2] is good


def keys_of(it) -> dict[str, bool | None]:
    """The rows about keys of a whole check on the local venues."""
    return {row.check: row.passed for row in it if "withdrawal" in row.check or " key " in row.check}


GOOD = dict.fromkeys(
    (f"{venue} {what}" for venue in ("mexc", "gate") for what in ("withdrawal", "key bound", "key ends")), True
) | {"gate key trades": True}


@pytest.mark.parametrize(
    ("faults", "changed"),
    [
        ((), {}),
        (
            [("*", "may_withdraw", {})],
            {"mexc withdrawal": False, "gate withdrawal": False},
        ),
        (
            [("*", "unbound", {"seconds": 3600.0})],
            {"mexc key bound": False, "gate key bound": False, "mexc key ends": None, "gate key ends": True},
        ),
        (
            [("gate", "unbound", {"seconds": 85 * 86_400.0})],
            {"gate key bound": False, "gate key ends": False},
        ),
    ],
)
def test_the_check_judges_the_keys_of_both_venues(tmp_path, faults, changed):
    async def play():
        async with stage(tmp_path, rule={"leg_deadline_s": 3.0}) as it:
            for venue, do, how in faults:
                for name in ("mexc", "gate") if venue == "*" else (venue,):
                    it.fault(name, "key", do, **how)
            return await look(it, tmp_path)

    rows = asyncio.run(play())
    assert keys_of(rows) == GOOD | changed
    assert passed(rows) == (False not in changed.values()), preflight.table(rows)


def test_what_a_venue_refuses_to_tell_is_asked_of_the_person_and_holds_nothing_up(tmp_path):
    async def play():
        async with stage(tmp_path, rule={"leg_deadline_s": 3.0}) as it:
            it.fault("gate", "rights", "refuse", code="FORBIDDEN", times=0)
            it.fault("mexc", "rights", "error", times=0)
            return await look(it, tmp_path)

    rows = asyncio.run(play())
    assert keys_of(rows) == dict.fromkeys(GOOD.keys() - {"gate key trades"})
    assert passed(rows) and preflight.table(rows).count("-> see the key's page") == 6


def made_up(folder):
    """A file of the stage's pair, chosen on synthetic quotes."""
    made = export(Inputs(), rule_params(15.0, -12.0), synthetic=True, created=utc_now() - timedelta(seconds=1))
    params.publish(made, folder)
    return folder / made.name / "params" / "latest.json"


def test_the_check_refuses_parameters_of_synthetic_quotes_on_real_venues(tmp_path):
    async def play():
        async with stage(tmp_path) as it:
            made_up(tmp_path)
            return [await look(it, tmp_path, kind) for kind in (LIVE, PAPER, SANDBOX)]

    real, paper, local = ({row.check: row for row in found}["parameters"] for found in asyncio.run(play()))
    assert (real.passed, paper.passed, local.passed) == (False, False, True)
    assert "chosen on synthetic quotes" in real.found


def test_a_runner_takes_over_no_parameters_of_synthetic_quotes_on_real_venues(tmp_path):
    path, bounds = made_up(tmp_path), quick_config().bounds()
    real, local = (ParameterFile(path, Inputs(), bounds, utc_now, real_venues=real) for real in (True, False))
    assert real.poll() and local.poll() and local.rule().may_enter
    assert not real.rule().may_enter
    assert real.refused == (
        f"{path}: chosen on synthetic quotes, which say nothing about SYN_USDT-mexc-gate on its venues; run the pipeline on "
        "your own quotes of this pair (--spot, --perp), recorded or downloaded"
    )


def test_paper_on_real_venues_does_not_start_on_synthetic_quotes(tmp_path, capsys):
    path, config = made_up(tmp_path), tmp_path / "pair.toml"
    config.write_text('pair = "SYN_USDT"\n[spot]\nvenue = "mexc"\n[perp]\nvenue = "gate"\ncontract_size = 10.0\n')
    assert main(["paper", "--config", str(config), "--reports", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path}: chosen on synthetic quotes") and said.count("\n") == 1


async def look(it, folder, kind=LIVE):
    config = quick_config()
    params = folder / config.name / "params" / "latest.json"
    return await preflight.look(LiveJob(config, kind, folder, params, None, it.venues.config(), print))
