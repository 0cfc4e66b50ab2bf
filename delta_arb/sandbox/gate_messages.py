"""Gate.io USDT futures on the wire: rows of REST answers and pushes.

Contracts exist only here. Sizes are contracts: integers, or decimal strings when the client wants them
(`X-Gate-Size-Decimal: 1`). REST writes prices and money as strings, the websocket as numbers, except where the
recordings show otherwise.
"""

import hashlib
import hmac
import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any

from delta_arb.market import NS
from delta_arb.sandbox import values as v
from delta_arb.sandbox.candles import Candle, Candles
from delta_arb.sandbox.faults import Fault
from delta_arb.sandbox.http import Request, dumps
from delta_arb.sandbox.perpetual import PerpetualEngine
from delta_arb.sandbox.values import dec, text

USER = 10_000_001
TIFS = {"gtc": v.GTC, "ioc": v.IOC, "poc": v.POST_ONLY}
TIF_NAMES = {tif: name for name, tif in TIFS.items()}
FINISH = {v.BY_POST_ONLY: "poc"}
VENUE_TEXTS = {v.BY_LIQUIDATION: "liquidation", v.BY_ADL: "auto_deleveraging"}
GRAIN = Decimal("1e-12")
MOST_BARS, OLDEST_BARS = 2000, 10_000  # of one page; and from now on back: older ones are refused
INTERVALS = {"10s": 10, "1m": 60, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "4h": 14400, "8h": 28800, "1d": 86400}

Row = dict[str, Any]


def money(value: Decimal) -> str:
    """A string of at most 12 decimals."""
    return text(value.quantize(GRAIN))


def seconds(ns: int) -> float:
    """Seconds with milliseconds."""
    return ns // 1_000_000 / 1000


def contracts(qty: Decimal, listing: v.Listing, decimal: bool) -> int | float | str:
    """Base units as contracts. Who does not ask for decimal sizes gets whole contracts, cut off at the point.

    A position under which the contract's terms changed is shown with its fraction all the same.
    """
    size = qty / listing.contract_size
    if decimal:
        return text(size)
    in_parts = listing.qty_step % listing.contract_size != 0
    return int(size) if in_parts or size == int(size) else float(size)


# What a contract says besides, and nothing here depends on; its fees are defaults that nobody pays (see GET wallet/fee).
CONTRACT_ROW = {
    "type": "direct", "ref_discount_rate": "0", "mark_type": "index", "risk_limit_base": "1000000",
    "interest_rate": "0.0003", "ref_rebate_rate": "0.2", "risk_limit_step": "1000000", "leverage_min": "1",
    "risk_limit_max": "30000000", "maker_fee_rate": "-0.000152", "taker_fee_rate": "0.00075", "short_users": 0,
    "long_users": 0, "create_time": 0, "trade_size": 0, "position_size": 0, "funding_impact_value": "5000",
    "enable_bonus": True, "enable_credit": True, "orders_limit": 100, "contract_type": "",
    "market_order_size_max": "0", "market_order_slip_ratio": "0.05", "enable_circuit_breaker": False,
    "funding_cap_ratio": "0.75", "funding_rate_limit": "0.02", "launch_time": 0, "delisting_time": 0,
    "delisted_time": 0,
}  # fmt: skip


