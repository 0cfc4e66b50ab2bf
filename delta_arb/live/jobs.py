"""From the command's options to a `Job`: the mode, the configuration, keys, and the local venues where they are wanted."""

import argparse
import math

from delta_arb.errors import ParamsError
from delta_arb.live import config as configuration
from delta_arb.live import supervisor
from delta_arb.live.config import Config
from delta_arb.live.console import Voice
from delta_arb.live.supervisor import LIVE, PAPER, SANDBOX, Job
from delta_arb.live.venues import factory
from delta_arb.params import Bounds, load
from delta_arb.quotes.options import given

SPEED = 60.0  # recorded seconds a second
MAX_CLIP_USDT = Bounds().max_clip_usdt
LOCAL = {"--tape": "tape", "--repeat": "repeat", "--faults": "faults"}


def check_options(options: argparse.Namespace) -> None:
    """Refuse what this mode would not look at.

    Raises:
        ParamsError: an option of another mode.
    """
    replay = options.replay is not None
    unused = [] if replay else [option.partition("=")[0] for option in given(options)]
    if options.sandbox:
        named = {"--funding"} if options.tape else set()
        named |= set() if options.config else {"--pair", "--contract-size", "--inventory-coins"}
        unused = [name for name in unused if name not in named]
    else:
        unused += [name for name, field in LOCAL.items() if getattr(options, field)]
    if not (replay or options.sandbox):
        unused += ["--speed"] * (options.speed != SPEED)
    if not replay:
        unused += ["--as-of"] * (options.as_of is not None)
        unused += ["--max-clip-usdt"] * (options.max_clip_usdt != MAX_CLIP_USDT)
    else:
        unused += ["--check"] * options.check + ["--config"] * (options.config is not None)
    if unused:
        mode = "--replay" if replay else f"--{kind_of(options)}"
        raise ParamsError(
            f"{mode} does not look at {', '.join(unused)}; leave it away, `--help` says what belongs where"
        )


def check_speed(options: argparse.Namespace, job: Job) -> None:
    """Funding of days earned within hours promises what no venue pays.

    Raises:
        ParamsError: parameters that count on funding, on local venues whose time runs faster; or a damaged file.
    """
    if not options.sandbox or options.speed == 1.0 or supervisor.unsettled(job.journal):
        return
    if load(job.params).rule.funding_horizon_s:
        raise ParamsError(
            f"{job.params} counts on funding, which at --speed {options.speed:g} comes {options.speed:g} times as often; "
            "give --speed 1, or --replay, which has the tape's own time"
        )


def kind_of(options: argparse.Namespace) -> str:
    return LIVE if options.live else SANDBOX if options.sandbox else PAPER


def configured(options: argparse.Namespace) -> Config:
    if options.config:
        return configuration.read(options.config)
    if options.sandbox:
        return configuration.sample(options.pair or "SYN_USDT", options.contract_size or 10.0, options.inventory_coins)
    raise ParamsError(
        "name the configuration with --config FILE; or --sandbox for the local venues, --replay for recorded quotes"
    )


def job_of(options: argparse.Namespace, *, leave: bool = False) -> Job:
    """Everything that a run needs, the local venues started where they are wanted."""
    config, kind = configured(options), kind_of(options)
    say = Voice(supervisor.MODES[kind], options.json)
    params = options.params or options.reports / config.name / "params" / "latest.json"
    keys = None
    if kind == LIVE:
        config.require_explicit()
        keys = configuration.keys(config, options.config.parent)
    job = Job(config, kind, options.reports, params, keys, {}, say, leave)
    if kind == SANDBOX:
        arguments, found = _venue_arguments(options, config), factory.running(job.folder)
        if found and found.arguments != arguments:
            if not leave:
                supervisor.require_settled(job.journal, f"the local venues that hold it play with {found.arguments}")
            arguments = found.arguments if leave else arguments  # what is open can be left only where it is
        venues, new = factory.local(job.folder, arguments)
        say(f"local venues {'started' if new else 'found as they were left'}, process {venues.pid}")
        if new and (old := supervisor.set_aside(job.journal)):
            say(f"the journal of earlier local venues is set aside as {old}")
        job = job._replace(ccxt=venues.ccxt)
    return job


def _venue_arguments(options: argparse.Namespace, config: Config) -> list[str]:
    """How the local venues are started: the tape, its speed, and the account's settings of the configuration."""
    speed = "max" if math.isinf(options.speed) else f"{options.speed:g}"
    arguments = [
        "--speed",
        speed,
        "--spot-fee-bps",
        f"{config.spot.taker_fee_bps:g}",
        "--perp-fee-bps",
        f"{config.perp.taker_fee_bps:g}",
    ]
    if options.tape:
        arguments += [
            "--tape",
            *options.tape,
            "--pair",
            config.pair,
            "--contract-size",
            f"{config.perp.contract_size:g}",
        ]
        arguments += ["--funding", options.funding] if options.funding else []
    if config.hedged_coins:
        arguments += ["--inventory-coins", f"{config.hedged_coins:g}"]
    if options.faults:
        arguments += ["--faults", str(options.faults)]
    return arguments + ["--repeat"] * options.repeat


def end_local(job: Job) -> None:
    """The local venues end with the last position that they hold."""
    if job.kind != SANDBOX:
        return
    if left := supervisor.unsettled(job.journal):
        job.say(f"the local venues go on, for {left}; start again, or `flatten`")
    else:
        factory.end(job.folder)
