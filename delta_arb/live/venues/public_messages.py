"""What venues push to everybody, taken apart: quotes and trades with their numbers as the venue wrote them.

Both the order loop and the recorder read pushes by these; each makes of the texts what it needs. A message of another
shape than documented raises one of `base.SHAPES`.
"""

from typing import Any, NamedTuple

MS = 1_000_000
BUY = 1


class PublicQuote(NamedTuple):
    """The best prices and sizes, in the venue's units; "" or "0" where a side is empty. `number` is 0 where there is none."""

    symbol: str
    venue_ns: int
    number: int
    bid: str
    bid_qty: str
    ask: str
    ask_qty: str


class PublicTrade(NamedTuple):
    """A trade of others; `side` is +1 where the buyer came, `qty` above 0 and in the venue's units."""

    symbol: str
    venue_ns: int
    number: int
    side: int
    price: str
    qty: str


class PublicLevels(NamedTuple):
    """The best five levels: price and size of each bid, then of each ask, best first, "" where there is none."""

    symbol: str
    venue_ns: int
    number: int
    levels: tuple[str, ...]


DEPTH = 5
NO_LEVEL = ("", "")


def _levels(*sides: list[tuple[str, str]]) -> tuple[str, ...]:
    whole = (level for side in sides for level in [*side, *[NO_LEVEL] * DEPTH][:DEPTH])
    return tuple(part for level in whole for part in level)


def gate_levels(frame: dict[str, Any]) -> PublicLevels:
    """Of a push on futures.order_book; sizes in contracts."""
    r = frame["result"]
    sides = ([(str(level["p"]), str(level["s"])) for level in r[side]] for side in ("bids", "asks"))
    return PublicLevels(r["contract"], int(r["t"]) * MS, int(r["id"]), _levels(*sides))


def mexc_levels(push: Any) -> PublicLevels:
    """Of a push with `publicLimitDepths`."""
    book = push.publicLimitDepths
    sides = ([(level.price, level.quantity) for level in side] for side in (book.bids, book.asks))
    return PublicLevels(push.symbol, push.sendTime * MS, int(book.version or 0), _levels(*sides))


def gate_quote(frame: dict[str, Any]) -> PublicQuote:
    """Of an update on futures.book_ticker; sizes in contracts, `number` is the book's."""
    r = frame["result"]
    return PublicQuote(r["s"], int(r["t"]) * MS, int(r["u"]), str(r["b"]), str(r["B"]), str(r["a"]), str(r["A"]))


def gate_trades(frame: dict[str, Any]) -> list[PublicTrade]:
    """Of an update on futures.trades; a size below 0 is a sale."""
    return [_gate_trade(row) for row in frame["result"]]


def _gate_trade(row: dict[str, Any]) -> PublicTrade:
    size = str(row["size"])
    side = -1 if size.startswith("-") else 1
    at_ns = round(float(row["create_time_ms"]) * 1000) * 1000
    return PublicTrade(row["contract"], at_ns, int(row["id"]), side, str(row["price"]), size.lstrip("-"))


def mexc_quote(push: Any) -> PublicQuote:
    """Of a push with `publicAggreBookTicker`; fields that are zero are not on the wire, nor is a number."""
    t = push.publicAggreBookTicker
    return PublicQuote(push.symbol, push.sendTime * MS, 0, t.bidPrice, t.bidQuantity, t.askPrice, t.askQuantity)


def mexc_trades(push: Any) -> list[PublicTrade]:
    """Of a push with `publicAggreDeals`; the venue gives them no numbers."""
    deals = push.publicAggreDeals.deals
    return [
        PublicTrade(push.symbol, d.time * MS, 0, 1 if d.tradeType == BUY else -1, d.price, d.quantity) for d in deals
    ]
