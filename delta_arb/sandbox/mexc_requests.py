"""MEXC's requests: signatures and clocks, errors by code, and the parameters that a request carries.

Codes and texts are those of MEXC's own documentation and, where that is silent, those its clients have met; a code
that is neither is marked as ours.
"""

import hashlib
import hmac
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from urllib.parse import parse_qsl

from delta_arb.sandbox import values as v
from delta_arb.sandbox.values import ApiKey, Refusal

DEFAULT_WINDOW_MS = 5_000
MAX_WINDOW_MS = 60_000
AHEAD_MS = 1_000  # a stamp this far before the venue's clock is already too far

# code: (HTTP status, text)
REFUSALS = {
    -2011: (400, "Unknown order sent."),
    -2013: (400, "Order does not exist."),
    -1121: (400, "Invalid symbol."),
    400: (400, "api key required"),
    403: (403, "Access Denied"),
    429: (429, "Too Many Requests"),
    500: (500, "Internal error"),
    503: (503, "Service not available, please try again"),
    504: (504, "Gateway Time-out"),
    603: (400, "Repeated request"),  # ours for a client order id used twice: MEXC documents no code for it
    10001: (400, "user does not exist"),
    10015: (400, "user id cannot be null"),
    10072: (400, "Api key info invalid"),
    10073: (400, "invalid Request-Time"),
    10096: (400, "amount decimal places is too long"),
    10098: (400, "risk control system detected abnormal"),
    10101: (400, "Insufficient balance"),
    10102: (400, "amount cannot be zero or negative"),
    20002: (400, "Internal system error please contact support"),
    30000: (400, "suspended transaction for the symbol"),
    30002: (400, "The minimum transaction volume cannot be less than:{least}"),
    30003: (400, "The maximum transaction volume cannot be greater than:{most}"),
    30004: (400, "Insufficient position"),
    30005: (400, "Oversold"),
    30010: (400, "no valid trade price"),
    30016: (400, "trading disabled"),
    30018: (400, "market order is disabled"),
    30019: (400, "api market order is disabled"),
    30021: (400, "invalid symbol"),
    30025: (400, "no exist opponent order"),
    30026: (400, "invalid order ids"),
    30028: (400, "The currency triggered the platform risk control, the selling is suspended"),
    30029: (400, "Cannot exceed the maximum order limit"),
    30032: (400, "Cannot exceed the maximum position"),
    30041: (400, "current order type can not place order"),
    30087: (400, "Order price exceeds allowed range"),
    33333: (400, "param is error"),
    60005: (400, "your account is abnormal"),
    140002: (400, "sub account is forbidden"),
    700001: (400, "API-key format invalid."),
    700002: (400, "Signature for this request is not valid."),
    700003: (400, "Timestamp for this request is outside of the recvWindow."),
    700004: (400, "Param '{param}' must be sent, but was empty/null!"),
    700005: (400, "recvWindow must less than 60000"),
    700007: (403, "No permission to access the endpoint."),
    700008: (400, "Illegal characters found in parameter '{param}'."),
    730000: (400, "Request failed, please contact the customer service"),
    730001: (400, "Pair not found"),
    730002: (400, "Parameter error"),
    730100: (400, "Unusual user status"),
    730706: (400, "API KEY information does not exist"),
    730708: (400, "listen key information error"),
}
CODES: dict[type[Refusal], int] = {
    v.UnknownPair: -1121,
    v.NotTrading: 30016,
    v.InsufficientFunds: 10101,
    v.BelowMinimum: 30002,
    v.BelowNotional: 30002,
    v.AboveMaximum: 30003,
    v.BadPrecision: 400,
    v.PriceTooDeviated: 30087,
    v.WouldTakeLiquidity: 30041,
    v.UnknownOrder: -2013,
    v.OrderFinished: -2011,
    v.DuplicateClientId: 603,
}


class MexcError(Refusal):
    """A request that MEXC answers with an error body: HTTP status and `{"code", "msg"}`."""

    def __init__(self, code: int, msg: str = "", **words: str) -> None:
        self.status, text = REFUSALS.get(code, REFUSALS[730000])
        self.body = {"code": code, "msg": msg or text.format_map(defaultdict(str, words))}
        super().__init__(f"{code}: {self.body['msg']}")


def sign(secret: str, total_params: str) -> str:
    """The signature of a query string directly followed by the body."""
    return hmac.new(secret.encode(), total_params.encode(), hashlib.sha256).hexdigest()


def verify(query: str, body: str, headers: Mapping[str, str], api_key: ApiKey, now_ms: int) -> None:
    """Whether key, signature and clock of a signed request are in order.

    `query` is the raw query string: what is signed is the text that was sent, not a re-encoding of it.

    Raises:
        MexcError: no key, an unknown one, a wrong signature, a stamp outside of the window.
    """
    key = headers.get("X-MEXC-APIKEY", "")
    if not key:
        raise MexcError(400)
    if key != api_key.key:
        raise MexcError(10072)
    params = dict(parse_qsl(query, keep_blank_values=True))
    if "signature" not in params:
        raise MexcError(700004, param="signature")
    total = "&".join(part for part in query.split("&") if not part.startswith("signature=")) + body
    if not hmac.compare_digest(sign(api_key.secret, total), params["signature"]):
        raise MexcError(700002)
    check_clock(params.get("timestamp", ""), params.get("recvWindow", str(DEFAULT_WINDOW_MS)), now_ms)


def check_clock(timestamp: str, window: str, now_ms: int) -> None:
    """MEXC's rule: timestamp < now + 1000 and now - timestamp <= recvWindow, all in ms."""
    if not timestamp.isdigit():
        raise MexcError(700004, param="timestamp")
    if not window.isdigit() or int(window) > MAX_WINDOW_MS:
        raise MexcError(700005)
    if not (int(timestamp) < now_ms + AHEAD_MS and now_ms - int(timestamp) <= int(window)):
        raise MexcError(700003)


def present(query: Mapping[str, str], name: str) -> str:
    """A mandatory parameter."""
    if not query.get(name):
        raise MexcError(700004, param=name)
    return query[name]


def integer(query: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(query.get(name, default))
    except ValueError:
        raise MexcError(700008, param=name) from None


def number(query: Mapping[str, str], name: str) -> Decimal:
    try:
        value = Decimal(present(query, name))
    except InvalidOperation:
        raise MexcError(700008, param=name) from None
    if not value.is_finite():
        raise MexcError(700008, param=name)
    return value


def limit(query: Mapping[str, str], default: int, most: int) -> int:
    """The parameter `limit`; more than `most` is taken as `most`."""
    asked = integer(query, "limit", default)
    if asked <= 0:
        raise MexcError(700008, param="limit")
    return min(asked, most)


def time_range(query: Mapping[str, str]) -> tuple[int, int]:
    """startTime and endTime in ms, both included."""
    return integer(query, "startTime", 0), integer(query, "endTime", 10**15)
