#!/usr/bin/env bash
# ccxt 4.5.90, mexc: fetch_funding_history, one's own funding payments, asked from a time on and for all symbols, as documented.
# Expected: the payments since then, each with its symbol, or a word that there are more.
# Seen: `since` is neither sent nor applied, so that the venue's first page comes: the newest 20 rows, whatever their age (here
# of 90 days, 20 of 270), newest first, and without a symbol each row's symbol is None. (A server on 127.0.0.1 pages as MEXC
# documents: page_size 20 unless told, at most 100.)
# What to do: page with page_num until totalPage, cut by time oneself, and take the symbol from `info`.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlparse
import ccxt

PERIOD, FIRST = 8 * 3_600_000, 1_761_955_200_000
PAYMENTS = [
    {"id": k, "symbol": "FOO_USDT", "positionType": 2, "positionValue": 100.0, "funding": 0.01, "rate": 0.0001, "settleTime": FIRST + k * PERIOD}
    for k in range(270)
]
asked = []


class Mexc(BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path)
        query = {k: int(v[0]) for k, v in parse_qs(urlparse(self.path).query).items() if v[0].isdigit()}
        size, page = min(query.get("page_size", 20), 100), query.get("page_num", 1)
        rows = PAYMENTS[::-1][(page - 1) * size : page * size]
        data = {"pageSize": size, "totalCount": 270, "totalPage": -(-270 // size), "currentPage": page, "resultList": rows}
        body = json.dumps({"success": True, "code": 0, "data": data}).encode()
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
    "inverse": False, "contractSize": 1.0, "active": True, "precision": {}, "limits": {}, "info": {},
}])
mexc.urls["api"]["contract"]["private"] = f"http://127.0.0.1:{server.server_port}/api/v1/private"
total = sum(row["funding"] for row in PAYMENTS)
rows = mexc.fetch_funding_history(None, FIRST)
got = sum(row["amount"] for row in rows)
print(f"ccxt {ccxt.__version__}: asked {asked[-1].split('?')[0]} for all payments since the first: {len(rows)} of 270 rows, {got:.2f} of {total:.2f} USDT")
print(f"symbols: {sorted({str(row['symbol']) for row in rows})}, newest first: {rows[0]['timestamp'] > rows[-1]['timestamp']}")
late = mexc.fetch_funding_history("FOO/USDT:USDT", FIRST + 265 * PERIOD)
print(f"since the 266th payment, of which there are 5: {len(late)} rows, the oldest from {late[-1]['datetime']}")
assert len(rows) == len(late) == 20 and {row["symbol"] for row in rows} == {None}
assert rows[0]["timestamp"] > rows[-1]["timestamp"]
PY
