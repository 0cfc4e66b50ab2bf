"""The engine's values in MEXC's words: REST rows and the bodies of pushes. Pure; every number is a decimal string.

Key names and types follow the documentation (its spelling `cummulativeQuoteQty` included); where rows recorded live
differ from it, the recorded ones win: `timeInForce`, `stopPrice` and `icebergQty` come as null.
"""

import hashlib
from decimal import Decimal

from delta_arb.market import MS
from delta_arb.sandbox import values as v
from delta_arb.sandbox.book import Book
from delta_arb.sandbox.candles import Candle
from delta_arb.sandbox.values import text

ORDER_TYPES = ("LIMIT", "MARKET", "LIMIT_MAKER")  # as exchangeInfo lists them; it never lists IMMEDIATE_OR_CANCEL
TYPE_OF_TIF = {v.POST_ONLY: "LIMIT_MAKER", v.IOC: "IMMEDIATE_OR_CANCEL"}
TYPE_NUMBERS = {"LIMIT": 1, "LIMIT_MAKER": 2, "IMMEDIATE_OR_CANCEL": 3, "MARKET": 5}
STATUS_NUMBERS = {"NEW": 1, "FILLED": 2, "PARTIALLY_FILLED": 3, "CANCELED": 4, "PARTIALLY_CANCELED": 5}
CHANGE_TYPES = {"order": "ENTRUST_PLACE", "cancel": "ENTRUST_CANCEL", "fill": "ENTRUST", "fee": "TRADE_FEE"}
INTERVALS_S = {"1m": 60, "5m": 300, "15m": 900, "30m": 1800, "60m": 3600, "4h": 14_400, "1d": 86_400, "1W": 604_800}
MAX_QUOTE_AMOUNT = "2000000"


def symbol_of(pair: str) -> str:
    """MEXC's name of a pair: SYN_USDT is SYNUSDT."""
    return pair.replace("_", "")


def order_id(number: int) -> str:
    return f"C02__{number:021d}"


def order_number(order: str) -> int:
    """The engine's number behind an order id; -1 for what is none."""
    digits = order.removeprefix("C02__")
    return int(digits) if digits.isdecimal() else -1


def trade_id(number: int) -> str:
    return f"{number:018d}X1"


def order_type(order: v.Order) -> str:
    return "MARKET" if order.kind == v.MARKET else TYPE_OF_TIF.get(order.tif, "LIMIT")


def status(order: v.Order) -> str:
    if order.state == v.FILLED:
        return "FILLED"
    partly = order.filled > 0
    if order.state == v.CANCELLED:
        return "PARTIALLY_CANCELED" if partly else "CANCELED"
    return "PARTIALLY_FILLED" if partly else "NEW"


def side(number: int) -> str:
    return "BUY" if number == v.BUY else "SELL"


def market(listing: v.Listing, settings: v.Settings, trading: bool) -> dict:
    """One row of exchangeInfo. MEXC lists steps as numbers of digits, so only powers of ten."""
    qty_digits, price_digits = _digits(listing.qty_step), _digits(listing.price_step)
    least = text(listing.min_notional)
    return {
        "symbol": symbol_of(listing.pair),
        "status": "1" if trading else "3",
        "baseAsset": listing.base,
        "baseAssetPrecision": qty_digits,
        "quoteAsset": listing.quote,
        "quotePrecision": price_digits,
        "quoteAssetPrecision": price_digits,
        "baseCommissionPrecision": qty_digits,
        "quoteCommissionPrecision": price_digits,
        "orderTypes": list(ORDER_TYPES),
        "quoteOrderQtyMarketAllowed": True,
        "isSpotTradingAllowed": trading,
        "isMarginTradingAllowed": False,
        "quoteAmountPrecision": least,
        "baseSizePrecision": text(listing.min_qty),
        "permissions": ["SPOT"],
        "filters": [],
        "maxQuoteAmount": MAX_QUOTE_AMOUNT,
        "makerCommission": text(settings.maker_fee),
        "takerCommission": text(settings.taker_fee),
        "quoteAmountPrecisionMarket": least,
        "maxQuoteAmountMarket": MAX_QUOTE_AMOUNT,
        "tradeSideType": "1" if trading else "4",
    }


def created(order: v.Order) -> dict:
    """The answer to a new order: neither status nor fill nor client id, as on the venue."""
    return {
        "symbol": symbol_of(order.pair),
        "orderId": order_id(order.id),
        "orderListId": -1,
        "price": text(order.price),
        "origQty": text(order.qty),
        "type": order_type(order),
        "side": side(order.side),
        "transactTime": order.created_ns // MS,
    }


