#!/usr/bin/env bash
# ccxt 4.5.90, mexc and gate: cancelling an order that has just been filled.
# Expected: OrderNotFound, as for an order that never was, so that a client knows to look it up: it may hold a fill.
# Seen: MEXC's -2011 "Unknown order sent." is BadRequest, Gate's ORDER_FINISHED a plain ExchangeError.
# (A server on 127.0.0.1 stands for both venues, with the bodies that they document.)
# What to do: look at the venue's own code in the body, not at ccxt's class.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
import ccxt


class Venue(BaseHTTPRequestHandler):
    def do_DELETE(self):
        gate = "/futures/" in self.path
        body = {"label": "ORDER_FINISHED", "message": "order is finished"} if gate else {"code": -2011, "msg": "Unknown order sent."}
        body = json.dumps(body).encode()
        self.send_response(400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *rest):
        pass


server = HTTPServer(("127.0.0.1", 0), Venue)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
plain = {"precision": {}, "limits": {}, "info": {}, "active": True, "base": "FOO", "quote": "USDT", "future": False, "option": False}
spot = plain | {"id": "FOOUSDT", "symbol": "FOO/USDT", "type": "spot", "spot": True, "swap": False, "contract": False}
swap = plain | {
    "id": "FOO_USDT", "symbol": "FOO/USDT:USDT", "type": "swap", "spot": False, "swap": True, "contract": True, "linear": True,
    "settle": "USDT", "settleId": "usdt", "contractSize": 1.0,
}
keys = {"apiKey": "key", "secret": "secret", "enableRateLimit": False, "options": {"unifiedAccount": False}}
mexc, gate = ccxt.mexc(keys), ccxt.gate(keys)
mexc.urls["api"]["spot"]["private"] = url
gate.urls["api"]["private"]["futures"] = url
seen = []
for client, market in ((mexc, spot), (gate, swap)):
    client.set_markets([market])
    try:
        client.cancel_order("123", market["symbol"])
    except ccxt.ExchangeError as error:
        seen.append(type(error).__name__)
        print(f"ccxt {ccxt.__version__} {client.id}: {type(error).__name__}: {error}")
assert seen == ["BadRequest", "ExchangeError"], seen
PY
