#!/usr/bin/env bash
# pymexc 1.2.19 (1.3.0 and 1.3.1 lack a module that they import): futures.HTTP.order(...), checked by a server on 127.0.0.1 as
# MEXC documents it: the parameters of a POST are its JSON body, and key + Request-Time + that body is what is signed.
# Expected: an order that such a venue takes. Seen: the order stands in the address, the body is empty, and the signature covers
# the sorted parameters: it agrees with neither, so that every order ends at "signature verification failed".
# What to do: sign and send futures orders with ccxt, whose request the same server takes.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pymexc==1.2.19 ccxt==4.5.90 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version

import ccxt
from pymexc import futures
from pymexc.base import MexcAPIError

KEY, SECRET, seen = "mx0key", "secret", []


class Mexc(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        signed = KEY + self.headers["Request-Time"] + body
        right = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).hexdigest() == self.headers["Signature"]
        seen.append((self.path.split("?")[0], "?" in self.path, body, right))
        answer = {"success": True, "code": 0, "data": 101716841474621953}
        if not right:
            answer = {"success": False, "code": 602, "message": "Signature verification failed!"}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *rest):
        pass


server = HTTPServer(("127.0.0.1", 0), Mexc)
threading.Thread(target=server.serve_forever, daemon=True).start()
host = f"http://127.0.0.1:{server.server_port}"

client = futures.HTTP(KEY, SECRET, ignore_ad=True)
client.base_url = host
try:
    client.order("BTC_USDT", price=90000.0, vol=1.0, side=1, type=1, open_type=2)
    answer = "taken"
except MexcAPIError as error:
    answer = str(error)
path, in_address, body, right = seen[-1]
print(f"pymexc {version('pymexc')}: {path}, order in the address: {in_address}, body {body!r}, signature right: {right}: {answer}")
assert in_address and body == "" and not right and "602" in answer

venue = ccxt.mexc({"apiKey": KEY, "secret": SECRET})
venue.urls["api"]["contract"]["private"] = f"{host}/api/v1/private"
venue.contractPrivatePostOrderSubmit({"symbol": "BTC_USDT", "price": 90000, "vol": 1, "side": 1, "type": 1, "openType": 2})
print(f"ccxt {ccxt.__version__}: signature right: {seen[-1][3]}")
assert seen[-1][3]
PY
