"""Limits of an account over all its runners, and one kill for all of them.

The runners of one kind (paper, local venues, real money) under one reports folder are taken for one account. What each holds
and has earned today it says itself; of one that does not answer, its journal says it, at the price of its last fills. Beyond
a limit everything is left, and nothing entered until a person has removed the kill files.
"""

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from delta_arb.errors import RunError
from delta_arb.live import control
from delta_arb.live.config import WatchSettings
from delta_arb.live.reconcile import midnight_ns

ANSWER_S = 3.0
KILL_FILE = "kill"  # where a journal has no run with a configuration


class RunnerShare(NamedTuple):
    """What one runner holds (the larger leg at its price) and has earned this UTC day, closed and open pairs, USDT."""

    name: str
    held_usdt: float
    net_day_usdt: float


def journals(reports: Path, kind: str) -> list[Path]:
    """Of every runner of a kind."""
    return sorted(Path(reports).glob(f"*/live/{kind}.sqlite"))


def share(journal: Path) -> RunnerShare:
    """Of one runner; RunError where neither it nor its journal says."""
    name = journal.parent.parent.name
    with contextlib.suppress(RunError):
        said = control.ask(control.socket_path(journal), "snapshot", ANSWER_S)
        if said and "error" not in said and said["books"]:
            held = max(abs(said[book["leg"]]) * book["bid"] for book in said["books"])
            return RunnerShare(name, held, said["net_day_usdt"] + said["open_usdt"])
    return _of_journal(name, journal)


def _of_journal(name: str, journal: Path) -> RunnerShare:
    held = "SELECT COALESCE(MAX(ABS(value)), 0) FROM (SELECT SUM(qty * price) AS value FROM fills WHERE settled = 0 GROUP BY leg)"
    net = "SELECT COALESCE(SUM(net_usdt), 0) FROM trades WHERE closed_ns >= ?"
    with reading(journal, "nobody knows what the account holds") as db:
        (held_usdt,) = db.execute(held).fetchone()
        (net_usdt,) = db.execute(net, (midnight_ns(time.time_ns()),)).fetchone()
        return RunnerShare(name, held_usdt, net_usdt)


@contextlib.contextmanager
def reading(journal: Path, unknown: str) -> Iterator[sqlite3.Connection]:
    """A journal, read beside whoever has it; RunError where it cannot be read, with what is `unknown` then."""
    try:
        with closing(sqlite3.connect(f"{journal.resolve().as_uri()}?mode=ro", uri=True)) as db:
            yield db
    except sqlite3.Error as error:
        raise RunError(f"{journal}: cannot be read ({error}), so {unknown}") from error


def beyond(shares: Sequence[RunnerShare], limits: WatchSettings) -> str:
    """Which limit of the account is passed, and by whom; "" while none is."""
    told = ", ".join(f"{s.name} {s.held_usdt:.2f} held {s.net_day_usdt:+.2f} today" for s in shares)
    held, net = sum(s.held_usdt for s in shares), sum(s.net_day_usdt for s in shares)
    if 0.0 < limits.account_position_usdt < held:
        return f"the account holds {held:.2f} USDT, its limit is {limits.account_position_usdt:g} ({told})"
    if 0.0 < limits.account_loss_day_usdt <= -net:
        return f"the account has lost {-net:.2f} USDT today, its limit is {limits.account_loss_day_usdt:g} ({told})"
    return ""


def kill(of: Sequence[Path], by: str) -> list[Path]:
    """Every runner leaves what is open and enters nothing, also one that is not up, until the files returned are removed;
    those that were there already are not among them.

    Raises:
        RunError: some of them could not be reached for sure; all others were.
    """
    written, failed = [], []
    for journal in of:
        try:
            file = journal.parent / _kill_file(journal)
            if not file.exists():
                _ask_kill(journal, by)
                file.write_text(f"{by}\n", "utf-8")
                written.append(file)
        except (RunError, OSError, ValueError, KeyError) as error:
            _ask_kill(journal, by)
            failed.append(str(error))
    if failed:
        raise RunError(f"no kill file for {'; '.join(failed)}: see to these runners by hand (all others are told)")
    return written


def _ask_kill(journal: Path, by: str) -> None:
    with contextlib.suppress(RunError):  # one that is not up or frozen finds the file
        control.ask(control.socket_path(journal), "kill", ANSWER_S, by=by)


def _kill_file(journal: Path) -> str:
    """As the newest run's configuration names it; runs without a configuration have the usual one."""
    with reading(journal, "nobody knows where it looks for its kill file") as db:
        found = db.execute("SELECT options FROM runs ORDER BY rowid DESC LIMIT 1").fetchone()
    config = json.loads(found[0]).get("config") if found else None
    return json.loads(config)["kill_file"] if config else KILL_FILE
