#!/usr/bin/env bash
# ccxt 4.5.90, mexc: a reduce-only order on a perpetual of an account in hedge mode (`reduceOnly`, `hedged`).
# MEXC counts sides 1 open long, 2 close short (both buy), 3 open short, 4 close long (both sell).
# Expected: a reduce-only buy is 2, a reduce-only sell 4, as ccxt sends them in one-way mode.
# Seen: in hedge mode they are exchanged: the buy that should close the short is sent as the sell that closes the long, so
# that an account that holds both loses the wrong leg. (A server on 127.0.0.1 stands for the venue.)
# What to do: pass the venue's own number, `{"side": 2}`, in the params of a call with `hedged`; it wins over ccxt's.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
import ccxt

sent = []


class Mexc(BaseHTTPRequestHandler):
    def do_POST(self):
        sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        body = json.dumps({"success": True, "code": 0, "data": {"orderId": "739113577038255616", "ts": 1761888808839}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *rest):
        pass


server = HTTPServer(("127.0.0.1", 0), Mexc)
threading.Thread(target=server.serve_forever, daemon=True).start()
mexc = ccxt.mexc({"apiKey": "key", "secret": "secret", "enableRateLimit": False})
mexc.set_markets([{
    "id": "FOO_USDT", "symbol": "FOO/USDT:USDT", "base": "FOO", "quote": "USDT", "settle": "USDT", "settleId": "USDT",
    "type": "swap", "spot": False, "swap": True, "future": False, "option": False, "contract": True, "linear": True,
    "inverse": False, "contractSize": 1.0, "active": True, "precision": {"amount": 1.0, "price": 0.01}, "limits": {}, "info": {},
}])
mexc.urls["api"]["contract"]["private"] = f"http://127.0.0.1:{server.server_port}/api/v1/private"
meaning = {1: "open long", 2: "close short", 3: "open short", 4: "close long"}
seen = {}
for hedged in (False, True):
    for side in ("buy", "sell"):
        mexc.create_order("FOO/USDT:USDT", "limit", side, 1, 5.0, {"reduceOnly": True, "hedged": hedged})
        seen[hedged, side] = sent[-1]["side"]
        mode = "hedge mode" if hedged else "one-way"
        print(f"ccxt {ccxt.__version__}, {mode}: a reduce-only {side} is sent as side {sent[-1]['side']}, {meaning[sent[-1]['side']]}")
mexc.create_order("FOO/USDT:USDT", "limit", "buy", 1, 5.0, {"reduceOnly": True, "hedged": True, "side": 2})
print(f"with 'side': 2 in the params: {meaning[sent[-1]['side']]}")
assert seen == {(False, "buy"): 2, (False, "sell"): 4, (True, "buy"): 4, (True, "sell"): 2} and sent[-1]["side"] == 2
PY
