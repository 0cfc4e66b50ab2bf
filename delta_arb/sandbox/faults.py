"""What goes wrong, where and when: one short list for both venues, as Python values, TOML or JSON; and its log.

    [[fault]]
    venue = "gate"            # "mexc", "gate" or "*"
    at = "order.create"       # a hook (below); shell patterns such as "order.*" match several
    do = "error_after"        # an action (below)
    status = 503
    skip = 1                  # let the first one pass
    times = 2                 # then fire twice (0 = each time)
    from_s = 10               # active from here on, seconds since the venue started
    until_s = 60

| at | do | what happens |
| --- | --- | --- |
| a request | delay | answered `seconds` later (the venue acts at once) |
| | hang | accepted, never answered (`before = true`: not accepted either) |
| | cut / cut_after | connection aborted before the venue acts / after it has acted |
| | error / error_after | HTTP `status` (503) before / after it has acted; with a `code`, or `bare = true`: a gateway's page |
| | refuse | refused with the venue's own code or label `code` (`times = 0`: a refusal that will not change) |
| | rate_limit | refused as too many requests (`status` 429, or 418 for a ban) |
| | redirect | `status` (default 307) to another host name, which logs at `elsewhere` whether keys came along |
| order.create | partial_fill | at most `fraction` of the order fills against the book that it meets |
| | late_fill | accepted, matched only `seconds` later |
| | would_take | a post-only order is taken for one that would be filled at once, whatever the book shows |
| order.cancel | late_fill | the order first fills by `fraction` of what is left at its own price, then is cancelled |
| | fill_after | cancelled, and `seconds` later it turns out that `fraction` of what was left had filled |
| a stream | drop | the push is lost (a gap in the sequence) |
| | duplicate | pushed twice |
| | swap | pushed after the next one of its kind |
| | delay | pushed `seconds` later |
| | silence | nothing of this stream any more, while the socket lives |
| stream.ticker, stream.book | freeze | the `side` ("bid" or "ask") shown stops moving; REST and matching know better |
| | foreign | after the push comes another contract's, at half its prices |
| | restamp | the push is stamped `seconds` later |
| socket | silence | the socket stays open and sends nothing at all, not even pong |
| | close | at `from_s`: every socket is closed with `status` (default 1001; 1006 = aborted without a word) |
| | upgrade_notice | at `from_s`: Gate's notice on `futures.system` to every socket (`times` of them, `seconds` apart) |
| | unknown_message | the same of a message that no client knows: `code` "channel", "shape" (of a known one) or "text" |
| | listen_key_death | at `from_s`: listen keys die, as after the 60 minutes (MEXC) |
| clock | drift | the venue's clock is off by `seconds`, for as long as the fault is active |
| market | delist | no new orders, resting ones are cancelled, for as long as the fault is active |
| | inactive | flagged as not trading, though orders are taken all the same, for as long as the fault is active |
| | unlist | missing from the venue's lists, though it goes on trading, for as long as the fault is active |
| | terms | the contract's terms are others for as long as the fault is active: `terms = "contract_size=100, min_qty=200"` |
| | funding_flip | funding payments come with the other sign |
| key | may_withdraw | the account's key has every permission, for as long as the fault is active |
| | unbound | it is bound to no address, and was made `seconds` ago |
| position | liquidate | at `from_s`: the position is liquidated |
| | adl | at `from_s`: `fraction` of the position is taken by auto-deleveraging |

`terms` names fields of `values.Listing`, in base units; steps and minimum of a contract follow its size. `retry_after_s`
adds the header Retry-After to `error`, `error_after` and `rate_limit`.

Requests: `markets time book candles trades tickers account order.create order.amend order.cancel order.fetch
orders.open countdown trades.mine positions leverage funding fee rights listen_key`; a subscription over a websocket is `ws.subscribe`.
Streams: `stream.ticker stream.book stream.trades stream.orders stream.fills stream.positions stream.balance`.
"""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from delta_arb.errors import ParamsError
from delta_arb.places import parsed

