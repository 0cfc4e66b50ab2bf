"""The local venues under load: quotes a second to one plain websocket client, orders a second, memory.

    python tests/benchmarks/bench_sandbox.py            a minute or so
    python tests/benchmarks/bench_sandbox.py --long     5 million messages a venue, for the memory

Each client runs in a process of its own, as clients do. Streams are not aggregated and limits are lifted. Falling
behind shows in the age of the newest message when the client reads it (its stamps are in milliseconds), and in what
waits at the venue. The rate that ccxt itself reaches on the same stream stands beside.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from table import report

RATE = 20_000
SYMBOLS = {"mexc": "SYN/USDT", "gate": "SYN/USDT:USDT"}
GATE_PATH = "/api/v4/futures/usdt/orders"


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--long", action="store_true", help="5 million messages a venue")
    options.add_argument("--client", nargs=3, help=argparse.SUPPRESS)
    options = options.parse_args()
    if options.client:
        asyncio.run(globals()[f"{options.client[0]}_client"](*options.client[1:]))
        return
    seconds = 250 if options.long else 10
    rows = [asyncio.run(quotes(name, seconds)) for name in ("gate", "mexc")]
    goal = f"{RATE} messages a second without falling behind; memory flat"
    report("sandbox_quotes", rows, ("aiohttp", "ccxt", "protobuf"), goal=goal, seconds=seconds)
    rows = [asyncio.run(ccxt_rate(name)) for name in ("gate", "mexc")]
    report("sandbox_quotes_ccxt", rows, ("ccxt",), what="the same stream read by ccxt.pro, all messages parsed")
    rows = [asyncio.run(orders(connections)) for connections in (1, 4)]
    report("sandbox_orders", rows, ("aiohttp",), goal="500 orders a second", what="signed Gate orders, REST, filled")
    report("sandbox_start", [start_up()], (), goal="under 1 s", what="python -m delta_arb.sandbox to the first quote")


# The venue's side


def venues():
    from delta_arb.sandbox.venues import Venues, default_setup

    return Venues(default_setup(), aggregated=False)


def tape(name: str, rate: int, seconds: float):
    """Quotes of one leg at an even rate; sizes and prices vary, as conflation would hide nothing then."""
    from delta_arb.quotes.tape import Tape

    n = round(rate * seconds)
    ts = np.arange(n, dtype=np.int64) * (10**9 // rate)
    leg = np.full(n, 0 if name == "mexc" else 1, np.uint8)
    ticks, sizes = np.arange(n) % 50, (np.arange(n) % 70 + 1) * 10.0
    bid, ask = np.round(0.8 + ticks * 1e-4, 4), np.round(0.81 + ticks * 1e-4, 4)
    age = np.zeros(n, np.int64)
    return Tape.wide(ts, leg, bid, ask, sizes, sizes, bid, ask, sizes, sizes, age, age)


def rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


async def quotes(name: str, seconds: float) -> dict:
    """Play at RATE for so long; a pass of the tape is 5 s."""
    both = venues()
    both.play(tape(name, RATE, 5.0), speed=1.0, repeat=True)
    feed, both.feed = both.feed, None  # begin when the client listens
    api = getattr(both, name)
    async with both:
        client = await spawn("quotes", name, both.urls[name])
        await asyncio.wait_for(client.stdout.readline(), 20)
        play = asyncio.create_task(feed.run())
        worst, memory, began, cpu = 0, [], time.perf_counter(), time.process_time()
        while time.perf_counter() - began < seconds:
            await asyncio.sleep(0.25)
            worst = max(worst, api.hub.waiting)
            memory.append((feed.rows, rss_mb()))
        play.cancel()
        sent, took, cpu = feed.rows, time.perf_counter() - began, time.process_time() - cpu
        out, _ = await asyncio.wait_for(client.communicate(b"\n"), 20)
    got = json.loads(out)
    settled = memory[len(memory) // 5]
    grown = (memory[-1][1] - settled[1]) / (memory[-1][0] - settled[0]) * 1e6
    return {
        "venue": name, "sent": sent, "received": got["received"], "per_s": round(sent / took),
        "age_p50_ms": got["p50"], "age_p99_ms": got["p99"], "waiting_worst": worst,
        "venue_cpu_us": cpu / sent * 1e6, "mb_per_1e6": round(grown, 2),
    }  # fmt: skip


async def ccxt_rate(name: str) -> dict:
    """As fast as ccxt reads."""
    both = venues()
    both.play(tape(name, RATE, 2.0), speed=float("inf"), repeat=True)
    feed, both.feed = both.feed, None
    async with both:
        client = await spawn("ccxt", name, both.urls[name])
        await asyncio.wait_for(client.stdout.readline(), 20)
        play = asyncio.create_task(feed.run())
        out, _ = await asyncio.wait_for(client.communicate(b"\n"), 60)
        play.cancel()
    return {"venue": name, **json.loads(out)}


async def orders(connections: int) -> dict:
    """Signed orders over REST, one after another on each connection; the book is filled up beside."""
    both = venues()
    both.quote("0.8", 10**9, "0.8002", 10**9)
    async with both:
        client = await spawn("orders", str(connections), both.urls["gate"])
        out, errors = await asyncio.wait_for(client.communicate(), 60)
        got = json.loads(out or f'{{"error": {errors.decode()!r}}}')
        assert got["placed"] == len(both.perp.orders) == len(both.perp.trades), got
    return {"connections": connections, **got}


async def spawn(kind: str, *options: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--client", kind, *options, stdin=pipe, stdout=pipe, stderr=None
    )


def start_up() -> dict:
    """The command, until its first quote has been fetched; the best of three."""
    from urllib.request import urlopen

    best = 9.0
    for _ in range(3):
        began = time.perf_counter()
        command = [sys.executable, "-m", "delta_arb.sandbox", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            url = json.loads(process.stdout.readline())["urls"]["gate"]
            urlopen(f"{url}/api/v4/futures/usdt/order_book?contract=SYN_USDT").read()
            best = min(best, time.perf_counter() - began)
            process.terminate()
    return {"first_quote_s": best}


# The clients' side


async def quotes_client(name: str, url: str) -> None:
    """Reads everything, looks into every 50th message, answers with what it saw when told to stop."""
    import aiohttp

    paths = {"mexc": "/ws", "gate": "/v4/ws/futures/usdt"}
    channel = "spot@public.aggre.bookTicker.v3.api.pb@10ms@SYNUSDT"
    asked = {"mexc": {"method": "SUBSCRIPTION", "params": [channel]}}
    asked["gate"] = {"channel": "futures.book_ticker", "event": "subscribe", "payload": ["SYN_USDT"]}
    if name == "mexc":
        import ccxt.protobuf.mexc.PushDataV3ApiWrapper_pb2  # noqa: F401 - takes a second, which no message should wait for
    stop = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    received, ages = 0, []
    async with aiohttp.ClientSession() as session, session.ws_connect(url + paths[name], max_msg_size=0) as ws:
        await ws.send_json(asked[name])
        await ws.receive()
        print("ready", flush=True)
        while not (stop.done() and received):
            try:
                message = await ws.receive(timeout=0.5)
            except TimeoutError:
                break
            received += 1
            if received % 50 == 0:
                ages.append(time.time() * 1000 - stamp_ms(name, message.data))
    ages = np.sort(ages[len(ages) // 20 :])
    p50, p99 = (round(float(ages[int(share * (len(ages) - 1))]), 2) for share in (0.5, 0.99))
    print(json.dumps({"received": received, "p50": p50, "p99": p99}), flush=True)


def stamp_ms(name: str, data: str | bytes) -> int:
    if name == "gate":
        return json.loads(data)["time_ms"]
    from ccxt.protobuf.mexc.PushDataV3ApiWrapper_pb2 import PushDataV3ApiWrapper

    return PushDataV3ApiWrapper.FromString(data).sendTime


async def ccxt_client(name: str, url: str) -> None:
    """Counts what ccxt parses in five seconds."""
    import ccxt.pro

    from delta_arb.sandbox.venues import Venues

    both = Venues.quiet()
    config = getattr(both, name).config(url)
    exchange = getattr(ccxt.pro, name)(config | {"enableRateLimit": False, "timeout_on_exit": 0})
    await exchange.load_markets()
    parse = "parse_ticker" if name == "gate" else "parse_ws_ticker"
    counted, original = 0, getattr(exchange, parse)

    def count(*arguments):
        nonlocal counted
        counted += 1
        return original(*arguments)

    setattr(exchange, parse, count)
    watch = exchange.watch_bids_asks if name == "gate" else exchange.watch_ticker
    symbol = [SYMBOLS[name]] if name == "gate" else SYMBOLS[name]
    print("ready", flush=True)
    await watch(symbol)
    counted, began = 0, time.perf_counter()
    while time.perf_counter() - began < 5:
        await watch(symbol)
    seconds = time.perf_counter() - began
    print(json.dumps({"parsed": counted, "per_s": round(counted / seconds)}), flush=True)
    await exchange.close()


async def orders_client(connections: str, url: str) -> None:
    """2,000 signed orders of one contract, alternating sides."""
    import aiohttp

    total, n = 2000, int(connections)
    waits: list[float] = []

    async def lane(session: aiohttp.ClientSession, first: int) -> None:
        for k in range(first, total, n):
            body = json.dumps({"contract": "SYN_USDT", "size": 1 - 2 * (k % 2), "price": "0", "tif": "ioc"})
            began = time.perf_counter()
            async with session.post(f"{url}{GATE_PATH}", data=body, headers=signed(body)) as answer:
                assert answer.status == 201, await answer.text()
                await answer.read()
            waits.append(time.perf_counter() - began)

    async with aiohttp.ClientSession() as session:
        began = time.perf_counter()
        await asyncio.gather(*(lane(session, first) for first in range(n)))
        took = time.perf_counter() - began
    waits.sort()
    row = {"placed": len(waits), "per_s": round(total / took), "p50_ms": waits[total // 2] * 1000}
    print(json.dumps(row | {"p99_ms": waits[int(total * 0.99)] * 1000}), flush=True)


def signed(body: str) -> dict[str, str]:
    now = str(int(time.time()))
    payload = "\n".join(("POST", GATE_PATH, "", hashlib.sha512(body.encode()).hexdigest(), now))
    sign = hmac.new(b"gate-secret", payload.encode(), hashlib.sha512).hexdigest()
    return {"KEY": "gate-key", "Timestamp": now, "SIGN": sign, "Content-Type": "application/json"}


if __name__ == "__main__":
    main()
