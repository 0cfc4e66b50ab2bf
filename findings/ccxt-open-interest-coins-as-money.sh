#!/usr/bin/env bash
# ccxt 4.5.90: openInterestValue, the open interest in money, of a perpetual with 1000 BTC open at 90,000 dollars, on four venues.
# Expected: 90,000,000, or None where the venue says coins only; 1000 in openInterestAmount.
# Seen: 90,000,000 on Gemini. 1000 on Backpack, HitBTC and Delta: the coins stand where the money belongs (on Delta beside the true
# value, in the deprecated quoteVolume), and openInterestAmount is None on the first two, contracts on the third. A ratio of open
# interest to volume, or a limit of "1 % of the open interest", is out by the price: bitcoin has 1000 dollars of it, a coin of a
# hundredth of a cent ten thousand times too much.
# What to do: take openInterest, open_interest or oi from `info`, which are coins, times the mark price.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

NOW, coins, price, contract = 1761955200000, 1000, 90_000, 0.001
plain = {
    "base": "BTC", "type": "swap", "spot": False, "swap": True, "future": False, "option": False, "contract": True, "linear": True,
    "inverse": False, "contractSize": 1.0, "active": True, "precision": {}, "limits": {}, "info": {},
}
venues = {
    "gemini": (
        plain | {"id": "btcgusdperp", "symbol": "BTC/GUSD:GUSD", "quote": "GUSD", "settle": "GUSD"},
        {
            "product_type": "PerpetualSwapContract", "mark_price": str(price), "index_price": str(price),
            "open_interest": str(coins), "open_interest_notional": str(coins * price),
        },
    ),
    "backpack": (
        plain | {"id": "BTC_USDC_PERP", "symbol": "BTC/USDC:USDC", "quote": "USDC", "settle": "USDC"},
        {"openInterest": str(coins), "symbol": "BTC_USDC_PERP", "timestamp": NOW},
    ),
    "hitbtc": (
        plain | {"id": "BTCUSDT_PERP", "symbol": "BTC/USDT:USDT", "quote": "USDT", "settle": "USDT"},
        {
            "contract_type": "perpetual", "mark_price": str(price), "index_price": str(price), "funding_rate": "0.0001",
            "open_interest": str(coins), "timestamp": "2025-11-01T00:00:00.000Z",
        },
    ),
    "delta": (
        plain | {"id": "BTCUSD", "symbol": "BTC/USD:USD", "quote": "USD", "settle": "USD", "contractSize": contract},
        {
            "symbol": "BTCUSD", "mark_price": str(price), "oi": str(coins), "oi_contracts": f"{coins / contract:.0f}", "oi_value": str(coins),
            "oi_value_symbol": "BTC", "oi_value_usd": str(coins * price), "timestamp": NOW * 1000,
        },
    ),
}
seen = {}
for name, (market, row) in venues.items():
    venue = getattr(ccxt, name)()
    venue.set_markets([market])
    seen[name] = venue.parse_open_interest(row, venue.market(market["symbol"]))
print(f"ccxt {ccxt.__version__}: {coins} BTC open, worth {coins * price}")
for name, found in seen.items():
    print(f"  {name}: value {found['openInterestValue']}, amount {found['openInterestAmount']}, quoteVolume {found['quoteVolume']}")
assert float(seen["gemini"]["openInterestValue"]) == coins * price and float(seen["gemini"]["openInterestAmount"]) == coins
assert [seen[name]["openInterestValue"] for name in ("backpack", "hitbtc", "delta")] == [coins] * 3
assert seen["backpack"]["openInterestAmount"] is seen["hitbtc"]["openInterestAmount"] is None
assert seen["delta"]["openInterestAmount"] == 1_000_000 and seen["delta"]["quoteVolume"] == coins * price
PY
