"""From the command line to one run (`LiveJob`), and `status`, `stop`, `flatten`, `resume` to a running runner or, without it,
from journal and venues."""

import asyncio
import contextlib
import getpass
import json
import math
import os
import time
from pathlib import Path

from delta_arb.errors import ParamsError, RunError
from delta_arb.live import config as configuration
from delta_arb.live import control, local_venues, supervisor
from delta_arb.live.config import Config
from delta_arb.live.example import example
from delta_arb.live.journal import Journal
from delta_arb.live.messages import Alerts, Console, heard
from delta_arb.live.options import LiveOptions
from delta_arb.live.parameters import absent, check_quotes, place, utc_now
from delta_arb.live.supervisor import LIVE, PAPER, SANDBOX, LiveJob
from delta_arb.market import LEGS, plain_pair
from delta_arb.object_store import is_url
from delta_arb.publishing import newest


def print_example(options: LiveOptions) -> int:
    """A configuration to begin with."""
    print(example(newest(options.params) if options.params else None), end="")
    return 0


def ring_once(options: LiveOptions) -> int:
    """Send one message to every address of the alerts; 1 where it was not delivered."""
    if not options.test:
        raise ParamsError("`alert --test` sends one message to every address; a runner rings by itself")
    config = configuration.read(options.config) if options.config else configuration.sample()
    addresses = configuration.alert_addresses(config, options.config.parent if options.config else Path())
    alerts = Alerts(addresses, config.alerts, config.name, print)
    if not asyncio.run(alerts.test()):
        return 1
    print(f"delivered to {len(addresses)} address{'es' * (len(addresses) > 1)}")
    return 0


def watch_runner(options: LiveOptions) -> int:
    """Look after a runner with real orders, for ever."""
    from delta_arb.live.watch import Watcher

    kind = kind_of(options)
    if kind == PAPER or (kind == LIVE and not options.config):
        raise ParamsError(
            "which runner? `watch --live --config FILE` is for the one with real money, `watch --sandbox` for the one on the "
            "local venues; paper holds nothing on a venue"
        )
    folder = supervisor.journal_path(options.reports, configured(options), kind).parent
    if kind == SANDBOX and local_venues.running(folder) is None:
        raise RunError("no local venues are up, there is nothing to watch")
    job = job_of(options, leave=True)
    with heard(job.say):
        Watcher(job).run()
    return 0


def kill_all(options: LiveOptions) -> int:
    """Every runner of a kind leaves what is open, and enters nothing until the kill files are removed."""
    from delta_arb.live import watch

    found = watch.journals(options.reports, kind_of(options))
    if not found:
        raise RunError(f"{options.reports}: no runner of this kind has a journal there; name its mode as at its start")
    for file in watch.kill(found, asked_by(options)):
        print(f"leaving what is open, and entering nothing until {file} is removed")
    return 0


def trade(options: LiveOptions) -> int:
    """A run on paper, on the local venues or with real money; or only the look whether all is ready for it."""
    if options.funding and not options.tape:
        raise ParamsError("--funding goes with --tape: the sample brings its own; leave the option out")
    job = job_of(options)
    with heard(job.say):
        return _checked(options, job) if options.check else _run(options, job)


def _checked(options: LiveOptions, job: LiveJob) -> int:
    from delta_arb.live import preflight

    try:
        return preflight.command(job, options.json)
    finally:
        if job.kind == SANDBOX and not job.journal.exists():
            local_venues.end(job.folder)  # started to be looked at, and nothing was traded


def _run(options: LiveOptions, job: LiveJob) -> int:
    if job.kind == LIVE:
        from delta_arb.live import preflight

        try:
            preflight.require(job)
        except RunError as error:
            asyncio.run(supervisor.refused_start(job, str(error)))
            raise
    try:
        check_start(options, job)
        code = supervisor.run(job, options.json)
    except ParamsError:  # nothing to start with: the local venues go on only for what an earlier run left open
        end_local(job)
        raise
    end_local(job)
    return code


def check_start(options: LiveOptions, job: LiveJob) -> None:
    """Refuse parameters that nothing can be begun with, before any venue is started or asked.

    Raises:
        ParamsError: none, a damaged file, synthetic quotes for real venues; or parameters that count on funding on local
            venues whose time runs faster: funding of days earned within hours promises what no venue pays.
    """
    if supervisor.unsettled(job.journal):
        return  # what is open is managed whatever the file says
    if not is_url(job.params) and not job.params.exists():
        raise ParamsError(absent(job.params))
    if job.real_venues:
        check_quotes(newest(job.params), job.params)
    if options.sandbox and newest(job.params).rule.funding_horizon_s and options.speed != 1.0:
        raise ParamsError(
            f"{job.params} counts on funding, which at --speed {options.speed:g} comes {options.speed:g} times as often; "
            "give --speed 1, or `replay`, which has the tape's own time"
        )


