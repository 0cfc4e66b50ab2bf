#!/usr/bin/env bash
# ccxt 4.5.90: the volume in the sixth field of fetch_ohlcv, of a day in which 1000 BTC of a perpetual were traded at 90,000.
# Expected: 1000, in coins, as on Binance and as ccxt's manual says is usual.
# Seen: 90,000,000 on BTSE and Hibachi, which give the money only: it stands in the field of the coins. The ticker of the same client
# has it right on both (BTSE: baseVolume 1000; Hibachi: quoteVolume 90,000,000). Turnover as price times volume is out by the price
# once more, and a size of "1 % of the bar's volume" is 900,000 BTC.
# What to do: divide by the bar's mean price on these two.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

DAY, coins, price, contract = 1761955200, 1000, 90_000, 0.00001
money = coins * price
plain = {
    "base": "BTC", "quote": "USDT", "settle": "USDT", "symbol": "BTC/USDT:USDT", "type": "swap", "spot": False, "swap": True, "future": False,
    "option": False, "contract": True, "linear": True, "inverse": False, "contractSize": 1.0, "active": True, "precision": {}, "limits": {},
    "info": {},
}


def client(name, market, **more):
    venue = getattr(ccxt, name)()
    venue.set_markets([plain | {"id": market} | more])
    return venue, venue.market("BTC/USDT:USDT")


binance, market = client("binance", "BTCUSDT")
flat = [str(price)] * 4
volume = {"binance": binance.parse_ohlcv([DAY * 1000, *flat, str(coins), DAY * 1000 + 86_399_999, str(money), 9, "0", "0", "0"], market)[5]}
btse, market = client("btse", "BTC-PERP-USDT", contractSize=contract)
volume["btse"] = btse.parse_ohlcv([str(DAY), *flat, str(money)], market)[5]
ticker = btse.parse_ticker({
    "symbol": "BTC-PERP-USDT", "lastPrice": str(price), "amount": f"{coins / contract:.0f}", "volume": str(money), "openTime": DAY, "closeTime": DAY + 86400,
}, market)
hibachi, market = client("hibachi", "BTC/USDT-P")
volume["hibachi"] = hibachi.parse_ohlcv({
    "close": flat[0], "high": flat[0], "low": flat[0], "open": flat[0], "interval": "1d", "timestamp": DAY, "volumeNotional": f"{money:.6f}",
}, market)[5]
stats = hibachi.parse_ticker({"prices": {"tradePrice": flat[0]}, "stats": {"volume24h": f"{money:.6f}"}}, market)
print(f"ccxt {ccxt.__version__}, {coins} BTC worth {money}: volume of the candle " + ", ".join(f"{name} {found:g}" for name, found in volume.items()))
print(f"  tickers: btse baseVolume {ticker['baseVolume']:g}, hibachi quoteVolume {stats['quoteVolume']:g}")
assert volume == {"binance": coins, "btse": money, "hibachi": money}
assert round(ticker["baseVolume"], 6) == coins and stats["quoteVolume"] == money
PY
