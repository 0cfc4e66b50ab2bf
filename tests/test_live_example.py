"""The configuration that `--example` prints: whole, with the true defaults, and taken as it stands."""

import re
import tomllib
from dataclasses import asdict

import pytest
from test_live import export, rule_params

from delta_arb import params
from delta_arb.errors import ParamsError
from delta_arb.inputs import Inputs
from delta_arb.live import config
from delta_arb.live.__main__ import main
from delta_arb.live.config import Config
from delta_arb.live.example import example
from delta_arb.live.executor import Patience
from delta_arb.live.stream import Pace

SECTIONS = {
    "spot": config.VenueConfig, "perp": config.VenueConfig, "limits": config.Limits, "guards": config.GuardNumbers,
    "paper": config.PaperMoney,
}  # fmt: skip


def test_the_example_names_everything_that_can_be_set_with_its_default():
    """Also what is commented out there, because --live wants it written by a person."""
    there = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", example(None), flags=re.MULTILINE))
    assert there.keys() == Config.model_fields.keys()
    for section, model in SECTIONS.items():
        assert there[section].keys() == model.model_fields.keys(), section
    assert there["orders"] == Patience()._asdict() and there["pace"] == asdict(Pace())
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
    given = export(Inputs(), rule_params(20.0, -10.0, clip_usdt=75.0))
    params.save(given, tmp_path / "latest.json")
    assert main(["--example", "--params", str(tmp_path / "latest.json")]) == 0
    file = tmp_path / "syn.toml"
    file.write_text(capsys.readouterr().out)
    read = config.read(file)
    assert read.venue_params() == (given.spot, given.perp) and read.pair == given.pair
    assert "# max_clip_usdt = 75\n" in file.read_text()
