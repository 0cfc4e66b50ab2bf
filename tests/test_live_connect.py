"""The local venues that a command finds again: theirs, and nobody else's."""

import json
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from delta_arb.live import local_venues

BODIES = {"nothing": b"", "another service": b'{"status": "ok"}', "a page": b"<html>"}


@pytest.fixture
def stranger():
    """A process that has the number that the local venues had."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def noted(folder, pid: int, port: int) -> None:
    """What an earlier start left behind."""
    local = local_venues.LocalVenues(pid, [], f"http://127.0.0.1:{port}", {})
    (folder / "sandbox.json").write_text(json.dumps(local._asdict()))


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_another_service_on_the_port_is_not_taken_for_the_local_venues_nor_ended(tmp_path, stranger, body):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Quietly."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        noted(tmp_path, stranger.pid, server.server_port)
        assert local_venues.running(tmp_path) is None
        local_venues.end(tmp_path)
        server.shutdown()
    assert stranger.poll() is None and not (tmp_path / "sandbox.json").exists()


@pytest.mark.parametrize("do", ["error", "cut", "rate_limit", "delay"])
def test_local_venues_are_found_again_whatever_a_fault_script_does_and_ended_once(tmp_path, do):
    faults = tmp_path / "faults.toml"
    faults.write_text(f'[[fault]]\nat = "time"\ndo = "{do}"\nseconds = 0.5\nstatus = 502\ntimes = 0\n')
    first, new = local_venues.start(tmp_path, ["--faults", str(faults)])
    try:
        assert new and local_venues.running(tmp_path) == first
        again, new = local_venues.start(tmp_path, ["--faults", str(faults)])
        assert (again, new) == (first, False)
    finally:
        local_venues.end(tmp_path)
    deadline = time.monotonic() + 10.0
    while local_venues._answers(first.url):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert local_venues.running(tmp_path) is None
