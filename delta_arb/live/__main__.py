"""`python -m delta_arb.live`: the runner, on paper, on the local venues, on recorded quotes, or with real money.

It reads the newest exported parameters of the pair, drives the pair machine with quotes, journals everything to SQLite
before acting on it, and says in every line which mode it is in. `status`, `stop`, `flatten` and `resume` talk to the
running one.
"""

import argparse
import asyncio
import json
import logging
import math
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from delta_arb import __version__
from delta_arb.bounds import Bounds
from delta_arb.errors import DeltaArbError, ParamsError, RunError
from delta_arb.faces import left_out
from delta_arb.inputs import Inputs, root
from delta_arb.ledger import PARTS, attribution
from delta_arb.market import utc
from delta_arb.options import add_options
from delta_arb.pair import PHASES, START
from delta_arb.rules import check_deadline
from delta_arb.tape import Tape
from delta_arb.wallets import BOUNDLESS

from . import config as configuration
from . import connect, control, replay, trading
from .config import Config
from .events import Recorder, events_path
from .journal import Journal
from .paper import PaperVenue, PaperWallets
from .runner import Exports, Runner, utc_now
from .say import Heard, Voice
from .trading import LIVE, PAPER, SANDBOX, Job

REPLAY = "paper, replay"
DAY_S = 86_400.0
POLL_S = 1.0
EPILOG = """\
examples:
  python -m delta_arb.live --replay --speed max        the sample, at once
  python -m delta_arb.live --sandbox --speed 60        real orders on local venues, no keys
  python -m delta_arb.live --config lunc.toml          on paper, on the venues' public quotes
  python -m delta_arb.live --config lunc.toml --check  whether everything is ready to trade
  python -m delta_arb.live --config lunc.toml --live   real money
  python -m delta_arb.live status --sandbox            what the running one does"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m delta_arb.live",
        description="Trade one pair with the parameters that the pipeline exported: on paper with "
        "live quotes unless told otherwise.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("command", nargs="?", choices=control.COMMANDS, help="talk to the running one instead of starting")
    p.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="pair, venues, limits and guards (python -m pydoc delta_arb.live.config)",
    )
    mode = p.add_mutually_exclusive_group()
    mode.add_argument("--paper", action="store_true", help="live quotes, simulated fills (the default)")
    mode.add_argument(
        "--sandbox",
        action="store_true",
        help="start the local venues and trade on them with real orders and play money",
    )
    mode.add_argument(
        "--live", action="store_true", help="real orders, real money: needs keys, explicit limits and a passed check"
    )
    mode.add_argument(
        "--replay",
        nargs="*",
        metavar="FILE",
        help="feed recorded quotes: SPOT PERP; without files the bundled synthetic sample",
    )
    p.add_argument(
        "--check",
        action="store_true",
        help="only look whether everything is ready, and say what to do about what is not",
    )
    p.add_argument("--tape", nargs=2, metavar=("SPOT", "PERP"), help="what the local venues play (default: the sample)")
    p.add_argument("--repeat", action="store_true", help="the local venues begin their tape again at its end")
    p.add_argument(
        "--faults",
        type=Path,
        metavar="FILE",
        help="what the local venues do wrong (python -m delta_arb.sandbox --help)",
    )
    p.add_argument(
        "--speed",
        type=_speed,
        default=60.0,
        metavar="1|60|max",
        help="how many recorded seconds a second takes (default 60)",
    )
    p.add_argument(
        "--reports",
        type=Path,
        default=root() / "reports",
        metavar="DIR",
        help="where the pipeline published (default: reports/)",
    )
    p.add_argument(
        "--params", type=Path, metavar="FILE", help="a parameter file instead of the newest export of the pair"
    )
    p.add_argument(
        "--as-of",
        type=_time,
        metavar="TIME",
        help="judge the validity of parameters as of this UTC time, like 2026-01-31T12:00",
    )
    p.add_argument(
        "--max-clip-usdt",
        type=float,
        default=Bounds().max_clip_usdt,
        metavar="USDT",
        help="of a replay: refuse larger clips (default %(default)g)",
    )
    p.add_argument("--json", action="store_true", help="end with one line of JSON on standard output")
    add_options(p, files=False)
    return p


def _speed(text: str) -> float:
    if text == "max":
        return math.inf
    speed = float(text)
    if not speed > 0:
        raise argparse.ArgumentTypeError(f"a speed is above 0, or max; was {text}")
    return speed


def _time(text: str) -> datetime:
    try:
        time_ = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a time like 2026-01-31T12:00: {text}") from None
    return time_.replace(tzinfo=UTC) if time_.tzinfo is None else time_


def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    try:
        if options.command:
            return _talk(options)
        return _replayed(options) if options.replay is not None else _trade(options)
    except DeltaArbError as error:
        print(f"error: {error}", file=sys.stderr)
        if options.json:
            print(json.dumps({"status": "refused", "reason": str(error)}))
        return 2


# --- Trading on venues ------------------------------------------------------------------------------------------------


def _kind(options: argparse.Namespace) -> str:
    return LIVE if options.live else SANDBOX if options.sandbox else PAPER


def _configuration(options: argparse.Namespace) -> Config:
    if options.config:
        return configuration.read(options.config)
    if options.sandbox:
        return configuration.sample(options.pair or "SYN_USDT", options.contract_size or 10.0)
    raise ParamsError(
        "name the configuration with --config FILE; or --sandbox for the local venues, --replay for recorded quotes"
    )


def _job(options: argparse.Namespace, *, leave: bool = False) -> Job:
    """Everything that a run needs, the local venues started where they are wanted."""
    config, kind = _configuration(options), _kind(options)
    say = Voice(trading.MODES[kind], options.json)
    logging.getLogger().addHandler(Heard(say))
    params = options.params or options.reports / config.name / "params" / "latest.json"
    keys = None
    if kind == LIVE:
        config.require_explicit()
        keys = configuration.keys(config, options.config.parent)
    job = Job(config, kind, options.reports, params, keys, {}, say, leave)
    if kind == SANDBOX:
        arguments, found = _venue_arguments(options, config), connect.running(job.folder)
        if found and found.arguments != arguments:
            if not leave:
                trading.require_settled(job.journal, f"the local venues that hold it play with {found.arguments}")
            arguments = found.arguments if leave else arguments  # what is open can be left only where it is
        venues, new = connect.local(job.folder, arguments)
        if new:
            trading.set_aside(job.journal)
        say(f"local venues {'started' if new else 'found as they were left'}, process {venues.pid}")
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
    if options.faults:
        arguments += ["--faults", str(options.faults)]
    return arguments + ["--repeat"] * options.repeat


def _trade(options: argparse.Namespace) -> int:
    job = _job(options)
    if options.check:
        from . import preflight

        try:
            return preflight.command(job, options.json)
        finally:
            if job.kind == SANDBOX and not job.journal.exists():
                connect.end(job.folder)  # started to be looked at, and nothing was traded
    if job.kind == LIVE:
        from . import preflight

        preflight.require(job)
    try:
        code = trading.run(job, options.json)
    except ParamsError:  # nothing to start with, so nothing is open
        if job.kind == SANDBOX:
            connect.end(job.folder)
        raise
    _end_local(job)
    return code


def _end_local(job: Job) -> None:
    """The local venues end with the last position that they hold."""
    if job.kind != SANDBOX:
        return
    if left := trading.unsettled(job.journal):
        job.say(f"the local venues go on, for {left}; start again, or `flatten`")
    else:
        connect.end(job.folder)


def _talk(options: argparse.Namespace) -> int:
    """`status`, `stop`, `flatten`, `resume`: to the running one, or without it from journal and venues."""
    journal = trading.journal_path(options.reports, _configuration(options), _kind(options))
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
        job = _job(options, leave=True)
        code = trading.run(job, options.json)
        _end_local(job)
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

    config, kind = _configuration(options), _kind(options)
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
    if "spot_usdt" in said:
        print(
            f"wallets: spot {said['spot_usdt']:.2f} USDT and {said['coins']:g} coins, "
            f"futures {said['perp_usdt']:.2f} USDT "
            f"({said['margin_free_usdt']:.2f} free), position {said['position']:+g}"
        )


# --- Replay of recorded quotes ---------------------------------------------------------------------------------------


def _replay_bounds(max_clip_usdt: float, inputs: Inputs) -> Bounds:
    """A replay risks no money: it holds as long as carry asks for, and of candles waits longer than a bar for a leg."""
    waits = {"max_leg_deadline_s": DAY_S} if inputs.candles else {}
    return Bounds(max_clip_usdt=max_clip_usdt, max_hold_s=366 * DAY_S, **waits)


def _replayed(options: argparse.Namespace) -> int:
    if len(options.replay) not in (0, 2):
        raise ParamsError(
            "--replay takes the quotes of both legs, SPOT PERP, or none for the sample; got "
            f"{len(options.replay)} file(s)"
        )
    options.spot, options.perp = options.replay or ("", "")
    return asyncio.run(_replay(options))


async def _replay(options: argparse.Namespace) -> int:
    inputs = Inputs.from_options(options)
    say = Voice(REPLAY, options.json, stamped=False)
    path = options.params or options.reports / inputs.name / "params" / "latest.json"
    now = (lambda: options.as_of) if options.as_of else utc_now
    exports = Exports(path, inputs, _replay_bounds(options.max_clip_usdt, inputs), now)
    exports.poll()
    if exports.refused:
        raise ParamsError(exports.refused)
    tape = inputs.tape()
    rule = exports.rule()
    check_deadline(rule, inputs.latency())
    run_id = utc_now().strftime("%y%m%d%H%M%S%f")
    path = options.reports / inputs.name / "live" / "journal.sqlite"
    with Journal(path, run_id) as journal, Recorder(events_path(path, run_id), run_id, START) as recorder:
        journal.begin_run(REPLAY, __version__, {k: str(v) for k, v in vars(options).items()})
        journal.parameters("accepted", exports.params)
        venue = PaperVenue(
            inputs.latency(), (tape.spot_kind, tape.perp_kind), (rule.spot, rule.perp), rule.max_quote_age_ns
        )
        payments = inputs.payments(tape)
        journal.funding(payments)
        purses = None if inputs.funds == BOUNDLESS else PaperWallets(inputs.funds, rule.perp.leverage, payments)
        runner = Runner(rule, journal, venue, payments, recorder=recorder, wallets=purses)
        mark = f" ({inputs.mark})" if inputs.mark else ""
        say(
            f"{inputs.name}{mark}, {len(tape):,} events from {utc(tape.start_ns)} to "
            f"{utc(tape.end_ns)} UTC; {exports.params}"
        )
        if missing := left_out(tape):
            say(missing)
        began = time.perf_counter()
        whole = await _drive(tape, runner, venue, exports, journal, options.speed, say)
        seconds = time.perf_counter() - began
        outcome = "halted" if runner.halted else "finished" if whole else "stopped"
        journal.end_run(outcome)
        _sum_up(runner, exports, inputs, journal, outcome, seconds, say, options.json)
    return 0 if outcome == "finished" else 1


async def _drive(
    tape: Tape, runner: Runner, venue: PaperVenue, exports: Exports, journal: Journal, speed: float, say: Callable
) -> bool:
    """Feed, reload of parameters and status line, side by side; a signal ends the feed in an orderly way."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with asyncio.TaskGroup() as tasks:
            feed = tasks.create_task(replay.run(tape, runner, venue, stop, speed), name="feed")
            aside = [
                tasks.create_task(_reload(exports, runner, journal, say), name="parameters"),
                tasks.create_task(_status(runner, say), name="status"),
            ]
            feed.add_done_callback(lambda _: [task.cancel() for task in aside])
        return feed.result()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _reload(exports: Exports, runner: Runner, journal: Journal, say: Callable) -> None:
    """New parameters rule the next entry; refused or stale ones forbid it; an open pair keeps its own."""
    while True:
        await asyncio.sleep(POLL_S)
        if exports.poll():
            journal.parameters(exports.refused or "accepted", exports.params)
            say(f"no new entries: {exports.refused}" if exports.refused else f"new parameters: {exports.params}")
            runner.newest = exports.rule() or runner.newest._replace(may_enter=False)


