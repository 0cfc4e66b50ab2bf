"""The layouts we know, as one table of values, and the names that columns go by in files of nobody's layout.

A layout says which of our columns is which of the file's, and what the names alone do not tell: whether sizes are
coins or contracts, whose clock stamped the rows. Our names:

    quotes   timestamp venue_timestamp bid_price bid_quantity ask_price ask_quantity
    candles  timestamp open high low close volume quote_volume          timestamp: the bar's opening
    funding  timestamp funding_rate mark_price interval
    trades   timestamp price quantity side                              marks  timestamp mark_price
    any      venue symbol (which rows), sequence (their order)

Sources: shared samples written by the packages themselves, and the vendors' documents where no package writes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

QUOTES, CANDLES, FUNDING, TRADES, MARKS = "quotes", "candles", "funding", "trades", "marks"
COINS, CONTRACTS = "coins", "contracts"
RECEIVER, VENUE = "receiver", "venue"
TIME, VENUE_TIME = "timestamp", "venue_timestamp"
PRICES = ("open", "high", "low", "close")
BOOK = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
NUMBERS = frozenset((*PRICES, *BOOK, "volume", "quote_volume", "price"))


@dataclass(frozen=True, slots=True)
class Layout:
    """One layout. `columns`: ours -> the file's (in one spelling, see `containers.clean`), all of which must be there.

    Args:
        marks: further names of the file that prove it.
        width: number of columns of a file that names none; its names are then "0", "1", ...
        quantity: what a unit of size is, COINS or CONTRACTS; "" where that depends on the venue or is not known.
        clock: whose clock `timestamp` is; "" where the names say so (both stamps there: the receiver's).
        book: rows change an order book: their sizes are new "sizes", "changes", or hftbacktest "events".
        indicative: the rates are told ahead of a settlement, none of them is the one settled.
        repeats: the rate of an interval stands on every row before its payment.
        local: the times are in a zone that the file does not name.
    """

    name: str
    kind: str
    columns: Mapping[str, str]
    marks: tuple[str, ...] = ()
    width: int = 0
    quantity: str = ""
    clock: str = ""
    book: str = ""
    indicative: bool = False
    repeats: bool = False
    local: bool = False
    note: str = ""


def pairs(text: str) -> Mapping[str, str]:
    """`ours=theirs` pairs between spaces; a bare word has the same name on both sides."""
    return MappingProxyType(
        {ours: theirs or ours for ours, _, theirs in (word.partition("=") for word in text.split())}
    )


_WHO = "venue=exchange symbol=symbol"
_OHLC = "open=open high=high low=low close=close volume=volume"

LAYOUTS = (
    # --- quotes
    Layout("tardis quotes", QUOTES, pairs(f"timestamp=local_timestamp venue_timestamp=timestamp bid_price "
           f"bid_quantity=bid_amount ask_price ask_quantity=ask_amount {_WHO}")),
    Layout("tardis book snapshot", QUOTES, pairs(f"timestamp=local_timestamp venue_timestamp=timestamp "
           f"bid_price=bids[0].price bid_quantity=bids[0].amount ask_price=asks[0].price ask_quantity=asks[0].amount "
           f"{_WHO}")),
    Layout("tardis incremental book", QUOTES, pairs(f"timestamp=local_timestamp venue_timestamp=timestamp "
           f"snapshot=is_snapshot side price quantity=amount {_WHO}"), book="sizes"),
    Layout("hftbacktest collector", QUOTES, pairs("timestamp=local_ts venue_timestamp=transaction_ms bid_price=b_price "
           "bid_quantity=b_qty ask_price=a_price ask_quantity=a_qty")),
    Layout("hftbacktest events", QUOTES, pairs("timestamp=local_ts venue_timestamp=exch_ts event=ev price=px quantity=qty"), book="events"),
    Layout("binance bookTicker", QUOTES, pairs("timestamp=transaction_time sequence=update_id bid_price=best_bid_price "
           "bid_quantity=best_bid_qty ask_price=best_ask_price ask_quantity=best_ask_qty"), quantity=COINS, clock=VENUE),
    Layout("cryptofeed l1 book", QUOTES, pairs(f"timestamp=receipt_timestamp venue_timestamp=timestamp bid_price "
           f"bid_quantity=bid_size ask_price ask_quantity=ask_size {_WHO}")),
    Layout("cryptofeed ticker", QUOTES, pairs(f"timestamp=receipt_timestamp venue_timestamp=timestamp bid_price=bid "
           f"ask_price=ask {_WHO}"), note="has no sizes"),
    Layout("nautilus quotes", QUOTES, pairs("timestamp=ts_event bid_price bid_quantity=bid_size ask_price "
           "ask_quantity=ask_size venue=instrument_id"), marks=("ts_init",), clock=VENUE),
    Layout("gate order book archive",
           QUOTES, pairs("timestamp=0 action=1 price=2 quantity=3"), width=6, quantity=CONTRACTS, clock=VENUE, book="changes"),
    # --- candles
    Layout("cryptofeed candles", CANDLES, pairs(f"timestamp=start {_OHLC} {_WHO}"), marks=("stop", "closed")),
    Layout("coindesk candles", CANDLES, pairs("timestamp open=first_trade_price high=high_trade_price low=low_trade_price "
           "close volume quote_volume venue=market symbol=instrument"), marks=("open",
           "last_trade_price"), quantity=COINS, note="its OPEN repeats the CLOSE before: first trade prices taken"),
    Layout("binance klines", CANDLES, pairs(f"timestamp=open_time {_OHLC} quote_volume"), marks=("close_time",), quantity=COINS),
    Layout("kucoin klines", CANDLES, pairs(f"timestamp=time {_OHLC} quote_volume=turnover"), quantity=COINS),
    Layout("gate candlesticks", CANDLES, pairs("timestamp=t open=o high=h low=l close=c volume=v quote_volume=sum"), quantity=CONTRACTS),
    Layout("hummingbot candles", CANDLES, pairs(f"timestamp {_OHLC} quote_volume=quote_asset_volume"), marks=("n_trades",), quantity=COINS),
    Layout("nautilus bars", CANDLES, pairs(f"timestamp=ts_event known=ts_init {_OHLC} venue=instrument_id")),
    Layout("binance klines", CANDLES, pairs("timestamp=0 open=1 high=2 low=3 close=4 volume=5 quote_volume=7"), width=12, quantity=COINS),
    Layout("gate spot candlesticks",
           CANDLES, pairs("timestamp=0 quote_volume=1 close=2 high=3 low=4 open=5 volume=6"), width=8, quantity=COINS),
    Layout("mexc klines", CANDLES, pairs("timestamp=0 open=1 high=2 low=3 close=4 volume=5 quote_volume=7"), width=8, quantity=COINS),
    Layout("okx candles", CANDLES, pairs("timestamp=0 open=1 high=2 low=3 close=4 volume=5 coins=6 quote_volume=7"), width=9),
    Layout("kucoin klines", CANDLES, pairs("timestamp=0 open=1 close=2 high=3 low=4 volume=5 quote_volume=6"), width=7, quantity=COINS),
    Layout("bybit klines", CANDLES, pairs("timestamp=0 open=1 high=2 low=3 close=4 volume=5 quote_volume=6"), width=7, quantity=COINS),
    Layout("gate candlestick archive", CANDLES, pairs("timestamp=0 volume=1 close=2 high=3 low=4 open=5"), width=6),
    Layout("ccxt ohlcv", CANDLES, pairs("timestamp=0 open=1 high=2 low=3 close=4 volume=5"), width=6),
    Layout("jesse candles", CANDLES, pairs("timestamp=0 open=1 close=2 high=3 low=4 volume=5"), width=6, quantity=COINS),
    # --- funding
    Layout("tardis derivative ticker", FUNDING, pairs(f"timestamp=funding_timestamp told=local_timestamp funding_rate "
           f"{_WHO}"), indicative=True),
    Layout("binance funding archive", FUNDING, pairs("timestamp=calc_time funding_rate=last_funding_rate interval=funding_interval_hours")),
    Layout("binance funding", FUNDING, pairs("timestamp=fundingtime funding_rate=fundingrate mark_price=markprice symbol")),
    Layout("binance website export", FUNDING, pairs("timestamp=time funding_rate interval=funding_interval symbol=contracts"), local=True),
    Layout("coindesk funding", FUNDING, pairs("timestamp funding_rate=close interval=interval_ms venue=market "
           "symbol=instrument"), marks=("open",), repeats=True, note="taken to stand on the hours before its payment"),
    Layout("cryptofeed funding", FUNDING, pairs(f"timestamp mark_price funding_rate=rate {_WHO}"), marks=("next_funding_time",)),
    Layout("nautilus funding", FUNDING, pairs("timestamp=ts_event funding_rate=rate interval"), marks=("next_funding_ns",)),
    Layout("okx funding", FUNDING, pairs("timestamp=funding_time funding_rate symbol=instrument_name")),
    Layout("ccxt funding", FUNDING, pairs("timestamp funding_rate=fundingrate symbol"), marks=("datetime",)),
    Layout("gate funding", FUNDING, pairs("timestamp=t funding_rate=r")),
    Layout("stamp and rate", FUNDING, pairs("timestamp=0 funding_rate=1"), width=2),
    Layout("freqtrade funding before 2026", FUNDING, pairs("timestamp=date funding_rate=open high=high low=low close=close "
           "volume=volume"), note="its open is the rate"),
    Layout("freqtrade funding before 2026",
           FUNDING, pairs("timestamp=0 funding_rate=1 high=2 low=3 close=4 volume=5"), width=6, note="its open is the rate"),
    # --- marks
    Layout("mark candles", MARKS, pairs("timestamp=date mark_price=open close volume")),
    Layout("mark candles", MARKS, pairs("timestamp=0 mark_price=1 close=4 volume=5"), width=6),
    Layout("nautilus mark prices", MARKS, pairs("timestamp=ts_event mark_price=value")),
    # --- trades
    Layout("binance trades", TRADES, pairs("timestamp=time price quantity=qty seller=is_buyer_maker"), quantity=COINS),
    Layout("tardis trades", TRADES, pairs(f"timestamp price quantity=amount side {_WHO}"), marks=("local_timestamp",)),
    Layout("gate futures trades", TRADES, pairs("timestamp=create_time_ms price quantity=size symbol=contract"), quantity=CONTRACTS),
    Layout("gate spot trades", TRADES, pairs("timestamp=create_time_ms price quantity=amount side symbol=currency_pair"), quantity=COINS),
    Layout("okx trades", TRADES, pairs("timestamp=created_time price quantity=size side symbol=instrument_name"), quantity=CONTRACTS),
    Layout("nautilus trades", TRADES, pairs("timestamp=ts_event price quantity=size aggressor=aggressor_side venue=instrument_id")),
    Layout("freqtrade trades", TRADES, pairs("timestamp=0 side=3 price=4 quantity=5"), width=7),
    Layout("gate trade archive", TRADES, pairs("timestamp=0 price=2 quantity=3"), width=4, quantity=CONTRACTS),
)  # fmt: skip

# Names that columns go by, the better first; of two times in a file the one that names its clock or its unit.
NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType({
    TIME: ("receipt_timestamp", "local_timestamp", "received_at", "recv_ns", "time_ns", "ts_ns", "timestamp", "ts", "time", "t", "date",
           "datetime", "open_time", "start", "funding_time", "fundingtime", "calc_time", "created_time",
           "fundingratetimestamp", "settletime", "timepoint", "effectiveat", "timestamp_ms", "unix", "#0",
           "__index_level_0__"),
    VENUE_TIME: ("venue_timestamp", "exchange_timestamp", "exchange_time", "event_time", "exch_ts", "venue_ts"),
    "open": ("open", "o", "open_price"), "high": ("high", "h", "high_price"), "low": ("low", "l", "low_price"),
    "close": ("close", "c", "close_price"),
    "volume": ("volume", "v", "vol", "base_volume", "volume_base", "amount"),
    "quote_volume": ("quote_volume", "quote_asset_volume", "turnover", "volume_quote", "qv"),
    "bid_price": ("bid_price", "bid", "bidprice", "best_bid_price", "best_bid", "bid1", "b"),
    "bid_quantity": ("bid_quantity", "bid_qty", "bid_size", "bid_amount", "bidqty", "bidsize", "best_bid_qty", "best_bid_size",
        "bid_volume", "bidvolume", "bid1_size"),
    "ask_price": ("ask_price", "ask", "askprice", "best_ask_price", "best_ask", "ask1", "a"),
    "ask_quantity": ("ask_quantity", "ask_qty", "ask_size", "ask_amount", "askqty", "asksize", "best_ask_qty", "best_ask_size",
        "ask_volume", "askvolume", "ask1_size"),
    "funding_rate": ("funding_rate", "fundingrate", "rate", "realized_rate", "last_funding_rate", "r"),
    "mark_price": ("mark_price", "markprice", "mark"),
    "price": ("price", "p", "px"), "quantity": ("quantity", "qty", "amount", "size", "q"), "side": ("side", "direction", "taker_side"),
    "venue": ("venue", "exchange", "market"), "symbol": ("symbol", "coin", "instrument", "instrument_name", "instid", "pair", "contract",
               "ticker"),
    "interval": ("funding_interval_hours", "interval_hours", "funding_interval"),
})  # fmt: skip

# What a file of nobody's layout needs to be of a kind, tried in this order.
NEEDED = (
    (QUOTES, (TIME, "bid_price", "ask_price"), (VENUE_TIME, "bid_quantity", "ask_quantity", "venue", "symbol")),
    (CANDLES, (TIME, *PRICES), ("volume", "quote_volume", "venue", "symbol")),
    (FUNDING, (TIME, "funding_rate"), ("mark_price", "interval", "venue", "symbol")),
    (TRADES, (TIME, "price", "quantity"), ("side", "venue", "symbol")),
    (MARKS, (TIME, "mark_price"), ("venue", "symbol")),
    (CANDLES, (TIME, "close"), ("volume", "venue", "symbol")),
)
