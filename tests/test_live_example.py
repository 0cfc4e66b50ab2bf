"""The configuration that `--example` prints: whole, with the true defaults, and taken as it stands."""

import logging
import re
import tomllib
from dataclasses import asdict

import pytest
from test_live import export, rule_params

from delta_arb import params
from delta_arb.errors import ParamsError
from delta_arb.live import config
from delta_arb.live.__main__ import main
from delta_arb.live.config import Config, OrderTimeouts
from delta_arb.live.example import example
from delta_arb.live.venues.websocket import Pace
from delta_arb.quotes.inputs import Inputs

SECTIONS = {
    "spot": config.VenueConfig, "perp": config.VenueConfig, "limits": config.RiskLimits, "guards": config.GuardNumbers,
    "paper": config.PaperMoney,
}  # fmt: skip


def test_the_example_names_everything_that_can_be_set_with_its_default():
    """Also what is commented out there, because --live wants it written by a person."""
    there = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", example(None), flags=re.MULTILINE))
    assert there.keys() == Config.model_fields.keys()
    for section, model in SECTIONS.items():
        assert there[section].keys() == model.model_fields.keys(), section
    assert there["orders"] == OrderTimeouts()._asdict() and there["pace"] == asdict(Pace())
    said, plain = Config.model_validate(there), Config(pair="LUNC_USDT", spot=there["spot"], perp=there["perp"])
    clips = {"max_clip_usdt", "max_position_usdt"}
    assert said.limits.model_dump(exclude=clips) == plain.limits.model_dump(exclude=clips)
    assert said.model_dump(exclude={"limits", "pace"}) == plain.model_dump(exclude={"limits", "pace"})


def test_the_example_as_it_stands_is_read_and_wants_explicit_limits_for_real_money(tmp_path):
    file = tmp_path / "lunc.toml"
    file.write_text(example(None))
    read = config.read(file)
    assert read.name == "LUNC_USDT-mexc-gate"
    with pytest.raises(ParamsError, match=r"limits.max_clip_usdt, limits.max_position_usdt, limits.max_loss_day_usdt"):
        read.require_explicit()


def test_the_example_for_a_parameter_file_assumes_what_the_file_assumes(tmp_path, capsys):
    held = params.WalletParams(inventory_coins=40.0)
    given = export(Inputs(), rule_params(20.0, -10.0, clip_usdt=75.0), wallets=held)
    params.save(given, tmp_path / "latest.json")
    assert main(["--example", "--params", str(tmp_path / "latest.json")]) == 0
    file = tmp_path / "syn.toml"
    file.write_text(capsys.readouterr().out)
    read = config.read(file)
    assert read.terms() == (given.spot, given.perp) and read.pair == given.pair
    assert read.inventory_coins == 40.0
    assert "# max_clip_usdt = 75\n" in file.read_text()


def test_a_start_without_parameters_is_refused_before_a_venue_is_asked(tmp_path, capsys):
    file = tmp_path / "lunc.toml"
    file.write_text(example(None).replace("ccxt = {}", 'ccxt = {proxy = "nowhere"}'))
    before = list(logging.getLogger().handlers)
    assert main(["--config", str(file), "--reports", str(tmp_path)]) == 2
    assert logging.getLogger().handlers == before  # nobody goes on saying what is logged later
    assert "latest.json: there is no parameter file; run the pipeline" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--sandbox --as-of 2026-01-01", "No such option: --as-of"),
        ("--sandbox --spot-usdt 5", "No such option: --spot-usdt"),
        ("--config lunc.toml --repeat --speed 3", "No such option: --repeat"),
        ("--config lunc.toml --live --spot-fee-bps 2", "No such option: --spot-fee-bps"),
        ("real --config lunc.toml --speed 3", "No such option: --speed"),
        ("--replay --check --config lunc.toml", "No such option: --check"),
        ("--replay a b c", "replay takes the quotes of both legs, SPOT PERP, or none for the sample; got 3"),
        ("--replay --speed 0", "Invalid value for '--speed': a speed is a number above 0, or max; was 0"),
        ("--replay --as-of soon", "Invalid value for '--as-of': not a time like 2026-01-31T12:00: soon"),
        ("--sandbox --funding f.parquet", "--funding goes with --tape"),
        ("--sandbox --paper", "--sandbox and --paper are two modes; name one"),
        ("status --sandbox --live", "--sandbox and --live are two modes; name one"),
        ("", "name the configuration with --config FILE"),
        ("status", "which runner? `status --sandbox` is for the one on the local venues, `status --config FILE`"),
        ("stop", "which runner? `stop --sandbox`"),
        ("watch", "which runner? `watch --live --config FILE` is for the one with real money, `watch --sandbox`"),
        ("watch --live", "which runner? `watch --live --config FILE`"),
    ],
)
def test_an_option_of_another_mode_is_refused_and_not_ignored(options, reason, capsys):
    assert main(options.split()) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {reason}") and err.count("\n") == 1


def test_what_contradicts_the_configuration_is_refused(tmp_path, capsys):
    file = tmp_path / "lunc.toml"
    file.write_text(example(None))
    assert main(["sandbox", "--config", str(file), "--pair", "X_USDT", "--reports", str(tmp_path)]) == 2
    assert f"{file} says pair LUNC_USDT, --pair X_USDT; leave the option away" in capsys.readouterr().err
    assert main(["sandbox", "--config", str(file), "--spot-fee-bps", "1", "--reports", str(tmp_path)]) == 2
    assert "says spot_fee_bps 5.0, --spot-fee-bps 1.0; leave the option away" in capsys.readouterr().err
    assert main(["status", "--config", str(file), "--pair", "LUNC/USDT", "--reports", str(tmp_path)]) == 2
    assert "no runner is up" in capsys.readouterr().err


def test_parameters_that_count_on_funding_are_not_tried_on_venues_whose_time_runs_faster(tmp_path, capsys):
    folder = tmp_path / "SYN_USDT-mexc-gate" / "params"
    params.publish(export(Inputs(), rule_params(20.0, -10.0, funding_horizon_s=86_400.0)), folder.parent.parent)
    assert main(["--sandbox", "--speed", "60", "--reports", str(tmp_path)]) == 2
    assert "counts on funding, which at --speed 60 comes 60 times as often" in capsys.readouterr().err
    assert not list(tmp_path.glob("*/live/sandbox.json"))  # the local venues were ended
