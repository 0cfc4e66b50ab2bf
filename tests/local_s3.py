"""moto's S3 on this machine, one request at a time: its check of a condition and its write are two steps.

Each request is logged with the bytes that were sent back, so that a test can count them.
"""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

pytest.importorskip("moto")
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

KEYS = {"AWS_ACCESS_KEY_ID": "AKIA-NOT-A-KEY", "AWS_SECRET_ACCESS_KEY": "secret-of-nobody"}


class Quiet(MotoRequestHandler):
    def log_request(self, *_: object) -> None:
        pass


@dataclass
class LocalS3:
    """`requests` are method, path and bytes of each answer's body."""

    url: str = ""
    requests: list[tuple[str, str, int]] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        return {**KEYS, "AWS_ENDPOINT_URL": self.url, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}

    @property
    def sent_bytes(self) -> int:
        return sum(n for _, _, n in self.requests)

    def counting(self, app):
        def called(environ, start_response):
            whole = b"".join(app(environ, start_response))
            path = environ["PATH_INFO"] + "?" * bool(environ.get("QUERY_STRING"))
            self.requests.append((environ["REQUEST_METHOD"], path, len(whole)))
            return [whole]

        return called


@contextlib.contextmanager
def served() -> Iterator[LocalS3]:
    """A server with the bucket `bucket`, until the end of the block."""
    import obstore  # noqa: F401 - what is tested

    found = LocalS3()
    app = found.counting(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=False, request_handler=Quiet)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
