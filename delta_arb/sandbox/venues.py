"""Both venues as one value, and the feed that plays a tape into them; what tests and `python -m delta_arb.sandbox` start.

async with Venues.quiet() as venues:                        # no tape: tests quote by hand
    venues.quote("0.8000", 50, "0.8002", 50)
    exchange = ccxt.pro.gate(venues.config()["gate"])

A feed puts each row of a tape into its own leg's engine and into no other, as the quote in force from then on, and each
recorded trade before the rows of its stamp; prices and sizes come out as on the tape. Funding is paid by what is held just
before the stamp, so at equal times it comes before the quotes. The venues' clocks show real time: tape time is mapped onto
it, `speed` recorded seconds to a second.
"""

import asyncio
import contextlib
import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache, partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from delta_arb.errors import ParamsError
from delta_arb.market import NS, SPOT, FundingPayment
from delta_arb.quotes.depth_and_trades import Trade, in_order, levels_behind
from delta_arb.quotes.tape import Tape
from delta_arb.sandbox import gate_rest, mexc_rest
from delta_arb.sandbox.book import Clock, round_to
from delta_arb.sandbox.candles import History, Made, SeededHistory
from delta_arb.sandbox.engine import Engine
from delta_arb.sandbox.faults import Fault, Faults
from delta_arb.sandbox.http import Server
from delta_arb.sandbox.network import Network
from delta_arb.sandbox.perpetual import PerpetualEngine
from delta_arb.sandbox.values import ZERO, FundingPaid, Listing, Settings, Upcoming, dec

SCANNED = 5_000  # rows looked at to find the decimals of prices and sizes
CHUNK = 20_000  # rows turned into Python numbers at a time
BATCH = 100  # rows between two looks at the clock at full speed
BACKLOG = 2_000  # pushes waiting for the slowest client, at which a feed at full speed pauses
CACHED = 1 << 14  # decimals remembered
SLACK_S = 0.001  # earlier than this is on time: asyncio's own grain

