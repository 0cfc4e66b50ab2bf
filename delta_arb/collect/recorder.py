"""One venue recorded: its sockets, what they tell, and what is asked beside; every trouble is an event row.

data/gate/perp/LUNC_USDT/quotes|trades|funding_now/    see `quotes.recorded`
data/gate/perp/streams/                                what is growing
data/gate/perp/events/2026-01-31.jsonl                 gaps, redials, numbers that go back, the clock, changed rules
data/gate/perp/rules.json                              the venue's list of instruments, as it came
"""

import asyncio
import json
import logging
from array import array
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from delta_arb.collect.history import PERP
from delta_arb.collect.public_feeds import BESIDE, PublicFeed, Push, groups
from delta_arb.collect.recording_files import RecordingWriter
from delta_arb.errors import ParamsError
from delta_arb.live import clock
from delta_arb.live.venues.base import VenueError
from delta_arb.live.venues.book_feed import DEPTH, PublicQuote, PublicTrade
from delta_arb.live.venues.ccxt_client import CcxtClients, reading
from delta_arb.live.venues.websocket import Pace, Stream
from delta_arb.market import NS
from delta_arb.params import write_atomic
from delta_arb.quotes.recorded import MARK
from delta_arb.quotes.stream_file import FUNDING_NOW, LEVELS, QUOTES, TRADES, RecordedLayout

log = logging.getLogger(__name__)
AT_ONCE = 50  # messages of a socket before others have their turn: two milliseconds
UNHEARD = -1
SILENT_S = 60.0  # a socket without any quote for so long is dialled again
ABOUT = {
    "recv_ns": "our clock, ns UTC", "venue_ns": "the venue's stamp, ns UTC; 0 where it gave none",
    "id": "the venue's number; 0 where it gives none", "sizes": "the venue's unit: coins on spot, contracts of a perpetual",
    "side": "+1 where the buyer came", "numbers": "whole, times 10^-digits of the file's header; 0 for an empty side",
}  # fmt: skip


