"""Many pairs judged as the many that they are: ranked by what the first part of their data says, then tested together.

A pair earns the word `trade` for a way (reversion, carry) if all of these hold:

    no veto                    delisting, closed deposits or withdrawals, closed to API orders, not proven to be one coin
    the pipeline would export  every demand and gate on all of its data, at the level that pays for every pair listed
    Romano-Wolf                adjusted p of its days out of sample at most 5 %, days of all pairs resampled jointly, every
                               pair listed counted for every way asked, screened out or not
    the part nobody saw        net above zero on the last third, which no rank was made from
    no halt, one sign          no machine that halted; carry with the same sign at three lengths of bars
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from delta_arb.errors import SeriesError
from delta_arb.optimize.study import SEED
from delta_arb.stats.multiple_testing import critical_z, stepdown
from delta_arb.stats.sharpe import MIN_PERIODS

WAYS = ("reversion", "carry")
LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class WayVerdict:
    """What one way of earning is worth: whether to trade it, why or why not, and the figures behind it.

    `first_usdt_day` is what it is ranked by: net on the first part, USDT a day at the depth shown; None for a machine that
    halted, too. `p` is adjusted for all pairs listed and all ways; None where nothing was traded out of sample.
    """

    trade: bool
    reason: str
    screened: bool = False
    first_usdt_day: float | None = None
    net_usdt_day: float | None = None
    low_usdt_day: float | None = None
    high_usdt_day: float | None = None
    unseen_usdt_day: float | None = None
    p: float | None = None
    halted: bool = False


@dataclass(frozen=True, slots=True)
class RankedPair:
    """A pair with its figures (`look.first`), vetoes, what is taken to be so, and a verdict for each way."""

    pair: str
    figures: Mapping[str, Any]
    vetoes: tuple[str, ...]
    guessed: tuple[str, ...]
    ways: Mapping[str, WayVerdict]

    @property
    def trade(self) -> bool:
        return any(verdict.trade for verdict in self.ways.values())

    @property
    def rank_usdt_day(self) -> float | None:
        """The best that a way showed on the first part; None where none showed anything, or it is not to be traded."""
        nets = [v.first_usdt_day for v in self.ways.values() if v.first_usdt_day is not None and not v.halted]
        return max(nets) if nets and not self.vetoes else None

    @property
    def reason(self) -> str:
        if "refused" in self.figures:
            return str(self.figures["refused"])
        ways = sorted(self.ways.items(), key=lambda way: -(way[1].first_usdt_day or -math.inf))  # what showed most
        return "; ".join(self.vetoes) or "; ".join(f"{way}: {verdict.reason}" for way, verdict in ways)


@dataclass(frozen=True, slots=True)
class Universe:
    """All pairs listed, the best first; what they were tested at, one digest of all results, and what was asked, in words."""

    pairs: tuple[RankedPair, ...]
    tests: int
    digest: str
    synthetic: bool = False
    asked: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"universe of {len(self.pairs)} pairs"

    @property
    def candles(self) -> bool:
        return any(each.figures.get("bar_s") for each in self.pairs)

    @property
    def mark(self) -> str:
        """What titles must say of these quotes, as `Inputs.mark`."""
        return ", ".join(["SYNTHETIC quotes"] * self.synthetic + ["CANDLES, stated half-spreads"] * self.candles)

    @property
    def z(self) -> float:
        """What the best of so many tests reaches by luck in one universe of twenty."""
        return critical_z(self.tests)

    @property
    def trades(self) -> list[RankedPair]:
        return [each for each in self.pairs if each.trade]


def candidates(first: Mapping[str, Any], vetoes: Sequence[str]) -> list[str]:
    """The ways of a pair that the first part does not exclude."""
    if "refused" in first or vetoes or not first["one_coin"]:
        return []
    return [way for way in WAYS if not first[way]["screened"]]


def ranked(
    firsts: Sequence[Mapping[str, Any]],
    seconds: Mapping[str, Mapping[str, Any]],
    vetoes: Mapping[str, Sequence[str]],
    guessed: Mapping[str, Sequence[str]],
    digest: str,
) -> Universe:
    """All pairs with their verdicts, in order: those to trade, then by what the first part showed, then the others."""
    tests = max(len(firsts) * len(WAYS), 1)
    adjusted = _adjusted(seconds, tests)
    pairs = [_pair(first, seconds.get(first["pair"], {}), vetoes, guessed, adjusted) for first in firsts]
    pairs.sort(key=_place)
    return Universe(tuple(pairs), tests, digest, any(first.get("synthetic") for first in firsts))


def _place(of: RankedPair) -> tuple:
    return not of.trade, of.rank_usdt_day is None, -(of.rank_usdt_day or 0.0), "refused" in of.figures, of.pair


def _pair(first, second, vetoes, guessed, adjusted) -> RankedPair:
    pair = first["pair"]
    against = [*vetoes.get(pair, ())]
    if "refused" in first:
        return RankedPair(pair, first, tuple(against), (), {})
    if not first["one_coin"]:
        against.append(f"not proven that both tickers are one coin: {first['coin_why']}")
    ways = {way: _verdict(first[way], second.get(way), against, adjusted.get((pair, way))) for way in WAYS}
    return RankedPair(pair, first, tuple(against), (*first["guessed"], *guessed.get(pair, ())), ways)


def _verdict(first: Mapping, second: Mapping | None, vetoes: Sequence[str], p: float | None) -> WayVerdict:
    shown = {"screened": first["screened"], "first_usdt_day": first["net_usdt_day"]}
    if vetoes or second is None:
        return WayVerdict(False, "; ".join(vetoes) or first["reason"], halted=first["halted"], **shown)
    halted = first["halted"] or second["halted"]
    if second["days"] is None:
        return WayVerdict(False, second["reason"], halted=halted, **shown)
    names = ("net_usdt_day", "low_usdt_day", "high_usdt_day", "unseen_usdt_day")
    shown |= {name: second[name] for name in names} | {"p": p, "halted": halted}
    against = _against(second, p, halted)
    trade = second["trade"] and not against
    reason = "; ".join(against) if against and second["trade"] else second["reason"]
    return WayVerdict(bool(trade), reason, **shown)


def _against(second: Mapping, p: float | None, halted: bool) -> list[str]:
    """What the universe says against a way that the pipeline might export."""
    unseen = second["unseen_usdt_day"]
    return [
        *(["the machine halted"] if halted else []),
        *(
            [f"its days are not surely above zero among all pairs listed (adjusted p {p:.3f})"]
            if p is not None and p > LEVEL
            else []
        ),
        *(["its days out of sample are too few to be tested"] if p is None else []),
        *(["nothing was traded on the last third"] if unseen is None else []),
        *(
            [f"the last third, not looked at before, earned {unseen:.2f} USDT a day"]
            if unseen is not None and unseen <= 0
            else []
        ),
    ]


def _adjusted(seconds: Mapping[str, Mapping[str, Any]], tests: int) -> dict[tuple[str, str], float]:
    """Adjusted p by pair and way, of those with days enough."""
    records = {
        (pair, way): (answer[way]["days"][0], np.array(answer[way]["days"][1]))
        for pair, answer in seconds.items()
        for way in WAYS
        if way in answer and answer[way]["days"] and not answer[way]["halted"]
    }
    records = {
        name: (day, nets) for name, (day, nets) in records.items() if len(nets) >= MIN_PERIODS and np.ptp(nets) > 0
    }
    if not records:
        return {}
    start = min(day for day, _ in records.values())
    days = max(day + len(nets) for day, nets in records.values()) - start
    records = {name: (day, nets) for name, (day, nets) in records.items() if len(nets) >= days / 2}
    matrix = np.full((days, len(records)), np.nan)
    for k, (day, nets) in enumerate(records.values()):
        matrix[day - start : day - start + len(nets), k] = nets
    try:
        found = stepdown(matrix, np.random.default_rng(SEED), others=tests - len(records))
    except SeriesError:
        return {}
    return dict(zip(records, map(float, found), strict=True))
