"""The kept connection that orders leave by, against real servers that misbehave."""

import asyncio
import datetime
import ipaddress
import ssl
from contextlib import asynccontextmanager
from typing import NamedTuple

import h11
import pytest
from ccxt.base import errors as ccxt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from test_live_venues import BOTH, QUICK, buy, live, until

from delta_arb.live.venues.base import VenueError
from delta_arb.live.venues.ccxt_client import SIGNED
from delta_arb.live.venues.order_connection import HttpAnswer, OrderConnection

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
WAIT_S = 5.0


class Says(NamedTuple):
    """What a server says to a request, and whether it then closes, is silent, or listens on."""

    data: bytes
    then: str = "listens"


WELL = Says(GOOD)


class Server:
    """Answers GET well, and each POST by its script; `heard` are the POSTs."""

    def __init__(self, *script: Says) -> None:
        self.script, self.heard, self.url = list(script), [], ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await self._request(reader)) is not None:
                if request[0].method == b"GET":
                    writer.write(GOOD)
                    continue
                self.heard.append(request)
                data, then = self.script.pop(0)
                writer.write(data)
                if then == "closes":
                    break
                if then == "is silent":
                    await asyncio.sleep(WAIT_S)
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> tuple[h11.Request, bytes] | None:
        """By h11, which refuses what is not HTTP."""
        connection, body, head = h11.Connection(h11.SERVER), b"", None
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                data = await reader.read(1 << 16)
                if not data:
                    return None
                connection.receive_data(data)
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return head, body


@asynccontextmanager
async def connected_to(server: Server, serve_tls=None, trust=None):
    listening = await asyncio.start_server(server, "127.0.0.1", 0, ssl=serve_tls)
    server.url = f"http{'s' if serve_tls else ''}://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    look = {"url": f"{server.url}/time", "method": "GET", "headers": None, "body": None}
    connection = OrderConnection("venue orders", look, {"User-Agent": "test"}, trust, QUICK)
    running = asyncio.create_task(connection.run())
    try:
        async with asyncio.timeout(10):
            yield connection
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        listening.close()


def order(server: Server, body: str | None = '{"size":5}') -> dict:
    return {"url": f"{server.url}/orders?a=1&b=2", "method": "POST", "headers": {"KEY": "k"}, "body": body}


async def posted(connection: OrderConnection, server: Server, timeout_s: float = WAIT_S, **more) -> HttpAnswer:
    request = order(server, **more)
    await until(lambda: connection.free(request["url"]))
    return await connection.free(request["url"]).post(connection.wired(request), timeout_s)


def test_a_request_arrives_as_it_was_signed_and_its_answer_is_read():
    async def go():
        server = Server(WELL, Says(b"HTTP/1.1 400 Bad Request\r\nX-A: b\r\ncontent-length: 5\r\n\r\nwrong"))
        async with connected_to(server) as connection:
            assert await posted(connection, server) == HttpAnswer(200, "OK", {"content-length": "2"}, b"{}")
            second = await posted(connection, server, body=None)
            assert (second.status, second.headers["x-a"], second.body) == (400, "b", b"wrong")
            assert connection.dials == 1
        (head, body), (bare, nothing) = server.heard
        assert (head.method, head.target, body, nothing) == (b"POST", b"/orders?a=1&b=2", b'{"size":5}', b"")
        headers = dict(head.headers)
        assert headers[b"host"].decode() in server.url
        assert (headers[b"key"], headers[b"user-agent"], headers[b"content-length"]) == (b"k", b"test", b"10")
        assert dict(bare.headers)[b"content-length"] == b"0"

    asyncio.run(go())


