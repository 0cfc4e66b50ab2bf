#!/usr/bin/env bash
# ccxt 4.5.90, gate: `fetch_funding_rate_history(..., {"paginate": True})` on a contract that settles every hour.
# Expected: every settlement of the range. Seen: pages are laid out for one settlement in 8 hours, so a single page of 1000 is
# asked for a range of 1441 settlements, and the oldest 441 are missing without a word. (Here a server on 127.0.0.1 gives
# the newest `limit` rows of the range that it is asked for: 100 unless told, at most 1000, as Gate documents.)
# What to do: page backwards from the end until nothing new comes, and compare with the local interval.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlparse
import ccxt

HOUR, FIRST = 3600, 1_760_000_400
asked = []
STAMPS = [FIRST + k * HOUR for k in range(1441)]


class Gate(BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path.split("?")[1])
        q = {k: int(v[0]) for k, v in parse_qs(urlparse(self.path).query).items() if v[0].isdigit()}
        rows = [t for t in STAMPS if q.get("from", 0) <= t <= q.get("to", 1 << 40)][-min(q.get("limit", 100), 1000):]
        body = json.dumps([{"t": t, "r": "0.0001"} for t in reversed(rows)]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *rest):
        pass


server = HTTPServer(("127.0.0.1", 0), Gate)
threading.Thread(target=server.serve_forever, daemon=True).start()
gate = ccxt.gate({"enableRateLimit": False})
market = {
    "id": "FOO_USDT", "symbol": "FOO/USDT:USDT", "base": "FOO", "quote": "USDT", "settle": "USDT", "settleId": "usdt",
    "type": "swap", "spot": False, "swap": True, "future": False, "option": False, "contract": True, "linear": True,
    "inverse": False, "contractSize": 1.0, "active": True, "precision": {}, "limits": {}, "info": {},
}
gate.set_markets([market])
gate.urls["api"]["public"]["futures"] = f"http://127.0.0.1:{server.server_port}"
rows = gate.fetch_funding_rate_history("FOO/USDT:USDT", FIRST * 1000, None, {"until": STAMPS[-1] * 1000, "paginate": True})
got = len({row["timestamp"] for row in rows})
print(f"ccxt {ccxt.__version__}: {len(STAMPS)} hourly settlements in the range, {got} returned, no error")
print("asked:", *asked, sep="\n  ")
assert got == 1000, "all settlements came: this finding is out of date"
PY
