"""The recorder: bytes a quote on the sample, and 200 pairs at 20 quotes a second beside a bare reader of the same sockets.

    python tests/benchmarks/bench_record.py                      three minutes
    python tests/benchmarks/bench_record.py --seconds 625        five million rows of both legs
    python tests/benchmarks/bench_record.py --levels             with five levels as often as quotes

Sizes: the sample's rows with their own stamps, flushed each second as live, then compacted to a day's file; beside them what
plain Parquet of floats takes (zstd, pyarrow's defaults). Speed: the recorder as a user starts it, REST of the local venues, and
sockets that push as many quotes as are asked for to the recorder and to `bare`, which subscribes alike and only counts. CPU and
memory are those of the process while it records, without its start; compaction has a process of its own.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import aiohttp.web
import pyarrow as pa
import pyarrow.parquet as pq
from ccxt.protobuf.mexc.PushDataV3ApiWrapper_pb2 import PushDataV3ApiWrapper
from table import report

from delta_arb.collect.public_feeds import GateFeed, MexcFeed, groups
from delta_arb.collect.record_session import RecordSession
from delta_arb.collect.recording_files import RecordingWriter, compact_days, compact_stream
from delta_arb.market import NS
from delta_arb.places import sample
from delta_arb.quotes.files import LegFile, rows_of
from delta_arb.quotes.stream_file import LEVELS, QUOTES, STREAM
from delta_arb.record import main as record_command

PAIR = "SYN_USDT"
MOST_BYTES = 12.0
ROWS = 20_000  # of the sample, which has about one a second


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--pairs", type=int, default=200)
    options.add_argument("--rate", type=float, default=20.0, help="quotes a second of each pair and leg")
    options.add_argument("--seconds", type=float, default=120.0, help="measured, after 10 s; 625 for five million rows")
    options.add_argument("--levels", action="store_true", help="five levels as often beside each quote")
    options.add_argument("--sizes", action="store_true", help="only bytes a quote")
    options.add_argument("--bare", help=argparse.SUPPRESS)
    options.add_argument("--push", type=float, help=argparse.SUPPRESS)
    options.add_argument("--record", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = options.parse_args()
    if options.record:
        record(options.record)
    elif options.push:
        asyncio.run(push(options.push))
    elif options.bare:
        asyncio.run(bare(json.loads(options.bare)))
    else:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # a compaction may outlive the recorder
            measure(Path(folder), options)


def measure(folder: Path, options: argparse.Namespace) -> None:
    sizes = [sized(leg, folder / leg) for leg in ("spot", "perp")]
    report("record_size", sizes, ("pyarrow",), goal=f"at most {MOST_BYTES:g} bytes a quote, compacted")
    worst = max(row["compacted"] for row in sizes)
    print(f"bytes a quote: {worst:.2f}, goal {MOST_BYTES:g} {'reached' if worst <= MOST_BYTES else 'NOT REACHED'}")
    if not options.sizes:
        goal = "200 pairs x 20 quotes a second on 2 cores, memory flat, the loop never late by 20 ms"
        rows = steady(folder, options)
        report(
            "record_speed",
            rows,
            ("aiohttp", "pyarrow"),
            goal=goal,
            pairs=options.pairs,
            rate=options.rate,
            load=os.getloadavg(),
        )


def sized(leg: str, market: Path) -> dict:
    rows = rows_of(LegFile(sample() / f"{leg}.parquet", "updates")).take(slice(0, ROWS))
    into = RecordingWriter(market, QUOTES, (PAIR,), [(4, 0, 4, 0)])
    (market / PAIR / "quotes").mkdir(parents=True)
    columns = [
        [f"{value:.10g}" if value == value else "" for value in column]
        for column in (rows.bid, rows.bid_qty, rows.ask, rows.ask_qty)
    ]
    second = 0
    for k, (at_ns, *numbers) in enumerate(zip(rows.ts_ns.tolist(), *columns, strict=True)):
        if at_ns // NS != second:
            into.flush()
            second = at_ns // NS
        into.add((0, at_ns, at_ns // 1_000_000 * 1_000_000 - 20_000_000, k, *numbers))
    into.close()
    streams = sorted((market / "streams" / "quotes").glob(f"*{STREAM}"))
    grown = sum(path.stat().st_size for path in streams)
    for stream in streams:
        compact_stream(stream, market)
    compact_days(market / PAIR / "quotes", 2**62)
    compacted = sum(path.stat().st_size for path in (market / PAIR / "quotes").glob("*.parquet"))
    arrays = [pa.array(column) for column in (rows.ts_ns, rows.ts_ns - 20_000_000)]
    arrays += [pa.array(column) for column in (range(len(rows)), rows.bid, rows.bid_qty, rows.ask, rows.ask_qty)]
    pq.write_table(pa.table(arrays, names=list(QUOTES.columns)), market / "plain.parquet", compression="zstd")
    each = {"stream": grown, "compacted": compacted, "plain": (market / "plain.parquet").stat().st_size}
    return {"leg": leg, "quotes": len(rows)} | {name: size / len(rows) for name, size in each.items()}


def steady(folder: Path, options: argparse.Namespace) -> list[dict]:
    """Recorder and bare reader on the same sockets at the same time, each quote sent to both."""
    sandbox = [
        sys.executable,
        "-m",
        "delta_arb.sandbox",
        "--json",
        "--config",
        os.devnull,
        "--listings",
        str(options.pairs),
    ]
    with started(sandbox) as venues, started([sys.executable, __file__, "--push", str(options.rate)]) as pusher:
        ccxt, sockets = json.loads(venues.stdout.readline())["ccxt"], json.loads(pusher.stdout.readline())
        ccxt["mexc"]["urls"]["api"]["ws"]["spot"], ccxt["gate"]["urls"]["api"]["swap"]["usdt"] = sockets.values()
        (folder / "venues.toml").write_text(_toml(ccxt))
        asked = ["--config", str(folder / "venues.toml"), "--all", "--status-s", "5", "--no-trades"]
        asked += ["--out", str(folder / "data")] + ["--no-levels"] * (not options.levels)
        with started([sys.executable, __file__, "--record", *asked], stderr=subprocess.PIPE) as recorder:
            lines = _lines(recorder)
            pairs = sorted(path.name for path in (folder / "data/gate/perp").glob("*_USDT"))
            told = json.dumps({"pairs": pairs, "levels": options.levels, **sockets})
            with started([sys.executable, __file__, "--bare", told]) as reader:
                time.sleep(10)  # both have dialled, and compiled what they compile
                first = [_state(process) for process in (recorder, reader)]
                lines.clear()
                time.sleep(options.seconds)
                last = [_state(process) for process in (recorder, reader)]
                seen = list(lines)
                reader.terminate()
                counted = [json.loads(line) for line in reader.stdout.read().splitlines()]
                recorder.terminate()
                late = [json.loads(line) for line in recorder.stdout if line.startswith("{")][-len(seen) :], counted
    rows = [int(re.search(r"(\d+) rows,", line)[1]) for line in seen]
    counts = rows[-1] - rows[0], counted[-1]["rows"] - counted[0]["rows"]
    spans = 5.0 * (len(rows) - 1), counted[-1]["at_s"] - counted[0]["at_s"]
    return [
        {
            "client": name,
            "quotes_a_second": count / span,
            "cpu_us_a_quote": 1e6 * (after[1] - before[1]) / (after[0] - before[0]) / (count / span),
            "memory_mb_before": before[2],
            "memory_mb_after": after[2],
            **{kind: sorted(each[kind] for each in lines)[len(lines) // 2] for kind in ("late_p99", "own_p99")},
            **{kind: max(each[kind] for each in lines) for kind in ("late_worst", "own_worst")},
            "rows": count,
        }
        for name, count, span, before, after, lines in zip(
            ("recorder", "bare"), counts, spans, first, last, late, strict=True
        )
    ]


def _state(process: subprocess.Popen) -> tuple[float, float, float]:
    """Now, CPU seconds of the process without its children, resident MB."""
    text = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    ticks = (int(text[11]) + int(text[12])) / os.sysconf("SC_CLK_TCK")
    return time.monotonic(), ticks, int(text[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _lines(recorder: subprocess.Popen) -> list[str]:
    """Its status lines as they come, from the first one on, which is waited for."""
    found: list[str] = []

    def read() -> None:
        for line in recorder.stderr:
            if " rows/s, " in line:
                found.append(line)
            else:
                print(line, end="", file=sys.stderr)

    threading.Thread(target=read, daemon=True).start()
    while not found and recorder.poll() is None:
        time.sleep(0.1)
    return found


@contextlib.contextmanager
def started(command: list[str], **more) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, **more)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:  # of its last compaction
            process.kill()
            process.wait()


# --- what pushes, and the least that any reader does ------------------------------------------------------------------

TICK_S = 0.05


async def push(rate: float) -> None:
    """Sockets of both venues: each market that a client subscribes to quotes `rate` times a second, evenly."""
    app = aiohttp.web.Application()
    app.add_routes(
        [
            aiohttp.web.get(f"/{venue}", lambda request, of=of: _pushed(request, of, rate))
            for venue, of in FRAMES.items()
        ]
    )
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    print(json.dumps({venue: f"ws://127.0.0.1:{port}/{venue}" for venue in FRAMES}), flush=True)
    await asyncio.Event().wait()


def mexc_frame(symbol: str, kind: str, k: int) -> bytes:
    frame = PushDataV3ApiWrapper(symbol=symbol, sendTime=time.time_ns() // 1_000_000)
    if kind == "levels":
        for level in range(5):
            frame.publicLimitDepths.bids.add(price=f"0.80{50 - level}", quantity=str(100 + (k + level) % 90))
            frame.publicLimitDepths.asks.add(price=f"0.80{60 + level}", quantity=str(100 + (k + level) % 70))
        return frame.SerializeToString()
    quote = frame.publicAggreBookTicker
    quote.bidPrice, quote.bidQuantity = f"0.80{10 + k % 40}", str(100 + k % 90)
    quote.askPrice, quote.askQuantity = f"0.80{60 + k % 30}", str(100 + k % 70)
    return frame.SerializeToString()


def gate_frame(symbol: str, kind: str, k: int) -> str:
    now_ms = time.time_ns() // 1_000_000
    head = {
        "time": now_ms // 1000,
        "time_ms": now_ms,
        "channel": f"futures.{'order_book' if kind == 'levels' else 'book_ticker'}",
    }
    if kind == "levels":
        sides = {"bids": range(50, 45, -1), "asks": range(60, 65)}
        levels = {
            side: [{"p": f"0.80{at}", "s": str(100 + (k + at) % 90)} for at in prices] for side, prices in sides.items()
        }
        return json.dumps(head | {"event": "all", "result": {"t": now_ms, "id": k, "contract": symbol} | levels})
    quote = {"b": f"0.80{10 + k % 40}", "B": str(100 + k % 90), "a": f"0.80{60 + k % 30}", "A": str(100 + k % 70)}
    return json.dumps(head | {"event": "update", "result": {"t": now_ms, "u": k, "s": symbol} | quote})


FRAMES = {"mexc": mexc_frame, "gate": gate_frame}


async def _pushed(request: aiohttp.web.Request, frame, rate: float) -> aiohttp.web.WebSocketResponse:
    socket = aiohttp.web.WebSocketResponse()
    await socket.prepare(request)
    wanted: list[tuple[str, str]] = []
    pushing = asyncio.create_task(_ticking(socket, wanted, frame, rate))
    async for message in socket:
        said = json.loads(message.data)
        if said.get("method") == "PING":
            await socket.send_str('{"id":0,"code":0,"msg":"PONG"}')
        elif said.get("channel") == "futures.ping":
            await socket.send_str('{"channel":"futures.pong","event":"","result":null}')
        wanted += _asked(said)
    pushing.cancel()
    return socket


def _asked(said: dict) -> list[tuple[str, str]]:
    """Markets with what is wanted of them."""
    if said.get("event") == "subscribe":
        levels = said["channel"] == "futures.order_book"
        return [
            (name, "levels" if levels else "quotes") for name in (said["payload"][:1] if levels else said["payload"])
        ]
    names = [name.split("@") for name in said.get("params", ())]
    return [(name[2], "levels") if "limit" in name[1] else (name[3], "quotes") for name in names]


async def _ticking(socket, wanted: list[tuple[str, str]], frame, rate: float) -> None:
    """A share of the markets at each tick, in turn."""
    k, due = 0, 0.0
    while not socket.closed:
        begin_s = time.monotonic()
        due += len(wanted) * rate * TICK_S
        while due >= 1.0 and wanted:
            made = frame(*wanted[k % len(wanted)], k)
            await (socket.send_bytes(made) if isinstance(made, bytes) else socket.send_str(made))
            k, due = k + 1, due - 1.0
        await asyncio.sleep(max(0.0, TICK_S - (time.monotonic() - begin_s)))


async def bare(asked: dict) -> None:
    """Frames counted and thrown away, by as many sockets with the same subscriptions as the recorder has."""
    beside = [LEVELS.name] * asked["levels"]
    counts, jobs = [0], []
    async with aiohttp.ClientSession() as session:
        for feed in (MexcFeed(), GateFeed()):
            ids = [pair.replace("_", "") if feed.venue == "mexc" else pair for pair in asked["pairs"]]
            parts = groups(ids, feed.streams_a_socket // (1 + len(beside)))
            jobs += [_counted(session, asked[feed.venue], feed.hello(part, beside), counts) for part in parts]
        await asyncio.gather(*jobs, _said(counts))


async def _counted(session: aiohttp.ClientSession, url: str, hello: list[str], counts: list[int]) -> None:
    async with session.ws_connect(url) as socket:
        for message in hello:
            await socket.send_str(message)
        async for _ in socket:
            counts[0] += 1


def record(asked: list[str]) -> None:
    """The recorder as a user starts it, with a clock on its loop, and without the settled funding at its end."""
    work = RecordSession._work
    RecordSession._work = lambda session: (*work(session), _said([0]))
    RecordSession.settle = lambda *_: None
    raise SystemExit(record_command(asked))


async def _said(counts: list[int]) -> None:
    """Every five seconds how late a sleep of 5 ms was, ms: by the clock, and of that at most what this process computed."""
    while True:
        late, own, end_s = [], [], time.monotonic() + 5.0
        while time.monotonic() < end_s:
            before = time.monotonic(), time.process_time()
            await asyncio.sleep(0.005)
            late.append(1000 * (time.monotonic() - before[0] - 0.005))
            own.append(min(late[-1], 1000 * (time.process_time() - before[1])))
        told = {f"{name}_p99": sorted(ms)[len(ms) * 99 // 100] for name, ms in (("late", late), ("own", own))}
        told |= {"late_worst": max(late), "own_worst": max(own), "rows": counts[0], "at_s": time.monotonic()}
        print(json.dumps(told), flush=True)


def _toml(ccxt: dict) -> str:
    lines = [f'pair = "{PAIR}"']
    for leg, name in (("spot", "mexc"), ("perp", "gate")):
        lines += [f"[{leg}]", f'venue = "{name}"', "taker_fee_bps = 5.0", "latency_s = 0.1"]
        lines += ["contract_size = 10.0"] if leg == "perp" else []
        lines += [f"[{leg}.ccxt]"]
        lines += [f"{key} = {_inline(value)}" for key, value in ccxt[name].items() if key not in ("apiKey", "secret")]
    return "\n".join(lines)


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_inline(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)


if __name__ == "__main__":
    main()