def order_row(order: v.Order) -> dict:
    """An order as GET order and openOrders show it."""
    return {
        "symbol": symbol_of(order.pair),
        "orderId": order_id(order.id),
        "orderListId": -1,
        "clientOrderId": order.client_id or None,
        "price": text(order.price),
        "origQty": text(order.qty),
        "executedQty": text(order.filled),
        "cummulativeQuoteQty": text(order.filled_quote),
        "status": status(order),
        "timeInForce": None,
        "type": order_type(order),
        "side": side(order.side),
        "stopPrice": None,
        "icebergQty": None,
        "time": order.created_ns // MS,
        "updateTime": order.updated_ns // MS,
        "isWorking": True,
        "origQuoteOrderQty": text(_amount(order)),
    }


def cancelled(order: v.Order) -> dict:
    """The answer to a cancellation."""
    row = order_row(order)
    keys = ("symbol", "orderId", "clientOrderId", "price", "origQty", "executedQty", "cummulativeQuoteQty", "status")
    return {key: row[key] for key in (*keys, "timeInForce", "type", "side")} | {"origClientOrderId": order.client_id}


def trade_row(trade: v.Trade) -> dict:
    """One row of myTrades."""
    return {
        "symbol": symbol_of(trade.pair),
        "id": trade_id(trade.id),
        "orderId": order_id(trade.order.id),
        "orderListId": -1,
        "price": text(trade.price),
        "qty": text(trade.qty),
        "quoteQty": text(trade.price * trade.qty),
        "commission": text(trade.fee),
        "commissionAsset": trade.fee_coin,
        "time": trade.ts_ns // MS,
        "isBuyer": trade.side == v.BUY,
        "isMaker": trade.maker,
        "isBestMatch": True,
        "isSelfTrade": False,
        "clientOrderId": trade.order.client_id or None,
    }


def account(balances: dict[str, tuple[Decimal, Decimal]]) -> dict:
    """GET account; `balances` are (free, locked) by coin."""
    rows = [{"asset": coin, "free": text(free), "locked": text(locked)} for coin, (free, locked) in balances.items()]
    rights = {"canTrade": True, "canWithdraw": True, "canDeposit": True, "updateTime": None, "accountType": "SPOT"}
    return rights | {"balances": rows, "permissions": ["SPOT"]}


def coin_row(coin: str) -> dict:
    """One row of capital/config/getall: a coin without networks, for nothing is withdrawn here."""
    return {"coin": coin, "name": coin, "networkList": []}


def book_ticker(quote: v.Quote) -> dict:
    return {
        "symbol": symbol_of(quote.pair),
        "bidPrice": text(quote.bid),
        "bidQty": text(quote.bid_qty),
        "askPrice": text(quote.ask),
        "askQty": text(quote.ask_qty),
    }


