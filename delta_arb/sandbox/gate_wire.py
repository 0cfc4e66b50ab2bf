"""Gate.io's REST dialect: signatures, labels, and reading what a request asks for."""

import hashlib
import hmac
import json
from decimal import Decimal, InvalidOperation
from typing import Any

from delta_arb.sandbox.engine import NS
from delta_arb.sandbox.values import Refusal, dec, text
from delta_arb.sandbox.wire import Request


class Labelled(Refusal):
    """A refusal by the venue's own label, for what only this face knows."""

    def __init__(self, label: str, message: str) -> None:
        super().__init__(message)
        self.label = label


def signature(secret: str, method: str, path: str, query: str, body: bytes, timestamp: str) -> str:
    """hex(HMAC-SHA512(secret, METHOD \\n path \\n query \\n hex(SHA512(body)) \\n timestamp))."""
    payload = "\n".join((method, path, query, hashlib.sha512(body).hexdigest(), timestamp))
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha512).hexdigest()


def wants_decimal(request: Request) -> bool:
    return request.headers.get("X-Gate-Size-Decimal") == "1"


def number(value: Any, name: str) -> Decimal:
    try:
        parsed = dec(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except InvalidOperation:
        parsed = None
    if parsed is None or not parsed.is_finite():
        raise Labelled("INVALID_PARAM_VALUE", f"{name} must be a number, was {value!r}")
    return parsed


def integer(request: Request, name: str, default: int) -> int:
    return int(number(request.query.get(name, default), name))


def in_range(request: Request, ts_ns: int) -> bool:
    return integer(request, "from", 0) <= ts_ns / NS < integer(request, "to", 1 << 40) + 1


def page(request: Request, items: list) -> list:
    """The page asked for, newest first."""
    offset, limit = integer(request, "offset", 0), min(integer(request, "limit", 100), 1000)
    return items[::-1][offset : offset + limit]


def body_of(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(request.body, parse_float=Decimal)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Labelled("INVALID_REQUEST_BODY", "the body must be a JSON object")
    return body | {k: text(x) for k, x in body.items() if isinstance(x, Decimal)}
