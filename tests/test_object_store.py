"""A store behind a URL: a range costs its own bytes, published parameters are never torn or lost, keys are in no message."""

import contextlib
import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import obstore
import pytest
from local_s3 import KEYS, served
from test_data_folder import DAY_S, GATE, LEGS, PAIR, candles, record
from test_live import NOW, export, rule_params

import delta_arb as da
from delta_arb.collect.history import FUNDING_COLUMNS, Stored, write
from delta_arb.collect.recording_files import compact_days, compact_stream
from delta_arb.errors import DataError, ParamsError
from delta_arb.live.parameters import ParameterFile
from delta_arb.market import NS
from delta_arb.object_store import ObjectStore, StoreError
from delta_arb.params import Bounds, load, save, serialised
from delta_arb.pipeline import main as pipeline
from delta_arb.publishing import PublishedParameters, newest, pointer, publish_at
from delta_arb.quotes.inputs import Inputs
from delta_arb.report import run
from delta_arb.report.job import job_of
from delta_arb.report.options import PipelineOptions
from delta_arb.universe.options import UniverseOptions
from delta_arb.universe.run import rank, write_example

DATA = "s3://bucket/data"


@pytest.fixture(scope="module")
def server():
    with served() as found:
        urllib.request.urlopen(urllib.request.Request(f"{found.url}/bucket", method="PUT")).close()
        yield found


@pytest.fixture
def s3(server, tmp_path, monkeypatch):
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for each in ObjectStore("s3://bucket").listed():
        obstore.delete(ObjectStore("s3://bucket")._store, each.name)
    server.requests.clear()
    return server