def contract_row(engine: PerpetualEngine, listing: v.Listing, last: Decimal, decimal: bool) -> Row:
    """One row of GET contracts."""
    pair, mark = listing.pair, engine.marks.get(listing.pair, v.ZERO)
    upcoming = engine.upcoming_funding.get(pair)
    rate = text(upcoming.rate) if upcoming else "0"
    step = listing.qty_step / listing.contract_size
    return {
        **CONTRACT_ROW,
        "name": pair,
        "quanto_multiplier": text(listing.contract_size),
        "order_price_deviate": text(listing.max_deviation),
        "maintenance_rate": text(listing.maintenance_rate),
        "last_price": text(last),
        "mark_price": text(mark),
        "index_price": text(mark),
        "funding_rate_indicative": rate,
        "mark_price_round": text(listing.price_step),
        **funding_times(engine, listing),
        "in_delisting": not engine.is_trading(pair),
        "status": "trading" if engine.is_trading(pair) else "delisting",
        "order_price_round": text(listing.price_step),
        "order_size_min": contracts(max(listing.min_qty, listing.qty_step), listing, decimal or step % 1 != 0),
        "leverage_max": text(listing.leverage_max),
        "funding_rate": rate,
        "order_size_max": contracts(min(listing.max_qty, listing.contract_size * 1_000_000), listing, decimal),
        "config_change_time": engine.terms_changed_ns // NS,
        "enable_decimal": step % 1 != 0,
        "trade_id": engine.prints[pair][-1].id if engine.prints[pair] else 0,
        "orderbook_id": engine.books[pair].id,
    }


def ticker_row(engine: PerpetualEngine, candles: Candles, listing: v.Listing, decimal: bool) -> Row:
    """One row of GET tickers."""
    pair = listing.pair
    quote = engine.books[pair].quote(0)
    day = candles.merged(pair, 86400)[-1:]
    last, volume, value = candles.last(pair), (day[0].volume if day else v.ZERO), (day[0].value if day else v.ZERO)
    row = contract_row(engine, listing, last, decimal)
    names = ("mark_price", "index_price", "funding_rate", "funding_rate_indicative", "quanto_multiplier")
    return {
        "contract": pair,
        "last": text(last),
        "change_percentage": "0",
        "total_size": "0",
        "low_24h": text(day[0].low if day else last),
        "high_24h": text(day[0].high if day else last),
        "volume_24h": text(volume / listing.contract_size),
        "volume_24h_base": text(volume),
        "volume_24h_quote": text(value),
        "volume_24h_settle": text(value),
        **{name: row[name] for name in names},
        "quanto_base_rate": "",
        "highest_bid": text(quote.bid) if quote.bid_qty else "",
        "highest_size": contracts(quote.bid_qty, listing, True),
        "lowest_ask": text(quote.ask) if quote.ask_qty else "",
        "lowest_size": contracts(quote.ask_qty, listing, True),
    }


def funding_times(engine: PerpetualEngine, listing: v.Listing) -> Row:
    """When funding is due next, s, and how often."""
    upcoming = engine.upcoming_funding.get(listing.pair)
    return {
        "funding_offset": 0,
        "funding_interval": upcoming.interval_s if upcoming else 28800,
        "funding_next_apply": upcoming.at_ns // NS if upcoming else 0,
    }


def order_row(order: v.Order, engine: PerpetualEngine, decimal: bool) -> Row:
    """One order as REST and the websocket's request answers show it."""
    listing, open_ = engine.listings[order.pair], order.state == v.OPEN
    row: Row = {
        "id": order.id,
        "user": USER,
        "contract": order.pair,
        "create_time": seconds(order.created_ns),
        "update_time": seconds(order.updated_ns),
        "update_id": order.updates,
        "size": contracts(order.side * order.qty, listing, decimal),
        "left": contracts(order.side * order.left, listing, decimal),
        "iceberg": "0" if decimal else 0,
        "price": text(order.price),
        "fill_price": money(order.average),
        "tif": TIF_NAMES[order.tif],
        "text": order.client_id or VENUE_TEXTS.get(order.finish, "api"),
        "tkfr": text(engine.settings.taker_fee),
        "mkfr": text(engine.settings.maker_fee),
        "refu": 0,
        "refr": "0",
        "status": "open" if open_ else "finished",
        "is_reduce_only": order.reduce_only,
        "is_close": False,
        "is_liq": order.finish == v.BY_LIQUIDATION,
        "biz_info": "ch:ccxt",
        "amend_text": "-",
        "stp_id": 0,
        "stp_act": "-",
    }
    if not open_:
        row["finish_time"] = seconds(order.finished_ns)
        row["finish_as"] = FINISH.get(order.finish, order.finish)
    return row