@pytest.mark.parametrize(
    "says",
    [
        Says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
        Says(b"HTTP/1.1 103 Early Hints\r\n\r\n" + GOOD),
        Says(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", "is silent"),
        Says(b"HTTP/1.0 200 OK\r\n\r\n{}", "closes"),  # its end is the end of the connection
    ],
)
def test_answers_of_all_shapes_are_read_and_the_next_request_finds_a_connection(says):
    async def go():
        server = Server(says, WELL)
        async with connected_to(server) as connection:
            assert (await posted(connection, server)).body == b"{}"
            assert (await posted(connection, server)).body == b"{}"
            assert connection.dials == (1 if says.then == "listens" else 2)

    asyncio.run(go())


@pytest.mark.parametrize(
    ("says", "error"),
    [
        (Says(b"", "closes"), ConnectionError),
        (Says(b"HTTP/1.1 200 OK\r\nContent-Le", "closes"), ConnectionError),
        (Says(b"not a venue\r\n\r\n"), ConnectionError),
        (Says(GOOD[:-1], "is silent"), TimeoutError),
    ],
)
def test_a_request_without_its_whole_answer_fails_and_is_never_sent_again(says, error):
    async def go():
        server = Server(says, WELL)
        async with connected_to(server) as connection:
            with pytest.raises(error):
                await posted(connection, server, timeout_s=0.3)
            await until(lambda: connection.dials == 2)
            assert len(server.heard) == 1
            assert (await posted(connection, server)).status == 200
            assert len(server.heard) == 2

    asyncio.run(go())


def test_one_request_at_a_time_and_only_to_its_own_venue():
    async def go():
        server = Server(Says(b"", "is silent"), WELL)
        async with connected_to(server) as connection:
            url = f"{server.url}/orders"
            await until(lambda: connection.free(url))
            assert not connection.free(f"{server.url}0/orders") and not connection.free("https://elsewhere/orders")
            answer = connection.free(url).post(connection.wired(order(server)), 0.2)
            assert not connection.free(url)
            with pytest.raises(TimeoutError):
                await answer
            assert not connection.free(url)  # what the venue still says on that connection belongs to nobody
            await until(lambda: connection.free(url))

    asyncio.run(go())


def test_a_connection_is_encrypted_and_trusts_whom_it_is_told_to(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "venue")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(hours=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = made.add_extension(address, False).sign(key, hashes.SHA256())
    as_pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "venue.pem").write_bytes(certificate.public_bytes(as_pem[0]) + key.private_bytes(*as_pem))
    serve_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serve_tls.load_cert_chain(tmp_path / "venue.pem")

    async def go():
        server = Server(WELL)
        async with connected_to(
            server, serve_tls, ssl.create_default_context(cafile=tmp_path / "venue.pem")
        ) as connection:
            assert (await posted(connection, server)).status == 200
        async with connected_to(server, serve_tls, ssl.create_default_context()) as connection:
            await until(lambda: connection.dials >= 3)
            assert not connection.free(f"{server.url}/orders")

    asyncio.run(go())


@BOTH
@live
async def test_orders_leave_by_the_kept_connection_and_by_ccxt_while_it_is_away(it, leg):
    client = it.legs[leg]
    usual, by_ccxt = client._clients.orders.fetch, []

    async def fetch(url, method="GET", headers=None, body=None):
        by_ccxt.append((method, url))
        return await usual(url, method, headers, body)

    client._clients.orders.fetch = fetch
    await until(lambda: client._connection.free(f"{client._connection._origin}/"))
    first = await it.outcome(leg, buy(20), "run-1")
    assert not [url for method, url in by_ccxt if method == "POST"]
    client._connection._socket.close()
    second = await it.outcome(leg, buy(20), "run-2")
    assert len([url for method, url in by_ccxt if method == "POST" and "order" in url]) == 1
    assert (first.filled, second.filled) == (20, 20) and len(it.placed(leg)) == 2
    await until(lambda: client._connection.free(f"{client._connection._origin}/"))
    assert client._connection.dials == 2


@BOTH
@live
async def test_ccxt_understands_an_answer_of_the_kept_connection_as_its_own(it, leg):
    """The same refusal by both ways: the same class of error, code and status."""
    client, found = it.legs[leg], []
    by_ccxt = lambda r: client._clients.orders.fetch(*(r[part] for part in SIGNED))  # noqa: E731
    connection = client._connection
    by_connection = lambda r: client._clients.understood(r, connection.free(r["url"]).post(connection.wired(r), WAIT_S))  # noqa: E731
    for n, way in enumerate((by_ccxt, by_connection)):
        it.fault(leg, "order.create", "refuse", code=("30004", "BALANCE_NOT_ENOUGH")[leg])
        request = client._sign(client._request(f"run-{n}", buy(20), client._price(buy(20))))
        await until(lambda r=request: client._connection.free(r["url"]))
        with pytest.raises(ccxt.InsufficientFunds) as caught:
            await way(request)
        found.append((type(caught.value), caught.value.status, str(caught.value).partition("{")[2]))
    assert found[0] == found[1]


@BOTH
@live(legs=())
async def test_behind_a_proxy_there_is_no_kept_connection(it, leg):
    client = await it.open(it.client(leg))
    client._clients.orders.https_proxy = "http://127.0.0.1:1"
    assert client._clients.order_connection(*client.clock) is None


@BOTH
@live(legs=())
async def test_a_venue_does_not_open_where_ccxt_signs_orders_in_another_way(it, leg, monkeypatch):
    """Ours would be refused."""
    kind = it.client(leg).client
    sign = kind.sign

    def changed(client, path, *how):
        request = sign(client, path, *how)
        return request | {"url": request["url"] + "&more=1"} if path.endswith(("order", "orders")) else request

    monkeypatch.setattr(kind, "sign", changed)
    with pytest.raises(VenueError, match=r"this ccxt signs orders otherwise; install the one of requirements\.lock"):
        await it.open(it.client(leg))


@BOTH
@live(legs=())
async def test_orders_of_a_market_with_a_chinese_name_are_signed_as_by_ccxt(it, leg):
    """MEXC and Gate list some; ccxt writes their names into a url in UTF-8 with percent signs, and signs that."""
    client = await it.open(it.client(leg))
    request = client._request("run-1", buy(20), client._price(buy(20)))
    client._check_signature(request | {("symbol", "contract")[leg]: ("币安人生USDT", "币安人生_USDT")[leg]})
    assert leg or "symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT&" in client._like["url"]
