"""`delta-arb live status|stop|flatten|resume`: commands to a running runner, through a socket.

One line in, a word and then who asks and why, which the journal keeps; one line of JSON out. Two words more are for the
monitor: `snapshot` and `kill`. The socket belongs to its owner alone. Nothing here withdraws: `status` names the transfer
that a person should make.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import socket
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from delta_arb.errors import DeltaArbError, RunError
from delta_arb.live.accounts import Baseline, brought, transfer
from delta_arb.live.journal import Journal
from delta_arb.live.monitoring import of_session
from delta_arb.live.options import TALK
from delta_arb.live.reconcile import midnight_ns
from delta_arb.live.session import Session
from delta_arb.live.venues.base import Account
from delta_arb.market import DAY_NS, PERP, SPOT, utc
from delta_arb.strategy.state import FLAT, HALTED, PHASES, State

LONGEST = 100  # bytes of a socket's path that every system takes
ANSWER_S = 30.0
SOMEBODY = "a person"  # who did not say who he is
WORDS = (*TALK, "snapshot", "kill")  # the last two are the monitor's
Obey = Callable[[str, str], Awaitable[dict[str, Any]]]  # of a word, and of who asks and why


def socket_path(journal: Path) -> Path:
    """Beside the journal; where that is too long for a socket, under its digest in a private folder of the system's."""
    path = Path(journal).resolve().with_suffix(".sock")
    if len(os.fsencode(path)) <= LONGEST:
        return path
    folder = Path(tempfile.gettempdir()) / f"delta_arb-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        raise RunError(f"{folder} is not ours alone; remove it, the control socket goes there")
    return folder / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.sock"


def clear(path: Path) -> None:
    """Remove the socket of a runner that was killed; whoever holds the journal's lock knows that none is up."""
    path.unlink(missing_ok=True)


