"""`make endurance`: the real command on the local venues at speed 60 with drops and notices; memory, descriptors, tasks.

make endurance ARGS="--hours 24"     a day of market time in 24 minutes; every 5 minutes of it something goes wrong
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from test_live import Inputs, export, rule_params

from delta_arb import params
from delta_arb.errors import RunError
from delta_arb.live import control, local_venues, supervisor

SPEED, ROW_S, LOOK_S, EVERY_S = 60.0, 6.0, 5.0, 5.0  # the last two of the wall's time
WAVE = (
    ["0.8018"] * 50 + ["0.8001"] * 50 + ["0.7988"] * 50 + ["0.8001"] * 50
)  # the perpetual's bid: a pair every 20 minutes
TROUBLES = (
    {"venue": "mexc", "at": "socket", "do": "close", "status": 1006}, {"venue": "gate", "at": "socket", "do": "upgrade_notice"},
    {"venue": "gate", "at": "socket", "do": "close", "status": 1001},
    {"venue": "mexc", "at": "order.create", "do": "error_after", "status": 503},
    {"venue": "*", "at": "socket", "do": "unknown_message", "code": "channel"},
    {"venue": "gate", "at": "order.create", "do": "partial_fill", "fraction": 0.5},
    {"venue": "mexc", "at": "socket", "do": "listen_key_death"}, {"venue": "gate", "at": "account", "do": "error", "status": 503},
)  # fmt: skip


class Look(NamedTuple):
    """What the runner's process takes."""

    at_s: float
    memory_mb: float
    descriptors: int
    threads: int
    tasks: int


def tape(folder: Path) -> list[str]:
    """An hour on which a pair pays every 20 minutes."""
    n = round(3600 / ROW_S)
    stamps = pa.array(pd.date_range("2026-01-05", periods=n, freq=f"{ROW_S:g}s", tz="UTC").as_unit("ns"))
    perp = [float(bid) for bid in (WAVE * (n // len(WAVE) + 1))[:n]]
    for name, bids, size in (("spot", [0.8] * n, 500.0), ("perp", perp, 50.0)):
        sizes = [size, size + 1.0] * (n // 2)
        asks = [round(bid + 0.0002, 4) for bid in bids]
        columns = {
            "timestamp": stamps,
            "bid_price": bids,
            "bid_quantity": sizes,
            "ask_price": asks,
            "ask_quantity": sizes,
        }
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    return ["--tape", str(folder / "spot.parquet"), str(folder / "perp.parquet"), "--speed", f"{SPEED:g}", "--repeat"]


def script(file: Path, seconds: float) -> list[str]:
    """Something goes wrong every five minutes of the market."""
    rows = []
    for number in range(int(seconds / EVERY_S)):
        row = TROUBLES[number % len(TROUBLES)] | {"from_s": 10.0 + number * EVERY_S}
        rows.append("[[fault]]\n" + "".join(f"{k} = {v!r}\n".replace("'", '"') for k, v in row.items()))
    file.write_text("\n".join(rows))
    return ["--faults", str(file)]


def look(pid: int, socket: Path, began_s: float) -> Look | None:
    """None where the process is gone, or its session is just beginning again."""
    try:
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
        )
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        said = control.ask(socket, "snapshot", 3.0)
    except (OSError, RunError):
        return None
    if not said or "error" in said:
        return None
    memory_mb = int(status["VmRSS"].split()[0]) / 1024
    return Look(time.monotonic() - began_s, memory_mb, descriptors, int(status["Threads"]), said["tasks"])


def endured(looks: Sequence[Look]) -> tuple[list[str], bool]:
    """First and last quarter of the time after the first tenth, which warms up; and whether nothing has grown.

    Memory may have grown by a twentieth, descriptors and tasks by two, which come and go.
    """
    warm = looks[len(looks) // 10 :]
    quarter = max(1, len(warm) // 4)
    lines, flat = ["| | first quarter | last quarter | most |", "| --- | --- | --- | --- |"], True
    for name in ("memory_mb", "descriptors", "threads", "tasks"):
        first, last = (
            statistics.median(getattr(each, name) for each in part) for part in (warm[:quarter], warm[-quarter:])
        )
        most = max(getattr(each, name) for each in warm)
        lines.append(f"| {name.replace('_mb', ', MB')} | {first:.1f} | {last:.1f} | {most:.1f} |")
        flat &= last <= (1.05 * first if name == "memory_mb" else first + 2)
    return lines, flat


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="endurance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--hours", type=float, default=24.0, metavar="N", help="of market time, at 60 of its hours an hour"
    )
    asked = parser.parse_args(argv)
    seconds = asked.hours * 3600 / SPEED
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = name
        now = datetime.now(UTC)
        times = {"created": now - timedelta(seconds=1), "valid_until": now + timedelta(days=2)}
        params.publish(export(Inputs(), rule_params(15.0, -12.0), **times), folder)
        journal = folder / "SYN_USDT-mexc-gate" / "live" / "sandbox.sqlite"
        words = [
            "sandbox",
            *tape(folder),
            *script(folder / "faults.toml", seconds),
            "--reports",
            name,
            "--log",
            f"{name}/log",
        ]
        looks: list[Look] = []
        with subprocess.Popen([sys.executable, "-m", "delta_arb.live", *words], stdout=subprocess.DEVNULL) as process:
            began_s = time.monotonic()
            while time.monotonic() - began_s < seconds and process.poll() is None:
                time.sleep(LOOK_S)
                if found := look(process.pid, control.socket_path(journal), began_s):
                    looks.append(found)
            process.send_signal(signal.SIGTERM)
            code = process.wait(120)
        local_venues.end(journal.parent)
        lines, flat = endured(looks)
        left, tail = supervisor.unsettled(journal), (folder / "log").read_text().splitlines()[-3:]
    hours = (looks[-1].at_s if looks else 0.0) * SPEED / 3600
    print("\n".join([f"{hours:.1f} hours of market time, {len(looks)} looks, exit code {code}", *lines, left, *tail]))
    return int(not flat or code != 0 or bool(left))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
