"""One run of the three notebooks, from quotes to published parameters.

    reports/<pair>/<UTC stamp>/            executed notebooks, their pages, candidate.json, metrics.json, run.json
    reports/<pair>/failed/<UTC stamp>/     the same of a run that failed, as far as it got
    reports/<pair>/params/latest.json      published last, and only if everything before succeeded; until then the
                                           champion that a new choice is held against
    reports/<pair>/params/<created>.json   every export; the oldest make room
    reports/<pair>/.lock                   held while somebody works on the pair

A run.json that says "running" without anybody holding the lock is a run that was killed; the next one files it under
failed/.
"""

import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from delta_arb import __version__, errors, params
from delta_arb.errors import DeltaArbError, ParamsError, RunError
from delta_arb.places import root
from delta_arb.publishing import newest, pointer, publish_at
from delta_arb.quotes import tape
from delta_arb.quotes.options import FILES, NONE, RULES
from delta_arb.report import index, pages
from delta_arb.report.job import HURDLE, NOTEBOOKS, Job
from delta_arb.report.kernels import Copy
from delta_arb.report.notebooks import Stopped, execute, interruptible, undisturbed, workplace
from delta_arb.venue_terms import VenueTerms

METRICS = ("trade", "entry_bps", "exit_bps", "net_usdt_day", "trades_day", "hit_rate", "drawdown")  # a whole report has
EXPORTS_PER_RUN = 4  # kept of each run kept: small files, and the memory of how thresholds moved
KILLED = "the process of this run ended without a result (killed, or a power cut)"


def run(job: Job, ready: list[Copy]) -> dict:
    """One run; returns its record (what run.json holds) with its folder. The caller holds the lock; kernels that
    are `ready` are taken first.

    A failure is recorded, with the remains under failed/, and returned with status "failed". Raises Stopped, after
    removing the half-written run, when SIGINT or SIGTERM asked for the end.
    """
    recover(job)
    record, folder = _begin(job)
    clock = time.monotonic()
    try:
        record |= {"synthetic": job.inputs.synthetic, "candles": job.inputs.candles}
        with interruptible(job.time_limit_s), workplace():
            candidate = _execute(job, folder, record, ready)
            reason = candidate.reason if job.publish else f"{candidate.reason}; not published without --publish"
            record |= {"trade": candidate.trade and job.publish, "reason": reason, "seconds": _since(clock)}
            _write_pages(job, folder, record | {"status": "ok"})
        with undisturbed():
            published = {"params": _published(job, candidate)} if job.publish else {}
            for log in folder.glob("*.log"):
                log.unlink()
            record |= {"status": "ok", "seconds": _since(clock)} | published
            _finish(job, folder, record)
    except Stopped as stop:
        if stop.signum != signal.SIGALRM:
            shutil.rmtree(folder)
            raise
        reason = f"stopped at the time limit of {job.time_limit_s:g} s; raise --time-limit or give less data"
        return _failed(job, folder, record | {"seconds": _since(clock)}, reason)
    except Exception as error:  # noqa: BLE001 - whatever a notebook or a disk comes up with is recorded as the reason
        return _failed(job, folder, record | {"seconds": _since(clock)}, spoken(error))
    return record | {"folder": folder}


def _published(job: Job, candidate: params.Params) -> str:
    """Behind the URL first, since that can fail: a run that fails publishes nothing."""
    if job.params_url and not publish_at(candidate, job.params_url):
        say(f"{job.params_url} has parameters of {candidate.name} that were created later; those stay in force there")
    return params.publish(candidate, job.reports).relative_to(job.reports).as_posix()


def recover(job: Job) -> None:
    """File the runs of this pair that never ended as failed ones, and drop an export that was killed half written.

    The caller holds the lock: nobody works on them.
    """
    params.drop_half_written(job.folder / "params")
    for folder in pages.run_folders(job.folder):
        record = pages.read_json(folder / "run.json")
        if record.get("status") not in ("ok", "failed"):
            _scrub(folder, job)
            _failed(job, folder, _record(job, folder.name) | record, KILLED)


# --- the steps of a run ----------------------------------------------------------------------------------------------


def _begin(job: Job) -> tuple[dict, Path]:
    """The run's folder, marked as running until it has ended one way or the other."""
    while True:
        now = datetime.now(UTC)
        stamp = f"{now:%Y%m%dT%H%M%SZ}"
        folder = job.folder / stamp
        if not folder.exists() and not (job.folder / "failed" / stamp).exists():
            break
        time.sleep(0.1)  # a run may fail within the second in which it began
    record = _record(job, stamp) | {"started": f"{now:%Y-%m-%dT%H:%M:%SZ}"}
    _write_record(folder, record)
    return record, folder


