"""The pipeline at work: one run in this process, or with --every one after the other in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from delta_arb import places
from delta_arb.command import refused
from delta_arb.errors import RunError
from delta_arb.object_store import StoreError
from delta_arb.quotes.options import given
from delta_arb.report.job import NOTEBOOKS, Job, check_quotes, job_of
from delta_arb.report.kernels import copies
from delta_arb.report.notebooks import Stopped, descendants, end, python_path
from delta_arb.report.options import PipelineOptions
from delta_arb.report.run import recover, run, say, spoken
from delta_arb.tables import left_out, told

GRACE_S = 8.0  # a run told to stop ends its kernel and tidies up within this time, or is killed


def pipeline(options: PipelineOptions, argv: list[str]) -> int:
    """The exit code of a run, or of the loop of them, with these options; `argv` is what was typed.

    Raises:
        DeltaArbError: refused before anything was written.
    """
    try:
        job = job_of(options)
        if options.every and options.tick is None:
            with places.locked(job.folder, job.folder.name, "--reports") as lock:
                return repeat(job, [*argv, *settled(options)], options.every, lock)
        # quotes that cannot be used are refused here, in one line; in the loop they fail a run
        if not options.tick:
            _look_at_files(job)
        if options.tick is not None:
            return _once(job, options.json)
        with places.locked(job.folder, job.folder.name, "--reports"):
            return _once(job, options.json)
    except StoreError as error:  # a folder behind a URL, before a run; within one it is that run's reason
        return refused(error, options.json, "failed")
    except RunError as error:
        return refused(error, options.json, "failed", 1)
    except OSError as error:  # the reports cannot be written: nothing of it is ours to mend
        return refused(spoken(error), options.json, "failed", 1)
    except Stopped as stop:
        say(
            f"stopped by {stop}; nothing was published, the parameters in force stay; the same command begins a new run"
        )
        return 128 + stop.signum


def _look_at_files(job: Job) -> None:
    """What the files were taken for, what is noted of them and what of them is left out; refuses those of no use, and
    sizes that they never trade."""
    job.inputs.keep()
    tape = job.inputs.tape()
    for line in filter(None, (*told(job.inputs, tape), left_out(tape))):
        say(line)
    check_quotes(job, tape)


def settled(options: PipelineOptions) -> list[str]:
    """For the runs of a loop: a delta_arb.toml that changes meanwhile must not take them to another pair or folder."""
    return [*given(options), f"--reports={places.reports(options.reports)}", f"--config={os.devnull}"]


def repeat(job: Job, argv: list[str], every_s: float, lock: int) -> int:
    """A run now and one per interval, each in a process of its own; the late are skipped. SIGINT or SIGTERM ends it."""
    asked: list[int] = []
    before = [(s, signal.signal(s, lambda signum, _: asked.append(signum))) for s in (signal.SIGINT, signal.SIGTERM)]
    began, tick = time.monotonic(), 0
    try:
        while not asked:
            code = _child(job, [*argv, "--tick", str(tick)], lock, asked)
            if code == 2 and tick == 0:
                return 2
            late = int((time.monotonic() - began) // every_s) - tick
            if late > 0 and not asked:
                say(f"the run took longer than the interval of {every_s:g} s: {late} skipped")
            tick += late + 1
            while not asked and time.monotonic() < began + tick * every_s:
                time.sleep(0.1)
        say("stopped")
        return 0
    finally:
        for s, handler in before:
            signal.signal(s, handler)


def _child(job: Job, argv: list[str], lock: int, asked: list[int]) -> int:
    """One run in a new process: its memory goes with it, and it can be ended whatever it does.

    It inherits the lock, so that nobody else starts while it works, even if this process is killed.
    """
    command = [sys.executable, "-m", "delta_arb.pipeline", *argv]
    environment = os.environ | {"PYTHONPATH": python_path()}
    child = subprocess.Popen(command, env=environment, pass_fds=(lock,), start_new_session=True)
    ends = time.monotonic() + job.time_limit_s + GRACE_S  # at the limit the run ends itself
    while child.poll() is None and not asked and time.monotonic() < ends:
        time.sleep(0.1)
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            left = descendants(child.pid)
            child.kill()
            end(left)
            child.wait()
    if child.returncode < 0:
        if not asked:
            say(f"error: the run was ended by {signal.Signals(-child.returncode).name}")
        recover(job)
    return child.returncode


def _once(job: Job, as_json: bool) -> int:
    with copies(len(NOTEBOOKS), job.notebooks) as ready:
        record = run(job, ready)
    summary = _summary(job, record)
    if as_json:
        print(json.dumps(summary), flush=True)
    else:
        below = "reason" if record["status"] != "ok" else ""  # it is the error that is said last
        shown = (f"{name:<8}{value}" for name, value in summary.items() if value is not None and name != below)
        print("\n".join(shown), flush=True)
    if record["status"] == "ok":
        return 0
    say(f"error: {record['reason']}")
    return 1


def _summary(job: Job, record: dict) -> dict:
    report = next(
        (page for page in (record["folder"] / f"{name}.html" for name in NOTEBOOKS[:0:-1]) if page.exists()), None
    )
    return {
        "status": record["status"],
        "trade": record["trade"],
        "quotes": "SYNTHETIC, which say nothing about any market" if record.get("synthetic") else None,
        "reason": record["reason"],
        "run": _near(record["folder"]),
        "report": _near(report) if report else None,
        "index": _near(job.reports / "index.html"),
        "params": _near(job.reports / record["params"]) if "params" in record else None,
        "seconds": record["seconds"],
    }


def _near(path: Path) -> str:
    """As given, but relative to the working directory where it is below that."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
