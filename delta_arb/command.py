"""What the commands share: options declared as the fields of a dataclass, their help, and refusals in one line.

A command is a function of one such value; `run` reads the command line by typer, hands the value over, and turns what
was typed wrongly, like every error of this package, into one line `error: ...`. typer is imported only by a command
that runs, since the same dataclasses describe runs that nobody typed.
"""

import inspect
import json
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import Field, field, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from delta_arb.errors import DeltaArbError, ParamsError
from delta_arb.interrupt import begun, code_of

if TYPE_CHECKING:
    import typer

PANEL = "options"
HELP = {"help_option_names": ["-h", "--help"]}


def option(default: Any, text: str, panel: str = PANEL, *names: str, **more: Any) -> Any:
    """A field that is an option: its default, its help, the title it stands under, and what typer may want besides.

    Args:
        names: how it is spelled, where the field's name with dashes is not it, like "-p".
        more: keywords of `typer.Option`; `argument=True` makes it a word without a dash instead, `whole=True` one that
            is never abbreviated (see `expanded`), `nothing=False` a number whose default 0 may not be said.
    """
    return field(default=default, metadata={"help": text, "rich_help_panel": panel, "names": names} | more)


def application(**more: Any) -> "typer.Typer":
    """Plain help: typer's coloured one costs as much time again as everything else that `--help` does."""
    import typer

    return typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=HELP, **more)


def command(
    app: "typer.Typer",
    of: type,
    *examples: str,
    name: str = "",
    text: str = "",
    only: Collection[str] = (),
    stopped: str = "what was being done is cut off; the same command begins it again",
    **fixed: Any,
) -> Callable:
    """Make a function of one `of` a command of the app, named as the function, with one option for every field.

    Args:
        name, text: of the command, where the function's name and docstring are not it.
        only: fields that are options of this command, in this order; others keep their default, or what is `fixed`.
        stopped: what Ctrl-C leaves behind and how to go on, said in its one line.
    """

    def register(function: Callable[[Any], int]) -> Callable[[Any], int]:
        def called(**given: Any) -> int:
            begun()
            try:
                return function(of(**given, **fixed))
            except KeyboardInterrupt as stop:
                code = code_of(stop)
                exec("")  # else Python ends by the signal where one of its own exec, as of a dataclass, was cut off
            return refused(stopped, given.get("json", False), "stopped", code)

        known = {each.name: each for each in fields(of)}
        parameters = [_parameter(known[each]) for each in only or known]
        called.__signature__ = inspect.Signature(parameters)
        called.__annotations__ = {each.name: each.annotation for each in parameters}
        called.__doc__ = text or function.__doc__
        epilog = "\n".join(["\b", "examples:", *(f"  {line}" for line in examples)]) if examples else None
        more = {"context_settings": HELP, "cls": _command_class(), "epilog": epilog}
        app.command(name or function.__name__, **more)(called)
        return function

    return register


