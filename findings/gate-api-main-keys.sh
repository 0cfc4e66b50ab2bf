#!/usr/bin/env bash
# gate-api 7.2.161 (Gate's official client): AccountApi.get_account_main_keys(), answered as Gate's documentation shows it: a list
# of keys, each with its permissions.
# Expected: a list of keys. Seen: one object whose every field is None, without an error, so that a program which asks it
# whether a key may withdraw is told nothing and may take it for no. (A server on 127.0.0.1 stands for the venue.)
# What to do: read GET /account/main_keys without that model, and take a field that is missing for unknown.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gate-api==7.2.161 2>/dev/null
"$folder/venv/bin/python" - <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
import gate_api

KEYS = [{
    "state": 1, "mode": 1, "name": "test1", "user_id": 1,
    "perms": [{"name": "account", "read_only": False}, {"name": "withdrawal", "read_only": False}],
    "ip_whitelist": [], "currency_pairs": ["BTC_USD"], "key": "c5dcfbf1f3a7*****",
    "created_at": 1753030929, "update_at": 1756300567, "last_access": 1753030929,
}]


class Gate(BaseHTTPRequestHandler):
    def do_GET(self):
        assert self.path == "/api/v4/account/main_keys", self.path
        body = json.dumps(KEYS).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *rest):
        pass


server = HTTPServer(("127.0.0.1", 0), Gate)
threading.Thread(target=server.serve_forever, daemon=True).start()
host = f"http://127.0.0.1:{server.server_port}/api/v4"
client = gate_api.ApiClient(gate_api.Configuration(host=host, key="key", secret="secret"))
found = gate_api.AccountApi(client).get_account_main_keys()
fields = {name: getattr(found, name) for name in found.openapi_types}
print(f"gate-api {gate_api.__version__}: {len(KEYS)} key in the answer reads as a {type(found).__name__} of {fields}")
assert type(found).__name__ == "AccountKeyInfo" and set(fields.values()) == {None}
PY