REQUEST = {"delay", "hang", "cut", "cut_after", "error", "error_after", "refuse", "rate_limit", "redirect"}
PUSH = {"drop", "duplicate", "swap", "delay", "silence"}
QUOTE_PUSH = {"freeze", "foreign", "restamp"}
ORDER = {"order.create": {"partial_fill", "late_fill", "would_take"}, "order.cancel": {"late_fill", "fill_after"}}
STATES = {
    "drift",
    "delist",
    "inactive",
    "unlist",
    "terms",
    "funding_flip",
    "freeze",
    "silence",
    "may_withdraw",
    "unbound",
}  # hold while active; logged when first felt
NOTICES = {"upgrade_notice", "unknown_message"}
TIMED = {
    "close",
    "listen_key_death",
    "drift",
    "delist",
    "inactive",
    "unlist",
    "terms",
    "liquidate",
    "adl",
    *NOTICES,
}  # begin by themselves
MESSAGES = ("channel", "shape", "text")
TERMS = {"contract_size", "price_step", "qty_step", "min_qty", "max_qty", "min_notional"}
WHERE = {
    "socket": {"silence", "close", "listen_key_death", *NOTICES},
    "clock": {"drift"},
    "market": {"delist", "inactive", "unlist", "terms", "funding_flip"},
    "key": {"may_withdraw", "unbound"},
    "position": {"liquidate", "adl"},
}
STREAMS = tuple(f"stream.{name}" for name in ("ticker", "book", "trades", "orders", "fills", "positions", "balance"))
REQUESTS = (
    "markets", "time", "book", "candles", "trades", "tickers", "account", "order.create", "order.amend", "order.cancel",
    "order.fetch", "orders.open", "countdown", "trades.mine", "positions", "leverage", "funding", "fee", "rights", "listen_key",
    "ws.subscribe",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """One line of the script; see the table at the top of this module."""

    at: str
    do: str
    venue: str = "*"
    skip: int = 0
    times: int = 1
    from_s: float = 0.0
    until_s: float = math.inf
    seconds: float = 0.0
    fraction: float = 0.5
    status: int = 0
    code: str = ""
    side: str = ""
    before: bool = False
    bare: bool = False
    retry_after_s: float = 0.0
    terms: str = ""

    def __post_init__(self) -> None:
        allowed = self._allowed()
        if not allowed:
            hooks = ", ".join((*REQUESTS, *STREAMS, *WHERE))
            raise ParamsError(f"a fault is at {self.at!r}, which is no hook; use one of {hooks}")
        if self.do not in allowed:
            raise ParamsError(f"a fault at {self.at!r} can do {', '.join(sorted(allowed))}; was {self.do!r}")
        if self.skip < 0 or self.times < 0 or not 0 <= self.from_s <= self.until_s or not 0 < self.fraction <= 1:
            raise ParamsError(f"needs skip, times, from_s >= 0, from_s <= until_s, 0 < fraction <= 1: {self}")
        if self.do == "freeze" and self.side not in ("bid", "ask"):
            raise ParamsError(f"freeze needs side = 'bid' or 'ask', was {self.side!r}")
        if self.do == "refuse" and not self.code:
            raise ParamsError("refuse needs the venue's own code: '30004' (MEXC), 'INSUFFICIENT_AVAILABLE' (Gate)")
        if self.do == "unknown_message" and self.code not in MESSAGES:
            raise ParamsError(f"unknown_message needs code = {' or '.join(map(repr, MESSAGES))}, was {self.code!r}")
        if self.do == "terms":
            self.new_terms()

    def new_terms(self) -> dict[str, Decimal]:
        """The fields of `terms`; ParamsError where it names none or no numbers."""
        parts = [part.partition("=") for part in self.terms.split(",")]
        try:
            new = {name.strip(): Decimal(value.strip()) for name, _, value in parts}
        except InvalidOperation:
            new = {}
        if not new or not new.keys() <= TERMS or not all(value.is_finite() and value >= 0 for value in new.values()):
            raise ParamsError(f"terms needs numbers of {', '.join(sorted(TERMS))}, like 'min_qty=200': {self.terms!r}")
        return new

    def _allowed(self) -> set[str]:
        """What can be done at the hooks that `at` matches."""
        if self.at in WHERE:
            return WHERE[self.at]
        allowed: set[str] = set()
        if any(fnmatchcase(stream, self.at) for stream in STREAMS):
            allowed |= PUSH
        if any(fnmatchcase(stream, self.at) for stream in ("stream.ticker", "stream.book")):
            allowed |= QUOTE_PUSH
        names = [name for name in REQUESTS if fnmatchcase(name, self.at)]
        if names:
            allowed |= REQUEST
        for name, actions in ORDER.items():
            if fnmatchcase(name, self.at):
                allowed |= actions
        return allowed

    @property
    def lasts(self) -> bool:
        """A state that holds while active, instead of something that happens a number of times."""
        return self.do in STATES


class Fired(NamedTuple):
    """One line of the venue's log: what fired, when (venue seconds since start), where, and on what."""

    n: int
    t_s: float
    venue: str
    at: str
    do: str
    detail: str
    fault: Fault


class Faults:
    """The script of one venue and the log of what fired; hooks ask `take`, and tests read `log`.

    Args:
        venue: 'mexc' or 'gate'; lines of the script for others are left out.
        seconds: time since the venue started.
        path: also append each log line to this file, as JSON.
    """

    def __init__(
        self, venue: str, seconds: Callable[[], float], script: Iterable[Fault] = (), path: Path | None = None
    ) -> None:
        self.venue = venue
        self.log: list[Fired] = []
        self._seconds = seconds
        self._path = path
        if path:
            path.open("a", encoding="utf-8").close()  # one that cannot be written is refused now
        self._seen: dict[int, int] = {}  # how often a fault's hook was reached, by its place in the script
        self._script: list[Fault] = []
        self._by_hook: dict[str, list[int]] = {}
        self.on_add: Callable[[Fault], None] = lambda fault: None  # the server schedules timed ones
        for fault in script:
            self.add(fault)

    @property
    def script(self) -> tuple[Fault, ...]:
        return tuple(self._script)

    @property
    def now_s(self) -> float:
        return self._seconds()

    def add(self, fault: Fault) -> None:
        """Take up one more line, now; `from_s` counts from the venue's start, so 0 means at once."""
        if fault.venue not in ("*", self.venue):
            return
        self._script.append(fault)
        self._by_hook.clear()
        self.on_add(fault)

    def clear(self) -> None:
        """Forget the script; the log stays."""
        self._script, self._seen = [], {}
        self._by_hook.clear()

    def any(self, hook: str) -> bool:
        """Whether the script has anything at this hook at all; cheap, for hot paths."""
        return bool(self._at(hook))

    def take(self, hook: str, actions: Iterable[str], detail: str = "") -> Fault | None:
        """The fault that fires now at `hook` and does one of `actions`, or None; firing is logged and counted.

        A state (see STATES) is returned for as long as it is active and logged once.
        """
        for index in self._at(hook):
            fault = self._script[index]
            if fault.do not in actions or not fault.from_s <= self._seconds() < fault.until_s:
                continue
            seen = self._seen[index] = self._seen.get(index, 0) + 1
            if seen <= fault.skip:
                continue
            if fault.lasts:
                if seen == fault.skip + 1:
                    self.note(fault, hook, detail)
                return fault
            if fault.times and seen > fault.skip + fault.times:
                continue
            self.note(fault, hook, detail)
            return fault
        return None

    def note(self, fault: Fault, hook: str, detail: str = "") -> None:
        """Write one line of the log."""
        fired = Fired(len(self.log) + 1, round(self._seconds(), 6), self.venue, hook, fault.do, detail, fault)
        self.log.append(fired)
        if self._path:
            line = {"n": fired.n, "t_s": fired.t_s, "venue": fired.venue, "at": hook, "do": fault.do, "detail": detail}
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def fired(self, do: str = "*", at: str = "*") -> list[Fired]:
        """The lines of the log with this action and hook (patterns)."""
        return [line for line in self.log if fnmatchcase(line.do, do) and fnmatchcase(line.at, at)]

    def _at(self, hook: str) -> list[int]:
        if hook not in self._by_hook:
            self._by_hook[hook] = [k for k, fault in enumerate(self._script) if fnmatchcase(hook, fault.at)]
        return self._by_hook[hook]


_NAMES = {field.name: field for field in fields(Fault)}


def script_of(rows: Iterable[dict[str, Any]]) -> list[Fault]:
    """Faults from plain tables (as TOML and JSON give them); unknown names are refused."""
    script = []
    for n, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ParamsError(f"fault {n} must be a table of names and values, was {row!r}")
        if unknown := set(row) - set(_NAMES):
            raise ParamsError(f"fault {n} has unknown names {sorted(unknown)}; known are {', '.join(_NAMES)}")
        if missing := {"at", "do"} - set(row):
            raise ParamsError(f"fault {n} lacks {' and '.join(sorted(missing))}: {row}")
        try:
            script.append(Fault(**{name: _typed(name, value) for name, value in row.items()}))
        except ParamsError as error:
            error.add_note(f"in fault {n} of the script")
            raise
    return script


def _typed(name: str, value: Any) -> Any:
    wanted = _NAMES[name].type
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted is str and name == "code" and isinstance(value, int):
        return str(value)
    if not isinstance(value, wanted):
        raise ParamsError(f"{name} must be {wanted.__name__}, was {value!r}")
    return value


def read_script(path: Path) -> list[Fault]:
    """The script in a .toml file (tables `[[fault]]`) or a .json file (a list, or {"fault": [...]})."""
    data = parsed(path) if path.suffix == ".toml" else parsed(path, json.loads, "JSON")
    rows = data if isinstance(data, list) else data.get("fault")
    if not isinstance(rows, list):
        raise ParamsError(f"{path}: needs a list of faults: [[fault]] tables in TOML, a list in JSON")
    return script_of(rows)