def order_push(order: v.Order, engine: PerpetualEngine, decimal: bool) -> Row:
    """One order as the orders channel pushes it: numbers, and times in milliseconds beside."""
    row = order_row(order, engine, decimal)
    row |= {name: float(row[name]) for name in ("price", "fill_price", "tkfr", "mkfr", "refr")}
    row |= {"user": str(USER), "finish_as": row.get("finish_as", "_new" if order.updates == 1 else "_update")}
    for name, ns in (("create", order.created_ns), ("update", order.updated_ns), ("finish", order.finished_ns)):
        row |= {f"{name}_time": ns // NS, f"{name}_time_ms": ns // 1_000_000}
    return row


def trade_row(trade: v.Trade, engine: PerpetualEngine, decimal: bool, id_name: str = "id") -> Row:
    """One own fill of my_trades (`id`) or my_trades_timerange (`trade_id`)."""
    listing = engine.listings[trade.pair]
    return {
        id_name: str(trade.id) if id_name == "trade_id" else trade.id,
        "create_time": seconds(trade.ts_ns),
        "contract": trade.pair,
        "order_id": str(trade.order.id),
        "size": contracts(trade.side * trade.qty, listing, decimal),
        "close_size": contracts(trade.side * trade.closed_qty, listing, decimal),
        "price": text(trade.price),
        "role": "maker" if trade.maker else "taker",
        "text": trade.order.client_id or "api",
        "fee": "0" if trade.fee_coin in v.TOKENS else money(trade.fee),
        "point_fee": money(trade.fee) if trade.fee_coin in v.TOKENS else "0",
        "trade_value": money(trade.price * trade.qty),
    }


def trade_push(trade: v.Trade, engine: PerpetualEngine, decimal: bool) -> Row:
    row = trade_row(trade, engine, decimal)
    return row | {
        "id": str(trade.id),
        "create_time": trade.ts_ns // NS,
        "create_time_ms": trade.ts_ns // 1_000_000,
        "fee": float(row["fee"]),
        "point_fee": float(row["point_fee"]),
    }


def rewritten_push(fault: Fault, push: str) -> str:
    """A push of quotes as of another contract at half the price (`foreign`), or made later (`restamp`)."""
    frame = json.loads(push)
    quote = frame["result"][0] if isinstance(frame["result"], list) else frame["result"]
    if fault.do == "restamp":
        quote["t"] += round(fault.seconds * 1000)
        frame["time_ms"] += round(fault.seconds * 1000)
        frame["time"] = frame["time_ms"] // 1000
        return dumps(frame)
    quote["contract" if "contract" in quote else "s"] = "OTHER_USDT"
    for name in ("b", "a", "last", "highest_bid", "lowest_ask"):
        if isinstance(quote.get(name), str) and quote[name]:
            quote[name] = text(dec(quote[name]) / 2)
    return dumps(frame)


def print_row(trade: v.Print, listing: v.Listing, decimal: bool) -> Row:
    """One public trade; REST and websocket differ only in the time."""
    return {
        "id": trade.id,
        "create_time": seconds(trade.ts_ns),
        "create_time_ms": seconds(trade.ts_ns),
        "contract": trade.pair,
        "size": contracts(trade.side * trade.qty, listing, decimal),
        "price": text(trade.price),
    }


def candle_row(candle: Candle, listing: v.Listing, decimal: bool) -> Row:
    """One bar of GET candlesticks."""
    prices = {name: text(price) for name, price in zip("ohlc", candle[1:5], strict=True)}
    volume = contracts(candle.volume, listing, decimal)
    return {"t": candle.start_s, **prices, "v": volume, "sum": text(candle.value)}


WINDOW_S = 60  # a Timestamp further from the venue's clock is REQUEST_EXPIRED


class GateError(v.Refusal):
    """A refusal by the venue's own label, for what only Gate knows."""

    def __init__(self, label: str, message: str) -> None:
        super().__init__(message)
        self.label = label


def signs(secret: str, signed: str, sign: str) -> bool:
    """Whether `sign` is the hex HMAC-SHA512 of `signed`."""
    return hmac.compare_digest(str(sign), hmac.new(secret.encode(), signed.encode(), hashlib.sha512).hexdigest())


def verify(request: Request, key: v.ApiKey, now_ns: int) -> None:
    """Whether key, clock and signature of a signed request are in order; raises GateError."""
    headers = request.headers
    timestamp, sign = headers.get("Timestamp", ""), headers.get("SIGN", "")
    if not timestamp or not sign or not headers.get("KEY"):
        raise GateError("MISSING_REQUIRED_HEADER", "KEY, Timestamp and SIGN are required")
    if headers["KEY"] != key.key:
        raise GateError("INVALID_KEY", "Invalid key provided")
    check_time(timestamp, now_ns)
    expires_ms = headers.get("X-Gate-Exptime", "")
    if expires_ms and int(expires_ms) < now_ns / 1e6:
        raise GateError("REQUEST_EXPIRED", "the request came after its X-Gate-Exptime")
    # Some clients sign the query unescaped.
    queries = {request.query_string, "&".join(f"{k}={value}" for k, value in request.query.items())}
    expected = (signature(key.secret, request.method, request.path, q, request.body, timestamp) for q in queries)
    if not any(hmac.compare_digest(sign, good) for good in expected):
        raise GateError("INVALID_SIGNATURE", "Signature mismatch")


def check_time(timestamp: str, now_ns: int) -> None:
    """A request's own time must be within a minute of the venue's clock."""
    if not re.fullmatch(r"\d{1,12}(\.\d+)?", timestamp) or abs(float(timestamp) - now_ns / NS) > WINDOW_S:
        raise GateError("REQUEST_EXPIRED", f"gap between request Timestamp and server time exceeds {WINDOW_S}")


def signature(secret: str, method: str, path: str, query: str, body: bytes, timestamp: str) -> str:
    """hex(HMAC-SHA512(secret, METHOD \\n path \\n query \\n hex(SHA512(body)) \\n timestamp))."""
    payload = "\n".join((method, path, query, hashlib.sha512(body).hexdigest(), timestamp))
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha512).hexdigest()