def kind_of(options: LiveOptions) -> str:
    named = [name for name in (PAPER, SANDBOX, LIVE) if getattr(options, name)]
    if len(named) > 1:
        raise ParamsError(f"--{named[0]} and --{named[1]} are two modes; name one")
    return named[0] if named else PAPER


def configured(options: LiveOptions) -> Config:
    if options.config:
        config = configuration.read(options.config)
        _check_same(options, config)
        return config
    if options.sandbox:
        fees = options.spot_fee_bps, options.perp_fee_bps
        sizes = options.contract_size or 10.0, options.inventory_coins
        made = configuration.sample(options.pair or "SYN_USDT", *sizes, fees)
        return made.model_copy(update={leg: getattr(made, leg).replace(**options.resting(leg)) for leg in LEGS})
    if options.command:
        raise ParamsError(
            f"which runner? `{options.command} --sandbox` is for the one on the local venues, `{options.command} --config FILE` for "
            "the one on paper, and with --live for the one with real money"
        )
    raise ParamsError(
        "name the configuration with --config FILE; or trade on the local venues (`sandbox`) or recorded quotes (`replay`)"
    )


def _check_same(options: LiveOptions, config: Config) -> None:
    """What was given beside a configuration may repeat what it says, and not contradict it."""
    says = {
        "pair": config.pair, "contract_size": config.perp.contract_size, "inventory_coins": config.inventory_coins,
        "spot_fee_bps": config.spot.taker_fee_bps, "perp_fee_bps": config.perp.taker_fee_bps,
    }  # fmt: skip
    for name, value in says.items():
        given = getattr(options, name)
        if (
            given
            and given != getattr(LiveOptions(), name)
            and (plain_pair(given) if name == "pair" else given) != value
        ):
            raise ParamsError(
                f"{options.config} says {name} {value}, --{name.replace('_', '-')} {given}; leave the option away"
            )
    for leg in LEGS:
        for name, given in options.resting(leg).items():
            if given != (value := getattr(getattr(config, leg), name)):
                raise ParamsError(f"{options.config} says {leg} {name} {value}, the command {given:g}; leave it away")


def job_of(options: LiveOptions, *, leave: bool = False) -> LiveJob:
    """Everything that a run needs, the local venues started where they are wanted."""
    config, kind = configured(options), kind_of(options)
    say = Console(supervisor.MODES[kind], options.json, file=options.log)
    params = place(options.params, options.reports, config.name)
    keys = None
    if kind == LIVE:
        config.require_explicit()
        keys = configuration.keys(config, options.config.parent)
    addresses = configuration.alert_addresses(config, options.config.parent if options.config else Path())
    job = LiveJob(config, kind, options.reports, params, keys, {}, say, leave, addresses)
    if kind == SANDBOX:
        if not (leave or options.check):
            check_start(options, job)
        arguments, found = _venue_arguments(options, config), local_venues.running(job.folder)
        if found and found.arguments != arguments:
            if not leave:
                supervisor.require_settled(job.journal, f"the local venues that hold it play with {found.arguments}")
            arguments = found.arguments if leave else arguments  # what is open can be left only where it is
        venues, new = local_venues.start(job.folder, arguments)
        say(f"local venues {'started' if new else 'found as they were left'}, process {venues.pid}")
        if new and (old := supervisor.set_aside(job.journal)):
            say(f"the journal of earlier local venues is set aside as {old}")
        job = job._replace(ccxt=venues.ccxt)
    return job


def _venue_arguments(options: LiveOptions, config: Config) -> list[str]:
    """How the local venues are started: the tape, its speed, and the account's settings of the configuration."""
    speed = "max" if math.isinf(options.speed) else f"{options.speed:g}"
    fees = config.spot.taker_fee_bps, config.perp.taker_fee_bps
    arguments = ["--speed", speed, "--spot-fee-bps", f"{fees[0]:g}", "--perp-fee-bps", f"{fees[1]:g}"]
    if options.tape:
        arguments += ["--tape", *options.tape, "--pair", config.pair]
        arguments += ["--contract-size", f"{config.perp.contract_size:g}"]
        files = {
            "--funding": options.funding,
            "--spot-trades": options.spot_trades,
            "--perp-trades": options.perp_trades,
        }
        arguments += [word for name, file in files.items() if file for word in (name, file)]
    for name, leg in (("spot", config.spot), ("perp", config.perp)):
        if leg.maker_fee_bps is not None:
            arguments += [f"--{name}-maker-fee-bps", f"{leg.maker_fee_bps:g}"]
    if config.hedged_coins:
        arguments += ["--inventory-coins", f"{config.hedged_coins:g}"]
    if options.faults:
        arguments += ["--faults", str(options.faults)]
    if options.round_trip_ms:
        arguments += ["--round-trip-ms", options.round_trip_ms]
    return arguments + ["--repeat"] * options.repeat


