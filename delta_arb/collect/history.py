"""Downloaded history: what public REST says of the past, by genuine ccxt, in whole pages, and a Parquet file a month on disk.

    data/gate/perp/LUNC_USDT/candles_1m/2026-01.parquet

A month's file is written whole or not at all, and says in its metadata which range [start, end) was asked for, so that a
later call fetches only what is missing. The same rows give the same bytes.

Candles are asked forwards, funding from whichever end a venue begins with: ccxt's own pagination loses funding stamps,
and some venues ignore the start of a range or all of it. Every call waits for the venue's weights (ccxt's limiter),
obeys Retry-After, and tries again what the network broke. A page that is shorter than it could be is asked again where
the hole is, so that a hole that remains is the venue's. Times are ms UTC, as ccxt has them; ranges are half-open.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import Any

import ccxt
import pyarrow as pa
import pyarrow.parquet as pq

from delta_arb import funding_stamps
from delta_arb.errors import DataError, ParamsError, RunError

RANGE = b"delta_arb.range_ms"  # key of the metadata: [start, end) that was asked for
CANDLE_COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
FUNDING_COLUMNS = ("timestamp", "funding_rate")
SPOT, PERP = "spot", "perp"


@dataclass(frozen=True, slots=True)
class Dataset:
    """What one folder holds: rows of one kind of one pair at one venue; `bar_ms` is 0 where rows are no bars.

    `synthetic`: of the local venues.
    """

    venue: str
    market: str
    pair: str
    kind: str
    columns: tuple[str, ...]
    bar_ms: int = 0
    synthetic: bool = False

    def folder(self, data: Path) -> Path:
        return data / self.venue / self.market / self.pair / self.kind

    def __str__(self) -> str:
        return f"{self.venue} {self.market} {self.pair} {self.kind}"


@dataclass(frozen=True, slots=True)
class Month:
    """The part [start_ms, end_ms) of one calendar month, UTC."""

    name: str
    start_ms: int
    end_ms: int


def months(start_ms: int, end_ms: int) -> Iterator[Month]:
    """The calendar months that a range touches, each cut to the range."""
    at = datetime.fromtimestamp(start_ms / 1000, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while (first_ms := _ms(at)) < end_ms:
        following = at.replace(year=at.year + at.month // 12, month=at.month % 12 + 1)
        yield Month(at.strftime("%Y-%m"), max(first_ms, start_ms), min(_ms(following), end_ms))
        at = following


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


Row = Sequence[float]


@dataclass(frozen=True, slots=True)
class Stored:
    """A month's file as it lies on disk: the range that was asked for, and its rows in order of time (ms first)."""

    start_ms: int
    end_ms: int
    rows: tuple[Row, ...]


