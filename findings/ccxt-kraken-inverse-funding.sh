#!/usr/bin/env bash
# ccxt 4.5.90, krakenfutures: the current funding rate of an inverse perpetual (PI_..., settled in the coin).
# Kraken's ticker gives the absolute rate, for an inverse contract in coins per contract of 1 USD: times the price it is the
# relative rate, as Kraken's own history shows with both (31 August 2018, 16:00 UTC: 2.18900669884E-7 and 0.00006078 at 277.66).
# Expected: 0.00006078, as fetch_funding_rate_history of the same client returns for that hour.
# Seen: 7.9e-10. The rate is divided by the price, as is right for the linear PF_... contracts only, so that the carry of
# every inverse perpetual reads as nothing: too small by the square of the price.
# What to do: for an inverse market take info["fundingRate"] times the mark price.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
import ccxt

ABSOLUTE, RELATIVE, PRICE = 2.18900669884e-7, 0.00006077996, 277.66
ticker = {"tag": "perpetual", "pair": "ETH:USD", "lastTime": "2018-08-31T16:30:00.000Z", "markPrice": PRICE, "suspended": False}
answers = {
    "tickers": {"tickers": [
        ticker | {"symbol": "PI_ETHUSD", "fundingRate": ABSOLUTE},
        ticker | {"symbol": "PF_ETHUSD", "fundingRate": RELATIVE * PRICE},
    ]},
    "historicalfundingrates": {"rates": [
        {"timestamp": "2018-08-31T16:00:00.000Z", "fundingRate": ABSOLUTE, "relativeFundingRate": RELATIVE},
    ]},
}


class Kraken(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"result": "success"} | answers[self.path.split("?")[0].split("/")[-1]]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *rest):
        pass


server = HTTPServer(("127.0.0.1", 0), Kraken)
threading.Thread(target=server.serve_forever, daemon=True).start()
kraken = ccxt.krakenfutures({"enableRateLimit": False})
plain = {
    "base": "ETH", "quote": "USD", "type": "swap", "spot": False, "swap": True, "future": False, "option": False, "contract": True,
    "contractSize": 1.0, "active": True, "precision": {}, "limits": {}, "info": {},
}
kraken.set_markets([
    plain | {"id": "PI_ETHUSD", "symbol": "ETH/USD:ETH", "settle": "ETH", "linear": False, "inverse": True},
    plain | {"id": "PF_ETHUSD", "symbol": "ETH/USD:USD", "settle": "USD", "linear": True, "inverse": False},
])
kraken.urls["api"]["public"] = f"http://127.0.0.1:{server.server_port}/"
now = kraken.fetch_funding_rates()
past = kraken.fetch_funding_rate_history("ETH/USD:ETH")[0]["fundingRate"]
inverse, linear = now["ETH/USD:ETH"]["fundingRate"], now["ETH/USD:USD"]["fundingRate"]
print(f"ccxt {ccxt.__version__}, one hour's rate of 0.00006078: inverse {inverse:.3g}, linear {linear:.8f}, history of the inverse {past:.8f}")
assert abs(inverse * PRICE**2 / RELATIVE - 1) < 1e-4 and abs(linear / RELATIVE - 1) < 1e-9 and past == RELATIVE
PY