TRADE, ROW = range(2)
Row = tuple[int, int, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Setup:
    """What is listed and what the account holds; sizes in base units, money in USDT."""

    spot: Listing
    perp: Listing
    spot_usdt: Decimal = Decimal(10_000)
    spot_coins: Decimal = Decimal(0)
    perp_usdt: Decimal = Decimal(10_000)
    spot_settings: Settings = field(default_factory=lambda: replace(mexc_rest.SETTINGS, maker_fee=Decimal(0)))
    perp_settings: Settings = field(default_factory=Settings)
    past: SeededHistory | None = None  # made pairs beside the one that is quoted, and their past
    behind: tuple[Decimal, ...] = ()  # what stands behind the tape's best level, see `book.MarketData`

    @property
    def others(self) -> tuple[Made, ...]:
        return tuple(self.past.made.values()) if self.past else ()


def default_setup(base: str = "SYN", **changes: Any) -> Setup:
    """The sample's instrument: prices in 0.0001 USDT, whole coins on spot, contracts of ten coins."""
    spot = Listing(base, Decimal("0.0001"), Decimal(1), Decimal(1), min_notional=Decimal(1))
    perp = Listing(base, Decimal("0.0001"), Decimal(10), Decimal(10), contract_size=Decimal(10))
    return Setup(**{"spot": spot, "perp": perp} | changes)


def setup_of(tape: Tape, base: str, contract_size: Decimal, **changes: Any) -> Setup:
    """Listings whose grids hold every price and size of the tape (as far as its first rows show)."""
    first = tape.take(slice(SCANNED))
    spot_step = min(Decimal(1), _grid(first.spot_bid_qty, first.spot_ask_qty))
    spot = Listing(base, _grid(first.spot_bid, first.spot_ask), spot_step, spot_step, min_notional=Decimal(1))
    perp_price = _grid(first.perp_bid, first.perp_ask)
    perp = Listing(base, perp_price, contract_size, contract_size, contract_size=contract_size)
    return Setup(**{"spot": spot, "perp": perp} | changes)


def _grid(*columns: Any) -> Decimal:
    """One unit of the last decimal that occurs."""
    decimals = 0
    for column in columns:
        for value in set(column.tolist()):
            exponent = dec(value).normalize().as_tuple().exponent
            decimals = max(decimals, -exponent)
    return Decimal(1).scaleb(-min(decimals, 12))


def rows(tape: Tape) -> Iterator[Row]:
    """(ts_ns, leg, bid, bid_qty, ask, ask_qty) of every event, of the leg whose row it is."""
    for start in range(0, len(tape), CHUNK):
        part = tape.take(slice(start, start + CHUNK))
        spot = part.leg == SPOT
        names = ("bid", "bid_qty", "ask", "ask_qty")
        columns = (np.where(spot, getattr(part, f"spot_{name}"), getattr(part, f"perp_{name}")) for name in names)
        yield from zip(part.ts_ns.tolist(), part.leg.tolist(), *(column.tolist() for column in columns), strict=True)


class Feed:
    """One tape and two engines; `run` ends with the tape, unless it is to repeat.

    Args:
        payments: the funding stamps of the perpetual; those before the tape are history from the start.
        speed: recorded seconds per second; `math.inf` plays as fast as the slowest client reads.
        backlog: how many pushes wait for the slowest client.
        repeat: begin again at the end, for ever.
    """

    def __init__(
        self,
        tape: Tape,
        spot: Engine,
        perp: PerpetualEngine,
        *,
        payments: Sequence[FundingPayment] = (),
        speed: float = 1.0,
        backlog: Callable[[], int] = lambda: 0,
        repeat: bool = False,
    ) -> None:
        self.tape, self.speed, self.repeat = tape, speed, repeat
        self.rows = 0
        self._spot, self._perp, self._backlog = spot, perp, backlog
        self._pairs = next(iter(spot.listings)), next(iter(perp.listings))
        self._grids = spot.listings[self._pairs[0]], perp.listings[self._pairs[1]]
        # Prices and sizes of a tape repeat; exact decimals are made once for each.
        self._price = lru_cache(CACHED)(dec)
        self._sizes = [lru_cache(CACHED)(partial(_size, listing=listing)) for listing in self._grids]
        self._payments = list(payments)
        self._due: list[FundingPayment] = []

    def start(self) -> None:
        """Show both books of the tape's first event, and the funding known by then."""
        first = self.tape.between(self.tape.start_ns, self.tape.start_ns + 1)
        for name, leg in (("spot", 0), ("perp", 1)):
            columns = (getattr(first, f"{name}_{column}") for column in ("bid", "bid_qty", "ask", "ask_qty"))
            self._quote(self.tape.start_ns, leg, *(float(column[0]) for column in columns))
        self._due = [p for p in self._payments if p.ts_ns > self.tape.start_ns]
        for past in self._payments[: len(self._payments) - len(self._due)]:
            known = FundingPaid(self._venue_ns(past.ts_ns), self._pairs[1], dec(past.rate), dec(past.mark), ZERO)
            self._perp.funding.append(known)
        self._announce()

    async def run(self) -> None:
        """Play the tape once, or for ever."""
        while True:
            await self._play()
            if not self.repeat:
                return
            self._due = [p for p in self._payments if p.ts_ns > self.tape.start_ns]

    async def _play(self) -> None:
        loop = asyncio.get_running_loop()
        began, first_ns = loop.time(), self.tape.start_ns
        for ts_ns, kind, event in self._events():
            if math.isinf(self.speed):
                if self.rows % BATCH == 0:
                    await self._breathe()
            else:
                early = began + (ts_ns - first_ns) / NS / self.speed - loop.time()
                if early > SLACK_S or self.rows % BATCH == 0:
                    await asyncio.sleep(max(0.0, early))
            while self._due and self._due[0].ts_ns <= ts_ns:
                self._fund(self._due.pop(0))
            if kind == TRADE:
                self._trade(event)
            else:
                self._quote(*event)
                self.rows += 1

    def _events(self) -> Iterator[tuple[int, int, Trade | Row]]:
        """Trades and rows in order of time; at one stamp trades first, as in the replay."""
        tape = self.tape
        trades = ((trade[0], TRADE, trade) for trade in in_order(tape.queues, tape.start_ns, tape.end_ns))
        return heapq.merge(trades, ((row[0], ROW, row) for row in rows(tape)), key=itemgetter(0, 1))

    async def _breathe(self) -> None:
        """Let the sockets write; wait for the slowest client."""
        await asyncio.sleep(0)
        while self._backlog() > BACKLOG:  # noqa: ASYNC110 - the sockets know when, the engines that feed them do not
            await asyncio.sleep(0.001)

    def _quote(self, ts_ns: int, leg: int, bid: float, bid_qty: float, ask: float, ask_qty: float) -> None:
        """The best level, and behind it those that were recorded; without them the stated profile."""
        engine, price, size = self._engine(leg), self._price, self._sizes[leg]
        best = price(bid), size(bid_qty), price(ask), size(ask_qty)
        behind = [
            [(price(p), size(q)) for p, q in levels] for levels in levels_behind(self.tape.depths[leg], ts_ns, bid, ask)
        ]
        engine.quote(self._pairs[leg], *best, behind=behind if any(behind) else None)

    def _trade(self, trade: Trade) -> None:
        _, leg, side, price, qty = trade
        self._engine(leg).print_trade(self._pairs[leg], side, self._price(price), self._sizes[leg](qty))

    def _engine(self, leg: int) -> Engine:
        return self._spot if leg == SPOT else self._perp

    def _fund(self, payment: FundingPayment) -> None:
        self._perp.fund(self._pairs[1], dec(payment.rate), dec(payment.mark))
        self._announce()

    def _announce(self) -> None:
        """The next stamp, in the venue's time; its rate is an announcement, and here a true one."""
        if self._due:
            following = self._due[1:2] or self._due[:1]
            step_ns = following[0].ts_ns - self._due[0].ts_ns or 8 * 3600 * NS
            at_ns = self._venue_ns(self._due[0].ts_ns)
            upcoming = Upcoming(dec(self._due[0].rate), at_ns, max(1, round(step_ns / NS / self.speed)))
            self._perp.upcoming_funding[self._pairs[1]] = upcoming

    def _venue_ns(self, tape_ns: int) -> int:
        """When a time of the tape is, on the venue's clock."""
        played_ns = int(self.tape.ts_ns[min(self.rows, len(self.tape) - 1)])
        return self._perp.clock.now_ns() + round((tape_ns - played_ns) / self.speed)


def _size(qty: float, listing: Listing) -> Decimal:
    """A quantity without the noise of floating point, where it is on the grid but for that."""
    exact = dec(qty)
    nearest = round_to(exact, listing.qty_step)
    return nearest if abs(nearest - exact) <= abs(exact) * Decimal("1e-9") else exact


class Venues:
    """MEXC spot and Gate.io futures, each at the root of its own loopback port; `async with` starts and stops them.

    Args:
        faults: the script of both (each line names its venue, or "*").
        log: append each fault that fired to this file, as JSON lines.
        port: MEXC's, Gate's is the next one; 0 takes any two free ones.
        limited: refuse more requests than the venues' documents allow.
        network: the delay of messages between the venues and their clients; each venue draws its own.
        aggregated: see `mexc_rest.Mexc`.
    """

    def __init__(
        self,
        setup: Setup,
        faults: Iterable[Fault] = (),
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        log: Path | None = None,
        limited: bool = False,
        network: Network | None = None,
        aggregated: bool = True,
    ) -> None:
        self.setup, script = setup, list(faults)
        clocks = Clock(), Clock()
        scripts = [Faults(name, c.seconds, script, log) for name, c in zip(("mexc", "gate"), clocks, strict=True)]
        coins = {"USDT": setup.spot_usdt, setup.spot.base: setup.spot_coins}
        self.spot = Engine(
            "mexc",
            [setup.spot, *(m.spot for m in setup.others)],
            coins,
            settings=setup.spot_settings,
            faults=scripts[0],
            clock=clocks[0],
        )
        margin = {"USDT": setup.perp_usdt}
        self.perp = PerpetualEngine(
            "gate",
            [setup.perp, *(m.perp for m in setup.others)],
            margin,
            settings=setup.perp_settings,
            faults=scripts[1],
            clock=clocks[1],
        )
        self.spot.behind = self.perp.behind = setup.behind
        self.mexc = mexc_rest.Mexc(
            self.spot, limiter=mexc_rest.documented_limiter() if limited else None, aggregated=aggregated
        )
        self.gate = gate_rest.Gate(self.perp, limiter=gate_rest.documented_limiter() if limited else None)
        if setup.past:
            self._give_a_past(setup.past)
        way = network or Network()
        self.servers = [
            Server(api, host, port + n if port else 0, replace(way, seed=way.seed + n))
            for n, api in enumerate((self.mexc, self.gate))
        ]
        self.feed: Feed | None = None
        self.playing_task: asyncio.Task | None = None

    def _give_a_past(self, past: SeededHistory) -> None:
        """Bars and funding from before the start, of the made pairs."""

        def bars(perp: bool) -> History:
            return lambda pair, *asked: past.bars(pair, perp, *asked) if pair in past.made else []

        def funding(pair: str) -> list[tuple[int, Decimal]]:
            return (
                [(at_s * NS, rate) for at_s, rate in past.funding(pair, past.start_s, past.end_s)]
                if pair in past.made
                else []
            )

        self.mexc.candles.history, self.gate.candles.history = bars(False), bars(True)
        self.gate.past_funding = funding

    @classmethod
    def quiet(cls, faults: Iterable[Fault] = (), network: Network | None = None, **changes: Any) -> "Venues":
        """Without a tape: `quote` by hand. `changes` are fields of `Setup`."""
        return cls(default_setup(**changes), faults, network=network)

    def play(
        self, tape: Tape, payments: Sequence[FundingPayment] = (), *, speed: float = 1.0, repeat: bool = False
    ) -> "Venues":
        """Show the tape's first books now; it plays from the start of the `async with` block on."""
        self.feed = Feed(
            tape, self.spot, self.perp, payments=payments, speed=speed, repeat=repeat,
            backlog=lambda: max(self.mexc.hub.waiting, self.gate.hub.waiting),
        )  # fmt: skip
        self.feed.start()
        return self

    def hold(self, coins: Decimal) -> None:
        """Coins on spot beside a short of the same size, as from before; nothing for 0. The books must have been shown.

        Raises:
            ParamsError: not a whole number of contracts.
        """
        listing = self.setup.perp
        if coins % listing.qty_step:
            raise ParamsError(
                f"{coins} coins cannot be hedged by contracts of {listing.qty_step}; hold a multiple of it"
            )
        if coins:
            self.spot.account.deposit(listing.base, coins, self.spot.clock.now_ns())
            self.perp.account.hold(listing.pair, -coins, self.perp.marks[listing.pair], self.perp.clock.now_ns())

    def quote(self, bid: str | Decimal, bid_qty: float, ask: str | Decimal, ask_qty: float, leg: str = "both") -> None:
        """A quote by hand, of both legs or of one ('spot', 'perp')."""
        values = [dec(value) for value in (bid, bid_qty, ask, ask_qty)]
        for name, engine in (("spot", self.spot), ("perp", self.perp)):
            if leg in ("both", name):
                engine.quote(self.setup.spot.pair, *values)

    def trade(self, side: int, price: str, qty: float, leg: str = "spot") -> None:
        """A trade of others by hand; `side` is its taker's."""
        engine = self.spot if leg == "spot" else self.perp
        engine.print_trade(self.setup.spot.pair, side, dec(price), dec(qty))

    @property
    def urls(self) -> dict[str, str]:
        """Where each venue is, by exchange id."""
        return {server.api.name: server.url for server in self.servers}

    def config(self) -> dict[str, dict[str, Any]]:
        """ccxt's constructor configuration of both, by exchange id."""
        return {server.api.name: server.api.config(server.url) for server in self.servers}

    async def __aenter__(self) -> "Venues":
        async with contextlib.AsyncExitStack() as started:
            for server in self.servers:
                await started.enter_async_context(server)
            self._started = started.pop_all()
        if self.feed:
            self.playing_task = asyncio.create_task(self.feed.run(), name="tape")
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._started.aclose()
        if self.playing_task:
            self.playing_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):  # ours; a feed that failed is heard
                await self.playing_task
