"""Every option and command line of 0.1.0 (f5e8bbf) means today what it meant then, and delta_arb.toml what would be typed.

The second column is what the parser of f5e8bbf, argparse, made of the line: values that differ from its defaults.
"""

import errno
import math
import os
import shlex
import signal
import subprocess
import sys
import types
from dataclasses import fields, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from typed import typed

from delta_arb import __main__ as everything
from delta_arb import download, index, interrupt, pipeline
from delta_arb.collect.options import DownloadOptions, RecordOptions
from delta_arb.collect.options import of_settings as of_download
from delta_arb.command import expanded, speed
from delta_arb.errors import ParamsError
from delta_arb.live import cli
from delta_arb.live.options import MAX_CLIP_USDT, TAKES, LiveOptions, of_settings, translated
from delta_arb.params import Bounds
from delta_arb.places import to_write
from delta_arb.quotes.options import settings
from delta_arb.report import index as report_index
from delta_arb.report.options import PipelineOptions
from delta_arb.report.schedule import settled
from delta_arb.review.__main__ import ReviewOptions
from delta_arb.sandbox.options import SandboxOptions
from delta_arb.synthetic import SyntheticOptions
from delta_arb.universe.options import SHOWN, UniverseOptions

inf = math.inf
OPTIONS = {
    "pipeline": PipelineOptions,
    "review": ReviewOptions,
    "sandbox": SandboxOptions,
    "synthetic": SyntheticOptions,
}
LINES = [
    ("pipeline", {}),
    (
        "pipeline --pair LUNC_USDT --contract-size 10000 --spot mexc.parquet --perp gate.parquet --funding "
        "funding.parquet",
        {
            "spot": "mexc.parquet",
            "perp": "gate.parquet",
            "funding": "funding.parquet",
            "pair": "LUNC_USDT",
            "contract_size": 10000.0,
        },
    ),
    ("pipeline --inventory-coins 600", {"inventory_coins": 600.0}),
    (
        "pipeline --pair BTC_USDT --contract-size 1 --perp-step 0.001 --spot s.parquet --perp p.parquet --funding "
        "none --spot-half-spread-bps 0.5 --perp-half-spread-bps 0.5",
        {
            "spot": "s.parquet",
            "perp": "p.parquet",
            "funding": "none",
            "pair": "BTC_USDT",
            "contract_size": 1.0,
            "spot_half_spread_bps": 0.5,
            "perp_half_spread_bps": 0.5,
            "perp_step": 0.001,
        },
    ),
    ("pipeline --every 5m", {"every": 300.0}),
    ("pipeline --json", {"json": True}),
    ("pipeline -p trials=7 -p days=2 --spot-fee-bps 6", {"spot_fee_bps": 6.0, "p": ("trials=7", "days=2")}),
    ("pipeline -ptrials=7", {"p": ("trials=7",)}),
    (
        "pipeline --keep 1 --time-limit 1m --valid-for 12h --every 1h --reports r --notebooks n --tick 3",
        {
            "reports": "r",
            "keep": 1,
            "every": 3600.0,
            "time_limit": 60.0,
            "valid_for": 43200.0,
            "notebooks": "n",
            "tick": 3,
        },
    ),
    (
        "pipeline --spot-kind snapshots --perp-kind=updates --spot-feed-latency .01 --perp-feed-latency 0.02",
        {"spot_kind": "snapshots", "spot_feed_latency": 0.01, "perp_feed_latency": 0.02},
    ),
    (
        "pipeline --spot-latency 0.1~0.4 --perp-latency=latency.csv --spot-min-usdt 5 --max-bad-share 0.1",
        {"spot_latency": "0.1~0.4", "perp_latency": "latency.csv", "spot_min_usdt": 5.0, "max_bad_share": 0.1},
    ),
    (
        "pipeline --bar-share 0.02 --bar-s 300 --spot-rules s.json --perp-rules p.json --spot-fee-in base --leverage 3",
        {
            "bar_share": 0.02,
            "bar_s": 300.0,
            "spot_rules": "s.json",
            "perp_rules": "p.json",
            "spot_fee_in": "base",
            "leverage": 3.0,
        },
    ),
    (
        "pipeline --spot-usdt 500 --perp-usdt 400 --transfer-delay-h 2 --transfer-fee-usdt 1 --transfer-least-usdt 50",
        {
            "spot_usdt": 500.0,
            "perp_usdt": 400.0,
            "transfer_delay_h": 2.0,
            "transfer_fee_usdt": 1.0,
            "transfer_least_usdt": 50.0,
        },
    ),
    (
        "pipeline --spot-venue binance --perp-venue bybit --spot-fee-bps -0.5 --perp-fee-bps 1e0",
        {"spot_venue": "binance", "perp_venue": "bybit", "spot_fee_bps": -0.5, "perp_fee_bps": 1.0},
    ),
    ("review", {}),
    (
        "review 260105 --pair LUNC_USDT-mexc-gate --reports r --json",
        {"run": "260105", "pair": "LUNC_USDT-mexc-gate", "reports": "r", "json": True},
    ),
    ("review --rep r --js rehe", {"run": "rehe", "reports": "r", "json": True}),
    ("sandbox --speed 60", {"speed": 60.0}),
    (
        "sandbox --tape mexc.parquet gate.parquet --pair LUNC_USDT --contract-size 10000 --faults drill.toml",
        {
            "tape": ("mexc.parquet", "gate.parquet"),
            "pair": "LUNC_USDT",
            "contract_size": 10000.0,
            "faults": "drill.toml",
        },
    ),
    ("sandbox --faults drill.toml --log fired.jsonl", {"faults": "drill.toml", "log": "fired.jsonl"}),
    (
        "sandbox --json --speed max --repeat --funding f.parquet --tape a b --pair X_USDT",
        {"tape": ("a", "b"), "pair": "X_USDT", "funding": "f.parquet", "speed": inf, "repeat": True, "json": True},
    ),
    (
        "sandbox --spot-usdt 5 --spot-coins 6.5 --inventory-coins 7 --perp-usdt 8 --spot-fee-bps 1 --spot-fee-in "
        "received --perp-fee-bps 2",
        {
            "spot_usdt": "5",
            "spot_coins": "6.5",
            "inventory_coins": "7",
            "perp_usdt": "8",
            "spot_fee_bps": "1",
            "spot_fee_in": "received",
            "perp_fee_bps": "2",
        },
    ),
    (
        "sandbox --leverage 3 --isolated --dual --limits --host 127.0.0.2 --port 8080",
        {"leverage": "3", "isolated": True, "dual": True, "limits": True, "host": "127.0.0.2", "port": 8080},
    ),
    (
        "sandbox --ta a b --rep --js --ho 127.0.0.1 --iso",
        {"tape": ("a", "b"), "repeat": True, "isolated": True, "json": True},
    ),
    (
        "synthetic --out data/walk --regime random_walk --hours 24 --seed 3",
        {"out": "data/walk", "seed": 3, "hours": 24.0, "regime": "random_walk"},
    ),
    ("synthetic --ou x --fo --re no_edge --ho 2", {"out": "x", "hours": 2.0, "regime": "no_edge", "force": True}),
    ("live --replay --speed max", {"replay": (), "speed": inf}),
    (
        "live --replay spot.parquet perp.parquet --pair LUNC_USDT --contract-size 10000 --funding f.parquet",
        {
            "replay": ("spot.parquet", "perp.parquet"),
            "funding": "f.parquet",
            "pair": "LUNC_USDT",
            "contract_size": 10000.0,
        },
    ),
    ("live --speed max --replay", {"replay": (), "speed": inf}),
    (
        "live --json --replay a b --as-of 2026-01-31T12:00 --max-clip-usdt 250 --reports r --params p.json",
        {
            "replay": ("a", "b"),
            "params": "p.json",
            "reports": "r",
            "json": True,
            "as_of": "2026-01-31 12:00:00+00:00",
            "max_clip_usdt": 250.0,
        },
    ),
    ("live --replay --speed max --inventory-coins 600", {"replay": (), "speed": inf, "inventory_coins": 600.0}),
    ("live --sandbox --speed 60", {"sandbox": True}),
    (
        "live --sandbox --tape a b --repeat --faults d.toml --pair X_USDT --contract-size 10 --inventory-coins 5 "
        "--funding f",
        {
            "sandbox": True,
            "tape": ("a", "b"),
            "repeat": True,
            "faults": "d.toml",
            "funding": "f",
            "pair": "X_USDT",
            "contract_size": 10.0,
            "inventory_coins": 5.0,
        },
    ),
    (
        "live --sand --ta a b --spe 1 --repe --conf c.toml --repo r --js",
        {
            "sandbox": True,
            "config": "c.toml",
            "reports": "r",
            "json": True,
            "speed": 1.0,
            "tape": ("a", "b"),
            "repeat": True,
        },
    ),
    ("live --example", {"example": True}),
    ("live --example --params latest.json", {"example": True, "params": "latest.json"}),
    ("live --config lunc.toml", {"config": "lunc.toml"}),
    ("live --paper --config lunc.toml", {"paper": True, "config": "lunc.toml"}),
    ("live --config lunc.toml --check", {"check": True, "config": "lunc.toml"}),
    ("live --config lunc.toml --live", {"live": True, "config": "lunc.toml"}),
    (
        "live --live --check --config lunc.toml --json",
        {"live": True, "check": True, "config": "lunc.toml", "json": True},
    ),
    ("live --sandbox --check", {"sandbox": True, "check": True}),
    ("live status --sandbox", {"command": "status", "sandbox": True}),
    ("live --sandbox status", {"command": "status", "sandbox": True}),
    (
        "live stop --sandbox --tape a b --speed 1 --repeat --reports r",
        {"command": "stop", "sandbox": True, "reports": "r", "speed": 1.0, "tape": ("a", "b"), "repeat": True},
    ),
    (
        "live --config lunc.toml --reports r flatten --json",
        {"command": "flatten", "config": "lunc.toml", "reports": "r", "json": True},
    ),
    ("live resume --live --config lunc.toml", {"command": "resume", "live": True, "config": "lunc.toml"}),
    ("live status --paper --config=lunc.toml", {"command": "status", "paper": True, "config": "lunc.toml"}),
    (
        "live --replay a b --spot-fee-bps 1 --perp-fee-bps 2 --spot-latency 0.2 --perp-latency 0.3 --leverage 2 "
        "--spot-usdt 50 --perp-usdt 60",
        {
            "replay": ("a", "b"),
            "spot_fee_bps": 1.0,
            "perp_fee_bps": 2.0,
            "spot_latency": "0.2",
            "perp_latency": "0.3",
            "leverage": 2.0,
            "spot_usdt": 50.0,
            "perp_usdt": 60.0,
        },
    ),
]


