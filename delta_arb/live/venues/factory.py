"""The two venues of a configuration."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from delta_arb.errors import ParamsError
from delta_arb.live.config import Config, Keys
from delta_arb.live.venues.base import Fees, Venue
from delta_arb.market import PERP, SPOT


def venues(
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