def end_local(job: LiveJob) -> None:
    """The local venues end with the last position that they hold."""
    if job.kind != SANDBOX:
        return
    if left := supervisor.unsettled(job.journal):
        job.say(f"the local venues go on, for {left}; start again, or `flatten`")
    else:
        local_venues.end(job.folder)


WATCH_S = 1.0
TAKEN = {
    "stop": "stopping; it ends once the legs are at rest",
    "flatten": "leaving what is open, and staying out until `resume`",
    "resume": "halts are lifted, and the account is taken as it is",
}
LABELS = {
    "halted": "halted", "transfer": "transfer to make", "venues": "venues", "working": "orders at work",
    "local": "local venues", "parameters": "parameters", "journal": "journal",
}  # fmt: skip


def asked_by(options: LiveOptions) -> str:
    """Who asks and why, for the journal."""
    try:
        who = getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        who = f"user {os.getuid()}"
    return f"{who}: {options.why}" if options.why else who


def talk(options: LiveOptions) -> int:
    """One word to a running runner, or without it to journal and venues; `status --watch` again and again."""
    _refuse_to_guess(options)
    return _watch(options) if options.watch else _talk(options)


def _watch(options: LiveOptions) -> int:
    """A line every second of what the running one says, over its restarts, until Ctrl-C. The journal's lock is left alone."""
    path = control.socket_path(supervisor.journal_path(options.reports, configured(options), kind_of(options)))
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            print(f"{utc_now():%H:%M:%S} {_said(path)}", flush=True)
            time.sleep(WATCH_S)
    return 0


def _said(path: Path) -> str:
    try:
        said = control.ask(path, "status")
    except RunError as error:
        return str(error)
    if said is None:
        return "no runner is up"
    return said.get("error") or "; ".join([said["line"], *said["held"]])


def _talk(options: LiveOptions) -> int:
    journal = supervisor.journal_path(options.reports, configured(options), kind_of(options))
    said = control.ask(control.socket_path(journal), options.command, by=asked_by(options))
    if said is None:
        return _alone(options, journal)
    if "error" in said:
        raise RunError(said["error"])
    _tell(said, options)
    return 0


def _refuse_to_guess(options: LiveOptions) -> None:
    """A command that names no mode means the runner on paper; not while one of another mode trades this pair.

    Raises:
        ParamsError: it is not clear which runner is meant.
    """
    if options.paper or options.sandbox or options.live:
        return
    config = configured(options)
    for kind in (LIVE, SANDBOX):
        path = control.socket_path(supervisor.journal_path(options.reports, config, kind))
        if control.ask(path, "status") is not None:
            raise ParamsError(
                f"a runner of {config.name} is up in the mode {supervisor.MODES[kind]}; say which one is meant: --{kind}, or --paper"
            )


def _alone(options: LiveOptions, path: Path) -> int:
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
        if journal.until_ns() is None:
            raise RunError(
                f"no runner is up, and {path} tells of no run: it is new or emptied; bring a backup, or see what both accounts hold"
            )
        if options.command == "resume":
            control.lift(journal, asked_by(options))
        said = control.last_words(journal)
    _tell(said | _held_by_venues(options), options)
    return 0


def _stop_local(options: LiveOptions, path: Path) -> int:
    """Local venues that a killed runner left behind are ended, unless they hold something."""
    nothing = RunError("no runner is up, there is nothing to stop; `status` shows what the journal says")
    if kind_of(options) != SANDBOX or not (local := local_venues.running(path.parent)):
        raise nothing
    if left := supervisor.unsettled(path):
        raise RunError(f"no runner is up, and the local venues hold {left}; start again, or `flatten`")
    local_venues.end(path.parent)
    said = f"no runner was up; the local venues are ended, process {local.pid}"
    print(json.dumps({"line": said}) if options.json else said)
    return 0


def _held_by_venues(options: LiveOptions) -> dict:
    """What the venues say is held, without starting any; paper holds nothing there."""
    from delta_arb.live import preflight

    config, kind = configured(options), kind_of(options)
    folder = supervisor.journal_path(options.reports, config, kind).parent
    local = local_venues.running(folder) if kind == SANDBOX else None
    if kind == PAPER or (kind == SANDBOX and local is None):
        return {}
    keys = configuration.keys(config, options.config.parent) if kind == LIVE else None
    say = Console(supervisor.MODES[kind], options.json)
    held = preflight.holdings(LiveJob(config, kind, options.reports, Path(), keys, local.ccxt if local else {}, say))
    return held | ({"local": f"process {local.pid}, `stop` ends it"} if local else {})


def _tell(said: dict, options: LiveOptions) -> None:
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
        futures = f"futures {said['perp_usdt']:.2f} USDT ({said['margin_free_usdt']:.2f} free), position {said['position']:+g}"
        print(f"wallets: spot {said['spot_usdt']:.2f} USDT and {said['coins']:g} coins, {futures}")