def plain(value):
    if isinstance(value, Path | Decimal | datetime):
        return str(value)
    return tuple(value) if isinstance(value, list) else value


def differing(options) -> dict:
    defaults = {f.name: f.default for f in fields(options)}
    found = {name: plain(getattr(options, name)) for name in defaults}
    return {name: value for name, value in found.items() if value != plain(defaults[name])}


def test_a_replay_refuses_the_clips_that_the_bounds_refuse():
    assert Bounds().max_clip_usdt == MAX_CLIP_USDT


@pytest.mark.parametrize(("line", "meant"), [row for row in LINES if not row[0].startswith("live")])
def test_a_line_of_old_means_what_it_meant(line, meant):
    room, *argv = shlex.split(line)
    of = OPTIONS[room]
    assert differing(typed(of, *(argv if room == "pipeline" else expanded(argv, of)))) == meant


@pytest.mark.parametrize(("line", "meant"), [row for row in LINES if row[0].startswith("live")])
def test_a_mode_that_was_named_by_an_option_is_the_command_of_today(line, meant):
    meant = dict(meant)
    files, example, talk = meant.pop("replay", None), meant.pop("example", False), meant.get("command")
    if not talk:
        modes = [name for name in ("paper", "sandbox", "live") if meant.pop(name, False)]
    name = talk or ("example" if example else "replay" if files is not None else (modes or ["paper"])[0])
    meant |= {"files": files} if files else {}
    found, *argv = translated(shlex.split(line)[1:])
    assert found == {"live": "real"}.get(name, name)
    fixed = {"command": talk} if talk else {}
    assert differing(typed(LiveOptions, *argv, only=TAKES[found], **fixed)) == meant


