"""The three notebooks as one run, once or every few minutes: `python -m delta_arb.pipeline`.

A run executes the notebooks by papermill into `reports/<pair>/<UTC stamp>/`, makes pages of them, and publishes the
parameters that notebook 02 proposed once notebook 03 has succeeded and the proposal is what this run asked for. A run
that fails anywhere publishes nothing: the last good parameters stay, the remains go to `reports/<pair>/failed/`.

Exit code: 0 success ("do not trade" is one), 1 the run failed or another one holds the pair, 2 refused before anything
was written, 130 and 143 stopped by SIGINT and SIGTERM (0 with --every, where a stop is the normal end).
"""

import argparse
import ast
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path

from delta_arb.errors import DeltaArbError, ParamsError, RunError
from delta_arb.market import DAY_S
from delta_arb.quotes.inputs import NONE, Inputs, root
from delta_arb.quotes.options import add_options, given
from delta_arb.report.notebooks import Stopped, descendants, end, python_path
from delta_arb.report.run import EXPORTS_PER_RUN, FILES, NOTEBOOKS, RULES, Job, locked, recover, run, say, spoken
from delta_arb.tables import left_out, told

OWN = ("run_folder", "run_id", "valid_for_s", "champion")
KINDS = {"int": int, "float": float, "str": str, "bool": {"true": True, "false": False}.__getitem__}
NEEDS = {"int": "a whole number", "float": "a finite number", "bool": "true or false"}
GRACE_S = 8.0  # a run told to stop ends its kernel and tidies up within this time, or is killed


# --- options ---------------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Refusals as our own error, so that --json and the exit code treat them like all others."""

    def error(self, message: str):
        raise ParamsError(f"{message}; see --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m delta_arb.pipeline",
        description="Run the notebooks, write the report, publish the parameters. Without files: the bundled sample.",
        allow_abbrev=False,
    )
    add_options(parser)
    add = parser.add_argument_group("run").add_argument
    add("-p", dest="given", action="append", default=[], metavar="NAME=VALUE", help="any other parameter of a notebook")
    add("--reports", type=Path, default=root() / "reports", help="where results go (default: reports/ of the project)")
    kept = f"as many failed ones, and {EXPORTS_PER_RUN} times as many parameter files"
    add("--keep", type=int, default=50, help=f"runs kept per pair; {kept} (default 50)")
    add("--every", type=duration, help="repeat at this interval, like 5m; a run that is late makes the next one wait")
    add("--time-limit", type=duration, help="stop a run that takes longer (default 30m; with --every two intervals)")
    add("--valid-for", type=duration, help="validity of the parameters (default 24h; with --every six intervals)")
    add("--json", action="store_true", help="the result as one JSON object in the last line of the output")
    add("--notebooks", type=Path, default=root() / "notebooks", help=argparse.SUPPRESS)
    add("--tick", type=int, help=argparse.SUPPRESS)  # set by --every for its own runs: the loop holds the lock
    return parser


def duration(text: str) -> float:
    """Seconds of 30s, 5m, 24h or 7d."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h|d)", text)
    seconds = float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": DAY_S}[found[2]] if found else 0.0
    if not 1 <= seconds <= 366 * DAY_S:
        raise argparse.ArgumentTypeError(f"need a time from 1s to 366d, like 30s, 5m, 24h or 7d, was {text!r}")
    return seconds


def _job(options: argparse.Namespace) -> Job:
    """Everything that can be refused without reading the quotes."""
    if options.keep < 1:
        raise ParamsError(f"--keep must be at least 1, was {options.keep}")
    every_s = options.every
    inputs = Inputs.from_options(options)
    declarations = {name: declared(options.notebooks / f"{name}.ipynb") for name in NOTEBOOKS}
    valid_for_s = options.valid_for or (max(3600.0, 6 * every_s) if every_s else DAY_S)
    return Job(
        inputs=inputs,
        values=values(options, declarations, valid_for_s),
        options=tuple(_shown(option) for option in (*given(options), *(f"-p {text}" for text in options.given))),
        notebooks=options.notebooks.resolve(),
        reports=options.reports,
        keep=options.keep,
        time_limit_s=options.time_limit or (max(60.0, 2 * every_s) if every_s else 1800.0),
    )


def _shown(option: str) -> str:
    """An option as run.json shows it: files by their name, since reports are passed on."""
    name, _, value = option.partition("=")
    return f"{name}={Path(value).name}" if name.removeprefix("--").replace("-", "_") in (*FILES, *RULES) else option


def declared(notebook: Path) -> dict[str, str]:
    """Names and types ("int", "float", "str", "bool") in the one cell tagged `parameters` of a notebook."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError) as error:
        raise ParamsError(f"{notebook.name} cannot be read ({error}); restore it from the repository") from error
    tagged = [cell for cell in cells if "parameters" in cell.get("metadata", {}).get("tags", [])]
    if len(tagged) != 1:
        raise ParamsError(f"{notebook.name} needs one cell tagged `parameters`, has {len(tagged)}; tag one")
    lines = ast.parse("".join(tagged[0]["source"])).body
    return {name: kind for line in lines for name, kind in _declaration(line)}