async def _status(runner: Runner, say: Callable) -> None:
    while True:
        await asyncio.sleep(POLL_S)
        say.status(_status_line(runner))


def _status_line(runner: Runner) -> str:
    net = sum(t.net_usdt for t in runner.trades)
    return (
        f"{PHASES[runner.state.phase]:8} pair {runner.state.pair}, {len(runner.trades)} trades, net {net:+.4f} USDT, "
        f"open {runner.mark_usdt():+.4f} USDT, {runner.events:,} events"
    )


def _sum_up(
    runner: Runner,
    exports: Exports,
    inputs: Inputs,
    journal: Journal,
    outcome: str,
    seconds: float,
    say: Callable,
    as_json: bool,
) -> None:
    """The closing summary: trades, net and where it came from."""
    parts = attribution(runner.trades)
    if not exports.params.trade:
        say(f"the parameters say do not trade: {exports.params.reason}")
    ends = ", ".join(
        f"{sum(t.reason == r for t in runner.trades)} {r}" for r in sorted({t.reason for t in runner.trades})
    )
    say(
        f"{outcome}: {len(runner.trades)} trades{f' ({ends})' if ends else ''}, "
        f"{runner.missed} entries that no venue filled"
    )
    say("  ".join(f"{part} {parts[part]:+.4f}" for part in (*PARTS, "net")) + "  USDT")
    say(f"journal: {journal.path}")
    if as_json:
        summary = {
            "status": outcome, "pair": inputs.name, "synthetic": inputs.synthetic, "candles": inputs.candles,
            "trades": len(runner.trades),
            "missed": runner.missed,
            "net_usdt": parts["net"], "attribution": parts, "events": runner.events, "seconds": round(seconds, 3),
            "params_sha256": exports.params.sha256, "journal": str(journal.path),
        }  # fmt: skip
        print(json.dumps(summary))


if __name__ == "__main__":
    sys.exit(main())