# --- delta_arb.toml --------------------------------------------------------------------------------------------------

WRITTEN = """
pair = "LUNC_USDT"
spot = "quotes/mexc"
perp = "quotes/gate"
funding = "none"
contract_size = 10000
spot_fee_bps = 0
spot_latency = 0.2
reports = "results"
config = "lunc.toml"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a delta_arb.toml."""
    (tmp_path / "delta_arb.toml").write_text(WRITTEN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_file_in_the_working_folder_says_what_is_not_typed(folder):
    said = typed(PipelineOptions, "--contract-size", "1")
    assert (said.pair, said.spot, said.funding, said.reports) == ("LUNC_USDT", "quotes/mexc", "none", Path("results"))
    assert (said.contract_size, said.spot_fee_bps, said.perp_fee_bps, said.spot_latency) == (1.0, 0.0, 5.0, "0.2")


def test_paths_are_as_seen_from_the_file_that_names_them(folder, monkeypatch):
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert typed(PipelineOptions).pair == ""
    said = typed(PipelineOptions, "--config", "../delta_arb.toml")
    assert (said.spot, said.funding, said.reports) == ("../quotes/mexc", "none", Path("../results"))


def test_a_loop_keeps_what_it_was_started_with_whatever_becomes_of_the_file(folder):
    argv = ["--spot", "typed", "--every", "5m"]
    first = typed(PipelineOptions, *argv)
    (folder / "delta_arb.toml").write_text('pair = "OTHER_USDT"\nreports = "other"\nperp_fee_bps = 9')
    again = typed(PipelineOptions, *argv, *settled(first))
    assert again.pair == "LUNC_USDT" and again.config == Path(os.devnull)
    assert replace(again, config=None) == first


def test_each_command_takes_what_it_can_use(folder):
    assert typed(ReviewOptions).pair == "LUNC_USDT-mexc-gate"
    (folder / "delta_arb.toml").write_text(WRITTEN.replace("LUNC_USDT", "LUNC/USDT"))
    assert typed(ReviewOptions).pair == "LUNC_USDT-mexc-gate"
    (folder / "delta_arb.toml").write_text(WRITTEN)
    local = typed(SandboxOptions)
    assert (local.tape, local.pair, local.contract_size) == (("quotes/mexc", "quotes/gate"), "LUNC_USDT", 10_000.0)
    assert (local.spot_fee_bps, local.perp_fee_bps, local.spot_usdt) == (Decimal(0), Decimal(5), Decimal(10_000))


def test_the_runner_takes_its_pair_from_its_own_configuration_where_one_is_named(folder):
    def told(name, **more):
        return of_settings(settings(), **more)[name]

    assert told("replay")["spot"] == "quotes/mexc" and "config" not in told("replay")
    assert told("real") == told("paper") == {"config": "lunc.toml", "reports": "results"}
    assert "pair" not in told("sandbox") and told("sandbox")["tape"] == ("quotes/mexc", "quotes/gate")
    (folder / "delta_arb.toml").write_text(WRITTEN.replace("config", "# config"))
    assert told("sandbox")["pair"] == told("status")["pair"] == "LUNC_USDT"
    assert "pair" not in told("sandbox", configured=True)
    assert told("sandbox")["spot_fee_bps"] == 0 and "spot_fee_bps" not in told("status")
    assert "spot_fee_bps" not in told("sandbox", configured=True)


def test_local_venues_charge_the_fees_that_are_said():
    options = LiveOptions(sandbox=True, spot_fee_bps=0.0, perp_fee_bps=2.0)
    config = cli.configured(options)
    assert (config.spot.taker_fee_bps, config.perp.taker_fee_bps) == (0.0, 2.0)
    arguments = cli._venue_arguments(options, config)
    assert arguments[2:6] == ["--spot-fee-bps", "0", "--perp-fee-bps", "2"]
    rests = LiveOptions(sandbox=True, spot_maker_fee_bps="0", perp_maker_fee_bps="1.5", perp_tick=0.001)
    config = cli.configured(rests)
    assert (config.spot.maker_fee_bps, config.perp.maker_fee_bps, config.perp.price_tick) == (0.0, 1.5, 0.001)
    arguments = cli._venue_arguments(rests, config)
    assert arguments[6:] == ["--spot-maker-fee-bps", "0", "--perp-maker-fee-bps", "1.5"]


@pytest.mark.parametrize("room", ["monitor", "review"])
@pytest.mark.parametrize("reports", ["file", "file/none"])
def test_a_reports_folder_that_is_or_lies_under_a_file_is_refused(room, reports, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert everything.main([room, "--reports", str(tmp_path / reports)]) == 2
    assert f"{tmp_path}/file is a file, not a folder" in capsys.readouterr().err


@pytest.mark.parametrize("there", [True, False])
def test_a_monitor_says_that_its_folder_is_not_there(there, tmp_path, monkeypatch, capsys):
    async def served(*_):
        print("served")

    monkeypatch.setattr("delta_arb.monitor.server.serve", served)
    monkeypatch.setattr("os.nice", lambda _: 0)
    reports = tmp_path if there else tmp_path / "none"
    assert everything.main(["monitor", "--reports", str(reports)]) == 0
    said = "" if there else f"{reports}: no such folder yet; runners are shown once they journal there\n"
    assert capsys.readouterr() == ("served\n", said)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("pairs = 'X'", "delta_arb.toml: there is no key pairs; did you mean pair?"),
        ("spot_fees_bps = 5", "delta_arb.toml: there is no key spot_fees_bps; did you mean spot_fee_bps?"),
        ("[live]\nconfig = 'x'", "delta_arb.toml: there is no key live; known are spot, perp, "),
        ("spot_fee_bps = 'none'", "delta_arb.toml: spot_fee_bps needs a number, was 'none'"),
        ("contract_size = true", "delta_arb.toml: contract_size needs a number, was True"),
        ("pair = 7", 'delta_arb.toml: pair needs a text in "quotes", was 7'),
        ("pair = ", "delta_arb.toml: not TOML (Invalid value (at end of document))"),
        ("spot_kind = 'candles'", "Invalid value for '--spot-kind': 'candles' is not one of 'updates', 'snapshots'"),
    ],
)
def test_a_wrong_key_is_refused_with_the_file_and_what_was_meant(tmp_path, monkeypatch, capsys, text, reason):
    (tmp_path / "delta_arb.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert pipeline.main([]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {reason}") and err.count("\n") == 1