def uploaded(data: Path) -> int:
    store = ObjectStore(DATA)
    files = [path for path in data.rglob("*") if path.is_file()]
    assert all(store.create(path.relative_to(data).as_posix(), path.read_bytes()) for path in files)
    return len(files)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Twelve days of both legs, a quarter of an hour each."""
    data = tmp_path_factory.mktemp("recorded") / "data"
    for leg in LEGS:
        for day in range(12):
            record(data, leg, 900, DAY_S + 86_400 * day).close()
        for stream in sorted((data / LEGS[leg] / "streams" / "quotes").glob("*.arrows")):
            compact_stream(stream, data / LEGS[leg])
        compact_days(data / LEGS[leg] / PAIR / "quotes", (DAY_S + 50 * 86_400) * NS)
    return data


@pytest.fixture
def month(recorded, tmp_path, s3):
    """The same behind the URL, and a copy of it here."""
    uploaded(recorded)
    s3.requests.clear()
    return shutil.copytree(recorded, tmp_path / "data")


FEBRUARY = {"pair": PAIR, "funding": "none", "since": "2026-02-01", "until": "2026-02-08", "contract_size": 1000}


def test_a_range_behind_a_url_is_the_folders_and_costs_its_own_bytes(month, s3):
    here, there = (da.read_quotes(data=data, **FEBRUARY) for data in (month, DATA))
    assert len(here) > 12_000
    for name in ("ts_ns", "spot_bid", "perp_ask_qty"):
        assert np.array_equal(getattr(here, name), getattr(there, name))
    assert [there.inputs.digest(leg) for leg in LEGS] == [here.inputs.digest(leg) for leg in LEGS]
    days = [f"2026-02-0{day}.parquet" for day in range(1, 8)]
    needed = sum((month / leg / PAIR / "quotes" / day).stat().st_size for leg in LEGS.values() for day in days)
    objects = [path for method, path, _ in s3.requests if method == "GET" and "?" not in path]
    assert len(objects) == len(set(objects)) == 16  # seven days and the mark of each leg
    assert needed < s3.sent_bytes < 2 * needed
    s3.requests.clear()
    da.read_quotes(data=DATA, **FEBRUARY)  # the copy is read; the listings alone are asked for
    assert [(method, path) for method, path, _ in s3.requests if path.endswith("?")] == [("GET", "/bucket?")] * 2
    assert not [path for method, path, _ in s3.requests if method == "GET" and "?" not in path]


def test_the_copy_follows_what_changes_and_goes(month, s3):
    da.read_quotes(data=DATA, **FEBRUARY)
    changed = month / LEGS["spot"] / PAIR / "quotes" / "2026-02-03.parquet"
    name = f"data/{changed.relative_to(month).as_posix()}"
    obstore.put(ObjectStore("s3://bucket")._store, name, b"damaged")
    with pytest.raises(DataError, match=r"2026-02-03\.parquet is damaged"):
        da.read_quotes(data=DATA, **FEBRUARY)
    obstore.delete(ObjectStore("s3://bucket")._store, name)
    tape = da.read_quotes(data=DATA, **FEBRUARY)
    changed.unlink()
    assert np.array_equal(tape.ts_ns, da.read_quotes(data=month, **FEBRUARY).ts_ns)


def test_candles_rules_and_funding_come_from_a_url_too(tmp_path, s3):
    candles(tmp_path / "data")
    (tmp_path / "data/gate/perp/rules.json").write_text(json.dumps([GATE]))
    stamps = [1000 * (DAY_S + 8 * 3600 * k) for k in range(-10, 14)]
    write(
        tmp_path / "data/gate/perp" / PAIR / "funding" / "2026-01.parquet", FUNDING_COLUMNS,
        Stored(stamps[0], stamps[-1] + 1, tuple((ms, 1e-4) for ms in stamps)),
    )  # fmt: skip
    uploaded(tmp_path / "data")
    stated = {"spot_half_spread_bps": 5.0, "perp_half_spread_bps": 5.0, "since": "2026-01-30", "until": "2026-01-31"}
    here, there = (da.read_quotes(data=data, pair=PAIR, **stated) for data in (tmp_path / "data", DATA))
    assert np.array_equal(here.ts_ns, there.ts_ns) and len(there.payments) == len(here.payments) > 0
    assert there.inputs.contract_size == 1000.0
    assert not [path for method, path, _ in s3.requests if method == "GET" and path.endswith("1h/2026-02.parquet")]


def test_a_universe_of_a_url_is_that_of_the_folder(tmp_path, s3):
    here = write_example(tmp_path / "data")
    uploaded(here)
    asked = {"look_back_h": 480.0, "workers": 1, "quick": True, "since": 1_740_787_200_000}  # 2025-03-01
    asked |= {"spot_half_spread_bps": 1.0, "perp_half_spread_bps": 1.0}
    found, same = (rank(UniverseOptions(data=str(p), **asked), tmp_path / "jobs") for p in (here, DATA))
    assert [each.pair for each in found.pairs] == [each.pair for each in same.pairs] and len(found.pairs) == 7
    assert found.digest == same.digest
    fetched = [path for method, path, _ in s3.requests if method == "GET" and "candles" in path]
    assert len(fetched) == 13 * 6 and not any(path.endswith("/2025-02.parquet") for path in fetched)  # March to August
    s3.requests.clear()
    shutil.rmtree(here / "mexc/spot/LONELY_USDT")
    for each in ObjectStore(DATA).listed("mexc/spot/LONELY_USDT"):
        obstore.delete(ObjectStore(DATA)._store, each.name)
    assert len(rank(UniverseOptions(data=DATA, **asked), tmp_path / "jobs").pairs) == 6


def test_nothing_behind_a_url_is_said_with_the_url(s3):
    with pytest.raises(ParamsError, match=r"s3://bucket/data holds no quotes and no candles"):
        da.read_quotes(data=DATA, **FEBRUARY)


# --- parameters ---------------------------------------------------------------------------------------------------------

PARAMS = "s3://bucket/params"
PUBLISHER = """
import sys
from datetime import datetime, timedelta
from delta_arb.params import load, sealed
from delta_arb.publishing import newest, pointer, publish_at
given, url, first, step = load(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
values = {name: getattr(given, name) for name in type(given).model_fields if name not in ("sha256", "schema_version")}
for k in range(first, 24, step):
    mine = sealed(**values | {"created": given.created + timedelta(seconds=k), "run_id": f"run-{k}"})
    print("won" if publish_at(mine, url) else "later", k, (newest(pointer(url, mine.name)).created - given.created).seconds, flush=True)
"""


def test_two_publishers_at_once_lose_nothing_and_nobody_reads_half_a_file(tmp_path, s3):
    given = export(Inputs(), rule_params(30.0, -10.0))
    save(given, tmp_path / "given.json")
    command = [sys.executable, "-c", PUBLISHER, str(tmp_path / "given.json"), PARAMS]
    both = [subprocess.Popen([*command, str(k), "2"], stdout=subprocess.PIPE, text=True) for k in (0, 1)]
    read, runner = [], PublishedParameters(pointer(PARAMS, given.name))
    while any(each.poll() is None for each in both):
        with contextlib.suppress(ParamsError):  # nothing is there before the first
            runner._due_s = 0.0
            runner.stamp()
            read.append(runner.load().created)
    lines = [line.split() for each in both for line in each.communicate()[0].splitlines()]
    assert [each.returncode for each in both] == [0, 0] and len(lines) == 24
    assert all(int(seen) >= int(k) for _, k, seen in lines)  # what was published, or one that was created later
    assert ["won", "23"] in [line[:2] for line in lines]
    assert newest(pointer(PARAMS, given.name)).created - given.created == timedelta(seconds=23)
    assert read == sorted(read) and len(set(read)) > 1
    kept = [each.name for each in ObjectStore(f"{PARAMS}/{given.name}").listed("params")]
    assert len(kept) == 24
    verbs = {(method, path.rpartition("/")[2] == "latest.json") for method, path, _ in s3.requests}
    assert not [path for method, path, _ in s3.requests[:-1] if path.endswith("?")] and ("PUT", True) in verbs


def test_an_unreachable_store_leaves_what_is_known_until_it_expires_and_says_so(s3, monkeypatch):
    given = export(Inputs(), rule_params(30.0, -10.0))
    assert publish_at(given, PARAMS) and publish_at(given, PARAMS)
    now = [NOW + timedelta(minutes=1)]
    said = []
    source = ParameterFile(pointer(PARAMS, given.name), Inputs(), Bounds(), lambda: now[0], None, said.append)
    assert source.poll() and source.rule().may_enter and not said

    def silent(*_: object) -> None:
        raise StoreError("s3://bucket: no answer")

    monkeypatch.setattr(source._source._store, "changed", silent)
    source._source._due_s = 0.0
    source.poll()
    source._source._looking.join()
    assert not source.poll() and source.rule().may_enter
    assert not source.poll() and said == [
        "s3://bucket: no answer; the parameters in force stay until 2026-02-01 13:00 UTC"
    ]
    now[0] = given.valid_until + timedelta(seconds=1)
    assert source.poll() and "stale" in source.refused and not source.rule().may_enter


def test_a_look_does_not_hold_up_who_asks(s3, monkeypatch):
    given = export(Inputs(), rule_params(30.0, -10.0))
    publish_at(given, PARAMS)
    runner = PublishedParameters(pointer(PARAMS, given.name))
    stamp, slow = runner.stamp(), threading.Event()
    monkeypatch.setattr(runner._store, "changed", lambda *_: slow.wait(5) and None)
    runner._due_s = 0.0
    began_s = time.monotonic()
    assert runner.stamp() == stamp and runner.load() == given and time.monotonic() - began_s < 1.0
    slow.set()


def test_parameters_that_were_edited_or_never_published_are_refused(s3):
    given = export(Inputs(), rule_params(30.0, -10.0))
    with pytest.raises(ParamsError, match="run the pipeline for this pair first"):
        da.load_params(pointer(PARAMS, given.name))
    assert da.load_params(da.save_params(given, PARAMS)) == given
    name = f"params/{given.name}/params/{given.sha256}.json"
    text = serialised(given).replace('"entry_bps": 30.0', '"entry_bps": 31.0')
    obstore.put(ObjectStore("s3://bucket")._store, name, text.encode())
    with pytest.raises(ParamsError, match="damaged or edited"):
        da.load_params(pointer(PARAMS, given.name))


def test_the_pipeline_publishes_there_and_takes_its_champion_from_there(tmp_path, s3, capsys):
    given = export(Inputs(), rule_params(30.0, -10.0))
    job = SimpleNamespace(params_url=PARAMS, inputs=Inputs(), reports=tmp_path)
    assert not run._in_force_elsewhere(job, tmp_path / "first").exists()
    assert run._published(job, given) == f"{given.name}/params/latest.json"
    assert load(run._in_force_elsewhere(job, tmp_path)) == given
    run._published(job, export(Inputs(), rule_params(31.0, -10.0), created=NOW - timedelta(minutes=1)))
    assert "created later; those stay in force there" in capsys.readouterr().err
    assert newest(pointer(PARAMS, given.name)) == given
    with pytest.raises(ParamsError, match="is no address of an object store"):
        job_of(PipelineOptions(params_url="nothing://there"))
    with pytest.raises(StoreError, match=r"^s3://no-such/params/.*: there is no such bucket; make it first"):
        job_of(PipelineOptions(params_url="s3://no-such/params"))
    assert job_of(PipelineOptions(params_url=PARAMS)).params_url == PARAMS


# --- keys ---------------------------------------------------------------------------------------------------------------


def test_keys_are_refused_in_a_url_and_are_in_no_message(s3, monkeypatch):
    with pytest.raises(ParamsError, match="without key") as caught:
        ObjectStore("s3://AKIA:secret@bucket/data")
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StoreError, match="no answer; check network") as caught:
        ObjectStore("s3://bucket/data").read("x")
    assert not any(value in str(caught.value) for value in KEYS.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ACCESS_KEY_ID", "AKIA-NOT-A-KEY\n"),  # as a mounted secret ends
        ("AWS_SESSION_TOKEN", "tök"),
        *(
            ("AWS_ENDPOINT_URL", url)
            for url in ("", "localhost:9000", "http://", "http://[::1", "http://127.0.0.1:99999", "http://a b")
        ),
    ],
)
def test_an_environment_that_no_request_can_be_made_of_is_refused_by_its_name(s3, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ParamsError, match=f"^{name} in the environment") as caught:
        ObjectStore("s3://bucket/data")
    assert not value or value.strip() not in str(caught.value)


def test_a_folder_that_does_not_answer_is_refused_before_anything_is_begun(tmp_path, s3, monkeypatch, capsys):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert pipeline(["--data", "s3://bucket/data", "--pair", "A_USDT", "--reports", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: s3://bucket/data/") and said.count("\n") == 1
    assert not [*tmp_path.iterdir()]


def test_what_is_no_store_is_refused():
    with pytest.raises(ParamsError, match="is no address of an object store"):
        ObjectStore("nothing://there")
