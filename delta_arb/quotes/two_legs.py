"""What no single file tells: whether two legs are one coin at one time, in one unit, before anything is computed of them.

    one file for both legs          refused
    prices of another unit          refused: the median ratio of the legs is beyond `MAX_RATIO`
    a clock that is off             refused: one-bar returns of the legs correlate better at another lag than at none. A zone
                                    that is wrong, bars labelled with their close, and open and close swapped all look so
    a bar far off on one leg        dropped: its price is beyond `MAX_OFF` from the other leg's, it has moved and not the other
    volumes a thousand times apart  told: one of them may be money, or contracts
    coins said to be contracts      told, where a contract is less than one coin
    opens that repeat closes        told: a fill at the next open is then a fill at the close that called for it

On 71 pairs of recorded files (crash days among them) the correlation at lag 0 is at least 0.80 and at others at most
0.18, the median ratio within 0.2 % of 1, and no bar further than 19 % from the other leg's.
"""

import math
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from delta_arb.errors import DataError
from delta_arb.formats import layouts
from delta_arb.formats.columns import on_grid
from delta_arb.formats.read import Recognised
from delta_arb.market import NS, utc
from delta_arb.quotes.bars import Bars
from delta_arb.quotes.checks import Quotes
from delta_arb.quotes.files import LegFile
from delta_arb.tables import share

MAX_RATIO = 1.25
MAX_OFF = 0.40  # of the logarithm of the ratio: a third below, half above
MAX_VOLUMES = 1000.0  # recorded pairs: 0.0096 to 18
STITCHED = 0.99  # share of opens equal to the close before; exchanges that do not stitch have 0.02 to 0.6
_STITCHED_OF = 50
_PIECE = 1 << 16  # rows
_PAIRS = 50  # returns of both legs below which no correlation is believed
_ALIKE, _BETTER, _SIGMAS = 0.3, 0.2, 6.0
_BEYOND_DOUBT = 0.51  # at no lag: none correlates twice as well
_FARTHEST_NS = 26 * 3600 * NS  # no two clocks of the world are further apart
_GRIDS_S = (1.0, 10.0, 60.0)  # on which quotes are compared
_CLOCK_S = 5.0  # one leg of a market leads the other by less
_GRID_POINTS = 1 << 17

Pairs = Iterable[tuple[np.ndarray, np.ndarray]]


def refuse_one_file(spot: LegFile, perp: LegFile) -> None:
    """Refuse one file, or one table, that was given for both legs, and two whose names say that each is the other leg."""
    paths = spot.path, perp.path
    same = paths[0] is paths[1]
    if all(isinstance(path, str | Path) for path in paths):
        # a file of several venues or tables is one file for two legs, if rows or tables differ
        same = str(paths[0]) == str(paths[1]) and (spot.options, spot.context.venue) == (
            perp.options,
            perp.context.venue,
        )
    if same:
        raise DataError(
            f"{spot.name} was given for both legs, and a leg has no basis to itself; give the other leg's file"
        )
    if [_market(leg.path) for leg in (spot, perp)] == ["perp", "spot"]:  # prices would not show it
        raise DataError(
            f"by their names {spot.name} is the perpetual and {perp.name} is spot, and they were given the other way round; "
            "exchange --spot and --perp, or rename the files"
        )


_MARKETS = {"spot": {"spot"}, "perp": {"perp", "perps", "perpetual", "swap", "futures"}}


def _market(path: object) -> str:
    """The market that the nearest part of a path names; "" where none names one alone."""
    parts = Path(path).parts[::-1] if isinstance(path, str | Path) else ()
    words = (set(re.findall("[a-z]+", part.lower())) for part in parts)
    named = ([market for market, signs in _MARKETS.items() if of & signs] for of in words)
    return next((markets[0] for markets in named if len(markets) == 1), "")


def refuse_one_series(spot: LegFile, perp: LegFile, prices: Pairs, sizes: Pairs) -> None:
    """Refuse two files that hold the same prices row for row, and sizes in one proportion (those of one may be in contracts).

    `prices` and `sizes` are pairs of columns, one of each leg.
    """
    same = all(
        len(a) >= _PAIRS and all(np.array_equal(x, y, equal_nan=True) for x, y in _pieces(a, b)) for a, b in prices
    )
    if same and all(_in_proportion(a, b) for a, b in sizes):
        raise DataError(
            f"{spot.name} and {perp.name} hold the same prices and sizes in every row; give the other leg's file"
        )


def _in_proportion(a: np.ndarray, b: np.ndarray) -> bool:
    total = np.nansum(a)
    return bool(np.allclose(b, a * (np.nansum(b) / total) if total else a, rtol=1e-9, atol=0.0, equal_nan=True))


