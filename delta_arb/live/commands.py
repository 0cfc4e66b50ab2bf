"""`status`, `stop`, `flatten`, `resume` from the command line: to the running one, or without it from journal and venues."""

import argparse
import json
from pathlib import Path

from delta_arb.errors import RunError

from . import config as configuration
from . import connect, control, trading
from .jobs import configured, end_local, job_of, kind_of
from .journal import Journal
from .runner import utc_now
from .say import Voice
from .trading import LIVE, PAPER, SANDBOX, Job


def talk(options: argparse.Namespace) -> int:
    """`status`, `stop`, `flatten`, `resume`: to the running one, or without it from journal and venues."""
    journal = trading.journal_path(options.reports, configured(options), kind_of(options))
    said = control.ask(control.socket_path(journal), options.command)
    if said is None:
        return _alone(options, journal)
    if "error" in said:
        raise RunError(said["error"])
    _tell(said, options.json)
    return 0


def _alone(options: argparse.Namespace, path: Path) -> int:
    """No runner is up: the journal answers, and `flatten` is a run of its own that leaves what is open."""
    if not path.exists():
        raise RunError(f"no runner is up, and there is no journal at {path}; nothing was ever traded in this mode")
    if options.command == "stop":
        raise RunError("no runner is up, there is nothing to stop; `status` shows what the journal says")
    if options.command == "flatten":
        job = job_of(options, leave=True)
        code = trading.run(job, options.json)
        end_local(job)
        return code
    with Journal(path, utc_now().strftime("%y%m%d%H%M%S%f")) as journal:
        if options.command == "resume":
            control.lift(journal)
        said = control.last_words(journal)
    _tell(said | _held_by_venues(options), options.json)
    return 0


def _held_by_venues(options: argparse.Namespace) -> dict:
    """What the venues say is held, without starting any; paper holds nothing there."""
    from . import preflight

    config, kind = configured(options), kind_of(options)
    folder = trading.journal_path(options.reports, config, kind).parent
    local = connect.running(folder) if kind == SANDBOX else None
    if kind == PAPER or (kind == SANDBOX and local is None):
        return {}
    keys = configuration.keys(config, options.config.parent) if kind == LIVE else None
    say = Voice(trading.MODES[kind], options.json)
    return preflight.holdings(Job(config, kind, options.reports, Path(), keys, local.ccxt if local else {}, say))


def _tell(said: dict, as_json: bool) -> None:
    if as_json:
        print(json.dumps(said))
        return
    print(said["line"])
    for name in ("halted", "transfer", "venues", "working", "journal"):
        if said.get(name):
            print(f"{name}: {said[name]}")
    for held in said.get("held", []):
        print(held)
    if said.get("unpaid"):
        print(f"entries that a wallet could not pay for: {said['unpaid']}")
    if said.get("assumed"):
        print(f"the parameters assume: {said['assumed']}")
    if "spot_usdt" in said:
        print(
            f"wallets: spot {said['spot_usdt']:.2f} USDT and {said['coins']:g} coins, "
            f"futures {said['perp_usdt']:.2f} USDT "
            f"({said['margin_free_usdt']:.2f} free), position {said['position']:+g}"
        )
