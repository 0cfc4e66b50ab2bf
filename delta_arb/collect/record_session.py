"""`delta-arb record` at work: both venues recorded until a signal or the time is up, files compacted meanwhile."""

import asyncio
import contextlib
import gc
import json
import logging
import shutil
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from delta_arb.collect.aside import aside, here
from delta_arb.collect.history import PERP, SPOT
from delta_arb.collect.options import LOCAL_VENUES, RecordOptions
from delta_arb.collect.public_feeds import BESIDE, FEEDS, PublicFeed
from delta_arb.collect.recorder import VenueRecorder, looked_after
from delta_arb.collect.recording_files import size, streams_of
from delta_arb.errors import ParamsError, RunError
from delta_arb.interrupt import heeded
from delta_arb.live import clock, local_venues
from delta_arb.live import config as configuration
from delta_arb.live.venues.websocket import Pace
from delta_arb.places import locked

log = logging.getLogger(__name__)
FLUSH_S = 0.25
COMPACT_S = 20.0
FUNDING_S = 3600.0
BEFORE_MS = 86_400_000  # rates from before the start, since the first quotes are settled by the interval they are in


def run(options: RecordOptions) -> int:
    """The exit code: 0 once it was told to stop, or the time is up."""
    options = options.checked()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(message)s")
    with contextlib.ExitStack() as held:
        if options.sandbox:
            held.enter_context(local_venues.ending(options.out / LOCAL_VENUES))
        spot, perp, ccxt, pairs, pace = _asked(options)
        feeds = _feed(spot, SPOT), _feed(perp, PERP)
        for name, market in ((spot, SPOT), (perp, PERP)):
            held.enter_context(locked(options.out / name / market, f"{name} {market}", "--out"))
        try:
            return asyncio.run(_record(options, feeds, ccxt, pairs, pace))
        except OSError as error:
            raise RunError(f"the recording ended: {error}; make room, or give another --out") from error


def _asked(options: RecordOptions) -> tuple[str, str, dict, Sequence[str], Pace]:
    """Names of both venues, what ccxt's constructors are handed, the pairs (none: all in common), the pace."""
    if options.sandbox:
        started, _ = local_venues.start(options.out / LOCAL_VENUES, ["--repeat", "--speed", f"{options.speed:g}"])
        return "mexc", "gate", started.ccxt, options.pair or ["SYN_USDT"], Pace()
    if options.config:
        told = configuration.read(options.config)
        ccxt = {leg.venue: leg.ccxt for leg in (told.spot, told.perp)}
        pairs = options.pair or ([] if options.all else [told.pair])
        return told.spot.venue, told.perp.venue, ccxt, pairs, Pace(**told.pace)
    return options.spot, options.perp, {}, options.pair, Pace()


def _feed(venue: str, market: str) -> PublicFeed:
    if (venue, market) not in FEEDS:
        known = ", ".join(f"{name} {kind}" for name, kind in FEEDS)
        raise ParamsError(f"no recorder for {venue} {market}; there is {known}")
    return FEEDS[venue, market]()


async def _record(options: RecordOptions, feeds: Sequence[PublicFeed], ccxt: dict, pairs: Sequence[str], pace: Pace):
    """Open both venues, record, and leave finished files behind, however it ends."""
    clock.take_over()
    beside = [
        name for name, left_out in zip(BESIDE, (options.no_trades, options.no_levels), strict=True) if not left_out
    ]
    both = [VenueRecorder(feed, ccxt.get(feed.venue, {}), options.out, pace, beside) for feed in feeds]
    try:
        listed = await asyncio.gather(*(recorder.listed() for recorder in both))
        chosen = list(pairs) or sorted(listed[0].keys() & listed[1].keys())
        for recorder in both:
            recorder.synthetic = options.sandbox
            recorder.prepare(chosen)
        session = RecordSession(options, both, chosen, ccxt)
        await session.run()
    finally:
        for recorder in both:
            recorder.close_files()
            await recorder.clients.close()
    session.tidy(here)
    session.settle(here)
    session.report()
    return 0


