"""What one session works with: configuration, journal, both venues (made here), where parameters come from, who is told."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from delta_arb.errors import ParamsError
from delta_arb.live import clock
from delta_arb.live.config import Config, Keys
from delta_arb.live.journal import Journal
from delta_arb.live.messages import Alerts
from delta_arb.live.parameters import ParameterFile
from delta_arb.live.runner import Recorder
from delta_arb.live.venues.base import Fees, OnLevels, OnOutcome, OnQuote, OnTrade, Venue, VenueError, no_network
from delta_arb.market import DAY_NS, PERP, SPOT
from delta_arb.strategy.state import State
from delta_arb.venue_terms import VenueTerms


class Resources(NamedTuple):
    """What a session works with."""

    config: Config
    mode: str
    journal: Journal
    venues: tuple[Venue, Venue]
    parameters: Callable[[tuple[Venue, Venue]], ParameterFile]
    recorder: Callable[[State], Recorder]
    say: Callable[[str], None]
    kill_file: Callable[[], str]
    paper: bool
    alerts: Alerts

    @property
    def terms(self) -> tuple[VenueTerms, VenueTerms]:
        """Both venues' own terms as the machine uses them."""
        return self.config.of_accounts(*(venue.terms for venue in self.venues))

    def tell_market(self, on_trade: OnTrade, on_levels: OnLevels) -> None:
        """On paper orders rest in the queue of the venues' trades, and take from the levels that they show."""
        for venue in self.venues if self.paper else ():
            venue.on_trade, venue.on_levels = on_trade, on_levels

    async def open(self, on_quote: OnQuote, on_outcome: OnOutcome) -> None:
        """Both venues or none; a market that is not listed any more is opened as the journal remembers it."""
        for venue in self.venues:
            venue.asked_before(self.journal.asked_since(clock.now_ns() - DAY_NS, venue.leg))
            venue.remembered = (self.journal.last_note(_market(venue)) or ("", ""))[1]
        opened = await asyncio.gather(*(v.open(on_quote, on_outcome) for v in self.venues), return_exceptions=True)
        failed = [error for error in opened if isinstance(error, BaseException)]
        if failed:
            for venue, error in zip(self.venues, opened, strict=True):
                if error is None:
                    await venue.close()
            if len(failed) == 2 and all(getattr(error, "unreachable", False) for error in failed):
                raise VenueError(no_network(self.venues), unreachable=True) from failed[0]
            raise failed[0]
        for venue in self.venues:
            if venue.remembered:
                self.journal.note(_market(venue), venue.remembered)

    @property
    def trouble(self) -> str:
        """Why a venue is known not to answer: one failed look within its usual time is enough; "" while both do."""
        return next(filter(None, (venue.trouble for venue in self.venues)), "")

    @property
    def network(self) -> str:
        """That neither venue can be reached; "" while one can."""
        return "" if any(venue.reachable for venue in self.venues) else no_network(self.venues)

    async def close(self) -> None:
        for venue in self.venues:
            await venue.close()


def _market(venue: Venue) -> str:
    return f"market of {venue.name}"


def both_venues(
    config: Config, keys: tuple[Keys, Keys] | None, ccxt: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[Venue, Venue]:
    """Both venues, not opened yet. Without keys they show quotes only.

    Args:
        ccxt: constructor options of the clients by venue, on top of the configuration's (the local venues' addresses).
    """
    from delta_arb.live.venues.gate import GateVenue  # ccxt takes most of a second to import: a replay does without
    from delta_arb.live.venues.mexc import MexcVenue
    from delta_arb.live.venues.websocket import Pace

    try:
        pace = Pace(**config.pace)
    except TypeError as error:
        raise ParamsError(f"pace: {error}; the names are {', '.join(field.name for field in fields(Pace))}") from None
    if config.orders.unknown_s < 1.5 * pace.window_s:
        raise ParamsError(
            f"orders.unknown_s={config.orders.unknown_s:g} is too short: a venue may accept an order for "
            f"pace.window_s={pace.window_s:g} s and the half of it that clocks may differ by"
        )
    kinds: tuple[dict[str, Callable], ...] = ({"mexc": MexcVenue}, {"gate": GateVenue})
    base = config.pair.partition("_")[0]
    made = []
    for leg, venue in ((SPOT, config.spot), (PERP, config.perp)):
        kind = kinds[leg].get(venue.venue)
        if kind is None:
            raise ParamsError(
                f"{venue.venue} is no {('spot', 'perpetual')[leg]} venue of this version; "
                f"there is {', '.join(kinds[leg])}"
            )
        options = {**venue.ccxt, **(ccxt or {}).get(venue.venue, {}), **(keys[leg].ccxt() if keys else {})}
        fees = None if options.get("apiKey") else Fees(venue.taker_fee_bps, venue.maker_fee_bps)
        made.append(kind(leg, base, options, pace=pace, fees=fees))
    return tuple(made)