def test_a_named_file_must_be_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for words in (["pipeline"], ["live", "paper"], ["sandbox"], ["record", "--all"]):
        assert everything.main([*words, "--config", "mine.toml"]) == 2
        assert capsys.readouterr().err == "error: mine.toml: cannot be read (No such file or directory)\n"


@pytest.mark.parametrize(
    ("typed", "option"),
    [
        ("pipeline --contract-size -10", "--contract-size"),
        ("live sandbox --contract-size=-10", "--contract-size"),
        ("sandbox --contract-size -10", "--contract-size"),
        ("sandbox --listings -3", "--listings"),
        ("universe --listings -3", "--listings"),
        ("download --listings -3", "--listings"),
        ("record --keep-gb -1", "--keep-gb"),
        ("synthetic --out x --seed -1", "--seed"),
        ("pipeline --perp-feed-latency -1", "--perp-feed-latency"),
        ("universe --min-trades-day -1", "--min-trades-day"),
        ("universe --look-back-h -3", "--look-back-h"),
        ("live replay --max-clip-usdt -5", "--max-clip-usdt"),
        ("pipeline --max-bad-share -0.1", "--max-bad-share"),
        ("live sandbox --inventory-coins -1", "--inventory-coins"),
    ],
)
def test_a_number_below_zero_is_refused_alike_by_every_command(typed, option, capsys):
    assert everything.main(typed.split()) == 2
    said = f"error: Invalid value for '{option}': Input should be greater than or equal to 0; see delta-arb "
    assert capsys.readouterr().err.startswith(said)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("name", [*OPTIONS, "record", "download", "universe", "live replay", "live sandbox"])