def agg_trade(public: v.Print) -> dict:
    """One row of aggTrades; the ids are null on the venue too."""
    row = {"a": None, "f": None, "l": None, "p": text(public.price), "q": text(public.qty)}
    return row | {"T": public.ts_ns // MS, "m": public.side != v.BUY, "M": True}


def kline(candle: Candle, interval_s: int) -> list:
    """One row of klines; stamps in ms, the closing one that of the next bar's opening."""
    prices = [text(price) for price in (candle.open, candle.high, candle.low, candle.close)]
    ends_ms = (candle.start_s + interval_s) * 1000
    return [candle.start_s * 1000, *prices, text(candle.volume), ends_ms, text(candle.value)]


def ticker(quote: v.Quote, minutes: list[Candle], now_ms: int) -> dict:
    """GET ticker/24hr, of the minutes of the last day."""
    first, last = (minutes[0].open, minutes[-1].close) if minutes else (v.ZERO, v.ZERO)
    change = last - first
    return {
        "symbol": symbol_of(quote.pair),
        "priceChange": text(change),
        "priceChangePercent": text(round(change / first, 8) if first else v.ZERO),
        "prevClosePrice": text(first),
        "lastPrice": text(last),
        "bidPrice": text(quote.bid),
        "bidQty": text(quote.bid_qty),
        "askPrice": text(quote.ask),
        "askQty": text(quote.ask_qty),
        "openPrice": text(first),
        "highPrice": text(max((candle.high for candle in minutes), default=v.ZERO)),
        "lowPrice": text(min((candle.low for candle in minutes), default=v.ZERO)),
        "volume": text(sum((candle.volume for candle in minutes), v.ZERO)),
        "quoteVolume": text(sum((candle.value for candle in minutes), v.ZERO)),
        "openTime": minutes[0].start_s * 1000 if minutes else now_ms,
        "closeTime": now_ms,
        "count": None,
    }


def ticker_push(quote: v.Quote) -> dict:
    return {
        "publicAggreBookTicker": {
            "bidPrice": text(quote.bid),
            "bidQuantity": text(quote.bid_qty),
            "askPrice": text(quote.ask),
            "askQuantity": text(quote.ask_qty),
        }
    }


def depth_push(change: v.BookChange, event: str) -> dict:
    return {
        "publicAggreDepths": {
            "asks": [{"price": text(price), "quantity": text(qty)} for price, qty in change.asks],
            "bids": [{"price": text(price), "quantity": text(qty)} for price, qty in change.bids],
            "eventType": event,
            "fromVersion": str(change.first_id),
            "toVersion": str(change.last_id),
        }
    }


def levels_push(book: Book, depth: int, event: str) -> dict:
    sides = {
        name: [{"price": text(price), "quantity": text(qty)} for price, qty in book.levels(side, depth)]
        for name, side in (("asks", v.SELL), ("bids", v.BUY))
    }
    return {"publicLimitDepths": {**sides, "eventType": event, "version": str(book.id)}}


def deals_push(prints: list[v.Print], event: str) -> dict:
    deals = [
        {
            "price": text(deal.price),
            "quantity": text(deal.qty),
            "tradeType": 1 if deal.side == v.BUY else 2,
            "time": deal.ts_ns // MS,
        }
        for deal in prints
    ]
    return {"publicAggreDeals": {"deals": deals, "eventType": event}}


def order_push(order: v.Order, last: Decimal = v.ZERO, maker: bool = False) -> dict:
    """`last` is what the fill behind this push filled. A market order by quantity has amounts of 0, as recorded."""
    amount = _amount(order)
    return {
        "privateOrders": {
            "id": order_id(order.id),
            "clientId": order.client_id,
            "price": text(order.price),
            "quantity": text(order.qty),
            "amount": text(amount),
            "avgPrice": text(_rounded(order.average)),
            "orderType": TYPE_NUMBERS[order_type(order)],
            "tradeType": 1 if order.side == v.BUY else 2,
            "isMaker": maker,
            "remainAmount": text(max(v.ZERO, amount - order.filled_quote)),
            "remainQuantity": text(max(v.ZERO, order.left)),
            "lastDealQuantity": text(last),
            "cumulativeQuantity": text(order.filled),
            "cumulativeAmount": text(order.filled_quote),
            "status": STATUS_NUMBERS[status(order)],
            "createTime": order.created_ns // MS,
        }
    }


def deal_push(trade: v.Trade) -> dict:
    return {
        "privateDeals": {
            "price": text(trade.price),
            "quantity": text(trade.qty),
            "amount": text(trade.price * trade.qty),
            "tradeType": 1 if trade.side == v.BUY else 2,
            "isMaker": trade.maker,
            "isSelfTrade": False,
            "tradeId": trade_id(trade.id),
            "clientOrderId": trade.order.client_id,
            "orderId": order_id(trade.order.id),
            "feeAmount": text(trade.fee),
            "feeCurrency": trade.fee_coin,
            "time": trade.ts_ns // MS,
        }
    }


def balance_push(change: v.BalanceChange) -> dict:
    return {
        "privateAccount": {
            "vcoinName": change.coin,
            "coinId": hashlib.md5(change.coin.encode(), usedforsecurity=False).hexdigest(),
            "balanceAmount": text(change.free),
            "balanceAmountChange": text(change.free_change),
            "frozenAmount": text(change.locked),
            "frozenAmountChange": text(change.locked_change),
            "type": CHANGE_TYPES.get(change.reason, "DEPOSIT"),
            "time": change.ts_ns // MS,
        }
    }


def _amount(order: v.Order) -> Decimal:
    return v.ZERO if order.kind == v.MARKET else order.price * order.qty


def _rounded(price: Decimal) -> Decimal:
    return price if -price.as_tuple().exponent <= 12 else round(price, 12)


def _digits(step: Decimal) -> int:
    return max(0, -int(step.normalize().as_tuple().exponent))
