"""What is to be run, made of the options: which notebooks are given which values. Refused here, nothing is written."""

import ast
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from delta_arb import places
from delta_arb.errors import ParamsError
from delta_arb.market import DAY_S, MS
from delta_arb.object_store import is_url
from delta_arb.publishing import require_place
from delta_arb.quotes import data_folder
from delta_arb.quotes.inputs import SAMPLE_PAIR, Inputs
from delta_arb.quotes.options import FILES, LATENCIES, NONE, RULES, as_dict, given
from delta_arb.quotes.tape import Tape
from delta_arb.report.options import PipelineOptions

if TYPE_CHECKING:
    from delta_arb.optimize.parameters import Parameters

NOTEBOOKS = ("01_spread_analysis", "02_optimization", "03_backtest_report")
BY_HAND = ("entry_bps", "exit_bps")  # thresholds of one's own
HURDLE = "hurdle"  # % a year, or a file
REPEATED_H = 24.0
OWN = ("run_folder", "run_id", "valid_for_s", "champion")
KINDS = {"int": int, "float": float, "str": str, "bool": {"true": True, "false": False}.__getitem__}
NEEDS = {"int": "a whole number", "float": "a finite number", "bool": "true or false"}


@dataclass(frozen=True, slots=True)
class Job:
    """What to run and where the results go; `values` holds what each notebook is given, by notebook; thresholds chosen by
    hand are not published unless asked for.

    `run_folder`, `run_id` and `champion` among the values are known only when a run begins and are filled in then.
    `whole`: all notebooks, also where the choice is refused.
    """

    inputs: Inputs
    values: Mapping[str, Mapping[str, object]]
    options: tuple[str, ...]
    notebooks: Path
    reports: Path
    keep: int
    time_limit_s: float
    publish: bool = True
    params_url: str = ""
    whole: bool = False

    @property
    def folder(self) -> Path:
        return self.reports / self.inputs.name


def job_of(options: PipelineOptions) -> Job:
    """Everything that can be refused without reading the quotes."""
    if options.keep < 1:
        raise ParamsError(f"--keep must be at least 1, was {options.keep}")
    every_s = options.every
    options = located(options)
    inputs = Inputs.from_options(options)
    if options.params_url:
        require_place(options.params_url, inputs.name)  # now, not when there is something to publish
    if not options.spot and inputs.pair != SAMPLE_PAIR:
        raise ParamsError(f"no quotes of {inputs.pair}: give --spot and --perp, or --data; the sample is {SAMPLE_PAIR}")
    notebooks = options.notebooks or places.notebooks()
    declarations = {name: declared(notebooks / f"{name}.ipynb") for name in NOTEBOOKS}
    valid_for_s = options.valid_for or (max(3600.0, 6 * every_s) if every_s else DAY_S)
    given_values = values(options, declarations, valid_for_s)
    if options.p:
        for name in NOTEBOOKS[1:]:
            _study(notebooks / f"{name}.ipynb", given_values[name])
    by_hand = any(given_values[NOTEBOOKS[1]].get(name) for name in BY_HAND)
    if options.publish and not by_hand:
        raise ParamsError(
            "--publish is for thresholds of your own (-p entry_bps=... -p exit_bps=...); others are published anyway"
        )
    return Job(
        inputs=inputs,
        values=given_values,
        options=tuple(_shown(option) for option in (*given(options), *(f"-p {text}" for text in options.p))),
        notebooks=notebooks.resolve(),
        reports=places.to_write(places.reports(options.reports), "--reports"),
        keep=options.keep,
        publish=options.publish or not by_hand,
        params_url=options.params_url,
        whole=options.whole or by_hand,
        time_limit_s=options.time_limit or (max(60.0, 2 * every_s) if every_s else 1800.0),
    )