class RecordSession:
    """The tasks of a recording: sockets, flushes, samples, compaction, the status line."""

    def __init__(
        self, options: RecordOptions, recorders: Sequence[VenueRecorder], pairs: Sequence[str], ccxt: Mapping
    ) -> None:
        self._options, self._recorders, self._pairs, self._ccxt = options, recorders, pairs, ccxt
        self._since_ms = clock.now_ns() // 1_000_000 - BEFORE_MS
        self._began_s = self._told_s = time.monotonic()
        self._told_rows, self._blocked_s = 0, 0.0
        self._looked_at: set[Path] = set()  # folders, for what an earlier recorder left there
        self._damaged: set[Path] = set()  # streams, which stay
        self._told: set[str] = set()

    async def run(self) -> None:
        """Until a signal, or the time is up; an error of any task ends all."""
        gc.collect()
        gc.freeze()  # ccxt and its markets stay: looking through them again takes 30 ms of the loop
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in heeded((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
            loop.add_signal_handler(number, stop.set)
        tasks = [asyncio.create_task(work) for work in self._work()]
        waiting = asyncio.create_task(stop.wait())
        try:
            left_s = self._options.for_s or None
            done, _ = await asyncio.wait({waiting, *tasks}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {waiting}:
                task.result()
        finally:
            for task in (waiting, *tasks):
                task.cancel()
            await asyncio.gather(waiting, *tasks, return_exceptions=True)

    def _work(self) -> Iterator[Coroutine]:
        yield from (socket.stream.run() for recorder in self._recorders for socket in recorder.sockets)
        yield self._flush()
        yield looked_after(self._recorders, self._options.sample_s)
        yield self._compact()
        yield self._settle()
        yield self._tell()

    async def _flush(self) -> None:
        while True:
            before_s = time.monotonic()
            await asyncio.sleep(FLUSH_S)
            self._blocked_s = max(self._blocked_s, time.monotonic() - before_s - FLUSH_S)
            for recorder in self._recorders:
                await recorder.flush()

    async def _compact(self) -> None:
        while True:
            await asyncio.to_thread(self.tidy)
            await asyncio.sleep(COMPACT_S)

    def tidy(self, by: Callable = aside) -> None:
        """Have compacted what is finished, and room made; a damaged file is told once, and stays. Called from a thread."""
        kept = {"keep_days": self._options.keep_days, "keep_gb": self._options.keep_gb}
        for recorder in self._recorders:
            found = streams_of(recorder.folder)
            growing = [writer.growing for writer in recorder.writers.values()]  # after the look: a new one is in it
            finished = [path for path in found if path not in growing and path not in self._damaged]
            due = finished or recorder.folder not in self._looked_at
            if due and self._done(recorder, by, "tidy", market=recorder.folder, streams=finished, **kept):
                self._looked_at.add(recorder.folder)
                self._damaged |= {path for path in finished if path.exists()}

    async def _settle(self) -> None:
        while True:
            await asyncio.sleep(FUNDING_S)
            await asyncio.to_thread(self.settle)

    def settle(self, by: Callable = aside) -> None:
        """Have completed the settled funding of the recorded time; what fails is asked again later."""
        for recorder in self._recorders:
            if (venue := recorder.feed).market == PERP:
                about = {"ccxt": self._ccxt.get(venue.venue, {}), "synthetic": self._options.sandbox}
                about |= {"pairs": self._pairs, "since_ms": self._since_ms, "out": self._options.out}
                self._done(recorder, by, "settle", venue=venue.venue, **about)

    def _done(self, recorder: VenueRecorder, by: Callable, work: str, **told: Any) -> bool:
        """Whether it came to its end; what there is to tell of it is told."""
        try:
            found, done = by(work, **told), True
        except RunError as error:
            found, done = [("undone", str(error))], False
        for kind, what in found:
            if kind == "deleted":
                recorder.events.say(kind, file=what)
            elif kind != "damaged" or what not in self._told:
                log.warning("%s", what)
                recorder.events.say(kind, why=what)
                self._told.add(what)
        return done

    # Status

    @property
    def rows(self) -> int:
        return sum(writer.rows for recorder in self._recorders for writer in recorder.writers.values())

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(self._options.status_s)
            print(self.status(), file=sys.stderr, flush=True)

    def status(self) -> str:
        """Rates, lag, troubles and disk since the last one, in a line."""
        now_s, rows = time.monotonic(), self.rows
        rate = (rows - self._told_rows) / max(now_s - self._told_s, 1e-9)
        late = np.concatenate([np.array(recorder.late_ns) for recorder in self._recorders])
        for recorder in self._recorders:
            del recorder.late_ns[:]
        self._told_s, self._told_rows = now_s, rows
        sockets = [socket.stream for recorder in self._recorders for socket in recorder.sockets]
        blocked_ms, self._blocked_s = 1000 * self._blocked_s, 0.0
        lag = f"{np.median(late) / 1e6:.0f} ms, worst {late.max() / 1e6:.0f}" if len(late) else "no quotes"
        free = shutil.disk_usage(self._options.out).free / 1e9
        events = ", ".join(
            f"{n} {kind}" for kind, n in sorted(self._counts().items()) if kind not in ("start", "clock")
        )
        return (
            f"{rate:.0f} rows/s, {rows} rows, lag {lag}, {sum(s.alive for s in sockets)}/{len(sockets)} sockets, "
            f"loop late {blocked_ms:.0f} ms, disk {free:.1f} GB free" + (f"; {events}" if events else "")
        )

    def _counts(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for recorder in self._recorders:
            for kind, count in recorder.events.counts.items():
                found[kind] = found.get(kind, 0) + count
        return found

    def report(self) -> None:
        """What was recorded, at the end."""
        on_disk = sum(size(recorder.folder) for recorder in self._recorders)
        seconds = time.monotonic() - self._began_s
        print(f"{self.rows} rows in {seconds:.0f} s; recordings in {self._options.out} take {on_disk / 1e6:.1f} MB")
        if self._options.json:
            line = {"status": "ok", "rows": self.rows, "seconds": round(seconds, 1), "bytes": on_disk}
            print(json.dumps(line | {"events": self._counts(), "folder": str(self._options.out)}))
