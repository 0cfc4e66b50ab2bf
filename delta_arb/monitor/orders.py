"""A person's word to a runner, by the page: only with the token, a name, a reason and the confirmation typed out.

`kill` also reaches a runner that does not answer: it finds the kill file in its folder.
"""

import hmac
import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

from delta_arb.errors import ParamsError, RunError
from delta_arb.live import control
from delta_arb.live.monitoring import TOKEN
from delta_arb.monitor.runners import ShownRunner

ORDERS = ("stop", "flatten", "resume", "kill")
SHORTEST = 16  # letters of a token
KILL_ANSWER_S = 3.0  # a frozen runner finds the file when it wakes
LONGEST = 200  # letters of a name or a reason


class PersonOrder(NamedTuple):
    """One word to a runner; who gives it and why."""

    word: str
    by: str
    why: str

    @property
    def signed(self) -> str:
        return f"{self.by}: {self.why}"


def token(file: Path | None) -> str:
    """From the private file, or the environment; "" where there is none, and nobody can give orders.

    Raises:
        ParamsError: a file that others can read, or a token that could be guessed.
    """
    found = _private(file) if file else os.environ.get(TOKEN, "")
    if found and len(found) < SHORTEST:
        raise ParamsError(
            f"a token of {len(found)} letters can be guessed; take {SHORTEST} or more, like `openssl rand -hex 16`"
        )
    if file and not found:
        raise ParamsError(f"{file}: there is no token in it")
    return found


def _private(file: Path) -> str:
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        if mode & 0o077:
            raise ParamsError(f"{file}: mode {mode:o} lets others read the token; chmod 600 it, and take a new one")
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"{file}: no token can be read there ({error})") from None


def bearer(header: str, wanted: str) -> bool:
    """Whether this Authorization header holds the token; without one nobody's does."""
    return bool(wanted) and hmac.compare_digest(header.encode("utf-8", "surrogateescape"), f"Bearer {wanted}".encode())


def order_of(said: Any, runner: ShownRunner) -> PersonOrder:
    """The order, if it is whole; RunError says what is missing."""
    if not isinstance(said, dict) or said.get("order") not in ORDERS:
        raise RunError(f"an order is one of {', '.join(ORDERS)}")
    word, by, why = said["order"], _line(said.get("by")), _line(said.get("why"))
    if not by or not why:
        raise RunError("say who you are and why: the journal keeps both")
    if said.get("confirmation") != (wanted := f"{word} {runner.id}"):
        raise RunError(f"not confirmed: type {wanted}")
    return PersonOrder(word, by, why)


def _line(text: Any) -> str:
    return " ".join(text.split())[:LONGEST] if isinstance(text, str) else ""


def give(runner: ShownRunner, order: PersonOrder) -> str:
    """Ask the runner, and say in one line what came of it.

    Raises:
        RunError: it refuses, does not answer, or none is up.
    """
    if order.word == "kill":
        return _killed(runner, order)
    answer = control.ask(runner.socket, order.word, by=order.signed)
    if answer is None:
        raise RunError(f"no runner is up for {runner.id}; from the terminal, `delta-arb live {order.word}` needs none")
    return _taken(order, answer)


def _taken(order: PersonOrder, answer: dict[str, Any]) -> str:
    if "error" in answer:
        raise RunError(answer["error"])
    return f"{order.word} is taken: {answer['line']}"


def _killed(runner: ShownRunner, order: PersonOrder) -> str:
    """By the runner, which notes it; by the file alone where it is frozen, connecting or down."""
    if (file := runner.kill_file) is None:
        raise RunError("a replay knows no kill file")
    try:
        answer = control.ask(runner.socket, order.word, KILL_ANSWER_S, by=order.signed)
        return _taken(order, answer or {"error": "no runner is up"})
    except RunError as error:
        file.write_text(f"{order.signed}\n", "utf-8")
        return f"{error}; {file.name} now lies in its folder: a runner leaves and stays out while it does"
