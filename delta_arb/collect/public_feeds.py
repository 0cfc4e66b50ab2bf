"""What the recorder says to each venue and what it makes of the answers; reading is shared with the order loop."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

from delta_arb.collect.history import PERP, SPOT
from delta_arb.live import clock
from delta_arb.live.venues import gate, mexc
from delta_arb.live.venues.base import SHAPES, SubscriptionRefused, VenueError
from delta_arb.live.venues.book_feed import (
    DEPTH,
    MS,
    PublicLevels,
    PublicQuote,
    PublicTrade,
    gate_levels,
    gate_quote,
    gate_trades,
    mexc_levels,
    mexc_quote,
    mexc_trades,
)
from delta_arb.live.venues.ccxt_client import CcxtClients, GateClient, MexcClient, reading
from delta_arb.market import NS
from delta_arb.quotes.stream_file import LEVELS, TRADES

Push = PublicQuote | PublicTrade | PublicLevels
BESIDE = (TRADES.name, LEVELS.name)  # what is recorded beside quotes, unless it is left out


class PublicFeed(Protocol):
    """One venue's public stream."""

    venue: str
    market: str
    client: type
    defaults: Mapping[str, Any]
    streams_a_socket: int

    def url(self, clients: CcxtClients) -> str: ...

    def hello(self, ids: Sequence[str], wanted: Collection[str]) -> list[str]:
        """Subscriptions to these markets, by the venue's names; of quotes, and of what else is wanted of `BESIDE`."""

    def ping(self) -> str: ...

    async def books(self, clients: CcxtClients, ids: Sequence[str]) -> list[PublicQuote]:
        """The best quotes of these markets by REST, perhaps of others too. Raises VenueError."""

    async def rules(self, clients: CcxtClients, ids: Sequence[str]) -> list[dict[str, Any]]:
        """The venue's own rows about these markets, perhaps of others too. Raises VenueError."""

    def read(self, message: str | bytes) -> tuple[bool, list[Push]]:
        """Whether the message proves the subscription, and what it tells.

        Raises:
            VenueError: it cannot be decoded, or is of another shape than documented; SubscriptionRefused.
        """


class GateFeed:
    """USDT perpetuals; sizes in contracts, as the venue writes them."""

    venue, market, client, defaults, streams_a_socket = "gate", PERP, GateClient, gate.GateVenue.defaults, 200
    channels = (TICKER, DEALS, BOOK) = ("futures.book_ticker", "futures.trades", "futures.order_book")

    def url(self, clients: CcxtClients) -> str:
        return clients.orders.urls["api"]["swap"]["usdt"]

    def hello(self, ids: Sequence[str], wanted: Collection[str]) -> list[str]:
        asked = [(self.TICKER, list(ids))] + [(self.DEALS, list(ids))] * (TRADES.name in wanted)
        asked += [(self.BOOK, [each, str(DEPTH), "0"]) for each in ids if LEVELS.name in wanted]
        return [
            json.dumps({"time": clock.now_ns() // NS, "channel": channel, "event": "subscribe", "payload": payload})
            for channel, payload in asked
        ]

    def ping(self) -> str:
        return json.dumps({"time": clock.now_ns() // NS, "channel": "futures.ping"})

    async def books(self, clients: CcxtClients, ids: Sequence[str]) -> list[PublicQuote]:
        return [await self._book(clients, each) for each in ids]

    async def _book(self, clients: CcxtClients, contract: str) -> PublicQuote:
        asked = {"settle": "usdt", "contract": contract, "limit": 1, "with_id": "true"}
        book = await clients.ask(clients.queries.publicFuturesGetSettleOrderBook, asked, what="a book")
        with reading(f"gate: the book of {contract}"):
            sides = [book[side][0] if book[side] else {"p": "", "s": ""} for side in ("bids", "asks")]
            best = (str(level[name]) for level in sides for name in ("p", "s"))
            return PublicQuote(contract, round(float(book["update"]) * 1000) * MS, int(book["id"]), *best)

    async def rules(self, clients: CcxtClients, ids: Sequence[str]) -> list[dict[str, Any]]:
        call = clients.queries.publicFuturesGetSettleContracts
        return await clients.ask(call, {"settle": "usdt"}, what="its contracts")

    def read(self, message: str | bytes) -> tuple[bool, list[Push]]:
        frame = gate.decoded(message)
        channel, event = frame.get("channel"), frame["event"]
        if channel not in self.channels:
            return False, []
        if event != "update" and event != "all":
            if error := frame.get("error"):
                raise SubscriptionRefused(f"gate: the subscription to {channel} was refused: {error}")
            return True, []
        try:
            if channel == self.TICKER:
                return True, [gate_quote(frame)]
            return True, [gate_levels(frame)] if channel == self.BOOK else gate_trades(frame)
        except SHAPES as error:
            raise VenueError(f"gate: a push of {channel} is of another shape than documented ({error!r})") from error


class MexcFeed:
    """Spot; at most thirty subscriptions a socket."""

    venue, market, client, defaults, streams_a_socket = "mexc", SPOT, MexcClient, mexc.MexcVenue.defaults, 30

    def url(self, clients: CcxtClients) -> str:
        return clients.orders.urls["api"]["ws"]["spot"]

    def hello(self, ids: Sequence[str], wanted: Collection[str]) -> list[str]:
        told = ["aggre.bookTicker.v3.api.pb@10ms@{}"] + ["aggre.deals.v3.api.pb@10ms@{}"] * (TRADES.name in wanted)
        told += [f"limit.depth.v3.api.pb@{{}}@{DEPTH}"] * (LEVELS.name in wanted)
        names = [f"spot@public.{channel.format(each)}" for each in ids for channel in told]
        return [json.dumps({"method": "SUBSCRIPTION", "params": names})]

    def ping(self) -> str:
        return '{"method":"PING"}'

    async def books(self, clients: CcxtClients, ids: Sequence[str]) -> list[PublicQuote]:
        rows = await clients.ask(clients.queries.spotPublicGetTickerBookTicker, {}, what="its best quotes")
        with reading("mexc: its best quotes"):
            names = ("bidPrice", "bidQty", "askPrice", "askQty")
            return [PublicQuote(row["symbol"], 0, 0, *(str(row[name] or "") for name in names)) for row in rows]

    async def rules(self, clients: CcxtClients, ids: Sequence[str]) -> list[dict[str, Any]]:
        found = await clients.ask(
            clients.queries.spotPublicGetExchangeInfo, {"symbols": ",".join(ids)}, what="its rules"
        )
        with reading("mexc: its rules"):
            return found["symbols"]

    def read(self, message: str | bytes) -> tuple[bool, list[Push]]:
        if isinstance(message, str):
            return self._answer(message), []
        push = mexc.decoded(message)
        body = push.WhichOneof("body")
        if body == "publicAggreBookTicker":
            return True, [mexc_quote(push)]
        if body == "publicLimitDepths":
            return True, [mexc_levels(push)]
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
