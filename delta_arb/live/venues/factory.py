"""The two venues of a configuration, and the local ones that `--sandbox` trades on.

The local venues are a process of their own: a runner that is killed finds them as it left them, with its orders and
its position, which is what a restart is about. They end with an orderly stop.
"""

import contextlib
import http.client
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from delta_arb.errors import ParamsError, RunError
from delta_arb.live.config import Config, Keys
from delta_arb.live.executor import CLOCK_S
from delta_arb.live.venues.base import Venue
from delta_arb.market import PERP, SPOT
from delta_arb.params import write_atomic

START_S = 30.0
ANSWER_S = 5.0


def venues(
    config: Config, keys: tuple[Keys, Keys] | None, ccxt: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[Venue, Venue]:
    """Both venues, not opened yet. Without keys they show quotes only.

    Args:
        ccxt: constructor options of the clients by venue, on top of the configuration's (the local venues' addresses).
    """
    from delta_arb.live.venues.gate import Gate  # ccxt takes most of a second to import: a replay does without
    from delta_arb.live.venues.mexc import Mexc
    from delta_arb.live.venues.websocket import Pace

    try:
        pace = Pace(**config.pace)
    except TypeError as error:
        raise ParamsError(f"pace: {error}; the names are {', '.join(field.name for field in fields(Pace))}") from None
    if config.orders.unknown_s < pace.order_s + CLOCK_S:
        raise ParamsError(
            f"orders.unknown_s={config.orders.unknown_s:g} is too short: a venue may accept an order for "
            f"pace.order_s={pace.order_s:g} s and the {CLOCK_S:g} s that clocks may differ by"
        )
    kinds: tuple[dict[str, Callable], ...] = ({"mexc": Mexc}, {"gate": Gate})
    base = config.pair.partition("_")[0]
    made = []
    for leg, venue in ((SPOT, config.spot), (PERP, config.perp)):
        kind = kinds[leg].get(venue.venue)
        if kind is None:
            raise ParamsError(
                f"{venue.venue} is no {('spot', 'perpetual')[leg]} venue of this version; "
                f"there is {', '.join(kinds[leg])}"
            )
        options = {**venue.ccxt, **(ccxt or {}).get(venue.venue, {}), **(keys[leg].ccxt() if keys else {})}
        fee_bps = None if options.get("apiKey") else venue.taker_fee_bps
        made.append(kind(leg, base, options, pace=pace, taker_fee_bps=fee_bps))
    return tuple(made)


class Local(NamedTuple):
    """The local venues: their process, and what connects ccxt to them."""

    pid: int
    arguments: list[str]
    url: str
    ccxt: dict[str, dict[str, Any]]


def local(folder: Path, arguments: Sequence[str]) -> tuple[Local, bool]:
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
    said = _first_line(process, folder)
    started = Local(process.pid, list(arguments), said["urls"]["mexc"], said["ccxt"])
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
        process.kill()
        raise RunError(f"the local venues did not start; see {folder / 'sandbox.log'}")
    return said


def running(folder: Path) -> Local | None:
    """The local venues that were started here, while they answer."""
    found = _known(folder / "sandbox.json")
    return found if found and _answers(found.url) else None


def end(folder: Path) -> None:
    """Stop the local venues that were started here."""
    if found := running(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(found.pid, signal.SIGTERM)
    (folder / "sandbox.json").unlink(missing_ok=True)


def _known(file: Path) -> Local | None:
    try:
        return Local(**json.loads(file.read_text("utf-8")))
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