def _pieces(first: np.ndarray, second: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Two columns of one length piece by piece: others differ within the first rows."""
    return ((first[at : at + _PIECE], second[at : at + _PIECE]) for at in range(0, len(first), _PIECE))


# --- candles ---------------------------------------------------------------------------------------------------------


def compared(
    spot: LegFile, spot_bars: Bars, perp: LegFile, perp_bars: Bars, max_bad_share: float
) -> tuple[Bars, Bars, tuple[int, int], tuple[str, ...]]:
    """Both legs' bars less those far off, how many of each leg that were, and notes for every page.

    Both must be on one grid. Of fewer than 50 common bars nothing is concluded.

    Raises:
        DataError: legs that are not one coin at one time in one unit.
    """
    first_ns = max(spot_bars.start_ns, perp_bars.start_ns)
    views = [_from(bars, first_ns) for bars in (spot_bars, perp_bars)]
    n = min(len(view.close) for view in views)
    if n < _PAIRS:
        return spot_bars, perp_bars, (0, 0), ()
    closes = [_log(view.close[:n], view.closes[:n]) for view in views]
    refuse_one_series(spot, perp, (closes,), ([view.volume[:n] for view in views],))
    _refuse_ratio(spot, perp, closes[1] - closes[0])
    _refuse_lag(spot, perp, np.diff(closes[0]), np.diff(closes[1]), spot_bars.bar_s, 0.0)
    off = _far_off(views[0], views[1], n)
    for leg, at in zip((spot, perp), off, strict=True):
        if at.mean() > max_bad_share:
            first = utc(first_ns + int(at.argmax()) * spot_bars.bar_ns)
            raise DataError(
                f"{leg.name}: {at.sum()} of {n} bars are far_off, more than a third from the other leg's price, the first at {first} UTC; "
                "look for two instruments in one file, or raise max_bad_share knowingly"
            )
    kept = [_without(bars, first_ns, at) for bars, at in zip((spot_bars, perp_bars), off, strict=True)]
    counts = tuple(int(at.sum()) for at in off)
    notes = [_stitched(leg, bars) for leg, bars in (("spot", spot_bars), ("perpetual", perp_bars))]
    notes.append(_volumes(*(float(view.volume[:n].mean()) for view in views)))
    return *kept, counts, tuple(filter(None, notes))


def _from(bars: Bars, first_ns: int) -> Bars:
    k = int((first_ns - bars.start_ns) // bars.bar_ns)
    return bars._replace(
        start_ns=first_ns, **{name: getattr(bars, name)[k:] for name in ("open", "close", "volume", "opens", "closes")}
    )


def _log(prices: np.ndarray, there: np.ndarray) -> np.ndarray:
    return np.log(np.where(there, prices, np.nan))


def _far_off(spot: Bars, perp: Bars, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Bars of which the open or the close is far from the other leg's, for the leg that has moved there, shape (n,) each."""
    off = np.zeros((2, n), bool)
    for name, there in (("open", "opens"), ("close", "closes")):
        prices = [_log(getattr(bars, name)[:n], getattr(bars, there)[:n]) for bars in (spot, perp)]
        with np.errstate(invalid="ignore"):
            for k in np.flatnonzero(np.abs(prices[1] - prices[0]) > MAX_OFF):
                moved = [
                    abs(price[k] - _before(bars, k, off[leg]))
                    for leg, (bars, price) in enumerate(zip((spot, perp), prices, strict=True))
                ]
                off[int(moved[1] > moved[0]), k] = True
    return off[0], off[1]


def _before(bars: Bars, k: int, off: np.ndarray) -> float:
    """Logarithm of the last close that was not far off before bar k; of bar k itself nothing is known yet."""
    for earlier in range(k - 1, max(k - 1000, -1), -1):
        if bars.closes[earlier] and not off[earlier]:
            return math.log(bars.close[earlier])
    return math.inf


def _without(bars: Bars, first_ns: int, off: np.ndarray) -> Bars:
    if not off.any():
        return bars
    k = int((first_ns - bars.start_ns) // bars.bar_ns)
    gone = np.zeros(len(bars.close), bool)
    gone[k : k + len(off)] = off
    return bars._replace(
        open=np.where(gone, np.nan, bars.open), close=np.where(gone, np.nan, bars.close), volume=np.where(gone, 0.0, bars.volume),
        opens=bars.opens & ~gone, closes=bars.closes & ~gone,
    )  # fmt: skip


def _stitched(leg: str, bars: Bars) -> str:
    """A note where every open repeats the close before."""
    both = bars.opens[1:] & bars.closes[:-1]
    if both.sum() < _STITCHED_OF:
        return ""
    same = float(np.mean(bars.open[1:][both] == bars.close[:-1][both]))
    if same < STITCHED:
        return ""
    return (
        f"{leg}: {share(same)} of the opens repeat the close before, so what is filled at the next open is filled at the very close "
        "that called for it; take opens that are first trades where there are some"
    )


def _volumes(spot: float, perp: float) -> str:
    """A note where one leg trades far more than the other, in what should be coins of both."""
    if not (spot and perp) or 1 / MAX_VOLUMES < perp / spot < MAX_VOLUMES:
        return ""
    return (
        f"the perpetual trades {perp / spot:.3g} times the volume of spot: are both in coins? Correct --contract-size, or say "
        "--spot-format quantity=quote, --perp-format quantity=quote of a volume in USDT"
    )


# --- quotes ----------------------------------------------------------------------------------------------------------


def overlap_end(spot: LegFile, spot_quotes: Quotes, perp: LegFile, perp_quotes: Quotes) -> int:
    """The earlier of both last stamps; refuses legs that never have a book at the same time."""
    ends = int(spot_quotes.ts_ns[-1]), int(perp_quotes.ts_ns[-1])
    starts = int(spot_quotes.ts_ns[0]), int(perp_quotes.ts_ns[0])
    if max(starts) > min(ends):
        raise DataError(
            f"{spot.name} and {perp.name} do not overlap in time: spot {utc(starts[0])} to {utc(ends[0])}, perpetual "
            f"{utc(starts[1])} to {utc(ends[1])} UTC; give recordings of the same hours, and check units and time zones"
        )
    return min(ends)


def compare_quotes(spot: LegFile, spot_quotes: Quotes, perp: LegFile, perp_quotes: Quotes) -> None:
    """The same of two recordings of quotes; of fewer than 50 rows nothing is concluded.

    Raises:
        DataError: legs that are not one coin at one time in one unit.
    """
    if min(len(spot_quotes), len(perp_quotes)) < _PAIRS:
        return
    if len(spot_quotes) == len(perp_quotes):
        pairs = [(getattr(spot_quotes, n), getattr(perp_quotes, n)) for n in ("bid", "ask", "bid_qty", "ask_qty")]
        refuse_one_series(spot, perp, pairs[:2], pairs[2:])
    first_ns = int(max(spot_quotes.ts_ns[0], perp_quotes.ts_ns[0]))
    last_ns = int(min(spot_quotes.ts_ns[-1], perp_quotes.ts_ns[-1]))
    for grid_s in _GRIDS_S:
        points = (last_ns - first_ns) / NS / grid_s
        if points <= _PAIRS:
            break
        if points > _GRID_POINTS and grid_s < _GRIDS_S[-1]:
            continue
        at_ns = np.arange(first_ns, last_ns, round(grid_s * NS))
        prices = [_mids_at(quotes, at_ns) for quotes in (spot_quotes, perp_quotes)]
        _refuse_ratio(spot, perp, prices[1] - prices[0])
        _refuse_lag(spot, perp, np.diff(prices[0]), np.diff(prices[1]), grid_s, _CLOCK_S)


def _mids_at(quotes: Quotes, at_ns: np.ndarray) -> np.ndarray:
    """Logarithm of twice the mid in force at each moment."""
    row = np.searchsorted(quotes.ts_ns, at_ns, "right") - 1
    return np.log(quotes.bid[row] + quotes.ask[row])


# --- both ------------------------------------------------------------------------------------------------------------


def doubtful_unit(perp: LegFile, coins: np.ndarray, recognised: Recognised | None) -> tuple[str, ...]:
    """A note where sizes were said to be contracts below one coin and lie on the grid of coins; `coins` as they were taken.

    Of a contract above one coin such sizes are refused (`files.refuse_coins`); below, tenths of contracts are common.
    """
    size = perp.contract_size
    if recognised is not None or size >= 1 or on_grid(coins / size, size) != layouts.COINS:
        return ()
    return (
        f"perpetual: sizes are taken as contracts of {size:g} coins, as --contract-size says, but they are no whole contracts, and all "
        f"are whole multiples of {size:g}: if they are coins already, give --contract-size 1 with --perp-step {size:g}",
    )


def _refuse_ratio(spot: LegFile, perp: LegFile, log_ratio: np.ndarray) -> None:
    there = log_ratio[np.isfinite(log_ratio)]
    if len(there) < _PAIRS:
        return
    ratio = math.exp(float(np.median(there)))
    if 1 / MAX_RATIO < ratio < MAX_RATIO:
        return
    power = round(math.log10(ratio))
    what = (
        f"the perpetual counts {10.0 ** abs(power):g} {'coins a unit' if power > 0 else 'units a coin'}: bring prices and sizes of "
        "both to one unit"
        if power and abs(math.log10(ratio) - power) < 0.1
        else "these are not the same coin in the same currency; give the files of one"
    )
    raise DataError(f"{perp.name} is {ratio:.6g} times the price of {spot.name} (median): {what}")


def _refuse_lag(
    spot: LegFile, perp: LegFile, spot_returns: np.ndarray, perp_returns: np.ndarray, step_s: float, least_s: float
) -> None:
    """Refuse legs whose returns correlate better at another lag; `least_s` is a lag that markets have of their own."""
    farthest = min(int(_FARTHEST_NS / NS / step_s), len(spot_returns) - _PAIRS)
    if farthest < 1 or any(_moves(returns) < _PAIRS / 2 for returns in (spot_returns, perp_returns)):
        return
    spot_returns, perp_returns = _clipped(spot_returns), _clipped(perp_returns)
    if _alike(spot_returns, perp_returns) > _BEYOND_DOUBT:
        return
    lags, correlations, pairs = correlated(spot_returns, perp_returns, farthest)
    at_none = float(np.nan_to_num(correlations[farthest]))
    asked = (np.abs(lags) * step_s > least_s) & (pairs >= _PAIRS) & np.isfinite(correlations)
    correlations = np.where(asked, correlations, -1.0)
    best = int(np.argmax(correlations))
    found = float(correlations[best])
    # Twice as well: of a leg that trades in every third bar only, part of each move shows a bar late.
    if found < _ALIKE or found < max(at_none + _BETTER, 2 * at_none) or found * math.sqrt(pairs[best]) < _SIGMAS:
        return
    late_s, bars = lags[best] * step_s, int(lags[best])
    side = "late" if late_s > 0 else "early"
    one_bar = (
        " (one bar off: bars labelled with their close, or open and close swapped, look so too)"
        if abs(bars) == 1
        else ""
    )
    raise DataError(
        f"the perpetual's stamps look {abs(late_s):g} s {side} against spot: returns of {spot.name} and {perp.name} correlate {found:.2f} "
        f"at a lag of {bars} steps of {step_s:g} s and {at_none:.2f} at none{one_bar}; check time zones, and say the zone of times without "
        "one (--perp-format zone=..., --spot-format zone=...) or label=close of such bars"
    )


def _alike(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation at no lag; NaN where one of both does not move."""
    there = np.isfinite(first) & np.isfinite(second)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.corrcoef(first[there], second[there])[0, 1])


def _moves(returns: np.ndarray) -> int:
    return int((np.isfinite(returns) & (returns != 0)).sum())


def _clipped(returns: np.ndarray) -> np.ndarray:
    """Returns less their median, none beyond four deviations: one crash must not decide; NaN where there is none."""
    there = returns[np.isfinite(returns)]
    if not len(there):
        return returns
    centred = returns - np.median(there)
    moved = np.abs(centred[np.isfinite(centred) & (centred != 0)])
    limit = 4 * 1.4826 * float(np.median(moved)) if len(moved) else 0.0
    return np.clip(centred, -limit, limit)


def correlated(first: np.ndarray, second: np.ndarray, farthest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correlation of `first[i]` with `second[i + lag]` for every lag up to `farthest`, over the pairs that are there.

    Returns lags, correlations (NaN where nothing moves) and numbers of pairs, shape (2 * farthest + 1,) each. Sums over
    pairs at all lags are products of Fourier transforms.
    """
    there = [np.isfinite(column).astype(float) for column in (first, second)]
    values = [np.where(mask > 0, column, 0.0) for mask, column in zip(there, (first, second), strict=True)]
    size = 1 << (len(first) + farthest).bit_length()
    waves = [
        [np.fft.rfft(column, size) for column in (mask, value, value * value)]
        for mask, value in zip(there, values, strict=True)
    ]

    def sums(a: int, b: int) -> np.ndarray:
        whole = np.fft.irfft(np.conj(waves[0][a]) * waves[1][b], size)
        return np.concatenate((whole[-farthest:], whole[: farthest + 1]))

    pairs = np.rint(sums(0, 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = [sums(1, 0) / pairs, sums(0, 1) / pairs]
        spread = [np.maximum(sums(2, 0) / pairs - mean[0] ** 2, 0), np.maximum(sums(0, 2) / pairs - mean[1] ** 2, 0)]
        correlation = (sums(1, 1) / pairs - mean[0] * mean[1]) / np.sqrt(spread[0] * spread[1])
    still = np.minimum(*(part / np.nanmax(part, initial=0.0) for part in spread)) < 1e-9  # rounding, no movement
    return np.arange(-farthest, farthest + 1), np.where(still | ~np.isfinite(correlation), np.nan, correlation), pairs