def _declaration(line: ast.stmt) -> Iterator[tuple[str, str]]:
    """`name: type = literal`, or `name = literal` with the literal's type."""
    if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
        yield line.target.id, ast.unparse(line.annotation)
    elif isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
        yield line.targets[0].id, type(ast.literal_eval(line.value)).__name__


def values(options: argparse.Namespace, declarations: Mapping[str, Mapping[str, str]], valid_for_s: float) -> dict:
    """What each notebook is given, of what it declares: the inputs as the user gave them, and the -p values.

    papermill only warns about a name that no notebook has; here it is refused, and values have the declared type.
    """
    own = {field.name: getattr(options, field.name) for field in fields(Inputs)}
    for name in (*FILES, *RULES):
        if own[name] and own[name] != NONE:
            own[name] = os.path.abspath(own[name])  # kernels run in the notebooks' folder
    for name in ("spot_latency", "perp_latency"):
        if Path(own[name]).is_file():
            own[name] = os.path.abspath(own[name])
    own |= {"run_folder": "", "run_id": "", "champion": "", "valid_for_s": valid_for_s}
    texts = dict(_assignment(text, own) for text in options.given)
    known = sorted({name for names in declarations.values() for name in names} - own.keys())
    unknown = [name for name in texts if name not in known]
    if unknown:
        raise ParamsError(f"-p {unknown[0]}: no notebook has this parameter; known are {', '.join(known) or 'none'}")
    return {
        notebook: {name: value for name, value in own.items() if name in names}
        | {name: parsed(name, text, names[name]) for name, text in texts.items() if name in names}
        for notebook, names in declarations.items()
    }


def _assignment(text: str, own: Mapping[str, object]) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ParamsError(f"-p needs NAME=VALUE, was {text!r}")
    if name in OWN:
        raise ParamsError(f"-p {name}: the pipeline sets this one itself (for valid_for_s there is --valid-for)")
    if name in own:
        raise ParamsError(f"-p {name}: this one is an option of its own, --{name.replace('_', '-')}")
    return name, value


def parsed(name: str, text: str, kind: str) -> object:
    """The value of a -p text for a parameter declared as `kind`."""
    if kind not in KINDS:
        raise ParamsError(f"-p {name}: declared as {kind}, which cannot be given on the command line")
    try:
        value = KINDS[kind](text.lower() if kind == "bool" else text)
        if kind == "float" and not math.isfinite(value):
            raise ValueError
    except (KeyError, ValueError):
        raise ParamsError(f"-p {name}: declared as {kind}, need {NEEDS[kind]}, was {text!r}") from None
    return value


# --- again and again -------------------------------------------------------------------------------------------------


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


# --- command ---------------------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    try:
        options = _parser().parse_args(argv)
        job = _job(options)
        if options.every and options.tick is None:
            with locked(job.folder) as lock:
                return repeat(job, argv, options.every, lock)
        # quotes that cannot be used are refused here, in one line; in the loop they fail a run
        if not options.tick:
            _say_of_files(job.inputs)
        if options.tick is not None:
            return _once(job, options.json)
        with locked(job.folder):
            return _once(job, options.json)
    except DeltaArbError as error:
        return _refused(error, "--json" in argv)
    except OSError as error:  # the reports cannot be written: nothing of it is ours to mend
        return _refused(RunError(spoken(error)), "--json" in argv)
    except Stopped as stop:
        say(f"stopped by {stop}; nothing was published")
        return 128 + stop.signum
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _say_of_files(inputs: Inputs) -> None:
    """What the files were taken for, what is noted of them and what of them is left out; refuses those of no use."""
    tape = inputs.tape()
    for line in filter(None, (*told(inputs, tape), left_out(tape))):
        say(line)


def _once(job: Job, as_json: bool) -> int:
    record = run(job)
    summary = _summary(job, record)
    if as_json:
        print(json.dumps(summary), flush=True)
    else:
        print("\n".join(f"{name:<8}{value}" for name, value in summary.items() if value is not None), flush=True)
    if record["status"] == "ok":
        return 0
    say(f"error: {record['reason']}")
    return 1


def _summary(job: Job, record: dict) -> dict:
    report = record["folder"] / f"{NOTEBOOKS[-1]}.html"
    return {
        "status": record["status"],
        "trade": record["trade"],
        "reason": record["reason"],
        "run": _near(record["folder"]),
        "report": _near(report) if report.exists() else None,
        "index": _near(job.reports / "index.html"),
        "params": _near(job.reports / record["params"]) if "params" in record else None,
        "seconds": record["seconds"],
    }


def _near(path: Path) -> str:
    """As given, but relative to the working directory where it is below that."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _refused(error: DeltaArbError, as_json: bool) -> int:
    reason = " ".join(str(error).split())
    say(f"error: {reason}")
    if as_json:
        print(json.dumps({"status": "failed", "reason": reason}), flush=True)
    return 1 if isinstance(error, RunError) else 2


if __name__ == "__main__":
    raise SystemExit(main())
