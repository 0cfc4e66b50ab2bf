#!/usr/bin/env bash
# ccxt 4.5.90, mexc: candles of the mark price (`{"price": "mark"}`) asked of a spot market, which has none.
# Expected: a refusal. Seen: the request goes to the candles of last trades and their rows come back as if they were marks.
# (A server on 127.0.0.1 stands for the venue.)
# What to do: refuse before asking, wherever the market is spot.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
import ccxt

asked = []


class Mexc(BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path)
        body = json.dumps([[1760000400000, "1", "2", "1", "2", "5", 1760000459999, "9"]]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *rest):
        pass


server = HTTPServer(("127.0.0.1", 0), Mexc)
threading.Thread(target=server.serve_forever, daemon=True).start()
mexc = ccxt.mexc({"enableRateLimit": False})
mexc.set_markets([{
    "id": "FOOUSDT", "symbol": "FOO/USDT", "base": "FOO", "quote": "USDT", "type": "spot", "spot": True, "swap": False,
    "future": False, "option": False, "contract": False, "active": True, "precision": {}, "limits": {}, "info": {},
}])
mexc.urls["api"]["spot"]["public"] = f"http://127.0.0.1:{server.server_port}"
rows = mexc.fetch_ohlcv("FOO/USDT", "1m", params={"price": "mark"})
print(f"ccxt {ccxt.__version__}: mark candles of a spot market: {len(rows)} rows from {asked[0].split('?')[0]}, no error")
assert rows and "mark" not in asked[0].split("?")[0]
PY
