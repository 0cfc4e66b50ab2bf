"""`status`, `stop`, `flatten`, `resume` from the command line: to the running one, or without it from journal and venues."""

import argparse
import json
from pathlib import Path

from delta_arb.errors import RunError
from delta_arb.live import config as configuration
from delta_arb.live import control, supervisor
from delta_arb.live.console import Voice, heard
from delta_arb.live.jobs import configured, end_local, job_of, kind_of
from delta_arb.live.journal import Journal
from delta_arb.live.runner import utc_now
from delta_arb.live.supervisor import LIVE, PAPER, SANDBOX, Job
from delta_arb.live.venues import factory

TAKEN = {
    "stop": "stopping; it ends once the legs are at rest",
    "flatten": "leaving what is open, and staying out until `resume`",
    "resume": "halts are lifted, and the account is taken as it is",
}
LABELS = {
    "halted": "halted", "transfer": "transfer to make", "venues": "venues", "working": "orders at work",
    "local": "local venues", "parameters": "parameters", "journal": "journal",
}  # fmt: skip


def talk(options: argparse.Namespace) -> int:
    """One word to the running one, or without it to journal and venues."""
    journal = supervisor.journal_path(options.reports, configured(options), kind_of(options))
    said = control.ask(control.socket_path(journal), options.command)
    if said is None:
        return _alone(options, journal)
    if "error" in said:
        raise RunError(said["error"])
    _tell(said, options)
    return 0


def _alone(options: argparse.Namespace, path: Path) -> int:
    """No runner is up: the journal answers, and `flatten` is a run of its own that leaves what is open."""
    if options.command == "stop":
        return _stop_local(options, path)
    if not path.exists():
        raise RunError(f"no runner is up, and there is no journal at {path}; nothing was ever traded in this mode")
    if options.command == "flatten":
        job = job_of(options, leave=True)
        with heard(job.say):
            code = supervisor.run(job, options.json)
        end_local(job)
        return code
    with Journal(path, utc_now().strftime("%y%m%d%H%M%S%f")) as journal:
        if options.command == "resume":
            control.lift(journal)
        said = control.last_words(journal)
    _tell(said | _held_by_venues(options), options)
    return 0


def _stop_local(options: argparse.Namespace, path: Path) -> int:
    """Local venues that a killed runner left behind are ended, unless they hold something."""
    nothing = RunError("no runner is up, there is nothing to stop; `status` shows what the journal says")
    if kind_of(options) != SANDBOX or not (local := factory.running(path.parent)):
        raise nothing
    if left := supervisor.unsettled(path):
        raise RunError(f"no runner is up, and the local venues hold {left}; start again, or `flatten`")
    factory.end(path.parent)
    said = f"no runner was up; the local venues are ended, process {local.pid}"
    print(json.dumps({"line": said}) if options.json else said)
    return 0


def _held_by_venues(options: argparse.Namespace) -> dict:
    """What the venues say is held, without starting any; paper holds nothing there."""
    from delta_arb.live import preflight

    config, kind = configured(options), kind_of(options)
    folder = supervisor.journal_path(options.reports, config, kind).parent
    local = factory.running(folder) if kind == SANDBOX else None
    if kind == PAPER or (kind == SANDBOX and local is None):
        return {}
    keys = configuration.keys(config, options.config.parent) if kind == LIVE else None
    say = Voice(supervisor.MODES[kind], options.json)
    held = preflight.holdings(Job(config, kind, options.reports, Path(), keys, local.ccxt if local else {}, say))
    return held | ({"local": f"process {local.pid}, `stop` ends it"} if local else {})


def _tell(said: dict, options: argparse.Namespace) -> None:
    """What is, for a person; the same as JSON where that was asked for."""
    if options.json:
        print(json.dumps(said))
        return
    if options.command in TAKEN:
        print(TAKEN[options.command])
    print(said["line"])
    for name, label in LABELS.items():
        if said.get(name):
            print(f"{label}: {said[name]}")
    for held in said.get("held", []):
        if not (said["halted"] and held.endswith(said["halted"])):
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
