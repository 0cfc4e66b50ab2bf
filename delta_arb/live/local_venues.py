"""The local venues that `--sandbox` trades on, started as a process and found again.

They are a process of their own: a runner that is killed finds them as it left them, with its orders and its position,
which is what a restart is about. They end with an orderly stop.
"""

import contextlib
import http.client
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from delta_arb.errors import RunError
from delta_arb.interrupt import let_be, tidied_up
from delta_arb.params import write_atomic
from delta_arb.places import locked

START_S = 30.0
ANSWER_S = 5.0


class LocalVenues(NamedTuple):
    """The local venues: their process, and what connects ccxt to them."""

    pid: int
    arguments: list[str]
    url: str
    ccxt: dict[str, dict[str, Any]]


def start(folder: Path, arguments: Sequence[str]) -> tuple[LocalVenues, bool]:
    """The local venues that run from an earlier start with the same arguments, or new ones; True for new ones."""
    file = folder / "sandbox.json"
    found = _known(file)
    if found and found.arguments == list(arguments) and _answers(found.url):
        return found, False
    if found:
        end(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "sandbox.log", "ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "delta_arb.sandbox", "--json", "--config", os.devnull, *arguments],
            stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, start_new_session=True, text=True,
        )  # fmt: skip
    try:
        said = _first_line(process, folder)
    except BaseException:  # Ctrl-C too
        process.kill()
        raise
    started = LocalVenues(process.pid, list(arguments), said["urls"]["mexc"], said["ccxt"])
    write_atomic(file, json.dumps(started._asdict()))
    return started, True


def _first_line(process: subprocess.Popen, folder: Path) -> dict[str, Any]:
    """What the venues say of themselves once they serve."""
    ready, _, _ = select.select([process.stdout], [], [], START_S)
    try:
        said = json.loads(process.stdout.readline()) if ready else {"status": "silent"}
    except ValueError:
        said = {"status": "ended"}
    if said["status"] == "refused":
        raise RunError(f"the local venues refused to start: {said['reason']}")
    if said["status"] != "serving":
        raise RunError(f"the local venues did not start; see {folder / 'sandbox.log'}")
    return said


def running(folder: Path) -> LocalVenues | None:
    """The local venues that were started here, while they answer."""
    found = _known(folder / "sandbox.json")
    return found if found and _answers(found.url) else None


@contextlib.contextmanager
def ending(folder: Path) -> Iterator[None]:
    """The local venues that are started here meanwhile end with this, by whatever; only a kill leaves them to be found again.

    Raises:
        RunError: another process has them, whose end they would be.
    """
    with locked(folder, f"{folder}", "--out"), tidied_up():
        try:
            yield
        finally:
            let_be()  # a loop that ended in between gave them back
            end(folder)


def end(folder: Path) -> None:
    """Stop the local venues that were started here."""
    if found := running(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(found.pid, signal.SIGTERM)
    (folder / "sandbox.json").unlink(missing_ok=True)


def _known(file: Path) -> LocalVenues | None:
    try:
        return LocalVenues(**json.loads(file.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise RunError(f"{file}: damaged ({error}); stop the local venues by hand and delete it") from None


def _answers(url: str) -> bool:
    """Whether the local venues are there: the numbers of a process and of a port may be another one's by now.

    By a fault script they may be silent, cut off or refuse, and are there all the same.
    """
    parts = urlsplit(url)
    asked = http.client.HTTPConnection(parts.hostname, parts.port, timeout=ANSWER_S)
    try:
        asked.request("GET", f"{parts.path}/api/v3/time")
        answer = asked.getresponse()
        said = json.loads(answer.read() or "{}")
    except ConnectionRefusedError:
        return False
    except (OSError, http.client.HTTPException):
        return True
    except ValueError:
        return False
    finally:
        asked.close()
    return answer.status >= 500 or (isinstance(said, dict) and bool({"serverTime", "code"} & said.keys()))