def test_no_option_takes_what_is_not_a_number(name, number, capsys):
    of = {"record": RecordOptions, "download": DownloadOptions, "universe": UniverseOptions}.get(name, LiveOptions)
    of = OPTIONS.get(name, of)
    taken = TAKES.get(name.removeprefix("live "), [each.name for each in fields(of)])
    taken = SHOWN if name == "universe" else taken
    numbers = [each for each in fields(of) if each.name in taken and each.type in (float, float | None, Decimal)]
    for each in numbers:
        option = each.metadata["names"][0] if each.metadata["names"] else f"--{each.name.replace('_', '-')}"
        if each.metadata.get("parser") is speed and number == "inf":
            continue
        assert everything.main([*name.split(), f"{option}={number}"]) == 2
        assert capsys.readouterr().err.startswith(f"error: Invalid value for '{option}': ")


@pytest.mark.parametrize("name", ["pipeline", "sandbox", "live replay", "live sandbox", "live status", "universe"])
def test_a_contract_of_nothing_is_refused_where_it_is_said(name, tmp_path, monkeypatch, capsys):
    assert everything.main([*name.split(), "--contract-size", "0"]) == 2
    said = "error: Invalid value for '--contract-size': 0 is none; leave the option out where it is not known; "
    assert capsys.readouterr().err.startswith(said)
    (tmp_path / "delta_arb.toml").write_text("contract_size = 0")
    monkeypatch.chdir(tmp_path)
    if name != "live status":
        assert everything.main(name.split()) == 2
        assert capsys.readouterr().err.startswith(said)