def located(options: PipelineOptions) -> PipelineOptions:
    """With --data: the quotes or candles, funding and rules that are in the folder, as if they had been typed."""
    if not options.data:
        if options.since is not None or options.until is not None:
            raise ParamsError("--since and --until choose from a folder; give --data FOLDER or URL with them")
        return options
    if options.spot or options.perp:
        raise ParamsError("--data finds the quotes of both legs itself; leave --spot and --perp away")
    if not is_url(options.data):
        places.folder_at(Path(options.data), "--data")
    legs = options.pair, options.spot_venue, options.perp_venue
    bounds = ((ms or 0) * MS for ms in (options.since, options.until))
    return replace(
        options, **data_folder.found(data_folder.DataRequest(options.data, *legs, *bounds), as_dict(options))
    )


def _shown(option: str) -> str:
    """An option as run.json shows it: files by their name, since reports are passed on."""
    name, _, value = option.partition("=")
    plain = name.removeprefix("--").removeprefix("-p ").replace("-", "_")
    return f"{name}={Path(value).name}" if plain in (*FILES, *RULES, HURDLE) else option


def check_quotes(job: Job, tape: Tape) -> None:
    """A size that these quotes never trade is refused now, not by a notebook: see `study.market`."""
    from delta_arb.optimize.study import market  # loads the research modules

    if asked := _study(job.notebooks / f"{NOTEBOOKS[1]}.ipynb", job.values[NOTEBOOKS[1]]):
        market(asked.inputs, tape, asked.settings, asked.signal)


def _study(notebook: Path, values: Mapping[str, object]) -> "Parameters | None":
    """What a notebook will ask; values out of bounds are refused now, not after a minute."""
    from delta_arb.optimize.parameters import DEMANDS, RULE, parameters  # loads the research modules

    defaults = {name: ast.literal_eval(line.value) for line in _tagged(notebook) for name, _ in _declaration(line)}
    # a notebook of one's own may declare others, and checks them itself
    return parameters(defaults | values) if {*RULE, *DEMANDS} <= defaults.keys() else None


def declared(notebook: Path) -> dict[str, str]:
    """Names and types ("int", "float", "str", "bool") in the one cell tagged `parameters` of a notebook."""
    return {name: kind for line in _tagged(notebook) for name, kind in _declaration(line)}


def _tagged(notebook: Path) -> list[ast.stmt]:
    """The lines of that cell."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError) as error:
        raise ParamsError(f"{notebook.name} cannot be read ({error}); restore it from the repository") from error
    tagged = [cell for cell in cells if "parameters" in cell.get("metadata", {}).get("tags", [])]
    if len(tagged) != 1:
        raise ParamsError(f"{notebook.name} needs one cell tagged `parameters`, has {len(tagged)}; tag one")
    return ast.parse("".join(tagged[0]["source"])).body


def _declaration(line: ast.stmt) -> Iterator[tuple[str, str]]:
    """`name: type = literal`, or `name = literal` with the literal's type."""
    if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
        yield line.target.id, ast.unparse(line.annotation)
    elif isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
        yield line.targets[0].id, type(ast.literal_eval(line.value)).__name__


def values(options: PipelineOptions, declarations: Mapping[str, Mapping[str, str]], valid_for_s: float) -> dict:
    """What each notebook is given, of what it declares: the inputs as the user gave them, and the -p values.

    papermill only warns about a name that no notebook has; here it is refused, and values have the declared type.
    """
    own = as_dict(options)
    for name in (*FILES, *RULES):
        if own[name] and own[name] != NONE:
            own[name] = os.path.abspath(own[name])  # kernels run in the notebooks' folder
    for name in LATENCIES:
        if Path(own[name]).is_file():
            own[name] = os.path.abspath(own[name])
    own |= {"run_folder": "", "run_id": "", "champion": "", "valid_for_s": valid_for_s}
    texts = dict(_assignment(text, own) for text in options.p)
    if Path(texts.get(HURDLE, "")).is_file():
        texts[HURDLE] = os.path.abspath(texts[HURDLE])
    known = sorted({name for names in declarations.values() for name in names} - own.keys())
    unknown = [name for name in texts if name not in known]
    if unknown:
        raise ParamsError(f"-p {unknown[0]}: no notebook has this parameter; known are {', '.join(known) or 'none'}")
    repeated = {"repeated_h": REPEATED_H} if options.every else {}  # each run may export, so a day of them is paid for
    return {
        notebook: {name: value for name, value in (own | repeated).items() if name in names}
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
