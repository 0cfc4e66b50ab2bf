#!/usr/bin/env bash
# ccxt 4.5.90, krakenfutures: fetch_my_trades. Kraken's fills name no fee; what was charged stands in the account log.
# Here a maker's fill of 1 BTC at 90,000 on an account that is charged nothing as a maker, and a fill of 9,000 inverse contracts of 1 USD.
# Expected: no fee, or the one charged; amount 1 and 9,000.
# Seen: a fee of 18 USD at a rate of 0.0002, worked out from the first tier of the public schedule, and nothing says that it is not the
# account's own: 100 such fills a month are 1,800 dollars that were never paid, and a maker's strategy that lives on its tier
# looks like a loss. The inverse fill has the cost, 0.1 BTC, but no amount, so that a position summed over fills stays at zero.
# What to do: fees from the account log (historyGetAccountLog, `fee`), the amount from info["size"].
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import ccxt

kraken = ccxt.krakenfutures()
plain = {
    "base": "BTC", "quote": "USD", "type": "swap", "spot": False, "swap": True, "future": False, "option": False, "contract": True,
    "contractSize": 1.0, "active": True, "precision": {}, "limits": {}, "info": {},
} | {side: kraken.fees["trading"][side] for side in ("maker", "taker")}
kraken.set_markets([
    plain | {"id": "PF_XBTUSD", "symbol": "BTC/USD:USD", "settle": "USD", "linear": True, "inverse": False},
    plain | {"id": "PI_XBTUSD", "symbol": "BTC/USD:BTC", "settle": "BTC", "linear": False, "inverse": True},
])
fill = {"fillTime": "2025-11-01T00:00:00.000Z", "order_id": "1", "side": "buy", "fillType": "maker", "price": 90_000}
kraken.privateGetFills = lambda request: {"result": "success", "serverTime": "2025-11-01T00:00:01.000Z", "fills": [
    fill | {"fill_id": "1", "symbol": "PF_XBTUSD", "size": 1}, fill | {"fill_id": "2", "symbol": "PI_XBTUSD", "size": 9_000},
]}
(linear,), (inverse,) = (kraken.fetch_my_trades(symbol) for symbol in ("BTC/USD:USD", "BTC/USD:BTC"))
print(f"ccxt {ccxt.__version__}, maker's fills without a fee: {sorted(linear['info'])}")
for found in (linear, inverse):
    print(f"  {found['symbol']}: amount {found['amount']}, cost {found['cost']}, fee {found['fee']}")
assert not any("fee" in name.lower() for name in linear["info"])
assert (linear["amount"], float(linear["fee"]["cost"]), float(linear["fee"]["rate"])) == (1, 18, 0.0002)
assert (inverse["amount"], inverse["cost"]) == (None, 0.1)
PY