def _parameter(of: Field) -> inspect.Parameter:
    import typer

    more = dict(of.metadata)
    more.pop("whole", None)
    names, kind = more.pop("names", ()), typer.Argument if more.pop("argument", False) else typer.Option
    word = of.name.split("_")[-1].upper()
    names = names or ((f"--{of.name.replace('_', '-')}",) if of.type is bool else ())  # without a --no-
    plain = of.type in (str, float, int) or "parser" in more
    more = {"metavar": word if plain else None, "show_default": of.default not in ("", 0.0, None, ())} | more
    if "parser" in more:
        more["parser"] = _refusing(more["parser"])
    elif of.type is float:
        more["callback"] = _number(more.pop("nothing", True))
    default = list(of.default) if of.default == () else of.default
    annotation = Annotated[of.type, kind(*names, **more)]
    return inspect.Parameter(of.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _refusing(parser: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What the parser refuses is said with the name of the option."""
    import typer

    def parse(text: Any) -> Any:
        try:
            return parser(text)
        except ParamsError as error:
            raise typer.BadParameter(str(error)) from None

    return parse


def _number(nothing: bool) -> Callable:
    """Refuses what is no number, and a zero that was said where it would mean `nothing` said."""
    import typer

    def checked(context: typer.Context, of: typer.CallbackParam, value: float) -> float:
        if not math.isfinite(value):
            raise typer.BadParameter(f"need a finite number, was {value}")
        if not (value or nothing or context.get_parameter_source(of.name).name == "DEFAULT"):
            raise typer.BadParameter("0 is none; leave the option out where it is not known")
        return value

    return checked


def _command_class() -> type:
    """typer's command with its options under their titles."""
    from typer.core import TyperCommand

    class Titled(TyperCommand):
        def format_options(self, ctx, formatter) -> None:
            panels: dict[str, list[tuple[str, str]]] = {}  # the untitled ones come last
            for each in self.get_params(ctx):
                if shown := each.get_help_record(ctx):
                    panels.setdefault(getattr(each, "rich_help_panel", None) or PANEL, []).append(shown)
            for title, rows in sorted(panels.items(), key=lambda panel: panel[0] == PANEL):
                with formatter.section(title):
                    formatter.write_dl(rows)

    return Titled


def run(
    app: "typer.Typer",
    argv: Sequence[str],
    program: str,
    status: str = "refused",
    defaults: Callable[[], dict[str, Any]] = dict,
) -> int:
    """The exit code of this command line; whatever is refused is said in one line, and as JSON where that was asked for.

    Args:
        status: what a refusal is called in the JSON.
        defaults: of options that were not typed, where they are not those of the fields; may refuse.
    """
    import typer
    from typer.main import get_command

    try:
        return get_command(app).main(list(argv), program, standalone_mode=False, default_map=defaults()) or 0
    except typer.TyperException as error:
        reason = error.format_message().replace("Value error, ", "").rstrip(".")
        at = getattr(error, "ctx", None)  # the subcommand that refused, where one was reached
        return refused(f"{reason}; see {at.command_path if at else program} --help", "--json" in argv, status)
    except DeltaArbError as error:
        return refused(error, "--json" in argv, status)
    except OSError as error:
        if error.filename is None:  # of no place that was named
            raise
        reason = f"{error.filename}: {error.strerror}; name a place that this user may read and write"
        return refused(reason, "--json" in argv, status)


def program(
    of: type,
    function: Callable[[Any], int],
    *examples: str,
    defaults: Callable[[Sequence[str]], dict[str, Any]] = lambda words: {},
    begun: bool = False,
    **more: Any,
) -> Callable[[Sequence[str] | None], int]:
    """The `main` of a command by itself, `delta-arb` and the function's name; its docstring is the help.

    Args:
        defaults: of the words that were typed, as `run` wants them.
        begun: options may be begun and not finished (see `expanded`).
        more: see `command`.
    """

    def main(argv: Sequence[str] | None = None) -> int:
        words, app = list(sys.argv[1:] if argv is None else argv), application()
        command(app, of, *examples, **more)(function)
        words = expanded(words, of) if begun else words
        return run(app, words, f"delta-arb {function.__name__}", defaults=lambda: defaults(words))

    return main


def refused(reason: object, as_json: bool, status: str = "refused", code: int = 2) -> int:
    line = " ".join(str(reason).split())
    print(f"{'stopped' if code > 128 else 'error'}: {line}", file=sys.stderr, flush=True)
    if as_json:
        print(json.dumps({"status": status, "reason": line}), flush=True)
    return code


@contextmanager
def ended_by_interrupt(reason: str, as_json: bool) -> Iterator[None]:
    """Ctrl-C ends this process at once, in one line: a library that is loaded by half raises anything, or is cut off."""
    before = signal.signal(
        signal.SIGINT, lambda *_: os._exit(refused(reason, as_json, "stopped", code_of(KeyboardInterrupt())))
    )
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def expanded(argv: Sequence[str], of: type, also: Collection[str] = ()) -> list[str]:
    """Options that were begun and not finished, like --rep for --repeat, written out where only one begins so.

    One that is declared `whole` does not count: beginnings that are in use keep their meaning when it comes.
    """
    known = {f"--{each.name.replace('_', '-')}" for each in fields(of) if not each.metadata.get("whole")} | {*also}
    return [_written_out(word, known) for word in argv]


def _written_out(word: str, known: set[str]) -> str:
    name, equals, value = word.partition("=")
    meant = [each for each in known if each.startswith(name)] if name.startswith("--") and len(name) > 2 else []
    return f"{meant[0]}{equals}{value}" if len(meant) == 1 and name not in known else word


def speed(text: object) -> float:
    """Recorded seconds per second, or "max" for as fast as it goes (inf).

    Raises:
        ParamsError: no number above 0.
    """
    try:
        value = float("inf" if text == "max" else text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise ParamsError(f"a speed is a number above 0, or max; was {text}")
    return value


def duration(text: str) -> float:
    """Seconds of 30s, 5m, 24h or 7d; ParamsError for anything else, or outside 1 s to 366 days."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h|d)", text)
    seconds = float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]] if found else 0.0
    if not 1 <= seconds <= 366 * 86_400:
        raise ParamsError(f"need a time from 1s to 366d, like 30s, 5m, 24h or 7d, was {text!r}")
    return seconds


def moment(text: object) -> int:
    """ms UTC of a date or a time such as 2026-01-31 or 2026-01-31T08:00; ParamsError for anything else."""
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        raise ParamsError(f"a time is like 2026-01-31 or 2026-01-31T08:00 (UTC), was {text}") from None
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
