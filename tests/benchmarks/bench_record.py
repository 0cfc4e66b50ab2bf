"""The recorder: bytes a quote on the sample, and quotes a second beside a bare reader of the same sockets in the same run.

    python tests/benchmarks/bench_record.py            half a minute
    python tests/benchmarks/bench_record.py --quick    a third of it

Sizes: the sample's rows with their own stamps, flushed each second as live, then compacted to a day's file; beside them what
plain Parquet of floats takes (zstd, pyarrow's defaults). Speed: local venues that play the sample as fast as the slowest
client reads, the recorder as it is started by a user, and `bare`, which subscribes alike and only counts frames.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pyarrow as pa
import pyarrow.parquet as pq
from table import report

from delta_arb.collect.compact import compact_days, compact_stream
from delta_arb.collect.recording_writer import RecordingWriter
from delta_arb.market import NS
from delta_arb.places import sample
from delta_arb.quotes.files import LegFile, rows_of
from delta_arb.quotes.stream_file import QUOTES, STREAM

PAIR = "SYN_USDT"
MOST_BYTES = 12.0
ROWS = 20_000  # of the sample, which has about one a second


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true", help="a third of the time")
    options.add_argument("--bare", help=argparse.SUPPRESS)
    options = options.parse_args()
    if options.bare:
        print(json.dumps(asyncio.run(bare(json.loads(options.bare)))))
        return
    with tempfile.TemporaryDirectory() as folder:
        sizes = [sized(leg, Path(folder) / leg) for leg in ("spot", "perp")]
        report("record_size", sizes, ("pyarrow",), goal=f"at most {MOST_BYTES:g} bytes a quote, compacted")
        rows = raced(Path(folder), 8 if options.quick else 24)
    report("record_speed", rows, ("aiohttp", "pyarrow"), what="venues play as fast as the slowest client reads")
    worst = max(row["compacted"] for row in sizes)
    print(f"bytes a quote: {worst:.2f}, goal {MOST_BYTES:g} {'reached' if worst <= MOST_BYTES else 'NOT REACHED'}")


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
        into.add(0, (at_ns, at_ns // 1_000_000 * 1_000_000 - 20_000_000, k), tuple(numbers))
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


def raced(folder: Path, seconds: float) -> list[dict]:
    """Recorder and bare reader at the same venues at the same time."""
    venues = subprocess.Popen(
        [sys.executable, "-m", "delta_arb.sandbox", "--json", "--config", os.devnull, "--speed", "max", "--repeat"],
        stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        ccxt = json.loads(venues.stdout.readline())["ccxt"]
        asked = {"seconds": seconds, "mexc": ccxt["mexc"]["urls"]["api"]["ws"]["spot"]}
        asked["gate"] = ccxt["gate"]["urls"]["api"]["swap"]["usdt"] if "swap" in ccxt["gate"]["urls"]["api"] else ""
        (folder / "venues.toml").write_text(_toml(ccxt))
        record = [sys.executable, "-m", "delta_arb.record", "--config", str(folder / "venues.toml"), "--json"]
        record += ["--out", str(folder / "data"), "--for", f"{seconds:g}s", "--no-trades", "--status-s", "4"]
        first = subprocess.Popen(record, stdout=subprocess.PIPE, text=True)
        second = subprocess.Popen(
            [sys.executable, __file__, "--bare", json.dumps(asked)], stdout=subprocess.PIPE, text=True
        )
        used = {}
        for name, process in (("recorder", first), ("bare", second)):
            line = process.stdout.read().splitlines()[-1]
            _, _, usage = os.wait4(process.pid, 0)
            used[name] = json.loads(line), usage
    finally:
        venues.terminate()
        venues.wait(10)
    return [_row(name, *each) for name, each in used.items()]


def _row(name: str, said: dict, usage: resource.struct_rusage) -> dict:
    cpu_s = usage.ru_utime + usage.ru_stime
    return {
        "client": name,
        "quotes": said["rows"],
        "a_second": said["rows"] / said["seconds"],
        "cpu_us_a_quote": 1e6 * cpu_s / said["rows"],
        "memory_mb": usage.ru_maxrss / 1024,
    }


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


async def bare(asked: dict) -> dict:
    """Frames of quotes, counted and thrown away."""
    name = f"spot@public.aggre.bookTicker.v3.api.pb@10ms@{PAIR.replace('_', '')}"
    hello = {
        "mexc": json.dumps({"method": "SUBSCRIPTION", "params": [name]}),
        "gate": json.dumps(
            {"time": round(datetime.now(UTC).timestamp()), "channel": "futures.book_ticker", "event": "subscribe",
             "payload": [PAIR]}
        ),
    }  # fmt: skip
    began_s = time.monotonic()
    async with aiohttp.ClientSession() as session:
        counts = await asyncio.gather(*(_counted(session, asked[v], hello[v], asked["seconds"]) for v in hello))
    return {"rows": sum(counts), "seconds": time.monotonic() - began_s}


async def _counted(session: aiohttp.ClientSession, url: str, hello: str, seconds: float) -> int:
    count = 0
    async with session.ws_connect(url, headers={"X-Gate-Size-Decimal": "1"}) as socket:
        await socket.send_str(hello)
        try:
            async with asyncio.timeout(seconds):
                async for _ in socket:
                    count += 1
        except TimeoutError:
            return count
    return count


if __name__ == "__main__":
    main()
