"""From a quote to both orders on the wire: the runner with genuine ccxt against the least that any program needs.

    python tests/benchmarks/bench_wire.py            a minute and a half
    python tests/benchmarks/bench_wire.py --quick    a third of it

Three processes: the local venues, the runner as it trades (journal, guards, accounts and all, under uvloop), and `raw`,
which has its own websocket reader, request bytes built in advance, two kept connections, and signs at the send. The
venues quote to the two clients in turn, one tick each, and stamp both ends: when the frame of the quote is handed to the
network, and when the bytes of each order come in. The tick is Gate's; it makes the runner open or close a pair.
"""

import argparse
import asyncio
import contextlib
import hashlib
import hmac
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from table import report

ENTER, LEAVE = ("0.8018", "0.8020"), ("0.7988", "0.7990")  # pays 20 bps to open; costs -12.5 bps to close
ORDER = {"mexc": b"POST /api/v3/order?", "gate": b"POST /api/v4/futures/usdt/orders "}
REST_S, JITTER_S = 0.16, 0.03  # between two ticks of one client: reports, journal and accounts are through by then
GATE_PATH = "/api/v4/futures/usdt/orders"


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true", help="a third of the ticks")
    options.add_argument("--role", choices=("venues", "runner", "raw"), help=argparse.SUPPRESS)
    options.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    options = options.parse_args()
    if options.role:
        import uvloop

        uvloop.run(globals()[options.role](*options.rest))
        return
    rounds, ticks = 3, 100 if options.quick else 300
    with tempfile.TemporaryDirectory() as folder:
        found = _measured(Path(folder), rounds, ticks)
    rows = [_row(name, found) for name in ("raw", "runner")]
    goal = "runner p50 at most 1.8 x raw p50; leg skew p99 at most raw's"
    report(
        "live_wire",
        rows,
        ("ccxt", "aiohttp", "uvloop"),
        goal=goal,
        rounds=rounds,
        ticks=ticks,
        what="median of the rounds",
    )
    report("live_wire_parts", [{"part": p, **v} for p, v in found["parts"].items()], (), what="inside the runner, us")
    raw_row, ours = rows
    ratio, skew, raw_skew = ours["p50_ms"] / raw_row["p50_ms"], ours["skew_p99_ms"], raw_row["skew_p99_ms"]
    reached = {True: "reached", False: "NOT REACHED"}
    print(f"runner / raw at p50: {ratio:.2f}, goal 1.8 {reached[ratio <= 1.8]}")
    print(f"leg skew p99: {skew:.3f} ms, goal raw's {raw_skew:.3f} ms {reached[skew <= raw_skew]}")