async def serve(path: Path, obey: Obey) -> asyncio.Server:
    """Answer until the server is closed. A socket that a killed runner left behind must be gone (`clear`)."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                line = (await reader.readline()).decode("utf-8", "replace").strip()
                writer.write(json.dumps(await _answered(line, obey)).encode() + b"\n")
                await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, path)
    os.chmod(path, 0o600)
    return server


async def _answered(line: str, obey: Obey) -> dict[str, Any]:
    """One line: a word, and who asks and why, for the journal."""
    word, _, by = line.partition(" ")
    if word not in WORDS:
        return {"error": f"{word!r} is none of {', '.join(TALK)}"}
    return await obey(word, by or SOMEBODY)


def obeying(session: Callable[[], Session | None]) -> Obey:
    """What a session on venues answers."""

    async def obey(word: str, by: str) -> dict[str, Any]:
        found = session()
        if found is None or found.runner is None:
            return {"error": "the runner is connecting; ask again"}
        try:
            refused = await _done(word, by, found)
        except (DeltaArbError, OSError) as error:  # a venue that does not answer, a file that cannot be written
            refused = str(error)
        if refused:
            return {"error": refused}
        return of_session(found) if word == "snapshot" else status(found)

    return obey


async def _done(word: str, by: str, session: Session) -> str:
    """Do what is asked; why not, or ""."""
    if word == "stop":
        session.stop(f"asked by {by}")
    elif word == "flatten":
        session.flatten(by)
    elif word == "kill":
        kill(session, by)
    elif word == "resume":
        return await session.resume(by)
    return ""


def kill(session: Session, by: str) -> None:
    """Leave the open pair, and enter nothing, also after restarts, while the kill file is there."""
    session.risk.ordered(f"a kill (asked by {by})")
    (session.resources.journal.path.parent / session.resources.config.kill_file).write_text(f"{by}\n", "utf-8")


def status(session: Session) -> dict[str, Any]:
    """What is, in plain values: position, money, guards, wallets, and the transfer to make."""
    runner, resources, state = session.runner, session.resources, session.runner.state
    net = sum(t.net_usdt for t in runner.trades)
    said = {
        "mode": resources.mode, "pair": resources.config.name, "phase": PHASES[state.phase], "number": state.pair,
        "spot": state.legs[SPOT].position, "perp": state.legs[PERP].position, "trades": len(runner.trades), "missed": runner.missed,
        "unpaid": state.refused,
        "net_usdt": net, "open_usdt": runner.mark_usdt(), "halted": session.risk.halted, "stopping": session.stopping,
        "held": [str(held) for held in session.risk.breaches], "events": runner.events,
        "parameters": str(session.parameters.params),
        "assumed": str(session.parameters.params.wallets) if session.parameters.params else "",
        "line": session.line(), "journal": str(resources.journal.path),
    }  # fmt: skip
    if seen := session.accounts():
        said |= wallets(session, *seen)
    return said


def wallets(session: Session, spot: Account, perp: Account, base: Baseline) -> dict[str, Any]:
    """Both wallets, what they gained since the start, what no fill explains (funding, transfers), and what to move."""
    resources = session.resources
    cash = resources.journal.cash()
    if not resources.paper:  # whose wallets hold what a short was sold for
        cash = brought(cash, session.runner.state.legs[PERP])
    names = tuple(f"{venue.name} ({('spot', 'futures')[venue.leg]})" for venue in resources.venues)
    floors = (resources.config.guards.min_spot_usdt, resources.config.guards.min_margin_usdt)
    price = session.runner.books[SPOT].bid
    move = None if resources.paper else transfer(spot, perp, price, base, names, floors)  # on paper nobody can make one
    unexplained = (spot.usdt_total - base.spot_usdt - cash[SPOT], perp.usdt_total - base.perp_usdt - cash[PERP])
    return {
        "spot_usdt": spot.usdt_total, "coins": spot.coin, "perp_usdt": perp.usdt_total,
        "margin_free_usdt": perp.usdt_free,
        "position": perp.position, "liquidation_price": perp.liquidation_price, "spot_gain_usdt": cash[SPOT],
        "perp_gain_usdt": cash[PERP], "unexplained_usdt": list(unexplained), "transfer": str(move) if move else "",
    }  # fmt: skip


def summary(session: Session) -> str:
    """The day before and how things stand, in a few lines, for a person who was away."""
    journal, now = session.resources.journal, status(session)
    today_ns = midnight_ns(session.clock())
    before = journal.net_since(today_ns - DAY_NS) - journal.net_since(today_ns)
    lines = [f"yesterday {before:+.2f} USDT net; now {now['line']}"]
    if unexplained := now.get("unexplained_usdt"):
        lines.append("no fill explains (funding, transfers): spot {:+.2f}, futures {:+.2f} USDT".format(*unexplained))
    lines += [f"{name}: {now[name]}" for name in ("halted", "transfer") if now.get(name)]
    return "\n".join([*lines, *now["held"]])


def ask(path: Path, command: str, seconds: float = ANSWER_S, by: str = "") -> dict[str, Any] | None:
    """The running one's answer; None when none is up. `by` says who asks and why."""
    try:
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(seconds)
            wire.connect(str(path))
            wire.sendall(" ".join(f"{command} {by}".split()).encode() + b"\n")
            with wire.makefile() as lines:
                return json.loads(lines.readline())
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"the runner does not answer on {path} ({error}); see its log") from error


def last_words(journal: Journal) -> dict[str, Any]:
    """The same from the journal alone, when no runner is up."""
    state = journal.last_state()
    coins, position = journal.held()
    halt = journal.last_note("halt", "resume")
    orders = [placed.order_id for placed, _ in journal.working()]
    phase = PHASES[state.phase] if state else PHASES[FLAT]
    line = f"no runner is up; the journal says {phase}"
    if state and state.phase != FLAT:
        opened = f"opened {utc(state.opened_ns)} UTC" if state.opened_ns else "not filled yet"
        held = f"spot {state.legs[SPOT].position:+g}, perp {state.legs[PERP].position:+g}"
        line += f", pair {state.pair} {opened}, {held}"
    if orders:
        line += f"; without an end: {', '.join(orders)}"
    if orders or (state and state.phase != FLAT):
        line += "; start again to take it up, or `flatten`"
    return {
        "phase": phase, "journal_coins": coins, "journal_position": position,
        "halted": halt[1] if halt and halt[0] == "halt" else "",
        "orders": orders, "line": line, "journal": str(journal.path),
    }  # fmt: skip


def lift(journal: Journal, by: str) -> None:
    """`resume` without a runner: lifts halts, and lets the next start take the account as it is.

    Raises:
        RunError: the machine halted with legs that differ.
    """
    state = journal.last_state()
    if state and state.phase == HALTED:
        if state.legs[SPOT].position != 0.0 or state.legs[PERP].position != 0.0:
            raise RunError("the machine halted with legs held; start it, or `flatten` first")
        journal.forced(0, State(pair=state.pair), "resume")
    journal.note("resume", f"lifted by {by}")
    journal.note("accepted", "")
