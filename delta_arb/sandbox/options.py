"""The options of the local venues: quotes, account, faults. Read by `--help` too."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

from delta_arb.command import option, speed
from delta_arb.errors import ParamsError
from delta_arb.quotes.options import config_option

QUOTES, ACCOUNT, DRILLS = "quotes", "the account on each venue", "drills and output"
MOST = 1e15  # coins or USDT of play money
SAME = (
    "pair",
    "contract_size",
    "spot_trades",
    "perp_trades",
    "funding",
    "spot_fee_bps",
    "perp_fee_bps",
    "leverage",
    "inventory_coins",
)


def of_settings(said: dict[str, Any]) -> dict[str, Any]:
    """What delta_arb.toml says of the quotes and the account; wallets that it leaves without a limit keep their play money."""
    wanted = {name: said[name] for name in SAME if name in said}
    wanted |= {name: said[name] for name in ("spot_usdt", "perp_usdt") if said.get(name)}
    return wanted | ({"tape": (said["spot"], said["perp"])} if said.get("spot") and said.get("perp") else {})


def decimal(value: object) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite() or not 0 <= number <= MOST:
        raise ParamsError(f"not a number from 0 to {MOST:.0e}: {value}")
    return number


def _leverage(value: object) -> Decimal:
    if not 1 <= (number := decimal(value)) <= 200:
        raise ParamsError(f"not from 1 to 200: {value}")
    return number


def _fee(value: object) -> Decimal:
    if (number := decimal(value)) > 500:
        raise ParamsError(f"not from 0 to 500 bps: {value}")
    return number


def _amount(default: int, text: str, parser: Callable[[object], Decimal] = decimal) -> Any:
    return option(Decimal(default), text, ACCOUNT, parser=parser, metavar="N")


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """Of a session of the local venues."""

    tape: tuple[str, str] | None = option(
        None, "quotes of both legs  [default: the sample]", QUOTES, metavar="SPOT PERP"
    )
    spot_trades: str = option("", "trades of others on spot, by which resting orders fill", QUOTES, metavar="FILE")
    perp_trades: str = option("", "the same on futures", QUOTES, metavar="FILE")
    pair: str = option("", "what they are quotes of, like LUNC_USDT", QUOTES)
    contract_size: float = option(0.0, "coins in one contract of PERP", QUOTES, metavar="N", min=0.0, nothing=False)
    funding: str = option("", "funding history  [default: none]", QUOTES, metavar="FILE")
    speed: float = option(1.0, "recorded seconds a second", QUOTES, parser=speed, metavar="N|max")
    repeat: bool = option(False, "begin again when the tape ends", QUOTES)
    behind: str = option(
        "", "sizes of the levels behind the best, as multiples of it, each a price step further  [default: none]", QUOTES,
        metavar="N,N,...",
    )  # fmt: skip
    queue: Literal["back", "front", "through"] = option("back", "where a resting order stands at its price", QUOTES)
    listings: int = option(
        0, "made pairs beside it that have a past: bars and funding (synthetic)", QUOTES, metavar="N", min=0, whole=True
    )
    seed: int = option(
        0, "of what is drawn: the made pairs, and network delays", QUOTES, metavar="N", min=0, whole=True
    )
    history_days: float = option(
        30.0, "how far back the past of the made pairs goes", QUOTES, metavar="DAYS", whole=True, min=0.01, max=3660.0
    )
    spot_usdt: Decimal = _amount(10_000, "spot USDT")
    spot_coins: Decimal = _amount(0, "coins on spot")
    inventory_coins: Decimal = _amount(0, "coins beside as short a position")
    perp_usdt: Decimal = _amount(10_000, "margin")
    spot_fee_bps: Decimal = _amount(5, "taker fee, bps", _fee)
    spot_fee_in: Literal["quote", "received", "MX"] = option("quote", "currency of the spot fee", ACCOUNT)
    perp_fee_bps: Decimal = _amount(5, "taker fee, bps", _fee)
    spot_maker_fee_bps: Decimal = _amount(0, "of an order that rested, bps", _fee)
    perp_maker_fee_bps: Decimal = _amount(2, "the same on futures", _fee)
    perp_fee_in: Literal["quote", "points"] = option("quote", "currency of the futures fee", ACCOUNT)
    post_only: Literal["venue", "refuse", "cancel"] = option(
        "venue",
        "what becomes of a post-only order that would take: by itself Gate refuses it, MEXC cancels it",
        ACCOUNT,
    )
    leverage: Decimal = _amount(10, "on futures", _leverage)
    isolated: bool = option(False, "isolated margin instead of cross", ACCOUNT)
    dual: bool = option(False, "say that the account is in dual position mode", ACCOUNT)
    faults: Path | None = option(None, "script of faults, TOML or JSON", DRILLS, metavar="FILE")
    limits: bool = option(False, "refuse more requests than the venues' documents allow", DRILLS)
    explain: bool = option(False, "show all hooks and actions of a fault script, and end", DRILLS, whole=True)
    round_trip_ms: str = option(
        "", "network delay: fixed, or drawn evenly in its logarithm, as 5-150  [default: none]", DRILLS,
        metavar="N|LOW-HIGH",
        whole=True,
    )  # fmt: skip
    log: Path | None = option(None, "append each fault that fired, as JSON lines", DRILLS, metavar="FILE")
    host: str = option("127.0.0.1", "a loopback address; others are refused", DRILLS)
    port: int = option(0, "of MEXC, Gate takes the next one  [default: any free ones]", DRILLS, min=0, max=65_534)
    json: bool = option(False, "print one line of JSON: urls and ccxt configuration", DRILLS)
    config: Path | None = config_option(of_settings)