def _record(job: Job, stamp: str) -> dict:
    return {
        "run_id": f"{job.inputs.name}-{stamp}",
        "pair": job.inputs.name,
        "stamp": stamp,
        "status": "running",
        "reason": "",
        "trade": None,
        "options": list(job.options),
        "version": __version__,
        "notebooks": {},
    }


def _write_record(folder: Path, record: dict) -> None:
    params.write_atomic(folder / "run.json", json.dumps(record, indent=2) + "\n")


def _execute(job: Job, folder: Path, record: dict, ready: list[Copy]) -> params.Params:
    """The choice first; what it is refused for says all there is to say, so the other notebooks run for one to publish.

    Returns the parameters proposed, compared with what was asked.
    """
    own = {"run_folder": os.path.abspath(folder), "run_id": record["run_id"], "champion": champion(job, folder)}
    spread, choice, report = NOTEBOOKS
    _execute_one(job, choice, folder, record, own, ready)
    candidate = accepted(job, folder / "candidate.json", record["run_id"])
    if not candidate.trade and not job.whole:
        return candidate
    for name in (spread, report):
        _execute_one(job, name, folder, record, own, ready)
    _check_figures(folder / "metrics.json", candidate)
    return candidate


def _execute_one(job: Job, name: str, folder: Path, record: dict, own: dict, ready: list[Copy]) -> None:
    values = {key: own.get(key, value) for key, value in job.values[name].items()}
    clock = time.monotonic()
    try:
        execute(job.notebooks / f"{name}.ipynb", folder, values, job.time_limit_s, ready)
    except Exception as error:
        raise RunError(f"{name}: {spoken(error)}") from error
    finally:
        record["notebooks"] = dict(sorted({**record["notebooks"], name: _since(clock)}.items()))
        _scrub(folder, job, name)
    say(f"{name}: {record['notebooks'][name]:.1f} s")


def _check_figures(path: Path, candidate: params.Params) -> None:
    """The figures that go with what is published: all that pages show of it, and of this very choice."""
    found = pages.read_json(path)
    missing = [name for name in METRICS if name not in found]
    if missing:
        raise RunError(
            f"{NOTEBOOKS[-1]} wrote an incomplete {path.name}: it lacks {', '.join(missing)}; let its last cells run"
        )
    if found["trade"] != candidate.trade:
        raise RunError(f"{path.name} says trade {found['trade']}, the candidate {candidate.trade}; judge the candidate")


def champion(job: Job, folder: Path) -> str:
    """Path of the parameters in force, for a new choice to be held against; empty where none of this market trade.

    A file that cannot be used is said in one line and left aside: the choice is then made as if there were none.
    """
    path = _in_force_elsewhere(job, folder) if job.params_url else job.folder / "params" / "latest.json"
    if not path.exists():
        return ""
    from delta_arb.optimize.champion import in_force  # loads the research modules, which a first run does without

    try:
        return os.path.abspath(path) if in_force(path, job.inputs).trade else ""
    except ParamsError as error:
        say(f"the parameters in force are ignored: {_without_paths(spoken(error), job)}")
        return ""


def _in_force_elsewhere(job: Job, folder: Path) -> Path:
    """What is in force behind the URL, kept with the run; not there where nothing is. A RunError where it does not answer."""
    path = folder / "champion.json"
    try:
        params.save(newest(pointer(job.params_url, job.inputs.name)), path)
    except ParamsError as error:
        say(f"nothing is in force behind the URL: {spoken(error)}")
    return path


def accepted(job: Job, path: Path, run_id: str) -> params.Params:
    """The proposal of this run, if it was made from what was asked for.

    papermill injects a parameter whether or not the notebook reads it, and such a notebook ends well all the same.
    """
    if not path.exists():
        raise RunError(f"{NOTEBOOKS[1]} wrote no {path.name} into run_folder, so there is nothing to publish")
    candidate = params.load(path)
    asked = {"run_id": run_id, "pair": job.inputs.pair}
    found = {"run_id": candidate.run_id, "pair": candidate.pair}
    for leg, venue in zip(("spot", "perp"), job.inputs.terms(), strict=True):
        for name in VenueTerms.model_fields:
            asked[f"{leg}.{name}"] = getattr(venue, name)
            found[f"{leg}.{name}"] = getattr(getattr(candidate, leg), name)
        asked[f"data.{leg}_kind"] = getattr(job.inputs, f"{leg}_kind")
        found[f"data.{leg}_kind"] = getattr(candidate.data, f"{leg}_kind")
    for name in FILES:
        path = getattr(job.inputs, name)
        asked[f"data.{name}_sha256"] = None if path == NONE else tape.sha256(path)
        found[f"data.{name}_sha256"] = getattr(candidate.data, f"{name}_sha256")
    for name in ("spot_half_spread_bps", "perp_half_spread_bps", "bar_share"):
        asked[f"data.{name}"] = getattr(job.inputs, name) if job.inputs.candles else None
        found[f"data.{name}"] = getattr(candidate.data, name)
    needs_usdt = candidate.wallets.min_spot_usdt, candidate.wallets.min_perp_usdt
    asked["wallets"], found["wallets"] = job.inputs.wallet_params(needs_usdt), candidate.wallets
    wrong = [f"{name} is {found[name]}, asked was {asked[name]}" for name in asked if asked[name] != found[name]]
    if wrong:
        raise RunError(
            f"the notebooks did not use what they were given: {'; '.join(wrong)}; "
            "let them read the parameters below the cell that declares them"
        )
    return candidate


