"""What a key may do besides trading, as far as its venue tells: withdraw, from which addresses, until when.

Gate.io tells of the asking key's addresses (GET /account/detail), and of a main account's keys what they may do and
when they were made (GET /account/main_keys; a sub-account's key is refused there; no name is documented for
withdrawals, so a key that may change the wallet counts as one that withdraws). MEXC tells of addresses (GET
/api/v3/apiKeyInfo, shaped like the answer to its documented POST, which would overwrite them) and of what the whole
account may do (`canWithdraw`), but not of the key; so its list of withdrawals is asked for, which a key without any
right to withdrawals is refused (700007). On both venues a key that is bound to no address ends after 90 days. What was
not told, or not as documented, is None: never taken for good.
"""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from delta_arb.live.venues.base import Rights, VenueError
from delta_arb.market import NS

NO_RIGHT = "700007"  # MEXC: no permission to access the endpoint
NORMAL = 1  # Gate's state of a key that is neither locked nor frozen
TRADING = frozenset(  # of Gate's documented names, those that do not move money away
    ("spot", "futures", "delivery", "earn", "options", "account", "loan", "margin", "unified", "copy", "pilot", "alpha",
     "crossx")
)  # fmt: skip


async def told(call: Awaitable[Any]) -> Any:
    """A venue's answer, or the VenueError that came instead of one."""
    try:
        return await call
    except VenueError as error:
        return error


def gate_rights(detail: Any, keys: Any, api_key: str) -> Rights:
    """From what was `told` of /account/detail and /account/main_keys."""
    key = _own(keys, api_key)
    addresses = _listed(detail.get("ip_whitelist")) if isinstance(detail, Mapping) else None
    if key is None:
        return Rights(None, _why(keys, "none of the keys listed is this one"), addresses)
    if addresses is None:
        addresses = _listed(key.get("ip_whitelist"))
    writes = _writes(key.get("perms"))
    if writes is None:
        return Rights(None, "its permissions are not in the documented form", addresses, made_ns=_stamp(key))
    trade = "futures" in writes and key.get("state") == NORMAL
    may = f"may change {', '.join(writes) or 'nothing'}"
    moves = any(name == "wallet" or "withdraw" in name for name in writes)
    withdraw = True if moves else None if set(writes) - TRADING else False
    return Rights(withdraw, may, addresses, trade, _stamp(key))


def _own(keys: Any, api_key: str) -> Mapping | None:
    """The row of this key: the one that names it, or the only one there is where rows do not name keys."""
    rows = [keys] if isinstance(keys, Mapping) else keys
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
        return None
    named = [row for row in rows if isinstance(row.get("key"), str)]
    found = [row for row in named if _shows(row["key"], api_key)] if named else rows
    return found[0] if len(found) == 1 else None


def _shows(shown: str, api_key: str) -> bool:
    """Whether this is the key; Gate shows the beginning of each, then asterisks."""
    begins = shown.rstrip("*")
    return api_key == shown or (begins != shown and begins != "" and api_key.startswith(begins))


def _writes(perms: Any) -> list[str] | None:
    """Names of what a key may change, by Gate's list; None for a list of another shape."""
    try:
        return [str(perm["name"]) for perm in perms if perm["read_only"] is not True]
    except (TypeError, KeyError):
        return None


def _listed(addresses: Any) -> tuple[str, ...] | None:
    if not isinstance(addresses, Sequence) or isinstance(addresses, str):
        return None
    return tuple(str(address) for address in addresses if address)


def _stamp(key: Mapping) -> int | None:
    """When a key was made, from Unix seconds in a text."""
    text = str(key.get("created_at", ""))
    return int(text) * NS if text.isdecimal() and len(text) == 10 else None


def mexc_rights(account: Any, withdrawals: Any, info: Any) -> Rights:
    """From what was `told` of account, capital/withdraw/history and apiKeyInfo."""
    withdraw, said = _mexc_withdrawal(account, withdrawals)
    found = info.get("ipWhiteList") if isinstance(info, Mapping) else None
    addresses = tuple(part.strip() for part in found.split(",") if part.strip()) if isinstance(found, str) else None
    return Rights(withdraw, said, addresses)


def _mexc_withdrawal(account: Any, withdrawals: Any) -> tuple[bool | None, str]:
    if isinstance(account, Mapping) and account.get("canWithdraw") is False:
        return False, "the account may not withdraw"
    if isinstance(withdrawals, VenueError):
        if withdrawals.code == NO_RIGHT:
            return False, "the key is refused the account's withdrawals"
        return None, _why(withdrawals, "")
    if isinstance(withdrawals, Sequence):
        return True, "the key reaches the account's withdrawals"
    return None, "the list of withdrawals is not in the documented form"


def _why(answer: Any, otherwise: str) -> str:
    return str(answer) if isinstance(answer, VenueError) else otherwise