def listing_asked(engine: PerpetualEngine, request: Request) -> v.Listing:
    """The contract of the path or of the query."""
    return engine.listing(request.match.get("contract") or request.query.get("contract", ""))


def wants_decimal(request: Request) -> bool:
    return request.headers.get("X-Gate-Size-Decimal") == "1"


def number(value: Any, name: str) -> Decimal:
    try:
        parsed = dec(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except InvalidOperation:
        parsed = None
    if parsed is None or not parsed.is_finite():
        raise GateError("INVALID_PARAM_VALUE", f"{name} must be a number, was {value!r}")
    return parsed


def integer(request: Request, name: str, default: int) -> int:
    return int(number(request.query.get(name, default), name))


def in_range(request: Request, ts_ns: int) -> bool:
    return integer(request, "from", 0) <= ts_ns / NS < integer(request, "to", 1 << 40) + 1


def page(request: Request, items: list) -> list:
    """The rows of the request's page, newest first."""
    offset, limit = integer(request, "offset", 0), min(integer(request, "limit", 100), 1000)
    return items[::-1][offset : offset + limit]


def body_of(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(request.body, parse_float=Decimal)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise GateError("INVALID_REQUEST_BODY", "the body must be a JSON object")
    return body | {k: text(x) for k, x in body.items() if isinstance(x, Decimal)}
