"""What the recorder says to each venue and what it makes of the answers; reading is shared with the order loop."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from delta_arb.collect.history_store import PERP, SPOT
from delta_arb.live import clock
from delta_arb.live.venues import gate, mexc
from delta_arb.live.venues.base import SubscriptionRefused, VenueError
from delta_arb.live.venues.ccxt_client import CcxtClients, GateClient, MexcClient, reading
from delta_arb.live.venues.public_messages import (
    PublicQuote,
    PublicTrade,
    gate_quote,
    gate_trades,
    mexc_quote,
    mexc_trades,
)
from delta_arb.market import NS

Push = PublicQuote | PublicTrade


class PublicFeed(Protocol):
    """One venue's public stream."""

    venue: str
    market: str
    client: type
    defaults: Mapping[str, Any]
    streams_a_socket: int

    def url(self, clients: CcxtClients) -> str: ...

    def hello(self, ids: Sequence[str], trades: bool) -> list[str]:
        """Subscriptions to these markets, by the venue's names."""

    def ping(self) -> str: ...

    def read(self, message: str | bytes) -> tuple[bool, list[Push]]:
        """Whether the message proves the subscription, and what it tells.

        Raises:
            VenueError: it cannot be decoded, or is of another shape than documented; SubscriptionRefused.
        """


class GateFeed:
    """USDT perpetuals; sizes in contracts, as the venue writes them."""

    venue, market, client, defaults, streams_a_socket = "gate", PERP, GateClient, gate.GateVenue.defaults, 200
    channels = ("futures.book_ticker", "futures.trades")

    def url(self, clients: CcxtClients) -> str:
        return clients.orders.urls["api"]["swap"]["usdt"]

    def hello(self, ids: Sequence[str], trades: bool) -> list[str]:
        return [
            json.dumps({"time": clock.now_ns() // NS, "channel": channel, "event": "subscribe", "payload": list(ids)})
            for channel in self.channels[: 1 + trades]
        ]

    def ping(self) -> str:
        return json.dumps({"time": clock.now_ns() // NS, "channel": "futures.ping"})

    def read(self, message: str | bytes) -> tuple[bool, list[Push]]:
        frame = gate.decoded(message)
        channel, event = frame.get("channel"), frame["event"]
        if channel not in self.channels:
            return False, []
        if event != "update":
            if error := frame.get("error"):
                raise SubscriptionRefused(f"gate: the subscription to {channel} was refused: {error}")
            return True, []
        with reading(f"gate: a push of {channel}"):
            return True, [gate_quote(frame)] if channel == self.channels[0] else gate_trades(frame)


class MexcFeed:
    """Spot; at most thirty subscriptions a socket."""

    venue, market, client, defaults, streams_a_socket = "mexc", SPOT, MexcClient, mexc.MexcVenue.defaults, 30
    channels = ("aggre.bookTicker", "aggre.deals")

    def url(self, clients: CcxtClients) -> str:
        return clients.orders.urls["api"]["ws"]["spot"]

    def hello(self, ids: Sequence[str], trades: bool) -> list[str]:
        names = [f"spot@public.{c}.v3.api.pb@10ms@{each}" for each in ids for c in self.channels[: 1 + trades]]
        return [json.dumps({"method": "SUBSCRIPTION", "params": names})]

    def ping(self) -> str:
        return '{"method":"PING"}'

    def read(self, message: str | bytes) -> tuple[bool, list[Push]]:
        if isinstance(message, str):
            return self._answer(message), []
        push = mexc.decoded(message)
        body = push.WhichOneof("body")
        if body == "publicAggreBookTicker":
            return True, [mexc_quote(push)]
        return (True, mexc_trades(push)) if body == "publicAggreDeals" else (False, [])

    @staticmethod
    def _answer(message: str) -> bool:
        try:
            said = json.loads(message)
            code, text = said["code"], str(said["msg"])
        except (ValueError, TypeError, KeyError):
            raise VenueError("mexc: a stream said what is no answer") from None
        if code != 0 or "Not Subscribed" in text:
            raise SubscriptionRefused(f"mexc: a subscription was refused: {text[:200]}", str(code))
        return text.startswith("spot@")


FEEDS: Mapping[tuple[str, str], Callable[[], PublicFeed]] = {("mexc", SPOT): MexcFeed, ("gate", PERP): GateFeed}


def groups(pairs: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """Pairs in runs of at most `most`."""
    for begin in range(0, len(pairs), most):
        yield pairs[begin : begin + most]