@pytest.mark.parametrize("bps", ["-10.1", "500.1"])
def test_a_fee_that_nobody_charges_pays_no_round_trip_of_a_universe(bps, capsys):
    assert everything.main(["universe", f"--spot-maker-fee-bps={bps}"]) == 2
    assert capsys.readouterr().err.startswith("error: Invalid value for '--spot-maker-fee-bps': Input should be ")


# --- the commands together -------------------------------------------------------------------------------------------


def test_everything_stands_under_one_name(capsys):
    assert everything.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in everything.COMMANDS)
    assert everything.main(["review", "--help"]) == 0
    assert "delta-arb review [OPTIONS] [RUN]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ([], "name a command: pipeline, live, monitor, review, "),
        (["pipelin"], "No such command 'pipelin'. Did you mean 'pipeline'?; see delta-arb --help"),
        (["pipeline", "--nonsense"], "No such option: --nonsense; see delta-arb pipeline --help"),
        (["sandbox", "--host", "0.0.0.0"], "0.0.0.0"),
        (["synthetic"], "Missing option '--out'; see delta-arb synthetic --help"),
        (["live", "sandbox", "--speed", "0"], "was 0; see delta-arb live sandbox --help"),
        (["live", "--sandbox", "--nonsense"], "see delta-arb live sandbox --help"),
    ],
)
def test_refusals_are_one_line(capsys, argv, reason):
    assert everything.main(argv) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and reason in err and err.count("\n") == 1


@pytest.mark.parametrize("name", everything.COMMANDS)
def test_help_loads_nothing_heavy(name):
    code = f"""
import sys
from delta_arb.__main__ import main
assert main(["{name}", "--help"]) == 0
print([name for name in ("numpy", "pyarrow", "pandas", "numba", "ccxt", "asyncio", "rich", "pydantic") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "examples:" in done.stdout


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ([], "is not after"),  # the pair is known: the next thing that is wrong is told
        (["--all"], "is not after"),
        (["--all", "--pair", "DOGE_USDT"], "say which pairs"),
        (["--pair", "DOGE"], "a pair is like LUNC_USDT"),
        (["--candles", "7q"], "--candles is the length of a bar like 1m, 15m, 1h or 1d, was 7q"),
    ],
)
def test_download_takes_the_pair_from_the_file_unless_all_are_asked_for(tmp_path, monkeypatch, capsys, typed, said):
    (tmp_path / "delta_arb.toml").write_text('pair = "LUNC/USDT"\nspot_venue = "binance"\nfunding = "mine.csv"\n')
    monkeypatch.chdir(tmp_path)
    assert download.main(["--since", "2026-01-02", "--until", "2026-01-01", *typed]) == 2
    assert said in capsys.readouterr().err
    assert of_download({"pair": "LUNC_USDT", "spot_venue": "binance"}, []) == {
        "pair": ["LUNC_USDT"], "spot": "binance",
    }  # fmt: skip


SENT = """
import signal, sys

