"""`delta_arb.toml`: what would be typed with every command (pair, files, fees, folders), written down once.

    pair = "LUNC_USDT"
    spot = "quotes/mexc"          # files and folders as seen from this file
    perp = "quotes/gate"
    funding = "quotes/funding.parquet"
    contract_size = 10000
    spot_fee_bps = 0
    reports = "reports"

Its keys are the options of quotes, costs and wallets with _ for -, `reports`, and `config` (of the runner). The command
line wins. The one in the working folder is read, or the one that --config names.
"""

import difflib
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from delta_arb.command import option
from delta_arb.errors import ParamsError
from delta_arb.quotes.options import FILES, LATENCIES, NONE, RULES, InputOptions

FILE = "delta_arb.toml"


@dataclass(frozen=True, slots=True)
class Settings(InputOptions):
    """Every key that the file may have, with its type."""

    reports: str = ""
    config: str = ""


def config_option(wanted: Callable[[dict[str, Any]], dict[str, Any]] = dict) -> Any:
    """The option --config of a command, which takes its defaults from the file: those that `wanted` makes of the settings."""
    from typer import Context

    def chosen(context: Context, value: Path | None) -> Path | None:
        context.default_map = wanted(settings(value))
        return value

    text = f"a file with what is typed each time, instead of {FILE} in the working folder"
    return option(None, text, metavar="FILE", is_eager=True, callback=chosen)


def settings(path: Path | None = None) -> dict[str, Any]:
    """What the file says, paths as seen from the working folder; nothing where there is no file and none was named.

    Raises:
        ParamsError: the named file is not there, is no TOML, has a key that does not exist or a value of another type.
    """
    if path is None and not Path(FILE).exists():
        return {}
    path = path or Path(FILE)
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ParamsError(f"{path} cannot be read: {error}") from None
    return {name: _located(name, _checked(path, name, value), path.parent) for name, value in said.items()}


def _checked(path: Path, name: str, value: Any) -> Any:
    known = {field.name: field for field in fields(Settings)}
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        raise ParamsError(f"{path}: there is no key {name}; {meant}")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in LATENCIES and number:
        return str(value)
    if not (number if isinstance(known[name].default, float) else isinstance(value, str)):
        kind = "a number" if isinstance(known[name].default, float) else 'a text in "quotes"'
        raise ParamsError(f"{path}: {name} needs {kind}, was {value!r}")
    return value


def _located(name: str, value: Any, folder: Path) -> Any:
    """A path as seen from the working folder."""
    named = name in (*FILES, *RULES, "reports", "config") and value not in ("", NONE)
    return str(folder / value) if named or (name in LATENCIES and (folder / value).is_file()) else value
