"""Both venues as one value: engines, faces, server, feed; what tests and `python -m delta_arb.sandbox` start.

async with Venues.quiet() as venues:                        # no tape: tests quote by hand
    venues.quote("0.8000", 50, "0.8002", 50)
    exchange = ccxt.pro.gate(venues.config()["gate"])

async with Venues.playing(tape, payments, speed=60) as venues: ...
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from delta_arb.errors import ParamsError
from delta_arb.market import FundingPayment
from delta_arb.quotes.tape import Tape
from delta_arb.sandbox import gate_rest, mexc_rest
from delta_arb.sandbox.engine import Clock, Engine
from delta_arb.sandbox.faults import Fault, Faults
from delta_arb.sandbox.feed import Feed
from delta_arb.sandbox.gate_rest import Gate
from delta_arb.sandbox.http import Server
from delta_arb.sandbox.mexc_rest import SETTINGS, Mexc
from delta_arb.sandbox.perpetual import PerpetualEngine
from delta_arb.sandbox.values import Listing, Settings, dec

SCANNED = 5_000  # rows looked at to find the decimals of prices and sizes


@dataclass(frozen=True, slots=True)
class Setup:
    """What is listed and what the account holds; sizes in base units, money in USDT."""

    spot: Listing
    perp: Listing
    spot_usdt: Decimal = Decimal(10_000)
    spot_coins: Decimal = Decimal(0)
    perp_usdt: Decimal = Decimal(10_000)
    spot_settings: Settings = field(default_factory=lambda: replace(SETTINGS, maker_fee=Decimal(0)))
    perp_settings: Settings = field(default_factory=Settings)


def default_setup(base: str = "SYN", **changes: Any) -> Setup:
    """The sample's instrument: prices in 0.0001 USDT, whole coins on spot, contracts of ten coins."""
    spot = Listing(base, Decimal("0.0001"), Decimal(1), Decimal(1), min_notional=Decimal(1))
    perp = Listing(base, Decimal("0.0001"), Decimal(10), Decimal(10), contract_size=Decimal(10))
    return Setup(**{"spot": spot, "perp": perp} | changes)


def setup_of(tape: Tape, base: str, contract_size: Decimal, **changes: Any) -> Setup:
    """Listings whose grids hold every price and size of the tape (as far as its first rows tell)."""
    spot_step = min(Decimal(1), _grid(tape.spot_bid_qty, tape.spot_ask_qty))
    spot = Listing(base, _grid(tape.spot_bid, tape.spot_ask), spot_step, spot_step, min_notional=Decimal(1))
    perp_price = _grid(tape.perp_bid, tape.perp_ask)
    perp = Listing(base, perp_price, contract_size, contract_size, contract_size=contract_size)
    return Setup(**{"spot": spot, "perp": perp} | changes)


def _grid(*columns: Any) -> Decimal:
    """One unit of the last decimal that occurs."""
    decimals = 0
    for column in columns:
        for value in set(column[:SCANNED].tolist()):
            exponent = dec(value).normalize().as_tuple().exponent
            decimals = max(decimals, -exponent)
    return Decimal(1).scaleb(-min(decimals, 12))


class Venues:
    """MEXC spot and Gate.io futures on one loopback port; `async with` starts and stops them.

    Args:
        faults: the script of both (each line names its venue, or "*").
        log: append each fault that fired to this file, as JSON lines.
        limited: refuse more requests than the venues' documents allow.
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
    ) -> None:
        self.setup, script = setup, list(faults)
        clocks = Clock(), Clock()
        scripts = [Faults(name, c.seconds, script, log) for name, c in zip(("mexc", "gate"), clocks, strict=True)]
        coins = {"USDT": setup.spot_usdt, setup.spot.base: setup.spot_coins}
        self.spot = Engine(
            "mexc", [setup.spot], coins, settings=setup.spot_settings, faults=scripts[0], clock=clocks[0]
        )
        margin = {"USDT": setup.perp_usdt}
        self.perp = PerpetualEngine(
            "gate", [setup.perp], margin, settings=setup.perp_settings, faults=scripts[1], clock=clocks[1]
        )
        self.mexc = Mexc(self.spot, limiter=mexc_rest.documented_limiter() if limited else None)
        self.gate = Gate(self.perp, limiter=gate_rest.documented_limiter() if limited else None)
        self.server = Server((self.mexc, self.gate), host, port)
        self.feed: Feed | None = None
        self.playing_task: asyncio.Task | None = None

    @classmethod
    def quiet(cls, faults: Iterable[Fault] = (), **changes: Any) -> "Venues":
        """Without a tape: `quote` by hand. `changes` are fields of `Setup`."""
        return cls(default_setup(**changes), faults)

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

    @property
    def url(self) -> str:
        return self.server.url

    def config(self) -> dict[str, dict[str, Any]]:
        """ccxt's constructor configuration of both, by exchange id."""
        return {face.name: face.config(self.url) for face in (self.mexc, self.gate)}

    async def __aenter__(self) -> "Venues":
        await self.server.__aenter__()
        if self.feed:
            self.playing_task = asyncio.create_task(self.feed.run(), name="tape")
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.server.__aexit__(*exc)
        if self.playing_task:
            self.playing_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):  # ours; a feed that failed is heard
                await self.playing_task