def _failed(job: Job, folder: Path, record: dict, reason: str) -> dict:
    """Move the remains under failed/, with pages of the notebooks as far as they got and the reason in the index."""
    record = record | {"status": "failed", "reason": _without_paths(reason, job), "trade": None}
    place = job.folder / "failed" / folder.name
    place.parent.mkdir(exist_ok=True)
    os.replace(folder, place)
    try:
        _write_pages(job, place, record)
    except Exception as error:  # noqa: BLE001 - a page is a courtesy here; why the run failed must be kept
        say(f"no pages of the failed run: {spoken(error)}")
    _finish(job, place, record)
    return record | {"folder": place}


def _write_pages(job: Job, folder: Path, record: dict) -> None:
    shown = pages.run_record(folder, record)
    for notebook in sorted(folder.glob("*.ipynb")):
        pages.write_page(notebook, shown, job.reports)


def _finish(job: Job, folder: Path, record: dict) -> None:
    """The last word on a run; then the oldest ones make room, and the index is written again."""
    _write_record(folder, record)
    for place in (job.folder, job.folder / "failed"):
        for old in pages.run_folders(place)[: -job.keep]:
            shutil.rmtree(old)
    for old in pages.exports(job.folder)[: -EXPORTS_PER_RUN * job.keep]:
        old.unlink()
    index.refresh(job.reports)


# --- around a run ----------------------------------------------------------------------------------------------------


def _scrub(folder: Path, job: Job, notebook: str = "*") -> None:
    """Leave no path of this machine in notebooks and logs, for reports are passed on; drop what is half written."""
    for log in folder.glob(f"{notebook}.log"):
        log.write_text(_without_paths(log.read_text(encoding="utf-8", errors="replace"), job), encoding="utf-8")
    for path in folder.glob(f"{notebook}.ipynb"):
        try:
            nb = json.loads(_without_paths(path.read_text(encoding="utf-8"), job))
        except ValueError:
            path.unlink()
            continue
        for name in ("input_path", "output_path"):
            nb["metadata"].get("papermill", {}).pop(name, None)
        params.write_atomic(path, json.dumps(nb, indent=1, ensure_ascii=False) + "\n")


def _without_paths(text: str, job: Job) -> str:
    """Paths below the reports, the project and the home folder relative to these; given files by their name."""
    named = (*(getattr(job.inputs, name) for name in (*FILES, *RULES)), job.values[NOTEBOOKS[1]].get(HURDLE, ""))
    given = [os.path.abspath(name) for name in named if name]
    shown = {path: os.path.basename(path) for path in given} | {
        os.path.abspath(job.reports): job.reports.name,
        str(job.reports.resolve()): job.reports.name,
        str(job.notebooks): "notebooks",
        str(root()): ".",
        sys.prefix: "python",
        str(Path.home()): "~",
        tempfile.gettempdir(): "tmp",
    }
    for path in sorted(shown, key=len, reverse=True):
        if len(path) > 3 and path in text:  # a home or root of "/" names no machine
            text = re.sub(rf"(?<![\w.~-]){re.escape(path)}(?![\w-])", lambda _, to=shown[path]: to, text)
    return text


def spoken(error: Exception) -> str:
    """An error in one line; of a cell that failed, its own error. What is not refused on purpose is named with its class."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    name, said = (error.ename, error.evalue) if hasattr(error, "ename") else (type(error).__name__, error)
    ours = isinstance(error, DeltaArbError) or issubclass(getattr(errors, name, Exception), DeltaArbError)
    text = f"{said}" if ours else f"{name}: {said}"
    return " ".join(text.split())[:500]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _since(clock: float) -> float:
    return round(time.monotonic() - clock, 2)