def _measured(folder: Path, rounds: int, ticks: int) -> dict:
    """Start the three, and wait for what the venues stamped."""
    me = [sys.executable, __file__]
    venues = subprocess.Popen(
        [*me, "--role", "venues", str(rounds), str(ticks)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    line = venues.stdout.readline()
    clients = [subprocess.Popen([*me, "--role", name, str(folder), line]) for name in ("runner", "raw")]
    try:
        stamps, _ = venues.communicate(timeout=60 + rounds * ticks * 2 * REST_S)
        found = json.loads(stamps.splitlines()[-1])
    finally:
        for client in clients:
            client.terminate()
        for client in clients:
            client.wait(20)
        venues.kill()
    return found | {"parts": json.loads((folder / "parts.json").read_text())}


def _row(name: str, found: dict) -> dict:
    """Median over the rounds of each figure."""
    rounds = [np.array(ticks) / 1e6 for ticks in found[name]]  # (tick -> first order, tick -> second) in ms
    both = [r.max(axis=1) for r in rounds]
    skew = [np.abs(r[:, 0] - r[:, 1]) for r in rounds]
    middle = lambda values: float(np.median(values))  # noqa: E731
    return {
        "client": name,
        "ticks": sum(map(len, rounds)),
        "missed": found["missed"][name],
        "p50_ms": middle([np.percentile(b, 50) for b in both]),
        "p99_ms": middle([np.percentile(b, 99) for b in both]),
        "best_p99_ms": min(float(np.percentile(b, 99)) for b in both),
        "skew_p50_ms": middle([np.percentile(s, 50) for s in skew]),
        "skew_p99_ms": middle([np.percentile(s, 99) for s in skew]),
        "best_skew_p99_ms": min(float(np.percentile(s, 99)) for s in skew),
    }


# --- the venues' process ------------------------------------------------------------------------------------------------


class Stamps:
    """When the frame of the last tick left, and when the first bytes of each order came in."""

    def __init__(self) -> None:
        from aiohttp import web_protocol

        from delta_arb.sandbox import network

        self.sent_ns, self.came_ns, self.waiting = 0, {}, False
        frame, received = network.frame, web_protocol.RequestHandler.data_received

        def stamped(data):
            made = frame(data)
            if self.waiting:
                self.sent_ns, self.waiting = time.perf_counter_ns(), False
            return made

        def data_received(handler, data):
            for name, head in ORDER.items():
                if data.startswith(head):
                    self.came_ns.setdefault(name, time.perf_counter_ns())
            received(handler, data)

        network.frame, web_protocol.RequestHandler.data_received = stamped, data_received

    async def tick(self, both, perp: tuple[str, str], size: int) -> list[int] | None:
        """One quote of the perpetual; ns to each order, None when one did not come."""
        self.came_ns, self.waiting = {}, True
        both.quote(perp[0], size, perp[1], size, "perp")
        for _ in range(100):
            await asyncio.sleep(0.005)
            if len(self.came_ns) == 2:
                return [self.came_ns[name] - self.sent_ns for name in ORDER]
        return None


async def venues(rounds: str, ticks: str) -> None:
    from delta_arb.sandbox.venues import Venues

    _pin(0)
    stamps, found, missed = Stamps(), defaultdict(list), defaultdict(int)
    async with Venues.quiet() as runner, Venues.quiet() as raw:
        sides = {"runner": runner, "raw": raw}
        for both in sides.values():
            both.quote("0.8000", 500, "0.8002", 500, "spot")
            both.quote("0.8001", 500, "0.8003", 500, "perp")
        print(json.dumps({name: both.config() for name, both in sides.items()}), flush=True)
        ready = False
        for number in range(2 * 20 * 4):  # until both answer
            ready = await _turn(stamps, sides, number, None) or (ready and number % 8 != 0)
            if ready and number % 2:
                break
        for _ in range(int(rounds)):
            done = {name: [] for name in sides}
            for number in range(int(ticks)):
                await _turn(stamps, sides, number, (done, missed))
            for name, ticks_ in done.items():
                found[name].append(ticks_)
    print(json.dumps({**found, "missed": {name: missed[name] for name in sides}}), flush=True)


async def _turn(stamps: Stamps, sides: dict, number: int, into: tuple | None) -> bool:
    """One tick for each client, first one, then the other."""
    answered = True
    for name, both in sides.items():
        size = 500 + number % 7
        both.quote("0.8000", size, "0.8002", size, "spot")  # fresh, so that the perpetual's quote decides
        await asyncio.sleep(0.03)
        took = await stamps.tick(both, LEAVE if number % 2 else ENTER, size)
        answered = answered and took is not None
        if into and took:
            into[0][name].append(took)
        elif into:
            into[1][name] += 1
        await asyncio.sleep(REST_S / 2 + random.random() * JITTER_S)
    return answered


def _pin(core: int) -> None:
    """Venues on one core, clients on another, where there are two; ahead of other programs, where that is allowed."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[core]})
    with contextlib.suppress(PermissionError):
        os.nice(-15)


# --- the runner's process -------------------------------------------------------------------------------------------------


class Parts:
    """How long the steps of a decision with orders take inside the runner."""

    def __init__(self) -> None:
        from delta_arb.live.executor import Executor
        from delta_arb.live.journal import Journal
        from delta_arb.live.runner import Runner

        self.us: dict[str, list[float]] = {"quote to orders handed over": [], "journal": [], "build and sign both": []}
        self._of = {}
        for owner, name, part in (
            (Journal, "event", "journal"),
            (Executor, "place", "build and sign both"),
            (Runner, "quote", "quote to orders handed over"),
        ):
            self._wrap(owner, name, part)

    def _wrap(self, owner: type, name: str, part: str) -> None:
        inner = getattr(owner, name)

        def timed(*args, **kwargs):
            began = time.perf_counter_ns()
            try:
                return inner(*args, **kwargs)
            finally:
                self._of[part] = (time.perf_counter_ns() - began) / 1e3
                if part.startswith("quote"):
                    if "build and sign both" in self._of:
                        for key, us in self._of.items():
                            self.us[key].append(us)
                    self._of.clear()

        setattr(owner, name, timed)

    def table(self) -> dict:
        return {
            p: {"p50_us": float(np.percentile(us, 50)), "p99_us": float(np.percentile(us, 99))}
            for p, us in self.us.items()
            if us
        }


async def runner(folder: str, line: str) -> None:
    from delta_arb import params
    from delta_arb.live import config as configuration
    from delta_arb.live import supervisor
    from delta_arb.live.config import Config
    from delta_arb.live.messages import Console

    _pin(-1)
    logging.basicConfig(level=logging.WARNING)
    sample = configuration.sample().model_dump()
    config = Config.model_validate(
        sample | {"guards": sample["guards"] | {"max_orders_minute": 10**6}, "on_stop": "keep"}
    )
    spot, perp = config.terms()
    now = datetime.now(UTC)
    rule = params.Rule(entry_bps=15.0, exit_bps=-12.0, max_hold_s=600.0, clip_usdt=50.0, rearm_bps=0.0)
    data = params.DataParams(
        synthetic=True, start=now, end=now, judged_from=None, events=1, spot_sha256="0" * 64, perp_sha256="0" * 64, funding_sha256=None,
        spot_kind="updates", perp_kind="updates",
    )  # fmt: skip
    exported = params.sealed(
        pair="SYN_USDT", trade=True, reason="a benchmark", rule=rule, spot=spot, perp=perp, data=data,
        evidence=params.Evidence(), created=now, valid_until=now + timedelta(hours=1), code_version="bench",
        notebook="none", run_id="bench",
    )  # fmt: skip
    path = params.publish(exported, Path(folder))
    parts = Parts()
    with open(Path(folder) / "said", "w", encoding="utf-8") as said, contextlib.redirect_stderr(said):  # noqa: ASYNC230 - once, before the clock runs
        job = supervisor.LiveJob(
            config, supervisor.SANDBOX, Path(folder), path, None, json.loads(line)["runner"], Console("bench", True)
        )
        try:
            await supervisor.Supervisor(job).run()
        finally:
            (Path(folder) / "parts.json").write_text(json.dumps(parts.table()))


# --- the least that any program needs -----------------------------------------------------------------------------------


class Kept(asyncio.Protocol):
    """A connection that is kept; answers are read and thrown away."""

    def connection_made(self, transport) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(6, 1, 1)  # TCP_NODELAY


class Raw(asyncio.Protocol):
    """Reads Gate's book ticker and answers each tick with both orders: opened or closed, in turn."""

    def __init__(self, host: str, port: int, mexc: Kept, gate: Kept) -> None:
        self.host, self.port, self.mexc, self.gate = host, port, mexc, gate
        self.number, self.open, self.buffer, self.shaken = 0, False, b"", False
        at = f"Host: {host}:{port}\r\n".encode()
        self.mexc_head = b"POST /api/v3/order?"
        self.mexc_tail = (
            b" HTTP/1.1\r\n"
            + at
            + b"X-MEXC-APIKEY: mexc-key\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n"
        )
        self.gate_head = (
            b"POST "
            + GATE_PATH.encode()
            + b" HTTP/1.1\r\n"
            + at
            + b"KEY: gate-key\r\nContent-Type: application/json\r\n"
        )

    def connection_made(self, transport) -> None:
        self.transport = transport
        key = "dGhlIHNhbXBsZSBub25jZQ=="
        transport.write(
            f"GET /v4/ws/futures/usdt HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        if not self.shaken:
            self.shaken = True
            self.transport.write(
                masked(
                    json.dumps(
                        {
                            "time": int(time.time()),
                            "channel": "futures.book_ticker",
                            "event": "subscribe",
                            "payload": ["SYN_USDT"],
                        }
                    )
                )
            )
            return
        at = data.rfind(b'"b":"')
        if at < 0 or b'"event":"update"' not in data.replace(b" ", b""):
            return
        bid = float(data[at + 5 : data.index(b'"', at + 5)])
        opens = bid > 0.801
        if opens == self.open or 0.7999 < bid < 0.801:
            return
        self.open = opens
        self.number += 1
        self.mexc.transport.write(self.mexc_order(opens))
        self.gate.transport.write(self.gate_order(opens))

    def mexc_order(self, opens: bool) -> bytes:
        side, price = ("BUY", "0.8042") if opens else ("SELL", "0.7960")
        query = (
            f"symbol=SYNUSDT&side={side}&type=IMMEDIATE_OR_CANCEL&quantity=60&price={price}&newClientOrderId=raw-{self.number}"
            f"&timestamp={time.time_ns() // 1_000_000}&recvWindow=5000"
        ).encode()
        sign = hmac.digest(b"mexc-secret", query, "sha256").hex()
        return self.mexc_head + query + b"&signature=" + sign.encode() + self.mexc_tail

    def gate_order(self, opens: bool) -> bytes:
        size, price = (-6, "0.7979") if opens else (6, "0.8029")
        body = f'{{"contract":"SYN_USDT","size":{size},"price":"{price}","tif":"ioc","text":"t-raw-{self.number}"}}'.encode()
        now = str(int(time.time()))
        payload = f"POST\n{GATE_PATH}\n\n{hashlib.sha512(body).hexdigest()}\n{now}".encode()
        sign = hmac.digest(b"gate-secret", payload, "sha512").hex()
        return (
            self.gate_head + f"Timestamp: {now}\r\nSIGN: {sign}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )


def masked(text: str) -> bytes:
    """A text frame of a client; a mask of zeros is a mask."""
    data = text.encode()
    head = bytes((0x81, 0x80 | len(data))) if len(data) < 126 else bytes((0x81, 0xFE)) + len(data).to_bytes(2)
    return head + bytes(4) + data


async def raw(folder: str, line: str) -> None:
    from urllib.parse import urlsplit

    _pin(-1)
    config = json.loads(line)["raw"]
    mexc = urlsplit(config["mexc"]["urls"]["api"]["spot"]["public"])
    gate = urlsplit(config["gate"]["urls"]["api"]["public"]["futures"])
    loop = asyncio.get_running_loop()
    kept = [(await loop.create_connection(Kept, venue.hostname, venue.port))[1] for venue in (mexc, gate)]
    await loop.create_connection(lambda: Raw(gate.hostname, gate.port, *kept), gate.hostname, gate.port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    main()