class EventRows:
    """What happened to a recording, a JSON line each, by day; on disk at once."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.counts = folder, {}

    def say(self, kind: str, **more: Any) -> None:
        now_ns = clock.now_ns()
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self._folder.mkdir(parents=True, exist_ok=True)
        day = datetime.fromtimestamp(now_ns // NS, UTC)
        with (self._folder / f"{day:%Y-%m-%d}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"ts_ns": now_ns, "event": kind} | more) + "\n")


class _Socket:
    """One socket with its pairs: hands on what it hears, and knows since when it heard nothing."""

    def __init__(self, of: "VenueRecorder", number: int, pairs: Sequence[str]) -> None:
        self._of, self.number, self._pairs = of, number, pairs
        self.last_ns, self._gap_from_ns = clock.now_ns(), 0
        ids = [of.ids[pair] for pair in pairs]
        self.stream = Stream(
            f"{of.feed.venue} recording {number}",
            of.clients.session,
            of.pace,
            url=self._url,
            hello=lambda: of.feed.hello(ids, of.beside),
            heard=self._heard,
            ping=of.feed.ping,
            again=self._again,
        )
        self.stream.at_once = AT_ONCE

    async def _url(self) -> str:
        return self._of.feed.url(self._of.clients)

    def _again(self) -> None:
        self._gap_from_ns = self._gap_from_ns or self.last_ns
        self._of.events.say("redial", socket=self.number, pairs=list(self._pairs), last_ns=self.last_ns)
        self._of.forget(self._pairs)
        self._resync = asyncio.create_task(self._of.resync(self.number, self._pairs))

    def _heard(self, message: str | bytes) -> bool:
        now_ns = clock.now_ns()
        proof, pushes = self._of.feed.read(message)
        if pushes:
            if self._gap_from_ns:
                self._of.events.say("gap", socket=self.number, start_ns=self._gap_from_ns, end_ns=now_ns)
                self._gap_from_ns = 0
            self.last_ns = now_ns
            self._of.add(pushes, now_ns)
        return proof

    def check(self) -> None:
        """A socket that answers pings and tells nothing is not believed."""
        if (quiet_s := (clock.now_ns() - self.last_ns) / NS) > SILENT_S and self.stream.alive:
            self._gap_from_ns = self._gap_from_ns or self.last_ns
            self.last_ns = clock.now_ns()
            self.stream.redial(f"no quote for {quiet_s:.0f} s")


class VenueRecorder:
    """All pairs at one venue.

    Args:
        config: ccxt's constructor configuration.
        out: folder of the recording.
        beside: what is recorded beside quotes.
    """

    def __init__(
        self, feed: PublicFeed, config: Mapping[str, Any], out: Path, pace: Pace, beside: Sequence[str] = BESIDE
    ) -> None:
        self.feed, self.pace, self.beside = feed, pace, beside
        self.synthetic = False  # set for the local venues
        self.folder = out / feed.venue / feed.market
        self.events = EventRows(self.folder / "events")
        self.clients = CcxtClients(feed.venue, feed.client, config, feed.defaults, pace)
        self.ids: dict[str, str] = {}
        self.writers: dict[str, RecordingWriter] = {}
        self.sockets: list[_Socket] = []
        self.late_ns = array("q")  # of the quotes since the last status line
        self._markets: dict[str, Any] = {}
        self._pairs: tuple[str, ...] = ()
        self._place: dict[str, int] = {}
        self._numbers: list[int] = []  # the last one of each pair's book; UNHEARD before the first
        self._strangers: set[str] = set()
        self._rules: dict[str, dict[str, Any]] = {}

    async def listed(self) -> dict[str, Any]:
        """The venue's active USDT markets by our name, as ccxt understands them; its list is kept as it came."""
        await self.clients.measure()
        markets = await self.clients.ask(self.clients.orders.load_markets, what="its markets")
        wanted = "swap" if self.feed.market == PERP else "spot"
        self._markets = {
            f"{m['base']}_USDT": m
            for m in markets.values()
            if m[wanted] and m["quote"] == "USDT" and m.get("settle") in (None, "USDT") and m["active"] is not False
        }
        return self._markets

    def prepare(self, pairs: Sequence[str]) -> None:
        """Make ready to record these.

        Raises:
            ParamsError: the venue does not list one of them.
        """
        if unknown := [pair for pair in pairs if pair not in self._markets]:
            raise ParamsError(
                f"{self.feed.venue} has no open {self.feed.market} market {unknown[0]}; it lists {len(self._markets)}"
            )
        self._pairs = tuple(pairs)
        self.ids = {pair: self._markets[pair]["id"] for pair in pairs}
        self._place = {self.ids[pair]: k for k, pair in enumerate(pairs)}
        self._numbers = [UNHEARD] * len(pairs)
        rows = [market["info"] for _, market in sorted(self._markets.items())]
        self._rules = self._rules_of(rows)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self.folder / RULES_FILE, json.dumps(rows))
        price, size = ([_digits(self._markets[p]["precision"][k]) for p in pairs] for k in ("price", "amount"))
        sides = {QUOTES: 2, TRADES: 1, LEVELS: 2 * DEPTH}  # prices, each with its size, in a row
        grids = {
            layout: [each * n for each in zip(price, size, strict=True)]
            for layout, n in sides.items()
            if layout is QUOTES or layout.name in self.beside
        }
        if self.feed.market == PERP:
            grids[FUNDING_NOW] = [(8, 8, p + 2, p + 2) for p in price]
        for layout, digits in grids.items():
            self.writers[layout.name] = RecordingWriter(self.folder, layout, pairs, digits)
            self._mark(layout)
        self._quotes = self.writers[QUOTES.name]
        a_socket = self.feed.streams_a_socket // (1 + len(self.beside))
        self.sockets = [_Socket(self, k, part) for k, part in enumerate(groups(self._pairs, a_socket))]
        self.events.say("start", pairs=list(pairs), offset_ns=self.clients.offset_ns)

    def _mark(self, layout: RecordedLayout) -> None:
        for pair in self._pairs:
            folder = self.folder / pair / layout.name
            folder.mkdir(parents=True, exist_ok=True)
            about = {"columns": layout.columns, "about": ABOUT, "synthetic": self.synthetic}
            write_atomic(folder / MARK, json.dumps(about, indent=1))

    def add(self, pushes: Sequence[Push], now_ns: int) -> None:
        """Quotes, levels and trades, as they were received."""
        for push in pushes:
            symbol, venue_ns, number, *rest = push
            if (at := self._place.get(symbol)) is None:
                self._foreign(symbol)
            elif type(push) is PublicQuote:
                if venue_ns:
                    self.late_ns.append(now_ns + self.clients.offset_ns - venue_ns)
                if number < self._numbers[at]:
                    self.events.say("sequence", pair=self._pairs[at], before=self._numbers[at], now=number)
                self._numbers[at] = number
                self._quotes.add((at, now_ns, venue_ns, number, *rest))
            elif type(push) is PublicTrade:
                self.writers[TRADES.name].add((at, now_ns, venue_ns, number, *rest))
            else:
                self.writers[LEVELS.name].add((at, now_ns, venue_ns, number, *push.levels))

    def _foreign(self, symbol: str) -> None:
        """Of a market that nobody asked for; told once."""
        if symbol not in self._strangers:
            self._strangers.add(symbol)
            self.events.say("foreign", symbol=symbol)

    def forget(self, pairs: Sequence[str]) -> None:
        """The venue's numbers of these may begin anew."""
        for pair in pairs:
            self._numbers[self._pairs.index(pair)] = UNHEARD

    async def resync(self, socket: int, pairs: Sequence[str]) -> None:
        """The best quotes after a redial by REST, where nothing has come since: a quiet book would be unknown until it moves."""
        try:
            books = await self.feed.books(self.clients, [self.ids[pair] for pair in pairs])
        except VenueError as error:
            self.events.say("unanswered", why=str(error))
            return
        asked = {self.ids[pair] for pair in pairs}
        fresh = [each for each in books if each.symbol in asked and self._numbers[self._place[each.symbol]] == UNHEARD]
        for push in fresh:
            self.add([push], clock.now_ns())
        self.events.say("resync", socket=socket, pairs=[self._pairs[self._place[each.symbol]] for each in fresh])

    async def flush(self) -> None:
        """Whatever waits, to the system; what is received has its turn between two datasets."""
        for writer in self.writers.values():
            writer.turn(clock.now_ns())
            while writer.refused:
                self.events.say("refused", why=writer.refused.pop())
            await asyncio.sleep(0)

    def close_files(self) -> None:
        for writer in self.writers.values():
            writer.close()

    async def sample(self) -> None:
        """Clock, funding as announced, mark and index, and the rules, once."""
        try:
            await self.clients.measure()
            self.events.say("clock", offset_ns=self.clients.offset_ns, stepped_ns=clock.stepped_ns())
            rows = await self.feed.rules(self.clients, list(self._place))
            if self.feed.market == PERP:
                self._sample_funding(rows)
            await self._compare_rules(rows)
        except VenueError as error:
            log.warning("%s", error)
            self.events.say("unanswered", why=str(error))

    def _sample_funding(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Funding as announced, mark and index, which stand among a perpetual's rules."""
        now_ns = clock.now_ns()
        with reading(f"{self.feed.venue}: its contracts"):
            for row in rows:
                if (at := self._place.get(row["name"])) is not None:
                    times = int(row["funding_next_apply"]) * NS, int(row["funding_interval"])
                    names = ("funding_rate", "funding_rate_indicative", "mark_price", "index_price")
                    numbers = tuple(str(row[name]) for name in names)
                    self.writers[FUNDING_NOW.name].add((at, now_ns, *times, *numbers))

    def _rules_of(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """What is a rule in the venue's rows, of the recorded pairs; prices and rates in the same rows are none."""
        places = ((row, self._place.get(_id(row))) for row in rows)
        return {
            self._pairs[at]: {name: row[name] for name in RULES if name in row} for row, at in places if at is not None
        }

    async def _compare_rules(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """An event for each recorded pair of which a rule has changed, or that is listed no more; the file follows."""
        before, self._rules = self._rules, self._rules_of(rows)
        for pair in self._pairs:
            was, now = before.get(pair, {}), self._rules.get(pair, {})
            if was and not now:
                self.events.say("delisted", pair=pair)
            elif changed := [name for name in {**was, **now} if was.get(name) != now.get(name)]:
                parts = ({name: each.get(name) for name in changed} for each in (was, now))
                self.events.say("rules", pair=pair, **dict(zip(("before", "now"), parts, strict=True)))
        if before != self._rules:
            await asyncio.to_thread(_replace_rules, self.folder / RULES_FILE, rows)


def _replace_rules(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """The list on disk with these rows in place of the former ones."""
    kept = {_id(row): row for row in json.loads(path.read_text("utf-8"))} | {_id(row): row for row in rows}
    write_atomic(path, json.dumps(list(kept.values())))


def _id(row: Mapping[str, Any]) -> str:
    """The venue's name of a market in one of its rows."""
    return row.get("name") or row.get("symbol") or ""


RULES_FILE = "rules.json"
RULES = (
    "name", "quanto_multiplier", "order_size_min", "order_size_max", "order_price_round", "enable_decimal", "leverage_max",
    "maintenance_rate", "funding_interval", "in_delisting", "status",
    "symbol", "baseAssetPrecision", "quoteAssetPrecision", "baseSizePrecision", "quoteAmountPrecision",
    "isSpotTradingAllowed",
)  # fmt: skip


def _digits(step: float | None) -> int:
    """Decimals of a grid, as ccxt tells its step; 0 where it tells none (a finer number begins a new file)."""
    exponent = Decimal(repr(step or 1.0)).normalize().as_tuple().exponent
    return max(0, -int(exponent))


async def looked_after(recorders: Sequence[VenueRecorder], every_s: float) -> None:
    """Sample what is asked beside, and doubt silent sockets, for ever."""
    while True:
        await asyncio.gather(*(recorder.sample() for recorder in recorders))
        for recorder in recorders:
            for socket in recorder.sockets:
                socket.check()
        await asyncio.sleep(every_s)