class Sent:  # Ctrl-C comes while this module is looked for
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(Sent)
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Sent)
"""


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("module", ["delta_arb.errors", "typer"])
@pytest.mark.parametrize("name", everything.COMMANDS)
def test_an_interrupt_while_a_command_loads_is_one_line(name, module, as_json, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(SENT.format(module=module))
    folders = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(everything.__file__).parents[1])])}
    started = ["delta_arb", name] if as_json else [f"delta_arb.{name}"]
    words = [sys.executable, "-m", *started, "status" if name == "live" else "--out", *["--json"] * as_json]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | folders, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (130, "stopped: nothing was begun\n")
    assert done.stdout == '{"status": "stopped", "reason": "nothing was begun"}\n' * as_json


@pytest.mark.parametrize(
    ("words", "commanded"),
    [
        (["python", "-m", "delta_arb.live", "status"], True),
        (["python", "-X", "dev", "-m", "delta_arb"], True),
        (["python", "/somewhere/bin/delta-arb", "live"], True),
        (["python", "-m", "delta_arbitrage"], False),
        (["python", "-m", "pytest", "delta-arb"], False),
        (["python", "mine.py", "delta-arb"], False),
        (["python"], False),
    ],
)
def test_only_a_command_takes_the_interrupt(words, commanded):
    assert interrupt.is_command(words) == commanded


@pytest.mark.parametrize(
    ("number", "said"), [(errno.EROFS, "Read-only file system"), (errno.EACCES, "Permission denied")]
)
def test_a_folder_that_cannot_be_written_says_why(number, said, tmp_path, monkeypatch):
    flag = os.ST_RDONLY if number == errno.EROFS else 0
    monkeypatch.setattr("os.statvfs", lambda _: types.SimpleNamespace(f_flag=flag))
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ParamsError, match=f"--out {tmp_path}: {said}; name a folder"):
        to_write(tmp_path, "--out")


def test_a_place_that_may_not_be_written_is_refused_in_one_line(tmp_path, monkeypatch, capsys):
    def forbidden(reports):
        raise PermissionError(errno.EACCES, "Permission denied", "/locked/.index.lock")

    monkeypatch.setattr(report_index, "refresh", forbidden)
    assert index.main(["--reports", str(tmp_path)]) == 2
    said = "error: /locked/.index.lock: Permission denied; name a place that this user may read and write"
    assert capsys.readouterr().err == f"{said}\n"


def test_a_missing_file_that_nobody_named_is_no_refusal(tmp_path, monkeypatch):
    def lost(reports):
        raise FileNotFoundError("a fault of ours")

    monkeypatch.setattr(report_index, "refresh", lost)
    with pytest.raises(FileNotFoundError, match="a fault of ours"):
        index.main(["--reports", str(tmp_path)])


@pytest.mark.parametrize(
    "typed",
    [
        "synthetic --out",
        "download --pair LUNC_USDT --since 2026-01-01 --out",
        "record --pair LUNC_USDT --out",
        "pipeline --reports",
        "universe --reports",
        "pipeline --pair LUNC_USDT --data",
    ],
)
def test_a_folder_that_cannot_be_is_refused_before_any_work(typed, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a venue was asked"))
    (tmp_path / "taken").write_text("")
    words = typed.split()
    assert everything.main([*words, str(tmp_path / "taken")]) == 2
    assert (
        capsys.readouterr().err == f"error: {words[-1]} {tmp_path / 'taken'} is a file, not a folder; name a folder\n"
    )
    if words[-1] != "--data":
        assert everything.main([*words, "/proc/none"]) == 2
        said = f"error: {words[-1]} /proc/none: No such file or directory; name a folder that this user may write\n"
        assert capsys.readouterr().err == said


def test_a_log_of_faults_that_cannot_be_written_is_refused_before_the_first_fault(tmp_path, capsys):
    assert everything.main(["sandbox", "--log", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}: Is a directory; name a place")


def test_local_venues_are_not_started_for_a_damaged_parameter_file(tmp_path, capsys):
    (tmp_path / "bad.json").write_text("{")
    words = ["live", "sandbox", "--params", str(tmp_path / "bad.json"), "--reports", str(tmp_path / "reports")]
    assert everything.main(words) == 2
    assert "bad.json" in capsys.readouterr().err
    assert not list(tmp_path.rglob("sandbox.*"))


def test_a_command_that_was_told_to_outlive_its_terminal_does(tmp_path):
    """`nohup` has a hang-up ignored before the command starts."""
    command = [sys.executable, "-m", "delta_arb.monitor", "--port", "0", "--reports", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ) as process:
        assert "monitor of" in process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