def read(path: Path) -> Stored | None:
    """A month's file; None where there is none.

    Raises:
        DataError: the file is damaged, or was not written by this program.
    """
    if not path.exists():
        return None
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        start_ms, end_ms = json.loads((table.schema.metadata or {})[RANGE])
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise DataError(f"{path} is damaged or not ours; move it away, and it is downloaded again") from error
    columns = [table.column(name).to_pylist() for name in table.column_names]
    columns[0] = [ns // 1_000_000 for ns in table.column(0).cast(pa.int64()).to_pylist()]
    return Stored(start_ms, end_ms, tuple(zip(*columns, strict=True)))


def write(path: Path, columns: Sequence[str], stored: Stored, synthetic: bool = False) -> None:
    """Replace a month's file atomically: written beside it, synced, renamed; it says where its rows are synthetic."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = list(zip(*stored.rows, strict=True)) or [()] * len(columns)
    stamps = pa.array([int(ms) * 1_000_000 for ms in values[0]], pa.int64()).cast(pa.timestamp("ns", "UTC"))
    arrays = [stamps, *(pa.array(column, pa.float64()) for column in values[1:])]
    table = pa.table(dict(zip(columns, arrays, strict=True)))
    about = {RANGE: json.dumps([stored.start_ms, stored.end_ms])} | ({"synthetic": "true"} if synthetic else {})
    table = table.replace_schema_metadata(about)
    part = path.with_suffix(".part")
    pq.write_table(table, part, compression="zstd", write_page_checksum=True)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)


Page = Callable[[int, int], Sequence[Row]]  # rows of [start, end), the oldest or the newest of them where they are many
MOST_PAGES = 100_000


def candles(page: Page, start_ms: int, end_ms: int, bar_ms: int, most: int) -> list[Row]:
    """All bars that open in [start, end), oldest first, each once.

    Args:
        page: asks the venue for at most `most` bars.
        bar_ms: length of a bar.
    """
    found: dict[int, Row] = {}
    for begin in range(start_ms, end_ms, most * bar_ms):
        _take(found, page, begin, min(begin + most * bar_ms, end_ms))
    for gap_start, gap_end in gaps(sorted(found), start_ms, end_ms, bar_ms):
        for begin in range(gap_start, gap_end, most * bar_ms):  # a short page looks like a hole: ask there once more
            _take(found, page, begin, min(begin + most * bar_ms, gap_end))
    return [found[ms] for ms in sorted(found)]


def _take(found: dict[int, Row], page: Page, start_ms: int, end_ms: int) -> None:
    found.update((int(row[0]), row) for row in page(start_ms, end_ms) if start_ms <= row[0] < end_ms)


def funding(page: Page, start_ms: int, end_ms: int) -> list[Row]:
    """All settled rates with a stamp in [start, end), oldest first, each once; asked again before and behind what a page
    holds, since some venues give the oldest of a range and some the newest."""
    found: dict[int, Row] = {}
    ranges = [(start_ms, end_ms)]
    for _ in range(MOST_PAGES):
        if not ranges:
            return [found[ms] for ms in sorted(found)]
        a_ms, b_ms = ranges.pop()
        fresh = {int(row[0]): row for row in page(a_ms, b_ms) if a_ms <= row[0] < b_ms}
        found |= fresh
        if fresh:
            ranges += [(a, b) for a, b in ((a_ms, min(fresh)), (max(fresh) + 1, b_ms)) if a < b]
    raise _endless()


def _endless() -> RunError:
    return RunError(f"{MOST_PAGES} pages of funding and no end; ask for a shorter range")


def gaps(stamps: Sequence[int], start_ms: int, end_ms: int, step_ms: int) -> list[tuple[int, int]]:
    """Ranges [start, end) in which bars are missing, in order."""
    edges = [start_ms - step_ms, *stamps, end_ms]
    return [(a + step_ms, b) for a, b in pairwise(edges) if b - a > step_ms]


def missing_settlements(stamps: Sequence[int], start_ms: int, end_ms: int) -> list[tuple[int, int]]:
    """Ranges without a settlement where the local interval wants one: what a replay would refuse to hold over, or an edge
    longer than the interval next to it."""
    if len(stamps) < 2:
        return [(start_ms, end_ms)]
    (_, known_ms), (until_ms, _), *holes = funding_stamps.gaps(stamps)
    head = [(start_ms, stamps[0])] if start_ms < known_ms else []
    return head + holes + ([(stamps[-1], end_ms)] if end_ms > until_ms + 1 else [])


TRIES = 6
LONGEST_WAIT_S = 120.0
# Bars that a venue serves, counted back from now; older ones are refused by the venue.
NEWEST_BARS = {("gate", PERP): 10_000}
# What `fetch_ohlcv` gives as the volume of a USDT perpetual (read from its parsers); spot is in coins, but at SPOT_IN_MONEY.
COINS, CONTRACTS = "coins", "contracts"
PERP_VOLUME = {"gate": CONTRACTS, "mexc": CONTRACTS, "binance": COINS, "bybit": COINS, "bitget": COINS}
SPOT_IN_MONEY = ("btse",)
PAGE_BARS = {"mexc": 500, "gate": 1999, "binance": 1000, "bybit": 1000}
PAGE_STAMPS = 100
# Venues whose funding ccxt asks by number of a page, the newest first, whatever range is asked for.
PAGE_NUMBER = {"mexc": "page_num", "bitget": "pageNo"}


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

    def funding(self, pair: Listed, start_ms: int, end_ms: int) -> list[Row]:
        """All settled rates with a stamp in [start, end), oldest first."""
        number = PAGE_NUMBER.get(self.venue)
        if number is None:
            return funding(lambda a, b: self._rates(pair, a, {"until": b - 1}), start_ms, end_ms)
        found: dict[int, Row] = {}
        for n in range(1, MOST_PAGES):
            fresh = {int(row[0]): row for row in self._rates(pair, None, {number: n})}
            over = fresh.keys() <= found.keys()  # no page, or the last one again
            found |= fresh
            if over or min(found) < start_ms:
                return [found[ms] for ms in sorted(found) if start_ms <= ms < end_ms]
        raise _endless()

    def _rates(self, pair: Listed, since_ms: int | None, asked: Mapping[str, int]) -> list[Row]:
        """One page of settled rates."""
        fetch = self._client.fetch_funding_rate_history
        rows = self._call(lambda: fetch(pair.symbol, since_ms, PAGE_STAMPS, dict(asked)))
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
        elif self.venue in SPOT_IN_MONEY:
            raise ParamsError(
                f"ccxt gives {self.venue}'s candle volume in money, not in coins; take another venue's spot"
            )
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
