"""What a venue's public REST says of the past, over genuine ccxt: markets, candles, mark candles, settled funding.

Every call waits for the venue's weights (ccxt's limiter), obeys Retry-After, and tries again what the network broke.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

import ccxt

from delta_arb.collect.history import PERP, SPOT, Row
from delta_arb.errors import ParamsError, RunError

TRIES = 6
LONGEST_WAIT_S = 120.0
# Bars that a venue serves, counted back from now; older ones are refused by the venue.
NEWEST_BARS = {("gate", PERP): 10_000}
# What `fetch_ohlcv` gives as the volume of a USDT perpetual (read from its parsers); spot is in coins everywhere.
COINS, CONTRACTS = "coins", "contracts"
PERP_VOLUME = {"gate": CONTRACTS, "mexc": CONTRACTS, "binance": COINS, "bybit": COINS, "bitget": COINS}
PAGE_BARS = {"mexc": 500, "gate": 1999, "binance": 1000, "bybit": 1000}
PAGE_STAMPS = 100


@dataclass(frozen=True, slots=True)
class Listed:
    """A pair as a venue lists it: its name there (ccxt's), coins in a contract, and whether it trades."""

    pair: str
    symbol: str
    contract_size: float
    active: bool


class VenueHistory:
    """One market (spot or perp) of one venue; not safe to share between threads."""

    def __init__(self, venue: str, market: str, options: Mapping[str, Any]) -> None:
        if venue not in ccxt.exchanges:
            raise ParamsError(f"ccxt knows no venue {venue!r}; it knows {', '.join(ccxt.exchanges[:5])}, ...")
        kind = {SPOT: "spot", PERP: "swap"}[market]
        self.venue, self.market = venue, market
        self.stopped = Event()  # once it is set nothing more is asked
        self.synthetic = False  # set for the local venues
        self._client = getattr(ccxt, venue)(
            {"enableRateLimit": True, "timeout": 20_000, **options}
            | {"options": {"defaultType": kind, "fetchMarkets": {"types": [kind]}, **options.get("options", {})}}
        )
        self._markets: dict[str, Any] = {}

    def listed(self) -> dict[str, Listed]:
        """Every USDT pair of this market, by our name (LUNC_USDT)."""
        rows = self._call(lambda: self._client.load_markets()).values()
        self._markets = {f"{m['base']}_{m['quote']}": m for m in rows if self._ours(m)}
        return {
            pair: Listed(pair, m["symbol"], float(m.get("contractSize") or 1.0), m.get("active") is not False)
            for pair, m in sorted(self._markets.items())
        }

    def _ours(self, market: Mapping[str, Any]) -> bool:
        if market["quote"] != "USDT":
            return False
        return bool(market["spot"]) if self.market == SPOT else bool(market["swap"] and market["linear"])

    def rules(self) -> list[Any]:
        """The venue's own rows about its pairs, as they came."""
        return [market["info"] for _, market in sorted(self._markets.items())]

    def wallets(self) -> dict[str, dict[str, bool]]:
        """Of each coin whether deposits and withdrawals are open, where the venue tells it to everybody (`load_markets` asks)."""
        coins = {
            code: {way: coin.get(way) for way in ("deposit", "withdraw")}
            for code, coin in self._client.currencies.items()
        }
        return {
            code: known
            for code, ways in sorted(coins.items())
            if (known := {k: v for k, v in ways.items() if v is not None})
        }

    def now_ms(self) -> int:
        """The venue's clock."""
        return int(self._call(self._client.fetch_time))

    def candles(self, pair: Listed, bar: str, start_ms: int, end_ms: int, *, mark: bool = False) -> Sequence[Row]:
        """Bars that open in [start, end), volume in coins; at most `page_bars`."""
        asked = {"until": end_ms - 1} | ({"price": "mark"} if mark else {})
        bars = (end_ms - start_ms) // self.bar_ms(bar)
        rows = self._call(
            lambda: self._client.fetch_ohlcv(pair.symbol, bar, start_ms, min(bars, self.page_bars), asked)
        )
        coins = 1.0 if self.market == SPOT or self.volume_unit == COINS else pair.contract_size
        return [(*row[:5], 0.0 if mark else (row[5] or 0.0) * coins) for row in rows]

    def funding(self, pair: Listed, start_ms: int, end_ms: int) -> Sequence[Row]:
        """Settled rates with a stamp in [start, end); where they are many, the newest."""
        fetch = self._client.fetch_funding_rate_history
        rows = self._call(lambda: fetch(pair.symbol, start_ms, PAGE_STAMPS, {"until": end_ms - 1}))
        return [(row["timestamp"], row["fundingRate"]) for row in rows]

    def bar_ms(self, bar: str) -> int:
        return self._client.parse_timeframe(bar) * 1000

    @property
    def page_bars(self) -> int:
        return PAGE_BARS.get(self.venue, 500)

    @property
    def volume_unit(self) -> str:
        """What a perpetual's volume is counted in; refused where nobody has checked it."""
        if self.venue not in PERP_VOLUME:
            raise ParamsError(
                f"nobody has checked whether {self.venue} counts a perpetual's volume in coins or in contracts; venues "
                f"that are known: {', '.join(PERP_VOLUME)}"
            )
        return PERP_VOLUME[self.venue]

    def check(self, *, bar: str, start_ms: int, mark: bool) -> None:
        """Refuse at once what the venue will not serve.

        Raises:
            ParamsError: an unknown bar, mark candles of a venue without them, or bars older than it keeps.
        """
        if bar not in (self._client.timeframes or {}):
            raise ParamsError(
                f"{self.venue} has no candles of {bar}; it has {', '.join(self._client.timeframes or {})}"
            )
        if mark and (self.market == SPOT or not self._client.has.get("fetchMarkOHLCV")):
            # asked of a spot market, ccxt gives candles of last trades without a word
            raise ParamsError(f"{self.venue} {self.market} has no mark candles; leave out --marks")
        if self.market == PERP:
            _ = self.volume_unit
        newest, bar_ms = NEWEST_BARS.get((self.venue, self.market)), self.bar_ms(bar)
        if newest and start_ms < (oldest_ms := self.now_ms() - newest * bar_ms):
            days, wanted = newest * bar_ms / 86_400_000, (oldest_ms - start_ms) / 86_400_000
            raise ParamsError(
                f"{self.venue} serves the newest {newest} bars of a perpetual: {days:.1f} days of {bar}, and the range begins "
                f"{wanted:.1f} days before them. Ask for longer bars (--candles 1h: {newest / 24:.0f} days), or download "
                "the monthly candlesticks of its data archive and give those files to the pipeline as they are"
            )

    def _call(self, ask: Callable[[], Any]) -> Any:
        for attempt in range(TRIES):
            if self.stopped.is_set():
                raise RunError(f"{self.venue}: stopped")
            try:
                return ask()
            except ccxt.BaseError as error:
                if not isinstance(error, ccxt.NetworkError) or attempt == TRIES - 1:
                    raise RunError(
                        f"{self.venue}: {type(error).__name__} after {attempt + 1} tries: {_short(error)}"
                    ) from error
                self.stopped.wait(self._wait_s(attempt))
        raise AssertionError("unreachable")

    def _wait_s(self, attempt: int) -> float:
        """What the venue asks for (Retry-After), else 1 s doubling."""
        headers = {k.lower(): v for k, v in (self._client.last_response_headers or {}).items()}
        asked = headers.get("retry-after", "")
        wanted = float(asked) if asked.replace(".", "", 1).isdigit() else 2.0**attempt
        if wanted > LONGEST_WAIT_S:
            raise RunError(f"{self.venue} asks to wait {wanted:.0f} s; what is downloaded stays, call again then")
        return wanted


def _short(error: Exception) -> str:
    """The first line of a foreign error, without addresses."""
    return str(error).split("http")[0].splitlines()[0][:160] if str(error) else "no text"
