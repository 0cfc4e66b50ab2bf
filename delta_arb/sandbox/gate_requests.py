"""Gate.io's requests: keys and signatures, errors by label, and the parameters that a request carries."""

import hashlib
import hmac
import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any

from delta_arb.market import NS
from delta_arb.sandbox.http import Request
from delta_arb.sandbox.perpetual import PerpetualEngine
from delta_arb.sandbox.values import ApiKey, Listing, Refusal, dec, text

WINDOW_S = 60  # a Timestamp further from the venue's clock is REQUEST_EXPIRED


class GateError(Refusal):
    """A refusal by the venue's own label, for what only Gate knows."""

    def __init__(self, label: str, message: str) -> None:
        super().__init__(message)
        self.label = label


def signs(secret: str, signed: str, sign: str) -> bool:
    """Whether `sign` is the hex HMAC-SHA512 of `signed`."""
    return hmac.compare_digest(str(sign), hmac.new(secret.encode(), signed.encode(), hashlib.sha512).hexdigest())


def verify(request: Request, key: ApiKey, now_ns: int) -> None:
    """Whether key, clock and signature of a signed request are in order; raises GateError."""
    headers = request.headers
    timestamp, sign = headers.get("Timestamp", ""), headers.get("SIGN", "")
    if not timestamp or not sign or not headers.get("KEY"):
        raise GateError("MISSING_REQUIRED_HEADER", "KEY, Timestamp and SIGN are required")
    if headers["KEY"] != key.key:
        raise GateError("INVALID_KEY", "Invalid key provided")
    check_time(timestamp, now_ns)
    expires_ms = headers.get("X-Gate-Exptime", "")
    if expires_ms and int(expires_ms) < now_ns / 1e6:
        raise GateError("REQUEST_EXPIRED", "the request came after its X-Gate-Exptime")
    # Some clients sign the query unescaped.
    queries = {request.query_string, "&".join(f"{k}={value}" for k, value in request.query.items())}
    expected = (signature(key.secret, request.method, request.path, q, request.body, timestamp) for q in queries)
    if not any(hmac.compare_digest(sign, good) for good in expected):
        raise GateError("INVALID_SIGNATURE", "Signature mismatch")


def check_time(timestamp: str, now_ns: int) -> None:
    """A request's own time must be within a minute of the venue's clock."""
    if not re.fullmatch(r"\d{1,12}(\.\d+)?", timestamp) or abs(float(timestamp) - now_ns / NS) > WINDOW_S:
        raise GateError("REQUEST_EXPIRED", f"gap between request Timestamp and server time exceeds {WINDOW_S}")


def signature(secret: str, method: str, path: str, query: str, body: bytes, timestamp: str) -> str:
    """hex(HMAC-SHA512(secret, METHOD \\n path \\n query \\n hex(SHA512(body)) \\n timestamp))."""
    payload = "\n".join((method, path, query, hashlib.sha512(body).hexdigest(), timestamp))
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha512).hexdigest()


def listing_asked(engine: PerpetualEngine, request: Request) -> Listing:
    """The contract of the path or of the query."""
    return engine.listing(request.match.get("contract") or request.query.get("contract", ""))


def wants_decimal(request: Request) -> bool:
    return request.headers.get("X-Gate-Size-Decimal") == "1"


def number(value: Any, name: str) -> Decimal:
    try:
        parsed = dec(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except InvalidOperation:
        parsed = None
    if parsed is None or not parsed.is_finite():
        raise GateError("INVALID_PARAM_VALUE", f"{name} must be a number, was {value!r}")
    return parsed


def integer(request: Request, name: str, default: int) -> int:
    return int(number(request.query.get(name, default), name))


def in_range(request: Request, ts_ns: int) -> bool:
    return integer(request, "from", 0) <= ts_ns / NS < integer(request, "to", 1 << 40) + 1


def page(request: Request, items: list) -> list:
    """The rows of the request's page, newest first."""
    offset, limit = integer(request, "offset", 0), min(integer(request, "limit", 100), 1000)
    return items[::-1][offset : offset + limit]


def body_of(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(request.body, parse_float=Decimal)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise GateError("INVALID_REQUEST_BODY", "the body must be a JSON object")
    return body | {k: text(x) for k, x in body.items() if isinstance(x, Decimal)}
